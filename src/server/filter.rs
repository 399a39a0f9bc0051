//! Filters over events, as requests describe them: read, turned into SQL where they ask for a column, and asked of values
//! where they ask for what an event carries. Knows values, not the store.

use super::types::Bucket;
#[cfg(test)]
use super::types::Event;
use rusqlite::types::Value as Sql;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Most filters of one request.
const MOST: usize = 50;
/// Most bytes of a field's name.
pub(crate) const LONGEST: usize = 1000;

/// A field of its own in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    EventId,
    SessionId,
    ParentId,
    EventType,
    EventName,
    Source,
    Project,
    Error,
    StartTime,
    EndTime,
    Duration,
}

impl Column {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "event_id" => Self::EventId,
            "session_id" => Self::SessionId,
            "parent_id" => Self::ParentId,
            "event_type" => Self::EventType,
            "event_name" => Self::EventName,
            "source" => Self::Source,
            "project" => Self::Project,
            "error" => Self::Error,
            "start_time" => Self::StartTime,
            "end_time" => Self::EndTime,
            "duration" => Self::Duration,
            _ => return None,
        })
    }

    fn is_number(self) -> bool {
        matches!(self, Self::StartTime | Self::EndTime | Self::Duration)
    }

    #[cfg(test)]
    fn of(self, event: &Event) -> Value {
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
        match self {
            Self::EventId => event.event_id.clone().into(),
            Self::SessionId => event.session_id.clone().into(),
            Self::ParentId => event.parent_id.clone().into(),
            Self::EventType => event.event_type.clone().into(),
            Self::EventName => event.event_name.clone().into(),
            Self::Source => text(&event.source),
            Self::Project => text(&event.project),
            Self::Error => text(&event.error),
            Self::StartTime => event.start_time.into(),
            Self::EndTime => event.end_time.into(),
            Self::Duration => event.duration.into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Column(Column),
    /// What an event carries: the group, and the way within it (empty for the whole group).
    Carried(Bucket, String),
    /// A field that no event has.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    NotExists,
    Is,
    IsNot,
    Contains,
    NotContains,
    Greater,
    Less,
    After,
    Before,
}

const OPERATORS: [(&str, Operator); 10] = [
    ("exists", Operator::Exists),
    ("not exists", Operator::NotExists),
    ("is", Operator::Is),
    ("is not", Operator::IsNot),
    ("contains", Operator::Contains),
    ("not contains", Operator::NotContains),
    ("greater than", Operator::Greater),
    ("less than", Operator::Less),
    ("after", Operator::After),
    ("before", Operator::Before),
];

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Nothing,
    Text(String),
    Number(f64),
    Bool(bool),
    /// Milliseconds since 1970.
    Time(f64),
}

/// One condition on events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    field: Field,
    operator: Operator,
    operand: Operand,
}

/// A list of conditions; all must hold. `place` is what a message calls it.
pub(crate) fn conditions(
    value: Option<&Value>,
    place: &str,
    strict: bool,
) -> Result<Vec<Condition>, String> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        // The platform's stored filters are wrapped once more.
        Some(Value::Object(wrapped)) if wrapped.contains_key("filterArray") => {
            let inner = format!("{place}.filterArray");
            return conditions(wrapped.get("filterArray"), &inner, strict);
        }
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        Some(Value::Array(list)) => list.as_slice(),
        Some(_) => return Err(format!("{place} must be a list of filters")),
    };
    if list.len() > MOST {
        return Err(format!("{place} has more than {MOST} filters"));
    }
    let one = |(index, filter): (usize, &Value)| {
        Condition::read(filter, &format!("{place}[{index}]"), strict)
    };
    list.iter().enumerate().map(one).collect()
}

