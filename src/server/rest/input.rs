//! What requests say: bodies and queries, read field by field. What is wrong is refused with a message that names the
//! field. Knows nothing of what the fields mean.

use crate::server::filter::{self, Condition};
use crate::server::http::{Problem, body};
use crate::server::types::{BUCKETS, Buckets};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use serde_json::{Map, Value};

/// Most of a body.
const LIMIT: usize = 16 << 20;
/// Most of a name, in characters.
pub(super) const NAME: usize = 200;

/// A JSON object that is taken apart.
#[derive(Debug)]
pub(super) struct Fields {
    map: Map<String, Value>,
    /// How messages call it: empty for the body itself, else as `events[2].`.
    place: String,
}

pub(super) type Wrong<T> = Result<T, Problem>;

impl Fields {
    /// The body of a request.
    pub(super) async fn read(request: Request) -> Wrong<Self> {
        let content = body(request.into_body(), LIMIT).await?;
        Self::parse(&content)
    }

    pub(super) fn parse(content: &[u8]) -> Wrong<Self> {
        match serde_json::from_slice(content) {
            Ok(Value::Object(map)) => Ok(Self::new(map, "")),
            Ok(_) => Err(Problem::bad("the body must be a JSON object")),
            Err(error) => Err(Problem::bad(format!("malformed JSON: {error}"))),
        }
    }

    /// The body of a request that may have none.
    pub(super) async fn read_optional(request: Request) -> Wrong<Self> {
        let content = body(request.into_body(), LIMIT).await?;
        match content.trim_ascii().is_empty() {
            true => Ok(Self::new(Map::new(), "")),
            false => Self::parse(&content),
        }
    }

    pub(super) fn new(map: Map<String, Value>, place: impl Into<String>) -> Self {
        Self {
            map,
            place: place.into(),
        }
    }

    pub(super) fn wrong(&self, name: &str, must: &str) -> Problem {
        Problem::bad(format!("{}{name} must be {must}", self.place))
    }

    fn needed(&self, name: &str) -> Problem {
        Problem::bad(format!("{}{name} is required", self.place))
    }

