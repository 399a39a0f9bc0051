use super::*;
use crate::server::mapping::Mapped;
use crate::server::types::{Buckets, Event, EventKind, Session};
use serde_json::{Value, json};

struct Fixture {
    store: Store,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    Fixture {
        store: Store::open(&path, false, |_| {}).unwrap(),
        path,
        _folder: folder,
    }
}

impl Fixture {
    fn write(&self, ops: Vec<Op>) -> Vec<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(self.store.write(ops)).unwrap()
    }

    fn session(&self, id: &str) -> Session {
        let whole = |reader: &Reader<'_>| reader.whole_session(reader.session(id)?.unwrap());
        self.store.read(whole).unwrap()
    }

    fn events(&self, id: &str) -> Vec<Event> {
        let events = |reader: &Reader<'_>| reader.events(reader.session(id)?.unwrap().id);
        self.store.read(events).unwrap()
    }
}

fn buckets(value: &Value) -> Buckets {
    let mut buckets = Buckets::default();
    for bucket in crate::server::types::BUCKETS {
        if let Some(Value::Object(map)) = value.get(bucket.name()) {
            *buckets.get_mut(bucket) = map.clone();
        }
    }
    buckets
}

fn event(id: &str, parent: Option<&str>, kind: EventKind, content: &Value) -> Mapped {
    Mapped {
        event_id: id.to_owned(),
        session_id: "s".to_owned(),
        parent_id: parent.map(str::to_owned),
        kind,
        name: format!("{id}-name"),
        start_ms: 1000.0,
        end_ms: 1500.0,
        duration_ms: 500.0,
        buckets: buckets(content),
        raw: "{}".to_owned(),
        ..Mapped::default()
    }
}

fn add(event: Mapped) -> Op {
    Op::Event(Box::new(NewEvent::new(event)))
}

fn start(name: Option<&str>, content: &Value) -> Op {
    Op::Session(Box::new(SessionPatch {
        session_id: "s".to_owned(),
        name: name.map(str::to_owned),
        buckets: buckets(content),
        ..SessionPatch::default()
    }))
}

#[test]
fn a_session_adds_up_what_its_events_say() {
    let fixture = fixture();
    let mut failed = event("tool", Some("root"), EventKind::Tool, &json!({}));
    failed.error = Some("boom".to_owned());
    let model = json!({"metadata": {"prompt_tokens": 10, "completion_tokens": "5"}, "metrics": {"cost": 0.25}});
    let mut root = event(
        "root",
        None,
        EventKind::Chain,
        &json!({"metadata": {"total_tokens": 15}, "metrics": {"cost": 0.25}}),
    );
    root.end_ms = 3000.0;
    // Children come before their parents.
    fixture.write(vec![
        add(event("model", Some("root"), EventKind::Model, &model)),
        add(failed),
    ]);
    assert_eq!(fixture.session("s").session_name, "unknown");
    fixture.write(vec![add(root)]);
    let session = fixture.session("s");
    assert_eq!(session.session_name, "root-name");
    assert_eq!(
        (session.events, session.model_calls, session.errors),
        (3, 1, 1)
    );
    // What the chain says is the sum of what the model said.
    assert_eq!((session.tokens, session.cost), (15, 0.25));
    assert_eq!((session.start_time, session.end_time), (1000.0, 3000.0));
    assert_eq!(session.duration, 2000.0);
}

#[test]
fn the_same_event_again_is_merged_and_counted_once() {
    let fixture = fixture();
    let first = json!({"inputs": {"a": 1, "n": {"x": 1}}, "metadata": {"total_tokens": 7}});
    let again = json!({"inputs": {"b": 2, "n": {"y": 2}}, "metadata": {"total_tokens": 9}});
    fixture.write(vec![add(event("e", None, EventKind::Model, &first))]);
    let mut second = event("e", None, EventKind::Model, &again);
    second.error = Some("late".to_owned());
    fixture.write(vec![add(second.clone()), add(second)]);
    let session = fixture.session("s");
    assert_eq!((session.events, session.tokens, session.errors), (1, 9, 1));
    let events = fixture.events("s");
    assert_eq!(events.len(), 1);
    assert_eq!(
        Value::from(events[0].inputs.clone()),
        json!({"a": 1, "b": 2, "n": {"x": 1, "y": 2}})
    );
    assert_eq!(events[0].error.as_deref(), Some("late"));
}

