//! Span-name filters: what is left out, and where that which was in it goes.

mod support;

use honeyhive::{HoneyHive, Session, SpanExt as _};
use support::traced::{Traced, is_child, session_of, touch};
use support::{Recorder, assert_all_exported, attribute};
use tracing::{error, info_span};
use tracing_subscriber::prelude::*;

#[test]
fn names_are_included_and_excluded_by_their_beginning() {
    let traced = Traced::with(|builder| {
        builder
            .include_spans(["agent.", "tool."])
            .exclude_spans(["tool.debug"])
    });
    traced.run(|| {
        for name in [
            "agent.run",
            "tool.search",
            "tool.debug.x",
            "other",
            "Agent.x",
        ] {
            touch(name);
        }
    });
    assert_eq!(traced.names(), ["agent.run", "tool.search"]);
    assert_all_exported(&traced.stats(), 2);
    assert_eq!(traced.stats().sampled_out, 0);
}

#[test]
fn the_name_given_at_creation_goes_before_that_of_the_callsite() {
    let traced = Traced::with(|builder| builder.exclude_spans(["noise"]));
    traced.run(|| {
        info_span!("noise").in_scope(|| {});
        info_span!("noise", otel.name = "signal 1").in_scope(|| {});
        info_span!("noise", honeyhive.event_name = %"signal 2").in_scope(|| {});
        info_span!("fine", otel.name = ?"noise").in_scope(|| {});
        info_span!("fine", otel.name = "x", honeyhive.event_name = "noise").in_scope(|| {});
        // Later names come too late to decide.
        let span = info_span!("fine", otel.name = tracing::field::Empty);
        span.record("otel.name", "noise late");
    });
    assert_eq!(traced.names(), ["noise late", "signal 1", "signal 2"]);
}

#[test]
fn children_and_data_go_to_the_nearest_span_above_that_is_kept() {
    let traced = Traced::with(|builder| builder.exclude_spans(["skip"]));
    traced.run(|| {
        info_span!("root").in_scope(|| {
            let skipped = info_span!("skip.a", secret_field = tracing::field::Empty);
            skipped.in_scope(|| {
                info_span!("skip.b").in_scope(|| {
                    honeyhive::enrich(|e| e.metadata("from", "inside"));
                    info_span!("leaf").in_scope(|| {});
                });
                // What happens in it is none of the business of the span above.
                error!("in the span that is left out");
                tracing::info!(gen_ai.request.model = "m");
            });
            skipped.record("secret_field", "late");
            skipped.enrich(|e| e.metadata("by", "handle"));
            let parent = info_span!("skip.c");
            info_span!(parent: &parent, "explicit").in_scope(|| {});
            assert_eq!(skipped.event_id(), tracing::Span::current().event_id());
        });
    });
    assert_eq!(traced.names(), ["explicit", "leaf", "root"]);
    let root = traced.server.span("root");
    assert!(is_child(&traced.server.span("leaf"), &root));
    assert!(is_child(&traced.server.span("explicit"), &root));
    assert_eq!(
        attribute(&root, "honeyhive_metadata.from").as_deref(),
        Some("inside")
    );
    assert_eq!(
        attribute(&root, "honeyhive_metadata.by").as_deref(),
        Some("handle")
    );
    assert_eq!(attribute(&root, "honeyhive_error"), None);
    assert_eq!(attribute(&root, "gen_ai.request.model"), None);
    assert_eq!(attribute(&root, "honeyhive_inputs.secret_field"), None);
    assert!(root.events.is_empty());
    assert_all_exported(&traced.stats(), 3);
}

