//! The exporter of a copy of the process, as a fork makes one. Knows the handle and its state, not how a fork is found.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::losses::Losses;
use super::queue::Queue;
use super::{ASLEEP, Counters, ENDED, Exporter, Health, Shared, Waiting, bounds};
use crate::sync::Gate;
use crate::sync::model::Mutex;
use crate::sync::model::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::{clock, fork};

impl Exporter {
    /// What takes its place if this process is a copy of the one it was made in. Asks for the process id.
    pub(super) fn here(&self) -> Option<&Arc<Self>> {
        fork::look(clock::ticks());
        self.moved()
    }

    /// As [`here`](Self::here), if it has been asked since the fork: the first span of a copy asks.
    pub(super) fn moved(&self) -> Option<&Arc<Self>> {
        if fork::generation() == self.shared.generation {
            return None;
        }
        Some(self.follow())
    }

    #[cold]
    fn follow(&self) -> &Arc<Self> {
        let copy = self.copy.get_or_init(|| Arc::new(self.copied()));
        copy.moved().unwrap_or(copy)
    }

    /// One that has the same settings and nothing to send: neither the threads of the process that forked are here, nor
    /// the state of what they were doing.
    fn copied(&self) -> Self {
        let old = &self.shared;
        let generation = fork::generation();
        let worker = match old.worker.load(Ordering::Acquire) {
            ENDED => ENDED,
            _ => ASLEEP,
        };
        Self {
            copy: OnceLock::new(),
            shared: Arc::new(Shared {
                instance: old.instance,
                queue: Queue::new(
                    old.instance | u64::from(generation) << 32,
                    bounds(&old.config.load()),
                ),
                config: Arc::clone(&old.config),
                strategy: old.strategy.clone(),
                scope: old.scope.clone(),
                session: old.session,
                started: old.started,
                inbox: Mutex::new(VecDeque::new()),
                updates: Waiting::default(),
                notify: Notify::new(),
                counters: Counters::default(),
                log: old.log.copied(),
                worker: AtomicU8::new(worker),
                orphaned: AtomicBool::new(old.orphaned.load(Ordering::Relaxed)),
                health: Mutex::new(Health::default()),
                losses: Losses::default(),
                complaints: Gate::new(Duration::from_secs(60)),
                generation,
                since: fork::since(),
                #[cfg(feature = "testing")]
                tape: old.tape.clone(),
            }),
        }
    }
}
