//! What the fields of a span mean on the wire.

mod support;

use honeyhive::{SpanExt as _, enrich};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use support::attribute;
use support::traced::span_of;
use tracing::info_span;

/// Attributes that every event has.
const CORE: &[&str] = &[
    "honeyhive.session_id",
    "honeyhive.source",
    "traceloop.association.properties.session_id",
    "traceloop.association.properties.source",
    "honeyhive_event_type",
    "honeyhive_duration_ms",
];

/// All other attributes, sorted.
fn own_attributes(span: &Span) -> Vec<(String, String)> {
    let all = support::traced::under(span, "");
    for core in CORE {
        assert!(all.iter().any(|(key, _)| key == core), "{core} is missing");
    }
    all.into_iter()
        .filter(|(key, _)| !CORE.contains(&key.as_str()))
        .collect()
}

#[test]
fn fields_become_attributes() {
    type Case = (&'static str, fn(), &'static [(&'static str, &'static str)]);
    let cases: &[Case] = &[
        ("nothing", || drop(info_span!("s")), &[]),
        (
            "plain fields are inputs",
            || {
                drop(info_span!(
                    "s",
                    question = "why",
                    n = 3,
                    user.name = "x",
                    "quoted name" = true
                ));
            },
            &[
                ("honeyhive_inputs.n", "3"),
                ("honeyhive_inputs.question", "why"),
                ("honeyhive_inputs.quoted name", "true"),
                ("user.name", "x"),
            ],
        ),
        (
            "both spellings of a bucket",
            || {
                drop(info_span!(
                    "s",
                    honeyhive.inputs.a = 1,
                    honeyhive_inputs.b = 2,
                    honeyhive.metrics.m = 0.5,
                    honeyhive_user_properties.id = "u"
                ));
            },
            &[
                ("honeyhive_inputs.a", "1"),
                ("honeyhive_inputs.b", "2"),
                ("honeyhive_metrics.m", "0.5"),
                ("honeyhive_user_properties.id", "u"),
            ],
        ),
        (
            "one name in both spellings: the last write wins",
            || {
                drop(info_span!(
                    "s",
                    honeyhive.config.model = "first",
                    honeyhive_config.model = "second"
                ));
            },
            &[("honeyhive_config.model", "second")],
        ),
        (
            "a bucket as JSON text",
            || {
                drop(info_span!(
                    "s",
                    honeyhive_metadata = r#"{"a": {"b": [1, null, "x"]}, "c": true}"#,
                    honeyhive.outputs = "plain",
                    honeyhive_feedback = "[1, 2]"
                ));
            },
            &[
                ("honeyhive_feedback.value.0", "1"),
                ("honeyhive_feedback.value.1", "2"),
                ("honeyhive_metadata.a.b.0", "1"),
                ("honeyhive_metadata.a.b.2", "x"),
                ("honeyhive_metadata.c", "true"),
                ("honeyhive_outputs.result", "plain"),
            ],
        ),
        (
            "names of conventions pass unchanged",
            || {
                drop(info_span!(
                    "s",
                    gen_ai.request.model = "gpt-4o",
                    llm.model_name = "m",
                    openinference.span.kind = "AGENT",
                    input.value = "{}",
                    honeyhive.parent_id = "p"
                ));
            },
            &[
                ("gen_ai.request.model", "gpt-4o"),
                ("honeyhive.parent_id", "p"),
                ("input.value", "{}"),
                ("llm.model_name", "m"),
                ("openinference.span.kind", "AGENT"),
            ],
        ),
        (
            "lists of messages stay one text",
            || {
                let message = serde_json::json!([{ "role": "user", "content": "why" }]);
                info_span!("s").in_scope(|| {
                    enrich(|e| {
                        e.input("chat_history", &message)
                            .inputs(serde_json::json!({ "functions": [] }))
                    });
                });
            },
            &[
                (
                    "honeyhive_inputs.chat_history",
                    r#"[{"content":"why","role":"user"}]"#,
                ),
                ("honeyhive_inputs.functions", "[]"),
            ],
        ),
        (
            "debug text of a string loses its quotes, and nothing else does",
            || {
                drop(
                    info_span!("s", a = ?"x\n\"y\"", b = ?Some("x"), c = %"\"z", d = ?["p", "q"], e = "\"kept\""),
                );
            },
            &[
                ("honeyhive_inputs.a", "x\n\"y\""),
                ("honeyhive_inputs.b", "Some(\"x\")"),
                ("honeyhive_inputs.c", "\"z"),
                ("honeyhive_inputs.d", "[\"p\", \"q\"]"),
                ("honeyhive_inputs.e", "\"kept\""),
            ],
        ),
        (
            "source, project and name of a span of its own",
            || {
                drop(info_span!(
                    "s",
                    honeyhive.project = "p",
                    honeyhive.event_name = "n"
                ));
            },
            &[
                ("honeyhive.project", "p"),
                ("honeyhive_event_name", "n"),
                ("traceloop.association.properties.project", "p"),
            ],
        ),
        (
            "the bridge's own fields are not repeated",
            || {
                drop(info_span!(
                    "s",
                    otel.kind = "client",
                    otel.status_code = "OK",
                    otel.status_description = "fine",
                    error = false
                ));
            },
            &[],
        ),
    ];
    for (name, make, expected) in cases {
        let found = own_attributes(&span_of(make));
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, *expected, "{name}");
    }
}

