//! What the exporter says of itself: public, plain data. Knows nothing of how it is gathered.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Left};

/// Why an event was lost before it reached the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue was at its limit of records or bytes.
    QueueFull,
    /// The endpoint could not be reached, or asked for patience, for longer than an event is kept.
    Undeliverable,
    /// The endpoint refused the key, and no other came in time.
    Unauthorized,
    /// A single event larger than the endpoint takes.
    TooLarge,
    /// It was still waiting when the instance was shut down.
    Shutdown,
    /// The worker thread failed or could not be started.
    WorkerFailed,
    /// It could not be delivered, and the spool held as much as it may.
    SpoolFull,
    /// It was in the spool, and could not be read again.
    SpoolDamaged,
}

impl DropReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::Undeliverable,
        Self::Unauthorized,
        Self::TooLarge,
        Self::Shutdown,
        Self::WorkerFailed,
        Self::SpoolFull,
        Self::SpoolDamaged,
    ];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics, such as `queue_full`.
    ///
    /// The next batch tells the platform what was lost before it, in attributes of its scope such as
    /// `honeyhive.sdk.dropped.queue_full`.
    ///
    /// ```
    /// use honeyhive::report::DropReason;
    ///
    /// assert_eq!(DropReason::QueueFull.name(), "queue_full");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Undeliverable => "undeliverable",
            Self::Unauthorized => "unauthorized",
            Self::TooLarge => "too_large",
            Self::Shutdown => "shutdown",
            Self::WorkerFailed => "worker_failed",
            Self::SpoolFull => "spool_full",
            Self::SpoolDamaged => "spool_damaged",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QueueFull => "the queue was full",
            Self::Undeliverable => "the endpoint could not be reached in time",
            Self::Unauthorized => "the endpoint refused the key",
            Self::TooLarge => "larger than the endpoint takes",
            Self::Shutdown => "still waiting at shutdown",
            Self::WorkerFailed => "the worker thread failed",
            Self::SpoolFull => "the spool was full",
            Self::SpoolDamaged => "not readable in the spool",
        })
    }
}

/// Numbers of events lost, by reason.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    counts: [u64; DropReason::ALL.len()],
}

impl Dropped {
    pub(crate) fn from_counts(counts: [u64; DropReason::ALL.len()]) -> Self {
        Self { counts }
    }

    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        Self { counts }
    }

    /// How many were lost for this reason.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        self.counts.get(reason.index()).copied().unwrap_or(0)
    }

    /// How many were lost.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The reasons that occurred, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason, self.of(reason)))
            .filter(|(_, count)| *count > 0)
    }
}

impl fmt::Debug for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// What an instance has done since it was built. Numbers count events unless they say otherwise.
///
/// Whenever nothing is on its way between two counters,
/// `submitted == exported + rejected + dropped.total() + in_flight + spooled`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Spans that closed, after filters and sampling.
    pub submitted: u64,
    /// Accepted by the endpoint.
    pub exported: u64,
    /// Refused by the endpoint for good.
    pub rejected: u64,
    /// Lost before they got there.
    pub dropped: Dropped,
    /// Waiting, or on their way.
    pub in_flight: u64,
    /// Kept in files, to be delivered later: those of this instance that are there now
    /// ([`docs::spool`](crate::docs::spool)).
    pub spooled: u64,
    /// Of those exported, the ones that came out of the spool.
    pub replayed: u64,
    /// Events of other processes that were left in the spool, and delivered by this instance. They are in no other count.
    pub recovered: u64,
    /// Likewise, refused by the endpoint for good.
    pub recovered_lost: u64,
    /// Bytes of the files that the instance holds in the spool.
    pub spool_bytes: u64,
    /// How often something in the spool could not be read, and was left out.
    pub spool_corrupt: u64,
    /// Spans that closed without failing in traces that were sampled out.
    pub sampled_out: u64,
    /// Spans that were never recorded because too many were open at once.
    pub not_recorded: u64,
    /// Fields, events or parts of values that were cut, refused, or panicked while they were formatted.
    pub cut: u64,
    /// The memory that waiting events hold.
    pub queue_bytes: u64,
    /// Attempts that had to be repeated.
    pub retried: u64,
    /// Bytes of the bodies of events that went over the wire, each as often as it was sent.
    pub bytes_sent: u64,
    /// Sessions announced.
    pub sessions_started: u64,
    /// Sessions whose announcement failed; their events are delivered all the same.
    pub sessions_failed: u64,
    /// Updates of sessions delivered.
    pub updates_sent: u64,
    /// Updates of sessions lost.
    pub updates_lost: u64,
    /// Updates kept in files, to be delivered later.
    pub updates_spooled: u64,
    /// Updates of sessions that were sampled out, and have no event that is sent all the same.
    pub updates_sampled_out: u64,
    /// Values that were lost because a function given to [`Redact::with`](crate::config::Redact::with) panicked.
    pub redact_failed: u64,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}

