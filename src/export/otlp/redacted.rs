//! What of a span may leave memory: content and redaction, applied to a span that is read and not yet written.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::attributes::{Attribute, Scalar};
use super::span::{Settings, Span, Status};
use crate::config::Config;
use crate::event::content;
use crate::event::directory::SessionStart;
use crate::event::semconv::name;
use crate::redact::{REDACTED, Redactor};

/// What the platform finds an event by is never touched.
const CORE: &[&str] = &[
    name::SESSION_ID,
    name::ASSOCIATED_SESSION_ID,
    name::PROJECT,
    name::ASSOCIATED_PROJECT,
    name::SOURCE,
    name::ASSOCIATED_SOURCE,
    name::EVENT_TYPE,
    name::EVENT_ID,
    name::DURATION_MS,
];

pub(super) fn apply(span: &mut Span<'_>, settings: &Settings) {
    if !settings.capture_content {
        let kept =
            |attribute: &Attribute<'_>| !content::is_content_in(attribute.prefix, &attribute.name);
        span.attributes.retain(kept);
        for event in &mut span.events {
            event.attributes.retain(kept);
        }
        span.events
            .retain(|event| !content::is_content(&event.name));
    }
    let redactor = &*settings.redactor;
    if redactor.is_off() {
        return;
    }
    let failed = matches!(span.status, Status::Error(_));
    let error = span.attributes.iter().position(|attribute| {
        failed && attribute.prefix.is_empty() && attribute.name == name::ERROR
    });
    let before = error.and_then(|at| message(span.attributes.get(at)?).map(str::to_owned));
    for attribute in &mut span.attributes {
        redact(attribute, redactor);
    }
    let after = error.and_then(|at| message(span.attributes.get(at)?));
    if let (Status::Error(status), Some(before), Some(after)) = (&mut span.status, before, after) {
        // The status is the error's message, after its type.
        let kind = status.strip_suffix(before.as_str()).unwrap_or_default();
        *status = Cow::Owned(format!("{kind}{after}"));
    }
    for event in &mut span.events {
        for attribute in &mut event.attributes {
            redact(attribute, redactor);
        }
    }
    if !redactor.looks_at_texts() {
        return;
    }
    if let Some(left) = redactor.text("name", &span.name) {
        span.name = Cow::Owned(left);
    }
    if let Status::Error(message) = &mut span.status
        && let Some(left) = redactor.text("status", message)
    {
        *message = Cow::Owned(left);
    }
}

fn message<'a>(attribute: &'a Attribute<'_>) -> Option<&'a str> {
    match &attribute.value {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}

/// What a configuration says.
pub(crate) fn redactor(config: &Config) -> Redactor {
    let redact = config.redact();
    let hooks = redact.hooks.iter().map(|hook| hook.0.clone()).collect();
    Redactor::new(redact.credentials, &redact.keys, &redact.patterns, hooks)
}

/// The announcement of a session, without what may not leave memory.
pub(crate) fn start(start: &SessionStart, config: &Config, redactor: &Redactor) -> SessionStart {
    let mut start = start.clone();
    if !config.capture_content {
        start.inputs.clear();
    }
    if let Some(name) = &start.name
        && let Some(left) = redactor.text("session_name", name)
    {
        start.name = Some(left);
    }
    for (bucket, map) in [
        ("inputs", &mut start.inputs),
        ("metadata", &mut start.metadata),
        ("user_properties", &mut start.user_properties),
    ] {
        redactor.object(bucket, map);
    }
    start
}

/// Likewise the body of an update.
pub(crate) fn body(
    body: &Map<String, Value>,
    config: &Config,
    redactor: &Redactor,
) -> Map<String, Value> {
    let mut body = body.clone();
    if !config.capture_content {
        remove_content(&mut body);
    }
    for (bucket, value) in &mut body {
        if let Value::Object(map) = value {
            redactor.object(bucket, map);
        }
    }
    body
}

/// Takes outputs out of the body of an update, and the inputs that are among its metadata.
pub(crate) fn remove_content(body: &mut Map<String, Value>) {
    body.remove("outputs");
    if let Some(Value::Object(metadata)) = body.get_mut("metadata") {
        metadata.remove("inputs");
        if metadata.is_empty() {
            body.remove("metadata");
        }
    }
}

pub(super) fn redact(attribute: &mut Attribute<'_>, redactor: &Redactor) {
    if attribute.prefix.is_empty() && CORE.contains(&attribute.name.as_ref()) {
        return;
    }
    if matches!(attribute.value, Scalar::Bool(_)) {
        return;
    }
    if redactor.hides(&attribute.name) {
        attribute.value = Scalar::Text(Cow::Borrowed(REDACTED));
        return;
    }
    let Scalar::Text(text) = &attribute.value else {
        return;
    };
    let left = if attribute.prefix.is_empty() || !redactor.looks_at_texts() {
        redactor.text(&attribute.name, text)
    } else {
        let path = format!("{}.{}", attribute.prefix, attribute.name);
        redactor.text(&path, text)
    };
    if let Some(left) = left {
        attribute.value = Scalar::Text(Cow::Owned(left));
    }
}
