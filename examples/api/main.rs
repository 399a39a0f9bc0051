//! The REST client against a local server in this process: a dataset, two runs over it, and what became better.
//!
//! `cargo run --example api --features api,server`, with `-- --serve` to look at it in a browser.

use honeyhive::api::{
    Client, DatapointQuery, Filter, Mapping, NewDataset, NewEvent, NewRun, NewSession, ResultQuery,
    Rows, RunStatus, RunUpdate,
};
use honeyhive::server::Server;
use serde_json::json;

const QUESTIONS: &str = "\
question,answer
What is six times seven?,42
What is two and two?,4
What is ten less one?,9
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().port(0).start()?;
    let client = Client::builder().server_url(server.url()).build()?;

    let dataset = client
        .datasets()
        .create(NewDataset::new().name("sums"))
        .await?;
    let mapping = Mapping::new().inputs(["question"]).ground_truth(["answer"]);
    let rows = Rows::csv(QUESTIONS.as_bytes())?;
    let imported = client.datasets().import(&dataset, rows, mapping).await;
    if let Some((rows, error)) = imported.failed {
        return Err(format!("rows {rows:?}: {error}").into());
    }
    println!("dataset {dataset}: {} datapoints", imported.rows);

    let old = run(&client, &dataset, "guess", |_| "4".to_owned()).await?;
    let new = run(&client, &dataset, "compute", compute).await?;
    for (name, id) in [("guess", &old), ("compute", &new)] {
        let summary = client.runs().summary(id, ResultQuery::new()).await?;
        for metric in summary.metrics.details.unwrap_or_default() {
            println!(
                "{name:8} {} {:.2}",
                metric.metric_name,
                metric.aggregate.unwrap_or_default()
            );
        }
    }
    let comparison = client
        .runs()
        .compare(&new, &old, ResultQuery::new())
        .await?;
    for metric in comparison.metrics {
        println!(
            "{}: {} better, {} worse, {} the same",
            metric.metric_name,
            metric.improved_count.unwrap_or_default(),
            metric.degraded_count.unwrap_or_default(),
            metric.same_count.unwrap_or_default(),
        );
    }

    let mut wrong = client
        .events()
        .search(honeyhive::api::EventQuery::new().filters([Filter::field("metrics.exact").lt(1)]));
    while let Some(event) = wrong.next().await {
        let event = event?;
        println!(
            "wrong: {} {}",
            event.inputs["question"], event.outputs["answer"]
        );
    }
    if std::env::args().any(|argument| argument == "--serve") {
        println!("look at {}, Ctrl-C ends it", server.url());
        tokio::signal::ctrl_c().await?;
    }
    Ok(())
}

/// A run over the dataset: a session for each datapoint, with an answer that is scored.
async fn run(
    client: &Client,
    dataset: &str,
    name: &str,
    answer: impl Fn(&str) -> String,
) -> Result<String, honeyhive::Error> {
    let new = NewRun::new()
        .name(name)
        .dataset_id(dataset)
        .status(RunStatus::Running);
    let run = client.runs().create(new).await?.run_id;
    let ids = client.datasets().get(dataset).await?.datapoints;
    let mut sessions = Vec::new();
    for datapoint in client
        .datapoints()
        .list(DatapointQuery::new().ids(ids))
        .await?
    {
        let metadata = json!({"run_id": run, "dataset_id": dataset, "datapoint_id": datapoint.id});
        let session = NewSession::new()
            .session_name(name)
            .inputs(datapoint.inputs.clone())
            .metadata(metadata);
        let session = client.sessions().start(session).await?;
        let said = answer(datapoint.inputs["question"].as_str().unwrap_or_default());
        let exact = datapoint.ground_truth["answer"] == said.as_str();
        let event = NewEvent::new("model", datapoint.inputs)
            .event_name("answer")
            .session_id(session.id())
            .outputs(json!({"answer": said}))
            .metrics(json!({"exact": f64::from(u8::from(exact))}));
        client.events().create(event).await?;
        sessions.push(session.id().to_owned());
    }
    let done = RunUpdate::new()
        .status(RunStatus::Completed)
        .event_ids(sessions);
    client.runs().update(&run, done).await?;
    Ok(run)
}

fn compute(question: &str) -> String {
    let number = |word: &str| match word {
        "one" => Some(1),
        "two" => Some(2),
        "six" => Some(6),
        "seven" => Some(7),
        "ten" => Some(10),
        _ => None,
    };
    let numbers: Vec<i32> = question.split([' ', '?']).filter_map(number).collect();
    let (first, second) = (numbers[0], numbers[1]);
    let result = match question {
        question if question.contains("times") => first * second,
        question if question.contains("less") => first - second,
        _ => first + second,
    };
    result.to_string()
}
