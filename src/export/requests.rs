//! The requests the worker makes: addresses, headers and bodies, as functions of a configuration snapshot. Knows the
//! contract, not how requests are sent.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use serde_json::{Map, Value, json};

use super::otlp::{Batch, Envelope};
use super::transport::{Method, Request};
use crate::clock;
use crate::config::{ApiKey, Compression, Config};
use crate::event::directory::SessionStart;
use crate::id::SessionId;

/// The platform answers REST calls within this, or not at all.
const API_TIMEOUT: Duration = Duration::from_secs(5);

/// Bodies smaller than this are not worth compressing.
const MIN_COMPRESSED: usize = 1024;

/// Whether REST calls are made: not when only a bare OTLP endpoint was configured.
pub(crate) fn has_rest(config: &Config) -> bool {
    config.otlp_endpoint.is_none() || !config.server_url_is_default || key(config).is_some()
}

/// Where traces go.
pub(crate) fn traces_url(config: &Config) -> String {
    match &config.otlp_endpoint {
        Some(endpoint) => endpoint.clone(),
        None => format!("{}/opentelemetry/v1/traces", config.server_url),
    }
}

/// A batch of spans; the flag says whether its body is compressed.
pub(crate) fn traces(
    config: &Config,
    envelope: &Envelope,
    batch: &Batch,
    may_compress: bool,
) -> (Request, bool) {
    let mut headers = common_headers(config, true);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(envelope.content_type()),
    );
    if let Ok(source) = HeaderValue::from_str(&config.source) {
        headers.insert("x-source", source);
    }
    let compressed = (may_compress
        && config.compression == Compression::Gzip
        && batch.body.len() >= MIN_COMPRESSED)
        .then(|| gzip(&batch.body))
        .flatten();
    if compressed.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let is_compressed = compressed.is_some();
    let request = Request {
        method: Method::Post,
        url: traces_url(config),
        headers,
        body: compressed.unwrap_or_else(|| batch.body.clone()),
        timeout: config.export_timeout,
    };
    (request, is_compressed)
}

/// The announcement of a session.
pub(crate) fn session_start(
    config: &Config,
    id: SessionId,
    start: &SessionStart,
    default_name: &str,
) -> Request {
    let mut session = Map::new();
    session.insert("session_id".to_owned(), id.to_string().into());
    session.insert(
        "session_name".to_owned(),
        start.name.as_deref().unwrap_or(default_name).into(),
    );
    session.insert("source".to_owned(), config.source.as_str().into());
    for (key, map) in [
        ("inputs", &start.inputs),
        ("metadata", &start.metadata),
        ("user_properties", &start.user_properties),
    ] {
        if !map.is_empty() {
            session.insert(key.to_owned(), Value::Object(map.clone()));
        }
    }
    if let Some(project) = &config.project {
        session.insert("project".to_owned(), project.as_str().into());
    }
    api(
        config,
        Method::Post,
        "/session/start",
        &json!({ "session": session }),
    )
}

/// An announcement that was kept.
#[cfg(feature = "spool")]
pub(crate) fn session_restart(config: &Config, start: &Value) -> Request {
    api(config, Method::Post, "/session/start", start)
}

/// An event that is no span, or the change of one or of a session.
pub(crate) fn update(config: &Config, creates: bool, body: Map<String, Value>) -> Request {
    if !creates {
        return api(config, Method::Put, "/events", &Value::Object(body));
    }
    let mut event = body;
    let project = config.project.as_deref().unwrap_or_default();
    event.insert("project".to_owned(), project.into());
    event.insert("source".to_owned(), config.source.as_str().into());
    event
        .entry("event_type")
        .or_insert_with(|| config.default_event_type.as_str().into());
    for bucket in ["config", "inputs"] {
        event
            .entry(bucket)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    let ids = config.evaluation_ids();
    for (name, id) in ids {
        let metadata = event
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(metadata) = metadata {
            metadata.entry(name).or_insert_with(|| id.into());
        }
    }
    api(config, Method::Post, "/events", &json!({ "event": event }))
}

fn api(config: &Config, method: Method, path: &str, body: &Value) -> Request {
    // Headers for an endpoint of their own are none of the server's business.
    let mut headers = common_headers(config, config.otlp_endpoint.is_none());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(
        "hh-client-timestamp",
        HeaderValue::from(clock::unix_nanos()),
    );
    Request {
        method,
        url: format!("{}{path}", config.server_url),
        headers,
        body: Bytes::from(body.to_string()),
        timeout: API_TIMEOUT.min(config.export_timeout),
    }
}

fn common_headers(config: &Config, with_own: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    for (name, value) in config.headers.iter().filter(|_| with_own) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::from_str(value),
        ) {
            headers.append(name, value);
        }
    }
    if !headers.contains_key(AUTHORIZATION)
        && let Some(key) = key(config)
        && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {key}"))
    {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers.insert(
        "hh-client-version",
        HeaderValue::from_static(env!("CARGO_PKG_VERSION")),
    );
    headers.insert("hh-client-language", HeaderValue::from_static("rust"));
    headers.insert("hh-client-package", HeaderValue::from_static("honeyhive"));
    headers
}

/// Whether spans and everything else go to one server.
pub(crate) fn is_one_place(config: &Config) -> bool {
    config.otlp_endpoint.is_none()
}

/// Whether both send to the same places with the same key.
pub(crate) fn same_destination(one: &Config, other: &Config) -> bool {
    key(one) == key(other)
        && one.server_url == other.server_url
        && one.otlp_endpoint == other.otlp_endpoint
}

/// The key that ingestion takes: the one made for it, else the project's.
pub(crate) fn key(config: &Config) -> Option<&str> {
    config
        .ingestion_api_key
        .as_ref()
        .or(config.api_key.as_ref())
        .map(ApiKey::expose)
}

fn gzip(body: &[u8]) -> Option<Bytes> {
    // Level 1: higher levels cost up to seventeen times as much for prompts and save little.
    let mut encoder = flate2::write::GzEncoder::new(
        Vec::with_capacity(body.len() / 2),
        flate2::Compression::fast(),
    );
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}
