//! The REST client and the local server: what one writes, the other keeps and gives back.
#![cfg(all(feature = "api", feature = "server"))]

use std::collections::BTreeSet;

use honeyhive::api::{
    Aggregate, Bucketing, ChartUpdate, Client, CompareQuery, ConfigurationUpdate, DatapointQuery,
    DatapointUpdate, DatapointsFromEvents, DatasetQuery, DatasetUpdate, DateRange, Environment,
    EventKind, EventQuery, EventUpdate, Filter, Mapping, MetricEvent, MetricQuery, MetricType,
    MetricUpdate, NewApiKey, NewChart, NewConfiguration, NewDatapoint, NewDataset, NewEvent,
    NewIngestionKey, NewMetric, NewParameters, NewQueue, NewRun, NewSession, QueueUpdate,
    ResultQuery, Rows, RunQuery, RunStatus, RunUpdate, SessionProperties, SortBy, SortOrder,
};
use honeyhive::server::Server;
use serde_json::{Value, json};

struct Both {
    client: Client,
    _server: Server,
}

fn start() -> Both {
    let server = Server::builder().port(0).start().unwrap();
    let client = Client::builder()
        .server_url(server.url())
        .max_retries(0)
        .build()
        .unwrap();
    Both {
        client,
        _server: server,
    }
}

fn names(events: &[honeyhive::api::Event]) -> BTreeSet<&str> {
    events
        .iter()
        .filter_map(|event| event.event_name.as_deref())
        .collect()
}

#[tokio::test]
async fn sessions_and_events() {
    let both = start();
    let (sessions, events) = (both.client.sessions(), both.client.events());
    let new = NewSession::new()
        .session_name("chat")
        .source("test")
        .inputs(json!({"q": 1}))
        .user_properties(json!({"user": "ada"}));
    let session = sessions.start(new).await.unwrap();
    let id = session.id().to_owned();
    assert_eq!(session.event_name.as_deref(), Some("chat"));
    assert_eq!(session.inputs, json!({"q": 1}));
    // The same session again: what is new is merged into it.
    let again = NewSession::new()
        .session_id(&id)
        .metadata(json!({"more": true}));
    assert_eq!(sessions.start(again).await.unwrap().id(), id);

    let ask = NewEvent::new(EventKind::Model, json!({"question": "Why?"}))
        .event_name("ask")
        .session_id(&id)
        .outputs(json!({"answer": "Because"}))
        .metrics(json!({"score": 0.9}))
        .start_time(1_769_900_000_000_f64)
        .duration(120);
    let event = events.create(ask).await.unwrap();
    let found = events.get(&event).await.unwrap();
    assert_eq!(found.event_type, Some(EventKind::Model));
    assert_eq!(found.session_id.as_deref(), Some(id.as_str()));
    assert_eq!(
        (found.outputs["answer"].as_str(), found.duration),
        (Some("Because"), Some(120.0))
    );
    let update = EventUpdate::new()
        .feedback(json!({"rating": 5}))
        .metadata(json!({"k": [1, null]}));
    events.update(&event, update).await.unwrap();
    let found = events.get(&event).await.unwrap();
    assert_eq!(
        (&found.feedback["rating"], &found.metadata["k"]),
        (&json!(5), &json!([1, null]))
    );
    sessions
        .update(&id, EventUpdate::new().outputs(json!({"done": true})))
        .await
        .unwrap();
    assert_eq!(
        sessions.get(&id).await.unwrap().outputs,
        json!({"done": true})
    );

    let steps = (0..5).map(|n| {
        NewEvent::new("tool", json!({"n": n}))
            .event_name(format!("step {n}"))
            .metrics(json!({"n": n}))
    });
    let report = sessions.add_events(&id, steps.collect()).await.unwrap();
    assert!(report.is_complete() && report.items.len() == 5);
    let batch = vec![
        NewEvent::new("chain", json!({}))
            .event_name("alone")
            .event_id("6a1ea9d5-6d0c-4ec9-a7a1-3f3fb8fd9d36"),
    ];
    let batch = events
        .create_session_batch(SessionProperties::new().session_name("batch"), batch)
        .await
        .unwrap();
    assert!(batch.is_complete());
    assert_eq!(
        batch.items[0].event_id,
        "6a1ea9d5-6d0c-4ec9-a7a1-3f3fb8fd9d36"
    );
    let lone = vec![NewEvent::new("tool", json!({})).event_name("lone")];
    assert!(events.create_batch(lone).await.unwrap().is_complete());

    let all = sessions
        .events(&id, EventQuery::new().limit(3))
        .all()
        .await
        .unwrap();
    assert_eq!(
        names(&all),
        [
            "ask", "chat", "step 0", "step 1", "step 2", "step 3", "step 4"
        ]
        .into()
    );
    for (filter, expected) in [
        (Filter::field("event_name").eq("ask"), vec!["ask"]),
        (
            Filter::field("event_name").contains("step"),
            vec!["step 0", "step 1", "step 2", "step 3", "step 4"],
        ),
        (Filter::field("metrics.n").gt(2), vec!["step 3", "step 4"]),
        (Filter::field("metrics.score").exists(), vec!["ask"]),
        (Filter::field("feedback.rating").eq(5), vec!["ask"]),
    ] {
        let query = || EventQuery::new().filters([filter.clone()]);
        let found = events.search(query()).all().await.unwrap();
        assert_eq!(
            names(&found),
            expected.iter().copied().collect(),
            "{filter:?}"
        );
        let exported = events.export(query()).all().await.unwrap();
        assert_eq!(
            names(&exported),
            expected.into_iter().collect(),
            "{filter:?}"
        );
    }
    let long_ago = EventQuery::new().date_range(DateRange::until("2001-01-01T00:00:00Z"));
    assert!(events.search(long_ago).all().await.unwrap().is_empty());
    let projected = EventQuery::new()
        .filters([Filter::field("event_name").eq("ask")])
        .projections(["event_name", "outputs"]);
    let found = events.export(projected).all().await.unwrap();
    assert_eq!(found[0].outputs["answer"], "Because");
    let listed = sessions.list(EventQuery::new()).all().await.unwrap();
    assert!(
        names(&listed).is_superset(&["batch", "chat"].into()),
        "{:?}",
        names(&listed)
    );

    events.delete(&event).await.unwrap();
    assert!(events.get(&event).await.unwrap_err().is_not_found());
    let error = events.delete(&event).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_unsupported(), "{error}");
}

