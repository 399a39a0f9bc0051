//! Requests about events and sessions that are no spans: made here, and sent by the worker. Knows the handle, not how
//! they are sent.

use serde_json::{Map, Value};

use super::{Command, ENDED, Exporter, MAX_UPDATE_BYTES, MAX_UPDATES, Update, otlp};
use crate::event::directory;
use crate::id::{EventId, SessionId};
use crate::sync::lock;
use crate::sync::model::atomic::Ordering;

impl Exporter {
    /// Sends an update of a session, after its announcement.
    pub(crate) fn update(&self, session: SessionId, entries: &[u8]) {
        let mut body = otlp::buckets(entries);
        if !self.shared.config.load().capture_content {
            otlp::redacted::remove_content(&mut body);
        }
        if body.is_empty() {
            return;
        }
        self.change(session, Some(session), body, entries.len());
    }

    /// Sends an update of an event, after the spans that have closed by now.
    pub(crate) fn update_event(&self, event: EventId, entries: &[u8]) {
        let body = otlp::buckets(entries);
        if !body.is_empty() {
            self.change(event, None, body, entries.len());
        }
    }

    /// Sends the end of a session that started at an instant (zero: unknown), both in milliseconds since 1970.
    pub(crate) fn end_session(&self, session: SessionId, end: u64, started: u64) {
        let own = session == self.shared.session;
        let started = if own { self.shared.started } else { started };
        let mut body = Map::new();
        body.insert("end_time".to_owned(), end.into());
        if started > 0 {
            let duration = end.saturating_sub(started);
            body.insert("duration".to_owned(), duration.into());
        }
        self.change(session, Some(session), body, 64);
    }

    fn change(
        &self,
        id: impl std::fmt::Display,
        session: Option<SessionId>,
        mut body: Map<String, Value>,
        bytes: usize,
    ) {
        body.insert("event_id".to_owned(), id.to_string().into());
        self.send_update(Update {
            session,
            creates: false,
            body,
            // A session that nobody announces is made by its spans.
            after_spans: session.is_none() || self.shared.config.load().session_auto_create(),
            bytes: bytes as u64,
        });
    }

    /// Sends an event that is no span; `event` has what its entries and the configuration do not say.
    pub(crate) fn create_event(
        &self,
        session: SessionId,
        mut event: Map<String, Value>,
        entries: &[u8],
    ) {
        let bytes = entries.len() as u64 + 512;
        let mut body = otlp::created(entries);
        body.append(&mut event);
        if let Some(start) = directory::evaluated(session) {
            let metadata = body
                .entry("metadata")
                .or_insert_with(|| Value::Object(Map::new()));
            for (name, id) in &start.evaluation {
                if let Value::Object(metadata) = metadata {
                    let entry = metadata.entry(*name);
                    entry.or_insert_with(|| id.as_str().into());
                }
            }
        }
        self.send_update(Update {
            session: Some(session),
            creates: true,
            body,
            after_spans: false,
            bytes,
        });
    }

    fn send_update(&self, update: Update) {
        if let Some(copy) = self.here() {
            return copy.send_update(update);
        }
        if self.shared.worker.load(Ordering::Acquire) >= ENDED || !self.command_update(update) {
            self.shared
                .counters
                .updates_lost
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    fn command_update(&self, update: Update) -> bool {
        let waiting = &self.shared.updates;
        let mut inbox = lock(&self.shared.inbox);
        // Only the worker and the end of it change these elsewhere, and only to less.
        if waiting.count.load(Ordering::Acquire) >= MAX_UPDATES
            || waiting.bytes.load(Ordering::Acquire) + update.bytes > MAX_UPDATE_BYTES
        {
            return false;
        }
        waiting.count.fetch_add(1, Ordering::AcqRel);
        waiting.bytes.fetch_add(update.bytes, Ordering::AcqRel);
        inbox.push_back(Command::Update(update));
        drop(inbox);
        self.start();
        self.shared.notify.notify_one();
        self.shared.check();
        true
    }
}
