//! Sampling: whole traces and sessions are sent or not, and failed spans are sent with the way up to their root.

mod support;

use std::collections::HashSet;

use honeyhive::session::SessionId;
use honeyhive::{HoneyHive, Session, propagation};
use support::traced::{Traced, is_child, session_of, touch};
use support::{Recorder, SESSIONS, assert_all_exported, attribute};
use tracing::{error, info_span};
use tracing_subscriber::prelude::*;

fn traced(rate: f64) -> Traced {
    Traced::with(|builder| builder.sample_rate(rate))
}

fn tree() {
    info_span!("root").in_scope(|| {
        touch("left");
        info_span!("middle").in_scope(|| touch("leaf"));
    });
}

#[test]
fn whole_traces_are_sent_or_not() {
    let traced = traced(0.5);
    traced.run(|| (0..200).for_each(|_| tree()));
    let spans = traced.spans();
    let traces: HashSet<_> = spans.iter().map(|span| span.trace_id.clone()).collect();
    assert_eq!(spans.len(), traces.len() * 4);
    assert!((60..140).contains(&traces.len()), "{}", traces.len());
    for span in &spans {
        // The rule of OpenTelemetry's consistent sampling.
        assert!(span.trace_id[9] >= 0x80, "{:?}", span.trace_id);
    }
    let stats = traced.stats();
    assert_eq!(stats.sampled_out, 800 - spans.len() as u64);
    assert_all_exported(&stats, spans.len() as u64);
}

#[test]
fn at_one_all_is_sent_and_at_zero_nothing_not_even_the_session() {
    let all = traced(1.0);
    all.run(tree);
    assert_eq!((all.spans().len(), all.stats().sampled_out), (4, 0));

    let none = traced(0.0);
    none.run(tree);
    let session = Session::start("quiet");
    none.run(|| session.in_scope(tree));
    none.run(|| session.enrich(|e| e.feedback("rating", 5)));
    assert!(none.spans().is_empty());
    assert!(
        none.server.requests().is_empty(),
        "{:?}",
        none.server.requests()
    );
    let stats = none.stats();
    assert_eq!(
        (stats.sampled_out, stats.submitted, stats.sessions_started),
        (8, 0, 0)
    );
    assert_eq!((stats.updates_sampled_out, stats.updates_lost), (1, 0));
}

#[test]
fn a_session_given_by_its_id_is_sent_whole_or_not_at_all_in_every_service() {
    let rate = 0.5;
    let services = [traced(rate), traced(rate)];
    let ids: Vec<SessionId> = (0..64).map(|_| SessionId::random()).collect();
    let mut sent = Vec::new();
    for service in &services {
        service.run(|| {
            for id in &ids {
                Session::from_id(*id).in_scope(|| (0..3).for_each(|_| tree()));
            }
        });
        let mut counts: Vec<(String, usize)> = Vec::new();
        for span in service.spans() {
            let session = session_of(&span);
            match counts.iter_mut().find(|(known, _)| *known == session) {
                Some((_, count)) => *count += 1,
                None => counts.push((session, 1)),
            }
        }
        assert!(counts.iter().all(|(_, count)| *count == 12), "{counts:?}");
        assert_eq!(service.server.requests_to(SESSIONS).len(), counts.len());
        let mut sessions: Vec<String> = counts.into_iter().map(|(session, _)| session).collect();
        sessions.sort();
        sent.push(sessions);
    }
    assert_eq!(sent[0], sent[1]);
    assert!((12..52).contains(&sent[0].len()), "{}", sent[0].len());
}

