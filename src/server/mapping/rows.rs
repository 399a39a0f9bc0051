//! One case at least for every row of the table, in its order: what goes in, what comes out.

use super::index::{Index, dialect, target};
use super::table::{DIALECTS, How, TABLE};
use super::tests::{mapped, named};
use serde_json::{Value, json};
use std::collections::HashSet;

/// On which event types, the attributes, the fields. `null` says that a field is not there.
type Case = (&'static str, Value, Value);

#[rustfmt::skip]
fn honeyhive() -> Vec<Case> {
    let mut cases = Vec::new();
    for bucket in [
        "inputs",
        "outputs",
        "config",
        "metadata",
        "metrics",
        "feedback",
        "user_properties",
    ] {
        for spelling in ["honeyhive_", "honeyhive."] {
            cases.push(("mtc", json!({format!("{spelling}{bucket}"): "{\"a\": 1, \"t\": \"42\"}", format!("{spelling}{bucket}.b.c"): "[2]", format!("{spelling}{bucket}.d"): "42"}),
                json!({bucket: {"a": 1, "t": "42", "b": {"c": [2]}, "d": "42"}})));
        }
    }
    cases.extend([
        ("mtc", json!({"honeyhive.experiment_metadata.run": "r"}), json!({"metadata": {"run": "r"}})),
        ("", json!({"honeyhive_event_type": "Chain"}), json!({"event_type": "chain", "metadata": {"honeyhive_event_type": null}})),
        ("", json!({"honeyhive_event_type_raw": "model"}), json!({"event_type": "model"})),
        ("", json!({"honeyhive.event_type": "session"}), json!({"event_type": "session"})),
        ("mtc", json!({"honeyhive_event_name": "n"}), json!({"event_name": "n"})),
        ("mtc", json!({"honeyhive.event_name": "n"}), json!({"event_name": "n"})),
        ("mtc", json!({"honeyhive_event_id": "e"}), json!({"event_id": "e"})),
        ("mtc", json!({"honeyhive.event_id": "e"}), json!({"event_id": "e"})),
        ("mtc", json!({"honeyhive.session_id": "s"}), json!({"session_id": "s"})),
        ("mtc", json!({"honeyhive_session_id": "s"}), json!({"session_id": "s"})),
        ("mtc", json!({"honeyhive.session_name": "s"}), json!({"session_name": "s"})),
        ("mtc", json!({"honeyhive_session_name": "s"}), json!({"session_name": "s"})),
        ("mtc", json!({"honeyhive.session_auto_create": true}), json!({"metadata": {"honeyhive.session_auto_create": null}})),
        ("mtc", json!({"honeyhive.parent_id": "p"}), json!({"parent_id": "p"})),
        ("mtc", json!({"honeyhive.project": "p"}), json!({"project": "p"})),
        ("mtc", json!({"honeyhive_project": "p"}), json!({"project": "p"})),
        ("mtc", json!({"honeyhive.source": "s"}), json!({"source": "s"})),
        ("mtc", json!({"honeyhive_source": "s"}), json!({"source": "s"})),
        ("mtc", json!({"honeyhive_user_id": "u"}), json!({"user_properties": {"user_id": "u"}})),
        ("mtc", json!({"honeyhive_error": "e"}), json!({"error": "e"})),
        ("mtc", json!({"honeyhive.error": "e"}), json!({"error": "e"})),
        ("mtc", json!({"honeyhive_error_type": "E"}), json!({"metadata": {"error_type": "E"}})),
        ("mtc", json!({"honeyhive_duration_ms": 1.5}), json!({"duration": 1.5})),
    ]);
    cases
}

#[rustfmt::skip]
fn bridge() -> Vec<Case> {
    let mut cases = vec![
        ("mtc", json!({"otel.name": "late"}), json!({"event_name": "late"})),
        ("mtc", json!({"otel.status_code": "Error"}), json!({"error": "error"})),
        ("mtc", json!({"otel.status_code": "ok", "error": "e"}), json!({"error": null})),
        ("mtc", json!({"otel.status_code": "ERROR", "otel.status_message": "m"}), json!({"error": "m"})),
        ("mtc", json!({"otel.status_code": "ERROR", "otel.status_description": "m"}), json!({"error": "m"})),
        ("mtc", json!({"otel.status_code": "ERROR", "otel.status_message": "m", "error": "e"}), json!({"error": "m"})),
        ("mtc", json!({"error": "\"e\""}), json!({"error": "e"})),
        ("mtc", json!({"error.message": "e"}), json!({"error": "e"})),
        ("mtc", json!({"exception.message": "e"}), json!({"error": "e"})),
        ("mtc", json!({"error.type": "429"}), json!({"error": "429", "metadata": {"error_type": "429"}})),
        ("mtc", json!({"error.type": "429", "error": "e"}), json!({"error": "e", "metadata": {"error_type": "429"}})),
        ("t", json!({"gen_ai.tool.error.type": "other"}), json!({"error": "other", "metadata": {"error_type": "other"}})),
        ("mtc", json!({"exception.type": "E", "exception.stacktrace": "s", "error.cause_chain": "c"}),
            json!({"metadata": {"exception_type": "E", "stacktrace": "s", "error_cause_chain": "c"}})),
        ("c", json!({"return": "7"}), json!({"outputs": {"result": "7"}})),
        ("t", json!({"return": "{\"n\": 7}"}), json!({"outputs": {"message": {"n": 7}}})),
        ("m", json!({"return": "\"said\""}), json!({"outputs": {"role": "assistant", "content": "said"}})),
    ];
    for key in [
        "otel.kind",
        "busy_ns",
        "idle_ns",
        "thread.id",
        "thread.name",
        "code.filepath",
        "code.file.path",
        "target",
        "level",
        "log.target",
    ] {
        cases.push(("mtc", json!({key: "x"}), json!({"metadata": {key: null}})));
    }
    cases
}

const SAID: &str = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#;
const REPLY: &str =
    r#"[{"role":"assistant","parts":[{"type":"text","content":"yo"}],"finish_reason":"stop"}]"#;

#[rustfmt::skip]
fn gen_ai() -> Vec<Case> {
    let history = json!([{"role": "user", "content": "hi"}]);
    let conversation = json!([{"role": "assistant", "content": "yo", "finish_reason": "stop"}]);
    let mut cases = vec![
        ("", json!({"gen_ai.operation.name": "chat"}), json!({"event_type": "model", "metadata": {"operation_name": "chat"}})),
        ("mtc", json!({"gen_ai.provider.name": "openai"}), json!({"config": {"provider": "openai"}, "metadata": {"provider": "openai"}})),
        ("mtc", json!({"gen_ai.system": "openai"}), json!({"config": {"provider": "openai"}, "metadata": {"system": "openai"}})),
        ("mtc", json!({"gen_ai.system": "old", "gen_ai.provider.name": "new"}), json!({"config": {"provider": "new"}})),
        ("mtc", json!({"gen_ai.request.model": "m"}), json!({"config": {"model": "m"}, "metadata": {"model_name": "m"}})),
        ("mtc", json!({"gen_ai.request.model": "m", "gen_ai.response.model": "m-1"}),
            json!({"config": {"model": "m"}, "metadata": {"model_name": "m-1", "response_model": "m-1"}})),
        ("mtc", json!({"gen_ai.response.id": "r"}), json!({"metadata": {"response_id": "r"}})),
        ("m", json!({"gen_ai.response.finish_reasons": ["stop", "length"]}),
            json!({"outputs": {"finish_reason": "stop"}, "metadata": {"finish_reasons": ["stop", "length"], "finish_reason": "stop"}})),
        ("m", json!({"gen_ai.response.finish_reasons": "[\"stop\"]"}), json!({"outputs": {"finish_reason": "stop"}})),
        ("tc", json!({"gen_ai.response.finish_reasons": "[\"stop\"]"}),
            json!({"outputs": {}, "metadata": {"gen_ai.response.finish_reasons": "[\"stop\"]"}})),
        ("m", json!({"gen_ai.response.time_to_first_chunk": "0.25"}), json!({"metadata": {"time_to_first_token_ms": 250.0}})),
        ("m", json!({"gen_ai.response.time_to_first_chunk": "soon"}), json!({"metadata": {"gen_ai.response.time_to_first_chunk": "soon"}})),
        ("mtc", json!({"gen_ai.request.stop_sequences": "[\"a\"]"}), json!({"config": {"stop_sequences": ["a"]}})),
        ("mtc", json!({"gen_ai.request.stop_sequences": ["a"]}), json!({"config": {"stop_sequences": ["a"]}})),
        ("mtc", json!({"gen_ai.request.choice.count": "2"}), json!({"config": {"n": 2}})),
        ("mtc", json!({"gen_ai.request.stream": "true"}), json!({"config": {"is_streaming": true}})),
        ("mtc", json!({"gen_ai.request.encoding_formats": "[\"f\"]"}), json!({"config": {"encoding_formats": ["f"]}})),
        ("mtc", json!({"gen_ai.request.logit_bias": "x"}), json!({"config": {"logit_bias": "x"}})),
        ("mtc", json!({"gen_ai.output.type": "json"}), json!({"config": {"output_type": "json"}})),
        ("m", json!({"gen_ai.system_instructions": "[{\"type\":\"text\",\"content\":\"be kind\"}]"}),
            json!({"inputs": {"chat_history": [{"role": "system", "content": "be kind"}]}, "config": {"system_instructions": "be kind"}})),
        ("m", json!({"gen_ai.system_instructions": "be kind", "gen_ai.input.messages": "[{\"role\":\"system\",\"content\":\"own\"}]"}),
            json!({"inputs": {"chat_history": [{"role": "system", "content": "own"}]}, "config": {"system_instructions": "be kind"}})),
        ("c", json!({"gen_ai.system_instructions": "be kind"}), json!({"inputs": {"system_instructions": "be kind"}})),
        ("mc", json!({"gen_ai.input.messages": SAID}), json!({"inputs": {"chat_history": history}})),
        ("t", json!({"gen_ai.input.messages": SAID}), json!({"inputs": {}, "metadata": {"gen_ai.input.messages": SAID}})),
        ("m", json!({"gen_ai.output.messages": REPLY}), json!({"outputs": {"role": "assistant", "content": "yo", "finish_reason": "stop"}})),
        ("m", json!({"gen_ai.output.messages": "[{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]"}),
            json!({"outputs": {"content": "a", "choices": [{"role": "assistant", "content": "b"}]}})),
        ("c", json!({"gen_ai.output.messages": REPLY}), json!({"outputs": {"result": "yo", "conversation": conversation}})),
        ("m", json!({"gen_ai.tool.definitions": "[{\"name\":\"f\"}]"}),
            json!({"inputs": {"functions": [{"name": "f"}]}, "config": {"tools": [{"name": "f"}]}})),
        ("mt", json!({"gen_ai.usage.input_tokens": "4", "gen_ai.usage.output_tokens": 3}),
            json!({"metadata": {"input_tokens": 4, "prompt_tokens": 4, "output_tokens": 3, "completion_tokens": 3, "total_tokens": 7}})),
        ("c", json!({"gen_ai.usage.input_tokens": "4", "gen_ai.usage.output_tokens": 3}),
            json!({"metadata": {"usage_below": {"input_tokens": 4, "prompt_tokens": 4, "output_tokens": 3, "completion_tokens": 3}, "prompt_tokens": null, "total_tokens": null}})),
        ("m", json!({"gen_ai.usage.cache_read.input_tokens": 1, "gen_ai.usage.cache_creation.input_tokens": 2, "gen_ai.usage.reasoning.output_tokens": 3}),
            json!({"metadata": {"cache_read_input_tokens": 1, "cache_write_input_tokens": 2, "reasoning_tokens": 3, "total_tokens": null}})),
        ("tm", json!({"gen_ai.agent.name": "a"}), json!({"metadata": {"agent_name": "a"}, "config": {}})),
        ("c", json!({"gen_ai.agent.name": "a"}), json!({"metadata": {"agent_name": "a"}, "config": {"agent_name": "a"}})),
        ("mtc", json!({"gen_ai.agent.id": "i", "gen_ai.agent.description": "d", "gen_ai.agent.version": "v"}),
            json!({"metadata": {"agent_id": "i", "agent_description": "d", "agent_version": "v"}})),
        ("mtc", json!({"gen_ai.conversation.id": "c"}), json!({"metadata": {"conversation_id": "c"}})),
        ("c", json!({"gen_ai.workflow.name": "w"}), json!({"config": {"workflow_name": "w"}, "metadata": {"workflow_name": "w"}})),
        ("mtc", json!({"gen_ai.workflow.step": "w"}), json!({"metadata": {"workflow": {"step": "w"}}})),
        ("t", json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "n", "otel.name": "execute_tool n"}),
            json!({"event_name": "n", "metadata": {"tool_name": "n"}, "config": {"tool_name": "n"}})),
        ("t", json!({"gen_ai.tool.name": "n"}), json!({"event_name": "span", "metadata": {"tool_name": "n"}})),
        ("t", json!({"gen_ai.tool.type": "function", "gen_ai.tool.description": "d", "gen_ai.tool.call.id": "i"}),
            json!({"config": {"tool_type": "function", "tool_description": "d"}, "metadata": {"tool_call_id": "i"}})),
        ("t", json!({"gen_ai.tool.call.arguments": "{\"q\": 1}"}), json!({"inputs": {"q": 1}})),
        ("t", json!({"gen_ai.tool.call.arguments": "plain"}), json!({"inputs": {"arguments": "plain"}})),
        ("t", json!({"gen_ai.tool.call.result": "text"}), json!({"outputs": {"message": "text", "role": null, "content": null}})),
        ("t", json!({"gen_ai.tool.call.result": "{\"n\": 1}"}), json!({"outputs": {"message": {"n": 1}}})),
        ("mtc", json!({"gen_ai.data_source.id": "d"}), json!({"config": {"data_source_id": "d"}})),
        ("t", json!({"gen_ai.retrieval.query.text": "q", "gen_ai.retrieval.documents": "[{\"id\": 1}]"}),
            json!({"inputs": {"query": "q"}, "outputs": {"documents": [{"id": 1}]}})),
        ("m", json!({"gen_ai.embeddings.dimension.count": 8}), json!({"config": {"dimensions": 8}})),
        ("mtc", json!({"gen_ai.prompt.name": "p"}), json!({"config": {"template": {"name": "p"}}})),
        ("mtc", json!({"gen_ai.evaluation.name": "fair", "gen_ai.evaluation.score.value": "0.5", "gen_ai.evaluation.score.label": "ok", "gen_ai.evaluation.explanation": "why"}),
            json!({"metrics": {"fair": 0.5, "fair_label": "ok", "fair_explanation": "why"}, "metadata": {"evaluation_name": "fair"}})),
        ("mtc", json!({"gen_ai.evaluation.name": "fair", "gen_ai.evaluation.score.explanation": "why"}),
            json!({"metrics": {"fair_explanation": "why"}})),
        ("mtc", json!({"gen_ai.evaluation.score.value": 1}), json!({"metrics": {}, "metadata": {"gen_ai.evaluation.score.value": 1}})),
        ("t", json!({"gen_ai.memory.query.text": "q", "gen_ai.memory.records": "[1]", "gen_ai.memory.store.id": "s"}),
            json!({"inputs": {"query": "q"}, "outputs": {"records": [1]}, "metadata": {"memory": {"store": {"id": "s"}}}})),
        ("mtc", json!({"gen_ai.token.type": "input"}), json!({"metadata": {"gen_ai.token.type": null}})),
        ("mtc", json!({"openai.api.type": "responses", "openai.request.service_tier": "a", "openai.response.service_tier": "b", "openai.response.system_fingerprint": "f"}),
            json!({"metadata": {"request_type": "responses", "service_tier": "b", "openai_system_fingerprint": "f", "system_fingerprint": "f"}, "config": {"service_tier": "a"}})),
        ("mtc", json!({"aws.bedrock.guardrail.id": "g"}), json!({"metadata": {"aws": {"bedrock": {"guardrail": {"id": "g"}}}}})),
        ("m", json!({"server.address": "h", "server.port": "443"}), json!({"metadata": {"server_address": "h", "server_port": 443}})),
        ("tc", json!({"server.address": "h"}), json!({"metadata": {"server.address": "h"}})),
    ];
    for key in [
        "temperature",
        "max_tokens",
        "top_p",
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "seed",
    ] {
        cases.push(("mtc", json!({format!("gen_ai.request.{key}"): "3"}), json!({"config": {key: 3}})));
    }
    for modality in ["text", "image", "audio", "video"] {
        cases.push(("m", json!({format!("gen_ai.usage.{modality}.input_tokens"): "1", format!("gen_ai.usage.{modality}.output_tokens"): 2}),
            json!({"metadata": {"usage": {format!("{modality}_input_tokens"): 1, format!("{modality}_output_tokens"): 2}}})));
    }
    cases
}

