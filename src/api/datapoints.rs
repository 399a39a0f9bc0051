//! Datapoints: inputs, and what should come of them.

use serde_json::{Map, Value};

use super::decode::answer;
use super::filter::{DateRange, Filter};
use super::operations as op;
use super::request::request;
use super::resource;
use crate::clock;
use crate::error::{Call, Error, Kind};

/// So many ids go into one request.
pub(crate) const IDS: usize = 100;

answer! {
    /// A datapoint.
    pub Datapoint {
        /// Its id.
        id: String,
        /// Its inputs.
        inputs: Map<String, Value>,
        /// What was said before.
        history: Vec<Value>,
        /// What should come of it; null where nobody said.
        ground_truth: Value,
        /// Metadata; null where there is none.
        metadata: Value,
        /// The event it was made from.
        linked_event: Option<String>,
        /// The datasets it is in.
        linked_datasets: Option<Vec<String>>,
        /// When it was made.
        created_at: String,
        /// When it was changed.
        updated_at: Option<String>,
    }
}

answer! {
    pub(crate) DatapointList {
        datapoints: Vec<Datapoint>,
    }
    pub(crate) OneDatapoint {
        datapoint: Vec<Datapoint>,
    }
    pub(crate) InsertedIds {
        ids ("insertedIds"): Vec<String>,
    }
    pub(crate) CreatedDatapoint {
        result: InsertedIds,
    }
    pub(crate) Updated {
        updated: bool,
    }
    pub(crate) Deleted {
        deleted: bool,
    }
}

request! {
    /// A datapoint to be created.
    NewDatapoint() {
        /// Its inputs, an object.
        inputs: [json],
        /// What was said before: objects.
        history: [list],
        /// What should come of it, an object.
        ground_truth: [json],
        /// Metadata, an object.
        metadata: [json],
        /// The event it is made from.
        linked_event: [text],
        /// The datasets it is to be in.
        linked_datasets: [texts],
    }

    /// What changes in a datapoint.
    DatapointUpdate() {
        /// Its inputs, an object.
        inputs: [json],
        /// What was said before: objects.
        history: [list],
        /// What should come of it, an object.
        ground_truth: [json],
        /// Metadata, an object.
        metadata: [json],
        /// The event it is made from.
        linked_event: [text],
        /// The datasets it is to be in.
        linked_datasets: [texts],
    }

    /// Which fields of events, or of rows, become which part of a datapoint.
    Mapping() {
        /// Those that are inputs.
        inputs: [texts],
        /// Those that are history.
        history: [texts],
        /// Those that are what should come of it.
        ground_truth: [texts],
    }

    /// Datapoints to be made from events.
    DatapointsFromEvents() {
        /// The ids of the events.
        events: [texts],
        /// Which of their fields go where.
        mapping: [one Mapping],
        /// Events that these filters let through.
        filters: [many Filter],
        /// The dataset they are to be in.
        dataset_id: [text],
        /// Whether all events that the filters let through are meant.
        select_all ("selectAll"): [flag],
        /// Which events are picked and which are not: an object of booleans by id.
        check_state ("checkState"): [json],
    }
}

impl DatapointsFromEvents {
    /// Events of this time.
    pub fn date_range(self, range: &DateRange) -> Self {
        self.set("dateRange", range.bounds())
    }
}

request! {
    /// Which datapoints are listed.
    DatapointQuery() {
        /// Those with these ids, however many.
        ids ("datapoint_ids"): [texts],
        /// Those of this dataset.
        dataset_name: [text],
    }
}

/// There is no such thing, and the server said so with an empty list.
pub(crate) fn missing(call: &'static str, what: &str, id: &str) -> Error {
    let shown: String = id.chars().take(64).collect();
    let info = Call {
        operation: call,
        status: Some(200),
        attempts: 1,
        ..Call::default()
    };
    Error::of_call(
        Kind::NotFound,
        format!("{call}: there is no {what} {shown:?}"),
        info,
    )
}

/// Takes the ids out of a query: in parts of at most [`IDS`], at least one part.
pub(crate) fn in_parts(fields: &mut Map<String, Value>, name: &str) -> Vec<Option<Vec<Value>>> {
    match fields.remove(name) {
        Some(Value::Array(ids)) if !ids.is_empty() => {
            ids.chunks(IDS).map(|part| Some(part.to_vec())).collect()
        }
        _ => vec![None],
    }
}

resource! {
    /// Datapoints; see [`Client::datapoints`](super::Client::datapoints).
    Datapoints
}

impl Datapoints {
    /// Lists datapoints. More than 100 ids are asked for in parts.
    ///
    /// # Errors
    ///
    /// A call failed.
    pub async fn list(&self, query: DatapointQuery) -> Result<Vec<Datapoint>, Error> {
        let mut fields = query.fields;
        let stamp = clock::unix_nanos();
        let mut all = Vec::new();
        for part in in_parts(&mut fields, "datapoint_ids") {
            let mut request = self.client.request(op::GET_DATAPOINTS, &[]);
            request = request.stamp(stamp).queries(fields.clone());
            if let Some(ids) = part {
                request = request.query("datapoint_ids", ids);
            }
            let list: DatapointList = request.get().await?;
            all.extend(list.datapoints);
        }
        Ok(all)
    }

    /// Creates a datapoint, and returns its id. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn create(&self, datapoint: NewDatapoint) -> Result<String, Error> {
        let request = self
            .client
            .request(op::CREATE_DATAPOINT, &[])
            .body(datapoint);
        let created: CreatedDatapoint = request.get().await?;
        let id = created.result.ids.into_iter().next();
        id.ok_or_else(|| missing(op::CREATE_DATAPOINT.call, "id of", "the new datapoint"))
    }

    /// Makes datapoints from events, and returns their ids.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn create_from_events(
        &self,
        from: DatapointsFromEvents,
    ) -> Result<Vec<String>, Error> {
        let request = self.client.request(op::BATCH_DATAPOINTS, &[]).body(from);
        let created: InsertedIds = request.get().await?;
        Ok(created.ids)
    }

    /// Reads a datapoint.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such datapoint.
    pub async fn get(&self, datapoint_id: &str) -> Result<Datapoint, Error> {
        let request = self.client.request(op::GET_DATAPOINT, &[datapoint_id]);
        let one: OneDatapoint = request.get().await?;
        let first = one.datapoint.into_iter().next();
        first.ok_or_else(|| missing(op::GET_DATAPOINT.call, "datapoint", datapoint_id))
    }

    /// Changes a datapoint; false when there was nothing to change.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn update(&self, datapoint_id: &str, update: DatapointUpdate) -> Result<bool, Error> {
        let request = self.client.request(op::UPDATE_DATAPOINT, &[datapoint_id]);
        let done: Updated = request.body(update).get().await?;
        Ok(done.updated)
    }

    /// Deletes a datapoint; false when there was nothing to delete.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn delete(&self, datapoint_id: &str) -> Result<bool, Error> {
        let request = self.client.request(op::DELETE_DATAPOINT, &[datapoint_id]);
        let done: Deleted = request.get().await?;
        Ok(done.deleted)
    }
}
