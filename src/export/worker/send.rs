//! What goes out next: batches are made, sessions announced before what mentions them, and tasks started.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::announce::Announcing;
use super::{Done, Parcel, STOPPED, Shipment, Stop, Worker};
use crate::config::{Config, Field, Source};
use crate::export::otlp::{Notes, Settings, redacted};
use crate::export::requests;
use crate::export::transport::{self, Connections, Failure, Http, Nowhere, Transport};
use crate::id::SessionId;
use crate::sample::Threshold;

/// When more spans wait than a batch usually has, it grows up to so many times their number.
const GROWTH: usize = 8;
/// While more spans wait than the next batch takes, so many requests may be on their way.
const MOST_AWAY: usize = 4;
/// Empty buffers that are kept.
const SPARE: usize = 4;
/// So many unknown event types are told apart in warnings.
const MAX_UNKNOWN_TYPES: usize = 32;

impl Worker {
    /// Puts on its way whatever may go now.
    pub(super) fn pump(&mut self) {
        let config = self.current();
        let now = Instant::now();
        self.key_pause = self.key_pause.filter(|until| *until > now);
        let is_late = |stop: &Stop| now >= stop.patient_until;
        if self.stop.as_ref().is_some_and(is_late)
            && let Some(parcel) = self.staged.take()
        {
            self.unanswered = true;
            self.dispatch(&config, parcel);
        }
        // One parcel may wait for its sessions; whatever failed meanwhile has a pause by now, so each turn looks again.
        while self.key_pause.is_none() && self.staged.is_none() && !self.is_probing(&config) {
            if !self.letter_away
                && self.rest.until(now).is_none()
                && self.may_post_letter()
                && let Some(letter) = self.letters.pop_front()
            {
                if !self.keeps_behind(&letter) {
                    self.stage(&config, Parcel::Letter(letter));
                }
                continue;
            }
            if self.shipments_away >= self.most_away(&config)
                || self.traces.is_silent() && self.shipments_away > 0
                || self.traces.until(now).is_some()
            {
                break;
            }
            let Some(shipment) = self.returned.pop_front().or_else(|| self.build(&config)) else {
                break;
            };
            self.stage(&config, Parcel::Shipment(shipment));
        }
        self.replay(now);
        self.alarms = [self.key_pause, self.traces.until(now), self.rest.until(now)];
    }

    /// There was no way, and one request finds out whether there is by now: an outage costs one connection at a time.
    fn is_probing(&self, config: &Config) -> bool {
        self.is_cut_off() && requests::is_one_place(config) && !self.tasks.is_empty()
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.traces.is_cut_off() || self.rest.is_cut_off()
    }

    /// How many requests may be on their way. An endpoint that is far away takes more of them at a time than of spans
    /// that are made meanwhile, or these would pile up.
    fn most_away(&self, config: &Config) -> usize {
        let usual = config.max_in_flight.max(1);
        let waiting = usize::try_from(self.taken - self.batched).unwrap_or(usize::MAX);
        let is_default = *config.source_of(Field::MaxInFlight) == Source::Default;
        if is_default && waiting > most_spans(config) {
            usual.max(MOST_AWAY)
        } else {
            usual
        }
    }

