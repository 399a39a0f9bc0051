//! From closed spans to the endpoint: a bounded queue, one worker thread, and the handle through which everybody else
//! speaks to them. Knows records and configuration; never layers, sessions or the REST client.

pub(crate) mod otlp;
mod pending;
mod queue;
pub(crate) mod report;
mod requests;
mod retry;
mod transport;
mod worker;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::Notify;
use tracing::Dispatch;

use crate::config::Config;
use crate::config::live::Live;
use crate::environment::Strategy;
use crate::error::{Error, Kind, Left};
use crate::event::SpanRecord;
use crate::id::SessionId;
use crate::log::Log;
use crate::sync::{Gate, lock};
pub(crate) use pending::Pending;
use queue::{Bounds, Pushed, Queue};
use report::{Degradation, DropReason, Dropped, FlushReport, Stats};

/// The handle: whoever holds one can submit. When the last one goes, the worker sends what is left and ends.
#[derive(Debug)]
pub(crate) struct Exporter {
    shared: Arc<Shared>,
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
    inbox: Mutex<VecDeque<Command>>,
    updates: Waiting,
    notify: Notify,
    counters: Counters,
    log: Log,
    worker: AtomicU8,
    /// The owner has been dropped; the first record after that is worth a warning.
    orphaned: AtomicBool,
    health: Mutex<Health>,
    losses: Gate,
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
    /// Deliver what can be delivered until the instant, count the rest as lost, and end.
    Stop(Instant, Option<Arc<Pending<Result<FlushReport, Error>>>>),
}

/// `PUT /events` for a session.
#[derive(Clone, Debug)]
struct Update {
    session: SessionId,
    body: Map<String, Value>,
    /// What it counts for in [`Waiting`].
    bytes: u64,
}

/// Updates of sessions that wait or are on their way.
#[derive(Debug, Default)]
struct Waiting {
    count: AtomicU64,
    bytes: AtomicU64,
}

/// Updates of sessions beyond this many are lost, and counted.
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
}

#[derive(Debug, Default)]
struct Health {
    last_error: Option<String>,
    key_rejected: Option<u16>,
    local_session: Option<String>,
    unreachable: Option<String>,
}

impl Counters {
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
            if let Command::Flush(pending) | Command::Stop(_, Some(pending)) = command {
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
        let settings = config.load();
        let bounds = bounds(&settings);
        let log = Log::new(settings.verbose);
        drop(settings);
        Self {
            shared: Arc::new(Shared {
                instance,
                queue: Queue::new(instance, bounds),
                config,
                strategy,
                scope: format!("honeyhive.{instance}"),
                session,
                inbox: Mutex::new(VecDeque::new()),
                updates: Waiting::default(),
                notify: Notify::new(),
                counters: Counters::default(),
                log,
                worker: AtomicU8::new(ASLEEP),
                orphaned: AtomicBool::new(false),
                health: Mutex::new(Health::default()),
                losses: Gate::new(Duration::from_secs(60)),
            }),
        }
    }