impl Condition {
    fn read(filter: &Value, place: &str, strict: bool) -> Result<Self, String> {
        let Value::Object(filter) = filter else {
            return Err(format!("{place} must be an object"));
        };
        if strict {
            let known = ["field", "operator", "value", "type"];
            if let Some(key) = filter.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(format!("{place} has an unknown field {:?}", short(key)));
            }
        }
        let text = |name: &str| filter.get(name).and_then(Value::as_str);
        let name = text("field").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| format!("{place}.field is required"))?;
        if name.len() > LONGEST {
            return Err(format!("{place}.field is longer than {LONGEST} bytes"));
        }
        let operator = text("operator").ok_or_else(|| format!("{place}.operator is required"))?;
        let known = OPERATORS.iter().find(|(known, _)| *known == operator);
        let Some((_, operator)) = known else {
            let known: Vec<&str> = OPERATORS.iter().map(|(known, _)| *known).collect();
            return Err(format!(
                "{place}.operator must be one of {}",
                known.join(", ")
            ));
        };
        let value = filter.get("value").unwrap_or(&Value::Null);
        let kind = match filter.get("type") {
            None | Some(Value::Null) => match value {
                Value::Number(_) => "number",
                Value::Bool(_) => "boolean",
                _ => "string",
            },
            Some(Value::String(kind))
                if ["string", "number", "boolean", "datetime"].contains(&kind.as_str()) =>
            {
                kind.as_str()
            }
            Some(_) => {
                return Err(format!(
                    "{place}.type must be one of string, number, boolean, datetime"
                ));
            }
        };
        let field = field(name);
        let mut operand = operand(*operator, kind, value, place)?;
        // Ids are kept in small letters, however they came.
        if let Field::Column(Column::EventId | Column::SessionId | Column::ParentId) = field
            && let Operand::Text(id) = &mut operand
        {
            id.make_ascii_lowercase();
        }
        Ok(Self {
            field,
            operator: *operator,
            operand,
        })
    }

    /// The group of values that the condition asks, if it asks any.
    pub(crate) fn bucket(&self) -> Option<Bucket> {
        match &self.field {
            Field::Carried(bucket, _) => Some(*bucket),
            Field::Column(_) | Field::Unknown => None,
        }
    }

    /// The condition in SQL, where it asks for a column; `expression` names one.
    pub(crate) fn sql(
        &self,
        expression: impl Fn(Column) -> &'static str,
        values: &mut Vec<Sql>,
    ) -> Option<String> {
        let column = match &self.field {
            Field::Carried(..) => return None,
            Field::Unknown => return Some(i32::from(self.holds(None)).to_string()),
            Field::Column(column) => *column,
        };
        let of = expression(column);
        let nothing = || i32::from(self.operator == Operator::IsNot).to_string();
        let operand = match (&self.operand, column.is_number()) {
            (Operand::Nothing, _) => None,
            (Operand::Text(text), false) => Some(Sql::Text(text.clone())),
            (Operand::Text(text), true) if self.searches() => Some(Sql::Text(text.clone())),
            (Operand::Text(text), true) => match text.trim().parse() {
                Ok(number) => Some(Sql::Real(number)),
                Err(_) => return Some(nothing()),
            },
            (Operand::Number(number) | Operand::Time(number), true) => Some(Sql::Real(*number)),
            (Operand::Number(_) | Operand::Time(_) | Operand::Bool(_), _) => {
                return Some(nothing());
            }
        };
        let sql = match (self.operator, operand.is_some()) {
            (Operator::Exists, _) | (Operator::IsNot, false) => {
                return Some(format!("{of} IS NOT NULL"));
            }
            (Operator::NotExists, _) | (Operator::Is, false) => {
                return Some(format!("{of} IS NULL"));
            }
            (Operator::Is, true) => format!("{of} = ?"),
            (Operator::IsNot, true) => format!("{of} IS NOT ?"),
            (Operator::Contains, true) => format!("instr(CAST({of} AS TEXT), ?) > 0"),
            (Operator::NotContains, true) => {
                format!("NOT coalesce(instr(CAST({of} AS TEXT), ?) > 0, 0)")
            }
            (Operator::Greater | Operator::After, true) => format!("{of} > ?"),
            (Operator::Less | Operator::Before, true) => format!("{of} < ?"),
            (_, false) => return Some("0".to_owned()),
        };
        values.extend(operand);
        Some(sql)
    }

    fn searches(&self) -> bool {
        matches!(self.operator, Operator::Contains | Operator::NotContains)
    }

    /// Whether the group of values, as JSON text, can satisfy the condition at all: a look without reading it.
    fn may_hold(&self, text: &str) -> bool {
        match (self.operator, &self.operand) {
            (Operator::Is | Operator::Contains, Operand::Text(needle)) => {
                let plain = |c: char| c >= ' ' && !matches!(c, '"' | '\\' | '\u{7f}');
                !needle.chars().all(plain)
                    || memchr::memmem::find(text.as_bytes(), needle.as_bytes()).is_some()
            }
            (Operator::Exists | Operator::Greater | Operator::Less, _) => text.len() > 2,
            _ => true,
        }
    }

    /// Whether it holds for a group of values that is JSON text. Of most groups no more than one value is read.
    pub(crate) fn holds_in_text(&self, text: &str) -> bool {
        if !self.may_hold(text) {
            return false;
        }
        match &self.field {
            Field::Carried(_, way) if !way.is_empty() && !way.contains('.') => {
                let mut reader = serde_json::Deserializer::from_str(text);
                let found = Only(way).deserialize(&mut reader).unwrap_or_default();
                self.holds(found.as_ref())
            }
            _ => self.holds_in(&serde_json::from_str(text).unwrap_or_default()),
        }
    }

    /// The same without the quick looks, to compare with.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn holds_in_all(&self, values: &Map<String, Value>) -> bool {
        self.holds_in(values)
    }

    /// Whether it holds for a group of values; only for conditions that ask one.
    fn holds_in(&self, values: &Map<String, Value>) -> bool {
        match &self.field {
            Field::Carried(_, way) if way.is_empty() => {
                let whole = Value::Object(values.clone());
                self.holds((!values.is_empty()).then_some(&whole))
            }
            Field::Carried(_, way) => self.holds(find(values, way)),
            Field::Column(_) | Field::Unknown => self.holds(None),
        }
    }

    /// Whether it holds for an event: what SQL and [`Self::holds_in`] come to together.
    #[cfg(test)]
    pub(crate) fn holds_for(&self, event: &Event) -> bool {
        match &self.field {
            Field::Column(column) => {
                // Columns of text know no dates, and columns of numbers compare as such.
                let operand = match (&self.operand, column.is_number()) {
                    (Operand::Text(text), true) if !self.searches() => text
                        .trim()
                        .parse()
                        .map_or(Operand::Bool(true), Operand::Number),
                    (Operand::Time(_), false) => Operand::Bool(true),
                    (operand, _) => operand.clone(),
                };
                let adapted = Self {
                    operand,
                    ..self.clone()
                };
                adapted.holds(Some(&column.of(event)))
            }
            Field::Unknown => self.holds(None),
            Field::Carried(bucket, _) => self.holds_in(match bucket {
                Bucket::Inputs => &event.inputs,
                Bucket::Outputs => &event.outputs,
                Bucket::Config => &event.config,
                Bucket::Metadata => &event.metadata,
                Bucket::Metrics => &event.metrics,
                Bucket::Feedback => &event.feedback,
                Bucket::UserProperties => &event.user_properties,
            }),
        }
    }

    /// Whether it holds for a value; `None` where there is none.
    fn holds(&self, found: Option<&Value>) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let found = found.filter(|value| !value.is_null());
        let compared = || found.and_then(|value| self.operand.compare(value));
        let contains = || match (found, &self.operand) {
            (Some(value), Operand::Text(needle)) => shown(value).contains(needle.as_str()),
            _ => false,
        };
        match self.operator {
            Operator::Exists => found.is_some(),
            Operator::NotExists => found.is_none(),
            Operator::Is if self.operand == Operand::Nothing => found.is_none(),
            Operator::IsNot if self.operand == Operand::Nothing => found.is_some(),
            Operator::Is => compared() == Some(Equal),
            Operator::IsNot => compared() != Some(Equal),
            Operator::Contains => contains(),
            Operator::NotContains => !contains(),
            Operator::Greater | Operator::After => compared() == Some(Greater),
            Operator::Less | Operator::Before => compared() == Some(Less),
        }
    }
}

