//! Conventions that the platform does not read: their attributes get HoneyHive's names. Knows attributes by name, not
//! where they come from.
//!
//! What the platform maps itself (`gen_ai.*`, OpenInference, Traceloop) passes as it is, with one exception: token
//! counts of a chain are the sums of the calls below it, and would be counted twice.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::attributes::{Attribute, Attributes, Scalar};
use crate::event::semconv::{self, name};

/// What is done with an attribute.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// It is put into a namespace under a name.
    To(&'static str, &'static str),
    /// It is put into a namespace under what follows the prefix it was found by.
    Rest(&'static str),
    /// A number of tokens, under both of its names.
    Tokens(&'static [&'static str]),
    /// JSON with numbers of tokens.
    Usage,
    /// The keys of a JSON object are put into a namespace.
    Spread(&'static str),
    /// What was asked, and what was answered.
    Asked,
    Answered,
    /// The same, in the form of Gemini.
    GeminiAsked,
    GeminiAnswered,
    Error,
    /// It names the event.
    Name(&'static str),
}

const PROMPT: &[&str] = &["prompt_tokens", "input_tokens"];
const COMPLETION: &[&str] = &["completion_tokens", "output_tokens"];
const TOTAL: &[&str] = &["total_tokens"];

/// Attributes, or prefixes that end in a dot.
const FOREIGN: &[(&str, How)] = &[
    // swiftide, and whoever writes for langfuse.
    ("langfuse.input", How::Asked),
    ("langfuse.output", How::Answered),
    ("langfuse.model", How::To(name::CONFIG, "model")),
    ("langfuse.model_parameters", How::Spread(name::CONFIG)),
    ("langfuse.usage", How::Usage),
    ("langfuse.status_message", How::Error),
    (
        "langfuse.session.id",
        How::To(name::METADATA, "conversation_id"),
    ),
    (
        "langfuse.user.id",
        How::To(name::USER_PROPERTIES, "user_id"),
    ),
    ("langfuse.trace.", How::Rest(name::METADATA)),
    // adk-rust.
    ("gcp.vertex.agent.llm_request", How::GeminiAsked),
    ("gcp.vertex.agent.llm_response", How::GeminiAnswered),
    (
        "gcp.vertex.agent.session_id",
        How::To(name::METADATA, "conversation_id"),
    ),
    (
        "gcp.vertex.agent.invocation_id",
        How::To(name::METADATA, "invocation_id"),
    ),
    (
        "gcp.vertex.agent.event_id",
        How::To(name::METADATA, "event_id"),
    ),
    ("adk.app_name", How::To(name::METADATA, "app_name")),
    ("adk.user_id", How::To(name::USER_PROPERTIES, "user_id")),
    ("adk.", How::Rest(name::METADATA)),
    (
        "gen_ai.tool.call_id",
        How::To(name::METADATA, "tool_call_id"),
    ),
    (
        "gen_ai.usage.cache_read_tokens",
        How::Tokens(&["cache_read_input_tokens"]),
    ),
    (
        "gen_ai.usage.cache_creation_tokens",
        How::Tokens(&["cache_write_input_tokens"]),
    ),
    (
        "gen_ai.usage.thinking_tokens",
        How::Tokens(&["reasoning_tokens"]),
    ),
];

/// Token counts that pass as they are, except on a chain.
const USAGE: &[&str] = &["gen_ai.usage.", "llm.token_count.", "llm.usage."];

pub(super) type Fields = &'static [(&'static str, How)];

/// Plain fields of the spans of a framework: target, span, fields.
const PLAIN: &[(&str, &str, Fields)] = &[
    (
        "langchain_rust",
        "llm.generate",
        &[
            ("provider", How::To(name::CONFIG, "provider")),
            ("model", How::To(name::CONFIG, "model")),
            ("stream", How::To(name::CONFIG, "is_streaming")),
            ("prompt_tokens", How::Tokens(PROMPT)),
            ("completion_tokens", How::Tokens(COMPLETION)),
            ("total_tokens", How::Tokens(TOTAL)),
            ("tool_calls", How::To(name::METADATA, "tool_calls")),
        ],
    ),
    (
        "langchain_rust",
        "chain.call",
        &[("chain", How::Name("chain"))],
    ),
    (
        "langchain_rust",
        "tool.call",
        &[("tool", How::Name("tool_name"))],
    ),
    (
        "langchain_rust",
        "agent.run",
        &[
            ("steps", How::To(name::METADATA, "steps")),
            ("max_iterations", How::To(name::METADATA, "max_iterations")),
        ],
    ),
    (
        "langchain_rust",
        "agent.plan",
        &[("step", How::To(name::METADATA, "step"))],
    ),
    (
        "adk",
        "model.generate_content",
        &[
            ("model.name", How::To(name::CONFIG, "model")),
            (
                "request.contents_count",
                How::To(name::METADATA, "contents_count"),
            ),
            (
                "request.tools_count",
                How::To(name::METADATA, "tools_count"),
            ),
        ],
    ),
];

