//! An event in the making: values put where the table says, gaps filled in the end. Knows no wire types but those of a
//! span's parts.

use super::events::Told;
use super::index::{Entry, Gather, Index, Place, Root, Target};
use super::table::{Family, How};
use super::value::{self, from_f64, merge, text};
use super::{messages, shapes};
use crate::export::otlp::proto;
use crate::server::types::{BUCKETS, Bucket, Buckets, EventKind};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What is known of an event while its attributes are applied.
pub(super) struct Draft {
    pub(super) kind: EventKind,
    /// Which library's plain names the span uses: see [`DIALECTS`](super::table::DIALECTS).
    dialect: Option<usize>,
    pub(super) buckets: Buckets,
    /// The name that the attributes give, and who gave it.
    event_name: Option<(Family, String)>,
    /// A name for spans that are all called the same.
    better_name: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) session_name: Option<String>,
    pub(super) parent_id: Option<String>,
    pub(super) project: Option<String>,
    pub(super) source: Option<String>,
    /// What went wrong, as HoneyHive's own attributes have it.
    pub(super) error: Option<String>,
    /// The same in the terms of others, and whether anything did.
    pub(super) error_message: Option<String>,
    pub(super) error_type: Option<String>,
    pub(super) status_message: Option<String>,
    pub(super) failed: Option<bool>,
    pub(super) http_status: Option<u64>,
    pub(super) duration: Option<f64>,
    instructions: Option<String>,
    /// What went in and came out, as conventions say it that do not name its parts.
    fills: Vec<(Family, Bucket, Value)>,
    /// Values for fields that nothing else fills.
    yielding: Vec<(Bucket, String, Value)>,
    /// Attributes that are not in the table.
    unknown: Vec<(String, Value)>,
    evaluation: Option<String>,
    /// Scores of an evaluation, which judge the event above this one.
    pub(super) verdicts: Map<String, Value>,
}

/// An attribute and the row that it matches.
struct Found {
    family: Family,
    entry: &'static Entry,
    key: String,
    /// Where in the key the part begins that the prefix leaves.
    rest: usize,
    value: Value,
}

/// Attributes that are parts of one value.
struct Gathered {
    family: Family,
    entry: &'static Entry,
    parts: Map<String, Value>,
}

impl Draft {
    pub(super) fn new(kind: EventKind, dialect: Option<usize>) -> Self {
        Self {
            kind,
            dialect,
            buckets: Buckets::default(),
            event_name: None,
            better_name: None,
            event_id: None,
            session_id: None,
            session_name: None,
            parent_id: None,
            project: None,
            source: None,
            error: None,
            error_message: None,
            error_type: None,
            status_message: None,
            failed: None,
            http_status: None,
            duration: None,
            instructions: None,
            fills: Vec::new(),
            yielding: Vec::new(),
            unknown: Vec::new(),
            evaluation: None,
            verdicts: Map::new(),
        }
    }

    pub(super) fn bucket(&mut self, bucket: Bucket) -> &mut Map<String, Value> {
        self.buckets.get_mut(bucket)
    }

    pub(super) fn set(&mut self, bucket: Bucket, path: &str, value: Value) {
        value::put(self.bucket(bucket), path, value);
    }

    fn letter(&self) -> char {
        match self.kind {
            EventKind::Model => 'm',
            EventKind::Tool => 't',
            EventKind::Chain | EventKind::Session => 'c',
        }
    }

