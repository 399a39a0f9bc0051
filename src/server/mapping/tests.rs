use super::index::target;
use super::table::{How, TABLE};
use super::*;
use serde_json::{Map, Value, json};

/// The event that a span with these attributes becomes.
fn mapped(attributes: &Value) -> Mapped {
    span(attributes, &json!([]), &json!({}))
}

fn span(attributes: &Value, events: &Value, status: &Value) -> Mapped {
    let list = |map: &Value| -> Value {
        let pair = |(key, value): (&String, &Value)| {
            let kind = match value {
                Value::String(_) => "stringValue",
                Value::Bool(_) => "boolValue",
                Value::Number(number) if number.is_f64() => "doubleValue",
                Value::Number(_) => "intValue",
                Value::Array(items) => {
                    let values: Vec<Value> = items
                        .iter()
                        .map(|item| json!({"stringValue": item}))
                        .collect();
                    return json!({"key": key, "value": {"arrayValue": {"values": values}}});
                }
                Value::Null | Value::Object(_) => return json!({"key": key, "value": {}}),
            };
            json!({"key": key, "value": {kind: value}})
        };
        map.as_object().unwrap().iter().map(pair).collect()
    };
    let events: Vec<Value> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| json!({"name": event["name"], "attributes": list(&event["attributes"])}))
        .collect();
    let span: proto::Span = serde_json::from_value(json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": "span",
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000250000000",
        "attributes": list(attributes),
        "events": events,
        "status": status,
    }))
    .unwrap();
    map(span, None, "").unwrap()
}

/// The parts of an event that a case names, to compare them with what it expects.
fn named(event: &Mapped, expected: &Value) -> Value {
    let whole = json!({
        "event_type": event.kind.as_str(),
        "event_name": event.name,
        "event_id": event.event_id,
        "session_id": event.session_id,
        "session_name": event.session_name,
        "parent_id": event.parent_id,
        "project": event.project,
        "source": event.source,
        "error": event.error,
        "duration": event.duration_ms,
        "inputs": event.buckets.inputs,
        "outputs": event.buckets.outputs,
        "config": event.buckets.config,
        "metadata": event.buckets.metadata,
        "metrics": event.buckets.metrics,
        "feedback": event.buckets.feedback,
        "user_properties": event.buckets.user_properties,
    });
    pick(&whole, expected)
}

fn pick(whole: &Value, like: &Value) -> Value {
    match (whole, like) {
        (Value::Object(whole), Value::Object(like)) => like
            .iter()
            .map(|(key, like)| {
                (
                    key.clone(),
                    whole.get(key).map_or(Value::Null, |v| pick(v, like)),
                )
            })
            .collect::<Map<_, _>>()
            .into(),
        _ => whole.clone(),
    }
}

