//! The names of the settings.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::env::{Row, TABLE};

macro_rules! fields {
    ($($variant:ident $name:literal,)*) => {
        /// A setting of [`Config`](super::Config).
        ///
        /// It prints as its name in `honeyhive.toml`, which is also the name of the setter.
        ///
        /// ```
        /// use honeyhive::config::Field;
        ///
        /// assert_eq!(Field::BatchSize.name(), "batch_size");
        /// assert_eq!(Field::BatchSize.variable(), "HH_BATCH_SIZE");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Field {
            $(
                #[doc = concat!("`", $name, "`, read by [`Config::", $name, "`](super::Config::", $name, ").")]
                $variant,
            )*
        }

        impl Field {
            /// Every setting, in the order of the configuration page.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name of the setter and of the key in `honeyhive.toml`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

fields! {
    ApiKey "api_key",
    IngestionApiKey "ingestion_api_key",
    DataPlaneApiKey "data_plane_api_key",
    Project "project",
    Source "source",
    ServerUrl "server_url",
    AllowInsecure "allow_insecure",
    SessionName "session_name",
    SessionId "session_id",
    SessionInputs "session_inputs",
    UserProperties "user_properties",
    SessionAutoCreate "session_auto_create",
    SkipSessionStart "skip_session_start",
    RunId "run_id",
    DatasetId "dataset_id",
    DatapointId "datapoint_id",
    ServiceName "service_name",
    ServiceVersion "service_version",
    Git "git",
    Protocol "protocol",
    Compression "compression",
    OtlpEnabled "otlp_enabled",
    OtlpEndpoint "otlp_endpoint",
    Headers "headers",
    BatchSize "batch_size",
    MaxExportBatchSize "max_export_batch_size",
    FlushInterval "flush_interval",
    ExportTimeout "export_timeout",
    FlushTimeout "flush_timeout",
    DisableBatch "disable_batch",
    MaxQueueSize "max_queue_size",
    MaxQueueBytes "max_queue_bytes",
    MaxBatchBytes "max_batch_bytes",
    MaxInFlight "max_in_flight",
    FlushOnTimer "flush_on_timer",
    LifecycleTimeout "lifecycle_timeout",
    ConnectTimeout "connect_timeout",
    PoolMaxIdle "pool_max_idle",
    PoolIdleTimeout "pool_idle_timeout",
    RetryFirstDelay "retry_first_delay",
    RetryMaxDelay "retry_max_delay",
    RetryGiveUp "retry_give_up",
    Scenario "scenario",
    HighConcurrency "high_concurrency",
    Resilience "resilience",
    WatchConfig "watch_config",
    SpoolDir "spool_dir",
    SpoolMaxBytes "spool_max_bytes",
    MaxAttributes "max_attributes",
    MaxAttributeLength "max_attribute_length",
    MaxEvents "max_events",
    MaxLinks "max_links",
    MaxSpanSize "max_span_size",
    Filter "filter",
    SpanNameFilters "span_name_filters",
    SampleRate "sample_rate",
    CaptureContent "capture_content",
    Redact "redact",
    SpanEvents "span_events",
    DefaultEventType "default_event_type",
    EventTypeFromName "event_type_from_name",
    ApiTimeout "api_timeout",
    ApiExportTimeout "api_export_timeout",
    ApiMaxRetries "api_max_retries",
    CacheEnabled "cache_enabled",
    CacheMaxSize "cache_max_size",
    CacheTtl "cache_ttl",
    CacheCleanupInterval "cache_cleanup_interval",
    TestMode "test_mode",
    DisableTracing "disable_tracing",
    Verbose "verbose",
}

impl Field {
    /// The environment variable that sets it; see the [configuration page](super) for its aliases.
    #[must_use]
    pub fn variable(self) -> &'static str {
        self.row().map_or("", |row| row.variable)
    }

    /// What it means, in a sentence or two.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.row().map_or("", |row| row.doc)
    }

    /// What is accepted, in words.
    #[must_use]
    pub fn accepted(self) -> String {
        self.row()
            .map_or_else(String::new, |row| row.kind.accepted())
    }

    /// What holds when nobody sets it, in words.
    #[must_use]
    pub fn default_value(self) -> String {
        self.row().map_or_else(String::new, |row| (row.default)())
    }

    pub(crate) fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.field == self)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
