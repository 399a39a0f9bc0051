//! OTLP spans as protobuf, written straight into one buffer: every length is computed before it is written, nothing
//! is copied twice.

use super::attributes::{Attribute, Scalar};
use super::span::{Event, Kind, REMOTE_PARENT, Span, Status};
use crate::event::Head;
use crate::event::semconv::name;

/// Wire types of protobuf.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// A link: the ids of trace and span.
const LINK_LEN: usize = field_len(16) + field_len(8);

/// Appends `span` as an element of `ScopeSpans.spans`.
pub(crate) fn put_span(out: &mut Vec<u8>, span: &Span<'_>) {
    let attributes: usize = span
        .attributes
        .iter()
        .map(|attribute| field_len(attribute_len(attribute)))
        .sum();
    let events: usize = span
        .events
        .iter()
        .map(|event| field_len(event_len(event)))
        .sum();
    let status = status_len(&span.status);
    let length = field_len(16)
        + field_len(8)
        + if span.parent_id == 0 { 0 } else { field_len(8) }
        + match span.trace_state.len() {
            0 => 0,
            length => field_len(length),
        }
        // Its number takes two bytes.
        + if span.remote_parent { 6 } else { 0 }
        + field_len(span.name.len())
        + 2
        + 9
        + 9
        + attributes
        + counter_len(span.dropped_attributes)
        + events
        + counter_len(span.dropped_events)
        + span.links.len() * field_len(LINK_LEN)
        + counter_len(span.dropped_links)
        + status.map_or(0, field_len);

    out.reserve(length + 6);
    tag(out, 2, LENGTH);
    varint(out, length as u64);
    bytes(out, 1, &span.trace_id.to_be_bytes());
    bytes(out, 2, &span.span_id.to_be_bytes());
    if !span.trace_state.is_empty() {
        bytes(out, 3, span.trace_state.as_bytes());
    }
    if span.parent_id != 0 {
        bytes(out, 4, &span.parent_id.to_be_bytes());
    }
    bytes(out, 5, span.name.as_bytes());
    tag(out, 6, VARINT);
    varint(out, span.kind as u64);
    fixed64(out, 7, span.start);
    fixed64(out, 8, span.end);
    for attribute in &span.attributes {
        put_attribute(out, 9, attribute);
    }
    counter(out, 10, span.dropped_attributes);
    for event in &span.events {
        tag(out, 11, LENGTH);
        varint(out, event_len(event) as u64);
        fixed64(out, 1, event.time);
        bytes(out, 2, event.name.as_bytes());
        for attribute in &event.attributes {
            put_attribute(out, 3, attribute);
        }
        counter(out, 4, event.dropped_attributes);
    }
    counter(out, 12, span.dropped_events);
    for link in &span.links {
        tag(out, 13, LENGTH);
        varint(out, LINK_LEN as u64);
        bytes(out, 1, &link.trace_id.to_be_bytes());
        bytes(out, 2, &link.span_id.to_be_bytes());
    }
    counter(out, 14, span.dropped_links);
    if let Some(length) = status {
        tag(out, 15, LENGTH);
        varint(out, length as u64);
        match &span.status {
            Status::Unset => {}
            Status::Ok => {
                tag(out, 3, VARINT);
                varint(out, 1);
            }
            Status::Error(message) => {
                bytes(out, 2, message.as_bytes());
                tag(out, 3, VARINT);
                varint(out, 2);
            }
        }
    }
    if span.remote_parent {
        tag(out, 16, FIXED32);
        out.extend_from_slice(&REMOTE_PARENT.to_le_bytes());
    }
}

