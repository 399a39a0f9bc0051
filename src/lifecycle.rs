//! The owner of an instance: from a builder to a layer, and to an orderly end. Knows everything below it; enrichment
//! and sessions add their own methods where they live.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;

use crate::config::live::Live;
use crate::config::{Builder, Config, File, ResilienceLevel, Watch};
use crate::environment;
use crate::error::{Error, Kind};
use crate::export::report::{Degradation, FlushReport, Stats, Status};
use crate::export::{Exporter, Pending};
use crate::id::SessionId;
use crate::layer::{HoneyHiveLayer, Shared};
use crate::registry::{self, Instance, Owner as _};
use crate::sync::{Turn, lock};

/// An instance of the SDK: the owner of its layers' spans, its session and its export thread.
///
/// Keep it until the end of `main`: dropping it sends what is queued, for as long as the environment's flush deadline
/// allows (see [`Builder::flush_timeout`]). A static is never dropped; call [`flush_blocking`](Self::flush_blocking) or
/// [`shutdown_blocking`](Self::shutdown_blocking) at the end instead. Share it in an `Arc`.
///
/// ```no_run
/// use tracing_subscriber::prelude::*;
///
/// let honeyhive = honeyhive::HoneyHive::from_env()?;
/// tracing_subscriber::registry().with(honeyhive.layer()).init();
/// # Ok::<(), honeyhive::Error>(())
/// ```
#[must_use = "dropping it flushes: keep it until the end of main"]
pub struct HoneyHive {
    shared: Arc<Shared>,
    config: Arc<Live<Config>>,
    closed: Arc<AtomicBool>,
    /// What handles reach; nobody else holds it for long.
    closing: Arc<Closing>,
    /// What others keep with the instance: the REST client.
    #[cfg(feature = "api")]
    client: std::sync::OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
}

/// What spans that are still open at shutdown are waited for.
const OPEN_SPANS: Duration = Duration::from_millis(100);

static NEXT_INSTANCE: AtomicU64 = AtomicU64::new(1);

impl Builder {
    /// Checks the settings and makes an instance. Reads the environment and files, never the network; no thread is
    /// started before the first span has closed.
    ///
    /// # Errors
    ///
    /// A setting is malformed or out of range ([`Error::is_config`]): the message names it, where it came from and
    /// what is accepted. A missing key is no error, unless [`require_key`](Self::require_key) says so: the instance
    /// is inert, and says so once.
    pub fn build(self) -> Result<HoneyHive, Error> {
        let (sources, strategy) = environment::discover();
        let config = self.resolve(&sources)?;
        crate::export::check(&config)?;
        let watched = if config.watch_config {
            sources.watched()
        } else {
            None
        };
        let honeyhive = HoneyHive::new(config, strategy);
        if let Some(file) = watched {
            honeyhive.closing.watch(file);
        }
        registry::announce(honeyhive.instance(), true);
        Ok(honeyhive)
    }
}

