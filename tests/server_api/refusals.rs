//! What is refused: wrong requests, strangers, those without a key.

use super::{operations, path, refused, text};
use crate::server_support::{Running, start};
use honeyhive::server::Server;
use serde_json::{Value, json};

#[test]
fn wrong_requests_name_the_field() {
    let running = start();
    let long = "x".repeat(201);
    let cases: &[(&str, &str, Value, &str)] = &[
        (
            "POST",
            "/v1/events",
            json!({"inputs": {}}),
            "event_type is required",
        ),
        (
            "POST",
            "/v1/events",
            json!({"event_type": "tool"}),
            "inputs is required",
        ),
        (
            "POST",
            "/v1/events",
            json!({"event_type": "tool", "inputs": []}),
            "inputs must be an object",
        ),
        (
            "POST",
            "/v1/events",
            json!({"event_type": "tool", "inputs": {}, "start_time": "now"}),
            "start_time must be a number",
        ),
        (
            "POST",
            "/v1/events",
            json!({"event_type": "tool", "inputs": {}, "project": "p"}),
            "project is not a field",
        ),
        ("POST", "/events", json!({}), "event is required"),
        (
            "POST",
            "/events",
            json!({"event": {"event_type": "x"}}),
            "event.event_type",
        ),
        (
            "PUT",
            "/events",
            json!({"metadata": {}}),
            "event_id is required",
        ),
        (
            "PUT",
            "/events",
            json!({"event_id": "x", "outputs": [1]}),
            "outputs must be an object",
        ),
        (
            "POST",
            "/v1/events/batch",
            json!({"events": [1]}),
            "events[0] must be an object",
        ),
        (
            "POST",
            "/v1/events/batch",
            json!({"events": [], "is_single_session": true}),
            "is_single_session",
        ),
        ("POST", "/v1/events/batch", json!({}), "events is required"),
        (
            "POST",
            "/v1/events/search",
            json!({"limit": 0}),
            "limit must be",
        ),
        (
            "POST",
            "/v1/events/search",
            json!({"page": 1.5}),
            "page must be",
        ),
        (
            "POST",
            "/v1/events/search",
            json!({"projections": []}),
            "projections is not a field",
        ),
        (
            "POST",
            "/v1/events/search",
            json!({"filters": [{"field": "a", "operator": "is", "value": "b", "x": 1}]}),
            "filters[0]",
        ),
        (
            "POST",
            "/v1/events/search",
            json!({"dateRange": {"start_time": "x"}}),
            "dateRange.start_time",
        ),
        (
            "POST",
            "/v1/events/export",
            json!({"filters": [{"field": "a", "operator": "is", "value": "b", "type": "id"}]}),
            "filters[0].type",
        ),
        (
            "POST",
            "/v1/events/export",
            json!({"dateRange": []}),
            "dateRange must be",
        ),
        (
            "POST",
            "/v1/sessions",
            json!({"metadata": 1}),
            "metadata must be an object",
        ),
        (
            "POST",
            "/v1/datapoints",
            json!({"inputs": 1}),
            "inputs must be an object",
        ),
        (
            "POST",
            "/v1/datapoints",
            json!({"history": [1]}),
            "history[0] must be an object",
        ),
        (
            "POST",
            "/v1/datapoints",
            json!({"linked_datasets": ["none"]}),
            "linked_datasets",
        ),
        (
            "POST",
            "/v1/datasets",
            json!({"name": long}),
            "name must be text of at most 200",
        ),
        (
            "POST",
            "/v1/datasets",
            json!({"datapoints": ["none"]}),
            "datapoints[0]",
        ),
        ("PUT", "/v1/datasets", json!({}), "dataset_id is required"),
        (
            "POST",
            "/v1/metrics",
            json!({"name": "m", "criteria": "c"}),
            "type is required",
        ),
        (
            "POST",
            "/v1/metrics",
            json!({"name": "m", "type": "X", "criteria": "c"}),
            "type must be one of",
        ),
        (
            "POST",
            "/v1/metrics",
            json!({"name": "m", "type": "LLM", "criteria": ""}),
            "criteria must be",
        ),
        (
            "POST",
            "/v1/metrics",
            json!({"name": "m", "type": "LLM", "criteria": "c", "sampling_percentage": 101}),
            "sampling_percentage",
        ),
        (
            "POST",
            "/v1/metrics",
            json!({"name": "m", "type": "LLM", "criteria": "c", "scale": 0}),
            "scale must be",
        ),
        (
            "POST",
            "/v1/metrics",
            json!({"name": "m", "type": "LLM", "criteria": "c", "threshold": {"x": 1}}),
            "threshold.x",
        ),
        (
            "POST",
            "/v1/metrics",
            json!({"name": "m", "type": "LLM", "criteria": "c", "categories": []}),
            "categories must be",
        ),
        (
            "POST",
            "/v1/metrics/run",
            json!({"metric": {"name": "m", "type": "LLM"}, "event": {}}),
            "metric.criteria is required",
        ),
        (
            "POST",
            "/v1/configurations",
            json!({"name": "n", "parameters": {}}),
            "provider is required",
        ),
        (
            "POST",
            "/v1/configurations",
            json!({"name": "n", "provider": "p", "parameters": {"model": "m"}}),
            "parameters.call_type",
        ),
        (
            "POST",
            "/v1/configurations",
            json!({"name": "n", "provider": "p", "env": ["x"], "parameters": {"model": "m", "call_type": "chat"}}),
            "env must be",
        ),
        (
            "POST",
            "/v1/runs",
            json!({"name": ""}),
            "name must be text that is not empty",
        ),
        (
            "POST",
            "/v1/runs",
            json!({"status": "done"}),
            "status must be one of",
        ),
        (
            "POST",
            "/v1/runs",
            json!({"event_ids": [1]}),
            "event_ids[0]",
        ),
        (
            "POST",
            "/v1/charts",
            json!({"name": "c"}),
            "metric is required",
        ),
        (
            "POST",
            "/v1/charts",
            json!({"name": "c", "metric": "m", "bucketing": "year"}),
            "bucketing must be",
        ),
        ("POST", "/v1/queues", json!({}), "name is required"),
        (
            "POST",
            "/v1/queues",
            json!({"name": "q", "description": "x".repeat(1001)}),
            "description must be",
        ),
        (
            "POST",
            "/v1/projects/p/ingestion_api_keys",
            json!({}),
            "name is required",
        ),
        (
            "DELETE",
            "/v1/datasets",
            json!({}),
            "dataset_id is required",
        ),
        ("DELETE", "/v1/metrics", json!({}), "metric_id is required"),
        (
            "GET",
            "/v1/datapoints?datapoint_ids=a",
            json!({}),
            "datapoint_ids must be a list",
        ),
        ("GET", "/v1/runs?limit=101", json!({}), "limit must be"),
        ("GET", "/v1/runs?page=0", json!({}), "page must be"),
        ("GET", "/v1/runs?sort_by=x", json!({}), "sort_by must be"),
        (
            "GET",
            "/v1/runs?dateRange=soon",
            json!({}),
            "dateRange must be JSON",
        ),
        (
            "GET",
            "/v1/runs/compare/events?run_id_1=a",
            json!({}),
            "run_id_2 is required",
        ),
        (
            "GET",
            "/v1/runs/x/summary?aggregate_function=mode",
            json!({}),
            "aggregate_function must be",
        ),
        (
            "GET",
            "/v1/runs/x/summary?filters=%7B%27field%27",
            json!({}),
            "filters must be JSON",
        ),
        (
            "GET",
            "/v1/queues?enabled=perhaps",
            json!({}),
            "enabled must be",
        ),
        ("GET", "/v1/metrics?type=X", json!({}), "type must be"),
    ];
    for (method, path, body, named) in cases {
        refused(&running.json(method, path, body), 400, named);
    }
    refused(
        &running.json("PATCH", "/v1/datasets", &json!({})),
        405,
        "this method",
    );
    for [_, method, template] in operations() {
        if method == "GET" || method == "DELETE" || template.ends_with("/deploy") {
            continue;
        }
        for body in [
            "[]",
            "{",
            "7",
            "{\"a\": \"\\ud800\"}",
            "\u{1}",
            "{\"a\":1} x",
        ] {
            let answer = running.send(
                method,
                &path(template),
                &[("Content-Type", "application/json")],
                body.as_bytes(),
            );
            assert_eq!(
                answer.status,
                400,
                "{method} {template} {body}: {}",
                answer.text()
            );
        }
    }
    assert!(running.server.sessions().unwrap().is_empty());
}

