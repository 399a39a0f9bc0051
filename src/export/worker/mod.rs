//! The export thread: takes closed spans, announces their sessions, sends batches and updates, retries, and answers
//! flushes. Knows the order things must go out in; what they look like is `requests` and `otlp`.
//!
//! One OS thread drives one current-thread runtime, under no subscriber, so that nothing the HTTP stack records comes
//! back into the layer. At any time there may be several batches on their way, one session announcement in front of
//! them, and one update.

mod announce;
#[cfg(feature = "api")]
pub(crate) mod excerpt;
#[cfg(not(feature = "api"))]
mod excerpt;
mod flush;
mod losses;
mod outcome;
mod pace;
#[cfg(feature = "spool")]
mod replay;
mod send;
#[cfg_attr(not(feature = "spool"), path = "no_spool.rs")]
mod spool;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::otlp::{Attribute, Batch, Envelope, Plans, Scalar, Spare, redacted};
use super::pending::Pending;
use super::queue::Chunk;
use super::report::{DropReason, FlushReport};
use super::retry::Profile;
use super::transport::{Failure, Reply, Transport};
use super::{Command, ENDED, FAILED, Shared, Update, requests};
use crate::clock::{self, Timeline};
use crate::config::Config;
use crate::error::Error;
use crate::id::SessionId;
use crate::log::{quiet, rebuild_interest};
use crate::redact::Redactor;
use crate::resource;
use crate::sync::lock;
use pace::Pace;
use spool::Spooling;

/// More records that arrive within this of a wake are sent together, and one wake serves for all of them.
const LINGER: Duration = Duration::from_millis(1);

/// Whoever wakes so much too late has not run in between.
const STOPPED: Duration = Duration::from_secs(2);
/// See [`Worker::due`].
const LOOK: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(super) fn spawn(shared: Arc<Shared>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("honeyhive-export".to_owned())
        .spawn(move || {
            // The HTTP stack may be used by the program too.
            rebuild_interest();
            let _quiet = quiet();
            // In a copy of a process a calibration that the original was busy with would never end.
            if shared.generation == 0 {
                clock::calibrate();
            }
            let ended = catch_unwind(AssertUnwindSafe(|| work(&shared)));
            let failure = match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("the export thread could not start: {error}")),
                Err(_) => Some(
                    "the export thread panicked, nothing is sent any more: please report this"
                        .to_owned(),
                ),
            };
            let Some(failure) = failure else {
                shared.worker.store(ENDED, Ordering::Release);
                shared.abandon(DropReason::Shutdown);
                return;
            };
            shared.worker.store(FAILED, Ordering::Release);
            shared.abandon(DropReason::WorkerFailed);
            shared.log.warn(&failure);
        })?;
    Ok(())
}

fn work(shared: &Arc<Shared>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .thread_name("honeyhive-resolver")
        .on_thread_start(|| {
            // For the life of the thread: it resolves names for us and nothing else.
            let _ = std::mem::ManuallyDrop::new(quiet());
        })
        .build()?;
    runtime.block_on(Worker::new(Arc::clone(shared)).run());
    // A resolver that hangs must not hold the exit.
    runtime.shutdown_background();
    Ok(())
}

/// A batch and what is known of its delivery.
#[cfg_attr(feature = "spool", derive(Clone, Debug))]
struct Shipment {
    batch: Batch,
    /// What it was encoded with.
    envelope: Arc<Envelope>,
    /// The number of its first record.
    first: u64,
    /// The memory its records held.
    cost: usize,
    since: Instant,
    uncompressed: bool,
}

#[cfg_attr(feature = "spool", derive(Clone, Debug))]
struct Letter {
    update: Update,
    since: Instant,
    /// Records with smaller numbers go first.
    after: u64,
}

/// Something that has to be sent after the sessions it mentions.
enum Parcel {
    Shipment(Shipment),
    Letter(Letter),
}

