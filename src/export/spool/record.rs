//! How records lie in a file: a header with both lengths and two checksums, then what is known of the body, then the
//! body. Pure. Knows nothing of files, nor of what bodies are.
//!
//! ```text
//!  0  magic        4 bytes, the first of which occurs in no UTF-8 text
//!  4  version      1
//!  5  kind
//!  6  (zero)       2 bytes
//!  8  meta length  little-endian, as all numbers
//! 12  body length
//! 16  CRC-32 of meta and body
//! 20  CRC-32 of the position in the file and of the header so far
//! 24  meta, body
//! ```
//!
//! As the position is part of the checksum, a copy of a record inside of a body is never taken for one.

use std::ops::Range;

use crc32fast::Hasher;

/// The bytes in front of meta and body.
pub(crate) const HEADER: usize = 24;
const MAGIC: [u8; 4] = *b"\xf5HHS";
const VERSION: u8 = 1;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A batch of spans.
    Spans = 1,
    /// An update of an event or of a session.
    Update = 2,
    /// Everything before the position that is its body has been delivered.
    Delivered = 3,
}

impl Kind {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Spans),
            2 => Some(Self::Update),
            3 => Some(Self::Delivered),
            _ => None,
        }
    }
}

/// Header and meta of a record that starts at `position`; its body comes right after. `None`: it is too large.
pub(crate) fn head(position: u64, kind: Kind, meta: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let meta_len = u32::try_from(meta.len()).ok()?;
    let body_len = u32::try_from(body.len()).ok()?;
    let mut out = Vec::with_capacity(HEADER + meta.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
    out.extend_from_slice(&meta_len.to_le_bytes());
    out.extend_from_slice(&body_len.to_le_bytes());
    out.extend_from_slice(&payload_checksum(meta, body).to_le_bytes());
    let checksum = header_checksum(position, &out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(meta);
    Some(out)
}

fn payload_checksum(meta: &[u8], body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(meta);
    hasher.update(body);
    hasher.finalize()
}

fn header_checksum(position: u64, header: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&position.to_le_bytes());
    hasher.update(header);
    hasher.finalize()
}

/// Where a whole record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) meta: Range<usize>,
    pub(crate) body: Range<usize>,
}

impl Place {
    /// Where the next record starts.
    pub(crate) const fn end(&self) -> usize {
        self.body.end
    }
}

/// Reads the records of a file, and goes on behind what cannot be read.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How often something had to be left out.
    pub(crate) corrupt: u64,
    /// Where a record starts that was not written to its end; nothing comes after it.
    pub(crate) torn: Option<usize>,
}

struct Header {
    kind: Option<Kind>,
    meta: usize,
    body: usize,
    payload: u32,
}

