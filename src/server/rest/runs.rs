//! Experiment runs: kept, summed up, compared.

use super::events::json_text;
use super::input::{Fields, NAME, Query, Span, Wrong};
use super::{Answer, App, PROJECT, moment, moment_or_null};
use crate::server::filter::Condition;
use crate::server::http::Problem;
use crate::server::runs::{Aggregate, DatapointResult, Detail};
use crate::server::store::runs::{
    self as stored, Run, RunComparison, RunOrder, RunPatch, RunQuery, RunResult,
};
use crate::server::store::{Fault, Key, Reader, Search};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

const STATUSES: [&str; 5] = ["pending", "completed", "failed", "cancelled", "running"];
/// Events that a schema is made of: the newest.
const SCHEMA: u64 = 2000;
/// Fields of a schema at most, and how deep they go.
const FIELDS: usize = 2000;
const DEPTH: usize = 3;

fn shown(run: &Run) -> Value {
    json!({
        "id": run.run_id,
        "run_id": run.run_id,
        "name": run.name,
        "description": run.description,
        "status": run.status,
        "dataset_id": run.dataset_id,
        "dataset_name": run.dataset_name,
        "metadata": run.metadata,
        "results": run.results,
        "configuration": run.configuration,
        "evaluators": run.evaluators,
        "event_ids": run.event_ids,
        "session_ids": run.session_ids,
        "datapoint_ids": run.datapoint_ids,
        "passing_ranges": run.passing_ranges,
        "is_active": true,
        "scope_type": "project",
        "scope_id": PROJECT,
        "created_at": moment(run.created),
        "updated_at": moment_or_null(run.updated),
    })
}

fn patch(fields: &mut Fields) -> Wrong<RunPatch> {
    let lower = |ids: Option<Vec<String>>| {
        ids.map(|ids| ids.iter().map(|id| id.to_ascii_lowercase()).collect())
    };
    Ok(RunPatch {
        name: fields.filled("name", NAME)?,
        description: fields.text("description")?,
        status: fields.choice("status", &STATUSES)?,
        dataset_id: fields.text("dataset_id")?.filter(|id| !id.is_empty()),
        metadata: fields.object("metadata")?,
        results: fields.object("results")?,
        configuration: fields.object("configuration")?,
        evaluators: fields.list("evaluators")?,
        event_ids: lower(fields.texts("event_ids")?),
        session_ids: lower(fields.texts("session_ids")?),
        datapoint_ids: fields.texts("datapoint_ids")?,
        passing_ranges: fields.object("passing_ranges")?,
    })
}

/// `POST /v1/runs`.
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let id = fields.filled("run_id", NAME)?;
    let id = id.map_or_else(
        || uuid::Uuid::new_v4().to_string(),
        |id| id.to_ascii_lowercase(),
    );
    let new = patch(&mut fields)?;
    let run_id = id.clone();
    let run = app.change(move |db| stored::create_run(db, &id, new));
    Ok(Json(
        json!({"evaluation": shown(&run.await?), "run_id": run_id}),
    ))
}

/// `GET /v1/runs`.
pub(super) async fn list(State(app): State<Arc<App>>, query: Query) -> Answer {
    let page = query.whole("page", u64::MAX, 1)?;
    let limit = query.whole("limit", 100, 20)?;
    let range = query.span("dateRange")?;
    let owned = |name: &str| query.text(name).map(str::to_owned);
    let order = query.choice("sort_by", &["created_at", "updated_at", "name", "status"])?;
    let wanted = RunQuery {
        dataset_id: owned("dataset_id"),
        run_ids: query.list("run_ids")?,
        name: owned("name"),
        text: None,
        status: query.choice("status", &STATUSES)?.map(str::to_owned),
        from: range.from,
        to: range.to,
        order: match order {
            Some("updated_at") => RunOrder::Updated,
            Some("name") => RunOrder::Name,
            Some("status") => RunOrder::Status,
            _ => RunOrder::Created,
        },
        ascending: query.choice("sort_order", &["asc", "desc"])? == Some("asc"),
        offset: (page - 1).saturating_mul(limit),
        limit,
    };
    let found = app.ask(move |reader| {
        let found = reader.runs(&wanted)?;
        let mut metrics = BTreeSet::new();
        for run in &found.runs {
            let sessions = reader.run_sessions(run)?;
            for sample in reader.samples(&sessions, None)? {
                metrics.extend(sample.scores.into_iter().map(|score| score.metric));
            }
        }
        Ok((found, metrics))
    });
    let (found, metrics) = found.await?;
    let pages = found.total.div_ceil(limit);
    Ok(Json(json!({
        "evaluations": found.runs.iter().map(shown).collect::<Vec<_>>(),
        "pagination": {
            "page": page,
            "limit": limit,
            "total": found.total,
            "total_unfiltered": found.unfiltered,
            "total_pages": pages,
            "has_next": page < pages,
            "has_prev": page > 1 && found.total > 0,
        },
        "metrics": metrics,
    })))
}

