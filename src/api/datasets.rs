//! Datasets: datapoints that belong together, their import and export.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::cache::Limits;
use super::client::Client;
use super::datapoints::{DatapointQuery, IDS, Mapping, missing};
use super::decode::answer;
use super::operations as op;
use super::request::request;
use super::resource;
use super::rows::Rows;
use crate::clock;
use crate::error::Error;

answer! {
    /// A dataset.
    pub Dataset {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The ids of its datapoints.
        datapoints: Vec<String>,
        /// When it was made.
        created_at: Option<String>,
        /// When it was changed.
        updated_at: Option<String>,
    }
}

answer! {
    pub(crate) DatasetList {
        datasets: Vec<Dataset>,
    }
    pub(crate) InsertedId {
        id ("insertedId"): String,
    }
    pub(crate) CreatedDataset {
        result: InsertedId,
    }
    pub(crate) UpdatedDataset {
        result: Dataset,
    }
    pub(crate) AddedDatapoints {
        datapoint_ids: Vec<String>,
    }
}

request! {
    /// A dataset to be created.
    NewDataset() {
        /// Its name, at most 200 characters.
        name: [text],
        /// What it is for.
        description: [text],
        /// The ids of datapoints that are there already.
        datapoints: [texts],
    }

    /// What changes in a dataset.
    DatasetUpdate() {
        /// Its name, at most 200 characters.
        name: [text],
        /// What it is for.
        description: [text],
        /// The ids of its datapoints: all of them.
        datapoints: [texts],
    }

    /// Which datasets are listed.
    DatasetQuery() {
        /// The one with this id.
        id ("dataset_id"): [text],
        /// Those with this name.
        name: [text],
    }
}

/// What became of an import.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImportReport {
    /// The ids of the datapoints that were made, in the order of the rows.
    pub datapoint_ids: Vec<String>,
    /// How many rows were sent and taken.
    pub rows: usize,
    /// The rows of the request that failed, from 0, and why. What comes after them was not sent.
    pub failed: Option<(Range<usize>, Error)>,
}

resource! {
    /// Datasets; see [`Client::datasets`].
    Datasets
}

