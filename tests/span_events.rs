//! Log events and links of spans: which are sent along, how they look, how many there may be.

mod support;

use honeyhive::config::Protocol;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use support::traced::Traced;
use support::{attribute, text};
use tracing::{debug, error, info, info_span, warn};

/// The attributes of an event.
fn attributes(event: &Event) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = event
        .attributes
        .iter()
        .map(|attribute| {
            let value = attribute.value.as_ref().expect("a value");
            (attribute.key.clone(), text(value))
        })
        .collect();
    found.sort();
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn work() {
    let _span = info_span!("work").entered();
    debug!(target: "sqlx::query", rows = 3, "a query");
    debug!("nothing of note");
    info!(step = 1, "a step");
    warn!(target: "noisy", "so what");
    error!(target: "noisy", code = 7, "broken");
}

#[test]
fn by_default_only_errors_are_sent_along() {
    let traced = Traced::new();
    traced.run(work);
    let span = traced.span("work");
    assert_eq!(span.events.len(), 1);
    assert_eq!(span.events[0].name, "exception");
    assert_eq!(
        attributes(&span.events[0]),
        pairs(&[("code", "7"), ("exception.message", "broken")])
    );
    assert_eq!(
        attribute(&span, "honeyhive_error").as_deref(),
        Some("broken")
    );
}

#[test]
fn level_and_targets_can_be_set_whatever_the_filter_of_spans_says() {
    let traced = Traced::with(|builder| builder.span_events("info,sqlx=debug,noisy=off"));
    traced.run(work);
    let span = traced.span("work");
    let names: Vec<&str> = span
        .events
        .iter()
        .map(|event| event.name.as_str())
        .collect();
    assert_eq!(names, ["a query", "a step"]);
    assert_eq!(
        attributes(&span.events[0]),
        pairs(&[("level", "DEBUG"), ("rows", "3"), ("target", "sqlx::query")])
    );
    assert_eq!(
        attributes(&span.events[1]),
        pairs(&[("level", "INFO"), ("step", "1"), ("target", "span_events")])
    );
    assert!(span.events[0].time_unix_nano <= span.events[1].time_unix_nano);
    // An error that is not wanted is no error of the span.
    assert_eq!(attribute(&span, "honeyhive_error"), None);
}

#[test]
fn they_can_be_switched_off_and_on_again() {
    let traced = Traced::with(|builder| builder.span_events("off"));
    traced.run(|| {
        work();
        let on = traced
            .honeyhive
            .reconfigure(|builder| builder.span_events("warn"));
        on.expect("valid settings");
        info_span!("later").in_scope(|| warn!("now"));
    });
    assert!(traced.span("work").events.is_empty());
    assert_eq!(traced.span("later").events.len(), 1);
}

#[test]
fn an_error_after_the_last_event_there_is_room_for_still_counts() {
    let traced = Traced::with(|builder| builder.span_events("info").max_events(10));
    traced.run(|| {
        let _span = info_span!("full").entered();
        for n in 0..25 {
            info!(n, "an event");
        }
        error!("what went wrong");
        error!("and more");
    });
    let span = traced.span("full");
    assert_eq!((span.events.len(), span.dropped_events_count), (10, 17));
    assert_eq!(
        attribute(&span, "honeyhive_error").as_deref(),
        Some("what went wrong")
    );
    assert_eq!(span.events[9].name, "exception");
    assert_eq!(traced.stats().cut, 17);
}

#[test]
fn following_from_a_span_is_a_link_to_it() {
    let traced = Traced::new();
    traced.run(|| {
        let first = info_span!("first");
        let second = info_span!("second");
        second.follows_from(&first);
        second.in_scope(|| {});
        let closed = first.id();
        drop(first);
        let third = info_span!("third");
        third.follows_from(closed);
        third.in_scope(|| {});
    });
    let (first, second) = (traced.span("first"), traced.span("second"));
    assert_eq!(second.links.len(), 1);
    assert_eq!(second.links[0].trace_id, first.trace_id);
    assert_eq!(second.links[0].span_id, first.span_id);
    // Closed: there is nothing to point to, and that is told.
    let third = traced.span("third");
    assert_eq!((third.links.len(), third.dropped_links_count), (0, 1));
}

#[test]
fn following_from_a_span_that_is_filtered_out_is_a_link_to_its_ancestor() {
    let traced = Traced::new();
    traced.run(|| {
        let kept = info_span!("kept");
        let hidden = tracing::debug_span!(parent: &kept, "hidden");
        let next = info_span!("next");
        next.follows_from(&hidden);
        next.follows_from(&kept);
    });
    let (kept, next) = (traced.span("kept"), traced.span("next"));
    // Nobody wanted the hidden span, so it has no id.
    assert!(next.links.iter().all(|link| link.span_id == kept.span_id));
    assert!(!next.links.is_empty());
}

#[test]
fn there_are_as_many_links_as_the_limit_says() {
    let traced = Traced::with(|builder| builder.max_links(5));
    traced.run(|| {
        let others: Vec<_> = (0..8).map(|n| info_span!("other", n)).collect();
        let span = info_span!("linked");
        for other in &others {
            span.follows_from(other);
        }
    });
    let span = traced.span("linked");
    assert_eq!((span.links.len(), span.dropped_links_count), (5, 3));
    assert_eq!(traced.stats().cut, 3);
    assert_eq!(traced.honeyhive.config().max_links(), 5);
}

#[test]
fn both_go_over_the_wire_as_json_too() {
    let traced = Traced::with(|builder| {
        builder
            .protocol(Protocol::HttpJson)
            .span_events("info")
            .max_links(1)
    });
    traced.run(|| {
        let first = info_span!("first");
        let other = info_span!("other");
        let second = info_span!("second");
        second.follows_from(&first);
        second.follows_from(&other);
        second.in_scope(|| info!(n = 1, "hello"));
    });
    traced
        .honeyhive
        .flush_blocking(support::PATIENCE)
        .expect("a delivery");
    let bodies: Vec<serde_json::Value> = traced
        .server
        .requests_to(support::TRACES)
        .iter()
        .map(support::Request::json)
        .collect();
    let spans = bodies[0]["resourceSpans"][0]["scopeSpans"][0]["spans"]
        .as_array()
        .expect("spans");
    let named = |name: &str| {
        spans
            .iter()
            .find(|span| span["name"] == name)
            .expect("a span")
    };
    let (first, second) = (named("first"), named("second"));
    assert_eq!(second["links"].as_array().map(Vec::len), Some(1));
    assert_eq!(second["links"][0]["traceId"], first["traceId"]);
    assert_eq!(second["links"][0]["spanId"], first["spanId"]);
    assert_eq!(second["droppedLinksCount"], 1);
    assert_eq!(second["events"][0]["name"], "hello");
    assert!(first.get("links").is_none());
}