impl<'a> Scan<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            corrupt: 0,
            torn: None,
        }
    }

    fn header(&self, at: usize) -> Option<Header> {
        let header: &[u8; HEADER] = self.bytes.get(at..)?.first_chunk()?;
        let [m0, m1, m2, m3, version, kind, z0, z1, rest @ ..] = header;
        let number = |at: usize| -> Option<u32> {
            let bytes: &[u8; 4] = rest.get(at..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        let position = u64::try_from(at).ok()?;
        if [*m0, *m1, *m2, *m3] != MAGIC
            || number(12)? != header_checksum(position, header.get(..HEADER - 4)?)
        {
            return None;
        }
        let known = *version == VERSION && [*z0, *z1] == [0, 0];
        Some(Header {
            kind: Kind::of(*kind).filter(|_| known),
            meta: usize::try_from(number(0)?).ok()?,
            body: usize::try_from(number(4)?).ok()?,
            payload: number(8)?,
        })
    }

    /// The next position after the present one at which a header stands.
    fn resynchronise(&self) -> Option<usize> {
        let mut from = self.at + 1;
        loop {
            let found = from + memchr::memmem::find(self.bytes.get(from..)?, &MAGIC)?;
            if self.header(found).is_some() {
                return Some(found);
            }
            from = found + 1;
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        loop {
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
            let Some(header) = self.header(self.at) else {
                if let Some(next) = self.resynchronise() {
                    self.corrupt += 1;
                    self.at = next;
                    continue;
                }
                // A write that was cut short leaves the start of a header, or blocks that were never filled.
                if rest.len() >= HEADER && rest.iter().any(|byte| *byte != 0) {
                    self.corrupt += 1;
                }
                self.torn = Some(self.at);
                self.at = self.bytes.len();
                return None;
            };
            let meta = self.at + HEADER;
            let body = meta.saturating_add(header.meta);
            let end = body.saturating_add(header.body);
            let Some(payload) = self.bytes.get(meta..end) else {
                self.torn = Some(self.at);
                self.at = self.bytes.len();
                return None;
            };
            self.at = end;
            if let Some(kind) = header.kind
                && crc32fast::hash(payload) == header.payload
            {
                let (meta, body) = (meta..body, body..end);
                return Some(Place { kind, meta, body });
            }
            self.corrupt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Plain = (Kind, Vec<u8>, Vec<u8>);

    fn file(records: &[Plain]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (kind, meta, body) in records {
            let head = head(bytes.len() as u64, *kind, meta, body).unwrap();
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(body);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> (Vec<Plain>, u64, Option<usize>) {
        let mut scan = Scan::new(bytes);
        let mut found = Vec::new();
        for place in scan.by_ref() {
            let part = |range: Range<usize>| bytes[range].to_vec();
            found.push((place.kind, part(place.meta), part(place.body)));
        }
        (found, scan.corrupt, scan.torn)
    }

    fn sample() -> Vec<Plain> {
        // A body that looks like a record, one that is empty, and one that ends with a magic.
        let (copy, _) = file(&[(Kind::Spans, b"{}".to_vec(), b"copied".to_vec())]);
        vec![
            (Kind::Spans, b"{\"a\":1}".to_vec(), copy),
            (Kind::Update, Vec::new(), Vec::new()),
            (Kind::Delivered, Vec::new(), 7_u64.to_le_bytes().to_vec()),
            (Kind::Spans, b"x".to_vec(), [&[1; 40][..], &MAGIC].concat()),
            (Kind::Spans, b"last".to_vec(), vec![0; 64]),
        ]
    }

    #[test]
    fn every_prefix_gives_the_records_that_were_written_whole() {
        let records = sample();
        let (bytes, ends) = file(&records);
        for length in 0..=bytes.len() {
            let (found, corrupt, torn) = read(&bytes[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(found, records[..whole], "{length} bytes");
            assert_eq!(corrupt, 0, "{length} bytes");
            let start = whole.checked_sub(1).map_or(0, |last| ends[last]);
            assert_eq!(torn, (start < length).then_some(start), "{length} bytes");
        }
    }

    #[test]
    fn every_flipped_byte_costs_its_own_record_and_no_other() {
        let records = sample();
        let (bytes, ends) = file(&records);
        for position in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[position] ^= flip;
                let hit = ends.iter().filter(|end| **end <= position).count();
                let mut expected = records.clone();
                expected.remove(hit);
                let (found, corrupt, _) = read(&damaged);
                assert_eq!(found, expected, "byte {position}");
                assert_eq!(corrupt, 1, "byte {position}");
            }
        }
    }

    #[test]
    fn blocks_that_were_never_filled_are_a_torn_tail() {
        let (mut bytes, ends) = file(&sample());
        bytes.extend([0; 4096]);
        let (found, corrupt, torn) = read(&bytes);
        assert_eq!((found, corrupt, torn), (sample(), 0, ends.last().copied()));
    }

    fn plain() -> impl Strategy<Value = Plain> {
        let kind = prop_oneof![Just(Kind::Spans), Just(Kind::Update), Just(Kind::Delivered)];
        let bytes = || {
            let magic = Just(MAGIC.to_vec());
            prop_oneof![4 => proptest::collection::vec(any::<u8>(), 0..60), 1 => magic]
        };
        (kind, bytes(), bytes())
    }

    /// What may happen to a file.
    #[derive(Clone, Debug)]
    enum Harm {
        Cut(prop::sample::Index),
        Flip(prop::sample::Index, u8),
        Erase(prop::sample::Index, usize),
    }

    fn harm() -> impl Strategy<Value = Harm> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            index().prop_map(Harm::Cut),
            (index(), 1_u8..).prop_map(|(at, with)| Harm::Flip(at, with)),
            (index(), 1_usize..80).prop_map(|(at, length)| Harm::Erase(at, length)),
        ]
    }

    proptest! {
        /// The model: what was not touched is read, in order; nothing is made up.
        #[test]
        fn what_is_whole_is_read(records in proptest::collection::vec(plain(), 0..8), harms in proptest::collection::vec(harm(), 0..4)) {
            let (mut bytes, ends) = file(&records);
            let original = bytes.clone();
            for harm in harms {
                if bytes.is_empty() {
                    break;
                }
                match harm {
                    Harm::Cut(at) => bytes.truncate(at.index(bytes.len())),
                    Harm::Flip(at, with) => {
                        let at = at.index(bytes.len());
                        bytes[at] ^= with;
                    }
                    Harm::Erase(at, length) => {
                        let at = at.index(bytes.len());
                        let end = (at + length).min(bytes.len());
                        bytes[at..end].fill(0);
                    }
                }
            }
            let mut expected = Vec::new();
            let mut start = 0;
            for (record, end) in records.iter().zip(ends) {
                if bytes.get(start..end) == Some(&original[start..end]) {
                    expected.push(record.clone());
                }
                start = end;
            }
            let untouched = bytes == original;
            let (found, corrupt, torn) = read(&bytes);
            prop_assert_eq!(found, expected);
            prop_assert!(!untouched || corrupt == 0 && torn.is_none());
        }

        #[test]
        fn anything_can_be_scanned(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (_, _, torn) = read(&bytes);
            prop_assert!(torn.is_none_or(|at| at < bytes.len()));
        }
    }
}
