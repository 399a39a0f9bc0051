//! Configuration: immutable, validated, plain data. Knows nothing of spans, threads or the network.
#![doc = include_str!("../docs/configuration.md")]

mod builder;
mod choices;
mod client;
mod defaults;
mod env;
mod event_types;
mod field;
mod file;
mod getters;
mod key;
mod known;
pub(crate) mod live;
mod names;
mod redact;
mod resolve;
mod serial;
mod spelling;
mod usual;
mod value;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use builder::Builder;
pub use choices::{Compression, Protocol, ResilienceLevel, Scenario};
pub use field::Field;
pub use key::ApiKey;
pub use redact::Redact;

pub use defaults::*;
pub(crate) use event_types::{EventTypes, Rule};
pub(crate) use file::{File, Sources};
pub(crate) use names::NameFilters;
pub(crate) use usual::{Number, Usage, Usual};
pub(crate) use value::{Value, size};
pub(crate) use watch::Watch;

use serial::{headers, optional_seconds, seconds, session_id};

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// A setter of [`Builder`].
    Code,
    /// This variable of the environment.
    Environment(String),
    /// This variable in this `.env` file.
    DotEnv(#[serde(serialize_with = "lossy")] PathBuf, String),
    /// This `honeyhive.toml`.
    File(#[serde(serialize_with = "lossy")] PathBuf),
    /// Nobody set it.
    #[default]
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code => f.write_str("code"),
            Self::Environment(variable) => write!(f, "{variable} in the environment"),
            Self::DotEnv(path, variable) => write!(f, "{variable} in {}", path.display()),
            Self::File(path) => path.display().fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The resolved configuration of one instance: every value checked, each with where it came from.
///
/// It prints as one line a setting, and goes through JSON and TOML and back. API keys and the values of headers are
/// masked whenever it leaves the program, so what comes back is [`masked`](Self::masked): good to look at and to
/// compare, not to send with. Absent values are left out.
///
/// ```
/// use honeyhive::config::{Config, Field, Source};
///
/// fn explain(config: &Config) {
///     if *config.source_of(Field::ServerUrl) == Source::Default {
///         println!("events go to the platform, {}", config.server_url());
///     }
///     for setting in config.settings() {
///         println!("{} comes from {}", setting.field, setting.source);
///     }
/// }
/// # explain(&Config::default());
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<ApiKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ingestion_api_key: Option<ApiKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_plane_api_key: Option<ApiKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<String>,
    pub(crate) source: String,
    pub(crate) server_url: String,
    pub(crate) server_url_is_default: bool,
    pub(crate) allow_insecure: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", with = "session_id")]
    pub(crate) session_id: Option<uuid::Uuid>,
    pub(crate) session_id_invalid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_inputs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_properties: Option<String>,
    pub(crate) session_auto_create: bool,
    pub(crate) skip_session_start: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dataset_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) datapoint_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_version: Option<String>,
    pub(crate) git: bool,
    pub(crate) protocol: Protocol,
    pub(crate) compression: Compression,
    pub(crate) otlp_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) otlp_endpoint: Option<String>,
    pub(crate) batch_size: usize,
    pub(crate) max_export_batch_size: usize,
    #[serde(with = "seconds")]
    pub(crate) flush_interval: Duration,
    #[serde(with = "seconds")]
    pub(crate) export_timeout: Duration,
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_seconds")]
    pub(crate) flush_timeout: Option<Duration>,
    pub(crate) disable_batch: bool,
    pub(crate) max_queue_size: usize,
    pub(crate) max_queue_bytes: usize,
    pub(crate) max_batch_bytes: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) flush_on_timer: bool,
    #[serde(with = "seconds")]
    pub(crate) lifecycle_timeout: Duration,
    #[serde(with = "seconds")]
    pub(crate) connect_timeout: Duration,
    pub(crate) pool_max_idle: usize,
    #[serde(with = "seconds")]
    pub(crate) pool_idle_timeout: Duration,
    #[serde(with = "seconds")]
    pub(crate) retry_first_delay: Duration,
    #[serde(with = "seconds")]
    pub(crate) retry_max_delay: Duration,
    #[serde(with = "seconds")]
    pub(crate) retry_give_up: Duration,
    pub(crate) scenario: Scenario,
    pub(crate) high_concurrency: bool,
    pub(crate) resilience: ResilienceLevel,
    pub(crate) watch_config: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spool_dir: Option<String>,
    pub(crate) spool_max_bytes: u64,
    pub(crate) max_attributes: usize,
    pub(crate) max_attribute_length: usize,
    pub(crate) max_events: usize,
    pub(crate) max_links: usize,
    pub(crate) max_span_size: usize,
    pub(crate) filter: String,
    pub(crate) span_name_filters: NameFilters,
    pub(crate) sample_rate: f64,
    pub(crate) capture_content: bool,
    pub(crate) redact: Redact,
    pub(crate) span_events: String,
    pub(crate) default_event_type: String,
    pub(crate) event_type_from_name: bool,
    #[serde(default, skip_serializing_if = "EventTypes::is_empty")]
    pub(crate) event_types: EventTypes,
    #[serde(with = "seconds")]
    pub(crate) api_timeout: Duration,
    #[serde(with = "seconds")]
    pub(crate) api_export_timeout: Duration,
    pub(crate) api_max_retries: u32,
    pub(crate) cache_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_max_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_seconds")]
    pub(crate) cache_ttl: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_seconds")]
    pub(crate) cache_cleanup_interval: Option<Duration>,
    pub(crate) test_mode: bool,
    pub(crate) disable_tracing: bool,
    pub(crate) verbose: bool,
    pub(crate) require_key: bool,
    /// What is odd about the settings and no error: for the owner to log once.
    pub(crate) warnings: Vec<String>,
    /// Names in lower case, in order, each once.
    #[serde(with = "headers")]
    pub(crate) headers: Vec<(String, String)>,
    /// Of what somebody set.
    pub(crate) sources: BTreeMap<Field, Source>,
    /// Where what nobody set came from.
    #[serde(skip)]
    pub(crate) usual: Usual,
    /// What was set, could not be understood, and was no error.
    #[serde(skip)]
    pub(crate) refused: Vec<Field>,
}

