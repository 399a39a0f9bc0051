//! What code says about the configuration. Knows nothing of what others say.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Field;
use super::key::ApiKey;
use super::names::NameFilters;
use super::redact::Redact;
use super::value::Value;
use super::{Compression, Config, EventTypes, Protocol, ResilienceLevel, Scenario, Source};

/// Settings made in code. What is not set here is read from the environment, `.env` and `honeyhive.toml`.
///
/// Setters take what they are given; values are checked when the configuration is built, and an error then names the
/// setting, where it came from and what is accepted. Blank text is as good as not set. Every setter has a variable and
/// a key of its own name in `honeyhive.toml`; the [module's page](super) lists them.
///
/// ```
/// use std::time::Duration;
/// use honeyhive::Builder;
///
/// let builder = Builder::new()
///     .source("prod")
///     .session_name("support-chat")
///     .flush_interval(Duration::from_secs(1))
///     .filter("info,my_crate=debug");
/// # let _ = builder;
/// ```
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    pub(super) values: BTreeMap<Field, (Value, Source)>,
    pub(super) require_key: bool,
    pub(super) event_types: EventTypes,
    /// Who gave the configuration this was made from a session id that was none.
    pub(super) invalid_session_id: Option<Source>,
    /// What could not be understood in the configuration this was made from, and still holds something back.
    pub(super) refused: Vec<Field>,
}

impl Builder {
    /// Nothing set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that was set in `config`, by whom it was set: the start of a change to it.
    pub(crate) fn from_config(config: &Config) -> Self {
        let values = config
            .sources
            .iter()
            .filter_map(|(&field, source)| Some((field, (config.value(field)?, source.clone()))));
        Self {
            values: values.collect(),
            require_key: config.require_key,
            event_types: config.event_types.clone(),
            invalid_session_id: config
                .session_id_invalid
                .then(|| config.source_of(Field::SessionId).clone()),
            refused: config.refused.clone(),
        }
    }

    fn set(mut self, field: Field, value: Value) -> Self {
        self.values.insert(field, (value, Source::Code));
        self
    }

    fn text(self, field: Field, text: impl Into<String>) -> Self {
        self.set(field, Value::Text(text.into()))
    }

    fn url(self, field: Field, url: impl Into<String>) -> Self {
        self.set(field, Value::Url(url.into()))
    }

    fn flag(self, field: Field, flag: bool) -> Self {
        self.set(field, Value::Flag(flag))
    }

    fn time(self, field: Field, time: Duration) -> Self {
        self.set(field, Value::Time(time))
    }

    fn number(self, field: Field, number: usize) -> Self {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.set(field, Value::Number(number))
    }

    /// The API key of the project. Absent by default; variable `HH_API_KEY`.
    ///
    /// With neither a key nor a server URL the instance is inert: it warns once and sends nothing. A key with spaces,
    /// control or non-ASCII characters is an error, which does not show the key.
    pub fn api_key(self, key: impl Into<String>) -> Self {
        self.set(Field::ApiKey, Value::Key(ApiKey::new(key)))
    }

    /// A key that may only write, used for sessions, events and spans instead of the API key. Absent by default;
    /// variable `HH_INGESTION_API_KEY`.
    ///
    /// A key that does not have the form `hh_ingst_` + 24 letters or digits + `_` + 64 letters, digits, `_` or `-` is an
    /// error, which does not show the key.
    pub fn ingestion_api_key(self, key: impl Into<String>) -> Self {
        self.set(Field::IngestionApiKey, Value::Key(ApiKey::new(key)))
    }

    /// A key for what belongs to a project as a whole: its charts and its keys. The REST client (feature `api`) uses it for
    /// these alone. Absent by default; variable `HH_DATA_PLANE_API_KEY`.
    ///
    /// A key that does not have the form `hh_fgdp_` + 24 letters or digits + `_` + 64 letters, digits, `_` or `-` is an
    /// error, which does not show the key.
    pub fn data_plane_api_key(self, key: impl Into<String>) -> Self {
        self.set(Field::DataPlaneApiKey, Value::Key(ApiKey::new(key)))
    }

    /// The name of the project, sent along with every event; the platform goes by the key. Absent by default; variable
    /// `HH_PROJECT`.
    ///
    /// A name with any of `/ \ ? # &` is an error.
    pub fn project(self, project: impl Into<String>) -> Self {
        self.text(Field::Project, project)
    }

    /// Where events come from, such as `dev`, `staging` or `prod`. [`DEFAULT_SOURCE`](super::DEFAULT_SOURCE) by default;
    /// variable `HH_SOURCE`.
    pub fn source(self, source: impl Into<String>) -> Self {
        self.text(Field::Source, source)
    }

