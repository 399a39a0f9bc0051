//! The main job against a whole backend: the local server, or the real platform when `HH_TEST_API_KEY` is set (at
//! `HH_TEST_API_URL`, or its default address).
#![cfg(feature = "server")]

use std::time::{Duration, Instant};

use honeyhive::server::Server;
use honeyhive::{HoneyHive, Session};
use serde_json::{Value, json};
use tracing::instrument;
use tracing_subscriber::prelude::*;

/// What a backend is asked by tests; both kinds answer with the platform's form of events.
enum Backend {
    Local(Server),
    Platform {
        key: String,
        url: String,
        client: reqwest::blocking::Client,
    },
}

impl Backend {
    fn from_env() -> Self {
        match std::env::var("HH_TEST_API_KEY") {
            Ok(key) => {
                let _ = rustls::crypto::ring::default_provider().install_default();
                let url = std::env::var("HH_TEST_API_URL")
                    .unwrap_or_else(|_| honeyhive::config::DEFAULT_SERVER_URL.to_owned());
                let client = reqwest::blocking::Client::new();
                Self::Platform { key, url, client }
            }
            Err(_) => Self::Local(Server::builder().port(0).start().unwrap()),
        }
    }

    fn instance(&self) -> HoneyHive {
        let builder = HoneyHive::builder().source("rust-sdk-test");
        match self {
            Self::Local(server) => builder.server_url(server.url()),
            Self::Platform { key, url, .. } => builder.api_key(key).server_url(url),
        }
        .build()
        .unwrap()
    }

    /// The events of a session, once there are `count` of them besides the session's own.
    fn events(&self, session: &str, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let mut events = match self {
                Self::Local(server) => {
                    let events = server.events(session).unwrap();
                    events.iter().map(|event| json!(event)).collect()
                }
                Self::Platform { key, url, client } => exported(client, url, key, session),
            };
            events.retain(|event| event["event_type"] != "session");
            if events.len() >= count {
                return events;
            }
            assert!(Instant::now() < deadline, "only these arrived: {events:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A backend that keeps what tests send cleans up where it lets us; the local one goes with its temporary file.
impl Drop for Backend {
    fn drop(&mut self) {
        let Self::Platform { key, url, client } = self else {
            return;
        };
        for event in CREATED.lock().unwrap().drain(..) {
            let _ = client
                .delete(format!("{url}/v1/events/{event}"))
                .bearer_auth(&*key)
                .send();
        }
    }
}

static CREATED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

fn exported(client: &reqwest::blocking::Client, url: &str, key: &str, session: &str) -> Vec<Value> {
    let filter =
        json!([{ "field": "session_id", "operator": "is", "value": session, "type": "string" }]);
    let reply = client
        .post(format!("{url}/v1/events/export"))
        .bearer_auth(key)
        .json(&json!({ "filters": filter, "limit": 100, "page": 1 }))
        .send()
        .and_then(reqwest::blocking::Response::json::<Value>);
    let events = reply
        .ok()
        .and_then(|body| body["events"].as_array().cloned());
    events.unwrap_or_default()
}

#[instrument(ret, fields(honeyhive.event_type = "model", gen_ai.request.model = "gpt-4o"))]
fn ask(question: &str) -> String {
    honeyhive::enrich(|e| e.metric("score", 0.5).metadata("total_tokens", 17));
    format!("{question} is a good question")
}

#[instrument(err)]
fn look_up(key: u64) -> Result<u64, std::fmt::Error> {
    Err(std::fmt::Error)
}

#[instrument(fields(honeyhive.event_type = "chain"))]
fn answer(question: &str) -> String {
    let _ = look_up(7);
    ask(question)
}

#[test]
fn a_pipeline_arrives_as_a_tree_of_events() {
    let backend = Backend::from_env();
    let honeyhive = backend.instance();
    let session = Session::start("rust-sdk-test");
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || session.in_scope(|| answer("why")));
    let report = honeyhive.flush_blocking(Duration::from_secs(30)).unwrap();
    assert_eq!((report.sent, report.left), (3, 0));

    let id = session.id().to_string();
    let events = backend.events(&id, 3);
    let mut created = CREATED.lock().unwrap();
    created.extend(
        events
            .iter()
            .filter_map(|event| Some(event["event_id"].as_str()?.to_owned())),
    );
    drop(created);
    let named = |name: &str| {
        let mut found = events.iter().filter(|event| event["event_name"] == name);
        found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {events:#?}"))
    };
    let (answer, ask, look_up) = (named("answer"), named("ask"), named("look_up"));
    assert_eq!(ask["parent_id"], answer["event_id"]);
    assert_eq!(look_up["parent_id"], answer["event_id"]);
    assert_eq!(answer["session_id"], id.as_str());
    assert_eq!(answer["source"], "rust-sdk-test");
    assert_eq!(
        (&answer["event_type"], &ask["event_type"]),
        (&json!("chain"), &json!("model"))
    );
    assert_eq!(ask["inputs"]["question"], "why");
    assert_eq!(ask["outputs"]["result"], "why is a good question");
    assert_eq!(ask["metrics"]["score"], 0.5);
    assert_eq!(ask["metadata"]["total_tokens"], 17);
    assert!(
        look_up["error"]
            .as_str()
            .is_some_and(|error| !error.is_empty())
    );
}
