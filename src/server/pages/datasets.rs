//! Datasets, and the datapoints of one.

use super::format::{Shown, ago, clip, count, encoded, moment, name, plural};
use super::list::copyable;
use super::run::line;
use super::runs::{status, title};
use super::view::Asked;
use super::{nothing, page, top, turning};
use crate::server::App;
use crate::server::http::Problem;
use crate::server::store::datasets::Datapoint;
use crate::server::store::runs::{Run, RunQuery};
use crate::server::store::{DatasetRow, now_ms};
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Datasets on a page.
const PAGE: u64 = 60;
/// Datapoints on a page.
const POINTS: u64 = 25;
/// Characters of a value, and values of a group, that a page shows.
const LONG: usize = 240;
const VALUES: usize = 6;
/// Runs of a dataset.
const RUNS: u64 = 12;

/// `/datasets`
pub(in crate::server) async fn datasets(
    State(app): State<Arc<App>>,
    asked: Asked,
) -> Result<Response, Problem> {
    let number = asked.number("page")?;
    let text = asked.owned("q");
    let found = app.ask(move |reader| {
        let offset = (number - 1).saturating_mul(PAGE);
        let (rows, more) = reader.dataset_rows(text.as_deref(), offset, PAGE)?;
        Ok((rows, more, reader.dataset_count()?))
    });
    let (rows, more, total) = found.await?;
    let head = top("/datasets", total, "dataset", false);
    let main = html! {
        main.list {
            @if total == 0 {
                (empty(&app.url))
            } @else {
                form.filters method="get" role="search" {
                    input #search type="search" name="q" value=[asked.text("q")] placeholder="search name, description …"
                        aria-label="search datasets" autocomplete="off" spellcheck="false";
                    kbd.js { "/" }
                    button type="submit" { "filter" }
                    @if asked.text("q").is_some() { a href="?" { "clear" } }
                }
                (table(&rows, now_ms()))
                @if rows.is_empty() { p.note { "No dataset fits. " a href="?" { "Show all" } } }
                @let turn = |number: u64| asked.with(&[("page", Some(&number.to_string()))]);
                @let before = (number > 1).then(|| turn(number - 1));
                @let after = more.then(|| turn(number + 1));
                (turning(before.as_deref(), after.as_deref(), ["newer", "older"]))
            }
        }
    };
    Ok(page("datasets", "", &head, &main))
}

fn table(rows: &[DatasetRow], now: f64) -> Markup {
    html! {
        table.grid {
            thead { tr {
                th scope="col" { "dataset" }
                th scope="col" { "description" }
                th.num scope="col" { "datapoints" }
                th.num scope="col" { "runs" }
                th scope="col" { "created" }
                th scope="col" { "changed" }
            } }
            tbody #rows {
                @for row in rows {
                    tr {
                        td.name { a href={ "/datasets/" (encoded(&row.dataset_id)) } { (name(&row.name)) } }
                        td.wrap { @if let Some(said) = &row.description { (Shown(clip(said, 160).0)) } }
                        td.num data-l="datapoints" { (count(row.datapoints)) }
                        td.num data-l="runs" { (count(row.runs)) }
                        td.when { (ago(row.created, now)) }
                        td.when { @if let Some(updated) = row.updated { (ago(updated, now)) } }
                    }
                }
            }
        }
    }
}

/// `/datasets/{id}`
pub(in crate::server) async fn dataset(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let number = asked.number("page")?;
    let wanted = id.clone();
    let found = app.ask(move |reader| {
        let Some(row) = reader.dataset_row(&wanted)? else {
            return Ok(None);
        };
        let offset = (number - 1).saturating_mul(POINTS);
        let points = reader.datapoints_of(&wanted, offset, POINTS)?;
        let query = RunQuery {
            dataset_id: Some(wanted),
            limit: RUNS,
            ..RunQuery::default()
        };
        Ok(Some((row, points, reader.runs(&query)?)))
    });
    let Some((row, points, runs)) = found.await? else {
        return Ok(nothing("dataset", &id, "datasets"));
    };
    let address = encoded(&row.dataset_id);
    let head = html! {
        header.top {
            a.back href="/datasets" { "‹ datasets" }
            h1 { (name(&row.name)) }
            div.facts {
                span.fact { (moment(row.created)) }
                span.fact { (plural(row.datapoints, "datapoint")) }
                span.fact { (plural(row.runs, "run")) }
            }
            nav.acts { a href={ "/v1/datasets?dataset_id=" (address) } { "json" } }
        }
    };
    let main = html! {
        main.list.results {
            @if let Some(said) = row.description.as_deref().filter(|said| !said.trim().is_empty()) {
                p.note.about { (Shown(clip(said, 600).0)) }
            }
            @if !runs.runs.is_empty() { (used(&runs.runs, runs.total, &address)) }
            @if row.datapoints == 0 {
                section.empty {
                    h2 { "No datapoint yet" }
                    p { "This one adds a datapoint:" }
                    (copyable("shell", &adding(&app.url, &address)))
                }
            } @else {
                (datapoints(&points, (number - 1).saturating_mul(POINTS)))
                @let turn = |number: u64| asked.with(&[("page", Some(&number.to_string()))]);
                @let before = (number > 1).then(|| turn(number - 1));
                @let after = (number.saturating_mul(POINTS) < row.datapoints).then(|| turn(number + 1));
                (turning(before.as_deref(), after.as_deref(), ["before", "more datapoints"]))
            }
        }
    };
    Ok(page(&row.name, "", &head, &main))
}

