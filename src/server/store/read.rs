//! Reading: sessions, the rows of a tree, single events. Knows the tables, not what is shown of them.

use super::write::read_buckets;
use crate::server::types::{Buckets, Event, EventKind, Session};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row};

/// One row of the list of sessions.
#[derive(Clone, Debug)]
pub(crate) struct SessionRow {
    pub(crate) id: i64,
    pub(crate) session_id: String,
    pub(crate) name: String,
    pub(crate) source: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) started: f64,
    pub(crate) ended: f64,
    pub(crate) closed: bool,
    pub(crate) touched: f64,
    pub(crate) duration: f64,
    pub(crate) events: u64,
    pub(crate) roots: u64,
    pub(crate) models: u64,
    pub(crate) tokens: u64,
    pub(crate) cost: f64,
    pub(crate) errors: u64,
    pub(crate) error: Option<String>,
}

/// One event as a tree shows it: without what it carries.
#[derive(Clone, Debug)]
pub(crate) struct EventRow {
    pub(crate) id: i64,
    pub(crate) event_id: String,
    pub(crate) parent_id: Option<String>,
    pub(crate) kind: EventKind,
    pub(crate) name: String,
    pub(crate) started: f64,
    pub(crate) ended: f64,
    pub(crate) duration: f64,
    pub(crate) tokens: u64,
    pub(crate) failed: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) text: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) errors_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortBy {
    Name,
    Started,
    Duration,
    Events,
    Models,
    Tokens,
    Cost,
    Errors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sort {
    pub(crate) by: SortBy,
    pub(crate) ascending: bool,
}

const SESSION: &str = "s.id, s.session_id, s.name, s.source, s.project, s.user, s.started,
    max(s.started, s.ended), s.closed, s.touched,
    coalesce(s.duration, max(0.0, s.ended - s.started)), s.events, s.roots, s.models, s.tokens, s.cost, s.errors,
    s.error";

const BUCKETS: &str = "inputs, outputs, config, metadata, metrics, feedback, user_properties";

pub(crate) struct Reader<'c> {
    pub(super) db: &'c Connection,
}

impl<'c> Reader<'c> {
    pub(crate) fn new(db: &'c Connection) -> Self {
        Self { db }
    }

