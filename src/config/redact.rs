//! What is to be redacted: plain data, and the user's own functions. Knows nothing of how it is done.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::value::flag;

/// A function of the user that may replace a text.
pub(crate) type Hook = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// It is only called where a panic is caught, and what it did by then is its own business.
#[derive(Clone)]
pub(crate) struct Contained(pub(crate) Hook);

impl UnwindSafe for Contained {}
impl RefUnwindSafe for Contained {}

/// What becomes `[redacted]` before an event leaves the process: values under keys that look like credentials, values
/// under keys of your own, what patterns match, and what a function says.
///
/// Keys are compared by whole words, whatever their spelling: `api_key` is found in `apiKey`, `X-API-Key` and
/// `service.api.key`, and in JSON texts too, at any depth; `token` is found in `auth_token`, and not in `max_tokens`,
/// `token_count` or `tokenizer`. A key that holds a container hides all of it. Yes and no are never hidden.
///
/// Everything happens on the export thread, and nothing that was redacted is written anywhere before. The names of
/// spans and the keys themselves are sent; only patterns and functions look at names of spans.
///
/// ```
/// use honeyhive::config::Redact;
///
/// # fn example() -> Result<(), honeyhive::Error> {
/// let honeyhive = honeyhive::HoneyHive::builder()
///     .redact(
///         Redact::default()
///             .key("ssn")
///             .pattern(r"\b\d{3}-\d{2}-\d{4}\b")
///             .with(|path, value| path.ends_with(".email").then(|| format!("{} characters", value.len()))),
///     )
///     .build()?;
/// # drop(honeyhive);
/// # Ok(()) }
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[must_use = "give it to Builder::redact"]
pub struct Redact {
    pub(crate) credentials: bool,
    pub(crate) keys: Vec<String>,
    pub(crate) patterns: Vec<String>,
    pub(crate) hooks: Vec<Contained>,
}

impl Default for Redact {
    /// Values under keys that look like credentials: `api_key`, `password`, `secret`, `token`, `authorization`,
    /// `credential`, `private_key`, `access_key`, `cookie`, `bearer` and their like.
    fn default() -> Self {
        Self {
            credentials: true,
            ..Self::none()
        }
    }
}

impl Redact {
    /// Nothing at all: the start of a list of your own.
    pub const fn none() -> Self {
        Self {
            credentials: false,
            keys: Vec::new(),
            patterns: Vec::new(),
            hooks: Vec::new(),
        }
    }

    /// Values under this key too, compared as those of credentials are.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// What this [regular expression](https://docs.rs/regex/latest/regex/#syntax) matches in any text, error messages
    /// and names of spans included. One that does not parse is an error when the instance is built.
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// What this function says: it gets the name of an attribute and its text, after all else was redacted, and
    /// answers with another text, or `None` to leave it as it is.
    ///
    /// It runs on the export thread. If it panics the value is lost, not the event, and
    /// [`Stats::redact_failed`](crate::report::Stats::redact_failed) counts it.
    pub fn with<F>(mut self, hook: F) -> Self
    where
        F: Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
    {
        self.hooks.push(Contained(Arc::new(hook)));
        self
    }

    /// Without what text cannot say: patterns and functions.
    pub(crate) fn masked(&self) -> Self {
        Self {
            credentials: self.credentials,
            keys: self.keys.clone(),
            ..Self::none()
        }
    }

    /// Reads `off`, `default` or a list of keys; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut redact = Self::default();
        for (index, part) in text.split(',').map(str::trim).enumerate() {
            match flag(part) {
                Some(on) if index == 0 => redact.credentials = on,
                _ if part.eq_ignore_ascii_case("default") && index == 0 => {}
                _ => redact.keys.push(part.to_owned()),
            }
        }
        redact.check()?;
        Ok(redact)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        for key in &self.keys {
            let fine = |character: char| character.is_alphanumeric() || "_-.".contains(character);
            if !key.chars().all(fine) || !key.contains(char::is_alphanumeric) {
                return Err(format!("{key:?} is no key"));
            }
        }
        for pattern in &self.patterns {
            if let Err(error) = regex::Regex::new(pattern) {
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default().trim();
                return Err(format!("the pattern {pattern:?} does not parse: {last}"));
            }
        }
        Ok(())
    }
}

/// Functions are the same when they are one function.
impl PartialEq for Redact {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (&Contained, &Contained)| Arc::ptr_eq(&one.0, &other.0);
        self.credentials == other.credentials
            && self.keys == other.keys
            && self.patterns == other.patterns
            && self.hooks.len() == other.hooks.len()
            && self.hooks.iter().zip(&other.hooks).all(same)
    }
}

/// The form that the variable takes, with numbers of what it cannot say.
impl fmt::Display for Redact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.credentials { "default" } else { "off" })?;
        for key in &self.keys {
            write!(f, ",{key}")?;
        }
        for (count, what) in [
            (self.patterns.len(), "pattern"),
            (self.hooks.len(), "function"),
        ] {
            if count > 0 {
                let plural = if count == 1 { "" } else { "s" };
                write!(f, ", {count} {what}{plural}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Redact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redact({self})")
    }
}

impl From<Redact> for String {
    fn from(redact: Redact) -> Self {
        redact.masked().to_string()
    }
}

impl TryFrom<String> for Redact {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}
