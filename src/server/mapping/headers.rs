//! Credentials in the headers of requests, which some instrumentations record whole: taken out before anything is made
//! of them, from what is shown as raw as well. Knows attribute names and wire types.

use crate::export::otlp::proto;
use std::borrow::Cow;

const REDACTED: &str = "[redacted]";

/// Attributes that hold headers: all of them, or one each.
const ALL: [&str; 2] = ["gen_ai.headers", "llm.headers"];
const EACH: [&str; 4] = [
    "gen_ai.headers.",
    "llm.headers.",
    "http.request.header.",
    "http.response.header.",
];

/// Parts of the names of headers that hold credentials.
const CREDENTIALS: [&str; 10] = [
    "authorization",
    "api-key",
    "apikey",
    "cookie",
    "access-token",
    "auth-token",
    "session-token",
    "security-token",
    "secret",
    "password",
];

pub(super) fn redact(attributes: &mut [proto::KeyValue]) {
    for pair in attributes {
        if !pair.key.contains(".header") {
            continue;
        }
        let one = EACH.iter().find_map(|prefix| pair.key.strip_prefix(prefix));
        if let Some(header) = one {
            if is_credential(header) {
                pair.value = Some(plain(REDACTED));
            } else if let Some(value) = &mut pair.value {
                redact_value(value);
            }
        } else if ALL.contains(&pair.key.as_str())
            && let Some(value) = &mut pair.value
        {
            redact_value(value);
        }
    }
}

fn redact_value(value: &mut proto::AnyValue) {
    match &mut value.value {
        Some(proto::Value::Map(list)) => {
            for pair in &mut list.values {
                if is_credential(&pair.key) {
                    pair.value = Some(plain(REDACTED));
                } else if let Some(inner) = &mut pair.value {
                    redact_value(inner);
                }
            }
        }
        Some(proto::Value::Array(array)) => {
            // A pair of name and value, or a list of whatever else.
            let named = match array.values.first().and_then(|first| first.value.as_ref()) {
                Some(proto::Value::String(name)) => is_credential(name),
                _ => false,
            };
            if named && array.values.len() == 2 {
                if let Some(last) = array.values.last_mut() {
                    *last = plain(REDACTED);
                }
            } else {
                array.values.iter_mut().for_each(redact_value);
            }
        }
        Some(proto::Value::String(text)) if is_credential(text) => {
            *text = match serde_json::from_str(text) {
                Ok(mut json @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => {
                    redact_json(&mut json);
                    json.to_string()
                }
                // What cannot be taken apart goes whole.
                _ => REDACTED.to_owned(),
            };
        }
        _ => {}
    }
}

fn redact_json(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                match is_credential(key) {
                    true => *value = REDACTED.into(),
                    false => redact_json(value),
                }
            }
        }
        serde_json::Value::Array(items) => match items.as_mut_slice() {
            [serde_json::Value::String(name), value] if is_credential(name) => {
                *value = REDACTED.into();
            }
            items => items.iter_mut().for_each(redact_json),
        },
        serde_json::Value::String(text) if is_credential(text) => *text = REDACTED.to_owned(),
        _ => {}
    }
}

fn plain(text: &str) -> proto::AnyValue {
    proto::AnyValue {
        value: Some(proto::Value::String(text.to_owned())),
    }
}

/// Whether a header's name, or a text that may contain one, speaks of credentials.
fn is_credential(name: &str) -> bool {
    let name: Cow<'_, str> = match name.bytes().any(|b| b.is_ascii_uppercase() || b == b'_') {
        true => name.to_ascii_lowercase().replace('_', "-").into(),
        false => name.into(),
    };
    CREDENTIALS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::super::map;
    use super::super::tests::{bare, pair};
    use super::*;
    use serde_json::json;

    #[test]
    fn credentials_are_nowhere() {
        let secret = "s3cret";
        let headers = |name: &str| proto::AnyValue {
            value: Some(proto::Value::Map(proto::KeyValueList {
                values: vec![pair(name, secret), pair("accept", "*/*")],
            })),
        };
        let pairs = |name: &str| proto::AnyValue {
            value: Some(proto::Value::Array(proto::ArrayValue {
                values: [name, secret]
                    .map(|text| pair("", text).value.unwrap())
                    .to_vec(),
            })),
        };
        for name in [
            "authorization",
            "Proxy-Authorization",
            "X-API-KEY",
            "api_key",
            "Cookie",
            "set-cookie",
        ] {
            for value in [
                headers(name),
                pairs(name),
                pair("", &json!({name: secret}).to_string()).value.unwrap(),
                pair("", &json!([[name, secret]]).to_string())
                    .value
                    .unwrap(),
                pair("", &json!([format!("{name}: {secret}")]).to_string())
                    .value
                    .unwrap(),
                pair("", &format!("{{{name:?}: Sensitive, {secret:?}}}"))
                    .value
                    .unwrap(),
            ] {
                for key in ["gen_ai.headers", "llm.headers"] {
                    let attribute = proto::KeyValue {
                        key: key.to_owned(),
                        value: Some(value.clone()),
                    };
                    let event = map(bare(vec![attribute], Vec::new()), None, "").unwrap();
                    let shown = format!("{event:?}");
                    assert!(
                        !shown.contains(secret) && shown.contains("[redacted]"),
                        "{name} {shown}"
                    );
                }
            }
            let one = vec![pair(&format!("http.request.header.{name}"), secret)];
            let event = map(bare(one, Vec::new()), None, "").unwrap();
            assert!(!format!("{event:?}").contains(secret));
        }
    }
}
