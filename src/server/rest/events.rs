//! Events: created, changed, deleted, searched.

use super::input::{ENDS, Fields, Span, Wrong, span};
use super::sessions::known_id;
use super::{Answer, App};
use crate::server::filter;
use crate::server::http::Problem;
use crate::server::mapping::Mapped;
use crate::server::store::{
    Fault, NewEvent, Op, Outcome, Reader, Search, SessionPatch, Update, now_ms,
};
use crate::server::types::{Buckets, EventKind};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

const TYPES: [&str; 4] = ["model", "tool", "chain", "session"];
/// Most events of one export.
const EXPORT: u64 = 7500;
/// Most events of one page of a search.
const PAGE: u64 = 1000;
/// Most fields that are chosen of each event.
const PROJECTIONS: usize = 200;
/// Bytes of one part of a large answer, about.
const PART: usize = 256 << 10;
/// How long a client may take to accept one.
const PATIENCE: Duration = Duration::from_secs(30);

/// How strictly an event is read: the current routes refuse what they do not know, the older ones fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Strict,
    Legacy,
    /// A model event of the older routes, whose own fields go into its inputs and outputs.
    Model,
}

/// An event as a request describes it; what it leaves out is filled in as the platform does.
pub(super) fn new_event(mut fields: Fields, shape: Shape) -> Wrong<NewEvent> {
    let strict = shape == Shape::Strict;
    let kind = match shape {
        Shape::Strict => Some(fields.need_choice("event_type", &TYPES)?),
        Shape::Legacy => fields.choice("event_type", &TYPES)?,
        Shape::Model => None,
    };
    let kind = match (kind, shape) {
        (_, Shape::Model) => EventKind::Model,
        (Some(kind), _) => EventKind::named(&kind).unwrap_or_default(),
        (None, _) => EventKind::Tool,
    };
    if strict && !fields.has("inputs") {
        return Err(Problem::bad(format!(
            "{}inputs is required",
            fields.place()
        )));
    }
    let mut buckets = fields.buckets()?;
    let mut name = text(&mut fields, "event_name", strict)?;
    if shape == Shape::Model {
        let model = model_fields(&mut fields, &mut buckets);
        name = name.or(model);
        if name.is_none() {
            return Err(Problem::bad(format!(
                "{}model_name or event_name is required",
                fields.place()
            )));
        }
    }
    let fresh = || uuid::Uuid::new_v4().to_string();
    let lower = |text: String| text.to_ascii_lowercase();
    let event_id = text(&mut fields, "event_id", strict)?.map_or_else(fresh, lower);
    let session_id = match (text(&mut fields, "session_id", strict)?, kind) {
        (Some(id), _) => id.to_ascii_lowercase(),
        (None, EventKind::Session) => event_id.clone(),
        (None, _) => fresh(),
    };
    let duration = number(&mut fields, "duration", strict)?.filter(|ms| *ms >= 0.0);
    let ended = number(&mut fields, "end_time", strict)?;
    let started = number(&mut fields, "start_time", strict)?.unwrap_or_else(|| {
        let end = ended.unwrap_or_else(now_ms);
        end - duration.unwrap_or(0.0)
    });
    let ended = ended
        .unwrap_or(started + duration.unwrap_or(0.0))
        .max(started);
    let children = fields.texts("children_ids")?.unwrap_or_default();
    let event = Mapped {
        event_id,
        span_key: None,
        session_id,
        session_name: match strict {
            true => None,
            false => fields.lenient_text("session_name"),
        },
        parent_id: text(&mut fields, "parent_id", strict)?.map(lower),
        kind,
        name: name.unwrap_or_else(|| "unknown".to_owned()),
        source: text(&mut fields, "source", strict)?,
        project: match strict {
            true => None,
            false => fields.lenient_text("project"),
        },
        service: None,
        start_ms: started,
        end_ms: ended,
        duration_ms: duration.unwrap_or(ended - started),
        error: text(&mut fields, "error", strict)?,
        buckets,
        raw: String::new(),
        verdicts: Map::new(),
    };
    if strict {
        // There is one project here: whichever is named is meant.
        text(&mut fields, "project_id", true)?;
        fields.nothing_else()?;
    }
    Ok(NewEvent::new(event).with_children(&children))
}