    /// Sessions that pass the filter, and whether there are more.
    pub(crate) fn sessions(
        &self,
        filter: &Filter,
        sort: Sort,
        offset: u64,
        limit: u64,
    ) -> rusqlite::Result<(Vec<SessionRow>, bool)> {
        let (condition, mut values) = filter.sql();
        let column = match sort.by {
            SortBy::Name => "s.name COLLATE NOCASE",
            SortBy::Started => "s.started",
            SortBy::Duration => "coalesce(s.duration, max(0.0, s.ended - s.started))",
            SortBy::Events => "s.events",
            SortBy::Models => "s.models",
            SortBy::Tokens => "s.tokens",
            SortBy::Cost => "s.cost",
            SortBy::Errors => "s.errors + (s.error IS NOT NULL)",
        };
        let direction = if sort.ascending { "ASC" } else { "DESC" };
        let sql = format!(
            "SELECT {SESSION} FROM sessions s WHERE {condition}
             ORDER BY {column} {direction}, s.id {direction} LIMIT ? OFFSET ?"
        );
        let number = |n: u64| Sql::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        values.push(number(limit.saturating_add(1)));
        values.push(number(offset));
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map(rusqlite::params_from_iter(values), session_row)?;
        let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, more))
    }

    pub(crate) fn count(&self) -> rusqlite::Result<u64> {
        self.db
            .prepare_cached("SELECT count(*) FROM sessions")?
            .query_row((), |row| unsigned(row, 0))
    }

    /// The sources that sessions have, for the filter.
    pub(crate) fn sources(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.db.prepare_cached(
            "SELECT DISTINCT source FROM sessions WHERE source IS NOT NULL ORDER BY source LIMIT 20",
        )?;
        statement.query_map((), |row| row.get(0))?.collect()
    }

    pub(crate) fn session(&self, session_id: &str) -> rusqlite::Result<Option<SessionRow>> {
        self.db
            .prepare_cached(&format!(
                "SELECT {SESSION} FROM sessions s WHERE s.session_id = ?1"
            ))?
            .query_row([session_id], session_row)
            .optional()
    }

    pub(crate) fn session_buckets(&self, id: i64) -> rusqlite::Result<Buckets> {
        self.db
            .prepare_cached(&format!("SELECT {BUCKETS} FROM sessions WHERE id = ?1"))?
            .query_row([id], |row| read_buckets(row, 0))
    }

    /// A session with everything it holds.
    pub(crate) fn whole_session(&self, row: SessionRow) -> rusqlite::Result<Session> {
        let buckets = self.session_buckets(row.id)?;
        Ok(Session {
            session_id: row.session_id,
            session_name: row.name,
            source: row.source,
            project: row.project,
            start_time: row.started,
            end_time: row.ended,
            duration: row.duration,
            events: row.events,
            model_calls: row.models,
            tokens: row.tokens,
            cost: row.cost,
            errors: row.errors,
            error: row.error,
            inputs: buckets.inputs,
            outputs: buckets.outputs,
            config: buckets.config,
            metadata: buckets.metadata,
            metrics: buckets.metrics,
            feedback: buckets.feedback,
            user_properties: buckets.user_properties,
        })
    }

    /// The events of a session by their beginning, as rows of a tree.
    pub(crate) fn rows(&self, session: i64) -> rusqlite::Result<Vec<EventRow>> {
        // A parent is stored by what its span's ids make; one that named its own id is found by its key.
        let mut statement = self.db.prepare_cached(
            "SELECT e.id, e.event_id,
                coalesce((SELECT p.event_id FROM events p WHERE p.span_key = e.parent_id), e.parent_id),
                e.kind, e.name, e.started, e.ended, e.duration, e.tokens, e.error IS NOT NULL
             FROM events e WHERE e.session = ?1 ORDER BY e.started, e.id",
        )?;
        let rows = statement.query_map([session], |row| {
            Ok(EventRow {
                id: row.get(0)?,
                event_id: row.get(1)?,
                parent_id: row.get(2)?,
                kind: EventKind::named(row.get_ref(3)?.as_str()?).unwrap_or_default(),
                name: row.get(4)?,
                started: row.get(5)?,
                ended: row.get(6)?,
                duration: row.get(7)?,
                tokens: unsigned(row, 8)?,
                failed: row.get(9)?,
            })
        })?;
        rows.collect()
    }

    /// Ids of the session's events that have the text in their name, error or in what they carry.
    pub(crate) fn matching(&self, session: i64, text: &str) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.db.prepare_cached(
            "SELECT e.id FROM events e JOIN bodies b ON b.id = e.id
             WHERE e.session = ?1 AND (e.name LIKE ?2 ESCAPE '\\' OR e.error LIKE ?2 ESCAPE '\\'
                OR b.inputs LIKE ?2 ESCAPE '\\' OR b.outputs LIKE ?2 ESCAPE '\\'
                OR b.config LIKE ?2 ESCAPE '\\' OR b.metadata LIKE ?2 ESCAPE '\\')",
        )?;
        let pattern = like(text);
        let rows = statement.query_map(rusqlite::params![session, pattern], |row| row.get(0))?;
        rows.collect()
    }

    /// The events of a session by their beginning, with everything they carry.
    pub(crate) fn events(&self, session: i64) -> rusqlite::Result<Vec<Event>> {
        let sql = format!("{EVENT} WHERE e.session = ?1 ORDER BY e.started, e.id");
        let mut statement = self.db.prepare_cached(&sql)?;
        statement.query_map([session], event)?.collect()
    }

    /// One event with everything it carries, if it is in this session.
    pub(crate) fn event(&self, session: i64, event_id: &str) -> rusqlite::Result<Option<Event>> {
        let sql = format!("{EVENT} WHERE e.event_id = ?2 AND e.session = ?1");
        self.db
            .prepare_cached(&sql)?
            .query_row(rusqlite::params![session, event_id], event)
            .optional()
    }

    /// An event as its span came, as JSON text.
    pub(crate) fn raw(&self, event_id: &str) -> rusqlite::Result<Option<String>> {
        self.db
            .prepare_cached(
                "SELECT b.raw FROM bodies b JOIN events e ON e.id = b.id WHERE e.event_id = ?1",
            )?
            .query_row([event_id], |row| row.get(0))
            .optional()
    }
}

