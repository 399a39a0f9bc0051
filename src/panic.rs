//! The panic hook: what is queued is delivered before a panic ends the process. Knows the instances and how to flush
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::export::Pending;
use crate::registry;
use crate::sync;

/// What the last call asked for, in milliseconds.
static TIMEOUT: AtomicU64 = AtomicU64::new(0);
static INSTALLED: AtomicBool = AtomicBool::new(false);
/// A panic is being attended to.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Whether a panic ends the process, as the profile of the program says.
const ABORTS: bool = cfg!(panic = "abort");

/// From now on a panic delivers what all live instances have queued, for at most `timeout`, before the hook that was there
/// is called.
///
/// It is for programs that end with a panic and drop nothing: those with `panic = "abort"`, where spans that are still open
/// are sent as well, marked unfinished, and those whose instance is in a static. Elsewhere a panic of the main thread drops
/// the instance, which flushes.
///
/// The thread that panics waits. With `panic = "unwind"` that is so for panics that somebody catches, too, such as those of
/// a Tokio task: choose a `timeout` that the runtime can bear. A panic while another one is attended to does not wait, nor
/// does one in the `Debug` of a recorded value or in a closure given to this crate, nor one while the endpoint is known to
/// be unreachable. Calling it again changes the timeout.
///
/// ```standalone_crate
/// honeyhive::install_panic_hook(std::time::Duration::from_secs(1));
/// ```
pub fn install_panic_hook(timeout: Duration) {
    let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    TIMEOUT.store(milliseconds, Ordering::Relaxed);
    // A thread that panics may not touch the hook.
    if std::thread::panicking() || INSTALLED.swap(true, Ordering::AcqRel) {
        return;
    }
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        attend(ABORTS);
        previous(info);
    }));
}

/// Delivers, while the thread that panics waits. Whatever goes wrong goes wrong on a thread of its own: a panic inside of
/// a hook would end the process without a word.
fn attend(aborts: bool) {
    if sync::is_contained() || is_own_thread() || BUSY.swap(true, Ordering::AcqRel) {
        return;
    }
    let timeout = Duration::from_millis(TIMEOUT.load(Ordering::Relaxed));
    let done = Pending::new();
    let settled = Arc::clone(&done);
    let thread = std::thread::Builder::new()
        .name("honeyhive-panic".to_owned())
        .spawn(move || {
            deliver(timeout, aborts);
            settled.settle(());
        });
    if thread.is_ok() {
        let deadline = Instant::now().checked_add(timeout.saturating_add(GRACE));
        let far = Duration::from_secs(86_400);
        done.wait(deadline.unwrap_or_else(|| Instant::now() + far));
    }
    BUSY.store(false, Ordering::Release);
}

/// A flush ends at its deadline by itself; that takes a moment.
const GRACE: Duration = Duration::from_millis(50);

fn deliver(timeout: Duration, aborts: bool) {
    if aborts {
        // Nothing can be done about what is lost; it is counted, and the process ends.
        let _ = registry::shutdown_all_blocking(timeout);
        return;
    }
    let exporters = registry::all();
    let flushing: Vec<_> = exporters
        .iter()
        .filter(|exporter| !exporter.flush_is_futile())
        .map(|exporter| exporter.begin_flush(timeout))
        .collect();
    for flushing in flushing {
        let _ = flushing.wait_blocking();
    }
}

/// The export thread must not wait for itself.
fn is_own_thread() -> bool {
    let thread = std::thread::current();
    thread
        .name()
        .is_some_and(|name| name.starts_with("honeyhive-"))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;
    use crate::HoneyHive;

    #[test]
    fn where_a_panic_aborts_open_spans_are_sent_too() {
        // In a process of its own: it ends all instances.
        if std::env::var_os("TEST_IN_ITS_OWN_PROCESS").is_none() {
            let name = "panic::tests::where_a_panic_aborts_open_spans_are_sent_too";
            let status = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env("TEST_IN_ITS_OWN_PROCESS", "1")
                .status();
            assert!(status.unwrap().success());
            return;
        }
        let honeyhive = HoneyHive::builder().test_mode(true).build().unwrap();
        let registry = tracing_subscriber::registry().with(honeyhive.layer());
        let dispatch = tracing::Dispatch::new(registry);
        tracing::dispatcher::with_default(&dispatch, || {
            drop(tracing::info_span!("closed"));
            let _open = tracing::info_span!("open").entered();
            TIMEOUT.store(15_000, Ordering::Relaxed);
            attend(true);
            assert_eq!(honeyhive.stats().exported, 2);
        });
    }
}
