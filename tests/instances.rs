//! Several instances in one process: nothing of one is seen by another, and code finds the right one.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use honeyhive::config::Protocol;
use honeyhive::events::NewEvent;
use honeyhive::registry::{self, Instance};
use honeyhive::{HoneyHive, Session};
use opentelemetry_proto::tonic::trace::v1::Span;
use support::{PATIENCE, Recorder, SESSIONS, TRACES, assert_balanced, attribute, emit};
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::prelude::*;

const COUNT: usize = 5;

/// An instance with everything its own, and the server it sends to.
struct Own {
    number: usize,
    server: Recorder,
    honeyhive: HoneyHive,
}

impl Own {
    fn all() -> Vec<Self> {
        (0..COUNT).map(Self::new).collect()
    }

    fn new(number: usize) -> Self {
        let server = Recorder::start();
        let honeyhive = HoneyHive::builder()
            .server_url(server.url.as_str())
            .api_key(format!("hh_key_number_{number}"))
            .project(format!("project-{number}"))
            .source(format!("source-{number}"))
            .session_name(format!("session-{number}"))
            .service_name(format!("service-{number}"))
            .run_id(format!("run-{number}"))
            .max_attributes(200 + 100 * number)
            .filter(if number.is_multiple_of(2) {
                "info"
            } else {
                "debug"
            })
            .flush_interval(Duration::from_secs(600))
            .build()
            .unwrap();
        Self {
            number,
            server,
            honeyhive,
        }
    }

    fn spans(&self) -> Vec<Span> {
        self.honeyhive.flush_blocking(PATIENCE).unwrap();
        assert_balanced(&self.honeyhive.stats());
        self.server.spans()
    }

    /// Whatever arrived is this instance's.
    fn check(&self, names: &[&str], sessions: &BTreeSet<String>) {
        let number = self.number;
        let spans = self.spans();
        let mut found: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, names, "{number}");
        for span in &spans {
            let text = |key: &str| attribute(span, key).unwrap_or_default();
            assert_eq!(text("honeyhive.project"), format!("project-{number}"));
            assert_eq!(text("honeyhive.source"), format!("source-{number}"));
            assert_eq!(text("honeyhive_metadata.run_id"), format!("run-{number}"));
            assert!(sessions.contains(&text("honeyhive.session_id")));
        }
        for request in self.server.requests() {
            let key = format!("Bearer hh_key_number_{number}");
            assert_eq!(request.header("authorization"), Some(key.as_str()));
            if request.path == SESSIONS {
                let session = request.json()["session"].clone();
                assert!(sessions.contains(session["session_id"].as_str().unwrap()));
                assert_eq!(session["source"], format!("source-{number}"));
                assert_eq!(session["metadata"]["run_id"], format!("run-{number}"));
            }
        }
    }

    fn own_session(&self) -> BTreeSet<String> {
        [self.honeyhive.session_id().to_string()].into()
    }
}

fn work() {
    tracing::info_span!("info").in_scope(|| tracing::debug_span!("debug").in_scope(|| {}));
}

fn expected(number: usize) -> &'static [&'static str] {
    if number.is_multiple_of(2) {
        &["info"]
    } else {
        &["debug", "info"]
    }
}

#[test]
fn five_instances_share_a_registry() {
    let all = Own::all();
    let layers: Vec<_> = all.iter().map(|own| own.honeyhive.layer()).collect();
    let subscriber = tracing_subscriber::registry().with(layers);
    tracing::subscriber::with_default(subscriber, work);
    for own in &all {
        own.check(expected(own.number), &own.own_session());
    }
    let ids: BTreeSet<_> = all
        .iter()
        .flat_map(Own::spans)
        .map(|span| span.trace_id)
        .collect();
    assert_eq!(ids.len(), COUNT, "every instance has traces of its own");
}

#[test]
fn five_instances_have_a_registry_each() {
    let all = Own::all();
    let subscribers: Vec<Dispatch> = all
        .iter()
        .map(|own| {
            tracing_subscriber::registry()
                .with(own.honeyhive.layer())
                .into()
        })
        .collect();
    // One inside the other, and side by side on threads.
    for outer in &subscribers {
        dispatcher::with_default(outer, || {
            tracing::info_span!("around").in_scope(|| {
                for inner in &subscribers {
                    dispatcher::with_default(inner, || {
                        honeyhive::enrich(|_| panic!("no span of this subscriber is entered"));
                    });
                }
            });
        });
    }
    std::thread::scope(|scope| {
        for subscriber in &subscribers {
            scope.spawn(|| dispatcher::with_default(subscriber, work));
        }
    });
    for own in &all {
        let mut names = expected(own.number).to_vec();
        names.insert(0, "around");
        names.sort_unstable();
        own.check(&names, &own.own_session());
    }
}

