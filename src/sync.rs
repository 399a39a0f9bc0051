//! Locks that a panic elsewhere cannot poison, panics of user code that end with it, and a gate that opens once per
//! interval. Knows nothing of the rest.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks whether or not a thread panicked while it held the lock: what we keep under locks is whole at every step.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static CONTAINED: Cell<u32> = const { Cell::new(0) };
}

/// Runs user code whose panic ends here: it is no end of anything, so the panic hook leaves it alone.
pub(crate) fn contained<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
    let count = |by: fn(u32) -> u32| {
        let _ = CONTAINED.try_with(|depth| depth.set(by(depth.get())));
    };
    count(|depth| depth.saturating_add(1));
    let result = catch_unwind(AssertUnwindSafe(f));
    count(|depth| depth.saturating_sub(1));
    result
}

/// Whether this thread runs user code whose panics are caught.
pub(crate) fn is_contained() -> bool {
    CONTAINED.try_with(|depth| depth.get() > 0).unwrap_or(false)
}

/// Opens at most once per interval, for warnings that must not flood.
#[derive(Debug)]
pub(crate) struct Gate {
    interval: Duration,
    /// Milliseconds since `start()` at which it opens again, plus one; zero: never opened.
    next: AtomicU64,
}

impl Gate {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self {
            interval,
            next: AtomicU64::new(0),
        }
    }

    /// Whether the caller may pass; the next one may after the interval.
    pub(crate) fn open(&self) -> bool {
        let now = u64::try_from(start().elapsed().as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        if next > now.saturating_add(1) {
            return false;
        }
        let interval = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let after = now.saturating_add(1).saturating_add(interval.max(1));
        self.next
            .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

fn start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_once_per_interval() {
        let gate = Gate::new(Duration::from_secs(3600));
        assert!(gate.open());
        assert!(!gate.open());
    }
}
