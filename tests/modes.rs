//! Modes of an instance, and what it says of itself.

mod support;

use std::time::Duration;

use honeyhive::report::Degradation;
use honeyhive::{HoneyHive, Session, enrich};
use support::traced::{Traced, touch};
use support::{PATIENCE, Reply};
use tracing::info_span;

/// What a program does: spans, data, sessions, flushes.
fn work(traced: &Traced) {
    traced.run(|| {
        let session = Session::start("session");
        session.in_scope(|| info_span!("work", n = 1).in_scope(|| enrich(|e| e.output("done"))));
        session.enrich(|s| s.metric("n", 1));
    });
    traced
        .honeyhive
        .flush_blocking(PATIENCE)
        .expect("nothing amiss");
}

#[test]
fn in_test_mode_events_are_built_and_nothing_is_sent() {
    let traced = Traced::with(|builder| builder.test_mode(true));
    work(&traced);
    let stats = traced.stats();
    assert_eq!(
        (stats.submitted, stats.exported, stats.in_flight),
        (1, 1, 0)
    );
    assert_eq!(stats.dropped.total() + stats.rejected, 0);
    assert!(traced.server.requests().is_empty());
    assert_eq!(traced.honeyhive.status().degraded, [Degradation::TestMode]);
    // Without a server and a key too.
    let honeyhive = HoneyHive::builder()
        .test_mode(true)
        .build()
        .expect("settings");
    assert_eq!(
        honeyhive.status().degraded,
        [Degradation::TestMode, Degradation::NoLayer]
    );
}

#[test]
fn with_tracing_disabled_nothing_is_recorded() {
    let traced = Traced::with(|builder| builder.disable_tracing(true));
    work(&traced);
    assert_eq!(traced.stats().submitted, 0);
    assert!(traced.server.requests().is_empty());
    assert_eq!(traced.honeyhive.status().degraded, [Degradation::Disabled]);

    let change = traced
        .honeyhive
        .reconfigure(|settings| settings.disable_tracing(false));
    change.expect("settings");
    work(&traced);
    assert_eq!(traced.names(), ["work"]);
    assert!(traced.honeyhive.status().is_healthy());
}

#[test]
fn after_shutdown_nothing_is_recorded() {
    let traced = Traced::new();
    work(&traced);
    traced
        .honeyhive
        .shutdown_blocking(PATIENCE)
        .expect("a delivery");
    let sent = traced.server.requests().len();
    work(&traced);
    traced
        .honeyhive
        .reconfigure(|settings| settings.filter("trace"))
        .expect("settings");
    work(&traced);
    assert!(
        traced.honeyhive.shutdown_blocking(PATIENCE).is_ok(),
        "again"
    );
    assert_eq!(traced.server.requests().len(), sent);
    assert_eq!(traced.stats().submitted, 1);
    assert_eq!(traced.honeyhive.status().degraded, [Degradation::ShutDown]);
}

#[test]
fn an_invalid_session_id_is_replaced_and_said() {
    let traced = Traced::with(|builder| builder.session_id("chat-7"));
    work(&traced);
    assert_eq!(
        traced.honeyhive.status().degraded,
        [Degradation::InvalidSessionId]
    );
    assert!(traced.honeyhive.status().to_string().contains("not a UUID"));
    assert_eq!(traced.names(), ["work"]);
}

#[test]
fn a_session_that_could_not_be_announced_is_local() {
    let traced = Traced::new();
    traced.server.answer_others([Reply::status(400)]);
    traced.run(|| touch("work"));
    assert_eq!(traced.names(), ["work"], "delivered all the same");
    let degraded = traced.honeyhive.status().degraded;
    assert!(
        matches!(degraded.as_slice(), [Degradation::LocalSession { .. }]),
        "{degraded:?}"
    );
}

#[test]
fn a_refused_key_is_said() {
    let traced = Traced::new();
    traced
        .server
        .answer_traces(std::iter::repeat_n(Reply::status(401), 50));
    traced.run(|| touch("work"));
    let flushed = traced.honeyhive.flush_blocking(Duration::from_millis(200));
    assert!(flushed.is_err());
    let degraded = traced.honeyhive.status().degraded;
    assert!(
        degraded.contains(&Degradation::KeyRejected { status: 401 }),
        "{degraded:?}"
    );
}