#[test]
fn attributes_become_fields() {
    let said = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#;
    let reply = r#"[{"role":"assistant","parts":[{"type":"text","content":"hello"}],"finish_reason":"stop"}]"#;
    let cases = [
        // HoneyHive's own.
        (
            json!({"honeyhive_inputs.q": "x", "honeyhive_inputs.opts": "{\"k\": 3}", "honeyhive_inputs.n": "42"}),
            json!({"event_type": "tool", "event_name": "span", "inputs": {"q": "x", "opts": {"k": 3}, "n": "42"}}),
        ),
        (
            json!({"honeyhive_outputs.result.list.0": 1, "honeyhive_outputs.result.list.1.a": 2, "honeyhive.outputs.more": true}),
            json!({"outputs": {"result": {"list": [1, {"a": 2}]}, "more": true}}),
        ),
        (
            json!({"honeyhive_outputs.result": "plain text"}),
            json!({"outputs": {"result": "plain text"}}),
        ),
        (
            json!({"honeyhive_config": "{\"model\": \"m\"}", "honeyhive_metadata.a.b": 1, "honeyhive_metrics.score": 0.5,
                "honeyhive_feedback.rating": 5, "honeyhive_user_properties.plan": "free", "honeyhive_user_id": "u"}),
            json!({"config": {"model": "m"}, "metadata": {"a": {"b": 1}}, "metrics": {"score": 0.5},
                "feedback": {"rating": 5}, "user_properties": {"plan": "free", "user_id": "u"}}),
        ),
        (
            json!({"honeyhive.session_id": "S-1", "traceloop.association.properties.session_id": "other",
                "honeyhive.source": "dev", "honeyhive.project": "p", "honeyhive_event_name": "n",
                "honeyhive_event_id": "E-1", "honeyhive_session_name": "run", "honeyhive.parent_id": "P"}),
            json!({"session_id": "s-1", "source": "dev", "project": "p", "event_name": "n", "event_id": "e-1",
                "session_name": "run", "parent_id": "p"}),
        ),
        (
            json!({"traceloop.association.properties.session_id": "s-2", "traceloop.association.properties.source": "x",
                "traceloop.association.properties.tenant": "t"}),
            json!({"session_id": "s-2", "source": "x", "metadata": {"tenant": "t"}}),
        ),
        (
            json!({"honeyhive_error": "boom", "honeyhive_error_type": "E", "honeyhive_duration_ms": 12.5}),
            json!({"error": "boom", "duration": 12.5, "metadata": {"error_type": "E"}}),
        ),
        (
            json!({"honeyhive_event_type": "workflow"}),
            json!({"event_type": "chain", "metadata": {"span_kind": "workflow"}}),
        ),
        (
            json!({"honeyhive_event_type": "MODEL"}),
            json!({"event_type": "model"}),
        ),
        // The tracing bridge.
        (
            json!({"otel.name": "late name", "otel.kind": "client", "busy_ns": 1, "code.filepath": "x", "thread.id": 1}),
            json!({"event_name": "late name", "metadata": {"busy_ns": null, "code.filepath": null, "thread.id": null}}),
        ),
        (
            json!({"otel.status_code": "Error", "otel.status_message": "told"}),
            json!({"error": "told"}),
        ),
        (json!({"error": true}), json!({"error": "error"})),
        (json!({"error": false}), json!({"error": null})),
        (json!({"error": "\"quoted\""}), json!({"error": "quoted"})),
        (
            json!({"error.type": "timeout"}),
            json!({"error": "timeout", "metadata": {"error_type": "timeout"}}),
        ),
        (
            json!({"http.response.status_code": 429}),
            json!({"error": "HTTP status 429"}),
        ),
        (json!({"return": "7"}), json!({"outputs": {"message": "7"}})),
        (
            json!({"return": "7", "honeyhive_event_type": "chain"}),
            json!({"outputs": {"result": "7"}}),
        ),
        // GenAI, current.
        (
            json!({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
                "gen_ai.response.model": "gpt-4o-1", "gen_ai.request.temperature": "0.2", "gen_ai.request.logit_bias": "x",
                "gen_ai.response.finish_reasons": ["stop"], "gen_ai.usage.input_tokens": "12",
                "gen_ai.usage.output_tokens": 3, "gen_ai.input.messages": said, "gen_ai.output.messages": reply,
                "gen_ai.response.time_to_first_chunk": 0.25}),
            json!({"event_type": "model",
                "config": {"provider": "openai", "model": "gpt-4o", "temperature": 0.2, "logit_bias": "x"},
                "inputs": {"chat_history": [{"role": "user", "content": "hi"}]},
                "outputs": {"role": "assistant", "content": "hello", "finish_reason": "stop"},
                "metadata": {"prompt_tokens": 12, "input_tokens": 12, "completion_tokens": 3, "total_tokens": 15,
                    "response_model": "gpt-4o-1", "model_name": "gpt-4o-1", "time_to_first_token_ms": 250.0}}),
        ),
        (
            json!({"gen_ai.operation.name": "chat", "gen_ai.system_instructions": "[{\"type\":\"text\",\"content\":\"be kind\"}]",
                "gen_ai.input.messages": said}),
            json!({"inputs": {"chat_history": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]},
                "config": {"system_instructions": "be kind"}}),
        ),
        // Sums over what lies below are not this event's own.
        (
            json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 50, "gen_ai.agent.name": "a",
                "gen_ai.output.messages": reply}),
            json!({"event_type": "chain", "metadata": {"usage_below": {"prompt_tokens": 50}, "prompt_tokens": null},
                "config": {"agent_name": "a"}, "outputs": {"result": "hello", "role": null}}),
        ),
        (
            json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup",
                "gen_ai.tool.call.arguments": "{\"q\": 1}", "gen_ai.tool.call.result": "{\"hits\": 2}"}),
            json!({"event_type": "tool", "event_name": "lookup", "inputs": {"q": 1}, "outputs": {"message": {"hits": 2}},
                "config": {"tool_name": "lookup"}}),
        ),
        (
            json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.arguments": "plain"}),
            json!({"inputs": {"arguments": "plain"}}),
        ),
        (
            json!({"gen_ai.evaluation.name": "fair", "gen_ai.evaluation.score.value": 0.9, "gen_ai.evaluation.score.label": "ok"}),
            json!({"metrics": {"fair": 0.9, "fair_label": "ok"}}),
        ),
        // GenAI, older.
        (
            json!({"gen_ai.system": "anthropic", "gen_ai.request.model": "m", "gen_ai.prompt": "hi", "gen_ai.completion": "yo",
                "gen_ai.usage.prompt_tokens": 1}),
            json!({"event_type": "model", "config": {"provider": "anthropic"}, "outputs": {"role": "assistant", "content": "yo"},
                "inputs": {"chat_history": [{"role": "user", "content": "hi"}]}, "metadata": {"prompt_tokens": 1}}),
        ),
        (
            json!({"gen_ai.provider.name": "new", "gen_ai.system": "old"}),
            json!({"config": {"provider": "new"}, "metadata": {"system": "old"}}),
        ),
        // OpenInference and Traceloop.
        (
            json!({"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.input_messages.1.message.content": "b",
                "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "a",
                "llm.input_messages.1.message.role": "user", "llm.output_messages.0.message.content": "c",
                "llm.output_messages.0.message.role": "assistant", "llm.invocation_parameters": "{\"temperature\": 1}",
                "llm.token_count.prompt": 2, "input.value": "never"}),
            json!({"event_type": "model", "config": {"model": "m", "temperature": 1},
                "inputs": {"chat_history": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], "input": null},
                "outputs": {"role": "assistant", "content": "c"}, "metadata": {"prompt_tokens": 2}}),
        ),
        (
            json!({"openinference.span.kind": "CHAIN", "input.value": "{\"q\": 1}", "output.value": "done"}),
            json!({"event_type": "chain", "inputs": {"q": 1}, "outputs": {"result": "done"}}),
        ),
        (
            json!({"traceloop.span.kind": "tool", "traceloop.entity.input": "{\"args\": [], \"kwargs\": {\"q\": 1}}",
                "traceloop.entity.output": "\"x\""}),
            json!({"event_type": "tool", "inputs": {"q": 1, "args": null}, "outputs": {"message": "x"}}),
        ),
        (
            json!({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi", "gen_ai.completion.0.content": "yo",
                "gen_ai.completion.0.tool_calls.0.name": "f", "gen_ai.completion.0.tool_calls.0.arguments": "{}",
                "llm.request.type": "chat"}),
            json!({"event_type": "model", "inputs": {"chat_history": [{"role": "user", "content": "hi"}]},
                "outputs": {"content": "yo", "tool_calls":
                    [{"id": null, "type": "function", "function": {"name": "f", "arguments": "{}"}}]}}),
        ),
        // Nobody's.
        (
            json!({"my.own.key": "v", "plain": 1}),
            json!({"metadata": {"my.own.key": "v", "plain": 1}}),
        ),
        // Precedence: ours over all others, whatever the order.
        (
            json!({"honeyhive_config.model": "ours", "gen_ai.request.model": "theirs", "llm.model_name": "others"}),
            json!({"config": {"model": "ours"}}),
        ),
    ];
    for (attributes, expected) in cases {
        let event = mapped(&attributes);
        assert_eq!(named(&event, &expected), expected, "{attributes:#}");
    }
}

