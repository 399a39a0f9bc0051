//! OTLP spans as JSON, in the form the official client sends: enum names, integers and times as text, `null` for the
//! parent of a root.

use std::io::Write as _;

use super::attributes::{Attribute, Scalar};
use super::protobuf::PartialSuccess;
use super::span::{Kind, REMOTE_PARENT, Span, Status};

/// Appends `span` as an element of `spans`.
pub(crate) fn put_span(out: &mut Vec<u8>, span: &Span<'_>) {
    // Writing into a Vec does not fail.
    let _ = write!(
        out,
        "{{\"traceId\":\"{:032x}\",\"spanId\":\"{:016x}\"",
        span.trace_id, span.span_id
    );
    if !span.trace_state.is_empty() {
        out.extend_from_slice(b",\"traceState\":");
        text(out, &span.trace_state);
    }
    if span.parent_id == 0 {
        out.extend_from_slice(b",\"parentSpanId\":null");
    } else {
        let _ = write!(out, ",\"parentSpanId\":\"{:016x}\"", span.parent_id);
    }
    if span.remote_parent {
        let _ = write!(out, ",\"flags\":{REMOTE_PARENT}");
    }
    out.extend_from_slice(b",\"name\":");
    text(out, &span.name);
    let kind = match span.kind {
        Kind::Internal => "SPAN_KIND_INTERNAL",
        Kind::Server => "SPAN_KIND_SERVER",
        Kind::Client => "SPAN_KIND_CLIENT",
        Kind::Producer => "SPAN_KIND_PRODUCER",
        Kind::Consumer => "SPAN_KIND_CONSUMER",
    };
    let _ = write!(
        out,
        ",\"kind\":\"{kind}\",\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{}\",\"attributes\":",
        span.start, span.end
    );
    put_attributes(out, &span.attributes);
    if span.dropped_attributes > 0 {
        let _ = write!(
            out,
            ",\"droppedAttributesCount\":{}",
            span.dropped_attributes
        );
    }
    out.extend_from_slice(b",\"events\":[");
    for (index, event) in span.events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let _ = write!(out, "{{\"timeUnixNano\":\"{}\",\"name\":", event.time);
        text(out, &event.name);
        out.extend_from_slice(b",\"attributes\":");
        put_attributes(out, &event.attributes);
        if event.dropped_attributes > 0 {
            let _ = write!(
                out,
                ",\"droppedAttributesCount\":{}",
                event.dropped_attributes
            );
        }
        out.push(b'}');
    }
    out.push(b']');
    if span.dropped_events > 0 {
        let _ = write!(out, ",\"droppedEventsCount\":{}", span.dropped_events);
    }
    if !span.links.is_empty() {
        out.extend_from_slice(b",\"links\":[");
        for (index, link) in span.links.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let _ = write!(
                out,
                "{{\"traceId\":\"{:032x}\",\"spanId\":\"{:016x}\"}}",
                link.trace_id, link.span_id
            );
        }
        out.push(b']');
    }
    if span.dropped_links > 0 {
        let _ = write!(out, ",\"droppedLinksCount\":{}", span.dropped_links);
    }
    out.extend_from_slice(match span.status {
        Status::Unset => b",\"status\":{\"code\":\"STATUS_CODE_UNSET\"" as &[u8],
        Status::Ok => b",\"status\":{\"code\":\"STATUS_CODE_OK\"",
        Status::Error(_) => b",\"status\":{\"code\":\"STATUS_CODE_ERROR\"",
    });
    if let Status::Error(message) = &span.status {
        out.extend_from_slice(b",\"message\":");
        text(out, message);
    }
    out.extend_from_slice(b"}}");
}

/// What stands before the spans, and what stands after them.
pub(crate) fn envelope(
    resource: &[Attribute<'_>],
    scope: &str,
    scope_attributes: &[Attribute<'_>],
) -> (Vec<u8>, &'static [u8]) {
    let mut out = b"{\"resourceSpans\":[{\"resource\":{\"attributes\":".to_vec();
    put_attributes(&mut out, resource);
    out.extend_from_slice(b"},\"scopeSpans\":[{\"scope\":{\"name\":");
    text(&mut out, scope);
    if !scope_attributes.is_empty() {
        out.extend_from_slice(b",\"attributes\":");
        put_attributes(&mut out, scope_attributes);
    }
    out.extend_from_slice(b"},\"spans\":[");
    (out, b"]}]}]}")
}

fn put_attributes(out: &mut Vec<u8>, attributes: &[Attribute<'_>]) {
    out.push(b'[');
    for (index, attribute) in attributes.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"key\":");
        if attribute.prefix.is_empty() {
            text(out, &attribute.name);
        } else {
            text(out, &format!("{}.{}", attribute.prefix, attribute.name));
        }
        out.extend_from_slice(b",\"value\":{");
        match &attribute.value {
            Scalar::Text(value) => {
                out.extend_from_slice(b"\"stringValue\":");
                text(out, value);
            }
            Scalar::Uuid(value) => {
                let _ = write!(out, "\"stringValue\":\"{}\"", value.hyphenated());
            }
            Scalar::Bool(value) => {
                let _ = write!(out, "\"boolValue\":{value}");
            }
            Scalar::Int(value) => {
                let _ = write!(out, "\"intValue\":\"{value}\"");
            }
            Scalar::Double(value) => {
                out.extend_from_slice(b"\"doubleValue\":");
                let _ = serde_json::to_writer(&mut *out, value);
            }
        }
        out.extend_from_slice(b"}}");
    }
    out.push(b']');
}

fn text(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

/// Reads `ExportTraceServiceResponse`. A body that does not parse says nothing: the status already said accepted.
pub(crate) fn partial_success(body: &[u8]) -> PartialSuccess {
    let parsed: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let found = parsed
        .get("partialSuccess")
        .or_else(|| parsed.get("partial_success"));
    let field = |names: [&str; 2]| names.iter().find_map(|name| found?.get(name)).cloned();
    let rejected = match field(["rejectedSpans", "rejected_spans"]) {
        Some(serde_json::Value::String(text)) => text.parse().unwrap_or(0),
        Some(value) => value.as_u64().unwrap_or(0),
        None => 0,
    };
    let message = field(["errorMessage", "error_message"]);
    PartialSuccess {
        rejected,
        message: message
            .and_then(|m| Some(m.as_str()?.to_owned()))
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_success_is_read_and_nonsense_is_none() {
        let found =
            partial_success(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#);
        assert_eq!(
            found,
            PartialSuccess {
                rejected: 3,
                message: "no".to_owned()
            }
        );
        for body in ["", "{}", "<html>", "{\"partialSuccess\":null}", "[1]"] {
            assert_eq!(
                partial_success(body.as_bytes()),
                PartialSuccess::default(),
                "{body}"
            );
        }
    }
}
