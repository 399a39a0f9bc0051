//! Events: read, changed, deleted, made in batches, searched.

use super::{names, refused, text};
use crate::server_support::{span, start};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};

#[test]
fn events_are_read_changed_and_deleted() {
    let running = start();
    let session = running.session("s", &json!({"a": 1}));
    let id = running.event(&json!({"event_type": "model", "event_name": "ask", "session_id": session,
        "inputs": {"q": 1}, "outputs": {"old": 1}, "metadata": {"a": {"b": 1}, "total_tokens": 7},
        "children_ids": ["c1"], "error": null, "source": "ci", "start_time": 1_700_000_000_000.0, "duration": 20}));
    let path = format!("/v1/events/{id}");
    let event = &running.fetch(&path)["event"];
    assert_eq!(event["event_type"], "model");
    assert_eq!(event["parent_id"], session.as_str());
    assert_eq!(
        (&event["start_time"], &event["end_time"]),
        (&json!(1_700_000_000_000_i64), &json!(1_700_000_000_020_i64))
    );
    assert_eq!(event["children_ids"], json!(["c1"]));
    assert_eq!(
        (&event["error"], &event["source"]),
        (&Value::Null, &json!("ci"))
    );

    // Outputs are replaced, everything else is merged; null keeps; unknown fields are ignored.
    let change = json!({"metadata": {"a": {"c": 2}}, "outputs": {"new": 2}, "metrics": {"m": 0.5}, "whatever": 1,
        "children_ids": ["c2"], "end_time": 1_700_000_001_000.0});
    running.ask("PUT", &path, &change);
    running.ask("PUT", &path, &json!({"outputs": null, "children_ids": []}));
    let event = &running.fetch(&path)["event"];
    assert_eq!(
        event["metadata"],
        json!({"a": {"b": 1, "c": 2}, "total_tokens": 7})
    );
    assert_eq!(event["outputs"], json!({"new": 2}));
    assert_eq!(event["children_ids"], json!(["c2"]));
    assert_eq!(event["duration"], 1000);
    running.ask(
        "PUT",
        "/events",
        &json!({"event_id": id.to_uppercase(), "outputs": {}}),
    );
    assert_eq!(running.fetch(&path)["event"]["outputs"], json!({}));

    // A session is an event too.
    let own = &running.fetch(&format!("/v1/events/{session}"))["event"];
    assert_eq!(
        (&own["event_type"], &own["parent_id"], &own["event_name"]),
        (&json!("session"), &Value::Null, &json!("s"))
    );

    let other = running.event(&json!({"event_type": "tool", "inputs": {}, "session_id": session}));
    let gone = running.ask("DELETE", &path, &json!({}));
    assert_eq!(gone, json!({"success": true, "deleted": id}));
    refused(&running.get(&path), 404, &id);
    refused(
        &running.json("PUT", &path, &json!({"metadata": {}})),
        404,
        &id,
    );
    refused(&running.json("DELETE", &path, &json!({})), 404, &id);
    let left = running.server.session(&session).unwrap().unwrap();
    assert_eq!((left.events, left.tokens, left.model_calls), (1, 0, 0));
    running.ask("DELETE", &format!("/v1/events/{session}"), &json!({}));
    assert!(running.server.sessions().unwrap().is_empty());
    assert_eq!(running.get(&format!("/v1/events/{other}")).status, 404);
    // Spans of a deleted session make it anew.
    running.spans(&[span(
        1,
        None,
        "again",
        &[("honeyhive.session_id", &session)],
    )]);
    assert_eq!(running.server.session(&session).unwrap().unwrap().events, 1);
}