/// One setting of a [`Config`], as [`Config::settings`] lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting<'a> {
    /// Which one.
    pub field: Field,
    /// Its value in words, secrets masked; `None` when it is absent.
    pub value: Option<String>,
    /// Where the value came from.
    pub source: &'a Source,
}

impl Default for Config {
    /// What holds when nobody sets anything.
    fn default() -> Self {
        Self {
            api_key: None,
            ingestion_api_key: None,
            data_plane_api_key: None,
            project: None,
            source: DEFAULT_SOURCE.to_owned(),
            server_url: DEFAULT_SERVER_URL.to_owned(),
            server_url_is_default: true,
            allow_insecure: false,
            session_name: None,
            session_id: None,
            session_id_invalid: false,
            session_inputs: None,
            user_properties: None,
            session_auto_create: false,
            skip_session_start: false,
            run_id: None,
            dataset_id: None,
            datapoint_id: None,
            service_name: None,
            service_version: None,
            git: true,
            protocol: Protocol::default(),
            compression: Compression::default(),
            otlp_enabled: true,
            otlp_endpoint: None,
            headers: Vec::new(),
            batch_size: DEFAULT_BATCH_SIZE,
            max_export_batch_size: DEFAULT_MAX_EXPORT_BATCH_SIZE,
            flush_interval: DEFAULT_FLUSH_INTERVAL,
            export_timeout: DEFAULT_EXPORT_TIMEOUT,
            flush_timeout: None,
            disable_batch: false,
            max_queue_size: DEFAULT_MAX_QUEUE_SIZE,
            max_queue_bytes: DEFAULT_MAX_QUEUE_BYTES,
            max_batch_bytes: DEFAULT_MAX_BATCH_BYTES,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            flush_on_timer: true,
            lifecycle_timeout: DEFAULT_LIFECYCLE_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            pool_max_idle: DEFAULT_POOL_MAX_IDLE,
            pool_idle_timeout: DEFAULT_POOL_IDLE_TIMEOUT,
            retry_first_delay: DEFAULT_RETRY_FIRST_DELAY,
            retry_max_delay: DEFAULT_RETRY_MAX_DELAY,
            retry_give_up: DEFAULT_RETRY_GIVE_UP,
            scenario: Scenario::default(),
            high_concurrency: false,
            resilience: ResilienceLevel::default(),
            watch_config: false,
            spool_dir: None,
            spool_max_bytes: DEFAULT_SPOOL_MAX_BYTES,
            max_attributes: DEFAULT_MAX_ATTRIBUTES,
            max_attribute_length: DEFAULT_MAX_ATTRIBUTE_LENGTH,
            max_events: DEFAULT_MAX_EVENTS,
            max_links: DEFAULT_MAX_LINKS,
            max_span_size: DEFAULT_MAX_SPAN_SIZE,
            filter: DEFAULT_FILTER.to_owned(),
            span_name_filters: NameFilters::default(),
            sample_rate: DEFAULT_SAMPLE_RATE,
            capture_content: true,
            redact: Redact::default(),
            span_events: DEFAULT_SPAN_EVENTS.to_owned(),
            default_event_type: DEFAULT_EVENT_TYPE.to_owned(),
            event_type_from_name: false,
            event_types: EventTypes::default(),
            api_timeout: DEFAULT_API_TIMEOUT,
            api_export_timeout: DEFAULT_API_EXPORT_TIMEOUT,
            api_max_retries: DEFAULT_API_MAX_RETRIES,
            cache_enabled: true,
            cache_max_size: None,
            cache_ttl: None,
            cache_cleanup_interval: None,
            test_mode: false,
            disable_tracing: false,
            verbose: false,
            require_key: false,
            warnings: Vec::new(),
            sources: BTreeMap::new(),
            usual: Usual::default(),
            refused: Vec::new(),
        }
    }
}

fn object(text: Option<&str>) -> Option<serde_json::Map<String, serde_json::Value>> {
    serde_json::from_str(text?).ok()
}

/// One line a setting: its name, its value, where that came from.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in self.settings() {
            let value = setting.value.as_deref().unwrap_or("-");
            writeln!(f, "{} = {value} ({})", setting.field, setting.source)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Config");
        for setting in self.settings() {
            debug.field(setting.field.name(), &setting.value);
        }
        debug
            .field("session_id_invalid", &self.session_id_invalid)
            .field("require_key", &self.require_key)
            .field("warnings", &self.warnings)
            .field("sources", &self.sources)
            .finish()
    }
}
