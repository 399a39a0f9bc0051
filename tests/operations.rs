//! Events that are no spans, updates of events and the end of sessions, as they go over the wire.

mod support;

use std::time::{Duration, SystemTime};

use honeyhive::events::NewEvent;
use honeyhive::{EventId, EventType, HoneyHive, Session, SpanExt as _};
use serde_json::{Value, json};
use support::{PATIENCE, Recorder, SESSIONS, TRACES, attribute, settings};
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::prelude::*;

fn subscriber(honeyhive: &HoneyHive) -> Dispatch {
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .into()
}

/// The bodies sent to `/events` with a method.
fn events(server: &Recorder, method: &str) -> Vec<Value> {
    let mut requests = server.requests_to("/events");
    requests.retain(|request| request.method == method);
    requests.iter().map(support::Request::json).collect()
}

#[test]
fn an_event_has_the_shape_of_the_reference_and_more() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let parent = EventId::parse("55555555-5555-4555-8555-555555555555").unwrap();
    let id = honeyhive.create_event(
        NewEvent::new("ev")
            .event_type(EventType::Model)
            .parent(parent)
            .config("model", "x")
            .input("i", 1)
            .outputs(json!({"o": 1}))
            .error_message("err")
            .duration(Duration::from_millis(5))
            .metadata("m", 1)
            .feedback("f", 1)
            .metric("s", 1),
    );
    let bare = honeyhive.create_event(NewEvent::new("ev2"));
    honeyhive.flush_blocking(PATIENCE).unwrap();

    let session = honeyhive.session_id().to_string();
    let mut sent = events(&server, "POST");
    for event in &mut sent {
        let event = event["event"].as_object_mut().unwrap();
        let start = event.remove("start_time").unwrap().as_u64().unwrap();
        let end = event.remove("end_time").unwrap().as_u64().unwrap();
        let duration = event["duration"].as_f64().unwrap();
        assert!((0..=1).contains(&(end - start).abs_diff(duration as u64)));
        assert!(start > 1_600_000_000_000);
    }
    let expected = [
        json!({"event": {
            "project": "", "source": "dev", "event_name": "ev", "event_type": "model",
            "session_id": session, "event_id": id.to_string(),
            "parent_id": "55555555-5555-4555-8555-555555555555",
            "config": {"model": "x"}, "inputs": {"i": 1}, "outputs": {"o": 1}, "error": "err",
            "duration": 5.0, "metadata": {"m": 1}, "feedback": {"f": 1}, "metrics": {"s": 1},
        }}),
        json!({"event": {
            "project": "", "source": "dev", "event_name": "ev2", "event_type": "tool",
            "session_id": session, "event_id": bare.to_string(),
            "config": {}, "inputs": {}, "duration": 0.0,
        }}),
    ];
    assert_eq!(sent, expected);
    let paths: Vec<_> = server.requests().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, [SESSIONS, "/events", "/events"]);
    let stats = honeyhive.stats();
    assert_eq!((stats.updates_sent, stats.updates_lost), (2, 0));
}

#[test]
fn an_event_belongs_where_it_is_created() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).project("p").build().unwrap();
    let session = Session::start("chat");
    let subscriber = subscriber(&honeyhive);
    let (parent, id) = dispatcher::with_default(&subscriber, || {
        session.in_scope(|| {
            let span = tracing::info_span!("outer");
            let id = span.in_scope(|| honeyhive.create_event(NewEvent::new("inner")));
            (span.event_id().unwrap(), id)
        })
    });
    let other = Session::start("other");
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000);
    honeyhive.create_event(
        NewEvent::new("timed")
            .session(&other)
            .start(start)
            .end(start + Duration::from_millis(250)),
    );
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let sent = events(&server, "POST");
    let inner = &sent[0]["event"];
    assert_eq!(inner["session_id"], session.id().to_string());
    assert_eq!(inner["parent_id"], parent.to_string());
    assert_eq!(inner["event_id"], id.to_string());
    assert_eq!(inner["project"], "p");
    let outer = server.span("outer");
    let sent_id = attribute(&outer, "honeyhive_event_id");
    assert_eq!(sent_id, Some(parent.to_string()));
    let timed = &sent[1]["event"];
    assert_eq!(timed["session_id"], other.id().to_string());
    assert_eq!(timed["start_time"], 1_700_000_000_000_u64);
    assert_eq!(timed["end_time"], 1_700_000_000_250_u64);
    assert_eq!(timed["duration"], 250.0);
    assert_eq!(server.requests_to(SESSIONS).len(), 2);
}

