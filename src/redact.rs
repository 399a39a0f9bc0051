//! Redaction: which keys look like credentials, and what is left of a text. Runs on the export thread, before anything
//! leaves memory. Knows names and texts, neither spans nor requests.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regex::Regex;
use serde_json::{Map, Value};

/// What stands in the place of a value.
pub(crate) const REDACTED: &str = "[redacted]";
/// Likewise where a user's function panicked.
pub(crate) const FAILED: &str = "[redacted: the function panicked]";

/// A user's function: the name of an attribute and its text to another text.
pub(crate) type Hook = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// What one configuration says is to be hidden.
#[derive(Default)]
pub(crate) struct Redactor {
    credentials: bool,
    /// Without separators.
    keys: Vec<String>,
    patterns: Vec<Regex>,
    hooks: Vec<Hook>,
    failures: AtomicU64,
}

impl Redactor {
    /// Patterns that do not parse are left out: they were refused when the configuration was checked.
    pub(crate) fn new(
        credentials: bool,
        keys: &[String],
        patterns: &[String],
        hooks: Vec<Hook>,
    ) -> Self {
        let compact = |key: &String| key.chars().filter(|c| c.is_alphanumeric()).collect();
        Self {
            credentials,
            keys: keys.iter().map(compact).collect(),
            patterns: patterns
                .iter()
                .filter_map(|text| Regex::new(text).ok())
                .collect(),
            hooks,
            failures: AtomicU64::new(0),
        }
    }

    /// Whether there is nothing to do at all.
    pub(crate) fn is_off(&self) -> bool {
        !self.looks_at_keys() && !self.looks_at_texts()
    }

    fn looks_at_keys(&self) -> bool {
        self.credentials || !self.keys.is_empty()
    }

    /// Whether the content of texts matters, whatever their keys.
    pub(crate) fn looks_at_texts(&self) -> bool {
        !self.patterns.is_empty() || !self.hooks.is_empty()
    }

    /// How many values were lost to functions that panicked, since the last time somebody asked.
    pub(crate) fn take_failures(&self) -> u64 {
        self.failures.swap(0, Ordering::Relaxed)
    }

    /// Whether the value under a key is hidden: whether one of its segments, or words of neighbouring segments together,
    /// say so.
    pub(crate) fn hides(&self, key: &str) -> bool {
        // What a key says it says at its end; a hostile one may be as long as a text.
        let bytes = key.as_bytes();
        let bytes = bytes
            .last_chunk::<MAX_KEY>()
            .map_or(bytes, |end| end.as_slice());
        let mut at = 0;
        while at < bytes.len() {
            if starts_word(bytes, at) && self.hides_at(bytes, at) {
                return true;
            }
            at += 1;
        }
        false
    }

    fn hides_at(&self, key: &[u8], at: usize) -> bool {
        if self.credentials {
            let first = key.get(at).map_or(0, u8::to_ascii_lowercase);
            let second = key.get(at + 1).copied().filter(|byte| !is_separator(*byte));
            for word in credentials(first) {
                // Most are told apart by two letters.
                if let (Some(second), Some(letter)) = (second, word.as_bytes().get(1))
                    && !second.eq_ignore_ascii_case(letter)
                {
                    continue;
                }
                if let Some(end) = matches(key, at, word) {
                    let fine = match *word {
                        "token" => is_count(key, at, end),
                        "auth" => !is_segment(key, at, end),
                        _ => false,
                    };
                    if !fine {
                        return true;
                    }
                }
            }
        }
        self.keys
            .iter()
            .any(|word| matches(key, at, word).is_some())
    }

    /// What is left of a text that stands under a key that hides nothing; `None`: all of it.
    pub(crate) fn text(&self, path: &str, text: &str) -> Option<String> {
        let mut changed = None;
        if self.looks_at_keys() && is_structured(text) {
            changed = self.structured(text, 0);
        }
        self.matched(path, text, changed)
    }

