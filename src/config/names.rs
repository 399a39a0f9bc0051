//! Span-name filters: prefixes of names that are kept and of names that are left out. Knows nothing of spans.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Prefixes of span names. A name is kept when some prefix of `include` begins it, or there is none there, and no prefix
/// of `exclude` does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct NameFilters {
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<String>,
}

/// A filter as the reference writes it, or the prefix alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Prefix(String),
    Typed {
        #[serde(rename = "type")]
        kind: String,
        value: String,
    },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Lists {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<Written>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<Written>,
}

impl NameFilters {
    pub(crate) fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a span of this name is recorded.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        let begins = |prefixes: &[String]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        (self.include.is_empty() || begins(&self.include)) && !begins(&self.exclude)
    }

    /// Reads the JSON form; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.trim_start().starts_with('{') {
            return Err("it is no JSON object".to_owned());
        }
        let lists: Lists = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let filters = Self {
            include: prefixes(lists.include)?,
            exclude: prefixes(lists.exclude)?,
        };
        filters.check()?;
        Ok(filters)
    }

    /// An empty prefix begins every name: surely a slip.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut all = self.include.iter().chain(&self.exclude);
        if all.any(String::is_empty) {
            return Err("a prefix is empty".to_owned());
        }
        Ok(())
    }
}

fn prefixes(written: Vec<Written>) -> Result<Vec<String>, String> {
    let prefix = |written| match written {
        Written::Prefix(prefix) => Ok(prefix),
        Written::Typed { kind, value } if kind == "prefix" => Ok(value),
        Written::Typed { kind, .. } => Err(format!("no filter is of the type {kind:?}")),
    };
    written.into_iter().map(prefix).collect()
}

/// The JSON form.
impl fmt::Display for NameFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |prefixes: &[String]| {
            let prefixes = prefixes.iter().map(|prefix| Written::Typed {
                kind: "prefix".to_owned(),
                value: prefix.clone(),
            });
            prefixes.collect()
        };
        let lists = Lists {
            include: written(&self.include),
            exclude: written(&self.exclude),
        };
        f.write_str(&serde_json::to_string(&lists).unwrap_or_default())
    }
}

impl From<NameFilters> for String {
    fn from(filters: NameFilters) -> Self {
        filters.to_string()
    }
}

impl TryFrom<String> for NameFilters {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn include_and_exclude() {
        let filters = |include: &[&str], exclude: &[&str]| NameFilters {
            include: include.iter().map(|&prefix| prefix.into()).collect(),
            exclude: exclude.iter().map(|&prefix| prefix.into()).collect(),
        };
        for (filters, name, kept) in [
            (filters(&[], &[]), "x", true),
            (filters(&["a."], &[]), "a.b", true),
            (filters(&["a."], &[]), "b.a.", false),
            (filters(&["a.", "b"], &[]), "b", true),
            (filters(&[], &["a"]), "ab", false),
            (filters(&[], &["a"]), "A", true),
            (filters(&["a"], &["ab"]), "abc", false),
            (filters(&["a"], &["ab"]), "ac", true),
            (filters(&["a"], &[]), "", false),
        ] {
            assert_eq!(filters.keeps(name), kept, "{filters} {name}");
        }
    }

    #[test]
    fn the_form_of_the_reference_goes_in_and_out() {
        let text = r#"{"include":[{"type":"prefix","value":"a."}],"exclude":[{"type":"prefix","value":"a.b"}]}"#;
        let filters = NameFilters::parse(text).unwrap();
        assert_eq!(
            (&*filters.include, &*filters.exclude),
            (&["a.".to_owned()][..], &["a.b".to_owned()][..])
        );
        assert_eq!(filters.to_string(), text);
        let short = NameFilters::parse(r#"{"include":["a."],"exclude":["a.b"]}"#).unwrap();
        assert_eq!(short, filters);
        assert!(NameFilters::parse("{}").unwrap().is_empty());
        for bad in [
            "",
            "[]",
            "{\"includes\":[]}",
            r#"{"include":[{"type":"regex","value":"a"}]}"#,
            r#"{"include":[{"type":"prefix"}]}"#,
            r#"{"exclude":[""]}"#,
        ] {
            assert!(NameFilters::parse(bad).is_err(), "{bad}");
        }
    }
}
