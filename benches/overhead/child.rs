//! Measurements in processes of their own, and what is made of the numbers they print.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// No measurement takes longer; one contender is known to wait for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// The numbers that this program prints when it is called so.
pub(crate) fn numbers(arguments: &[&str]) -> Option<Vec<f64>> {
    let program = std::env::current_exe().expect("this program");
    let arguments: Vec<&str> = ["child"].iter().chain(arguments).copied().collect();
    numbers_of(&program, &arguments)
}

/// The numbers that a program prints; none, and a word about it, if it fails.
pub(crate) fn numbers_of(program: &Path, arguments: &[&str]) -> Option<Vec<f64>> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["HH_", "HONEYHIVE_", "OTEL_", "SENTRY_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    let mut child = command
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a status") {
            break Some(status);
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut said = String::new();
    let output = child.stdout.as_mut().expect("its output");
    output.read_to_string(&mut said).expect("text");
    if !status.is_some_and(|status| status.success()) {
        eprintln!("{} failed: {said}", arguments.join(" "));
        return None;
    }
    let numbers = said.split_whitespace();
    Some(numbers.filter_map(|word| word.parse().ok()).collect())
}

/// The middle one; not a number of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A number with about three digits; a dash for none.
pub(crate) fn short(value: f64) -> String {
    if value.is_nan() {
        "–".to_owned()
    } else if value >= 10_000.0 {
        let mut digits = format!("{value:.0}");
        let mut at = digits.len();
        while at > 3 {
            at -= 3;
            digits.insert(at, ',');
        }
        digits
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A line of `/proc/self/status`, as bytes.
pub(crate) fn memory(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let value = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .expect("the line");
    let kilobytes: f64 = value
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kilobytes * 1024.0
}
