//! One contender, one workload: a round of spans, then a flush, and so on, with the CPU time that takes.
//!
//! Shared with `benches/compare`, so that all are measured alike.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Spans between two flushes, so that the default queue of OpenTelemetry (2,048) does not overflow.
pub(crate) const ROUND: usize = 1536;
/// With several threads it does overflow: rounds must last longer than it takes to wake a thread.
pub(crate) const THREADS_ROUND: usize = 6144;
/// Spans of a trace of `empty` and `fields`.
pub(crate) const TRACE: usize = 128;
/// Spans of a trace of `nested` and `awaited`.
pub(crate) const NESTED: usize = 6;
const TASKS: usize = 64;
/// Rounds before the measurement: buffers grow and caches fill.
const WARM: usize = 5;

/// The workloads, with a contender's means.
pub(crate) trait Work: Send + 'static {
    /// W1: traces of a root and 127 empty children.
    fn empty(traces: usize);
    /// W2: the same with eight typed fields in each child.
    fn fields(traces: usize);
    /// W3: traces of six nested spans with an event in each and long texts recorded late in two.
    fn nested(traces: usize);
    /// W4: such a trace with async functions that yield 14 times.
    fn awaited() -> impl Future<Output = ()> + Send;
}

/// CPU time a span, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Of the threads that make spans.
    pub(crate) thread: f64,
    /// Of the process, export included.
    pub(crate) total: f64,
    /// How many spans were made, those before the measurement included.
    pub(crate) spans: usize,
}

pub(crate) fn measure<W: Work>(workload: &str, rounds: Option<usize>, flush: &dyn Fn()) -> Cost {
    match workload {
        "W1" => alone(
            rounds.unwrap_or(200),
            ROUND,
            &|| W::empty(ROUND / TRACE),
            flush,
        ),
        "W2" => alone(
            rounds.unwrap_or(200),
            ROUND,
            &|| W::fields(ROUND / TRACE),
            flush,
        ),
        "W3" => alone(
            rounds.unwrap_or(60),
            ROUND,
            &|| W::nested(ROUND / NESTED),
            flush,
        ),
        "W4" => tasks::<W>(rounds.unwrap_or(60), flush),
        "W5x1" => threads::<W>(1, rounds.unwrap_or(50), flush),
        "W5x2" => threads::<W>(2, rounds.unwrap_or(50), flush),
        "W5x4" => threads::<W>(4, rounds.unwrap_or(50), flush),
        other => panic!("no workload {other}"),
    }
}

/// On this thread; `emit` makes `round` spans.
pub(crate) fn alone(rounds: usize, round: usize, emit: &dyn Fn(), flush: &dyn Fn()) -> Cost {
    for _ in 0..WARM {
        emit();
        flush();
    }
    let total = process_cpu();
    let mut thread = 0;
    for _ in 0..rounds {
        let start = thread_cpu();
        emit();
        thread += thread_cpu() - start;
        flush();
    }
    cost(thread, process_cpu() - total, rounds, round)
}

/// 64 tasks on two workers of Tokio. What the workers use is read from `schedstat`: the switching of tasks is in it.
fn tasks<W: Work>(rounds: usize, flush: &dyn Fn()) -> Cost {
    let workers = Arc::new(Mutex::new(Vec::new()));
    let names = Arc::clone(&workers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(move || {
            let link = std::fs::read_link("/proc/thread-self").expect("Linux");
            let path = std::path::Path::new("/proc").join(link).join("schedstat");
            names.lock().expect("a list").push(path);
        })
        .build()
        .expect("a runtime");
    let used = || -> u64 {
        let workers = workers.lock().expect("a list");
        let of = |path| {
            let text = std::fs::read_to_string(path).expect("schedstat");
            text.split(' ')
                .next()
                .and_then(|word| word.parse::<u64>().ok())
        };
        workers.iter().filter_map(of).sum::<u64>()
    };
    let emit = || {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    tokio::spawn(async {
                        for _ in 0..ROUND / NESTED / TASKS {
                            W::awaited().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("a task");
            }
        });
    };
    for _ in 0..WARM {
        emit();
        flush();
    }
    let (thread, total) = (used(), process_cpu());
    for _ in 0..rounds {
        emit();
        flush();
    }
    cost(used() - thread, process_cpu() - total, rounds, ROUND)
}

/// W2 on several threads at once, that stay for all rounds.
fn threads<W: Work>(count: usize, rounds: usize, flush: &dyn Fn()) -> Cost {
    threads_of(count, rounds, W::fields, flush)
}

pub(crate) fn threads_of(count: usize, rounds: usize, emit: fn(usize), flush: &dyn Fn()) -> Cost {
    let (done, finished) = channel();
    let traces = THREADS_ROUND / TRACE / count;
    let starts: Vec<Sender<()>> = (0..count)
        .map(|_| {
            let (start, begun): (_, Receiver<()>) = channel();
            let done = done.clone();
            std::thread::spawn(move || {
                while begun.recv().is_ok() {
                    let from = thread_cpu();
                    emit(traces);
                    done.send(thread_cpu() - from).expect("the main thread");
                }
            });
            start
        })
        .collect();
    let round = || -> u64 {
        for start in &starts {
            start.send(()).expect("a thread");
        }
        finished.iter().take(count).sum()
    };
    for _ in 0..WARM {
        round();
        flush();
    }
    let total = process_cpu();
    let mut thread = 0;
    for _ in 0..rounds {
        thread += round();
        flush();
    }
    cost(
        thread,
        process_cpu() - total,
        rounds,
        traces * count * TRACE,
    )
}

fn cost(thread: u64, total: u64, rounds: usize, round: usize) -> Cost {
    let spans = rounds * round;
    Cost {
        thread: thread as f64 / spans as f64,
        total: total as f64 / spans as f64,
        spans: spans + WARM * round,
    }
}

/// What a child says, and its parent reads.
pub(crate) fn say(cost: Cost) {
    println!("{} {} {}", cost.thread, cost.total, cost.spans);
}

/// The CPU time of this thread, in nanoseconds.
pub(crate) fn thread_cpu() -> u64 {
    nanoseconds(rustix::time::ClockId::ThreadCPUTime)
}

/// The CPU time of the process, in nanoseconds.
pub(crate) fn process_cpu() -> u64 {
    nanoseconds(rustix::time::ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Emits `count` times `each`, evenly spread over the time that takes at `rate` a second.
#[allow(dead_code, reason = "benches/compare has no use for it")]
pub(crate) fn at_rate(rate: usize, seconds: f64, each: usize, emit: &mut dyn FnMut()) {
    let start = Instant::now();
    let mut made = 0;
    while start.elapsed().as_secs_f64() < seconds {
        if (made as f64) < start.elapsed().as_secs_f64() * rate as f64 {
            emit();
            made += each;
        } else {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}
