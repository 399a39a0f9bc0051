//! Events of a closure, for tests: what HoneyHive would be sent, without a network, a key or a global subscriber.
//!
//! ```
//! use honeyhive::testing;
//! use tracing::instrument;
//!
//! #[instrument(ret, fields(honeyhive.event_type = "model"))]
//! fn ask(question: &str) -> String {
//!     honeyhive::enrich(|e| e.metric("words", 3));
//!     format!("{question}? It depends.")
//! }
//!
//! let events = testing::capture(|| {
//!     ask("Why");
//! });
//! assert_eq!(events.len(), 1);
//! assert_eq!(events[0].event_type, "model");
//! assert_eq!(events[0].inputs["question"], "Why");
//! assert_eq!(events[0].outputs["result"], "Why? It depends.");
//! assert_eq!(events[0].metrics["words"], 3);
//! ```
//!
//! Events go the whole way, through limits and encoding, up to where they would be sent. Settings are the defaults:
//! neither the environment nor files are read; [`capture_with`] takes others.
//!
//! An [`Event`] serialises without ids and times, so two runs of the same code give the same snapshot:
//!
//! ```
//! # let events = honeyhive::testing::capture(|| tracing::info_span!("step", n = 1).in_scope(|| {}));
//! assert_eq!(
//!     serde_json::to_value(&events)?,
//!     serde_json::json!([
//!         { "name": "step", "event_type": "tool", "session": "capture", "inputs": { "n": 1 } }
//!     ])
//! );
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! The closure runs under a subscriber of its own, on this thread. Threads and tasks that it starts have to take that
//! along, with [`WithSubscriber::with_current_subscriber`](tracing::instrument::WithSubscriber) for instance.

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::config::{Builder, Protocol};
use crate::error::Error;
use crate::export::Tape;
use crate::id::{EventId, SessionId};
use crate::lifecycle::HoneyHive;

/// Nothing is sent anywhere, so this is only ever waited for when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// An event, as HoneyHive would have it.
///
/// Of its fields those that differ from run to run (ids and times) are not serialised, and neither are empty ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its type: `model`, `tool`, `chain` or `session`.
    pub event_type: String,
    /// The name of its session; that of events outside every session is `capture`, unless a setting says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The name of the event it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its inputs; nested as they were given, as are the others.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Value>,
    /// Its outputs.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub outputs: Map<String, Value>,
    /// Its configuration.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
    /// Its metadata.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Its metrics.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
    /// Its feedback.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub feedback: Map<String, Value>,
    /// Properties of the user.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub user_properties: Map<String, Value>,
    /// The message of its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The type of its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// All other attributes, such as `gen_ai.*`, by the name they are sent under.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
    /// The span events, in the order they happened: name and attributes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub span_events: Vec<(String, Map<String, Value>)>,
    /// Where it comes from.
    #[serde(skip)]
    pub source: String,
    /// The project, where one was set.
    #[serde(skip)]
    pub project: Option<String>,
    /// The id of its session.
    #[serde(skip)]
    pub session_id: Option<SessionId>,
    /// Its id, where somebody asked for it.
    #[serde(skip)]
    pub event_id: Option<EventId>,
    /// The id of its trace; empty for an event that was no span.
    #[serde(skip)]
    pub trace_id: String,
    /// The id of its span; empty for an event that was no span.
    #[serde(skip)]
    pub span_id: String,
    /// The span, or the event, it is a part of.
    #[serde(skip)]
    pub parent_id: Option<String>,
    /// When it began.
    #[serde(skip)]
    pub start: SystemTime,
    /// How long it took.
    #[serde(skip)]
    pub duration: Duration,
}

/// The events that come of a closure, in the order they began. Spans that are still open when it returns are among
/// them, with `metadata.unfinished`.
pub fn capture<R>(f: impl FnOnce() -> R) -> Vec<Event> {
    capture_with(Builder::new(), f).unwrap_or_default()
}

