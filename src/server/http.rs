//! Routes, and what holds for all of them: who may ask, what every answer says of itself, how problems are told.

use super::store::{Fault, Refused};
use super::{App, ingest, pages, rest};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(pages::sessions))
        .route("/live", get(pages::live))
        .route("/sessions/{id}", get(pages::session))
        .route("/sessions/{id}/live", get(pages::session_live))
        .route("/sessions/{id}/events/{event}", get(pages::event))
        .route("/events", get(pages::events))
        .route("/runs", get(pages::runs))
        .route("/runs/{id}", get(pages::run))
        .route("/compare/{new}/{old}", get(pages::compare))
        .route("/datasets", get(pages::datasets))
        .route("/datasets/{id}", get(pages::dataset))
        .route("/assets/{name}", get(pages::asset))
        .route("/opentelemetry/v1/traces", post(ingest::traces))
        .route("/v1/traces", post(ingest::traces))
        .merge(rest::router())
        .fallback(pages::not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this address is not asked with this method",
    )
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let admitted = app.hosts.admit(request.method(), request.headers());
    let admitted = admitted.and_then(|()| app.keys.admit(request.headers()));
    let mut answer = match admitted {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = answer.headers_mut();
    let mut set = |name, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    let own = HeaderName::from_static("cross-origin-resource-policy");
    set(own, "same-origin");
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// By which names the server may be called. A page of the web can make a name of its own lead here, but it cannot
/// change what the browser says it called.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    bound: String,
    /// Names that whoever started the server vouches for.
    allowed: Vec<String>,
    /// Listening beyond loopback: any address may lead here, but still no name.
    open: bool,
}

impl Hosts {
    pub(crate) fn new(bound: &str, address: IpAddr, allowed: &[String]) -> Self {
        let allowed = allowed.iter().map(|name| match name.parse::<IpAddr>() {
            Ok(_) => name.trim(),
            Err(_) => name_of(name.trim()),
        });
        Self {
            bound: bound.to_ascii_lowercase(),
            allowed: allowed
                .filter(|name| !name.is_empty())
                .map(str::to_ascii_lowercase)
                .collect(),
            open: !address.is_loopback(),
        }
    }

    fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let Some(host) = host.filter(|host| self.knows(host)) else {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this server answers to localhost, its own address and the names it was told to allow; \
                 check the Host header, or start it with --allow-host",
            ));
        };
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if let Some(origin) = headers.get(header::ORIGIN)
            && !reads
        {
            let own = origin.to_str().ok().and_then(|origin| {
                origin
                    .strip_prefix("http://")
                    .or_else(|| origin.strip_prefix("https://"))
            });
            if !own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "requests from pages of other origins are refused",
                ));
            }
        }
        Ok(())
    }

    fn knows(&self, host: &str) -> bool {
        let name = name_of(host);
        if name.eq_ignore_ascii_case("localhost") || name.eq_ignore_ascii_case(&self.bound) {
            return true;
        }
        let allowed = |known: &String| name.eq_ignore_ascii_case(known);
        if self.allowed.iter().any(allowed) {
            return true;
        }
        match name.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || self.open,
            Err(_) => false,
        }
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn name_of(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// The key that requests must bring, if any.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    wanted: Option<String>,
}

impl Keys {
    pub(crate) fn new(wanted: Option<String>) -> Self {
        Self { wanted }
    }

    /// Programs bring the key as a bearer token, browsers as the password that they ask a person for.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(wanted) = &self.wanted else {
            return Ok(());
        };
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.to_str().ok());
        let (scheme, rest) = given
            .unwrap_or_default()
            .split_once(' ')
            .unwrap_or_default();
        let fits = if scheme.eq_ignore_ascii_case("bearer") {
            same(rest.trim().as_bytes(), wanted.as_bytes())
        } else if scheme.eq_ignore_ascii_case("basic") {
            let pair = base64(rest.trim()).unwrap_or_default();
            let password = pair.iter().position(|byte| *byte == b':');
            let password = password.and_then(|at| pair.get(at + 1..));
            password.is_some_and(|password| same(password, wanted.as_bytes()))
        } else {
            false
        };
        match fits {
            true => Ok(()),
            false => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "this server asks for its key: Authorization: Bearer <key>",
            )),
        }
    }
}

/// In a time that tells nothing of where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differ == 0
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

