//! What cannot be delivered leaves memory for files: batches and updates whose time is over, what an outage would make
//! the queue drop, and what is left when somebody flushes in vain or the worker ends. `replay` is the way back.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::pace::Pace;
use super::replay::Cargo;
use super::{Answer, Letter, Parcel, Shipment, Stop, Worker};
use crate::config::{Config, Protocol};
use crate::export::otlp::redacted;
use crate::export::report::{DropReason, FlushReport};
use crate::export::requests;
use crate::export::retry::Profile;
use crate::export::spool::{Counted, Kind, Refusal, Spool, wanted};
use crate::id::SessionId;
use crate::sync::lock;

/// How long a directory that could not be used is left alone.
const OPEN_AGAIN: Duration = Duration::from_secs(30);
/// How long the queue keeps to itself after the spool took nothing.
const SPILL_AGAIN: Duration = Duration::from_secs(10);
/// How long a stop tries an endpoint again that has just failed.
const PATIENCE: Duration = Duration::from_millis(1500);
/// What it takes to write at the end besides the queue's own share, and how much of that is written in a millisecond.
const RESERVE: Duration = Duration::from_millis(100);
const BYTES_PER_MILLISECOND: usize = 16 << 10;

/// What is known of a kept batch besides its body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SpansMeta {
    pub(super) protocol: Protocol,
    pub(super) start: usize,
    pub(super) lengths: Vec<usize>,
    pub(super) sessions: Vec<SessionNote>,
    /// Where the sessions that are announced were announced.
    pub(super) server: String,
}

/// What is known of a kept update besides its body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UpdateMeta {
    pub(super) creates: bool,
    pub(super) sessions: Vec<SessionNote>,
    pub(super) server: String,
}

/// A session that has to be announced before what was kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SessionNote {
    pub(super) id: String,
    /// The body of the announcement.
    pub(super) start: Value,
    pub(super) announced: bool,
}

/// What became of something that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    /// There is no spool, or it does not work now.
    No,
    Full,
}

/// The worker's side of the spool.
#[derive(Debug)]
pub(super) struct Spooling {
    /// The directory, as it was when the worker started; nothing: there is no spool.
    wanted: Option<PathBuf>,
    pub(super) spool: Option<Spool>,
    open_at: Option<Instant>,
    /// It was said that the disk takes nothing.
    warned: bool,
    spill_at: Option<Instant>,
    /// Copies of what is on its way, to be kept if no answer comes in time.
    away: BTreeMap<u64, Shipment>,
    letter_away: Option<Letter>,
    /// At most this much of a stop's time is left for writing.
    most_reserve: Duration,
    /// During a stop, what would be tried again later than this is kept at once.
    patient_until: Option<Instant>,
    pub(super) replaying: bool,
    pub(super) pace: Pace,
    pub(super) cargo: Option<Cargo>,
}

impl Spooling {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            wanted: wanted(config),
            spool: None,
            open_at: None,
            warned: false,
            spill_at: None,
            away: BTreeMap::new(),
            letter_away: None,
            most_reserve: Duration::ZERO,
            patient_until: None,
            replaying: false,
            pace: Pace::new(Profile::from(config)),
            cargo: None,
        }
    }

    /// Whether there is no spool, and will be none.
    pub(super) fn is_off(&self) -> bool {
        self.wanted.is_none()
    }

    /// A batch is on its way.
    pub(super) fn leaves(&mut self, shipment: &Shipment) {
        if self.wanted.is_some() {
            self.away.insert(shipment.first, shipment.clone());
        }
    }

    /// An answer for a batch has come; whether it is still wanted: a batch that was kept meanwhile has its fate.
    pub(super) fn returns(&mut self, shipment: &Shipment) -> bool {
        self.wanted.is_none() || self.away.remove(&shipment.first).is_some()
    }

    /// As [`leaves`](Self::leaves).
    pub(super) fn letter_leaves(&mut self, letter: &Letter) {
        if self.wanted.is_some() {
            self.letter_away = Some(letter.clone());
        }
    }

    /// As [`returns`](Self::returns).
    pub(super) fn letter_returns(&mut self) -> bool {
        self.wanted.is_none() || self.letter_away.take().is_some()
    }
}

