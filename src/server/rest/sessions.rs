//! Sessions: started, and given events.

use super::events::{Shape, new_event};
use super::input::{Fields, NAME, Wrong};
use super::{Answer, App, ORGANISATION, PROJECT, WORKSPACE};
use crate::server::http::Problem;
use crate::server::store::{NewEvent, Op, SessionPatch};
use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::{Value, json};
use std::sync::Arc;

/// `POST /session/start`, `{"session": {..}}`.
pub(super) async fn start_legacy(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut content = Fields::read(request).await?;
    let session = content.need_fields("session")?;
    begin(&app, session).await
}

/// `POST /v1/sessions`, the same without the wrapper.
pub(super) async fn start(State(app): State<Arc<App>>, request: Request) -> Answer {
    let session = Fields::read(request).await?;
    begin(&app, session).await
}

async fn begin(app: &App, mut session: Fields) -> Answer {
    let given = session.lenient_text("session_id");
    let session_id = match given.as_deref().map(uuid::Uuid::try_parse) {
        Some(Ok(id)) => id.to_string(),
        _ => uuid::Uuid::new_v4().to_string(),
    };
    let name = session.lenient_text("session_name");
    let patch = SessionPatch {
        name: session.lenient_text("event_name").or(name),
        source: session.lenient_text("source"),
        project: session.lenient_text("project"),
        started: session.lenient_number("start_time"),
        ended: session.lenient_number("end_time"),
        duration: session.lenient_number("duration"),
        error: session.lenient_text("error"),
        buckets: session.buckets()?,
        children: session.texts("children_ids")?.unwrap_or_default(),
        session_id: session_id.clone(),
        replaces_outputs: false,
    };
    let op = Op::Session(Box::new(patch));
    app.store.write(vec![op]).await.map_err(Problem::store)?;
    let stored = app.ask(move |reader| {
        let mut out = String::new();
        match reader.key(&session_id)? {
            Some(key) if reader.write_event(key, &mut out)? => Ok(Some(out)),
            _ => Ok(None),
        }
    });
    let stored = stored.await?;
    let stored = stored.ok_or_else(|| Problem::broken("the session was not stored"))?;
    let mut stored: Value = serde_json::from_str(&stored)
        .map_err(|error| Problem::broken(format!("the session cannot be read: {error}")))?;
    if let Value::Object(stored) = &mut stored {
        for (name, value) in [
            ("org_id", ORGANISATION),
            ("workspace_id", WORKSPACE),
            ("project_id", PROJECT),
        ] {
            stored.insert(name.to_owned(), value.into());
        }
        if stored.get("source").is_none_or(Value::is_null) {
            stored.insert("source".to_owned(), "unknown".into());
        }
    }
    Ok(Json(stored))
}

/// `POST /v1/sessions/{session_id}/events/batch`: the id in the path is that of every event.
pub(super) async fn batch(
    State(app): State<Arc<App>>,
    Path(session_id): Path<String>,
    request: Request,
) -> Answer {
    let mut content = Fields::read(request).await?;
    let events = content.objects("events")?;
    let events = events.ok_or_else(|| Problem::bad("events is required"))?;
    content.nothing_else()?;
    add(&app, &session_id, events, "events", Shape::Strict).await
}

/// `POST /session/{session_id}/traces`, with either `logs` or `events`.
pub(super) async fn traces(
    State(app): State<Arc<App>>,
    Path(session_id): Path<String>,
    request: Request,
) -> Answer {
    let mut content = Fields::read(request).await?;
    let (name, events) = match (content.objects("logs")?, content.objects("events")?) {
        (Some(_), Some(_)) => {
            return Err(Problem::bad("logs and events: give one of them, not both"));
        }
        (None, None) => return Err(Problem::bad("events is required")),
        (Some(events), None) => ("logs", events),
        (None, Some(events)) => ("events", events),
    };
    add(&app, &session_id, events, name, Shape::Legacy).await
}

async fn add(
    app: &App,
    session_id: &str,
    events: Vec<serde_json::Map<String, Value>>,
    name: &str,
    shape: Shape,
) -> Answer {
    let session_id = known_id(session_id)?;
    let mut ops = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        let mut event = event;
        event.insert("session_id".to_owned(), session_id.clone().into());
        let fields = Fields::new(event, format!("{name}[{index}]."));
        let event: NewEvent = new_event(fields, shape)?;
        ops.push(Op::Event(Box::new(event)));
    }
    if !ops.is_empty() {
        app.store.write(ops).await.map_err(Problem::store)?;
    }
    Ok(Json(json!({"success": true})))
}

/// An id from a path, as it is stored.
pub(super) fn known_id(id: &str) -> Wrong<String> {
    let id = id.trim();
    match id.is_empty() || id.chars().count() > NAME {
        true => Err(Problem::bad(format!(
            "the id in the path must be text of at most {NAME} characters"
        ))),
        false => Ok(id.to_ascii_lowercase()),
    }
}
