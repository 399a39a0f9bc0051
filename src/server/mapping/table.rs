//! The table from span attributes to event fields. Knows nothing of spans, requests or the store.
//!
//! It is ordered as the conventions are documented, one group for each. A row reads: attribute; on which event types
//! (`*` all, `m` model, `t` tool, `c` chain); how the value is read; where it goes.
//!
//! An attribute may be
//! * a name;
//! * `prefix.*`: every name that begins so. The rest of the name takes the place of `*` in the target, its dots nesting
//!   after a `.*` and turned into `_` after a `_*`. Where no target has a `*`, all these attributes are gathered into one
//!   object first;
//! * `prefix.N.*`: names with an index, gathered into a list, in the order of the indices, gaps closed.
//!
//! A target is a field of the event. One that ends in `?` is filled only where nothing else fills it.
//!
//! Of several rows for one attribute the first that is `on` the event's type is taken. With none, with one that names
//! no target, and for every attribute that is not in the table, the value goes to the metadata under the name it came
//! with, unchanged.

use crate::server::types::EventKind;

/// Who named an attribute. Where two of them fill the same field, the later in this list wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// Whatever went in and came out, in no convention's terms.
    Generic,
    /// An event inside the span.
    Event,
    Framework,
    Old,
    Traceloop,
    OpenInference,
    GenAi,
    HoneyHive,
}

/// How a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// As it is.
    Keep,
    /// A number, also when it came as text.
    Number,
    /// A number that counts once: on a chain, whose model calls below report it too, it goes to
    /// `metadata.usage_below`.
    Usage,
    /// JSON text is parsed.
    Json,
    /// JSON text that is an object, an array or a quoted text is parsed; `42` and `true` stay texts.
    Structured,
    /// An array, or JSON text of one: its first element, and to the last target all of it.
    First,
    /// Seconds, stored as milliseconds.
    Millis,
    /// An object gives its keys to the target; anything else becomes `target.<this>`.
    Keys(&'static str),
    /// What was said to the model: a conversation.
    Messages,
    /// Prompts without roles; a conversation if they are one.
    Prompts,
    /// The instructions that precede a conversation.
    Instructions,
    /// What the model said.
    Reply,
    /// The text of the last message, and the whole conversation.
    Conversation,
    /// What was given in and came out, whatever they are: used only where nothing better filled the field, as messages
    /// on a model event.
    Fill,
    /// Definitions of functions, out of their wrappers.
    Tools,
    /// Documents, out of their wrappers.
    Documents,
    /// The texts that were embedded, and of the vectors, which are too large to keep, how long they are.
    Embeddings,
    /// Token counts under the names that one vendor or another gives them.
    Tokens,
    /// A verdict on the event above: under the evaluation's own name, with this suffix.
    Evaluation(&'static str),
    /// Verdicts on this event: a person's are feedback, all others metrics.
    Annotations,
    /// Whether a tool did its work: `error` fails the event.
    Outcome,
    /// Not kept.
    Drop,
}

pub(super) struct Row {
    pub(super) key: &'static str,
    pub(super) on: &'static str,
    pub(super) how: How,
    pub(super) to: &'static [&'static str],
    /// Where it is not that of the group.
    pub(super) family: Option<Family>,
}

const fn row(key: &'static str, on: &'static str, how: How, to: &'static [&'static str]) -> Row {
    Row {
        key,
        on,
        how,
        to,
        family: None,
    }
}

/// A row in a convention's list that is older than the convention.
const fn older(key: &'static str, on: &'static str, how: How, to: &'static [&'static str]) -> Row {
    Row {
        family: Some(Family::Old),
        ..row(key, on, how, to)
    }
}

/// A row for what is only a last resort.
const fn generic(
    key: &'static str,
    on: &'static str,
    how: How,
    to: &'static [&'static str],
) -> Row {
    Row {
        family: Some(Family::Generic),
        ..row(key, on, how, to)
    }
}

use How::{
    Annotations, Conversation, Documents, Drop, Embeddings, Evaluation, Fill, First, Instructions,
    Json, Keep, Keys, Messages, Millis, Number, Outcome, Prompts, Reply, Structured, Tokens, Tools,
    Usage,
};

pub(super) const TABLE: &[(Family, &[Row])] = &[
    (Family::HoneyHive, HONEYHIVE),
    (Family::Framework, BRIDGE),
    (Family::GenAi, GEN_AI),
    (Family::Old, OLDER),
    (Family::OpenInference, OPENINFERENCE),
    (Family::Traceloop, TRACELOOP),
    (Family::Framework, RUST_FRAMEWORKS),
];

/// Plain names that mean something only on the spans of one library.
pub(super) struct Dialect {
    /// Its spans: by where they were written, or by what they are called and one of their attributes.
    pub(super) target: &'static str,
    pub(super) names: &'static [(&'static str, &'static str)],
    /// The event type of a span by its name, unless its attributes tell.
    pub(super) kinds: &'static [(&'static str, EventKind)],
    pub(super) rows: &'static [Row],
}

pub(super) const DIALECTS: &[Dialect] = &[
    Dialect {
        target: "langchain_rust",
        names: &[
            ("llm.generate", "model"),
            ("llm.generate", "provider"),
            ("chain.call", "chain"),
            ("tool.call", "tool"),
            ("agent.run", "max_iterations"),
            ("agent.plan", "step"),
            ("agent.plan", "steps"),
        ],
        kinds: &[
            ("llm.generate", EventKind::Model),
            ("chain.call", EventKind::Chain),
            ("tool.call", EventKind::Tool),
            ("agent.run", EventKind::Chain),
            ("agent.plan", EventKind::Chain),
        ],
        rows: LANGCHAIN_RUST,
    },
    Dialect {
        target: "tower_http",
        names: &[("request", "uri")],
        kinds: &[],
        rows: TOWER_HTTP,
    },
];