/// What a flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Events accepted by the endpoint.
    pub sent: u64,
    /// Events refused or lost.
    pub failed: u64,
    /// Events still waiting.
    pub left: u64,
    /// Events that were moved to the spool, to be delivered later ([`docs::spool`](crate::docs::spool)).
    pub spooled: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Error {
    /// What a flush or a shutdown that failed did all the same.
    #[must_use]
    pub fn flush_report(&self) -> Option<FlushReport> {
        let Left {
            sent,
            failed,
            left,
            spooled,
            elapsed,
        } = self.left()?;
        Some(FlushReport {
            sent,
            failed,
            left,
            spooled,
            elapsed,
        })
    }
}

/// Why an instance does less than it could.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Degradation {
    /// There is neither an API key nor a server URL: nothing is recorded or sent.
    NoKey,
    /// The endpoint refused the key.
    KeyRejected {
        /// The status it answered with.
        status: u16,
    },
    /// The endpoint refused the last batch of events for good, so its events are lost.
    Refused {
        /// The status it answered with.
        status: u16,
    },
    /// No layer of the instance is in any subscriber, so nothing is recorded.
    NoLayer,
    /// The session id that was asked for is not a UUID, so a random one took its place.
    InvalidSessionId,
    /// The session could not be announced: its events are delivered under an id that only this process has made.
    LocalSession {
        /// What went wrong.
        reason: String,
    },
    /// The endpoint cannot be reached.
    Unreachable {
        /// What went wrong.
        reason: String,
    },
    /// The directory of the spool cannot be used: what cannot be delivered is kept in memory only.
    SpoolFailed {
        /// What went wrong.
        reason: String,
    },
    /// Tracing is switched off.
    Disabled,
    /// Test mode: events are built, nothing is sent.
    TestMode,
    /// The instance has been shut down.
    ShutDown,
}

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str(
                "no API key and no server URL: nothing is recorded (set HH_API_KEY or HH_API_URL)",
            ),
            Self::KeyRejected { status } => {
                write!(f, "the endpoint refused the API key (status {status})")
            }
            Self::Refused { status } => write!(
                f,
                "the endpoint refuses events (status {status}): is its address right?"
            ),
            Self::NoLayer => f.write_str(
                "no layer is in a subscriber (`registry().with(honeyhive.layer())`): nothing is recorded",
            ),
            Self::InvalidSessionId => f.write_str("session_id is not a UUID; a random one is used"),
            Self::LocalSession { reason } => {
                write!(f, "the session could not be announced: {reason}")
            }
            Self::Unreachable { reason } => write!(f, "the endpoint cannot be reached: {reason}"),
            Self::SpoolFailed { reason } => write!(f, "the spool cannot be used: {reason}"),
            Self::Disabled => {
                f.write_str("tracing is disabled (disable_tracing, HH_DISABLE_TRACING)")
            }
            Self::TestMode => f.write_str("test mode: nothing is sent (test_mode, HH_TEST_MODE)"),
            Self::ShutDown => f.write_str("shut down"),
        }
    }
}

/// How an instance is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What is amiss; empty when all is well.
    pub degraded: Vec<Degradation>,
}

impl Status {
    /// Whether all is well.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.degraded.is_empty()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.degraded.is_empty() {
            return f.write_str("healthy");
        }
        for (index, degradation) in self.degraded.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            fmt::Display::fmt(degradation, f)?;
        }
        Ok(())
    }
}
