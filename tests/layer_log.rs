//! Records of the `log` crate: on the way through a global subscriber, none of them is an error of a span.

mod support;

use support::attribute;
use support::traced::Traced;
use tracing::info_span;
use tracing_subscriber::prelude::*;

#[test]
fn records_of_the_log_crate_are_ignored() {
    let traced = Traced::new();
    // `init` also takes over the log crate.
    tracing_subscriber::registry()
        .with(traced.honeyhive.layer())
        .init();
    let span = info_span!("span").entered();
    log::error!(target: "hyper", "connection reset");
    drop(span);
    info_span!("other").in_scope(|| tracing::error!(target: "hyper", "connection reset"));

    let error = |name: &str| attribute(&traced.span(name), "honeyhive_error");
    assert_eq!(error("span"), None);
    assert!(traced.server.span("span").events.is_empty());
    assert_eq!(error("other").as_deref(), Some("connection reset"));
}
