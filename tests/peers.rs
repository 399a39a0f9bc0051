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

#[test]
fn the_official_python_client_cannot_tell() {
    if !wanted("the Python client") {
        return;
    }
    let server = Server::builder().port(0).start().unwrap();
    let python = std::env::var("PEER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/client.py");
    let output = Command::new(python)
        .arg(script)
        .arg(server.url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{complaints}");
    let session = said
        .lines()
        .find_map(|line| line.strip_prefix("session "))
        .unwrap_or_else(|| panic!("{said}\n{complaints}"));

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
