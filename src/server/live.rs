//! Who is told, at once, that a session changed. Knows ids only.

use crate::sync::lock;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Changes that wait for a slow listener; what is beyond is not sent, since the next one makes it look anyway.
const WAITING: usize = 64;

/// Everybody who listens.
#[derive(Clone, Default)]
pub(crate) struct Live {
    listeners: Arc<Mutex<Vec<Listener>>>,
}

struct Listener {
    /// One session only, or all.
    session: Option<String>,
    sender: mpsc::Sender<String>,
}

impl Live {
    pub(crate) fn listen(&self, session: Option<String>) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(WAITING);
        lock(&self.listeners).push(Listener { session, sender });
        receiver
    }

    pub(crate) fn tell(&self, changed: &BTreeSet<String>) {
        lock(&self.listeners).retain(|listener| {
            let mut open = true;
            for id in changed {
                if listener.session.as_ref().is_some_and(|own| own != id) {
                    continue;
                }
                let sent = listener.sender.try_send(id.clone());
                open = !matches!(sent, Err(mpsc::error::TrySendError::Closed(_)));
            }
            open && !listener.sender.is_closed()
        });
    }
}
