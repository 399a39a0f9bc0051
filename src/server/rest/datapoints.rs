//! Datapoints: what an experiment gives to a program, and what it should answer.

use super::input::{ENDS, Fields, Query, Wrong, span};
use super::{Answer, App, moment, moment_or_null};
use crate::server::filter;
use crate::server::http::Problem;
use crate::server::store::datasets::{self, Datapoint, DatapointPatch, no_datapoint};
use crate::server::store::{Fault, Reader, Search};
use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// Most datapoints that one request makes of events.
const MOST: u64 = 7500;

pub(super) fn shown(point: &Datapoint) -> Value {
    json!({
        "id": point.datapoint_id,
        "inputs": point.inputs,
        "history": point.history,
        "ground_truth": point.ground_truth,
        "metadata": point.metadata,
        "linked_event": point.linked_event,
        "linked_datasets": point.linked_datasets,
        "created_at": moment(point.created),
        "updated_at": moment_or_null(point.updated),
    })
}

/// `GET /v1/datapoints`.
pub(super) async fn list(State(app): State<Arc<App>>, query: Query) -> Answer {
    let ids = query.list("datapoint_ids")?;
    let name = query.text("dataset_name").map(str::to_owned);
    let found = app.ask(move |reader| Ok(reader.datapoints(ids.as_deref(), name.as_deref())?));
    let points: Vec<Value> = found.await?.iter().map(shown).collect();
    Ok(Json(json!({"datapoints": points})))
}

/// `GET /v1/datapoints/{datapoint_id}`.
pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let found = app.ask(move |reader| reader.datapoint(&id)?.ok_or_else(|| no_datapoint(&id)));
    Ok(Json(json!({"datapoint": [shown(&found.await?)]})))
}

fn patch(fields: &mut Fields) -> Wrong<DatapointPatch> {
    Ok(DatapointPatch {
        inputs: fields.object("inputs")?,
        history: fields
            .objects("history")?
            .map(|history| history.into_iter().map(Value::Object).collect()),
        ground_truth: fields.object("ground_truth")?,
        metadata: fields.object("metadata")?,
        linked_event: fields.text("linked_event")?,
        linked_datasets: fields.texts("linked_datasets")?,
    })
}

/// `POST /v1/datapoints`.
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let given = patch(&mut fields)?;
    let new = Datapoint {
        inputs: given.inputs.unwrap_or_default(),
        history: given.history.unwrap_or_default(),
        ground_truth: given.ground_truth,
        metadata: given.metadata,
        linked_event: given.linked_event,
        linked_datasets: given.linked_datasets.unwrap_or_default(),
        ..Datapoint::default()
    };
    let id = app.change(move |db| datasets::create_datapoint(db, &new));
    Ok(Json(
        json!({"inserted": true, "result": {"insertedIds": [id.await?]}}),
    ))
}

/// `PUT /v1/datapoints/{datapoint_id}`: what is given takes the place of what was there.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let mut fields = Fields::read(request).await?;
    let patch = patch(&mut fields)?;
    app.change(move |db| datasets::update_datapoint(db, &id, &patch))
        .await?;
    Ok(Json(
        json!({"updated": true, "result": {"modifiedCount": 1}}),
    ))
}

/// `DELETE /v1/datapoints/{datapoint_id}`.
pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    app.change(move |db| datasets::delete_datapoint(db, &id))
        .await?;
    Ok(Json(json!({"deleted": true})))
}

/// Which fields become which part of a datapoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Mapping {
    inputs: Vec<String>,
    history: Vec<String>,
    ground_truth: Vec<String>,
}

impl Mapping {
    pub(super) fn read(fields: &mut Fields) -> Wrong<Self> {
        Ok(Self {
            inputs: fields.texts("inputs")?.unwrap_or_default(),
            history: fields.texts("history")?.unwrap_or_default(),
            ground_truth: fields.texts("ground_truth")?.unwrap_or_default(),
        })
    }

    fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.history.is_empty() && self.ground_truth.is_empty()
    }

    /// A datapoint of a row of data. What is not mapped goes into its metadata.
    pub(super) fn of_row(&self, mut row: Map<String, Value>) -> Datapoint {
        let mut point = Datapoint::default();
        let mut truth = Map::new();
        for name in &self.inputs {
            if let Some(value) = row.get(name) {
                point.inputs.insert(name.clone(), value.clone());
            }
        }
        for name in &self.ground_truth {
            if let Some(value) = row.get(name) {
                truth.insert(name.clone(), value.clone());
            }
        }
        for name in &self.history {
            if let Some(value) = row.get(name) {
                said(value, &mut point.history);
            }
        }
        for name in [&self.inputs, &self.ground_truth, &self.history]
            .into_iter()
            .flatten()
        {
            row.remove(name);
        }
        point.ground_truth = (!truth.is_empty()).then_some(truth);
        point.metadata = (!row.is_empty()).then_some(row);
        point
    }

    /// A datapoint of an event. Names may say where to look, as `inputs.question`; else inputs are looked for among the
    /// inputs, the truth among outputs and feedback, the history among the inputs. Without any, the whole inputs and the
    /// truth of the feedback, or else the outputs, are meant.
    fn of_event(&self, event: &Map<String, Value>) -> Datapoint {
        let group = |name: &str| event.get(name).and_then(Value::as_object);
        let mut point = Datapoint {
            linked_event: event
                .get("event_id")
                .and_then(Value::as_str)
                .map(str::to_owned),
            ..Datapoint::default()
        };
        if self.is_empty() {
            point.inputs = group("inputs").cloned().unwrap_or_default();
            if let Some(history) = point.inputs.remove("chat_history") {
                said(&history, &mut point.history);
            }
            let truth = group("feedback").and_then(|feedback| feedback.get("ground_truth"));
            point.ground_truth = match truth {
                Some(Value::Object(truth)) => Some(truth.clone()),
                Some(truth) if !truth.is_null() => {
                    Some(Map::from_iter([("ground_truth".to_owned(), truth.clone())]))
                }
                _ => group("outputs").cloned(),
            };
            return point;
        }
        let look = |way: &str, groups: &[&str]| {
            if let Some((bucket, rest)) = way.split_once('.')
                && let Some(values) = group(bucket)
                && let Some(value) = filter::find(values, rest)
            {
                return Some((rest.to_owned(), value.clone()));
            }
            groups
                .iter()
                .find_map(|name| filter::find(group(name)?, way))
                .or_else(|| event.get(way))
                .map(|value| (way.to_owned(), value.clone()))
        };
        let found = self.inputs.iter().filter_map(|way| look(way, &["inputs"]));
        point.inputs = found.collect();
        let truth: Map<String, Value> = self
            .ground_truth
            .iter()
            .filter_map(|way| look(way, &["outputs", "feedback"]))
            .collect();
        point.ground_truth = (!truth.is_empty()).then_some(truth);
        for way in &self.history {
            if let Some((_, value)) = look(way, &["inputs"]) {
                said(&value, &mut point.history);
            }
        }
        point
    }
}

