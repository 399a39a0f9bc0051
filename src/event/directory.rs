//! What is known of sessions besides their ids: a bounded directory of the process. Knows nothing of who announces
//! them.

use std::collections::{HashMap, HashSet, VecDeque};
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
}

/// Sessions beyond this many are forgotten, oldest first: their events still arrive, under the instance's session name.
const CAPACITY: usize = 16_384;

#[derive(Debug, Default)]
struct Directory {
    known: HashMap<SessionId, Arc<SessionStart>>,
    order: VecDeque<SessionId>,
}

static DIRECTORY: Mutex<Option<Directory>> = Mutex::new(None);

/// Remembers a session; what is known of it already is replaced.
pub(crate) fn insert(id: SessionId, start: SessionStart) {
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
