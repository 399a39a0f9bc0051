//! Conversations in the shapes that conventions give them, turned into one: `{role, content, tool_calls?, tool_call_id?,
//! name?}`. Knows nothing of attributes or events.

use super::value::{parse, text};
use serde_json::{Map, Value, json};

/// What a message has some of.
const SAID: [&str; 8] = [
    "role",
    "content",
    "contents",
    "parts",
    "text",
    "tool_calls",
    "finish_reason",
    "refusal",
];

/// The messages in a value: an array of them, one, `{messages: [..]}`, JSON text of these, or plain text as `role`.
pub(super) fn read(value: Value, role: &str) -> Vec<Value> {
    match parse(value) {
        Value::Null => Vec::new(),
        Value::Array(items) => items
            .into_iter()
            .flat_map(|item| message(item, role))
            .collect(),
        Value::Object(mut map) => match list_in(&mut map) {
            Some(inner) => read(inner, role),
            None => message(Value::Object(map), role),
        },
        plain => vec![json!({"role": role, "content": text(&plain)})],
    }
}

/// The conversation in the body of a request or of an answer: OpenAI's, Gemini's.
fn list_in(map: &mut Map<String, Value>) -> Option<Value> {
    if map.contains_key("role") {
        return None;
    }
    let is_list = |key: &&str| matches!(map.get(*key), Some(Value::Array(_)));
    let key = ["messages", "contents", "candidates", "choices"]
        .into_iter()
        .find(is_list)?;
    map.remove(key)
}

/// One message; results of several tool calls in one message become as many messages.
fn message(value: Value, default_role: &str) -> Vec<Value> {
    let mut map = match value {
        Value::Object(map) => map,
        Value::Null => return Vec::new(),
        plain => return vec![json!({"role": default_role, "content": text(&plain)})],
    };
    let is_message = |key: &str, inner: &Map<String, Value>| {
        key == "message" || inner.contains_key("parts") || inner.contains_key("role")
    };
    for around in ["message", "content"] {
        if let Some(Value::Object(inner)) = map.get_mut(around)
            && is_message(around, inner)
        {
            let inner = std::mem::take(inner);
            map.remove(around);
            for (key, value) in inner {
                map.entry(key).or_insert(value);
            }
        }
    }
    if map.is_empty() {
        return Vec::new();
    }
    if !SAID.iter().any(|key| map.contains_key(*key)) {
        // No message: whatever it is, it was said.
        let content = Value::Object(map).to_string();
        return vec![json!({"role": default_role, "content": content})];
    }
    let role = match map.remove("role").or_else(|| map.remove("type")) {
        Some(Value::String(role)) => match role.as_str() {
            "human" => "user".to_owned(),
            "ai" | "model" => "assistant".to_owned(),
            // The type of a part, not of who said it.
            "text" | "message" => default_role.to_owned(),
            _ => role,
        },
        _ => default_role.to_owned(),
    };
    let mut out = Map::new();
    let mut calls: Vec<Value> = match map.remove("tool_calls") {
        Some(Value::Array(calls)) => calls.into_iter().map(tool_call).collect(),
        _ => Vec::new(),
    };
    let mut results = Vec::new();
    let parts = map
        .remove("parts")
        .or_else(|| map.remove("contents"))
        .or_else(|| map.remove("content"))
        .or_else(|| map.remove("text"));
    let content = match parts {
        Some(Value::Array(parts)) => content(parts, &mut calls, &mut results, &mut out),
        Some(other) => other,
        None => Value::Null,
    };
    for key in [
        "name",
        "tool_call_id",
        "finish_reason",
        "reasoning",
        "refusal",
    ] {
        if let Some(value) = map.remove(key)
            && !value.is_null()
        {
            out.insert(key.to_owned(), value);
        }
    }
    if role == "tool"
        && !out.contains_key("tool_call_id")
        && let Some(id) = map.remove("id")
    {
        out.insert("tool_call_id".to_owned(), id);
    }
    let mut messages = Vec::new();
    if results.is_empty() || !content.is_null() || !calls.is_empty() {
        out.insert("role".to_owned(), role.into());
        out.insert("content".to_owned(), content);
        if !calls.is_empty() {
            out.insert("tool_calls".to_owned(), calls.into());
        }
        messages.push(Value::Object(out));
    }
    messages.extend(results);
    messages
}

