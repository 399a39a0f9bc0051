//! What is known of sessions besides their ids: a bounded directory of the process. Knows nothing of who announces
//! them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};

use crate::id::SessionId;
use crate::sync::lock;

/// What the platform is told when a session is announced.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionStart {
    pub(crate) name: Option<String>,
    pub(crate) inputs: Map<String, Value>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) user_properties: Map<String, Value>,
    /// It was started elsewhere, or by its events: no announcement.
    pub(crate) skip: bool,
    /// What it evaluates, by the names the ids have in metadata; they are on every event of the session.
    pub(crate) evaluation: Vec<(&'static str, String)>,
    /// When it started, in milliseconds since 1970; zero: unknown.
    pub(crate) started: u64,
}

impl SessionStart {
    /// Whether there is more to tell than a name.
    pub(crate) fn has_content(&self) -> bool {
        !(self.inputs.is_empty() && self.metadata.is_empty() && self.user_properties.is_empty())
    }
}

/// Sessions beyond this many are forgotten, oldest first: their events still arrive, under the instance's session name.
const CAPACITY: usize = 16_384;

#[derive(Debug, Default)]
struct Directory {
    known: HashMap<SessionId, Arc<SessionStart>>,
    order: VecDeque<SessionId>,
}

static DIRECTORY: Mutex<Option<Directory>> = Mutex::new(None);

/// Whether there ever was a session that evaluates something.
static EVALUATIONS: AtomicBool = AtomicBool::new(false);

/// Remembers a session; what is known of it already is replaced.
pub(crate) fn insert(id: SessionId, start: SessionStart) {
    if !start.evaluation.is_empty() {
        EVALUATIONS.store(true, Ordering::Relaxed);
    }
    let mut directory = lock(&DIRECTORY);
    let directory = directory.get_or_insert_default();
    if directory.known.insert(id, Arc::new(start)).is_none() {
        directory.order.push_back(id);
        if directory.order.len() > CAPACITY
            && let Some(oldest) = directory.order.pop_front()
        {
            directory.known.remove(&oldest);
        }
    }
}

/// What is known of a session.
pub(crate) fn get(id: SessionId) -> Option<Arc<SessionStart>> {
    lock(&DIRECTORY).as_ref()?.known.get(&id).cloned()
}

/// Sessions that other processes began: these announce them.
#[derive(Debug, Default)]
struct Elsewhere {
    known: HashSet<SessionId>,
    order: VecDeque<SessionId>,
}

static ELSEWHERE: Mutex<Option<Elsewhere>> = Mutex::new(None);

/// Notes a session that came in from another process.
pub(crate) fn note_elsewhere(id: SessionId) {
    let mut elsewhere = lock(&ELSEWHERE);
    let elsewhere = elsewhere.get_or_insert_default();
    if elsewhere.known.insert(id) {
        elsewhere.order.push_back(id);
        if elsewhere.order.len() > CAPACITY
            && let Some(oldest) = elsewhere.order.pop_front()
        {
            elsewhere.known.remove(&oldest);
        }
    }
}

/// Whether a session is announced by another process: it came in from there, and was not started here as well.
pub(crate) fn is_elsewhere(id: SessionId) -> bool {
    let noted = lock(&ELSEWHERE)
        .as_ref()
        .is_some_and(|elsewhere| elsewhere.known.contains(&id));
    noted && get(id).is_none()
}

/// A session that evaluates something. Costs a load where none does.
pub(crate) fn evaluated(id: SessionId) -> Option<Arc<SessionStart>> {
    if !EVALUATIONS.load(Ordering::Relaxed) {
        return None;
    }
    get(id).filter(|start| !start.evaluation.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let first = SessionId::random();
        insert(
            first,
            SessionStart {
                name: Some("first".to_owned()),
                ..SessionStart::default()
            },
        );
        assert_eq!(get(first).unwrap().name.as_deref(), Some("first"));
        for _ in 0..CAPACITY {
            insert(SessionId::random(), SessionStart::default());
        }
        assert!(get(first).is_none());
    }
}
