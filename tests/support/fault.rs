//! A server that misbehaves as it is told, one act per connection or per request; and what it takes to see the harm.

pub mod tls;

use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use honeyhive::HoneyHive;
use tracing_subscriber::prelude::*;

/// An answer that leaves the connection open.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What happens to a connection, or to a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// It is accepted, and never answered.
    Silence,
    /// It is reset in the middle of the request.
    Reset,
    /// The request is read, and answered with these bytes; then the connection is closed.
    Raw(&'static [u8]),
    /// As `Raw`, and nothing more comes, nor does it close.
    RawThenSilence(&'static [u8]),
    /// The request is read and answered, and the connection serves the next one.
    Keep(&'static [u8]),
    /// The head of the request is read, the answer begins with these bytes, and the connection is reset.
    ResetAfter(&'static [u8]),
    /// The request is read, and answered with a part at once and a part byte by byte, with a pause before each.
    Drip(&'static [u8], &'static [u8], Duration),
    /// The request is read, the answer begins with these bytes, and goes on without end.
    Endless(&'static [u8]),
    /// Whatever comes first is answered with these bytes, whether it is HTTP or not; then the connection is closed.
    Blurt(&'static [u8]),
}

type Script = Arc<dyn Fn(&super::Request) -> Act + Send + Sync>;

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// Bytes written by `Endless`.
    poured: AtomicU64,
    requests: Mutex<Vec<super::Request>>,
    /// What `Blurt` was told.
    heard: Mutex<Vec<u8>>,
    /// Connections that are kept open and not spoken to.
    silent: Mutex<Vec<TcpStream>>,
}

pub struct Fault {
    pub url: String,
    pub port: u16,
    seen: Arc<Seen>,
}

impl Fault {
    /// The acts for the connections to come, then `last` for all others.
    pub fn start(acts: impl IntoIterator<Item = Act>, last: Act) -> Self {
        let mut acts = acts.into_iter().collect::<Vec<_>>().into_iter();
        Self::serve(move |stream, seen| {
            let act = acts.next().unwrap_or_else(|| last.clone());
            std::thread::spawn(move || {
                let again = perform(&act, stream, &seen);
                if let Some(stream) = again {
                    follow(stream, &|_| act.clone(), &seen);
                }
            });
        })
    }

    /// Does with each request what the script says; the acts that do without a request are not for it.
    pub fn script(script: impl Fn(&super::Request) -> Act + Send + Sync + 'static) -> Self {
        let script: Script = Arc::new(script);
        Self::serve(move |stream, seen| {
            let script = Arc::clone(&script);
            std::thread::spawn(move || follow(stream, &*script, &seen));
        })
    }

    fn serve(mut take: impl FnMut(TcpStream, Arc<Seen>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                take(stream, Arc::clone(&shared));
            }
        });
        Self {
            url: format!("http://127.0.0.1:{port}"),
            port,
            seen,
        }
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The requests that were read to their end.
    pub fn requests(&self) -> Vec<super::Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub fn requests_to(&self, path: &str) -> Vec<super::Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.path == path);
        requests
    }

    pub fn poured(&self) -> u64 {
        self.seen.poured.load(Ordering::SeqCst)
    }

    pub fn heard(&self) -> Vec<u8> {
        self.seen.heard.lock().unwrap().clone()
    }
}

/// Reads one request after the other and does what the script says.
fn follow(stream: TcpStream, script: &dyn Fn(&super::Request) -> Act, seen: &Seen) {
    let Ok(reading) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(reading);
    let mut stream = stream;
    while let Some(request) = super::read(&mut reader) {
        let act = script(&request);
        seen.requests.lock().unwrap().push(request);
        match answer(&act, stream, seen) {
            Some(open) => stream = open,
            None => return,
        }
    }
}

/// What happens to a fresh connection; it is handed back when it serves more requests.
fn perform(act: &Act, mut stream: TcpStream, seen: &Seen) -> Option<TcpStream> {
    match act {
        Act::Silence => seen.silent.lock().unwrap().push(stream),
        Act::Reset => {
            // What was not read makes the kernel answer with a reset.
            let _ = stream.read(&mut [0; 16]);
        }
        Act::Blurt(bytes) => {
            let mut told = [0; 4096];
            let length = stream.read(&mut told).unwrap_or(0);
            seen.heard
                .lock()
                .unwrap()
                .extend_from_slice(&told[..length]);
            let _ = stream.write_all(bytes);
        }
        Act::ResetAfter(bytes) => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => return None,
                }
            }
            let _ = stream.write_all(bytes);
        }
        Act::Raw(_) | Act::RawThenSilence(_) | Act::Keep(_) | Act::Drip(..) | Act::Endless(_) => {
            let reading = stream.try_clone().ok()?;
            let request = super::read(&mut BufReader::new(reading));
            seen.requests.lock().unwrap().extend(Some(request?));
            return answer(act, stream, seen);
        }
    }
    None
}

