//! Conventions that the platform does not read arrive under HoneyHive's names; those it reads arrive as they are.

mod support;

use honeyhive::enrich;
use support::attribute;
use support::traced::{Traced, under};
use tracing::{debug, info_span};

/// The span that `f` makes, with all that is under `honeyhive_`, but without what every event has.
fn event(f: impl FnOnce()) -> Vec<(String, String)> {
    let traced = Traced::with(|builder| builder.filter("debug"));
    traced.run(f);
    let spans = traced.spans();
    assert_eq!(spans.len(), 1);
    let mut found = under(&spans[0], "honeyhive_");
    found.retain(|(key, _)| key != "duration_ms");
    for left in ["langfuse.", "gcp.", "adk."] {
        let mut left = under(&spans[0], left);
        left.retain(|(key, _)| key != "type");
        assert_eq!(left, [], "untranslated");
    }
    found
}

#[track_caller]
fn assert_event(f: impl FnOnce(), expected: &[(&str, &str)]) {
    let found = event(f);
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn langfuse_events_become_the_event_of_their_span() {
    assert_event(
        || {
            let _span = info_span!("complete", langfuse.r#type = "GENERATION").entered();
            debug!(
                langfuse.input = r#"[{"role":"user","content":"why"}]"#,
                langfuse.model = "gpt-4o",
                langfuse.model_parameters = r#"{"temperature":0.5}"#,
            );
            debug!(
                langfuse.output = r#"{"role":"assistant","content":"because"}"#,
                langfuse.usage = r#"{"input":10,"output":"x","total":12,"cached":3}"#,
                langfuse.user.id = "u1",
                langfuse.session.id = "c1",
            );
        },
        &[
            ("event_type", "model"),
            (
                "inputs.chat_history",
                r#"[{"content":"why","role":"user"}]"#,
            ),
            ("config.model", "gpt-4o"),
            ("config.temperature", "0.5"),
            ("outputs.role", "assistant"),
            ("outputs.content", "because"),
            ("metadata.prompt_tokens", "10"),
            ("metadata.input_tokens", "10"),
            ("metadata.total_tokens", "12"),
            ("metadata.usage.cached", "3"),
            ("metadata.conversation_id", "c1"),
            ("user_properties.user_id", "u1"),
        ],
    );
    assert_event(
        || {
            let _span = info_span!("tool", langfuse.r#type = "TOOL").entered();
            debug!(langfuse.input = r#"{"q":1}"#, langfuse.output = "plain");
            debug!(langfuse.status_message = "it broke");
        },
        &[
            ("event_type", "tool"),
            ("inputs.q", "1"),
            ("outputs.result", "plain"),
            ("error", "it broke"),
        ],
    );
}

#[test]
fn adk_speaks_like_gemini() {
    assert_event(
        || {
            info_span!(
                target: "adk_agent::llm",
                "call_llm",
                gcp.vertex.agent.llm_request = r#"{"contents":[
                    {"role":"user","parts":[{"text":"weather"},{"text":" in Rome?"}]},
                    {"role":"model","parts":[{"name":"weather","args":{"city":"Rome"},"id":"c1"}]},
                    {"role":"user","parts":[{"function_response":{"name":"weather","response":{"c":20}}}]}]}"#,
                gcp.vertex.agent.llm_response = r#"{"role":"model","parts":[{"text":"20 degrees"}]}"#,
                gcp.vertex.agent.session_id = "s1",
                adk.app_name = "app",
                adk.skills.count = 2,
            );
        },
        &[
            ("event_type", "model"),
            (
                "inputs.chat_history",
                concat!(
                    r#"[{"content":"weather in Rome?","role":"user"},"#,
                    r#"{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"city\":\"Rome\"}","name":"weather"},"#,
                    r#""id":"c1","type":"function"}]},"#,
                    r#"{"content":"{\"c\":20}","name":"weather","role":"tool"}]"#
                ),
            ),
            ("outputs.role", "assistant"),
            ("outputs.content", "20 degrees"),
            ("metadata.conversation_id", "s1"),
            ("metadata.app_name", "app"),
            ("metadata.skills.count", "2"),
        ],
    );
    // What does not have the expected form arrives as it is.
    assert_event(
        || {
            info_span!(
                target: "adk_agent::llm",
                "call_llm",
                gcp.vertex.agent.llm_request = "not json",
                gcp.vertex.agent.llm_response = "[1]",
            );
        },
        &[
            ("event_type", "model"),
            ("inputs.request", "not json"),
            ("outputs.response", "[1]"),
        ],
    );
}

#[test]
fn plain_fields_of_langchain_have_a_meaning_by_their_target() {
    assert_event(
        || {
            info_span!(
                target: "langchain_rust::llm",
                "llm.generate",
                provider = "openai",
                model = "gpt-4o",
                stream = false,
                prompt_tokens = "7",
                completion_tokens = 5_u64,
                total_tokens = 12,
                question = "why",
            );
        },
        &[
            ("event_type", "model"),
            ("config.provider", "openai"),
            ("config.model", "gpt-4o"),
            ("config.is_streaming", "false"),
            ("metadata.prompt_tokens", "7"),
            ("metadata.input_tokens", "7"),
            ("metadata.completion_tokens", "5"),
            ("metadata.output_tokens", "5"),
            ("metadata.total_tokens", "12"),
            ("inputs.question", "why"),
        ],
    );
    let named = event(|| {
        info_span!(target: "langchain_rust::tools", "tool.call", tool = "search");
    });
    assert!(named.contains(&("event_name".to_owned(), "search".to_owned())));
    // The same fields elsewhere are inputs.
    assert_event(
        || {
            info_span!("llm.generate", model = "gpt-4o");
        },
        &[("event_type", "tool"), ("inputs.model", "gpt-4o")],
    );
}

#[test]
fn what_is_said_in_honeyhives_own_names_wins() {
    let found = event(|| {
        let _span = info_span!(
            "complete",
            langfuse.r#type = "GENERATION",
            langfuse.model = "translated"
        )
        .entered();
        enrich(|e| e.config("model", "own").output("answer"));
    });
    assert!(found.contains(&("config.model".to_owned(), "own".to_owned())));
}

#[test]
fn sums_on_a_chain_do_not_count_twice() {
    let traced = Traced::new();
    traced.run(|| {
        info_span!(
            "invoke_agent",
            gen_ai.operation.name = "invoke_agent",
            gen_ai.usage.input_tokens = 50,
            gen_ai.usage.output_tokens = "23",
            llm.token_count.total = 73,
        )
        .in_scope(|| {
            info_span!(
                "chat",
                gen_ai.operation.name = "chat",
                gen_ai.usage.input_tokens = 25,
                gen_ai.usage.output_tokens = 14,
            );
        });
    });
    let (agent, chat) = (traced.span("invoke_agent"), traced.span("chat"));
    assert_eq!(
        under(&agent, "honeyhive_metadata."),
        [
            ("usage_below.input_tokens".to_owned(), "50".to_owned()),
            ("usage_below.output_tokens".to_owned(), "23".to_owned()),
            ("usage_below.total_tokens".to_owned(), "73".to_owned()),
        ]
    );
    assert_eq!(under(&agent, "gen_ai.usage."), []);
    assert_eq!(under(&agent, "llm."), []);
    assert_eq!(
        attribute(&chat, "gen_ai.usage.input_tokens").as_deref(),
        Some("25")
    );
    assert_eq!(under(&chat, "honeyhive_metadata."), []);
}

#[test]
fn a_model_that_never_answered_is_incomplete() {
    let traced = Traced::new();
    traced.run(|| {
        info_span!(
            "silent",
            gen_ai.operation.name = "chat",
            gen_ai.completion = ""
        );
        info_span!(
            "answered",
            gen_ai.operation.name = "chat",
            gen_ai.response.id = "r1"
        );
        info_span!("failed", gen_ai.operation.name = "chat", error = "429");
        info_span!("tool", honeyhive.event_type = "tool");
        info_span!("enriched", honeyhive.event_type = "model").in_scope(|| {
            enrich(|e| e.output("yes"));
        });
    });
    for (name, incomplete) in [
        ("silent", Some("true")),
        ("answered", None),
        ("failed", None),
        ("tool", None),
        ("enriched", None),
    ] {
        let found = attribute(&traced.span(name), "honeyhive_metadata.incomplete");
        assert_eq!(found.as_deref(), incomplete, "{name}");
    }
}

#[test]
fn conventions_that_the_platform_reads_pass_unchanged() {
    let traced = Traced::new();
    traced.run(|| {
        info_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.request.model = "gpt-4o",
            gen_ai.usage.input_tokens = 3_u64,
            llm.model_name = "gpt-4o",
            openinference.span.kind = "LLM",
            traceloop.entity.name = "entity",
            gen_ai.unheard_of = 1.5,
        );
    });
    let span = traced.span("chat");
    for (key, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "gpt-4o"),
        ("gen_ai.usage.input_tokens", "3"),
        ("llm.model_name", "gpt-4o"),
        ("openinference.span.kind", "LLM"),
        ("traceloop.entity.name", "entity"),
        ("gen_ai.unheard_of", "1.5"),
    ] {
        assert_eq!(attribute(&span, key).as_deref(), Some(value), "{key}");
    }
}
