//! Capturing the events of a closure, as users' own tests do it.
#![cfg(feature = "testing")]

use honeyhive::events::NewEvent;
use honeyhive::registry::Instance;
use honeyhive::{HoneyHive, Session, SpanExt as _, testing};
use serde_json::json;
use tracing::instrument::WithSubscriber as _;

#[tracing::instrument(ret, fields(honeyhive.event_type = "model", gen_ai.request.model = "gpt-4o"))]
fn ask(question: &str) -> String {
    honeyhive::enrich(|e| {
        e.metadata("usage", json!({"in": 3, "out": [1, {"deep": true}]}))
            .metric("score", 0.5)
            .config("temperature", 0.2)
            .feedback("rating", 5)
            .user_property("plan", "pro")
    });
    format!("{question}!")
}

#[tracing::instrument(err)]
fn fail() -> Result<(), std::io::Error> {
    Err(std::io::Error::other("broken"))
}

fn program() {
    Session::start("chat").in_scope(|| {
        tracing::info_span!("outer").in_scope(|| {
            ask("why");
            let _ = fail();
        });
    });
}

#[test]
fn a_snapshot_of_a_program_is_the_same_every_time() {
    let expected = json!([
        {"name": "outer", "event_type": "tool", "session": "chat"},
        {
            "name": "ask", "event_type": "model", "session": "chat", "parent": "outer",
            "inputs": {"question": "why"}, "outputs": {"result": "why!"},
            "metadata": {"usage": {"in": 3, "out": [1, {"deep": true}]}},
            "metrics": {"score": 0.5}, "config": {"temperature": 0.2}, "feedback": {"rating": 5},
            "user_properties": {"plan": "pro"},
            "attributes": {"gen_ai.request.model": "gpt-4o"},
        },
        {
            "name": "fail", "event_type": "tool", "session": "chat", "parent": "outer",
            "error": "broken",
            "span_events": [["exception", {"exception.message": "broken"}]],
        },
    ]);
    for _ in 0..3 {
        let events = testing::capture(program);
        let mut snapshot = serde_json::to_value(&events).unwrap();
        // What `err` records besides is not the point here.
        let log = &mut snapshot[2]["span_events"][0][1];
        *log = json!({"exception.message": log["exception.message"]});
        let failed = snapshot[2].as_object_mut().unwrap();
        failed.remove("error_type");
        failed.remove("attributes");
        assert_eq!(snapshot, expected);
        assert!(events[0].duration >= events[1].duration);
        assert_eq!(events[1].parent_id.as_ref(), Some(&events[0].span_id));
        assert_eq!(events[0].trace_id, events[1].trace_id);
        assert!(events[0].session_id.is_some() && events[0].start <= events[1].start);
    }
}

#[test]
fn what_has_no_span_is_captured_too() {
    let events = testing::capture(|| {
        let span = tracing::info_span!("work");
        let id = span.event_id().unwrap();
        span.in_scope(|| {
            let instance = Instance::current().unwrap();
            instance.create_event(NewEvent::new("made").input("a", 1).error_message("no"));
        });
        drop(span);
        Instance::current()
            .unwrap()
            .enrich_event(id, |e| e.feedback("rating", 5));
    });
    assert_eq!(events.len(), 2);
    let made = events.iter().find(|event| event.name == "made").unwrap();
    assert_eq!(made.parent.as_deref(), Some("work"));
    assert_eq!(made.inputs["a"], 1);
    assert_eq!(made.error.as_deref(), Some("no"));
    let work = events.iter().find(|event| event.name == "work").unwrap();
    assert_eq!(work.feedback["rating"], 5);
    assert_eq!(work.session.as_deref(), Some("capture"));
}

#[test]
fn spans_left_open_are_there_and_settings_count() {
    let mut kept = None;
    let settings = HoneyHive::builder()
        .filter("debug")
        .session_name("mine")
        .source("tests")
        .project("p");
    let events = testing::capture_with(settings, || {
        kept = Some(tracing::debug_span!("open"));
    })
    .unwrap();
    assert_eq!(events[0].metadata["unfinished"], true);
    assert_eq!(events[0].session.as_deref(), Some("mine"));
    assert_eq!(
        (events[0].source.as_str(), events[0].project.as_deref()),
        ("tests", Some("p"))
    );
    assert!(testing::capture_with(HoneyHive::builder().max_attributes(1), || ()).is_err());
    assert!(testing::capture(|| tracing::debug_span!("hidden")).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn futures_are_captured_alone_even_at_once() {
    let captures = (0..8).map(|n| {
        tokio::spawn(testing::capture_async(async move {
            let span = tracing::info_span!("outer", n);
            let _ = span.enrich(|e| e.metric("n", n));
            tokio::task::yield_now().await;
            let inside = async move {
                tokio::task::yield_now().await;
                tracing::info_span!("spawned", n).in_scope(|| {});
            };
            tokio::spawn(inside.with_current_subscriber())
                .await
                .unwrap();
        }))
    });
    for (n, capture) in captures.collect::<Vec<_>>().into_iter().enumerate() {
        let events = capture.await.unwrap();
        let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names, ["outer", "spawned"]);
        assert!(events.iter().all(|event| event.inputs["n"] == n));
    }
}

#[test]
fn nothing_outside_reaches_a_capture_nor_the_other_way() {
    let honeyhive = HoneyHive::builder().test_mode(true).build().unwrap();
    let events = testing::capture(|| {
        tracing::info_span!("inside").in_scope(|| {});
        honeyhive.enrich(|_| panic!("it is not its span"));
    });
    assert_eq!(events.len(), 1);
    assert_eq!(honeyhive.stats().submitted, 0);
    assert_eq!(testing::capture(|| ()).len(), 0);
}
