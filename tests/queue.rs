//! The queue between the threads that close spans and the one that sends them: bounded, exact, and never in the way.

mod support;

use std::time::{Duration, Instant};

use honeyhive::HoneyHive;
use honeyhive::report::DropReason;
use support::*;
use tracing::info_span;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);

/// Runs `work` on so many threads under one subscriber.
fn on_threads(honeyhive: &HoneyHive, threads: usize, work: impl Fn(usize) + Sync) {
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(honeyhive.layer()));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (dispatch, work) = (&dispatch, &work);
            scope.spawn(move || tracing::dispatcher::with_default(dispatch, || work(thread)));
        }
    });
}

#[test]
fn records_are_bounded_exactly() {
    let server = Recorder::start();
    server.hold();
    let honeyhive = settings(&server.url)
        .max_queue_size(1000)
        .flush_timeout(Duration::ZERO)
        .build()
        .unwrap();
    emit(&honeyhive, 5000);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (
            stats.submitted,
            stats.in_flight,
            stats.dropped.of(DropReason::QueueFull)
        ),
        (5000, 1000, 4000)
    );
    server.release();
    honeyhive.flush_blocking(LONG).unwrap();
    assert_eq!(server.spans().len(), 1000);
    // There is room again.
    emit(&honeyhive, 500);
    honeyhive.flush_blocking(LONG).unwrap();
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.exported, stats.dropped.total(), stats.queue_bytes),
        (1500, 4000, 0)
    );
}

#[test]
fn records_are_bounded_however_many_threads_there_are() {
    let server = Recorder::start();
    server.hold();
    let honeyhive = settings(&server.url)
        .max_queue_size(1000)
        .flush_timeout(Duration::ZERO)
        .build()
        .unwrap();
    on_threads(&honeyhive, 16, |_| {
        for _ in 0..500 {
            drop(info_span!("work"));
        }
    });
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (
            stats.submitted,
            stats.in_flight,
            stats.dropped.of(DropReason::QueueFull)
        ),
        (8000, 1000, 7000)
    );
    server.release();
    honeyhive.flush_blocking(LONG).unwrap();
    assert_balanced(&honeyhive.stats());
}

#[test]
fn bytes_are_bounded() {
    const MIB: u64 = 1 << 20;
    let server = Recorder::start();
    server.hold();
    let honeyhive = settings(&server.url)
        .max_queue_bytes(1 << 20)
        .flush_timeout(Duration::ZERO)
        .build()
        .unwrap();
    let text = "x".repeat(10_000);
    on_threads(&honeyhive, 16, |_| {
        for _ in 0..50 {
            drop(info_span!("work", text = text.as_str()));
        }
    });
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert!(
        stats.queue_bytes <= MIB && stats.queue_bytes > MIB - 20_000,
        "{}",
        stats.queue_bytes
    );
    // About a hundred of ten kilobytes.
    assert!((90..=104).contains(&stats.in_flight), "{stats:#?}");
    assert_eq!(
        stats.dropped.of(DropReason::QueueFull),
        800 - stats.in_flight
    );
    server.release();
    honeyhive.flush_blocking(LONG).unwrap();
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.in_flight, stats.queue_bytes), (0, 0));
}

#[test]
fn the_threads_never_wait_for_the_server() {
    let server = Recorder::start();
    server.hold();
    let honeyhive = settings(&server.url)
        .flush_timeout(Duration::ZERO)
        .build()
        .unwrap();
    let started = Instant::now();
    on_threads(&honeyhive, 8, |_| {
        for _ in 0..5_000 {
            drop(info_span!("work"));
        }
    });
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert_balanced(&honeyhive.stats());
    server.release();
}

#[test]
fn sixteen_threads_lose_nothing() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    on_threads(&honeyhive, 16, |thread| {
        for n in 0..1_000 {
            info_span!("work", thread, n).in_scope(|| {});
        }
    });
    // All of them have ended by now.
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 16_000);
    let mut seen: Vec<(u64, u64)> = Vec::new();
    for span in server.spans() {
        let number = |key: &str| attribute(&span, key).unwrap().parse().unwrap();
        seen.push((
            number("honeyhive_inputs.thread"),
            number("honeyhive_inputs.n"),
        ));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 16_000);
}

