//! The list of experiment runs.

use super::format::{ago, clip, count, encoded, measure, name};
use super::list::copyable;
use super::view::Asked;
use super::{page, top, turning};
use crate::server::App;
use crate::server::http::Problem;
use crate::server::store::now_ms;
use crate::server::store::runs::{Run, RunQuery};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs on a page.
const PAGE: u64 = 25;
/// Sessions of one run, and values of all runs together, that a page sums up; of runs beyond, their own page tells more.
const SUMMED: usize = 2_000;
const VALUES: usize = 8_000;
/// Metrics of one run in the list.
const METRICS: usize = 4;

const STATUSES: [&str; 5] = ["pending", "running", "completed", "failed", "cancelled"];

/// One run with what it came to, as far as that was asked.
struct Row {
    run: Run,
    sessions: u64,
    passed: Option<(usize, usize)>,
    /// The average of each metric.
    metrics: Vec<(String, f64)>,
}

/// `/runs`
pub(in crate::server) async fn runs(
    State(app): State<Arc<App>>,
    asked: Asked,
) -> Result<Response, Problem> {
    let number = asked.number("page")?;
    let query = RunQuery {
        dataset_id: asked.owned("dataset"),
        text: asked.owned("q"),
        status: asked.choice("status", &STATUSES)?.map(str::to_owned),
        offset: (number - 1).saturating_mul(PAGE),
        limit: PAGE,
        ..RunQuery::default()
    };
    let found = app.ask(move |reader| {
        let found = reader.runs(&query)?;
        let mut left = VALUES;
        let mut rows = Vec::with_capacity(found.runs.len());
        for run in found.runs {
            let (sessions, summary) = reader.run_overview(&run, left.min(SUMMED))?;
            let mut row = Row {
                run,
                sessions: u64::try_from(sessions).unwrap_or(u64::MAX),
                passed: None,
                metrics: Vec::new(),
            };
            if let Some(summary) = summary {
                row.passed = Some((summary.passed.len(), summary.failed.len()));
                let measured: usize = summary.metrics.iter().map(|of| of.values.len()).sum();
                left = left.saturating_sub(measured.max(sessions));
                let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
                for detail in summary.metrics {
                    values
                        .entry(detail.metric_name)
                        .or_default()
                        .extend(detail.values);
                }
                let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
                let means = values
                    .into_iter()
                    .map(|(name, values)| (name, mean(values)));
                row.metrics = means.collect();
            }
            rows.push(row);
        }
        Ok((rows, found.total, found.unfiltered))
    });
    let (rows, total, all) = found.await?;
    let head = top("/runs", all, "run", all == 0 || number == 1);
    let main = html! {
        main.list {
            @if all == 0 {
                (empty(&app.url))
            } @else {
                (filters(&asked))
                (table(&rows, now_ms()))
                @if rows.is_empty() { p.note { "No run fits. " a href="?" { "Show all" } } }
                @let turn = |number: u64| asked.with(&[("page", Some(&number.to_string()))]);
                @let before = (number > 1).then(|| turn(number - 1));
                @let after = (number.saturating_mul(PAGE) < total).then(|| turn(number + 1));
                (turning(before.as_deref(), after.as_deref(), ["newer", "older"]))
            }
        }
    };
    let live = if number == 1 { "/live" } else { "" };
    Ok(page("runs", live, &head, &main))
}

fn filters(asked: &Asked) -> Markup {
    let status = asked.text("status");
    html! {
        form.filters method="get" role="search" {
            input #search type="search" name="q" value=[asked.text("q")] placeholder="search name, description, id …"
                aria-label="search runs" autocomplete="off" spellcheck="false";
            kbd.js { "/" }
            select name="status" aria-label="status" {
                option value="" { "any status" }
                @for known in STATUSES { option value=(known) selected[status == Some(known)] { (known) } }
            }
            @if let Some(dataset) = asked.text("dataset") {
                input type="hidden" name="dataset" value=(dataset);
                span.chip { "dataset " code { (name(clip(dataset, 40).0)) } a href=(asked.with(&[("dataset", None)])) aria-label="any dataset" { "×" } }
            }
            button type="submit" { "filter" }
            @if ["q", "status", "dataset"].iter().any(|name| asked.text(name).is_some()) { a href="?" { "clear" } }
        }
    }
}

