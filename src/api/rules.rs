//! What the API is known to refuse, checked before sending. Knows nothing of operations.

use serde_json::{Map, Value};

/// A rule for one field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// It is there.
    Required,
    /// Text of at most so many characters.
    MaxLength(usize),
    /// Text or a list that has something in it.
    NotEmpty,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A finite number.
    Number,
    /// A number from one to the other, both included.
    Range(f64, f64),
    /// A number above.
    Above(f64),
    /// An object.
    Object,
}

/// A field, `list[].field` for each of a list, and its rule. Where the field is not there, or null and that is allowed,
/// only `Required` says something.
pub(crate) type Rules = &'static [(&'static str, Rule)];

/// The field that breaks a rule, and what is wrong with it.
#[derive(Debug, PartialEq)]
pub(crate) struct Breach {
    pub(crate) field: String,
    pub(crate) what: String,
}

pub(crate) fn check(rules: Rules, fields: &Map<String, Value>) -> Result<(), Breach> {
    for (path, rule) in rules {
        walk(path, "", fields, *rule)?;
    }
    Ok(())
}

fn walk(path: &str, at: &str, fields: &Map<String, Value>, rule: Rule) -> Result<(), Breach> {
    let (segment, rest) = match path.split_once('.') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (path, None),
    };
    let name = segment.strip_suffix("[]").unwrap_or(segment);
    let at = if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    };
    let value = fields.get(name);
    let each = segment.ends_with("[]");
    match (value, rest) {
        (Some(Value::Array(items)), rest) if each => {
            for (index, item) in items.iter().enumerate() {
                let at = format!("{at}[{index}]");
                match (item, rest) {
                    (Value::Object(inner), Some(rest)) => walk(rest, &at, inner, rule)?,
                    (_, Some(_)) => return Err(breach(at, "is no object".to_owned())),
                    (item, None) => judge(at, Some(item), rule)?,
                }
            }
            Ok(())
        }
        (Some(Value::Object(inner)), Some(rest)) => walk(rest, &at, inner, rule),
        (_, Some(_)) => Ok(()),
        (value, None) => judge(at, value, rule),
    }
}

fn breach(field: String, what: String) -> Breach {
    Breach { field, what }
}

fn judge(at: String, value: Option<&Value>, rule: Rule) -> Result<(), Breach> {
    let required = matches!(rule, Rule::Required);
    let Some(value) = value.filter(|value| !required || !value.is_null()) else {
        return match required {
            true => Err(breach(at, "is required".to_owned())),
            false => Ok(()),
        };
    };
    let wrong = match (rule, value) {
        (Rule::MaxLength(limit), Value::String(text)) => {
            let length = text.chars().count();
            (length > limit).then(|| format!("has {length} characters; expected at most {limit}"))
        }
        (Rule::NotEmpty, Value::String(text)) if text.is_empty() => Some("is empty".to_owned()),
        (Rule::NotEmpty, Value::Array(items)) if items.is_empty() => Some("is empty".to_owned()),
        (Rule::OneOf(words), Value::String(text)) => {
            let known = words.contains(&text.as_str());
            (!known).then(|| format!("is {:?}; expected one of {}", cut(text), words.join(", ")))
        }
        (Rule::OneOf(words), value) if !value.is_null() => {
            Some(format!("is no text; expected one of {}", words.join(", ")))
        }
        (Rule::Number, value) => (!value.is_number()).then(|| "is no finite number".to_owned()),
        (Rule::Range(min, max), value) => match value.as_f64() {
            Some(number) if (min..=max).contains(&number) => None,
            Some(number) => Some(format!("is {number}; expected {min} to {max}")),
            None => Some(format!("is no finite number; expected {min} to {max}")),
        },
        (Rule::Above(limit), value) => value
            .as_f64()
            .filter(|number| number <= &limit)
            .map(|number| format!("is {number}; expected more than {limit}")),
        (Rule::Object, value) => {
            (!value.is_object() && !value.is_null()).then(|| "is no object".to_owned())
        }
        _ => None,
    };
    match wrong {
        Some(what) => Err(breach(at, what)),
        None => Ok(()),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_breach_names_the_field() {
        const RULES: Rules = &[
            ("name", Rule::Required),
            ("name", Rule::MaxLength(3)),
            ("kind", Rule::OneOf(&["a", "b"])),
            ("share", Rule::Range(0.0, 100.0)),
            ("scale", Rule::Above(0.0)),
            ("list", Rule::NotEmpty),
            ("events[].inputs", Rule::Required),
            ("events[].inputs", Rule::Object),
            ("events[].time", Rule::Number),
            ("env[]", Rule::OneOf(&["dev"])),
            ("deep.name", Rule::NotEmpty),
        ];
        let fine = json!({
            "name": "äöü", "kind": "b", "share": 100, "scale": null, "list": [1], "env": ["dev"],
            "events": [{"inputs": {}, "time": 1.5}], "deep": {"name": "x"},
        });
        assert_eq!(check(RULES, fine.as_object().unwrap()), Ok(()));
        for (field, value, named, said) in [
            ("name", json!(null), "name", "is required"),
            (
                "name",
                json!("four"),
                "name",
                "has 4 characters; expected at most 3",
            ),
            ("kind", json!("c"), "kind", "is \"c\"; expected one of a, b"),
            ("kind", json!(7), "kind", "is no text; expected one of a, b"),
            (
                "share",
                json!(100.5),
                "share",
                "is 100.5; expected 0 to 100",
            ),
            (
                "share",
                json!(null),
                "share",
                "is no finite number; expected 0 to 100",
            ),
            ("scale", json!(0), "scale", "is 0; expected more than 0"),
            ("list", json!([]), "list", "is empty"),
            (
                "events",
                json!([{"inputs": {}}, {}]),
                "events[1].inputs",
                "is required",
            ),
            (
                "events",
                json!([{"inputs": 3}]),
                "events[0].inputs",
                "is no object",
            ),
            ("events", json!([3]), "events[0]", "is no object"),
            (
                "events",
                json!([{"inputs": {}, "time": null}]),
                "events[0].time",
                "is no finite number",
            ),
            (
                "env",
                json!(["dev", "x"]),
                "env[1]",
                "is \"x\"; expected one of dev",
            ),
            ("deep", json!({"name": ""}), "deep.name", "is empty"),
        ] {
            let mut request = fine.as_object().unwrap().clone();
            request.insert(field.to_owned(), value);
            let breach = check(RULES, &request).unwrap_err();
            assert_eq!((breach.field.as_str(), breach.what.as_str()), (named, said));
        }
    }
}
