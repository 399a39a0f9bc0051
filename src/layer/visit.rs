//! From the fields of tracing to the entries of a record. User code (`Debug`, `Display`) runs here and nowhere else on
//! the path; no lock is held while it does.

use std::cell::Cell;
use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::span::Attributes;

use crate::event::content::{self, NOT_CAPTURED};
use crate::event::fields::{self, Formatted, Key, Value};
use crate::id::SessionId;

thread_local! {
    static FORMATTING: Cell<bool> = const { Cell::new(false) };
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Whether user code of a value is running: spans it opens are not recorded, or formatting one could go on forever.
pub(crate) fn is_formatting() -> bool {
    FORMATTING.try_with(Cell::get).unwrap_or(true)
}

/// What was so before: user code may come back here while it is formatted.
struct Formatting(bool);

impl Formatting {
    fn enter() -> Self {
        Self(
            FORMATTING
                .try_with(|formatting| formatting.replace(true))
                .unwrap_or(true),
        )
    }
}

impl Drop for Formatting {
    fn drop(&mut self) {
        let _ = FORMATTING.try_with(|formatting| formatting.set(self.0));
    }
}

/// Scratch buffers larger than this are not kept.
const KEPT: usize = 64 * 1024;

/// A buffer of the thread, taken out of it while it is used: user code may come back here.
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.clear();
    let result = f(&mut scratch);
    if scratch.capacity() <= KEPT {
        let _ = SCRATCH.try_with(|cell| cell.set(scratch));
    }
    result
}

/// Runs user code that may record into a scratch buffer.
pub(crate) fn formatting<R>(f: impl FnOnce() -> R) -> R {
    let _formatting = Formatting::enter();
    f()
}

/// Writes fields as entries.
#[derive(Debug)]
pub(crate) struct Visitor<'a> {
    bytes: &'a mut Vec<u8>,
    limit: usize,
    /// Values that were cut or panicked.
    pub(crate) cut: u32,
    /// The session that a field asks for.
    pub(crate) session: Option<SessionId>,
    /// Whether content is recorded; known content is not even formatted otherwise.
    pub(crate) content: bool,
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(bytes: &'a mut Vec<u8>, limit: usize) -> Self {
        Self {
            bytes,
            limit,
            cut: 0,
            session: None,
            content: true,
        }
    }

    fn put(&mut self, field: &Field, value: Value<'_>) {
        let value = if self.omits(field) {
            Value::Str(NOT_CAPTURED)
        } else {
            value
        };
        if fields::put(self.bytes, key(field), value, self.limit) {
            self.cut += 1;
        }
    }

    fn formatted(&mut self, formatted: Formatted) {
        if formatted != Formatted::Whole {
            self.cut += 1;
        }
    }

    fn omits(&self, field: &Field) -> bool {
        !self.content && content::is_content(field.name())
    }
}

fn key(field: &Field) -> Key<'static> {
    match u8::try_from(field.index()) {
        Ok(index) => Key::Field(index),
        Err(_) => Key::Name(field.name()),
    }
}

fn is_session(field: &Field) -> bool {
    matches!(
        field.name(),
        "honeyhive.session_id" | "honeyhive_session_id"
    )
}

impl Visitor<'_> {
    /// The field's number, where its value is written as it is.
    #[inline]
    fn plain(&self, field: &Field) -> Option<u8> {
        u8::try_from(field.index()).ok().filter(|_| self.content)
    }
}

/// The fields whose values need no user code.
macro_rules! put_scalars {
    () => {
        put_scalars! {
            record_bool(bool) => Bool,
            record_i64(i64) => I64,
            record_u64(u64) => U64,
            record_i128(i128) => I128,
            record_u128(u128) => U128,
            record_f64(f64) => F64,
        }
    };
    ($($method:ident($type:ty) => $variant:ident $(by $short:ident)?,)*) => {
        $(fn $method(&mut self, field: &Field, value: $type) {
            $(if let Some(index) = self.plain(field) {
                return fields::$short(self.bytes, index, value);
            })?
            self.put(field, Value::$variant(value));
        })*
    };
}

