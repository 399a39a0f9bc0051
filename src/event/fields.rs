//! The fields of a record as typed bytes: written on the instrumented thread, read once by the worker. Knows the
//! callsite's field names, not what they mean.
//!
//! An entry is a byte that says how key and value are written, the key (an index into the callsite's fields, or the
//! text of a name) and the value. An event is an entry that holds the entries of its own fields.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::Metadata;

/// How much a record may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of one value.
    pub(crate) attribute: usize,
    /// Bytes of all fields of a span.
    pub(crate) span: usize,
    /// Events of a span.
    pub(crate) events: u32,
    /// Links of a span.
    pub(crate) links: u32,
}

/// Whose field an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key<'a> {
    /// The index of a field of the callsite.
    Field(u8),
    /// A name made at run time.
    Name(&'a str),
}

/// A value as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    I128(i128),
    U128(u128),
    Str(&'a str),
    /// The output of `Debug` or `Display`; tracing does not tell which.
    Debug(&'a str),
    /// JSON text of a container.
    Json(&'a str),
    /// An error: the name of its type where it is known, and its message.
    Error {
        kind: &'a str,
        message: &'a str,
    },
}

/// What an entry is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    Field(Key<'a>, Value<'a>),
    Event(EventEntry<'a>),
    Link(LinkEntry),
}

/// Another span that this one follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkEntry {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
}

/// A tracing event inside the span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventEntry<'a> {
    /// Which of the record's callsites.
    pub(crate) callsite: u16,
    pub(crate) ticks: u64,
    pub(crate) fields: Reader<'a>,
}

const BY_NAME: u8 = 0x10;
const EVENT: u8 = 0xE0;
const LINK: u8 = 0xE1;

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const I64: u8 = 2;
const U64: u8 = 3;
const F64: u8 = 4;
const I128: u8 = 5;
const U128: u8 = 6;
const STR: u8 = 7;
const DEBUG: u8 = 8;
const JSON: u8 = 9;
const ERROR: u8 = 10;

/// Names longer than this are cut.
const MAX_NAME: usize = 1024;

/// Appends a value that needs no user code. Text over `limit` bytes is cut; the answer says whether it was.
#[inline]
pub(crate) fn put(bytes: &mut Vec<u8>, key: Key<'_>, value: Value<'_>, limit: usize) -> bool {
    match value {
        Value::Bool(value) => put_head(bytes, key, if value { TRUE } else { FALSE }),
        Value::I64(value) => put_fixed(bytes, key, I64, value.to_le_bytes()),
        Value::U64(value) => put_fixed(bytes, key, U64, value.to_le_bytes()),
        Value::F64(value) => put_fixed(bytes, key, F64, value.to_le_bytes()),
        Value::I128(value) => put_fixed(bytes, key, I128, value.to_le_bytes()),
        Value::U128(value) => put_fixed(bytes, key, U128, value.to_le_bytes()),
        Value::Str(text) => return put_text(bytes, key, STR, text, limit),
        Value::Debug(text) => return put_text(bytes, key, DEBUG, text, limit),
        Value::Json(text) => return put_text(bytes, key, JSON, text, limit),
        Value::Error { kind, message } => {
            put_head(bytes, key, ERROR);
            let kind = cut(kind, MAX_NAME);
            bytes.extend_from_slice(&len16(kind).to_le_bytes());
            bytes.extend_from_slice(kind.as_bytes());
            return put_tail(bytes, message, limit);
        }
    }
    false
}

/// Appends a text that is no longer than it may be, under a field of the callsite: what the hot path writes most.
#[inline]
pub(crate) fn put_str(bytes: &mut Vec<u8>, index: u8, text: &str) {
    let [a, b, c, d] = len32(text.len()).to_le_bytes();
    bytes.reserve(6 + text.len());
    bytes.extend_from_slice(&[STR, index, a, b, c, d]);
    bytes.extend_from_slice(text.as_bytes());
}

/// Likewise a value of eight bytes.
#[inline]
fn put_eight(bytes: &mut Vec<u8>, index: u8, kind: u8, value: [u8; 8]) {
    let [a, b, c, d, e, f, g, h] = value;
    bytes.extend_from_slice(&[kind, index, a, b, c, d, e, f, g, h]);
}

#[inline]
pub(crate) fn put_i64(bytes: &mut Vec<u8>, index: u8, value: i64) {
    put_eight(bytes, index, I64, value.to_le_bytes());
}

#[inline]
pub(crate) fn put_u64(bytes: &mut Vec<u8>, index: u8, value: u64) {
    put_eight(bytes, index, U64, value.to_le_bytes());
}

