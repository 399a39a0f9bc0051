//! The hand-over of records under a scheduler that tries the ways in which threads may meet:
//! `RUSTFLAGS="--cfg shuttle" cargo test --lib shuttle`. A wait that nothing ends is a deadlock, and fails.
//!
//! Queue, waiting and the handle are the real ones. In the place of the export thread stands one that needs no network
//! and no runtime; it takes commands and records, and ends, as that one does.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use shuttle::sync::{Condvar, Mutex};
use shuttle::{check_pct, check_random, thread};

use super::*;
use crate::environment::Environment;
use crate::event::Head;
use queue::{Chunk, Counts};

/// So many schedules at random, and as many that favour few, badly placed switches.
const SCHEDULES: usize = 800;

fn check(model: impl Fn() + Send + Sync + Clone + 'static) {
    head();
    check_random(model.clone(), SCHEDULES);
    check_pct(model, SCHEDULES, 3);
}

/// Time does not pass here.
fn never() -> Instant {
    Instant::now() + HOUR
}

const HOUR: Duration = Duration::from_secs(3600);

/// Made outside the models: the subscriber that it takes is none of them.
fn head() -> Head {
    static META: OnceLock<&'static tracing::Metadata<'static>> = OnceLock::new();
    let meta = META.get_or_init(|| {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            tracing::info_span!("work").metadata().unwrap()
        })
    });
    Head::closed(meta)
}

fn record() -> SpanRecord {
    SpanRecord::new(head())
}

/// Bounds under which a thread keeps records to itself for a while.
const WIDE: Bounds = Bounds {
    records: 100_000,
    bytes: 1 << 30,
    wake_records: 512,
};
/// Bounds that are met soon.
const NARROW: Bounds = Bounds {
    records: 3,
    bytes: 1 << 20,
    wake_records: 1,
};

fn held(chunks: &[Chunk]) -> (usize, usize) {
    let closed = chunks.iter().flat_map(|chunk| &chunk.heads);
    closed.fold((0, 0), |(records, bytes), closed| {
        (records + 1, bytes + closed.cost())
    })
}

/// Takes what waits and lets go of it; how many records that were.
fn take(queue: &Queue) -> usize {
    let mut chunks: Vec<Chunk> = Vec::new();
    queue.drain(&mut Vec::new(), &mut chunks);
    let (records, bytes) = held(&chunks);
    queue.release(records, bytes);
    records
}

fn pushers(queue: &Arc<Queue>, each: usize) -> Vec<thread::JoinHandle<usize>> {
    let push = |queue: Arc<Queue>| {
        thread::spawn(move || {
            let pushed = (0..each).filter(|_| queue.push(&record()) != Pushed::Full);
            pushed.count()
        })
    };
    (0..2).map(|_| push(Arc::clone(queue))).collect()
}

fn join<T>(threads: Vec<thread::JoinHandle<T>>) -> Vec<T> {
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect()
}

#[test]
fn records_that_meet_a_drain_are_taken_once() {
    for bounds in [WIDE, NARROW] {
        check(move || {
            let queue = Arc::new(Queue::new(1, bounds));
            let threads = pushers(&queue, 3);
            let mut taken = take(&queue);
            taken += take(&queue);
            let pushed: usize = join(threads).iter().sum();
            taken += take(&queue);
            assert_eq!(taken, pushed);
            let counts = queue.counts();
            assert_eq!((counts.submitted, counts.refused), (6, 6 - pushed as u64));
            assert_eq!(queue.usage(), (0, 0));
            assert!(bounds.records > 6 || pushed >= 3);
        });
    }
}

#[test]
fn records_never_exceed_the_bounds() {
    check(|| {
        let queue = Arc::new(Queue::new(1, NARROW));
        let threads = pushers(&queue, 3);
        let (records, _) = queue.usage();
        assert!(records <= NARROW.records, "{records}");
        let pushed: usize = join(threads).iter().sum();
        assert_eq!((pushed, queue.usage().0), (3, 3));
        assert_eq!(
            queue.counts(),
            Counts {
                submitted: 6,
                refused: 3,
                sampled_out: 0
            }
        );
    });
}

#[test]
fn records_that_meet_the_end_are_told_once() {
    for bounds in [WIDE, NARROW] {
        check(move || {
            let queue = Arc::new(Queue::new(1, bounds));
            let late = |queue: Arc<Queue>| {
                thread::spawn(move || {
                    let (mut pushed, mut told) = (0, 0);
                    for _ in 0..2 {
                        pushed += usize::from(queue.push(&record()) != Pushed::Full);
                        // As whoever sees that nobody works there any more.
                        told += queue.forfeit();
                    }
                    (pushed, told)
                })
            };
            let threads = (0..2).map(|_| late(Arc::clone(&queue))).collect();
            let mut told = queue.forfeit();
            let mut pushed = 0;
            for (more_pushed, more_told) in join(threads) {
                pushed += more_pushed;
                told += more_told;
            }
            told += queue.forfeit();
            assert_eq!(told, pushed);
            assert_eq!(queue.usage(), (0, 0));
        });
    }
}

