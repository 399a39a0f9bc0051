//! Deadlines hold whatever the export thread is busy with, and an end that is asked for twice is one end.

mod support;

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use honeyhive::config::Redact;
use honeyhive::report::{Degradation, FlushReport};
use honeyhive::{Error, HoneyHive, registry};
use support::fault::{Act, Fault};
use support::*;
use tracing::info_span;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(250);
/// What is promised beyond a timeout.
const LATE: Duration = Duration::from_millis(100);
/// What a busy machine may add to it, now and then.
const SLACK: Duration = Duration::from_secs(3);

/// Settings for a server of the test. Tests of this file end instances while others make subscribers; as long as there is
/// only one of these, tracing asks the thread's own alone, so one more is kept for the life of the process.
fn settings(url: &str) -> honeyhive::Builder {
    static BESIDE: std::sync::OnceLock<tracing::Dispatch> = std::sync::OnceLock::new();
    BESIDE.get_or_init(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new()));
    support::settings(url)
}

/// A redaction function that stalls until it is let go.
#[derive(Clone, Default)]
struct Stall(Arc<(Mutex<bool>, Condvar, AtomicUsize)>);

impl Stall {
    fn redact(&self) -> Redact {
        let stall = self.clone();
        Redact::default().with(move |path, _| {
            if path.contains("stall") {
                let (free, changed, entered) = &*stall.0;
                entered.fetch_add(1, Ordering::SeqCst);
                let mut free = free.lock().unwrap();
                while !*free {
                    free = changed.wait(free).unwrap();
                }
            }
            None
        })
    }

    fn let_go(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait_until_entered(&self) {
        until("the function to be called", || {
            self.0.2.load(Ordering::SeqCst) > 0
        });
    }
}

/// However a test ends, no thread stays behind.
impl Drop for Stall {
    fn drop(&mut self) {
        if Arc::strong_count(&self.0) == 2 {
            self.let_go();
        }
    }
}

/// An instance whose export thread is caught in a redaction function.
fn stalled() -> (Recorder, HoneyHive, Stall) {
    let stall = Stall::default();
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .redact(stall.redact())
        .flush_timeout(SHORT)
        .build()
        .unwrap();
    run(&honeyhive, || drop(info_span!("work", stall = "here")));
    // The first flush wakes the worker, which then stalls.
    let asked = honeyhive.flush_blocking(Duration::from_millis(1));
    assert!(asked.unwrap_err().is_timeout());
    stall.wait_until_entered();
    (server, honeyhive, stall)
}

fn run<R>(honeyhive: &HoneyHive, f: impl FnOnce() -> R) -> R {
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, f)
}

/// Polls a future by hand, with no runtime in sight.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Runs something until it took no longer than promised; on a busy machine the first tries may be a little late.
#[track_caller]
fn promptly(what: &str, timeout: Duration, mut f: impl FnMut() -> Duration) {
    let mut taken = Vec::new();
    for _ in 0..4 {
        let elapsed = f();
        assert!(elapsed < timeout + SLACK, "{what}: {elapsed:?}");
        taken.push(elapsed);
        if elapsed <= timeout + LATE {
            println!("{what}: {elapsed:?} of {timeout:?}");
            return;
        }
    }
    panic!("{what}: {taken:?} of {timeout:?}");
}

fn timed<R>(f: impl FnOnce() -> R) -> (Duration, R) {
    let started = Instant::now();
    let result = f();
    (started.elapsed(), result)
}

#[track_caller]
fn assert_out_of_time(result: Result<FlushReport, Error>, left: u64) {
    let error = result.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let report = error.flush_report().expect("a report");
    assert_eq!((report.sent, report.left), (0, left), "{error}");
}

fn runtimes() -> Vec<(&'static str, tokio::runtime::Runtime)> {
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let many = tokio::runtime::Runtime::new().unwrap();
    vec![("current_thread", bare), ("multi_thread", many)]
}