#[rustfmt::skip]
const HONEYHIVE: &[Row] = &[
    row("honeyhive_inputs",                              "*",  Structured,  &["inputs"]),
    row("honeyhive_inputs.*",                            "*",  Structured,  &["inputs.*"]),
    row("honeyhive.inputs",                              "*",  Structured,  &["inputs"]),
    row("honeyhive.inputs.*",                            "*",  Structured,  &["inputs.*"]),
    row("honeyhive_outputs",                             "*",  Structured,  &["outputs"]),
    row("honeyhive_outputs.*",                           "*",  Structured,  &["outputs.*"]),
    row("honeyhive.outputs",                             "*",  Structured,  &["outputs"]),
    row("honeyhive.outputs.*",                           "*",  Structured,  &["outputs.*"]),
    row("honeyhive_config",                              "*",  Structured,  &["config"]),
    row("honeyhive_config.*",                            "*",  Structured,  &["config.*"]),
    row("honeyhive.config",                              "*",  Structured,  &["config"]),
    row("honeyhive.config.*",                            "*",  Structured,  &["config.*"]),
    row("honeyhive_metadata",                            "*",  Structured,  &["metadata"]),
    row("honeyhive_metadata.*",                          "*",  Structured,  &["metadata.*"]),
    row("honeyhive.metadata",                            "*",  Structured,  &["metadata"]),
    row("honeyhive.metadata.*",                          "*",  Structured,  &["metadata.*"]),
    row("honeyhive_metrics",                             "*",  Structured,  &["metrics"]),
    row("honeyhive_metrics.*",                           "*",  Structured,  &["metrics.*"]),
    row("honeyhive.metrics",                             "*",  Structured,  &["metrics"]),
    row("honeyhive.metrics.*",                           "*",  Structured,  &["metrics.*"]),
    row("honeyhive_feedback",                            "*",  Structured,  &["feedback"]),
    row("honeyhive_feedback.*",                          "*",  Structured,  &["feedback.*"]),
    row("honeyhive.feedback",                            "*",  Structured,  &["feedback"]),
    row("honeyhive.feedback.*",                          "*",  Structured,  &["feedback.*"]),
    row("honeyhive_user_properties",                     "*",  Structured,  &["user_properties"]),
    row("honeyhive_user_properties.*",                   "*",  Structured,  &["user_properties.*"]),
    row("honeyhive.user_properties",                     "*",  Structured,  &["user_properties"]),
    row("honeyhive.user_properties.*",                   "*",  Structured,  &["user_properties.*"]),
    row("honeyhive.experiment_metadata.*",               "*",  Structured,  &["metadata.*"]),
    row("honeyhive_event_type",                          "*",  Drop,        &[]),
    row("honeyhive_event_type_raw",                      "*",  Drop,        &[]),
    row("honeyhive.event_type",                          "*",  Drop,        &[]),
    row("honeyhive_event_name",                          "*",  Keep,        &["event_name"]),
    row("honeyhive.event_name",                          "*",  Keep,        &["event_name"]),
    row("honeyhive_event_id",                            "*",  Keep,        &["event_id"]),
    row("honeyhive.event_id",                            "*",  Keep,        &["event_id"]),
    row("honeyhive.session_id",                          "*",  Keep,        &["session_id"]),
    row("honeyhive_session_id",                          "*",  Keep,        &["session_id"]),
    row("honeyhive.session_name",                        "*",  Keep,        &["session_name"]),
    row("honeyhive_session_name",                        "*",  Keep,        &["session_name"]),
    row("honeyhive.session_auto_create",                 "*",  Drop,        &[]),
    row("honeyhive.parent_id",                           "*",  Keep,        &["parent_id"]),
    row("honeyhive.project",                             "*",  Keep,        &["project"]),
    row("honeyhive_project",                             "*",  Keep,        &["project"]),
    row("honeyhive.source",                              "*",  Keep,        &["source"]),
    row("honeyhive_source",                              "*",  Keep,        &["source"]),
    row("honeyhive_user_id",                             "*",  Keep,        &["user_properties.user_id"]),
    row("honeyhive_error",                               "*",  Keep,        &["error"]),
    row("honeyhive.error",                               "*",  Keep,        &["error"]),
    row("honeyhive_error_type",                          "*",  Keep,        &["metadata.error_type"]),
    row("honeyhive_duration_ms",                         "*",  Number,      &["duration"]),
];

#[rustfmt::skip]
const BRIDGE: &[Row] = &[
    row("otel.name",                                     "*",  Keep,        &["event_name"]),
    row("otel.kind",                                     "*",  Drop,        &[]),
    row("otel.status_code",                              "*",  Keep,        &["status_code"]),
    row("otel.status_message",                           "*",  Keep,        &["status_message"]),
    row("otel.status_description",                       "*",  Keep,        &["status_message"]),
    row("error",                                         "*",  Keep,        &["error_message"]),
    row("error.message",                                 "*",  Keep,        &["error_message"]),
    row("exception.message",                             "*",  Keep,        &["error_message"]),
    row("error.type",                                    "*",  Keep,        &["error_type", "metadata.error_type"]),
    row("gen_ai.tool.error.type",                        "t",  Keep,        &["error_type", "metadata.error_type"]),
    row("exception.type",                                "*",  Keep,        &["metadata.exception_type"]),
    row("exception.stacktrace",                          "*",  Keep,        &["metadata.stacktrace"]),
    row("error.cause_chain",                             "*",  Keep,        &["metadata.error_cause_chain"]),
    generic("return",                                    "*",  Fill,        &["outputs"]),
    row("busy_ns",                                       "*",  Drop,        &[]),
    row("idle_ns",                                       "*",  Drop,        &[]),
    row("thread.*",                                      "*",  Drop,        &[]),
    row("code.*",                                        "*",  Drop,        &[]),
    row("target",                                        "*",  Drop,        &[]),
    row("level",                                         "*",  Drop,        &[]),
    row("log.*",                                         "*",  Drop,        &[]),
];

