//! From spans to events: the table applied. Knows the wire types and the attribute names, not the store.

mod draft;
mod index;
mod messages;
mod table;
mod value;

pub(crate) use value::{hex, merge, text};

use super::types::{Bucket, Buckets, EventKind};
use crate::event::semconv;
use crate::export::otlp::proto;
use draft::Draft;
use serde_json::{Map, Value};
use std::borrow::Cow;

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
    /// Metrics of the event above, which this one judges.
    pub(crate) verdicts: Map<String, Value>,
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

    if parent.is_none() {
        let verdicts = std::mem::take(&mut draft.verdicts);
        merge(draft.buckets.get_mut(Bucket::Metrics), verdicts);
    }
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
        verdicts: draft.verdicts,
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