#[test]
fn children_find_a_parent_that_names_its_own_id() {
    let fixture = fixture();
    let mut parent = event("own-id", None, EventKind::Chain, &json!({}));
    parent.span_key = Some("by-span".to_owned());
    fixture.write(vec![add(event(
        "child",
        Some("by-span"),
        EventKind::Tool,
        &json!({}),
    ))]);
    fixture.write(vec![add(parent.clone())]);
    let parents: Vec<String> = fixture
        .events("s")
        .into_iter()
        .map(|event| event.parent_id)
        .collect();
    assert_eq!(parents, ["own-id", "s"]);
    // Once more without the id: still the same event.
    parent.event_id = "by-span".to_owned();
    parent.span_key = None;
    fixture.write(vec![add(parent)]);
    assert_eq!(fixture.events("s").len(), 2);
}

#[test]
fn an_id_that_is_told_late_renames_the_event() {
    let fixture = fixture();
    fixture.write(vec![add(event(
        "by-span",
        None,
        EventKind::Tool,
        &json!({"inputs": {"a": 1}}),
    ))]);
    let mut told = event(
        "own-id",
        None,
        EventKind::Tool,
        &json!({"inputs": {"b": 2}}),
    );
    told.span_key = Some("by-span".to_owned());
    fixture.write(vec![add(told)]);
    let events = fixture.events("s");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event_id, "own-id");
    assert_eq!(
        Value::from(events[0].inputs.clone()),
        json!({"a": 1, "b": 2})
    );
}

#[test]
fn verdicts_wait_for_what_they_judge() {
    let fixture = fixture();
    let judge = |id: &str, name: &str| {
        let mut judge = event(id, Some("answer"), EventKind::Tool, &json!({}));
        judge.verdicts.insert(name.to_owned(), json!(0.5));
        add(judge)
    };
    fixture.write(vec![judge("j1", "before")]);
    let mut answer = event(
        "answer",
        None,
        EventKind::Model,
        &json!({"metrics": {"own": 1}}),
    );
    fixture.write(vec![add(answer.clone()), judge("j2", "after")]);
    let metrics = || {
        let events = fixture.events("s");
        let found = events.into_iter().find(|event| event.event_id == "answer");
        Value::from(found.unwrap().metrics)
    };
    assert_eq!(metrics(), json!({"own": 1, "before": 0.5, "after": 0.5}));
    answer.name = "renamed".to_owned();
    fixture.write(vec![add(answer)]);
    assert_eq!(metrics(), json!({"own": 1, "before": 0.5, "after": 0.5}));
}

#[test]
fn names_by_how_good_they_are() {
    let fixture = fixture();
    let mut spoken = event("child", Some("x"), EventKind::Tool, &json!({}));
    spoken.service = Some("service".to_owned());
    fixture.write(vec![add(spoken)]);
    assert_eq!(fixture.session("s").session_name, "service");
    fixture.write(vec![start(Some("given"), &json!({}))]);
    fixture.write(vec![add(event("root", None, EventKind::Chain, &json!({})))]);
    assert_eq!(fixture.session("s").session_name, "given");
    fixture.write(vec![start(Some("given anew"), &json!({}))]);
    assert_eq!(fixture.session("s").session_name, "given anew");
}

