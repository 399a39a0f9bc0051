//! How processes end, and what arrives then. Each test runs itself once more, in a process that ends that way.
#![cfg(unix)]

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use honeyhive::HoneyHive;
use honeyhive::config::Redact;
use support::fault::{Act, Fault};
use support::*;
use tracing::info_span;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);
const SIGABRT: i32 = 6;

static HONEYHIVE: OnceLock<HoneyHive> = OnceLock::new();

/// An instance that sends where the test says, by the global subscriber.
fn instance() -> HoneyHive {
    let honeyhive = settings(&variable("TEST_URL")).build().unwrap();
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    honeyhive
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn work(count: usize) {
    for n in 0..count {
        info_span!("work", n).in_scope(|| {});
    }
}

/// How a process ended, and after how long.
fn ended(mut command: Command) -> (ExitStatus, Duration, String) {
    let started = Instant::now();
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status, started.elapsed(), text)
}

#[test]
fn exit_and_abort_lose_what_is_queued_and_no_more() {
    let name = "exit_and_abort_lose_what_is_queued_and_no_more";
    for how in ["exit", "abort", "static", "killed"] {
        let server = Recorder::start();
        let variables = [("TEST_URL", server.url.as_str()), ("TEST_END", how)];
        if let Some(command) = process_of_its_own(name, &variables) {
            let (status, elapsed, text) = ended(command);
            match how {
                "exit" => assert_eq!(status.code(), Some(7), "{text}"),
                "abort" => assert_eq!(status.signal(), Some(SIGABRT), "{text}"),
                "static" => assert!(status.success(), "{text}"),
                _ => assert!(status.signal().is_some(), "{text}"),
            }
            assert_eq!(server.spans().len(), 10, "{how}");
            println!("{how}: 10 of 15 after {elapsed:?}");
            continue;
        }
        let honeyhive = instance();
        work(10);
        honeyhive.flush_blocking(LONG).unwrap();
        work(5);
        match variable("TEST_END").as_str() {
            "exit" => std::process::exit(7),
            "abort" => std::process::abort(),
            "static" => {
                HONEYHIVE.get_or_init(|| honeyhive);
                return;
            }
            _ => {
                let pid = std::process::id().to_string();
                Command::new("kill").args(["-KILL", &pid]).status().unwrap();
                std::thread::sleep(LONG);
            }
        }
    }
}

#[test]
fn a_static_that_is_flushed_loses_nothing() {
    let name = "a_static_that_is_flushed_loses_nothing";
    for how in ["flush", "flush all", "shutdown", "shutdown all"] {
        let server = Recorder::start();
        let variables = [("TEST_URL", server.url.as_str()), ("TEST_END", how)];
        if let Some(command) = process_of_its_own(name, &variables) {
            let (status, elapsed, text) = ended(command);
            assert_eq!(status.code(), Some(3), "{text}");
            assert_eq!(server.spans().len(), 5, "{how}");
            println!("{how}: 5 of 5 after {elapsed:?}");
            continue;
        }
        let honeyhive = HONEYHIVE.get_or_init(instance);
        work(5);
        match variable("TEST_END").as_str() {
            "flush" => drop(honeyhive.flush_blocking(LONG).unwrap()),
            "flush all" => honeyhive::flush_blocking(LONG).unwrap(),
            "shutdown" => drop(honeyhive.shutdown_blocking(LONG).unwrap()),
            _ => honeyhive::registry::shutdown_all_blocking(LONG).unwrap(),
        }
        std::process::exit(3);
    }
}

#[test]
fn an_outage_delays_no_exit() {
    let name = "an_outage_delays_no_exit";
    let server = Fault::start([], Act::Silence);
    for how in ["exit", "return"] {
        let variables = [("TEST_URL", server.url.as_str()), ("TEST_END", how)];
        if let Some(command) = process_of_its_own(name, &variables) {
            let (status, elapsed, text) = ended(command);
            let code = if how == "exit" { 7 } else { 0 };
            assert_eq!(status.code(), Some(code), "{text}");
            assert!(elapsed < Duration::from_secs(10), "{how}: {elapsed:?}");
            println!("{how}: {elapsed:?}");
            continue;
        }
        let honeyhive = instance();
        honeyhive
            .reconfigure(|settings| settings.flush_timeout(Duration::from_millis(300)))
            .unwrap();
        work(5);
        assert!(
            honeyhive
                .flush_blocking(Duration::from_millis(100))
                .is_err()
        );
        if variable("TEST_END") == "exit" {
            std::process::exit(7);
        }
        // The worker waits for an answer that never comes; the owner does not.
        let started = Instant::now();
        drop(honeyhive);
        assert!(started.elapsed() < Duration::from_secs(5));
        return;
    }
}