#[rustfmt::skip]
fn older() -> Vec<Case> {
    vec![
        ("m", json!({"gen_ai.prompt": "hi", "gen_ai.completion": "yo"}),
            json!({"inputs": {"chat_history": [{"role": "user", "content": "hi"}]}, "outputs": {"role": "assistant", "content": "yo"}})),
        ("m", json!({"gen_ai.prompt": SAID, "gen_ai.completion": REPLY}),
            json!({"inputs": {"chat_history": [{"role": "user", "content": "hi"}]}, "outputs": {"role": "assistant", "content": "yo"}})),
        ("c", json!({"gen_ai.prompt": "42", "gen_ai.completion": "yo"}), json!({"inputs": {"query": "42"}, "outputs": {"result": "yo"}})),
        ("m", json!({"gen_ai.usage.prompt_tokens": 1, "gen_ai.usage.completion_tokens": "2"}),
            json!({"metadata": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}})),
        ("mtc", json!({"gen_ai.openai.request.response_format": "{\"type\": \"json\"}", "gen_ai.openai.request.seed": "7", "gen_ai.openai.request.service_tier": "a", "gen_ai.openai.response.service_tier": "b", "gen_ai.openai.response.system_fingerprint": "f"}),
            json!({"config": {"response_format": {"type": "json"}, "seed": 7, "service_tier": "a"}, "metadata": {"service_tier": "b", "openai_system_fingerprint": "f"}})),
        ("mtc", json!({"gen_ai.openai.system_fingerprint": "f"}), json!({"metadata": {"openai_system_fingerprint": "f"}})),
    ]
}

