//! How numbers, times and stored text are shown. Knows nothing of sessions or events.

use maud::{Markup, PreEscaped, Render, html};
use std::fmt::Write as _;

/// Stored text: escaped, kept from turning its surroundings round, and with invisible characters made visible.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl Render for Shown<'_> {
    fn render_to(&self, buffer: &mut String) {
        let mut before = None;
        let mut rest = self.0.chars().peekable();
        let mut plain = String::new();
        while let Some(c) = rest.next() {
            if hides(c, before, rest.peek().copied()) {
                plain.as_str().render_to(buffer);
                plain.clear();
                // Writing to a string does not fail.
                let _ = write!(buffer, "<span class=hid>U+{:04X}</span>", u32::from(c));
            } else {
                plain.push(c);
            }
            before = Some(c);
        }
        plain.as_str().render_to(buffer);
    }
}

/// Stored text where no markup can stand, as in a window's title: what hides is replaced.
pub(super) fn plain(text: &str) -> String {
    let (start, _) = clip(text.trim(), 120);
    start
        .chars()
        .map(|c| if hides(c, None, None) { '\u{fffd}' } else { c })
        .collect()
}

/// Whether a character shows nothing, or changes how others show.
fn hides(c: char, before: Option<char>, after: Option<char>) -> bool {
    match c {
        '\n' | '\t' => false,
        '\r' => after != Some('\n'),
        // Joiners belong to emoji and to several scripts; among Latin letters they only disguise.
        '\u{200c}' | '\u{200d}' => {
            let plain = |c: Option<char>| c.is_none_or(|c| u32::from(c) < 0x250);
            plain(before) || plain(after)
        }
        '\u{00ad}'
        | '\u{034f}'
        | '\u{061c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

/// The first characters of a text, and how many there are where that is not all.
pub(super) fn clip(text: &str, most: usize) -> (&str, Option<usize>) {
    match text.char_indices().nth(most) {
        None => (text, None),
        Some((end, _)) => (
            text.get(..end).unwrap_or_default(),
            Some(text.chars().count()),
        ),
    }
}

/// A name on one line: clipped, never empty.
pub(super) fn name(text: &str) -> Markup {
    let (start, cut) = clip(text.trim(), 120);
    html! {
        @if start.is_empty() { "(unnamed)" } @else { bdi { (Shown(start)) @if cut.is_some() { "…" } } }
    }
}

pub(super) fn duration(ms: f64) -> String {
    if !ms.is_finite() || ms < 0.0 {
        return "–".to_owned();
    }
    match ms {
        ms if ms < 0.001 => "0 ms".to_owned(),
        ms if ms < 1.0 => format!("{:.0} µs", ms * 1000.0),
        ms if ms < 10.0 => format!("{} ms", trimmed(ms, 1)),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 9_995.0 => format!("{:.2} s", ms / 1e3),
        ms if ms < 59_950.0 => format!("{:.1} s", ms / 1e3),
        ms if ms < 3_600_000.0 => {
            let seconds = (ms / 1e3).round();
            format!(
                "{:.0} min {:.0} s",
                (seconds / 60.0).floor(),
                seconds % 60.0
            )
        }
        ms if ms < 172_800_000.0 => {
            let minutes = (ms / 60e3).round();
            format!(
                "{:.0} h {:.0} min",
                (minutes / 60.0).floor(),
                minutes % 60.0
            )
        }
        ms => format!("{:.0} days", ms / 86_400_000.0),
    }
}

fn trimmed(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn plural(number: u64, one: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {one}{s}", count(number))
}

pub(super) fn cost(dollars: f64) -> String {
    match dollars {
        d if d <= 0.0 || !d.is_finite() => String::new(),
        d if d < 0.0001 => "<$0.0001".to_owned(),
        d if d < 0.01 => format!("${}", trimmed(d, 4)),
        d if d < 1.0 => format!("${d:.3}"),
        d => format!("${d:.2}"),
    }
}

/// A number as people read it, for metrics: short, but exact where that is short.
pub(super) fn real(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    trimmed(number, 4)
}

/// The value of a metric: short, and never so short that something becomes nothing.
pub(super) fn measure(number: f64) -> String {
    match number.abs() {
        size if size >= 1e15 || (size > 0.0 && size < 0.0005) => format!("{number:.2e}"),
        _ => real(number),
    }
}

/// How much a number changed.
pub(super) fn change(number: f64) -> String {
    let sign = if number > 0.0 { "+" } else { "" };
    format!("{sign}{}", measure(number)).replace('-', "\u{2212}")
}

/// A moment as people write it into a form: without a zone it is one of this machine.
pub(super) fn read_moment(text: &str) -> Option<f64> {
    let local = text.trim().parse::<jiff::civil::DateTime>();
    let zoned = local.ok()?.to_zoned(jiff::tz::TimeZone::system()).ok()?;
    Some(zoned.timestamp().as_microsecond() as f64 / 1000.0)
}

fn at(ms: f64) -> Option<jiff::Zoned> {
    let micros = ms * 1000.0;
    if !micros.is_finite() || micros.abs() > 1e17 {
        return None;
    }
    let timestamp = jiff::Timestamp::from_microsecond(micros as i64).ok()?;
    Some(timestamp.to_zoned(jiff::tz::TimeZone::system()))
}

/// `2 s ago`, with the exact time behind it.
pub(super) fn ago(ms: f64, now: f64) -> Markup {
    let exact = exact(ms);
    html! { time title=(exact) data-t=(format!("{ms:.0}")) { (since(now - ms)) } }
}

fn since(ms: f64) -> String {
    let seconds = ms / 1e3;
    match seconds {
        s if s < 1.0 => "now".to_owned(),
        s if s < 60.0 => format!("{s:.0} s ago"),
        s if s < 3600.0 => format!("{:.0} min ago", s / 60.0),
        s if s < 86_400.0 => format!("{:.0} h ago", s / 3600.0),
        s => format!("{:.0} d ago", s / 86_400.0),
    }
}

pub(super) fn exact(ms: f64) -> String {
    at(ms).map_or_else(String::new, |time| {
        time.strftime("%Y-%m-%d %H:%M:%S%.3f %Z").to_string()
    })
}

/// `5 Nov 14:02:11`, with the exact time behind it.
pub(super) fn moment(ms: f64) -> Markup {
    let short = at(ms).map_or_else(String::new, |time| {
        time.strftime("%-d %b %H:%M:%S").to_string()
    });
    html! { time title=(exact(ms)) { (short) } }
}

/// A part of a whole as an SVG length.
pub(super) struct Percent(pub(super) f64);

impl Render for Percent {
    fn render_to(&self, buffer: &mut String) {
        let value = if self.0.is_finite() {
            self.0.clamp(0.0, 100.0)
        } else {
            0.0
        };
        buffer.push_str(&trimmed(value, 2));
        buffer.push('%');
    }
}

/// Text that is safe in an address, as `encodeURIComponent` makes it.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

pub(super) fn icon(name: &str) -> Markup {
    // Drawn here, since the policy lets nothing in from elsewhere.
    let path = match name {
        "copy" => "M5 5V2.5h8.5V11H11M2.5 5H11v8.5H2.5z",
        "link" => {
            "M6.5 9.5l3-3M7 4.5l1.5-1.5a2.5 2.5 0 0 1 4 4L11 8.5M9 11.5L7.500 13a2.500 2.500 0 0 1-4-4L5 7.500"
        }
        _ => "M8 3v10M3 8h10",
    };
    PreEscaped(format!(
        "<svg class=icon viewBox=\"0 0 16 16\" width=14 height=14 aria-hidden=true><path d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_text_is_escaped_and_cannot_hide() {
        let shown = |text: &str| html! { (Shown(text)) }.into_string();
        assert_eq!(shown("<script>&\""), "&lt;script&gt;&amp;&quot;");
        assert_eq!(
            shown("a\u{202e}b\u{200b}"),
            "a<span class=hid>U+202E</span>b<span class=hid>U+200B</span>"
        );
        assert_eq!(
            shown("pay\u{200d}pal"),
            "pay<span class=hid>U+200D</span>pal"
        );
        assert_eq!(shown("👩\u{200d}💻"), "👩\u{200d}💻");
        assert_eq!(shown("a\r\nb\u{7}"), "a\r\nb<span class=hid>U+0007</span>");
    }

    #[test]
    fn numbers_and_times() {
        for (ms, expected) in [
            (0.0, "0 ms"),
            (0.25, "250 µs"),
            (4.25, "4.2 ms"),
            (4.0, "4 ms"),
            (130.4, "130 ms"),
            (999.7, "1.00 s"),
            (1840.0, "1.84 s"),
            (12_340.0, "12.3 s"),
            (59_960.0, "1 min 0 s"),
            (3_660_000.0, "1 h 1 min"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(duration(ms), expected, "{ms}");
        }
        assert_eq!(count(0), "0");
        assert_eq!(count(96_310), "96,310");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(plural(1, "event"), "1 event");
        assert_eq!(cost(0.004), "$0.004");
        assert_eq!(cost(0.0), "");
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
        assert_eq!(clip("äöü", 2), ("äö", Some(3)));
        assert_eq!(exact(f64::MAX), "");
        assert_eq!(measure(0.00012), "1.20e-4");
        assert_eq!(measure(0.75), "0.75");
        assert_eq!(measure(-3.0), "-3");
        assert_eq!(
            (change(0.25), change(-2.0)),
            ("+0.25".to_owned(), "\u{2212}2".to_owned())
        );
        assert_eq!(read_moment("soon"), None);
        assert_eq!(
            exact(read_moment("2026-01-31T12:30").unwrap()).get(..16),
            Some("2026-01-31 12:30")
        );
    }
}
