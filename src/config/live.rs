//! A value that is swapped while others read it. Knows nothing of what the value is.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// A shared value; readers never wait, and each sees one value or the next as a whole.
#[derive(Debug)]
pub(crate) struct Live<T> {
    value: ArcSwap<T>,
}

impl<T> Live<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: ArcSwap::from_pointee(value),
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

    pub(crate) fn store(&self, value: T) {
        self.value.store(Arc::new(value));
    }
}