    /// Patterns and functions.
    fn matched(&self, path: &str, text: &str, mut changed: Option<String>) -> Option<String> {
        for pattern in &self.patterns {
            let replaced = match pattern.replace_all(changed.as_deref().unwrap_or(text), REDACTED) {
                Cow::Owned(replaced) => replaced,
                Cow::Borrowed(_) => continue,
            };
            changed = Some(replaced);
        }
        for hook in &self.hooks {
            let value = changed.as_deref().unwrap_or(text);
            match catch_unwind(AssertUnwindSafe(|| hook(path, value))) {
                Ok(None) => {}
                Ok(Some(replaced)) => changed = Some(replaced),
                Err(_) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    return Some(FAILED.to_owned());
                }
            }
        }
        changed
    }

    /// Redacts what is below `path`.
    pub(crate) fn object(&self, path: &str, object: &mut Map<String, Value>) {
        self.entries(path, object, 0);
    }

    fn entries(&self, path: &str, object: &mut Map<String, Value>, depth: usize) {
        for (key, value) in object.iter_mut() {
            let below = format!("{path}.{key}");
            // The path above was found to hide nothing, but may add to the meaning of the key.
            if !is_harmless(value) && self.hides(&below) {
                *value = REDACTED.into();
            } else {
                self.value(&below, value, depth);
            }
        }
    }

    fn value(&self, path: &str, value: &mut Value, depth: usize) {
        match value {
            Value::String(text) => {
                if let Some(left) = self.text(path, text) {
                    *text = left;
                }
            }
            // Nobody looks that deep, and the stack has an end.
            Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => *value = REDACTED.into(),
            Value::Array(list) => {
                for value in list {
                    self.value(path, value, depth + 1);
                }
            }
            Value::Object(object) => self.entries(path, object, depth + 1),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Hides the values of keys in a text that is JSON, or what `Debug` prints of structs and maps. `None`: there are
    /// none.
    ///
    /// The text is scanned once, not parsed: what was cut in the middle is no JSON any more, and is redacted all the
    /// same.
    fn structured(&self, text: &str, nested: usize) -> Option<String> {
        let bytes = text.as_bytes();
        let mut out = String::new();
        let mut copied = 0;
        let mut replace = |from: usize, to: usize, with: &str| {
            out.push_str(text.get(copied..from).unwrap_or_default());
            out.push_str(with);
            copied = to;
        };
        // For each open bracket whether it is a brace, and the key before it.
        let mut open: Vec<(bool, (usize, usize))> = Vec::new();
        let mut last_key = (0, 0);
        let mut shown = Shown::default();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let key = match byte {
                b'"' => {
                    let end = string_end(bytes, at);
                    match colon(bytes, end) {
                        Some(value) => Some((at + 1, end - 1, value)),
                        None => {
                            let literal = text.get(at..end).unwrap_or_default();
                            if let Some(inner) = self.literal(literal, nested) {
                                replace(at, end, &inner);
                            }
                            at = end;
                            continue;
                        }
                    }
                }
                b'{' | b'[' | b'(' => {
                    open.push((byte == b'{', last_key));
                    last_key = (0, 0);
                    None
                }
                b'}' | b']' | b')' => {
                    open.pop();
                    None
                }
                _ if is_name(byte) => {
                    let end = name_end(bytes, at);
                    let in_braces = open.last().is_some_and(|(brace, _)| *brace);
                    match colon(bytes, end) {
                        Some(value) if in_braces && bytes.get(value) != Some(&b':') => {
                            Some((at, end, value))
                        }
                        _ => {
                            at = end;
                            continue;
                        }
                    }
                }
                _ => None,
            };
            let Some((start, end, value)) = key else {
                at += 1;
                continue;
            };
            at = value;
            last_key = (start, end);
            let name = text.get(start..end).unwrap_or_default();
            if shown.contains(name) {
                continue;
            }
            if !self.hides_in_text(name) {
                shown.insert(name);
                continue;
            }
            let value_end = value_end(bytes, value);
            let whole = text.get(value..value_end).unwrap_or_default();
            let above = open.last().map_or((0, 0), |(_, key)| *key);
            let start = above.0.max(above.1.saturating_sub(MAX_KEY));
            let above = text.get(start..above.1).unwrap_or_default();
            let rest = bytes.get(value_end..).unwrap_or_default();
            if !is_harmless_text(whole) && !self.is_exempt(above, name, rest) {
                replace(value, value_end, "\"[redacted]\"");
                at = value_end;
            }
        }
        if copied == 0 {
            return None;
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Some(out)
    }

    fn hides_in_text(&self, name: &str) -> bool {
        if !name.contains('\\') {
            return self.hides(name);
        }
        match serde_json::from_str::<String>(&format!("\"{name}\"")) {
            Ok(name) => self.hides(&name),
            Err(_) => self.hides(name),
        }
    }

    /// A key that means something else in its place: a token of a tokenizer, or what a key of one's own does not name.
    fn is_exempt(&self, above: &str, name: &str, rest: &[u8]) -> bool {
        if !name.eq_ignore_ascii_case("token") || self.keys.iter().any(|key| key == "token") {
            return false;
        }
        let rest = rest.trim_ascii_start();
        let rest = rest
            .strip_prefix(b",")
            .unwrap_or_default()
            .trim_ascii_start();
        rest.starts_with(b"\"logprob\"") || !self.hides(&format!("{above}.{name}"))
    }

    /// A string literal that holds such a text again.
    fn literal(&self, literal: &str, nested: usize) -> Option<String> {
        if !is_structured(literal.get(1..)?) || !literal.contains('\\') {
            return None;
        }
        if nested >= MAX_NESTED {
            return Some("\"[redacted]\"".to_owned());
        }
        let inner: String = match serde_json::from_str(literal) {
            Ok(inner) => inner,
            // Cut, or escaped as `Debug` does it.
            Err(_) => literal
                .trim_matches('"')
                .replace("\\\"", "\"")
                .replace("\\\\", "\\"),
        };
        let redacted = self.structured(&inner, nested + 1)?;
        serde_json::to_string(&redacted).ok()
    }
}

/// Keys of a text that were found to hide nothing: lists of objects have the same few over and over.
#[derive(Default)]
struct Shown<'a> {
    keys: [&'a str; 32],
}

impl<'a> Shown<'a> {
    fn slot(key: &str) -> usize {
        let ends = [key.as_bytes().first(), key.as_bytes().last()];
        let [first, last] = ends.map(|byte| usize::from(byte.copied().unwrap_or_default()));
        (key.len() * 7 + first * 3 + last) % 32
    }

    fn contains(&self, key: &str) -> bool {
        self.keys.get(Self::slot(key)) == Some(&key)
    }

    fn insert(&mut self, key: &'a str) {
        if let Some(slot) = self.keys.get_mut(Self::slot(key)) {
            *slot = key;
        }
    }
}

/// So much of the end of a key is looked at.
const MAX_KEY: usize = 1024;
/// Values deeper than this are hidden as they are.
const MAX_DEPTH: usize = 128;
/// Likewise texts inside texts inside texts; each level doubles the escapes.
const MAX_NESTED: usize = 6;

/// Words that name credentials, by their first letter; separators and case do not count.
fn credentials(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &[
            "accesskey",
            "accesskeys",
            "accountkey",
            "apikey",
            "apikeys",
            "apitokens",
            "accesstokens",
            "auth",
            "authkey",
            "authorization",
            "authtokens",
        ],
        b'b' => &["bearer", "bearertokens"],
        b'c' => &[
            "connectionstring",
            "cookie",
            "cookies",
            "credential",
            "credentials",
            "creds",
        ],
        b'e' => &["encryptionkey"],
        b'j' => &["jwt"],
        b'm' => &["masterkey"],
        b'p' => &[
            "passcode",
            "passphrase",
            "passwd",
            "password",
            "passwords",
            "privatekey",
            "privatekeys",
            "pwd",
        ],
        b'r' => &["refreshtokens"],
        b's' => &[
            "secret",
            "secretkey",
            "secrets",
            "sessionkey",
            "sessiontokens",
            "signingkey",
            "sshkey",
            "subscriptionkey",
        ],
        b't' => &["token"],
        _ => &[],
    }
}

