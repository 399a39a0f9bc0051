//! Which attributes hold content: what people and models said, and what tools were given and gave. As tables.

use super::semconv::name;

/// Stands in the place of content that is not to be sent, where it would have cost something to record it. It keeps the
/// attribute's presence known to the rules for event types; the attribute itself is never sent.
pub(crate) const NOT_CAPTURED: &str = "[not captured]";

/// Attributes of known conventions that hold content, by their names.
const NAMES: &[&str] = &[
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.retrieval.query.text",
    "gen_ai.retrieval.documents",
    "gen_ai.evaluation.explanation",
    "input.value",
    "output.value",
    "llm.prompt_template.variables",
    "llm.function_call",
    "tool.parameters",
    "tool_call.function.arguments",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response",
    "gcp.vertex.agent.tool_call_args",
    "gcp.vertex.agent.tool_response",
    "gcp.vertex.agent.data",
    "langfuse.input",
    "langfuse.output",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.trace.input",
    "langfuse.trace.output",
    "reranker.query",
];

/// Likewise with all names below them.
const FAMILIES: &[&str] = &[
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.content",
    "gen_ai.system.message",
    "gen_ai.user.message",
    "gen_ai.assistant.message",
    "gen_ai.tool.message",
    "gen_ai.choice",
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompts",
    "llm.completions",
    "llm.content",
    "message",
    "embedding.embeddings",
    "embedding.text",
    "retrieval.documents",
    "reranker.input_documents",
    "reranker.output_documents",
    "prompt",
    "completion",
    "honeyhive_inputs",
    "honeyhive_outputs",
    "honeyhive.inputs",
    "honeyhive.outputs",
];

/// Families that are content only below their own name: alone they are words anybody may use.
const PLAIN: &[&str] = &["message", "prompt", "completion"];

/// Whether an attribute of this full name holds content. Plain fields, which become inputs, are not asked about here.
pub(crate) fn is_content(key: &str) -> bool {
    // The first letters of all the names above.
    if !key.starts_with(['g', 'i', 'o', 'l', 't', 'm', 'e', 'r', 'p', 'c', 'h']) {
        return false;
    }
    NAMES.contains(&key)
        || FAMILIES.iter().any(|family| {
            key.strip_prefix(family).is_some_and(|rest| {
                rest.starts_with('.') || (rest.is_empty() && !PLAIN.contains(family))
            })
        })
}

/// The same for an attribute whose namespace stands apart.
pub(crate) fn is_content_in(namespace: &str, key: &str) -> bool {
    match namespace {
        "" => is_content(key),
        name::INPUTS | name::OUTPUTS => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_what_is_none() {
        for content in NAMES {
            assert!(is_content(content), "{content}");
        }
        for family in FAMILIES {
            assert!(is_content(&format!("{family}.0.content")), "{family}");
        }
        for content in [
            "gen_ai.prompt",
            "honeyhive_outputs",
            "honeyhive.inputs.question",
        ] {
            assert!(is_content(content), "{content}");
        }
        for other in [
            "",
            "gen_ai.usage.prompt_tokens",
            "gen_ai.prompt_tokens",
            "gen_ai.operation.name",
            "gen_ai.request.model",
            "llm.token_count.prompt",
            "llm.model_name",
            "input.mime_type",
            "message",
            "prompt",
            "exception.message",
            "honeyhive_metadata.inputs",
            "honeyhive_error",
            "honeyhive_inputs_x",
        ] {
            assert!(!is_content(other), "{other}");
        }
        assert!(is_content_in(name::INPUTS, "x") && is_content_in("", "gen_ai.prompt"));
        assert!(!is_content_in(name::METADATA, "gen_ai.prompt"));
    }
}