impl Worker {
    /// Opens the directory, unless that failed a moment ago.
    pub(super) fn open_spool(&mut self) {
        let now = Instant::now();
        let spooling = &mut self.spooling;
        let Some(directory) = &spooling.wanted else {
            return;
        };
        if spooling.spool.is_some() || spooling.open_at.is_some_and(|at| at > now) {
            return;
        }
        match Spool::open(directory, self.config.spool_max_bytes) {
            Ok(spool) => {
                let directory = spool.directory().display().to_string();
                spooling.spool = Some(spool);
                spooling.open_at = None;
                self.disk_works();
                self.shared
                    .log
                    .debug(|| format!("undeliverable events are kept in {directory}"));
                self.note_spool();
            }
            Err(error) => {
                spooling.open_at = Some(now + OPEN_AGAIN);
                let directory = directory.display().to_string();
                self.disk_fails(&directory, &error);
            }
        }
    }

    /// The configuration has changed.
    pub(super) fn adopt_spool(&mut self, config: &Config) {
        if let Some(spool) = &mut self.spooling.spool {
            spool.set_max_bytes(config.spool_max_bytes);
        }
        // What was refused may find room now, and may go elsewhere.
        self.spooling.spill_at = None;
        self.spooling.pace = Pace::new(Profile::from(config));
        let changed = config.spool_dir != self.config.spool_dir;
        if changed && wanted(config) != self.spooling.wanted {
            self.shared.log.warn(
                "spool_dir was changed after the first span: it stays as it was until the program starts again",
            );
        }
    }

    #[cold]
    fn disk_fails(&mut self, directory: &str, error: &std::io::Error) {
        lock(&self.shared.health).spool = Some(error.to_string());
        let problem = format!(
            "the spool in {directory} cannot be used, what cannot be delivered is kept in memory only: {error}"
        );
        if std::mem::replace(&mut self.spooling.warned, true) {
            self.shared.log.debug(|| problem);
        } else {
            self.shared.log.warn(&problem);
        }
    }

    fn disk_works(&mut self) {
        if std::mem::take(&mut self.spooling.warned) {
            lock(&self.shared.health).spool = None;
        }
    }

    /// Publishes what the spool says of itself, and counts what it lost.
    pub(super) fn note_spool(&mut self) {
        let Some(spool) = &mut self.spooling.spool else {
            return;
        };
        let counters = &self.shared.counters;
        counters.spool_bytes.store(spool.bytes(), Ordering::Relaxed);
        let damage = spool.take_damage();
        if damage.own.events > 0 {
            counters.drop(DropReason::SpoolDamaged, damage.own.events);
            counters
                .spooled
                .fetch_sub(damage.own.events, Ordering::Relaxed);
        }
        if damage.own.updates > 0 {
            let updates = damage.own.updates;
            counters.updates_lost.fetch_add(updates, Ordering::Relaxed);
            counters
                .updates_spooled
                .fetch_sub(updates, Ordering::Relaxed);
        }
        if damage.records > 0 || damage.own != Counted::default() {
            counters
                .spool_corrupt
                .fetch_add(damage.records, Ordering::Relaxed);
            let directory = spool.directory().display().to_string();
            self.complain(&format!(
                "the spool in {directory} is damaged: what could not be read is lost"
            ));
        }
    }

    /// Writes a record; every answer but yes leaves the fate of what is in it open.
    fn append(&mut self, kind: Kind, meta: &impl Serialize, body: &[u8], counted: Counted) -> Kept {
        self.open_spool();
        let (Some(spool), Ok(meta)) = (&mut self.spooling.spool, serde_json::to_vec(meta)) else {
            return Kept::No;
        };
        let result = spool.append(kind, &meta, body, counted);
        let directory = spool.directory().display().to_string();
        self.note_spool();
        match result {
            Ok(()) => {
                self.disk_works();
                Kept::Yes
            }
            Err(Refusal::Full) => Kept::Full,
            Err(Refusal::Failed(error)) => {
                self.disk_fails(&directory, &error);
                Kept::No
            }
        }
    }