#[test]
fn a_stalled_function_delays_no_flush() {
    let (_server, honeyhive, stall) = stalled();
    promptly("flush_blocking", SHORT, || {
        let (elapsed, result) = timed(|| honeyhive.flush_blocking(SHORT));
        assert_out_of_time(result, 1);
        elapsed
    });
    promptly("flush without a runtime", SHORT, || {
        let (elapsed, result) = timed(|| block_on(honeyhive.flush(SHORT)));
        assert_out_of_time(result, 1);
        elapsed
    });
    for (name, runtime) in runtimes() {
        promptly(name, SHORT, || {
            let (elapsed, result) = timed(|| runtime.block_on(honeyhive.flush(SHORT)));
            assert_out_of_time(result, 1);
            elapsed
        });
        promptly(&format!("blocking in {name}"), SHORT, || {
            let (elapsed, result) =
                timed(|| runtime.block_on(async { honeyhive.flush_blocking(SHORT) }));
            assert_out_of_time(result, 1);
            elapsed
        });
    }
    promptly("by a handle", SHORT, || {
        let (elapsed, result) = timed(|| honeyhive.instance().flush_blocking(SHORT));
        assert_out_of_time(result, 1);
        elapsed
    });
    promptly("all of them", SHORT, || {
        timed(|| block_on(honeyhive::flush(SHORT)).unwrap_err()).0
    });
    promptly("all of them, blocking", SHORT, || {
        timed(|| honeyhive::flush_blocking(SHORT).unwrap_err()).0
    });
    // What does not wait does not wait.
    promptly("everything else", Duration::ZERO, || {
        timed(|| {
            run(&honeyhive, || drop(info_span!("more")));
            honeyhive
                .reconfigure(|settings| settings.source("prod"))
                .unwrap();
            honeyhive.own_session().enrich(|s| s.metadata("k", 1));
            assert_balanced(&honeyhive.stats());
            let _ = honeyhive.status();
        })
        .0
    });
    stall.let_go();
    honeyhive.flush_blocking(LONG).unwrap();
    let stats = honeyhive.stats();
    assert_all_exported(&stats, stats.submitted);
}

#[test]
fn a_stalled_function_delays_no_end() {
    type End = fn(HoneyHive) -> (Duration, HoneyHive);
    let blocking: End = |honeyhive| {
        let (elapsed, result) = timed(|| honeyhive.shutdown_blocking(SHORT));
        assert_out_of_time(result, 1);
        (elapsed, honeyhive)
    };
    let no_runtime: End = |honeyhive| {
        let (elapsed, result) = timed(|| block_on(honeyhive.shutdown(SHORT)));
        assert_out_of_time(result, 1);
        (elapsed, honeyhive)
    };
    let current_thread: End = |honeyhive| {
        let (_, runtime) = runtimes().remove(0);
        let (elapsed, result) = timed(|| runtime.block_on(honeyhive.shutdown(SHORT)));
        assert_out_of_time(result, 1);
        (elapsed, honeyhive)
    };
    for (name, end) in [
        ("shutdown_blocking", blocking),
        ("shutdown without a runtime", no_runtime),
        ("shutdown in current_thread", current_thread),
    ] {
        promptly(name, SHORT, || {
            let (server, honeyhive, stall) = stalled();
            let (elapsed, honeyhive) = end(honeyhive);
            stall.let_go();
            until("the account", || honeyhive.stats().in_flight == 0);
            assert_balanced(&honeyhive.stats());
            drop(server);
            elapsed
        });
    }
    promptly("drop", SHORT, || {
        let (_server, honeyhive, stall) = stalled();
        let (elapsed, ()) = timed(|| drop(honeyhive));
        stall.let_go();
        elapsed
    });
    promptly("drop in async code", SHORT, || {
        let (_server, honeyhive, stall) = stalled();
        let (_, runtime) = runtimes().remove(0);
        let (elapsed, ()) = timed(|| runtime.block_on(async move { drop(honeyhive) }));
        stall.let_go();
        elapsed
    });
}

