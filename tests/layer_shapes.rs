//! Shapes of `tracing` use that break naive layers, each with the event that it should become.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use honeyhive::Session;
use support::attribute;
use support::traced::{Traced, is_child, session_of, touch};
use tracing::{Instrument as _, Span, error, info, info_span, instrument};

/// Runs a future to its end on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn a_span_that_is_never_entered_has_start_and_end() {
    let traced = Traced::new();
    traced.run(|| {
        touch("before");
        let span = info_span!("chat");
        touch("between");
        drop(span);
        touch("after");
    });
    let span = traced.span("chat");
    let [before, between, after] = ["before", "between", "after"].map(|name| traced.span(name));
    assert!(before.end_time_unix_nano <= span.start_time_unix_nano);
    assert!(span.start_time_unix_nano <= between.start_time_unix_nano);
    assert!(between.end_time_unix_nano <= span.end_time_unix_nano);
    assert!(span.end_time_unix_nano <= after.start_time_unix_nano);
}

#[test]
fn a_parent_that_its_child_outlives_ends_with_its_last_exit() {
    let traced = Traced::new();
    traced.run(|| {
        let parent = info_span!("parent");
        let child = parent.in_scope(|| info_span!("child"));
        drop(parent);
        touch("after the exit");
        drop(child);
    });
    let [parent, child, after] =
        ["parent", "child", "after the exit"].map(|name| traced.span(name));
    assert!(is_child(&child, &parent));
    assert!(parent.end_time_unix_nano <= after.start_time_unix_nano);
    assert!(after.end_time_unix_nano <= child.end_time_unix_nano);
}

#[test]
fn a_spawned_task_without_instrument_is_a_root_in_the_instances_session() {
    let traced = Traced::new();
    let dispatch = traced.run(|| tracing::dispatcher::get_default(Clone::clone));
    traced.run(|| {
        block_on(Session::start("mine").scope(async {
            let span = info_span!("caller");
            async {
                tokio::spawn(async { touch("task") }).await.expect("a task");
                let blocking = tokio::task::spawn_blocking(move || {
                    tracing::dispatcher::with_default(&dispatch, || touch("blocking"));
                });
                blocking.await.expect("a task");
            }
            .instrument(span)
            .await;
        }));
    });
    for name in ["task", "blocking"] {
        let span = traced.span(name);
        assert!(span.parent_span_id.is_empty(), "{name}");
        assert_eq!(session_of(&span), traced.session(), "{name}");
    }
    assert_ne!(session_of(&traced.span("caller")), traced.session());
}

#[test]
fn a_panic_is_the_error_of_the_spans_it_leaves_and_of_no_other() {
    struct Destructor;
    impl Drop for Destructor {
        fn drop(&mut self) {
            touch("destructor");
        }
    }
    let traced = Traced::new();
    traced.run(|| {
        info_span!("above").in_scope(|| {
            let caught = catch_unwind(|| {
                let _outer = info_span!("outer").entered();
                let _destructor = Destructor;
                let _inner = info_span!("inner").entered();
                std::panic::resume_unwind(Box::new("no message"));
            });
            assert!(caught.is_err());
        });
    });
    for (name, error) in [
        ("inner", Some("panicked")),
        ("outer", Some("panicked")),
        ("destructor", None),
        ("above", None),
    ] {
        let span = traced.span(name);
        assert_eq!(
            attribute(&span, "honeyhive_error").as_deref(),
            error,
            "{name}"
        );
        let status = span.status.as_ref().map_or(0, |status| status.code);
        assert_eq!(status, if error.is_some() { 2 } else { 0 }, "{name}");
    }
}

#[test]
fn a_dropped_future_ends_its_span() {
    let traced = Traced::new();
    traced.run(|| {
        block_on(async {
            let work = async {
                tokio::task::yield_now().await;
                std::future::pending::<()>().await;
            };
            let mut work = Box::pin(work.instrument(info_span!("work")));
            let once = std::future::poll_fn(|cx| {
                assert!(work.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            });
            once.await;
            touch("before the drop");
            drop(work);
        });
    });
    let (work, before) = (traced.span("work"), traced.span("before the drop"));
    assert_eq!(attribute(&work, "honeyhive_error"), None);
    // Dropping enters the span once more.
    assert!(before.end_time_unix_nano <= work.end_time_unix_nano);
}

#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the model refused")
    }
}

