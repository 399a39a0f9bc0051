//! The local server: takes the platform's place on a developer's machine, keeps what it is sent in SQLite and shows it.
//!
//! ```
//! use honeyhive::server::Server;
//!
//! # fn main() -> Result<(), honeyhive::Error> {
//! let server = Server::builder().port(0).start()?;
//! println!("send spans to {} and look at them there", server.url());
//! assert!(server.sessions()?.is_empty());
//! server.shutdown()?;
//! # Ok(())
//! # }
//! ```
//!
//! It takes OTLP over HTTP, protobuf or JSON, at `/opentelemetry/v1/traces` and `/v1/traces`, and answers the platform's
//! REST API, whose official Python client cannot tell the difference: see [`docs::server`](crate::docs::server). Spans of
//! other SDKs show up too. It listens on loopback only, unless told otherwise, and asks for no key, unless
//! [`require_key`](Builder::require_key) says so. The command `hh dev` (feature `cli`) is the same server in a process of
//! its own.
//!
//! Attributes become fields of events as the platform has them: HoneyHive's own, those of the OpenTelemetry GenAI
//! conventions (current and older), of OpenInference and of Traceloop, and what rig, adk-rust, langchain-rust, swiftide and
//! others name in their own way. Where two say the same, HoneyHive's own wins, then GenAI, OpenInference, Traceloop, older
//! GenAI, a framework's own, and last what only says input and output. An attribute that nobody knows is kept in the
//! metadata under its name. Credentials among recorded headers are redacted.
//!
//! Knows the wire format and the attribute names; never the layer, the configuration or the client.

mod filter;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[cfg_attr(test, allow(unreachable_pub, reason = "public for fuzzing alone"))]
pub mod fuzzing;
mod http;
mod ingest;
mod live;
mod losses;
mod mapping;
mod pages;
mod raw;
mod rest;
mod runs;
mod store;
mod types;

pub use types::{Event, Session};

use crate::Error;
use crate::sync::lock;
use live::Live;
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use store::{Fault, Filter, Reader, Sort, SortBy, Store};
use tokio::sync::watch;

/// How long answers that are being given may take once the server stops.
const LEAVE: Duration = Duration::from_millis(300);

/// What every request handler sees.
struct App {
    store: Store,
    live: Live,
    losses: losses::Losses,
    hosts: http::Hosts,
    keys: http::Keys,
    url: String,
    /// Turns true when the server stops: pages that listen for changes let go then.
    stopping: watch::Receiver<bool>,
}

impl App {
    /// Runs a query beside the threads that serve.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Store) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, http::Problem> {
        let store = self.store.clone();
        let answer = tokio::task::spawn_blocking(move || query(&store)).await;
        match answer {
            Ok(answer) => answer.map_err(|error| http::Problem::query(&error)),
            Err(_) => Err(http::Problem::broken("a query failed")),
        }
    }

    /// The same, for queries that may find that something is not there.
    async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Reader<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, http::Problem> {
        let store = self.store.clone();
        let answer = tokio::task::spawn_blocking(move || store.read(query)).await;
        match answer {
            Ok(answer) => answer.map_err(http::Problem::from),
            Err(_) => Err(http::Problem::broken("a query failed")),
        }
    }

    /// Changes something; when this returns, it is on disk.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, http::Problem> {
        let answer = self.store.change(work).await;
        Ok(answer.map_err(http::Problem::store)??)
    }
}

/// A running local server. It stops when it is dropped.
///
/// It runs on threads of its own and can be started, asked and dropped in synchronous and asynchronous code alike. What
/// its own libraries log never reaches the program's subscriber.
pub struct Server {
    address: SocketAddr,
    url: String,
    path: PathBuf,
    store: Store,
    stop: watch::Sender<bool>,
    stopped: Mutex<mpsc::Receiver<()>>,
}

/// How a [`Server`] is started.
///
/// ```
/// # fn main() -> Result<(), honeyhive::Error> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("traces.db");
/// let server = honeyhive::server::Server::builder()
///     .port(0) // any free one
///     .database(path)
///     .start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Builder {
    host: String,
    port: u16,
    database: Option<PathBuf>,
    allowed: Vec<String>,
    key: Option<String>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("allowed", &self.allowed)
            .field("key", &self.key.as_ref().map(|_| "***"))
            .finish()
    }
}

impl Builder {
    /// The host to listen on unless told otherwise.
    pub const DEFAULT_HOST: &'static str = "127.0.0.1";
    /// The port to listen on unless told otherwise: that of OTLP over HTTP.
    pub const DEFAULT_PORT: u16 = 4318;

