//! What was read and may be given out again: bounded, with an age. Knows nothing of what it keeps.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::configurations::Configuration;
use super::datasets::Dataset;
use super::metrics::Metric;
use crate::config::{ApiKey, Config};
use crate::error::Error;
use crate::sync::lock;

/// How many entries, how old, and how often it is tidied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    enabled: bool,
    entries: usize,
    fresh: Duration,
    tidy: Duration,
}

impl Limits {
    pub(crate) fn prompts(config: &Config) -> Self {
        Self::of(config, 100, 900, 180)
    }

    pub(crate) fn resources(config: &Config) -> Self {
        Self::of(config, 50, 3600, 300)
    }

    fn of(config: &Config, entries: usize, fresh: u64, tidy: u64) -> Self {
        Self {
            enabled: config.cache_enabled(),
            entries: config.cache_max_size().unwrap_or(entries).max(1),
            fresh: config.cache_ttl().unwrap_or(Duration::from_secs(fresh)),
            tidy: config
                .cache_cleanup_interval()
                .unwrap_or(Duration::from_secs(tidy)),
        }
    }

    /// After this an entry is not given out any more.
    fn dead(&self) -> Duration {
        self.fresh.saturating_mul(2)
    }
}

/// How a cache has been doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Entries it has now.
    pub entries: usize,
    /// Answers out of it that were fresh.
    pub hits: u64,
    /// Answers out of it that were old, while a new one was fetched.
    pub stale: u64,
    /// Answers that had to be waited for.
    pub misses: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// Entries that became too old.
    pub expired: u64,
}

/// The caches of a client.
///
/// ```
/// # let client = honeyhive::api::Client::builder().build()?;
/// println!("{:?}", client.cache().prompts());
/// client.cache().clear();
/// # Ok::<(), honeyhive::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cache<'a> {
    caches: &'a Caches,
}

impl<'a> Cache<'a> {
    pub(crate) fn new(caches: &'a Caches) -> Self {
        Self { caches }
    }

    /// Forgets everything. What is being fetched at this moment is not kept.
    pub fn clear(&self) {
        self.caches.prompts.clear();
        self.caches.datasets.clear();
        self.caches.metrics.clear();
    }

    /// How the cache of prompts has been doing.
    #[must_use]
    pub fn prompts(&self) -> CacheStats {
        self.caches.prompts.stats()
    }

    /// How those of datasets and of metrics have been doing, together.
    #[must_use]
    pub fn resources(&self) -> CacheStats {
        let (a, b) = (self.caches.datasets.stats(), self.caches.metrics.stats());
        CacheStats {
            entries: a.entries + b.entries,
            hits: a.hits + b.hits,
            stale: a.stale + b.stale,
            misses: a.misses + b.misses,
            evicted: a.evicted + b.evicted,
            expired: a.expired + b.expired,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Caches {
    /// By name and environment; `None`: there is no such prompt.
    pub(crate) prompts: Arc<Store<Option<Arc<Configuration>>>>,
    pub(crate) datasets: Arc<Store<Arc<Dataset>>>,
    pub(crate) metrics: Arc<Store<Arc<Metric>>>,
    hasher: RandomState,
}

impl Caches {
    /// A key for what `parts` name on this server with this key; another account never sees it.
    pub(crate) fn key(&self, config: &Config, parts: &[Option<&str>]) -> Key {
        let account = config.api_key().map(ApiKey::expose);
        let owned = parts.iter().map(|part| part.map(str::to_owned)).collect();
        (self.hasher.hash_one((config.server_url(), account)), owned)
    }
}

pub(crate) type Key = (u64, Vec<Option<String>>);

/// One cache.
#[derive(Debug)]
pub(crate) struct Store<V> {
    state: Mutex<State<V>>,
    /// Who fetches what: others that want the same wait for it.
    fetching: Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>,
}

impl<V> Default for Store<V> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                entries: HashMap::new(),
                order: BTreeMap::new(),
                tick: 0,
                generation: 0,
                tidied: None,
                stats: CacheStats::default(),
            }),
            fetching: Mutex::default(),
        }
    }
}

#[derive(Debug)]
struct State<V> {
    entries: HashMap<Key, Entry<V>>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, Key>,
    tick: u64,
    /// Grows when something is removed from outside: what was asked for before is not kept.
    generation: u64,
    tidied: Option<Instant>,
    stats: CacheStats,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    stored: Instant,
    used: u64,
    refreshing: bool,
}

#[derive(Debug, PartialEq)]
enum Found<V> {
    Fresh(V),
    /// Old, and whether the caller is the one to fetch a new one.
    Stale(V, bool),
    Nothing,
}

