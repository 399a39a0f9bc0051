//! The one way a call leaves: rules, key, address, attempts, answer. Knows operations as rows of a table, not resources.

use std::future::{Future as _, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::{Map, Value};

use super::client::Client;
use super::decode::Decode;
use super::operations::{KeyKind, Operation};
use super::{retry, rules};
use crate::clock;
use crate::config::{ApiKey, Config};
use crate::error::{Call, Error, Kind};
use crate::export::transport::describe;
use crate::export::worker::excerpt::{SPELLING, concealed};
use crate::id;

/// No answer is read beyond this. An export of 7,500 events may take more than other answers.
const MAX_ANSWER: usize = 64 << 20;
const MAX_EXPORT: usize = 512 << 20;
/// Of an answer that says why something failed, this much is read, and that much is shown.
const MAX_REFUSAL: usize = 4 << 20;
const MAX_MESSAGE: usize = 512;
const MAX_SCRUBBED: usize = 8192;

/// A call that is being put together.
pub(crate) struct Request<'a> {
    client: &'a Client,
    operation: &'static Operation,
    path: Vec<&'a str>,
    query: Map<String, Value>,
    body: Option<Value>,
    timeout: Option<Duration>,
    stamp: u64,
}

/// What the server said, whatever it was.
pub(crate) struct Answer {
    status: u16,
    body: Vec<u8>,
    retry_after: Option<Duration>,
    attempts: u32,
}

/// Why there is no answer.
struct Failure {
    ended: retry::Ended,
    kind: Kind,
    reason: String,
}

impl Client {
    /// Starts a call; `path` are the parameters of the operation's path, in order.
    pub(crate) fn request<'a>(
        &'a self,
        operation: &'static Operation,
        path: &[&'a str],
    ) -> Request<'a> {
        Request {
            client: self,
            operation,
            path: path.to_vec(),
            query: Map::new(),
            body: None,
            timeout: None,
            stamp: clock::unix_nanos(),
        }
    }
}

