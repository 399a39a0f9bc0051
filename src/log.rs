//! The crate's own diagnostics. Knows nothing of the rest.
//!
//! They are tracing events of the target `honeyhive`, which our own layer ignores. The worker runs under no
//! subscriber, so it speaks through the dispatcher that the layer was registered with. A warning that nobody listens
//! to yet, such as one made before the subscriber is installed, goes to standard error: it would be lost otherwise.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use tracing::dispatcher::{self, WeakDispatch};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber, debug, warn};

use crate::sync::lock;

/// Where an instance's diagnostics go.
#[derive(Debug, Default)]
pub(crate) struct Log {
    dispatch: Mutex<Option<WeakDispatch>>,
    verbose: std::sync::atomic::AtomicBool,
}

impl Log {
    pub(crate) fn new(verbose: bool) -> Self {
        Self {
            dispatch: Mutex::new(None),
            verbose: verbose.into(),
        }
    }

    pub(crate) fn set_verbose(&self, verbose: bool) {
        self.verbose
            .store(verbose, std::sync::atomic::Ordering::Relaxed);
    }

    /// Speaks through `dispatch` from now on.
    pub(crate) fn attach(&self, dispatch: &Dispatch) {
        *lock(&self.dispatch) = Some(dispatch.downgrade());
    }

    /// Something the user should know.
    pub(crate) fn warn(&self, message: &str) {
        let dispatch = lock(&self.dispatch)
            .as_ref()
            .and_then(WeakDispatch::upgrade);
        guarded(|| match dispatch {
            Some(dispatch) => dispatcher::with_default(&dispatch, || say(message)),
            None => say(message),
        });
    }

    /// A decision or a request, spoken of when the instance is verbose.
    pub(crate) fn debug(&self, message: impl FnOnce() -> String) {
        if !self.verbose.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        let dispatch = lock(&self.dispatch)
            .as_ref()
            .and_then(WeakDispatch::upgrade);
        let message = message();
        guarded(|| match dispatch {
            Some(dispatch) => {
                dispatcher::with_default(&dispatch, || debug!(target: "honeyhive", "{message}"));
            }
            None => debug!(target: "honeyhive", "{message}"),
        });
    }
}

/// Something the user should know, said where no subscriber listens: before there is one, or inside of it.
pub(crate) fn cry(message: &str) {
    let _ = writeln!(std::io::stderr(), "honeyhive: {message}");
}

/// Through the current subscriber if some layer of it listens to warnings of ours; a registry with nothing but our
/// layer does not, nor does a thread without a subscriber, such as the worker.
fn say(message: &str) {
    if tracing::enabled!(target: "honeyhive", tracing::Level::WARN) {
        warn!(target: "honeyhive", "{message}");
    } else {
        cry(message);
    }
}

/// A subscriber that panics must not end the worker.
fn guarded(speak: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(speak));
}

/// No subscriber on this thread while the guard lives: for threads whose libraries would otherwise record into the
/// program's own. One of `NoSubscriber`'s own would be asked about every callsite of the process and, as it names no
/// level, switch all of them on.
pub(crate) fn quiet() -> dispatcher::DefaultGuard {
    dispatcher::set_default(&Dispatch::none())
}

/// Asks every subscriber anew what it wants.
///
/// While there was only one, tracing asks that of the thread in its place. On a thread that has none, such as the
/// worker, every callsite would be switched off for the whole process.
pub(crate) fn rebuild_interest() {
    drop(Dispatch::new(Nobody));
    tracing::callsite::rebuild_interest_cache();
}

/// A subscriber that makes two of one, and wants nothing.
struct Nobody;

impl Subscriber for Nobody {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::never()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::OFF)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
