//! What the sessions of an experiment run come to: aggregates, what passed, and how two runs compare. Pure: knows neither
//! the store nor requests.

mod compare;
mod summary;

pub(crate) use compare::{Comparison, Delta, compare};
pub(crate) use summary::{DatapointMetric, DatapointResult, Detail, Rules, Summary, summary};

use serde_json::{Map, Value};

/// One session of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) session_id: String,
    pub(crate) datapoint_id: Option<String>,
    /// Whether the session, or one of its root events, ended in an error.
    pub(crate) failed: bool,
    pub(crate) scores: Vec<Score>,
}

impl Sample {
    /// What stands for it in lists: its datapoint, or itself where it has none.
    pub(crate) fn id(&self) -> &str {
        self.datapoint_id.as_deref().unwrap_or(&self.session_id)
    }
}

/// One metric of one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Score {
    pub(crate) metric: String,
    pub(crate) event_name: String,
    pub(crate) event_type: String,
    /// Which of the session's events it is of, by their order among those that measured something.
    pub(crate) event: usize,
    pub(crate) value: f64,
    /// It was true or false, which count as 1 and 0.
    pub(crate) boolean: bool,
}

impl Score {
    /// Everything among an event's metrics that can be aggregated: numbers and booleans, those of groups under the names
    /// of both.
    pub(crate) fn all(
        event_name: &str,
        event_type: &str,
        metrics: &Map<String, Value>,
        out: &mut Vec<Self>,
    ) {
        let event = out.last().map_or(0, |score| score.event + 1);
        let of = Self {
            metric: String::new(),
            event_name: event_name.to_owned(),
            event_type: event_type.to_owned(),
            event,
            value: 0.0,
            boolean: false,
        };
        of.add("", metrics, 0, out);
    }

    fn add(&self, above: &str, metrics: &Map<String, Value>, depth: usize, out: &mut Vec<Self>) {
        for (key, value) in metrics {
            let metric = match above.is_empty() {
                true => key.clone(),
                false => format!("{above}.{key}"),
            };
            let (value, boolean) = match value {
                Value::Bool(flag) => (f64::from(*flag), true),
                Value::Number(number) => match number.as_f64() {
                    Some(number) => (number, false),
                    None => continue,
                },
                Value::Object(group) if depth < 4 => {
                    self.add(&metric, group, depth + 1, out);
                    continue;
                }
                _ => continue,
            };
            out.push(Self {
                metric,
                value,
                boolean,
                ..self.clone()
            });
        }
    }

    pub(crate) fn value(&self) -> Value {
        match self.boolean {
            true => Value::Bool(self.value != 0.0),
            false => Value::from(self.value),
        }
    }

    /// What it is grouped by.
    fn group(&self) -> (String, String, String) {
        let (metric, name, kind) = (&self.metric, &self.event_name, &self.event_type);
        (metric.clone(), name.clone(), kind.clone())
    }
}

/// Puts the metrics of all sessions under one name: sessions are called after what they are about, or after their run.
pub(crate) fn together(samples: &mut [Sample]) {
    let scores = samples.iter_mut().flat_map(|sample| &mut sample.scores);
    for score in scores.filter(|score| score.event_type == "session") {
        "session".clone_into(&mut score.event_name);
    }
}

/// How many values become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Aggregate {
    #[default]
    Average,
    Min,
    Max,
    Median,
    P90,
    P95,
    P99,
    Sum,
    Count,
}

impl Aggregate {
    pub(crate) const NAMES: [&str; 9] = [
        "average", "min", "max", "median", "p90", "p95", "p99", "sum", "count",
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "average" => Self::Average,
            "min" => Self::Min,
            "max" => Self::Max,
            "median" => Self::Median,
            "p90" => Self::P90,
            "p95" => Self::P95,
            "p99" => Self::P99,
            "sum" => Self::Sum,
            "count" => Self::Count,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Min => "min",
            Self::Max => "max",
            Self::Median => "median",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Sum => "sum",
            Self::Count => "count",
        }
    }

    /// `None` of no values at all, except how many they are.
    pub(crate) fn of(self, values: &[f64]) -> Option<f64> {
        let count = values.len() as f64;
        if self == Self::Count {
            return Some(count);
        }
        if values.is_empty() {
            return None;
        }
        match self {
            Self::Average => Some(values.iter().sum::<f64>() / count),
            Self::Sum => Some(values.iter().sum()),
            Self::Min => values.iter().copied().reduce(f64::min),
            Self::Max => values.iter().copied().reduce(f64::max),
            Self::Median => quantile(values, 0.5),
            Self::P90 => quantile(values, 0.90),
            Self::P95 => quantile(values, 0.95),
            Self::P99 => quantile(values, 0.99),
            Self::Count => Some(count),
        }
    }
}

/// The value below which this part of them lies, between two of them where it falls there.
fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * (sorted.len().checked_sub(1)? as f64);
    let low = *sorted.get(place.floor() as usize)?;
    let high = *sorted.get(place.ceil() as usize)?;
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests;
