//! OTLP trace messages as prost types, which read the JSON forms too. Knows nothing of what is done with them.
//!
//! Two JSON forms are read by the same types: the standard mapping (numeric enums) and the one HoneyHive's SDKs send
//! (enum names, `null` for an absent parent, integers as text).

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    #[serde(alias = "resource_spans", deserialize_with = "nullable")]
    pub(crate) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(crate) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    #[serde(alias = "scope_spans", deserialize_with = "nullable")]
    pub(crate) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(crate) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(crate) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) spans: Vec<Span>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(crate) struct Scope {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) version: String,
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(alias = "trace_id", deserialize_with = "hex")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(alias = "span_id", deserialize_with = "hex")]
    pub(crate) span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(alias = "parent_span_id", deserialize_with = "hex")]
    pub(crate) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[prost(int32, tag = "6")]
    #[serde(deserialize_with = "kind")]
    pub(crate) kind: i32,
    #[prost(fixed64, tag = "7")]
    #[serde(alias = "start_time_unix_nano", deserialize_with = "nanos")]
    pub(crate) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    #[serde(alias = "end_time_unix_nano", deserialize_with = "nanos")]
    pub(crate) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) events: Vec<SpanEvent>,
    #[prost(message, optional, tag = "15")]
    pub(crate) status: Option<Status>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SpanEvent {
    #[prost(fixed64, tag = "1")]
    #[serde(alias = "time_unix_nano", deserialize_with = "nanos")]
    pub(crate) time_unix_nano: u64,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) message: String,
    #[prost(int32, tag = "3")]
    #[serde(deserialize_with = "status_code")]
    pub(crate) code: i32,
}

impl Status {
    pub(crate) const OK: i32 = 1;
    pub(crate) const ERROR: i32 = 2;
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(crate) value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Value {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Map(KeyValueList),
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(crate) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(crate) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "nullable")]
    pub(crate) values: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExportTraceServiceResponse {
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    #[serde(serialize_with = "as_text")]
    pub(crate) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

fn as_text<S: serde::Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Identifiers in hexadecimal. A malformed one becomes empty: that span is refused, not the request it came in.
fn hex<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<std::borrow::Cow<'de, str>>::deserialize(d)?.unwrap_or_default();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Ok(Vec::new());
    }
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|&[high, low]| u8::try_from(digit(high)? * 16 + digit(low)?).ok())
        .collect();
    Ok(bytes.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    Null,
}

fn nanos<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    match Number::deserialize(d)? {
        Number::Unsigned(n) => Ok(n),
        Number::Text(text) => text.trim().parse().map_err(|_| {
            de::Error::custom("a time must be a whole number of nanoseconds since 1970")
        }),
        Number::Float(n) if n.is_finite() && n >= 0.0 => Ok(n as u64),
        Number::Null => Ok(0),
        Number::Signed(_) | Number::Float(_) => Err(de::Error::custom("a time is negative")),
    }
}

fn named<'de, D: Deserializer<'de>>(
    d: D,
    prefix: &str,
    names: &[&str],
    what: &'static str,
) -> Result<i32, D::Error> {
    match Number::deserialize(d)? {
        Number::Unsigned(n) => Ok(i32::try_from(n).unwrap_or(0)),
        Number::Text(text) => {
            let name = text.strip_prefix(prefix).unwrap_or(&text);
            let known = names.iter().position(|known| *known == name);
            match known.map(i32::try_from) {
                Some(Ok(index)) => Ok(index),
                _ => text
                    .parse()
                    .map_err(|_| de::Error::custom(format_args!("unknown {what} {text:?}"))),
            }
        }
        Number::Signed(_) | Number::Float(_) | Number::Null => Ok(0),
    }
}

fn kind<'de, D: Deserializer<'de>>(d: D) -> Result<i32, D::Error> {
    const NAMES: [&str; 6] = [
        "UNSPECIFIED",
        "INTERNAL",
        "SERVER",
        "CLIENT",
        "PRODUCER",
        "CONSUMER",
    ];
    named(d, "SPAN_KIND_", &NAMES, "span kind")
}

fn status_code<'de, D: Deserializer<'de>>(d: D) -> Result<i32, D::Error> {
    named(d, "STATUS_CODE_", &["UNSET", "OK", "ERROR"], "status code")
}

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = AnyValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an OTLP value, as {\"stringValue\": ..}")
            }

            fn visit_unit<E>(self) -> Result<AnyValue, E> {
                Ok(AnyValue::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyValue, A::Error> {
                let mut value = None;
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    let found = match &*key {
                        // Bytes are base64 text; shown as it came, since nothing reads bytes.
                        "stringValue" | "string_value" | "bytesValue" | "bytes_value" => {
                            map.next_value::<Option<String>>()?.map(Value::String)
                        }
                        "boolValue" | "bool_value" => {
                            map.next_value::<Option<bool>>()?.map(Value::Bool)
                        }
                        "intValue" | "int_value" => int(map.next_value()?),
                        "doubleValue" | "double_value" => double(map.next_value()?),
                        "arrayValue" | "array_value" => {
                            map.next_value::<Option<ArrayValue>>()?.map(Value::Array)
                        }
                        "kvlistValue" | "kvlist_value" => {
                            map.next_value::<Option<KeyValueList>>()?.map(Value::Map)
                        }
                        _ => {
                            map.next_value::<de::IgnoredAny>()?;
                            None
                        }
                    };
                    value = found.or(value);
                }
                Ok(AnyValue { value })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<AnyValue, A::Error> {
                Err(de::Error::invalid_type(de::Unexpected::Seq, &self))
            }
        }

        d.deserialize_any(Any)
    }
}