    /// Applies a span's attributes, after what the events inside the span told.
    pub(super) fn attributes(&mut self, attributes: Vec<proto::KeyValue>, told: Vec<Told>) {
        let index = Index::get();
        let on = self.letter();
        let mut found: Vec<Found> = Vec::with_capacity(attributes.len());
        let mut gathered: Vec<Gathered> = Vec::new();
        for told in told {
            // In an event, what the table does not have is none of the span's business.
            if let Some((entry, rest)) = index.find(&told.key, on, self.dialect) {
                let family = match entry.family {
                    own @ (Family::HoneyHive | Family::Generic) => own,
                    _ => Family::Event,
                };
                let rest = told.key.len() - rest.len();
                gather(
                    &mut found,
                    &mut gathered,
                    Found {
                        family,
                        entry,
                        key: told.key,
                        rest,
                        value: told.value,
                    },
                );
            }
        }
        for pair in attributes {
            let value = value::from_any(pair.value);
            if value.is_null() {
                continue;
            }
            let Some((entry, rest)) = index.find(&pair.key, on, self.dialect) else {
                self.unknown.push((pair.key, value));
                continue;
            };
            if pair.key == "gen_ai.evaluation.name" {
                self.evaluation = Some(text(&value));
            }
            let rest = pair.key.len() - rest.len();
            gather(
                &mut found,
                &mut gathered,
                Found {
                    family: entry.family,
                    entry,
                    key: pair.key,
                    rest,
                    value,
                },
            );
        }
        for Gathered {
            family,
            entry,
            parts,
        } in gathered
        {
            let mut value = Value::Object(parts);
            match entry.gather {
                Gather::List => value::array(&mut value),
                Gather::Object | Gather::No => {
                    if let Value::Object(parts) = &mut value {
                        value::arrays(parts);
                    }
                }
            }
            let key = entry.row.key.trim_end_matches(['*', 'N', '.']).to_owned();
            found.push(Found {
                family,
                entry,
                rest: key.len(),
                key,
                value,
            });
        }
        found.sort_by_key(|found| found.family);
        for found in found {
            self.apply(found);
        }
    }

    fn apply(&mut self, found: Found) {
        let Found {
            family,
            entry,
            key,
            rest,
            value,
        } = found;
        let rest = key.get(rest..).unwrap_or_default();
        let put = |draft: &mut Self, at: usize, value: Value| {
            if let Some(target) = entry.targets.get(at) {
                draft.place(target, family, rest, value);
            }
        };
        let value = match entry.row.how {
            How::Keep => value,
            How::Number => value::number(value),
            How::Usage => {
                let value = value::number(value);
                for target in &entry.targets {
                    match &target.place {
                        Place::Bucket(bucket, path) => {
                            self.usage(*bucket, &spelled(path, rest), value.clone());
                        }
                        Place::Root(_) => {}
                    }
                }
                return;
            }
            How::Json => value::parse(value),
            How::Structured => value::parse_structured(value),
            How::First => {
                let all = match value::parse(value) {
                    Value::Array(items) => items,
                    one => vec![one],
                };
                let last = entry.targets.len().saturating_sub(1);
                if let Some(first) = all.first() {
                    for at in 0..last {
                        put(self, at, first.clone());
                    }
                }
                return put(self, last, all.into());
            }
            How::Millis => match value::number(value) {
                Value::Number(number) => match number.as_f64() {
                    Some(seconds) => from_f64(seconds * 1000.0),
                    None => Value::Number(number),
                },
                other => return self.unknown.push((key, other)),
            },
            How::Keys(fallback) => return self.keys(&entry.targets, fallback, value),
            How::Messages => {
                let messages = messages::read(value, "user");
                if messages.is_empty() {
                    return;
                }
                messages.into()
            }
            How::Prompts => {
                return match shapes::prompts(value) {
                    Ok(prompts) => put(self, 1, prompts),
                    Err(messages) => put(self, 0, messages::read(messages, "user").into()),
                };
            }
            How::Reply => {
                let messages = messages::read(value, "assistant");
                return messages::reply(messages, self.bucket(Bucket::Outputs));
            }
            How::Conversation => {
                let messages = messages::read(value, "assistant");
                if !messages.is_empty() {
                    put(self, 0, messages::last_text(&messages));
                    put(self, 1, messages.into());
                }
                return;
            }
            How::Instructions => {
                let said = match value::parse(value) {
                    list @ Value::Array(_) => {
                        let wrapped = serde_json::json!([{"role": "system", "parts": list}]);
                        text(&messages::last_text(&messages::read(wrapped, "system")))
                    }
                    other => text(&other),
                };
                self.instructions = Some(said.clone());
                said.into()
            }
            How::Fill => {
                if let Some(Place::Bucket(bucket, _)) = entry.targets.first().map(|to| &to.place) {
                    self.fills.push((family, *bucket, value));
                }
                return;
            }
            How::Tools => shapes::tools(value),
            How::Documents => shapes::documents(value),
            How::Embeddings => {
                let (texts, dimensions) = shapes::embeddings(value);
                if !texts.is_empty() {
                    put(self, 0, texts.into());
                }
                if let Some(dimensions) = dimensions {
                    put(self, 1, dimensions.into());
                }
                return;
            }
            How::Tokens => {
                for (name, count) in shapes::tokens(value) {
                    self.usage(Bucket::Metadata, &name, count);
                }
                return;
            }
            How::Evaluation(suffix) => {
                let Some(name) = &self.evaluation else {
                    return self.unknown.push((key, value));
                };
                let name = format!("{name}{suffix}");
                self.verdicts.insert(name, value::number(value));
                return;
            }
            How::Annotations => return self.annotations(value),
            How::Outcome => {
                if text(&value).eq_ignore_ascii_case("error") {
                    self.failed.get_or_insert(true);
                }
                value
            }
            How::Drop => return,
        };
        let last = entry.targets.len().saturating_sub(1);
        for at in 0..last {
            put(self, at, value.clone());
        }
        put(self, last, value);
    }

