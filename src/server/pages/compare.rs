//! Two runs side by side: what became better, worse, or stayed.

use super::format::{change, count, encoded, measure, moment, plain, plural};
use super::run::{COLUMNS, PAGE, aggregate, aggregates, key, metric, more_columns, places, said};
use super::runs::title;
use super::view::Asked;
use super::{nothing, page, turning};
use crate::server::App;
use crate::server::http::Problem;
use crate::server::runs::{Aggregate, Delta, Sample};
use crate::server::store::Fault;
use crate::server::store::runs::RunComparison;
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Metrics above.
const METRICS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Improved,
    Degraded,
    Same,
}

impl Verdict {
    fn class(self) -> &'static str {
        match self {
            Self::Improved => "up",
            Self::Degraded => "down",
            Self::Same => "same",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Improved => "improved",
            Self::Degraded => "degraded",
            Self::Same => "same",
        }
    }

    /// For those who do not see the colour.
    fn sign(self) -> &'static str {
        match self {
            Self::Improved => "▲",
            Self::Degraded => "▼",
            Self::Same => "=",
        }
    }
}

/// A metric of a datapoint in both runs.
#[derive(Clone, Copy, Debug)]
struct Pair {
    old: f64,
    new: f64,
    verdict: Verdict,
}

/// A datapoint of both runs.
#[derive(Debug)]
struct Row<'c> {
    id: &'c str,
    /// By the place of the metric.
    pairs: Vec<Option<Pair>>,
    /// How much changed, of what a metric spans.
    weight: f64,
}

impl Row<'_> {
    fn has(&self, verdict: Verdict) -> bool {
        self.pairs
            .iter()
            .flatten()
            .any(|pair| pair.verdict == verdict)
    }

    fn is(&self, word: &str) -> bool {
        let (up, down) = (self.has(Verdict::Improved), self.has(Verdict::Degraded));
        match word {
            "improved" => up,
            "degraded" => down,
            _ => !up && !down,
        }
    }
}

/// `/compare/{new}/{old}`
pub(in crate::server) async fn compare(
    State(app): State<Arc<App>>,
    Path((new, old)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let aggregate = aggregate(&asked)?;
    asked.choice("show", &["improved", "degraded", "same"])?;
    let first = places(asked.number("page")?);
    asked.number("col")?;
    let (own, other) = (new.clone(), old.clone());
    let found = app.ask(move |reader| {
        let compared = reader.run_comparison_page((&own, &other), aggregate);
        let (compared, samples) = match compared {
            Err(Fault::Missing(_)) => return Ok(Err(reader.known_run(&own).is_ok())),
            other => other?,
        };
        let rows = rows(&compared, &asked);
        let of = |samples: &[Sample]| -> HashMap<String, String> {
            let pair =
                |sample: &Sample| Some((sample.datapoint_id.clone()?, sample.session_id.clone()));
            // The first of several.
            samples.iter().rev().filter_map(pair).collect()
        };
        let sessions = samples.each_ref().map(|samples| of(samples));
        let shown = rows
            .iter()
            .filter(|row| asked.text("show").is_none_or(|word| row.is(word)));
        let shown: Vec<&Row<'_>> = shown.collect();
        let total = shown.len();
        let shown: Vec<&Row<'_>> = shown.into_iter().skip(first).take(PAGE).collect();
        let asks: Vec<&str> = shown
            .iter()
            .filter_map(|row| sessions.first()?.get(row.id).map(String::as_str))
            .collect();
        let inputs = reader.inputs_of(&asks)?;
        let page = Shown {
            compared: &compared,
            rows: &rows,
            shown: &shown,
            total,
            sessions: &sessions,
            inputs: &inputs,
            only: only(&samples, compared.comparison.common.len()),
        };
        Ok(Ok(page.render(&asked, aggregate, first)))
    });
    match found.await? {
        Ok(page) => Ok(page),
        Err(known) => Ok(nothing("run", if known { &old } else { &new }, "runs")),
    }
}

/// How many datapoints are in one of the two only: the new one, and the old one.
fn only([new, old]: &[Vec<Sample>; 2], common: usize) -> [usize; 2] {
    let of = |samples: &[Sample]| {
        let ids: HashSet<&str> = samples
            .iter()
            .filter_map(|sample| sample.datapoint_id.as_deref())
            .collect();
        ids.len().saturating_sub(common)
    };
    [of(new), of(old)]
}

/// The datapoints of both, those that changed most first: by one metric where one is asked for.
fn rows<'c>(compared: &'c RunComparison, asked: &Asked) -> Vec<Row<'c>> {
    let comparison = &compared.comparison;
    let mut rows: Vec<Row<'c>> = comparison
        .common
        .iter()
        .map(|id| Row {
            id,
            pairs: Vec::with_capacity(comparison.metrics.len()),
            weight: 0.0,
        })
        .collect();
    for delta in &comparison.metrics {
        let improved: HashSet<&str> = delta.improved.iter().map(String::as_str).collect();
        let degraded: HashSet<&str> = delta.degraded.iter().map(String::as_str).collect();
        let same: HashSet<&str> = delta.same.iter().map(String::as_str).collect();
        let all = || delta.old_values.iter().chain(&delta.new_values).copied();
        let span = all().fold(f64::MIN, f64::max) - all().fold(f64::MAX, f64::min);
        let own = key(&delta.metric_name, &delta.event_name, &delta.event_type);
        let counts = asked.text("sort").is_none_or(|sort| sort == own);
        // Values are those of the datapoints that have the metric in both, in their order.
        let mut values = delta.old_values.iter().zip(&delta.new_values);
        for row in &mut rows {
            let verdict = match row.id {
                id if improved.contains(id) => Verdict::Improved,
                id if degraded.contains(id) => Verdict::Degraded,
                id if same.contains(id) => Verdict::Same,
                _ => {
                    row.pairs.push(None);
                    continue;
                }
            };
            let pair = values.next().map(|(old, new)| Pair {
                old: *old,
                new: *new,
                verdict,
            });
            if let Some(pair) = pair.filter(|_| counts && span > 0.0) {
                row.weight += (pair.new - pair.old).abs() / span;
            }
            row.pairs.push(pair);
        }
    }
    rows.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    rows
}