impl Request<'_> {
    pub(crate) fn query(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.query.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn queries(mut self, fields: Map<String, Value>) -> Self {
        self.query.extend(fields);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Value>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// When the call was made that this is a part of.
    pub(crate) fn stamp(mut self, stamp: u64) -> Self {
        self.stamp = stamp;
        self
    }

    /// Sends it and reads the answer.
    pub(crate) async fn get<T: Decode>(self) -> Result<T, Error> {
        let call = self.operation.call;
        let config = self.client.config();
        let answer = self.exchange().await?;
        answer.accepted(call, &config)?.read(call, &config)
    }

    /// Sends it; what a successful answer says does not matter.
    pub(crate) async fn done(self) -> Result<(), Error> {
        let call = self.operation.call;
        let config = self.client.config();
        self.exchange().await?.accepted(call, &config)?;
        Ok(())
    }

    /// Sends it until there is an answer that is not worth another attempt.
    ///
    /// A runtime without I/O or time makes the library below panic: that is an error like others.
    pub(crate) async fn exchange(self) -> Result<Answer, Error> {
        let call = self.operation.call;
        let mut trying = pin!(self.try_all());
        poll_fn(|cx| {
            catch_unwind(AssertUnwindSafe(|| trying.as_mut().poll(cx))).unwrap_or_else(|_| {
                let reason =
                    "the HTTP client panicked; does the runtime have I/O and time enabled?";
                Poll::Ready(Err(refused(Kind::Config, call, reason)))
            })
        })
        .await
    }

    async fn try_all(self) -> Result<Answer, Error> {
        let config = self.client.config();
        let call = self.operation.call;
        self.check(&config)?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(refused(
                Kind::Config,
                call,
                "there is no Tokio runtime here; await it in one, or use api::blocking",
            ));
        }
        let url = self.url(&config)?;
        let headers = self.headers(&config)?;
        let body = self.body.as_ref().map(|body| Bytes::from(body.to_string()));
        let http = self
            .client
            .http(url.scheme() == "https")
            .map_err(|reason| refused(Kind::Config, call, &reason))?;
        let timeout = self.timeout.unwrap_or_else(|| self.client.timeout(&config));
        let max_retries = self.client.max_retries(&config);
        let limit = if self.timeout.is_some() {
            MAX_EXPORT
        } else {
            MAX_ANSWER
        };
        let method = reqwest::Method::from_bytes(self.operation.method.as_bytes())
            .unwrap_or(reqwest::Method::GET);

        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut request = http
                .request(method.clone(), url.clone())
                .headers(headers.clone())
                .timeout(timeout);
            if let Some(body) = &body {
                request = request.body(body.clone());
            }
            let outcome = attempt(request, limit).await;
            let ended = match &outcome {
                Ok(answer) if answer.status < 300 => None,
                Ok(answer) => Some(retry::Ended::Status {
                    status: answer.status,
                    retry_after: answer.retry_after,
                }),
                Err(failure) => Some(failure.ended),
            };
            let pause = ended.filter(|_| attempts <= max_retries).and_then(|ended| {
                retry::pause(ended, self.operation.repeats, attempts, id::random())
            });
            match (pause, outcome) {
                (Some(pause), _) => tokio::time::sleep(pause).await,
                (None, Ok(mut answer)) => {
                    answer.attempts = attempts;
                    return Ok(answer);
                }
                (None, Err(failure)) => {
                    let info = Call {
                        operation: call,
                        attempts,
                        ..Call::default()
                    };
                    let message = format!("{call}: {}{}", failure.reason, times(attempts));
                    let message = scrubbed(message, &config);
                    return Err(Error::of_call(failure.kind, message, info));
                }
            }
        }
    }

    /// What is known to be refused is not sent.
    fn check(&self, config: &Config) -> Result<(), Error> {
        let call = self.operation.call;
        let body = self.body.as_ref().and_then(Value::as_object);
        let fields = body.unwrap_or(&self.query);
        rules::check(self.operation.rules, fields).map_err(|breach| {
            let message = format!("{call}: {} {}", breach.field, breach.what);
            let info = Call {
                operation: call,
                field: Some(breach.field),
                ..Call::default()
            };
            Error::of_call(Kind::Invalid, scrubbed(message, config), info)
        })?;
        if config.test_mode() {
            let message = "test_mode (HH_TEST_MODE) is on, so that nothing is sent";
            return Err(refused(Kind::Config, call, message));
        }
        Ok(())
    }

    fn url(&self, config: &Config) -> Result<Url, Error> {
        let call = self.operation.call;
        let mut url = Url::parse(config.server_url())
            .map_err(|error| refused(Kind::Config, call, &format!("server_url: {error}")))?;
        let mut given = self.path.iter();
        let mut wrong = None;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            for segment in self.operation.path.split('/').skip(1) {
                let name = segment
                    .strip_prefix('{')
                    .and_then(|rest| rest.strip_suffix('}'));
                let Some(name) = name else {
                    segments.push(segment);
                    continue;
                };
                let value = given.next().copied().unwrap_or_default();
                // The dots would be taken for a way up.
                if matches!(value, "" | "." | "..") {
                    wrong = Some(name);
                }
                segments.push(value);
            }
        }
        if let Some(name) = wrong {
            let message = format!("{call}: {name} must not be empty or dots");
            let info = Call {
                operation: call,
                field: Some(name.to_owned()),
                ..Call::default()
            };
            return Err(Error::of_call(Kind::Invalid, message, info));
        }
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                match value {
                    Value::Null => {}
                    Value::String(text) => {
                        pairs.append_pair(name, text);
                    }
                    Value::Array(items) if items.iter().all(Value::is_string) => {
                        let name = format!("{name}[]");
                        for item in items.iter().filter_map(Value::as_str) {
                            pairs.append_pair(&name, item);
                        }
                    }
                    other => {
                        pairs.append_pair(name, &other.to_string());
                    }
                }
            }
        }
        Ok(url)
    }

    fn headers(&self, config: &Config) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(
            "hh-client-version",
            HeaderValue::from_static(env!("CARGO_PKG_VERSION")),
        );
        headers.insert("hh-client-language", HeaderValue::from_static("rust"));
        headers.insert("hh-client-package", HeaderValue::from_static("honeyhive"));
        headers.insert("hh-client-timestamp", HeaderValue::from(self.stamp));

        let project = config.api_key();
        let (key, missing) = match self.operation.key {
            KeyKind::Project => (project, "HH_API_KEY, or Builder::api_key"),
            KeyKind::Ingestion => (
                config.ingestion_api_key().or(project),
                "HH_API_KEY or HH_INGESTION_API_KEY, or Builder::api_key",
            ),
            KeyKind::DataPlane => (
                config.data_plane_api_key(),
                "HH_DATA_PLANE_API_KEY, or Builder::data_plane_api_key",
            ),
        };
        match key.map(ApiKey::expose).filter(|key| !key.is_empty()) {
            Some(key) => {
                let value = HeaderValue::from_str(&format!("Bearer {key}"));
                let mut value = value
                    .map_err(|_| refused(Kind::Config, self.operation.call, "the key is no key"))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            None if config.is_loopback() => {}
            None => {
                let message = format!("no key is set; expected {missing}");
                return Err(refused(Kind::Config, self.operation.call, &message));
            }
        }
        Ok(headers)
    }
}

