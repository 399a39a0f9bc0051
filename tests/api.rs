//! The REST client at work: keys, pages, batches, parts, cache, import, its blocking twin, and the client of an instance.
#![cfg(feature = "api")]

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_core::Stream as _;
use honeyhive::HoneyHive;
use honeyhive::api::{
    Builder, Client, ConfigurationUpdate, DatapointQuery, EventKind, EventQuery, EventUpdate,
    Filter, Mapping, NewEvent, NewSession, Pages, Rows, RunQuery, SessionProperties, blocking,
};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt as _;

use support::{Recorder, Reply, Request, settings, until};

fn builder(url: &str) -> Builder {
    Client::builder().server_url(url).max_retries(0)
}

fn client(url: &str) -> Client {
    builder(url).build().unwrap()
}

fn ok(body: &Value) -> Option<Reply> {
    Some(Reply::status(200).body(body.to_string()))
}

fn prompt(name: &str, model: &str, changed: &str) -> Value {
    json!({
        "id": format!("{name}-{model}"), "name": name, "type": "LLM", "provider": "openai", "tags": [],
        "env": ["prod"], "parameters": {"call_type": "chat", "model": model, "template": "Be kind."},
        "created_at": changed,
    })
}

fn run(id: &str) -> Value {
    json!({
        "id": id, "run_id": id, "metadata": {}, "results": {}, "event_ids": [], "configuration": {},
        "is_active": true, "created_at": "2026", "scope_type": "project", "scope_id": "p", "status": "odd",
    })
}

#[tokio::test]
async fn each_key_goes_where_it_belongs() {
    let ingestion = format!("hh_ingst_{}_{}", "a".repeat(24), "b".repeat(64));
    let plane = format!("hh_fgdp_{}_{}", "a".repeat(24), "b".repeat(64));
    let recorder = Recorder::start();
    recorder.answer_by(|_| ok(&json!({})));
    let all = builder(&recorder.url)
        .api_key("hh_project")
        .ingestion_api_key(&ingestion)
        .data_plane_api_key(&plane);
    let some = builder(&recorder.url).api_key("hh_project");
    for (builder, ingestion, plane) in [
        (all, ingestion.as_str(), Some(plane.as_str())),
        (some, "hh_project", None),
    ] {
        let client = builder.build().unwrap();
        let event = || NewEvent::new("tool", json!({}));
        let before = recorder.requests().len();
        let _ = client.sessions().start(NewSession::new()).await;
        let _ = client.events().create(event()).await;
        let _ = client.events().create_batch(vec![event()]).await;
        let _ = client.events().update("e", EventUpdate::new()).await;
        let _ = client.legacy().update_event("e", EventUpdate::new()).await;
        let _ = client.events().search(EventQuery::new()).next().await;
        let _ = client.datasets().list(Default::default()).await;
        let _ = client.charts().list().await;
        let _ = client.charts().in_project("p").list().await;
        let sent: Vec<_> = recorder.requests()[before..]
            .iter()
            .map(|request| {
                request
                    .header("authorization")
                    .map(|value| value.replace("Bearer ", ""))
            })
            .collect();
        let mut expected = vec![Some(ingestion); 5];
        expected.extend([Some("hh_project"); 3]);
        expected.push(plane);
        assert_eq!(
            sent.iter().map(Option::as_deref).collect::<Vec<_>>(),
            expected
        );
    }
}

/// Serves events in pages, as asked; how often it was asked is counted.
fn events(
    total: usize,
    count: impl Fn(usize) -> Value + Send + Sync + 'static,
) -> (Recorder, Arc<AtomicUsize>) {
    let recorder = Recorder::start();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    recorder.answer_by(move |request| {
        counter.fetch_add(1, Ordering::SeqCst);
        let body = request.json();
        let number = |name: &str| usize::try_from(body[name].as_u64().unwrap()).unwrap();
        let (limit, page) = (number("limit"), number("page"));
        let ids = ((page - 1) * limit..total).take(limit);
        let events: Vec<_> = ids
            .map(|id| json!({"event_id": id.to_string(), "new": id}))
            .collect();
        let mut answer = count(events.len());
        answer["events"] = json!(events);
        ok(&answer)
    });
    (recorder, asked)
}