#[test]
fn a_field_and_the_configuration_give_session_ids_too() {
    // Its rank is 0.79: kept at a half, not at a fifth.
    let kept = "7f3a5c10-0000-4000-8000-000000000001";
    for (rate, expected) in [(0.5, 10), (0.2, 0)] {
        let by_field = traced(rate);
        by_field.run(|| {
            for _ in 0..10 {
                info_span!("x", honeyhive.session_id = kept).in_scope(|| {});
            }
        });
        let configured = Traced::with(|builder| builder.sample_rate(rate).session_id(kept));
        configured.run(|| (0..10).for_each(|_| touch("x")));
        for traced in [by_field, configured] {
            assert_eq!(traced.spans().len(), expected, "{rate}");
        }
    }
}

#[test]
fn a_failed_span_arrives_with_the_way_up_to_the_root() {
    let traced = traced(0.0);
    traced.run(|| {
        info_span!("root").in_scope(|| {
            touch("before");
            info_span!("middle").in_scope(|| {
                touch("sibling");
                info_span!("leaf").in_scope(|| {
                    touch("below");
                    error!("went wrong");
                });
            });
            touch("after");
        });
        tree();
    });
    let mut names = traced.names();
    names.sort();
    assert_eq!(names, ["leaf", "middle", "root"]);
    let span = |name| traced.server.span(name);
    assert!(is_child(&span("leaf"), &span("middle")) && is_child(&span("middle"), &span("root")));
    assert_eq!(
        attribute(&span("leaf"), "honeyhive_error").as_deref(),
        Some("went wrong")
    );
    assert_eq!(attribute(&span("root"), "honeyhive_error"), None);
    assert_eq!(traced.stats().sampled_out, 8);
    assert_all_exported(&traced.stats(), 3);
    // Its session is announced, and takes updates by now.
    assert_eq!(traced.server.requests_to(SESSIONS).len(), 1);
}

#[test]
fn every_way_to_fail_counts_and_only_those() {
    fn fails(f: impl Fn()) -> bool {
        let (sampled, whole) = (traced(0.0), traced(1.0));
        sampled.run(&f);
        whole.run(&f);
        let failed = whole
            .spans()
            .iter()
            .any(|span| span.status.as_ref().is_some_and(|status| status.code == 2));
        assert_eq!(!sampled.spans().is_empty(), failed);
        failed
    }
    let io = || std::io::Error::other("io");
    assert!(fails(|| info_span!("x", error = %"bad").in_scope(|| {})));
    assert!(fails(|| info_span!("x", error = true).in_scope(|| {})));
    assert!(fails(|| info_span!(
        "x",
        error = &io() as &dyn std::error::Error
    )
    .in_scope(|| {})));
    assert!(fails(
        || info_span!("x", exception.message = "bad").in_scope(|| {})
    ));
    assert!(fails(
        || info_span!("x", error.type = "Timeout").in_scope(|| {})
    ));
    assert!(fails(
        || info_span!("x", honeyhive.error = "bad").in_scope(|| {})
    ));
    assert!(fails(
        || info_span!("x", otel.status_code = "ERROR").in_scope(|| {})
    ));
    assert!(fails(
        || info_span!("x", otel.status_code = ?"error").in_scope(|| {})
    ));
    assert!(fails(|| info_span!(
        "x",
        otel.status_code = "OK",
        honeyhive.error = "bad"
    )
    .in_scope(|| {})));
    assert!(fails(|| info_span!("x").in_scope(|| {
        honeyhive::enrich(|e| e.error(&std::io::Error::other("io")));
    })));
    assert!(fails(|| info_span!("x").in_scope(|| error!("bad"))));
    assert!(fails(|| {
        let _ = std::panic::catch_unwind(|| info_span!("x").in_scope(|| panic!("on purpose")));
    }));
    assert!(!fails(|| touch("x")));
    assert!(!fails(|| info_span!("x", error = false).in_scope(|| {})));
    assert!(!fails(|| info_span!("x", error = "").in_scope(|| {})));
    assert!(!fails(|| info_span!("x", error = ?"").in_scope(|| {})));
    assert!(!fails(
        || info_span!("x", otel.status_code = "OK").in_scope(|| error!("bad"))
    ));
    assert!(!fails(|| {
        let span = info_span!("x", error = "bad");
        span.record("error", "");
    }));
    assert!(!fails(
        || info_span!("x").in_scope(|| tracing::info!("fine"))
    ));
}

