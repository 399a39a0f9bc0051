//! Routes that have a successor and that official clients still use, for servers that do not have the successor.

use serde_json::{Value, json};

use super::datapoints::{Deleted, Updated};
use super::datasets::{self, Dataset, DatasetUpdate, UpdatedDataset};
use super::events::{BatchReport, Created, EventUpdate, NewEvent, SessionProperties, send_batch};
use super::filter::DateRange;
use super::metrics::{self, MetricUpdate};
use super::operations as op;
use super::pages::Pages;
use super::resource;
use super::runs::{
    CompareQuery, ComparedEvents, ResultQuery, RunComparison, RunSummary, Schema, compared, dated,
};
use super::sessions::{NewSession, StartedSession, identified};
use crate::error::Error;

resource! {
    /// Routes that have a successor, which each method names; see [`Client::legacy`](super::Client::legacy).
    Legacy
}

impl Legacy {
    /// [`sessions().start`](super::Sessions::start) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn start_session(&self, session: NewSession) -> Result<StartedSession, Error> {
        let body = json!({ "session": session.with_id().fields });
        let request = self.client.request(op::START_SESSION_LEGACY, &[]);
        identified(
            request.body(body).get().await?,
            op::START_SESSION_LEGACY.call,
        )
    }

    /// [`events().create`](super::Events::create) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn create_event(&self, event: NewEvent) -> Result<String, Error> {
        let body = json!({ "event": event.fields });
        let request = self.client.request(op::CREATE_EVENT_LEGACY, &[]);
        let created: Created = request.body(body).get().await?;
        Ok(created.event_id)
    }

    /// [`events().update`](super::Events::update) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn update_event(&self, event_id: &str, update: EventUpdate) -> Result<(), Error> {
        let body = update.set("event_id", event_id);
        self.client
            .request(op::UPDATE_EVENT_LEGACY, &[])
            .body(body)
            .done()
            .await
    }

    /// [`events().create_batch`](super::Events::create_batch) as it was, with one session for all where one is given.
    ///
    /// # Errors
    ///
    /// The call failed, and nothing is known of any event.
    pub async fn create_event_batch(
        &self,
        events: Vec<NewEvent>,
        session: Option<SessionProperties>,
    ) -> Result<BatchReport, Error> {
        send_batch(
            &self.client,
            op::CREATE_EVENT_BATCH_LEGACY,
            &[],
            events,
            session,
        )
        .await
    }

    /// [`datasets().update`](super::Datasets::update) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn update_dataset(
        &self,
        dataset_id: &str,
        update: DatasetUpdate,
    ) -> Result<Dataset, Error> {
        let body = update.set("dataset_id", dataset_id);
        let request = self.client.request(op::UPDATE_DATASET_LEGACY, &[]);
        let updated: Result<UpdatedDataset, Error> = request.body(body).get().await;
        datasets::forget(&self.client, dataset_id);
        Ok(updated?.result)
    }

    /// [`datasets().delete`](super::Datasets::delete) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn delete_dataset(&self, dataset_id: &str) -> Result<(), Error> {
        let request = self.client.request(op::DELETE_DATASET_LEGACY, &[]);
        let deleted = request.query("dataset_id", dataset_id).done().await;
        datasets::forget(&self.client, dataset_id);
        deleted
    }

    /// [`datasets().remove_datapoint`](super::Datasets::remove_datapoint) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn remove_datapoint(
        &self,
        dataset_id: &str,
        datapoint_id: &str,
    ) -> Result<(), Error> {
        let path = [dataset_id, datapoint_id];
        let removed = self
            .client
            .request(op::REMOVE_DATAPOINT_LEGACY, &path)
            .done()
            .await;
        datasets::forget(&self.client, dataset_id);
        removed
    }

    /// [`metrics().update`](super::Metrics::update) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn update_metric(
        &self,
        metric_id: &str,
        update: MetricUpdate,
    ) -> Result<bool, Error> {
        let body = update.set("id", metric_id);
        let request = self.client.request(op::UPDATE_METRIC_LEGACY, &[]);
        let done: Result<Updated, Error> = request.body(body).get().await;
        metrics::forget(&self.client, metric_id);
        Ok(done?.updated)
    }

    /// [`metrics().delete`](super::Metrics::delete) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn delete_metric(&self, metric_id: &str) -> Result<bool, Error> {
        let request = self.client.request(op::DELETE_METRIC_LEGACY, &[]);
        let done: Result<Deleted, Error> = request.query("metric_id", metric_id).get().await;
        metrics::forget(&self.client, metric_id);
        Ok(done?.deleted)
    }

    /// [`runs().schema`](super::Runs::schema) as it was, of all events or of those of one evaluation.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn schema(
        &self,
        range: Option<&DateRange>,
        evaluation_id: Option<&str>,
    ) -> Result<Schema, Error> {
        let mut request = self.client.request(op::GET_SCHEMA_LEGACY, &[]);
        if let Some(id) = evaluation_id {
            request = request.query("evaluation_id", id);
        }
        dated(request, range).get().await
    }

    /// [`runs().summary`](super::Runs::summary) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn run_result(&self, run_id: &str, query: ResultQuery) -> Result<RunSummary, Error> {
        let request = self.client.request(op::GET_RESULT_LEGACY, &[run_id]);
        request.queries(query.fields).get().await
    }

    /// [`runs().compare`](super::Runs::compare) as it was.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn compare_runs(
        &self,
        new_run_id: &str,
        old_run_id: &str,
        query: ResultQuery,
    ) -> Result<RunComparison, Error> {
        let path = [new_run_id, old_run_id];
        let request = self.client.request(op::COMPARE_RUNS_LEGACY, &path);
        request.queries(query.fields).get().await
    }

    /// [`runs().compare_events`](super::Runs::compare_events) as it was.
    pub fn compare_events(
        &self,
        new_run_id: &str,
        old_run_id: &str,
        query: CompareQuery,
    ) -> Pages<ComparedEvents> {
        let client = self.client.clone();
        let ids = [("run_id_1", new_run_id), ("run_id_2", old_run_id)];
        let ids = ids.map(|(name, id)| (name.to_owned(), Value::String(id.to_owned())));
        compared(query, move |mut fields| {
            let client = client.clone();
            fields.extend(ids.clone());
            async move {
                let request = client.request(op::COMPARE_EVENTS_LEGACY, &[]);
                request.queries(fields).get().await
            }
        })
    }
}