impl Visit for Visitor<'_> {
    put_scalars! {
        record_bool(bool) => Bool by put_bool,
        record_i64(i64) => I64 by put_i64,
        record_u64(u64) => U64 by put_u64,
        record_i128(i128) => I128,
        record_u128(u128) => U128,
        record_f64(f64) => F64 by put_f64,
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // The length tells most texts from an id without looking at the field's name.
        if matches!(value.len(), 32..=48) && is_session(field) {
            self.session = SessionId::parse(value).ok();
        }
        if let Some(index) = self.plain(field)
            && value.len() <= self.limit
        {
            return fields::put_str(self.bytes, index, value);
        }
        self.put(field, Value::Str(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let _formatting = Formatting::enter();
        let kind = type_of_error(value);
        let formatted = fields::put_error(self.bytes, key(field), &kind, &value, self.limit);
        self.formatted(formatted);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.omits(field) {
            self.put(field, Value::Str(NOT_CAPTURED));
            return;
        }
        let _formatting = Formatting::enter();
        let start = self.bytes.len();
        let formatted = fields::put_formatted(self.bytes, key(field), value, self.limit);
        self.formatted(formatted);
        if is_session(field)
            && let Some(fields::Entry::Field(_, Value::Debug(text))) =
                fields::Reader::new(self.bytes.get(start..).unwrap_or_default()).next()
        {
            self.session = SessionId::parse(text.trim_matches('"')).ok();
        }
    }
}

/// The name at the start of what `Debug` prints: the type of a struct, the variant of an enum. Nothing where it is no
/// name.
fn type_of_error(error: &(dyn Error + 'static)) -> String {
    let mut bytes = Vec::new();
    let _ = fields::put_formatted(&mut bytes, Key::Field(0), &error, 128);
    let Some(fields::Entry::Field(_, Value::Debug(text))) = fields::Reader::new(&bytes).next()
    else {
        return String::new();
    };
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let plausible = name.starts_with(char::is_uppercase)
        && (rest.is_empty() || rest.starts_with([' ', '(', '{']));
    if plausible {
        name.to_owned()
    } else {
        String::new()
    }
}

/// What a span that may be left out says of itself when it is made.
#[derive(Debug, Default)]
pub(crate) struct Given {
    event_name: Option<String>,
    otel_name: Option<String>,
    /// The session that a field asks for.
    pub(crate) session: Option<SessionId>,
}

impl Given {
    pub(crate) fn of(attributes: &Attributes<'_>) -> Self {
        let mut given = Self::default();
        attributes.record(&mut given);
        given
    }

    /// The name of the event, as far as it is known by now.
    pub(crate) fn name(&self) -> Option<&str> {
        self.event_name.as_deref().or(self.otel_name.as_deref())
    }

    fn take(&mut self, field: &Field, text: &str) {
        let some = || Some(text.to_owned()).filter(|text| !text.trim().is_empty());
        match field.name() {
            "honeyhive.event_name" | "honeyhive_event_name" => self.event_name = some(),
            "otel.name" => self.otel_name = some(),
            _ if is_session(field) => self.session = SessionId::parse(text).ok(),
            _ => {}
        }
    }
}

impl Visit for Given {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let names = ["honeyhive.event_name", "honeyhive_event_name", "otel.name"];
        if !names.contains(&field.name()) && !is_session(field) {
            return;
        }
        let _formatting = Formatting::enter();
        let mut bytes = Vec::new();
        let _ = fields::put_formatted(&mut bytes, Key::Field(0), value, 1024);
        if let Some(fields::Entry::Field(_, Value::Debug(text))) =
            fields::Reader::new(&bytes).next()
        {
            self.take(field, text.trim_matches('"'));
        }
    }
}

/// Takes from an event that is no error what is meant for its span: `return`, and the fields of known conventions.
#[derive(Debug)]
pub(crate) struct Selected<'a> {
    bytes: &'a mut Vec<u8>,
    limit: usize,
    pub(crate) cut: u32,
    /// As in [`Visitor`].
    pub(crate) content: bool,
}

impl<'a> Selected<'a> {
    pub(crate) fn new(bytes: &'a mut Vec<u8>, limit: usize) -> Self {
        Self {
            bytes,
            limit,
            cut: 0,
            content: true,
        }
    }

    fn put(&mut self, field: &Field, value: Value<'_>) {
        if let Some(name) = selected_name(field.name())
            && (self.content || !content::is_content(name))
            && fields::put(self.bytes, Key::Name(name), value, self.limit)
        {
            self.cut += 1;
        }
    }
}

/// The name under which a field of an event is recorded on its span.
pub(crate) fn selected_name(name: &str) -> Option<&str> {
    match name {
        "return" => Some("honeyhive_outputs.result"),
        _ if name.starts_with("honeyhive")
            || name.starts_with("gen_ai.")
            || name.starts_with("langfuse.") =>
        {
            Some(name)
        }
        _ => None,
    }
}

impl Visit for Selected<'_> {
    put_scalars!();

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::Str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let Some(name) = selected_name(field.name()) else {
            return;
        };
        if !self.content && content::is_content(name) {
            return;
        }
        let _formatting = Formatting::enter();
        let formatted = fields::put_formatted(self.bytes, Key::Name(name), value, self.limit);
        if formatted != Formatted::Whole {
            self.cut += 1;
        }
    }
}
