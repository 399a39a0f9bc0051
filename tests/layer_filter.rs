//! Which spans are recorded, what other layers keep, and where children of unrecorded spans hang.

mod support;

use std::sync::{Arc, Mutex};

use support::traced::{Traced, is_child, session_of, touch};
use tracing::span::{Attributes, Id};
use tracing::{
    Instrument as _, Subscriber, debug_span, error_span, info_span, trace_span, warn_span,
};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::Registry;

/// A layer that notes the names of the spans it sees.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<&'static str>>>);

impl<S: Subscriber> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.0.lock().unwrap().push(attributes.metadata().name());
    }
}

fn one_of_each_level() {
    drop((
        trace_span!("trace"),
        debug_span!("debug"),
        info_span!("info"),
        warn_span!("warn"),
        error_span!("error"),
        debug_span!(target: "my", "my_debug"),
        debug_span!(target: "my::part", "part_debug"),
        trace_span!(target: "my", "my_trace"),
        info_span!(target: "honeyhive", "own"),
    ));
}

fn of_each_level(filter: Option<&str>) -> Vec<String> {
    let traced = Traced::with(|builder| match filter {
        Some(filter) => builder.filter(filter),
        None => builder,
    });
    // Another layer wants all of them.
    let subscriber = tracing_subscriber::registry()
        .with(Seen::default())
        .with(traced.honeyhive.layer());
    tracing::subscriber::with_default(subscriber, one_of_each_level);
    traced.names()
}

#[test]
fn the_filter_decides_by_level_and_target() {
    assert_eq!(of_each_level(None), ["error", "info", "warn"]);
    assert_eq!(
        of_each_level(Some("warn,my=debug")),
        ["error", "my_debug", "part_debug", "warn"]
    );
    assert_eq!(of_each_level(Some("trace")).len(), 8, "all but our own");
    assert_eq!(of_each_level(Some("off")), Vec::<String>::new());
    assert_eq!(of_each_level(Some("my::part=debug")), ["part_debug"]);
}

#[test]
fn the_filter_can_be_changed_while_spans_are_open() {
    let traced = Traced::new();
    traced.run(|| {
        let outer = info_span!("outer").entered();
        drop(debug_span!("too early"));
        let change = traced
            .honeyhive
            .reconfigure(|settings| settings.filter("debug"));
        change.expect("a filter");
        drop(debug_span!("in time"));
        let change = traced
            .honeyhive
            .reconfigure(|settings| settings.filter("off"));
        change.expect("a filter");
        drop(info_span!("too late"));
        drop(outer);
    });
    assert_eq!(traced.names(), ["in time", "outer"]);
}

#[test]
fn other_layers_see_what_they_would_see_without_us() {
    for filter in ["off", "warn", "trace"] {
        let traced = Traced::with(|builder| builder.filter(filter));
        let (all, info) = (Seen::default(), Seen::default());
        let subscriber = tracing_subscriber::registry()
            .with(all.clone())
            .with(traced.honeyhive.layer())
            .with(info.clone().with_filter(LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, one_of_each_level);
        assert_eq!(all.0.lock().unwrap().len(), 9, "{filter}");
        assert_eq!(
            *info.0.lock().unwrap(),
            ["info", "warn", "error", "own"],
            "{filter}"
        );
    }
}

/// Runs `f` with a layer of the instance wrapped in some way.
fn with_layer<L>(layer: L, f: impl FnOnce())
where
    L: Layer<Registry> + Send + Sync,
{
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), f);
}

#[test]
fn the_layer_works_however_it_is_wrapped() {
    let work = || {
        info_span!("work", n = 1).in_scope(|| honeyhive::enrich(|e| e.output("done")));
        drop(info_span!(target: "noise", "noise"));
    };
    type Wrapping = (
        &'static str,
        fn(&Traced, &dyn Fn()),
        &'static [&'static str],
    );
    let cases: &[Wrapping] = &[
        (
            "plain",
            |traced, work| with_layer(traced.honeyhive.layer(), work),
            &["noise", "work"],
        ),
        (
            "some",
            |traced, work| with_layer(Some(traced.honeyhive.layer()), work),
            &["noise", "work"],
        ),
        (
            "boxed",
            |traced, work| with_layer(traced.honeyhive.layer().boxed(), work),
            &["noise", "work"],
        ),
        (
            "list",
            |traced, work| with_layer(vec![traced.honeyhive.layer().boxed()], work),
            &["noise", "work"],
        ),
        (
            "and_then",
            |traced, work| with_layer(Seen::default().and_then(traced.honeyhive.layer()), work),
            &["noise", "work"],
        ),
        (
            "env filter",
            |traced, work| {
                with_layer(
                    traced
                        .honeyhive
                        .layer()
                        .with_filter(EnvFilter::new("info,noise=off")),
                    work,
                );
            },
            &["work"],
        ),
        (
            "boxed optional filter",
            |traced, work| {
                let layer = traced
                    .honeyhive
                    .layer()
                    .with_filter(filter_fn(|meta| meta.target() != "noise"));
                with_layer(Some(layer.boxed()), work);
            },
            &["work"],
        ),
        (
            "two layers",
            |traced, work| {
                with_layer(
                    traced.honeyhive.layer().and_then(traced.honeyhive.layer()),
                    work,
                );
            },
            &["noise", "noise", "work", "work"],
        ),
    ];
    for (name, wrap, expected) in cases {
        let traced = Traced::new();
        wrap(&traced, &work);
        assert_eq!(traced.names(), *expected, "{name}");
        for span in traced.spans().iter().filter(|span| span.name == "work") {
            let output = support::attribute(span, "honeyhive_outputs.result");
            assert_eq!(output.as_deref(), Some("done"), "{name}");
        }
    }
    with_layer(None::<honeyhive::HoneyHiveLayer<Registry>>, work);
}

