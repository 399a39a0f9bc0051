//! Writing: what requests ask for, in one transaction. Knows the tables, not who asks.

use crate::server::mapping::{Mapped, merge};
use crate::server::types::{BUCKETS, Bucket, Buckets, EventKind};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a request asks the store to do.
#[derive(Debug)]
pub(crate) enum Op {
    Event(Box<NewEvent>),
    Session(Box<SessionPatch>),
    Update(Box<Update>),
    /// Takes an event away, or a session with all of its events.
    Delete(String),
    Task(Task),
}

/// Other work in the same transaction; what it wrote is undone if it answers `false`, and nothing else is.
pub(crate) struct Task(Box<dyn FnOnce(&Connection) -> bool + Send>);

impl Task {
    pub(super) fn new(work: impl FnOnce(&Connection) -> bool + Send + 'static) -> Self {
        Self(Box::new(work))
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Task")
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// An update or a removal of something that is not there.
    Unknown,
}

/// An event with its values as JSON text, made where there is time for it: not on the writer's thread.
#[derive(Debug)]
pub(crate) struct NewEvent {
    pub(crate) event: Mapped,
    texts: [String; 7],
    tokens: u64,
    cost: f64,
    model: Option<String>,
    user: Option<String>,
    /// Ids of the events below it, where somebody told them: a JSON array.
    children: Option<String>,
}

impl NewEvent {
    pub(crate) fn with_children(mut self, children: &[String]) -> Self {
        self.children = ids(children);
        self
    }

    pub(crate) fn new(mut event: Mapped) -> Self {
        let buckets = std::mem::take(&mut event.buckets);
        // Sums on a chain would count twice what the model calls below it say.
        let counts = event.kind != EventKind::Chain;
        let model = buckets.config.get("model").and_then(Value::as_str);
        Self {
            texts: texts(&buckets),
            tokens: if counts { buckets.tokens() } else { 0 },
            cost: if counts { buckets.cost() } else { 0.0 },
            model: model.map(str::to_owned),
            user: user(&buckets.user_properties),
            children: None,
            event,
        }
    }
}

fn ids(ids: &[String]) -> Option<String> {
    (!ids.is_empty()).then(|| serde_json::to_string(ids).unwrap_or_else(|_| "[]".to_owned()))
}

/// A session's beginning, or more of it.
#[derive(Debug, Default)]
pub(crate) struct SessionPatch {
    pub(crate) session_id: String,
    pub(crate) name: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) started: Option<f64>,
    pub(crate) ended: Option<f64>,
    pub(crate) duration: Option<f64>,
    pub(crate) error: Option<String>,
    pub(crate) buckets: Buckets,
    pub(crate) replaces_outputs: bool,
    pub(crate) children: Vec<String>,
}

/// Changes to an event, or to a session where the id is one's.
#[derive(Debug, Default)]
pub(crate) struct Update {
    pub(crate) event_id: String,
    pub(crate) ended: Option<f64>,
    pub(crate) duration: Option<f64>,
    pub(crate) error: Option<String>,
    pub(crate) buckets: Buckets,
    /// Outputs take the place of the earlier ones, where everything else is merged.
    pub(crate) replaces_outputs: bool,
    pub(crate) children: Vec<String>,
}

pub(crate) fn now_ms() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_micros() as f64 / 1000.0)
}

fn texts(buckets: &Buckets) -> [String; 7] {
    BUCKETS.map(|bucket| {
        let map = buckets.get(bucket);
        match map.is_empty() {
            true => "{}".to_owned(),
            false => serde_json::to_string(map).unwrap_or_else(|_| "{}".to_owned()),
        }
    })
}

fn user(properties: &Map<String, Value>) -> Option<String> {
    let keys = ["user_id", "user", "id", "email", "name", "user_name"];
    keys.iter()
        .find_map(|key| properties.get(*key))
        .map(crate::server::mapping::text)
}