#[rustfmt::skip]
const GEN_AI: &[Row] = &[
    row("gen_ai.operation.name",                         "*",  Keep,        &["metadata.operation_name"]),
    row("gen_ai.provider.name",                          "*",  Keep,        &["config.provider", "metadata.provider"]),
    older("gen_ai.system",                               "*",  Keep,        &["config.provider?", "metadata.system"]),
    row("gen_ai.request.model",                          "*",  Keep,        &["config.model", "metadata.model_name?"]),
    row("gen_ai.response.model",                         "*",  Keep,        &["metadata.response_model", "metadata.model_name"]),
    row("gen_ai.response.id",                            "*",  Keep,        &["metadata.response_id"]),
    row("gen_ai.response.finish_reasons",                "m",  First,       &["outputs.finish_reason", "metadata.finish_reason", "metadata.finish_reasons"]),
    row("gen_ai.response.time_to_first_chunk",           "m",  Millis,      &["metadata.time_to_first_token_ms"]),
    row("gen_ai.request.temperature",                    "*",  Number,      &["config.temperature"]),
    row("gen_ai.request.max_tokens",                     "*",  Number,      &["config.max_tokens"]),
    row("gen_ai.request.top_p",                          "*",  Number,      &["config.top_p"]),
    row("gen_ai.request.top_k",                          "*",  Number,      &["config.top_k"]),
    row("gen_ai.request.frequency_penalty",              "*",  Number,      &["config.frequency_penalty"]),
    row("gen_ai.request.presence_penalty",               "*",  Number,      &["config.presence_penalty"]),
    row("gen_ai.request.seed",                           "*",  Number,      &["config.seed"]),
    row("gen_ai.request.stop_sequences",                 "*",  Json,        &["config.stop_sequences"]),
    row("gen_ai.request.choice.count",                   "*",  Number,      &["config.n"]),
    row("gen_ai.request.stream",                         "*",  Json,        &["config.is_streaming"]),
    row("gen_ai.request.encoding_formats",               "*",  Json,        &["config.encoding_formats"]),
    row("gen_ai.request.*",                              "*",  Keep,        &["config.*"]),
    row("gen_ai.output.type",                            "*",  Keep,        &["config.output_type"]),
    row("gen_ai.system_instructions",                    "m",  Instructions, &["config.system_instructions"]),
    row("gen_ai.system_instructions",                    "c",  Json,        &["inputs.system_instructions"]),
    row("gen_ai.input.messages",                         "mc", Messages,    &["inputs.chat_history"]),
    row("gen_ai.output.messages",                        "m",  Reply,       &["outputs"]),
    row("gen_ai.output.messages",                        "c",  Conversation, &["outputs.result", "outputs.conversation"]),
    row("gen_ai.tool.definitions",                       "m",  Tools,       &["inputs.functions", "config.tools"]),
    row("gen_ai.usage.input_tokens",                     "*",  Usage,       &["metadata.input_tokens", "metadata.prompt_tokens"]),
    row("gen_ai.usage.output_tokens",                    "*",  Usage,       &["metadata.output_tokens", "metadata.completion_tokens"]),
    row("gen_ai.usage.cache_read.input_tokens",          "*",  Usage,       &["metadata.cache_read_input_tokens"]),
    row("gen_ai.usage.cache_creation.input_tokens",      "*",  Usage,       &["metadata.cache_write_input_tokens"]),
    row("gen_ai.usage.reasoning.output_tokens",          "*",  Usage,       &["metadata.reasoning_tokens"]),
    row("gen_ai.usage.text.*",                           "*",  Usage,       &["metadata.usage.text_*"]),
    row("gen_ai.usage.image.*",                          "*",  Usage,       &["metadata.usage.image_*"]),
    row("gen_ai.usage.audio.*",                          "*",  Usage,       &["metadata.usage.audio_*"]),
    row("gen_ai.usage.video.*",                          "*",  Usage,       &["metadata.usage.video_*"]),
    row("gen_ai.agent.name",                             "c",  Keep,        &["metadata.agent_name", "config.agent_name"]),
    row("gen_ai.agent.name",                             "*",  Keep,        &["metadata.agent_name"]),
    row("gen_ai.agent.id",                               "*",  Keep,        &["metadata.agent_id"]),
    row("gen_ai.agent.description",                      "*",  Keep,        &["metadata.agent_description"]),
    row("gen_ai.agent.version",                          "*",  Keep,        &["metadata.agent_version"]),
    row("gen_ai.conversation.id",                        "*",  Keep,        &["metadata.conversation_id"]),
    row("gen_ai.workflow.name",                          "c",  Keep,        &["config.workflow_name", "metadata.workflow_name"]),
    row("gen_ai.workflow.*",                             "*",  Keep,        &["metadata.workflow.*"]),
    row("gen_ai.tool.name",                              "t",  Keep,        &["event_name?", "metadata.tool_name", "config.tool_name"]),
    row("gen_ai.tool.type",                              "t",  Keep,        &["config.tool_type"]),
    row("gen_ai.tool.description",                       "t",  Keep,        &["config.tool_description"]),
    row("gen_ai.tool.call.id",                           "*",  Keep,        &["metadata.tool_call_id"]),
    row("gen_ai.tool.call.arguments",                    "t",  Keys("arguments"), &["inputs"]),
    row("gen_ai.tool.call.result",                       "t",  Json,        &["outputs.message"]),
    row("gen_ai.data_source.id",                         "*",  Keep,        &["config.data_source_id"]),
    row("gen_ai.retrieval.query.text",                   "t",  Keep,        &["inputs.query"]),
    row("gen_ai.retrieval.documents",                    "t",  Json,        &["outputs.documents"]),
    row("gen_ai.embeddings.dimension.count",             "*",  Number,      &["config.dimensions"]),
    row("gen_ai.prompt.name",                            "*",  Keep,        &["config.template.name"]),
    row("gen_ai.evaluation.name",                        "*",  Keep,        &["metadata.evaluation_name"]),
    row("gen_ai.evaluation.score.value",                 "*",  Evaluation(""), &["metrics.*"]),
    row("gen_ai.evaluation.score.label",                 "*",  Evaluation("_label"), &["metrics.*"]),
    row("gen_ai.evaluation.explanation",                 "*",  Evaluation("_explanation"), &["metrics.*"]),
    row("gen_ai.evaluation.score.explanation",           "*",  Evaluation("_explanation"), &["metrics.*"]),
    row("gen_ai.memory.query.text",                      "t",  Keep,        &["inputs.query"]),
    row("gen_ai.memory.records",                         "t",  Json,        &["outputs.records"]),
    row("gen_ai.memory.*",                               "t",  Json,        &["metadata.memory.*"]),
    row("gen_ai.token.*",                                "*",  Drop,        &[]),
    row("openai.api.type",                               "*",  Keep,        &["metadata.request_type"]),
    row("openai.request.service_tier",                   "*",  Keep,        &["config.service_tier"]),
    row("openai.response.service_tier",                  "*",  Keep,        &["metadata.service_tier"]),
    row("openai.response.system_fingerprint",            "*",  Keep,        &["metadata.openai_system_fingerprint", "metadata.system_fingerprint"]),
    row("aws.bedrock.*",                                 "*",  Keep,        &["metadata.aws.bedrock.*"]),
    row("server.address",                                "m",  Keep,        &["metadata.server_address"]),
    row("server.port",                                   "m",  Number,      &["metadata.server_port"]),
];

