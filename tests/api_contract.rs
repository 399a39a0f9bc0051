//! Every operation of the platform is called by the client or left out for a reason, at its address, with its fields.
//!
//! `fixtures/operations.json` has the facts of the platform's OpenAPI description: operation, method, path, and the names
//! of the fields of query and body, with whether they are required.
#![cfg(feature = "api")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use honeyhive::api::{
    ABSENT, Aggregate, Bucketing, ChartUpdate, Client, CompareQuery, ConfigurationQuery,
    ConfigurationType, ConfigurationUpdate, DatapointQuery, DatapointUpdate, DatapointsFromEvents,
    DatasetQuery, DatasetUpdate, DateRange, Environment, EventQuery, EventUpdate, Filter, Mapping,
    MetricEvent, MetricQuery, MetricType, MetricUpdate, NewApiKey, NewChart, NewConfiguration,
    NewDatapoint, NewDataset, NewEvent, NewIngestionKey, NewMetric, NewParameters, NewQueue,
    NewRun, NewSession, OPERATIONS, QueueUpdate, ResultQuery, ReturnType, RunQuery, RunStatus,
    RunUpdate, SessionProperties, SortBy, SortOrder,
};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Recorder, Reply, Request};

#[derive(Debug, Deserialize)]
struct Described {
    id: String,
    method: String,
    path: String,
    #[serde(default)]
    query: BTreeMap<String, bool>,
    #[serde(default)]
    body: BTreeMap<String, bool>,
}

fn described() -> Vec<Described> {
    serde_json::from_str(include_str!("fixtures/operations.json")).unwrap()
}

/// Fields that are not sent, by operation: other names of what is sent, and what only the platform's own pages need.
const LEFT_OUT: &[(&str, &str)] = &[
    ("createEventBatchLegacy", "is_single_session"),
    ("createEventBatchLegacy", "session"),
];

#[test]
fn every_operation_is_called_or_left_out_for_a_reason() {
    let described = described();
    let known: BTreeSet<_> = OPERATIONS
        .iter()
        .map(|known| (known.id, known.method, known.path))
        .collect();
    let absent: BTreeSet<_> = ABSENT
        .iter()
        .map(|absent| (absent.id, absent.method, absent.path))
        .collect();
    assert!(ABSENT.iter().all(|absent| absent.reason.len() > 20));
    assert!(known.is_disjoint(&absent));
    let mut addresses = BTreeSet::new();
    for operation in &described {
        let it = (
            operation.id.as_str(),
            operation.method.as_str(),
            operation.path.as_str(),
        );
        assert!(
            known.contains(&it) || absent.contains(&it),
            "{it:?} is not known"
        );
        assert!(addresses.insert(it), "{it:?} is there twice");
    }
    // Deleting events is offered by some servers, and in no description.
    let beyond: Vec<_> = known
        .union(&absent)
        .filter(|it| !addresses.contains(*it))
        .map(|it| it.0)
        .collect();
    assert_eq!(beyond, ["deleteEvent"]);
    let calls: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.call).collect();
    assert_eq!(calls.len(), OPERATIONS.len());
}

type Calling = Pin<Box<dyn Future<Output = ()>>>;
type Call = Box<dyn Fn(Client) -> Calling>;

macro_rules! calls {
    ($($name:literal => |$client:ident| $call:expr;)*) => {
        vec![$(($name, Box::new(|$client: Client| Box::pin(async move { let _ = $call.await; }) as Calling) as Call)),*]
    };
}

fn event() -> NewEvent {
    NewEvent::new("model", json!({"q": 1}))
        .event_id("e")
        .session_id("s")
        .parent_id("p")
        .children_ids(["c"])
        .project_id("x")
        .event_name("ask")
        .source("test")
        .outputs(json!({}))
        .config(json!({}))
        .metadata(json!({}))
        .metrics(json!({}))
        .feedback(json!({}))
        .user_properties(json!({}))
        .error("no")
        .start_time(1.5)
        .end_time(2)
        .duration(1)
}

