#![doc = include_str!("../docs/api.md")]

mod api_keys;
pub mod blocking;
mod cache;
mod charts;
mod client;
mod configurations;
mod datapoints;
mod datasets;
mod decode;
mod events;
mod filter;
mod legacy;
mod metrics;
mod operations;
mod pages;
mod queues;
mod request;
mod retry;
mod rows;
mod rules;
mod runs;
mod send;
mod sessions;

/// The handle of a resource: cheap to clone, like the client it came from.
macro_rules! resource {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name {
            client: $crate::api::client::Client,
        }

        impl $name {
            pub(crate) fn new(client: &$crate::api::client::Client) -> Self {
                Self { client: client.clone() }
            }
        }
    };
}

pub(crate) use resource;

pub use api_keys::{ApiKeys, CreatedKey, NewApiKey, NewIngestionKey};
pub use cache::{Cache, CacheStats};
pub use charts::{Bucketing, Chart, ChartUpdate, Charts, NewChart};
pub use client::{Builder, Client};
pub use configurations::{
    CallType, Configuration, ConfigurationQuery, ConfigurationType, ConfigurationUpdate,
    Configurations, Environment, NewConfiguration, NewParameters, Parameters,
};
pub use datapoints::{
    Datapoint, DatapointQuery, DatapointUpdate, Datapoints, DatapointsFromEvents, Mapping,
    NewDatapoint,
};
pub use datasets::{Dataset, DatasetQuery, DatasetUpdate, Datasets, ImportReport, NewDataset};
pub use events::{
    BatchItem, BatchReport, Event, EventKind, EventQuery, EventUpdate, Events, NewEvent,
    SessionProperties,
};
pub use filter::{DateRange, Filter, FilterField, FilterType, Operator, Timestamp};
pub use legacy::Legacy;
pub use metrics::{
    FilterArray, Metric, MetricContent, MetricEvent, MetricOutcome, MetricQuery, MetricType,
    MetricUpdate, MetricVersion, Metrics, NewMetric, ReturnType,
};
pub use operations::{ABSENT, Absent, OPERATIONS, Operation};
pub use pages::{Page, Pages};
pub use queues::{NewQueue, Queue, QueueUpdate, Queues, ScopeType};
pub use rows::Rows;
pub use runs::{
    Aggregate, Aggregation, CompareQuery, ComparedEvents, DatapointMetric, DatapointResult,
    EventDetail, EventMetrics, EventPresence, MetricComparison, MetricDatapoints, MetricDetail,
    NewRun, Pagination, PassingRange, ResultQuery, Run, RunComparison, RunMetrics, RunPage,
    RunQuery, RunStatus, RunSummary, RunUpdate, Runs, Schema, SchemaField, SortBy, SortOrder,
    UpdatedRun,
};
pub use sessions::{NewSession, Sessions, StartedSession};
