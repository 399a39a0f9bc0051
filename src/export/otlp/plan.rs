//! Ordinary spans, the short way: what a callsite and a configuration decide between them is worked out once, and the
//! rest is written straight from the record. It writes what `span::assemble` and `protobuf::put_span` would; a span
//! that needs a closer look is left to them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use tracing::Metadata;

use super::attributes;
use super::protobuf::{self, Template};
use super::redacted;
use super::session::first_attributes;
use super::span::{self, Settings};
use crate::clock::Anchor;
use crate::config::{Protocol, Rule};
use crate::event::Head;
use crate::event::fields::{Plain, PlainValue, Value};
use crate::event::semconv::name;
use crate::id::SessionId;
use crate::redact::REDACTED;

/// What is known of callsites, under one configuration.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    of: HashMap<usize, Option<Plan>, BuildHasherDefault<Address>>,
}

#[derive(Debug)]
struct Plan {
    /// The name of the spans and what stands between it and their start, encoded.
    name: Vec<u8>,
    /// The attribute that says the event's type, and the start of the one that says how long it took.
    event_type: Vec<u8>,
    slots: Vec<Option<Slot>>,
    /// At least as long as all that is written besides values.
    length: usize,
}

/// A field that becomes one attribute.
#[derive(Debug)]
struct Slot {
    name: &'static str,
    /// All of the attribute up to the value.
    template: Template,
    /// Its value is not to be seen.
    hidden: bool,
}

/// What all spans of a batch have in common, and what those of a session do.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Whether the configuration allows for the short way; nothing: not asked yet.
    allowed: Option<bool>,
    /// The first attributes of the spans of the last sessions, encoded.
    sessions: Vec<(SessionId, Vec<u8>)>,
    next: usize,
}

/// So many sessions are remembered at once.
const SESSIONS: usize = 8;
/// Fields beyond this many are not told apart by one word of bits.
const MAX_FIELDS: usize = 64;

/// Larger spans may have to be cut.
const MAX_BYTES: usize = 16 << 20;

/// The number of `Span.attributes`.
const ATTRIBUTES: u32 = 9;

impl Plans {
    /// Encodes a span, or leaves `out` as it is.
    pub(super) fn put(
        &mut self,
        out: &mut Vec<u8>,
        common: &mut Common,
        head: &Head,
        bytes: &[u8],
        anchor: Anchor,
        settings: &Settings,
    ) -> bool {
        let allowed = *common.allowed.get_or_insert_with(|| is_allowed(settings));
        if !allowed || !is_ordinary(head) || bytes.len() > MAX_BYTES {
            return false;
        }
        let meta = head.meta;
        let plan = self
            .of
            .entry(std::ptr::from_ref(meta).addr())
            .or_insert_with(|| Plan::of(meta, settings));
        let Some(plan) = plan else {
            return false;
        };
        let before = out.len();
        let written = plan.put(out, common, head, bytes, anchor, settings);
        if !written {
            out.truncate(before);
        }
        written
    }
}

fn is_allowed(settings: &Settings) -> bool {
    let asks_attributes = |rule: &Rule| matches!(rule, Rule::Attribute { .. });
    settings.capture_content
        && !settings.redactor.looks_at_texts()
        && !settings.event_type_from_name
        && settings.max_attributes >= MAX_FIELDS
        && !settings.event_types.rules.iter().any(asks_attributes)
}

fn is_ordinary(head: &Head) -> bool {
    !(head.panicked || head.unfinished || head.wants_event_id || head.remote_parent)
        && head.lost_fields == 0
        && head.lost_events == 0
        && head.lost_links == 0
        && head.links == 0
}

impl Plan {
    fn of(meta: &'static Metadata<'static>, settings: &Settings) -> Option<Self> {
        let event_type = span::type_of_callsite(meta, settings)?;
        let mut slots: Vec<Option<Slot>> = Vec::new();
        for field in meta.fields() {
            let name = field.name();
            let slot = span::plain_attribute(name).map(|(prefix, rest)| Slot {
                name: rest,
                template: Template::of(prefix, rest),
                hidden: settings.redactor.hides(rest),
            });
            if let Some(slot) = &slot {
                let mut others = slots.iter().flatten();
                // One of them would take the other's place.
                if others.any(|other| other.template == slot.template) {
                    return None;
                }
            }
            slots.push(slot);
        }
        let mut encoded = Vec::new();
        let event_type = attributes::Attribute::text(name::EVENT_TYPE, event_type);
        protobuf::put_attribute(&mut encoded, ATTRIBUTES, &event_type);
        protobuf::begin_duration(&mut encoded);
        let name = protobuf::name(if meta.name().is_empty() {
            meta.target()
        } else {
            meta.name()
        });
        let templates = slots.iter().flatten().map(|slot| slot.template.len() + 16);
        let length = templates.sum::<usize>() + name.len() + encoded.len() + 128;
        Some(Self {
            name,
            event_type: encoded,
            slots,
            length,
        })
    }

