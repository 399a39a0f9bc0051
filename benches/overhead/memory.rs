//! Memory: in a steady program, of what waits, and before an endpoint that is slow.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tracing_subscriber::prelude::*;

use crate::Options;
use crate::child::{memory, numbers};
use crate::contenders::instance;
use crate::paced::{NESTED, ROUND, TRACE, Work as _, at_rate};
use crate::sink::Sink;
use crate::work::Tracing;

const HOST: usize = 200 << 20;
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) fn report(options: &Options) {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "A program of 200 MB that makes 1,000 spans a second for 8 seconds (target: under 5 %):\n"
    );
    let _ = writeln!(
        text,
        "| spans | grows by, MiB | of its memory |\n|---|---:|---:|"
    );
    let sink = Sink::start();
    for workload in ["W2", "W3"] {
        eprint!("\rmemory: host {workload}   ");
        if let Some([base, peak]) = numbers(&["memory", "host", workload, &sink.url]).as_deref() {
            let _ = writeln!(
                text,
                "| {workload} | {:.1} | {:.1} % |",
                (peak - base) / MIB,
                (peak / base - 1.0) * 100.0
            );
        }
    }
    let _ = writeln!(
        text,
        "\nSpans that wait for an endpoint that takes requests and never answers (target: about 1.1 times the bytes that go \
         over the wire):\n"
    );
    let _ = writeln!(
        text,
        "| spans | waiting | memory a span, bytes | on the wire, bytes | times | lost |\n|---|---:|---:|---:|---:|---:|"
    );
    for (workload, count) in [("W2", 99_840), ("W3", 23_040)] {
        eprint!("\rmemory: waiting {workload}");
        let before = sink.seen();
        let _ = numbers(&["run", "honeyhive", workload, &sink.url, "4"]);
        let seen = sink.seen() - before;
        let wire = seen.bytes as f64 / seen.spans as f64;
        let silent = Sink::silent();
        let said = numbers(&[
            "memory",
            "waiting",
            workload,
            &count.to_string(),
            &silent.url,
        ]);
        if let Some([grown, lost]) = said.as_deref() {
            let each = grown / f64::from(count);
            let _ = writeln!(
                text,
                "| {workload} | {count} | {each:.0} | {wire:.0} | {:.2} | {lost} |",
                each / wire
            );
        }
    }
    let _ = writeln!(
        text,
        "\nAn endpoint that takes 200 ms for an answer, and 20,000 W3 spans a second for 10 seconds (target: none lost):\n"
    );
    text.push_str(
        "| batches | made | arrived | lost | most at once waiting or on their way | memory grows by, MiB | flush at the \
         end, ms | requests | KiB each |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (label, batch) in [
        ("default", "512"),
        ("`max_export_batch_size(10_000)`", "10000"),
    ] {
        eprint!("\rmemory: slow endpoint {batch} ");
        let slow = Sink::slow(200);
        let said = numbers(&["memory", "slow", batch, &slow.url]);
        let Some([base, peak, submitted, exported, lost, waiting, flush]) = said.as_deref() else {
            continue;
        };
        let seen = slow.seen();
        let _ = writeln!(
            text,
            "| {label} | {submitted} | {exported} | {lost} | {waiting} | {:.0} | {flush:.0} | {} | {:.0} |",
            (peak - base) / MIB,
            seen.requests,
            seen.bytes as f64 / seen.requests as f64 / 1024.0
        );
        if *lost > 0.0 && batch == "512" {
            options.failed(format!(
                "{lost} of {submitted} spans were lost before a slow endpoint"
            ));
        }
    }
    eprintln!();
    options.page.part("memory", &text);
}

/// `memory ...`, in a process of its own.
pub(crate) fn child(words: &[&str]) {
    match words {
        ["host", workload, url] => host(workload, url),
        ["waiting", workload, count, url] => {
            waiting(workload, count.parse().expect("a number"), url);
        }
        ["slow", batch, url] => slow(batch.parse().expect("a number"), url),
        other => panic!("nothing called {other:?}"),
    }
}

/// About so many spans, and how many they are.
fn emitter(workload: &str) -> (fn(), usize) {
    match workload {
        "W2" => (|| Tracing::fields(1), TRACE),
        _ => (|| Tracing::nested(1), NESTED),
    }
}

fn host(workload: &str, url: &str) {
    let ballast = vec![1_u8; HOST];
    std::hint::black_box(&ballast);
    let base = memory("VmRSS");
    let honeyhive = instance(url, |builder| builder);
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    let (emit, each) = emitter(workload);
    at_rate(1000, 8.0, each, &mut || emit());
    println!("{base} {}", memory("VmHWM"));
    std::hint::black_box(&ballast);
}

fn waiting(workload: &str, count: usize, url: &str) {
    let honeyhive = instance(url, |builder| builder);
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    let base = memory("VmRSS");
    let (emit, each) = emitter(workload);
    for _ in 0..count / each {
        emit();
    }
    // The worker takes what it may take.
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut last = 0.0;
    while Instant::now() < deadline && (memory("VmRSS") - last).abs() > 0.0 {
        last = memory("VmRSS");
        std::thread::sleep(Duration::from_millis(300));
    }
    let stats = honeyhive.stats();
    println!("{} {}", memory("VmRSS") - base, stats.dropped.total());
    // Not to wait for an endpoint that does not answer.
    std::process::exit(0);
}

fn slow(batch: usize, url: &str) {
    let honeyhive = instance(url, |builder| match batch {
        512 => builder,
        count => builder.max_export_batch_size(count),
    });
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    let (mut most, mut made) = (0, 0);
    let base = memory("VmRSS");
    at_rate(20_000, 10.0, NESTED, &mut || {
        Tracing::nested(1);
        made += NESTED;
        if made % (ROUND / 4) == 0 {
            most = most.max(honeyhive.stats().in_flight);
        }
    });
    let start = Instant::now();
    let _ = honeyhive.flush_blocking(Duration::from_secs(60));
    let flush = start.elapsed().as_secs_f64() * 1000.0;
    let stats = honeyhive.stats();
    println!(
        "{base} {} {} {} {} {most} {flush}",
        memory("VmHWM"),
        stats.submitted,
        stats.exported,
        stats.dropped.total() + stats.rejected,
    );
    std::process::exit(0);
}
