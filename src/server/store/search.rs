//! Searching: events and sessions that meet conditions, the newest first. Columns are asked in SQL with bound values; what
//! an event carries is read row by row, so that memory stays flat whatever is searched.

use super::read::Reader;
use crate::server::filter::{Column, Condition};
use crate::server::types::Bucket;
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{OptionalExtension, Row, Rows, params_from_iter};
use std::fmt::Write as _;

/// What is searched for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    pub(crate) conditions: Vec<Condition>,
    /// Beginning not before this, in milliseconds since 1970.
    pub(crate) from: Option<f64>,
    /// Beginning not after this.
    pub(crate) to: Option<f64>,
    /// Only in these sessions, by their rows.
    pub(crate) sessions: Option<Vec<i64>>,
    pub(crate) offset: u64,
    pub(crate) limit: u64,
}

/// The row of an event, or of a session, which is an event too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Event(i64),
    Session(i64),
}

/// A page of what was found, and how much there is in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) keys: Vec<Key>,
    pub(crate) count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Events,
    Sessions,
}

impl Table {
    fn column(self, column: Column) -> &'static str {
        match (self, column) {
            (Self::Events, Column::EventId) => "e.event_id",
            (_, Column::SessionId) | (Self::Sessions, Column::EventId) => "s.session_id",
            (Self::Events, Column::ParentId) => {
                "coalesce((SELECT p.event_id FROM events p WHERE p.span_key = e.parent_id), e.parent_id, s.session_id)"
            }
            (Self::Events, Column::EventType) => "e.kind",
            (Self::Events, Column::EventName) => "e.name",
            (Self::Events, Column::Source) => "e.source",
            (Self::Events, Column::Project) => "e.project",
            (Self::Events, Column::Error) => "e.error",
            (Self::Events, Column::StartTime) => "e.started",
            (Self::Events, Column::EndTime) => "e.ended",
            (Self::Events, Column::Duration) => "e.duration",
            (Self::Sessions, Column::ParentId) => "NULL",
            (Self::Sessions, Column::EventType) => "'session'",
            (Self::Sessions, Column::EventName) => "s.name",
            (Self::Sessions, Column::Source) => "s.source",
            (Self::Sessions, Column::Project) => "s.project",
            (Self::Sessions, Column::Error) => "s.error",
            (Self::Sessions, Column::StartTime) => "s.started",
            (Self::Sessions, Column::EndTime) => "max(s.started, s.ended)",
            (Self::Sessions, Column::Duration) => {
                "coalesce(s.duration, max(0.0, s.ended - s.started))"
            }
        }
    }

    /// What its rows are called, and those that hold what an event carries.
    pub(super) fn rows(self) -> (&'static str, &'static str) {
        match self {
            Self::Events => ("e", "b"),
            Self::Sessions => ("s", "s"),
        }
    }

    pub(super) fn key(self, id: i64) -> Key {
        match self {
            Self::Events => Key::Event(id),
            Self::Sessions => Key::Session(id),
        }
    }
}

/// One table's part of a search.
pub(super) struct Part<'s> {
    pub(super) from: String,
    pub(super) condition: String,
    pub(super) values: Vec<Sql>,
    /// Conditions that SQL does not ask, each with the place of its group among the selected columns.
    asked: Vec<(usize, &'s Condition)>,
    pub(super) columns: Vec<&'static str>,
    pub(super) table: Table,
}

impl<'s> Part<'s> {
    pub(super) fn new(search: &'s Search, table: Table) -> Self {
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        let mut asked = Vec::new();
        let mut columns: Vec<&'static str> = Vec::new();
        for condition in &search.conditions {
            match condition.sql(|column| table.column(column), &mut values) {
                Some(sql) => conditions.push(format!("({sql})")),
                None => {
                    let Some(bucket) = condition.bucket() else {
                        continue;
                    };
                    let place = columns.iter().position(|known| *known == bucket.name());
                    let place = place.unwrap_or_else(|| {
                        columns.push(bucket.name());
                        columns.len() - 1
                    });
                    asked.push((place, condition));
                }
            }
        }
        let started = table.column(Column::StartTime);
        for (moment, sign) in [(search.from, ">="), (search.to, "<=")] {
            if let Some(moment) = moment {
                conditions.push(format!("{started} {sign} ?"));
                values.push(Sql::Real(moment));
            }
        }
        if let Some(sessions) = &search.sessions {
            let row = match table {
                Table::Events => "e.session",
                Table::Sessions => "s.id",
            };
            conditions.push(format!("{row} IN (SELECT value FROM json_each(?))"));
            values.push(Sql::Text(list(sessions)));
        }
        let condition = match conditions.is_empty() {
            true => "1".to_owned(),
            false => conditions.join(" AND "),
        };
        let mut from = match table {
            Table::Events => "events e".to_owned(),
            Table::Sessions => "sessions s".to_owned(),
        };
        if table == Table::Events {
            if condition.contains("s.session_id") {
                from += " JOIN sessions s ON s.id = e.session";
            }
            match columns.as_slice() {
                [] => {}
                // Metadata alone, which is asked most, is read from an index: a tenth of the bytes.
                ["metadata"] => from += " JOIN bodies b INDEXED BY bodies_metadata ON b.id = e.id",
                _ => from += " JOIN bodies b ON b.id = e.id",
            }
        }
        Self {
            from,
            condition,
            values,
            asked,
            columns,
            table,
        }
    }

