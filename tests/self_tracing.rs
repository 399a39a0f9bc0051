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

/// What the program does with the same stack is heard, although ours was the first to use it.
#[cfg(feature = "rustls")]
#[test]
fn the_programs_own_requests_are_heard() {
    if in_process_of_its_own("the_programs_own_requests_are_heard", &[]).is_some() {
        return;
    }
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let counting = Counting::default();
    tracing_subscriber::registry()
        .with(counting.clone())
        .with(honeyhive.layer())
        .init();
    drop(tracing::info_span!("work"));
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_eq!(counting.foreign(), BTreeMap::new());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::blocking::get(&server.url).unwrap();
    assert_eq!(answer.status(), 200);
    let foreign = counting.foreign();
    let heard = |target: &String| target.starts_with("hyper_util::client");
    assert!(foreign.keys().any(heard), "{foreign:?}");
}

/// Nothing of TLS comes back either: of handshakes, good and failed, and of certificates that have to be found.
#[cfg(all(feature = "rustls", target_os = "linux"))]
#[test]
fn nothing_of_tls_comes_back() {
    use support::fault::tls::{Authority, self_signed};

    let test = "nothing_of_tls_comes_back";
    if let Ok(servers) = std::env::var("TEST_SERVERS") {
        let counting = Counting::default();
        let [good, bad] = servers.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{servers}");
        };
        let honeyhive = settings(bad).filter("trace").verbose(true).build().unwrap();
        // `init` also makes records of the `log` crate events.
        tracing_subscriber::registry()
            .with(tracing_subscriber::EnvFilter::new("trace"))
            .with(counting.clone())
            .with(honeyhive.layer())
            .init();
        let work = || {
            for n in 0..100 {
                tracing::trace_span!("work", n)
                    .in_scope(|| log::trace!(target: "honeyhive", "bridged"));
            }
        };
        work();
        honeyhive
            .flush_blocking(Duration::from_millis(1_500))
            .unwrap_err();
        honeyhive
            .reconfigure(|settings| settings.server_url(good))
            .unwrap();
        work();
        honeyhive.flush_blocking(PATIENCE).unwrap();
        honeyhive.own_session().enrich(|s| s.metadata("k", 1));
        honeyhive.shutdown_blocking(PATIENCE).unwrap();
        let mut foreign = counting.foreign();
        // Our own, through the bridge.
        assert_eq!(foreign.remove("log"), Some(200));
        assert_eq!(foreign, BTreeMap::new());
        assert_all_exported(&honeyhive.stats(), 200);
        return;
    }
    let trusted = Authority::new("trusted");
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, trusted.pem()).unwrap();
    let good = Recorder::start_tls(trusted.server("localhost", 2200));
    let bad = Recorder::start_tls(self_signed("localhost"));
    let variables = [
        ("SSL_CERT_FILE", roots.to_str().unwrap()),
        ("TEST_SERVERS", &format!("{} {}", good.url, bad.url)),
    ];
    in_process_of_its_own(test, &variables);
    assert_eq!((good.spans().len(), bad.spans().len()), (200, 0));
    assert!(bad.connections() > 0);
}
