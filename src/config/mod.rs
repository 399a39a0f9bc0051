//! Configuration: immutable, validated, plain data. Knows nothing of spans, threads or the network.

use std::time::Duration;

/// How traces are encoded on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// OTLP/HTTP with protobuf bodies, the default.
    HttpProtobuf,
    /// OTLP/HTTP with JSON bodies.
    HttpJson,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all, the default.
    None,
    /// gzip.
    Gzip,
}

/// Placeholder of the resolved configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) api_key: Option<String>,
    pub(crate) ingestion_api_key: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) source: String,
    pub(crate) server_url: String,
    pub(crate) server_url_is_default: bool,
    pub(crate) allow_insecure: bool,
    pub(crate) session_name: Option<String>,
    pub(crate) session_id: Option<uuid::Uuid>,
    pub(crate) session_id_invalid: bool,
    pub(crate) service_name: Option<String>,
    pub(crate) service_version: Option<String>,
    pub(crate) protocol: Protocol,
    pub(crate) compression: Compression,
    pub(crate) otlp_enabled: bool,
    pub(crate) otlp_endpoint: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) batch_size: usize,
    pub(crate) max_export_batch_size: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) export_timeout: Duration,
    pub(crate) flush_timeout: Option<Duration>,
    pub(crate) disable_batch: bool,
    pub(crate) max_queue_size: usize,
    pub(crate) max_queue_bytes: usize,
    pub(crate) max_attributes: usize,
    pub(crate) max_attribute_length: usize,
    pub(crate) max_events: usize,
    pub(crate) max_span_size: usize,
    pub(crate) filter: String,
    pub(crate) default_event_type: String,
    pub(crate) test_mode: bool,
    pub(crate) disable_tracing: bool,
    pub(crate) verbose: bool,
}
