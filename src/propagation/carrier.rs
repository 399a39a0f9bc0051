//! What headers are kept in. Knows names and texts, not what they mean.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use http::header::{HeaderMap, HeaderName, HeaderValue};

mod sealed {
    pub trait Sealed {}
}

/// What [`extract`](super::extract) reads from: header maps and maps of strings. Names are compared without regard to
/// case, and a name may be there more than once.
pub trait Extractor: sealed::Sealed {
    #[doc(hidden)]
    fn each(&self, name: &str, found: &mut dyn FnMut(&str));
}

/// What [`inject`](super::inject) writes to.
pub trait Injector: Extractor {
    /// Sets a header; what was there under the name goes.
    #[doc(hidden)]
    fn put(&mut self, name: &'static str, value: String);
}

impl sealed::Sealed for HeaderMap {}
impl<S> sealed::Sealed for HashMap<String, String, S> {}
impl sealed::Sealed for BTreeMap<String, String> {}
impl sealed::Sealed for serde_json::Map<String, serde_json::Value> {}
impl sealed::Sealed for Vec<(String, String)> {}

impl Extractor for HeaderMap {
    fn each(&self, name: &str, found: &mut dyn FnMut(&str)) {
        for value in self.get_all(name) {
            if let Ok(text) = std::str::from_utf8(value.as_bytes()) {
                found(text);
            }
        }
    }
}

impl Injector for HeaderMap {
    fn put(&mut self, name: &'static str, value: String) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.insert(HeaderName::from_static(name), value);
        }
    }
}

fn each_of<'a>(
    pairs: impl Iterator<Item = (&'a String, &'a str)>,
    name: &str,
    found: &mut dyn FnMut(&str),
) {
    for (_, value) in pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)) {
        found(value);
    }
}

impl<S: BuildHasher> Extractor for HashMap<String, String, S> {
    fn each(&self, name: &str, found: &mut dyn FnMut(&str)) {
        each_of(
            self.iter().map(|(key, value)| (key, value.as_str())),
            name,
            found,
        );
    }
}

impl<S: BuildHasher> Injector for HashMap<String, String, S> {
    fn put(&mut self, name: &'static str, value: String) {
        self.retain(|key, _| !key.eq_ignore_ascii_case(name));
        self.insert(name.to_owned(), value);
    }
}

impl Extractor for BTreeMap<String, String> {
    fn each(&self, name: &str, found: &mut dyn FnMut(&str)) {
        each_of(
            self.iter().map(|(key, value)| (key, value.as_str())),
            name,
            found,
        );
    }
}

impl Injector for BTreeMap<String, String> {
    fn put(&mut self, name: &'static str, value: String) {
        self.retain(|key, _| !key.eq_ignore_ascii_case(name));
        self.insert(name.to_owned(), value);
    }
}

/// An object of JSON, such as the `_meta` of an MCP message. Values that are no texts are passed over.
impl Extractor for serde_json::Map<String, serde_json::Value> {
    fn each(&self, name: &str, found: &mut dyn FnMut(&str)) {
        let texts = self
            .iter()
            .filter_map(|(key, value)| Some((key, value.as_str()?)));
        each_of(texts, name, found);
    }
}

impl Injector for serde_json::Map<String, serde_json::Value> {
    fn put(&mut self, name: &'static str, value: String) {
        self.retain(|key, _| !key.eq_ignore_ascii_case(name));
        self.insert(name.to_owned(), value.into());
    }
}

impl Extractor for Vec<(String, String)> {
    fn each(&self, name: &str, found: &mut dyn FnMut(&str)) {
        each_of(
            self.iter().map(|(key, value)| (key, value.as_str())),
            name,
            found,
        );
    }
}

impl Injector for Vec<(String, String)> {
    fn put(&mut self, name: &'static str, value: String) {
        self.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.push((name.to_owned(), value));
    }
}
