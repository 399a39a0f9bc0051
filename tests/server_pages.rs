//! What a browser is given.
#![cfg(feature = "server")]

mod server_support;

use serde_json::{Value, json};
use server_support::{span, start};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SESSION: &str = "88888888-8888-4888-8888-888888888888";
const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}";

#[test]
fn nothing_stored_is_ever_interpreted() {
    let running = start();
    let event_id = format!("evil{EVIL}");
    let chat = json!([{"role": EVIL, "content": EVIL, "name": EVIL, "tool_calls":
        [{"id": EVIL, "function": {"name": EVIL, "arguments": json!({EVIL: EVIL}).to_string()}}]}]);
    running.json(
        "POST",
        "/session/start",
        &json!({"session": {"session_id": SESSION, "session_name": EVIL, "source": EVIL, "project": EVIL, "inputs": {EVIL: EVIL},
            "metadata": {EVIL: [EVIL]}, "user_properties": {"user_id": EVIL}, "error": EVIL}}),
    );
    let keys = [
        "honeyhive_inputs.x",
        "honeyhive_outputs.result",
        "honeyhive_config.model",
        "honeyhive_metadata.m",
        "honeyhive_metrics.m",
        "honeyhive_feedback.f",
        "honeyhive_user_properties.u",
        "honeyhive_error",
        "honeyhive_error_type",
        "exception.stacktrace",
        EVIL,
    ];
    let mut attributes: Vec<(&str, &str)> = keys.iter().map(|key| (*key, EVIL)).collect();
    let evil_keys: Vec<String> = ["inputs", "metrics", "feedback", "config"]
        .iter()
        .map(|bucket| format!("honeyhive_{bucket}.{EVIL}"))
        .collect();
    attributes.extend(evil_keys.iter().map(|key| (key.as_str(), EVIL)));
    let chat = chat.to_string();
    attributes.extend([
        ("honeyhive.session_id", SESSION),
        ("honeyhive_event_id", event_id.as_str()),
        ("honeyhive_event_type", "model"),
        ("gen_ai.input.messages", chat.as_str()),
        ("gen_ai.output.messages", chat.as_str()),
    ]);
    let root = span(1, None, EVIL, &attributes);
    running.spans(&[
        root,
        span(2, Some(1), EVIL, &[("honeyhive.session_id", SESSION)]),
    ]);

    let event = running.server.events(SESSION).unwrap()[0].event_id.clone();
    let event = encoded(&event);
    let mut pages = vec![
        "/".to_owned(),
        format!("/?q={}&source={}", encoded(EVIL), encoded(EVIL)),
        format!("/sessions/{SESSION}?event={SESSION}&q={}", encoded(EVIL)),
        format!("/sessions/{}", encoded(EVIL)),
    ];
    for tab in [
        "", "chat", "inputs", "outputs", "config", "metadata", "metrics", "feedback", "user", "raw",
    ] {
        pages.push(format!("/sessions/{SESSION}?event={event}&tab={tab}"));
    }
    for path in pages {
        let page = running.get(&path);
        let text = page.text();
        assert!(
            page.header("content-type")
                .unwrap()
                .starts_with("text/html"),
            "{path}"
        );
        assert!(!text.contains("<script>"), "{path}");
        assert!(!text.contains("<img"), "{path}");
        assert!(!shown(text).contains('\u{202e}'), "{path}");
        assert!(text.contains("&lt;script&gt;"), "{path} does not show it");
        assert!(!text.contains(" style="), "{path}");
    }
}

