//! The shape of requests: JSON objects with typed setters. Knows nothing of what they mean.

/// A request: what it must have is given to `new`, the rest is set.
macro_rules! request {
    ($(
        $(#[$meta:meta])*
        $name:ident ( $( $required:ident $(($rwire:literal))? : [$($rkind:tt)+] ),* ) {
            $( $(#[$note:meta])* $field:ident $(($wire:literal))? : [$($kind:tt)+], )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[must_use = "a request does nothing until it is sent"]
        pub struct $name {
            pub(crate) fields: serde_json::Map<String, serde_json::Value>,
        }

        $crate::api::request::constructor!($name ( $( $required $(($rwire))? : [$($rkind)+] ),* ));

        impl $name {
            $(
                $crate::api::request::setter! {
                    $(#[$note])* $field, $crate::api::decode::wire!($field $($wire)?), $($kind)+
                }
            )*

            /// Sets a field that this version does not know by name.
            pub fn set(mut self, field: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
                self.fields.insert(field.into(), value.into());
                self
            }
        }

        impl From<$name> for serde_json::Value {
            fn from(request: $name) -> Self {
                Self::Object(request.fields)
            }
        }
    )*};
}

/// `new` and, where nothing is required, `Default`.
macro_rules! constructor {
    ($name:ident ()) => {
        impl $name {
            /// Nothing set yet.
            pub fn new() -> Self {
                Self { fields: serde_json::Map::new() }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
    };
    ($name:ident ( $( $field:ident $(($wire:literal))? : [$($kind:tt)+] ),+ )) => {
        impl $name {
            /// With what it must have.
            pub fn new($( $field: $crate::api::request::given!($($kind)+) ),+) -> Self {
                let mut fields = serde_json::Map::new();
                $(
                    let value = $crate::api::request::taken!($field, $($kind)+);
                    fields.insert($crate::api::decode::wire!($field $($wire)?).to_owned(), value);
                )+
                Self { fields }
            }
        }
    };
}

/// What a setter is given.
macro_rules! given {
    (text) => { impl Into<String> };
    (texts) => { impl IntoIterator<Item = impl Into<String>> };
    (number) => { impl Into<f64> };
    (count) => { u64 };
    (flag) => { bool };
    (json) => { impl Into<serde_json::Value> };
    (list) => { impl IntoIterator<Item = impl Into<serde_json::Value>> };
    (one $kind:ty) => { impl Into<$kind> };
    (many $kind:ty) => { impl IntoIterator<Item = $kind> };
}

/// What becomes of it.
macro_rules! taken {
    ($value:ident, text) => {
        serde_json::Value::String($value.into())
    };
    ($value:ident, texts) => {
        serde_json::Value::Array(
            $value
                .into_iter()
                .map(|item| serde_json::Value::String(item.into()))
                .collect(),
        )
    };
    ($value:ident, number) => {
        $crate::api::decode::number($value.into())
    };
    ($value:ident, count) => {
        serde_json::Value::from($value)
    };
    ($value:ident, flag) => {
        serde_json::Value::Bool($value)
    };
    ($value:ident, json) => {
        $value.into()
    };
    ($value:ident, list) => {
        serde_json::Value::Array($value.into_iter().map(Into::into).collect())
    };
    ($value:ident, one $kind:ty) => {{
        let value: $kind = $value.into();
        serde_json::Value::from(value)
    }};
    ($value:ident, many $kind:ty) => {
        serde_json::Value::Array($value.into_iter().map(serde_json::Value::from).collect())
    };
}

macro_rules! setter {
    ($(#[$note:meta])* $field:ident, $wire:expr, $($kind:tt)+) => {
        $(#[$note])*
        pub fn $field(mut self, value: $crate::api::request::given!($($kind)+)) -> Self {
            self.fields.insert($wire.to_owned(), $crate::api::request::taken!(value, $($kind)+));
            self
        }
    };
}

pub(crate) use {constructor, given, request, setter, taken};
