//! Other tracing libraries, under the workloads of `benches/overhead`, which starts this program:
//! `compare CONTENDER WORKLOAD URL [ROUNDS]` prints nanoseconds a span on the thread, in total, and how many were made.

#[path = "../../overhead/paced.rs"]
mod paced;
#[path = "../../overhead/work.rs"]
mod work;

use std::borrow::Cow;
use std::time::Duration;

use fastrace::Event;
use fastrace::future::FutureExt as _;
use fastrace::local::LocalSpan;
use fastrace::prelude::{Span, SpanContext};

use paced::{Cost, TRACE, Work};
use work::TEXT;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [contender, workload, url, rest @ ..] = words.as_slice() else {
        panic!("a contender, a workload, an address");
    };
    let rounds = rest.first().and_then(|rounds| rounds.parse().ok());
    let _ = rustls::crypto::ring::default_provider().install_default();
    paced::say(match *contender {
        "fastrace" => fastrace(workload, url, rounds),
        "sentry" => sentry(workload, url, rounds),
        other => panic!("no contender {other}"),
    });
}

fn fastrace(workload: &str, url: &str, rounds: Option<usize>) -> Cost {
    use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};

    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(reqwest::blocking::Client::new())
        .with_endpoint(format!("{url}/v1/traces"))
        .build()
        .expect("an exporter");
    let reporter = fastrace_opentelemetry::OpenTelemetryReporter::new(
        exporter,
        Cow::Owned(opentelemetry_sdk::Resource::builder().build()),
        opentelemetry::InstrumentationScope::builder("bench").build(),
    );
    fastrace::set_reporter(reporter, fastrace::collector::Config::default());
    let cost = paced::measure::<Fastrace>(workload, rounds, &fastrace::flush);
    fastrace::flush();
    cost
}

fn sentry(workload: &str, url: &str, rounds: Option<usize>) -> Cost {
    use tracing_subscriber::prelude::*;

    let address = url.trim_start_matches("http://");
    let dsn = format!("http://key@{address}/1");
    // With the 30 of the default most transactions would be lost.
    let options = sentry::ClientOptions::new()
        .traces_sample_rate(1.0)
        .transport_channel_capacity(8192);
    let guard = sentry::init((dsn, options));
    tracing_subscriber::registry()
        .with(sentry::integrations::tracing::SpanLayer::new())
        .with(sentry::integrations::tracing::BreadcrumbLayer::new())
        .init();
    let flush = || {
        guard.flush(Some(Duration::from_secs(20)));
    };
    paced::measure::<work::Tracing>(workload, rounds, &flush)
}

/// The same shapes with fastrace's own interface. Its properties are texts.
struct Fastrace;

fn root(name: &'static str) -> Span {
    Span::root(name, SpanContext::random())
}

fn child(name: &'static str) -> LocalSpan {
    LocalSpan::enter_with_local_parent(name)
}

impl Work for Fastrace {
    fn empty(traces: usize) {
        for _ in 0..traces {
            let root = root("root");
            let _guard = root.set_local_parent();
            for _ in 1..TRACE {
                let _span = child("work");
            }
        }
    }

    fn fields(traces: usize) {
        for round in 0..traces {
            let root = root("root");
            let _guard = root.set_local_parent();
            for item in 1..TRACE {
                let _span = child("work").with_properties(|| {
                    [
                        ("model", Cow::Borrowed("gpt-4o-mini")),
                        ("provider", Cow::Borrowed("openai")),
                        ("question", Cow::Borrowed("What does flush return?")),
                        ("user", Cow::Borrowed("user-1234")),
                        ("item", Cow::Owned(item.to_string())),
                        ("round", Cow::Owned(round.to_string())),
                        ("temperature", Cow::Owned(0.7.to_string())),
                        ("stream", Cow::Owned(true.to_string())),
                    ]
                });
            }
        }
    }

    fn nested(traces: usize) {
        for _ in 0..traces {
            let root = root("session").with_property(|| ("user", 1.to_string()));
            let _guard = root.set_local_parent();
            event("session");
            agent();
        }
    }

    fn awaited() -> impl Future<Output = ()> + Send {
        let span = root("session").with_property(|| ("user", 1.to_string()));
        async {
            event("session");
            tokio::task::yield_now().await;
            later_agent().await;
            tokio::task::yield_now().await;
        }
        .in_span(span)
    }
}

fn event(name: &'static str) {
    LocalSpan::add_event(Event::new(name));
}

fn agent() {
    let _span = child("agent").with_property(|| ("task", "summarise"));
    event("agent");
    {
        let _span = child("retrieve").with_property(|| ("top", 3.to_string()));
        event("retrieve");
        let _span = child("embed").with_property(|| ("text", "query"));
        event("embed");
    }
    let _span = child("model").with_property(|| ("model", "gpt-4o-mini"));
    event("model");
    texts();
    let _span = child("parse");
    event("parse");
    texts();
}

fn texts() {
    LocalSpan::add_property(|| ("prompt", TEXT));
    LocalSpan::add_property(|| ("completion", &TEXT[..2048]));
}

fn local(name: &'static str, key: &'static str, value: impl Into<Cow<'static, str>>) -> Span {
    Span::enter_with_local_parent(name).with_property(|| (key, value.into()))
}

async fn later_agent() {
    let span = local("agent", "task", "summarise");
    async {
        event("agent");
        tokio::task::yield_now().await;
        later_retrieve().await;
        later_model().await;
        tokio::task::yield_now().await;
    }
    .in_span(span)
    .await;
}

async fn later_retrieve() {
    let span = local("retrieve", "top", 3.to_string());
    async {
        event("retrieve");
        tokio::task::yield_now().await;
        let span = local("embed", "text", "query");
        async {
            event("embed");
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        .in_span(span)
        .await;
        tokio::task::yield_now().await;
    }
    .in_span(span)
    .await;
}

async fn later_model() {
    let span = local("model", "model", "gpt-4o-mini");
    async {
        event("model");
        tokio::task::yield_now().await;
        texts();
        tokio::task::yield_now().await;
        async {
            event("parse");
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            texts();
            tokio::task::yield_now().await;
        }
        .in_span(Span::enter_with_local_parent("parse"))
        .await;
        tokio::task::yield_now().await;
    }
    .in_span(span)
    .await;
}
