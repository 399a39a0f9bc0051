//! The table, ready to be looked up: by name, by prefix. Knows the table and the fields of an event, not values.

use super::table::{DIALECTS, Dialect, Family, How, Row, TABLE};
use super::value::is_index;
use crate::server::types::Bucket;
use std::collections::HashMap;
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    EventName,
    EventId,
    SessionId,
    SessionName,
    ParentId,
    Project,
    Source,
    Error,
    ErrorMessage,
    ErrorType,
    StatusCode,
    StatusMessage,
    HttpStatus,
    Duration,
}

pub(super) enum Place {
    Root(Root),
    /// Bucket, path below it; a path that ends in `*` takes the rest of the attribute's name.
    Bucket(Bucket, &'static str),
}

pub(super) struct Target {
    pub(super) place: Place,
    /// Only where nothing else fills it.
    pub(super) yields: bool,
}

pub(super) fn target(text: &'static str) -> Option<Target> {
    let (text, yields) = match text.strip_suffix('?') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (head, path) = text.split_once('.').unwrap_or((text, ""));
    if let Some(bucket) = Bucket::named(head) {
        let place = Place::Bucket(bucket, path);
        return Some(Target { place, yields });
    }
    let root = match text {
        "event_name" => Root::EventName,
        "event_id" => Root::EventId,
        "session_id" => Root::SessionId,
        "session_name" => Root::SessionName,
        "parent_id" => Root::ParentId,
        "project" => Root::Project,
        "source" => Root::Source,
        "error" => Root::Error,
        "error_message" => Root::ErrorMessage,
        "error_type" => Root::ErrorType,
        "status_code" => Root::StatusCode,
        "status_message" => Root::StatusMessage,
        "http_status" => Root::HttpStatus,
        "duration" => Root::Duration,
        _ => return None,
    };
    let place = Place::Root(root);
    Some(Target { place, yields })
}

/// What becomes of the attributes that a prefix stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gather {
    /// Each is a value of its own.
    No,
    /// All are parts of one object.
    Object,
    /// All are parts of one list, by the index that follows the prefix.
    List,
}

pub(super) struct Entry {
    pub(super) family: Family,
    pub(super) row: &'static Row,
    pub(super) targets: Vec<Target>,
    pub(super) gather: Gather,
}

impl Entry {
    fn new(family: Family, row: &'static Row) -> Self {
        let gather = if row.key.ends_with(".N.*") {
            Gather::List
        } else if row.key.ends_with(".*")
            && !row.to.is_empty()
            && !row.to.iter().any(|to| to.ends_with('*'))
        {
            Gather::Object
        } else {
            Gather::No
        };
        Self {
            family: row.family.unwrap_or(family),
            row,
            targets: row.to.iter().filter_map(|text| target(text)).collect(),
            gather,
        }
    }

    fn is_on(&self, on: char) -> bool {
        self.row.on == "*" || self.row.on.contains(on)
    }

    /// Whether the row only says that the attribute is known: it is treated as if it were not.
    fn is_bare(&self) -> bool {
        self.row.to.is_empty() && self.row.how != How::Drop
    }
}

/// The table, indexed by name once.
pub(super) struct Index {
    exact: HashMap<&'static str, Vec<Entry>>,
    /// By the prefix with its dot.
    prefixes: HashMap<&'static str, Vec<Entry>>,
    longest: usize,
    dialects: Vec<Vec<Entry>>,
}

impl Index {
    pub(super) fn get() -> &'static Self {
        static INDEX: OnceLock<Index> = OnceLock::new();
        INDEX.get_or_init(Self::build)
    }

    fn build() -> Self {
        let mut exact: HashMap<&'static str, Vec<Entry>> = HashMap::new();
        let mut prefixes: HashMap<&'static str, Vec<Entry>> = HashMap::new();
        for (family, rows) in TABLE {
            for row in *rows {
                let entry = Entry::new(*family, row);
                let prefix = row.key.strip_suffix("N.*").or(row.key.strip_suffix('*'));
                match prefix {
                    None => exact.entry(row.key).or_default().push(entry),
                    Some(prefix) => prefixes.entry(prefix).or_default().push(entry),
                }
            }
        }
        let dialect = |dialect: &'static Dialect| {
            let rows = dialect.rows.iter();
            rows.map(|row| Entry::new(Family::Framework, row)).collect()
        };
        Self {
            exact,
            longest: prefixes
                .keys()
                .map(|prefix| prefix.len())
                .max()
                .unwrap_or(0),
            prefixes,
            dialects: DIALECTS.iter().map(dialect).collect(),
        }
    }

    /// The row for an attribute on an event of this kind, and what follows its prefix.
    pub(super) fn find<'a>(
        &'static self,
        key: &'a str,
        on: char,
        dialect: Option<usize>,
    ) -> Option<(&'static Entry, &'a str)> {
        let own = dialect.and_then(|dialect| self.dialects.get(dialect));
        let own = own.into_iter().flatten();
        let named = self.exact.get(key).into_iter().flatten();
        let mut exact = own.filter(|entry| entry.row.key == key).chain(named);
        if let Some(entry) = exact.find(|entry| entry.is_on(on)) {
            return (!entry.is_bare()).then_some((entry, ""));
        }
        // From the longest prefix to the shortest.
        let mut end = key.len().min(self.longest);
        while let Some(dot) = key.as_bytes().iter().take(end).rposition(|b| *b == b'.') {
            end = dot;
            let (Some(prefix), Some(rest)) = (key.get(..=dot), key.get(dot + 1..)) else {
                return None;
            };
            let Some(entries) = self.prefixes.get(prefix).filter(|_| !rest.is_empty()) else {
                continue;
            };
            let fits = |entry: &&Entry| {
                entry.is_on(on) && (entry.gather != Gather::List || is_indexed(rest))
            };
            if let Some(entry) = entries.iter().find(fits) {
                return (!entry.is_bare()).then_some((entry, rest));
            }
        }
        None
    }
}

fn is_indexed(rest: &str) -> bool {
    is_index(rest.split('.').next().unwrap_or_default())
}

/// The dialect that a span speaks: the place in [`DIALECTS`].
pub(super) fn dialect<'a>(
    scope: &str,
    span: &str,
    get: impl Fn(&str) -> Option<&'a str>,
    has: impl Fn(&str) -> bool,
) -> Option<usize> {
    let target = get("target").or_else(|| get("code.namespace"));
    DIALECTS.iter().position(|dialect| {
        let from = |module: &str| {
            let rest = module.strip_prefix(dialect.target);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        from(scope)
            || target.is_some_and(from)
            || dialect
                .names
                .iter()
                .any(|(name, attribute)| *name == span && has(attribute))
    })
}
