//! Entries of an enrichment as the body of an update. Knows the buckets of an event, not how bodies are sent.

use super::attributes::{Scalar, scalar};
use crate::event::fields::{Entry, Key, Reader, Value};
use crate::event::semconv;

/// Entries of an enrichment as the body of an update: an object per bucket. The platform takes no inputs there, so
/// they go into the metadata.
pub(crate) fn buckets(bytes: &[u8]) -> serde_json::Map<String, serde_json::Value> {
    let mut body = serde_json::Map::new();
    for entry in Reader::new(bytes) {
        let Entry::Field(Key::Name(key), value) = entry else {
            continue;
        };
        let Some(rest) = key.strip_prefix("honeyhive_") else {
            continue;
        };
        let (namespace, name) = rest
            .split_once('.')
            .map_or((rest, None), |(space, name)| (space, Some(name)));
        if !semconv::NAMESPACES.contains(&namespace) {
            let (namespace, name) = ("metadata", rest);
            put_in(&mut body, &[namespace], Some(name), json(value));
        } else if namespace == "inputs" {
            put_in(&mut body, &["metadata", "inputs"], name, json(value));
        } else {
            put_in(&mut body, &[namespace], name, json(value));
        }
    }
    body
}

/// Puts a value under a path of objects; without a name, the entries of an object.
fn put_in(
    body: &mut serde_json::Map<String, serde_json::Value>,
    path: &[&str],
    name: Option<&str>,
    value: serde_json::Value,
) {
    let mut object = body;
    for step in path {
        let slot = object
            .entry(*step)
            .or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
        match slot {
            serde_json::Value::Object(inner) => object = inner,
            _ => return,
        }
    }
    match (name, value) {
        (Some(name), value) => {
            object.insert(name.to_owned(), value);
        }
        (None, serde_json::Value::Object(entries)) => object.extend(entries),
        (None, value) => {
            object.insert("value".to_owned(), value);
        }
    }
}

fn json(value: Value<'_>) -> serde_json::Value {
    match value {
        Value::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        other => match scalar(other) {
            Scalar::Bool(value) => value.into(),
            Scalar::Int(value) => value.into(),
            Scalar::Double(value) => value.into(),
            Scalar::Text(text) => text.into_owned().into(),
            Scalar::Uuid(uuid) => uuid.to_string().into(),
        },
    }
}
