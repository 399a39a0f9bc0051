//! OTLP spans as protobuf, written straight into one buffer: every length is computed before it is written, nothing
//! is copied twice.

use super::attributes::{Attribute, Scalar};
use super::span::{Event, REMOTE_PARENT, Span, Status};

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

fn put_attribute(out: &mut Vec<u8>, number: u32, attribute: &Attribute<'_>) {
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
    match &attribute.value {
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