/// What a page of a comparison is made of.
struct Shown<'c> {
    compared: &'c RunComparison,
    rows: &'c [Row<'c>],
    shown: &'c [&'c Row<'c>],
    total: usize,
    /// Of the new run, and of the old one, by datapoint.
    sessions: &'c [HashMap<String, String>; 2],
    inputs: &'c HashMap<String, String>,
    only: [usize; 2],
}

impl Shown<'_> {
    fn render(&self, asked: &Asked, aggregate: Aggregate, first: usize) -> Response {
        let RunComparison {
            new,
            old,
            comparison,
        } = self.compared;
        let addresses = [encoded(&new.run_id), encoded(&old.run_id)];
        let [of_new, of_old] = &addresses;
        let number = |n: usize| count(u64::try_from(n).unwrap_or(u64::MAX));
        let head = html! {
            header.top {
                a.back href="/runs" { "‹ runs" }
                h1 { (title(old)) " → " (title(new)) }
                div.facts {
                    span.fact { (plural(u64::try_from(comparison.common.len()).unwrap_or(u64::MAX), "common datapoint")) }
                    @for (count, which) in self.only.iter().zip(["new", "old"]) {
                        @if *count > 0 { span.fact { (number(*count)) " only in the " (which) " run" } }
                    }
                }
                nav.acts {
                    a href={ "/compare/" (of_old) "/" (of_new) } { "swap" }
                    a href={ "/v1/runs/" (of_new) "/compare/" (of_old) "?aggregate_function=" (aggregate.name()) } { "json" }
                }
            }
        };
        let filtered = asked.text("show");
        let main = html! {
            main.list.results {
                div.sides {
                    @for (which, run, address) in [("old", old, of_old), ("new", new, of_new)] {
                        p { small { (which) } " " a href={ "/runs/" (address) } { (title(run)) } " " small { (moment(run.created)) } }
                    }
                }
                @if comparison.common.is_empty() {
                    section.empty {
                        h2 { "Nothing in common" }
                        p { "The sessions of these runs name no datapoint that is in both. Runs over the same dataset can be compared." }
                    }
                } @else {
                    @if !comparison.metrics.is_empty() { (aggregates(aggregate, asked)) (metrics(&comparison.metrics, asked)) }
                    nav.choices aria-label="datapoints" {
                        a href=(asked.with(&[("show", None)])) aria-current=[filtered.is_none().then_some("true")] { "all " (number(self.rows.len())) }
                        @for verdict in [Verdict::Improved, Verdict::Degraded, Verdict::Same] {
                            @let word = verdict.word();
                            a class=(verdict.class()) href=(asked.with(&[("show", Some(word))])) aria-current=[(filtered == Some(word)).then_some("true")] {
                                (verdict.sign()) " " (word) " " (number(self.rows.iter().filter(|row| row.is(word)).count()))
                            }
                        }
                    }
                    (self.datapoints(asked))
                    @let turn = |first: usize| asked.with(&[("page", Some(&(first / PAGE + 1).to_string()))]);
                    @let before = (first > 0).then(|| turn(first.saturating_sub(PAGE)));
                    @let after = (first + PAGE < self.total).then(|| turn(first + PAGE));
                    (turning(before.as_deref(), after.as_deref(), ["before", "more datapoints"]))
                }
            }
        };
        page("comparison", "", &head, &main)
    }

    fn datapoints(&self, asked: &Asked) -> Markup {
        let metrics = &self.compared.comparison.metrics;
        let columns = asked.number("col").unwrap_or(1);
        let first = usize::try_from(columns - 1)
            .unwrap_or(usize::MAX)
            .saturating_mul(COLUMNS);
        let deltas: Vec<(usize, &Delta)> = metrics
            .iter()
            .enumerate()
            .skip(first)
            .take(COLUMNS)
            .collect();
        let [new, old] = self.sessions;
        html! {
            div.wide tabindex="0" role="region" aria-label="datapoints" {
                table.grid.pairs {
                    thead { tr {
                        th scope="col" { "datapoint" }
                        th scope="col" { "sessions" }
                        @for (_, delta) in &deltas {
                            th.num scope="col" { (metric(&delta.metric_name, &delta.event_name, &delta.event_type)) }
                        }
                    } }
                    tbody #rows {
                        @for row in self.shown {
                            tr data-datapoint=(row.id) {
                                @let sessions = [("old", old.get(row.id)), ("new", new.get(row.id))];
                                td.name { (said(new.get(row.id).and_then(|id| self.inputs.get(id)), row.id)) }
                                td.links {
                                    @for (which, id) in sessions {
                                        @if let Some(id) = id { a href={ "/sessions/" (encoded(id)) } { (which) } " " }
                                    }
                                }
                                @for (index, delta) in &deltas {
                                    @let label = plain(super::format::clip(&delta.metric_name, 40).0);
                                    @match row.pairs.get(*index).copied().flatten() {
                                        None => td.num.nil data-l=(label) { "–" },
                                        Some(pair) => td class={ "num " (pair.verdict.class()) } data-l=(label) title=(pair.verdict.word()) {
                                            span.was { (measure(pair.old)) " → " } (measure(pair.new)) " " (pair.verdict.sign())
                                        },
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if self.shown.is_empty() { p.note { "No datapoint fits. " a href=(asked.with(&[("show", None)])) { "Show all" } } }
            @if metrics.len() > COLUMNS { (more_columns(asked, metrics.len(), columns)) }
        }
    }
}

/// The metrics of both runs as a whole. Those of which more changed come first.
fn metrics(deltas: &[Delta], asked: &Asked) -> Markup {
    let mut sorted: Vec<&Delta> = deltas.iter().collect();
    sorted.sort_by_key(|delta| std::cmp::Reverse(delta.improved_count + delta.degraded_count));
    let sort = asked.text("sort");
    html! {
        div.wide tabindex="0" role="region" aria-label="metrics" {
            table.grid.metrics {
                thead { tr {
                    th scope="col" { "metric" }
                    @for label in ["old", "new", "change", "improved", "degraded", "same"] { th.num scope="col" { (label) } }
                } }
                tbody {
                    @for delta in sorted.iter().take(METRICS) {
                        @let own = key(&delta.metric_name, &delta.event_name, &delta.event_type);
                        @let active = sort == Some(own.as_str());
                        @let verdict = verdict(delta);
                        tr .sel[active] {
                            td.name {
                                a href=(asked.with(&[("sort", (!active).then_some(own.as_str()))])) title="sort the datapoints by it" {
                                    (metric(&delta.metric_name, &delta.event_name, &delta.event_type))
                                }
                            }
                            @for (value, label) in [(delta.old_aggregate, "old"), (delta.new_aggregate, "new")] {
                                td.num data-l=(label) { @match value { Some(value) => (measure(value)), None => "–" } }
                            }
                            td class={ "num " (verdict.class()) } data-l="change" {
                                @if let Some(difference) = delta.difference {
                                    (verdict.sign()) " " (change(difference))
                                    @if let Some(percent) = delta.percentage_change { small { " " (change((percent * 10.0).round() / 10.0)) "%" } }
                                } @else { "–" }
                            }
                            td.num.up[delta.improved_count > 0] data-l="improved" { (delta.improved_count) }
                            td.num.down[delta.degraded_count > 0] data-l="degraded" { (delta.degraded_count) }
                            td.num data-l="same" { (delta.same_count) }
                        }
                    }
                }
            }
        }
        @if deltas.len() > METRICS { p.note.about { (deltas.len() - METRICS) " more metrics are in the JSON." } }
    }
}

/// Whether the aggregate became better.
fn verdict(delta: &Delta) -> Verdict {
    let difference = delta.difference.unwrap_or(0.0);
    let size = |value: Option<f64>| value.unwrap_or(0.0).abs();
    let near = 1e-9 * size(delta.old_aggregate).max(size(delta.new_aggregate));
    if difference.abs() <= near {
        return Verdict::Same;
    }
    match delta.falls == (difference < 0.0) {
        true => Verdict::Improved,
        false => Verdict::Degraded,
    }
}
