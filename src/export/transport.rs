//! How requests leave the process. Knows HTTP, not what the requests mean.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};

use super::retry;
use crate::config::Config;

/// A request, ready to go.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Post,
    Put,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// At most [`MAX_REPLY`] bytes.
    pub(crate) body: Bytes,
    /// The scheme, host and port of a redirect that was not followed.
    pub(crate) location: Option<String>,
    /// It came at the second attempt, on a fresh connection.
    pub(crate) repeated: bool,
}

/// Why there was no answer, in words without secrets.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// There was not even a connection.
    pub(crate) connect: bool,
    /// Nothing came in time.
    pub(crate) silent: bool,
    /// There was a connection, and it broke.
    broken: bool,
    /// So did the second attempt, on a fresh connection.
    pub(crate) repeated: bool,
}

impl Failure {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            connect: true,
            silent: false,
            broken: false,
            repeated: false,
        }
    }

    /// The server leaves such requests unanswered.
    pub(crate) fn silent() -> Self {
        Self {
            connect: false,
            silent: true,
            ..Self::new("no answer")
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let (connect, silent) = (error.is_connect(), error.is_timeout());
        Self {
            reason: describe(&error),
            connect,
            silent,
            broken: error.is_request() && !connect && !silent,
            repeated: false,
        }
    }
}

/// Whether there was a second attempt, on a fresh connection.
pub(crate) fn is_repeated(result: &Result<Reply, Failure>) -> bool {
    match result {
        Ok(reply) => reply.repeated,
        Err(failure) => failure.repeated,
    }
}

/// How many times a request went over the wire.
pub(crate) fn times_sent(result: &Result<Reply, Failure>) -> u64 {
    let last = !result.as_ref().is_err_and(|failure| failure.connect);
    u64::from(last) + u64::from(is_repeated(result))
}

pub(crate) type Sending = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// Sends requests. The worker owns one and calls it on its own thread.
pub(crate) trait Transport: Send + Sync {
    fn send(&self, request: Request) -> Sending;
}

/// Sends, and takes a panic of the transport for a failure: what was on its way is never forgotten.
pub(crate) async fn attempt(
    transport: Arc<dyn Transport>,
    request: Request,
) -> Result<Reply, Failure> {
    let panicked = |_| Failure::new("the HTTP client panicked");
    let mut sending =
        catch_unwind(AssertUnwindSafe(|| transport.send(request))).map_err(panicked)?;
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| sending.as_mut().poll(cx)))
            .unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic))))
    })
    .await
}

/// More of a reply than this is not read.
const MAX_REPLY: usize = 4 * 1024 * 1024;
const MAX_REDIRECTS: usize = 3;

/// How connections are made and kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    pub(crate) connect_timeout: Duration,
    pub(crate) max_idle: usize,
    pub(crate) idle_timeout: Duration,
}

impl From<&Config> for Connections {
    fn from(config: &Config) -> Self {
        Self {
            connect_timeout: config.connect_timeout,
            max_idle: config.pool_max_idle,
            idle_timeout: config.pool_idle_timeout,
        }
    }
}

/// The network.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    /// Keeps no connections, so each of its own is a fresh one.
    fresh: reqwest::Client,
    /// The last request was answered, or there was none.
    answered: Arc<AtomicBool>,
}

impl Http {
    /// A client for endpoints of this scheme. Made on the worker's thread, before the first request.
    pub(crate) fn new(https: bool, connections: Connections) -> Result<Self, Failure> {
        let tls = Tls::new(https)?;
        // To the client no time means for ever.
        let keeps = !connections.idle_timeout.is_zero();
        let kept = builder(connections)
            .pool_max_idle_per_host(if keeps { connections.max_idle } else { 0 })
            .pool_idle_timeout(connections.idle_timeout);
        let unkept = builder(connections).pool_max_idle_per_host(0);
        Ok(Self {
            client: tls.clone().build(kept)?,
            fresh: tls.build(unkept)?,
            answered: Arc::new(AtomicBool::new(true)),
        })
    }
}

fn builder(connections: Connections) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(connections.connect_timeout)
        .user_agent(concat!("honeyhive-rust/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::custom(|attempt| {
            // Prompts are for the server they were meant for, and headers of the user's own may be secrets.
            let here = attempt.previous().last().map(reqwest::Url::origin);
            let elsewhere = here != Some(attempt.url().origin());
            // The others turn a POST into a GET, whose 200 would pass for a delivery.
            let keeps_method = matches!(attempt.status().as_u16(), 307 | 308);
            if elsewhere || !keeps_method || attempt.previous().len() > MAX_REDIRECTS {
                attempt.stop()
            } else {
                attempt.follow()
            }
        }))
}

/// How connections are secured.
#[derive(Clone)]
struct Tls {
    #[cfg(feature = "rustls")]
    config: rustls::ClientConfig,
}