#[rustfmt::skip]
const OLDER: &[Row] = &[
    row("gen_ai.prompt",                                 "m",  Messages,    &["inputs.chat_history"]),
    row("gen_ai.prompt",                                 "c",  Structured,  &["inputs.query"]),
    row("gen_ai.completion",                             "m",  Reply,       &["outputs"]),
    row("gen_ai.completion",                             "c",  Structured,  &["outputs.result"]),
    row("gen_ai.usage.prompt_tokens",                    "*",  Usage,       &["metadata.prompt_tokens", "metadata.input_tokens"]),
    row("gen_ai.usage.completion_tokens",                "*",  Usage,       &["metadata.completion_tokens", "metadata.output_tokens"]),
    row("gen_ai.openai.request.response_format",         "*",  Json,        &["config.response_format"]),
    row("gen_ai.openai.request.seed",                    "*",  Number,      &["config.seed"]),
    row("gen_ai.openai.request.service_tier",            "*",  Keep,        &["config.service_tier"]),
    row("gen_ai.openai.response.service_tier",           "*",  Keep,        &["metadata.service_tier"]),
    row("gen_ai.openai.response.system_fingerprint",     "*",  Keep,        &["metadata.openai_system_fingerprint"]),
    row("gen_ai.openai.system_fingerprint",              "*",  Keep,        &["metadata.openai_system_fingerprint"]),
    // The events of this convention are read in `Draft::events`.
];

