//! What a record means: its typed entries become the attributes, events and status of an OTLP span. Knows the names
//! of `event::semconv`, not how spans are written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tracing::Metadata;
use uuid::Uuid;

use crate::clock::Anchor;
use crate::event::fields::{self, Entry, EventEntry, Key, Reader, Value};
use crate::event::semconv::{self, name};
use crate::event::{EventType, Head};
use crate::id::{EventId, SessionId};
use crate::redact::Redactor;

/// What the same configuration snapshot says to every span of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) project: Option<String>,
    pub(crate) source: String,
    pub(crate) default_event_type: String,
    pub(crate) max_attributes: usize,
    pub(crate) capture_content: bool,
    pub(crate) redactor: Arc<Redactor>,
}

/// A span as the encoders take it.
#[derive(Debug)]
pub(crate) struct Span<'a> {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) parent_id: u64,
    pub(crate) name: Cow<'a, str>,
    pub(crate) kind: Kind,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Vec<Attribute<'a>>,
    pub(crate) dropped_attributes: u32,
    pub(crate) events: Vec<Event<'a>>,
    pub(crate) dropped_events: u32,
    pub(crate) status: Status<'a>,
}

/// The values of OTLP's `SpanKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Status<'a> {
    Unset,
    Ok,
    Error(Cow<'a, str>),
}

#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) time: u64,
    pub(crate) attributes: Vec<Attribute<'a>>,
}

/// A key and a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute<'a> {
    /// Stands before the name, with a dot between, unless it is empty.
    pub(crate) prefix: &'static str,
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: Scalar<'a>,
}

/// The values that go over the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    /// Always finite.
    Double(f64),
    Text(Cow<'a, str>),
    Uuid(Uuid),
}

impl<'a> Attribute<'a> {
    fn new(prefix: &'static str, name: impl Into<Cow<'a, str>>, value: Scalar<'a>) -> Self {
        Self {
            prefix,
            name: name.into(),
            value,
        }
    }

    fn text(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self::new("", name, Scalar::Text(value.into()))
    }

    fn is(&self, prefix: &str, name: &str) -> bool {
        self.name == name && self.prefix == prefix
    }
}

/// Reads a record.
pub(crate) fn assemble<'a>(
    head: &Head,
    bytes: &'a [u8],
    callsites: &[&'static Metadata<'static>],
    anchor: Anchor,
    settings: &'a Settings,
) -> Span<'a> {
    let names: Vec<&'static str> = head
        .meta
        .fields()
        .iter()
        .map(|field| field.name())
        .collect();
    let mut reading = Reading::new(settings.max_attributes);
    let last = LastWrites::of(bytes, &names);
    for (position, entry) in Reader::new(bytes).enumerate() {
        match entry {
            Entry::Field(key, value) => {
                let key = key_name(key, &names);
                if last.is(key, position) {
                    reading.field(key, value);
                }
            }
            Entry::Event(event) => {
                if let Some(meta) = callsites.get(usize::from(event.callsite)) {
                    reading.event(meta, event, anchor);
                }
            }
        }
    }
    reading.finish(head, anchor, settings)
}

fn key_name<'a>(key: Key<'a>, names: &[&'static str]) -> &'a str {
    match key {
        Key::Field(index) => names.get(usize::from(index)).copied().unwrap_or(""),
        Key::Name(name) => name,
    }
}

/// Where each field was written last: a container takes the place of the one before, and is taken apart only once.
struct LastWrites<'a>(Option<HashMap<&'a str, usize>>);

impl<'a> LastWrites<'a> {
    fn of(bytes: &'a [u8], names: &[&'static str]) -> Self {
        let mut positions = HashMap::new();
        let mut again = false;
        // The fields of the callsite, each written once, are the ordinary case.
        let mut seen = 0_u64;
        for entry in Reader::new(bytes) {
            if let Entry::Field(key, _) = entry {
                let bit = match key {
                    Key::Field(index @ 0..64) => 1 << index,
                    Key::Field(_) | Key::Name(_) => u64::MAX,
                };
                again |= seen & bit != 0;
                seen |= bit;
            }
        }
        if !again {
            return Self(None);
        }
        for (position, entry) in Reader::new(bytes).enumerate() {
            if let Entry::Field(key, _) = entry {
                positions.insert(key_name(key, names), position);
            }
        }
        Self(Some(positions))
    }

    fn is(&self, key: &str, position: usize) -> bool {
        match &self.0 {
            Some(positions) => positions.get(key) == Some(&position),
            None => true,
        }
    }
}