#[inline]
pub(crate) fn put_f64(bytes: &mut Vec<u8>, index: u8, value: f64) {
    put_eight(bytes, index, F64, value.to_le_bytes());
}

#[inline]
pub(crate) fn put_bool(bytes: &mut Vec<u8>, index: u8, value: bool) {
    bytes.extend_from_slice(&[if value { TRUE } else { FALSE }, index]);
}

/// What writing a formatted value came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formatted {
    Whole,
    Cut,
    Panicked,
}

/// Appends what `value` formats to, at most `limit` bytes of it. A value that panics leaves a marker.
pub(crate) fn put_formatted(
    bytes: &mut Vec<u8>,
    key: Key<'_>,
    value: &dyn fmt::Debug,
    limit: usize,
) -> Formatted {
    put_head(bytes, key, DEBUG);
    write_formatted(bytes, format_args!("{value:?}"), limit)
}

/// Appends an error: `kind` and the message that `error` displays.
pub(crate) fn put_error(
    bytes: &mut Vec<u8>,
    key: Key<'_>,
    kind: &str,
    error: &dyn fmt::Display,
    limit: usize,
) -> Formatted {
    put_head(bytes, key, ERROR);
    let kind = cut(kind, MAX_NAME);
    bytes.extend_from_slice(&len16(kind).to_le_bytes());
    bytes.extend_from_slice(kind.as_bytes());
    write_formatted(bytes, format_args!("{error}"), limit)
}

/// Starts an event; [`end_event`] with the answer ends it.
pub(crate) fn begin_event(bytes: &mut Vec<u8>, callsite: u16, ticks: u64) -> usize {
    bytes.push(EVENT);
    bytes.extend_from_slice(&callsite.to_le_bytes());
    bytes.extend_from_slice(&ticks.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.len()
}

/// See [`begin_event`].
pub(crate) fn end_event(bytes: &mut [u8], start: usize) {
    let length = len32(bytes.len().saturating_sub(start));
    patch(bytes, start, length);
}

/// Appends a link.
pub(crate) fn put_link(bytes: &mut Vec<u8>, link: LinkEntry) {
    bytes.push(LINK);
    bytes.extend_from_slice(&link.trace_id.to_le_bytes());
    bytes.extend_from_slice(&link.span_id.to_le_bytes());
}

fn put_head(bytes: &mut Vec<u8>, key: Key<'_>, kind: u8) {
    match key {
        Key::Field(index) => bytes.extend_from_slice(&[kind, index]),
        Key::Name(name) => {
            let name = cut(name, MAX_NAME);
            bytes.reserve(3 + name.len() + 16);
            bytes.push(kind | BY_NAME);
            bytes.extend_from_slice(&len16(name).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
    }
}

fn put_fixed<const N: usize>(bytes: &mut Vec<u8>, key: Key<'_>, kind: u8, value: [u8; N]) {
    // Callsite fields are what the hot path writes: one reservation, no growth in between.
    bytes.reserve(2 + N);
    put_head(bytes, key, kind);
    bytes.extend_from_slice(&value);
}

fn put_text(bytes: &mut Vec<u8>, key: Key<'_>, kind: u8, text: &str, limit: usize) -> bool {
    if let Key::Field(index) = key
        && text.len() <= limit
    {
        let [a, b, c, d] = len32(text.len()).to_le_bytes();
        bytes.reserve(6 + text.len());
        bytes.extend_from_slice(&[kind, index, a, b, c, d]);
        bytes.extend_from_slice(text.as_bytes());
        return false;
    }
    put_head(bytes, key, kind);
    put_tail(bytes, text, limit)
}

fn put_tail(bytes: &mut Vec<u8>, text: &str, limit: usize) -> bool {
    if text.len() <= limit {
        bytes.reserve(4 + text.len());
        bytes.extend_from_slice(&len32(text.len()).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        return false;
    }
    let (kept, marker) = parts(text, limit);
    bytes.extend_from_slice(&len32(kept.len() + marker.len()).to_le_bytes());
    bytes.extend_from_slice(kept.as_bytes());
    bytes.extend_from_slice(marker.as_bytes());
    true
}

/// Writes a length and the text; user code runs inside, so it may panic, and may print without end.
fn write_formatted(bytes: &mut Vec<u8>, text: fmt::Arguments<'_>, limit: usize) -> Formatted {
    bytes.extend_from_slice(&[0; 4]);
    let start = bytes.len();
    let mut writer = Bounded {
        bytes,
        start,
        limit,
        full: false,
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        fmt::Write::write_fmt(&mut writer, text)
    }));
    let full = writer.full;
    let outcome = match outcome {
        Ok(_) if full => {
            bytes.extend_from_slice("… [cut]".as_bytes());
            Formatted::Cut
        }
        Ok(Ok(())) => Formatted::Whole,
        Ok(Err(_)) => {
            bytes.extend_from_slice(b"<formatting failed>");
            Formatted::Whole
        }
        Err(_) => {
            bytes.truncate(start);
            bytes.extend_from_slice(b"<panicked while formatting>");
            Formatted::Panicked
        }
    };
    let length = len32(bytes.len().saturating_sub(start));
    patch(bytes, start, length);
    outcome
}

/// Takes text until it is full, on a character boundary, and refuses the rest: a value that prints a gigabyte costs
/// the limit, not a gigabyte.
struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
    full: bool,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.full {
            return Err(fmt::Error);
        }
        let used = self.bytes.len().saturating_sub(self.start);
        let room = self.limit.saturating_sub(used);
        let kept = cut(text, room);
        self.bytes.extend_from_slice(kept.as_bytes());
        if kept.len() == text.len() {
            return Ok(());
        }
        self.full = true;
        Err(fmt::Error)
    }
}

