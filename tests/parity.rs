//! Parity with the official Python client: for each recorded scenario the program that does the same thing with this
//! crate sends the same attribute names and types, JSON bodies, paths and headers. Where it does not, the difference
//! stands in a table with its reason; a difference that is not there, or is there and does not occur, fails the test.

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use honeyhive::config::Protocol;
use honeyhive::session::SessionId;
use honeyhive::{Builder, HoneyHive, Session, SpanExt as _, propagation};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{PATIENCE, Recorder, Reply, Request, SESSIONS, TRACES};
use tracing::{Span, info_span};
use tracing_subscriber::prelude::*;

/// What is different on purpose: where (`*` stands for anything), and why.
const DIFFERENCES: &[(&str, &str)] = &[
    // Sessions.
    (
        "* POST /session/start: + body .session.session_id",
        "the id is made here, at once, so that nothing waits for the reply and nothing is lost without it",
    ),
    (
        "session_start a-span: + span",
        "a session is announced with its first event, not when the instance is made",
    ),
    (
        "enrich_session POST /session/start: + request",
        "a session of another service is announced too: that is idempotent, and there may have been no other service",
    ),
    (
        "enrich_session PUT /events: - body .duration",
        "a duration is what ending a session sends, not what enriching it does",
    ),
    (
        "session_start *-span: - honeyhive_metadata.*_id",
        "there the ids of one evaluation leak into every later instance of the thread",
    ),
    (
        "multi_session *: - honeyhive.session_auto_create",
        "the session was announced, so the platform need not make it from the event",
    ),
    // Metadata that says what is said already.
    (
        "*: - honeyhive_metadata.event_type",
        "the type is an attribute of its own; there it is repeated in the metadata",
    ),
    (
        "*: - honeyhive_metadata.event_name",
        "repeated, as the type",
    ),
    (
        "enrich_all deco_all: - honeyhive_metadata.source",
        "repeated, as the type",
    ),
    (
        "enrich_all deco_all: - honeyhive_metadata.project",
        "repeated, as the type",
    ),
    (
        "enrich_all deco_all: - honeyhive_metadata.session_id",
        "repeated, as the type",
    ),
    (
        "enrich_all deco_all: - honeyhive_metadata.session_name",
        "repeated, as the type",
    ),
    (
        "enrich_all deco_all: - honeyhive_metadata.user_id",
        "repeated, as the type",
    ),
    (
        "trace_nested root-chain: - honeyhive_span_config.*",
        "repeated: the same is in honeyhive_config",
    ),
    // Context that is given for one event.
    (
        "enrich_all deco_all: - honeyhive_source",
        "it takes the place of the instance's, where the platform reads it",
    ),
    (
        "enrich_all deco_all: honeyhive.source = src-deco, not dev",
        "see honeyhive_source",
    ),
    (
        "enrich_all deco_all: traceloop.association.properties.source = src-deco, not dev",
        "see honeyhive_source",
    ),
    ("enrich_all deco_all: - honeyhive_project", "as the source"),
    (
        "enrich_all deco_all: + honeyhive.project",
        "see honeyhive_project",
    ),
    (
        "enrich_all deco_all: + traceloop.association.properties.project",
        "see honeyhive_project",
    ),
    (
        "enrich_all deco_all: - honeyhive_session_id",
        "the event moves to that session; there the key is written beside the session it stays in",
    ),
    (
        "enrich_all POST /session/start: + request",
        "the session that the event moved to is announced",
    ),
    // Errors.
    (
        "trace_error boom_error: - span",
        "the span itself has the error; there it is sent as a second root in a trace of its own",
    ),
    ("trace_error *: + honeyhive_error", "see boom_error"),
    ("trace_error *: + honeyhive_error_type", "see boom_error"),
    (
        "trace_error *: events [[\"exception\", \"exception.message\", \"exception.type\"]]",
        "one exception event, not two; a Rust error has no stack, and `escaped` is not known",
    ),
    (
        "enrich_all *: status ERROR, not UNSET",
        "an event with an error has failed",
    ),
    (
        "enrich_all *: events [[\"exception\", \"exception.message\"]]",
        "as the status",
    ),
    // Types.
    (
        "event_types openai-x10: honeyhive_event_type = tool, not model",
        "an explicit type wins, whatever it is",
    ),
    (
        "event_types x13: honeyhive_event_type = model, not tool",
        "the spelling with a dot is as explicit as the other",
    ),
    (
        "event_types x12: honeyhive_event_type = chain, not tool",
        "traceloop.span.kind is read",
    ),
    (
        "event_types palmtree: honeyhive_event_type = tool, not model",
        "names are guessed from by whole words",
    ),
    (
        "event_types x11: - honeyhive_event_type_raw",
        "the type it names is sent; the wish for it is not repeated",
    ),
    (
        "*: - honeyhive.event_type",
        "sent under the one name the platform reads",
    ),
    // The rest.
    (
        "*: + honeyhive_duration_ms",
        "every event has its duration, not only those of decorated functions that return",
    ),
    (
        "*: + honeyhive_metadata.incomplete",
        "a model call without response, usage and output is marked, not shown as a success with nothing to say",
    ),
    (
        "trace_nested leaf: - honeyhive_inputs.n",
        "None is left out, not sent as the text None",
    ),
    (
        "enrich_all enriched: - honeyhive_inputs.chat_history.0.*",
        "the platform's registry has chat_history as one JSON text",
    ),
    (
        "enrich_all enriched: + honeyhive_inputs.chat_history",
        "see chat_history.0",
    ),
    (
        "enrich_all ctx-trace: + honeyhive_inputs.*",
        "a field of no known convention is an input, and sent once; there an attribute is sent under two spellings",
    ),
    ("enrich_all ctx-trace: - dotted*key", "see honeyhive_inputs"),
    ("enrich_all ctx-trace: - x*y", "see honeyhive_inputs"),
];

