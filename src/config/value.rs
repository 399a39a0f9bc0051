//! What a setting may be and how text becomes it. Knows nothing of which settings exist.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::key::{ApiKey, HIDDEN};
use super::names::NameFilters;
use super::redact::Redact;
use super::{Compression, Protocol, ResilienceLevel, Scenario};

/// The value of one setting.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Url(String),
    Key(ApiKey),
    Flag(bool),
    Number(u64),
    Time(Duration),
    Headers(Vec<(String, String)>),
    Protocol(Protocol),
    Compression(Compression),
    NameFilters(NameFilters),
    Rate(f64),
    Redact(Redact),
    Scenario(Scenario),
    Resilience(ResilienceLevel),
}

/// Secrets are hidden: keys, the values of headers, and a URL that may hold one and was not refused yet.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) if url.contains(['@', '?', '#']) => f.write_str(HIDDEN),
            Self::Text(text) | Self::Url(text) => f.write_str(text),
            Self::Key(key) => key.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Time(time) => write!(f, "{time:?}"),
            Self::Headers(headers) => {
                for (index, (name, _)) in headers.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{name}={HIDDEN}")?;
                }
                Ok(())
            }
            Self::Protocol(protocol) => f.write_str(protocol.as_str()),
            Self::Compression(compression) => f.write_str(compression.as_str()),
            Self::NameFilters(filters) => filters.fmt(f),
            Self::Rate(rate) => rate.fmt(f),
            Self::Redact(redact) => redact.fmt(f),
            Self::Scenario(scenario) => f.write_str(scenario.as_str()),
            Self::Resilience(level) => f.write_str(level.as_str()),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The form of a setting's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text that is not blank.
    Text,
    /// Text without the characters that break a path.
    Project,
    Key,
    IngestionKey,
    DataPlaneKey,
    /// `http://` or `https://`; trailing slashes are removed when `base`.
    Url {
        base: bool,
    },
    /// A UUID.
    SessionId,
    /// The path of a directory, or a word for one.
    Path,
    Filter,
    EventType,
    Flag,
    Number {
        min: u64,
        max: u64,
    },
    Bytes {
        min: u64,
        max: u64,
    },
    Time {
        min: Duration,
        max: Duration,
    },
    Headers,
    Protocol,
    Compression,
    /// A JSON object; kept as its text.
    Object,
    NameFilters,
    /// From 0 to 1.
    Rate,
    Redact,
    Scenario,
    Resilience,
}

/// Why a value was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What is wrong, when "not accepted" does not say it.
    pub(crate) reason: Option<String>,
    /// Whether the value itself must stay out of the message.
    pub(crate) hide: bool,
}

impl Refused {
    const PLAIN: Self = Self {
        reason: None,
        hide: false,
    };

    fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            hide: false,
        }
    }

    fn hidden(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            hide: true,
        }
    }
}

impl Kind {
    /// Whether values of this kind may hold secrets that belong in no message.
    pub(crate) const fn is_secret(self) -> bool {
        matches!(
            self,
            Self::Key | Self::IngestionKey | Self::DataPlaneKey | Self::Headers
        )
    }