    /// Encodes the next batch.
    pub(super) fn build(&mut self, config: &Config) -> Option<Shipment> {
        if self.chunks.is_empty() {
            return None;
        }
        let settings = Settings {
            project: config.project.clone(),
            source: config.source.clone(),
            default_event_type: config.default_event_type.clone(),
            max_attributes: config.max_attributes,
            evaluation: config
                .evaluation_ids()
                .map(|(name, id)| (name, id.to_owned()))
                .collect(),
            auto_create: self.auto_create(config),
            capture_content: config.capture_content,
            redactor: Arc::clone(&self.redactor),
            max_events: config.max_events,
            event_type_from_name: config.event_type_from_name,
            event_types: config.event_types.clone(),
        };
        self.tell_losses();
        let anchor = self.timeline.anchor();
        let mut batch = self.envelope.batch();
        let first = self.batched;
        let mut cost = 0;
        let mut noted = Vec::new();
        let most = most_spans(config);
        let most_bytes = config.max_batch_bytes;
        while batch.len() < most {
            let Some(chunk) = self.chunks.front() else {
                break;
            };
            let (record, byte, callsite) = self.cursor;
            let Some(closed) = chunk.heads.get(record) else {
                if let Some(mut empty) = self.chunks.pop_front() {
                    empty.recycle();
                    self.spare.push(empty);
                    self.spare.truncate(SPARE);
                }
                self.cursor = (0, 0, 0);
                continue;
            };
            // A large event goes alone.
            if batch.len() > 0 && batch.bytes().saturating_add(closed.bytes) > most_bytes {
                break;
            }
            let fields = chunk
                .bytes
                .get(byte..byte + closed.bytes)
                .unwrap_or_default();
            let callsites = chunk
                .callsites
                .get(callsite..callsite + closed.callsites)
                .unwrap_or_default();
            let plans = &mut self.plans;
            let notes = batch.push(&closed.head, fields, callsites, anchor, &settings, plans);
            // Taken apart and encoded, it turned out to be large.
            if batch.bytes() > most_bytes && batch.give_back() {
                break;
            }
            cost += closed.cost();
            if notes.lost > 0 || notes.unknown_type.is_some() {
                noted.push(notes);
            }
            self.cursor = (record + 1, byte + closed.bytes, callsite + closed.callsites);
            self.batched += 1;
        }
        if batch.len() == 0 {
            return None;
        }
        self.note(noted);
        self.count_redact_failures();
        self.open.insert(first);
        let batch = self.envelope.finish(batch);
        let envelope = Arc::clone(&self.envelope);
        Some(Shipment {
            batch,
            envelope,
            first,
            cost,
            since: Instant::now(),
            uncompressed: false,
        })
    }

    /// Counts what was lost in encoding, and warns of each unknown type once.
    #[cold]
    fn note(&mut self, noted: Vec<Notes>) {
        for notes in noted {
            let lost = u64::from(notes.lost);
            self.shared.counters.cut.fetch_add(lost, Ordering::Relaxed);
            if let Some(unknown) = notes.unknown_type
                && self.unknown_types.len() < MAX_UNKNOWN_TYPES
                && !self.unknown_types.contains(&unknown)
            {
                self.shared.log.warn(&format!(
                    "event type {unknown:?} is none of model, tool, chain and session: it is sent as it is (if it is \
                     meant, see Builder::own_event_type)"
                ));
                self.unknown_types.insert(unknown);
            }
        }
    }

    /// Sends a parcel, or its sessions first.
    pub(super) fn stage(&mut self, config: &Arc<Config>, parcel: Parcel) {
        if !requests::has_rest(config) {
            match parcel {
                Parcel::Shipment(shipment) => self.ship(config, shipment),
                Parcel::Letter(letter) => {
                    self.lose_update(&letter, "it needs a server URL, not only an OTLP endpoint");
                }
            }
            return;
        }
        let sessions = match &parcel {
            Parcel::Shipment(shipment) => shipment.batch.sessions.as_slice(),
            Parcel::Letter(letter) => letter.update.session.as_slice(),
        };
        let new: Vec<SessionId> = sessions
            .iter()
            .filter(|session| !self.announced.contains(session))
            .filter(|session| !self.announcing.contains(session))
            .filter(|session| self.needs_announcement(config, **session))
            .copied()
            .collect();
        if new.is_empty() {
            self.dispatch(config, parcel);
            return;
        }
        if let Parcel::Letter(letter) = &parcel
            && let Some(session) = letter.update.session
            && self.is_sampled_out(config, session)
        {
            self.skip_update(letter);
            return;
        }
        let transport = match self.transport(config) {
            Ok(transport) => transport,
            Err(failure) => {
                self.fail_unsent(parcel, &failure);
                return;
            }
        };
        if self.unanswered {
            self.announce_beside(&transport, config, new);
            self.dispatch(config, parcel);
            return;
        }
        let calls = new
            .into_iter()
            .map(|session| (session, self.announcement(config, session)))
            .collect();
        let uncertain = self.is_cut_off();
        self.staged = Some(parcel);
        let announcing = Announcing::new(transport, Arc::clone(config), calls, uncertain);
        self.tasks.spawn(announcing.ahead(self.patience()));
    }

