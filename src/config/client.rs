//! What the configuration says to the REST client. Knows nothing of calls.

use std::time::Duration;

use super::{ApiKey, Config};
#[cfg(doc)]
use super::{DEFAULT_API_EXPORT_TIMEOUT, DEFAULT_API_MAX_RETRIES, DEFAULT_API_TIMEOUT};

impl Config {
    /// The key for what belongs to a project as a whole (`HH_DATA_PLANE_API_KEY`). Absent by default.
    #[must_use]
    pub fn data_plane_api_key(&self) -> Option<&ApiKey> {
        self.data_plane_api_key.as_ref()
    }

    /// How long one attempt of a call of the REST client may take (`HH_API_TIMEOUT`): [`DEFAULT_API_TIMEOUT`] unless set.
    #[must_use]
    pub fn api_timeout(&self) -> Duration {
        self.api_timeout
    }

    /// The same for exporting events (`HH_EXPORT_TIMEOUT_SECONDS`): [`DEFAULT_API_EXPORT_TIMEOUT`] unless set.
    #[must_use]
    pub fn api_export_timeout(&self) -> Duration {
        self.api_export_timeout
    }

    /// How often the REST client repeats a call that failed (`HH_MAX_RETRIES`): [`DEFAULT_API_MAX_RETRIES`] unless set.
    #[must_use]
    pub fn api_max_retries(&self) -> u32 {
        self.api_max_retries
    }

    /// Whether the REST client keeps what it read (`HH_CACHE_ENABLED`). On by default.
    #[must_use]
    pub fn cache_enabled(&self) -> bool {
        self.cache_enabled
    }

    /// How many entries each cache of the REST client may have (`HH_CACHE_MAX_SIZE`). Absent by default: 100 prompts, 50
    /// other resources.
    #[must_use]
    pub fn cache_max_size(&self) -> Option<usize> {
        self.cache_max_size
    }

    /// How long an entry counts as fresh (`HH_CACHE_TTL`). Absent by default: 15 minutes for prompts, an hour for other
    /// resources.
    #[must_use]
    pub fn cache_ttl(&self) -> Option<Duration> {
        self.cache_ttl
    }

    /// How often entries that are too old are removed (`HH_CACHE_CLEANUP_INTERVAL`). Absent by default: every 3 minutes for
    /// prompts, every 5 for other resources.
    #[must_use]
    pub fn cache_cleanup_interval(&self) -> Option<Duration> {
        self.cache_cleanup_interval
    }

    /// Whether the server is on this machine, and so needs no key.
    #[cfg(feature = "api")]
    pub(crate) fn is_loopback(&self) -> bool {
        let plain = self.server_url.replacen("https://", "http://", 1);
        !super::value::is_insecure(&plain)
    }
}
