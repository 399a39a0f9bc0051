use super::*;
use serde_json::json;
use std::collections::BTreeSet;

fn sample(datapoint: Option<&str>, session: &str, metrics: &Value) -> Sample {
    let mut scores = Vec::new();
    Score::all("answer", "chain", metrics.as_object().unwrap(), &mut scores);
    Sample {
        session_id: session.to_owned(),
        datapoint_id: datapoint.map(str::to_owned),
        failed: false,
        scores,
    }
}

#[test]
fn each_aggregate_of_known_values() {
    let values: Vec<f64> = (1..=11).rev().map(f64::from).collect();
    for (name, expected) in [
        ("average", 6.0),
        ("min", 1.0),
        ("max", 11.0),
        ("median", 6.0),
        ("p90", 10.0),
        ("p95", 10.5),
        ("p99", 10.9),
        ("sum", 66.0),
        ("count", 11.0),
    ] {
        let aggregate = Aggregate::named(name).unwrap();
        let value = aggregate.of(&values).unwrap();
        assert!((value - expected).abs() < 1e-9, "{name}: {value}");
        assert_eq!(aggregate.name(), name);
        assert_eq!(aggregate.of(&[7.0]).unwrap() == 7.0, name != "count");
        assert_eq!(aggregate.of(&[]).is_none(), name != "count");
    }
    assert_eq!(Aggregate::Median.of(&[1.0, 2.0]), Some(1.5));
    assert_eq!(Aggregate::named("mean"), None);
    assert_eq!(Aggregate::NAMES.len(), 9);
}

#[test]
fn ranges_booleans_and_failures_decide_what_passed() {
    let mut rules = Rules::default();
    let definition = json!({"type": "PYTHON", "threshold": {"min": 0.5}});
    rules.define("score", definition.as_object().unwrap());
    rules.ranges(json!({"latency": {"max": 100}}).as_object().unwrap());
    let mut broken = sample(Some("d4"), "s4", &json!({"score": 1}));
    broken.failed = true;
    let samples = [
        sample(
            Some("d1"),
            "s1",
            &json!({"score": 0.5, "latency": 100, "exact": true, "note": "text"}),
        ),
        sample(Some("d2"), "s2", &json!({"score": 0.4})),
        sample(Some("d3"), "s3", &json!({"latency": 101})),
        broken,
        sample(None, "s5", &json!({"exact": false})),
        sample(None, "s6", &json!({"free": -5, "group": {"inner": 2}})),
        // Run twice, and failed the second time.
        sample(Some("d1"), "s7", &json!({"score": 0.1})),
    ];
    let summary = summary(&samples, &rules, Aggregate::Sum);
    assert_eq!(summary.passed, ["s6"]);
    assert_eq!(summary.failed, ["d1", "d2", "d3", "d4", "s5"]);
    let detail = |name: &str| {
        let mut found = summary
            .metrics
            .iter()
            .filter(|detail| detail.metric_name == name);
        found.next().unwrap()
    };
    assert_eq!(detail("score").metric_type, "PYTHON");
    assert_eq!(detail("score").aggregate, Some(2.0));
    assert_eq!(detail("score").datapoints.passed, ["d1", "d4"]);
    assert_eq!(detail("score").datapoints.failed, ["d2", "d1"]);
    assert_eq!(detail("exact").metric_type, "CLIENT_SIDE");
    assert_eq!(detail("exact").values, [1.0, 0.0]);
    assert_eq!(detail("group.inner").values, [2.0]);
    assert!(
        !summary
            .metrics
            .iter()
            .any(|detail| detail.metric_name == "note")
    );
    assert!(summary.datapoints[0].passed && !summary.datapoints[6].passed);
    assert_eq!(summary.datapoints[0].metrics[0].value, json!(true));
}

#[test]
fn metrics_improve_degrade_and_stay() {
    let mut rules = Rules::default();
    rules.ranges(json!({"latency": {"max": 100}}).as_object().unwrap());
    let old = [
        sample(
            Some("a"),
            "o1",
            &json!({"score": 0.1, "latency": 10, "gone": 1}),
        ),
        sample(Some("b"), "o2", &json!({"score": 0.9, "latency": 20})),
        sample(Some("c"), "o3", &json!({"score": 0.3, "latency": 30})),
        sample(Some("only old"), "o4", &json!({"score": 0.7})),
    ];
    let new = [
        sample(
            Some("c"),
            "n1",
            &json!({"score": 0.30000000000000004, "latency": 31}),
        ),
        sample(Some("b"), "n2", &json!({"score": 0.8, "latency": 19})),
        sample(
            Some("a"),
            "n3",
            &json!({"score": 0.2, "latency": 9, "fresh": 1}),
        ),
        sample(Some("only new"), "n4", &json!({"score": 0.7})),
        sample(None, "n5", &json!({"score": 0.5})),
    ];
    let kinds = |name: &str| {
        let pair = |name: &str| (name.to_owned(), "chain".to_owned());
        BTreeSet::from([pair("answer"), pair(name)])
    };
    let compared = compare(
        (&new, &kinds("n")),
        (&old, &kinds("o")),
        &rules,
        Aggregate::Average,
    );
    assert_eq!(compared.common, ["c", "b", "a"]);
    let delta = |name: &str| {
        let mut found = compared
            .metrics
            .iter()
            .filter(|delta| delta.metric_name == name);
        found.next().unwrap()
    };
    let score = delta("score");
    assert_eq!(
        (&score.improved[..], &score.degraded[..], &score.same[..]),
        (
            &["a".to_owned()][..],
            &["b".to_owned()][..],
            &["c".to_owned()][..]
        )
    );
    assert_eq!((score.found_count, score.same_count), (3, 1));
    assert_eq!(score.old_aggregate, Some(0.5));
    assert!((score.new_aggregate.unwrap() - 0.5).abs() < 1e-9);
    // Less is better where only an upper end is wanted.
    let latency = delta("latency");
    assert_eq!((latency.improved_count, latency.degraded_count), (2, 1));
    assert_eq!(latency.old_values, [30.0, 20.0, 10.0]);
    assert_eq!(latency.new_values, [31.0, 19.0, 9.0]);
    assert_eq!(delta("gone").new_aggregate, None);
    assert_eq!(delta("fresh").found_count, 0);
    let presence: Vec<(&str, &str)> = compared
        .events
        .iter()
        .map(|event| (event.event_name.as_str(), event.presence))
        .collect();
    assert_eq!(presence, [("answer", "both"), ("n", "new"), ("o", "old")]);
}
