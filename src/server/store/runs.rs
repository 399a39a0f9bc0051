//! Experiment runs, and what the events of their sessions measured. Knows the tables, not how results are made of it.

use super::datasets::{json, read, shown};
use super::documents::{Kind, PROJECT};
use super::search::Search;
use super::search::list;
use super::write::parse;
use super::{Fault, Key, Reader, now_ms};
use crate::server::filter::Condition;
use crate::server::runs::{self as results, Aggregate, Comparison, Rules, Sample, Score, Summary};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params, params_from_iter};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap, HashSet};

/// One run of an experiment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) run_id: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) status: String,
    pub(crate) dataset_id: Option<String>,
    /// The name of its dataset, where that is kept here.
    pub(crate) dataset_name: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) results: Map<String, Value>,
    pub(crate) configuration: Map<String, Value>,
    pub(crate) evaluators: Vec<Value>,
    /// Ids of its sessions, as a rule.
    pub(crate) event_ids: Vec<String>,
    pub(crate) session_ids: Vec<String>,
    pub(crate) datapoint_ids: Vec<String>,
    pub(crate) passing_ranges: Map<String, Value>,
    pub(crate) created: f64,
    pub(crate) updated: Option<f64>,
}

/// Changes of a run; what is `None` stays, and metadata is merged.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunPatch {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) dataset_id: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) results: Option<Map<String, Value>>,
    pub(crate) configuration: Option<Map<String, Value>>,
    pub(crate) evaluators: Option<Vec<Value>>,
    pub(crate) event_ids: Option<Vec<String>>,
    pub(crate) session_ids: Option<Vec<String>>,
    pub(crate) datapoint_ids: Option<Vec<String>>,
    pub(crate) passing_ranges: Option<Map<String, Value>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RunOrder {
    #[default]
    Created,
    Updated,
    Name,
    Status,
}

/// Which runs are listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunQuery {
    pub(crate) dataset_id: Option<String>,
    pub(crate) run_ids: Option<Vec<String>>,
    pub(crate) name: Option<String>,
    /// In the name, the description or the id.
    pub(crate) text: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
    pub(crate) order: RunOrder,
    pub(crate) ascending: bool,
    pub(crate) offset: u64,
    pub(crate) limit: u64,
}

/// A page of runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    pub(crate) runs: Vec<Run>,
    /// How many meet the query.
    pub(crate) total: u64,
    /// How many there are at all.
    pub(crate) unfiltered: u64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct RunResult {
    pub(crate) run: Run,
    pub(crate) summary: Summary,
    /// Names and types of its events, each once.
    pub(crate) kinds: Kinds,
}

/// How a run compares with an older one.
#[derive(Clone, Debug)]
pub(crate) struct RunComparison {
    pub(crate) new: Run,
    pub(crate) old: Run,
    pub(crate) comparison: Comparison,
}

/// Names and types of events.
pub(crate) type Kinds = BTreeSet<(String, String)>;

/// A run with what its events measured.
struct Measured {
    run: Run,
    samples: Vec<Sample>,
    kinds: Kinds,
}

pub(crate) fn no_run(id: &str) -> Fault {
    Fault::Missing(format!("there is no run {}", shown(id)))
}

/// Makes a run, or changes the one that has this id already: sending it once more does no harm.
pub(crate) fn create_run(db: &Connection, id: &str, new: RunPatch) -> Result<Run, Fault> {
    db.prepare_cached(
        "INSERT INTO runs (run_id, status, metadata, results, configuration, evaluators, event_ids, session_ids,
            datapoint_ids, passing_ranges, created)
         VALUES (?1, 'pending', '{}', '{}', '{}', '[]', '[]', '[]', '[]', '{}', ?2) ON CONFLICT DO NOTHING",
    )?
    .execute(params![id, now_ms()])?;
    store(db, id, new)?;
    Reader::new(db).run(id)?.ok_or_else(|| no_run(id))
}

