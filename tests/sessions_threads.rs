//! Sessions across threads and runtimes, under the global subscriber of a program.

mod support;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use honeyhive::Session;
use honeyhive::propagation::{Baggage, Context, ContextExt as _, extract, inject};
use honeyhive::session::FutureExt as _;
use support::attribute;
use support::traced::{Traced, session_of, touch};
use tracing::{Instrument as _, info_span};
use tracing_subscriber::prelude::*;

/// The program's instance.
fn traced() -> &'static Traced {
    static TRACED: OnceLock<Traced> = OnceLock::new();
    TRACED.get_or_init(|| {
        let traced = Traced::new();
        tracing_subscriber::registry()
            .with(traced.honeyhive.layer())
            .init();
        traced
    })
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(16)
        .enable_all()
        .build()
        .expect("a runtime")
}

#[track_caller]
fn assert_in(names: &[&str], session: &str) {
    let spans = traced().spans();
    for name in names {
        let mut found = spans.iter().filter(|span| span.name == *name);
        let span = found.next().expect("an event");
        assert!(found.next().is_none(), "{name}");
        assert_eq!(session_of(span), session, "{name}");
    }
}

#[test]
fn a_scope_holds_on_every_thread_its_future_runs_on() {
    traced();
    let session = Session::start("wandering");
    let id = session.id().to_string();
    runtime().block_on(async {
        let work = session.scope(async {
            for step in 0..50 {
                touch(&format!("wandering {step}"));
                tokio::task::yield_now().await;
            }
        });
        tokio::spawn(work).await.expect("a task");
    });
    let names: Vec<String> = (0..50).map(|step| format!("wandering {step}")).collect();
    assert_in(&names.iter().map(String::as_str).collect::<Vec<_>>(), &id);
}

#[test]
fn sessions_go_where_they_are_carried() {
    let traced = traced();
    let session = Session::start("carried");
    let id = session.id().to_string();
    runtime().block_on(session.scope(async {
        tokio::spawn(async { touch("spawned bare") })
            .await
            .expect("a task");
        tokio::spawn(async { touch("spawned with it") }.in_current_session())
            .await
            .expect("a task");
        tokio::spawn(async { touch("spawned in a span") }.instrument(info_span!("carrier")))
            .await
            .expect("a task");
        let current = Session::current().expect("a session");
        let blocking = tokio::task::spawn_blocking(move || current.in_scope(|| touch("blocking")));
        blocking.await.expect("a task");
        let current = Session::current().expect("a session");
        let thread = std::thread::spawn(move || {
            let _in = current.enter();
            touch("thread");
        });
        thread.join().expect("a thread");
        let span = info_span!("crossing");
        std::thread::spawn(move || span.in_scope(|| touch("thread in a span")))
            .join()
            .expect("a thread");
    }));
    assert_in(
        &[
            "spawned with it",
            "spawned in a span",
            "carrier",
            "blocking",
            "thread",
            "crossing",
            "thread in a span",
        ],
        &id,
    );
    assert_in(&["spawned bare"], &traced.session());
}

/// A generator of random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What a request does: steps, in spans, some of them in tasks of their own.
async fn request(index: u64) {
    let mut random = Random(index + 1);
    for step in 0..4 {
        let work = async move {
            tokio::task::yield_now().await;
            touch(&format!("request {index}"));
            tokio::time::sleep(Duration::from_micros(100)).await;
            touch(&format!("request {index}"));
        };
        let span = info_span!("step", otel.name = format!("request {index}"), step);
        match random.below(4) {
            0 => work.instrument(span).await,
            1 => drop(tokio::spawn(work.instrument(span)).await),
            2 => drop(tokio::spawn(work.in_current_context()).await),
            _ => drop(tokio::spawn(work.in_current_session()).await),
        }
    }
}

#[test]
fn no_event_lands_in_a_foreign_session_when_tasks_are_cancelled_at_random() {
    let traced = traced();
    let mut random = Random(7);
    let runtime = runtime();
    let mut sessions = HashMap::new();
    runtime.block_on(async {
        let mut requests = Vec::new();
        for index in 0..1000 {
            let session = Session::start(format!("request {index}"));
            sessions.insert(format!("request {index}"), session.id().to_string());
            // Some come with headers.
            let baggage = Baggage::new().with("request", index.to_string());
            let work = if index % 2 == 0 {
                baggage.in_scope(|| session.in_scope(Context::current))
            } else {
                let mut headers = Vec::new();
                session.in_scope(|| baggage.in_scope(|| inject(&mut headers)));
                let remote = extract(&headers);
                remote.in_scope(Context::current)
            };
            requests.push(tokio::spawn(work.scope(request(index))));
        }
        for request in requests {
            match random.below(4) {
                0 => request.abort(),
                1 => {
                    let patience = Duration::from_micros(random.below(3000));
                    let abort = request.abort_handle();
                    if tokio::time::timeout(patience, request).await.is_err() {
                        abort.abort();
                    }
                }
                _ => request.await.expect("a whole request"),
            }
        }
    });
    drop(runtime);
    let spans = traced.spans();
    let (mut checked, mut with_baggage) = (0, 0);
    for span in spans.iter().filter(|span| span.name.starts_with("request")) {
        assert_eq!(session_of(span), sessions[&span.name], "{}", span.name);
        if let Some(carried) = attribute(span, "baggage.request") {
            assert_eq!(format!("request {carried}"), span.name);
            with_baggage += 1;
        }
        checked += 1;
    }
    assert!(checked > 2500, "{checked}");
    assert!(with_baggage > checked / 2, "{with_baggage} of {checked}");
}