/// Reads the value of one key of an object, and passes over the others.
struct Only<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Only<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Only<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(Named(self.0))? {
            match wanted {
                true => found = Some(map.next_value()?),
                false => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Named<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

impl Operand {
    /// How the value stands to this; `None` if they are of different kinds.
    fn compare(&self, value: &Value) -> Option<std::cmp::Ordering> {
        match self {
            Self::Nothing => None,
            Self::Text(text) => Some(shown(value).as_str().cmp(text)),
            Self::Number(number) => value.as_f64()?.partial_cmp(number),
            Self::Bool(flag) => Some(value.as_bool()?.cmp(flag)),
            Self::Time(time) => moment(value)?.partial_cmp(time),
        }
    }
}

fn field(name: &str) -> Field {
    if let Some(column) = Column::named(name) {
        return Field::Column(column);
    }
    let (first, way) = name.split_once('.').unwrap_or((name, ""));
    match Bucket::named(first) {
        Some(bucket) => Field::Carried(bucket, way.to_owned()),
        None => Field::Unknown,
    }
}

fn operand(operator: Operator, kind: &str, value: &Value, place: &str) -> Result<Operand, String> {
    let wrong = |what: &str| Err(format!("{place}.value must be {what}"));
    if matches!(operator, Operator::Exists | Operator::NotExists) {
        return Ok(Operand::Nothing);
    }
    if value.is_array() || value.is_object() {
        return wrong("text, a number, a boolean or null");
    }
    if value.is_null() {
        return match operator {
            Operator::Is | Operator::IsNot => Ok(Operand::Nothing),
            _ => wrong("given with this operator"),
        };
    }
    let text = shown(value);
    match (operator, kind) {
        (Operator::Contains | Operator::NotContains, _) => Ok(Operand::Text(text)),
        (Operator::After | Operator::Before, _) | (_, "datetime") => match moment_or_text(value) {
            Some(time) => Ok(Operand::Time(time)),
            None => wrong("a date and time, as 2026-01-31T12:00:00Z, or milliseconds since 1970"),
        },
        (_, "number") => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Operand::Number(number)),
            _ => wrong("a number"),
        },
        (_, "boolean") => match text.as_str() {
            "true" | "True" => Ok(Operand::Bool(true)),
            "false" | "False" => Ok(Operand::Bool(false)),
            _ => wrong("true or false"),
        },
        _ => Ok(Operand::Text(text)),
    }
}

