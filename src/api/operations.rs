//! Every operation of the API: where it is, which method of the client calls it, with which key, whether it may be
//! repeated, and what it is known to refuse. Knows nothing of how it is sent.

use super::rules::{Rule, Rules};

/// An operation of the API that the client calls.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Operation {
    /// Its name in the platform's own description. Operations of a project are named as those without.
    pub id: &'static str,
    /// The method of HTTP.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// The method of [`Client`](super::Client) that calls it, as errors name it.
    pub call: &'static str,
    pub(crate) key: KeyKind,
    /// Whether a second time does no harm.
    pub(crate) repeats: bool,
    pub(crate) rules: Rules,
}

/// An operation that the platform describes and the client does not call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Absent {
    /// Its name in the platform's own description.
    pub id: &'static str,
    /// The method of HTTP.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// Why, and what takes its place.
    pub reason: &'static str,
}

/// Which of the three keys an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// The project's.
    Project,
    /// That for ingestion where there is one, else the project's.
    Ingestion,
    /// That of the data plane.
    DataPlane,
}

use KeyKind::{DataPlane, Ingestion, Project};
use Rule::{Above, MaxLength, NotEmpty, Number, Object, OneOf, Range, Required};

macro_rules! operations {
    ($( $name:ident $id:literal $method:ident $path:literal $call:literal $key:ident $times:ident $rules:expr; )*) => {
        $(
            pub(crate) const $name: &Operation = &Operation {
                id: $id,
                method: stringify!($method),
                path: $path,
                call: $call,
                key: $key,
                repeats: operations!(@ $times),
                rules: $rules,
            };
        )*

        /// Every operation that the client calls.
        pub const OPERATIONS: &[Operation] = &[$(*$name),*];
    };
    (@ again) => { true };
    (@ once) => { false };
}

const NAME: (&str, Rule) = ("name", MaxLength(200));
const EVENT_TYPES: &[&str] = super::events::EventKind::NAMES;
const OPERATORS: &[&str] = super::filter::Operator::NAMES;
const FILTER_TYPES: &[&str] = super::filter::FilterType::NAMES;
const STATUSES: &[&str] = super::runs::RunStatus::NAMES;
const METRIC_TYPES: &[&str] = super::metrics::MetricType::NAMES;
const RETURN_TYPES: &[&str] = super::metrics::ReturnType::NAMES;
const AGGREGATES: &[&str] = super::runs::Aggregate::NAMES;
const BUCKETING: &[&str] = super::charts::Bucketing::NAMES;
const ENVIRONMENTS: &[&str] = super::configurations::Environment::NAMES;
const CALL_TYPES: &[&str] = super::configurations::CallType::NAMES;

const EVENT: Rules = &[
    ("event_type", Required),
    ("event_type", OneOf(EVENT_TYPES)),
    ("inputs", Required),
    ("inputs", Object),
    ("outputs", Object),
    ("config", Object),
    ("metadata", Object),
    ("feedback", Object),
    ("metrics", Object),
    ("user_properties", Object),
    ("start_time", Number),
    ("end_time", Number),
    ("duration", Number),
];

const EVENT_LEGACY: Rules = &[
    ("event.event_type", Required),
    ("event.event_type", OneOf(EVENT_TYPES)),
    ("event.inputs", Required),
    ("event.inputs", Object),
    ("event.outputs", Object),
    ("event.config", Object),
    ("event.metadata", Object),
    ("event.feedback", Object),
    ("event.metrics", Object),
    ("event.user_properties", Object),
    ("event.start_time", Number),
    ("event.end_time", Number),
    ("event.duration", Number),
];

const EVENTS: Rules = &[
    ("events[].event_type", Required),
    ("events[].event_type", OneOf(EVENT_TYPES)),
    ("events[].inputs", Required),
    ("events[].inputs", Object),
    ("events[].outputs", Object),
    ("events[].config", Object),
    ("events[].metadata", Object),
    ("events[].feedback", Object),
    ("events[].metrics", Object),
    ("events[].user_properties", Object),
    ("events[].start_time", Number),
    ("events[].end_time", Number),
    ("events[].duration", Number),
    ("session_properties.start_time", Number),
];

const EVENT_UPDATE: Rules = &[
    ("event_id", NotEmpty),
    ("outputs", Object),
    ("config", Object),
    ("metadata", Object),
    ("feedback", Object),
    ("metrics", Object),
    ("user_properties", Object),
    ("end_time", Number),
    ("duration", Number),
];

