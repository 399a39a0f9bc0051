//! The one internal model: what a span is between the thread that closed it and the wire. Knows nothing of layers,
//! workers or encodings.

pub(crate) mod carried;
pub(crate) mod compact;
pub(crate) mod content;
pub(crate) mod directory;
pub(crate) mod failure;
pub(crate) mod fields;
pub(crate) mod semconv;
pub(crate) mod value;

use std::fmt;
use std::sync::Arc;

use tracing::{Level, Metadata};

use crate::id::SessionId;
use carried::Carried;
use fields::{Key, Limits, LinkEntry, Value};

/// What an event is on the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventType {
    /// A call of a model.
    Model,
    /// A call of a tool or another function; the default.
    Tool,
    /// A step made of other steps: a pipeline, an agent, a workflow.
    Chain,
    /// A whole session.
    Session,
}

impl EventType {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Chain => "chain",
            Self::Session => "session",
        }
    }
}

/// Its name on the wire.
impl From<EventType> for String {
    fn from(event_type: EventType) -> Self {
        event_type.as_str().to_owned()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fixed part of a span: plain data, copied into the hand-over buffer as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) meta: &'static Metadata<'static>,
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// Zero: a root.
    pub(crate) parent_id: u64,
    pub(crate) session: SessionId,
    pub(crate) start: u64,
    /// Zero while nothing has been seen that ends it.
    pub(crate) end: u64,
    /// The span, or something in it, was left by a panic.
    pub(crate) panicked: bool,
    /// The span was made while the thread was unwinding already.
    pub(crate) born_unwinding: bool,
    /// Somebody asked for the id of the event, so it is sent along.
    pub(crate) wants_event_id: bool,
    /// The span was still open when the instance shut down.
    pub(crate) unfinished: bool,
    /// The parent is a span of another process.
    pub(crate) remote_parent: bool,
    /// Spans were made below it.
    pub(crate) has_children: bool,
    pub(crate) lost_fields: u32,
    pub(crate) events: u32,
    pub(crate) lost_events: u32,
    pub(crate) links: u32,
    pub(crate) lost_links: u32,
}

impl Head {
    /// A span that has just begun, and of which nothing else is known.
    #[inline]
    pub(crate) fn new(meta: &'static Metadata<'static>, session: SessionId, start: u64) -> Self {
        Self {
            meta,
            trace_id: 0,
            span_id: 0,
            parent_id: 0,
            session,
            start,
            end: 0,
            panicked: false,
            born_unwinding: false,
            wants_event_id: false,
            unfinished: false,
            remote_parent: false,
            has_children: false,
            lost_fields: 0,
            events: 0,
            lost_events: 0,
            links: 0,
            lost_links: 0,
        }
    }

    /// For tests: a closed span of a callsite.
    #[cfg(test)]
    pub(crate) fn closed(meta: &'static Metadata<'static>) -> Self {
        Self {
            trace_id: 1,
            span_id: 1,
            end: 2,
            ..Self::new(meta, SessionId::random(), 1)
        }
    }
}

/// An open span.
#[derive(Debug)]
pub(crate) struct SpanRecord {
    pub(crate) head: Head,
    /// Typed entries, see [`fields`].
    pub(crate) fields: Vec<u8>,
    /// The callsites of the events among the entries.
    pub(crate) callsites: Vec<&'static Metadata<'static>>,
    /// The baggage that spans below it take on.
    pub(crate) carried: Option<Arc<Carried>>,
    /// The `tracestate` of its trace, likewise.
    pub(crate) trace_state: Option<Arc<str>>,
    pub(crate) fate: Fate,
    compact_at: usize,
}

/// Whether a record is sent when its span closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Sent,
    /// Its trace was sampled out: it is sent only if it failed, or something below it did.
    SampledOut {
        /// The raw id of the recorded span above, zero: none.
        above: u64,
        /// Something below failed.
        kept: bool,
    },
    /// Its name is filtered out: it only leads to the recorded span above. The ids of its head are those of that span,
    /// with a span id of zero where there is none.
    LeftOut {
        /// As above.
        above: u64,
        /// What is made below takes this over.
        sampled_out: bool,
    },
}

/// Records are compacted when their fields have doubled past this.
const COMPACT_FROM: usize = 64 * 1024;

impl SpanRecord {
    pub(crate) fn new(head: Head) -> Self {
        Self {
            head,
            fields: Vec::new(),
            callsites: Vec::new(),
            carried: None,
            trace_state: None,
            fate: Fate::Sent,
            compact_at: COMPACT_FROM,
        }
    }

