//! What a configuration tells: a getter for every setting, and each as a value. Knows the fields, not where they come
//! from.

use std::path::Path;
use std::time::Duration;

// The other half of the same module: the documentation of the getters names its constants.
use super::*;

impl Config {
    /// The API key of the project (`HH_API_KEY`). Absent by default.
    #[must_use]
    pub fn api_key(&self) -> Option<&ApiKey> {
        self.api_key.as_ref()
    }

    /// The key that may only write (`HH_INGESTION_API_KEY`); it goes before the API key. Absent by default.
    #[must_use]
    pub fn ingestion_api_key(&self) -> Option<&ApiKey> {
        self.ingestion_api_key.as_ref()
    }

    /// The name of the project (`HH_PROJECT`). Absent by default.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Where events come from (`HH_SOURCE`): [`DEFAULT_SOURCE`] unless set.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The platform or a local server (`HH_API_URL`), without a slash at the end: [`DEFAULT_SERVER_URL`] unless set.
    #[must_use]
    pub fn server_url(&self) -> &str {
        &self.server_url
    }

    /// Whether `http://` may be used for other hosts (`HH_ALLOW_INSECURE`). Off by default.
    #[must_use]
    pub fn allow_insecure(&self) -> bool {
        self.allow_insecure
    }

    /// The name of the instance's session (`HH_SESSION_NAME`). Absent by default: the name of the program is taken.
    #[must_use]
    pub fn session_name(&self) -> Option<&str> {
        self.session_name.as_deref()
    }

    /// The id of the instance's session (`HH_SESSION_ID`), a UUID in lower case. Absent by default, and when it was
    /// malformed: a random one is taken.
    #[must_use]
    pub fn session_id(&self) -> Option<String> {
        self.session_id.map(|id| id.to_string())
    }

    /// The inputs of the instance's session (`HH_SESSION_INPUTS`). Absent by default.
    #[must_use]
    pub fn session_inputs(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        object(self.session_inputs.as_deref())
    }

    /// The properties of the user that the instance's session is with (`HH_USER_PROPERTIES`). Absent by default.
    #[must_use]
    pub fn user_properties(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        object(self.user_properties.as_deref())
    }

    /// Whether the platform makes sessions from their events, unannounced (`HH_SESSION_AUTO_CREATE`, or
    /// `HH_SKIP_SESSION_START` without a session id). Off by default.
    #[must_use]
    pub fn session_auto_create(&self) -> bool {
        let none_given = self.session_id.is_none() && !self.session_id_invalid;
        self.session_auto_create || (self.skip_session_start && none_given)
    }

    /// Whether the session of [`session_id`](Self::session_id) is taken for announced (`HH_SKIP_SESSION_START`). Off by
    /// default.
    #[must_use]
    pub fn skip_session_start(&self) -> bool {
        self.skip_session_start
    }

    /// The evaluation run that all events belong to (`HH_RUN_ID`). Absent by default.
    #[must_use]
    pub fn run_id(&self) -> Option<&str> {
        self.run_id.as_deref()
    }

    /// The dataset of that run (`HH_DATASET_ID`). Absent by default.
    #[must_use]
    pub fn dataset_id(&self) -> Option<&str> {
        self.dataset_id.as_deref()
    }

    /// The datapoint of that run (`HH_DATAPOINT_ID`). Absent by default.
    #[must_use]
    pub fn datapoint_id(&self) -> Option<&str> {
        self.datapoint_id.as_deref()
    }

    /// Whether this is an evaluation: run, dataset and datapoint are all set.
    #[must_use]
    pub fn is_evaluation(&self) -> bool {
        self.evaluation_ids().count() == 3
    }

    /// The ids of the evaluation that are set, with the names they have in metadata.
    pub(crate) fn evaluation_ids(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ids = [
            ("run_id", &self.run_id),
            ("dataset_id", &self.dataset_id),
            ("datapoint_id", &self.datapoint_id),
        ];
        ids.into_iter()
            .filter_map(|(name, id)| Some((name, id.as_deref()?)))
    }

    /// The resource attribute `service.name` (`HH_SERVICE_NAME`). Absent by default: the name of the program is taken.
    #[must_use]
    pub fn service_name(&self) -> Option<&str> {
        self.service_name.as_deref()
    }

    /// The resource attribute `service.version` (`HH_SERVICE_VERSION`). Absent by default.
    #[must_use]
    pub fn service_version(&self) -> Option<&str> {
        self.service_version.as_deref()
    }

