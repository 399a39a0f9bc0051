//! Events: created, read, changed, searched, exported.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::client::Client;
use super::decode::{answer, open_enum};
use super::filter::{DateRange, Filter};
use super::operations::{self as op, Operation};
use super::pages::{Page, Pages};
use super::request::request;
use super::resource;
use crate::error::{Call, Error, Kind};

open_enum! {
    /// What an event is.
    EventKind {
        /// A call of a model.
        Model "model",
        /// A call of a tool or another function.
        Tool "tool",
        /// A step made of other steps.
        Chain "chain",
        /// A whole session.
        Session "session",
    }
}

impl From<crate::EventType> for EventKind {
    fn from(event_type: crate::EventType) -> Self {
        Self::from(event_type.as_str())
    }
}

answer! {
    /// An event. Which fields it has depends on what was sent, and on the projections that were asked for.
    pub Event {
        /// Its id.
        event_id: Option<String>,
        /// The session it belongs to.
        session_id: Option<String>,
        /// The event it is a part of.
        parent_id: Option<String>,
        /// The events that are parts of it.
        children_ids: Option<Vec<String>>,
        /// What it is.
        event_type: Option<EventKind>,
        /// Its name.
        event_name: Option<String>,
        /// Where it comes from.
        source: Option<String>,
        /// The project it belongs to.
        project_id: Option<String>,
        /// Its inputs; null where there are none, as with all values below.
        inputs: Value,
        /// Its outputs.
        outputs: Value,
        /// Its configuration: model, provider, settings.
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
    }
}

answer! {
    pub(crate) EventList {
        events: Vec<Event>,
        count: Option<u64>,
        total_events ("totalEvents"): Option<u64>,
    }
    pub(crate) Created {
        event_id: String,
    }
    pub(crate) Got {
        event: Event,
    }
    pub(crate) Batch {
        event_ids: Option<Vec<String>>,
        session_id: Option<String>,
        success: bool,
    }
}

request! {
    /// An event to be created.
    ///
    /// ```
    /// use honeyhive::api::NewEvent;
    /// use serde_json::json;
    ///
    /// let event = NewEvent::new("model", json!({"question": "Where is my parcel?"}))
    ///     .event_name("ask")
    ///     .outputs(json!({"answer": "On its way"}))
    ///     .duration(120.0);
    /// # let _ = event;
    /// ```
    NewEvent(event_type: [one EventKind], inputs: [json]) {
        /// Its id; the server makes one otherwise.
        event_id: [text],
        /// The session it belongs to.
        session_id: [text],
        /// The event it is a part of; the session otherwise.
        parent_id: [text],
        /// The events that are parts of it.
        children_ids: [texts],
        /// The project it belongs to; the key decides otherwise.
        project_id: [text],
        /// Its name.
        event_name: [text],
        /// Where it comes from.
        source: [text],
        /// Its outputs, an object.
        outputs: [json],
        /// Its configuration, an object.
        config: [json],
        /// Metadata, an object.
        metadata: [json],
        /// Metrics, an object.
        metrics: [json],
        /// Feedback, an object.
        feedback: [json],
        /// The properties of the user, an object.
        user_properties: [json],
        /// Its error.
        error: [text],
        /// Its start, in milliseconds since 1970.
        start_time: [number],
        /// Its end, in milliseconds since 1970.
        end_time: [number],
        /// How long it took, in milliseconds.
        duration: [number],
    }

    /// What changes in an event or a session. What is not set stays as it is.
    EventUpdate() {
        /// Its outputs, an object or null.
        outputs: [json],
        /// Its configuration, an object.
        config: [json],
        /// Metadata, an object.
        metadata: [json],
        /// Metrics, an object.
        metrics: [json],
        /// Feedback, an object.
        feedback: [json],
        /// The properties of the user, an object.
        user_properties: [json],
        /// Its end, in milliseconds since 1970.
        end_time: [number],
        /// How long it took, in milliseconds.
        duration: [number],
        /// The events that are parts of it.
        children_ids: [texts],
    }

    /// The session that all events of a batch belong to.
    SessionProperties() {
        /// Its name.
        session_name: [text],
        /// Its start, in milliseconds since 1970.
        start_time: [number],
        /// The properties of the user, an object.
        user_properties: [json],
        /// Metadata, an object.
        metadata: [json],
    }
}

