//! A cold start: what an instance costs before its first span, and what that costs.

use std::fmt::Write as _;
use std::time::Instant;

use tracing::info_span;
use tracing_subscriber::prelude::*;

use crate::Options;
use crate::child::{median, numbers};
use crate::contenders::instance;
use crate::sink::Sink;

const RUNS: usize = 15;

pub(crate) fn report(options: &Options) {
    let sink = Sink::start();
    let runs: Vec<Vec<f64>> = (0..RUNS)
        .filter_map(|_| numbers(&["start", &sink.url]))
        .collect();
    let of = |at: usize| median(runs.iter().filter_map(|run| run.get(at).copied()));
    let mut text = "| | median | target |\n|---|---:|---:|\n".to_owned();
    let _ = writeln!(text, "| `build()` | {:.0} µs | ≤ 1,000 |", of(0));
    let _ = writeln!(
        text,
        "| first span, made and closed | {:.0} µs | ≤ 50 |",
        of(2)
    );
    let _ = writeln!(text, "| second span | {:.1} µs | |", of(3));
    let _ = writeln!(
        text,
        "| threads started before the first span | {:.0} | 0 |",
        of(1)
    );
    let _ = writeln!(text, "| threads after it | {:.0} | |", of(4));
    options.page.part("start", &text);
}

/// `start URL`, in a process of its own.
pub(crate) fn child(url: &str) {
    let before = threads();
    let start = Instant::now();
    let honeyhive = instance(url, |builder| builder);
    let build = start.elapsed();
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    let idle = threads();
    let span = || {
        let start = Instant::now();
        info_span!("work", model = "gpt-4o-mini", item = 1_u64).in_scope(|| {});
        start.elapsed().as_secs_f64() * 1e6
    };
    let (first, second) = (span(), span());
    println!(
        "{} {} {first} {second} {}",
        build.as_secs_f64() * 1e6,
        idle - before,
        threads() - before
    );
    std::process::exit(0);
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux").count()
}
