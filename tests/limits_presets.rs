//! Limits: what is large arrives, findable and with its error; what is over is cut, largest first, and counted.

mod support;

use honeyhive::config::Protocol;
use honeyhive::{Builder, HoneyHive, SpanExt as _};
use opentelemetry_proto::tonic::trace::v1::Span;
use support::traced::{Traced, session_of, under};
use support::{PATIENCE, Recorder, attribute};
use tracing::{error, info_span};
use tracing_subscriber::prelude::*;

const MIB: usize = 1 << 20;
const PROMPT: usize = 50_000_000;

/// The presets of the page on limits.
fn default_limits(builder: Builder) -> Builder {
    builder
}

fn text_heavy(builder: Builder) -> Builder {
    builder.max_attributes(5_000).max_attribute_length(MIB)
}

fn multimodal(builder: Builder) -> Builder {
    builder.max_attributes(1_000).max_attribute_length(20 * MIB)
}

fn memory_constrained(builder: Builder) -> Builder {
    builder.max_attributes(500).max_attribute_length(5 * MIB)
}

fn debugging(builder: Builder) -> Builder {
    builder
        .max_attributes(10_000)
        .max_attribute_length(50 * MIB)
        .max_queue_bytes(256 * MIB)
}

/// A span with many attributes, made in the ways there are, that failed.
fn many(name: &str, count: usize) {
    let span = info_span!("many", otel.name = name, honeyhive.event_type = "chain");
    let _entered = span.enter();
    for chunk in 0..count / 100 {
        span.enrich(|e| {
            for n in 0..100 {
                e.metadata(&format!("k{}", chunk * 100 + n), n);
            }
            e
        });
    }
    error!("it broke");
}

/// The event is findable, and says what is wrong with it.
#[track_caller]
fn assert_core(span: &Span, session: &str) {
    assert_eq!(session_of(span), session);
    assert_eq!(
        attribute(span, "honeyhive_event_type").as_deref(),
        Some("chain")
    );
    assert_eq!(
        attribute(span, "honeyhive_error").as_deref(),
        Some("it broke")
    );
    assert_eq!(attribute(span, "honeyhive.source").as_deref(), Some("dev"));
    assert!(attribute(span, "honeyhive_duration_ms").is_some());
}

#[track_caller]
fn check_large_spans(honeyhive: &HoneyHive, server: &Recorder) {
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        many("2,000", 2_000);
        many("10,000", 10_000);
        let list = info_span!("list", honeyhive.event_type = "chain");
        list.enrich(|e| e.output((0..1_500).collect::<Vec<u32>>()));
        list.in_scope(|| error!("it broke"));
        let prompt = info_span!("prompt", honeyhive.event_type = "chain");
        prompt.enrich(|e| {
            e.input("prompt", "p".repeat(PROMPT))
                .input("small", "whole")
        });
        prompt.in_scope(|| error!("it broke"));
    });
    honeyhive.flush_blocking(PATIENCE).expect("a delivery");
    let session = honeyhive.session_id().to_string();
    for (name, count) in [("2,000", 2_000), ("10,000", 10_000)] {
        let span = server.span(name);
        assert_core(&span, &session);
        let limit = honeyhive.config().max_attributes();
        assert_eq!(under(&span, "honeyhive_metadata.").len(), count.min(limit));
        let dropped = count.saturating_sub(limit);
        assert_eq!(span.dropped_attributes_count as usize, dropped);
    }
    let list = server.span("list");
    assert_core(&list, &session);
    if honeyhive.config().max_attributes() >= 1_500 {
        let last = attribute(&list, "honeyhive_outputs.result.1499");
        assert_eq!(last.as_deref(), Some("1499"));
    } else {
        // There is no room for all of its elements: the list stays whole instead.
        let whole = attribute(&list, "honeyhive_outputs.result").expect("the list");
        let elements: Vec<u32> = serde_json::from_str(&whole).expect("JSON");
        assert_eq!(elements.len(), 1_500);
    }
    let span = server.span("prompt");
    assert_core(&span, &session);
    assert_eq!(
        attribute(&span, "honeyhive_inputs.small").as_deref(),
        Some("whole")
    );
    let prompt = attribute(&span, "honeyhive_inputs.prompt").expect("the prompt");
    let limit = honeyhive.config().max_attribute_length();
    if PROMPT > limit {
        assert!(
            prompt.len() <= limit && prompt.len() > limit - 1024,
            "{}",
            prompt.len()
        );
        let end = &prompt[prompt.len() - 40..];
        assert!(end.contains("[cut: "), "{end}");
        assert!(span.dropped_attributes_count > 0);
    } else {
        assert_eq!((prompt.len(), span.dropped_attributes_count), (PROMPT, 0));
    }
    support::assert_all_exported(&honeyhive.stats(), 4);
    let cut = honeyhive.stats().cut;
    let told: u32 = server
        .spans()
        .iter()
        .map(|span| span.dropped_attributes_count)
        .sum();
    assert_eq!(cut, u64::from(told));
}