/// Which events are searched or exported.
///
/// ```
/// use honeyhive::api::{DateRange, EventQuery, Filter};
///
/// let query = EventQuery::new()
///     .filters([Filter::field("metadata.user").eq("ada")])
///     .date_range(DateRange::since("2026-01-01T00:00:00Z"))
///     .limit(500);
/// # let _ = query;
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a query does nothing until it is sent"]
pub struct EventQuery {
    fields: Map<String, Value>,
    filters: Vec<Filter>,
    range: Option<DateRange>,
    limit: Option<u64>,
    page: Option<u64>,
}

impl EventQuery {
    /// All events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those that all these filters let through, besides filters set before.
    pub fn filters(mut self, filters: impl IntoIterator<Item = Filter>) -> Self {
        self.filters.extend(filters);
        self
    }

    /// Those of this time.
    pub fn date_range(mut self, range: DateRange) -> Self {
        self.range = Some(range);
        self
    }

    /// How many events a page has: 1,000 unless set. A search takes up to 1,000, an export up to 7,500.
    pub fn limit(mut self, count: u64) -> Self {
        self.limit = Some(count);
        self
    }

    /// The page to begin with: 1 unless set.
    pub fn page(mut self, number: u64) -> Self {
        self.page = Some(number);
        self
    }

    /// Only these fields of each event. An export takes it, a search does not.
    pub fn projections(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let fields: Vec<Value> = fields
            .into_iter()
            .map(|field| Value::String(field.into()))
            .collect();
        self.fields.insert("projections".to_owned(), fields.into());
        self
    }

    /// Whether the order of the events does not matter.
    pub fn ignore_order(mut self, on: bool) -> Self {
        self.fields.insert("ignore_order".to_owned(), on.into());
        self
    }

    /// Those of this evaluation run.
    pub fn evaluation_id(mut self, id: impl Into<String>) -> Self {
        let id: String = id.into();
        self.fields.insert("evaluation_id".to_owned(), id.into());
        self
    }

    fn pages(self, client: &Client, operation: &'static Operation) -> Pages<Event> {
        let client = client.clone();
        let export = operation.id == op::EXPORT_EVENTS.id;
        let limit = self.limit.unwrap_or(1000);
        let first = self.page.unwrap_or(1);
        let mut fields = self.fields;
        let filters: Vec<Value> = self.filters.into_iter().map(Value::from).collect();
        fields.insert("filters".to_owned(), filters.into());
        if let Some(range) = self.range {
            let range = if export {
                range.bounds()
            } else {
                range.named()
            };
            fields.insert("dateRange".to_owned(), range);
        }
        Pages::new(first, move |number| {
            let (client, mut fields) = (client.clone(), fields.clone());
            fields.insert("limit".to_owned(), limit.into());
            fields.insert("page".to_owned(), number.into());
            async move {
                if !export && fields.contains_key("projections") {
                    return Err(invalid(
                        operation.call,
                        "projections",
                        "is taken by events().export, not by a search",
                    ));
                }
                let mut request = client.request(operation, &[]).body(Value::Object(fields));
                if export {
                    request = request.timeout(client.export_timeout());
                }
                let list: EventList = request.get().await?;
                let total = list.total_events.or(list.count);
                Ok(Page::of(list.events, number, limit, total)
                    .marked(|event| event.event_id.clone()))
            }
        })
    }
}