impl<V: Clone> State<V> {
    fn look(&mut self, key: &Key, now: Instant, limits: &Limits) -> Found<V> {
        self.tidy(now, limits);
        let Some(entry) = self.entries.get_mut(key) else {
            return Found::Nothing;
        };
        let age = now.saturating_duration_since(entry.stored);
        if age >= limits.dead() {
            self.remove(key);
            self.stats.expired += 1;
            return Found::Nothing;
        }
        self.order.remove(&entry.used);
        self.tick += 1;
        entry.used = self.tick;
        self.order.insert(self.tick, key.clone());
        let value = entry.value.clone();
        if age < limits.fresh {
            self.stats.hits += 1;
            return Found::Fresh(value);
        }
        self.stats.stale += 1;
        let first = !entry.refreshing;
        entry.refreshing = true;
        Found::Stale(value, first)
    }

    fn put(&mut self, key: Key, value: V, now: Instant, limits: &Limits) {
        self.tidy(now, limits);
        self.remove(&key);
        while self.entries.len() >= limits.entries {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            self.entries.remove(&oldest);
            self.stats.evicted += 1;
        }
        self.tick += 1;
        self.order.insert(self.tick, key.clone());
        let entry = Entry {
            value,
            stored: now,
            used: self.tick,
            refreshing: false,
        };
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
        }
    }

    fn tidy(&mut self, now: Instant, limits: &Limits) {
        let tidied = *self.tidied.get_or_insert(now);
        if now.saturating_duration_since(tidied) < limits.tidy {
            return;
        }
        self.tidied = Some(now);
        let dead: Vec<Key> = self
            .entries
            .iter()
            .filter(|(_, entry)| now.saturating_duration_since(entry.stored) >= limits.dead())
            .map(|(key, _)| key.clone())
            .collect();
        for key in dead {
            self.remove(&key);
            self.stats.expired += 1;
        }
    }
}

impl<V: Clone + Send + 'static> Store<V> {
    pub(crate) fn clear(&self) {
        let mut state = lock(&self.state);
        state.entries.clear();
        state.order.clear();
        state.generation += 1;
    }

    /// Forgets what was found under this key.
    pub(crate) fn forget(&self, key: &Key) {
        let mut state = lock(&self.state);
        state.remove(key);
        state.generation += 1;
    }

    fn stats(&self) -> CacheStats {
        let state = lock(&self.state);
        CacheStats {
            entries: state.entries.len(),
            ..state.stats
        }
    }

    fn keep(&self, key: Key, value: V, generation: u64, limits: &Limits) {
        let mut state = lock(&self.state);
        if state.generation == generation {
            state.put(key, value, Instant::now(), limits);
        }
    }

    fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    fn turn(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = lock(&self.fetching);
        if let Some(turn) = fetching.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        fetching.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        fetching.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }

    /// The value out of the cache, or what `fetch` brings. An old value is given out while a task of its own fetches the
    /// new one; of several that miss the same value, one fetches it.
    pub(crate) async fn get<F>(
        self: &Arc<Self>,
        key: Key,
        limits: Limits,
        fetch: impl FnOnce() -> F,
    ) -> Result<V, Error>
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        if !limits.enabled {
            return fetch().await;
        }
        let found = lock(&self.state).look(&key, Instant::now(), &limits);
        match found {
            Found::Fresh(value) => return Ok(value),
            Found::Stale(value, first) => {
                if first {
                    let refresh = Refresh {
                        store: Arc::clone(self),
                        key,
                    };
                    let fetching = fetch();
                    let generation = self.generation();
                    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                        runtime.spawn(async move {
                            if let Ok(value) = fetching.await {
                                let key = refresh.key.clone();
                                refresh.store.keep(key, value, generation, &limits);
                            }
                        });
                    }
                }
                return Ok(value);
            }
            Found::Nothing => {}
        }
        let turn = self.turn(&key);
        let _turn = turn.lock().await;
        // Somebody else may have brought it meanwhile.
        let generation = {
            let mut state = lock(&self.state);
            if let Found::Fresh(value) = state.look(&key, Instant::now(), &limits) {
                return Ok(value);
            }
            state.stats.misses += 1;
            state.generation
        };
        let value = fetch().await?;
        self.keep(key, value.clone(), generation, &limits);
        Ok(value)
    }
}

/// While it lives, an entry is being refreshed; when it fails or is cancelled, somebody else may try.
struct Refresh<V> {
    store: Arc<Store<V>>,
    key: Key,
}

