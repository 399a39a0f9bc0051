//! Context from and for elsewhere, on one thread: headers, remote parents, baggage and its scopes.

mod support;

use std::collections::{BTreeMap, HashMap};

use honeyhive::propagation::{
    Baggage, Context, ContextExt as _, RemoteContext, extract, extract_with, inject, inject_with,
};
use honeyhive::{Session, SpanExt as _};
use opentelemetry_proto::tonic::trace::v1::Span;
use support::attribute;
use support::traced::{Traced, is_child, session_of, touch, under};
use tracing::{Instrument as _, debug_span, info_span};
use tracing_subscriber::prelude::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const SESSION: &str = "7f3a5c10-0000-4000-8000-000000000001";

fn headers(baggage: &str) -> HashMap<String, String> {
    let pairs = [
        ("Traceparent", format!("00-{TRACE}-{SPAN}-01")),
        ("tracestate", "rojo=00f067aa0ba902b7".to_owned()),
        ("Baggage", baggage.to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

fn remote() -> RemoteContext {
    extract(&headers(&format!("session_id={SESSION},tenant=acme")))
}

/// Runs a future in a subscriber of its own, on a runtime of one thread.
fn run(traced: &Traced, future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    traced.run(|| runtime.block_on(future));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn assert_remote_child(span: &Span) {
    assert_eq!(hex(&span.trace_id), TRACE, "{}", span.name);
    assert_eq!(hex(&span.parent_span_id), SPAN, "{}", span.name);
    assert_eq!(span.flags, 0x301, "{}", span.name);
    assert_eq!(span.trace_state, "rojo=00f067aa0ba902b7", "{}", span.name);
    assert_eq!(session_of(span), SESSION, "{}", span.name);
}

#[test]
fn what_is_made_in_a_remote_context_goes_on_from_there() {
    let traced = Traced::new();
    let outer = Session::start("outer");
    run(&traced, async {
        touch("before");
        let request = async {
            async { touch("grandchild") }
                .instrument(info_span!("child"))
                .await;
            debug_span!("hidden").in_scope(|| touch("below hidden"));
            tokio::task::yield_now().await;
            outer.in_scope(|| touch("in another session"));
            drop(info_span!(parent: None, "a root"));
        };
        outer.scope(remote().scope(request)).await;
        // A span that is current when the context is entered is no parent; one entered later is.
        let span = info_span!("local");
        span.in_scope(|| remote().in_scope(|| touch("out of local")));
        remote().in_scope(|| span.in_scope(|| touch("in local")));
        let guard = remote().enter();
        touch("guarded");
        drop(guard);
        touch("after");
    });
    for name in ["child", "below hidden", "out of local", "guarded"] {
        assert_remote_child(&traced.span(name));
    }
    let grandchild = traced.span("grandchild");
    assert!(is_child(&grandchild, &traced.span("child")));
    assert_eq!(session_of(&grandchild), SESSION);
    assert_eq!(grandchild.trace_state, "rojo=00f067aa0ba902b7");
    assert_eq!(grandchild.flags, 0);
    assert_eq!(
        attribute(&grandchild, "baggage.tenant").as_deref(),
        Some("acme")
    );
    let switched = traced.span("in another session");
    assert_eq!(hex(&switched.parent_span_id), SPAN);
    assert_eq!(session_of(&switched), outer.id().to_string());
    let root = traced.span("a root");
    assert!(root.parent_span_id.is_empty() && hex(&root.trace_id) != TRACE);
    assert_eq!(
        (session_of(&root), root.trace_state.as_str()),
        (SESSION.to_owned(), "")
    );
    assert!(is_child(&traced.span("in local"), &traced.span("local")));
    for name in ["before", "local", "in local", "after"] {
        let span = traced.span(name);
        assert_eq!(session_of(&span), traced.session(), "{name}");
        assert!(hex(&span.trace_id) != TRACE, "{name}");
        assert_eq!(under(&span, "baggage."), [], "{name}");
        assert_eq!((span.flags, span.trace_state.as_str()), (0, ""), "{name}");
    }
    // The caller announces its session, and this instance its own.
    let announced = traced.server.requests_to(support::SESSIONS);
    let ids: Vec<_> = announced
        .iter()
        .map(|request| request.json()["session"]["session_id"].clone())
        .collect();
    assert!(!ids.iter().any(|id| id == SESSION), "{ids:?}");
    assert_eq!(ids.len(), 2, "{ids:?}");
}

#[test]
fn what_headers_do_not_say_stays_as_it_is() {
    let traced = Traced::new();
    let session = Session::start("kept");
    traced.run(|| {
        let baggage = Baggage::new().with("tenant", "acme");
        let _in = (session.enter(), baggage.enter());
        let local = info_span!("local").entered();
        let none = extract(&HashMap::<String, String>::new());
        assert!(none.is_empty());
        none.in_scope(|| touch("nothing said"));
        let only_session = extract(&vec![(
            "baggage".to_owned(),
            format!("session_id={SESSION}"),
        )]);
        only_session.in_scope(|| touch("a session said"));
        drop(local);
    });
    let local = traced.span("local");
    for (name, wanted) in [
        ("nothing said", session.id().to_string()),
        ("a session said", SESSION.to_owned()),
    ] {
        let span = traced.span(name);
        assert!(is_child(&span, &local), "{name}");
        assert_eq!(session_of(&span), wanted, "{name}");
        assert_eq!(
            attribute(&span, "baggage.tenant").as_deref(),
            Some("acme"),
            "{name}"
        );
    }
}

#[test]
fn a_late_remote_parent_changes_the_span_and_what_comes_below() {
    let traced = Traced::new();
    traced.run(|| {
        let span = info_span!("request");
        let early = span.in_scope(|| info_span!("early"));
        span.set_remote_parent(&remote());
        span.in_scope(|| touch("late"));
        early.in_scope(|| touch("below early"));
        // Not recorded: nothing above it is meant either.
        span.in_scope(|| {
            debug_span!("hidden").set_remote_parent(&extract(&headers("")));
        });
        let plain = info_span!("no session said");
        plain.set_remote_parent(&extract(&headers("")));
        tracing::Span::none().set_remote_parent(&remote());
    });
    let request = traced.span("request");
    assert_remote_child(&request);
    assert_eq!(
        attribute(&request, "baggage.tenant").as_deref(),
        Some("acme")
    );
    let late = traced.span("late");
    assert!(is_child(&late, &request));
    assert_eq!((session_of(&late), late.flags), (SESSION.to_owned(), 0));
    assert_eq!(attribute(&late, "baggage.tenant").as_deref(), Some("acme"));
    let early = traced.span("early");
    assert_eq!(early.parent_span_id, request.span_id);
    assert_ne!(early.trace_id, request.trace_id);
    assert_eq!(session_of(&early), traced.session());
    assert!(is_child(&traced.span("below early"), &early));
    let plain = traced.span("no session said");
    assert_eq!(hex(&plain.parent_span_id), SPAN);
    assert_eq!(session_of(&plain), traced.session());
}

/// What the crate says to the log.
#[derive(Clone, Default)]
struct Said(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Said {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 = format!("{value:?}");
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        if event.metadata().target() == "honeyhive" {
            self.0.lock().unwrap().push(message.0);
        }
    }
}

#[test]
fn a_remote_parent_that_comes_too_late_for_some_is_warned_about_once() {
    let traced = Traced::new();
    let said = Said::default();
    let subscriber = tracing_subscriber::registry()
        .with(traced.honeyhive.layer())
        .with(said.clone());
    tracing::subscriber::with_default(subscriber, || {
        let alone = info_span!("alone");
        alone.set_remote_parent(&remote());
        assert_eq!(said.0.lock().unwrap().as_slice(), [] as [&str; 0]);
        for _ in 0..3 {
            let parent = info_span!("parent");
            parent.in_scope(|| touch("child"));
            parent.set_remote_parent(&remote());
        }
    });
    let said = said.0.lock().unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("remote parent"), "{said:?}");
}

#[test]
fn a_context_is_a_handle_of_the_current_event() {
    let traced = Traced::new();
    let mut id = None;
    traced.run(|| {
        assert_eq!(Context::current().event_id(), None);
        let context = info_span!("event").in_scope(Context::current);
        id = context.event_id();
        std::thread::scope(|threads| {
            threads.spawn(|| context.enrich(|e| e.feedback("rating", 5)).event_id());
        });
    });
    let event = traced.span("event");
    assert_eq!(
        attribute(&event, "honeyhive_feedback.rating").as_deref(),
        Some("5")
    );
    let id = id.expect("an id").to_string();
    assert_eq!(attribute(&event, "honeyhive_event_id"), Some(id));
}

#[test]
fn the_wire_says_so_in_json_too() {
    let traced = Traced::with(|builder| builder.protocol(honeyhive::config::Protocol::HttpJson));
    traced.run(|| {
        remote().in_scope(|| touch("remote child"));
        touch("plain");
    });
    traced
        .honeyhive
        .flush_blocking(support::PATIENCE)
        .expect("a delivery");
    let body = traced.server.requests_to(support::TRACES)[0].json();
    let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!(spans[0]["traceId"], TRACE);
    assert_eq!(spans[0]["parentSpanId"], SPAN);
    assert_eq!(spans[0]["traceState"], "rojo=00f067aa0ba902b7");
    assert_eq!(spans[0]["flags"], 0x301);
    assert!(spans[1].get("traceState").is_none() && spans[1].get("flags").is_none());
}

#[test]
fn what_is_injected_is_what_is_extracted() {
    let traced = Traced::with(|builder| builder.project("shop").source("prod"));
    let session = Session::start("asking");
    let mut map = HashMap::new();
    let mut headers = http::HeaderMap::new();
    let mut pairs = Vec::new();
    let mut meta = serde_json::Map::new();
    let mut tree = BTreeMap::new();
    let mut by_closure = HashMap::new();
    traced.run(|| {
        let baggage = Baggage::new()
            .with("User.Id", "jo & co, 100% +ü")
            .with("run_id", "r-1");
        let _in = (session.enter(), baggage.enter());
        let _span = info_span!("call").entered();
        // Filtered out: the nearest recorded span is named.
        debug_span!("hidden").in_scope(|| {
            headers.insert(
                "baggage",
                http::HeaderValue::from_static("theirs=1;p=2, session_id=x"),
            );
            headers.insert("traceparent", http::HeaderValue::from_static("theirs"));
            inject(&mut headers);
            inject(&mut map);
            inject(&mut pairs);
            inject(&mut meta);
            inject(&mut tree);
            inject_with(|name, value| drop(by_closure.insert(name, value)));
        });
    });
    let call = traced.span("call");
    assert_eq!(
        map["traceparent"],
        format!("00-{}-{}-01", hex(&call.trace_id), hex(&call.span_id))
    );
    let text = format!(
        "session_id={},project=shop,source=prod,user_id=jo%20%26%20co%2C%20100%25%20%2B%C3%BC,run_id=r-1",
        session.id()
    );
    assert_eq!(map["baggage"], text);
    assert_eq!(headers["baggage"], format!("{text},theirs=1;p=2"));
    assert!(!map.contains_key("tracestate"));
    for remote in [
        extract(&headers),
        extract(&map),
        extract(&pairs),
        extract(&meta),
        extract(&tree),
        extract_with(|name| by_closure.get(name)),
    ] {
        assert_eq!(remote.trace_id(), Some(hex(&call.trace_id)));
        assert_eq!(remote.span_id(), Some(hex(&call.span_id)));
        assert!(remote.is_sampled() && !remote.is_empty());
        assert_eq!(remote.session().map(|found| found.id()), Some(session.id()));
        for (key, value) in [
            ("user_id", "jo & co, 100% +ü"),
            ("User-ID", "jo & co, 100% +ü"),
            ("run_id", "r-1"),
            ("project", "shop"),
            ("source", "prod"),
        ] {
            assert_eq!(remote.baggage().get(key), Some(value), "{key}");
        }
    }
}

#[test]
fn a_context_that_is_only_passed_through_is_injected_as_it_came() {
    let mut map = HashMap::new();
    let traced = Traced::new();
    traced.run(|| remote().in_scope(|| inject(&mut map)));
    assert_eq!(map["traceparent"], format!("00-{TRACE}-{SPAN}-01"));
    assert_eq!(map["tracestate"], "rojo=00f067aa0ba902b7");
    assert!(map["baggage"].starts_with(&format!("session_id={SESSION},")));
    assert!(map["baggage"].ends_with(",tenant=acme"));

    // Nobody records here.
    let mut other = HashMap::new();
    remote().in_scope(|| inject(&mut other));
    assert_eq!(other["traceparent"], map["traceparent"]);
    assert_eq!(
        other["baggage"],
        format!("session_id={SESSION},tenant=acme")
    );
    let mut nothing = HashMap::new();
    inject(&mut nothing);
    assert_eq!(nothing, HashMap::new());
}

#[test]
fn baggage_is_set_listed_and_removed_and_ends_with_its_scope() {
    let traced = Traced::new();
    run(&traced, async {
        assert!(Baggage::current().is_empty());
        let mut baggage = Baggage::new();
        assert!(baggage.set("Tenant-Name", "acme") && baggage.set("b", "2"));
        assert!(baggage.set("tenant name", "acme inc"));
        assert!(!baggage.set("", "x") && !baggage.set("k", "x".repeat(5000)));
        assert_eq!(baggage.remove("B").as_deref(), Some("2"));
        assert_eq!(baggage.remove("b"), None);
        assert_eq!(
            baggage.iter().collect::<Vec<_>>(),
            [("tenant_name", "acme inc")]
        );
        baggage
            .scope(async {
                touch("outer");
                let inner = Baggage::current().with("step", "1");
                assert_eq!((inner.len(), inner.get("STEP")), (2, Some("1")));
                let span = inner.in_scope(|| info_span!("inner"));
                tokio::task::yield_now().await;
                assert_eq!(Baggage::current().get("step"), None);
                span.in_scope(|| {
                    // A span carries what was in force when it was made.
                    assert_eq!(Baggage::current().get("step"), Some("1"));
                    touch("below inner");
                    Baggage::new().in_scope(|| touch("without"));
                });
            })
            .await;
        assert!(Baggage::current().is_empty());
        touch("after");
    });
    let outer = [("tenant_name".to_owned(), "acme inc".to_owned())];
    let inner = [("step".to_owned(), "1".to_owned()), outer[0].clone()];
    assert_eq!(under(&traced.span("outer"), "baggage."), outer);
    assert_eq!(under(&traced.span("inner"), "baggage."), inner);
    assert_eq!(under(&traced.span("below inner"), "baggage."), inner);
    assert_eq!(under(&traced.span("without"), "baggage."), []);
    assert_eq!(under(&traced.span("after"), "baggage."), []);
}

#[test]
fn some_names_mean_more() {
    let traced = Traced::with(|builder| builder.project("own").source("dev"));
    let baggage: Baggage = [
        ("session_id", SESSION),
        ("project", "theirs"),
        ("source", "prod"),
        ("run_id", "r"),
        ("dataset_id", "d"),
        ("datapoint_id", "p"),
        ("parent_id", "above"),
        ("honeyhive_tracer_id", "7"),
        ("session_name", "n"),
    ]
    .into_iter()
    .collect();
    traced.run(|| {
        let span = baggage.in_scope(|| info_span!("top"));
        span.in_scope(|| touch("below"));
        baggage.in_scope(|| drop(info_span!("explicit", honeyhive.project = "mine")));
        let session = Session::start("inner");
        let nested = baggage.in_scope(|| session.in_scope(|| Baggage::current().with("x", "y")));
        session.in_scope(|| nested.in_scope(|| touch("nested")));
        assert_eq!(session_of(&traced.span("nested")), session.id().to_string());
    });
    for name in ["top", "below"] {
        let span = traced.span(name);
        assert_eq!(session_of(&span), SESSION, "{name}");
        for (key, value) in [
            ("honeyhive.project", "theirs"),
            ("traceloop.association.properties.project", "theirs"),
            ("honeyhive.source", "prod"),
            ("honeyhive_metadata.run_id", "r"),
            ("honeyhive_metadata.dataset_id", "d"),
            ("honeyhive_metadata.datapoint_id", "p"),
            ("honeyhive.parent_id", "above"),
            ("traceloop.association.properties.parent_id", "above"),
        ] {
            assert_eq!(
                attribute(&span, key).as_deref(),
                Some(value),
                "{name}: {key}"
            );
        }
        let custom = [("session_name".to_owned(), "n".to_owned())];
        assert_eq!(under(&span, "baggage."), custom, "{name}");
    }
    let explicit = traced.span("explicit");
    assert_eq!(
        attribute(&explicit, "honeyhive.project").as_deref(),
        Some("mine")
    );
}

#[test]
fn an_instance_keeps_its_own() {
    let (one, two) = (Traced::new(), Traced::new());
    let subscriber = tracing_subscriber::registry()
        .with(one.honeyhive.layer())
        .with(two.honeyhive.layer());
    let mut sent = HashMap::new();
    tracing::subscriber::with_default(subscriber, || {
        let wide = Baggage::new().with("who", "all");
        let _wide = wide.enter();
        one.honeyhive.baggage().with("who", "one").in_scope(|| {
            touch("baggage");
            assert_eq!(one.honeyhive.baggage().get("who"), Some("one"));
            assert_eq!(two.honeyhive.baggage().get("who"), Some("all"));
            let context = Context::current();
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    // No subscriber here; what is carried is there all the same.
                    context
                        .in_scope(|| assert_eq!(two.honeyhive.baggage().get("who"), Some("all")));
                });
            });
        });
        one.honeyhive
            .extract(&headers(""))
            .in_scope(|| touch("remote"));
        let span = info_span!("sending").entered();
        two.honeyhive.inject(&mut sent);
        drop(span);
        let late = info_span!("late");
        late.set_remote_parent(&two.honeyhive.extract(&headers("")));
    });
    let who = |traced: &Traced, name| attribute(&traced.span(name), "baggage.who");
    assert_eq!(who(&one, "baggage").as_deref(), Some("one"));
    assert_eq!(who(&two, "baggage").as_deref(), Some("all"));
    assert_eq!(hex(&one.span("remote").parent_span_id), SPAN);
    assert!(two.span("remote").parent_span_id.is_empty());
    assert!(one.span("late").parent_span_id.is_empty());
    assert_eq!(hex(&two.span("late").parent_span_id), SPAN);
    let sending = two.span("sending");
    assert!(sent["traceparent"].contains(&hex(&sending.trace_id)));
    assert!(sent["baggage"].contains(&two.session()));
}

