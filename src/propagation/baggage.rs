//! Baggage: names and values that travel with the work. Knows how entries are named, not how they are written.

use std::fmt;
use std::sync::Arc;

use super::scope::{ContextGuard, InContext, Surroundings};
use super::w3c;
use crate::context::Frame;
use crate::event::carried::{Carried, SESSION_ID};
use crate::id::SessionId;
use crate::lifecycle::HoneyHive;

/// Names and values that travel with the work: to every span made in its scope and below, and by
/// [`inject`](super::inject) to other services.
///
/// It is plain data. [`Baggage::current`] is a copy of what is in force; a changed copy is put in force for a future, a
/// stream or a block, and is gone when that ends.
///
/// ```
/// use honeyhive::propagation::Baggage;
///
/// # async fn answer() {}
/// # async fn example() {
/// Baggage::current().with("tenant", "acme").scope(answer()).await;
/// # }
/// ```
///
/// On events an entry is the attribute `baggage.<name>`. Some names mean more: `project` and `source` are those of the
/// event; `run_id`, `dataset_id` and `datapoint_id` go into its metadata; `parent_id` becomes `honeyhive.parent_id`; and
/// `session_id`, a UUID, is the session of the scope.
///
/// Names are lower-cased, with `_` for `-`, `.` and space, when they are set; those of another service stay as they
/// came. At most 180 entries are held, with names up to 256 bytes and values up to 4096.
#[derive(Clone, Default)]
pub struct Baggage {
    carried: Arc<Carried>,
    /// The instance it is limited to; zero: every instance.
    instance: u64,
}

impl Baggage {
    /// No baggage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a span made now would take on.
    #[must_use]
    pub fn current() -> Self {
        Self {
            carried: super::here(None).carried.unwrap_or_default(),
            instance: 0,
        }
    }

    pub(super) fn from_entries(entries: Vec<(String, String)>) -> Self {
        Self {
            carried: Arc::new(Carried::new(entries)),
            instance: 0,
        }
    }

    pub(super) fn limited_to(self, instance: u64) -> Self {
        Self { instance, ..self }
    }

    /// The value of an entry.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.carried
            .get(key)
            .or_else(|| self.carried.get(&normalized(key)))
    }

    /// Sets an entry. The answer is whether it was taken: not when there are too many, or it is too long.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> bool {
        let mut entries = self.carried.list().to_vec();
        let taken = w3c::put(&mut entries, normalized(key), value.into());
        self.carried = Arc::new(Carried::new(entries));
        taken
    }

    /// [`set`](Self::set) in a chain.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.set(key, value);
        self
    }

    /// Removes an entry, and answers with its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let mut entries = self.carried.list().to_vec();
        let at = |key: &str| entries.iter().position(|(known, _)| known == key);
        let (_, value) = entries.remove(at(key).or_else(|| at(&normalized(key)))?);
        self.carried = Arc::new(Carried::new(entries));
        Some(value)
    }

    /// All entries, in the order they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.carried.list().iter();
        entries.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.carried.list().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.carried.list().is_empty()
    }

    /// Runs a future or a stream with this baggage, in place of what is in force.
    pub fn scope<T>(&self, inner: T) -> InContext<T> {
        self.surroundings().scope(inner)
    }

    /// Runs a function with this baggage, in place of what is in force.
    pub fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.surroundings().in_scope(f)
    }

    /// Puts the baggage in force on this thread until the guard is dropped.
    pub fn enter(&self) -> ContextGuard {
        self.surroundings().enter()
    }

    fn surroundings(&self) -> Surroundings {
        let (session, carried) = self.parts();
        let frame = Frame {
            instance: self.instance,
            session,
            carried: Some(carried),
            ..Frame::default()
        };
        Surroundings {
            frames: Arc::from([frame]),
            span: None,
        }
    }

    /// The session it names, and the rest: a session is carried as such from here on.
    pub(super) fn parts(&self) -> (Option<SessionId>, Arc<Carried>) {
        let Some(text) = self.carried.get(SESSION_ID) else {
            return (None, Arc::clone(&self.carried));
        };
        let session = SessionId::parse(text).ok();
        let mut entries = self.carried.list().to_vec();
        entries.retain(|(key, _)| key != SESSION_ID);
        (session, Arc::new(Carried::new(entries)))
    }
}

/// The form in which names are set.
fn normalized(key: &str) -> String {
    key.to_lowercase().replace(['-', '.', ' '], "_")
}

impl PartialEq for Baggage {
    fn eq(&self, other: &Self) -> bool {
        self.carried.list() == other.carried.list()
    }
}

impl fmt::Debug for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: AsRef<str>, V: Into<String>> FromIterator<(K, V)> for Baggage {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut entries = Vec::new();
        for (key, value) in pairs {
            w3c::put(&mut entries, normalized(key.as_ref()), value.into());
        }
        Self::from_entries(entries)
    }
}

impl HoneyHive {
    /// The baggage that is in force for this instance. In its scope, what other instances carry stays as it is.
    #[must_use]
    pub fn baggage(&self) -> Baggage {
        let id = self.shared().id;
        Baggage {
            carried: super::here(Some(id)).carried.unwrap_or_default(),
            instance: id,
        }
    }
}
