//! From JSON to typed answers, with the path of what is wrong. Knows nothing of HTTP.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What an answer lacks, or has in another form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) path: String,
    pub(crate) what: String,
}

impl Wrong {
    fn new(what: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            what: what.into(),
        }
    }

    fn expected(what: &str, found: &Value) -> Self {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        Self::new(format!("expected {what}, found {found}"))
    }

    /// The same, seen from outside.
    pub(crate) fn inside(mut self, segment: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{segment}{dot}{}", self.path);
        self
    }
}

/// What can be read from an answer, and written back.
pub(crate) trait Decode: Sized {
    fn decode(value: Value) -> Result<Self, Wrong>;

    fn encode(&self) -> Value;

    /// When the field is not there.
    fn absent() -> Result<Self, Wrong> {
        Err(Wrong::new("it is missing"))
    }
}

/// Takes a field out of an object.
pub(crate) fn field<T: Decode>(map: &mut Map<String, Value>, name: &str) -> Result<T, Wrong> {
    match map.remove(name) {
        Some(value) => T::decode(value),
        None => T::absent(),
    }
    .map_err(|wrong| wrong.inside(name))
}

pub(crate) fn object(value: Value) -> Result<Map<String, Value>, Wrong> {
    match value {
        Value::Object(map) => Ok(map),
        other => Err(Wrong::expected("an object", &other)),
    }
}

impl Decode for Value {
    fn decode(value: Value) -> Result<Self, Wrong> {
        Ok(value)
    }

    fn encode(&self) -> Value {
        self.clone()
    }

    fn absent() -> Result<Self, Wrong> {
        Ok(Self::Null)
    }
}

impl Decode for Map<String, Value> {
    fn decode(value: Value) -> Result<Self, Wrong> {
        object(value)
    }

    fn encode(&self) -> Value {
        Value::Object(self.clone())
    }
}

impl Decode for String {
    fn decode(value: Value) -> Result<Self, Wrong> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(Wrong::expected("text", &other)),
        }
    }

    fn encode(&self) -> Value {
        Value::String(self.clone())
    }
}

impl Decode for bool {
    fn decode(value: Value) -> Result<Self, Wrong> {
        value
            .as_bool()
            .ok_or_else(|| Wrong::expected("true or false", &value))
    }

    fn encode(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Decode for f64 {
    fn decode(value: Value) -> Result<Self, Wrong> {
        value
            .as_f64()
            .ok_or_else(|| Wrong::expected("a number", &value))
    }

    fn encode(&self) -> Value {
        number(*self)
    }
}

impl Decode for u64 {
    fn decode(value: Value) -> Result<Self, Wrong> {
        // `3.0` is as whole as `3`.
        let whole = |number: f64| {
            let fits = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked on the line above"
            )]
            fits.then_some(number as Self)
        };
        value
            .as_u64()
            .or_else(|| value.as_f64().and_then(whole))
            .ok_or_else(|| Wrong::expected("a whole number", &value))
    }

    fn encode(&self) -> Value {
        Value::from(*self)
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(value: Value) -> Result<Self, Wrong> {
        if value.is_null() {
            return Ok(None);
        }
        T::decode(value).map(Some)
    }

    fn encode(&self) -> Value {
        self.as_ref().map_or(Value::Null, Decode::encode)
    }

    fn absent() -> Result<Self, Wrong> {
        Ok(None)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(value: Value) -> Result<Self, Wrong> {
        let Value::Array(items) = value else {
            return Err(Wrong::expected("a list", &value));
        };
        let items = items.into_iter().enumerate();
        items
            .map(|(index, item)| {
                T::decode(item).map_err(|wrong| wrong.inside(&format!("[{index}]")))
            })
            .collect()
    }

    fn encode(&self) -> Value {
        self.iter().map(Decode::encode).collect()
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(value: Value) -> Result<Self, Wrong> {
        object(value)?
            .into_iter()
            .map(|(name, value)| match T::decode(value) {
                Ok(value) => Ok((name, value)),
                Err(wrong) => Err(wrong.inside(&name)),
            })
            .collect()
    }

    fn encode(&self) -> Value {
        let entries = self.iter();
        Value::Object(
            entries
                .map(|(name, value)| (name.clone(), value.encode()))
                .collect(),
        )
    }
}

/// A number as JSON has it: whole where it is whole. What JSON has no number for becomes null, which no rule admits.
pub(crate) fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole, and within what both types hold"
        )]
        return Value::from(number as i64);
    }
    Value::from(number)
}

macro_rules! wire {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $wire:literal) => {
        $wire
    };
}

