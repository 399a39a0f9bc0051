//! What is said of losses: the first one where it happens, then a summary a minute, and a line when they have ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Worker;
use crate::export::losses::Tally;
use crate::sync::lock;

/// Losses are summed up this often while they go on.
const SUMMARY: Duration = Duration::from_secs(60);
/// They have ended when there were none for this long, and all is well.
const CALM: Duration = Duration::from_secs(10);

/// Losses one after the other.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// What had been lost when the last series ended.
    before: Tally,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    /// What had been lost at the last summary, and when it was last looked at.
    told: Tally,
    seen: Tally,
    next_look: Instant,
    next_summary: Instant,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    /// So much since the last summary.
    Continues(Tally),
    /// So much since the series began.
    Ended(Tally),
}

impl Series {
    /// When the next look is due; `None` while nothing is lost.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.current.as_ref().map(|current| current.next_look)
    }

    fn begin(&mut self, now: Instant) {
        self.current = Some(Current {
            told: self.before,
            seen: self.before,
            next_look: now + CALM,
            next_summary: now + SUMMARY,
        });
    }

    /// Looks at what has been lost so far; `well`: deliveries get through.
    fn look(&mut self, now: Instant, tally: Tally, well: bool) -> Finding {
        let Some(current) = &mut self.current else {
            return Finding::Nothing;
        };
        current.next_look = now + CALM;
        let calm = tally == current.seen;
        current.seen = tally;
        if calm && well {
            let lost = tally.since(&self.before);
            self.before = tally;
            self.current = None;
            return Finding::Ended(lost);
        }
        if now < current.next_summary {
            return Finding::Nothing;
        }
        current.next_summary = now + SUMMARY;
        let lost = tally.since(&current.told);
        current.told = tally;
        if lost.is_empty() {
            Finding::Nothing
        } else {
            Finding::Continues(lost)
        }
    }
}

impl Worker {
    /// Says what there is to say by now.
    pub(super) fn watch_losses(&mut self) {
        if !self.shared.losses.under_way() {
            return;
        }
        let now = Instant::now();
        let Some(next_look) = self.losses.next_look() else {
            self.losses.begin(now);
            return;
        };
        if now < next_look {
            return;
        }
        let well = {
            let health = lock(&self.shared.health);
            health.unreachable.is_none()
                && health.key_rejected.is_none()
                && health.refused.is_none()
        };
        match self.losses.look(now, self.shared.tally(), well) {
            Finding::Nothing => {}
            Finding::Continues(lost) => self.shared.log.warn(&format!("in the last minute {lost}")),
            Finding::Ended(lost) => {
                self.shared.losses.close();
                if !lost.is_empty() {
                    self.shared
                        .log
                        .warn(&format!("events are delivered again; {lost}"));
                }
            }
        }
    }

    /// The worker ends: what has not been said yet.
    pub(super) fn sum_losses_up(&self) {
        let told = match &self.losses.current {
            Some(current) => current.told,
            None => self.losses.before,
        };
        let lost = self.shared.tally().since(&told);
        if !lost.is_empty() {
            self.shared.log.warn(&lost.to_string());
        }
    }

    /// The next batch says what was lost so far.
    pub(super) fn tell_losses(&mut self) {
        if !self.shared.losses.ever() {
            return;
        }
        let attributes = self.shared.tally().attributes();
        if attributes != self.envelope.scope_attributes {
            self.envelope = Arc::new(self.envelope.with_scope_attributes(attributes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(rejected: u64) -> Tally {
        Tally {
            rejected,
            ..Tally::default()
        }
    }

    #[test]
    fn a_summary_a_minute_and_one_line_at_the_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut series = Series::default();
        assert_eq!(series.look(start, lost(0), true), Finding::Nothing);
        series.begin(start);
        let mut found = Vec::new();
        // Two minutes of losses, one a second; a minute of outage without any; then all is well.
        for second in (10..=240).step_by(10) {
            let tally = lost(second.min(120));
            match series.look(at(second), tally, second > 180) {
                Finding::Nothing => {}
                other => found.push((second, other)),
            }
        }
        assert_eq!(
            found,
            [
                (60, Finding::Continues(lost(60))),
                (120, Finding::Continues(lost(60))),
                (190, Finding::Ended(lost(120))),
            ]
        );
        assert_eq!(series.next_look(), None);
        // The next series counts its own.
        series.begin(at(1_000));
        assert_eq!(series.look(at(1_010), lost(125), true), Finding::Nothing);
        assert_eq!(
            series.look(at(1_020), lost(125), true),
            Finding::Ended(lost(5))
        );
    }
}
