//! What goes over the wire by default, decoded with the reference types.

mod support;

use std::time::Duration;

use honeyhive::{HoneyHive, Session};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use proptest::prelude::*;
use support::*;
use tracing::{error, info_span};
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);

/// Runs `work` under the instance's layer, and delivers what came of it.
fn record(honeyhive: &HoneyHive, work: impl FnOnce()) {
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, work);
    honeyhive.flush_blocking(LONG).unwrap();
}

fn value(span: &Span, key: &str) -> Option<Value> {
    let mut found = span
        .attributes
        .iter()
        .filter(|attribute| attribute.key == key);
    let value = found.next()?.value.clone()?.value;
    assert!(found.next().is_none(), "{key} is there twice");
    value
}

#[test]
fn the_request_is_what_the_contract_says() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .source("prod")
        .project("atlas")
        .service_name("kitchen")
        .service_version("1.2")
        .build()
        .unwrap();
    emit(&honeyhive, 2);
    honeyhive.flush_blocking(LONG).unwrap();
    let request = server.requests_to("/opentelemetry/v1/traces").remove(0);
    assert_eq!(request.method, "POST");
    for (name, expected) in [
        ("authorization", format!("Bearer {KEY}").as_str()),
        ("x-source", "prod"),
        ("hh-client-version", env!("CARGO_PKG_VERSION")),
        ("hh-client-language", "rust"),
        ("hh-client-package", "honeyhive"),
        ("content-type", "application/x-protobuf"),
    ] {
        assert_eq!(request.header(name), Some(expected), "{name}");
    }
    assert!(
        request
            .header("user-agent")
            .unwrap()
            .starts_with("honeyhive-rust/")
    );
    // That one is for the REST calls, and compression is off unless asked for.
    assert_eq!(request.header("hh-client-timestamp"), None);
    assert_eq!(request.header("content-encoding"), None);

    let traces = request.traces();
    assert_eq!(traces.resource_spans.len(), 1);
    let resource = &traces.resource_spans[0];
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    let text = |key: &str| {
        let found = attributes.iter().find(|attribute| attribute.key == key);
        found
            .and_then(|attribute| attribute.value.as_ref())
            .map(support::text)
    };
    assert_eq!(text("service.name").as_deref(), Some("kitchen"));
    assert_eq!(text("service.version").as_deref(), Some("1.2"));
    assert_eq!(text("telemetry.sdk.language").as_deref(), Some("rust"));
    assert_eq!(text("process.pid"), Some(std::process::id().to_string()));
    for key in [
        "service.instance.id",
        "telemetry.sdk.name",
        "telemetry.sdk.version",
        "os.type",
        "host.arch",
    ] {
        assert!(text(key).is_some_and(|text| !text.is_empty()), "{key}");
    }
    assert_eq!(resource.scope_spans.len(), 1);
    let scope = resource.scope_spans[0].scope.as_ref().unwrap();
    let number = scope.name.strip_prefix("honeyhive.").unwrap();
    assert!(number.parse::<u64>().is_ok(), "{}", scope.name);
    assert_eq!(scope.version, "");
}

#[test]
fn the_tree_is_whole_and_every_span_has_its_session() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).project("atlas").build().unwrap();
    let session = Session::start("chat");
    record(&honeyhive, || {
        info_span!("root", kind = "outer").in_scope(|| {
            info_span!("left").in_scope(|| info_span!("leaf").in_scope(|| {}));
            info_span!("right", otel.kind = "client").in_scope(|| error!(code = 7, "boom"));
        });
        session.in_scope(|| {
            info_span!("other root").in_scope(|| info_span!("other child").in_scope(|| {}));
        });
        info_span!(parent: None, "fine", otel.status_code = "ok").in_scope(|| {});
    });
    let spans = server.spans();
    assert_eq!(spans.len(), 7);
    for span in &spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert_ne!(span.span_id, [0; 8]);
        if !span.parent_span_id.is_empty() {
            let parent = spans
                .iter()
                .find(|other| other.span_id == span.parent_span_id)
                .expect("a parent");
            assert_eq!(parent.trace_id, span.trace_id);
            assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
            assert!(parent.end_time_unix_nano >= span.end_time_unix_nano);
        }
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        assert!(span.start_time_unix_nano > 1_600_000_000_000_000_000);
        let expected = if span.name.starts_with("other") {
            session.id()
        } else {
            honeyhive.session_id()
        };
        for prefix in ["honeyhive.", "traceloop.association.properties."] {
            assert_eq!(
                attribute(span, &format!("{prefix}session_id")),
                Some(expected.to_string())
            );
            assert_eq!(
                attribute(span, &format!("{prefix}project")).as_deref(),
                Some("atlas")
            );
            assert_eq!(
                attribute(span, &format!("{prefix}source")).as_deref(),
                Some("dev")
            );
        }
        assert!(attribute(span, "honeyhive_event_type").is_some());
    }
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    for (child, parent) in [
        ("left", "root"),
        ("leaf", "left"),
        ("right", "root"),
        ("other child", "other root"),
    ] {
        assert_eq!(
            named(child).parent_span_id,
            named(parent).span_id,
            "{child}"
        );
    }
    assert_eq!(named("root").kind(), SpanKind::Internal);
    assert_eq!(named("right").kind(), SpanKind::Client);
    let status = named("right").status.as_ref().unwrap();
    assert_eq!(
        (status.code(), status.message.as_str()),
        (StatusCode::Error, "boom")
    );
    assert_eq!(named("right").events[0].name, "exception");
    assert_eq!(
        named("fine").status.as_ref().unwrap().code(),
        StatusCode::Ok
    );
    assert!(
        named("root")
            .status
            .as_ref()
            .is_none_or(|status| status.code() == StatusCode::Unset)
    );
    assert_all_exported(&honeyhive.stats(), 7);
}

