//! What to make of the outcome of an attempt, and when to try again: pure functions. Knows nothing of clients, queues
//! or clocks.

use std::time::Duration;

use crate::config::Config;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server answered.
    Answered {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// No connection could be made, or it broke, or it took too long.
    Failed,
}

/// What an outcome means for the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Try the same bytes again, not before the hint.
    Retry {
        after: Option<Duration>,
    },
    /// The key is refused: nothing else would fare better.
    Unauthorized,
    /// Too large for the server: try its halves.
    TooLarge,
    /// Try it uncompressed.
    Undecodable,
    /// Refused for good.
    Rejected,
}

/// The rules of OTLP: 429, 502, 503, 504 and failures of the connection are worth another attempt, nothing else is.
pub(crate) fn verdict(outcome: &Outcome, compressed: bool) -> Verdict {
    match outcome {
        Outcome::Failed => Verdict::Retry { after: None },
        Outcome::Answered {
            status,
            retry_after,
        } => match status {
            200..=299 => Verdict::Delivered,
            429 | 502 | 503 | 504 => Verdict::Retry {
                after: *retry_after,
            },
            401 | 403 => Verdict::Unauthorized,
            413 => Verdict::TooLarge,
            400 | 415 if compressed => Verdict::Undecodable,
            _ => Verdict::Rejected,
        },
    }
}

/// A server that asks for more than this is asked again after this.
pub(crate) const MAX_HINT: Duration = Duration::from_secs(30);

/// How attempts follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The wait before the first repetition; it doubles with every one.
    pub(crate) first_delay: Duration,
    pub(crate) max_delay: Duration,
}

impl Default for Profile {
    fn default() -> Self {
        Self::from(&Config::default())
    }
}

impl From<&Config> for Profile {
    fn from(config: &Config) -> Self {
        Self {
            first_delay: config.retry_first_delay,
            max_delay: config.retry_max_delay,
        }
    }
}

impl Profile {
    /// How long to wait before attempt `attempt` (the first repetition is 1), or `None` when the batch is out of time.
    ///
    /// Exponential with full jitter over the upper half; a hint of the server is a lower bound, capped at [`MAX_HINT`].
    /// `random` is any number.
    pub(crate) fn next_delay(
        &self,
        attempt: u32,
        hint: Option<Duration>,
        remaining: Duration,
        random: u64,
    ) -> Option<Duration> {
        let delay = self.delay(attempt, random);
        let delay = delay.max(hint.unwrap_or_default().min(MAX_HINT));
        (delay <= remaining).then_some(delay)
    }

    /// The same without a hint and an end.
    pub(crate) fn delay(&self, attempt: u32, random: u64) -> Duration {
        let exponent = attempt.saturating_sub(1).min(16);
        let ceiling = self.first_delay.saturating_mul(1 << exponent);
        let half = ceiling.min(self.max_delay) / 2;
        let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_nanos(random % span)
    }
}

