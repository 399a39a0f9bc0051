//! What instrumentation costs: this layer against a registry that does nothing and against other tracing libraries.
//!
//!     cargo bench --bench overhead                          # everything but `size`: about ten minutes
//!     cargo bench --bench overhead -- table --own           # one part, and without fastrace and sentry
//!     cargo bench --bench overhead -- table scaling --print # leaves src/docs/performance.md as it is
//!     cargo bench --bench overhead -- table --rounds 9      # more repetitions than five
//!
//! Parts: `table`, `instructions`, `scaling`, `memory`, `delivery`, `start`, and `size`, which builds programs. Each is
//! printed and written between its markers in `src/docs/performance.md`, where the method is described. Every measurement
//! is a process of its own, since the subscriber is global; contenders take turns, and tables show medians. The export
//! goes over loopback to a sink in another process. Read the ratios: nanoseconds vary with the machine.
//!
//! The contenders that this package must not depend on are a program of their own, `benches/compare`, built when needed.

mod child;
mod contenders;
mod delivery;
mod instructions;
mod memory;
mod paced;
mod page;
mod plot;
mod scaling;
mod sink;
mod size;
mod start;
mod table;
mod work;

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Instant;

use page::Page;

/// What is asked for.
struct Options {
    rounds: usize,
    /// Without the contenders of `benches/compare`.
    own: bool,
    page: Page,
    failures: RefCell<Vec<String>>,
}

impl Options {
    /// Something that must not be: the run goes on, and fails at its end.
    fn failed(&self, what: String) {
        eprintln!("\n{what}");
        self.failures.borrow_mut().push(what);
    }
}

type Part = fn(&Options);

/// `instructions` comes first, as it builds the crate, of which the page is a part.
const PARTS: [(&str, Part); 7] = [
    ("instructions", instructions::report),
    ("table", table::table),
    ("scaling", scaling::report),
    ("memory", memory::report),
    ("delivery", delivery::report),
    ("start", start::report),
    ("size", size::report),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo adds this one.
    let words = arguments.iter().map(String::as_str);
    let words: Vec<&str> = words.filter(|word| *word != "--bench").collect();
    match words.as_slice() {
        ["sink", rest @ ..] => sink::serve(rest),
        ["child", rest @ ..] => measured(rest),
        words => return report(words),
    }
    ExitCode::SUCCESS
}

/// One measurement, of which the numbers are printed.
fn measured(words: &[&str]) {
    match words {
        ["run", contender, workload, url, rest @ ..] => {
            let rounds = rest.first().and_then(|rounds| rounds.parse().ok());
            contenders::run(contender, workload, url, rounds);
        }
        ["scale", name, value, contender, url] => {
            scaling::run(name, value.parse().expect("a number"), contender, url);
        }
        ["memory", rest @ ..] => memory::child(rest),
        ["delivery", rest @ ..] => delivery::child(rest),
        ["start", url] => start::child(url),
        other => panic!("nothing called {other:?}"),
    }
}

fn is_part(word: &str) -> bool {
    PARTS.iter().any(|(name, _)| *name == word)
}

fn report(words: &[&str]) -> ExitCode {
    let mut options = Options {
        rounds: 5,
        own: false,
        page: Page { write: true },
        failures: RefCell::default(),
    };
    let mut parts = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "--own" => options.own = true,
            "--print" => options.page.write = false,
            "--rounds" => {
                let rounds = rest.next().and_then(|rounds| rounds.parse().ok());
                options.rounds = rounds.expect("a number after --rounds");
            }
            part if is_part(part) => parts.push(part),
            other => {
                eprintln!("{other:?} is none of the parts and options in benches/overhead/main.rs");
                return ExitCode::FAILURE;
            }
        }
    }
    let start = Instant::now();
    for (name, part) in PARTS {
        if parts.contains(&name) || (parts.is_empty() && name != "size") {
            part(&options);
            eprintln!("{name}: done at {:.0} s", start.elapsed().as_secs_f64());
        }
    }
    let failures = options.failures.borrow();
    for failure in failures.iter() {
        eprintln!("failed: {failure}");
    }
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
