//! The one table of settings: variables, aliases, fields, forms, words. Knows nothing of how values are merged.
//!
//! It drives the reading of the environment, of `.env` and of `honeyhive.toml`, the messages about bad values, the
//! check for unknown variables and the page `src/docs/configuration.md`.

use std::time::Duration;

use super::field::Field;
use super::value::Kind;
use super::{
    DEFAULT_API_EXPORT_TIMEOUT, DEFAULT_API_MAX_RETRIES, DEFAULT_API_TIMEOUT, DEFAULT_BATCH_SIZE,
    DEFAULT_EVENT_TYPE, DEFAULT_EXPORT_TIMEOUT, DEFAULT_FILTER, DEFAULT_FLUSH_INTERVAL,
    DEFAULT_MAX_ATTRIBUTE_LENGTH, DEFAULT_MAX_ATTRIBUTES, DEFAULT_MAX_EVENTS,
    DEFAULT_MAX_EXPORT_BATCH_SIZE, DEFAULT_MAX_QUEUE_SIZE, DEFAULT_SERVER_URL, DEFAULT_SOURCE,
};

/// What to make of a name that is not the preferred one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alias {
    /// An older name of ours: works, with a warning; a bad value is an error.
    Deprecated(&'static str),
    /// A name so plain that other programs use it too: works, with a warning; a bad value is ignored with a warning.
    Bare(&'static str),
    /// A name that several tools agree on: works; a bad value is ignored with a warning.
    Shared(&'static str),
    /// The same, and a plain number is one of milliseconds.
    Milliseconds(&'static str),
}

impl Alias {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deprecated(name)
            | Self::Bare(name)
            | Self::Shared(name)
            | Self::Milliseconds(name) => name,
        }
    }
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) field: Field,
    pub(crate) variable: &'static str,
    pub(crate) aliases: &'static [Alias],
    pub(crate) kind: Kind,
    pub(crate) default: fn() -> String,
    pub(crate) doc: &'static str,
}

const MIB: u64 = 1 << 20;
const COUNT: Kind = Kind::Number {
    min: 1,
    max: 10_000,
};

fn nothing() -> String {
    "none".to_owned()
}

fn no() -> String {
    "false".to_owned()
}

fn time(time: Duration) -> String {
    format!("{time:?}")
}

fn size(bytes: usize) -> String {
    super::value::size(u64::try_from(bytes).unwrap_or(u64::MAX))
}

