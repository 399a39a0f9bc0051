//! What a record means: its typed entries become the attributes, events and status of an OTLP span. Knows the names
//! of `event::semconv`, not how spans are written.

use std::borrow::Cow;
use std::collections::HashMap;

use super::attributes::{Attribute, Attributes, Scalar, scalar, text, truthy};
use super::session::{AutoCreate, first_attributes};
use super::{Notes, convention};
use crate::clock::Anchor;
use crate::config::{EventTypes, Rule};
use crate::event::fields::{self, Entry, EventEntry, Key, LinkEntry, Reader, Value};
use crate::event::semconv::{self, Identity, identity, name};
use crate::event::value::merged;
use crate::event::{EventType, Head};
use crate::id::EventId;
use crate::redact::Redactor;
use std::sync::Arc;
use tracing::{Level, Metadata};

/// What the same configuration snapshot says to every span of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) project: Option<String>,
    pub(crate) source: String,
    pub(crate) default_event_type: String,
    pub(crate) max_attributes: usize,
    pub(crate) max_events: usize,
    pub(crate) event_type_from_name: bool,
    pub(crate) event_types: EventTypes,
    /// The ids of the evaluation, by their names in metadata.
    pub(crate) evaluation: Vec<(&'static str, String)>,
    /// Whether the platform makes sessions from their events.
    pub(crate) auto_create: Option<AutoCreate>,
    pub(crate) capture_content: bool,
    pub(crate) redactor: Arc<Redactor>,
}

/// A span as the encoders take it.
#[derive(Debug)]
pub(crate) struct Span<'a> {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) parent_id: u64,
    /// The parent is a span of another process.
    pub(crate) remote_parent: bool,
    /// Empty: none.
    pub(crate) trace_state: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) kind: Kind,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Vec<Attribute<'a>>,
    pub(crate) dropped_attributes: u32,
    pub(crate) events: Vec<Event<'a>>,
    pub(crate) dropped_events: u32,
    pub(crate) links: Vec<LinkEntry>,
    pub(crate) dropped_links: u32,
    pub(crate) status: Status<'a>,
    pub(crate) notes: Notes,
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
    pub(crate) dropped_attributes: u32,
}

/// The `flags` of a span whose parent is remote: that this is known, that it is so, and that the trace is sampled.
pub(crate) const REMOTE_PARENT: u32 = 0x301;

/// The name of the events that errors become.
const EXCEPTION: &str = "exception";
/// Attributes of one event.
const MAX_EVENT_ATTRIBUTES: usize = 128;

/// Reads a record.
pub(crate) fn assemble<'a>(
    head: &Head,
    bytes: &'a [u8],
    names: &[&'static str],
    callsites: &[&'static Metadata<'static>],
    anchor: Anchor,
    settings: &'a Settings,
) -> Span<'a> {
    let mut reading = Reading::new(settings.max_attributes);
    let writes = Writes::of(bytes, names);
    for (position, entry) in Reader::new(bytes).enumerate() {
        match entry {
            Entry::Field(key, value) => {
                let key = key_name(key, names);
                let (first, last) = writes.of_field(key, position);
                reading.attributes.rank = first;
                if let Some(all) = writes.buckets.get(&position) {
                    reading.bucket(key, all);
                } else if last == position {
                    reading.field(key, value);
                }
            }
            Entry::Event(event) => {
                if let Some(meta) = callsites.get(usize::from(event.callsite)) {
                    reading.event(meta, event, anchor);
                }
            }
            Entry::Link(link) => reading.links.push(link),
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

/// Where each field was written first and last. Only the last write is read, so a container takes the place of the one
/// before; the first one says which fields go when there are too many, so a field that is written again and again is not
/// the one that does.
#[derive(Default)]
struct Writes<'a> {
    /// Nothing, where no field was written twice.
    positions: Option<HashMap<Identity<'a>, (usize, usize)>>,
    /// What several writes to one bucket came to, where the last of them stands.
    buckets: HashMap<usize, serde_json::Map<String, serde_json::Value>>,
}

impl<'a> Writes<'a> {
    fn of(bytes: &'a [u8], names: &[&'static str]) -> Self {
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
            return Self::default();
        }
        let mut positions = HashMap::new();
        let mut written: HashMap<&str, Vec<&str>> = HashMap::new();
        for (position, entry) in Reader::new(bytes).enumerate() {
            if let Entry::Field(key, value) = entry {
                let key = key_name(key, names);
                let (_, last) = positions
                    .entry(identity(key))
                    .or_insert((position, position));
                *last = position;
                if let Value::Json(text) = value
                    && semconv::is_bucket(key)
                {
                    written.entry(key).or_default().push(text);
                }
            }
        }
        let buckets = written
            .into_iter()
            .filter(|(_, writes)| writes.len() > 1)
            .filter_map(|(key, writes)| Some((positions.get(&identity(key))?.1, merged(&writes)?)))
            .collect();
        Self {
            positions: Some(positions),
            buckets,
        }
    }

    fn of_field(&self, key: &str, position: usize) -> (usize, usize) {
        let known = self
            .positions
            .as_ref()
            .and_then(|positions| positions.get(&identity(key)));
        known.copied().unwrap_or((position, position))
    }
}

