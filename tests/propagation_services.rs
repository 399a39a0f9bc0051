//! Two services, each a process of its own, that share one trace and one session through the headers of a request.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use honeyhive::propagation::{self, Baggage};
use honeyhive::{HoneyHive, Session, SpanExt as _};
use std::sync::Arc;
use support::traced::{is_child, session_of};
use support::{PATIENCE, Recorder, SESSIONS, attribute, settings};
use tracing::{Instrument as _, info_span, instrument};
use tracing_subscriber::prelude::*;

const COLLECTOR: &str = "TEST_COLLECTOR";

#[instrument(ret)]
async fn answer(question: &str) -> String {
    tokio::task::yield_now().await;
    // A task of its own is part of it too.
    let work = async { info_span!("lookup").in_scope(|| {}) };
    tokio::spawn(propagation::ContextExt::in_current_context(work))
        .await
        .expect("a task");
    format!("{question}? yes")
}

/// The request's headers are read before anything is made.
async fn ask(headers: HeaderMap) -> String {
    propagation::extract(&headers).scope(answer("early")).await
}

/// A middleware has made a span already when the headers are read.
async fn ask_late(headers: HeaderMap) -> String {
    let span = info_span!("middleware", otel.kind = "server");
    span.set_remote_parent(&propagation::extract(&headers));
    answer("late").instrument(span).await
}

async fn stop(State(honeyhive): State<Arc<HoneyHive>>) -> String {
    let report = honeyhive.shutdown(PATIENCE).await.expect("a delivery");
    format!("{report:?}")
}

/// The second service; a test only when the first one starts it.
#[test]
fn second_service() {
    let Ok(collector) = std::env::var(COLLECTOR) else {
        return;
    };
    let honeyhive = settings(&collector)
        .project("backend")
        .source("internal")
        .session_name("the backend's own")
        .build()
        .expect("settings");
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let app = axum::Router::new()
            .route("/ask", get(ask))
            .route("/late", get(ask_late))
            .route("/stop", get(stop))
            .with_state(Arc::new(honeyhive));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        println!("listening {}", listener.local_addr().expect("an address"));
        axum::serve(listener, app).await.expect("a server");
    });
}

struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_service(collector: &str) -> (Service, String) {
    let mut child = Command::new(std::env::current_exe().expect("a program"))
        .args([
            "--exact",
            "second_service",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(COLLECTOR, collector)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let stdout = child.stdout.take().expect("its output");
    let service = Service(child);
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    // The test harness may have written before it on the same line.
    let address = lines.find_map(|line| Some(line.split_once("listening ")?.1.to_owned()));
    (service, format!("http://{}", address.expect("an address")))
}

/// A client that is good for `http://` on a machine without certificates.
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()
        .expect("a client")
}

#[instrument(skip(client))]
async fn call(client: &reqwest::Client, url: String) -> String {
    let mut request = client.get(url).build().expect("a request");
    propagation::inject(request.headers_mut());
    let response = client.execute(request).await.expect("an answer");
    response.text().await.expect("a text")
}

#[test]
fn two_processes_share_a_trace_and_a_session() {
    let collector = Recorder::start();
    let (_service, service) = start_service(&collector.url);
    let honeyhive = settings(&collector.url)
        .project("shop")
        .source("prod")
        .build()
        .expect("settings");
    let session = Session::start("the shopper's");
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let client = client();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let work = async {
                assert_eq!(call(&client, format!("{service}/ask")).await, "early? yes");
                assert_eq!(call(&client, format!("{service}/late")).await, "late? yes");
            };
            let baggage = Baggage::new().with("tenant", "acme & co");
            let work = async { work.instrument(info_span!("shopping")).await };
            session.scope(baggage.scope(work)).await;
            // Without headers the service is on its own.
            let plain = client
                .get(format!("{service}/ask"))
                .send()
                .await
                .expect("an answer");
            assert_eq!(plain.text().await.expect("a text"), "early? yes");
            honeyhive.flush(PATIENCE).await.expect("a delivery");
            client
                .get(format!("{service}/stop"))
                .send()
                .await
                .expect("an end");
        });
    });

    let spans = collector.spans();
    let named = |name: &'static str| spans.iter().filter(move |span| span.name == name);
    let shopping = named("shopping").next().expect("the root");
    let id = session.id().to_string();
    assert_eq!(named("call").count(), 2);
    for call in named("call") {
        assert!(is_child(call, shopping));
        let below: Vec<_> = spans.iter().filter(|span| is_child(span, call)).collect();
        assert_eq!(below.len(), 1, "{below:#?}");
        assert!(matches!(below[0].name.as_str(), "answer" | "middleware"));
        assert_eq!(below[0].flags, 0x301);
    }
    let traced = spans
        .iter()
        .filter(|span| span.trace_id == shopping.trace_id);
    let mut names: Vec<&str> = traced
        .clone()
        .map(|span| {
            assert_eq!(session_of(span), id, "{}", span.name);
            for (key, value) in [
                ("honeyhive.project", "shop"),
                ("honeyhive.source", "prod"),
                ("baggage.tenant", "acme & co"),
            ] {
                assert_eq!(
                    attribute(span, key).as_deref(),
                    Some(value),
                    "{}: {key}",
                    span.name
                );
            }
            span.name.as_str()
        })
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "answer",
            "answer",
            "call",
            "call",
            "lookup",
            "lookup",
            "middleware",
            "shopping"
        ]
    );
    // What no caller was named for is the service's own.
    let own: Vec<_> = spans
        .iter()
        .filter(|span| span.trace_id != shopping.trace_id)
        .collect();
    assert_eq!(own.len(), 2, "{own:#?}");
    for span in own {
        assert_ne!(session_of(span), id);
        assert_eq!(
            attribute(span, "honeyhive.project").as_deref(),
            Some("backend")
        );
    }
    // The session is announced once, by the service that began it.
    let announced: Vec<_> = collector
        .requests_to(SESSIONS)
        .iter()
        .map(|request| request.json()["session"].clone())
        .filter(|session| session["session_id"] == id.as_str())
        .collect();
    assert_eq!(announced.len(), 1, "{announced:#?}");
    assert_eq!(announced[0]["session_name"], "the shopper's");
}
