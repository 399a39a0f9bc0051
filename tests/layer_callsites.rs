//! What our layer switches on in the whole process. One test, so that no other subscriber is about.

mod support;

use support::traced::Traced;
use tracing::level_filters::LevelFilter;
use tracing::{Level, enabled, event_enabled, span_enabled};
use tracing_subscriber::prelude::*;

#[test]
fn only_what_the_filter_asks_for_is_switched_on() {
    let traced = Traced::new();
    let registry = tracing_subscriber::registry().with(traced.honeyhive.layer());
    tracing::subscriber::with_default(registry, || {
        assert_eq!(LevelFilter::current(), LevelFilter::INFO);
        assert!(enabled!(Level::INFO) && !enabled!(Level::DEBUG) && !enabled!(Level::TRACE));
        assert!(tracing::debug_span!("debug").is_disabled());
        // An event that carries nothing for its span is not ours either.
        assert!(!event_enabled!(Level::INFO, question));
        assert!(event_enabled!(Level::INFO, honeyhive.metrics.score));
        assert!(event_enabled!(Level::ERROR, question));
        assert!(!span_enabled!(target: "honeyhive", Level::ERROR));
        let change = |filter: &str| {
            traced
                .honeyhive
                .reconfigure(|settings| settings.filter(filter))
        };
        change("warn,my=trace").expect("a filter");
        assert_eq!(LevelFilter::current(), LevelFilter::TRACE);
        assert!(tracing::trace_span!("other").is_disabled());
        assert!(!tracing::trace_span!(target: "my", "mine").is_disabled());
        change("error").expect("a filter");
        assert_eq!(LevelFilter::current(), LevelFilter::ERROR);
        traced
            .honeyhive
            .shutdown_blocking(support::PATIENCE)
            .expect("an end");
        assert_eq!(LevelFilter::current(), LevelFilter::OFF);
    });

    let inert = honeyhive::HoneyHive::builder()
        .disable_tracing(true)
        .build()
        .expect("settings");
    tracing::subscriber::with_default(tracing_subscriber::registry().with(inert.layer()), || {
        assert_eq!(LevelFilter::current(), LevelFilter::OFF);
        assert!(tracing::error_span!("span").is_disabled());
    });
}