fn event_update() -> EventUpdate {
    EventUpdate::new()
        .outputs(json!({}))
        .config(json!({}))
        .metadata(json!({}))
        .metrics(json!({}))
        .feedback(json!({}))
        .user_properties(json!({}))
        .end_time(2)
        .duration(1)
        .children_ids(["c"])
}

fn session() -> NewSession {
    NewSession::new()
        .session_id("s")
        .session_name("chat")
        .event_name("chat")
        .source("test")
        .inputs(json!({}))
        .outputs(json!({}))
        .config(json!({}))
        .metadata(json!({}))
        .user_properties(json!({}))
        .start_time(1)
        .end_time(2)
        .duration(1)
        .children_ids(["c"])
}

fn range() -> DateRange {
    DateRange::between("2026-01-01T00:00:00Z", SystemTime::UNIX_EPOCH)
}

fn filter() -> Filter {
    Filter::field("metadata.user").eq("ada")
}

fn events_query() -> EventQuery {
    EventQuery::new()
        .filters([filter()])
        .date_range(range())
        .limit(10)
        .page(1)
        .ignore_order(true)
        .evaluation_id("r")
}

fn metric() -> NewMetric {
    NewMetric::new("polite", MetricType::Llm, "Is it?")
        .description("d")
        .return_type(ReturnType::Boolean)
        .enabled_in_prod(true)
        .needs_ground_truth(false)
        .sampling_percentage(5)
        .model_provider("openai")
        .model_name("gpt-4o")
        .scale(5)
        .threshold(json!({"min": 1}))
        .categories([json!({"category": "a", "score": 1})])
        .child_metrics([json!({"name": "a", "weight": 1})])
        .filters([filter()])
}

fn metric_update() -> MetricUpdate {
    MetricUpdate::new()
        .name("polite")
        .kind(MetricType::Python)
        .criteria("c")
        .description("d")
        .return_type("float")
        .enabled_in_prod(true)
        .needs_ground_truth(false)
        .sampling_percentage(5)
        .model_provider("openai")
        .model_name("gpt-4o")
        .scale(5)
        .threshold(json!({"min": 1}))
        .categories([json!({"category": "a", "score": 1})])
        .child_metrics([json!({"name": "a", "weight": 1})])
        .filters([filter()])
}

fn parameters() -> NewParameters {
    NewParameters::new("chat", "gpt-4o")
}

fn run_update() -> RunUpdate {
    RunUpdate::new()
        .name("n")
        .description("d")
        .status(RunStatus::Completed)
        .metadata(json!({}))
        .results(json!({}))
        .event_ids(["e"])
        .configuration(json!({}))
        .evaluators([json!("a")])
        .session_ids(["s"])
        .datapoint_ids(["d"])
        .passing_ranges(json!({}))
}

fn results() -> ResultQuery {
    ResultQuery::new()
        .aggregate(Aggregate::P95)
        .filters([filter()])
}

fn compared() -> CompareQuery {
    CompareQuery::new()
        .event_name("n")
        .event_type("model")
        .filter(filter())
        .limit(10)
        .page(1)
}

fn chart() -> NewChart {
    NewChart::new("n", "cost")
        .description("d")
        .func("sum")
        .group_by("model")
        .bucketing(Bucketing::Day)
        .date_range(&range())
        .query([json!({})])
        .owner_id("o")
}

fn chart_update() -> ChartUpdate {
    ChartUpdate::new()
        .name("n")
        .metric("cost")
        .description("d")
        .func("sum")
        .group_by("model")
        .bucketing("day")
        .relative("7d")
        .query([json!({})])
        .owner_id("o")
}

fn dataset_update() -> DatasetUpdate {
    DatasetUpdate::new()
        .name("n")
        .description("d")
        .datapoints(["x"])
}