const SESSION: Rules = &[
    ("config", Object),
    ("inputs", Object),
    ("outputs", Object),
    ("metadata", Object),
    ("user_properties", Object),
    ("start_time", Number),
    ("end_time", Number),
    ("duration", Number),
];

const SESSION_LEGACY: Rules = &[
    ("session.config", Object),
    ("session.inputs", Object),
    ("session.outputs", Object),
    ("session.metadata", Object),
    ("session.user_properties", Object),
    ("session.start_time", Number),
    ("session.end_time", Number),
    ("session.duration", Number),
];

const SEARCH: Rules = &[
    ("limit", Range(1.0, 1000.0)),
    ("page", Range(1.0, f64::MAX)),
    ("filters[].field", NotEmpty),
    ("filters[].operator", OneOf(OPERATORS)),
    ("filters[].type", OneOf(FILTER_TYPES)),
];

const EXPORT: Rules = &[
    ("limit", Range(1.0, 7500.0)),
    ("page", Range(1.0, f64::MAX)),
    ("filters[].field", NotEmpty),
    ("filters[].operator", OneOf(OPERATORS)),
    ("filters[].type", OneOf(FILTER_TYPES)),
];

const DATAPOINT: Rules = &[
    ("inputs", Object),
    ("history[]", Object),
    ("ground_truth", Object),
    ("metadata", Object),
    ("linked_datasets[]", NotEmpty),
];

const DATASET: Rules = &[NAME, ("dataset_id", NotEmpty), ("datapoints[]", NotEmpty)];

const METRIC: Rules = &[
    NAME,
    ("id", NotEmpty),
    ("child_metrics[].id", NotEmpty),
    ("type", OneOf(METRIC_TYPES)),
    ("criteria", NotEmpty),
    ("return_type", OneOf(RETURN_TYPES)),
    ("sampling_percentage", Range(0.0, 100.0)),
    ("scale", Above(0.0)),
    ("threshold", Object),
    ("threshold.passing_categories", NotEmpty),
    ("threshold.passing_categories[]", MaxLength(200)),
    ("categories", NotEmpty),
    ("categories[].category", MaxLength(200)),
    ("child_metrics", NotEmpty),
    ("child_metrics[].name", MaxLength(200)),
    ("child_metrics[].scale", Above(0.0)),
    ("filters.filterArray[].operator", OneOf(OPERATORS)),
    ("filters.filterArray[].type", OneOf(FILTER_TYPES)),
];

const METRIC_INSIDE: Rules = &[
    ("message", Required),
    ("content.name", MaxLength(200)),
    ("content.type", OneOf(METRIC_TYPES)),
    ("content.criteria", NotEmpty),
    ("content.return_type", OneOf(RETURN_TYPES)),
    ("content.sampling_percentage", Range(0.0, 100.0)),
    ("content.scale", Above(0.0)),
    ("content.threshold", Object),
    ("content.threshold.passing_categories", NotEmpty),
    ("content.threshold.passing_categories[]", MaxLength(200)),
    ("content.categories", NotEmpty),
    ("content.categories[].category", MaxLength(200)),
    ("content.child_metrics", NotEmpty),
    ("content.child_metrics[].id", NotEmpty),
    ("content.child_metrics[].name", MaxLength(200)),
    ("content.child_metrics[].scale", Above(0.0)),
    ("content.filters.filterArray[].operator", OneOf(OPERATORS)),
    ("content.filters.filterArray[].type", OneOf(FILTER_TYPES)),
];

const METRIC_RUN: Rules = &[
    ("metric.name", MaxLength(200)),
    ("metric.type", OneOf(METRIC_TYPES)),
    ("metric.criteria", NotEmpty),
    ("metric.return_type", OneOf(RETURN_TYPES)),
    ("metric.sampling_percentage", Range(0.0, 100.0)),
    ("metric.scale", Above(0.0)),
    ("metric.threshold", Object),
    ("metric.categories", NotEmpty),
    ("metric.categories[].category", MaxLength(200)),
    ("metric.child_metrics", NotEmpty),
    ("metric.threshold.passing_categories", NotEmpty),
    ("metric.threshold.passing_categories[]", MaxLength(200)),
    ("metric.child_metrics[].id", NotEmpty),
    ("metric.child_metrics[].name", MaxLength(200)),
    ("event.inputs", Object),
    ("event.outputs", Object),
];