    /// The sessions that have to be announced, with all it takes to do so without this process.
    fn session_notes(&self, config: &Config, sessions: &[SessionId]) -> Vec<SessionNote> {
        if !requests::has_rest(config) {
            return Vec::new();
        }
        sessions
            .iter()
            .filter(|session| self.needs_announcement(config, **session))
            .filter_map(|session| {
                let body = self.announcement(config, *session).body;
                Some(SessionNote {
                    id: session.to_string(),
                    start: serde_json::from_slice(&body).ok()?,
                    announced: self.announced.contains(session),
                })
            })
            .collect()
    }

    /// Keeps a batch: encoded and redacted, without key and headers.
    fn keep(&mut self, shipment: &Shipment) -> Kept {
        if self.spooling.wanted.is_none() {
            return Kept::No;
        }
        let config = self.current();
        let batch = &shipment.batch;
        let meta = SpansMeta {
            protocol: shipment.envelope.protocol,
            start: batch.spans_start(),
            lengths: batch.span_lengths(),
            sessions: self.session_notes(&config, &batch.sessions),
            server: config.server_url.clone(),
        };
        let count = batch.len() as u64;
        let counted = Counted {
            events: count,
            updates: 0,
        };
        let kept = self.append(Kind::Spans, &meta, &batch.body, counted);
        if kept == Kept::Yes {
            let counters = &self.shared.counters;
            counters.spooled.fetch_add(count, Ordering::Relaxed);
            counters.kept.fetch_add(count, Ordering::Relaxed);
            self.settle(shipment);
            self.shared
                .log
                .debug(|| format!("{count} events are kept on disk"));
        }
        kept
    }

    fn keep_letter(&mut self, letter: &Letter) -> Kept {
        if self.spooling.wanted.is_none() {
            return Kept::No;
        }
        let config = self.current();
        let session = letter.update.session;
        if let Some(session) = session
            && !self.announced.contains(&session)
            && self.is_sampled_out(&config, session)
        {
            self.skip_update(letter);
            return Kept::Yes;
        }
        let body: Map<String, Value> = redacted::body(&letter.update.body, &config, &self.redactor);
        self.count_redact_failures();
        let meta = UpdateMeta {
            creates: letter.update.creates,
            sessions: self.session_notes(&config, session.as_slice()),
            server: config.server_url.clone(),
        };
        let counted = Counted {
            events: 0,
            updates: 1,
        };
        let body = Value::Object(body).to_string();
        let kept = self.append(Kind::Update, &meta, body.as_bytes(), counted);
        if kept == Kept::Yes {
            let counters = &self.shared.counters;
            counters.updates_spooled.fetch_add(1, Ordering::Relaxed);
            self.letter_done(letter);
        }
        kept
    }

    /// The time of a batch is over: it is kept, or lost.
    pub(super) fn keep_or_lose(&mut self, shipment: &Shipment, reason: DropReason, problem: &str) {
        match self.keep(shipment) {
            Kept::Yes => {}
            Kept::No => self.lose(shipment, reason, problem),
            Kept::Full => self.lose(shipment, DropReason::SpoolFull, problem),
        }
    }

    /// As [`keep_or_lose`](Self::keep_or_lose).
    pub(super) fn keep_or_lose_update(&mut self, letter: &Letter, problem: &str) {
        if self.keep_letter(letter) != Kept::Yes {
            self.lose_update(letter, problem);
        }
    }

    /// An update that comes after spans goes where these are; false: it is to be sent.
    pub(super) fn keeps_behind(&mut self, letter: &Letter) -> bool {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        let kept = read(&counters.spooled) + read(&counters.updates_spooled);
        letter.after > 0 && kept > 0 && self.keep_letter(letter) == Kept::Yes
    }