#[test]
fn no_wake_is_lost() {
    check(|| {
        let queue = Arc::new(Queue::new(
            1,
            Bounds {
                records: 100,
                ..NARROW
            },
        ));
        let wake = Arc::new((Mutex::new(false), Condvar::new()));
        let push = |queue: Arc<Queue>, wake: Arc<(Mutex<bool>, Condvar)>| {
            thread::spawn(move || {
                for _ in 0..2 {
                    if queue.push(&record()) == Pushed::Wake {
                        *wake.0.lock().unwrap() = true;
                        wake.1.notify_one();
                    }
                }
            })
        };
        let threads = (0..2)
            .map(|_| push(Arc::clone(&queue), Arc::clone(&wake)))
            .collect();
        // Every record asks to be fetched, so nothing but wakes is waited for.
        let mut taken = 0;
        while taken < 4 {
            let mut woken = wake.0.lock().unwrap();
            while !*woken {
                woken = wake.1.wait(woken).unwrap();
            }
            *woken = false;
            drop(woken);
            if queue.is_woken() {
                taken += take(&queue);
            }
        }
        join(threads);
        assert_eq!(queue.usage(), (0, 0));
    });
}

#[test]
fn the_first_result_is_heard_once() {
    check(|| {
        let pending = Pending::new();
        let settle = |n: u8| {
            let pending = Arc::clone(&pending);
            thread::spawn(move || pending.settle(n))
        };
        let threads = vec![settle(1), settle(2)];
        let result = pending.wait(never());
        assert!(matches!(result, Some(1 | 2)), "{result:?}");
        join(threads);
        assert!(pending.is_settled());
        assert_eq!(pending.wait(Instant::now()), None);
    });
}

#[test]
fn a_wait_that_is_over_takes_no_result_any_more() {
    check(|| {
        let pending = Pending::new();
        let other = Arc::clone(&pending);
        let thread = thread::spawn(move || other.settle(1));
        let first = pending.wait(Instant::now());
        thread.join().unwrap();
        let second = pending.wait(Instant::now());
        assert!(first.is_none() || second.is_none(), "{first:?} {second:?}");
        // Nothing is said to those who gave up.
        assert!(first.is_some() || second.is_none());
    });
}

#[test]
fn waiting_in_a_future_ends_with_the_result_or_when_it_is_dropped() {
    check(|| {
        let pending = Pending::new();
        let other = Arc::clone(&pending);
        let thread = thread::spawn(move || other.settle(1));
        assert_eq!(
            shuttle::future::block_on(pending.wait_async(never())),
            Some(1)
        );
        thread.join().unwrap();

        // Dropped in the middle: the watch of its deadline must end too, or this would never be over.
        let pending = Pending::new();
        let other = Arc::clone(&pending);
        let thread = thread::spawn(move || other.settle(2));
        let mut future = Box::pin(pending.wait_async(never()));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = future.as_mut().poll(&mut cx);
        drop(future);
        thread.join().unwrap();
        assert!(pending.is_settled());
    });
}

/// An instance of this number has no export thread: it cannot be started.
const BROKEN: u64 = 13;

/// The real one, which is not used here.
const _: fn(Arc<Shared>) -> std::io::Result<()> = worker::spawn;

