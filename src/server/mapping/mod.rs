//! From spans to events: the table applied. Knows the wire types and the attribute names, not the store.

mod messages;
mod table;
mod value;

pub(crate) use value::{from_f64, hex, merge, text};

use super::types::{BUCKETS, Bucket, Buckets, EventKind};
use crate::event::semconv;
use crate::export::otlp::proto;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;
use table::{Family, How, Row, TABLE};

/// An event as a span told it, on its way to the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mapped {
    pub(crate) event_id: String,
    /// What the span's own ids make as event id, where `event_id` was given explicitly instead.
    pub(crate) span_key: Option<String>,
    pub(crate) session_id: String,
    pub(crate) session_name: Option<String>,
    pub(crate) parent_id: Option<String>,
    pub(crate) kind: EventKind,
    pub(crate) name: String,
    pub(crate) source: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) start_ms: f64,
    pub(crate) end_ms: f64,
    pub(crate) duration_ms: f64,
    pub(crate) error: Option<String>,
    pub(crate) buckets: Buckets,
    /// The span's own attributes and events, as JSON text.
    pub(crate) raw: String,
}

enum Root {
    EventName,
    EventId,
    SessionId,
    SessionName,
    ParentId,
    Project,
    Source,
    Error,
    ErrorType,
    StatusCode,
    StatusMessage,
    Duration,
}

enum Target {
    Root(Root),
    /// Bucket, path below it; a path that ends in `*` takes the rest of the attribute's name.
    Bucket(Bucket, &'static str),
}

fn target(text: &'static str) -> Option<Target> {
    let (head, path) = text.split_once('.').unwrap_or((text, ""));
    if let Some(bucket) = Bucket::named(head) {
        return Some(Target::Bucket(bucket, path));
    }
    Some(Target::Root(match text {
        "event_name" => Root::EventName,
        "event_id" => Root::EventId,
        "session_id" => Root::SessionId,
        "session_name" => Root::SessionName,
        "parent_id" => Root::ParentId,
        "project" => Root::Project,
        "source" => Root::Source,
        "error" => Root::Error,
        "error_type" => Root::ErrorType,
        "status_code" => Root::StatusCode,
        "status_message" => Root::StatusMessage,
        "duration" => Root::Duration,
        _ => return None,
    }))
}

struct Entry {
    family: Family,
    row: &'static Row,
    targets: Vec<Target>,
}

/// The table, indexed by name once.
struct Index {
    exact: HashMap<&'static str, Vec<Entry>>,
    /// Longest prefix first.
    prefixes: Vec<(&'static str, Vec<Entry>)>,
}

impl Index {
    fn get() -> &'static Self {
        static INDEX: OnceLock<Index> = OnceLock::new();
        INDEX.get_or_init(Self::build)
    }

    fn build() -> Self {
        let mut exact: HashMap<&'static str, Vec<Entry>> = HashMap::new();
        let mut prefixes: Vec<(&'static str, Vec<Entry>)> = Vec::new();
        for (family, rows) in TABLE {
            for row in *rows {
                let entry = Entry {
                    family: *family,
                    row,
                    targets: row.to.iter().filter_map(|text| target(text)).collect(),
                };
                match row.key.strip_suffix('*') {
                    None => exact.entry(row.key).or_default().push(entry),
                    Some(prefix) => match prefixes.iter_mut().find(|(known, _)| *known == prefix) {
                        Some((_, entries)) => entries.push(entry),
                        None => prefixes.push((prefix, vec![entry])),
                    },
                }
            }
        }
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { exact, prefixes }
    }

    /// The row for an attribute on an event of this kind, and what follows its prefix.
    fn find<'a>(&'static self, key: &'a str, on: char) -> Option<(&'static Entry, &'a str)> {
        let fits = |entries: &'static Vec<Entry>| {
            entries
                .iter()
                .find(|entry| entry.row.on == "*" || entry.row.on.contains(on))
        };
        if let Some(entry) = self.exact.get(key).and_then(fits) {
            return Some((entry, ""));
        }
        self.prefixes.iter().find_map(|(prefix, entries)| {
            let rest = key.strip_prefix(prefix)?;
            Some((fits(entries)?, rest))
        })
    }
}

/// What is known of an event before its attributes are applied.
struct Draft {
    kind: EventKind,
    buckets: Buckets,
    event_name: Option<String>,
    event_id: Option<String>,
    session_id: Option<String>,
    session_name: Option<String>,
    parent_id: Option<String>,
    project: Option<String>,
    source: Option<String>,
    error: Option<String>,
    error_type: Option<String>,
    failed: Option<bool>,
    status_message: Option<String>,
    duration: Option<f64>,
    instructions: Option<String>,
    fill_inputs: Option<Value>,
    fill_outputs: Option<Value>,
    evaluation: Option<String>,
}

