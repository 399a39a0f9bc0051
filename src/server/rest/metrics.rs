//! Metrics and their versions. A metric is what its deployed version says.

use super::input::{Fields, NAME, Query, Wrong};
use super::{Answer, App, PROJECT, moment, moment_or_null};
use crate::server::http::Problem;
use crate::server::store::documents::{self, Document, Kind, Version};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const KINDS: [&str; 4] = ["PYTHON", "LLM", "HUMAN", "COMPOSITE"];
const RETURNS: [&str; 4] = ["float", "boolean", "string", "categorical"];
/// Most of a definition's text.
const TEXT: usize = 1 << 20;

/// The fields of a definition that a request gives. `null` clears those that may be null.
fn definition(fields: &mut Fields) -> Wrong<Map<String, Value>> {
    let mut content = Map::new();
    for name in [
        "description",
        "model_provider",
        "model_name",
        "scale",
        "threshold",
        "categories",
        "child_metrics",
    ] {
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
    put("type", fields.choice("type", &KINDS)?.map(Value::from));
    put(
        "criteria",
        fields.filled("criteria", TEXT)?.map(Value::from),
    );
    for name in ["description", "model_provider", "model_name"] {
        put(name, fields.text(name)?.map(Value::from));
    }
    let returns = fields.choice("return_type", &RETURNS)?;
    put("return_type", returns.map(Value::from));
    for name in ["enabled_in_prod", "needs_ground_truth"] {
        put(name, fields.flag(name)?.map(Value::from));
    }
    let part = fields.number("sampling_percentage")?;
    if part.is_some_and(|part| !(0.0..=100.0).contains(&part)) {
        return Err(fields.wrong("sampling_percentage", "a number between 0 and 100"));
    }
    put("sampling_percentage", part.map(Value::from));
    let scale = fields.whole("scale", 1, u64::MAX)?;
    put("scale", scale.map(Value::from));
    if let Some(mut threshold) = fields.fields("threshold")? {
        let mut read = Map::new();
        for name in ["min", "max"] {
            if let Some(end) = threshold.number(name)? {
                read.insert(name.to_owned(), end.into());
            }
        }
        match threshold.any("pass_when") {
            None => {}
            Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                read.insert("pass_when".to_owned(), value);
            }
            Some(_) => return Err(threshold.wrong("pass_when", "true, false or a number")),
        }
        if let Some(passing) = threshold.texts("passing_categories")? {
            read.insert("passing_categories".to_owned(), passing.into());
        }
        threshold.nothing_else()?;
        put("threshold", Some(Value::Object(read)));
    }
    for name in ["categories", "child_metrics"] {
        let Some(list) = fields.objects(name)? else {
            continue;
        };
        if list.is_empty() {
            return Err(fields.wrong(name, "a list of at least one object"));
        }
        for (index, item) in list.iter().enumerate() {
            let (key, fits) = match name {
                "categories" => ("category", item.contains_key("score")),
                _ => ("name", item.get("weight").is_some_and(Value::is_number)),
            };
            if !fits || !item.get(key).is_some_and(Value::is_string) {
                let must = match name {
                    "categories" => "an object with category and score",
                    _ => "an object with name and weight",
                };
                return Err(fields.wrong(&format!("{name}[{index}]"), must));
            }
        }
        let list = list.into_iter().map(Value::Object).collect();
        put(name, Some(Value::Array(list)));
    }
    if let Some(mut filters) = fields.fields("filters")? {
        let list = filters.objects("filterArray")?.unwrap_or_default();
        let list: Vec<Value> = list.into_iter().map(Value::Object).collect();
        put("filters", Some(json!({"filterArray": list})));
    }
    Ok(content)
}

/// A definition with the platform's defaults for what it leaves out; `what` is refused without a name, type and criteria.
fn whole(fields: &mut Fields) -> Wrong<Map<String, Value>> {
    let mut content = definition(fields)?;
    for name in ["name", "type", "criteria"] {
        if !content.contains_key(name) {
            return Err(Problem::bad(format!(
                "{}{name} is required",
                fields.place()
            )));
        }
    }
    let human = content.get("type").and_then(Value::as_str) == Some("HUMAN");
    for (name, value) in [
        ("description", json!("")),
        ("return_type", json!("float")),
        ("enabled_in_prod", json!(human)),
        ("needs_ground_truth", json!(false)),
        ("sampling_percentage", json!(10)),
        ("filters", json!({"filterArray": []})),
    ] {
        content.entry(name).or_insert(value);
    }
    Ok(content)
}

