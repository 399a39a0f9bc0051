//! The text forms of W3C Trace Context and Baggage. Pure functions over text that anybody may have written: whatever
//! it is, reading it is bounded and does not fail.

use std::fmt::Write as _;

use crate::context::Remote;
use crate::event::carried::{PROJECT, SESSION_ID, SOURCE, TRACER_ID};
use crate::id::SessionId;

/// Of all baggage headers together so many bytes are read and written, as the specification asks for.
pub(super) const MAX_BAGGAGE: usize = 8192;
/// So many entries of baggage are kept.
pub(super) const MAX_ENTRIES: usize = 180;
/// A longer key is none.
pub(super) const MAX_KEY: usize = 256;
/// A longer value is none.
pub(super) const MAX_VALUE: usize = 4096;
/// The specification asks for so many characters of `tracestate`.
const MAX_STATE: usize = 512;
const MAX_STATE_MEMBERS: usize = 32;

/// Trace id, span id, and whether the trace is sampled.
pub(super) fn parse_traceparent(text: &str) -> Option<(u128, u64, bool)> {
    let text = text.trim_matches([' ', '\t']);
    let mut parts = text.splitn(5, '-');
    let (version, trace_id) = (parts.next()?, parts.next()?);
    let (span_id, flags, rest) = (parts.next()?, parts.next()?, parts.next());
    let version = u8::try_from(hex(version, 2)?).ok()?;
    // A later version may say more; this one may not.
    if version == 0xFF || version == 0 && rest.is_some() {
        return None;
    }
    let trace_id = hex(trace_id, 32)?;
    let span_id = u64::try_from(hex(span_id, 16)?).ok()?;
    let flags = hex(flags, 2)?;
    (trace_id != 0 && span_id != 0).then_some((trace_id, span_id, flags & 1 == 1))
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(lower) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

pub(super) fn traceparent(trace_id: u128, span_id: u64) -> String {
    format!("00-{trace_id:032x}-{span_id:016x}-01")
}

/// The members of all `tracestate` headers as one text; nothing when they break the rules, or there are none.
pub(super) fn parse_tracestate<'a>(headers: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for member in headers.flat_map(|header| header.split(',')) {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        let known = members.iter().any(|(known, _)| *known == key);
        if known || members.len() == MAX_STATE_MEMBERS || !is_state_key(key) || !is_state(value) {
            return None;
        }
        members.push((key, value));
    }
    // What is too long loses its longest members first, then its last.
    let length = |members: &[(&str, &str)]| -> usize {
        let lengths = members
            .iter()
            .map(|(key, value)| key.len() + value.len() + 2);
        lengths.sum::<usize>().saturating_sub(1)
    };
    if length(&members) > MAX_STATE {
        members.retain(|(key, value)| key.len() + value.len() < 128);
    }
    while length(&members) > MAX_STATE {
        members.pop();
    }
    let mut text = String::new();
    for (key, value) in &members {
        if !text.is_empty() {
            text.push(',');
        }
        let _ = write!(text, "{key}={value}");
    }
    (!text.is_empty()).then_some(text)
}

fn is_state_key(key: &str) -> bool {
    let rest = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= 256 && key.bytes().next().is_some_and(first) && key.bytes().all(rest)
}

fn is_state(value: &str) -> bool {
    let fine = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(fine)
}

/// What baggage headers say.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) session: Option<SessionId>,
    /// Everything else, with `project` and `source` under their plain names.
    pub(super) entries: Vec<(String, String)>,
}

/// The spellings of a name that is HoneyHive's, best first.
const SPELLINGS: [(&str, [&str; 3]); 3] = [
    (
        SESSION_ID,
        ["session_id", "honeyhive_session_id", "honeyhive.session_id"],
    ),
    (
        PROJECT,
        ["project", "honeyhive_project", "honeyhive.project"],
    ),
    (SOURCE, ["source", "honeyhive_source", "honeyhive.source"]),
];