#[test]
fn each_instance_has_its_own_limits() {
    let all = Own::all();
    let layers: Vec<_> = all.iter().map(|own| own.honeyhive.layer()).collect();
    let subscriber = tracing_subscriber::registry().with(layers);
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("wide").in_scope(|| {
            honeyhive::enrich(|e| {
                for n in 0..2_000 {
                    e.metadata(&format!("key{n}"), n);
                }
                e.output("done")
            });
        });
    });
    for own in &all {
        own.check(&["wide"], &own.own_session());
        let wide = own.server.span("wide");
        let limited = wide
            .attributes
            .iter()
            .filter(|attribute| attribute.key.starts_with("honeyhive_metadata.key"))
            .count();
        let limit = 200 + 100 * own.number;
        assert!(
            (limit - 8..=limit).contains(&limited),
            "{limited} of {limit}"
        );
    }
}

#[test]
fn sessions_events_and_updates_stay_with_their_instance() {
    let all = Own::all();
    let layers: Vec<_> = all.iter().map(|own| own.honeyhive.layer()).collect();
    let subscriber = tracing_subscriber::registry().with(layers);
    let session = all[1].honeyhive.session("only-1");
    tracing::subscriber::with_default(subscriber, || {
        session.in_scope(|| {
            tracing::info_span!("info").in_scope(|| {
                all[1].honeyhive.enrich(|e| e.metadata("mine", 1));
                assert_eq!(Instance::current(), Some(all[1].honeyhive.instance()));
                let one = all[1].honeyhive.create_event(NewEvent::new("one"));
                all[2].honeyhive.create_event(NewEvent::new("two"));
                all[1].honeyhive.enrich_event(one, |e| e.metric("m", 1));
            });
        });
        session.enrich(|s| s.feedback("rating", 1));
        session.end();
    });
    for own in &all {
        let mut sessions = own.own_session();
        if own.number == 1 {
            sessions = [session.id().to_string()].into();
        }
        own.check(&["info"], &sessions);
        let info = own.server.span("info");
        let mine = attribute(&info, "honeyhive_metadata.mine").is_some();
        assert_eq!(mine, own.number == 1);
        let events = own.server.requests_to("/events");
        let expected = [0, 4, 1, 0, 0][own.number];
        assert_eq!(events.len(), expected, "{}", own.number);
        if let Some(created) = events.first() {
            let event = created.json()["event"].clone();
            assert!(sessions.contains(event["session_id"].as_str().unwrap()));
            assert_eq!(event["project"], format!("project-{}", own.number));
            let info = attribute(&info, "honeyhive_event_id");
            assert_eq!(event["parent_id"].as_str(), info.as_deref());
        }
    }
}

#[test]
fn one_that_fails_or_ends_does_not_disturb_the_others() {
    let all = Own::all();
    all[0]
        .server
        .answer_by(|_| Some(support::Reply::status(400)));
    all[1].server.hold();
    all[2].honeyhive.shutdown_blocking(PATIENCE).unwrap();
    let layers: Vec<_> = all.iter().map(|own| own.honeyhive.layer()).collect();
    let subscriber = tracing_subscriber::registry().with(layers);
    tracing::subscriber::with_default(subscriber, work);
    for own in &all[3..] {
        own.check(expected(own.number), &own.own_session());
    }
    assert!(all[0].honeyhive.flush_blocking(PATIENCE).is_err());
    assert_eq!(all[0].honeyhive.stats().rejected, 1);
    assert_eq!(all[2].honeyhive.stats().submitted, 0);
    all[1].server.release();
    all[1].check(expected(1), &all[1].own_session());
}