pub(crate) fn update_run(db: &Connection, id: &str, patch: RunPatch) -> Result<Run, Fault> {
    if store(db, id, patch)? == 0 {
        return Err(no_run(id));
    }
    db.prepare_cached("UPDATE runs SET updated = ?2 WHERE run_id = ?1")?
        .execute(params![id, now_ms()])?;
    Reader::new(db).run(id)?.ok_or_else(|| no_run(id))
}

fn store(db: &Connection, id: &str, patch: RunPatch) -> Result<usize, Fault> {
    let Some(known) = Reader::new(db).run(id)? else {
        return Ok(0);
    };
    let metadata = patch.metadata.map(|new| {
        let mut merged = known.metadata;
        crate::server::mapping::merge(&mut merged, new);
        json(&merged)
    });
    let changed = db
        .prepare_cached(
            "UPDATE runs SET name = coalesce(?2, name), description = coalesce(?3, description),
                status = coalesce(?4, status), dataset_id = coalesce(?5, dataset_id),
                metadata = coalesce(?6, metadata), results = coalesce(?7, results),
                configuration = coalesce(?8, configuration), evaluators = coalesce(?9, evaluators),
                event_ids = coalesce(?10, event_ids), session_ids = coalesce(?11, session_ids),
                datapoint_ids = coalesce(?12, datapoint_ids), passing_ranges = coalesce(?13, passing_ranges)
             WHERE run_id = ?1",
        )?
        .execute(params![
            id,
            patch.name,
            patch.description,
            patch.status,
            patch.dataset_id,
            metadata,
            patch.results.as_ref().map(json),
            patch.configuration.as_ref().map(json),
            patch.evaluators.as_ref().map(json),
            patch.event_ids.as_ref().map(json),
            patch.session_ids.as_ref().map(json),
            patch.datapoint_ids.as_ref().map(json),
            patch.passing_ranges.as_ref().map(json),
        ])?;
    Ok(changed)
}

pub(crate) fn delete_run(db: &Connection, id: &str) -> Result<(), Fault> {
    let gone = db
        .prepare_cached("DELETE FROM runs WHERE run_id = ?1")?
        .execute([id])?;
    match gone {
        0 => Err(no_run(id)),
        _ => Ok(()),
    }
}

const RUN: &str = "SELECT r.run_id, r.name, r.description, r.status, r.dataset_id, d.name, r.metadata, r.results,
        r.configuration, r.evaluators, r.event_ids, r.session_ids, r.datapoint_ids, r.passing_ranges, r.created,
        r.updated
     FROM runs r LEFT JOIN datasets d ON d.dataset_id = r.dataset_id";

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let text = |index: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(index)?.as_str()?) };
    let map = |index: usize| -> rusqlite::Result<Map<String, Value>> { Ok(parse(text(index)?)) };
    Ok(Run {
        run_id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        status: row.get(3)?,
        dataset_id: row.get(4)?,
        dataset_name: row.get(5)?,
        metadata: map(6)?,
        results: map(7)?,
        configuration: map(8)?,
        evaluators: read(text(9)?),
        event_ids: read(text(10)?),
        session_ids: read(text(11)?),
        datapoint_ids: read(text(12)?),
        passing_ranges: map(13)?,
        created: row.get(14)?,
        updated: row.get(15)?,
    })
}

impl RunQuery {
    fn sql(&self) -> (String, Vec<Sql>) {
        let mut conditions = vec!["1"];
        let mut values = Vec::new();
        let mut add = |condition, value| {
            conditions.push(condition);
            values.push(value);
        };
        let text = |text: &String| Sql::Text(text.clone());
        if let Some(id) = &self.dataset_id {
            add(
                "? IN (r.dataset_id, json_extract(r.metadata, '$.offline_dataset_id'))",
                text(id),
            );
        }
        if let Some(ids) = &self.run_ids {
            add(
                "r.run_id IN (SELECT value FROM json_each(?))",
                Sql::Text(json(ids)),
            );
        }
        if let Some(name) = &self.name {
            add("r.name = ?", text(name));
        }
        if let Some(part) = &self.text {
            add(
                "instr(lower(coalesce(r.name, '') || ' ' || coalesce(r.description, '') || ' ' || r.run_id), lower(?)) > 0",
                text(part),
            );
        }
        if let Some(status) = &self.status {
            add("r.status = ?", text(status));
        }
        if let Some(from) = self.from {
            add("r.created >= ?", Sql::Real(from));
        }
        if let Some(to) = self.to {
            add("r.created <= ?", Sql::Real(to));
        }
        (conditions.join(" AND "), values)
    }
}

