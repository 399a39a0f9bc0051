//! Flush, shutdown and drop, from wherever they are called.

mod support;

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use honeyhive::HoneyHive;
use honeyhive::report::{Degradation, FlushReport};
use support::fault::{Act, Fault};
use support::*;
use tracing::info_span;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_millis(700);

/// Settings for a server of the test. Tests of this file end instances while others make subscribers; as long as there is
/// only one of these, tracing asks the thread's own alone, so one more is kept for the life of the process.
fn settings(url: &str) -> honeyhive::Builder {
    static BESIDE: std::sync::OnceLock<tracing::Dispatch> = std::sync::OnceLock::new();
    BESIDE.get_or_init(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new()));
    support::settings(url)
}

fn instance() -> (Recorder, HoneyHive) {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    (server, honeyhive)
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
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn sent(result: Result<FlushReport, honeyhive::Error>) -> u64 {
    result.unwrap().sent
}

fn runtimes() -> Vec<tokio::runtime::Runtime> {
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let timed = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    vec![bare, timed, tokio::runtime::Runtime::new().unwrap()]
}

#[test]
fn flush_works_on_any_runtime_and_on_none() {
    let (_server, honeyhive) = instance();
    emit(&honeyhive, 1);
    assert_eq!(sent(block_on(honeyhive.flush(LONG))), 1);
    emit(&honeyhive, 2);
    assert_eq!(sent(honeyhive.flush_blocking(LONG)), 2);
    for runtime in runtimes() {
        emit(&honeyhive, 3);
        assert_eq!(sent(runtime.block_on(honeyhive.flush(LONG))), 3);
        emit(&honeyhive, 4);
        // Inside of async code, on the runtime's own thread.
        assert_eq!(
            sent(runtime.block_on(async { honeyhive.flush_blocking(LONG) })),
            4
        );
        drop(runtime);
        emit(&honeyhive, 5);
        assert_eq!(sent(honeyhive.flush_blocking(LONG)), 5);
    }
    assert_all_exported(&honeyhive.stats(), 39);
}

#[test]
fn shutdown_works_on_any_runtime_and_on_none() {
    let (_server, honeyhive) = instance();
    emit(&honeyhive, 1);
    assert_eq!(sent(block_on(honeyhive.shutdown(LONG))), 1);
    assert_all_exported(&honeyhive.stats(), 1);
    for runtime in runtimes() {
        let (_server, honeyhive) = instance();
        emit(&honeyhive, 2);
        honeyhive.flush_blocking(LONG).unwrap();
        emit(&honeyhive, 3);
        // It tells of itself, not of what was sent before.
        assert_eq!(sent(runtime.block_on(honeyhive.shutdown(LONG))), 3);
        assert_all_exported(&honeyhive.stats(), 5);

        let (server, honeyhive) = instance();
        emit(&honeyhive, 4);
        runtime.block_on(async { drop(honeyhive) });
        assert_eq!(server.spans().len(), 4);
    }
}

#[test]
fn async_deadlines_need_no_timer_of_the_runtime() {
    let server = Fault::start([], Act::Silence);
    for runtime in runtimes() {
        let honeyhive = settings(&server.url).build().unwrap();
        emit(&honeyhive, 2);
        let started = Instant::now();
        let error = runtime.block_on(honeyhive.flush(SHORT)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(started.elapsed() < SHORT + SLACK, "{:?}", started.elapsed());
        let started = Instant::now();
        let error = runtime.block_on(honeyhive.shutdown(SHORT)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(started.elapsed() < SHORT + SLACK, "{:?}", started.elapsed());
        assert_balanced(&honeyhive.stats());
    }
}

#[test]
fn a_flush_that_is_dropped_gives_up_the_wait_and_not_the_delivery() {
    let (server, honeyhive) = instance();
    server.hold();
    emit(&honeyhive, 3);
    let mut flush = Box::pin(honeyhive.flush(LONG));
    let waker = Waker::noop();
    assert!(
        flush
            .as_mut()
            .poll(&mut Context::from_waker(waker))
            .is_pending()
    );
    drop(flush);
    // One that is never polled asked for nothing.
    drop(honeyhive.flush(LONG));
    server.release();
    until("the delivery", || {
        let stats = honeyhive.stats();
        stats.exported == 3 && stats.in_flight == 0
    });
    assert_all_exported(&honeyhive.stats(), 3);
}

#[test]
fn sixteen_at_once() {
    let (server, honeyhive) = instance();
    emit(&honeyhive, 100);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| honeyhive.flush_blocking(LONG).unwrap());
        }
    });
    assert_all_exported(&honeyhive.stats(), 100);
    emit(&honeyhive, 100);
    std::thread::scope(|scope| {
        for n in 0..16 {
            let honeyhive = &honeyhive;
            scope.spawn(move || {
                if n % 2 == 0 {
                    honeyhive.shutdown_blocking(LONG).unwrap();
                } else {
                    let _ = honeyhive.flush_blocking(LONG);
                }
            });
        }
    });
    assert_all_exported(&honeyhive.stats(), 200);
    assert_eq!(server.spans().len(), 200);
}