/// What has been understood so far.
struct Reading<'a> {
    attributes: Attributes<'a>,
    events: Vec<Event<'a>>,
    name: Option<Cow<'a, str>>,
    otel_name: Option<Cow<'a, str>>,
    kind: Kind,
    event_type: Option<Cow<'a, str>>,
    project: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    /// Some attribute of a convention was seen, so the rules for the event type are worth asking.
    conventions: bool,
    otel_status: Option<bool>,
    failure: Failure<'a>,
}

/// What is known of an error, best source first.
#[derive(Default)]
struct Failure<'a> {
    explicit: Option<Cow<'a, str>>,
    described: Option<Cow<'a, str>>,
    field: Option<Cow<'a, str>>,
    event: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    event_kind: Option<Cow<'a, str>>,
}

impl<'a> Reading<'a> {
    fn new(max_attributes: usize) -> Self {
        Self {
            attributes: Attributes::new(max_attributes),
            events: Vec::new(),
            name: None,
            otel_name: None,
            kind: Kind::Internal,
            event_type: None,
            project: None,
            source: None,
            conventions: false,
            otel_status: None,
            failure: Failure::default(),
        }
    }

    fn field(&mut self, key: &'a str, value: Value<'a>) {
        if let Some(rest) = key.strip_prefix("honeyhive") {
            if let Some(rest) = rest.strip_prefix(['_', '.']) {
                self.own(key, rest, value);
                return;
            }
        } else if let Some(rest) = key.strip_prefix("otel.") {
            self.otel(key, rest, value);
            return;
        }
        match key {
            "error" | "error.message" | "exception.message" => {
                if let Value::Error { kind, .. } = value
                    && !kind.is_empty()
                {
                    self.failure.kind = Some(Cow::Borrowed(kind));
                }
                self.failure.field = truthy(text(value));
            }
            "error.type" | "exception.type" => {
                self.failure.kind = truthy(text(value));
                self.attributes.put("", key, value);
            }
            _ if semconv::is_convention(key) => {
                self.conventions = true;
                self.attributes.put("", key, value);
            }
            _ => self.attributes.put(name::INPUTS, key, value),
        }
    }

    /// A name of HoneyHive's own; `rest` is what follows `honeyhive_` or `honeyhive.`.
    fn own(&mut self, key: &'a str, rest: &'a str, value: Value<'a>) {
        match rest {
            "event_type" | "event_type_raw" => self.event_type = truthy(text(value)),
            "event_name" => self.name = truthy(text(value)),
            "error" => self.failure.explicit = truthy(text(value)),
            "error_type" => self.failure.kind = truthy(text(value)),
            "project" => self.project = truthy(text(value)),
            "source" => self.source = truthy(text(value)),
            // Decided when the span was made, for it and for what is below it.
            "session_id" => {}
            _ => {
                for namespace in semconv::NAMESPACES {
                    let Some(tail) = rest.strip_prefix(namespace) else {
                        continue;
                    };
                    let prefix = prefix_of(namespace);
                    if tail.is_empty() {
                        self.attributes.put_root(prefix, value);
                        return;
                    }
                    if let Some(name) = tail.strip_prefix('.') {
                        self.attributes.put(prefix, name, value);
                        return;
                    }
                }
                self.attributes.put("", key, value);
            }
        }
    }

    fn otel(&mut self, key: &'a str, rest: &str, value: Value<'a>) {
        match rest {
            "name" => self.otel_name = truthy(text(value)),
            "kind" => {
                self.kind = match text(value).to_ascii_lowercase().as_str() {
                    "server" => Kind::Server,
                    "client" => Kind::Client,
                    "producer" => Kind::Producer,
                    "consumer" => Kind::Consumer,
                    _ => Kind::Internal,
                };
            }
            "status_code" => {
                let code = text(value);
                self.otel_status = if code.eq_ignore_ascii_case("error") {
                    Some(false)
                } else if code.eq_ignore_ascii_case("ok") {
                    Some(true)
                } else {
                    None
                };
            }
            "status_message" | "status_description" => self.failure.described = truthy(text(value)),
            _ => self.attributes.put("", key, value),
        }
    }

