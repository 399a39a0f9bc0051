//! One run: aggregates of each metric, and which datapoints passed.

use super::{Aggregate, Sample, Score};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What a metric must be to pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Range {
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    /// For metrics that are true or false.
    pub(crate) pass_when: Option<f64>,
}

impl Range {
    fn read(value: &Value) -> Self {
        let number = |name: &str| match value.get(name) {
            Some(Value::Bool(flag)) => Some(f64::from(*flag)),
            Some(value) => value.as_f64(),
            None => None,
        };
        Self {
            min: number("min"),
            max: number("max"),
            pass_when: number("pass_when"),
        }
    }
}

/// What is known of metrics beside their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    ranges: BTreeMap<String, Range>,
    kinds: BTreeMap<String, String>,
}

impl Rules {
    /// A metric that is defined on the server.
    pub(crate) fn define(&mut self, name: &str, definition: &Map<String, Value>) {
        if let Some(kind) = definition.get("type").and_then(Value::as_str) {
            self.kinds.insert(name.to_owned(), kind.to_owned());
        }
        if let Some(threshold @ Value::Object(_)) = definition.get("threshold") {
            self.ranges.insert(name.to_owned(), Range::read(threshold));
        }
    }

    /// The ranges that a run brings; they come before those of definitions.
    pub(crate) fn ranges(&mut self, ranges: &Map<String, Value>) {
        for (name, range) in ranges {
            self.ranges.insert(name.clone(), Range::read(range));
        }
    }

    /// Who computed the metric: the type of its definition, or the client.
    pub(crate) fn kind(&self, metric: &str) -> &str {
        self.kinds.get(metric).map_or("CLIENT_SIDE", String::as_str)
    }

    /// Whether the score passes; `None` where nothing judges it. Without a rule, what is true or false judges itself.
    pub(crate) fn passes(&self, score: &Score) -> Option<bool> {
        let range = self.ranges.get(&score.metric);
        if let Some(wanted) = range.and_then(|range| range.pass_when) {
            return Some(score.value == wanted);
        }
        match range {
            Some(range) if range.min.is_some() || range.max.is_some() => {
                let above = range.min.is_none_or(|min| score.value >= min);
                Some(above && range.max.is_none_or(|max| score.value <= max))
            }
            _ => score.boolean.then_some(score.value != 0.0),
        }
    }

    /// Whether less is better: the range has an upper end only, or false is what passes.
    pub(crate) fn falls(&self, metric: &str) -> bool {
        self.ranges.get(metric).is_some_and(|range| {
            range.pass_when == Some(0.0) || (range.max.is_some() && range.min.is_none())
        })
    }

    fn range(&self, metric: &str) -> Option<Ends> {
        let range = self.ranges.get(metric)?;
        (range.min.is_some() || range.max.is_some()).then_some(Ends {
            min: range.min,
            max: range.max,
        })
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ends {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
}

/// The result of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Ids of the datapoints that passed.
    pub(crate) passed: Vec<String>,
    pub(crate) failed: Vec<String>,
    pub(crate) metrics: Vec<Detail>,
    pub(crate) datapoints: Vec<DatapointResult>,
}

/// One metric over all sessions of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Detail {
    pub(crate) metric_name: String,
    pub(crate) metric_type: String,
    pub(crate) event_name: String,
    pub(crate) event_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aggregate: Option<f64>,
    pub(crate) values: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) passing_range: Option<Ends>,
    pub(crate) datapoints: Verdicts,
}

/// Ids of datapoints.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Verdicts {
    pub(crate) passed: Vec<String>,
    pub(crate) failed: Vec<String>,
}

/// One session of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DatapointResult {
    pub(crate) datapoint_id: Option<String>,
    pub(crate) session_id: String,
    pub(crate) passed: bool,
    pub(crate) metrics: Vec<DatapointMetric>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct DatapointMetric {
    pub(crate) name: String,
    pub(crate) event_name: String,
    pub(crate) event_type: String,
    pub(crate) value: Value,
    pub(crate) passed: Option<bool>,
}

/// A datapoint passes if its session did not fail and no metric that is judged does.
pub(crate) fn summary(samples: &[Sample], rules: &Rules, aggregate: Aggregate) -> Summary {
    let mut summary = Summary::default();
    let mut details: BTreeMap<_, Detail> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for sample in samples {
        let mut passed = !sample.failed;
        let mut metrics = Vec::with_capacity(sample.scores.len());
        for score in &sample.scores {
            let verdict = rules.passes(score);
            passed &= verdict != Some(false);
            let detail = details.entry(score.group()).or_insert_with(|| Detail {
                metric_name: score.metric.clone(),
                metric_type: rules.kind(&score.metric).to_owned(),
                event_name: score.event_name.clone(),
                event_type: score.event_type.clone(),
                aggregate: None,
                values: Vec::new(),
                passing_range: rules.range(&score.metric),
                datapoints: Verdicts::default(),
            });
            detail.values.push(score.value);
            match verdict {
                Some(true) => detail.datapoints.passed.push(sample.id().to_owned()),
                Some(false) => detail.datapoints.failed.push(sample.id().to_owned()),
                None => {}
            }
            metrics.push(DatapointMetric {
                name: score.metric.clone(),
                event_name: score.event_name.clone(),
                event_type: score.event_type.clone(),
                value: score.value(),
                passed: verdict,
            });
        }
        if !passed {
            failed.insert(sample.id());
        }
        summary.datapoints.push(DatapointResult {
            datapoint_id: sample.datapoint_id.clone(),
            session_id: sample.session_id.clone(),
            passed,
            metrics,
        });
    }
    // A datapoint may have been run several times: it passed if it always did.
    for sample in samples {
        let id = sample.id();
        if seen.insert(id) {
            let list = match failed.contains(id) {
                true => &mut summary.failed,
                false => &mut summary.passed,
            };
            list.push(id.to_owned());
        }
    }
    summary.metrics = details.into_values().collect();
    for detail in &mut summary.metrics {
        detail.aggregate = aggregate.of(&detail.values);
    }
    summary
}
