//! What type an event gets, and from whom.

mod support;

use std::sync::{Arc, Mutex};

use honeyhive::{Builder, EventType, SpanExt as _};
use support::attribute;
use support::traced::Traced;
use tracing::{Event, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

fn types(settings: impl FnOnce(Builder) -> Builder, spans: impl FnOnce()) -> Vec<(String, String)> {
    let traced = Traced::with(settings);
    traced.run(spans);
    let mut found: Vec<(String, String)> = traced
        .spans()
        .iter()
        .map(|span| {
            let kind = attribute(span, "honeyhive_event_type").expect("a type");
            (span.name.clone(), kind)
        })
        .collect();
    found.sort();
    found
}

#[track_caller]
fn assert_types(found: &[(String, String)], expected: &[(&str, &str)]) {
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(name, kind)| (name.as_str(), kind.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn an_explicit_type_wins_over_every_convention() {
    let found = types(
        |builder| {
            builder
                .event_type_rule("kind", "*", "chain")
                .event_type_from_name(true)
        },
        || {
            info_span!("a openai", honeyhive.event_type = "tool", kind = "x");
            info_span!(
                "b",
                honeyhive_event_type = "tool",
                gen_ai.operation.name = "chat"
            );
            info_span!("c", honeyhive_event_type_raw = "chain");
            info_span!(
                "d",
                honeyhive.event_type = "session",
                openinference.span.kind = "LLM"
            );
            info_span!("e").enrich(|e| e.event_type(EventType::Model));
        },
    );
    assert_types(
        &found,
        &[
            ("a openai", "tool"),
            ("b", "tool"),
            ("c", "chain"),
            ("d", "session"),
            ("e", "model"),
        ],
    );
}

#[test]
fn own_rules_go_before_the_conventions_and_own_targets_after_them() {
    let found = types(
        |builder| {
            builder
                .event_type_rule("step.kind", "Retrieval", "tool")
                .event_type_rule("step.kind", "*", EventType::Chain)
                .event_type_rule("gen_ai.operation.name", "judge", "evaluation")
                .event_type_for_target("my_app::tools", "tool")
                .event_type_for_target("my_app", EventType::Chain)
        },
        || {
            info_span!("a", step.kind = "retrieval", gen_ai.operation.name = "chat");
            info_span!("b", step.kind = 7);
            info_span!("c", gen_ai.operation.name = "judge");
            info_span!(target: "my_app", "d");
            info_span!(target: "my_app::tools::search", "e");
            info_span!(target: "my_app_too", "f");
            info_span!(target: "my_app", "g", gen_ai.operation.name = "chat");
        },
    );
    assert_types(
        &found,
        &[
            ("a", "tool"),
            ("b", "chain"),
            ("c", "evaluation"),
            ("d", "chain"),
            ("e", "tool"),
            ("f", "tool"),
            ("g", "model"),
        ],
    );
}

#[test]
fn frameworks_are_known_by_their_targets() {
    let found = types(
        |builder| builder,
        || {
            info_span!(target: "langchain_rust::agents", "agent.run");
            info_span!(target: "langchain_rust::llm", "llm.generate");
            info_span!(target: "langchain_rust::tools", "tool.call");
            info_span!(target: "adk_agent::workflow", "agent.execute");
            info_span!(target: "adk_runner", "call_llm");
            info_span!(target: "elsewhere", "call_llm ");
        },
    );
    assert_types(
        &found,
        &[
            ("agent.execute", "chain"),
            ("agent.run", "chain"),
            ("call_llm", "model"),
            ("call_llm ", "tool"),
            ("llm.generate", "model"),
            ("tool.call", "tool"),
        ],
    );
}

#[test]
fn names_are_guessed_from_only_on_demand_and_by_whole_words() {
    let spans = || {
        info_span!("openai.chat");
        info_span!("My_Model_step");
        info_span!("palmtree");
        info_span!("remodel");
        info_span!("plain", gen_ai.request.model = "gpt");
    };
    let found = types(|builder| builder, spans);
    assert!(found.iter().all(|(_, kind)| kind == "tool"), "{found:?}");
    let found = types(|builder| builder.event_type_from_name(true), spans);
    assert_types(
        &found,
        &[
            ("My_Model_step", "model"),
            ("openai.chat", "model"),
            ("palmtree", "tool"),
            ("plain", "model"),
            ("remodel", "tool"),
        ],
    );
}

/// Hears what the crate says.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Message<'a>(&'a mut String);
        impl tracing::field::Visit for Message<'_> {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                *self.0 += &format!("{value:?}");
            }
        }
        if event.metadata().target() == "honeyhive" {
            let mut message = String::new();
            event.record(&mut Message(&mut message));
            self.0.lock().unwrap().push(message);
        }
    }
}

#[test]
fn an_unknown_type_is_kept_and_warned_about_once() {
    let traced = Traced::with(|builder| builder.own_event_type("guardrail"));
    let heard = Heard::default();
    let subscriber = tracing_subscriber::registry()
        .with(traced.honeyhive.layer())
        .with(heard.clone());
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            info_span!("own", honeyhive.event_type = "guardrail");
            info_span!("typo", honeyhive.event_type = "modle");
            info_span!("agent", honeyhive.event_type = "agent");
        }
        let found: Vec<(String, String)> = traced
            .spans()
            .iter()
            .take(3)
            .map(|span| {
                let kind = attribute(span, "honeyhive_event_type").expect("a type");
                (span.name.clone(), kind)
            })
            .collect();
        assert_types(
            &found,
            &[("own", "guardrail"), ("typo", "modle"), ("agent", "chain")],
        );
        let heard = heard.0.lock().unwrap();
        let warnings: Vec<&String> = heard.iter().filter(|text| text.contains("modle")).collect();
        assert_eq!(warnings.len(), 1, "{heard:?}");
        assert!(
            !heard.iter().any(|text| text.contains("guardrail")),
            "{heard:?}"
        );
    });
}