#[test]
fn events_inside_a_span() {
    let exception = json!([{"name": "exception", "attributes":
        {"exception.type": "E", "exception.message": "went wrong", "exception.stacktrace": "at x"}}]);
    let event = span(&json!({}), &exception, &json!({}));
    assert_eq!(event.error.as_deref(), Some("went wrong"));
    assert_eq!(event.buckets.metadata["error_type"], "E");
    assert_eq!(event.buckets.metadata["stacktrace"], "at x");
    // The status says it better; an explicit OK takes it back.
    let told = json!({"code": 2, "message": "E: went wrong"});
    assert_eq!(
        span(&json!({}), &exception, &told).error.as_deref(),
        Some("E: went wrong")
    );
    let taken_back = json!({"otel.status_code": "OK"});
    assert_eq!(span(&taken_back, &exception, &json!({})).error, None);
    let bare = span(&json!({}), &json!([]), &json!({"code": 2}));
    assert_eq!(bare.error.as_deref(), Some("error"));

    let talk = json!([
        {"name": "gen_ai.system.message", "attributes": {"content": "s"}},
        {"name": "gen_ai.user.message", "attributes": {"content": "u"}},
        {"name": "gen_ai.choice", "attributes": {"message": "{\"role\":\"assistant\",\"content\":\"a\"}", "finish_reason": "stop"}},
    ]);
    let event = span(&json!({"gen_ai.operation.name": "chat"}), &talk, &json!({}));
    assert_eq!(
        event.buckets.inputs["chat_history"],
        json!([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}])
    );
    assert_eq!(event.buckets.outputs["content"], "a");
    assert_eq!(event.buckets.outputs["finish_reason"], "stop");
}