/// Messages of a conversation: a list of them, its JSON text, or a single one.
fn said(value: &Value, history: &mut Vec<Value>) {
    match value {
        Value::Array(messages) => {
            history.extend(
                messages
                    .iter()
                    .filter(|message| message.is_object())
                    .cloned(),
            );
        }
        Value::Object(_) => history.push(value.clone()),
        Value::String(text) => {
            if let Ok(list @ Value::Array(_)) = serde_json::from_str(text) {
                said(&list, history);
            }
        }
        _ => {}
    }
}

/// What events are made into datapoints.
struct Chosen {
    ids: Vec<String>,
    search: Option<Search>,
    without: HashSet<String>,
    mapping: Mapping,
    dataset: Option<String>,
}

/// `POST /v1/datapoints/batch`: datapoints of events, which are named, ticked, or all that meet the filters.
pub(super) async fn batch(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let mut ids = fields.texts("events")?.unwrap_or_default();
    let mapping = match fields.fields("mapping")? {
        Some(mut mapping) => Mapping::read(&mut mapping)?,
        None => Mapping::default(),
    };
    let conditions = fields.conditions("filters", false)?;
    let range = span(fields.any("dateRange").as_ref(), "dateRange", ENDS)?;
    let all = fields.flag("selectAll")?.unwrap_or(false);
    let mut without = HashSet::new();
    for (id, ticked) in fields.object("checkState")?.unwrap_or_default() {
        match ticked {
            Value::Bool(true) => ids.push(id),
            Value::Bool(false) => {
                without.insert(id);
            }
            _ => return Err(Problem::bad("checkState must be an object of booleans")),
        }
    }
    let search = all.then_some(Search {
        conditions,
        from: range.from,
        to: range.to,
        sessions: None,
        offset: 0,
        limit: MOST,
    });
    if search.is_none() && ids.is_empty() {
        return Err(Problem::bad(
            "events is required, unless selectAll or checkState choose some",
        ));
    }
    let dataset = fields.filled("dataset_id", 1000)?;
    let chosen = Chosen {
        ids,
        search,
        without,
        mapping,
        dataset: dataset.clone(),
    };
    let points = app.ask(move |reader| of_events(reader, &chosen)).await?;
    let ids = app.change(move |db| match &dataset {
        Some(dataset) => datasets::add_datapoints(db, dataset, &points),
        None => datasets::create_datapoints(db, &points),
    });
    Ok(Json(json!({"inserted": true, "insertedIds": ids.await?})))
}

fn of_events(reader: &Reader<'_>, chosen: &Chosen) -> Result<Vec<Datapoint>, Fault> {
    if let Some(id) = &chosen.dataset
        && reader.dataset(id)?.is_none()
    {
        return Err(datasets::no_dataset(id));
    }
    let keys = match &chosen.search {
        Some(search) => reader.search(search)?.keys,
        None => {
            let mut keys = Vec::with_capacity(chosen.ids.len());
            for (index, id) in chosen.ids.iter().enumerate() {
                let key = reader.key(&id.to_ascii_lowercase())?.ok_or_else(|| {
                    let id = datasets::shown(id);
                    Fault::Invalid(format!("events[{index}]: there is no event {id}"))
                })?;
                keys.push(key);
            }
            keys
        }
    };
    let mut points = Vec::with_capacity(keys.len());
    let mut text = String::new();
    for key in keys {
        text.clear();
        if !reader.write_event(key, &mut text)? {
            continue;
        }
        let event: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        let id = event.get("event_id").and_then(Value::as_str);
        if id.is_some_and(|id| chosen.without.contains(id)) {
            continue;
        }
        points.push(chosen.mapping.of_event(&event));
    }
    Ok(points)
}

#[cfg(any(test, fuzzing))]
pub(super) fn try_body(mut fields: Fields) {
    let _ = patch(&mut fields);
    let mapping = Mapping::read(&mut fields).unwrap_or_default();
    let rest = fields.rest();
    let _ = (mapping.of_event(&rest), mapping.of_row(rest));
}