#[test]
fn flushes_while_spans_close_lose_nothing() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .max_export_batch_size(50)
        .batch_size(10)
        .build()
        .unwrap();
    on_threads(&honeyhive, 8, |thread| {
        for n in 0..400 {
            info_span!("work", n).in_scope(|| {});
            if thread == 0 && n % 20 == 0 {
                honeyhive.flush_blocking(LONG).unwrap();
            }
            assert!(thread != 1 || honeyhive.stats().submitted > 0);
        }
    });
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 3_200);
    assert_eq!(server.spans().len(), 3_200);
}

#[test]
fn a_shutdown_while_spans_close_counts_every_one() {
    for round in 0..20 {
        let server = Recorder::start();
        let honeyhive = settings(&server.url).build().unwrap();
        std::thread::scope(|scope| {
            let instance = &honeyhive;
            scope.spawn(move || {
                on_threads(instance, 4, |_| {
                    for _ in 0..300 {
                        drop(info_span!("work"));
                    }
                });
            });
            scope.spawn(move || {
                until("some spans", || instance.stats().submitted >= round * 50);
                let _ = instance.shutdown_blocking(LONG);
            });
        });
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!(stats.in_flight, 0, "{stats:#?}");
        assert_eq!(server.spans().len() as u64, stats.exported);
    }
}

#[test]
fn a_full_batch_goes_before_its_time() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).batch_size(10).build().unwrap();
    emit(&honeyhive, 9);
    emit(&honeyhive, 1);
    server.wait("the batch", |requests| {
        requests.iter().any(|request| request.path == TRACES)
    });
    until("the answer", || honeyhive.stats().in_flight == 0);
    assert_eq!(server.batches(), [10]);
    assert_all_exported(&honeyhive.stats(), 10);
}

#[test]
fn a_batch_is_full_whichever_threads_filled_it() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).batch_size(100).build().unwrap();
    // No thread has enough alone.
    on_threads(&honeyhive, 20, |_| {
        for _ in 0..30 {
            drop(info_span!("work"));
        }
    });
    server.wait("a batch", |requests| {
        requests.iter().any(|request| request.path == TRACES)
    });
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 600);
}

#[test]
fn an_update_does_not_swallow_the_wake_for_records() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .protocol(honeyhive::config::Protocol::HttpJson)
        .max_export_batch_size(1)
        .batch_size(5)
        .build()
        .unwrap();
    emit(&honeyhive, 1);
    honeyhive.flush_blocking(LONG).unwrap();
    let announced = honeyhive.stats().bytes_sent;
    server.hold();
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        // The worker encodes one large span after the other, and is told of both things meanwhile.
        let text = "\n".repeat(4 << 20);
        (0..4).for_each(|_| drop(info_span!("large", text = text.as_str())));
        until("the first one", || honeyhive.stats().bytes_sent > announced);
        honeyhive.own_session().enrich(|s| s.metadata("k", 1));
        (0..50).for_each(|_| drop(info_span!("work")));
    });
    server.release();
    // Where the worker came in between, fewer than a batch may be left, which wake nobody.
    until("the rest", || honeyhive.stats().exported > 55 - 5);
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 55);
}

#[test]
fn requests_hold_no_more_than_they_may() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .max_export_batch_size(64)
        .build()
        .unwrap();
    emit(&honeyhive, 1000);
    honeyhive.flush_blocking(LONG).unwrap();
    assert!(server.batches().iter().all(|spans| *spans <= 64));
    assert_eq!(server.batches().len(), 16);

    // By size: four megabytes, or one large event alone.
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let text = "x".repeat(3 << 20);
    on_threads(&honeyhive, 1, |_| {
        for _ in 0..4 {
            drop(info_span!("small"));
            drop(info_span!("large", text = text.as_str()));
        }
    });
    honeyhive.flush_blocking(LONG).unwrap();
    let sizes: Vec<usize> = server
        .requests_to(TRACES)
        .iter()
        .map(|request| request.body.len())
        .collect();
    assert!(
        sizes.iter().all(|size| *size < (4 << 20) + 10_000),
        "{sizes:?}"
    );
    assert_all_exported(&honeyhive.stats(), 8);
}

