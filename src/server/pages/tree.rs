//! The tree of a session's events on a time axis. Knows rows of events, not what they carry.

use super::format::{Percent, count, duration, name};
use super::view::View;
use crate::server::store::{EventRow, SessionRow};
use maud::{Markup, html};
use std::collections::{HashMap, HashSet};

/// Rows that are written at once; the browser asks for the others as they come into sight.
pub(super) const CHUNK: usize = 60;
/// Height of a row, as in the stylesheet.
const ROW: usize = 24;
/// Failed or found events whose places a page holds.
const PLACES: usize = 500;
/// Levels that indent further.
const DEEPEST: usize = 24;

/// What a line of the tree stands for.
enum Subject<'a> {
    Session(&'a SessionRow),
    Event(&'a EventRow),
    /// A span that others name as their parent and that did not come (yet).
    Missing {
        fold: i64,
    },
}

pub(super) struct Line<'a> {
    subject: Subject<'a>,
    depth: usize,
    parent: Option<usize>,
    started: f64,
    ended: f64,
    children: usize,
    /// Failed events somewhere below.
    failed_below: usize,
    folded: bool,
    hidden: bool,
}

pub(super) struct Tree<'a> {
    /// Those in sight, in order.
    lines: Vec<Line<'a>>,
    from: f64,
    to: f64,
    /// Whether what is missing may still come.
    recent: bool,
}

impl<'a> Tree<'a> {
    pub(super) fn new(
        session: &'a SessionRow,
        rows: &'a [EventRow],
        recent: bool,
        folded: &HashSet<i64>,
    ) -> Self {
        let order = arrange(session, rows);
        let mut lines: Vec<Line<'a>> = Vec::with_capacity(order.len() + 1);
        let from = rows
            .iter()
            .map(|row| row.started)
            .fold(session.started, f64::min);
        let to = rows
            .iter()
            .map(|row| row.ended)
            .fold(session.ended, f64::max);
        // The line at each depth on the way down to the current one.
        let mut path: Vec<usize> = Vec::new();
        for (subject, depth) in order {
            path.truncate(depth);
            let parent = path.last().copied();
            let (started, ended, fold) = match &subject {
                Subject::Session(_) => (from, to, 0),
                Subject::Event(row) => (row.started, row.ended, row.id),
                Subject::Missing { fold } => (f64::INFINITY, 0.0, *fold),
            };
            path.push(lines.len());
            lines.push(Line {
                subject,
                depth,
                parent,
                started,
                ended,
                children: 0,
                failed_below: 0,
                folded: folded.contains(&fold),
                hidden: false,
            });
        }
        for index in (0..lines.len()).rev() {
            let Some(line) = lines.get(index) else {
                continue;
            };
            let failed = match &line.subject {
                Subject::Event(row) => usize::from(row.failed),
                Subject::Session(_) | Subject::Missing { .. } => 0,
            };
            let below = line.failed_below + failed;
            let (started, ended) = (line.started, line.ended);
            if let Some(parent) = line.parent.and_then(|parent| lines.get_mut(parent)) {
                parent.children += 1;
                parent.failed_below += below;
                if matches!(parent.subject, Subject::Missing { .. }) {
                    parent.started = parent.started.min(started);
                    parent.ended = parent.ended.max(ended);
                }
            }
        }
        for index in 0..lines.len() {
            let parent = lines.get(index).and_then(|line| line.parent);
            let hidden = parent
                .and_then(|parent| lines.get(parent))
                .is_some_and(|parent| parent.hidden || parent.folded);
            if let Some(line) = lines.get_mut(index) {
                line.hidden = hidden;
            }
        }
        lines.retain(|line| !line.hidden);
        Self {
            lines,
            from,
            to,
            recent,
        }
    }

    /// Whether an event that others name as their parent has not come.
    pub(super) fn waits(&self) -> bool {
        let mut lines = self.lines.iter();
        lines.any(|line| matches!(line.subject, Subject::Missing { .. }))
    }

    /// Where the chosen event stands among the lines in sight.
    pub(super) fn position(&self, event: &str) -> Option<usize> {
        self.lines.iter().position(|line| line.id() == Some(event))
    }

