//! Doors for fuzzing and for tests with made-up input: everything that reads the wire, without a server round it.

use super::{filter, ingest, rest};

/// A request of spans.
pub fn otlp(content: &[u8], json: bool, gzip: bool) {
    ingest::try_decoding(content, json, gzip);
}

/// A body of every request that has one.
pub fn bodies(content: &[u8]) {
    rest::try_bodies(content);
}

/// Filters, made into SQL and asked of the values beside them: `{"filters": .., "values": {..}}`.
pub fn filters(content: &[u8]) {
    let Ok(serde_json::Value::Object(given)) = serde_json::from_slice(content) else {
        return;
    };
    let empty = serde_json::Map::new();
    let values = given.get("values").and_then(serde_json::Value::as_object);
    let values = values.unwrap_or(&empty);
    let text = serde_json::to_string(values).unwrap_or_default();
    for strict in [false, true] {
        let read = filter::conditions(given.get("filters"), "filters", strict);
        for condition in read.unwrap_or_default() {
            let mut bound = Vec::new();
            let asked = condition.sql(|_| "column", &mut bound);
            if let Some(sql) = asked {
                assert_eq!(sql.matches('?').count(), bound.len(), "{sql}");
                continue;
            }
            let slow = condition.holds_in_all(values);
            assert_eq!(condition.holds_in_text(&text), slow, "{condition:?} {text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e6..1e6_f64).prop_map(Value::from),
            prop::sample::select(vec![
                "a",
                "1",
                "1.0",
                "true",
                "2026-01-01",
                "model",
                "é\"\\\n"
            ])
            .prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                object(inner),
            ]
        })
    }

    fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec![
            "a",
            "a.b",
            "name",
            "event",
            "events",
            "event_type",
            "inputs",
            "outputs",
            "metrics",
            "metadata",
            "filters",
            "type",
            "threshold",
            "parameters",
            "run_id",
            "dateRange",
            "start_time",
            "model_event",
            "session",
            "limit",
        ]);
        let pairs = prop::collection::vec((key, inner), 0..5);
        pairs.prop_map(|pairs| {
            let pairs = pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value));
            Value::Object(Map::from_iter(pairs))
        })
    }

    fn condition() -> impl Strategy<Value = Value> {
        let field = prop::sample::select(vec![
            "metadata.a",
            "metadata.a.b",
            "metadata",
            "event_name",
            "duration",
            "inputs.a.0",
            "none",
            "metadata.",
        ]);
        let operator = prop::sample::select(vec![
            "exists",
            "not exists",
            "is",
            "is not",
            "contains",
            "not contains",
            "greater than",
            "less than",
            "after",
            "before",
        ]);
        let kind = prop::sample::select(vec!["string", "number", "boolean", "datetime"]);
        (field, operator, value(), kind).prop_map(|(field, operator, value, kind)| {
            json!({"field": field, "operator": operator, "value": value, "type": kind})
        })
    }

    proptest! {
        #[test]
        fn no_body_makes_a_reader_panic(body in object(value())) {
            super::bodies(body.to_string().as_bytes());
        }

        #[test]
        fn no_bytes_make_a_reader_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            super::bodies(&content);
            super::filters(&content);
            super::otlp(&content, true, false);
            super::otlp(&content, false, true);
        }

        #[test]
        fn quick_looks_answer_as_slow_ones_do(
            filters in prop::collection::vec(condition(), 0..4),
            values in object(value()),
        ) {
            let given = json!({"filters": filters, "values": values});
            super::filters(given.to_string().as_bytes());
        }
    }
}
