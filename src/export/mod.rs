//! From closed spans to the endpoint: a bounded queue, one worker thread, and the handle through which everybody else
//! speaks to them. Knows records and configuration; never layers, sessions or the REST client.

mod copied;
mod flushing;
#[cfg(feature = "spool")]
mod keeping;
mod losses;
pub(crate) mod otlp;
mod pending;
mod queue;
pub(crate) mod report;
mod requests;
pub(crate) mod retry;
#[cfg(all(test, shuttle))]
mod shuttle_tests;
#[cfg(feature = "spool")]
mod spool;
pub(crate) mod transport;
mod updates;
#[cfg(feature = "api")]
pub(crate) mod worker;
#[cfg(not(feature = "api"))]
mod worker;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::Notify;
use tracing::Dispatch;

use crate::clock;
use crate::config::live::Live;
use crate::config::{Config, ResilienceLevel};
use crate::environment::Strategy;
use crate::error::{Error, Kind};
use crate::event::SpanRecord;
use crate::fork;
use crate::id::SessionId;
use crate::log::Log;
use crate::sync::model::Mutex;
use crate::sync::model::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::{Gate, lock};
use losses::Losses;
pub(crate) use pending::Pending;
use queue::{Bounds, Pushed, Queue};
use report::{Degradation, DropReason, FlushReport, Stats};
#[cfg(all(test, shuttle))]
use shuttle_tests::spawn;
#[cfg(all(fuzzing, feature = "spool"))]
pub use spool::read_spool_file;
#[cfg(feature = "testing")]
pub(crate) use transport::Tape;
#[cfg(not(all(test, shuttle)))]
use worker::spawn;

/// The handle: whoever holds one can submit. When the last one goes, the worker sends what is left and ends.
#[derive(Debug)]
pub(crate) struct Exporter {
    shared: Arc<Shared>,
    /// Takes the place of this one in a process that was forked from the one it was made in.
    copy: OnceLock<Arc<Self>>,
}

/// What handle and worker have in common.
#[derive(Debug)]
struct Shared {
    instance: u64,
    queue: Queue,
    config: Arc<Live<Config>>,
    strategy: Strategy,
    scope: String,
    /// The instance's own session.
    session: SessionId,
    /// When that session started, in milliseconds since 1970.
    started: u64,
    inbox: Mutex<VecDeque<Command>>,
    updates: Waiting,
    notify: Notify,
    counters: Counters,
    log: Log,
    worker: AtomicU8,
    /// The owner has been dropped; the first record after that is worth a warning.
    orphaned: AtomicBool,
    health: Mutex<Health>,
    losses: Losses,
    /// What is odd, and costs no event.
    complaints: Gate,
    /// The process it belongs to; see [`fork`].
    generation: u32,
    /// Spans that began before this tick belong to the process that forked.
    since: u64,
    #[cfg(feature = "testing")]
    tape: std::sync::OnceLock<Tape>,
}

/// States of the worker.
const ASLEEP: u8 = 0;
const RUNNING: u8 = 1;
/// It was shut down.
const ENDED: u8 = 2;
/// It panicked, or could not be started.
const FAILED: u8 = 3;

#[derive(Debug)]
enum Command {
    /// The configuration has changed.
    Configured,
    Flush(Arc<Pending<Result<FlushReport, Error>>>),
    Update(Update),
    /// Move all there is to the spool: the program ends.
    #[cfg(feature = "spool")]
    Keep(Arc<Pending<Result<FlushReport, Error>>>),
    /// Deliver what can be delivered until the instant, count the rest as lost, and end; tell of what was sent and lost
    /// since so much was.
    Stop(
        Instant,
        (u64, u64),
        Option<Arc<Pending<Result<FlushReport, Error>>>>,
    ),
}

