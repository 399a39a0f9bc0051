//! Annotation queues: events that wait for people.

use super::input::{Fields, NAME, Query, Wrong};
use super::{Answer, App, PROJECT, moment, moment_or_null};
use crate::server::http::Problem;
use crate::server::store::documents::{self, Document, Kind};
use crate::server::store::{Fault, Reader};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Most of a description, in characters.
const DESCRIPTION: usize = 1000;

fn definition(fields: &mut Fields) -> Wrong<Map<String, Value>> {
    let mut content = Map::new();
    if let Some(name) = fields.filled("name", NAME)? {
        content.insert("name".to_owned(), name.into());
    }
    if let Some(description) = fields.text("description")? {
        if description.chars().count() > DESCRIPTION {
            let must = format!("text of at most {DESCRIPTION} characters");
            return Err(fields.wrong("description", &must));
        }
        content.insert("description".to_owned(), description.into());
    }
    if let Some(mut filters) = fields.fields("filters")? {
        let list = filters.objects("filterArray")?.unwrap_or_default();
        let list: Vec<Value> = list.into_iter().map(Value::Object).collect();
        content.insert("filters".to_owned(), json!({"filterArray": list}));
    }
    if let Some(enabled) = fields.flag("enabled")? {
        content.insert("enabled".to_owned(), enabled.into());
    }
    Ok(content)
}

fn shown(queue: &Document, events: Vec<String>) -> Value {
    let mut shown = queue.content.clone();
    for (name, value) in [
        ("id", queue.id.clone().into()),
        ("scope_id", PROJECT.into()),
        ("scope_type", "project".into()),
        ("is_active", true.into()),
        ("event_ids", events.into()),
        ("created_at", moment(queue.created).into()),
        ("updated_at", moment_or_null(queue.updated)),
    ] {
        shown.insert(name.to_owned(), value);
    }
    Value::Object(shown)
}

fn read(reader: &Reader<'_>, id: &str) -> Result<Value, Fault> {
    let found = reader.document(Kind::Queue, PROJECT, id)?;
    let queue = found.ok_or_else(|| Kind::Queue.missing(id))?;
    Ok(shown(&queue, reader.queued(id)?))
}

/// `GET /v1/queues`.
pub(super) async fn list(State(app): State<Arc<App>>, query: Query) -> Answer {
    let enabled = query.choice("enabled", &["true", "false", "True", "False"])?;
    let enabled = enabled.map(|text| text.eq_ignore_ascii_case("true"));
    let found = app.ask(move |reader| {
        let mut queues = Vec::new();
        for queue in reader.documents(Kind::Queue, PROJECT)? {
            let own = queue.content.get("enabled").and_then(Value::as_bool);
            if enabled.is_none() || own == enabled {
                queues.push(shown(&queue, reader.queued(&queue.id)?));
            }
        }
        Ok(queues)
    });
    Ok(Json(json!({"queues": found.await?})))
}

/// `POST /v1/queues`, answered with the status 201.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut fields = Fields::read(request).await?;
    let events = fields.texts("event_ids")?.unwrap_or_default();
    let mut content = definition(&mut fields)?;
    if !content.contains_key("name") {
        return Err(Problem::bad("name is required"));
    }
    for (name, value) in [
        ("description", json!("")),
        ("filters", json!({"filterArray": []})),
        ("enabled", json!(true)),
    ] {
        content.entry(name).or_insert(value);
    }
    let queue = app.change(move |db| {
        let name = content.get("name").and_then(Value::as_str);
        let name = name.unwrap_or_default();
        let queue = documents::create(db, Kind::Queue, PROJECT, name, &content)?;
        documents::queue(db, &queue.id, &events, &[])?;
        read(&Reader::new(db), &queue.id)
    });
    let answer = json!({"queue": queue.await?, "message": "the queue was created"});
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `GET /v1/queues/{queue_id}`.
pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    Ok(Json(app.ask(move |reader| read(reader, &id)).await?))
}

/// `PUT /v1/queues/{queue_id}`.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let mut fields = Fields::read(request).await?;
    if fields.text("id")?.is_some_and(|other| other != id) {
        return Err(Problem::bad("id must be that of the path"));
    }
    let add = fields.texts("add_event_ids")?.unwrap_or_default();
    let remove = fields.texts("remove_event_ids")?.unwrap_or_default();
    let patch = definition(&mut fields)?;
    let queue = app.change(move |db| {
        documents::update(db, Kind::Queue, PROJECT, &id, patch)?;
        documents::queue(db, &id, &add, &remove)?;
        read(&Reader::new(db), &id)
    });
    Ok(Json(
        json!({"queue": queue.await?, "message": "the queue was updated"}),
    ))
}

/// `DELETE /v1/queues/{queue_id}`.
pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    app.change(move |db| documents::delete(db, Kind::Queue, PROJECT, &id))
        .await?;
    Ok(Json(json!({"message": "the queue was deleted"})))
}
