//! How many events a second the local server takes from one client, each on disk before its request is answered, and how
//! fast pages and the REST API read them again.
//!
//! `cargo bench --features server --bench server_ingest` prints figures; with `-- start` also the time from nothing to
//! the first answer and the memory of an idle server, in a process that has done nothing else.

use honeyhive::server::Server;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const BATCH: usize = 512;
const BATCHES: usize = 200;
const SESSIONS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = tempfile::tempdir()?;
    if arguments.iter().any(|argument| argument == "start") {
        return start(folder.path());
    }
    let server = Server::builder()
        .port(0)
        .database(folder.path().join("bench.db"))
        .start()?;
    let requests: Vec<Vec<u8>> = (0..BATCHES)
        .map(|batch| request(batch).encode_to_vec())
        .collect();
    let bytes: usize = requests.iter().map(Vec::len).sum();
    let events = BATCH * BATCHES;
    println!(
        "{events} events of {} bytes, batches of {BATCH}",
        bytes / events
    );

    let mut client = Client::new(server.local_addr())?;
    let mut took = Vec::with_capacity(requests.len());
    let begun = Instant::now();
    for request in &requests {
        let one = Instant::now();
        client.post("/v1/traces", "application/x-protobuf", request)?;
        took.push(one.elapsed());
    }
    let total = begun.elapsed();
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    println!(
        "ingest     {:.0} events/s; a request: median {:?}, 99 of 100 below {:?}, longest {:?}",
        events as f64 / total.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!(
        "floor      a write and sync of one batch's bytes: {:?}",
        floor(folder.path(), bytes / BATCHES)?
    );
    println!("memory     {} MB resident after it", resident() / 1024);
    let sessions = server.sessions()?;
    let stored: u64 = sessions.iter().map(|session| session.events).sum();
    assert_eq!(stored, events as u64);

    let session = &sessions[0].session_id;
    for (name, path) in [
        ("sessions", "/".to_owned()),
        ("search", "/?q=step-77".to_owned()),
        ("session", format!("/sessions/{session}")),
        ("its end", format!("/sessions/{session}?from=5000")),
    ] {
        let mut best = Duration::MAX;
        let mut size = 0;
        for _ in 0..10 {
            let one = Instant::now();
            size = client.get(&path)?;
            best = best.min(one.elapsed());
        }
        println!(
            "page       {name:<9} {best:>10.1?}  {:.1} KB",
            size as f64 / 1024.0
        );
    }
    api(&mut client, session, &sessions)
}

/// What the REST API takes with all of these events stored; each line with the memory after it.
fn api(
    client: &mut Client,
    session: &str,
    sessions: &[honeyhive::server::Session],
) -> Result<(), Box<dyn Error>> {
    let filter = |field: &str, operator: &str, value: &str| {
        format!(
            r#"{{"field":"{field}","operator":"{operator}","value":"{value}","type":"string"}}"#
        )
    };
    let all: Vec<String> = sessions
        .iter()
        .map(|session| format!("{:?}", session.session_id))
        .collect();
    for (run, sessions) in [
        (
            "10000000-0000-4000-8000-000000000001",
            format!("{session:?}"),
        ),
        ("10000000-0000-4000-8000-000000000002", all.join(",")),
    ] {
        let body = format!(r#"{{"run_id":"{run}","event_ids":[{sessions}]}}"#);
        client.post("/v1/runs", "application/json", body.as_bytes())?;
    }
    let model = filter("event_type", "is", "model");
    let named = filter("event_name", "contains", "step-777");
    let release = filter("metadata.release", "is", "2026.11.3");
    let rare = filter("inputs.question", "contains", "nobody asks this");
    let of = filter("session_id", "is", session);
    let list = filter("event_type", "is", "session");
    let search = |filters: &[&String], limit: u32| {
        let filters: Vec<&str> = filters.iter().map(|filter| filter.as_str()).collect();
        format!(r#"{{"filters":[{}],"limit":{limit}}}"#, filters.join(","))
    };
    let (searches, exports) = ("/v1/events/search", "/v1/events/export");
    for (name, path, body) in [
        ("sessions", searches, search(&[&list], 50)),
        ("a session's events", searches, search(&[&of], 100)),
        ("two columns", searches, search(&[&model, &named], 100)),
        (
            "column and metadata",
            searches,
            search(&[&model, &release], 100),
        ),
        (
            "column and inputs, none",
            searches,
            search(&[&model, &rare], 100),
        ),
        ("export of 7,500", exports, search(&[], 7500)),
        (
            "run of 5,120 events",
            "/v1/runs/10000000-0000-4000-8000-000000000001/summary",
            String::new(),
        ),
        (
            "run of all events",
            "/v1/runs/10000000-0000-4000-8000-000000000002/summary",
            String::new(),
        ),
        ("runs", "/v1/runs", String::new()),
    ] {
        let (mut best, mut longest, mut size) = (Duration::MAX, Duration::ZERO, 0);
        let busy = processor();
        for _ in 0..10 {
            let one = Instant::now();
            size = match body.is_empty() {
                true => client.get(path)?,
                false => client.post(path, "application/json", body.as_bytes())?,
            };
            best = best.min(one.elapsed());
            longest = longest.max(one.elapsed());
        }
        println!(
            "api        {name:<24} {best:>8.1?}, longest {longest:>8.1?}, processor {:>8.1?}  {:>8.1} KB  {} MB resident",
            (processor() - busy) / 10,
            size as f64 / 1024.0,
            resident() / 1024
        );
    }
    Ok(())
}

/// A session of some 5,000 events: model calls with a conversation, each of about 3 KB.
fn request(batch: usize) -> ExportTraceServiceRequest {
    let prompt =
        "You answer questions about the documents below, briefly and only from them. ".repeat(14);
    let question =
        "Which settings decide how long an export may take, and what happens after? ".repeat(6);
    let messages = format!(
        r#"[{{"role":"system","content":"{prompt}"}},{{"role":"user","content":"{question}"}}]"#
    );
    let answer =
        "The timeout and the number of attempts; what is left is counted and reported. ".repeat(7);
    let reply = format!(r#"[{{"role":"assistant","content":"{answer}","finish_reason":"stop"}}]"#);
    let session = format!("00000000-0000-4000-8000-{:012x}", batch % SESSIONS);
    let spans = (0..BATCH).map(|index| {
        let number = (batch * BATCH + index) as u64;
        let mut trace_id = vec![7; 16];
        trace_id[8..].copy_from_slice(&(batch as u64 % SESSIONS as u64 + 1).to_be_bytes());
        let start = 1_795_000_000_000_000_000 + number * 1_000_000;
        Span {
            trace_id,
            span_id: (number + 1).to_be_bytes().to_vec(),
            parent_span_id: match index % 8 {
                0 => Vec::new(),
                behind => (number + 1 - behind as u64).to_be_bytes().to_vec(),
            },
            name: format!("step-{number}"),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 900_000,
            attributes: vec![
                text("honeyhive.session_id", &session),
                text("traceloop.association.properties.session_id", &session),
                text("honeyhive.source", "bench"),
                text("honeyhive_event_type", "model"),
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.provider.name", "openai"),
                text("gen_ai.request.model", "gpt-4o"),
                text("gen_ai.input.messages", &messages),
                text("gen_ai.output.messages", &reply),
                whole("gen_ai.usage.input_tokens", 420),
                whole("gen_ai.usage.output_tokens", 77),
                text("honeyhive_inputs.question", &question[..75]),
                text("honeyhive_metadata.release", "2026.11.3"),
                // An evaluation of one event in eight.
                match index % 8 {
                    0 => whole("honeyhive_metrics.score", 7),
                    _ => whole("honeyhive_metadata.step", 7),
                },
            ],
            ..Default::default()
        }
    });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "honeyhive.1".to_owned(),
                    ..Default::default()
                }),
                spans: spans.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, any_value::Value::StringValue(value.to_owned()))
}