#[test]
fn two_instances_each_get_everything_under_ids_and_sessions_of_their_own() {
    let (one, two) = (
        Traced::new(),
        Traced::with(|builder| builder.filter("warn")),
    );
    let subscriber = tracing_subscriber::registry()
        .with(one.honeyhive.layer())
        .with(two.honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        warn_span!("root").in_scope(|| {
            info_span!("step").in_scope(|| {
                warn_span!("leaf").in_scope(|| honeyhive::enrich(|e| e.metric("n", 1)));
            });
        });
    });
    assert_eq!(one.names(), ["leaf", "root", "step"]);
    assert_eq!(two.names(), ["leaf", "root"]);
    assert!(is_child(&one.span("leaf"), &one.span("step")));
    assert!(is_child(&two.span("leaf"), &two.span("root")));
    for instance in [&one, &two] {
        let leaf = instance.span("leaf");
        assert_eq!(
            support::attribute(&leaf, "honeyhive_metrics.n").as_deref(),
            Some("1")
        );
        assert_eq!(session_of(&leaf), instance.session());
    }
    assert_ne!(one.span("root").trace_id, two.span("root").trace_id);
}

/// Makes recorded spans below hidden ones, in every way that a span gets a parent. The name of each says where it must
/// hang.
fn hide_parents(hidden: fn() -> tracing::Span) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let above = info_span!("above");
    // Entered inside each other.
    above.in_scope(|| hidden().in_scope(|| hidden().in_scope(|| touch("below: entered"))));
    // By name.
    let by_name = above.in_scope(hidden);
    drop(info_span!(parent: &by_name, "below: explicit"));
    // On another task, where nothing but the hidden span is entered.
    let task = above.in_scope(|| async { touch("below: spawned") }.instrument(hidden()));
    runtime.block_on(async { tokio::spawn(task).await.expect("a task") });
    // While a span of another tree is entered further out.
    let foreign = info_span!("foreign");
    foreign.in_scope(|| by_name.in_scope(|| touch("below: foreign")));
    // Under nothing that is recorded.
    hidden().in_scope(|| touch("root: hidden"));
    // A root of its own all the same.
    by_name.in_scope(|| drop(info_span!(parent: None, "root: explicit")));
}

fn assert_hung_right(traced: &Traced) {
    let above = traced.span("above");
    let spans = traced.spans();
    assert_eq!(spans.len(), 8, "{:?}", traced.names());
    for span in spans {
        if span.name.starts_with("below") {
            assert!(is_child(&span, &above), "{}", span.name);
        } else {
            assert!(span.parent_span_id.is_empty(), "{}", span.name);
        }
    }
}

#[test]
fn children_of_unrecorded_spans_hang_under_the_nearest_recorded_one() {
    let traced = Traced::new();
    let subscriber = tracing_subscriber::registry()
        .with(Seen::default())
        .with(traced.honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || hide_parents(|| debug_span!("hidden")));
    assert_hung_right(&traced);
}

#[test]
fn children_of_spans_that_a_users_filter_hides_do_too() {
    let traced = Traced::new();
    let layer = traced
        .honeyhive
        .layer()
        .with_filter(EnvFilter::new("info,noise=off"));
    let subscriber = tracing_subscriber::registry()
        .with(Seen::default())
        .with(layer);
    tracing::subscriber::with_default(subscriber, || {
        hide_parents(|| info_span!(target: "noise", "hidden"));
    });
    assert_hung_right(&traced);
}

#[test]
fn a_change_on_a_thread_without_a_subscriber_switches_nothing_off() {
    let test = "a_change_on_a_thread_without_a_subscriber_switches_nothing_off";
    // No other subscriber must be about.
    if support::in_process_of_its_own(test, &[]).is_some() {
        return;
    }
    let traced = Traced::new();
    let heard = support::fault::Heard::default();
    let subscriber = heard.dispatch(&traced.honeyhive);
    let work = || {
        tracing::dispatcher::with_default(&subscriber, || {
            tracing::info_span!("work").in_scope(|| tracing::info!("at work"));
        });
    };
    work();
    traced
        .honeyhive
        .reconfigure(|settings| settings.sample_rate(1.0))
        .unwrap();
    work();
    traced
        .honeyhive
        .shutdown_blocking(support::PATIENCE)
        .unwrap();
    work();
    assert_eq!(heard.times("at work"), 3, "{}", heard.text());
    assert_eq!(traced.server.spans().len(), 2);
}
