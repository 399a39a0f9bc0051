//! Values on the wire: every name of the platform's registry, the rules by which containers are taken apart, and values
//! that other encoders choke on.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, UNIX_EPOCH};

use honeyhive::config::Protocol;
use honeyhive::{Enrichment, SpanExt as _, enrich};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde::Serialize;
use serde_json::json;
use support::traced::Traced;
use support::{PATIENCE, text};
use tracing::{info_span, instrument};

/// The registry: names and types.
const NAMES: &str = include_str!("fixtures/attribute_names.csv");
/// What the official client makes of values in its results: name of the case to suffix, type and value.
const FLATTENED: &str = include_str!("fixtures/flatten.json");

/// Name to type and value.
type Typed = BTreeMap<String, (String, String)>;

fn typed(span: &Span) -> Typed {
    let mut found = Typed::new();
    for attribute in &span.attributes {
        let value = attribute.value.as_ref().expect("a value");
        let kind = match value.value.as_ref() {
            Some(Any::StringValue(_)) => "string",
            Some(Any::BoolValue(_)) => "bool",
            Some(Any::IntValue(_)) => "int",
            Some(Any::DoubleValue(_)) => "double",
            other => panic!("{other:?}"),
        };
        let before = found.insert(attribute.key.clone(), (kind.to_owned(), text(value)));
        assert!(before.is_none(), "{} is there twice", attribute.key);
    }
    found
}

fn registry() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES
        .lines()
        .map(|line| line.split_once(',').expect("a type"))
}

/// The name that an attribute of the registry has on the wire.
fn wire_name(name: &str) -> String {
    match name {
        "honeyhive.event_type" | "honeyhive.event_name" | "honeyhive.error" => {
            name.replacen('.', "_", 1)
        }
        _ => match name
            .strip_prefix("honeyhive.")
            .and_then(|rest| rest.split_once('.'))
        {
            Some((bucket, key)) => format!("honeyhive_{bucket}.{key}"),
            // Context has the spelling with a dot.
            None => name.to_owned(),
        },
    }
}