#[test]
fn a_stalled_function_delays_no_end_of_all() {
    if in_process_of_its_own("a_stalled_function_delays_no_end_of_all", &[]).is_some() {
        return;
    }
    let (_server, one, stall) = stalled();
    let server = Recorder::start();
    let other = settings(&server.url).build().unwrap();
    emit(&other, 3);
    let enough = Duration::from_secs(3);
    let (elapsed, result) = timed(|| registry::shutdown_all_blocking(enough));
    assert!(result.unwrap_err().is_timeout());
    assert!(elapsed < enough + SLACK, "{elapsed:?}");
    // The others end in the meantime.
    assert_all_exported(&other.stats(), 3);
    assert_eq!(server.spans().len(), 3);
    stall.let_go();
    until("the account", || one.stats().in_flight == 0);
    assert_balanced(&one.stats());
}

#[test]
fn all_of_them_wait_at_once() {
    if in_process_of_its_own("all_of_them_wait_at_once", &[]).is_some() {
        return;
    }
    let server = Fault::start([], Act::Silence);
    let build = || settings(&server.url).build().unwrap();
    let all: Vec<_> = std::iter::repeat_with(build).take(8).collect();
    all.iter().for_each(|honeyhive| emit(honeyhive, 2));
    let most = SHORT + SLACK;
    let (elapsed, result) = timed(|| block_on(honeyhive::flush(SHORT)));
    assert!(result.unwrap_err().is_timeout());
    assert!(elapsed < most, "flush: {elapsed:?}");
    let (elapsed, result) = timed(|| honeyhive::flush_blocking(SHORT));
    assert!(result.unwrap_err().is_timeout());
    assert!(elapsed < most, "flush_blocking: {elapsed:?}");
    let (elapsed, result) = timed(|| block_on(registry::shutdown_all(SHORT)));
    assert!(result.unwrap_err().is_timeout());
    assert!(elapsed < most, "shutdown_all: {elapsed:?}");
    for honeyhive in &all {
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!((stats.dropped.total(), stats.in_flight), (2, 0));
    }
    assert!(registry::shutdown_all_blocking(SHORT).is_ok());
}

#[test]
fn a_function_that_panics_delays_nobody() {
    let server = Recorder::start();
    let redact = Redact::default().with(|path, _| {
        if path.contains("panics") {
            std::panic::resume_unwind(Box::new("in a redaction function"));
        }
        None
    });
    let honeyhive = settings(&server.url).redact(redact).build().unwrap();
    run(&honeyhive, || drop(info_span!("work", panics = "here")));
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 1);
    run(&honeyhive, || drop(info_span!("work", panics = "here")));
    assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().sent, 1);
    let stats = honeyhive.stats();
    assert_all_exported(&stats, 2);
    assert_eq!(stats.redact_failed, 2);
}

#[test]
fn a_second_shutdown_waits_for_the_first_and_gives_its_report() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    server.hold();
    emit(&honeyhive, 7);
    let mut first = pin!(honeyhive.shutdown(LONG));
    let mut second = pin!(honeyhive.shutdown(LONG));
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut nobody).is_pending());
    assert!(second.as_mut().poll(&mut nobody).is_pending());
    // One that has less time waits no longer than that.
    promptly("a third", SHORT, || {
        let (elapsed, result) = timed(|| honeyhive.shutdown_blocking(SHORT));
        assert!(result.unwrap_err().is_timeout());
        elapsed
    });
    assert!(second.as_mut().poll(&mut nobody).is_pending());
    server.release();
    let reports = [block_on(second).unwrap(), block_on(first).unwrap()];
    for report in reports {
        assert_eq!((report.sent, report.failed, report.left), (7, 0, 0));
    }
    // Now there is nothing left to end.
    assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().sent, 0);
    assert_all_exported(&honeyhive.stats(), 7);
}