#[rustfmt::skip]
const OPENINFERENCE: &[Row] = &[
    row("openinference.span.kind",                       "*",  Keep,        &["metadata.span_kind"]),
    row("llm.input_messages.N.*",                        "mc", Messages,    &["inputs.chat_history"]),
    row("llm.output_messages.N.*",                       "m",  Reply,       &["outputs"]),
    row("llm.output_messages.N.*",                       "c",  Conversation, &["outputs.result", "outputs.conversation"]),
    row("llm.input_messages",                            "mc", Messages,    &["inputs.chat_history"]),
    row("llm.output_messages",                           "m",  Reply,       &["outputs"]),
    row("llm.output_messages",                           "c",  Conversation, &["outputs.result", "outputs.conversation"]),
    row("llm.model_name",                                "*",  Keep,        &["config.model"]),
    row("llm.request.model_name",                        "*",  Keep,        &["config.model"]),
    row("llm.response.model_name",                       "*",  Keep,        &["metadata.response_model", "metadata.model_name"]),
    row("llm.provider",                                  "*",  Keep,        &["config.provider", "metadata.provider"]),
    row("llm.system",                                    "*",  Keep,        &["config.provider?", "metadata.system"]),
    row("llm.invocation_parameters",                     "*",  Keys("invocation_parameters"), &["config?"]),
    row("llm.token_count.prompt",                        "*",  Usage,       &["metadata.prompt_tokens", "metadata.input_tokens"]),
    row("llm.token_count.completion",                    "*",  Usage,       &["metadata.completion_tokens", "metadata.output_tokens"]),
    row("llm.token_count.total",                         "*",  Usage,       &["metadata.total_tokens"]),
    row("llm.token_count.prompt_details.cache_read",     "*",  Usage,       &["metadata.cache_read_input_tokens"]),
    row("llm.token_count.prompt_details.cache_write",    "*",  Usage,       &["metadata.cache_write_input_tokens"]),
    row("llm.token_count.completion_details.reasoning",  "*",  Usage,       &["metadata.reasoning_tokens"]),
    row("llm.token_count.*",                             "*",  Usage,       &["metadata.usage.*"]),
    row("llm.cost.total",                                "c",  Usage,       &["metadata.cost"]),
    row("llm.cost.total",                                "*",  Number,      &["metadata.cost", "metrics.cost"]),
    row("llm.cost.*",                                    "c",  Usage,       &["metadata.cost_*"]),
    row("llm.cost.*",                                    "*",  Number,      &["metrics.cost_*"]),
    row("llm.finish_reason",                             "m",  Keep,        &["outputs.finish_reason", "metadata.finish_reason"]),
    row("llm.prompts",                                   "m",  Prompts,     &["inputs.chat_history?", "inputs.prompts"]),
    row("llm.prompts.N.*",                               "m",  Prompts,     &["inputs.chat_history?", "inputs.prompts"]),
    row("llm.choices",                                   "m",  Json,        &["outputs.choices"]),
    row("llm.choices.N.*",                               "m",  Keep,        &["outputs.choices"]),
    row("llm.prompt_template.template",                  "*",  Keep,        &["config.template"]),
    row("llm.prompt_template.version",                   "*",  Keep,        &["config.template_version"]),
    row("llm.prompt_template.variables",                 "*",  Keys("variables"), &["inputs"]),
    row("llm.tools.N.*",                                 "m",  Tools,       &["inputs.functions", "config.tools"]),
    row("llm.tools",                                     "m",  Tools,       &["inputs.functions", "config.tools"]),
    row("llm.function_call",                             "*",  Json,        &["metadata.function_call"]),
    generic("input.value",                               "*",  Fill,        &["inputs"]),
    generic("output.value",                              "*",  Fill,        &["outputs"]),
    row("input.mime_type",                               "*",  Keep,        &["metadata.input_mime_type"]),
    row("output.mime_type",                              "*",  Keep,        &["metadata.output_mime_type"]),
    row("input.images",                                  "*",  Json,        &["inputs.images"]),
    row("input.images.N.*",                              "*",  Json,        &["inputs.images"]),
    row("output.images",                                 "*",  Json,        &["outputs.images"]),
    row("output.images.N.*",                             "*",  Json,        &["outputs.images"]),
    row("input.documents",                               "*",  Documents,   &["inputs.documents"]),
    row("input.documents.N.*",                           "*",  Documents,   &["inputs.documents"]),
    row("output.documents",                              "*",  Documents,   &["outputs.documents"]),
    row("output.documents.N.*",                          "*",  Documents,   &["outputs.documents"]),
    row("tool.name",                                     "t",  Keep,        &["event_name?", "metadata.tool_name", "config.tool_name"]),
    row("tool.description",                              "t",  Keep,        &["config.tool_description"]),
    row("tool.parameters",                               "t",  Keys("parameters"), &["inputs"]),
    row("tool.id",                                       "*",  Keep,        &["metadata.tool_call_id"]),
    row("tool_call.id",                                  "*",  Keep,        &["metadata.tool_call_id"]),
    row("tool_call.function.name",                       "t",  Keep,        &["event_name?", "metadata.tool_name", "config.tool_name"]),
    row("tool_call.function.arguments",                  "t",  Keys("arguments"), &["inputs"]),
    row("tool.json_schema",                              "t",  Json,        &["config.tool_schema"]),
    row("tool.*",                                        "*",  Keep,        &["metadata.tool.*"]),
    row("retrieval.documents.N.*",                       "*",  Documents,   &["outputs.documents"]),
    row("retrieval.documents",                           "*",  Documents,   &["outputs.documents"]),
    row("reranker.query",                                "t",  Keep,        &["inputs.query"]),
    row("reranker.input_documents.N.*",                  "t",  Documents,   &["inputs.documents"]),
    row("reranker.input_documents",                      "t",  Documents,   &["inputs.documents"]),
    row("reranker.output_documents.N.*",                 "t",  Documents,   &["outputs.documents"]),
    row("reranker.output_documents",                     "t",  Documents,   &["outputs.documents"]),
    row("reranker.model_name",                           "t",  Keep,        &["config.model"]),
    row("reranker.top_k",                                "t",  Number,      &["config.top_k"]),
    row("embedding.model_name",                          "*",  Keep,        &["config.model"]),
    row("embedding.invocation_parameters",               "*",  Keys("invocation_parameters"), &["config?"]),
    row("embedding.embeddings.N.*",                      "*",  Embeddings,  &["inputs.input", "outputs.dimensions"]),
    row("embedding.embeddings",                          "*",  Embeddings,  &["inputs.input", "outputs.dimensions"]),
    row("decision.model_name",                           "*",  Keep,        &["config.model"]),
    row("decision.request.model_name",                   "*",  Keep,        &["config.model"]),
    row("decision.response.model_name",                  "*",  Keep,        &["metadata.response_model"]),
    row("decision.provider",                             "*",  Keep,        &["config.provider", "metadata.provider"]),
    row("decision.system",                               "*",  Keep,        &["config.provider?", "metadata.system"]),
    row("decision.token_count.input",                    "*",  Usage,       &["metadata.input_tokens", "metadata.prompt_tokens"]),
    row("decision.token_count.output",                   "*",  Usage,       &["metadata.output_tokens", "metadata.completion_tokens"]),
    row("decision.*",                                    "*",  Keep,        &["metadata.decision.*"]),
    row("session.id",                                    "*",  Keep,        &["metadata.conversation_id"]),
    row("user.id",                                       "*",  Keep,        &["user_properties.user_id", "metadata.user_id"]),
    row("metadata",                                      "*",  Keys("metadata"), &["metadata"]),
    row("tag.tags",                                      "*",  Json,        &["metadata.tags"]),
    row("agent.name",                                    "*",  Keep,        &["metadata.agent_name"]),
    row("graph.node.*",                                  "*",  Keep,        &["metadata.graph.*"]),
    row("prompt.id",                                     "*",  Keep,        &["metadata.prompt_id"]),
    row("prompt.vendor",                                 "*",  Keep,        &["metadata.prompt_vendor"]),
    row("prompt.url",                                    "*",  Keep,        &["metadata.prompt_url"]),
    row("prompt.text",                                   "*",  Keep,        &["inputs.prompt"]),
    row("completion.text",                               "*",  Keep,        &["outputs.text"]),
    row("annotation.*",                                  "*",  Annotations, &["metrics", "feedback"]),
    row("evaluation.*",                                  "*",  Annotations, &["metrics", "feedback"]),
    row("annotations.N.*",                               "*",  Annotations, &["metrics", "feedback"]),
    row("evaluations.N.*",                               "*",  Annotations, &["metrics", "feedback"]),
    row("trace.annotations.N.*",                         "*",  Annotations, &["metrics", "feedback"]),
    row("trace.evaluations.N.*",                         "*",  Annotations, &["metrics", "feedback"]),
    row("session.annotations.N.*",                       "*",  Annotations, &["metrics", "feedback"]),
    row("session.evaluations.N.*",                       "*",  Annotations, &["metrics", "feedback"]),
    row("message.*",                                     "*",  Keep,        &[]),
    row("message_content.*",                             "*",  Keep,        &[]),
    row("image.*",                                       "*",  Keep,        &[]),
    row("audio.*",                                       "*",  Keep,        &[]),
    row("video.*",                                       "*",  Keep,        &[]),
    row("document.*",                                    "*",  Keep,        &[]),
];