    /// Whether nothing is known to be sent of a session, since its id is sampled out.
    pub(super) fn is_sampled_out(&self, config: &Config, session: SessionId) -> bool {
        let threshold = Threshold::of(config.sample_rate);
        let given = session != self.shared.session || config.session_id.is_some();
        given && !threshold.keeps_session(session)
    }

    pub(super) fn count_redact_failures(&self) {
        let failures = self.redactor.take_failures();
        if failures > 0 {
            let counter = &self.shared.counters.redact_failed;
            counter.fetch_add(failures, Ordering::Relaxed);
            self.remark("a redaction function panicked: the value it was called for is not sent");
        }
    }

    pub(super) fn dispatch(&mut self, config: &Arc<Config>, parcel: Parcel) {
        match parcel {
            Parcel::Shipment(shipment) => self.ship(config, shipment),
            Parcel::Letter(letter) => {
                let transport = match self.transport(config) {
                    Ok(transport) => transport,
                    Err(failure) => return self.fail_unsent(Parcel::Letter(letter), &failure),
                };
                let body = redacted::body(&letter.update.body, config, &self.redactor);
                self.count_redact_failures();
                let request = requests::update(config, letter.update.creates, body);
                let config = Arc::clone(config);
                self.letter_away = true;
                self.spooling.letter_leaves(&letter);
                self.tasks.spawn(async move {
                    let result = transport::attempt(transport, request).await;
                    Done::Updated {
                        letter,
                        config,
                        result,
                    }
                });
            }
        }
    }

    pub(super) fn ship(&mut self, config: &Arc<Config>, mut shipment: Shipment) {
        let transport = match self.transport(config) {
            Ok(transport) => transport,
            Err(failure) => return self.fail_unsent(Parcel::Shipment(shipment), &failure),
        };
        let may_compress = self.may_compress && !shipment.uncompressed;
        let (request, compressed) =
            requests::traces(config, &shipment.envelope, &shipment.batch, may_compress);
        self.shipments_away += 1;
        self.spooling.leaves(&shipment);
        self.shared.log.debug(|| {
            format!(
                "POST {}: {} events, {} bytes",
                request.url,
                shipment.batch.len(),
                request.body.len()
            )
        });
        let config = Arc::clone(config);
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let bytes = request.body.len() as u64;
            let due = Instant::now() + request.timeout;
            let result = transport::attempt(transport, request).await;
            // No request takes that long in a process that runs.
            let stopped = Instant::now().saturating_duration_since(due);
            if stopped >= STOPPED {
                shipment.since += stopped;
            }
            let sent = bytes.saturating_mul(transport::times_sent(&result));
            let counter = &shared.counters.bytes_sent;
            counter.fetch_add(sent, Ordering::Relaxed);
            Done::Sent {
                shipment,
                compressed,
                config,
                result,
            }
        });
    }

    /// The client, made before the first request: making one may look for certificates.
    pub(super) fn transport(&mut self, config: &Config) -> Result<Arc<dyn Transport>, Failure> {
        if let Some(transport) = &self.transport {
            return Ok(Arc::clone(transport));
        }
        #[cfg(feature = "testing")]
        if let Some(tape) = self.shared.tape.get() {
            return Ok(Arc::new(tape.clone()));
        }
        let transport: Arc<dyn Transport> = if config.test_mode {
            Arc::new(Nowhere)
        } else {
            let https = requests::traces_url(config).starts_with("https:")
                || config.server_url.starts_with("https:");
            Arc::new(Http::new(https, Connections::from(config))?)
        };
        self.transport = Some(Arc::clone(&transport));
        Ok(transport)
    }

    pub(super) fn fail_unsent(&mut self, parcel: Parcel, failure: &Failure) {
        match parcel {
            Parcel::Shipment(shipment) => self.put_back(shipment, None, &failure.reason),
            Parcel::Letter(letter) => self.put_back_letter(letter, None, &failure.reason),
        }
    }
}

/// How many spans the next batch may have. Many that wait say that there are many a second, and large batches cost
/// least; they stay bounded in bytes.
fn most_spans(config: &Config) -> usize {
    if config.disable_batch {
        return 1;
    }
    let usual = config.max_export_batch_size;
    if *config.source_of(Field::MaxExportBatchSize) == Source::Default {
        usual.saturating_mul(GROWTH)
    } else {
        usual
    }
}
