//! What the exporter's own HTTP stack records never comes back into the subscriber, at whatever level.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use honeyhive::config::{Compression, Protocol};
use support::fault::{Act, Fault};
use support::*;
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;

/// Counts all there is, by target.
#[derive(Clone, Default)]
struct Counting(Arc<Mutex<BTreeMap<String, usize>>>);

impl Counting {
    fn count(&self, meta: &Metadata<'_>) {
        *self
            .0
            .lock()
            .unwrap()
            .entry(meta.target().to_owned())
            .or_default() += 1;
    }

    fn foreign(&self) -> BTreeMap<String, usize> {
        let mut found = self.0.lock().unwrap().clone();
        found.retain(|target, _| !["self_tracing", "honeyhive"].contains(&target.as_str()));
        found
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.count(event.metadata());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.count(attributes.metadata());
    }
}

#[test]
fn nothing_of_the_http_stack_comes_back() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .filter("trace")
        .compression(Compression::Gzip)
        .build()
        .unwrap();
    let counting = Counting::default();
    // `init` also makes records of the `log` crate events.
    tracing_subscriber::registry()
        .with(counting.clone())
        .with(honeyhive.layer())
        .init();
    log::trace!(target: "of log", "this one is heard");
    assert_eq!(
        counting.foreign().remove("log"),
        Some(1),
        "{:?}",
        counting.foreign()
    );
    counting.0.lock().unwrap().clear();

    let work =
        |count: usize| (0..count).for_each(|n| tracing::trace_span!("work", n).in_scope(|| {}));
    work(100);
    honeyhive.flush_blocking(PATIENCE).unwrap();
    server.answer_traces([
        Reply::status(503),
        Reply::status(307).header("location", "/elsewhere"),
    ]);
    work(100);
    honeyhive.flush_blocking(PATIENCE).unwrap();
    honeyhive.own_session().enrich(|s| s.metadata("k", 1));
    honeyhive
        .reconfigure(|settings| settings.protocol(Protocol::HttpJson).verbose(true))
        .unwrap();
    work(100);
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_all_exported(&honeyhive.stats(), 300);

    // A host that has to be looked up, a server that hangs up, and nobody at all.
    let rude = Fault::start([Act::Reset, Act::Silence], Act::Raw(b"nonsense"));
    let named = server.url.replace("127.0.0.1", "localhost");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for url in [rude.url.clone(), format!("http://{nobody}"), named] {
        honeyhive
            .reconfigure(|settings| {
                settings
                    .server_url(url)
                    .export_timeout(Duration::from_millis(200))
            })
            .unwrap();
        work(10);
        let _ = honeyhive.flush_blocking(Duration::from_millis(1500));
    }
    honeyhive.flush_blocking(PATIENCE).unwrap();
    honeyhive.shutdown_blocking(PATIENCE).unwrap();
    assert_eq!(counting.foreign(), BTreeMap::new());
    // Nor into our own layer: as many as were made, and not one more.
    assert_all_exported(&honeyhive.stats(), 330);
}
