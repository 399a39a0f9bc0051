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
        if let Some(copy) = self.here() {
            return copy.flush_or_keep();
        }
        let started = Instant::now();
        let timeout = self.shared.config.load().flush_timeout();
        let nothing = || {
            self.shared.queue.is_empty() && self.shared.updates.count.load(Ordering::Acquire) == 0
        };
        if !self.is_running() || nothing() {
            return;
        }
        if !self.flush_is_futile() && !timeout.is_zero() {
            // What it says depends on how much the caller wants to be told.
            let _ = self.begin_flush(timeout - timeout / 4).wait_blocking();
            if nothing() {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{assert_balanced, record};
    use super::*;
    use crate::config::Config;
    use crate::config::live::Live;
    use crate::environment::Environment;
    use crate::id::SessionId;

    #[test]
    fn deadlines_hold_while_the_disk_hangs() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = nobody.local_addr().unwrap();
        drop(nobody);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(spool::tests::HANGS);
        let config = Config {
            server_url: format!("http://{address}"),
            server_url_is_default: false,
            spool_dir: Some(path.to_str().unwrap().to_owned()),
            ..Config::default()
        };
        let strategy = Environment::Standard.strategy();
        let session = SessionId::random();
        let exporter = Exporter::new(1, Arc::new(Live::new(config)), strategy, session);
        let exporter = Arc::new(exporter);
        exporter.submit(&record());
        let timeout = Duration::from_millis(300);
        let slack = Duration::from_millis(700);
        let started = Instant::now();
        let error = exporter.begin_flush(timeout).wait_blocking().unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(
            started.elapsed() < timeout + slack,
            "{:?}",
            started.elapsed()
        );
        let started = Instant::now();
        let error = exporter.end(timeout, (0, 0)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(
            started.elapsed() < timeout + slack,
            "{:?}",
            started.elapsed()
        );
        assert_balanced(&exporter.stats());
        // It arrives in the end.
        let deadline = Instant::now() + Duration::from_secs(20);
        while exporter.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let stats = exporter.stats();
        assert_eq!((stats.spooled, stats.in_flight), (1, 0), "{stats:?}");
    }
}