fn shown(metric: &Document) -> Value {
    let mut shown = metric.content.clone();
    shown.insert("id".to_owned(), metric.id.clone().into());
    shown.insert("created_at".to_owned(), moment(metric.created).into());
    shown.insert("updated_at".to_owned(), moment_or_null(metric.updated));
    Value::Object(shown)
}

fn version(version: &Version) -> Value {
    json!({
        "name": version.name,
        "full_sha": version.sha,
        "message": version.message,
        "date": moment(version.created),
        "deployed": version.deployed,
        "content": version.content,
    })
}

/// `GET /v1/metrics`.
pub(super) async fn list(State(app): State<Arc<App>>, query: Query) -> Answer {
    let kind = query.choice("type", &KINDS)?.map(str::to_owned);
    let id = query.text("id").map(str::to_owned);
    let found = app.ask(move |reader| Ok(reader.documents(Kind::Metric, PROJECT)?));
    let metrics = found.await?;
    let wanted = metrics.iter().filter(|metric| {
        let own = metric.content.get("type").and_then(Value::as_str);
        kind.as_deref().is_none_or(|kind| own == Some(kind))
            && id.as_deref().is_none_or(|id| metric.id == id)
    });
    let metrics: Vec<Value> = wanted.map(shown).collect();
    Ok(Json(json!({"metrics": metrics})))
}

/// `POST /v1/metrics`; its first version is deployed.
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let content = whole(&mut fields)?;
    fields.nothing_else()?;
    let id = app.change(move |db| {
        let name = content.get("name").and_then(Value::as_str);
        let name = name.unwrap_or_default();
        let metric = documents::create(db, Kind::Metric, PROJECT, name, &content)?;
        documents::add_version(db, &metric.id, "created", &content, true)?;
        Ok(metric.id)
    });
    Ok(Json(json!({"inserted": true, "metric_id": id.await?})))
}

async fn change(app: &App, id: String, mut fields: Fields) -> Answer {
    let patch = definition(&mut fields)?;
    app.change(move |db| {
        let metric = documents::update(db, Kind::Metric, PROJECT, &id, patch)?;
        documents::add_version(db, &id, "updated", &metric.content, true)
    })
    .await?;
    Ok(Json(json!({"updated": true})))
}

/// `PUT /v1/metrics/{metric_id}`; a change is a version of its own, and is deployed.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let fields = Fields::read(request).await?;
    change(&app, id, fields).await
}

/// `PUT /v1/metrics`, with the id in the body.
pub(super) async fn update_legacy(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let id = fields.need_filled("id", 1000)?;
    change(&app, id, fields).await
}

async fn remove(app: &App, id: String) -> Answer {
    app.change(move |db| documents::delete(db, Kind::Metric, PROJECT, &id))
        .await?;
    Ok(Json(json!({"deleted": true})))
}

/// `DELETE /v1/metrics/{metric_id}`, with all of its versions.
pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    remove(&app, id).await
}

/// `DELETE /v1/metrics?metric_id=..`.
pub(super) async fn delete_legacy(State(app): State<Arc<App>>, query: Query) -> Answer {
    let id = query.need("metric_id")?.to_owned();
    remove(&app, id).await
}

/// `GET /v1/metrics/{metric_id}/versions`, the oldest first.
pub(super) async fn versions(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let found = app.ask(
        move |reader| match reader.document(Kind::Metric, PROJECT, &id)? {
            Some(_) => Ok(reader.versions(&id)?),
            None => Err(Kind::Metric.missing(&id)),
        },
    );
    let versions: Vec<Value> = found.await?.iter().map(version).collect();
    Ok(Json(json!({"success": true, "data": versions})))
}