#[test]
fn updates_merge_into_events_and_sessions() {
    let fixture = fixture();
    fixture.write(vec![
        start(Some("n"), &json!({"metadata": {"a": 1}})),
        add(event(
            "e",
            None,
            EventKind::Model,
            &json!({"metadata": {"a": 1, "total_tokens": 3}}),
        )),
    ]);
    let update = |id: &str, content: Value, duration: Option<f64>| {
        Op::Update(Box::new(Update {
            event_id: id.to_owned(),
            duration,
            buckets: buckets(&content),
            ..Update::default()
        }))
    };
    let done = fixture.write(vec![
        update(
            "e",
            json!({"metadata": {"total_tokens": 30}, "feedback": {"ok": true}}),
            Some(9.0),
        ),
        update(
            "s",
            json!({"metadata": {"b": 2}, "user_properties": {"user_id": "ada"}}),
            Some(12.5),
        ),
        update("nobody", json!({}), None),
    ]);
    assert_eq!(done, [Outcome::Done, Outcome::Done, Outcome::Unknown]);
    let session = fixture.session("s");
    assert_eq!(Value::from(session.metadata), json!({"a": 1, "b": 2}));
    assert_eq!((session.duration, session.tokens), (12.5, 30));
    let event = &fixture.events("s")[0];
    assert_eq!(event.duration, 9.0);
    assert_eq!(Value::from(event.feedback.clone()), json!({"ok": true}));
}

#[test]
fn an_announced_session_begins_with_its_first_event() {
    let fixture = fixture();
    fixture.write(vec![start(Some("n"), &json!({}))]);
    assert!(fixture.session("s").start_time > 1e12);
    assert_eq!(fixture.session("s").duration, 0.0);
    fixture.write(vec![add(event("e", None, EventKind::Tool, &json!({})))]);
    assert_eq!(fixture.session("s").start_time, 1000.0);
}

#[test]
fn what_was_answered_is_there_after_the_process_died() {
    let fixture = fixture();
    fixture.write(vec![add(event(
        "e",
        None,
        EventKind::Tool,
        &json!({"inputs": {"a": 1}}),
    ))]);
    // As a crash leaves it: the log not yet in the database, nobody closed anything.
    let copy = fixture.path.with_file_name("copy.db");
    for suffix in ["", "-wal"] {
        let of = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        std::fs::copy(of(&fixture.path), of(&copy)).unwrap();
    }
    let store = Store::open(&copy, false, |_| {}).unwrap();
    let found = store.read(|reader| reader.events(reader.session("s")?.unwrap().id));
    assert_eq!(found.unwrap().len(), 1);
    store.close();
}

#[test]
fn files_that_are_no_database_of_ours_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| match Store::open(path, false, |_| {}) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => {
            assert!(error.is_io());
            error.to_string()
        }
    };
    let text = folder.path().join("notes.txt");
    let content = "not a database, ".repeat(500);
    std::fs::write(&text, &content).unwrap();
    assert!(refused(&text).contains("is not a database"));
    assert_eq!(std::fs::read_to_string(&text).unwrap(), content);

    let other = folder.path().join("other.db");
    Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (a)")
        .unwrap();
    assert!(refused(&other).contains("another program's"));

    let newer = folder.path().join("newer.db");
    Store::open(&newer, false, |_| {}).unwrap().close();
    let db = Connection::open(&newer).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    assert!(refused(&newer).contains("newer version"));
    assert!(refused(&folder.path().join("no/such/folder.db")).contains("cannot be opened"));
}

#[test]
fn search_takes_text_as_it_is() {
    let fixture = fixture();
    fixture.write(vec![start(Some("100%_sure"), &json!({}))]);
    let found = |text: &str| {
        let filter = Filter {
            text: Some(text.to_owned()),
            ..Filter::default()
        };
        let sort = Sort {
            by: SortBy::Started,
            ascending: false,
        };
        let rows = |reader: &Reader<'_>| reader.sessions(&filter, sort, 0, 10);
        fixture.store.read(rows).unwrap().0.len()
    };
    assert_eq!(found("0%_s"), 1);
    assert_eq!(found("0__s"), 0);
    assert_eq!(found("' OR 1=1 --"), 0);
    assert_eq!(found("\\"), 0);
}

