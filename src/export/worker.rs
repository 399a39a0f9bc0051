//! The export thread: takes closed spans, announces their sessions, sends batches and updates, retries, and answers
//! flushes. Knows the order things must go out in; what they look like is `requests` and `otlp`.
//!
//! One OS thread drives one current-thread runtime, under no subscriber, so that nothing the HTTP stack records comes
//! back into the layer. At any time there may be several batches on their way, one session announcement in front of
//! them, and one update.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::{Dispatch, dispatcher};

use super::otlp::{Attribute, Batch, Envelope, Scalar, Settings};
use super::pending::Pending;
use super::queue::Chunk;
use super::report::{DropReason, FlushReport};
use super::retry::{self, Outcome, Verdict};
use super::transport::{Failure, Http, Nowhere, Reply, Sending, Transport};
use super::{Command, ENDED, Shared, Update, requests};
use crate::clock::Anchor;
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::event::directory;
use crate::id::{self, SessionId};
use crate::resource;
use crate::sync::lock;

/// A batch is closed when its spans have grown to this.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// More records that arrive within this of a wake are sent together, and one wake serves for all of them.
const LINGER: Duration = Duration::from_millis(1);
/// How long a refused key is left alone before it is tried again.
const KEY_PROBE: Duration = Duration::from_secs(60);
/// Announcements under way at once.
const ANNOUNCEMENTS: usize = 32;
/// Announced sessions that are remembered; announcing one again does no harm.
const REMEMBERED: usize = 16_384;

/// Starts the thread.
pub(super) fn spawn(shared: Arc<Shared>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("honeyhive-export".to_owned())
        .spawn(move || {
            let _quiet = quiet();
            let ended = catch_unwind(AssertUnwindSafe(|| work(&shared)));
            shared.worker.store(ENDED, Ordering::Release);
            let reason = match ended {
                Ok(Ok(())) => DropReason::Shutdown,
                Ok(Err(error)) => {
                    shared
                        .log
                        .warn(&format!("the export thread could not start: {error}"));
                    DropReason::WorkerFailed
                }
                Err(_) => {
                    shared.log.warn(
                        "the export thread panicked, nothing is sent any more: please report this",
                    );
                    DropReason::WorkerFailed
                }
            };
            abandon(&shared, reason);
        })?;
    Ok(())
}

