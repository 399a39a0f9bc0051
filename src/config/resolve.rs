//! From what everybody says to one checked configuration. Pure. Knows nothing of where files lie.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use uuid::Uuid;

use super::env::{self, Alias, CONFIG_FILE, Field, HIGH_CONCURRENCY, Row, SWITCHES, TABLE};
use super::file::{self, File, Sources};
use super::value::{Kind, Refused, Value, flag, is_insecure};
use super::{Builder, Config, Source};
use crate::Error;

impl Builder {
    /// Merges what was set with the sources (code, environment, `.env`, `honeyhive.toml`, defaults; the first that has a
    /// value wins, field by field) and checks the result.
    pub(crate) fn resolve(self, sources: &Sources) -> Result<Config, Error> {
        let mut merge = Merge::default();
        for (field, (value, source)) in self.values {
            if let Some(row) = field.row() {
                merge.offer(row, value, source, true)?;
            }
        }
        // A malformed id of an earlier configuration was reported then; it stays a fact until there is a better one.
        if let Some(source) = self.invalid_session_id {
            merge.invalid_session_id(source);
        }
        merge.environment(sources)?;
        merge.dotenv(sources)?;
        switches(sources)?;
        if let Some(file) = &sources.file {
            merge.file(file)?;
        }
        self.event_types.check()?;
        let mut config = merge.finish(sources.max_queue_bytes, self.require_key)?;
        config.event_types = self.event_types;
        Ok(config)
    }
}

#[derive(Default)]
struct Merge {
    values: BTreeMap<Field, (Value, Source)>,
    session_id_invalid: bool,
    warnings: Vec<String>,
}

impl Merge {
    /// Takes a value if its field has none yet. When `strict`, a bad one is an error, else a warning.
    fn offer(
        &mut self,
        row: &Row,
        value: Value,
        source: Source,
        strict: bool,
    ) -> Result<(), Error> {
        if self.has(row.field) {
            return Ok(());
        }
        let shown = shown(row.kind, &value);
        match row.kind.admit(value) {
            Ok(None) => {}
            Ok(Some(value)) => {
                self.values.insert(row.field, (value, source));
            }
            Err(refused) => {
                let message = refusal(row, &origin(row.field, &source), shown.as_deref(), &refused);
                if !strict {
                    self.warnings.push(format!("{message}; it is ignored"));
                } else if matches!(row.kind, Kind::SessionId) {
                    self.warnings
                        .push(format!("{message}; a random id is used instead"));
                    self.invalid_session_id(source);
                } else {
                    return Err(Error::config(message));
                }
            }
        }
        Ok(())
    }

    fn invalid_session_id(&mut self, source: Source) {
        if !self.has(Field::SessionId) {
            self.session_id_invalid = true;
            let nothing = Value::Text(String::new());
            self.values.insert(Field::SessionId, (nothing, source));
        }
    }

    fn environment(&mut self, sources: &Sources) -> Result<(), Error> {
        for row in TABLE {
            for (name, alias) in row.names() {
                let Some(value) = sources.environment.get(OsStr::new(name)) else {
                    continue;
                };
                let source = Source::Environment(name.to_owned());
                match value.to_str() {
                    Some(value) => self.variable(row, name, alias, value, source)?,
                    None if self.has(row.field) => {}
                    None => self
                        .warnings
                        .push(format!("{source} is not UTF-8; it is ignored")),
                }
            }
        }
        let names = sources.environment.keys();
        for name in names.filter_map(|name| env::unknown(&name.to_string_lossy())) {
            self.warnings.push(format!("{name} (in the environment)"));
        }
        Ok(())
    }