impl<V> Drop for Refresh<V> {
    fn drop(&mut self) {
        if let Some(entry) = lock(&self.store.state).entries.get_mut(&self.key) {
            entry.refreshing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn limits(entries: usize) -> Limits {
        Limits {
            enabled: true,
            entries,
            fresh: Duration::from_secs(10),
            tidy: Duration::from_secs(3),
        }
    }

    fn key(name: &str) -> Key {
        (0, vec![Some(name.to_owned())])
    }

    fn state() -> State<Option<u32>> {
        Store::default().state.into_inner().unwrap()
    }

    #[test]
    fn entries_age() {
        let (start, limits) = (Instant::now(), limits(10));
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut state = state();
        // Nothing and falsehood are values too.
        state.put(key("a"), None, start, &limits);
        assert_eq!(state.look(&key("a"), after(9), &limits), Found::Fresh(None));
        assert_eq!(
            state.look(&key("a"), after(10), &limits),
            Found::Stale(None, true)
        );
        assert_eq!(
            state.look(&key("a"), after(19), &limits),
            Found::Stale(None, false)
        );
        assert_eq!(state.look(&key("a"), after(20), &limits), Found::Nothing);
        assert_eq!(state.entries.len(), 0);
        assert_eq!(
            (state.stats.hits, state.stats.stale, state.stats.expired),
            (1, 2, 1)
        );

        // Those nobody asks for go when the cache is used next.
        state.put(key("b"), Some(1), after(20), &limits);
        state.put(key("c"), Some(1), after(39), &limits);
        assert_eq!(state.look(&key("x"), after(41), &limits), Found::Nothing);
        assert_eq!((state.entries.len(), state.order.len()), (2, 2));
        assert_eq!(state.look(&key("x"), after(44), &limits), Found::Nothing);
        assert_eq!((state.entries.len(), state.order.len()), (1, 1));
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let (now, limits) = (Instant::now(), limits(2));
        let mut state = state();
        state.put(key("a"), Some(1), now, &limits);
        state.put(key("b"), Some(2), now, &limits);
        state.look(&key("a"), now, &limits);
        state.put(key("c"), Some(3), now, &limits);
        assert_eq!(state.look(&key("b"), now, &limits), Found::Nothing);
        assert_eq!(state.look(&key("a"), now, &limits), Found::Fresh(Some(1)));
        state.put(key("a"), Some(9), now, &limits);
        assert_eq!(state.look(&key("a"), now, &limits), Found::Fresh(Some(9)));
        assert_eq!(
            (state.stats.evicted, state.entries.len(), state.order.len()),
            (1, 2, 2)
        );
    }

    #[test]
    fn accounts_do_not_share() {
        let caches = Caches::default();
        let config = |key: &str| Config {
            api_key: Some(ApiKey::new(key)),
            ..Config::default()
        };
        let one = caches.key(&config("one"), &[Some("chat"), None]);
        assert_eq!(one, caches.key(&config("one"), &[Some("chat"), None]));
        assert_ne!(one, caches.key(&config("two"), &[Some("chat"), None]));
        assert_ne!(one, caches.key(&config("one"), &[Some("chat"), Some("")]));
    }

    #[test]
    fn many_threads_fetch_once() {
        let store: Arc<Store<Option<u32>>> = Arc::default();
        let fetched = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (store, fetched) = (Arc::clone(&store), Arc::clone(&fetched));
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .unwrap();
                    for round in 0..50 {
                        let fetched = Arc::clone(&fetched);
                        let fetch = || async move {
                            fetched.fetch_add(1, Ordering::Relaxed);
                            tokio::task::yield_now().await;
                            Ok(None)
                        };
                        let got = store.get(key(&format!("k{round}")), limits(100), fetch);
                        assert_eq!(runtime.block_on(got).unwrap(), None);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(fetched.load(Ordering::Relaxed), 50);
        let stats = store.stats();
        assert_eq!((stats.misses, stats.hits, stats.entries), (50, 350, 50));
    }

    #[tokio::test]
    async fn what_was_asked_for_before_a_clear_is_not_kept() {
        let store: Arc<Store<Option<u32>>> = Arc::default();
        let fetch = || {
            let store = Arc::clone(&store);
            async move {
                store.clear();
                Ok(Some(1))
            }
        };
        assert_eq!(
            store.get(key("a"), limits(5), fetch).await.unwrap(),
            Some(1)
        );
        assert_eq!(store.stats().entries, 0);
        let fail = || async { Err(Error::config("no")) };
        assert!(store.get(key("a"), limits(5), fail).await.is_err());
        assert_eq!(store.stats().entries, 0);
    }
}