    pub(super) fn render(&self, view: &View, chosen: &str, hits: Option<&HashSet<i64>>) -> Markup {
        let shown = match view.from {
            Some(from) => from / CHUNK,
            None => self.position(chosen).unwrap_or(0) / CHUNK,
        };
        let total = self.to - self.from;
        html! {
            div.axis aria-hidden="true" {
                span.head { "event" }
                span.num { "tokens" }
                span.scale {
                    span { "0" }
                    span { (duration(total / 2.0)) }
                    span { (duration(total)) }
                }
            }
            div #tree role="tree" aria-label="events" tabindex="-1" data-total=(self.lines.len())
                data-bad=(places(self.lines.iter().map(Line::is_bad)))
                data-hit=(places(self.lines.iter().map(|line| line.is_in(hits)))) {
                @for (index, lines) in self.lines.chunks(CHUNK).enumerate() {
                    @let first = index * CHUNK;
                    div.chunk role="presentation" data-from=(first) data-wait[index != shown] {
                        @if index == shown {
                            @for line in lines { (self.line(line, view, chosen, hits)) }
                        } @else {
                            // An attribute, since the policy lets no style in.
                            svg.gap width="1" height=(lines.len() * ROW) aria-hidden="true" {}
                            @if index.abs_diff(shown) == 1 { noscript { a href=(view.at(first)) { "events " (first + 1) " to " (first + lines.len()) } } }
                        }
                    }
                }
            }
        }
    }

    fn line(
        &self,
        line: &Line<'_>,
        view: &View,
        chosen: &str,
        hits: Option<&HashSet<i64>>,
    ) -> Markup {
        let (kind, id, fold) = match &line.subject {
            Subject::Session(session) => ("session", Some(session.session_id.as_str()), 0),
            Subject::Event(row) => (row.kind.as_str(), Some(row.event_id.as_str()), row.id),
            Subject::Missing { fold } => ("missing", None, *fold),
        };
        let failed = match &line.subject {
            Subject::Event(row) => row.failed,
            Subject::Session(session) => session.error.is_some(),
            Subject::Missing { .. } => false,
        };
        let tokens = match &line.subject {
            Subject::Event(row) => row.tokens,
            Subject::Session(_) | Subject::Missing { .. } => 0,
        };
        let took = match &line.subject {
            Subject::Event(row) => row.duration,
            Subject::Session(_) | Subject::Missing { .. } => line.ended - line.started,
        };
        let level = line.depth.min(DEEPEST);
        let hit = line.is_in(hits);
        let selected = id == Some(chosen);
        let mut class = format!("row d{level} k-{kind}");
        for (on, name) in [(failed, " bad"), (hit, " hit"), (selected, " sel")] {
            if on {
                class.push_str(name);
            }
        }
        html! {
            div class=(class) role="treeitem"
                aria-level=(line.depth + 1) aria-selected=(selected)
                aria-expanded=[(line.children > 0).then_some(!line.folded)] {
                span.nm {
                    @if line.children > 0 && fold != 0 {
                        a.tw href=(view.toggled(fold)) aria-label=(if line.folded { "unfold" } else { "fold" }) {
                            @if line.folded { "▸" } @else { "▾" }
                        }
                    } @else { i.tw {} }
                    @match &line.subject {
                        Subject::Session(session) => a.pk href=(view.chosen(&session.session_id)) { (name(&session.name)) },
                        Subject::Event(row) => a.pk href=(view.chosen(&row.event_id)) { (name(&row.name)) },
                        Subject::Missing { .. } => span.pk { @if self.recent { "in progress" } @else { "parent not received" } },
                    }
                    @if failed { em.err { "error" } }
                    @else if line.failed_below > 0 { em.err.below title="failed events below" { (line.failed_below) } }
                    @if line.folded { small { "+" (line.children) } }
                    span.kd { @if id.is_some() { (kind) } }
                }
                span.num { @if tokens > 0 { (count(tokens)) } }
                (self.bar(line, took))
            }
        }
    }