/// What stands before the spans: `resource_spans { resource, scope_spans { scope` and the lengths that hold `spans`.
pub(crate) fn envelope(
    resource: &[Attribute<'_>],
    scope: &str,
    scope_attributes: &[Attribute<'_>],
    spans: usize,
) -> Vec<u8> {
    let mut attributes = Vec::new();
    for attribute in resource {
        put_attribute(&mut attributes, 1, attribute);
    }
    let of_scope: usize = scope_attributes
        .iter()
        .map(|attribute| field_len(attribute_len(attribute)))
        .sum();
    let scope_len = field_len(scope.len()) + of_scope;
    let scope_spans = field_len(scope_len) + spans;
    let resource_spans = field_len(attributes.len()) + field_len(scope_spans);
    let mut out = Vec::with_capacity(attributes.len() + scope_len + 48);
    tag(&mut out, 1, LENGTH);
    varint(&mut out, resource_spans as u64);
    bytes(&mut out, 1, &attributes);
    tag(&mut out, 2, LENGTH);
    varint(&mut out, scope_spans as u64);
    tag(&mut out, 1, LENGTH);
    varint(&mut out, scope_len as u64);
    bytes(&mut out, 1, scope.as_bytes());
    for attribute in scope_attributes {
        put_attribute(&mut out, 3, attribute);
    }
    out
}

pub(super) fn put_attribute(out: &mut Vec<u8>, number: u32, attribute: &Attribute<'_>) {
    tag(out, number, LENGTH);
    varint(out, attribute_len(attribute) as u64);
    tag(out, 1, LENGTH);
    varint(out, key_len(attribute) as u64);
    if !attribute.prefix.is_empty() {
        out.extend_from_slice(attribute.prefix.as_bytes());
        out.push(b'.');
    }
    out.extend_from_slice(attribute.name.as_bytes());
    tag(out, 2, LENGTH);
    varint(out, scalar_len(&attribute.value) as u64);
    put_scalar(out, &attribute.value);
}

fn put_scalar(out: &mut Vec<u8>, value: &Scalar<'_>) {
    match value {
        Scalar::Text(text) => bytes(out, 1, text.as_bytes()),
        Scalar::Uuid(uuid) => {
            let text = &mut [0; uuid::fmt::Hyphenated::LENGTH];
            bytes(out, 1, uuid.hyphenated().encode_lower(text).as_bytes());
        }
        Scalar::Bool(value) => {
            tag(out, 2, VARINT);
            varint(out, u64::from(*value));
        }
        Scalar::Int(value) => {
            tag(out, 3, VARINT);
            varint(out, value.cast_unsigned());
        }
        Scalar::Double(value) => fixed64(out, 4, value.to_bits()),
    }
}

/// An attribute of a span up to its value, to be written again and again: tag and length, the key, tag and length of
/// the value. Both lengths take one byte here, which is enough for most.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    bytes: Vec<u8>,
}

/// Where lengths stand in a template: the first after the first tag, the other at the end.
const LENGTH_AT: usize = 1;
/// What stands before and behind the key in a template.
const AROUND_KEY: usize = 4;

impl Template {
    pub(super) fn of(prefix: &str, name: &str) -> Self {
        let full = if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}.{name}")
        };
        let mut out = Vec::with_capacity(full.len() + 8);
        tag(&mut out, 9, LENGTH);
        out.push(0);
        bytes(&mut out, 1, full.as_bytes());
        tag(&mut out, 2, LENGTH);
        out.push(0);
        Self { bytes: out }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes all up to the value, which has `length` bytes.
    #[inline]
    fn put(&self, out: &mut Vec<u8>, length: usize) {
        // Without the tags and the two lengths: the key.
        let key = self.bytes.len() - AROUND_KEY;
        let total = key + field_len(length);
        if total < 0x80 {
            let at = out.len();
            out.extend_from_slice(&self.bytes);
            let end = out.len() - 1;
            if let Some(byte) = out.get_mut(at + LENGTH_AT) {
                *byte = total as u8;
            }
            if let Some(byte) = out.get_mut(end) {
                *byte = length as u8;
            }
            return;
        }
        tag(out, 9, LENGTH);
        varint(out, total as u64);
        out.extend_from_slice(self.bytes.get(2..2 + key).unwrap_or_default());
        tag(out, 2, LENGTH);
        varint(out, length as u64);
    }

    #[inline]
    pub(super) fn put_text(&self, out: &mut Vec<u8>, text: &[u8]) {
        self.put(out, field_len(text.len()));
        bytes(out, 1, text);
    }

    pub(super) fn put_bool(&self, out: &mut Vec<u8>, value: bool) {
        self.put(out, 2);
        out.extend_from_slice(&[2 << 3, u8::from(value)]);
    }

    pub(super) fn put_int(&self, out: &mut Vec<u8>, value: i64) {
        let value = value.cast_unsigned();
        self.put(out, 1 + varint_len(value));
        tag(out, 3, VARINT);
        varint(out, value);
    }

    pub(super) fn put_double(&self, out: &mut Vec<u8>, value: f64) {
        self.put(out, 9);
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        out.extend_from_slice(&[4 << 3 | 1, a, b, c, d, e, f, g, h]);
    }
}

