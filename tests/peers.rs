//! The local server against real peers: the official Python client and Chromium. They run when `HONEYHIVE_PEERS` is
//! set; `PEER_PYTHON` names a Python that has the client.
#![cfg(feature = "server")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use honeyhive::server::{Event, Server};
use honeyhive::{HoneyHive, Session};
use tracing_subscriber::prelude::*;

fn wanted(peer: &str) -> bool {
    let wanted = std::env::var_os("HONEYHIVE_PEERS").is_some();
    if !wanted {
        println!("skipped: {peer} is asked when HONEYHIVE_PEERS is set");
    }
    wanted
}

fn named<'a>(events: &'a [Event], name: &str) -> &'a Event {
    let found: Vec<&Event> = events
        .iter()
        .filter(|event| event.event_name.rsplit('.').next() == Some(name))
        .collect();
    assert_eq!(found.len(), 1, "events named {name} among {events:#?}");
    found[0]
}

/// Runs a script of the official client, which must succeed, and answers with what it said.
fn python(script: &str, arguments: &[&str]) -> String {
    let python = std::env::var("PEER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(script);
    let output = Command::new(python)
        .arg(script)
        .args(arguments)
        .env("COLUMNS", "160")
        .env_remove("HH_API_KEY")
        .env_remove("HH_API_URL")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{complaints}");
    said
}

#[test]
fn every_method_of_the_python_client_goes_there_and_back() {
    if !wanted("the Python client") {
        return;
    }
    let server = Server::builder().port(0).start().unwrap();
    let said = python("api.py", &[server.url()]);
    assert!(said.ends_with("all of it\n"), "{said}");
}

#[test]
fn experiments_of_the_python_client_are_summed_up_and_compared() {
    if !wanted("the Python client") {
        return;
    }
    let server = Server::builder().port(0).start().unwrap();
    for dataset in ["external", "managed"] {
        let said = python("evaluate.py", &[server.url(), dataset]);
        // The client's own table, of what this server summed up.
        for shown in [
            "Evaluation Results: old",
            "Passed: 3",
            "Failed: 1",
            "Evaluation Results: new",
            "Passed: 4",
            "Failed: 0",
            "Datapoint Results (4 total)",
        ] {
            assert!(said.contains(shown), "{dataset}: {shown}: {said}");
        }
        for (metric, value) in [
            ("exact", "0.5000"),
            ("near", "8.5000"),
            ("exact", "0.7500"),
            ("near", "9.7500"),
        ] {
            let row = |line: &str| {
                line.contains(metric) && line.contains(value) && line.contains("CLIENT_SIDE")
            };
            assert!(said.lines().any(row), "{dataset}: {metric} {value}: {said}");
        }
        assert!(said.ends_with("compared 4\n"), "{dataset}: {said}");
    }
    // Each datapoint is a session of its own, with the program's span and its model call in it.
    let sessions = server.sessions().unwrap();
    assert_eq!(sessions.len(), 16);
    for session in sessions {
        let events = server.events(&session.session_id).unwrap();
        let (answer, model) = (named(&events, "answer"), named(&events, "model"));
        assert_eq!(answer.parent_id, session.session_id);
        assert_eq!(model.parent_id, answer.event_id);
        assert_eq!(answer.metadata["run_id"], session.metadata["run_id"]);
        assert!(session.feedback["ground_truth"]["number"].is_number());
        assert_eq!(session.outputs["number"], model.outputs["result"]);
    }
}

#[test]
fn the_official_python_client_cannot_tell() {
    if !wanted("the Python client") {
        return;
    }
    let server = Server::builder().port(0).start().unwrap();
    let said = python("client.py", &[server.url()]);
    let session = said
        .lines()
        .find_map(|line| line.strip_prefix("session "))
        .unwrap_or_else(|| panic!("{said}"));

    let sessions = server.sessions().unwrap();
    let found = sessions
        .iter()
        .find(|found| found.session_id == session)
        .unwrap();
    assert_eq!(found.session_name, "python-agent");
    assert_eq!(found.source.as_deref(), Some("ci"));
    assert_eq!(found.metadata["reviewed"], true);
    assert_eq!(found.feedback["rating"], 5);
    assert_eq!((found.model_calls, found.tokens), (1, 17));

    let events = server.events(session).unwrap();
    let (agent, ask, look_up) = (
        named(&events, "agent"),
        named(&events, "ask"),
        named(&events, "look_up"),
    );
    assert_eq!(agent.parent_id, session);
    assert_eq!(ask.parent_id, agent.event_id);
    assert_eq!(look_up.parent_id, agent.event_id);
    assert_eq!(
        (agent.event_type.as_str(), ask.event_type.as_str()),
        ("chain", "model")
    );
    assert_eq!(agent.inputs["question"], "why <b>?");
    assert_eq!(look_up.outputs["result"]["count"], 2);
    assert_eq!(ask.outputs["result"], "an answer to why <b>?");
    assert_eq!(ask.config["model"], "gpt-4o");
    assert_eq!(ask.metrics["score"], 0.5);
    assert!(
        events
            .iter()
            .any(|event| event.error.as_deref() == Some("as told"))
    );
}

#[tracing::instrument(ret, fields(honeyhive.event_type = "model"))]
fn hostile(prompt: &str) -> &'static str {
    honeyhive::enrich(|e| {
        e.input(
            "chat_history",
            serde_json::json!([{ "role": "user", "content": prompt }]),
        )
        .outputs(
            serde_json::json!({ "role": "assistant", "content": "<img src=x onerror=alert(1)>" }),
        )
    });
    "done"
}

