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

/// The counter, calibrated.
#[derive(Debug)]
struct Counter {
    clock: quanta::Clock,
}

static COUNTER: OnceLock<Counter> = OnceLock::new();

/// Makes the counter usable. Takes about half a millisecond, once a process; for the worker's thread, and not after a fork.
pub(crate) fn calibrate() {
    COUNTER.get_or_init(|| Counter {
        clock: quanta::Clock::new(),
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

/// How many ticks from now on are so long at most, or nanoseconds before the counter is usable.
pub(crate) fn ticks_of(time: Duration) -> u64 {
    let time = nanoseconds(time);
    match COUNTER.get() {
        Some(counter) => (time as f64 / nominal(counter)) as u64,
        None => time,
    }
}

/// What a tick takes in nanoseconds, as it was calibrated.
fn nominal(counter: &Counter) -> f64 {
    const TICKS: u64 = 1 << 40;
    let rate = counter.clock.delta_as_nanos(0, TICKS) as f64 / TICKS as f64;
    if rate > 0.0 { rate } else { 1.0 }
}

/// A moment read from all clocks, in nanoseconds or ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    unix: u64,
    monotonic: u64,
    /// Zero while there is no counter.
    counter: u64,
    /// Nanoseconds a tick of the counter takes, as it was calibrated.
    nominal: f64,
    /// Since the system was started, with the time that it was suspended; unlike the monotonic clock.
    uptime: Option<u64>,
}

impl Moment {
    fn now() -> Self {
        let mut moment = Self {
            unix: unix_nanos(),
            monotonic: monotonic(),
            counter: 0,
            nominal: 1.0,
            uptime: None,
        };
        if let Some(counter) = COUNTER.get() {
            moment.counter = counter.clock.raw();
            moment.nominal = nominal(counter);
        }
        moment
    }
}

/// The system's time since its start, suspended or not; in steps of ten milliseconds.
fn uptime() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some((seconds * 1e9) as u64)
}

/// The system was suspended: what the clocks did not count of it, for ticks up to where they stood before.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    monotonic: u64,
    monotonic_missed: u64,
    counter: u64,
    counter_missed: u64,
}

/// What the counter was before it began anew, as it does on some machines when they are suspended.
#[derive(Clone, Copy, Debug)]
struct Earlier {
    counter: u64,
    /// When it stood there: nanoseconds of [`Timeline::passed`].
    at: u64,
}

/// Clocks watched over time, so that a span over a suspension of the host still has its length. Stepping the wall clock
/// changes no length: start and end of a span are mapped with the same anchor.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    last: Option<Moment>,
    /// Nanoseconds since the first moment, suspended or not.
    passed: u64,
    rate: f64,
    /// Since when the rate is measured: monotonic, counter.
    measured: (u64, u64),
    gaps: [Gap; 4],
    earlier: Option<Earlier>,
}

/// After so long the two clocks themselves tell the counter's rate better than its calibration does.
const SETTLED: u64 = 200_000_000;
/// Clocks are compared no more often.
const COMPARED: u64 = 1_000_000_000;
/// Clocks that differ by less were not stopped.
const SLACK: u64 = 1_000_000_000;

impl Timeline {
    /// An anchor for ticks up to now. To be called now and then, so that a suspension is noticed near to where it was.
    pub(crate) fn anchor(&mut self) -> Anchor {
        let mut now = Moment::now();
        let due = self.last.is_none_or(|last| {
            let awake = now.monotonic.saturating_sub(last.monotonic);
            let wall = now.unix.abs_diff(last.unix);
            awake >= COMPARED || wall.abs_diff(awake) >= SLACK || now.counter < last.counter
        });
        if due {
            now.uptime = uptime();
            self.note(now);
        }
        self.anchor_at(now)
    }

    fn note(&mut self, now: Moment) {
        let Some(last) = self.last.replace(now) else {
            self.rate = now.nominal;
            self.measured = (now.monotonic, now.counter);
            return;
        };
        if last.counter == 0 {
            self.rate = now.nominal;
            self.measured = (now.monotonic, now.counter);
        }
        let awake = now.monotonic.saturating_sub(last.monotonic);
        let counts = last.counter > 0;
        let counted = scaled(now.counter.saturating_sub(last.counter), self.rate);
        let slack = SLACK + awake / 100;
        // Whichever clock ran on tells how long it was.
        let mut passed = awake;
        if let (Some(before), Some(after)) = (last.uptime, now.uptime) {
            let up = after.saturating_sub(before);
            if up > passed + slack {
                passed = up;
            }
        }
        let anew = counts && now.counter < last.counter;
        if counts && !anew && counted > passed + slack {
            passed = counted;
        }
        let missed = |seen: u64| Some(passed.saturating_sub(seen)).filter(|time| *time >= slack);
        let gap = Gap {
            monotonic: last.monotonic,
            monotonic_missed: missed(awake).unwrap_or(0),
            counter: last.counter,
            counter_missed: missed(counted).filter(|_| counts && !anew).unwrap_or(0),
        };
        if anew {
            self.earlier = Some(Earlier {
                counter: last.counter,
                at: self.passed,
            });
            for gap in &mut self.gaps {
                gap.counter_missed = 0;
            }
        }
        self.passed = self.passed.saturating_add(passed);
        if gap.monotonic_missed > 0 || gap.counter_missed > 0 {
            self.gaps.rotate_right(1);
            if let Some(first) = self.gaps.first_mut() {
                *first = gap;
            }
        }
        if gap.monotonic_missed > 0 || gap.counter_missed > 0 || anew {
            self.measured = (now.monotonic, now.counter);
        }
        let elapsed = now.monotonic.saturating_sub(self.measured.0);
        let ticks = now.counter.saturating_sub(self.measured.1).max(1);
        let rate = elapsed as f64 / ticks as f64;
        if elapsed > SETTLED && (rate / now.nominal - 1.0).abs() < 0.01 {
            self.rate = rate;
        }
    }

