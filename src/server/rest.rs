//! The platform's REST routes that tracing needs: sessions are started, events created and changed. Knows requests and
//! the store, not pages.

use super::App;
use super::http::{Problem, body};
use super::mapping::Mapped;
use super::store::{NewEvent, Op, Outcome, SessionPatch, Update, now_ms};
use super::types::{BUCKETS, Buckets, EventKind};
use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const LIMIT: usize = 16 << 20;

/// What stands for the account, the workspace and the project: there is one of each here.
const ORGANISATION: &str = "local";
const WORKSPACE: &str = "local";
const PROJECT: &str = "local";

type Answer = Result<Json<Value>, Problem>;

/// `POST /session/start`, `{"session": {..}}`.
pub(super) async fn start_session_legacy(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut content = object(request).await?;
    match content.remove("session") {
        Some(Value::Object(session)) => start(&app, session).await,
        Some(_) => Err(Problem::bad("session must be an object")),
        None => Err(Problem::bad("session is required")),
    }
}

/// `POST /v1/sessions`, the same without the wrapper.
pub(super) async fn start_session(State(app): State<Arc<App>>, request: Request) -> Answer {
    let session = object(request).await?;
    start(&app, session).await
}

async fn start(app: &App, mut session: Map<String, Value>) -> Answer {
    let given = text(&mut session, "session_id");
    let session_id = match given.as_deref().map(uuid::Uuid::try_parse) {
        Some(Ok(id)) => id.to_string(),
        _ => uuid::Uuid::new_v4().to_string(),
    };
    let name = text(&mut session, "session_name");
    let patch = SessionPatch {
        name: text(&mut session, "event_name").or(name),
        source: text(&mut session, "source"),
        project: text(&mut session, "project"),
        started: number(&session, "start_time"),
        ended: number(&session, "end_time"),
        duration: number(&session, "duration"),
        error: text(&mut session, "error"),
        buckets: buckets(&mut session)?,
        session_id: session_id.clone(),
    };
    let op = Op::Session(Box::new(patch));
    app.store.write(vec![op]).await.map_err(Problem::store)?;
    let stored = app.read(move |store| {
        store.read(|reader| match reader.session(&session_id)? {
            Some(row) => reader.whole_session(row).map(Some),
            None => Ok(None),
        })
    });
    let stored = stored.await?;
    let stored = stored.ok_or_else(|| Problem::broken("the session was not stored"))?;
    Ok(Json(json!({
        "event_id": stored.session_id,
        "session_id": stored.session_id,
        "parent_id": null,
        "children_ids": [],
        "event_type": "session",
        "event_name": stored.session_name,
        "source": stored.source.as_deref().unwrap_or("unknown"),
        "config": stored.config,
        "inputs": stored.inputs,
        "outputs": stored.outputs,
        "error": stored.error,
        "duration": stored.duration,
        "user_properties": stored.user_properties,
        "metrics": stored.metrics,
        "feedback": stored.feedback,
        "metadata": stored.metadata,
        "start_time": stored.start_time,
        "end_time": stored.end_time,
        "org_id": ORGANISATION,
        "workspace_id": WORKSPACE,
        "project_id": PROJECT,
    })))
}

/// `POST /events`, `{"event": {..}}`.
pub(super) async fn create_event(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut content = object(request).await?;
    let event = match content.remove("event") {
        Some(Value::Object(event)) => event,
        Some(_) => return Err(Problem::bad("event must be an object")),
        None => return Err(Problem::bad("event is required")),
    };
    let event = created(event)?;
    let event_id = event.event_id.clone();
    let op = Op::Event(Box::new(NewEvent::new(event)));
    app.store.write(vec![op]).await.map_err(Problem::store)?;
    Ok(Json(json!({"success": true, "event_id": event_id})))
}

