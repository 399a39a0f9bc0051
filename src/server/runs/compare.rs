//! Two runs over the same datapoints: what became better, worse, or stayed.

use super::{Aggregate, Rules, Sample};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How a run compares with an older one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    /// Datapoints of both, in the order of the new run.
    pub(crate) common: Vec<String>,
    pub(crate) metrics: Vec<Delta>,
    pub(crate) events: Vec<Presence>,
}

/// One metric in both runs. Ids and values are those of the common datapoints that have it in both; aggregates are of
/// each run as a whole.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Delta {
    pub(crate) metric_name: String,
    pub(crate) metric_type: String,
    pub(crate) event_name: String,
    pub(crate) event_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) old_aggregate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new_aggregate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) difference: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) percentage_change: Option<f64>,
    pub(crate) found_count: usize,
    pub(crate) improved_count: usize,
    pub(crate) degraded_count: usize,
    pub(crate) same_count: usize,
    pub(crate) improved: Vec<String>,
    pub(crate) degraded: Vec<String>,
    pub(crate) same: Vec<String>,
    pub(crate) old_values: Vec<f64>,
    pub(crate) new_values: Vec<f64>,
    /// Less is better.
    #[serde(skip)]
    pub(crate) falls: bool,
}

/// In which of the two runs events of a name are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Presence {
    pub(crate) event_name: String,
    pub(crate) event_type: String,
    /// `old`, `new` or `both`.
    pub(crate) presence: &'static str,
}

type Group = (String, String, String);
type Kinds = BTreeSet<(String, String)>;

/// All values of each metric, and those of each datapoint.
#[derive(Default)]
struct Values<'s> {
    all: BTreeMap<Group, Vec<f64>>,
    of: HashMap<(Group, &'s str), Vec<f64>>,
}

impl<'s> Values<'s> {
    fn new(samples: &'s [Sample]) -> Self {
        let mut values = Self::default();
        for sample in samples {
            for score in &sample.scores {
                let group = score.group();
                if let Some(id) = sample.datapoint_id.as_deref() {
                    let of = values.of.entry((group.clone(), id)).or_default();
                    of.push(score.value);
                }
                values.all.entry(group).or_default().push(score.value);
            }
        }
        values
    }

    fn mean(&self, group: &Group, id: &'s str) -> Option<f64> {
        let values = self.of.get(&(group.clone(), id))?;
        Aggregate::Average.of(values)
    }
}

/// More is better, unless the rules of a metric say otherwise.
pub(crate) fn compare(
    (new, new_kinds): (&[Sample], &Kinds),
    (old, old_kinds): (&[Sample], &Kinds),
    rules: &Rules,
    aggregate: Aggregate,
) -> Comparison {
    let known: BTreeSet<&str> = old
        .iter()
        .filter_map(|sample| sample.datapoint_id.as_deref())
        .collect();
    let mut seen = BTreeSet::new();
    let common: Vec<&str> = new
        .iter()
        .filter_map(|sample| sample.datapoint_id.as_deref())
        .filter(|id| known.contains(id) && seen.insert(*id))
        .collect();
    let (new_values, old_values) = (Values::new(new), Values::new(old));
    let groups: BTreeSet<&Group> = new_values.all.keys().chain(old_values.all.keys()).collect();
    let mut metrics = Vec::with_capacity(groups.len());
    for group in groups {
        let of = |values: &Values<'_>| {
            let values = values.all.get(group)?;
            aggregate.of(values)
        };
        let mut delta = Delta {
            metric_name: group.0.clone(),
            metric_type: rules.kind(&group.0).to_owned(),
            event_name: group.1.clone(),
            event_type: group.2.clone(),
            falls: rules.falls(&group.0),
            old_aggregate: of(&old_values),
            new_aggregate: of(&new_values),
            ..Delta::default()
        };
        if let (Some(old), Some(new)) = (delta.old_aggregate, delta.new_aggregate) {
            delta.difference = Some(new - old);
            delta.percentage_change = (old != 0.0).then(|| (new - old) / old.abs() * 100.0);
        }
        for id in &common {
            let (Some(old), Some(new)) = (old_values.mean(group, id), new_values.mean(group, id))
            else {
                continue;
            };
            delta.found_count += 1;
            delta.old_values.push(old);
            delta.new_values.push(new);
            let gain = if rules.falls(&group.0) {
                old - new
            } else {
                new - old
            };
            let near = 1e-9 * old.abs().max(new.abs());
            let list = if gain.abs() <= near {
                &mut delta.same
            } else if gain > 0.0 {
                &mut delta.improved
            } else {
                &mut delta.degraded
            };
            list.push((*id).to_owned());
        }
        delta.improved_count = delta.improved.len();
        delta.degraded_count = delta.degraded.len();
        delta.same_count = delta.same.len();
        metrics.push(delta);
    }
    let events = new_kinds.union(old_kinds).map(|kind| Presence {
        event_name: kind.0.clone(),
        event_type: kind.1.clone(),
        presence: match (old_kinds.contains(kind), new_kinds.contains(kind)) {
            (true, true) => "both",
            (true, false) => "old",
            _ => "new",
        },
    });
    Comparison {
        common: common.into_iter().map(str::to_owned).collect(),
        metrics,
        events: events.collect(),
    }
}
