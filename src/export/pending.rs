//! A result that one thread waits for and another one brings, or a deadline does. Knows nothing of what is waited
//! for.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::sync::lock;
use crate::sync::model::{Condvar, Mutex, thread};

/// Both ends share it.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    result: Option<T>,
    settled: bool,
    waker: Option<Waker>,
}

impl<T> Pending<T> {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            result: None,
            settled: false,
            waker: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// Brings the result; the first one counts.
    pub(crate) fn settle(&self, result: T) {
        let mut state = lock(&self.state);
        if state.settled {
            return;
        }
        state.settled = true;
        state.result = Some(result);
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        lock(&self.state).settled
    }

    /// Waits until there is a result or the deadline passes.
    pub(crate) fn wait(&self, deadline: Instant) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if let Some(result) = state.result.take() {
                return Some(result);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                state.settled = true;
                return None;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits without blocking. The deadline depends on no runtime: a short-lived thread watches it.
    pub(crate) async fn wait_async(self: &Arc<Self>, deadline: Instant) -> Option<T>
    where
        T: Send + 'static,
    {
        if !self.is_settled() {
            let watched = Arc::clone(self);
            let spawned = thread::Builder::new()
                .name("honeyhive-deadline".to_owned())
                .spawn(move || watched.watch(deadline));
            if spawned.is_err() {
                // Without a watch nothing would end the wait: whatever there is by now is the answer.
                return lock(&self.state).result.take();
            }
        }
        Settled(self).await
    }

    fn watch(&self, deadline: Instant) {
        let mut state = lock(&self.state);
        while !state.settled {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                state.settled = true;
                if let Some(waker) = state.waker.take() {
                    drop(state);
                    waker.wake();
                }
                return;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Nobody waits any more.
    pub(crate) fn abandon(&self) {
        lock(&self.state).settled = true;
        self.changed.notify_all();
    }
}

struct Settled<'a, T>(&'a Pending<T>);

impl<T> Future for Settled<'_, T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0.state);
        if state.settled {
            return Poll::Ready(state.result.take());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Settled<'_, T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_ends_the_wait() {
        let pending = Pending::<u8>::new();
        assert_eq!(
            pending.wait(Instant::now() + Duration::from_millis(5)),
            None
        );
        pending.settle(1);
        assert_eq!(
            pending.wait(Instant::now() + Duration::from_millis(5)),
            None
        );
    }

    #[test]
    fn a_result_is_brought_across_threads() {
        let pending = Pending::new();
        let other = Arc::clone(&pending);
        let thread = std::thread::spawn(move || other.settle(7));
        assert_eq!(
            pending.wait(Instant::now() + Duration::from_secs(10)),
            Some(7)
        );
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn waiting_needs_no_timer_of_the_runtime() {
        let pending = Pending::<u8>::new();
        assert_eq!(
            pending
                .wait_async(Instant::now() + Duration::from_millis(5))
                .await,
            None
        );
        let pending = Pending::new();
        pending.settle(3);
        assert_eq!(
            pending
                .wait_async(Instant::now() + Duration::from_secs(10))
                .await,
            Some(3)
        );
    }
}
