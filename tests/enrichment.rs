//! Data added to open spans: what arrives, and what user code may do on the way.

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;

use honeyhive::{EventType, HoneyHive, SpanExt as _, enrich};
use serde::Serialize;
use support::traced::{Traced, under};
use support::{PATIENCE, attribute};
use tracing::{Span, debug_span, info_span};
use tracing_subscriber::prelude::*;

/// Runs `f` in a span, and answers with the attributes it left, those of every event apart.
fn attributes_after(f: impl FnOnce()) -> BTreeMap<String, String> {
    let traced = Traced::new();
    traced.run(|| info_span!("span").in_scope(f));
    let span = traced.span("span");
    let mut found: BTreeMap<_, _> = under(&span, "honeyhive_").into_iter().collect();
    found.remove("duration_ms");
    if found.get("event_type").is_some_and(|kind| kind == "tool") {
        found.remove("event_type");
    }
    found
}

/// Asserts that `attributes` are these, no more and no less.
#[track_caller]
fn assert_are(attributes: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    let found: Vec<(&str, &str)> = attributes
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn both_shapes_of_closures_compile_and_every_bucket_is_filled() {
    let found = attributes_after(|| {
        enrich(|e| e.output("an answer").metric("n", 1));
        enrich(|e| {
            e.input("question", "why")
                .config("model", "gpt-4o")
                .metadata("cached", true);
            if 1 + 1 == 2 {
                e.feedback("rating", 5);
            }
            e.user_property("plan", "pro");
            e
        });
    });
    assert_are(
        &found,
        &[
            ("outputs.result", "an answer"),
            ("metrics.n", "1"),
            ("inputs.question", "why"),
            ("config.model", "gpt-4o"),
            ("metadata.cached", "true"),
            ("feedback.rating", "5"),
            ("user_properties.plan", "pro"),
        ],
    );
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Bad { reason: &'static str },
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: Option<&'static str>,
    at: std::time::SystemTime,
    tags: Vec<u8>,
}

#[test]
fn anything_that_is_serialize_can_be_recorded() {
    let message = Message {
        role: "user",
        content: None,
        at: std::time::UNIX_EPOCH,
        tags: vec![1, 2],
    };
    let nested = BTreeMap::from([("a", BTreeMap::from([("b", 1.5)]))]);
    let found = attributes_after(|| {
        enrich(|e| {
            e.outputs(&message)
                .metadata("verdict", Verdict::Good)
                .metadata("other", Verdict::Bad { reason: "late" })
        });
        enrich(|e| {
            e.config_all(&nested)
                .metrics(serde_json::json!({ "score": 0.5, "ok": true }))
        });
        enrich(|e| {
            e.input("none", None::<u8>)
                .input("some", Some("x"))
                .input("unit", ())
                .input("date", "2024-05-01T12:00:00Z")
        });
        enrich(|e| {
            e.user_properties(BTreeMap::from([("id", u64::MAX)]))
                .feedback_all(["first", "second"])
        });
    });
    assert_are(
        &found,
        &[
            ("outputs.role", "user"),
            ("outputs.at.secs_since_epoch", "0"),
            ("outputs.at.nanos_since_epoch", "0"),
            ("outputs.tags.0", "1"),
            ("outputs.tags.1", "2"),
            ("metadata.verdict", "good"),
            ("metadata.other.bad.reason", "late"),
            ("config.a.b", "1.5"),
            ("metrics.score", "0.5"),
            ("metrics.ok", "true"),
            ("inputs.some", "x"),
            ("inputs.date", "2024-05-01T12:00:00Z"),
            ("user_properties.id", "18446744073709551615"),
            ("feedback.value.0", "first"),
            ("feedback.value.1", "second"),
        ],
    );
}

#[test]
fn the_last_write_wins_whatever_it_is() {
    let found = attributes_after(|| {
        enrich(|e| {
            e.output("a stream")
                .metadata("usage", serde_json::json!({ "in": 1, "out": 2 }))
        });
        enrich(|e| {
            e.output("a stream that goes on")
                .metadata("usage", serde_json::json!({ "in": 3 }))
        });
        enrich(|e| {
            e.output(serde_json::json!({ "role": "assistant" }))
                .event_type(EventType::Chain)
        });
        enrich(|e| {
            e.event_type(EventType::Model)
                .event_name("first")
                .event_name("span")
        });
    });
    assert_are(
        &found,
        &[
            ("outputs.result.role", "assistant"),
            ("metadata.usage.in", "3"),
            ("event_type", "model"),
            ("event_name", "span"),
        ],
    );
}

#[test]
fn whole_buckets_add_up_entry_by_entry() {
    let found = attributes_after(|| {
        enrich(|e| {
            e.outputs(serde_json::json!({ "role": "assistant", "content": "half", "none": null }))
        });
        enrich(|e| {
            e.outputs(serde_json::json!({ "content": "whole", "tool_calls": [{ "id": 1 }] }))
        });
        enrich(|e| {
            e.metadata("one", 1)
                .metadata_all(serde_json::json!({ "two": { "deep": 2 } }))
        });
    });
    assert_are(
        &found,
        &[
            ("outputs.role", "assistant"),
            ("outputs.content", "whole"),
            ("outputs.tool_calls", r#"[{"id":1}]"#),
            ("metadata.one", "1"),
            ("metadata.two.deep", "2"),
        ],
    );
}

#[test]
fn writes_to_a_whole_bucket_add_up() {
    let write = || {
        enrich(|e| e.outputs(serde_json::json!({ "role": "assistant", "list": [1, 2, 3] })));
        enrich(|e| e.outputs(serde_json::json!({ "content": "hi", "list": [4] })));
        enrich(|e| {
            e.metadata_all(serde_json::json!({ "a": 1 }))
                .metadata("b", 2)
        });
    };
    let expected = [
        ("outputs.role", "assistant"),
        ("outputs.content", "hi"),
        ("outputs.list.0", "4"),
        ("metadata.a", "1"),
        ("metadata.b", "2"),
    ];
    assert_are(&attributes_after(write), &expected);
    // A record that has grown large is compacted on the way.
    let found = attributes_after(|| {
        write();
        for _ in 0..10 {
            enrich(|e| e.outputs(serde_json::json!({ "long": "x".repeat(40_000) })));
        }
        enrich(|e| e.outputs(serde_json::json!({ "long": "short" })));
    });
    let mut expected = expected.to_vec();
    expected.push(("outputs.long", "short"));
    assert_are(&found, &expected);
}

#[test]
fn errors_bring_their_message_and_type() {
    let number = "x".parse::<u8>().expect_err("no number");
    let found = attributes_after(|| enrich(|e| e.error(&number)));
    assert_are(
        &found,
        &[
            ("error", "invalid digit found in string"),
            ("error_type", "ParseIntError"),
        ],
    );

    let boxed: Box<dyn std::error::Error> = "boxed".into();
    assert_are(
        &attributes_after(|| enrich(|e| e.error(&*boxed))),
        &[("error", "boxed")],
    );
    assert_are(
        &attributes_after(|| enrich(|e| e.error_message(format_args!("code {}", 7)))),
        &[("error", "code 7")],
    );
}

#[test]
fn a_name_and_a_type_given_explicitly_win() {
    let traced = Traced::new();
    traced.run(|| {
        let span = info_span!(
            "macro name",
            otel.name = "otel name",
            gen_ai.operation.name = "chat"
        );
        span.enrich(|e| e.event_type(EventType::Tool).event_name("given"));
        span.record("gen_ai.operation.name", "chat");
    });
    let span = traced.span("given");
    assert_eq!(
        attribute(&span, "honeyhive_event_type").as_deref(),
        Some("tool")
    );
    assert_eq!(
        attribute(&span, "gen_ai.operation.name").as_deref(),
        Some("chat")
    );
}

#[test]
fn a_span_can_be_enriched_from_anywhere() {
    let traced = Traced::new();
    let span = traced.run(|| info_span!("span"));
    // No subscriber here; the span knows its own.
    span.enrich(|e| e.output("outside"))
        .enrich(|e| e.metric("n", 1));
    std::thread::scope(|scope| {
        scope
            .spawn(|| span.enrich(|e| e.metadata("thread", true)).clone())
            .join()
    })
    .expect("a thread");
    let id = span.event_id().expect("a recorded span");
    assert_eq!(span.event_id(), Some(id));
    drop(span);
    let span = traced.span("span");
    assert_eq!(
        attribute(&span, "honeyhive_outputs.result").as_deref(),
        Some("outside")
    );
    assert_eq!(
        attribute(&span, "honeyhive_metadata.thread").as_deref(),
        Some("true")
    );
    assert_eq!(attribute(&span, "honeyhive_event_id"), Some(id.to_string()));
}

#[test]
fn an_unrecorded_span_stands_for_its_nearest_recorded_ancestor() {
    let traced = Traced::new();
    let subscriber = tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::sink))
        .with(traced.honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        let _span = info_span!("span").entered();
        debug_span!("hidden")
            .in_scope(|| debug_span!("deeper").in_scope(|| enrich(|e| e.output("through two"))));
        debug_span!("hidden").enrich(|e| e.metric("n", 1));
    });
    let span = traced.span("span");
    assert_eq!(
        attribute(&span, "honeyhive_outputs.result").as_deref(),
        Some("through two")
    );
    assert_eq!(
        attribute(&span, "honeyhive_metrics.n").as_deref(),
        Some("1")
    );
}