    /// What is accepted, as the end of "expected …".
    pub(crate) fn accepted(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::SessionId => "a UUID".to_owned(),
            Self::Path => "a path in UTF-8, or `default`".to_owned(),
            Self::Project => r"text without any of `/ \ ? # &`".to_owned(),
            Self::Key => "visible ASCII characters without spaces".to_owned(),
            Self::IngestionKey => {
                "`hh_ingst_`, 24 letters or digits, `_`, 64 letters, digits, `_` or `-`".to_owned()
            }
            Self::DataPlaneKey => {
                "`hh_fgdp_`, 24 letters or digits, `_`, 64 letters, digits, `_` or `-`".to_owned()
            }
            Self::Url { .. } => {
                "an `http://` or `https://` URL without credentials, query or fragment".to_owned()
            }
            Self::Filter => "directives such as `info,my_crate=debug`".to_owned(),
            Self::EventType => "`model`, `tool` or `chain`".to_owned(),
            Self::Flag => {
                "true, 1, yes, on, enabled or false, 0, no, off, disabled, in any case".to_owned()
            }
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bytes { min, max } => format!(
                "a number of bytes from {} to {}, plain or with a unit such as `10MiB` or `512KB`",
                size(min),
                size(max)
            ),
            Self::Time { min, max } => format!(
                "seconds from {} to {}, fractions allowed, or a number with `ms`, `s` or `min`",
                min.as_secs_f64(),
                max.as_secs_f64()
            ),
            Self::Headers => {
                "a JSON object of strings, or `name=value,name2=value2`, with valid header names and values"
                    .to_owned()
            }
            Self::Protocol => "`http/protobuf` or `http/json`".to_owned(),
            Self::Compression => "`none` or `gzip`".to_owned(),
            Self::Object => "a JSON object".to_owned(),
            Self::NameFilters => {
                r#"JSON such as `{"include":[{"type":"prefix","value":"a."}],"exclude":["a.b"]}`"#.to_owned()
            }
            Self::Rate => "a number from 0 to 1".to_owned(),
            Self::Redact => {
                "`default`, `off`, or keys separated by commas, alone or after one of them".to_owned()
            }
            Self::Scenario => choice(&Scenario::ALL.map(Scenario::as_str)),
            Self::Resilience => choice(&ResilienceLevel::ALL.map(ResilienceLevel::as_str)),
        }
    }

    /// Turns text into the value it means and checks it; `None`: blank, as good as not set.
    pub(crate) fn admit(self, value: Value) -> Result<Option<Value>, Refused> {
        let value = match value {
            Value::Text(text) | Value::Url(text) => {
                let text = text.trim();
                if text.is_empty() {
                    return Ok(None);
                }
                match self.read(text)? {
                    Some(value) => value,
                    None => return Ok(None),
                }
            }
            Value::Key(key) => match key.expose().trim() {
                "" => return Ok(None),
                text => match self.read(text)? {
                    Some(value) => value,
                    None => return Ok(None),
                },
            },
            Value::Headers(headers) => Value::Headers(clean_headers(headers)?),
            value => value,
        };
        match (self, &value) {
            (Self::Number { min, max } | Self::Bytes { min, max }, Value::Number(number))
                if !(min..=max).contains(number) =>
            {
                Err(Refused::because("it is out of range"))
            }
            (Self::Time { min, max }, Value::Time(time)) if !(min..=max).contains(time) => {
                Err(Refused::because("it is out of range"))
            }
            (Self::Rate, Value::Rate(rate)) if !(0.0..=1.0).contains(rate) => {
                Err(Refused::because("it is out of range"))
            }
            (_, Value::NameFilters(filters)) if filters.is_empty() => Ok(None),
            (_, Value::NameFilters(filters)) => match filters.check() {
                Ok(()) => Ok(Some(value)),
                Err(reason) => Err(Refused::because(reason)),
            },
            (_, Value::Redact(redact)) => match redact.check() {
                Ok(()) => Ok(Some(value)),
                Err(reason) => Err(Refused::because(reason)),
            },
            _ => Ok(Some(value)),
        }
    }

    fn read(self, text: &str) -> Result<Option<Value>, Refused> {
        let value = match self {
            Self::Text => Value::Text(text.to_owned()),
            Self::SessionId => match uuid::Uuid::parse_str(text) {
                Ok(id) => Value::Text(id.to_string()),
                Err(_) => return Err(Refused::PLAIN),
            },
            Self::Path => match unquoted(text) {
                "" => return Ok(None),
                // What takes the place of bytes that are not UTF-8.
                path if path.contains(['\0', char::REPLACEMENT_CHARACTER]) => {
                    return Err(Refused::PLAIN);
                }
                path => Value::Text(path.to_owned()),
            },
            Self::Project => {
                if text.contains(['/', '\\', '?', '#', '&']) {
                    return Err(Refused::PLAIN);
                }
                Value::Text(text.to_owned())
            }
            Self::Key | Self::IngestionKey | Self::DataPlaneKey => {
                let key = unquoted(text);
                if key.is_empty() {
                    return Ok(None);
                }
                let fits = match self {
                    Self::IngestionKey => is_scoped_key(key, "hh_ingst_"),
                    Self::DataPlaneKey => is_scoped_key(key, "hh_fgdp_"),
                    _ => key.bytes().all(|byte| byte.is_ascii_graphic()),
                };
                if !fits {
                    return Err(Refused::hidden("it does not have the form of a key"));
                }
                Value::Key(ApiKey::new(key))
            }
            Self::Url { base } => {
                let text = unquoted(text);
                if text.is_empty() {
                    return Ok(None);
                }
                Value::Url(url(text, base)?)
            }
            Self::Filter => match text.parse::<tracing_subscriber::filter::Targets>() {
                Ok(_) => Value::Text(text.to_owned()),
                Err(error) => return Err(Refused::because(error.to_string())),
            },
            Self::EventType => match text.to_ascii_lowercase().as_str() {
                known @ ("model" | "tool" | "chain") => Value::Text(known.to_owned()),
                _ => return Err(Refused::PLAIN),
            },
            Self::Flag => Value::Flag(flag(text).ok_or(Refused::PLAIN)?),
            Self::Number { .. } => Value::Number(text.parse().map_err(|_| Refused::PLAIN)?),
            Self::Bytes { .. } => Value::Number(bytes(text).ok_or(Refused::PLAIN)?),
            Self::Time { .. } => Value::Time(seconds(text).ok_or(Refused::PLAIN)?),
            Self::Headers => Value::Headers(clean_headers(headers(text)?)?),
            Self::Protocol => Value::Protocol(match text.to_ascii_lowercase().as_str() {
                "http/protobuf" => Protocol::HttpProtobuf,
                "http/json" => Protocol::HttpJson,
                _ => return Err(Refused::PLAIN),
            }),
            Self::Compression => Value::Compression(match text.to_ascii_lowercase().as_str() {
                "none" => Compression::None,
                "gzip" => Compression::Gzip,
                _ => return Err(Refused::PLAIN),
            }),
            Self::Object => {
                type Object = serde_json::Map<String, serde_json::Value>;
                match serde_json::from_str::<Object>(text) {
                    Ok(object) => Value::Text(serde_json::Value::Object(object).to_string()),
                    Err(_) => return Err(Refused::PLAIN),
                }
            }
            Self::NameFilters => {
                Value::NameFilters(NameFilters::parse(text).map_err(Refused::because)?)
            }
            Self::Rate => Value::Rate(text.parse().map_err(|_| Refused::PLAIN)?),
            Self::Redact => Value::Redact(Redact::parse(text).map_err(Refused::because)?),
            Self::Scenario => {
                let text = text.to_ascii_lowercase().replace('-', "_");
                let mut all = Scenario::ALL.into_iter();
                let found = all.find(|scenario| scenario.as_str() == text);
                Value::Scenario(found.ok_or(Refused::PLAIN)?)
            }
            Self::Resilience => {
                let mut all = ResilienceLevel::ALL.into_iter();
                let found = all.find(|level| level.as_str().eq_ignore_ascii_case(text));
                Value::Resilience(found.ok_or(Refused::PLAIN)?)
            }
        };
        Ok(Some(value))
    }
}