#[rustfmt::skip]
const TRACELOOP: &[Row] = &[
    row("traceloop.span.kind",                           "*",  Keep,        &["metadata.span_kind"]),
    row("traceloop.entity.input",                        "*",  Fill,        &["inputs"]),
    row("traceloop.entity.output",                       "*",  Fill,        &["outputs"]),
    row("traceloop.entity.name",                         "*",  Keep,        &["event_name?", "metadata.entity_name"]),
    row("traceloop.workflow.name",                       "*",  Keep,        &["config.workflow_name", "metadata.workflow_name"]),
    row("traceloop.entity.*",                            "*",  Keep,        &["metadata.entity.*"]),
    row("traceloop.correlation.id",                      "*",  Keep,        &["metadata.entity.correlation_id"]),
    row("traceloop.association.properties.session_id",   "*",  Keep,        &["session_id"]),
    row("traceloop.association.properties.session_name", "*",  Keep,        &["session_name"]),
    row("traceloop.association.properties.parent_id",    "*",  Keep,        &["parent_id"]),
    row("traceloop.association.properties.project",      "*",  Keep,        &["project"]),
    row("traceloop.association.properties.source",       "*",  Keep,        &["source"]),
    row("traceloop.association.properties.*",            "*",  Keep,        &["metadata.*"]),
    row("traceloop.prompt.template",                     "*",  Keep,        &["config.template"]),
    row("traceloop.prompt.template_variables",           "*",  Keys("variables"), &["inputs"]),
    row("traceloop.prompt.template_variables.*",         "*",  Keep,        &["inputs.*"]),
    row("traceloop.prompt.*",                            "*",  Keep,        &["config.template_*"]),
    row("gen_ai.prompt.N.*",                             "mc", Messages,    &["inputs.chat_history"]),
    row("gen_ai.completion.N.*",                         "m",  Reply,       &["outputs"]),
    row("gen_ai.completion.N.*",                         "c",  Conversation, &["outputs.result", "outputs.conversation"]),
    row("llm.request.type",                              "*",  Keep,        &["metadata.request_type"]),
    row("llm.request.functions.N.*",                     "m",  Tools,       &["inputs.functions"]),
    row("llm.usage.total_tokens",                        "*",  Usage,       &["metadata.total_tokens"]),
    row("gen_ai.usage.total_tokens",                     "*",  Usage,       &["metadata.total_tokens"]),
    row("gen_ai.usage.cache_read_input_tokens",          "*",  Usage,       &["metadata.cache_read_input_tokens"]),
    row("gen_ai.usage.cache_creation_input_tokens",      "*",  Usage,       &["metadata.cache_write_input_tokens"]),
    row("gen_ai.usage.reasoning_tokens",                 "*",  Usage,       &["metadata.reasoning_tokens"]),
    row("llm.usage.reasoning_tokens",                    "*",  Usage,       &["metadata.reasoning_tokens"]),
    row("gen_ai.usage.token_type",                       "*",  Drop,        &[]),
    row("llm.usage.token_type",                          "*",  Drop,        &[]),
    row("llm.frequency_penalty",                         "*",  Number,      &["config.frequency_penalty"]),
    row("llm.presence_penalty",                          "*",  Number,      &["config.presence_penalty"]),
    row("llm.top_k",                                     "*",  Number,      &["config.top_k"]),
    row("llm.chat.stop_sequences",                       "*",  Json,        &["config.stop_sequences"]),
    row("llm.request.repetition_penalty",                "*",  Number,      &["config.repetition_penalty"]),
    row("llm.request.reasoning_effort",                  "*",  Keep,        &["config.reasoning_effort"]),
    row("gen_ai.is_streaming",                           "*",  Json,        &["config.is_streaming"]),
    row("llm.is_streaming",                              "*",  Json,        &["config.is_streaming"]),
    row("gen_ai.user",                                   "*",  Keep,        &["config.user", "user_properties.user_id"]),
    row("llm.user",                                      "*",  Keep,        &["config.user", "user_properties.user_id"]),
    // Credentials among them are taken out before; see `headers`.
    row("gen_ai.headers",                                "*",  Json,        &["config.headers"]),
    row("gen_ai.headers.*",                              "*",  Keep,        &["config.headers"]),
    row("llm.headers",                                   "*",  Json,        &["config.headers"]),
    row("llm.headers.*",                                 "*",  Keep,        &["config.headers"]),
    row("gen_ai.response.finish_reason",                 "m",  Keep,        &["outputs.finish_reason", "metadata.finish_reason"]),
    row("gen_ai.response.stop_reason",                   "m",  Keep,        &["outputs.finish_reason", "metadata.finish_reason"]),
    row("llm.response.finish_reason",                    "m",  Keep,        &["outputs.finish_reason", "metadata.finish_reason"]),
    row("llm.response.stop_reason",                      "m",  Keep,        &["outputs.finish_reason", "metadata.finish_reason"]),
    row("gen_ai.content.completion.chunk",               "*",  Drop,        &[]),
    row("llm.content.completion.chunk",                  "*",  Drop,        &[]),
    row("gen_ai.openai.api_base",                        "*",  Keep,        &["metadata.openai_api_base", "metadata.gen_ai.openai.api_base"]),
    row("gen_ai.openai.api_version",                     "*",  Keep,        &["metadata.openai_api_version"]),
    row("gen_ai.openai.api_type",                        "*",  Keep,        &["metadata.openai_api_type"]),
    row("gen_ai.response.reasoning_effort",              "*",  Keep,        &["metadata.reasoning_effort"]),
    row("gen_ai.task.input",                             "c",  Keys("input"), &["inputs"]),
    row("gen_ai.task.output",                            "c",  Json,        &["outputs.result"]),
    row("gen_ai.task.*",                                 "c",  Keep,        &["metadata.task.*"]),
    row("mcp.method.name",                               "*",  Keep,        &["metadata.mcp_request_type"]),
    row("mcp.session.id",                                "*",  Keep,        &["metadata.mcp_session_id"]),
    row("mcp.request.argument",                          "t",  Keys("argument"), &["inputs"]),
    row("mcp.response.value",                            "t",  Json,        &["outputs.message"]),
    row("mcp.client.name",                               "*",  Keep,        &["metadata.mcp_client_name"]),
    row("mcp.server.name",                               "*",  Keep,        &["metadata.mcp_server_name"]),
    row("mcp.tool.name",                                 "*",  Keep,        &["metadata.mcp_tool_name"]),
    row("mcp.request.type",                              "*",  Keep,        &["metadata.mcp_request_type"]),
    row("mcp.*",                                         "*",  Keep,        &["metadata.mcp_*"]),
    row("db.system",                                     "t",  Keep,        &["config.db_vendor"]),
    row("db.operation",                                  "t",  Keep,        &["config.db_operation"]),
    row("db.query.result",                               "t",  Documents,   &["outputs.documents"]),
    row("db.query.result.N.*",                           "t",  Documents,   &["outputs.documents"]),
    row("db.query.result.*",                             "t",  Documents,   &["outputs.documents"]),
    row("db.*",                                          "t",  Keep,        &["metadata.db.*"]),
    row("pinecone.*",                                    "t",  Keep,        &["metadata.db.pinecone.*"]),
    row("qdrant.*",                                      "t",  Keep,        &["metadata.db.qdrant.*"]),
    row("milvus.*",                                      "t",  Keep,        &["metadata.db.milvus.*"]),
    row("chroma.*",                                      "t",  Keep,        &["metadata.db.chroma.*"]),
    row("marqo.*",                                       "t",  Keep,        &["metadata.db.marqo.*"]),
    row("langgraph.*",                                   "*",  Keep,        &[]),
    row("haystack.*",                                    "*",  Keep,        &[]),
    row("llm.watsonx.*",                                 "*",  Keep,        &[]),
    row("llm.chat_completions.*",                        "*",  Keep,        &[]),
    row("llm.openai.*",                                  "*",  Keep,        &[]),
    row("llm.anthropic.*",                               "*",  Keep,        &[]),
    row("suppress_language_model_instrumentation",       "*",  Drop,        &[]),
];