#[test]
fn a_second_shutdown_hears_of_failure_too() {
    let server = Fault::start([], Act::Silence);
    let honeyhive = settings(&server.url).build().unwrap();
    emit(&honeyhive, 2);
    let mut first = pin!(honeyhive.shutdown(SHORT));
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut nobody).is_pending());
    let second = honeyhive.shutdown_blocking(LONG).unwrap_err();
    let first = block_on(first).unwrap_err();
    for error in [&first, &second] {
        assert!(error.is_timeout(), "{error}");
        // On a busy machine what was left may have been counted as lost by the time one is told.
        let report = error.flush_report().unwrap();
        assert_eq!((report.sent, report.left + report.failed), (0, 2));
    }
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.dropped.total(), stats.in_flight), (2, 0));
}

#[test]
fn a_shutdown_nobody_waits_for_goes_on() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    server.hold();
    emit(&honeyhive, 2);
    {
        let mut shutdown = pin!(honeyhive.shutdown(LONG));
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(shutdown.as_mut().poll(&mut nobody).is_pending());
    }
    server.release();
    until("the delivery", || honeyhive.stats().exported == 2);
    assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().failed, 0);
    assert_all_exported(&honeyhive.stats(), 2);
}

#[test]
fn dropping_it_waits_for_a_shutdown_that_nobody_waits_for() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    // The session is announced before its events: these come some time after the end began.
    server.answer_by(|_| {
        std::thread::sleep(Duration::from_millis(200));
        None
    });
    emit(&honeyhive, 2);
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(
        pin!(honeyhive.shutdown(LONG))
            .poll(&mut nobody)
            .is_pending()
    );
    drop(honeyhive);
    assert_eq!(server.spans().len(), 2);
}

/// Tries something that has 100 ms, which a busy machine may sleep through, until it works.
#[track_caller]
fn within_reach(what: &str, attempt: impl FnMut() -> bool) {
    let worked = std::iter::repeat_with(attempt).take(20).any(|works| works);
    assert!(worked, "{what}: in none of twenty attempts");
}

/// Whether a span was sent as one that never closed.
fn is_unfinished(server: &Recorder, name: &str) -> bool {
    attribute(&server.span(name), "honeyhive_metadata.unfinished").is_some()
}

#[test]
fn what_closes_while_it_ends_is_sent_or_counted() {
    for _ in 0..20 {
        let server = Recorder::start();
        let honeyhive = settings(&server.url).build().unwrap();
        let registry = tracing_subscriber::registry().with(honeyhive.layer());
        let dispatch = tracing::Dispatch::new(registry);
        let open = |count| {
            let span = || tracing::dispatcher::with_default(&dispatch, || info_span!("work"));
            std::iter::repeat_with(span).take(count).collect::<Vec<_>>()
        };
        let spans: Vec<_> = std::iter::repeat_with(|| open(50)).take(4).collect();
        let report = std::thread::scope(|scope| {
            for spans in spans {
                scope.spawn(move || spans.into_iter().for_each(drop));
            }
            honeyhive.shutdown_blocking(LONG).unwrap()
        });
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!((stats.submitted, stats.in_flight), (200, 0));
        assert_eq!(report.sent, stats.exported);
        assert_eq!(server.spans().len() as u64, stats.exported);
    }
}

#[test]
fn open_spans_of_other_tasks_may_close_meanwhile() {
    within_reach("a span of a task", || {
        let server = Recorder::start();
        let honeyhive = settings(&server.url).build().unwrap();
        let span = run(&honeyhive, || info_span!("of a task"));
        let (_, runtime) = runtimes().remove(0);
        runtime.block_on(async {
            let task = tokio::spawn(async move {
                tokio::task::yield_now().await;
                drop(span);
            });
            assert_eq!(honeyhive.shutdown(LONG).await.unwrap().sent, 1);
            task.await.unwrap();
        });
        !is_unfinished(&server, "of a task")
    });
}