    fn event(&mut self, meta: &'static Metadata<'static>, event: EventEntry<'a>, anchor: Anchor) {
        let mut attributes = Vec::new();
        let (mut error, mut message, mut kind) = (None, None, None);
        for entry in event.fields {
            let Entry::Field(key, value) = entry else {
                continue;
            };
            let key = match key {
                Key::Field(index) => fields::field_name(meta, index),
                Key::Name(name) => name,
            };
            match key {
                "message" => message = truthy(text(value)),
                "error" | "err" | "exception" | "error.message" | "exception.message" => {
                    if let Value::Error { kind: known, .. } = value
                        && !known.is_empty()
                    {
                        kind = Some(Cow::Borrowed(known));
                    }
                    error = truthy(text(value));
                }
                "error.type" | "exception.type" => kind = truthy(text(value)),
                _ => attributes.push(Attribute::new("", key, scalar(value))),
            }
        }
        let described = match (error, message) {
            (Some(error), Some(message)) => {
                attributes.push(Attribute::text("message", message));
                Some(error)
            }
            (one, other) => one.or(other),
        };
        if let Some(text) = &described {
            attributes.push(Attribute::text("exception.message", text.clone()));
        }
        if let Some(kind) = &kind {
            attributes.push(Attribute::text("exception.type", kind.clone()));
        }
        self.failure.event = described.or_else(|| Some(Cow::Borrowed(meta.name())));
        self.failure.event_kind = kind;
        self.events.push(Event {
            name: Cow::Borrowed("exception"),
            time: anchor.unix_nanos(event.ticks),
            attributes,
        });
    }