/// Reads `Retry-After`: seconds, or a date compared with `now` (seconds since 1970). Nonsense is no hint.
pub(crate) fn retry_after(value: &str, now: Duration) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answered(status: u16) -> Outcome {
        Outcome::Answered {
            status,
            retry_after: None,
        }
    }

    #[test]
    fn only_what_otlp_says_is_retried() {
        for status in 100..=599 {
            let retried = matches!(verdict(&answered(status), false), Verdict::Retry { .. });
            assert_eq!(retried, matches!(status, 429 | 502 | 503 | 504), "{status}");
        }
        assert_eq!(verdict(&answered(200), false), Verdict::Delivered);
        assert_eq!(verdict(&answered(401), false), Verdict::Unauthorized);
        assert_eq!(verdict(&answered(413), false), Verdict::TooLarge);
        assert_eq!(verdict(&answered(400), false), Verdict::Rejected);
        assert_eq!(verdict(&answered(400), true), Verdict::Undecodable);
        assert_eq!(
            verdict(&Outcome::Failed, true),
            Verdict::Retry { after: None }
        );
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now = Duration::from_secs(784_111_777);
        assert_eq!(retry_after("2", now), Some(Duration::from_secs(2)));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:27 GMT", now),
            Some(Duration::ZERO)
        );
        for nonsense in ["abc", "", "-1", "1.5", "Sun, 06 Nov"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }

    fn profile() -> impl Strategy<Value = Profile> {
        (1_u64..60_000, 1_u64..600_000).prop_map(|(first, max)| Profile {
            first_delay: Duration::from_millis(first),
            max_delay: Duration::from_millis(max),
        })
    }

    const LONG: Duration = Duration::from_secs(300);

    proptest! {
        #[test]
        fn waits_are_bounded_and_respect_the_hint(
            profile in profile(),
            attempt in 0_u32..100,
            hint in 0_u64..100_000,
            random: u64,
        ) {
            let hint = Duration::from_secs(hint);
            let delay = profile.next_delay(attempt, Some(hint), Duration::MAX, random).unwrap();
            prop_assert!(delay <= profile.max_delay.max(MAX_HINT));
            prop_assert!(delay >= profile.first_delay.min(profile.max_delay) / 2);
            prop_assert!(delay >= hint.min(MAX_HINT));
            let bare = profile.delay(attempt, random);
            prop_assert!(bare <= profile.max_delay);
            prop_assert_eq!(profile.next_delay(attempt, None, bare, random), Some(bare));
            let less = bare - Duration::from_nanos(1);
            prop_assert_eq!(profile.next_delay(attempt, None, less, random), None);
        }

        #[test]
        fn waits_grow_until_the_longest(profile in profile(), randoms in proptest::collection::vec(any::<u64>(), 40)) {
            let delays: Vec<Duration> = (1..).zip(&randoms).map(|(attempt, random)| profile.delay(attempt, *random)).collect();
            for pair in delays.windows(2) {
                // Twice as long at least by half, whatever chance says, up to the longest.
                prop_assert!(pair[1] >= pair[0].min(profile.max_delay / 2));
            }
            let ceiling = profile.max_delay.min(profile.first_delay * (1 << 16));
            prop_assert!(delays[39] >= ceiling / 2);
        }

        #[test]
        fn an_outage_costs_a_dozen_attempts_a_minute(first in 100_u64..=500, randoms in proptest::collection::vec(any::<u64>(), 64)) {
            // The shortest and the longest first wait of all environments, and whatever lies between.
            let first_delay = Duration::from_millis(first);
            let profile = Profile { first_delay, ..Profile::default() };
            let mut at = Duration::ZERO;
            let mut attempts = 0;
            for (failures, random) in (1..).zip(randoms) {
                if at > Duration::from_secs(60) {
                    break;
                }
                attempts += 1;
                at += profile.delay(failures, random);
            }
            prop_assert!(attempts <= 12, "{attempts}");
        }

        #[test]
        fn no_batch_is_tried_for_longer_than_it_may(profile in profile(), give_up in 0_u64..400_000, randoms in proptest::collection::vec(any::<u64>(), 64)) {
            let give_up = Duration::from_millis(give_up);
            let mut spent = Duration::ZERO;
            for (attempt, random) in (1..).zip(randoms) {
                let Some(delay) = profile.next_delay(attempt, None, give_up - spent, random) else {
                    prop_assert!(spent + profile.delay(attempt, random) > give_up);
                    break;
                };
                spent += delay;
                prop_assert!(spent <= give_up);
            }
        }
    }

    #[test]
    fn the_worst_luck_is_a_dozen_too() {
        let first_delay = Duration::from_millis(100);
        let profile = Profile {
            first_delay,
            ..Profile::default()
        };
        let until = |count: u32| {
            (1..count)
                .map(|failures| profile.delay(failures, 0))
                .sum::<Duration>()
        };
        assert!(until(12) < Duration::from_secs(60) && until(13) > Duration::from_secs(60));
        assert_eq!(profile.next_delay(1, None, LONG, 0), Some(first_delay / 2));
    }
}