#[test]
fn values_keep_their_types() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    record(&honeyhive, || {
        drop(info_span!(
            "typed",
            yes = true,
            least = i64::MIN,
            most = i64::MAX,
            wide = u64::MAX,
            third = 1.0 / 3.0,
            nan = f64::NAN,
            inf = f64::INFINITY,
            minus = f64::NEG_INFINITY,
            text = "naïve 🐝",
            huge = u128::MAX
        ));
    });
    let span = server.span("typed");
    let value = |key: &str| value(&span, &format!("honeyhive_inputs.{key}")).unwrap();
    assert_eq!(value("yes"), Value::BoolValue(true));
    assert_eq!(value("least"), Value::IntValue(i64::MIN));
    assert_eq!(value("most"), Value::IntValue(i64::MAX));
    assert_eq!(value("third"), Value::DoubleValue(1.0 / 3.0));
    for (key, text) in [
        ("wide", "18446744073709551615"),
        ("huge", "340282366920938463463374607431768211455"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("minus", "-inf"),
        ("text", "naïve 🐝"),
    ] {
        assert_eq!(value(key), Value::StringValue(text.to_owned()), "{key}");
    }
}

#[test]
fn lengths_at_the_edges_of_a_varint_are_right() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let mut lengths: Vec<usize> = Vec::new();
    for edge in [128, 16_384] {
        // What stands around a text moves the length of its message over the edge too.
        lengths.extend(edge - 100..edge + 3);
    }
    let text = "x".repeat(20_000);
    record(&honeyhive, || {
        for &length in &lengths {
            let text = &text[..length];
            info_span!("edge", length, text, honeyhive.event_name = text)
                .in_scope(|| error!(text, "{text}"));
        }
    });
    let mut spans = server.spans();
    assert_eq!(spans.len(), lengths.len());
    // Two requests may be on their way at once.
    spans.sort_by_key(|span| {
        attribute(span, "honeyhive_inputs.length").and_then(|length| length.parse::<u64>().ok())
    });
    for (span, length) in spans.iter().zip(&lengths) {
        let expected = &text[..*length];
        assert_eq!(
            attribute(span, "honeyhive_inputs.length"),
            Some(length.to_string())
        );
        assert_eq!(
            attribute(span, "honeyhive_inputs.text").as_deref(),
            Some(expected)
        );
        assert_eq!(span.name, expected);
        assert_eq!(span.status.as_ref().unwrap().message, expected);
        assert_eq!(span.events.len(), 1);
    }
}

#[test]
fn batches_of_every_size_are_whole() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .batch_size(10_000)
        .max_export_batch_size(512)
        .build()
        .unwrap();
    for count in [1, 2, 3, 127, 128, 511, 512, 513] {
        emit(&honeyhive, count);
        honeyhive.flush_blocking(LONG).unwrap();
    }
    assert_eq!(
        server.spans().len(),
        1 + 2 + 3 + 127 + 128 + 511 + 512 + 513
    );
    let mut batches = server.batches();
    batches.sort_unstable();
    assert_eq!(batches, [1, 1, 2, 3, 127, 128, 511, 512, 512]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_recorded_arrives(
        records in prop::collection::vec((any::<String>(), any::<i64>(), any::<u64>(), any::<f64>(), any::<bool>()), 1..20),
        repeated in 1_usize..3000,
    ) {
        let server = Recorder::start();
        let honeyhive = settings(&server.url).build().unwrap();
        record(&honeyhive, || {
            for (text, int, wide, double, flag) in &records {
                let long = text.repeat(repeated.min(40_000 / text.len().max(1)));
                drop(info_span!("any", text = text.as_str(), int, wide, double, flag, long = long.as_str()));
            }
        });
        let spans = server.spans();
        prop_assert_eq!(spans.len(), records.len());
        for (span, (text, int, wide, double, flag)) in spans.iter().zip(&records) {
            let value = |key: &str| value(span, &format!("honeyhive_inputs.{key}"));
            let long = text.repeat(repeated.min(40_000 / text.len().max(1)));
            prop_assert_eq!(value("text"), Some(Value::StringValue(text.clone())));
            prop_assert_eq!(value("long"), Some(Value::StringValue(long)));
            prop_assert_eq!(value("int"), Some(Value::IntValue(*int)));
            let wide = i64::try_from(*wide).map_or_else(|_| Value::StringValue(wide.to_string()), Value::IntValue);
            prop_assert_eq!(value("wide"), Some(wide));
            prop_assert_eq!(value("flag"), Some(Value::BoolValue(*flag)));
            if double.is_finite() {
                prop_assert_eq!(value("double"), Some(Value::DoubleValue(*double)));
            }
        }
    }
}
