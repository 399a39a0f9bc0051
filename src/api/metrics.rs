//! Metrics, their versions, and single runs of them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cache::Limits;
use super::client::Client;
use super::datapoints::{Deleted, Updated, missing};
use super::decode::{answer, open_enum};
use super::filter::{Filter, filter_array};
use super::operations as op;
use super::request::request;
use super::resource;
use crate::error::Error;

open_enum! {
    /// How a metric is computed.
    MetricType {
        /// By code in Python.
        Python "PYTHON",
        /// By a model.
        Llm "LLM",
        /// By people.
        Human "HUMAN",
        /// From other metrics.
        Composite "COMPOSITE",
    }

    /// What a metric returns.
    ReturnType {
        /// A number.
        Float "float",
        /// True or false.
        Boolean "boolean",
        /// Text.
        String "string",
        /// One of its categories.
        Categorical "categorical",
    }
}

answer! {
    /// Filters as metrics and queues have them.
    pub FilterArray {
        /// The filters.
        filters ("filterArray"): Vec<Value>,
    }

    /// A metric.
    pub Metric {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// How it is computed.
        kind ("type"): MetricType,
        /// The code, the prompt or the question.
        criteria: String,
        /// What it is for.
        description: Option<String>,
        /// What it returns.
        return_type: ReturnType,
        /// Whether it is computed for events as they come.
        enabled_in_prod: bool,
        /// Whether it needs to know what should have come.
        needs_ground_truth: bool,
        /// For how many of a hundred events it is computed.
        sampling_percentage: f64,
        /// The provider of the model.
        model_provider: Option<String>,
        /// The model.
        model_name: Option<String>,
        /// The highest rating.
        scale: Option<f64>,
        /// What passes; null where nothing was said.
        threshold: Value,
        /// The categories and their scores.
        categories: Option<Vec<Value>>,
        /// The metrics that it is made of.
        child_metrics: Option<Vec<Value>>,
        /// The events it is computed for.
        filters: FilterArray,
        /// When it was made.
        created_at: String,
        /// When it was changed.
        updated_at: Option<String>,
    }

    /// What a metric was in one of its versions.
    pub MetricContent {
        /// Its name.
        name: String,
        /// How it was computed.
        kind ("type"): MetricType,
        /// The code, the prompt or the question.
        criteria: String,
        /// What it was for.
        description: Option<String>,
        /// What it returned.
        return_type: ReturnType,
        /// Whether it was computed for events as they came.
        enabled_in_prod: bool,
        /// Whether it needed to know what should have come.
        needs_ground_truth: bool,
        /// For how many of a hundred events it was computed.
        sampling_percentage: f64,
        /// The provider of the model.
        model_provider: Option<String>,
        /// The model.
        model_name: Option<String>,
        /// The highest rating.
        scale: Option<f64>,
        /// What passed; null where nothing was said.
        threshold: Value,
        /// The categories and their scores.
        categories: Option<Vec<Value>>,
        /// The metrics that it was made of.
        child_metrics: Option<Vec<Value>>,
        /// The events it was computed for.
        filters: FilterArray,
    }

    /// A version of a metric.
    pub MetricVersion {
        /// Its name.
        name: String,
        /// Its hash.
        full_sha: String,
        /// Why it was made.
        message: String,
        /// When it was made.
        date: String,
        /// Whether it is the one in force.
        deployed: bool,
        /// What the metric is in this version.
        content: MetricContent,
    }

    /// What a metric says of an event.
    pub MetricOutcome {
        /// Whether it could be computed.
        success: bool,
        /// Whether it is still being computed.
        loading: bool,
        /// The result: true or false, a number or text; null where there is none.
        result: Value,
        /// Why it is that.
        explanation: Option<String>,
    }
}

answer! {
    pub(crate) MetricList {
        metrics: Vec<Metric>,
    }
    pub(crate) CreatedMetric {
        metric_id: String,
    }
    pub(crate) VersionList {
        data: Vec<MetricVersion>,
    }
    pub(crate) OneVersion {
        data: MetricVersion,
    }
}