/// The attribute that says how long the span took, but for the eight bytes of its value, milliseconds.
pub(super) fn begin_duration(out: &mut Vec<u8>) {
    const KEY: &[u8] = name::DURATION_MS.as_bytes();
    tag(out, 9, LENGTH);
    varint(out, (field_len(KEY.len()) + field_len(9)) as u64);
    bytes(out, 1, KEY);
    tag(out, 2, LENGTH);
    varint(out, 9);
    tag(out, 4, FIXED64);
}

/// What [`begin_span`] writes between the ids and the start: the name, and that the span is internal.
pub(super) fn name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 8);
    bytes(&mut out, 5, name.as_bytes());
    tag(&mut out, 6, VARINT);
    varint(&mut out, Kind::Internal as u64);
    tag(&mut out, 7, FIXED64);
    out
}

/// Starts a span whose length is not known yet; [`end_span`] with the answer writes it. `name` is from [`name`].
pub(super) fn begin_span(
    out: &mut Vec<u8>,
    head: &Head,
    name: &[u8],
    (start, end): (u64, u64),
) -> usize {
    const fn key(number: u8) -> u8 {
        number << 3 | LENGTH as u8
    }
    // Two bytes hold the length of most spans.
    let mut ids = [0; 41];
    ids[0] = key(2);
    ids[3] = key(1);
    ids[4] = 16;
    ids[5..21].copy_from_slice(&head.trace_id.to_be_bytes());
    ids[21] = key(2);
    ids[22] = 8;
    ids[23..31].copy_from_slice(&head.span_id.to_be_bytes());
    ids[31] = key(4);
    ids[32] = 8;
    ids[33..].copy_from_slice(&head.parent_id.to_be_bytes());
    let content = out.len() + 3;
    let (root, _) = ids.split_at(31);
    out.extend_from_slice(if head.parent_id == 0 { root } else { &ids });
    out.extend_from_slice(name);
    let mut times = [0; 17];
    times[..8].copy_from_slice(&start.to_le_bytes());
    times[8] = 8 << 3 | FIXED64 as u8;
    times[9..].copy_from_slice(&end.to_le_bytes());
    out.extend_from_slice(&times);
    content
}

/// See [`begin_span`].
pub(super) fn end_span(out: &mut Vec<u8>, content: usize) {
    let mut prefix = Vec::new();
    let length = out.len().saturating_sub(content);
    let needed = varint_len(length as u64);
    let slot = content.saturating_sub(2);
    if needed == 2 {
        let [low, high] = [(length as u8) | 0x80, (length >> 7) as u8];
        if let Some(bytes) = out.get_mut(slot..content) {
            bytes.copy_from_slice(&[low, high]);
        }
        return;
    }
    varint(&mut prefix, length as u64);
    out.splice(slot..content, prefix);
}

fn attribute_len(attribute: &Attribute<'_>) -> usize {
    field_len(key_len(attribute)) + field_len(scalar_len(&attribute.value))
}

