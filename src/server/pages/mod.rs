//! Pages: what a person sees in a browser. Knows what the store answers, never the wire.
//!
//! Everything stored is some program's text, and so hostile: it reaches a page through maud, which escapes it, and
//! through [`format::Shown`], which keeps it from hiding anything.

mod assets;
mod chat;
mod compare;
mod datasets;
mod detail;
mod events;
mod format;
mod json;
mod list;
mod live;
mod run;
mod runs;
mod tree;
mod view;

pub(super) use assets::asset;
pub(super) use compare::compare;
pub(super) use datasets::{dataset, datasets};
pub(super) use events::events;
pub(crate) use format::encoded;
pub(super) use live::{live, session_live};
pub(super) use run::run;
pub(super) use runs::runs;

use super::App;
use super::http::Problem;
use super::store::{Reader, SessionRow, Store, now_ms};
use super::types::Session;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use detail::Subject;
use format::{count, duration, moment, name, plural};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;
use std::sync::Arc;
use view::{ListView, View};

fn page(title: &str, live: &str, head: &Markup, main: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (format::plain(title)) " · honeyhive" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="stylesheet" href=(assets::STYLE.address());
                link rel="icon" href=(assets::ICON.address()) type="image/svg+xml";
                script src=(assets::SCRIPT.address()) defer {}
            }
            body data-live=(live) {
                (head)
                (main)
            }
        }
    };
    (
        [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
        markup.into_string(),
    )
        .into_response()
}

/// `/`
pub(super) async fn sessions(
    State(app): State<Arc<App>>,
    Query(view): Query<ListView>,
) -> Result<Response, Problem> {
    let filter = list::filter(&view);
    let sort = list::sort(&view);
    let offset = view
        .page
        .unwrap_or(1)
        .saturating_sub(1)
        .saturating_mul(list::PAGE);
    let content = app
        .read(move |store| {
            store.read(|reader| {
                let (rows, more) = reader.sessions(&filter, sort, offset, list::PAGE)?;
                Ok(list::Content {
                    rows,
                    more,
                    sources: reader.sources()?,
                    total: reader.count()?,
                })
            })
        })
        .await?;
    let head = top("/", content.total, "session", true);
    let main = html! {
        main.list { (list::render(&content, &view, &app.url, now_ms())) }
    };
    Ok(page("sessions", "/live", &head, &main))
}

/// The line above a list: what else there is, and how much is here.
fn top(here: &str, total: u64, one: &str, live: bool) -> Markup {
    let lists = [
        ("/", "sessions"),
        ("/events", "events"),
        ("/runs", "runs"),
        ("/datasets", "datasets"),
    ];
    html! {
        header.top {
            a.brand href="/" { "honeyhive" span { " · local" } }
            nav.lists aria-label="lists" {
                @for (path, label) in lists {
                    a href=(path) aria-current=[(path == here).then_some("page")] { (label) }
                }
            }
            span.total { @if total > 0 { (plural(total, one)) } }
            @if live { (state()) }
        }
    }
}

/// What to show where nothing is kept under an id.
fn nothing(what: &str, id: &str, list: &str) -> Response {
    let head =
        html! { header.top { a.back href={ "/" (list) } { "‹ " (list) } h1 { "not here" } } };
    let main = html! {
        main.list {
            section.empty {
                h2 { "This " (what) " is not here" }
                p { code { (format::Shown(format::clip(id, 100).0)) } }
                p { "It may be kept in another database, or have been deleted." }
                p { a href={ "/" (list) } { "All " (list) } }
            }
        }
    };
    let mut answer = page("not here", "", &head, &main);
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

/// Links to the pages before and after.
fn turning(before: Option<&str>, after: Option<&str>, [back, on]: [&str; 2]) -> Markup {
    html! {
        nav.pages aria-label="pages" {
            @if let Some(before) = before { a rel="prev" href=(before) { "← " (back) } }
            @if let Some(after) = after { a rel="next" href=(after) { (on) " →" } }
        }
    }
}

/// Whether the page is up to date; the script fills it in.
fn state() -> Markup {
    html! { span #state.js role="status" { span { "live" } i.dot {} } }
}

/// `/sessions/{id}` and `/sessions/{id}.json`
pub(super) async fn session(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(view): Query<View>,
) -> Result<Response, Problem> {
    if let Some(id) = id.strip_suffix(".json") {
        let id = id.to_owned();
        return session_json(&app, id).await;
    }
    let now = now_ms();
    let made = app.read(move |store| {
        let rendered = store.read(|reader| match reader.session(&id)? {
            Some(row) => render_session(reader, &row, &view, now).map(Some),
            None => Ok(None),
        });
        rendered.map(|rendered| rendered.ok_or(id))
    });
    match made.await? {
        Ok(page) => Ok(page),
        Err(id) => Ok(missing(&id)),
    }
}

fn render_session(
    reader: &Reader<'_>,
    session: &SessionRow,
    view: &View,
    now: f64,
) -> rusqlite::Result<Response> {
    let rows = reader.rows(session.id)?;
    let recent = list::is_recent(session, now);
    let tree = tree::Tree::new(session, &rows, recent, &view.folded());
    let running = list::is_running(session, now) || (recent && tree.waits());
    let hits = match view.search() {
        Some(text) => Some(reader.matching(session.id, text)?.into_iter().collect()),
        None => None,
    };
    let run = reader.run_of(session.id)?;
    let root = rows.iter().find(|row| {
        let parent = row.parent_id.as_deref();
        parent.is_none_or(|parent| parent == session.session_id)
    });
    let chosen = match &view.event {
        Some(event) => event.to_ascii_lowercase(),
        None => root.map_or_else(|| session.session_id.clone(), |row| row.event_id.clone()),
    };
    let subject = match reader.event(session.id, &chosen)? {
        Some(event) => {
            let raw = reader.raw(&event.event_id)?;
            Subject::Event(Box::new(event), raw)
        }
        None => Subject::Session(Box::new(reader.whole_session(session.clone())?)),
    };
    let id = session.session_id.as_str();
    let address = format!("/sessions/{}", encoded(id));
    let head = html! {
        header.top {
            a.back href="/" { "‹ sessions" }
            h1 #title { (name(&session.name)) }
            div.facts #facts {
                @if running { span.fact { i.dot.run {} " running" } }
                span.fact { (moment(session.started)) }
                span.fact { (duration(session.duration)) }
                span.fact { (plural(session.events, "event")) }
                @if session.models > 0 { span.fact { (plural(session.models, "model call")) } }
                @if session.tokens > 0 { span.fact { (count(session.tokens)) " tokens" } }
                @if session.cost > 0.0 { span.fact { (format::cost(session.cost)) } }
                @if session.errors > 0 { span.fact.bad { (plural(session.errors, "error")) } }
                @if let Some(source) = &session.source { span.fact { (name(source)) } }
                @if let Some(user) = &session.user { span.fact { (name(user)) } }
            }
            nav.acts {
                @if let Some(run) = &run { a href={ "/runs/" (encoded(run)) } { "run" } }
                a href={ (address) ".json" } { "json" }
                button.js type="button" data-copy-link { "copy link" }
                button.js type="button" data-keys title="keys" { "?" }
            }
            (state())
        }
    };
    let found = hits.as_ref().map(std::collections::HashSet::len);
    let main = html! {
        main.session {
            section.left aria-label="tree" {
                form.find method="get" role="search" {
                    input #search type="search" name="q" value=[view.search()] placeholder="search in this session"
                        aria-label="search in this session" autocomplete="off" spellcheck="false";
                    @if let Some(event) = &view.event { input type="hidden" name="event" value=(event); }
                    @if let Some(found) = found { span.found { (found) " found" } }
                    kbd.js { "/" }
                }
                div.scroll #left { (tree.render(view, &chosen, hits.as_ref())) }
            }
            section.right #detail aria-label="event" tabindex="-1" {
                (detail::render(&subject, id, view))
            }
        }
        (keys())
    };
    let title = if session.name.trim().is_empty() {
        "session"
    } else {
        &session.name
    };
    Ok(page(title, &format!("{address}/live"), &head, &main))
}