/// The longest start of `text` that has at most `limit` bytes and ends between characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.get(..end).unwrap_or("")
}

/// `text` cut to `limit` bytes, with a marker at its end.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    let (kept, marker) = parts(text, limit);
    [kept, &marker].concat()
}

/// What is kept of a text that is cut, and what then stands at its end.
fn parts(text: &str, limit: usize) -> (&str, String) {
    let marker = format!("… [cut: {} bytes]", text.len());
    (cut(text, limit.saturating_sub(marker.len())), marker)
}

fn len16(text: &str) -> u16 {
    u16::try_from(text.len()).unwrap_or(u16::MAX)
}

fn len32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Writes `length` into the four bytes before `start`.
fn patch(bytes: &mut [u8], start: usize, length: u32) {
    if let Some(slot) = start.checked_sub(4).and_then(|at| bytes.get_mut(at..start)) {
        slot.copy_from_slice(&length.to_le_bytes());
    }
}

/// Iterates over entries. Bytes that do not parse end it: they are only ever written by this module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(length)?;
        self.bytes = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = tail;
        Some(*head)
    }

    fn text32(&mut self) -> Option<&'a str> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn text16(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        let [op] = self.array()?;
        if op == EVENT {
            let callsite = u16::from_le_bytes(self.array()?);
            let ticks = u64::from_le_bytes(self.array()?);
            let length = u32::from_le_bytes(self.array()?) as usize;
            let fields = Reader::new(self.take(length)?);
            return Some(Entry::Event(EventEntry {
                callsite,
                ticks,
                fields,
            }));
        }
        if op == LINK {
            return Some(Entry::Link(LinkEntry {
                trace_id: u128::from_le_bytes(self.array()?),
                span_id: u64::from_le_bytes(self.array()?),
            }));
        }
        let key = if op & BY_NAME == 0 {
            Key::Field(self.array::<1>()?[0])
        } else {
            Key::Name(self.text16()?)
        };
        let value = match op & 0x0F {
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            I64 => Value::I64(i64::from_le_bytes(self.array()?)),
            U64 => Value::U64(u64::from_le_bytes(self.array()?)),
            F64 => Value::F64(f64::from_le_bytes(self.array()?)),
            I128 => Value::I128(i128::from_le_bytes(self.array()?)),
            U128 => Value::U128(u128::from_le_bytes(self.array()?)),
            STR => Value::Str(self.text32()?),
            DEBUG => Value::Debug(self.text32()?),
            JSON => Value::Json(self.text32()?),
            ERROR => Value::Error {
                kind: self.text16()?,
                message: self.text32()?,
            },
            _ => return None,
        };
        Some(Entry::Field(key, value))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.bytes.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_none() {
            self.bytes = &[];
        }
        entry
    }
}

/// The values of callsite fields, for those who know what becomes of each and need no text checked again. What is none
/// of that is [`PlainValue::Other`], and ends it.
#[derive(Debug)]
pub(crate) struct Plain<'a> {
    reader: Reader<'a>,
}