#[test]
fn strangers_bombs_and_scripts_reach_nothing() {
    let running = start();
    const EVIL: &str = "<script>alert(1)</script>'\"; DROP TABLE runs; --";
    let kind = ("Content-Type", "application/json");
    for [id, method, template] in operations() {
        let path = path(template);
        let stranger = running.send(
            method,
            &path,
            &[kind, ("Host", "rebound.evil.example")],
            b"{}",
        );
        assert_eq!(stranger.status, 403, "{id}");
        if method != "GET" {
            for origin in ["http://evil.example", "null"] {
                let other = running.send(method, &path, &[kind, ("Origin", origin)], b"{}");
                assert_eq!(other.status, 403, "{id}");
            }
        }
        // In a path, text is text.
        let hostile = template
            .replace("{", "%3Cscript%3E%27%22%3B--{")
            .replace('}', "");
        let answer = running.send(method, &hostile.replace('{', ""), &[kind], b"{}");
        assert!(
            answer.status < 500 || answer.status == 501,
            "{id}: {}",
            answer.text()
        );
        let media = answer.header("content-type").unwrap_or_default();
        assert!(media.starts_with("application/json"), "{id}: {media}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    // As far as a body is too large, it is not read.
    let large = vec![b' '; (16 << 20) + 1];
    for (method, path) in [
        ("POST", "/v1/events"),
        ("PUT", "/events"),
        ("POST", "/v1/runs"),
        ("POST", "/v1/events/search"),
    ] {
        refused(
            &running.send(method, path, &[kind], &large),
            413,
            "larger than 16 MiB",
        );
    }
    // A packed body is no JSON, and is never unpacked.
    let packed = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0];
    let answer = running.send(
        "POST",
        "/v1/events/search",
        &[kind, ("Content-Encoding", "gzip")],
        &packed,
    );
    assert_eq!(answer.status, 400);
    let deep = format!(
        "{{\"event_type\":\"tool\",\"inputs\":{}1{}}}",
        "{\"a\":".repeat(100_000),
        "}".repeat(100_000)
    );
    assert_eq!(
        running
            .send("POST", "/v1/events", &[kind], deep.as_bytes())
            .status,
        400
    );

    let dots = ".".repeat(5000);
    let filters = json!({"filters": [{"field": format!("metadata.{dots}"), "operator": "exists", "value": null}]});
    refused(
        &running.json("POST", "/v1/events/search", &filters),
        400,
        "filters[0].field",
    );
    let many = json!({"projections": vec!["a"; 201]});
    refused(
        &running.json("POST", "/v1/events/export", &many),
        400,
        "projections",
    );

    // Stored as it is, and given back as JSON.
    let id = text(
        &running.ask(
            "POST",
            "/v1/runs",
            &json!({"name": EVIL, "description": EVIL, "metadata": {EVIL: EVIL},
        "configuration": {EVIL: [EVIL]}, "datapoint_ids": [EVIL]}),
        )["run_id"],
    );
    let run = running.fetch(&format!("/v1/runs/{id}"))["evaluation"].clone();
    assert_eq!(
        (&run["name"], &run["metadata"][EVIL]),
        (&json!(EVIL), &json!(EVIL))
    );
    let dataset =
        text(&running.ask("POST", "/v1/datasets", &json!({"name": EVIL}))["result"]["insertedId"]);
    let data = json!({"data": [{EVIL: EVIL}], "mapping": {"inputs": [EVIL]}});
    running.ask("POST", &format!("/v1/datasets/{dataset}/datapoints"), &data);
    let point = running.fetch("/v1/datapoints")["datapoints"][0].clone();
    assert_eq!(point["inputs"], json!({EVIL: EVIL}));
    let session = running.session(EVIL, &json!({EVIL: EVIL}));
    let event = running.event(
        &json!({"event_type": "tool", "event_name": EVIL, "inputs": {EVIL: EVIL}, "error": EVIL,
        "session_id": session, "metrics": {EVIL: 1}, "children_ids": [EVIL]}),
    );
    assert_eq!(
        running.fetch(&format!("/v1/events/{event}"))["event"]["inputs"],
        json!({EVIL: EVIL})
    );
    assert_eq!(
        running
            .found(&json!([{"field": format!("inputs.{EVIL}"), "operator": "is", "value": EVIL}])),
        [EVIL]
    );
    // The walk above made the other one.
    assert_eq!(running.fetch("/v1/runs")["pagination"]["total"], 2);
}

#[test]
fn a_key_is_asked_for_everywhere() {
    let server = Server::builder()
        .port(0)
        .require_key("hh_secret")
        .start()
        .unwrap();
    assert!(!format!("{:?}", Server::builder().require_key("hh_secret")).contains("hh_secret"));
    let running = Running { server };
    let kind = ("Content-Type", "application/json");
    let operations = operations();
    let extra = [
        ["page", "GET", "/"],
        ["page", "GET", "/sessions/x"],
        ["otlp", "POST", "/v1/traces"],
        ["", "GET", "/nothing"],
    ];
    for [id, method, template] in operations.iter().chain(&extra) {
        let path = path(template);
        let answer = running.send(method, &path, &[kind], b"{}");
        refused(&answer, 401, "key");
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .starts_with("Basic"),
            "{id}"
        );
        for given in [
            "Bearer hh_wrong",
            "Bearer hh_secret2",
            "hh_secret",
            "Basic aGhfc2VjcmV0",
        ] {
            let answer = running.send(method, &path, &[kind, ("Authorization", given)], b"{}");
            assert_eq!(answer.status, 401, "{id} {given}");
        }
        for given in ["Bearer hh_secret", "Basic eDpoaF9zZWNyZXQ="] {
            let answer = running.send(method, &path, &[kind, ("Authorization", given)], b"{}");
            assert_ne!(answer.status, 401, "{id} {given}");
        }
    }
    // An empty key asks for none.
    let open = Running {
        server: Server::builder().port(0).require_key(" ").start().unwrap(),
    };
    assert_eq!(open.get("/v1/runs").status, 200);
}