#[test]
fn open_spans_have_a_moment_to_close() {
    within_reach("a span of a thread", || {
        let server = Recorder::start();
        let honeyhive = settings(&server.url).build().unwrap();
        let closes = run(&honeyhive, || info_span!("closes"));
        let stays = run(&honeyhive, || info_span!("stays"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // It closes once the end has begun.
                while !honeyhive.status().degraded.contains(&Degradation::ShutDown) {
                    std::thread::yield_now();
                }
                drop(closes);
            });
            let report = honeyhive.shutdown_blocking(LONG).unwrap();
            assert_eq!(report.sent, 2);
        });
        drop(stays);
        assert_all_exported(&honeyhive.stats(), 2);
        assert!(is_unfinished(&server, "stays"));
        !is_unfinished(&server, "closes")
    });
}

#[test]
fn an_end_on_another_thread_leaves_what_others_record() {
    let name = "an_end_on_another_thread_leaves_what_others_record";
    if in_process_of_its_own(name, &[]).is_some() {
        return;
    }
    let server = Recorder::start();
    let build = || support::settings(&server.url).build().unwrap();
    let (stays, ends, changes) = (build(), build(), build());
    // The one subscriber of the process is this thread's alone.
    let registry = tracing_subscriber::registry();
    let subscriber = registry.with(stays.layer()).with(ends.layer());
    let spans = || (0..10).for_each(|n| drop(info_span!("work", n)));
    tracing::subscriber::with_default(subscriber, || {
        spans();
        std::thread::scope(|scope| {
            scope.spawn(|| ends.shutdown_blocking(LONG).unwrap());
            scope.spawn(|| changes.reconfigure(|s| s.source("prod")).unwrap());
        });
        spans();
    });
    assert_eq!(ends.stats().submitted, 10);
    assert_eq!(stays.stats().submitted, 20);
}

/// Ends an instance when its thread ends.
struct AtTheEnd(Option<HoneyHive>, fn(HoneyHive));

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        if let Some(honeyhive) = self.0.take() {
            (self.1)(honeyhive);
        }
    }
}

thread_local! {
    static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
}

#[test]
fn thread_local_destructors_may_end_it() {
    let ends: [fn(HoneyHive); 5] = [
        drop,
        |honeyhive| assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 3),
        |honeyhive| assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().sent, 3),
        |honeyhive| assert_eq!(block_on(honeyhive.shutdown(LONG)).unwrap().sent, 3),
        |honeyhive| {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let flushed = runtime.unwrap().block_on(honeyhive.flush(LONG));
            assert_eq!(flushed.unwrap().sent, 3);
        },
    ];
    for end in ends {
        for late_spans in [false, true] {
            let server = Recorder::start();
            let honeyhive = settings(&server.url).build().unwrap();
            let thread = std::thread::spawn(move || {
                // Thread-locals are destroyed in the reverse order of their first use, or not in any: both are tried.
                if late_spans {
                    LAST.with_borrow(|last| assert!(last.is_none()));
                }
                emit(&honeyhive, 3);
                LAST.set(Some(AtTheEnd(Some(honeyhive), end)));
            });
            thread.join().unwrap();
            assert_eq!(server.spans().len(), 3);
        }
    }
}

#[test]
fn dropping_it_while_unwinding_or_in_async_code_delivers() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let unwound = std::thread::spawn(move || {
        emit(&honeyhive, 2);
        let _owner = honeyhive;
        std::panic::resume_unwind(Box::new("with an owner on the stack"));
    });
    assert!(unwound.join().is_err());
    assert_eq!(server.spans().len(), 2);
    for (_, runtime) in runtimes() {
        let server = Recorder::start();
        let honeyhive = settings(&server.url).build().unwrap();
        emit(&honeyhive, 2);
        // A task that is dropped together with its runtime.
        let task = async move {
            let _owner = honeyhive;
            std::future::pending::<()>().await;
        };
        runtime.spawn(task);
        runtime.block_on(tokio::task::yield_now());
        drop(runtime);
        assert_eq!(server.spans().len(), 2);
    }
}