fn text(fields: &mut Fields, name: &str, strict: bool) -> Wrong<Option<String>> {
    match strict {
        true => Ok(fields.text(name)?.filter(|text| !text.is_empty())),
        false => Ok(fields.lenient_text(name)),
    }
}

fn number(fields: &mut Fields, name: &str, strict: bool) -> Wrong<Option<f64>> {
    match strict {
        true => fields.number(name),
        false => Ok(fields.lenient_number(name)),
    }
}

/// Moves the fields that only model events have to where the others keep them; answers with the model.
fn model_fields(fields: &mut Fields, buckets: &mut Buckets) -> Option<String> {
    for name in [
        "messages",
        "provider",
        "usage",
        "cost",
        "hyperparameters",
        "template",
        "template_inputs",
        "tools",
        "tool_choice",
        "response_format",
        "duration",
        "error",
    ] {
        if let Some(value) = fields.any(name) {
            buckets.inputs.insert(name.to_owned(), value);
        }
    }
    if let Some(response) = fields.any("response") {
        buckets.outputs.insert("response".to_owned(), response);
    }
    if let Some(version) = fields.lenient_text("model_version") {
        let version = Value::String(version);
        buckets.config.entry("model_version").or_insert(version);
    }
    let older = fields.lenient_text("model");
    let model = fields.lenient_text("model_name").or(older)?;
    let named = Value::String(model.clone());
    buckets.config.entry("model").or_insert(named);
    Some(model)
}

async fn create_one(app: &App, fields: Fields, shape: Shape) -> Answer {
    let event = new_event(fields, shape)?;
    let event_id = event.event.event_id.clone();
    let op = Op::Event(Box::new(event));
    app.store.write(vec![op]).await.map_err(Problem::store)?;
    Ok(Json(json!({"success": true, "event_id": event_id})))
}

/// `POST /v1/events`.
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer {
    let fields = Fields::read(request).await?;
    create_one(&app, fields, Shape::Strict).await
}

/// `POST /events`, `{"event": {..}}`.
pub(super) async fn create_legacy(State(app): State<Arc<App>>, request: Request) -> Answer {
    let event = Fields::read(request).await?.need_fields("event")?;
    create_one(&app, event, Shape::Legacy).await
}

/// `POST /events/model`, `{"model_event": {..}}`.
pub(super) async fn create_model(State(app): State<Arc<App>>, request: Request) -> Answer {
    let event = Fields::read(request).await?.need_fields("model_event")?;
    create_one(&app, event, Shape::Model).await
}

/// `POST /v1/events/batch`: all of it or nothing.
pub(super) async fn batch(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut content = Fields::read(request).await?;
    let single = content.flag("single_session")?.unwrap_or(false);
    let session = content.fields("session_properties")?;
    let events = content.objects("events")?;
    let events = events.ok_or_else(|| Problem::bad("events is required"))?;
    content.nothing_else()?;
    many(
        &app,
        events,
        ("events", Shape::Strict),
        single.then_some(session),
    )
    .await
}

/// `POST /events/batch`.
pub(super) async fn batch_legacy(State(app): State<Arc<App>>, request: Request) -> Answer {
    many_legacy(&app, request, "events", Shape::Legacy).await
}

/// `POST /events/model/batch`.
pub(super) async fn batch_model(State(app): State<Arc<App>>, request: Request) -> Answer {
    many_legacy(&app, request, "model_events", Shape::Model).await
}

async fn many_legacy(app: &App, request: Request, name: &str, shape: Shape) -> Answer {
    let mut content = Fields::read(request).await?;
    let older = content.flag("is_single_session")?;
    let single = content.flag("single_session")?.or(older).unwrap_or(false);
    let older = content.fields("session")?;
    let session = content.fields("session_properties")?.or(older);
    let events = content.objects(name)?;
    let events = events.ok_or_else(|| Problem::bad(format!("{name} is required")))?;
    many(app, events, (name, shape), single.then_some(session)).await
}