    /// The value of a field, if there is one and it is not `null`.
    pub(super) fn any(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Whether there is a value other than `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is given as `null`.
    pub(super) fn clears(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(Value::is_null)
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn text(&mut self, name: &str) -> Wrong<Option<String>> {
        match self.any(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "text")),
        }
    }

    /// Text that says something, of so many characters at most.
    pub(super) fn filled(&mut self, name: &str, most: usize) -> Wrong<Option<String>> {
        let text = self.text(name)?;
        match text {
            Some(text) if text.trim().is_empty() => Err(self.wrong(name, "text that is not empty")),
            Some(text) if text.chars().count() > most => {
                let must = format!("text of at most {most} characters");
                Err(self.wrong(name, &must))
            }
            text => Ok(text),
        }
    }

    pub(super) fn need_filled(&mut self, name: &str, most: usize) -> Wrong<String> {
        let text = self.filled(name, most)?;
        text.ok_or_else(|| self.needed(name))
    }

    pub(super) fn choice(&mut self, name: &str, known: &[&str]) -> Wrong<Option<String>> {
        let must = || format!("one of {}", known.join(", "));
        match self.any(name) {
            None => Ok(None),
            Some(Value::String(text)) if known.contains(&text.as_str()) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, &must())),
        }
    }

    pub(super) fn need_choice(&mut self, name: &str, known: &[&str]) -> Wrong<String> {
        let text = self.choice(name, known)?;
        text.ok_or_else(|| self.needed(name))
    }

    pub(super) fn number(&mut self, name: &str) -> Wrong<Option<f64>> {
        match self.any(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(name, "a number")),
            },
        }
    }

    /// A whole number in this range.
    pub(super) fn whole(&mut self, name: &str, least: u64, most: u64) -> Wrong<Option<u64>> {
        let Some(number) = self.number(name)? else {
            return Ok(None);
        };
        let whole = number as u64;
        if number.fract() == 0.0 && number >= 0.0 && (least..=most).contains(&whole) {
            return Ok(Some(whole));
        }
        let must = match most {
            u64::MAX => format!("a whole number of at least {least}"),
            _ => format!("a whole number between {least} and {most}"),
        };
        Err(self.wrong(name, &must))
    }

    pub(super) fn flag(&mut self, name: &str) -> Wrong<Option<bool>> {
        match self.any(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Wrong<Option<Map<String, Value>>> {
        match self.any(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.wrong(name, "an object")),
        }
    }

    /// An object to be taken apart itself.
    pub(super) fn need_fields(&mut self, name: &str) -> Wrong<Self> {
        let map = self.object(name)?.ok_or_else(|| self.needed(name))?;
        Ok(Self::new(map, format!("{}{name}.", self.place)))
    }

    pub(super) fn fields(&mut self, name: &str) -> Wrong<Option<Self>> {
        let map = self.object(name)?;
        Ok(map.map(|map| Self::new(map, format!("{}{name}.", self.place))))
    }

    pub(super) fn list(&mut self, name: &str) -> Wrong<Option<Vec<Value>>> {
        match self.any(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(name, "a list")),
        }
    }

    pub(super) fn objects(&mut self, name: &str) -> Wrong<Option<Vec<Map<String, Value>>>> {
        let Some(list) = self.list(name)? else {
            return Ok(None);
        };
        let mut objects = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            match value {
                Value::Object(map) => objects.push(map),
                _ => return Err(self.wrong(&format!("{name}[{index}]"), "an object")),
            }
        }
        Ok(Some(objects))
    }

    /// A list of text, none of it empty.
    pub(super) fn texts(&mut self, name: &str) -> Wrong<Option<Vec<String>>> {
        let Some(list) = self.list(name)? else {
            return Ok(None);
        };
        let mut texts = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            match value {
                Value::String(text) if !text.is_empty() => texts.push(text),
                _ => {
                    let name = format!("{name}[{index}]");
                    return Err(self.wrong(&name, "text that is not empty"));
                }
            }
        }
        Ok(Some(texts))
    }

    /// The seven groups of values of an event.
    pub(super) fn buckets(&mut self) -> Wrong<Buckets> {
        let mut buckets = Buckets::default();
        for bucket in BUCKETS {
            if let Some(values) = self.object(bucket.name())? {
                *buckets.get_mut(bucket) = values;
            }
        }
        Ok(buckets)
    }

    pub(super) fn conditions(&mut self, name: &str, strict: bool) -> Wrong<Vec<Condition>> {
        let value = self.any(name);
        let place = format!("{}{name}", self.place);
        filter::conditions(value.as_ref(), &place, strict).map_err(Problem::bad)
    }

    /// Text in a number's place counts as absent, as with the platform's sessions.
    pub(super) fn lenient_number(&mut self, name: &str) -> Option<f64> {
        self.any(name).and_then(|value| value.as_f64())
    }

    /// The same for other values in the place of text.
    pub(super) fn lenient_text(&mut self, name: &str) -> Option<String> {
        match self.any(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Refuses what is left: fields that nobody knows.
    pub(super) fn nothing_else(self) -> Wrong<()> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => {
                let key: String = key.chars().take(100).collect();
                Err(Problem::bad(format!(
                    "{}{key} is not a field of this request",
                    self.place
                )))
            }
        }
    }

    /// What is left, for those who keep what they do not know.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.map
    }
}

/// A beginning and an end, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Span {
    pub(super) from: Option<f64>,
    pub(super) to: Option<f64>,
}

/// `{first: .., last: ..}`, dates and times or milliseconds since 1970.
pub(super) fn span(value: Option<&Value>, place: &str, [first, last]: [&str; 2]) -> Wrong<Span> {
    let map = match value {
        None | Some(Value::Null) => return Ok(Span::default()),
        Some(Value::Object(map)) => map,
        Some(_) => {
            return Err(Problem::bad(format!(
                "{place} must be an object with {first} and {last}"
            )));
        }
    };
    let end = |name: &str| {
        // The official client sends its typed ranges without the dollar sign.
        let bare = name.trim_start_matches('$');
        let value = map.get(name).or_else(|| map.get(bare));
        match value.filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => filter::moment(value).map(Some).ok_or_else(|| {
                Problem::bad(format!(
                    "{place}.{name} must be a date and time, as 2026-01-31T12:00:00Z"
                ))
            }),
        }
    };
    Ok(Span {
        from: end(first)?,
        to: end(last)?,
    })
}

pub(super) const ENDS: [&str; 2] = ["$gte", "$lte"];

/// The query of a request.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        let axum::extract::Query(pairs) =
            query.map_err(|error| Problem::bad(format!("malformed query: {error}")))?;
        Ok(Self(pairs))
    }
}

impl Query {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter().filter(|(key, _)| key == name);
        pairs
            .next()
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn need(&self, name: &str) -> Wrong<&str> {
        self.text(name)
            .ok_or_else(|| Problem::bad(format!("{name} is required")))
    }

    /// `name[]=a&name[]=b`; a bare name is refused, as the platform does.
    pub(super) fn list(&self, name: &str) -> Wrong<Option<Vec<String>>> {
        let mut list = Vec::new();
        for (key, value) in &self.0 {
            let Some(rest) = key.strip_prefix(name) else {
                continue;
            };
            if rest.is_empty() {
                return Err(Problem::bad(format!(
                    "{name} must be a list: {name}[]=..&{name}[]=.."
                )));
            }
            if rest.starts_with('[') && rest.ends_with(']') {
                list.push(value.clone());
            }
        }
        Ok((!list.is_empty()).then_some(list))
    }

    pub(super) fn whole(&self, name: &str, most: u64, otherwise: u64) -> Wrong<u64> {
        match self.text(name) {
            None => Ok(otherwise),
            Some(text) => match text.parse::<u64>() {
                Ok(number) if (1..=most).contains(&number) => Ok(number),
                _ if most == u64::MAX => Err(Problem::bad(format!(
                    "{name} must be a whole number of at least 1"
                ))),
                _ => Err(Problem::bad(format!(
                    "{name} must be a whole number between 1 and {most}"
                ))),
            },
        }
    }

    pub(super) fn choice(&self, name: &str, known: &[&str]) -> Wrong<Option<&str>> {
        match self.text(name) {
            Some(text) if !known.contains(&text) => Err(Problem::bad(format!(
                "{name} must be one of {}",
                known.join(", ")
            ))),
            text => Ok(text),
        }
    }

    /// A value that is JSON text.
    fn json(&self, name: &str) -> Wrong<Option<Value>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let value = serde_json::from_str(text);
        value
            .map(Some)
            .map_err(|error| Problem::bad(format!("{name} must be JSON: {error}")))
    }

    /// `name={"$gte": .., "$lte": ..}`, or `name[$gte]=..&name[$lte]=..`.
    pub(super) fn span(&self, name: &str) -> Wrong<Span> {
        if let Some(value) = self.json(name)? {
            return span(Some(&value), name, ENDS);
        }
        let mut map = Map::new();
        for end in ENDS {
            if let Some(text) = self.text(&format!("{name}[{end}]")) {
                map.insert(end.to_owned(), text.into());
            }
        }
        span(Some(&Value::Object(map)), name, ENDS)
    }

    /// Filters as JSON text: one list, or one filter in each of `name[]`.
    pub(super) fn conditions(&self, name: &str) -> Wrong<Vec<Condition>> {
        let mut filters = Vec::new();
        let each = format!("{name}[]");
        for (key, text) in &self.0 {
            if *key != each {
                continue;
            }
            let filter = serde_json::from_str(text);
            let filter: Value =
                filter.map_err(|error| Problem::bad(format!("{name} must be JSON: {error}")))?;
            filters.push(filter);
        }
        let value = match filters.is_empty() {
            true => self.json(name)?,
            false => Some(Value::Array(filters)),
        };
        filter::conditions(value.as_ref(), name, false).map_err(Problem::bad)
    }
}