/// A request about an event or a session that is no span: `PUT /events`, or `POST /events` where it is new.
#[derive(Clone, Debug)]
struct Update {
    /// The session to be announced first.
    session: Option<SessionId>,
    /// Whether the event is new.
    creates: bool,
    /// The whole of a new event, or the change of the event it names.
    body: Map<String, Value>,
    /// Whether the spans that closed before it must have arrived.
    after_spans: bool,
    /// What it counts for in [`Waiting`].
    bytes: u64,
}

/// Updates that wait or are on their way.
#[derive(Debug, Default)]
struct Waiting {
    count: AtomicU64,
    bytes: AtomicU64,
}

/// Updates beyond this many are lost, and counted.
const MAX_UPDATES: u64 = 10_000;
/// Likewise beyond this many bytes.
const MAX_UPDATE_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Debug, Default)]
struct Counters {
    exported: AtomicU64,
    rejected: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    not_recorded: AtomicU64,
    cut: AtomicU64,
    retried: AtomicU64,
    bytes_sent: AtomicU64,
    sessions_started: AtomicU64,
    sessions_failed: AtomicU64,
    updates_sent: AtomicU64,
    updates_lost: AtomicU64,
    updates_sampled_out: AtomicU64,
    redact_failed: AtomicU64,
    /// In the spool now, and moved there so far.
    spooled: AtomicU64,
    kept: AtomicU64,
    replayed: AtomicU64,
    recovered: AtomicU64,
    recovered_lost: AtomicU64,
    spool_bytes: AtomicU64,
    spool_corrupt: AtomicU64,
    updates_spooled: AtomicU64,
}

#[derive(Debug, Default)]
struct Health {
    last_error: Option<String>,
    key_rejected: Option<u16>,
    local_session: Option<String>,
    unreachable: Option<String>,
    /// The status of the last batch, if it was refused for good.
    refused: Option<u16>,
    /// Why nothing can be kept on disk.
    spool: Option<String>,
}

impl Counters {
    /// (accepted, failed) so far.
    fn progress(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let dropped: u64 = self.dropped.iter().map(read).sum();
        (read(&self.exported), read(&self.rejected) + dropped)
    }

