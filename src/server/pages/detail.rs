//! One event, or the session itself: what it is, what went wrong, what went in and came out.

use super::format::{Shown, cost, count, duration, encoded, icon, moment, name, real};
use super::view::View;
use super::{chat, json};
use crate::server::mapping::text;
use crate::server::types::{Event, Session};
use maud::{Markup, html};
use serde_json::{Map, Value};

/// What the panel shows.
pub(super) enum Subject {
    Session(Box<Session>),
    Event(Box<Event>, Option<String>),
}

struct Face<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'a str,
    duration: f64,
    started: f64,
    error: Option<&'a str>,
    inputs: &'a Map<String, Value>,
    outputs: &'a Map<String, Value>,
    config: &'a Map<String, Value>,
    metadata: &'a Map<String, Value>,
    metrics: &'a Map<String, Value>,
    feedback: &'a Map<String, Value>,
    user_properties: &'a Map<String, Value>,
}

impl Subject {
    fn face(&self) -> Face<'_> {
        match self {
            Self::Session(session) => Face {
                id: &session.session_id,
                name: &session.session_name,
                kind: "session",
                duration: session.duration,
                started: session.start_time,
                error: session.error.as_deref(),
                inputs: &session.inputs,
                outputs: &session.outputs,
                config: &session.config,
                metadata: &session.metadata,
                metrics: &session.metrics,
                feedback: &session.feedback,
                user_properties: &session.user_properties,
            },
            Self::Event(event, _) => Face {
                id: &event.event_id,
                name: &event.event_name,
                kind: &event.event_type,
                duration: event.duration,
                started: event.start_time,
                error: event.error.as_deref(),
                inputs: &event.inputs,
                outputs: &event.outputs,
                config: &event.config,
                metadata: &event.metadata,
                metrics: &event.metrics,
                feedback: &event.feedback,
                user_properties: &event.user_properties,
            },
        }
    }

    fn raw(&self) -> Option<&str> {
        match self {
            Self::Session(_) => None,
            Self::Event(_, raw) => raw.as_deref().filter(|raw| !raw.is_empty()),
        }
    }
}

pub(super) fn render(subject: &Subject, session_id: &str, view: &View) -> Markup {
    let face = subject.face();
    let messages = chat::conversation(face.inputs, face.outputs);
    let first = if messages.is_some() {
        "chat"
    } else {
        "overview"
    };
    let tabs: Vec<(&str, &str, bool)> = vec![
        (
            first,
            if messages.is_some() {
                "Chat"
            } else {
                "Overview"
            },
            true,
        ),
        ("inputs", "Inputs", !face.inputs.is_empty()),
        ("outputs", "Outputs", !face.outputs.is_empty()),
        ("config", "Config", !face.config.is_empty()),
        ("metadata", "Metadata", !face.metadata.is_empty()),
        ("metrics", "Metrics", !face.metrics.is_empty()),
        ("feedback", "Feedback", !face.feedback.is_empty()),
        ("user", "User", !face.user_properties.is_empty()),
        ("raw", "Raw", subject.raw().is_some()),
    ];
    let wanted = view.tab.as_deref().unwrap_or(first);
    let tab = tabs
        .iter()
        .find(|(key, _, there)| *there && *key == wanted)
        .map_or(first, |(key, _, _)| key);
    let all = format!(
        "/sessions/{}/events/{}.json",
        encoded(session_id),
        encoded(face.id)
    );
    html! {
        header.what {
            h2 { (name(face.name)) }
            span class={ "kind k-" (face.kind) } { (face.kind) }
            @for fact in facts(&face) { span.fact { (fact) } }
        }
        @if let Some(error) = face.error { (failure(error, face.metadata, &all)) }
        @let values = values(&face);
        @if !values.is_empty() { dl.values { @for value in &values { (value) } } }
        nav.tabs aria-label="parts of the event" {
            @for (key, label, there) in &tabs {
                @if *there {
                    a href=(view.tabbed(face.id, key)) aria-current=[(*key == tab).then_some("page")] { (label) }
                }
            }
            button.copy.js type="button" data-copy=(format!("{all}?part={}", part(tab))) title="copy as JSON" {
                (icon("copy")) span { "copy" }
            }
            a.copy href=(format!("{all}?part={}", part(tab))) { "json" }
        }
        section.part {
            @match tab {
                "chat" => (chat::render(messages.as_deref().unwrap_or_default(), &all)),
                "inputs" => (json::fields(face.inputs, &all)),
                "outputs" => (json::fields(face.outputs, &all)),
                "config" => (json::fields(face.config, &all)),
                "metadata" => (json::fields(face.metadata, &all)),
                "metrics" => (json::fields(face.metrics, &all)),
                "feedback" => (json::fields(face.feedback, &all)),
                "user" => (json::fields(face.user_properties, &all)),
                "raw" => (raw(subject.raw().unwrap_or_default(), &all)),
                _ => (overview(&face, &all)),
            }
        }
    }
}

