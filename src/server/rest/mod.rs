//! The platform's REST API: one table of its operations, and one file for each resource. Knows requests and the store, not
//! pages.

mod api_keys;
mod charts;
mod configurations;
mod datapoints;
mod datasets;
mod events;
mod input;
mod metrics;
mod queues;
mod runs;
mod sessions;

use super::App;
use super::http::Problem;
use super::store::documents::PROJECT;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Json, Router};
use serde_json::Value;
use std::sync::Arc;

/// What stands for the account and the workspace: there is one of each here.
const ORGANISATION: &str = "local";
const WORKSPACE: &str = "local";

type Answer = Result<Json<Value>, Problem>;
type Route = fn(MethodFilter) -> MethodRouter<Arc<App>>;

/// One operation of the API, under the platform's name for it.
#[derive(Debug)]
struct Operation {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests know operations by it"))]
    id: &'static str,
    method: &'static str,
    path: &'static str,
    route: Route,
}

macro_rules! operations {
    ($($id:literal $method:ident $path:literal $handler:path;)*) => {
        &[$(Operation {
            id: $id,
            method: stringify!($method),
            path: $path,
            route: |method| on(method, $handler),
        }),*]
    };
}

/// Every operation that is answered; the router is made of it, and tests walk it.
#[rustfmt::skip]
const OPERATIONS: &[Operation] = operations![
    "startSessionLegacy" POST "/session/start" sessions::start_legacy;
    "addSessionTracesLegacy" POST "/session/{session_id}/traces" sessions::traces;
    "createSession" POST "/v1/sessions" sessions::start;
    "createSessionEventBatch" POST "/v1/sessions/{session_id}/events/batch" sessions::batch;

    "createEventLegacy" POST "/events" events::create_legacy;
    "updateEventLegacy" PUT "/events" events::update_legacy;
    "createEvent" POST "/v1/events" events::create;
    "getEvent" GET "/v1/events/{event_id}" events::get;
    "updateEvent" PUT "/v1/events/{event_id}" events::update;
    "deleteEvent" DELETE "/v1/events/{event_id}" events::delete;
    "exportEventsLegacy" POST "/v1/events/export" events::export;
    "searchEvents" POST "/v1/events/search" events::search;
    "createEventBatch" POST "/v1/events/batch" events::batch;
    "createModelEventLegacy" POST "/events/model" events::create_model;
    "createEventBatchLegacy" POST "/events/batch" events::batch_legacy;
    "createModelEventBatchLegacy" POST "/events/model/batch" events::batch_model;
    "getEventsSchemaLegacy" GET "/v1/events/schema" runs::events_schema;

    "getDatapoints" GET "/v1/datapoints" datapoints::list;
    "createDatapoint" POST "/v1/datapoints" datapoints::create;
    "batchCreateDatapoints" POST "/v1/datapoints/batch" datapoints::batch;
    "getDatapoint" GET "/v1/datapoints/{datapoint_id}" datapoints::get;
    "updateDatapoint" PUT "/v1/datapoints/{datapoint_id}" datapoints::update;
    "deleteDatapoint" DELETE "/v1/datapoints/{datapoint_id}" datapoints::delete;

    "getDatasets" GET "/v1/datasets" datasets::list;
    "createDataset" POST "/v1/datasets" datasets::create;
    "updateDatasetLegacy" PUT "/v1/datasets" datasets::update_legacy;
    "deleteDatasetLegacy" DELETE "/v1/datasets" datasets::delete_legacy;
    "updateDataset" PUT "/v1/datasets/{dataset_id}" datasets::update;
    "deleteDataset" DELETE "/v1/datasets/{dataset_id}" datasets::delete;
    "addDatapoints" POST "/v1/datasets/{dataset_id}/datapoints" datasets::add;
    "removeDatapoint" DELETE "/v1/datasets/{dataset_id}/datapoints/{datapoint_id}" datasets::remove;
    "removeDatapointLegacy" DELETE "/v1/datasets/{dataset_id}/{datapoint_id}" datasets::remove;

    "getMetrics" GET "/v1/metrics" metrics::list;
    "createMetric" POST "/v1/metrics" metrics::create;
    "updateMetricLegacy" PUT "/v1/metrics" metrics::update_legacy;
    "deleteMetricLegacy" DELETE "/v1/metrics" metrics::delete_legacy;
    "updateMetric" PUT "/v1/metrics/{metric_id}" metrics::update;
    "deleteMetric" DELETE "/v1/metrics/{metric_id}" metrics::delete;
    "getMetricVersions" GET "/v1/metrics/{metric_id}/versions" metrics::versions;
    "createMetricVersion" POST "/v1/metrics/{metric_id}/versions" metrics::create_version;
    "deployMetricVersion" POST "/v1/metrics/{metric_id}/versions/{version_name}/deploy" metrics::deploy;
    "runMetric" POST "/v1/metrics/run" metrics::run;
    "runMetricLegacy" POST "/v1/metrics/run_metric" metrics::run;

    "getConfigurations" GET "/v1/configurations" configurations::list;
    "createConfiguration" POST "/v1/configurations" configurations::create;
    "updateConfiguration" PUT "/v1/configurations/{configId}" configurations::update;
    "deleteConfiguration" DELETE "/v1/configurations/{configId}" configurations::delete;

    "createRun" POST "/v1/runs" runs::create;
    "getRuns" GET "/v1/runs" runs::list;
    "getRunsSchema" GET "/v1/runs/schema" runs::runs_schema;
    "getRun" GET "/v1/runs/{run_id}" runs::get;
    "updateRun" PUT "/v1/runs/{run_id}" runs::update;
    "deleteRun" DELETE "/v1/runs/{run_id}" runs::delete;
    "getRunSchema" GET "/v1/runs/{run_id}/schema" runs::run_schema;
    "getExperimentRunMetrics" GET "/v1/runs/{run_id}/metrics" runs::metrics;
    "getExperimentSummary" GET "/v1/runs/{run_id}/summary" runs::summary;
    "getExperimentResultLegacy" GET "/v1/runs/{run_id}/result" runs::summary;
    "getExperimentComparison" GET "/v1/runs/{new_run_id}/compare/{old_run_id}" runs::compare;
    "getExperimentComparisonLegacy" GET "/v1/runs/{new_run_id}/compare-with/{old_run_id}" runs::compare;
    "getExperimentCompareEvents" GET "/v1/runs/{new_run_id}/compare/{old_run_id}/events" runs::compare_events;
    "getExperimentCompareEventsLegacy" GET "/v1/runs/compare/events" runs::compare_events_legacy;

    "getChartsLegacy" GET "/v1/charts" charts::list_legacy;
    "createChartLegacy" POST "/v1/charts" charts::create_legacy;
    "getChartLegacy" GET "/v1/charts/{chart_id}" charts::get_legacy;
    "updateChartLegacy" PUT "/v1/charts/{chart_id}" charts::update_legacy;
    "deleteChartLegacy" DELETE "/v1/charts/{chart_id}" charts::delete_legacy;
    "getCharts" GET "/v1/projects/{project_id}/charts" charts::list;
    "createChart" POST "/v1/projects/{project_id}/charts" charts::create;
    "getChart" GET "/v1/projects/{project_id}/charts/{chart_id}" charts::get;
    "updateChart" PATCH "/v1/projects/{project_id}/charts/{chart_id}" charts::update;
    "deleteChart" DELETE "/v1/projects/{project_id}/charts/{chart_id}" charts::delete;

    "createDataPlaneApiKey" POST "/v1/projects/{project_id}/fine_grained_api_keys" api_keys::data_plane;
    "createIngestionApiKey" POST "/v1/projects/{project_id}/ingestion_api_keys" api_keys::ingestion;

    "getQueues" GET "/v1/queues" queues::list;
    "createQueue" POST "/v1/queues" queues::create;
    "getQueue" GET "/v1/queues/{queue_id}" queues::get;
    "updateQueue" PUT "/v1/queues/{queue_id}" queues::update;
    "deleteQueue" DELETE "/v1/queues/{queue_id}" queues::delete;
];