/// The runs over a dataset; two of them that follow each other can be compared.
fn used(runs: &[Run], total: u64, address: &str) -> Markup {
    html! {
        section.used {
            h2 { "Runs" }
            ul {
                @for (index, run) in runs.iter().enumerate() {
                    li {
                        a href={ "/runs/" (encoded(&run.run_id)) } { (title(run)) }
                        " " (status(run)) " " small { (moment(run.created)) }
                        @if let Some(older) = runs.get(index + 1) {
                            " " a.soft href={ "/compare/" (encoded(&run.run_id)) "/" (encoded(&older.run_id)) } { "compare with " (title(older)) }
                        }
                    }
                }
            }
            @if total > RUNS { a.more href={ "/runs?dataset=" (address) } { "all " (count(total)) } }
        }
    }
}

fn datapoints(points: &[Datapoint], before: u64) -> Markup {
    html! {
        table.grid.points {
            thead { tr {
                th.num scope="col" { "#" }
                th scope="col" { "inputs" }
                th scope="col" { "ground truth" }
                th scope="col" { "from" }
                th scope="col" { "" }
            } }
            tbody #rows {
                @for (number, point) in (before + 1..).zip(points) {
                    tr data-datapoint=(point.datapoint_id) {
                        td.num { (count(number)) }
                        td.wrap data-l="inputs" {
                            (values(&point.inputs))
                            @if !point.history.is_empty() { small { "and " (plural(u64::try_from(point.history.len()).unwrap_or(u64::MAX), "message")) " before" } }
                        }
                        td.wrap data-l="ground truth" { @if let Some(truth) = &point.ground_truth { (values(truth)) } @else { span.nil { "–" } } }
                        td.when { @if let Some(event) = &point.linked_event { a href={ "/events?q=" (encoded(clip(event, 200).0)) } { "event" } } }
                        td.when { a href={ "/v1/datapoints/" (encoded(&point.datapoint_id)) } { "json" } }
                    }
                }
            }
        }
    }
}

/// A few of the values of a group, each in a line.
fn values(map: &Map<String, Value>) -> Markup {
    html! {
        dl.brief {
            @for (key, value) in map.iter().take(VALUES) {
                div {
                    dt { (Shown(clip(key, 40).0)) }
                    dd {
                        @let text = match value {
                            Value::String(text) => text.clone(),
                            Value::Object(inner) => line(inner),
                            other => other.to_string(),
                        };
                        @let (start, cut) = clip(&text, LONG);
                        bdi { (Shown(start)) @if cut.is_some() { "…" } }
                    }
                }
            }
        }
        @if map.is_empty() { span.nil { "{}" } }
        @if map.len() > VALUES { small { "+" (map.len() - VALUES) } }
    }
}

fn adding(url: &str, id: &str) -> String {
    format!(
        "curl {url}/v1/datasets/{id}/datapoints -H 'Content-Type: application/json' -d '\n  \
        {{\"mapping\": {{\"inputs\": [\"question\"], \"ground_truth\": [\"answer\"]}},\n   \
        \"data\": [{{\"question\": \"2 + 2\", \"answer\": \"4\"}}]}}'"
    )
}

/// What makes the first dataset appear.
fn empty(url: &str) -> Markup {
    let make = format!(
        "curl {url}/v1/datasets -H 'Content-Type: application/json' -d '{{\"name\": \"questions\"}}'"
    );
    html! {
        section.empty {
            h2 { "No dataset yet" }
            p { "A dataset is a list of inputs, with what a program should make of them. This makes one, and answers with its id:" }
            (copyable("shell", &make))
            p { "And this adds a datapoint to it:" }
            (copyable("shell", &adding(url, "ID")))
        }
    }
}