#[rustfmt::skip]
fn openinference() -> Vec<Case> {
    let said = json!({"inputs": {"chat_history": [{"role": "user", "content": "hi"}]}});
    let reply = json!({"outputs": {"role": "assistant", "content": "yo"}});
    let mut cases = vec![
        ("", json!({"openinference.span.kind": "LLM"}), json!({"event_type": "model", "metadata": {"span_kind": "LLM"}})),
        ("mc", json!({"llm.input_messages.3.message.role": "user", "llm.input_messages.3.message.contents.0.message_content.type": "text", "llm.input_messages.3.message.contents.0.message_content.text": "hi"}),
            said.clone()),
        ("m", json!({"llm.input_messages.0.message.role": "tool", "llm.input_messages.0.message.content": "x", "llm.input_messages.0.message.tool_call_id": "i", "llm.input_messages.0.message.name": "n"}),
            json!({"inputs": {"chat_history": [{"role": "tool", "content": "x", "tool_call_id": "i", "name": "n"}]}})),
        ("t", json!({"llm.input_messages.0.message.content": "x"}),
            json!({"inputs": {}, "metadata": {"llm.input_messages.0.message.content": "x"}})),
        ("m", json!({"llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "yo", "llm.output_messages.0.message.tool_calls.0.tool_call.id": "i", "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "f", "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}"}),
            json!({"outputs": {"role": "assistant", "content": "yo", "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}})),
        ("c", json!({"llm.output_messages.0.message.content": "yo"}), json!({"outputs": {"result": "yo", "content": null}})),
        ("mc", json!({"llm.input_messages": SAID}), said.clone()),
        ("m", json!({"llm.output_messages": REPLY}), reply.clone()),
        ("c", json!({"llm.output_messages": REPLY}), json!({"outputs": {"result": "yo"}})),
        ("mtc", json!({"llm.model_name": "m"}), json!({"config": {"model": "m"}})),
        ("mtc", json!({"llm.request.model_name": "m"}), json!({"config": {"model": "m"}})),
        ("mtc", json!({"llm.response.model_name": "m"}), json!({"metadata": {"response_model": "m"}})),
        ("mtc", json!({"llm.provider": "p", "llm.system": "s"}),
            json!({"config": {"provider": "p"}, "metadata": {"provider": "p", "system": "s"}})),
        ("mtc", json!({"llm.system": "s"}), json!({"config": {"provider": "s"}, "metadata": {"system": "s"}})),
        ("mtc", json!({"llm.model_name": "m", "llm.invocation_parameters": "{\"temperature\": 1, \"model\": \"x\"}"}),
            json!({"config": {"temperature": 1, "model": "m"}})),
        ("mt", json!({"llm.token_count.prompt": "1", "llm.token_count.completion": 2, "llm.token_count.total": 4}),
            json!({"metadata": {"prompt_tokens": 1, "input_tokens": 1, "completion_tokens": 2, "output_tokens": 2, "total_tokens": 4}})),
        ("c", json!({"llm.token_count.total": 4}), json!({"metadata": {"total_tokens": null, "usage_below": {"total_tokens": 4}}})),
        ("m", json!({"llm.token_count.prompt_details.cache_read": 1, "llm.token_count.prompt_details.cache_write": 2, "llm.token_count.completion_details.reasoning": 3, "llm.token_count.prompt_details.audio": 4}),
            json!({"metadata": {"cache_read_input_tokens": 1, "cache_write_input_tokens": 2, "reasoning_tokens": 3, "usage": {"prompt_details": {"audio": 4}}}})),
        ("mt", json!({"llm.cost.total": 0.5, "llm.cost.prompt": "0.25", "llm.cost.prompt_details.cache_read": 0.125}),
            json!({"metadata": {"cost": 0.5}, "metrics": {"cost": 0.5, "cost_prompt": 0.25, "cost_prompt_details_cache_read": 0.125}})),
        ("c", json!({"llm.cost.total": 0.5, "llm.cost.prompt": 0.25}),
            json!({"metrics": {}, "metadata": {"cost": null, "usage_below": {"cost": 0.5, "cost_prompt": 0.25}}})),
        ("m", json!({"llm.finish_reason": "stop"}), json!({"outputs": {"finish_reason": "stop"}, "metadata": {"finish_reason": "stop"}})),
        ("m", json!({"llm.prompts": SAID}), said.clone()),
        ("m", json!({"llm.prompts": "[\"a\", \"b\"]"}), json!({"inputs": {"prompts": ["a", "b"]}})),
        ("m", json!({"llm.prompts": ["a", "b"]}), json!({"inputs": {"prompts": ["a", "b"]}})),
        ("m", json!({"llm.prompts.0.prompt.text": "a"}), json!({"inputs": {"prompts": ["a"]}})),
        ("m", json!({"llm.choices.1.completion.text": "b", "llm.choices.0.completion.text": "a"}),
            json!({"outputs": {"choices": [{"completion": {"text": "a"}}, {"completion": {"text": "b"}}]}})),
        ("m", json!({"llm.choices": "[{\"text\": \"a\"}]"}), json!({"outputs": {"choices": [{"text": "a"}]}})),
        ("mtc", json!({"llm.prompt_template.template": "t", "llm.prompt_template.version": "2", "llm.prompt_template.variables": "{\"x\": 1}"}),
            json!({"config": {"template": "t", "template_version": "2"}, "inputs": {"x": 1}})),
        ("m", json!({"llm.tools.0.tool.json_schema": "{\"name\": \"f\"}"}),
            json!({"inputs": {"functions": [{"name": "f"}]}, "config": {"tools": [{"name": "f"}]}})),
        ("m", json!({"llm.tools": "[{\"tool.x\": 1}]"}), json!({"inputs": {"functions": [{"tool.x": 1}]}})),
        ("mtc", json!({"llm.function_call": "{\"name\": \"f\"}"}), json!({"metadata": {"function_call": {"name": "f"}}})),
        ("m", json!({"input.value": "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}"}), said.clone()),
        ("m", json!({"input.value": "hi"}), said.clone()),
        ("m", json!({"input.value": "{\"x\": 1}"}), json!({"inputs": {"chat_history": [{"role": "user", "content": "{\"x\":1}"}]}})),
        ("tc", json!({"input.value": "{\"x\": 1}"}), json!({"inputs": {"x": 1}})),
        ("tc", json!({"input.value": "hi"}), json!({"inputs": {"input": "hi"}})),
        ("tc", json!({"input.value": "{\"x\": 1}", "input.mime_type": "text/plain"}),
            json!({"inputs": {"input": "{\"x\": 1}"}, "metadata": {"input_mime_type": "text/plain"}})),
        ("m", json!({"output.value": "yo", "gen_ai.response.finish_reasons": ["stop"]}),
            json!({"outputs": {"role": "assistant", "content": "yo", "finish_reason": "stop"}})),
        ("t", json!({"output.value": "42", "output.mime_type": "application/json"}), json!({"outputs": {"message": 42}})),
        ("c", json!({"output.value": "yo", "output.mime_type": "text/plain"}),
            json!({"outputs": {"result": "yo"}, "metadata": {"output_mime_type": "text/plain"}})),
        ("t", json!({"tool.name": "n", "tool.description": "d", "tool.parameters": "{\"q\": 1}", "tool.id": "i", "tool.json_schema": "{\"a\": 1}", "tool.version": "v"}),
            json!({"event_name": "span", "metadata": {"tool_name": "n", "tool_call_id": "i", "tool": {"version": "v"}}, "config": {"tool_name": "n", "tool_description": "d", "tool_schema": {"a": 1}}, "inputs": {"q": 1}})),
        ("mc", json!({"tool.name": "n"}), json!({"metadata": {"tool": {"name": "n"}}})),
        ("t", json!({"otel.name": "tool", "tool.name": "n"}), json!({"event_name": "n"})),
        ("t", json!({"tool_call.id": "i", "tool_call.function.name": "n", "tool_call.function.arguments": "{\"q\": 1}"}),
            json!({"metadata": {"tool_call_id": "i", "tool_name": "n"}, "config": {"tool_name": "n"}, "inputs": {"q": 1}})),
        ("t", json!({"retrieval.documents.0.document.id": "1", "retrieval.documents.0.document.content": "c", "retrieval.documents.0.document.score": 0.5, "retrieval.documents.0.document.metadata": "{\"a\": 1}"}),
            json!({"outputs": {"documents": [{"id": "1", "content": "c", "score": 0.5, "metadata": {"a": 1}}]}})),
        ("t", json!({"retrieval.documents": "[{\"id\": 1}]"}), json!({"outputs": {"documents": [{"id": 1}]}})),
        ("t", json!({"reranker.query": "q", "reranker.input_documents.0.document.id": "1", "reranker.output_documents.0.document.id": "2", "reranker.model_name": "m", "reranker.top_k": "3"}),
            json!({"inputs": {"query": "q", "documents": [{"id": "1"}]}, "outputs": {"documents": [{"id": "2"}]}, "config": {"model": "m", "top_k": 3}})),
        ("t", json!({"reranker.input_documents": "[1]", "reranker.output_documents": "[2]"}),
            json!({"inputs": {"documents": [1]}, "outputs": {"documents": [2]}})),
        ("mt", json!({"embedding.model_name": "m", "embedding.invocation_parameters": "{\"dimensions\": 2}", "embedding.embeddings.0.embedding.text": "a", "embedding.embeddings.1.embedding.text": "b", "embedding.embeddings.0.embedding.vector": ["0.1", "0.2"]}),
            json!({"config": {"model": "m", "dimensions": 2}, "inputs": {"input": ["a", "b"]}, "outputs": {"dimensions": 2}})),
        ("mt", json!({"embedding.embeddings": "[{\"embedding.vector\": [1, 2, 3], \"embedding.text\": \"a\"}]"}),
            json!({"inputs": {"input": ["a"]}, "outputs": {"dimensions": 3}})),
        ("t", json!({"decision.model_name": "m", "decision.response.model_name": "m-1", "decision.provider": "p", "decision.system": "s", "decision.token_count.input": 1, "decision.token_count.output": 2, "decision.policy.name": "x"}),
            json!({"config": {"model": "m", "provider": "p"}, "metadata": {"response_model": "m-1", "provider": "p", "system": "s", "prompt_tokens": 1, "completion_tokens": 2, "decision": {"policy": {"name": "x"}}}})),
        ("t", json!({"decision.request.model_name": "m"}), json!({"config": {"model": "m"}})),
        ("mtc", json!({"session.id": "s", "user.id": "u"}),
            json!({"metadata": {"conversation_id": "s", "user_id": "u"}, "user_properties": {"user_id": "u"}})),
        ("mtc", json!({"metadata": "{\"k\": [1]}", "tag.tags": ["a"], "agent.name": "n", "graph.node.id": "g", "graph.node.parent_id": "h"}),
            json!({"metadata": {"k": [1], "tags": ["a"], "agent_name": "n", "graph": {"id": "g", "parent_id": "h"}}})),
        ("mtc", json!({"prompt.id": "i", "prompt.vendor": "v", "prompt.url": "u", "prompt.text": "t", "completion.text": "c"}),
            json!({"metadata": {"prompt_id": "i", "prompt_vendor": "v", "prompt_url": "u"}, "inputs": {"prompt": "t"}, "outputs": {"text": "c"}})),
    ];
    for (key, bucket) in [("input", "inputs"), ("output", "outputs")] {
        for what in ["images", "documents"] {
            let whole = format!("{key}.{what}");
            let expected = json!({bucket: {what: [{"x": 1}]}});
            cases.push(("mtc", json!({whole.clone(): "[{\"x\": 1}]"}), expected.clone()));
            cases.push(("mtc", json!({format!("{whole}.0.x"): 1}), expected));
        }
    }
    for one in ["annotation", "evaluation"] {
        cases.push(("mtc", json!({format!("{one}.name"): "good", format!("{one}.score"): "0.5", format!("{one}.label"): "l", format!("{one}.explanation"): "e", format!("{one}.annotator_kind"): "LLM", format!("{one}.identifier"): "i"}),
            json!({"metrics": {"good": 0.5, "good_label": "l", "good_explanation": "e"}, "feedback": {}, "metadata": {"annotations": {"good": {"identifier": "i"}}}})));
        for of in ["", "trace.", "session."] {
            let at = |index: u32, what: &str| format!("{of}{one}s.{index}.{one}.{what}");
            cases.push(("mtc", json!({at(0, "name"): "a", at(0, "score"): 1, at(1, "name"): "b", at(1, "label"): "up", at(1, "annotator_kind"): "HUMAN"}),
                json!({"metrics": {"a": 1, "b": null}, "feedback": {"b": "up"}})));
        }
    }
    for key in [
        "message.role",
        "message_content.text",
        "image.image.url",
        "audio.url",
        "video.url",
        "document.id",
    ] {
        cases.push(("mtc", json!({key: "x"}), json!({"metadata": {key: "x"}})));
    }
    cases
}

#[rustfmt::skip]
fn traceloop() -> Vec<Case> {
    let mut cases = vec![
        ("", json!({"traceloop.span.kind": "workflow"}), json!({"event_type": "chain", "metadata": {"span_kind": "workflow"}})),
        ("tc", json!({"traceloop.entity.input": "{\"args\": [1], \"kwargs\": {\"q\": 2}}"}),
            json!({"inputs": {"args": [1], "q": 2, "kwargs": null}})),
        ("tc", json!({"traceloop.entity.input": "{\"args\": [], \"kwargs\": {\"q\": 2}}"}), json!({"inputs": {"q": 2, "args": null}})),
        ("tc", json!({"traceloop.entity.input": "{\"q\": 2}", "honeyhive_inputs.own": 1}), json!({"inputs": {"q": 2, "own": 1}})),
        ("t", json!({"traceloop.entity.output": "{\"r\": 1}"}), json!({"outputs": {"message": {"r": 1}}})),
        ("c", json!({"traceloop.entity.output": "\"r\""}), json!({"outputs": {"result": "r"}})),
        ("mtc", json!({"traceloop.entity.name": "n"}), json!({"event_name": "span", "metadata": {"entity_name": "n"}})),
        ("mtc", json!({"traceloop.entity.name": "n", "otel.name": "task"}), json!({"event_name": "n"})),
        ("mtc", json!({"traceloop.workflow.name": "w"}), json!({"config": {"workflow_name": "w"}, "metadata": {"workflow_name": "w"}})),
        ("mtc", json!({"traceloop.entity.path": "p", "traceloop.correlation.id": "c"}),
            json!({"metadata": {"entity": {"path": "p", "correlation_id": "c"}}})),
        ("mtc", json!({"traceloop.association.properties.session_id": "s", "traceloop.association.properties.session_name": "n", "traceloop.association.properties.parent_id": "i", "traceloop.association.properties.project": "p", "traceloop.association.properties.source": "x", "traceloop.association.properties.tenant": "t"}),
            json!({"session_id": "s", "session_name": "n", "parent_id": "i", "project": "p", "source": "x", "metadata": {"tenant": "t"}})),
        ("mtc", json!({"traceloop.prompt.template": "t", "traceloop.prompt.template_variables": "{\"x\": 1}", "traceloop.prompt.version": 2, "traceloop.prompt.key": "k", "traceloop.prompt.version_name": "n"}),
            json!({"config": {"template": "t", "template_version": 2, "template_key": "k", "template_version_name": "n"}, "inputs": {"x": 1}})),
        ("mtc", json!({"traceloop.prompt.template_variables.x": 1}), json!({"inputs": {"x": 1}})),
        ("mc", json!({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi", "gen_ai.prompt.2.message.role": "tool", "gen_ai.prompt.2.message.content": "x", "gen_ai.prompt.2.tool_call_id": "i"}),
            json!({"inputs": {"chat_history": [{"role": "user", "content": "hi"}, {"role": "tool", "content": "x", "tool_call_id": "i"}]}})),
        ("m", json!({"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "yo", "gen_ai.completion.0.finish_reason": "stop", "gen_ai.completion.0.tool_calls.0.id": "i", "gen_ai.completion.0.tool_calls.0.name": "f", "gen_ai.completion.0.tool_calls.0.arguments": "{\"a\":1}"}),
            json!({"outputs": {"role": "assistant", "content": "yo", "finish_reason": "stop", "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}})),
        ("m", json!({"gen_ai.completion.0.tool_calls.0.function.name": "f"}),
            json!({"outputs": {"content": null, "tool_calls": [{"id": null, "type": "function", "function": {"name": "f", "arguments": ""}}]}})),
        ("c", json!({"gen_ai.completion.0.content": "yo"}), json!({"outputs": {"result": "yo"}})),
        ("", json!({"llm.request.type": "rerank"}), json!({"event_type": "tool", "metadata": {"request_type": "rerank"}})),
        ("m", json!({"llm.request.functions.0.name": "f", "llm.request.functions.0.parameters": "{\"type\": \"object\"}"}),
            json!({"inputs": {"functions": [{"name": "f", "parameters": {"type": "object"}}]}})),
        ("mt", json!({"llm.usage.total_tokens": "3"}), json!({"metadata": {"total_tokens": 3}})),
        ("mt", json!({"gen_ai.usage.total_tokens": "3"}), json!({"metadata": {"total_tokens": 3}})),
        ("m", json!({"gen_ai.usage.cache_read_input_tokens": 1, "gen_ai.usage.cache_creation_input_tokens": "2"}),
            json!({"metadata": {"cache_read_input_tokens": 1, "cache_write_input_tokens": 2}})),
        ("m", json!({"gen_ai.usage.reasoning_tokens": 1}), json!({"metadata": {"reasoning_tokens": 1}})),
        ("m", json!({"llm.usage.reasoning_tokens": 1}), json!({"metadata": {"reasoning_tokens": 1}})),
        ("mtc", json!({"llm.frequency_penalty": "1", "llm.presence_penalty": 2, "llm.top_k": 3, "llm.chat.stop_sequences": "[\"a\"]", "llm.request.repetition_penalty": "4", "llm.request.reasoning_effort": "high"}),
            json!({"config": {"frequency_penalty": 1, "presence_penalty": 2, "top_k": 3, "stop_sequences": ["a"], "repetition_penalty": 4, "reasoning_effort": "high"}})),
        ("mtc", json!({"gen_ai.openai.api_base": "b", "gen_ai.openai.api_version": "v", "gen_ai.openai.api_type": "t"}),
            json!({"metadata": {"openai_api_base": "b", "gen_ai": {"openai": {"api_base": "b"}}, "openai_api_version": "v", "openai_api_type": "t"}})),
        ("mtc", json!({"gen_ai.response.reasoning_effort": "low"}), json!({"metadata": {"reasoning_effort": "low"}})),
        ("c", json!({"gen_ai.task.input": "{\"q\": 1}", "gen_ai.task.output": "[1]", "gen_ai.task.id": "i"}),
            json!({"inputs": {"q": 1}, "outputs": {"result": [1]}, "metadata": {"task": {"id": "i"}}})),
        ("", json!({"mcp.method.name": "tools/call"}), json!({"event_type": "tool", "metadata": {"mcp_request_type": "tools/call"}})),
        ("t", json!({"mcp.session.id": "s", "mcp.request.argument": "{\"q\": 1}", "mcp.response.value": "[1]"}),
            json!({"metadata": {"mcp_session_id": "s"}, "inputs": {"q": 1}, "outputs": {"message": [1]}})),
        ("mtc", json!({"mcp.client.name": "c", "mcp.server.name": "s", "mcp.tool.name": "t", "mcp.request.type": "r", "mcp.resource.uri": "u"}),
            json!({"metadata": {"mcp_client_name": "c", "mcp_server_name": "s", "mcp_tool_name": "t", "mcp_request_type": "r", "mcp_resource_uri": "u"}})),
        ("t", json!({"db.system": "pinecone", "db.operation": "query", "db.statement": "s"}),
            json!({"config": {"db_vendor": "pinecone", "db_operation": "query"}, "metadata": {"db": {"statement": "s"}}})),
        ("t", json!({"db.query.result": "[{\"id\": 1}]"}), json!({"outputs": {"documents": [{"id": 1}]}})),
        ("t", json!({"db.query.result.0.id": 1, "db.query.result.1.id": 2}), json!({"outputs": {"documents": [{"id": 1}, {"id": 2}]}})),
        ("t", json!({"db.query.result.id": 1, "db.query.result.score": 0.5}), json!({"outputs": {"documents": [{"id": 1, "score": 0.5}]}})),
        ("m", json!({"db.statement": "s"}), json!({"metadata": {"db.statement": "s"}})),
        ("mtc", json!({"suppress_language_model_instrumentation": true}),
            json!({"metadata": {"suppress_language_model_instrumentation": null}})),
    ];
    for key in [
        "gen_ai.usage.token_type",
        "llm.usage.token_type",
        "gen_ai.content.completion.chunk",
        "llm.content.completion.chunk",
    ] {
        cases.push(("mtc", json!({key: "x"}), json!({"metadata": {key: null}})));
    }
    for key in ["gen_ai.is_streaming", "llm.is_streaming"] {
        cases.push(("mtc", json!({key: true}), json!({"config": {"is_streaming": true}})));
        cases.push(("mtc", json!({key: "false"}), json!({"config": {"is_streaming": false}})));
    }
    for key in ["gen_ai.user", "llm.user"] {
        cases.push(("mtc", json!({key: "u"}), json!({"config": {"user": "u"}, "user_properties": {"user_id": "u"}})));
    }
    for key in ["gen_ai.headers", "llm.headers"] {
        let whole = json!({"config": {"headers": {"accept": "*/*", "Authorization": "[redacted]", "x-api-key": "[redacted]", "Set-Cookie": "[redacted]"}}});
        cases.push(("mtc", json!({key: "{\"accept\": \"*/*\", \"Authorization\": \"Bearer s3cret\", \"x-api-key\": \"s3cret\", \"Set-Cookie\": [\"s3cret\"]}"}), whole.clone()));
        cases.push(("mtc", json!({format!("{key}.accept"): "*/*", format!("{key}.Authorization"): "s3cret", format!("{key}.x-api-key"): "s3cret",
            format!("{key}.Set-Cookie"): "s3cret"}), whole));
        cases.push(("mtc", json!({key: "authorization: Bearer s3cret"}), json!({"config": {"headers": "[redacted]"}})));
    }
    for of in ["gen_ai", "llm"] {
        for key in ["finish_reason", "stop_reason"] {
            cases.push(("m", json!({format!("{of}.response.{key}"): "stop"}), json!({"outputs": {"finish_reason": "stop"}, "metadata": {"finish_reason": "stop"}})));
        }
    }
    for vendor in ["pinecone", "qdrant", "milvus", "chroma", "marqo"] {
        cases.push(("t", json!({format!("{vendor}.usage.read_units"): 1}),
            json!({"metadata": {"db": {vendor: {"usage": {"read_units": 1}}}}})));
    }
    for key in [
        "langgraph.node",
        "haystack.component",
        "llm.watsonx.x",
        "llm.chat_completions.x",
        "llm.openai.x",
        "llm.anthropic.x",
    ] {
        cases.push(("mtc", json!({key: "v"}), json!({"metadata": {key: "v"}})));
    }
    cases
}

#[rustfmt::skip]
fn rust_frameworks() -> Vec<Case> {
    vec![
        ("mtc", json!({"rig.completion_parent": true}), json!({"metadata": {"rig.completion_parent": null}})),
        ("mtc", json!({"rig.provider_request_id": "r"}), json!({"metadata": {"provider_request_id": "r"}})),
        ("m", json!({"gen_ai.usage.tool_use_prompt_tokens": "1"}), json!({"metadata": {"tool_use_prompt_tokens": 1}})),
        ("t", json!({"gen_ai.tool.call.outcome": "success"}), json!({"error": null, "metadata": {"tool_status": "success"}})),
        ("t", json!({"gen_ai.tool.call.outcome": "error"}), json!({"error": "error", "metadata": {"tool_status": "error"}})),
        ("t", json!({"gen_ai.tool.call.outcome": "error", "gen_ai.tool.error.type": "other"}), json!({"error": "other"})),
        ("mtc", json!({"agent_name": "a"}), json!({"metadata": {"agent_name": "a"}})),
        ("m", json!({"gen_ai.usage.cache_read_tokens": 1, "gen_ai.usage.cache_creation_tokens": 2, "gen_ai.usage.thinking_tokens": 3, "gen_ai.usage.audio_input_tokens": 4, "gen_ai.usage.audio_output_tokens": 5}),
            json!({"metadata": {"cache_read_input_tokens": 1, "cache_write_input_tokens": 2, "reasoning_tokens": 3, "usage": {"audio_input_tokens": 4, "audio_output_tokens": 5}}})),
        ("mtc", json!({"gen_ai.tool.call_id": "i"}), json!({"metadata": {"tool_call_id": "i"}})),
        (
            "",
            json!({"gcp.vertex.agent.llm_request": r#"{"model":"g","contents":[
                {"role":"user","parts":[{"text":"hi"}]},
                {"role":"model","parts":[{"name":"f","args":{"q":1},"id":"c"}]},
                {"role":"function","parts":[{"function_response":{"name":"f","response":{"r":2}},"id":"c"}]}]}"#,
                "gcp.vertex.agent.llm_response": r#"{"role":"model","parts":[{"text":"a"},{"text":"b"},{"functionCall":{"name":"g","args":{}}}]}"#}),
            json!({"event_type": "model",
                "inputs": {"chat_history": [{"role": "user", "content": "hi"},
                    {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"q\":1}"}}]},
                    {"role": "tool", "tool_call_id": "c", "content": {"r": 2}}]},
                "outputs": {"role": "assistant", "content": "a\nb",
                    "tool_calls": [{"id": null, "type": "function", "function": {"name": "g", "arguments": "{}"}}]}}),
        ),
        (
            "m",
            json!({"gcp.vertex.agent.llm_response": r#"{"content":{"role":"model","parts":[{"text":"a"}]},"finish_reason":"STOP"}"#}),
            json!({"outputs": {"role": "assistant", "content": "a", "finish_reason": "STOP"}}),
        ),
        ("mtc", json!({"gcp.vertex.agent.session_id": "s", "gcp.vertex.agent.invocation_id": "i", "gcp.vertex.agent.event_id": "e"}),
            json!({"metadata": {"conversation_id": "s", "invocation_id": "i", "event_id": "e"}})),
        ("t", json!({"gcp.vertex.agent.tool_call_args": "{\"q\": 1}", "gcp.vertex.agent.tool_response": "{\"r\": 2}"}),
            json!({"inputs": {"q": 1}, "outputs": {"message": {"r": 2}}})),
        ("mtc", json!({"adk.app_name": "a", "adk.user_id": "u", "adk.skills.active": "s"}),
            json!({"metadata": {"app_name": "a", "skills": {"active": "s"}}, "user_properties": {"user_id": "u"}})),
        ("m", json!({"model.name": "m", "request.contents_count": 1, "request.tools_count": 2}),
            json!({"config": {"model": "m"}, "metadata": {"request.contents_count": 1, "request.tools_count": 2}})),
        ("", json!({"langfuse.type": "GENERATION"}), json!({"event_type": "model", "metadata": {"span_kind": "GENERATION"}})),
        ("m", json!({"langfuse.input": SAID, "langfuse.output": "yo", "langfuse.model": "m", "langfuse.model_parameters": "{\"temperature\": 1}", "langfuse.usage": "{\"promptTokens\": 1, \"output\": \"2\", \"total\": 3, \"cached\": 4}", "langfuse.status_message": "e"}),
            json!({"inputs": {"chat_history": [{"role": "user", "content": "hi"}]}, "outputs": {"role": "assistant", "content": "yo"}, "config": {"model": "m", "temperature": 1}, "error": "e", "metadata": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "usage": {"cached": 4}}})),
        ("tc", json!({"langfuse.input": "{\"q\": 1}"}), json!({"inputs": {"q": 1}})),
        ("c", json!({"langfuse.usage": "7"}), json!({"metadata": {"usage_below": {"total_tokens": 7}}})),
        ("mtc", json!({"langfuse.session.id": "s", "langfuse.user.id": "u", "langfuse.trace.release": "r"}),
            json!({"metadata": {"conversation_id": "s", "release": "r"}, "user_properties": {"user_id": "u"}})),
        ("", json!({"langsmith.span.kind": "retriever"}), json!({"event_type": "tool", "metadata": {"span_kind": "retriever"}})),
        ("mtc", json!({"http.response.status_code": "429"}),
            json!({"error": "HTTP status 429", "metadata": {"http": {"response": {"status_code": 429}}}})),
        ("mtc", json!({"http.status_code": 200}), json!({"error": null, "metadata": {"http": {"status_code": 200}}})),
        ("t", json!({"http.request.method": "GET", "url.full": "u", "network.protocol.name": "http", "user_agent.original": "a", "client.address": "c"}),
            json!({"metadata": {"http": {"request": {"method": "GET"}, "url": {"full": "u"}, "network": {"protocol": {"name": "http"}}, "user_agent": {"original": "a"}, "client": {"address": "c"}}}})),
        ("t", json!({"http.request.header.authorization": "s3cret", "http.request.header.accept": "*/*"}),
            json!({"metadata": {"http": {"request": {"header": {"authorization": "[redacted]", "accept": "*/*"}}}}})),
        ("mtc", json!({"rpc.service": "s", "rpc.method": "m", "rpc.system": "aws-api", "sdk_invocation_id": "i"}),
            json!({"metadata": {"rpc": {"service": "s", "method": "m", "system": "aws-api", "sdk_invocation_id": "i"}}})),
        ("", json!({"rpc.service": "Bedrock Runtime", "rpc.method": "Converse"}), json!({"event_type": "model"})),
        // sqlx, as attributes.
        ("t", json!({"db.statement": "select", "summary": "s", "rows_affected": 1, "elapsed": "2ms"}),
            json!({"metadata": {"db": {"statement": "select"}, "summary": "s", "rows_affected": 1, "elapsed": "2ms"}})),
        // langchain-rust.
        ("m", json!({"target": "langchain_rust::llm", "provider": "p", "model": "m", "stream": true, "prompt_tokens": "1", "completion_tokens": 2, "total_tokens": 3, "tool_calls": 0, "error": "e"}),
            json!({"config": {"provider": "p", "model": "m", "is_streaming": true}, "error": "e", "metadata": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "tool_calls": 0}})),
        ("c", json!({"target": "langchain_rust::chain", "otel.name": "chain.call", "chain": "x", "steps": 1, "step": 2, "max_iterations": 3}),
            json!({"event_name": "x", "metadata": {"chain": "x", "steps": 1, "step": 2, "max_iterations": 3}})),
        ("t", json!({"target": "langchain_rust", "otel.name": "tool.call", "tool": "x"}),
            json!({"event_name": "x", "metadata": {"tool_name": "x"}})),
        ("m", json!({"target": "langchain_rusty", "model": "m"}), json!({"config": {}, "metadata": {"model": "m"}})),
        // tower-http.
        ("t", json!({"target": "tower_http::trace", "method": "GET", "uri": "/", "version": "HTTP/1.1", "status": "503", "latency": "1 ms"}),
            json!({"error": "HTTP status 503", "metadata": {"http": {"method": "GET", "uri": "/", "version": "HTTP/1.1", "status": 503, "latency": "1 ms"}}})),
        ("t", json!({"method": "GET", "status": 503}), json!({"error": null, "metadata": {"method": "GET", "status": 503}})),
    ]
}

fn cases() -> Vec<Case> {
    let groups = [
        honeyhive(),
        bridge(),
        gen_ai(),
        older(),
        openinference(),
        traceloop(),
        rust_frameworks(),
    ];
    groups.into_iter().flatten().collect()
}

/// The attributes of a case, for an event of this type; none where the case says it itself.
fn typed(attributes: &Value, on: Option<char>) -> Value {
    let mut attributes = attributes.clone();
    let kind = match on {
        Some('m') => "model",
        Some('t') => "tool",
        Some(_) => "chain",
        None => return attributes,
    };
    attributes["honeyhive_event_type"] = kind.into();
    attributes
}

fn each(mut test: impl FnMut(&Value, &Value)) {
    for (on, attributes, expected) in cases() {
        if on.is_empty() {
            test(&attributes, &expected);
        }
        for on in on.chars() {
            test(&typed(&attributes, Some(on)), &expected);
        }
    }
}

#[test]
fn every_row_does_what_it_says() {
    let mut wrong = Vec::new();
    each(|attributes, expected| {
        let event = mapped(attributes);
        let found = named(&event, expected);
        if found != *expected {
            wrong.push(format!(
                "{attributes:#}\nbecame   {found}\ninstead of {expected}"
            ));
        }
        assert!(!format!("{event:?}").contains("s3cret"), "{attributes}");
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn no_row_is_without_a_case() {
    let index = Index::get();
    let mut hit: HashSet<(&str, &str)> = HashSet::new();
    let mut named: HashSet<String> = HashSet::new();
    each(|attributes, _| {
        let event = mapped(attributes);
        let on = match event.kind.as_str() {
            "model" => 'm',
            "tool" => 't',
            _ => 'c',
        };
        let get = |key: &str| attributes[key].as_str();
        let speaks = dialect("", "span", get, |key| attributes.get(key).is_some());
        for key in attributes.as_object().unwrap().keys() {
            match index.find(key, on, speaks) {
                Some((entry, _)) => hit.insert((entry.row.key, entry.row.on)),
                None => named.insert(key.clone()),
            };
        }
    });
    let rows = TABLE.iter().flat_map(|(_, rows)| rows.iter());
    for row in rows.chain(DIALECTS.iter().flat_map(|dialect| dialect.rows)) {
        let bare = row.to.is_empty() && row.how != How::Drop;
        let prefix = row.key.trim_end_matches('*');
        let met = match bare {
            true => named.iter().any(|key| key.starts_with(prefix)),
            false => hit.contains(&(row.key, row.on)),
        };
        assert!(met, "{} on {}", row.key, row.on);
    }
}

#[test]
fn rows_are_well_formed() {
    let rows = TABLE.iter().flat_map(|(_, rows)| rows.iter());
    let mut seen = HashSet::new();
    for row in rows {
        assert!(
            seen.insert((row.key, row.on)),
            "{} on {} is there twice",
            row.key,
            row.on
        );
        assert!(
            row.on == "*" || row.on.chars().all(|on| "mtc".contains(on)),
            "{}",
            row.key
        );
        for to in row.to {
            assert!(target(to).is_some(), "{} -> {to}", row.key);
        }
        let needs = !matches!(row.how, How::Drop | How::Keep);
        assert!(!row.to.is_empty() || !needs, "{} leads nowhere", row.key);
    }
}
