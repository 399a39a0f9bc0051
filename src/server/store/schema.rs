//! The tables, and how an older database becomes a newer one. Knows nothing of what is done with them.

use crate::Error;
use rusqlite::Connection;
use std::path::Path;

/// Marks a database as ours ("HHdb"), so that no other program's file is written to by mistake.
const APPLICATION_ID: i32 = 0x4848_6462;

/// One step for each version of the tables; never changed once released, only added to.
const STEPS: &[&str] = &[
    "
    CREATE TABLE sessions (
        id          INTEGER PRIMARY KEY,
        session_id  TEXT NOT NULL UNIQUE,
        name        TEXT NOT NULL,
        name_rank   INTEGER NOT NULL,
        source      TEXT,
        project     TEXT,
        started     REAL NOT NULL,
        ended       REAL NOT NULL,
        fixed       INTEGER NOT NULL DEFAULT 0,
        closed      INTEGER NOT NULL DEFAULT 0,
        touched     REAL NOT NULL,
        events      INTEGER NOT NULL DEFAULT 0,
        roots       INTEGER NOT NULL DEFAULT 0,
        models      INTEGER NOT NULL DEFAULT 0,
        tokens      INTEGER NOT NULL DEFAULT 0,
        cost        REAL NOT NULL DEFAULT 0,
        errors      INTEGER NOT NULL DEFAULT 0,
        error       TEXT,
        user        TEXT,
        duration    REAL,
        inputs      TEXT NOT NULL DEFAULT '{}',
        outputs     TEXT NOT NULL DEFAULT '{}',
        config      TEXT NOT NULL DEFAULT '{}',
        metadata    TEXT NOT NULL DEFAULT '{}',
        metrics     TEXT NOT NULL DEFAULT '{}',
        feedback    TEXT NOT NULL DEFAULT '{}',
        user_properties TEXT NOT NULL DEFAULT '{}'
    ) STRICT;
    CREATE INDEX sessions_started ON sessions (started);
    CREATE INDEX sessions_source ON sessions (source);

    CREATE TABLE events (
        id          INTEGER PRIMARY KEY,
        event_id    TEXT NOT NULL UNIQUE,
        session     INTEGER NOT NULL REFERENCES sessions,
        parent_id   TEXT,
        span_key    TEXT,
        kind        TEXT NOT NULL,
        name        TEXT NOT NULL,
        source      TEXT,
        project     TEXT,
        started     REAL NOT NULL,
        ended       REAL NOT NULL,
        duration    REAL NOT NULL,
        tokens      INTEGER NOT NULL,
        cost        REAL NOT NULL,
        model       TEXT,
        error       TEXT
    ) STRICT;
    CREATE INDEX events_session ON events (session, started);
    CREATE UNIQUE INDEX events_span ON events (span_key) WHERE span_key IS NOT NULL;

    CREATE TABLE bodies (
        id          INTEGER PRIMARY KEY REFERENCES events,
        inputs      TEXT NOT NULL,
        outputs     TEXT NOT NULL,
        config      TEXT NOT NULL,
        metadata    TEXT NOT NULL,
        metrics     TEXT NOT NULL,
        feedback    TEXT NOT NULL,
        user_properties TEXT NOT NULL,
        raw         TEXT NOT NULL
    ) STRICT;

    CREATE TABLE verdicts (
        event_id    TEXT NOT NULL,
        metrics     TEXT NOT NULL
    ) STRICT;
    CREATE INDEX verdicts_event ON verdicts (event_id);
",
    "
    ALTER TABLE events ADD COLUMN children TEXT;
    ALTER TABLE sessions ADD COLUMN children TEXT;
    CREATE INDEX events_started ON events (started);
    CREATE INDEX events_kind ON events (kind, started, name);
    CREATE INDEX sessions_run ON sessions (
        (CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.run_id') END)
    );
    CREATE INDEX bodies_metadata ON bodies (id, metadata);
    CREATE INDEX bodies_metrics ON bodies (id, metrics) WHERE metrics <> '{}';

    CREATE TABLE datasets (
        id          INTEGER PRIMARY KEY,
        dataset_id  TEXT NOT NULL UNIQUE,
        name        TEXT NOT NULL,
        description TEXT,
        created     REAL NOT NULL,
        updated     REAL
    ) STRICT;

    CREATE TABLE datapoints (
        id          INTEGER PRIMARY KEY,
        datapoint_id TEXT NOT NULL UNIQUE,
        inputs      TEXT NOT NULL,
        history     TEXT NOT NULL,
        ground_truth TEXT,
        metadata    TEXT,
        linked_event TEXT,
        created     REAL NOT NULL,
        updated     REAL
    ) STRICT;

    CREATE TABLE links (
        dataset     INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE,
        datapoint   INTEGER NOT NULL REFERENCES datapoints ON DELETE CASCADE,
        position    INTEGER NOT NULL,
        PRIMARY KEY (dataset, datapoint)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX links_datapoint ON links (datapoint);
    CREATE INDEX links_order ON links (dataset, position);

    CREATE TABLE runs (
        id          INTEGER PRIMARY KEY,
        run_id      TEXT NOT NULL UNIQUE,
        name        TEXT,
        description TEXT,
        status      TEXT NOT NULL,
        dataset_id  TEXT,
        metadata    TEXT NOT NULL,
        results     TEXT NOT NULL,
        configuration TEXT NOT NULL,
        evaluators  TEXT NOT NULL,
        event_ids   TEXT NOT NULL,
        session_ids TEXT NOT NULL,
        datapoint_ids TEXT NOT NULL,
        passing_ranges TEXT NOT NULL,
        created     REAL NOT NULL,
        updated     REAL
    ) STRICT;
    CREATE INDEX runs_created ON runs (created);

    CREATE TABLE documents (
        id          INTEGER PRIMARY KEY,
        kind        TEXT NOT NULL,
        document_id TEXT NOT NULL UNIQUE,
        project     TEXT NOT NULL,
        name        TEXT NOT NULL,
        content     TEXT NOT NULL,
        created     REAL NOT NULL,
        updated     REAL
    ) STRICT;
    CREATE INDEX documents_kind ON documents (kind, project, created);

    CREATE TABLE versions (
        id          INTEGER PRIMARY KEY,
        metric      INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        name        TEXT NOT NULL,
        sha         TEXT NOT NULL,
        message     TEXT NOT NULL,
        content     TEXT NOT NULL,
        deployed    INTEGER NOT NULL,
        created     REAL NOT NULL,
        UNIQUE (metric, name)
    ) STRICT;

    CREATE TABLE queued (
        queue       INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        event_id    TEXT NOT NULL,
        position    INTEGER NOT NULL,
        PRIMARY KEY (queue, event_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX queued_event ON queued (event_id);
    CREATE INDEX queued_order ON queued (queue, position);
",
];

/// Opens a database for writing and brings its tables up to date.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let told = |error| unusable(path, error);
    let mut db = Connection::open(path).map_err(told)?;
    db.busy_timeout(std::time::Duration::from_secs(5))
        .map_err(told)?;
    let version: u32 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(told)?;
    let application: i32 = db
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(told)?;
    let tables: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(told)?;
    if application != APPLICATION_ID && (tables > 0 || application != 0) {
        return Err(Error::io(format!(
            "{} is another program's database; name a new file",
            path.display()
        )));
    }
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if version > known {
        return Err(Error::io(format!(
            "{} was written by a newer version of this program (tables of version {version}, this one knows {known})",
            path.display()
        )));
    }
    db.pragma_update(None, "journal_mode", "WAL")
        .map_err(told)?;
    // With WAL, FULL syncs the log at every commit: what was answered survives a loss of power.
    db.pragma_update(None, "synchronous", "FULL")
        .map_err(told)?;
    settle(&db, -16_000).map_err(told)?;
    db.pragma_update(None, "foreign_keys", true).map_err(told)?;
    db.pragma_update(None, "wal_autocheckpoint", 4000)
        .map_err(told)?;
    for (step, sql) in (1_u32..).zip(STEPS) {
        if step <= version {
            continue;
        }
        let mut migrate = || -> rusqlite::Result<()> {
            let behavior = rusqlite::TransactionBehavior::Immediate;
            let transaction = db.transaction_with_behavior(behavior)?;
            // Another server may have done it while we waited.
            let now: u32 =
                transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if now >= step {
                return Ok(());
            }
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", step)?;
            transaction.commit()
        };
        migrate().map_err(told)?;
    }
    Ok(db)
}

/// Opens a database that [`open`] has prepared, for reading only.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    settle(&db, -8_000)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// A database as the first version left it.
#[cfg(test)]
pub(super) fn open_first(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(STEPS[0]).unwrap();
    db.pragma_update(None, "application_id", APPLICATION_ID)
        .unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
}

fn settle(db: &Connection, cache: i32) -> rusqlite::Result<()> {
    db.pragma_update(None, "cache_size", cache)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

#[cold]
fn unusable(path: &Path, error: rusqlite::Error) -> Error {
    let shown = path.display();
    let message = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            format!("{shown} is not a database; name another file")
        }
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            format!("the database {shown} is locked by another program")
        }
        Some(rusqlite::ErrorCode::ReadOnly) => format!("the database {shown} cannot be written"),
        Some(rusqlite::ErrorCode::CannotOpen) => {
            format!("the database {shown} cannot be opened; is its folder there and writable?")
        }
        _ => format!("the database {shown} cannot be used"),
    };
    Error::io(message).with_source(error)
}
