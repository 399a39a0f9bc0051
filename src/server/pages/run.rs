//! One experiment run: its metrics with their distributions, then its datapoints against them.

use super::format::{Shown, clip, count, encoded, measure, moment, name, plural};
use super::runs::{dataset, status, title};
use super::view::Asked;
use super::{nothing, page, turning};
use crate::server::App;
use crate::server::http::Problem;
use crate::server::runs::{Aggregate, DatapointMetric, DatapointResult, Detail, Summary};
use crate::server::store::Fault;
use crate::server::store::runs::{Run, RunQuery, RunResult};
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Datapoints on a page, and metrics beside them.
pub(super) const PAGE: usize = 25;
pub(super) const COLUMNS: usize = 8;
/// Other runs to compare with.
const OTHERS: u64 = 6;

/// What a page of a run is made of.
struct Content {
    result: RunResult,
    inputs: HashMap<String, String>,
    others: Vec<Run>,
    /// Places of the datapoints of this page.
    rows: Vec<usize>,
    total: usize,
}

pub(super) fn aggregate(asked: &Asked) -> Result<Aggregate, Problem> {
    let name = asked.choice("fn", &Aggregate::NAMES)?;
    Ok(name.and_then(Aggregate::named).unwrap_or_default())
}

/// A metric in an address.
pub(super) fn key(metric: &str, event_name: &str, event_type: &str) -> String {
    clip(&format!("{metric}@{event_name}@{event_type}"), 290)
        .0
        .to_owned()
}

pub(super) fn places(number: u64) -> usize {
    let pages = usize::try_from(number - 1).unwrap_or(usize::MAX);
    pages.saturating_mul(PAGE)
}

/// `/runs/{id}`
pub(in crate::server) async fn run(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let aggregate = aggregate(&asked)?;
    let first = places(asked.number("page")?);
    let columns = asked.number("col")?;
    let show = asked
        .choice("show", &["failed", "passed"])?
        .map(str::to_owned);
    let (wanted, up) = (asked.owned("sort"), asked.text("up").is_some());
    let asked_id = id.clone();
    let found = app.ask(move |reader| {
        let result = match reader.run_page(&asked_id, aggregate) {
            Err(Fault::Missing(_)) => return Ok(None),
            other => other?,
        };
        let summary = &result.summary;
        let mut rows: Vec<usize> = (0..summary.datapoints.len()).collect();
        if let Some(show) = show {
            let wanted = show == "passed";
            rows.retain(|place| {
                let row = summary.datapoints.get(*place);
                row.is_some_and(|row| row.passed == wanted)
            });
        }
        let by = summary.metrics.iter().find(|detail| {
            let own = key(&detail.metric_name, &detail.event_name, &detail.event_type);
            wanted.as_ref() == Some(&own)
        });
        if let Some(by) = by {
            let value = |place: &usize| {
                let row = summary.datapoints.get(*place)?;
                of(row, by).map(|cell| cell.value)
            };
            let mut valued: Vec<(usize, Option<f64>)> =
                rows.iter().map(|place| (*place, value(place))).collect();
            // What has no value comes last either way.
            valued.sort_by(|(_, one), (_, other)| match (one, other) {
                (Some(one), Some(other)) if up => one.total_cmp(other),
                (Some(one), Some(other)) => other.total_cmp(one),
                (one, other) => other.is_some().cmp(&one.is_some()),
            });
            rows = valued.into_iter().map(|(place, _)| place).collect();
        }
        let total = rows.len();
        let rows: Vec<usize> = rows.into_iter().skip(first).take(PAGE).collect();
        let sessions = rows
            .iter()
            .filter_map(|place| summary.datapoints.get(*place));
        let sessions: Vec<&str> = sessions.map(|row| row.session_id.as_str()).collect();
        let inputs = reader.inputs_of(&sessions)?;
        let of_client = result
            .run
            .metadata
            .get("offline_dataset_id")
            .and_then(Value::as_str);
        let query = RunQuery {
            dataset_id: result
                .run
                .dataset_id
                .clone()
                .or(of_client.map(str::to_owned)),
            limit: OTHERS + 1,
            ..RunQuery::default()
        };
        let mut others = reader.runs(&query)?.runs;
        others.retain(|other| other.run_id != result.run.run_id);
        Ok(Some(Content {
            inputs,
            others,
            rows,
            total,
            result,
        }))
    });
    match found.await? {
        None => Ok(nothing("run", &id, "runs")),
        Some(content) => Ok(render(&content, &asked, aggregate, columns)),
    }
}