#[instrument(ret)]
fn returns() -> &'static str {
    "an answer"
}

#[instrument(ret(Display))]
fn returns_display() -> u8 {
    42
}

#[instrument(err)]
fn fails() -> Result<(), Refused> {
    Err(Refused)
}

#[instrument(err(Debug))]
fn fails_debug() -> Result<(), &'static str> {
    Err("said \"no\"")
}

#[instrument(ret, err)]
async fn both(fail: bool) -> Result<u8, Refused> {
    tokio::task::yield_now().await;
    if fail { Err(Refused) } else { Ok(7) }
}

#[test]
fn return_values_become_outputs_and_errors_become_errors() {
    let traced = Traced::new();
    traced.run(|| {
        returns();
        returns_display();
        let _ = fails();
        let _ = fails_debug();
        let _ = block_on(both(true));
    });
    let result = |name: &str| attribute(&traced.span(name), "honeyhive_outputs.result");
    let error = |name: &str| attribute(&traced.span(name), "honeyhive_error");
    assert_eq!(result("returns").as_deref(), Some("an answer"));
    assert_eq!(result("returns_display").as_deref(), Some("42"));
    assert_eq!(error("fails").as_deref(), Some("the model refused"));
    assert_eq!(error("fails_debug").as_deref(), Some("said \"no\""));
    assert_eq!(error("both").as_deref(), Some("the model refused"));
    assert_eq!(result("both"), None);
    assert_eq!(traced.span("both").events.len(), 1);

    let traced = Traced::new();
    traced.run(|| block_on(both(false))).expect("seven");
    let span = traced.span("both");
    let found = attribute(&span, "honeyhive_outputs.result");
    assert_eq!(found.as_deref(), Some("7"));
    assert_eq!(attribute(&span, "honeyhive_error"), None);
}

#[test]
fn recording_an_undeclared_field_does_nothing() {
    let traced = Traced::new();
    traced.run(|| {
        info_span!("span", known = 1).record("unknown", 2);
    });
    let span = traced.span("span");
    assert_eq!(
        attribute(&span, "honeyhive_inputs.known").as_deref(),
        Some("1")
    );
    assert!(
        !span
            .attributes
            .iter()
            .any(|attribute| attribute.key.contains("unknown"))
    );
}

#[test]
fn an_absent_option_is_left_out() {
    let traced = Traced::new();
    traced.run(|| drop(info_span!("span", none = None::<u64>, some = Some(3))));
    let span = traced.span("span");
    assert_eq!(attribute(&span, "honeyhive_inputs.none"), None);
    assert_eq!(
        attribute(&span, "honeyhive_inputs.some").as_deref(),
        Some("3")
    );
}

#[test]
fn the_last_write_of_a_field_wins() {
    let traced = Traced::new();
    traced.run(|| {
        let span = info_span!("span", answer = "first");
        span.record("answer", "second");
        span.record("answer", "third");
    });
    let span = traced.span("span");
    assert_eq!(
        attribute(&span, "honeyhive_inputs.answer").as_deref(),
        Some("third")
    );
}

#[test]
fn a_nameless_span_is_called_what_it_says_late_or_else_its_target() {
    let traced = Traced::new();
    traced.run(|| {
        let named = info_span!(target: "adk", "", otel.name = tracing::field::Empty);
        named.record("otel.name", "execute_tool search");
        drop(info_span!(target: "adk::tool", ""));
    });
    assert_eq!(traced.names(), ["adk::tool", "execute_tool search"]);
}

