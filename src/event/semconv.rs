//! Attribute names and the rules that read them, as tables. Knows nothing of spans, servers or the wire format.

/// Names that HoneyHive gives attributes on the wire.
pub(crate) mod name {
    pub(crate) const SESSION_ID: &str = "honeyhive.session_id";
    pub(crate) const SESSION_NAME: &str = "honeyhive.session_name";
    pub(crate) const SESSION_AUTO_CREATE: &str = "honeyhive.session_auto_create";
    pub(crate) const PROJECT: &str = "honeyhive.project";
    pub(crate) const SOURCE: &str = "honeyhive.source";
    /// The second spelling of the three above.
    pub(crate) const ASSOCIATED_SESSION_ID: &str = "traceloop.association.properties.session_id";
    pub(crate) const ASSOCIATED_PROJECT: &str = "traceloop.association.properties.project";
    pub(crate) const ASSOCIATED_SOURCE: &str = "traceloop.association.properties.source";

    pub(crate) const PARENT_ID: &str = "honeyhive.parent_id";
    pub(crate) const ASSOCIATED_PARENT_ID: &str = "traceloop.association.properties.parent_id";
    pub(crate) const RUN_ID: &str = "honeyhive_metadata.run_id";
    pub(crate) const DATASET_ID: &str = "honeyhive_metadata.dataset_id";
    pub(crate) const DATAPOINT_ID: &str = "honeyhive_metadata.datapoint_id";
    /// Stands before the names of custom baggage.
    pub(crate) const BAGGAGE: &str = "baggage.";
    /// Between layer and encoder; on the wire it is a field of the span.
    pub(crate) const TRACE_STATE: &str = "honeyhive.trace_state";

    pub(crate) const EVENT_TYPE: &str = "honeyhive_event_type";
    pub(crate) const EVENT_NAME: &str = "honeyhive_event_name";
    pub(crate) const EVENT_ID: &str = "honeyhive_event_id";
    pub(crate) const ERROR: &str = "honeyhive_error";
    pub(crate) const ERROR_TYPE: &str = "honeyhive_error_type";
    pub(crate) const DURATION_MS: &str = "honeyhive_duration_ms";

    pub(crate) const INPUTS: &str = "honeyhive_inputs";
    pub(crate) const OUTPUTS: &str = "honeyhive_outputs";
    pub(crate) const CONFIG: &str = "honeyhive_config";
    pub(crate) const METADATA: &str = "honeyhive_metadata";
    pub(crate) const METRICS: &str = "honeyhive_metrics";
    pub(crate) const FEEDBACK: &str = "honeyhive_feedback";
    pub(crate) const USER_PROPERTIES: &str = "honeyhive_user_properties";
}

/// The buckets of an event, as they follow `honeyhive_` or `honeyhive.` in an attribute's name.
pub(crate) const NAMESPACES: [&str; 7] = [
    "inputs",
    "outputs",
    "config",
    "metadata",
    "metrics",
    "feedback",
    "user_properties",
];

/// Whether a field stands for a whole bucket, whose keys come from its value.
pub(crate) fn is_bucket(field: &str) -> bool {
    field
        .strip_prefix("honeyhive")
        .and_then(|rest| rest.strip_prefix(['.', '_']))
        .is_some_and(|rest| NAMESPACES.contains(&rest))
}

/// How a value of an attribute is turned into an event type.
#[derive(Debug)]
enum Values {
    /// The value is the event type.
    Explicit,
    /// Lower-cased value to event type; the last column answers for other values, `None` asks the next rule.
    Table(
        &'static [(&'static str, &'static str)],
        Option<&'static str>,
    ),
}

