//! Datasets and their datapoints. Knows the tables, not what a request looks like.

use super::{Fault, Reader, now_ms};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A named list of datapoints.
#[derive(Clone, Debug)]
pub(crate) struct Dataset {
    pub(crate) dataset_id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// Ids of its datapoints, in their order.
    pub(crate) datapoints: Vec<String>,
    pub(crate) created: f64,
    pub(crate) updated: Option<f64>,
}

/// What an experiment gives to a program, and what it should answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Datapoint {
    pub(crate) datapoint_id: String,
    pub(crate) inputs: Map<String, Value>,
    pub(crate) history: Vec<Value>,
    pub(crate) ground_truth: Option<Map<String, Value>>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) linked_event: Option<String>,
    /// Ids of the datasets that hold it.
    pub(crate) linked_datasets: Vec<String>,
    pub(crate) created: f64,
    pub(crate) updated: Option<f64>,
}

/// Changes of a datapoint; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatapointPatch {
    pub(crate) inputs: Option<Map<String, Value>>,
    pub(crate) history: Option<Vec<Value>>,
    pub(crate) ground_truth: Option<Map<String, Value>>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) linked_event: Option<String>,
    pub(crate) linked_datasets: Option<Vec<String>>,
}

/// Changes of a dataset; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatasetPatch {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) datapoints: Option<Vec<String>>,
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

pub(super) fn read<T: DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_default()
}

pub(crate) fn no_dataset(id: &str) -> Fault {
    Fault::Missing(format!("there is no dataset {}", shown(id)))
}

pub(crate) fn no_datapoint(id: &str) -> Fault {
    Fault::Missing(format!("there is no datapoint {}", shown(id)))
}

/// An id in a message: quoted, and no longer than anybody needs to recognise it.
pub(crate) fn shown(id: &str) -> String {
    let short: String = id.chars().take(100).collect();
    format!("{short:?}")
}

fn fresh() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn row_of(db: &Connection, table: &str, column: &str, id: &str) -> rusqlite::Result<Option<i64>> {
    let sql = format!("SELECT id FROM {table} WHERE {column} = ?1");
    let mut statement = db.prepare_cached(&sql)?;
    statement.query_row([id], |row| row.get(0)).optional()
}

fn dataset_row(db: &Connection, id: &str) -> Result<i64, Fault> {
    row_of(db, "datasets", "dataset_id", id)?.ok_or_else(|| no_dataset(id))
}

fn datapoint_row(db: &Connection, id: &str) -> Result<i64, Fault> {
    row_of(db, "datapoints", "datapoint_id", id)?.ok_or_else(|| no_datapoint(id))
}

/// Puts datapoints at the end of a dataset; those in it already stay where they are.
fn link(db: &Connection, dataset: i64, datapoint: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO links (dataset, datapoint, position)
         SELECT ?1, ?2, 1 + coalesce((SELECT max(position) FROM links WHERE dataset = ?1), 0)
         WHERE true ON CONFLICT DO NOTHING",
    )?
    .execute([dataset, datapoint])?;
    Ok(())
}

fn link_all(db: &Connection, dataset: i64, ids: &[String]) -> Result<(), Fault> {
    for (index, id) in ids.iter().enumerate() {
        let row = row_of(db, "datapoints", "datapoint_id", id)?;
        let row = row.ok_or_else(|| {
            Fault::Invalid(format!(
                "datapoints[{index}]: there is no datapoint {}",
                shown(id)
            ))
        })?;
        link(db, dataset, row)?;
    }
    Ok(())
}

pub(crate) fn create_dataset(db: &Connection, new: DatasetPatch) -> Result<String, Fault> {
    let id = fresh();
    db.prepare_cached(
        "INSERT INTO datasets (dataset_id, name, description, created) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        id,
        new.name.as_deref().unwrap_or("Untitled Dataset"),
        new.description,
        now_ms()
    ])?;
    let row = db.last_insert_rowid();
    link_all(db, row, &new.datapoints.unwrap_or_default())?;
    Ok(id)
}

pub(crate) fn update_dataset(
    db: &Connection,
    id: &str,
    patch: DatasetPatch,
) -> Result<Dataset, Fault> {
    let row = dataset_row(db, id)?;
    db.prepare_cached(
        "UPDATE datasets SET name = coalesce(?2, name), description = coalesce(?3, description), updated = ?4
         WHERE id = ?1",
    )?
    .execute(params![row, patch.name, patch.description, now_ms()])?;
    if let Some(ids) = patch.datapoints {
        db.prepare_cached("DELETE FROM links WHERE dataset = ?1")?
            .execute([row])?;
        link_all(db, row, &ids)?;
    }
    Reader::new(db).dataset(id)?.ok_or_else(|| no_dataset(id))
}

