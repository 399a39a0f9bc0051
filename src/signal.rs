//! The end that the system asks for: SIGTERM and SIGINT, as Kubernetes, service managers and a terminal send them. Knows
//! the owner of an instance, not what the application does when it ends.
//!
//! A service stops taking requests, finishes those it has, and then ends its instance; so the signal is something to wait
//! for, and what ends the process stays the application's, with its exit code:
//!
//! ```no_run
//! # async fn serve(until: impl Future) {}
//! #[tokio::main]
//! async fn main() -> Result<(), honeyhive::Error> {
//!     let honeyhive = honeyhive::HoneyHive::from_env()?;
//!     let termination = honeyhive::signal::termination()?;
//!     serve(termination).await; // until then, and for as long as open requests take
//!     let timeout = std::time::Duration::from_secs(5);
//!     honeyhive.shutdown(timeout).await.map(|_| ()) // or drop it
//! }
//! ```
//!
//! See [`docs::kubernetes`](crate::docs::kubernetes). Needs the feature `signal`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::{Error, Kind};
use crate::export::Pending;
use crate::export::report::FlushReport;
use crate::lifecycle::HoneyHive;
use crate::log::quiet;
use crate::registry;

/// What ended the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGTERM; on Windows, the console is closed or the system shuts down.
    Terminate,
    /// SIGINT; on Windows, Ctrl-C or Ctrl-Break.
    Interrupt,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// Waits for the next SIGTERM or SIGINT, from now on: a signal that comes before it is awaited is not missed.
///
/// From the first call on these signals do not end the process by themselves any more, not even when nobody waits: ending
/// is up to the application. When the signal comes, all live instances begin to send what they have queued, so that less
/// is left for the end.
///
/// # Errors
///
/// The system refused the thread or the handler ([`Error::is_io`]).
pub fn termination() -> Result<Termination, Error> {
    let shared = Arc::new(Shared {
        heard: Pending::new(),
        given_up: Notify::new(),
    });
    let listening = Arc::clone(&shared);
    let (ready, started) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("honeyhive-signal".to_owned())
        .spawn(move || {
            let _quiet = quiet();
            listen(&listening, &ready);
        });
    // The handlers are in place when this returns.
    let started = thread.and_then(|_| {
        let patience = Duration::from_secs(5);
        started
            .recv_timeout(patience)
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    });
    started.map_err(|error| {
        let message = format!("cannot wait for signals: {error}");
        Error::new(Kind::Io, message)
    })?;
    Ok(Termination { shared })
}

struct Shared {
    heard: Arc<Pending<Signal>>,
    given_up: Notify,
}

/// A wait for SIGTERM or SIGINT; made by [`termination`]. A future for any runtime, or [`wait`](Self::wait).
#[must_use = "it does nothing unless it is awaited"]
pub struct Termination {
    shared: Arc<Shared>,
}

impl Termination {
    /// Blocks until the signal comes, for programs that are not async.
    #[must_use]
    pub fn wait(self) -> Signal {
        loop {
            let far = std::time::Instant::now() + Duration::from_secs(86_400);
            // The answer stays away only when the day is over.
            if let Some(signal) = self.shared.heard.peek(far) {
                return signal;
            }
        }
    }
}

impl Future for Termination {
    type Output = Signal;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Signal> {
        self.shared.heard.poll(cx)
    }
}

impl Drop for Termination {
    fn drop(&mut self) {
        self.shared.given_up.notify_one();
    }
}

impl fmt::Debug for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Termination").finish_non_exhaustive()
    }
}

/// On a thread and a runtime of its own, so that the application needs neither.
fn listen(shared: &Shared, ready: &mpsc::SyncSender<io::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let heard = runtime.block_on(async {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                let _ = ready.send(Err(error));
                return None;
            }
        };
        let _ = ready.send(Ok(()));
        let mut given_up = pin!(shared.given_up.notified());
        poll_fn(|cx| {
            if let Poll::Ready(signal) = signals.poll(cx) {
                return Poll::Ready(Some(signal));
            }
            given_up.as_mut().poll(cx).map(|()| None)
        })
        .await
    });
    if let Some(signal) = heard {
        for exporter in registry::all() {
            drop(exporter.begin_flush(Duration::ZERO));
        }
        shared.heard.settle(signal);
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        if self.terminate.poll_recv(cx).is_ready() {
            return Poll::Ready(Signal::Terminate);
        }
        self.interrupt.poll_recv(cx).map(|_| Signal::Interrupt)
    }
}

#[cfg(windows)]
struct Signals {
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
    c: tokio::signal::windows::CtrlC,
    interrupt: tokio::signal::windows::CtrlBreak,
}

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};

        Ok(Self {
            close: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
            c: ctrl_c()?,
            interrupt: ctrl_break()?,
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        if self.close.poll_recv(cx).is_ready() || self.shutdown.poll_recv(cx).is_ready() {
            return Poll::Ready(Signal::Terminate);
        }
        if self.c.poll_recv(cx).is_ready() {
            return Poll::Ready(Signal::Interrupt);
        }
        self.interrupt.poll_recv(cx).map(|_| Signal::Interrupt)
    }
}

#[cfg(not(any(unix, windows)))]
struct Signals;

#[cfg(not(any(unix, windows)))]
impl Signals {
    fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[expect(clippy::unused_self, reason = "as on systems that have signals")]
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Signal> {
        Poll::Pending
    }
}

impl HoneyHive {
    /// Waits for SIGTERM or SIGINT and then [shuts down](Self::shutdown), within the flush timeout
    /// ([`Builder::flush_timeout`](crate::Builder::flush_timeout); on Kubernetes 5 s, well below the usual grace period of
    /// 30 s). The process goes on, and ends when and as the application says.
    ///
    /// For programs that have nothing to finish first; others wait for [`termination`]. The signals
    /// are heard from the first poll on.
    ///
    /// # Errors
    ///
    /// As [`termination`] and [`shutdown`](Self::shutdown).
    pub async fn shutdown_on_signal(&self) -> Result<FlushReport, Error> {
        termination()?.await;
        self.shutdown(self.flush_timeout()).await
    }

    /// [`shutdown_on_signal`](Self::shutdown_on_signal) for code that is not async.
    ///
    /// # Errors
    ///
    /// As [`shutdown_on_signal`](Self::shutdown_on_signal).
    pub fn shutdown_on_signal_blocking(&self) -> Result<FlushReport, Error> {
        let _ = termination()?.wait();
        self.shutdown_blocking(self.flush_timeout())
    }
}