/// Whether an attribute of this name may have to be translated.
pub(super) fn concerns(key: &str) -> bool {
    is_usage(key) || foreign(key).is_some()
}

fn is_usage(key: &str) -> bool {
    USAGE.iter().any(|prefix| key.starts_with(prefix))
}

/// What is done with an attribute, and the prefix it was found by.
fn foreign(key: &str) -> Option<(&'static str, How)> {
    FOREIGN
        .iter()
        .find(|(known, _)| key == *known || known.ends_with('.') && key.starts_with(known))
        .map(|(known, how)| (*known, *how))
}

/// The plain fields of a span that have a meaning.
pub(super) fn plain_fields(target: &str, span: &str) -> Fields {
    PLAIN
        .iter()
        .find(|(framework, name, _)| *name == span && semconv::is_of_framework(target, framework))
        .map_or(&[], |(.., fields)| *fields)
}

/// What a translation found for the event besides attributes.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    pub(super) error: Option<Cow<'a, str>>,
    pub(super) name: Option<Cow<'a, str>>,
}

/// Translates what is to be translated. What is there under HoneyHive's own names already wins.
pub(super) fn translate<'a>(
    attributes: &mut Attributes<'a>,
    plain: Fields,
    event_type: &str,
) -> Found<'a> {
    let mut translation = Translation {
        attributes,
        found: Found::default(),
        is_model: event_type == "model",
        is_chain: event_type == "chain",
    };
    let mut work = Vec::new();
    for attribute in translation.attributes.take() {
        let how = match attribute.prefix {
            "" => foreign(&attribute.name),
            name::INPUTS => plain
                .iter()
                .find(|(known, _)| attribute.name == *known)
                .map(|(_, how)| ("", *how)),
            _ => None,
        };
        let is_sum =
            translation.is_chain && attribute.prefix.is_empty() && is_usage(&attribute.name);
        if how.is_some() || is_sum {
            work.push((attribute, how));
        } else {
            translation.attributes.put_new(attribute);
        }
    }
    for (attribute, how) in work {
        match how {
            Some((prefix, how)) => translation.apply(attribute, prefix, how),
            None => translation.sum(attribute),
        }
    }
    translation.found
}

struct Translation<'t, 'a> {
    attributes: &'t mut Attributes<'a>,
    found: Found<'a>,
    is_model: bool,
    is_chain: bool,
}

