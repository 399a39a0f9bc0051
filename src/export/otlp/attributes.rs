//! Attributes by key: containers taken apart, the last write of each key kept, their number bounded. Knows the values of
//! records and how they go over the wire, not what attributes mean to an event.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use uuid::Uuid;

use crate::event::fields::Value;
use crate::event::semconv::{self, name};

/// A key and a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute<'a> {
    /// Stands before the name, with a dot between, unless it is empty.
    pub(crate) prefix: &'static str,
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: Scalar<'a>,
}

/// The values that go over the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    /// Always finite.
    Double(f64),
    Text(Cow<'a, str>),
    Uuid(Uuid),
}

impl<'a> Attribute<'a> {
    pub(super) fn new(
        prefix: &'static str,
        name: impl Into<Cow<'a, str>>,
        value: Scalar<'a>,
    ) -> Self {
        Self {
            prefix,
            name: name.into(),
            value,
        }
    }

    pub(super) fn text(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self::new("", name, Scalar::Text(value.into()))
    }

    /// Whether this is its name on the wire, or the name of the plain field it comes from.
    pub(super) fn is_called(&self, full: &str) -> bool {
        if self.prefix.is_empty() || self.prefix == name::INPUTS && self.name == full {
            return self.name == full;
        }
        full.strip_prefix(self.prefix)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|rest| rest == self.name)
    }

    pub(super) fn is(&self, prefix: &str, name: &str) -> bool {
        self.name == name && self.prefix == prefix
    }
}

/// Attributes by key, the last write of each.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    list: Vec<Attribute<'a>>,
    /// For each, when it was first written.
    ranks: Vec<usize>,
    /// When what is being put was first written.
    pub(super) rank: usize,
    /// Hashes of names to places, made when the list is too long to be searched. Of two names with one hash only the
    /// first is here.
    index: HashMap<u64, usize>,
    hasher: RandomState,
    max: usize,
    /// How many of the list do not count against `max`.
    core: usize,
    pub(super) dropped: u32,
}

/// Longer lists are indexed.
const SEARCHED: usize = 24;
/// A container is not taken apart where the names of its parts would be longer.
const MAX_NAME: usize = 1024;