impl HoneyHive {
    /// An instance configured by the environment alone: variables, `.env` and `honeyhive.toml`.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Starts a configuration; what it does not set comes from the environment.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn new(config: Config, strategy: environment::Strategy) -> Self {
        let id = NEXT_INSTANCE.fetch_add(1, Ordering::Relaxed);
        let session = config
            .session_id
            .map_or_else(SessionId::random, SessionId::from_uuid);
        let enabled = is_enabled(&config);
        let config = Arc::new(Live::new(config));
        let exporter = Arc::new(Exporter::new(id, Arc::clone(&config), strategy, session));
        let settings = config.load();
        for warning in &settings.warnings {
            exporter.log().warn(warning);
        }
        if !enabled && !settings.disable_tracing && settings.otlp_enabled {
            exporter.log().warn(&Degradation::NoKey.to_string());
        }
        exporter
            .log()
            .debug(|| format!("instance {id}, session {session}: {}", *settings));
        if enabled {
            registry::add(&exporter);
        }
        let shared = Arc::new(Shared::new(id, session, exporter, &settings, enabled));
        drop(settings);
        let closed = Arc::new(AtomicBool::new(false));
        let closing = Arc::new(Closing {
            shared: Arc::clone(&shared),
            config: Arc::clone(&config),
            closed: Arc::clone(&closed),
            turn: Turn::default(),
            watch: Mutex::new(None),
            stage: Mutex::new(Stage::Open),
        });
        Self {
            shared,
            config,
            closed,
            closing,
            #[cfg(feature = "api")]
            client: std::sync::OnceLock::new(),
        }
    }

    /// An instance that knows of nothing but `settings`, and whose requests end on a tape.
    #[cfg(feature = "testing")]
    pub(crate) fn recording(settings: Builder, tape: crate::export::Tape) -> Result<Self, Error> {
        let mut config = settings.resolve(&crate::config::Sources::default())?;
        let name = config.session_name.take();
        config.session_name = Some(name.unwrap_or_else(|| "capture".to_owned()));
        let honeyhive = Self::new(config, environment::Environment::Standard.strategy());
        honeyhive.shared.exporter.record_on(tape);
        registry::announce(honeyhive.instance(), false);
        Ok(honeyhive)
    }

    /// A handle that may be cloned, stored and sent anywhere, and keeps nothing alive.
    ///
    /// ```
    /// let honeyhive = honeyhive::HoneyHive::builder().test_mode(true).build()?;
    /// let instance = honeyhive.instance();
    /// drop(honeyhive);
    /// assert!(!instance.is_alive());
    /// # Ok::<(), honeyhive::Error>(())
    /// ```
    #[must_use]
    pub fn instance(&self) -> Instance {
        let owner: Weak<Closing> = Arc::downgrade(&self.closing);
        Instance::new(&self.shared.exporter, owner)
    }

    /// A layer for a `tracing-subscriber` registry; every call makes a new one.
    ///
    /// ```
    /// use tracing_subscriber::prelude::*;
    ///
    /// let honeyhive = honeyhive::HoneyHive::builder().test_mode(true).build()?;
    /// let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    /// tracing::subscriber::with_default(subscriber, || tracing::info_span!("work").in_scope(|| {}));
    /// # Ok::<(), honeyhive::Error>(())
    /// ```
    pub fn layer<S>(&self) -> HoneyHiveLayer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.shared.layer()
    }

    pub(crate) fn id(&self) -> u64 {
        self.shared.id
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What `make` made of the configuration in force, the first time it was asked for.
    #[cfg(feature = "api")]
    pub(crate) fn keep(
        &self,
        make: impl FnOnce(Arc<Live<Config>>) -> Arc<dyn std::any::Any + Send + Sync>,
    ) -> Arc<dyn std::any::Any + Send + Sync> {
        Arc::clone(self.client.get_or_init(|| make(Arc::clone(&self.config))))
    }

    /// The resolved configuration.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The numbers of delivery in force and the reason for each: where the program runs, what it does, who set it.
    ///
    /// ```
    /// let honeyhive = honeyhive::HoneyHive::builder().test_mode(true).build()?;
    /// println!("{}", honeyhive.strategy());
    /// # Ok::<(), honeyhive::Error>(())
    /// ```
    #[must_use]
    pub fn strategy(&self) -> environment::Strategy {
        self.shared.exporter.strategy()
    }

    /// The id of the instance's own session: that of every event which belongs to no other.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.shared.session
    }

    /// Changes settings of a running instance, without a restart; only the session and the service stay what they were.
    /// The values it had stay where `change` does not set them.
    ///
    /// ```
    /// # let honeyhive = honeyhive::HoneyHive::builder().test_mode(true).build()?;
    /// honeyhive.reconfigure(|settings| settings.filter("warn,my_app=debug"))?;
    /// # Ok::<(), honeyhive::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Builder::build`], or another change takes longer than [`Builder::lifecycle_timeout`] ([`Error::is_timeout`]);
    /// the instance then goes on as it was. Where nothing is to be an error, that is a warning.
    pub fn reconfigure(&self, change: impl FnOnce(Builder) -> Builder) -> Result<(), Error> {
        let changed = self.closing.change(|config| config.reconfigured(change));
        match changed {
            Err(error) if self.config.load().resilience() == ResilienceLevel::Resilient => {
                let log = self.shared.exporter.log();
                log.warn(&format!("a change is not taken over: {error}"));
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// What has been recorded, sent and lost so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.exporter.stats()
    }

    /// How the instance is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.closing.status()
    }

    /// Sends all that has been recorded, and waits for the answers, at most `timeout`.
    ///
    /// Works on any runtime and on none; dropping the future gives up the wait, not the delivery. During an outage what
    /// waits moves to the [spool](crate::docs::spool), if there is one, and the flush ends well.
    ///
    /// # Errors
    ///
    /// Not everything was delivered: the deadline passed ([`Error::is_timeout`]) or the endpoint refused some of it
    /// ([`Error::is_delivery`]). [`Error::flush_report`] says how much; what is left is sent later.
    pub async fn flush(&self, timeout: Duration) -> Result<FlushReport, Error> {
        self.shared.exporter.begin_flush(timeout).wait().await
    }

    /// [`flush`](Self::flush) for code that is not async.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub fn flush_blocking(&self, timeout: Duration) -> Result<FlushReport, Error> {
        self.shared.exporter.begin_flush(timeout).wait_blocking()
    }

    /// Ends the instance: no new spans, a moment for those still open (which are then sent as they are, marked
    /// unfinished), delivery of what is queued, and the end of the export thread, all within `timeout`.
    ///
    /// Layers stay where they are and do nothing. Calling it while another call is under way waits for that one, and
    /// gives its report; calling it later does nothing. Dropping the future gives up the wait, not the end.
    ///
    /// # Errors
    ///
    /// Not everything could be delivered in time, or kept in the [spool](crate::docs::spool); the rest is lost, and
    /// counted.
    pub async fn shutdown(&self, timeout: Duration) -> Result<FlushReport, Error> {
        self.closing.begin(timeout).wait().await
    }

    /// [`shutdown`](Self::shutdown) for code that is not async.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    pub fn shutdown_blocking(&self, timeout: Duration) -> Result<FlushReport, Error> {
        self.closing.begin(timeout).wait_blocking()
    }

    /// How long [`Drop`] waits.
    #[cfg(feature = "signal")]
    pub(crate) fn flush_timeout(&self) -> Duration {
        self.config.load().flush_timeout()
    }
}

