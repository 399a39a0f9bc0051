//! The platform's REST API on the local server: what each resource does, as the wire has it.
#![cfg(feature = "server")]

mod events;
mod refusals;
mod resources;
mod runs;
#[path = "../server_support/mod.rs"]
mod server_support;

use honeyhive::server::Server;
use serde_json::{Value, json};
use server_support::{Answer, Running, span, start};

impl Running {
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.json(method, path, body);
        let fine = answer.status == 200 || answer.status == 201;
        assert!(
            fine,
            "{method} {path} {body}: {} {}",
            answer.status,
            answer.text()
        );
        answer.json()
    }

    fn fetch(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    fn session(&self, name: &str, metadata: &Value) -> String {
        let body = json!({"session_name": name, "metadata": metadata});
        text(&self.ask("POST", "/v1/sessions", &body)["session_id"])
    }

    fn event(&self, body: &Value) -> String {
        text(&self.ask("POST", "/v1/events", body)["event_id"])
    }

    fn found(&self, filters: &Value) -> Vec<String> {
        let body = json!({"filters": filters});
        let found = self.ask("POST", "/v1/events/search", &body);
        let names = names(&found["events"], "event_name");
        assert_eq!(found["count"], names.len(), "{filters}");
        names
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

fn names(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("{list}"));
    list.iter().map(|item| text(&item[key])).collect()
}

fn refused(answer: &Answer, status: u16, named: &str) {
    assert_eq!(answer.status, status, "{named}: {}", answer.text());
    let told = answer.json();
    assert!(text(&told["message"]).contains(named), "{named}: {told}");
    assert!(
        told["errorCode"].is_string() && told["error"].is_string(),
        "{told}"
    );
}

/// The operations of the platform's OpenAPI document and of the additions in the 1.7.0 client: id, method, path.
fn operations() -> Vec<[&'static str; 3]> {
    let lines = include_str!("../fixtures/server_operations.txt").lines();
    let operations: Vec<[&str; 3]> = lines
        .map(|line| line.split(' ').collect::<Vec<_>>().try_into().unwrap())
        .collect();
    assert_eq!(operations.len(), 77);
    operations
}

fn path(template: &str) -> String {
    let parts = template.split('/').map(|part| match part.starts_with('{') {
        true => "00000000-0000-4000-8000-000000000000",
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn every_operation_of_the_contract_is_answered() {
    let running = start();
    for [id, method, template] in operations() {
        let answer = running.json(method, &path(template), &json!({}));
        assert_ne!(answer.status, 405, "{id}");
        assert!(
            answer.status < 500 || answer.status == 501,
            "{id}: {}",
            answer.text()
        );
        if answer.status == 404 {
            let told = text(&answer.json()["message"]);
            assert!(!told.contains("nothing at this address"), "{id}");
        }
    }
    refused(&running.get("/v1/nothing"), 404, "nothing at this address");
}

/// A run over datapoints with these scores, and its id.
fn run(running: &Running, name: &str, scores: &[(&str, Value)]) -> String {
    let id = text(
        &running.ask(
            "POST",
            "/v1/runs",
            &json!({"name": name, "metadata": {"git": {"branch": "b"}}}),
        )["run_id"],
    );
    let mut sessions = Vec::new();
    for (number, (datapoint, metrics)) in (1_u32..).zip(scores) {
        let named = json!({"run_id": id, "datapoint_id": datapoint, "dataset_id": "EXT-d"});
        let session = running.session(name, &named);
        running.event(&json!({"event_type": "chain", "event_name": "answer", "inputs": {"of": datapoint},
            "session_id": session, "metrics": metrics, "start_time": 1_700_000_000_000.0 + f64::from(number)}));
        running.event(&json!({"event_type": "tool", "event_name": "look_up", "inputs": {}, "session_id": session}));
        sessions.push(session);
    }
    running.ask(
        "PUT",
        &format!("/v1/runs/{id}"),
        &json!({"status": "completed", "event_ids": sessions,
        "metadata": {"offline_dataset_id": "EXT-d"}}),
    );
    id
}

#[test]
fn what_fails_in_a_transaction_undoes_only_itself() {
    let running = start();
    std::thread::scope(|scope| {
        for client in 0..6_u64 {
            let running = &running;
            scope.spawn(move || {
                for round in 0..10 {
                    match client % 3 {
                        0 => {
                            let first = client * 1000 + round * 10 + 1;
                            let spans: Vec<Value> = (first..first + 10)
                                .map(|n| span(n, None, "n", &[]))
                                .collect();
                            running.spans(&spans);
                        }
                        1 => {
                            let body = json!({"name": "good"});
                            running.ask("POST", "/v1/datasets", &body);
                        }
                        _ => {
                            let body = json!({"name": "bad", "datapoints": ["none"]});
                            assert_eq!(running.json("POST", "/v1/datasets", &body).status, 400);
                        }
                    }
                }
            });
        }
    });
    let listed = running.fetch("/v1/datasets");
    let listed = names(&listed["datasets"], "name");
    assert_eq!(listed, vec!["good"; 20]);
    assert_eq!(running.server.sessions().unwrap()[0].events, 200);
}

#[test]
fn resources_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.db");
    let open = || Running {
        server: Server::builder().port(0).database(&path).start().unwrap(),
    };
    let running = open();
    let id = run(&running, "kept", &[("d", json!({"score": 1}))]);
    running.server.shutdown().unwrap();
    let running = open();
    let result = running.fetch(&format!("/v1/runs/{id}/result"));
    assert_eq!(result["passed"], json!(["d"]));
}