    fn finish(mut self, head: &Head, anchor: Anchor, settings: &'a Settings) -> Span<'a> {
        let start = anchor.unix_nanos(head.start);
        let end = anchor.unix_nanos(head.end.max(head.start));
        let event_type = self.event_type(settings);
        let error = self.error(head);
        let explicit_name = self.name.take().or_else(|| self.otel_name.take());
        let span_name = match &explicit_name {
            Some(name) => name.clone(),
            None if head.meta.name().is_empty() => Cow::Borrowed(head.meta.target()),
            None => Cow::Borrowed(head.meta.name()),
        };

        // What makes the event findable does not count against the limit, and stands first.
        let mut attributes = Vec::with_capacity(self.attributes.list.len() + 12);
        let session = Scalar::Uuid(session_uuid(head.session));
        let project = self
            .project
            .or(settings.project.as_deref().map(Cow::Borrowed));
        let source = self.source.unwrap_or(Cow::Borrowed(&settings.source));
        attributes.push(Attribute::new("", name::SESSION_ID, session));
        let session = Scalar::Uuid(session_uuid(head.session));
        attributes.push(Attribute::new("", name::ASSOCIATED_SESSION_ID, session));
        if let Some(project) = project {
            attributes.push(Attribute::text(name::PROJECT, project.clone()));
            attributes.push(Attribute::text(name::ASSOCIATED_PROJECT, project));
        }
        attributes.push(Attribute::text(name::SOURCE, source.clone()));
        attributes.push(Attribute::text(name::ASSOCIATED_SOURCE, source));
        attributes.push(Attribute::text(name::EVENT_TYPE, event_type.0));
        if let Some(name) = explicit_name {
            attributes.push(Attribute::text(name::EVENT_NAME, name));
        }
        if head.wants_event_id {
            let id = EventId::of_span(head.trace_id, head.span_id);
            attributes.push(Attribute::text(name::EVENT_ID, id.to_string()));
        }
        let status = match error {
            Some(error) => {
                let described = match &error.kind {
                    Some(kind) => Cow::Owned(format!("{kind}: {}", error.message)),
                    None => error.message.clone(),
                };
                if self.events.is_empty() {
                    self.events.push(exception(&error, end));
                }
                attributes.push(Attribute::text(name::ERROR, error.message));
                if let Some(kind) = error.kind {
                    attributes.push(Attribute::text(name::ERROR_TYPE, kind));
                }
                Status::Error(described)
            }
            None if self.otel_status == Some(true) => Status::Ok,
            None => Status::Unset,
        };
        let duration = Scalar::Double((end - start) as f64 / 1e6);
        attributes.push(Attribute::new("", name::DURATION_MS, duration));
        if let Some(kind) = event_type.1 {
            attributes.push(Attribute::new(
                name::METADATA,
                "span_kind",
                Scalar::Text(kind),
            ));
        }
        if head.unfinished {
            attributes.push(Attribute::new(
                name::METADATA,
                "unfinished",
                Scalar::Bool(true),
            ));
        }
        attributes.append(&mut self.attributes.list);

        Span {
            trace_id: head.trace_id,
            span_id: head.span_id,
            parent_id: head.parent_id,
            name: span_name,
            kind: self.kind,
            start,
            end,
            attributes,
            dropped_attributes: self.attributes.dropped.saturating_add(head.lost_fields),
            events: self.events,
            dropped_events: head.lost_events,
            status,
        }
    }

    /// The type on the wire, and the original where the platform has no such type.
    fn event_type(&mut self, settings: &'a Settings) -> (Cow<'a, str>, Option<Cow<'a, str>>) {
        let found = match self.event_type.take() {
            Some(explicit) => Some(explicit),
            None if self.conventions => {
                let attributes = &self.attributes;
                semconv::event_type(
                    |key| {
                        attributes
                            .get(key)
                            .map(|value| Cow::Owned(value.to_text().into_owned()))
                    },
                    |key| attributes.get(key).is_some(),
                )
            }
            None => None,
        };
        let found = found.unwrap_or(Cow::Borrowed(&settings.default_event_type));
        for known in [
            EventType::Model,
            EventType::Tool,
            EventType::Chain,
            EventType::Session,
        ] {
            if found.eq_ignore_ascii_case(known.as_str()) {
                return (Cow::Borrowed(known.as_str()), None);
            }
        }
        if found.eq_ignore_ascii_case("workflow") || found.eq_ignore_ascii_case("agent") {
            return (Cow::Borrowed(EventType::Chain.as_str()), Some(found));
        }
        (found, None)
    }

    fn error(&mut self, head: &Head) -> Option<Described<'a>> {
        let failure = std::mem::take(&mut self.failure);
        if self.otel_status == Some(true) && failure.explicit.is_none() {
            return None;
        }
        let kind = failure.kind;
        let describe = |message, kind| Some(Described { message, kind });
        if let Some(explicit) = failure.explicit {
            return describe(explicit, kind.or(failure.event_kind));
        }
        if self.otel_status == Some(false)
            && let Some(message) = failure.described
        {
            return describe(message, kind.or(failure.event_kind));
        }
        if let Some(message) = failure.field {
            return describe(message, kind.or(failure.event_kind));
        }
        if let Some(message) = failure.event {
            return describe(message, failure.event_kind.or(kind));
        }
        if head.panicked {
            return describe(Cow::Borrowed("panicked"), Some(Cow::Borrowed("panic")));
        }
        if self.otel_status == Some(false) || kind.is_some() {
            let message = kind.clone().unwrap_or(Cow::Borrowed("error"));
            return describe(message, kind);
        }
        None
    }
}

/// An error with what is known of it.
struct Described<'a> {
    message: Cow<'a, str>,
    kind: Option<Cow<'a, str>>,
}

fn exception<'a>(error: &Described<'a>, time: u64) -> Event<'a> {
    let mut attributes = vec![Attribute::text("exception.message", error.message.clone())];
    if let Some(kind) = &error.kind {
        attributes.push(Attribute::text("exception.type", kind.clone()));
    }
    Event {
        name: Cow::Borrowed("exception"),
        time,
        attributes,
    }
}

fn session_uuid(session: SessionId) -> Uuid {
    session.uuid()
}

fn prefix_of(namespace: &str) -> &'static str {
    match namespace {
        "inputs" => name::INPUTS,
        "outputs" => name::OUTPUTS,
        "config" => name::CONFIG,
        "metrics" => name::METRICS,
        "feedback" => name::FEEDBACK,
        "user_properties" => name::USER_PROPERTIES,
        _ => name::METADATA,
    }
}

/// Attributes by key, the last write of each.
struct Attributes<'a> {
    list: Vec<Attribute<'a>>,
    /// Made when the list is too long to be searched.
    index: HashMap<(&'static str, String), usize>,
    max: usize,
    dropped: u32,
}