/// `a`, `b` or `c`.
fn choice(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.join(""),
    }
}

/// A yes or a no, in the words that every variable of this kind understands.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "enabled" => Some(true),
        "false" | "0" | "no" | "off" | "disabled" => Some(false),
        _ => None,
    }
}

/// One pair of quotes around a value is what shells and container files leave behind.
fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner.trim();
        }
    }
    text
}

fn is_scoped_key(text: &str, prefix: &str) -> bool {
    let Some((head, tail)) = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.split_at_checked(24))
    else {
        return false;
    };
    let Some(tail) = tail.strip_prefix('_') else {
        return false;
    };
    head.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && tail.len() == 64
        && tail
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn url(text: &str, base: bool) -> Result<String, Refused> {
    // The parser mends what is broken (`http:host`, backslashes, tabs); a setting is taken as it is or not at all.
    let lower = text.to_ascii_lowercase();
    if !(lower.starts_with("http://") || lower.starts_with("https://")) {
        return Err(refused_url(
            text,
            "it does not begin with http:// or https://",
        ));
    }
    let broken =
        |character: char| character.is_whitespace() || character.is_control() || character == '\\';
    if text.contains(broken) {
        return Err(refused_url(
            text,
            "it contains a space, a control character or a backslash",
        ));
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return Err(refused_url(text, &error.to_string())),
    };
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err(Refused::hidden("it contains credentials or an `@`"));
    }
    if url.query().is_some() {
        return Err(Refused::hidden("it has a query"));
    }
    if url.fragment().is_some() {
        return Err(Refused::hidden("it has a fragment"));
    }
    Ok(if base {
        url.as_str().trim_end_matches('/').to_owned()
    } else {
        text.to_owned()
    })
}

