//! Charts of metrics over time.

use serde_json::Value;

use super::client::Client;
use super::decode::{answer, open_enum};
use super::filter::DateRange;
use super::operations::{self as op, Operation};
use super::request::request;
use crate::error::Error;

open_enum! {
    /// How long a bar of a chart is.
    Bucketing {
        /// A minute.
        Minute "minute",
        /// An hour.
        Hour "hour",
        /// A day.
        Day "day",
        /// A week.
        Week "week",
        /// A month.
        Month "month",
    }
}

answer! {
    /// A chart.
    pub Chart {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The metric it shows.
        metric: String,
        /// How many values become one.
        func: Option<String>,
        /// By what it is divided.
        group_by ("groupBy"): Option<String>,
        /// How long a bar is.
        bucketing: Bucketing,
        /// The time it shows; null where nothing was said.
        date_range ("dateRange"): Value,
        /// The filters of what it shows.
        query: Option<Vec<Value>>,
        /// Whose it is.
        owner_id: Option<String>,
        /// Who that is; null where nobody said.
        owner_profile: Value,
        /// Whether it is in use.
        is_active: bool,
        /// When it was made.
        created_at: String,
        /// When it was changed.
        updated_at: Option<String>,
    }
}

answer! {
    pub(crate) ChartList {
        data: Vec<Chart>,
    }
    pub(crate) OneChart {
        data: Chart,
    }
}

request! {
    /// A chart to be created.
    NewChart(name: [text], metric: [text]) {
        /// What it is for.
        description: [text],
        /// How many values become one.
        func: [text],
        /// By what it is divided.
        group_by ("groupBy"): [text],
        /// How long a bar is.
        bucketing: [one Bucketing],
        /// The filters of what it shows: objects of `field`, `operator`, `type` and `value`.
        query: [list],
        /// Whose it is.
        owner_id: [text],
    }

    /// What changes in a chart.
    ChartUpdate() {
        /// Its name, at most 200 characters.
        name: [text],
        /// The metric it shows.
        metric: [text],
        /// What it is for.
        description: [text],
        /// How many values become one.
        func: [text],
        /// By what it is divided.
        group_by ("groupBy"): [text],
        /// How long a bar is.
        bucketing: [one Bucketing],
        /// The filters of what it shows: objects of `field`, `operator`, `type` and `value`.
        query: [list],
        /// Whose it is.
        owner_id: [text],
    }
}

macro_rules! times {
    ($($name:ident)*) => {$(
        impl $name {
            /// The time it shows.
            pub fn date_range(self, range: &DateRange) -> Self {
                self.set("dateRange", range.bounds())
            }

            /// The time it shows, seen from now, such as `7d`.
            pub fn relative(self, range: impl Into<String>) -> Self {
                let range: String = range.into();
                self.set("dateRange", serde_json::json!({ "relative": range }))
            }
        }
    )*};
}

times!(NewChart ChartUpdate);

/// Charts; see [`Client::charts`].
#[derive(Clone, Debug)]
pub struct Charts {
    client: Client,
    project: Option<String>,
}

impl Charts {
    pub(crate) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            project: None,
        }
    }

    /// The charts of one project, by its id. They take a key of the data plane
    /// ([`data_plane_api_key`](crate::Builder::data_plane_api_key)).
    #[must_use]
    pub fn in_project(&self, project_id: &str) -> Self {
        Self {
            client: self.client.clone(),
            project: Some(project_id.to_owned()),
        }
    }

    fn request<'a>(
        &'a self,
        plain: &'static Operation,
        scoped: &'static Operation,
        path: &[&'a str],
    ) -> super::send::Request<'a> {
        match &self.project {
            None => self.client.request(plain, path),
            Some(project) => {
                let path: Vec<&str> = std::iter::once(project.as_str())
                    .chain(path.iter().copied())
                    .collect();
                self.client.request(scoped, &path)
            }
        }
    }

    /// Lists charts.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn list(&self) -> Result<Vec<Chart>, Error> {
        let request = self.request(op::GET_CHARTS, op::GET_PROJECT_CHARTS, &[]);
        let list: ChartList = request.get().await?;
        Ok(list.data)
    }

    /// Creates a chart. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] names what is not accepted.
    pub async fn create(&self, chart: NewChart) -> Result<Chart, Error> {
        let request = self.request(op::CREATE_CHART, op::CREATE_PROJECT_CHART, &[]);
        let one: OneChart = request.body(chart).get().await?;
        Ok(one.data)
    }

    /// Reads a chart.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such chart.
    pub async fn get(&self, chart_id: &str) -> Result<Chart, Error> {
        let request = self.request(op::GET_CHART, op::GET_PROJECT_CHART, &[chart_id]);
        let one: OneChart = request.get().await?;
        Ok(one.data)
    }

    /// Changes a chart.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] names what is not accepted.
    pub async fn update(&self, chart_id: &str, update: ChartUpdate) -> Result<Chart, Error> {
        let request = self.request(op::UPDATE_CHART, op::UPDATE_PROJECT_CHART, &[chart_id]);
        let one: OneChart = request.body(update).get().await?;
        Ok(one.data)
    }

    /// Deletes a chart.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn delete(&self, chart_id: &str) -> Result<(), Error> {
        let request = self.request(op::DELETE_CHART, op::DELETE_PROJECT_CHART, &[chart_id]);
        request.done().await
    }
}