/// What was sent, the configuration it was sent with, and what came of it.
enum Done {
    Announced {
        config: Arc<Config>,
        results: Vec<(SessionId, Result<Reply, Failure>)>,
        /// The staged parcel waits for it.
        ahead: bool,
        /// What has not been answered, and goes on.
        rest: Option<Box<announce::Announcing>>,
    },
    Sent {
        shipment: Shipment,
        compressed: bool,
        config: Arc<Config>,
        result: Result<Reply, Failure>,
    },
    Updated {
        letter: Letter,
        config: Arc<Config>,
        result: Result<Reply, Failure>,
    },
    #[cfg(feature = "spool")]
    Replayed(Box<replay::Replayed>),
}

type Answer = Arc<Pending<Result<FlushReport, Error>>>;

struct Flush {
    pending: Answer,
    /// Records with smaller numbers are what it waits for.
    records: u64,
    /// Likewise updates.
    updates: u64,
    exported: u64,
    failed: u64,
}

struct Stop {
    deadline: Instant,
    /// From then on nothing waits for announcements any more.
    patient_until: Instant,
    waiting: Vec<Answer>,
    exported: u64,
    failed: u64,
}

struct Worker {
    shared: Arc<Shared>,
    /// The snapshot in force.
    config: Arc<Config>,
    transport: Option<Arc<dyn Transport>>,
    envelope: Arc<Envelope>,
    redactor: Arc<Redactor>,
    /// What is known of callsites under this configuration.
    plans: Plans,
    default_name: String,

    chunks: VecDeque<Chunk>,
    /// Position in the first chunk: record, byte, callsite.
    cursor: (usize, usize, usize),
    spare: Vec<Chunk>,
    /// Numbers of records: taken from the queue, and put into batches.
    taken: u64,
    batched: u64,
    /// First records of the batches whose fate is open.
    open: BTreeSet<u64>,

    returned: VecDeque<Shipment>,
    letters: VecDeque<Letter>,
    letters_taken: u64,
    letters_done: u64,
    letter_away: bool,
    /// Waits for its sessions to be announced.
    staged: Option<Parcel>,
    announced: HashSet<SessionId>,
    announced_order: VecDeque<SessionId>,
    /// Those that are announced while nothing waits for it, and how many tasks do that.
    announcing: HashSet<SessionId>,
    beside: usize,
    /// The last announcements were left unanswered: none is waited for until one is answered again.
    unanswered: bool,

    tasks: JoinSet<Done>,
    shipments_away: usize,
    /// Where traces go, and where everything else does: one may fail without the other.
    traces: Pace,
    rest: Pace,
    /// The key was refused: nothing is sent until then.
    key_pause: Option<Instant>,
    may_compress: bool,
    spooling: Spooling,
    /// Those that were warned about.
    unknown_types: HashSet<String>,

