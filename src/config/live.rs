//! A value that is swapped while others read it. Knows nothing of what the value is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};

/// A shared value with a generation, for readers that keep something derived from it.
///
/// Read the generation first and the value after: what a swap in between leaves behind is a new value under an
/// old generation, which the reader derives once more, and never an old value under a new one.
#[derive(Debug)]
pub(crate) struct Live<T> {
    value: ArcSwap<T>,
    generation: AtomicU64,
}

impl<T> Live<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: ArcSwap::from_pointee(value),
            generation: AtomicU64::new(0),
        }
    }

    /// The value of this moment. Short-lived: a guard that is kept makes later reads slower.
    pub(crate) fn load(&self) -> Guard<Arc<T>> {
        self.value.load()
    }

    /// The value of this moment, to keep.
    pub(crate) fn load_full(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Swaps the value and returns the new generation.
    pub(crate) fn store(&self, value: T) -> u64 {
        self.value.store(Arc::new(value));
        self.generation
            .fetch_add(1, Ordering::AcqRel)
            .wrapping_add(1)
    }

    /// How many times the value was swapped.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_seen_and_counted() {
        let live = Live::new(1);
        assert_eq!((live.generation(), **live.load()), (0, 1));
        let kept = live.load_full();
        assert_eq!(live.store(2), 1);
        assert_eq!((live.generation(), **live.load(), *kept), (1, 2, 1));
    }

    #[test]
    fn a_new_generation_never_shows_an_old_value() {
        let live = Live::new(0_u64);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for value in 1..=10_000 {
                    live.store(value);
                }
            });
            for _ in 0..10_000 {
                let generation = live.generation();
                assert!(**live.load() >= generation);
            }
        });
    }
}