/// The type of an answer: its fields, and everything else it had.
macro_rules! answer {
    ($(
        $(#[$meta:meta])*
        $vis:vis $name:ident {
            $( $(#[$note:meta])* $field:ident $(($wire:literal))? : $kind:ty, )*
        }
    )*) => {$(
        $(#[$meta])*
        ///
        /// What the answer had besides is in `extra`; it goes through JSON and back.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        $vis struct $name {
            $( $(#[$note])* $vis $field: $kind, )*
            /// What the answer had besides.
            $vis extra: serde_json::Map<String, serde_json::Value>,
        }

        impl $crate::api::decode::Decode for $name {
            fn decode(value: serde_json::Value) -> Result<Self, $crate::api::decode::Wrong> {
                let mut map = $crate::api::decode::object(value)?;
                Ok(Self {
                    $( $field: $crate::api::decode::field(&mut map, $crate::api::decode::wire!($field $($wire)?))?, )*
                    extra: map,
                })
            }

            fn encode(&self) -> serde_json::Value {
                let mut map = self.extra.clone();
                $(
                    let value = $crate::api::decode::Decode::encode(&self.$field);
                    if !value.is_null() {
                        map.insert($crate::api::decode::wire!($field $($wire)?).to_owned(), value);
                    }
                )*
                serde_json::Value::Object(map)
            }
        }

        $crate::api::decode::through_json!($name);
    )*};
}

/// Serde for what has `Decode`.
macro_rules! through_json {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $crate::api::decode::Decode::encode(self).serialize(to)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(from)?;
                $crate::api::decode::Decode::decode(value).map_err(|wrong| {
                    let $crate::api::decode::Wrong { path, what } = wrong;
                    serde::de::Error::custom(format!("{path}: {what}"))
                })
            }
        }
    };
}

/// An enumeration that takes values it does not know.
macro_rules! open_enum {
    ($(
        $(#[$meta:meta])*
        $name:ident { $( $(#[$note:meta])* $variant:ident $wire:literal, )* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$note])* $variant, )*
            /// One that this version does not know. It is read as it came, and refused in requests.
            Other(String),
        }

        impl $name {
            /// The names that requests take.
            #[allow(dead_code, reason = "some are only ever read")]
            pub(crate) const NAMES: &'static [&'static str] = &[$($wire),*];

            /// Its name on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $wire, )*
                    Self::Other(name) => name,
                }
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                match name {
                    $( $wire => Self::$variant, )*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self::from(name.as_str())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl From<$name> for serde_json::Value {
            fn from(name: $name) -> Self {
                Self::String(name.into())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::api::decode::Decode for $name {
            fn decode(value: serde_json::Value) -> Result<Self, $crate::api::decode::Wrong> {
                String::decode(value).map(Self::from)
            }

            fn encode(&self) -> serde_json::Value {
                serde_json::Value::String(self.as_str().to_owned())
            }
        }

        $crate::api::decode::through_json!($name);
    )*};
}

pub(crate) use {answer, open_enum, through_json, wire};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    open_enum! {
        /// A colour.
        Colour { /// Red.
            Red "red", }
    }

    answer! {
        /// A leaf.
        pub(crate) Leaf {
            /// Its name.
            name: String,
            /// Its kind.
            kind ("type"): Colour,
            /// Its age.
            age: Option<u64>,
        }
        /// A tree.
        pub(crate) Tree {
            /// Its leaves.
            leaves: Vec<Leaf>,
            /// Anything.
            any: Value,
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        for (value, path, what) in [
            (json!([]), "", "expected an object, found a list"),
            (json!({}), "leaves", "it is missing"),
            (
                json!({"leaves": null}),
                "leaves",
                "expected a list, found null",
            ),
            (
                json!({"leaves": [{"type": "red"}]}),
                "leaves[0].name",
                "it is missing",
            ),
            (
                json!({"leaves": [{"name": "a", "type": "red"}, {"name": null}]}),
                "leaves[1].name",
                "expected text, found null",
            ),
            (
                json!({"leaves": [{"name": "a", "type": "red", "age": 1.5}]}),
                "leaves[0].age",
                "expected a whole number, found a number",
            ),
        ] {
            let wrong = Tree::decode(value).unwrap_err();
            assert_eq!((wrong.path.as_str(), wrong.what.as_str()), (path, what));
        }
    }

    #[test]
    fn what_is_not_known_is_kept() {
        let value = json!({
            "leaves": [{"name": "a", "type": "blue", "age": 3, "new": [1]}],
            "any": {"x": null},
            "later": true,
        });
        let tree = Tree::decode(value.clone()).unwrap();
        assert_eq!(tree.leaves[0].kind, Colour::Other("blue".to_owned()));
        assert_eq!(tree.leaves[0].age, Some(3));
        assert_eq!(tree.extra["later"], true);
        assert_eq!(serde_json::to_value(&tree).unwrap(), value);
        let back: Tree = serde_json::from_value(value).unwrap();
        assert_eq!(back, tree);
        let whole = Leaf::decode(json!({"name": "a", "type": "red", "age": 3.0})).unwrap();
        assert_eq!(whole.age, Some(3));
    }
}