/// No subscriber on this thread. One of `NoSubscriber`'s own would be asked about every callsite of the process, and,
/// as it names no level, switch all of them on.
fn quiet() -> dispatcher::DefaultGuard {
    dispatcher::set_default(&Dispatch::none())
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

/// Counts whatever is left as lost, and tells those who wait.
fn abandon(shared: &Shared, reason: DropReason) {
    let mut chunks: Vec<Chunk> = Vec::new();
    shared.queue.drain(&mut Vec::new(), &mut chunks);
    let (records, bytes) = shared.queue.usage();
    shared.queue.release(records, bytes);
    shared.counters.drop(reason, records as u64);
    for command in lock(&shared.inbox).drain(..) {
        match command {
            Command::Flush(pending) | Command::Stop(_, Some(pending)) => {
                pending.settle(Ok(FlushReport::default()))
            }
            Command::Stop(_, None) | Command::Configured => {}
            Command::Update(_) => {
                shared.counters.updates_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A batch and what is known of its delivery.
struct Shipment {
    batch: Batch,
    /// What it was encoded with.
    envelope: Arc<Envelope>,
    /// The number of its first record.
    first: u64,
    /// The memory its records held.
    cost: usize,
    since: Instant,
    attempts: u32,
    uncompressed: bool,
}

struct Letter {
    update: Update,
    since: Instant,
    attempts: u32,
}

/// Something that has to be sent after the sessions it mentions.
enum Parcel {
    Shipment(Shipment),
    Letter(Letter),
}

enum Done {
    Announced(Vec<(SessionId, Result<Reply, Failure>)>),
    Sent {
        shipment: Shipment,
        compressed: bool,
        result: Result<Reply, Failure>,
    },
    Updated {
        letter: Letter,
        result: Result<Reply, Failure>,
    },
}

struct Flush {
    pending: Arc<Pending<Result<FlushReport, Error>>>,
    /// Records with smaller numbers are what it waits for.
    records: u64,
    /// Likewise updates.
    updates: u64,
    exported: u64,
    failed: u64,
}

struct Worker {
    shared: Arc<Shared>,
    transport: Option<Arc<dyn Transport>>,
    envelope: Arc<Envelope>,
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

    tasks: JoinSet<Done>,
    shipments_away: usize,
    paused_until: Option<Instant>,
    failures: u32,
    may_compress: bool,

    flushes: Vec<Flush>,
    stop: Option<(Instant, Vec<Arc<Pending<Result<FlushReport, Error>>>>)>,
    next_tick: Instant,
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        let config = shared.config.load_full();
        let envelope = Arc::new(Envelope {
            protocol: config.protocol,
            resource: resource::detect(&config)
                .into_iter()
                .map(resource_attribute)
                .collect(),
            scope: shared.scope.clone(),
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
        let next_tick = Instant::now() + config.flush_interval;
        Self {
            shared,
            transport: None,
            envelope,
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
            tasks: JoinSet::new(),
            shipments_away: 0,
            paused_until: None,
            failures: 0,
            may_compress: true,
            flushes: Vec::new(),
            stop: None,
            next_tick,
        }
    }

    async fn run(mut self) {
        loop {
            self.take_commands();
            self.pump();
            self.answer_flushes();
            if self.is_over() {
                break;
            }
            match self.wait().await {
                Woken::Notified => {
                    if lock(&self.shared.inbox).is_empty() {
                        if !self.shared.config.load().disable_batch {
                            tokio::time::sleep(LINGER).await;
                        }
                        self.take_records();
                    }
                }
                Woken::Time => {
                    let now = Instant::now();
                    if now >= self.next_tick {
                        self.next_tick = now + self.shared.config.load().flush_interval;
                        if self.shared.strategy.flush_on_timer {
                            self.take_records();
                        }
                    }
                }
                Woken::Done(done) => self.finish(done),
            }
        }
        self.end();
    }

    /// Sleeps until there is something to do.
    async fn wait(&mut self) -> Woken {
        let mut until = self.next_tick;
        if let Some(paused) = self.paused_until {
            until = until.min(paused);
        }
        if let Some((deadline, _)) = &self.stop {
            until = until.min(*deadline);
        }
        let mut notified = pin!(self.shared.notify.notified());
        let mut sleep = pin!(tokio::time::sleep_until(until.into()));
        let tasks = &mut self.tasks;
        poll_fn(|cx| {
            if let Poll::Ready(Some(joined)) = tasks.poll_join_next(cx)
                && let Ok(done) = joined
            {
                return Poll::Ready(Woken::Done(done));
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

    fn take_commands(&mut self) {
        let commands = std::mem::take(&mut *lock(&self.shared.inbox));
        for command in commands {
            match command {
                Command::Update(update) => {
                    self.letters_taken += 1;
                    self.letters.push_back(Letter {
                        update,
                        since: Instant::now(),
                        attempts: 0,
                    });
                }
                Command::Flush(pending) => self.begin_flush(pending),
                Command::Configured => {
                    self.transport = None;
                    self.paused_until = None;
                    self.envelope = Arc::new(
                        self.envelope
                            .with_protocol(self.shared.config.load().protocol),
                    );
                }
                Command::Stop(deadline, pending) => {
                    let waiting = self
                        .stop
                        .take()
                        .map_or_else(Vec::new, |(_, waiting)| waiting);
                    self.stop = Some((deadline, waiting));
                    if let (Some(pending), Some((_, waiting))) = (pending, &mut self.stop) {
                        waiting.push(pending);
                    }
                    self.take_records();
                    self.hurry();
                }
            }
        }
    }

    fn begin_flush(&mut self, pending: Arc<Pending<Result<FlushReport, Error>>>) {
        self.take_records();
        self.hurry();
        let (exported, failed) = self.progress();
        self.flushes.push(Flush {
            pending,
            records: self.taken,
            updates: self.letters_taken,
            exported,
            failed,
        });
    }

    /// Somebody waits: an outage is probed now, not when its pause is over.
    fn hurry(&mut self) {
        if lock(&self.shared.health).key_rejected.is_none() {
            self.paused_until = None;
        }
    }

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

    fn take_records(&mut self) {
        let before = self.chunks.len();
        self.shared.queue.drain(&mut self.spare, &mut self.chunks);
        for chunk in self.chunks.iter().skip(before) {
            self.taken += chunk.heads.len() as u64;
        }
    }

    /// Puts on its way whatever may go now.
    fn pump(&mut self) {
        let config = self.shared.config.load_full();
        if self
            .paused_until
            .is_some_and(|until| Instant::now() < until)
        {
            return;
        }
        self.paused_until = None;
        loop {
            if self.staged.is_some() {
                return;
            }
            if !self.letter_away
                && let Some(letter) = self.letters.pop_front()
            {
                self.stage(&config, Parcel::Letter(letter));
                continue;
            }
            if self.shipments_away >= self.shared.strategy.max_in_flight.max(1) {
                return;
            }
            let Some(shipment) = self.returned.pop_front().or_else(|| self.build(&config)) else {
                return;
            };
            self.stage(&config, Parcel::Shipment(shipment));
        }
    }

    /// Encodes the next batch.
    fn build(&mut self, config: &Config) -> Option<Shipment> {
        if self.chunks.is_empty() {
            return None;
        }
        let settings = Settings {
            project: config.project.clone(),
            source: config.source.clone(),
            default_event_type: config.default_event_type.clone(),
            max_attributes: config.max_attributes,
        };
        let anchor = Anchor::now();
        let mut batch = self.envelope.batch();
        let first = self.batched;
        let (mut cost, mut cut) = (0, 0);
        while batch.len() < config.max_export_batch_size && batch.bytes() < BATCH_BYTES {
            let Some(chunk) = self.chunks.front() else {
                break;
            };
            let (record, byte, callsite) = self.cursor;
            let Some(closed) = chunk.heads.get(record) else {
                if let Some(mut empty) = self.chunks.pop_front() {
                    empty.recycle();
                    self.spare.push(empty);
                    self.spare.truncate(64);
                }
                self.cursor = (0, 0, 0);
                continue;
            };
            let fields = chunk
                .bytes
                .get(byte..byte + closed.bytes)
                .unwrap_or_default();
            let callsites = chunk
                .callsites
                .get(callsite..callsite + closed.callsites)
                .unwrap_or_default();
            cut += u64::from(batch.push(&closed.head, fields, callsites, anchor, &settings));
            cost += closed.cost();
            self.cursor = (record + 1, byte + closed.bytes, callsite + closed.callsites);
            self.batched += 1;
        }
        if batch.len() == 0 {
            return None;
        }
        self.shared.counters.cut.fetch_add(cut, Ordering::Relaxed);
        self.open.insert(first);
        let batch = self.envelope.finish(batch);
        let envelope = Arc::clone(&self.envelope);
        Some(Shipment {
            batch,
            envelope,
            first,
            cost,
            since: Instant::now(),
            attempts: 0,
            uncompressed: false,
        })
    }

    /// Sends a parcel, or its sessions first.
    fn stage(&mut self, config: &Config, parcel: Parcel) {
        if !requests::has_rest(config) {
            match parcel {
                Parcel::Shipment(shipment) => self.ship(config, shipment),
                Parcel::Letter(_) => {
                    self.letters_done += 1;
                    self.lose_update(
                        "an update of a session needs a server URL, not only an OTLP endpoint",
                    );
                }
            }
            return;
        }
        let sessions = match &parcel {
            Parcel::Shipment(shipment) => shipment.batch.sessions.as_slice(),
            Parcel::Letter(letter) => std::slice::from_ref(&letter.update.session),
        };
        let new: Vec<SessionId> = sessions
            .iter()
            .filter(|session| !self.announced.contains(session))
            .copied()
            .collect();
        if new.is_empty() {
            self.dispatch(config, parcel);
            return;
        }
        let transport = match self.transport(config) {
            Ok(transport) => transport,
            Err(failure) => {
                self.fail_unsent(parcel, failure);
                return;
            }
        };
        let calls: Vec<_> = new
            .into_iter()
            .map(|session| {
                let start = directory::get(session).unwrap_or_default();
                let request = requests::session_start(config, session, &start, &self.default_name);
                (session, request)
            })
            .collect();
        self.staged = Some(parcel);
        self.tasks.spawn(async move {
            let mut results = Vec::with_capacity(calls.len());
            let mut calls = calls.into_iter();
            let mut running: Vec<(SessionId, Sending)> = Vec::new();
            loop {
                while running.len() < ANNOUNCEMENTS
                    && let Some((session, request)) = calls.next()
                {
                    running.push((session, transport.send(request)));
                }
                if running.is_empty() {
                    break;
                }
                let (index, result) = poll_fn(|cx| {
                    for (index, (_, sending)) in running.iter_mut().enumerate() {
                        if let Poll::Ready(result) = sending.as_mut().poll(cx) {
                            return Poll::Ready((index, result));
                        }
                    }
                    Poll::Pending
                })
                .await;
                let (session, _) = running.swap_remove(index);
                results.push((session, result));
            }
            Done::Announced(results)
        });
    }

    fn dispatch(&mut self, config: &Config, parcel: Parcel) {
        match parcel {
            Parcel::Shipment(shipment) => self.ship(config, shipment),
            Parcel::Letter(letter) => {
                let transport = match self.transport(config) {
                    Ok(transport) => transport,
                    Err(failure) => return self.fail_unsent(Parcel::Letter(letter), failure),
                };
                let request = requests::update(config, &letter.update);
                self.letter_away = true;
                self.tasks.spawn(async move {
                    let result = transport.send(request).await;
                    Done::Updated { letter, result }
                });
            }
        }
    }

    fn ship(&mut self, config: &Config, mut shipment: Shipment) {
        let transport = match self.transport(config) {
            Ok(transport) => transport,
            Err(failure) => return self.fail_unsent(Parcel::Shipment(shipment), failure),
        };
        let may_compress = self.may_compress && !shipment.uncompressed;
        let (request, compressed) =
            requests::traces(config, &shipment.envelope, &shipment.batch, may_compress);
        shipment.attempts += 1;
        self.shipments_away += 1;
        self.shared
            .counters
            .bytes_sent
            .fetch_add(request.body.len() as u64, Ordering::Relaxed);
        self.shared.log.debug(|| {
            format!(
                "POST {}: {} events, {} bytes",
                request.url,
                shipment.batch.len(),
                request.body.len()
            )
        });
        self.tasks.spawn(async move {
            let result = transport.send(request).await;
            Done::Sent {
                shipment,
                compressed,
                result,
            }
        });
    }

    /// The client, made before the first request: making one may look for certificates.
    fn transport(&mut self, config: &Config) -> Result<Arc<dyn Transport>, Failure> {
        if let Some(transport) = &self.transport {
            return Ok(Arc::clone(transport));
        }
        let transport: Arc<dyn Transport> = if config.test_mode {
            Arc::new(Nowhere)
        } else {
            let https = requests::traces_url(config).starts_with("https:")
                || config.server_url.starts_with("https:");
            Arc::new(Http::new(https)?)
        };
        self.transport = Some(Arc::clone(&transport));
        Ok(transport)
    }

    fn fail_unsent(&mut self, parcel: Parcel, failure: Failure) {
        match parcel {
            Parcel::Shipment(shipment) => self.put_back(shipment, None, &failure.reason),
            Parcel::Letter(letter) => self.put_back_letter(letter, None, &failure.reason),
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Announced(results) => self.announced(results),
            Done::Sent {
                shipment,
                compressed,
                result,
            } => {
                self.shipments_away -= 1;
                self.sent(shipment, compressed, result);
            }
            Done::Updated { letter, result } => {
                self.letter_away = false;
                self.updated(letter, result);
            }
        }
    }

    fn announced(&mut self, results: Vec<(SessionId, Result<Reply, Failure>)>) {
        let mut unreachable = None;
        for (session, result) in results {
            let problem = match result {
                Ok(reply) if (200..300).contains(&reply.status) => {
                    self.remember(session);
                    self.shared
                        .counters
                        .sessions_started
                        .fetch_add(1, Ordering::Relaxed);
                    self.check_reply(session, &reply);
                    continue;
                }
                Ok(reply) => {
                    // An answer is an answer: delivery goes on without the announcement.
                    self.remember(session);
                    format!("status {}", reply.status)
                }
                Err(failure) => {
                    if failure.connect {
                        unreachable = Some(failure.reason.clone());
                    }
                    failure.reason
                }
            };
            self.shared
                .counters
                .sessions_failed
                .fetch_add(1, Ordering::Relaxed);
            self.shared
                .log
                .debug(|| format!("POST /session/start for {session}: {problem}"));
            let mut health = lock(&self.shared.health);
            let first = session == self.shared.session && health.local_session.is_none();
            if session == self.shared.session {
                health.local_session = Some(problem.clone());
            }
            drop(health);
            if first {
                self.shared.log.warn(&format!(
                    "the session could not be announced ({problem}); its events are delivered under a local id"
                ));
            }
        }
        let Some(parcel) = self.staged.take() else {
            return;
        };
        let config = self.shared.config.load_full();
        match (parcel, unreachable) {
            // The events would fare no better on the same server.
            (Parcel::Shipment(shipment), Some(reason)) if config.otlp_endpoint.is_none() => {
                self.put_back(shipment, None, &reason);
            }
            (Parcel::Letter(letter), Some(reason)) => self.put_back_letter(letter, None, &reason),
            (parcel, _) => self.dispatch(&config, parcel),
        }
    }

    /// The session needs no further announcement.
    fn remember(&mut self, session: SessionId) {
        if self.announced.insert(session) {
            self.announced_order.push_back(session);
        }
        if self.announced_order.len() > REMEMBERED
            && let Some(oldest) = self.announced_order.pop_front()
        {
            self.announced.remove(&oldest);
        }
    }

    fn check_reply(&self, session: SessionId, reply: &Reply) {
        if session == self.shared.session {
            lock(&self.shared.health).local_session = None;
        }
        let answered = serde_json::from_slice::<serde_json::Value>(&reply.body).ok();
        let answered = answered
            .as_ref()
            .and_then(|body| body.get("session_id")?.as_str());
        if let Some(other) = answered
            && !other.eq_ignore_ascii_case(&session.to_string())
            && self.shared.losses.open()
        {
            self.shared.log.warn(&format!(
                "the server answered the announcement of session {session} with another id; events keep the first"
            ));
        }
    }

    fn sent(&mut self, mut shipment: Shipment, compressed: bool, result: Result<Reply, Failure>) {
        let (outcome, reply) = match result {
            Ok(reply) => (
                Outcome::Answered {
                    status: reply.status,
                    retry_after: reply.retry_after,
                },
                Ok(reply),
            ),
            Err(failure) => (Outcome::Failed, Err(failure)),
        };
        let problem = match &reply {
            Ok(reply) => format!("status {}{}", reply.status, excerpt(&reply.body)),
            Err(failure) => failure.reason.clone(),
        };
        self.shared
            .log
            .debug(|| format!("batch of {} events: {problem}", shipment.batch.len()));
        match retry::verdict(&outcome, compressed) {
            Verdict::Delivered => {
                self.recovered();
                let body = reply.map(|reply| reply.body).unwrap_or_default();
                self.delivered(&shipment, &body);
            }
            Verdict::Retry { after } => self.put_back(shipment, after, &problem),
            Verdict::Unauthorized => {
                let status = reply.map_or(401, |reply| reply.status);
                self.key_rejected(status);
                if shipment.since.elapsed() > retry::GIVE_UP_AFTER {
                    self.lose(&shipment, DropReason::Unauthorized, &problem);
                } else {
                    self.returned.push_front(shipment);
                }
            }
            Verdict::TooLarge => match shipment.envelope.split(&shipment.batch) {
                Some(halves) => self.halve(&shipment, halves),
                None => self.lose(&shipment, DropReason::TooLarge, &problem),
            },
            Verdict::Undecodable => {
                // Remembered once the uncompressed body has been taken.
                shipment.uncompressed = true;
                self.returned.push_front(shipment);
            }
            Verdict::Rejected => {
                self.recovered();
                let count = shipment.batch.len() as u64;
                self.shared
                    .counters
                    .rejected
                    .fetch_add(count, Ordering::Relaxed);
                self.settle(&shipment);
                self.complain(&format!("the endpoint refused {count} events: {problem}"));
            }
        }
    }

    fn delivered(&mut self, shipment: &Shipment, body: &[u8]) {
        if shipment.uncompressed {
            self.may_compress = false;
        }
        // A session that could not be announced is not tried for longer than its batch.
        for session in &shipment.batch.sessions {
            self.remember(*session);
        }
        let said = shipment.envelope.partial_success(body);
        let count = shipment.batch.len() as u64;
        let rejected = said.rejected.min(count);
        self.shared
            .counters
            .exported
            .fetch_add(count - rejected, Ordering::Relaxed);
        self.shared
            .counters
            .rejected
            .fetch_add(rejected, Ordering::Relaxed);
        self.settle(shipment);
        if rejected > 0 {
            let message = excerpt(said.message.as_bytes());
            self.complain(&format!(
                "the endpoint refused {rejected} of {count} events{message}"
            ));
        }
    }

    fn halve(&mut self, shipment: &Shipment, halves: [Batch; 2]) {
        self.open.remove(&shipment.first);
        let total = shipment.batch.len().max(1);
        let mut first = shipment.first;
        let mut cost_left = shipment.cost;
        let [one, two] = halves;
        let cost_one = shipment.cost / total * one.len();
        for (batch, cost) in [(one, Some(cost_one)), (two, None)] {
            let cost = cost.unwrap_or(cost_left);
            cost_left -= cost;
            self.open.insert(first);
            let count = batch.len() as u64;
            let envelope = Arc::clone(&shipment.envelope);
            let (since, uncompressed) = (shipment.since, shipment.uncompressed);
            self.returned.push_back(Shipment {
                batch,
                envelope,
                first,
                cost,
                since,
                attempts: 0,
                uncompressed,
            });
            first += count;
        }
    }

    /// The fate of the records is known: their room is free again.
    fn settle(&mut self, shipment: &Shipment) {
        self.open.remove(&shipment.first);
        self.shared
            .queue
            .release(shipment.batch.len(), shipment.cost);
    }

    fn lose(&mut self, shipment: &Shipment, reason: DropReason, problem: &str) {
        let count = shipment.batch.len() as u64;
        self.shared.counters.drop(reason, count);
        self.settle(shipment);
        self.complain(&format!("{count} events were lost ({reason}): {problem}"));
    }

    fn lose_update(&mut self, problem: &str) {
        self.shared
            .counters
            .updates_lost
            .fetch_add(1, Ordering::Relaxed);
        self.complain(&format!("an update of a session was lost: {problem}"));
    }

    /// Tries again later, until it is too late.
    fn put_back(&mut self, shipment: Shipment, hint: Option<Duration>, problem: &str) {
        let remaining = retry::GIVE_UP_AFTER.saturating_sub(shipment.since.elapsed());
        if self.back_off(hint, remaining, problem) {
            self.returned.push_front(shipment);
        } else {
            self.lose(&shipment, DropReason::Undeliverable, problem);
        }
    }

    fn put_back_letter(&mut self, mut letter: Letter, hint: Option<Duration>, problem: &str) {
        letter.attempts += 1;
        let remaining = retry::GIVE_UP_AFTER.saturating_sub(letter.since.elapsed());
        if self.back_off(hint, remaining, problem) {
            self.letters.push_front(letter);
        } else {
            self.letters_done += 1;
            self.lose_update(problem);
        }
    }

    /// Pauses the pipeline: one endpoint, one wait. False when there is no time left to wait.
    fn back_off(&mut self, hint: Option<Duration>, remaining: Duration, problem: &str) -> bool {
        self.failures = self.failures.saturating_add(1);
        let first = {
            let mut health = lock(&self.shared.health);
            health.last_error = Some(problem.to_owned());
            health.unreachable.replace(problem.to_owned()).is_none()
        };
        if first {
            self.shared.log.warn(&format!(
                "events cannot be delivered now, and are kept to be sent later: {problem}"
            ));
        }
        let Some(delay) = retry::next_delay(self.failures, hint, remaining, id::random()) else {
            return false;
        };
        self.shared.counters.retried.fetch_add(1, Ordering::Relaxed);
        let until = Instant::now() + delay;
        self.paused_until = Some(self.paused_until.map_or(until, |paused| paused.max(until)));
        true
    }

    fn recovered(&mut self) {
        self.failures = 0;
        self.paused_until = None;
        let mut health = lock(&self.shared.health);
        health.unreachable = None;
        health.key_rejected = None;
    }

    fn key_rejected(&mut self, status: u16) {
        self.paused_until = Some(Instant::now() + KEY_PROBE);
        let first = {
            let mut health = lock(&self.shared.health);
            health.last_error = Some(format!("status {status}"));
            health.key_rejected.replace(status).is_none()
        };
        if first {
            self.shared.log.warn(&format!(
                "the endpoint refused the API key (status {status}): nothing is sent until it accepts it (HH_API_KEY)"
            ));
        }
    }

    fn updated(&mut self, letter: Letter, result: Result<Reply, Failure>) {
        let (outcome, problem) = match result {
            Ok(reply) => (
                Outcome::Answered {
                    status: reply.status,
                    retry_after: reply.retry_after,
                },
                format!("status {}{}", reply.status, excerpt(&reply.body)),
            ),
            Err(failure) => (Outcome::Failed, failure.reason),
        };
        match retry::verdict(&outcome, false) {
            Verdict::Delivered => {
                self.recovered();
                self.letters_done += 1;
                self.shared
                    .counters
                    .updates_sent
                    .fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Retry { after } => self.put_back_letter(letter, after, &problem),
            Verdict::Unauthorized if letter.since.elapsed() < retry::GIVE_UP_AFTER => {
                if let Outcome::Answered { status, .. } = outcome {
                    self.key_rejected(status);
                }
                self.letters.push_front(letter);
            }
            _ => {
                self.letters_done += 1;
                self.lose_update(&problem);
            }
        }
    }

    fn complain(&self, problem: &str) {
        lock(&self.shared.health).last_error = Some(problem.to_owned());
        if self.shared.losses.open() {
            self.shared.log.warn(problem);
        } else {
            self.shared.log.debug(|| problem.to_owned());
        }
    }

    /// The smallest number of a record whose fate is open.
    fn settled_up_to(&self) -> u64 {
        self.open
            .first()
            .copied()
            .unwrap_or(self.batched)
            .min(self.batched)
    }

    fn answer_flushes(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let settled = self.settled_up_to();
        let updates = self.letters_done;
        let (exported, failed) = self.progress();
        let rejected = lock(&self.shared.health).key_rejected;
        let left = self.shared.queue.usage().0 as u64;
        let blocked = self.tasks.is_empty();
        self.flushes.retain(|flush| {
            if flush.pending.is_settled() {
                return false;
            }
            let report = FlushReport {
                sent: exported - flush.exported,
                failed: failed - flush.failed,
                left: 0,
                elapsed: Duration::ZERO,
            };
            if settled >= flush.records && updates >= flush.updates {
                flush.pending.settle(if report.failed == 0 {
                    Ok(report)
                } else {
                    Err(undelivered(
                        report,
                        left,
                        "the endpoint refused them or they were lost",
                    ))
                });
                return false;
            }
            if let Some(status) = rejected
                && blocked
            {
                let report = FlushReport { left, ..report };
                let why = format!("the endpoint refused the API key (status {status})");
                flush.pending.settle(Err(undelivered(report, left, &why)));
                return false;
            }
            true
        });
    }

    /// Whether a stop was asked for and there is nothing left to do, or no time to do it.
    fn is_over(&self) -> bool {
        let Some((deadline, _)) = &self.stop else {
            return false;
        };
        let idle = self.settled_up_to() >= self.taken
            && self.letters.is_empty()
            && self.staged.is_none()
            && self.tasks.is_empty();
        let hopeless = self.tasks.is_empty() && lock(&self.shared.health).key_rejected.is_some();
        idle || hopeless || Instant::now() >= *deadline
    }

    /// Counts what did not get out, and tells who waits for the stop.
    fn end(mut self) {
        self.shared.worker.store(ENDED, Ordering::Release);
        let (exported_before, failed_before) = self.progress();
        self.take_records();
        let left = self.shared.queue.usage();
        let letters = self.letters_taken - self.letters_done;
        self.shared
            .counters
            .updates_lost
            .fetch_add(letters, Ordering::Relaxed);
        abandon(&self.shared, DropReason::Shutdown);
        if left.0 > 0 {
            self.shared.log.warn(&format!(
                "{} events were lost: {}",
                left.0,
                DropReason::Shutdown
            ));
        }
        let report = FlushReport {
            sent: exported_before,
            failed: failed_before,
            left: left.0 as u64,
            elapsed: Duration::ZERO,
        };
        let settle = |pending: &Pending<Result<FlushReport, Error>>| {
            pending.settle(if left.0 == 0 {
                Ok(report)
            } else {
                Err(undelivered(report, report.left, "out of time"))
            });
        };
        for flush in &self.flushes {
            settle(&flush.pending);
        }
        for pending in self
            .stop
            .take()
            .map(|(_, waiting)| waiting)
            .unwrap_or_default()
        {
            settle(&pending);
        }
        self.tasks.abort_all();
    }
}

enum Woken {
    Notified,
    Time,
    Done(Done),
}

fn undelivered(report: FlushReport, left: u64, why: &str) -> Error {
    Error::new(
        Kind::Delivery,
        format!(
            "not all events were delivered: {} sent, {} lost, {left} waiting: {why}",
            report.sent, report.failed
        ),
    )
    .with_report(crate::error::Left {
        sent: report.sent,
        failed: report.failed,
        left,
    })
}

fn resource_attribute((name, value): (&'static str, resource::Value)) -> Attribute<'static> {
    let value = match value {
        resource::Value::Text(text) => Scalar::Text(text.into()),
        resource::Value::Int(number) => Scalar::Int(number),
    };
    Attribute {
        prefix: "",
        name: name.into(),
        value,
    }
}

/// The start of a reply, for diagnostics.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..512).unwrap_or(body));
    let text = text.trim();
    if text.is_empty() || text.contains('\u{0}') {
        String::new()
    } else {
        format!(": {text}")
    }
}
