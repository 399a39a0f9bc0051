//! Definitions that are kept as they were given: metrics with their versions, configurations, charts, annotation queues.
//! Knows the tables, not what is in a definition.

use super::datasets::{json, read, shown};
use super::{Fault, Reader, now_ms};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

/// The one project that is here unless a request names another.
pub(crate) const PROJECT: &str = "local";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Metric,
    Configuration,
    Chart,
    Queue,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Configuration => "configuration",
            Self::Chart => "chart",
            Self::Queue => "queue",
        }
    }

    pub(crate) fn missing(self, id: &str) -> Fault {
        Fault::Missing(format!("there is no {} {}", self.name(), shown(id)))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) content: Map<String, Value>,
    pub(crate) created: f64,
    pub(crate) updated: Option<f64>,
}

/// A snapshot of a metric's definition.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) sha: String,
    pub(crate) message: String,
    pub(crate) content: Map<String, Value>,
    pub(crate) deployed: bool,
    pub(crate) created: f64,
}

pub(crate) fn create(
    db: &Connection,
    kind: Kind,
    project: &str,
    name: &str,
    content: &Map<String, Value>,
) -> Result<Document, Fault> {
    let id = uuid::Uuid::new_v4().to_string();
    db.prepare_cached(
        "INSERT INTO documents (kind, document_id, project, name, content, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![kind.name(), id, project, name, json(content), now_ms()])?;
    let found = Reader::new(db).document(kind, project, &id)?;
    found.ok_or_else(|| kind.missing(&id))
}

/// Puts these entries over those of the definition.
pub(crate) fn update(
    db: &Connection,
    kind: Kind,
    project: &str,
    id: &str,
    patch: Map<String, Value>,
) -> Result<Document, Fault> {
    let known = Reader::new(db).document(kind, project, id)?;
    let mut known = known.ok_or_else(|| kind.missing(id))?;
    known.content.extend(patch);
    store(db, id, &known.content)?;
    let found = Reader::new(db).document(kind, project, id)?;
    found.ok_or_else(|| kind.missing(id))
}

fn store(db: &Connection, id: &str, content: &Map<String, Value>) -> rusqlite::Result<()> {
    let name = content.get("name").and_then(Value::as_str);
    db.prepare_cached(
        "UPDATE documents SET content = ?2, name = coalesce(?3, name), updated = ?4 WHERE document_id = ?1",
    )?
    .execute(params![id, json(content), name, now_ms()])?;
    Ok(())
}

pub(crate) fn delete(db: &Connection, kind: Kind, project: &str, id: &str) -> Result<(), Fault> {
    let gone = db
        .prepare_cached(
            "DELETE FROM documents WHERE kind = ?1 AND project = ?2 AND document_id = ?3",
        )?
        .execute(params![kind.name(), project, id])?;
    match gone {
        0 => Err(kind.missing(id)),
        _ => Ok(()),
    }
}

fn row_of(db: &Connection, kind: Kind, id: &str) -> Result<i64, Fault> {
    let row = db
        .prepare_cached("SELECT id FROM documents WHERE kind = ?1 AND document_id = ?2")?
        .query_row([kind.name(), id], |row| row.get(0))
        .optional()?;
    row.ok_or_else(|| kind.missing(id))
}

/// Adds a version of a metric. One that is deployed takes the place of the one before, and is what the metric is.
pub(crate) fn add_version(
    db: &Connection,
    metric: &str,
    message: &str,
    content: &Map<String, Value>,
    deploy: bool,
) -> Result<Version, Fault> {
    let row = row_of(db, Kind::Metric, metric)?;
    let count: i64 = db
        .prepare_cached("SELECT count(*) FROM versions WHERE metric = ?1")?
        .query_row([row], |row| row.get(0))?;
    let name = format!("v{}", count + 1);
    let sha: String = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()]
        .iter()
        .map(|id| id.simple().to_string())
        .collect();
    db.prepare_cached(
        "INSERT INTO versions (metric, name, sha, message, content, deployed, created)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
    )?
    .execute(params![
        row,
        name,
        sha.get(..40),
        message,
        json(content),
        now_ms()
    ])?;
    if deploy {
        return deploy_version(db, metric, &name);
    }
    version(db, row, &name)?.ok_or_else(|| no_version(&name))
}