    fn dotenv(&mut self, sources: &Sources) -> Result<(), Error> {
        let Some(dotenv) = &sources.dotenv else {
            return Ok(());
        };
        let path = dotenv.path.display();
        if let Some(reason) = &dotenv.unreadable {
            self.warnings
                .push(format!("{path} cannot be read and is ignored: {reason}"));
        }
        for row in TABLE {
            for (name, alias) in row.names() {
                if let Some(value) = dotenv.variables.get(name) {
                    let source = Source::DotEnv(dotenv.path.clone(), name.to_owned());
                    self.variable(row, name, alias, value, source)?;
                } else if dotenv.broken.iter().any(|broken| broken == name) && !self.has(row.field)
                {
                    return Err(broken(row.field.name(), name, &dotenv.path));
                }
            }
        }
        for name in dotenv
            .variables
            .keys()
            .filter_map(|name| env::unknown(name))
        {
            self.warnings.push(format!("{name} (in {path})"));
        }
        Ok(())
    }

    fn variable(
        &mut self,
        row: &Row,
        name: &str,
        alias: Option<Alias>,
        value: &str,
        source: Source,
    ) -> Result<(), Error> {
        if self.has(row.field) {
            return Ok(());
        }
        let strict = matches!(alias, None | Some(Alias::Deprecated(_)));
        let place = source.to_string();
        self.offer(row, Value::Text(value.to_owned()), source, strict)?;
        if self.has(row.field) {
            let preferred = row.variable;
            match alias {
                Some(Alias::Deprecated(_)) => self
                    .warnings
                    .push(format!("{name} is deprecated; use {preferred} ({place})")),
                Some(Alias::Bare(_)) => self.warnings.push(format!(
                    "{name} sets {}, though it may be meant for another program; use {preferred} ({place})",
                    row.field
                )),
                Some(Alias::Shared(_)) | None => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, file: &File) -> Result<(), Error> {
        let content = file.content.as_ref().map_err(|reason| {
            let path = file.path.display();
            Error::config(if file.named {
                format!("{CONFIG_FILE}: {path} cannot be read: {reason}; expected the path of a TOML file")
            } else {
                format!("{path} cannot be read: {reason}; expected a TOML file")
            })
        })?;
        for (field, value) in file::settings(&file.path, content)? {
            let Some(row) = field.row() else { continue };
            let source = Source::File(file.path.clone());
            match value {
                Ok(value) => self.offer(row, value, source, true)?,
                Err(_) if self.has(field) => {}
                Err(wrong) => {
                    return Err(Error::config(format!(
                        "{field}: the value from {source} is {}; expected {}",
                        wrong.found,
                        row.kind.accepted()
                    )));
                }
            }
        }
        Ok(())
    }

    fn has(&self, field: Field) -> bool {
        self.values.contains_key(&field)
    }

    fn finish(self, max_queue_bytes: usize, require_key: bool) -> Result<Config, Error> {
        let mut config = Config {
            max_queue_bytes,
            require_key,
            session_id_invalid: self.session_id_invalid,
            warnings: self.warnings,
            ..Config::default()
        };
        for (field, (value, source)) in self.values {
            config.set(field, value);
            config.sources.insert(field, source);
        }
        config.server_url_is_default = !config.is_set(Field::ServerUrl);
        if !config.is_set(Field::MaxSpanSize) {
            config.max_span_size = config.max_span_size.max(config.max_attribute_length);
        }
        // The tests ask for both answers, whatever they are built with.
        config.check(cfg!(any(feature = "rustls", test)))?;
        config.contradictions();
        Ok(config)
    }
}

impl Config {
    /// What this would be after `change`: everything that was set stays set, and is set by whom it was set by.
    ///
    /// The environment and the files are not read again.
    pub(crate) fn reconfigured(
        &self,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, Error> {
        let max_queue_bytes = if self.is_set(Field::MaxQueueBytes) {
            super::DEFAULT_MAX_QUEUE_BYTES
        } else {
            self.max_queue_bytes
        };
        let sources = Sources::default().with_max_queue_bytes(max_queue_bytes);
        change(Builder::from_config(self)).resolve(&sources)
    }

    fn set(&mut self, field: Field, value: Value) {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        match (field, value) {
            (Field::ApiKey, Value::Key(key)) => self.api_key = Some(key),
            (Field::IngestionApiKey, Value::Key(key)) => self.ingestion_api_key = Some(key),
            (Field::DataPlaneApiKey, Value::Key(key)) => self.data_plane_api_key = Some(key),
            (Field::Project, Value::Text(text)) => self.project = Some(text),
            (Field::Source, Value::Text(text)) => self.source = text,
            (Field::ServerUrl, Value::Url(url)) => self.server_url = url,
            (Field::AllowInsecure, Value::Flag(flag)) => self.allow_insecure = flag,
            (Field::SessionName, Value::Text(text)) => self.session_name = Some(text),
            (Field::SessionId, Value::Text(text)) => self.session_id = Uuid::parse_str(&text).ok(),
            (Field::SessionInputs, Value::Text(text)) => self.session_inputs = Some(text),
            (Field::UserProperties, Value::Text(text)) => self.user_properties = Some(text),
            (Field::SessionAutoCreate, Value::Flag(flag)) => self.session_auto_create = flag,
            (Field::SkipSessionStart, Value::Flag(flag)) => self.skip_session_start = flag,
            (Field::RunId, Value::Text(text)) => self.run_id = Some(text),
            (Field::DatasetId, Value::Text(text)) => self.dataset_id = Some(text),
            (Field::DatapointId, Value::Text(text)) => self.datapoint_id = Some(text),
            (Field::ServiceName, Value::Text(text)) => self.service_name = Some(text),
            (Field::ServiceVersion, Value::Text(text)) => self.service_version = Some(text),
            (Field::Git, Value::Flag(flag)) => self.git = flag,
            (Field::Protocol, Value::Protocol(protocol)) => self.protocol = protocol,
            (Field::Compression, Value::Compression(compression)) => self.compression = compression,
            (Field::OtlpEnabled, Value::Flag(flag)) => self.otlp_enabled = flag,
            (Field::OtlpEndpoint, Value::Url(url)) => self.otlp_endpoint = Some(url),
            (Field::Headers, Value::Headers(headers)) => self.headers = headers,
            (Field::BatchSize, Value::Number(n)) => self.batch_size = number(n),
            (Field::MaxExportBatchSize, Value::Number(n)) => self.max_export_batch_size = number(n),
            (Field::FlushInterval, Value::Time(time)) => self.flush_interval = time,
            (Field::ExportTimeout, Value::Time(time)) => self.export_timeout = time,
            (Field::FlushTimeout, Value::Time(time)) => self.flush_timeout = Some(time),
            (Field::DisableBatch, Value::Flag(flag)) => self.disable_batch = flag,
            (Field::MaxQueueSize, Value::Number(n)) => self.max_queue_size = number(n),
            (Field::MaxQueueBytes, Value::Number(n)) => self.max_queue_bytes = number(n),
            (Field::MaxAttributes, Value::Number(n)) => self.max_attributes = number(n),
            (Field::MaxAttributeLength, Value::Number(n)) => self.max_attribute_length = number(n),
            (Field::MaxEvents, Value::Number(n)) => self.max_events = number(n),
            (Field::MaxLinks, Value::Number(n)) => self.max_links = number(n),
            (Field::MaxSpanSize, Value::Number(n)) => self.max_span_size = number(n),
            (Field::Filter, Value::Text(text)) => self.filter = text,
            (Field::SpanNameFilters, Value::NameFilters(filters)) => {
                self.span_name_filters = filters;
            }
            (Field::SampleRate, Value::Rate(rate)) => self.sample_rate = rate,
            (Field::CaptureContent, Value::Flag(flag)) => self.capture_content = flag,
            (Field::Redact, Value::Redact(redact)) => self.redact = redact,
            (Field::SpanEvents, Value::Text(text)) => self.span_events = text,
            (Field::DefaultEventType, Value::Text(text)) => self.default_event_type = text,
            (Field::EventTypeFromName, Value::Flag(flag)) => self.event_type_from_name = flag,
            (Field::ApiTimeout, Value::Time(time)) => self.api_timeout = time,
            (Field::ApiExportTimeout, Value::Time(time)) => self.api_export_timeout = time,
            (Field::ApiMaxRetries, Value::Number(n)) => {
                self.api_max_retries = u32::try_from(n).unwrap_or(u32::MAX);
            }
            (Field::CacheEnabled, Value::Flag(flag)) => self.cache_enabled = flag,
            (Field::CacheMaxSize, Value::Number(n)) => self.cache_max_size = Some(number(n)),
            (Field::CacheTtl, Value::Time(time)) => self.cache_ttl = Some(time),
            (Field::CacheCleanupInterval, Value::Time(time)) => {
                self.cache_cleanup_interval = Some(time);
            }
            (Field::TestMode, Value::Flag(flag)) => self.test_mode = flag,
            (Field::DisableTracing, Value::Flag(flag)) => self.disable_tracing = flag,
            (Field::Verbose, Value::Flag(flag)) => self.verbose = flag,
            // The table gives every field one kind, and a kind admits values of one form.
            (field, value) => debug_assert!(false, "{field} is set to {value:?}"),
        }
    }

    fn is_set(&self, field: Field) -> bool {
        self.sources.contains_key(&field)
    }

    fn origin(&self, field: Field) -> String {
        origin(field, self.source_of(field))
    }

    /// What is only wrong in view of another setting.
    pub(super) fn check(&self, tls: bool) -> Result<(), Error> {
        let has_key = self.api_key.is_some() || self.ingestion_api_key.is_some();
        if self.require_key && !has_key {
            return Err(Error::config(
                "api_key: none is set, and Builder::require_key asks for one; \
                 expected HH_API_KEY, HH_INGESTION_API_KEY or Builder::api_key",
            ));
        }
        let server = (Field::ServerUrl, Some(&self.server_url));
        let endpoint = (Field::OtlpEndpoint, self.otlp_endpoint.as_ref());
        for (field, url) in [server, endpoint] {
            let Some(url) = url else { continue };
            let origin = self.origin(field);
            if is_insecure(url) && !self.allow_insecure {
                return Err(Error::config(format!(
                    "{field}: \"{url}\" from {origin} sends keys and events unencrypted to another host; expected \
                     https://, a loopback address, or allow_insecure (HH_ALLOW_INSECURE=true)"
                )));
            }
            let used = has_key || field == Field::OtlpEndpoint;
            let sends = used && !self.test_mode && !self.disable_tracing;
            if !tls && sends && url.starts_with("https:") {
                return Err(Error::config(format!(
                    "{field}: \"{url}\" from {origin} needs TLS, which this program was built without; expected the \
                     cargo feature `rustls` of the crate `honeyhive`, or an http:// address"
                )));
            }
        }
        let authorization = self.headers.iter().any(|(name, _)| name == "authorization");
        if authorization && self.otlp_endpoint.is_none() {
            return Err(Error::config(format!(
                "headers: `authorization` from {} would replace the API key; expected it in api_key (HH_API_KEY), or \
                 together with otlp_endpoint (HH_OTLP_ENDPOINT)",
                self.origin(Field::Headers)
            )));
        }
        Ok(())
    }

    /// Names settings of which one makes the other pointless.
    fn contradictions(&mut self) {
        let batching = [
            Field::BatchSize,
            Field::MaxExportBatchSize,
            Field::FlushInterval,
        ];
        let otlp = [
            Field::OtlpEndpoint,
            Field::Headers,
            Field::Protocol,
            Field::Compression,
        ];
        let mut found = Vec::new();
        if self.disable_batch {
            let why = "every span is sent by itself";
            found.extend(batching.map(|field| (field, Field::DisableBatch, why)));
        }
        if !self.otlp_enabled {
            let why = "no span is exported";
            found.extend(otlp.map(|field| (field, Field::OtlpEnabled, why)));
        }
        if self.test_mode {
            found.push((Field::OtlpEndpoint, Field::TestMode, "nothing is sent"));
        }
        if self.disable_tracing {
            let why = "nothing is recorded";
            found.push((Field::OtlpEndpoint, Field::DisableTracing, why));
        }
        found.retain(|&(field, ..)| self.is_set(field));
        for (field, other, why) in found {
            self.warnings.push(format!(
                "{field} from {} has no effect: {other} from {} says that {why}",
                self.origin(field),
                self.origin(other)
            ));
        }

        let smaller = [
            (
                (Field::MaxExportBatchSize, self.max_export_batch_size),
                (Field::BatchSize, self.batch_size),
                "batches are split",
            ),
            (
                (Field::MaxQueueSize, self.max_queue_size),
                (Field::BatchSize, self.batch_size),
                "the queue is full before a batch is",
            ),
            (
                (Field::MaxQueueBytes, self.max_queue_bytes),
                (Field::MaxSpanSize, self.max_span_size),
                "the largest spans are dropped",
            ),
            (
                (Field::MaxSpanSize, self.max_span_size),
                (Field::MaxAttributeLength, self.max_attribute_length),
                "the longest values are cut",
            ),
        ];
        for ((field, value), (other, limit), effect) in smaller {
            if value < limit && (self.is_set(field) || self.is_set(other)) {
                self.warnings.push(format!(
                    "{field} ({value}, from {}) is less than {other} ({limit}, from {}): {effect}",
                    self.origin(field),
                    self.origin(other)
                ));
            }
        }

        let authorization = self.headers.iter().any(|(name, _)| name == "authorization");
        if authorization && (self.api_key.is_some() || self.ingestion_api_key.is_some()) {
            self.warnings.push(format!(
                "headers from {} replace the API key in requests to otlp_endpoint from {}",
                self.origin(Field::Headers),
                self.origin(Field::OtlpEndpoint)
            ));
        }
    }
}

impl Row {
    /// Its variables in the order they are asked, with what to make of each.
    fn names(&self) -> impl Iterator<Item = (&'static str, Option<Alias>)> {
        let aliases = self.aliases.iter();
        std::iter::once((self.variable, None))
            .chain(aliases.map(|&alias| (alias.name(), Some(alias))))
    }
}

/// The variables that set no field are checked too, so that a slip in one is not taken for a no.
fn switches(sources: &Sources) -> Result<(), Error> {
    for &(name, accepted, _) in SWITCHES {
        if let Some(dotenv) = &sources.dotenv
            && dotenv.broken.iter().any(|broken| broken == name)
        {
            return Err(broken(name, name, &dotenv.path));
        }
        let Some(value) = sources.variable(name) else {
            continue;
        };
        let blank = value.trim().is_empty();
        if name == HIGH_CONCURRENCY && !blank && flag(&value).is_none() {
            let shown = shown(Kind::Flag, &Value::Text(value));
            let shown = shown.as_deref().unwrap_or("the value");
            return Err(Error::config(format!(
                "{name}: {shown} is not accepted; expected {accepted}"
            )));
        }
    }
    Ok(())
}

fn broken(field: &str, variable: &str, path: &Path) -> Error {
    Error::config(format!(
        "{field}: the value of {variable} in {} has quotes that are not in order; expected `{variable}=\"value\"`",
        path.display()
    ))
}

fn origin(field: Field, source: &Source) -> String {
    match source {
        Source::Code => format!("Builder::{field}"),
        source => source.to_string(),
    }
}

/// How keys begin, those of others included: text that begins so is not shown, whichever field it was meant for.
const KEY_PREFIXES: &[&str] = &["hh_", "sk-", "bearer "];

/// The value for a message: quoted and cut, and only if it is no secret.
fn shown(kind: Kind, value: &Value) -> Option<String> {
    if kind.is_secret() {
        return None;
    }
    match value {
        Value::Text(text) | Value::Url(text) => {
            let lower = text.trim().to_ascii_lowercase();
            if KEY_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
                return None;
            }
            let mut cut: String = text.chars().take(80).collect();
            if cut.len() < text.len() {
                cut.push('…');
            }
            Some(format!("{cut:?}"))
        }
        Value::Key(_) | Value::Headers(_) => None,
        value => Some(value.to_string()),
    }
}

fn refusal(row: &Row, origin: &str, shown: Option<&str>, refused: &Refused) -> String {
    let value = match shown {
        Some(shown) if !refused.hide => shown,
        _ => "the value",
    };
    let reason = match &refused.reason {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    format!(
        "{}: {value} from {origin} is not accepted{reason}; expected {}",
        row.field,
        row.kind.accepted()
    )
}