/// `GET /v1/runs/{run_id}`.
pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let run = app.ask(move |reader| reader.known_run(&id)).await?;
    Ok(Json(json!({"evaluation": shown(&run)})))
}

/// `PUT /v1/runs/{run_id}`: metadata is merged, everything else is replaced.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let patch = patch(&mut Fields::read(request).await?)?;
    let id = id.to_ascii_lowercase();
    let run = app.change(move |db| stored::update_run(db, &id, patch));
    Ok(Json(json!({"evaluation": shown(&run.await?)})))
}

/// `DELETE /v1/runs/{run_id}`; its sessions stay.
pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let id = id.to_ascii_lowercase();
    let gone = id.clone();
    app.change(move |db| stored::delete_run(db, &gone)).await?;
    Ok(Json(json!({"id": id, "deleted": true})))
}

fn aggregate(query: &Query) -> Wrong<Aggregate> {
    let name = query.choice("aggregate_function", &Aggregate::NAMES)?;
    Ok(name.and_then(Aggregate::named).unwrap_or_default())
}

/// The result of a run, as it goes out.
#[derive(Serialize)]
struct RunAnswer {
    status: String,
    success: bool,
    passed: Vec<String>,
    failed: Vec<String>,
    metrics: Aggregates,
    datapoints: Vec<DatapointResult>,
    event_details: Vec<Heading>,
    run_object: Value,
}

#[derive(Serialize)]
struct Aggregates {
    aggregation_function: &'static str,
    details: Vec<Detail>,
}

#[derive(Serialize)]
struct Heading {
    event_name: String,
    event_type: String,
}

/// `GET /v1/runs/{run_id}/summary` and `/v1/runs/{run_id}/result`.
pub(super) async fn summary(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let aggregate = aggregate(&query)?;
    let conditions = query.conditions("filters")?;
    let answer = app.ask(move |reader| {
        let RunResult {
            run,
            summary,
            kinds,
        } = reader.run_result(&id, &conditions, aggregate)?;
        let ended = !matches!(run.status.as_str(), "failed" | "cancelled");
        let headings = kinds.into_iter().map(|(event_name, event_type)| Heading {
            event_name,
            event_type,
        });
        let answer = RunAnswer {
            success: ended && summary.failed.is_empty(),
            run_object: shown(&run),
            status: run.status,
            passed: summary.passed,
            failed: summary.failed,
            metrics: Aggregates {
                aggregation_function: aggregate.name(),
                details: summary.metrics,
            },
            datapoints: summary.datapoints,
            event_details: headings.collect(),
        };
        Ok(serde_json::to_string(&answer).unwrap_or_default())
    });
    Ok(json_text(answer.await?))
}

/// `GET /v1/runs/{run_id}/metrics`: what single events measured.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let range = query.span("dateRange")?;
    let conditions = query.conditions("filters")?;
    let found = app.ask(move |reader| {
        let run = reader.known_run(&id)?;
        let sessions = reader.run_sessions(&run)?;
        let search = Search {
            conditions,
            from: range.from,
            to: range.to,
            sessions: Some(sessions.clone()),
            offset: 0,
            limit: u64::MAX,
        };
        let only: HashSet<Key> = reader.search(&search)?.keys.into_iter().collect();
        Ok(reader.samples(&sessions, Some(&only))?)
    });
    let mut events = Vec::new();
    for sample in found.await? {
        for scores in sample
            .scores
            .chunk_by(|one, other| one.event == other.event)
        {
            let Some(of) = scores.first() else {
                continue;
            };
            let mut metadata = Map::new();
            if let Some(id) = &sample.datapoint_id {
                metadata.insert("datapoint_id".to_owned(), id.clone().into());
            }
            let metrics = scores.iter();
            let metrics = metrics.map(|score| (score.metric.clone(), score.value()));
            events.push(json!({
                "event_name": of.event_name,
                "event_type": of.event_type,
                "session_id": sample.session_id,
                "metadata": metadata,
                "metrics": metrics.collect::<Map<String, Value>>(),
            }));
        }
    }
    let total = events.len();
    Ok(Json(json!({"events": events, "totalEvents": total})))
}