fn mapping() -> Mapping {
    Mapping::new()
        .inputs(["q"])
        .history(["h"])
        .ground_truth(["a"])
}

fn properties() -> SessionProperties {
    SessionProperties::new()
        .session_name("n")
        .start_time(1)
        .user_properties(json!({}))
        .metadata(json!({}))
}

fn calls() -> Vec<(&'static str, Call)> {
    calls! {
        "sessions.start" => |c| c.sessions().start(session());
        "sessions.add_events" => |c| c.sessions().add_events("a/b", vec![event()]);
        "events.create" => |c| c.events().create(event());
        "events.get" => |c| c.events().get("id");
        "events.update" => |c| c.events().update("id", event_update());
        "events.delete" => |c| c.events().delete("id");
        "events.export" => |c| c.events().export(events_query().projections(["a"])).next();
        "events.search" => |c| c.events().search(events_query()).next();
        "events.create_batch" => |c| c.events().create_session_batch(properties(), vec![event()]);
        "datapoints.list" => |c| c.datapoints().list(DatapointQuery::new().ids(["a", "b"]).dataset_name("n"));
        "datapoints.create" => |c| c.datapoints().create(
            NewDatapoint::new().inputs(json!({})).history([json!({})]).ground_truth(json!({})).metadata(json!({}))
                .linked_event("e").linked_datasets(["d"]));
        "datapoints.create_from_events" => |c| c.datapoints().create_from_events(
            DatapointsFromEvents::new().events(["e"]).mapping(mapping()).filters([filter()]).dataset_id("d")
                .select_all(false).check_state(json!({})).date_range(&range()));
        "datapoints.get" => |c| c.datapoints().get("id");
        "datapoints.update" => |c| c.datapoints().update("id",
            DatapointUpdate::new().inputs(json!({})).history([json!({})]).ground_truth(json!({})).metadata(json!({}))
                .linked_event("e").linked_datasets(["d"]));
        "datapoints.delete" => |c| c.datapoints().delete("id");
        "datasets.list" => |c| c.datasets().list(DatasetQuery::new().id("i").name("n"));
        "datasets.create" => |c| c.datasets().create(NewDataset::new().name("n").description("d").datapoints(["x"]));
        "datasets.update" => |c| c.datasets().update("id", dataset_update());
        "datasets.delete" => |c| c.datasets().delete("id");
        "datasets.add_datapoints" => |c| c.datasets().add_datapoints("id", vec![Default::default()], mapping());
        "datasets.remove_datapoint" => |c| c.datasets().remove_datapoint("a", "b");
        "metrics.list" => |c| c.metrics().list(MetricQuery::new().kind(MetricType::Human).id("i"));
        "metrics.create" => |c| c.metrics().create(metric());
        "metrics.update" => |c| c.metrics().update("id", metric_update());
        "metrics.delete" => |c| c.metrics().delete("id");
        "metrics.versions" => |c| c.metrics().versions("id");
        "metrics.create_version" => |c| c.metrics().create_version("id", "why", metric(), true);
        "metrics.deploy_version" => |c| c.metrics().deploy_version("id", "v1");
        "metrics.run" => |c| c.metrics().run(metric(), MetricEvent::new().event_name("n"));
        "configurations.list" => |c| c.configurations().list(
            ConfigurationQuery::new().name("n").env(Environment::Prod).tags("a,b"));
        "configurations.create" => |c| c.configurations().create(
            NewConfiguration::new("n", "openai", parameters()).kind(ConfigurationType::Llm).env(["dev".into()])
                .tags(["t"]).user_properties(json!({})));
        "configurations.update" => |c| c.configurations().update("id",
            ConfigurationUpdate::new("n").kind("pipeline").provider("p").parameters(parameters())
                .env([Environment::Dev]).tags(["t"]).user_properties(json!({})));
        "configurations.delete" => |c| c.configurations().delete("id");
        "runs.create" => |c| c.runs().create(
            NewRun::new().run_id("r").name("n").description("d").status("running").metadata(json!({}))
                .results(json!({})).dataset_id("d").event_ids(["e"]).configuration(json!({})).evaluators([json!("a")])
                .session_ids(["s"]).datapoint_ids(["d"]).passing_ranges(json!({})));
        "runs.list" => |c| c.runs().list(
            RunQuery::new().dataset_id("d").run_ids(["r"]).name("n").status("failed").sort_by(SortBy::Name)
                .sort_order(SortOrder::Ascending).limit(10).page(1).date_range(&range())).next();
        "runs.schema" => |c| c.runs().schema(Some(&range()));
        "runs.get" => |c| c.runs().get("id");
        "runs.update" => |c| c.runs().update("id", run_update());
        "runs.delete" => |c| c.runs().delete("id");
        "runs.schema_of" => |c| c.runs().schema_of("id", Some(&range()));
        "runs.metrics" => |c| c.runs().metrics("id", vec![filter()], Some(&range()));
        "runs.summary" => |c| c.runs().summary("id", results());
        "runs.compare" => |c| c.runs().compare("a", "b", results());
        "runs.compare_events" => |c| c.runs().compare_events("a", "b", compared()).next();
        "charts.list" => |c| c.charts().list();
        "charts.create" => |c| c.charts().create(chart());
        "charts.get" => |c| c.charts().get("id");
        "charts.update" => |c| c.charts().update("id", chart_update());
        "charts.delete" => |c| c.charts().delete("id");
        "charts.in_project.list" => |c| c.charts().in_project("p").list();
        "charts.in_project.create" => |c| c.charts().in_project("p").create(chart());
        "charts.in_project.get" => |c| c.charts().in_project("p").get("id");
        "charts.in_project.update" => |c| c.charts().in_project("p").update("id", chart_update());
        "charts.in_project.delete" => |c| c.charts().in_project("p").delete("id");
        "queues.list" => |c| c.queues().list(Some(true));
        "queues.create" => |c| c.queues().create(
            NewQueue::new("n").description("d").enabled(true).event_ids(["e"]).filters([filter()]));
        "queues.get" => |c| c.queues().get("id");
        "queues.update" => |c| c.queues().update("id",
            QueueUpdate::new().name("n").description("d").enabled(true).add_event_ids(["e"]).remove_event_ids(["f"])
                .filters([filter()]));
        "queues.delete" => |c| c.queues().delete("id");
        "api_keys.create" => |c| c.api_keys().create("p",
            NewApiKey::new("n", ["read"], SystemTime::UNIX_EPOCH).description("d"));
        "api_keys.create_ingestion" => |c| c.api_keys().create_ingestion("p", NewIngestionKey::new("n").description("d"));
        "legacy.start_session" => |c| c.legacy().start_session(session());
        "legacy.create_event" => |c| c.legacy().create_event(event());
        "legacy.update_event" => |c| c.legacy().update_event("id", event_update());
        "legacy.create_event_batch" => |c| c.legacy().create_event_batch(vec![event()], Some(properties()));
        "legacy.update_dataset" => |c| c.legacy().update_dataset("id", dataset_update());
        "legacy.delete_dataset" => |c| c.legacy().delete_dataset("id");
        "legacy.remove_datapoint" => |c| c.legacy().remove_datapoint("a", "b");
        "legacy.update_metric" => |c| c.legacy().update_metric("id", metric_update());
        "legacy.delete_metric" => |c| c.legacy().delete_metric("id");
        "legacy.schema" => |c| c.legacy().schema(Some(&range()), Some("r"));
        "legacy.run_result" => |c| c.legacy().run_result("id", results());
        "legacy.compare_runs" => |c| c.legacy().compare_runs("a", "b", results());
        "legacy.compare_events" => |c| c.legacy().compare_events("a", "b", compared()).next();
    }
}