/// Whether spans are recorded at all.
fn is_enabled(config: &Config) -> bool {
    let somewhere = config.api_key.is_some()
        || config.ingestion_api_key.is_some()
        || !config.server_url_is_default
        || config.otlp_endpoint.is_some()
        || config.test_mode;
    somewhere && !config.disable_tracing && config.otlp_enabled
}

/// The end of an instance.
struct Closing {
    shared: Arc<Shared>,
    config: Arc<Live<Config>>,
    closed: Arc<AtomicBool>,
    /// Held while the configuration is changed, so that no change is lost, and while the end begins.
    turn: Turn,
    watch: Mutex<Option<Watch>>,
    stage: Mutex<Stage>,
}

type Answer = Arc<Pending<Result<FlushReport, Error>>>;

/// How far the end has come.
enum Stage {
    Open,
    /// Under way; these wait for it.
    Closing(Vec<Answer>),
    Over,
}

/// An end that somebody waits for.
struct Ending {
    closing: Arc<Closing>,
    answer: Answer,
    started: Instant,
    timeout: Duration,
    before: (u64, u64),
}

/// The closing itself says that it is out of time; that takes a moment.
const GRACE: Duration = Duration::from_millis(80);

impl Ending {
    fn deadline(&self) -> Instant {
        let deadline = self.started.checked_add(self.timeout.saturating_add(GRACE));
        deadline.unwrap_or_else(|| self.started + Duration::from_secs(86_400 * 365))
    }

    async fn wait(self) -> Result<FlushReport, Error> {
        let result = self.answer.wait_async(self.deadline()).await;
        result.unwrap_or_else(|| self.late())
    }

    fn wait_blocking(self) -> Result<FlushReport, Error> {
        let result = self.answer.wait(self.deadline());
        result.unwrap_or_else(|| self.late())
    }