/// Creates events, with `single` all in one new session. The older routes create those that can be, and then tell of the
/// others with the status 500.
async fn many(
    app: &App,
    events: Vec<Map<String, Value>>,
    (name, shape): (&str, Shape),
    single: Option<Option<Fields>>,
) -> Answer {
    let mut ops = Vec::with_capacity(events.len() + 1);
    let mut session_id = None;
    if let Some(properties) = single {
        let mut properties = properties.unwrap_or_else(|| Fields::new(Map::new(), ""));
        let id = uuid::Uuid::new_v4().to_string();
        let patch = SessionPatch {
            session_id: id.clone(),
            name: properties.text("session_name")?,
            started: properties.number("start_time")?,
            buckets: Buckets {
                user_properties: properties.object("user_properties")?.unwrap_or_default(),
                metadata: properties.object("metadata")?.unwrap_or_default(),
                ..Buckets::default()
            },
            ..SessionPatch::default()
        };
        ops.push(Op::Session(Box::new(patch)));
        session_id = Some(id);
    }
    let mut event_ids = Vec::with_capacity(events.len());
    let mut refused = Vec::new();
    for (index, mut event) in events.into_iter().enumerate() {
        if let Some(id) = &session_id {
            event.insert("session_id".to_owned(), id.clone().into());
        }
        let fields = Fields::new(event, format!("{name}[{index}]."));
        match new_event(fields, shape) {
            Ok(event) => {
                event_ids.push(event.event.event_id.clone());
                ops.push(Op::Event(Box::new(event)));
            }
            Err(problem) if shape == Shape::Strict => return Err(problem),
            Err(problem) => refused.push((index, problem)),
        }
    }
    if event_ids.is_empty()
        && let Some((_, problem)) = refused.pop()
    {
        return Err(problem);
    }
    if !ops.is_empty() {
        app.store.write(ops).await.map_err(Problem::store)?;
    }
    if let Some((_, first)) = refused.first() {
        let message = format!("events partially created: {}", first.message());
        let errors: Vec<Value> = refused
            .iter()
            .map(|(index, problem)| json!({"index": index, "message": problem.message()}))
            .collect();
        let mut problem = Problem::broken(message)
            .with("success", false)
            .with("event_ids", event_ids)
            .with("errors", errors);
        if let Some(id) = session_id {
            problem = problem.with("session_id", id);
        }
        return Err(problem);
    }
    let mut answer = json!({"success": true, "event_ids": event_ids});
    if let (Some(id), Value::Object(answer)) = (session_id, &mut answer) {
        answer.insert("session_id".to_owned(), id.into());
    }
    Ok(Json(answer))
}

fn update_of(event_id: String, mut fields: Fields) -> Wrong<Update> {
    // `null` keeps the outputs.
    let replaces_outputs = fields.has("outputs");
    let buckets = fields.buckets()?;
    Ok(Update {
        replaces_outputs,
        ended: fields.number("end_time")?,
        duration: fields.number("duration")?.filter(|ms| *ms >= 0.0),
        error: fields.text("error")?,
        children: fields.texts("children_ids")?.unwrap_or_default(),
        buckets,
        event_id,
    })
}

async fn changed(app: &App, update: Update) -> Wrong<bool> {
    let op = Op::Update(Box::new(update));
    let done = app.store.write(vec![op]).await.map_err(Problem::store)?;
    Ok(done.first() == Some(&Outcome::Done))
}

/// `PUT /events`, `{"event_id": .., ..}`: what is given is merged into the event, or into the session with that id.
pub(super) async fn update_legacy(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let event_id = fields.need_filled("event_id", 1000)?.to_ascii_lowercase();
    let shown: String = event_id.chars().take(100).collect();
    // The platform refuses inputs here; merging them is what everybody who sends them means.
    match changed(&app, update_of(event_id, fields)?).await? {
        true => Ok(Json(json!({"success": true}))),
        false => Err(Problem::bad(format!("event_id {shown:?} is not known"))),
    }
}