/// `GET /v1/runs/{new_run_id}/compare/{old_run_id}` and `/v1/runs/{new_run_id}/compare-with/{old_run_id}`.
pub(super) async fn compare(
    State(app): State<Arc<App>>,
    Path((new, old)): Path<(String, String)>,
    query: Query,
) -> Answer {
    let aggregate = aggregate(&query)?;
    let conditions = query.conditions("filters")?;
    let found = app.ask(move |reader| reader.run_comparison((&new, &old), &conditions, aggregate));
    let RunComparison {
        new,
        old,
        comparison,
    } = found.await?;
    Ok(Json(json!({
        "metrics": comparison.metrics,
        "commonDatapoints": comparison.common,
        "event_details": comparison.events,
        "old_run": shown(&old),
        "new_run": shown(&new),
    })))
}

/// `GET /v1/runs/{new_run_id}/compare/{old_run_id}/events`.
pub(super) async fn compare_events(
    State(app): State<Arc<App>>,
    Path((new, old)): Path<(String, String)>,
    query: Query,
) -> Answer {
    pairs(&app, new, old, &query).await
}

/// `GET /v1/runs/compare/events?run_id_1=..&run_id_2=..`.
pub(super) async fn compare_events_legacy(State(app): State<Arc<App>>, query: Query) -> Answer {
    let new = query.need("run_id_1")?.to_owned();
    let old = query.need("run_id_2")?.to_owned();
    pairs(&app, new, old, &query).await
}

