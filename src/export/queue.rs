//! Where closed spans wait for the worker: a buffer per thread, bounded in records and bytes, never blocking. Knows
//! records, not what becomes of them.
//!
//! A thread appends to its own shard and touches what all threads share only once in a while. The worker takes whole
//! buffers and leaves empty ones.

use std::cell::RefCell;
use std::sync::Arc;

use tracing::Metadata;

use crate::event::{Head, SpanRecord};
use crate::sync::lock;
use crate::sync::model::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::model::{Mutex, thread_local};

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
    /// How much of that there may be.
    own: Usage,
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
/// What threads keep to themselves is unseen by the others: together they may exceed a bound by so small a part of it,
/// however many they are.
const UNSEEN: usize = 64;

#[derive(Debug)]
pub(crate) struct Queue {
    id: u64,
    max_records: AtomicUsize,
    max_bytes: AtomicUsize,
    wake_records: AtomicUsize,
    shards: Mutex<Vec<Arc<Shard>>>,
    /// How many there are.
    sharers: AtomicUsize,
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
            sharers: AtomicUsize::new(1),
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
        let own = self.share();
        for shard in lock(&self.shards).iter() {
            lock(&shard.buffers).own = own;
        }
    }

    /// How much a thread keeps to itself: nothing where the bound is small or the threads are many, little where it is
    /// large.
    fn share(&self) -> Usage {
        let parts = self.sharers.load(Ordering::Relaxed).max(64) * UNSEEN;
        let records = self.max_records.load(Ordering::Relaxed) / parts;
        let bytes = self.max_bytes.load(Ordering::Relaxed) / parts;
        let wake_records = self.wake_records.load(Ordering::Relaxed);
        Usage {
            records: records.min(wake_records / 8).clamp(1, 64),
            bytes: bytes.clamp(1, 16 * 1024),
        }
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
            let mut all = lock(&self.shards);
            all.push(Arc::clone(&shard));
            self.sharers.store(all.len(), Ordering::Relaxed);
            drop(all);
            lock(&shard.buffers).own = self.share();
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
        let mut buffers = lock(&shard.buffers);
        let buffers = &mut *buffers;
        buffers.submitted += 1;
        let records = self.records.load(Ordering::Relaxed) + buffers.unpublished.records;
        let bytes = self.bytes.load(Ordering::Relaxed) + buffers.unpublished.bytes;
        let own = buffers.own;
        let at_once = own.records <= 1 || cost >= own.bytes;
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
            if buffers.unpublished.records >= own.records || buffers.unpublished.bytes >= own.bytes
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
        let own = self.share();
        let mut ended = false;
        for shard in &shards {
            let mut buffers = lock(&shard.buffers);
            buffers.woken = false;
            buffers.own = own;
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
        let mut shards = lock(&self.shards);
        shards.retain(|shard| {
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
        self.sharers.store(shards.len(), Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(bytes: usize) -> SpanRecord {
        let meta = tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            tracing::info_span!("work").metadata().unwrap()
        });
        let mut record = SpanRecord::new(Head::closed(meta));
        record.fields.resize(bytes, 0);
        record
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push { bytes: usize },
        PushElsewhere { bytes: usize },
        Drain,
        Release { share: usize },
        Bounds { records: usize, bytes: usize },
        Forfeit,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bounds = prop_oneof![
            Just((5, 2_000)),
            Just((50_000, 1 << 20)),
            Just((300_000, 1 << 27))
        ];
        let step = prop_oneof![
            8 => (0..400_usize).prop_map(|bytes| Step::Push { bytes }),
            1 => (0..200_000_usize).prop_map(|bytes| Step::Push { bytes }),
            2 => (0..400_usize).prop_map(|bytes| Step::PushElsewhere { bytes }),
            2 => Just(Step::Drain),
            2 => (1..4_usize).prop_map(|share| Step::Release { share }),
            1 => bounds.prop_map(|(records, bytes)| Step::Bounds { records, bytes }),
            1 => Just(Step::Forfeit),
        ];
        proptest::collection::vec(step, 1..200)
    }

    /// What the queue should hold, kept the plain way.
    #[derive(Debug, Default)]
    struct Model {
        /// The costs of what waits, and of what was taken and not let go of.
        waiting: Vec<usize>,
        taken: Vec<usize>,
        submitted: u64,
        refused: u64,
    }

    impl Model {
        fn usage(&self) -> (usize, usize) {
            let all = self.waiting.iter().chain(&self.taken);
            all.fold((0, 0), |(records, bytes), cost| (records + 1, bytes + cost))
        }
    }

    fn run(steps: &[Step]) {
        let mut bounds = Bounds {
            records: 300_000,
            bytes: 1 << 27,
            wake_records: 512,
        };
        // A thread knows queues by their numbers.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1 << 62);
        let queue = Queue::new(NEXT.fetch_add(1, Ordering::Relaxed), bounds);
        let mut model = Model::default();
        for step in steps {
            match *step {
                Step::Push { bytes } | Step::PushElsewhere { bytes } => {
                    let record = record(bytes);
                    let cost = HEAD_BYTES + bytes;
                    let (records, used) = model.usage();
                    let fits = records < bounds.records && used + cost <= bounds.bytes;
                    let pushed = if matches!(step, Step::Push { .. }) {
                        queue.push(&record)
                    } else {
                        std::thread::scope(|scope| scope.spawn(|| queue.push(&record)).join())
                            .unwrap()
                    };
                    model.submitted += 1;
                    // One thread does not see what others keep to themselves.
                    let near = records + 1 + bounds.records / UNSEEN >= bounds.records
                        || used + cost + bounds.bytes / UNSEEN >= bounds.bytes;
                    assert!(fits == (pushed != Pushed::Full) || near, "{pushed:?}");
                    if pushed == Pushed::Full {
                        model.refused += 1;
                    } else {
                        model.waiting.push(cost);
                    }
                }
                Step::Drain => {
                    let mut chunks: Vec<Chunk> = Vec::new();
                    queue.drain(&mut Vec::new(), &mut chunks);
                    let closed = chunks.iter().flat_map(|chunk| &chunk.heads);
                    let mut costs: Vec<usize> = closed.map(Closed::cost).collect();
                    model.taken.extend(&costs);
                    costs.sort_unstable();
                    model.waiting.sort_unstable();
                    assert_eq!(costs, model.waiting);
                    model.waiting.clear();
                }
                Step::Release { share } => {
                    let count = model.taken.len() / share;
                    let released: Vec<usize> = model.taken.drain(..count).collect();
                    queue.release(count, released.iter().sum());
                }
                Step::Bounds { records, bytes } => {
                    bounds = Bounds {
                        records,
                        bytes,
                        ..bounds
                    };
                    queue.set_bounds(bounds);
                }
                Step::Forfeit => {
                    assert_eq!(queue.forfeit(), model.usage().0);
                    model.waiting.clear();
                    model.taken.clear();
                }
            }
            assert_eq!(queue.usage(), model.usage());
            let counts = queue.counts();
            assert_eq!(
                (counts.submitted, counts.refused),
                (model.submitted, model.refused)
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_accounts_are_those_of_a_plain_list(steps in steps()) {
            run(&steps);
        }
    }
}