#[test]
fn the_panic_hook_delivers_before_the_process_aborts() {
    let name = "the_panic_hook_delivers_before_the_process_aborts";
    let server = Recorder::start();
    if let Some(command) = process_of_its_own(name, &[("TEST_URL", &server.url)]) {
        let (status, elapsed, text) = ended(command);
        assert_eq!(status.signal(), Some(SIGABRT), "{text}");
        assert_eq!(server.spans().len(), 5, "{text}");
        println!("5 of 5 after {elapsed:?}");
        return;
    }
    let _honeyhive = instance();
    // What a panic does in a program that aborts: nothing comes after the hook.
    std::panic::set_hook(Box::new(|_| std::process::abort()));
    honeyhive::install_panic_hook(LONG);
    work(5);
    panic!("the end");
}

#[test]
fn the_panic_hook_calls_the_one_before_it_once() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let name = "the_panic_hook_calls_the_one_before_it_once";
    let server = Recorder::start();
    if in_process_of_its_own(name, &[("TEST_URL", &server.url)]).is_some() {
        assert_eq!(server.spans().len(), 4);
        return;
    }
    let honeyhive = instance();
    std::panic::set_hook(Box::new(|_| {
        CALLS.fetch_add(1, Ordering::SeqCst);
    }));
    for _ in 0..3 {
        honeyhive::install_panic_hook(LONG);
    }
    for n in 1..=2 {
        work(1);
        assert!(catch_unwind(|| panic!("caught")).is_err());
        assert_eq!(CALLS.load(Ordering::SeqCst), n);
        assert_all_exported(&honeyhive.stats(), n as u64);
    }
    // Several at once: nobody waits for anybody but the endpoint.
    work(2);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| catch_unwind(|| panic!("caught")).unwrap_err());
        }
    });
    assert_eq!(CALLS.load(Ordering::SeqCst), 10);
    // With nothing to send and after the end it does nothing.
    honeyhive.shutdown_blocking(LONG).unwrap();
    assert!(catch_unwind(|| panic!("caught")).is_err());
    assert_eq!(CALLS.load(Ordering::SeqCst), 11);
    assert_all_exported(&honeyhive.stats(), 4);
}

struct Hostile;

impl std::fmt::Debug for Hostile {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("in Debug")
    }
}

impl serde::Serialize for Hostile {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in Serialize")
    }
}

#[test]
fn the_panic_hook_keeps_its_time_and_leaves_caught_panics_alone() {
    let name = "the_panic_hook_keeps_its_time_and_leaves_caught_panics_alone";
    let server = Fault::start([], Act::Silence);
    if in_process_of_its_own(name, &[("TEST_URL", &server.url)]).is_some() {
        return;
    }
    let redact = Redact::default().with(|path, _| {
        assert!(!path.contains("touchy"), "in a redaction function");
        None
    });
    let honeyhive = settings(&variable("TEST_URL"))
        .redact(redact)
        .build()
        .unwrap();
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    honeyhive::install_panic_hook(LONG);
    let started = Instant::now();
    let span = info_span!("work", value = ?Hostile, touchy = "text");
    span.in_scope(|| honeyhive::enrich(|e| e.output(Hostile).metadata("k", Hostile)));
    span.in_scope(|| honeyhive::enrich(|_| panic!("in a closure")));
    honeyhive.own_session().enrich(|_| panic!("in a closure"));
    drop(span);
    // The redaction function panics on the export thread, which does not wait for itself.
    until("the redaction", || {
        let _ = honeyhive.flush_blocking(Duration::from_millis(1));
        honeyhive.stats().redact_failed > 0
    });
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    // A panic of the program waits, and no longer than it was told.
    honeyhive::install_panic_hook(Duration::from_millis(300));
    let started = Instant::now();
    assert!(catch_unwind(|| panic!("caught")).is_err());
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(250), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    println!("{elapsed:?} of 300ms");
    std::process::exit(0);
}

/// Records a value that panics while its owner is dropped.
struct Careless;

impl Drop for Careless {
    fn drop(&mut self) {
        let span = info_span!("while unwinding", value = ?Hostile);
        span.in_scope(|| honeyhive::enrich(|e| e.output(Hostile)));
    }
}

#[test]
fn a_value_that_panics_while_unwinding_does_not_abort() {
    let name = "a_value_that_panics_while_unwinding_does_not_abort";
    let server = Recorder::start();
    if in_process_of_its_own(name, &[("TEST_URL", &server.url)]).is_some() {
        let value = attribute(&server.span("while unwinding"), "honeyhive_inputs.value");
        assert_eq!(value.as_deref(), Some("<panicked while formatting>"));
        let error = attribute(&server.span("outer"), "honeyhive_error");
        assert!(error.is_some_and(|error| error.contains("panicked")));
        assert_eq!(server.spans().len(), 2);
        return;
    }
    let honeyhive = instance();
    honeyhive::install_panic_hook(LONG);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _outer = info_span!("outer").entered();
        let _careless = Careless;
        panic!("the first");
    }));
    assert!(unwound.is_err());
    honeyhive.flush_blocking(LONG).unwrap();
}