fn instance(settings: fn(Builder) -> Builder) -> (Recorder, HoneyHive) {
    let server = Recorder::start();
    let builder = settings(support::settings(&server.url));
    (server, builder.build().expect("settings"))
}

#[test]
fn large_spans_arrive_on_the_first_and_on_the_fifth_instance() {
    let instances: Vec<_> = (0..5).map(|_| instance(default_limits)).collect();
    for (server, honeyhive) in [&instances[0], &instances[4]] {
        check_large_spans(honeyhive, server);
    }
}

#[test]
fn the_debugging_preset_takes_a_prompt_of_50_mb_whole() {
    let (server, honeyhive) = instance(debugging);
    check_large_spans(&honeyhive, &server);
}

/// A preset takes so many attributes, and one text of so many bytes, whole; one more, and one byte more, are cut.
#[track_caller]
fn check_preset(preset: fn(Builder) -> Builder, attributes: usize, length: usize) {
    let (server, honeyhive) = instance(preset);
    let config = honeyhive.config();
    assert_eq!(config.max_attributes(), attributes);
    assert_eq!(config.max_attribute_length(), length);
    assert!(config.max_span_size() >= length);
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        for (name, attributes, length) in [
            ("whole", attributes, length - MIB / 2),
            ("over", attributes + 1, length + 1),
        ] {
            let span = info_span!("span", otel.name = name);
            span.enrich(|e| e.output("x".repeat(length)));
            let numbers: serde_json::Map<String, serde_json::Value> = (1..attributes)
                .map(|n| (format!("k{n}"), n.into()))
                .collect();
            for (key, value) in numbers {
                span.enrich(|e| e.metadata(&key, value));
            }
        }
    });
    honeyhive.flush_blocking(PATIENCE).expect("a delivery");
    let (whole, over) = (server.span("whole"), server.span("over"));
    assert_eq!(whole.dropped_attributes_count, 0);
    let text = |span| attribute(span, "honeyhive_outputs.result").expect("a text");
    assert_eq!(text(&whole).len(), length - MIB / 2);
    assert!(over.dropped_attributes_count > 0);
    assert!(text(&over).len() <= length && text(&over).ends_with(" bytes]"));
    for span in [&whole, &over] {
        assert_eq!(under(span, "honeyhive_metadata.").len(), attributes - 1);
    }
}

#[test]
fn the_default() {
    check_preset(default_limits, 1024, 10 * MIB);
}

#[test]
fn the_preset_for_much_text() {
    check_preset(text_heavy, 5_000, MIB);
}

#[test]
fn the_multimodal_preset() {
    check_preset(multimodal, 1_000, 20 * MIB);
}

#[test]
fn the_preset_for_little_memory() {
    check_preset(memory_constrained, 500, 5 * MIB);
}

#[test]
fn the_debugging_preset() {
    check_preset(debugging, 10_000, 50 * MIB);
}