impl<'a> Attributes<'a> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            list: Vec::with_capacity(8),
            ranks: Vec::with_capacity(8),
            rank: 0,
            index: HashMap::new(),
            hasher: RandomState::new(),
            max,
            core: 0,
            dropped: 0,
        }
    }

    /// Lets go of those that were first written last, where there are too many.
    pub(super) fn trim(&mut self) {
        let surplus = self.counted().saturating_sub(self.max);
        if surplus == 0 {
            return;
        }
        let counted = |attribute: &Attribute<'_>| !is_core(attribute.prefix, &attribute.name);
        let places = self.ranks.iter().copied().zip(0..);
        let mut order: Vec<(usize, usize)> = places
            .zip(&self.list)
            .filter(|(_, attribute)| counted(attribute))
            .map(|(place, _)| place)
            .collect();
        order.sort_unstable();
        let Some(&bound) = order.get(self.max) else {
            return;
        };
        let mut places = self.ranks.iter().copied().zip(0..);
        self.list.retain(|attribute| {
            let kept = places.next().is_some_and(|place| place < bound);
            kept || !counted(attribute)
        });
        self.index.clear();
        self.ranks.clear();
        self.dropped = u32::try_from(surplus).unwrap_or(u32::MAX);
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Attribute<'a>> {
        self.list.iter()
    }

    /// Takes all attributes out; how many were dropped stays known.
    pub(super) fn take(&mut self) -> Vec<Attribute<'a>> {
        self.index.clear();
        self.core = 0;
        std::mem::take(&mut self.list)
    }

    pub(super) fn get(&self, prefix: &'static str, name: &str) -> Option<&Scalar<'a>> {
        self.position(prefix, name)
            .and_then(|at| self.list.get(at))
            .map(|attribute| &attribute.value)
    }

    fn position(&self, prefix: &'static str, name: &str) -> Option<usize> {
        if self.list.len() > SEARCHED && !self.index.is_empty() {
            let at = *self.index.get(&self.hasher.hash_one((prefix, name)))?;
            if self
                .list
                .get(at)
                .is_some_and(|known| known.is(prefix, name))
            {
                return Some(at);
            }
        }
        self.list
            .iter()
            .position(|attribute| attribute.is(prefix, name))
    }

    /// Puts an attribute whose name is not taken yet.
    pub(super) fn put_new(&mut self, attribute: Attribute<'a>) {
        let Attribute {
            prefix,
            name,
            value,
        } = attribute;
        if self.position(prefix, &name).is_none() {
            self.insert(prefix, name, value);
        }
    }

    pub(super) fn put(&mut self, prefix: &'static str, name: &'a str, value: Value<'a>) {
        if let Value::Json(text) = value
            && !semconv::is_whole(prefix, name)
            && let Ok(parsed) = serde_json::from_str::<serde_json::Value>(text)
        {
            if self.overflows(&parsed) {
                self.insert(
                    prefix,
                    Cow::Borrowed(name),
                    Scalar::Text(Cow::Borrowed(text)),
                );
            } else {
                self.flatten(prefix, name.to_owned(), parsed);
            }
            return;
        }
        self.insert(prefix, Cow::Borrowed(name), scalar(value));
    }

    /// Whether there is no room for all parts of a container: then one attribute that holds all of it is better than
    /// some of its parts.
    fn overflows(&self, container: &serde_json::Value) -> bool {
        self.counted().saturating_add(count_leaves(container)) > self.max
    }

    /// A value for a whole namespace: the keys of an object become its keys.
    pub(super) fn put_root(&mut self, prefix: &'static str, value: Value<'a>) {
        let text = match value {
            Value::Json(text) | Value::Str(text) | Value::Debug(text) => text.trim_start(),
            _ => "",
        };
        if text.starts_with(['{', '['])
            && let Ok(parsed) = serde_json::from_str::<serde_json::Value>(text)
        {
            self.put_bucket(prefix, parsed, Some(text));
            return;
        }
        self.insert(prefix, Cow::Borrowed(root_name(prefix)), scalar(value));
    }

    /// See [`put_root`](Self::put_root); `text` is what was parsed.
    pub(super) fn put_bucket(
        &mut self,
        prefix: &'static str,
        parsed: serde_json::Value,
        text: Option<&'a str>,
    ) {
        match parsed {
            _ if self.overflows(&parsed) => {
                let text = text.map_or_else(|| Cow::Owned(parsed.to_string()), Cow::Borrowed);
                self.insert("", Cow::Borrowed(prefix), Scalar::Text(text));
            }
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    if semconv::is_whole(prefix, &key) && (value.is_array() || value.is_object()) {
                        let text = Scalar::Text(Cow::Owned(value.to_string()));
                        self.insert(prefix, Cow::Owned(key), text);
                    } else {
                        self.flatten(prefix, key, value);
                    }
                }
            }
            other => self.flatten(prefix, root_name(prefix).to_owned(), other),
        }
    }

    pub(super) fn flatten(&mut self, prefix: &'static str, path: String, value: serde_json::Value) {
        // Depth is bounded: serde_json does not parse deeper than 128 levels. So are names, or a long key above many
        // leaves would be repeated for each of them.
        match value {
            value @ (serde_json::Value::Array(_) | serde_json::Value::Object(_))
                if path.len() > MAX_NAME =>
            {
                let text = Scalar::Text(Cow::Owned(value.to_string()));
                self.insert(prefix, Cow::Owned(path), text);
            }
            serde_json::Value::Null => {}
            serde_json::Value::Bool(value) => {
                self.insert(prefix, Cow::Owned(path), Scalar::Bool(value));
            }
            serde_json::Value::Number(number) => {
                let value = number
                    .as_i64()
                    .map(Scalar::Int)
                    .or_else(|| {
                        number
                            .as_u64()
                            .map(|wide| Scalar::Text(Cow::Owned(wide.to_string())))
                    })
                    .unwrap_or_else(|| double(number.as_f64().unwrap_or(f64::NAN)));
                self.insert(prefix, Cow::Owned(path), value);
            }
            serde_json::Value::String(text) => {
                self.insert(prefix, Cow::Owned(path), Scalar::Text(Cow::Owned(text)));
            }
            serde_json::Value::Array(list) => {
                for (index, value) in list.into_iter().enumerate() {
                    self.flatten(prefix, format!("{path}.{index}"), value);
                }
            }
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    self.flatten(prefix, format!("{path}.{key}"), value);
                }
            }
        }
    }

    pub(super) fn insert(&mut self, prefix: &'static str, name: Cow<'a, str>, value: Scalar<'a>) {
        if let Some(at) = self.position(prefix, &name) {
            if let Some(known) = self.list.get_mut(at) {
                known.value = value;
            }
            return;
        }
        if is_core(prefix, &name) {
            self.core += 1;
        }
        self.ranks.push(self.rank);
        self.list.push(Attribute {
            prefix,
            name,
            value,
        });
        let added = self.list.len();
        if added > SEARCHED {
            let from = if added == SEARCHED + 1 { 0 } else { added - 1 };
            for (at, attribute) in self.list.iter().enumerate().skip(from) {
                let name = (attribute.prefix, attribute.name.as_ref());
                self.index.entry(self.hasher.hash_one(name)).or_insert(at);
            }
        }
    }

    /// How many attributes count against the limit.
    fn counted(&self) -> usize {
        self.list.len().saturating_sub(self.core)
    }
}