#[test]
fn a_database_of_the_first_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    schema::open_first(&path);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "INSERT INTO sessions (session_id, name, name_rank, started, ended, touched, metadata)
            VALUES ('s', 'kept', 4, 1, 2, 3, '{\"run_id\": \"r\"}'), ('t', 'broken', 4, 1, 2, 3, 'not JSON');
         INSERT INTO events (event_id, session, kind, name, started, ended, duration, tokens, cost)
            VALUES ('e', 1, 'model', 'ask', 1, 2, 1, 0, 0);
         INSERT INTO bodies VALUES (1, '{}', '{}', '{}', '{}', '{\"score\": 1}', '{}', '{}', '');",
    )
    .unwrap();
    drop(db);
    let store = Store::open(&path, false, |_| {}).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let made = store.change(|db| runs::create_run(db, "r", runs::RunPatch::default()));
    let run = runtime.block_on(made).unwrap().unwrap();
    let samples = store.read(|reader| reader.samples(&reader.run_sessions(&run)?, None));
    let samples = samples.unwrap();
    assert_eq!((samples.len(), samples[0].scores.len()), (1, 1));
    store.close();
    // Once more: nothing is left to do.
    Store::open(&path, false, |_| {}).unwrap().close();
}

#[test]
fn work_that_fails_is_undone_alone() {
    let fixture = fixture();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let change = |fails: bool| {
        let work = fixture.store.change(move |db| {
            let id = datasets::create_dataset(db, datasets::DatasetPatch::default())?;
            match fails {
                true => Err(Fault::Invalid("as told".to_owned())),
                false => Ok(id),
            }
        });
        runtime.block_on(work).unwrap()
    };
    assert!(change(false).is_ok());
    assert!(matches!(change(true), Err(Fault::Invalid(_))));
    let listed = fixture.store.read(|reader| reader.datasets(None, None));
    assert_eq!(listed.unwrap().len(), 1);
}

/// Events and a session with values of every kind, some of them missing.
fn varied() -> Fixture {
    let fixture = fixture();
    let values = [
        json!({"metadata": {"v": 1, "w": {"x": "a"}}}),
        json!({"metadata": {"v": "1", "w": {"x": 2.5}}}),
        json!({"metadata": {"v": true, "w": null}, "inputs": {"v": "2026-01-02"}}),
        json!({"metadata": {"v": "2026-01-01T00:00:00Z", "w.x": "a"}}),
        json!({"metadata": {"v": [1, "a"]}}),
        json!({}),
    ];
    let mut ops = Vec::new();
    for (index, value) in (0_u32..).zip(&values) {
        let kind = [EventKind::Model, EventKind::Tool][index as usize % 2];
        let mut one = event(&format!("e{index}"), None, kind, value);
        one.start_ms = 1000.0 + f64::from(index);
        one.duration_ms = f64::from(index);
        one.error = (index == 1).then(|| "a".to_owned());
        one.source = (index > 2).then(|| "1".to_owned());
        ops.push(Op::Event(Box::new(NewEvent::new(one))));
    }
    fixture.write(ops);
    fixture
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 60, ..Default::default() })]

    #[test]
    fn sql_and_values_answer_conditions_alike(asked in proptest::collection::vec((
        proptest::sample::select(vec!["event_id", "session_id", "parent_id", "event_type", "event_name", "source",
            "error", "start_time", "duration", "metadata.v", "metadata.w.x", "metadata", "inputs.v", "none"]),
        proptest::sample::select(vec!["exists", "not exists", "is", "is not", "contains", "not contains",
            "greater than", "less than", "after", "before"]),
        proptest::sample::select(vec![json!(null), json!("1"), json!(1), json!("a"), json!(true), json!("2026-01-01"),
            json!(1002), json!("e1"), json!("model"), json!("'"), json!("")]),
        proptest::sample::select(vec!["string", "number", "boolean", "datetime"]),
    ), 1..40)) {
        thread_local! {
            static FIXTURE: Fixture = varied();
        }
        FIXTURE.with(|fixture| {
            let events = fixture.events("s");
            for (field, operator, value, kind) in asked {
                let filter = json!({"field": field, "operator": operator, "value": value, "type": kind});
                let Ok(conditions) = crate::server::filter::conditions(Some(&filter), "f", true) else {
                    continue;
                };
                let search = Search {
                    conditions: conditions.clone(),
                    limit: 100,
                    ..Search::default()
                };
                let found = fixture.store.read(|reader| reader.search(&search)).unwrap();
                let mut ids = Vec::new();
                for key in found.keys {
                    let mut text = String::new();
                    fixture.store.read(|reader| reader.write_event(key, &mut text)).unwrap();
                    let event: Value = serde_json::from_str(&text).unwrap();
                    if event["event_type"] != "session" {
                        ids.push(event["event_id"].as_str().unwrap().to_owned());
                    }
                }
                ids.reverse();
                let expected: Vec<String> = events
                    .iter()
                    .filter(|event| conditions.iter().all(|condition| condition.holds_for(event)))
                    .map(|event| event.event_id.clone())
                    .collect();
                assert_eq!(ids, expected, "{filter}");
            }
        });
    }
}

