//! Lists that conventions wrap in names of their own, unwrapped: tools, documents, prompts, embeddings, verdicts, token
//! counts. Knows nothing of attributes or events.

use super::value::{number, parse, parse_structured, text};
use serde_json::{Map, Value};

/// The elements of a list, of JSON text of one, or of a list that is a single element.
fn list(value: Value) -> Vec<Value> {
    match parse(value) {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

/// `{"name": {..}}` without the name.
fn unwrapped(value: Value, names: &[&str]) -> Value {
    let Value::Object(mut map) = value else {
        return value;
    };
    for name in names {
        if let Some(Value::Object(_)) = map.get(*name) {
            return map.remove(*name).unwrap_or_default();
        }
    }
    Value::Object(map)
}

/// Parses what is text under this key.
fn parse_at(value: &mut Value, key: &str) {
    if let Some(inner) = value.get_mut(key) {
        *inner = parse_structured(std::mem::take(inner));
    }
}

pub(super) fn tools(value: Value) -> Value {
    let tool = |item: Value| {
        let mut item = unwrapped(item, &["tool"]);
        parse_at(&mut item, "parameters");
        match item {
            Value::Object(mut map) => match map.remove("json_schema") {
                Some(schema) => parse(schema),
                None => Value::Object(map),
            },
            // A definition that is JSON text itself.
            other => parse_structured(other),
        }
    };
    list(value).into_iter().map(tool).collect()
}

pub(super) fn documents(value: Value) -> Value {
    let document = |item: Value| {
        let mut item = unwrapped(item, &["document"]);
        parse_at(&mut item, "metadata");
        item
    };
    list(value).into_iter().map(document).collect()
}

/// The texts of prompts that are no messages, or the value itself where it is a conversation.
pub(super) fn prompts(value: Value) -> Result<Value, Value> {
    let items = list(value);
    let is_message = |item: &Value| item.get("role").is_some() || item.get("message").is_some();
    if items.iter().any(is_message) {
        return Err(items.into());
    }
    let prompt = |item: Value| match unwrapped(item, &["prompt"]) {
        Value::Object(mut map) if map.len() == 1 => match map.remove("text") {
            Some(said) => said,
            None => Value::Object(map),
        },
        other => other,
    };
    Ok(items.into_iter().map(prompt).collect())
}

/// The texts that were embedded, and the number of dimensions of what they became.
pub(super) fn embeddings(value: Value) -> (Vec<Value>, Option<usize>) {
    let mut texts = Vec::new();
    let mut dimensions = None;
    for item in list(value) {
        let Value::Object(mut map) = unwrapped(item, &["embedding"]) else {
            continue;
        };
        let mut take = |short: &str, long: &str| map.remove(short).or_else(|| map.remove(long));
        texts.extend(take("text", "embedding.text"));
        if let Some(Value::Array(vector)) = take("vector", "embedding.vector").map(parse) {
            dimensions = Some(vector.len());
        }
    }
    (texts, dimensions)
}

/// What somebody or something made of an event.
pub(super) struct Annotation {
    pub(super) name: String,
    pub(super) by_a_person: bool,
    /// The score, or else the label.
    pub(super) verdict: Option<Value>,
    pub(super) label: Option<Value>,
    pub(super) explanation: Option<Value>,
    pub(super) rest: Map<String, Value>,
}

/// The annotations in a value, and what in it is none for want of a name.
pub(super) fn annotations(value: Value) -> (Vec<Annotation>, Vec<Value>) {
    let mut read = Vec::new();
    let mut others = Vec::new();
    for item in list(value) {
        let mut map = match unwrapped(item, &["annotation", "evaluation"]) {
            Value::Object(map) if map.contains_key("name") => map,
            other => {
                others.push(other);
                continue;
            }
        };
        let mut take = |key: &str| map.remove(key).filter(|value| !value.is_null());
        let name = take("name").map(|name| text(&name)).unwrap_or_default();
        let kind = take("annotator_kind").map(|kind| text(&kind));
        let (score, label) = (take("score").map(number), take("label"));
        let explanation = take("explanation");
        let (verdict, label) = match score {
            Some(score) => (Some(score), label),
            None => (label, None),
        };
        read.push(Annotation {
            name,
            by_a_person: kind.is_some_and(|kind| kind.eq_ignore_ascii_case("human")),
            verdict,
            label,
            explanation,
            rest: map,
        });
    }
    (read, others)
}

/// Counts of tokens as fields of the metadata.
pub(super) fn tokens(value: Value) -> Vec<(String, Value)> {
    let map = match parse(value) {
        Value::Object(map) => map,
        Value::Null => return Vec::new(),
        sum => return vec![("total_tokens".to_owned(), number(sum))],
    };
    let mut counts = Vec::new();
    for (key, value) in map {
        let value = number(value);
        let names: &[&str] = match key.as_str() {
            "input" | "prompt" | "input_tokens" | "prompt_tokens" | "inputTokens"
            | "promptTokens" => &["input_tokens", "prompt_tokens"],
            "output" | "completion" | "output_tokens" | "completion_tokens" | "outputTokens"
            | "completionTokens" => &["output_tokens", "completion_tokens"],
            "total" | "total_tokens" | "totalTokens" => &["total_tokens"],
            _ => {
                counts.push((format!("usage.{key}"), value));
                continue;
            }
        };
        counts.extend(names.iter().map(|name| ((*name).to_owned(), value.clone())));
    }
    counts
}