const CONFIGURATION: Rules = &[
    NAME,
    (
        "type",
        OneOf(super::configurations::ConfigurationType::NAMES),
    ),
    ("provider", NotEmpty),
    ("parameters", Object),
    ("parameters.call_type", OneOf(CALL_TYPES)),
    ("parameters.model", NotEmpty),
    ("parameters.hyperparameters", Object),
    (
        "parameters.functionCallParams",
        OneOf(&["none", "auto", "force"]),
    ),
    (
        "parameters.responseFormat.type",
        OneOf(&["text", "json_object"]),
    ),
    ("parameters.selectedFunctions[].id", NotEmpty),
    ("parameters.selectedFunctions[].name", NotEmpty),
    ("env[]", OneOf(ENVIRONMENTS)),
    ("user_properties", Object),
];

const RUN: Rules = &[
    ("name", NotEmpty),
    ("status", OneOf(STATUSES)),
    ("metadata", Object),
    ("results", Object),
    ("configuration", Object),
    ("passing_ranges", Object),
    ("datapoint_ids[]", NotEmpty),
];

const RUNS: Rules = &[
    ("page", Range(1.0, f64::MAX)),
    ("limit", Range(1.0, 100.0)),
    ("status", OneOf(STATUSES)),
    ("sort_by", OneOf(super::runs::SortBy::NAMES)),
    ("sort_order", OneOf(super::runs::SortOrder::NAMES)),
];

const RESULT: Rules = &[("aggregate_function", OneOf(AGGREGATES))];

const COMPARED: Rules = &[
    ("limit", Range(1.0, 1000.0)),
    ("page", Range(1.0, f64::MAX)),
];

const CHART: Rules = &[
    NAME,
    ("metric", NotEmpty),
    ("bucketing", OneOf(BUCKETING)),
    ("owner_id", NotEmpty),
];

const QUEUE: Rules = &[
    NAME,
    ("description", MaxLength(1000)),
    ("filters.filterArray[].operator", OneOf(OPERATORS)),
    ("filters.filterArray[].type", OneOf(FILTER_TYPES)),
];