/// `POST /v1/metrics/{metric_id}/versions`: a draft, unless it is deployed at once.
pub(super) async fn create_version(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let mut fields = Fields::read(request).await?;
    let message = fields.text("message")?;
    let message = message.ok_or_else(|| Problem::bad("message is required"))?;
    let deploy = fields.flag("deploy_immediately")?.unwrap_or(false);
    let mut given = fields.need_fields("content")?;
    let content = whole(&mut given)?;
    let set = |name: &str| content.get(name).is_some_and(|value| !value.is_null());
    match content.get("type").and_then(Value::as_str) {
        Some("LLM") if !set("model_provider") || !set("model_name") => {
            return Err(Problem::bad(
                "content.model_provider and content.model_name are required of an LLM metric",
            ));
        }
        Some("COMPOSITE") if !set("child_metrics") => {
            return Err(Problem::bad(
                "content.child_metrics is required of a COMPOSITE metric",
            ));
        }
        _ => {}
    }
    given.nothing_else()?;
    fields.nothing_else()?;
    let made = app.change(move |db| documents::add_version(db, &id, &message, &content, deploy));
    Ok(Json(
        json!({"success": true, "data": version(&made.await?)}),
    ))
}

/// `POST /v1/metrics/{metric_id}/versions/{version_name}/deploy`.
pub(super) async fn deploy(
    State(app): State<Arc<App>>,
    Path((id, name)): Path<(String, String)>,
) -> Answer {
    let deployed = app.change(move |db| documents::deploy_version(db, &id, &name));
    Ok(Json(
        json!({"success": true, "data": version(&deployed.await?)}),
    ))
}

/// `POST /v1/metrics/run` and `/v1/metrics/run_metric`: computed here is only what needs neither a model, nor Python, nor
/// a person.
pub(super) async fn run(request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let mut metric = fields.need_fields("metric")?;
    let definition = whole(&mut metric)?;
    let mut event = fields.need_fields("event")?;
    let reason = match definition.get("type").and_then(Value::as_str) {
        Some("COMPOSITE") => {
            let metrics = event.object("metrics")?.unwrap_or_default();
            return composite(&definition, &metrics);
        }
        Some("PYTHON") => {
            "the local server runs no Python: metrics of type PYTHON run on the platform only"
        }
        Some("LLM") => {
            "the local server calls no models: metrics of type LLM run on the platform only"
        }
        _ => "metrics of type HUMAN are filled in by people: there is nothing to run",
    };
    Err(Problem::new(StatusCode::NOT_IMPLEMENTED, reason))
}

/// The weighted mean of the metrics that a composite one names, as the event has them; each divided by its scale.
fn composite(definition: &Map<String, Value>, metrics: &Map<String, Value>) -> Answer {
    let children = definition.get("child_metrics").and_then(Value::as_array);
    let Some(children) = children else {
        return Err(Problem::bad(
            "metric.child_metrics is required of a COMPOSITE metric",
        ));
    };
    let (mut sum, mut weights) = (0.0, 0.0);
    let mut missing = Vec::new();
    for child in children {
        let name = child
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let number = |name: &str| child.get(name).and_then(Value::as_f64);
        let value = match metrics.get(name) {
            Some(Value::Bool(flag)) => Some(f64::from(*flag)),
            Some(value) => value.as_f64(),
            None => None,
        };
        let Some(value) = value else {
            missing.push(name);
            continue;
        };
        let weight = number("weight").unwrap_or(1.0);
        let scale = number("scale").filter(|scale| *scale > 0.0).unwrap_or(1.0);
        sum += weight * value / scale;
        weights += weight;
    }
    if !missing.is_empty() || weights == 0.0 {
        let explanation = match missing.is_empty() {
            true => "the weights sum up to nothing".to_owned(),
            false => format!("event.metrics has no {}", missing.join(", ")),
        };
        return Ok(Json(
            json!({"success": false, "loading": false, "result": null, "explanation": explanation}),
        ));
    }
    Ok(Json(
        json!({"success": true, "loading": false, "result": sum / weights, "explanation": null}),
    ))
}

#[cfg(any(test, fuzzing))]
pub(super) fn try_body(mut fields: Fields) {
    let _ = whole(&mut fields);
}
