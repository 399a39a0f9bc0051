//! Search over all events.

use super::format::{Shown, ago, clip, cost, count, duration, encoded, exact, name, read_moment};
use super::view::Asked;
use super::{page, top, turning};
use crate::server::App;
use crate::server::filter;
use crate::server::http::Problem;
use crate::server::store::{Find, FoundEvent, FoundPart, Key, Place, Search, now_ms};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Events on a page.
const PAGE: u64 = 50;
/// How long is searched before a page shows what there is so far, with a link that goes on.
const PATIENCE: Duration = Duration::from_millis(25);

const TYPES: [&str; 4] = ["model", "tool", "chain", "session"];
const SINCE: [(&str, &str, f64); 4] = [
    ("1h", "last hour", 3.6e6),
    ("24h", "last day", 8.64e7),
    ("7d", "last week", 6.048e8),
    ("30d", "last month", 2.592e9),
];
/// Operators of filters, as the API has them.
const OPERATORS: [&str; 10] = [
    "exists",
    "not exists",
    "is",
    "is not",
    "contains",
    "not contains",
    "greater than",
    "less than",
    "after",
    "before",
];

/// `field:operator:value` as a filter of the API.
fn condition(text: &str) -> Result<Value, String> {
    let mut parts = text.splitn(3, ':').map(str::trim);
    let (field, operator) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let value = parts.next().unwrap_or_default();
    let operator = operator.replace(['_', '+'], " ");
    if field.is_empty() || !OPERATORS.contains(&operator.as_str()) {
        return Err(format!(
            "a filter is field:operator:value, as metadata.user:is:42; operators are {}",
            OPERATORS.join(", ")
        ));
    }
    // Text compares with everything; what is greater or less is so as a number where it is one.
    let kind = match operator.as_str() {
        "after" | "before" => "datetime",
        "greater than" | "less than" if value.parse::<f64>().is_ok() => "number",
        _ => "string",
    };
    Ok(json!({"field": field, "operator": operator, "value": value, "type": kind}))
}

fn find(asked: &Asked) -> Result<Find, String> {
    let mut filters = Vec::new();
    for text in asked.all("filter") {
        filters.push(condition(text)?);
    }
    let told = |problem: Problem| problem.message().to_owned();
    if let Some(kind) = asked.choice("type", &TYPES).map_err(told)? {
        filters.push(json!({"field": "event_type", "operator": "is", "value": kind}));
    }
    match asked.choice("error", &["0", "1"]).map_err(told)? {
        Some("1") => filters.push(json!({"field": "error", "operator": "exists"})),
        Some(_) => filters.push(json!({"field": "error", "operator": "not exists"})),
        None => {}
    }
    let moment = |name: &str| match asked.text(name) {
        None => Ok(None),
        Some(text) => {
            let moment = read_moment(text).or_else(|| filter::time(text));
            let told = || format!("{name} must be a date and time, as 2026-01-31T12:00");
            moment.map(Some).ok_or_else(told)
        }
    };
    let (mut from, to) = (moment("from")?, moment("to")?);
    if let Some(since) = asked.text("since") {
        let known = SINCE.iter().find(|(known, _, _)| *known == since);
        let (_, _, long) = known.ok_or("since must be one of 1h, 24h, 7d, 30d")?;
        let begin = now_ms() - long;
        from = Some(from.map_or(begin, |from| from.max(begin)));
    }
    let conditions = filter::conditions(Some(&Value::Array(filters)), "filter", true)?;
    let after = match asked.text("after") {
        None => None,
        Some(text) => Some(place(text).ok_or("after must be what a page of this server made")?),
    };
    Ok(Find {
        search: Search {
            conditions,
            from,
            to,
            limit: PAGE,
            ..Search::default()
        },
        text: asked.owned("q"),
        model: asked.owned("model"),
        after,
    })
}

fn place(text: &str) -> Option<Place> {
    let (started, key) = text.split_once('_')?;
    let started = started
        .parse::<f64>()
        .ok()
        .filter(|started| started.is_finite())?;
    let id = key.get(1..)?.parse().ok()?;
    let key = match key.get(..1)? {
        "e" => Key::Event(id),
        "s" => Key::Session(id),
        _ => return None,
    };
    Some(Place { started, key })
}

fn written(place: Place) -> String {
    match place.key {
        Key::Event(id) => format!("{}_e{id}", place.started),
        Key::Session(id) => format!("{}_s{id}", place.started),
    }
}