/// Words next to `token` that make it one of a model's, a count of them, or something about a credential.
const NO_CREDENTIAL: &[&str] = &[
    "audio",
    "avg",
    "bos",
    "budget",
    "cached",
    "completion",
    "cost",
    "count",
    "counts",
    "end",
    "endpoint",
    "eos",
    "estimate",
    "estimated",
    "expires",
    "expiry",
    "first",
    "generated",
    "image",
    "index",
    "input",
    "latency",
    "left",
    "length",
    "limit",
    "limits",
    "logprob",
    "logprobs",
    "mask",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "ms",
    "new",
    "num",
    "number",
    "output",
    "pad",
    "per",
    "position",
    "price",
    "probability",
    "prompt",
    "rate",
    "reasoning",
    "remaining",
    "second",
    "seconds",
    "sep",
    "size",
    "special",
    "speed",
    "start",
    "stop",
    "text",
    "thinking",
    "throughput",
    "time",
    "total",
    "type",
    "types",
    "unk",
    "uri",
    "url",
    "usage",
    "used",
    "vocab",
    "vocabulary",
    "window",
];

/// Segments around a segment `token` that say the same.
const COUNTING: &[&str] = &[
    "completion",
    "count",
    "counts",
    "limit",
    "logprob",
    "logprobs",
    "max",
    "min",
    "prompt",
    "rate",
    "toplogprobs",
    "total",
    "type",
    "usage",
];