    /// Hands over a closed span. Never blocks; what finds no room is counted.
    pub(crate) fn submit(&self, record: &SpanRecord) {
        let shared = &self.shared;
        match shared.worker.load(Ordering::Acquire) {
            ASLEEP => self.start(),
            ENDED => return,
            _ => {}
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

    pub(crate) fn id(&self) -> u64 {
        self.shared.instance
    }

    /// The configuration has changed.
    pub(crate) fn configured(&self) {
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
        if let Err(error) = worker::spawn(Arc::clone(shared)) {
            shared.worker.store(FAILED, Ordering::Release);
            shared.log.warn(&format!(
                "cannot start the export thread, nothing is sent: {error}"
            ));
        }
    }

    /// Sends an update of a session, after its announcement.
    pub(crate) fn update(&self, session: SessionId, entries: &[u8]) {
        let body = otlp::buckets(entries);
        if body.is_empty() {
            return;
        }
        let update = Update {
            session,
            body,
            bytes: entries.len() as u64,
        };
        if self.shared.worker.load(Ordering::Acquire) >= ENDED || !self.command_update(update) {
            self.shared
                .counters
                .updates_lost
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    fn command_update(&self, update: Update) -> bool {
        let waiting = &self.shared.updates;
        let mut inbox = lock(&self.shared.inbox);
        // Only the worker and the end of it change these elsewhere, and only to less.
        if waiting.count.load(Ordering::Acquire) >= MAX_UPDATES
            || waiting.bytes.load(Ordering::Acquire) + update.bytes > MAX_UPDATE_BYTES
        {
            return false;
        }
        waiting.count.fetch_add(1, Ordering::AcqRel);
        waiting.bytes.fetch_add(update.bytes, Ordering::AcqRel);
        inbox.push_back(Command::Update(update));
        drop(inbox);
        self.start();
        self.shared.notify.notify_one();
        self.shared.check();
        true
    }

    fn command(&self, command: Command) {
        lock(&self.shared.inbox).push_back(command);
        self.shared.notify.notify_one();
        self.shared.check();
    }

    /// Asks the worker to send all that is there; `None` when there is nothing.
    fn request_flush(&self) -> Option<Arc<Pending<Result<FlushReport, Error>>>> {
        let shared = &self.shared;
        let pending = Pending::new();
        match shared.worker.load(Ordering::Acquire) {
            RUNNING => self.command(Command::Flush(Arc::clone(&pending))),
            FAILED => pending.settle(Err(failed())),
            _ => return None,
        }
        Some(pending)
    }

    /// Asks for a flush; the answer is what to wait for.
    pub(crate) fn begin_flush(self: &Arc<Self>, timeout: Duration) -> Flushing {
        let before = self.progress();
        let started = Instant::now();
        Flushing {
            exporter: Arc::clone(self),
            pending: self.request_flush(),
            started,
            timeout,
            before,
        }
    }

    /// (accepted, failed) so far.
    fn progress(&self) -> (u64, u64) {
        let counters = &self.shared.counters;
        let dropped: u64 = counters
            .dropped
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum();
        (
            counters.exported.load(Ordering::Relaxed),
            counters.rejected.load(Ordering::Relaxed) + dropped,
        )
    }

    fn flushed(
        &self,
        result: Option<Result<FlushReport, Error>>,
        started: Instant,
        timeout: Duration,
        before: (u64, u64),
    ) -> Result<FlushReport, Error> {
        let elapsed = started.elapsed();
        if let Some(result) = result {
            return result.map(|report| FlushReport { elapsed, ..report });
        }
        let now = self.progress();
        let left = Left {
            sent: now.0.saturating_sub(before.0),
            failed: now.1.saturating_sub(before.1),
            left: self.shared.queue.usage().0 as u64,
        };
        Err(Error::new(
            Kind::Timeout,
            format!(
                "flush did not finish within {timeout:?}: {} events sent, {} lost, {} still waiting",
                left.sent, left.failed, left.left
            ),
        )
        .with_report(left))
    }

    /// Stops the worker for good, delivering what can be delivered in time.
    fn request_stop(&self, deadline: Instant) -> Option<Arc<Pending<Result<FlushReport, Error>>>> {
        let shared = &self.shared;
        if shared
            .worker
            .compare_exchange(ASLEEP, ENDED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
            || shared.worker.load(Ordering::Acquire) != RUNNING
        {
            return None;
        }
        let pending = Pending::new();
        self.command(Command::Stop(deadline, Some(Arc::clone(&pending))));
        Some(pending)
    }

    pub(crate) fn shutdown_blocking(&self, timeout: Duration) -> Result<FlushReport, Error> {
        let started = Instant::now();
        let before = self.progress();
        let Some(pending) = self.request_stop(deadline(started, timeout)) else {
            return Ok(FlushReport::default());
        };
        // The worker settles at the deadline; a little more, so that its report is heard.
        let result = pending.wait(deadline(started, timeout) + GRACE);
        self.flushed(result, started, timeout, before)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.shared.worker.load(Ordering::Acquire) == RUNNING
    }

    /// Whether a flush would find nothing to do, or nobody to give it to.
    pub(crate) fn flush_is_futile(&self) -> bool {
        let health = lock(&self.shared.health);
        if health.unreachable.is_some() || health.key_rejected.is_some() {
            return true;
        }
        drop(health);
        self.shared.queue.is_empty() && self.shared.updates.count.load(Ordering::Acquire) == 0
    }

    /// The owner is gone: the next record is worth a warning.
    pub(crate) fn orphan(&self) {
        self.shared.orphaned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn attach(&self, dispatch: &Dispatch) {
        self.shared.log.attach(dispatch);
    }

    pub(crate) fn log(&self) -> &Log {
        &self.shared.log
    }

    pub(crate) fn count_not_recorded(&self) {
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

    pub(crate) fn count_cut(&self, count: u64) {
        self.shared.counters.cut.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn strategy(&self) -> &Strategy {
        &self.shared.strategy
    }

    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = self.shared.queue.counts();
        let (records, bytes) = self.shared.queue.usage();
        let mut dropped = [0; DropReason::ALL.len()];
        for (count, counter) in dropped.iter_mut().zip(&counters.dropped) {
            *count = read(counter);
        }
        if let Some(full) = dropped.get_mut(DropReason::QueueFull.index()) {
            *full += counts.refused;
        }
        Stats {
            submitted: counts.submitted,
            exported: read(&counters.exported),
            rejected: read(&counters.rejected),
            dropped: Dropped::from_counts(dropped),
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
            last_error: lock(&self.shared.health).last_error.clone(),
        }
    }

    pub(crate) fn degradations(&self) -> Vec<Degradation> {
        let health = lock(&self.shared.health);
        let mut found = Vec::new();
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
        found
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if self.is_running() {
            let deadline = deadline(Instant::now(), self.shared.strategy.flush_timeout);
            self.command(Command::Stop(deadline, None));
        }
    }
}

/// A flush under way.
#[derive(Debug)]
pub(crate) struct Flushing {
    exporter: Arc<Exporter>,
    /// Nothing, when there is nothing to send or nobody to send it.
    pending: Option<Arc<Pending<Result<FlushReport, Error>>>>,
    started: Instant,
    timeout: Duration,
    before: (u64, u64),
}

impl Flushing {
    pub(crate) async fn wait(self) -> Result<FlushReport, Error> {
        let Some(pending) = &self.pending else {
            return Ok(FlushReport::default());
        };
        let result = pending
            .wait_async(deadline(self.started, self.timeout))
            .await;
        self.exporter
            .flushed(result, self.started, self.timeout, self.before)
    }

    pub(crate) fn wait_blocking(self) -> Result<FlushReport, Error> {
        let Some(pending) = &self.pending else {
            return Ok(FlushReport::default());
        };
        let result = pending.wait(deadline(self.started, self.timeout));
        self.exporter
            .flushed(result, self.started, self.timeout, self.before)
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
