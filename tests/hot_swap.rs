//! The configuration changes while spans close and batches are on their way: nothing is lost, and what goes out
//! together belongs together.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use honeyhive::config::Protocol;
use honeyhive::{Builder, HoneyHive};
use proptest::prelude::*;
use support::*;
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// Settings that name a number wherever they can: endpoint, key, header and source.
fn numbered(settings: Builder, servers: &[Recorder], number: usize) -> Builder {
    let server = &servers[number % servers.len()];
    settings
        .server_url(format!("{}/n{number}", server.url))
        .api_key(format!("hh_key_{number}"))
        .header("x-number", number.to_string())
        .source(format!("source-{number}"))
}

/// Whatever went out carried one configuration, to the server of that configuration. How many requests there were.
fn assert_consistent(servers: &[Recorder]) -> usize {
    let mut count = 0;
    for (index, server) in servers.iter().enumerate() {
        for request in server.requests() {
            let number = request.path.strip_prefix("/n").unwrap();
            let (number, path) = number.split_once('/').unwrap();
            let of: usize = number.parse().unwrap();
            assert_eq!(of % servers.len(), index, "{}", request.path);
            let key = format!("Bearer hh_key_{number}");
            assert_eq!(request.header("authorization"), Some(key.as_str()));
            assert_eq!(request.header("x-number"), Some(number), "{}", request.path);
            let source = format!("source-{number}");
            if path.ends_with("traces") {
                assert_eq!(request.header("x-source"), Some(source.as_str()));
                // A batch that was encoded before the change may go out after it, but it was encoded at one time.
                let sources: BTreeSet<_> = spans_of(&request)
                    .map(|span| attribute(&span, "honeyhive.source"))
                    .collect();
                assert_eq!(sources.len(), 1, "{sources:?}");
            } else {
                assert_eq!(path, "session/start");
                assert_eq!(request.json()["session"]["source"], source);
            }
            count += 1;
        }
    }
    count
}

fn spans_of(
    request: &Request,
) -> impl Iterator<Item = opentelemetry_proto::tonic::trace::v1::Span> {
    let resources = request.traces().resource_spans.into_iter();
    resources
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
}