fn no_event(id: &str) -> Problem {
    let shown: String = id.chars().take(100).collect();
    Problem::missing(format!("there is no event {shown:?}"))
}

/// `PUT /v1/events/{event_id}`, the same with the id in the path.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(event_id): Path<String>,
    request: Request,
) -> Answer {
    let event_id = known_id(&event_id)?;
    let fields = Fields::read(request).await?;
    let update = update_of(event_id.clone(), fields)?;
    match changed(&app, update).await? {
        true => Ok(Json(json!({"success": true}))),
        false => Err(no_event(&event_id)),
    }
}

/// `GET /v1/events/{event_id}`; a session is an event too.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(event_id): Path<String>,
) -> Result<Response, Problem> {
    let event_id = known_id(&event_id)?;
    let wanted = event_id.clone();
    let found = app.ask(move |reader| {
        let mut out = "{\"event\":".to_owned();
        Ok(match reader.key(&wanted)? {
            Some(key) => reader.write_event(key, &mut out)?.then_some(out),
            None => None,
        })
    });
    match found.await? {
        Some(event) => Ok(json_text(event + "}")),
        None => Err(no_event(&event_id)),
    }
}

/// `DELETE /v1/events/{event_id}`; a session goes with all of its events.
pub(super) async fn delete(State(app): State<Arc<App>>, Path(event_id): Path<String>) -> Answer {
    let event_id = known_id(&event_id)?;
    let op = Op::Delete(event_id.clone());
    let done = app.store.write(vec![op]).await.map_err(Problem::store)?;
    match done.first() {
        Some(Outcome::Done) => Ok(Json(json!({"success": true, "deleted": event_id}))),
        _ => Err(no_event(&event_id)),
    }
}

pub(super) fn json_text(text: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// A search, and the fields that are shown of what it finds; none for all of them.
struct Wanted {
    search: Search,
    run: Option<String>,
    projections: Vec<String>,
}

/// `POST /v1/events/export`.
pub(super) async fn export(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let mut fields = Fields::read_optional(request).await?;
    let range = span(fields.any("dateRange").as_ref(), "dateRange", ENDS)?;
    let projections = fields.texts("projections")?.unwrap_or_default();
    let long = |name: &String| name.len() > filter::LONGEST;
    if projections.len() > PROJECTIONS || projections.iter().any(long) {
        let must = format!("at most {PROJECTIONS} names of at most 1000 bytes");
        return Err(fields.wrong("projections", &must));
    }
    // More than the most is the most: older clients ask for more.
    let limit = fields.whole("limit", 1, u64::MAX)?;
    let limit = limit.unwrap_or(PAGE).min(EXPORT);
    let wanted = wanted(fields, range, projections, limit, false)?;
    found(&app, wanted).await
}

/// `POST /v1/events/search`.
pub(super) async fn search(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let mut fields = Fields::read_optional(request).await?;
    let range = fields.any("dateRange");
    let range = span(range.as_ref(), "dateRange", ["start_time", "end_time"])?;
    let limit = fields.whole("limit", 1, PAGE)?.unwrap_or(PAGE);
    let wanted = wanted(fields, range, Vec::new(), limit, true)?;
    found(&app, wanted).await
}

fn wanted(
    mut fields: Fields,
    range: Span,
    projections: Vec<String>,
    limit: u64,
    strict: bool,
) -> Wrong<Wanted> {
    let page = fields.whole("page", 1, u64::MAX)?.unwrap_or(1);
    // Results are always in order.
    fields.flag("ignore_order")?;
    let wanted = Wanted {
        search: Search {
            conditions: fields.conditions("filters", strict)?,
            from: range.from,
            to: range.to,
            sessions: None,
            offset: (page - 1).saturating_mul(limit),
            limit,
        },
        run: fields.filled("evaluation_id", 1000)?,
        projections,
    };
    if strict {
        fields.nothing_else()?;
    }
    Ok(wanted)
}

type Part = Result<Bytes, Problem>;

/// What is found, as JSON text. A small page is answered at once, a large one part by part as it is read, so that memory
/// stays flat.
async fn found(app: &App, wanted: Wanted) -> Result<Response, Problem> {
    let (sender, mut rest) = mpsc::channel(2);
    let store = app.store.clone();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let send = |part: Part| {
            let sent = tokio::time::timeout(PATIENCE, sender.send(part));
            matches!(runtime.block_on(sent), Ok(Ok(())))
        };
        if let Err(fault) = store.read(|reader| page(reader, wanted, &send)) {
            send(Err(fault.into()));
        }
    });
    let first = rest.recv().await;
    let first = first.ok_or_else(|| Problem::broken("a query failed"))??;
    let Some(second) = rest.recv().await.transpose()? else {
        return Ok(json_text(first));
    };
    let ahead = VecDeque::from([first, second]);
    Ok(json_text(Body::from_stream(Parts { ahead, rest })))
}

