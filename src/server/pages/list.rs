//! The list of sessions.

use super::format::{ago, cost, count, duration, encoded, name};
use super::view::ListView;
use crate::server::store::{Filter, SessionRow, Sort, SortBy};
use maud::{Markup, html};

/// Sessions on a page.
pub(super) const PAGE: u64 = 60;

pub(super) fn filter(view: &ListView) -> Filter {
    Filter {
        text: view.search().map(str::to_owned),
        source: view.source().map(str::to_owned),
        errors_only: view.errors_only(),
    }
}

const COLUMNS: [(&str, &str, SortBy); 8] = [
    ("session", "name", SortBy::Name),
    ("started", "started", SortBy::Started),
    ("duration", "duration", SortBy::Duration),
    ("events", "events", SortBy::Events),
    ("model", "model", SortBy::Models),
    ("tokens", "tokens", SortBy::Tokens),
    ("cost", "cost", SortBy::Cost),
    ("errors", "errors", SortBy::Errors),
];

/// `sort=tokens` sorts downwards, `sort=-tokens` upwards: for all but names, the most comes first.
pub(super) fn sort(view: &ListView) -> Sort {
    let wanted = view.sort.as_deref().unwrap_or_default();
    let (key, reversed) = match wanted.strip_prefix('-') {
        Some(key) => (key, true),
        None => (wanted, false),
    };
    let by = COLUMNS
        .iter()
        .find(|(_, known, _)| *known == key)
        .map_or(SortBy::Started, |(_, _, by)| *by);
    Sort {
        by,
        ascending: (by == SortBy::Name) != reversed,
    }
}

/// Whether what has begun in a session may still end: something came in lately, and nobody said that it was over.
pub(super) fn is_recent(row: &SessionRow, now: f64) -> bool {
    !row.closed && now - row.touched < 120_000.0
}

/// Whether a session is likely to go on: it ended a moment ago, or none of what must end has.
pub(super) fn is_running(row: &SessionRow, now: f64) -> bool {
    let fresh = now - row.touched < 5_000.0 && now - row.ended < 10_000.0;
    is_recent(row, now) && (fresh || row.roots == 0)
}

pub(super) struct Content {
    pub(super) rows: Vec<SessionRow>,
    pub(super) more: bool,
    pub(super) sources: Vec<String>,
    pub(super) total: u64,
}

pub(super) fn render(content: &Content, view: &ListView, url: &str, now: f64) -> Markup {
    html! {
        @if content.total == 0 {
            (empty(url))
        } @else {
            (filters(content, view))
            (table(content, view, now))
        }
    }
}

fn filters(content: &Content, view: &ListView) -> Markup {
    html! {
        form.filters method="get" role="search" {
            @if let Some(sort) = &view.sort { input type="hidden" name="sort" value=(sort); }
            input #search type="search" name="q" value=[view.search()] placeholder="search name, id, user, error …"
                aria-label="search sessions" autocomplete="off" spellcheck="false";
            kbd.js { "/" }
            @if !content.sources.is_empty() {
                select name="source" aria-label="source" {
                    option value="" { "all sources" }
                    @for source in &content.sources {
                        option value=(source) selected[view.source() == Some(source)] { (name(source)) }
                    }
                }
            }
            label.check { input type="checkbox" name="error" value="1" checked[view.errors_only()]; " errors only" }
            button type="submit" { "filter" }
            @if view.is_filtered() { a href="?" { "clear" } }
        }
    }
}

fn table(content: &Content, view: &ListView, now: f64) -> Markup {
    let current = sort(view);
    html! {
        button #fresh.js type="button" hidden {}
        table.sessions {
            thead { tr {
                @for (label, key, by) in COLUMNS {
                    @let active = by == current.by;
                    @let up = current.ascending;
                    th scope="col" .num[by != SortBy::Name && by != SortBy::Started]
                        aria-sort=[active.then_some(if up { "ascending" } else { "descending" })] {
                        a href=(sorted(view, key, by, current)) {
                            (label) @if active { span.dir aria-hidden="true" { @if up { "↑" } @else { "↓" } } }
                        }
                    }
                }
                th scope="col" { "source" }
            } }
            tbody #rows {
                @for row in &content.rows { (line(row, now)) }
            }
        }
        @if content.rows.is_empty() { p.note { "No session fits. " a href="?" { "Show all" } } }
        nav.pages {
            @let page = view.page.unwrap_or(1).max(1);
            @if page > 1 { a rel="prev" href=(turned(view, page - 1)) { "← newer" } }
            @if content.more { a rel="next" href=(turned(view, page + 1)) { "older →" } }
        }
    }
}

fn sorted(view: &ListView, key: &str, by: SortBy, current: Sort) -> String {
    let usual = by == SortBy::Name;
    let reverse = by == current.by && current.ascending == usual;
    let key = if reverse {
        format!("-{key}")
    } else {
        key.to_owned()
    };
    let view = ListView {
        sort: Some(key),
        page: None,
        ..view.clone()
    };
    view.address()
}

fn turned(view: &ListView, page: u64) -> String {
    let view = ListView {
        page: Some(page),
        ..view.clone()
    };
    view.address()
}

fn line(row: &SessionRow, now: f64) -> Markup {
    let failed = row.errors > 0 || row.error.is_some();
    let running = is_running(row, now);
    let state = match (running, failed) {
        (true, _) => ("run", "running"),
        (false, true) => ("bad", "with errors"),
        (false, false) => ("ok", "ended"),
    };
    let none = |number: u64| {
        if number == 0 {
            String::new()
        } else {
            count(number)
        }
    };
    html! {
        tr data-id=(row.session_id) .bad[failed] {
            td.name {
                i class={ "dot " (state.0) } title=(state.1) {}
                a href={ "/sessions/" (encoded(&row.session_id)) } { (name(&row.name)) }
                @if let Some(user) = &row.user { small { (name(user)) } }
            }
            td.when { (ago(row.started, now)) }
            td.num { @if row.events > 0 { (duration(row.duration)) } }
            td.num { (count(row.events)) }
            td.num { (none(row.models)) }
            td.num { (none(row.tokens)) }
            td.num { (cost(row.cost)) }
            td.num.errors { @if failed { (count(row.errors.max(1))) } }
            td.source { @if let Some(source) = &row.source { (name(source)) } }
        }
    }
}

/// What makes the first session appear.
pub(super) fn empty(url: &str) -> Markup {
    let variable = format!("export HH_API_URL={url}");
    let lines = "use tracing_subscriber::prelude::*;\n\
        let honeyhive = honeyhive::HoneyHive::from_env()?;\n\
        tracing_subscriber::registry().with(honeyhive.layer()).init();";
    html! {
        section.empty {
            h2 { "No session yet" }
            p { "Point a program here, and what it does shows up on this page while it runs." }
            (copyable("shell", &variable))
            (copyable("main.rs", lines))
            p.note { "Any OpenTelemetry SDK works too: OTLP over HTTP to " code { (url) "/v1/traces" } "." }
            p.note { i.dot.run {} " waiting for the first one" }
        }
    }
}

pub(super) fn copyable(label: &str, content: &str) -> Markup {
    html! {
        figure.copyable {
            figcaption { (label) button.copy.js type="button" data-text=(content) { (super::format::icon("copy")) "copy" } }
            pre { code { (content) } }
        }
    }
}
