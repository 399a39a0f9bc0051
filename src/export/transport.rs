//! How requests leave the process. Knows HTTP, not what the requests mean.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};

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
}

/// Why there was no answer, in words without secrets.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// There was not even a connection.
    pub(crate) connect: bool,
}

impl Failure {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            connect: true,
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self {
            reason: describe(&error),
            connect: error.is_connect(),
        }
    }
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
}

impl Http {
    /// A client for endpoints of this scheme. Made on the worker's thread, before the first request.
    pub(crate) fn new(https: bool, connections: Connections) -> Result<Self, Failure> {
        // To the client no time means for ever.
        let keeps = !connections.idle_timeout.is_zero();
        let builder = reqwest::Client::builder()
            .connect_timeout(connections.connect_timeout)
            .user_agent(concat!("honeyhive-rust/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(if keeps { connections.max_idle } else { 0 })
            .pool_idle_timeout(connections.idle_timeout)
            .redirect(reqwest::redirect::Policy::custom(|attempt| {
                let secure = |url: &reqwest::Url| url.scheme() == "https";
                let downgraded =
                    attempt.previous().last().is_some_and(secure) && !secure(attempt.url());
                // The others turn a POST into a GET, whose 200 would pass for a delivery.
                let keeps_method = matches!(attempt.status().as_u16(), 307 | 308);
                if downgraded || !keeps_method || attempt.previous().len() > MAX_REDIRECTS {
                    attempt.stop()
                } else {
                    attempt.follow()
                }
            }));
        let builder = with_tls(builder, https)?;
        let client = builder.build()?;
        Ok(Self { client })
    }
}

#[cfg(feature = "rustls")]
fn with_tls(
    builder: reqwest::ClientBuilder,
    https: bool,
) -> Result<reqwest::ClientBuilder, Failure> {
    use rustls_platform_verifier::BuilderVerifierExt as _;

    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(error.to_string()))?;
    // The platform's certificates are looked for only where they are needed: an image without them can still reach
    // a local server.
    let config = if https {
        config.with_platform_verifier().map_err(|error| {
            Failure::new(format!(
                "no usable certificate store (is the package ca-certificates installed?): {error}"
            ))
        })?
    } else {
        config.with_root_certificates(rustls::RootCertStore::empty())
    };
    Ok(builder.tls_backend_preconfigured(config.with_no_client_auth()))
}

#[cfg(not(feature = "rustls"))]
fn with_tls(
    builder: reqwest::ClientBuilder,
    https: bool,
) -> Result<reqwest::ClientBuilder, Failure> {
    if https {
        return Err(Failure::new(
            "https needs the feature `rustls` of this crate",
        ));
    }
    Ok(builder)
}

/// A client made like this, secured like all others. For the REST client.
#[cfg(feature = "api")]
pub(crate) fn secured(
    builder: reqwest::ClientBuilder,
    https: bool,
) -> Result<reqwest::Client, Failure> {
    Ok(with_tls(builder, https)?.build()?)
}

impl Transport for Http {
    fn send(&self, request: Request) -> Sending {
        let method = match request.method {
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let sending = self
            .client
            .request(method, request.url)
            .headers(request.headers)
            .body(request.body)
            .timeout(request.timeout)
            .send();
        Box::pin(async move {
            let mut response = sending.await?;
            let status = response.status().as_u16();
            let now = Duration::from_nanos(crate::clock::unix_nanos());
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| retry::retry_after(value.to_str().ok()?, now));
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
            })
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
