//! What the process holds, by what Linux says of it. Elsewhere there is nothing to read, and nothing is checked.

use std::fmt;
use std::time::Duration;

/// What the process held at some time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub at: Duration,
    /// Kibibytes.
    pub memory: usize,
    pub threads: usize,
    /// Those that the crate started.
    pub own_threads: usize,
    pub files: usize,
}

impl Sample {
    pub fn take(at: Duration) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.split_whitespace().next()?.parse().ok());
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
        let names: Vec<String> = tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .collect();
        Self {
            at,
            memory: memory.unwrap_or(0),
            threads: names.len(),
            own_threads: names
                .iter()
                .filter(|it| it.starts_with("honeyhive"))
                .count(),
            files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6.0} s  {:>7} KiB  {} threads  {} files",
            self.at.as_secs_f64(),
            self.memory,
            self.threads,
            self.files
        )
    }
}

fn mean(samples: &[Sample], value: impl Fn(&Sample) -> usize) -> f64 {
    samples.iter().map(|it| value(it) as f64).sum::<f64>() / samples.len().max(1) as f64
}

/// Kibibytes a minute: the line nearest to all samples.
fn slope(samples: &[Sample]) -> f64 {
    let minutes = |sample: &Sample| sample.at.as_secs_f64() / 60.0;
    let count = samples.len() as f64;
    let middle = samples.iter().map(minutes).sum::<f64>() / count;
    let memory = mean(samples, |it| it.memory);
    let (mut above, mut below) = (0.0, 0.0);
    for sample in samples {
        let distance = minutes(sample) - middle;
        above += distance * (sample.memory as f64 - memory);
        below += distance * distance;
    }
    above / below
}

/// What grew after the first third of the run, which fills buffers and pools. At most so many kibibytes are nothing.
pub fn drift(samples: &[Sample], max_growth: f64) -> Vec<String> {
    let third = samples.len() / 3;
    let (Some(settled), Some(last)) = (samples.get(third..), samples.get(samples.len() - third..))
    else {
        return Vec::new();
    };
    if third < 2 || settled.iter().all(|sample| sample.memory == 0) {
        println!("too short to see anything drift");
        return Vec::new();
    }
    let middle = &samples[third..2 * third];
    let slope = slope(settled);
    let growth = mean(last, |it| it.memory) - mean(middle, |it| it.memory);
    let files = [middle, last].map(|part| mean(part, |it| it.files));
    let own = |samples: &[Sample]| samples.iter().map(|it| it.own_threads).max();
    println!(
        "memory: {slope:+.1} KiB a minute, {growth:+.0} KiB from the second third to the last; files: {:.1} and {:.1}; \
         threads of ours: at most {}",
        files[0],
        files[1],
        own(settled).unwrap_or(0)
    );
    let mut complaints = Vec::new();
    if growth > max_growth {
        complaints.push(format!("memory grew by {growth:.0} KiB"));
    }
    if files[1] > files[0] + 8.0 {
        complaints.push("files are not closed".to_owned());
    }
    if own(settled) > Some(1) {
        complaints.push("there is more than one thread".to_owned());
    }
    complaints
}