    /// During an outage: what somebody waits for in vain, and what would crowd the queue.
    pub(super) fn spill(&mut self) {
        let now = Instant::now();
        if let Some(spool) = &mut self.spooling.spool
            && spool.sync_at().is_some_and(|at| at <= now)
        {
            let directory = spool.directory().display().to_string();
            if let Err(error) = spool.sync() {
                self.disk_fails(&directory, &error);
            }
        }
        if self.spooling.wanted.is_none()
            || self.stop.is_some()
            || self.spooling.spill_at.is_some_and(|at| at > now)
        {
            return;
        }
        let traces_down = self.traces.until(now).is_some();
        let waited_for = self.flushes.iter().any(|flush| !flush.pending.is_settled());
        let mut kept = true;
        if traces_down && (waited_for || self.traces.is_lasting()) {
            // Whatever ends this process now finds it on disk.
            kept = self.keep_pending(0, 0);
        } else if self.traces.is_failing() || self.key_pause.is_some() {
            // A hiccup costs the disk nothing.
            let (records, bytes) = self.shared.queue.usage();
            let (most, most_bytes) = (self.config.max_queue_size, self.config.max_queue_bytes);
            if records > most / 2 || bytes > most_bytes / 2 {
                self.take_records();
                kept = self.keep_pending(most / 4, most_bytes / 4);
            }
        }
        let one_server = self.config.otlp_endpoint.is_none();
        let rest_down = self.rest.until(now).is_some() || traces_down && one_server;
        if rest_down && waited_for && kept {
            while self.may_post_letter()
                && kept
                && let Some(letter) = self.letters.pop_front()
            {
                kept = self.keep_letter(&letter) == Kept::Yes;
                if !kept {
                    self.letters.push_front(letter);
                }
            }
        }
        if !kept {
            self.spooling.spill_at = Some(now + SPILL_AGAIN);
        }
    }

    /// Keeps the oldest batches until no more than this is left in the queue; false when the spool does not take them.
    fn keep_pending(&mut self, records: usize, bytes: usize) -> bool {
        loop {
            let (used_records, used_bytes) = self.shared.queue.usage();
            if used_records <= records && used_bytes <= bytes {
                return true;
            }
            let Some(shipment) = self.oldest_pending() else {
                return true;
            };
            if self.keep(&shipment) != Kept::Yes {
                self.returned.push_front(shipment);
                return false;
            }
        }
    }

    fn oldest_pending(&mut self) -> Option<Shipment> {
        let returned = self.returned.iter().enumerate();
        let oldest = returned.min_by_key(|(_, shipment)| shipment.first);
        match oldest.map(|(index, _)| index) {
            Some(index) => self.returned.remove(index),
            None => {
                let config = self.current();
                self.build(&config)
            }
        }
    }

    /// Nothing more can be sent: keeps all there is, what is on its way included, oldest first.
    pub(super) fn keep_rest(&mut self) {
        if self.spooling.wanted.is_none() {
            return;
        }
        self.take_records();
        let mut letters: VecDeque<Letter> = self.spooling.letter_away.take().into_iter().collect();
        let mut shipments = std::mem::take(&mut self.spooling.away);
        match self.staged.take() {
            Some(Parcel::Shipment(shipment)) => {
                shipments.insert(shipment.first, shipment);
            }
            Some(Parcel::Letter(letter)) => letters.push_back(letter),
            None => {}
        }
        let returned = std::mem::take(&mut self.returned).into_iter();
        shipments.extend(returned.map(|shipment| (shipment.first, shipment)));
        letters.append(&mut self.letters);

        let mut shipments: VecDeque<Shipment> = shipments.into_values().collect();
        while let Some(shipment) = shipments.pop_front().or_else(|| self.oldest_pending()) {
            match self.keep(&shipment) {
                Kept::Yes => {}
                Kept::Full => {
                    let why = "the spool is full (spool_max_bytes)";
                    self.lose(&shipment, DropReason::SpoolFull, why);
                }
                Kept::No => {
                    // They stay where they are; whoever called knows what becomes of them.
                    self.returned.push_back(shipment);
                    self.returned.extend(shipments);
                    break;
                }
            }
        }
        while let Some(letter) = letters.pop_front() {
            if self.keep_letter(&letter) != Kept::Yes {
                self.letters.push_back(letter);
                self.letters.append(&mut letters);
            }
        }
        if let Some(spool) = &mut self.spooling.spool {
            let directory = spool.directory().display().to_string();
            if let Err(error) = spool.sync() {
                self.disk_fails(&directory, &error);
            }
        }
    }

    /// Whoever is told that the worker has ended may take its files over.
    pub(super) fn close_spool(&mut self) {
        self.note_spool();
        self.spooling.spool = None;
    }

    /// The program is about to end, and may not wait for the endpoint.
    pub(super) fn keep_now(&mut self, pending: &Answer) {
        self.keep_rest();
        pending.settle(Ok(FlushReport::default()));
    }

