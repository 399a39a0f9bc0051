//! An event in the making: values put where the table says, gaps filled in the end. Knows no wire types but those of a
//! span's parts.

use super::index::{Entry, Index, Root, Target};
use super::messages;
use super::table::How;
use super::value::{self, from_f64, merge, text};
use crate::export::otlp::proto;
use crate::server::types::{BUCKETS, Bucket, Buckets, EventKind};
use serde_json::{Map, Value};

/// What is known of an event before its attributes are applied.
pub(super) struct Draft {
    pub(super) kind: EventKind,
    pub(super) buckets: Buckets,
    pub(super) event_name: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) session_name: Option<String>,
    pub(super) parent_id: Option<String>,
    pub(super) project: Option<String>,
    pub(super) source: Option<String>,
    pub(super) error: Option<String>,
    pub(super) error_type: Option<String>,
    pub(super) failed: Option<bool>,
    pub(super) status_message: Option<String>,
    pub(super) duration: Option<f64>,
    pub(super) instructions: Option<String>,
    pub(super) fill_inputs: Option<Value>,
    pub(super) fill_outputs: Option<Value>,
    pub(super) evaluation: Option<String>,
    /// Scores of an evaluation, which judge the event above this one.
    pub(super) verdicts: Map<String, Value>,
}

impl Draft {
    pub(super) fn new(kind: EventKind) -> Self {
        Self {
            kind,
            buckets: Buckets::default(),
            event_name: None,
            event_id: None,
            session_id: None,
            session_name: None,
            parent_id: None,
            project: None,
            source: None,
            error: None,
            error_type: None,
            failed: None,
            status_message: None,
            duration: None,
            instructions: None,
            fill_inputs: None,
            fill_outputs: None,
            evaluation: None,
            verdicts: Map::new(),
        }
    }

    fn bucket(&mut self, bucket: Bucket) -> &mut Map<String, Value> {
        self.buckets.get_mut(bucket)
    }

    pub(super) fn set(&mut self, bucket: Bucket, path: &str, value: Value) {
        value::put(self.bucket(bucket), path, value);
    }

    fn letter(&self) -> char {
        match self.kind {
            EventKind::Model => 'm',
            EventKind::Tool => 't',
            EventKind::Chain | EventKind::Session => 'c',
        }
    }

