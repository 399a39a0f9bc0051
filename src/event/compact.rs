//! What is kept of a record that has grown too large. Knows the entries of records and which names an event cannot do
//! without.

use std::collections::HashMap;

use tracing::{Level, Metadata};

use super::fields::{Entry, Key, Reader, Value, begin_event, end_event, put, put_link};
use super::semconv::{Identity, identity};
use super::{semconv, value};

/// What a compaction could not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Fields that were cut or had to go.
    pub(crate) fields: u32,
    /// Events that had to go.
    pub(crate) events: u32,
    /// Links that had to go.
    pub(crate) links: u32,
}

/// In which order entries are kept, where not all can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// What makes the event findable, and why it failed.
    Core,
    Field,
    Link,
    Event,
}

/// Keeps the last write of every field, and shortens the largest texts until all of it fits into `limit` bytes.
///
/// The newest value of a field is never the one that is lost; many small values stay whole where a few large ones are
/// cut. Where cutting is not enough, events go, then links, and then the fields that were first seen last.
pub(crate) fn compact(
    bytes: &mut Vec<u8>,
    meta: &'static Metadata<'static>,
    callsites: &[&'static Metadata<'static>],
    limit: usize,
) -> Lost {
    let names: Vec<&str> = meta.fields().iter().map(|field| field.name()).collect();
    // Each field's first and last write.
    let mut writes: HashMap<Identity<'_>, (usize, usize)> = HashMap::new();
    let mut entries = Vec::new();
    let mut last_error = None;
    // What was written to whole buckets.
    let mut buckets: HashMap<&str, Vec<&str>> = HashMap::new();
    for (position, entry) in Reader::new(bytes).enumerate() {
        let name = match entry {
            Entry::Field(Key::Field(index), _) => {
                names.get(usize::from(index)).copied().unwrap_or("")
            }
            Entry::Field(Key::Name(name), _) => name,
            Entry::Event(_) | Entry::Link(_) => "",
        };
        if let Entry::Field(_, Value::Json(text)) = entry
            && semconv::is_bucket(name)
        {
            buckets.entry(name).or_default().push(text);
        }
        match entry {
            Entry::Field(..) => {
                writes
                    .entry(identity(name))
                    .or_insert((position, position))
                    .1 = position;
            }
            Entry::Event(event) => {
                let callsite = callsites.get(usize::from(event.callsite));
                if callsite.is_some_and(|callsite| *callsite.level() == Level::ERROR) {
                    last_error = Some(position);
                }
            }
            Entry::Link(_) => {}
        }
        entries.push((name, entry));
    }
    buckets.retain(|_, writes| writes.len() > 1);
    let buckets: HashMap<&str, String> = buckets
        .into_iter()
        .filter_map(|(name, writes)| {
            let all = value::merged(&writes)?;
            Some((name, serde_json::Value::Object(all).to_string()))
        })
        .collect();
    let mut kept = Vec::with_capacity(writes.len());
    for (position, (name, entry)) in entries.iter().enumerate() {
        let rank = match (entry, writes.get(&identity(name))) {
            (Entry::Field(..), Some((first, last))) if *last == position => {
                let core = semconv::is_core(name);
                (if core { Class::Core } else { Class::Field }, *first)
            }
            (Entry::Field(..), _) => continue,
            (Entry::Link(_), _) => (Class::Link, position),
            (Entry::Event(_), _) if last_error == Some(position) => (Class::Core, position),
            (Entry::Event(_), _) => (Class::Event, position),
        };
        let entry = match (entry, buckets.get(name)) {
            (Entry::Field(key, _), Some(all)) => Entry::Field(*key, Value::Json(all)),
            _ => *entry,
        };
        kept.push((rank, entry));
    }
    // In the order in which fields were first written, so that the next compaction finds it again; then the rest.
    kept.sort_by_key(|((_, position), entry)| (!matches!(entry, Entry::Field(..)), *position));

    let mut texts = Vec::new();
    let mut fixed = 0;
    for (_, entry) in &kept {
        fixed += overhead(entry);
        each_text(entry, &mut |length| texts.push(length));
    }
    let cap = largest_cap(texts, limit.saturating_sub(fixed)).max(SMALL);
    let mut order: Vec<((Class, usize), usize)> = kept
        .iter()
        .map(|(rank, entry)| {
            let mut size = overhead(entry);
            each_text(entry, &mut |length| size += length.min(cap));
            (*rank, size)
        })
        .collect();
    order.sort_unstable();
    let mut room = limit;
    let refused_from = order
        .iter()
        .find_map(|(rank, size)| match room.checked_sub(*size) {
            Some(left) => {
                room = left;
                None
            }
            None => Some(*rank),
        });

    let mut rebuilt = Vec::with_capacity(bytes.len().min(limit));
    let mut lost = Lost::default();
    for (rank, entry) in kept {
        let refused = refused_from.is_some_and(|from| rank >= from);
        match entry {
            Entry::Field(..) if refused => lost.fields += 1,
            Entry::Event(_) if refused => lost.events += 1,
            Entry::Link(_) if refused => lost.links += 1,
            Entry::Field(key, value) => {
                lost.fields += u32::from(put(&mut rebuilt, key, value, cap));
            }
            Entry::Link(link) => put_link(&mut rebuilt, link),
            Entry::Event(event) => {
                let start = begin_event(&mut rebuilt, event.callsite, event.ticks);
                for entry in event.fields {
                    if let Entry::Field(key, value) = entry {
                        lost.fields += u32::from(put(&mut rebuilt, key, value, cap));
                    }
                }
                end_event(&mut rebuilt, start);
            }
        }
    }
    *bytes = rebuilt;
    lost
}

