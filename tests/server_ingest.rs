//! What the local server takes, refuses and keeps.
#![cfg(feature = "server")]

mod server_support;

use flate2::Compression;
use flate2::write::GzEncoder;
use honeyhive::server::Server;
use opentelemetry_proto::tonic::collector::trace::v1 as collector;
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::Message as _;
use serde_json::{Value, json};
use server_support::{request, span, start};
use std::io::Write as _;

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn protobuf(spans: Vec<trace::Span>) -> Vec<u8> {
    let request = collector::ExportTraceServiceRequest {
        resource_spans: vec![trace::ResourceSpans {
            scope_spans: vec![trace::ScopeSpans {
                spans,
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    request.encode_to_vec()
}

fn reference_span(id: u8) -> trace::Span {
    trace::Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        name: "reference".to_owned(),
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_005_000_000,
        ..Default::default()
    }
}

#[test]
fn what_the_official_python_client_sends() {
    let running = start();
    let session_id = "44c9b4e4-5470-42ed-9a96-01380411e191";
    let body = include_bytes!("fixtures/python_client.json");
    let answer = running.send(
        "POST",
        "/opentelemetry/v1/traces",
        &[
            JSON,
            ("Authorization", "Bearer hh_test_key"),
            ("X-Source", "staging"),
        ],
        body,
    );
    assert_eq!((answer.status, answer.json()), (200, json!({})));

    let session = running.server.session(session_id).unwrap().unwrap();
    assert_eq!(session.session_name, "root-chain");
    assert_eq!(session.source.as_deref(), Some("staging"));
    assert_eq!((session.events, session.errors), (3, 1));

    let events = running.server.events(session_id).unwrap();
    let [root, model, leaf] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(root.event_id, "0c5c2a1e-6d5a-4c53-9e0e-5e8a6a7d1f10");
    assert_eq!(root.parent_id, session_id);
    assert_eq!(model.parent_id, root.event_id);
    assert_eq!(leaf.parent_id, model.event_id);
    assert_eq!(
        (
            root.event_type.as_str(),
            model.event_type.as_str(),
            leaf.event_type.as_str()
        ),
        ("chain", "model", "tool")
    );
    assert_eq!(model.error.as_deref(), Some("ValueError: bad thing"));
    assert_eq!(model.metadata["error_type"], "ValueError");
    assert_eq!(
        Value::from(leaf.inputs.clone()),
        json!({"i": 7, "f": 1.5, "b": true, "n": "None", "d": {"k": [1, {"z": null}]}, "l": [1, "two", null]})
    );
    assert_eq!(
        Value::from(leaf.outputs.clone()),
        json!({"result": {"text": "HI", "list": [1, {"a": 2}], "when": "2024-01-02 03:04:05", "nested": {"x": {"y": true}}}})
    );
    assert_eq!(leaf.metadata["span_id"], "6830628477d112c1");
    assert!((leaf.duration - 0.323).abs() < 0.001);
}

#[test]
fn protobuf_and_gzip_at_both_addresses() {
    let running = start();
    for (id, path) in [(1, "/v1/traces"), (2, "/opentelemetry/v1/traces")] {
        let plain = running.send(
            "POST",
            path,
            &[PROTOBUF],
            &protobuf(vec![reference_span(id)]),
        );
        assert_eq!((plain.status, plain.body.len()), (200, 0), "{}", plain.head);
        assert_eq!(plain.header("content-type"), Some("application/x-protobuf"));
        let packed = gzip(&protobuf(vec![reference_span(id + 10)]));
        assert_eq!(
            running
                .send("POST", path, &[PROTOBUF, GZIP], &packed)
                .status,
            200
        );
        let packed = gzip(
            request(&[span(u64::from(id), None, "json", &[])])
                .to_string()
                .as_bytes(),
        );
        assert_eq!(
            running.send("POST", path, &[JSON, GZIP], &packed).status,
            200
        );
    }
    let sessions = running.server.sessions().unwrap();
    let mut events: Vec<u64> = sessions.iter().map(|session| session.events).collect();
    events.sort_unstable();
    // Spans that name no session: one for each trace.
    assert_eq!(events, [2, 4]);
    let first = &running.server.events(&sessions[1].session_id).unwrap()[0];
    assert_eq!(first.parent_id, sessions[1].session_id);
}

#[test]
fn bad_spans_are_reported_and_the_others_kept() {
    let running = start();
    let mut bad = reference_span(3);
    bad.trace_id = vec![1; 4];
    let body = protobuf(vec![reference_span(1), bad]);
    let answer = running.send("POST", "/v1/traces", &[PROTOBUF], &body);
    assert_eq!(answer.status, 200);
    let told = collector::ExportTraceServiceResponse::decode(answer.body.as_slice()).unwrap();
    assert_eq!(told.partial_success.unwrap().rejected_spans, 1);

    let mut bad = span(9, None, "bad", &[]);
    bad["spanId"] = json!("not hexadecimal");
    let answer = running.spans(&[bad, span(10, None, "good", &[])]);
    assert_eq!(answer.json()["partialSuccess"]["rejectedSpans"], "1");
    let sessions = running.server.sessions().unwrap();
    let events: u64 = sessions.iter().map(|session| session.events).sum();
    assert_eq!(events, 2);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let running = start();
    let text = ("Content-Type", "text/plain");
    let brotli = ("Content-Encoding", "br");
    let deep = "[".repeat(100_000);
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], u16);
    let cases: &[Case<'_>] = &[
        (&[text], b"x", 415),
        (&[], b"x", 415),
        (&[PROTOBUF, brotli], b"x", 415),
        (&[PROTOBUF], b"\xff\xff\xff", 400),
        (&[JSON], b"{\"resourceSpans\": [", 400),
        (&[JSON], b"[]", 400),
        (&[JSON], deep.as_bytes(), 400),
        (&[JSON, GZIP], b"not gzip", 400),
        (&[JSON], b"{\"resourceSpans\": 7}", 400),
    ];
    for (headers, body, status) in cases {
        let answer = running.send("POST", "/v1/traces", headers, body);
        assert_eq!(answer.status, *status, "{headers:?} {}", answer.text());
        assert!(answer.json()["message"].is_string());
    }
    let bomb = gzip(&vec![b' '; 65 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(
        running
            .send("POST", "/v1/traces", &[JSON, GZIP], &bomb)
            .status,
        413
    );
    let large = vec![b' '; (64 << 20) + 1];
    assert_eq!(
        running.send("POST", "/v1/traces", &[JSON], &large).status,
        413
    );
    assert_eq!(running.get("/v1/traces").status, 405);
    assert_eq!(running.get("/nothing/here").status, 404);
    // An empty request is a good one.
    assert_eq!(
        running.send("POST", "/v1/traces", &[PROTOBUF], b"").status,
        200
    );
    assert!(running.server.sessions().unwrap().is_empty());
}

#[test]
fn a_session_is_started_once() {
    let running = start();
    let id = "66666666-6666-4666-8666-66666666ABCD";
    let body = json!({"session": {"session_id": id, "session_name": "first", "source": "dev",
        "inputs": {"q": 1}, "metadata": {"a": 1}, "project": "p"}});
    let first = running.json("POST", "/session/start", &body).json();
    for required in [
        "event_id",
        "session_id",
        "org_id",
        "workspace_id",
        "project_id",
    ] {
        assert!(first[required].is_string(), "{required}: {first}");
    }
    assert_eq!(first["session_id"], id.to_lowercase());
    assert_eq!(first["event_type"], "session");
    let more = json!({"session": {"session_id": id, "metadata": {"b": 2}, "user_properties": {"user_id": "ada"}}});
    let second = running.json("POST", "/session/start", &more).json();
    assert_eq!(second["event_name"], "first");
    assert_eq!(second["metadata"], json!({"a": 1, "b": 2}));
    assert_eq!(running.server.sessions().unwrap().len(), 1);

    // What is no UUID is replaced by one; without any there is one too.
    let bad =
        json!({"session": {"session_id": "not-a-uuid", "session_name": "x", "start_time": "soon"}});
    let bad = running.json("POST", "/session/start", &bad).json();
    let fresh = running
        .json("POST", "/v1/sessions", &json!({"session_name": "y"}))
        .json();
    for answer in [bad, fresh] {
        let id = answer["session_id"].as_str().unwrap();
        assert!(uuid::Uuid::try_parse(id).is_ok());
    }
    assert_eq!(running.server.sessions().unwrap().len(), 3);
    for wrong in [
        json!({}),
        json!({"session": 1}),
        json!({"session": {"metadata": []}}),
        json!([]),
    ] {
        assert_eq!(
            running.json("POST", "/session/start", &wrong).status,
            400,
            "{wrong}"
        );
    }
}

#[test]
fn spans_before_and_without_a_started_session() {
    let running = start();
    let id = "88888888-8888-4888-8888-888888888881";
    let own: &[(&str, &str)] = &[("honeyhive.session_id", id), ("honeyhive.source", "prod")];
    running.spans(&[span(2, Some(1), "child", own)]);
    let session = running.server.session(id).unwrap().unwrap();
    assert_eq!(
        (session.session_name.as_str(), session.events),
        ("unknown", 1)
    );
    running.spans(&[span(1, None, "root", own)]);
    assert_eq!(
        running.server.session(id).unwrap().unwrap().session_name,
        "root"
    );
    let late = json!({"session": {"session_id": id, "session_name": "named late"}});
    running.json("POST", "/session/start", &late);
    let session = running.server.session(id).unwrap().unwrap();
    assert_eq!(session.session_name, "named late");
    assert_eq!(
        (session.events, session.source.as_deref()),
        (2, Some("prod"))
    );
    let events = running.server.events(id).unwrap();
    assert_eq!(events[1].parent_id, events[0].event_id);
}

#[test]
fn the_same_span_twice_is_one_event() {
    let running = start();
    let one = span(1, None, "once", &[("honeyhive_inputs.a", "1")]);
    let again = span(1, None, "once", &[("honeyhive_inputs.b", "2")]);
    running.spans(&[one.clone(), one]);
    running.spans(&[again]);
    let session = &running.server.sessions().unwrap()[0];
    assert_eq!(session.events, 1);
    let events = running.server.events(&session.session_id).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        Value::from(events[0].inputs.clone()),
        json!({"a": "1", "b": "2"})
    );
}

#[test]
fn events_are_created_and_updated() {
    let running = start();
    let body = json!({"event": {"event_type": "model", "event_name": "ask", "inputs": {"q": 1},
        "start_time": 1_700_000_000_000.0, "duration": 250.0, "metadata": {"total_tokens": 5}}});
    let created = running.json("POST", "/events", &body).json();
    assert_eq!(created["success"], true);
    let id = created["event_id"].as_str().unwrap();
    let update = json!({"event_id": id, "metadata": {"note": "x"}, "metrics": {"score": 0.5}, "end_time": 1_700_000_001_000.0});
    assert_eq!(running.json("PUT", "/events", &update).status, 200);
    let session = &running.server.sessions().unwrap()[0];
    let event = &running.server.events(&session.session_id).unwrap()[0];
    assert_eq!(
        Value::from(event.metadata.clone()),
        json!({"total_tokens": 5, "note": "x"})
    );
    assert_eq!(
        (event.duration, event.parent_id.as_str()),
        (1000.0, session.session_id.as_str())
    );

    let enrich = json!({"event_id": session.session_id, "feedback": {"rating": 1}, "outputs": {"o": 1}, "duration": 12.5});
    assert_eq!(running.json("PUT", "/events", &enrich).status, 200);
    let session = running
        .server
        .session(&session.session_id)
        .unwrap()
        .unwrap();
    assert_eq!(
        (session.duration, session.feedback["rating"].clone()),
        (12.5, json!(1))
    );
    assert_eq!(session.events, 1);

    for wrong in [
        json!({"event_id": "unknown"}),
        json!({}),
        json!({"event_id": id, "outputs": [1]}),
    ] {
        let answer = running.json("PUT", "/events", &wrong);
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.json()["message"].is_string());
    }
    let wrong = json!({"event": {"event_type": "generic"}});
    assert_eq!(running.json("POST", "/events", &wrong).status, 400);
}

#[test]
fn only_pages_of_its_own_and_names_of_this_machine() {
    let running = start();
    let body = request(&[span(1, None, "x", &[])]).to_string();
    let host = running.server.local_addr().to_string();
    let own = format!("http://{host}");
    let try_with = |headers: &[(&str, &str)]| {
        let mut all = vec![JSON];
        all.extend_from_slice(headers);
        running
            .send("POST", "/v1/traces", &all, body.as_bytes())
            .status
    };
    assert_eq!(try_with(&[("Origin", &own)]), 200);
    assert_eq!(try_with(&[("Origin", "http://evil.example")]), 403);
    assert_eq!(try_with(&[("Origin", "null")]), 403);
    assert_eq!(try_with(&[("Host", "evil.example")]), 403);
    assert_eq!(try_with(&[("Host", "localhost:1")]), 200);
    let read = running.send("GET", "/", &[("Host", "rebound.evil.example:4318")], b"");
    assert_eq!(read.status, 403);
}

#[test]
fn what_is_nested_deeply_is_kept_too() {
    let running = start();
    let path = format!("honeyhive_inputs.{}x", "a.".repeat(40));
    for depth in [50, 89, 91, 120] {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let said = format!(r#"[{{"role":"user","content":{deep}}}]"#);
        let id = format!("deep-{depth}");
        let attributes = [
            ("honeyhive.session_id", id.as_str()),
            (path.as_str(), &deep),
            ("honeyhive_inputs.plain", "here"),
            ("gen_ai.input.messages", &said),
            ("honeyhive_event_type", "model"),
        ];
        running.spans(&[span(depth as u64, None, "deep", &attributes)]);
        let event = &running.server.events(&id).unwrap()[0];
        assert_eq!(event.inputs["plain"], "here", "{depth}");
        assert!(event.inputs.contains_key("chat_history"), "{depth}");
        assert_eq!(
            running.get(&format!("/sessions/{id}?tab=inputs")).status,
            200
        );
    }
}

#[test]
fn what_was_answered_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.db");
    let server = Server::builder().port(0).database(&path).start().unwrap();
    let running = server_support::Running { server };
    running.spans(&[span(1, None, "kept", &[("honeyhive_inputs.q", "x")])]);
    // Copied while the server runs: what a machine that loses power has on its disk.
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(
        folder.path().join("kept.db-wal"),
        folder.path().join("copy.db-wal"),
    )
    .unwrap();
    for path in [copy, path] {
        let server = Server::builder().port(0).database(&path).start().unwrap();
        let sessions = server.sessions().unwrap();
        let events = server.events(&sessions[0].session_id).unwrap();
        assert_eq!(events[0].event_name, "kept");
        server.shutdown().unwrap();
    }
}

#[test]
fn many_clients_at_once_lose_nothing() {
    let running = start();
    std::thread::scope(|scope| {
        for client in 0..8_u64 {
            let running = &running;
            scope.spawn(move || {
                for batch in 0..5 {
                    let first = client * 1000 + batch * 20 + 1;
                    let spans: Vec<Value> = (first..first + 20)
                        .map(|n| span(n, None, "n", &[]))
                        .collect();
                    running.spans(&spans);
                }
            });
        }
    });
    let session = &running.server.sessions().unwrap()[0];
    assert_eq!(session.events, 800);
    assert_eq!(
        running.server.events(&session.session_id).unwrap().len(),
        800
    );
}

#[tokio::test]
async fn it_is_started_asked_and_dropped_in_asynchronous_code() {
    let server = Server::builder().port(0).start().unwrap();
    let path = server.database().to_owned();
    assert!(path.exists());
    assert!(server.sessions().unwrap().is_empty());
    drop(server);
    assert!(!path.exists(), "a temporary database is left behind");
    let server = Server::builder().port(0).start().unwrap();
    server.shutdown().unwrap();
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let running = start();
    let port = running.server.local_addr().port();
    let error = Server::builder().port(port).start().unwrap_err();
    assert!(error.is_io());
    assert!(
        error
            .to_string()
            .contains(&format!("127.0.0.1:{port} is in use")),
        "{error}"
    );
}

/// What a subscriber of the program would see of the server.
#[test]
fn nothing_that_the_server_logs_reaches_the_program() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tracing_subscriber::layer::SubscriberExt as _;

    struct Count(Arc<AtomicUsize>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Count {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let seen = Arc::new(AtomicUsize::new(0));
    let subscriber = tracing_subscriber::registry().with(Count(seen.clone()));
    // The only test of this file that sets one for the whole process.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let running = start();
    running.spans(&[span(1, None, "x", &[])]);
    running.get("/");
    running.server.shutdown().unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}
