//! Which session an event belongs to, on one thread; and what the platform is told of sessions.

mod support;

use honeyhive::Session;
use honeyhive::session::{FutureExt as _, SessionId};
use serde_json::json;
use support::PATIENCE;
use support::traced::{Traced, session_of, touch};
use tracing::{Instrument as _, debug_span, info_span};
use tracing_subscriber::prelude::*;

/// Runs a future in a subscriber of its own, on a runtime of one thread.
fn run(traced: &Traced, future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    traced.run(|| runtime.block_on(future));
}

/// Asserts to which session each event belongs; none stands for the instance's own.
#[track_caller]
fn assert_sessions(traced: &Traced, expected: &[(&str, Option<&Session>)]) {
    let own = traced.session();
    for (name, session) in expected {
        let wanted = session.map_or_else(|| own.clone(), |session| session.id().to_string());
        assert_eq!(session_of(&traced.span(name)), wanted, "{name}");
    }
    assert_eq!(traced.spans().len(), expected.len(), "{:?}", traced.names());
}

#[test]
fn a_scope_ends_when_it_ends_and_scopes_nest() {
    let traced = Traced::new();
    let (outer, inner) = (Session::start("outer"), Session::start("inner"));
    run(&traced, async {
        touch("before");
        outer
            .scope(async {
                touch("outer");
                inner.scope(async { touch("inner") }).await;
                tokio::task::yield_now().await;
                touch("outer again");
            })
            .await;
        touch("after");
        inner.in_scope(|| {
            touch("in scope");
            let guard = outer.enter();
            touch("guarded");
            drop(guard);
            touch("in scope again");
        });
        touch("at last");
    });
    assert_sessions(
        &traced,
        &[
            ("before", None),
            ("outer", Some(&outer)),
            ("inner", Some(&inner)),
            ("outer again", Some(&outer)),
            ("after", None),
            ("in scope", Some(&inner)),
            ("guarded", Some(&outer)),
            ("in scope again", Some(&inner)),
            ("at last", None),
        ],
    );
}

#[test]
fn interleaved_scopes_do_not_mix() {
    let traced = Traced::new();
    let sessions: Vec<Session> = (0..20)
        .map(|index| Session::start(format!("{index}")))
        .collect();
    run(&traced, async {
        let local = tokio::task::LocalSet::new();
        for (index, session) in sessions.iter().enumerate() {
            local.spawn_local(session.scope(async move {
                for step in 0..5 {
                    let work = async { touch(&format!("{index}/{step}")) };
                    work.instrument(info_span!("step", otel.name = format!("{index}:{step}")))
                        .await;
                    tokio::task::yield_now().await;
                }
            }));
        }
        local.await;
    });
    for span in traced.spans() {
        let index: usize = span
            .name
            .split(['/', ':'])
            .next()
            .and_then(|text| text.parse().ok())
            .expect("a number");
        assert_eq!(
            session_of(&span),
            sessions[index].id().to_string(),
            "{}",
            span.name
        );
    }
    assert_eq!(traced.spans().len(), 200);
}

#[test]
fn spans_carry_their_session_and_a_scope_inside_a_span_begins_another() {
    let traced = Traced::new();
    let (outer, inner) = (Session::start("outer"), Session::start("inner"));
    run(&traced, async {
        let parent = outer.in_scope(|| info_span!("parent"));
        // Out of the scope; the span knows.
        parent.in_scope(|| touch("child"));
        inner.in_scope(|| {
            // A span entered since the scope was belongs to its own tree.
            parent.in_scope(|| touch("child in a foreign scope"));
            drop(info_span!(parent: &parent, "explicit child"));
            touch("root in the scope");
        });
        parent.in_scope(|| {
            inner.in_scope(|| {
                let span = info_span!("switched").entered();
                touch("below switched");
                drop(span);
                // Spans that are not recorded make no difference.
                debug_span!("hidden").in_scope(|| touch("below hidden"));
            });
            touch("child again");
        });
    });
    assert_sessions(
        &traced,
        &[
            ("parent", Some(&outer)),
            ("child", Some(&outer)),
            ("child in a foreign scope", Some(&outer)),
            ("explicit child", Some(&outer)),
            ("root in the scope", Some(&inner)),
            ("switched", Some(&inner)),
            ("below switched", Some(&inner)),
            ("below hidden", Some(&inner)),
            ("child again", Some(&outer)),
        ],
    );
    // The tree does not end where the session changes.
    assert!(support::traced::is_child(
        &traced.span("switched"),
        &traced.span("parent")
    ));
}

