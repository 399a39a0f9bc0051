//! Runs of experiments: their results, and what became better or worse between two of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::datapoints::in_parts;
use super::decode::{answer, open_enum};
use super::filter::{DateRange, Filter};
use super::operations as op;
use super::pages::{Page, Pages};
use super::request::request;
use super::resource;
use crate::error::Error;

open_enum! {
    /// How far a run is.
    RunStatus {
        /// It has not begun.
        Pending "pending",
        /// It is over.
        Completed "completed",
        /// It could not be finished.
        Failed "failed",
        /// It was stopped.
        Cancelled "cancelled",
        /// It has begun.
        Running "running",
    }

    /// How many values become one.
    Aggregate {
        /// Their mean.
        Average "average",
        /// The least.
        Min "min",
        /// The greatest.
        Max "max",
        /// The one in the middle.
        Median "median",
        /// The one that 95 of a hundred do not exceed.
        P95 "p95",
        /// The one that 99 of a hundred do not exceed.
        P99 "p99",
        /// The one that 90 of a hundred do not exceed.
        P90 "p90",
        /// Their sum.
        Sum "sum",
        /// How many they are.
        Count "count",
    }

    /// By what runs are sorted.
    SortBy {
        /// When they were made.
        CreatedAt "created_at",
        /// When they were changed.
        UpdatedAt "updated_at",
        /// Their names.
        Name "name",
        /// How far they are.
        Status "status",
    }

    /// In which direction.
    SortOrder {
        /// The least first.
        Ascending "asc",
        /// The greatest first.
        Descending "desc",
    }
}