/// `/events`
pub(in crate::server) async fn events(
    State(app): State<Arc<App>>,
    asked: Asked,
) -> Result<Response, Problem> {
    let wanted = find(&asked);
    let wrong = wanted.as_ref().err().cloned();
    let found = app.ask(move |reader| {
        let found = match &wanted {
            Ok(find) => reader.find(find, PATIENCE)?,
            Err(_) => FoundPart::default(),
        };
        Ok((found, reader.models()?, reader.count()?))
    });
    let (found, models, sessions) = found.await?;
    let first = asked.text("after").is_none();
    // Text is looked for in everything that is kept: not anew with each event that comes.
    let live = first && wrong.is_none() && asked.text("q").is_none();
    let head = top("/events", 0, "", live);
    let main = html! {
        main.list {
            @if sessions == 0 {
                (super::list::empty(&app.url))
            } @else {
                (filters(&asked, &models))
                @if let Some(wrong) = &wrong { p.note.wrong role="alert" { (Shown(clip(wrong, 400).0)) } }
                (table(&found.events, now_ms()))
                @if found.events.is_empty() && wrong.is_none() && found.next.is_none() {
                    p.note { "No event fits. " a href="?" { "Show all" } }
                }
                @if let Some(next) = found.next.filter(|_| found.hurried) {
                    p.note role="status" { "Searched back to " (exact(next.started)) ". There is more before." }
                }
                @let before = (!first).then(|| asked.with(&[]));
                @let after = found.next.map(|next| asked.with(&[("after", Some(&written(next)))]));
                @let on = if found.hurried { "search on" } else { "older" };
                (turning(before.as_deref(), after.as_deref(), ["newest", on]))
            }
        }
    };
    let mut answer = page("events", if live { "/live" } else { "" }, &head, &main);
    if wrong.is_some() {
        *answer.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(answer)
}

fn filters(asked: &Asked, models: &[String]) -> Markup {
    let [kind, error, model, since] =
        ["type", "error", "model", "since"].map(|name| asked.text(name));
    let known = model.is_none_or(|model| models.iter().any(|known| known == model));
    html! {
        form.filters method="get" role="search" {
            input #search type="search" name="q" value=[asked.text("q")] placeholder="search names, inputs, outputs, errors …"
                aria-label="search events" autocomplete="off" spellcheck="false";
            kbd.js { "/" }
            select name="type" aria-label="type" {
                option value="" { "all types" }
                @for known in TYPES { option value=(known) selected[kind == Some(known)] { (known) } }
            }
            select name="error" aria-label="status" {
                option value="" { "any status" }
                option value="1" selected[error == Some("1")] { "with errors" }
                option value="0" selected[error == Some("0")] { "without errors" }
            }
            @if !models.is_empty() || model.is_some() {
                select name="model" aria-label="model" {
                    option value="" { "all models" }
                    @for known in models { option value=(known) selected[model == Some(known)] { (name(clip(known, 60).0)) } }
                    @if let Some(model) = model.filter(|_| !known) { option value=(model) selected { (name(clip(model, 60).0)) } }
                }
            }
            select name="since" aria-label="time" {
                option value="" { "any time" }
                @for (key, label, _) in SINCE { option value=(key) selected[since == Some(key)] { (label) } }
            }
            input.field type="search" name="filter" placeholder="metadata.user:is:42" aria-label="one more filter, as field:operator:value"
                title="field:operator:value, as metadata.user:is:42 or metrics.score:less than:0.5" autocomplete="off" spellcheck="false";
            @for (index, text) in asked.all("filter").enumerate() {
                span.chip {
                    input type="hidden" name="filter" value=(text);
                    code { (name(clip(text, 80).0)) }
                    a href=(asked.without("filter", index)) aria-label="without this filter" { "×" }
                }
            }
            @for end in ["from", "to"] {
                @if let Some(text) = asked.text(end) {
                    span.chip {
                        input type="hidden" name=(end) value=(text);
                        (end) " " code { (name(clip(text, 40).0)) }
                        a href=(asked.with(&[(end, None)])) aria-label={ "without " (end) } { "×" }
                    }
                }
            }
            button type="submit" { "filter" }
            @let all = ["q", "type", "error", "model", "since", "filter", "from", "to"];
            @if all.iter().any(|name| asked.text(name).is_some()) { a href="?" { "clear" } }
        }
    }
}

fn table(events: &[FoundEvent], now: f64) -> Markup {
    html! {
        button #fresh.js type="button" hidden {}
        table.grid {
            thead { tr {
                th scope="col" { "event" }
                th scope="col" { "type" }
                th scope="col" { "session" }
                th scope="col" { "model" }
                th.num scope="col" { "duration" }
                th.num scope="col" { "tokens" }
                th.num scope="col" { "cost" }
                th scope="col" { "started" }
            } }
            tbody #rows { @for event in events { (row(event, now)) } }
        }
    }
}

fn row(event: &FoundEvent, now: f64) -> Markup {
    let session = encoded(&event.session_id);
    let dot = match event.error {
        Some(_) => "dot bad".to_owned(),
        None => format!("dot k-{}", event.kind),
    };
    html! {
        tr data-id=(event.event_id) {
            td.name {
                i class=(dot) {}
                a href={ "/sessions/" (session) "?event=" (encoded(&event.event_id)) } { (name(&event.name)) }
                @if let Some(error) = &event.error { p.cause { (Shown(clip(error.trim(), 160).0)) } }
                @else if let Some([before, found, after]) = &event.excerpt {
                    p.excerpt { "…" bdi { (Shown(before)) mark { (Shown(found)) } (Shown(after)) } "…" }
                }
            }
            td.type { (event.kind) }
            td.over { a.soft href={ "/sessions/" (session) } { (name(clip(&event.session_name, 60).0)) } }
            td.over { @if let Some(model) = &event.model { (name(clip(model, 40).0)) } }
            td.num { (duration(event.duration)) }
            td.num data-l="tokens" { @if event.tokens > 0 { (count(event.tokens)) } }
            td.num { (cost(event.cost)) }
            td.when { (ago(event.started, now)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_as_they_are_written() {
        let told = condition("metadata.user:is:a:b").unwrap();
        assert_eq!(
            told,
            json!({"field": "metadata.user", "operator": "is", "value": "a:b", "type": "string"})
        );
        assert_eq!(
            condition("metrics.score:less_than:0.5").unwrap()["type"],
            "number"
        );
        assert_eq!(
            condition("error:not exists").unwrap()["operator"],
            "not exists"
        );
        for wrong in ["", "a", "a:like:b", ":is:b"] {
            assert!(condition(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_goes_there_and_back() {
        for key in [Key::Event(12), Key::Session(3)] {
            let there = Place {
                started: 1_700_000_000_000.25,
                key,
            };
            assert_eq!(place(&written(there)), Some(there));
        }
        for wrong in ["", "1", "1_x2", "inf_e1", "1_e", "x_e1", "1_é"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
