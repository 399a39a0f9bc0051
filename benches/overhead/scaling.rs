//! How the cost of a span grows with what there is of something.

use std::fmt::Write as _;
use std::time::Duration;

use tracing::info_span;
use tracing_subscriber::prelude::*;

use crate::Options;
use crate::child::{median, numbers, short};
use crate::contenders::{OURS, REGISTRY, flush, init, instance};
use crate::paced::{
    self, Cost, ROUND, TRACE, Work as _, alone, process_cpu, thread_cpu, threads_of,
};
use crate::plot::{Line, svg};
use crate::sink::Sink;
use crate::work::Tracing;

/// What is expected of the cost of a span on the thread.
enum Rule {
    Flat,
    /// So much for each more of this.
    Linear(&'static str),
    /// Nothing: told only.
    None,
}

struct Dimension {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    values: &'static [usize],
    rule: Rule,
    /// Whether the registry alone is measured too.
    registry: bool,
}

const DIMENSIONS: [Dimension; 9] = [
    Dimension {
        name: "fields",
        title: "Number of fields",
        unit: "fields (short texts)",
        values: &[1, 2, 4, 8, 16, 32],
        rule: Rule::Linear("field"),
        registry: true,
    },
    Dimension {
        name: "size",
        title: "Size of a field",
        unit: "bytes of one text",
        values: &[16, 256, 1024, 4096, 16_384, 65_536, 262_144],
        rule: Rule::Linear("byte"),
        registry: true,
    },
    Dimension {
        name: "depth",
        title: "Depth",
        unit: "spans inside of each other",
        values: &[1, 4, 16, 64, 256, 1024],
        rule: Rule::Flat,
        registry: true,
    },
    Dimension {
        name: "open",
        title: "Open spans",
        unit: "spans open meanwhile",
        values: &[1, 100, 10_000, 100_000, 1_000_000],
        rule: Rule::Flat,
        registry: true,
    },
    Dimension {
        name: "threads",
        title: "Threads",
        unit: "threads",
        values: &[1, 2, 4, 8],
        rule: Rule::Flat,
        registry: true,
    },
    Dimension {
        name: "instances",
        title: "Instances",
        unit: "instances in one registry",
        values: &[1, 2, 4, 8],
        rule: Rule::Linear("instance"),
        registry: false,
    },
    Dimension {
        name: "enriched",
        title: "Enriched attributes",
        unit: "attributes by enrich",
        values: &[1, 10, 100, 1000],
        rule: Rule::Linear("attribute"),
        registry: false,
    },
    Dimension {
        name: "batch",
        title: "Batch size, and immediate mode",
        unit: "spans a request (1: immediate mode)",
        values: &[1, 10, 100, 512, 2048, 10_000],
        rule: Rule::None,
        registry: false,
    },
    Dimension {
        name: "interval",
        title: "Flush interval",
        unit: "milliseconds, at 5,000 spans a second",
        values: &[10, 100, 1000, 5000],
        rule: Rule::Flat,
        registry: false,
    },
];

/// What is measured at one point: on the thread, in total, and the registry alone.
#[derive(Clone, Copy)]
struct Point {
    value: f64,
    thread: f64,
    total: f64,
    registry: f64,
}

pub(crate) fn report(options: &Options) {
    let sink = Sink::start();
    let rounds = options.rounds.min(3);
    let (mut text, mut plots) = (String::new(), Vec::new());
    for dimension in &DIMENSIONS {
        eprint!("\rscaling: {:<12}", dimension.name);
        let points = points(dimension, rounds, &sink.url);
        let _ = writeln!(text, "### {}\n", dimension.title);
        text.push_str(&table(dimension, &points));
        let _ = writeln!(text, "\n{}\n", verdict(dimension, &points));
        let name = dimension.name;
        let _ = writeln!(text, "![{}][plot-{name}]\n", dimension.title);
        plots.push((name, plot(dimension, &points)));
    }
    eprintln!();
    for dimension in &DIMENSIONS {
        let name = dimension.name;
        let _ = writeln!(text, "[plot-{name}]: performance/{name}.svg");
    }
    options.page.part("scaling", &text);
    options.page.plots(&plots);
}

fn points(dimension: &Dimension, rounds: usize, url: &str) -> Vec<Point> {
    let mut measured = vec![(Vec::new(), Vec::new(), Vec::new()); dimension.values.len()];
    for _ in 0..rounds {
        for (value, lists) in dimension.values.iter().zip(&mut measured) {
            let value = value.to_string();
            let of = |who| numbers(&["scale", dimension.name, &value, who, url]);
            if let Some([thread, total, ..]) = of(OURS).as_deref() {
                lists.0.push(*thread);
                lists.1.push(*total);
            }
            if dimension.registry
                && let Some([thread, ..]) = of(REGISTRY).as_deref()
            {
                lists.2.push(*thread);
            }
        }
    }
    let values = dimension.values.iter().zip(measured);
    values
        .map(|(value, (thread, total, registry))| Point {
            value: *value as f64,
            thread: median(thread),
            total: median(total),
            registry: median(registry),
        })
        .collect()
}

fn table(dimension: &Dimension, points: &[Point]) -> String {
    let row = |label: &str, value: fn(&Point) -> f64| {
        let cells: Vec<String> = points.iter().map(|point| short(value(point))).collect();
        format!("| {label} | {} |\n", cells.join(" | "))
    };
    let values: Vec<String> = dimension
        .values
        .iter()
        .map(|value| match *value {
            value if value >= 1_000_000 => format!("{}M", value / 1_000_000),
            value if value >= 10_000 && value % 1000 == 0 => format!("{}k", value / 1000),
            value => value.to_string(),
        })
        .collect();
    let mut table = format!("| {} | {} |\n", dimension.unit, values.join(" | "));
    let _ = writeln!(table, "|---|{}", "---:|".repeat(points.len()));
    table.push_str(&row("on the thread, ns a span", |point| point.thread));
    table.push_str(&row("in total, ns a span", |point| point.total));
    if dimension.registry {
        table.push_str(&row("registry alone, ns a span", |point| point.registry));
    }
    table
}

fn verdict(dimension: &Dimension, points: &[Point]) -> String {
    let [first, .., before, last] = points else {
        return String::new();
    };
    match dimension.rule {
        Rule::None => String::new(),
        Rule::Flat => {
            // What tracing itself costs is not flat everywhere.
            let own = |point: &Point| {
                let registry = if dimension.registry {
                    point.registry
                } else {
                    0.0
                };
                point.thread - registry
            };
            let costs = || points.iter().map(own);
            let low = costs().fold(f64::MAX, f64::min);
            let high = costs().fold(0.0, f64::max);
            let kind = if high / low <= 1.25 {
                "Flat"
            } else {
                "Not flat"
            };
            let what = if dimension.registry {
                ", less what the registry costs"
            } else {
                ""
            };
            format!(
                "{kind}: on the thread{what}, {} ns at first and {} at last, between {} and {}.",
                short(own(first)),
                short(own(last)),
                short(low),
                short(high),
            )
        }
        Rule::Linear(unit) => {
            let slope = |from: &Point, to: &Point, cost: fn(&Point) -> f64| {
                (cost(to) - cost(from)) / (to.value - from.value)
            };
            let whole = slope(first, last, |point| point.thread);
            let early = slope(first, before, |point| point.thread);
            let late = slope(before, last, |point| point.thread);
            let total = slope(first, last, |point| point.total);
            let kind = if late / early <= 1.5 {
                "Linear"
            } else {
                "More than linear"
            };
            format!(
                "{kind}: {} ns for each more {unit} on the thread ({} up to the last but one, {} from there), {} in total.",
                short(whole),
                short(early),
                short(late),
                short(total)
            )
        }
    }
}

fn plot(dimension: &Dimension, points: &[Point]) -> String {
    let line = |name, cost: fn(&Point) -> f64| Line {
        name,
        points: points
            .iter()
            .map(|point| (point.value, cost(point)))
            .filter(|(_, cost)| cost.is_finite())
            .collect(),
    };
    let mut lines = vec![
        line("on the thread", |point| point.thread),
        line("in total", |point| point.total),
    ];
    if dimension.registry {
        lines.push(line("registry alone", |point| point.registry));
    }
    svg(dimension.unit, "ns a span", &lines)
}

/// `scale NAME VALUE CONTENDER URL`, in a process of its own.
pub(crate) fn run(name: &str, value: usize, contender: &str, url: &str) {
    let cost = match name {
        "fields" => {
            let flush = init(contender, url);
            let emit = with_fields(value);
            alone(60, ROUND, &|| emit(ROUND / TRACE), &*flush)
        }
        "size" => {
            let flush = init(contender, url);
            let text = "x".repeat(value);
            // Eight megabytes a round, which is less than the queue holds.
            let spans = ((8 << 20) / value).clamp(8, ROUND);
            let rounds = if value > 10_000 { 16 } else { 40 };
            let emit = || {
                for _ in 0..spans {
                    info_span!("work", text = text.as_str()).in_scope(|| {});
                }
            };
            alone(rounds, spans, &emit, &*flush)
        }
        "depth" => {
            let flush = init(contender, url);
            let times = ROUND / value;
            let emit = || (0..times).for_each(|_| deep(value));
            alone(60, times * value, &emit, &*flush)
        }
        "open" => {
            let flush = init(contender, url);
            let open: Vec<tracing::Span> = (0..value)
                .map(|_| info_span!(parent: None, "open"))
                .collect();
            let cost = alone(60, ROUND, &|| Tracing::fields(ROUND / TRACE), &*flush);
            paced::say(cost);
            std::mem::drop(flush);
            // To close them one by one is not measured.
            let _open = std::mem::ManuallyDrop::new(open);
            std::process::exit(0)
        }
        "threads" => {
            let flush = init(contender, url);
            threads_of(value, 30, Tracing::fields, &*flush)
        }
        "instances" => instances(value, url),
        "enriched" => {
            let flush = init(contender, url);
            let keys: Vec<String> = (0..value).map(|at| format!("key_{at}")).collect();
            let traces = (10_000 / value / TRACE).clamp(1, ROUND / TRACE);
            let enriched = || {
                info_span!("work").in_scope(|| {
                    honeyhive::enrich(|event| {
                        for key in &keys {
                            event.metadata(key, "value");
                        }
                        event
                    });
                });
            };
            let rounds = if value > 100 { 10 } else { 40 };
            alone(rounds, traces * TRACE, &|| each(traces, enriched), &*flush)
        }
        "batch" => {
            let honeyhive = instance(url, |builder| match value {
                1 => builder.disable_batch(true),
                count => builder.batch_size(count).max_export_batch_size(count),
            });
            tracing_subscriber::registry()
                .with(honeyhive.layer())
                .init();
            let spans = if value < 100 { 2 * ROUND } else { 16 * ROUND };
            let emit = || Tracing::fields(spans / TRACE);
            alone(4, spans, &emit, &|| flush(&honeyhive))
        }
        "interval" => interval(value, url),
        other => panic!("nothing called {other}"),
    };
    paced::say(cost);
}

fn each(traces: usize, span: impl Fn()) {
    for _ in 0..traces {
        info_span!("root").in_scope(|| {
            for _ in 1..TRACE {
                span();
            }
        });
    }
}

fn deep(depth: usize) {
    info_span!("work").in_scope(|| {
        if depth > 1 {
            deep(depth - 1);
        }
    });
}

fn instances(count: usize, url: &str) -> Cost {
    let instances: Vec<_> = (0..count)
        .map(|_| instance(url, |builder| builder))
        .collect();
    let layers: Vec<_> = instances.iter().map(honeyhive::HoneyHive::layer).collect();
    tracing_subscriber::registry().with(layers).init();
    let all = || instances.iter().for_each(flush);
    alone(40, ROUND, &|| Tracing::fields(ROUND / TRACE), &all)
}

/// A second of spans at a rate; what is left is flushed at the end.
fn interval(milliseconds: usize, url: &str) -> Cost {
    let honeyhive = instance(url, |builder| {
        builder
            .flush_interval(Duration::from_millis(milliseconds as u64))
            .batch_size(10_000)
            .max_export_batch_size(10_000)
    });
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    Tracing::fields(ROUND / TRACE);
    flush(&honeyhive);
    let (total, mut thread, mut spans) = (process_cpu(), 0, 0);
    paced::at_rate(5000, 1.0, TRACE, &mut || {
        let start = thread_cpu();
        Tracing::fields(1);
        thread += thread_cpu() - start;
        spans += TRACE;
    });
    flush(&honeyhive);
    Cost {
        thread: thread as f64 / spans as f64,
        total: (process_cpu() - total) as f64 / spans as f64,
        spans,
    }
}

macro_rules! spans_with {
    ($($field:ident)*) => {
        |traces| each(traces, || info_span!("work", $($field = "a short text",)*).in_scope(|| {}))
    };
}

fn with_fields(count: usize) -> fn(usize) {
    match count {
        1 => spans_with!(a),
        2 => spans_with!(a b),
        4 => spans_with!(a b c d),
        8 => spans_with!(a b c d e f g h),
        16 => spans_with!(a b c d e f g h i j k l m n o p),
        32 => {
            spans_with!(a b c d e f g h i j k l m n o p aa ab ac ad ae af ag ah ai aj ak al am an ao ap)
        }
        other => panic!("no span with {other} fields"),
    }
}