/// Longer lists are indexed.
const SEARCHED: usize = 24;

impl<'a> Attributes<'a> {
    fn new(max: usize) -> Self {
        Self {
            list: Vec::with_capacity(8),
            index: HashMap::new(),
            max,
            dropped: 0,
        }
    }

    fn get(&self, key: &str) -> Option<&Scalar<'a>> {
        if self.list.len() > SEARCHED {
            return self
                .index
                .get(&("", key.to_owned()))
                .and_then(|at| self.list.get(*at))
                .map(|a| &a.value);
        }
        self.list
            .iter()
            .find(|attribute| attribute.is("", key))
            .map(|attribute| &attribute.value)
    }

    fn put(&mut self, prefix: &'static str, name: &'a str, value: Value<'a>) {
        if let Value::Json(text) = value
            && !semconv::is_whole(prefix, name)
            && let Ok(parsed) = serde_json::from_str::<serde_json::Value>(text)
        {
            if self.overflows(&parsed) {
                self.insert(
                    prefix,
                    Cow::Borrowed(name),
                    Scalar::Text(Cow::Borrowed(text)),
                );
            } else {
                self.flatten(prefix, name.to_owned(), parsed);
            }
            return;
        }
        self.insert(prefix, Cow::Borrowed(name), scalar(value));
    }

    /// Whether there is no room for all parts of a container: then one attribute that holds all of it is better than
    /// some of its parts.
    fn overflows(&self, container: &serde_json::Value) -> bool {
        self.list.len().saturating_add(count_leaves(container)) > self.max
    }

    /// A value for a whole namespace: the keys of an object become its keys.
    fn put_root(&mut self, prefix: &'static str, value: Value<'a>) {
        let text = match value {
            Value::Json(text) | Value::Str(text) | Value::Debug(text) => text.trim_start(),
            _ => "",
        };
        if text.starts_with(['{', '['])
            && let Ok(parsed) = serde_json::from_str::<serde_json::Value>(text)
        {
            match parsed {
                _ if self.overflows(&parsed) => {
                    self.insert("", Cow::Borrowed(prefix), Scalar::Text(Cow::Borrowed(text)));
                }
                serde_json::Value::Object(map) => {
                    for (key, value) in map {
                        if semconv::is_whole(prefix, &key)
                            && (value.is_array() || value.is_object())
                        {
                            self.insert(
                                prefix,
                                Cow::Owned(key),
                                Scalar::Text(Cow::Owned(value.to_string())),
                            );
                        } else {
                            self.flatten(prefix, key, value);
                        }
                    }
                }
                other => self.flatten(prefix, root_name(prefix).to_owned(), other),
            }
            return;
        }
        self.insert(prefix, Cow::Borrowed(root_name(prefix)), scalar(value));
    }

    fn flatten(&mut self, prefix: &'static str, path: String, value: serde_json::Value) {
        // Depth is bounded: serde_json does not parse deeper than 128 levels.
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::Bool(value) => {
                self.insert(prefix, Cow::Owned(path), Scalar::Bool(value));
            }
            serde_json::Value::Number(number) => {
                let value = number
                    .as_i64()
                    .map(Scalar::Int)
                    .or_else(|| {
                        number
                            .as_u64()
                            .map(|wide| Scalar::Text(Cow::Owned(wide.to_string())))
                    })
                    .unwrap_or_else(|| double(number.as_f64().unwrap_or(f64::NAN)));
                self.insert(prefix, Cow::Owned(path), value);
            }
            serde_json::Value::String(text) => {
                self.insert(prefix, Cow::Owned(path), Scalar::Text(Cow::Owned(text)));
            }
            serde_json::Value::Array(list) => {
                for (index, value) in list.into_iter().enumerate() {
                    self.flatten(prefix, format!("{path}.{index}"), value);
                }
            }
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    self.flatten(prefix, format!("{path}.{key}"), value);
                }
            }
        }
    }

    fn insert(&mut self, prefix: &'static str, name: Cow<'a, str>, value: Scalar<'a>) {
        if self.list.len() <= SEARCHED {
            if let Some(known) = self.list.iter_mut().find(|known| known.is(prefix, &name)) {
                known.value = value;
                return;
            }
        } else if let Some(known) = self
            .index
            .get(&(prefix, name.as_ref().to_owned()))
            .and_then(|at| self.list.get_mut(*at))
        {
            known.value = value;
            return;
        }
        if self.list.len() >= self.max {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.list.push(Attribute {
            prefix,
            name,
            value,
        });
        let added = self.list.len();
        if added > SEARCHED {
            let from = if added == SEARCHED + 1 { 0 } else { added - 1 };
            for (at, attribute) in self.list.iter().enumerate().skip(from) {
                self.index
                    .insert((attribute.prefix, attribute.name.as_ref().to_owned()), at);
            }
        }
    }
}