/// [`capture`] with settings of your own. The environment and files are not read for the others.
///
/// ```
/// use honeyhive::{HoneyHive, testing};
///
/// let settings = HoneyHive::builder().filter("debug");
/// let events = testing::capture_with(settings, || tracing::debug_span!("detail").in_scope(|| {}))?;
/// assert_eq!(events[0].name, "detail");
/// # Ok::<(), honeyhive::Error>(())
/// ```
///
/// # Errors
///
/// As [`Builder::build`].
pub fn capture_with<R>(settings: Builder, f: impl FnOnce() -> R) -> Result<Vec<Event>, Error> {
    let (honeyhive, tape) = recording(settings)?;
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || drop(f()));
    let _ = honeyhive.shutdown_blocking(PATIENCE);
    Ok(events(&tape))
}

/// [`capture`] for a future.
///
/// ```
/// # async fn example() {
/// let events = honeyhive::testing::capture_async(async {
///     tokio::task::yield_now().await;
///     tracing::info_span!("step").in_scope(|| {});
/// })
/// .await;
/// assert_eq!(events[0].name, "step");
/// # }
/// ```
pub async fn capture_async<F: Future>(future: F) -> Vec<Event> {
    let captured = capture_async_with(Builder::new(), future).await;
    captured.unwrap_or_default()
}

/// [`capture_with`] for a future.
///
/// # Errors
///
/// As [`Builder::build`].
pub async fn capture_async_with<F: Future>(
    settings: Builder,
    future: F,
) -> Result<Vec<Event>, Error> {
    let (honeyhive, tape) = recording(settings)?;
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    drop(future.with_subscriber(subscriber).await);
    let _ = honeyhive.shutdown(PATIENCE).await;
    Ok(events(&tape))
}

fn recording(settings: Builder) -> Result<(HoneyHive, Tape), Error> {
    let settings = settings
        .test_mode(true)
        .git(false)
        .protocol(Protocol::HttpJson);
    let tape = Tape::default();
    let honeyhive = HoneyHive::recording(settings, tape.clone())?;
    Ok((honeyhive, tape))
}

/// What was posted, put together.
fn events(tape: &Tape) -> Vec<Event> {
    let mut sessions = HashMap::new();
    let mut found = Vec::new();
    let mut updates = Vec::new();
    for (put, url, body) in tape.requests() {
        let Ok(body) = serde_json::from_slice::<Value>(&body) else {
            continue;
        };
        if url.ends_with("/session/start") {
            let session = member(&body, "session");
            sessions.insert(text(session, "session_id"), text(session, "session_name"));
        } else if put {
            updates.push(body);
        } else if url.ends_with("/events") {
            found.push(created(member(&body, "event")));
        } else {
            found.extend(spans(&body).map(exported));
        }
    }
    for update in &updates {
        let id = EventId::parse(&text(update, "event_id")).ok();
        let target = found
            .iter_mut()
            .find(|event: &&mut Event| id.is_some() && event.event_id == id);
        if let Some(event) = target {
            take_buckets(event, update);
        }
    }
    let names: HashMap<String, String> = found
        .iter()
        .flat_map(|event| {
            let id = event.event_id.map(|id| id.to_string());
            let ids = [Some(event.span_id.clone()), id];
            ids.into_iter().flatten().map(|id| (id, event.name.clone()))
        })
        .collect();
    for event in &mut found {
        let parent = event.parent_id.as_ref();
        event.parent = parent.and_then(|id| names.get(id)).cloned();
        let session = event.session_id.map(|id| id.to_string());
        if event.session.is_none() {
            event.session = session.and_then(|id| sessions.get(&id).cloned());
        }
    }
    // Of two that began together the one that took longer holds the other.
    found.sort_by(|one, other| {
        let longer = other.duration.cmp(&one.duration);
        one.start.cmp(&other.start).then(longer)
    });
    found
}

fn spans(body: &Value) -> impl Iterator<Item = &Value> {
    let resources = member(body, "resourceSpans")
        .as_array()
        .into_iter()
        .flatten();
    resources
        .flat_map(|resource| {
            member(resource, "scopeSpans")
                .as_array()
                .into_iter()
                .flatten()
        })
        .flat_map(|scope| member(scope, "spans").as_array().into_iter().flatten())
}