impl Datasets {
    /// Lists datasets.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn list(&self, query: DatasetQuery) -> Result<Vec<Dataset>, Error> {
        let request = self.client.request(op::GET_DATASETS, &[]);
        let list: DatasetList = request.queries(query.fields).get().await?;
        Ok(list.datasets)
    }

    /// Reads a dataset.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_not_found`] when there is no such dataset.
    pub async fn get(&self, dataset_id: &str) -> Result<Dataset, Error> {
        let mut list = self.list(DatasetQuery::new().id(dataset_id)).await?;
        // A server that ignores the query sends all of them.
        let place = list.iter().position(|dataset| dataset.id == dataset_id);
        match place {
            Some(place) => Ok(list.swap_remove(place)),
            None => Err(missing(op::GET_DATASETS.call, "dataset", dataset_id)),
        }
    }

    /// Reads a dataset, out of the cache if it is there: see [`Client::cache`].
    ///
    /// # Errors
    ///
    /// It was not in the cache, and the call failed.
    pub async fn get_cached(&self, dataset_id: &str) -> Result<Arc<Dataset>, Error> {
        let config = self.client.config();
        let caches = self.client.caches();
        let key = caches.key(&config, &[Some(dataset_id)]);
        let (own, id) = (self.clone(), dataset_id.to_owned());
        let fetch = || async move { own.get(&id).await.map(Arc::new) };
        caches
            .datasets
            .get(key, Limits::resources(&config), fetch)
            .await
    }

    /// Creates a dataset, and returns its id. It is not repeated when its outcome is not known.
    ///
    /// # Errors
    ///
    /// The call failed; [`Error::is_invalid`] when its name is too long.
    pub async fn create(&self, dataset: NewDataset) -> Result<String, Error> {
        let request = self.client.request(op::CREATE_DATASET, &[]).body(dataset);
        let created: CreatedDataset = request.get().await?;
        Ok(created.result.id)
    }

    /// Changes a dataset.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn update(&self, dataset_id: &str, update: DatasetUpdate) -> Result<Dataset, Error> {
        forget(&self.client, dataset_id);
        let request = self.client.request(op::UPDATE_DATASET, &[dataset_id]);
        let updated: UpdatedDataset = request.body(update).get().await?;
        forget(&self.client, dataset_id);
        Ok(updated.result)
    }

    /// Deletes a dataset.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn delete(&self, dataset_id: &str) -> Result<(), Error> {
        let deleted = self
            .client
            .request(op::DELETE_DATASET, &[dataset_id])
            .done()
            .await;
        forget(&self.client, dataset_id);
        deleted
    }

    /// Makes datapoints from rows and adds them to a dataset, in one request; returns their ids.
    ///
    /// # Errors
    ///
    /// The call failed.
    pub async fn add_datapoints(
        &self,
        dataset_id: &str,
        rows: Vec<Map<String, Value>>,
        mapping: Mapping,
    ) -> Result<Vec<String>, Error> {
        self.add(dataset_id, &rows, &mapping, clock::unix_nanos())
            .await
    }

    async fn add(
        &self,
        dataset_id: &str,
        rows: &[Map<String, Value>],
        mapping: &Mapping,
        stamp: u64,
    ) -> Result<Vec<String>, Error> {
        let body = json!({ "data": rows, "mapping": mapping.fields });
        let request = self.client.request(op::ADD_DATAPOINTS, &[dataset_id]);
        let added: Result<AddedDatapoints, Error> = request.stamp(stamp).body(body).get().await;
        forget(&self.client, dataset_id);
        Ok(added?.datapoint_ids)
    }

    /// Takes a datapoint out of a dataset. The datapoint stays.
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
            .request(op::REMOVE_DATAPOINT, &path)
            .done()
            .await;
        forget(&self.client, dataset_id);
        removed
    }

    /// Makes datapoints from many rows, 100 to a request. It stops at the first request that fails, and tells how far it
    /// came.
    ///
    /// ```no_run
    /// # async fn example(client: honeyhive::api::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use honeyhive::api::{Mapping, NewDataset, Rows};
    ///
    /// let rows = Rows::csv(std::fs::File::open("questions.csv")?)?;
    /// let mapping = Mapping::new().inputs(["question"]).ground_truth(["answer"]);
    /// let dataset = client.datasets().create(NewDataset::new().name("questions")).await?;
    /// let report = client.datasets().import(&dataset, rows, mapping).await;
    /// if let Some((rows, error)) = report.failed {
    ///     eprintln!("rows {rows:?}: {error}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn import(&self, dataset_id: &str, rows: Rows, mapping: Mapping) -> ImportReport {
        let stamp = clock::unix_nanos();
        let mut report = ImportReport {
            datapoint_ids: Vec::new(),
            rows: 0,
            failed: None,
        };
        for part in rows.0.chunks(IDS) {
            match self.add(dataset_id, part, &mapping, stamp).await {
                Ok(ids) => {
                    report.datapoint_ids.extend(ids);
                    report.rows += part.len();
                }
                Err(error) => {
                    report.failed = Some((report.rows..report.rows + part.len(), error));
                    break;
                }
            }
        }
        report
    }

    /// Writes the datapoints of a dataset as JSON lines, and returns how many there were.
    ///
    /// # Errors
    ///
    /// A call failed, or writing did ([`Error::is_io`]).
    pub async fn export_jsonl<W: Write>(
        &self,
        dataset_id: &str,
        to: &mut W,
    ) -> Result<usize, Error> {
        let dataset = self.get(dataset_id).await?;
        let mut count = 0;
        for ids in dataset.datapoints.chunks(IDS) {
            let query = DatapointQuery::new().ids(ids);
            for datapoint in self.client.datapoints().list(query).await? {
                let failed = |error: std::io::Error| {
                    Error::io(format!("datasets.export_jsonl: cannot write: {error}"))
                        .with_source(error)
                };
                serde_json::to_writer(&mut *to, &datapoint)
                    .map_err(|error| failed(error.into()))?;
                to.write_all(b"\n").map_err(failed)?;
                count += 1;
            }
        }
        Ok(count)
    }
}

pub(crate) fn forget(client: &Client, dataset_id: &str) {
    let caches = client.caches();
    let key = caches.key(&client.config(), &[Some(dataset_id)]);
    caches.datasets.forget(&key);
}
