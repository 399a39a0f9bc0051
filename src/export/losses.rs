//! What was lost so far, and whether it has been said. Knows the counters, not what is lost how.

use std::fmt;

use super::Shared;
use super::otlp::{Attribute, Scalar};
use super::report::{DropReason, Dropped};
use crate::sync::model::atomic::{AtomicBool, AtomicU64, Ordering};

/// Whether there are losses, for those who do not want to count.
#[derive(Debug, Default)]
pub(super) struct Losses {
    ever: AtomicBool,
    under_way: AtomicBool,
}

impl Losses {
    /// Notes a loss. True for the first of a series, which is worth a warning at once.
    pub(super) fn open(&self) -> bool {
        if self.under_way.load(Ordering::Relaxed) {
            return false;
        }
        self.ever.store(true, Ordering::Relaxed);
        !self.under_way.swap(true, Ordering::Relaxed)
    }

    /// Whether anything was ever lost.
    pub(super) fn ever(&self) -> bool {
        self.ever.load(Ordering::Relaxed)
    }

    /// Whether a series of losses has begun, and not ended.
    pub(super) fn under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }

    /// The series is over: the next loss is the first one again.
    pub(super) fn close(&self) {
        self.under_way.store(false, Ordering::Relaxed);
    }
}

/// Numbers of what was lost, since the instance was built or between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) dropped: Dropped,
    pub(super) rejected: u64,
    pub(super) not_recorded: u64,
    pub(super) updates: u64,
}

impl Tally {
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            dropped: self.dropped.since(&earlier.dropped),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            not_recorded: self.not_recorded.saturating_sub(earlier.not_recorded),
            updates: self.updates.saturating_sub(earlier.updates),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What the platform is told of it: one attribute of the scope for every number that is not zero.
    pub(super) fn attributes(&self) -> Vec<Attribute<'static>> {
        let reasons = self.dropped.iter();
        let dropped =
            reasons.map(|(reason, count)| ("honeyhive.sdk.dropped", reason.name(), count));
        let others = [
            ("honeyhive.sdk", "rejected", self.rejected),
            ("honeyhive.sdk", "not_recorded", self.not_recorded),
            ("honeyhive.sdk", "updates_lost", self.updates),
        ];
        dropped
            .chain(others)
            .filter(|(_, _, count)| *count > 0)
            .map(|(prefix, name, count)| Attribute {
                prefix,
                name: name.into(),
                value: Scalar::Int(i64::try_from(count).unwrap_or(i64::MAX)),
            })
            .collect()
    }
}

/// `12 events were lost: 10 (the queue was full), 2 (refused by the endpoint)`
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.dropped.total() + self.rejected + self.not_recorded;
        if events > 0 || self.updates == 0 {
            write!(f, "{events} events were lost")?;
        }
        let reasons = self.dropped.iter();
        let others = [
            (self.rejected, "refused by the endpoint"),
            (self.not_recorded, "too many spans were open"),
        ];
        let others = others.into_iter().filter(|(count, _)| *count > 0);
        let all = reasons
            .map(|(reason, count)| (count, reason.to_string()))
            .chain(others.map(|(count, why)| (count, why.to_owned())));
        for (index, (count, why)) in all.enumerate() {
            let before = if index == 0 { ": " } else { ", " };
            write!(f, "{before}{count} ({why})")?;
        }
        if self.updates > 0 {
            let before = if events > 0 { ", and " } else { "" };
            write!(
                f,
                "{before}{} updates of events or sessions were lost",
                self.updates
            )?;
        }
        Ok(())
    }
}

impl Shared {
    /// Events lost so far, by reason; the queue refused so many of them.
    pub(super) fn dropped(&self, refused: u64) -> Dropped {
        let mut counts = [0; DropReason::ALL.len()];
        for (count, counter) in counts.iter_mut().zip(&self.counters.dropped) {
            *count = counter.load(Ordering::Relaxed);
        }
        if let Some(full) = counts.get_mut(DropReason::QueueFull.index()) {
            *full += refused;
        }
        Dropped::from_counts(counts)
    }

    /// Everything lost so far.
    pub(super) fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            dropped: self.dropped(self.queue.counts().refused),
            rejected: read(&self.counters.rejected),
            not_recorded: read(&self.counters.not_recorded),
            updates: read(&self.counters.updates_lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(count: u64) -> Dropped {
        let mut counts = [0; DropReason::ALL.len()];
        counts[DropReason::QueueFull.index()] = count;
        Dropped::from_counts(counts)
    }

    #[test]
    fn a_tally_is_said_in_words_and_in_attributes() {
        let mut tally = Tally {
            dropped: dropped(10),
            rejected: 2,
            ..Tally::default()
        };
        assert_eq!(
            tally.to_string(),
            "12 events were lost: 10 (the queue was full), 2 (refused by the endpoint)"
        );
        let named: Vec<String> = tally
            .attributes()
            .iter()
            .map(|attribute| {
                format!(
                    "{}.{}={:?}",
                    attribute.prefix, attribute.name, attribute.value
                )
            })
            .collect();
        assert_eq!(
            named,
            [
                "honeyhive.sdk.dropped.queue_full=Int(10)",
                "honeyhive.sdk.rejected=Int(2)"
            ]
        );
        tally.updates = 3;
        let later = Tally {
            dropped: dropped(11),
            ..tally
        };
        assert_eq!(
            later.since(&tally).to_string(),
            "1 events were lost: 1 (the queue was full)"
        );
        let updates = Tally {
            updates: 3,
            ..Tally::default()
        };
        assert_eq!(
            updates.to_string(),
            "3 updates of events or sessions were lost"
        );
        assert!(Tally::default().attributes().is_empty());
    }

    #[test]
    fn the_first_loss_of_each_series_is_told_apart() {
        let losses = Losses::default();
        assert!(!losses.ever());
        assert!(losses.open() && !losses.open());
        losses.close();
        assert!(losses.ever() && !losses.under_way());
        assert!(losses.open() && losses.under_way());
    }
}