    fn drop(&self, reason: DropReason, count: u64) {
        if let Some(counter) = self.dropped.get(reason.index()) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Waiting {
    fn release(&self, bytes: u64) {
        self.count.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Shared {
    /// Nobody works here any more: counts whatever is left as lost, and tells those who wait. May be called by several
    /// threads at once, and again whenever something came in late.
    fn abandon(&self, reason: DropReason) -> u64 {
        let lost = self.queue.forfeit() as u64;
        self.counters.drop(reason, lost);
        let commands = std::mem::take(&mut *lock(&self.inbox));
        let updates = self.updates.count.swap(0, Ordering::AcqRel);
        self.counters
            .updates_lost
            .fetch_add(updates, Ordering::Relaxed);
        for command in commands {
            #[cfg(feature = "spool")]
            if let Command::Keep(pending) = &command {
                pending.settle(Ok(FlushReport::default()));
            }
            if let Command::Flush(pending) | Command::Stop(_, _, Some(pending)) = command {
                pending.settle(if reason == DropReason::WorkerFailed {
                    Err(failed())
                } else {
                    Ok(FlushReport::default())
                });
            }
        }
        lost
    }

    /// After something was handed over: the worker may have ended in between, and would never see it.
    fn check(&self) {
        match self.worker.load(Ordering::Acquire) {
            ENDED => self.abandon(DropReason::Shutdown),
            FAILED => self.abandon(DropReason::WorkerFailed),
            _ => 0,
        };
    }
}

fn failed() -> Error {
    Error::new(
        Kind::Delivery,
        "the export thread failed: events are lost (see HoneyHive::stats)",
    )
}

impl Exporter {
    pub(crate) fn new(
        instance: u64,
        config: Arc<Live<Config>>,
        strategy: Strategy,
        session: SessionId,
    ) -> Self {
        // So that a copy of the process is seen to be one.
        fork::look(clock::ticks());
        let settings = config.load();
        let bounds = bounds(&settings);
        let log = Log::new(settings.verbose);
        drop(settings);
        Self {
            copy: OnceLock::new(),
            shared: Arc::new(Shared {
                instance,
                queue: Queue::new(instance, bounds),
                config,
                strategy,
                scope: format!("honeyhive.{instance}"),
                session,
                started: clock::unix_nanos() / 1_000_000,
                inbox: Mutex::new(VecDeque::new()),
                updates: Waiting::default(),
                notify: Notify::new(),
                counters: Counters::default(),
                log,
                worker: AtomicU8::new(ASLEEP),
                orphaned: AtomicBool::new(false),
                health: Mutex::new(Health::default()),
                losses: Losses::default(),
                complaints: Gate::new(Duration::from_secs(60)),
                generation: fork::generation(),
                since: 0,
                #[cfg(feature = "testing")]
                tape: std::sync::OnceLock::new(),
            }),
        }
    }

    /// Hands over a closed span. Never blocks; what finds no room is counted.
    pub(crate) fn submit(&self, record: &SpanRecord) {
        if let Some(copy) = self.moved() {
            return copy.submit(record);
        }
        let shared = &self.shared;
        if record.head.start < shared.since {
            return;
        }
        // Where it has ended, what closed meanwhile is counted below.
        if shared.worker.load(Ordering::Acquire) == ASLEEP {
            self.start();
        }
        let lost = u64::from(record.head.lost_fields)
            + u64::from(record.head.lost_events)
            + u64::from(record.head.lost_links);
        if lost > 0 {
            shared.counters.cut.fetch_add(lost, Ordering::Relaxed);
        }
        match shared.queue.push(record) {
            Pushed::Taken => {}
            Pushed::Wake => shared.notify.notify_one(),
            Pushed::Full => {
                if shared.losses.open() {
                    shared.log.warn("the queue is full: events are lost (see HoneyHive::stats, max_queue_bytes)");
                    // It says what becomes of it.
                    shared.notify.notify_one();
                }
            }
        }
        shared.check();
        if shared.orphaned.load(Ordering::Relaxed) && shared.orphaned.swap(false, Ordering::Relaxed)
        {
            shared.log.warn(
                "an event was recorded after its HoneyHive was dropped: it is sent by timer, and not flushed at exit \
                 (keep the HoneyHive until the end of main)",
            );
        }
    }

    /// Keeps what would be sent; to be called before the first record.
    #[cfg(feature = "testing")]
    pub(crate) fn record_on(&self, tape: Tape) {
        let _ = self.shared.tape.set(tape);
    }

    /// The instance's own session.
    pub(crate) fn session(&self) -> SessionId {
        self.shared.session
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.shared.config.load_full()
    }

    pub(crate) fn id(&self) -> u64 {
        self.shared.instance
    }

    /// The configuration has changed.
    pub(crate) fn configured(&self) {
        if let Some(copy) = self.here() {
            return copy.configured();
        }
        let config = self.shared.config.load();
        self.shared.queue.set_bounds(bounds(&config));
        self.shared.log.set_verbose(config.verbose);
        // A key that was refused is not the key any more.
        lock(&self.shared.health).key_rejected = None;
        if self.is_running() {
            self.command(Command::Configured);
        }
    }

    #[cold]
    fn start(&self) {
        let shared = &self.shared;
        if shared
            .worker
            .compare_exchange(ASLEEP, RUNNING, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return;
        }
        if let Err(error) = spawn(Arc::clone(shared)) {
            shared.worker.store(FAILED, Ordering::Release);
            shared.log.warn(&format!(
                "cannot start the export thread, nothing is sent: {error}"
            ));
        }
    }

    fn command(&self, command: Command) {
        lock(&self.shared.inbox).push_back(command);
        self.shared.notify.notify_one();
        self.shared.check();
    }

    /// The owner is gone: the next record is worth a warning.
    pub(crate) fn orphan(&self) {
        let here = self.here().map_or(self, |copy| copy);
        here.shared.orphaned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn attach(&self, dispatch: &Dispatch) {
        self.log().attach(dispatch);
    }

    pub(crate) fn log(&self) -> &Log {
        &self.moved().map_or(self, |copy| copy).shared.log
    }

    pub(crate) fn count_not_recorded(&self) {
        if let Some(copy) = self.moved() {
            return copy.count_not_recorded();
        }
        self.shared
            .counters
            .not_recorded
            .fetch_add(1, Ordering::Relaxed);
        if self.shared.losses.open() {
            self.shared.log.warn(
                "too many spans are open at once: new ones are not recorded (see HoneyHive::stats)",
            );
        }
    }

    /// A closed span is kept back by sampling.
    pub(crate) fn count_sampled_out(&self) {
        if let Some(copy) = self.moved() {
            return copy.count_sampled_out();
        }
        self.shared.queue.count_sampled_out();
    }

    pub(crate) fn count_cut(&self, count: u64) {
        if let Some(copy) = self.moved() {
            return copy.count_cut(count);
        }
        self.shared.counters.cut.fetch_add(count, Ordering::Relaxed);
    }

    /// The numbers of delivery in force.
    pub(crate) fn strategy(&self) -> Strategy {
        self.shared.strategy.with(self.config())
    }

    pub(crate) fn stats(&self) -> Stats {
        if let Some(copy) = self.here() {
            return copy.stats();
        }
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = self.shared.queue.counts();
        let (records, bytes) = self.shared.queue.usage();
        Stats {
            submitted: counts.submitted,
            sampled_out: counts.sampled_out,
            exported: read(&counters.exported),
            rejected: read(&counters.rejected),
            dropped: self.shared.dropped(counts.refused),
            in_flight: records as u64,
            not_recorded: read(&counters.not_recorded),
            cut: read(&counters.cut),
            queue_bytes: bytes as u64,
            retried: read(&counters.retried),
            bytes_sent: read(&counters.bytes_sent),
            sessions_started: read(&counters.sessions_started),
            sessions_failed: read(&counters.sessions_failed),
            updates_sent: read(&counters.updates_sent),
            updates_lost: read(&counters.updates_lost),
            updates_sampled_out: read(&counters.updates_sampled_out),
            spooled: read(&counters.spooled),
            replayed: read(&counters.replayed),
            recovered: read(&counters.recovered),
            recovered_lost: read(&counters.recovered_lost),
            spool_bytes: read(&counters.spool_bytes),
            spool_corrupt: read(&counters.spool_corrupt),
            updates_spooled: read(&counters.updates_spooled),
            redact_failed: read(&counters.redact_failed),
            last_error: lock(&self.shared.health).last_error.clone(),
        }
    }

    pub(crate) fn degradations(&self) -> Vec<Degradation> {
        if let Some(copy) = self.here() {
            return copy.degradations();
        }
        let health = lock(&self.shared.health);
        let mut found = Vec::new();
        found.extend(health.refused.map(|status| Degradation::Refused { status }));
        found.extend(
            health
                .key_rejected
                .map(|status| Degradation::KeyRejected { status }),
        );
        found.extend(
            health
                .local_session
                .clone()
                .map(|reason| Degradation::LocalSession { reason }),
        );
        found.extend(
            health
                .unreachable
                .clone()
                .map(|reason| Degradation::Unreachable { reason }),
        );
        found.extend(
            health
                .spool
                .clone()
                .map(|reason| Degradation::SpoolFailed { reason }),
        );
        found
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // In a copy of its process nobody would hear it.
        if self.here().is_none() && self.is_running() {
            let timeout = self.shared.config.load().flush_timeout();
            let deadline = deadline(Instant::now(), timeout);
            let before = self.shared.counters.progress();
            self.command(Command::Stop(deadline, before, None));
        }
    }
}

/// What can be told of the way to the endpoints without taking it: where problems are errors at once, whether there are
/// certificates.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    let goes = !config.test_mode && !config.disable_tracing && config.otlp_enabled;
    let https = requests::traces_url(config).starts_with("https:")
        || requests::has_rest(config) && config.server_url.starts_with("https:");
    if config.resilience != ResilienceLevel::Strict || !goes || !https {
        return Ok(());
    }
    match transport::Http::new(true, transport::Connections::from(config)) {
        Ok(_) => Ok(()),
        Err(failure) => Err(Error::config(format!(
            "server_url: https:// cannot be used: {}",
            failure.reason
        ))),
    }
}

const GRACE: Duration = Duration::from_millis(50);

fn deadline(started: Instant, timeout: Duration) -> Instant {
    started
        .checked_add(timeout)
        .unwrap_or_else(|| started + Duration::from_secs(86_400 * 365))
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        records: config.max_queue_size,
        bytes: config.max_queue_bytes,
        wake_records: if config.disable_batch {
            1
        } else {
            config.batch_size
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::event::Head;

    fn exporter() -> Exporter {
        let config = Config {
            test_mode: true,
            ..Config::default()
        };
        let strategy = Environment::Standard.strategy();
        Exporter::new(
            1,
            Arc::new(Live::new(config)),
            strategy,
            SessionId::random(),
        )
    }

    pub(super) fn record() -> SpanRecord {
        let meta = tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            tracing::info_span!("work").metadata().unwrap()
        });
        SpanRecord::new(Head::closed(meta))
    }

    pub(super) fn assert_balanced(stats: &Stats) {
        let known = stats.exported + stats.rejected + stats.dropped.total() + stats.in_flight;
        assert_eq!(stats.submitted, known + stats.spooled, "{stats:?}");
    }

    #[test]
    fn what_comes_after_a_failed_worker_is_counted_and_flush_says_so() {
        let exporter = Arc::new(exporter());
        exporter.shared.worker.store(FAILED, Ordering::Release);
        let record = record();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..500).for_each(|_| exporter.submit(&record)));
            }
        });
        let stats = exporter.stats();
        assert_balanced(&stats);
        assert_eq!(stats.dropped.of(DropReason::WorkerFailed), 4000);
        assert_eq!((stats.in_flight, stats.queue_bytes), (0, 0));
        let flushed = exporter.begin_flush(Duration::from_secs(9)).wait_blocking();
        assert!(flushed.unwrap_err().is_delivery());
        assert!(exporter.end(Duration::ZERO, (0, 0)).is_ok());
    }

    #[test]
    fn an_end_gives_the_memory_back() {
        let exporter = Arc::new(exporter());
        let record = record();
        for _ in 0..3 {
            (0..500).for_each(|_| exporter.submit(&record));
            let flushed = exporter
                .begin_flush(Duration::from_secs(15))
                .wait_blocking();
            assert!(flushed.is_ok());
        }
        assert!(exporter.shared.queue.capacity() > 0);
        assert!(exporter.end(Duration::from_secs(15), (0, 0)).is_ok());
        // The thread answers first.
        let far = Instant::now() + Duration::from_secs(15);
        while exporter.shared.queue.capacity() > 0 && Instant::now() < far {
            std::thread::yield_now();
        }
        assert_eq!(exporter.shared.queue.capacity(), 0);
    }

    #[test]
    fn what_comes_while_the_worker_ends_is_counted() {
        for _ in 0..50 {
            let exporter = exporter();
            let record = record();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..200).for_each(|_| exporter.submit(&record)));
                }
                scope.spawn(|| exporter.end(Duration::from_secs(9), (0, 0)));
            });
            let stats = exporter.stats();
            assert_balanced(&stats);
            assert_eq!((stats.in_flight, stats.queue_bytes), (0, 0), "{stats:?}");
        }
    }
}
