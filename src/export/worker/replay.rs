//! The way back from the spool: one record at a time, oldest first, beside what is fresh, under the key and to the
//! endpoint in force then. What comes of it is counted once, apart for what other processes left.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::announce::Announcing;
use super::excerpt::excerpt;
use super::pace::Pace;
use super::spool::{SessionNote, SpansMeta, UpdateMeta};
use super::{Done, Worker};
use crate::config::Config;
use crate::export::otlp::{Batch, Envelope, Spare};
use crate::export::report::DropReason;
use crate::export::requests;
use crate::export::retry::{self, Outcome, Profile, Verdict};
use crate::export::spool::{Counted, Kind, Stored};
use crate::export::transport::{self, Failure, Reply, Request};
use crate::id::{self, SessionId};

/// The record that is being replayed.
#[derive(Debug)]
pub(super) struct Cargo {
    own: bool,
    counted: Counted,
    sessions: Vec<SessionNote>,
    /// Where they were announced, if they were.
    server: String,
    load: Load,
}

#[derive(Debug)]
enum Load {
    /// A batch, or what is left of one that had to be split.
    Spans {
        envelope: Arc<Envelope>,
        parts: VecDeque<Batch>,
        uncompressed: bool,
    },
    Update {
        creates: bool,
        body: Map<String, Value>,
    },
}

/// What came of an attempt.
pub(super) struct Replayed {
    config: Arc<Config>,
    compressed: bool,
    announced: Vec<(SessionId, Result<Reply, Failure>)>,
    /// Announcements that have not been answered, and go on.
    rest: Option<Box<Announcing>>,
    result: Result<Reply, Failure>,
}

/// What became of events.
enum Fate {
    Accepted { rejected: u64 },
    Rejected,
    Lost(DropReason),
}

impl Cargo {
    /// Reads a record; `None`: it makes no sense.
    fn read(stored: Stored) -> Option<Self> {
        let Stored {
            kind,
            meta,
            body,
            own,
        } = stored;
        match kind {
            Kind::Spans => {
                let meta: SpansMeta = serde_json::from_slice(&meta).ok()?;
                let batch = Batch::restore(body, meta.start, &meta.lengths, Vec::new())?;
                let envelope = Arc::new(Envelope {
                    protocol: meta.protocol,
                    resource: Vec::new(),
                    scope: String::new(),
                    scope_attributes: Vec::new(),
                    spare: Spare::default(),
                });
                Some(Self {
                    own,
                    counted: Counted {
                        events: batch.len() as u64,
                        updates: 0,
                    },
                    sessions: meta.sessions,
                    server: meta.server,
                    load: Load::Spans {
                        envelope,
                        parts: VecDeque::from([batch]),
                        uncompressed: false,
                    },
                })
            }
            Kind::Update => {
                let meta: UpdateMeta = serde_json::from_slice(&meta).ok()?;
                Some(Self {
                    own,
                    counted: Counted {
                        events: 0,
                        updates: 1,
                    },
                    sessions: meta.sessions,
                    server: meta.server,
                    load: Load::Update {
                        creates: meta.creates,
                        body: serde_json::from_slice(&body).ok()?,
                    },
                })
            }
            Kind::Delivered => None,
        }
    }
}

impl Worker {
    /// Whether a stop should wait for the replay: it goes on, or could.
    pub(super) fn is_replaying(&self) -> bool {
        let Some(spool) = &self.spooling.spool else {
            return false;
        };
        let now = Instant::now();
        let paused = self.spooling.pace.until(now).is_some()
            || self.traces.until(now).is_some()
            || self.key_pause.is_some();
        self.spooling.replaying || (!paused && !spool.is_empty())
    }

    /// Sends the oldest record that was kept, if the endpoint may be tried.
    pub(super) fn replay(&mut self, now: Instant) {
        if self.spooling.is_off() || self.spooling.replaying || self.key_pause.is_some() {
            return;
        }
        let down = self.traces.until(now).is_some();
        // During an outage one attempt at a time is enough, and what is fresh makes it.
        let failing = self.traces.is_failing();
        let fresh = self.shipments_away > 0 || !self.returned.is_empty() || !self.chunks.is_empty();
        if down || failing && fresh || self.spooling.pace.until(now).is_some() {
            return;
        }
        self.open_spool();
        let config = self.current();
        while self.load_cargo() {
            let refused = match &self.spooling.cargo {
                Some(cargo) => {
                    matches!(cargo.load, Load::Update { .. }) && !requests::has_rest(&config)
                }
                None => return,
            };
            if !refused {
                self.send_cargo(config);
                break;
            }
            self.update_settled(false);
            self.cargo_done();
        }
        self.note_spool();
    }