/// An event as a request describes it; what it leaves out is filled in as the platform does.
fn created(mut event: Map<String, Value>) -> Result<Mapped, Problem> {
    let kind = match text(&mut event, "event_type") {
        None => EventKind::Tool,
        Some(name) => EventKind::named(&name)
            .ok_or_else(|| Problem::bad("event_type must be model, tool, chain or session"))?,
    };
    let fresh = || uuid::Uuid::new_v4().to_string();
    let lower = |text: String| text.to_ascii_lowercase();
    let event_id = text(&mut event, "event_id").map_or_else(fresh, lower);
    let session_id = match (text(&mut event, "session_id"), kind) {
        (Some(id), _) => id.to_ascii_lowercase(),
        (None, EventKind::Session) => event_id.clone(),
        (None, _) => fresh(),
    };
    let duration = number(&event, "duration").filter(|ms| *ms >= 0.0);
    let ended = number(&event, "end_time");
    let started = number(&event, "start_time").unwrap_or_else(|| {
        let end = ended.unwrap_or_else(now_ms);
        end - duration.unwrap_or(0.0)
    });
    let ended = ended
        .unwrap_or(started + duration.unwrap_or(0.0))
        .max(started);
    Ok(Mapped {
        event_id,
        span_key: None,
        session_id,
        session_name: text(&mut event, "session_name"),
        parent_id: text(&mut event, "parent_id").map(lower),
        kind,
        name: text(&mut event, "event_name").unwrap_or_else(|| "unknown".to_owned()),
        source: text(&mut event, "source"),
        project: text(&mut event, "project"),
        service: None,
        start_ms: started,
        end_ms: ended,
        duration_ms: duration.unwrap_or(ended - started),
        error: text(&mut event, "error"),
        buckets: buckets(&mut event)?,
        raw: String::new(),
        verdicts: Map::new(),
    })
}

/// `PUT /events`, `{"event_id": .., ..}`: what is given is merged into the event, or into the session with that id.
pub(super) async fn update_event(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut content = object(request).await?;
    let event_id = text(&mut content, "event_id").map(|id| id.to_ascii_lowercase());
    let Some(event_id) = event_id else {
        return Err(Problem::bad("event_id is required"));
    };
    // The platform refuses inputs here; merging them is what everybody who sends them means.
    let update = Update {
        ended: number(&content, "end_time"),
        duration: number(&content, "duration").filter(|ms| *ms >= 0.0),
        error: text(&mut content, "error"),
        buckets: buckets(&mut content)?,
        event_id,
    };
    let shown: String = update.event_id.chars().take(100).collect();
    let op = Op::Update(Box::new(update));
    let done = app.store.write(vec![op]).await.map_err(Problem::store)?;
    match done.first() {
        Some(Outcome::Done) => Ok(Json(json!({"success": true}))),
        _ => Err(Problem::bad(format!("event_id {shown:?} is not known"))),
    }
}

async fn object(request: Request) -> Result<Map<String, Value>, Problem> {
    let content = body(request.into_body(), LIMIT).await?;
    match serde_json::from_slice(&content) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Problem::bad("the body must be a JSON object")),
        Err(error) => Err(Problem::bad(format!("malformed JSON: {error}"))),
    }
}

fn text(map: &mut Map<String, Value>, key: &str) -> Option<String> {
    match map.remove(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Numbers only: as with the platform, text in a number's place counts as absent.
fn number(map: &Map<String, Value>, key: &str) -> Option<f64> {
    map.get(key).and_then(Value::as_f64)
}

fn buckets(map: &mut Map<String, Value>) -> Result<Buckets, Problem> {
    let mut buckets = Buckets::default();
    for bucket in BUCKETS {
        match map.remove(bucket.name()) {
            None | Some(Value::Null) => {}
            Some(Value::Object(values)) => *buckets.get_mut(bucket) = values,
            Some(_) => {
                return Err(Problem::bad(format!("{} must be an object", bucket.name())));
            }
        }
    }
    Ok(buckets)
}