#[test]
fn after_a_shutdown_everything_is_a_quiet_nothing() {
    let (server, honeyhive) = instance();
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(honeyhive.layer()));
    tracing::dispatcher::with_default(&dispatch, || drop(info_span!("before")));
    assert_eq!(sent(honeyhive.shutdown_blocking(LONG)), 1);
    let before = honeyhive.stats();
    for _ in 0..2 {
        assert_eq!(sent(honeyhive.shutdown_blocking(LONG)), 0);
        assert_eq!(sent(honeyhive.flush_blocking(LONG)), 0);
        assert_eq!(sent(block_on(honeyhive.flush(LONG))), 0);
        assert_eq!(sent(block_on(honeyhive.shutdown(LONG))), 0);
    }
    tracing::dispatcher::with_default(&dispatch, || {
        let span = info_span!("after");
        let _entered = span.enter();
        honeyhive::enrich(|e| e.metadata("k", 1));
    });
    honeyhive
        .reconfigure(|settings| settings.source("prod"))
        .unwrap();
    tracing::dispatcher::with_default(&dispatch, || drop(info_span!("after")));
    assert_eq!(honeyhive.stats(), before);
    assert!(honeyhive.status().degraded.contains(&Degradation::ShutDown));
    drop(honeyhive);
    assert_eq!(server.spans().len(), 1);
}

#[test]
fn shutdown_sends_open_spans_as_unfinished() {
    let (server, honeyhive) = instance();
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(honeyhive.layer()));
    let open = tracing::dispatcher::with_default(&dispatch, || info_span!("open"));
    assert_eq!(sent(honeyhive.shutdown_blocking(LONG)), 1);
    tracing::dispatcher::with_default(&dispatch, || drop(open));
    assert_eq!(server.spans().len(), 1);
    assert_all_exported(&honeyhive.stats(), 1);
}

#[test]
fn an_unused_instance_does_nothing() {
    let (server, honeyhive) = instance();
    assert_eq!(sent(honeyhive.flush_blocking(LONG)), 0);
    assert_eq!(sent(honeyhive.shutdown_blocking(LONG)), 0);
    drop(honeyhive);
    let (other, honeyhive) = instance();
    let started = Instant::now();
    drop(honeyhive);
    assert!(started.elapsed() < SLACK);
    assert_eq!((server.connections(), other.connections()), (0, 0));
}

#[test]
fn flush_reaches_every_instance() {
    let instances: Vec<_> = std::iter::repeat_with(instance).take(3).collect();
    for (_, honeyhive) in &instances {
        // Noted once, however often it is reconfigured.
        honeyhive
            .reconfigure(|settings| settings.source("prod"))
            .unwrap();
        emit(honeyhive, 2);
    }
    // Other tests of this file may run beside this one, against servers that do not answer.
    let _ = block_on(honeyhive::flush(Duration::from_secs(5)));
    for (server, honeyhive) in &instances {
        assert_eq!(server.spans().len(), 2);
        assert_all_exported(&honeyhive.stats(), 2);
    }
}

#[test]
fn what_closes_after_the_owner_is_gone_is_sent_by_timer() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .flush_interval(Duration::from_millis(50))
        .build()
        .unwrap();
    let warnings = Arc::new(std::sync::Mutex::new(Vec::<u8>::new()));
    let writer = Arc::clone(&warnings);
    let fmt = tracing_subscriber::fmt::layer()
        .with_writer(move || Writer(Arc::clone(&writer)))
        .with_ansi(false);
    let dispatch = tracing::Dispatch::new(
        tracing_subscriber::registry()
            .with(fmt)
            .with(honeyhive.layer()),
    );
    tracing::dispatcher::with_default(&dispatch, || drop(info_span!("before")));
    drop(honeyhive);
    assert_eq!(server.spans().len(), 1);
    for _ in 0..3 {
        tracing::dispatcher::with_default(&dispatch, || drop(info_span!("after")));
    }
    until("the spans", || server.spans().len() == 4);
    let text = String::from_utf8(warnings.lock().unwrap().clone()).unwrap();
    assert_eq!(
        text.matches("after its HoneyHive was dropped").count(),
        1,
        "{text}"
    );
}

struct Writer(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn timeouts_of_any_size_are_taken() {
    let (_server, honeyhive) = instance();
    emit(&honeyhive, 1);
    assert_eq!(sent(block_on(honeyhive.flush(Duration::MAX))), 1);
    emit(&honeyhive, 1);
    let error = honeyhive.flush_blocking(Duration::ZERO);
    assert!(error.is_ok() || error.is_err_and(|error| error.is_timeout()));
    assert_eq!(
        honeyhive.shutdown_blocking(Duration::MAX).unwrap().failed,
        0
    );
    assert_all_exported(&honeyhive.stats(), 2);
}
