//! The layer's own table of open spans, and the pool their records come from. Knows records, not how they are filled.
//!
//! The registry's extensions would cost two write locks, a hash map and a box a span. Here a span costs one short lock
//! of one of many buckets each time it is touched, and nothing is allocated in steady state.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::event::carried::Carried;
use crate::event::{Fate, Head, SpanRecord};
use crate::id::SessionId;
use crate::sync::lock;

const BUCKETS: usize = 1024;
/// A bucket searches so many spans one by one, and keeps the rest in a map: it stays cheap with a million open spans.
const SEARCHED: usize = 16;
/// About a million open spans in all; more are not recorded.
const MAX_PER_BUCKET: usize = 1024;

/// Open spans by the raw id that the registry gave them.
#[derive(Debug)]
pub(crate) struct Table {
    buckets: Box<[Bucket]>,
    closed: AtomicBool,
    /// Spans that were taken out since it was closed, and whose records are not handed over yet.
    leaving: AtomicUsize,
}

/// On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    spans: Mutex<Spans>,
}

#[derive(Debug, Default)]
struct Spans {
    few: Vec<(u64, Box<SpanRecord>)>,
    many: HashMap<u64, Box<SpanRecord>, BuildHasherDefault<Identity>>,
}

/// What children take from a span.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) session: SessionId,
    pub(crate) carried: Option<Arc<Carried>>,
    pub(crate) trace_state: Option<Arc<str>>,
    /// The raw id of the span, or of the recorded one above it if it is left out itself; zero: there is none.
    pub(crate) recorded: u64,
    pub(crate) sampled_out: bool,
}

impl Lineage {
    fn of(id: u64, record: &SpanRecord) -> Self {
        let (recorded, sampled_out) = match record.fate {
            Fate::Sent => (id, false),
            Fate::SampledOut { .. } => (id, true),
            Fate::LeftOut { above, sampled_out } => (above, sampled_out),
        };
        Self {
            trace_id: record.head.trace_id,
            span_id: record.head.span_id,
            session: record.head.session,
            carried: record.carried.clone(),
            trace_state: record.trace_state.clone(),
            recorded,
            sampled_out,
        }
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        let buckets = std::iter::repeat_with(Bucket::default)
            .take(BUCKETS)
            .collect();
        Self {
            buckets,
            closed: AtomicBool::new(false),
            leaving: AtomicUsize::new(0),
        }
    }

    fn bucket(&self, id: u64) -> &Mutex<Spans> {
        let hash = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let index = hash as usize % BUCKETS;
        match self.buckets.get(index) {
            Some(bucket) => &bucket.spans,
            // `index` is below the number of buckets there are.
            None => unreachable_bucket(),
        }
    }

    /// Takes a span in; gives it back when there are too many.
    pub(crate) fn insert(&self, id: u64, record: Box<SpanRecord>) -> Result<(), Box<SpanRecord>> {
        let mut spans = lock(self.bucket(id));
        // Read under the lock, so that a sweep misses nobody.
        if self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let spans = &mut *spans;
        if spans.few.len() < SEARCHED {
            spans.few.push((id, record));
            Ok(())
        } else if spans.many.len() < MAX_PER_BUCKET {
            spans.many.insert(id, record);
            Ok(())
        } else {
            Err(record)
        }
    }

    /// Touches an open span; `None` when it is not ours.
    pub(crate) fn with<R>(&self, id: u64, f: impl FnOnce(&mut SpanRecord) -> R) -> Option<R> {
        let mut spans = lock(self.bucket(id));
        let spans = &mut *spans;
        if let Some((_, record)) = spans.few.iter_mut().find(|(known, _)| *known == id) {
            return Some(f(record));
        }
        if spans.many.is_empty() {
            return None;
        }
        spans.many.get_mut(&id).map(|record| f(record))
    }

    pub(crate) fn lineage(&self, id: u64) -> Option<Lineage> {
        self.with(id, |record| Lineage::of(id, record))
    }

    /// [`lineage`](Self::lineage) for a child that is made now.
    pub(crate) fn beget(&self, id: u64) -> Option<Lineage> {
        self.with(id, |record| {
            record.head.has_children = true;
            Lineage::of(id, record)
        })
    }