answer! {
    /// A run.
    pub Run {
        /// The id of the record.
        id: String,
        /// Its id.
        run_id: String,
        /// Its name.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// How far it is.
        status: Option<RunStatus>,
        /// Metadata.
        metadata: Map<String, Value>,
        /// Its results.
        results: Map<String, Value>,
        /// Its metrics.
        metrics: Option<BTreeMap<String, f64>>,
        /// The ids of its events: one session for each datapoint.
        event_ids: Vec<String>,
        /// What was tried.
        configuration: Map<String, Value>,
        /// Whether it counts.
        is_active: bool,
        /// The dataset it ran over.
        dataset_id: Option<String>,
        /// The name of that.
        dataset_name: Option<String>,
        /// When it was made.
        created_at: String,
        /// When it was changed.
        updated_at: Option<String>,
        /// What it belongs to: a project.
        scope_type: String,
        /// The id of that.
        scope_id: String,
    }

    /// Where a page is among others.
    pub Pagination {
        /// Its number, from 1.
        page: u64,
        /// How many items a page has.
        limit: u64,
        /// How many items there are.
        total: u64,
        /// How many there would be without filters.
        total_unfiltered: u64,
        /// How many pages there are.
        total_pages: u64,
        /// Whether there is another one.
        has_next: bool,
        /// Whether there is one before.
        has_prev: bool,
    }

    /// A page of runs.
    pub RunPage {
        /// The runs.
        runs ("evaluations"): Vec<Run>,
        /// Where the page is.
        pagination: Pagination,
        /// The names of the metrics that the runs have.
        metrics: Vec<String>,
    }

    /// A run that was changed.
    pub UpdatedRun {
        /// The run as it is now.
        run ("evaluation"): Run,
        /// What the server finds odd about it.
        warning: Option<String>,
    }

    /// What passes.
    pub PassingRange {
        /// The least.
        min: Option<f64>,
        /// The greatest.
        max: Option<f64>,
    }

    /// Which datapoints passed.
    pub MetricDatapoints {
        /// Their ids.
        passed: Vec<String>,
        /// The ids of the others.
        failed: Vec<String>,
    }

    /// A metric over a whole run.
    pub MetricDetail {
        /// Its name.
        metric_name: String,
        /// How it is computed.
        metric_type: Option<String>,
        /// The events it is of.
        event_name: Option<String>,
        /// What these are.
        event_type: Option<String>,
        /// The value for all of them.
        aggregate: Option<f64>,
        /// The single values.
        values: Option<Vec<Value>>,
        /// What passes.
        passing_range: Option<PassingRange>,
        /// Which datapoints passed.
        datapoints: Option<MetricDatapoints>,
    }

    /// The metrics of a run.
    pub Aggregation {
        /// How many values became one.
        function ("aggregation_function"): Option<String>,
        /// One for each metric.
        details: Option<Vec<MetricDetail>>,
    }

    /// A metric of one datapoint.
    pub DatapointMetric {
        /// Its name.
        name: Option<String>,
        /// The event it is of.
        event_name: Option<String>,
        /// What that is.
        event_type: Option<String>,
        /// Its value; null where there is none.
        value: Value,
        /// Whether it passes.
        passed: Option<bool>,
    }

    /// What became of one datapoint.
    pub DatapointResult {
        /// Its id.
        datapoint_id: Option<String>,
        /// The session in which it ran.
        session_id: String,
        /// Whether it passed.
        passed: bool,
        /// Its metrics.
        metrics: Option<Vec<DatapointMetric>>,
    }

    /// Events that a run has.
    pub EventDetail {
        /// Their name.
        event_name: String,
        /// What they are.
        event_type: String,
    }

    /// What a run came to.
    pub RunSummary {
        /// How far it is.
        status: String,
        /// Whether all datapoints passed.
        success: bool,
        /// Why it could not be computed.
        error: Option<String>,
        /// The datapoints that passed.
        passed: Vec<String>,
        /// The others.
        failed: Vec<String>,
        /// Its metrics.
        metrics: Aggregation,
        /// What became of each datapoint.
        datapoints: Vec<DatapointResult>,
        /// The events it has.
        event_details: Vec<EventDetail>,
        /// The run itself.
        run ("run_object"): Run,
    }

    /// A metric in two runs.
    pub MetricComparison {
        /// Its name.
        metric_name: String,
        /// How it is computed.
        metric_type: Option<String>,
        /// The events it is of.
        event_name: Option<String>,
        /// What these are.
        event_type: Option<String>,
        /// Its value in the older run.
        old_aggregate: Option<f64>,
        /// Its value in the newer run.
        new_aggregate: Option<f64>,
        /// By how much it grew.
        difference: Option<f64>,
        /// By how many percent.
        percentage_change: Option<f64>,
        /// How many datapoints both runs have.
        found_count: Option<u64>,
        /// For how many of them it became better.
        improved_count: Option<u64>,
        /// For how many worse.
        degraded_count: Option<u64>,
        /// For how many it stayed.
        same_count: Option<u64>,
        /// The datapoints for which it became better.
        improved: Option<Vec<String>>,
        /// Those for which it became worse.
        degraded: Option<Vec<String>>,
        /// Those for which it stayed.
        same: Option<Vec<String>>,
        /// Its single values in the older run.
        old_values: Option<Vec<Value>>,
        /// Its single values in the newer run.
        new_values: Option<Vec<Value>>,
    }

    /// Events that one or both of two runs have.
    pub EventPresence {
        /// Their name.
        event_name: String,
        /// What they are.
        event_type: String,
        /// Which of the runs have them.
        presence: String,
    }

    /// Two runs side by side.
    pub RunComparison {
        /// Their metrics.
        metrics: Vec<MetricComparison>,
        /// The datapoints that both have.
        common_datapoints ("commonDatapoints"): Vec<String>,
        /// Their events.
        event_details: Vec<EventPresence>,
        /// The older run.
        old_run: Run,
        /// The newer run.
        new_run: Run,
    }

    /// The events of one datapoint in two runs.
    pub ComparedEvents {
        /// The datapoint.
        datapoint_id: String,
        /// The event of the newer run.
        event_1: Map<String, Value>,
        /// The event of the older run.
        event_2: Map<String, Value>,
    }

    /// The metrics of one event.
    pub EventMetrics {
        /// Its name.
        event_name: String,
        /// What it is.
        event_type: String,
        /// The session it belongs to.
        session_id: String,
        /// Metadata; `datapoint_id` is among it.
        metadata: Map<String, Value>,
        /// Its metrics.
        metrics: Map<String, Value>,
    }

    /// The metrics of the events of a run.
    pub RunMetrics {
        /// One for each event.
        events: Vec<EventMetrics>,
        /// How many events there are.
        total ("totalEvents"): u64,
    }

    /// A field that events have.
    pub SchemaField {
        /// Its name, with dots.
        name: String,
        /// The events that have it.
        event_type: String,
    }

    /// What fields events have.
    pub Schema {
        /// The fields.
        fields: Vec<SchemaField>,
        /// The datasets that the events refer to.
        datasets: Vec<String>,
        /// Where well-known values are found.
        mappings: Map<String, Value>,
    }
}

answer! {
    pub(crate) OneRun {
        evaluation: Run,
    }
    pub(crate) DeletedRun {
        deleted: bool,
    }
    pub(crate) ComparedPage {
        events: Vec<ComparedEvents>,
        total ("totalEvents"): u64,
    }
}