/// Maps one span; `None` if its ids make no event.
pub(crate) fn map(span: proto::Span, service: Option<&str>, scope: &str) -> Option<Mapped> {
    let zero = |id: &[u8]| id.iter().all(|byte| *byte == 0);
    if span.trace_id.len() != 16 || zero(&span.trace_id) {
        return None;
    }
    if span.span_id.len() != 8 || zero(&span.span_id) {
        return None;
    }
    let raw = super::raw::span(&span, service, scope);
    let (kind, given_kind) = kind(&span.attributes);
    let mut draft = Draft::new(kind);
    if let Some(given) = given_kind {
        draft.set(Bucket::Metadata, "span_kind", given.into());
    }
    draft.attributes(span.attributes);
    let exception = draft.events(span.events);
    let status = span.status.unwrap_or_default();
    draft.failure(status, exception);
    draft.finish();

    let (trace, id) = (hex(&span.trace_id), hex(&span.span_id));
    let own = event_id(&span.trace_id, &span.span_id);
    let parent = (span.parent_span_id.len() == 8 && !zero(&span.parent_span_id))
        .then(|| event_id(&span.trace_id, &span.parent_span_id));
    if parent.is_some() {
        draft.set(
            Bucket::Metadata,
            "parent_span_id",
            hex(&span.parent_span_id).into(),
        );
    }
    draft.set(Bucket::Metadata, "trace_id", trace.into());
    draft.set(Bucket::Metadata, "span_id", id.into());

    let start_ms = millis(span.start_time_unix_nano);
    let end_ms = millis(span.end_time_unix_nano.max(span.start_time_unix_nano));
    let explicit = draft.event_id.filter(|id| *id != own);
    Some(Mapped {
        span_key: explicit.is_some().then(|| own.clone()),
        event_id: explicit.unwrap_or(own),
        session_id: draft
            .session_id
            .unwrap_or_else(|| session_of_trace(&span.trace_id)),
        session_name: draft.session_name,
        // The parent span says more of the tree than the session-wide parent id.
        parent_id: parent.or(draft.parent_id),
        kind,
        name: draft
            .event_name
            .filter(|name| !name.is_empty())
            .unwrap_or(span.name),
        source: draft.source,
        project: draft.project,
        service: service.map(str::to_owned),
        start_ms,
        end_ms,
        duration_ms: draft.duration.unwrap_or(end_ms - start_ms),
        error: draft.error,
        buckets: draft.buckets,
        raw,
    })
}

fn millis(nanos: u64) -> f64 {
    // Thousandths of a millisecond are as fine as an f64 holds at this distance from 1970.
    (nanos / 1000) as f64 / 1000.0
}

/// The type of an event, and the word it was given where that is not one of the four types.
fn kind(attributes: &[proto::KeyValue]) -> (EventKind, Option<String>) {
    let find = |key: &str| attributes.iter().rfind(|pair| pair.key == key);
    let told = semconv::event_type(
        |key| match &find(key)?.value.as_ref()?.value {
            Some(proto::Value::String(text)) => Some(Cow::Borrowed(text.as_str())),
            _ => None,
        },
        |key| find(key).is_some(),
    );
    let Some(told) = told else {
        return (EventKind::Tool, None);
    };
    let lower = told.to_ascii_lowercase();
    match (EventKind::named(&lower), lower.as_str()) {
        (Some(kind), _) => (kind, None),
        (None, "workflow" | "agent") => (EventKind::Chain, Some(lower)),
        (None, _) => (EventKind::Tool, Some(lower)),
    }
}

impl Draft {
    fn new(kind: EventKind) -> Self {
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
        }
    }

    fn bucket(&mut self, bucket: Bucket) -> &mut Map<String, Value> {
        self.buckets.get_mut(bucket)
    }

    fn set(&mut self, bucket: Bucket, path: &str, value: Value) {
        value::put(self.bucket(bucket), path, value);
    }

    fn letter(&self) -> char {
        match self.kind {
            EventKind::Model => 'm',
            EventKind::Tool => 't',
            EventKind::Chain | EventKind::Session => 'c',
        }
    }

    fn attributes(&mut self, attributes: Vec<proto::KeyValue>) {
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
                let key = format!("{name}{suffix}");
                self.bucket(Bucket::Metrics)
                    .insert(key, value::number(value));
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
    fn events(&mut self, events: Vec<proto::SpanEvent>) -> Option<Exception> {
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
        if !history.is_empty() && !self.bucket(Bucket::Inputs).contains_key("chat_history") {
            self.set(Bucket::Inputs, "chat_history", history.into());
        }
        if !replies.is_empty() && !self.bucket(Bucket::Outputs).contains_key("content") {
            messages::reply(replies, self.bucket(Bucket::Outputs));
        }
        exception
    }

    fn failure(&mut self, status: proto::Status, exception: Option<Exception>) {
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

    fn finish(&mut self) {
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
struct Exception {
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

/// The event id that a span has unless it names one.
pub(crate) fn event_id(trace: &[u8], span: &[u8]) -> String {
    let mut hash: u128 = 0x6c62272e07bb014262b821756295c58d;
    for byte in trace.iter().chain(span) {
        hash ^= u128::from(*byte);
        hash = hash.wrapping_mul(0x0000000001000000000000000000013b);
    }
    custom_uuid(hash.to_be_bytes())
}

/// The session of spans that name none: one for each trace, recognisable by its id.
pub(crate) fn session_of_trace(trace: &[u8]) -> String {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(trace) {
        *to = *from;
    }
    custom_uuid(bytes)
}

/// Version 8: bits of our own choice.
fn custom_uuid(bytes: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(bytes);
    let bits = bits & !(0xf << 76) | (0x8 << 76);
    let bits = bits & !(0x3 << 62) | (0x2 << 62);
    uuid::Uuid::from_u128(bits).to_string()
}

#[cfg(test)]
mod tests;