fn ids(events: &[honeyhive::api::Event]) -> Vec<usize> {
    events
        .iter()
        .map(|event| event.event_id.as_ref().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test]
async fn pages_come_as_they_are_needed() {
    // Servers count all there is, under one name or another, or what is on the page, or nothing.
    type Count = fn(usize) -> Value;
    let counts: [(Count, usize); 4] = [
        (|_| json!({"count": 6}), 3),
        (|_| json!({"totalEvents": 6, "count": 2}), 3),
        (|page| json!({"count": page}), 4),
        (|_| json!({}), 4),
    ];
    for (count, asked) in counts {
        let (recorder, counter) = events(6, count);
        let query = EventQuery::new()
            .limit(2)
            .filters([Filter::field("event_name").eq("ask")]);
        let found = client(&recorder.url)
            .events()
            .search(query)
            .all()
            .await
            .unwrap();
        assert_eq!(ids(&found), [0, 1, 2, 3, 4, 5]);
        assert_eq!(found[3].extra["new"], 3);
        assert_eq!(counter.load(Ordering::SeqCst), asked);
    }

    let (recorder, counter) = events(5, |_| json!({"count": 5}));
    let query = || EventQuery::new().limit(2);
    let events = client(&recorder.url).events();
    let mut pages = events.search(query());
    assert_eq!(counter.load(Ordering::SeqCst), 0);
    assert_eq!(
        pages.next().await.unwrap().unwrap().event_id.as_deref(),
        Some("0")
    );
    assert_eq!(
        (counter.load(Ordering::SeqCst), pages.total()),
        (1, Some(5))
    );
    // What the stream left comes first.
    assert_eq!(ids(&pages.next_page().await.unwrap().unwrap().items), [1]);
    let page = pages.next_page().await.unwrap().unwrap();
    assert_eq!(
        (ids(&page.items), page.number, page.total),
        (vec![2, 3], 2, Some(5))
    );
    assert_eq!(ids(&pages.next_page().await.unwrap().unwrap().items), [4]);
    assert!(pages.next_page().await.unwrap().is_none());
    assert!(pages.next().await.is_none());
    assert_eq!(counter.load(Ordering::SeqCst), 3);

    let mut stream: Pages<_> = events.export(query().page(2));
    let mut found = Vec::new();
    while let Some(event) = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        found.push(event.unwrap());
    }
    assert_eq!(ids(&found), [2, 3, 4]);
}