request! {
    /// A metric to be created, to become a version, or to be run.
    ///
    /// ```
    /// use honeyhive::api::{MetricType, NewMetric};
    ///
    /// let metric = NewMetric::new("polite", MetricType::Llm, "Is the answer polite?")
    ///     .return_type("boolean")
    ///     .model_name("gpt-4o")
    ///     .sampling_percentage(5);
    /// # let _ = metric;
    /// ```
    NewMetric(name: [text], kind ("type"): [one MetricType], criteria: [text]) {
        /// What it is for.
        description: [text],
        /// What it returns; a number unless set.
        return_type: [one ReturnType],
        /// Whether it is computed for events as they come; not unless set.
        enabled_in_prod: [flag],
        /// Whether it needs to know what should have come; not unless set.
        needs_ground_truth: [flag],
        /// For how many of a hundred events it is computed, 0 to 100; 10 unless set.
        sampling_percentage: [number],
        /// The provider of the model.
        model_provider: [text],
        /// The model.
        model_name: [text],
        /// The highest rating, above 0.
        scale: [count],
        /// What passes: an object of `min`, `max`, `pass_when` and `passing_categories`.
        threshold: [json],
        /// The categories: objects of `category` and `score`.
        categories: [list],
        /// The metrics that it is made of: objects of `name` and `weight`.
        child_metrics: [list],
    }

    /// What changes in a metric.
    MetricUpdate() {
        /// Its name, at most 200 characters.
        name: [text],
        /// How it is computed.
        kind ("type"): [one MetricType],
        /// The code, the prompt or the question.
        criteria: [text],
        /// What it is for.
        description: [text],
        /// What it returns.
        return_type: [one ReturnType],
        /// Whether it is computed for events as they come.
        enabled_in_prod: [flag],
        /// Whether it needs to know what should have come.
        needs_ground_truth: [flag],
        /// For how many of a hundred events it is computed, 0 to 100.
        sampling_percentage: [number],
        /// The provider of the model.
        model_provider: [text],
        /// The model.
        model_name: [text],
        /// The highest rating, above 0.
        scale: [count],
        /// What passes: an object of `min`, `max`, `pass_when` and `passing_categories`.
        threshold: [json],
        /// The categories: objects of `category` and `score`.
        categories: [list],
        /// The metrics that it is made of: objects of `name` and `weight`.
        child_metrics: [list],
    }

    /// An event that a metric is run on.
    MetricEvent() {
        /// What it is.
        event_type: [text],
        /// Its name.
        event_name: [text],
        /// Its inputs, an object.
        inputs: [json],
        /// Its outputs, an object.
        outputs: [json],
        /// The workspace it belongs to.
        workspace_id: [text],
        /// Feedback: an object, in which `ground_truth` is what should have come.
        feedback: [json],
    }

    /// Which metrics are listed.
    MetricQuery() {
        /// Those computed like this.
        kind ("type"): [one MetricType],
        /// The one with this id.
        id: [text],
    }
}

impl NewMetric {
    /// The events it is computed for.
    pub fn filters(self, filters: impl IntoIterator<Item = Filter>) -> Self {
        self.set("filters", filter_array(filters))
    }
}

impl MetricUpdate {
    /// The events it is computed for.
    pub fn filters(self, filters: impl IntoIterator<Item = Filter>) -> Self {
        self.set("filters", filter_array(filters))
    }
}

resource! {
    /// Metrics; see [`Client::metrics`].
    Metrics
}