#[test]
fn an_update_loses_neither_inputs_nor_error() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let id: EventId = "22222222-2222-4222-8222-222222222222".parse().unwrap();
    honeyhive.enrich_event(id, |e| {
        e.metadata("late", 1)
            .metric("x", 1)
            .user_property("u", 2)
            .input("i", "in")
            .error(&std::io::Error::other("broken"))
            .duration(Duration::from_micros(12_500))
    });
    // Nothing to say: no request.
    honeyhive.enrich_event(id, |e| e.metadata("none", None::<u8>));
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let expected = json!({
        "event_id": "22222222-2222-4222-8222-222222222222",
        "metadata": {"late": 1, "inputs": {"i": "in"}, "error": "broken", "error_type": "Error"},
        "metrics": {"x": 1},
        "user_properties": {"u": 2},
        "duration": 12.5,
    });
    assert_eq!(events(&server, "PUT"), [expected]);
    // An update of an event needs no session.
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_update_of_an_event_follows_the_event() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let subscriber = subscriber(&honeyhive);
    let id = dispatcher::with_default(&subscriber, || {
        let span = tracing::info_span!("work");
        span.in_scope(|| {
            let current = honeyhive::current_event().unwrap();
            assert_eq!(Some(current.id()), span.event_id());
            assert_eq!(current.session().id(), honeyhive.session_id());
            assert_eq!(honeyhive.current_event(), Some(current.clone()));
            assert_eq!(current.trace_id().len(), 32);
            assert_eq!(current.span_id().len(), 16);
            current.id()
        })
    });
    assert_eq!(honeyhive::current_event(), None);
    honeyhive.enrich_event(id, |e| e.feedback("rating", 5));
    server.wait("the update", |requests| {
        requests.iter().any(|it| it.path == "/events")
    });
    let paths: Vec<_> = server.requests().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, [SESSIONS, TRACES, "/events"]);
    let work = server.span("work");
    assert_eq!(attribute(&work, "honeyhive_event_id"), Some(id.to_string()));
    assert_eq!(events(&server, "PUT")[0]["event_id"], id.to_string());
}

#[test]
fn the_end_of_a_session_follows_its_announcement() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let subscriber = subscriber(&honeyhive);
    let session = Session::start("short");
    let foreign = Session::from_id(honeyhive::session::SessionId::random());
    dispatcher::with_default(&subscriber, || {
        session.end();
        foreign.end();
        honeyhive.own_session().end();
    });
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let ends = events(&server, "PUT");
    for (end, (id, known)) in ends.iter().zip([
        (session.id(), true),
        (foreign.id(), false),
        (honeyhive.session_id(), true),
    ]) {
        assert_eq!(end["event_id"], id.to_string());
        assert!(end["end_time"].as_u64().unwrap() > 1_600_000_000_000);
        assert_eq!(end["duration"].is_u64(), known, "{end}");
    }
    assert_eq!(ends.len(), 3);
    let paths: Vec<_> = server.requests().into_iter().map(|it| it.path).collect();
    assert_eq!(paths[..2], [SESSIONS, "/events"]);
}

#[test]
fn names_known_at_run_time_are_the_names_of_events() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    dispatcher::with_default(&subscriber(&honeyhive), || {
        let name = format!("step {}", 7);
        let span = honeyhive.span(&name);
        span.enrich(|e| e.event_type(EventType::Chain).input("a", 1));
        span.in_scope(|| honeyhive.span("below").in_scope(|| {}));
    });
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let step = server.span("step 7");
    assert_eq!(
        attribute(&step, "honeyhive_event_name").as_deref(),
        Some("step 7")
    );
    assert_eq!(
        attribute(&step, "honeyhive_event_type").as_deref(),
        Some("chain")
    );
    assert_eq!(server.span("below").parent_span_id, step.span_id);
}

#[test]
fn a_duration_that_was_said_goes_before_the_one_that_was_measured() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    dispatcher::with_default(&subscriber(&honeyhive), || {
        let span = tracing::info_span!("work");
        span.enrich(|e| e.duration(Duration::from_millis(1500)));
    });
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let duration = attribute(&server.span("work"), "honeyhive_duration_ms");
    assert_eq!(duration.as_deref(), Some("1500"));
}

#[test]
fn where_nothing_is_recorded_nothing_is_sent() {
    let server = Recorder::start();
    for honeyhive in [
        HoneyHive::builder().build().unwrap(),
        settings(&server.url).disable_tracing(true).build().unwrap(),
    ] {
        honeyhive.create_event(NewEvent::new("event"));
        let id = EventId::parse("22222222-2222-4222-8222-222222222222").unwrap();
        honeyhive.enrich_event(id, |_| panic!("nobody asks"));
        assert_eq!(honeyhive.stats().updates_lost, 0);
    }
    let honeyhive = settings(&server.url).build().unwrap();
    honeyhive.shutdown_blocking(PATIENCE).unwrap();
    honeyhive.create_event(NewEvent::new("event"));
    assert!(server.requests().is_empty());
}

#[test]
fn a_closure_that_panics_is_counted_and_an_update_that_fails_too() {
    let server = Recorder::start();
    server.answer_others([support::Reply::status(400)]);
    let honeyhive = settings(&server.url).build().unwrap();
    let id = EventId::parse("22222222-2222-4222-8222-222222222222").unwrap();
    honeyhive.enrich_event(id, |_| panic!("the closure is broken"));
    honeyhive.enrich_event(id, |e| e.metadata("a", 1));
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let stats = honeyhive.stats();
    assert_eq!(
        (stats.cut, stats.updates_lost, stats.updates_sent),
        (1, 1, 0)
    );
}