/// What a limit never takes.
fn is_core(prefix: &str, name: &str) -> bool {
    prefix == name::METADATA && semconv::CORE_METADATA.contains(&name)
}

fn root_name(prefix: &str) -> &'static str {
    match prefix {
        name::OUTPUTS => "result",
        name::INPUTS => "input",
        _ => "value",
    }
}

fn count_leaves(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Null => 0,
        serde_json::Value::Array(list) => list.iter().map(count_leaves).sum(),
        serde_json::Value::Object(map) => map.values().map(count_leaves).sum(),
        _ => 1,
    }
}

impl<'a> Scalar<'a> {
    pub(super) fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            other => Cow::Owned(other.to_text().into_owned()),
        }
    }

    pub(super) fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Double(value) => Cow::Owned(value.to_string()),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Uuid(uuid) => Cow::Owned(uuid.to_string()),
        }
    }
}

pub(super) fn double<'a>(value: f64) -> Scalar<'a> {
    if value.is_finite() {
        Scalar::Double(value)
    } else if value.is_nan() {
        Scalar::Text(Cow::Borrowed("nan"))
    } else {
        Scalar::Text(Cow::Borrowed(if value > 0.0 { "inf" } else { "-inf" }))
    }
}

pub(super) fn scalar(value: Value<'_>) -> Scalar<'_> {
    match value {
        Value::Bool(value) => Scalar::Bool(value),
        Value::I64(value) => Scalar::Int(value),
        Value::U64(value) => match i64::try_from(value) {
            Ok(value) => Scalar::Int(value),
            Err(_) => Scalar::Text(Cow::Owned(value.to_string())),
        },
        Value::I128(value) => match i64::try_from(value) {
            Ok(value) => Scalar::Int(value),
            Err(_) => Scalar::Text(Cow::Owned(value.to_string())),
        },
        Value::U128(value) => match i64::try_from(value) {
            Ok(value) => Scalar::Int(value),
            Err(_) => Scalar::Text(Cow::Owned(value.to_string())),
        },
        Value::F64(value) => double(value),
        other => Scalar::Text(text(other)),
    }
}

/// The text of a value; a `Debug` text that is one quoted string is unquoted.
pub(super) fn text(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Str(text) | Value::Json(text) => Cow::Borrowed(text),
        Value::Debug(text) => unquote(text).unwrap_or(Cow::Borrowed(text)),
        Value::Error { message, .. } => unquote(message).unwrap_or(Cow::Borrowed(message)),
        Value::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        Value::I64(value) => Cow::Owned(value.to_string()),
        Value::U64(value) => Cow::Owned(value.to_string()),
        Value::F64(value) => Cow::Owned(value.to_string()),
        Value::I128(value) => Cow::Owned(value.to_string()),
        Value::U128(value) => Cow::Owned(value.to_string()),
    }
}

/// Nothing, for a text that says there is nothing: `error = false` is no error.
pub(super) fn truthy(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (!text.trim().is_empty() && text != "false").then_some(text)
}

/// The content of a text that is one string literal as `Debug` writes it.
fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr2(b'"', b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    let mut content = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => content.push(match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'u' => {
                    let hex = characters.as_str().strip_prefix('{')?.split_once('}')?.0;
                    for _ in 0..hex.len() + 2 {
                        characters.next();
                    }
                    char::from_u32(u32::from_str_radix(hex, 16).ok()?)?
                }
                plain @ ('"' | '\'' | '\\') => plain,
                _ => return None,
            }),
            other => content.push(other),
        }
    }
    Some(Cow::Owned(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_string_literal_is_unquoted() {
        for text in ["", "plain", "tab\t\"quote\" \\ ü\u{1b}", "'", "\u{200b}"] {
            assert_eq!(unquote(&format!("{text:?}")).as_deref(), Some(text));
        }
        for other in [
            "[\"a\"]",
            "\"a\", \"b\"",
            "\"",
            "",
            "Some(\"x\")",
            "\"\\x\"",
        ] {
            assert_eq!(unquote(other), None, "{other}");
        }
    }
}
