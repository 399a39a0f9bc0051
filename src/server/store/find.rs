//! What pages ask beyond the API: events by text, a part at a time and within a bounded time; datasets with their counts;
//! how sessions began. Knows the tables, not what is shown of them.

use super::datasets::json;
use super::read::{Reader, like};
use super::search::{Key, Part, Search, Table};
use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension, Row, Rows, params, params_from_iter};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What a page of events is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Find {
    pub(crate) search: Search,
    /// In the name, the error, or what an event carries.
    pub(crate) text: Option<String>,
    pub(crate) model: Option<String>,
    /// Only what comes after this place, which is older.
    pub(crate) after: Option<Place>,
}

/// A place in the order of all events, the newest first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) started: f64,
    pub(crate) key: Key,
}

/// Some of what was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundPart {
    pub(crate) events: Vec<FoundEvent>,
    /// Where to go on, unless everything was looked at.
    pub(crate) next: Option<Place>,
    /// The time ran out before the page was full.
    pub(crate) hurried: bool,
}

/// One event as a list shows it.
#[derive(Clone, Debug)]
pub(crate) struct FoundEvent {
    pub(crate) event_id: String,
    pub(crate) session_id: String,
    pub(crate) session_name: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) started: f64,
    pub(crate) duration: f64,
    pub(crate) tokens: u64,
    pub(crate) cost: f64,
    pub(crate) model: Option<String>,
    pub(crate) error: Option<String>,
    /// Around the text that was searched for, where an event carries it: before, itself, after.
    pub(crate) excerpt: Option<[String; 3]>,
}

/// A dataset in a list.
#[derive(Clone, Debug)]
pub(crate) struct DatasetRow {
    pub(crate) dataset_id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) datapoints: u64,
    pub(crate) runs: u64,
    pub(crate) created: f64,
    pub(crate) updated: Option<f64>,
}

const CARRIED: [&str; 7] = [
    "inputs",
    "outputs",
    "config",
    "metadata",
    "metrics",
    "feedback",
    "user_properties",
];

struct Statement {
    sql: String,
    values: Vec<Sql>,
}

fn statement(find: &Find, part: &Part<'_>) -> Statement {
    let (row, carried) = part.table.rows();
    let mut values = Vec::new();
    let mut sql = format!("SELECT {row}.id, {row}.started");
    for column in &part.columns {
        sql += &format!(", {carried}.{column}");
    }
    let mut from = part.from.clone();
    match &find.text {
        None => sql += ", 1",
        Some(text) => {
            // What an event carries is kept as JSON: there, text is written as JSON writes it.
            let written = json(text);
            let written = like(written.trim_matches('"'));
            sql += &format!(", {row}.name LIKE ? ESCAPE '\\' OR {row}.error LIKE ? ESCAPE '\\'");
            values.extend([Sql::Text(like(text)), Sql::Text(like(text))]);
            for column in CARRIED {
                sql += &format!(" OR {carried}.{column} LIKE ? ESCAPE '\\'");
                values.push(Sql::Text(written.clone()));
            }
            let id = match part.table {
                Table::Events => "e.event_id",
                Table::Sessions => "s.session_id",
            };
            sql += &format!(" OR {id} = ?");
            values.push(Sql::Text(text.to_ascii_lowercase()));
            if part.table == Table::Events && !from.contains("JOIN bodies") {
                from += " JOIN bodies b ON b.id = e.id";
            } else {
                // The index has not all that is asked now.
                from = from.replace(" INDEXED BY bodies_metadata", "");
            }
        }
    }
    sql += &format!(" FROM {from} WHERE {}", part.condition);
    values.extend(part.values.iter().cloned());
    if let Some(model) = &find.model {
        match part.table {
            Table::Events => {
                sql += " AND e.model LIKE ? ESCAPE '\\'";
                values.push(Sql::Text(like(model)));
            }
            Table::Sessions => sql += " AND 0",
        }
    }
    if let Some(Place { started, key }) = find.after {
        // Of the same moment, sessions come after events.
        let (condition, id) = match (part.table, key) {
            (Table::Events, Key::Event(id)) => ("(e.started, e.id) < (?, ?)", Some(id)),
            (Table::Events, Key::Session(_)) => ("e.started < ?", None),
            (Table::Sessions, Key::Event(_)) => ("s.started <= ?", None),
            (Table::Sessions, Key::Session(id)) => ("(s.started, s.id) < (?, ?)", Some(id)),
        };
        sql += &format!(" AND {condition}");
        values.push(Sql::Real(started));
        values.extend(id.map(Sql::Integer));
    }
    sql += &format!(" ORDER BY {row}.started DESC, {row}.id DESC");
    Statement { sql, values }
}

