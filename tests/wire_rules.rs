//! What is decided from the fields of a span: the type of its event, and its error.

mod support;

use honeyhive::{EventType, SpanExt as _};
use support::attribute;
use support::traced::{span_of, span_of_with};
use tracing::{error, info_span};

#[test]
fn the_event_type_is_the_first_that_answers_and_explicit_wins() {
    type Case = (&'static str, fn(), &'static str, Option<&'static str>);
    let cases: &[Case] = &[
        (
            "the default",
            || drop(info_span!("llm_chat_model")),
            "tool",
            None,
        ),
        (
            "explicit",
            || drop(info_span!("s", honeyhive.event_type = "Model")),
            "model",
            None,
        ),
        (
            "wire spelling",
            || drop(info_span!("s", honeyhive_event_type = "chain")),
            "chain",
            None,
        ),
        (
            "raw",
            || drop(info_span!("s", honeyhive_event_type_raw = "session")),
            "session",
            None,
        ),
        (
            "workflow",
            || drop(info_span!("s", honeyhive.event_type = "workflow")),
            "chain",
            Some("workflow"),
        ),
        (
            "agent",
            || drop(info_span!("s", honeyhive.event_type = "agent")),
            "chain",
            Some("agent"),
        ),
        (
            "unknown",
            || drop(info_span!("s", honeyhive.event_type = "guardrail")),
            "guardrail",
            None,
        ),
        (
            "explicit before all",
            || {
                drop(info_span!(
                    "s",
                    gen_ai.operation.name = "chat",
                    openinference.span.kind = "LLM",
                    honeyhive.event_type = "tool"
                ));
            },
            "tool",
            None,
        ),
        (
            "enriched before all",
            || {
                info_span!("s", gen_ai.operation.name = "chat")
                    .enrich(|e| e.event_type(EventType::Chain));
            },
            "chain",
            None,
        ),
        (
            "blank is as good as none",
            || {
                drop(info_span!(
                    "s",
                    gen_ai.operation.name = "chat",
                    honeyhive.event_type = ""
                ));
            },
            "model",
            None,
        ),
        (
            "operation",
            || {
                drop(info_span!(
                    "s",
                    gen_ai.operation.name = "invoke_agent",
                    openinference.span.kind = "LLM"
                ));
            },
            "chain",
            None,
        ),
        (
            "operation, late",
            || {
                info_span!("s", gen_ai.operation.name = tracing::field::Empty)
                    .record("gen_ai.operation.name", "embeddings");
            },
            "model",
            None,
        ),
        (
            "unknown operation",
            || {
                drop(info_span!(
                    "s",
                    gen_ai.operation.name = "dance",
                    openinference.span.kind = "AGENT"
                ));
            },
            "chain",
            None,
        ),
        (
            "openinference, other",
            || drop(info_span!("s", openinference.span.kind = "RETRIEVER")),
            "tool",
            None,
        ),
        (
            "traceloop",
            || drop(info_span!("s", traceloop.span.kind = "workflow")),
            "chain",
            None,
        ),
        (
            "request type",
            || drop(info_span!("s", llm.request.type = "completion")),
            "model",
            None,
        ),
        (
            "mcp",
            || drop(info_span!("s", mcp.method.name = "tools/call")),
            "tool",
            None,
        ),
        (
            "shape",
            || {
                drop(info_span!(
                    "s",
                    gen_ai.request.model = "m",
                    gen_ai.usage.input_tokens = 3
                ));
            },
            "model",
            None,
        ),
        (
            "half a shape",
            || drop(info_span!("s", gen_ai.request.model = "m")),
            "tool",
            None,
        ),
    ];
    for (name, make, expected, kind) in cases {
        let span = span_of(make);
        assert_eq!(
            attribute(&span, "honeyhive_event_type").as_deref(),
            Some(*expected),
            "{name}"
        );
        assert_eq!(
            attribute(&span, "honeyhive_metadata.span_kind").as_deref(),
            *kind,
            "{name}"
        );
    }
    let chain = span_of_with(
        |builder| builder.default_event_type("chain"),
        || drop(info_span!("s")),
    );
    assert_eq!(
        attribute(&chain, "honeyhive_event_type").as_deref(),
        Some("chain")
    );
}

#[test]
fn errors_come_from_the_best_source() {
    /// Message and type of the error, and the code and message of the status.
    type Expected = (
        Option<&'static str>,
        Option<&'static str>,
        i32,
        &'static str,
    );
    type Case = (&'static str, fn(), Expected);
    const NONE: Expected = (None, None, 0, "");
    let cases: &[Case] = &[
        ("none", || drop(info_span!("s")), NONE),
        (
            "explicit before all",
            || {
                info_span!(
                    "s",
                    error = "field",
                    otel.status_code = "ERROR",
                    otel.status_description = "described",
                    honeyhive.error = "explicit"
                )
                .in_scope(|| error!("event"));
            },
            (Some("explicit"), None, 2, "explicit"),
        ),
        (
            "described before field",
            || {
                info_span!(
                    "s",
                    error = "field",
                    otel.status_code = "error",
                    otel.status_message = "described"
                )
                .in_scope(|| error!("event"));
            },
            (Some("described"), None, 2, "described"),
        ),
        (
            "a description alone is none",
            || drop(info_span!("s", otel.status_description = "described")),
            NONE,
        ),
        (
            "field before event",
            || {
                info_span!("s", exception.message = ?"field", exception.type = "Kind")
                    .in_scope(|| error!("event"));
            },
            (Some("field"), Some("Kind"), 2, "Kind: field"),
        ),
        (
            "event",
            || info_span!("s").in_scope(|| error!(error = "refused", "while asking")),
            (Some("refused"), None, 2, "refused"),
        ),
        (
            "event with a type",
            || info_span!("s").in_scope(|| error!(exception.type = "Kind", "event")),
            (Some("event"), Some("Kind"), 2, "Kind: event"),
        ),
        (
            "the last of several",
            || {
                info_span!("s").in_scope(|| {
                    error!("first");
                    error!("last");
                });
            },
            (Some("last"), None, 2, "last"),
        ),
        (
            "status alone",
            || drop(info_span!("s", otel.status_code = "ERROR")),
            (Some("error"), None, 2, "error"),
        ),
        (
            "type alone",
            || drop(info_span!("s", error.type = "timeout")),
            (Some("timeout"), Some("timeout"), 2, "timeout: timeout"),
        ),
        (
            "ok clears",
            || info_span!("s", otel.status_code = "OK").in_scope(|| error!("handled")),
            (None, None, 1, ""),
        ),
        (
            "false is none",
            || drop(info_span!("s", error = false, honeyhive.error = "")),
            NONE,
        ),
        (
            "the last write",
            || {
                info_span!("s", error = "early").record("error", "");
            },
            NONE,
        ),
    ];
    for (name, make, (message, kind, code, status)) in cases {
        let span = span_of(make);
        assert_eq!(
            attribute(&span, "honeyhive_error").as_deref(),
            *message,
            "{name}"
        );
        assert_eq!(
            attribute(&span, "honeyhive_error_type").as_deref(),
            *kind,
            "{name}"
        );
        let found = span.status.clone().unwrap_or_default();
        assert_eq!(
            (found.code, found.message.as_str()),
            (*code, *status),
            "{name}"
        );
        if message.is_some() {
            assert!(
                span.events.iter().all(|event| event.name == "exception")
                    && !span.events.is_empty(),
                "{name}"
            );
        }
    }
}

#[test]
fn a_model_span_that_never_answered_is_incomplete() {
    type Case = (&'static str, fn(), Option<&'static str>);
    let cases: &[Case] = &[
        (
            "no answer",
            || drop(info_span!("s", gen_ai.operation.name = "chat")),
            Some("true"),
        ),
        (
            "explicit, no answer",
            || drop(info_span!("s", honeyhive.event_type = "model")),
            Some("true"),
        ),
        (
            "an output",
            || {
                info_span!("s", honeyhive.event_type = "model").enrich(|e| e.output("x"));
            },
            None,
        ),
        (
            "a response",
            || {
                drop(info_span!(
                    "s",
                    gen_ai.operation.name = "chat",
                    gen_ai.response.id = "r"
                ));
            },
            None,
        ),
        (
            "usage",
            || {
                drop(info_span!(
                    "s",
                    gen_ai.operation.name = "chat",
                    gen_ai.usage.output_tokens = 3
                ));
            },
            None,
        ),
        (
            "failed",
            || {
                drop(info_span!(
                    "s",
                    honeyhive.event_type = "model",
                    error = "refused"
                ));
            },
            None,
        ),
        ("no model", || drop(info_span!("s")), None),
    ];
    for (name, make, expected) in cases {
        let found = attribute(&span_of(make), "honeyhive_metadata.incomplete");
        assert_eq!(found.as_deref(), *expected, "{name}");
    }
}
