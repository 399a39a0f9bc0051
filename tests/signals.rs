//! SIGTERM and SIGINT: a process that is asked to end delivers, and ends as it wants. Each test runs itself once more, in
//! a process that is sent the signal.
#![cfg(all(unix, feature = "signal"))]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use honeyhive::HoneyHive;
use honeyhive::signal::{Signal, termination};
use support::fault::{Act, Fault};
use support::*;
use tracing::info_span;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);

fn send(signal: &str, process: u32) {
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &process.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until the process says that it is ready, sends it a signal, and tells its exit code and how long it took to end.
fn signalled(mut command: Command, signal: &str) -> (Option<i32>, Duration) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The harness may have begun the line.
    assert!(lines.any(|line| line.unwrap().contains("ready")));
    let sent = Instant::now();
    send(signal, child.id());
    // What it says meanwhile must not fill the pipe.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let status = child.wait().unwrap();
    let elapsed = sent.elapsed();
    println!("{signal}: {status} after {elapsed:?}");
    assert!(status.code().is_some(), "{status}: {rest:?}");
    (status.code(), elapsed)
}

/// An instance that sends where the test says, by the global subscriber.
fn instance() -> HoneyHive {
    let honeyhive = settings(&std::env::var("TEST_URL").unwrap())
        .build()
        .unwrap();
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    honeyhive
}

fn work(count: usize) {
    for n in 0..count {
        info_span!("work", n).in_scope(|| {});
    }
}

#[test]
fn a_service_finishes_its_requests_and_delivers() {
    let name = "a_service_finishes_its_requests_and_delivers";
    let server = Recorder::start();
    let variables = [
        ("TEST_URL", server.url.as_str()),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
    ];
    if let Some(command) = process_of_its_own(name, &variables) {
        let (code, elapsed) = signalled(command, "TERM");
        assert_eq!(code, Some(42));
        assert_eq!(server.spans().len(), 7);
        assert!(elapsed < LONG, "{elapsed:?}");
        return;
    }
    let honeyhive = instance();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let termination = termination().unwrap();
        work(5);
        let request = tokio::spawn(async {
            println!("ready");
            assert_eq!(termination.await, Signal::Terminate);
        });
        request.await.unwrap();
        // What was queued is on its way before anybody asked for it.
        until("the first delivery", || honeyhive.stats().exported == 5);
        work(2);
    });
    drop(honeyhive);
    std::process::exit(42);
}

#[test]
fn a_program_without_a_runtime_may_wait_too() {
    let name = "a_program_without_a_runtime_may_wait_too";
    for signal in ["INT", "TERM"] {
        let server = Recorder::start();
        let variables = [("TEST_URL", server.url.as_str()), ("TEST_SIGNAL", signal)];
        if let Some(command) = process_of_its_own(name, &variables) {
            assert_eq!(signalled(command, signal).0, Some(3));
            assert_eq!(server.spans().len(), 5);
            continue;
        }
        let honeyhive = instance();
        // Two may wait, and one that has given up disturbs neither.
        let (one, two, three) = (
            termination().unwrap(),
            termination().unwrap(),
            termination().unwrap(),
        );
        drop(three);
        work(5);
        println!("ready");
        let expected = match std::env::var("TEST_SIGNAL").unwrap().as_str() {
            "INT" => Signal::Interrupt,
            _ => Signal::Terminate,
        };
        assert_eq!(one.wait(), expected);
        assert_eq!(two.wait(), expected);
        honeyhive.shutdown_blocking(LONG).unwrap();
        std::process::exit(3);
    }
}

#[test]
fn shutdown_on_signal_needs_no_more_than_its_time() {
    let name = "shutdown_on_signal_needs_no_more_than_its_time";
    let (healthy, silent) = (Recorder::start(), Fault::start([], Act::Silence));
    for (url, blocking, limit) in [
        (&healthy.url, "no", Duration::from_secs(5)),
        (&healthy.url, "yes", Duration::from_secs(5)),
        // An outage; 5 s are what an instance takes on Kubernetes, of the 30 s that a pod has.
        (&silent.url, "no", Duration::from_secs(12)),
    ] {
        let variables = [
            ("TEST_URL", url.as_str()),
            ("TEST_BLOCKING", blocking),
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ];
        if let Some(command) = process_of_its_own(name, &variables) {
            let (code, elapsed) = signalled(command, "TERM");
            assert_eq!(code, Some(9));
            assert!(elapsed < limit, "{elapsed:?}");
            continue;
        }
        let honeyhive = instance();
        work(5);
        // A signal that comes before it is awaited: `ready` is said by a thread once the handler is there.
        let outcome = if std::env::var("TEST_BLOCKING").unwrap() == "yes" {
            say_ready_when_heard();
            honeyhive.shutdown_on_signal_blocking()
        } else {
            say_ready_when_heard();
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(honeyhive.shutdown_on_signal())
        };
        match outcome {
            Ok(report) => assert_eq!(report.left, 0),
            Err(error) => {
                assert!(error.is_timeout(), "{error}");
                let report = error.flush_report().unwrap();
                assert_eq!((report.sent, report.left + report.failed), (0, 5));
                let limit = Duration::from_millis(5_100);
                assert!(
                    report.elapsed < limit + Duration::from_secs(3),
                    "{report:?}"
                );
            }
        }
        assert_balanced(&honeyhive.stats());
        // The process goes on, and ends as it likes.
        std::process::exit(9);
    }
    assert_eq!(healthy.spans().len(), 10);
}

/// Says that the test is ready once the thread that listens is there.
fn say_ready_when_heard() {
    std::thread::spawn(|| {
        until("the handlers", || {
            // SigCgt: the signals that are handled; bit 14 is SIGTERM.
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            caught.is_none_or(|mask| mask >> 14 & 1 == 1 && mask >> 1 & 1 == 1)
        });
        println!("ready");
    });
}

#[test]
fn a_signal_is_not_missed_and_no_thread_is_left() {
    let name = "a_signal_is_not_missed_and_no_thread_is_left";
    if in_process_of_its_own(name, &[]).is_some() {
        return;
    }
    let waiting = termination().unwrap();
    send("TERM", std::process::id());
    // Nobody polls yet.
    until("the end of the thread", || !is_listening());
    assert_eq!(waiting.wait(), Signal::Terminate);
    let given_up = termination().unwrap();
    drop(given_up);
    until("the end of the thread", || !is_listening());
}

fn is_listening() -> bool {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return false;
    };
    let mut names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.any(|name| name.trim() == "honeyhive-signa")
}