/// A request that would be refused.
pub(crate) fn invalid(call: &'static str, field: &str, what: &str) -> Error {
    let info = Call {
        operation: call,
        field: Some(field.to_owned()),
        ..Call::default()
    };
    Error::of_call(Kind::Invalid, format!("{call}: {field} {what}"), info)
}

/// What became of each event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchReport {
    /// In the order in which they were given.
    pub items: Vec<BatchItem>,
    /// The session that was made for all of them.
    pub session_id: Option<String>,
    /// Whether the server says that all went well.
    pub success: bool,
}

/// What became of one event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchItem {
    /// Its id: the one it was given, else a new one.
    pub event_id: String,
    /// Whether it was created; `None`: the server did not say.
    pub created: Option<bool>,
}

impl BatchReport {
    /// Whether every event was created.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.items.iter().all(|item| item.created == Some(true))
    }

    /// The events that were not created for certain: their places in the batch, from 0.
    pub fn incomplete(&self) -> impl Iterator<Item = usize> {
        let items = self.items.iter().enumerate();
        items
            .filter(|(_, item)| item.created != Some(true))
            .map(|(index, _)| index)
    }

    fn new(given: Vec<String>, batch: Batch) -> Self {
        let said = batch.event_ids;
        let known: HashSet<&str> = said.iter().flatten().map(String::as_str).collect();
        let ours = given.iter().any(|id| known.contains(id.as_str()));
        let items = match &said {
            // A server that makes ids of its own lists them in order, if it lists them all.
            Some(ids) if !ours && ids.len() == given.len() => ids
                .iter()
                .map(|id| BatchItem {
                    event_id: id.clone(),
                    created: Some(true),
                })
                .collect(),
            Some(ids) => given
                .iter()
                .map(|id| BatchItem {
                    created: if ours || ids.is_empty() {
                        Some(known.contains(id.as_str()))
                    } else {
                        None
                    },
                    event_id: id.clone(),
                })
                .collect(),
            None => given
                .into_iter()
                .map(|event_id| BatchItem {
                    event_id,
                    created: batch.success.then_some(true),
                })
                .collect(),
        };
        Self {
            items,
            session_id: batch.session_id,
            success: batch.success,
        }
    }
}

/// Sends events in one request. Each gets an id before, so that the answer can say which were created. A 500 means that
/// some were: it is an answer like any other, if it can be read.
pub(crate) async fn send_batch(
    client: &Client,
    operation: &'static Operation,
    path: &[&str],
    events: Vec<NewEvent>,
    session: Option<SessionProperties>,
) -> Result<BatchReport, Error> {
    let mut given = Vec::with_capacity(events.len());
    let mut list = Vec::with_capacity(events.len());
    for event in events {
        let mut fields = event.fields;
        let id = match fields.get("event_id").and_then(Value::as_str) {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => uuid::Uuid::new_v4().to_string(),
        };
        fields.insert("event_id".to_owned(), id.clone().into());
        given.push(id);
        list.push(Value::Object(fields));
    }
    let mut body = json!({ "events": list });
    if let (Some(session), Some(body)) = (session, body.as_object_mut()) {
        body.insert("single_session".to_owned(), true.into());
        body.insert("session_properties".to_owned(), session.into());
    }
    let answer = client
        .request(operation, path)
        .body(body)
        .exchange()
        .await?;
    let config = client.config();
    if answer.status() == 500 {
        return match answer.peek::<Batch>() {
            Some(batch) => Ok(BatchReport::new(given, batch)),
            None => Err(answer.refusal(operation.call, &config)),
        };
    }
    let answer = answer.accepted(operation.call, &config)?;
    let batch = answer.read(operation.call, &config)?;
    Ok(BatchReport::new(given, batch))
}

resource! {
    /// Events; see [`Client::events`].
    Events
}

