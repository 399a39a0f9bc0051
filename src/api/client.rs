//! The client: whose settings, whose connections, whose cache. Knows nothing of single operations.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::api_keys::ApiKeys;
use super::cache::{Cache, Caches};
use super::charts::Charts;
use super::configurations::Configurations;
use super::datapoints::Datapoints;
use super::datasets::Datasets;
use super::events::Events;
use super::legacy::Legacy;
use super::metrics::Metrics;
use super::queues::Queues;
use super::runs::Runs;
use super::sessions::Sessions;
use crate::config::live::Live;
use crate::config::{self, Config, Sources};
use crate::error::Error;
use crate::export::transport::secured;
use crate::lifecycle::HoneyHive;
use crate::sync::lock;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 3;

/// Redirects are followed on the same server, where they keep the method. Elsewhere neither key nor data has any business.
fn redirects() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let here = attempt.previous().last().map(reqwest::Url::origin);
        let elsewhere = here != Some(attempt.url().origin());
        let keeps_method = matches!(attempt.status().as_u16(), 307 | 308);
        if elsewhere || !keeps_method || attempt.previous().len() > MAX_REDIRECTS {
            attempt.stop()
        } else {
            attempt.follow()
        }
    })
}

/// A client of the platform's REST API, or of the local server.
///
/// It is cheap to clone; clones share connections and cache. Its futures need a Tokio runtime with time and I/O;
/// [`blocking::Client`](super::blocking::Client) does without.
///
/// ```no_run
/// # async fn example() -> Result<(), honeyhive::Error> {
/// use honeyhive::api::{Client, NewDataset};
///
/// let client = Client::from_env()?; // HH_API_KEY, HH_API_URL
/// let id = client.datasets().create(NewDataset::new().name("questions")).await?;
/// println!("{}", client.datasets().get(&id).await?.name);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    timeout: Option<Duration>,
    max_retries: Option<u32>,
}

struct Inner {
    config: Arc<Live<Config>>,
    /// The connections, and whether they are fit for TLS. Made by the first call.
    http: Mutex<Option<(bool, reqwest::Client)>>,
    caches: Arc<Caches>,
}

impl Inner {
    fn new(config: Arc<Live<Config>>) -> Self {
        Self {
            config,
            http: Mutex::new(None),
            caches: Arc::default(),
        }
    }
}

/// The settings of a [`Client`] that belongs to no instance. What is not set here is read from the environment, `.env`
/// and `honeyhive.toml`, as [`honeyhive::Builder`](crate::Builder) does.
///
/// ```
/// use std::time::Duration;
/// use honeyhive::api::Client;
///
/// let client = Client::builder()
///     .server_url("http://127.0.0.1:4318")
///     .timeout(Duration::from_secs(2))
///     .build()?;
/// # let _ = client;
/// # Ok::<(), honeyhive::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    settings: config::Builder,
}

impl Builder {
    /// Takes these settings as a start.
    pub fn settings(settings: config::Builder) -> Self {
        Self { settings }
    }

    fn with(self, change: impl FnOnce(config::Builder) -> config::Builder) -> Self {
        Self {
            settings: change(self.settings),
        }
    }

    /// The key of the project; see [`api_key`](crate::Builder::api_key).
    pub fn api_key(self, key: impl Into<String>) -> Self {
        self.with(|settings| settings.api_key(key))
    }

    /// The key that starts sessions and writes events; see [`ingestion_api_key`](crate::Builder::ingestion_api_key).
    pub fn ingestion_api_key(self, key: impl Into<String>) -> Self {
        self.with(|settings| settings.ingestion_api_key(key))
    }

    /// The key of what belongs to a whole project; see [`data_plane_api_key`](crate::Builder::data_plane_api_key).
    pub fn data_plane_api_key(self, key: impl Into<String>) -> Self {
        self.with(|settings| settings.data_plane_api_key(key))
    }

    /// Where to; see [`server_url`](crate::Builder::server_url).
    pub fn server_url(self, url: impl Into<String>) -> Self {
        self.with(|settings| settings.server_url(url))
    }

    /// Whether `http://` may be used for other hosts; see [`allow_insecure`](crate::Builder::allow_insecure).
    pub fn allow_insecure(self, on: bool) -> Self {
        self.with(|settings| settings.allow_insecure(on))
    }

    /// How long one attempt may take; see [`api_timeout`](crate::Builder::api_timeout).
    pub fn timeout(self, time: Duration) -> Self {
        self.with(|settings| settings.api_timeout(time))
    }

    /// The same for exports; see [`api_export_timeout`](crate::Builder::api_export_timeout).
    pub fn export_timeout(self, time: Duration) -> Self {
        self.with(|settings| settings.api_export_timeout(time))
    }

