//! Values of attributes as JSON, and the handling of dotted and indexed names. Knows nothing of the table.

use crate::export::otlp::proto;
use serde_json::{Map, Number, Value};

pub(super) fn from_any(value: Option<proto::AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        None => Value::Null,
        Some(proto::Value::String(text)) => Value::String(text),
        Some(proto::Value::Bool(value)) => Value::Bool(value),
        Some(proto::Value::Int(value)) => Value::Number(value.into()),
        Some(proto::Value::Double(value)) => from_f64(value),
        Some(proto::Value::Array(array)) => array
            .values
            .into_iter()
            .map(|value| from_any(Some(value)))
            .collect(),
        Some(proto::Value::Map(list)) => Value::Object(
            list.values
                .into_iter()
                .map(|pair| (pair.key, from_any(pair.value)))
                .collect(),
        ),
        Some(proto::Value::Bytes(bytes)) => Value::String(hex(&bytes)),
    }
}

/// JSON has no NaN and no infinities; as text they are at least not lost.
pub(crate) fn from_f64(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None => Value::String(value.to_string()),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .flatten()
        .collect()
}

/// Levels of JSON in a text that is parsed. What is stored is read again by a reader that follows 128 of them, and
/// dotted names and the shape of a message put some around it.
const PARSED: usize = 90;

/// Text that is JSON becomes the JSON; all else stays.
pub(super) fn parse(value: Value) -> Value {
    match &value {
        Value::String(text) => match serde_json::from_str(text.trim()) {
            Ok(parsed) if !is_deeper(&parsed, PARSED) => parsed,
            _ => value,
        },
        _ => value,
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return matches!(value, Value::Array(_) | Value::Object(_));
    };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, below)),
        Value::Object(map) => map.values().any(|item| is_deeper(item, below)),
        _ => false,
    }
}

/// As [`parse`], for text that is certainly meant as JSON: `42` and `true` stay the texts they were sent as.
pub(super) fn parse_structured(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with(['{', '[', '"']) => parse(value),
        _ => value,
    }
}

pub(super) fn number(value: Value) -> Value {
    match &value {
        Value::String(text) => {
            let text = text.trim();
            if let Ok(whole) = text.parse::<i64>() {
                return whole.into();
            }
            match text.parse::<f64>() {
                Ok(real) if real.is_finite() => from_f64(real),
                _ => value,
            }
        }
        _ => value,
    }
}

/// The text of a value: a text as it is, all else as JSON.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// How deep dotted names nest; what is left of the name stays one key.
const DEPTH: usize = 24;

/// Puts a value at a dotted path. Where a shorter path already holds a plain value, the rest of the name stays one key
/// beside it, so that neither is lost.
pub(super) fn put(map: &mut Map<String, Value>, path: &str, value: Value) {
    put_at(map, path, value, DEPTH);
}

fn put_at(map: &mut Map<String, Value>, path: &str, value: Value, depth: usize) {
    if depth > 0
        && let Some((head, rest)) = path.split_once('.')
        && !head.is_empty()
        && !rest.is_empty()
    {
        let inner = map.entry(head).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(inner) = inner {
            return put_at(inner, rest, value, depth - 1);
        }
    }
    // What a dotted name put below is kept when the whole arrives too.
    match (map.get_mut(path), value) {
        (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
        (_, value) => {
            map.insert(path.to_owned(), value);
        }
    }
}

/// Objects are merged key by key, the new value winning; everything else is replaced.
pub(crate) fn merge(old: &mut Map<String, Value>, new: Map<String, Value>) {
    for (key, value) in new {
        match (old.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                old.insert(key, value);
            }
        }
    }
}

/// Objects whose keys are indices become arrays, in the order of the indices; gaps close.
pub(super) fn arrays(map: &mut Map<String, Value>) {
    for value in map.values_mut() {
        array(value);
    }
}

pub(super) fn array(value: &mut Value) {
    let Value::Object(map) = value else {
        return;
    };
    arrays(map);
    if map.is_empty() || !map.keys().all(|key| is_index(key)) {
        return;
    }
    let mut items: Vec<(u32, Value)> = std::mem::take(map)
        .into_iter()
        .filter_map(|(key, value)| Some((key.parse().ok()?, value)))
        .collect();
    items.sort_by_key(|(index, _)| *index);
    *value = items.into_iter().map(|(_, value)| value).collect();
}

fn is_index(key: &str) -> bool {
    let digits = !key.is_empty() && key.len() <= 6 && key.bytes().all(|b| b.is_ascii_digit());
    digits && (key == "0" || !key.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nested(pairs: &[(&str, Value)]) -> Value {
        let mut map = Map::new();
        for (path, value) in pairs {
            put(&mut map, path, value.clone());
        }
        arrays(&mut map);
        Value::Object(map)
    }

    #[test]
    fn dotted_names_nest_and_indices_become_arrays() {
        assert_eq!(
            nested(&[
                ("result.list.1.a", json!(2)),
                ("result.list.0", json!(1)),
                ("result.list.10", json!("last")),
                ("result.text", json!("x")),
            ]),
            json!({"result": {"list": [1, {"a": 2}, "last"], "text": "x"}})
        );
        // A plain value and a longer name: both are kept, whichever came first.
        assert_eq!(
            nested(&[("a", json!(1)), ("a.b", json!(2))]),
            json!({"a": 1, "a.b": 2})
        );
        assert_eq!(
            nested(&[("a.b", json!(2)), ("a", json!({"c": 3}))]),
            json!({"a": {"b": 2, "c": 3}})
        );
        assert_eq!(nested(&[("a..b", json!(1))]), json!({"a": {".b": 1}}));
        let deep = "x.".repeat(5000);
        nested(&[(&deep, json!(1))]);
    }

    #[test]
    fn only_structured_text_is_parsed() {
        for (text, expected) in [
            ("{\"k\": [1, null]}", json!({"k": [1, null]})),
            ("\"2024-01-02\"", json!("2024-01-02")),
            ("42", json!("42")),
            ("true", json!("true")),
            ("{not json", json!("{not json")),
        ] {
            assert_eq!(parse_structured(json!(text)), expected, "{text}");
        }
        assert_eq!(number(json!("42")), json!(42));
        assert_eq!(number(json!("0.5")), json!(0.5));
        assert_eq!(number(json!("many")), json!("many"));
    }
}
