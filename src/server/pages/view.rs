//! What a reader looks at, as the address says it: so that a view can be sent to others, and the back button works.

use super::format::{clip, encoded};
use crate::server::http::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;

/// Folded events that an address holds; each is in every link of the page.
const FOLDED: usize = 64;

/// A view of one session.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct View {
    pub(super) event: Option<String>,
    pub(super) tab: Option<String>,
    #[serde(deserialize_with = "folded")]
    pub(super) fold: Vec<i64>,
    pub(super) q: Option<String>,
    /// The first row of the part of the tree that is asked for.
    pub(super) from: Option<usize>,
}

fn folded<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<i64>, D::Error> {
    let text = String::deserialize(d)?;
    let ids = text.split('.').filter_map(|id| id.parse().ok());
    Ok(ids.take(FOLDED).collect())
}

impl View {
    pub(super) fn folded(&self) -> HashSet<i64> {
        self.fold.iter().copied().collect()
    }

    pub(super) fn search(&self) -> Option<&str> {
        let text = self.q.as_deref()?.trim();
        (!text.is_empty()).then_some(text)
    }

    pub(super) fn toggled(&self, id: i64) -> String {
        let mut fold = self.fold.clone();
        match fold.iter().position(|known| *known == id) {
            Some(place) => {
                fold.remove(place);
            }
            None => fold.push(id),
        }
        let excess = fold.len().saturating_sub(FOLDED);
        fold.drain(..excess);
        self.address(self.event.as_deref(), self.tab.as_deref(), &fold, None)
    }

    pub(super) fn chosen(&self, event: &str) -> String {
        self.address(Some(event), self.tab.as_deref(), &self.fold, None)
    }

    pub(super) fn tabbed(&self, event: &str, tab: &str) -> String {
        self.address(Some(event), Some(tab), &self.fold, None)
    }

    pub(super) fn at(&self, from: usize) -> String {
        self.address(
            self.event.as_deref(),
            self.tab.as_deref(),
            &self.fold,
            Some(from),
        )
    }

    fn address(
        &self,
        event: Option<&str>,
        tab: Option<&str>,
        fold: &[i64],
        from: Option<usize>,
    ) -> String {
        let fold: Vec<String> = fold.iter().map(i64::to_string).collect();
        query(&[
            ("event", event),
            ("tab", tab),
            ("fold", Some(&fold.join("."))),
            ("q", self.search()),
            ("from", from.map(|from| from.to_string()).as_deref()),
        ])
    }
}

/// The list of sessions: what is shown of it, and in which order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListView {
    pub(super) q: Option<String>,
    pub(super) source: Option<String>,
    pub(super) error: Option<String>,
    pub(super) sort: Option<String>,
    pub(super) page: Option<u64>,
}

impl ListView {
    pub(super) fn search(&self) -> Option<&str> {
        let text = self.q.as_deref()?.trim();
        (!text.is_empty()).then_some(text)
    }

    pub(super) fn source(&self) -> Option<&str> {
        self.source.as_deref().filter(|source| !source.is_empty())
    }

    pub(super) fn errors_only(&self) -> bool {
        self.error
            .as_deref()
            .is_some_and(|flag| flag != "0" && !flag.is_empty())
    }

    pub(super) fn is_filtered(&self) -> bool {
        self.search().is_some() || self.source().is_some() || self.errors_only()
    }

    pub(super) fn address(&self) -> String {
        let page = self
            .page
            .filter(|page| *page > 1)
            .map(|page| page.to_string());
        query(&[
            ("q", self.search()),
            ("source", self.source()),
            ("error", self.errors_only().then_some("1")),
            ("sort", self.sort.as_deref()),
            ("page", page.as_deref()),
        ])
    }
}

/// A query of the pairs that have a value; `?` alone where none has, which leads to the bare page.
fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut address = String::from("?");
    for (key, value) in pairs {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            continue;
        };
        if address.len() > 1 {
            address.push('&');
        }
        address.push_str(&encoded(key));
        address.push('=');
        address.push_str(&encoded(value));
    }
    address
}

/// Pairs of an address, and characters of one value, that a page takes notice of; each is in many of its links.
const PAIRS: usize = 24;
const LONG: usize = 300;

/// What an address asks for beyond its path, for pages that turn, filter and sort.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Asked(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let axum::extract::Query(mut pairs) =
            query.map_err(|error| Problem::bad(format!("malformed query: {error}")))?;
        pairs.retain(|(_, value)| !value.trim().is_empty());
        pairs.truncate(PAIRS);
        for (key, value) in &mut pairs {
            *key = clip(key, 20).0.to_owned();
            *value = clip(value.trim(), LONG).0.to_owned();
        }
        Ok(Self(pairs))
    }
}

impl Asked {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// Every value of a name that may be there more than once.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let pairs = self.0.iter().filter(move |(key, _)| key == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// A number from 1 on.
    pub(super) fn number(&self, name: &str) -> Result<u64, Problem> {
        match self.text(name).map(str::parse::<u64>) {
            None => Ok(1),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => Err(Problem::bad(format!(
                "{name} must be a whole number of at least 1"
            ))),
        }
    }

    pub(super) fn choice<'a>(
        &'a self,
        name: &str,
        known: &[&str],
    ) -> Result<Option<&'a str>, Problem> {
        match self.text(name) {
            Some(text) if !known.contains(&text) => Err(Problem::bad(format!(
                "{name} must be one of {}",
                known.join(", ")
            ))),
            text => Ok(text),
        }
    }

    /// The same address with some of it changed; a change begins at the first page again.
    pub(super) fn with(&self, changes: &[(&str, Option<&str>)]) -> String {
        let kept = self.0.iter().filter(|(key, _)| {
            let turns = matches!(key.as_str(), "page" | "after");
            !turns && !changes.iter().any(|(name, _)| name == key)
        });
        let kept = kept.map(|(key, value)| (key.as_str(), Some(value.as_str())));
        let pairs: Vec<_> = kept.chain(changes.iter().copied()).collect();
        query(&pairs)
    }

    /// The same address without one of the values of a name.
    pub(super) fn without(&self, name: &str, index: usize) -> String {
        let mut at = 0;
        let kept = self.0.iter().filter(|(key, _)| {
            let here = key == name;
            at += usize::from(here);
            key != "page" && key != "after" && !(here && at == index + 1)
        });
        let pairs: Vec<_> = kept
            .map(|(key, value)| (key.as_str(), Some(value.as_str())))
            .collect();
        query(&pairs)
    }
}
