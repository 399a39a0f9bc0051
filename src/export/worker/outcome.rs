//! What becomes of what was sent: delivered, tried again, split or lost, and counted once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::excerpt::{describe, excerpt};
use super::pace::Place;
use super::{Letter, Shipment, Worker};
use crate::config::Config;
use crate::export::otlp::Batch;
use crate::export::report::DropReason;
use crate::export::requests;
use crate::export::retry::{self, Outcome, Verdict};
use crate::export::transport::{self, Failure, Reply};
use crate::id;
use crate::sync::lock;

/// How long a refused key is left alone before it is tried again.
const KEY_PROBE: Duration = Duration::from_secs(60);

impl Worker {
    pub(super) fn sent(
        &mut self,
        mut shipment: Shipment,
        compressed: bool,
        config: &Config,
        result: Result<Reply, Failure>,
    ) {
        if transport::is_repeated(&result) {
            self.count_retry();
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
            Ok(reply) => describe(reply, config),
            Err(failure) => failure.reason.clone(),
        };
        self.shared
            .log
            .debug(|| format!("batch of {} events: {problem}", shipment.batch.len()));
        match retry::verdict(&outcome, compressed) {
            Verdict::Delivered => {
                if self.recovered() && !self.shared.losses.under_way() {
                    self.shared
                        .log
                        .warn("events are delivered again; none was lost");
                }
                let body = reply.map(|reply| reply.body).unwrap_or_default();
                self.delivered(&shipment, &body, config);
                shipment.envelope.spare.put(shipment.batch.body);
            }
            // The place it goes to next asked for no patience.
            Verdict::Retry { .. } if self.is_stale(config) => {
                self.count_retry();
                self.returned.push_front(shipment);
            }
            Verdict::Retry { after } => {
                self.put_back(shipment, after, &problem);
                if let Err(failure) = &reply {
                    self.nobody_answered(config, Place::Traces, failure);
                }
            }
            // That was another key, or another place.
            Verdict::Unauthorized if self.is_stale(config) => self.returned.push_front(shipment),
            Verdict::Unauthorized => {
                let status = reply.map_or(401, |reply| reply.status);
                self.key_rejected(status);
                if shipment.since.elapsed() > self.config.retry_give_up {
                    self.keep_or_lose(&shipment, DropReason::Unauthorized, &problem);
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
                lock(&self.shared.health).refused = reply.as_ref().ok().map(|reply| reply.status);
                let count = shipment.batch.len() as u64;
                self.shared
                    .counters
                    .rejected
                    .fetch_add(count, Ordering::Relaxed);
                self.settle(&shipment);
                let hint = match reply.as_ref().map(|reply| reply.status) {
                    Ok(404 | 405) => " (is its address right?)",
                    _ => "",
                };
                self.complain(&format!(
                    "the endpoint refused {count} events: {problem}{hint}"
                ));
            }
        }
    }

    pub(super) fn delivered(&mut self, shipment: &Shipment, body: &[u8], config: &Config) {
        if !self.is_stale(config) {
            if shipment.uncompressed {
                self.may_compress = false;
            }
            // A session that could not be announced is not tried for longer than its batch.
            for session in &shipment.batch.sessions {
                self.remember(*session);
            }
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
            let message = excerpt(said.message.as_bytes(), config);
            self.complain(&format!(
                "the endpoint refused {rejected} of {count} events{message}"
            ));
        } else if !said.message.is_empty() {
            let message = excerpt(said.message.as_bytes(), config);
            self.remark(&format!("the endpoint took all events, and says{message}"));
        } else if body.trim_ascii_start().starts_with(b"<") {
            self.remark(
                "the endpoint answered with a page of HTML: events may not arrive, is its address right (HH_API_URL, \
                 HH_OTLP_ENDPOINT)?",
            );
        }
    }

    pub(super) fn halve(&mut self, shipment: &Shipment, halves: [Batch; 2]) {
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
                uncompressed,
            });
            first += count;
        }
    }

    /// The fate of the records is known: their room is free again.
    pub(super) fn settle(&mut self, shipment: &Shipment) {
        self.open.remove(&shipment.first);
        self.shared
            .queue
            .release(shipment.batch.len(), shipment.cost);
    }

    pub(super) fn lose(&mut self, shipment: &Shipment, reason: DropReason, problem: &str) {
        let count = shipment.batch.len() as u64;
        self.shared.counters.drop(reason, count);
        self.settle(shipment);
        self.complain(&format!("{count} events were lost ({reason}): {problem}"));
    }

    pub(super) fn lose_update(&mut self, letter: &Letter, problem: &str) {
        self.letter_done(letter);
        self.shared
            .counters
            .updates_lost
            .fetch_add(1, Ordering::Relaxed);
        self.complain(&format!(
            "an update of a session or an event was lost: {problem}"
        ));
    }

    pub(super) fn skip_update(&mut self, letter: &Letter) {
        self.letter_done(letter);
        self.shared
            .counters
            .updates_sampled_out
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Tries again later, until it is too late.
    pub(super) fn put_back(&mut self, shipment: Shipment, hint: Option<Duration>, problem: &str) {
        let remaining = self.config.retry_give_up;
        let remaining = remaining.saturating_sub(shipment.since.elapsed());
        self.unreachable(problem);
        if self.traces.fail(hint, remaining, id::random()) {
            self.count_retry();
            self.returned.push_front(shipment);
        } else {
            self.keep_or_lose(&shipment, DropReason::Undeliverable, problem);
        }
    }

    pub(super) fn put_back_letter(
        &mut self,
        letter: Letter,
        hint: Option<Duration>,
        problem: &str,
    ) {
        let remaining = self.config.retry_give_up;
        let remaining = remaining.saturating_sub(letter.since.elapsed());
        lock(&self.shared.health).last_error = Some(problem.to_owned());
        if self.rest.fail(hint, remaining, id::random()) {
            self.count_retry();
            self.letters.push_front(letter);
        } else {
            self.keep_or_lose_update(&letter, problem);
        }
    }

    /// The place that was asked is silent. If there is no way to it, there is none to whatever else is there.
    pub(super) fn nobody_answered(&mut self, config: &Config, place: Place, failure: &Failure) {
        let connected = !failure.connect;
        let both = !connected && requests::is_one_place(config);
        if both {
            self.unreachable(&failure.reason);
        }
        let (asked, other) = match place {
            Place::Traces => (&mut self.traces, &mut self.rest),
            Place::Rest => (&mut self.rest, &mut self.traces),
        };
        asked.hush(connected);
        if both {
            other.follow(asked);
        }
    }

    pub(super) fn count_retry(&self) {
        self.shared.counters.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unreachable(&self, problem: &str) {
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
    }

    /// The endpoint answers; whether it did not before.
    pub(super) fn recovered(&mut self) -> bool {
        self.traces.succeed();
        // It waited for the same way.
        if self.rest.is_cut_off() && requests::is_one_place(&self.config) {
            self.rest.succeed();
        }
        let mut health = lock(&self.shared.health);
        health.refused = None;
        let down = health.unreachable.take().is_some();
        health.key_rejected.take().is_some() || down
    }

    pub(super) fn key_rejected(&mut self, status: u16) {
        self.key_pause = Some(Instant::now() + KEY_PROBE);
        let first = {
            let mut health = lock(&self.shared.health);
            health.last_error = Some(format!("status {status}"));
            // It answers.
            health.unreachable = None;
            health.key_rejected.replace(status).is_none()
        };
        if first {
            self.shared.log.warn(&format!(
                "the endpoint refused the API key (status {status}): nothing is sent until it accepts it (HH_API_KEY)"
            ));
        }
    }

    pub(super) fn letter_done(&mut self, letter: &Letter) {
        self.letters_done += 1;
        self.shared.updates.release(letter.update.bytes);
    }

    pub(super) fn updated(
        &mut self,
        letter: Letter,
        config: &Config,
        result: Result<Reply, Failure>,
    ) {
        let unanswered = result.as_ref().err().cloned();
        if transport::is_repeated(&result) {
            self.count_retry();
        }
        let (outcome, problem) = match result {
            Ok(reply) => (
                Outcome::Answered {
                    status: reply.status,
                    retry_after: reply.retry_after,
                },
                describe(&reply, config),
            ),
            Err(failure) => (Outcome::Failed, failure.reason),
        };
        match retry::verdict(&outcome, false) {
            Verdict::Delivered => {
                self.rest.succeed();
                if self.traces.is_cut_off() && requests::is_one_place(config) {
                    self.traces.succeed();
                    lock(&self.shared.health).unreachable = None;
                }
                self.letter_done(&letter);
                self.shared
                    .counters
                    .updates_sent
                    .fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Retry { .. } if self.is_stale(config) => {
                self.count_retry();
                self.letters.push_front(letter);
            }
            Verdict::Retry { after } => {
                self.put_back_letter(letter, after, &problem);
                if let Some(failure) = &unanswered {
                    self.nobody_answered(config, Place::Rest, failure);
                }
            }
            Verdict::Unauthorized if self.is_stale(config) => self.letters.push_front(letter),
            Verdict::Unauthorized if letter.since.elapsed() < self.config.retry_give_up => {
                if let Outcome::Answered { status, .. } = outcome {
                    self.key_rejected(status);
                }
                self.letters.push_front(letter);
            }
            Verdict::Unauthorized => self.keep_or_lose_update(&letter, &problem),
            _ => self.lose_update(&letter, &problem),
        }
    }

    /// Something was lost: said where it is the first of a series, which is summed up later.
    pub(super) fn complain(&self, problem: &str) {
        let first = self.shared.losses.open();
        self.say(problem, first);
    }

    /// Something is odd, and cost no event.
    pub(super) fn remark(&self, problem: &str) {
        let first = self.shared.complaints.open();
        self.say(problem, first);
    }

    fn say(&self, problem: &str, loudly: bool) {
        lock(&self.shared.health).last_error = Some(problem.to_owned());
        if loudly {
            self.shared.log.warn(problem);
        } else {
            self.shared.log.debug(|| problem.to_owned());
        }
    }
}