#[test]
fn below_a_root_that_is_left_out_are_roots_of_one_trace_and_session() {
    let traced = Traced::with(|builder| builder.exclude_spans(["skip"]));
    let session = Session::start("s");
    let given = "7f3a5c10-0000-4000-8000-000000000001";
    traced.run(|| {
        session.in_scope(|| {
            info_span!("skip").in_scope(|| {
                honeyhive::enrich(|e| e.metadata("lost", 1));
                touch("one");
                touch("two");
            });
        });
        info_span!("skip", honeyhive.session_id = given).in_scope(|| touch("three"));
    });
    assert_eq!(traced.names(), ["one", "three", "two"]);
    let (one, two) = (traced.server.span("one"), traced.server.span("two"));
    assert!(one.parent_span_id.is_empty() && two.parent_span_id.is_empty());
    assert_eq!(one.trace_id, two.trace_id);
    assert_eq!(session_of(&one), session.id().to_string());
    assert_eq!(session_of(&two), session.id().to_string());
    assert_eq!(session_of(&traced.server.span("three")), given);
}

#[test]
fn each_instance_has_its_own_and_it_changes_while_it_runs() {
    let servers = [Recorder::start(), Recorder::start()];
    let build = |server: &Recorder, excluded: &str| {
        support::settings(&server.url)
            .exclude_spans([excluded])
            .build()
            .unwrap()
    };
    let one = build(&servers[0], "a");
    let two = build(&servers[1], "b");
    let subscriber = tracing_subscriber::registry()
        .with(one.layer())
        .with(two.layer());
    let names = |honeyhive: &HoneyHive, server: &Recorder| {
        honeyhive.flush_blocking(support::PATIENCE).unwrap();
        server
            .spans()
            .into_iter()
            .map(|span| span.name)
            .collect::<Vec<_>>()
    };
    tracing::subscriber::with_default(subscriber, || {
        info_span!("a").in_scope(|| {
            info_span!("b").in_scope(|| {
                honeyhive::enrich(|e| e.metadata("m", 1));
                info_span!("c").in_scope(|| {});
            });
        });
        assert_eq!(names(&one, &servers[0]), ["c", "b"]);
        assert_eq!(names(&two, &servers[1]), ["c", "a"]);
        for (server, above) in [(&servers[0], "b"), (&servers[1], "a")] {
            let above = server.span(above);
            assert!(is_child(&server.span("c"), &above));
            assert_eq!(
                attribute(&above, "honeyhive_metadata.m").as_deref(),
                Some("1")
            );
        }
        one.reconfigure(|settings| settings.exclude_spans(["c"]))
            .unwrap();
        info_span!("a").in_scope(|| info_span!("c").in_scope(|| {}));
        assert_eq!(names(&one, &servers[0]), ["c", "b", "a"]);
        one.reconfigure(|settings| settings.exclude_spans([""; 0]))
            .unwrap();
        info_span!("c").in_scope(|| {});
        assert_eq!(names(&one, &servers[0]), ["c", "b", "a", "c"]);
    });
}

#[test]
fn shutdown_leaves_open_spans_out_too() {
    let traced = Traced::with(|builder| builder.exclude_spans(["skip"]));
    traced.run(|| {
        let skipped = info_span!("skip").entered();
        let open = info_span!("open").entered();
        traced
            .honeyhive
            .shutdown_blocking(support::PATIENCE)
            .unwrap();
        drop((open, skipped));
    });
    assert_eq!(traced.server.spans().len(), 1);
    assert!(traced.server.span("open").parent_span_id.is_empty());
    assert_all_exported(&traced.stats(), 1);
}

/// The form of the reference, under both names.
#[test]
fn variables_set_them() {
    let json = r#"{"include":[{"type":"prefix","value":"a."}],"exclude":[{"type":"prefix","value":"a.b"}]}"#;
    let Some(_) =
        support::in_process_of_its_own("variables_set_them", &[("SPAN_NAME_FILTERS", json)])
    else {
        let traced = Traced::new();
        let config = traced.honeyhive.config();
        assert_eq!(config.included_spans().collect::<Vec<_>>(), ["a."]);
        assert_eq!(config.excluded_spans().collect::<Vec<_>>(), ["a.b"]);
        assert!(
            config
                .warnings()
                .iter()
                .any(|warning| warning.contains("HH_SPAN_NAME_FILTERS"))
        );
        traced.run(|| ["a.x", "a.b", "c"].into_iter().for_each(touch));
        assert_eq!(traced.names(), ["a.x"]);
        return;
    };
}
