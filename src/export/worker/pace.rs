//! When the next attempt may be made at an endpoint that failed. Knows time, not what is attempted.

use std::time::{Duration, Instant};

use crate::export::retry;

/// The failures in a row of one endpoint, and the wait that follows from them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    /// Our own patience, which somebody who waits may cut short.
    until: Option<Instant>,
    /// What the server asked for, which nobody may.
    not_before: Option<Instant>,
}

impl Pace {
    /// Notes a failure. False when there is no time left to wait for another attempt.
    pub(super) fn fail(
        &mut self,
        hint: Option<Duration>,
        remaining: Duration,
        random: u64,
    ) -> bool {
        self.failures = self.failures.saturating_add(1);
        let Some(delay) = retry::next_delay(self.failures, hint, remaining, random) else {
            return false;
        };
        let now = Instant::now();
        self.until = self.until.max(Some(now + delay));
        if let Some(hint) = hint {
            self.not_before = self.not_before.max(Some(now + hint.min(retry::MAX_DELAY)));
        }
        true
    }

    /// An attempt got through. A wait that the server asked for stays: the answer may be to an older request.
    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// Whether the last attempt failed.
    #[cfg(feature = "spool")]
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
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

    #[test]
    fn haste_shortens_our_patience_and_not_the_servers() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.fail(None, retry::GIVE_UP_AFTER, 0));
        assert!(pace.until(now).is_some());
        pace.hurry();
        assert!(pace.until(now).is_none());
        assert!(pace.fail(Some(Duration::from_secs(9)), retry::GIVE_UP_AFTER, 0));
        pace.hurry();
        pace.succeed();
        assert!(pace.until(now).unwrap() >= now + Duration::from_secs(9));
        assert!(
            pace.until(now + retry::MAX_DELAY).is_none(),
            "the cap is 30 s"
        );
        assert!(!pace.fail(None, Duration::from_millis(1), 0));
    }
}
