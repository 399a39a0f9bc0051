//! A server that records what it is sent and answers as it is told. Shared by the tests; each uses a part of it.
#![allow(dead_code, reason = "every test uses another part")]

pub mod fault;
pub mod traced;

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use honeyhive::report::Stats;
use honeyhive::{Builder, HoneyHive};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tracing_subscriber::prelude::*;

/// How long a test waits for something that will happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Where spans are posted to.
pub const TRACES: &str = "/opentelemetry/v1/traces";
/// Where sessions are announced.
pub const SESSIONS: &str = "/session/start";
pub const KEY: &str = "hh_0123456789abcdef";

/// Settings for a server of the test, with a key.
pub fn settings(url: &str) -> Builder {
    HoneyHive::builder()
        .server_url(url)
        .api_key(KEY)
        .flush_interval(Duration::from_secs(600))
}

/// How much of a scenario is run: the whole only where HONEYHIVE_LONG_TESTS is set.
pub fn scaled(usually: usize, whole: usize) -> usize {
    let long = std::env::var_os("HONEYHIVE_LONG_TESTS").is_some_and(|value| !value.is_empty());
    if long { whole } else { usually }
}

/// Opens and closes so many spans called `work`, numbered by their field `n`.
pub fn emit(honeyhive: &HoneyHive, count: usize) {
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..count {
            tracing::info_span!("work", n).in_scope(|| {});
        }
    });
}

/// Every span that was submitted is somewhere, and only there.
#[track_caller]
pub fn assert_balanced(stats: &Stats) {
    assert_eq!(stats.submitted, known(stats), "{stats:#?}");
}

/// Events whose fate is known, or which are still there.
pub fn known(stats: &Stats) -> u64 {
    let lost = stats.rejected + stats.dropped.total();
    stats.exported + lost + stats.in_flight + stats.spooled
}

/// Nothing is on its way, and so many were submitted and exported.
#[track_caller]
pub fn assert_all_exported(stats: &Stats, count: u64) {
    assert_balanced(stats);
    assert_eq!(
        (
            stats.submitted,
            stats.exported,
            stats.in_flight,
            stats.queue_bytes
        ),
        (count, count, 0, 0),
        "{stats:#?}"
    );
}

/// Runs a test of this file once more, alone in a process with these variables, and tells what came of it. `None`:
/// this is that process.
pub fn in_process_of_its_own(
    test: &str,
    variables: &[(&str, &str)],
) -> Option<std::process::Output> {
    let output = process_of_its_own(test, variables)?.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    Some(output)
}

/// What a process of a test said; its figures are shown, with `--nocapture`.
pub fn said(output: &std::process::Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in said.lines() {
        if let Some(at) = line.find("figure: ") {
            println!("{}", &line[at..]);
        }
    }
    said
}

/// A test of this file once more, to be run alone in a process with these variables, which may end as it likes. `None`:
/// this is that process.
pub fn process_of_its_own(test: &str, variables: &[(&str, &str)]) -> Option<std::process::Command> {
    if std::env::var_os("TEST_IN_ITS_OWN_PROCESS").is_some() {
        return None;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
        .env("TEST_IN_ITS_OWN_PROCESS", "1")
        .envs(variables.iter().copied());
    Some(command)
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// The body, decoded with the reference types.
    pub fn traces(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(self.plain().as_slice()).expect("an OTLP body")
    }

    /// The body, decompressed if need be.
    pub fn plain(&self) -> Vec<u8> {
        if self.header("content-encoding") != Some("gzip") {
            return self.body.clone();
        }
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(self.body.as_slice())
            .read_to_end(&mut plain)
            .expect("a gzip body");
        plain
    }
}

/// What the server answers with.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

type Rule = Arc<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// Answers to the next requests for traces, and to the next other ones.
    traces: VecDeque<Reply>,
    others: VecDeque<Reply>,
    /// Requests are taken, and not answered.
    held: bool,
    connections: usize,
    streams: Vec<TcpStream>,
    rule: Option<Rule>,
}

