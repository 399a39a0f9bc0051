//! Spans over OTLP/HTTP: decoding and answering. Knows the wire types and the store, not what a span means.

use super::App;
use super::http::{Problem, body, media_type};
use super::losses::Told;
use super::mapping;
use super::store::{NewEvent, Op};
use crate::export::otlp::proto;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost::Message as _;
use std::io::Read as _;
use std::sync::Arc;

/// Most that a request may hold once decoded.
const LIMIT: usize = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

pub(super) async fn traces(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    let format = format(&parts.headers)?;
    let gzip = gzip(&parts.headers)?;
    let content = body(content, LIMIT).await?;
    let work = move || decode(&content, format, gzip);
    let decoded = tokio::task::spawn_blocking(work).await;
    let Decoded { ops, refused, lost } =
        decoded.map_err(|_| Problem::broken("decoding failed"))??;
    app.losses.hear(&lost);
    if !ops.is_empty() {
        app.store.write(ops).await.map_err(Problem::store)?;
    }
    Ok(answer(format, refused))
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    match media_type(headers) {
        Some("application/x-protobuf" | "application/protobuf") => Ok(Format::Protobuf),
        Some("application/json") => Ok(Format::Json),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/x-protobuf or application/json",
        )),
    }
}

fn gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    match encoding.map(|value| value.to_str().unwrap_or("?").trim()) {
        None | Some("" | "identity") => Ok(false),
        Some(name) if name.eq_ignore_ascii_case("gzip") => Ok(true),
        Some(_) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding must be gzip or identity",
        )),
    }
}

/// What is in a request.
#[derive(Default)]
struct Decoded {
    ops: Vec<Op>,
    /// How many of its spans are no events.
    refused: i64,
    /// What the program says it lost before.
    lost: Vec<Told>,
}

fn decode(content: &Bytes, format: Format, gzip: bool) -> Result<Decoded, Problem> {
    let unpacked = if gzip { Some(unpack(content)?) } else { None };
    let content: &[u8] = unpacked.as_deref().unwrap_or(content);
    let request = match format {
        Format::Protobuf => proto::ExportTraceServiceRequest::decode(content)
            .map_err(|error| Problem::bad(format!("malformed OTLP protobuf: {error}")))?,
        // A derived reader takes an array of fields for an object as well; OTLP does not.
        Format::Json if content.trim_ascii_start().first() != Some(&b'{') => {
            return Err(Problem::bad("malformed OTLP JSON: it must be an object"));
        }
        Format::Json => serde_json::from_slice(content)
            .map_err(|error| Problem::bad(format!("malformed OTLP JSON: {error}")))?,
    };
    let mut decoded = Decoded::default();
    for resource in request.resource_spans {
        let service = service(resource.resource);
        for scope in resource.scope_spans {
            let about = scope.scope.unwrap_or_default();
            decoded.lost.extend(Told::read(&about, service.as_deref()));
            for span in scope.spans {
                match mapping::map(span, service.as_deref(), &about.name) {
                    Some(event) => {
                        let event = Op::Event(Box::new(NewEvent::new(event)));
                        decoded.ops.push(event);
                    }
                    None => decoded.refused += 1,
                }
            }
        }
    }
    Ok(decoded)
}

/// Decodes a request and forgets it.
#[cfg(any(test, fuzzing))]
pub(super) fn try_decoding(content: &[u8], json: bool, gzip: bool) {
    let format = if json { Format::Json } else { Format::Protobuf };
    let _ = decode(&Bytes::copy_from_slice(content), format, gzip);
}

fn unpack(content: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut unpacked = Vec::with_capacity(content.len().saturating_mul(4).min(LIMIT));
    let limit = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    flate2::read::MultiGzDecoder::new(content)
        .take(limit + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| Problem::bad(format!("malformed gzip: {error}")))?;
    if unpacked.len() > LIMIT {
        return Err(Problem::too_large(LIMIT));
    }
    Ok(unpacked)
}

/// The name of the program, unless its SDK made one up for want of any.
fn service(resource: Option<proto::Resource>) -> Option<String> {
    let attributes = resource?.attributes;
    let pair = attributes
        .into_iter()
        .find(|pair| pair.key == "service.name")?;
    match pair.value?.value? {
        proto::Value::String(name) if !name.starts_with("unknown_service") => Some(name),
        _ => None,
    }
}

fn answer(format: Format, refused: i64) -> Response {
    let answer = proto::ExportTraceServiceResponse {
        partial_success: (refused > 0).then(|| proto::PartialSuccess {
            rejected_spans: refused,
            error_message:
                "a span needs a trace id of 16 bytes and a span id of 8 bytes, neither all zero"
                    .to_owned(),
        }),
    };
    match format {
        Format::Protobuf => (
            [(header::CONTENT_TYPE, "application/x-protobuf")],
            answer.encode_to_vec(),
        )
            .into_response(),
        Format::Json => axum::Json(answer).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(content in prop::collection::vec(any::<u8>(), 0..400), gzip: bool) {
            let content = Bytes::from(content);
            let _ = decode(&content, Format::Protobuf, gzip);
            let _ = decode(&content, Format::Json, gzip);
        }

        #[test]
        fn no_attributes_make_the_mapping_panic(
            pairs in prop::collection::vec(("[a-z_.0-9]{0,40}", "\\PC{0,40}"), 0..12),
            kind in prop::sample::select(vec!["model", "tool", "chain", "x"]),
            prefix in prop::sample::select(vec!["honeyhive_inputs.", "gen_ai.", "llm.", "traceloop.", ""]),
        ) {
            let pair = |key: String, value: String| proto::KeyValue {
                key,
                value: Some(proto::AnyValue { value: Some(proto::Value::String(value)) }),
            };
            let mut attributes = vec![pair("honeyhive_event_type".to_owned(), kind.to_owned())];
            attributes.extend(pairs.into_iter().map(|(key, value)| pair(format!("{prefix}{key}"), value)));
            let span = proto::Span {
                trace_id: vec![1; 16],
                span_id: vec![1; 8],
                start_time_unix_nano: u64::MAX,
                attributes,
                ..Default::default()
            };
            let event = mapping::map(span, None, "").unwrap();
            let _ = NewEvent::new(event);
        }
    }
}