    /// How often a call is repeated; see [`api_max_retries`](crate::Builder::api_max_retries).
    pub fn max_retries(self, count: u32) -> Self {
        self.with(|settings| settings.api_max_retries(count))
    }

    /// Makes the client. Reads the environment and files, never the network.
    ///
    /// # Errors
    ///
    /// A setting is malformed or out of range ([`Error::is_config`]). A missing key is an error of the first call that
    /// needs it.
    pub fn build(self) -> Result<Client, Error> {
        let config = self.settings.resolve(&Sources::discover())?;
        Ok(Client::of(Arc::new(Inner::new(Arc::new(Live::new(
            config,
        ))))))
    }
}

impl Client {
    /// A client configured by the environment alone: variables, `.env` and `honeyhive.toml`.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Starts the settings of a client; what they do not say comes from the environment.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn of(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            timeout: None,
            max_retries: None,
        }
    }

    /// The same settings and cache, with connections of its own.
    pub(crate) fn apart(&self) -> Self {
        Self {
            inner: Arc::new(Inner {
                config: Arc::clone(&self.inner.config),
                http: Mutex::new(None),
                caches: Arc::clone(&self.inner.caches),
            }),
            ..*self
        }
    }

    /// The same client, of which an attempt may take this long, exports included.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self.clone()
        }
    }

    /// The same client, which repeats calls so often.
    #[must_use]
    pub fn with_max_retries(&self, count: u32) -> Self {
        Self {
            max_retries: Some(count),
            ..self.clone()
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.inner.config.load_full()
    }

    pub(crate) fn timeout(&self, config: &Config) -> Duration {
        self.timeout.unwrap_or(config.api_timeout())
    }

    pub(crate) fn export_timeout(&self) -> Duration {
        self.timeout
            .unwrap_or_else(|| self.config().api_export_timeout())
    }

    pub(crate) fn max_retries(&self, config: &Config) -> u32 {
        self.max_retries.unwrap_or(config.api_max_retries())
    }

    pub(crate) fn caches(&self) -> &Caches {
        &self.inner.caches
    }

    /// The connections; those without TLS give way when it is needed.
    pub(crate) fn http(&self, https: bool) -> Result<reqwest::Client, String> {
        let mut http = lock(&self.inner.http);
        if let Some((fit, client)) = &*http
            && (*fit || !https)
        {
            return Ok(client.clone());
        }
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("honeyhive-rust/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(redirects());
        let client = secured(builder, https).map_err(|failure| failure.reason)?;
        *http = Some((https, client.clone()));
        Ok(client)
    }

    /// Sessions: start, list, update.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self)
    }

    /// Events: create, read, update, search, export.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self)
    }

    /// Datapoints.
    #[must_use]
    pub fn datapoints(&self) -> Datapoints {
        Datapoints::new(self)
    }

    /// Datasets, their import and export.
    #[must_use]
    pub fn datasets(&self) -> Datasets {
        Datasets::new(self)
    }

    /// Metrics and their versions.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::new(self)
    }

    /// Configurations: prompts and their settings.
    #[must_use]
    pub fn configurations(&self) -> Configurations {
        Configurations::new(self)
    }

    /// Runs of experiments: their results and comparison.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs::new(self)
    }

    /// Charts, also those of one project.
    #[must_use]
    pub fn charts(&self) -> Charts {
        Charts::new(self)
    }

    /// Annotation queues.
    #[must_use]
    pub fn queues(&self) -> Queues {
        Queues::new(self)
    }

    /// Keys of a project.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(self)
    }

    /// Routes that have a successor, for servers that do not have it yet.
    #[must_use]
    pub fn legacy(&self) -> Legacy {
        Legacy::new(self)
    }

    /// What `get_cached` methods have read.
    #[must_use]
    pub fn cache(&self) -> Cache<'_> {
        Cache::new(&self.inner.caches)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server_url", &self.config().server_url())
            .finish_non_exhaustive()
    }
}

impl HoneyHive {
    /// A client of the REST API with the settings of this instance. All of them share connections and cache, and follow
    /// [`reconfigure`](HoneyHive::reconfigure).
    ///
    /// ```
    /// # async fn example(honeyhive: &honeyhive::HoneyHive) -> Result<(), honeyhive::Error> {
    /// for dataset in honeyhive.api().datasets().list(Default::default()).await? {
    ///     println!("{}", dataset.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[cfg_attr(docsrs, doc(cfg(feature = "api")))]
    pub fn api(&self) -> Client {
        let kept = self.keep(|config| Arc::new(Inner::new(config)) as Arc<dyn Any + Send + Sync>);
        // Nobody else keeps anything there.
        let inner = kept.downcast::<Inner>();
        Client::of(
            inner.unwrap_or_else(|_| Arc::new(Inner::new(Arc::new(Live::new(Config::default()))))),
        )
    }
}
