//! What an instance takes of its process, and what a process leaves behind when it ends.
#![cfg(target_os = "linux")]

mod support;

use std::time::{Duration, Instant};

use support::fault::{Act, Fault};
use support::*;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// The memory that the process holds, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let kibibytes = line.split_whitespace().nth(1).unwrap();
    kibibytes.parse::<usize>().unwrap() << 10
}

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let mut names: Vec<String> = tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("honeyhive"))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn no_thread_before_the_first_span_has_closed() {
    if in_process_of_its_own("no_thread_before_the_first_span_has_closed", &[]).is_some() {
        return;
    }
    let honeyhive = honeyhive::HoneyHive::builder()
        .test_mode(true)
        .build()
        .unwrap();
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(honeyhive.layer()));
    let _ = (honeyhive.stats(), honeyhive.status(), honeyhive.config());
    honeyhive.flush_blocking(LONG).unwrap();
    honeyhive
        .reconfigure(|settings| settings.source("prod"))
        .unwrap();
    let span = tracing::dispatcher::with_default(&dispatch, || tracing::info_span!("first"));
    assert_eq!(threads(), Vec::<String>::new());
    drop(span);
    // Linux cuts the name.
    until("the thread", || threads() == ["honeyhive-expor"]);
    honeyhive.shutdown_blocking(LONG).unwrap();
    until("its end", || threads().is_empty());
}

#[test]
fn an_instance_without_a_key_starts_nothing() {
    if in_process_of_its_own("an_instance_without_a_key_starts_nothing", &[]).is_some() {
        return;
    }
    let honeyhive = honeyhive::HoneyHive::builder().build().unwrap();
    emit(&honeyhive, 100);
    honeyhive.own_session().enrich(|s| s.metadata("k", 1));
    honeyhive.flush_blocking(LONG).unwrap();
    assert_eq!(threads(), Vec::<String>::new());
    assert_eq!(honeyhive.stats(), honeyhive::report::Stats::default());
}

#[test]
fn many_instances_leave_nothing_behind() {
    let server = Recorder::start();
    let silent = Fault::start([], Act::Silence);
    let urls = [
        ("TEST_URL", server.url.as_str()),
        ("TEST_SILENT_URL", silent.url.as_str()),
    ];
    // The whole: ten thousand.
    let cycles = scaled(200, 10_000);
    if let Some(output) = in_process_of_its_own("many_instances_leave_nothing_behind", &urls) {
        assert_eq!(server.spans().len(), cycles);
        said(&output);
        return;
    }
    let (url, silent) = (
        std::env::var("TEST_URL").unwrap(),
        std::env::var("TEST_SILENT_URL").unwrap(),
    );
    let cycle = |n: usize| {
        let honeyhive = settings(&url).build().unwrap();
        emit(&honeyhive, 1);
        match n % 3 {
            0 => drop(honeyhive),
            1 => {
                honeyhive.shutdown_blocking(LONG).unwrap();
                assert_all_exported(&honeyhive.stats(), 1);
            }
            _ => {
                honeyhive.flush_blocking(LONG).unwrap();
                // One that has to give up.
                let dead = settings(&silent)
                    .flush_timeout(Duration::ZERO)
                    .build()
                    .unwrap();
                emit(&dead, 1);
                dead.shutdown_blocking(Duration::from_millis(1))
                    .unwrap_err();
                assert_balanced(&dead.stats());
            }
        }
    };
    // The first rounds may open what stays open: the clock, the resolver's files.
    (0..3).for_each(cycle);
    until("the ends of the first threads", || threads().is_empty());
    let (before_fds, before_threads) = (entries("/proc/self/fd"), entries("/proc/self/task"));
    // Memory takes longer to find its level.
    let warm = cycles / 4;
    (3..warm).for_each(cycle);
    let before = resident();
    (warm..cycles).for_each(cycle);
    until("the ends of all threads", || {
        entries("/proc/self/task") <= before_threads
    });
    until("all files to be closed", || {
        entries("/proc/self/fd") <= before_fds
    });
    let grown = resident().saturating_sub(before);
    println!(
        "figure: {} instances built and ended, {} KiB more",
        cycles - warm,
        grown >> 10
    );
    // An instance that stayed, with the table of its layer, would be more than 64 KiB.
    assert!(grown < (4 << 20) + (cycles - warm) * 1024, "{grown} bytes");
}

#[test]
fn a_process_that_ends_delivers() {
    let server = Recorder::start();
    if in_process_of_its_own(
        "a_process_that_ends_delivers",
        &[("TEST_URL", server.url.as_str())],
    )
    .is_some()
    {
        assert_eq!(server.spans().len(), 300);
        return;
    }
    let honeyhive = settings(&std::env::var("TEST_URL").unwrap())
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let work = || (0..100).for_each(|n| tracing::info_span!("work", n).in_scope(|| {}));
    let thread = std::thread::spawn(work);
    work();
    thread.join().unwrap();
    // The layer lives as long as the process; the owner does not.
    std::thread::spawn(work).join().unwrap();
    drop(honeyhive);
}

#[test]
fn a_process_that_was_stopped_does_not_storm() {
    let name = "a_process_that_was_stopped_does_not_storm";
    let server = Recorder::start();
    let Some(mut command) = process_of_its_own(name, &[("TEST_URL", &server.url)]) else {
        let honeyhive = settings(&std::env::var("TEST_URL").unwrap())
            .flush_interval(Duration::from_millis(100))
            .build()
            .unwrap();
        // Until the process is ended: something to send all the time.
        loop {
            emit(&honeyhive, 1);
            until("the accounts to agree", || {
                let stats = honeyhive.stats();
                stats.submitted == known(&stats)
            });
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let times = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&times);
    server.answer_by(move |request| {
        if request.path == TRACES {
            noted.lock().unwrap().push(Instant::now());
        }
        Some(Reply::status(503))
    });
    let child = Killed(command.spawn().unwrap());
    let signal = |signal: &str| {
        let id = child.0.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &id])
            .status();
        assert!(sent.unwrap().success());
    };
    let attempts = || times.lock().unwrap().len();
    until("the first attempt", || attempts() > 0);
    signal("-STOP");
    // Several waits long; a minute is no different.
    std::thread::sleep(Duration::from_secs(3));
    let before = attempts();
    signal("-CONT");
    until("more attempts", || attempts() >= before + 3);
    drop(child);
    let times = times.lock().unwrap();
    // A wait that is over is over once, for the two requests that may be on their way together; the next one is as long as
    // it would have been.
    let gap = times[before + 2] - times[before];
    assert!(gap >= Duration::from_millis(400), "{gap:?}");
}

/// A process that does not outlive the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
