use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::env::{Alias, TABLE};
use super::file::{DotEnv, File};
use super::known::{self, CONFIG_FILE, SWITCHES};
use super::value::{Kind, Value};
use super::*;
use crate::Error;

const KEY: &str = "hh_0123456789abcdefSECRET";
const INGESTION_KEY: &str = "hh_ingst_aaaaaaaaaaaaaaaaaaaaaaaa_SECRETbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

const DATA_PLANE_KEY: &str = "hh_fgdp_aaaaaaaaaaaaaaaaaaaaaaaa_SECRETbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn dotenv_path() -> PathBuf {
    PathBuf::from("/somewhere/.env")
}

fn file_path() -> PathBuf {
    PathBuf::from("/somewhere/honeyhive.toml")
}

fn sources(environment: &[(&str, &str)], dotenv: Option<&str>, file: Option<&str>) -> Sources {
    Sources {
        environment: environment
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect(),
        dotenv: dotenv.map(|content| DotEnv::parse(dotenv_path(), content)),
        file: file.map(|content| File {
            path: file_path(),
            named: false,
            content: Ok(content.to_owned()),
        }),
        ..Sources::default()
    }
}

fn from_env(environment: &[(&str, &str)]) -> Result<Config, Error> {
    Builder::new().resolve(&sources(environment, None, None))
}

fn from_dotenv(content: &str) -> Result<Config, Error> {
    Builder::new().resolve(&sources(&[], Some(content), None))
}

fn from_file(content: &str) -> Result<Config, Error> {
    Builder::new().resolve(&sources(&[], None, Some(content)))
}

fn message(result: Result<Config, Error>) -> String {
    let error = result.unwrap_err();
    assert!(error.is_config());
    assert!(std::error::Error::source(&error).is_none());
    error.to_string()
}