#[cfg(feature = "rustls")]
impl Tls {
    fn new(https: bool) -> Result<Self, Failure> {
        use rustls_platform_verifier::BuilderVerifierExt as _;

        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new(error.to_string()))?;
        // The platform's certificates are looked for only where they are needed: an image without them can still
        // reach a local server.
        let config = if https {
            config.with_platform_verifier().map_err(|error| {
                Failure::new(format!(
                    "no usable certificate store (is the package ca-certificates installed?): {error}"
                ))
            })?
        } else {
            config.with_root_certificates(rustls::RootCertStore::empty())
        };
        let config = config.with_no_client_auth();
        Ok(Self { config })
    }

    fn build(self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
        Ok(builder.tls_backend_preconfigured(self.config).build()?)
    }
}

#[cfg(not(feature = "rustls"))]
impl Tls {
    fn new(https: bool) -> Result<Self, Failure> {
        if https {
            return Err(Failure::new(
                "https needs the feature `rustls` of this crate",
            ));
        }
        Ok(Self {})
    }

    #[allow(clippy::unused_self, reason = "as with the feature")]
    fn build(self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
        Ok(builder.build()?)
    }
}

/// A client made like this, secured like all others. For the REST client.
#[cfg(feature = "api")]
pub(crate) fn secured(
    builder: reqwest::ClientBuilder,
    https: bool,
) -> Result<reqwest::Client, Failure> {
    Tls::new(https)?.build(builder)
}

impl Transport for Http {
    fn send(&self, request: Request) -> Sending {
        let again = Request::clone(&request);
        let fresh = self.fresh.clone();
        let answered = Arc::clone(&self.answered);
        // While an endpoint fails, its pace says when it is tried.
        let may_repeat = answered.load(Ordering::Relaxed);
        let deadline = Instant::now().checked_add(request.timeout);
        let sending = once(&self.client, request);
        Box::pin(async move {
            let mut result = sending.await;
            if may_repeat && result.as_ref().is_err_and(|failure| failure.broken) {
                let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                let timeout = left.unwrap_or(again.timeout);
                if !timeout.is_zero() {
                    result = once(&fresh, Request { timeout, ..again }).await;
                    match &mut result {
                        Ok(reply) => reply.repeated = true,
                        Err(failure) => failure.repeated = true,
                    }
                }
            }
            answered.store(result.is_ok(), Ordering::Relaxed);
            result
        })
    }
}

fn once(
    client: &reqwest::Client,
    request: Request,
) -> impl Future<Output = Result<Reply, Failure>> + Send + use<> {
    let method = match request.method {
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
    };
    let sending = client
        .request(method, request.url)
        .headers(request.headers)
        .body(request.body)
        .timeout(request.timeout)
        .send();
    async move {
        let mut response = sending.await?;
        let status = response.status().as_u16();
        let now = Duration::from_nanos(crate::clock::unix_nanos());
        let header = |name| response.headers().get(name)?.to_str().ok();
        let retry_after = header(RETRY_AFTER).and_then(|value| retry::retry_after(value, now));
        let location = header(LOCATION)
            .filter(|_| (300..400).contains(&status))
            .and_then(|value| response.url().join(value).ok())
            .map(|url| url.origin().ascii_serialization());
        let mut body = Vec::new();
        // The status has been said; a body that breaks off or never ends does not change it.
        while let Ok(Some(part)) = response.chunk().await {
            let room = MAX_REPLY.saturating_sub(body.len());
            body.extend_from_slice(part.get(..room).unwrap_or(&part));
            if body.len() >= MAX_REPLY {
                break;
            }
        }
        Ok(Reply {
            status,
            retry_after,
            body: body.into(),
            location,
            repeated: false,
        })
    }
}

/// The error and its causes, without the URL, which may hold secrets.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "failed"
    };
    let mut text = kind.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// No network: requests are kept, and taken for delivered.
#[cfg(feature = "testing")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<std::sync::Mutex<Vec<Request>>>);

#[cfg(feature = "testing")]
impl Tape {
    /// What was sent: whether it was a PUT, where to, and the body.
    pub(crate) fn requests(&self) -> Vec<(bool, String, Bytes)> {
        let requests = crate::sync::lock(&self.0);
        requests
            .iter()
            .map(|request| {
                let put = request.method == Method::Put;
                (put, request.url.clone(), request.body.clone())
            })
            .collect()
    }
}

#[cfg(feature = "testing")]
impl Transport for Tape {
    fn send(&self, request: Request) -> Sending {
        crate::sync::lock(&self.0).push(request.clone());
        Nowhere.send(request)
    }
}

/// No network: every request is taken for delivered.
#[derive(Debug)]
pub(crate) struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: Request) -> Sending {
        Box::pin(std::future::ready(Ok(Reply {
            status: 200,
            retry_after: None,
            body: Bytes::new(),
            location: None,
            repeated: false,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics {
        when_polled: bool,
    }

    impl Transport for Panics {
        fn send(&self, _: Request) -> Sending {
            assert!(self.when_polled, "at once");
            Box::pin(async { panic!("later") })
        }
    }

    #[tokio::test]
    async fn a_panic_of_the_transport_is_a_failure() {
        for when_polled in [false, true] {
            let request = Request {
                method: Method::Post,
                url: String::new(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
                timeout: Duration::ZERO,
            };
            let failure = attempt(Arc::new(Panics { when_polled }), request).await;
            assert!(failure.unwrap_err().reason.contains("panicked"));
        }
    }
}