#[test]
fn batches_share_a_session_or_report_each_item() {
    let running = start();
    let event = |name: &str| json!({"event_type": "tool", "event_name": name, "inputs": {}});
    let body = json!({"events": [event("a"), event("b")], "single_session": true,
        "session_properties": {"session_name": "together", "metadata": {"k": 1}, "user_properties": {"user_id": "ada"}}});
    let made = running.ask("POST", "/v1/events/batch", &body);
    let session = running
        .server
        .session(&text(&made["session_id"]))
        .unwrap()
        .unwrap();
    assert_eq!(
        (session.session_name.as_str(), session.events),
        ("together", 2)
    );
    assert_eq!(session.user_properties["user_id"], "ada");
    let made = running.ask(
        "POST",
        "/v1/events/batch",
        &json!({"events": [event("c"), event("d")]}),
    );
    assert!(made.get("session_id").is_none());
    assert_eq!(running.server.sessions().unwrap().len(), 3);

    // The current route takes all or nothing, the older ones what they can.
    let mut wrong = event("e");
    wrong["event_type"] = json!("generic");
    let body = json!({"events": [event("f"), wrong]});
    let before = running.server.sessions().unwrap().len();
    refused(
        &running.json("POST", "/v1/events/batch", &body),
        400,
        "events[1].event_type",
    );
    assert_eq!(running.server.sessions().unwrap().len(), before);
    let mut legacy = body.clone();
    legacy["is_single_session"] = json!(true);
    legacy["session"] = json!({"session_name": "older"});
    let answer = running.json("POST", "/events/batch", &legacy);
    refused(&answer, 500, "partially created");
    let told = answer.json();
    assert_eq!(told["event_ids"].as_array().unwrap().len(), 1);
    assert_eq!(told["errors"][0]["index"], 1);
    let session = running
        .server
        .session(&text(&told["session_id"]))
        .unwrap()
        .unwrap();
    assert_eq!(
        (session.session_name.as_str(), session.events),
        ("older", 1)
    );
    let none = json!({"events": [{"event_type": "generic"}]});
    refused(
        &running.json("POST", "/events/batch", &none),
        400,
        "events[0].event_type",
    );

    // The path's session wins.
    let id = session.session_id;
    let elsewhere =
        json!({"events": [{"event_type": "chain", "inputs": {}, "session_id": "elsewhere"}]});
    assert_eq!(
        running.ask(
            "POST",
            &format!("/v1/sessions/{id}/events/batch"),
            &elsewhere
        ),
        json!({"success": true})
    );
    running.ask(
        "POST",
        &format!("/session/{id}/traces"),
        &json!({"logs": [{"event_name": "log"}]}),
    );
    assert_eq!(running.server.session(&id).unwrap().unwrap().events, 3);
    for (body, named) in [
        (json!({}), "events"),
        (json!({"logs": [], "events": []}), "logs and events"),
    ] {
        refused(
            &running.json("POST", &format!("/session/{id}/traces"), &body),
            400,
            named,
        );
    }

    // Model events of the older routes: their fields go where the others keep them.
    let body = json!({"model_event": {"model_name": "gpt-x", "messages": [{"role": "user"}], "response": "hi",
        "usage": {"total_tokens": 3}, "duration": 5, "error": "e", "hyperparameters": {"t": 0}}});
    let id = text(&running.ask("POST", "/events/model", &body)["event_id"]);
    let event = &running.fetch(&format!("/v1/events/{id}"))["event"];
    assert_eq!(
        (&event["event_name"], &event["event_type"]),
        (&json!("gpt-x"), &json!("model"))
    );
    assert_eq!(
        event["inputs"],
        json!({"messages": [{"role": "user"}], "usage": {"total_tokens": 3}, "duration": 5,
        "error": "e", "hyperparameters": {"t": 0}})
    );
    assert_eq!(event["outputs"], json!({"response": "hi"}));
    refused(
        &running.json("POST", "/events/model", &json!({"model_event": {}})),
        400,
        "model_name",
    );
    let body = json!({"model_events": [{"model": "a"}, {}]});
    refused(
        &running.json("POST", "/events/model/batch", &body),
        500,
        "model_events[1]",
    );
}