/// What is no URL may still hold the password that somebody meant to put into one.
fn refused_url(text: &str, reason: &str) -> Refused {
    if text.contains(['@', '?', '#']) {
        Refused::hidden(reason)
    } else {
        Refused::because(reason)
    }
}

/// Whether a URL that was accepted before sends in the clear to another machine.
pub(crate) fn is_insecure(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "http" && !leads_home(&url))
}

/// Whether a URL that was accepted before leads to this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| leads_home(&url))
}

fn leads_home(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.strip_suffix('.').unwrap_or(host);
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// A number of bytes in the largest unit that leaves it whole.
pub(crate) fn size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn seconds(text: &str) -> Option<Duration> {
    let unit = text
        .find(|character: char| !(character.is_ascii_digit() || character == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit)?;
    let number: f64 = number.parse().ok()?;
    let seconds = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "s" => number,
        "ms" => number / 1_000.0,
        "min" => number * 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn headers(text: &str) -> Result<Vec<(String, String)>, Refused> {
    if text.starts_with('{') {
        // The parser's own message may quote what it read.
        let map: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| {
                Refused::hidden(format!("it is not JSON at column {}", error.column()))
            })?;
        return map
            .into_iter()
            .map(|(name, value)| match value {
                serde_json::Value::String(value) => Ok((name, value)),
                serde_json::Value::Number(value) => Ok((name, value.to_string())),
                _ => Err(Refused::hidden("a value is neither text nor a number")),
            })
            .collect();
    }
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            pair.split_once('=')
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .ok_or_else(|| Refused::hidden("a pair has no `=`"))
        })
        .collect()
}

