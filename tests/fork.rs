//! What a fork leaves of an instance: the child begins anew with the same settings, and the parent does not notice.
#![cfg(unix)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use honeyhive::HoneyHive;
use honeyhive::report::Stats;
use support::*;
use tracing::info_span;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);

/// Runs something in a copy of this process, which then ends at once, as programs that fork do. The answer is whether
/// all went well there.
#[expect(unsafe_code, reason = "there is no safe way to fork")]
fn in_a_child(f: impl FnOnce()) -> bool {
    // SAFETY: no other thread is inside of this crate but its own export thread, which is what is tested; the allocator
    // takes care of itself.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no fork");
    if child == 0 {
        let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_ok();
        // SAFETY: it ends the process, without what the parent registered for its end.
        unsafe { libc::_exit(if well { 0 } else { 1 }) }
    }
    let mut status = 0;
    // SAFETY: `status` lives as long as the call.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

/// An instance that sends to the server of the process that runs the test, by the global subscriber.
fn instance() -> HoneyHive {
    let honeyhive = settings(&std::env::var("TEST_URL").unwrap())
        .build()
        .unwrap();
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    honeyhive
}

/// One whose export thread has done what it does once.
fn started() -> HoneyHive {
    let honeyhive = instance();
    work("parent", 1);
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 1);
    honeyhive
}

fn work(name: &str, count: usize) {
    for n in 0..count {
        info_span!("work", otel.name = name, n).in_scope(|| {});
    }
}

/// How many spans of this name arrived.
fn arrived(server: &Recorder, name: &str) -> usize {
    let spans = server.spans();
    spans.iter().filter(|span| span.name == name).count()
}

fn assert_ids_differ(server: &Recorder) {
    let spans = server.spans();
    let ids: HashSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
    assert_eq!(ids.len(), spans.len(), "an id is there twice");
}

/// Runs the test in a process of its own; true there.
fn is_inner(test: &str, server: &Recorder) -> bool {
    in_process_of_its_own(test, &[("TEST_URL", &server.url)]).is_none()
}

#[test]
fn a_child_sends_what_is_its_own() {
    let server = Recorder::start();
    if !is_inner("a_child_sends_what_is_its_own", &server) {
        assert_eq!(arrived(&server, "parent"), 1 + 2 * 7);
        assert_eq!(arrived(&server, "child"), 2 * (3 + 4 + 5 + 6));
        assert_eq!(server.spans().len(), 1 + 2 * (7 + 18));
        assert_ids_differ(&server);
        return;
    }
    let honeyhive = started();
    for round in 1..=2 {
        work("parent", 5);
        // The first thing it does is a span.
        assert!(in_a_child(|| {
            work("child", 3);
            let stats = honeyhive.stats();
            assert_balanced(&stats);
            assert_eq!((stats.submitted, stats.in_flight), (3, 3));
            assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 3);
            assert_all_exported(&honeyhive.stats(), 3);
        }));
        // Or a flush, or a look at the numbers.
        assert!(in_a_child(|| {
            assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 0);
            assert_eq!(honeyhive.stats(), Stats::default());
            work("child", 4);
            assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 4);
        }));
        // By another thread, in async code.
        assert!(in_a_child(|| {
            std::thread::spawn(|| work("child", 5)).join().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let flushed = runtime.unwrap().block_on(honeyhive.flush(LONG));
            assert_eq!(flushed.unwrap().sent, 5);
        }));
        assert!(in_a_child(|| {
            work("child", 6);
            assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().sent, 6);
            assert_all_exported(&honeyhive.stats(), 6);
            work("late", 1);
        }));
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!(stats.submitted, 1 + 7 * round - 2);
        work("parent", 2);
        assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 7);
    }
    assert_all_exported(&honeyhive.stats(), 15);
}

#[test]
fn before_the_first_span_and_twice() {
    let server = Recorder::start();
    if !is_inner("before_the_first_span_and_twice", &server) {
        assert_eq!(arrived(&server, "child"), 2 + 1);
        assert_eq!(arrived(&server, "grandchild"), 3);
        assert_eq!(arrived(&server, "parent"), 4);
        assert_eq!(server.spans().len(), 10);
        assert_ids_differ(&server);
        return;
    }
    let honeyhive = instance();
    assert!(in_a_child(|| {
        work("child", 2);
        assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 2);
        work("child", 1);
        assert!(in_a_child(|| {
            work("grandchild", 3);
            assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 3);
            assert_all_exported(&honeyhive.stats(), 3);
        }));
        assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 1);
        assert_all_exported(&honeyhive.stats(), 3);
    }));
    work("parent", 4);
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 4);
}

#[test]
fn spans_that_are_open_belong_to_the_parent() {
    let server = Recorder::start();
    if !is_inner("spans_that_are_open_belong_to_the_parent", &server) {
        let open = server.span("open");
        let child = server.span("child");
        assert_eq!(child.parent_span_id, open.span_id);
        assert_eq!(child.trace_id, open.trace_id);
        assert_eq!(attribute(&open, "honeyhive_metadata.unfinished"), None);
        assert_eq!(server.spans().len(), 2);
        return;
    }
    let honeyhive = instance();
    let mut open = Some(info_span!("open").entered());
    assert!(in_a_child(|| {
        work("child", 1);
        assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().sent, 1);
    }));
    assert!(in_a_child(|| {
        // The copy of a span that the parent closes as well.
        drop(open.take());
        assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().sent, 0);
        assert_eq!(honeyhive.stats(), Stats::default());
    }));
    drop(open);
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 1);
}

#[test]
fn an_owner_that_is_dropped_in_a_child_delivers_there() {
    let server = Recorder::start();
    if !is_inner(
        "an_owner_that_is_dropped_in_a_child_delivers_there",
        &server,
    ) {
        assert_eq!(arrived(&server, "child"), 3);
        assert_eq!(server.spans().len(), 1 + 3);
        return;
    }
    let honeyhive = started();
    work("parent", 5);
    let mut honeyhive = Some(honeyhive);
    assert!(in_a_child(|| {
        work("child", 3);
        drop(honeyhive.take());
    }));
    // In another one it has nothing to send, and ends at once.
    assert!(in_a_child(|| drop(honeyhive.take())));
    // The parent ends as one that loses what it has.
    std::process::exit(0);
}

#[test]
fn many_forks() {
    // A tenth of what is promised, unless there is time.
    let long = std::env::var_os("HONEYHIVE_LONG_TESTS").is_some();
    let forks = if long { 1000 } else { 100 };
    let server = Recorder::start();
    if !is_inner("many_forks", &server) {
        assert_eq!(arrived(&server, "child"), 2 * forks);
        assert_eq!(arrived(&server, "parent"), 1 + forks);
        assert_ids_differ(&server);
        println!("{forks} forks");
        return;
    }
    let honeyhive = started();
    for n in 0..forks {
        work("parent", 1);
        assert!(in_a_child(|| {
            work("child", 2);
            assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 2);
            assert_all_exported(&honeyhive.stats(), 2);
        }));
        if n % 7 == 0 {
            honeyhive.flush_blocking(LONG).unwrap();
        }
    }
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 1 + forks as u64);
}
