//! Locks that a panic elsewhere cannot poison, panics of user code that end with it, and a gate that opens once per
//! interval. Knows nothing of the rest.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks whether or not a thread panicked while it held the lock: what we keep under locks is whole at every step.
#[cfg(not(shuttle))]
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(shuttle)]
pub(crate) use modelled::lock;

/// What the hand-over of records is made of: the standard library's, or those of a scheduler that tries the ways in
/// which threads may meet (`--cfg shuttle`). The rest of the crate does not need to know.
#[cfg(not(shuttle))]
pub(crate) mod model {
    pub(crate) use std::sync::{Condvar, Mutex, atomic};
    pub(crate) use std::{thread, thread_local};
}

#[cfg(shuttle)]
pub(crate) mod model {
    pub(crate) use shuttle::sync::{Condvar, Mutex, atomic};
    pub(crate) use shuttle::{thread, thread_local};
}

/// Locks of both kinds: most of the crate is not modelled.
#[cfg(shuttle)]
mod modelled {
    use super::{Mutex, MutexGuard, PoisonError};

    pub(crate) trait Lock {
        type Guard<'a>
        where
            Self: 'a;
        fn guard(&self) -> Self::Guard<'_>;
    }

    impl<T: ?Sized> Lock for Mutex<T> {
        type Guard<'a>
            = MutexGuard<'a, T>
        where
            T: 'a;

        fn guard(&self) -> Self::Guard<'_> {
            self.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl<T: ?Sized> Lock for shuttle::sync::Mutex<T> {
        type Guard<'a>
            = shuttle::sync::MutexGuard<'a, T>
        where
            T: 'a;

        fn guard(&self) -> Self::Guard<'_> {
            self.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    pub(crate) fn lock<M: Lock + ?Sized>(mutex: &M) -> M::Guard<'_> {
        mutex.guard()
    }
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

/// One at a time; whoever waits for its turn waits no longer than it wants to.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

/// It is the holder's turn until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'a>(&'a Turn);

impl Turn {
    pub(crate) fn take(&self, patience: Duration) -> Option<Taken<'_>> {
        let taken = lock(&self.taken);
        let mut taken = self
            .free
            .wait_timeout_while(taken, patience, |taken| *taken)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        if *taken {
            return None;
        }
        *taken = true;
        Some(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *lock(&self.0.taken) = false;
        self.0.free.notify_one();
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
    fn turns_are_taken_one_after_the_other() {
        let turn = Turn::default();
        let taken = turn.take(Duration::ZERO).unwrap();
        assert!(turn.take(Duration::from_millis(5)).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turn.take(Duration::from_secs(60)).is_some());
            drop(taken);
            assert!(waiting.join().unwrap());
        });
        assert!(turn.take(Duration::ZERO).is_some());
    }

    #[test]
    fn a_gate_opens_once_per_interval() {
        let gate = Gate::new(Duration::from_secs(3600));
        assert!(gate.open());
        assert!(!gate.open());
    }
}