/// A request that is not answered as asked.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    message: String,
    /// More that the answer says.
    details: serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            details: serde_json::Map::new(),
        }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn broken(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {} MiB", limit >> 20),
        )
    }

    /// Nothing was stored; the sender may try again.
    #[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
    pub(super) fn store(refused: Refused) -> Self {
        let message = format!("nothing could be stored: {}", refused.0);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(super) fn query(error: &rusqlite::Error) -> Self {
        Self::broken(format!("the database cannot be read: {error}"))
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing(message) => Self::missing(message),
            Fault::Invalid(message) => Self::bad(message),
            Fault::Sql(error) => Self::query(&error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = match self.status {
            StatusCode::BAD_REQUEST => "INVALID_REQUEST",
            StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
            StatusCode::FORBIDDEN => "FORBIDDEN",
            StatusCode::NOT_FOUND => "NOT_FOUND",
            StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
            StatusCode::PAYLOAD_TOO_LARGE => "PAYLOAD_TOO_LARGE",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "UNSUPPORTED_MEDIA_TYPE",
            StatusCode::NOT_IMPLEMENTED => "NOT_SUPPORTED",
            StatusCode::SERVICE_UNAVAILABLE => "UNAVAILABLE",
            _ => "INTERNAL_ERROR",
        };
        let mut content = self.details;
        let reason = self.status.canonical_reason().unwrap_or("error");
        for (name, value) in [
            ("error", reason),
            ("message", self.message.as_str()),
            ("errorCode", code),
        ] {
            content.insert(name.to_owned(), value.into());
        }
        let mut answer = (self.status, axum::Json(content)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let asks = HeaderValue::from_static("Basic realm=\"HoneyHive\", charset=\"UTF-8\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, asks);
        }
        answer
    }
}

/// The media type of a request, without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

/// The body of a request, if it keeps within the limit.
pub(super) async fn body(content: Body, limit: usize) -> Result<Bytes, Problem> {
    match axum::body::to_bytes(content, limit).await {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = source {
                if error.to_string().contains("length limit exceeded") {
                    return Err(Problem::too_large(limit));
                }
                source = error.source();
            }
            Err(Problem::bad("the body ended early"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(hosts: &Hosts, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        hosts.admit(&Method::POST, &headers).is_ok()
    }

    #[test]
    fn only_names_that_must_lead_here_are_answered() {
        let local = Hosts::new("127.0.0.1", IpAddr::from([127, 0, 0, 1]), &[]);
        for host in [
            "127.0.0.1:4318",
            "localhost",
            "LOCALHOST:1",
            "[::1]:4318",
            "127.9.9.9",
        ] {
            assert!(admits(&local, host, None), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:4318",
            "10.0.0.1",
            "localhost.evil.example",
            "",
        ] {
            assert!(!admits(&local, host, None), "{host}");
        }
        let open = Hosts::new("0.0.0.0", IpAddr::from([0, 0, 0, 0]), &[]);
        assert!(admits(&open, "10.0.0.1:4318", None));
        assert!(!admits(&open, "evil.example", None));
    }

    #[test]
    fn a_key_is_asked_for_in_either_form() {
        let keys = Keys::new(Some("hh_key:1".to_owned()));
        let admits = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, given.parse().unwrap());
            keys.admit(&headers).is_ok()
        };
        // `any:hh_key:1`, `:hh_key:1`
        for given in [
            "Bearer hh_key:1",
            "bearer  hh_key:1",
            "Basic YW55OmhoX2tleTox",
            "basic OmhoX2tleTox",
        ] {
            assert!(admits(given), "{given}");
        }
        for given in [
            "",
            "hh_key:1",
            "Bearer",
            "Bearer hh_key:2",
            "Bearer hh_key:",
            "Basic hh_key:1",
            "Basic YW55",
        ] {
            assert!(!admits(given), "{given}");
        }
        assert!(keys.admit(&HeaderMap::new()).is_err());
        assert!(Keys::default().admit(&HeaderMap::new()).is_ok());
        assert_eq!(base64("aGVsbG8sIHdvcmxkIQ==").unwrap(), b"hello, world!");
        assert_eq!(base64("/+8=").unwrap(), [0xff, 0xef]);
        assert_eq!(base64("?"), None);
    }

    #[test]
    fn allowed_names_are_answered_too() {
        let allowed = ["hh".to_owned(), "Box.lan:4318".to_owned(), String::new()];
        let hosts = Hosts::new("0.0.0.0", IpAddr::from([0, 0, 0, 0]), &allowed);
        for host in ["hh", "HH:4318", "box.lan", "box.lan:80", "localhost"] {
            assert!(admits(&hosts, host, None), "{host}");
        }
        for host in ["hhh", "hh.evil.example", "evil.example", "", ":4318"] {
            assert!(!admits(&hosts, host, None), "{host}");
        }
        assert!(admits(&hosts, "hh:4318", Some("http://hh:4318")));
        assert!(!admits(&hosts, "hh:4318", Some("http://evil.example")));
    }

    #[test]
    fn pages_of_other_origins_cannot_write() {
        let local = Hosts::new("127.0.0.1", IpAddr::from([127, 0, 0, 1]), &[]);
        let host = "127.0.0.1:4318";
        assert!(admits(&local, host, Some("http://127.0.0.1:4318")));
        for origin in [
            "http://evil.example",
            "null",
            "http://127.0.0.1:9999",
            "http://localhost:4318",
        ] {
            assert!(!admits(&local, host, Some(origin)), "{origin}");
        }
    }
}