const fn is_separator(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric() && byte < 0x80
}

/// Whether a word starts here: after a separator, at a capital after a small letter, at the last of several capitals
/// before a small letter, and where letters and digits meet.
fn starts_word(key: &[u8], at: usize) -> bool {
    let Some(&here) = key.get(at) else {
        return false;
    };
    if is_separator(here) {
        return false;
    }
    let Some(&before) = at.checked_sub(1).and_then(|before| key.get(before)) else {
        return true;
    };
    if is_separator(before) || here.is_ascii_digit() != before.is_ascii_digit() {
        return true;
    }
    here.is_ascii_uppercase()
        && (!before.is_ascii_uppercase() || key.get(at + 1).is_some_and(u8::is_ascii_lowercase))
}

/// Whether `word` stands at `at`, whatever separators are in it, and ends where a word does; the answer is where.
fn matches(key: &[u8], at: usize, word: &str) -> Option<usize> {
    let mut position = at;
    let mut letters = word.bytes();
    let mut next = letters.next()?;
    loop {
        let &here = key.get(position)?;
        position += 1;
        if position - 1 > at && is_separator(here) {
            continue;
        }
        if !here.eq_ignore_ascii_case(&next) {
            return None;
        }
        match letters.next() {
            Some(letter) => next = letter,
            None => break,
        }
    }
    let ends =
        key.get(position).is_none_or(|byte| is_separator(*byte)) || starts_word(key, position);
    ends.then_some(position)
}

/// The bounds of the segment of a dotted key that `at` is in.
fn segment(key: &[u8], at: usize) -> (usize, usize) {
    let before = key.get(..at).unwrap_or_default();
    let start = before
        .iter()
        .rposition(|byte| *byte == b'.')
        .map_or(0, |dot| dot + 1);
    let after = key.get(at..).unwrap_or_default();
    let end = after
        .iter()
        .position(|byte| *byte == b'.')
        .map_or(key.len(), |dot| at + dot);
    (start, end)
}

fn is_segment(key: &[u8], start: usize, end: usize) -> bool {
    segment(key, start) == (start, end)
}

