//! Runs: summed up, listed, compared.

use super::{names, refused, run, text};
use crate::server_support::start;
use serde_json::json;

#[test]
fn runs_are_summed_up_from_their_events() {
    let running = start();
    let id = run(
        &running,
        "r",
        &[
            ("d1", json!({"score": 1, "exact": true, "note": "text"})),
            ("d2", json!({"score": 2, "exact": false})),
            ("d3", json!({"score": 3})),
            ("d4", json!({"score": 4, "group": {"inner": 5}})),
        ],
    );
    let path = format!("/v1/runs/{id}");
    let object = running.fetch(&path)["evaluation"].clone();
    assert_eq!(
        object["metadata"],
        json!({"git": {"branch": "b"}, "offline_dataset_id": "EXT-d"})
    );
    for (function, expected) in [
        ("average", 2.5),
        ("min", 1.0),
        ("max", 4.0),
        ("median", 2.5),
        ("p90", 3.7),
        ("p95", 3.85),
        ("p99", 3.97),
        ("sum", 10.0),
        ("count", 4.0),
    ] {
        for end in ["result", "summary"] {
            let result = running.fetch(&format!("{path}/{end}?aggregate_function={function}"));
            assert_eq!(result["metrics"]["aggregation_function"], function);
            let details = result["metrics"]["details"].as_array().unwrap();
            let score = details
                .iter()
                .find(|detail| detail["metric_name"] == "score")
                .unwrap();
            assert!(
                (score["aggregate"].as_f64().unwrap() - expected).abs() < 1e-9,
                "{function}: {score}"
            );
        }
    }
    let result = running.fetch(&format!("{path}/result"));
    assert_eq!(
        names(&result["metrics"]["details"], "metric_name"),
        ["exact", "group.inner", "score"]
    );
    assert_eq!(
        (&result["passed"], &result["failed"]),
        (&json!(["d1", "d3", "d4"]), &json!(["d2"]))
    );
    assert_eq!(
        (&result["success"], &result["status"]),
        (&json!(false), &json!("completed"))
    );
    assert_eq!(
        names(&result["event_details"], "event_name"),
        ["answer", "look_up", "r"]
    );
    assert_eq!(
        result["datapoints"][1]["metrics"][0],
        json!({"name": "exact", "event_name": "answer",
        "event_type": "chain", "value": false, "passed": false})
    );

    // Ranges of the run decide, and definitions name who computes.
    running.ask(
        "PUT",
        &path,
        &json!({"passing_ranges": {"score": {"min": 2, "max": 3}}}),
    );
    running.ask(
        "POST",
        "/v1/metrics",
        &json!({"name": "exact", "type": "PYTHON", "criteria": "c",
        "threshold": {"pass_when": false}}),
    );
    let result = running.fetch(&format!("{path}/summary"));
    assert_eq!(
        (&result["passed"], &result["failed"]),
        (&json!(["d2", "d3"]), &json!(["d1", "d4"]))
    );
    let details = &result["metrics"]["details"];
    assert_eq!(
        (&details[0]["metric_type"], &details[2]["passing_range"]),
        (&json!("PYTHON"), &json!({"min": 2.0, "max": 3.0}))
    );
    assert_eq!(
        details[2]["datapoints"],
        json!({"passed": ["d2", "d3"], "failed": ["d1", "d4"]})
    );

    // Filters choose events.
    let filters = "%5B%7B%22field%22%3A%22inputs.of%22%2C%22operator%22%3A%22is%22%2C%22value%22%3A%22d2%22%7D%5D";
    let result = running.fetch(&format!("{path}/summary?filters={filters}"));
    assert_eq!(result["metrics"]["details"][1]["values"], json!([2.0]));
    let metrics = running.fetch(&format!("{path}/metrics"));
    assert_eq!(metrics["totalEvents"], 4);
    assert_eq!(
        metrics["events"][0]["metadata"],
        json!({"datapoint_id": "d1"})
    );
    assert_eq!(
        metrics["events"][0]["metrics"],
        json!({"score": 1.0, "exact": true})
    );

    // Two events of one name in one session are two.
    let session = text(&object["event_ids"][0]);
    running.event(
        &json!({"event_type": "chain", "event_name": "answer", "inputs": {}, "session_id": session,
        "metrics": {"other": 1}}),
    );
    assert_eq!(running.fetch(&format!("{path}/metrics"))["totalEvents"], 5);

    // An error at the root fails its datapoint; one below it does not.
    let session = text(&object["event_ids"][2]);
    let child = running.event(&json!({"event_type": "tool", "inputs": {}, "session_id": session, "parent_id": "p", "error": "handled"}));
    assert_eq!(
        running.fetch(&format!("{path}/summary"))["failed"],
        json!(["d1", "d4"])
    );
    running.event(
        &json!({"event_type": "chain", "inputs": {}, "session_id": session, "error": "fatal"}),
    );
    assert_eq!(
        running.fetch(&format!("{path}/summary"))["failed"],
        json!(["d1", "d3", "d4"])
    );
    assert!(!child.is_empty());

    let schema = running.fetch(&format!("{path}/schema"));
    assert!(
        schema["fields"]
            .as_array()
            .unwrap()
            .contains(&json!({"name": "metrics.score", "event_type": "chain"}))
    );
    assert_eq!(schema["datasets"], json!(["EXT-d"]));
    assert!(
        schema["mappings"]["answer"]
            .as_array()
            .unwrap()
            .contains(&json!({"field_name": "inputs.of", "event_type": "chain"}))
    );
    running
        .event(&json!({"event_type": "tool", "event_name": "of no run", "inputs": {"stray": 1}}));
    assert!(
        running.fetch("/v1/runs/schema")["mappings"]
            .get("of no run")
            .is_none()
    );
    assert!(
        running.fetch("/v1/events/schema")["mappings"]
            .get("of no run")
            .is_some()
    );
    let exported = running.ask("POST", "/v1/events/export", &json!({"evaluation_id": id}));
    assert_eq!(exported["count"], 15);
}