/// A member of an object, or null.
fn member<'a>(object: &'a Value, key: &str) -> &'a Value {
    object.get(key).unwrap_or(&Value::Null)
}

fn text(object: &Value, key: &str) -> String {
    member(object, key).as_str().unwrap_or_default().to_owned()
}

fn at(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

fn empty() -> Event {
    Event {
        name: String::new(),
        event_type: String::new(),
        session: None,
        parent: None,
        inputs: Map::new(),
        outputs: Map::new(),
        config: Map::new(),
        metadata: Map::new(),
        metrics: Map::new(),
        feedback: Map::new(),
        user_properties: Map::new(),
        error: None,
        error_type: None,
        attributes: Map::new(),
        span_events: Vec::new(),
        source: String::new(),
        project: None,
        session_id: None,
        event_id: None,
        trace_id: String::new(),
        span_id: String::new(),
        parent_id: None,
        start: SystemTime::UNIX_EPOCH,
        duration: Duration::ZERO,
    }
}

impl Event {
    fn bucket(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        Some(match name {
            "inputs" => &mut self.inputs,
            "outputs" => &mut self.outputs,
            "config" => &mut self.config,
            "metadata" => &mut self.metadata,
            "metrics" => &mut self.metrics,
            "feedback" => &mut self.feedback,
            "user_properties" => &mut self.user_properties,
            _ => return None,
        })
    }
}

/// An event that was no span.
fn created(body: &Value) -> Event {
    let optional = |key: &str| member(body, key).as_str().map(str::to_owned);
    let milliseconds = member(body, "duration").as_f64().unwrap_or_default();
    let start = body["start_time"].as_u64().unwrap_or_default();
    let mut event = Event {
        name: text(body, "event_name"),
        event_type: text(body, "event_type"),
        error: optional("error"),
        source: text(body, "source"),
        project: optional("project").filter(|project| !project.is_empty()),
        session_id: SessionId::parse(&text(body, "session_id")).ok(),
        event_id: EventId::parse(&text(body, "event_id")).ok(),
        parent_id: optional("parent_id"),
        start: at(start.saturating_mul(1_000_000)),
        duration: Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default(),
        ..empty()
    };
    take_buckets(&mut event, body);
    let error_type = event.metadata.remove("error_type");
    event.error_type = error_type.and_then(|kind| kind.as_str().map(str::to_owned));
    event
}

fn take_buckets(event: &mut Event, body: &Value) {
    for (key, value) in body.as_object().into_iter().flatten() {
        if let (Some(bucket), Value::Object(entries)) = (event.bucket(key), value) {
            let entries = entries.iter();
            bucket.extend(entries.map(|(key, value)| (key.clone(), value.clone())));
        }
    }
}

/// An event that was a span.
fn exported(span: &Value) -> Event {
    let nanoseconds = |key: &str| text(span, key).parse::<u64>().unwrap_or_default();
    let (start, end) = (
        nanoseconds("startTimeUnixNano"),
        nanoseconds("endTimeUnixNano"),
    );
    let mut event = Event {
        name: text(span, "name"),
        trace_id: text(span, "traceId"),
        span_id: text(span, "spanId"),
        parent_id: Some(text(span, "parentSpanId")).filter(|id| !id.is_empty()),
        start: at(start),
        duration: Duration::from_nanos(end.saturating_sub(start)),
        ..empty()
    };
    for (key, value) in attributes(span) {
        take_attribute(&mut event, &key, value);
    }
    for name in [
        "inputs",
        "outputs",
        "config",
        "metadata",
        "metrics",
        "feedback",
        "user_properties",
    ] {
        if let Some(bucket) = event.bucket(name) {
            *bucket = nest(std::mem::take(bucket));
        }
    }
    for happened in member(span, "events").as_array().into_iter().flatten() {
        let attributes = attributes(happened).collect();
        event.span_events.push((text(happened, "name"), attributes));
    }
    event
}

fn take_attribute(event: &mut Event, key: &str, value: Value) {
    let owned = |value: &Value| value.as_str().map(str::to_owned);
    match key {
        "honeyhive_event_type" => event.event_type = owned(&value).unwrap_or_default(),
        // That is the name of the span.
        "honeyhive_event_name" => {}
        "honeyhive_event_id" => {
            event.event_id = owned(&value).and_then(|id| EventId::parse(&id).ok());
        }
        "honeyhive_error" => event.error = owned(&value),
        "honeyhive_error_type" => event.error_type = owned(&value),
        "honeyhive_duration_ms" => {
            let seconds = value.as_f64().map(|milliseconds| milliseconds / 1e3);
            let duration = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
            event.duration = duration.unwrap_or(event.duration);
        }
        "honeyhive.session_id" => {
            event.session_id = owned(&value).and_then(|id| SessionId::parse(&id).ok());
        }
        "honeyhive.session_name" => event.session = owned(&value),
        "honeyhive.source" => event.source = owned(&value).unwrap_or_default(),
        "honeyhive.project" => event.project = owned(&value),
        _ if key.starts_with("traceloop.association.properties.") => {}
        _ => {
            let bucket = key
                .strip_prefix("honeyhive_")
                .and_then(|rest| rest.split_once('.'))
                .and_then(|(bucket, name)| Some((event.bucket(bucket)?, name)));
            let (map, name) = match bucket {
                Some(found) => found,
                None => (&mut event.attributes, key),
            };
            map.insert(name.to_owned(), value);
        }
    }
}

fn attributes(of: &Value) -> impl Iterator<Item = (String, Value)> + '_ {
    let list = member(of, "attributes").as_array().into_iter().flatten();
    list.map(|attribute| (text(attribute, "key"), plain(member(attribute, "value"))))
}

