//! From records to the body of a request. Knows the OTLP format in both encodings, not how bodies are sent.

mod attributes;
mod body;
mod convention;
mod json;
mod plan;
#[cfg(feature = "server")]
pub(crate) mod proto;
mod protobuf;
pub(crate) mod redacted;
mod session;
mod shrink;
mod span;
#[cfg(feature = "spool")]
mod stored;

use bytes::Bytes;
use std::sync::Mutex;
use tracing::Metadata;
use tracing::callsite;

use crate::clock::Anchor;
use crate::config::Protocol;
use crate::event::Head;
use crate::id::SessionId;
use crate::sync::lock;
pub(crate) use attributes::{Attribute, Scalar};
pub(crate) use body::{buckets, created};
pub(crate) use plan::Plans;
pub(crate) use protobuf::PartialSuccess;
pub(crate) use session::AutoCreate;
pub(crate) use span::Settings;

/// What all requests of an instance have in common.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) protocol: Protocol,
    pub(crate) resource: Vec<Attribute<'static>>,
    pub(crate) scope: String,
    /// What was lost before.
    pub(crate) scope_attributes: Vec<Attribute<'static>>,
    /// Memory of bodies that have been sent, for the next ones.
    pub(crate) spare: Spare,
}

/// Empty buffers. Memory that is given back and asked for again has to be mapped page by page, which costs more than
/// to fill it.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<u8>>>);

/// So many buffers are kept, as many as there may be requests on their way.
const SPARE: usize = 4;
/// Larger ones are not kept.
const SPARE_BYTES: usize = 8 << 20;

impl Spare {
    fn take(&self) -> Vec<u8> {
        lock(&self.0).pop().unwrap_or_default()
    }

    /// Takes the memory of a body over, if nobody else has it.
    pub(crate) fn put(&self, body: Bytes) {
        let Ok(mut body) = body.try_into_mut() else {
            return;
        };
        body.clear();
        let buffer = Vec::from(body);
        let mut spare = lock(&self.0);
        if spare.len() < SPARE && buffer.capacity() <= SPARE_BYTES {
            spare.push(buffer);
        }
    }

    /// Gives all memory back.
    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }
}

impl Envelope {
    pub(crate) fn with_protocol(&self, protocol: Protocol) -> Self {
        Self {
            protocol,
            resource: self.resource.clone(),
            scope: self.scope.clone(),
            scope_attributes: self.scope_attributes.clone(),
            spare: Spare::default(),
        }
    }

    pub(crate) fn with_scope_attributes(&self, attributes: Vec<Attribute<'static>>) -> Self {
        Self {
            protocol: self.protocol,
            resource: self.resource.clone(),
            scope: self.scope.clone(),
            scope_attributes: attributes,
            spare: Spare::default(),
        }
    }

    fn protobuf(&self, spans: usize) -> Vec<u8> {
        protobuf::envelope(&self.resource, &self.scope, &self.scope_attributes, spans)
    }

    fn json(&self) -> (Vec<u8>, &'static [u8]) {
        json::envelope(&self.resource, &self.scope, &self.scope_attributes)
    }

    /// The content type of bodies.
    pub(crate) const fn content_type(&self) -> &'static str {
        match self.protocol {
            Protocol::HttpProtobuf => "application/x-protobuf",
            Protocol::HttpJson => "application/json",
        }
    }

    /// What the server says of a batch it accepted.
    pub(crate) fn partial_success(&self, body: &[u8]) -> PartialSuccess {
        match self.protocol {
            Protocol::HttpProtobuf => protobuf::partial_success(body),
            Protocol::HttpJson => json::partial_success(body),
        }
    }

    /// Starts a batch.
    pub(crate) fn batch(&self) -> BatchBuilder {
        let reserved = match self.protocol {
            Protocol::HttpProtobuf => self.protobuf(usize::MAX >> 4).len() + 16,
            Protocol::HttpJson => self.json().0.len(),
        };
        let mut out = self.spare.take();
        out.resize(reserved, 0);
        BatchBuilder {
            protocol: self.protocol,
            out,
            names: Names::default(),
            common: plan::Common::default(),
            reserved,
            ends: Vec::new(),
            sessions: Vec::new(),
            session_added: false,
        }
    }

    /// Ends a batch: what stands before the spans is written right before them.
    pub(crate) fn finish(&self, batch: BatchBuilder) -> Batch {
        let BatchBuilder {
            mut out,
            reserved,
            ends,
            sessions,
            ..
        } = batch;
        let spans_end = out.len();
        let head = match self.protocol {
            Protocol::HttpProtobuf => self.protobuf(spans_end.saturating_sub(reserved)),
            Protocol::HttpJson => {
                let (head, tail) = self.json();
                out.extend_from_slice(tail);
                head
            }
        };
        let start = reserved.saturating_sub(head.len());
        if let Some(slot) = out.get_mut(start..reserved) {
            slot.copy_from_slice(&head);
        }
        Batch {
            body: Bytes::from(out).slice(start..),
            spans_start: reserved - start,
            ends,
            base: reserved,
            sessions,
        }
    }

    /// Two batches with half the spans each, for a server that finds one too large.
    pub(crate) fn split(&self, batch: &Batch) -> Option<[Batch; 2]> {
        let middle = batch.ends.len() / 2;
        if middle == 0 {
            return None;
        }
        let (mut first, mut second) = (self.batch(), self.batch());
        for index in 0..batch.ends.len() {
            let span = batch.span(index)?;
            let half = if index < middle {
                &mut first
            } else {
                &mut second
            };
            half.push_encoded(span);
        }
        first.sessions.clone_from(&batch.sessions);
        second.sessions.clone_from(&batch.sessions);
        Some([self.finish(first), self.finish(second)])
    }
}

