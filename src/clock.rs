//! Time as the instrumented thread reads it, and what the worker makes of it. Knows nothing of the rest.
//!
//! A tick is a reading of the processor's counter where it has a constant one: a third of the cost of asking the
//! system. Preparing that takes half a millisecond of calibration, so the worker does it when it starts, and until then
//! a tick is a nanosecond of the monotonic clock; the highest bit tells which. Neither ever goes back. The worker maps
//! both to unix time with one [`Anchor`] for the start and the end of a span.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Set in ticks of the counter.
const COUNTED: u64 = 1 << 63;

/// The counter, and a moment read from it and from the monotonic clock.
#[derive(Debug)]
struct Counter {
    clock: quanta::Clock,
    since: u64,
    since_monotonic: u64,
}

static COUNTER: OnceLock<Counter> = OnceLock::new();

/// Makes the counter usable. Takes about half a millisecond, once a process; for the worker's thread.
pub(crate) fn calibrate() {
    COUNTER.get_or_init(|| {
        let clock = quanta::Clock::new();
        let since = clock.raw();
        Counter {
            clock,
            since,
            since_monotonic: monotonic(),
        }
    });
}

/// The time now, in ticks; never zero.
pub(crate) fn ticks() -> u64 {
    match COUNTER.get() {
        Some(counter) => counter.clock.raw() | COUNTED,
        None => monotonic(),
    }
}

/// Nanoseconds of the monotonic clock since the first reading of the process; never zero.
fn monotonic() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let elapsed = Instant::now().saturating_duration_since(*EPOCH.get_or_init(Instant::now));
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

/// A moment read from all clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    unix: u64,
    monotonic: u64,
    counter: u64,
    /// Nanoseconds a tick of the counter takes.
    rate: f64,
}

/// After so long the two clocks themselves tell the counter's rate better than its calibration does.
const SETTLED: Duration = Duration::from_millis(200);

impl Anchor {
    pub(crate) fn now() -> Self {
        let mut anchor = Self {
            unix: unix_nanos(),
            monotonic: monotonic(),
            counter: 0,
            rate: 1.0,
        };
        if let Some(counter) = COUNTER.get() {
            anchor.counter = counter.clock.raw();
            let ticks = anchor.counter.saturating_sub(counter.since).max(1);
            let elapsed = anchor.monotonic.saturating_sub(counter.since_monotonic);
            let nanoseconds = if elapsed > nanoseconds(SETTLED) {
                elapsed
            } else {
                counter.clock.delta_as_nanos(counter.since, anchor.counter)
            };
            anchor.rate = nanoseconds as f64 / ticks as f64;
        }
        anchor
    }

    /// When `ticks` was, in nanoseconds since 1970.
    pub(crate) fn unix_nanos(&self, ticks: u64) -> u64 {
        if ticks & COUNTED == 0 {
            return shift(self.unix, self.monotonic, ticks, 1.0);
        }
        shift(self.unix, self.counter, ticks & !COUNTED, self.rate)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The unix time of `ticks`, where `unix` is that of `anchor`.
fn shift(unix: u64, anchor: u64, ticks: u64, rate: f64) -> u64 {
    let scaled = |ticks: u64| (ticks as f64 * rate) as u64;
    if ticks >= anchor {
        unix.saturating_add(scaled(ticks - anchor))
    } else {
        unix.saturating_sub(scaled(anchor - ticks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_wall_time() {
        let anchor = Anchor {
            unix: 1_000_000,
            monotonic: 500,
            counter: 9_000,
            rate: 0.5,
        };
        assert_eq!(anchor.unix_nanos(505), 1_000_005);
        assert_eq!(anchor.unix_nanos(499), 999_999);
        assert_eq!(anchor.unix_nanos(9_010 | COUNTED), 1_000_005);
        assert_eq!(anchor.unix_nanos(8_990 | COUNTED), 999_995);
    }

    #[test]
    fn both_kinds_of_tick_tell_the_same_time() {
        let early = ticks();
        let before = unix_nanos();
        calibrate();
        let late = ticks();
        let after = unix_nanos();
        let anchor = Anchor::now();
        let slack = 50_000_000;
        assert!(late & COUNTED != 0);
        assert!(anchor.unix_nanos(early) <= before + slack);
        assert!(anchor.unix_nanos(late) + slack >= before);
        assert!(anchor.unix_nanos(late) <= after + slack);
        assert!(anchor.unix_nanos(late) >= anchor.unix_nanos(early));
        assert!(ticks() >= late);
    }
}