    losses: losses::Series,
    flushes: Vec<Flush>,
    /// When a pause that `pump` met is over.
    alarms: [Option<Instant>; 3],
    stop: Option<Stop>,
    next_tick: Instant,
    timeline: Timeline,
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        let config = shared.config.load_full();
        let resource = resource::detect(&config);
        if let Some(warning) = &resource.warning {
            shared.log.warn(warning);
        }
        let envelope = Arc::new(Envelope {
            protocol: config.protocol,
            resource: resource
                .attributes
                .into_iter()
                .map(resource_attribute)
                .collect(),
            scope: shared.scope.clone(),
            scope_attributes: Vec::new(),
            spare: Spare::default(),
        });
        let default_name = config
            .session_name
            .clone()
            .unwrap_or_else(resource::program_name);
        shared.log.debug(|| {
            format!(
                "exporting to {} ({})",
                requests::traces_url(&config),
                config.protocol.as_str()
            )
        });
        let redactor = Arc::new(redacted::redactor(&config));
        let next_tick = Instant::now() + config.flush_interval;
        let profile = Profile::from(&*config);
        let spooling = Spooling::new(&config);
        Self {
            shared,
            config,
            transport: None,
            envelope,
            redactor,
            plans: Plans::default(),
            default_name,
            chunks: VecDeque::new(),
            cursor: (0, 0, 0),
            spare: Vec::new(),
            taken: 0,
            batched: 0,
            open: BTreeSet::new(),
            returned: VecDeque::new(),
            letters: VecDeque::new(),
            letters_taken: 0,
            letters_done: 0,
            letter_away: false,
            staged: None,
            announced: HashSet::new(),
            announced_order: VecDeque::new(),
            announcing: HashSet::new(),
            beside: 0,
            unanswered: false,
            tasks: JoinSet::new(),
            shipments_away: 0,
            traces: Pace::new(profile),
            rest: Pace::new(profile),
            key_pause: None,
            may_compress: true,
            spooling,
            unknown_types: HashSet::new(),
            losses: losses::Series::default(),
            flushes: Vec::new(),
            alarms: [None; 3],
            stop: None,
            next_tick,
            timeline: Timeline::default(),
        }
    }

    async fn run(mut self) {
        self.open_spool();
        loop {
            self.take_commands();
            self.pump();
            self.spill();
            self.watch_losses();
            self.answer_flushes();
            if self.is_over() {
                break;
            }
            let due = self.due();
            let woken = self.wait(due).await;
            self.forgive(due);
            match woken {
                Woken::Notified => {
                    // One notification may stand for a command and for records.
                    if self.shared.queue.is_woken() {
                        if !self.shared.config.load().disable_batch {
                            self.linger().await;
                        }
                        self.take_records();
                    }
                }
                Woken::Time => {
                    let now = Instant::now();
                    if now >= self.next_tick {
                        self.next_tick = now + self.shared.config.load().flush_interval;
                        // A suspension of the host is noticed near to where it was.
                        let _ = self.timeline.anchor();
                        if self.shared.config.load().flush_on_timer {
                            self.take_records();
                        }
                        if self.chunks.is_empty() {
                            // A quiet interval: the memory of the last burst is given back.
                            self.spare.clear();
                            self.envelope.spare.clear();
                        }
                    }
                }
                Woken::Done(done) => self.finish(*done),
            }
        }
        self.end();
    }

    /// Lets more records come in, unless somebody asks for something.
    async fn linger(&self) {
        if !lock(&self.shared.inbox).is_empty() {
            return;
        }
        let mut notified = pin!(self.shared.notify.notified());
        let mut sleep = pin!(tokio::time::sleep(LINGER));
        poll_fn(|cx| match notified.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => sleep.as_mut().poll(cx),
        })
        .await;
    }

    /// When there is something to do at the latest.
    fn due(&self) -> Instant {
        let stop = self.stop.as_ref().map(|stop| match self.staged {
            Some(_) => stop.patient_until.min(stop.deadline),
            None => stop.deadline,
        });
        // While something is on its way, often enough to notice that the process was stopped.
        let look = (!self.tasks.is_empty()).then(|| Instant::now() + LOOK);
        self.alarms
            .into_iter()
            .chain([stop, look, self.losses.next_look()])
            .chain(self.spool_alarms())
            .flatten()
            .fold(self.next_tick, Instant::min)
    }

    /// Sleeps until there is something to do.
    async fn wait(&mut self, until: Instant) -> Woken {
        let mut notified = pin!(self.shared.notify.notified());
        let mut sleep = pin!(tokio::time::sleep_until(until.into()));
        let tasks = &mut self.tasks;
        poll_fn(|cx| {
            while let Poll::Ready(Some(joined)) = tasks.poll_join_next(cx) {
                if let Ok(done) = joined {
                    return Poll::Ready(Woken::Done(Box::new(done)));
                }
            }
            if notified.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Notified);
            }
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Time);
            }
            Poll::Pending
        })
        .await
    }

    /// Time in which the process was stopped, as on AWS Lambda between invocations, is nobody's time to give up in.
    fn forgive(&mut self, due: Instant) {
        let stopped = Instant::now().saturating_duration_since(due);
        if stopped < STOPPED {
            return;
        }
        for shipment in &mut self.returned {
            shipment.since += stopped;
        }
        for letter in &mut self.letters {
            letter.since += stopped;
        }
        match &mut self.staged {
            Some(Parcel::Shipment(shipment)) => shipment.since += stopped,
            Some(Parcel::Letter(letter)) => letter.since += stopped,
            None => {}
        }
    }

    fn take_commands(&mut self) {
        let commands = std::mem::take(&mut *lock(&self.shared.inbox));
        for command in commands {
            match command {
                Command::Update(update) => {
                    if update.after_spans {
                        self.take_records();
                    }
                    self.letters_taken += 1;
                    self.letters.push_back(Letter {
                        after: if update.after_spans { self.taken } else { 0 },
                        update,
                        since: Instant::now(),
                    });
                }
                Command::Flush(pending) => self.begin_flush(pending),
                // It was for the wake: `pump` sees the change.
                Command::Configured => {}
                #[cfg(feature = "spool")]
                Command::Keep(pending) => self.keep_now(&pending),
                Command::Stop(deadline, before, pending) => {
                    self.begin_stop(deadline, before, pending);
                }
            }
        }
    }

    /// Somebody waits: an outage is probed now, not when its pause is over.
    fn hurry(&mut self) {
        self.traces.hurry();
        self.rest.hurry();
    }

    /// The configuration in force, with all that follows from it.
    fn current(&mut self) -> Arc<Config> {
        let config = self.shared.config.load_full();
        if !Arc::ptr_eq(&config, &self.config) {
            self.adopt(Arc::clone(&config));
        }
        config
    }

    /// Takes a new configuration over.
    fn adopt(&mut self, config: Arc<Config>) {
        self.adopt_spool(&config);
        self.transport = None;
        self.key_pause = None;
        self.hurry();
        self.envelope = Arc::new(self.envelope.with_protocol(config.protocol));
        self.next_tick = self.next_tick.min(Instant::now() + config.flush_interval);
        if self.config.redact != config.redact {
            self.redactor = Arc::new(redacted::redactor(&config));
        }
        self.plans = Plans::default();
        if !requests::same_destination(&self.config, &config) {
            // Whoever listens there knows of no session yet, and asked for nothing.
            self.announced.clear();
            self.announced_order.clear();
            self.announcing.clear();
            self.unanswered = false;
            self.may_compress = true;
            // Nothing is known of the other place yet.
            lock(&self.shared.health).unreachable = None;
            self.traces = Pace::default();
            self.rest = Pace::default();
        }
        let profile = Profile::from(&*config);
        self.traces.set_profile(profile);
        self.rest.set_profile(profile);
        self.config = config;
    }

    /// Whether what was sent with `config` would go elsewhere, or with another key, by now.
    fn is_stale(&self, config: &Config) -> bool {
        !requests::same_destination(config, &self.shared.config.load())
    }

    fn take_records(&mut self) {
        let before = self.chunks.len();
        self.shared.queue.drain(&mut self.spare, &mut self.chunks);
        for chunk in self.chunks.iter().skip(before) {
            self.taken += chunk.heads.len() as u64;
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Announced {
                config,
                results,
                ahead,
                rest,
            } => self.announced(&config, results, ahead, rest),
            Done::Sent {
                shipment,
                compressed,
                config,
                result,
            } => {
                self.shipments_away -= 1;
                if self.spooling.returns(&shipment) {
                    self.sent(shipment, compressed, &config, result);
                }
            }
            Done::Updated {
                letter,
                config,
                result,
            } => {
                self.letter_away = false;
                if self.spooling.letter_returns() {
                    self.updated(letter, &config, result);
                }
            }
            #[cfg(feature = "spool")]
            Done::Replayed(replayed) => self.replayed(*replayed),
        }
    }
}

enum Woken {
    Notified,
    Time,
    Done(Box<Done>),
}

fn resource_attribute((name, value): resource::Attribute) -> Attribute<'static> {
    let value = match value {
        resource::Value::Text(text) => Scalar::Text(text.into()),
        resource::Value::Int(number) => Scalar::Int(number),
        resource::Value::Bool(value) => Scalar::Bool(value),
    };
    Attribute {
        prefix: "",
        name,
        value,
    }
}