#[test]
fn join_leaves_the_parents_right() {
    let traced = Traced::new();
    traced.run(|| {
        block_on(
            async {
                let step = |name: &'static str| {
                    async move {
                        for _ in 0..3 {
                            tokio::task::yield_now().await;
                        }
                        touch(&format!("in {name}"));
                    }
                    .instrument(info_span!("step", otel.name = name))
                };
                tokio::join!(step("left"), step("right"));
            }
            .instrument(info_span!("root")),
        );
    });
    for name in ["left", "right"] {
        let step = traced.span(name);
        assert!(is_child(&step, &traced.span("root")));
        assert!(is_child(&traced.span(&format!("in {name}")), &step));
    }
}

#[test]
fn guards_held_across_awaits_do_no_harm() {
    async fn misused(index: usize) {
        let span = info_span!("misused", index);
        let _entered = span.enter();
        tokio::task::yield_now().await;
    }
    let traced = Traced::new();
    traced.run(|| {
        block_on(async {
            let local = tokio::task::LocalSet::new();
            for index in 0..200 {
                local.spawn_local(misused(index));
            }
            local.await;
        });
    });
    // Nested up to two hundred deep, as tracing has it, but all there and ended.
    let spans = traced.spans();
    assert_eq!(spans.len(), 200);
    assert!(
        spans
            .iter()
            .all(|span| span.end_time_unix_nano >= span.start_time_unix_nano)
    );
}

#[test]
fn a_span_entered_on_two_threads_ends_with_the_last_exit() {
    let traced = Traced::new();
    let barrier = std::sync::Barrier::new(2);
    traced.run(|| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let shared = info_span!("shared");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _in = shared.enter();
                barrier.wait();
                barrier.wait();
            });
            let first = shared.enter();
            barrier.wait();
            drop(first);
            tracing::dispatcher::with_default(&dispatch, || drop(info_span!(parent: None, "gone")));
            barrier.wait();
        });
        touch("after");
    });
    let [shared, gone, after] = ["shared", "gone", "after"].map(|name| traced.span(name));
    assert!(gone.end_time_unix_nano <= shared.end_time_unix_nano);
    assert!(shared.end_time_unix_nano <= after.start_time_unix_nano);
}

#[test]
fn a_leaked_span_is_sent_unfinished_by_shutdown() {
    let traced = Traced::new();
    traced.run(|| {
        #[allow(clippy::mem_forget, reason = "the misuse that is tested")]
        std::mem::forget(info_span!("leaked", question = "why"));
        touch("closed");
    });
    let shutdown = traced.honeyhive.shutdown_blocking(support::PATIENCE);
    assert_eq!(shutdown.expect("a delivery").sent, 2);
    let unfinished = |name: &str| {
        let span = traced.server.span(name);
        attribute(&span, "honeyhive_metadata.unfinished")
    };
    assert_eq!(unfinished("leaked").as_deref(), Some("true"));
    assert_eq!(unfinished("closed"), None);
}

#[test]
fn explicit_parents_and_roots_are_obeyed() {
    let traced = Traced::new();
    let session = Session::start("explicit");
    traced.run(|| {
        session.in_scope(|| {
            let elsewhere = info_span!("elsewhere");
            let _current = info_span!("current").entered();
            drop(info_span!(parent: None, "root"));
            drop(info_span!(parent: &elsewhere, "child of elsewhere"));
            drop(info_span!("child of current"));
            let follower = info_span!("follower");
            follower.follows_from(&elsewhere);
            drop(elsewhere);
            follower.follows_from(info_span!("closed at once").id());
        });
    });
    let [elsewhere, current, root] = ["elsewhere", "current", "root"].map(|name| traced.span(name));
    assert!(is_child(&traced.span("child of elsewhere"), &elsewhere));
    assert!(is_child(&traced.span("child of current"), &current));
    assert!(is_child(&traced.span("follower"), &current));
    assert!(root.parent_span_id.is_empty());
    assert_ne!(root.trace_id, current.trace_id);
    assert_ne!(elsewhere.trace_id, current.trace_id);
    for span in traced.spans() {
        assert_eq!(session_of(&span), session.id().to_string(), "{}", span.name);
    }
}