    fn late(&self) -> Result<FlushReport, Error> {
        let exporter = &self.closing.shared.exporter;
        let error = exporter.out_of_time("shutdown", self.started, self.timeout, self.before);
        exporter.tolerate(Err(error))
    }
}

impl Closing {
    fn change(&self, change: impl FnOnce(&Config) -> Result<Config, Error>) -> Result<(), Error> {
        let patience = self.config.load().lifecycle_timeout();
        let Some(_turn) = self.turn.take(patience) else {
            let message = format!("another change has not ended within {patience:?}");
            return Err(Error::new(crate::error::Kind::Timeout, message));
        };
        let before = self.config.load_full();
        let config = change(&before)?;
        crate::export::check(&config)?;
        let enabled = is_enabled(&config) && !self.closed.load(Ordering::Acquire);
        // What was said before needs no repetition.
        for warning in &config.warnings {
            if !before.warnings.contains(warning) {
                self.shared.exporter.log().warn(warning);
            }
        }
        if enabled {
            registry::add(&self.shared.exporter);
        }
        self.shared.set(&config, enabled);
        self.config.store(config);
        self.shared.exporter.configured();
        Ok(())
    }

    /// Takes changes of the file over, until the instance ends.
    fn watch(self: &Arc<Self>, file: File) {
        let owner = Arc::downgrade(self);
        let watch = Watch::start(file, move |file| {
            owner.upgrade().is_some_and(|owner| owner.reload(file))
        });
        match watch {
            Ok(watch) => *lock(&self.watch) = Some(watch),
            Err(error) => {
                let log = self.shared.exporter.log();
                log.warn(&format!(
                    "the configuration file is not watched: no thread ({error})"
                ));
            }
        }
    }

    /// Whether there is more to come.
    fn reload(&self, file: File) -> bool {
        let path = file.path.clone();
        let log = self.shared.exporter.log();
        match self.change(|config| config.reloaded(file)) {
            Ok(()) => log.debug(|| format!("{} has changed, and is in force", path.display())),
            Err(error) => log.warn(&format!(
                "{} has changed, and is not taken over: {error}",
                path.display()
            )),
        }
        !self.closed.load(Ordering::Acquire)
    }

    /// Begins the end, or joins the one that is under way.
    fn begin(self: &Arc<Self>, timeout: Duration) -> Ending {
        let started = Instant::now();
        let answer = Pending::new();
        let exporter = &self.shared.exporter;
        let ending = Ending {
            closing: Arc::clone(self),
            answer: Arc::clone(&answer),
            started,
            timeout,
            before: exporter.progress(),
        };
        {
            let mut stage = lock(&self.stage);
            match &mut *stage {
                Stage::Open => *stage = Stage::Closing(vec![answer]),
                Stage::Closing(waiting) => {
                    waiting.push(answer);
                    return ending;
                }
                Stage::Over => {
                    drop(stage);
                    answer.settle(Ok(FlushReport::default()));
                    return ending;
                }
            }
        }
        lock(&self.watch).take();
        self.shared.close();
        self.closed.store(true, Ordering::Release);
        self.shared.set(&self.config.load(), false);
        let before = ending.before;
        if exporter.is_idle() && !self.shared.has_open_spans() {
            self.run(started, timeout, before);
            return ending;
        }
        let closing = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("honeyhive-shutdown".to_owned())
            .spawn(move || closing.run(started, timeout, before));
        if thread.is_err() {
            self.run(started, timeout, before);
        }
        ending
    }

    /// Waits for open spans, delivers, and tells all who wait.
    fn run(&self, started: Instant, timeout: Duration, before: (u64, u64)) {
        let drained = catch_unwind(AssertUnwindSafe(|| self.drain(started, timeout, before)));
        let outcome = drained.unwrap_or_else(|_| {
            let message = "the end of the instance failed: please report this";
            let error = Error::new(Kind::Delivery, message);
            self.shared.exporter.tolerate(Err(error))
        });
        let stage = std::mem::replace(&mut *lock(&self.stage), Stage::Over);
        if let Stage::Closing(waiting) = stage {
            for answer in waiting {
                answer.settle(match &outcome {
                    Ok(report) => Ok(*report),
                    Err(error) => Err(error.again()),
                });
            }
        }
    }

