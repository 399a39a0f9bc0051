//! Running code in a context: blocks, futures and streams. Knows frames and spans, not where they come from.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tracing::span::{EnteredSpan, Id};
use tracing::{Span, dispatcher};

use crate::context::{self, Frame};

/// What is put in force while something runs.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) frames: Arc<[Frame]>,
    /// Entered before the frames are.
    pub(super) span: Option<Span>,
}

impl Surroundings {
    fn push(&self) -> context::Entered {
        let current = dispatcher::get_default(|dispatch| {
            dispatch.current_span().id().map_or(0, Id::into_u64)
        });
        let frames = self.frames.iter().cloned().map(|mut frame| {
            // A frame that stood on no span stands on whatever is current where it is entered; but not on the span that
            // was entered after it.
            if frame.base == 0 && self.span.is_none() {
                frame.base = current;
            }
            frame
        });
        context::push_all(frames)
    }

    fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let _span = self.span.as_ref().map(Span::enter);
        let _entered = self.push();
        f()
    }

    pub(super) fn enter(&self) -> ContextGuard {
        let span = self.span.clone().map(Span::entered);
        ContextGuard {
            _entered: self.push(),
            _span: span,
            _not_send: PhantomData,
        }
    }

    pub(super) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.run(f)
    }

    pub(super) fn scope<T>(&self, inner: T) -> InContext<T> {
        InContext {
            inner: Some(inner),
            surroundings: self.clone(),
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("frames", &self.frames.len())
            .field("span", &self.span.as_ref().and_then(Span::id))
            .finish()
    }
}

/// A context entered on this thread; dropping it leaves the context. For synchronous code: across an `.await` it would
/// name the wrong code.
#[must_use = "the context is left when the guard is dropped"]
pub struct ContextGuard {
    // In this order: the frames stand on the span.
    _entered: context::Entered,
    _span: Option<EnteredSpan>,
    _not_send: PhantomData<*const ()>,
}

impl fmt::Debug for ContextGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextGuard").finish_non_exhaustive()
    }
}

pin_project! {
    /// A future or a stream that runs in a context: while it is polled, and while it is dropped.
    #[derive(Debug)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct InContext<T> {
        #[pin]
        inner: Option<T>,
        surroundings: Surroundings,
    }

    impl<T> PinnedDrop for InContext<T> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.is_some() {
                this.surroundings.run(|| this.inner.set(None));
            }
        }
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => this.surroundings.run(|| inner.poll(cx)),
            // Not reachable: it is taken out only when this is dropped.
            None => Poll::Pending,
        }
    }
}

impl<S: Stream> Stream for InContext<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => this.surroundings.run(|| inner.poll_next(cx)),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), S::size_hint)
    }
}

/// What HoneyHive adds to futures and streams.
pub trait ContextExt: Sized {
    /// Carries the current context (span, session, baggage, remote parent) into a future or a stream that will run
    /// elsewhere, such as a spawned task.
    ///
    /// ```
    /// use honeyhive::propagation::ContextExt as _;
    ///
    /// # async fn work() {}
    /// # async fn example() {
    /// tokio::spawn(work().in_current_context());
    /// # }
    /// ```
    fn in_current_context(self) -> InContext<Self> {
        super::Context::current().scope(self)
    }
}

impl<T> ContextExt for T {}