    /// The platform or a local server. [`DEFAULT_SERVER_URL`](super::DEFAULT_SERVER_URL) by default; variable
    /// `HH_API_URL`.
    ///
    /// A path is kept, slashes at the end are removed. Anything but an `http://` or `https://` URL without credentials,
    /// query and fragment is an error, and so is `http://` to another host than this one without
    /// [`allow_insecure`](Self::allow_insecure).
    pub fn server_url(self, url: impl Into<String>) -> Self {
        self.url(Field::ServerUrl, url)
    }

    /// Whether `http://` may be used for another host than this one: keys and events then travel unencrypted. Off by
    /// default; variable `HH_ALLOW_INSECURE`.
    pub fn allow_insecure(self, on: bool) -> Self {
        self.flag(Field::AllowInsecure, on)
    }

    /// The name of the session that events belong to when they belong to no other. The name of the program by default;
    /// variable `HH_SESSION_NAME`.
    pub fn session_name(self, session_name: impl Into<String>) -> Self {
        self.text(Field::SessionName, session_name)
    }

    /// The id of that session, a UUID. A random one by default; variable `HH_SESSION_ID`.
    ///
    /// A malformed id is no error: it is replaced by a random one, with a warning, and the instance says that it is
    /// degraded.
    pub fn session_id(self, session_id: impl Into<String>) -> Self {
        self.text(Field::SessionId, session_id)
    }

    /// The inputs of that session: the fields of a struct or the entries of a map. Absent by default; variable
    /// `HH_SESSION_INPUTS`, a JSON object.
    ///
    /// Anything that does not serialise to an object is an error.
    ///
    /// ```
    /// let builder = honeyhive::HoneyHive::builder()
    ///     .session_name("nightly-batch")
    ///     .session_inputs(serde_json::json!({ "day": "2026-11-20" }));
    /// # let _ = builder;
    /// ```
    pub fn session_inputs(self, inputs: impl serde::Serialize) -> Self {
        self.text(Field::SessionInputs, json(&inputs))
    }

    /// The properties of the user that session is with: the fields of a struct or the entries of a map. Absent by
    /// default; variable `HH_USER_PROPERTIES`, a JSON object.
    ///
    /// Anything that does not serialise to an object is an error.
    pub fn user_properties(self, properties: impl serde::Serialize) -> Self {
        self.text(Field::UserProperties, json(&properties))
    }

    /// Whether sessions are not announced with a request of their own, but made by the platform from their events: these
    /// carry `honeyhive.session_auto_create` and `honeyhive.session_name` then. Off by default; variable
    /// `HH_SESSION_AUTO_CREATE`.
    ///
    /// Events carry no more of a session than its name, so one with inputs, metadata or user properties is announced
    /// all the same.
    pub fn session_auto_create(self, on: bool) -> Self {
        self.flag(Field::SessionAutoCreate, on)
    }

    /// Whether the session of [`session_id`](Self::session_id) was started elsewhere, so that it is not announced. Off
    /// by default; variable `HH_SKIP_SESSION_START`.
    ///
    /// Without a session id this is [`session_auto_create`](Self::session_auto_create). With a malformed one the
    /// random id that takes its place is announced.
    pub fn skip_session_start(self, on: bool) -> Self {
        self.flag(Field::SkipSessionStart, on)
    }

    /// The evaluation run that all events and sessions of the instance belong to: `run_id` in their metadata. Absent by
    /// default; variable `HH_RUN_ID`.
    pub fn run_id(self, id: impl Into<String>) -> Self {
        self.text(Field::RunId, id)
    }

    /// The dataset of that run: `dataset_id` in the metadata of all events and sessions. Absent by default; variable
    /// `HH_DATASET_ID`.
    pub fn dataset_id(self, id: impl Into<String>) -> Self {
        self.text(Field::DatasetId, id)
    }

    /// The datapoint of that run: `datapoint_id` in the metadata of all events and sessions. Absent by default; variable
    /// `HH_DATAPOINT_ID`.
    pub fn datapoint_id(self, id: impl Into<String>) -> Self {
        self.text(Field::DatapointId, id)
    }

    /// The resource attribute `service.name`. The name of the program by default; variable `HH_SERVICE_NAME`.
    pub fn service_name(self, service_name: impl Into<String>) -> Self {
        self.text(Field::ServiceName, service_name)
    }

    /// The resource attribute `service.version`. Absent by default; variable `HH_SERVICE_VERSION`.
    pub fn service_version(self, service_version: impl Into<String>) -> Self {
        self.text(Field::ServiceVersion, service_version)
    }