    /// Whether commit, branch and repository are sent as resource attributes (`HH_GIT`). On by default.
    #[must_use]
    pub fn git(&self) -> bool {
        self.git
    }

    /// How spans are encoded (`HH_OTLP_PROTOCOL`): protobuf unless set.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How the bodies of span requests are compressed (`HH_OTLP_COMPRESSION`): not at all unless set.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether spans are exported at all (`HH_OTLP_ENABLED`). On by default.
    #[must_use]
    pub fn otlp_enabled(&self) -> bool {
        self.otlp_enabled
    }

    /// The full URL that spans are posted to (`HH_OTLP_ENDPOINT`). Absent by default: it follows from the server's.
    #[must_use]
    pub fn otlp_endpoint(&self) -> Option<&str> {
        self.otlp_endpoint.as_deref()
    }

    /// The headers added to span requests (`HH_OTLP_HEADERS`): names in lower case, in order. None by default.
    ///
    /// The values are whole: do not print them.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many waiting spans make the exporter send at once (`HH_BATCH_SIZE`): [`DEFAULT_BATCH_SIZE`] unless set.
    #[must_use]
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// How many spans go into one request at most (`HH_MAX_EXPORT_BATCH_SIZE`): [`DEFAULT_MAX_EXPORT_BATCH_SIZE`]
    /// unless set.
    #[must_use]
    pub fn max_export_batch_size(&self) -> usize {
        self.max_export_batch_size
    }

    /// How long a span waits at most before it is sent (`HH_FLUSH_INTERVAL`): [`DEFAULT_FLUSH_INTERVAL`] unless set.
    #[must_use]
    pub fn flush_interval(&self) -> Duration {
        self.flush_interval
    }

    /// How long one request may take (`HH_EXPORT_TIMEOUT`): [`DEFAULT_EXPORT_TIMEOUT`] unless set.
    #[must_use]
    pub fn export_timeout(&self) -> Duration {
        self.export_timeout
    }

    /// How long dropping the instance waits for what is queued (`HH_FLUSH_TIMEOUT`): what suits the environment, unless
    /// set.
    #[must_use]
    pub fn flush_timeout(&self) -> Duration {
        self.flush_timeout.unwrap_or(DEFAULT_FLUSH_TIMEOUT)
    }

    /// Whether every span is sent as soon as it ends (`HH_DISABLE_BATCH`). Off by default.
    #[must_use]
    pub fn disable_batch(&self) -> bool {
        self.disable_batch
    }

    /// How many spans may wait to be sent (`HH_MAX_QUEUE_SIZE`): [`DEFAULT_MAX_QUEUE_SIZE`] unless set.
    #[must_use]
    pub fn max_queue_size(&self) -> usize {
        self.max_queue_size
    }

    /// How many bytes the waiting spans may take (`HH_MAX_QUEUE_BYTES`): [`DEFAULT_MAX_QUEUE_BYTES`] unless set, or
    /// what suits the environment.
    #[must_use]
    pub fn max_queue_bytes(&self) -> usize {
        self.max_queue_bytes
    }

    /// How many bytes one request may have (`HH_MAX_BATCH_BYTES`): [`DEFAULT_MAX_BATCH_BYTES`], or what suits the memory,
    /// unless set.
    #[must_use]
    pub fn max_batch_bytes(&self) -> usize {
        self.max_batch_bytes
    }

    /// How many requests with spans may be on their way at once (`HH_MAX_IN_FLIGHT`): what suits the environment, unless
    /// set.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    /// Whether spans are sent when the flush interval is over (`HH_FLUSH_ON_TIMER`). On, except on AWS Lambda, unless set.
    #[must_use]
    pub fn flush_on_timer(&self) -> bool {
        self.flush_on_timer
    }

    /// How long changes and the end of an instance wait for one another (`HH_LIFECYCLE_TIMEOUT`): what suits the
    /// environment, unless set.
    #[must_use]
    pub fn lifecycle_timeout(&self) -> Duration {
        self.lifecycle_timeout
    }

    /// How long making a connection may take (`HH_CONNECT_TIMEOUT`): [`DEFAULT_CONNECT_TIMEOUT`] unless set.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How many connections are kept for later requests (`HH_POOL_MAX_IDLE`): what suits the environment, unless set.
    #[must_use]
    pub fn pool_max_idle(&self) -> usize {
        self.pool_max_idle
    }

    /// How long they are kept (`HH_POOL_IDLE_TIMEOUT`): what suits the environment, unless set.
    #[must_use]
    pub fn pool_idle_timeout(&self) -> Duration {
        self.pool_idle_timeout
    }

