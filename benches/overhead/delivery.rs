//! How long a flush takes, and a shutdown that cannot deliver.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use tracing_subscriber::prelude::*;

use crate::Options;
use crate::child::{median, numbers, short};
use crate::contenders::{OTEL, OURS, instance, opentelemetry};
use crate::paced::{NESTED, TRACE, Work as _};
use crate::sink::Sink;
use crate::work::Tracing;

const PENDING: usize = 512;

pub(crate) fn report(options: &Options) {
    let mut text = format!(
        "Flush of {PENDING} spans that wait, over loopback, the median of 40 and in brackets the quickest:\n\n"
    );
    let _ = writeln!(
        text,
        "| | W2, ms | W3, ms |\n|---|---:|---:|\n| target | ≤ 0.5 | ≤ 1 |"
    );
    let sink = Sink::start();
    for contender in [OURS, OTEL] {
        eprint!("\rflush: {contender}        ");
        let cells = ["W2", "W3"].map(|workload| {
            let runs: Vec<Vec<f64>> = (0..options.rounds.min(3))
                .filter_map(|_| numbers(&["delivery", "flush", contender, workload, &sink.url]))
                .collect();
            let of = |at: usize| runs.iter().filter_map(move |run| run.get(at).copied());
            let least = of(1).fold(f64::NAN, f64::min);
            format!("{} ({})", short(median(of(0))), short(least))
        });
        let _ = writeln!(text, "| {contender} | {} |", cells.join(" | "));
    }
    let _ = writeln!(
        text,
        "\nShutdown with {PENDING} spans that wait and a deadline of a second (target: at most 1,050 ms):\n"
    );
    let _ = writeln!(
        text,
        "| | connection refused, ms | taken and never answered, ms |\n|---|---:|---:|"
    );
    let silent = Sink::silent();
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    for contender in [OURS, OTEL] {
        eprint!("\rshutdown: {contender}    ");
        let cells = [&refused, &silent.url].map(|url| {
            let said = numbers(&["delivery", "shutdown", contender, url]);
            short(
                said.and_then(|said| said.first().copied())
                    .unwrap_or(f64::NAN),
            )
        });
        let _ = writeln!(text, "| {contender} | {} |", cells.join(" | "));
    }
    eprintln!();
    options.page.part("delivery", &text);
}

/// `delivery ...`, in a process of its own.
pub(crate) fn child(words: &[&str]) {
    match words {
        ["flush", contender, workload, url] => flushes(contender, workload, url),
        ["shutdown", contender, url] => shutdown(contender, url),
        other => panic!("nothing called {other:?}"),
    }
}

fn flushes(contender: &str, workload: &str, url: &str) {
    let flush: Box<dyn Fn()> = if contender == OURS {
        // So that nothing leaves before the flush.
        let honeyhive = instance(url, |builder| {
            builder.batch_size(10_000).max_export_batch_size(10_000)
        });
        tracing_subscriber::registry()
            .with(honeyhive.layer())
            .init();
        Box::new(move || crate::contenders::flush(&honeyhive))
    } else {
        let provider = opentelemetry(url, false);
        Box::new(move || provider.force_flush().expect("a flush"))
    };
    let emit: fn() = match workload {
        "W2" => || Tracing::fields(PENDING / TRACE),
        _ => || Tracing::nested(PENDING / NESTED),
    };
    let mut times = Vec::new();
    for _ in 0..50 {
        emit();
        let start = Instant::now();
        flush();
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    let times = times.split_off(10);
    let least = times.iter().copied().fold(f64::NAN, f64::min);
    println!("{} {least}", median(times));
}

fn shutdown(contender: &str, url: &str) {
    let deadline = Duration::from_secs(1);
    let emit = || Tracing::fields(PENDING / TRACE);
    let took = if contender == OURS {
        let honeyhive = instance(url, |builder| builder);
        tracing_subscriber::registry()
            .with(honeyhive.layer())
            .init();
        emit();
        let start = Instant::now();
        let _ = honeyhive.shutdown_blocking(deadline);
        start.elapsed()
    } else {
        let provider = opentelemetry(url, false);
        emit();
        let start = Instant::now();
        let _ = provider.shutdown_with_timeout(deadline);
        start.elapsed()
    };
    println!("{}", took.as_secs_f64() * 1000.0);
    std::process::exit(0);
}