#[test]
fn filters_ask_columns_and_values_by_their_types() {
    let running = start();
    let session = running.session("home", &json!({}));
    for (number, name) in [(1, "alpha"), (2, "beta"), (3, "100%_done\\")] {
        running.event(&json!({"event_type": if number == 1 { "model" } else { "tool" }, "event_name": name,
            "session_id": session, "start_time": 1_700_000_000_000.0 + f64::from(number), "duration": number * 10,
            "inputs": {"n": number, "text": format!("t{number}")}, "metadata": {"even": number == 2,
            "when": format!("2026-01-0{number}T00:00:00Z"), "deep": {"er": {"x.y": number}}},
            "error": if number == 3 { json!("it's broken") } else { Value::Null }}));
    }
    let is = |field: &str, operator: &str, value: Value, kind: &str, expected: &[&str]| {
        let filters = json!([
            {"field": "session_id", "operator": "is", "value": session},
            {"field": "event_type", "operator": "is not", "value": "session"},
            {"field": field, "operator": operator, "value": value, "type": kind},
        ]);
        assert_eq!(
            running.found(&filters),
            expected,
            "{field} {operator} {value} {kind}"
        );
    };
    let (a, b, c) = ("alpha", "beta", "100%_done\\");
    is("event_name", "is", json!(a), "string", &[a]);
    is("event_name", "is not", json!(a), "string", &[c, b]);
    is("event_name", "contains", json!("%_"), "string", &[c]);
    is("event_name", "contains", json!("\\"), "string", &[c]);
    is("event_name", "not contains", json!("%"), "string", &[b, a]);
    is("event_type", "is", json!("model"), "string", &[a]);
    is("error", "exists", json!(null), "string", &[c]);
    is("error", "not exists", json!(null), "string", &[b, a]);
    is("error", "is", json!(null), "string", &[b, a]);
    is("error", "contains", json!("it's"), "string", &[c]);
    is("duration", "greater than", json!(10), "number", &[c, b]);
    is("duration", "less than", json!("20"), "number", &[a]);
    is("duration", "is", json!(20), "number", &[b]);
    is("duration", "is", json!("x"), "string", &[]);
    is("duration", "contains", json!("3"), "string", &[c]);
    is(
        "start_time",
        "after",
        json!("2023-11-14T22:13:20.001Z"),
        "datetime",
        &[c, b],
    );
    is(
        "start_time",
        "before",
        json!(1_700_000_000_002_i64),
        "datetime",
        &[a],
    );
    is(
        "start_time",
        "before",
        json!("2023-11-15"),
        "datetime",
        &[c, b, a],
    );
    is("parent_id", "is", json!(session), "string", &[c, b, a]);
    is("inputs.n", "is", json!(2), "number", &[b]);
    is("inputs.n", "is", json!("2"), "string", &[b]);
    is("inputs.n", "greater than", json!(1), "number", &[c, b]);
    is(
        "inputs.text",
        "greater than",
        json!("t1"),
        "string",
        &[c, b],
    );
    is("inputs.text", "greater than", json!(1), "number", &[]);
    is("metadata.even", "is", json!(true), "boolean", &[b]);
    is("metadata.even", "is", json!("false"), "boolean", &[c, a]);
    is(
        "metadata.when",
        "after",
        json!("2026-01-01T12:00:00Z"),
        "datetime",
        &[c, b],
    );
    is("metadata.deep.er.x.y", "is", json!(3), "number", &[c]);
    is(
        "metadata.none",
        "not exists",
        json!(null),
        "string",
        &[c, b, a],
    );
    is("metadata.none", "is not", json!("x"), "string", &[c, b, a]);
    is("feedback", "exists", json!(null), "string", &[]);
    is("no_such_field", "exists", json!(null), "string", &[]);
    for hostile in [
        "' OR 1=1 --",
        "\"; DROP TABLE events; --",
        "%",
        "_",
        "\\",
        "\0",
        "$.n",
        "?1",
    ] {
        is("event_name", "is", json!(hostile), "string", &[]);
        is("inputs.text", "contains", json!(hostile), "string", &[]);
        is(
            &format!("inputs.{hostile}"),
            "exists",
            json!(null),
            "string",
            &[],
        );
        is(hostile, "exists", json!(null), "string", &[]);
    }
    // Ids are the same in capitals.
    let id = session.to_uppercase();
    let by_id = json!([{"field": "session_id", "operator": "is", "value": id}]);
    assert_eq!(running.found(&by_id).len(), 4);
    // Sessions are found as events of their type.
    let sessions = json!([{"field": "event_type", "operator": "is", "value": "session"}]);
    assert_eq!(running.found(&sessions), ["home"]);
}