#[test]
fn chromium_shows_the_pages_and_refuses_nothing() {
    if !wanted("Chromium") {
        return;
    }
    let server = Server::builder().port(0).start().unwrap();
    let honeyhive = HoneyHive::builder()
        .server_url(server.url())
        .build()
        .unwrap();
    let session = Session::start("hostile <script>");
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        session.in_scope(|| hostile("<script>document.title = 'broken into'</script>"));
    });
    honeyhive.flush_blocking(Duration::from_secs(10)).unwrap();

    let id = session.id().to_string();
    for (url, expected) in [
        (server.url().to_owned(), "hostile &lt;script&gt;"),
        (server.session_url(&id), "role=\"tree\""),
    ] {
        for size in ["1400,900", "380,800"] {
            let (page, complaints) = browse(&url, size);
            assert!(page.contains(expected), "{url} at {size}: {page}");
            assert!(!page.contains("<title>broken into"), "{url} at {size}");
            for bad in ["Refused to", "Uncaught", "SEVERE"] {
                assert!(!complaints.contains(bad), "{url} at {size}: {complaints}");
            }
        }
    }
}

#[test]
fn chromium_shows_runs_datasets_and_the_search() {
    if !wanted("Chromium") {
        return;
    }
    let server = Server::builder().port(0).start().unwrap();
    let evil = "<script>document.title = 'broken into'</script>";
    let asked = |path: &str, body: serde_json::Value| post(server.url(), path, &body);
    let empty = browse(&format!("{}/runs", server.url()), "380,800").0;
    assert!(empty.contains("No run yet"), "{empty}");
    let made = asked("/v1/datasets", serde_json::json!({"name": evil}));
    let dataset = made["result"]["insertedId"].as_str().unwrap().to_owned();
    let added = asked(
        &format!("/v1/datasets/{dataset}/datapoints"),
        serde_json::json!({"mapping": {"inputs": ["word"]}, "data": [{"word": evil}]}),
    );
    let point = added["datapoint_ids"][0].as_str().unwrap().to_owned();
    let runs: Vec<String> = [0.25, 0.75]
        .iter()
        .map(|score| {
            let made = asked("/v1/runs", serde_json::json!({"name": evil, "dataset_id": dataset}));
            let run = made["run_id"].as_str().unwrap().to_owned();
            let session = serde_json::json!({"session": {"session_name": evil, "inputs": {"word": evil}, "metrics": {evil: score},
                "metadata": {"run_id": run, "datapoint_id": point}}});
            asked("/session/start", session);
            run
        })
        .collect();
    let [old, new] = runs.as_slice() else {
        panic!("{runs:?}");
    };
    for (path, expected) in [
        ("/runs".to_owned(), "<b>0.75</b>"),
        (format!("/runs/{new}"), "class=\"dist\""),
        (format!("/compare/{new}/{old}"), "improved 1"),
        ("/datasets".to_owned(), "data-l=\"datapoints\">1<"),
        (format!("/datasets/{dataset}"), "class=\"brief\""),
        ("/events?q=script".to_owned(), "<mark>script</mark>"),
    ] {
        for size in ["1400,900", "380,800"] {
            let (page, complaints) = browse(&format!("{}{path}", server.url()), size);
            assert!(page.contains(expected), "{path} at {size}: {page}");
            assert!(page.contains("&lt;script&gt;"), "{path} at {size}: {page}");
            assert!(!page.contains("<title>broken into"), "{path} at {size}");
            for bad in [
                "Refused to",
                "Content Security Policy",
                "Uncaught",
                "SEVERE",
            ] {
                assert!(!complaints.contains(bad), "{path} at {size}: {complaints}");
            }
        }
    }
}

/// One request with a JSON body; it must succeed.
fn post(url: &str, path: &str, body: &serde_json::Value) -> serde_json::Value {
    use std::io::{Read as _, Write as _};
    let host = url.strip_prefix("http://").unwrap();
    let body = body.to_string();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    let (_, content) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(content).unwrap()
}

/// The page as Chromium has it after its scripts ran, and what the console said.
fn browse(url: &str, size: &str) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-dev-shm-usage", "--enable-logging=stderr"])
        .args(["--timeout=3000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={size}"))
        .arg(url)
        .output()
        .unwrap();
    assert!(output.status.success(), "chromium: {output:?}");
    let console = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect::<Vec<_>>()
        .join("\n");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        console,
    )
}
