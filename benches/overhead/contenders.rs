//! Who is measured.

use std::time::Duration;

use honeyhive::{Builder, HoneyHive};
use tracing::Subscriber;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use crate::paced;
use crate::work::Tracing;

pub(crate) const REGISTRY: &str = "registry";
pub(crate) const OURS: &str = "honeyhive";
/// With the events of the level of the others, which take all of them.
pub(crate) const OURS_EVENTS: &str = "honeyhive-events";
pub(crate) const OTEL: &str = "tracing-opentelemetry";
pub(crate) const OTEL_LEAN: &str = "tracing-opentelemetry-lean";

/// `run CONTENDER WORKLOAD URL [ROUNDS]`, in a process of its own.
pub(crate) fn run(contender: &str, workload: &str, url: &str, rounds: Option<usize>) {
    let flush = init(contender, url);
    paced::say(paced::measure::<Tracing>(workload, rounds, &*flush));
    flush();
}

/// Sets the global subscriber; the answer is the contender's flush.
pub(crate) fn init(contender: &str, url: &str) -> Box<dyn Fn()> {
    match contender {
        REGISTRY => {
            tracing_subscriber::registry().with(Nothing).init();
            Box::new(|| {})
        }
        OURS => ours(url, |builder| builder),
        OURS_EVENTS => ours(url, |builder| builder.span_events("info")),
        OTEL | OTEL_LEAN => {
            let provider = opentelemetry(url, contender == OTEL_LEAN);
            Box::new(move || provider.force_flush().expect("a flush"))
        }
        other => panic!("no contender {other}"),
    }
}

/// This layer as it comes, but for `change`.
pub(crate) fn ours(url: &str, change: fn(Builder) -> Builder) -> Box<dyn Fn()> {
    let honeyhive = instance(url, change);
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    Box::new(move || flush(&honeyhive))
}

pub(crate) fn instance(url: &str, change: impl FnOnce(Builder) -> Builder) -> HoneyHive {
    let builder = HoneyHive::builder().server_url(url);
    change(builder).build().expect("an instance")
}

pub(crate) fn flush(honeyhive: &HoneyHive) {
    honeyhive
        .flush_blocking(Duration::from_secs(60))
        .expect("a flush");
}

pub(crate) fn opentelemetry(url: &str, lean: bool) -> opentelemetry_sdk::trace::SdkTracerProvider {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};

    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(reqwest::blocking::Client::new())
        .with_endpoint(format!("{url}/v1/traces"))
        .build()
        .expect("an exporter");
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    let mut layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    if lean {
        layer = layer
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false);
    }
    tracing_subscriber::registry().with(layer).init();
    provider
}

/// A layer that does nothing. A bare registry would never free a span.
pub(crate) struct Nothing;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Nothing {}
