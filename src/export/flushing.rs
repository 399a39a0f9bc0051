//! A flush that somebody asked for and waits for, in either way. Knows the handle, not the worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::report::FlushReport;
use super::{Exporter, Pending, deadline};
use crate::error::Error;

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