/// Two values of every field, neither the default.
fn samples(field: Field) -> [&'static str; 2] {
    match field {
        Field::ApiKey => [KEY, "hh_another_key_for_tests"],
        Field::IngestionApiKey => [
            INGESTION_KEY,
            "hh_ingst_cccccccccccccccccccccccc_dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
        ],
        Field::DataPlaneApiKey => [
            DATA_PLANE_KEY,
            "hh_fgdp_cccccccccccccccccccccccc_dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
        ],
        Field::Project
        | Field::Source
        | Field::SessionName
        | Field::RunId
        | Field::DatasetId
        | Field::DatapointId
        | Field::ServiceName
        | Field::ServiceVersion => ["one", "the other: é, \"quoted\", #2"].map(|sample| {
            // A project name takes fewer characters.
            if field == Field::Project && sample != "one" {
                "the other"
            } else {
                sample
            }
        }),
        Field::ServerUrl => ["https://a.example/base", "http://[::1]:4318"],
        Field::OtlpEndpoint => [
            "https://a.example/v1/traces",
            "http://localhost:4318/v1/traces/",
        ],
        Field::SessionId => [
            "6a1ea9d5-6d0c-4ec9-a7a1-3f3fb8fd9d36",
            "00000000-0000-4000-8000-000000000001",
        ],
        Field::SessionInputs | Field::UserProperties => [r#"{"a": 1}"#, r#"{"b": {"c": ["é"]}}"#],
        Field::Protocol => ["http/json", "HTTP/JSON"],
        Field::Compression => ["gzip", "GZIP"],
        Field::OtlpEnabled
        | Field::Git
        | Field::CaptureContent
        | Field::FlushOnTimer
        | Field::CacheEnabled => ["false", "off"],
        Field::MaxInFlight | Field::PoolMaxIdle => ["3", "64"],
        Field::MaxBatchBytes => ["1MiB", "100000"],
        Field::LifecycleTimeout
        | Field::ConnectTimeout
        | Field::PoolIdleTimeout
        | Field::RetryFirstDelay
        | Field::RetryMaxDelay
        | Field::RetryGiveUp
        | Field::FlushInterval
        | Field::ExportTimeout
        | Field::FlushTimeout
        | Field::ApiTimeout
        | Field::ApiExportTimeout
        | Field::CacheTtl
        | Field::CacheCleanupInterval => ["0.25", "1min"],
        Field::Scenario => ["high_volume", "Low-Latency"],
        Field::Resilience => ["resilient", "RESILIENT"],
        Field::ApiMaxRetries => ["0", "20"],
        Field::CacheMaxSize => ["1", "1000000"],
        Field::Headers => ["x-a=1,x-b=2", r#"{"x-c": "3"}"#],
        Field::BatchSize | Field::MaxExportBatchSize | Field::MaxEvents | Field::MaxLinks => {
            ["7", "9999"]
        }
        Field::MaxQueueSize => ["1000", "1000000"],
        Field::MaxQueueBytes | Field::SpoolMaxBytes => ["32MiB", "100000000"],
        Field::SpoolDir => ["/var/spool/honeyhive", "spool of mine"],
        Field::MaxAttributes => ["128", "2000"],
        Field::MaxAttributeLength | Field::MaxSpanSize => ["20MiB", "100KB"],
        Field::Filter | Field::SpanEvents => ["debug", "info,my_crate=trace"],
        Field::SpanNameFilters => [
            r#"{"include":[{"type":"prefix","value":"a."}]}"#,
            r#"{"exclude":["a.b", "c"]}"#,
        ],
        Field::SampleRate => ["0.25", "0"],
        Field::Redact => ["off", "ssn, account_number"],
        Field::DefaultEventType => ["model", "chain"],
        Field::AllowInsecure
        | Field::EventTypeFromName
        | Field::SessionAutoCreate
        | Field::SkipSessionStart
        | Field::DisableBatch
        | Field::HighConcurrency
        | Field::WatchConfig
        | Field::TestMode
        | Field::DisableTracing
        | Field::Verbose => ["true", "ON"],
    }
}

/// Values of every field that must be refused; for plain text there are none.
fn refused(field: Field) -> &'static [&'static str] {
    match field {
        Field::ApiKey => &["two words", "hh_é", "hh_a\u{1}b"],
        Field::IngestionApiKey => &["hh_ingst_short", KEY],
        Field::DataPlaneApiKey => &["hh_fgdp_short", KEY, INGESTION_KEY],
        Field::ApiTimeout => &["0", "-1", "soon", "601"],
        Field::ApiExportTimeout => &["0", "-1", "soon", "3601"],
        Field::ApiMaxRetries => &["-1", "21", "many"],
        Field::CacheMaxSize => &["0", "1000001", "many"],
        Field::CacheTtl | Field::CacheCleanupInterval => &["0", "-1", "soon", "2592001"],
        Field::Project => &["a/b", r"a\b", "a?b", "a#b", "a&b"],
        Field::ServerUrl | Field::OtlpEndpoint => &[
            "nonsense",
            "ftp://a.example",
            "https://",
            "https://u:SECRET@a.example",
            "https://a.example/?q=SECRET",
            "https://a.example/#SECRET",
            "http://a.example",
        ],
        Field::SessionInputs | Field::UserProperties => &["[1]", "{", "text", "7"],
        Field::Protocol => &["grpc", "json"],
        Field::Compression => &["zstd"],
        Field::Headers => &[
            "SECRET",
            "x a=SECRET",
            "host=SECRET",
            r#"{"x": ["SECRET"]}"#,
            "authorization=SECRET",
        ],
        Field::BatchSize
        | Field::MaxExportBatchSize
        | Field::MaxEvents
        | Field::MaxLinks
        | Field::MaxQueueSize => &[
            "0",
            "-1",
            "1.5",
            "many",
            "99999999999999999999999",
            "16777217",
        ],
        Field::FlushInterval | Field::ExportTimeout => {
            &["0", "-1", "soon", "nan", "1e9", "1h", "3601"]
        }
        Field::FlushTimeout | Field::LifecycleTimeout => &["-1", "soon", "601"],
        Field::ConnectTimeout | Field::RetryFirstDelay | Field::RetryMaxDelay => {
            &["0", "-1", "soon", "nan", "601"]
        }
        Field::PoolIdleTimeout => &["-1", "soon", "3601"],
        Field::RetryGiveUp => &["-1", "soon", "86401"],
        Field::MaxInFlight => &["0", "65", "x"],
        Field::PoolMaxIdle => &["-1", "201", "x"],
        Field::MaxBatchBytes => &["1KiB", "65MiB", "x"],
        Field::Scenario => &["production", "high"],
        Field::Resilience => &["relaxed", "1"],
        Field::MaxAttributes => &["127", "10001", "x"],
        Field::MaxQueueBytes => &["1", "2GiB", "x"],
        Field::SpoolMaxBytes => &["1", "5GiB", "x"],
        Field::SpoolDir => &["a\u{fffd}b"],
        Field::MaxAttributeLength | Field::MaxSpanSize => &["1023", "101MiB", "10M", "x"],
        Field::Filter | Field::SpanEvents => &["a=b=c", "my_crate=loud"],
        Field::SpanNameFilters => &[
            "a.",
            r#"{"include":[{"type":"regex","value":"a."}]}"#,
            r#"{"exclude":[""]}"#,
        ],
        Field::SampleRate => &["-0.1", "1.5", "half", "nan"],
        Field::Redact => &["two words", "ssn,,pin", "a=b", "."],
        Field::DefaultEventType => &["session", "llm"],
        Field::OtlpEnabled
        | Field::AllowInsecure
        | Field::CacheEnabled
        | Field::EventTypeFromName
        | Field::SessionAutoCreate
        | Field::SkipSessionStart
        | Field::Git
        | Field::CaptureContent
        | Field::DisableBatch
        | Field::FlushOnTimer
        | Field::HighConcurrency
        | Field::WatchConfig
        | Field::TestMode
        | Field::DisableTracing
        | Field::Verbose => &["maybe", "2", "tru"],
        Field::Source
        | Field::SessionName
        | Field::SessionId
        | Field::RunId
        | Field::DatasetId
        | Field::DatapointId
        | Field::ServiceName
        | Field::ServiceVersion => &[],
    }
}

/// Calls the setter of the field.
fn set(builder: Builder, field: Field, value: Value) -> Builder {
    let size = |value: u64| usize::try_from(value).unwrap();
    match (field, value) {
        (Field::ApiKey, Value::Key(key)) => builder.api_key(key.expose()),
        (Field::IngestionApiKey, Value::Key(key)) => builder.ingestion_api_key(key.expose()),
        (Field::DataPlaneApiKey, Value::Key(key)) => builder.data_plane_api_key(key.expose()),
        (Field::ApiTimeout, Value::Time(time)) => builder.api_timeout(time),
        (Field::ApiExportTimeout, Value::Time(time)) => builder.api_export_timeout(time),
        (Field::ApiMaxRetries, Value::Number(n)) => {
            builder.api_max_retries(u32::try_from(n).unwrap())
        }
        (Field::CacheEnabled, Value::Flag(on)) => builder.cache_enabled(on),
        (Field::CacheMaxSize, Value::Number(n)) => builder.cache_max_size(size(n)),
        (Field::CacheTtl, Value::Time(time)) => builder.cache_ttl(time),
        (Field::CacheCleanupInterval, Value::Time(time)) => builder.cache_cleanup_interval(time),
        (Field::Project, Value::Text(text)) => builder.project(text),
        (Field::Source, Value::Text(text)) => builder.source(text),
        (Field::ServerUrl, Value::Url(url)) => builder.server_url(url),
        (Field::AllowInsecure, Value::Flag(on)) => builder.allow_insecure(on),
        (Field::SessionName, Value::Text(text)) => builder.session_name(text),
        (Field::SessionId, Value::Text(text)) => builder.session_id(text),
        (Field::SessionInputs, Value::Text(text)) => {
            builder.session_inputs(serde_json::from_str::<serde_json::Value>(&text).unwrap())
        }
        (Field::UserProperties, Value::Text(text)) => {
            builder.user_properties(serde_json::from_str::<serde_json::Value>(&text).unwrap())
        }
        (Field::SessionAutoCreate, Value::Flag(on)) => builder.session_auto_create(on),
        (Field::SkipSessionStart, Value::Flag(on)) => builder.skip_session_start(on),
        (Field::RunId, Value::Text(text)) => builder.run_id(text),
        (Field::DatasetId, Value::Text(text)) => builder.dataset_id(text),
        (Field::DatapointId, Value::Text(text)) => builder.datapoint_id(text),
        (Field::Git, Value::Flag(on)) => builder.git(on),
        (Field::ServiceName, Value::Text(text)) => builder.service_name(text),
        (Field::ServiceVersion, Value::Text(text)) => builder.service_version(text),
        (Field::Protocol, Value::Protocol(protocol)) => builder.protocol(protocol),
        (Field::Compression, Value::Compression(compression)) => builder.compression(compression),
        (Field::OtlpEnabled, Value::Flag(on)) => builder.otlp_enabled(on),
        (Field::OtlpEndpoint, Value::Url(url)) => builder.otlp_endpoint(url),
        (Field::Headers, Value::Headers(headers)) => builder.headers(headers),
        (Field::BatchSize, Value::Number(n)) => builder.batch_size(size(n)),
        (Field::MaxExportBatchSize, Value::Number(n)) => builder.max_export_batch_size(size(n)),
        (Field::FlushInterval, Value::Time(time)) => builder.flush_interval(time),
        (Field::ExportTimeout, Value::Time(time)) => builder.export_timeout(time),
        (Field::FlushTimeout, Value::Time(time)) => builder.flush_timeout(time),
        (Field::DisableBatch, Value::Flag(on)) => builder.disable_batch(on),
        (Field::MaxQueueSize, Value::Number(n)) => builder.max_queue_size(size(n)),
        (Field::MaxQueueBytes, Value::Number(n)) => builder.max_queue_bytes(size(n)),
        (Field::MaxBatchBytes, Value::Number(n)) => builder.max_batch_bytes(size(n)),
        (Field::MaxInFlight, Value::Number(n)) => builder.max_in_flight(size(n)),
        (Field::FlushOnTimer, Value::Flag(on)) => builder.flush_on_timer(on),
        (Field::LifecycleTimeout, Value::Time(time)) => builder.lifecycle_timeout(time),
        (Field::ConnectTimeout, Value::Time(time)) => builder.connect_timeout(time),
        (Field::PoolMaxIdle, Value::Number(n)) => builder.pool_max_idle(size(n)),
        (Field::PoolIdleTimeout, Value::Time(time)) => builder.pool_idle_timeout(time),
        (Field::RetryFirstDelay, Value::Time(time)) => builder.retry_first_delay(time),
        (Field::RetryMaxDelay, Value::Time(time)) => builder.retry_max_delay(time),
        (Field::RetryGiveUp, Value::Time(time)) => builder.retry_give_up(time),
        (Field::Scenario, Value::Scenario(scenario)) => builder.scenario(scenario),
        (Field::HighConcurrency, Value::Flag(on)) => builder.high_concurrency(on),
        (Field::Resilience, Value::Resilience(level)) => builder.resilience(level),
        (Field::WatchConfig, Value::Flag(on)) => builder.watch_config(on),
        (Field::SpoolDir, Value::Text(path)) => builder.spool_dir(path),
        (Field::SpoolMaxBytes, Value::Number(n)) => builder.spool_max_bytes(n),
        (Field::MaxAttributes, Value::Number(n)) => builder.max_attributes(size(n)),
        (Field::MaxAttributeLength, Value::Number(n)) => builder.max_attribute_length(size(n)),
        (Field::MaxEvents, Value::Number(n)) => builder.max_events(size(n)),
        (Field::MaxLinks, Value::Number(n)) => builder.max_links(size(n)),
        (Field::MaxSpanSize, Value::Number(n)) => builder.max_span_size(size(n)),
        (Field::Filter, Value::Text(text)) => builder.filter(text),
        (Field::SpanNameFilters, Value::NameFilters(filters)) => builder
            .include_spans(filters.include)
            .exclude_spans(filters.exclude),
        (Field::SampleRate, Value::Rate(rate)) => builder.sample_rate(rate),
        (Field::CaptureContent, Value::Flag(on)) => builder.capture_content(on),
        (Field::Redact, Value::Redact(redact)) => builder.redact(redact),
        (Field::SpanEvents, Value::Text(text)) => builder.span_events(text),
        (Field::DefaultEventType, Value::Text(text)) => builder.default_event_type(text),
        (Field::EventTypeFromName, Value::Flag(on)) => builder.event_type_from_name(on),
        (Field::TestMode, Value::Flag(on)) => builder.test_mode(on),
        (Field::DisableTracing, Value::Flag(on)) => builder.disable_tracing(on),
        (Field::Verbose, Value::Flag(on)) => builder.verbose(on),
        (field, value) => panic!("{field} does not take {value:?}"),
    }
}

fn admit(field: Field, text: &str) -> Value {
    let kind = field.row().unwrap().kind;
    kind.admit(Value::Text(text.to_owned())).unwrap().unwrap()
}

fn dotenv_line(name: &str, value: &str) -> String {
    format!("{name}='{value}'\n")
}

fn file_line(field: Field, value: &str) -> String {
    format!("{field} = {}\n", toml::Value::String(value.to_owned()))
}

#[test]
fn the_first_place_that_has_a_value_wins_for_every_field() {
    let default = Config::default();
    let resolved = Builder::new().resolve(&Sources::default()).unwrap();
    assert_eq!(resolved, default);

    for row in TABLE {
        let field = row.field;
        let [winner, other] = samples(field);
        assert_eq!(*resolved.source_of(field), Source::Default, "{field}");
        assert_ne!(default.value(field), Some(admit(field, winner)), "{field}");

        for place in 0..4 {
            // The place under test has the winner, every later one the other value.
            let sample = |index| if index == place { winner } else { other };
            let mut builder = Builder::new();
            if place == 0 {
                builder = set(builder, field, admit(field, winner));
            }
            let environment = [(row.variable, sample(1))];
            let sources = sources(
                if place <= 1 { &environment } else { &[] },
                (place <= 2)
                    .then(|| dotenv_line(row.variable, sample(2)))
                    .as_deref(),
                (place <= 3).then(|| file_line(field, sample(3))).as_deref(),
            );
            let config = builder.resolve(&sources).unwrap();
            assert_eq!(config.value(field), Some(admit(field, winner)), "{field}");
            let expected = match place {
                0 => Source::Code,
                1 => Source::Environment(row.variable.to_owned()),
                2 => Source::DotEnv(dotenv_path(), row.variable.to_owned()),
                _ => Source::File(file_path()),
            };
            assert_eq!(*config.source_of(field), expected, "{field}");
        }
    }
}

#[test]
fn aliases_are_asked_in_their_order_after_the_preferred_name() {
    for row in TABLE {
        let [winner, other] = samples(row.field);
        let mut names = vec![row.variable];
        names.extend(row.aliases.iter().map(|alias| alias.name()));
        for (start, name) in names.iter().enumerate() {
            let mut pairs: Vec<_> = names[start..].iter().map(|name| (*name, other)).collect();
            pairs[0].1 = winner;
            if start > 0
                && let Alias::Milliseconds(_) = row.aliases[start - 1]
            {
                pairs[0].1 = "250";
            }
            let dotenv: String = pairs
                .iter()
                .map(|(name, value)| dotenv_line(name, value))
                .collect();
            for config in [from_env(&pairs).unwrap(), from_dotenv(&dotenv).unwrap()] {
                assert_eq!(
                    config.value(row.field),
                    Some(admit(row.field, winner)),
                    "{name}"
                );
                assert!(config.source_of(row.field).to_string().starts_with(name));
                let alias =
                    |warning: &String| warning.starts_with(name) && warning.contains(row.variable);
                let warned = config.warnings.iter().any(alias);
                let expected = start > 0
                    && !matches!(
                        row.aliases[start - 1],
                        Alias::Shared(_) | Alias::Milliseconds(_)
                    );
                assert_eq!(warned, expected, "{name}: {:?}", config.warnings);
            }
        }
    }
}

#[test]
fn a_bad_value_of_any_field_says_all_that_is_needed_and_no_secret() {
    for row in TABLE {
        let field = row.field;
        let kind = row.kind;
        assert_eq!(
            refused(field).is_empty(),
            matches!(kind, Kind::Text | Kind::SessionId),
            "{field}"
        );
        for &bad in refused(field) {
            let messages = [
                (
                    row.variable.to_owned(),
                    message(from_env(&[(row.variable, bad)])),
                ),
                (
                    format!("{} in /somewhere/.env", row.variable),
                    message(from_dotenv(&dotenv_line(row.variable, bad))),
                ),
                (
                    "/somewhere/honeyhive.toml".to_owned(),
                    message(from_file(&file_line(field, bad))),
                ),
            ];
            for (origin, message) in messages {
                assert!(message.starts_with(&format!("{field}: ")), "{message}");
                assert!(message.contains(&origin), "{message}");
                let special = bad == "http://a.example" || bad.starts_with("authorization");
                if !special {
                    assert!(message.contains(&kind.accepted()), "{message}");
                }
                assert!(message.contains("expected "), "{message}");
                assert!(!message.contains("SECRET"), "{message}");
                let is_object = matches!(kind, Kind::Object);
                if !kind.is_secret() && !is_object && !bad.contains("SECRET") {
                    assert!(message.contains(&format!("{bad:?}")), "{message}");
                }
                assert!(!is_object || !message.contains(bad), "{message}");
            }
        }
    }
}

#[test]
fn bad_values_in_code_name_the_setter() {
    let second = Duration::from_secs(1);
    let bad = [
        (Field::ApiKey, Builder::new().api_key("SECRET key")),
        (
            Field::IngestionApiKey,
            Builder::new().ingestion_api_key("SECRET"),
        ),
        (Field::Project, Builder::new().project("a/b")),
        (Field::ServerUrl, Builder::new().server_url("a.example")),
        (
            Field::ServerUrl,
            Builder::new().server_url("http://a.example"),
        ),
        (
            Field::OtlpEndpoint,
            Builder::new().otlp_endpoint("https://u:SECRET@a.example"),
        ),
        (
            Field::OtlpEndpoint,
            Builder::new().otlp_endpoint("http://a.example"),
        ),
        (Field::Headers, Builder::new().header("a b", "SECRET")),
        (Field::Headers, Builder::new().header("a", "SECRET\r\nb: c")),
        (
            Field::Headers,
            Builder::new().header("Authorization", "SECRET"),
        ),
        (Field::BatchSize, Builder::new().batch_size(0)),
        (
            Field::MaxExportBatchSize,
            Builder::new().max_export_batch_size(10_001),
        ),
        (
            Field::FlushInterval,
            Builder::new().flush_interval(Duration::ZERO),
        ),
        (
            Field::ExportTimeout,
            Builder::new().export_timeout(second * 601),
        ),
        (
            Field::FlushTimeout,
            Builder::new().flush_timeout(Duration::MAX),
        ),
        (Field::MaxInFlight, Builder::new().max_in_flight(0)),
        (Field::MaxBatchBytes, Builder::new().max_batch_bytes(1)),
        (Field::PoolMaxIdle, Builder::new().pool_max_idle(201)),
        (
            Field::RetryFirstDelay,
            Builder::new().retry_first_delay(Duration::ZERO),
        ),
        (Field::MaxQueueSize, Builder::new().max_queue_size(0)),
        (
            Field::MaxQueueBytes,
            Builder::new().max_queue_bytes(usize::MAX),
        ),
        (Field::SpoolDir, Builder::new().spool_dir("a\0b")),
        (Field::SpoolMaxBytes, Builder::new().spool_max_bytes(1)),
        (Field::MaxAttributes, Builder::new().max_attributes(127)),
        (
            Field::MaxAttributeLength,
            Builder::new().max_attribute_length(1023),
        ),
        (Field::MaxEvents, Builder::new().max_events(0)),
        (Field::MaxLinks, Builder::new().max_links(10_001)),
        (Field::MaxSpanSize, Builder::new().max_span_size(1)),
        (Field::Filter, Builder::new().filter("a=b=c")),
        (Field::SpanEvents, Builder::new().span_events("a=b=c")),
        (
            Field::SpanNameFilters,
            Builder::new().span_name_filters("a").include_spans(["b"]),
        ),
        (Field::SpanNameFilters, Builder::new().exclude_spans([""])),
        (Field::SampleRate, Builder::new().sample_rate(f64::NAN)),
        (
            Field::Redact,
            Builder::new().redact(Redact::none().key(" ")),
        ),
        (
            Field::Redact,
            Builder::new().redact(Redact::default().pattern("(")),
        ),
        (
            Field::DefaultEventType,
            Builder::new().default_event_type("llm"),
        ),
    ];
    for (field, builder) in bad {
        let message = message(builder.resolve(&Sources::default()));
        assert!(message.starts_with(&format!("{field}: ")), "{message}");
        assert!(message.contains(&format!("Builder::{field}")), "{message}");
        assert!(!message.contains("SECRET"), "{message}");
    }
}

#[test]
fn wrong_types_and_unknown_keys_in_files() {
    for (content, expected) in [
        (
            "project = 3",
            "project: the value from /somewhere/honeyhive.toml is an integer; expected text",
        ),
        (
            "batch_size = -1",
            "is a negative number; expected a whole number from 1",
        ),
        ("batch_size = true", "is a boolean"),
        ("verbose = 1", "is an integer"),
        ("flush_interval = -0.5", "is an impossible number"),
        ("flush_interval = nan", "is an impossible number"),
        ("filter = ['info']", "is an array"),
        ("[source]\na = 1", "is a table"),
        ("source = 2020-01-01", "is a date"),
        ("headers = { a = true }", "is a table with a value"),
        (
            "batchsize = 1",
            "unknown setting `batchsize`; did you mean `batch_size`?",
        ),
        ("xyzzy = 1", "unknown setting `xyzzy`"),
        ("a = 1\n\napi_key = SECRET", "line 3 is not TOML"),
        ("api_key = \"SECRET", "line 1 is not TOML"),
    ] {
        let message = message(from_file(content));
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("/somewhere/honeyhive.toml"), "{message}");
        assert!(!message.contains("SECRET"), "{message}");
    }
    // What is overridden is not looked at.
    let overridden = sources(&[("HH_PROJECT", "p")], None, Some("project = 3"));
    assert!(Builder::new().resolve(&overridden).is_ok());
}

