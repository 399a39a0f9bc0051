//! What spans cost in memory: at most what the limits say, and nothing that stays. Each test measures a process of its
//! own, by what the kernel says of it.
#![cfg(target_os = "linux")]

mod support;

use std::fmt::{self, Debug};
use std::time::{Duration, Instant};

use honeyhive::report::DropReason;
use honeyhive::{HoneyHive, Session, SpanExt as _};
use rustix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};
use support::*;
use tracing::{Dispatch, Span, dispatcher, info_span};
use tracing_subscriber::prelude::*;

const MIB: usize = 1 << 20;

/// A line of what the kernel says of this process, in bytes.
fn status(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|it| it.strip_prefix(line));
    let words = found.unwrap().trim_start_matches(':');
    words
        .split_whitespace()
        .next()
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

/// What the process holds.
fn resident() -> usize {
    status("VmRSS")
}

/// How much more the process held at most while `f` ran than before it did.
fn peak_of(f: impl FnOnce()) -> usize {
    // From now on the peak is that of now.
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = if reset { resident() } else { status("VmHWM") };
    f();
    status("VmHWM").saturating_sub(before)
}

fn subscriber(honeyhive: &HoneyHive) -> Dispatch {
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .into()
}

/// A value of so many bytes, printed piece by piece; whoever prints it may be told to stop, and not listen.
struct Large {
    bytes: usize,
    stubborn: bool,
}

const PIECE: &str = match std::str::from_utf8(&[b'x'; 4096]) {
    Ok(text) => text,
    Err(_) => "",
};

impl Debug for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..self.bytes / PIECE.len() {
            let written = f.write_str(PIECE);
            if !self.stubborn {
                written?;
            }
        }
        Ok(())
    }
}

impl Serialize for Large {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(std::iter::repeat_n(PIECE, self.bytes / PIECE.len()))
    }
}

/// A way to record it.
type Way = fn(Large) -> Span;

#[test]
fn a_value_of_a_gibibyte_costs_at_most_twice_the_cap() {
    let name = "a_value_of_a_gibibyte_costs_at_most_twice_the_cap";
    if let Some(output) = in_process_of_its_own(name, &[]) {
        said(&output);
        return;
    }
    const CAP: usize = 10 * MIB;
    /// Pages that the measurement itself, the stack and the allocator touch.
    const NOISE: usize = 3 * MIB;
    let bytes = 1024 * MIB;
    let server = Recorder::start();
    // The default limits: 10 MiB a value, 10 MiB a span.
    let honeyhive = settings(&server.url).build().unwrap();
    let record: [(&str, Way); 3] = [
        ("a field", |large| info_span!("large", large = ?large)),
        ("a late field", |large| {
            let span = info_span!("large", large = tracing::field::Empty);
            span.record("large", tracing::field::debug(large));
            span
        }),
        ("an enrichment", |large| {
            let span = info_span!("large");
            span.enrich(|e| e.output(&large));
            span
        }),
    ];
    dispatcher::with_default(&subscriber(&honeyhive), || {
        // Once, for what is made only once.
        drop(info_span!("large", n = 1));
        let mut count = 1;
        for (way, record) in record {
            for stubborn in [false, true] {
                let mut span = Span::none();
                let peak = peak_of(|| span = record(Large { bytes, stubborn }));
                println!(
                    "figure: {way} of 1 GiB costs {:.1} MiB",
                    peak as f64 / MIB as f64
                );
                assert!(peak <= 2 * CAP + NOISE, "{way}: {peak} bytes");
                // Whole on its way: the thread's buffer, the batch and the body of the request.
                let sent = peak_of(|| {
                    drop(span);
                    honeyhive.flush_blocking(PATIENCE).unwrap();
                });
                println!(
                    "figure: sending it costs {:.1} MiB",
                    sent as f64 / MIB as f64
                );
                count += 1;
                assert_all_exported(&honeyhive.stats(), count);
            }
        }
    });
    let stats = honeyhive.stats();
    assert!(stats.cut >= 6, "{stats:#?}");
    for span in server
        .spans()
        .iter()
        .filter(|span| !span.attributes.is_empty())
    {
        let texts = span.attributes.iter().filter_map(|it| it.value.as_ref());
        assert!(texts.map(support::text).all(|text| text.len() <= CAP + 64));
    }
}