/// Texts up to this long are not cut: the marker would save next to nothing.
const SMALL: usize = 64;

/// The lengths of the texts of an entry that may be cut.
fn each_text(entry: &Entry<'_>, f: &mut impl FnMut(usize)) {
    match entry {
        Entry::Field(_, value) => text_of(value).into_iter().for_each(f),
        Entry::Event(event) => {
            for entry in event.fields {
                if let Entry::Field(_, value) = entry {
                    text_of(&value).into_iter().for_each(&mut *f);
                }
            }
        }
        Entry::Link(_) => {}
    }
}

fn text_of(value: &Value<'_>) -> Option<usize> {
    match value {
        Value::Str(text) | Value::Debug(text) | Value::Json(text) => Some(text.len()),
        Value::Error { message, .. } => Some(message.len()),
        _ => None,
    }
}

/// The bytes of an entry that shortening its texts cannot save.
fn overhead(entry: &Entry<'_>) -> usize {
    match entry {
        Entry::Field(key, value) => field_overhead(*key, value),
        Entry::Event(event) => {
            let fields = event.fields.map(|entry| match entry {
                Entry::Field(key, value) => field_overhead(key, &value),
                _ => 0,
            });
            15 + fields.sum::<usize>()
        }
        Entry::Link(_) => 25,
    }
}

fn field_overhead(key: Key<'_>, value: &Value<'_>) -> usize {
    let key = match key {
        Key::Field(_) => 2,
        Key::Name(name) => 3 + name.len(),
    };
    let value = match value {
        Value::Bool(_) => 0,
        Value::I64(_) | Value::U64(_) | Value::F64(_) => 8,
        Value::I128(_) | Value::U128(_) => 16,
        Value::Str(_) | Value::Debug(_) | Value::Json(_) => 4,
        Value::Error { kind, .. } => 6 + kind.len(),
    };
    key + value
}

/// The largest cap with which texts of these lengths, each cut to it, fit into `budget`.
pub(crate) fn largest_cap(mut lengths: Vec<usize>, budget: usize) -> usize {
    if lengths.iter().sum::<usize>() <= budget {
        return usize::MAX;
    }
    lengths.sort_unstable();
    let mut left = budget;
    let mut count = lengths.len();
    for length in lengths {
        let share = left / count.max(1);
        if length > share {
            return share;
        }
        left -= length;
        count -= 1;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_cut_first() {
        assert_eq!(largest_cap(vec![10, 10, 1000], 520), 500);
        assert_eq!(largest_cap(vec![10, 10, 10], 30), usize::MAX);
        assert_eq!(largest_cap(vec![400, 10, 1000], 410), 200);
        assert_eq!(largest_cap(vec![1, 2], 0), 0);
    }
}