#[test]
fn files_take_typed_values() {
    let config = from_file(
        "\u{feff}batch_size = 7\r\nmax_span_size = 20971520\nflush_interval = 2.5\nexport_timeout = 3\n\
         flush_timeout = '500ms'\nverbose = true\nsource = ''\n[headers]\nX-Team = 'search'\nx-n = 3\n",
    )
    .unwrap();
    assert_eq!(config.batch_size(), 7);
    assert_eq!(config.max_span_size(), 20 << 20);
    assert_eq!(config.flush_interval(), Duration::from_millis(2500));
    assert_eq!(config.export_timeout(), Duration::from_secs(3));
    assert_eq!(config.flush_timeout(), Duration::from_millis(500));
    assert!(config.verbose());
    assert_eq!(config.source(), DEFAULT_SOURCE);
    let headers: Vec<_> = config.headers().collect();
    assert_eq!(headers, [("x-n", "3"), ("x-team", "search")]);
}

#[test]
fn filters_and_rates_in_files() {
    let config = from_file(
        "sample_rate = 0.5\n[span_name_filters]\ninclude = [{ type = 'prefix', value = 'a.' }]\nexclude = ['a.b']\n",
    )
    .unwrap();
    assert_eq!(config.sample_rate().to_string(), "0.5");
    assert_eq!(config.included_spans().collect::<Vec<_>>(), ["a."]);
    assert_eq!(config.excluded_spans().collect::<Vec<_>>(), ["a.b"]);
    let whole = from_file("sample_rate = 1").unwrap();
    assert_eq!(whole.sample_rate().to_string(), "1");
    assert!(message(from_file("sample_rate = 2")).contains("a number from 0 to 1"));
}