/// Headers that describe the body or the connection: only the client that writes these can know them.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checked, in lower case, one value a name (the last), in the order of the names.
fn clean_headers(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, Refused> {
    let mut clean = std::collections::BTreeMap::new();
    for (index, (name, value)) in headers.into_iter().enumerate() {
        let Ok(name) = HeaderName::from_bytes(name.trim().as_bytes()) else {
            // What should be a name may be a value: a token that was cut at a comma.
            let number = index.saturating_add(1);
            return Err(Refused::hidden(format!(
                "the name of header {number} is no header name"
            )));
        };
        if RESERVED.contains(&name.as_str()) {
            return Err(Refused::hidden(format!(
                "`{name}` is set by the client itself"
            )));
        }
        let value = value.trim();
        // Text only: `HeaderValue` itself would take any byte above 127.
        if HeaderValue::from_str(value).is_err() || !value.is_ascii() {
            return Err(Refused::hidden(format!(
                "the value of `{name}` is no header value"
            )));
        }
        clean.insert(name.as_str().to_owned(), value.to_owned());
    }
    Ok(clean.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("10MiB", Some(10 << 20)),
            ("10 mib", Some(10 << 20)),
            ("512KB", Some(512_000)),
            ("512KiB", Some(512 << 10)),
            ("2GB", Some(2_000_000_000)),
            ("7b", Some(7)),
            ("10M", None),
            ("MiB", None),
            ("1.5MiB", None),
            ("-1", None),
            ("18446744073709551615GiB", None),
            ("1é", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
        assert_eq!(size(10 << 20), "10MiB");
        assert_eq!(size(1500), "1500");
        assert_eq!(size(0), "0");
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("5", Some(5_000)),
            ("0.25", Some(250)),
            (".5", Some(500)),
            ("500ms", Some(500)),
            ("5 s", Some(5_000)),
            ("2min", Some(120_000)),
            ("5m", None),
            ("-1", None),
            ("inf", None),
            ("nan", None),
            ("1e999", None),
            ("99999999999999999999999999999999", None),
            ("1.2.3", None),
        ] {
            assert_eq!(seconds(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn urls() {
        for (text, expected) in [
            ("https://api.example.com/", "https://api.example.com"),
            ("HTTPS://API.example.com//", "https://api.example.com"),
            ("http://127.0.0.1:4318/base/", "http://127.0.0.1:4318/base"),
            ("http://[::1]:4318", "http://[::1]:4318"),
            ("\"https://a.example\"", "https://a.example"),
        ] {
            let read = Kind::Url { base: true }.admit(Value::Text(text.to_owned()));
            assert_eq!(read, Ok(Some(Value::Url(expected.to_owned()))), "{text}");
        }
        let given = "https://collector.example/v1/traces/";
        assert_eq!(
            Kind::Url { base: false }.admit(Value::Text(given.to_owned())),
            Ok(Some(Value::Url(given.to_owned())))
        );
        for (text, hide) in [
            ("ftp://a.example", false),
            ("api.example.com", false),
            ("http:/a.example", false),
            ("https://", false),
            ("https://a b", false),
            ("https://[::1", false),
            ("https://a.example:99999", false),
            ("https://me:pw@a.example", true),
            ("https://me@a.example", true),
            ("me:pw@a.example", true),
            ("https://a.example?token=x", true),
            ("https://a.example#x", true),
            ("https://a.example/me:pw@x", true),
        ] {
            let refused = url(text, true).unwrap_err();
            assert_eq!(refused.hide, hide, "{text}");
        }
    }

    #[test]
    fn only_loopback_is_safe_in_the_clear() {
        for (url, insecure) in [
            ("http://localhost:4318", false),
            ("http://LOCALHOST", false),
            ("http://localhost.", false),
            ("http://dev.localhost", false),
            ("http://127.0.0.1", false),
            ("http://127.9.9.9:1", false),
            ("http://2130706433", false),
            ("http://[::1]:4318", false),
            ("http://[::ffff:127.0.0.1]", false),
            ("https://a.example", false),
            ("http://a.example", true),
            ("http://localhost.a.example", true),
            ("http://notlocalhost", true),
            ("http://10.0.0.1", true),
            ("http://0.0.0.0", true),
            ("http://[fe80::1]", true),
        ] {
            assert_eq!(is_insecure(url), insecure, "{url}");
        }
    }

    #[test]
    fn headers_in_both_forms() {
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(Some(Value::Headers(
                pairs
                    .iter()
                    .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            )))
        };
        let admit = |text: &str| Kind::Headers.admit(Value::Text(text.to_owned()));
        assert_eq!(
            admit("x-b=2, X-A=1=1,"),
            pairs(&[("x-a", "1=1"), ("x-b", "2")])
        );
        assert_eq!(
            admit(r#"{"X-A": "a, b", "n": 3}"#),
            pairs(&[("n", "3"), ("x-a", "a, b")])
        );
        assert_eq!(admit("a=1,A=2"), pairs(&[("a", "2")]));
        for text in [
            "x",
            "a b=1",
            "=1",
            "host=x",
            "Content-Type=x",
            r#"{"a": {}}"#,
            r#"{"a""#,
            "a=\u{1}",
            "a=é",
            r#"{"a": "x\r\ny: z"}"#,
        ] {
            assert!(admit(text).unwrap_err().hide, "{text}");
        }
    }

    #[test]
    fn ingestion_keys() {
        let good = format!("hh_ingst_{}_{}", "a1".repeat(12), "a-_9".repeat(16));
        assert!(is_scoped_key(&good, "hh_ingst_"));
        assert!(!is_scoped_key(&good[1..], "hh_ingst_"));
        assert!(!is_scoped_key(&good[..good.len() - 1], "hh_ingst_"));
        assert!(!is_scoped_key(&format!("{good}a"), "hh_ingst_"));
        assert!(!is_scoped_key(&good.replacen("a1", "a_", 1), "hh_ingst_"));
        assert!(!is_scoped_key(
            &format!("hh_ingst_{}", "é".repeat(50)),
            "hh_ingst_"
        ));
    }
}