    fn put(
        &self,
        out: &mut Vec<u8>,
        common: &mut Common,
        head: &Head,
        bytes: &[u8],
        anchor: Anchor,
        settings: &Settings,
    ) -> bool {
        let start = anchor.unix_nanos(head.start);
        let end = anchor.unix_nanos(head.end.max(head.start)).max(start);
        let first = common.of_session(head.session, settings);
        out.reserve(first.len() + bytes.len() + self.length);
        let length = protobuf::begin_span(out, head, &self.name, (start, end));
        out.extend_from_slice(first);
        out.extend_from_slice(&self.event_type);
        let duration = (end - start) as f64 / 1e6;
        out.extend_from_slice(&duration.to_le_bytes());
        let mut seen = 0_u64;
        for (index, value) in Plain::new(bytes) {
            // Only the last of several writes counts.
            let bit = 1_u64.checked_shl(u32::from(index)).unwrap_or(u64::MAX);
            if seen & bit != 0 {
                return false;
            }
            seen |= bit;
            let Some(Some(slot)) = self.slots.get(usize::from(index)) else {
                return false;
            };
            if !slot.put(out, value, settings) {
                return false;
            }
        }
        protobuf::end_span(out, length);
        true
    }
}

impl Slot {
    fn put(&self, out: &mut Vec<u8>, value: PlainValue<'_>, settings: &Settings) -> bool {
        let template = &self.template;
        match value {
            PlainValue::Other => return false,
            PlainValue::Bool(value) => template.put_bool(out, value),
            _ if self.hidden => template.put_text(out, REDACTED.as_bytes()),
            PlainValue::Int(value) => template.put_int(out, value),
            PlainValue::Double(value) if value.is_finite() => template.put_double(out, value),
            PlainValue::Double(value) => {
                let text = attributes::double(value).into_text();
                template.put_text(out, text.as_bytes());
            }
            PlainValue::Str(text) if !may_be_structured(text) => template.put_text(out, text),
            PlainValue::Str(text) | PlainValue::Debug(text) => {
                let Ok(text) = std::str::from_utf8(text) else {
                    return false;
                };
                let text = match value {
                    PlainValue::Debug(_) => attributes::text(Value::Debug(text)),
                    _ => Cow::Borrowed(text),
                };
                match settings.redactor.text(self.name, &text) {
                    Some(left) => template.put_text(out, left.as_bytes()),
                    None => template.put_text(out, text.as_bytes()),
                }
            }
        }
        true
    }
}

/// Whether redaction has to look at a text: it takes a bracket, or a name in front of one.
fn may_be_structured(text: &[u8]) -> bool {
    let Some(first) = text.first() else {
        return false;
    };
    matches!(first, b'{' | b'[' | b'(') || first.is_ascii_uppercase() || first.is_ascii_whitespace()
}

impl Common {
    fn of_session(&mut self, session: SessionId, settings: &Settings) -> &[u8] {
        let known = self.sessions.iter().position(|(id, _)| *id == session);
        let at = known.unwrap_or_else(|| {
            let mut encoded = Vec::new();
            for mut attribute in first_attributes(session, None, None, settings, |_| false) {
                redacted::redact(&mut attribute, &settings.redactor);
                protobuf::put_attribute(&mut encoded, ATTRIBUTES, &attribute);
            }
            if self.sessions.len() < SESSIONS {
                self.sessions.push((session, encoded));
                return self.sessions.len() - 1;
            }
            let at = self.next % SESSIONS;
            self.next = at + 1;
            if let Some(slot) = self.sessions.get_mut(at) {
                *slot = (session, encoded);
            }
            at
        });
        self.sessions
            .get(at)
            .map_or(&[], |(_, encoded)| encoded.as_slice())
    }
}

/// The short way is for protobuf.
pub(super) const fn serves(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::HttpProtobuf)
}

/// Hashes the addresses of callsites, of which there are few and which are far apart.
#[derive(Debug, Default)]
struct Address(u64);

impl Hasher for Address {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        // The golden ratio; the table takes its bits from both ends.
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tracing::info_span;

    use super::*;
    use crate::config::EventTypes;
    use crate::event::fields::{self, Key};
    use crate::export::otlp::{BatchBuilder, Envelope};
    use crate::redact::Redactor;

    fn settings() -> Settings {
        Settings {
            project: Some("p".to_owned()),
            source: "dev".to_owned(),
            default_event_type: "tool".to_owned(),
            max_attributes: 128,
            max_events: 8,
            event_type_from_name: false,
            event_types: EventTypes::default(),
            evaluation: vec![("run_id", "r".to_owned())],
            auto_create: None,
            capture_content: true,
            redactor: Arc::new(Redactor::new(true, &["ssn".to_owned()], &[], Vec::new())),
        }
    }