#[test]
fn every_name_of_the_registry_can_be_recorded() {
    macro_rules! record {
        ($($name:literal : $value:expr,)*) => {
            vec![$({
                info_span!("registry", otel.name = $name, $name = $value);
                let late = info_span!("registry", otel.name = concat!("late ", $name), $name = tracing::field::Empty);
                late.record($name, $value);
                ($name, $value.to_string())
            },)*]
        };
    }
    let traced = Traced::new();
    let recorded = traced.run(|| {
        record! {
            "honeyhive.config.model": "text",
            "honeyhive.config.provider": "text",
            "honeyhive.config.template": "text",
            "honeyhive.inputs.chat_history": "text",
            "honeyhive.metadata.cost": 0.25,
            "honeyhive.metadata.has_feedback": true,
            "honeyhive.metadata.num_events": 7_u64,
            "honeyhive.metadata.num_model_events": 7_u64,
            "honeyhive.metadata.datapoint_id": "text",
            "honeyhive.metadata.dataset_id": "text",
            "honeyhive.metadata.run_id": "text",
            "honeyhive.metadata.session_id": "text",
            "honeyhive.metadata.tool_call_id": "text",
            "honeyhive.metadata.user_id": "text",
            "honeyhive.metadata.finish_reason": "text",
            "honeyhive.metadata.finish_reasons": r#"["one","two"]"#,
            "honeyhive.metadata.response_finish_reasons": r#"["one","two"]"#,
            "honeyhive.metadata.agent_description": "text",
            "honeyhive.metadata.agent_id": "text",
            "honeyhive.metadata.agent_name": "text",
            "honeyhive.metadata.conversation_id": "text",
            "honeyhive.metadata.event_id": "text",
            "honeyhive.metadata.event_name": "text",
            "honeyhive.metadata.event_type": "text",
            "honeyhive.metadata.llm.model_name": "text",
            "honeyhive.metadata.model_name": "text",
            "honeyhive.metadata.operation_name": "text",
            "honeyhive.metadata.provider": "text",
            "honeyhive.metadata.request_type": "text",
            "honeyhive.metadata.span_kind": "text",
            "honeyhive.metadata.system": "text",
            "honeyhive.metadata.tool_name": "text",
            "honeyhive.metadata.latency_ms": 0.25,
            "honeyhive.metadata.time_to_first_token_ms": 0.25,
            "honeyhive.metadata.mcp_client_name": "text",
            "honeyhive.metadata.mcp_request_type": "text",
            "honeyhive.metadata.mcp_server_name": "text",
            "honeyhive.metadata.mcp_session_id": "text",
            "honeyhive.metadata.mcp_tool_name": "text",
            "honeyhive.metadata.input_mime_type": "text",
            "honeyhive.metadata.output_mime_type": "text",
            "honeyhive.metadata.disable_http_tracing": true,
            "honeyhive.metadata.messaging_destination": "text",
            "honeyhive.metadata.tool_status": "text",
            "honeyhive.metadata.has_otlp_lineage": true,
            "honeyhive.metadata.honeyhive_event_type": "text",
            "honeyhive.metadata.instrumentor": "text",
            "honeyhive.metadata.parent_span_id": "text",
            "honeyhive.metadata.span_id": "text",
            "honeyhive.metadata.trace_id": "text",
            "honeyhive.metadata.openai_api_base": "text",
            "honeyhive.metadata.openai_system_fingerprint": "text",
            "honeyhive.metadata.response_id": "text",
            "honeyhive.metadata.response_model": "text",
            "honeyhive.metadata.status_code": 7_u64,
            "honeyhive.metadata.cache_read_input_tokens": 7_u64,
            "honeyhive.metadata.cache_write_input_tokens": 7_u64,
            "honeyhive.metadata.reasoning_tokens": 7_u64,
            "honeyhive.metadata.completion_tokens": 7_u64,
            "honeyhive.metadata.input_tokens": 7_u64,
            "honeyhive.metadata.output_tokens": 7_u64,
            "honeyhive.metadata.prompt_tokens": 7_u64,
            "honeyhive.metadata.total_tokens": 7_u64,
            "honeyhive.outputs.chat_history": "text",
            "honeyhive.outputs.role": "text",
            "honeyhive.outputs.text": "text",
            "honeyhive.outputs.tool_calls": "text",
            "honeyhive.duration": 0.25,
            "honeyhive.error": "text",
            "honeyhive.event_name": "text",
            "honeyhive.event_type": "chain",
            "honeyhive.parent_id": "text",
            "honeyhive.session_id": "7f3a5c10-0000-4000-8000-000000000001",
            "honeyhive.start_time": 7_u64,
        }
    });
    let names: Vec<&str> = recorded.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, registry().map(|(name, _)| name).collect::<Vec<_>>());
    traced.spans();
    let spans: HashMap<String, Typed> = traced
        .server
        .spans()
        .iter()
        .map(|span| (span.name.clone(), typed(span)))
        .collect();
    for ((name, kind), (_, value)) in registry().zip(&recorded) {
        let kind = match kind {
            "boolean" => "bool",
            // A field holds no list; the platform reads its JSON.
            "string[]" => "string",
            other => other,
        };
        // A field that names the event also names its span.
        let span = if name == "honeyhive.event_name" {
            &spans[value]
        } else {
            &spans[name]
        };
        let expected = (kind.to_owned(), value.clone());
        assert_eq!(span.get(&wire_name(name)), Some(&expected), "{name}");
        if name != "honeyhive.event_name" && name != "honeyhive.session_id" {
            let late = &spans[&format!("late {name}")];
            assert_eq!(late.get(&wire_name(name)), Some(&expected), "{name}, late");
        }
    }
}