fn no_version(name: &str) -> Fault {
    Fault::Missing(format!("there is no version {}", shown(name)))
}

/// Makes a version the one that is deployed.
pub(crate) fn deploy_version(db: &Connection, metric: &str, name: &str) -> Result<Version, Fault> {
    let row = row_of(db, Kind::Metric, metric)?;
    let mut wanted = version(db, row, name)?.ok_or_else(|| no_version(name))?;
    db.prepare_cached("UPDATE versions SET deployed = (name = ?2) WHERE metric = ?1")?
        .execute(params![row, name])?;
    store(db, metric, &wanted.content)?;
    wanted.deployed = true;
    Ok(wanted)
}

fn version(db: &Connection, metric: i64, name: &str) -> rusqlite::Result<Option<Version>> {
    let sql = format!("{VERSION} WHERE v.metric = ?1 AND v.name = ?2");
    let mut statement = db.prepare_cached(&sql)?;
    statement
        .query_row(params![metric, name], version_row)
        .optional()
}

/// Puts events into a queue, and takes others out.
pub(crate) fn queue(
    db: &Connection,
    id: &str,
    add: &[String],
    remove: &[String],
) -> Result<(), Fault> {
    let row = row_of(db, Kind::Queue, id)?;
    for event in add {
        db.prepare_cached(
            "INSERT INTO queued (queue, event_id, position)
             SELECT ?1, ?2, 1 + coalesce((SELECT max(position) FROM queued WHERE queue = ?1), 0)
             WHERE true ON CONFLICT DO NOTHING",
        )?
        .execute(params![row, event])?;
    }
    for event in remove {
        db.prepare_cached("DELETE FROM queued WHERE queue = ?1 AND event_id = ?2")?
            .execute(params![row, event])?;
    }
    Ok(())
}

const DOCUMENT: &str =
    "SELECT d.document_id, d.name, d.content, d.created, d.updated FROM documents d";

const VERSION: &str =
    "SELECT v.name, v.sha, v.message, v.content, v.deployed, v.created FROM versions v";

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        id: row.get(0)?,
        name: row.get(1)?,
        content: read(row.get_ref(2)?.as_str()?),
        created: row.get(3)?,
        updated: row.get(4)?,
    })
}

fn version_row(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        name: row.get(0)?,
        sha: row.get(1)?,
        message: row.get(2)?,
        content: read(row.get_ref(3)?.as_str()?),
        deployed: row.get(4)?,
        created: row.get(5)?,
    })
}

impl Reader<'_> {
    /// All of a kind, the newest first.
    pub(crate) fn documents(&self, kind: Kind, project: &str) -> rusqlite::Result<Vec<Document>> {
        let sql = format!(
            "{DOCUMENT} WHERE d.kind = ?1 AND d.project = ?2 ORDER BY d.created DESC, d.id DESC"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map([kind.name(), project], document)?;
        rows.collect()
    }

    pub(crate) fn document(
        &self,
        kind: Kind,
        project: &str,
        id: &str,
    ) -> rusqlite::Result<Option<Document>> {
        let sql = format!("{DOCUMENT} WHERE d.kind = ?1 AND d.project = ?2 AND d.document_id = ?3");
        let mut statement = self.db.prepare_cached(&sql)?;
        statement
            .query_row([kind.name(), project, id], document)
            .optional()
    }

    /// The versions of a metric, the oldest first.
    pub(crate) fn versions(&self, metric: &str) -> rusqlite::Result<Vec<Version>> {
        let sql = format!(
            "{VERSION} JOIN documents d ON d.id = v.metric WHERE d.document_id = ?1 ORDER BY v.id"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map([metric], version_row)?;
        rows.collect()
    }

    /// Ids of the events in a queue.
    pub(crate) fn queued(&self, queue: &str) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.db.prepare_cached(
            "SELECT q.event_id FROM queued q JOIN documents d ON d.id = q.queue
             WHERE d.document_id = ?1 ORDER BY q.position",
        )?;
        statement.query_map([queue], |row| row.get(0))?.collect()
    }
}