pub(crate) fn parse(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// How good a name for a session is, by where it comes from.
mod rank {
    pub(super) const NONE: i64 = 0;
    pub(super) const SERVICE: i64 = 1;
    pub(super) const ROOT: i64 = 2;
    pub(super) const ATTRIBUTE: i64 = 3;
    pub(super) const GIVEN: i64 = 4;
}

/// Does all of it or nothing, one list of outcomes for each list of operations, and names the sessions it touched.
pub(super) fn commit(
    db: &mut Connection,
    jobs: Vec<Vec<Op>>,
) -> rusqlite::Result<(Vec<Vec<Outcome>>, BTreeSet<String>)> {
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut batch = Batch::new(&transaction)?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    for ops in jobs {
        let mut done = Vec::with_capacity(ops.len());
        for op in ops {
            done.push(batch.apply(op)?);
        }
        outcomes.push(done);
    }
    let touched = batch.finish()?;
    transaction.commit()?;
    Ok((outcomes, touched))
}

/// What a transaction adds to one session.
#[derive(Debug)]
struct Change {
    id: i64,
    name: Option<(i64, String)>,
    source: Option<String>,
    project: Option<String>,
    user: Option<String>,
    started: f64,
    ended: f64,
    events: i64,
    roots: i64,
    models: i64,
    tokens: i64,
    cost: f64,
    errors: i64,
}

impl Change {
    fn new(id: i64) -> Self {
        Self {
            id,
            name: None,
            source: None,
            project: None,
            user: None,
            started: f64::INFINITY,
            ended: 0.0,
            events: 0,
            roots: 0,
            models: 0,
            tokens: 0,
            cost: 0.0,
            errors: 0,
        }
    }

    fn name(&mut self, rank: i64, name: &str) {
        if self.name.as_ref().is_none_or(|(known, _)| *known < rank) {
            self.name = Some((rank, name.to_owned()));
        }
    }
}

struct Batch<'t> {
    db: &'t Connection,
    insert_event: CachedStatement<'t>,
    insert_body: CachedStatement<'t>,
    sessions: HashMap<String, Change>,
    /// Whether verdicts wait for the events that they judge: those end later.
    judged: bool,
    /// Sessions that are no more.
    gone: BTreeSet<String>,
    now: f64,
}

/// An event that is already there.
struct Known {
    id: i64,
    session: String,
    kind: String,
    tokens: i64,
    cost: f64,
    failed: bool,
    root: bool,
    started: f64,
    ended: f64,
}