impl Metrics {
    /// Lists metrics.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn list(&self, query: MetricQuery) -> Result<Vec<Metric>, Error> {
        let request = self.client.request(op::GET_METRICS, &[]);
        let list: MetricList = request.queries(query.fields).get().await?;
        Ok(list.metrics)
    }

    /// Reads a metric.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such metric.
    pub async fn get(&self, metric_id: &str) -> Result<Metric, Error> {
        let list = self.list(MetricQuery::new().id(metric_id)).await?;
        let found = list.into_iter().find(|metric| metric.id == metric_id);
        found.ok_or_else(|| missing(op::GET_METRICS.call, "metric", metric_id))
    }

    /// Reads a metric, out of the cache if it is there: see [`Client::cache`].
    ///
    /// # Errors
    ///
    /// It was not in the cache, and the call failed.
    pub async fn get_cached(&self, metric_id: &str) -> Result<Arc<Metric>, Error> {
        let config = self.client.config();
        let caches = self.client.caches();
        let key = caches.key(&config, &[Some(metric_id)]);
        let (own, id) = (self.clone(), metric_id.to_owned());
        let fetch = || async move { own.get(&id).await.map(Arc::new) };
        caches
            .metrics
            .get(key, Limits::resources(&config), fetch)
            .await
    }

    /// Creates a metric, and returns its id. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] names what is out of range.
    pub async fn create(&self, metric: NewMetric) -> Result<String, Error> {
        let request = self.client.request(op::CREATE_METRIC, &[]).body(metric);
        let created: CreatedMetric = request.get().await?;
        Ok(created.metric_id)
    }

    /// Changes a metric; false when there was nothing to change.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] names what is out of range.
    pub async fn update(&self, metric_id: &str, update: MetricUpdate) -> Result<bool, Error> {
        let request = self.client.request(op::UPDATE_METRIC, &[metric_id]);
        let done: Result<Updated, Error> = request.body(update).get().await;
        forget(&self.client, metric_id);
        Ok(done?.updated)
    }

    /// Deletes a metric; false when there was nothing to delete.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn delete(&self, metric_id: &str) -> Result<bool, Error> {
        let request = self.client.request(op::DELETE_METRIC, &[metric_id]);
        let done: Result<Deleted, Error> = request.get().await;
        forget(&self.client, metric_id);
        Ok(done?.deleted)
    }

    /// Lists the versions of a metric.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such metric.
    pub async fn versions(&self, metric_id: &str) -> Result<Vec<MetricVersion>, Error> {
        let request = self.client.request(op::GET_METRIC_VERSIONS, &[metric_id]);
        let list: VersionList = request.get().await?;
        Ok(list.data)
    }

    /// Makes a version of a metric, and puts it in force if `deploy`. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] names what is out of range.
    pub async fn create_version(
        &self,
        metric_id: &str,
        message: &str,
        content: NewMetric,
        deploy: bool,
    ) -> Result<MetricVersion, Error> {
        let content = Value::from(content);
        let body = json!({ "message": message, "content": content, "deploy_immediately": deploy });
        let request = self.client.request(op::CREATE_METRIC_VERSION, &[metric_id]);
        let one: Result<OneVersion, Error> = request.body(body).get().await;
        forget(&self.client, metric_id);
        Ok(one?.data)
    }

    /// Puts a version in force.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such version.
    pub async fn deploy_version(
        &self,
        metric_id: &str,
        version: &str,
    ) -> Result<MetricVersion, Error> {
        let request = self
            .client
            .request(op::DEPLOY_METRIC_VERSION, &[metric_id, version]);
        let one: Result<OneVersion, Error> = request.get().await;
        forget(&self.client, metric_id);
        Ok(one?.data)
    }

    /// Runs a metric on an event, neither of which needs to be stored. It may cost the tokens of a model, and is not repeated
    /// when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed. A server that cannot compute a kind of metric refuses it, and says why.
    pub async fn run(&self, metric: NewMetric, event: MetricEvent) -> Result<MetricOutcome, Error> {
        let body = json!({ "metric": Value::from(metric), "event": Value::from(event) });
        self.client
            .request(op::RUN_METRIC, &[])
            .body(body)
            .get()
            .await
    }
}

pub(crate) fn forget(client: &Client, metric_id: &str) {
    let caches = client.caches();
    let key = caches.key(&client.config(), &[Some(metric_id)]);
    caches.metrics.forget(&key);
}