#[tokio::test]
async fn a_page_that_failed_is_tried_again() {
    let recorder = Recorder::start();
    let page = |ids: [&str; 2]| {
        let events = ids.map(|id| json!({"event_id": id}));
        Reply::status(200).body(json!({"events": events, "count": 4}).to_string())
    };
    recorder.answer_others([page(["0", "1"]), Reply::status(400), page(["2", "3"])]);
    let mut pages = client(&recorder.url)
        .events()
        .search(EventQuery::new().limit(2));
    assert_eq!(
        ids(&pages.next_page().await.unwrap().unwrap().items),
        [0, 1]
    );
    assert_eq!(pages.next_page().await.unwrap_err().status(), Some(400));
    assert_eq!(
        ids(&pages.next_page().await.unwrap().unwrap().items),
        [2, 3]
    );
    assert!(pages.next_page().await.unwrap().is_none());

    // The stream is over after an error.
    recorder.answer_others([page(["0", "1"]), Reply::status(400)]);
    let mut stream = client(&recorder.url)
        .events()
        .search(EventQuery::new().limit(2));
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await {
        seen.push(event.is_ok());
    }
    assert_eq!(seen, [true, true, false]);

    // A server that sends the same page for ever does not keep anybody for ever.
    recorder
        .answer_by(move |_| Some(Reply::status(200).body(r#"{"events": [{"event_id": "0"}]}"#)));
    let all = client(&recorder.url)
        .events()
        .search(EventQuery::new().limit(1))
        .all()
        .await;
    assert_eq!(ids(&all.unwrap()), [0]);
}

#[tokio::test]
async fn sessions_are_events_of_a_type() {
    let (recorder, _) = events(1, |_| json!({"count": 1}));
    let client = client(&recorder.url);
    let own = || EventQuery::new().filters([Filter::field("source").ne("dev")]);
    client.sessions().list(own()).all().await.unwrap();
    client.sessions().events("s-1", own()).all().await.unwrap();
    let bodies: Vec<_> = recorder.requests().iter().map(Request::json).collect();
    let source = json!({"field": "source", "operator": "is not", "value": "dev", "type": "string"});
    let kind =
        json!({"field": "event_type", "operator": "is", "value": "session", "type": "string"});
    let session =
        json!({"field": "session_id", "operator": "is", "value": "s-1", "type": "string"});
    assert_eq!(bodies[0]["filters"], json!([source, kind]));
    assert_eq!(bodies[1]["filters"], json!([source, session]));

    // A session gets its id here, so that a second attempt starts no second session.
    let recorder = Recorder::start();
    let again = Reply::status(503).header("retry-after", "0");
    recorder.answer_others([again, Reply::status(200).body(r#"{"event_id": "x"}"#)]);
    let client = client.with_max_retries(1);
    assert!(
        client.sessions().start(NewSession::new()).await.is_err(),
        "its server answers otherwise"
    );
    let started = builder(&recorder.url)
        .max_retries(1)
        .build()
        .unwrap()
        .sessions()
        .start(NewSession::new())
        .await;
    assert_eq!(started.unwrap().id(), "x");
    let ids: Vec<_> = recorder
        .requests()
        .iter()
        .map(|request| request.json()["session_id"].clone())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0].as_str().map(str::len), Some(36));
}

#[tokio::test]
async fn a_batch_tells_what_was_created_of_it() {
    let recorder = Recorder::start();
    // All but the second.
    let partly = |request: &Request| {
        let body = request.json();
        let events = body["events"].as_array()?;
        let ids: Vec<_> = events
            .iter()
            .map(|event| event["event_id"].clone())
            .collect();
        let kept: Vec<_> = ids
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != 1)
            .map(|(_, id)| id)
            .collect();
        Some(json!({"event_ids": kept, "success": false, "session_id": "s"}))
    };
    recorder.answer_by(move |request| Some(Reply::status(500).body(partly(request)?.to_string())));
    let events = || {
        let event = |name: &str| NewEvent::new(EventKind::Tool, json!({})).event_name(name);
        vec![event("a").event_id("own"), event("b"), event("c")]
    };
    let client = client(&recorder.url);
    let report = client.events().create_batch(events()).await.unwrap();
    let created: Vec<_> = report.items.iter().map(|item| item.created).collect();
    assert_eq!(created, [Some(true), Some(false), Some(true)]);
    assert_eq!(report.items[0].event_id, "own");
    assert_eq!((report.success, report.is_complete()), (false, false));
    assert_eq!(report.incomplete().collect::<Vec<_>>(), [1]);
    let session = SessionProperties::new().session_name("n");
    let report = client
        .events()
        .create_session_batch(session, events())
        .await
        .unwrap();
    assert_eq!(report.session_id.as_deref(), Some("s"));
    assert_eq!(recorder.requests()[1].json()["single_session"], true);
    assert_eq!(recorder.requests().len(), 2, "a batch is not sent twice");

    recorder.answer_by(|_| Some(Reply::status(500).body(r#"{"message": "the disk is full"}"#)));
    let error = client.events().create_batch(events()).await.unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (Some(500), Some("the disk is full"))
    );
    let error = client
        .sessions()
        .add_events("s", events())
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(500));
    recorder.answer_by(|_| ok(&json!({"success": true})));
    assert!(
        client
            .sessions()
            .add_events("s", events())
            .await
            .unwrap()
            .is_complete()
    );
}

#[tokio::test]
async fn more_ids_than_a_request_takes_are_asked_for_in_parts() {
    let recorder = Recorder::start();
    recorder.answer_by(|request| {
        let query = request.path.split_once('?')?.1;
        let ids: Vec<_> = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("datapoint_ids%5B%5D=").or(pair.strip_prefix("run_ids%5B%5D=")))
            .collect();
        assert!(ids.len() <= 100);
        if request.path.starts_with("/v1/runs") {
            let runs: Vec<_> = ids.iter().map(|id| run(id)).collect();
            let pages = json!({"page": 1, "limit": 100, "total": 100, "total_unfiltered": 900, "total_pages": 1,
                "has_next": false, "has_prev": false});
            return ok(&json!({"evaluations": runs, "pagination": pages, "metrics": []}));
        }
        let points: Vec<_> = ids
            .iter()
            .map(|id| json!({"id": id, "inputs": {}, "history": [], "created_at": "2026"}))
            .collect();
        ok(&json!({"datapoints": points}))
    });
    let client = client(&recorder.url);
    let ids: Vec<String> = (0..250).map(|id| format!("id{id}")).collect();
    let points = client
        .datapoints()
        .list(DatapointQuery::new().ids(&ids))
        .await
        .unwrap();
    assert_eq!(
        points.iter().map(|point| &point.id).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    let requests = recorder.requests();
    assert_eq!(requests.len(), 3);
    let stamps: Vec<_> = requests
        .iter()
        .map(|request| request.header("hh-client-timestamp"))
        .collect();
    assert_eq!(
        [stamps[1], stamps[2]],
        [stamps[0], stamps[0]],
        "parts of one call"
    );

    let runs = client
        .runs()
        .list(RunQuery::new().run_ids(&ids))
        .all()
        .await
        .unwrap();
    assert_eq!(
        runs.iter().map(|run| &run.run_id).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    assert_eq!(
        runs[0]
            .status
            .as_ref()
            .map(honeyhive::api::RunStatus::as_str),
        Some("odd")
    );
    assert_eq!(recorder.requests().len(), 6);
    let error = client
        .runs()
        .list_page(RunQuery::new().run_ids(&ids))
        .await
        .unwrap_err();
    assert_eq!((error.is_invalid(), error.field()), (true, Some("run_ids")));
}

#[tokio::test]
async fn connections_are_used_again() {
    let recorder = Recorder::start();
    recorder.answer_by(|_| ok(&json!({"datasets": []})));
    let client = client(&recorder.url);
    for _ in 0..5 {
        client
            .clone()
            .datasets()
            .list(Default::default())
            .await
            .unwrap();
    }
    assert_eq!((recorder.requests().len(), recorder.connections()), (5, 1));
}

/// Counts the spans that this crate makes.
struct OwnSpans(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for OwnSpans {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::span::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        if attributes.metadata().target().starts_with("honeyhive") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn calls_make_no_spans() {
    let (recorder, asked) = events(5, |_| json!({"count": 5}));
    let spans = Arc::new(AtomicUsize::new(0));
    let subscriber = tracing_subscriber::registry().with(OwnSpans(Arc::clone(&spans)));
    let _inside = tracing::subscriber::set_default(subscriber);
    tracing::info_span!(target: "honeyhive_like", "mine").in_scope(|| {});
    let found = client(&recorder.url)
        .events()
        .search(EventQuery::new().limit(2))
        .all()
        .await;
    assert_eq!((found.unwrap().len(), asked.load(Ordering::SeqCst)), (5, 3));
    assert_eq!(spans.load(Ordering::SeqCst), 1, "besides the one made here");
}

#[tokio::test]
async fn events_are_deleted_where_a_server_can() {
    for (delete, get, unsupported, missing) in [
        (200, 200, None, None),
        (404, 200, Some(true), Some(false)),
        (404, 404, Some(false), Some(true)),
        (405, 200, Some(true), Some(false)),
        (501, 404, Some(true), Some(false)),
    ] {
        let recorder = Recorder::start();
        recorder.answer_by(move |request| {
            let status = if request.method == "DELETE" {
                delete
            } else {
                get
            };
            Some(Reply::status(status).body(r#"{"event": {"event_id": "e"}}"#))
        });
        let error = client(&recorder.url).events().delete("e").await.err();
        assert_eq!(
            error.as_ref().map(honeyhive::Error::is_unsupported),
            unsupported,
            "{error:?}"
        );
        assert_eq!(
            error.as_ref().map(honeyhive::Error::is_not_found),
            missing,
            "{error:?}"
        );
    }
}

fn prompts(recorder: &Recorder) -> usize {
    let requests = recorder.requests();
    requests
        .iter()
        .filter(|request| request.method == "GET")
        .count()
}

#[tokio::test]
async fn prompts_are_kept_and_given_out_while_they_are_renewed() {
    let recorder = Recorder::start();
    let list = |models: &[(&str, &str)]| {
        let prompts: Vec<_> = models
            .iter()
            .map(|(model, changed)| prompt("chat", model, changed))
            .collect();
        json!({"configurations": prompts})
    };
    let first = list(&[("old", "2025"), ("new", "2026"), ("older", "2024")]);
    recorder.answer_by(move |_| ok(&first));
    let ttl = Duration::from_millis(700);
    let settings = honeyhive::Builder::new()
        .server_url(&recorder.url)
        .cache_ttl(ttl);
    let client = Builder::settings(settings).max_retries(0).build().unwrap();
    let own = client.configurations();
    let model = async || {
        let found = own.get_cached("chat", Some("prod")).await.unwrap();
        found.map(|found| found.parameters.model.clone())
    };
    // Many at once ask once; of several the one changed last is meant.
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let own = client.configurations();
            tokio::spawn(
                async move { own.get_cached("chat", Some("prod")).await.unwrap().unwrap() },
            )
        })
        .collect();
    for task in waiting {
        assert_eq!(task.await.unwrap().parameters.model, "new");
    }
    assert_eq!(prompts(&recorder), 1);
    // That there is none is kept too.
    for _ in 0..3 {
        assert_eq!(own.get_cached("chat", Some("dev")).await.unwrap(), None);
        assert_eq!(own.get_cached("other", None).await.unwrap(), None);
    }
    assert_eq!(prompts(&recorder), 3);
    assert_eq!(client.cache().prompts().entries, 3);

    // An old one is given out at once; the server is slow, and asked once.
    let second = list(&[("newest", "2027")]);
    recorder.answer_by(move |_| {
        std::thread::sleep(Duration::from_millis(100));
        ok(&second)
    });
    tokio::time::sleep(ttl).await;
    let stale = model().await;
    assert_eq!(stale.as_deref(), Some("new"));
    model().await;
    let renewed = std::time::Instant::now();
    while model().await.as_deref() != Some("newest") {
        assert!(renewed.elapsed() < support::PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stats = client.cache().prompts();
    assert!(stats.stale >= 1 && stats.hits >= 24, "{stats:?}");

    // What changes through the same client is forgotten.
    let before = prompts(&recorder);
    let _ = own.update("id", ConfigurationUpdate::new("chat")).await;
    assert_eq!(client.cache().prompts().entries, 0);
    model().await;
    client.cache().clear();
    model().await;
    assert_eq!(prompts(&recorder), before + 2);

    // A failure is not kept.
    recorder.answer_by(|_| Some(Reply::status(400)));
    assert!(own.get_cached("broken", None).await.is_err());
    assert!(own.get_cached("broken", None).await.is_err());
    assert_eq!(prompts(&recorder), before + 4);
}

#[tokio::test]
async fn a_cache_can_be_small_or_off() {
    let recorder = Recorder::start();
    recorder.answer_by(|_| {
        ok(&json!({"configurations": [], "datasets": [{"id": "d", "name": "n", "datapoints": []}]}))
    });
    let with = |settings: honeyhive::Builder| {
        Builder::settings(settings.server_url(&recorder.url))
            .build()
            .unwrap()
    };
    let off = with(honeyhive::Builder::new().cache_enabled(false));
    for _ in 0..2 {
        assert_eq!(
            off.configurations().get_cached("a", None).await.unwrap(),
            None
        );
        assert_eq!(off.datasets().get_cached("d").await.unwrap().name, "n");
    }
    assert_eq!(prompts(&recorder), 4);
    let one = with(honeyhive::Builder::new().cache_max_size(1));
    for name in ["a", "b", "a"] {
        assert_eq!(
            one.configurations().get_cached(name, None).await.unwrap(),
            None
        );
    }
    let stats = one.cache().prompts();
    assert_eq!((stats.entries, stats.evicted, stats.misses), (1, 2, 3));
    for _ in 0..2 {
        assert_eq!(one.datasets().get_cached("d").await.unwrap().name, "n");
    }
    assert_eq!(
        (one.cache().resources().misses, one.cache().resources().hits),
        (1, 1)
    );
    assert!(one.metrics().get_cached("m").await.is_err());
}

#[tokio::test]
async fn rows_are_imported_in_parts_and_written_again() {
    let recorder = Recorder::start();
    recorder.answer_by(|request| {
        if request.method == "GET" {
            let path = &request.path;
            let ids: Vec<_> = (0..3).map(|id| format!("p{id}")).collect();
            let points: Vec<_> = ids
                .iter()
                .map(|id| json!({"id": id, "inputs": {"q": "é\n"}, "history": [], "created_at": "2026"}))
                .collect();
            return if path.starts_with("/v1/datasets") {
                ok(&json!({"datasets": [{"id": "x", "name": "x", "datapoints": []}, {"id": "d", "name": "n", "datapoints": ids}]}))
            } else {
                ok(&json!({"datapoints": points}))
            };
        }
        let rows = request.json()["data"].as_array()?.clone();
        if rows.iter().any(|row| row["n"] == "bad") {
            return Some(Reply::status(400).body(r#"{"message": "a bad row"}"#));
        }
        let ids: Vec<_> = rows.iter().map(|row| row["n"].clone()).collect();
        ok(&json!({"inserted": true, "datapoint_ids": ids}))
    });
    let datasets = client(&recorder.url).datasets();
    let mapping = || Mapping::new().inputs(["n"]);
    let csv = |count: usize, bad: Option<usize>| {
        let cell = |n: usize| {
            if bad == Some(n) {
                "bad".to_owned()
            } else {
                n.to_string()
            }
        };
        let lines: Vec<_> = (0..count).map(cell).collect();
        Rows::csv(format!("n\n{}\n", lines.join("\n")).as_bytes()).unwrap()
    };
    let report = datasets.import("d", csv(250, None), mapping()).await;
    assert!(report.failed.is_none());
    assert_eq!(report.rows, 250);
    assert_eq!(
        report.datapoint_ids,
        (0..250).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    let sizes: Vec<_> = recorder
        .requests()
        .iter()
        .map(|request| request.json()["data"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(
        recorder.requests()[0].json()["mapping"],
        json!({"inputs": ["n"]})
    );

    let report = datasets.import("d", csv(250, Some(150)), mapping()).await;
    assert_eq!((report.rows, report.datapoint_ids.len()), (100, 100));
    let (rows, error) = report.failed.unwrap();
    assert_eq!((rows, error.message()), (100..200, Some("a bad row")));
    assert_eq!(recorder.requests().len(), 5, "it stops where it failed");
    assert_eq!(
        datasets.import("d", Rows::default(), mapping()).await.rows,
        0
    );

    let mut written = Vec::new();
    assert_eq!(datasets.export_jsonl("d", &mut written).await.unwrap(), 3);
    let lines = Rows::jsonl(written.as_slice()).unwrap();
    assert_eq!(
        lines
            .iter()
            .map(|line| line["id"].clone())
            .collect::<Vec<_>>(),
        ["p0", "p1", "p2"]
    );
    assert_eq!(lines.iter().next().unwrap()["inputs"], json!({"q": "é\n"}));
    assert!(datasets.get("none").await.unwrap_err().is_not_found());
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(
        datasets
            .export_jsonl("d", &mut Full)
            .await
            .unwrap_err()
            .is_io()
    );
}

#[test]
fn the_blocking_twin_works_anywhere() {
    let (recorder, _) = events(5, |_| json!({"count": 5}));
    let blocking = blocking::Client::new(&client(&recorder.url)).unwrap();
    let search = || {
        let found: Result<Vec<_>, _> = blocking
            .events()
            .search(EventQuery::new().limit(2))
            .collect();
        ids(&found.unwrap())
    };
    assert_eq!(search(), [0, 1, 2, 3, 4]);
    // On many threads at once.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(search(), [0, 1, 2, 3, 4]));
        }
    });
    // In a runtime it holds that up, and nothing worse; a client can be made and dropped there.
    let runtimes = [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ];
    for mut runtime in runtimes {
        runtime.enable_all().build().unwrap().block_on(async {
            assert_eq!(search(), [0, 1, 2, 3, 4]);
            let own = blocking::Client::new(&client(&recorder.url)).unwrap();
            assert_eq!(
                own.events().search(EventQuery::new()).all().unwrap().len(),
                5
            );
            let total = own.wait(|client| async move {
                let mut pages = client.events().search(EventQuery::new());
                pages
                    .next_page()
                    .await
                    .map(|page| page.and_then(|page| page.total))
            });
            assert_eq!(total.unwrap(), Some(5));
        });
    }
    // A call that waits is a timeout there too, and one that is repeated is repeated.
    recorder.hold();
    let error = blocking
        .with_timeout(Duration::from_millis(100))
        .with_max_retries(1)
        .runs()
        .get("r")
        .unwrap_err();
    recorder.release();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.attempts(), Some(2));
}

#[tokio::test]
async fn the_client_of_an_instance_shares_and_follows_it() {
    let recorder = Recorder::start();
    recorder.answer_by(|_| ok(&json!({"configurations": [prompt("chat", "m", "2026")]})));
    let honeyhive = settings(&recorder.url).build().unwrap();
    for _ in 0..3 {
        let found = honeyhive
            .api()
            .configurations()
            .get_cached("chat", None)
            .await
            .unwrap();
        assert_eq!(found.unwrap().parameters.model, "m");
    }
    assert_eq!(recorder.requests().len(), 1);
    assert_eq!(honeyhive.api().cache().prompts().hits, 2);
    let key = |index: usize| {
        recorder.requests()[index]
            .header("authorization")
            .unwrap()
            .to_owned()
    };
    assert_eq!(key(0), format!("Bearer {}", support::KEY));

    // Another key is another account: nothing of the first is shown to it.
    let client = honeyhive.api();
    honeyhive
        .reconfigure(|settings| settings.api_key("hh_another"))
        .unwrap();
    client
        .configurations()
        .get_cached("chat", None)
        .await
        .unwrap();
    assert_eq!(recorder.requests().len(), 2);
    assert_eq!(key(1), "Bearer hh_another");
    assert_eq!(recorder.connections(), 1);
    let blocking = blocking::Client::of(&honeyhive).unwrap();
    assert!(
        blocking
            .configurations()
            .get_cached("chat", None)
            .unwrap()
            .is_some()
    );
    assert_eq!(recorder.requests().len(), 2, "one cache for both");

    // The client outlives its instance.
    drop(honeyhive);
    assert!(
        client
            .configurations()
            .get("chat", None)
            .await
            .unwrap()
            .is_some()
    );

    let quiet = HoneyHive::builder()
        .server_url(&recorder.url)
        .test_mode(true)
        .build()
        .unwrap();
    let error = quiet.api().runs().get("r").await.unwrap_err();
    assert!(
        error.is_config() && error.to_string().contains("test_mode"),
        "{error}"
    );
    until("no more requests", || recorder.requests().len() == 3);
}