fn root_name(prefix: &str) -> &'static str {
    match prefix {
        name::OUTPUTS => "result",
        name::INPUTS => "input",
        _ => "value",
    }
}

fn count_leaves(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Null => 0,
        serde_json::Value::Array(list) => list.iter().map(count_leaves).sum(),
        serde_json::Value::Object(map) => map.values().map(count_leaves).sum(),
        _ => 1,
    }
}

impl Scalar<'_> {
    fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Double(value) => Cow::Owned(value.to_string()),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Uuid(uuid) => Cow::Owned(uuid.to_string()),
        }
    }
}

fn double<'a>(value: f64) -> Scalar<'a> {
    if value.is_finite() {
        Scalar::Double(value)
    } else if value.is_nan() {
        Scalar::Text(Cow::Borrowed("nan"))
    } else {
        Scalar::Text(Cow::Borrowed(if value > 0.0 { "inf" } else { "-inf" }))
    }
}

fn scalar(value: Value<'_>) -> Scalar<'_> {
    match value {
        Value::Bool(value) => Scalar::Bool(value),
        Value::I64(value) => Scalar::Int(value),
        Value::U64(value) => match i64::try_from(value) {
            Ok(value) => Scalar::Int(value),
            Err(_) => Scalar::Text(Cow::Owned(value.to_string())),
        },
        Value::I128(value) => match i64::try_from(value) {
            Ok(value) => Scalar::Int(value),
            Err(_) => Scalar::Text(Cow::Owned(value.to_string())),
        },
        Value::U128(value) => match i64::try_from(value) {
            Ok(value) => Scalar::Int(value),
            Err(_) => Scalar::Text(Cow::Owned(value.to_string())),
        },
        Value::F64(value) => double(value),
        other => Scalar::Text(text(other)),
    }
}

/// The text of a value; a `Debug` text that is one quoted string is unquoted.
fn text(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Str(text) | Value::Json(text) => Cow::Borrowed(text),
        Value::Debug(text) => unquote(text).map_or(Cow::Borrowed(text), Cow::Owned),
        Value::Error { message, .. } => unquote(message).map_or(Cow::Borrowed(message), Cow::Owned),
        Value::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        Value::I64(value) => Cow::Owned(value.to_string()),
        Value::U64(value) => Cow::Owned(value.to_string()),
        Value::F64(value) => Cow::Owned(value.to_string()),
        Value::I128(value) => Cow::Owned(value.to_string()),
        Value::U128(value) => Cow::Owned(value.to_string()),
    }
}

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

/// Nothing, for a text that says there is nothing: `error = false` is no error.
fn truthy(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (!text.trim().is_empty() && text != "false").then_some(text)
}

/// The content of a text that is one string literal as `Debug` writes it.
fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut content = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => content.push(match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'u' => {
                    let hex = characters.as_str().strip_prefix('{')?.split_once('}')?.0;
                    for _ in 0..hex.len() + 2 {
                        characters.next();
                    }
                    char::from_u32(u32::from_str_radix(hex, 16).ok()?)?
                }
                plain @ ('"' | '\'' | '\\') => plain,
                _ => return None,
            }),
            other => content.push(other),
        }
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_string_literal_is_unquoted() {
        for text in ["", "plain", "tab\t\"quote\" \\ ü\u{1b}", "'", "\u{200b}"] {
            assert_eq!(unquote(&format!("{text:?}")).as_deref(), Some(text));
        }
        for other in [
            "[\"a\"]",
            "\"a\", \"b\"",
            "\"",
            "",
            "Some(\"x\")",
            "\"\\x\"",
        ] {
            assert_eq!(unquote(other), None, "{other}");
        }
    }
}