/// What has been understood so far.
struct Reading<'a> {
    attributes: Attributes<'a>,
    events: Vec<Event<'a>>,
    links: Vec<LinkEntry>,
    name: Option<Cow<'a, str>>,
    otel_name: Option<Cow<'a, str>>,
    kind: Kind,
    event_type: Option<Cow<'a, str>>,
    project: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    trace_state: Option<Cow<'a, str>>,
    event_id: Option<Cow<'a, str>>,
    /// What the work took, where somebody said so.
    duration: Option<f64>,
    /// Some attribute of a convention was seen, so the rules for the event type are worth asking.
    conventions: bool,
    /// Some attribute was seen that may have to be translated.
    foreign: bool,
    /// What did not fit in here.
    lost: u32,
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
            links: Vec::new(),
            name: None,
            otel_name: None,
            kind: Kind::Internal,
            event_type: None,
            project: None,
            source: None,
            trace_state: None,
            event_id: None,
            duration: None,
            conventions: false,
            foreign: false,
            lost: 0,
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
            _ if key.starts_with(name::BAGGAGE) => self.attributes.put("", key, value),
            _ if semconv::is_convention(key) => {
                self.conventions = true;
                self.foreign |= convention::concerns(key);
                self.attributes.put("", key, value);
            }
            _ => self.attributes.put(name::INPUTS, key, value),
        }
    }

    /// Several writes to a whole bucket.
    fn bucket(&mut self, key: &str, all: &serde_json::Map<String, serde_json::Value>) {
        let namespace = key.get("honeyhive_".len()..).unwrap_or_default();
        self.attributes.put_bucket(
            prefix_of(namespace),
            serde_json::Value::Object(all.clone()),
            None,
        );
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
            "event_id" => self.event_id = truthy(text(value)),
            "trace_state" => self.trace_state = truthy(text(value)),
            "duration_ms" if let Some(duration) = milliseconds(value) => {
                self.duration = Some(duration);
            }
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
        let time = anchor.unix_nanos(event.ticks);
        if *meta.level() == Level::ERROR {
            self.error_event(meta, event, time);
            return;
        }
        let mut attributes = Vec::new();
        let mut message = None;
        for (key, value) in named(meta, event) {
            match key {
                "message" => message = truthy(text(value)),
                _ => attributes.push(Attribute::new("", key, scalar(value))),
            }
        }
        attributes.push(Attribute::text("level", meta.level().as_str()));
        attributes.push(Attribute::text("target", meta.target()));
        self.push_event(Event {
            name: message.unwrap_or(Cow::Borrowed(meta.name())),
            time,
            attributes,
            dropped_attributes: 0,
        });
    }

    fn error_event(&mut self, meta: &'static Metadata<'static>, event: EventEntry<'a>, time: u64) {
        let mut attributes = Vec::new();
        let (mut error, mut message, mut kind) = (None, None, None);
        for (key, value) in named(meta, event) {
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
        // What the platform reads stands first, and is not what a limit takes.
        if let Some(kind) = &kind {
            attributes.insert(0, Attribute::text("exception.type", kind.clone()));
        }
        if let Some(text) = &described {
            attributes.insert(0, Attribute::text("exception.message", text.clone()));
        }
        self.failure.event = described.or_else(|| Some(Cow::Borrowed(meta.name())));
        self.failure.event_kind = kind;
        self.push_event(Event {
            name: Cow::Borrowed(EXCEPTION),
            time,
            attributes,
            dropped_attributes: 0,
        });
    }

    fn push_event(&mut self, mut event: Event<'a>) {
        let over = event.attributes.len().saturating_sub(MAX_EVENT_ATTRIBUTES);
        event.attributes.truncate(MAX_EVENT_ATTRIBUTES);
        event.dropped_attributes = u32::try_from(over).unwrap_or(u32::MAX);
        self.lost = self.lost.saturating_add(event.dropped_attributes);
        self.events.push(event);
    }

    /// Makes room for an error that came after the last event there was room for.
    fn trim_events(&mut self, max: usize) -> u32 {
        let mut dropped = 0;
        while self.events.len() > max {
            let oldest = self.events.iter().position(|event| event.name != EXCEPTION);
            self.events.remove(oldest.unwrap_or(0));
            dropped += 1;
        }
        self.lost = self.lost.saturating_add(dropped);
        dropped
    }

    fn finish(mut self, head: &Head, anchor: Anchor, settings: &'a Settings) -> Span<'a> {
        let start = anchor.unix_nanos(head.start);
        let end = anchor.unix_nanos(head.end).max(start);
        let dropped_events = self.trim_events(settings.max_events);
        let (event_type, span_kind, known) = self.event_type(head.meta, settings);
        self.translate(head.meta, &event_type);
        let error = self.error(head);
        self.attributes.trim();
        let incomplete = event_type == EventType::Model.as_str()
            && error.is_none()
            && !head.unfinished
            && !self.attributes.iter().any(convention::is_answer);
        let explicit_name = self.name.take().or_else(|| self.otel_name.take());
        let span_name = match &explicit_name {
            Some(name) => name.clone(),
            None if head.meta.name().is_empty() => Cow::Borrowed(head.meta.target()),
            None => Cow::Borrowed(head.meta.name()),
        };

        // What makes the event findable does not count against the limit, and stands first.
        let has = |key: &str| self.attributes.get(name::METADATA, key).is_some();
        let mut attributes =
            first_attributes(head.session, self.project, self.source, settings, has);
        attributes.reserve(self.attributes.iter().len() + 4);
        let unknown_type = (!known).then(|| fields::cut(&event_type, 64).to_owned());
        attributes.push(Attribute::text(name::EVENT_TYPE, event_type));
        if let Some(name) = explicit_name {
            attributes.push(Attribute::text(name::EVENT_NAME, name));
        }
        let event_id = self.event_id.take().or_else(|| {
            let id = || EventId::of_span(head.trace_id, head.span_id).to_string();
            head.wants_event_id.then(|| Cow::Owned(id()))
        });
        if let Some(id) = event_id {
            attributes.push(Attribute::text(name::EVENT_ID, id));
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
        let duration = self.duration.unwrap_or((end - start) as f64 / 1e6);
        let duration = Scalar::Double(duration);
        attributes.push(Attribute::new("", name::DURATION_MS, duration));
        let remarks = [
            span_kind.map(|kind| ("span_kind", Scalar::Text(kind))),
            head.unfinished
                .then_some(("unfinished", Scalar::Bool(true))),
            incomplete.then_some(("incomplete", Scalar::Bool(true))),
        ];
        for (name, value) in remarks.into_iter().flatten() {
            if self.attributes.get(name::METADATA, name).is_none() {
                attributes.push(Attribute::new(name::METADATA, name, value));
            }
        }
        attributes.append(&mut self.attributes.take());

        Span {
            trace_id: head.trace_id,
            span_id: head.span_id,
            parent_id: head.parent_id,
            remote_parent: head.remote_parent,
            trace_state: self.trace_state.unwrap_or_default(),
            name: span_name,
            kind: self.kind,
            start,
            end,
            attributes,
            dropped_attributes: self.attributes.dropped.saturating_add(head.lost_fields),
            events: self.events,
            dropped_events: head.lost_events.saturating_add(dropped_events),
            links: self.links,
            dropped_links: head.lost_links,
            status,
            notes: Notes {
                lost: self.lost.saturating_add(self.attributes.dropped),
                unknown_type,
            },
        }
    }

    /// The type on the wire, the original where the platform has no such type, and whether it is a known one.
    fn event_type(
        &mut self,
        meta: &'static Metadata<'static>,
        settings: &'a Settings,
    ) -> (Cow<'a, str>, Option<Cow<'a, str>>, bool) {
        let found = match self.event_type.take() {
            Some(explicit) => Some(explicit),
            None => self
                .type_by_rules(settings)
                .or_else(|| self.type_by_conventions())
                .or_else(|| self.type_by_origin(meta, settings).map(Cow::Borrowed)),
        };
        let found = found.unwrap_or(Cow::Borrowed(&settings.default_event_type));
        for known in [
            EventType::Model,
            EventType::Tool,
            EventType::Chain,
            EventType::Session,
        ] {
            if found.eq_ignore_ascii_case(known.as_str()) {
                return (Cow::Borrowed(known.as_str()), None, true);
            }
        }
        if settings.event_types.knows(&found) {
            return (found, None, true);
        }
        if found.eq_ignore_ascii_case("workflow") || found.eq_ignore_ascii_case("agent") {
            return (Cow::Borrowed(EventType::Chain.as_str()), Some(found), true);
        }
        (found, None, false)
    }

    /// By the rules of the configuration that ask for an attribute.
    fn type_by_rules(&self, settings: &'a Settings) -> Option<Cow<'a, str>> {
        settings.event_types.rules.iter().find_map(|rule| {
            let Rule::Attribute {
                name,
                value,
                event_type,
            } = rule
            else {
                return None;
            };
            let mut found = self.attributes.iter().filter(|known| known.is_called(name));
            found
                .any(|known| value == "*" || known.value.to_text().eq_ignore_ascii_case(value))
                .then_some(Cow::Borrowed(event_type.as_str()))
        })
    }

    fn type_by_conventions(&self) -> Option<Cow<'a, str>> {
        if !self.conventions {
            return None;
        }
        let attributes = &self.attributes;
        semconv::event_type(
            |key| {
                attributes
                    .get("", key)
                    .map(|value| Cow::Owned(value.to_text().into_owned()))
            },
            |key| attributes.get("", key).is_some(),
        )
    }

    /// By where the span comes from, or what it is called.
    fn type_by_origin(
        &self,
        meta: &'static Metadata<'static>,
        settings: &'a Settings,
    ) -> Option<&'a str> {
        let by_target = settings
            .event_types
            .rules
            .iter()
            .find_map(|rule| match rule {
                Rule::Target { target, event_type }
                    if semconv::is_within(meta.target(), target) =>
                {
                    Some(event_type.as_str())
                }
                _ => None,
            });
        by_target
            .or_else(|| semconv::type_of_framework_span(meta.target(), meta.name()))
            .or_else(|| {
                let name = self.name.as_deref().or(self.otel_name.as_deref());
                let names_model = || {
                    let mut names = semconv::MODEL_NAMES.iter();
                    names.any(|key| self.attributes.iter().any(|known| known.is_called(key)))
                };
                (settings.event_type_from_name
                    && (semconv::is_model_name(name.unwrap_or(meta.name())) || names_model()))
                .then_some(EventType::Model.as_str())
            })
    }

    /// Gives attributes of conventions that the platform does not read the names it does.
    fn translate(&mut self, meta: &'static Metadata<'static>, event_type: &str) {
        let plain = convention::plain_fields(meta.target(), meta.name());
        if !self.foreign && plain.is_empty() {
            return;
        }
        let found = convention::translate(&mut self.attributes, plain, event_type);
        self.failure.field = self.failure.field.take().or(found.error);
        self.name = self.name.take().or(found.name);
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

/// The namespace and the name of the attribute that a field becomes whatever its value, as `Reading::field` has it.
/// Nothing: there is more to it.
pub(super) fn plain_attribute(field: &'static str) -> Option<(&'static str, &'static str)> {
    let own = field
        .strip_prefix("honeyhive")
        .and_then(|rest| rest.strip_prefix(['_', '.']));
    if let Some(own) = own {
        let namespace = semconv::NAMESPACES.into_iter().find(|namespace| {
            own.strip_prefix(*namespace)
                .is_some_and(|rest| rest.starts_with('.'))
        })?;
        let rest = own.get(namespace.len() + 1..)?;
        let prefix = prefix_of(namespace);
        // Others may say the same, and must not be written twice.
        let special = prefix == name::METADATA
            && (semconv::CORE_METADATA.contains(&rest) || REMARKS.contains(&rest));
        return (!special).then_some((prefix, rest));
    }
    let special = field.starts_with("otel.")
        || field.starts_with(name::BAGGAGE)
        || matches!(
            field,
            "error" | "error.message" | "error.type" | "exception.message" | "exception.type"
        )
        || semconv::is_convention(field);
    (!special).then_some((name::INPUTS, field))
}

/// The type of the spans of a callsite whose fields are all plain, if that is all there is to know.
pub(super) fn type_of_callsite(
    meta: &'static Metadata<'static>,
    settings: &Settings,
) -> Option<String> {
    if !convention::plain_fields(meta.target(), meta.name()).is_empty() {
        return None;
    }
    let (event_type, original, known) = Reading::new(0).event_type(meta, settings);
    // Whether a model has answered is a question for each of its spans.
    let plain = known && original.is_none() && event_type != EventType::Model.as_str();
    plain.then(|| event_type.into_owned())
}

/// What is said of a span by itself, unless the span says it.
const REMARKS: [&str; 3] = ["span_kind", "unfinished", "incomplete"];

/// The fields of an event, by name.
fn named<'a>(
    meta: &'static Metadata<'static>,
    event: EventEntry<'a>,
) -> impl Iterator<Item = (&'a str, Value<'a>)> {
    event.fields.filter_map(|entry| match entry {
        Entry::Field(Key::Field(index), value) => Some((fields::field_name(meta, index), value)),
        Entry::Field(Key::Name(name), value) => Some((name, value)),
        Entry::Event(_) | Entry::Link(_) => None,
    })
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
        name: Cow::Borrowed(EXCEPTION),
        time,
        attributes,
        dropped_attributes: 0,
    }
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

/// A finite number that is not negative.
pub(super) fn milliseconds(value: Value<'_>) -> Option<f64> {
    let number = match scalar(value) {
        Scalar::Int(value) => value as f64,
        Scalar::Double(value) => value,
        _ => return None,
    };
    (number >= 0.0).then_some(number)
}