#[test]
fn every_name_of_the_registry_can_be_enriched() {
    fn put<'e>(
        e: &'e mut Enrichment,
        bucket: &str,
        key: &str,
        value: impl Serialize,
    ) -> &'e mut Enrichment {
        match bucket {
            "inputs" => e.input(key, value),
            "outputs" => e.outputs(HashMap::from([(key, value)])),
            "config" => e.config(key, value),
            "metadata" => e.metadata(key, value),
            other => panic!("{other}"),
        }
    }
    let traced = Traced::new();
    traced.run(|| {
        info_span!("registry").in_scope(|| {
            for (name, kind) in registry() {
                let rest = name.strip_prefix("honeyhive.").expect("the prefix");
                let Some((bucket, key)) = rest.split_once('.') else {
                    continue;
                };
                enrich(|e| match kind {
                    "string" => put(e, bucket, key, "text"),
                    "double" => put(e, bucket, key, 0.25),
                    "boolean" => put(e, bucket, key, true),
                    "int" => put(e, bucket, key, 7),
                    "string[]" => put(e, bucket, key, ["one", "two"]),
                    other => panic!("{other}"),
                });
            }
            enrich(|e| e.error_message("broken"));
        });
    });
    let found = typed(&traced.span("registry"));
    let mut walked = 0;
    for (name, kind) in registry() {
        let wire = wire_name(name);
        let expected: &[(&str, &str, &str)] = match kind {
            _ if !wire.starts_with("honeyhive_") || !wire.contains('.') => continue,
            "string" => &[("", "string", "text")],
            "double" => &[("", "double", "0.25")],
            "boolean" => &[("", "bool", "true")],
            "int" => &[("", "int", "7")],
            _ => &[(".0", "string", "one"), (".1", "string", "two")],
        };
        for (suffix, kind, value) in expected {
            let expected = ((*kind).to_owned(), (*value).to_owned());
            assert_eq!(
                found.get(&format!("{wire}{suffix}")),
                Some(&expected),
                "{name}"
            );
        }
        walked += 1;
    }
    assert_eq!(walked, 67);
    assert_eq!(found["honeyhive_error"].1, "broken");
}

/// Where ours differs from the official client: the case, what ours sends, and why.
type Difference = (
    &'static str,
    &'static [(&'static str, &'static str, &'static str)],
    &'static str,
);

const DIFFERENCES: &[Difference] = &[
    (
        "tup",
        &[("0", "int", "1"), ("1", "int", "2")],
        "Serialize does not tell a tuple from a list, and a list is taken apart",
    ),
    (
        "st",
        &[("0", "int", "1")],
        "a set is a list to Serialize; the client prints its repr",
    ),
    (
        "dt",
        &[("", "string", "2024-01-02 03:04:05.000678")],
        "the client puts JSON's quotes round a text that is no JSON",
    ),
    ("date", &[("", "string", "2024-01-02")], "quotes, as dt"),
    ("dec", &[("", "string", "1.10")], "quotes, as dt"),
    (
        "uid",
        &[("", "string", "00000000-0000-0000-0000-000000000001")],
        "quotes, as dt",
    ),
    (
        "enum",
        &[("", "string", "RED")],
        "a variant is its name; quotes, as dt",
    ),
    ("strenum", &[("", "string", "A")], "a variant is its name"),
    (
        "dc",
        &[("x", "int", "1")],
        "a struct is taken apart; the client prints its repr",
    ),
    ("pm", &[("y", "int", "2")], "as dc"),
    (
        "by",
        &[("", "string", "hi")],
        "bytes that are UTF-8 are what they say; the client prints their repr",
    ),
    (
        "nan",
        &[("", "string", "nan")],
        "JSON has no NaN, and the platform's parser refuses one",
    ),
    (
        "big",
        &[("", "string", "1180591620717411303424")],
        "OTLP's integers have 64 bits; the client's encoder fails here",
    ),
];