/// Answers a request; the connection is handed back when it serves more of them.
fn answer(act: &Act, mut stream: TcpStream, seen: &Seen) -> Option<TcpStream> {
    match act {
        Act::Silence => seen.silent.lock().unwrap().push(stream),
        Act::Keep(bytes) => return stream.write_all(bytes).ok().map(|()| stream),
        Act::Raw(bytes) => {
            let _ = stream.write_all(bytes);
        }
        Act::RawThenSilence(bytes) => {
            let _ = stream.write_all(bytes);
            seen.silent.lock().unwrap().push(stream);
        }
        Act::Drip(at_once, slowly, pause) => {
            let _ = stream.write_all(at_once);
            for byte in *slowly {
                std::thread::sleep(*pause);
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
            }
            seen.silent.lock().unwrap().push(stream);
        }
        Act::Endless(head) => {
            let _ = stream.set_write_timeout(Some(Duration::from_secs(20)));
            let part = [b'x'; 16 * 1024];
            let mut sent = stream.write_all(head);
            while sent.is_ok() {
                sent = stream.write_all(&part);
                let more = if sent.is_ok() { part.len() as u64 } else { 0 };
                seen.poured.fetch_add(more, Ordering::SeqCst);
            }
        }
        Act::Reset | Act::ResetAfter(_) | Act::Blurt(_) => unreachable!("needs no request"),
    }
    None
}

/// A port whose connections are never accepted by the kernel either: what is sent to open one is swallowed.
pub struct Swallow {
    pub url: String,
    _held: Vec<TcpStream>,
    _listener: tokio::net::TcpListener,
    _runtime: tokio::runtime::Runtime,
}

impl Swallow {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        drop(entered);
        let address = listener.local_addr().unwrap();
        // Once as many wait to be accepted as may, the kernel answers no more.
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            held.push(stream);
            assert!(held.len() < 64, "the backlog has no end");
        }
        Self {
            url: format!("http://{address}"),
            _held: held,
            _listener: listener,
            _runtime: runtime,
        }
    }
}

/// Whether there is time for tests in their full length; otherwise they are scaled down as they say.
pub fn in_full() -> bool {
    std::env::var_os("HONEYHIVE_LONG_TESTS").is_some()
}

/// What is said through a subscriber.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// A subscriber with the layer of the instance, and one that listens.
    pub fn dispatch(&self, honeyhive: &HoneyHive) -> tracing::Dispatch {
        let heard = self.clone();
        let fmt = tracing_subscriber::fmt::layer()
            .with_writer(move || heard.clone())
            .with_ansi(false);
        let layers = tracing_subscriber::registry().with(fmt);
        tracing::Dispatch::new(layers.with(honeyhive.layer()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// In how many lines it is said.
    pub fn times(&self, part: &str) -> usize {
        self.text()
            .lines()
            .filter(|line| line.contains(part))
            .count()
    }
}

impl std::io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The time that the export thread has spent on a processor; a process with one instance has one.
#[cfg(target_os = "linux")]
pub fn export_thread_time() -> Duration {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").starts_with("honeyhive-expor") {
            let spent = read("schedstat");
            nanos += spent
                .split_whitespace()
                .next()
                .and_then(|nanos| nanos.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    Duration::from_nanos(nanos)
}

/// A line of `/proc/self/status`, as a number (kilobytes, for memory).
#[cfg(target_os = "linux")]
pub fn of_process(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect(what)
}
