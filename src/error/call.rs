//! What an error of the REST client knows besides its sentence. Knows nothing of how calls are made.

use std::time::Duration;

use super::{Error, Kind};

/// The call that failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) field: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) message: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) attempts: u32,
}

#[cfg_attr(docsrs, doc(cfg(feature = "api")))]
impl Error {
    /// An error of a call.
    #[cold]
    pub(crate) fn of_call(kind: Kind, message: impl Into<String>, call: Call) -> Self {
        let mut error = Self::new(kind, message);
        error.inner.call = Some(call);
        error
    }

    fn call(&self) -> Option<&Call> {
        self.inner.call.as_ref()
    }

    /// The method of [`api::Client`](crate::api::Client) that failed, such as `datasets.create`.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.call().map(|call| call.operation)
    }

    /// The field that was refused before sending, or that an answer lacks, such as `events[3].event_type`.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.call()?.field.as_deref()
    }

    /// The status of the answer, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.call()?.status
    }

    /// What the server said of the reason, cut to 512 bytes.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.call()?.message.as_deref()
    }

    /// The server's code for the reason.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.call()?.code.as_deref()
    }

    /// When the server wants to be asked again, from the time of its answer.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.call()?.retry_after
    }

    /// How many requests were sent; zero: it was refused before.
    #[must_use]
    pub fn attempts(&self) -> Option<u32> {
        self.call().map(|call| call.attempts)
    }

    /// The server answered, and not with success.
    #[must_use]
    pub fn is_status(&self) -> bool {
        self.inner.kind == Kind::Status
    }

    /// The request breaks a rule of the API that is known here, and was not sent; [`field`](Self::field) names where.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.inner.kind == Kind::Invalid
    }

    /// No connection could be made, or it broke before the answer was complete.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        self.inner.kind == Kind::Connection
    }

    /// There is no such thing, or the key may not see it: status 404, or an answer that is empty where it should not be.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let unsupported = self.inner.kind == Kind::Unsupported;
        self.inner.kind == Kind::NotFound || (self.status() == Some(404) && !unsupported)
    }

    /// The key was refused: status 401 or 403.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// Too many requests: status 429. See [`retry_after`](Self::retry_after).
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.status() == Some(429)
    }

    /// It is there already, or was changed meanwhile: status 409.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// The server failed: a status from 500.
    #[must_use]
    pub fn is_server_error(&self) -> bool {
        self.status().is_some_and(|status| status >= 500)
    }

    /// The server does not offer this: status 405 or 501, or a route that is not there.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.inner.kind == Kind::Unsupported || matches!(self.status(), Some(405 | 501))
    }
}