fn key_len(attribute: &Attribute<'_>) -> usize {
    let prefix = if attribute.prefix.is_empty() {
        0
    } else {
        attribute.prefix.len() + 1
    };
    prefix + attribute.name.len()
}

fn scalar_len(value: &Scalar<'_>) -> usize {
    match value {
        Scalar::Text(text) => field_len(text.len()),
        Scalar::Uuid(_) => field_len(uuid::fmt::Hyphenated::LENGTH),
        Scalar::Bool(_) => 2,
        Scalar::Int(value) => 1 + varint_len(value.cast_unsigned()),
        Scalar::Double(_) => 9,
    }
}

fn event_len(event: &Event<'_>) -> usize {
    let attributes: usize = event
        .attributes
        .iter()
        .map(|attribute| field_len(attribute_len(attribute)))
        .sum();
    9 + field_len(event.name.len()) + attributes + counter_len(event.dropped_attributes)
}

fn status_len(status: &Status<'_>) -> Option<usize> {
    match status {
        Status::Unset => None,
        Status::Ok => Some(2),
        Status::Error(message) => Some(field_len(message.len()) + 2),
    }
}

fn counter(out: &mut Vec<u8>, number: u32, value: u32) {
    if value > 0 {
        tag(out, number, VARINT);
        varint(out, u64::from(value));
    }
}

const fn counter_len(value: u32) -> usize {
    if value > 0 {
        1 + varint_len(value as u64)
    } else {
        0
    }
}

/// The length of a length-delimited field whose number is under 16.
const fn field_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}

fn bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    tag(out, number, LENGTH);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    tag(out, number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn tag(out: &mut Vec<u8>, number: u32, wire: u32) {
    varint(out, u64::from(number << 3 | wire));
}

const fn varint_len(value: u64) -> usize {
    // One byte for every seven bits, at least one.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What an OTLP server says it did not take: how many spans, and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PartialSuccess {
    pub(crate) rejected: u64,
    pub(crate) message: String,
}

/// Reads `ExportTraceServiceResponse`. A body that does not parse says nothing: the status already said accepted.
pub(crate) fn partial_success(body: &[u8]) -> PartialSuccess {
    let mut found = PartialSuccess::default();
    let mut outer = Fields(body);
    while let Some((number, content)) = outer.next() {
        let (1, Content::Bytes(inner)) = (number, content) else {
            continue;
        };
        let mut inner = Fields(inner);
        while let Some((number, content)) = inner.next() {
            match (number, content) {
                (1, Content::Varint(rejected)) => found.rejected = rejected,
                (2, Content::Bytes(message)) => {
                    found.message = String::from_utf8_lossy(message).into_owned();
                }
                _ => {}
            }
        }
    }
    // The field is signed; a negative count is nonsense.
    if found.rejected > i64::MAX as u64 {
        found.rejected = 0;
    }
    found
}

enum Content<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Skipped,
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<(u64, Content<'a>)> {
        let key = self.varint()?;
        let content = match key & 7 {
            0 => Content::Varint(self.varint()?),
            1 => self.take(8).map(|_| Content::Skipped)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Content::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Content::Skipped)?,
            _ => return None,
        };
        Some((key >> 3, content))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(first & 0x7F) << shift;
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_what_is_written() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1_u64 << shift) - 1, u64::MAX] {
                let mut out = Vec::new();
                varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
            }
        }
    }

    #[test]
    fn partial_success_is_read_and_nonsense_is_none() {
        let body = [0x0A, 6, 0x08, 3, 0x12, 2, b'n', b'o'];
        assert_eq!(
            partial_success(&body),
            PartialSuccess {
                rejected: 3,
                message: "no".to_owned()
            }
        );
        for body in [&b""[..], b"<html>", &body[..5], &[0xFF; 20]] {
            assert_eq!(partial_success(body).rejected, 0, "{body:?}");
        }
    }
}