    fn keys(&mut self, targets: &[Target], fallback: &str, value: Value) {
        let Some(Target {
            place: Place::Bucket(bucket, _),
            yields,
        }) = targets.first()
        else {
            return;
        };
        let bucket = *bucket;
        match value::parse(value) {
            Value::Object(map) if *yields => {
                let keys = map.into_iter().map(|(key, value)| (bucket, key, value));
                self.yielding.extend(keys);
            }
            Value::Object(map) => merge(self.bucket(bucket), map),
            other => self.set(bucket, fallback, other),
        }
    }

    /// Puts what is counted once for all: on a chain, apart from what the event itself used.
    fn usage(&mut self, bucket: Bucket, path: &str, value: Value) {
        match self.kind {
            EventKind::Chain => self.set(bucket, &format!("usage_below.{path}"), value),
            EventKind::Model | EventKind::Tool | EventKind::Session => {
                self.set(bucket, path, value);
            }
        }
    }

    fn annotations(&mut self, value: Value) {
        let (annotations, others) = shapes::annotations(value);
        if !others.is_empty() {
            self.set(Bucket::Metadata, "annotations.unnamed", others.into());
        }
        for annotation in annotations {
            let bucket = match annotation.by_a_person {
                true => Bucket::Feedback,
                false => Bucket::Metrics,
            };
            let name = annotation.name;
            for (suffix, said) in [
                ("", annotation.verdict),
                ("_label", annotation.label),
                ("_explanation", annotation.explanation),
            ] {
                if let Some(said) = said {
                    self.bucket(bucket).insert(format!("{name}{suffix}"), said);
                }
            }
            if !annotation.rest.is_empty() {
                let rest = annotation.rest.into();
                self.set(Bucket::Metadata, &format!("annotations.{name}"), rest);
            }
        }
    }

    fn place(&mut self, target: &Target, family: Family, rest: &str, value: Value) {
        match &target.place {
            Place::Bucket(bucket, "") => match value {
                Value::Object(map) => merge(self.bucket(*bucket), map),
                // A bucket holds named values; one that came without a name gets the bucket's.
                other => {
                    let name = bucket.name().to_owned();
                    self.bucket(*bucket).insert(name, other);
                }
            },
            Place::Bucket(bucket, path) if target.yields => {
                let path = spelled(path, rest).into_owned();
                self.yielding.push((*bucket, path, value));
            }
            Place::Bucket(bucket, path) => self.set(*bucket, &spelled(path, rest), value),
            Place::Root(root) => self.place_root(*root, family, target.yields, &value),
        }
    }

