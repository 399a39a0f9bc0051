//! Where closed spans wait for the worker: a buffer per thread, bounded in records and bytes, never blocking. Knows
//! records, not what becomes of them.
//!
//! A thread appends to its own shard and touches what all threads share only once in a while. The worker takes whole
//! buffers and leaves empty ones.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tracing::Metadata;

use crate::event::{Head, SpanRecord};
use crate::sync::lock;

/// Records as they were handed over: heads, and their variable parts one after the other.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) heads: Vec<Closed>,
    pub(crate) callsites: Vec<&'static Metadata<'static>>,
    pub(crate) bytes: Vec<u8>,
}

/// One record of a chunk, and how much of the chunk's other lists is its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) head: Head,
    pub(crate) bytes: usize,
    pub(crate) callsites: usize,
}

/// What a record costs besides its fields.
const HEAD_BYTES: usize = size_of::<Closed>();

impl Closed {
    /// The memory the record holds.
    pub(crate) const fn cost(&self) -> usize {
        HEAD_BYTES + self.bytes
    }
}

impl Chunk {
    /// Empties it, keeping buffers of an ordinary size.
    pub(crate) fn recycle(&mut self) {
        self.heads.clear();
        self.callsites.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.heads.shrink_to(KEPT_RECORDS);
    }
}

#[derive(Debug, Default)]
struct Shard {
    buffers: Mutex<Buffers>,
    /// The queue is gone; the thread's entry can go.
    dead: AtomicBool,
}

#[derive(Debug, Default)]
struct Buffers {
    chunk: Chunk,
    submitted: u64,
    refused: u64,
    sampled_out: u64,
    /// Not yet added to what all threads share.
    unpublished: Usage,
    /// The worker has been woken for what is here.
    woken: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    records: usize,
    bytes: usize,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Taken,
    /// Taken, and there is enough for the worker to be woken.
    Wake,
    /// There is no room.
    Full,
}

/// The limits of a queue, which may change while it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    /// So many records wake the worker.
    pub(crate) wake_records: usize,
}

/// So many bytes wake the worker.
const WAKE_BYTES: usize = 256 * 1024;
/// Buffers of more than this are not kept for the next records.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
const KEPT_RECORDS: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Queue {
    id: u64,
    max_records: AtomicUsize,
    max_bytes: AtomicUsize,
    wake_records: AtomicUsize,
    shards: Mutex<Vec<Arc<Shard>>>,
    /// For threads that have no thread-locals any more.
    fallback: Arc<Shard>,
    records: AtomicUsize,
    bytes: AtomicUsize,
    /// Published since the last drain.
    fresh_records: AtomicUsize,
    fresh_bytes: AtomicUsize,
    woken: AtomicBool,
    /// Counts of shards that are gone.
    retired: Mutex<Counts>,
}

/// How many records came in, and how many of them found no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) refused: u64,
    /// Closed, and not handed over for the sake of sampling.
    pub(crate) sampled_out: u64,
}

thread_local! {
    static SHARDS: RefCell<Vec<(u64, Arc<Shard>)>> = const { RefCell::new(Vec::new()) };
}

impl Queue {
    pub(crate) fn new(id: u64, bounds: Bounds) -> Self {
        let fallback = Arc::new(Shard::default());
        Self {
            id,
            max_records: AtomicUsize::new(bounds.records),
            max_bytes: AtomicUsize::new(bounds.bytes),
            wake_records: AtomicUsize::new(bounds.wake_records),
            shards: Mutex::new(vec![Arc::clone(&fallback)]),
            fallback,
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            fresh_records: AtomicUsize::new(0),
            fresh_bytes: AtomicUsize::new(0),
            woken: AtomicBool::new(false),
            retired: Mutex::new(Counts::default()),
        }
    }

    pub(crate) fn set_bounds(&self, bounds: Bounds) {
        self.max_records.store(bounds.records, Ordering::Relaxed);
        self.max_bytes.store(bounds.bytes, Ordering::Relaxed);
        self.wake_records
            .store(bounds.wake_records, Ordering::Relaxed);
    }