/// A request holds at most 64 MiB: a span that is larger goes alone, and is cut to this.
const MAX_SPAN_BYTES: usize = (64 << 20) - (256 << 10);

/// What the worker has to tell of a span it encoded.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Attributes, events and parts of values that were dropped or cut here.
    pub(crate) lost: u32,
    /// An explicit type that neither the platform nor the configuration knows.
    pub(crate) unknown_type: Option<String>,
}

/// A batch under construction.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    protocol: Protocol,
    out: Vec<u8>,
    names: Names,
    common: plan::Common,
    reserved: usize,
    ends: Vec<usize>,
    sessions: Vec<SessionId>,
    /// The last span brought a session of its own.
    session_added: bool,
}

/// The names of the fields of a callsite, kept for the next span, which often has the same one.
#[derive(Debug, Default)]
struct Names {
    callsite: Option<callsite::Identifier>,
    names: Vec<&'static str>,
}

impl Names {
    fn of(&mut self, meta: &'static Metadata<'static>) -> &[&'static str] {
        let callsite = Some(meta.callsite());
        if self.callsite != callsite {
            self.callsite = callsite;
            self.names.clear();
            self.names
                .extend(meta.fields().iter().map(|field| field.name()));
        }
        &self.names
    }
}

impl BatchBuilder {
    /// Adds a span; how many attributes it had too many.
    pub(crate) fn push(
        &mut self,
        head: &Head,
        fields: &[u8],
        callsites: &[&'static Metadata<'static>],
        anchor: Anchor,
        settings: &Settings,
        plans: &mut Plans,
    ) -> Notes {
        let out = &mut self.out;
        let notes = if plan::serves(self.protocol)
            && plans.put(out, &mut self.common, head, fields, anchor, settings)
        {
            Notes::default()
        } else {
            self.put_assembled(head, fields, callsites, anchor, settings)
        };
        self.ends.push(self.out.len());
        // Neighbours mostly share a session.
        self.session_added =
            self.sessions.last() != Some(&head.session) && !self.sessions.contains(&head.session);
        if self.session_added {
            self.sessions.push(head.session);
        }
        notes
    }

    /// Takes a span apart and writes what it means.
    fn put_assembled(
        &mut self,
        head: &Head,
        fields: &[u8],
        callsites: &[&'static Metadata<'static>],
        anchor: Anchor,
        settings: &Settings,
    ) -> Notes {
        let names = self.names.of(head.meta);
        let mut span = span::assemble(head, fields, names, callsites, anchor, settings);
        redacted::apply(&mut span, settings);
        let before = self.out.len();
        let mut attempt = 0;
        loop {
            self.encode(&span);
            let size = self.out.len().saturating_sub(before);
            if size <= MAX_SPAN_BYTES || attempt > shrink::ATTEMPTS {
                break;
            }
            self.out.truncate(before);
            shrink::shrink(&mut span, size, MAX_SPAN_BYTES, attempt);
            attempt += 1;
        }
        span.notes
    }

    fn encode(&mut self, span: &span::Span<'_>) {
        match self.protocol {
            Protocol::HttpProtobuf => protobuf::put_span(&mut self.out, span),
            Protocol::HttpJson => {
                self.comma();
                json::put_span(&mut self.out, span);
            }
        }
    }

    /// Takes the last span out again, unless it is the only one: it goes into the next batch.
    pub(crate) fn give_back(&mut self) -> bool {
        let Some([before, _]) = self.ends.last_chunk() else {
            return false;
        };
        self.out.truncate(*before);
        self.ends.pop();
        if std::mem::take(&mut self.session_added) {
            self.sessions.pop();
        }
        true
    }

    fn push_encoded(&mut self, span: &[u8]) {
        if self.protocol == Protocol::HttpJson {
            self.comma();
        }
        self.out.extend_from_slice(span);
        self.ends.push(self.out.len());
    }

    fn comma(&mut self) {
        if !self.ends.is_empty() {
            self.out.push(b',');
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of the spans so far.
    pub(crate) fn bytes(&self) -> usize {
        self.out.len().saturating_sub(self.reserved)
    }
}

/// Spans, encoded and ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) body: Bytes,
    spans_start: usize,
    /// Where each span ends, counted from `base` bytes before the first.
    ends: Vec<usize>,
    base: usize,
    /// The sessions of the spans.
    pub(crate) sessions: Vec<SessionId>,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn span(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => self.base,
        };
        let at = |position: usize| {
            position
                .checked_sub(self.base)?
                .checked_add(self.spans_start)
        };
        let span = self.body.get(at(start)?..at(end)?)?;
        // In JSON the comma between two spans belongs to the second.
        Some(span.strip_prefix(b",").unwrap_or(span))
    }
}