/// Sends spans of these sizes to a server that takes so many bytes at once.
fn send_to_a_server_that_takes(limit: usize, sizes: &[usize]) {
    let server = Recorder::start();
    server.answer_by(move |request| {
        let too_large = request.path == TRACES && request.body.len() > limit;
        too_large.then(|| Reply::status(413))
    });
    let honeyhive = settings(&server.url).build().unwrap();
    on_threads(&honeyhive, 1, |_| {
        for (n, size) in sizes.iter().enumerate() {
            drop(info_span!("work", n, text = "x".repeat(*size)));
        }
    });
    let flushed = honeyhive.flush_blocking(LONG);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.submitted, stats.in_flight), (sizes.len() as u64, 0));
    assert_eq!(flushed.is_ok(), stats.dropped.total() == 0);
    let (mut arrived, mut alone) = (Vec::new(), Vec::new());
    let requests = server.requests_to(TRACES);
    for request in &requests {
        let spans = request.traces().resource_spans.into_iter();
        let spans = spans.flat_map(|resource| resource.scope_spans);
        let spans = spans.flat_map(|scope| scope.spans);
        let numbers = spans.map(|span| attribute(&span, "honeyhive_inputs.n").unwrap());
        let numbers: Vec<usize> = numbers.map(|n| n.parse().unwrap()).collect();
        if request.body.len() <= limit {
            arrived.extend(numbers);
        } else if let [n] = numbers[..] {
            alone.push(n);
        }
    }
    // Each span either arrived once, or was refused alone.
    assert_eq!(arrived.len() as u64, stats.exported);
    assert_eq!(alone.len() as u64, stats.dropped.of(DropReason::TooLarge));
    let mut all = [arrived, alone].concat();
    all.sort_unstable();
    assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
    // A batch of n is halved n - 1 times at most.
    assert!(requests.len() < 2 * sizes.len());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn whatever_is_too_large_is_split_until_it_fits(
        limit in 4_000..40_000_usize,
        sizes in proptest::collection::vec(0..30_000_usize, 1..60),
    ) {
        send_to_a_server_that_takes(limit, &sizes);
    }
}

#[test]
fn the_timer_sends_what_waits() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .flush_interval(Duration::from_millis(50))
        .build()
        .unwrap();
    emit(&honeyhive, 3);
    until("the timer", || honeyhive.stats().exported == 3);

    // A shorter interval counts at once.
    let honeyhive = settings(&server.url).build().unwrap();
    emit(&honeyhive, 3);
    honeyhive
        .reconfigure(|settings| settings.flush_interval(Duration::from_millis(50)))
        .unwrap();
    until("the new timer", || honeyhive.stats().exported == 3);
}

#[test]
fn without_batches_every_span_goes_alone_and_at_once() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).disable_batch(true).build().unwrap();
    emit(&honeyhive, 25);
    until("the spans", || honeyhive.stats().exported == 25);
    assert_eq!(server.batches(), [1; 25]);
    assert_all_exported(&honeyhive.stats(), 25);
}

#[test]
fn without_batches_no_span_waits_for_the_server_either() {
    let server = Recorder::start();
    server.hold();
    let honeyhive = settings(&server.url)
        .disable_batch(true)
        .flush_timeout(Duration::ZERO)
        .build()
        .unwrap();
    // The server answers nothing before all of them are closed: one that waited would wait for ever.
    on_threads(&honeyhive, 2, |_| {
        (0..250).for_each(|_| drop(info_span!("work")));
    });
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.in_flight, stats.exported), (500, 0));
    // Nobody asked for it, and no timer did: it was the end of a span.
    server.wait("a request", |requests| !requests.is_empty());
    server.release();
    until("the spans", || honeyhive.stats().exported == 500);
    assert_eq!(server.batches(), [1; 500]);
    assert_all_exported(&honeyhive.stats(), 500);
}

#[test]
fn test_mode_makes_no_connection() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).test_mode(true).build().unwrap();
    emit(&honeyhive, 10);
    honeyhive.own_session().enrich(|s| s.metadata("k", 1));
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 10);
    drop(honeyhive);
    assert_eq!(server.connections(), 0);
}