#[tokio::test]
async fn datasets_and_datapoints() {
    let both = start();
    let (datasets, datapoints) = (both.client.datasets(), both.client.datapoints());
    let id = datasets
        .create(NewDataset::new().name("questions").description("d"))
        .await
        .unwrap();
    let csv = "question,answer\n\"Why, then?\",Because\nHow?,So\n";
    let mapping = || Mapping::new().inputs(["question"]).ground_truth(["answer"]);
    let report = datasets
        .import(&id, Rows::csv(csv.as_bytes()).unwrap(), mapping())
        .await;
    assert!(report.failed.is_none(), "{report:?}");
    assert_eq!((report.rows, report.datapoint_ids.len()), (2, 2));
    let many = (0..205).map(|n| {
        json!({"question": n, "answer": n})
            .as_object()
            .unwrap()
            .clone()
    });
    let report = datasets.import(&id, many.collect(), mapping()).await;
    assert_eq!((report.rows, report.datapoint_ids.len()), (205, 205));

    let dataset = datasets.get(&id).await.unwrap();
    assert_eq!(
        (dataset.name.as_str(), dataset.datapoints.len()),
        ("questions", 207)
    );
    let mut lines = Vec::new();
    assert_eq!(datasets.export_jsonl(&id, &mut lines).await.unwrap(), 207);
    let lines = Rows::jsonl(lines.as_slice()).unwrap();
    let first = lines
        .iter()
        .find(|line| line["inputs"]["question"] == "Why, then?")
        .unwrap();
    assert_eq!(first["ground_truth"], json!({"answer": "Because"}));

    let point = NewDatapoint::new()
        .inputs(json!({"q": 1}))
        .history([json!({"role": "user"})])
        .linked_datasets([&id]);
    let point = datapoints.create(point).await.unwrap();
    assert_eq!(datapoints.get(&point).await.unwrap().inputs["q"], 1);
    let update = DatapointUpdate::new().ground_truth(json!({"a": 2}));
    assert!(datapoints.update(&point, update).await.unwrap());
    let found = datapoints
        .list(DatapointQuery::new().ids([&point]))
        .await
        .unwrap();
    assert_eq!(found[0].ground_truth, json!({"a": 2}));
    let of_set = datapoints
        .list(DatapointQuery::new().dataset_name("questions"))
        .await
        .unwrap();
    assert_eq!(of_set.len(), 208);
    datasets.remove_datapoint(&id, &point).await.unwrap();
    assert_eq!(datasets.get(&id).await.unwrap().datapoints.len(), 207);
    assert!(datapoints.delete(&point).await.unwrap());
    assert!(datapoints.get(&point).await.unwrap_err().is_not_found());

    let event = NewEvent::new("model", json!({"question": "From an event?"}))
        .outputs(json!({"answer": "Yes"}));
    let event = both.client.events().create(event).await.unwrap();
    let from = DatapointsFromEvents::new()
        .events([&event])
        .dataset_id(&id)
        .mapping(Mapping::new().inputs(["question"]));
    let made = datapoints.create_from_events(from).await.unwrap();
    assert_eq!(made.len(), 1);
    let made = datapoints.get(&made[0]).await.unwrap();
    assert_eq!(made.linked_event.as_deref(), Some(event.as_str()));

    let cached = datasets.get_cached(&id).await.unwrap();
    assert_eq!(cached.name, "questions");
    let renamed = datasets
        .update(&id, DatasetUpdate::new().name("renamed"))
        .await
        .unwrap();
    assert_eq!(renamed.name, "renamed");
    assert_eq!(datasets.get_cached(&id).await.unwrap().name, "renamed");
    assert_eq!(
        datasets
            .list(DatasetQuery::new().name("renamed"))
            .await
            .unwrap()
            .len(),
        1
    );
    datasets.delete(&id).await.unwrap();
    assert!(datasets.get(&id).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn metrics_and_their_versions() {
    let both = start();
    let metrics = both.client.metrics();
    let polite = || {
        NewMetric::new("polite", MetricType::Llm, "Is it polite?")
            .return_type("boolean")
            .model_provider("openai")
            .model_name("gpt-4o")
            .sampling_percentage(5)
            .filters([Filter::field("event_type").eq("model")])
    };
    let id = metrics.create(polite()).await.unwrap();
    let found = metrics.get(&id).await.unwrap();
    assert_eq!(
        (found.kind, found.sampling_percentage),
        (MetricType::Llm, 5.0)
    );
    assert_eq!(found.filters.filters[0]["value"], "model");
    assert!(
        metrics
            .update(&id, MetricUpdate::new().criteria("Is it?"))
            .await
            .unwrap()
    );
    assert_eq!(metrics.get(&id).await.unwrap().criteria, "Is it?");
    assert_eq!(
        metrics
            .list(MetricQuery::new().kind("LLM"))
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(
        metrics
            .list(MetricQuery::new().kind("PYTHON"))
            .await
            .unwrap()
            .is_empty()
    );

    let second = metrics
        .create_version(&id, "better", polite(), true)
        .await
        .unwrap();
    assert!(second.deployed);
    let third = metrics
        .create_version(&id, "best", polite(), false)
        .await
        .unwrap();
    assert!(!third.deployed);
    assert!(
        metrics
            .deploy_version(&id, &third.name)
            .await
            .unwrap()
            .deployed
    );
    let versions = metrics.versions(&id).await.unwrap();
    assert_eq!(
        versions.iter().filter(|version| version.deployed).count(),
        1
    );

    // What the server cannot compute it refuses, and says why.
    let event = MetricEvent::new()
        .event_name("ask")
        .outputs(json!({"a": 1}));
    let error = metrics.run(polite(), event).await.unwrap_err();
    assert!(error.is_status() && error.message().is_some(), "{error}");
    assert!(metrics.delete(&id).await.unwrap());
    assert!(metrics.get(&id).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn configurations() {
    let both = start();
    let own = both.client.configurations();
    let parameters = |model: &str| {
        NewParameters::new("chat", model)
            .hyperparameters(json!({"temperature": 0.2}))
            .template(json!([{"role": "system", "content": "Be kind."}]))
    };
    assert_eq!(own.get_cached("support", Some("prod")).await.unwrap(), None);
    let new = NewConfiguration::new("support", "openai", parameters("gpt-4o"))
        .env([Environment::Prod])
        .tags(["t"]);
    let id = own.create(new).await.unwrap();
    let found = own
        .get_cached("support", Some("prod"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.id.as_str(), found.parameters.model.as_str()),
        (id.as_str(), "gpt-4o")
    );
    assert_eq!(found.parameters.template[0]["content"], "Be kind.");
    assert_eq!(own.get("support", Some("dev")).await.unwrap(), None);
    let update = ConfigurationUpdate::new("support")
        .parameters(parameters("gpt-5"))
        .env([Environment::Dev]);
    assert!(own.update(&id, update).await.unwrap());
    let found = own
        .get_cached("support", Some("dev"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.parameters.model, "gpt-5");
    assert_eq!(own.list(Default::default()).await.unwrap().len(), 1);
    assert!(own.delete(&id).await.unwrap());
    assert_eq!(own.get_cached("support", None).await.unwrap(), None);
}

/// A run over these datapoints, with a score each.
async fn run(client: &Client, name: &str, scores: [f64; 3]) -> String {
    let new = NewRun::new()
        .name(name)
        .status(RunStatus::Running)
        .configuration(json!({"model": name}));
    let id = client.runs().create(new).await.unwrap().run_id;
    let mut sessions = Vec::new();
    for (datapoint, score) in ["d1", "d2", "d3"].into_iter().zip(scores) {
        let metadata = json!({"run_id": id, "datapoint_id": datapoint, "dataset_id": "EXT-d"});
        let session = NewSession::new().session_name(name).metadata(metadata);
        let session = client
            .sessions()
            .start(session)
            .await
            .unwrap()
            .id()
            .to_owned();
        let event = NewEvent::new("chain", json!({"of": datapoint}))
            .event_name("answer")
            .session_id(&session)
            .metrics(json!({"score": score}));
        client.events().create(event).await.unwrap();
        sessions.push(session);
    }
    let done = RunUpdate::new().status("completed").event_ids(sessions);
    assert_eq!(
        client.runs().update(&id, done).await.unwrap().run.status,
        Some(RunStatus::Completed)
    );
    id
}

#[tokio::test]
async fn runs_are_summed_up_and_compared() {
    let both = start();
    let client = &both.client;
    let runs = client.runs();
    let old = run(client, "old", [1.0, 2.0, 3.0]).await;
    let new = run(client, "new", [2.0, 2.0, 2.0]).await;
    assert_eq!(runs.get(&old).await.unwrap().name.as_deref(), Some("old"));
    let listed = RunQuery::new()
        .limit(1)
        .sort_by(SortBy::Name)
        .sort_order(SortOrder::Ascending);
    let listed = runs.list(listed).all().await.unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|run| run.run_id.as_str())
            .collect::<Vec<_>>(),
        [&new, &old]
    );
    let given = runs
        .list(RunQuery::new().run_ids([&old]))
        .all()
        .await
        .unwrap();
    assert_eq!(given.len(), 1);
    assert_eq!(
        runs.list_page(RunQuery::new())
            .await
            .unwrap()
            .pagination
            .total,
        2
    );

    for (aggregate, expected) in [
        (Aggregate::Average, 2.0),
        (Aggregate::Max, 3.0),
        (Aggregate::Sum, 6.0),
    ] {
        let query = || ResultQuery::new().aggregate(aggregate.clone());
        for summary in [
            runs.summary(&old, query()).await.unwrap(),
            client.legacy().run_result(&old, query()).await.unwrap(),
        ] {
            let details = summary.metrics.details.unwrap();
            let score = details
                .iter()
                .find(|detail| detail.metric_name == "score")
                .unwrap();
            assert_eq!(score.aggregate, Some(expected));
            assert_eq!(summary.datapoints.len(), 3);
        }
    }
    let one = ResultQuery::new().filters([Filter::field("inputs.of").eq("d2")]);
    let details = runs
        .summary(&old, one)
        .await
        .unwrap()
        .metrics
        .details
        .unwrap();
    assert_eq!(details[0].values, Some(vec![json!(2.0)]));

    for comparison in [
        runs.compare(&new, &old, ResultQuery::new()).await.unwrap(),
        client
            .legacy()
            .compare_runs(&new, &old, ResultQuery::new())
            .await
            .unwrap(),
    ] {
        assert_eq!(comparison.common_datapoints.len(), 3);
        assert_eq!(
            (comparison.new_run.run_id, comparison.old_run.run_id),
            (new.clone(), old.clone())
        );
        let score = comparison
            .metrics
            .iter()
            .find(|metric| metric.metric_name == "score")
            .unwrap();
        assert_eq!(
            (score.old_aggregate, score.new_aggregate),
            (Some(2.0), Some(2.0))
        );
        assert_eq!(
            (score.improved_count, score.same_count, score.degraded_count),
            (Some(1), Some(1), Some(1))
        );
    }
    let query = || CompareQuery::new().event_name("answer").limit(2);
    let compared = runs
        .compare_events(&new, &old, query())
        .all()
        .await
        .unwrap();
    assert_eq!(compared.len(), 3);
    assert_eq!(
        client
            .legacy()
            .compare_events(&new, &old, query())
            .all()
            .await
            .unwrap(),
        compared
    );
    let metrics = runs.metrics(&old, Vec::new(), None).await.unwrap();
    assert!(
        metrics
            .events
            .iter()
            .any(|event| event.metrics.get("score") == Some(&json!(3.0)))
    );
    for schema in [
        runs.schema(None).await.unwrap(),
        runs.schema_of(&old, Some(&DateRange::since("2001-01-01T00:00:00Z")))
            .await
            .unwrap(),
        client.legacy().schema(None, None).await.unwrap(),
    ] {
        assert!(
            schema
                .fields
                .iter()
                .any(|field| field.name == "metrics.score"),
            "{schema:?}"
        );
    }
    assert!(runs.delete(&old).await.unwrap());
    let gone = runs.get(&old).await.unwrap_err();
    assert!(
        gone.status()
            .is_some_and(|status| status == 400 || status == 404),
        "{gone}"
    );
}

#[tokio::test]
async fn charts_queues_and_keys() {
    let both = start();
    for charts in [
        both.client.charts(),
        both.client.charts().in_project("local"),
    ] {
        let new = NewChart::new("cost", "cost")
            .bucketing(Bucketing::Day)
            .func("sum")
            .relative("7d");
        let chart = charts.create(new).await.unwrap();
        assert_eq!(charts.get(&chart.id).await.unwrap(), chart);
        let update = ChartUpdate::new().name("costs").bucketing("week");
        let changed = charts.update(&chart.id, update).await.unwrap();
        assert_eq!(
            (changed.name.as_str(), changed.bucketing),
            ("costs", Bucketing::Week)
        );
        assert!(
            charts
                .list()
                .await
                .unwrap()
                .iter()
                .any(|found| found.id == chart.id)
        );
        charts.delete(&chart.id).await.unwrap();
        assert!(charts.get(&chart.id).await.unwrap_err().is_not_found());
    }

    let queues = both.client.queues();
    let new = NewQueue::new("to judge")
        .filters([Filter::field("metrics.score").lt(0.5)])
        .event_ids(["e1"]);
    let queue = queues.create(new).await.unwrap();
    assert!(queue.enabled);
    assert_eq!(queues.get(&queue.id).await.unwrap().name, "to judge");
    let changed = queues
        .update(
            &queue.id,
            QueueUpdate::new().enabled(false).add_event_ids(["e2"]),
        )
        .await
        .unwrap();
    assert!(!changed.enabled);
    assert!(queues.list(Some(true)).await.unwrap().is_empty());
    assert_eq!(queues.list(None).await.unwrap().len(), 1);
    queues.delete(&queue.id).await.unwrap();
    assert!(queues.get(&queue.id).await.unwrap_err().is_not_found());

    let keys = both.client.api_keys();
    let key = keys
        .create_ingestion("local", NewIngestionKey::new("ci"))
        .await
        .unwrap();
    assert!(key.expose().starts_with("hh_ingst_"), "{}", key.expose());
    let new = NewApiKey::new("ci", ["read"], "2099-01-01T00:00:00Z");
    let key = keys.create("local", new).await.unwrap();
    assert!(key.expose().starts_with("hh_fgdp_"), "{}", key.expose());
    assert_eq!(key.permissions, Some(vec!["read".to_owned()]));
}

#[tokio::test]
async fn routes_that_have_a_successor() {
    let both = start();
    let (client, legacy) = (&both.client, both.client.legacy());
    let session = legacy
        .start_session(NewSession::new().session_name("chat"))
        .await
        .unwrap();
    let event = NewEvent::new("model", json!({"q": 1}))
        .event_name("ask")
        .session_id(session.id());
    let event = legacy.create_event(event).await.unwrap();
    legacy
        .update_event(&event, EventUpdate::new().metrics(json!({"score": 1})))
        .await
        .unwrap();
    assert_eq!(
        client.events().get(&event).await.unwrap().metrics,
        json!({"score": 1})
    );
    let batch = vec![
        NewEvent::new("tool", json!({})),
        NewEvent::new("tool", json!({})),
    ];
    assert!(
        legacy
            .create_event_batch(batch, Some(SessionProperties::new()))
            .await
            .unwrap()
            .is_complete()
    );

    let dataset = client
        .datasets()
        .create(NewDataset::new().name("d"))
        .await
        .unwrap();
    let row: serde_json::Map<String, Value> = json!({"q": 1}).as_object().unwrap().clone();
    let points = client
        .datasets()
        .add_datapoints(&dataset, vec![row], Mapping::new().inputs(["q"]))
        .await
        .unwrap();
    let changed = legacy
        .update_dataset(&dataset, DatasetUpdate::new().name("e"))
        .await
        .unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.datapoints),
        ("e", points.clone())
    );
    legacy.remove_datapoint(&dataset, &points[0]).await.unwrap();
    legacy.delete_dataset(&dataset).await.unwrap();
    assert!(
        client
            .datasets()
            .get(&dataset)
            .await
            .unwrap_err()
            .is_not_found()
    );

    let metric = client
        .metrics()
        .create(NewMetric::new("m", "HUMAN", "c"))
        .await
        .unwrap();
    assert!(
        legacy
            .update_metric(&metric, MetricUpdate::new().name("n"))
            .await
            .unwrap()
    );
    assert_eq!(client.metrics().get(&metric).await.unwrap().name, "n");
    assert!(legacy.delete_metric(&metric).await.unwrap());
}

/// What the server refuses has its reason, with the name of the method that was called.
#[tokio::test]
async fn refusals() {
    let both = start();
    let missing = "00000000-0000-4000-8000-000000000000";
    let error = both.client.runs().get(missing).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(error.operation(), Some("runs.get"));
    assert!(
        error.message().is_some() && error.code().is_some(),
        "{error}"
    );
    let nonsense = EventQuery::new().date_range(DateRange::between("yesterday", "tomorrow"));
    let error = both
        .client
        .events()
        .search(nonsense)
        .all()
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(400), "{error}");
    assert!(error.message().unwrap().contains("dateRange"), "{error}");
}

/// Whatever the client may call, the server has an answer for, though it may be that there is no such thing.
#[tokio::test]
async fn every_operation_that_the_client_calls_is_answered() {
    let server = Server::builder().port(0).start().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for operation in honeyhive::api::OPERATIONS {
        let path: Vec<_> = operation
            .path
            .split('/')
            .map(|part| match part.starts_with('{') {
                true => "00000000-0000-4000-8000-000000000000",
                false => part,
            })
            .collect();
        let url = format!("{}{}", server.url(), path.join("/"));
        let method = operation.method.parse().unwrap();
        let sent = http.request(method, url).json(&json!({})).send().await;
        let answer = sent.unwrap();
        let (status, said) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert!(
            status < 500 && status != 405,
            "{}: {status} {said}",
            operation.call
        );
        assert!(
            !said.contains("nothing at this address"),
            "{}: {said}",
            operation.call
        );
    }
}