impl<'a> Translation<'_, 'a> {
    fn put(&mut self, prefix: &'static str, name: impl Into<Cow<'a, str>>, value: Scalar<'a>) {
        self.attributes.put_new(Attribute::new(prefix, name, value));
    }

    fn apply(&mut self, attribute: Attribute<'a>, found_by: &str, how: How) {
        let Attribute { name, value, .. } = attribute;
        match how {
            How::To(prefix, to) => self.put(prefix, to, value),
            How::Rest(prefix) => {
                let rest = name.strip_prefix(found_by).unwrap_or(&name).to_owned();
                self.put(prefix, rest, value);
            }
            How::Tokens(names) => self.tokens(names, value),
            How::Usage => self.usage(&value.to_text()),
            How::Spread(prefix) => {
                let last = name.rsplit('.').next().unwrap_or_default();
                self.spread(prefix, last, &value.to_text());
            }
            How::Asked => self.asked(&value.to_text()),
            How::Answered => self.answered(&value.to_text()),
            How::GeminiAsked => self.gemini_asked(value),
            How::GeminiAnswered => self.gemini_answered(value),
            How::Error => self.found.error = Some(value.into_text()),
            How::Name(metadata) => {
                let text = value.into_text();
                self.put(name::METADATA, metadata, Scalar::Text(text.clone()));
                self.found.name = Some(text);
            }
        }
    }

    /// Counts of tokens on a chain: what lies below it, which the platform adds up itself.
    fn sum(&mut self, attribute: Attribute<'a>) {
        let rest = USAGE
            .iter()
            .find_map(|prefix| attribute.name.strip_prefix(prefix))
            .unwrap_or(&attribute.name);
        let rest = match rest {
            "prompt" | "prompt_tokens" => "input_tokens",
            "completion" | "completion_tokens" => "output_tokens",
            "total" => "total_tokens",
            other => other,
        };
        let name = format!("usage_below.{rest}");
        self.put(name::METADATA, name, count(attribute.value));
    }

    fn tokens(&mut self, names: &[&'static str], value: Scalar<'a>) {
        let value = count(value);
        if self.is_chain {
            // The last is the current name of the two.
            if let Some(name) = names.last() {
                self.put(name::METADATA, format!("usage_below.{name}"), value);
            }
            return;
        }
        for name in names {
            self.put(name::METADATA, *name, value.clone());
        }
    }

    fn usage(&mut self, text: &str) {
        let Ok(Value::Object(usage)) = serde_json::from_str(text) else {
            self.put(name::METADATA, "usage", owned(text));
            return;
        };
        for (key, value) in usage {
            let names = match key.as_str() {
                "input" | "input_tokens" | "prompt_tokens" | "promptTokens" => PROMPT,
                "output" | "output_tokens" | "completion_tokens" | "completionTokens" => COMPLETION,
                "total" | "total_tokens" | "totalTokens" => TOTAL,
                _ => {
                    self.flatten(name::METADATA, format!("usage.{key}"), value);
                    continue;
                }
            };
            if let Some(number) = value.as_i64() {
                self.tokens(names, Scalar::Int(number));
            }
        }
    }

    /// Takes JSON apart under a name that is not taken.
    fn flatten(&mut self, prefix: &'static str, name: String, value: Value) {
        if self.attributes.get(prefix, &name).is_none() {
            self.attributes.flatten(prefix, name, value);
        }
    }

    fn spread(&mut self, prefix: &'static str, name: &str, text: &str) {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => {
                for (key, value) in map {
                    self.flatten(prefix, key, value);
                }
            }
            Ok(value @ Value::Array(_)) => self.flatten(prefix, name.to_owned(), value),
            _ => self.put(prefix, name.to_owned(), owned(text)),
        }
    }

    fn asked(&mut self, text: &str) {
        if !self.is_model {
            self.spread(name::INPUTS, "input", text);
            return;
        }
        let parsed = serde_json::from_str(text).ok();
        let messages = match parsed {
            Some(Value::Array(list)) if list.iter().all(is_message) => Value::Array(list),
            Some(Value::Object(mut map)) if map.get("messages").is_some_and(Value::is_array) => {
                map.remove("messages").unwrap_or_default()
            }
            _ => json!([{ "role": "user", "content": text }]),
        };
        self.put(name::INPUTS, "chat_history", owned(messages.to_string()));
    }

    fn answered(&mut self, text: &str) {
        if !self.is_model {
            match serde_json::from_str(text) {
                Ok(value @ (Value::Array(_) | Value::Object(_))) => {
                    self.flatten(name::OUTPUTS, "result".to_owned(), value);
                }
                _ => self.put(name::OUTPUTS, "result", owned(text)),
            }
            return;
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(message)) if message.contains_key("role") => self.message(message),
            Ok(Value::Array(mut list)) if list.first().is_some_and(is_message) => {
                if let Value::Object(message) = list.swap_remove(0) {
                    self.message(message);
                }
            }
            _ => {
                self.put(name::OUTPUTS, "role", owned("assistant"));
                self.put(name::OUTPUTS, "content", owned(text));
            }
        }
    }

    fn message(&mut self, message: Map<String, Value>) {
        for (key, value) in message {
            if value.is_null() {
                continue;
            }
            if semconv::is_whole(name::OUTPUTS, &key) {
                self.put(name::OUTPUTS, key, owned(value.to_string()));
            } else {
                self.flatten(name::OUTPUTS, key, value);
            }
        }
    }

    fn gemini_asked(&mut self, value: Scalar<'a>) {
        let parsed = serde_json::from_str::<Value>(&value.to_text()).ok();
        let contents = parsed.as_ref().and_then(|request| request.get("contents"));
        match contents.and_then(Value::as_array) {
            Some(contents) => {
                let messages: Vec<Value> = contents.iter().map(gemini_message).collect();
                let text = Value::Array(messages).to_string();
                self.put(name::INPUTS, "chat_history", owned(text));
            }
            None => self.put(name::INPUTS, "request", value),
        }
    }

    fn gemini_answered(&mut self, value: Scalar<'a>) {
        let parsed = serde_json::from_str::<Value>(&value.to_text()).ok();
        let content = parsed
            .as_ref()
            .map(|response| response.get("content").unwrap_or(response));
        match content.filter(|content| content.get("parts").is_some()) {
            Some(content) => {
                if let Value::Object(message) = gemini_message(content) {
                    self.message(message);
                }
            }
            None => self.put(name::OUTPUTS, "response", value),
        }
    }
}