#[test]
fn left_out_spans_pass_the_decision_on() {
    let traced = Traced::with(|builder| builder.sample_rate(0.0).exclude_spans(["skip"]));
    traced.run(|| {
        info_span!("root").in_scope(|| {
            info_span!("skip").in_scope(|| {
                touch("fine");
                info_span!("bad", error = "e").in_scope(|| {});
            });
        });
        info_span!("skip").in_scope(|| touch("fine"));
    });
    assert_eq!(traced.names(), ["bad", "root"]);
    assert_eq!(traced.stats().sampled_out, 2);
}

#[test]
fn what_is_open_at_shutdown_is_sampled_as_well() {
    let traced = traced(0.0);
    traced.run(|| {
        let root = info_span!("root");
        let bad = info_span!(parent: &root, "bad", error = "e");
        let fine = info_span!(parent: &root, "fine");
        traced
            .honeyhive
            .shutdown_blocking(support::PATIENCE)
            .unwrap();
        drop((root, bad, fine));
    });
    let mut names: Vec<_> = traced
        .server
        .spans()
        .into_iter()
        .map(|span| span.name)
        .collect();
    names.sort();
    assert_eq!(names, ["bad", "root"]);
    assert_eq!(traced.stats().sampled_out, 1);
    assert_all_exported(&traced.stats(), 2);
}

#[test]
fn each_instance_has_its_own_rate_and_it_changes_while_it_runs() {
    let servers = [Recorder::start(), Recorder::start()];
    let build = |server: &Recorder, rate| {
        support::settings(&server.url)
            .sample_rate(rate)
            .build()
            .unwrap()
    };
    let (none, all) = (build(&servers[0], 0.0), build(&servers[1], 1.0));
    let subscriber = tracing_subscriber::registry()
        .with(none.layer())
        .with(all.layer());
    let count = |honeyhive: &HoneyHive, server: &Recorder| {
        honeyhive.flush_blocking(support::PATIENCE).unwrap();
        server.spans().len()
    };
    tracing::subscriber::with_default(subscriber, || {
        tree();
        assert_eq!(
            (count(&none, &servers[0]), count(&all, &servers[1])),
            (0, 4)
        );
        let before = info_span!("before");
        none.reconfigure(|settings| settings.sample_rate(1.0))
            .unwrap();
        all.reconfigure(|settings| settings.sample_rate(0.0))
            .unwrap();
        // A trace keeps the decision it began with.
        before.in_scope(|| touch("inside"));
        drop(before);
        assert_eq!(
            (count(&none, &servers[0]), count(&all, &servers[1])),
            (0, 6)
        );
        tree();
        assert_eq!(
            (count(&none, &servers[0]), count(&all, &servers[1])),
            (4, 6)
        );
    });
}

#[test]
fn two_services_decide_alike_whoever_made_the_session() {
    let (client, service) = (traced(0.5), traced(0.5));
    for index in 0..100 {
        let mut carrier = std::collections::HashMap::new();
        client.run(|| {
            let mut call = || info_span!("call").in_scope(|| propagation::inject(&mut carrier));
            // Every other time the session is one that was asked for.
            if index % 2 == 0 {
                call();
            } else {
                Session::start("given").in_scope(call);
            }
        });
        service.run(|| propagation::extract(&carrier).in_scope(|| touch("handle")));
    }
    let traces = |traced: &Traced| -> HashSet<Vec<u8>> {
        traced
            .spans()
            .into_iter()
            .map(|span| span.trace_id)
            .collect()
    };
    let (sent, handled) = (traces(&client), traces(&service));
    assert!((20..80).contains(&sent.len()), "{}", sent.len());
    assert_eq!(sent, handled);
}
