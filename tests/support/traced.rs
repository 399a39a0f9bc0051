//! An instance, the server it sends to, and what arrived there.

use honeyhive::report::Stats;
use honeyhive::{Builder, HoneyHive};
use opentelemetry_proto::tonic::trace::v1::Span;
use tracing_subscriber::prelude::*;

use super::{PATIENCE, Recorder, attribute, known, until};

/// An instance that sends to a recording server.
pub struct Traced {
    pub server: Recorder,
    pub honeyhive: HoneyHive,
}

impl Traced {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// With settings; by timer nothing is sent, so that all of it arrives when the test asks for it.
    pub fn with(settings: impl FnOnce(Builder) -> Builder) -> Self {
        let server = Recorder::start();
        let builder = HoneyHive::builder()
            .server_url(server.url.as_str())
            .api_key("hh_test_key")
            .flush_interval(std::time::Duration::from_secs(3600));
        let honeyhive = settings(builder).build().expect("settings");
        Self { server, honeyhive }
    }

    /// Runs `f` in a subscriber of its own, with a layer of the instance.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let subscriber = tracing_subscriber::registry().with(self.honeyhive.layer());
        tracing::subscriber::with_default(subscriber, f)
    }

    /// Delivers what there is; then every event is somewhere, and only there.
    fn flush(&self) {
        self.honeyhive.flush_blocking(PATIENCE).expect("a delivery");
        // Other tests may record at this moment.
        until("the accounts to agree", || {
            let stats = self.honeyhive.stats();
            stats.submitted == known(&stats)
        });
    }

    /// All that was recorded.
    pub fn spans(&self) -> Vec<Span> {
        self.flush();
        self.server.spans()
    }

    /// The one span of this name.
    pub fn span(&self, name: &str) -> Span {
        self.flush();
        self.server.span(name)
    }

    /// The names of all spans, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.spans().into_iter().map(|span| span.name).collect();
        names.sort();
        names
    }

    pub fn stats(&self) -> Stats {
        self.honeyhive.stats()
    }

    /// The id of the instance's own session.
    pub fn session(&self) -> String {
        self.honeyhive.session_id().to_string()
    }
}

/// A short span without fields.
pub fn touch(name: &str) {
    tracing::info_span!("touch", otel.name = name).in_scope(|| {});
}

/// The session an event belongs to.
pub fn session_of(span: &Span) -> String {
    attribute(span, "honeyhive.session_id").expect("a session")
}

/// The attributes whose names start with `prefix`, without it.
pub fn under(span: &Span, prefix: &str) -> Vec<(String, String)> {
    let keys = span.attributes.iter().map(|attribute| &attribute.key);
    let mut found: Vec<_> = keys
        .filter_map(|key| Some((key.strip_prefix(prefix)?.to_owned(), attribute(span, key)?)))
        .collect();
    found.sort();
    found
}

/// Whether `child` hangs under `parent`, in the same trace.
pub fn is_child(child: &Span, parent: &Span) -> bool {
    child.parent_span_id == parent.span_id && child.trace_id == parent.trace_id
}

/// The one span that `make` makes.
pub fn span_of_with(settings: fn(Builder) -> Builder, make: impl FnOnce()) -> Span {
    let traced = Traced::with(settings);
    traced.run(make);
    let mut spans = traced.spans();
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

pub fn span_of(make: impl FnOnce()) -> Span {
    span_of_with(|builder| builder, make)
}