pub(crate) const TABLE: &[Row] = &[
    Row {
        field: Field::ApiKey,
        variable: "HH_API_KEY",
        aliases: &[Alias::Deprecated("HONEYHIVE_API_KEY")],
        kind: Kind::Key,
        default: nothing,
        doc: "The API key of the project. Without a key and without a server URL nothing is sent.",
    },
    Row {
        field: Field::IngestionApiKey,
        variable: "HH_INGESTION_API_KEY",
        aliases: &[],
        kind: Kind::IngestionKey,
        default: nothing,
        doc: "A key that may only write. When set it is used for sessions, events and spans instead of the API key.",
    },
    Row {
        field: Field::DataPlaneApiKey,
        variable: "HH_DATA_PLANE_API_KEY",
        aliases: &[],
        kind: Kind::DataPlaneKey,
        default: nothing,
        doc: "A key for what belongs to a project as a whole: its charts and its keys. Used by the REST client (feature \
              `api`) for these alone.",
    },
    Row {
        field: Field::Project,
        variable: "HH_PROJECT",
        aliases: &[],
        kind: Kind::Project,
        default: nothing,
        doc: "The name of the project, sent along with every event. The platform goes by the key.",
    },
    Row {
        field: Field::Source,
        variable: "HH_SOURCE",
        aliases: &[],
        kind: Kind::Text,
        default: || DEFAULT_SOURCE.to_owned(),
        doc: "Where events come from, such as `dev`, `staging` or `prod`.",
    },
    Row {
        field: Field::ServerUrl,
        variable: "HH_API_URL",
        aliases: &[
            Alias::Deprecated("HONEYHIVE_SERVER_URL"),
            Alias::Deprecated("HH_SERVER_URL"),
        ],
        kind: Kind::Url { base: true },
        default: || DEFAULT_SERVER_URL.to_owned(),
        doc: "The platform or a local server. A path is kept, trailing slashes are removed. A loopback address needs no key.",
    },
    Row {
        field: Field::AllowInsecure,
        variable: "HH_ALLOW_INSECURE",
        aliases: &[],
        kind: Kind::Flag,
        default: no,
        doc: "Whether `http://` may be used for another host than this one. Keys and events then travel unencrypted.",
    },
    Row {
        field: Field::SessionName,
        variable: "HH_SESSION_NAME",
        aliases: &[Alias::Bare("SESSION_NAME")],
        kind: Kind::Text,
        default: || "the name of the program".to_owned(),
        doc: "The name of the session that events belong to when they belong to no other.",
    },
    Row {
        field: Field::SessionId,
        variable: "HH_SESSION_ID",
        aliases: &[Alias::Bare("SESSION_ID")],
        kind: Kind::SessionId,
        default: || "a random one".to_owned(),
        doc: "The id of that session, a UUID. One that is malformed is replaced by a random one, with a warning.",
    },
    Row {
        field: Field::SessionInputs,
        variable: "HH_SESSION_INPUTS",
        aliases: &[],
        kind: Kind::Object,
        default: nothing,
        doc: "The inputs of that session.",
    },
    Row {
        field: Field::UserProperties,
        variable: "HH_USER_PROPERTIES",
        aliases: &[],
        kind: Kind::Object,
        default: nothing,
        doc: "The properties of the user that session is with.",
    },
    Row {
        field: Field::SessionAutoCreate,
        variable: "HH_SESSION_AUTO_CREATE",
        aliases: &[],
        kind: Kind::Flag,
        default: no,
        doc: "Whether sessions are not announced but made by the platform from their events, which then say so. A session \
              with inputs, metadata or user properties is announced all the same.",
    },
    Row {
        field: Field::SkipSessionStart,
        variable: "HH_SKIP_SESSION_START",
        aliases: &[],
        kind: Kind::Flag,
        default: no,
        doc: "Whether the session of `session_id` exists already, so that it is not announced. Without a valid \
              `session_id`: the same as `session_auto_create`.",
    },
    Row {
        field: Field::RunId,
        variable: "HH_RUN_ID",
        aliases: &[Alias::Bare("RUN_ID")],
        kind: Kind::Text,
        default: nothing,
        doc: "The evaluation run that all events and sessions belong to.",
    },
    Row {
        field: Field::DatasetId,
        variable: "HH_DATASET_ID",
        aliases: &[Alias::Bare("DATASET_ID")],
        kind: Kind::Text,
        default: nothing,
        doc: "The dataset of that run.",
    },
    Row {
        field: Field::DatapointId,
        variable: "HH_DATAPOINT_ID",
        aliases: &[Alias::Bare("DATAPOINT_ID")],
        kind: Kind::Text,
        default: nothing,
        doc: "The datapoint of that run.",
    },
    Row {
        field: Field::ServiceName,
        variable: "HH_SERVICE_NAME",
        aliases: &[
            Alias::Shared("OTEL_SERVICE_NAME"),
            Alias::Shared("SERVICE_NAME"),
        ],
        kind: Kind::Text,
        default: || "the name of the program".to_owned(),
        doc: "The resource attribute `service.name`. Unset: that of `OTEL_RESOURCE_ATTRIBUTES`, the function's name on AWS \
              Lambda or `K8S_APP_NAME` go before the default.",
    },
    Row {
        field: Field::ServiceVersion,
        variable: "HH_SERVICE_VERSION",
        aliases: &[
            Alias::Shared("OTEL_SERVICE_VERSION"),
            Alias::Shared("SERVICE_VERSION"),
        ],
        kind: Kind::Text,
        default: nothing,
        doc: "The resource attribute `service.version`. Unset: that of `OTEL_RESOURCE_ATTRIBUTES`, the start of `GIT_COMMIT` or \
              `BUILD_NUMBER`, where there is one.",
    },
    Row {
        field: Field::Git,
        variable: "HH_GIT",
        aliases: &[],
        kind: Kind::Flag,
        default: || "true".to_owned(),
        doc: "Whether commit, branch and repository of the working directory are sent as resource attributes.",
    },
    Row {
        field: Field::Protocol,
        variable: "HH_OTLP_PROTOCOL",
        aliases: &[
            Alias::Shared("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
            Alias::Shared("OTEL_EXPORTER_OTLP_PROTOCOL"),
        ],
        kind: Kind::Protocol,
        default: || super::Protocol::default().as_str().to_owned(),
        doc: "How spans are encoded.",
    },
    Row {
        field: Field::Compression,
        variable: "HH_OTLP_COMPRESSION",
        aliases: &[
            Alias::Shared("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"),
            Alias::Shared("OTEL_EXPORTER_OTLP_COMPRESSION"),
        ],
        kind: Kind::Compression,
        default: || super::Compression::default().as_str().to_owned(),
        doc: "How the bodies of span requests are compressed.",
    },
    Row {
        field: Field::OtlpEnabled,
        variable: "HH_OTLP_ENABLED",
        aliases: &[],
        kind: Kind::Flag,
        default: || "true".to_owned(),
        doc: "Whether spans are exported at all.",
    },
    Row {
        field: Field::OtlpEndpoint,
        variable: "HH_OTLP_ENDPOINT",
        aliases: &[],
        kind: Kind::Url { base: false },
        default: || "`server_url` followed by `/opentelemetry/v1/traces`".to_owned(),
        doc: "The full URL that spans are posted to, used as given. Set alone, nothing but spans is sent.",
    },
    Row {
        field: Field::Headers,
        variable: "HH_OTLP_HEADERS",
        aliases: &[],
        kind: Kind::Headers,
        default: nothing,
        doc: "Headers added to span requests. `Authorization` is accepted together with `otlp_endpoint` only, and then \
              takes the place of the key there; headers that describe the body or the connection are refused.",
    },
    Row {
        field: Field::BatchSize,
        variable: "HH_BATCH_SIZE",
        aliases: &[],
        kind: COUNT,
        default: || DEFAULT_BATCH_SIZE.to_string(),
        doc: "How many spans waiting make the exporter send before the flush interval is over.",
    },
    Row {
        field: Field::MaxExportBatchSize,
        variable: "HH_MAX_EXPORT_BATCH_SIZE",
        aliases: &[Alias::Shared("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")],
        kind: COUNT,
        default: || DEFAULT_MAX_EXPORT_BATCH_SIZE.to_string(),
        doc: "How many spans go into one request at most. Unset, it is up to eight times that when more wait.",
    },
    Row {
        field: Field::FlushInterval,
        variable: "HH_FLUSH_INTERVAL",
        aliases: &[Alias::Milliseconds("OTEL_BSP_SCHEDULE_DELAY")],
        kind: Kind::Time {
            min: Duration::from_millis(10),
            max: Duration::from_secs(3600),
        },
        default: || time(DEFAULT_FLUSH_INTERVAL),
        doc: "How long a span waits at most before it is sent.",
    },
    Row {
        field: Field::ExportTimeout,
        variable: "HH_EXPORT_TIMEOUT",
        aliases: &[
            Alias::Milliseconds("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
            Alias::Milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT"),
            Alias::Milliseconds("OTEL_BSP_EXPORT_TIMEOUT"),
        ],
        kind: Kind::Time {
            min: Duration::from_millis(10),
            max: Duration::from_secs(600),
        },
        default: || time(DEFAULT_EXPORT_TIMEOUT),
        doc: "How long one request may take. (The Python client documents 30 s and does not apply it.)",
    },
    Row {
        field: Field::FlushTimeout,
        variable: "HH_FLUSH_TIMEOUT",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::ZERO,
            max: Duration::from_secs(600),
        },
        default: || {
            "by environment: 2s on AWS Lambda, 5s on Kubernetes, 1s under high concurrency, else 3s"
                .to_owned()
        },
        doc: "How long dropping the instance waits for what is queued. Zero: not at all.",
    },
    Row {
        field: Field::DisableBatch,
        variable: "HH_DISABLE_BATCH",
        aliases: &[],
        kind: Kind::Flag,
        default: no,
        doc: "Whether every span is sent as soon as it ends, in a request of its own.",
    },
    Row {
        field: Field::MaxQueueSize,
        variable: "HH_MAX_QUEUE_SIZE",
        aliases: &[Alias::Shared("OTEL_BSP_MAX_QUEUE_SIZE")],
        kind: Kind::Number {
            min: 1,
            max: 16_777_216,
        },
        default: || DEFAULT_MAX_QUEUE_SIZE.to_string(),
        doc: "How many spans may wait to be sent. What comes on top is dropped and counted.",
    },
    Row {
        field: Field::MaxQueueBytes,
        variable: "HH_MAX_QUEUE_BYTES",
        aliases: &[],
        kind: Kind::Bytes {
            min: MIB,
            max: 1 << 30,
        },
        default: || {
            "by environment: 16MiB on AWS Lambda, 128MiB under high concurrency, else 64MiB; less with little memory"
                .to_owned()
        },
        doc: "How much memory the waiting spans may take. What comes on top is dropped and counted.",
    },
    Row {
        field: Field::MaxBatchBytes,
        variable: "HH_MAX_BATCH_BYTES",
        aliases: &[],
        kind: Kind::Bytes {
            min: 64 << 10,
            max: 64 * MIB,
        },
        default: || "4MiB; less with little memory".to_owned(),
        doc: "How large one request may become before the next span goes into another one. A larger span travels alone.",
    },
    Row {
        field: Field::MaxInFlight,
        variable: "HH_MAX_IN_FLIGHT",
        aliases: &[],
        kind: Kind::Number { min: 1, max: 64 },
        default: || {
            "by environment: 4 under high concurrency, 3 on Kubernetes, Google Cloud, Azure and EC2, else 2; by processors"
                .to_owned()
        },
        doc: "How many requests with spans may be on their way at once. Unset, it is at least 4 while more spans wait than one \
              request takes.",
    },
    Row {
        field: Field::FlushOnTimer,
        variable: "HH_FLUSH_ON_TIMER",
        aliases: &[],
        kind: Kind::Flag,
        default: || "by environment: no on AWS Lambda, else yes".to_owned(),
        doc: "Whether spans are sent when the flush interval is over, besides when there are enough of them.",
    },
    Row {
        field: Field::LifecycleTimeout,
        variable: "HH_LIFECYCLE_TIMEOUT",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::ZERO,
            max: Duration::from_secs(600),
        },
        default: || {
            "by environment: 0.5s on AWS Lambda, 2s on Kubernetes, 0.3s under high concurrency, else 1s"
                .to_owned()
        },
        doc: "How long a change of the configuration and the end of an instance wait for one another.",
    },
    Row {
        field: Field::ConnectTimeout,
        variable: "HH_CONNECT_TIMEOUT",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::from_millis(10),
            max: Duration::from_secs(600),
        },
        default: || time(super::DEFAULT_CONNECT_TIMEOUT),
        doc: "How long making a connection may take, TLS included; `export_timeout` bounds the whole request.",
    },
    Row {
        field: Field::PoolMaxIdle,
        variable: "HH_POOL_MAX_IDLE",
        aliases: &[],
        kind: Kind::Number { min: 0, max: 200 },
        default: || {
            "by environment: 8 on AWS Lambda, 15 in Docker, 18 on Google Cloud and Azure, 25 on EC2, else 20; by memory"
                .to_owned()
        },
        doc: "How many connections to a host are kept for later requests. Zero: none.",
    },
    Row {
        field: Field::PoolIdleTimeout,
        variable: "HH_POOL_IDLE_TIMEOUT",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::ZERO,
            max: Duration::from_secs(3600),
        },
        default: || "by environment: 20s on AWS Lambda, else 50s".to_owned(),
        doc: "How long they are kept.",
    },
    Row {
        field: Field::RetryFirstDelay,
        variable: "HH_RETRY_FIRST_DELAY",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::from_millis(1),
            max: Duration::from_secs(60),
        },
        default: || "by environment, from 0.1s on AWS Lambda to 0.5s".to_owned(),
        doc: "The wait before a request is repeated for the first time. It doubles with every failure in a row; a random \
              part of up to its half is taken off.",
    },
    Row {
        field: Field::RetryMaxDelay,
        variable: "HH_RETRY_MAX_DELAY",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::from_millis(1),
            max: Duration::from_secs(600),
        },
        default: || time(super::DEFAULT_RETRY_MAX_DELAY),
        doc: "The longest wait between two attempts.",
    },
    Row {
        field: Field::RetryGiveUp,
        variable: "HH_RETRY_GIVE_UP",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::ZERO,
            max: Duration::from_secs(86_400),
        },
        default: || time(super::DEFAULT_RETRY_GIVE_UP),
        doc: "For how long a batch is tried before it is lost, and counted. Zero: once.",
    },
    Row {
        field: Field::Scenario,
        variable: "HH_SCENARIO",
        aliases: &[],
        kind: Kind::Scenario,
        default: || super::Scenario::default().as_str().to_owned(),
        doc: "What the program does. It changes defaults, never what is set.",
    },
    Row {
        field: Field::HighConcurrency,
        variable: "HH_HIGH_CONCURRENCY",
        aliases: &[],
        kind: Kind::Flag,
        default: no,
        doc: "Whether the process works on many requests at a time: takes the deadlines and the queue for that, except on \
              AWS Lambda and Kubernetes.",
    },
    Row {
        field: Field::Resilience,
        variable: "HH_RESILIENCE_LEVEL",
        aliases: &[],
        kind: Kind::Resilience,
        default: || super::ResilienceLevel::default().as_str().to_owned(),
        doc: "How much trouble the caller is told of.",
    },
    Row {
        field: Field::WatchConfig,
        variable: "HH_WATCH_CONFIG",
        aliases: &[],
        kind: Kind::Flag,
        default: no,
        doc: "Whether changes of `honeyhive.toml` are taken over while the program runs.",
    },
    Row {
        field: Field::SpoolDir,
        variable: "HH_SPOOL_DIR",
        aliases: &[],
        kind: Kind::Path,
        default: nothing,
        doc: "The directory that keeps what cannot be delivered, to be sent later (cargo feature `spool`). `default` is one of \
              the service's own in the user's directory for state: below `$XDG_STATE_HOME/honeyhive/spool`, \
              `~/.local/state/honeyhive/spool`, or `honeyhive/spool` among temporary files; where `resilience` is \
              `resilient` it is that unless set. Taken when the first span closes.",
    },
    Row {
        field: Field::SpoolMaxBytes,
        variable: "HH_SPOOL_MAX_BYTES",
        aliases: &[],
        kind: Kind::Bytes {
            min: MIB,
            max: 4096 * MIB,
        },
        default: || super::value::size(super::DEFAULT_SPOOL_MAX_BYTES),
        doc: "How many bytes that directory may hold. What comes on top is not kept.",
    },
    Row {
        field: Field::MaxAttributes,
        variable: "HH_MAX_ATTRIBUTES",
        aliases: &[],
        kind: Kind::Number {
            min: 128,
            max: 10_000,
        },
        default: || DEFAULT_MAX_ATTRIBUTES.to_string(),
        doc: "How many attributes a span may have. Those that the platform needs are not counted and never cut.",
    },
    Row {
        field: Field::MaxAttributeLength,
        variable: "HH_MAX_ATTRIBUTE_LENGTH",
        aliases: &[],
        kind: Kind::Bytes {
            min: 1 << 10,
            max: 100 * MIB,
        },
        default: || size(DEFAULT_MAX_ATTRIBUTE_LENGTH),
        doc: "How long one value may be. A longer one is cut and marked.",
    },
    Row {
        field: Field::MaxEvents,
        variable: "HH_MAX_EVENTS",
        aliases: &[],
        kind: COUNT,
        default: || DEFAULT_MAX_EVENTS.to_string(),
        doc: "How many log events a span may carry.",
    },
    Row {
        field: Field::MaxLinks,
        variable: "HH_MAX_LINKS",
        aliases: &[],
        kind: COUNT,
        default: || super::DEFAULT_MAX_LINKS.to_string(),
        doc: "How many links to other spans (`follows_from`) a span may carry.",
    },
    Row {
        field: Field::MaxSpanSize,
        variable: "HH_MAX_SPAN_SIZE",
        aliases: &[],
        kind: Kind::Bytes {
            min: 64 << 10,
            max: 100 * MIB,
        },
        default: || "10MiB, or `max_attribute_length` if that is more".to_owned(),
        doc: "How much memory one span may take.",
    },
    Row {
        field: Field::Filter,
        variable: "HH_FILTER",
        aliases: &[],
        kind: Kind::Filter,
        default: || DEFAULT_FILTER.to_owned(),
        doc: "Which spans are recorded: a level, or `target=level` pairs, separated by commas.",
    },
    Row {
        field: Field::SpanNameFilters,
        variable: "HH_SPAN_NAME_FILTERS",
        aliases: &[Alias::Bare("SPAN_NAME_FILTERS")],
        kind: Kind::NameFilters,
        default: nothing,
        doc: "Which spans are left out by their names: those that begin with none of the prefixes to include, where there \
              are any, or with one of those to exclude. What was made in them belongs to the next span above.",
    },
    Row {
        field: Field::SampleRate,
        variable: "HH_SAMPLE_RATE",
        aliases: &[],
        kind: Kind::Rate,
        default: || "1".to_owned(),
        doc: "The share of traces that is sent. A session given by its id is sent whole or not at all. Spans that failed are \
              always sent, with the spans above them.",
    },
    Row {
        field: Field::CaptureContent,
        variable: "HH_CAPTURE_CONTENT",
        aliases: &[],
        kind: Kind::Flag,
        default: || "true".to_owned(),
        doc: "Whether inputs, outputs, messages, prompts and completions are sent. Errors are sent in any case.",
    },
    Row {
        field: Field::Redact,
        variable: "HH_REDACT",
        aliases: &[],
        kind: Kind::Redact,
        default: || "default".to_owned(),
        doc: "Whose values are replaced by `[redacted]`: by default those of keys that look like credentials.",
    },
    Row {
        field: Field::SpanEvents,
        variable: "HH_SPAN_EVENTS",
        aliases: &[],
        kind: Kind::Filter,
        default: || super::DEFAULT_SPAN_EVENTS.to_owned(),
        doc: "Which log events are sent along with the span they happen in, whatever `filter` says of them: a level, or \
              `target=level` pairs, separated by commas. An ERROR event that is among them marks its span as failed.",
    },
    Row {
        field: Field::DefaultEventType,
        variable: "HH_DEFAULT_EVENT_TYPE",
        aliases: &[],
        kind: Kind::EventType,
        default: || DEFAULT_EVENT_TYPE.to_owned(),
        doc: "The type of an event when nothing else decides it.",
    },
    Row {
        field: Field::EventTypeFromName,
        variable: "HH_EVENT_TYPE_FROM_NAME",
        aliases: &[],
        kind: Kind::Flag,
        default: no,
        doc: "Whether an event whose attributes do not tell its type is a `model` event when its name has a word such as \
              `llm`, `gpt` or `chat`, as the Python client guesses (there, parts of words count too).",
    },
    Row {
        field: Field::ApiTimeout,
        variable: "HH_API_TIMEOUT",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::from_millis(10),
            max: Duration::from_secs(600),
        },
        default: || time(DEFAULT_API_TIMEOUT),
        doc: "How long one attempt of a call of the REST client (feature `api`) may take, its answer included.",
    },
    Row {
        field: Field::ApiExportTimeout,
        variable: "HH_EXPORT_TIMEOUT_SECONDS",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::from_millis(10),
            max: Duration::from_secs(3600),
        },
        default: || time(DEFAULT_API_EXPORT_TIMEOUT),
        doc: "The same for exporting events through the REST client, whose answers may be large.",
    },
    Row {
        field: Field::ApiMaxRetries,
        variable: "HH_MAX_RETRIES",
        aliases: &[],
        kind: Kind::Number { min: 0, max: 20 },
        default: || DEFAULT_API_MAX_RETRIES.to_string(),
        doc: "How often the REST client (feature `api`) repeats a call that failed and may be repeated.",
    },
    Row {
        field: Field::CacheEnabled,
        variable: "HH_CACHE_ENABLED",
        aliases: &[],
        kind: Kind::Flag,
        default: || "true".to_owned(),
        doc: "Whether the REST client (feature `api`) keeps what its `get_cached` methods read.",
    },
    Row {
        field: Field::CacheMaxSize,
        variable: "HH_CACHE_MAX_SIZE",
        aliases: &[],
        kind: Kind::Number {
            min: 1,
            max: 1_000_000,
        },
        default: || "100 prompts, 50 other resources".to_owned(),
        doc: "How many entries each cache of the REST client may have. The one used least recently makes room.",
    },
    Row {
        field: Field::CacheTtl,
        variable: "HH_CACHE_TTL",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::from_millis(10),
            max: Duration::from_secs(2_592_000),
        },
        default: || "15 minutes for prompts, an hour for other resources".to_owned(),
        doc: "How long an entry counts as fresh. For as long again it is given out while a new one is fetched.",
    },
    Row {
        field: Field::CacheCleanupInterval,
        variable: "HH_CACHE_CLEANUP_INTERVAL",
        aliases: &[],
        kind: Kind::Time {
            min: Duration::from_millis(10),
            max: Duration::from_secs(2_592_000),
        },
        default: || "3 minutes for prompts, 5 minutes for other resources".to_owned(),
        doc: "How often entries that are too old to be given out are removed. It happens when the cache is used.",
    },
    Row {
        field: Field::TestMode,
        variable: "HH_TEST_MODE",
        aliases: &[],
        kind: Kind::Flag,
        default: no,
        doc: "Whether everything works except the network: events are built, nothing is sent.",
    },
    Row {
        field: Field::DisableTracing,
        variable: "HH_DISABLE_TRACING",
        aliases: &[Alias::Shared("OTEL_SDK_DISABLED")],
        kind: Kind::Flag,
        default: no,
        doc: "Whether nothing is recorded.",
    },
    Row {
        field: Field::Verbose,
        variable: "HH_VERBOSE",
        aliases: &[],
        kind: Kind::Flag,
        default: no,
        doc: "Whether decisions, applied limits and requests are logged at DEBUG on target `honeyhive`.",
    },
];
