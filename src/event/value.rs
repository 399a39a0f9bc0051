//! Anything `Serialize` as an entry of a record, bounded and without panics. Knows nothing of names on the wire.
//!
//! A number, a boolean and a text keep their type; everything else becomes JSON text, which the worker takes apart.

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::ser::{Impossible, Serialize, Serializer};
use serde_json::ser::Formatter;

use super::fields::{self, Key, Value, cut};
use crate::sync::contained;

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Whole,
    /// `None` and unit: there is nothing to record.
    Absent,
    Cut,
    /// The value's own `Serialize` failed or panicked; a marker stands in its place.
    Failed,
}

/// Appends `value` under `key`, at most `limit` bytes of it.
pub(crate) fn put<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    key: &str,
    value: &T,
    limit: usize,
) -> Outcome {
    let start = bytes.len();
    let outcome = contained(|| match value.serialize(Scalar { bytes, key, limit }) {
        Err(NotScalar::Container) => put_json(bytes, key, value, limit),
        Err(NotScalar::Failed(message)) => Err(message),
        Ok(outcome) => Ok(outcome),
    });
    let marker = match outcome {
        Ok(Ok(outcome)) => return outcome,
        Ok(Err(message)) => format!("<serialization failed: {}>", cut(&message, 256)),
        Err(_) => "<panicked while serializing>".to_owned(),
    };
    bytes.truncate(start);
    fields::put(bytes, Key::Name(key), Value::Str(&marker), limit);
    Outcome::Failed
}

fn put_json<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    key: &str,
    value: &T,
    limit: usize,
) -> Result<Outcome, String> {
    let mut writer = Bounded {
        text: Vec::new(),
        limit,
        full: false,
    };
    let mut serializer = serde_json::Serializer::with_formatter(&mut writer, Exact);
    let result = value.serialize(&mut serializer);
    if writer.full {
        // No longer JSON, but still worth reading.
        let text = String::from_utf8_lossy(&writer.text);
        let text = format!("{}… [cut]", cut(&text, limit.saturating_sub(16)));
        fields::put(bytes, Key::Name(key), Value::Str(&text), usize::MAX);
        return Ok(Outcome::Cut);
    }
    result.map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(&writer.text).map_err(|error| error.to_string())?;
    fields::put(bytes, Key::Name(key), Value::Json(text), usize::MAX);
    Ok(Outcome::Whole)
}

/// The objects that were written to one bucket as one: of two writes of a key the later counts. Nothing, if they are
/// not all objects.
pub(crate) fn merged(writes: &[&str]) -> Option<serde_json::Map<String, serde_json::Value>> {
    let mut all = serde_json::Map::new();
    for text in writes {
        match serde_json::from_str(text) {
            Ok(serde_json::Value::Object(map)) => all.extend(map),
            _ => return None,
        }
    }
    Some(all)
}

/// JSON whose integers survive being read again, as text where they have more than 64 bits; bytes are text too.
struct Exact;

impl Formatter for Exact {
    fn write_i128<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: i128) -> io::Result<()> {
        match i64::try_from(value) {
            Ok(value) => write!(writer, "{value}"),
            Err(_) => write!(writer, "\"{value}\""),
        }
    }

    fn write_u128<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: u128) -> io::Result<()> {
        match u64::try_from(value) {
            Ok(value) => write!(writer, "{value}"),
            Err(_) => write!(writer, "\"{value}\""),
        }
    }

    fn write_byte_array<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        value: &[u8],
    ) -> io::Result<()> {
        serde_json::to_writer(writer, &*bytes_as_text(value)).map_err(io::Error::from)
    }
}

/// Bytes as what they say, if that is UTF-8, else in base64.
fn bytes_as_text(bytes: &[u8]) -> Cow<'_, str> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let three = [0, 1, 2].map(|at| group.get(at).copied().unwrap_or(0));
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) as usize & 63;
            let letter = ALPHABET.get(index).copied().unwrap_or(b'A');
            text.push(if place <= group.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    Cow::Owned(text)
}

/// A writer that keeps the first `limit` bytes and refuses the rest.
struct Bounded {
    text: Vec<u8>,
    limit: usize,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let room = self.limit.saturating_sub(self.text.len());
        let kept = part.get(..room).unwrap_or(part);
        self.text.extend_from_slice(kept);
        if kept.len() < part.len() {
            self.full = true;
            return Err(io::Error::other("full"));
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a scalar as it is; a container is left to serde_json before any of it has been read.
struct Scalar<'a> {
    bytes: &'a mut Vec<u8>,
    key: &'a str,
    limit: usize,
}

impl Scalar<'_> {
    fn put(self, value: Value<'_>) -> Result<Outcome, NotScalar> {
        let cut = fields::put(self.bytes, Key::Name(self.key), value, self.limit);
        Ok(if cut { Outcome::Cut } else { Outcome::Whole })
    }
}

#[derive(Debug)]
enum NotScalar {
    Container,
    Failed(String),
}

impl fmt::Display for NotScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container => f.write_str("a container"),
            Self::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for NotScalar {}

impl serde::ser::Error for NotScalar {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Failed(message.to_string())
    }
}

macro_rules! scalars {
    ($($method:ident($type:ty) => $variant:ident),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<Outcome, NotScalar> {
            self.put(Value::$variant(value.into()))
        })*
    };
}

type No = Impossible<Outcome, NotScalar>;

