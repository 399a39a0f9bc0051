//! Which calls are repeated, and when: the exporter's rules, read for calls that somebody waits for. Pure. Knows nothing
//! of HTTP clients.

use std::time::Duration;

use crate::export::retry::{Outcome, Verdict, verdict};

/// The first wait is half of this to this; each later one up to twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer. A server that asks for more gets its error back to the caller.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// How an attempt ended that did not succeed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    Status {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// The request never left.
    NotSent,
    /// It left, and what came of it is not known.
    Broken,
}

/// How long to wait before repetition number `attempt` (from 1), or `None` when the call is not repeated.
///
/// What certainly was not done is repeated always: no connection, and 429. What may have been done is repeated only when
/// a second time does no harm: what OTLP repeats, and 408 and 500 besides.
pub(crate) fn pause(ended: Ended, repeats: bool, attempt: u32, random: u64) -> Option<Duration> {
    let (outcome, certain) = match ended {
        Ended::Status {
            status,
            retry_after,
        } => (
            Outcome::Answered {
                status,
                retry_after,
            },
            status == 429,
        ),
        Ended::NotSent => (Outcome::Failed, true),
        Ended::Broken => (Outcome::Failed, false),
    };
    if !repeats && !certain {
        return None;
    }
    let hint = match (verdict(&outcome, false), ended) {
        (Verdict::Retry { after }, _) => after,
        (
            _,
            Ended::Status {
                status: 408 | 500,
                retry_after,
            },
        ) => retry_after,
        _ => return None,
    };
    let ceiling = FIRST
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(LONGEST);
    let half = ceiling / 2;
    let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    let own = half + Duration::from_nanos(random % span);
    match hint {
        Some(hint) if hint > LONGEST => None,
        // Asked to come back after so long, it would be rude to come earlier and slow to come much later.
        Some(hint) => Some(hint.saturating_add(own / 10)),
        None => Some(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Ended {
        Ended::Status {
            status,
            retry_after: None,
        }
    }

    #[test]
    fn what_is_repeated() {
        let all: Vec<u16> = (300..600)
            .filter(|code| pause(status(*code), true, 1, 0).is_some())
            .collect();
        assert_eq!(all, [408, 429, 500, 502, 503, 504]);
        let once: Vec<u16> = (300..600)
            .filter(|code| pause(status(*code), false, 1, 0).is_some())
            .collect();
        assert_eq!(once, [429]);
        assert!(pause(Ended::NotSent, false, 1, 0).is_some());
        assert!(pause(Ended::Broken, false, 1, 0).is_none());
        assert!(pause(Ended::Broken, true, 1, 0).is_some());
    }

    #[test]
    fn waits_grow_and_heed_the_server() {
        for random in [0, 1, u64::MAX] {
            for attempt in 1..40 {
                let wait = pause(Ended::Broken, true, attempt, random).unwrap();
                assert!(wait >= FIRST / 2 && wait <= LONGEST);
            }
        }
        let asked = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            let ended = Ended::Status {
                status: 429,
                retry_after,
            };
            pause(ended, false, 1, 0)
        };
        assert!(asked(7).is_some_and(|wait| wait >= Duration::from_secs(7)));
        assert!(asked(0).is_some_and(|wait| wait < Duration::from_secs(1)));
        assert_eq!(asked(31), None);
    }
}