/// A body that is made while it is sent.
struct Parts {
    ahead: VecDeque<Bytes>,
    rest: mpsc::Receiver<Part>,
}

impl futures_core::Stream for Parts {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(part) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(part)));
        }
        // Too late for a status: the connection ends, and the client sees that something is missing.
        let broken = |problem: Problem| std::io::Error::other(problem.message().to_owned());
        let part = self.rest.poll_recv(context);
        part.map(|part| part.map(|part| part.map_err(broken)))
    }
}

/// Writes a page of events as JSON text. Stored values are JSON already: they are not read, but passed on. Ends early when
/// nobody takes a part.
fn page(reader: &Reader<'_>, mut wanted: Wanted, send: &dyn Fn(Part) -> bool) -> Result<(), Fault> {
    if let Some(id) = &wanted.run {
        let run = reader.known_run(id)?;
        wanted.search.sessions = Some(reader.run_sessions(&run)?);
    }
    let found = reader.search(&wanted.search)?;
    let mut out = "{\"events\":[".to_owned();
    let mut first = true;
    let mut one = String::new();
    for key in found.keys {
        one.clear();
        if !reader.write_event(key, &mut one)? {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        match wanted.projections.is_empty() {
            true => out.push_str(&one),
            false => out.push_str(&project(&one, &wanted.projections)),
        }
        if out.len() >= PART {
            let part = std::mem::replace(&mut out, String::with_capacity(PART + PART / 4));
            if !send(Ok(part.into())) {
                return Ok(());
            }
        }
    }
    out.push_str(&format!("],\"count\":{}}}", found.count));
    send(Ok(out.into()));
    Ok(())
}

/// The fields of an event that are asked for, with dots between the parts of their names.
fn project(event: &str, fields: &[String]) -> String {
    let Ok(event) = serde_json::from_str::<Map<String, Value>>(event) else {
        return "{}".to_owned();
    };
    let mut shown = Map::new();
    for field in fields {
        let Some(value) = filter::find(&event, field) else {
            continue;
        };
        match field.split_once('.') {
            Some((bucket, way)) if event.contains_key(bucket) => {
                let group = shown
                    .entry(bucket)
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(group) = group {
                    put(group, way, value.clone());
                }
            }
            _ => {
                shown.insert(field.clone(), value.clone());
            }
        }
    }
    serde_json::to_string(&shown).unwrap_or_else(|_| "{}".to_owned())
}

fn put(map: &mut Map<String, Value>, way: &str, value: Value) {
    match way.split_once('.') {
        None => {
            map.insert(way.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = map
                .entry(first)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(super) fn try_body(mut fields: Fields) {
    let range = fields.any("dateRange");
    let range = span(range.as_ref(), "dateRange", ENDS).unwrap_or_default();
    let shown = fields.texts("projections").unwrap_or_default();
    let shown = shown.unwrap_or_default();
    if let Ok(wanted) = wanted(fields, range, shown, 1, false) {
        let _ = project("{\"a\": {\"b\": 1}}", &wanted.projections);
    }
}
