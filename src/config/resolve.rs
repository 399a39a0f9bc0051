//! From what everybody says to one checked configuration. Pure. Knows nothing of where files lie.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use uuid::Uuid;

use super::Field;
use super::env::{Alias, Row, TABLE};
use super::file::{self, DotEnv, File, Sources};
use super::known::{self, CONFIG_FILE, SWITCHES};
use super::usual::Usage;
use super::value::{Kind, Refused, Value, is_insecure, is_loopback};
use super::{Builder, Config, EventTypes, ResilienceLevel, Source, Usual};
use crate::Error;

impl Builder {
    /// Merges what was set with the sources (code, environment, `.env`, `honeyhive.toml`, defaults; the first that has a
    /// value wins, field by field) and checks the result.
    pub(crate) fn resolve(self, sources: &Sources) -> Result<Config, Error> {
        let level = self.level(sources)?;
        self.resolve_as(sources, level)
    }

    fn resolve_as(self, sources: &Sources, level: ResilienceLevel) -> Result<Config, Error> {
        let mut merge = Merge {
            level,
            refused: self.refused,
            ..Merge::default()
        };
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
        merge.switches(sources)?;
        if let Some(file) = &sources.file {
            merge.file(file)?;
        }
        let event_types = match self.event_types.check() {
            Ok(()) => self.event_types,
            Err(error) => {
                merge.refuse(None, error.to_string())?;
                EventTypes::default()
            }
        };
        let mut config = merge.finish(&sources.usual, self.require_key)?;
        config.event_types = event_types;
        Ok(config)
    }

    /// What the sources say about the level alone: it decides what becomes of everything else they say.
    fn level(&self, sources: &Sources) -> Result<ResilienceLevel, Error> {
        let mut merge = Merge::default();
        let Some(row) = Field::Resilience.row() else {
            return Ok(ResilienceLevel::default());
        };
        if let Some((value, source)) = self.values.get(&Field::Resilience) {
            merge.offer(row, value.clone(), source.clone(), true)?;
        }
        merge.environment_row(row, sources)?;
        if let Some(dotenv) = &sources.dotenv {
            merge.dotenv_row(row, dotenv)?;
        }
        if let Some(file) = &sources.file
            && let Ok(content) = &file.content
            && content.contains(Field::Resilience.name())
            && let Ok((settings, _)) = file::settings(&file.path, content)
        {
            let said = settings.into_iter();
            for (_, value) in said.filter(|(field, _)| *field == Field::Resilience) {
                if let Ok(value) = value {
                    merge.offer(row, value, Source::File(file.path.clone()), true)?;
                }
            }
        }
        Ok(match merge.values.remove(&Field::Resilience) {
            Some((Value::Resilience(level), _)) => level,
            _ => ResilienceLevel::default(),
        })
    }
}

#[derive(Default)]
struct Merge {
    level: ResilienceLevel,
    values: BTreeMap<Field, (Value, Source)>,
    session_id_invalid: bool,
    warnings: Vec<String>,
    /// About values of names that are not ours alone: no error at any level.
    remarks: Vec<String>,
    /// Fields of which some value was no good, where that is no error.
    refused: Vec<Field>,
}