    fn place_root(&mut self, root: Root, family: Family, yields: bool, value: &Value) {
        let said = text(value);
        // `error` is a flag in some conventions and a text in others.
        if matches!(root, Root::Error | Root::ErrorMessage)
            && let Ok(failed) = said.parse::<bool>()
        {
            self.failed = Some(failed);
            return;
        }
        if said.is_empty() {
            return;
        }
        match root {
            Root::EventName if yields => self.better_name = Some(said),
            Root::EventName => self.event_name = Some((family, said)),
            Root::EventId => self.event_id = Some(said.to_ascii_lowercase()),
            Root::SessionId => self.session_id = Some(said.to_ascii_lowercase()),
            Root::SessionName => self.session_name = Some(said),
            Root::ParentId => self.parent_id = Some(said.to_ascii_lowercase()),
            Root::Project => self.project = Some(said),
            Root::Source => self.source = Some(said),
            Root::Error => self.error = Some(undebug(said)),
            Root::ErrorMessage => self.error_message = Some(undebug(said)),
            Root::ErrorType => self.error_type = Some(said),
            Root::StatusCode if said.eq_ignore_ascii_case("unset") => {}
            Root::StatusCode => self.failed = Some(said.eq_ignore_ascii_case("error")),
            Root::StatusMessage => self.status_message = Some(said),
            Root::HttpStatus => self.http_status = value::number(said.into()).as_u64(),
            Root::Duration => self.duration = value.as_f64().filter(|ms| *ms >= 0.0),
        }
    }

    /// The event's name, for a span of this one.
    pub(super) fn name(&mut self, span: String) -> String {
        let explicit = match self.event_name.take() {
            Some((Family::HoneyHive, name)) => return name,
            told => told.map(|(_, name)| name),
        };
        let name = explicit.unwrap_or(span);
        let operation = self.buckets.get(Bucket::Metadata).get("operation_name");
        let is_tool = operation.is_some_and(|operation| operation == "execute_tool");
        match self.better_name.take() {
            Some(better) if is_tool || is_generic(&name) => better,
            _ => name,
        }
    }

    pub(super) fn finish(&mut self) {
        for bucket in BUCKETS {
            value::arrays(self.bucket(bucket));
        }
        for (key, value) in std::mem::take(&mut self.unknown) {
            self.bucket(Bucket::Metadata).entry(key).or_insert(value);
        }
        self.fill();
        // The last is that of the family that comes first.
        for (bucket, key, value) in std::mem::take(&mut self.yielding).into_iter().rev() {
            self.bucket(bucket).entry(key).or_insert(value);
        }
        if let Some(said) = self.instructions.take() {
            self.precede(&said);
        }
        if self.kind == EventKind::Model
            && !self.buckets.metadata.contains_key("model_name")
            && let Some(model) = self.buckets.config.get("model").cloned()
        {
            self.set(Bucket::Metadata, "model_name", model);
        }
        let metadata = self.bucket(Bucket::Metadata);
        if !metadata.contains_key("total_tokens") {
            let part = |key: &str| metadata.get(key).and_then(Value::as_u64);
            let (input, output) = (part("prompt_tokens"), part("completion_tokens"));
            if input.is_some() || output.is_some() {
                let total = input.unwrap_or(0).saturating_add(output.unwrap_or(0));
                metadata.insert("total_tokens".to_owned(), total.into());
            }
        }
    }

    /// Uses what only says input and output: field by field where a convention knows that much, and where none does,
    /// for lack of anything else.
    fn fill(&mut self) {
        let mut fills = std::mem::take(&mut self.fills);
        fills.sort_by_key(|(family, _, _)| std::cmp::Reverse(*family));
        for (family, bucket, value) in fills {
            if family == Family::Generic && !is_open(bucket, self.buckets.get(bucket)) {
                continue;
            }
            match bucket {
                Bucket::Inputs => self.fill_inputs(value),
                _ => self.fill_outputs(value),
            }
        }
    }