/// An integer, as number or text; one wider than 64 bits stays the text it is.
fn int(number: Number) -> Option<Value> {
    Some(match number {
        Number::Signed(n) => Value::Int(n),
        Number::Unsigned(n) => match i64::try_from(n) {
            Ok(n) => Value::Int(n),
            Err(_) => Value::String(n.to_string()),
        },
        Number::Float(n) => Value::Double(n),
        Number::Text(text) => match text.trim().parse() {
            Ok(n) => Value::Int(n),
            Err(_) => Value::String(text),
        },
        Number::Null => return None,
    })
}

fn double(number: Number) -> Option<Value> {
    Some(match number {
        Number::Float(n) => Value::Double(n),
        Number::Signed(n) => Value::Double(n as f64),
        Number::Unsigned(n) => Value::Double(n as f64),
        Number::Text(text) => match text.parse() {
            Ok(n) => Value::Double(n),
            Err(_) => Value::String(text),
        },
        Number::Null => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn the_reference_types_encode_what_we_decode() {
        use opentelemetry_proto::tonic::collector::trace::v1 as collector;
        use opentelemetry_proto::tonic::common::v1 as common;
        use opentelemetry_proto::tonic::trace::v1 as trace;

        let value = |value| common::AnyValue { value: Some(value) };
        let reference = collector::ExportTraceServiceRequest {
            resource_spans: vec![trace::ResourceSpans {
                scope_spans: vec![trace::ScopeSpans {
                    spans: vec![trace::Span {
                        trace_id: vec![1; 16],
                        span_id: vec![2; 8],
                        parent_span_id: vec![3; 8],
                        name: "ask".to_owned(),
                        kind: 3,
                        start_time_unix_nano: 5,
                        end_time_unix_nano: 6,
                        attributes: vec![common::KeyValue {
                            key: "k".to_owned(),
                            value: Some(value(common::any_value::Value::IntValue(-7))),
                            ..Default::default()
                        }],
                        status: Some(trace::Status {
                            message: "boom".to_owned(),
                            code: 2,
                        }),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            }],
        };
        let decoded =
            ExportTraceServiceRequest::decode(reference.encode_to_vec().as_slice()).unwrap();
        let json: ExportTraceServiceRequest =
            serde_json::from_slice(&serde_json::to_vec(&reference).unwrap()).unwrap();
        let span = &decoded.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(span.name, "ask");
        assert_eq!(span.status.as_ref().unwrap().code, Status::ERROR);
        assert_eq!(
            span.attributes[0].value.as_ref().unwrap().value,
            Some(Value::Int(-7))
        );
        assert_eq!(decoded, json);
    }

    #[test]
    fn enum_names_nulls_and_integers_in_any_dress() {
        let request: ExportTraceServiceRequest = serde_json::from_str(
            r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":null,"spans":[{
                "traceId":"000102030405060708090a0b0c0d0e0f","spanId":"zz","parentSpanId":null,
                "kind":"SPAN_KIND_SERVER","startTimeUnixNano":12,"endTimeUnixNano":"13","name":null,
                "attributes":[{"key":"a","value":{"intValue":"9"}},{"key":"b","value":{"intValue":9}},
                  {"key":"c","value":{"intValue":"99999999999999999999"}},{"key":"d","value":{"doubleValue":"NaN"}},
                  {"key":"e","value":null},{"key":"f","value":{}}],
                "status":{"code":"STATUS_CODE_ERROR"},"later":1}]}]}]}"#,
        )
        .unwrap();
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(span.trace_id[15], 15);
        assert!(span.span_id.is_empty());
        assert!(span.parent_span_id.is_empty());
        assert_eq!((span.kind, span.start_time_unix_nano), (2, 12));
        assert_eq!(span.end_time_unix_nano, 13);
        let value = |index: usize| {
            let value = span.attributes[index].value.as_ref();
            value.and_then(|value| value.value.clone())
        };
        assert_eq!(value(0), Some(Value::Int(9)));
        assert_eq!(value(1), Some(Value::Int(9)));
        assert_eq!(
            value(2),
            Some(Value::String("99999999999999999999".to_owned()))
        );
        assert!(matches!(value(3), Some(Value::Double(n)) if n.is_nan()));
        assert_eq!((value(4), value(5)), (None, None));
        assert_eq!(span.status.as_ref().unwrap().code, Status::ERROR);
    }
}
