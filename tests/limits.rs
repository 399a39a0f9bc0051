//! Limits of count and size: what is kept, what is cut, and what it costs.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use honeyhive::{SpanExt as _, enrich};
use opentelemetry_proto::tonic::trace::v1::Span;
use support::attribute;
use support::traced::{Traced, span_of_with};
use tracing::field::Empty;
use tracing::{error, info_span};

/// The number of attributes that do not count: session, source, both twice, type, duration.
const CORE: usize = 6;

#[test]
fn too_many_attributes_never_cost_the_ones_that_matter() {
    let traced = Traced::with(|builder| builder.max_attributes(128));
    traced.run(|| {
        let span = info_span!("span", first = 1);
        for index in 0..500 {
            span.enrich(|e| e.metadata(&format!("key {index}"), index));
        }
        span.enrich(|e| {
            e.metadata("key 3", "a later value")
                .event_type(honeyhive::EventType::Chain)
        });
    });
    let span = traced.span("span");
    assert_eq!(span.attributes.len(), CORE + 128);
    assert_eq!(span.dropped_attributes_count, 501 - 128);
    for key in [
        "honeyhive.session_id",
        "traceloop.association.properties.session_id",
        "honeyhive.source",
        "honeyhive_inputs.first",
    ] {
        assert!(attribute(&span, key).is_some(), "{key}");
    }
    assert_eq!(
        attribute(&span, "honeyhive_event_type").as_deref(),
        Some("chain")
    );
    assert_eq!(
        attribute(&span, "honeyhive_metadata.key 3").as_deref(),
        Some("a later value")
    );
    assert_eq!(traced.stats().cut, 501 - 128);
}

#[test]
fn a_container_that_would_overflow_goes_whole() {
    let large: BTreeMap<String, usize> = (0..200)
        .map(|index| (format!("key {index}"), index))
        .collect();
    let span = span_of_with(
        |builder| builder.max_attributes(128),
        || {
            info_span!("span").in_scope(|| {
                enrich(|e| {
                    e.metadata("large", &large)
                        .outputs(&large)
                        .metadata("small", [1, 2])
                });
            });
        },
    );
    let text = serde_json::to_string(&large).expect("JSON");
    assert_eq!(
        attribute(&span, "honeyhive_metadata.large"),
        Some(text.clone())
    );
    assert_eq!(attribute(&span, "honeyhive_outputs"), Some(text));
    assert_eq!(
        attribute(&span, "honeyhive_metadata.small.1").as_deref(),
        Some("2")
    );
    assert_eq!(span.dropped_attributes_count, 0);
}

#[test]
fn a_long_value_is_cut_and_marked_between_characters() {
    let traced = Traced::with(|builder| builder.max_attribute_length(1024));
    let long = "ü".repeat(10_000);
    traced.run(|| {
        let span = info_span!("span", str = long.as_str(), debug = ?long, display = %long, short = "whole");
        span.enrich(|e| e.output(&long).metadata("list", [&long]));
    });
    let span = traced.span("span");
    for key in [
        "honeyhive_inputs.str",
        "honeyhive_inputs.debug",
        "honeyhive_inputs.display",
        "honeyhive_outputs.result",
        "honeyhive_metadata.list",
    ] {
        let text = attribute(&span, key).unwrap_or_default();
        assert!(
            text.contains("… [cut") && (900..1100).contains(&text.len()),
            "{key}: {} bytes",
            text.len()
        );
    }
    assert_eq!(
        attribute(&span, "honeyhive_inputs.short").as_deref(),
        Some("whole")
    );
    assert_eq!((span.dropped_attributes_count, traced.stats().cut), (5, 5));
}

#[test]
fn too_many_events_are_counted() {
    let span = span_of_with(
        |builder| builder.max_events(10),
        || {
            info_span!("span").in_scope(|| {
                for index in 0..50 {
                    error!(index, "an error");
                }
            });
        },
    );
    assert_eq!((span.events.len(), span.dropped_events_count), (10, 40));
}

const LIMIT: usize = 64 * 1024;

/// Runs `f` with a small limit for the size of a span; the span, how many bytes it took, and how long `f` did.
fn limited(f: impl FnOnce()) -> (Span, u64, Duration) {
    let traced = Traced::with(|builder| builder.max_attribute_length(LIMIT).max_span_size(LIMIT));
    let started = Instant::now();
    traced.run(f);
    let took = started.elapsed();
    let bytes = traced.stats().queue_bytes;
    (traced.span("span"), bytes, took)
}