const EVENT: &str = "SELECT e.event_id, s.session_id,
        coalesce((SELECT p.event_id FROM events p WHERE p.span_key = e.parent_id), e.parent_id, s.session_id),
        e.kind, e.name, e.source, e.project, e.started, e.ended, e.duration, e.error,
        b.inputs, b.outputs, b.config, b.metadata, b.metrics, b.feedback, b.user_properties
     FROM events e JOIN sessions s ON s.id = e.session JOIN bodies b ON b.id = e.id";

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let buckets = read_buckets(row, 11)?;
    Ok(Event {
        event_id: row.get(0)?,
        session_id: row.get(1)?,
        parent_id: row.get(2)?,
        event_type: row.get(3)?,
        event_name: row.get(4)?,
        source: row.get(5)?,
        project: row.get(6)?,
        start_time: row.get(7)?,
        end_time: row.get(8)?,
        duration: row.get(9)?,
        error: row.get(10)?,
        inputs: buckets.inputs,
        outputs: buckets.outputs,
        config: buckets.config,
        metadata: buckets.metadata,
        metrics: buckets.metrics,
        feedback: buckets.feedback,
        user_properties: buckets.user_properties,
    })
}

impl Filter {
    fn sql(&self) -> (String, Vec<Sql>) {
        let mut conditions = vec!["1".to_owned()];
        let mut values = Vec::new();
        if let Some(text) = &self.text {
            let pattern = like(text);
            conditions.push(
                "(s.name LIKE ? ESCAPE '\\' OR s.session_id LIKE ? ESCAPE '\\' OR s.user LIKE ? ESCAPE '\\'
                  OR s.error LIKE ? ESCAPE '\\' OR s.id IN (SELECT e.session FROM events e
                     WHERE e.name LIKE ? ESCAPE '\\' OR e.error LIKE ? ESCAPE '\\' OR e.event_id = ?))"
                    .to_owned(),
            );
            values.extend(std::iter::repeat_n(Sql::Text(pattern), 6));
            values.push(Sql::Text(text.clone()));
        }
        if let Some(source) = &self.source {
            conditions.push("s.source = ?".to_owned());
            values.push(Sql::Text(source.clone()));
        }
        if self.errors_only {
            conditions.push("(s.errors > 0 OR s.error IS NOT NULL)".to_owned());
        }
        (conditions.join(" AND "), values)
    }
}

/// A pattern for LIKE that finds the text as it is.
pub(super) fn like(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(index)?;
    Ok(u64::try_from(number).unwrap_or(0))
}

fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: row.get(0)?,
        session_id: row.get(1)?,
        name: row.get(2)?,
        source: row.get(3)?,
        project: row.get(4)?,
        user: row.get(5)?,
        started: row.get(6)?,
        ended: row.get(7)?,
        closed: row.get(8)?,
        touched: row.get(9)?,
        duration: row.get(10)?,
        events: unsigned(row, 11)?,
        roots: unsigned(row, 12)?,
        models: unsigned(row, 13)?,
        tokens: unsigned(row, 14)?,
        cost: row.get(15)?,
        errors: unsigned(row, 16)?,
        error: row.get(17)?,
    })
}
