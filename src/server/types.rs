//! Sessions and events as the local server holds them. Knows nothing of how they come in or are kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A session: one run of a program, one conversation, one request; whatever was started as one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Session {
    /// Its id; the session's own event has the same.
    pub session_id: String,
    /// Its name, or that of its first root event where nobody named it.
    pub session_name: String,
    /// Where it ran, as `dev` or `prod`.
    pub source: Option<String>,
    /// The project it named.
    pub project: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub start_time: f64,
    /// When its last event ended, in milliseconds since 1970.
    pub end_time: f64,
    /// Milliseconds from beginning to end.
    pub duration: f64,
    /// How many events it has.
    pub events: u64,
    /// How many of them are model calls.
    pub model_calls: u64,
    /// Tokens in and out of its model calls.
    pub tokens: u64,
    /// What they cost, where events say so.
    pub cost: f64,
    /// How many of its events failed.
    pub errors: u64,
    /// What went wrong with the session as a whole.
    pub error: Option<String>,
    /// What it was asked.
    pub inputs: Map<String, Value>,
    /// What it answered.
    pub outputs: Map<String, Value>,
    /// Its settings.
    pub config: Map<String, Value>,
    /// Everything else.
    pub metadata: Map<String, Value>,
    /// Measurements of it.
    pub metrics: Map<String, Value>,
    /// What people said of it.
    pub feedback: Map<String, Value>,
    /// Whose session it was.
    pub user_properties: Map<String, Value>,
}

/// An event of a session: a span that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Event {
    /// Its id.
    pub event_id: String,
    /// The session it belongs to.
    pub session_id: String,
    /// The event it happened in; for a root event the session's id.
    pub parent_id: String,
    /// `model`, `tool`, `chain` or `session`.
    pub event_type: String,
    /// Its name.
    pub event_name: String,
    /// Where it ran, as `dev` or `prod`.
    pub source: Option<String>,
    /// The project it named.
    pub project: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub start_time: f64,
    /// When it ended, in milliseconds since 1970.
    pub end_time: f64,
    /// How long it took, in milliseconds.
    pub duration: f64,
    /// What went wrong.
    pub error: Option<String>,
    /// What went in.
    pub inputs: Map<String, Value>,
    /// What came out.
    pub outputs: Map<String, Value>,
    /// The settings it ran with.
    pub config: Map<String, Value>,
    /// Everything else.
    pub metadata: Map<String, Value>,
    /// Measurements of it.
    pub metrics: Map<String, Value>,
    /// What people said of it.
    pub feedback: Map<String, Value>,
    /// Whose it was.
    pub user_properties: Map<String, Value>,
}

/// The four types of event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EventKind {
    Model,
    #[default]
    Tool,
    Chain,
    Session,
}

impl EventKind {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "model" => Self::Model,
            "tool" => Self::Tool,
            "chain" => Self::Chain,
            "session" => Self::Session,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Chain => "chain",
            Self::Session => "session",
        }
    }
}

/// The named groups of values that an event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bucket {
    Inputs,
    Outputs,
    Config,
    Metadata,
    Metrics,
    Feedback,
    UserProperties,
}

pub(crate) const BUCKETS: [Bucket; 7] = [
    Bucket::Inputs,
    Bucket::Outputs,
    Bucket::Config,
    Bucket::Metadata,
    Bucket::Metrics,
    Bucket::Feedback,
    Bucket::UserProperties,
];

impl Bucket {
    pub(crate) fn named(name: &str) -> Option<Self> {
        BUCKETS.into_iter().find(|bucket| bucket.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Outputs => "outputs",
            Self::Config => "config",
            Self::Metadata => "metadata",
            Self::Metrics => "metrics",
            Self::Feedback => "feedback",
            Self::UserProperties => "user_properties",
        }
    }
}

/// The seven groups of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    pub(crate) inputs: Map<String, Value>,
    pub(crate) outputs: Map<String, Value>,
    pub(crate) config: Map<String, Value>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) metrics: Map<String, Value>,
    pub(crate) feedback: Map<String, Value>,
    pub(crate) user_properties: Map<String, Value>,
}

impl Buckets {
    pub(crate) fn get(&self, bucket: Bucket) -> &Map<String, Value> {
        match bucket {
            Bucket::Inputs => &self.inputs,
            Bucket::Outputs => &self.outputs,
            Bucket::Config => &self.config,
            Bucket::Metadata => &self.metadata,
            Bucket::Metrics => &self.metrics,
            Bucket::Feedback => &self.feedback,
            Bucket::UserProperties => &self.user_properties,
        }
    }

    pub(crate) fn get_mut(&mut self, bucket: Bucket) -> &mut Map<String, Value> {
        match bucket {
            Bucket::Inputs => &mut self.inputs,
            Bucket::Outputs => &mut self.outputs,
            Bucket::Config => &mut self.config,
            Bucket::Metadata => &mut self.metadata,
            Bucket::Metrics => &mut self.metrics,
            Bucket::Feedback => &mut self.feedback,
            Bucket::UserProperties => &mut self.user_properties,
        }
    }

    /// Merges the other's values in; the other's win.
    pub(crate) fn merge(&mut self, mut other: Self) {
        for bucket in BUCKETS {
            let new = std::mem::take(other.get_mut(bucket));
            super::mapping::merge(self.get_mut(bucket), new);
        }
    }

    /// Tokens that the event accounts for.
    pub(crate) fn tokens(&self) -> u64 {
        let number = |key: &str| self.metadata.get(key).and_then(whole);
        number("total_tokens").unwrap_or_else(|| {
            let input = number("prompt_tokens").or_else(|| number("input_tokens"));
            let output = number("completion_tokens").or_else(|| number("output_tokens"));
            input.unwrap_or(0).saturating_add(output.unwrap_or(0))
        })
    }

    pub(crate) fn cost(&self) -> f64 {
        let metric = self.metrics.get("cost").and_then(real);
        let cost = metric.or_else(|| self.metadata.get("cost").and_then(real));
        cost.filter(|cost| cost.is_finite()).unwrap_or(0.0)
    }
}

fn whole(value: &Value) -> Option<u64> {
    // Sums are kept in SQLite's signed integers: no single event may come near their end.
    const MOST: u64 = 1 << 48;
    let number = match value {
        Value::Number(number) => number
            .as_u64()
            .or_else(|| number.as_f64().map(|real| real as u64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.map(|number| number.min(MOST))
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