fn render(content: &Content, asked: &Asked, aggregate: Aggregate, columns: u64) -> Response {
    let RunResult { run, summary, .. } = &content.result;
    let address = encoded(&run.run_id);
    let all = summary.datapoints.len();
    let number = |n: usize| count(u64::try_from(n).unwrap_or(u64::MAX));
    let head = html! {
        header.top {
            a.back href="/runs" { "‹ runs" }
            h1 { (title(run)) }
            div.facts {
                span.fact { (status(run)) }
                span.fact { (moment(run.created)) }
                @if let Some(dataset) = dataset(run) { span.fact { "dataset " (dataset) } }
                span.fact { (plural(u64::try_from(all).unwrap_or(u64::MAX), "datapoint")) }
            }
            nav.acts {
                a href={ "/events?" "filter=metadata.run_id:is:" (address) } { "events" }
                a href={ "/v1/runs/" (address) "/summary?aggregate_function=" (aggregate.name()) } { "json" }
            }
        }
    };
    let filtered = asked.text("show");
    let main = html! {
        main.list.results {
            @if let Some(said) = run.description.as_deref().filter(|said| !said.trim().is_empty()) {
                p.note.about { (Shown(clip(said, 600).0)) }
            }
            @if !content.others.is_empty() {
                nav.choices aria-label="compare" {
                    span { "compare with" }
                    @for other in &content.others {
                        a href={ "/compare/" (address) "/" (encoded(&other.run_id)) } title=(super::format::exact(other.created)) { (title(other)) }
                    }
                }
            }
            @if all == 0 {
                section.empty {
                    h2 { "No datapoint yet" }
                    p { "Sessions belong to a run where their metadata names it, or the run names them." }
                    (super::list::copyable("shell", &format!("export HH_RUN_ID={}", run.run_id)))
                }
            } @else {
                @if !summary.metrics.is_empty() { (aggregates(aggregate, asked)) }
                (cards(in_sight(&summary.metrics, columns), aggregate))
                @if summary.metrics.len() > COLUMNS { (more_columns(asked, summary.metrics.len(), columns)) }
                nav.choices aria-label="datapoints" {
                    a href=(asked.with(&[("show", None)])) aria-current=[filtered.is_none().then_some("true")] { "all " (number(all)) }
                    @let passed = summary.datapoints.iter().filter(|row| row.passed).count();
                    a href=(asked.with(&[("show", Some("passed"))])) aria-current=[(filtered == Some("passed")).then_some("true")] { "passed " (number(passed)) }
                    a.down[passed < all] href=(asked.with(&[("show", Some("failed"))])) aria-current=[(filtered == Some("failed")).then_some("true")] { "failed " (number(all - passed)) }
                }
                (datapoints(content, asked, columns))
                @let first = places(asked.number("page").unwrap_or(1));
                @let turn = |first: usize| asked.with(&[("page", Some(&(first / PAGE + 1).to_string()))]);
                @let before = (first > 0).then(|| turn(first.saturating_sub(PAGE)));
                @let after = (first + PAGE < content.total).then(|| turn(first + PAGE));
                (turning(before.as_deref(), after.as_deref(), ["before", "more datapoints"]))
            }
        }
    };
    let title = run.name.as_deref().unwrap_or("run");
    page(title, "", &head, &main)
}

/// Links to the same page under each aggregate.
pub(super) fn aggregates(current: Aggregate, asked: &Asked) -> Markup {
    html! {
        nav.choices aria-label="aggregate" {
            @for known in Aggregate::NAMES {
                a href=(asked.with(&[("fn", Some(known))])) aria-current=[(known == current.name()).then_some("true")] { (known) }
            }
        }
    }
}

/// A metric's name, and whose it is.
pub(super) fn metric(metric: &str, event_name: &str, event_type: &str) -> Markup {
    html! {
        b { (name(clip(metric, 80).0)) }
        @if event_type != "session" { " " small { (name(clip(event_name, 60).0)) } }
    }
}

/// The metrics of a page, above and beside the datapoints.
pub(super) fn in_sight<T>(metrics: &[T], columns: u64) -> &[T] {
    let pages = usize::try_from(columns - 1).unwrap_or(usize::MAX);
    let rest = metrics
        .get(pages.saturating_mul(COLUMNS)..)
        .unwrap_or_default();
    rest.get(..COLUMNS).unwrap_or(rest)
}

