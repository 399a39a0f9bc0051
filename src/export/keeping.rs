//! What the handle has to do with the spool. Knows the worker's commands, not files.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{ASLEEP, Command, Exporter, Pending, deadline, spool};

impl Exporter {
    /// Whether what cannot be delivered is kept.
    pub(crate) fn keeps(&self) -> bool {
        spool::wanted(&self.shared.config.load()).is_some()
    }

    /// A flush is as good a reason as a record to deliver what was kept.
    pub(super) fn start_for_spool(&self) {
        if self.shared.worker.load(Ordering::Acquire) == ASLEEP && self.keeps() {
            self.start();
        }
    }

    /// The program may be about to end: delivers what can be delivered in three quarters of the flush timeout, and keeps
    /// the rest.
    pub(crate) fn flush_or_keep(self: &Arc<Self>) {
        let started = Instant::now();
        let configured = self.shared.config.load().flush_timeout;
        let timeout = configured.unwrap_or(self.shared.strategy.flush_timeout);
        let nothing = || {
            self.shared.queue.is_empty() && self.shared.updates.count.load(Ordering::Acquire) == 0
        };
        if !self.is_running() || nothing() {
            return;
        }
        if !self.flush_is_futile() && !timeout.is_zero() {
            let flushed = self.begin_flush(timeout - timeout / 4).wait_blocking();
            if flushed.is_ok() || nothing() {
                return;
            }
        }
        let pending = Pending::new();
        self.command(Command::Keep(Arc::clone(&pending)));
        let _ = pending.wait(deadline(started, timeout));
        let left = self.shared.queue.usage().0;
        if left > 0 {
            self.log().warn(&format!(
                "{left} events are still waiting, neither delivered nor kept"
            ));
        }
    }
}