    /// Listens on this host; [`DEFAULT_HOST`](Self::DEFAULT_HOST) otherwise. Anyone who reaches a host beyond loopback
    /// can read and write everything, unless [`require_key`](Self::require_key) asks for a key.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Listens on this port, `0` for any free one; [`DEFAULT_PORT`](Self::DEFAULT_PORT) otherwise.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Answers requests to this name too, as that of a container or of a machine on one's own network. May be called
    /// several times; letters of either case are the same, and a port after the name counts for nothing.
    ///
    /// Unless a name is allowed, the server answers to `localhost`, to addresses that lead to it and to the name it was
    /// told to listen on. All others are refused: a page of the web could have a name of its own lead here, and read
    /// everything under it. Allow only names that others cannot make theirs.
    ///
    /// ```
    /// # fn main() -> Result<(), honeyhive::Error> {
    /// // In a container called `hh`, for programs in others that send to http://hh:4318.
    /// let server = honeyhive::server::Server::builder()
    ///     .port(0)
    ///     .allow_host("hh")
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.allowed.push(name.into());
        self
    }

    /// Answers only to requests that bring this key: programs as `Authorization: Bearer <key>`, which is what an API key
    /// becomes, browsers as the password that they ask for, with any name. All others get the status 401. An empty key
    /// asks for none, which is the default.
    ///
    /// ```
    /// # fn main() -> Result<(), honeyhive::Error> {
    /// let server = honeyhive::server::Server::builder()
    ///     .port(0)
    ///     .require_key("hh_shared_with_the_team")
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn require_key(mut self, key: impl Into<String>) -> Self {
        let key: String = key.into();
        self.key = Some(key.trim().to_owned()).filter(|key| !key.is_empty());
        self
    }

    /// Keeps everything in this file, made if it is not there. Otherwise it is kept in a temporary one, which goes when
    /// the server stops.
    pub fn database(mut self, path: impl Into<PathBuf>) -> Self {
        self.database = Some(path.into());
        self
    }

    /// Starts the server. When this returns, it answers.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on, or the database cannot be used: [`Error::is_io`].
    pub fn start(self) -> Result<Server, Error> {
        let listener = self.listen()?;
        let refused = |error| Error::io("the server's socket failed").with_source(error);
        let address = listener.local_addr().map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let temporary = self.database.is_none();
        let path = match self.database {
            Some(path) => path,
            None => std::env::temp_dir().join(format!("honeyhive-{}.db", uuid::Uuid::new_v4())),
        };
        create_private(&path)?;
        let live = Live::default();
        let told = live.clone();
        let store = Store::open(&path, temporary, move |changed| told.tell(changed))?;
        let url = url(address);
        let (stop, stopping) = watch::channel(false);
        let app = Arc::new(App {
            store: store.clone(),
            live,
            losses: losses::Losses::default(),
            hosts: http::Hosts::new(&self.host, address.ip(), &self.allowed),
            keys: http::Keys::new(self.key),
            url: url.clone(),
            stopping: stopping.clone(),
        });
        let (done, stopped) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let thread_store = store.clone();
        let thread = std::thread::Builder::new()
            .name("honeyhive-server".to_owned())
            .spawn(move || {
                crate::log::rebuild_interest();
                quietly();
                let outcome = serve(listener, app, stopping, &ready);
                if let Err(error) = outcome {
                    // The starter hears of it, unless it has gone.
                    let _ = ready.send(Err(error));
                }
                thread_store.close();
                let _ = done.send(());
            });
        if let Err(error) = thread {
            store.close();
            return Err(Error::io("the server's thread cannot be started").with_source(error));
        }
        match started.recv() {
            Ok(Ok(())) => Ok(Server {
                address,
                url,
                path,
                store,
                stop,
                stopped: Mutex::new(stopped),
            }),
            Ok(Err(error)) => Err(Error::io("the server cannot be started").with_source(error)),
            Err(_) => Err(Error::io("the server cannot be started")),
        }
    }

    fn listen(&self) -> Result<TcpListener, Error> {
        let shown = format!("{}:{}", self.host, self.port);
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let addresses = (host, self.port).to_socket_addrs().map_err(|error| {
            Error::io(format!("{:?} is not a host to listen on", self.host)).with_source(error)
        })?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        TcpListener::bind(addresses.as_slice()).map_err(|error| {
            let message = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    format!("{shown} is in use by another program; choose another port")
                }
                std::io::ErrorKind::PermissionDenied => {
                    format!("listening on {shown} is not permitted; choose a port above 1023")
                }
                std::io::ErrorKind::AddrNotAvailable => {
                    format!("{shown} is not an address of this machine")
                }
                _ => format!("cannot listen on {shown}"),
            };
            Error::io(message).with_source(error)
        })
    }
}

impl Server {
    /// A server on loopback, port 4318, with a temporary database, unless the builder is told otherwise.
    pub fn builder() -> Builder {
        Builder {
            host: Builder::DEFAULT_HOST.to_owned(),
            port: Builder::DEFAULT_PORT,
            database: None,
            allowed: Vec::new(),
            key: None,
        }
    }

    /// Its address: what `HH_API_URL` is set to, and what a browser opens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The socket address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The page of a session.
    #[must_use]
    pub fn session_url(&self, session_id: &str) -> String {
        format!("{}/sessions/{}", self.url, pages::encoded(session_id))
    }