fn cards(metrics: &[Detail], aggregate: Aggregate) -> Markup {
    html! {
        div.cards {
            @for detail in metrics {
                section.card {
                    h2 { (metric(&detail.metric_name, &detail.event_name, &detail.event_type)) }
                    p.big { @if let Some(value) = detail.aggregate { (measure(value)) } @else { "–" } " " small { (aggregate.name()) } }
                    (distribution(&detail.values))
                    p.note {
                        (plural(u64::try_from(detail.values.len()).unwrap_or(u64::MAX), "value"))
                        @let (passed, failed) = (detail.datapoints.passed.len(), detail.datapoints.failed.len());
                        @if passed + failed > 0 {
                            " · " (passed) " passed · "
                            span.down[failed > 0] { (failed) " failed" }
                        }
                        @if let Some(range) = &detail.passing_range {
                            @match (range.min, range.max) {
                                (Some(min), Some(max)) => { " · passes from " (measure(min)) " to " (measure(max)) }
                                (Some(min), None) => { " · passes from " (measure(min)) }
                                (None, Some(max)) => { " · passes up to " (measure(max)) }
                                (None, None) => {}
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Bars of a distribution at most.
const BARS: usize = 16;

/// How many values lie where: one bar for each value where they are few, otherwise for each of equal parts.
fn distribution(values: &[f64]) -> Markup {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first().copied(), sorted.last().copied()) else {
        return html! {};
    };
    let bars: Vec<(f64, f64, usize)> = {
        let each: Vec<_> = sorted.chunk_by(|one, other| one == other).collect();
        if each.len() <= BARS {
            let one = |same: &&[f64]| same.first().map(|value| (*value, *value, same.len()));
            each.iter().filter_map(one).collect()
        } else {
            let width = (most - least) / BARS as f64;
            let mut counts = [0_usize; BARS];
            for value in &sorted {
                let place = ((value - least) / width) as usize;
                if let Some(count) = counts.get_mut(place.min(BARS - 1)) {
                    *count += 1;
                }
            }
            let ends = counts.into_iter().enumerate().map(|(index, count)| {
                let low = least + width * index as f64;
                (low, low + width, count)
            });
            ends.collect()
        }
    };
    let tallest = bars.iter().map(|(_, _, count)| *count).max().unwrap_or(1);
    let step = 160.0 / bars.len() as f64;
    let label = format!("from {} to {}", measure(least), measure(most));
    html! {
        svg.dist viewBox="0 0 160 32" preserveAspectRatio="none" role="img" aria-label=(label) {
            @for (index, (low, high, count)) in bars.iter().enumerate() {
                @let height = *count as f64 / tallest as f64 * 30.0;
                @let height = if *count > 0 { height.max(1.0) } else { 0.0 };
                @let width = (step - 2.0).clamp(1.0, 78.0);
                rect x=(tenths(index as f64 * step + (step - width) / 2.0)) y=(tenths(31.0 - height)) width=(tenths(width)) height=(tenths(height)) {
                    title { @if low == high { (measure(*low)) } @else { (measure(*low)) " to " (measure(*high)) } ": " (count) }
                }
            }
            line x1="0" y1="31.5" x2="160" y2="31.5" {}
        }
        p.ends aria-hidden="true" { span { (measure(least)) } @if most > least { span { (measure(most)) } } }
    }
}

fn tenths(number: f64) -> String {
    format!("{number:.1}")
}

/// What one datapoint has of a metric.
struct Cell {
    /// Their mean, where it has several.
    value: f64,
    count: usize,
    flag: Option<bool>,
    failed: bool,
}

fn of(row: &DatapointResult, detail: &Detail) -> Option<Cell> {
    let own = |metric: &&DatapointMetric| {
        metric.name == detail.metric_name
            && metric.event_name == detail.event_name
            && metric.event_type == detail.event_type
    };
    let number = |value: &Value| match value {
        Value::Bool(flag) => Some(f64::from(*flag)),
        other => other.as_f64(),
    };
    let mut cell = Cell {
        value: 0.0,
        count: 0,
        flag: None,
        failed: false,
    };
    for metric in row.metrics.iter().filter(own) {
        cell.value += number(&metric.value)?;
        cell.count += 1;
        cell.flag = metric.value.as_bool();
        cell.failed |= metric.passed == Some(false);
    }
    (cell.count > 0).then(|| Cell {
        value: cell.value / cell.count as f64,
        ..cell
    })
}

fn datapoints(content: &Content, asked: &Asked, columns: u64) -> Markup {
    let summary: &Summary = &content.result.summary;
    let shown = in_sight(&summary.metrics, columns);
    let sort = asked.text("sort");
    let up = asked.text("up").is_some();
    html! {
        div.wide tabindex="0" role="region" aria-label="datapoints" {
            table.grid {
                thead { tr {
                    th scope="col" { "datapoint" }
                    th scope="col" { "result" }
                    @for detail in shown {
                        @let own = key(&detail.metric_name, &detail.event_name, &detail.event_type);
                        @let active = sort == Some(own.as_str());
                        @let turn = (active && !up).then_some("1");
                        th.num scope="col" aria-sort=[active.then_some(if up { "ascending" } else { "descending" })] {
                            a href=(asked.with(&[("sort", Some(&own)), ("up", turn)])) {
                                (metric(&detail.metric_name, &detail.event_name, &detail.event_type))
                                @if active { span.dir aria-hidden="true" { @if up { "↑" } @else { "↓" } } }
                            }
                        }
                    }
                } }
                tbody #rows {
                    @for row in content.rows.iter().filter_map(|place| summary.datapoints.get(*place)) {
                        tr {
                            td.name {
                                a href={ "/sessions/" (encoded(&row.session_id)) } { (said(content.inputs.get(&row.session_id), row.datapoint_id.as_deref().unwrap_or(&row.session_id))) }
                            }
                            td { @if row.passed { span.up { "✓ passed" } } @else { span.down { "✗ failed" } } }
                            @for detail in shown {
                                @match of(row, detail) {
                                    None => td.num.nil data-l=(label(detail)) { "–" },
                                    Some(cell) => td.num.down[cell.failed] data-l=(label(detail)) {
                                        @match cell.flag.filter(|_| cell.count == 1) {
                                            Some(flag) => (flag),
                                            None => (measure(cell.value)),
                                        }
                                        @if cell.count > 1 { small title="mean of so many" { " ×" (cell.count) } }
                                    },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn label(detail: &Detail) -> String {
    super::format::plain(clip(&detail.metric_name, 40).0)
}

/// Links to the metrics that are not beside the datapoints now.
pub(super) fn more_columns(asked: &Asked, metrics: usize, columns: u64) -> Markup {
    let turn = |to: u64| asked.with(&[("col", Some(&to.to_string()))]);
    let shown = usize::try_from(columns)
        .unwrap_or(usize::MAX)
        .saturating_mul(COLUMNS);
    let before = (columns > 1).then(|| turn(columns - 1));
    let after = (shown < metrics).then(|| turn(columns.saturating_add(1)));
    turning(
        before.as_deref(),
        after.as_deref(),
        ["metrics before", "more metrics"],
    )
}

/// What a datapoint is about, in a line: its inputs, or its id where there are none.
pub(super) fn said(inputs: Option<&String>, id: &str) -> Markup {
    let inputs = inputs.map_or("", String::as_str);
    let line = match serde_json::from_str::<Map<String, Value>>(inputs) {
        Ok(map) if map.is_empty() => String::new(),
        // An experiment's session has the datapoint's inputs beside what it was to come to.
        Ok(map) => line(map.get("inputs").and_then(Value::as_object).unwrap_or(&map)),
        // Cut off: the text as it is.
        Err(_) => inputs.trim_start_matches('{').to_owned(),
    };
    html! {
        @if line.is_empty() { code { (name(clip(id, 60).0)) } }
        @else { bdi { (Shown(clip(&line, 160).0)) @if clip(&line, 160).1.is_some() { "…" } } }
    }
}

/// Values in a line. Groups are told by what is in them.
pub(super) fn line(map: &Map<String, Value>) -> String {
    let value = |value: &Value| match value {
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Value::Object(inner)
            if inner
                .values()
                .all(|value| !value.is_object() && !value.is_array()) =>
        {
            line(inner)
        }
        other => other.to_string(),
    };
    match map.len() {
        1 => map.values().map(value).collect(),
        _ => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, one)| format!("{key}: {}", value(one)))
                .collect();
            pairs.join(" · ")
        }
    }
}