/// The server; it ends with the process.
pub struct Recorder {
    pub url: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Recorder {
    pub fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    pub fn start_on(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                let mut state = shared.0.lock().unwrap();
                state.connections += 1;
                state.streams.extend(stream.try_clone());
                drop(state);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { url, state }
    }

    /// Speaks TLS with this certificate.
    pub fn start_tls(tls: Arc<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (Arc::clone(&shared), Arc::clone(&tls));
                shared.0.lock().unwrap().connections += 1;
                std::thread::spawn(move || {
                    let connection = rustls::ServerConnection::new(tls).expect("a configuration");
                    serve(rustls::StreamOwned::new(connection, stream), &shared);
                });
            }
        });
        let url = format!("https://localhost:{port}");
        Self { url, state }
    }

    /// Answers the next requests for traces like this, then with 200.
    pub fn answer_traces(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.0.lock().unwrap().traces.extend(replies);
    }

    /// Answers the next requests for anything else like this, then with 200.
    pub fn answer_others(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.0.lock().unwrap().others.extend(replies);
    }

    /// Answers as the rule says, if it says anything. The rule may take its time.
    pub fn answer_by(&self, rule: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) {
        self.state.0.lock().unwrap().rule = Some(Arc::new(rule));
    }

    /// Answers nothing until it is released.
    pub fn hold(&self) {
        self.state.0.lock().unwrap().held = true;
    }

    pub fn release(&self) {
        self.state.0.lock().unwrap().held = false;
        self.state.1.notify_all();
    }

    pub fn connections(&self) -> usize {
        self.state.0.lock().unwrap().connections
    }

    /// Closes all connections, as a server does with those that are idle.
    pub fn hang_up(&self) {
        for stream in self.state.0.lock().unwrap().streams.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// The spans of each request for traces.
    pub fn batches(&self) -> Vec<usize> {
        let spans = |request: &Request| {
            let resources = request.traces().resource_spans.into_iter();
            resources
                .flat_map(|resource| resource.scope_spans)
                .map(|scope| scope.spans.len())
                .sum()
        };
        self.requests()
            .iter()
            .filter(|request| request.path == TRACES)
            .map(spans)
            .collect()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.0.lock().unwrap().requests.clone()
    }

    pub fn requests_to(&self, path: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.path == path);
        requests
    }

    /// Waits until what was recorded satisfies `done`.
    pub fn wait(&self, what: &str, done: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let deadline = Instant::now() + PATIENCE;
        let (state, changed) = &*self.state;
        let mut guard = state.lock().unwrap();
        while !done(&guard.requests) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited in vain for {what}; recorded: {:#?}",
                guard.requests
            );
            guard = changed.wait_timeout(guard, left).unwrap().0;
        }
        guard.requests.clone()
    }

    /// All spans that arrived as protobuf, oldest request first.
    pub fn spans(&self) -> Vec<Span> {
        self.requests()
            .iter()
            .filter(|request| request.path.ends_with("/traces"))
            .flat_map(|request| request.traces().resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect()
    }

    /// The one span of this name.
    pub fn span(&self, name: &str) -> Span {
        let mut spans = self.spans();
        let names: Vec<String> = spans.iter().map(|span| span.name.clone()).collect();
        spans.retain(|span| span.name == name);
        assert_eq!(spans.len(), 1, "spans named {name} among {names:?}");
        spans.remove(0)
    }
}

/// An attribute of a span, as text.
pub fn attribute(span: &Span, key: &str) -> Option<String> {
    let mut found = span
        .attributes
        .iter()
        .filter(|attribute| attribute.key == key);
    let value = found.next()?.value.as_ref();
    assert!(found.next().is_none(), "{key} is there twice");
    Some(text(value?))
}

/// A value with its type, as text.
pub fn text(value: &AnyValue) -> String {
    match value.value.as_ref() {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::BoolValue(value)) => value.to_string(),
        Some(any_value::Value::IntValue(value)) => value.to_string(),
        Some(any_value::Value::DoubleValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn serve(stream: impl Read + Write, shared: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let reply = {
            let mut state = shared.0.lock().unwrap();
            let traces = request.path.ends_with("/traces");
            let reply = if traces {
                state.traces.pop_front()
            } else {
                state.others.pop_front()
            };
            state.requests.push(request.clone());
            shared.1.notify_all();
            while state.held {
                state = shared.1.wait(state).unwrap();
            }
            let rule = state.rule.clone();
            drop(state);
            let ruled = rule.and_then(|rule| rule(&request));
            ruled.or(reply).unwrap_or_else(|| Reply::status(200))
        };
        let mut head = format!(
            "HTTP/1.1 {} Told\r\ncontent-length: {}\r\n",
            reply.status,
            reply.body.len()
        );
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let writer = reader.get_mut();
        let sent = writer
            .write_all(head.as_bytes())
            .and_then(|()| writer.write_all(&reply.body))
            .and_then(|()| writer.flush());
        if sent.is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<impl Read>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}
