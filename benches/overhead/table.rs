//! The table: every contender under every workload.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Options;
use crate::child::{median, numbers, numbers_of, short};
use crate::contenders::{OTEL, OTEL_LEAN, OURS, OURS_EVENTS, REGISTRY};
use crate::page;
use crate::sink::Sink;

const WORKLOADS: [&str; 7] = ["W1", "W2", "W3", "W4", "W5x1", "W5x2", "W5x4"];
/// The first are this program's, the others are of the package in `benches/compare`.
const CONTENDERS: [(&str, &str); 7] = [
    (REGISTRY, "registry, a layer that does nothing (R)"),
    (OURS, "**honeyhive**"),
    (OURS_EVENTS, "honeyhive, `span_events(\"info\")`"),
    (OTEL, "tracing-opentelemetry (T)"),
    (OTEL_LEAN, "tracing-opentelemetry, lean"),
    (FASTRACE, "fastrace, OTLP"),
    (SENTRY, "sentry-tracing"),
];
const FASTRACE: &str = "fastrace";
const SENTRY: &str = "sentry";

/// What is asked for, by workload: W1, W2, W3, W4.
const ON_THREAD: [f64; 4] = [2.1, 2.4, 3.5, 2.4];
const TOTAL: [f64; 4] = [2.6, 3.5, 6.5, 3.8];
const TIMES_LESS: [f64; 4] = [7.0, 9.0, 6.0, 4.5];
const FOUR_THREADS: f64 = 1.1;

#[derive(Clone, Copy)]
struct Measured {
    thread: f64,
    total: f64,
    /// The share of spans that arrived.
    arrived: f64,
    /// Bytes of bodies for each that did.
    bytes: f64,
}

type Value = fn(&Measured) -> f64;
/// Of a contender under a workload.
type Ratio = fn(&Results, &str, &str) -> f64;

#[derive(Default)]
struct Results(BTreeMap<(&'static str, &'static str), Vec<Measured>>);

impl Results {
    fn of(&self, contender: &str, workload: &str, value: Value) -> f64 {
        let list = self
            .0
            .iter()
            .find(|((name, work), _)| *name == contender && *work == workload);
        median(list.iter().flat_map(|(_, list)| list.iter().map(value)))
    }

    fn spread(&self, contender: &str, value: Value) -> f64 {
        let spreads = WORKLOADS[..4].iter().filter_map(|workload| {
            let list = self.0.get(&(contender, *workload))?;
            let values = || list.iter().map(value);
            let (low, high) = (
                values().fold(f64::MAX, f64::min),
                values().fold(0.0, f64::max),
            );
            Some((high - low) / median(values()))
        });
        spreads.fold(0.0, f64::max)
    }
}

pub(crate) fn table(options: &Options) {
    let others = if options.own { None } else { build_others() };
    let sink = Sink::start();
    let mut results = Results::default();
    for round in 0..options.rounds {
        for workload in WORKLOADS {
            for (contender, _) in CONTENDERS {
                // Only W3 and W4 have events.
                if contender == OURS_EVENTS && !["W3", "W4"].contains(&workload) {
                    continue;
                }
                let before = sink.seen();
                let said = if [FASTRACE, SENTRY].contains(&contender) {
                    let Some(program) = &others else { continue };
                    numbers_of(program, &[contender, workload, &sink.url])
                } else {
                    numbers(&["run", contender, workload, &sink.url])
                };
                let Some([thread, total, spans]) = said.as_deref().and_then(<[f64]>::first_chunk)
                else {
                    continue;
                };
                let seen = sink.seen() - before;
                let list = results.0.entry((contender, workload)).or_default();
                list.push(Measured {
                    thread: *thread,
                    total: *total,
                    arrived: seen.spans as f64 / spans,
                    bytes: seen.bytes as f64 / seen.spans as f64,
                });
            }
            eprint!("\rtable: {workload} {}/{}  ", round + 1, options.rounds);
        }
    }
    eprintln!();
    options.page.part("table", &text(&results, options.rounds));
    options.page.part("targets", &targets(&results));
}

