//! When the next attempt may be made at an endpoint that failed. Knows time, not what is attempted.

use std::time::{Duration, Instant};

use crate::export::retry::{self, Profile};

/// The two places of which one may fail without the other, unless they are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Traces,
    Rest,
}

/// The failures in a row of one endpoint, and the wait that follows from them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    profile: Profile,
    failures: u32,
    /// Our own patience, which somebody who waits may cut short.
    until: Option<Instant>,
    /// What the server asked for, which nobody may.
    not_before: Option<Instant>,
    silence: Silence,
}

/// What was heard of an endpoint last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Silence {
    /// An answer, good or bad, or nothing yet.
    #[default]
    None,
    /// A request got no answer.
    NoAnswer,
    /// There was not even a connection.
    NoConnection,
}

/// With the usual waits, what fails so many times fails for four to eight seconds.
#[cfg(feature = "spool")]
const LASTING: u32 = 5;

impl Pace {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            profile,
            ..Self::default()
        }
    }

    pub(super) fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// Notes a failure. False when there is no time left to wait for another attempt.
    ///
    /// Attempts that were on their way together fail together: they count once.
    pub(super) fn fail(
        &mut self,
        hint: Option<Duration>,
        remaining: Duration,
        random: u64,
    ) -> bool {
        let now = Instant::now();
        if self.until(now).is_none() {
            self.failures = self.failures.saturating_add(1);
        }
        self.silence = Silence::None;
        if let Some(hint) = hint {
            self.not_before = self.not_before.max(Some(now + hint.min(retry::MAX_HINT)));
        }
        let delay = self
            .profile
            .next_delay(self.failures, hint, remaining, random);
        // What is given up does not make the next batch try at once.
        let wait = delay.unwrap_or_else(|| self.profile.delay(self.failures, random));
        self.until = self.until.max(Some(now + wait));
        delay.is_some()
    }

    /// The failure just noted was no answer, or not even a connection.
    pub(super) fn hush(&mut self, connected: bool) {
        self.silence = if connected {
            Silence::NoAnswer
        } else {
            Silence::NoConnection
        };
    }

    /// Whoever takes connections for the other one would take them for this one: it waits as long, and grows as rare.
    pub(super) fn follow(&mut self, other: &Self) {
        self.failures = self.failures.max(other.failures);
        self.until = self.until.max(other.until);
        self.silence = Silence::NoConnection;
    }

    /// Whether the last attempt got no answer.
    pub(super) fn is_silent(&self) -> bool {
        self.silence != Silence::None
    }

    /// Whether there is no way to it.
    pub(super) fn is_cut_off(&self) -> bool {
        self.silence == Silence::NoConnection
    }

    /// An attempt got through. A wait that the server asked for stays: the answer may be to an older request.
    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.until = None;
        self.silence = Silence::None;
    }

    /// Whether the last attempt failed.
    #[cfg(feature = "spool")]
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether so many failed in a row that this is no hiccup.
    #[cfg(feature = "spool")]
    pub(super) fn is_lasting(&self) -> bool {
        self.failures >= LASTING
    }

    pub(super) fn hurry(&mut self) {
        self.until = None;
    }

    /// When it is over, unless it is over at `now`.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.max(self.not_before).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(300);

    #[test]
    fn haste_shortens_our_patience_and_not_the_servers() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.fail(None, LONG, 0));
        assert!(pace.until(now).is_some());
        pace.hurry();
        assert!(pace.until(now).is_none());
        assert!(pace.fail(Some(Duration::from_secs(9)), LONG, 0));
        pace.hurry();
        pace.succeed();
        assert!(pace.until(now).unwrap() >= now + Duration::from_secs(9));
        let cap = now + retry::MAX_HINT + Duration::from_secs(1);
        assert!(pace.until(cap).is_none(), "the cap is 30 s");
        assert!(!pace.fail(None, Duration::from_millis(1), 0));
    }

    #[test]
    fn what_fails_together_counts_once() {
        let mut pace = Pace::default();
        for _ in 0..8 {
            assert!(pace.fail(None, LONG, u64::MAX));
        }
        assert_eq!(pace.failures, 1);
        pace.hurry();
        assert!(pace.fail(None, LONG, 0));
        assert_eq!(pace.failures, 2);
    }

    #[test]
    fn where_there_is_no_way_there_is_none_for_the_other() {
        let now = Instant::now();
        let (mut traces, mut rest) = (Pace::default(), Pace::default());
        for _ in 0..5 {
            traces.hurry();
            traces.fail(None, LONG, 0);
        }
        traces.hush(true);
        assert!(traces.is_silent() && !traces.is_cut_off());
        traces.hush(false);
        rest.follow(&traces);
        assert!(rest.is_cut_off() && traces.is_cut_off());
        assert_eq!(rest.until(now), traces.until(now));
        rest.hurry();
        rest.fail(None, LONG, 0);
        assert_eq!(rest.failures, 6, "its waits go on growing");
        assert!(!rest.is_silent(), "that was an answer");
        rest.succeed();
        assert!(!rest.is_silent());
    }
}
