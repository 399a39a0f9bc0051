//! Datasets: named lists of datapoints.

use super::datapoints::Mapping;
use super::input::{Fields, NAME, Query, Wrong};
use super::{Answer, App, PROJECT, moment, moment_or_null};
use crate::server::http::Problem;
use crate::server::store::datasets::{self, Dataset, DatasetPatch};
use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::{Value, json};
use std::sync::Arc;

fn shown(dataset: &Dataset) -> Value {
    json!({
        "id": dataset.dataset_id,
        "name": dataset.name,
        "description": dataset.description,
        "datapoints": dataset.datapoints,
        "num_points": dataset.datapoints.len(),
        "project_id": PROJECT,
        "created_at": moment(dataset.created),
        "updated_at": moment_or_null(dataset.updated),
    })
}

/// `GET /v1/datasets`: none is no error.
pub(super) async fn list(State(app): State<Arc<App>>, query: Query) -> Answer {
    let id = query.text("dataset_id").map(str::to_owned);
    let name = query.text("name").map(str::to_owned);
    let found = app.ask(move |reader| Ok(reader.datasets(id.as_deref(), name.as_deref())?));
    let datasets: Vec<Value> = found.await?.iter().map(shown).collect();
    Ok(Json(json!({"datasets": datasets})))
}

fn patch(fields: &mut Fields) -> Wrong<DatasetPatch> {
    Ok(DatasetPatch {
        name: fields.filled("name", NAME)?,
        description: fields.text("description")?,
        datapoints: fields.texts("datapoints")?,
    })
}

/// `POST /v1/datasets`.
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer {
    let new = patch(&mut Fields::read_optional(request).await?)?;
    let id = app.change(move |db| datasets::create_dataset(db, new));
    Ok(Json(
        json!({"inserted": true, "result": {"insertedId": id.await?}}),
    ))
}

async fn change(app: &App, id: String, mut fields: Fields) -> Answer {
    let patch = patch(&mut fields)?;
    let dataset = app.change(move |db| datasets::update_dataset(db, &id, patch));
    Ok(Json(json!({"result": shown(&dataset.await?)})))
}

/// `PUT /v1/datasets/{dataset_id}`: a list of datapoints takes the place of the one before.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let fields = Fields::read(request).await?;
    change(&app, id, fields).await
}

/// `PUT /v1/datasets`, with the id in the body.
pub(super) async fn update_legacy(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let id = fields.need_filled("dataset_id", 1000)?;
    change(&app, id, fields).await
}

async fn remove_all(app: &App, id: String) -> Answer {
    let gone = id.clone();
    app.change(move |db| datasets::delete_dataset(db, &gone))
        .await?;
    Ok(Json(json!({"result": {"id": id}})))
}

/// `DELETE /v1/datasets/{dataset_id}`; datapoints that are in no other dataset go with it.
pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    remove_all(&app, id).await
}

/// `DELETE /v1/datasets?dataset_id=..`.
pub(super) async fn delete_legacy(State(app): State<Arc<App>>, query: Query) -> Answer {
    let id = query.need("dataset_id")?.to_owned();
    remove_all(&app, id).await
}

/// `POST /v1/datasets/{dataset_id}/datapoints`: rows of data, and which of their fields become what.
pub(super) async fn add(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let mut fields = Fields::read(request).await?;
    let mapping = Mapping::read(&mut fields.need_fields("mapping")?)?;
    let rows = fields.objects("data")?.unwrap_or_default();
    if rows.is_empty() {
        return Err(Problem::bad("data must be a list of at least one object"));
    }
    let points: Vec<_> = rows.into_iter().map(|row| mapping.of_row(row)).collect();
    let ids = app.change(move |db| datasets::add_datapoints(db, &id, &points));
    Ok(Json(json!({"inserted": true, "datapoint_ids": ids.await?})))
}

/// `DELETE /v1/datasets/{dataset_id}/datapoints/{datapoint_id}`, and the same without `datapoints`: the datapoint itself
/// stays.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path((dataset, datapoint)): Path<(String, String)>,
) -> Answer {
    app.change(move |db| datasets::unlink(db, &dataset, &datapoint))
        .await?;
    Ok(Json(
        json!({"dereferenced": true, "message": "the datapoint was removed from the dataset"}),
    ))
}