/// The program with the contenders that this package must not depend on.
fn build_others() -> Option<PathBuf> {
    let root = page::root();
    let target = root.join("target/compare");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--manifest-path",
        ])
        .arg(root.join("benches/compare/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status();
    let program = target.join("release/compare");
    if done.is_ok_and(|status| status.success()) && Path::is_file(&program) {
        return Some(program);
    }
    eprintln!("benches/compare could not be built: no fastrace and no sentry in the table");
    None
}

fn text(results: &Results, rounds: usize) -> String {
    let mut text = String::new();
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let heads = format!("| | {} |", WORKLOADS.join(" | "));
    let rule = format!("|---|{}", "---:|".repeat(WORKLOADS.len()));
    let values: [(&str, Value); 2] = [
        ("On the instrumented thread", |m| m.thread),
        ("The whole process, export included", |m| m.total),
    ];
    for (title, value) in values {
        add(format!(
            "{title}: CPU nanoseconds a span, and in brackets the multiple of R.\n"
        ));
        add(heads.clone());
        add(rule.clone());
        for (contender, label) in CONTENDERS {
            let cells = WORKLOADS.map(|workload| {
                let own = results.of(contender, workload, value);
                let base = results.of(REGISTRY, workload, value);
                if own.is_nan() {
                    "–".to_owned()
                } else {
                    format!("{} ({:.1})", short(own), own / base)
                }
            });
            add(format!("| {label} | {} |", cells.join(" | ")));
        }
        add(String::new());
    }
    add("What arrived, of what was made, and bytes of the bodies a span.\n".to_owned());
    add(heads);
    add(rule);
    for (contender, label) in &CONTENDERS[1..] {
        let cells = WORKLOADS.map(|workload| {
            let arrived = results.of(contender, workload, |m| m.arrived);
            let bytes = results.of(contender, workload, |m| m.bytes);
            if arrived.is_nan() {
                return "–".to_owned();
            }
            format!("{:.0} %, {}", arrived * 100.0, short(bytes))
        });
        add(format!("| {label} | {} |", cells.join(" | ")));
    }
    add(format!(
        "\nMedians of {rounds} runs. Largest spread of honeyhive's in W1 to W4, (highest - lowest) / median: {:.0} % on \
         the thread, {:.0} % in total; of R's {:.0} %.",
        results.spread(OURS, |m| m.thread) * 100.0,
        results.spread(OURS, |m| m.total) * 100.0,
        results.spread(REGISTRY, |m| m.thread) * 100.0,
    ));
    text
}

fn targets(results: &Results) -> String {
    let mut text = "| | W1 | W2 | W3 | W4 |\n|---|---:|---:|---:|---:|\n".to_owned();
    let rows: [(&str, [f64; 4], Ratio, bool); 3] = [
        (
            "on the thread, times R",
            ON_THREAD,
            |all, ours, work| {
                all.of(ours, work, |m| m.thread) / all.of(REGISTRY, work, |m| m.thread)
            },
            false,
        ),
        (
            "in total, times R",
            TOTAL,
            |all, ours, work| all.of(ours, work, |m| m.total) / all.of(REGISTRY, work, |m| m.total),
            false,
        ),
        (
            "in total, times less than T",
            TIMES_LESS,
            |all, ours, work| all.of(OTEL, work, |m| m.total) / all.of(ours, work, |m| m.total),
            true,
        ),
    ];
    for (label, wanted, value, at_least) in rows {
        let sign = if at_least { "≥" } else { "≤" };
        let cells = wanted.map(|wanted| format!("{sign} {wanted}"));
        let _ = writeln!(text, "| {label}: target | {} |", cells.join(" | "));
        for (ours, name) in [(OURS, "reached"), (OURS_EVENTS, "with `info!` events")] {
            let cells = [0, 1, 2, 3].map(|at| {
                let reached = value(results, ours, WORKLOADS[at]);
                if reached.is_nan() {
                    return "–".to_owned();
                }
                let held = if at_least {
                    reached >= wanted[at]
                } else {
                    reached <= wanted[at]
                };
                let off = (reached / wanted[at] - 1.0) * 100.0;
                if held {
                    format!("**{reached:.2}**")
                } else {
                    format!("{reached:.2} ({off:+.0} %)")
                }
            });
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
    }
    let threads = |count| results.of(OURS, count, |m| m.thread);
    let _ = writeln!(
        text,
        "\nBold: held; else by how much it is missed. Four threads against one, on the thread: {:.2} times \
         (target ≤ {FOUR_THREADS}); R alone: {:.2} times. On the thread T takes {} times as much.",
        threads("W5x4") / threads("W5x1"),
        results.of(REGISTRY, "W5x4", |m| m.thread) / results.of(REGISTRY, "W5x1", |m| m.thread),
        ["W1", "W2", "W3", "W4"]
            .map(|work| {
                let times =
                    results.of(OTEL, work, |m| m.thread) / results.of(OURS, work, |m| m.thread);
                format!("{times:.1}")
            })
            .join(" / "),
    );
    text
}