/// A status as a dot and a word.
pub(super) fn status(run: &Run) -> Markup {
    let dot = match run.status.as_str() {
        "running" => "run",
        "failed" => "bad",
        "completed" => "ok",
        _ => "wait",
    };
    html! { span.status { i class={ "dot " (dot) } {} (name(&run.status)) } }
}

pub(super) fn title(run: &Run) -> Markup {
    match run.name.as_deref().filter(|name| !name.trim().is_empty()) {
        Some(own) => name(own),
        None => html! { code { (name(clip(&run.run_id, 40).0)) } },
    }
}

/// The dataset of a run, which may be one that is not kept here.
pub(super) fn dataset(run: &Run) -> Option<Markup> {
    let of_client = run
        .metadata
        .get("offline_dataset_id")
        .and_then(|id| id.as_str());
    let id = run.dataset_id.as_deref().or(of_client)?;
    Some(match &run.dataset_name {
        Some(own) => html! { a href={ "/datasets/" (encoded(id)) } { (name(own)) } },
        None => html! { code title="not kept here" { (name(clip(id, 24).0)) } },
    })
}

fn table(rows: &[Row], now: f64) -> Markup {
    html! {
        button #fresh.js type="button" hidden {}
        table.grid {
            thead { tr {
                th scope="col" { "run" }
                th scope="col" { "status" }
                th scope="col" { "dataset" }
                th.num scope="col" { "datapoints" }
                th.num scope="col" { "passed" }
                th.num scope="col" { "failed" }
                th scope="col" { "metrics, on average" }
                th scope="col" { "started" }
            } }
            tbody #rows {
                @for row in rows {
                    tr data-id=(row.run.run_id) {
                        td.name {
                            a href={ "/runs/" (encoded(&row.run.run_id)) } { (title(&row.run)) }
                        }
                        td { (status(&row.run)) }
                        td.over { @if let Some(dataset) = dataset(&row.run) { (dataset) } }
                        td.num data-l="datapoints" { (count(row.sessions)) }
                        @match row.passed {
                            Some((passed, failed)) => {
                                td.num data-l="passed" { (passed) }
                                td.num.down[failed > 0] data-l="failed" { (failed) }
                            }
                            None => { td.num.nil data-l="passed" { "…" } td.num.nil data-l="failed" { "…" } }
                        }
                        td.wrap {
                            @for (metric, mean) in row.metrics.iter().take(METRICS) {
                                span.pair { (name(clip(metric, 40).0)) " " b { (measure(*mean)) } }
                            }
                            @let more = row.metrics.len().saturating_sub(METRICS);
                            @if more > 0 { small { "+" (more) } }
                        }
                        td.when { (ago(row.run.created, now)) }
                    }
                }
            }
        }
    }
}

/// What makes the first run appear.
fn empty(url: &str) -> Markup {
    let python = format!(
        "from honeyhive.experiments import evaluate\n\n\
        def answer(datapoint):\n    \
            return {{\"number\": len(datapoint[\"inputs\"][\"word\"])}}\n\n\
        def exact(outputs, inputs, ground_truth):\n    \
            return float(outputs[\"number\"] == ground_truth[\"number\"])\n\n\
        evaluate(\n    \
            answer, name=\"first run\", evaluators=[exact], api_key=\"local\", server_url=\"{url}\",\n    \
            dataset=[{{\"inputs\": {{\"word\": \"honey\"}}, \"ground_truth\": {{\"number\": 5}}}}],\n)"
    );
    let shell = format!(
        "curl {url}/v1/runs -H 'Content-Type: application/json' -d '{{\"name\": \"first run\"}}'\n\
        export HH_API_URL={url} HH_RUN_ID=...   # the id that it answers"
    );
    html! {
        section.empty {
            h2 { "No run yet" }
            p { "A run is a program tried on many inputs, its answers scored. The official Python client makes one:" }
            (copyable("python", &python))
            p { "Or make one here, and let the sessions of a program name it:" }
            (copyable("shell", &shell))
        }
    }
}