#[test]
fn functions_stay_and_are_not_written() {
    let redact = Redact::default().key("ssn").pattern("x+").with(|_, _| None);
    let config = Builder::new()
        .redact(redact.clone())
        .resolve(&Sources::default())
        .unwrap();
    assert_eq!(*config.redact(), redact);
    assert_eq!(
        config.redact().to_string(),
        "default,ssn, 1 pattern, 1 function"
    );
    let later = config.reconfigured(|builder| builder.source("x")).unwrap();
    assert_eq!(*later.redact(), redact);
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["redact"], "default,ssn");
}

#[test]
fn files_that_cannot_be_read() {
    let mut sources = Sources {
        file: Some(File {
            path: PathBuf::from("/nowhere/x.toml"),
            named: true,
            content: Err("no such file".to_owned()),
        }),
        ..Sources::default()
    };
    let message = message(Builder::new().resolve(&sources));
    let expected = "HH_CONFIG_FILE: /nowhere/x.toml cannot be read: no such file; expected";
    assert!(message.starts_with(expected), "{message}");
    sources.file = None;
    sources.dotenv = Some(DotEnv {
        path: dotenv_path(),
        unreadable: Some("permission denied".to_owned()),
        ..DotEnv::default()
    });
    let config = Builder::new().resolve(&sources).unwrap();
    assert!(config.warnings[0].contains("/somewhere/.env cannot be read"));
}

