//! Charts, of the one project that the older routes mean, or of one that the path names.

use super::input::{Fields, NAME, Wrong};
use super::{Answer, App, PROJECT, moment, moment_or_null};
use crate::server::http::Problem;
use crate::server::store::documents::{self, Document, Kind};
use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const BUCKETING: [&str; 5] = ["minute", "hour", "day", "week", "month"];

fn definition(fields: &mut Fields) -> Wrong<Map<String, Value>> {
    let mut content = Map::new();
    for name in ["description", "groupBy"] {
        if fields.clears(name) {
            content.insert(name.to_owned(), Value::Null);
        }
    }
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            content.insert(name.to_owned(), value);
        }
    };
    put("name", fields.filled("name", NAME)?.map(Value::from));
    for name in ["metric", "owner_id"] {
        put(name, fields.filled(name, 1000)?.map(Value::from));
    }
    for name in ["description", "func", "groupBy"] {
        put(name, fields.text(name)?.map(Value::from));
    }
    let bucketing = fields.choice("bucketing", &BUCKETING)?;
    put("bucketing", bucketing.map(Value::from));
    if let Some(range) = fields.object("dateRange")? {
        let relative = range.get("relative").is_some_and(Value::is_string);
        let end = |name: &str| {
            range.contains_key(name) || range.contains_key(name.trim_start_matches('$'))
        };
        let absolute = end("$gte") && end("$lte");
        if !(relative || absolute) {
            return Err(fields.wrong(
                "dateRange",
                "an object with relative, or with $gte and $lte",
            ));
        }
        put("dateRange", Some(Value::Object(range)));
    }
    if let Some(query) = fields.objects("query")? {
        for (index, filter) in query.iter().enumerate() {
            let text = |name: &str| filter.get(name).is_some_and(Value::is_string);
            if !text("field") || !text("operator") || !text("type") {
                let name = format!("query[{index}]");
                return Err(fields.wrong(&name, "an object with field, operator, type and value"));
            }
        }
        let query = query.into_iter().map(Value::Object).collect();
        put("query", Some(Value::Array(query)));
    }
    Ok(content)
}

fn shown(chart: &Document) -> Value {
    let mut shown = chart.content.clone();
    for (name, value) in [
        ("id", chart.id.clone().into()),
        ("is_active", true.into()),
        ("created_at", moment(chart.created).into()),
        ("updated_at", moment_or_null(chart.updated)),
    ] {
        shown.insert(name.to_owned(), value);
    }
    Value::Object(shown)
}

fn answer(chart: &Document) -> Json<Value> {
    Json(json!({"success": true, "data": shown(chart)}))
}

async fn list_of(app: &App, project: String) -> Answer {
    let found = app.ask(move |reader| Ok(reader.documents(Kind::Chart, &project)?));
    let charts: Vec<Value> = found.await?.iter().map(shown).collect();
    Ok(Json(json!({"success": true, "data": charts})))
}

async fn create_in(app: &App, project: String, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let mut content = definition(&mut fields)?;
    for name in ["name", "metric"] {
        if !content.contains_key(name) {
            return Err(Problem::bad(format!("{name} is required")));
        }
    }
    for (name, value) in [
        ("description", Value::Null),
        ("func", Value::Null),
        ("groupBy", Value::Null),
        ("bucketing", json!("day")),
        ("dateRange", Value::Null),
        ("query", json!([])),
        ("owner_id", Value::Null),
    ] {
        content.entry(name).or_insert(value);
    }
    let chart = app.change(move |db| {
        let name = content.get("name").and_then(Value::as_str);
        documents::create(
            db,
            Kind::Chart,
            &project,
            name.unwrap_or_default(),
            &content,
        )
    });
    Ok(answer(&chart.await?))
}

async fn get_in(app: &App, project: String, id: String) -> Answer {
    let chart = app.ask(move |reader| {
        let found = reader.document(Kind::Chart, &project, &id)?;
        found.ok_or_else(|| Kind::Chart.missing(&id))
    });
    Ok(answer(&chart.await?))
}

async fn update_in(app: &App, project: String, id: String, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let patch = definition(&mut fields)?;
    let chart = app.change(move |db| documents::update(db, Kind::Chart, &project, &id, patch));
    Ok(answer(&chart.await?))
}

async fn delete_in(app: &App, project: String, id: String) -> Answer {
    app.change(move |db| documents::delete(db, Kind::Chart, &project, &id))
        .await?;
    Ok(Json(
        json!({"success": true, "message": "the chart was deleted"}),
    ))
}

/// `GET /v1/charts`.
pub(super) async fn list_legacy(State(app): State<Arc<App>>) -> Answer {
    list_of(&app, PROJECT.to_owned()).await
}

/// `POST /v1/charts`.
pub(super) async fn create_legacy(State(app): State<Arc<App>>, request: Request) -> Answer {
    create_in(&app, PROJECT.to_owned(), request).await
}

/// `GET /v1/charts/{chart_id}`.
pub(super) async fn get_legacy(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    get_in(&app, PROJECT.to_owned(), id).await
}

/// `PUT /v1/charts/{chart_id}`.
pub(super) async fn update_legacy(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    update_in(&app, PROJECT.to_owned(), id, request).await
}

/// `DELETE /v1/charts/{chart_id}`.
pub(super) async fn delete_legacy(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    delete_in(&app, PROJECT.to_owned(), id).await
}

/// `GET /v1/projects/{project_id}/charts`.
pub(super) async fn list(State(app): State<Arc<App>>, Path(project): Path<String>) -> Answer {
    list_of(&app, project).await
}

/// `POST /v1/projects/{project_id}/charts`.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Path(project): Path<String>,
    request: Request,
) -> Answer {
    create_in(&app, project, request).await
}

/// `GET /v1/projects/{project_id}/charts/{chart_id}`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path((project, id)): Path<(String, String)>,
) -> Answer {
    get_in(&app, project, id).await
}

/// `PATCH /v1/projects/{project_id}/charts/{chart_id}`.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path((project, id)): Path<(String, String)>,
    request: Request,
) -> Answer {
    update_in(&app, project, id, request).await
}

/// `DELETE /v1/projects/{project_id}/charts/{chart_id}`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Path((project, id)): Path<(String, String)>,
) -> Answer {
    delete_in(&app, project, id).await
}

#[cfg(any(test, fuzzing))]
pub(super) fn try_body(mut fields: Fields) {
    let _ = definition(&mut fields);
}