#[test]
fn runs_are_listed_changed_and_compared() {
    let running = start();
    let old = run(
        &running,
        "old",
        &[
            ("a", json!({"score": 0.1})),
            ("b", json!({"score": 0.9})),
            ("c", json!({"score": 0.3})),
            ("only old", json!({"score": 1})),
        ],
    );
    let new = run(
        &running,
        "new",
        &[
            ("a", json!({"score": 0.2})),
            ("b", json!({"score": 0.8})),
            ("c", json!({"score": 0.3})),
            ("only new", json!({"fresh": 1})),
        ],
    );
    for between in ["compare", "compare-with"] {
        let compared = running.fetch(&format!(
            "/v1/runs/{new}/{between}/{old}?aggregate_function=max"
        ));
        assert_eq!(compared["commonDatapoints"], json!(["a", "b", "c"]));
        let score = &compared["metrics"][1];
        assert_eq!(
            (&score["improved"], &score["degraded"], &score["same"]),
            (&json!(["a"]), &json!(["b"]), &json!(["c"]))
        );
        assert_eq!(
            (
                &score["found_count"],
                &score["old_aggregate"],
                &score["new_aggregate"]
            ),
            (&json!(3), &json!(1.0), &json!(0.8))
        );
        assert!((score["percentage_change"].as_f64().unwrap() + 20.0).abs() < 1e-9);
        assert_eq!(
            (&compared["old_run"]["name"], &compared["new_run"]["name"]),
            (&json!("old"), &json!("new"))
        );
        let presence = compared["event_details"].as_array().unwrap();
        assert!(
            presence.contains(
                &json!({"event_name": "answer", "event_type": "chain", "presence": "both"})
            )
        );
        assert!(
            presence.contains(
                &json!({"event_name": "old", "event_type": "session", "presence": "old"})
            )
        );
    }
    let path = format!("/v1/runs/{new}/compare/{old}/events");
    let pairs = running.fetch(&format!("{path}?event_name=answer"));
    assert_eq!(pairs["totalEvents"], 3);
    assert_eq!(names(&pairs["events"], "datapoint_id"), ["a", "b", "c"]);
    assert_eq!(
        (
            &pairs["events"][0]["event_1"]["metrics"]["score"],
            &pairs["events"][0]["event_2"]["metrics"]["score"]
        ),
        (&json!(0.2), &json!(0.1))
    );
    assert_eq!(running.fetch(&path)["totalEvents"], 9);
    assert_eq!(
        running.fetch(&format!("{path}?event_type=session"))["totalEvents"],
        3
    );
    let paged = running.fetch(&format!(
        "/v1/runs/compare/events?run_id_1={new}&run_id_2={old}&event_name=answer&limit=2&page=2"
    ));
    assert_eq!(
        (
            names(&paged["events"], "datapoint_id"),
            &paged["totalEvents"]
        ),
        (vec!["c".to_owned()], &json!(3))
    );

    let list = |query: &str| {
        names(
            &running.fetch(&format!("/v1/runs{query}"))["evaluations"],
            "name",
        )
    };
    assert_eq!(list(""), ["new", "old"]);
    assert_eq!(list("?sort_by=name&sort_order=desc"), ["old", "new"]);
    assert_eq!(
        list("?sort_by=created_at&sort_order=asc&limit=1&page=2"),
        ["new"]
    );
    assert_eq!(list(&format!("?run_ids[]={old}")), ["old"]);
    assert_eq!(list("?name=new&status=completed&dataset_id=EXT-d"), ["new"]);
    assert!(list("?status=failed").is_empty());
    assert!(list("?dateRange=%7B%22$lte%22%3A%222020-01-01%22%7D").is_empty());
    assert_eq!(list("?dateRange[$gte]=2020-01-01"), ["new", "old"]);
    let page = running.fetch("/v1/runs?name=new&limit=1");
    assert_eq!(
        page["pagination"],
        json!({"page": 1, "limit": 1, "total": 1, "total_unfiltered": 2, "total_pages": 1,
        "has_next": false, "has_prev": false})
    );
    assert_eq!(
        running.fetch("/v1/runs")["metrics"],
        json!(["fresh", "score"])
    );

    // The same id once more changes the run; a dataset that is kept here is named.
    let dataset = text(
        &running.ask("POST", "/v1/datasets", &json!({"name": "kept"}))["result"]["insertedId"],
    );
    let again = running.ask(
        "POST",
        "/v1/runs",
        &json!({"run_id": new.to_uppercase(), "description": "d", "dataset_id": dataset}),
    );
    assert_eq!(
        (&again["run_id"], &again["evaluation"]["name"]),
        (&json!(new), &json!("new"))
    );
    assert_eq!(again["evaluation"]["dataset_name"], "kept");
    running.ask("DELETE", &format!("/v1/runs/{new}"), &json!({}));
    for path in ["", "/result", "/metrics", "/schema"] {
        refused(&running.get(&format!("/v1/runs/{new}{path}")), 404, &new);
    }
    refused(
        &running.get(&format!("/v1/runs/{old}/compare/{new}")),
        404,
        &new,
    );
    refused(
        &running.json("PUT", &format!("/v1/runs/{new}"), &json!({"name": "x"})),
        404,
        &new,
    );
    assert_eq!(running.server.sessions().unwrap().len(), 8);
}
