//! A long run under random faults: is memory flat, is there one thread, do files close, is every span accounted for?
//!
//! ```text
//! cargo run --release --example soak -- --minutes 5 --rate 1000 --faults 0.1
//! ```
//!
//! Four threads close spans at `--rate` a second, all together: nested, enriched, failing, in sessions. A server in a
//! process of its own answers, and misbehaves with the probability `--faults`: it resets the connection, takes its time,
//! says 400, 413, 429 or 503, breaks off its answer, or says nothing at all. The configuration changes at random all the
//! while: the endpoint, the key, the size of batches, the filter, sampling, compression, limits.
//!
//! Every few seconds it prints what the process holds and what became of the spans. At the end it sends what is left and
//! checks; anything that drifted, or a span that is nowhere, and the exit code is 1. `--seed` repeats a sequence of
//! faults and changes.

mod process;
mod random;
mod server;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use honeyhive::config::Compression;
use honeyhive::report::Stats;
use honeyhive::{Builder, HoneyHive, Session};
use process::Sample;
use random::Random;
use tracing::{error, info_span};
use tracing_subscriber::prelude::*;

const THREADS: u64 = 4;
/// What memory may have grown by between the second third of a run and its last.
const MAX_GROWTH: f64 = 8.0 * 1024.0;

struct Arguments {
    duration: Duration,
    rate: u64,
    faults: f64,
    seed: u64,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut arguments = Self {
            duration: Duration::from_secs(60),
            rate: 1000,
            faults: 0.1,
            seed: 1,
        };
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or(format!("{name} needs a value"))?;
            let wrong = |_| format!("{name} {value}: not a number");
            match name.as_str() {
                "--minutes" => {
                    let minutes: f64 = value.parse().map_err(wrong)?;
                    arguments.duration = Duration::from_secs_f64(minutes * 60.0);
                }
                "--rate" => arguments.rate = value.parse::<f64>().map_err(wrong)? as u64,
                "--faults" => arguments.faults = value.parse().map_err(wrong)?,
                "--seed" => arguments.seed = value.parse::<f64>().map_err(wrong)? as u64,
                _ => return Err(format!("{name}: --minutes, --rate, --faults or --seed")),
            }
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    // As the server, with what it is told by its parent.
    if let Some(settings) = std::env::var_os("SOAK_SERVER") {
        server::run(&settings.to_string_lossy());
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match soak(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaints) => {
            for complaint in complaints {
                println!("FAILED: {complaint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn soak(arguments: &Arguments) -> Result<(), Vec<String>> {
    let servers = server::Child::start(arguments.faults, arguments.seed);
    let honeyhive = HoneyHive::builder()
        .server_url(&servers.urls[0])
        .api_key("hh_soak_0")
        .flush_interval(Duration::from_millis(500))
        .export_timeout(Duration::from_secs(2))
        .build()
        .expect("an instance");
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");

    let over = AtomicBool::new(false);
    let made = AtomicU64::new(0);
    let mut changes = 0;
    let mut samples = Vec::new();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (over, made) = (&over, &made);
            let random = Random::new(arguments.seed ^ (thread << 32));
            scope.spawn(move || load(arguments.rate / THREADS, random, over, made));
        }
        let mut random = Random::new(arguments.seed ^ 0xc0ff_ee00);
        let mut said = Instant::now();
        while started.elapsed() < arguments.duration {
            std::thread::sleep(Duration::from_millis(50 + random.below(400)));
            let change = |settings| change(settings, &servers.urls, &mut random);
            honeyhive.reconfigure(change).expect("a valid change");
            changes += 1;
            if random.below(50) == 0 {
                // What it says does not matter; that it comes back does.
                let _ = honeyhive.flush_blocking(Duration::from_millis(random.below(500)));
            }
            if said.elapsed() >= Duration::from_secs(5) {
                said = Instant::now();
                let sample = Sample::take(started.elapsed());
                println!("{sample}  {}", line(&honeyhive.stats()));
                samples.push(sample);
            }
        }
        over.store(true, Ordering::Relaxed);
    });

    let calm = Instant::now();
    while honeyhive.flush_blocking(Duration::from_secs(10)).is_err() {
        let left = honeyhive.stats().in_flight;
        if left == 0 || calm.elapsed() > Duration::from_secs(180) {
            break;
        }
    }
    let stats = honeyhive.stats();
    let server = servers.counts();
    println!("{changes} changes of the configuration");
    println!("here:   {}", line(&stats));
    println!("server: {server}");
    let mut complaints = account(made.load(Ordering::Relaxed), &stats, &server);
    complaints.extend(process::drift(&samples, MAX_GROWTH));
    if complaints.is_empty() {
        println!("every span is accounted for, and nothing has drifted");
        Ok(())
    } else {
        Err(complaints)
    }
}

fn line(stats: &Stats) -> String {
    format!(
        "submitted {} exported {} rejected {} dropped {:?} in flight {} sampled out {} retried {} cut {}",
        stats.submitted,
        stats.exported,
        stats.rejected,
        stats.dropped,
        stats.in_flight,
        stats.sampled_out,
        stats.retried,
        stats.cut
    )
}

/// Every span that was made is somewhere, and only there.
fn account(made: u64, stats: &Stats, server: &server::Counts) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            complaints.push(what);
        }
    };
    let seen = stats.submitted + stats.sampled_out + stats.not_recorded;
    check(made == seen, format!("{made} spans made, {seen} seen"));
    let kept = stats.in_flight + stats.spooled;
    let known = stats.exported + stats.rejected + stats.dropped.total() + kept;
    check(
        stats.submitted == known,
        format!("{} spans submitted, {known} known", stats.submitted),
    );
    check(
        stats.in_flight == 0 && stats.queue_bytes == 0,
        format!("{} spans are still in flight", stats.in_flight),
    );
    // An answer that came too late is one to spans that are sent again: more may have arrived than were thought to.
    check(
        server.accepted >= stats.exported,
        format!("{} exported, {} arrived", stats.exported, server.accepted),
    );
    check(
        server.rejected >= stats.rejected,
        format!("{} rejected, {} refused", stats.rejected, server.rejected),
    );
    complaints
}

