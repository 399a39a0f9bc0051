//! The table, ready to be looked up: by name, by prefix. Knows the table and the fields of an event, not values.

use super::table::{Family, Row, TABLE};
use crate::server::types::Bucket;
use std::collections::HashMap;
use std::sync::OnceLock;

pub(super) enum Root {
    EventName,
    EventId,
    SessionId,
    SessionName,
    ParentId,
    Project,
    Source,
    Error,
    ErrorType,
    StatusCode,
    StatusMessage,
    Duration,
}

pub(super) enum Target {
    Root(Root),
    /// Bucket, path below it; a path that ends in `*` takes the rest of the attribute's name.
    Bucket(Bucket, &'static str),
}

pub(super) fn target(text: &'static str) -> Option<Target> {
    let (head, path) = text.split_once('.').unwrap_or((text, ""));
    if let Some(bucket) = Bucket::named(head) {
        return Some(Target::Bucket(bucket, path));
    }
    Some(Target::Root(match text {
        "event_name" => Root::EventName,
        "event_id" => Root::EventId,
        "session_id" => Root::SessionId,
        "session_name" => Root::SessionName,
        "parent_id" => Root::ParentId,
        "project" => Root::Project,
        "source" => Root::Source,
        "error" => Root::Error,
        "error_type" => Root::ErrorType,
        "status_code" => Root::StatusCode,
        "status_message" => Root::StatusMessage,
        "duration" => Root::Duration,
        _ => return None,
    }))
}

pub(super) struct Entry {
    pub(super) family: Family,
    pub(super) row: &'static Row,
    pub(super) targets: Vec<Target>,
}

/// The table, indexed by name once.
pub(super) struct Index {
    exact: HashMap<&'static str, Vec<Entry>>,
    /// Longest prefix first.
    prefixes: Vec<(&'static str, Vec<Entry>)>,
}

impl Index {
    pub(super) fn get() -> &'static Self {
        static INDEX: OnceLock<Index> = OnceLock::new();
        INDEX.get_or_init(Self::build)
    }

    fn build() -> Self {
        let mut exact: HashMap<&'static str, Vec<Entry>> = HashMap::new();
        let mut prefixes: Vec<(&'static str, Vec<Entry>)> = Vec::new();
        for (family, rows) in TABLE {
            for row in *rows {
                let entry = Entry {
                    family: *family,
                    row,
                    targets: row.to.iter().filter_map(|text| target(text)).collect(),
                };
                match row.key.strip_suffix('*') {
                    None => exact.entry(row.key).or_default().push(entry),
                    Some(prefix) => match prefixes.iter_mut().find(|(known, _)| *known == prefix) {
                        Some((_, entries)) => entries.push(entry),
                        None => prefixes.push((prefix, vec![entry])),
                    },
                }
            }
        }
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { exact, prefixes }
    }

    /// The row for an attribute on an event of this kind, and what follows its prefix.
    pub(super) fn find<'a>(
        &'static self,
        key: &'a str,
        on: char,
    ) -> Option<(&'static Entry, &'a str)> {
        let fits = |entries: &'static Vec<Entry>| {
            entries
                .iter()
                .find(|entry| entry.row.on == "*" || entry.row.on.contains(on))
        };
        if let Some(entry) = self.exact.get(key).and_then(fits) {
            return Some((entry, ""));
        }
        self.prefixes.iter().find_map(|(prefix, entries)| {
            let rest = key.strip_prefix(prefix)?;
            Some((fits(entries)?, rest))
        })
    }
}
