//! The one error type of the crate. Knows nothing of the rest.

#[cfg(feature = "api")]
mod call;

use std::error::Error as StdError;
use std::fmt;

#[cfg(feature = "api")]
pub(crate) use call::Call;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong, in one opaque type.
///
/// Ask it what it is with the `is_*` predicates; print it for a sentence that says what to do. An API key is
/// never part of it.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: Kind,
    message: String,
    source: Option<Source>,
    report: Option<crate::error::Left>,
    #[cfg(feature = "api")]
    call: Option<Call>,
}

/// What a flush that did not finish left behind: numbers of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    pub(crate) left: u64,
    pub(crate) spooled: u64,
    pub(crate) elapsed: std::time::Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Config,
    Timeout,
    Delivery,
    Io,
    Decode,
    #[cfg(feature = "api")]
    Invalid,
    #[cfg(feature = "api")]
    Status,
    #[cfg(feature = "api")]
    Connection,
    #[cfg(feature = "api")]
    NotFound,
    #[cfg(feature = "api")]
    Unsupported,
}

impl Error {
    #[cold]
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                source: None,
                report: None,
                #[cfg(feature = "api")]
                call: None,
            }),
        }
    }

    /// A setting that cannot be used: `message` names the field, where it came from and what is accepted.
    #[cold]
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// A file, a socket or a database that cannot be used: `message` names it and says what to do.
    #[cfg(any(feature = "server", feature = "api"))]
    #[cold]
    pub(crate) fn io(message: impl Into<String>) -> Self {
        Self::new(Kind::Io, message)
    }

    #[cfg(any(feature = "server", feature = "api"))]
    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    #[must_use]
    pub(crate) fn with_report(mut self, report: Left) -> Self {
        self.inner.report = Some(report);
        self
    }

    /// The same once more, for somebody else who asked; without the cause.
    pub(crate) fn again(&self) -> Self {
        let mut again = Self::new(self.inner.kind, self.inner.message.clone());
        again.inner.report = self.inner.report;
        again
    }

    /// Notes how long what failed took.
    #[must_use]
    pub(crate) fn after(mut self, elapsed: std::time::Duration) -> Self {
        if let Some(report) = &mut self.inner.report {
            report.elapsed = elapsed;
        }
        self
    }

    /// Notes how many events were moved to the spool meanwhile.
    #[must_use]
    pub(crate) fn with_spooled(mut self, spooled: u64) -> Self {
        if let Some(report) = &mut self.inner.report {
            report.spooled = spooled;
        }
        self
    }

    pub(crate) fn left(&self) -> Option<Left> {
        self.inner.report
    }

    /// A setting is missing, malformed or out of range.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.inner.kind == Kind::Config
    }

    /// A deadline passed before the work was done.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.inner.kind == Kind::Timeout
    }

    /// Events could not be delivered: the endpoint refused them or the key, or they were lost. An endpoint that cannot
    /// be reached is tried again until the deadline, so that is a timeout.
    #[must_use]
    pub fn is_delivery(&self) -> bool {
        self.inner.kind == Kind::Delivery
    }

    /// A file, a socket or a database failed.
    #[must_use]
    pub fn is_io(&self) -> bool {
        self.inner.kind == Kind::Io
    }

    /// Something that was received or read does not have the form it should have.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        self.inner.kind == Kind::Decode
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

/// The sentence that `Display` prints, and its causes: what a `main` that returns an error shows.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        let mut source = StdError::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_ref().map(|source| &**source as _)
    }
}