/// A value as one compares it with text: strings as they are, whole numbers without a fraction, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(real) if number.is_f64() && real.fract() == 0.0 && real.abs() < 1e15 => {
                format!("{real:.0}")
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Milliseconds since 1970 of a date and time, a date, or of such a number itself.
pub(crate) fn moment(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => time(text),
        _ => None,
    }
}

/// The same of text in a request, where a number may be text too.
fn moment_or_text(value: &Value) -> Option<f64> {
    let number = || value.as_str()?.trim().parse::<f64>().ok();
    moment(value).or_else(|| number().filter(|number| number.is_finite()))
}

/// The same of text.
pub(crate) fn time(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_microsecond() as f64 / 1000.0);
    }
    let utc = |civil: jiff::civil::DateTime| {
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp().as_microsecond() as f64 / 1000.0)
    };
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        return utc(civil);
    }
    None
}

/// The value at a way of keys with dots between them; keys may hold dots themselves.
pub(crate) fn find<'v>(values: &'v Map<String, Value>, way: &str) -> Option<&'v Value> {
    if let Some(value) = values.get(way) {
        return Some(value);
    }
    way.match_indices('.').find_map(|(at, _)| {
        let (key, rest) = (way.get(..at)?, way.get(at + 1..)?);
        within(values.get(key)?, rest)
    })
}