/// Which attribute decides the type of an event: the first rule that answers wins.
const EVENT_TYPE_RULES: &[(&str, Values)] = &[
    (name::EVENT_TYPE, Values::Explicit),
    ("honeyhive_event_type_raw", Values::Explicit),
    ("honeyhive.event_type", Values::Explicit),
    (
        "gen_ai.operation.name",
        Values::Table(
            &[
                ("chat", "model"),
                ("text_completion", "model"),
                ("generate_content", "model"),
                ("embeddings", "model"),
                ("transcription", "model"),
                ("image_generation", "model"),
                ("audio_generation", "model"),
                ("invoke_agent", "chain"),
                ("create_agent", "chain"),
                ("invoke_workflow", "chain"),
                ("plan", "chain"),
                ("execute_tool", "tool"),
                ("retrieval", "tool"),
                ("rerank", "tool"),
                ("search_memory", "tool"),
                ("create_memory", "tool"),
                ("update_memory", "tool"),
                ("upsert_memory", "tool"),
                ("delete_memory", "tool"),
            ],
            None,
        ),
    ),
    (
        "openinference.span.kind",
        Values::Table(
            &[
                ("llm", "model"),
                ("chain", "chain"),
                ("agent", "chain"),
                ("prompt", "chain"),
            ],
            Some("tool"),
        ),
    ),
    (
        "traceloop.span.kind",
        Values::Table(
            &[
                ("workflow", "chain"),
                ("task", "chain"),
                ("agent", "chain"),
                ("tool", "tool"),
            ],
            None,
        ),
    ),
    (
        "langfuse.type",
        Values::Table(
            &[
                ("generation", "model"),
                ("span", "chain"),
                ("event", "tool"),
                ("tool", "tool"),
            ],
            None,
        ),
    ),
    (
        "langsmith.span.kind",
        Values::Table(
            &[
                ("llm", "model"),
                ("tool", "tool"),
                ("retriever", "tool"),
                ("chain", "chain"),
                ("agent", "chain"),
                ("prompt", "chain"),
            ],
            None,
        ),
    ),
    (
        "llm.request.type",
        Values::Table(
            &[
                ("chat", "model"),
                ("completion", "model"),
                ("embedding", "model"),
                ("rerank", "tool"),
            ],
            None,
        ),
    ),
];

/// Attributes whose mere presence says model, if the operation was not named.
const MODEL_SHAPE: [&str; 2] = ["gen_ai.request.model", "llm.model_name"];
const MODEL_SHAPE_NEEDS: [&str; 7] = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "llm.token_count.total",
];

/// The type of an event from its attributes, or `None` where they do not tell.
///
/// `get` answers with the text of an attribute, `has` whether an attribute is there at all. The answer of an explicit
/// attribute is returned as it was given; `workflow` and `agent` are the caller's to translate.
pub(crate) fn event_type<'a>(
    get: impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>,
    has: impl Fn(&str) -> bool,
) -> Option<std::borrow::Cow<'a, str>> {
    for (attribute, values) in EVENT_TYPE_RULES {
        let Some(value) = get(attribute) else {
            continue;
        };
        let value = match value {
            std::borrow::Cow::Borrowed(text) => std::borrow::Cow::Borrowed(text.trim()),
            std::borrow::Cow::Owned(text) => std::borrow::Cow::Owned(text.trim().to_owned()),
        };
        if value.is_empty() {
            continue;
        }
        match values {
            Values::Explicit => return Some(value),
            Values::Table(table, other) => {
                let known = table
                    .iter()
                    .find(|(from, _)| value.eq_ignore_ascii_case(from))
                    .map(|(_, to)| *to);
                if let Some(answer) = known.or(*other) {
                    return Some(std::borrow::Cow::Borrowed(answer));
                }
            }
        }
    }
    if has("mcp.method.name") {
        return Some(std::borrow::Cow::Borrowed("tool"));
    }
    let model =
        MODEL_SHAPE.iter().any(|key| has(key)) && MODEL_SHAPE_NEEDS.iter().any(|key| has(key));
    model.then_some(std::borrow::Cow::Borrowed("model"))
}

/// What the spans of frameworks are that say nothing of it in attributes: target, name of the span, type.
const FRAMEWORK_SPANS: &[(&str, &[(&str, &str)])] = &[
    (
        "langchain_rust",
        &[
            ("llm.generate", "model"),
            ("chain.call", "chain"),
            ("agent.run", "chain"),
            ("agent.plan", "chain"),
            ("tool.call", "tool"),
        ],
    ),
    (
        "adk",
        &[
            ("call_llm", "model"),
            ("model.generate_content", "model"),
            ("gen_ai.generate", "model"),
            ("agent.execute", "chain"),
            ("run", "chain"),
            // The macro name of its tool spans.
            ("", "tool"),
        ],
    ),
];

/// The type of a span of a framework.
pub(crate) fn type_of_framework_span(target: &str, span: &str) -> Option<&'static str> {
    let (_, spans) = FRAMEWORK_SPANS
        .iter()
        .find(|(framework, _)| is_of_framework(target, framework))?;
    let found = spans.iter().find(|(name, _)| *name == span);
    found.map(|(_, event_type)| *event_type)
}