#[test]
fn a_context_carries_all_of_it_into_tasks_threads_and_streams() {
    struct Count(u32);
    impl futures_core::Stream for Count {
        type Item = u32;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<u32>> {
            self.0 += 1;
            touch(&format!("item {}", self.0));
            std::task::Poll::Ready((self.0 < 3).then_some(self.0))
        }
    }
    impl Drop for Count {
        fn drop(&mut self) {
            touch("stream dropped");
        }
    }
    let traced = Traced::new();
    let session = Session::start("carried");
    let mut expected = Vec::new();
    run(&traced, async {
        let baggage = Baggage::new().with("tenant", "acme");
        let mut stream = None;
        let request = async {
            let task = async {
                touch("task");
                tokio::task::yield_now().await;
                honeyhive::enrich(|e| e.metadata("by", "the task"));
            };
            let task = tokio::spawn(task.in_current_context());
            stream = Some(Box::pin(Count(0).in_current_context()));
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            let work = Context::current().wrap(|| touch("thread"));
            let thread = std::thread::spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || {
                    // The thread's own scopes are none of the work's.
                    let _own = Session::start("the thread's").enter();
                    work();
                });
            });
            thread.join().expect("a thread");
            task.await.expect("a task");
        };
        let request = async { request.instrument(info_span!("request")).await };
        session.scope(baggage.scope(request)).await;
        let mut stream = stream.expect("a stream");
        let mut next =
            std::future::poll_fn(|cx| futures_core::Stream::poll_next(stream.as_mut(), cx));
        while (&mut next).await.is_some() {}
        drop(stream);
        touch("after");
        expected.extend([
            "task",
            "thread",
            "item 1",
            "item 2",
            "item 3",
            "stream dropped",
        ]);
    });
    let request = traced.span("request");
    assert_eq!(
        attribute(&request, "honeyhive_metadata.by").as_deref(),
        Some("the task")
    );
    for name in expected {
        let span = traced.span(name);
        assert!(is_child(&span, &request), "{name}");
        assert_eq!(session_of(&span), session.id().to_string(), "{name}");
        assert_eq!(
            attribute(&span, "baggage.tenant").as_deref(),
            Some("acme"),
            "{name}"
        );
    }
    assert_eq!(session_of(&traced.span("after")), traced.session());
    assert!(traced.span("after").parent_span_id.is_empty());
}

#[test]
fn a_context_without_a_span_carries_its_session_past_the_span_of_whoever_runs_it() {
    let traced = Traced::new();
    let session = Session::start("job");
    traced.run(|| {
        let context =
            session.in_scope(|| remote().with_session(&session).in_scope(Context::current));
        info_span!("worker").in_scope(|| {
            context.in_scope(|| touch("job"));
            touch("idle");
        });
        let plain = Context::current();
        session.in_scope(|| plain.in_scope(|| touch("plain")));
    });
    let job = traced.span("job");
    assert_eq!(session_of(&job), session.id().to_string());
    assert_eq!(hex(&job.parent_span_id), SPAN);
    assert_eq!(session_of(&traced.span("idle")), traced.session());
    assert_eq!(session_of(&traced.span("plain")), traced.session());
}

#[test]
fn users_closures_may_panic() {
    let remote = extract_with::<&str>(|name| {
        if name == "baggage" {
            panic!("no")
        } else {
            None
        }
    });
    assert!(remote.is_empty());
    let traced = Traced::new();
    traced.run(|| info_span!("call").in_scope(|| inject_with(|_, _| panic!("no"))));
    assert_eq!(traced.names(), ["call"]);
}