/// In the place of the export thread: whatever comes is delivered at once.
pub(super) fn spawn(shared: Arc<Shared>) -> std::io::Result<()> {
    if shared.instance == BROKEN {
        return Err(std::io::Error::other("no threads"));
    }
    thread::spawn(move || {
        let mut stops = None;
        while stops.is_none() {
            let commands = std::mem::take(&mut *lock(&shared.inbox));
            let mut flushes = Vec::new();
            for command in commands {
                match command {
                    Command::Flush(pending) => flushes.push(pending),
                    Command::Stop(_, _, pending) => {
                        stops.get_or_insert_with(Vec::new).extend(pending);
                    }
                    Command::Update(update) => {
                        shared.updates.release(update.bytes);
                        shared.counters.updates_sent.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
            let taken = take(&shared.queue) as u64;
            shared.counters.exported.fetch_add(taken, Ordering::Relaxed);
            for pending in flushes {
                pending.settle(Ok(FlushReport::default()));
            }
            thread::yield_now();
        }
        shared.worker.store(ENDED, Ordering::Release);
        shared.abandon(DropReason::Shutdown);
        for pending in stops.into_iter().flatten() {
            pending.settle(Ok(FlushReport::default()));
        }
    });
    Ok(())
}

fn exporter(instance: u64) -> Arc<Exporter> {
    let config = Config {
        test_mode: true,
        ..Config::default()
    };
    let strategy = Environment::Standard.strategy();
    Arc::new(Exporter::new(
        instance,
        Arc::new(Live::new(config)),
        strategy,
        SessionId::random(),
    ))
}

fn on_a_thread<T: Send + 'static>(
    exporter: &Arc<Exporter>,
    work: impl FnOnce(&Arc<Exporter>) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let exporter = Arc::clone(exporter);
    thread::spawn(move || work(&exporter))
}

fn assert_over(stats: &Stats) {
    let known = stats.exported + stats.rejected + stats.dropped.total();
    assert_eq!(stats.submitted, known, "{stats:?}");
    assert_eq!((stats.in_flight, stats.queue_bytes), (0, 0), "{stats:?}");
}

#[test]
fn records_that_meet_a_shutdown_are_counted_once() {
    check(|| {
        let exporter = exporter(1);
        let submit = |exporter: &Arc<Exporter>| (0..2).for_each(|_| exporter.submit(&record()));
        let threads = vec![
            on_a_thread(&exporter, submit),
            on_a_thread(&exporter, submit),
        ];
        exporter.end(HOUR, (0, 0)).unwrap();
        join(threads);
        assert_over(&exporter.stats());
    });
}

#[test]
fn a_flush_that_meets_a_shutdown_is_answered() {
    check(|| {
        let exporter = exporter(1);
        exporter.submit(&record());
        let threads = vec![
            on_a_thread(&exporter, |exporter| {
                exporter.submit(&record());
                exporter.begin_flush(HOUR).wait_blocking().unwrap();
            }),
            on_a_thread(&exporter, |exporter| {
                exporter.end(HOUR, (0, 0)).unwrap();
            }),
        ];
        exporter.end(HOUR, (0, 0)).unwrap();
        join(threads);
        assert_over(&exporter.stats());
    });
}

#[test]
fn what_was_submitted_before_a_flush_is_out_after_it() {
    check(|| {
        let exporter = exporter(1);
        let other = on_a_thread(&exporter, |exporter| exporter.submit(&record()));
        exporter.submit(&record());
        exporter.begin_flush(HOUR).wait_blocking().unwrap();
        assert!(exporter.stats().exported >= 1);
        other.join().unwrap();
        // The last one who holds it: the export thread ends, or this would never be over.
        drop(exporter);
    });
}

#[test]
fn updates_that_meet_a_shutdown_are_counted_once() {
    check(|| {
        let exporter = exporter(1);
        let update = |exporter: &Arc<Exporter>| {
            exporter.end_session(SessionId::random(), 2, 1);
            exporter.submit(&record());
        };
        let threads = vec![
            on_a_thread(&exporter, update),
            on_a_thread(&exporter, update),
        ];
        exporter.end(HOUR, (0, 0)).unwrap();
        join(threads);
        let stats = exporter.stats();
        assert_eq!(stats.updates_sent + stats.updates_lost, 2, "{stats:?}");
        assert_over(&stats);
    });
}

#[test]
fn where_no_thread_can_be_started_nothing_waits() {
    // Its warnings are heard, and not printed.
    let sink = tracing_subscriber::fmt().with_writer(std::io::sink);
    let listener = Dispatch::new(sink.finish());
    check(move || {
        let exporter = exporter(BROKEN);
        exporter.attach(&listener);
        let work = |exporter: &Arc<Exporter>| {
            exporter.submit(&record());
            let _ = exporter.begin_flush(HOUR).wait_blocking();
        };
        let threads = vec![on_a_thread(&exporter, work), on_a_thread(&exporter, work)];
        let _ = exporter.end(HOUR, (0, 0));
        join(threads);
        assert_over(&exporter.stats());
    });
}

#[test]
fn new_bounds_disturb_no_count() {
    check(|| {
        let queue = Arc::new(Queue::new(1, WIDE));
        let threads = pushers(&queue, 3);
        queue.set_bounds(NARROW);
        let taken = take(&queue);
        queue.set_bounds(WIDE);
        let pushed: usize = join(threads).iter().sum();
        assert_eq!(taken + take(&queue), pushed);
        assert_eq!(queue.usage(), (0, 0));
    });
}