/// Events of the same datapoint, name and type, and of the same place among those, in both runs.
async fn pairs(app: &App, new: String, old: String, query: &Query) -> Answer {
    let page = query.whole("page", u64::MAX, 1)?;
    let limit = query.whole("limit", 1000, 1000)?;
    let conditions = query.conditions("filter")?;
    let name = query.text("event_name").map(str::to_owned);
    let kind = query.text("event_type").map(str::to_owned);
    let found = app.ask(move |reader| {
        let paired = Paired {
            conditions,
            name,
            kind,
        };
        let (new, order) = paired.events(reader, &new)?;
        let (old, _) = paired.events(reader, &old)?;
        let common = order.iter().filter(|of| old.contains_key(of));
        let common: Vec<_> = common.collect();
        let first = usize::try_from((page - 1).saturating_mul(limit)).unwrap_or(usize::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut events = Vec::new();
        for of in common.iter().skip(first).take(limit) {
            let (Some(one), Some(other)) = (new.get(of), old.get(of)) else {
                continue;
            };
            events.push(json!({
                "datapoint_id": of.datapoint,
                "event_1": event(reader, *one)?,
                "event_2": event(reader, *other)?,
            }));
        }
        Ok((events, common.len()))
    });
    let (events, total) = found.await?;
    Ok(Json(json!({"events": events, "totalEvents": total})))
}

fn event(reader: &Reader<'_>, key: Key) -> Result<Value, Fault> {
    let mut text = String::new();
    reader.write_event(key, &mut text)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// What two events of two runs have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    datapoint: String,
    name: String,
    kind: String,
    number: usize,
}

struct Paired {
    conditions: Vec<Condition>,
    name: Option<String>,
    kind: Option<String>,
}

impl Paired {
    fn events(
        &self,
        reader: &Reader<'_>,
        run: &str,
    ) -> Result<(HashMap<Place, Key>, Vec<Place>), Fault> {
        let run = reader.known_run(run)?;
        let sessions = reader.run_sessions(&run)?;
        let samples = reader.samples(&sessions, None)?;
        let datapoints: HashMap<&str, &str> = samples
            .iter()
            .filter_map(|sample| {
                Some((sample.session_id.as_str(), sample.datapoint_id.as_deref()?))
            })
            .collect();
        let search = Search {
            conditions: self.conditions.clone(),
            sessions: Some(sessions),
            limit: u64::MAX,
            ..Search::default()
        };
        let mut found = HashMap::new();
        let mut order = Vec::new();
        let mut counts: HashMap<(String, String, String), usize> = HashMap::new();
        // Found are the newest first; pairs are told by the oldest.
        for key in reader.search(&search)?.keys.into_iter().rev() {
            let Some((session, name, kind)) = reader.heading(key)? else {
                continue;
            };
            let fits = |wanted: &Option<String>, own: &String| {
                wanted.as_ref().is_none_or(|wanted| wanted == own)
            };
            let Some(datapoint) = datapoints.get(session.as_str()) else {
                continue;
            };
            if !fits(&self.name, &name) || !fits(&self.kind, &kind) {
                continue;
            }
            // A session is named after its run, which differs.
            let name = if kind == "session" {
                String::new()
            } else {
                name
            };
            let datapoint = (*datapoint).to_owned();
            let count = counts
                .entry((datapoint.clone(), name.clone(), kind.clone()))
                .or_default();
            let place = Place {
                datapoint,
                name,
                kind,
                number: *count,
            };
            *count += 1;
            order.push(place.clone());
            found.insert(place, key);
        }
        Ok((found, order))
    }
}

/// `GET /v1/events/schema`: of all events, or of those of the run `evaluation_id`.
pub(super) async fn events_schema(State(app): State<Arc<App>>, query: Query) -> Answer {
    let range = query.span("dateRange")?;
    let run = query.text("evaluation_id").map(str::to_owned);
    let of = match run {
        Some(run) => Of::Run(run),
        None => Of::Everything,
    };
    schema(&app, range, of).await
}

/// `GET /v1/runs/schema`.
pub(super) async fn runs_schema(State(app): State<Arc<App>>, query: Query) -> Answer {
    let range = query.span("dateRange")?;
    schema(&app, range, Of::Runs).await
}

/// `GET /v1/runs/{run_id}/schema`.
pub(super) async fn run_schema(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let range = query.span("dateRange")?;
    schema(&app, range, Of::Run(id)).await
}

enum Of {
    Everything,
    Runs,
    Run(String),
}

/// Which fields the newest events have, by their type and by their name.
async fn schema(app: &App, range: Span, of: Of) -> Answer {
    let found = app.ask(move |reader| {
        let mut run = None;
        let sessions = match &of {
            Of::Everything => None,
            Of::Runs => Some(reader.sessions_of_runs()?),
            Of::Run(id) => {
                let found = reader.known_run(id)?;
                run = Some(found.run_id.clone());
                Some(reader.run_sessions(&found)?)
            }
        };
        let search = Search {
            from: range.from,
            to: range.to,
            sessions,
            limit: SCHEMA,
            ..Search::default()
        };
        let mut fields = BTreeSet::new();
        let mut mappings: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
        for key in reader.search(&search)?.keys {
            if fields.len() >= FIELDS {
                break;
            }
            let event = event(reader, key)?;
            let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
            let (name, kind) = (text("event_name"), text("event_type"));
            let mut own = Vec::new();
            for bucket in crate::server::types::BUCKETS {
                if let Some(Value::Object(values)) = event.get(bucket.name()) {
                    ways(values, bucket.name(), DEPTH, &mut own);
                }
            }
            let of_name = mappings.entry(name.to_owned()).or_default();
            for way in own {
                fields.insert((way.clone(), kind.to_owned()));
                of_name.insert((way, kind.to_owned()));
            }
        }
        Ok((fields, mappings, reader.run_datasets(run.as_deref())?))
    });
    let (fields, mappings, datasets) = found.await?;
    let fields: Vec<Value> = fields
        .iter()
        .map(|(name, kind)| json!({"name": name, "event_type": kind}))
        .collect();
    let mappings: Map<String, Value> = mappings
        .into_iter()
        .map(|(name, fields)| {
            let fields = fields
                .iter()
                .map(|(name, kind)| json!({"field_name": name, "event_type": kind}));
            (name, fields.collect())
        })
        .collect();
    Ok(Json(
        json!({"fields": fields, "datasets": datasets, "mappings": mappings}),
    ))
}

fn ways(values: &Map<String, Value>, above: &str, depth: usize, out: &mut Vec<String>) {
    for (key, value) in values {
        let way = format!("{above}.{key}");
        match value {
            Value::Object(inner) if depth > 1 && !inner.is_empty() => {
                ways(inner, &way, depth - 1, out);
            }
            _ => out.push(way),
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(super) fn try_body(mut fields: Fields) {
    let _ = patch(&mut fields);
}
