//! Redaction and content: what never leaves the process, on the wire.

mod support;

use honeyhive::config::Redact;
use honeyhive::{Builder, Session};
use support::traced::{Traced, under};
use support::{Recorder, SESSIONS, attribute};
use tracing::{error, info_span};
use tracing_subscriber::prelude::*;

const SECRET: &str = "hunter2-hunter2";
const REDACTED: &str = "[redacted]";

#[derive(Debug)]
#[allow(dead_code, reason = "read by Debug")]
struct Login {
    user: &'static str,
    password: &'static str,
}

/// Puts the secret wherever it can be put.
fn tell_all() {
    let span = info_span!(
        "login",
        user = "ann",
        api_key = SECRET,
        login = ?Login { user: "ann", password: SECRET },
        body = format!(r#"{{"user":"ann","auth":{{"token":"{SECRET}"}},"max_tokens":5}}"#),
        http.request.header.authorization = %format!("Bearer {SECRET}"),
        gen_ai.usage.input_tokens = 12,
        gen_ai.tool.call.arguments = format!(r#"{{"q":"x","password":"{SECRET}"}}"#),
        session = "plain",
        author = "ann",
        has_password = true,
        pin_code.password = 1234,
    );
    span.in_scope(|| {
        honeyhive::enrich(|e| {
            e.output(serde_json::json!({ "cookies": [{ "value": SECRET }], "text": "fine" }))
                .outputs(
                    serde_json::json!({ "tool_calls": [{ "function": { "arguments":
                    format!(r#"{{"secret":"{SECRET}"}}"#) } }] }),
                )
                .metadata(
                    "deep",
                    serde_json::json!({ "a": { "private": { "key": SECRET } } }),
                )
                .config("max_tokens", 5)
                .user_property("credentials", SECRET)
        });
        error!(client_secret = SECRET, "failed");
    });
}

fn bodies(traced: &Traced) -> String {
    traced.spans();
    let requests = traced.server.requests();
    requests
        .iter()
        .map(|request| String::from_utf8_lossy(&request.plain()).into_owned())
        .collect()
}

#[test]
fn credentials_never_leave_and_what_looks_similar_does() {
    for protocol in [
        honeyhive::config::Protocol::HttpProtobuf,
        honeyhive::config::Protocol::HttpJson,
    ] {
        let traced = Traced::with(|builder| builder.protocol(protocol));
        traced.run(tell_all);
        assert_eq!(
            traced
                .honeyhive
                .flush_blocking(support::PATIENCE)
                .unwrap()
                .sent,
            1
        );
        let sent: String = traced
            .server
            .requests()
            .iter()
            .map(|request| String::from_utf8_lossy(&request.body).into_owned())
            .collect();
        assert!(!sent.contains(SECRET), "{sent}");
        assert!(sent.contains("ann") && sent.contains("fine"));
    }
    let traced = Traced::new();
    traced.run(tell_all);
    let span = traced.span("login");
    let value = |key| attribute(&span, key);
    for key in [
        "honeyhive_inputs.api_key",
        "http.request.header.authorization",
        "honeyhive_inputs.pin_code.password",
        "honeyhive_outputs.result.cookies.0.value",
        "honeyhive_metadata.deep.a.private.key",
        "honeyhive_user_properties.credentials",
    ] {
        assert_eq!(value(key).as_deref(), Some(REDACTED), "{key}");
    }
    for (key, expected) in [
        ("honeyhive_inputs.user", "ann"),
        (
            "honeyhive_inputs.login",
            r#"Login { user: "ann", password: "[redacted]" }"#,
        ),
        (
            "honeyhive_inputs.body",
            r#"{"user":"ann","auth":"[redacted]","max_tokens":5}"#,
        ),
        ("gen_ai.usage.input_tokens", "12"),
        (
            "gen_ai.tool.call.arguments",
            r#"{"q":"x","password":"[redacted]"}"#,
        ),
        ("honeyhive_inputs.session", "plain"),
        ("honeyhive_inputs.author", "ann"),
        ("honeyhive_inputs.has_password", "true"),
        ("honeyhive_config.max_tokens", "5"),
        ("honeyhive_outputs.result.text", "fine"),
        ("honeyhive_error", "failed"),
    ] {
        assert_eq!(value(key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(value("honeyhive.session_id"), Some(traced.session()));
    let event = &span.events[0];
    let secret = event
        .attributes
        .iter()
        .find(|attribute| attribute.key == "client_secret");
    assert_eq!(
        support::text(secret.unwrap().value.as_ref().unwrap()),
        REDACTED
    );
}

#[test]
fn sessions_are_redacted_too() {
    let traced = Traced::new();
    let session = Session::builder("chat")
        .input("token", SECRET)
        .input("question", "why")
        .metadata(
            "nested",
            serde_json::json!({ "api": [{ "key": 1, "password": SECRET }] }),
        )
        .user_property("cookie", SECRET)
        .start();
    traced.run(|| {
        session.in_scope(|| info_span!("x").in_scope(|| {}));
        session.enrich(|e| {
            e.metadata("access_key", SECRET)
                .output(format!(r#"{{"password":"{SECRET}"}}"#))
                .feedback("rating", 5)
        });
    });
    let sent = bodies(&traced);
    assert!(!sent.contains(SECRET), "{sent}");
    let start = &traced.server.requests_to(SESSIONS)[0].json()["session"];
    assert_eq!(
        start["inputs"],
        serde_json::json!({ "token": REDACTED, "question": "why" })
    );
    assert_eq!(start["user_properties"]["cookie"], REDACTED);
    let update = traced.server.requests_to("/events")[0].json();
    assert_eq!(update["metadata"]["access_key"], REDACTED);
    assert_eq!(update["feedback"]["rating"], 5);
}

#[test]
fn keys_patterns_and_functions_of_ones_own() {
    let traced =
        Traced::with(|builder| {
            builder.redact(Redact::none().key("ssn").pattern(r"\b\d{4}-\d{4}\b").with(
                |path, value| {
                    (path == "honeyhive_inputs.mail").then(|| format!("{} characters", value.len()))
                },
            ))
        });
    traced.run(|| {
        let span = info_span!(
            "card 1234-5678",
            userSsn = 1,
            mail = "a@b",
            password = "shown",
            q = "is 1234-5678 mine?"
        );
        span.in_scope(|| error!("no such card: 1234-5678"));
    });
    let span = traced.span("card [redacted]");
    let value = |key| attribute(&span, key);
    assert_eq!(value("honeyhive_inputs.userSsn").as_deref(), Some(REDACTED));
    assert_eq!(
        value("honeyhive_inputs.mail").as_deref(),
        Some("3 characters")
    );
    assert_eq!(value("honeyhive_inputs.password").as_deref(), Some("shown"));
    assert_eq!(
        value("honeyhive_inputs.q").as_deref(),
        Some("is [redacted] mine?")
    );
    assert_eq!(
        value("honeyhive_error").as_deref(),
        Some("no such card: [redacted]")
    );
    assert_eq!(
        span.status.as_ref().unwrap().message,
        "no such card: [redacted]"
    );
    assert!(!bodies(&traced).contains("1234-5678"));
    assert_eq!(traced.stats().redact_failed, 0);
}

#[test]
fn a_function_that_panics_loses_the_value_and_not_the_event() {
    let traced = Traced::with(|builder| {
        builder.redact(Redact::default().with(|path, _| {
            assert!(!path.ends_with(".bad"), "on purpose");
            None
        }))
    });
    traced.run(|| {
        info_span!("x", bad = "lost", good = "kept").in_scope(|| {});
        info_span!("y", good = "kept").in_scope(|| {});
    });
    let span = traced.span("x");
    assert_eq!(
        attribute(&span, "honeyhive_inputs.good").as_deref(),
        Some("kept")
    );
    let bad = attribute(&span, "honeyhive_inputs.bad").unwrap();
    assert!(bad.starts_with("[redacted"), "{bad}");
    assert!(!bodies(&traced).contains("lost"));
    let stats = traced.stats();
    assert_eq!(stats.redact_failed, 1);
    support::assert_all_exported(&stats, 2);
}

#[test]
fn what_is_turned_off_is_off_live_and_for_one_instance() {
    let servers = [Recorder::start(), Recorder::start()];
    let build = |server: &Recorder, set: fn(Builder) -> Builder| {
        set(support::settings(&server.url)).build().unwrap()
    };
    let off = build(&servers[0], |builder| builder.redact(Redact::none()));
    let on = build(&servers[1], |builder| builder);
    let subscriber = tracing_subscriber::registry()
        .with(off.layer())
        .with(on.layer());
    let last = |which: usize| {
        [&off, &on][which]
            .flush_blocking(support::PATIENCE)
            .unwrap();
        let spans = servers[which].spans();
        attribute(spans.last().unwrap(), "honeyhive_inputs.password").unwrap()
    };
    tracing::subscriber::with_default(subscriber, || {
        let login = || info_span!("login", password = SECRET).in_scope(|| {});
        login();
        assert_eq!((last(0).as_str(), last(1).as_str()), (SECRET, REDACTED));
        off.reconfigure(|settings| settings.redact(Redact::default()))
            .unwrap();
        on.reconfigure(|settings| settings.redact(Redact::none().key("x")))
            .unwrap();
        login();
        assert_eq!((last(0).as_str(), last(1).as_str()), (REDACTED, SECRET));
    });
}

#[test]
fn without_content_there_are_names_figures_and_errors() {
    let traced = Traced::with(|builder| builder.capture_content(false));
    let session = Session::builder("chat")
        .input("question", SECRET)
        .metadata("plan", "pro")
        .start();
    traced.run(|| {
        session.in_scope(|| {
            let span = info_span!(
                "ask",
                question = SECRET,
                honeyhive.inputs.more = SECRET,
                gen_ai.operation.name = "chat",
                gen_ai.input.messages = ?[SECRET],
                "gen_ai.prompt.0.content" = SECRET,
                gen_ai.usage.input_tokens = 12,
                "llm.input_messages.0.message.content" = SECRET,
                input.value = SECRET,
                input.mime_type = "text/plain",
                traceloop.entity.output = SECRET,
                gen_ai.output.messages = tracing::field::Empty,
            );
            span.record("gen_ai.output.messages", SECRET);
            span.in_scope(|| {
                tracing::info!(gen_ai.completion = SECRET);
                honeyhive::enrich(|e| {
                    e.inputs(serde_json::json!({ "a": SECRET }))
                        .output(SECRET)
                        .metric("score", 0.5)
                        .metadata("plan", "pro")
                });
                error!("no answer");
            });
        });
        session.enrich(|e| e.input("q", SECRET).output(SECRET).feedback("rating", 5));
        // Nothing is left of this one.
        session.enrich(|e| e.output(SECRET));
    });
    let sent = bodies(&traced);
    assert!(!sent.contains(SECRET), "{sent}");
    assert!(!sent.contains("not captured"), "{sent}");
    let span = traced.server.span("ask");
    let value = |key| attribute(&span, key);
    assert!(
        under(&span, "honeyhive_inputs").is_empty() && under(&span, "honeyhive_outputs").is_empty()
    );
    for (key, expected) in [
        ("honeyhive_event_type", "model"),
        ("gen_ai.usage.input_tokens", "12"),
        ("input.mime_type", "text/plain"),
        ("honeyhive_metrics.score", "0.5"),
        ("honeyhive_metadata.plan", "pro"),
        ("honeyhive_error", "no answer"),
    ] {
        assert_eq!(value(key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(span.events[0].name, "exception");
    let start = &traced.server.requests_to(SESSIONS)[0].json()["session"];
    assert_eq!(start["metadata"]["plan"], "pro");
    let updates = traced.server.requests_to("/events");
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].json()["feedback"]["rating"], 5);

    // Live, for what waits as well.
    traced
        .honeyhive
        .reconfigure(|settings| settings.capture_content(true))
        .unwrap();
    traced.run(|| info_span!("again", question = "why").in_scope(|| {}));
    let span = traced.span("again");
    assert_eq!(
        attribute(&span, "honeyhive_inputs.question").as_deref(),
        Some("why")
    );
    traced.run(|| info_span!("waiting", question = "why").in_scope(|| {}));
    traced
        .honeyhive
        .reconfigure(|settings| settings.capture_content(false))
        .unwrap();
    assert!(under(&traced.span("waiting"), "honeyhive_inputs").is_empty());
}

/// The message of an error is sent in several places.
#[test]
fn errors_are_redacted_wherever_they_are_sent() {
    #[derive(Debug)]
    struct Refused(Login);
    impl std::fmt::Display for Refused {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:?}", self.0)
        }
    }
    impl std::error::Error for Refused {}
    let traced = Traced::new();
    traced.run(|| {
        let login = || Login {
            user: "ann",
            password: SECRET,
        };
        info_span!("one").in_scope(|| {
            honeyhive::enrich(|e| e.error(&Refused(login())));
        });
        info_span!("two").in_scope(|| error!(error = &Refused(login()) as &dyn std::error::Error));
        info_span!("three", error = ?login()).in_scope(|| {});
    });
    let sent = bodies(&traced);
    assert!(!sent.contains(SECRET), "{sent}");
    let hidden = r#"Login { user: "ann", password: "[redacted]" }"#;
    for name in ["one", "two", "three"] {
        let span = traced.server.span(name);
        assert_eq!(attribute(&span, "honeyhive_error").as_deref(), Some(hidden));
        let status = &span.status.as_ref().unwrap().message;
        assert!(status.ends_with(hidden), "{status}");
    }
    assert_eq!(
        traced.server.span("one").status.unwrap().message,
        format!("Refused: {hidden}")
    );
}

/// A value cut at the limit is no JSON any more.
#[test]
fn what_was_cut_is_redacted_all_the_same() {
    let traced = Traced::with(|builder| builder.max_attribute_length(1024));
    traced.run(|| {
        let body = format!(r#"{{"password":"{SECRET}","text":"{}"}}"#, "x".repeat(4000));
        info_span!("cut", body).in_scope(|| {});
    });
    let body = attribute(&traced.span("cut"), "honeyhive_inputs.body").unwrap();
    assert!(
        body.starts_with(r#"{"password":"[redacted]","text":"xxx"#),
        "{body}"
    );
    assert!(body.contains("[cut"), "{body}");
}

#[test]
fn variables_turn_it_off_and_add_keys() {
    let variables = [
        ("HH_REDACT", "off,ssn"),
        ("HH_SAMPLE_RATE", "1.0"),
        ("HH_CAPTURE_CONTENT", "yes"),
    ];
    let Some(_) = support::in_process_of_its_own("variables_turn_it_off_and_add_keys", &variables)
    else {
        let traced = Traced::new();
        traced.run(|| info_span!("x", password = "shown", ssn = 1).in_scope(|| {}));
        let span = traced.span("x");
        assert_eq!(
            attribute(&span, "honeyhive_inputs.password").as_deref(),
            Some("shown")
        );
        assert_eq!(
            attribute(&span, "honeyhive_inputs.ssn").as_deref(),
            Some(REDACTED)
        );
        return;
    };
}
