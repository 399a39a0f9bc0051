//! Configurations: prompts and the settings of models.

use super::input::{Fields, NAME, Query, Wrong};
use super::{Answer, App, PROJECT, moment, moment_or_null};
use crate::server::http::Problem;
use crate::server::store::documents::{self, Document, Kind};
use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const KINDS: [&str; 2] = ["LLM", "pipeline"];
const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];

fn definition(fields: &mut Fields, new: bool) -> Wrong<Map<String, Value>> {
    let mut content = Map::new();
    let name = fields.need_filled("name", NAME)?;
    content.insert("name".to_owned(), name.into());
    if let Some(kind) = fields.choice("type", &KINDS)? {
        content.insert("type".to_owned(), kind.into());
    }
    match fields.filled("provider", 1000)? {
        Some(provider) => {
            content.insert("provider".to_owned(), provider.into());
        }
        None if new => return Err(Problem::bad("provider is required")),
        None => {}
    }
    if new || fields.has("parameters") {
        let mut given = fields.need_fields("parameters")?;
        let mut parameters = Map::new();
        let call = given.need_choice("call_type", &["chat", "completion"])?;
        parameters.insert("call_type".to_owned(), call.into());
        let model = given.need_filled("model", 1000)?;
        parameters.insert("model".to_owned(), model.into());
        parameters.extend(given.rest());
        content.insert("parameters".to_owned(), Value::Object(parameters));
    }
    if let Some(env) = fields.texts("env")? {
        if env.iter().any(|env| !ENVIRONMENTS.contains(&env.as_str())) {
            return Err(fields.wrong("env", "a list of dev, staging, prod"));
        }
        content.insert("env".to_owned(), env.into());
    }
    if let Some(tags) = fields.texts("tags")? {
        content.insert("tags".to_owned(), tags.into());
    }
    if let Some(properties) = fields.object("user_properties")? {
        content.insert("user_properties".to_owned(), Value::Object(properties));
    }
    Ok(content)
}

fn shown(configuration: &Document) -> Value {
    let mut shown = configuration.content.clone();
    shown.insert("id".to_owned(), configuration.id.clone().into());
    let created = moment(configuration.created);
    shown.insert("created_at".to_owned(), created.into());
    let updated = moment_or_null(configuration.updated);
    shown.insert("updated_at".to_owned(), updated);
    Value::Object(shown)
}

fn has(content: &Map<String, Value>, list: &str, wanted: &str) -> bool {
    let list = content.get(list).and_then(Value::as_array);
    list.is_some_and(|list| list.iter().any(|value| value.as_str() == Some(wanted)))
}

/// `GET /v1/configurations`: of this name, for this environment, with one of these tags (commas between them).
pub(super) async fn list(State(app): State<Arc<App>>, query: Query) -> Answer {
    let env = query.choice("env", &ENVIRONMENTS)?;
    let name = query.text("name");
    let tags = query.text("tags");
    let found = app.ask(|reader| Ok(reader.documents(Kind::Configuration, PROJECT)?));
    let found = found.await?;
    let wanted = found.iter().filter(|configuration| {
        let content = &configuration.content;
        name.is_none_or(|name| configuration.name == name)
            && env.is_none_or(|env| has(content, "env", env))
            && tags.is_none_or(|tags| tags.split(',').any(|tag| has(content, "tags", tag.trim())))
    });
    let configurations: Vec<Value> = wanted.map(shown).collect();
    Ok(Json(json!({"configurations": configurations})))
}

/// `POST /v1/configurations`.
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let mut content = definition(&mut fields, true)?;
    for (name, value) in [
        ("type", json!("LLM")),
        ("env", json!([])),
        ("tags", json!([])),
        ("user_properties", Value::Null),
    ] {
        content.entry(name).or_insert(value);
    }
    let made = app.change(move |db| {
        let name = content.get("name").and_then(Value::as_str);
        let name = name.unwrap_or_default();
        documents::create(db, Kind::Configuration, PROJECT, name, &content)
    });
    Ok(Json(
        json!({"acknowledged": true, "insertedId": made.await?.id}),
    ))
}

/// `PUT /v1/configurations/{configId}`.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let mut fields = Fields::read(request).await?;
    let patch = definition(&mut fields, false)?;
    app.change(move |db| documents::update(db, Kind::Configuration, PROJECT, &id, patch))
        .await?;
    Ok(Json(json!({
        "acknowledged": true,
        "modifiedCount": 1,
        "upsertedId": null,
        "upsertedCount": 0,
        "matchedCount": 1,
    })))
}

/// `DELETE /v1/configurations/{configId}`.
pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    app.change(move |db| documents::delete(db, Kind::Configuration, PROJECT, &id))
        .await?;
    Ok(Json(json!({"acknowledged": true, "deletedCount": 1})))
}

#[cfg(any(test, fuzzing))]
pub(super) fn try_body(mut fields: Fields) {
    let _ = definition(&mut fields, true);
}
