//! A subscriber that knows no filters of single layers: spans are recorded all the same.

mod support;

use std::time::Duration;

use honeyhive::HoneyHive;
use support::{Recorder, attribute};
use tracing_subscriber::prelude::*;

#[test]
fn a_fmt_subscriber_takes_the_layer_too() {
    let server = Recorder::start();
    let honeyhive = HoneyHive::builder()
        .server_url(&server.url)
        .filter("warn,layer_fmt=info")
        .build()
        .unwrap();
    assert!(
        !honeyhive.status().is_healthy(),
        "no layer is installed yet"
    );
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::sink)
        .finish()
        .with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        let _outer = tracing::info_span!("outer", question = "why").entered();
        tracing::info_span!(target: "elsewhere", "left out").in_scope(|| {
            tracing::info_span!("inner").in_scope(|| honeyhive::enrich(|e| e.output("because")));
        });
    });
    assert!(honeyhive.status().is_healthy(), "{}", honeyhive.status());
    honeyhive.flush_blocking(Duration::from_secs(20)).unwrap();
    assert_eq!(server.spans().len(), 2);
    let (outer, inner) = (server.span("outer"), server.span("inner"));
    assert_eq!(inner.parent_span_id, outer.span_id);
    assert_eq!(
        attribute(&outer, "honeyhive_inputs.question").as_deref(),
        Some("why")
    );
    assert_eq!(
        attribute(&inner, "honeyhive_outputs.result").as_deref(),
        Some("because")
    );
}