impl Serializer for Scalar<'_> {
    type Ok = Outcome;
    type Error = NotScalar;
    type SerializeSeq = No;
    type SerializeTuple = No;
    type SerializeTupleStruct = No;
    type SerializeTupleVariant = No;
    type SerializeMap = No;
    type SerializeStruct = No;
    type SerializeStructVariant = No;

    scalars! {
        serialize_bool(bool) => Bool,
        serialize_i8(i8) => I64,
        serialize_i16(i16) => I64,
        serialize_i32(i32) => I64,
        serialize_i64(i64) => I64,
        serialize_i128(i128) => I128,
        serialize_u8(u8) => U64,
        serialize_u16(u16) => U64,
        serialize_u32(u32) => U64,
        serialize_u64(u64) => U64,
        serialize_u128(u128) => U128,
        serialize_f64(f64) => F64,
        serialize_str(&str) => Str,
    }

    fn serialize_f32(self, value: f32) -> Result<Outcome, NotScalar> {
        // By way of its shortest text, so that 0.1 stays 0.1.
        let wide = value
            .to_string()
            .parse()
            .unwrap_or_else(|_| f64::from(value));
        self.put(Value::F64(wide))
    }

    fn serialize_char(self, value: char) -> Result<Outcome, NotScalar> {
        self.put(Value::Str(value.encode_utf8(&mut [0; 4])))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Outcome, NotScalar> {
        self.put(Value::Str(&bytes_as_text(value)))
    }

    fn serialize_none(self) -> Result<Outcome, NotScalar> {
        Ok(Outcome::Absent)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Outcome, NotScalar> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Outcome, NotScalar> {
        Ok(Outcome::Absent)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Outcome, NotScalar> {
        Ok(Outcome::Absent)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Outcome, NotScalar> {
        self.put(Value::Str(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Outcome, NotScalar> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Outcome, NotScalar> {
        Err(NotScalar::Container)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<No, NotScalar> {
        Err(NotScalar::Container)
    }

    fn serialize_tuple(self, _: usize) -> Result<No, NotScalar> {
        Err(NotScalar::Container)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<No, NotScalar> {
        Err(NotScalar::Container)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<No, NotScalar> {
        Err(NotScalar::Container)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<No, NotScalar> {
        Err(NotScalar::Container)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<No, NotScalar> {
        Err(NotScalar::Container)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<No, NotScalar> {
        Err(NotScalar::Container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::fields::{Entry, Reader};
    use serde::ser::Error;

    fn of<T: Serialize>(value: T) -> (Outcome, Option<String>) {
        let mut bytes = Vec::new();
        let outcome = put(&mut bytes, "k", &value, 100);
        let value = Reader::new(&bytes).next().map(|entry| match entry {
            Entry::Field(key, value) => {
                assert_eq!(key, Key::Name("k"));
                format!("{value:?}")
            }
            other => panic!("{other:?}"),
        });
        (outcome, value)
    }

    #[test]
    fn scalars_keep_their_type_and_containers_become_json() {
        #[derive(serde::Serialize)]
        enum Colour {
            Red,
            Mix(u8, u8),
        }
        #[derive(serde::Serialize)]
        struct Wrapped(f32);
        let whole = |text: &str| (Outcome::Whole, Some(text.to_owned()));
        assert_eq!(of(1_u8), whole("U64(1)"));
        assert_eq!(of(-1), whole("I64(-1)"));
        assert_eq!(of(Wrapped(0.1)), whole("F64(0.1)"));
        assert_eq!(of(Some("x")), whole("Str(\"x\")"));
        assert_eq!(of(None::<u8>), (Outcome::Absent, None));
        assert_eq!(of(Colour::Red), whole("Str(\"Red\")"));
        assert_eq!(
            of(Colour::Mix(1, 2)),
            whole("Json(\"{\\\"Mix\\\":[1,2]}\")")
        );
        assert_eq!(
            of(u128::MAX),
            whole("U128(340282366920938463463374607431768211455)")
        );
        assert_eq!(of([f64::NAN]), whole("Json(\"[null]\")"));
        assert_eq!(
            of([u128::MAX, 1]),
            whole("Json(\"[\\\"340282366920938463463374607431768211455\\\",1]\")")
        );
        assert_eq!(
            of([i128::from(i64::MIN)]),
            whole("Json(\"[-9223372036854775808]\")")
        );
    }

    #[test]
    fn bytes_are_text() {
        for (bytes, text) in [
            (b"hi" as &[u8], "hi"),
            (&[0xff], "/w=="),
            (&[0xff, 0xfe], "//4="),
            (&[0xff, 0xfe, 0x01], "//4B"),
            (&[0xff, 0xfe, 0x01, 0x00], "//4BAA=="),
        ] {
            assert_eq!(bytes_as_text(bytes), text);
        }
        struct Bytes(&'static [u8]);
        impl Serialize for Bytes {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_bytes(self.0)
            }
        }
        assert_eq!(of(Bytes(b"hi")).1.unwrap(), "Str(\"hi\")");
        assert_eq!(of([Bytes(&[0xff])]).1.unwrap(), "Json(\"[\\\"/w==\\\"]\")");
    }

    #[test]
    fn what_cannot_be_serialized_leaves_a_marker() {
        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(S::Error::custom("no way"))
            }
        }
        struct Panics;
        impl Serialize for Panics {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                panic!("in Serialize")
            }
        }
        for (outcome, text) in [of(Fails), of([Fails]), of(Panics), of([Panics])] {
            assert_eq!(outcome, Outcome::Failed);
            assert!(text.unwrap().contains("serializ"));
        }
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let (outcome, text) = of("x".repeat(1000));
        assert_eq!(outcome, Outcome::Cut);
        assert!(text.unwrap().len() < 120);
        let (outcome, text) = of(vec!["ü"; 1000]);
        assert_eq!(outcome, Outcome::Cut);
        assert!(text.unwrap().contains("[cut]"));
    }
}