request! {
    /// A run to be created.
    NewRun() {
        /// Its id, a UUID; the server makes one otherwise.
        run_id: [text],
        /// Its name, which must not be empty.
        name: [text],
        /// What it is for.
        description: [text],
        /// How far it is.
        status: [one RunStatus],
        /// Metadata, an object.
        metadata: [json],
        /// Its results, an object.
        results: [json],
        /// The dataset it runs over.
        dataset_id: [text],
        /// The ids of its events.
        event_ids: [texts],
        /// What is tried, an object.
        configuration: [json],
        /// Its evaluators.
        evaluators: [list],
        /// The ids of its sessions.
        session_ids: [texts],
        /// The ids of its datapoints.
        datapoint_ids: [texts],
        /// What passes, an object by metric.
        passing_ranges: [json],
    }

    /// What changes in a run.
    RunUpdate() {
        /// Its name, which must not be empty.
        name: [text],
        /// What it is for.
        description: [text],
        /// How far it is.
        status: [one RunStatus],
        /// Metadata, an object.
        metadata: [json],
        /// Its results, an object.
        results: [json],
        /// The ids of its events.
        event_ids: [texts],
        /// What is tried, an object.
        configuration: [json],
        /// Its evaluators.
        evaluators: [list],
        /// The ids of its sessions.
        session_ids: [texts],
        /// The ids of its datapoints.
        datapoint_ids: [texts],
        /// What passes, an object by metric.
        passing_ranges: [json],
    }

    /// Which runs are listed.
    RunQuery() {
        /// Those over this dataset.
        dataset_id: [text],
        /// Those with these ids, however many; other pages are not asked for then.
        run_ids: [texts],
        /// Those with this name.
        name: [text],
        /// Those that are this far.
        status: [one RunStatus],
        /// By what they are sorted; by when they were made unless set.
        sort_by: [one SortBy],
        /// In which direction; the greatest first unless set.
        sort_order: [one SortOrder],
        /// How many runs a page has, 1 to 100; 20 unless set.
        limit: [count],
        /// The page to begin with; 1 unless set.
        page: [count],
    }

    /// How results are computed, and from which events.
    ResultQuery() {
        /// How many values become one; their mean unless set.
        aggregate ("aggregate_function"): [one Aggregate],
        /// Only events that these filters let through.
        filters: [many Filter],
    }

    /// Which events are compared.
    CompareQuery() {
        /// Those with this name.
        event_name: [text],
        /// Those of this type.
        event_type: [text],
        /// Those that this filter lets through.
        filter: [one Filter],
        /// How many a page has, 1 to 1,000; 1,000 unless set.
        limit: [count],
        /// The page to begin with; 1 unless set.
        page: [count],
    }
}

impl RunQuery {
    /// Those of this time.
    pub fn date_range(self, range: &DateRange) -> Self {
        self.set("dateRange", range.bounds())
    }
}

resource! {
    /// Runs; see [`Client::runs`](super::Client::runs).
    Runs
}

impl Runs {
    /// Creates a run. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] when its name is empty.
    pub async fn create(&self, run: NewRun) -> Result<Run, Error> {
        let one: OneRun = self
            .client
            .request(op::CREATE_RUN, &[])
            .body(run)
            .get()
            .await?;
        Ok(one.evaluation)
    }

    /// Lists runs. Nothing is sent before the first page is asked for. More than 100 ids are asked for in parts.
    pub fn list(&self, query: RunQuery) -> Pages<Run> {
        let own = self.clone();
        let mut fields = query.fields;
        let parts = in_parts(&mut fields, "run_ids");
        let count = |fields: &mut Map<String, Value>, name| {
            fields.remove(name).and_then(|value| value.as_u64())
        };
        let limit = count(&mut fields, "limit").unwrap_or(20);
        let first = count(&mut fields, "page").unwrap_or(1);
        // With ids, each part of them is a page.
        if parts.iter().any(Option::is_some) {
            return Pages::new(1, move |number| {
                let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
                let mut query = fields.clone();
                let part = parts.get(index).cloned().flatten().unwrap_or_default();
                query.insert("limit".to_owned(), part.len().into());
                query.insert("page".to_owned(), 1.into());
                query.insert("run_ids".to_owned(), part.into());
                let (own, more) = (own.clone(), index + 1 < parts.len());
                async move {
                    let page = own.page(query).await?;
                    let mut page = Page::of(page.runs, number, 0, None);
                    page.more = more;
                    Ok(page)
                }
            });
        }
        Pages::new(first, move |number| {
            let mut query = fields.clone();
            query.insert("limit".to_owned(), limit.into());
            query.insert("page".to_owned(), number.into());
            let own = own.clone();
            async move {
                let answer = own.page(query).await?;
                let total = Some(answer.pagination.total);
                let mut page = Page::of(answer.runs, number, limit, total)
                    .marked(|run| Some(run.run_id.clone()));
                page.more = answer.pagination.has_next && !page.items.is_empty();
                Ok(page)
            }
        })
    }

    /// One page of runs, with what the server says of all of them.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] for more than 100 ids, which [`list`](Self::list) takes.
    pub async fn list_page(&self, query: RunQuery) -> Result<RunPage, Error> {
        let ids = query.fields.get("run_ids").and_then(Value::as_array);
        if ids.is_some_and(|ids| ids.len() > super::datapoints::IDS) {
            let what = "has more than 100 ids, which runs().list takes";
            return Err(super::events::invalid(op::GET_RUNS.call, "run_ids", what));
        }
        self.page(query.fields).await
    }