/// Everything that is found, part by part, and how many parts it took.
fn found(fixture: &Fixture, mut find: Find, patience: std::time::Duration) -> (Vec<String>, usize) {
    let (mut ids, mut parts) = (Vec::new(), 0);
    loop {
        let part = fixture
            .store
            .read(|reader| reader.find(&find, patience))
            .unwrap();
        ids.extend(part.events.into_iter().map(|event| event.event_id));
        parts += 1;
        assert!(parts < 100, "no end");
        match part.next {
            Some(next) => find.after = Some(next),
            None => return (ids, parts),
        }
    }
}

#[test]
fn a_search_in_parts_finds_what_a_search_finds() {
    let fixture = varied();
    let ample = std::time::Duration::from_secs(60);
    let none = std::time::Duration::ZERO;
    let filters = [
        json!([]),
        json!([{"field": "event_type", "operator": "is", "value": "model"}]),
        json!([{"field": "event_type", "operator": "is", "value": "session"}]),
        json!([{"field": "error", "operator": "not exists"}]),
        json!([{"field": "metadata.v", "operator": "exists"}]),
        json!([{"field": "metadata.v", "operator": "is not", "value": "1"}, {"field": "inputs.v", "operator": "not exists"}]),
        json!([{"field": "source", "operator": "is", "value": "1"}]),
    ];
    for filters in filters {
        let conditions = crate::server::filter::conditions(Some(&filters), "f", true).unwrap();
        let search = |limit| Search {
            conditions: conditions.clone(),
            limit,
            ..Search::default()
        };
        let all = Find {
            search: search(100),
            ..Find::default()
        };
        let (expected, _) = found(&fixture, all.clone(), ample);
        let keys = fixture
            .store
            .read(|reader| reader.search(&all.search))
            .unwrap()
            .keys;
        let ids: Vec<String> = keys
            .iter()
            .map(|key| {
                let mut text = String::new();
                fixture
                    .store
                    .read(|reader| reader.write_event(*key, &mut text))
                    .unwrap();
                let event: Value = serde_json::from_str(&text).unwrap();
                event["event_id"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(expected, ids, "{filters}");
        assert!(!ids.is_empty(), "{filters} finds nothing");
        // Two at a time, and one look at a time.
        let pairs = Find {
            search: search(2),
            ..Find::default()
        };
        assert_eq!(found(&fixture, pairs, ample).0, ids, "{filters}");
        let (hurried, parts) = found(&fixture, all, none);
        assert_eq!(hurried, ids, "{filters}");
        assert!(parts >= ids.len(), "{filters}: {parts} parts");
    }
    let text = |text: &str| Find {
        text: Some(text.to_owned()),
        search: Search {
            limit: 100,
            ..Search::default()
        },
        ..Find::default()
    };
    assert_eq!(found(&fixture, text("E1-NAME"), none).0, ["e1"]);
    assert!(found(&fixture, text("%"), none).0.is_empty());
}
