//! Those who wait: flushes are answered when the fate of their records is known, and a stop ends the worker.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Answer, Flush, Stop, Worker};
use crate::error::{Error, Kind, Left};
use crate::export::report::{DropReason, FlushReport};
use crate::export::{ENDED, FAILED, failed};
use crate::sync::lock;

impl Worker {
    pub(super) fn begin_flush(&mut self, pending: Answer) {
        self.take_records();
        self.hurry();
        let (exported, failed) = self.shared.counters.progress();
        self.flushes.push(Flush {
            pending,
            records: self.taken,
            updates: self.letters_taken,
            exported,
            failed,
        });
    }

    pub(super) fn begin_stop(
        &mut self,
        deadline: Instant,
        (exported, failed): (u64, u64),
        pending: Option<Answer>,
    ) {
        self.take_records();
        self.hurry();
        let stop = self.stop.get_or_insert(Stop {
            deadline,
            patient_until: deadline,
            waiting: Vec::new(),
            exported,
            failed,
        });
        stop.deadline = deadline;
        let now = Instant::now();
        stop.patient_until = now + deadline.saturating_duration_since(now) / 2;
        stop.waiting.extend(pending);
        self.stop_spool(deadline);
    }

    /// The smallest number of a record whose fate is open.
    pub(super) fn settled_up_to(&self) -> u64 {
        self.open
            .first()
            .copied()
            .unwrap_or(self.batched)
            .min(self.batched)
    }

    pub(super) fn answer_flushes(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let settled = self.settled_up_to();
        let updates = self.letters_done;
        let (exported, failed) = self.shared.counters.progress();
        let rejected = lock(&self.shared.health).key_rejected;
        let left = self.shared.queue.usage().0 as u64;
        let blocked = self.nothing_away();
        self.flushes.retain(|flush| {
            if flush.pending.is_settled() {
                return false;
            }
            let report = FlushReport {
                sent: exported - flush.exported,
                failed: failed - flush.failed,
                ..FlushReport::default()
            };
            if settled >= flush.records && updates >= flush.updates {
                flush.pending.settle(if report.failed == 0 {
                    Ok(report)
                } else {
                    Err(undelivered(Kind::Delivery, report, LOST))
                });
                return false;
            }
            if let Some(status) = rejected
                && blocked
            {
                let report = FlushReport { left, ..report };
                let why = refused(status);
                flush
                    .pending
                    .settle(Err(undelivered(Kind::Delivery, report, &why)));
                return false;
            }
            true
        });
    }

    /// Whether a stop was asked for and there is nothing left to do, or no time to do it.
    pub(super) fn is_over(&self) -> bool {
        let Some(stop) = &self.stop else {
            return false;
        };
        let idle = self.settled_up_to() >= self.taken
            && self.letters.is_empty()
            && self.staged.is_none()
            && self.nothing_away()
            && !self.is_replaying();
        let hopeless = self.nothing_away() && lock(&self.shared.health).key_rejected.is_some();
        idle || hopeless || self.ends_on_disk(stop) || Instant::now() >= stop.deadline
    }

    /// Whether nothing is on its way that anybody waits for.
    fn nothing_away(&self) -> bool {
        self.tasks.len() <= self.beside
    }

    /// Counts what did not get out, and tells who waits.
    pub(super) fn end(mut self) {
        self.keep_rest();
        self.close_spool();
        self.shared.worker.store(ENDED, Ordering::Release);
        let (exported, failed) = self.shared.counters.progress();
        let left = self.shared.abandon(DropReason::Shutdown);
        self.sum_losses_up();
        let Some(stop) = self.stop.take() else {
            return;
        };
        let late = Instant::now() >= stop.deadline;
        let rejected = lock(&self.shared.health).key_rejected;
        let answer = |since: (u64, u64)| {
            let report = FlushReport {
                sent: exported.saturating_sub(since.0),
                failed: failed.saturating_sub(since.1),
                left,
                ..FlushReport::default()
            };
            if left > 0 && late {
                Err(undelivered(Kind::Timeout, report, ENDED_LATE))
            } else if let (Some(status), true) = (rejected, left > 0) {
                let why = format!("{}; what waited is lost with the end", refused(status));
                Err(undelivered(Kind::Delivery, report, &why))
            } else if left > 0 || report.failed > 0 {
                Err(undelivered(Kind::Delivery, report, LOST))
            } else {
                Ok(report)
            }
        };
        for flush in &self.flushes {
            flush.pending.settle(answer((flush.exported, flush.failed)));
        }
        for pending in &stop.waiting {
            pending.settle(answer((stop.exported, stop.failed)));
        }
        self.tasks.abort_all();
    }
}

/// A worker that panics answers those who wait at once; one that has ended has done so already.
impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.worker.store(FAILED, Ordering::Release);
            self.shared.abandon(DropReason::WorkerFailed);
        }
        let flushes = self.flushes.drain(..).map(|flush| flush.pending);
        let stops = self.stop.take().into_iter().flat_map(|stop| stop.waiting);
        for pending in flushes.chain(stops) {
            pending.settle(Err(failed()));
        }
    }
}

const ENDED_LATE: &str = "out of time; what waited is lost with the end";
const LOST: &str = "the endpoint refused them or they were lost";

fn refused(status: u16) -> String {
    format!("the endpoint refused the API key (status {status})")
}

fn undelivered(kind: Kind, report: FlushReport, why: &str) -> Error {
    let FlushReport {
        sent, failed, left, ..
    } = report;
    Error::new(
        kind,
        format!("not all events were delivered: {sent} sent, {failed} lost, {left} waiting: {why}"),
    )
    .with_report(Left {
        sent,
        failed,
        left,
        ..Left::default()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::config::live::Live;
    use crate::environment::Environment;
    use crate::export::{Exporter, Pending};
    use crate::id::SessionId;

    #[test]
    fn a_worker_that_panics_answers_those_who_wait() {
        let config = Arc::new(Live::new(Config::default()));
        let strategy = Environment::Standard.strategy();
        let exporter = Exporter::new(1, config, strategy, SessionId::random());
        let shared = Arc::clone(&exporter.shared);
        let (flush, stop) = (Pending::new(), Pending::new());
        let far = Instant::now() + Duration::from_secs(60);
        let thread = {
            let (flush, stop) = (Arc::clone(&flush), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut worker = Worker::new(shared);
                worker.begin_flush(flush);
                worker.begin_stop(far, (0, 0), Some(stop));
                std::panic::resume_unwind(Box::new("in the worker"));
            })
        };
        for pending in [flush, stop] {
            let answer = pending.wait(far).expect("an answer before the deadline");
            assert!(answer.unwrap_err().is_delivery());
        }
        assert!(thread.join().is_err());
        assert_eq!(exporter.shared.worker.load(Ordering::Acquire), FAILED);
        assert!(exporter.end(Duration::ZERO, (0, 0)).is_ok());
    }
}