/// A page without the values of its attributes, which nobody sees.
fn shown(page: &str) -> String {
    page.split('"').step_by(2).collect()
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn every_answer_is_guarded() {
    let running = start();
    running.spans(&[span(1, None, "x", &[("honeyhive.session_id", SESSION)])]);
    let page = running.get("/");
    let style = page
        .text()
        .split("href=\"")
        .find(|part| part.contains("style.css"))
        .unwrap();
    let style = style.split('"').next().unwrap().to_owned();
    let session = format!("/sessions/{SESSION}");
    for path in [
        "/",
        session.as_str(),
        "/nothing",
        style.as_str(),
        "/sessions/none",
    ] {
        let answer = running.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        let cache = answer.header("cache-control").unwrap();
        assert_eq!(cache == "no-store", path != style, "{path}: {cache}");
    }
    assert_eq!(running.get("/sessions/none").status, 404);
}

#[test]
fn the_first_page_tells_how_to_begin() {
    let running = start();
    let page = running.get("/");
    let line = format!("export HH_API_URL={}", running.server.url());
    assert!(page.text().contains(&line), "{}", page.text());
    assert!(page.text().contains("honeyhive.layer()"));
}

#[test]
fn the_list_filters_sorts_and_links() {
    let running = start();
    for (number, name, source, tokens) in [
        (1_u64, "alpha", "dev", "30"),
        (2, "beta", "prod", "100"),
        (3, "gamma", "dev", "7"),
    ] {
        let id = format!("00000000-0000-4000-8000-00000000000{number}");
        let mut attributes = vec![
            ("honeyhive.session_id", id.as_str()),
            ("honeyhive.source", source),
            ("honeyhive_metadata.total_tokens", tokens),
        ];
        if name == "beta" {
            attributes.push(("honeyhive_error", "out of honey"));
        }
        running.spans(&[span(number, None, name, &attributes)]);
    }
    let order = |path: &str| -> Vec<String> {
        let page = running.get(path);
        let rows = page.text().split("data-id=").skip(1);
        rows.map(|row| {
            row.split("<bdi>")
                .nth(1)
                .unwrap()
                .split('<')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
    };
    assert_eq!(order("/"), ["gamma", "beta", "alpha"]);
    assert_eq!(order("/?sort=tokens"), ["beta", "alpha", "gamma"]);
    assert_eq!(order("/?sort=-tokens"), ["gamma", "alpha", "beta"]);
    assert_eq!(order("/?sort=name"), ["alpha", "beta", "gamma"]);
    assert_eq!(order("/?source=dev"), ["gamma", "alpha"]);
    assert_eq!(order("/?error=1"), ["beta"]);
    assert_eq!(order("/?q=HONEY"), ["beta"]);
    assert_eq!(order("/?q=000000000003"), ["gamma"]);
    assert!(order("/?q=nobody").is_empty());
    assert!(order("/?page=2").is_empty());
    assert_eq!(running.get("/?page=x").status, 400);
    assert!(
        running
            .get("/")
            .text()
            .contains("href=\"/sessions/00000000-0000-4000-8000-000000000003\"")
    );
}

#[test]
fn a_session_as_a_tree_with_its_events() {
    let running = start();
    let own = ("honeyhive.session_id", SESSION);
    let said = r#"[{"role":"user","content":"What does flush() return?"}]"#;
    running.spans(&[
        span(1, None, "answer", &[own, ("honeyhive_event_type", "chain")]),
        span(
            2,
            Some(1),
            "ask",
            &[
                own,
                ("gen_ai.operation.name", "chat"),
                ("gen_ai.input.messages", said),
                ("gen_ai.usage.input_tokens", "842"),
                ("gen_ai.completion", "A report."),
            ],
        ),
        span(
            3,
            Some(1),
            "lookup",
            &[
                own,
                ("honeyhive_error", "not found"),
                ("honeyhive_error_type", "IndexError"),
            ],
        ),
        span(4, Some(99), "stray", &[own]),
    ]);
    let events = running.server.events(SESSION).unwrap();
    let page = running.get(&format!("/sessions/{SESSION}"));
    let text = page.text();
    assert_eq!(text.matches("role=\"treeitem\"").count(), 6);
    assert_eq!(text.matches("aria-level=\"3\"").count(), 3);
    for (place, of) in [(1, 2), (2, 2), (1, 1)] {
        let third = format!("aria-level=\"3\" aria-posinset=\"{place}\" aria-setsize=\"{of}\"");
        assert_eq!(text.matches(&third).count(), 1, "{place} of {of}");
    }
    for expected in ["in progress", "842", "1 error", "class=\"err below\""] {
        assert!(text.contains(expected), "{expected}");
    }
    let ask = running.get(&format!("/sessions/{SESSION}?event={}", events[1].event_id));
    assert!(ask.text().contains("What does flush() return?"));
    assert!(ask.text().contains("A report."));
    assert!(ask.text().contains("aria-selected=\"true\""));
    let failed = running.get(&format!("/sessions/{SESSION}?event={}", events[2].event_id));
    assert!(failed.text().contains("IndexError"));

    // Folding is in the address.
    let fold = text
        .split("fold=")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let folded = running.get(&format!("/sessions/{SESSION}?fold={fold}"));
    assert_eq!(folded.text().matches("role=\"treeitem\"").count(), 4);
    assert!(folded.text().contains("aria-expanded=\"false\""));

    let found = running.get(&format!("/sessions/{SESSION}?q=flush"));
    assert!(found.text().contains("1 found"));

    let json = running.get(&format!("/sessions/{SESSION}.json")).json();
    assert_eq!(json["events"].as_array().unwrap().len(), 4);
    assert_eq!(json["session"]["errors"], 1);
    let path = format!(
        "/sessions/{SESSION}/events/{}.json?part=inputs",
        events[1].event_id
    );
    assert_eq!(running.get(&path).json()["chat_history"][0]["role"], "user");
    assert_eq!(
        running
            .get(&format!("/sessions/{SESSION}/events/none.json"))
            .status,
        404
    );
}

#[test]
fn parents_in_a_circle_are_shown_once_each() {
    let running = start();
    for (id, parent) in [("a", "b"), ("b", "a"), ("c", "c")] {
        let event = json!({"event": {"event_id": id, "parent_id": parent, "session_id": SESSION, "event_name": id}});
        assert_eq!(running.json("POST", "/events", &event).status, 200);
    }
    let page = running.get(&format!("/sessions/{SESSION}"));
    assert_eq!(page.text().matches("role=\"treeitem\"").count(), 4);
}

#[test]
fn five_thousand_events_are_a_small_page() {
    let running = start();
    let own = ("honeyhive.session_id", SESSION);
    let spans: Vec<Value> = (1..=5000_u64)
        .map(|n| {
            span(
                n,
                (n > 1).then_some(n / 8 * 8).filter(|p| *p != n),
                "a step of the work",
                &[own],
            )
        })
        .collect();
    for part in spans.chunks(1000) {
        running.spans(part);
    }
    let begun = Instant::now();
    let page = running.get(&format!("/sessions/{SESSION}"));
    println!(
        "5,000 events: {:?}, {} bytes",
        begun.elapsed(),
        page.body.len()
    );
    assert!(page.body.len() < 60 * 1024, "{} bytes", page.body.len());
    // The rest is asked for as it comes into sight.
    let last = running.get(&format!("/sessions/{SESSION}?from=4980"));
    assert!(
        last.text().contains("data-from=\"4980\" role")
            || last.text().contains("data-from=\"4980\"")
    );
    assert!(last.body.len() < 60 * 1024);
    assert!(last.text().contains("role=\"treeitem\""));
}

#[test]
fn a_chain_of_thousands_does_not_overflow() {
    let running = start();
    let own = ("honeyhive.session_id", SESSION);
    let spans: Vec<Value> = (1..=5000_u64)
        .map(|n| span(n, (n > 1).then(|| n - 1), "deeper", &[own]))
        .collect();
    running.spans(&spans);
    let page = running.get(&format!("/sessions/{SESSION}"));
    assert_eq!(page.status, 200);
    assert!(page.body.len() < 60 * 1024, "{} bytes", page.body.len());
}

#[test]
fn a_new_event_is_announced() {
    let running = start();
    let listen = |path: &str| {
        let address = running.server.local_addr();
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert!(lines.next().unwrap().contains("200"));
        // The first beat says that the listener is heard.
        assert!(lines.any(|line| line == ": here"));
        lines
    };
    let mut all = listen("/live");
    let mut one = listen(&format!("/sessions/{SESSION}/live"));
    running.spans(&[span(1, None, "other", &[("honeyhive.session_id", "other")])]);
    running.spans(&[span(2, None, "x", &[("honeyhive.session_id", SESSION)])]);
    fn data(lines: &mut impl Iterator<Item = String>) -> String {
        lines.find(|line| line.starts_with("data:")).unwrap()
    }
    assert_eq!(data(&mut all), "data: other");
    assert_eq!(data(&mut all), format!("data: {SESSION}"));
    assert_eq!(data(&mut one), format!("data: {SESSION}"));
    // Listeners do not keep the server from stopping.
    running.server.shutdown().unwrap();
}