    fn sql(&self, limited: bool) -> String {
        let (row, values) = self.table.rows();
        let mut sql = format!("SELECT {row}.id, {row}.started");
        for column in &self.columns {
            let _ = write!(sql, ", {values}.{column}");
        }
        let limit = if limited { " LIMIT ?" } else { "" };
        let _ = write!(
            sql,
            " FROM {} WHERE {} ORDER BY {row}.started DESC, {row}.id DESC{limit}",
            self.from, self.condition
        );
        sql
    }

    pub(super) fn meets(&self, row: &Row<'_>) -> rusqlite::Result<bool> {
        for (place, condition) in &self.asked {
            let text = row.get_ref(place + 2)?.as_str()?;
            if !condition.holds_in_text(text) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn next(&self, rows: &mut Rows<'_>) -> rusqlite::Result<Option<(f64, Key)>> {
        while let Some(row) = rows.next()? {
            if self.meets(row)? {
                return Ok(Some((row.get(1)?, self.table.key(row.get(0)?))));
            }
        }
        Ok(None)
    }
}

/// Row numbers as a JSON array, for `json_each`.
pub(super) fn list(rows: &[i64]) -> String {
    serde_json::to_string(rows).unwrap_or_else(|_| "[]".to_owned())
}

impl Reader<'_> {
    /// What meets the conditions, the newest first.
    pub(crate) fn search(&self, search: &Search) -> rusqlite::Result<Found> {
        let events = Part::new(search, Table::Events);
        let sessions = Part::new(search, Table::Sessions);
        // Where SQL asks everything, it also counts, and reads no more than the page and what is before it.
        let limited = events.asked.is_empty();
        let most = search.offset.saturating_add(search.limit);
        let mut found = Found::default();
        let mut statements = Vec::with_capacity(2);
        for part in [&events, &sessions] {
            if limited {
                let sql = format!(
                    "SELECT count(*) FROM {} WHERE {}",
                    part.from, part.condition
                );
                let count: i64 = self
                    .db
                    .prepare_cached(&sql)?
                    .query_row(params_from_iter(&part.values), |row| row.get(0))?;
                found.count += u64::try_from(count).unwrap_or(0);
            }
            statements.push(self.db.prepare_cached(&part.sql(limited))?);
        }
        let limit = limited.then(|| Sql::Integer(i64::try_from(most).unwrap_or(i64::MAX)));
        let [first, second] = statements.as_mut_slice() else {
            return Ok(found);
        };
        let mut event_rows = first.query(params_from_iter(events.values.iter().chain(&limit)))?;
        let mut session_rows =
            second.query(params_from_iter(sessions.values.iter().chain(&limit)))?;
        let mut event = events.next(&mut event_rows)?;
        let mut session = sessions.next(&mut session_rows)?;
        let mut at = 0_u64;
        loop {
            // Of the same moment, the session comes after its events: it began first.
            let key = match (event, session) {
                (Some((started, key)), other)
                    if other.is_none_or(|(other, _)| started >= other) =>
                {
                    event = events.next(&mut event_rows)?;
                    key
                }
                (_, Some((_, key))) => {
                    session = sessions.next(&mut session_rows)?;
                    key
                }
                (_, None) => break,
            };
            if at >= search.offset && at < most {
                found.keys.push(key);
            }
            at += 1;
            if limited && at >= most {
                break;
            }
        }
        if !limited {
            found.count = at;
        }
        Ok(found)
    }

    /// Writes an event as JSON, as the platform shows it; `false` if it is no longer there.
    pub(crate) fn write_event(&self, key: Key, out: &mut String) -> rusqlite::Result<bool> {
        let (sql, id) = match key {
            Key::Event(id) => (EVENT, id),
            Key::Session(id) => (SESSION, id),
        };
        let written = self
            .db
            .prepare_cached(sql)?
            .query_row([id], |row| write(row, out))
            .optional()?;
        Ok(written.is_some())
    }

    /// The session, name and type of an event.
    pub(crate) fn heading(&self, key: Key) -> rusqlite::Result<Option<(String, String, String)>> {
        let (sql, id) = match key {
            Key::Event(id) => (
                "SELECT s.session_id, e.name, e.kind FROM events e JOIN sessions s ON s.id = e.session
                 WHERE e.id = ?1",
                id,
            ),
            Key::Session(id) => (
                "SELECT s.session_id, s.name, 'session' FROM sessions s WHERE s.id = ?1",
                id,
            ),
        };
        let mut statement = self.db.prepare_cached(sql)?;
        let heading = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        statement.query_row([id], heading).optional()
    }

    /// The row of the event, or session, with this id.
    pub(crate) fn key(&self, event_id: &str) -> rusqlite::Result<Option<Key>> {
        let mut event = self
            .db
            .prepare_cached("SELECT id FROM events WHERE event_id = ?1 OR span_key = ?1 LIMIT 1")?;
        let event = event.query_row([event_id], |row| row.get(0)).optional()?;
        if let Some(id) = event {
            return Ok(Some(Key::Event(id)));
        }
        let mut session = self
            .db
            .prepare_cached("SELECT id FROM sessions WHERE session_id = ?1")?;
        let session = session.query_row([event_id], |row| row.get(0)).optional()?;
        Ok(session.map(Key::Session))
    }
}

/// The columns of [`write`], in the order of [`NAMES`].
const EVENT: &str = "SELECT e.event_id, s.session_id,
        coalesce((SELECT p.event_id FROM events p WHERE p.span_key = e.parent_id), e.parent_id, s.session_id),
        e.kind, e.name, e.source, e.project, e.error, e.started, e.ended, e.duration, e.children,
        b.inputs, b.outputs, b.config, b.metadata, b.metrics, b.feedback, b.user_properties
     FROM events e JOIN sessions s ON s.id = e.session JOIN bodies b ON b.id = e.id WHERE e.id = ?1";

const SESSION: &str = "SELECT s.session_id, s.session_id, NULL, 'session', s.name, s.source, s.project, s.error,
        s.started, max(s.started, s.ended), coalesce(s.duration, max(0.0, s.ended - s.started)), s.children,
        s.inputs, s.outputs, s.config, s.metadata, s.metrics, s.feedback, s.user_properties
     FROM sessions s WHERE s.id = ?1";

const NAMES: [&str; 12] = [
    "event_id",
    "session_id",
    "parent_id",
    "event_type",
    "event_name",
    "source",
    "project",
    "error",
    "start_time",
    "end_time",
    "duration",
    "children_ids",
];

const GROUPS: [Bucket; 7] = crate::server::types::BUCKETS;

/// The stored groups are JSON already, and go out as they are.
fn write(row: &Row<'_>, out: &mut String) -> rusqlite::Result<()> {
    out.push_str("{\"project_id\":\"local\"");
    for (index, name) in NAMES.into_iter().enumerate() {
        let _ = write!(out, ",\"{name}\":");
        match row.get_ref(index)? {
            ValueRef::Text(text) if name == "children_ids" => {
                out.push_str(std::str::from_utf8(text).unwrap_or("[]"));
            }
            ValueRef::Text(text) => {
                let text = String::from_utf8_lossy(text);
                out.push_str(&serde_json::to_string(text.as_ref()).unwrap_or_default());
            }
            ValueRef::Real(real) if real.is_finite() => {
                let _ = write!(out, "{real}");
            }
            ValueRef::Integer(whole) => {
                let _ = write!(out, "{whole}");
            }
            _ => out.push_str(if name == "children_ids" { "[]" } else { "null" }),
        }
    }
    for (index, group) in GROUPS.into_iter().enumerate() {
        let text = row.get_ref(NAMES.len() + index)?.as_str()?;
        let _ = write!(out, ",\"{}\":{text}", group.name());
    }
    out.push('}');
    Ok(())
}