/// Whether a target is in a crate of this name, or of a name that starts with it and an underscore.
pub(crate) fn is_of_framework(target: &str, framework: &str) -> bool {
    target
        .strip_prefix(framework)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('_') || rest.starts_with("::"))
}

/// Whether `target` is `module` or below it.
pub(crate) fn is_within(target: &str, module: &str) -> bool {
    target
        .strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Words in the name of a span that make it a model call, for those who ask for that.
const MODEL_WORDS: &[&str] = &[
    "llm",
    "model",
    "gpt",
    "claude",
    "llama",
    "gemini",
    "mistral",
    "palm",
    "chat",
    "completion",
    "generate",
    "inference",
    "openai",
    "anthropic",
    "bedrock",
    "google",
    "generativeai",
    "ai",
    "ml",
    "nlp",
];

/// Attributes that name a model, for those who ask for that.
pub(crate) const MODEL_NAMES: &[&str] = &[
    "llm.request.model",
    "llm.response.model",
    "llm.model.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "openai.model",
    "anthropic.model",
    "bedrock.model_id",
    "google.model",
    "model_name",
    "model_id",
    "model_type",
    "ai_model",
];

/// Whether a word of the name is one of those that stand for a model call.
pub(crate) fn is_model_name(name: &str) -> bool {
    name.split(|character: char| !character.is_alphanumeric())
        .any(|word| {
            MODEL_WORDS
                .iter()
                .any(|known| word.eq_ignore_ascii_case(known))
        })
}

/// Prefixes of attributes that are some convention's own and pass to the wire under the name they have.
const CONVENTION_PREFIXES: &[&str] = &[
    "gen_ai.",
    "llm.",
    "openinference.",
    "traceloop.",
    "input.",
    "output.",
    "tool.",
    "tool_call.",
    "retrieval.",
    "reranker.",
    "embedding.",
    "session.",
    "user.",
    "tag.",
    "prompt.",
    "completion.",
    "mcp.",
    "langfuse.",
    "langsmith.",
    "gcp.vertex.",
    "adk.",
    "openai.",
    "aws.",
    "azure.",
    "http.",
    "url.",
    "network.",
    "server.",
    "client.",
    "rpc.",
    "db.",
    "rig.",
    "agent.",
    "graph.",
    "exception.",
    "error.",
    "code.",
    "thread.",
    "messaging.",
    "baggage.",
    "honeyhive.",
];

/// Whether an attribute belongs to a convention and keeps its name on the wire.
pub(crate) fn is_convention(attribute: &str) -> bool {
    attribute.starts_with("honeyhive_")
        || (attribute.contains('.')
            && CONVENTION_PREFIXES
                .iter()
                .any(|prefix| attribute.starts_with(prefix)))
}

/// What a name stands for, however it is spelled: fields of one identity take each other's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity<'a> {
    /// What follows `honeyhive_` or `honeyhive.`.
    Own(&'a str),
    /// An input, whether it says so or not.
    Input(&'a str),
    Other(&'a str),
}

/// See [`Identity`].
pub(crate) fn identity(attribute: &str) -> Identity<'_> {
    let own = attribute
        .strip_prefix("honeyhive")
        .and_then(|rest| rest.strip_prefix(['_', '.']));
    match own {
        Some(own) => own
            .strip_prefix("inputs.")
            .map_or(Identity::Own(own), Identity::Input),
        None if attribute == "error"
            || attribute.starts_with("otel.")
            || is_convention(attribute) =>
        {
            Identity::Other(attribute)
        }
        None => Identity::Input(attribute),
    }
}

/// Fields without which an event cannot be found, or looks as if all had been well: the last to be given up.
const CORE: &[&str] = &[
    "event_type",
    "event_type_raw",
    "event_name",
    "event_id",
    "session_id",
    "project",
    "source",
    "error",
    "error_type",
    "metadata.run_id",
    "metadata.dataset_id",
    "metadata.datapoint_id",
];
const CORE_ELSEWHERE: &[&str] = &[
    "error",
    "error.message",
    "error.type",
    "exception.message",
    "exception.type",
    "otel.name",
    "otel.status_code",
    "otel.status_message",
    "otel.status_description",
    "gen_ai.operation.name",
    "openinference.span.kind",
    "traceloop.span.kind",
];

/// Whether a field must not be lost.
pub(crate) fn is_core(field: &str) -> bool {
    match field.strip_prefix("honeyhive") {
        Some(rest) => rest
            .strip_prefix(['.', '_'])
            .is_some_and(|rest| CORE.contains(&rest)),
        None => CORE_ELSEWHERE.contains(&field),
    }
}

/// Metadata that says which run of an experiment an event belongs to: outside the limit of attributes.
pub(crate) const CORE_METADATA: [&str; 3] = ["run_id", "dataset_id", "datapoint_id"];

/// Lists that the platform reads as one JSON text instead of one attribute an element.
const WHOLE: &[(&str, &str)] = &[
    (name::INPUTS, "chat_history"),
    (name::INPUTS, "functions"),
    (name::OUTPUTS, "chat_history"),
    (name::OUTPUTS, "tool_calls"),
];

/// Whether a container under this name stays one JSON text.
pub(crate) fn is_whole(namespace: &str, key: &str) -> bool {
    WHOLE
        .iter()
        .any(|(whole_namespace, whole_key)| *whole_namespace == namespace && *whole_key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn of(attributes: &[(&str, &str)]) -> Option<String> {
        let find = |key: &str| {
            attributes
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| *value)
        };
        event_type(
            |key| find(key).map(|value| Cow::Owned(value.to_owned())),
            |key| find(key).is_some(),
        )
        .map(Cow::into_owned)
    }

    #[test]
    fn the_first_rule_that_answers_wins() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);
        let cases: &[Case<'_>] = &[
            (&[], None),
            (
                &[
                    ("honeyhive_event_type", "tool"),
                    ("gen_ai.operation.name", "chat"),
                ],
                Some("tool"),
            ),
            (&[("honeyhive.event_type", "chain")], Some("chain")),
            (&[("honeyhive_event_type", "bogus")], Some("bogus")),
            (
                &[
                    ("honeyhive_event_type", " "),
                    ("gen_ai.operation.name", "chat"),
                ],
                Some("model"),
            ),
            (&[("gen_ai.operation.name", "Chat")], Some("model")),
            (&[("gen_ai.operation.name", "invoke_agent")], Some("chain")),
            (
                &[
                    ("gen_ai.operation.name", "weird"),
                    ("openinference.span.kind", "LLM"),
                ],
                Some("model"),
            ),
            (&[("openinference.span.kind", "nope")], Some("tool")),
            (&[("traceloop.span.kind", "workflow")], Some("chain")),
            (
                &[
                    ("traceloop.span.kind", "weird"),
                    ("langfuse.type", "GENERATION"),
                ],
                Some("model"),
            ),
            (&[("llm.request.type", "rerank")], Some("tool")),
            (&[("mcp.method.name", "tools/call")], Some("tool")),
            (&[("gen_ai.request.model", "gpt")], None),
            (
                &[
                    ("gen_ai.request.model", "gpt"),
                    ("gen_ai.usage.input_tokens", "1"),
                ],
                Some("model"),
            ),
        ];
        for (attributes, expected) in cases {
            assert_eq!(of(attributes).as_deref(), *expected, "{attributes:?}");
        }
    }

    #[test]
    fn spellings_of_one_name_are_the_same() {
        for (one, other) in [
            ("honeyhive.event_type", "honeyhive_event_type"),
            ("honeyhive.inputs.q", "honeyhive_inputs.q"),
            ("q", "honeyhive_inputs.q"),
        ] {
            assert_eq!(identity(one), identity(other));
        }
        assert_ne!(
            identity("gen_ai.prompt"),
            identity("honeyhive_inputs.gen_ai.prompt")
        );
        assert_ne!(identity("error"), identity("honeyhive_inputs.error"));
        assert_ne!(identity("honeyhive_event_type"), identity("event_type"));
    }

    #[test]
    fn plain_names_are_no_convention() {
        for plain in [
            "question", "metadata", "model", "user_id", "input", "return", "a.b", "tools.x",
        ] {
            assert!(!is_convention(plain), "{plain}");
        }
        for known in [
            "gen_ai.request.model",
            "input.value",
            "honeyhive.project",
            "honeyhive_inputs.q",
            "llm.x",
        ] {
            assert!(is_convention(known), "{known}");
        }
    }
}