    fn anchor_at(&self, now: Moment) -> Anchor {
        let last = self.last.unwrap_or(now);
        let since = now.monotonic.saturating_sub(last.monotonic);
        Anchor {
            unix: now.unix,
            monotonic: now.monotonic,
            counter: now.counter,
            rate: self.rate,
            passed: self.passed.saturating_add(since),
            gaps: self.gaps,
            earlier: self.earlier,
        }
    }
}

/// A moment read from all clocks, and what is known of the time before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    unix: u64,
    monotonic: u64,
    counter: u64,
    /// Nanoseconds a tick of the counter takes.
    rate: f64,
    passed: u64,
    gaps: [Gap; 4],
    earlier: Option<Earlier>,
}

impl Anchor {
    /// When `ticks` was, in nanoseconds since 1970.
    pub(crate) fn unix_nanos(&self, ticks: u64) -> u64 {
        if ticks & COUNTED == 0 {
            let missed = self.missed(|gap| (gap.monotonic, gap.monotonic_missed), ticks);
            return shift(self.unix, self.monotonic, ticks, 1.0).saturating_sub(missed);
        }
        let ticks = ticks & !COUNTED;
        // A record is a little younger than the anchor at most.
        let young = scaled(ticks.saturating_sub(self.counter), self.rate) <= SLACK;
        if let Some(earlier) = self.earlier.filter(|_| !young) {
            let then = shift(earlier.at, earlier.counter, ticks, self.rate);
            return self.unix.saturating_sub(self.passed.saturating_sub(then));
        }
        let missed = self.missed(|gap| (gap.counter, gap.counter_missed), ticks);
        shift(self.unix, self.counter, ticks, self.rate).saturating_sub(missed)
    }

