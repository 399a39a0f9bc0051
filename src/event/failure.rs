//! Whether a span failed, told from its record on the thread that closed it. The worker, which also says how, reads the
//! same fields in the same way.

use tracing::Level;

use super::SpanRecord;
use super::fields::{Entry, Key, Reader, Value, field_name};

/// Whether the event of this record will have an error.
pub(crate) fn is_failed(record: &SpanRecord) -> bool {
    let mut explicit = false;
    let mut field = false;
    let mut field_kind = false;
    let mut kind = false;
    let mut event = false;
    let mut status = None;
    for entry in Reader::new(&record.fields) {
        let (key, value) = match entry {
            Entry::Field(Key::Field(index), value) => (field_name(record.head.meta, index), value),
            Entry::Field(Key::Name(name), value) => (name, value),
            Entry::Event(entry) => {
                let callsite = record.callsites.get(usize::from(entry.callsite));
                event |= callsite.is_some_and(|meta| *meta.level() == Level::ERROR);
                continue;
            }
            Entry::Link(_) => continue,
        };
        match key {
            "honeyhive_error" | "honeyhive.error" => explicit = is_something(value),
            "error" | "error.message" | "exception.message" => {
                field = is_something(value);
                field_kind = matches!(value, Value::Error { kind, .. } if !kind.is_empty());
            }
            "error.type" | "exception.type" | "honeyhive_error_type" | "honeyhive.error_type" => {
                kind = is_something(value);
            }
            "otel.status_code" => status = status_of(value).or(status),
            _ => {}
        }
    }
    if explicit {
        return true;
    }
    match status {
        Some(fine) => !fine,
        None => field || field_kind || kind || event || record.head.panicked,
    }
}

fn is_something(value: Value<'_>) -> bool {
    let text = match value {
        Value::Str(text) | Value::Json(text) => text,
        Value::Debug(text) | Value::Error { message: text, .. } => text.trim_matches('"'),
        Value::Bool(value) => return value,
        _ => return true,
    };
    !text.trim().is_empty() && text != "false"
}

/// What `otel.status_code` says: fine, failed, or nothing.
fn status_of(value: Value<'_>) -> Option<bool> {
    let (Value::Str(text) | Value::Debug(text)) = value else {
        return None;
    };
    let text = text.trim_matches('"');
    if text.eq_ignore_ascii_case("error") {
        Some(false)
    } else if text.eq_ignore_ascii_case("ok") {
        Some(true)
    } else {
        None
    }
}