    async fn page(&self, query: Map<String, Value>) -> Result<RunPage, Error> {
        self.client
            .request(op::GET_RUNS, &[])
            .queries(query)
            .get()
            .await
    }

    /// Reads a run.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such run.
    pub async fn get(&self, run_id: &str) -> Result<Run, Error> {
        let one: OneRun = self.client.request(op::GET_RUN, &[run_id]).get().await?;
        Ok(one.evaluation)
    }

    /// Changes a run.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] when its new name is empty.
    pub async fn update(&self, run_id: &str, update: RunUpdate) -> Result<UpdatedRun, Error> {
        self.client
            .request(op::UPDATE_RUN, &[run_id])
            .body(update)
            .get()
            .await
    }

    /// Deletes a run; false when there was nothing to delete.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn delete(&self, run_id: &str) -> Result<bool, Error> {
        let done: DeletedRun = self.client.request(op::DELETE_RUN, &[run_id]).get().await?;
        Ok(done.deleted)
    }

    /// What a run came to.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such run.
    pub async fn summary(&self, run_id: &str, query: ResultQuery) -> Result<RunSummary, Error> {
        let request = self.client.request(op::GET_RUN_SUMMARY, &[run_id]);
        request.queries(query.fields).get().await
    }

    /// The metrics of each event of a run, of all its time or of some.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such run.
    pub async fn metrics(
        &self,
        run_id: &str,
        filters: Vec<Filter>,
        range: Option<&DateRange>,
    ) -> Result<RunMetrics, Error> {
        let mut request = self.client.request(op::GET_RUN_METRICS, &[run_id]);
        if !filters.is_empty() {
            let filters: Vec<Value> = filters.into_iter().map(Value::from).collect();
            request = request.query("filters", filters);
        }
        dated(request, range).get().await
    }

    /// Two runs side by side.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when one of them is not there.
    pub async fn compare(
        &self,
        new_run_id: &str,
        old_run_id: &str,
        query: ResultQuery,
    ) -> Result<RunComparison, Error> {
        let request = self
            .client
            .request(op::COMPARE_RUNS, &[new_run_id, old_run_id]);
        request.queries(query.fields).get().await
    }

    /// The events of two runs, datapoint by datapoint. Nothing is sent before the first page is asked for.
    pub fn compare_events(
        &self,
        new_run_id: &str,
        old_run_id: &str,
        query: CompareQuery,
    ) -> Pages<ComparedEvents> {
        let client = self.client.clone();
        let ids = (new_run_id.to_owned(), old_run_id.to_owned());
        compared(query, move |fields| {
            let (client, ids) = (client.clone(), ids.clone());
            async move {
                let request = client.request(op::COMPARE_EVENTS, &[&ids.0, &ids.1]);
                request.queries(fields).get().await
            }
        })
    }

    /// What fields the events of runs have, of all time or of some.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn schema(&self, range: Option<&DateRange>) -> Result<Schema, Error> {
        dated(self.client.request(op::GET_RUNS_SCHEMA, &[]), range)
            .get()
            .await
    }

    /// What fields the events of one run have.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such run.
    pub async fn schema_of(
        &self,
        run_id: &str,
        range: Option<&DateRange>,
    ) -> Result<Schema, Error> {
        dated(self.client.request(op::GET_RUN_SCHEMA, &[run_id]), range)
            .get()
            .await
    }
}

pub(crate) fn dated<'a>(
    request: super::send::Request<'a>,
    range: Option<&DateRange>,
) -> super::send::Request<'a> {
    match range {
        Some(range) => request.query("dateRange", range.bounds()),
        None => request,
    }
}

/// The pages of a comparison, whichever route they come from.
pub(crate) fn compared<F>(
    query: CompareQuery,
    fetch: impl Fn(Map<String, Value>) -> F + Send + Sync + 'static,
) -> Pages<ComparedEvents>
where
    F: Future<Output = Result<ComparedPage, Error>> + Send + 'static,
{
    let mut fields = query.fields;
    let count = |fields: &mut Map<String, Value>, name| {
        fields.remove(name).and_then(|value| value.as_u64())
    };
    let limit = count(&mut fields, "limit").unwrap_or(1000);
    let first = count(&mut fields, "page").unwrap_or(1);
    Pages::new(first, move |number| {
        let mut query = fields.clone();
        query.insert("limit".to_owned(), limit.into());
        query.insert("page".to_owned(), number.into());
        let answer = fetch(query);
        async move {
            let page = answer.await?;
            Ok(Page::of(page.events, number, limit, Some(page.total))
                .marked(|events| Some(events.datapoint_id.clone())))
        }
    })
}
