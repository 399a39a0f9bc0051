//! Encoded batches that left memory and came back: taken apart without what they were encoded with.

use bytes::Bytes;

use super::Batch;
use crate::config::Protocol;
use crate::id::SessionId;

impl Batch {
    /// Where the first span starts.
    pub(crate) fn spans_start(&self) -> usize {
        self.spans_start
    }

    /// How many bytes each span takes, with the comma in front of it where there is one.
    pub(crate) fn span_lengths(&self) -> Vec<usize> {
        let mut before = self.base;
        let length = |end: &usize| {
            let length = end.saturating_sub(before);
            before = *end;
            length
        };
        self.ends.iter().map(length).collect()
    }

    /// The batch that has this body; `None` if it cannot be.
    pub(crate) fn restore(
        body: Bytes,
        spans_start: usize,
        span_lengths: &[usize],
        sessions: Vec<SessionId>,
    ) -> Option<Self> {
        let mut end = spans_start;
        let mut ends = Vec::with_capacity(span_lengths.len());
        for length in span_lengths {
            end = end.checked_add(*length)?;
            ends.push(end);
        }
        (!ends.is_empty() && end <= body.len()).then_some(Self {
            body,
            spans_start,
            ends,
            base: spans_start,
            sessions,
        })
    }

    /// Two batches with half the spans each, as [`Envelope::split`](super::Envelope::split) makes them.
    pub(crate) fn split(&self, protocol: Protocol) -> Option<[Self; 2]> {
        let middle = self.ends.len() / 2;
        if middle == 0 {
            return None;
        }
        let head = self.body.get(..self.spans_start)?;
        let end = self.spans_start + self.ends.last()?.checked_sub(self.base)?;
        let tail = self.body.get(end..)?;
        let half = |range: std::ops::Range<usize>| {
            let mut spans = Vec::new();
            let mut lengths = Vec::new();
            for index in range {
                let before = spans.len();
                if before > 0 && protocol == Protocol::HttpJson {
                    spans.push(b',');
                }
                spans.extend_from_slice(self.span(index)?);
                lengths.push(spans.len() - before);
            }
            let mut body = match protocol {
                Protocol::HttpProtobuf => envelope(head, spans.len())?,
                Protocol::HttpJson => head.to_vec(),
            };
            let start = body.len();
            body.append(&mut spans);
            body.extend_from_slice(tail);
            Self::restore(Bytes::from(body), start, &lengths, self.sessions.clone())
        };
        Some([half(0..middle)?, half(middle..self.ends.len())?])
    }
}

/// The same envelope of protobuf around another number of bytes of spans.
fn envelope(head: &[u8], spans: usize) -> Option<Vec<u8>> {
    const RESOURCE_SPANS: u8 = 0x0a;
    const RESOURCE: u8 = 0x0a;
    const SCOPE_SPANS: u8 = 0x12;

    let (_, rest) = varint(head.strip_prefix(&[RESOURCE_SPANS])?)?;
    let (resource_len, after) = varint(rest.strip_prefix(&[RESOURCE])?)?;
    let resource = rest.get(..rest.len() - after.len() + resource_len)?;
    let rest = rest.get(resource.len()..)?;
    let (_, scope) = varint(rest.strip_prefix(&[SCOPE_SPANS])?)?;

    let scope_spans = scope.len() + spans;
    let mut inner = resource.to_vec();
    inner.push(SCOPE_SPANS);
    put_varint(&mut inner, scope_spans);
    let resource_spans = inner.len() + scope_spans;
    let mut out = vec![RESOURCE_SPANS];
    put_varint(&mut out, resource_spans);
    out.append(&mut inner);
    out.extend_from_slice(scope);
    Some(out)
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::super::{Attribute, Envelope, Scalar, Spare};
    use super::*;

    /// What is encoded does not matter here.
    fn batch(envelope: &Envelope, spans: &[&[u8]]) -> Batch {
        let mut batch = envelope.batch();
        for span in spans {
            batch.push_encoded(span);
        }
        batch.sessions.push(SessionId::random());
        envelope.finish(batch)
    }

    #[test]
    fn halves_are_those_of_the_envelope_that_encoded_it() {
        let long = vec![b'x'; 300];
        let spans: [&[u8]; 5] = [b"one", b"two", &long, b"four", b"5"];
        for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson] {
            for scope in ["honeyhive.1", ""] {
                let envelope = Envelope {
                    protocol,
                    resource: vec![Attribute {
                        prefix: "",
                        name: "service.name".into(),
                        value: Scalar::Text("s".repeat(200).into()),
                    }],
                    scope: scope.to_owned(),
                    scope_attributes: Vec::new(),
                    spare: Spare::default(),
                };
                let batch = batch(&envelope, &spans);
                let restored = Batch::restore(
                    batch.body.clone(),
                    batch.spans_start(),
                    &batch.span_lengths(),
                    batch.sessions.clone(),
                )
                .unwrap();
                let expected = envelope.split(&batch).unwrap();
                let halves = restored.split(protocol).unwrap();
                for (half, expected) in halves.iter().zip(&expected) {
                    assert_eq!(half.body, expected.body, "{protocol:?}");
                    assert_eq!(half.sessions, expected.sessions);
                    assert_eq!(half.len(), expected.len());
                }
                // And once more, down to the single span.
                let [one, _] = halves[1].split(protocol).unwrap();
                let [expected, _] = envelope.split(&expected[1]).unwrap();
                assert_eq!(one.body, expected.body, "{protocol:?}");
                assert!(one.split(protocol).is_none());
            }
        }
        let none = Batch::restore(Bytes::from_static(b"abc"), 1, &[1, 2], Vec::new());
        assert!(none.is_none());
    }
}