    /// Copies a closed span to the thread's shard.
    pub(crate) fn push(&self, record: &SpanRecord) -> Pushed {
        self.with_shard(|shard| self.push_to(shard, record))
    }

    /// Counts a closed span that sampling keeps back.
    pub(crate) fn count_sampled_out(&self) {
        self.with_shard(|shard| lock(&shard.buffers).sampled_out += 1);
    }

    fn with_shard<R>(&self, f: impl Fn(&Shard) -> R) -> R {
        let result = SHARDS.try_with(|shards| {
            let mut shards = shards.try_borrow_mut().ok()?;
            if let Some((_, shard)) = shards.iter().find(|(id, _)| *id == self.id) {
                return Some(f(shard));
            }
            shards.retain(|(_, shard)| !shard.dead.load(Ordering::Relaxed));
            let shard = Arc::new(Shard::default());
            lock(&self.shards).push(Arc::clone(&shard));
            let result = f(&shard);
            shards.push((self.id, shard));
            Some(result)
        });
        match result {
            Ok(Some(result)) => result,
            Ok(None) | Err(_) => f(&self.fallback),
        }
    }

    fn push_to(&self, shard: &Shard, record: &SpanRecord) -> Pushed {
        let closed = Closed {
            head: record.head,
            bytes: record.fields.len(),
            callsites: record.callsites.len(),
        };
        let cost = closed.cost();
        let max_records = self.max_records.load(Ordering::Relaxed);
        let max_bytes = self.max_bytes.load(Ordering::Relaxed);
        let wake_records = self.wake_records.load(Ordering::Relaxed);
        // How much a thread keeps to itself: nothing where the bound is small, little where it is large.
        let own_records = (max_records / 4096).min(wake_records / 8).clamp(1, 64);
        let own_bytes = (max_bytes / 4096).clamp(1, 16 * 1024);
        let mut buffers = lock(&shard.buffers);
        let buffers = &mut *buffers;
        buffers.submitted += 1;
        let records = self.records.load(Ordering::Relaxed) + buffers.unpublished.records;
        let bytes = self.bytes.load(Ordering::Relaxed) + buffers.unpublished.bytes;
        let at_once = own_records == 1 || cost >= own_bytes;
        if records >= max_records
            || bytes.saturating_add(cost) > max_bytes
            || at_once && !self.reserve(cost, max_records, max_bytes)
        {
            buffers.refused += 1;
            return Pushed::Full;
        }
        buffers.chunk.heads.push(closed);
        buffers.chunk.callsites.extend_from_slice(&record.callsites);
        buffers.chunk.bytes.extend_from_slice(&record.fields);
        let fresh = if at_once {
            Usage {
                records: 1,
                bytes: cost,
            }
        } else {
            buffers.unpublished.records += 1;
            buffers.unpublished.bytes += cost;
            if buffers.unpublished.records >= own_records || buffers.unpublished.bytes >= own_bytes
            {
                self.publish(buffers)
            } else {
                Usage::default()
            }
        };
        let mut enough = buffers.chunk.heads.len() >= wake_records;
        if fresh.records > 0 {
            let records = self
                .fresh_records
                .fetch_add(fresh.records, Ordering::Relaxed);
            let bytes = self.fresh_bytes.fetch_add(fresh.bytes, Ordering::Relaxed);
            enough |= records + fresh.records >= wake_records || bytes + fresh.bytes >= WAKE_BYTES;
        }
        if enough && !buffers.woken {
            buffers.woken = true;
            if !self.woken.swap(true, Ordering::AcqRel) {
                return Pushed::Wake;
            }
        }
        Pushed::Taken
    }

    fn publish(&self, buffers: &mut Buffers) -> Usage {
        let usage = std::mem::take(&mut buffers.unpublished);
        self.records.fetch_add(usage.records, Ordering::Relaxed);
        self.bytes.fetch_add(usage.bytes, Ordering::Relaxed);
        usage
    }

