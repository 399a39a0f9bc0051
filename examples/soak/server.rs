//! A server that misbehaves at random, in a process of its own: what it holds is not what is measured.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use crate::random::Random;

/// The server, seen from the process that is measured.
pub struct Child {
    process: std::process::Child,
    pub urls: Vec<String>,
}

/// What the server did.
#[derive(Debug, Default)]
pub struct Counts {
    /// Spans that were answered with 200.
    pub accepted: u64,
    /// Spans that were answered with 400.
    pub rejected: u64,
    pub requests: u64,
    pub faults: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} spans taken, {} refused, in {} requests with {} faults",
            self.accepted, self.rejected, self.requests, self.faults
        )
    }
}

impl Child {
    pub fn start(faults: f64, seed: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .env("SOAK_SERVER", format!("{faults} {seed}"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("its addresses");
        let urls = line.split_whitespace().map(str::to_owned).collect();
        Self { process, urls }
    }

    pub fn counts(&self) -> Counts {
        let address = self.urls[0].trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the server");
        stream
            .write_all(b"GET /counts HTTP/1.1\r\nconnection: close\r\n\r\n")
            .expect("a question");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.rsplit("\r\n").next().unwrap_or_default();
        let mut numbers = body.split_whitespace().map_while(|word| word.parse().ok());
        let mut next = || numbers.next().unwrap_or(0);
        Counts {
            accepted: next(),
            rejected: next(),
            requests: next(),
            faults: next(),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What befalls a request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Reset,
    Late,
    Refused,
    TooLarge,
    Busy,
    Unavailable,
    Torn,
    Silent,
}

const FAULTS: [Fault; 8] = [
    Fault::Reset,
    Fault::Late,
    Fault::Refused,
    Fault::TooLarge,
    Fault::Busy,
    Fault::Unavailable,
    Fault::Torn,
    Fault::Silent,
];

struct Shared {
    faults: f64,
    random: Mutex<Random>,
    accepted: AtomicU64,
    rejected: AtomicU64,
    requests: AtomicU64,
    faulted: AtomicU64,
}

impl Shared {
    fn fault(&self) -> Option<Fault> {
        let mut random = self.random.lock().expect("no panics here");
        if !random.chance(self.faults) {
            return None;
        }
        self.faulted.fetch_add(1, Ordering::Relaxed);
        Some(FAULTS[random.below(FAULTS.len() as u64) as usize])
    }
}

/// Serves until the process is killed; `settings` are the share of faults and a seed.
pub fn run(settings: &str) {
    let mut words = settings.split_whitespace();
    let faults = words.next().and_then(|word| word.parse().ok());
    let seed = words.next().and_then(|word| word.parse().ok());
    let shared = Arc::new(Shared {
        faults: faults.unwrap_or(0.0),
        random: Mutex::new(Random::new(seed.unwrap_or(1))),
        accepted: AtomicU64::new(0),
        rejected: AtomicU64::new(0),
        requests: AtomicU64::new(0),
        faulted: AtomicU64::new(0),
    });
    let listeners: Vec<TcpListener> = (0..2)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
        .collect();
    for listener in &listeners {
        print!("http://{} ", listener.local_addr().expect("an address"));
    }
    println!();
    std::thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| {
                for stream in listener.incoming().flatten() {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || serve(stream, &shared));
                }
            });
        }
    });
}

/// Answers the requests of a connection until one of them goes wrong.
fn serve(stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (path, body) = read(&mut reader)?;
        if path == "/counts" {
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let text = format!(
                "{} {} {} {}",
                count(&shared.accepted),
                count(&shared.rejected),
                count(&shared.requests),
                count(&shared.faulted)
            );
            answer(&mut writer, "200 OK", "", &text)?;
            return None;
        }
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let spans = if path.ends_with("/traces") {
            count(&body)
        } else {
            0
        };
        let mut accept = || {
            // Before it is said: whoever hears it may ask for the count at once.
            shared.accepted.fetch_add(spans, Ordering::Relaxed);
            answer(&mut writer, "200 OK", "", "{}")
        };
        match shared.fault() {
            None => accept()?,
            Some(Fault::Late) => {
                std::thread::sleep(Duration::from_millis(300));
                accept()?;
            }
            Some(Fault::Refused) => {
                shared.rejected.fetch_add(spans, Ordering::Relaxed);
                answer(&mut writer, "400 Bad Request", "", "no")?;
            }
            Some(Fault::TooLarge) => answer(&mut writer, "413 Content Too Large", "", "")?,
            Some(Fault::Busy) => {
                answer(
                    &mut writer,
                    "429 Too Many Requests",
                    "retry-after: 1\r\n",
                    "",
                )?;
            }
            Some(Fault::Unavailable) => answer(&mut writer, "503 Service Unavailable", "", "")?,
            Some(Fault::Torn) => {
                // The head is what counts, however the body ends.
                shared.accepted.fetch_add(spans, Ordering::Relaxed);
                let torn = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
                writer.write_all(torn).ok()?;
                return None;
            }
            Some(Fault::Reset) => {
                writer.shutdown(Shutdown::Both).ok()?;
                return None;
            }
            Some(Fault::Silent) => {
                // Until the other side gives up.
                let _ = reader.read(&mut [0]);
                return None;
            }
        }
    }
}

fn answer(writer: &mut TcpStream, status: &str, headers: &str, body: &str) -> Option<()> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    writer.write_all(text.as_bytes()).ok()
}

/// A request: its path, and its body as it was before it was compressed.
fn read(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let (mut length, mut compressed) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        compressed |= line == "content-encoding: gzip";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if compressed {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(body.as_slice())
            .read_to_end(&mut plain)
            .ok()?;
        body = plain;
    }
    Some((path, body))
}

/// How many spans a body has.
fn count(body: &[u8]) -> u64 {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let scopes = request.resource_spans.iter().flat_map(|it| &it.scope_spans);
    scopes.map(|scope| scope.spans.len() as u64).sum()
}
