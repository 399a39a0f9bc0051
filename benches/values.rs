//! What values cost: writing them on the thread that has them, and taking them apart and encoding them on the worker.
//!
//!     cargo bench --bench values                  # the table
//!     cargo bench --bench values -- --rounds 9    # more repetitions
//!
//! Each value is recorded in a span of its own, in an instance that sends nowhere (test mode). *write* is the CPU time of
//! the recording thread a span, with the cost of the same span without the value taken off; *flatten* is the CPU time
//! of the rest of the process, which is the worker: it parses the JSON of containers, takes it apart, and encodes it.
//! The median of the rounds is shown, and what it comes to a byte of JSON.

use std::time::Duration;

use honeyhive::{HoneyHive, SpanExt as _};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tracing_subscriber::prelude::*;

/// Spans between two flushes.
const SPANS: usize = 512;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let rounds = arguments
        .iter()
        .position(|word| word == "--rounds")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(5);
    let honeyhive = HoneyHive::builder()
        .api_key("hh_bench")
        .test_mode(true)
        .flush_interval(Duration::from_secs(3600))
        .max_queue_bytes(1 << 30)
        .build()
        .expect("settings");
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();

    println!(
        "microseconds a span, median of {rounds} rounds of {SPANS} spans; in brackets nanoseconds a byte of JSON\n"
    );
    println!(
        "{:<34} {:>9} {:>18} {:>18}",
        "value", "bytes", "write", "flatten"
    );
    let (base_write, base_flatten) = measure(&honeyhive, rounds, &Value::Null);
    for (name, value) in values() {
        let bytes = value.to_string().len();
        let (write, flatten) = measure(&honeyhive, rounds, &value);
        let show = |time: f64, base: f64| {
            let time = (time - base).max(0.0);
            format!("{:.2} ({:.2})", time / 1e3, time / bytes as f64)
        };
        println!(
            "{name:<34} {bytes:>9} {:>18} {:>18}",
            show(write, base_write),
            show(flatten, base_flatten)
        );
    }
    parse();
    println!(
        "\nthe span alone: write {:.2}, flatten {:.2}",
        base_write / 1e3,
        base_flatten / 1e3
    );
}

/// Reading the headers of a request: an ordinary one, and one that is made to hurt.
fn parse() {
    let carrier = |baggage: String| {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        std::collections::HashMap::from([
            ("traceparent".to_owned(), parent.to_owned()),
            ("baggage".to_owned(), baggage),
        ])
    };
    let ordinary =
        "session_id=21744350-0638-4098-a8ec-e661c141186d,project=proj,source=prod,tier=gold%20plus";
    let hostile = (0..1000)
        .map(|n| format!("k{n}=%zz%2"))
        .collect::<Vec<_>>()
        .join(",");
    println!("\n{:<34} {:>9} {:>18}", "headers", "bytes", "parse");
    for (name, baggage) in [
        ("traceparent and baggage", ordinary.to_owned()),
        ("1,000 broken entries", hostile),
    ] {
        let (bytes, carrier) = (baggage.len(), carrier(baggage));
        let start = clock_gettime(ClockId::ThreadCPUTime);
        for _ in 0..1000 {
            std::hint::black_box(honeyhive::propagation::extract(std::hint::black_box(
                &carrier,
            )));
        }
        let end = clock_gettime(ClockId::ThreadCPUTime);
        let spent = (end.tv_sec - start.tv_sec) as f64 * 1e9 + (end.tv_nsec - start.tv_nsec) as f64;
        println!("{name:<34} {bytes:>9} {:>18.2}", spent / 1e6);
    }
}

fn values() -> Vec<(&'static str, Value)> {
    let text = "All happy families are alike; each unhappy family is unhappy in its own way. ";
    let message = |n: usize| json!({ "role": "user", "content": text.repeat(4), "n": n });
    let keys = |count: usize| -> Value {
        let entries =
            (0..count).map(|n| (format!("key_{n}"), json!({ "score": n, "label": "good" })));
        Value::Object(entries.collect())
    };
    let deep = (0..60).fold(json!(1), |inner, n| json!({ format!("level_{n}"): inner }));
    vec![
        ("a number", json!(7)),
        ("a text of 4 KiB", json!("x".repeat(4 << 10))),
        (
            "a text of 4 KiB with escapes",
            json!("\"\n".repeat(2 << 10)),
        ),
        ("a text of 100 KiB", json!("x".repeat(100 << 10))),
        ("10 keys of 2", keys(10)),
        ("100 keys of 2", keys(100)),
        ("500 keys of 2", keys(500)),
        (
            "a list of 1,000 numbers",
            json!((0..1_000).collect::<Vec<u32>>()),
        ),
        (
            "a list of 1,500 (too many: whole)",
            json!((0..1_500).collect::<Vec<u32>>()),
        ),
        ("10 messages", (0..10).map(message).collect()),
        ("60 levels", deep),
    ]
}

/// Nanoseconds a span on this thread, and elsewhere in the process.
fn measure(honeyhive: &HoneyHive, rounds: usize, value: &Value) -> (f64, f64) {
    let (mut write, mut flatten) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (thread, process) = (cpu(ClockId::ThreadCPUTime), cpu(ClockId::ProcessCPUTime));
        for _ in 0..SPANS {
            let span = tracing::info_span!("value");
            span.enrich(|e| e.output(value));
        }
        let written = cpu(ClockId::ThreadCPUTime) - thread;
        honeyhive.flush_blocking(PATIENCE).expect("a flush");
        let on_thread = cpu(ClockId::ThreadCPUTime) - thread;
        let elsewhere = cpu(ClockId::ProcessCPUTime) - process - on_thread;
        // The first round warms up.
        if round > 0 {
            write.push(written / SPANS as f64);
            flatten.push(elsewhere / SPANS as f64);
        }
    }
    (median(write), median(flatten))
}

fn cpu(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