#[test]
fn spans_may_close_in_any_order() {
    let traced = Traced::new();
    traced.run(|| {
        let outer = info_span!("outer").entered();
        let middle = info_span!("middle").entered();
        let inner = info_span!("inner").entered();
        drop(outer);
        drop(inner);
        touch("late child");
        drop(middle);
        touch("outside");
    });
    let [outer, middle, inner] = ["outer", "middle", "inner"].map(|name| traced.span(name));
    assert!(is_child(&middle, &outer) && is_child(&inner, &middle));
    assert!(is_child(&traced.span("late child"), &middle));
    assert!(traced.span("outside").parent_span_id.is_empty());
}

#[test]
fn what_happens_to_a_span_late_moves_its_end() {
    let traced = Traced::new();
    traced.run(|| {
        let late = [
            info_span!("recorded", usage = tracing::field::Empty),
            info_span!("enriched"),
            info_span!("failed"),
        ];
        let quiet = info_span!("quiet");
        for span in late.iter().chain([&quiet]) {
            span.in_scope(|| {});
        }
        touch("marker");
        late[0].record("usage", 3);
        honeyhive::SpanExt::enrich(&late[1], |e| e.output("late"));
        error!(parent: &late[2], "late");
    });
    let marker = traced.span("marker");
    for name in ["recorded", "enriched", "failed"] {
        let end = traced.span(name).end_time_unix_nano;
        assert!(end >= marker.end_time_unix_nano, "{name}");
    }
    let quiet = traced.span("quiet");
    assert!(quiet.end_time_unix_nano <= marker.start_time_unix_nano);
}

#[test]
fn an_event_while_the_span_closes_does_no_harm() {
    struct Last(Span);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.in_scope(|| error!("the last word"));
        }
    }
    let traced = Traced::new();
    traced.run(|| {
        drop(Last(info_span!("span")));
        // Only errors in the span itself are its own.
        info_span!("parent").in_scope(|| info_span!("child").in_scope(|| error!("of the child")));
        error!("of nobody");
    });
    let error = |name: &str| attribute(&traced.span(name), "honeyhive_error");
    assert_eq!(error("span").as_deref(), Some("the last word"));
    assert_eq!(error("child").as_deref(), Some("of the child"));
    assert_eq!(error("parent"), None);
}

#[test]
fn events_that_are_no_errors_leave_only_what_is_meant_for_the_span() {
    let traced = Traced::new();
    traced.run(|| {
        let _span = info_span!("span").entered();
        info!(secret = "a whole request", "sending");
        info!(
            honeyhive.metrics.score = 0.5,
            gen_ai.usage.input_tokens = 12,
            other = 1
        );
        tracing::debug!(honeyhive.metrics.hidden = 1);
    });
    let span = traced.span("span");
    assert!(span.events.is_empty());
    let keys: Vec<&str> = span
        .attributes
        .iter()
        .map(|attribute| attribute.key.as_str())
        .filter(|key| {
            !key.starts_with("honeyhive.")
                && !key.starts_with("traceloop.")
                && !matches!(*key, "honeyhive_event_type" | "honeyhive_duration_ms")
        })
        .collect();
    assert_eq!(
        keys,
        ["honeyhive_metrics.score", "gen_ai.usage.input_tokens"]
    );
}

#[test]
fn unwinding_through_a_value_that_holds_a_span_marks_it() {
    let traced = Traced::new();
    traced.run(|| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _never_entered = info_span!("held");
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(caught.is_err());
        touch("later");
    });
    let error = |name: &str| attribute(&traced.span(name), "honeyhive_error");
    assert_eq!(error("held").as_deref(), Some("panicked"));
    assert_eq!(error("later"), None);
}

/// A layer that panics while it holds the extensions of a span, which poisons them for whoever asks next.
struct Poison;

impl<S> tracing_subscriber::Layer<S> for Poison
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fn on_event(&self, event: &tracing::Event<'_>, cx: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() != "poison" {
            return;
        }
        let span = cx.event_span(event).expect("a span");
        let _extensions = span.extensions_mut();
        std::panic::resume_unwind(Box::new("while it holds the lock"));
    }
}

