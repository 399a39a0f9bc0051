//! Values as people read them: fields with labels, JSON in colours, long text folded. Knows nothing of events.

use super::format::{Shown, clip, count};
use maud::{Markup, PreEscaped, Render, html};
use serde_json::{Map, Value};

/// Characters that are shown before a text is folded.
pub(super) const FOLD: usize = 700;
/// Characters of one text that a page holds; beyond, the address leads to all of it.
const MOST: usize = 20_000;
/// Levels that indent further, as in the stylesheet.
const DEEPEST: usize = 16;
/// Values of one tree of JSON that a page holds.
const VALUES: usize = 2_000;

/// The values of a group, each under its name.
pub(super) fn fields(map: &Map<String, Value>, all: &str) -> Markup {
    html! {
        dl.fields {
            @for (key, value) in map {
                div {
                    dt { (label(key)) }
                    dd { (field(value, all)) }
                }
            }
        }
    }
}

/// The name of a value, which may be broken where its parts meet.
pub(super) fn label(key: &str) -> Markup {
    let (start, cut) = clip(key, 200);
    html! {
        @for part in start.split_inclusive(['.', '_']) { (Shown(part)) wbr; }
        @if cut.is_some() { "…" }
    }
}

pub(super) fn field(value: &Value, all: &str) -> Markup {
    match value {
        Value::String(said) => text(said, all),
        Value::Array(items) if items.is_empty() => html! { span.nil { "[]" } },
        Value::Object(map) if map.is_empty() => html! { span.nil { "{}" } },
        Value::Array(_) | Value::Object(_) => tree(value),
        plain => html! { code { (Json::new(plain)) } },
    }
}

/// Text as it was meant, with its line breaks; folded where it is long.
pub(super) fn text(said: &str, all: &str) -> Markup {
    folded(said, all, FOLD)
}

/// As [`text`], folded where it is longer than `fold`.
pub(super) fn folded(said: &str, all: &str, fold: usize) -> Markup {
    let lines = said.lines().count();
    let (start, cut) = clip(said, fold);
    if cut.is_none() && lines <= 14 {
        return html! { div.text dir="auto" { (Shown(said)) } };
    }
    let start = match start.char_indices().filter(|(_, c)| *c == '\n').nth(9) {
        Some((end, _)) => start.get(..end).unwrap_or(start),
        None => start,
    };
    let (held, beyond) = clip(said, MOST);
    let size = u64::try_from(said.chars().count()).unwrap_or(u64::MAX);
    html! {
        details.long {
            summary {
                div.text.start dir="auto" { (Shown(start)) "…" }
                span.more { (count(size)) " characters" }
            }
            div.text dir="auto" { (Shown(held)) }
            @if beyond.is_some() { a.more href=(all) { "the rest, as JSON" } }
        }
    }
}

/// JSON in colours.
pub(super) fn tree(value: &Value) -> Markup {
    html! { pre.json { code { (Json::new(value)) } } }
}

struct Json<'a>(&'a Value);

impl<'a> Json<'a> {
    fn new(value: &'a Value) -> Self {
        Self(value)
    }
}

impl Render for Json<'_> {
    fn render_to(&self, buffer: &mut String) {
        let mut left = VALUES;
        // Each line is an element of its own, so that a long one is continued under its beginning.
        buffer.push_str("<span class=i0>");
        write(self.0, 0, &mut left, buffer);
        buffer.push_str("</span>");
    }
}

fn write(value: &Value, depth: usize, left: &mut usize, out: &mut String) {
    if *left == 0 {
        out.push('…');
        return;
    }
    *left -= 1;
    match value {
        Value::Null => out.push_str("<i class=l>null</i>"),
        Value::Bool(true) => out.push_str("<i class=l>true</i>"),
        Value::Bool(false) => out.push_str("<i class=l>false</i>"),
        Value::Number(number) => {
            out.push_str("<i class=n>");
            out.push_str(&number.to_string());
            out.push_str("</i>");
        }
        Value::String(said) => {
            out.push_str("<i class=s>");
            quoted(said, out);
            out.push_str("</i>");
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| (None, item));
            list(['[', ']'], items, depth, left, out);
        }
        Value::Object(map) => {
            let items = map.iter().map(|(key, value)| (Some(key.as_str()), value));
            list(['{', '}'], items, depth, left, out);
        }
    }
}

fn list<'a>(
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = (Option<&'a str>, &'a Value)>,
    depth: usize,
    left: &mut usize,
    out: &mut String,
) {
    out.push(open);
    let mut last = items.len();
    if last == 0 {
        out.push(close);
        return;
    }
    for (key, value) in items {
        line(depth + 1, out);
        if *left == 0 {
            out.push('…');
            break;
        }
        if let Some(key) = key {
            out.push_str("<b>");
            quoted(key, out);
            out.push_str("</b>: ");
        }
        write(value, depth + 1, left, out);
        last -= 1;
        if last > 0 {
            out.push(',');
        }
    }
    line(depth, out);
    out.push(close);
}

fn line(depth: usize, out: &mut String) {
    out.push_str("</span><span class=i");
    out.push_str(&depth.min(DEEPEST).to_string());
    out.push('>');
}

fn quoted(said: &str, out: &mut String) {
    let (start, cut) = clip(said, MOST);
    let text = serde_json::to_string(start).unwrap_or_default();
    Shown(&text).render_to(out);
    if let Some(size) = cut {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        PreEscaped(format!("<i class=l>… {} characters</i>", count(size))).render_to(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_and_values_are_escaped() {
        let page = tree(&json!({"<b>": ["</code><script>", "\u{202e}"]})).into_string();
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&lt;b&gt;"), "{page}");
        assert!(page.contains("U+202E"), "{page}");
    }

    #[test]
    fn no_value_is_too_large_for_a_page() {
        let wide: Value = (0..100_000).collect();
        assert!(tree(&wide).into_string().len() < 200_000);
        let long = "x".repeat(3_000_000);
        assert!(field(&long.into(), "/all").into_string().len() < 50_000);
    }
}
