//! The instances that are alive, weakly held: a default one, handles to all of them, and the end of all of them. Knows
//! exporters.
//!
//! [`HoneyHive`](crate::HoneyHive) owns an instance and is not `Clone`; an [`Instance`] is a handle to one that may be
//! cloned, stored and sent, and that keeps nothing alive. Code that has neither finds an instance in this order:
//!
//! 1. the one it was given, explicitly;
//! 2. that of the context: of the session's scope, if the session is limited to one instance
//!    ([`HoneyHive::session`](crate::HoneyHive::session)), else that of the current subscriber;
//! 3. the default: the first that was built, until it is dropped, or the one of [`set_default`].
//!
//! [`Instance::current`] is 2 and 3. What belongs to an instance (keys, session, limits, filters, queue) is seen by no
//! other.
//!
//! ```standalone_crate
//! use honeyhive::{HoneyHive, registry};
//!
//! let one = HoneyHive::builder().test_mode(true).build()?;
//! let two = HoneyHive::builder().test_mode(true).build()?;
//! registry::set_default(&two.instance());
//! assert_eq!(registry::default_instance(), Some(two.instance()));
//! drop(two);
//! assert_eq!(registry::default_instance(), None);
//! assert!(registry::instances().contains(&one.instance()));
//! # Ok::<(), honeyhive::Error>(())
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::environment::Strategy;
use crate::error::{Error, Kind};
use crate::export::report::{FlushReport, Stats, Status};
use crate::export::{Exporter, Pending};
use crate::id::SessionId;
use crate::sync::lock;

/// An exporter that is alive.
pub(crate) type Live = Arc<Exporter>;

static LIVE: Mutex<Vec<Weak<Exporter>>> = Mutex::new(Vec::new());
static INSTANCES: Mutex<Instances> = Mutex::new(Instances {
    all: Vec::new(),
    default: None,
});

struct Instances {
    all: Vec<Instance>,
    default: Option<Instance>,
}

type Answer = Arc<Pending<Result<FlushReport, Error>>>;

/// What a handle asks of the owner.
pub(crate) trait Owner: Send + Sync {
    /// Whether spans are recorded.
    fn is_enabled(&self) -> bool;
    fn status(&self) -> Status;
    /// Begins the end of the instance; the answer comes when it is over.
    fn close(self: Arc<Self>, timeout: Duration) -> Arc<Pending<Result<FlushReport, Error>>>;
}

/// Notes an exporter that may have something to send.
pub(crate) fn add(exporter: &Arc<Exporter>) {
    let mut live = lock(&LIVE);
    live.retain(|exporter| exporter.strong_count() > 0);
    let exporter = Arc::downgrade(exporter);
    // An instance is noted again whenever it is reconfigured.
    if !live.iter().any(|known| known.ptr_eq(&exporter)) {
        live.push(exporter);
    }
}

/// All exporters that are alive, oldest first.
pub(crate) fn all() -> Vec<Live> {
    lock(&LIVE).iter().filter_map(Weak::upgrade).collect()
}

/// Notes an instance, which may become the default if there is none.
pub(crate) fn announce(instance: Instance, as_default: bool) {
    let mut instances = lock(&INSTANCES);
    instances.all.retain(Instance::is_alive);
    if as_default && !instances.default.as_ref().is_some_and(Instance::is_alive) {
        instances.default = Some(instance.clone());
    }
    instances.all.push(instance);
}

/// The live instance of this number.
pub(crate) fn find(id: u64) -> Option<Instance> {
    let mut found = instances();
    found.retain(|instance| instance.id == id);
    found.pop()
}

/// All live instances, oldest first.
#[must_use]
pub fn instances() -> Vec<Instance> {
    let mut all = lock(&INSTANCES).all.clone();
    all.retain(Instance::is_alive);
    all
}

/// The default instance: the first that was built, or the one of [`set_default`]; none once that was dropped, until
/// another one is built or set.
#[must_use]
pub fn default_instance() -> Option<Instance> {
    let default = lock(&INSTANCES).default.clone();
    default.filter(Instance::is_alive)
}

/// Makes an instance the default.
pub fn set_default(instance: &Instance) {
    lock(&INSTANCES).default = Some(instance.clone());
}

/// Leaves no default, until the next instance is built or one is set.
pub fn clear_default() {
    lock(&INSTANCES).default = None;
}

