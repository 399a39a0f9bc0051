//! What a server says, for diagnostics: without what it was told in confidence, should it repeat that.

use crate::config::{ApiKey, Config};
use crate::export::transport::Reply;

/// Of a reply so much is looked at, and so much of that is shown.
const READ: usize = 4096;
const SHOWN: usize = 512;
/// Headers shorter than this are no secrets.
const SHORTEST: usize = 8;
/// The longest spelling of one byte of a secret, in bytes.
pub(crate) const SPELLING: usize = 8;

/// What a server answered; of a success the body is another matter.
pub(super) fn describe(reply: &Reply, config: &Config) -> String {
    if (200..300).contains(&reply.status) {
        return format!("status {}", reply.status);
    }
    let moved = match &reply.location {
        Some(place) => {
            let place = concealed(place, &secrets(config));
            format!(" (a redirect to {place} that is not followed)")
        }
        None => String::new(),
    };
    let body = excerpt(&reply.body, config);
    format!("status {}{moved}{body}", reply.status)
}

/// The start of a body, on one line.
pub(super) fn excerpt(body: &[u8], config: &Config) -> String {
    if body.is_empty() {
        return String::new();
    }
    let secrets = secrets(config);
    let text = String::from_utf8_lossy(body.get(..READ).unwrap_or(body));
    let mut text = concealed(&text, &secrets);
    if body.len() > READ {
        // A secret that was cut off is not recognized, and nothing of it is to be seen.
        let longest = secrets.iter().map(|secret| secret.len()).max();
        let mut end = text
            .len()
            .saturating_sub(longest.unwrap_or(0).saturating_mul(SPELLING));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    let text: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let text = text.trim();
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

/// The keys, and headers of the user's own.
fn secrets(config: &Config) -> Vec<&str> {
    let keys = [&config.api_key, &config.ingestion_api_key];
    let keys = keys.into_iter().flatten().map(ApiKey::expose);
    // `Bearer abc` may be repeated without its first word.
    let headers = config.headers.iter().flat_map(|(_, value)| {
        std::iter::once(value.as_str()).chain(value.split_ascii_whitespace())
    });
    keys.chain(headers.filter(|value| value.len() >= SHORTEST))
        .collect()
}

/// The text with every secret in it as `***`.
pub(crate) fn concealed(text: &str, secrets: &[&str]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let found = secrets
            .iter()
            .filter_map(|secret| found_at(rest, secret))
            .filter(|end| rest.is_char_boundary(*end))
            .max();
        if found.is_some() {
            out.push_str("***");
        } else {
            out.push(next);
        }
        let length = found.unwrap_or(next.len_utf8());
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// Where the secret ends if the text begins with it, however each of its characters is spelled.
fn found_at(text: &str, secret: &str) -> Option<usize> {
    let mut ends = vec![0];
    for byte in secret.bytes() {
        let mut longer: Vec<usize> = Vec::new();
        for end in ends {
            let rest = text.as_bytes().get(end..).unwrap_or_default();
            longer.extend(spellings(rest, byte).map(|length| end + length));
        }
        longer.sort_unstable();
        longer.dedup();
        if longer.is_empty() {
            return None;
        }
        ends = longer;
    }
    ends.last().copied().filter(|end| *end > 0)
}

/// How many bytes the text takes for this byte, if it begins with it: as it is in either case, behind backslashes, or
/// as URLs, JSON and HTML write it.
fn spellings(text: &[u8], byte: u8) -> impl Iterator<Item = usize> {
    let same = move |other: &u8| other.eq_ignore_ascii_case(&byte);
    let slashes = text
        .iter()
        .take(SPELLING - 1)
        .take_while(|b| **b == b'\\')
        .count();
    let plain = (0..=slashes).filter(move |count| text.get(*count).is_some_and(same));
    let digits = |from: usize, to: usize, radix| {
        let digits = std::str::from_utf8(text.get(from..to)?).ok()?;
        u32::from_str_radix(digits, radix).ok()
    };
    let is = |code: Option<u32>| code == Some(u32::from(byte));
    let escaped = match text {
        [b'%', ..] => is(digits(1, 3, 16)).then_some(3),
        [b'\\', b'u', ..] => is(digits(2, 6, 16)).then_some(6),
        [b'&', ..] => text
            .iter()
            .take(SPELLING)
            .position(|b| *b == b';')
            .and_then(|end| {
                let code = match text.get(1..end)? {
                    b"amp" => Some(u32::from(b'&')),
                    b"lt" => Some(u32::from(b'<')),
                    b"gt" => Some(u32::from(b'>')),
                    b"quot" => Some(u32::from(b'"')),
                    b"apos" => Some(u32::from(b'\'')),
                    [b'#', b'x' | b'X', ..] => digits(3, end, 16),
                    [b'#', ..] => digits(2, end, 10),
                    _ => None,
                };
                is(code).then_some(end + 1)
            }),
        _ => None,
    };
    plain.map(|count| count + 1).chain(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let secret = r#"a"b\'c&d/e%f<"#;
        for spelled in [
            secret,
            r#"A"B\'C&D/E%F<"#,
            r#"a\"b\\'c&d\/e%f<"#,
            r#"a\\\"b\\\\'c&d/e%f<"#,
            r"a%22b%5c%27c%26d%2Fe%25f%3C",
            r"a%22b%5C'c%26d/e%25f%3c",
            r"a&quot;b\&#39;c&amp;d/e%f&lt;",
            r"a&#34;b\&#x27;c&amp;d/e%f&lt;",
            r"a\u0022b\u005c\u0027c\u0026d/e%f\u003c",
        ] {
            let text = format!("é {spelled} | {spelled}é");
            assert_eq!(
                concealed(&text, &["other", secret]),
                "é *** | ***é",
                "{spelled}"
            );
        }
        for other in ["", "é", "&", "%", "%2", "\\u00", "&;", "a\"b"] {
            assert_eq!(concealed(other, &[secret, ""]), other);
        }
    }

    #[test]
    fn nothing_is_left_of_a_secret_that_was_cut_off() {
        let config = Config {
            api_key: Some(ApiKey::new("k".repeat(60))),
            ..Config::default()
        };
        for length in READ - 100..READ + 100 {
            let body = format!("{}{}", " ".repeat(length), "k".repeat(60 * 50));
            let shown = excerpt(body.as_bytes(), &config);
            assert!(!shown.contains('k'), "{length}: {shown}");
        }
    }
}
