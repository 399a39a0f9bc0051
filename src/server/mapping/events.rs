//! What the events inside a span tell of it, and what comes of an error. Knows no attributes but those of events.

use super::draft::Draft;
use super::messages;
use super::value::{self, merge, text};
use crate::export::otlp::proto;
use crate::server::types::{Bucket, EventKind};
use serde_json::{Map, Value};

/// A field of an event that says something of the span.
pub(super) struct Told {
    pub(super) key: String,
    pub(super) value: Value,
}

/// An error as an event inside a span tells it.
#[derive(Default)]
pub(super) struct Exception {
    message: Option<String>,
    kind: Option<String>,
    stack: Option<String>,
}

/// Fields of any event that are about the span around it.
const OF_THE_SPAN: [&str; 4] = ["honeyhive.", "honeyhive_", "gen_ai.", "langfuse."];

impl Draft {
    /// Takes what the events inside a span carry: fields for the table, and the last error.
    pub(super) fn events(&mut self, events: Vec<proto::SpanEvent>) -> (Vec<Told>, Exception) {
        let mut told = Vec::new();
        let mut exception = Exception::default();
        let mut history = Vec::new();
        let mut replies = Vec::new();
        let mut documents = Vec::new();
        for event in events {
            let pairs = event.attributes.into_iter();
            let mut map: Map<String, Value> = pairs
                .map(|pair| (pair.key, value::from_any(pair.value)))
                .filter(|(_, value)| !value.is_null())
                .collect();
            let take = |map: &mut Map<String, Value>, key: &str| {
                let found = map.remove(key).map(|value| text(&value));
                found.filter(|text| !text.is_empty())
            };
            match event.name.as_str() {
                "exception" => {
                    exception = Exception {
                        message: take(&mut map, "exception.message"),
                        kind: take(&mut map, "exception.type"),
                        stack: take(&mut map, "exception.stacktrace"),
                    };
                }
                "gen_ai.system.message"
                | "gen_ai.user.message"
                | "gen_ai.assistant.message"
                | "gen_ai.tool.message" => {
                    let role = event.name.split('.').nth(1).unwrap_or("user");
                    let message = unwrap_body(map);
                    history.extend(messages::read(Value::Array(vec![message]), role));
                }
                "gen_ai.choice" => {
                    let message = unwrap_body(map);
                    replies.extend(messages::read(Value::Array(vec![message]), "assistant"));
                }
                "gen_ai.content.prompt"
                | "gen_ai.content.completion"
                | "gen_ai.client.inference.operation.details" => {
                    told.extend(map.into_iter().map(|(key, value)| Told { key, value }));
                }
                "gen_ai.evaluation.result" => self.verdict(map),
                "gen_ai.content.completion.chunk" | "llm.content.completion.chunk" => {}
                "db.query.result" => {
                    let short = |(key, value): (String, Value)| {
                        let short = key.strip_prefix("db.query.result.").map(str::to_owned);
                        (short.unwrap_or(key), value)
                    };
                    documents.push(Value::Object(map.into_iter().map(short).collect()));
                }
                _ => {
                    let failed =
                        take(&mut map, "level").is_some_and(|l| l.eq_ignore_ascii_case("error"));
                    for (key, value) in map {
                        // `#[instrument(ret, err)]` records what came out as an event's field.
                        if failed
                            && matches!(
                                key.as_str(),
                                "error" | "error.message" | "exception.message"
                            )
                        {
                            exception.message = Some(text(&value));
                        } else if key == "return"
                            || OF_THE_SPAN.iter().any(|prefix| key.starts_with(prefix))
                        {
                            told.push(Told { key, value });
                        }
                    }
                }
            }
        }
        self.said(history, replies);
        if !documents.is_empty() && self.kind == EventKind::Tool {
            self.set(Bucket::Outputs, "documents", documents.into());
        }
        (told, exception)
    }

    /// A conversation that was told in events. A tool has none.
    fn said(&mut self, history: Vec<Value>, replies: Vec<Value>) {
        if !history.is_empty() && self.kind != EventKind::Tool {
            self.set(Bucket::Inputs, "chat_history", history.into());
        }
        match self.kind {
            _ if replies.is_empty() => {}
            EventKind::Model => messages::reply(replies, self.bucket(Bucket::Outputs)),
            EventKind::Chain | EventKind::Session => {
                self.set(Bucket::Outputs, "result", messages::last_text(&replies));
                self.set(Bucket::Outputs, "conversation", replies.into());
            }
            EventKind::Tool => {}
        }
    }

    /// A verdict inside a span is on that span.
    fn verdict(&mut self, mut map: Map<String, Value>) {
        let Some(name) = map.remove("gen_ai.evaluation.name") else {
            return;
        };
        let name = text(&name);
        let mut own = Map::new();
        for (key, suffix) in [
            ("gen_ai.evaluation.score.value", ""),
            ("gen_ai.evaluation.score.label", "_label"),
            ("gen_ai.evaluation.explanation", "_explanation"),
        ] {
            if let Some(said) = map.remove(key) {
                own.insert(format!("{name}{suffix}"), value::number(said));
            }
        }
        merge(self.bucket(Bucket::Metrics), own);
    }

    pub(super) fn failure(&mut self, status: proto::Status, exception: Exception) {
        let metadata = self.bucket(Bucket::Metadata);
        for (key, said) in [
            ("error_type", exception.kind.as_ref()),
            ("stacktrace", exception.stack.as_ref()),
            ("error_message", exception.message.as_ref()),
        ] {
            if let Some(said) = said {
                metadata.entry(key).or_insert_with(|| said.as_str().into());
            }
        }
        if self.error.is_some() {
            return;
        }
        let http = self.http_status.filter(|code| *code >= 400);
        let failed = match (self.failed, status.code) {
            (Some(failed), _) => failed,
            (None, proto::Status::OK) => false,
            (None, proto::Status::ERROR) => true,
            (None, _) => {
                self.error_message.is_some()
                    || exception.message.is_some()
                    || exception.kind.is_some()
                    || self.error_type.is_some()
                    || http.is_some()
            }
        };
        if !failed {
            return;
        }
        let said = [
            self.status_message.take(),
            self.error_message.take(),
            Some(status.message),
            exception.message,
            exception.kind,
            self.error_type.take(),
            http.map(|code| format!("HTTP status {code}")),
        ];
        let said = said.into_iter().flatten().find(|text| !text.is_empty());
        self.error = Some(said.unwrap_or_else(|| "error".to_owned()));
    }
}

/// The body of an event in the older convention: its fields, or JSON in `gen_ai.event.content`.
fn unwrap_body(mut map: Map<String, Value>) -> Value {
    match map.remove("gen_ai.event.content").map(value::parse) {
        Some(Value::Object(body)) => Value::Object(body),
        _ => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, value::parse_structured(value)))
                .collect(),
        ),
    }
}