/// Reads all baggage headers. Of an entry that comes twice the later counts; what cannot be read is left out.
pub(super) fn parse_baggage<'a>(headers: impl Iterator<Item = &'a str>) -> Read {
    let mut read = Read::default();
    // What each spelling said.
    let mut found: [[Option<String>; 3]; 3] = Default::default();
    let mut room = MAX_BAGGAGE;
    for member in headers.flat_map(|header| header.split(',')) {
        // Half an entry would be another one.
        match room.checked_sub(member.len().saturating_add(1)) {
            Some(left) => room = left,
            None => break,
        }
        // What follows a semicolon are properties of the entry.
        let pair = member.split(';').next().unwrap_or_default();
        let Some((key, value)) = pair.split_once('=') else {
            continue;
        };
        let (key, value) = (decode(key.trim()), decode(value.trim()));
        let spelling = SPELLINGS.iter().zip(&mut found).find_map(|(own, found)| {
            let at = own.1.iter().position(|known| *known == key)?;
            found.get_mut(at)
        });
        if let Some(slot) = spelling {
            *slot = Some(value);
        } else if key != TRACER_ID {
            put(&mut read.entries, key, value);
        }
    }
    let [sessions, projects, sources] = found;
    let mut sessions = sessions.iter().flatten();
    read.session = sessions.find_map(|text| SessionId::parse(text).ok());
    for (name, found) in [(PROJECT, projects), (SOURCE, sources)] {
        let mut found = found.into_iter().flatten();
        if let Some(value) = found.find(|value| !value.is_empty()) {
            put(&mut read.entries, name.to_owned(), value);
        }
    }
    read
}

/// Sets an entry; the answer is whether it was taken.
pub(super) fn put(entries: &mut Vec<(String, String)>, key: String, value: String) -> bool {
    let fine = !key.is_empty() && key.len() <= MAX_KEY && !key.chars().any(char::is_control);
    if !fine || value.len() > MAX_VALUE {
        return false;
    }
    if let Some((_, known)) = entries.iter_mut().find(|(known, _)| *known == key) {
        *known = value;
        return true;
    }
    // There is always room for the two that name an event's project and source.
    let room = entries.len() < MAX_ENTRIES || key == PROJECT || key == SOURCE;
    if room {
        entries.push((key, value));
    }
    room
}

/// A baggage header: the entries of `first`, then those `others` of another author that they do not replace. Also how
/// many did not fit.
pub(super) fn baggage(first: &[(&str, &str)], others: &[String]) -> (String, usize) {
    let (mut text, mut members, mut left_out) = (String::new(), 0, 0);
    let mut add = |member: &str| {
        if members >= MAX_ENTRIES || text.len() + member.len() + 1 > MAX_BAGGAGE {
            left_out += 1;
            return;
        }
        if members > 0 {
            text.push(',');
        }
        text.push_str(member);
        members += 1;
    };
    for (key, value) in first {
        let mut member = String::new();
        encode(&mut member, key);
        member.push('=');
        encode(&mut member, value);
        add(&member);
    }
    for member in others.iter().flat_map(|header| header.split(',')) {
        let member = member.trim();
        let key = member.split(['=', ';']).next().unwrap_or_default();
        let key = decode(key.trim());
        if !key.is_empty() && !first.iter().any(|(known, _)| *known == key) {
            add(member);
        }
    }
    (text, left_out)
}

/// Anything but letters, digits, `-`, `.`, `_` and `~` as `%XX`.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Undoes `%XX` and `+`; a percent sign that begins no escape stands for itself.
fn decode(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, tail @ ..] if digit(*high).is_some() && digit(*low).is_some() => {
                let (high, low) = (digit(*high).unwrap_or(0), digit(*low).unwrap_or(0));
                decoded.push(high << 4 | low);
                tail
            }
            [b'+', tail @ ..] => {
                decoded.push(b' ');
                tail
            }
            [byte, tail @ ..] => {
                decoded.push(*byte);
                tail
            }
        };
    }
    String::from_utf8(decoded)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// The remote parent that headers name.