    /// What a clock did not count since `ticks`.
    fn missed(&self, clock: impl Fn(&Gap) -> (u64, u64), ticks: u64) -> u64 {
        let missed = self.gaps.iter().map(clock);
        missed
            .filter(|(before, _)| ticks <= *before)
            .fold(0, |sum, (_, missed)| sum.saturating_add(missed))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn scaled(ticks: u64, rate: f64) -> u64 {
    (ticks as f64 * rate) as u64
}

/// The unix time of `ticks`, where `unix` is that of `anchor`.
fn shift(unix: u64, anchor: u64, ticks: u64, rate: f64) -> u64 {
    if ticks >= anchor {
        unix.saturating_add(scaled(ticks - anchor, rate))
    } else {
        unix.saturating_sub(scaled(anchor - ticks, rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3600 * SECOND;
    const DAY: u64 = 24 * HOUR;

    /// A host whose clocks are moved by hand; its counter takes half a nanosecond a tick.
    struct Host {
        now: Moment,
        timeline: Timeline,
        counts_asleep: bool,
    }

    impl Host {
        fn new(counts_asleep: bool, tells_uptime: bool) -> Self {
            let now = Moment {
                unix: 1_800_000_000 * SECOND,
                monotonic: 77 * SECOND,
                counter: 154 * SECOND,
                nominal: 0.5,
                uptime: tells_uptime.then_some(80 * SECOND),
            };
            let mut host = Self {
                now,
                timeline: Timeline::default(),
                counts_asleep,
            };
            host.timeline.note(host.now);
            host
        }

        fn run(&mut self, time: u64) {
            self.now.unix += time;
            self.now.monotonic += time;
            self.now.counter += 2 * time;
            self.now.uptime = self.now.uptime.map(|up| up + time);
        }

        /// Time during which the clocks are looked at every five seconds.
        fn work(&mut self, time: u64) {
            for _ in 0..time / (5 * SECOND) {
                self.run(5 * SECOND);
                self.timeline.note(self.now);
            }
            self.run(time % (5 * SECOND));
        }

        fn suspend(&mut self, time: u64) {
            self.now.unix += time;
            self.now.uptime = self.now.uptime.map(|up| up + time);
            if self.counts_asleep {
                self.now.counter += 2 * time;
            }
        }

        fn step(&mut self, by: i64) {
            self.now.unix = self.now.unix.saturating_add_signed(by);
        }

        /// Ticks of both kinds.
        fn ticks(&self) -> [u64; 2] {
            [self.now.monotonic, self.now.counter | COUNTED]
        }

        /// How long the spans between these ticks and now were.
        fn lengths(&mut self, start: [u64; 2]) -> [u64; 2] {
            self.timeline.note(self.now);
            let anchor = self.timeline.anchor_at(self.now);
            let end = self.ticks();
            [0, 1].map(|kind: usize| {
                let end = anchor.unix_nanos(end[kind]);
                assert!(end.abs_diff(self.now.unix) < SECOND / 100);
                end.checked_sub(anchor.unix_nanos(start[kind])).unwrap()
            })
        }
    }

    #[track_caller]
    fn assert_near(lengths: &[u64], expected: u64) {
        for length in lengths {
            let off = length.abs_diff(expected);
            assert!(off <= SECOND / 50, "{lengths:?} and not {expected}");
        }
    }

    #[test]
    fn a_stepped_wall_clock_changes_no_length() {
        for by in [-(HOUR as i64), DAY as i64, -(DAY as i64), 1] {
            for tells_uptime in [false, true] {
                let mut host = Host::new(true, tells_uptime);
                let start = host.ticks();
                host.work(7 * SECOND);
                host.step(by);
                host.work(8 * SECOND);
                assert_near(&host.lengths(start), 15 * SECOND);
                let start = host.ticks();
                host.work(10 * SECOND);
                assert_near(&host.lengths(start), 10 * SECOND);
            }
        }
    }

    #[test]
    fn a_span_of_six_hours_keeps_its_length_over_a_suspended_host() {
        for counts_asleep in [false, true] {
            for tells_uptime in [false, true] {
                let mut host = Host::new(counts_asleep, tells_uptime);
                let start = host.ticks();
                host.work(HOUR);
                host.suspend(4 * HOUR);
                host.work(HOUR);
                let lengths = host.lengths(start);
                if counts_asleep || tells_uptime {
                    assert_near(&lengths, 6 * HOUR);
                } else {
                    // Nobody knows of the suspension: as long as the host ran.
                    assert_near(&lengths, 2 * HOUR);
                }
                // What comes later is as long as it is, whatever the clocks did before.
                let start = host.ticks();
                host.work(60 * SECOND);
                assert_near(&host.lengths(start), 60 * SECOND);
            }
        }
    }

    #[test]
    fn two_suspensions_count_twice() {
        let mut host = Host::new(false, true);
        let start = host.ticks();
        for _ in 0..2 {
            host.work(60 * SECOND);
            host.suspend(HOUR);
            host.work(60 * SECOND);
            host.step(-(HOUR as i64));
        }
        assert_near(&host.lengths(start), 2 * HOUR + 240 * SECOND);
    }

    #[test]
    fn a_counter_that_begins_anew_costs_no_length() {
        let mut host = Host::new(false, true);
        host.work(20 * HOUR);
        let start = host.ticks();
        host.work(HOUR);
        host.suspend(4 * HOUR);
        host.now.counter = 1_000;
        host.work(HOUR);
        assert_near(&host.lengths(start), 6 * HOUR);
        let start = host.ticks();
        host.work(60 * SECOND);
        assert_near(&host.lengths(start), 60 * SECOND);
    }

    #[test]
    fn a_badly_calibrated_counter_is_measured() {
        let mut host = Host::new(true, true);
        host.now.nominal = 0.5001;
        host.timeline = Timeline::default();
        host.timeline.note(host.now);
        host.work(HOUR);
        let start = host.ticks();
        host.work(HOUR);
        let [_, counted] = host.lengths(start);
        assert!(counted.abs_diff(HOUR) < 1_000_000, "{counted}");
    }

    #[test]
    fn the_system_tells_how_long_it_is_up() {
        let before = uptime();
        assert_eq!(before.is_some(), cfg!(target_os = "linux"));
        assert!(uptime() >= before);
    }

    #[test]
    fn both_kinds_of_tick_tell_the_same_time() {
        let early = ticks();
        let before = unix_nanos();
        let brief = ticks_of(Duration::from_micros(20));
        calibrate();
        let late = ticks();
        let after = unix_nanos();
        let anchor = Timeline::default().anchor();
        let slack = 50_000_000;
        assert!(late & COUNTED != 0);
        assert!(anchor.unix_nanos(early) <= before + slack);
        assert!(anchor.unix_nanos(late) + slack >= before);
        assert!(anchor.unix_nanos(late) <= after + slack);
        assert!(anchor.unix_nanos(late) >= anchor.unix_nanos(early));
        assert!(ticks() >= late);
        assert!(brief > 0 && ticks_of(Duration::from_micros(20)) > 0);
    }
}