#[test]
fn a_lock_that_another_layer_poisoned_is_none_of_ours() {
    use tracing_subscriber::prelude::*;

    for outside in [true, false] {
        let traced = Traced::new();
        let (above, below) = if outside {
            (Some(Poison), None)
        } else {
            (None, Some(Poison))
        };
        let subscriber = tracing_subscriber::registry()
            .with(below)
            .with(traced.honeyhive.layer())
            .with(above);
        tracing::subscriber::with_default(subscriber, || {
            let span = info_span!("poisoned", late = tracing::field::Empty);
            span.in_scope(|| {
                let caught = catch_unwind(|| info!(target: "poison", "now"));
                assert!(caught.is_err());
                touch("child");
                honeyhive::enrich(|e| e.output("an answer"));
                error!("an error");
            });
            span.record("late", 1);
            let follower = info_span!("follower");
            follower.follows_from(&span);
            drop(follower);
        });
        let span = traced.span("poisoned");
        for (key, value) in [
            ("honeyhive_inputs.late", "1"),
            ("honeyhive_outputs.result", "an answer"),
            ("honeyhive_error", "an error"),
        ] {
            assert_eq!(attribute(&span, key).as_deref(), Some(value), "{key}");
        }
        assert!(is_child(&traced.span("child"), &span));
        assert_eq!(traced.span("follower").links.len(), 1);
        support::assert_all_exported(&traced.stats(), 3);
    }
}

#[test]
fn a_span_that_is_entered_again_and_again_is_one_event() {
    let traced = Traced::new();
    traced.run(|| {
        let span = info_span!("span");
        for _ in 0..3 {
            span.in_scope(|| span.in_scope(|| touch("inside")));
        }
        let _twice = span.enter();
        Span::none().in_scope(|| touch("under none"));
        info_span!(parent: &Span::none(), "root").in_scope(|| {});
        Span::none().record("field", 1);
    });
    let span = traced.span("span");
    let spans = traced.spans();
    let inside = spans.iter().filter(|span| span.name == "inside");
    assert_eq!(inside.filter(|inside| is_child(inside, &span)).count(), 3);
    // `Span::none` is no span: what is made in it belongs to the one outside of it; as a parent it is none.
    assert!(is_child(&traced.span("under none"), &span));
    assert!(traced.span("root").parent_span_id.is_empty());
    support::assert_all_exported(&traced.stats(), 6);
}

#[test]
fn futures_that_wander_over_threads_make_the_tree_they_should() {
    async fn step(task: usize, depth: usize) {
        let name = format!("{task} {depth}");
        let work = async move {
            tokio::task::yield_now().await;
            if depth < 4 {
                Box::pin(step(task, depth + 1)).await;
            }
            tokio::task::yield_now().await;
        };
        let span = info_span!("step", otel.name = name);
        work.instrument(span).await;
    }
    let traced = Traced::new();
    let subscriber = traced.run(|| tracing::dispatcher::get_default(Clone::clone));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(8)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        use tracing::instrument::WithSubscriber as _;

        let tasks: Vec<_> = (0..100)
            .map(|task| tokio::spawn(step(task, 0).with_subscriber(subscriber.clone())))
            .collect();
        for task in tasks {
            task.await.expect("a task");
        }
    });
    let spans = traced.spans();
    assert_eq!(spans.len(), 500);
    let by_name: std::collections::HashMap<_, _> = spans
        .iter()
        .map(|span| (span.name.as_str(), span))
        .collect();
    for task in 0..100 {
        assert!(
            by_name[format!("{task} 0").as_str()]
                .parent_span_id
                .is_empty()
        );
        for depth in 1..5 {
            let child = by_name[format!("{task} {depth}").as_str()];
            let parent = by_name[format!("{task} {}", depth - 1).as_str()];
            assert!(is_child(child, parent), "{task} {depth}");
        }
    }
}
