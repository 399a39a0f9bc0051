//! The type of an event, from the rules for attributes and, where those do not answer, from the shape of the span.

use super::table::DIALECTS;
use crate::event::semconv;
use crate::export::otlp::proto;
use crate::server::types::EventKind;
use std::borrow::Cow;

/// Attributes of which one says which model was asked, and the beginnings of those that say what it was told, answered
/// or used: a span with one of each is a call of a model.
const MODEL: [&str; 3] = [
    "gen_ai.request.model",
    "llm.model_name",
    "llm.request.model_name",
];
const CALLED: [&str; 8] = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.prompt.0",
    "gen_ai.completion.0",
    "gen_ai.usage.",
    "llm.input_messages",
    "llm.output_messages",
    "llm.token_count.",
];

/// The shape of single libraries' spans.
const SHAPES: &[(&str, EventKind)] = &[
    ("gcp.vertex.agent.llm_request", EventKind::Model),
    ("gcp.vertex.agent.llm_response", EventKind::Model),
    ("gcp.vertex.agent.tool_call_args", EventKind::Tool),
];

/// Calls of Amazon Bedrock that ask a model.
const BEDROCK: [&str; 4] = [
    "Converse",
    "ConverseStream",
    "InvokeModel",
    "InvokeModelWithResponseStream",
];

/// The type of an event, and the word it was given where that is not one of the four types.
pub(super) fn of(
    attributes: &[proto::KeyValue],
    span: &str,
    dialect: Option<usize>,
) -> (EventKind, Option<String>) {
    let find = |key: &str| attributes.iter().rfind(|pair| pair.key == key);
    let told = semconv::event_type(
        |key| string(find(key)?).map(Cow::Borrowed),
        |key| find(key).is_some(),
    );
    let Some(told) = told else {
        let kind = shape(attributes, span, dialect).unwrap_or(EventKind::Tool);
        return (kind, None);
    };
    let lower = told.to_ascii_lowercase();
    match (EventKind::named(&lower), lower.as_str()) {
        (Some(kind), _) => (kind, None),
        (None, "workflow" | "agent") => (EventKind::Chain, Some(lower)),
        (None, _) => (EventKind::Tool, Some(lower)),
    }
}

fn shape(attributes: &[proto::KeyValue], span: &str, dialect: Option<usize>) -> Option<EventKind> {
    let has = |key: &str| attributes.iter().any(|pair| pair.key == key);
    let kinds = dialect.and_then(|dialect| DIALECTS.get(dialect));
    let mut kinds = kinds.into_iter().flat_map(|dialect| dialect.kinds);
    if let Some((_, kind)) = kinds.find(|(name, _)| *name == span) {
        return Some(*kind);
    }
    if let Some((_, kind)) = SHAPES.iter().find(|(key, _)| has(key)) {
        return Some(*kind);
    }
    let called = |pair: &proto::KeyValue| CALLED.iter().any(|part| pair.key.starts_with(part));
    if MODEL.iter().any(|key| has(key)) && attributes.iter().any(called) {
        return Some(EventKind::Model);
    }
    let text = |key: &str| string(attributes.iter().rfind(|pair| pair.key == key)?);
    let bedrock = text("rpc.service").is_some_and(|service| service == "Bedrock Runtime")
        && text("rpc.method").is_some_and(|method| BEDROCK.contains(&method));
    bedrock.then_some(EventKind::Model)
}

fn string(pair: &proto::KeyValue) -> Option<&str> {
    match &pair.value.as_ref()?.value {
        Some(proto::Value::String(text)) => Some(text),
        _ => None,
    }
}