    /// Reads the next record, if none is there; false when there is none to be had.
    fn load_cargo(&mut self) -> bool {
        if self.spooling.cargo.is_some() {
            return true;
        }
        let Some(spool) = &mut self.spooling.spool else {
            return false;
        };
        while let Some(stored) = spool.next() {
            self.spooling.cargo = Cargo::read(stored);
            if self.spooling.cargo.is_some() {
                return true;
            }
            spool.damaged();
        }
        false
    }

    fn send_cargo(&mut self, config: Arc<Config>) {
        let transport = match self.transport(&config) {
            Ok(transport) => transport,
            Err(failure) => {
                self.replay_fails(None, &failure.reason);
                return;
            }
        };
        let Some(cargo) = &self.spooling.cargo else {
            return;
        };
        let calls: Vec<(SessionId, Request)> = cargo
            .sessions
            .iter()
            .filter(|_| requests::has_rest(&config))
            .filter_map(|note| Some((SessionId::parse(&note.id).ok()?, note)))
            .filter(|(session, _)| !self.announced.contains(session))
            .filter(|(session, _)| !self.announcing.contains(session))
            // Another process told this server; what this one told is known better.
            .filter(|(_, note)| cargo.own || !note.announced || cargo.server != config.server_url)
            .map(|(session, note)| (session, requests::session_restart(&config, &note.start)))
            .collect();
        let (request, compressed) = match &cargo.load {
            Load::Spans {
                envelope,
                parts,
                uncompressed,
            } => {
                let Some(batch) = parts.front() else {
                    return;
                };
                let may_compress = self.may_compress && !uncompressed;
                requests::traces(&config, envelope, batch, may_compress)
            }
            Load::Update { creates, body } => {
                (requests::update(&config, *creates, body.clone()), false)
            }
        };
        self.shared.log.debug(|| {
            format!(
                "from the spool to {}: {} bytes",
                request.url,
                request.body.len()
            )
        });
        self.spooling.replaying = true;
        let uncertain = self.is_cut_off();
        let patience = if self.unanswered {
            Duration::ZERO
        } else {
            self.patience()
        };
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let (mut announced, mut rest) = (Vec::new(), None);
            if !calls.is_empty() {
                let (transport, config) = (Arc::clone(&transport), Arc::clone(&config));
                let announcing = Announcing::new(transport, config, calls, uncertain);
                let done = announcing.ahead(patience).await;
                if let Done::Announced {
                    results,
                    rest: goes_on,
                    ..
                } = done
                {
                    (announced, rest) = (results, goes_on);
                }
            }
            let failed = announced.iter().find_map(|(_, result)| match result {
                Err(failure) if failure.connect => Some(failure.clone()),
                _ => None,
            });
            let result = match failed {
                // It would fare no better on the same server.
                Some(failure) if config.otlp_endpoint.is_none() => Err(failure),
                _ => {
                    let bytes = request.body.len() as u64;
                    let result = transport::attempt(transport, request).await;
                    let sent = bytes.saturating_mul(transport::times_sent(&result));
                    shared
                        .counters
                        .bytes_sent
                        .fetch_add(sent, Ordering::Relaxed);
                    result
                }
            };
            Done::Replayed(Box::new(Replayed {
                config,
                compressed,
                announced,
                rest,
                result,
            }))
        });
    }

    pub(super) fn replayed(&mut self, replayed: Replayed) {
        let Replayed {
            config,
            compressed,
            announced,
            rest,
            result,
        } = replayed;
        self.spooling.replaying = false;
        let stale = self.is_stale(&config);
        if !stale {
            let answered = announced.iter().any(|(_, result)| result.is_ok());
            self.unanswered = !answered && (self.unanswered || rest.is_some());
            if let Some(rest) = rest {
                self.go_on_beside(*rest);
            }
        }
        for (session, result) in announced {
            let counters = &self.shared.counters;
            let (counter, remembered) = match &result {
                Ok(reply) if (200..300).contains(&reply.status) => {
                    (&counters.sessions_started, true)
                }
                Ok(reply) => (
                    &counters.sessions_failed,
                    !matches!(reply.status, 401 | 403),
                ),
                Err(_) => (&counters.sessions_failed, false),
            };
            counter.fetch_add(1, Ordering::Relaxed);
            if remembered && !stale {
                self.remember(session);
            }
            if let Ok(reply) = &result
                && (200..300).contains(&reply.status)
            {
                self.check_reply(session, reply);
            }
        }
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
            Ok(reply) => format!("status {}{}", reply.status, excerpt(&reply.body, &config)),
            Err(failure) => failure.reason.clone(),
        };
        self.shared
            .log
            .debug(|| format!("from the spool: {problem}"));
        match retry::verdict(&outcome, compressed) {
            Verdict::Retry { after } => self.replay_fails(after, &problem),
            // That was another key, or another place: once more.
            Verdict::Unauthorized if stale => {}
            Verdict::Unauthorized => {
                let status = reply.map_or(401, |reply| reply.status);
                self.key_rejected(status);
            }
            Verdict::Undecodable => {
                if let Some(Cargo {
                    load: Load::Spans { uncompressed, .. },
                    ..
                }) = &mut self.spooling.cargo
                {
                    *uncompressed = true;
                }
            }
            verdict => {
                let body = reply.map(|reply| reply.body).unwrap_or_default();
                self.cargo_settled(verdict, &body, &problem);
            }
        }
        self.note_spool();
    }

    /// The endpoint has decided about what was sent.
    fn cargo_settled(&mut self, verdict: Verdict, body: &[u8], problem: &str) {
        self.recovered();
        self.spooling.pace = Pace::new(Profile::from(&*self.config));
        let Some(cargo) = &mut self.spooling.cargo else {
            return;
        };
        let own = cargo.own;
        let Load::Spans {
            envelope,
            parts,
            uncompressed,
        } = &mut cargo.load
        else {
            let delivered = verdict == Verdict::Delivered;
            self.update_settled(delivered);
            if !delivered {
                self.complain(&format!("an update from the spool was lost: {problem}"));
            }
            self.cargo_done();
            return;
        };
        let Some(batch) = parts.pop_front() else {
            self.cargo_done();
            return;
        };
        if verdict == Verdict::Delivered && *uncompressed {
            self.may_compress = false;
        }
        let fate = match verdict {
            Verdict::Delivered => Fate::Accepted {
                rejected: envelope.partial_success(body).rejected,
            },
            Verdict::TooLarge => match Batch::split(&batch, envelope.protocol) {
                Some([one, two]) => {
                    parts.push_front(two);
                    parts.push_front(one);
                    return;
                }
                None => Fate::Lost(DropReason::TooLarge),
            },
            _ => Fate::Rejected,
        };
        let over = parts.is_empty();
        let events = batch.len() as u64;
        if !matches!(fate, Fate::Accepted { rejected: 0 }) {
            self.complain(&format!(
                "of {events} events from the spool not all were accepted: {problem}"
            ));
        }
        // Whoever sees the numbers sees the files as they are by then.
        if over {
            self.cargo_done();
            self.note_spool();
        }
        self.events_settled(own, events, &fate);
    }

    fn events_settled(&self, own: bool, events: u64, fate: &Fate) {
        let counters = &self.shared.counters;
        let (accepted, rejected, lost) = match *fate {
            Fate::Accepted { rejected } => {
                let rejected = rejected.min(events);
                (events - rejected, rejected, None)
            }
            Fate::Rejected => (0, events, None),
            Fate::Lost(reason) => (0, 0, Some(reason)),
        };
        let add = |counter: &std::sync::atomic::AtomicU64, count: u64| {
            counter.fetch_add(count, Ordering::Relaxed);
        };
        if own {
            counters.spooled.fetch_sub(events, Ordering::Relaxed);
            add(&counters.exported, accepted);
            add(&counters.rejected, rejected);
            add(&counters.replayed, accepted);
            if let Some(reason) = lost {
                counters.drop(reason, events);
            }
        } else {
            add(&counters.recovered, accepted);
            add(&counters.recovered_lost, events - accepted);
        }
    }

    fn update_settled(&self, delivered: bool) {
        let own = self.spooling.cargo.as_ref().is_some_and(|cargo| cargo.own);
        if !own {
            return;
        }
        let counters = &self.shared.counters;
        counters.updates_spooled.fetch_sub(1, Ordering::Relaxed);
        let counter = if delivered {
            &counters.updates_sent
        } else {
            &counters.updates_lost
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The record is not needed any more.
    fn cargo_done(&mut self) {
        if let Some(cargo) = self.spooling.cargo.take()
            && let Some(spool) = &mut self.spooling.spool
        {
            spool.done(cargo.counted);
        }
    }

    /// What is kept stays where it is until the endpoint takes it.
    fn replay_fails(&mut self, hint: Option<Duration>, problem: &str) {
        self.unreachable(problem);
        self.shared.counters.retried.fetch_add(1, Ordering::Relaxed);
        let pace = &mut self.spooling.pace;
        pace.fail(hint, self.config.retry_give_up, id::random());
        if self.traces.is_failing() {
            // One outage, one pace.
            self.traces
                .fail(hint, self.config.retry_give_up, id::random());
        }
    }
}