impl<'t> Batch<'t> {
    fn new(db: &'t Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            db,
            insert_event: db.prepare_cached(
                "INSERT INTO events (event_id, session, parent_id, span_key, kind, name, source, project,
                    started, ended, duration, tokens, cost, model, error)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15
                 WHERE NOT EXISTS (SELECT 1 FROM events WHERE span_key = ?1)
                 ON CONFLICT DO NOTHING",
            )?,
            insert_body: db.prepare_cached(
                "INSERT INTO bodies (id, inputs, outputs, config, metadata, metrics, feedback, user_properties, raw)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            sessions: HashMap::new(),
            judged: db
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM verdicts)")?
                .query_row((), |row| row.get(0))?,
            gone: BTreeSet::new(),
            now: now_ms(),
        })
    }

    fn apply(&mut self, op: Op) -> rusqlite::Result<Outcome> {
        match op {
            Op::Event(event) => self.event(*event),
            Op::Session(patch) => self.session_patch(*patch),
            Op::Update(update) => self.update(*update),
            Op::Delete(id) => self.delete(&id),
            Op::Task(task) => self.task(task),
        }
    }

    fn task(&self, task: Task) -> rusqlite::Result<Outcome> {
        self.db.prepare_cached("SAVEPOINT task")?.execute(())?;
        let keep = (task.0)(self.db);
        if !keep {
            self.db.prepare_cached("ROLLBACK TO task")?.execute(())?;
        }
        self.db.prepare_cached("RELEASE task")?.execute(())?;
        Ok(Outcome::Done)
    }

    fn delete(&mut self, id: &str) -> rusqlite::Result<Outcome> {
        if let Some(known) = self.known(id, None)? {
            self.db
                .prepare_cached(
                    "DELETE FROM queued WHERE event_id = (SELECT event_id FROM events WHERE id = ?1)",
                )?
                .execute([known.id])?;
            self.db
                .prepare_cached("DELETE FROM bodies WHERE id = ?1")?
                .execute([known.id])?;
            self.db
                .prepare_cached("DELETE FROM events WHERE id = ?1")?
                .execute([known.id])?;
            self.subtract(&known)?;
            return Ok(Outcome::Done);
        }
        let session: Option<i64> = self
            .db
            .prepare_cached("SELECT id FROM sessions WHERE session_id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let Some(session) = session else {
            return Ok(Outcome::Unknown);
        };
        for sql in [
            "DELETE FROM queued WHERE event_id IN (SELECT event_id FROM events WHERE session = ?1
                UNION ALL SELECT session_id FROM sessions WHERE id = ?1)",
            "DELETE FROM bodies WHERE id IN (SELECT id FROM events WHERE session = ?1)",
            "DELETE FROM events WHERE session = ?1",
            "DELETE FROM sessions WHERE id = ?1",
        ] {
            self.db.prepare_cached(sql)?.execute([session])?;
        }
        self.sessions.remove(id);
        self.gone.insert(id.to_owned());
        Ok(Outcome::Done)
    }

    fn children(&self, table: &str, id: i64, children: Option<&str>) -> rusqlite::Result<()> {
        if let Some(children) = children {
            let sql = format!("UPDATE {table} SET children = ?2 WHERE id = ?1");
            self.db
                .prepare_cached(&sql)?
                .execute(params![id, children])?;
        }
        Ok(())
    }

    /// The pending change of a session, whose row is made if there is none.
    fn session(&mut self, session_id: &str) -> rusqlite::Result<&mut Change> {
        if !self.sessions.contains_key(session_id) {
            let id = self.session_row(session_id)?;
            self.sessions.insert(session_id.to_owned(), Change::new(id));
        }
        let id = session_id.to_owned();
        Ok(self.sessions.entry(id).or_insert_with(|| Change::new(0)))
    }

    fn session_row(&self, session_id: &str) -> rusqlite::Result<i64> {
        let known = self
            .db
            .prepare_cached("SELECT id FROM sessions WHERE session_id = ?1")?
            .query_row([session_id], |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            return Ok(id);
        }
        self.db
            .prepare_cached(
                "INSERT INTO sessions (session_id, name, name_rank, started, ended, touched)
                 VALUES (?1, 'unknown', ?2, ?3, 0, ?3)",
            )?
            .execute(params![session_id, rank::NONE, self.now])?;
        Ok(self.db.last_insert_rowid())
    }

    fn event(&mut self, mut new: NewEvent) -> rusqlite::Result<Outcome> {
        let verdicts = std::mem::take(&mut new.event.verdicts);
        let parent = new.event.parent_id.clone();
        let ids = self.judged.then(|| {
            let key = new.event.span_key.clone();
            (new.event.event_id.clone(), key)
        });
        let outcome = self.stored(new)?;
        if let Some((event_id, key)) = ids {
            let mut statement = self.db.prepare_cached(
                "DELETE FROM verdicts WHERE event_id = ?1 OR event_id = ?2 RETURNING metrics",
            )?;
            let waiting = statement.query_map(params![event_id, key], |row| row.get(0))?;
            let waiting: Vec<String> = waiting.collect::<rusqlite::Result<_>>()?;
            drop(statement);
            for metrics in waiting {
                self.judge(&event_id, parse(&metrics))?;
            }
        }
        if let Some(parent) = parent
            && !verdicts.is_empty()
        {
            self.judge(&parent, verdicts)?;
        }
        Ok(outcome)
    }

    /// Adds metrics to an event, now or when it comes.
    fn judge(&mut self, event_id: &str, metrics: Map<String, Value>) -> rusqlite::Result<()> {
        let text = serde_json::to_string(&metrics).unwrap_or_default();
        let update = Update {
            event_id: event_id.to_owned(),
            buckets: Buckets {
                metrics,
                ..Buckets::default()
            },
            ..Update::default()
        };
        if self.update(update)? == Outcome::Unknown {
            self.judged = true;
            self.db
                .prepare_cached("INSERT INTO verdicts (event_id, metrics) VALUES (?1, ?2)")?
                .execute(params![event_id, text])?;
        }
        Ok(())
    }

    fn stored(&mut self, new: NewEvent) -> rusqlite::Result<Outcome> {
        let event = &new.event;
        if event.event_id == event.session_id {
            return self.session_patch(own_event(new));
        }
        // A span that names its id may have been stored under the id its span ids make, before it told.
        if let Some(key) = &event.span_key {
            self.db
                .prepare_cached(
                    "UPDATE OR IGNORE events SET event_id = ?1, span_key = ?2 WHERE event_id = ?2",
                )?
                .execute(params![event.event_id, key])?;
        }
        let (name, service) = (event.name.clone(), event.service.clone());
        let session_id = event.session_id.clone();
        let root = is_root(event);
        let change = self.session(&session_id)?;
        let session = change.id;
        if let Some(name) = &event.session_name {
            change.name(rank::ATTRIBUTE, name);
        } else if root {
            change.name(rank::ROOT, &name);
        } else if let Some(service) = &service {
            change.name(rank::SERVICE, service);
        }
        change.source = change.source.take().or_else(|| event.source.clone());
        change.project = change.project.take().or_else(|| event.project.clone());
        change.user = change.user.take().or_else(|| new.user.clone());
        change.started = change.started.min(event.start_ms);
        change.ended = change.ended.max(event.end_ms);

        let inserted = self.insert_event.execute(params![
            event.event_id,
            session,
            event.parent_id,
            event.span_key,
            event.kind.as_str(),
            event.name,
            event.source,
            event.project,
            event.start_ms,
            event.end_ms,
            event.duration_ms,
            signed(new.tokens),
            new.cost,
            new.model,
            event.error,
        ])?;
        if inserted == 0 {
            return self.replace(new);
        }
        let id = self.db.last_insert_rowid();
        let [inputs, outputs, config, metadata, metrics, feedback, user] = &new.texts;
        self.insert_body.execute(params![
            id, inputs, outputs, config, metadata, metrics, feedback, user, event.raw
        ])?;
        self.children("events", id, new.children.as_deref())?;
        let failed = event.error.is_some();
        let model = event.kind == EventKind::Model;
        let (tokens, cost) = (signed(new.tokens), new.cost);
        let change = self.session(&session_id)?;
        change.events += 1;
        change.roots += i64::from(root);
        change.models += i64::from(model);
        change.errors += i64::from(failed);
        change.tokens += tokens;
        change.cost += cost;
        Ok(Outcome::Done)
    }

    /// The same event once more: its values are merged, the newer winning.
    fn replace(&mut self, new: NewEvent) -> rusqlite::Result<Outcome> {
        let event = new.event;
        let Some(known) = self.known(&event.event_id, event.span_key.as_deref())? else {
            return Ok(Outcome::Unknown);
        };
        self.children("events", known.id, new.children.as_deref())?;
        let mut buckets = self.buckets(known.id)?;
        for (bucket, text) in BUCKETS.into_iter().zip(&new.texts) {
            merge(buckets.get_mut(bucket), parse(text));
        }
        self.db
            .prepare_cached(
                "UPDATE events SET session = ?2, parent_id = coalesce(?3, parent_id), kind = ?4, name = ?5,
                    source = coalesce(?6, source), project = coalesce(?7, project), started = ?8, ended = ?9,
                    duration = ?10, model = coalesce(?11, model), error = ?12 WHERE id = ?1",
            )?
            .execute(params![
                known.id,
                self.session(&event.session_id)?.id,
                event.parent_id,
                event.kind.as_str(),
                event.name,
                event.source,
                event.project,
                event.start_ms,
                event.end_ms,
                event.duration_ms,
                new.model,
                event.error,
            ])?;
        self.db
            .prepare_cached("UPDATE bodies SET raw = ?2 WHERE id = ?1 AND ?2 <> ''")?
            .execute(params![known.id, event.raw])?;
        self.subtract(&known)?;
        let (tokens, cost) = self.store_buckets(known.id, event.kind, &buckets)?;
        let root = is_root(&event);
        let change = self.session(&event.session_id)?;
        change.events += 1;
        change.roots += i64::from(root);
        change.models += i64::from(event.kind == EventKind::Model);
        change.errors += i64::from(event.error.is_some());
        change.tokens += tokens;
        change.cost += cost;
        Ok(Outcome::Done)
    }

    fn update(&mut self, update: Update) -> rusqlite::Result<Outcome> {
        let Some(known) = self.known(&update.event_id, None)? else {
            let session: Option<i64> = self
                .db
                .prepare_cached("SELECT id FROM sessions WHERE session_id = ?1")?
                .query_row([&update.event_id], |row| row.get(0))
                .optional()?;
            if session.is_none() {
                return Ok(Outcome::Unknown);
            }
            return self.session_patch(SessionPatch {
                session_id: update.event_id,
                ended: update.ended,
                duration: update.duration,
                error: update.error,
                buckets: update.buckets,
                children: update.children,
                replaces_outputs: update.replaces_outputs,
                ..SessionPatch::default()
            });
        };
        self.children("events", known.id, ids(&update.children).as_deref())?;
        let mut buckets = self.buckets(known.id)?;
        let user = user(&update.buckets.user_properties);
        if update.replaces_outputs {
            buckets.outputs.clear();
        }
        buckets.merge(update.buckets);
        let ended = update.ended.unwrap_or(known.ended).max(known.started);
        self.db
            .prepare_cached(
                "UPDATE events SET ended = ?2,
                    duration = coalesce(?3, CASE WHEN ?4 THEN ?2 - started ELSE duration END),
                    error = coalesce(?5, error) WHERE id = ?1",
            )?
            .execute(params![
                known.id,
                ended,
                update.duration,
                update.ended.is_some(),
                update.error
            ])?;
        let kind = EventKind::named(&known.kind).unwrap_or_default();
        let (tokens, cost) = self.store_buckets(known.id, kind, &buckets)?;
        let failed = known.failed || update.error.is_some();
        let change = self.session(&known.session)?;
        change.ended = change.ended.max(ended);
        change.started = change.started.min(known.started);
        change.user = change.user.take().or(user);
        change.tokens += tokens - known.tokens;
        change.cost += cost - known.cost;
        change.errors += i64::from(failed) - i64::from(known.failed);
        Ok(Outcome::Done)
    }

    fn known(&self, event_id: &str, span_key: Option<&str>) -> rusqlite::Result<Option<Known>> {
        self.db
            .prepare_cached(
                "SELECT e.id, s.session_id, e.kind, e.tokens, e.cost, e.error IS NOT NULL,
                    e.parent_id IS NULL OR e.parent_id = s.session_id, e.started, e.ended
                 FROM events e JOIN sessions s ON s.id = e.session
                 WHERE e.event_id = ?1 OR e.span_key = ?1 OR e.span_key = ?2 LIMIT 1",
            )?
            .query_row(params![event_id, span_key], |row| {
                Ok(Known {
                    id: row.get(0)?,
                    session: row.get(1)?,
                    kind: row.get(2)?,
                    tokens: row.get(3)?,
                    cost: row.get(4)?,
                    failed: row.get(5)?,
                    root: row.get(6)?,
                    started: row.get(7)?,
                    ended: row.get(8)?,
                })
            })
            .optional()
    }

    fn subtract(&mut self, known: &Known) -> rusqlite::Result<()> {
        let change = self.session(&known.session)?;
        change.started = change.started.min(known.started);
        change.events -= 1;
        change.roots -= i64::from(known.root);
        change.models -= i64::from(known.kind == "model");
        change.errors -= i64::from(known.failed);
        change.tokens -= known.tokens;
        change.cost -= known.cost;
        Ok(())
    }

    fn buckets(&self, id: i64) -> rusqlite::Result<Buckets> {
        self.db
            .prepare_cached(
                "SELECT inputs, outputs, config, metadata, metrics, feedback, user_properties
                 FROM bodies WHERE id = ?1",
            )?
            .query_row([id], |row| read_buckets(row, 0))
    }

    /// Stores an event's values and what is counted of them, which it answers with.
    fn store_buckets(
        &self,
        id: i64,
        kind: EventKind,
        buckets: &Buckets,
    ) -> rusqlite::Result<(i64, f64)> {
        let [inputs, outputs, config, metadata, metrics, feedback, user] = texts(buckets);
        self.db
            .prepare_cached(
                "UPDATE bodies SET inputs = ?2, outputs = ?3, config = ?4, metadata = ?5, metrics = ?6,
                    feedback = ?7, user_properties = ?8 WHERE id = ?1",
            )?
            .execute(params![
                id, inputs, outputs, config, metadata, metrics, feedback, user
            ])?;
        let counts = kind != EventKind::Chain;
        let tokens = if counts { signed(buckets.tokens()) } else { 0 };
        let cost = if counts { buckets.cost() } else { 0.0 };
        self.db
            .prepare_cached("UPDATE events SET tokens = ?2, cost = ?3 WHERE id = ?1")?
            .execute(params![id, tokens, cost])?;
        Ok((tokens, cost))
    }

    fn session_patch(&mut self, patch: SessionPatch) -> rusqlite::Result<Outcome> {
        let user = user(&patch.buckets.user_properties);
        let change = self.session(&patch.session_id)?;
        let id = change.id;
        if let Some(name) = &patch.name {
            // The latest given name wins, unlike every other kind.
            change.name = Some((rank::GIVEN, name.clone()));
        }
        change.source = patch.source.or(change.source.take());
        change.project = patch.project.or(change.project.take());
        change.user = user.or(change.user.take());
        let mut buckets = self
            .db
            .prepare_cached(
                "SELECT inputs, outputs, config, metadata, metrics, feedback, user_properties
                 FROM sessions WHERE id = ?1",
            )?
            .query_row([id], |row| read_buckets(row, 0))?;
        self.children("sessions", id, ids(&patch.children).as_deref())?;
        if patch.replaces_outputs {
            buckets.outputs.clear();
        }
        buckets.merge(patch.buckets);
        let [inputs, outputs, config, metadata, metrics, feedback, user] = texts(&buckets);
        self.db
            .prepare_cached(
                "UPDATE sessions SET inputs = ?2, outputs = ?3, config = ?4, metadata = ?5, metrics = ?6,
                    feedback = ?7, user_properties = ?8, error = coalesce(?9, error),
                    duration = coalesce(?10, duration), closed = closed OR ?11 IS NOT NULL,
                    ended = max(ended, coalesce(?11, 0)),
                    started = coalesce(?12, started), fixed = fixed OR ?12 IS NOT NULL
                 WHERE id = ?1",
            )?
            .execute(params![
                id,
                inputs,
                outputs,
                config,
                metadata,
                metrics,
                feedback,
                user,
                patch.error,
                patch.duration,
                patch.ended,
                patch.started,
            ])?;
        Ok(Outcome::Done)
    }

    fn finish(self) -> rusqlite::Result<BTreeSet<String>> {
        let mut statement = self.db.prepare_cached(
            "UPDATE sessions SET
                name = CASE WHEN ?2 > name_rank OR ?2 = 4 THEN ?3 ELSE name END,
                name_rank = max(name_rank, ?2),
                source = coalesce(?4, source), project = coalesce(?5, project), user = coalesce(?6, user),
                started = CASE WHEN ?7 IS NULL THEN started
                    WHEN events = 0 AND NOT fixed THEN ?7 ELSE min(started, ?7) END,
                ended = max(ended, ?8), touched = ?9, events = events + ?10, models = models + ?11,
                tokens = max(0, tokens + ?12), cost = max(0.0, cost + ?13), errors = errors + ?14,
                roots = roots + ?15
             WHERE id = ?1",
        )?;
        let mut touched = self.gone;
        for (session_id, change) in self.sessions {
            let (rank, name) = change.name.unwrap_or((rank::NONE, String::new()));
            statement.execute(params![
                change.id,
                rank,
                name,
                change.source,
                change.project,
                change.user,
                change.started.is_finite().then_some(change.started),
                change.ended,
                self.now,
                change.events,
                change.models,
                change.tokens,
                change.cost,
                change.errors,
                change.roots,
            ])?;
            touched.insert(session_id);
        }
        Ok(touched)
    }
}