#[test]
fn an_instance_enriches_itself_only() {
    let (one, two) = (Traced::new(), Traced::new());
    let subscriber = tracing_subscriber::registry()
        .with(one.honeyhive.layer())
        .with(two.honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        info_span!("span").in_scope(|| {
            enrich(|e| e.metadata("who", "both"));
            two.honeyhive.enrich(|e| e.metadata("two", true));
        });
    });
    assert_eq!(under(&one.span("span"), "honeyhive_metadata.").len(), 1);
    assert_eq!(under(&two.span("span"), "honeyhive_metadata.").len(), 2);
}

/// Enriches in every way there is; how often a closure was called.
fn enrich_in_every_way(honeyhive: &HoneyHive, span: &Span) -> u32 {
    let calls = Cell::new(0);
    let called = || calls.set(calls.get() + 1);
    enrich(|e| {
        called();
        e
    });
    honeyhive.enrich(|e| {
        called();
        e
    });
    span.enrich(|e| {
        called();
        e
    });
    assert!(calls.get() > 0 || span.event_id().is_none());
    calls.get()
}

#[test]
fn nothing_is_evaluated_when_nobody_listens() {
    let traced = Traced::new();
    assert_eq!(
        enrich_in_every_way(&traced.honeyhive, &Span::none()),
        0,
        "without a subscriber"
    );
    traced.run(|| {
        assert_eq!(
            enrich_in_every_way(&traced.honeyhive, &Span::none()),
            0,
            "outside a span"
        );
        let off = debug_span!("off");
        assert_eq!(
            off.in_scope(|| enrich_in_every_way(&traced.honeyhive, &off)),
            0,
            "in a span that is off"
        );
    });

    let disabled = Traced::with(|builder| builder.disable_tracing(true));
    disabled.run(|| {
        let span = info_span!("span");
        assert_eq!(
            span.in_scope(|| enrich_in_every_way(&disabled.honeyhive, &span)),
            0,
            "disabled"
        );
    });

    traced.run(|| {
        let span = info_span!("span");
        assert_eq!(
            span.in_scope(|| enrich_in_every_way(&traced.honeyhive, &span)),
            3
        );
        traced
            .honeyhive
            .shutdown_blocking(PATIENCE)
            .expect("an end");
        assert_eq!(
            span.in_scope(|| enrich_in_every_way(&traced.honeyhive, &span)),
            0,
            "after shutdown"
        );
    });
}

#[test]
fn a_closure_that_panics_changes_nothing() {
    let traced = Traced::new();
    traced.run(|| {
        info_span!("span").in_scope(|| {
            enrich(|e| {
                e.output("half");
                std::panic::resume_unwind(Box::new("in the closure"))
            });
            enrich(|e| e.metric("n", 1));
        });
    });
    let span = traced.span("span");
    assert_eq!(attribute(&span, "honeyhive_outputs.result"), None);
    assert_eq!(
        attribute(&span, "honeyhive_metrics.n").as_deref(),
        Some("1")
    );
    assert_eq!(attribute(&span, "honeyhive_error"), None);
    assert_eq!(traced.stats().cut, 1);
}
