//! A span as it came, as JSON text, for those who want to see what was really sent. Knows only the wire types.

use crate::export::otlp::proto;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The span's own attributes, events, kind and scope as JSON text.
pub(crate) fn span(span: &proto::Span, service: Option<&str>, scope: &str) -> String {
    serde_json::to_string(&Raw {
        span,
        service,
        scope,
    })
    .unwrap_or_else(|_| "{}".to_owned())
}

struct Raw<'a> {
    span: &'a proto::Span,
    service: Option<&'a str>,
    scope: &'a str,
}

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.span.name)?;
        let kind = match self.span.kind {
            1 => "internal",
            2 => "server",
            3 => "client",
            4 => "producer",
            5 => "consumer",
            _ => "unspecified",
        };
        map.serialize_entry("kind", kind)?;
        if !self.scope.is_empty() {
            map.serialize_entry("scope", self.scope)?;
        }
        if let Some(service) = self.service {
            map.serialize_entry("service.name", service)?;
        }
        if let Some(status) = &self.span.status
            && (status.code != 0 || !status.message.is_empty())
        {
            let code = match status.code {
                1 => "ok",
                2 => "error",
                _ => "unset",
            };
            map.serialize_entry("status", code)?;
            map.serialize_entry("status_message", &status.message)?;
        }
        map.serialize_entry("attributes", &Attributes(&self.span.attributes))?;
        if !self.span.events.is_empty() {
            map.serialize_entry("events", &Events(&self.span.events))?;
        }
        map.end()
    }
}

struct Attributes<'a>(&'a [proto::KeyValue]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.iter();
        serializer.collect_map(pairs.map(|pair| (&pair.key, Any(pair.value.as_ref()))))
    }
}

struct Events<'a>(&'a [proto::SpanEvent]);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Event))
    }
}

struct Event<'a>(&'a proto::SpanEvent);

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("time_unix_nano", &self.0.time_unix_nano)?;
        map.serialize_entry("attributes", &Attributes(&self.0.attributes))?;
        map.end()
    }
}

struct Any<'a>(Option<&'a proto::AnyValue>);

impl Serialize for Any<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.and_then(|value| value.value.as_ref()) {
            None => serializer.serialize_unit(),
            Some(proto::Value::String(text)) => serializer.serialize_str(text),
            Some(proto::Value::Bool(value)) => serializer.serialize_bool(*value),
            Some(proto::Value::Int(value)) => serializer.serialize_i64(*value),
            Some(proto::Value::Double(value)) if value.is_finite() => {
                serializer.serialize_f64(*value)
            }
            Some(proto::Value::Double(value)) => serializer.collect_str(value),
            Some(proto::Value::Array(array)) => {
                serializer.collect_seq(array.values.iter().map(|value| Any(Some(value))))
            }
            Some(proto::Value::Map(list)) => Attributes(&list.values).serialize(serializer),
            Some(proto::Value::Bytes(bytes)) => {
                serializer.serialize_str(&super::mapping::hex(bytes))
            }
        }
    }
}