#[test]
fn ten_thousand_swaps_under_load_lose_nothing() {
    let swaps = scaled(2_000, 10_000);
    let servers = [Recorder::start(), Recorder::start()];
    let honeyhive = numbered(settings(&servers[0].url), &servers, 0)
        .batch_size(64)
        .max_export_batch_size(256)
        .build()
        .unwrap();
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(honeyhive.layer()));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (honeyhive, dispatch, over) = (&honeyhive, &dispatch, &over);
        for thread in 0..4 {
            scope.spawn(move || {
                tracing::dispatcher::with_default(dispatch, || {
                    let mut n = 0;
                    while !over.load(Ordering::Relaxed) {
                        for _ in 0..5 {
                            info_span!("work", thread, n).in_scope(|| {});
                            n += 1;
                        }
                        // The queue has its bound, which is not what is tested here.
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                });
            });
        }
        for number in 1..=swaps {
            honeyhive
                .reconfigure(|settings| {
                    let settings = numbered(settings, &servers, number);
                    match number % 3 {
                        0 => settings.filter("debug").batch_size(32),
                        1 => settings.filter("info").batch_size(128),
                        _ => settings.max_attributes(500 + number % 7),
                    }
                })
                .unwrap();
            if number % 10 == 0 {
                honeyhive.flush_blocking(PATIENCE).unwrap();
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let stats = honeyhive.stats();
    assert_all_exported(&stats, stats.submitted);
    assert!(stats.submitted > swaps as u64, "{stats:#?}");
    let requests = assert_consistent(&servers);
    let mut seen = BTreeSet::new();
    for span in servers.iter().flat_map(Recorder::spans) {
        let number = |key: &str| attribute(&span, key).unwrap().parse::<u64>().unwrap();
        let fresh = seen.insert((
            number("honeyhive_inputs.thread"),
            number("honeyhive_inputs.n"),
        ));
        assert!(fresh, "one span arrived twice");
    }
    assert_eq!(seen.len() as u64, stats.submitted);
    println!(
        "figure: {swaps} swaps, {} spans, {requests} requests, 0 lost, 0 mixed",
        seen.len()
    );
}

#[test]
fn the_old_endpoint_is_drained_and_the_new_one_takes_the_rest() {
    let servers = [Recorder::start(), Recorder::start()];
    let honeyhive = numbered(settings(&servers[0].url), &servers, 0)
        .batch_size(10)
        .max_export_batch_size(10)
        .build()
        .unwrap();
    emit(&honeyhive, 1);
    honeyhive.flush_blocking(PATIENCE).unwrap();
    // On their way, and not answered yet.
    servers[0].hold();
    emit(&honeyhive, 10);
    servers[0].wait("the old batch", |requests| requests.len() == 3);
    honeyhive
        .reconfigure(|settings| numbered(settings, &servers, 1))
        .unwrap();
    emit(&honeyhive, 10);
    until("the new endpoint", || servers[1].spans().len() == 10);
    until("its answer", || honeyhive.stats().exported == 11);
    servers[0].release();
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_all_exported(&honeyhive.stats(), 21);
    assert_eq!(
        [servers[0].spans().len(), servers[1].spans().len()],
        [11, 10]
    );
    assert_consistent(&servers);
}

#[test]
fn what_the_old_endpoint_failed_to_take_goes_to_the_new_one_at_once() {
    let servers = [Recorder::start(), Recorder::start()];
    let honeyhive = numbered(settings(&servers[0].url), &servers, 0)
        .build()
        .unwrap();
    let swapped = Arc::new(AtomicBool::new(false));
    let answer = Arc::clone(&swapped);
    servers[0].answer_by(move |request| {
        if !request.path.ends_with("traces") {
            return None;
        }
        until("the swap", || answer.load(Ordering::SeqCst));
        // So long a wait is asked for by another server than the next.
        Some(Reply::status(503).header("retry-after", "25"))
    });
    emit(&honeyhive, 10);
    let flushing = std::thread::scope(|scope| {
        let flush = scope.spawn(|| honeyhive.flush_blocking(PATIENCE));
        servers[0].wait("the old batch", |requests| requests.len() > 1);
        honeyhive
            .reconfigure(|settings| numbered(settings, &servers, 1))
            .unwrap();
        swapped.store(true, Ordering::SeqCst);
        flush.join().unwrap()
    });
    assert_eq!(flushing.unwrap().sent, 10);
    assert_eq!(servers[1].spans().len(), 10);
    assert_all_exported(&honeyhive.stats(), 10);
    assert_consistent(&servers);
}

type Change = fn(Builder) -> Builder;

/// Changes that are none, each with the field that is to blame.
const INVALID: [(&str, Change); 8] = [
    ("server_url", |s| s.server_url("ftp://host")),
    ("server_url", |s| s.server_url("http://example.com")),
    ("otlp_endpoint", |s| s.otlp_endpoint("nowhere")),
    ("max_attributes", |s| s.max_attributes(1)),
    ("max_queue_bytes", |s| s.max_queue_bytes(1)),
    ("filter", |s| s.filter("my_crate=loud")),
    ("sample_rate", |s| s.sample_rate(1.5)),
    ("batch_size", |s| s.batch_size(0)),
];

#[test]
fn an_invalid_change_is_refused_and_changes_nothing() {
    let servers = [Recorder::start()];
    let honeyhive = numbered(settings(&servers[0].url), &servers, 7)
        .build()
        .unwrap();
    let before = honeyhive.config();
    for (field, change) in INVALID {
        let error = honeyhive
            // What is right about it does not count either.
            .reconfigure(|settings| change(settings.api_key("hh_another").source("other")))
            .unwrap_err();
        assert!(error.is_config(), "{field}: {error}");
        assert!(error.to_string().contains(field), "{field}: {error}");
        assert!(Arc::ptr_eq(&before, &honeyhive.config()), "{field}");
        emit(&honeyhive, 1);
        honeyhive.flush_blocking(PATIENCE).unwrap();
    }
    assert_all_exported(&honeyhive.stats(), INVALID.len() as u64);
    assert_consistent(&servers);
}

#[derive(Clone, Debug)]
enum Step {
    Emit(usize),
    Swap(usize),
    Enable(bool),
    Invalid(usize),
    Protocol(bool),
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..40_usize).prop_map(Step::Emit),
        4 => (1..6_usize).prop_map(Step::Swap),
        1 => any::<bool>().prop_map(Step::Enable),
        1 => (0..INVALID.len()).prop_map(Step::Invalid),
        1 => any::<bool>().prop_map(Step::Protocol),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec(step, 1..24)
}

fn run(steps: &[Step]) {
    let servers = [Recorder::start(), Recorder::start()];
    let honeyhive: HoneyHive = numbered(settings(&servers[0].url), &servers, 0)
        .batch_size(5)
        .max_export_batch_size(5)
        .build()
        .unwrap();
    let (mut enabled, mut expected) = (true, 0);
    let mut json = false;
    for step in steps {
        match *step {
            Step::Emit(count) => {
                emit(&honeyhive, count);
                expected += if enabled { count as u64 } else { 0 };
            }
            Step::Swap(number) => honeyhive
                .reconfigure(|settings| numbered(settings, &servers, number))
                .unwrap(),
            Step::Enable(on) => {
                enabled = on;
                honeyhive
                    .reconfigure(|settings| settings.disable_tracing(!on))
                    .unwrap();
            }
            Step::Invalid(which) => {
                honeyhive.reconfigure(INVALID[which].1).unwrap_err();
            }
            Step::Protocol(on) => {
                json |= on;
                let protocol = if on {
                    Protocol::HttpJson
                } else {
                    Protocol::HttpProtobuf
                };
                honeyhive
                    .reconfigure(|settings| settings.protocol(protocol))
                    .unwrap();
            }
            Step::Flush => drop(honeyhive.flush_blocking(PATIENCE).unwrap()),
        }
    }
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_all_exported(&honeyhive.stats(), expected);
    // The reference types of this suite read one of the two encodings.
    if !json {
        assert_consistent(&servers);
        let arrived: usize = servers.iter().map(|server| server.spans().len()).sum();
        assert_eq!(arrived as u64, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_changed_and_when_nothing_is_lost_or_mixed(steps in steps()) {
        run(&steps);
    }
}
