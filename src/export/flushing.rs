//! Flushes and the end, as those see them who ask and wait for them. Knows the handle, not the worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::report::FlushReport;
use super::{ASLEEP, Command, ENDED, Exporter, FAILED, GRACE, Pending, RUNNING, deadline, failed};
use crate::config::ResilienceLevel;
use crate::error::{Error, Kind, Left};
use crate::sync::lock;
use crate::sync::model::atomic::Ordering;

/// A flush under way.
#[derive(Debug)]
pub(crate) struct Flushing {
    pub(super) exporter: Arc<Exporter>,
    /// Nothing, when there is nothing to send or nobody to send it.
    pub(super) pending: Option<Arc<Pending<Result<FlushReport, Error>>>>,
    pub(super) started: Instant,
    pub(super) timeout: Duration,
    pub(super) before: (u64, u64),
    pub(super) kept: u64,
}

impl Flushing {
    pub(crate) async fn wait(self) -> Result<FlushReport, Error> {
        let Some(pending) = &self.pending else {
            return Ok(FlushReport::default());
        };
        let result = pending
            .wait_async(deadline(self.started, self.timeout))
            .await;
        let result = self
            .exporter
            .flushed(result, self.started, self.timeout, self.before);
        self.exporter.with_spooled(result, self.kept)
    }

    pub(crate) fn wait_blocking(self) -> Result<FlushReport, Error> {
        let Some(pending) = &self.pending else {
            return Ok(FlushReport::default());
        };
        let result = pending.wait(deadline(self.started, self.timeout));
        let result = self
            .exporter
            .flushed(result, self.started, self.timeout, self.before);
        self.exporter.with_spooled(result, self.kept)
    }
}

impl Drop for Flushing {
    /// Whoever stops waiting is forgotten; what was asked for is done.
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            pending.abandon();
        }
    }
}

impl Exporter {
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
        (left > 0).then(|| format!("{left} events are still waiting and not delivered, and lost if the program ends now: {why}"))
    }
}