/// Deletes a dataset, and the datapoints that are in no other.
pub(crate) fn delete_dataset(db: &Connection, id: &str) -> Result<(), Fault> {
    let row = dataset_row(db, id)?;
    db.prepare_cached(
        "DELETE FROM datapoints WHERE id IN (SELECT datapoint FROM links WHERE dataset = ?1)
            AND NOT EXISTS (SELECT 1 FROM links WHERE datapoint = datapoints.id AND dataset <> ?1)",
    )?
    .execute([row])?;
    db.prepare_cached("DELETE FROM datasets WHERE id = ?1")?
        .execute([row])?;
    Ok(())
}

/// Makes a datapoint and puts it in its datasets.
pub(crate) fn create_datapoint(db: &Connection, new: &Datapoint) -> Result<String, Fault> {
    let id = fresh();
    db.prepare_cached(
        "INSERT INTO datapoints (datapoint_id, inputs, history, ground_truth, metadata, linked_event, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        id,
        json(&new.inputs),
        json(&new.history),
        new.ground_truth.as_ref().map(json),
        new.metadata.as_ref().map(json),
        new.linked_event,
        now_ms(),
    ])?;
    let row = db.last_insert_rowid();
    for dataset in &new.linked_datasets {
        let dataset =
            row_of(db, "datasets", "dataset_id", dataset)?.ok_or_else(|| no_linked(dataset))?;
        link(db, dataset, row)?;
    }
    Ok(id)
}

fn no_linked(id: &str) -> Fault {
    Fault::Invalid(format!(
        "linked_datasets: there is no dataset {}",
        shown(id)
    ))
}

/// Makes several and answers with their ids; all of them or none.
pub(crate) fn create_datapoints(db: &Connection, new: &[Datapoint]) -> Result<Vec<String>, Fault> {
    new.iter().map(|one| create_datapoint(db, one)).collect()
}

/// The same for a dataset that must be there.
pub(crate) fn add_datapoints(
    db: &Connection,
    dataset: &str,
    new: &[Datapoint],
) -> Result<Vec<String>, Fault> {
    let row = dataset_row(db, dataset)?;
    let ids = create_datapoints(db, new)?;
    for id in &ids {
        link(db, row, datapoint_row(db, id)?)?;
    }
    Ok(ids)
}

pub(crate) fn update_datapoint(
    db: &Connection,
    id: &str,
    patch: &DatapointPatch,
) -> Result<(), Fault> {
    let row = datapoint_row(db, id)?;
    db.prepare_cached(
        "UPDATE datapoints SET inputs = coalesce(?2, inputs), history = coalesce(?3, history),
            ground_truth = coalesce(?4, ground_truth), metadata = coalesce(?5, metadata),
            linked_event = coalesce(?6, linked_event), updated = ?7 WHERE id = ?1",
    )?
    .execute(params![
        row,
        patch.inputs.as_ref().map(json),
        patch.history.as_ref().map(json),
        patch.ground_truth.as_ref().map(json),
        patch.metadata.as_ref().map(json),
        patch.linked_event,
        now_ms(),
    ])?;
    if let Some(datasets) = &patch.linked_datasets {
        let mut rows = Vec::with_capacity(datasets.len());
        for dataset in datasets {
            let found = row_of(db, "datasets", "dataset_id", dataset)?;
            rows.push(found.ok_or_else(|| no_linked(dataset))?);
        }
        db.prepare_cached(
            "DELETE FROM links WHERE datapoint = ?1 AND dataset NOT IN (SELECT value FROM json_each(?2))",
        )?
        .execute(params![row, super::search::list(&rows)])?;
        for dataset in rows {
            link(db, dataset, row)?;
        }
    }
    Ok(())
}

pub(crate) fn delete_datapoint(db: &Connection, id: &str) -> Result<(), Fault> {
    let row = datapoint_row(db, id)?;
    db.prepare_cached("DELETE FROM datapoints WHERE id = ?1")?
        .execute([row])?;
    Ok(())
}

/// Takes a datapoint out of a dataset; it stays itself.
pub(crate) fn unlink(db: &Connection, dataset: &str, datapoint: &str) -> Result<(), Fault> {
    let (set, point) = (dataset_row(db, dataset)?, datapoint_row(db, datapoint)?);
    let gone = db
        .prepare_cached("DELETE FROM links WHERE dataset = ?1 AND datapoint = ?2")?
        .execute([set, point])?;
    if gone == 0 {
        return Err(Fault::Missing(format!(
            "the dataset {} has no datapoint {}",
            shown(dataset),
            shown(datapoint)
        )));
    }
    Ok(())
}

const DATASET: &str =
    "SELECT d.id, d.dataset_id, d.name, d.description, d.created, d.updated FROM datasets d";

const DATAPOINT: &str =
    "SELECT p.id, p.datapoint_id, p.inputs, p.history, p.ground_truth, p.metadata, p.linked_event,
    p.created, p.updated FROM datapoints p";

fn dataset(row: &Row<'_>) -> rusqlite::Result<(i64, Dataset)> {
    let dataset = Dataset {
        dataset_id: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        datapoints: Vec::new(),
        created: row.get(4)?,
        updated: row.get(5)?,
    };
    Ok((row.get(0)?, dataset))
}