    fn drain(
        &self,
        started: Instant,
        timeout: Duration,
        before: (u64, u64),
    ) -> Result<FlushReport, Error> {
        // A change under way may switch recording on again; one that does not end must not keep the instance from its
        // end.
        let patience = self.config.load().lifecycle_timeout().min(timeout / 4);
        let turn = self.turn.take(patience);
        self.shared.set(&self.config.load(), false);
        drop(turn);
        let patience = OPEN_SPANS.min(timeout / 4);
        while self.shared.has_open_spans() && started.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.shared.sweep();
        let left = timeout.saturating_sub(started.elapsed());
        let outcome = self.shared.exporter.end(left, before);
        let elapsed = started.elapsed();
        outcome
            .map(|report| FlushReport { elapsed, ..report })
            .map_err(|error| error.after(elapsed))
    }
}

impl registry::Owner for Closing {
    fn is_enabled(&self) -> bool {
        self.shared.is_enabled()
    }

    fn status(&self) -> Status {
        let config = self.config.load();
        let mut degraded = Vec::new();
        if self.closed.load(Ordering::Acquire) {
            degraded.push(Degradation::ShutDown);
        } else if config.disable_tracing || !config.otlp_enabled {
            degraded.push(Degradation::Disabled);
        } else if !is_enabled(&config) {
            degraded.push(Degradation::NoKey);
        } else if config.test_mode {
            degraded.push(Degradation::TestMode);
        }
        if is_enabled(&config) && !self.shared.has_layer() {
            degraded.push(Degradation::NoLayer);
        }
        if config.session_id_invalid {
            degraded.push(Degradation::InvalidSessionId);
        }
        degraded.extend(self.shared.exporter.degradations());
        Status { degraded }
    }

    fn close(self: Arc<Self>, timeout: Duration) -> Answer {
        self.begin(timeout).answer
    }
}

impl Drop for HoneyHive {
    fn drop(&mut self) {
        let exporter = &self.shared.exporter;
        if self.closed.load(Ordering::Acquire) {
            // An end that nobody waited for may still be under way.
            let timeout = self.config.load().flush_timeout();
            let _ = self.closing.begin(timeout).wait_blocking();
            return;
        }
        #[cfg(feature = "spool")]
        if exporter.keeps() {
            exporter.flush_or_keep();
            exporter.orphan();
            return;
        }
        if !exporter.flush_is_futile() {
            let timeout = self.config.load().flush_timeout();
            if !timeout.is_zero()
                && let Err(error) = exporter.begin_flush(timeout).wait_blocking()
            {
                exporter.log().warn(&error.to_string());
            }
        } else if let Some(why) = exporter.why_futile() {
            exporter.log().warn(&why);
        }
        exporter.orphan();
    }
}

impl fmt::Debug for HoneyHive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoneyHive")
            .field("instance", &self.shared.id)
            .field("session", &self.shared.session)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// Flushes every live instance, each within `timeout`.
///
/// # Errors
///
/// As [`HoneyHive::flush`], for the first instance that could not deliver everything.
pub async fn flush(timeout: Duration) -> Result<(), Error> {
    // All of them at once, then one answer after the other.
    let flushing: Vec<_> = registry::all()
        .iter()
        .map(|exporter| exporter.begin_flush(timeout))
        .collect();
    let mut outcome = Ok(());
    for flushing in flushing {
        let result = flushing.wait().await;
        outcome = outcome.and(result.map(|_| ()));
    }
    outcome
}

/// [`flush`](flush()) for code that is not async.
///
/// # Errors
///
/// As [`flush`](flush()).
pub fn flush_blocking(timeout: Duration) -> Result<(), Error> {
    let flushing: Vec<_> = registry::all()
        .iter()
        .map(|exporter| exporter.begin_flush(timeout))
        .collect();
    let mut outcome = Ok(());
    for flushing in flushing {
        let result = flushing.wait_blocking();
        outcome = outcome.and(result.map(|_| ()));
    }
    outcome
}