    /// Whether `git.commit`, `git.branch`, `git.dirty` and `git.repository` of the working directory are sent as resource
    /// attributes; credentials in the repository's URL are removed. On by default; variable `HH_GIT`.
    pub fn git(self, on: bool) -> Self {
        self.flag(Field::Git, on)
    }

    /// How spans are encoded. [`Protocol::HttpProtobuf`] by default; variable `HH_OTLP_PROTOCOL`.
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.set(Field::Protocol, Value::Protocol(protocol))
    }

    /// How the bodies of span requests are compressed. [`Compression::None`] by default; variable `HH_OTLP_COMPRESSION`.
    pub fn compression(self, compression: Compression) -> Self {
        self.set(Field::Compression, Value::Compression(compression))
    }

    /// Whether spans are exported at all. On by default; variable `HH_OTLP_ENABLED`.
    pub fn otlp_enabled(self, on: bool) -> Self {
        self.flag(Field::OtlpEnabled, on)
    }

    /// The full URL that spans are posted to, used as given. By default the server URL followed by
    /// `/opentelemetry/v1/traces`; variable `HH_OTLP_ENDPOINT`.
    ///
    /// Without a key and a server URL nothing but spans is sent. The same URLs are errors as for
    /// [`server_url`](Self::server_url).
    pub fn otlp_endpoint(self, url: impl Into<String>) -> Self {
        self.url(Field::OtlpEndpoint, url)
    }

    /// The headers added to span requests, in place of those set before. None by default; variable `HH_OTLP_HEADERS`.
    ///
    /// `Authorization` is accepted together with [`otlp_endpoint`](Self::otlp_endpoint) only, and then takes the place
    /// of the key in requests to it, with a warning if there is a key. Without an endpoint it is an error, as are
    /// headers that describe the body or the connection (such as `Content-Type` or `Host`), invalid names and invalid
    /// values. Names are lower-cased; of a name that is there twice the last value counts.
    pub fn headers<N, V>(self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let headers = headers
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        self.set(Field::Headers, Value::Headers(headers.collect()))
    }

    /// Adds one header to those of [`headers`](Self::headers).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let mut headers = match self.values.remove(&Field::Headers) {
            Some((Value::Headers(headers), _)) => headers,
            _ => Vec::new(),
        };
        headers.push((name.into(), value.into()));
        self.set(Field::Headers, Value::Headers(headers))
    }

    /// How many waiting spans make the exporter send before the flush interval is over, from 1 to 10,000.
    /// [`DEFAULT_BATCH_SIZE`](super::DEFAULT_BATCH_SIZE) by default; variable `HH_BATCH_SIZE`.
    pub fn batch_size(self, count: usize) -> Self {
        self.number(Field::BatchSize, count)
    }

    /// How many spans go into one request at most, from 1 to 10,000; unless it is set, up to eight times that when
    /// more wait.
    /// [`DEFAULT_MAX_EXPORT_BATCH_SIZE`](super::DEFAULT_MAX_EXPORT_BATCH_SIZE) by default; variable
    /// `HH_MAX_EXPORT_BATCH_SIZE`.
    pub fn max_export_batch_size(self, count: usize) -> Self {
        self.number(Field::MaxExportBatchSize, count)
    }

    /// How long a span waits at most before it is sent, from 10 milliseconds to an hour, where there is a timer
    /// ([`flush_on_timer`](Self::flush_on_timer)).
    /// [`DEFAULT_FLUSH_INTERVAL`](super::DEFAULT_FLUSH_INTERVAL) by default; variable `HH_FLUSH_INTERVAL`, in seconds.
    pub fn flush_interval(self, time: Duration) -> Self {
        self.set(Field::FlushInterval, Value::Time(time))
    }

    /// How long one request may take, from 10 milliseconds to 10 minutes.
    /// [`DEFAULT_EXPORT_TIMEOUT`](super::DEFAULT_EXPORT_TIMEOUT) by default; variable `HH_EXPORT_TIMEOUT`, in seconds.
    ///
    /// (The Python client documents 30 seconds and does not apply it.)
    pub fn export_timeout(self, time: Duration) -> Self {
        self.set(Field::ExportTimeout, Value::Time(time))
    }

    /// How long dropping the instance waits for what is queued, up to 10 minutes; zero: not at all. By default it depends
    /// on the environment: 2 seconds on AWS Lambda, 5 on Kubernetes, 1 under high concurrency, else 3; variable
    /// `HH_FLUSH_TIMEOUT`, in seconds.
    pub fn flush_timeout(self, time: Duration) -> Self {
        self.set(Field::FlushTimeout, Value::Time(time))
    }

    /// Whether every span is sent as soon as it ends, in a request of its own. Off by default; variable
    /// `HH_DISABLE_BATCH`.
    pub fn disable_batch(self, on: bool) -> Self {
        self.flag(Field::DisableBatch, on)
    }

    /// How many spans may wait to be sent, from 1 to 16,777,216; what comes on top is dropped and counted.
    /// [`DEFAULT_MAX_QUEUE_SIZE`](super::DEFAULT_MAX_QUEUE_SIZE) by default; variable `HH_MAX_QUEUE_SIZE`.
    pub fn max_queue_size(self, count: usize) -> Self {
        self.number(Field::MaxQueueSize, count)
    }

    /// How many bytes the waiting spans may take, from 1 MiB to 1 GiB; what comes on top is dropped and counted.
    /// [`DEFAULT_MAX_QUEUE_BYTES`](super::DEFAULT_MAX_QUEUE_BYTES) by default, 16 MiB on AWS Lambda, 128 MiB under high
    /// concurrency, and less with little memory; variable `HH_MAX_QUEUE_BYTES`.
    pub fn max_queue_bytes(self, bytes: usize) -> Self {
        self.number(Field::MaxQueueBytes, bytes)
    }

    /// How many bytes one request may have before the next span goes into another one, from 64 KiB to 64 MiB; a larger span
    /// travels alone. [`DEFAULT_MAX_BATCH_BYTES`](super::DEFAULT_MAX_BATCH_BYTES) by default, less with little memory;
    /// variable `HH_MAX_BATCH_BYTES`.
    pub fn max_batch_bytes(self, bytes: usize) -> Self {
        self.number(Field::MaxBatchBytes, bytes)
    }

    /// How many requests with spans may be on their way at once, from 1 to 64. By default 4 under high concurrency, 3 on
    /// Kubernetes, Google Cloud, Azure and EC2, else 2; at most 2 with one processor, one more with more than eight;
    /// unless it is set, 4 while more spans wait than one request takes.
    /// Variable `HH_MAX_IN_FLIGHT`.
    pub fn max_in_flight(self, count: usize) -> Self {
        self.number(Field::MaxInFlight, count)
    }

    /// Whether spans are sent when the flush interval is over, besides when there are enough of them. On by default, except
    /// on AWS Lambda, where nothing runs between invocations; variable `HH_FLUSH_ON_TIMER`.
    pub fn flush_on_timer(self, on: bool) -> Self {
        self.flag(Field::FlushOnTimer, on)
    }

    /// How long a change of the configuration and the end of an instance wait for one another, up to 10 minutes. By default
    /// half a second on AWS Lambda, 2 seconds on Kubernetes, 0.3 under high concurrency, else 1; variable
    /// `HH_LIFECYCLE_TIMEOUT`, in seconds.
    ///
    /// A change that has to wait longer is an error; an end then goes ahead without.
    pub fn lifecycle_timeout(self, time: Duration) -> Self {
        self.time(Field::LifecycleTimeout, time)
    }

    /// How long making a connection may take, TLS included, from 10 milliseconds to 10 minutes.
    /// [`DEFAULT_CONNECT_TIMEOUT`](super::DEFAULT_CONNECT_TIMEOUT) by default; variable `HH_CONNECT_TIMEOUT`, in seconds.
    ///
    /// [`export_timeout`](Self::export_timeout) bounds the whole request. A flush or a shutdown ends at its own deadline,
    /// whatever request is on its way.
    pub fn connect_timeout(self, time: Duration) -> Self {
        self.time(Field::ConnectTimeout, time)
    }

    /// How many connections to a host are kept for later requests, up to 200; zero: none. By default 8 on AWS Lambda, 15 in
    /// Docker, 18 on Google Cloud and Azure, 25 on EC2, else 20; half of that with less than 1 GiB of memory, three tenths more
    /// from 2 GiB on, up to 40. Variable `HH_POOL_MAX_IDLE`.
    pub fn pool_max_idle(self, count: usize) -> Self {
        self.number(Field::PoolMaxIdle, count)
    }

    /// How long they are kept, up to an hour. [`DEFAULT_POOL_IDLE_TIMEOUT`](super::DEFAULT_POOL_IDLE_TIMEOUT) by default, 20
    /// seconds on AWS Lambda; variable `HH_POOL_IDLE_TIMEOUT`, in seconds.
    pub fn pool_idle_timeout(self, time: Duration) -> Self {
        self.time(Field::PoolIdleTimeout, time)
    }

    /// The wait before a request is repeated for the first time, from a millisecond to a minute; it doubles with every
    /// failure in a row, and a random part of up to its half is taken off. By default half a second, and less in some
    /// environments: from 0.1 on AWS Lambda to 0.4 in Docker; variable `HH_RETRY_FIRST_DELAY`, in seconds.
    pub fn retry_first_delay(self, time: Duration) -> Self {
        self.time(Field::RetryFirstDelay, time)
    }

    /// The longest wait between two attempts, from a millisecond to 10 minutes.
    /// [`DEFAULT_RETRY_MAX_DELAY`](super::DEFAULT_RETRY_MAX_DELAY) by default; variable `HH_RETRY_MAX_DELAY`, in seconds.
    pub fn retry_max_delay(self, time: Duration) -> Self {
        self.time(Field::RetryMaxDelay, time)
    }

    /// For how long a batch is tried before it is lost, and counted, up to a day; zero: once.
    /// [`DEFAULT_RETRY_GIVE_UP`](super::DEFAULT_RETRY_GIVE_UP) by default; variable `HH_RETRY_GIVE_UP`, in seconds.
    pub fn retry_give_up(self, time: Duration) -> Self {
        self.time(Field::RetryGiveUp, time)
    }

    /// What the program does. [`Scenario::Standard`] by default; variable `HH_SCENARIO`.
    ///
    /// It changes defaults, never what is set, here or elsewhere.
    ///
    /// ```
    /// use honeyhive::{Builder, config::Scenario};
    ///
    /// let builder = Builder::new().scenario(Scenario::HighVolume).max_in_flight(2);
    /// # let _ = builder;
    /// ```
    pub fn scenario(self, scenario: Scenario) -> Self {
        self.set(Field::Scenario, Value::Scenario(scenario))
    }

    /// Whether the process works on many requests at a time: takes the deadlines and the queue for that, except on AWS
    /// Lambda and Kubernetes, which have their own. Off by default; variable `HH_HIGH_CONCURRENCY`.
    pub fn high_concurrency(self, on: bool) -> Self {
        self.flag(Field::HighConcurrency, on)
    }

    /// How much trouble the caller is told of. [`ResilienceLevel::Balanced`] by default; variable `HH_RESILIENCE_LEVEL`.
    ///
    /// ```
    /// use honeyhive::{HoneyHive, config::ResilienceLevel};
    ///
    /// // Whatever is set wrong, the program starts.
    /// let builder = HoneyHive::builder().batch_size(0).test_mode(true);
    /// assert!(builder.clone().build().is_err());
    /// let honeyhive = builder.resilience(ResilienceLevel::Resilient).build()?;
    /// assert!(honeyhive.config().warnings()[0].starts_with("batch_size: "));
    /// # Ok::<(), honeyhive::Error>(())
    /// ```
    pub fn resilience(self, level: ResilienceLevel) -> Self {
        self.set(Field::Resilience, Value::Resilience(level))
    }

    /// Whether changes of `honeyhive.toml` are taken over while the program runs. Off by default; variable
    /// `HH_WATCH_CONFIG`.
    ///
    /// A quiet thread looks once a second whether the time or the length of the file has changed. What code and variables
    /// set stays; a file that is broken changes nothing and is warned about once. Without this there is no thread.
    pub fn watch_config(self, on: bool) -> Self {
        self.flag(Field::WatchConfig, on)
    }

    /// The directory that keeps what cannot be delivered, to be sent later; `default` stands for the user's directory for
    /// state. Absent by default: nothing is kept; variable `HH_SPOOL_DIR`. It needs the cargo feature `spool`, without
    /// which it is a warning; see [`docs::spool`](crate::docs::spool).
    ///
    /// It is taken when the first span closes: [`reconfigure`](crate::HoneyHive::reconfigure) does not change it after
    /// that. A path that is not UTF-8 is an error.
    pub fn spool_dir(self, path: impl AsRef<std::path::Path>) -> Self {
        self.text(Field::SpoolDir, path.as_ref().to_string_lossy())
    }

    /// How many bytes that directory may hold, from 1 MiB to 4 GiB; what comes on top is not kept.
    /// [`DEFAULT_SPOOL_MAX_BYTES`](super::DEFAULT_SPOOL_MAX_BYTES) by default; variable `HH_SPOOL_MAX_BYTES`.
    pub fn spool_max_bytes(self, bytes: u64) -> Self {
        self.set(Field::SpoolMaxBytes, Value::Number(bytes))
    }

    /// How many attributes a span may have, from 128 to 10,000. Those that the platform needs are not counted and never cut.
    /// [`DEFAULT_MAX_ATTRIBUTES`](super::DEFAULT_MAX_ATTRIBUTES) by default; variable `HH_MAX_ATTRIBUTES`.
    pub fn max_attributes(self, count: usize) -> Self {
        self.number(Field::MaxAttributes, count)
    }

    /// How many bytes one value may have, from 1 KiB to 100 MiB; a longer one is cut and marked.
    /// [`DEFAULT_MAX_ATTRIBUTE_LENGTH`](super::DEFAULT_MAX_ATTRIBUTE_LENGTH) by default; variable
    /// `HH_MAX_ATTRIBUTE_LENGTH`.
    pub fn max_attribute_length(self, bytes: usize) -> Self {
        self.number(Field::MaxAttributeLength, bytes)
    }

    /// How many log events a span may carry, from 1 to 10,000. [`DEFAULT_MAX_EVENTS`](super::DEFAULT_MAX_EVENTS) by
    /// default; variable `HH_MAX_EVENTS`.
    pub fn max_events(self, count: usize) -> Self {
        self.number(Field::MaxEvents, count)
    }

    /// How many links to other spans a span may carry, from 1 to 10,000; `Span::follows_from` makes one.
    /// [`DEFAULT_MAX_LINKS`](super::DEFAULT_MAX_LINKS) by default; variable `HH_MAX_LINKS`.
    pub fn max_links(self, count: usize) -> Self {
        self.number(Field::MaxLinks, count)
    }

    /// How many bytes one span may take, from 64 KiB to 100 MiB. [`DEFAULT_MAX_SPAN_SIZE`](super::DEFAULT_MAX_SPAN_SIZE) by
    /// default, or [`max_attribute_length`](Self::max_attribute_length) if that is more; variable `HH_MAX_SPAN_SIZE`.
    pub fn max_span_size(self, bytes: usize) -> Self {
        self.number(Field::MaxSpanSize, bytes)
    }

    /// Which spans are recorded: a level, or `target=level` pairs, separated by commas, such as `info,my_crate=debug`.
    /// [`DEFAULT_FILTER`](super::DEFAULT_FILTER) by default; variable `HH_FILTER`.
    ///
    /// Text that does not parse is an error.
    pub fn filter(self, filter: impl Into<String>) -> Self {
        self.text(Field::Filter, filter)
    }

    /// Which spans are left out by their names, as JSON of the form that the variable takes:
    /// `{"include":[{"type":"prefix","value":"a."}],"exclude":[{"type":"prefix","value":"a.b"}]}`. None by default; variable
    /// `HH_SPAN_NAME_FILTERS`. [`include_spans`](Self::include_spans) and [`exclude_spans`](Self::exclude_spans) set the
    /// two halves.
    ///
    /// JSON of another form, another type of filter and an empty prefix are errors.
    pub fn span_name_filters(self, json: impl Into<String>) -> Self {
        self.text(Field::SpanNameFilters, json)
    }

    /// Records spans only if their name begins with one of these prefixes, in place of those set before. Any name by
    /// default; variable `HH_SPAN_NAME_FILTERS`.
    ///
    /// The name is the one the span is made with: its `honeyhive.event_name` or `otel.name` field, else that of its
    /// callsite. A span that is left out is neither sent nor counted; what is made in it, and data added in it, belongs to
    /// the nearest span above that is recorded.
    ///
    /// ```
    /// # use honeyhive::Builder;
    /// let builder = Builder::new().include_spans(["agent.", "tool."]).exclude_spans(["tool.debug"]);
    /// # let _ = builder;
    /// ```
    pub fn include_spans<P: Into<String>>(self, prefixes: impl IntoIterator<Item = P>) -> Self {
        let prefixes = prefixes.into_iter().map(Into::into).collect();
        self.name_filters(|filters| filters.include = prefixes)
    }

    /// Leaves out spans whose name begins with one of these prefixes, in place of those set before, whatever
    /// [`include_spans`](Self::include_spans) says. None by default; variable `HH_SPAN_NAME_FILTERS`.
    pub fn exclude_spans<P: Into<String>>(self, prefixes: impl IntoIterator<Item = P>) -> Self {
        let prefixes = prefixes.into_iter().map(Into::into).collect();
        self.name_filters(|filters| filters.exclude = prefixes)
    }

    fn name_filters(mut self, change: impl FnOnce(&mut NameFilters)) -> Self {
        let mut filters = match self.values.get(&Field::SpanNameFilters) {
            Some((Value::NameFilters(filters), _)) => filters.clone(),
            Some((Value::Text(text), _)) => match NameFilters::parse(text) {
                Ok(filters) => filters,
                // It is an error once the configuration is built.
                Err(_) if !text.trim().is_empty() => return self,
                Err(_) => NameFilters::default(),
            },
            _ => NameFilters::default(),
        };
        change(&mut filters);
        self.values.remove(&Field::SpanNameFilters);
        self.set(Field::SpanNameFilters, Value::NameFilters(filters))
    }

    /// The share of traces that is sent, from 0 to 1. [`DEFAULT_SAMPLE_RATE`](super::DEFAULT_SAMPLE_RATE) by default;
    /// variable `HH_SAMPLE_RATE`.
    ///
    /// It is decided once for a trace, where its first span is made: by the session's id if one was given, so that a
    /// session is sent whole or not at all, else by the trace's id. Every service that has the same rate decides alike.
    /// Spans that failed are sent all the same, with the spans above them. What is left out is counted in
    /// [`Stats::sampled_out`](crate::report::Stats::sampled_out).
    pub fn sample_rate(self, rate: f64) -> Self {
        self.set(Field::SampleRate, Value::Rate(rate))
    }

    /// Whether content is sent: inputs, outputs, chat messages, and the attributes of known conventions that hold
    /// prompts, completions, and arguments and results of tools. On by default; variable `HH_CAPTURE_CONTENT`.
    ///
    /// Without it events keep their names, types, times, metadata, metrics and errors.
    pub fn capture_content(self, on: bool) -> Self {
        self.flag(Field::CaptureContent, on)
    }

    /// What becomes `[redacted]` before events leave the process. By default what looks like a credential, see
    /// [`Redact`]; variable `HH_REDACT`, which takes `default`, `off`, and keys separated by commas, alone (then in
    /// addition to the default) or after one of these.
    ///
    /// Keys with other characters than letters, digits, `_`, `-` and `.`, and patterns that do not parse are errors.
    pub fn redact(self, redact: Redact) -> Self {
        self.set(Field::Redact, Value::Redact(redact))
    }

    /// Which log events (`tracing::info!` and the like) are sent along with the span they happen in: a level, or
    /// `target=level` pairs, separated by commas, such as `info,sqlx=debug`; `off` for none.
    /// [`DEFAULT_SPAN_EVENTS`](super::DEFAULT_SPAN_EVENTS) by default; variable `HH_SPAN_EVENTS`.
    ///
    /// This stands beside [`filter`](Self::filter), which is about spans. An ERROR event that is among them marks its
    /// span as failed; with `off`, or `noisy_crate=off`, it does not. Text that does not parse is an error.
    pub fn span_events(self, filter: impl Into<String>) -> Self {
        self.text(Field::SpanEvents, filter)
    }

    /// The type of an event when nothing else decides it: `model`, `tool` or `chain`, else it is an
    /// error. [`DEFAULT_EVENT_TYPE`](super::DEFAULT_EVENT_TYPE) by default; variable `HH_DEFAULT_EVENT_TYPE`.
    pub fn default_event_type(self, default_event_type: impl Into<String>) -> Self {
        self.text(Field::DefaultEventType, default_event_type)
    }

    /// Whether an event whose attributes do not tell its type is a `model` event when its name has a word such as `llm`,
    /// `gpt` or `chat`, or when it names a model. Off by default; variable `HH_EVENT_TYPE_FROM_NAME`.
    ///
    /// The Python client guesses so, even from parts of words; this is for those who move over from it and want the
    /// same types. An explicit type always wins.
    pub fn event_type_from_name(self, on: bool) -> Self {
        self.flag(Field::EventTypeFromName, on)
    }

    /// Makes `event_type` the type of events that have `attribute` with `value`, in any case, or with any value where
    /// `value` is `*`. None by default; there is no variable.
    ///
    /// This is for conventions that the crate does not know. The rules are asked in their order, after an explicit type
    /// and before everything else. The type may be one of the platform's or an own one; blank text is an error.
    ///
    /// ```
    /// use honeyhive::{Builder, EventType};
    ///
    /// let builder = Builder::new()
    ///     .event_type_rule("step.kind", "retrieval", EventType::Tool)
    ///     .event_type_rule("step.kind", "*", "chain");
    /// # let _ = builder;
    /// ```
    pub fn event_type_rule(
        mut self,
        attribute: impl Into<String>,
        value: impl Into<String>,
        event_type: impl Into<String>,
    ) -> Self {
        self.event_types
            .add_attribute(attribute.into(), value.into(), event_type.into());
        self
    }

    /// Makes `event_type` the type of events whose span has this target, or one below it (`my_crate` stands for
    /// `my_crate::tools` too). None by default; there is no variable.
    ///
    /// These rules are asked in their order, after everything that attributes say and before the default. Blank text is
    /// an error.
    pub fn event_type_for_target(
        mut self,
        target: impl Into<String>,
        event_type: impl Into<String>,
    ) -> Self {
        self.event_types
            .add_target(target.into(), event_type.into());
        self
    }

    /// Registers an own type, besides `model`, `tool`, `chain` and `session`: events that name it are sent as they are,
    /// without the warning that another unknown type gets once. Types that rules name are registered by that.
    pub fn own_event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_types.add_own(event_type.into());
        self
    }

    /// How long one attempt of a call of the REST client (feature `api`) may take, its answer included, from 10
    /// milliseconds to 10 minutes. [`DEFAULT_API_TIMEOUT`](super::DEFAULT_API_TIMEOUT) by default; variable
    /// `HH_API_TIMEOUT`, in seconds.
    pub fn api_timeout(self, time: Duration) -> Self {
        self.set(Field::ApiTimeout, Value::Time(time))
    }

    /// The same for exporting events through the REST client, up to an hour.
    /// [`DEFAULT_API_EXPORT_TIMEOUT`](super::DEFAULT_API_EXPORT_TIMEOUT) by default; variable
    /// `HH_EXPORT_TIMEOUT_SECONDS`.
    pub fn api_export_timeout(self, time: Duration) -> Self {
        self.set(Field::ApiExportTimeout, Value::Time(time))
    }

    /// How often the REST client (feature `api`) repeats a call that failed and may be repeated, up to 20.
    /// [`DEFAULT_API_MAX_RETRIES`](super::DEFAULT_API_MAX_RETRIES) by default; variable `HH_MAX_RETRIES`.
    pub fn api_max_retries(self, count: u32) -> Self {
        self.set(Field::ApiMaxRetries, Value::Number(count.into()))
    }

    /// Whether the REST client (feature `api`) keeps what its `get_cached` methods read. On by default; variable
    /// `HH_CACHE_ENABLED`.
    pub fn cache_enabled(self, on: bool) -> Self {
        self.flag(Field::CacheEnabled, on)
    }

    /// How many entries each cache of the REST client may have, from 1 to 1,000,000; the one used least recently makes
    /// room. By default 100 prompts and 50 other resources; variable `HH_CACHE_MAX_SIZE`.
    pub fn cache_max_size(self, count: usize) -> Self {
        self.number(Field::CacheMaxSize, count)
    }

    /// How long an entry of the REST client's caches counts as fresh, from 10 milliseconds to 30 days; for as long again it is
    /// given out while a new one is fetched. By default 15 minutes for prompts and an hour for other resources; variable
    /// `HH_CACHE_TTL`, in seconds.
    pub fn cache_ttl(self, time: Duration) -> Self {
        self.set(Field::CacheTtl, Value::Time(time))
    }

    /// How often entries that are too old to be given out are removed, from 10 milliseconds to 30 days. By default every 3
    /// minutes for prompts and every 5 for other resources; variable `HH_CACHE_CLEANUP_INTERVAL`, in seconds.
    pub fn cache_cleanup_interval(self, time: Duration) -> Self {
        self.set(Field::CacheCleanupInterval, Value::Time(time))
    }

    /// Whether everything works except the network: events are built, nothing is sent. Off by default; variable
    /// `HH_TEST_MODE`.
    pub fn test_mode(self, on: bool) -> Self {
        self.flag(Field::TestMode, on)
    }

    /// Whether nothing is recorded. Off by default; variable `HH_DISABLE_TRACING`.
    pub fn disable_tracing(self, on: bool) -> Self {
        self.flag(Field::DisableTracing, on)
    }

    /// Whether decisions, applied limits and requests are logged at DEBUG on target `honeyhive`. Off by default; variable
    /// `HH_VERBOSE`.
    pub fn verbose(self, on: bool) -> Self {
        self.flag(Field::Verbose, on)
    }

    /// Makes it an error when there is neither an API key nor an ingestion key, for those who would rather fail than
    /// run without their events. Without it, an instance that cannot send is inert and warns once.
    pub fn require_key(mut self) -> Self {
        self.require_key = true;
        self
    }
}

/// The JSON text of a user's value; one that fails or panics is no object.
fn json<T: serde::Serialize>(value: &T) -> String {
    let text = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        serde_json::to_string(value)
    }));
    text.ok()
        .and_then(Result::ok)
        .unwrap_or_else(|| "a value that cannot be serialised".to_owned())
}

/// What was set, secrets masked.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Builder");
        for (field, (value, _)) in &self.values {
            debug.field(field.name(), value);
        }
        if !self.event_types.is_empty() {
            debug.field("event_types", &self.event_types);
        }
        debug.field("require_key", &self.require_key).finish()
    }
}
