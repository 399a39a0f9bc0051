//! Datasets, datapoints, metrics, configurations, charts, queues and keys.

use super::{names, refused, text};
use crate::server_support::start;
use serde_json::{Value, json};

#[test]
fn datasets_hold_datapoints_and_take_them_along() {
    let running = start();
    let set = |name: &str| {
        text(&running.ask("POST", "/v1/datasets", &json!({"name": name}))["result"]["insertedId"])
    };
    let (one, two) = (set("one"), set("two"));
    let unnamed = running.ask("POST", "/v1/datasets", &json!({}));
    let unnamed = running.fetch(&format!(
        "/v1/datasets?dataset_id={}",
        text(&unnamed["result"]["insertedId"])
    ));
    assert_eq!(unnamed["datasets"][0]["name"], "Untitled Dataset");
    assert_eq!(
        names(&running.fetch("/v1/datasets")["datasets"], "name"),
        ["Untitled Dataset", "two", "one"]
    );

    let data = json!({"data": [{"q": 1, "a": 2, "chat": [{"role": "user"}], "extra": true}, {"q": 3}],
        "mapping": {"inputs": ["q"], "ground_truth": ["a"], "history": ["chat"]}});
    let added = running.ask("POST", &format!("/v1/datasets/{one}/datapoints"), &data);
    let ids: Vec<String> = added["datapoint_ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    let get = |id: &str| running.fetch(&format!("/v1/datapoints/{id}"))["datapoint"][0].clone();
    let first = get(&ids[0]);
    assert_eq!(
        (&first["inputs"], &first["ground_truth"]),
        (&json!({"q": 1}), &json!({"a": 2}))
    );
    assert_eq!(
        (&first["history"], &first["metadata"]),
        (&json!([{"role": "user"}]), &json!({"extra": true}))
    );
    assert_eq!(get(&ids[1])["ground_truth"], Value::Null);
    let shared = json!({"inputs": {"s": 1}, "linked_datasets": [one, two]});
    let shared = text(&running.ask("POST", "/v1/datapoints", &shared)["result"]["insertedIds"][0]);
    let of =
        |id: &str| running.fetch(&format!("/v1/datasets?dataset_id={id}"))["datasets"][0].clone();
    assert_eq!(of(&one)["datapoints"], json!([ids[0], ids[1], shared]));
    assert_eq!(of(&one)["num_points"], 3);
    let listed = running.fetch("/v1/datapoints?dataset_name=one");
    assert_eq!(
        names(&listed["datapoints"], "id"),
        [&*ids[0], &*ids[1], &*shared]
    );
    let listed = running.fetch(&format!("/v1/datapoints?datapoint_ids[]={}", ids[1]));
    assert_eq!(names(&listed["datapoints"], "id"), [&*ids[1]]);

    // Taken out, it stays; put back, it is the last.
    running.ask(
        "DELETE",
        &format!("/v1/datasets/{one}/datapoints/{}", ids[0]),
        &json!({}),
    );
    refused(
        &running.json(
            "DELETE",
            &format!("/v1/datasets/{one}/{}", ids[0]),
            &json!({}),
        ),
        404,
        &ids[0],
    );
    assert_eq!(get(&ids[0])["linked_datasets"], json!([]));
    running.ask(
        "PUT",
        &format!("/v1/datapoints/{}", ids[0]),
        &json!({"linked_datasets": [one], "inputs": {"q": 9}}),
    );
    assert_eq!(of(&one)["datapoints"], json!([ids[1], shared, ids[0]]));
    assert_eq!(
        (
            get(&ids[0])["inputs"]["q"].clone(),
            get(&ids[0])["ground_truth"].clone()
        ),
        (json!(9), json!({"a": 2}))
    );
    let renamed = running.ask(
        "PUT",
        &format!("/v1/datasets/{one}"),
        &json!({"name": "first", "datapoints": [ids[0], shared]}),
    );
    assert_eq!(
        (&renamed["result"]["name"], &renamed["result"]["datapoints"]),
        (&json!("first"), &json!([ids[0], shared]))
    );
    // A list with a mistake changes nothing at all.
    let wrong = json!({"name": "never", "datapoints": [ids[0], "none"]});
    refused(
        &running.json("PUT", &format!("/v1/datasets/{one}"), &wrong),
        400,
        "datapoints[1]",
    );
    assert_eq!(of(&one)["name"], "first");

    running.ask("DELETE", &format!("/v1/datapoints/{}", ids[1]), &json!({}));
    refused(
        &running.get(&format!("/v1/datapoints/{}", ids[1])),
        404,
        &ids[1],
    );
    running.ask(
        "DELETE",
        &format!("/v1/datasets?dataset_id={one}"),
        &json!({}),
    );
    assert_eq!(
        running.fetch(&format!("/v1/datasets?dataset_id={one}"))["datasets"],
        json!([])
    );
    assert_eq!(
        running.get(&format!("/v1/datapoints/{}", ids[0])).status,
        404
    );
    assert_eq!(get(&shared)["linked_datasets"], json!([two]));
    refused(
        &running.json("PUT", &format!("/v1/datasets/{one}"), &json!({})),
        404,
        &one,
    );
}

#[test]
fn datapoints_are_made_of_events() {
    let running = start();
    let session = running.session("s", &json!({}));
    let made: Vec<String> = (0..4)
        .map(|n| {
            running.event(&json!({"event_type": "model", "session_id": session, "event_name": format!("m{n}"),
                "inputs": {"question": n, "chat_history": [{"role": "user", "content": "hi"}]},
                "outputs": {"answer": n}, "feedback": if n == 0 { json!({"ground_truth": {"right": 1}}) } else { json!({}) }}))
        })
        .collect();
    let dataset =
        text(&running.ask("POST", "/v1/datasets", &json!({"name": "d"}))["result"]["insertedId"]);
    let batch = |body: Value| {
        let ids = running.ask("POST", "/v1/datapoints/batch", &body)["insertedIds"].clone();
        let ids: Vec<String> = ids.as_array().unwrap().iter().map(text).collect();
        let get =
            |id: &String| running.fetch(&format!("/v1/datapoints/{id}"))["datapoint"][0].clone();
        ids.iter().map(get).collect::<Vec<Value>>()
    };
    let whole = batch(json!({"events": [made[0], made[1]], "dataset_id": dataset}));
    assert_eq!(
        (&whole[0]["inputs"], &whole[0]["ground_truth"]),
        (&json!({"question": 0}), &json!({"right": 1}))
    );
    assert_eq!(
        whole[0]["history"],
        json!([{"role": "user", "content": "hi"}])
    );
    assert_eq!(
        (&whole[1]["ground_truth"], &whole[1]["linked_event"]),
        (&json!({"answer": 1}), &json!(made[1]))
    );
    assert_eq!(whole[1]["linked_datasets"], json!([dataset]));
    let mapped = batch(json!({"checkState": {made[2].as_str(): true},
        "mapping": {"inputs": ["question"], "ground_truth": ["outputs.answer"], "history": ["inputs.chat_history"]}}));
    assert_eq!(
        (&mapped[0]["inputs"], &mapped[0]["ground_truth"]),
        (&json!({"question": 2}), &json!({"answer": 2}))
    );
    assert_eq!(mapped[0]["history"].as_array().unwrap().len(), 1);
    let chosen = batch(
        json!({"selectAll": true, "checkState": {made[0].as_str(): false},
        "filters": [{"field": "event_type", "operator": "is", "value": "model", "type": "string"}]}),
    );
    assert_eq!(chosen.len(), 3);
    refused(
        &running.json("POST", "/v1/datapoints/batch", &json!({})),
        400,
        "events",
    );
    refused(
        &running.json("POST", "/v1/datapoints/batch", &json!({"events": ["none"]})),
        400,
        "events[0]",
    );
    let nowhere = json!({"events": [made[0]], "dataset_id": "nowhere"});
    refused(
        &running.json("POST", "/v1/datapoints/batch", &nowhere),
        404,
        "nowhere",
    );
}

#[test]
fn a_metric_is_what_its_deployed_version_says() {
    let running = start();
    let metric = json!({"name": "quality", "type": "HUMAN", "criteria": "good?"});
    let id = text(&running.ask("POST", "/v1/metrics", &metric)["metric_id"]);
    let of = || running.fetch(&format!("/v1/metrics?id={id}"))["metrics"][0].clone();
    assert_eq!(
        (&of()["enabled_in_prod"], &of()["return_type"]),
        (&json!(true), &json!("float"))
    );
    assert_eq!(
        (&of()["sampling_percentage"], &of()["filters"]),
        (&json!(10), &json!({"filterArray": []}))
    );
    running.ask(
        "PUT",
        &format!("/v1/metrics/{id}"),
        &json!({"threshold": {"min": 1, "pass_when": true}}),
    );
    running.ask(
        "PUT",
        "/v1/metrics",
        &json!({"id": id, "description": "d", "threshold": null}),
    );
    assert_eq!(
        (&of()["description"], &of()["threshold"]),
        (&json!("d"), &Value::Null)
    );

    let versions = format!("/v1/metrics/{id}/versions");
    let deployed = || {
        let list = running.fetch(&versions)["data"].clone();
        let list = list.as_array().unwrap().iter();
        list.filter(|version| version["deployed"] == true)
            .map(|version| text(&version["name"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(deployed(), ["v3"]);
    let content = json!({"name": "renamed", "type": "PYTHON", "criteria": "c"});
    let draft = running.ask(
        "POST",
        &versions,
        &json!({"message": "m", "content": content}),
    );
    assert_eq!(
        (&draft["data"]["name"], &draft["data"]["deployed"]),
        (&json!("v4"), &json!(false))
    );
    assert_eq!(text(&draft["data"]["full_sha"]).len(), 40);
    assert_eq!(
        (of()["name"].clone(), deployed()),
        (json!("quality"), vec!["v3".to_owned()])
    );
    running.ask("POST", &format!("{versions}/v4/deploy"), &json!({}));
    assert_eq!(
        (of()["name"].clone(), deployed()),
        (json!("renamed"), vec!["v4".to_owned()])
    );
    running.ask(
        "POST",
        &versions,
        &json!({"message": "m", "content": content, "deploy_immediately": true}),
    );
    assert_eq!(deployed(), ["v5"]);
    assert_eq!(
        names(&running.fetch(&versions)["data"], "name"),
        ["v1", "v2", "v3", "v4", "v5"]
    );
    assert_eq!(running.fetch("/v1/metrics?type=LLM")["metrics"], json!([]));
    for (content, named) in [
        (
            json!({"name": "n", "type": "LLM", "criteria": "c"}),
            "content.model_provider",
        ),
        (
            json!({"name": "n", "type": "COMPOSITE", "criteria": "c"}),
            "content.child_metrics",
        ),
        (
            json!({"name": "n", "type": "PYTHON", "criteria": "c", "x": 1}),
            "content.x",
        ),
    ] {
        refused(
            &running.json(
                "POST",
                &versions,
                &json!({"message": "m", "content": content}),
            ),
            400,
            named,
        );
    }
    refused(
        &running.json("POST", &format!("{versions}/v9/deploy"), &json!({})),
        404,
        "v9",
    );
    running.ask("DELETE", &format!("/v1/metrics/{id}"), &json!({}));
    refused(&running.get(&versions), 404, &id);

    // What can be computed here is, and what cannot be says why.
    for (kind, reason) in [
        ("PYTHON", "runs no Python"),
        ("LLM", "calls no models"),
        ("HUMAN", "by people"),
    ] {
        let body = json!({"metric": {"name": "m", "type": kind, "criteria": "c"}, "event": {}});
        for path in ["/v1/metrics/run", "/v1/metrics/run_metric"] {
            refused(&running.json("POST", path, &body), 501, reason);
        }
    }
    let composite = |event: Value| {
        let metric = json!({"name": "m", "type": "COMPOSITE", "criteria": "c", "child_metrics":
            [{"name": "a", "weight": 1, "scale": 5}, {"name": "b", "weight": 3}]});
        running.ask(
            "POST",
            "/v1/metrics/run",
            &json!({"metric": metric, "event": event}),
        )
    };
    assert_eq!(
        composite(json!({"metrics": {"a": 5, "b": true}}))["result"],
        1.0
    );
    let short = composite(json!({"metrics": {"a": 5}}));
    assert_eq!(
        (&short["success"], &short["explanation"]),
        (&json!(false), &json!("event.metrics has no b"))
    );
}

#[test]
fn configurations_charts_queues_and_keys() {
    let running = start();
    let configuration = |name: &str, env: &str, tag: &str| {
        let body = json!({"name": name, "provider": "openai", "env": [env], "tags": [tag], "parameters":
            {"call_type": "chat", "model": "gpt-4o", "hyperparameters": {"temperature": 0}, "kept": 1}});
        text(&running.ask("POST", "/v1/configurations", &body)["insertedId"])
    };
    let a = configuration("a", "dev", "x");
    configuration("b", "prod", "y");
    let list = |query: &str| {
        names(
            &running.fetch(&format!("/v1/configurations{query}"))["configurations"],
            "name",
        )
    };
    assert_eq!(list(""), ["b", "a"]);
    assert_eq!(
        (
            list("?name=a"),
            list("?env=prod"),
            list("?tags=x,z"),
            list("?tags=q")
        ),
        (
            vec!["a".to_owned()],
            vec!["b".to_owned()],
            vec!["a".to_owned()],
            vec![]
        )
    );
    let path = format!("/v1/configurations/{a}");
    assert_eq!(
        running.ask("PUT", &path, &json!({"name": "c", "env": []}))["modifiedCount"],
        1
    );
    let one = running.fetch("/v1/configurations?name=c")["configurations"][0].clone();
    assert_eq!(
        (&one["parameters"]["kept"], &one["env"], &one["type"]),
        (&json!(1), &json!([]), &json!("LLM"))
    );
    running.ask("DELETE", &path, &json!({}));
    refused(&running.json("DELETE", &path, &json!({})), 404, &a);

    // Charts of one project are not those of another.
    let made = running.ask(
        "POST",
        "/v1/projects/p1/charts",
        &json!({"name": "c", "metric": "duration"}),
    );
    let id = text(&made["data"]["id"]);
    let path = format!("/v1/projects/p1/charts/{id}");
    assert_eq!(
        (&made["data"]["bucketing"], &made["data"]["is_active"]),
        (&json!("day"), &json!(true))
    );
    assert_eq!(running.fetch("/v1/projects/p2/charts")["data"], json!([]));
    assert_eq!(running.fetch("/v1/charts")["data"], json!([]));
    assert_eq!(
        running.get(&format!("/v1/projects/p2/charts/{id}")).status,
        404
    );
    assert_eq!(running.json("PUT", &path, &json!({})).status, 405);
    let range = json!({"dateRange": {"relative": "7d"}, "func": "avg", "bucketing": "hour"});
    assert_eq!(
        running.ask("PATCH", &path, &range)["data"]["dateRange"],
        json!({"relative": "7d"})
    );
    assert_eq!(running.ask("DELETE", &path, &json!({}))["success"], true);
    assert_eq!(running.get(&path).status, 404);
    let id = text(
        &running.ask("POST", "/v1/charts", &json!({"name": "c", "metric": "m"}))["data"]["id"],
    );
    let path = format!("/v1/charts/{id}");
    assert_eq!(
        running.ask("PUT", &path, &json!({"groupBy": "model"}))["data"]["groupBy"],
        "model"
    );
    assert_eq!(
        running.ask("PUT", &path, &json!({"groupBy": null}))["data"]["groupBy"],
        Value::Null
    );

    let session = running.session("s", &json!({}));
    let event = running.event(&json!({"event_type": "tool", "inputs": {}, "session_id": session}));
    let answer = running.json(
        "POST",
        "/v1/queues",
        &json!({"name": "q", "event_ids": [event, "other"]}),
    );
    assert_eq!(answer.status, 201);
    let id = text(&answer.json()["queue"]["id"]);
    let path = format!("/v1/queues/{id}");
    let changed = json!({"id": id, "enabled": false, "add_event_ids": ["third"], "remove_event_ids": ["other"]});
    assert_eq!(
        running.ask("PUT", &path, &changed)["queue"]["event_ids"],
        json!([event, "third"])
    );
    assert_eq!(
        running.fetch("/v1/queues?enabled=true")["queues"],
        json!([])
    );
    assert_eq!(
        names(&running.fetch("/v1/queues?enabled=false")["queues"], "id"),
        [&*id]
    );
    // A deleted event waits for nobody.
    running.ask("DELETE", &format!("/v1/events/{event}"), &json!({}));
    assert_eq!(running.fetch(&path)["event_ids"], json!(["third"]));
    refused(
        &running.json("PUT", &path, &json!({"id": "another"})),
        400,
        "id",
    );
    running.ask("DELETE", &path, &json!({}));
    refused(&running.get(&path), 404, &id);

    let body = json!({"name": "k", "permissions": ["read"], "expires_at": "2030-01-01"});
    let key = running.ask("POST", "/v1/projects/p/fine_grained_api_keys", &body)["data"].clone();
    assert_eq!(key["expires_at"], "2030-01-01T00:00:00.000Z");
    let parts: Vec<usize> = text(&key["key_value"]).split('_').map(str::len).collect();
    assert_eq!(parts, [2, 4, 24, 64]);
    let key = running.ask(
        "POST",
        "/v1/projects/p/ingestion_api_keys",
        &json!({"name": "k"}),
    )["data"]
        .clone();
    let parts: Vec<usize> = text(&key["key_value"]).split('_').map(str::len).collect();
    assert_eq!(
        (parts, &key["root_scope_id"]),
        (vec![2, 5, 24, 64], &json!("p"))
    );
    refused(
        &running.json(
            "POST",
            "/v1/projects/p/fine_grained_api_keys",
            &json!({"name": "k", "permissions": [], "expires_at": "soon"}),
        ),
        400,
        "expires_at",
    );
}