    /// Whether a span is open and recorded.
    pub(crate) fn is_recorded(&self, id: u64) -> bool {
        self.with(id, |record| record.is_recorded()) == Some(true)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.with(id, |_| ()).is_some()
    }

    /// Takes a span out; whether [`left`](Self::left) is to be called when its record has been handed over.
    pub(crate) fn remove(&self, id: u64) -> Option<(Box<SpanRecord>, bool)> {
        let mut spans = lock(self.bucket(id));
        let spans = &mut *spans;
        let record = if let Some(index) = spans.few.iter().position(|(known, _)| *known == id) {
            spans.few.swap_remove(index).1
        } else if spans.many.is_empty() {
            return None;
        } else {
            spans.many.remove(&id)?
        };
        // Noted under the lock, so that whoever finds the table empty knows of it.
        let watched = self.closed.load(Ordering::Relaxed);
        if watched {
            self.leaving.fetch_add(1, Ordering::AcqRel);
        }
        Some((record, watched))
    }

    /// The record of a span that was taken out has been handed over.
    pub(crate) fn left(&self) {
        self.leaving.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether there is no span, nor one on its way out since the table was closed.
    pub(crate) fn is_empty(&self) -> bool {
        let empty = self.buckets.iter().all(|bucket| {
            let spans = lock(&bucket.spans);
            spans.few.is_empty() && spans.many.is_empty()
        });
        empty && self.leaving.load(Ordering::Acquire) == 0
    }

    /// Takes no further spans.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Takes out all spans that are still open.
    #[expect(clippy::vec_box, reason = "they are boxed in the table")]
    pub(crate) fn sweep(&self) -> Vec<Box<SpanRecord>> {
        let mut swept = Vec::new();
        for bucket in &self.buckets {
            let mut spans = lock(&bucket.spans);
            swept.extend(spans.few.drain(..).map(|(_, record)| record));
            swept.extend(spans.many.drain().map(|(_, record)| record));
        }
        swept
    }
}

#[cold]
fn unreachable_bucket() -> &'static Mutex<Spans> {
    static EMPTY: std::sync::OnceLock<Mutex<Spans>> = std::sync::OnceLock::new();
    EMPTY.get_or_init(Mutex::default)
}

/// Ids are spread well enough as they are.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

const POOLED: usize = 256;

thread_local! {
    // Boxed because the table holds boxes: a record moves between the two as a pointer.
    #[expect(clippy::vec_box, reason = "the boxes are what is pooled")]
    static POOL: RefCell<Vec<Box<SpanRecord>>> = const { RefCell::new(Vec::new()) };
}

/// A record for a new span, used before if possible.
pub(crate) fn take(head: Head) -> Box<SpanRecord> {
    let used = POOL
        .try_with(|pool| pool.try_borrow_mut().ok()?.pop())
        .ok()
        .flatten();
    match used {
        Some(mut record) => {
            record.reset(head);
            record
        }
        None => Box::new(SpanRecord::new(head)),
    }
}

/// Keeps a record for the next span of this thread.
pub(crate) fn give_back(mut record: Box<SpanRecord>) {
    record.let_go();
    if !record.is_poolable() {
        return;
    }
    let _ = POOL.try_with(|pool| {
        if let Ok(mut pool) = pool.try_borrow_mut()
            && pool.len() < POOLED
        {
            pool.push(record);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Box<SpanRecord> {
        let meta = tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            tracing::info_span!("work").metadata().unwrap()
        });
        Box::new(SpanRecord::new(Head::closed(meta)))
    }

    #[test]
    fn spans_that_never_close_are_bounded() {
        let table = Table::new();
        let first = std::ptr::from_ref(table.bucket(1));
        let mut ids = (1_u64..).filter(|id| std::ptr::eq(table.bucket(*id), first));
        for _ in 0..SEARCHED + MAX_PER_BUCKET {
            assert!(table.insert(ids.next().unwrap(), record()).is_ok());
        }
        let last = ids.next().unwrap();
        assert!(table.insert(last, record()).is_err());
        // There is room again, here and elsewhere all the time.
        assert!(table.remove(1).is_some());
        assert!(table.insert(last, record()).is_ok());
        assert_eq!(table.sweep().len(), SEARCHED + MAX_PER_BUCKET);
        assert!(table.is_empty());
    }
}
