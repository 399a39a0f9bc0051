//! What must not get worse: instructions and allocations of the instrumented thread, neither of which depends on how
//! busy the machine is.
//!
//!     cargo bench --bench gates              # fails if a number is above its ceiling
//!     cargo bench --bench gates -- --table   # the numbers, with those of other contenders
//!     cargo bench --bench gates -- --record  # appends the line of this version to the baseline, for a release
//!
//! Instructions are counted by callgrind, on the thread that makes spans, as the difference of two runs of different
//! length, so that what comes once cancels out; without `valgrind` they are left out, with a message. Allocations are
//! those of a round of spans after a warm-up, the middle one of many. The ceilings, the targets and the line of each
//! release are in `benches/baseline.csv`.

#[allow(dead_code, reason = "the larger part is for the bench `overhead`")]
#[path = "overhead/child.rs"]
mod child;
#[allow(dead_code, reason = "the larger part is for the bench `overhead`")]
#[path = "overhead/contenders.rs"]
mod contenders;
#[allow(dead_code, reason = "the larger part is for the bench `overhead`")]
#[path = "overhead/paced.rs"]
mod paced;
#[allow(dead_code, reason = "the larger part is for the bench `overhead`")]
#[path = "overhead/sink.rs"]
mod sink;
#[path = "overhead/work.rs"]
mod work;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::channel;

use contenders::{OTEL, OTEL_LEAN, OURS, OURS_EVENTS, REGISTRY, init};
use paced::{NESTED, ROUND, TRACE, Work as _};
use sink::Sink;
use work::Tracing;

const WORKLOADS: [&str; 3] = ["W1", "W2", "W3"];
/// Two lengths of a run; the others, which are told only, take many times as long.
const ROUNDS: [usize; 2] = [8, 28];
const ROUNDS_OF_OTHERS: [usize; 2] = [4, 10];
/// Rounds before allocations are counted, and those in which they are.
const WARM: usize = 40;
const COUNTED: usize = 40;