#[rustfmt::skip]
const RUST_FRAMEWORKS: &[Row] = &[
    row("rig.completion_parent",                         "*",  Drop,        &[]),
    row("rig.provider_request_id",                       "*",  Keep,        &["metadata.provider_request_id"]),
    row("gen_ai.usage.tool_use_prompt_tokens",           "*",  Usage,       &["metadata.tool_use_prompt_tokens"]),
    row("gen_ai.tool.call.outcome",                      "t",  Outcome,     &["metadata.tool_status"]),
    row("agent_name",                                    "*",  Keep,        &["metadata.agent_name"]),
    row("gen_ai.usage.cache_read_tokens",                "*",  Usage,       &["metadata.cache_read_input_tokens"]),
    row("gen_ai.usage.cache_creation_tokens",            "*",  Usage,       &["metadata.cache_write_input_tokens"]),
    row("gen_ai.usage.thinking_tokens",                  "*",  Usage,       &["metadata.reasoning_tokens"]),
    row("gen_ai.usage.audio_input_tokens",               "*",  Usage,       &["metadata.usage.audio_input_tokens"]),
    row("gen_ai.usage.audio_output_tokens",              "*",  Usage,       &["metadata.usage.audio_output_tokens"]),
    row("gen_ai.tool.call_id",                           "*",  Keep,        &["metadata.tool_call_id"]),
    row("gcp.vertex.agent.llm_request",                  "m",  Messages,    &["inputs.chat_history"]),
    row("gcp.vertex.agent.llm_response",                 "m",  Reply,       &["outputs"]),
    row("gcp.vertex.agent.session_id",                   "*",  Keep,        &["metadata.conversation_id"]),
    row("gcp.vertex.agent.invocation_id",                "*",  Keep,        &["metadata.invocation_id"]),
    row("gcp.vertex.agent.event_id",                     "*",  Keep,        &["metadata.event_id"]),
    row("gcp.vertex.agent.tool_call_args",               "t",  Keys("arguments"), &["inputs"]),
    row("gcp.vertex.agent.tool_response",                "t",  Json,        &["outputs.message"]),
    row("adk.app_name",                                  "*",  Keep,        &["metadata.app_name"]),
    row("adk.user_id",                                   "*",  Keep,        &["user_properties.user_id"]),
    row("adk.skills.*",                                  "*",  Keep,        &["metadata.skills.*"]),
    row("model.name",                                    "m",  Keep,        &["config.model"]),
    row("request.contents_count",                        "*",  Keep,        &[]),
    row("request.tools_count",                           "*",  Keep,        &[]),
    row("langfuse.type",                                 "*",  Keep,        &["metadata.span_kind"]),
    row("langfuse.input",                                "*",  Fill,        &["inputs"]),
    row("langfuse.output",                               "*",  Fill,        &["outputs"]),
    row("langfuse.model",                                "*",  Keep,        &["config.model"]),
    row("langfuse.model_parameters",                     "*",  Keys("model_parameters"), &["config?"]),
    row("langfuse.usage",                                "*",  Tokens,      &["metadata.*_tokens"]),
    row("langfuse.status_message",                       "*",  Keep,        &["error_message"]),
    row("langfuse.session.id",                           "*",  Keep,        &["metadata.conversation_id"]),
    row("langfuse.user.id",                              "*",  Keep,        &["user_properties.user_id"]),
    row("langfuse.trace.*",                              "*",  Keep,        &["metadata.*"]),
    row("langsmith.span.kind",                           "*",  Keep,        &["metadata.span_kind"]),
    // The plain names of langchain-rust and tower-http: below.
    row("http.response.status_code",                     "*",  Number,      &["http_status", "metadata.http.response.status_code"]),
    row("http.status_code",                              "*",  Number,      &["http_status", "metadata.http.status_code"]),
    row("http.*",                                        "t",  Keep,        &["metadata.http.*"]),
    row("url.*",                                         "t",  Keep,        &["metadata.http.url.*"]),
    row("network.*",                                     "t",  Keep,        &["metadata.http.network.*"]),
    row("user_agent.*",                                  "t",  Keep,        &["metadata.http.user_agent.*"]),
    row("client.*",                                      "t",  Keep,        &["metadata.http.client.*"]),
    row("rpc.*",                                         "*",  Keep,        &["metadata.rpc.*"]),
    row("sdk_invocation_id",                             "*",  Keep,        &["metadata.rpc.sdk_invocation_id"]),
    // What sqlx says of a statement is in events, of which nothing is taken; as attributes: `db.*` above.
];