/// An OTLP value as what it means.
fn plain(value: &Value) -> Value {
    if let Some(number) = member(value, "intValue").as_str() {
        return number.parse::<i64>().map_or(Value::Null, Value::from);
    }
    ["stringValue", "boolValue", "doubleValue", "intValue"]
        .into_iter()
        .find_map(|kind| value.get(kind))
        .cloned()
        .unwrap_or_default()
}

/// Dotted keys as objects, and as lists where they count from zero. A key that is in the way of another stays as it is.
fn nest(flat: Map<String, Value>) -> Map<String, Value> {
    let mut nested = Map::new();
    let mut dotted = Vec::new();
    for (key, value) in flat {
        if key.contains('.') {
            dotted.push((key, value));
        } else {
            nested.insert(key, value);
        }
    }
    for (key, value) in dotted {
        if let Some(value) = put(&mut nested, &key, value) {
            nested.insert(key, value);
        }
    }
    nested
        .into_iter()
        .map(|(key, value)| (key, listed(value)))
        .collect()
}

/// Gives back what finds no place.
fn put(object: &mut Map<String, Value>, key: &str, value: Value) -> Option<Value> {
    let Some((first, rest)) = key.split_once('.') else {
        if object.contains_key(key) {
            return Some(value);
        }
        object.insert(key.to_owned(), value);
        return None;
    };
    let inner = object
        .entry(first)
        .or_insert_with(|| Value::Object(Map::new()));
    match inner {
        Value::Object(inner) => put(inner, rest, value),
        _ => Some(value),
    }
}

fn listed(value: Value) -> Value {
    let Value::Object(object) = value else {
        return value;
    };
    let mut indices: Vec<usize> = object.keys().filter_map(|key| key.parse().ok()).collect();
    indices.sort_unstable();
    let counts = !indices.is_empty()
        && indices.len() == object.len()
        && indices.iter().enumerate().all(|(at, index)| at == *index);
    let mut parts: Vec<(String, Value)> = object
        .into_iter()
        .map(|(key, value)| (key, listed(value)))
        .collect();
    if !counts {
        return Value::Object(parts.into_iter().collect());
    }
    parts.sort_by_key(|(key, _)| key.parse::<usize>().unwrap_or_default());
    Value::Array(parts.into_iter().map(|(_, value)| value).collect())
}