/// Each method is called once, with all fields it has setters for; what comes over the wire is compared with the
/// description.
#[tokio::test]
async fn every_method_calls_what_the_table_says() {
    let described = described();
    let recorder = Recorder::start();
    recorder.answer_by(|_| Some(Reply::status(200).body("{}")));
    let client = Client::builder()
        .server_url(&recorder.url)
        .max_retries(0)
        .build()
        .unwrap();
    let calls = calls();
    let named: Vec<_> = calls.iter().map(|(name, _)| *name).collect();
    let known: Vec<_> = OPERATIONS.iter().map(|operation| operation.call).collect();
    assert_eq!(
        named, known,
        "one call for each row of the table, in its order"
    );

    for ((name, call), operation) in calls.iter().zip(OPERATIONS) {
        let before = recorder.requests().len();
        call(client.clone()).await;
        let requests = recorder.requests();
        let [request] = &requests[before..] else {
            panic!("{name} made {} requests", requests.len() - before);
        };
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        assert_eq!(request.method, operation.method, "{name}");
        assert!(
            fits(operation.path, path),
            "{name}: {path} is not {}",
            operation.path
        );
        assert_eq!(request.header("accept"), Some("application/json"), "{name}");
        assert_eq!(request.header("hh-client-language"), Some("rust"), "{name}");
        assert_eq!(request.header("authorization"), None, "{name}");

        let it = described
            .iter()
            .find(|it| (it.id.as_str(), it.path.as_str()) == (operation.id, operation.path));
        let Some(it) = it else { continue };
        compare(name, &it.id, "body", &it.body, &body_fields(request));
        compare(name, &it.id, "query", &it.query, &query_fields(query));
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(expected, found)| {
            if expected.starts_with('{') {
                !found.is_empty()
            } else {
                expected == found
            }
        })
}