#[test]
fn a_broken_line_of_ours_in_an_env_file_is_an_error_unless_overridden() {
    let content = "HH_SOURCE='two words\nTHEIRS=\"two words\n";
    let text = message(from_dotenv(content));
    assert!(
        text.starts_with("source: the value of HH_SOURCE in /somewhere/.env"),
        "{text}"
    );
    assert!(!text.contains("two words"), "{text}");
    let overridden = sources(&[], Some(content), None);
    let config = Builder::new().source("x").resolve(&overridden).unwrap();
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn switches_are_checked_too() {
    let text = message(from_env(&[("HH_HIGH_CONCURRENCY", "maybe")]));
    assert!(
        text.starts_with("high_concurrency: \"maybe\" from HH_HIGH_CONCURRENCY"),
        "{text}"
    );
    assert!(from_env(&[("HH_HIGH_CONCURRENCY", " ")]).is_ok());
    assert!(from_env(&[("HH_HIGH_CONCURRENCY", "Off")]).is_ok());
    let text = message(from_dotenv("HH_CONFIG_FILE='x"));
    assert!(
        text.starts_with("HH_CONFIG_FILE: the value of HH_CONFIG_FILE in"),
        "{text}"
    );
}

#[test]
fn blank_is_unset_everywhere() {
    for row in TABLE {
        for blank in ["", "  ", "\t"] {
            let sources = sources(
                &[(row.variable, blank)],
                Some(&dotenv_line(row.variable, blank)),
                Some(&file_line(row.field, blank)),
            );
            let config = Builder::new().resolve(&sources).unwrap();
            assert_eq!(config, Config::default(), "{}", row.field);
        }
    }
    let config = Builder::new()
        .api_key(" ")
        .server_url("")
        .session_id("")
        .resolve(&Sources::default());
    assert_eq!(config.unwrap(), Config::default());
    // Quotes around nothing, as container files leave them.
    let config = from_env(&[("HH_API_KEY", "\"\""), ("HH_API_URL", "''")]).unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn quotes_and_spaces_around_keys_and_urls_are_removed() {
    let config = from_env(&[
        ("HH_API_KEY", " \"hh_key\"\r"),
        ("HH_API_URL", "'https://a.example/'"),
    ])
    .unwrap();
    assert_eq!(config.api_key.as_ref().unwrap().expose(), "hh_key");
    assert_eq!(config.server_url(), "https://a.example");
    assert!(!config.server_url_is_default);
}

#[test]
fn yes_and_no_in_many_words() {
    for (words, expected) in [
        (["true", "1", "yes", "on", "enabled", "TRUE", " On "], true),
        (
            ["false", "0", "no", "off", "disabled", "FALSE", " Off "],
            false,
        ),
    ] {
        for word in words {
            assert_eq!(
                from_env(&[("HH_VERBOSE", word)]).unwrap().verbose(),
                expected
            );
        }
    }
}

#[test]
fn a_malformed_session_id_is_reported_and_replaced() {
    let code = Builder::new().session_id("nonsense");
    let results = [
        code.resolve(&sources(
            &[("HH_SESSION_ID", samples(Field::SessionId)[0])],
            None,
            None,
        )),
        from_env(&[
            ("HH_SESSION_ID", "nonsense"),
            ("SESSION_ID", samples(Field::SessionId)[0]),
        ]),
        from_dotenv("HH_SESSION_ID=nonsense"),
        from_file("session_id = 'nonsense'"),
    ];
    for config in results {
        let config = config.unwrap();
        assert_eq!(config.session_id, None);
        assert!(config.session_id_invalid);
        assert_ne!(*config.source_of(Field::SessionId), Source::Default);
        assert_eq!(config.warnings.len(), 1);
        assert!(config.warnings[0].starts_with("session_id: \"nonsense\" from"));
        let later = config.reconfigured(|builder| builder.source("x")).unwrap();
        assert!(later.session_id_invalid && later.warnings.is_empty());
        let id = samples(Field::SessionId)[0];
        let later = config
            .reconfigured(|builder| builder.session_id(id))
            .unwrap();
        assert!(!later.session_id_invalid);
        assert_eq!(later.session_id().as_deref(), Some(id));
    }
    let upper = samples(Field::SessionId)[0].to_uppercase();
    let config = from_env(&[("HH_SESSION_ID", &upper)]).unwrap();
    assert_eq!(
        config.session_id().as_deref(),
        Some(samples(Field::SessionId)[0])
    );
}

#[test]
fn bad_values_of_names_that_others_use_are_ignored_with_a_warning() {
    for (name, value, field) in [
        ("SESSION_ID", "nonsense", Field::SessionId),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", Field::Protocol),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", Field::Compression),
    ] {
        let config = from_env(&[(name, value)]).unwrap();
        assert_eq!(*config.source_of(field), Source::Default);
        assert!(!config.session_id_invalid);
        assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
        assert!(config.warnings[0].contains(name) && config.warnings[0].ends_with("it is ignored"));
    }
}

#[test]
fn unknown_variables_are_named_with_the_nearest_known_one() {
    let sources = sources(
        &[
            ("HH_BATCHSIZE", "SECRET"),
            ("HH_MAX_LINKS", "3"),
            ("HH_HIGH_CONCURRENCY", "1"),
            ("HOME", "/"),
        ],
        Some("HONEYHIVE_APIKEY=SECRET\nTHEIRS=1\n"),
        None,
    );
    let config = Builder::new().resolve(&sources).unwrap();
    assert_eq!(
        config.warnings,
        [
            "unknown variable HH_BATCHSIZE; did you mean HH_BATCH_SIZE? (in the environment)",
            "unknown variable HONEYHIVE_APIKEY; did you mean HONEYHIVE_API_KEY? (in /somewhere/.env)",
        ]
    );
}

#[cfg(unix)]
#[test]
fn what_is_not_utf_8_is_ignored_and_named_if_it_is_ours() {
    use std::os::unix::ffi::OsStringExt;

    let bytes = || OsString::from_vec(b"HH_\xff".to_vec());
    let sources = Sources {
        environment: BTreeMap::from([
            ("HH_SOURCE".into(), bytes()),
            ("OTHER".into(), bytes()),
            (bytes(), "x".into()),
        ]),
        ..Sources::default()
    };
    let config = Builder::new().resolve(&sources).unwrap();
    assert_eq!(config.source(), DEFAULT_SOURCE);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    assert!(config.warnings[0].starts_with("HH_SOURCE in the environment is not UTF-8"));
    assert!(config.warnings[1].starts_with("unknown variable HH_\u{fffd}"));
}

#[test]
fn what_depends_on_another_setting() {
    let none = Sources::default();
    let insecure = Builder::new().server_url("http://a.example");
    let message = message(insecure.clone().resolve(&none));
    assert!(message.contains("allow_insecure") && message.contains("HH_ALLOW_INSECURE"));
    assert!(insecure.allow_insecure(true).resolve(&none).is_ok());
    assert!(
        Builder::new()
            .server_url("http://127.0.0.1:1")
            .resolve(&none)
            .is_ok()
    );

    let error = Builder::new().require_key().resolve(&none).unwrap_err();
    assert!(error.to_string().contains("HH_API_KEY"));
    assert!(
        Builder::new()
            .require_key()
            .api_key(KEY)
            .resolve(&none)
            .is_ok()
    );
    let ingestion = Builder::new()
        .require_key()
        .ingestion_api_key(INGESTION_KEY);
    assert!(ingestion.resolve(&none).is_ok());

    // An unset span limit makes room for the longest value.
    let config = Builder::new()
        .max_attribute_length(20 << 20)
        .resolve(&none)
        .unwrap();
    assert_eq!(
        (config.max_span_size(), config.warnings.len()),
        (20 << 20, 0)
    );

    let lambda = none.clone().with_usual(Usual::new(|usage| {
        let volume = usage.scenario == Scenario::HighVolume;
        vec![Number {
            field: Field::MaxQueueBytes,
            value: Value::Number(if volume { 32 } else { 16 } << 20),
            why: "a test says so".to_owned(),
        }]
    }));
    let config = Builder::new().resolve(&lambda).unwrap();
    assert_eq!(config.max_queue_bytes(), 16 << 20);
    assert_eq!(*config.source_of(Field::MaxQueueBytes), Source::Default);
    assert_eq!(config.reconfigured(|builder| builder).unwrap(), config);
    let volume = config.reconfigured(|builder| builder.scenario(Scenario::HighVolume));
    assert_eq!(volume.unwrap().max_queue_bytes(), 32 << 20);
    let set = Builder::new().max_queue_bytes(8 << 20).resolve(&lambda);
    assert_eq!(set.unwrap().max_queue_bytes(), 8 << 20);
}

#[test]
fn without_tls_https_is_an_error_only_where_it_would_be_used() {
    let config = |builder: Builder| builder.resolve(&Sources::default()).unwrap();
    assert!(config(Builder::new()).check(false).is_ok());
    for builder in [
        Builder::new().api_key(KEY),
        Builder::new().otlp_endpoint("https://a.example/v1/traces"),
    ] {
        let error = config(builder.clone())
            .check(false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("feature `rustls`"), "{error}");
        assert!(config(builder.clone()).check(true).is_ok());
        assert!(config(builder.test_mode(true)).check(false).is_ok());
    }
    let local = Builder::new().api_key(KEY).server_url("http://localhost:1");
    assert!(config(local).check(false).is_ok());
}

const RESILIENT: (&str, &str) = ("HH_RESILIENCE_LEVEL", "resilient");
const STRICT: (&str, &str) = ("HH_RESILIENCE_LEVEL", "strict");

#[test]
fn nothing_is_an_error_where_nothing_may_be_one() {
    for row in TABLE {
        if row.field == Field::Resilience {
            continue;
        }
        let [good, _] = samples(row.field);
        for &bad in refused(row.field) {
            let insecure = bad == "http://a.example" || bad.starts_with("authorization");
            // The next source holds.
            let sources = sources(
                &[RESILIENT, (row.variable, bad)],
                (!insecure)
                    .then(|| dotenv_line(row.variable, good))
                    .as_deref(),
                None,
            );
            let config = Builder::new().resolve(&sources).unwrap();
            let named = |warning: &String| warning.starts_with(&format!("{}: ", row.field));
            assert!(config.warnings.iter().any(named), "{:?}", config.warnings);
            assert!(!format!("{config:?}").contains("SECRET"));
            if insecure {
                let kept_back = config.disable_tracing || config.headers.is_empty();
                assert!(kept_back, "{}", row.field);
                continue;
            }
            assert_eq!(config.value(row.field), Some(admit(row.field, good)));
            // Else the default, and never more than was meant.
            let config = from_env(&[RESILIENT, (row.variable, bad)]).unwrap();
            let careful = config.disable_tracing || !config.capture_content;
            let guards = [
                Field::ServerUrl,
                Field::OtlpEndpoint,
                Field::TestMode,
                Field::DisableTracing,
                Field::OtlpEnabled,
                Field::CaptureContent,
                Field::Redact,
                Field::SpanNameFilters,
            ];
            assert_eq!(careful, guards.contains(&row.field), "{}", row.field);
            let config = from_file(&format!(
                "resilience = 'resilient'\n{}",
                file_line(row.field, bad)
            ));
            assert!(config.is_ok(), "{}", row.field);
        }
    }
    // Files as a whole, and what code says.
    for file in ["[", "batchsize = 1\nbatch_size = 7", "batch_size = []"] {
        let sources = sources(
            &[RESILIENT],
            Some("HH_SOURCE='x\nHH_CONFIG_FILE='y"),
            Some(file),
        );
        let config = Builder::new()
            .require_key()
            .event_type_rule("", "", "")
            .resolve(&sources)
            .unwrap();
        assert!(config.warnings.len() >= 4, "{:?}", config.warnings);
        assert_eq!(config.batch_size() == 7, file.starts_with("batchsize"));
    }
    let url = "https://a.example";
    let builder = Builder::new()
        .resilience(ResilienceLevel::Resilient)
        .api_key(KEY)
        .server_url(url);
    let config = builder.clone().resolve(&Sources::default()).unwrap();
    assert!(config.warnings.is_empty() && !config.disable_tracing);
    let mut without_tls = config.clone();
    without_tls.live_with_problems(false);
    assert!(without_tls.disable_tracing && without_tls.warnings.len() == 1);
    // A change that is no good is one for the caller to leave out.
    assert!(config.reconfigured(|b| b.batch_size(0)).is_err());
    // What is held back stays so until it can be understood.
    let config = from_env(&[
        RESILIENT,
        ("HH_API_KEY", KEY),
        ("HH_API_URL", "htps://a.example"),
        ("HH_CAPTURE_CONTENT", "flase"),
    ])
    .unwrap();
    assert!(config.disable_tracing && !config.capture_content);
    let later = config.reconfigured(|b| b.batch_size(5)).unwrap();
    assert!(later.disable_tracing && !later.capture_content);
    assert!(later.warnings.is_empty(), "{:?}", later.warnings);
    let file = |content: &str| File {
        path: file_path(),
        named: false,
        content: Ok(content.to_owned()),
    };
    let later = later.reloaded(file("batch_size = 6")).unwrap();
    assert!(later.disable_tracing && !later.capture_content);
    let later = later.reloaded(file("capture_content = true")).unwrap();
    assert!(later.disable_tracing && later.capture_content);
    let later = later.reconfigured(|b| b.server_url(url)).unwrap();
    assert!(!later.disable_tracing && later.server_url() == url);

    // The level itself must be one.
    let text = message(from_env(&[("HH_RESILIENCE_LEVEL", "relaxed")]));
    assert!(
        text.contains("`strict`, `balanced` or `resilient`"),
        "{text}"
    );
}

#[test]
fn warnings_are_errors_where_all_is() {
    let key = ("HH_API_KEY", KEY);
    assert!(from_env(&[STRICT, key]).is_ok());
    for (variables, expected) in [
        (&[STRICT][..], "api_key: none is set"),
        (&[STRICT, key, ("HH_BATCHSIZE", "1")], "HH_BATCH_SIZE"),
        (
            &[STRICT, key, ("HH_SESSION_ID", "nonsense")],
            "session_id: \"nonsense\"",
        ),
        (
            &[STRICT, key, ("HONEYHIVE_SERVER_URL", "https://a.example")],
            "deprecated",
        ),
        (&[STRICT, key, ("RUN_ID", "r")], "RUN_ID sets run_id"),
        (
            &[STRICT, key, ("HH_BATCH_SIZE", "600")],
            "max_export_batch_size",
        ),
        (&[STRICT, ("HH_API_URL", "https://a.example")], "api_key"),
    ] {
        let text = message(from_env(variables));
        assert!(text.contains(expected), "{text}");
    }
    for variables in [
        [STRICT, ("HH_TEST_MODE", "1")],
        [STRICT, ("HH_DISABLE_TRACING", "1")],
        [STRICT, ("HH_API_URL", "http://localhost:1")],
        [STRICT, ("HH_OTLP_ENDPOINT", "https://a.example/v1/traces")],
    ] {
        assert!(from_env(&variables).is_ok(), "{variables:?}");
    }
    // What others share is theirs.
    let config = from_env(&[STRICT, key, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap();
    assert_eq!(config.warnings.len(), 1);
    // Each place may say it.
    assert!(from_dotenv("HH_RESILIENCE_LEVEL=strict").is_err());
    assert!(from_file("resilience = 'strict'").is_err());
    let strict = Builder::new().resilience(ResilienceLevel::Strict);
    assert!(strict.clone().resolve(&Sources::default()).is_err());
    let overridden = sources(&[RESILIENT], None, Some("batch_size = 0"));
    assert!(strict.api_key(KEY).resolve(&overridden).is_err());
    let config = from_env(&[STRICT, key]).unwrap();
    assert!(config.reconfigured(|b| b.batch_size(600)).is_err());
}

#[test]
fn another_file_changes_what_nobody_else_set() {
    let file = |content: &str| File {
        path: file_path(),
        named: false,
        content: Ok(content.to_owned()),
    };
    let sources = sources(
        &[("HH_SOURCE", "env")],
        None,
        Some("source = 'file'\nbatch_size = 7\nfilter = 'warn'\nsession_id = 'x'"),
    );
    let config = Builder::new()
        .project("code")
        .resolve(&sources)
        .unwrap()
        .reconfigured(|b| b.max_links(3))
        .unwrap();
    assert!(config.session_id_invalid);
    let later = config
        .reloaded(file(
            "project = 'file'\nsource = 'later'\nbatch_size = 8\nmax_links = 4\nmax_events = 5",
        ))
        .unwrap();
    assert_eq!(
        (later.project(), later.source(), later.max_links()),
        (Some("code"), "env", 3)
    );
    assert_eq!((later.batch_size(), later.max_events()), (8, 5));
    assert_eq!(later.filter(), DEFAULT_FILTER, "it is not there any more");
    assert!(!later.session_id_invalid);
    assert_eq!(
        *later.source_of(Field::BatchSize),
        Source::File(file_path())
    );
    for broken in [
        "batch_size = 0",
        "batchsize = 1",
        "[",
        "server_url = 'http://a.example'",
    ] {
        assert!(config.reloaded(file(broken)).is_err());
        let resilient = config.reconfigured(|b| b.resilience(ResilienceLevel::Resilient));
        assert!(resilient.unwrap().reloaded(file(broken)).is_err());
    }
}

#[test]
fn variables_of_opentelemetry_come_after_ours_and_in_milliseconds() {
    let second = Duration::from_secs(1);
    let config = from_env(&[
        ("OTEL_BSP_SCHEDULE_DELAY", "1000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "9000"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "30000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2048"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "256"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        // Where to, and with whose key: not for us.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://collector:4318",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-vendor-key=SECRET"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-vendor-key=SECRET"),
    ])
    .unwrap();
    assert_eq!(config.flush_interval(), second);
    assert_eq!(config.export_timeout(), 2 * second);
    assert_eq!(config.max_queue_size(), 2048);
    assert_eq!(config.max_export_batch_size(), 256);
    assert_eq!(config.compression(), Compression::Gzip);
    assert_eq!(config.protocol(), Protocol::HttpJson);
    assert_eq!(
        (config.otlp_endpoint(), config.headers().count()),
        (None, 0)
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);

    let config = from_env(&[
        ("OTEL_BSP_SCHEDULE_DELAY", "1000"),
        ("HH_FLUSH_INTERVAL", "3"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
        ("OTEL_SDK_DISABLED", "TRUE"),
    ])
    .unwrap();
    assert_eq!(config.flush_interval(), 3 * second);
    assert_eq!(config.export_timeout(), 10 * second);
    assert_eq!(config.max_queue_size(), DEFAULT_MAX_QUEUE_SIZE);
    assert!(config.disable_tracing());
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    let config = from_env(&[("OTEL_SDK_DISABLED", "true"), ("HH_DISABLE_TRACING", "no")]);
    assert!(!config.unwrap().disable_tracing());
}

#[test]
fn a_spool_without_its_feature_or_its_directory_is_a_warning() {
    let warnings = |variables: &[(&str, &str)]| from_env(variables).unwrap().warnings().to_vec();
    let set = warnings(&[("HH_SPOOL_DIR", "/a"), ("HH_SPOOL_MAX_BYTES", "2MiB")]);
    assert_eq!(set.is_empty(), cfg!(feature = "spool"), "{set:?}");
    let alone = warnings(&[("HH_SPOOL_MAX_BYTES", "2MiB")]);
    assert!(alone[0].contains("HH_SPOOL_MAX_BYTES") && alone[0].contains("HH_SPOOL_DIR"));
}

#[test]
fn contradictions_name_both_sides() {
    let second = Duration::from_secs(1);
    let url = "https://a.example/v1/traces";
    for (builder, one, other) in [
        (
            Builder::new().disable_batch(true).batch_size(5),
            "batch_size",
            "disable_batch",
        ),
        (
            Builder::new().disable_batch(true).flush_interval(second),
            "flush_interval",
            "disable_batch",
        ),
        (
            Builder::new().batch_size(20).max_export_batch_size(10),
            "max_export_batch_size",
            "batch_size",
        ),
        (
            Builder::new().batch_size(600),
            "max_export_batch_size",
            "batch_size",
        ),
        (
            Builder::new().test_mode(true).otlp_endpoint(url),
            "otlp_endpoint",
            "test_mode",
        ),
        (
            Builder::new().disable_tracing(true).otlp_endpoint(url),
            "otlp_endpoint",
            "disable_tracing",
        ),
        (
            Builder::new().otlp_enabled(false).otlp_endpoint(url),
            "otlp_endpoint",
            "otlp_enabled",
        ),
        (
            Builder::new().otlp_enabled(false).header("a", "b"),
            "headers",
            "otlp_enabled",
        ),
        (
            Builder::new().max_queue_size(10),
            "max_queue_size",
            "batch_size",
        ),
        (
            Builder::new().flush_on_timer(false).flush_interval(second),
            "flush_interval",
            "flush_on_timer",
        ),
        (
            Builder::new().retry_max_delay(second / 4),
            "retry_max_delay",
            "retry_first_delay",
        ),
        (
            Builder::new().max_queue_bytes(2 << 20),
            "max_queue_bytes",
            "max_span_size",
        ),
        (
            Builder::new().max_span_size(1 << 20),
            "max_span_size",
            "max_attribute_length",
        ),
        (
            Builder::new()
                .api_key(KEY)
                .otlp_endpoint(url)
                .header("Authorization", "SECRET"),
            "headers",
            "otlp_endpoint",
        ),
    ] {
        let config = builder.resolve(&Sources::default()).unwrap();
        assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
        let warning = &config.warnings[0];
        assert!(
            warning.contains(one) && warning.contains(other),
            "{warning}"
        );
        assert!(!warning.contains("SECRET"));
    }
    let quiet = Builder::new().test_mode(true).disable_batch(true);
    let config = quiet.resolve(&Sources::default()).unwrap();
    assert!(config.warnings.is_empty());
}

#[test]
fn a_change_keeps_what_was_set_and_by_whom() {
    let config = from_env(&[
        ("HH_API_KEY", KEY),
        ("HH_OTLP_HEADERS", "a=1"),
        ("HH_BATCHSIZE", "1"),
    ]);
    let config = config.unwrap();
    assert_eq!(config.warnings.len(), 1);
    let changed = config
        .reconfigured(|builder| builder.source("prod").header("b", "2"))
        .unwrap();
    assert_eq!(changed.api_key, config.api_key);
    assert_eq!(
        changed.source_of(Field::ApiKey),
        config.source_of(Field::ApiKey)
    );
    assert_eq!(changed.source(), "prod");
    assert_eq!(
        changed.headers().collect::<Vec<_>>(),
        [("a", "1"), ("b", "2")]
    );
    assert_eq!(*changed.source_of(Field::Headers), Source::Code);
    assert!(changed.warnings.is_empty());
    let without = changed.reconfigured(|builder| builder.api_key("")).unwrap();
    assert_eq!(without.api_key, None);
    assert!(
        config
            .reconfigured(|builder| builder.batch_size(0))
            .is_err()
    );
}

#[test]
fn secrets_are_masked_wherever_they_are_printed() {
    let builder = Builder::new()
        .api_key(KEY)
        .ingestion_api_key(INGESTION_KEY)
        .otlp_endpoint("https://a.example")
        .header("Authorization", "Bearer SECRET");
    let config = builder.clone().resolve(&Sources::default()).unwrap();
    let url = Builder::new().server_url("https://u:SECRET@a.example");
    let texts = [
        format!("{builder:?}"),
        format!("{url:?}"),
        format!("{:?}", url.resolve(&Sources::default()).unwrap_err()),
        format!("{config:?}"),
        format!("{config:#?}"),
        config.to_string(),
        serde_json::to_string(&config).unwrap(),
        toml::to_string(&config).unwrap(),
        format!("{:?}", config.masked()),
        format!("{:?}", config.settings().collect::<Vec<_>>()),
    ];
    for text in texts {
        assert!(
            !text.contains("SECRET") && !text.contains("0123456789"),
            "{text}"
        );
    }
    // The last four characters of this one are not the secret part.
    assert!(format!("{config:?}").contains("hh_…bbbb"));
}

#[test]
fn configurations_go_anywhere() {
    fn anywhere<T: Send + Sync + Clone + std::panic::UnwindSafe + 'static>() {}
    anywhere::<Config>();
    anywhere::<Builder>();
    anywhere::<ApiKey>();
    anywhere::<Source>();
}

#[test]
fn settings_are_listed_with_value_and_source() {
    let config = from_env(&[
        ("HH_API_KEY", "hh_abcdefghijklmnop"),
        ("HH_FLUSH_INTERVAL", "0.5"),
    ]);
    let text = config.unwrap().to_string();
    assert_eq!(text.lines().count(), Field::ALL.len());
    for line in [
        "api_key = hh_…mnop (HH_API_KEY in the environment)",
        "flush_interval = 500ms (HH_FLUSH_INTERVAL in the environment)",
        "project = - (default)",
        "max_queue_size = 262144 (default)",
        "protocol = http/protobuf (default)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn documented_defaults_are_the_defaults() {
    let config = Config::default();
    for row in TABLE {
        let documented = (row.default)();
        let value = row
            .kind
            .admit(Value::Text(documented.clone()))
            .ok()
            .flatten();
        let described = matches!(
            row.field,
            Field::SessionName
                | Field::ServiceName
                | Field::MaxQueueBytes
                | Field::MaxBatchBytes
                | Field::MaxInFlight
                | Field::FlushOnTimer
                | Field::LifecycleTimeout
                | Field::PoolMaxIdle
                | Field::PoolIdleTimeout
                | Field::RetryFirstDelay
                | Field::MaxSpanSize
        );
        if documented != "none" && !described && value.is_some() {
            assert_eq!(config.value(row.field), value, "{}", row.field);
        } else if row.field != Field::Compression && !described {
            assert_eq!(
                config.value(row.field).is_some(),
                row.field == Field::ServerUrl,
                "{}",
                row.field
            );
        }
    }
}

#[test]
fn the_example_of_the_page_is_taken() {
    let page = include_str!("../docs/configuration.md").replace("\r\n", "\n");
    let example = page.split_once("```toml\n").unwrap().1;
    let config = from_file(example.split_once("```").unwrap().0).unwrap();
    assert_eq!(config.sources.len(), 5);
    assert!(config.warnings.is_empty());
}

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

/// The part of the configuration page that the table knows.
fn generated() -> String {
    use std::fmt::Write;

    let cell = |text: &str| text.replace('|', "\\|");
    let mut page = "| Variable | Setting | Default | Meaning |\n|---|---|---|---|\n".to_owned();
    for row in TABLE {
        let mut names = format!("`{}`", row.variable);
        for alias in row.aliases {
            let remark = match alias {
                Alias::Deprecated(_) => " (deprecated)",
                Alias::Bare(_) => " (with a warning)",
                Alias::Shared(_) => "",
                Alias::Milliseconds(_) => " (milliseconds)",
            };
            write!(names, ", `{}`{remark}", alias.name()).unwrap();
        }
        let accepted = match row.kind {
            Kind::Text => String::new(),
            Kind::Flag => " Accepted: yes or no.".to_owned(),
            kind => format!(" Accepted: {}.", kind.accepted()),
        };
        let field = row.field;
        let default = (row.default)();
        writeln!(
            page,
            "| {names} | [`{field}`](Builder::{field}) | {} | {}{} |",
            if default.contains(' ') || default == "none" {
                default
            } else {
                format!("`{default}`")
            },
            cell(row.doc),
            cell(&accepted)
        )
        .unwrap();
    }
    page.push_str("\nVariables that decide where settings and defaults come from:\n\n");
    page.push_str("| Variable | Accepted | Meaning |\n|---|---|---|\n");
    for (name, accepted, doc) in SWITCHES {
        writeln!(page, "| `{name}` | {accepted} | {} |", cell(doc)).unwrap();
    }
    page
}

/// `UPDATE_DOCS=1 cargo test the_configuration_page` writes the page anew.
#[test]
fn the_configuration_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let wanted = format!("{head}{BEGIN}\n{}\n{END}{tail}", generated());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, wanted).unwrap();
    } else {
        assert!(
            page == wanted,
            "run `UPDATE_DOCS=1 cargo test the_configuration_page`"
        );
    }
}

#[test]
fn objects_are_tables_in_the_file() {
    let config = from_file("[session_inputs]\nq = 1\nlist = [\"a\"]\n").unwrap();
    let inputs = config.session_inputs().unwrap();
    assert_eq!(inputs["q"], 1);
    assert_eq!(inputs["list"][0], "a");
    let builder = Builder::new().user_properties([1, 2]);
    let error = builder.resolve(&Sources::default()).unwrap_err();
    assert!(
        error.to_string().contains("expected a JSON object"),
        "{error}"
    );
}

fn assert_no_secret(result: &Result<Config, Error>) {
    let texts = match result {
        Ok(config) => vec![
            format!("{config:?} {config}"),
            serde_json::to_string(config).unwrap(),
            toml::to_string(config).unwrap(),
        ],
        Err(error) => vec![format!("{error:?} {error}")],
    };
    for text in texts {
        assert!(!text.contains(KEY), "{text}");
    }
}

fn name() -> impl proptest::strategy::Strategy<Value = &'static str> {
    let names: Vec<_> = TABLE
        .iter()
        .flat_map(|row| {
            std::iter::once(row.variable).chain(row.aliases.iter().map(|alias| alias.name()))
        })
        .chain([CONFIG_FILE, "HH_UNKNOWN", "HONEYHIVE_"])
        .filter(|name| *name != "HH_API_KEY")
        .collect();
    proptest::sample::select(names)
}

proptest! {
    #[test]
    fn any_text_in_any_place_neither_panics_nor_shows_the_key(
        pairs in proptest::collection::vec((name(), any::<String>()), 0..6),
        dotenv in any::<String>(),
        file in any::<String>(),
    ) {
        let mut environment: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        environment.push(("HH_API_KEY", KEY));
        assert_no_secret(&from_env(&environment));
        let dotenv = format!("HH_API_KEY={KEY}\n{dotenv}\nHH_API_KEY={KEY}{dotenv}");
        assert_no_secret(&from_dotenv(&dotenv));
        assert_no_secret(&from_file(&format!("api_key = \"{KEY}\"\n{file}")));
        assert_no_secret(&from_file(&format!("api_key = {KEY}{file}")));
        let content: String = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        assert_no_secret(&from_dotenv(&format!("{content}HH_API_KEY={KEY}\n")));
        let _ = known::unknown(&dotenv);
    }

    #[test]
    fn any_configuration_goes_through_json_and_toml(
        choices in proptest::collection::vec(0_usize..4, Field::ALL.len()),
        places in proptest::collection::vec(0..4, Field::ALL.len()),
        nanoseconds in 10_000_000_u64..3_600_000_000_000,
        broken_session in any::<bool>(),
    ) {
        let mut builder = Builder::new().flush_interval(Duration::from_nanos(nanoseconds));
        let (mut environment, mut dotenv, mut file) = (Vec::new(), String::new(), String::new());
        for ((row, choice), place) in TABLE.iter().zip(choices).zip(places) {
            let Some(sample) = samples(row.field).get(choice).copied() else { continue };
            match place {
                0 => builder = set(builder, row.field, admit(row.field, sample)),
                1 => environment.push((row.variable, sample)),
                2 => dotenv.push_str(&dotenv_line(row.variable, sample)),
                _ => file.push_str(&file_line(row.field, sample)),
            }
        }
        if broken_session {
            builder = builder.session_id("nonsense");
        }
        let config = builder.resolve(&sources(&environment, Some(&dotenv), Some(&file))).unwrap();
        let json = serde_json::to_string(&config).unwrap();
        let back: Config = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back, &config.masked());
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), json);
        let written = toml::to_string(&config).unwrap();
        let back: Config = toml::from_str(&written).unwrap();
        prop_assert_eq!(&back, &config.masked());
        prop_assert_eq!(toml::to_string(&back).unwrap(), written);
        // A change that changes nothing; what was warned about before is not repeated.
        let same = config.reconfigured(|builder| builder).unwrap();
        let without = |config: &Config| Config { warnings: Vec::new(), ..config.clone() };
        prop_assert_eq!(without(&same), without(&config));
    }
}