/// What was recorded of the official client.
#[derive(Deserialize)]
struct Scenario {
    scenario: String,
    requests: Vec<Call>,
    spans: Vec<Seen>,
}

#[derive(Clone, Debug, Deserialize)]
struct Call {
    method: String,
    path: String,
    headers: BTreeSet<String>,
    content_type: String,
    #[serde(default)]
    body: Value,
}

#[derive(Clone, Debug, Deserialize)]
struct Seen {
    name: String,
    parent: Option<String>,
    status: String,
    /// Name to type.
    attributes: BTreeMap<String, String>,
    /// Those whose values are the same each time.
    values: BTreeMap<String, String>,
    /// Name, and the names of attributes.
    events: Vec<Vec<String>>,
}

/// Headers that every HTTP client has, in its own way.
const TRANSPORT: [&str; 5] = [
    "host",
    "content-length",
    "accept-encoding",
    "connection",
    "user-agent",
];

fn call(request: &Request) -> Call {
    let headers = request.headers.iter().map(|(name, _)| name.to_lowercase());
    Call {
        method: request.method.clone(),
        path: request.path.clone(),
        headers: headers
            .filter(|name| !TRANSPORT.contains(&name.as_str()))
            .collect(),
        content_type: request
            .header("content-type")
            .unwrap_or_default()
            .to_owned(),
        body: if request.path == TRACES {
            Value::Null
        } else {
            without_ids(request.json())
        },
    }
}

/// Ids are different each time.
fn without_ids(value: Value) -> Value {
    match value {
        Value::String(text) if SessionId::parse(&text).is_ok() => "<uuid>".into(),
        // A session without a name has that of the program.
        Value::String(text) if text.starts_with("parity") => "<program>".into(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, without_ids(value)))
            .collect(),
        other => other,
    }
}

