//! The attributes of a span: values as the wire has them, by key, the last write of each, no more than are allowed.
//! Knows which containers are taken apart, not what a name means.

use std::borrow::Cow;
use std::collections::HashMap;

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

    pub(super) fn is(&self, prefix: &str, name: &str) -> bool {
        self.name == name && self.prefix == prefix
    }
}

/// Attributes by key, the last write of each.
pub(super) struct Attributes<'a> {
    pub(super) list: Vec<Attribute<'a>>,
    /// For each, when it was first written.
    ranks: Vec<usize>,
    /// When what is being put was first written.
    pub(super) rank: usize,
    /// Made when the list is too long to be searched.
    index: HashMap<(&'static str, String), usize>,
    max: usize,
    pub(super) dropped: u32,
}

/// Longer lists are indexed.
const SEARCHED: usize = 24;

impl<'a> Attributes<'a> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            list: Vec::with_capacity(8),
            ranks: Vec::with_capacity(8),
            rank: 0,
            index: HashMap::new(),
            max,
            dropped: 0,
        }
    }

    /// Lets go of those that were first written last, where there are too many.
    pub(super) fn trim(&mut self) {
        let surplus = self.list.len().saturating_sub(self.max);
        if surplus == 0 {
            return;
        }
        let mut order: Vec<(usize, usize)> = self.ranks.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let Some(&bound) = order.get(self.max) else {
            return;
        };
        let mut ranked = self.ranks.iter().copied().zip(0..);
        self.list
            .retain(|_| ranked.next().is_some_and(|rank| rank < bound));
        self.dropped = u32::try_from(surplus).unwrap_or(u32::MAX);
    }

    pub(super) fn get(&self, key: &str) -> Option<&Scalar<'a>> {
        if self.list.len() > SEARCHED {
            return self
                .index
                .get(&("", key.to_owned()))
                .and_then(|at| self.list.get(*at))
                .map(|a| &a.value);
        }
        self.list
            .iter()
            .find(|attribute| attribute.is("", key))
            .map(|attribute| &attribute.value)
    }

    pub(super) fn has(&self, prefix: &str, name: &str) -> bool {
        self.list.iter().any(|attribute| attribute.is(prefix, name))
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
        self.list.len().saturating_add(count_leaves(container)) > self.max
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
            match parsed {
                _ if self.overflows(&parsed) => {
                    self.insert("", Cow::Borrowed(prefix), Scalar::Text(Cow::Borrowed(text)));
                }
                serde_json::Value::Object(map) => {
                    for (key, value) in map {
                        if semconv::is_whole(prefix, &key)
                            && (value.is_array() || value.is_object())
                        {
                            self.insert(
                                prefix,
                                Cow::Owned(key),
                                Scalar::Text(Cow::Owned(value.to_string())),
                            );
                        } else {
                            self.flatten(prefix, key, value);
                        }
                    }
                }
                other => self.flatten(prefix, root_name(prefix).to_owned(), other),
            }
            return;
        }
        self.insert(prefix, Cow::Borrowed(root_name(prefix)), scalar(value));
    }

    fn flatten(&mut self, prefix: &'static str, path: String, value: serde_json::Value) {
        // Depth is bounded: serde_json does not parse deeper than 128 levels.
        match value {
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

    fn insert(&mut self, prefix: &'static str, name: Cow<'a, str>, value: Scalar<'a>) {
        if self.list.len() <= SEARCHED {
            if let Some(known) = self.list.iter_mut().find(|known| known.is(prefix, &name)) {
                known.value = value;
                return;
            }
        } else if let Some(known) = self
            .index
            .get(&(prefix, name.as_ref().to_owned()))
            .and_then(|at| self.list.get_mut(*at))
        {
            known.value = value;
            return;
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
                self.index
                    .insert((attribute.prefix, attribute.name.as_ref().to_owned()), at);
            }
        }
    }
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

impl Scalar<'_> {
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

fn double<'a>(value: f64) -> Scalar<'a> {
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
        Value::Debug(text) => unquote(text).map_or(Cow::Borrowed(text), Cow::Owned),
        Value::Error { message, .. } => unquote(message).map_or(Cow::Borrowed(message), Cow::Owned),
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
fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
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
    Some(content)
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