pub(super) fn router() -> Router<Arc<App>> {
    OPERATIONS.iter().fold(Router::new(), |router, operation| {
        let method = match operation.method {
            "GET" => MethodFilter::GET,
            "PUT" => MethodFilter::PUT,
            "PATCH" => MethodFilter::PATCH,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::POST,
        };
        router.route(operation.path, (operation.route)(method))
    })
}

/// A moment as the platform writes it.
fn moment(ms: f64) -> String {
    let moment = jiff::Timestamp::from_microsecond((ms * 1000.0) as i64).unwrap_or_default();
    format!("{moment:.3}")
}

fn moment_or_null(ms: Option<f64>) -> Value {
    ms.map_or(Value::Null, |ms| moment(ms).into())
}

/// Reads a body as every request does that has one, and forgets it.
#[cfg(any(test, fuzzing))]
pub(super) fn try_bodies(content: &[u8]) {
    use events::Shape;
    for shape in [Shape::Strict, Shape::Legacy, Shape::Model] {
        if let Ok(fields) = input::Fields::parse(content) {
            let _ = events::new_event(fields, shape);
        }
    }
    for read in [
        events::try_body,
        datapoints::try_body,
        metrics::try_body,
        configurations::try_body,
        charts::try_body,
        runs::try_body,
    ] {
        if let Ok(fields) = input::Fields::parse(content) {
            read(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_makes_a_router() {
        let _ = router();
        let ids: HashSet<&str> = OPERATIONS.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), OPERATIONS.len());
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        assert!(
            OPERATIONS
                .iter()
                .all(|operation| methods.contains(&operation.method))
        );
    }

    #[test]
    fn moments_are_written_in_full() {
        assert_eq!(moment(1_700_000_000_000.0), "2023-11-14T22:13:20.000Z");
        assert_eq!(moment(1_700_000_000_123.9), "2023-11-14T22:13:20.123Z");
    }
}