pub(super) fn parent<'a>(
    traceparents: &[String],
    tracestates: impl Iterator<Item = &'a str>,
) -> Option<Remote> {
    // Two that differ are none.
    let (first, others) = traceparents.split_first()?;
    if others.iter().any(|other| other != first) {
        return None;
    }
    let (trace_id, span_id, sampled) = parse_traceparent(first)?;
    Some(Remote {
        trace_id,
        span_id,
        sampled,
        trace_state: parse_tracestate(tracestates).map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_what_the_specification_says() {
        let ids = (
            0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            0xb7ad_6b71_6920_3331,
        );
        assert_eq!(parse_traceparent(PARENT), Some((ids.0, ids.1, true)));
        assert_eq!(traceparent(ids.0, ids.1), PARENT);
        let other = |from: &str, to: &str| parse_traceparent(&PARENT.replacen(from, to, 1));
        for (from, to, fine) in [
            ("-01", "-00", true),
            ("-01", "-ff", true),
            ("00-", "cc-", true),
            ("-01", "-01-what-the-future-brings", false),
            ("00-", "ff-", false),
            ("00-", "0-", false),
            ("0af7", "0AF7", false),
            ("0af7", "0ag7", false),
            ("0af7", "af7", false),
            ("-b7ad", "-0b7ad", false),
            ("-01", "-1", false),
            ("-01", "", false),
            ("-01", "-01x", false),
            ("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32), false),
            ("b7ad6b7169203331", &"0".repeat(16), false),
            ("0af7", "+af7", false),
            ("0af7", "é7", false),
        ] {
            assert_eq!(other(from, to).is_some(), fine, "{from} -> {to}");
        }
        assert!(parse_traceparent(&format!(" {PARENT}\t")).is_some());
        let future = PARENT.replacen("00-", "01-", 1) + "-what-the-future-brings";
        assert!(parse_traceparent(&future).is_some());
    }

    #[test]
    fn a_tracestate_is_kept_whole_or_not_at_all() {
        let state = |headers: &[&str]| parse_tracestate(headers.iter().copied());
        assert_eq!(
            state(&["rojo=00f067aa0ba902b7 , congo=t61rcWkgMzE", "", "x@y=1"]).as_deref(),
            Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,x@y=1")
        );
        for broken in [
            "", " , ", "a", "A=1", "a=", "a=1,a=2", "a=1=2", "a=ü", "=1", "a=\u{7}",
        ] {
            assert_eq!(state(&[broken]), None, "{broken}");
        }
        let many: String = (0..33).map(|n| format!("k{n}=1,")).collect();
        assert_eq!(state(&[&many]), None);
        let long = format!("a=1,{}={},z=1", "k".repeat(200), "v".repeat(250));
        assert!(state(&[&long]).unwrap().len() <= MAX_STATE);
        let longer = format!("{long},b={}", "v".repeat(200));
        assert_eq!(state(&[&longer]).as_deref(), Some("a=1,z=1"));
    }

    #[test]
    fn escapes_are_undone_where_they_are_some() {
        for (text, decoded) in [
            ("plain", "plain"),
            ("a%20b+c", "a b c"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%C3%BC", "ü"),
            ("%FF", "\u{fffd}"),
            ("100%", "100%"),
        ] {
            assert_eq!(decode(text), decoded, "{text}");
        }
        let mut encoded = String::new();
        encode(&mut encoded, "a b,c;d=e%+ü\n~");
        assert_eq!(encoded, "a%20b%2Cc%3Bd%3De%25%2B%C3%BC%0A~");
        assert_eq!(decode(&encoded), "a b,c;d=e%+ü\n~");
    }

    #[test]
    fn of_the_spellings_the_best_that_can_be_read_counts() {
        const ID: &str = "7f3a5c10-0000-4000-8000-000000000001";
        let other = ID.replace("01", "02");
        let read = |text: &str| parse_baggage(std::iter::once(text));
        for text in [
            format!("session_id={ID}"),
            format!("a=1, honeyhive_session_id = {ID} ;p=1"),
            format!("honeyhive.session_id={}", ID.replace('-', "%2D")),
            format!("honeyhive.session_id={other},session_id={ID}"),
            format!("session_id=chat-7,honeyhive_session_id={ID}"),
            format!("session_id={other},session_id={ID}"),
        ] {
            let id = read(&text).session.map(|id| id.to_string());
            assert_eq!(id.as_deref(), Some(ID), "{text}");
        }
        // Names are what they are written as.
        assert!(read(&format!("Session_Id={ID}")).session.is_none());
        let read = read("honeyhive_project=a+b,honeyhive.source=%70rod,honeyhive_tracer_id=1,k=v");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            read.entries,
            [
                pair("k", "v"),
                pair("project", "a b"),
                pair("source", "prod")
            ]
        );
    }

    #[test]
    fn what_is_read_and_written_is_bounded() {
        let id = "7f3a5c10-0000-4000-8000-000000000001";
        let many: String = (0..1000).map(|n| format!("k{n}=v,")).collect();
        let read = parse_baggage([many.as_str(), &format!("session_id={id}")].into_iter());
        assert_eq!(read.entries.len(), MAX_ENTRIES);
        assert!(read.session.is_some());
        let huge = format!("a={},b=1", "x".repeat(MAX_BAGGAGE));
        assert!(
            parse_baggage(std::iter::once(huge.as_str()))
                .entries
                .is_empty()
        );

        let value = "ü".repeat(1000);
        let entries: Vec<(&str, &str)> = vec![("k", value.as_str()); 3];
        let (text, left_out) = baggage(&entries, &["other=1;p=2".to_owned(), "k=3".to_owned()]);
        assert!(
            text.len() <= MAX_BAGGAGE && text.ends_with(",other=1;p=2"),
            "{text}"
        );
        assert_eq!(left_out, 2);
    }
}