    /// The wait before the first repetition of a request (`HH_RETRY_FIRST_DELAY`): what suits the environment, unless set.
    #[must_use]
    pub fn retry_first_delay(&self) -> Duration {
        self.retry_first_delay
    }

    /// The longest wait between two attempts (`HH_RETRY_MAX_DELAY`): [`DEFAULT_RETRY_MAX_DELAY`] unless set.
    #[must_use]
    pub fn retry_max_delay(&self) -> Duration {
        self.retry_max_delay
    }

    /// For how long a batch is tried (`HH_RETRY_GIVE_UP`): [`DEFAULT_RETRY_GIVE_UP`] unless set.
    #[must_use]
    pub fn retry_give_up(&self) -> Duration {
        self.retry_give_up
    }

    /// What the program does (`HH_SCENARIO`): nothing special unless set.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        self.scenario
    }

    /// Whether many callers are at work at once (`HH_HIGH_CONCURRENCY`). Off by default.
    #[must_use]
    pub fn high_concurrency(&self) -> bool {
        self.high_concurrency
    }

    /// How much trouble the caller is told of (`HH_RESILIENCE_LEVEL`): [`ResilienceLevel::Balanced`] unless set.
    #[must_use]
    pub fn resilience(&self) -> ResilienceLevel {
        self.resilience
    }

    /// Whether changes of `honeyhive.toml` are taken over (`HH_WATCH_CONFIG`). Off by default.
    #[must_use]
    pub fn watch_config(&self) -> bool {
        self.watch_config
    }

    /// What the program says of itself.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            scenario: self.scenario,
            high_concurrency: self.high_concurrency,
        }
    }

    /// The directory that keeps what cannot be delivered (`HH_SPOOL_DIR`), as it was set; `default` stands for the user's
    /// directory for state. Absent by default: nothing is kept.
    #[must_use]
    pub fn spool_dir(&self) -> Option<&Path> {
        self.spool_dir.as_deref().map(Path::new)
    }

    /// How many bytes that directory may hold (`HH_SPOOL_MAX_BYTES`): [`DEFAULT_SPOOL_MAX_BYTES`] unless set.
    #[must_use]
    pub fn spool_max_bytes(&self) -> u64 {
        self.spool_max_bytes
    }

    /// How many attributes a span may have (`HH_MAX_ATTRIBUTES`): [`DEFAULT_MAX_ATTRIBUTES`] unless set.
    #[must_use]
    pub fn max_attributes(&self) -> usize {
        self.max_attributes
    }

    /// How many bytes one value may have (`HH_MAX_ATTRIBUTE_LENGTH`): [`DEFAULT_MAX_ATTRIBUTE_LENGTH`] unless set.
    #[must_use]
    pub fn max_attribute_length(&self) -> usize {
        self.max_attribute_length
    }

    /// How many log events a span may carry (`HH_MAX_EVENTS`): [`DEFAULT_MAX_EVENTS`] unless set.
    #[must_use]
    pub fn max_events(&self) -> usize {
        self.max_events
    }

    /// How many links to other spans a span may carry (`HH_MAX_LINKS`): [`DEFAULT_MAX_LINKS`] unless set.
    #[must_use]
    pub fn max_links(&self) -> usize {
        self.max_links
    }

    /// How many bytes one span may take (`HH_MAX_SPAN_SIZE`): [`DEFAULT_MAX_SPAN_SIZE`] unless set, or
    /// [`max_attribute_length`](Self::max_attribute_length) if that is more.
    #[must_use]
    pub fn max_span_size(&self) -> usize {
        self.max_span_size
    }

    /// Which spans are recorded (`HH_FILTER`): [`DEFAULT_FILTER`] unless set.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Which spans are left out by their names (`HH_SPAN_NAME_FILTERS`), as JSON. Absent by default.
    #[must_use]
    pub fn span_name_filters(&self) -> Option<String> {
        let filters = &self.span_name_filters;
        (!filters.is_empty()).then(|| filters.to_string())
    }

    /// The prefixes of the names of spans that are recorded (`HH_SPAN_NAME_FILTERS`). None by default: spans of any name
    /// are.
    pub fn included_spans(&self) -> impl Iterator<Item = &str> {
        self.span_name_filters.include.iter().map(String::as_str)
    }

    /// The prefixes of the names of spans that are left out (`HH_SPAN_NAME_FILTERS`). None by default.
    pub fn excluded_spans(&self) -> impl Iterator<Item = &str> {
        self.span_name_filters.exclude.iter().map(String::as_str)
    }

    /// The share of traces that is sent (`HH_SAMPLE_RATE`): [`DEFAULT_SAMPLE_RATE`] unless set.
    #[must_use]
    pub fn sample_rate(&self) -> f64 {
        self.sample_rate
    }

    /// Whether inputs, outputs and messages are sent (`HH_CAPTURE_CONTENT`). On by default.
    #[must_use]
    pub fn capture_content(&self) -> bool {
        self.capture_content
    }

    /// What is redacted (`HH_REDACT`): what looks like a credential unless set.
    pub fn redact(&self) -> &Redact {
        &self.redact
    }

    /// Which log events are sent along with their spans (`HH_SPAN_EVENTS`): [`DEFAULT_SPAN_EVENTS`] unless set.
    #[must_use]
    pub fn span_events(&self) -> &str {
        &self.span_events
    }

    /// The type of an event that nothing else decides (`HH_DEFAULT_EVENT_TYPE`): [`DEFAULT_EVENT_TYPE`] unless set.
    #[must_use]
    pub fn default_event_type(&self) -> &str {
        &self.default_event_type
    }

    /// Whether words in a span's name may decide the type of its event (`HH_EVENT_TYPE_FROM_NAME`). Off by default.
    #[must_use]
    pub fn event_type_from_name(&self) -> bool {
        self.event_type_from_name
    }

    /// Whether everything works except the network (`HH_TEST_MODE`). Off by default.
    #[must_use]
    pub fn test_mode(&self) -> bool {
        self.test_mode
    }

    /// Whether nothing is recorded (`HH_DISABLE_TRACING`). Off by default.
    #[must_use]
    pub fn disable_tracing(&self) -> bool {
        self.disable_tracing
    }

    /// Whether decisions, limits and requests are logged (`HH_VERBOSE`). Off by default.
    #[must_use]
    pub fn verbose(&self) -> bool {
        self.verbose
    }

    /// What is odd about the settings without being an error: unknown variables, ignored values, settings that
    /// contradict each other. A sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where the value of a setting came from.
    #[must_use]
    pub fn source_of(&self, field: Field) -> &Source {
        self.sources.get(&field).unwrap_or(&Source::Default)
    }

    /// Every setting with its value in words, secrets masked, and where that came from.
    pub fn settings(&self) -> impl Iterator<Item = Setting<'_>> {
        Field::ALL.iter().map(|&field| Setting {
            field,
            value: self.value(field).map(|value| match field {
                // What people said may be among them.
                Field::SessionInputs | Field::UserProperties => key::HIDDEN.to_owned(),
                _ => value.to_string(),
            }),
            source: self.source_of(field),
        })
    }

    /// A copy in which keys and the values of headers are masked, as they are in serialised text, and which has no
    /// patterns and functions of [`Redact`].
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut copy = self.clone();
        copy.api_key = self.api_key.as_ref().map(ApiKey::masked);
        copy.ingestion_api_key = self.ingestion_api_key.as_ref().map(ApiKey::masked);
        copy.data_plane_api_key = self.data_plane_api_key.as_ref().map(ApiKey::masked);
        for (_, value) in &mut copy.headers {
            key::HIDDEN.clone_into(value);
        }
        copy.redact = self.redact.masked();
        copy
    }

    pub(crate) fn value(&self, field: Field) -> Option<Value> {
        let text = |text: &Option<String>| text.clone().map(Value::Text);
        let number = |number: usize| Some(Value::Number(u64::try_from(number).unwrap_or(u64::MAX)));
        match field {
            Field::ApiKey => self.api_key.clone().map(Value::Key),
            Field::IngestionApiKey => self.ingestion_api_key.clone().map(Value::Key),
            Field::DataPlaneApiKey => self.data_plane_api_key.clone().map(Value::Key),
            Field::Project => text(&self.project),
            Field::Source => Some(Value::Text(self.source.clone())),
            Field::ServerUrl => Some(Value::Url(self.server_url.clone())),
            Field::AllowInsecure => Some(Value::Flag(self.allow_insecure)),
            Field::SessionName => text(&self.session_name),
            Field::SessionId => self.session_id().map(Value::Text),
            Field::SessionInputs => text(&self.session_inputs),
            Field::UserProperties => text(&self.user_properties),
            Field::SessionAutoCreate => Some(Value::Flag(self.session_auto_create)),
            Field::SkipSessionStart => Some(Value::Flag(self.skip_session_start)),
            Field::RunId => text(&self.run_id),
            Field::DatasetId => text(&self.dataset_id),
            Field::DatapointId => text(&self.datapoint_id),
            Field::ServiceName => text(&self.service_name),
            Field::ServiceVersion => text(&self.service_version),
            Field::Git => Some(Value::Flag(self.git)),
            Field::Protocol => Some(Value::Protocol(self.protocol)),
            Field::Compression => Some(Value::Compression(self.compression)),
            Field::OtlpEnabled => Some(Value::Flag(self.otlp_enabled)),
            Field::OtlpEndpoint => self.otlp_endpoint.clone().map(Value::Url),
            Field::Headers if self.headers.is_empty() => None,
            Field::Headers => Some(Value::Headers(self.headers.clone())),
            Field::BatchSize => number(self.batch_size),
            Field::MaxExportBatchSize => number(self.max_export_batch_size),
            Field::FlushInterval => Some(Value::Time(self.flush_interval)),
            Field::ExportTimeout => Some(Value::Time(self.export_timeout)),
            Field::FlushTimeout => self.flush_timeout.map(Value::Time),
            Field::DisableBatch => Some(Value::Flag(self.disable_batch)),
            Field::MaxQueueSize => number(self.max_queue_size),
            Field::MaxQueueBytes => number(self.max_queue_bytes),
            Field::MaxBatchBytes => number(self.max_batch_bytes),
            Field::MaxInFlight => number(self.max_in_flight),
            Field::FlushOnTimer => Some(Value::Flag(self.flush_on_timer)),
            Field::LifecycleTimeout => Some(Value::Time(self.lifecycle_timeout)),
            Field::ConnectTimeout => Some(Value::Time(self.connect_timeout)),
            Field::PoolMaxIdle => number(self.pool_max_idle),
            Field::PoolIdleTimeout => Some(Value::Time(self.pool_idle_timeout)),
            Field::RetryFirstDelay => Some(Value::Time(self.retry_first_delay)),
            Field::RetryMaxDelay => Some(Value::Time(self.retry_max_delay)),
            Field::RetryGiveUp => Some(Value::Time(self.retry_give_up)),
            Field::Scenario => Some(Value::Scenario(self.scenario)),
            Field::HighConcurrency => Some(Value::Flag(self.high_concurrency)),
            Field::Resilience => Some(Value::Resilience(self.resilience)),
            Field::WatchConfig => Some(Value::Flag(self.watch_config)),
            Field::SpoolDir => text(&self.spool_dir),
            Field::SpoolMaxBytes => Some(Value::Number(self.spool_max_bytes)),
            Field::MaxAttributes => number(self.max_attributes),
            Field::MaxAttributeLength => number(self.max_attribute_length),
            Field::MaxEvents => number(self.max_events),
            Field::MaxLinks => number(self.max_links),
            Field::MaxSpanSize => number(self.max_span_size),
            Field::Filter => Some(Value::Text(self.filter.clone())),
            Field::SpanNameFilters if self.span_name_filters.is_empty() => None,
            Field::SpanNameFilters => Some(Value::NameFilters(self.span_name_filters.clone())),
            Field::SampleRate => Some(Value::Rate(self.sample_rate)),
            Field::CaptureContent => Some(Value::Flag(self.capture_content)),
            Field::Redact => Some(Value::Redact(self.redact.clone())),
            Field::SpanEvents => Some(Value::Text(self.span_events.clone())),
            Field::DefaultEventType => Some(Value::Text(self.default_event_type.clone())),
            Field::EventTypeFromName => Some(Value::Flag(self.event_type_from_name)),
            Field::ApiTimeout => Some(Value::Time(self.api_timeout)),
            Field::ApiExportTimeout => Some(Value::Time(self.api_export_timeout)),
            Field::ApiMaxRetries => Some(Value::Number(self.api_max_retries.into())),
            Field::CacheEnabled => Some(Value::Flag(self.cache_enabled)),
            Field::CacheMaxSize => self.cache_max_size.and_then(number),
            Field::CacheTtl => self.cache_ttl.map(Value::Time),
            Field::CacheCleanupInterval => self.cache_cleanup_interval.map(Value::Time),
            Field::TestMode => Some(Value::Flag(self.test_mode)),
            Field::DisableTracing => Some(Value::Flag(self.disable_tracing)),
            Field::Verbose => Some(Value::Flag(self.verbose)),
        }
    }
}
