//! Sessions are announced before their events and once, and hold nothing up; and what is said where.

mod support;

use std::time::{Duration, Instant};

use honeyhive::Session;
use honeyhive::report::Degradation;
use support::fault::{Act, Fault};
use support::*;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);

fn run_in(honeyhive: &honeyhive::HoneyHive, sessions: &[Session]) {
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        for session in sessions {
            session.in_scope(|| tracing::info_span!("inside").in_scope(|| {}));
        }
    });
}

fn announced(server: &Recorder) -> Vec<String> {
    let requests = server.requests_to(SESSIONS);
    requests
        .iter()
        .map(|request| {
            request.json()["session"]["session_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn every_session_is_announced_before_its_first_events_and_once() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .max_export_batch_size(7)
        .build()
        .unwrap();
    let sessions: Vec<Session> = (0..50)
        .map(|n| Session::start(format!("session {n}")))
        .collect();
    for _ in 0..3 {
        run_in(&honeyhive, &sessions);
        honeyhive.flush_blocking(LONG).unwrap();
    }
    let mut known = announced(&server);
    assert_eq!(known.len(), 50);
    known.sort_unstable();
    known.dedup();
    assert_eq!(known.len(), 50);
    let mut seen = Vec::new();
    for request in server.requests() {
        if request.path == SESSIONS {
            seen.push(
                request.json()["session"]["session_id"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
            continue;
        }
        for span in &request.traces().resource_spans[0].scope_spans[0].spans {
            let session = attribute(span, "honeyhive.session_id").unwrap();
            assert!(seen.contains(&session), "{session} was not announced");
        }
    }
    assert_all_exported(&honeyhive.stats(), 150);
    assert_eq!(honeyhive.stats().sessions_started, 50);
}

#[test]
fn the_announcement_says_what_is_known() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .source("prod")
        .project("atlas")
        .session_name("mine")
        .build()
        .unwrap();
    let session = Session::builder("chat")
        .input("q", "why")
        .metadata("k", 1)
        .user_property("plan", "pro")
        .start();
    run_in(&honeyhive, std::slice::from_ref(&session));
    emit(&honeyhive, 1);
    honeyhive.flush_blocking(LONG).unwrap();
    let requests = server.requests_to(SESSIONS);
    let mut bodies: Vec<_> = requests
        .iter()
        .map(|request| request.json()["session"].clone())
        .collect();
    bodies.sort_by_key(|body| body["session_name"].to_string());
    assert_eq!(
        bodies,
        [
            serde_json::json!({ "session_id": session.id().to_string(), "session_name": "chat", "source": "prod",
                "project": "atlas", "inputs": { "q": "why" }, "metadata": { "k": 1 }, "user_properties": { "plan": "pro" } }),
            serde_json::json!({ "session_id": honeyhive.session_id().to_string(), "session_name": "mine",
                "source": "prod", "project": "atlas" }),
        ]
    );
    for request in &requests {
        assert_eq!(request.method, "POST");
        assert_eq!(
            request.header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("hh-client-language"), Some("rust"));
        assert_eq!(request.header("hh-client-package"), Some("honeyhive"));
        assert_eq!(
            request.header("hh-client-version"),
            Some(env!("CARGO_PKG_VERSION"))
        );
        let stamp: u64 = request
            .header("hh-client-timestamp")
            .unwrap()
            .parse()
            .unwrap();
        assert!(stamp > 1_600_000_000_000_000_000);
    }
}

#[test]
fn an_announcement_that_fails_stops_no_events() {
    for reply in [
        Reply::status(500),
        Reply::status(404),
        Reply::status(503),
        Reply::status(401),
        Reply::status(200).body("<html>"),
        Reply::status(200).body(r#"{"session_id":"7f3a5c10-0000-4000-8000-000000000001"}"#),
        Reply::status(200).body(r#"{"session_id":17}"#),
        Reply::status(200).body("null"),
    ] {
        let server = Recorder::start();
        let failed = reply.status != 200;
        server.answer_others([reply]);
        let honeyhive = settings(&server.url).build().unwrap();
        emit(&honeyhive, 3);
        honeyhive.flush_blocking(LONG).unwrap();
        assert_all_exported(&honeyhive.stats(), 3);
        let own = honeyhive.session_id().to_string();
        assert!(
            server
                .spans()
                .iter()
                .all(|span| attribute(span, "honeyhive.session_id").as_ref() == Some(&own))
        );
        let local = |found: &Degradation| matches!(found, Degradation::LocalSession { .. });
        assert_eq!(honeyhive.status().degraded.iter().any(local), failed);
        // It is not asked for again.
        emit(&honeyhive, 1);
        honeyhive.flush_blocking(LONG).unwrap();
        assert_eq!(announced(&server).len(), 1);
        let stats = honeyhive.stats();
        assert_eq!(
            (stats.sessions_started, stats.sessions_failed),
            if failed { (0, 1) } else { (1, 0) }
        );
    }
}

#[test]
fn an_announcement_that_is_never_answered_stops_no_events() {
    let collector = Recorder::start();
    for server in [
        Fault::start([], Act::Silence),
        Fault::start([], Act::Raw(b"")),
    ] {
        // Refused by nobody listening, in the second round by a connection that closes.
        let honeyhive = settings(&server.url)
            .otlp_endpoint(format!("{}/v1/traces", collector.url))
            .export_timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        emit(&honeyhive, 3);
        let started = Instant::now();
        honeyhive.flush_blocking(LONG).unwrap();
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{:?}",
            started.elapsed()
        );
        assert_all_exported(&honeyhive.stats(), 3);
    }
    assert_eq!(collector.requests_to("/v1/traces").len(), 2);
}

#[test]
fn updates_follow_the_announcement_in_order() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let session = honeyhive.session("chat");
    for n in 0..10 {
        session.enrich(|s| {
            s.metadata("n", n)
                .metric("score", 0.5)
                .input("q", "why")
                .feedback("rating", 5)
        });
    }
    let flushed = honeyhive.flush_blocking(LONG).unwrap();
    assert_eq!(flushed.sent, 0);
    let requests = server.requests();
    let paths: Vec<&str> = requests
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(paths[0], SESSIONS);
    assert_eq!(paths[1..], ["/events"; 10]);
    for (n, request) in requests[1..].iter().enumerate() {
        assert_eq!(request.method, "PUT");
        assert!(request.header("hh-client-timestamp").is_some());
        let expected = serde_json::json!({ "event_id": session.id().to_string(),
            "metadata": { "n": n, "inputs": { "q": "why" } }, "metrics": { "score": 0.5 }, "feedback": { "rating": 5 } });
        assert_eq!(request.json(), expected);
    }
    assert_eq!(honeyhive.stats().updates_sent, 10);
}

#[test]
fn updates_that_fail_stop_no_events() {
    let server = Recorder::start();
    server.answer_by(|request| (request.path == "/events").then(|| Reply::status(503)));
    let honeyhive = settings(&server.url)
        .flush_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    honeyhive.own_session().enrich(|s| s.metadata("k", 1));
    assert!(
        honeyhive
            .flush_blocking(Duration::from_millis(200))
            .unwrap_err()
            .is_timeout()
    );
    emit(&honeyhive, 200);
    let sent = || server.spans().len() == 200;
    let started = Instant::now();
    assert!(
        honeyhive
            .flush_blocking(Duration::from_millis(300))
            .unwrap_err()
            .is_timeout()
    );
    until("the events", sent);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_all_exported(&honeyhive.stats(), 200);
    // Refused for good, it is lost and counted.
    server.answer_by(|request| (request.path == "/events").then(|| Reply::status(400)));
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().failed, 0);
    assert_eq!(
        (
            honeyhive.stats().updates_sent,
            honeyhive.stats().updates_lost
        ),
        (0, 1)
    );
}

#[test]
fn waiting_updates_are_bounded() {
    let server = Recorder::start();
    server.hold();
    let honeyhive = settings(&server.url)
        .flush_timeout(Duration::ZERO)
        .build()
        .unwrap();
    let large = "x".repeat(500_000);
    for _ in 0..100 {
        honeyhive.own_session().enrich(|s| s.metadata("k", &large));
    }
    let lost = honeyhive.stats().updates_lost;
    assert!((60..100).contains(&lost), "{lost}");
    server.release();
    honeyhive.flush_blocking(LONG).unwrap();
    let stats = honeyhive.stats();
    assert_eq!((stats.updates_sent, stats.updates_lost), (100 - lost, lost));
    // There is room again.
    honeyhive.own_session().enrich(|s| s.metadata("k", &large));
    honeyhive.flush_blocking(LONG).unwrap();
    assert_eq!(honeyhive.stats().updates_lost, lost);
}

#[test]
fn dropping_waits_for_updates_too() {
    let server = Recorder::start();
    server.answer_by(|_| {
        std::thread::sleep(Duration::from_millis(50));
        None
    });
    let honeyhive = settings(&server.url).build().unwrap();
    honeyhive.own_session().enrich(|s| s.metadata("k", 1));
    server.wait("the announcement", |requests| !requests.is_empty());
    drop(honeyhive);
    assert_eq!(server.requests_to("/events").len(), 1);
}

#[test]
fn with_an_otlp_endpoint_alone_nothing_else_is_called() {
    let server = Recorder::start();
    let honeyhive = honeyhive::HoneyHive::builder()
        .otlp_endpoint(format!("{}/v1/traces", server.url))
        .header("x-team", "blue")
        .build()
        .unwrap();
    emit(&honeyhive, 2);
    honeyhive.own_session().enrich(|s| s.metadata("k", 1));
    honeyhive.flush_blocking(LONG).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/v1/traces");
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(requests[0].header("x-team"), Some("blue"));
    assert_all_exported(&honeyhive.stats(), 2);
    assert_eq!(honeyhive.stats().updates_lost, 1);
}

#[test]
fn the_key_made_for_ingestion_is_preferred_and_headers_do_not_replace_it() {
    let server = Recorder::start();
    let ingestion = format!("hh_ingst_{}_{}", "a1".repeat(12), "b2".repeat(32));
    let with_own = settings(&server.url)
        .header("authorization", "Bearer other")
        .build();
    assert!(with_own.unwrap_err().is_config());
    let honeyhive = settings(&server.url)
        .ingestion_api_key(&ingestion)
        .header("X-Team", "blue")
        .source("prod")
        .build()
        .unwrap();
    emit(&honeyhive, 1);
    honeyhive.flush_blocking(LONG).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(
            request.header("authorization"),
            Some(format!("Bearer {ingestion}").as_str())
        );
        assert_eq!(request.header("x-team"), Some("blue"));
        assert_eq!(
            request
                .headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
                .count(),
            1
        );
    }
}

#[test]
fn another_server_hears_of_the_sessions_too() {
    let first = Recorder::start();
    let second = Recorder::start();
    let honeyhive = settings(&first.url).build().unwrap();
    emit(&honeyhive, 1);
    honeyhive.flush_blocking(LONG).unwrap();
    honeyhive
        .reconfigure(|settings| settings.server_url(&second.url))
        .unwrap();
    emit(&honeyhive, 1);
    honeyhive.flush_blocking(LONG).unwrap();
    honeyhive
        .reconfigure(|settings| settings.source("prod"))
        .unwrap();
    emit(&honeyhive, 1);
    honeyhive.flush_blocking(LONG).unwrap();
    assert_eq!((announced(&first).len(), announced(&second).len()), (1, 1));
    assert_eq!((first.spans().len(), second.spans().len()), (1, 2));
    assert_all_exported(&honeyhive.stats(), 3);
}