/// Whether the word `token` at `start..end` is about tokens of a model.
fn is_count(key: &[u8], start: usize, end: usize) -> bool {
    let (from, to) = segment(key, start);
    if (from, to) == (start, end) {
        let before = from.checked_sub(1).map(|dot| {
            // Numbers are places in a list: the name stands before them.
            let mut end = dot;
            loop {
                let start = segment(key, end.saturating_sub(1)).0;
                let name = key.get(start..end).unwrap_or_default();
                match start.checked_sub(1) {
                    Some(dot) if name.iter().all(u8::is_ascii_digit) => end = dot,
                    _ => return name,
                }
            }
        });
        let after = key.get(end + 1..).filter(|after| !after.is_empty());
        let after = after.map(|after| after.split(|byte| *byte == b'.').next().unwrap_or_default());
        return before
            .into_iter()
            .chain(after)
            .any(|name| any_word(name, COUNTING))
            || contains(key, b"logprobs");
    }
    let around = [key.get(from..start), key.get(end..to)];
    around
        .into_iter()
        .flatten()
        .any(|part| any_word(part, NO_CREDENTIAL))
}

fn contains(key: &[u8], part: &[u8]) -> bool {
    key.windows(part.len())
        .any(|window| window.eq_ignore_ascii_case(part))
}

/// Whether one of the words of `part`, or two neighbouring ones together, are in the list.
fn any_word(part: &[u8], list: &[&str]) -> bool {
    (0..part.len())
        .filter(|at| starts_word(part, *at))
        .any(|at| list.iter().any(|word| matches(part, at, word).is_some()))
}

/// Yes, no and nothing are no secrets.
fn is_harmless(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Number(_) => false,
    }
}

fn is_harmless_text(value: &str) -> bool {
    matches!(
        value.trim(),
        "true" | "false" | "null" | "None" | "\"\"" | "[]" | "{}" | ""
    )
}

/// Whether a text may be JSON, or what `Debug` prints of a struct: `{..`, `[..`, `(..`, `Name {..`, `Name(..`.
fn is_structured(text: &str) -> bool {
    let bytes = text.trim_ascii_start().as_bytes();
    match bytes.first() {
        Some(b'{' | b'[' | b'(') => true,
        Some(first) if first.is_ascii_uppercase() => {
            let end = name_end(bytes, 0);
            let rest = bytes.get(end..).unwrap_or_default();
            rest.starts_with(b"(") || rest.starts_with(b" {")
        }
        _ => false,
    }
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn name_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter()
        .position(|byte| !is_name(*byte))
        .map_or(bytes.len(), |length| at + length)
}

/// Where the string that starts with the quote at `at` ends, its closing quote included.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    // Most are short, and over before a search would have begun.
    for _ in 0..16 {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// Where the value starts if a colon follows.
fn colon(bytes: &[u8], at: usize) -> Option<usize> {
    let at = skip_space(bytes, at);
    (bytes.get(at) == Some(&b':')).then(|| match bytes.get(at + 1) {
        // Two of them are part of a path.
        Some(b':') => at + 1,
        _ => skip_space(bytes, at + 1),
    })
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let space = |byte: &u8| byte.is_ascii_whitespace();
    rest.iter()
        .position(|byte| !space(byte))
        .map_or(bytes.len(), |length| at + length)
}

/// Where the value that starts at `at` ends: before the comma or the bracket that is not its own.
fn value_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut end = at;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'"' => {
                end = string_end(bytes, end);
                continue;
            }
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => break,
            },
            b',' if depth == 0 => break,
            _ => {}
        }
        end += 1;
    }
    let value = bytes.get(at..end).unwrap_or_default();
    at + value.trim_ascii_end().len()
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("credentials", &self.credentials)
            .field("keys", &self.keys.len())
            .field("patterns", &self.patterns.len())
            .field("hooks", &self.hooks.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "redact/tests.rs"]
mod tests;