    pub(super) fn attributes(&mut self, attributes: Vec<proto::KeyValue>) {
        let index = Index::get();
        let on = self.letter();
        let mut found: Vec<(&'static Entry, String, Value)> = Vec::with_capacity(attributes.len());
        let mut gathered: Vec<(&'static Entry, Map<String, Value>)> = Vec::new();
        for pair in attributes {
            let value = value::from_any(pair.value);
            if pair.key == "gen_ai.evaluation.name" {
                self.evaluation = Some(text(&value));
            }
            let Some((entry, rest)) = index.find(&pair.key, on) else {
                if value.is_null() {
                    continue;
                }
                self.bucket(Bucket::Metadata).insert(pair.key, value);
                continue;
            };
            match entry.row.how {
                How::Drop => {}
                How::GatherMessages | How::GatherReply | How::GatherList => {
                    let known = gathered
                        .iter_mut()
                        .find(|(known, _)| std::ptr::eq(*known, entry));
                    match known {
                        Some((_, map)) => value::put(map, rest, value),
                        None => {
                            let mut map = Map::new();
                            value::put(&mut map, rest, value);
                            gathered.push((entry, map));
                        }
                    }
                }
                _ if value.is_null() => {}
                _ => {
                    let rest = rest.to_owned();
                    found.push((entry, rest, value));
                }
            }
        }
        for (entry, map) in gathered {
            let mut list = Value::Object(map);
            value::array(&mut list);
            found.push((entry, String::new(), list));
        }
        found.sort_by_key(|(entry, _, _)| entry.family);
        for (entry, rest, value) in found {
            self.apply(entry, &rest, value);
        }
    }

    fn apply(&mut self, entry: &'static Entry, rest: &str, value: Value) {
        let value = match entry.row.how {
            How::Keep | How::GatherList => value,
            How::Number => value::number(value),
            How::Json => value::parse(value),
            How::Bucket => value::parse_structured(value),
            How::First => match value::parse(value) {
                Value::Array(items) => items.into_iter().next().unwrap_or_default(),
                other => other,
            },
            How::Millis => match value::number(value).as_f64() {
                Some(seconds) => from_f64(seconds * 1000.0),
                None => return,
            },
            How::Keys(fallback) => {
                let Some(Target::Bucket(bucket, _)) = entry.targets.first() else {
                    return;
                };
                match value::parse(value) {
                    Value::Object(map) => merge(self.bucket(*bucket), map),
                    other => self.set(*bucket, fallback, other),
                }
                return;
            }
            How::Messages | How::GatherMessages => {
                let messages = messages::read(value, "user");
                if !messages.is_empty() {
                    self.set(Bucket::Inputs, "chat_history", messages.into());
                }
                return;
            }
            How::Reply | How::GatherReply => {
                let messages = messages::read(value, "assistant");
                messages::reply(messages, self.bucket(Bucket::Outputs));
                return;
            }
            How::Conversation => {
                let messages = messages::read(value, "assistant");
                self.set(Bucket::Outputs, "result", messages::last_text(&messages));
                self.set(Bucket::Outputs, "conversation", messages.into());
                return;
            }
            How::Instructions => {
                let said = match value::parse(value) {
                    list @ Value::Array(_) => {
                        let wrapped = serde_json::json!([{"role": "system", "parts": list}]);
                        text(&messages::last_text(&messages::read(wrapped, "system")))
                    }
                    other => text(&other),
                };
                self.instructions = Some(said.clone());
                said.into()
            }
            How::FillInputs => {
                self.fill_inputs = Some(value::parse_structured(value));
                return;
            }
            How::FillOutputs => {
                self.fill_outputs = Some(value::parse_structured(value));
                return;
            }
            How::Evaluation => {
                let Some(name) = self.evaluation.clone() else {
                    return;
                };
                let suffix = entry.row.to.first().copied().unwrap_or_default();
                self.verdicts
                    .insert(format!("{name}{suffix}"), value::number(value));
                return;
            }
            How::Drop => return,
        };
        let last = entry.targets.len().saturating_sub(1);
        let mut value = Some(value);
        for (position, target) in entry.targets.iter().enumerate() {
            let value = match position == last {
                true => value.take().unwrap_or_default(),
                false => value.clone().unwrap_or_default(),
            };
            self.place(target, rest, value);
        }
    }

    fn place(&mut self, target: &Target, rest: &str, value: Value) {
        match target {
            Target::Bucket(bucket, "") => match value {
                Value::Object(map) => merge(self.bucket(*bucket), map),
                // A bucket holds named values; one that came without a name gets the bucket's.
                other => {
                    let name = bucket.name().to_owned();
                    self.bucket(*bucket).insert(name, other);
                }
            },
            Target::Bucket(bucket, path) => match path.strip_suffix('*') {
                Some("") => self.set(*bucket, rest, value),
                Some(path) => self.set(*bucket, &format!("{path}{rest}"), value),
                None => self.set(*bucket, path, value),
            },
            Target::Root(root) => self.place_root(root, &value),
        }
    }

    fn place_root(&mut self, root: &Root, value: &Value) {
        // `error` is a flag in some conventions and a text in others.
        if let (Root::Error, Value::Bool(failed)) = (root, value) {
            self.failed = Some(*failed);
            return;
        }
        let said = text(value);
        if said.is_empty() {
            return;
        }
        match root {
            Root::EventName => self.event_name = Some(said),
            Root::EventId => self.event_id = Some(said.to_ascii_lowercase()),
            Root::SessionId => self.session_id = Some(said.to_ascii_lowercase()),
            Root::SessionName => self.session_name = Some(said),
            Root::ParentId => self.parent_id = Some(said.to_ascii_lowercase()),
            Root::Project => self.project = Some(said),
            Root::Source => self.source = Some(said),
            Root::Error => self.error = Some(undebug(said)),
            Root::ErrorType => self.error_type = Some(said),
            Root::StatusCode => self.failed = Some(said.eq_ignore_ascii_case("error")),
            Root::StatusMessage => self.status_message = Some(said),
            Root::Duration => self.duration = value.as_f64().filter(|ms| *ms >= 0.0),
        }
    }

    /// Takes what the events inside a span carry; answers with the exception's message, type and stack.
    pub(super) fn events(&mut self, events: Vec<proto::SpanEvent>) -> Option<Exception> {
        let above = std::mem::take(&mut self.verdicts);
        let mut exception = None;
        let mut history = Vec::new();
        let mut replies = Vec::new();
        for event in events {
            let mut map: Map<String, Value> = Map::new();
            for pair in event.attributes {
                map.insert(pair.key, value::from_any(pair.value));
            }
            let take = |map: &mut Map<String, Value>, key: &str| {
                let found = map.remove(key).map(|value| text(&value));
                found.filter(|text| !text.is_empty())
            };
            match event.name.as_str() {
                "exception" => {
                    exception = Some(Exception {
                        message: take(&mut map, "exception.message"),
                        kind: take(&mut map, "exception.type"),
                        stack: take(&mut map, "exception.stacktrace"),
                    });
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
                | "gen_ai.client.inference.operation.details"
                | "gen_ai.evaluation.result" => {
                    let index = Index::get();
                    let on = self.letter();
                    self.evaluation = take(&mut map, "gen_ai.evaluation.name");
                    for (key, value) in map {
                        if let Some((entry, rest)) = index.find(&key, on) {
                            self.apply(entry, rest, value);
                        }
                    }
                }
                _ => {
                    // `#[instrument(ret)]` records the value as an event's field.
                    if let Some(value) = map.remove("return") {
                        self.fill_outputs.get_or_insert(value);
                    }
                }
            }
        }
        // A verdict inside a span is on that span.
        let own = std::mem::replace(&mut self.verdicts, above);
        merge(self.bucket(Bucket::Metrics), own);
        if !history.is_empty() && !self.bucket(Bucket::Inputs).contains_key("chat_history") {
            self.set(Bucket::Inputs, "chat_history", history.into());
        }
        if !replies.is_empty() && !self.bucket(Bucket::Outputs).contains_key("content") {
            messages::reply(replies, self.bucket(Bucket::Outputs));
        }
        exception
    }

    pub(super) fn failure(&mut self, status: proto::Status, exception: Option<Exception>) {
        let exception = exception.unwrap_or_default();
        if let Some(kind) = &exception.kind {
            let metadata = self.bucket(Bucket::Metadata);
            metadata
                .entry("error_type")
                .or_insert_with(|| kind.clone().into());
        }
        if let Some(stack) = exception.stack {
            let metadata = self.bucket(Bucket::Metadata);
            metadata.entry("stacktrace").or_insert_with(|| stack.into());
        }
        if let Some(message) = &exception.message {
            let metadata = self.bucket(Bucket::Metadata);
            metadata
                .entry("error_message")
                .or_insert_with(|| message.clone().into());
        }
        if self.error.is_some() {
            return;
        }
        let http = self.buckets.get(Bucket::Metadata).get("http_status_code");
        let http = http.and_then(Value::as_u64).filter(|code| *code >= 400);
        let failed = self.failed.unwrap_or(
            status.code == proto::Status::ERROR
                || exception.message.is_some()
                || exception.kind.is_some()
                || self.error_type.is_some()
                || http.is_some(),
        );
        if !failed {
            return;
        }
        let said = [
            self.status_message.take(),
            Some(status.message),
            exception.message,
            exception.kind,
            self.error_type.take(),
            http.map(|code| format!("HTTP status {code}")),
        ];
        let said = said.into_iter().flatten().find(|text| !text.is_empty());
        self.error = Some(said.unwrap_or_else(|| "error".to_owned()));
    }

    pub(super) fn finish(&mut self) {
        for bucket in BUCKETS {
            value::arrays(self.bucket(bucket));
        }
        self.fill();
        if let Some(said) = self.instructions.take() {
            self.precede(&said);
        }
        let metadata = self.buckets.get(Bucket::Metadata);
        let model = metadata.get("model_name").is_none();
        let model = model.then(|| self.buckets.get(Bucket::Config).get("model").cloned());
        if let Some(Some(model)) = model
            && self.kind == EventKind::Model
        {
            self.set(Bucket::Metadata, "model_name", model);
        }
        let metadata = self.bucket(Bucket::Metadata);
        if !metadata.contains_key("total_tokens") {
            let part = |key: &str| metadata.get(key).and_then(Value::as_u64);
            let (input, output) = (part("prompt_tokens"), part("completion_tokens"));
            if input.is_some() || output.is_some() {
                let total = input.unwrap_or(0).saturating_add(output.unwrap_or(0));
                metadata.insert("total_tokens".to_owned(), total.into());
            }
        }
    }

    /// Uses the generic input and output where nothing better filled the fields.
    fn fill(&mut self) {
        let model = self.kind == EventKind::Model;
        if let Some(value) = self.fill_inputs.take()
            && self.buckets.get(Bucket::Inputs).is_empty()
        {
            match value {
                value if model => {
                    let messages = messages::read(value, "user");
                    self.set(Bucket::Inputs, "chat_history", messages.into());
                }
                // Traceloop wraps a function's arguments.
                Value::Object(mut map) => {
                    if let Some(Value::Object(named)) = map.remove("kwargs") {
                        match map.remove("args") {
                            Some(Value::Array(args)) if !args.is_empty() => {
                                map.insert("args".to_owned(), args.into());
                            }
                            _ => {}
                        }
                        merge(&mut map, named);
                    }
                    merge(self.bucket(Bucket::Inputs), map);
                }
                other => self.set(Bucket::Inputs, "input", other),
            }
        }
        if let Some(value) = self.fill_outputs.take()
            && self.buckets.get(Bucket::Outputs).is_empty()
        {
            match self.kind {
                EventKind::Model => {
                    let messages = messages::read(value, "assistant");
                    messages::reply(messages, self.bucket(Bucket::Outputs));
                }
                EventKind::Tool => self.set(Bucket::Outputs, "message", value),
                EventKind::Chain | EventKind::Session => {
                    self.set(Bucket::Outputs, "result", value);
                }
            }
        }
    }

    /// Puts instructions before the conversation, unless it has its own.
    fn precede(&mut self, said: &str) {
        let inputs = self.bucket(Bucket::Inputs);
        let history = inputs
            .entry("chat_history")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(messages) = history
            && !messages
                .iter()
                .any(|message| message.get("role").is_some_and(|role| role == "system"))
        {
            messages.insert(0, serde_json::json!({"role": "system", "content": said}));
        }
    }
}

#[derive(Default)]
pub(super) struct Exception {
    message: Option<String>,
    kind: Option<String>,
    stack: Option<String>,
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

/// `Debug` text of a string, without the quotes.
fn undebug(text: String) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(_) => match serde_json::from_str(&text) {
            Ok(plain) => plain,
            Err(_) => text,
        },
        None => text,
    }
}
