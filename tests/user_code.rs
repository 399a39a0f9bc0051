//! What the code of a value may do while the value is recorded. One test: the way into a subscriber is another one while
//! there is none but the global one, and no thread has one of its own.

mod support;

use std::collections::BTreeMap;
use std::fmt;

use honeyhive::{SpanExt as _, enrich};
use serde::{Serialize, Serializer};
use support::traced::{Traced, under};
use tracing::{Span, error, info_span};
use tracing_subscriber::prelude::*;

/// What user code does while it formats or serializes itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    Logs,
    OpensSpansWithItself,
    EnrichesWithItself,
    EnrichesThenOpensSpans,
    Panics,
    PrintsEndlessly,
}

#[derive(Clone, Copy)]
struct Value(Habit);

impl Value {
    fn act(self) {
        match self.0 {
            Habit::Logs => tracing::error!(value = ?self, honeyhive.metrics.n = ?self, "logged"),
            Habit::OpensSpansWithItself => {
                info_span!("of the value", value = ?self).in_scope(|| {});
            }
            Habit::EnrichesWithItself => enrich(|e| e.metadata("recursive", self)),
            Habit::EnrichesThenOpensSpans => {
                enrich(|e| e.metadata("recursive", "text"));
                Self(Habit::OpensSpansWithItself).act();
            }
            Habit::Panics => std::panic::resume_unwind(Box::new("in user code")),
            Habit::PrintsEndlessly => {}
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.act();
        f.write_str("a value")?;
        if self.0 == Habit::PrintsEndlessly {
            loop {
                f.write_str(" and more")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.act();
        if self.0 == Habit::PrintsEndlessly {
            return serializer.collect_seq(std::iter::repeat("more"));
        }
        serializer.serialize_str("a value")
    }
}

const CASES: [(Habit, &str, bool); 6] = [
    (Habit::Logs, "a value", false),
    (Habit::OpensSpansWithItself, "a value", false),
    (Habit::EnrichesWithItself, "a value", false),
    (Habit::EnrichesThenOpensSpans, "a value", false),
    (Habit::Panics, "panicked while", true),
    (Habit::PrintsEndlessly, "[cut", true),
];

/// Records a value in every way there is, in a span that stays open.
fn record(habit: Habit) -> Span {
    let value = Value(habit);
    let name = format!("{habit:?}");
    let span = info_span!("span", otel.name = name, field = ?value, late = tracing::field::Empty);
    span.in_scope(|| {
        span.record("late", tracing::field::debug(value));
        enrich(|e| {
            e.output(value)
                .outputs(BTreeMap::from([("listed", [value])]))
        });
        error!(value = ?value, "an error");
    });
    span.enrich(|e| e.input("enriched", value));
    span
}

fn assert_recorded(traced: &Traced) {
    for (habit, expected, _) in CASES {
        let span = traced.span(&format!("{habit:?}"));
        let found: BTreeMap<_, _> = under(&span, "honeyhive_").into_iter().collect();
        for key in [
            "inputs.field",
            "inputs.late",
            "inputs.enriched",
            "outputs.result",
        ] {
            let text = found.get(key).map_or("", String::as_str);
            assert!(
                text.contains(expected) && text.len() < 2048,
                "{habit:?}: {key} = {text}"
            );
        }
        assert!(!found.contains_key("metadata.recursive"), "{habit:?}");
        assert_eq!(
            found.get("error").map(String::as_str),
            Some("an error"),
            "{habit:?}"
        );
        assert_eq!(span.events.len(), 1, "{habit:?}");
    }
    // Nothing that the values opened was recorded.
    assert_eq!(traced.spans().len(), CASES.len(), "{:?}", traced.names());
}

#[test]
fn user_code_may_do_what_it_likes() {
    let traced = Traced::with(|builder| builder.max_attribute_length(1024));
    tracing_subscriber::registry()
        .with(traced.honeyhive.layer())
        .init();
    // All of them before the first closes: closing starts the export thread, which has a subscriber of its own.
    let spans: Vec<Span> = CASES.into_iter().map(|(habit, ..)| record(habit)).collect();
    drop(spans);
    assert_recorded(&traced);

    let traced = Traced::with(|builder| builder.max_attribute_length(1024));
    for (habit, _, cut) in CASES {
        let before = traced.stats().cut;
        traced.run(|| drop(record(habit)));
        assert_eq!(traced.stats().cut > before, cut, "{habit:?}");
    }
    assert_recorded(&traced);
}