    fn callsites() -> Vec<&'static Metadata<'static>> {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            [
                info_span!("plain", a = 0, b = 0, c.d = 0, api_key = 0, "ssn" = 0),
                info_span!(
                    "own",
                    honeyhive.outputs.x = 0,
                    honeyhive_metadata.y = 0,
                    honeyhive_metadata.run_id = 0,
                    honeyhive_event_type = 0,
                    z = 0
                ),
                info_span!("foreign", gen_ai.request.model = 0, a = 0, error = 0),
                info_span!("twice", x = 0, honeyhive.inputs.x = 0, y = 0, w = 0, v = 0),
                info_span!("empty"),
            ]
            .iter()
            .map(|span| span.metadata().unwrap())
            .collect()
        })
    }

    fn head(meta: &'static Metadata<'static>, session: SessionId, parent: u64) -> Head {
        Head {
            trace_id: 7,
            span_id: 8,
            parent_id: parent,
            end: 2_000_000,
            ..Head::new(meta, session, 1_000)
        }
    }

    fn batch() -> BatchBuilder {
        Envelope {
            protocol: Protocol::HttpProtobuf,
            resource: Vec::new(),
            scope: String::new(),
            scope_attributes: Vec::new(),
            spare: crate::export::otlp::Spare::default(),
        }
        .batch()
    }

    #[derive(Clone, Debug)]
    enum Any {
        Bool(bool),
        I64(i64),
        U64(u64),
        F64(f64),
        Str(String),
        Debug(String),
        Json(String),
    }

    impl Any {
        fn value(&self) -> Value<'_> {
            match self {
                Self::Bool(value) => Value::Bool(*value),
                Self::I64(value) => Value::I64(*value),
                Self::U64(value) => Value::U64(*value),
                Self::F64(value) => Value::F64(*value),
                Self::Str(text) => Value::Str(text),
                Self::Debug(text) => Value::Debug(text),
                Self::Json(text) => Value::Json(text),
            }
        }
    }

    fn any_value() -> impl Strategy<Value = Any> {
        prop_oneof![
            any::<bool>().prop_map(Any::Bool),
            any::<i64>().prop_map(Any::I64),
            any::<u64>().prop_map(Any::U64),
            any::<f64>().prop_map(Any::F64),
            ".{0,200}".prop_map(Any::Str),
            "x{100,300}".prop_map(Any::Str),
            Just(Any::Str("{\"token\": \"abc\"}".to_owned())),
            ".{0,20}".prop_map(|text| Any::Debug(format!("{text:?}"))),
            "[a-z\"\\\\{]{0,20}".prop_map(Any::Debug),
            Just(Any::Json("{\"k\": [1, 2]}".to_owned())),
        ]
    }

    proptest! {
        #[test]
        fn both_ways_write_the_same(
            spans in prop::collection::vec(
                (0..5_usize, 0..9_u8, prop::collection::vec((0..5_u8, any_value()), 0..6), any::<bool>()),
                1..30,
            ),
        ) {
            let (settings, callsites) = (settings(), callsites());
            let sessions: Vec<SessionId> = (0..9).map(|_| SessionId::random()).collect();
            let (mut short, mut long) = (batch(), batch());
            let mut plans = Plans::default();
            let anchor = crate::clock::Timeline::default().anchor();
            for (callsite, session, values, is_root) in &spans {
                let meta = callsites[*callsite];
                let head = head(meta, sessions[usize::from(*session)], u64::from(!is_root));
                let mut bytes = Vec::new();
                for (index, value) in values {
                    if usize::from(*index) < meta.fields().len() {
                        fields::put(&mut bytes, Key::Field(*index), value.value(), usize::MAX);
                    }
                }
                short.push(&head, &bytes, &[], anchor, &settings, &mut plans);
                long.put_assembled(&head, &bytes, &[], anchor, &settings);
            }
            prop_assert_eq!(short.out, long.out);
        }
    }

    #[test]
    fn ordinary_spans_take_the_short_way() {
        let (settings, callsites) = (settings(), callsites());
        let mut plans = Plans::default();
        for (callsite, value, short) in [
            (0, Value::Str("x"), true),
            (0, Value::Json("{}"), false),
            (1, Value::Str("x"), true),
            (2, Value::Str("x"), false),
            (3, Value::Str("x"), false),
        ] {
            let head = head(callsites[callsite], SessionId::random(), 1);
            let mut bytes = Vec::new();
            fields::put(&mut bytes, Key::Field(0), value, 100);
            let mut out = vec![1];
            let mut common = Common::default();
            let anchor = crate::clock::Timeline::default().anchor();
            let taken = plans.put(&mut out, &mut common, &head, &bytes, anchor, &settings);
            assert_eq!(taken, short, "{callsite}");
            assert_eq!(out.len() > 1, short);
        }
    }
}
