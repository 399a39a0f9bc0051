//! A server that misbehaves as it is told, one act per connection; then it answers 200.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to a connection.
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
}

pub struct Fault {
    pub url: String,
    pub port: u16,
    connections: Arc<AtomicUsize>,
}

impl Fault {
    /// The acts for the connections to come, then `last` for all others.
    pub fn start(acts: impl IntoIterator<Item = Act>, last: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let mut acts = acts.into_iter().collect::<Vec<_>>().into_iter();
        std::thread::spawn(move || {
            let silent = Arc::new(Mutex::new(Vec::new()));
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let act = acts.next().unwrap_or_else(|| last.clone());
                let silent = Arc::clone(&silent);
                std::thread::spawn(move || perform(&act, stream, &silent));
            }
        });
        Self {
            url: format!("http://127.0.0.1:{port}"),
            port,
            connections,
        }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn perform(act: &Act, mut stream: TcpStream, silent: &Mutex<Vec<TcpStream>>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    match act {
        Act::Silence => silent.lock().unwrap().push(stream),
        Act::Reset => {
            // What was not read makes the kernel answer with a reset.
            let _ = stream.read(&mut [0; 16]);
        }
        Act::Raw(bytes) | Act::RawThenSilence(bytes) => {
            let Ok(reading) = stream.try_clone() else {
                return;
            };
            if super::read(&mut BufReader::new(reading)).is_some() {
                let _ = stream.write_all(bytes);
            }
            if matches!(act, Act::RawThenSilence(_)) {
                silent.lock().unwrap().push(stream);
            }
        }
    }
}