/// The spans of a request, from either encoding.
fn seen(request: &Request) -> Vec<(String, String, Seen)> {
    let body = if request.header("content-type") == Some("application/json") {
        request.json()
    } else {
        serde_json::to_value(request.traces()).expect("OTLP as JSON")
    };
    let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    spans
        .as_array()
        .expect("spans")
        .iter()
        .map(|span| {
            let mut attributes = BTreeMap::new();
            let mut values = BTreeMap::new();
            for attribute in span["attributes"].as_array().expect("attributes") {
                let value = attribute["value"]
                    .as_object()
                    .and_then(|value| value.iter().next());
                let (kind, value) = value.expect("a value");
                let key = text(&attribute["key"]);
                attributes.insert(key.clone(), kind.trim_end_matches("Value").to_owned());
                values.insert(
                    key,
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned),
                );
            }
            let empty = Vec::new();
            let events = span["events"]
                .as_array()
                .unwrap_or(&empty)
                .iter()
                .map(|event| {
                    let attributes = event["attributes"].as_array().expect("attributes").iter();
                    let keys = attributes.map(|attribute| text(&attribute["key"]));
                    std::iter::once(text(&event["name"])).chain(keys).collect()
                });
            let status = match &span["status"]["code"] {
                Value::String(code) => code.trim_start_matches("STATUS_CODE_").to_owned(),
                Value::Number(code) if *code == 2.into() => "ERROR".to_owned(),
                _ => "UNSET".to_owned(),
            };
            let found = Seen {
                name: text(&span["name"]),
                parent: None,
                status,
                attributes,
                values,
                events: events.collect(),
            };
            (text(&span["spanId"]), text(&span["parentSpanId"]), found)
        })
        .collect()
}

/// Everything in which `ours` is not as the reference, one line each.
fn differences(reference: &Scenario, ours: &[Request]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let scenario = reference.scenario.as_str();
    let mut calls: Vec<Call> = ours.iter().map(call).collect();

    // Requests: as many of each, with the same headers and bodies.
    for expected in &reference.requests {
        let of_kind = |call: &Call| call.method == expected.method && call.path == expected.path;
        let line = format!("{scenario} {} {}", expected.method, expected.path);
        // Which spans go together in a request is a matter of time.
        if expected.path == TRACES {
            for call in calls.iter().filter(|call| of_kind(call)) {
                compare_headers(&line, expected, call, &mut found);
            }
            continue;
        }
        let name = |call: &Call| call.body["session"]["session_name"].clone();
        let same = calls
            .iter()
            .position(|call| {
                of_kind(call) && name(call) == name(expected) && call.body == expected.body
            })
            .or_else(|| {
                calls
                    .iter()
                    .position(|call| of_kind(call) && name(call) == name(expected))
            });
        let Some(same) = same else {
            found.insert(format!("{line}: - request {}", expected.body));
            continue;
        };
        let call = calls.remove(same);
        compare_headers(&line, expected, &call, &mut found);
        compare_json(&line, "", &expected.body, &call.body, &mut found);
    }
    for call in calls.iter().filter(|call| call.path != TRACES) {
        found.insert(format!(
            "{scenario} {} {}: + request",
            call.method, call.path
        ));
    }

    let all: Vec<(String, String, Seen)> = ours
        .iter()
        .filter(|request| request.path == TRACES)
        .flat_map(seen)
        .collect();
    let names: BTreeMap<&String, &String> =
        all.iter().map(|(id, _, span)| (id, &span.name)).collect();
    let mut spans: Vec<Seen> = all
        .iter()
        .map(|(_, parent, span)| Seen {
            parent: names.get(parent).map(|name| (*name).clone()),
            ..span.clone()
        })
        .collect();
    for expected in &reference.spans {
        let line = format!("{scenario} {}", expected.name);
        match spans.iter().position(|span| span.name == expected.name) {
            Some(at) => compare_spans(&line, expected, &spans.remove(at), &mut found),
            None => _ = found.insert(format!("{line}: - span")),
        }
    }
    for span in spans {
        found.insert(format!("{scenario} {}: + span", span.name));
    }
    found
}

fn compare_headers(line: &str, expected: &Call, ours: &Call, found: &mut BTreeSet<String>) {
    for missing in expected.headers.difference(&ours.headers) {
        found.insert(format!("{line}: - header {missing}"));
    }
    for extra in ours.headers.difference(&expected.headers) {
        found.insert(format!("{line}: + header {extra}"));
    }
    if expected.content_type != ours.content_type {
        found.insert(format!("{line}: content type {}", ours.content_type));
    }
}

