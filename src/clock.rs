//! Time as the instrumented thread reads it, and what the worker makes of it. Knows nothing of the rest.
//!
//! A tick is a nanosecond of the monotonic clock since the first reading of the process: it never goes back, and
//! durations are right whatever happens to the wall clock. The worker maps ticks to unix time with one [`Anchor`] for
//! the start and the end of a span.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// The time now, in ticks; never zero.
pub(crate) fn ticks() -> u64 {
    let elapsed = Instant::now().saturating_duration_since(epoch());
    elapsed
        .as_secs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(u64::from(elapsed.subsec_nanos()))
        .wrapping_add(1)
}

/// The wall clock now, in nanoseconds since 1970.
pub(crate) fn unix_nanos() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A moment read from both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    ticks: u64,
    unix: u64,
}

impl Anchor {
    pub(crate) fn now() -> Self {
        Self {
            ticks: ticks(),
            unix: unix_nanos(),
        }
    }

    /// When `ticks` was, in nanoseconds since 1970.
    pub(crate) fn unix_nanos(&self, ticks: u64) -> u64 {
        if ticks >= self.ticks {
            self.unix.saturating_add(ticks - self.ticks)
        } else {
            self.unix.saturating_sub(self.ticks - ticks)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_wall_time() {
        let tick = ticks();
        let before = unix_nanos();
        let anchor = Anchor {
            ticks: tick,
            unix: before,
        };
        assert_eq!(anchor.unix_nanos(tick + 5), before + 5);
        assert_eq!(anchor.unix_nanos(tick - 1), before - 1);
        assert!(ticks() >= tick);
    }
}