fn body_fields(request: &Request) -> BTreeSet<String> {
    if request.body.is_empty() {
        return BTreeSet::new();
    }
    assert_eq!(request.header("content-type"), Some("application/json"));
    let Value::Object(fields) = request.json() else {
        panic!("the body is no object")
    };
    fields.into_iter().map(|(name, _)| name).collect()
}

fn query_fields(query: &str) -> BTreeSet<String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            name.trim_end_matches("%5B%5D").to_owned()
        })
        .collect()
}

fn compare(
    call: &str,
    id: &str,
    place: &str,
    described: &BTreeMap<String, bool>,
    sent: &BTreeSet<String>,
) {
    let known: BTreeSet<String> = described.keys().cloned().collect();
    let unknown: Vec<_> = sent.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "{call} sends in its {place} what {id} does not know: {unknown:?}"
    );
    let missing: Vec<_> = known
        .difference(sent)
        .filter(|field| !LEFT_OUT.contains(&(id, field)))
        .collect();
    assert!(
        missing.is_empty(),
        "{call} cannot send in its {place} what {id} knows: {missing:?}"
    );
}

#[tokio::test]
async fn lists_and_objects_in_queries() {
    let recorder = Recorder::start();
    recorder.answer_by(|_| Some(Reply::status(200).body("{}")));
    let client = Client::builder()
        .server_url(&recorder.url)
        .max_retries(0)
        .build()
        .unwrap();
    let query = DatapointQuery::new().ids(["a b", "c&d"]);
    let _ = client.datapoints().list(query).await;
    let _ = client.runs().summary("a/../b?c", results()).await;
    let paths: Vec<_> = recorder
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(
        paths[0],
        "/v1/datapoints?datapoint_ids%5B%5D=a+b&datapoint_ids%5B%5D=c%26d"
    );
    let (path, query) = paths[1].split_once('?').unwrap();
    assert_eq!(path, "/v1/runs/a%2F..%2Fb%3Fc/summary");
    assert!(
        query.contains("aggregate_function=p95&filters=%5B%7B%22field%22"),
        "{query}"
    );
}