#[test]
fn a_future_dropped_in_its_scope_is_dropped_in_its_session() {
    struct Last(&'static str);
    impl Drop for Last {
        fn drop(&mut self) {
            touch(self.0);
        }
    }
    let traced = Traced::new();
    let session = Session::start("cancelled");
    run(&traced, async {
        let work = |last| {
            session.scope(async move {
                let _last = Last(last);
                std::future::pending::<()>().await;
            })
        };
        let timeout = tokio::time::timeout(std::time::Duration::ZERO, work("by a timeout")).await;
        assert!(timeout.is_err());
        let task = tokio::spawn(work("by an abort"));
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.is_err());
        touch("after");
    });
    assert_sessions(
        &traced,
        &[
            ("by a timeout", Some(&session)),
            ("by an abort", Some(&session)),
            ("after", None),
        ],
    );
}

#[test]
fn the_current_session_is_what_a_new_span_would_get() {
    let traced = Traced::new();
    let (outer, inner) = (Session::start("outer"), Session::start("inner"));
    let current = || Session::current().map(|session| session.id());
    assert_eq!(current(), None);
    assert_eq!(outer.in_scope(current), Some(outer.id()));
    run(&traced, async {
        assert_eq!(current(), Some(traced.honeyhive.session_id()));
        outer
            .scope(async { assert_eq!(current(), Some(outer.id())) })
            .await;
        let span = outer.in_scope(|| info_span!("span"));
        span.in_scope(|| {
            assert_eq!(current(), Some(outer.id()));
            assert_eq!(inner.in_scope(current), Some(inner.id()));
        });
        inner.in_scope(|| {
            assert_eq!(span.in_scope(current), Some(outer.id()));
            assert_eq!(Session::current().expect("a session").name(), Some("inner"));
        });
        assert_eq!(current(), Some(traced.honeyhive.session_id()));
    });
}

#[test]
fn explicit_ids_are_kept() {
    const FIELD: &str = "11111111-1111-4111-8111-111111111111";
    const OTHER: &str = "22222222-2222-4222-8222-222222222222";
    const BUILT: &str = "33333333-3333-4333-8333-333333333333";
    const OWN: &str = "44444444-4444-4444-8444-444444444444";
    let traced = Traced::with(|builder| builder.session_id(OWN));
    let id = |text: &str| SessionId::parse(text).expect("an id");
    traced.run(|| {
        info_span!("field", honeyhive.session_id = FIELD).in_scope(|| touch("below the field"));
        drop(info_span!("displayed", honeyhive_session_id = %id(FIELD)));
        drop(info_span!("malformed", honeyhive.session_id = "chat-7"));
        Session::from_id(id(OTHER)).in_scope(|| touch("from elsewhere"));
        Session::builder("built")
            .id(id(BUILT))
            .start()
            .in_scope(|| touch("built"));
        touch("own");
    });
    for (name, session) in [
        ("field", FIELD),
        ("below the field", FIELD),
        ("displayed", FIELD),
        ("malformed", OWN),
        ("from elsewhere", OTHER),
        ("built", BUILT),
        ("own", OWN),
    ] {
        let span = traced.span(name);
        assert_eq!(session_of(&span), session, "{name}");
        let second = support::attribute(&span, "traceloop.association.properties.session_id");
        assert_eq!(second.as_deref(), Some(session), "{name}");
    }
}

#[test]
fn a_session_can_be_limited_to_an_instance() {
    let (one, two) = (Traced::new(), Traced::new());
    let subscriber = tracing_subscriber::registry()
        .with(one.honeyhive.layer())
        .with(two.honeyhive.layer());
    let limited = one.honeyhive.session("limited");
    let wide = Session::start("wide");
    tracing::subscriber::with_default(subscriber, || {
        limited.in_scope(|| touch("limited"));
        wide.in_scope(|| limited.in_scope(|| touch("limited in wide")));
        limited.enrich(|s| s.metadata("n", 1));
    });
    assert_sessions(
        &one,
        &[
            ("limited", Some(&limited)),
            ("limited in wide", Some(&limited)),
        ],
    );
    assert_sessions(&two, &[("limited", None), ("limited in wide", Some(&wide))]);
    assert_eq!(one.server.requests_to("/events").len(), 1);
    assert!(two.server.requests_to("/events").is_empty());
    // Its own instance hears of an update wherever it comes from.
    two.run(|| limited.enrich(|s| s.metadata("n", 2)));
    one.spans();
    assert_eq!(one.server.requests_to("/events").len(), 2);
}