    fn bar(&self, line: &Line<'_>, took: f64) -> Markup {
        let total = (self.to - self.from).max(f64::MIN_POSITIVE);
        let start = (line.started - self.from) / total * 100.0;
        let width = ((line.ended - line.started) / total * 100.0).max(0.3);
        let end = start + width;
        // The label stands where there is room: after the bar, before it, else within.
        let (at, side) = if end < 82.0 {
            (end, "a")
        } else if start > 18.0 {
            (start, "b")
        } else {
            (end, "b in")
        };
        html! {
            svg.bar aria-hidden="true" {
                rect x=(Percent(start.min(99.7))) y="7" width=(Percent(width)) height="10" rx="1.5" {}
                text class=(side) x=(Percent(at)) y="16" dx=(if side == "a" { "6" } else { "-6" }) { (duration(took)) }
            }
        }
    }
}

impl Line<'_> {
    /// Failed itself, or hides something below that did.
    fn is_bad(&self) -> bool {
        let failed = match &self.subject {
            Subject::Session(session) => session.error.is_some(),
            Subject::Event(row) => row.failed,
            Subject::Missing { .. } => false,
        };
        failed || (self.folded && self.failed_below > 0)
    }

    fn is_in(&self, hits: Option<&HashSet<i64>>) -> bool {
        match &self.subject {
            Subject::Event(row) => hits.is_some_and(|hits| hits.contains(&row.id)),
            Subject::Session(_) | Subject::Missing { .. } => false,
        }
    }

    fn id(&self) -> Option<&str> {
        match &self.subject {
            Subject::Session(session) => Some(&session.session_id),
            Subject::Event(row) => Some(&row.event_id),
            Subject::Missing { .. } => None,
        }
    }
}

/// Where the lines of a kind stand, so that the script finds those that are not in the browser yet.
fn places(kind: impl Iterator<Item = bool>) -> String {
    let places = kind.enumerate().filter(|(_, is)| *is).take(PLACES);
    let places: Vec<String> = places.map(|(place, _)| place.to_string()).collect();
    places.join(" ")
}

/// The order in which events are shown, with their depth: each below its parent, siblings by their beginning. Whatever
/// parents the events name, each appears once.
fn arrange<'a>(session: &'a SessionRow, rows: &'a [EventRow]) -> Vec<(Subject<'a>, usize)> {
    let places: HashMap<&str, usize> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| (row.event_id.as_str(), index))
        .collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); rows.len()];
    let mut roots: Vec<Node> = Vec::new();
    let mut missing: HashMap<&str, usize> = HashMap::new();
    let mut orphans: Vec<Vec<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let parent = row.parent_id.as_deref();
        match parent.filter(|parent| *parent != session.session_id) {
            None => roots.push(Node::Event(index)),
            Some(parent) => match places.get(parent) {
                Some(place) if *place != index => {
                    if let Some(list) = children.get_mut(*place) {
                        list.push(index);
                    }
                }
                Some(_) => roots.push(Node::Event(index)),
                None => {
                    let group = *missing.entry(parent).or_insert_with(|| {
                        roots.push(Node::Missing(orphans.len(), -row.id));
                        orphans.push(Vec::new());
                        orphans.len() - 1
                    });
                    if let Some(list) = orphans.get_mut(group) {
                        list.push(index);
                    }
                }
            },
        }
    }
    let mut order = vec![(Subject::Session(session), 0)];
    let mut seen = vec![false; rows.len()];
    let mut stack: Vec<(Node, usize)> = roots.into_iter().rev().map(|node| (node, 1)).collect();
    // Events that name each other as parents are under no root: they are taken as roots, the first of them first.
    let mut next = 0;
    loop {
        while let Some((node, depth)) = stack.pop() {
            let below = match node {
                Node::Event(index) => {
                    let (Some(row), Some(seen)) = (rows.get(index), seen.get_mut(index)) else {
                        continue;
                    };
                    if std::mem::replace(seen, true) {
                        continue;
                    }
                    order.push((Subject::Event(row), depth));
                    children.get(index)
                }
                Node::Missing(group, fold) => {
                    order.push((Subject::Missing { fold }, depth));
                    orphans.get(group)
                }
            };
            for child in below.into_iter().flatten().rev() {
                stack.push((Node::Event(*child), depth + 1));
            }
        }
        match seen.iter().skip(next).position(|seen| !seen) {
            None => return order,
            Some(offset) => {
                next += offset;
                stack.push((Node::Event(next), 1));
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Node {
    Event(usize),
    Missing(usize, i64),
}