fn compare_json(
    line: &str,
    at: &str,
    expected: &Value,
    ours: &Value,
    found: &mut BTreeSet<String>,
) {
    match (expected, ours) {
        (Value::Object(expected), Value::Object(ours)) => {
            for (key, value) in expected {
                match ours.get(key) {
                    Some(our) => compare_json(line, &format!("{at}.{key}"), value, our, found),
                    None => _ = found.insert(format!("{line}: - body {at}.{key}")),
                }
            }
            for key in ours.keys().filter(|key| !expected.contains_key(*key)) {
                found.insert(format!("{line}: + body {at}.{key}"));
            }
        }
        _ if expected == ours => {}
        _ => _ = found.insert(format!("{line}: body {at} is {ours}, not {expected}")),
    }
}

fn compare_spans(line: &str, expected: &Seen, ours: &Seen, found: &mut BTreeSet<String>) {
    for (key, kind) in &expected.attributes {
        match ours.attributes.get(key) {
            Some(our) if our == kind => {}
            Some(our) => _ = found.insert(format!("{line}: {key} is {our}, not {kind}")),
            None => _ = found.insert(format!("{line}: - {key}")),
        }
    }
    for key in ours
        .attributes
        .keys()
        .filter(|key| !expected.attributes.contains_key(*key))
    {
        found.insert(format!("{line}: + {key}"));
    }
    for (key, value) in &expected.values {
        if let Some(our) = ours.values.get(key).filter(|our| *our != value) {
            found.insert(format!("{line}: {key} = {our}, not {value}"));
        }
    }
    if expected.parent != ours.parent {
        found.insert(format!(
            "{line}: parent {:?}, not {:?}",
            ours.parent, expected.parent
        ));
    }
    if expected.status != ours.status {
        found.insert(format!(
            "{line}: status {}, not {}",
            ours.status, expected.status
        ));
    }
    if expected.events != ours.events {
        found.insert(format!("{line}: events {:?}", ours.events));
    }
}

/// Whether `*` in the pattern can stand for what makes it the text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|start| text.strip_prefix(start)) else {
        return false;
    };
    let mut ended = true;
    for part in parts {
        ended = part.is_empty();
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
        ended = ended || rest.is_empty();
    }
    rest.is_empty() || ended && pattern.ends_with('*')
}

/// One recorded scenario, and the program that does the same.
struct Program {
    server: Recorder,
    protocol: Protocol,
}

impl Program {
    fn new(protocol: Protocol) -> Self {
        let server = Recorder::start();
        Self { server, protocol }
    }

    fn instance(&self, settings: impl FnOnce(Builder) -> Builder) -> HoneyHive {
        let builder = support::settings(&self.server.url).protocol(self.protocol);
        settings(builder).build().expect("settings")
    }
}

fn run(honeyhive: &HoneyHive, work: impl FnOnce()) {
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, work);
    honeyhive.flush_blocking(PATIENCE).expect("a delivery");
}