/// The next row, and whether it is one that is looked for.
fn next(part: &Part<'_>, rows: &mut Rows<'_>) -> rusqlite::Result<Option<(Place, bool)>> {
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let place = Place {
        started: row.get(1)?,
        key: part.table.key(row.get(0)?),
    };
    let hit: Option<bool> = row.get(part.columns.len() + 2)?;
    Ok(Some((place, hit.unwrap_or(false) && part.meets(row)?)))
}

const EVENT: &str = "SELECT e.event_id, s.session_id, s.name, e.kind, e.name, e.started, e.duration, e.tokens, e.cost,
        e.model, e.error";

const EVENT_FROM: &str = "FROM events e JOIN sessions s ON s.id = e.session JOIN bodies b ON b.id = e.id WHERE e.id = ?1";

const SESSION: &str = "SELECT s.session_id, s.session_id, s.name, 'session', s.name, s.started,
        coalesce(s.duration, max(0.0, s.ended - s.started)), s.tokens, s.cost, NULL, s.error";

const SESSION_FROM: &str = "FROM sessions s WHERE s.id = ?1";

impl Reader<'_> {
    /// What is looked for, the newest first, as far as the time allows. Timed is what is read event by event: text, and what
    /// events carry. What SQL asks of columns is one quick pass.
    pub(crate) fn find(&self, find: &Find, patience: Duration) -> rusqlite::Result<FoundPart> {
        let until = Instant::now() + patience;
        let limit = usize::try_from(find.search.limit).unwrap_or(usize::MAX);
        let events = Part::new(&find.search, Table::Events);
        let sessions = Part::new(&find.search, Table::Sessions);
        let (of_events, of_sessions) = (statement(find, &events), statement(find, &sessions));
        let mut first = self.db.prepare_cached(&of_events.sql)?;
        let mut second = self.db.prepare_cached(&of_sessions.sql)?;
        let mut event_rows = first.query(params_from_iter(&of_events.values))?;
        let mut session_rows = second.query(params_from_iter(&of_sessions.values))?;
        let mut event = next(&events, &mut event_rows)?;
        let mut session = next(&sessions, &mut session_rows)?;
        let mut found = FoundPart::default();
        let mut keys = Vec::new();
        loop {
            let (place, hit) = match (event, session) {
                (Some(one), other)
                    if other.is_none_or(|(other, _)| one.0.started >= other.started) =>
                {
                    event = next(&events, &mut event_rows)?;
                    one
                }
                (_, Some(one)) => {
                    session = next(&sessions, &mut session_rows)?;
                    one
                }
                (_, None) => break,
            };
            if hit {
                keys.push(place.key);
            }
            let full = keys.len() >= limit;
            if full || Instant::now() >= until {
                let more = event.is_some() || session.is_some();
                found.next = more.then_some(place);
                found.hurried = more && !full;
                break;
            }
        }
        for key in keys {
            found
                .events
                .extend(self.found_event(key, find.text.as_deref())?);
        }
        Ok(found)
    }

    fn found_event(&self, key: Key, text: Option<&str>) -> rusqlite::Result<Option<FoundEvent>> {
        let (select, row, from, id) = match key {
            Key::Event(id) => (EVENT, "b", EVENT_FROM, id),
            Key::Session(id) => (SESSION, "s", SESSION_FROM, id),
        };
        let mut sql = select.to_owned();
        if text.is_some() {
            // Not otherwise: it may be large.
            for column in CARRIED {
                sql += &format!(", {row}.{column}");
            }
        }
        sql += &format!(" {from}");
        let mut statement = self.db.prepare_cached(&sql)?;
        let read = |row: &Row<'_>| found_event(row, text);
        statement.query_row([id], read).optional()
    }

    /// The run that a session belongs to, if it is kept here.
    pub(crate) fn run_of(&self, session: i64) -> rusqlite::Result<Option<String>> {
        let mut statement = self.db.prepare_cached(
            "SELECT r.run_id FROM sessions s JOIN runs r
                ON r.run_id = (CASE WHEN json_valid(s.metadata) THEN json_extract(s.metadata, '$.run_id') END)
             WHERE s.id = ?1",
        )?;
        statement.query_row([session], |row| row.get(0)).optional()
    }

    /// Models that events name, for the filter.
    pub(crate) fn models(&self) -> rusqlite::Result<Vec<String>> {
        // Of the newest only: all of them would be a look at every event.
        let mut statement = self.db.prepare_cached(
            "SELECT DISTINCT model FROM (SELECT model FROM events WHERE kind = 'model' ORDER BY started DESC LIMIT 1000)
             WHERE model IS NOT NULL ORDER BY model LIMIT 20",
        )?;
        statement.query_map((), |row| row.get(0))?.collect()
    }

    /// A page of datasets, the newest first, and whether there are more.
    pub(crate) fn dataset_rows(
        &self,
        text: Option<&str>,
        offset: u64,
        limit: u64,
    ) -> rusqlite::Result<(Vec<DatasetRow>, bool)> {
        let sql = format!(
            "{DATASET} WHERE ?1 IS NULL OR d.name LIKE ?1 ESCAPE '\\' OR d.description LIKE ?1 ESCAPE '\\' OR d.dataset_id = ?2
             ORDER BY d.created DESC, d.id DESC LIMIT ?3 OFFSET ?4"
        );
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut statement = self.db.prepare_cached(&sql)?;
        let values = params![
            text.map(like),
            text,
            number(limit.saturating_add(1)),
            number(offset)
        ];
        let rows = statement.query_map(values, dataset_row)?;
        let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, more))
    }

    pub(crate) fn dataset_row(&self, id: &str) -> rusqlite::Result<Option<DatasetRow>> {
        let sql = format!("{DATASET} WHERE d.dataset_id = ?1");
        let mut statement = self.db.prepare_cached(&sql)?;
        statement.query_row([id], dataset_row).optional()
    }

    pub(crate) fn dataset_count(&self) -> rusqlite::Result<u64> {
        let mut statement = self.db.prepare_cached("SELECT count(*) FROM datasets")?;
        let count: i64 = statement.query_row((), |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// How the inputs of these sessions begin, as JSON text that may be cut off.
    pub(crate) fn inputs_of(&self, sessions: &[&str]) -> rusqlite::Result<HashMap<String, String>> {
        let mut statement = self.db.prepare_cached(
            "SELECT s.session_id, substr(s.inputs, 1, 2000) FROM sessions s
             WHERE s.session_id IN (SELECT value FROM json_each(?1))",
        )?;
        let rows = statement.query_map([json(&sessions)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }
}

const DATASET: &str = "SELECT d.dataset_id, d.name, d.description,
        (SELECT count(*) FROM links l WHERE l.dataset = d.id),
        (SELECT count(*) FROM runs r
            WHERE d.dataset_id IN (r.dataset_id, json_extract(r.metadata, '$.offline_dataset_id'))),
        d.created, d.updated FROM datasets d";

fn dataset_row(row: &Row<'_>) -> rusqlite::Result<DatasetRow> {
    let number = |index: usize| -> rusqlite::Result<u64> {
        Ok(u64::try_from(row.get::<_, i64>(index)?).unwrap_or(0))
    };
    Ok(DatasetRow {
        dataset_id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        datapoints: number(3)?,
        runs: number(4)?,
        created: row.get(5)?,
        updated: row.get(6)?,
    })
}

fn found_event(row: &Row<'_>, text: Option<&str>) -> rusqlite::Result<FoundEvent> {
    let mut found = FoundEvent {
        event_id: row.get(0)?,
        session_id: row.get(1)?,
        session_name: row.get(2)?,
        kind: row.get(3)?,
        name: row.get(4)?,
        started: row.get(5)?,
        duration: row.get(6)?,
        tokens: u64::try_from(row.get::<_, i64>(7)?).unwrap_or(0),
        cost: row.get(8)?,
        model: row.get(9)?,
        error: row.get(10)?,
        excerpt: None,
    };
    if let Some(text) = text {
        let written = json(&text);
        let needle = written.trim_matches('"').to_ascii_lowercase();
        for index in 0..CARRIED.len() {
            found.excerpt = excerpt(row.get_ref(11 + index)?.as_str()?, &needle);
            if found.excerpt.is_some() {
                break;
            }
        }
    }
    Ok(found)
}

/// Characters of an excerpt on either side.
const AROUND: usize = 60;

fn excerpt(text: &str, needle: &str) -> Option<[String; 3]> {
    // Lowering ASCII letters moves nothing.
    let at = text.to_ascii_lowercase().find(needle)?;
    let (before, rest) = text.split_at_checked(at)?;
    let (found, after) = rest.split_at_checked(needle.len())?;
    let mut start: Vec<char> = before.chars().rev().take(AROUND).collect();
    start.reverse();
    Some([
        start.into_iter().collect(),
        found.chars().take(AROUND * 2).collect(),
        after.chars().take(AROUND).collect(),
    ])
}