pub(super) fn read_buckets(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Buckets> {
    let mut buckets = Buckets::default();
    for (offset, bucket) in BUCKETS.into_iter().enumerate() {
        let text = row.get_ref(first + offset)?.as_str()?;
        *buckets.get_mut(bucket) = parse(text);
    }
    Ok(buckets)
}

fn is_root(event: &Mapped) -> bool {
    let parent = event.parent_id.as_deref();
    parent.is_none_or(|parent| parent == event.session_id)
}

/// An event with the session's own id says something of the session.
fn own_event(new: NewEvent) -> SessionPatch {
    let mut buckets = Buckets::default();
    for (bucket, text) in BUCKETS.into_iter().zip(&new.texts) {
        *buckets.get_mut(bucket) = parse(text);
    }
    // Where the span stood in its trace is nothing that the session as a whole should tell.
    for key in ["trace_id", "span_id", "parent_span_id"] {
        buckets.get_mut(Bucket::Metadata).remove(key);
    }
    SessionPatch {
        session_id: new.event.session_id,
        name: Some(new.event.name),
        source: new.event.source,
        project: new.event.project,
        started: Some(new.event.start_ms),
        ended: Some(new.event.end_ms),
        duration: Some(new.event.duration_ms),
        error: new.event.error,
        buckets,
        ..SessionPatch::default()
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