fn within<'v>(value: &'v Value, way: &str) -> Option<&'v Value> {
    match value {
        Value::Object(values) => find(values, way),
        Value::Array(list) => {
            let (first, rest) = way.split_once('.').unwrap_or((way, ""));
            let value = list.get(first.parse::<usize>().ok()?)?;
            match rest.is_empty() {
                true => Some(value),
                false => within(value, rest),
            }
        }
        _ => None,
    }
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn condition(field: &str, operator: &str, value: &Value, kind: &str) -> Condition {
        let filter = json!({"field": field, "operator": operator, "value": value, "type": kind});
        Condition::read(&filter, "filters[0]", true).unwrap()
    }

    #[test]
    fn values_are_compared_by_the_type_that_is_named() {
        let event = Event {
            event_type: "model".to_owned(),
            duration: 12.5,
            start_time: 1_700_000_000_000.0,
            metadata: json!({"n": 5, "s": "5", "b": true, "when": "2026-01-02T00:00:00Z", "a": {"b.c": {"d": "deep"}},
                "l": ["x", {"y": 1}], "gone": null, "quote": "it's \"so\""})
            .as_object()
            .cloned()
            .unwrap(),
            ..Event::default()
        };
        let yes = [
            ("event_type", "is", json!("model"), "string"),
            ("duration", "greater than", json!("12"), "number"),
            ("duration", "less than", json!(13), "number"),
            (
                "start_time",
                "after",
                json!("2023-11-14T00:00:00Z"),
                "datetime",
            ),
            ("start_time", "before", json!("2023-11-15"), "datetime"),
            ("metadata.n", "is", json!(5.0), "number"),
            ("metadata.n", "is", json!("5"), "string"),
            ("metadata.s", "is", json!("5"), "string"),
            ("metadata.s", "is not", json!(5), "number"),
            ("metadata.b", "is", json!("true"), "boolean"),
            ("metadata.b", "is not", json!(false), "boolean"),
            ("metadata.when", "after", json!("2026-01-01"), "datetime"),
            (
                "metadata.when",
                "before",
                json!(1_800_000_000_000_i64),
                "datetime",
            ),
            ("metadata.a.b.c.d", "contains", json!("ee"), "string"),
            ("metadata.l.1.y", "is", json!(1), "number"),
            ("metadata.l", "contains", json!("x"), "string"),
            ("metadata.l", "not contains", json!("z"), "string"),
            ("metadata.gone", "not exists", json!(null), "string"),
            ("metadata.gone", "is", json!(null), "string"),
            ("metadata.n", "is not", json!(null), "string"),
            ("metadata.none", "is not", json!("x"), "string"),
            ("metadata.none", "not contains", json!("x"), "string"),
            ("metadata", "exists", json!(null), "string"),
            ("feedback", "not exists", json!(null), "string"),
            ("nothing", "not exists", json!(null), "string"),
            ("source", "not exists", json!(null), "string"),
            ("metadata.quote", "contains", json!("'s \"s"), "string"),
        ];
        for (field, operator, value, kind) in yes {
            let condition = condition(field, operator, &value, kind);
            assert!(condition.holds_for(&event), "{field} {operator} {value}");
            if condition.bucket() == Some(Bucket::Metadata) {
                let text = serde_json::to_string(&event.metadata).unwrap();
                assert!(condition.holds_in_text(&text), "{field} {operator} {value}");
            }
        }
        let no = [
            ("event_type", "is", json!("tool"), "string"),
            ("metadata.s", "is", json!(5), "number"),
            ("metadata.s", "greater than", json!(1), "number"),
            ("metadata.n", "is", json!(true), "boolean"),
            ("metadata.none", "is", json!("x"), "string"),
            ("metadata.none", "greater than", json!(0), "number"),
            ("metadata.gone", "exists", json!(null), "string"),
            ("duration", "is", json!(12), "number"),
            ("nothing", "is", json!("x"), "string"),
        ];
        for (field, operator, value, kind) in no {
            let condition = condition(field, operator, &value, kind);
            assert!(!condition.holds_for(&event), "{field} {operator} {value}");
        }
    }

    #[test]
    fn wrong_filters_are_named() {
        for (filters, named) in [
            (json!("x"), "filters must be"),
            (json!([1]), "filters[0] must be"),
            (json!([{"operator": "is", "value": 1}]), "filters[0].field"),
            (json!([{"field": "a", "value": 1}]), "filters[0].operator"),
            (
                json!([{"field": "a", "operator": "like", "value": 1}]),
                "filters[0].operator",
            ),
            (
                json!([{"field": "a", "operator": "is", "value": "x", "type": "id"}]),
                "filters[0].type",
            ),
            (
                json!([{"field": "a", "operator": "is", "value": "x", "type": "number"}]),
                "filters[0].value",
            ),
            (
                json!([{"field": "a", "operator": "is", "value": [], "type": "string"}]),
                "filters[0].value",
            ),
            (
                json!([{"field": "a", "operator": "after", "value": "soon"}]),
                "filters[0].value",
            ),
            (
                json!([{"field": "a", "operator": "contains", "value": null}]),
                "filters[0].value",
            ),
            (
                json!([{"field": "a", "operator": "is", "value": 1, "other": 1}]),
                "\"other\"",
            ),
        ] {
            let told = conditions(Some(&filters), "filters", true).unwrap_err();
            assert!(told.contains(named), "{filters}: {told}");
        }
        let many = Value::Array(vec![json!({"field": "a", "operator": "exists"}); 51]);
        assert!(conditions(Some(&many), "filters", false).is_err());
        assert_eq!(conditions(None, "filters", true).unwrap(), []);
    }
}
