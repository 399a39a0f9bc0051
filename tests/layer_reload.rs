//! Under `reload` spans are recorded, and enrichment says once that it finds no layer. One test: what is said once is
//! said once in a process.

mod support;

use std::sync::{Arc, Mutex};

use support::traced::{Traced, session_of};
use tracing::{Event, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 = format!("{value:?}");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        if event.metadata().target() == "honeyhive" {
            self.0.lock().unwrap().push(text.0);
        }
    }
}

#[test]
fn spans_are_recorded_and_enrichment_says_that_it_finds_no_layer() {
    let traced = Traced::new();
    let heard = Heard::default();
    let session = honeyhive::Session::start("under reload");
    let (layer, handle) = reload::Layer::new(traced.honeyhive.layer());
    let subscriber = tracing_subscriber::registry()
        .with(layer)
        .with(heard.clone());
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..2 {
            info_span!("work", n = 1).in_scope(|| honeyhive::enrich(|e| e.output("unreachable")));
        }
        session.in_scope(|| info_span!("in a session").in_scope(|| {}));
        // A layer swapped in has never met the registry: it does nothing, and harms nobody.
        handle.reload(traced.honeyhive.layer()).expect("a swap");
        info_span!("after the swap").in_scope(|| {});
    });
    assert_eq!(traced.names(), ["in a session", "work", "work"]);
    let of = session_of(&traced.span("in a session"));
    assert_eq!(of, session.id().to_string());
    let heard = heard.0.lock().unwrap();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("reload"), "{heard:?}");
}
