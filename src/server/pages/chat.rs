//! A conversation with a model. Knows the shape of messages, not of events.

use super::format::{Shown, clip, name};
use super::json::{FOLD, field, folded, tree};
use maud::{Markup, html};
use serde_json::{Map, Value};

/// Messages that a page shows; the last ones, since they are what was answered.
const MOST: usize = 200;

/// The conversation in an event's inputs and outputs, if they hold one.
pub(super) fn conversation(
    inputs: &Map<String, Value>,
    outputs: &Map<String, Value>,
) -> Option<Vec<Message>> {
    let history = ["chat_history", "messages"]
        .iter()
        .find_map(|key| inputs.get(*key));
    let mut messages: Vec<Message> = match history {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| message(item, false))
            .collect(),
        _ => Vec::new(),
    };
    let asked = messages.len();
    if outputs.contains_key("role") || outputs.contains_key("tool_calls") {
        messages.extend(message(&Value::Object(outputs.clone()), true));
    } else if let Some(Value::Object(result)) = outputs.get("result")
        && result.contains_key("role")
    {
        messages.extend(message(&Value::Object(result.clone()), true));
    } else if asked > 0 {
        let said = ["content", "message", "text", "result"]
            .iter()
            .find_map(|key| outputs.get(*key));
        if let Some(said) = said {
            let map = serde_json::json!({"role": "assistant", "content": said});
            messages.extend(message(&map, true));
        }
    }
    if let Some(Value::Array(choices)) = outputs.get("choices") {
        messages.extend(choices.iter().filter_map(|choice| message(choice, true)));
    }
    let talk = asked > 0 || messages.iter().any(|message| message.role == "assistant");
    talk.then_some(messages)
}

pub(super) struct Message {
    role: String,
    name: Option<String>,
    content: Value,
    reasoning: Option<Value>,
    calls: Vec<Call>,
    answers: Option<String>,
    /// Said by the model in this event, rather than told to it.
    said: bool,
}

struct Call {
    id: Option<String>,
    name: String,
    arguments: Value,
}

fn message(value: &Value, said: bool) -> Option<Message> {
    let map = value.as_object()?;
    let string = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let calls = match map.get("tool_calls") {
        Some(Value::Array(calls)) => calls.iter().filter_map(call).collect(),
        _ => Vec::new(),
    };
    Some(Message {
        role: string("role").unwrap_or_else(|| "assistant".to_owned()),
        name: string("name"),
        content: map.get("content").cloned().unwrap_or_default(),
        reasoning: map.get("reasoning").cloned(),
        calls,
        answers: string("tool_call_id"),
        said,
    })
}

fn call(value: &Value) -> Option<Call> {
    let map = value.as_object()?;
    let function = map
        .get("function")
        .and_then(Value::as_object)
        .unwrap_or(map);
    let arguments = match function.get("arguments") {
        Some(Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
        }
        Some(other) => other.clone(),
        None => Value::Null,
    };
    Some(Call {
        id: map.get("id").and_then(Value::as_str).map(str::to_owned),
        name: function
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned(),
        arguments,
    })
}

pub(super) fn render(messages: &[Message], all: &str) -> Markup {
    let skipped = messages.len().saturating_sub(MOST);
    let called = |id: &str| {
        messages
            .iter()
            .flat_map(|message| &message.calls)
            .find(|call| call.id.as_deref() == Some(id))
            .map(|call| call.name.as_str())
    };
    html! {
        @if skipped > 0 {
            p.note { (skipped) " earlier messages are left out; " a href=(all) { "all of them, as JSON" } }
        }
        ol.chat {
            @for message in messages.iter().skip(skipped) {
                li.said[message.said] data-role=(message.role) {
                    span.role {
                        (name(&message.role))
                        @if let Some(own) = &message.name { " " small { (name(own)) } }
                    }
                    div.body {
                        @if let Some(reasoning) = &message.reasoning {
                            details.reason { summary { "reasoning" } (field(reasoning, all)) }
                        }
                        @if message.role == "tool" {
                            @let from = message.answers.as_deref().and_then(called);
                            details.call open[short(&message.content)] {
                                summary { "result" @if let Some(from) = from { " of " code { (name(from)) } } }
                                (content(&message.content, all, FOLD))
                            }
                        } @else {
                            (content(&message.content, all, fold_of(&message.role)))
                        }
                        @for call in &message.calls { (render_call(call)) }
                    }
                }
            }
        }
    }
}

fn render_call(call: &Call) -> Markup {
    let line = match &call.arguments {
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let (start, cut) = clip(&line, 80);
    html! {
        details.call {
            summary {
                code { b { (name(&call.name)) } span.args { "(" bdi { (Shown(start)) } @if cut.is_some() { "…" } ")" } }
            }
            (tree(&call.arguments))
        }
    }
}

/// Instructions are the same each time: their beginning is enough to know them by.
fn fold_of(role: &str) -> usize {
    match role {
        "system" | "developer" => 280,
        _ => FOLD,
    }
}

fn content(value: &Value, all: &str, fold: usize) -> Markup {
    match value {
        Value::Null => html! {},
        Value::String(said) => folded(said, all, fold),
        Value::Array(parts) => html! {
            @for part in parts {
                @match part.get("text").and_then(Value::as_str) {
                    Some(said) => (folded(said, all, fold)),
                    None => (field(part, all)),
                }
            }
        },
        other => field(other, all),
    }
}

fn short(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() < 400,
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::Array(_) | Value::Object(_) => false,
    }
}