fn owned<'a>(text: impl Into<String>) -> Scalar<'a> {
    Scalar::Text(Cow::Owned(text.into()))
}

/// A count, whatever type it came as.
fn count(value: Scalar<'_>) -> Scalar<'_> {
    match &value {
        Scalar::Text(text) => text.trim().parse().map_or(value, Scalar::Int),
        _ => value,
    }
}

fn is_message(value: &Value) -> bool {
    value.get("role").is_some()
}

/// A message of Gemini as everybody else writes it.
fn gemini_message(content: &Value) -> Value {
    let role = match content.get("role").and_then(Value::as_str) {
        Some("model") | None => "assistant",
        Some(role) => role,
    };
    let mut message = json!({ "role": role });
    let (mut text, mut calls) = (String::new(), Vec::new());
    let parts = content.get("parts").and_then(Value::as_array);
    for part in parts.into_iter().flatten() {
        let either = |one, other| part.get(one).or_else(|| part.get(other));
        if let Some(piece) = part.get("text").and_then(Value::as_str) {
            text.push_str(piece);
        } else if let Some(answer) = either("function_response", "functionResponse") {
            let name = answer.get("name").cloned().unwrap_or_default();
            let response = answer.get("response").unwrap_or(answer);
            message = json!({ "role": "tool", "name": name });
            text.push_str(&response.to_string());
        } else {
            let call = either("function_call", "functionCall").unwrap_or(part);
            if let Some(name) = call.get("name") {
                let arguments = call.get("args").map(ToString::to_string);
                calls.push(json!({
                    "id": call.get("id").cloned().unwrap_or_default(),
                    "type": "function",
                    "function": { "name": name, "arguments": arguments.unwrap_or_default() },
                }));
            }
        }
    }
    if let Value::Object(message) = &mut message {
        if !text.is_empty() {
            message.insert("content".to_owned(), text.into());
        }
        if !calls.is_empty() {
            message.insert("tool_calls".to_owned(), Value::Array(calls));
        }
    }
    message
}

/// What shows that a model has answered: a response's id, its usage, or its output.
const ANSWERS: &[&str] = &[
    "gen_ai.response.",
    "gen_ai.usage.",
    "gen_ai.output.",
    "gen_ai.completion",
    "gen_ai.choice",
    "llm.output_messages",
    "llm.token_count.",
    "llm.usage.",
    "llm.completions",
    "output.",
    "traceloop.entity.output",
    "embedding.embeddings",
    "honeyhive_outputs",
    "honeyhive.outputs",
];

/// Whether an attribute shows that a model has answered.
pub(super) fn is_answer(attribute: &Attribute<'_>) -> bool {
    if let Scalar::Text(text) = &attribute.value
        && text.is_empty()
    {
        return false;
    }
    match attribute.prefix {
        name::OUTPUTS => true,
        name::METADATA => {
            attribute.name.ends_with("_tokens")
                || matches!(attribute.name.as_ref(), "response_id" | "response_model")
        }
        "" => ANSWERS
            .iter()
            .any(|prefix| attribute.name.starts_with(prefix)),
        _ => false,
    }
}
