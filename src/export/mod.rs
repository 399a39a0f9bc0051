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
use crate::error::{Error, Kind, Left};
use crate::event::{SpanRecord, directory};
use crate::fork;
use crate::id::{EventId, SessionId};
use crate::log::Log;
use crate::sync::model::Mutex;
use crate::sync::model::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::{Gate, lock};
use flushing::Flushing;
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

    /// Sends an update of a session, after its announcement.
    pub(crate) fn update(&self, session: SessionId, entries: &[u8]) {
        let mut body = otlp::buckets(entries);
        if !self.shared.config.load().capture_content {
            otlp::redacted::remove_content(&mut body);
        }
        if body.is_empty() {
            return;
        }
        self.change(session, Some(session), body, entries.len());
    }

    /// Sends an update of an event, after the spans that have closed by now.
    pub(crate) fn update_event(&self, event: EventId, entries: &[u8]) {
        let body = otlp::buckets(entries);
        if !body.is_empty() {
            self.change(event, None, body, entries.len());
        }
    }

    /// Sends the end of a session that started at an instant (zero: unknown), both in milliseconds since 1970.
    pub(crate) fn end_session(&self, session: SessionId, end: u64, started: u64) {
        let own = session == self.shared.session;
        let started = if own { self.shared.started } else { started };
        let mut body = Map::new();
        body.insert("end_time".to_owned(), end.into());
        if started > 0 {
            let duration = end.saturating_sub(started);
            body.insert("duration".to_owned(), duration.into());
        }
        self.change(session, Some(session), body, 64);
    }

    fn change(
        &self,
        id: impl std::fmt::Display,
        session: Option<SessionId>,
        mut body: Map<String, Value>,
        bytes: usize,
    ) {
        body.insert("event_id".to_owned(), id.to_string().into());
        self.send_update(Update {
            session,
            creates: false,
            body,
            // A session that nobody announces is made by its spans.
            after_spans: session.is_none() || self.shared.config.load().session_auto_create(),
            bytes: bytes as u64,
        });
    }

    /// Sends an event that is no span; `event` has what its entries and the configuration do not say.
    pub(crate) fn create_event(
        &self,
        session: SessionId,
        mut event: Map<String, Value>,
        entries: &[u8],
    ) {
        let bytes = entries.len() as u64 + 512;
        let mut body = otlp::created(entries);
        body.append(&mut event);
        if let Some(start) = directory::evaluated(session) {
            let metadata = body
                .entry("metadata")
                .or_insert_with(|| Value::Object(Map::new()));
            for (name, id) in &start.evaluation {
                if let Value::Object(metadata) = metadata {
                    let entry = metadata.entry(*name);
                    entry.or_insert_with(|| id.as_str().into());
                }
            }
        }
        self.send_update(Update {
            session: Some(session),
            creates: true,
            body,
            after_spans: false,
            bytes,
        });
    }

    fn send_update(&self, update: Update) {
        if let Some(copy) = self.here() {
            return copy.send_update(update);
        }
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
        #[cfg(feature = "spool")]
        self.start_for_spool();
        match shared.worker.load(Ordering::Acquire) {
            RUNNING => self.command(Command::Flush(Arc::clone(&pending))),
            FAILED => pending.settle(Err(failed())),
            _ => return None,
        }
        Some(pending)
    }

    /// Asks for a flush; the answer is what to wait for.
    pub(crate) fn begin_flush(self: &Arc<Self>, timeout: Duration) -> Flushing {
        if let Some(copy) = self.here() {
            return copy.begin_flush(timeout);
        }
        let before = self.shared.counters.progress();
        let started = Instant::now();
        Flushing {
            exporter: Arc::clone(self),
            pending: self.request_flush(),
            started,
            timeout,
            before,
            kept: self.kept(),
        }
    }

    fn kept(&self) -> u64 {
        self.shared.counters.kept.load(Ordering::Relaxed)
    }

    /// Adds to a report what was moved to the spool since there were `kept`.
    fn with_spooled(
        &self,
        result: Result<FlushReport, Error>,
        kept: u64,
    ) -> Result<FlushReport, Error> {
        let spooled = self.kept().saturating_sub(kept);
        result
            .map(|report| FlushReport { spooled, ..report })
            .map_err(|error| error.with_spooled(spooled))
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
            let result = result
                .map(|report| FlushReport { elapsed, ..report })
                .map_err(|error| error.after(elapsed));
            return self.tolerate(result);
        }
        self.tolerate(Err(self.out_of_time("flush", started, timeout, before)))
    }

    /// (accepted, failed) so far.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let here = self.here().map_or(self, |copy| copy);
        here.shared.counters.progress()
    }

    /// What somebody is told who has waited in vain; `before` is how far things were when the waiting began.
    pub(crate) fn out_of_time(
        &self,
        what: &str,
        started: Instant,
        timeout: Duration,
        before: (u64, u64),
    ) -> Error {
        let here = self.here().map_or(self, |copy| copy);
        let now = here.shared.counters.progress();
        let left = Left {
            sent: now.0.saturating_sub(before.0),
            failed: now.1.saturating_sub(before.1),
            left: here.shared.queue.usage().0 as u64,
            spooled: 0,
            elapsed: started.elapsed(),
        };
        let cause = lock(&here.shared.health).unreachable.clone();
        let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
        Error::new(
            Kind::Timeout,
            format!(
                "{what} did not finish within {timeout:?}: {} events sent, {} lost, {} still waiting{cause}",
                left.sent, left.failed, left.left
            ),
        )
        .with_report(left)
    }

    /// Where the caller is to be told of no error, it is logged, and told as a report.
    pub(crate) fn tolerate(
        &self,
        result: Result<FlushReport, Error>,
    ) -> Result<FlushReport, Error> {
        let Err(error) = &result else { return result };
        let here = self.here().map_or(self, |copy| copy);
        if here.shared.config.load().resilience != ResilienceLevel::Resilient {
            return result;
        }
        here.shared.log.warn(&error.to_string());
        Ok(error.flush_report().unwrap_or_else(|| FlushReport {
            left: here.shared.queue.usage().0 as u64,
            ..FlushReport::default()
        }))
    }

    /// Stops the worker for good, delivering what can be delivered in time.
    fn request_stop(
        &self,
        deadline: Instant,
        before: (u64, u64),
    ) -> Option<Arc<Pending<Result<FlushReport, Error>>>> {
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
        let answer = Some(Arc::clone(&pending));
        self.command(Command::Stop(deadline, before, answer));
        Some(pending)
    }

    /// Ends it; `before` is how far things were when the end began.
    pub(crate) fn end(&self, timeout: Duration, before: (u64, u64)) -> Result<FlushReport, Error> {
        if let Some(copy) = self.here() {
            return copy.end(timeout, before);
        }
        let started = Instant::now();
        let kept = self.kept();
        let Some(pending) = self.request_stop(deadline(started, timeout), before) else {
            return Ok(FlushReport::default());
        };
        // The worker settles at the deadline; a little more, so that its report is heard.
        let result = pending.wait(deadline(started, timeout) + GRACE);
        let result = match result {
            Some(_) => self.flushed(result, started, timeout, before),
            None => self.tolerate(Err(self.out_of_time("shutdown", started, timeout, before))),
        };
        self.with_spooled(result, kept)
    }

    /// Whether an end would find nothing to do: no span has closed and nothing was asked for.
    pub(crate) fn is_idle(&self) -> bool {
        let here = self.here().map_or(self, |copy| copy);
        here.shared.worker.load(Ordering::Acquire) != RUNNING
    }

    pub(crate) fn is_running(&self) -> bool {
        self.shared.worker.load(Ordering::Acquire) == RUNNING
    }

    /// Whether a flush would find nothing to do, or nobody to give it to.
    pub(crate) fn flush_is_futile(&self) -> bool {
        if let Some(copy) = self.here() {
            return copy.flush_is_futile();
        }
        let health = lock(&self.shared.health);
        if health.unreachable.is_some() || health.key_rejected.is_some() {
            return true;
        }
        drop(health);
        self.shared.queue.is_empty() && self.shared.updates.count.load(Ordering::Acquire) == 0
    }

    /// What a flush would leave behind, and why it is not tried.
    pub(crate) fn why_futile(&self) -> Option<String> {
        if let Some(copy) = self.here() {
            return copy.why_futile();
        }
        let left = self.shared.queue.usage().0;
        let health = lock(&self.shared.health);
        let why = match (&health.unreachable, health.key_rejected) {
            (_, Some(status)) => format!("the endpoint refused the API key (status {status})"),
            (Some(reason), None) => reason.clone(),
            (None, None) => return None,
        };
        (left > 0).then(|| format!("{left} events are still waiting and not delivered: {why}"))
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
        SpanRecord::new(Head {
            meta,
            trace_id: 1,
            span_id: 1,
            parent_id: 0,
            session: SessionId::random(),
            start: 1,
            end: 2,
            panicked: false,
            born_unwinding: false,
            wants_event_id: false,
            unfinished: false,
            remote_parent: false,
            has_children: false,
            lost_fields: 0,
            events: 0,
            lost_events: 0,
            links: 0,
            lost_links: 0,
        })
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
