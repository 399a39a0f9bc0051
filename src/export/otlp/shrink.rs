//! Spans that are too large for one request: their largest texts are cut until they fit. Knows spans as the encoders
//! take them.

use std::borrow::Cow;

use super::attributes::{Attribute, Scalar};
use super::span::{Span, Status};
use crate::event::compact::largest_cap;
use crate::event::fields;

/// How often texts are cut before the rest of the span is given up.
pub(super) const ATTEMPTS: usize = 4;

/// Attributes that are kept when even cutting did not help: those that an event needs stand first.
const LAST_RESORT: usize = 16;

/// Cuts `span`, which came to `size` bytes when it was encoded and may have `limit`.
pub(super) fn shrink(span: &mut Span<'_>, size: usize, limit: usize, attempt: usize) {
    if attempt >= ATTEMPTS {
        let dropped = span.attributes.len().saturating_sub(LAST_RESORT) + span.events.len();
        span.attributes.truncate(LAST_RESORT);
        span.events.clear();
        lost(span, dropped);
        return;
    }
    let mut lengths = Vec::new();
    for text in texts(span) {
        lengths.push(text.len());
    }
    let all: usize = lengths.iter().sum();
    // What the encoding adds (escapes, mostly) is taken to be spread evenly; an eighth less makes up for where it is not.
    let scaled = (all as u128 * limit as u128 / (size as u128).max(1)) as usize;
    let cap = largest_cap(lengths, scaled - scaled / 8).max(64);
    let mut cuts = 0;
    for text in texts(span) {
        if text.len() > cap {
            *text = Cow::Owned(fields::shortened(text, cap));
            cuts += 1;
        }
    }
    lost(span, cuts);
}

fn lost(span: &mut Span<'_>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    span.dropped_attributes = span.dropped_attributes.saturating_add(count);
    span.notes.lost = span.notes.lost.saturating_add(count);
}

/// The texts that may be cut.
fn texts<'s, 'a>(span: &'s mut Span<'a>) -> impl Iterator<Item = &'s mut Cow<'a, str>> {
    let status = match &mut span.status {
        Status::Error(message) => Some(message),
        Status::Unset | Status::Ok => None,
    };
    let attributes = span.attributes.iter_mut().filter_map(text_of);
    let events = span
        .events
        .iter_mut()
        .flat_map(|event| event.attributes.iter_mut().filter_map(text_of));
    [&mut span.name]
        .into_iter()
        .chain(status)
        .chain(attributes)
        .chain(events)
}

fn text_of<'s, 'a>(attribute: &'s mut Attribute<'a>) -> Option<&'s mut Cow<'a, str>> {
    match &mut attribute.value {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}
