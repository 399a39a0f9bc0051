//! What goes over the wire as JSON: the form of the official client, to the letter.

mod support;

use std::time::Duration;

use honeyhive::HoneyHive;
use honeyhive::config::Protocol;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::*;
use tracing::{error, info_span};
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);

fn instance(server: &Recorder) -> HoneyHive {
    settings(&server.url)
        .protocol(Protocol::HttpJson)
        .build()
        .unwrap()
}

fn record(honeyhive: &HoneyHive, work: impl FnOnce()) {
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, work);
    honeyhive.flush_blocking(LONG).unwrap();
}

fn spans(server: &Recorder) -> Vec<Value> {
    let requests = server.requests_to(TRACES);
    let spans = |request: &Request| {
        request.json()["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap()
            .clone()
    };
    requests.iter().flat_map(spans).collect()
}

fn span(server: &Recorder, name: &str) -> Value {
    spans(server)
        .into_iter()
        .find(|span| span["name"] == name)
        .unwrap()
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found: Vec<_> = attributes
        .iter()
        .filter(|attribute| attribute["key"] == key)
        .collect();
    assert!(found.len() <= 1, "{key} is there twice");
    found
        .first()
        .map_or(Value::Null, |attribute| attribute["value"].clone())
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_request_has_the_form_of_the_contract() {
    let server = Recorder::start();
    let honeyhive = instance(&server);
    record(&honeyhive, || {
        info_span!("root").in_scope(|| {
            info_span!(
                "child",
                otel.kind = "server",
                text = "naïve 🐝 \"quoted\" \u{1}\n"
            )
            .in_scope(|| {
                error!(code = 7, "boom");
            });
        });
    });
    let request = server.requests_to("/opentelemetry/v1/traces").remove(0);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(
        request.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(request.header("x-source"), Some("dev"));
    assert_eq!(request.header("hh-client-timestamp"), None);

    let body = request.json();
    assert_eq!(keys(&body), ["resourceSpans"]);
    let resource = &body["resourceSpans"][0];
    assert_eq!(keys(resource), ["resource", "scopeSpans"]);
    assert_eq!(keys(&resource["resource"]), ["attributes"]);
    let scope = &resource["scopeSpans"][0];
    assert_eq!(keys(scope), ["scope", "spans"]);
    assert_eq!(keys(&scope["scope"]), ["name"]);
    assert!(
        scope["scope"]["name"]
            .as_str()
            .unwrap()
            .starts_with("honeyhive.")
    );

    let (root, child) = (span(&server, "root"), span(&server, "child"));
    let all = [
        "attributes",
        "endTimeUnixNano",
        "events",
        "kind",
        "name",
        "parentSpanId",
        "spanId",
        "startTimeUnixNano",
        "status",
        "traceId",
    ];
    for span in [&root, &child] {
        assert_eq!(keys(span), all);
        for (key, digits) in [("traceId", 32), ("spanId", 16)] {
            let id = span[key].as_str().unwrap();
            assert!(
                id.len() == digits
                    && id
                        .bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
                "{id}"
            );
        }
        for key in ["startTimeUnixNano", "endTimeUnixNano"] {
            assert!(
                span[key].as_str().unwrap().parse::<u64>().unwrap() > 1_600_000_000_000_000_000
            );
        }
    }
    assert_eq!(root["parentSpanId"], Value::Null);
    assert_eq!(child["parentSpanId"], root["spanId"]);
    assert_eq!(
        (&root["kind"], &child["kind"]),
        (&json!("SPAN_KIND_INTERNAL"), &json!("SPAN_KIND_SERVER"))
    );
    assert_eq!(root["status"], json!({ "code": "STATUS_CODE_UNSET" }));
    assert_eq!(
        child["status"],
        json!({ "code": "STATUS_CODE_ERROR", "message": "boom" })
    );
    assert_eq!(root["events"], json!([]));
    let event = &child["events"][0];
    assert_eq!(keys(event), ["attributes", "name", "timeUnixNano"]);
    assert_eq!(event["name"], "exception");
    assert!(event["timeUnixNano"].is_string());
    assert_eq!(attribute(event, "code"), json!({ "intValue": "7" }));
    assert_eq!(
        attribute(&child, "honeyhive_inputs.text"),
        json!({ "stringValue": "naïve 🐝 \"quoted\" \u{1}\n" })
    );
    for span in [&root, &child] {
        let session = json!({ "stringValue": honeyhive.session_id().to_string() });
        assert_eq!(attribute(span, "honeyhive.session_id"), session);
        assert_eq!(
            attribute(span, "traceloop.association.properties.session_id"),
            session
        );
    }
    assert_all_exported(&honeyhive.stats(), 2);
}

#[test]
fn values_are_written_as_the_contract_says() {
    let server = Recorder::start();
    let honeyhive = instance(&server);
    record(&honeyhive, || {
        drop(info_span!(
            "typed",
            yes = true,
            least = i64::MIN,
            wide = u64::MAX,
            third = 1.0 / 3.0,
            whole = 2.0,
            nan = f64::NAN,
            inf = f64::INFINITY,
            minus = f64::NEG_INFINITY,
            empty = "",
            otel.status_code = "ok"
        ));
    });
    let span = span(&server, "typed");
    for (key, expected) in [
        ("yes", json!({ "boolValue": true })),
        ("least", json!({ "intValue": "-9223372036854775808" })),
        ("wide", json!({ "stringValue": "18446744073709551615" })),
        ("third", json!({ "doubleValue": 1.0 / 3.0 })),
        ("whole", json!({ "doubleValue": 2.0 })),
        ("nan", json!({ "stringValue": "nan" })),
        ("inf", json!({ "stringValue": "inf" })),
        ("minus", json!({ "stringValue": "-inf" })),
        ("empty", json!({ "stringValue": "" })),
    ] {
        assert_eq!(
            attribute(&span, &format!("honeyhive_inputs.{key}")),
            expected,
            "{key}"
        );
    }
    assert_eq!(span["status"], json!({ "code": "STATUS_CODE_OK" }));
}

#[test]
fn partial_success_is_read_as_json() {
    let server = Recorder::start();
    server
        .answer_traces([Reply::status(200)
            .body(r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#)]);
    let honeyhive = instance(&server);
    emit(&honeyhive, 10);
    assert!(honeyhive.flush_blocking(LONG).unwrap_err().is_delivery());
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.exported, stats.rejected), (7, 3));
}

/// The standard mapping has numbers for enums, and nothing for a parent that is not there.
fn standard(mut body: Value) -> Value {
    for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]
        .as_array_mut()
        .unwrap()
    {
        let kinds = [
            "UNSPECIFIED",
            "INTERNAL",
            "SERVER",
            "CLIENT",
            "PRODUCER",
            "CONSUMER",
        ];
        let kind = span["kind"]
            .as_str()
            .unwrap()
            .strip_prefix("SPAN_KIND_")
            .unwrap();
        span["kind"] = kinds.iter().position(|known| *known == kind).into();
        let codes = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
        span["status"]["code"] = codes
            .iter()
            .position(|known| span["status"]["code"] == *known)
            .into();
        if span["parentSpanId"].is_null() {
            span.as_object_mut().unwrap().remove("parentSpanId");
        }
    }
    body
}

#[test]
fn the_reference_types_read_it() {
    let server = Recorder::start();
    let honeyhive = instance(&server);
    record(&honeyhive, || {
        info_span!("root", n = 7).in_scope(|| info_span!("child").in_scope(|| error!("boom")));
    });
    let decoded: ExportTraceServiceRequest =
        serde_json::from_value(standard(server.requests_to(TRACES)[0].json())).unwrap();
    let spans = &decoded.resource_spans[0].scope_spans[0].spans;
    let (root, child) = (&spans[1], &spans[0]);
    assert_eq!((root.name.as_str(), child.name.as_str()), ("root", "child"));
    assert_eq!((root.span_id.len(), root.trace_id.len()), (8, 16));
    assert_eq!(child.parent_span_id, root.span_id);
    assert!(root.parent_span_id.is_empty());
    assert_eq!(
        support::attribute(root, "honeyhive_inputs.n").as_deref(),
        Some("7")
    );
    assert_eq!(child.status.as_ref().unwrap().message, "boom");
    assert_eq!(child.events.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_recorded_arrives(
        records in prop::collection::vec((any::<String>(), any::<i64>(), any::<f64>(), any::<bool>()), 1..20),
    ) {
        let server = Recorder::start();
        let honeyhive = instance(&server);
        record(&honeyhive, || {
            for (text, int, double, flag) in &records {
                drop(info_span!("any", text = text.as_str(), int, double, flag));
            }
        });
        let spans = spans(&server);
        prop_assert_eq!(spans.len(), records.len());
        // Read from the text: `serde_json` may be off by the last bit.
        let body = String::from_utf8(server.requests_to(TRACES)[0].body.clone()).unwrap();
        let written = body.split("inputs.double\",\"value\":{\"doubleValue\":").skip(1).map(|rest| rest.split('}').next().unwrap());
        let written: Vec<f64> = written.map(|number| number.parse().unwrap()).collect();
        let finite: Vec<f64> = records.iter().map(|record| record.2).filter(|double| double.is_finite()).collect();
        prop_assert_eq!(written, finite);
        for (span, (text, int, _, flag)) in spans.iter().zip(&records) {
            let value = |key: &str| attribute(span, &format!("honeyhive_inputs.{key}"));
            prop_assert_eq!(value("text"), json!({ "stringValue": text }));
            prop_assert_eq!(value("int"), json!({ "intValue": int.to_string() }));
            prop_assert_eq!(value("flag"), json!({ "boolValue": flag }));
        }
    }
}