#[test]
fn pages_date_ranges_and_projections() {
    let running = start();
    let session = running.session("s", &json!({}));
    let events: Vec<Value> = (0..25)
        .map(|n| json!({"event_type": "tool", "event_name": format!("e{n:02}"), "session_id": session,
            "start_time": 1_700_000_000_000.0 + f64::from(n) * 1000.0, "inputs": {"n": n, "other": {"deep": n}},
            "metadata": {"half": n % 2}}))
        .collect();
    running.ask("POST", "/v1/events/batch", &json!({"events": events}));
    let tool = json!({"field": "event_type", "operator": "is", "value": "tool", "type": "string"});
    let half = json!({"field": "metadata.half", "operator": "is", "value": 1, "type": "number"});
    // Whether SQL asks alone, or values are looked at too: pages are the same.
    for (filters, total) in [(json!([tool]), 25), (json!([tool, half]), 12)] {
        let mut seen = Vec::new();
        for page in 1..=4 {
            let body = json!({"filters": filters, "limit": 10, "page": page});
            for path in ["/v1/events/search", "/v1/events/export"] {
                let found = running.ask("POST", path, &body);
                assert_eq!(found["count"], total);
                if path.ends_with("search") {
                    seen.extend(names(&found["events"], "event_name"));
                }
            }
        }
        assert_eq!(seen.len(), total);
        assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    }
    let range = json!({"$gte": "2023-11-14T22:13:22Z", "$lte": "2023-11-14T22:13:24Z"});
    let body = json!({"filters": [tool], "dateRange": range, "projections": ["event_name", "inputs.other.deep", "none"]});
    let found = running.ask("POST", "/v1/events/export", &body);
    assert_eq!(found["count"], 3);
    assert_eq!(
        found["events"][0],
        json!({"event_name": "e04", "inputs": {"other": {"deep": 4}}})
    );
    let range = json!({"start_time": "2023-11-14T22:13:22Z", "end_time": "2023-11-14T22:13:24Z"});
    let found = running.ask(
        "POST",
        "/v1/events/search",
        &json!({"filters": [tool], "dateRange": range}),
    );
    assert_eq!(found["count"], 3);
    // The older route takes more than it gives.
    let found = running.ask(
        "POST",
        "/v1/events/export",
        &json!({"filters": [tool], "limit": 100_000}),
    );
    assert_eq!(found["events"].as_array().unwrap().len(), 25);
    let tight = json!({"limit": 1001});
    refused(
        &running.json("POST", "/v1/events/search", &tight),
        400,
        "limit",
    );
}

#[test]
fn a_large_export_comes_in_parts_and_whole() {
    let running = start();
    let session = running.session("s", &json!({}));
    let large = "é\"\\".repeat(30_000);
    let events: Vec<Value> = (0..20)
        .map(|n| {
            json!({"event_type": "tool", "event_name": format!("e{n}"), "session_id": session,
                "inputs": {"large": large}, "metadata": {"n": n}})
        })
        .collect();
    running.ask("POST", "/v1/events/batch", &json!({"events": events}));
    let address = running.server.local_addr();
    let body = json!({"filters": [{"field": "event_type", "operator": "is", "value": "tool", "type": "string"}]});
    let answer = running.json("POST", "/v1/events/export", &body);
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let mut parts = answer.body.as_slice();
    let mut whole = Vec::new();
    loop {
        let end = parts.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = std::str::from_utf8(&parts[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.extend_from_slice(&parts[end + 2..end + 2 + length]);
        parts = &parts[end + 4 + length..];
        if length == 0 {
            break;
        }
    }
    let found: Value = serde_json::from_slice(&whole).unwrap();
    let found_events = found["events"].as_array().unwrap();
    assert_eq!((&found["count"], found_events.len()), (&json!(20), 20));
    assert!(
        found_events
            .iter()
            .all(|event| event["inputs"]["large"] == large.as_str())
    );

    // Whoever goes away in the middle holds nothing up.
    for _ in 0..12 {
        let body = b"{}";
        let head = format!(
            "POST /v1/events/export HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
    }
    assert_eq!(running.fetch("/v1/runs")["evaluations"], json!([]));
}
