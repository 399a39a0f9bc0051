//! Entries of an enrichment as the JSON bodies of the platform's event routes. Knows the names of `event::semconv`, not
//! how bodies are sent.

use serde_json::{Map, Value as Json};

use super::attributes::{Scalar, scalar, text};
use super::span::milliseconds;
use crate::event::fields::{Entry, Key, Reader, Value};
use crate::event::semconv;

/// The body of an update: an object per bucket. The platform takes no inputs there and no error, so they go into the
/// metadata.
pub(crate) fn buckets(bytes: &[u8]) -> Map<String, Json> {
    body(bytes, false)
}

/// The body of a new event: an object per bucket, and what stands beside the buckets.
pub(crate) fn created(bytes: &[u8]) -> Map<String, Json> {
    body(bytes, true)
}

fn body(bytes: &[u8], created: bool) -> Map<String, Json> {
    let mut body = Map::new();
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
        match namespace {
            "duration_ms" => {
                if let Some(duration) = milliseconds(value) {
                    body.insert("duration".to_owned(), duration.into());
                }
            }
            "error" | "event_type" | "event_name" if created => {
                body.insert(namespace.to_owned(), text(value).into_owned().into());
            }
            "inputs" if !created => put_in(&mut body, &["metadata", "inputs"], name, json(value)),
            _ if semconv::NAMESPACES.contains(&namespace) => {
                put_in(&mut body, &[namespace], name, json(value));
            }
            _ => put_in(&mut body, &["metadata"], Some(rest), json(value)),
        }
    }
    body
}

/// Puts a value under a path of objects; without a name, the entries of an object.
fn put_in(body: &mut Map<String, Json>, path: &[&str], name: Option<&str>, value: Json) {
    let mut object = body;
    for step in path {
        let slot = object
            .entry(*step)
            .or_insert_with(|| Json::Object(Map::new()));
        match slot {
            Json::Object(inner) => object = inner,
            _ => return,
        }
    }
    match (name, value) {
        (Some(name), value) => {
            object.insert(name.to_owned(), value);
        }
        (None, Json::Object(entries)) => object.extend(entries),
        (None, value) => {
            object.insert("value".to_owned(), value);
        }
    }
}

fn json(value: Value<'_>) -> Json {
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