#[test]
fn a_verdict_is_on_what_it_judges() {
    let told = [
        ("gen_ai.evaluation.name", "fair"),
        ("gen_ai.evaluation.score.value", "0.9"),
    ]
    .map(|(key, value)| {
        let value = Some(proto::Value::String(value.to_owned()));
        proto::KeyValue {
            key: key.to_owned(),
            value: Some(proto::AnyValue { value }),
        }
    });
    let judge = proto::Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        parent_span_id: vec![3; 8],
        attributes: told.to_vec(),
        ..Default::default()
    };
    let event = map(judge, None, "").unwrap();
    assert_eq!(Value::from(event.verdicts), json!({"fair": 0.9}));
    assert!(event.buckets.metrics.is_empty());
    let inside = json!([{"name": "gen_ai.evaluation.result", "attributes":
        {"gen_ai.evaluation.name": "fair", "gen_ai.evaluation.score.value": 0.9}}]);
    let event = span(&json!({}), &inside, &json!({}));
    assert_eq!(event.buckets.metrics["fair"], 0.9);
}

#[test]
fn ids_and_times_come_from_the_span() {
    let event = mapped(&json!({}));
    assert_eq!(event.session_id, "0af76519-16cd-83dd-8448-eb211c80319c");
    assert_eq!(
        event.event_id,
        event_id(
            &[
                0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80,
                0x31, 0x9c
            ],
            &[0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]
        )
    );
    assert_eq!(
        (event.start_ms, event.duration_ms),
        (1_700_000_000_000.0, 250.0)
    );
    assert_eq!(event.parent_id, None);
    assert_eq!(
        event.buckets.metadata["trace_id"],
        "0af7651916cd43dd8448eb211c80319c"
    );

    let explicit = mapped(&json!({"honeyhive_event_id": "own"}));
    assert_eq!(explicit.event_id, "own");
    assert_eq!(explicit.span_key.as_deref(), Some(event.event_id.as_str()));
}

#[test]
fn spans_without_ids_make_no_event() {
    for (trace, id) in [
        (vec![0; 16], vec![1; 8]),
        (vec![1; 16], vec![0; 8]),
        (vec![1; 3], vec![1; 8]),
    ] {
        let span = proto::Span {
            trace_id: trace,
            span_id: id,
            ..Default::default()
        };
        assert_eq!(map(span, None, ""), None);
    }
}

#[test]
fn every_row_of_the_table_can_be_applied() {
    for (_, rows) in TABLE {
        for row in *rows {
            for to in row.to {
                let special = row.how == How::Evaluation;
                assert!(special || target(to).is_some(), "{} -> {to}", row.key);
            }
            let to_where = !row.to.is_empty();
            let needs = matches!(
                row.how,
                How::Keep
                    | How::Number
                    | How::Json
                    | How::Bucket
                    | How::First
                    | How::Millis
                    | How::Keys(_)
                    | How::GatherList
                    | How::Evaluation
            );
            assert!(to_where || !needs, "{} leads nowhere", row.key);
            mapped(&json!({row.key.replace('*', "0.x"): "{\"a\": [1]}"}));
        }
    }
}