impl Answer {
    /// The answer if it is a success, else the error it stands for.
    pub(crate) fn accepted(self, call: &'static str, config: &Config) -> Result<Self, Error> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(self.refusal(call, config))
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Reads the body.
    pub(crate) fn read<T: Decode>(self, call: &'static str, config: &Config) -> Result<T, Error> {
        let wrong = |path: String, what: &str| {
            let place = if path.is_empty() {
                String::new()
            } else {
                format!("{path}: ")
            };
            let message =
                format!("{call}: the answer does not have the form expected: {place}{what}");
            let info = Call {
                operation: call,
                field: (!path.is_empty()).then(|| cut(scrubbed(path, config))),
                status: Some(self.status),
                attempts: self.attempts,
                ..Call::default()
            };
            Error::of_call(Kind::Decode, cut(scrubbed(message, config)), info)
        };
        let value: Value = serde_json::from_slice(&self.body).map_err(|error| {
            let start = self.body.trim_ascii_start();
            if start.is_empty() {
                wrong(String::new(), "it is empty")
            } else if start.starts_with(b"<") {
                wrong(String::new(), "it is a page of HTML, not JSON")
            } else {
                wrong(String::new(), &format!("it is no JSON: {error}"))
            }
        })?;
        T::decode(value).map_err(|found| wrong(found.path, &found.what))
    }

    /// What the body says, if it says that.
    pub(crate) fn peek<T: Decode>(&self) -> Option<T> {
        let value = serde_json::from_slice(&self.body).ok()?;
        T::decode(value).ok()
    }

    pub(crate) fn refusal(&self, call: &'static str, config: &Config) -> Error {
        let (message, code) = said(&self.body);
        // A line break would let a server write lines of its own into a log.
        let message = message.map(|text| text.replace(char::is_control, " "));
        let message = message.map(|text| cut(scrubbed(text, config)));
        let code = code.map(|text| {
            let taken = message.as_ref().map_or(0, String::len);
            let room = MAX_MESSAGE.saturating_sub(taken);
            cut_to(scrubbed(text, config), room.min(64))
        });
        let reason = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason());
        let mut text = format!("{call}: {}", self.status);
        if let Some(reason) = reason {
            text.push(' ');
            text.push_str(reason);
        }
        if let Some(message) = &message {
            text.push_str(": ");
            text.push_str(message);
        }
        text.push_str(match self.status {
            401 => " (is it the right key for this server?)",
            403 | 404 => " (it does not exist, or the key has no access to it)",
            300..=399 => " (a redirect that is not followed)",
            _ => "",
        });
        text.push_str(&times(self.attempts));
        let info = Call {
            operation: call,
            field: None,
            status: Some(self.status),
            message,
            code,
            retry_after: self.retry_after,
            attempts: self.attempts,
        };
        Error::of_call(Kind::Status, text, info)
    }
}

