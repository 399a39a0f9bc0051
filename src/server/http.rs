//! Routes, and what holds for all of them: who may ask, what every answer says of itself, how problems are told.

use super::store::Refused;
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
        .route("/assets/{name}", get(pages::asset))
        .route("/opentelemetry/v1/traces", post(ingest::traces))
        .route("/v1/traces", post(ingest::traces))
        .route("/session/start", post(rest::start_session_legacy))
        .route("/v1/sessions", post(rest::start_session))
        .route("/events", post(rest::create_event).put(rest::update_event))
        .fallback(pages::not_found)
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut answer = match app.hosts.admit(request.method(), request.headers()) {
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

/// A request that is not answered as asked.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
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
        let message = format!("the events could not be stored: {}", refused.0);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(super) fn query(error: &rusqlite::Error) -> Self {
        Self::broken(format!("the database cannot be read: {error}"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let content = serde_json::json!({
            "error": self.status.canonical_reason().unwrap_or("error"),
            "message": self.message,
        });
        (self.status, axum::Json(content)).into_response()
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
