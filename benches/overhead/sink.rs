//! The endpoint: another process, which decodes what it is sent with the reference types and counts the spans. It answers
//! first: how long the reference types take is nobody's flush.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

/// A sink in a process of its own, which ends with this value.
pub(crate) struct Sink {
    child: Child,
    pub(crate) url: String,
}

/// What a sink has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) spans: u64,
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
}

impl std::ops::Sub for Seen {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            spans: self.spans - before.spans,
            bytes: self.bytes - before.bytes,
            requests: self.requests - before.requests,
        }
    }
}

impl Sink {
    /// One that answers at once.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One that takes so many milliseconds for an answer.
    pub(crate) fn slow(milliseconds: u64) -> Self {
        Self::with(&[&milliseconds.to_string()])
    }

    /// One that takes everything and never answers.
    pub(crate) fn silent() -> Self {
        Self::with(&["silent"])
    }

    fn with(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("sink")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a sink");
        let mut url = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output)
            .read_line(&mut url)
            .expect("an address");
        let url = url.trim().to_owned();
        Self { child, url }
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> Seen {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the sink");
        stream
            .write_all(b"GET /count HTTP/1.1\r\nconnection: close\r\n\r\n")
            .expect("a question");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, counts) = answer.split_once("\r\n\r\n").expect("a body");
        let counts: Vec<u64> = counts
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [spans, bytes, requests] = counts[..] else {
            panic!("three numbers, not {answer:?}");
        };
        Seen {
            spans,
            bytes,
            requests,
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Counts {
    spans: AtomicU64,
    bytes: AtomicU64,
    requests: AtomicU64,
    /// Bodies that were answered and are not decoded yet.
    waiting: AtomicU64,
}

/// A body, and whether it is one of Sentry's.
type Body = (Vec<u8>, bool);

/// The program of a sink.
pub(crate) fn serve(arguments: &[&str]) {
    let silent = arguments == ["silent"];
    let delay = arguments.first().and_then(|delay| delay.parse().ok());
    let delay = delay.map(Duration::from_millis);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("http://{}", listener.local_addr().expect("an address"));
    let counts = Arc::new(Counts::default());
    let (decoder, bodies) = mpsc::channel::<Body>();
    let decoded = Arc::clone(&counts);
    std::thread::spawn(move || {
        for (body, is_sentry) in bodies {
            let spans = if is_sentry {
                sentry_spans(&body)
            } else {
                spans(&body)
            };
            decoded.spans.fetch_add(spans, Relaxed);
            decoded.bytes.fetch_add(body.len() as u64, Relaxed);
            decoded.requests.fetch_add(1, Relaxed);
            decoded.waiting.fetch_sub(1, Release);
        }
    });
    for stream in listener.incoming().flatten() {
        let (counts, decoder) = (Arc::clone(&counts), decoder.clone());
        std::thread::spawn(move || connection(&stream, &counts, &decoder, silent, delay));
    }
}

fn connection(
    stream: &TcpStream,
    counts: &Counts,
    decoder: &mpsc::Sender<Body>,
    silent: bool,
    delay: Option<Duration>,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let mut writer = stream;
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if path.is_empty() {
                path.clone_from(&line);
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        if path.contains("/count") {
            while counts.waiting.load(Acquire) > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let text = format!(
                "{} {} {}",
                counts.spans.load(Relaxed),
                counts.bytes.load(Relaxed),
                counts.requests.load(Relaxed)
            );
            answer(&mut writer, &text).ok()?;
            // A question about the counts ends with its answer.
            return None;
        }
        if silent {
            continue;
        }
        let is_sentry = path.contains("/envelope");
        if is_sentry || path.contains("/traces") {
            if let Some(delay) = delay {
                std::thread::sleep(delay);
            }
            counts.waiting.fetch_add(1, Relaxed);
            decoder.send((body, is_sentry)).ok()?;
        }
        answer(&mut writer, "").ok()?;
    }
}

fn answer(writer: &mut impl std::io::Write, text: &str) -> std::io::Result<()> {
    let length = text.len();
    writer
        .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}").as_bytes())
}

fn spans(body: &[u8]) -> u64 {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let scopes = request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len() as u64).sum()
}

/// Sentry's envelopes: a line of JSON, then for each item such a line and its payload.
fn sentry_spans(body: &[u8]) -> u64 {
    fn line(rest: &mut &[u8]) -> Option<serde_json::Value> {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        *rest = after.get(1..).unwrap_or_default();
        serde_json::from_slice(line).ok()
    }
    let (mut rest, mut spans) = (body, 0);
    let _ = line(&mut rest);
    while let Some(header) = line(&mut rest) {
        let length = header["length"].as_u64().unwrap_or(rest.len() as u64) as usize;
        let payload = rest.get(..length).expect("a whole item");
        rest = rest.get(length + 1..).unwrap_or_default();
        if header["type"] == "transaction" {
            let transaction: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
            spans += 1 + transaction["spans"].as_array().map_or(0, Vec::len) as u64;
        }
    }
    spans
}