/// One thread's spans, so many a second.
fn load(rate: u64, mut random: Random, over: &AtomicBool, made: &AtomicU64) {
    let started = Instant::now();
    let mut session = Session::start("session");
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        let due = started.elapsed().as_millis() as u64 * rate / 1000;
        while count < due {
            if random.below(200) == 0 {
                session = Session::start(format!("session {}", random.below(1000)));
            }
            let spans = if random.below(10) == 0 {
                session.in_scope(|| work(&mut random))
            } else {
                work(&mut random)
            };
            count += spans;
            made.fetch_add(spans, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a program might do: a call, with steps in it. The answer is how many spans it made.
fn work(random: &mut Random) -> u64 {
    let call = info_span!(
        "call",
        user = random.below(1 << 20),
        answer = tracing::field::Empty
    );
    call.in_scope(|| {
        let steps = random.below(4);
        for step in 0..steps {
            info_span!("step", step).in_scope(|| match random.below(10) {
                0 => error!(code = random.below(500), "it failed"),
                1 => honeyhive::enrich(|e| {
                    e.metadata(&format!("key {}", random.below(1 << 40)), step)
                }),
                2 => {
                    let text = "x".repeat(random.below(20_000) as usize);
                    honeyhive::enrich(|e| e.output(&text));
                }
                _ => {}
            });
        }
        call.record("answer", "done");
        steps + 1
    })
}

/// Some change, valid whatever was before.
fn change(settings: Builder, urls: &[String], random: &mut Random) -> Builder {
    match random.below(9) {
        0 => settings.server_url(&urls[random.below(urls.len() as u64) as usize]),
        1 => settings.api_key(format!("hh_soak_{}", random.below(100))),
        2 => settings.header("x-soak", random.below(100).to_string()),
        3 => settings
            .batch_size(1 + random.below(512) as usize)
            .max_export_batch_size(512),
        4 => settings.filter(if random.below(2) == 0 {
            "info"
        } else {
            "debug"
        }),
        5 => settings.sample_rate(if random.below(4) == 0 { 0.5 } else { 1.0 }),
        6 => settings.compression(if random.below(2) == 0 {
            Compression::Gzip
        } else {
            Compression::None
        }),
        7 => settings.max_attributes(128 + random.below(1000) as usize),
        _ => settings.flush_interval(Duration::from_millis(100 + random.below(900))),
    }
}