fn keys() -> Markup {
    let keys = [
        ("↑ ↓", "previous, next event"),
        ("← →", "fold, unfold"),
        ("Enter", "read the event"),
        ("e", "next error"),
        ("n", "next found"),
        ("/", "search"),
        ("Esc", "back to the tree"),
        ("?", "these keys"),
    ];
    html! {
        dialog #keys {
            h2 { "Keys" }
            dl { @for (key, what) in keys { div { dt { kbd { (key) } } dd { (what) } } } }
            form method="dialog" { button { "close" } }
        }
    }
}

fn missing(id: &str) -> Response {
    let head = html! { header.top { a.back href="/" { "‹ sessions" } h1 { "not here" } } };
    let main = html! {
        main.list {
            section.empty {
                h2 { "This session is not here" }
                p { code { (format::Shown(format::clip(id, 100).0)) } }
                p { "It may be kept in another database, or no span of it has come yet." }
                p { a href="/" { "All sessions" } }
            }
        }
    };
    let mut answer = page("not here", "", &head, &main);
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

fn found(store: &Store, id: &str) -> rusqlite::Result<Option<(Session, Vec<super::Event>)>> {
    store.read(|reader| match reader.session(id)? {
        Some(row) => {
            let events = reader.events(row.id)?;
            Ok(Some((reader.whole_session(row)?, events)))
        }
        None => Ok(None),
    })
}

async fn session_json(app: &App, id: String) -> Result<Response, Problem> {
    let content = app.read(move |store| found(store, &id)).await?;
    match content {
        Some((session, events)) => {
            let content = serde_json::json!({"session": session, "events": events});
            Ok(axum::Json(content).into_response())
        }
        None => Err(Problem::new(StatusCode::NOT_FOUND, "no such session")),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    part: String,
}

/// `/sessions/{id}/events/{event}.json`, the whole of an event or one part of it.
pub(super) async fn event(
    State(app): State<Arc<App>>,
    Path((id, event)): Path<(String, String)>,
    Query(Part { part }): Query<Part>,
) -> Result<Response, Problem> {
    let event = event.strip_suffix(".json").unwrap_or(&event).to_owned();
    let content = app.read(move |store| {
        store.read(|reader| {
            let Some(row) = reader.session(&id)? else {
                return Ok(None);
            };
            if event == row.session_id {
                return Ok(serde_json::to_value(reader.whole_session(row)?).ok());
            }
            let Some(found) = reader.event(row.id, &event)? else {
                return Ok(None);
            };
            let mut value = serde_json::to_value(found).unwrap_or_default();
            if let Some(raw) = reader.raw(&event)?
                && let Ok(raw) = serde_json::from_str(&raw)
                && let Some(map) = value.as_object_mut()
            {
                map.insert("raw".to_owned(), raw);
            }
            Ok(Some(value))
        })
    });
    let content = content.await?;
    let part = match content {
        Some(content) if part.is_empty() => Some(content),
        Some(mut content) => content.get_mut(&part).map(serde_json::Value::take),
        None => None,
    };
    match part {
        Some(part) => Ok((
            [(header::CONTENT_TYPE, "application/json")],
            serde_json::to_string_pretty(&part).unwrap_or_default(),
        )
            .into_response()),
        None => Err(Problem::new(StatusCode::NOT_FOUND, "no such event or part")),
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address")
}