#[test]
fn values_keep_their_type_where_the_wire_has_one() {
    let text = |text: &str| Value::StringValue(text.to_owned());
    let number = "x".parse::<u8>().expect_err("no number");
    let error: &(dyn std::error::Error + 'static) = &number;
    let bytes: &[u8] = &[0, 255];
    let span = span_of(|| {
        let s = info_span!(
            "s", bool = true, i64 = i64::MIN, u64 = 7_u64, max = u64::MAX, small = 5_i128, i128 = i128::MIN,
            u128 = u128::MAX, f64 = 1.5, nan = f64::NAN, inf = f64::INFINITY, minus_inf = f64::NEG_INFINITY,
            error = error, bytes = bytes, char = %'c', json = tracing::field::Empty,
        );
        s.enrich(|e| {
            e.input("list", [f32::NAN, 0.1])
                .input("f32", 0.1_f32)
                .input("max", u64::MAX)
                .input("nan", f64::NAN)
        });
    });
    for (key, expected) in [
        ("bool", Value::BoolValue(true)),
        ("i64", Value::IntValue(i64::MIN)),
        ("u64", Value::IntValue(7)),
        ("max", text("18446744073709551615")),
        ("small", Value::IntValue(5)),
        ("i128", text("-170141183460469231731687303715884105728")),
        ("u128", text("340282366920938463463374607431768211455")),
        ("f64", Value::DoubleValue(1.5)),
        ("nan", text("nan")),
        ("inf", text("inf")),
        ("minus_inf", text("-inf")),
        ("bytes", text("[00 ff]")),
        ("char", text("c")),
        ("list.1", Value::DoubleValue(0.1)),
        ("f32", Value::DoubleValue(0.1)),
    ] {
        let key = format!("honeyhive_inputs.{key}");
        let found = span
            .attributes
            .iter()
            .find(|attribute| attribute.key == key);
        let value = found.and_then(|attribute| attribute.value.clone()?.value);
        assert_eq!(value, Some(expected), "{key}");
    }
    assert_eq!(
        attribute(&span, "honeyhive_error").as_deref(),
        Some("invalid digit found in string")
    );
    assert_eq!(
        attribute(&span, "honeyhive_error_type").as_deref(),
        Some("ParseIntError")
    );
}

#[test]
fn names_and_kinds_follow_the_bridge() {
    for (kind, expected) in [
        ("client", 3),
        ("SERVER", 2),
        ("Producer", 4),
        ("consumer", 5),
        ("internal", 1),
        ("nonsense", 1),
    ] {
        assert_eq!(
            span_of(|| drop(info_span!("s", otel.kind = kind))).kind,
            expected,
            "{kind}"
        );
    }
    for (make, expected) in [
        ((|| drop(info_span!("s"))) as fn(), "s"),
        (|| drop(info_span!("s", otel.name = "otel")), "otel"),
        (
            || {
                drop(info_span!(
                    "s",
                    otel.name = display("otel"),
                    honeyhive.event_name = debug("own")
                ));
            },
            "own",
        ),
    ] {
        assert_eq!(span_of(make).name, expected);
    }
}