    /// Makes a used record new, keeping its buffers. It has let go of what others share when it was put aside.
    pub(crate) fn reset(&mut self, head: Head) {
        self.head = head;
        self.fields.clear();
        self.callsites.clear();
        self.fate = Fate::Sent;
        self.compact_at = COMPACT_FROM;
    }

    /// Whether the buffers are small enough to be kept for the next span.
    pub(crate) fn is_poolable(&self) -> bool {
        self.fields.capacity() <= COMPACT_FROM && self.callsites.capacity() <= 256
    }

    /// Takes on what travels with the work. Written before anything else, it is the last to go when there is too much.
    pub(crate) fn carry(&mut self, carried: Option<Arc<Carried>>, trace_state: Option<Arc<str>>) {
        if let Some(carried) = carried {
            self.fields.extend_from_slice(carried.fields());
            self.carried = Some(carried);
        }
        if let Some(state) = trace_state {
            let key = Key::Name(semconv::name::TRACE_STATE);
            fields::put(&mut self.fields, key, Value::Str(&state), 1024);
            self.trace_state = Some(state);
        }
    }

    /// Holds on to nothing that others share.
    pub(crate) fn let_go(&mut self) {
        self.carried = None;
        self.trace_state = None;
    }

    /// Something below failed: the record is sent, whatever sampling said.
    pub(crate) fn keep(&mut self) {
        if let Fate::SampledOut { kept, .. } = &mut self.fate {
            *kept = true;
        }
    }

    /// Whether its span is more than a step to the one above.
    pub(crate) fn is_recorded(&self) -> bool {
        !matches!(self.fate, Fate::LeftOut { .. })
    }

    /// Appends entries written elsewhere.
    pub(crate) fn append(&mut self, entries: &[u8], limits: Limits) {
        self.fields.extend_from_slice(entries);
        self.settle(limits);
    }

    /// Appends an event, or counts it when the span has its fill.
    pub(crate) fn append_event(
        &mut self,
        callsite: &'static Metadata<'static>,
        ticks: u64,
        entries: &[u8],
        limits: Limits,
    ) {
        // One error more than there is room for: that the span failed must not be what is lost.
        let spare = u32::from(*callsite.level() == Level::ERROR);
        if self.head.events >= limits.events.saturating_add(spare) {
            self.head.lost_events = self.head.lost_events.saturating_add(1);
            return;
        }
        let known = self
            .callsites
            .iter()
            .position(|known| known.callsite() == callsite.callsite());
        let index = known.unwrap_or_else(|| {
            self.callsites.push(callsite);
            self.callsites.len() - 1
        });
        let Ok(index) = u16::try_from(index) else {
            return;
        };
        self.head.events += 1;
        let start = fields::begin_event(&mut self.fields, index, ticks);
        self.fields.extend_from_slice(entries);
        fields::end_event(&mut self.fields, start);
        self.settle(limits);
    }

    /// Appends a link, or counts it when the span has its fill.
    pub(crate) fn append_link(&mut self, link: LinkEntry, limits: Limits) {
        if self.head.links >= limits.links {
            self.head.lost_links = self.head.lost_links.saturating_add(1);
            return;
        }
        self.head.links += 1;
        fields::put_link(&mut self.fields, link);
        self.settle(limits);
    }

    /// Keeps the record bounded; costs a comparison until it has grown past 64 KiB.
    ///
    /// Between two compactions a record at its limit may outgrow it by an eighth, so that a stream of small writes stays
    /// cheap; [`finish`](Self::finish) brings it down.
    pub(crate) fn settle(&mut self, limits: Limits) {
        if self.fields.len() < self.compact_at {
            return;
        }
        self.compact(limits);
        let doubled = self.fields.len().saturating_mul(2);
        let slack = limits.span.saturating_add(limits.span / 8);
        self.compact_at = doubled.min(slack).max(COMPACT_FROM);
    }

    /// Brings a closed span within its limits. They are never below the size that compaction starts from, so an ordinary
    /// span does not ask for them.
    pub(crate) fn finish(&mut self, limits: impl FnOnce() -> Limits) {
        if self.fields.len() <= COMPACT_FROM {
            return;
        }
        let limits = limits();
        if self.fields.len() > limits.span {
            self.compact(limits);
        }
    }

    fn compact(&mut self, limits: Limits) {
        let lost = compact::compact(
            &mut self.fields,
            self.head.meta,
            &self.callsites,
            limits.span,
        );
        self.head.lost_fields = self.head.lost_fields.saturating_add(lost.fields);
        self.head.lost_events = self.head.lost_events.saturating_add(lost.events);
        self.head.lost_links = self.head.lost_links.saturating_add(lost.links);
    }
}