/// Spans, and how long each took to open and close on this thread: by the clock on the wall, and on the processor.
fn burst(dispatch: &Dispatch, threads: usize, each: usize) -> [Vec<u32>; 2] {
    let processor = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let parts: Vec<[Vec<u32>; 2]> = std::thread::scope(|scope| {
        let work = |thread: usize| {
            dispatcher::with_default(dispatch, || {
                let (mut wall, mut cpu) = (Vec::new(), Vec::new());
                for n in 0..each {
                    // The processor's clock is slow to read: now and then is enough.
                    let sampled = n % 8 == 0;
                    let ticks = if sampled { processor() } else { 0 };
                    let started = Instant::now();
                    info_span!("work", thread, n).in_scope(|| {});
                    wall.push(started.elapsed().as_nanos() as u32);
                    if sampled {
                        cpu.push((processor() - ticks) as u32);
                    }
                }
                [wall, cpu]
            })
        };
        let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || work(n))).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let mut all = [Vec::new(), Vec::new()];
    for [wall, cpu] in parts {
        all[0].extend(wall);
        all[1].extend(cpu);
    }
    all
}

/// The value that all but one in a thousand stay below, in microseconds.
fn slowest(mut values: Vec<u32>) -> f64 {
    values.sort_unstable();
    let at = (values.len() * 999 / 1000).min(values.len() - 1);
    f64::from(values[at]) / 1000.0
}

#[test]
fn a_burst_from_64_threads_stays_under_the_ceiling_and_is_counted() {
    let name = "a_burst_from_64_threads_stays_under_the_ceiling_and_is_counted";
    let server = Recorder::start();
    server.answer_by(|request| {
        // A slow collector.
        if request.path == TRACES {
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    });
    if let Some(output) = in_process_of_its_own(name, &[("TEST_URL", server.url.as_str())]) {
        let said = said(&output);
        let exported = said.lines().find_map(|it| it.strip_prefix("exported: "));
        let exported: usize = exported.unwrap().parse().unwrap();
        assert_eq!(server.spans().len(), exported);
        return;
    }
    // The whole: a million.
    let each = scaled(100_000, 1_000_000) / 64;
    const QUEUE: usize = 16 * MIB;
    /// Requests on their way: four of four megabytes.
    const AWAY: usize = 16 * MIB;
    /// Our own code, 64 stacks, the client, and what the allocator does not give back.
    const REST: usize = 24 * MIB;
    let url = std::env::var("TEST_URL").unwrap();
    let honeyhive = settings(&url).max_queue_bytes(QUEUE).build().unwrap();
    let bare: Dispatch = tracing_subscriber::registry().into();
    let [bare_wall, bare_cpu] = burst(&bare, 64, each / 4);
    let dispatch = subscriber(&honeyhive);
    let mut measured = [Vec::new(), Vec::new()];
    // The times that the test itself takes down are no memory of ours.
    let kept = each * 64 * 5 * 2;
    let peak = peak_of(|| measured = burst(&dispatch, 64, each)).saturating_sub(kept);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(stats.submitted, each as u64 * 64);
    // What threads keep to themselves for a while is at most a 64th.
    let bound = QUEUE + QUEUE / 64;
    assert!(stats.queue_bytes <= bound as u64, "{stats:#?}");
    honeyhive.flush_blocking(Duration::from_secs(120)).unwrap();
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.in_flight, stats.queue_bytes), (0, 0), "{stats:#?}");
    assert_eq!(
        stats.exported + stats.dropped.of(DropReason::QueueFull),
        stats.submitted
    );
    let [wall, cpu] = measured;
    println!(
        "figure: {} spans from 64 threads, {} sent, {} found no room, {:.1} MiB at most",
        stats.submitted,
        stats.exported,
        stats.dropped.of(DropReason::QueueFull),
        peak as f64 / MIB as f64
    );
    println!(
        "figure: p99.9 of a span {:.1} us on the processor ({:.1} us of a bare registry), {:.1} us on the wall ({:.1} us)",
        slowest(cpu),
        slowest(bare_cpu),
        slowest(wall),
        slowest(bare_wall)
    );
    println!("exported: {}", stats.exported);
    assert!(peak <= QUEUE + AWAY + REST, "{peak} bytes");
}