fn whole(key: &str, value: i64) -> KeyValue {
    pair(key, any_value::Value::IntValue(value))
}

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}

fn start(folder: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let path = folder.join("start.db");
    for attempt in ["new database", "the same again"] {
        let begun = Instant::now();
        let server = Server::builder().port(0).database(&path).start()?;
        let up = begun.elapsed();
        let mut client = Client::new(server.local_addr())?;
        client.get("/")?;
        let answered = begun.elapsed();
        println!("start      {up:?}, first page after {answered:?} ({attempt})");
        println!(
            "memory     {:.1} MB resident, idle",
            resident() as f64 / 1024.0
        );
        server.shutdown()?;
    }
    Ok(())
}

/// What the disk itself takes for as many bytes, appended and synced.
fn floor(folder: &std::path::Path, bytes: usize) -> std::io::Result<Duration> {
    let mut file = std::fs::File::create(folder.join("floor"))?;
    let content = vec![1; bytes];
    let mut took = Vec::new();
    for _ in 0..20 {
        let one = Instant::now();
        file.write_all(&content)?;
        file.sync_data()?;
        took.push(one.elapsed());
    }
    took.sort();
    Ok(took[took.len() / 2])
}

/// What this process has computed so far, client and server: on a busy machine it says more than the time that passed.
fn processor() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(spent.tv_sec).unwrap_or(0),
        u32::try_from(spent.tv_nsec).unwrap_or(0),
    )
}

/// Kilobytes, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

struct Client {
    stream: TcpStream,
    host: SocketAddr,
}

impl Client {
    fn new(host: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host })
    }

    fn post(&mut self, path: &str, media: &str, content: &[u8]) -> Result<usize, Box<dyn Error>> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            content.len()
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(content)?;
        self.answer()
    }

    fn get(&mut self, path: &str) -> Result<usize, Box<dyn Error>> {
        write!(
            self.stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.host
        )?;
        self.answer()
    }

    fn answer(&mut self) -> Result<usize, Box<dyn Error>> {
        let mut content = Vec::new();
        let mut part = vec![0; 65536];
        loop {
            let read = self.stream.read(&mut part)?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            content.extend_from_slice(&part[..read]);
            let Some(end) = content.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&content[..end])?.to_ascii_lowercase();
            if !head.starts_with("http/1.1 200") {
                return Err(head.into());
            }
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let Some(length) = length else {
                // In parts, of which the last is empty.
                match content.ends_with(b"\r\n0\r\n\r\n") {
                    true => return Ok(content.len() - end - 4),
                    false => continue,
                }
            };
            let length = length.parse::<usize>()?;
            if content.len() >= end + 4 + length {
                return Ok(length);
            }
        }
    }
}