operations! {
    CREATE_SESSION "createSession" POST "/v1/sessions" "sessions.start" Ingestion again SESSION;
    ADD_SESSION_EVENTS "createSessionEventBatch" POST "/v1/sessions/{session_id}/events/batch" "sessions.add_events" Ingestion once EVENTS;

    CREATE_EVENT "createEvent" POST "/v1/events" "events.create" Ingestion once EVENT;
    GET_EVENT "getEvent" GET "/v1/events/{event_id}" "events.get" Project again &[];
    UPDATE_EVENT "updateEvent" PUT "/v1/events/{event_id}" "events.update" Ingestion again EVENT_UPDATE;
    DELETE_EVENT "deleteEvent" DELETE "/v1/events/{event_id}" "events.delete" Project again &[];
    EXPORT_EVENTS "exportEventsLegacy" POST "/v1/events/export" "events.export" Project again EXPORT;
    SEARCH_EVENTS "searchEvents" POST "/v1/events/search" "events.search" Project again SEARCH;
    CREATE_EVENT_BATCH "createEventBatch" POST "/v1/events/batch" "events.create_batch" Ingestion once EVENTS;

    GET_DATAPOINTS "getDatapoints" GET "/v1/datapoints" "datapoints.list" Project again &[];
    CREATE_DATAPOINT "createDatapoint" POST "/v1/datapoints" "datapoints.create" Project once DATAPOINT;
    BATCH_DATAPOINTS "batchCreateDatapoints" POST "/v1/datapoints/batch" "datapoints.create_from_events" Project once
        &[("events[]", NotEmpty), ("dataset_id", NotEmpty)];
    GET_DATAPOINT "getDatapoint" GET "/v1/datapoints/{datapoint_id}" "datapoints.get" Project again &[];
    UPDATE_DATAPOINT "updateDatapoint" PUT "/v1/datapoints/{datapoint_id}" "datapoints.update" Project again DATAPOINT;
    DELETE_DATAPOINT "deleteDatapoint" DELETE "/v1/datapoints/{datapoint_id}" "datapoints.delete" Project again &[];

    GET_DATASETS "getDatasets" GET "/v1/datasets" "datasets.list" Project again &[];
    CREATE_DATASET "createDataset" POST "/v1/datasets" "datasets.create" Project once DATASET;
    UPDATE_DATASET "updateDataset" PUT "/v1/datasets/{dataset_id}" "datasets.update" Project again DATASET;
    DELETE_DATASET "deleteDataset" DELETE "/v1/datasets/{dataset_id}" "datasets.delete" Project again &[];
    ADD_DATAPOINTS "addDatapoints" POST "/v1/datasets/{dataset_id}/datapoints" "datasets.add_datapoints" Project once
        &[("data", NotEmpty), ("data[]", Object)];
    REMOVE_DATAPOINT "removeDatapoint" DELETE "/v1/datasets/{dataset_id}/datapoints/{datapoint_id}" "datasets.remove_datapoint" Project again &[];

    GET_METRICS "getMetrics" GET "/v1/metrics" "metrics.list" Project again &[];
    CREATE_METRIC "createMetric" POST "/v1/metrics" "metrics.create" Project once METRIC;
    UPDATE_METRIC "updateMetric" PUT "/v1/metrics/{metric_id}" "metrics.update" Project again METRIC;
    DELETE_METRIC "deleteMetric" DELETE "/v1/metrics/{metric_id}" "metrics.delete" Project again &[];
    GET_METRIC_VERSIONS "getMetricVersions" GET "/v1/metrics/{metric_id}/versions" "metrics.versions" Project again &[];
    CREATE_METRIC_VERSION "createMetricVersion" POST "/v1/metrics/{metric_id}/versions" "metrics.create_version" Project once METRIC_INSIDE;
    DEPLOY_METRIC_VERSION "deployMetricVersion" POST "/v1/metrics/{metric_id}/versions/{version_name}/deploy" "metrics.deploy_version" Project again &[];
    RUN_METRIC "runMetric" POST "/v1/metrics/run" "metrics.run" Project once METRIC_RUN;

    GET_CONFIGURATIONS "getConfigurations" GET "/v1/configurations" "configurations.list" Project again &[];
    CREATE_CONFIGURATION "createConfiguration" POST "/v1/configurations" "configurations.create" Project once CONFIGURATION;
    UPDATE_CONFIGURATION "updateConfiguration" PUT "/v1/configurations/{configId}" "configurations.update" Project again CONFIGURATION;
    DELETE_CONFIGURATION "deleteConfiguration" DELETE "/v1/configurations/{configId}" "configurations.delete" Project again &[];

    CREATE_RUN "createRun" POST "/v1/runs" "runs.create" Project once RUN;
    GET_RUNS "getRuns" GET "/v1/runs" "runs.list" Project again RUNS;
    GET_RUNS_SCHEMA "getRunsSchema" GET "/v1/runs/schema" "runs.schema" Project again &[];
    GET_RUN "getRun" GET "/v1/runs/{run_id}" "runs.get" Project again &[];
    UPDATE_RUN "updateRun" PUT "/v1/runs/{run_id}" "runs.update" Project again RUN;
    DELETE_RUN "deleteRun" DELETE "/v1/runs/{run_id}" "runs.delete" Project again &[];
    GET_RUN_SCHEMA "getRunSchema" GET "/v1/runs/{run_id}/schema" "runs.schema_of" Project again &[];
    GET_RUN_METRICS "getExperimentRunMetrics" GET "/v1/runs/{run_id}/metrics" "runs.metrics" Project again &[];
    GET_RUN_SUMMARY "getExperimentSummary" GET "/v1/runs/{run_id}/summary" "runs.summary" Project again RESULT;
    COMPARE_RUNS "getExperimentComparison" GET "/v1/runs/{new_run_id}/compare/{old_run_id}" "runs.compare" Project again RESULT;
    COMPARE_EVENTS "getExperimentCompareEvents" GET "/v1/runs/{new_run_id}/compare/{old_run_id}/events" "runs.compare_events" Project again COMPARED;

    GET_CHARTS "getCharts" GET "/v1/charts" "charts.list" Project again &[];
    CREATE_CHART "createChart" POST "/v1/charts" "charts.create" Project once CHART;
    GET_CHART "getChart" GET "/v1/charts/{chart_id}" "charts.get" Project again &[];
    UPDATE_CHART "updateChart" PUT "/v1/charts/{chart_id}" "charts.update" Project again CHART;
    DELETE_CHART "deleteChart" DELETE "/v1/charts/{chart_id}" "charts.delete" Project again &[];
    GET_PROJECT_CHARTS "getCharts" GET "/v1/projects/{project_id}/charts" "charts.in_project.list" DataPlane again &[];
    CREATE_PROJECT_CHART "createChart" POST "/v1/projects/{project_id}/charts" "charts.in_project.create" DataPlane once CHART;
    GET_PROJECT_CHART "getChart" GET "/v1/projects/{project_id}/charts/{chart_id}" "charts.in_project.get" DataPlane again &[];
    UPDATE_PROJECT_CHART "updateChart" PATCH "/v1/projects/{project_id}/charts/{chart_id}" "charts.in_project.update" DataPlane again CHART;
    DELETE_PROJECT_CHART "deleteChart" DELETE "/v1/projects/{project_id}/charts/{chart_id}" "charts.in_project.delete" DataPlane again &[];

    GET_QUEUES "getQueues" GET "/v1/queues" "queues.list" Project again &[];
    CREATE_QUEUE "createQueue" POST "/v1/queues" "queues.create" Project once QUEUE;
    GET_QUEUE "getQueue" GET "/v1/queues/{queue_id}" "queues.get" Project again &[];
    UPDATE_QUEUE "updateQueue" PUT "/v1/queues/{queue_id}" "queues.update" Project again QUEUE;
    DELETE_QUEUE "deleteQueue" DELETE "/v1/queues/{queue_id}" "queues.delete" Project again &[];

    CREATE_DATA_PLANE_KEY "createDataPlaneApiKey" POST "/v1/projects/{project_id}/fine_grained_api_keys" "api_keys.create" DataPlane once &[("name", NotEmpty)];
    CREATE_INGESTION_KEY "createIngestionApiKey" POST "/v1/projects/{project_id}/ingestion_api_keys" "api_keys.create_ingestion" DataPlane once &[("name", NotEmpty)];

    START_SESSION_LEGACY "startSessionLegacy" POST "/session/start" "legacy.start_session" Ingestion again SESSION_LEGACY;
    CREATE_EVENT_LEGACY "createEventLegacy" POST "/events" "legacy.create_event" Ingestion once EVENT_LEGACY;
    UPDATE_EVENT_LEGACY "updateEventLegacy" PUT "/events" "legacy.update_event" Ingestion again EVENT_UPDATE;
    CREATE_EVENT_BATCH_LEGACY "createEventBatchLegacy" POST "/events/batch" "legacy.create_event_batch" Ingestion once EVENTS;
    UPDATE_DATASET_LEGACY "updateDatasetLegacy" PUT "/v1/datasets" "legacy.update_dataset" Project again DATASET;
    DELETE_DATASET_LEGACY "deleteDatasetLegacy" DELETE "/v1/datasets" "legacy.delete_dataset" Project again &[("dataset_id", NotEmpty)];
    REMOVE_DATAPOINT_LEGACY "removeDatapointLegacy" DELETE "/v1/datasets/{dataset_id}/{datapoint_id}" "legacy.remove_datapoint" Project again &[];
    UPDATE_METRIC_LEGACY "updateMetricLegacy" PUT "/v1/metrics" "legacy.update_metric" Project again METRIC;
    DELETE_METRIC_LEGACY "deleteMetricLegacy" DELETE "/v1/metrics" "legacy.delete_metric" Project again &[("metric_id", NotEmpty)];
    GET_SCHEMA_LEGACY "getEventsSchemaLegacy" GET "/v1/events/schema" "legacy.schema" Project again &[];
    GET_RESULT_LEGACY "getExperimentResultLegacy" GET "/v1/runs/{run_id}/result" "legacy.run_result" Project again RESULT;
    COMPARE_RUNS_LEGACY "getExperimentComparisonLegacy" GET "/v1/runs/{new_run_id}/compare-with/{old_run_id}" "legacy.compare_runs" Project again RESULT;
    COMPARE_EVENTS_LEGACY "getExperimentCompareEventsLegacy" GET "/v1/runs/compare/events" "legacy.compare_events" Project again COMPARED;
}

/// Every operation that the platform describes and the client does not call, with the reason.
pub const ABSENT: &[Absent] = &[
    Absent {
        id: "addSessionTracesLegacy",
        method: "POST",
        path: "/session/{session_id}/traces",
        reason: "deprecated, and no client calls it: sessions().add_events",
    },
    Absent {
        id: "createModelEventLegacy",
        method: "POST",
        path: "/events/model",
        reason: "deprecated, and no client calls it: events().create with the type model",
    },
    Absent {
        id: "createModelEventBatchLegacy",
        method: "POST",
        path: "/events/model/batch",
        reason: "deprecated, and no client calls it: events().create_batch with events of the type model",
    },
    Absent {
        id: "runMetricLegacy",
        method: "POST",
        path: "/v1/metrics/run_metric",
        reason: "deprecated, and no client calls it: metrics().run",
    },
];
