//! Whatever a span is told: nothing panics, and no span is lost.

use super::table::TABLE;
use super::tests::{bare, mapped, pair};
use super::{map, proto};
use proptest::prelude::*;
use serde_json::{Value, json};

fn value() -> impl Strategy<Value = proto::AnyValue> {
    let text = prop_oneof![
        "\\PC{0,30}",
        Just("{\"a\": {\"b\": [1, null, \"x\"]}}".to_owned()),
        Just(
            "[{\"role\": \"user\", \"parts\": [{\"text\": 1}, 2, {\"function_call\": {}}]}]"
                .to_owned()
        ),
        Just(
            "{\"contents\": [[], {}, null, {\"role\": 1, \"parts\": {}}], \"role\": []}".to_owned()
        ),
        Just("{\"message\": {\"content\": {\"parts\": 3}}, \"tool_calls\": [1, {}]}".to_owned()),
        Just("1e999".to_owned()),
    ];
    let leaf = prop_oneof![
        text.prop_map(proto::Value::String),
        any::<bool>().prop_map(proto::Value::Bool),
        any::<i64>().prop_map(proto::Value::Int),
        any::<f64>().prop_map(proto::Value::Double),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(proto::Value::Bytes),
    ];
    let any_value = |value| proto::AnyValue { value: Some(value) };
    let tree = leaf
        .prop_map(any_value)
        .prop_recursive(3, 12, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(move |values| any_value(
                    proto::Value::Array(proto::ArrayValue { values })
                )),
                prop::collection::vec(("[a-z.0-9]{0,6}", inner), 0..4).prop_map(move |pairs| {
                    let pair = |(key, value)| proto::KeyValue {
                        key,
                        value: Some(value),
                    };
                    let values = pairs.into_iter().map(pair).collect();
                    any_value(proto::Value::Map(proto::KeyValueList { values }))
                }),
            ]
        });
    prop_oneof![9 => tree, 1 => Just(proto::AnyValue { value: None })]
}

/// Names of the table, with something in the place of what varies, and any others.
fn key() -> impl Strategy<Value = String> {
    let keys: Vec<&'static str> = TABLE
        .iter()
        .flat_map(|(_, rows)| rows.iter().map(|row| row.key))
        .chain(["error", "status", "model", "chain", "uri", "tool", "level"])
        .collect();
    prop_oneof![
        4 => (prop::sample::select(keys), "[0-9]{1,7}", "([a-z0-9_]{0,8}\\.){0,3}[a-z0-9]{0,8}")
            .prop_map(|(key, index, rest)| key.replace(".N.", &format!(".{index}.")).replace('*', &rest)),
        1 => "\\PC{0,40}",
    ]
}

fn pairs() -> impl Strategy<Value = Vec<proto::KeyValue>> {
    let pair = |(key, value)| proto::KeyValue {
        key,
        value: Some(value),
    };
    prop::collection::vec((key(), value()).prop_map(pair), 0..10)
}

proptest! {
    #[test]
    fn attributes_never_panic_and_never_cost_the_span(
        attributes in pairs(),
        inside in pairs(),
        event in prop::sample::select(vec!["exception", "gen_ai.choice", "gen_ai.user.message", "gen_ai.evaluation.result",
            "gen_ai.client.inference.operation.details", "db.query.result", "x"]),
        name in prop::sample::select(vec!["", "span", "llm.generate", "chain.call", "request", "execute_tool x"]),
        kind in prop::sample::select(vec!["model", "tool", "chain", "session", "agent", "", "own"]),
        scope in prop::sample::select(vec!["", "langchain_rust", "tower_http::trace"]),
    ) {
        let mut attributes = attributes;
        attributes.push(pair("honeyhive_event_type", kind));
        let events = vec![proto::SpanEvent {
            name: event.to_owned(),
            attributes: inside,
            ..Default::default()
        }];
        let span = proto::Span { name: name.to_owned(), ..bare(attributes, events) };
        let event = map(span, None, scope);
        let event = event.expect("an event");
        prop_assert!(!event.event_id.is_empty() && !event.session_id.is_empty());
        // What is kept can be read again.
        for bucket in crate::server::types::BUCKETS {
            let kept = serde_json::to_string(event.buckets.get(bucket)).unwrap();
            prop_assert!(serde_json::from_str::<Value>(&kept).is_ok());
        }
    }

    #[test]
    fn names_that_are_nobodys_stay(rest in "\\PC{0,40}", value in "\\PC{0,40}", kind in prop::sample::select(vec!["model", "tool", "chain"])) {
        let key = format!("my.own/{rest}");
        let event = mapped(&json!({key.clone(): value.clone(), "honeyhive_event_type": kind}));
        prop_assert_eq!(event.buckets.metadata.get(&key), Some(&Value::String(value)));
    }
}