    /// A stop has begun. Files may go with the machine, so an outage that is news is given a second chance.
    pub(super) fn stop_spool(&mut self, deadline: Instant) {
        let now = Instant::now();
        let spooling = &mut self.spooling;
        spooling.most_reserve = deadline.saturating_duration_since(now) / 2;
        let patience = match self.traces.is_failing() {
            true => Duration::ZERO,
            false => PATIENCE.min(spooling.most_reserve),
        };
        spooling.patient_until.get_or_insert(now + patience);
        // What was kept before gets its last chance, too.
        spooling.pace.hurry();
    }

    /// When the spool wants to be heard of next.
    pub(super) fn spool_alarms(&self) -> [Option<Instant>; 3] {
        let now = Instant::now();
        let spooling = &self.spooling;
        let sync = spooling.spool.as_ref().and_then(Spool::sync_at);
        let write = self.stop.as_ref().map(|stop| self.time_to_write(stop));
        let replay = spooling.pace.until(now);
        [sync, write.filter(|_| spooling.spool.is_some()), replay]
    }

    /// Until when a stop may go on sending, so that what is left can be written in time.
    fn time_to_write(&self, stop: &Stop) -> Instant {
        let bytes = self.shared.queue.usage().1;
        let writing = Duration::from_millis((bytes / BYTES_PER_MILLISECOND) as u64);
        let reserve = (RESERVE + writing).min(self.spooling.most_reserve);
        stop.deadline.checked_sub(reserve).unwrap_or(stop.deadline)
    }

    /// Whether the rest of a stop is better spent writing than sending.
    pub(super) fn ends_on_disk(&self, stop: &Stop) -> bool {
        if self.spooling.spool.is_none() {
            return false;
        }
        let now = Instant::now();
        let down = |pace: &Pace| {
            let until = pace.until(now);
            until.is_some_and(|until| Some(until) >= self.spooling.patient_until)
        };
        let traces_down = down(&self.traces) && self.shipments_away == 0;
        let only_letters = self.settled_up_to() >= self.taken && self.staged.is_none();
        let rest_down = down(&self.rest) && only_letters && !self.letter_away;
        traces_down || rest_down || now >= self.time_to_write(stop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::live::Live;
    use crate::environment::Environment;
    use crate::export::Exporter;
    use crate::export::tests::{assert_balanced, record};

    #[test]
    fn what_was_tried_for_long_enough_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            server_url: "http://127.0.0.1:9".to_owned(),
            server_url_is_default: false,
            spool_dir: Some(directory.path().to_str().unwrap().to_owned()),
            ..Config::default()
        };
        let live = Arc::new(Live::new(config));
        let strategy = Environment::Standard.strategy();
        let exporter = Exporter::new(1, Arc::clone(&live), strategy, SessionId::random());
        // Nobody works but this thread, so time can be told.
        let mut worker = Worker::new(Arc::clone(&exporter.shared));
        let record = record();
        let config = live.load_full();
        let Some(long_ago) = Instant::now().checked_sub(config.retry_give_up) else {
            return;
        };
        for reason in ["unreachable", "unauthorized"] {
            for _ in 0..3 {
                exporter.shared.queue.push(&record);
            }
            worker.take_records();
            let mut shipment = worker.build(&config).unwrap();
            shipment.since = long_ago;
            if reason == "unreachable" {
                worker.put_back(shipment, None, "nobody is there");
            } else {
                let reply = crate::export::transport::Reply {
                    status: 403,
                    retry_after: None,
                    body: bytes::Bytes::new(),
                    location: None,
                    repeated: false,
                };
                worker.sent(shipment, false, &config, Ok(reply));
            }
        }
        let waiting = &exporter.shared.updates;
        waiting.count.fetch_add(1, Ordering::Relaxed);
        let update = crate::export::Update {
            session: None,
            creates: false,
            body: Map::new(),
            after_spans: false,
            bytes: 0,
        };
        let letter = Letter {
            update,
            since: long_ago,
            after: 0,
        };
        worker.put_back_letter(letter, None, "nobody is there");
        let stats = exporter.stats();
        assert_balanced(&stats);
        assert_eq!((stats.spooled, stats.updates_spooled), (6, 1), "{stats:?}");
        assert_eq!(waiting.count.load(Ordering::Relaxed), 0);
    }
}