    fn fill_inputs(&mut self, value: Value) {
        let mime = self.buckets.metadata.get("input_mime_type");
        let value = read_as(mime, value);
        let inputs = &mut self.buckets.inputs;
        if self.kind == EventKind::Model {
            let messages = messages::read(value, "user");
            if !messages.is_empty() {
                inputs
                    .entry("chat_history")
                    .or_insert_with(|| messages.into());
            }
            return;
        }
        let map = match value {
            // Traceloop wraps a function's arguments.
            Value::Object(mut map) => {
                if let Some(Value::Object(named)) = map.get_mut("kwargs") {
                    let named = std::mem::take(named);
                    map.remove("kwargs");
                    if map
                        .get("args")
                        .and_then(Value::as_array)
                        .is_some_and(Vec::is_empty)
                    {
                        map.remove("args");
                    }
                    merge(&mut map, named);
                }
                map
            }
            other => Map::from_iter([("input".to_owned(), other)]),
        };
        for (key, value) in map {
            inputs.entry(key).or_insert(value);
        }
    }

    fn fill_outputs(&mut self, value: Value) {
        let mime = self.buckets.metadata.get("output_mime_type");
        let value = read_as(mime, value);
        let outputs = &mut self.buckets.outputs;
        let key = match self.kind {
            EventKind::Model if outputs.contains_key("content") => return,
            EventKind::Model => {
                return messages::reply(messages::read(value, "assistant"), outputs);
            }
            EventKind::Tool => "message",
            EventKind::Chain | EventKind::Session => "result",
        };
        outputs.entry(key).or_insert(value);
    }

    /// Puts instructions before the conversation, unless it has its own.
    fn precede(&mut self, said: &str) {
        let inputs = self.bucket(Bucket::Inputs);
        let history = inputs
            .entry("chat_history")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(messages) = history
            && !messages
                .iter()
                .any(|message| message.get("role").is_some_and(|role| role == "system"))
        {
            messages.insert(0, serde_json::json!({"role": "system", "content": said}));
        }
    }
}

/// Sorts a value into those that are whole and those that are parts of one.
fn gather(found: &mut Vec<Found>, gathered: &mut Vec<Gathered>, new: Found) {
    let Found { family, entry, .. } = new;
    match entry.gather {
        _ if entry.row.how == How::Drop => {}
        Gather::No => found.push(new),
        Gather::Object | Gather::List => {
            let rest = new.key.get(new.rest..).unwrap_or_default();
            let mut known = gathered.iter_mut();
            let known = known.find(|one| std::ptr::eq(one.entry, entry) && one.family == family);
            match known {
                Some(one) => value::put(&mut one.parts, rest, new.value),
                None => {
                    let mut parts = Map::new();
                    value::put(&mut parts, rest, new.value);
                    gathered.push(Gathered {
                        family,
                        entry,
                        parts,
                    });
                }
            }
        }
    }
}

/// A target's path with the rest of an attribute's name in it.
fn spelled<'a>(path: &'a str, rest: &'a str) -> Cow<'a, str> {
    match path.strip_suffix('*') {
        None => path.into(),
        Some("") => rest.into(),
        Some(head) if head.ends_with('_') => format!("{head}{}", rest.replace('.', "_")).into(),
        Some(head) => format!("{head}{rest}").into(),
    }
}

/// Whether a bucket holds nothing that says what went in or came out as a whole.
fn is_open(bucket: Bucket, values: &Map<String, Value>) -> bool {
    let beside: &[&str] = match bucket {
        Bucket::Inputs => &["functions", "images", "documents"],
        _ => &["finish_reason", "images", "documents", "dimensions"],
    };
    values.keys().all(|key| beside.contains(&key.as_str()))
}

/// A value as its media type says, or as it looks where there is none.
fn read_as(mime: Option<&Value>, value: Value) -> Value {
    match mime.and_then(Value::as_str) {
        Some(mime) if mime.contains("json") => value::parse(value),
        Some(_) => value,
        None => value::parse_structured(value),
    }
}

/// Names that libraries give to all their spans of a kind.
fn is_generic(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "",
        "workflow",
        "task",
        "agent",
        "tool",
        "chain",
        "llm",
        "execute_tool",
        "tool_call",
        "tool.call",
        "chain.call",
        "function",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)) || name.starts_with("execute_tool ")
}

/// `Debug` text of a string, without the quotes.
fn undebug(text: String) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(_) => match serde_json::from_str(&text) {
            Ok(plain) => plain,
            Err(_) => text,
        },
        None => text,
    }
}
