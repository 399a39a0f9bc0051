//! API keys, which must never be seen. Knows nothing of where a key comes from.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands for the hidden part of a secret.
pub(crate) const HIDDEN: &str = "…";

/// An API key. Printed, logged and serialised it is masked: `hh_…a1b2`.
///
/// A key that was read back from serialised text is masked for good. It is equal to another masked key with the
/// same text, never to a whole key, and opens nothing.
///
/// ```
/// # use honeyhive::config::Config;
/// # fn show(config: &Config) {
/// if let Some(key) = config.api_key() {
///     println!("events are sent with the key {key}"); // hh_…a1b2
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Text);

#[derive(Clone, PartialEq, Eq)]
enum Text {
    Whole(String),
    Masked(String),
}

impl ApiKey {
    pub(crate) fn new(key: impl Into<String>) -> Self {
        Self(Text::Whole(key.into()))
    }

    /// The key itself, for the `Authorization` header and nothing else; empty when only the mask is known.
    pub(crate) fn expose(&self) -> &str {
        match &self.0 {
            Text::Whole(key) => key,
            Text::Masked(_) => "",
        }
    }

    pub(crate) fn masked(&self) -> Self {
        Self(Text::Masked(self.mask()))
    }

    /// Enough to tell two keys apart: the common prefix and the last four characters, if there are plenty.
    fn mask(&self) -> String {
        let key = match &self.0 {
            Text::Whole(key) => key,
            Text::Masked(mask) => return mask.clone(),
        };
        let prefix = if key.starts_with("hh_") { "hh_" } else { "" };
        let length = key.chars().count();
        let tail: String = if length >= 16 {
            key.chars().skip(length - 4).collect()
        } else {
            String::new()
        };
        format!("{prefix}{HIDDEN}{tail}")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mask())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.mask())
    }
}

impl Serialize for ApiKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.mask())
    }
}

impl<'de> Deserialize<'de> for ApiKey {
    /// Whatever is read is treated as a mask, and masked if it is none: serialised text is no place for a key.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(if text.contains(HIDDEN) {
            Self(Text::Masked(text))
        } else {
            Self::new(text).masked()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_shows_little() {
        for (key, mask) in [
            ("hh_abcdefghijklmnopa1b2", "hh_…a1b2"),
            ("abcdefghijklmnopa1b2", "…a1b2"),
            ("hh_short", "hh_…"),
            ("", "…"),
            ("ééééééééééééééééé", "…éééé"),
        ] {
            let key = ApiKey::new(key);
            assert_eq!(key.to_string(), mask);
            assert_eq!(format!("{key:?}"), format!("ApiKey({mask})"));
            assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{mask}\""));
        }
    }

    #[test]
    fn a_key_read_back_opens_nothing() {
        let key = ApiKey::new("hh_abcdefghijklmnopa1b2");
        let back: ApiKey = serde_json::from_str(&serde_json::to_string(&key).unwrap()).unwrap();
        assert_eq!(back, key.masked());
        assert_ne!(back, key);
        assert_eq!(back.expose(), "");
        let whole: ApiKey = serde_json::from_str("\"hh_abcdefghijklmnopa1b2\"").unwrap();
        assert_eq!(whole, back);
    }
}