/// Ends all live instances at once, each within `timeout`: [`HoneyHive::shutdown`](crate::HoneyHive::shutdown) for code
/// that does not hold them. ([`honeyhive::flush`](crate::flush) flushes them all.)
///
/// # Errors
///
/// As [`HoneyHive::shutdown`](crate::HoneyHive::shutdown), for the first instance that could not deliver everything.
pub async fn shutdown_all(timeout: Duration) -> Result<(), Error> {
    let deadline = Instant::now()
        .checked_add(timeout.saturating_add(GRACE))
        .unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
    let mut outcome = Ok(());
    for (exporter, pending) in close_all(timeout) {
        let result = pending.wait_async(deadline).await;
        let result = result.unwrap_or_else(|| exporter.tolerate(Err(late(timeout))));
        outcome = outcome.and(result.map(|_| ()));
    }
    outcome
}

/// [`shutdown_all`] for code that is not async.
///
/// # Errors
///
/// As [`shutdown_all`].
pub fn shutdown_all_blocking(timeout: Duration) -> Result<(), Error> {
    let deadline = Instant::now()
        .checked_add(timeout.saturating_add(GRACE))
        .unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
    let mut outcome = Ok(());
    for (exporter, pending) in close_all(timeout) {
        let result = pending.wait(deadline);
        let result = result.unwrap_or_else(|| exporter.tolerate(Err(late(timeout))));
        outcome = outcome.and(result.map(|_| ()));
    }
    outcome
}

/// A closing says itself that it was out of time; that takes a moment.
const GRACE: Duration = Duration::from_millis(80);

fn late(timeout: Duration) -> Error {
    Error::new(
        Kind::Timeout,
        format!("shutdown did not finish within {timeout:?}"),
    )
}

fn close_all(timeout: Duration) -> Vec<(Live, Answer)> {
    let instances = instances();
    let live = instances
        .iter()
        .filter_map(|instance| Some((instance.exporter()?, instance.owner.upgrade()?)));
    live.map(|(exporter, owner)| (exporter, owner.close(timeout)))
        .collect()
}

/// A handle to an instance: cheap to clone, and weak. Once the [`HoneyHive`](crate::HoneyHive) is dropped it does
/// nothing.
#[derive(Clone)]
pub struct Instance {
    id: u64,
    exporter: Weak<Exporter>,
    owner: Weak<dyn Owner>,
}

impl Instance {
    pub(crate) fn new(exporter: &Arc<Exporter>, owner: Weak<dyn Owner>) -> Self {
        Self {
            id: exporter.id(),
            exporter: Arc::downgrade(exporter),
            owner,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The exporter, while the owner is alive.
    pub(crate) fn exporter(&self) -> Option<Arc<Exporter>> {
        self.owner.upgrade()?;
        self.exporter.upgrade()
    }

    /// The exporter, while the owner is alive and spans are recorded.
    pub(crate) fn enabled_exporter(&self) -> Option<Arc<Exporter>> {
        self.owner.upgrade().filter(|owner| owner.is_enabled())?;
        self.exporter.upgrade()
    }

    /// Whether its [`HoneyHive`](crate::HoneyHive) has not been dropped yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.owner.strong_count() > 0
    }

    /// The resolved configuration; `None` once the instance is gone.
    #[must_use]
    pub fn config(&self) -> Option<Arc<Config>> {
        Some(self.exporter()?.config())
    }

    /// The id of the instance's own session; `None` once the instance is gone.
    #[must_use]
    pub fn session_id(&self) -> Option<SessionId> {
        Some(self.exporter()?.session())
    }

    /// As [`HoneyHive::stats`](crate::HoneyHive::stats); `None` once the instance is gone.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        Some(self.exporter()?.stats())
    }

    /// As [`HoneyHive::status`](crate::HoneyHive::status); `None` once the instance is gone.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        Some(self.owner.upgrade()?.status())
    }

    /// As [`HoneyHive::strategy`](crate::HoneyHive::strategy); `None` once the instance is gone.
    #[must_use]
    pub fn strategy(&self) -> Option<Strategy> {
        Some(self.exporter()?.strategy())
    }

    /// As [`HoneyHive::flush`](crate::HoneyHive::flush); there is nothing to do once the instance is gone.
    ///
    /// # Errors
    ///
    /// As [`HoneyHive::flush`](crate::HoneyHive::flush).
    pub async fn flush(&self, timeout: Duration) -> Result<FlushReport, Error> {
        match self.exporter() {
            Some(exporter) => exporter.begin_flush(timeout).wait().await,
            None => Ok(FlushReport::default()),
        }
    }

    /// [`flush`](Self::flush) for code that is not async.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub fn flush_blocking(&self, timeout: Duration) -> Result<FlushReport, Error> {
        match self.exporter() {
            Some(exporter) => exporter.begin_flush(timeout).wait_blocking(),
            None => Ok(FlushReport::default()),
        }
    }
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Instance {}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("instance", &self.id)
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}