fn part(tab: &str) -> &str {
    match tab {
        "chat" | "overview" => "",
        "user" => "user_properties",
        other => other,
    }
}

fn facts(face: &Face<'_>) -> Vec<Markup> {
    let said = |map: &Map<String, Value>, key: &str| map.get(key).map(text);
    let number = |key: &str| face.metadata.get(key).and_then(Value::as_u64);
    let mut facts = Vec::new();
    if let Some(model) = said(face.config, "model") {
        facts.push(html! { (name(&model)) });
    }
    facts.push(html! { (duration(face.duration)) });
    let tokens = (number("prompt_tokens"), number("completion_tokens"));
    if let (Some(input), Some(output)) = tokens {
        facts.push(html! { (count(input)) " → " (count(output)) " tokens" });
    } else if let Some(total) = number("total_tokens") {
        facts.push(html! { (count(total)) " tokens" });
    }
    let spent = face.metrics.get("cost").or(face.metadata.get("cost"));
    if let Some(spent) = spent.and_then(Value::as_f64).filter(|cost| *cost > 0.0) {
        facts.push(html! { (cost(spent)) });
    }
    facts.push(moment(face.started));
    facts
}

fn failure(error: &str, metadata: &Map<String, Value>, all: &str) -> Markup {
    let said = |key: &str| metadata.get(key).map(text).filter(|said| !said.is_empty());
    let kind = said("error_type").or_else(|| said("exception_type"));
    html! {
        div.failure role="group" aria-label="error" {
            @if let Some(kind) = kind { strong { (name(&kind)) } }
            (json::text(error, all))
            @if let Some(message) = said("error_message").filter(|message| !error.contains(message.as_str())) {
                (json::text(&message, all))
            }
            @if let Some(stack) = said("stacktrace") {
                details { summary { "stack" } pre { (Shown(&stack)) } }
            }
        }
    }
}

/// Metrics and feedback; the cost stands with the facts already.
fn values(face: &Face<'_>) -> Vec<Markup> {
    let metrics = face.metrics.iter().filter(|(key, _)| *key != "cost");
    let metrics = metrics.map(|(key, value)| labelled(key, value, "metric"));
    let feedback = face.feedback.iter();
    let feedback = feedback.map(|(key, value)| labelled(key, value, "feedback"));
    metrics.chain(feedback).take(40).collect()
}

fn labelled(key: &str, value: &Value, class: &str) -> Markup {
    let shown = match value {
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), real),
        other => text(other),
    };
    html! { div class=(class) { dt { (name(key)) } dd { (name(&shown)) } } }
}

fn overview(face: &Face<'_>, all: &str) -> Markup {
    let parts = [
        ("inputs", face.inputs),
        ("outputs", face.outputs),
        ("user", face.user_properties),
    ];
    let empty = parts.iter().all(|(_, map)| map.is_empty());
    html! {
        @for (label, map) in parts {
            @if !map.is_empty() { h3 { (label) } (json::fields(map, all)) }
        }
        @if empty { p.note { "Nothing was recorded of what went in and came out." } }
    }
}

fn raw(raw: &str, all: &str) -> Markup {
    match serde_json::from_str::<Value>(raw) {
        Ok(Value::Object(map)) => html! {
            @for (key, value) in &map {
                @if let ("attributes", Value::Object(attributes)) = (key.as_str(), value) {
                    h3 { "attributes" }
                    dl.fields {
                        @for (key, value) in attributes {
                            div { dt { (json::label(key)) } dd { (json::field(value, all)) } }
                        }
                    }
                }
            }
            h3 { "span" }
            dl.fields {
                @for (key, value) in &map {
                    @if key != "attributes" { div { dt { (json::label(key)) } dd { (json::field(value, all)) } } }
                }
            }
        },
        _ => json::text(raw, all),
    }
}