#[test]
fn a_million_keys_names_and_sessions_leave_memory_as_it_was() {
    let name = "a_million_keys_names_and_sessions_leave_memory_as_it_was";
    if let Some(output) = in_process_of_its_own(name, &[]) {
        said(&output);
        return;
    }
    let rounds = scaled(20, 100);
    // Encoded as ever, and sent nowhere.
    let honeyhive = HoneyHive::builder().test_mode(true).build().unwrap();
    let dispatch = subscriber(&honeyhive);
    // Ten thousand keys, a hundred names, types and sessions.
    let round = |round: usize| {
        dispatcher::with_default(&dispatch, || {
            for n in round * 100..(round + 1) * 100 {
                let session = Session::start(format!("session {n}"));
                session.in_scope(|| {
                    let kind = format!("type {n}");
                    let span = info_span!(
                        "work",
                        otel.name = format!("name {n}"),
                        honeyhive.event_type = kind
                    );
                    span.enrich(|e| {
                        for key in 0..100 {
                            e.metadata(&format!("key {n} {key}"), key);
                        }
                        e
                    });
                });
            }
        });
        honeyhive.flush_blocking(PATIENCE).unwrap();
    };
    let warm = rounds / 4;
    (0..warm).for_each(round);
    let before = resident();
    (warm..rounds).for_each(round);
    let grown = resident().saturating_sub(before);
    println!(
        "figure: {} keys more, {} KiB more",
        (rounds - warm) * 10_000,
        grown / 1024
    );
    assert_all_exported(&honeyhive.stats(), rounds as u64 * 100);
    // A kept key would be 30 bytes and more, 22 MiB a million; what a session is known by is kept for 16,384 of them.
    assert!(
        grown < 3 * MIB + (rounds - warm) * 100 * 512,
        "{grown} bytes"
    );
}

#[test]
fn threads_that_come_and_go_leave_memory_as_it_was() {
    let name = "threads_that_come_and_go_leave_memory_as_it_was";
    if let Some(output) = in_process_of_its_own(name, &[]) {
        said(&output);
        return;
    }
    let threads = scaled(4_000, 40_000);
    let honeyhive = HoneyHive::builder().test_mode(true).build().unwrap();
    let dispatch = subscriber(&honeyhive);
    let come_and_go = |count: usize| {
        for n in 0..count {
            let work = || dispatcher::with_default(&dispatch, || drop(info_span!("work", n)));
            std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
            if n % 100 == 0 {
                honeyhive.flush_blocking(PATIENCE).unwrap();
            }
        }
        honeyhive.flush_blocking(PATIENCE).unwrap();
    };
    come_and_go(threads / 4);
    let before = resident();
    come_and_go(threads);
    let grown = resident().saturating_sub(before);
    println!("figure: {threads} threads more, {} KiB more", grown / 1024);
    assert_all_exported(&honeyhive.stats(), (threads / 4 + threads) as u64);
    // What a thread hands its spans over in is more than 200 bytes, and grows with the first of them.
    assert!(grown < MIB + threads * 64, "{grown} bytes");
}
