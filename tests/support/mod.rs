//! A server that records what it is sent and answers as it is told. Shared by the tests; each uses a part of it.
#![allow(dead_code, reason = "every test uses another part")]

pub mod traced;

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// How long a test waits for something that will happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

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
        ExportTraceServiceRequest::decode(self.body.as_slice()).expect("an OTLP body")
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
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// Answers to the next requests for traces, and to the next other ones.
    traces: VecDeque<Reply>,
    others: VecDeque<Reply>,
}

/// The server; it ends with the process.
pub struct Recorder {
    pub url: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Recorder {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
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

fn serve(stream: TcpStream, shared: &(Mutex<State>, Condvar)) {
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
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
            state.requests.push(request);
            reply.unwrap_or_else(|| Reply::status(200))
        };
        shared.1.notify_all();
        let mut head = format!(
            "HTTP/1.1 {} Told\r\ncontent-length: {}\r\n",
            reply.status,
            reply.body.len()
        );
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let sent = writer
            .write_all(head.as_bytes())
            .and_then(|()| writer.write_all(&reply.body));
        if sent.is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
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