impl Merge {
    /// Takes a value if its field has none yet. When `strict`, a bad one is an error, else a remark.
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
                    self.remarks.push(format!("{message}; it is ignored"));
                } else if matches!(row.kind, Kind::SessionId)
                    && self.level != ResilienceLevel::Strict
                {
                    self.warnings
                        .push(format!("{message}; a random id is used instead"));
                    self.invalid_session_id(source);
                } else {
                    self.refuse(Some(row.field), message)?;
                }
            }
        }
        Ok(())
    }

    /// What is no good is an error, or left out with a warning where nothing may be one.
    fn refuse(&mut self, field: Option<Field>, message: String) -> Result<(), Error> {
        if self.level != ResilienceLevel::Resilient {
            return Err(Error::config(message));
        }
        self.warnings.push(format!("{message}; it is ignored"));
        self.refused.extend(field);
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
            self.environment_row(row, sources)?;
        }
        let names = sources.environment.keys();
        for name in names.filter_map(|name| known::unknown(&name.to_string_lossy())) {
            self.warnings.push(format!("{name} (in the environment)"));
        }
        Ok(())
    }

    fn environment_row(&mut self, row: &Row, sources: &Sources) -> Result<(), Error> {
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
            self.dotenv_row(row, dotenv)?;
        }
        for name in dotenv
            .variables
            .keys()
            .filter_map(|name| known::unknown(name))
        {
            self.warnings.push(format!("{name} (in {path})"));
        }
        Ok(())
    }

    fn dotenv_row(&mut self, row: &Row, dotenv: &DotEnv) -> Result<(), Error> {
        for (name, alias) in row.names() {
            if let Some(value) = dotenv.variables.get(name) {
                let source = Source::DotEnv(dotenv.path.clone(), name.to_owned());
                self.variable(row, name, alias, value, source)?;
            } else if dotenv.broken.iter().any(|broken| broken == name) && !self.has(row.field) {
                let message = broken(row.field.name(), name, &dotenv.path);
                self.refuse(Some(row.field), message)?;
            }
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
        let plain = value.trim().parse::<f64>().is_ok();
        let value = match alias {
            Some(Alias::Milliseconds(_)) if plain => format!("{}ms", value.trim()),
            _ => value.to_owned(),
        };
        self.offer(row, Value::Text(value), source, strict)?;
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
                Some(Alias::Shared(_) | Alias::Milliseconds(_)) | None => {}
            }
        }
        Ok(())
    }

    /// The variables that set no field are checked too.
    fn switches(&mut self, sources: &Sources) -> Result<(), Error> {
        for &(name, ..) in SWITCHES {
            if let Some(dotenv) = &sources.dotenv
                && dotenv.broken.iter().any(|broken| broken == name)
            {
                self.refuse(None, broken(name, name, &dotenv.path))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, file: &File) -> Result<(), Error> {
        let content = match &file.content {
            Ok(content) => content,
            Err(reason) => {
                let path = file.path.display();
                let message = if file.named {
                    format!(
                        "{CONFIG_FILE}: {path} cannot be read: {reason}; expected the path of a TOML file"
                    )
                } else {
                    format!("{path} cannot be read: {reason}; expected a TOML file")
                };
                return self.refuse(None, message);
            }
        };
        let (settings, unknown) = match file::settings(&file.path, content) {
            Ok(read) => read,
            Err(error) => return self.refuse(None, error.to_string()),
        };
        for unknown in unknown {
            self.refuse(None, unknown)?;
        }
        for (field, value) in settings {
            let Some(row) = field.row() else { continue };
            let source = Source::File(file.path.clone());
            match value {
                Ok(value) => self.offer(row, value, source, true)?,
                Err(_) if self.has(field) => {}
                Err(wrong) => {
                    let message = format!(
                        "{field}: the value from {source} is {}; expected {}",
                        wrong.found,
                        row.kind.accepted()
                    );
                    self.refuse(Some(field), message)?;
                }
            }
        }
        Ok(())
    }

    fn has(&self, field: Field) -> bool {
        self.values.contains_key(&field)
    }

    fn usage(&self) -> Usage {
        let value = |field| self.values.get(&field).map(|(value, _)| value);
        Usage {
            scenario: match value(Field::Scenario) {
                Some(Value::Scenario(scenario)) => *scenario,
                _ => Usage::default().scenario,
            },
            high_concurrency: matches!(value(Field::HighConcurrency), Some(Value::Flag(true))),
        }
    }

    fn finish(mut self, usual: &Usual, require_key: bool) -> Result<Config, Error> {
        let mut config = Config {
            require_key,
            session_id_invalid: self.session_id_invalid,
            usual: usual.clone(),
            ..Config::default()
        };
        for number in usual.numbers(self.usage()) {
            config.set(number.field, number.value);
        }
        self.refused
            .retain(|field| !self.values.contains_key(field));
        for (field, (value, source)) in self.values {
            config.set(field, value);
            config.sources.insert(field, source);
        }
        config.server_url_is_default = !config.is_set(Field::ServerUrl);
        if !config.is_set(Field::MaxSpanSize) {
            config.max_span_size = config.max_span_size.max(config.max_attribute_length);
        }
        config.warnings = self.warnings;
        config.refused = self.refused;
        config.be_careful(self.level == ResilienceLevel::Resilient);
        // The tests ask for both answers, whatever they are built with.
        let tls = cfg!(any(feature = "rustls", test));
        if self.level == ResilienceLevel::Resilient {
            config.live_with_problems(tls);
        } else {
            config.check(tls)?;
        }
        config.contradictions();
        if self.level == ResilienceLevel::Strict && !config.warnings.is_empty() {
            return Err(Error::config(format!(
                "{}: an error, since {} is strict (from {})",
                config.warnings.join("; "),
                Field::Resilience,
                config.origin(Field::Resilience)
            )));
        }
        config.warnings.extend(self.remarks);
        Ok(config)
    }
}

/// What is only wrong in view of another setting, and what can be done about it.
enum Problem {
    /// There is no key; the instance is inert, or sends without.
    NoKey,
    /// Events must not go there.
    Destination,
    /// The headers must not go there.
    Headers,
}

impl Config {
    /// What this would be after `change`: everything that was set stays set, and is set by whom it was set by.
    ///
    /// The environment and the files are not read again. A bad value is an error at every level: there is something better
    /// to go on with than defaults.
    pub(crate) fn reconfigured(
        &self,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, Error> {
        let sources = Sources::default().with_usual(self.usual.clone());
        Self::renewed(change(Builder::from_config(self)), &sources)
    }

    /// What this would be with another `honeyhive.toml`: what code and variables set stays.
    pub(crate) fn reloaded(&self, file: File) -> Result<Self, Error> {
        let mut builder = Builder::from_config(self);
        let from_file = |source: &Source| matches!(source, Source::File(_));
        builder.values.retain(|_, (_, source)| !from_file(source));
        builder.invalid_session_id = builder
            .invalid_session_id
            .filter(|source| !from_file(source));
        let sources = Sources {
            file: Some(file),
            ..Sources::default().with_usual(self.usual.clone())
        };
        Self::renewed(builder, &sources)
    }

    fn renewed(builder: Builder, sources: &Sources) -> Result<Self, Error> {
        let level = match builder.level(sources)? {
            ResilienceLevel::Resilient => ResilienceLevel::Balanced,
            level => level,
        };
        builder.resolve_as(sources, level)
    }

    /// Where a setting was meant to keep something back and could not be understood, it is kept back: of two mistakes,
    /// sending too little can be mended.
    fn be_careful(&mut self, say_so: bool) {
        for field in &self.refused {
            let why = match field {
                Field::ServerUrl
                | Field::OtlpEndpoint
                | Field::TestMode
                | Field::DisableTracing
                | Field::OtlpEnabled => {
                    self.disable_tracing = true;
                    "nothing is recorded, lest it goes where it should not"
                }
                Field::CaptureContent | Field::Redact | Field::SpanNameFilters => {
                    self.capture_content = false;
                    "no content is sent, lest it shows what it should not"
                }
                _ => continue,
            };
            if say_so {
                self.warnings
                    .push(format!("{field} cannot be understood: {why}"));
            }
        }
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
            (Field::MaxBatchBytes, Value::Number(n)) => self.max_batch_bytes = number(n),
            (Field::MaxInFlight, Value::Number(n)) => self.max_in_flight = number(n),
            (Field::FlushOnTimer, Value::Flag(flag)) => self.flush_on_timer = flag,
            (Field::LifecycleTimeout, Value::Time(time)) => self.lifecycle_timeout = time,
            (Field::ConnectTimeout, Value::Time(time)) => self.connect_timeout = time,
            (Field::PoolMaxIdle, Value::Number(n)) => self.pool_max_idle = number(n),
            (Field::PoolIdleTimeout, Value::Time(time)) => self.pool_idle_timeout = time,
            (Field::RetryFirstDelay, Value::Time(time)) => self.retry_first_delay = time,
            (Field::RetryMaxDelay, Value::Time(time)) => self.retry_max_delay = time,
            (Field::RetryGiveUp, Value::Time(time)) => self.retry_give_up = time,
            (Field::Scenario, Value::Scenario(scenario)) => self.scenario = scenario,
            (Field::HighConcurrency, Value::Flag(flag)) => self.high_concurrency = flag,
            (Field::Resilience, Value::Resilience(level)) => self.resilience = level,
            (Field::WatchConfig, Value::Flag(flag)) => self.watch_config = flag,
            (Field::SpoolDir, Value::Text(path)) => self.spool_dir = Some(path),
            (Field::SpoolMaxBytes, Value::Number(n)) => self.spool_max_bytes = n,
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
        match self.problems(tls).into_iter().next() {
            Some((_, message)) => Err(Error::config(message)),
            None => Ok(()),
        }
    }

    /// Takes out what must not be used, where nothing may be an error.
    pub(super) fn live_with_problems(&mut self, tls: bool) {
        for (problem, message) in self.problems(tls) {
            let what = match problem {
                Problem::NoKey => "it goes on without",
                Problem::Destination => {
                    self.disable_tracing = true;
                    "nothing is recorded"
                }
                Problem::Headers => {
                    self.headers.retain(|(name, _)| name != "authorization");
                    "the header is ignored"
                }
            };
            self.warnings.push(format!("{message}; {what}"));
        }
    }

    fn problems(&self, tls: bool) -> Vec<(Problem, String)> {
        let mut found = Vec::new();
        let has_key = self.api_key.is_some() || self.ingestion_api_key.is_some();
        if self.require_key && !has_key {
            let message = "api_key: none is set, and Builder::require_key asks for one; \
                           expected HH_API_KEY, HH_INGESTION_API_KEY or Builder::api_key";
            found.push((Problem::NoKey, message.to_owned()));
        } else if self.resilience == ResilienceLevel::Strict && !has_key && self.needs_key() {
            let message = "api_key: none is set, and resilience is strict; \
                           expected HH_API_KEY, HH_INGESTION_API_KEY or Builder::api_key";
            found.push((Problem::NoKey, message.to_owned()));
        }
        let server = (Field::ServerUrl, Some(&self.server_url));
        let endpoint = (Field::OtlpEndpoint, self.otlp_endpoint.as_ref());
        for (field, url) in [server, endpoint] {
            let Some(url) = url else { continue };
            let origin = self.origin(field);
            if is_insecure(url) && !self.allow_insecure {
                let message = format!(
                    "{field}: \"{url}\" from {origin} sends keys and events unencrypted to another host; expected \
                     https://, a loopback address, or allow_insecure (HH_ALLOW_INSECURE=true)"
                );
                found.push((Problem::Destination, message));
            }
            let used = has_key || field == Field::OtlpEndpoint;
            let sends = used && !self.test_mode && !self.disable_tracing;
            if !tls && sends && url.starts_with("https:") {
                let message = format!(
                    "{field}: \"{url}\" from {origin} needs TLS, which this program was built without; expected the \
                     cargo feature `rustls` of the crate `honeyhive`, or an http:// address"
                );
                found.push((Problem::Destination, message));
            }
        }
        let authorization = self.headers.iter().any(|(name, _)| name == "authorization");
        if authorization && self.otlp_endpoint.is_none() {
            let message = format!(
                "headers: `authorization` from {} would replace the API key; expected it in api_key (HH_API_KEY), or \
                 together with otlp_endpoint (HH_OTLP_ENDPOINT)",
                self.origin(Field::Headers)
            );
            found.push((Problem::Headers, message));
        }
        found
    }

    /// Whether there is nowhere to send to without a key.
    fn needs_key(&self) -> bool {
        let local = !self.server_url_is_default && is_loopback(&self.server_url);
        let silent = self.test_mode || self.disable_tracing || !self.otlp_enabled;
        !local && !silent && self.otlp_endpoint.is_none()
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
        if !self.flush_on_timer {
            let why = "no timer runs";
            found.push((Field::FlushInterval, Field::FlushOnTimer, why));
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
            // What nobody set, and is not as usual, is so for the sake of the scenario.
            let by_scenario = !self.is_set(other) && self.is_set(Field::Scenario);
            let other = if by_scenario { Field::Scenario } else { other };
            self.warnings.push(format!(
                "{field} from {} has no effect: {other} from {} says that {why}",
                self.origin(field),
                self.origin(other)
            ));
        }

        if self.is_set(Field::SpoolMaxBytes)
            && !self.is_set(Field::SpoolDir)
            && self.resilience != ResilienceLevel::Resilient
        {
            self.warnings.push(format!(
                "spool_max_bytes from {} has no effect: spool_dir (HH_SPOOL_DIR) is not set",
                self.origin(Field::SpoolMaxBytes)
            ));
        }
        if !cfg!(feature = "spool") && self.is_set(Field::SpoolDir) {
            self.warnings.push(format!(
                "spool_dir from {} has no effect: this program was built without the cargo feature `spool` of the \
                 crate `honeyhive`",
                self.origin(Field::SpoolDir)
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

        let set = |field| self.is_set(field);
        if self.retry_max_delay < self.retry_first_delay
            && (set(Field::RetryMaxDelay) || set(Field::RetryFirstDelay))
        {
            self.warnings.push(format!(
                "retry_max_delay ({:?}, from {}) is less than retry_first_delay ({:?}, from {}): it is every wait",
                self.retry_max_delay,
                self.origin(Field::RetryMaxDelay),
                self.retry_first_delay,
                self.origin(Field::RetryFirstDelay)
            ));
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

fn broken(field: &str, variable: &str, path: &Path) -> String {
    format!(
        "{field}: the value of {variable} in {} has quotes that are not in order; expected `{variable}=\"value\"`",
        path.display()
    )
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
    // What people or programs said may be among the inputs of a session.
    if kind.is_secret() || matches!(kind, Kind::Object) {
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