/// The columns of the baseline, after the name of the line.
const COLUMNS: [&str; 7] = [
    "W1 instructions",
    "W2 instructions",
    "W3 instructions",
    "W2 instructions of the registry",
    "W1 allocations",
    "W2 allocations",
    "W3 allocations",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo adds this one.
    let words = arguments.iter().map(String::as_str);
    let words: Vec<&str> = words.filter(|word| *word != "--bench").collect();
    match words.as_slice() {
        ["sink", rest @ ..] => sink::serve(rest),
        ["child", "instructions", contender, workload, url, rounds] => {
            rounds_elsewhere(contender, workload, url, rounds.parse().expect("a number"));
        }
        ["child", "allocations", contender, workload, url] => {
            count_allocations(contender, workload, url);
        }
        ["--table"] => print!("{}", table()),
        ["--record"] => record(),
        [] => return gate(),
        other => {
            eprintln!("{other:?} is none of the options in benches/gates.rs");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn emitter(workload: &str) -> fn() {
    match workload {
        "W1" => || Tracing::empty(ROUND / TRACE),
        "W2" => || Tracing::fields(ROUND / TRACE),
        _ => || Tracing::nested(ROUND / NESTED),
    }
}

/// Makes spans on the second thread of the process, and flushes on the first.
fn rounds_elsewhere(contender: &str, workload: &str, url: &str, rounds: usize) {
    let (start, begun) = channel::<()>();
    let (done, finished) = channel();
    let emit = emitter(workload);
    let thread = std::thread::spawn(move || {
        while begun.recv().is_ok() {
            emit();
            done.send(()).expect("the main thread");
        }
    });
    let flush = init(contender, url);
    for _ in 0..rounds {
        start.send(()).expect("a thread");
        finished.recv().expect("a round");
        flush();
    }
    drop(start);
    thread.join().expect("a thread");
}

fn count_allocations(contender: &str, workload: &str, url: &str) {
    let flush = init(contender, url);
    let emit = emitter(workload);
    for _ in 0..WARM {
        emit();
        flush();
    }
    // What a span allocates is in every round. Where the export thread waits for a processor, it has not given back a
    // buffer yet and another one grows: that is in a few rounds, and not in the middle one.
    let mut rounds: Vec<(u64, u64)> = (0..COUNTED)
        .map(|_| {
            let counted = allocation_counter::measure(emit);
            flush();
            (counted.count_total, counted.bytes_total)
        })
        .collect();
    rounds.sort_unstable();
    let (count, bytes) = rounds[COUNTED / 2];
    println!("{count} {bytes}");
}

/// Allocations of a round on the instrumented thread, and their bytes.
fn allocations(contender: &str, workload: &str, sink: &Sink) -> (f64, f64) {
    let said = child::numbers(&["allocations", contender, workload, &sink.url]);
    match said.as_deref() {
        Some([count, bytes]) => (*count, *bytes),
        _ => (f64::NAN, f64::NAN),
    }
}

fn has_valgrind() -> bool {
    let mut version = Command::new("valgrind");
    version.arg("--version").stdout(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

/// Instructions a span: on the instrumented thread, and on all of them.
fn instructions(contender: &str, workload: &str, sink: &Sink) -> [f64; 2] {
    let rounds = match contender {
        OTEL | OTEL_LEAN => ROUNDS_OF_OTHERS,
        _ => ROUNDS,
    };
    let [short, long] = rounds.map(|rounds| counted(contender, workload, rounds, sink));
    match (short, long) {
        (Some(short), Some(long)) => [0, 1].map(|at| {
            let spans = (rounds[1] - rounds[0]) * ROUND;
            (long[at] - short[at]) / spans as f64
        }),
        _ => [f64::NAN; 2],
    }
}

/// All instructions of a run: of the second thread, and of the process.
fn counted(contender: &str, workload: &str, rounds: usize, sink: &Sink) -> Option<[f64; 2]> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/callgrind")
        .join(std::process::id().to_string());
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .arg(format!(
            "--callgrind-out-file={}",
            folder.join("out").display()
        ))
        .arg(program)
        .args(["child", "instructions", contender, workload, &sink.url])
        .arg(rounds.to_string())
        .output()
        .expect("valgrind");
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let total = |path: PathBuf| -> Option<f64> {
        let profile = std::fs::read_to_string(path).ok()?;
        let mut lines = profile.lines();
        let total = lines.find_map(|line| line.strip_prefix("totals:"))?;
        total.trim().parse().ok()
    };
    let threads = std::fs::read_dir(&folder).expect("the folder").flatten();
    let all: f64 = threads.filter_map(|file| total(file.path())).sum();
    let second = total(folder.join("out-02"));
    let _ = std::fs::remove_dir_all(&folder);
    Some([second?, all])
}

/// The numbers of this build, in the order of the columns.
fn measured() -> [f64; 7] {
    let sink = Sink::start();
    let counts = if has_valgrind() {
        let of = |contender, workload| instructions(contender, workload, &sink)[0];
        let [w1, w2, w3] = WORKLOADS.map(|workload| of(OURS, workload));
        [w1, w2, w3, of(REGISTRY, "W2")]
    } else {
        eprintln!("skipped: instructions, as valgrind is not installed");
        [f64::NAN; 4]
    };
    let [w1, w2, w3] = WORKLOADS.map(|workload| allocations(OURS, workload, &sink).0);
    let [i1, i2, i3, r2] = counts;
    [i1, i2, i3, r2, w1, w2, w3]
}

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.csv")
}

/// A line of the baseline; where it says nothing, there is no limit.
fn line(name: &str) -> Vec<Option<f64>> {
    let text = std::fs::read_to_string(baseline()).expect("the baseline");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(','));
    let cells = line.expect("a line of this name").split(',');
    cells.map(|cell| cell.trim().parse().ok()).collect()
}

fn gate() -> ExitCode {
    let (ceilings, targets) = (line("ceiling"), line("target"));
    let mut held = true;
    println!("{:<34}{:>10}{:>10}{:>10}", "", "now", "ceiling", "target");
    for (at, (column, now)) in COLUMNS.iter().zip(measured()).enumerate() {
        let limit = |line: &[Option<f64>]| line.get(at).copied().flatten();
        let text = |limit: Option<f64>| limit.map_or_else(String::new, |limit| limit.to_string());
        let (ceiling, target) = (limit(&ceilings), limit(&targets));
        // A number that could not be had is no number below the ceiling; without valgrind there is none to be had.
        let unknown = now.is_nan() && (at > 3 || has_valgrind());
        let broken = unknown || ceiling.is_some_and(|ceiling| now > ceiling);
        held &= !broken;
        println!(
            "{column:<34}{now:>10.0}{:>10}{:>10}{}",
            text(ceiling),
            text(target),
            if broken { "  FAILED" } else { "" }
        );
    }
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Appends the line of this version.
fn record() {
    let cells = measured().map(|number| format!("{number:.0}"));
    let mut text = std::fs::read_to_string(baseline()).expect("the baseline");
    text.push_str(&format!(
        "{},{}\n",
        env!("CARGO_PKG_VERSION"),
        cells.join(",")
    ));
    std::fs::write(baseline(), text).expect("the baseline is written");
}

/// The part `instructions` of the page.
fn table() -> String {
    let sink = Sink::start();
    let mut text =
        "| on the instrumented thread, a span | W1 | W2 | W3 |\n|---|---:|---:|---:|\n".to_owned();
    let mut add = |label: &str, cells: [String; 3]| {
        text.push_str(&format!("| {label} | {} |\n", cells.join(" | ")));
    };
    if has_valgrind() {
        for contender in [REGISTRY, OURS, OURS_EVENTS, OTEL, OTEL_LEAN] {
            let counts = WORKLOADS.map(|workload| {
                // Nothing new, or minutes for a number that is told only.
                let skipped = match contender {
                    OURS_EVENTS => workload != "W3",
                    OTEL | OTEL_LEAN => workload != "W2",
                    _ => false,
                };
                if skipped {
                    return [f64::NAN; 2];
                }
                eprint!("\rinstructions: {contender} {workload}      ");
                instructions(contender, workload, &sink)
            });
            let whole = |number: f64| child::short(number.round());
            add(
                &format!("instructions, {contender}"),
                counts.map(|[thread, _]| whole(thread)),
            );
            if contender != REGISTRY {
                add(
                    &format!("the same on all threads, {contender}"),
                    counts.map(|[_, all]| whole(all)),
                );
            }
        }
        let limit = |name: &str| {
            let line = line(name);
            [0, 1, 2].map(|at| {
                let limit = line.get(at).copied().flatten();
                limit.map_or_else(String::new, |limit| format!("≤ {limit}"))
            })
        };
        add("target, honeyhive", limit("target"));
        add("ceiling in CI, honeyhive", limit("ceiling"));
    } else {
        add(
            "instructions: valgrind is not installed",
            Default::default(),
        );
    }
    for contender in [OURS, OURS_EVENTS, OTEL, OTEL_LEAN] {
        let cells = WORKLOADS.map(|workload| {
            if contender == OURS_EVENTS && workload != "W3" {
                return "–".to_owned();
            }
            let (count, bytes) = allocations(contender, workload, &sink);
            if count == 0.0 {
                return "0".to_owned();
            }
            format!(
                "{} ({} bytes)",
                child::short(count / ROUND as f64),
                child::short(bytes / ROUND as f64)
            )
        });
        add(&format!("allocations, {contender}"), cells);
    }
    add(
        "target and ceiling in CI, honeyhive",
        ["0"; 3].map(str::to_owned),
    );
    text
}