#[test]
fn one_changes_and_the_others_stay() {
    let (one, other) = (Own::new(0), Own::new(2));
    one.honeyhive
        .reconfigure(|b| b.protocol(Protocol::HttpJson).source("changed"))
        .unwrap();
    emit(&one.honeyhive, 1);
    emit(&other.honeyhive, 1);
    one.honeyhive.flush_blocking(PATIENCE).unwrap();
    other.check(&["work"], &other.own_session());
    let json = |own: &Own| {
        let request = own.server.requests_to(TRACES).remove(0);
        request.header("content-type") == Some("application/json")
    };
    assert!(json(&one) && !json(&other));
}

fn plain() -> HoneyHive {
    HoneyHive::builder().test_mode(true).build().unwrap()
}

#[test]
fn the_default_is_the_first_until_it_is_dropped() {
    let name = "the_default_is_the_first_until_it_is_dropped";
    if support::in_process_of_its_own(name, &[]).is_some() {
        return;
    }
    assert_eq!(registry::default_instance(), None);
    assert_eq!(Instance::current(), None);
    let (first, second) = (plain(), plain());
    assert_eq!(registry::default_instance(), Some(first.instance()));
    assert_eq!(registry::instances(), [first.instance(), second.instance()]);
    registry::set_default(&second.instance());
    assert_eq!(Instance::current(), Some(second.instance()));
    registry::clear_default();
    assert_eq!(registry::default_instance(), None);
    // Another one takes the empty place.
    let third = plain();
    assert_eq!(registry::default_instance(), Some(third.instance()));
    // A layer that is still in use does not keep it: its owner is gone.
    let layer = tracing_subscriber::registry().with(third.layer());
    let handle = third.instance();
    drop(third);
    assert_eq!(registry::default_instance(), None);
    assert!(!handle.is_alive() && handle.stats().is_none() && handle.config().is_none());
    assert!(handle.create_event(NewEvent::new("late")).is_none());
    drop(layer);
    assert_eq!(registry::instances().len(), 2);
    // An inert instance is one too.
    drop((first, second));
    let inert = HoneyHive::builder().build().unwrap();
    assert_eq!(registry::default_instance(), Some(inert.instance()));
}

#[test]
fn code_finds_its_instance_by_context_and_then_the_default() {
    let name = "code_finds_its_instance_by_context_and_then_the_default";
    if support::in_process_of_its_own(name, &[]).is_some() {
        return;
    }
    let (default, context, scoped) = (plain(), plain(), plain());
    let current = || Instance::current().unwrap();
    assert_eq!(current(), default.instance());
    let subscriber = tracing_subscriber::registry().with(context.layer());
    tracing::subscriber::with_default(subscriber, || {
        assert_eq!(current(), context.instance());
        scoped.session("s").in_scope(|| {
            assert_eq!(current(), scoped.instance());
            // A session of all instances says nothing of the instance.
            Session::start("t").in_scope(|| assert_eq!(current(), scoped.instance()));
        });
        assert_eq!(current(), context.instance());
    });
    // Of several in one subscriber the default is meant, if it is there.
    let layers = vec![context.layer(), default.layer()];
    let subscriber = tracing_subscriber::registry().with(layers);
    tracing::subscriber::with_default(subscriber, || {
        assert_eq!(current(), default.instance());
        registry::clear_default();
        assert_eq!(current(), context.instance());
    });
    let handle = scoped.instance();
    scoped.session("s").in_scope(|| {
        drop(scoped);
        assert_eq!(Instance::current(), None);
    });
    assert!(!handle.is_alive());
}

#[test]
fn all_of_them_end_at_once() {
    if support::in_process_of_its_own("all_of_them_end_at_once", &[]).is_some() {
        return;
    }
    let all = Own::all();
    for own in &all {
        emit(&own.honeyhive, 3);
        assert_eq!(own.honeyhive.instance().stats().unwrap().submitted, 3);
    }
    all[4]
        .honeyhive
        .instance()
        .flush_blocking(PATIENCE)
        .unwrap();
    registry::shutdown_all_blocking(PATIENCE).unwrap();
    for own in &all {
        assert_eq!(own.server.spans().len(), 3);
        let status = own.honeyhive.instance().status().unwrap();
        assert_eq!(status, own.honeyhive.status());
        assert!(!status.degraded.is_empty());
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let late = Arc::new(Own::new(0));
    emit(&late.honeyhive, 1);
    runtime.block_on(registry::shutdown_all(PATIENCE)).unwrap();
    assert_eq!(late.server.spans().len(), 1);
}