    /// Takes room for a record before the record is taken, so that threads cannot exceed the bounds together.
    fn reserve(&self, cost: usize, max_records: usize, max_bytes: usize) -> bool {
        let add = |counter: &AtomicUsize, amount: usize, max: usize| {
            counter
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                    used.checked_add(amount).filter(|sum| *sum <= max)
                })
                .is_ok()
        };
        if !add(&self.bytes, cost, max_bytes) {
            return false;
        }
        if !add(&self.records, 1, max_records) {
            self.bytes.fetch_sub(cost, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Whether there is enough for the worker to fetch.
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Takes all that waits; `spare` are empty buffers to leave behind. Shards of threads that ended are let go.
    pub(crate) fn drain(&self, spare: &mut Vec<Chunk>, into: &mut impl Extend<Chunk>) {
        self.woken.store(false, Ordering::Release);
        self.fresh_records.store(0, Ordering::Relaxed);
        self.fresh_bytes.store(0, Ordering::Relaxed);
        let shards: Vec<Arc<Shard>> = lock(&self.shards).clone();
        let mut ended = false;
        for shard in &shards {
            let mut buffers = lock(&shard.buffers);
            buffers.woken = false;
            self.publish(&mut buffers);
            // Held by the list and by `shards` only: its thread is gone.
            ended |= Arc::strong_count(shard) <= 2;
            if buffers.chunk.heads.is_empty() {
                continue;
            }
            let chunk = std::mem::replace(&mut buffers.chunk, spare.pop().unwrap_or_default());
            drop(buffers);
            into.extend([chunk]);
        }
        drop(shards);
        if ended {
            self.prune();
        }
    }

    fn prune(&self) {
        let mut retired = lock(&self.retired);
        lock(&self.shards).retain(|shard| {
            if Arc::strong_count(shard) > 1 {
                return true;
            }
            let buffers = lock(&shard.buffers);
            if !buffers.chunk.heads.is_empty() {
                return true;
            }
            retired.submitted += buffers.submitted;
            retired.refused += buffers.refused;
            retired.sampled_out += buffers.sampled_out;
            false
        });
    }

    /// Gives room back once the fate of records is known.
    pub(crate) fn release(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Empties it for good; the answer is how many records of unknown fate there were, each told once.
    pub(crate) fn forfeit(&self) -> usize {
        let mut chunks: Vec<Chunk> = Vec::new();
        self.drain(&mut Vec::new(), &mut chunks);
        for shard in lock(&self.shards).iter() {
            let mut buffers = lock(&shard.buffers);
            if buffers.chunk.heads.is_empty() {
                buffers.chunk = Chunk::default();
            }
        }
        self.bytes.swap(0, Ordering::Relaxed);
        self.records.swap(0, Ordering::Relaxed)
    }

    pub(crate) fn counts(&self) -> Counts {
        // Held throughout, as in `prune`, so that a shard is counted once.
        let retired = lock(&self.retired);
        let mut counts = *retired;
        for shard in lock(&self.shards).iter() {
            let buffers = lock(&shard.buffers);
            counts.submitted += buffers.submitted;
            counts.refused += buffers.refused;
            counts.sampled_out += buffers.sampled_out;
        }
        counts
    }

    /// Records whose fate is not known yet, waiting here or taken by the worker.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let shards = lock(&self.shards);
        let mut records = self.records.load(Ordering::Relaxed);
        let mut bytes = self.bytes.load(Ordering::Relaxed);
        for shard in shards.iter() {
            let buffers = lock(&shard.buffers);
            records += buffers.unpublished.records;
            bytes += buffers.unpublished.bytes;
        }
        (records, bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.usage().0 == 0
    }

    /// The memory that is kept for records, whether or not there are any.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        let capacity = |shard: &Arc<Shard>| {
            let buffers = lock(&shard.buffers);
            buffers.chunk.bytes.capacity() + buffers.chunk.heads.capacity() * HEAD_BYTES
        };
        lock(&self.shards).iter().map(capacity).sum()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        for shard in lock(&self.shards).iter() {
            shard.dead.store(true, Ordering::Relaxed);
        }
    }
}