/// The sessions of runs: those that name the run in their metadata, and those that the run names, by themselves or by one
/// of their events.
const SESSIONS: &str = "SELECT s.id FROM sessions s
        WHERE (CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.run_id') END) = ?1
     UNION SELECT s.id FROM sessions s WHERE s.session_id IN (SELECT value FROM json_each(?2))
     UNION SELECT e.session FROM events e WHERE e.event_id IN (SELECT value FROM json_each(?2))";

impl Reader<'_> {
    pub(crate) fn run(&self, id: &str) -> rusqlite::Result<Option<Run>> {
        let sql = format!("{RUN} WHERE r.run_id = ?1");
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query_map([id], run)?;
        rows.next().transpose()
    }

    /// The same, for those who need it to be there.
    pub(crate) fn known_run(&self, id: &str) -> Result<Run, Fault> {
        let id = id.to_ascii_lowercase();
        self.run(&id)?.ok_or_else(|| no_run(&id))
    }

    /// What a run came to. Where there are conditions, only events that meet them count.
    pub(crate) fn run_result(
        &self,
        id: &str,
        conditions: &[Condition],
        aggregate: Aggregate,
    ) -> Result<RunResult, Fault> {
        self.result(self.measured(id, conditions)?, aggregate)
    }

    /// The same for a page: the metrics of sessions are one each, whatever the sessions are called.
    pub(crate) fn run_page(&self, id: &str, aggregate: Aggregate) -> Result<RunResult, Fault> {
        let mut measured = self.measured(id, &[])?;
        results::together(&mut measured.samples);
        self.result(measured, aggregate)
    }

    fn result(&self, measured: Measured, aggregate: Aggregate) -> Result<RunResult, Fault> {
        let rules = self.rules(&[&measured.run])?;
        Ok(RunResult {
            summary: results::summary(&measured.samples, &rules, aggregate),
            kinds: measured.kinds,
            run: measured.run,
        })
    }

    /// How the new run compares with the old one.
    pub(crate) fn run_comparison(
        &self,
        (new, old): (&str, &str),
        conditions: &[Condition],
        aggregate: Aggregate,
    ) -> Result<RunComparison, Fault> {
        let new = self.measured(new, conditions)?;
        let old = self.measured(old, conditions)?;
        Ok(self.comparison(new, old, aggregate)?.0)
    }

    /// The same for a page, as [`Self::run_page`], with the sessions of the new run and those of the old one.
    pub(crate) fn run_comparison_page(
        &self,
        (new, old): (&str, &str),
        aggregate: Aggregate,
    ) -> Result<(RunComparison, [Vec<Sample>; 2]), Fault> {
        let mut new = self.measured(new, &[])?;
        let mut old = self.measured(old, &[])?;
        for measured in [&mut new, &mut old] {
            results::together(&mut measured.samples);
        }
        self.comparison(new, old, aggregate)
    }

    fn comparison(
        &self,
        new: Measured,
        old: Measured,
        aggregate: Aggregate,
    ) -> Result<(RunComparison, [Vec<Sample>; 2]), Fault> {
        let rules = self.rules(&[&old.run, &new.run])?;
        let comparison = results::compare(
            (&new.samples, &new.kinds),
            (&old.samples, &old.kinds),
            &rules,
            aggregate,
        );
        let compared = RunComparison {
            new: new.run,
            old: old.run,
            comparison,
        };
        Ok((compared, [new.samples, old.samples]))
    }

    /// How many sessions a run has, and what it came to; nothing of the latter if they are more than `most`.
    pub(crate) fn run_overview(
        &self,
        run: &Run,
        most: usize,
    ) -> Result<(usize, Option<Summary>), Fault> {
        let sessions = self.run_sessions(run)?;
        if sessions.len() > most {
            return Ok((sessions.len(), None));
        }
        let samples = self.samples(&sessions, None)?;
        let summary = results::summary(&samples, &self.rules(&[run])?, Aggregate::Average);
        Ok((sessions.len(), Some(summary)))
    }

    fn measured(&self, id: &str, conditions: &[Condition]) -> Result<Measured, Fault> {
        let run = self.known_run(id)?;
        let sessions = self.run_sessions(&run)?;
        let only = match conditions.is_empty() {
            true => None,
            false => {
                let search = Search {
                    conditions: conditions.to_vec(),
                    sessions: Some(sessions.clone()),
                    limit: u64::MAX,
                    ..Search::default()
                };
                let keys = self.search(&search)?.keys;
                Some(keys.into_iter().collect::<HashSet<Key>>())
            }
        };
        Ok(Measured {
            samples: self.samples(&sessions, only.as_ref())?,
            kinds: self.event_kinds(&sessions)?,
            run,
        })
    }

    /// What is known of metrics: their definitions, and the ranges that runs bring.
    fn rules(&self, runs: &[&Run]) -> Result<Rules, Fault> {
        let mut rules = Rules::default();
        for metric in self.documents(Kind::Metric, PROJECT)? {
            rules.define(&metric.name, &metric.content);
        }
        for run in runs {
            rules.ranges(&run.passing_ranges);
        }
        Ok(rules)
    }

    /// Runs as the query wants them; the newest first, if it does not say.
    pub(crate) fn runs(&self, query: &RunQuery) -> rusqlite::Result<Runs> {
        let (condition, mut values) = query.sql();
        let number = |sql: &str, values: &[Sql]| -> rusqlite::Result<u64> {
            let mut statement = self.db.prepare_cached(sql)?;
            let count: i64 = statement.query_row(params_from_iter(values), |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        };
        let unfiltered = number("SELECT count(*) FROM runs", &[])?;
        let total = number(
            &format!("SELECT count(*) FROM runs r WHERE {condition}"),
            &values,
        )?;
        let column = match query.order {
            RunOrder::Created => "r.created",
            RunOrder::Updated => "coalesce(r.updated, r.created)",
            RunOrder::Name => "r.name COLLATE NOCASE",
            RunOrder::Status => "r.status",
        };
        let direction = if query.ascending { "ASC" } else { "DESC" };
        let sql = format!(
            "{RUN} WHERE {condition} ORDER BY {column} {direction}, r.id {direction} LIMIT ? OFFSET ?"
        );
        for number in [query.limit, query.offset] {
            values.push(Sql::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        }
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), run)?;
        Ok(Runs {
            runs: rows.collect::<rusqlite::Result<_>>()?,
            total,
            unfiltered,
        })
    }

    /// The rows of the sessions of a run.
    pub(crate) fn run_sessions(&self, run: &Run) -> rusqlite::Result<Vec<i64>> {
        let ids: Vec<&String> = run.event_ids.iter().chain(&run.session_ids).collect();
        let mut statement = self.db.prepare_cached(SESSIONS)?;
        let rows = statement.query_map(params![run.run_id, json(&ids)], |row| row.get(0))?;
        rows.collect()
    }

    /// The run's sessions with what was measured in each, in the order in which they began. Where `only` is given, what
    /// other events measured is left out.
    pub(crate) fn samples(
        &self,
        sessions: &[i64],
        only: Option<&HashSet<Key>>,
    ) -> rusqlite::Result<Vec<Sample>> {
        let rows = list(sessions);
        let mut samples = Vec::new();
        let mut places = HashMap::new();
        let mut statement = self.db.prepare_cached(
            "SELECT s.id, s.session_id, s.name, s.metadata, s.metrics,
                s.error IS NOT NULL OR (s.errors > 0 AND EXISTS (SELECT 1 FROM events e WHERE e.session = s.id
                    AND e.error IS NOT NULL AND (e.parent_id IS NULL OR e.parent_id = s.session_id)))
             FROM sessions s WHERE s.id IN (SELECT value FROM json_each(?1)) ORDER BY s.started, s.id",
        )?;
        let mut found = statement.query([&rows])?;
        while let Some(row) = found.next()? {
            let id: i64 = row.get(0)?;
            let name: String = row.get(2)?;
            let metadata = parse(row.get_ref(3)?.as_str()?);
            let mut sample = Sample {
                session_id: row.get(1)?,
                datapoint_id: datapoint(&metadata),
                failed: row.get(5)?,
                scores: Vec::new(),
            };
            if sample.datapoint_id.is_none() {
                sample.datapoint_id = self.datapoint_of_events(id)?;
            }
            if only.is_none_or(|only| only.contains(&Key::Session(id))) {
                let metrics = parse(row.get_ref(4)?.as_str()?);
                Score::all(&name, "session", &metrics, &mut sample.scores);
            }
            places.insert(id, samples.len());
            samples.push(sample);
        }
        drop(found);
        // Events without metrics are most of them: the index has the others, and their metrics too.
        let mut statement = self.db.prepare_cached(
            "SELECT e.session, e.id, e.name, e.kind, b.metrics
             FROM events e JOIN bodies b INDEXED BY bodies_metrics ON b.id = e.id AND b.metrics <> '{}'
             WHERE e.session IN (SELECT value FROM json_each(?1)) ORDER BY e.started, e.id",
        )?;
        let mut found = statement.query([&rows])?;
        while let Some(row) = found.next()? {
            if only.is_some_and(|only| !row.get(1).is_ok_and(|id| only.contains(&Key::Event(id)))) {
                continue;
            }
            let place = places.get(&row.get::<_, i64>(0)?);
            let Some(sample) = place.and_then(|place| samples.get_mut(*place)) else {
                continue;
            };
            let metrics = parse(row.get_ref(4)?.as_str()?);
            Score::all(
                row.get_ref(2)?.as_str()?,
                row.get_ref(3)?.as_str()?,
                &metrics,
                &mut sample.scores,
            );
        }
        Ok(samples)
    }

    /// The datapoint that a session's events name, where the session itself does not.
    fn datapoint_of_events(&self, session: i64) -> rusqlite::Result<Option<String>> {
        let mut statement = self.db.prepare_cached(
            "SELECT b.metadata FROM events e JOIN bodies b ON b.id = e.id WHERE e.session = ?1
             ORDER BY e.started, e.id LIMIT 20",
        )?;
        let mut rows = statement.query([session])?;
        while let Some(row) = rows.next()? {
            let text = row.get_ref(0)?.as_str()?;
            if text.contains("datapoint_id")
                && let Some(id) = datapoint(&parse(text))
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The names and types of the events in these sessions, each once.
    fn event_kinds(&self, sessions: &[i64]) -> rusqlite::Result<Kinds> {
        let mut statement = self.db.prepare_cached(
            "SELECT DISTINCT e.name, e.kind FROM events e WHERE e.session IN (SELECT value FROM json_each(?1))
             UNION SELECT DISTINCT s.name, 'session' FROM sessions s
                WHERE s.id IN (SELECT value FROM json_each(?1))",
        )?;
        let rows = statement.query_map([list(sessions)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Datasets that runs name.
    pub(crate) fn run_datasets(&self, run: Option<&str>) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.db.prepare_cached(
            "SELECT DISTINCT coalesce(r.dataset_id, json_extract(r.metadata, '$.offline_dataset_id')) AS dataset
             FROM runs r WHERE (?1 IS NULL OR r.run_id = ?1) AND dataset IS NOT NULL ORDER BY dataset LIMIT 1000",
        )?;
        statement.query_map([run], |row| row.get(0))?.collect()
    }

    /// The rows of all sessions that belong to a run.
    pub(crate) fn sessions_of_runs(&self) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.db.prepare_cached(
            "SELECT s.id FROM sessions s
             WHERE (CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.run_id') END) IS NOT NULL
             UNION SELECT s.id FROM runs r, json_each(r.event_ids) j JOIN sessions s ON s.session_id = j.value",
        )?;
        statement.query_map((), |row| row.get(0))?.collect()
    }
}

fn datapoint(metadata: &Map<String, Value>) -> Option<String> {
    let id = metadata.get("datapoint_id")?.as_str()?;
    (!id.is_empty()).then(|| id.to_owned())
}
