//! Filters, times and ranges of dates, as requests have them. Knows nothing of what is filtered.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::decode::open_enum;

open_enum! {
    /// How a [`Filter`] compares.
    Operator {
        /// The field is there.
        Exists "exists",
        /// It is not.
        NotExists "not exists",
        /// It is equal.
        Is "is",
        /// It is not equal.
        IsNot "is not",
        /// The text has this part.
        Contains "contains",
        /// The text does not have it.
        NotContains "not contains",
        /// The number is greater.
        GreaterThan "greater than",
        /// The number is less.
        LessThan "less than",
        /// The time is later.
        After "after",
        /// The time is earlier.
        Before "before",
    }

    /// As what a [`Filter`] compares.
    FilterType {
        /// Text.
        Text "string",
        /// Numbers.
        Number "number",
        /// True and false.
        Boolean "boolean",
        /// Points in time.
        Time "datetime",
    }
}

/// What an event must be like to be found.
///
/// ```
/// use honeyhive::api::Filter;
///
/// let filters = [
///     Filter::field("metadata.user").eq("ada"),
///     Filter::field("metrics.score").gt(0.5),
///     Filter::field("error").exists(),
/// ];
/// # let _ = filters;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    field: String,
    operator: Operator,
    value: Value,
    kind: FilterType,
}

/// A field that a [`Filter`] is about to compare.
#[derive(Clone, Debug)]
#[must_use = "a field becomes a filter with a comparison"]
pub struct FilterField {
    field: String,
}

impl Filter {
    /// Starts a filter: the name of the field, with dots for what is inside, such as `metadata.user`.
    pub fn field(name: impl Into<String>) -> FilterField {
        FilterField { field: name.into() }
    }

    /// Compares as something else than the value's own type.
    #[must_use]
    pub fn of_type(mut self, kind: impl Into<FilterType>) -> Self {
        self.kind = kind.into();
        self
    }
}

impl FilterField {
    /// Any operator with any value: text, a number, a boolean or null.
    #[must_use]
    pub fn compare(self, operator: impl Into<Operator>, value: impl Into<Value>) -> Filter {
        let value = value.into();
        let kind = match &value {
            Value::Bool(_) => FilterType::Boolean,
            Value::Number(_) => FilterType::Number,
            _ => FilterType::Text,
        };
        Filter {
            field: self.field,
            operator: operator.into(),
            value,
            kind,
        }
    }

    /// Is equal to.
    #[must_use]
    pub fn eq(self, value: impl Into<Value>) -> Filter {
        self.compare(Operator::Is, value)
    }

    /// Is not equal to.
    #[must_use]
    pub fn ne(self, value: impl Into<Value>) -> Filter {
        self.compare(Operator::IsNot, value)
    }

    /// Has this part.
    #[must_use]
    pub fn contains(self, part: impl Into<String>) -> Filter {
        self.compare(Operator::Contains, part.into())
    }

    /// Does not have this part.
    #[must_use]
    pub fn not_contains(self, part: impl Into<String>) -> Filter {
        self.compare(Operator::NotContains, part.into())
    }

    /// Is a greater number.
    #[must_use]
    pub fn gt(self, number: impl Into<f64>) -> Filter {
        self.compare(Operator::GreaterThan, super::decode::number(number.into()))
    }

    /// Is a smaller number.
    #[must_use]
    pub fn lt(self, number: impl Into<f64>) -> Filter {
        self.compare(Operator::LessThan, super::decode::number(number.into()))
    }

    /// Is a later time.
    #[must_use]
    pub fn after(self, time: impl Into<Timestamp>) -> Filter {
        self.compare(Operator::After, time.into().0)
            .of_type(FilterType::Time)
    }

    /// Is an earlier time.
    #[must_use]
    pub fn before(self, time: impl Into<Timestamp>) -> Filter {
        self.compare(Operator::Before, time.into().0)
            .of_type(FilterType::Time)
    }

    /// Is there.
    #[must_use]
    pub fn exists(self) -> Filter {
        self.compare(Operator::Exists, Value::Null)
    }

    /// Is not there.
    #[must_use]
    pub fn not_exists(self) -> Filter {
        self.compare(Operator::NotExists, Value::Null)
    }
}

impl From<Filter> for Value {
    fn from(filter: Filter) -> Self {
        json!({
            "field": filter.field,
            "operator": filter.operator.as_str(),
            "value": filter.value,
            "type": filter.kind.as_str(),
        })
    }
}

/// Filters as metrics and queues wrap them.
pub(crate) fn filter_array(filters: impl IntoIterator<Item = Filter>) -> Value {
    let filters: Vec<Value> = filters.into_iter().map(Value::from).collect();
    json!({ "filterArray": filters })
}

/// A point in time as requests have it: ISO 8601 in UTC. Made from a `SystemTime`, or from text that is one already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp(String);

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(iso(since))
    }
}

impl From<&str> for Timestamp {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Timestamp {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::String(time.0)
    }
}

/// `2026-01-31T23:59:59.000Z`, from the time since 1970.
fn iso(since: Duration) -> String {
    let seconds = since.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years of 400 are all alike; they are counted from a 1 March, so that a leap day comes last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// From one point in time to another, both included.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use honeyhive::api::DateRange;
///
/// let yesterday = SystemTime::now() - Duration::from_secs(86_400);
/// let ranges = [
///     DateRange::since(yesterday),
///     DateRange::between("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
/// ];
/// # let _ = ranges;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateRange {
    from: String,
    to: String,
}

impl DateRange {
    /// From one to the other.
    pub fn between(from: impl Into<Timestamp>, to: impl Into<Timestamp>) -> Self {
        Self {
            from: from.into().0,
            to: to.into().0,
        }
    }

    /// From then on.
    pub fn since(from: impl Into<Timestamp>) -> Self {
        // Far away, and within what every library of dates can tell.
        Self::between(from, "9000-01-01T00:00:00.000Z")
    }

    /// Until then.
    pub fn until(to: impl Into<Timestamp>) -> Self {
        Self::between(UNIX_EPOCH, to)
    }

    /// As the search has it.
    pub(crate) fn named(&self) -> Value {
        json!({ "start_time": self.from, "end_time": self.to })
    }

    /// As all others have it.
    pub(crate) fn bounds(&self) -> Value {
        json!({ "$gte": self.from, "$lte": self.to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_769_903_999, "2026-01-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(Duration::from_secs(seconds)), text);
        }
        assert_eq!(
            iso(Duration::from_millis(1_001)),
            "1970-01-01T00:00:01.001Z"
        );
    }

    #[test]
    fn filters_are_typed_by_their_values() {
        for (filter, expected) in [
            (Filter::field("a").eq("x"), json!(["is", "x", "string"])),
            (
                Filter::field("a").ne(true),
                json!(["is not", true, "boolean"]),
            ),
            (
                Filter::field("a").gt(3),
                json!(["greater than", 3, "number"]),
            ),
            (
                Filter::field("a").lt(0.5),
                json!(["less than", 0.5, "number"]),
            ),
            (
                Filter::field("a").exists(),
                json!(["exists", null, "string"]),
            ),
            (
                Filter::field("a").after("2026-01-01"),
                json!(["after", "2026-01-01", "datetime"]),
            ),
        ] {
            let value = Value::from(filter);
            let [operator, compared, kind] = ["operator", "value", "type"].map(|name| &value[name]);
            assert_eq!(json!([operator, compared, kind]), expected);
            assert_eq!(value["field"], "a");
        }
    }
}
