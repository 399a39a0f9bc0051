//! Many spans: deep, wide, and at once.

mod support;

use std::time::Duration;

use honeyhive::report::DropReason;
use support::traced::Traced;
use tracing::{Span, info_span};

/// The time that this thread has had on the processor: other work on the machine does not count.
#[cfg(unix)]
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(unix))]
fn spent() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// Opens `depth` nested spans, then closes them from the inside out.
fn nest(depth: usize) {
    let mut open = Vec::with_capacity(depth);
    for level in 0..depth {
        open.push(info_span!("nested", level).entered());
    }
    while let Some(span) = open.pop() {
        drop(span);
    }
}

#[test]
fn a_thousand_nested_spans_are_a_chain() {
    let traced = Traced::new();
    traced.run(|| nest(1000));
    let mut spans = traced.spans();
    assert_eq!(spans.len(), 1000);
    spans.sort_by_key(|span| {
        support::attribute(span, "honeyhive_inputs.level").map(|level| level.parse::<u32>().ok())
    });
    assert!(spans[0].parent_span_id.is_empty());
    assert!(
        spans
            .windows(2)
            .all(|pair| support::traced::is_child(&pair[1], &pair[0]))
    );
}

/// A chain of `depth` spans, each entered once and holding its parent open; dropping the last closes all of them.
fn chain(depth: usize) -> Duration {
    let started = spent();
    let mut last = Span::none();
    for level in 0..depth {
        last = info_span!(parent: &last, "chained", level);
        last.in_scope(|| {});
    }
    drop(last);
    spent() - started
}

/// Closing a chain at once is recursive in tracing-subscriber, so this needs a stack; ours must not add to it, and time
/// must not grow faster than depth. (Spans entered inside one another cost the registry a search of its own stack each:
/// that one is not linear whatever we do.)
#[test]
fn a_chain_of_a_hundred_thousand_spans_takes_linear_time() {
    let thread = std::thread::Builder::new().stack_size(1 << 30).spawn(|| {
        let traced = Traced::with(|builder| builder.test_mode(true));
        traced.run(|| {
            chain(1000);
            let tenth = chain(10_000).max(Duration::from_millis(20));
            let whole = chain(100_000);
            println!("figure: 10,000 levels {tenth:?}, 100,000 levels {whole:?}");
            assert!(whole < tenth * 60, "{tenth:?} and then {whole:?}");
        });
        let stats = traced.stats();
        assert_eq!((stats.submitted, stats.not_recorded), (111_000, 0));
    });
    thread
        .expect("a thread")
        .join()
        .expect("enough stack, linear time");
}

/// Neither closing nor encoding nor the end of an instance goes down level by level: a small stack is enough, whatever
/// the depth.
#[test]
fn a_hundred_thousand_levels_need_no_stack() {
    // The whole: a hundred thousand.
    let depth = support::scaled(20_000, 100_000);
    let long = Duration::from_secs(120);
    let thread = std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(move || {
            let traced = Traced::with(|builder| builder.test_mode(true));
            traced.run(|| {
                let nest = || {
                    let mut open: Vec<Span> = Vec::with_capacity(depth);
                    for level in 0..depth {
                        let parent = open.last().cloned().unwrap_or_else(Span::none);
                        open.push(info_span!(parent: &parent, "nested", level));
                    }
                    open
                };
                let mut open = nest();
                while let Some(span) = open.pop() {
                    drop(span);
                }
                traced.honeyhive.flush_blocking(long).unwrap();
                // And once more, open to the end.
                let mut open = nest();
                let shutdown = traced.honeyhive.shutdown_blocking(long);
                while let Some(span) = open.pop() {
                    drop(span);
                }
                shutdown.expect("a delivery");
            });
            support::assert_all_exported(&traced.stats(), 2 * depth as u64);
        });
    thread.expect("a thread").join().expect("enough stack");
}

#[test]
fn thousands_of_children_hang_under_one_parent() {
    let traced = Traced::new();
    traced.run(|| {
        let _parent = info_span!("parent").entered();
        for index in 0..5000 {
            let _child = info_span!("child", index).entered();
        }
    });
    let spans = traced.spans();
    let parent = traced.server.span("parent");
    let children = spans
        .iter()
        .filter(|span| support::traced::is_child(span, &parent));
    assert_eq!(children.count(), 5000);
    assert_eq!(traced.stats().queue_bytes, 0);
}

#[test]
fn many_open_spans_on_many_threads_all_arrive() {
    let traced = Traced::new();
    traced.run(|| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let dispatch = &dispatch;
                scope.spawn(move || {
                    tracing::dispatcher::with_default(dispatch, || {
                        let open: Vec<Span> = (0..5000)
                            .map(|index| info_span!("open", thread, index))
                            .collect();
                        for span in open.iter().rev().step_by(2) {
                            span.in_scope(|| {});
                        }
                    });
                });
            }
        });
    });
    let spans = traced.spans();
    assert_eq!(spans.len(), 20_000);
    let mut ids: Vec<_> = spans.iter().map(|span| &span.span_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20_000);
    let stats = traced.stats();
    assert_eq!(
        (stats.exported, stats.dropped.of(DropReason::QueueFull)),
        (20_000, 0)
    );
}