    /// The file that holds everything.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.path
    }

    /// All sessions, the newest first.
    ///
    /// # Errors
    ///
    /// If the database cannot be read: [`Error::is_io`].
    pub fn sessions(&self) -> Result<Vec<Session>, Error> {
        let newest = Sort {
            by: SortBy::Started,
            ascending: false,
        };
        self.query(|reader| {
            let (rows, _) = reader.sessions(&Filter::default(), newest, 0, u64::MAX - 1)?;
            rows.into_iter()
                .map(|row| reader.whole_session(row))
                .collect()
        })
    }

    /// One session, if it is there.
    ///
    /// # Errors
    ///
    /// If the database cannot be read: [`Error::is_io`].
    pub fn session(&self, session_id: &str) -> Result<Option<Session>, Error> {
        self.query(|reader| match reader.session(session_id)? {
            Some(row) => reader.whole_session(row).map(Some),
            None => Ok(None),
        })
    }

    /// The events of a session in the order in which they began; none if there is no such session.
    ///
    /// # Errors
    ///
    /// If the database cannot be read: [`Error::is_io`].
    pub fn events(&self, session_id: &str) -> Result<Vec<Event>, Error> {
        self.query(|reader| match reader.session(session_id)? {
            Some(row) => reader.events(row.id),
            None => Ok(Vec::new()),
        })
    }

    fn query<T>(&self, query: impl FnOnce(&Reader<'_>) -> rusqlite::Result<T>) -> Result<T, Error> {
        self.store
            .read(query)
            .map_err(|error| Error::io("the database cannot be read").with_source(error))
    }

    /// Stops it: open connections are closed, the database too, and a temporary one is removed.
    ///
    /// # Errors
    ///
    /// If it does not stop within five seconds: [`Error::is_timeout`].
    pub fn shutdown(self) -> Result<(), Error> {
        self.leave(Duration::from_secs(5)).ok_or_else(|| {
            Error::new(
                crate::error::Kind::Timeout,
                "the server did not stop within five seconds",
            )
        })
    }

    fn leave(&self, patience: Duration) -> Option<()> {
        // An error means that the server's thread has ended already.
        let _ = self.stop.send(true);
        match lock(&self.stopped).recv_timeout(patience) {
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => Some(()),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Long enough for a temporary database to be gone in all ordinary cases; what was answered is on disk anyway.
        self.leave(Duration::from_secs(1));
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url)
            .field("database", &self.path)
            .finish_non_exhaustive()
    }
}

fn url(address: SocketAddr) -> String {
    // "Any address" is none to call; loopback is one of those it stands for.
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("http://{host}:{}", address.port())
}

/// Makes the file, readable by its owner only, before SQLite makes it readable by everybody.
fn create_private(path: &Path) -> Result<(), Error> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|error| {
        let shown = path.display();
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => format!("the folder of {shown} is not there"),
            std::io::ErrorKind::PermissionDenied => {
                format!("{shown} cannot be written: permission denied")
            }
            _ => format!("the database {shown} cannot be opened"),
        };
        Error::io(message).with_source(error)
    })
}

/// Keeps everything that this thread logs from the program's subscriber.
fn quietly() {
    thread_local! {
        static QUIET: tracing::dispatcher::DefaultGuard = crate::log::quiet();
    }
    QUIET.with(|_| ());
}

fn serve(
    listener: TcpListener,
    app: Arc<App>,
    mut stopping: watch::Receiver<bool>,
    ready: &mpsc::Sender<std::io::Result<()>>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("honeyhive-server-work")
        .on_thread_start(quietly)
        .max_blocking_threads(8)
        .thread_keep_alive(Duration::from_secs(5))
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut stop = stopping.clone();
        let served = axum::serve(listener, http::router(app)).with_graceful_shutdown(async move {
            // An error means that the handle is gone: the same as being told to stop.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let _ = ready.send(Ok(()));
        let deadline = async move {
            let _ = stopping.wait_for(|stop| *stop).await;
            tokio::time::sleep(LEAVE).await;
        };
        tokio::select! {
            outcome = served => outcome,
            () = deadline => Ok(()),
        }
    })?;
    runtime.shutdown_timeout(LEAVE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_can_be_shared_and_sent() {
        fn fits<T: Send + Sync + 'static>() {}
        fits::<Server>();
        fits::<Builder>();
        fits::<Session>();
        fits::<Event>();
    }

    #[test]
    fn addresses_lead_to_a_host_that_can_be_called() {
        let of = |address: &str| url(address.parse().unwrap());
        assert_eq!(of("127.0.0.1:1"), "http://127.0.0.1:1");
        assert_eq!(of("0.0.0.0:2"), "http://127.0.0.1:2");
        assert_eq!(of("[::]:3"), "http://[::1]:3");
        assert_eq!(of("[fe80::1]:4"), "http://[fe80::1]:4");
    }
}
