//! What redaction costs, next to encoding and sending the same event: `cargo bench --bench redact`.
//!
//! Every figure is the best of several rounds, in nanoseconds an event; the last column is redaction as a share of
//! encoding and sending. Sending goes to a server in this process that reads and answers, 50 events a request.

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use honeyhive::HoneyHive;
use honeyhive::config::Redact;
use tracing_subscriber::prelude::*;

#[path = "../src/redact.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the module as it is, measured from outside"
)]
mod redact;

const ROUNDS: usize = 7;
const EVENTS: usize = 1000;

fn main() {
    let sentence =
        "The quick brown fox asks what a token is worth, and the lazy dog answers politely. ";
    let prose: String = sentence.chars().cycle().take(4096).collect();
    let message = |content: &str| serde_json::json!({ "role": "user", "content": content });
    let chat = serde_json::json!([
        message(&prose[..1300]),
        message(&prose[..1300]),
        message(&prose[..1300])
    ]);
    let dense = serde_json::json!(
        (0..130)
            .map(|n| serde_json::json!({ "id": n, "name": "x", "ok": true }))
            .collect::<Vec<_>>()
    );
    let texts = [
        ("4 KiB of prose", prose),
        ("4 KiB of chat messages (JSON)", chat.to_string()),
        ("4 KiB of small objects (JSON)", dense.to_string()),
    ];
    let keys = [
        "question",
        "gen_ai.request.model",
        "gen_ai.usage.input_tokens",
        "honeyhive_event_type",
    ];
    let default = redact::Redactor::new(true, &[], &[], Vec::new());
    let pattern = [r"\b\d{3}-\d{2}-\d{4}\b".to_owned()];
    let patterns = redact::Redactor::new(true, &[], &pattern, Vec::new());

    println!(
        "| event | encode and send, ns | redact by keys, ns | with a pattern, ns | keys / encode and send |"
    );
    println!("|---|---:|---:|---:|---:|");
    for (name, text) in texts {
        let sent = send(&text);
        let by_keys = best(|| redact_event(&default, &keys, &text));
        let by_pattern = best(|| redact_event(&patterns, &keys, &text));
        println!(
            "| {name} | {sent:.0} | {by_keys:.0} | {by_pattern:.0} | {:.3} |",
            by_keys / sent
        );
    }
    let per_key = best(|| {
        for key in keys {
            black_box(default.hides(black_box(key)));
        }
    }) / keys.len() as f64;
    println!("\nA key: {per_key:.0} ns.");
}

fn redact_event(redactor: &redact::Redactor, keys: &[&str], text: &str) {
    for key in keys {
        black_box(redactor.hides(black_box(key)));
    }
    black_box(redactor.text("question", black_box(text)));
}

/// Nanoseconds a call.
fn best(mut f: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        (0..EVENTS).for_each(|_| f());
        best = best.min(start.elapsed());
    }
    best.as_nanos() as f64 / EVENTS as f64
}

/// Nanoseconds an event, from the flush until all are delivered.
fn send(text: &str) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    let honeyhive = HoneyHive::builder()
        .server_url(url)
        .api_key("hh_bench")
        .flush_interval(Duration::from_secs(3600))
        .redact(Redact::none())
        .build()
        .expect("an instance");
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    let mut best = Duration::MAX;
    tracing::subscriber::with_default(subscriber, || {
        // Bytes wake the worker too, so few at a time are closed, then timed.
        for _ in 0..ROUNDS {
            let mut spent = Duration::ZERO;
            for _ in 0..EVENTS / 50 {
                for _ in 0..50 {
                    tracing::info_span!("ask", question = text, gen_ai.request.model = "m")
                        .in_scope(|| {});
                }
                let start = Instant::now();
                honeyhive
                    .flush_blocking(Duration::from_secs(30))
                    .expect("a delivery");
                spent += start.elapsed();
            }
            best = best.min(spent);
        }
    });
    best.as_nanos() as f64 / EVENTS as f64
}

fn answer(stream: TcpStream) {
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        if writer
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .is_err()
        {
            return;
        }
    }
}