#[derive(Debug)]
struct ValueError(&'static str);

impl std::fmt::Display for ValueError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ValueError {}

fn trace_nested(program: &Program) {
    #[derive(Debug)]
    struct Weird;
    let honeyhive = program.instance(|b| b.source("staging").session_name("nested-session"));
    run(&honeyhive, || {
        let root = info_span!(
            "root-chain",
            honeyhive.event_type = "chain",
            honeyhive.event_name = "root-chain",
            q = "hi"
        );
        root.in_scope(|| {
            let model = info_span!(
                "program.amodel",
                honeyhive.event_type = "model",
                prompt = "hi"
            );
            model.in_scope(|| {
                let leaf = info_span!(
                    "leaf",
                    honeyhive.event_type = "tool",
                    honeyhive.event_name = "leaf",
                    s = "hi",
                    i = 7,
                    f = 1.5,
                    b = true,
                    n = None::<i64>,
                    d = ?BTreeMap::from([("k", [1])]),
                    l = ?[Some("1"), Some("two"), None],
                    e = ?Weird,
                    w = ?Weird,
                    when = "2024-01-02 03:04:05",
                );
                leaf.enrich(|e| {
                    e.output(json!({
                        "text": "HI",
                        "list": [1, { "a": 2 }, null],
                        "enum": "RED",
                        "when": "2024-01-02 03:04:05",
                        "w": "Weird",
                        "nested": { "x": { "y": true } },
                    }))
                });
            });
            model.enrich(|e| e.output("hello HI"));
        });
        root.enrich(|e| {
            e.config_all(json!({ "model": "gpt-4", "params": { "t": 0.1 } }))
                .metadata("m", 1)
                .output(("hello HI", 2))
        });
        info_span!("program.bare", x = 3);
    });
}

fn trace_error(program: &Program) {
    let honeyhive = program.instance(|b| b.session_name("err"));
    run(&honeyhive, || {
        let boom = info_span!("boom", honeyhive.event_name = "boom", x = "thing");
        boom.enrich(|e| e.error(&ValueError("bad thing")));
        let manual = info_span!("manual", honeyhive.event_type = "chain");
        manual.in_scope(|| tracing::error!(error = &ValueError("k") as &dyn std::error::Error));
    });
}

fn event_types(program: &Program) {
    let honeyhive = program.instance(|b| b.session_name("et").event_type_from_name(true));
    run(&honeyhive, || {
        info_span!("plain");
        info_span!("openai.chat");
        info_span!("My_Model_step");
        info_span!("ai_step");
        info_span!("palmtree");
        info_span!("x1", gen_ai.operation.name = "chat");
        info_span!("x2", gen_ai.operation.name = "execute_tool");
        info_span!("x3", gen_ai.operation.name = "invoke_agent");
        info_span!("x4", gen_ai.operation.name = "weird");
        info_span!("x5", openinference.span.kind = "LLM");
        info_span!("x6", openinference.span.kind = "agent");
        info_span!("openai-x7", openinference.span.kind = "nope");
        info_span!("x8", gen_ai.request.model = "gpt");
        info_span!("x9", honeyhive_event_type = "chain");
        info_span!("openai-x10", honeyhive_event_type = "tool");
        info_span!("x11", honeyhive_event_type_raw = "chain");
        info_span!("x12", traceloop.span.kind = "workflow");
        info_span!("x13", honeyhive.event_type = "model");
        info_span!("x14", honeyhive_event_type = "session");
        info_span!("x15", honeyhive_event_type = "bogus");
    });
}

fn enrich_all(program: &Program) {
    let honeyhive = program.instance(|b| b.session_name("enrich"));
    run(&honeyhive, || {
        let enriched = info_span!(
            "enriched",
            honeyhive.event_type = "model",
            honeyhive.event_name = "enriched",
            a = "A"
        );
        say_all(&enriched);
        let global = info_span!("enriched_global", honeyhive.event_name = "enriched_global");
        global.enrich(|e| {
            e.metadata("positional", "attrs")
                .metric("m1", 2)
                .user_property("u", 1)
                .metadata("when", "2024-01-01 00:00:00")
                .metadata("e", "RED")
                .metadata("s", "{1, 2}")
                .metadata("by", "x")
        });
        let existing = info_span!("enrich_existing", honeyhive.event_name = "enrich_existing");
        existing.enrich(|e| e.output(true));
        let decorated = info_span!(
            "deco_all",
            honeyhive.event_type = "chain",
            honeyhive.event_name = "deco_all",
            honeyhive_event_id = "33333333-3333-4333-8333-333333333333",
            honeyhive_source = "src-deco",
            honeyhive_project = "proj-deco",
            honeyhive_session_id = "99999999-9999-4999-8999-999999999999",
            honeyhive_user_id = "uid",
            honeyhive_session_name = "sn",
            z = 1,
        );
        decorated.enrich(|e| {
            e.input("i", 1)
                .outputs(json!({ "o": { "p": 1 } }))
                .metadata("md", 1)
                .metric("mm", 1)
                .feedback("ff", 1)
                .error_message("perr")
        });
        info_span!(
            "ctx-trace",
            honeyhive.event_type = "model",
            "dotted.key" = "v",
            "x-y" = 1,
        );
    });
    let late = "22222222-2222-4222-8222-222222222222".parse();
    honeyhive.enrich_event(late.expect("an id"), |e| {
        e.metadata_all(json!({ "late": 1, "aa": 1, "zz": 9 }))
            .metric("x", 1)
            .user_property("u", 2)
    });
    honeyhive.flush_blocking(PATIENCE).expect("a delivery");
}

fn distributed(program: &Program) {
    let honeyhive = program.instance(|b| b.session_name("dist").source("prod").project("proj"));
    run(&honeyhive, || {
        info_span!("client-span");
        let mut carrier = HashMap::new();
        let client = info_span!(
            "client-deco",
            honeyhive.event_type = "chain",
            honeyhive.event_name = "client-deco"
        );
        client.in_scope(|| propagation::inject(&mut carrier));
        client.enrich(|e| e.output(&carrier));
        propagation::extract(&carrier).in_scope(|| info_span!("server-span"));
        let remote = |baggage: &str| {
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let carrier = [("traceparent", parent), ("baggage", baggage)];
            propagation::extract(&HashMap::from(
                carrier.map(|(k, v)| (k.to_owned(), v.to_owned())),
            ))
        };
        remote(
            "honeyhive_session_id=aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa,honeyhive_project=op,honeyhive.source=os",
        )
        .in_scope(|| info_span!("server-honeyhive_session_id"));
        remote(
            "session_id=bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb,run_id=r1,dataset_id=d1,datapoint_id=dp1,parent_id=pid1,custom=zz%20z",
        )
        .in_scope(|| info_span!("server-session_id"));
    });
}

/// Everything an enrichment can say.
fn say_all(span: &Span) {
    span.enrich(|e| {
        e.metadata_all(json!({ "m": 1, "deep": { "x": [1, 2, { "z": "q" }] }, "attr_k": "attr_v" }))
            .metadata("extra_kw", "ek")
            .metadata("extra_dict", json!({ "a": { "b": 1 } }))
            .metrics(json!({ "score": 0.9, "pass": true }))
            .feedback("rating", 5)
            .input("prompt", "p")
            .input("chat_history", json!([{ "role": "user", "content": "hi" }]))
            .outputs(json!({ "completion": "c" }))
            .output(json!({ "ok": true }))
            .config("model", "gpt-4")
            .config("temperature", 0.3)
            .user_property("user_id", "u1")
            .user_property("plan", "pro")
            .error_message("custom error")
    });
    assert!(span.event_id().is_some());
}

fn enrich_session(program: &Program) {
    let honeyhive = program.instance(|b| b);
    run(&honeyhive, || {
        let session = Session::builder("es").input("q", "session input").start();
        session.enrich(|s| {
            s.metadata("m", 1)
                .metadata("odd", "kw")
                .input("i", 1)
                .feedback("rating", 1)
                .metric("s", 0.5)
                .outputs(json!({ "o": 1 }))
                .config("c", 1)
                .user_property("user_id", "u")
        });
        let id = SessionId::parse("44444444-4444-4444-8444-444444444444").expect("an id");
        Session::from_id(id).enrich(|s| s.metadata("g", 1));
    });
}

fn session_start(program: &Program) {
    let plain = program.instance(|b| b);
    run(&plain, || drop(info_span!("a-span")));
    let explicit = program.instance(|b| {
        b.session_name("unused")
            .session_id("66666666-6666-4666-8666-66666666ABCD")
            .project("legacy-project")
    });
    let id = explicit.session_id();
    let session = Session::builder("explicit").id(id).input("q", 1).start();
    run(&explicit, || {
        session.in_scope(|| drop(info_span!("b-span")));
    });
    let evaluation = Session::builder("eval")
        .metadata("run_id", "run-1")
        .metadata("dataset_id", "EXT-ds")
        .metadata("datapoint_id", "EXT-dp")
        .start();
    let honeyhive = program.instance(|b| b);
    run(&honeyhive, || {
        evaluation.in_scope(|| {
            info_span!(
                "c-span",
                honeyhive.metadata.run_id = "run-1",
                honeyhive.metadata.dataset_id = "EXT-ds",
                honeyhive.metadata.datapoint_id = "EXT-dp",
            );
        });
    });
    let bad = program.instance(|b| b.session_name("bad-id").session_id("not-a-uuid"));
    run(&bad, || drop(info_span!("d-span")));
    program.server.answer_by(|request| {
        let failing = request.path == SESSIONS
            && String::from_utf8_lossy(&request.body).contains("backend-500");
        failing.then(|| Reply::status(500))
    });
    let failing = program.instance(|b| b.session_name("backend-500"));
    run(&failing, || drop(info_span!("g-span")));
}

fn multi_session(program: &Program) {
    let honeyhive = program.instance(|b| b);
    run(&honeyhive, || {
        for i in 0..2 {
            let session = Session::builder(format!("req-{i}"))
                .input("i", i)
                .metadata("m", i)
                .user_property("u", i)
                .start();
            session.in_scope(|| {
                let handler = info_span!(
                    "handler",
                    honeyhive.event_type = "chain",
                    honeyhive.event_name = "handler",
                    i
                );
                handler.enrich(|e| e.output(i));
            });
            session.enrich(|s| s.metadata("req", i));
        }
        let session = Session::builder("ws").metadata("w", 1).start();
        session.in_scope(|| drop(info_span!("in-ws")));
    });
}

fn protobuf_mode(program: &Program) {
    let honeyhive = program.instance(|b| b.session_name("pb"));
    run(&honeyhive, || {
        let span = info_span!("pb-tool", honeyhive.event_name = "pb-tool", x = 1);
        span.enrich(|e| e.output(json!({ "y": 1, "arr": [1.5, true] })));
    });
}

/// The recorded facts, how they were encoded, and the program.
type Case = (&'static str, Protocol, fn(&Program));

const CASES: &[Case] = &[
    (
        include_str!("fixtures/parity/trace_nested.json"),
        Protocol::HttpJson,
        trace_nested,
    ),
    (
        include_str!("fixtures/parity/trace_error.json"),
        Protocol::HttpJson,
        trace_error,
    ),
    (
        include_str!("fixtures/parity/event_types.json"),
        Protocol::HttpJson,
        event_types,
    ),
    (
        include_str!("fixtures/parity/enrich_all.json"),
        Protocol::HttpJson,
        enrich_all,
    ),
    (
        include_str!("fixtures/parity/enrich_session.json"),
        Protocol::HttpJson,
        enrich_session,
    ),
    (
        include_str!("fixtures/parity/session_start.json"),
        Protocol::HttpJson,
        session_start,
    ),
    (
        include_str!("fixtures/parity/multi_session.json"),
        Protocol::HttpJson,
        multi_session,
    ),
    (
        include_str!("fixtures/parity/distributed.json"),
        Protocol::HttpJson,
        distributed,
    ),
    (
        include_str!("fixtures/parity/protobuf_mode.json"),
        Protocol::HttpProtobuf,
        protobuf_mode,
    ),
];

#[test]
fn programs_send_what_the_official_client_sends() {
    let mut unexplained = Vec::new();
    let mut unused: Vec<&str> = DIFFERENCES.iter().map(|(pattern, _)| *pattern).collect();
    for (facts, protocol, work) in CASES {
        let reference: Scenario = serde_json::from_str(facts).expect("a fixture");
        let program = Program::new(*protocol);
        work(&program);
        for difference in differences(&reference, &program.server.requests()) {
            let known = DIFFERENCES
                .iter()
                .find(|(pattern, _)| matches(pattern, &difference));
            match known {
                Some((pattern, why)) => {
                    assert!(!why.is_empty());
                    unused.retain(|unused| unused != pattern);
                }
                None => unexplained.push(difference),
            }
        }
    }
    assert!(
        unexplained.is_empty(),
        "not in the table:\n{}",
        unexplained.join("\n")
    );
    assert!(
        unused.is_empty(),
        "in the table, and no difference:\n{}",
        unused.join("\n")
    );
}

#[test]
fn patterns_match_whole_texts() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("* x: - y", "s n x: - y", true),
        ("* x: - y", "s n x: - yz", false),
        ("a*c*", "abcd", true),
        ("a*c", "abcd", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