#[test]
fn the_last_value_of_a_stream_arrives_and_a_hundred_thousand_writes_are_cheap() {
    let (span, bytes, took) = limited(|| {
        let span = info_span!("span", question = "why", answer = Empty);
        for index in 0..100_000 {
            span.record("answer", format!("token {index}"));
        }
    });
    assert_eq!(
        attribute(&span, "honeyhive_inputs.answer").as_deref(),
        Some("token 99999")
    );
    assert_eq!(
        attribute(&span, "honeyhive_inputs.question").as_deref(),
        Some("why")
    );
    assert_eq!(span.dropped_attributes_count, 0);
    assert!(bytes < LIMIT as u64 + 4096, "{bytes}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_stream_of_growing_values_ends_whole() {
    let (span, ..) = limited(|| {
        let span = info_span!("span");
        for length in (0..50_000).step_by(100) {
            span.enrich(|e| e.output("x".repeat(length)));
        }
    });
    assert_eq!(
        attribute(&span, "honeyhive_outputs.result").map(|text| text.len()),
        Some(49_900)
    );
    assert_eq!(span.dropped_attributes_count, 0);
}

#[test]
fn few_large_values_are_cut_and_many_small_ones_stay_whole() {
    let (span, bytes, _) = limited(|| {
        let span = info_span!("span", large = "l".repeat(50_000));
        for index in 0..300 {
            span.enrich(|e| e.metadata(&format!("small {index}"), format!("value {index}")));
        }
        span.enrich(|e| {
            e.input("larger", "m".repeat(60_000))
                .output("n".repeat(60_000))
        });
    });
    assert!(bytes < LIMIT as u64 + 4096, "{bytes}");
    for index in 0..300 {
        assert_eq!(
            attribute(&span, &format!("honeyhive_metadata.small {index}")),
            Some(format!("value {index}"))
        );
    }
    for key in [
        "honeyhive_inputs.large",
        "honeyhive_inputs.larger",
        "honeyhive_outputs.result",
    ] {
        let text = attribute(&span, key).unwrap_or_default();
        assert!(
            text.len() > 10_000 && text.contains("… [cut"),
            "{key}: {} bytes",
            text.len()
        );
    }
    assert!(span.dropped_attributes_count >= 3);
}

#[test]
fn a_stream_in_a_span_that_is_full_is_not_what_is_lost() {
    let (span, bytes, took) = limited(|| {
        let span = info_span!("span", answer = "begun");
        for index in 0..2_000 {
            span.enrich(|e| e.metadata(&format!("small {index}"), "0123456789"));
        }
        for index in 0..100_000 {
            span.record("answer", format!("token {index}"));
        }
    });
    assert_eq!(
        attribute(&span, "honeyhive_inputs.answer").as_deref(),
        Some("token 99999")
    );
    assert_eq!(
        attribute(&span, "honeyhive_metadata.small 0").as_deref(),
        Some("0123456789")
    );
    assert!(span.dropped_attributes_count > 0);
    assert!(bytes < LIMIT as u64 + 4096, "{bytes}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_flood_of_new_fields_is_bounded_and_counted() {
    let (span, bytes, took) = limited(|| {
        let span = info_span!("span", question = "why", honeyhive.event_type = "chain");
        for index in 0..20_000 {
            span.enrich(|e| e.metadata(&format!("key {index}"), index));
        }
    });
    assert_eq!(
        attribute(&span, "honeyhive_event_type").as_deref(),
        Some("chain")
    );
    assert_eq!(
        attribute(&span, "honeyhive_inputs.question").as_deref(),
        Some("why")
    );
    assert_eq!(span.attributes.len(), CORE + 1024);
    assert_eq!(span.dropped_attributes_count as usize, 20_001 - 1024);
    assert!(bytes < LIMIT as u64 + 4096, "{bytes}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn what_is_strange_in_size_or_shape_arrives_cut_and_counted() {
    let traced = Traced::with(|builder| builder.max_attributes(1_000));
    let deep = (0..1_000).fold(serde_json::json!("bottom"), |inner, _| {
        serde_json::json!([inner])
    });
    let text = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
    let bytes: &[u8] = b"valid \xff\xfe\xc3\x28 invalid";
    let long = "\u{1F980}".repeat((64 << 20) / 4);
    traced.run(|| {
        let wide = info_span!("wide");
        wide.enrich(|e| {
            for index in 0..10_000 {
                e.metadata(&format!("key {index}"), index);
            }
            e
        });
        let nested = info_span!("nested");
        nested.enrich(|e| e.output(&deep).metadata("text", &text));
        let raw = info_span!("raw", bytes, lossy = ?String::from_utf8_lossy(bytes));
        raw.enrich(|e| e.output(bytes));
        drop(info_span!("long", long = long.as_str()));
    });
    let wide = traced.span("wide");
    assert_eq!(wide.attributes.len(), CORE + 1_000);
    assert_eq!(wide.dropped_attributes_count, 10_000 - 1_000);
    let nested = traced.span("nested");
    let output = attribute(&nested, "honeyhive_outputs.result").unwrap_or_default();
    assert!(output.starts_with("[[[["), "{output:.40}");
    assert_eq!(attribute(&nested, "honeyhive_metadata.text"), Some(text));
    let raw = traced.span("raw");
    assert!(attribute(&raw, "honeyhive_inputs.bytes").is_some());
    let long = attribute(&traced.span("long"), "honeyhive_inputs.long").unwrap_or_default();
    let cap = 10 << 20;
    assert!(
        long.len() <= cap && long.len() > cap - 100,
        "{}",
        long.len()
    );
    let (kept, marker) = long.split_once('…').expect("a marker");
    assert!(marker.starts_with(" [cut: "), "{marker}");
    assert!(kept.chars().all(|c| c == '\u{1F980}'));
    support::assert_all_exported(&traced.stats(), 4);
}
