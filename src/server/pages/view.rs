//! What a reader looks at, as the address says it: so that a view can be sent to others, and the back button works.

use super::format::encoded;
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
        address.push_str(key);
        address.push('=');
        address.push_str(&encoded(value));
    }
    address
}
