//! What to make of the outcome of an attempt, and when to try again: pure functions. Knows nothing of clients, queues
//! or clocks.

use std::time::Duration;

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

/// The first wait, the longest wait, and for how long a batch is tried.
pub(crate) const FIRST_DELAY: Duration = Duration::from_secs(1);
/// See [`FIRST_DELAY`].
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(30);
/// See [`FIRST_DELAY`].
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// How long to wait before attempt `attempt` (the first repetition is 1), or `None` when the batch is out of time.
///
/// Exponential with full jitter over the upper half; a hint of the server is a lower bound, capped at
/// [`MAX_DELAY`]. `random` is any number.
pub(crate) fn next_delay(
    attempt: u32,
    hint: Option<Duration>,
    remaining: Duration,
    random: u64,
) -> Option<Duration> {
    let exponent = attempt.saturating_sub(1).min(16);
    let ceiling = FIRST_DELAY.saturating_mul(1 << exponent).min(MAX_DELAY);
    let half = ceiling / 2;
    let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    let delay = half + Duration::from_nanos(random % span);
    let delay = delay.max(hint.unwrap_or_default().min(MAX_DELAY));
    (delay <= remaining).then_some(delay)
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

    proptest! {
        #[test]
        fn waits_are_bounded_and_respect_the_hint(attempt in 0_u32..100, hint in 0_u64..100_000, random: u64) {
            let hint = Duration::from_secs(hint);
            let delay = next_delay(attempt, Some(hint), GIVE_UP_AFTER, random).unwrap();
            prop_assert!(delay <= MAX_DELAY);
            prop_assert!(delay >= FIRST_DELAY / 2);
            prop_assert!(delay >= hint.min(MAX_DELAY));
            prop_assert_eq!(next_delay(attempt, None, Duration::from_millis(100), random), None);
        }
    }
}