struct Bytes(&'static [u8]);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

#[test]
fn containers_are_taken_apart_as_the_official_client_does_it() {
    #[derive(Serialize)]
    enum Colour {
        #[serde(rename = "RED")]
        Red,
        A,
    }
    #[derive(Serialize)]
    struct X {
        x: u8,
    }
    #[derive(Serialize)]
    struct Y {
        y: u8,
    }
    let reference: BTreeMap<String, BTreeMap<String, (String, String)>> =
        serde_json::from_str(FLATTENED).expect("the fixture");
    let traced = Traced::new();
    traced.run(|| {
        let case = |name: &str, value: &dyn Fn(&mut Enrichment)| {
            info_span!("case", otel.name = name).enrich(|e| {
                value(e);
                e
            });
        };
        case("none", &|e| _ = e.metadata("P", None::<u8>));
        case("empty_dict", &|e| _ = e.metadata("P", json!({})));
        case("empty_list", &|e| _ = e.metadata("P", json!([])));
        case("dict_none", &|e| {
            _ = e.metadata("P", json!({ "a": null, "b": 1 }));
        });
        case("nested", &|e| {
            _ = e.metadata("P", json!({ "a": { "b": [1, null, { "c": "d" }] } }));
        });
        case("tup", &|e| _ = e.metadata("P", (1, 2)));
        case("st", &|e| {
            _ = e.metadata("P", std::collections::BTreeSet::from([1]));
        });
        case("dt", &|e| _ = e.metadata("P", "2024-01-02 03:04:05.000678"));
        case("date", &|e| _ = e.metadata("P", "2024-01-02"));
        case("dec", &|e| _ = e.metadata("P", "1.10"));
        case("uid", &|e| {
            _ = e.metadata("P", "00000000-0000-0000-0000-000000000001");
        });
        case("enum", &|e| _ = e.metadata("P", Colour::Red));
        case("strenum", &|e| _ = e.metadata("P", Colour::A));
        case("intenum", &|e| _ = e.metadata("P", 1_u8));
        case("dc", &|e| _ = e.metadata("P", X { x: 1 }));
        case("pm", &|e| _ = e.metadata("P", Y { y: 2 }));
        case("by", &|e| _ = e.metadata("P", Bytes(b"hi")));
        case("nan", &|e| _ = e.metadata("P", f64::NAN));
        case("big", &|e| _ = e.metadata("P", 1_u128 << 70));
        case("dotted", &|e| {
            _ = e.metadata("P", json!({ "a.b": 1, "": 2, "sp ace": 3 }));
        });
        case("boolean", &|e| _ = e.metadata("P", true));
        case("intkey", &|e| {
            _ = e.metadata("P", BTreeMap::from([(1, "x")]));
        });
    });
    traced.spans();
    let mut unused: Vec<&str> = DIFFERENCES.iter().map(|(case, ..)| *case).collect();
    for (case, expected) in reference {
        let found: Typed = typed(&traced.server.span(&case))
            .into_iter()
            .filter_map(|(key, value)| {
                let rest = key.strip_prefix("honeyhive_metadata.P")?;
                Some((rest.strip_prefix('.').unwrap_or(rest).to_owned(), value))
            })
            .collect();
        let expected: Typed = match DIFFERENCES.iter().find(|(known, ..)| *known == case) {
            Some((_, ours, why)) => {
                unused.retain(|known| *known != case);
                let ours: Typed = ours
                    .iter()
                    .map(|(key, kind, value)| {
                        let value = ((*kind).to_owned(), (*value).to_owned());
                        ((*key).to_owned(), value)
                    })
                    .collect();
                assert_ne!(ours, expected, "{case} is no difference: {why}");
                ours
            }
            None => expected
                .into_iter()
                .map(|(key, (kind, value))| {
                    let value = if kind == "bool" {
                        value.to_lowercase()
                    } else {
                        value
                    };
                    (key, (kind, value))
                })
                .collect(),
        };
        assert_eq!(found, expected, "{case}");
    }
    assert_eq!(unused, [""; 0]);
}

#[derive(Serialize)]
enum Shape {
    Unit,
    Newtype(u8),
    Tuple(u8, u8),
    Struct { side: f32 },
}

fn strange(e: &mut Enrichment) -> &mut Enrichment {
    e.metadata("unit", ())
        .metadata("some", Some(Some(3)))
        .metadata("none", Some(None::<u8>))
        .metadata(
            "shapes",
            [
                Shape::Unit,
                Shape::Newtype(1),
                Shape::Tuple(2, 3),
                Shape::Struct { side: 0.5 },
            ],
        )
        .metadata("infinite", f64::INFINITY)
        .metadata("negative", f32::NEG_INFINITY)
        .metadata("floats", [1.5, f64::NAN])
        .metadata("u64", u64::MAX)
        .metadata("i128", i128::MIN)
        .metadata("wide", [u128::MAX, 5])
        .metadata("bytes", [Bytes(&[0xff, 0])])
        .metadata("time", UNIX_EPOCH + Duration::from_secs(5))
        .metadata(
            "nested",
            BTreeMap::from([("a", vec![BTreeMap::from([("b", 'c')])])]),
        )
        .metadata("nul", "\0 \u{1b} \u{feff} \u{10ffff}")
        .metadata("pairs", HashMap::from([((1, 2), 3)]))
}

#[test]
fn strange_values_are_valid_in_both_encodings() {
    let expected: &[(&str, &str, &str)] = &[
        ("some", "int", "3"),
        ("shapes.0", "string", "Unit"),
        ("shapes.1.Newtype", "int", "1"),
        ("shapes.2.Tuple.0", "int", "2"),
        ("shapes.2.Tuple.1", "int", "3"),
        ("shapes.3.Struct.side", "double", "0.5"),
        ("infinite", "string", "inf"),
        ("negative", "string", "-inf"),
        ("floats.0", "double", "1.5"),
        ("u64", "string", "18446744073709551615"),
        ("i128", "string", "-170141183460469231731687303715884105728"),
        (
            "wide.0",
            "string",
            "340282366920938463463374607431768211455",
        ),
        ("wide.1", "int", "5"),
        ("bytes.0", "string", "/wA="),
        ("time.secs_since_epoch", "int", "5"),
        ("time.nanos_since_epoch", "int", "0"),
        ("nested.a.0.b", "string", "c"),
        ("nul", "string", "\0 \u{1b} \u{feff} \u{10ffff}"),
        (
            "pairs",
            "string",
            "<serialization failed: key must be a string>",
        ),
    ];
    let expected: Typed = expected
        .iter()
        .map(|(key, kind, value)| ((*key).to_owned(), ((*kind).to_owned(), (*value).to_owned())))
        .collect();
    let traced = Traced::new();
    traced.run(|| info_span!("strange").in_scope(|| enrich(strange)));
    let found: Typed = typed(&traced.span("strange"))
        .into_iter()
        .filter_map(|(key, value)| {
            Some((key.strip_prefix("honeyhive_metadata.")?.to_owned(), value))
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(traced.stats().cut, 1);

    let traced = Traced::with(|builder| builder.protocol(Protocol::HttpJson));
    traced.run(|| info_span!("strange").in_scope(|| enrich(strange)));
    traced
        .honeyhive
        .flush_blocking(PATIENCE)
        .expect("a delivery");
    let body = traced.server.requests_to(support::TRACES)[0].json();
    let span = &body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let mut found = Typed::new();
    for attribute in span["attributes"].as_array().expect("a list") {
        let Some(key) = attribute["key"]
            .as_str()
            .and_then(|key| key.strip_prefix("honeyhive_metadata."))
        else {
            continue;
        };
        let (kind, value) = attribute["value"]
            .as_object()
            .and_then(|map| map.iter().next())
            .expect("a value");
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        found.insert(
            key.to_owned(),
            (kind.trim_end_matches("Value").to_owned(), value),
        );
    }
    assert_eq!(found, expected);
}

#[test]
fn closures_run_only_for_spans_that_are_recorded() {
    #[instrument(level = "trace")]
    fn unwanted() {
        enrich(|_| unreachable!("the span is not recorded"));
        tracing::Span::current().enrich(|_| unreachable!("the span is not recorded"));
    }
    let traced = Traced::new();
    traced.run(|| {
        unwanted();
        let off = traced
            .honeyhive
            .reconfigure(|builder| builder.disable_tracing(true));
        off.expect("valid settings");
        let span = info_span!("disabled").entered();
        enrich(|_| unreachable!("tracing is disabled"));
        span.enrich(|_| unreachable!("tracing is disabled"));
    });
    assert_eq!(traced.names(), [""; 0]);
}