/// See [`Plain`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PlainValue<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    /// Always UTF-8.
    Str(&'a [u8]),
    /// Likewise.
    Debug(&'a [u8]),
    Other,
}

impl<'a> Plain<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
        }
    }

    #[inline]
    fn value(&mut self, kind: u8) -> Option<PlainValue<'a>> {
        let reader = &mut self.reader;
        Some(match kind {
            FALSE => PlainValue::Bool(false),
            TRUE => PlainValue::Bool(true),
            I64 => PlainValue::Int(i64::from_le_bytes(reader.array()?)),
            U64 => PlainValue::Int(i64::try_from(u64::from_le_bytes(reader.array()?)).ok()?),
            F64 => PlainValue::Double(f64::from_le_bytes(reader.array()?)),
            STR | DEBUG => {
                let length = u32::from_le_bytes(reader.array()?) as usize;
                let text = reader.take(length)?;
                if kind == STR {
                    PlainValue::Str(text)
                } else {
                    PlainValue::Debug(text)
                }
            }
            _ => return None,
        })
    }
}

impl<'a> Iterator for Plain<'a> {
    type Item = (u8, PlainValue<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.bytes.is_empty() {
            return None;
        }
        // Entries by name, events and links have other kinds.
        let Some([kind, index]) = self.reader.array() else {
            return Some((0, PlainValue::Other));
        };
        Some((index, self.value(kind).unwrap_or(PlainValue::Other)))
    }
}

/// The name of a field of a callsite.
pub(crate) fn field_name(meta: &Metadata<'static>, index: u8) -> &'static str {
    meta.fields()
        .iter()
        .nth(usize::from(index))
        .map_or("", |field| field.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<(String, String)> {
        Reader::new(bytes)
            .map(|entry| match entry {
                Entry::Field(key, value) => (format!("{key:?}"), format!("{value:?}")),
                Entry::Event(event) => (
                    format!("event {}@{}", event.callsite, event.ticks),
                    format!("{}", event.fields.count()),
                ),
                Entry::Link(link) => (format!("{link:?}"), String::new()),
            })
            .collect()
    }

    #[test]
    fn what_is_put_is_read() {
        let mut bytes = Vec::new();
        let values = [
            Value::Bool(true),
            Value::Bool(false),
            Value::I64(-3),
            Value::U64(u64::MAX),
            Value::F64(0.5),
            Value::I128(i128::MIN),
            Value::U128(u128::MAX),
            Value::Str("héllo"),
            Value::Debug(""),
            Value::Json("{}"),
            Value::Error {
                kind: "E",
                message: "m",
            },
        ];
        for (index, value) in values.iter().enumerate() {
            put(&mut bytes, Key::Field(index as u8), *value, 100);
            put(&mut bytes, Key::Name("a.b"), *value, 100);
        }
        let start = begin_event(&mut bytes, 3, 99);
        put(&mut bytes, Key::Field(0), Value::Bool(true), 100);
        end_event(&mut bytes, start);
        let link = LinkEntry {
            trace_id: 1 << 100,
            span_id: 9,
        };
        put_link(&mut bytes, link);

        let mut expected = Vec::new();
        for (index, value) in values.iter().enumerate() {
            expected.push((format!("Field({index})"), format!("{value:?}")));
            expected.push(("Name(\"a.b\")".to_owned(), format!("{value:?}")));
        }
        expected.push(("event 3@99".to_owned(), "1".to_owned()));
        expected.push((format!("{link:?}"), String::new()));
        assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn long_text_is_cut_between_characters_with_a_marker() {
        let mut bytes = Vec::new();
        assert!(put(
            &mut bytes,
            Key::Field(0),
            Value::Str(&"ü".repeat(100)),
            60
        ));
        let Some(Entry::Field(_, Value::Str(text))) = Reader::new(&bytes).next() else {
            panic!("no text")
        };
        assert!(
            text.len() <= 60 && text.ends_with("[cut: 200 bytes]"),
            "{text}"
        );
    }

    #[test]
    fn a_value_that_prints_without_end_costs_the_limit() {
        struct Endless;
        impl fmt::Debug for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("0123456789")?;
                }
            }
        }
        let mut bytes = Vec::new();
        assert_eq!(
            put_formatted(&mut bytes, Key::Field(0), &Endless, 1000),
            Formatted::Cut
        );
        assert!(
            bytes.len() < 1100 && bytes.capacity() < 4096,
            "{}",
            bytes.capacity()
        );
    }

    #[test]
    fn a_value_that_panics_leaves_a_marker() {
        struct Panics;
        impl fmt::Debug for Panics {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("half")?;
                panic!("in Debug")
            }
        }
        let mut bytes = Vec::new();
        assert_eq!(
            put_formatted(&mut bytes, Key::Field(0), &Panics, 1000),
            Formatted::Panicked
        );
        assert_eq!(read(&bytes)[0].1, "Debug(\"<panicked while formatting>\")");
    }
}
