//! AWS Lambda: a tower layer that delivers at the end of an invocation, before the process is frozen. Knows the handle of
//! an instance, not the runtime it runs in: that is told how to read a deadline.
//!
//! ```
//! # mod lambda_runtime { pub struct Context; impl Context { pub fn deadline(&self) -> std::time::SystemTime { todo!() } }
//! # pub struct LambdaInvocation { pub context: Context } }
//! use honeyhive::lambda::FlushLayer;
//! use lambda_runtime::LambdaInvocation;
//!
//! # let honeyhive = honeyhive::HoneyHive::builder().test_mode(true).build()?;
//! let flush = FlushLayer::new(&honeyhive, |invocation: &LambdaInvocation| invocation.context.deadline());
//! // lambda_runtime::Runtime::new(handler).layer(TracingLayer::new()).layer(flush).run().await
//! # let _ = flush;
//! # Ok::<(), honeyhive::Error>(())
//! ```
//!
//! See [`docs::lambda`](crate::docs::lambda). Needs the feature `lambda`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::lifecycle::HoneyHive;
use crate::registry::Instance;
use crate::sync::contained;

/// What of an invocation's time is left alone: the runtime has to say that it is done.
pub const MARGIN: Duration = Duration::from_millis(200);

/// A tower layer that flushes when an invocation is over: after the service below it has answered and its future, with the
/// spans it holds, has been dropped.
///
/// It waits at most for the flush timeout ([`Builder::flush_timeout`](crate::Builder::flush_timeout); 2 s on Lambda), and
/// at most until [`MARGIN`] before the invocation's deadline; with less time left it only asks for the flush. What could not
/// be sent goes out with the next invocation. A flush that fails is no failure of the invocation.
///
/// Add it last, so that it is outside of whatever opens the span of the invocation:
/// `Runtime::new(handler).layer(TracingLayer::new()).layer(FlushLayer::new(..))`. The response has been handed over by
/// then, so the caller does not wait for the flush.
#[derive(Clone)]
pub struct FlushLayer<D> {
    instance: Instance,
    flush_timeout: Option<Duration>,
    deadline: D,
}

impl<D> FlushLayer<D> {
    /// A layer for services whose requests `deadline` knows how to read: `|invocation: &LambdaInvocation|
    /// invocation.context.deadline()`, or, around the handler itself, `|event: &LambdaEvent<Request>|
    /// event.context.deadline()`.
    pub fn new<R>(honeyhive: &HoneyHive, deadline: D) -> Self
    where
        D: Fn(&R) -> SystemTime,
    {
        Self {
            instance: honeyhive.instance(),
            flush_timeout: None,
            deadline,
        }
    }

    /// Waits at most so long, in place of the instance's flush timeout.
    #[must_use]
    pub fn flush_timeout(mut self, timeout: Duration) -> Self {
        self.flush_timeout = Some(timeout);
        self
    }
}

impl<D> fmt::Debug for FlushLayer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushLayer")
            .field("instance", &self.instance)
            .field("flush_timeout", &self.flush_timeout)
            .finish_non_exhaustive()
    }
}

impl<S, D: Clone> Layer<S> for FlushLayer<D> {
    type Service = FlushService<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        FlushService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that [`FlushLayer`] makes.
#[derive(Clone, Debug)]
pub struct FlushService<S, D> {
    inner: S,
    layer: FlushLayer<D>,
}

impl<S, D, R> Service<R> for FlushService<S, D>
where
    S: Service<R>,
    D: Fn(&R) -> SystemTime,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FlushFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let deadline = contained(|| (self.layer.deadline)(&request)).ok();
        FlushFuture {
            instance: self.layer.instance.clone(),
            flush_timeout: self.layer.flush_timeout,
            deadline,
            inner: Some(self.inner.call(request)),
            flushing: None,
        }
    }
}

pin_project! {
    /// The future of [`FlushService`]: that of the service below it, and then the flush.
    pub struct FlushFuture<F> where F: Future {
        instance: Instance,
        flush_timeout: Option<Duration>,
        deadline: Option<SystemTime>,
        #[pin]
        inner: Option<F>,
        flushing: Option<(Flush, F::Output)>,
    }
}

type Flush = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<F: Future> Future for FlushFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if let Some(inner) = this.inner.as_mut().as_pin_mut() {
            let output = ready!(inner.poll(cx));
            // The spans that the future holds close here.
            this.inner.set(None);
            let left = this.deadline.map(|deadline| {
                let left = deadline.duration_since(SystemTime::now());
                left.unwrap_or_default().saturating_sub(MARGIN)
            });
            let flush = flush(this.instance, *this.flush_timeout, left);
            *this.flushing = Some((flush, output));
        }
        if let Some((flush, _)) = this.flushing {
            ready!(flush.as_mut().poll(cx));
        }
        match this.flushing.take() {
            Some((_, output)) => Poll::Ready(output),
            // Polled once more after its end.
            None => Poll::Pending,
        }
    }
}

/// While the endpoint is known to be unreachable an invocation waits no longer than this: long enough to notice that it is
/// back.
const PROBE: Duration = Duration::from_millis(500);

/// Flushes within the time that is left of the invocation, if that is known.
fn flush(instance: &Instance, timeout: Option<Duration>, left: Option<Duration>) -> Flush {
    let Some(exporter) = instance.exporter() else {
        return Box::pin(std::future::ready(()));
    };
    let timeout = timeout.unwrap_or_else(|| exporter.config().flush_timeout());
    let mut limit = timeout.min(left.unwrap_or(timeout));
    if exporter.why_futile().is_some() {
        limit = limit.min(PROBE);
    }
    let flushing = exporter.begin_flush(limit);
    Box::pin(async move {
        if limit.is_zero() {
            return;
        }
        if let Err(error) = flushing.wait().await {
            let say = || format!("at the end of an invocation: {error}");
            exporter.log().debug(say);
        }
    })
}

impl<F: Future> fmt::Debug for FlushFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushFuture")
            .field("instance", &self.instance)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