/// The content of a message in parts: one text where there is nothing but text, else the parts that are left.
fn content(
    parts: Vec<Value>,
    calls: &mut Vec<Value>,
    results: &mut Vec<Value>,
    out: &mut Map<String, Value>,
) -> Value {
    let mut texts: Vec<String> = Vec::new();
    let mut others = Vec::new();
    for part in parts {
        let Value::Object(mut part) = part else {
            texts.push(text(&part));
            continue;
        };
        if let Some(Value::Object(inner)) = part.remove("message_content") {
            part = inner;
        }
        let kind = match part.get("type").and_then(Value::as_str) {
            Some(kind) => kind,
            None => gemini(&mut part),
        };
        match kind {
            "text" | "input_text" | "output_text" => {
                match part.remove("content").or_else(|| part.remove("text")) {
                    Some(found) => texts.push(text(&found)),
                    None => others.push(Value::Object(part)),
                }
            }
            "tool_call" | "tool_use" | "server_tool_call" => {
                calls.push(tool_call(Value::Object(part)));
            }
            "tool_call_response" | "tool_result" | "function_response" => {
                let id = part
                    .remove("id")
                    .or_else(|| part.remove("tool_use_id"))
                    .unwrap_or_default();
                let result = part
                    .remove("response")
                    .or_else(|| part.remove("result"))
                    .or_else(|| part.remove("content"))
                    .unwrap_or_default();
                results.push(json!({"role": "tool", "tool_call_id": id, "content": result}));
            }
            "reasoning" | "thinking" | "thought" => {
                let said = ["content", "thinking", "text"]
                    .into_iter()
                    .find_map(|key| part.remove(key));
                if let Some(said) = said {
                    out.insert("reasoning".to_owned(), said);
                }
            }
            _ => others.push(Value::Object(part)),
        }
    }
    if others.is_empty() {
        return match texts.is_empty() {
            true => Value::Null,
            false => texts.join("\n").into(),
        };
    }
    let texts = texts
        .into_iter()
        .map(|text| json!({"type": "text", "text": text}));
    texts.chain(others).collect()
}

/// What a part in Gemini's form is, which does not say so; it is taken out of its wrapper.
fn gemini(part: &mut Map<String, Value>) -> &'static str {
    for (wrapper, kind) in [
        ("function_call", "tool_call"),
        ("functionCall", "tool_call"),
        ("function_response", "function_response"),
        ("functionResponse", "function_response"),
    ] {
        if let Some(Value::Object(inner)) = part.get_mut(wrapper) {
            let inner = std::mem::take(inner);
            part.extend(inner);
            return kind;
        }
    }
    if part.contains_key("name") && part.contains_key("args") {
        return "tool_call";
    }
    if part.contains_key("name") && part.contains_key("response") {
        return "function_response";
    }
    match part.get("thought") {
        Some(Value::Bool(true)) => "thought",
        _ => "text",
    }
}

/// `{id, type: "function", function: {name, arguments}}`, the arguments as JSON text.
fn tool_call(value: Value) -> Value {
    let Value::Object(mut map) = value else {
        return value;
    };
    if let Some(Value::Object(inner)) = map.remove("tool_call") {
        map = inner;
    }
    let (name, arguments) = match map.remove("function") {
        Some(Value::Object(mut function)) => {
            (function.remove("name"), function.remove("arguments"))
        }
        other => (
            other.or_else(|| map.remove("name")),
            map.remove("arguments")
                .or_else(|| map.remove("args"))
                .or_else(|| map.remove("input")),
        ),
    };
    json!({
        "id": map.remove("id").unwrap_or_default(),
        "type": "function",
        "function": {
            "name": name.unwrap_or_default(),
            "arguments": text(&arguments.unwrap_or_default()),
        },
    })
}

/// Puts what a model said into the outputs: the first message as fields, further ones as `choices`.
pub(super) fn reply(messages: Vec<Value>, outputs: &mut Map<String, Value>) {
    let mut messages = messages.into_iter();
    if let Some(Value::Object(first)) = messages.next() {
        // Of an answer that a lesser convention gave nothing stays beside this one.
        for key in ["role", "content", "tool_calls", "reasoning", "refusal"] {
            outputs.remove(key);
        }
        outputs.extend(first);
    }
    let choices: Vec<Value> = messages.collect();
    if !choices.is_empty() {
        outputs.insert("choices".to_owned(), choices.into());
    }
}

/// The content of the last message.
pub(super) fn last_text(messages: &[Value]) -> Value {
    let content = messages.last().and_then(|message| message.get("content"));
    content.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_messages() {
        let cases = [
            (json!("hi"), json!([{"role": "user", "content": "hi"}])),
            (
                json!("[{\"role\":\"human\",\"content\":\"hi\"}]"),
                json!([{"role": "user", "content": "hi"}]),
            ),
            (
                json!([{"role": "user", "parts": [{"type": "text", "content": "a"}, {"type": "text", "content": "b"}]}]),
                json!([{"role": "user", "content": "a\nb"}]),
            ),
            (
                json!([{"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"q": 1}}]}]),
                json!([{"role": "assistant", "content": null, "tool_calls":
                    [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"q\":1}"}}]}]),
            ),
            (
                json!([{"role": "tool", "parts": [
                    {"type": "tool_call_response", "id": "c1", "response": "x"},
                    {"type": "tool_call_response", "id": "c2", "result": "y"}]}]),
                json!([{"role": "tool", "tool_call_id": "c1", "content": "x"},
                    {"role": "tool", "tool_call_id": "c2", "content": "y"}]),
            ),
            // OpenInference, gathered from indexed names.
            (
                json!([{"message": {"role": "user", "contents": [{"message_content": {"type": "text", "text": "t"}}]}}]),
                json!([{"role": "user", "content": "t"}]),
            ),
            (
                json!([{"message": {"role": "assistant", "tool_calls": [{"tool_call": {"id": "1", "function": {"name": "f", "arguments": "{}"}}}]}}]),
                json!([{"role": "assistant", "content": null, "tool_calls":
                    [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]),
            ),
            (
                json!({"messages": [{"role": "system", "content": "s"}]}),
                json!([{"role": "system", "content": "s"}]),
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(
                Value::Array(read(value.clone(), "user")),
                expected,
                "{value}"
            );
        }
    }
}