#[test]
fn a_range_error_says_what_to_do() {
    let error = Builder::new()
        .max_attributes(64)
        .server_url("http://127.0.0.1:9")
        .build()
        .expect_err("out of range")
        .to_string();
    for part in ["max_attributes", "128", "10000", "64"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_largest_values_are_shortened_and_the_many_small_ones_stay_whole() {
    let traced = Traced::with(|builder| builder.max_span_size(256 << 10));
    traced.run(|| {
        let span = info_span!("span");
        for n in 0..300 {
            span.enrich(|e| e.metadata(&format!("k{n}"), "small but not tiny ".repeat(5)));
        }
        for n in 0..3 {
            span.enrich(|e| {
                e.output("ü".repeat(MIB))
                    .input(&format!("i{n}"), "é".repeat(MIB))
            });
        }
        span.in_scope(|| error!("it broke {}", "!".repeat(MIB)));
    });
    let span = traced.span("span");
    let small = under(&span, "honeyhive_metadata.");
    assert_eq!(small.len(), 300);
    assert!(
        small.iter().all(|(_, value)| value.len() == 95),
        "{small:?}"
    );
    for key in [
        "honeyhive_outputs.result",
        "honeyhive_inputs.i0",
        "honeyhive_error",
    ] {
        let value = attribute(&span, key).expect("a value");
        assert!(value.ends_with(" bytes]") && value.len() > 10_000, "{key}");
    }
    assert!(span.dropped_attributes_count >= 5);
    assert!(traced.stats().cut >= 5);
}

#[test]
fn what_an_event_needs_is_never_evicted() {
    let traced = Traced::with(|builder| builder.max_span_size(64 << 10).max_attributes(128));
    traced.run(|| {
        let span = info_span!("span", honeyhive.event_type = tracing::field::Empty);
        for n in 0..10_000 {
            span.enrich(|e| e.metadata(&format!("a rather long key, number {n}"), n));
        }
        span.enrich(|e| e.metadata("run_id", "run").metadata("dataset_id", "data"));
        span.enrich(|e| e.metadata("datapoint_id", "point").event_name("named"));
        span.record("honeyhive.event_type", "chain");
        span.in_scope(|| error!("it broke"));
        for n in 0..10_000 {
            span.enrich(|e| e.metadata(&format!("another long key, number {n}"), n));
        }
    });
    let span = traced.span("named");
    assert_core(&span, &traced.session());
    for (key, value) in [
        ("run_id", "run"),
        ("dataset_id", "data"),
        ("datapoint_id", "point"),
    ] {
        let found = attribute(&span, &format!("honeyhive_metadata.{key}"));
        assert_eq!(found.as_deref(), Some(value), "{key}");
    }
    assert_eq!(under(&span, "honeyhive_metadata.").len(), 128 + 3);
    assert!(span.dropped_attributes_count >= 19_872);
}

#[test]
fn an_event_larger_than_a_batch_travels_alone() {
    let traced = Traced::new();
    traced.run(|| {
        for name in ["a", "b"] {
            info_span!("small", otel.name = name);
        }
        // Small while it waits: taken apart it is large.
        let long: String = "k".repeat(900);
        let list = serde_json::json!({ long: vec![1; 1_000] });
        for _ in 0..6 {
            info_span!("wide").enrich(|e| e.outputs(&list));
        }
        info_span!("large").enrich(|e| e.output("x".repeat(6 * MIB)));
        info_span!("small", otel.name = "c");
    });
    let spans = traced.spans();
    assert_eq!(spans.len(), 10);
    let batches = traced.server.batches();
    let sizes: Vec<usize> = traced
        .server
        .requests_to(support::TRACES)
        .iter()
        .map(|request| request.body.len())
        .collect();
    for (spans, size) in batches.iter().zip(&sizes) {
        assert!(
            *size < 4 * MIB + 4096 || *spans == 1,
            "{batches:?} {sizes:?}"
        );
    }
    support::assert_all_exported(&traced.stats(), 10);
}

fn check_request_limit(protocol: Protocol, text: &str) {
    let traced = Traced::with(|builder| {
        builder
            .protocol(protocol)
            .max_attribute_length(100 * MIB)
            .max_queue_bytes(512 * MIB)
            .export_timeout(PATIENCE)
    });
    traced.run(|| {
        let span = info_span!("span", honeyhive.event_type = "chain", note = "whole");
        span.enrich(|e| e.output(text));
        span.in_scope(|| error!("it broke"));
    });
    traced
        .honeyhive
        .flush_blocking(PATIENCE)
        .expect("a delivery");
    let requests = traced.server.requests_to(support::TRACES);
    assert_eq!(requests.len(), 1);
    let size = requests[0].body.len();
    assert!(size <= 64 * MIB && size > 40 * MIB, "{size}");
    for needed in ["honeyhive.session_id", "it broke", "whole", "[cut: "] {
        let found = requests[0]
            .body
            .windows(needed.len())
            .any(|window| window == needed.as_bytes());
        assert!(found, "{needed}");
    }
    assert!(traced.stats().cut > 0);
    support::assert_all_exported(&traced.stats(), 1);
}

#[test]
fn a_request_has_at_most_64_mib_as_protobuf() {
    check_request_limit(Protocol::HttpProtobuf, &"x".repeat(90 * MIB));
}

#[test]
fn a_request_has_at_most_64_mib_as_json() {
    // Each of these takes six bytes in JSON.
    check_request_limit(Protocol::HttpJson, &"\u{1}".repeat(20 * MIB));
}

#[test]
fn a_long_key_above_many_leaves_is_not_repeated_for_each() {
    let traced = Traced::new();
    traced.run(|| {
        let deep = (0..20).fold(
            serde_json::json!(vec![1; 500]),
            |inner, _| serde_json::json!({ "k".repeat(900): inner }),
        );
        info_span!("deep").enrich(|e| e.output(&deep));
    });
    let span = traced.span("deep");
    let size: usize = traced.server.requests_to(support::TRACES)[0].body.len();
    assert!(size < 64 << 10, "{size}");
    let outputs = under(&span, "honeyhive_outputs.");
    assert_eq!(outputs.len(), 1);
    assert!(outputs[0].1.contains("1,1,1"));
}

#[test]
fn a_debug_that_prints_without_end_costs_the_cap() {
    struct Endless;
    impl std::fmt::Debug for Endless {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            loop {
                f.write_str("and so on, ")?;
            }
        }
    }
    let traced = Traced::with(|builder| builder.max_attribute_length(2048));
    traced.run(|| info_span!("span", endless = ?Endless).in_scope(|| {}));
    let value = attribute(&traced.span("span"), "honeyhive_inputs.endless").expect("a value");
    assert!(value.len() < 2100 && value.ends_with("[cut]"), "{value}");
    assert_eq!(traced.stats().cut, 1);
}