#[test]
fn the_own_session_of_an_instance_is_not_carried_into_another() {
    let (one, two) = (Traced::new(), Traced::new());
    let subscriber = tracing_subscriber::registry()
        .with(one.honeyhive.layer())
        .with(two.honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        let current = Session::current().expect("a session");
        current.in_scope(|| touch("carried"));
    });
    assert_sessions(&one, &[("carried", None)]);
    assert_sessions(&two, &[("carried", None)]);
}

#[test]
fn futures_take_the_current_session_along() {
    let traced = Traced::new();
    let session = Session::start("mine");
    run(&traced, async {
        let task = async { touch("taken along") };
        let task = session.in_scope(|| task.in_current_session());
        tokio::spawn(task).await.expect("a task");
        tokio::spawn(async { touch("bare") }.in_current_session())
            .await
            .expect("a task");
    });
    assert_sessions(&traced, &[("taken along", Some(&session)), ("bare", None)]);
    // Without a layer and a scope there is none to take.
    run(&traced, async { async {}.in_current_session().await });
}

#[test]
fn sessions_are_announced_before_their_events_and_updated_after() {
    let traced = Traced::with(|builder| {
        builder
            .source("test")
            .project("demo")
            .session_name("the program")
    });
    let session = Session::builder("support-chat")
        .input("question", "Where is my parcel?")
        .metadata("channel", json!({ "kind": "web" }))
        .user_property("plan", "pro")
        .start();
    traced.run(|| {
        session.in_scope(|| touch("work"));
        touch("other work");
        session.enrich(|s| {
            s.input("late", 1)
                .inputs(json!({ "all": true }))
                .metadata("a", json!([1, "x"]))
                .metric("score", 0.5);
            s.feedback("rating", 5)
                .output("an answer")
                .config("model", "m")
                .user_property("id", "u")
        });
    });
    traced.spans();
    let requests = traced.server.requests();
    let body = |path: &str, id: String| {
        let mut bodies: Vec<_> = requests
            .iter()
            .enumerate()
            .filter(|(_, request)| request.path == path)
            .map(|(at, request)| (at, request.method.clone(), request.json()))
            .filter(|(_, _, body)| body.to_string().contains(&id))
            .collect();
        assert_eq!(bodies.len(), 1, "{path} for {id}");
        bodies.remove(0)
    };
    let (started, method, start) = body("/session/start", session.id().to_string());
    assert_eq!(method, "POST");
    assert_eq!(
        start,
        json!({ "session": {
            "session_id": session.id().to_string(),
            "session_name": "support-chat",
            "source": "test",
            "project": "demo",
            "inputs": { "question": "Where is my parcel?" },
            "metadata": { "channel": { "kind": "web" } },
            "user_properties": { "plan": "pro" },
        }})
    );
    let (_, _, own) = body("/session/start", traced.session());
    assert_eq!(own["session"]["session_name"], "the program");

    let (updated, method, update) = body("/events", session.id().to_string());
    assert_eq!(method, "PUT");
    assert_eq!(
        update,
        json!({
            "event_id": session.id().to_string(),
            "metadata": { "a": [1, "x"], "inputs": { "late": 1, "all": true } },
            "metrics": { "score": 0.5 },
            "feedback": { "rating": 5 },
            "outputs": { "result": "an answer" },
            "config": { "model": "m" },
            "user_properties": { "id": "u" },
        })
    );
    let traces = requests
        .iter()
        .position(|request| request.path.ends_with("/traces"))
        .expect("spans");
    assert!(started < traces && started < updated);
    // A scope is no span.
    assert_eq!(traced.names(), ["other work", "work"]);
    let stats = traced.stats();
    assert_eq!((stats.sessions_started, stats.updates_sent), (2, 1));
}

#[test]
fn an_update_is_sent_once_and_not_at_all_when_nobody_listens() {
    let traced = Traced::new();
    let subscriber = tracing_subscriber::registry()
        .with(traced.honeyhive.layer())
        .with(traced.honeyhive.layer());
    traced
        .honeyhive
        .reconfigure(|settings| settings.batch_size(7))
        .expect("settings");
    let session = traced.honeyhive.session("one");
    tracing::subscriber::with_default(subscriber, || {
        session.enrich(|s| s.metadata("n", 1));
        session.enrich(|_| std::panic::resume_unwind(Box::new("in the closure")));
        session.enrich(|s| s);
    });
    traced.spans();
    assert_eq!(traced.server.requests_to("/events").len(), 1);
    traced
        .honeyhive
        .shutdown_blocking(PATIENCE)
        .expect("an end");
    session.enrich(|s| s.metadata("n", 2));
    assert_eq!(traced.server.requests_to("/events").len(), 1);
}
