//! Sessions: started, filled, listed, changed.

use serde_json::Value;

use super::decode::answer;
use super::events::{BatchReport, Event, EventKind, EventQuery, EventUpdate, NewEvent, send_batch};
use super::filter::Filter;
use super::operations as op;
use super::pages::Pages;
use super::request::request;
use super::resource;
use crate::error::Error;

answer! {
    /// A session that was started.
    pub StartedSession {
        /// Its id.
        session_id: Option<String>,
        /// The id of the event that stands for it; the same.
        event_id: Option<String>,
        /// Its name.
        event_name: Option<String>,
        /// The event it is a part of.
        parent_id: Option<String>,
        /// The events that are parts of it.
        children_ids: Option<Vec<String>>,
        /// What it is: a session.
        event_type: Option<EventKind>,
        /// Where it comes from.
        source: Option<String>,
        /// Its inputs; null where there are none, as with all values below.
        inputs: Value,
        /// Its outputs.
        outputs: Value,
        /// Its configuration.
        config: Value,
        /// Metadata.
        metadata: Value,
        /// Metrics.
        metrics: Value,
        /// Feedback.
        feedback: Value,
        /// The properties of the user.
        user_properties: Value,
        /// Its error.
        error: Option<String>,
        /// Its start, in milliseconds since 1970.
        start_time: Option<f64>,
        /// Its end, in milliseconds since 1970.
        end_time: Option<f64>,
        /// How long it took, in milliseconds.
        duration: Option<f64>,
        /// The organisation it belongs to.
        org_id: Option<String>,
        /// The workspace it belongs to.
        workspace_id: Option<String>,
        /// The project it belongs to.
        project_id: Option<String>,
    }
}

impl StartedSession {
    /// Its id, whichever field has it.
    #[must_use]
    pub fn id(&self) -> &str {
        let id = self.session_id.as_deref().or(self.event_id.as_deref());
        id.unwrap_or_default()
    }
}

request! {
    /// A session to be started.
    NewSession() {
        /// Its id, a UUID; a random one otherwise. A session that is there already gets the rest merged into it.
        session_id: [text],
        /// Its name.
        session_name: [text],
        /// The name of the event that stands for it; the session's name otherwise.
        event_name: [text],
        /// Where it comes from.
        source: [text],
        /// Its inputs, an object.
        inputs: [json],
        /// Its outputs, an object.
        outputs: [json],
        /// Its configuration, an object.
        config: [json],
        /// Metadata, an object.
        metadata: [json],
        /// The properties of the user, an object.
        user_properties: [json],
        /// Its start, in milliseconds since 1970.
        start_time: [number],
        /// Its end, in milliseconds since 1970.
        end_time: [number],
        /// How long it took, in milliseconds.
        duration: [number],
        /// The events that are parts of it.
        children_ids: [texts],
    }
}

impl NewSession {
    /// With an id in any case: a second attempt then starts the same session.
    pub(crate) fn with_id(mut self) -> Self {
        let given = self.fields.get("session_id").and_then(Value::as_str);
        if given.is_none_or(str::is_empty) {
            self = self.session_id(uuid::Uuid::new_v4().to_string());
        }
        self
    }
}

/// A session without an id is none.
pub(crate) fn identified(
    started: StartedSession,
    call: &'static str,
) -> Result<StartedSession, Error> {
    if started.id().is_empty() {
        let info = crate::error::Call {
            operation: call,
            field: Some("session_id".to_owned()),
            status: Some(200),
            ..Default::default()
        };
        let message = format!(
            "{call}: the answer does not have the form expected: session_id: it is missing"
        );
        return Err(Error::of_call(crate::error::Kind::Decode, message, info));
    }
    Ok(started)
}

resource! {
    /// Sessions; see [`Client::sessions`](super::Client::sessions).
    Sessions
}

impl Sessions {
    /// Starts a session.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn start(&self, session: NewSession) -> Result<StartedSession, Error> {
        let request = self.client.request(op::CREATE_SESSION, &[]);
        let started = request.body(session.with_id()).get().await?;
        identified(started, op::CREATE_SESSION.call)
    }

    /// Adds events to a session, and tells what became of them.
    ///
    /// # Errors
    ///
    /// The call failed, and nothing is known of any event.
    pub async fn add_events(
        &self,
        session_id: &str,
        events: Vec<NewEvent>,
    ) -> Result<BatchReport, Error> {
        send_batch(
            &self.client,
            op::ADD_SESSION_EVENTS,
            &[session_id],
            events,
            None,
        )
        .await
    }

    /// The sessions among the events: a search for events of the type session.
    pub fn list(&self, query: EventQuery) -> Pages<Event> {
        let sessions = Filter::field("event_type").eq("session");
        self.client.events().search(query.filters([sessions]))
    }

    /// The events of a session, the session itself included.
    pub fn events(&self, session_id: &str, query: EventQuery) -> Pages<Event> {
        let own = Filter::field("session_id").eq(session_id);
        self.client.events().search(query.filters([own]))
    }

    /// Reads a session: the event with its id.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such session.
    pub async fn get(&self, session_id: &str) -> Result<Event, Error> {
        self.client.events().get(session_id).await
    }

    /// Changes a session: the event with its id.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn update(&self, session_id: &str, update: EventUpdate) -> Result<(), Error> {
        self.client.events().update(session_id, update).await
    }
}
