//! What events say of sessions that nobody announces. Knows the directory, not the wire.

use crate::event::directory;
use crate::id::SessionId;

/// The platform makes sessions from their events.
#[derive(Clone, Debug)]
pub(crate) struct AutoCreate {
    /// The name of a session that has none of its own.
    pub(crate) default_name: String,
    /// The instance's own session, if that one is announced all the same.
    pub(crate) announced: Option<SessionId>,
}

impl AutoCreate {
    /// The name under which a session is to be made; `None`: it is announced, or exists.
    pub(crate) fn name_of(&self, session: SessionId) -> Option<String> {
        if self.announced == Some(session) {
            return None;
        }
        let start = directory::get(session);
        if start
            .as_ref()
            .is_some_and(|start| start.skip || start.has_content())
        {
            return None;
        }
        let name = start.and_then(|start| start.name.clone());
        Some(name.unwrap_or_else(|| self.default_name.clone()))
    }
}