impl Events {
    /// Creates an event, and returns its id. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn create(&self, event: NewEvent) -> Result<String, Error> {
        let created: Created = self
            .client
            .request(op::CREATE_EVENT, &[])
            .body(event)
            .get()
            .await?;
        Ok(created.event_id)
    }

    /// Creates several events in one request, and tells what became of each. Those without a session get one each.
    ///
    /// # Errors
    ///
    /// The call failed, and nothing is known of any event. A server that created some of them and failed on others is no
    /// error: [`BatchReport::is_complete`] is false then.
    pub async fn create_batch(&self, events: Vec<NewEvent>) -> Result<BatchReport, Error> {
        send_batch(&self.client, op::CREATE_EVENT_BATCH, &[], events, None).await
    }

    /// The same, with one new session for all of them.
    ///
    /// # Errors
    ///
    /// As [`create_batch`](Self::create_batch).
    pub async fn create_session_batch(
        &self,
        session: SessionProperties,
        events: Vec<NewEvent>,
    ) -> Result<BatchReport, Error> {
        send_batch(
            &self.client,
            op::CREATE_EVENT_BATCH,
            &[],
            events,
            Some(session),
        )
        .await
    }

    /// Reads an event.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such event.
    pub async fn get(&self, event_id: &str) -> Result<Event, Error> {
        let got: Got = self
            .client
            .request(op::GET_EVENT, &[event_id])
            .get()
            .await?;
        Ok(got.event)
    }

    /// Changes an event or a session.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn update(&self, event_id: &str, update: EventUpdate) -> Result<(), Error> {
        self.client
            .request(op::UPDATE_EVENT, &[event_id])
            .body(update)
            .done()
            .await
    }

    /// Deletes an event, where the server offers that; the platform does not.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_unsupported`] when the server has no such route, [`Error::is_not_found`] when it has no
    /// such event.
    pub async fn delete(&self, event_id: &str) -> Result<(), Error> {
        let deleted = self
            .client
            .request(op::DELETE_EVENT, &[event_id])
            .done()
            .await;
        let Err(error) = deleted else { return Ok(()) };
        // A missing route answers as a missing event does. If the event is there, it is the route that is not.
        if !error.is_not_found() || self.get(event_id).await.is_err() {
            return Err(error);
        }
        let info = Call {
            operation: op::DELETE_EVENT.call,
            status: error.status(),
            attempts: error.attempts().unwrap_or(1),
            ..Call::default()
        };
        let message = "events.delete: this server cannot delete events";
        Err(Error::of_call(Kind::Unsupported, message, info))
    }

    /// Searches events. Nothing is sent before the first page is asked for.
    pub fn search(&self, query: EventQuery) -> Pages<Event> {
        query.pages(&self.client, op::SEARCH_EVENTS)
    }

    /// Exports events: as a search, with larger pages, projections, and a timeout of its own.
    pub fn export(&self, query: EventQuery) -> Pages<Event> {
        query.pages(&self.client, op::EXPORT_EVENTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::decode::Decode as _;

    #[test]
    fn a_batch_tells_what_became_of_each() {
        let given = || vec!["a".to_owned(), "b".to_owned()];
        for (answer, created, complete) in [
            (
                json!({"success": true, "event_ids": ["a", "b"]}),
                [Some(true); 2],
                true,
            ),
            (
                json!({"success": true, "event_ids": ["x", "y"]}),
                [Some(true); 2],
                true,
            ),
            (json!({"success": true}), [Some(true); 2], true),
            (
                json!({"success": false, "event_ids": ["b"]}),
                [Some(false), Some(true)],
                false,
            ),
            (
                json!({"success": false, "event_ids": []}),
                [Some(false); 2],
                false,
            ),
            (
                json!({"success": false, "event_ids": ["x"]}),
                [None; 2],
                false,
            ),
            (json!({"success": false}), [None; 2], false),
        ] {
            let report = BatchReport::new(given(), Batch::decode(answer.clone()).unwrap());
            let items: Vec<_> = report.items.iter().map(|item| item.created).collect();
            assert_eq!(items, created, "{answer}");
            assert_eq!(report.is_complete(), complete, "{answer}");
        }
    }
}