#[rustfmt::skip]
const LANGCHAIN_RUST: &[Row] = &[
    row("provider",                                      "m",  Keep,        &["config.provider", "metadata.provider"]),
    row("model",                                         "m",  Keep,        &["config.model"]),
    row("stream",                                        "m",  Json,        &["config.is_streaming"]),
    row("prompt_tokens",                                 "*",  Usage,       &["metadata.prompt_tokens", "metadata.input_tokens"]),
    row("completion_tokens",                             "*",  Usage,       &["metadata.completion_tokens", "metadata.output_tokens"]),
    row("total_tokens",                                  "*",  Usage,       &["metadata.total_tokens"]),
    row("tool_calls",                                    "*",  Json,        &["metadata.tool_calls"]),
    // `error` is that of the bridge.
    row("chain",                                         "c",  Keep,        &["event_name?", "metadata.chain"]),
    row("tool",                                          "t",  Keep,        &["event_name?", "metadata.tool_name"]),
    row("steps",                                         "*",  Keep,        &[]),
    row("step",                                          "*",  Keep,        &[]),
    row("max_iterations",                                "*",  Keep,        &[]),
];

#[rustfmt::skip]
const TOWER_HTTP: &[Row] = &[
    row("method",                                        "t",  Keep,        &["metadata.http.method"]),
    row("uri",                                           "t",  Keep,        &["metadata.http.uri"]),
    row("version",                                       "t",  Keep,        &["metadata.http.version"]),
    row("status",                                        "*",  Number,      &["http_status", "metadata.http.status"]),
    row("latency",                                       "t",  Keep,        &["metadata.http.latency"]),
];