fn datapoint(row: &Row<'_>) -> rusqlite::Result<(i64, Datapoint)> {
    let text = |index: usize| -> rusqlite::Result<Option<&str>> {
        Ok(row.get_ref(index)?.as_str_or_null()?)
    };
    let datapoint = Datapoint {
        datapoint_id: row.get(1)?,
        inputs: read(row.get_ref(2)?.as_str()?),
        history: read(row.get_ref(3)?.as_str()?),
        ground_truth: text(4)?.map(read),
        metadata: text(5)?.map(read),
        linked_event: row.get(6)?,
        linked_datasets: Vec::new(),
        created: row.get(7)?,
        updated: row.get(8)?,
    };
    Ok((row.get(0)?, datapoint))
}

impl Reader<'_> {
    /// Datasets, the newest first; of this id or name only, where one is given.
    pub(crate) fn datasets(
        &self,
        id: Option<&str>,
        name: Option<&str>,
    ) -> rusqlite::Result<Vec<Dataset>> {
        let sql = format!(
            "{DATASET} WHERE (?1 IS NULL OR d.dataset_id = ?1) AND (?2 IS NULL OR d.name = ?2)
             ORDER BY d.created DESC, d.id DESC"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map(params![id, name], dataset)?;
        let mut datasets = Vec::new();
        for row in rows {
            let (row, mut dataset) = row?;
            dataset.datapoints = self.linked(row)?;
            datasets.push(dataset);
        }
        Ok(datasets)
    }

    pub(crate) fn dataset(&self, id: &str) -> rusqlite::Result<Option<Dataset>> {
        Ok(self.datasets(Some(id), None)?.pop())
    }

    /// Ids of the datapoints of a dataset, in its order.
    fn linked(&self, dataset: i64) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.db.prepare_cached(
            "SELECT p.datapoint_id FROM links l JOIN datapoints p ON p.id = l.datapoint
             WHERE l.dataset = ?1 ORDER BY l.position",
        )?;
        statement.query_map([dataset], |row| row.get(0))?.collect()
    }

    /// Datapoints: those with these ids, those of the dataset with this name in its order, or all, the newest first.
    pub(crate) fn datapoints(
        &self,
        ids: Option<&[String]>,
        dataset_name: Option<&str>,
    ) -> rusqlite::Result<Vec<Datapoint>> {
        if let Some(name) = dataset_name {
            let wanted =
                |point: &Datapoint| ids.is_none_or(|ids| ids.contains(&point.datapoint_id));
            let mut points = Vec::new();
            for dataset in self.datasets(None, Some(name))? {
                let of = self.datapoints_of(&dataset.dataset_id, 0, u64::MAX)?;
                points.extend(of.into_iter().filter(wanted));
            }
            return Ok(points);
        }
        let sql = format!(
            "{DATAPOINT} WHERE ?1 IS NULL OR p.datapoint_id IN (SELECT value FROM json_each(?1))
             ORDER BY p.created DESC, p.id DESC"
        );
        let ids = ids.map(|ids| json(&ids));
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map([ids], datapoint)?;
        rows.map(|row| self.with_datasets(row?)).collect()
    }

    /// A page of the datapoints of a dataset, in its order.
    pub(crate) fn datapoints_of(
        &self,
        dataset_id: &str,
        offset: u64,
        limit: u64,
    ) -> rusqlite::Result<Vec<Datapoint>> {
        let sql = format!(
            "{DATAPOINT} JOIN links l ON l.datapoint = p.id JOIN datasets d ON d.id = l.dataset
             WHERE d.dataset_id = ?1 ORDER BY l.position LIMIT ?2 OFFSET ?3"
        );
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut statement = self.db.prepare_cached(&sql)?;
        let values = params![dataset_id, number(limit), number(offset)];
        let rows = statement.query_map(values, datapoint)?;
        rows.map(|row| self.with_datasets(row?)).collect()
    }

    pub(crate) fn datapoint(&self, id: &str) -> rusqlite::Result<Option<Datapoint>> {
        let sql = format!("{DATAPOINT} WHERE p.datapoint_id = ?1");
        let mut statement = self.db.prepare_cached(&sql)?;
        let found = statement.query_row([id], datapoint).optional()?;
        found.map(|found| self.with_datasets(found)).transpose()
    }

    fn with_datasets(&self, (row, mut datapoint): (i64, Datapoint)) -> rusqlite::Result<Datapoint> {
        let mut statement = self.db.prepare_cached(
            "SELECT d.dataset_id FROM links l JOIN datasets d ON d.id = l.dataset
             WHERE l.datapoint = ?1 ORDER BY d.id",
        )?;
        let ids = statement.query_map([row], |row| row.get(0))?;
        datapoint.linked_datasets = ids.collect::<rusqlite::Result<_>>()?;
        Ok(datapoint)
    }
}