async fn attempt(request: reqwest::RequestBuilder, limit: usize) -> Result<Answer, Failure> {
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let success = response.status().is_success();
    let limit = if success { limit } else { MAX_REFUSAL };
    let now = Duration::from_nanos(clock::unix_nanos());
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| crate::export::retry::retry_after(value.to_str().ok()?, now));
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(part)) if body.len() + part.len() > limit => {
                if success {
                    return Err(Failure {
                        ended: retry::Ended::Status {
                            status,
                            retry_after: None,
                        },
                        kind: Kind::Decode,
                        reason: format!("the answer is longer than {} MiB", limit >> 20),
                    });
                }
                break;
            }
            Ok(Some(part)) => body.extend_from_slice(&part),
            Ok(None) => break,
            // That it failed has been said; why remains in the dark.
            Err(_) if !success => break,
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(Answer {
        status,
        body,
        retry_after,
        attempts: 0,
    })
}

fn failed(error: reqwest::Error) -> Failure {
    // The address may say more than a log should know.
    let error = error.without_url();
    Failure {
        ended: if error.is_connect() || error.is_builder() {
            retry::Ended::NotSent
        } else {
            retry::Ended::Broken
        },
        kind: if error.is_timeout() {
            Kind::Timeout
        } else {
            Kind::Connection
        },
        reason: describe(&error),
    }
}

/// What a server says of the reason, and its code for it.
fn said(body: &[u8]) -> (Option<String>, Option<String>) {
    let text = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let plain = String::from_utf8_lossy(body);
        let plain = plain.trim();
        let shown = !plain.is_empty() && !plain.starts_with(['<', '{', '[']);
        return (shown.then(|| plain.to_owned()), None);
    };
    let error = value.get("error");
    let message = value
        .get("message")
        .and_then(text)
        .or_else(|| error.and_then(text))
        .or_else(|| error?.get("message").and_then(text))
        .or_else(|| value.get("detail").and_then(text))
        .or_else(|| text(&value));
    let code = ["errorCode", "error_code", "code"]
        .iter()
        .find_map(|name| value.get(name).and_then(text));
    (message, code)
}

fn refused(kind: Kind, call: &'static str, reason: &str) -> Error {
    let info = Call {
        operation: call,
        ..Call::default()
    };
    Error::of_call(kind, format!("{call}: {reason}"), info)
}

fn times(attempts: u32) -> String {
    if attempts > 1 {
        format!(" (after {attempts} attempts)")
    } else {
        String::new()
    }
}

/// Without the keys, however they are spelled: a server may say what it was sent. Of long text only the start is looked at,
/// and less of it is shown.
fn scrubbed(mut text: String, config: &Config) -> String {
    let keys = [
        config.api_key(),
        config.ingestion_api_key(),
        config.data_plane_api_key(),
    ];
    let keys = keys.into_iter().flatten().map(ApiKey::expose);
    let keys: Vec<&str> = keys.filter(|key| !key.is_empty()).collect();
    let whole = text.len() <= MAX_SCRUBBED;
    truncate(&mut text, MAX_SCRUBBED);
    let mut text = concealed(&text, &keys);
    if !whole {
        // A key that was cut off is not recognized, and nothing of it is to be seen.
        let longest = keys.iter().map(|key| key.len()).max().unwrap_or(0);
        let end = text.len().saturating_sub(longest.saturating_mul(SPELLING));
        truncate(&mut text, end);
    }
    text
}

fn truncate(text: &mut String, limit: usize) {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

fn cut(text: String) -> String {
    cut_to(text, MAX_MESSAGE)
}

/// At most so many bytes, the mark of the cut included.
fn cut_to(mut text: String, limit: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= limit {
        return text;
    }
    truncate(&mut text, limit.saturating_sub(MARK.len()));
    if limit >= MARK.len() {
        text.push_str(MARK);
    }
    text
}
