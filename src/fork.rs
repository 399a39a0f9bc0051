//! Whether this process is a copy of the one that built the instances: a fork copies memory and locks, but none of the
//! threads. Knows process ids and ticks, not what is done about it.
//!
//! Asking for the process id is a system call. So it is asked where somebody waits anyway, and where a span begins only
//! if the thread has not asked for [`INTERVAL`]: a fork takes longer than that, so the first span of a copy finds out.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock;

/// For so long a thread takes it that the process is still the same.
const INTERVAL: Duration = Duration::from_micros(20);

/// The process that was last seen; zero: none yet.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// How many forks led from the process that first asked to this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// A tick after the last fork and before anything that was made after it; zero: there was none.
static SINCE: AtomicU64 = AtomicU64::new(0);

/// Compares the process with the one that was last seen; `tick` is now.
#[cold]
pub(crate) fn look(tick: u64) {
    let process = std::process::id();
    let seen = PROCESS.load(Ordering::Acquire);
    if seen == process {
        return;
    }
    let first = PROCESS.compare_exchange(seen, process, Ordering::AcqRel, Ordering::Acquire);
    if seen != 0 && first.is_ok() {
        SINCE.store(tick, Ordering::Release);
        GENERATION.fetch_add(1, Ordering::AcqRel);
    }
}

/// As [`look`], at the beginning of a span; the answer is the tick after which to look again.
#[cold]
pub(crate) fn look_at_span(tick: u64) -> u64 {
    look(tick);
    tick.saturating_add(clock::ticks_of(INTERVAL))
}

/// A number that changes when the process is found to be a copy.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// What began before this tick belongs to the process that forked.
pub(crate) fn since() -> u64 {
    SINCE.load(Ordering::Acquire)
}
