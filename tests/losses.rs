//! What is lost is counted once, said in few words, and told to the platform.

mod support;

use std::time::{Duration, Instant};

use honeyhive::HoneyHive;
use honeyhive::config::{Compression, Protocol};
use honeyhive::report::DropReason;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, any_value};
use support::fault::*;
use support::*;

const LONG: Duration = Duration::from_secs(15);

/// What the scope of a request counts, read with the reference types.
fn counts(request: &Request) -> Vec<(String, i64)> {
    let traces: ExportTraceServiceRequest =
        if request.header("content-type") == Some("application/json") {
            // The reference types read enums as numbers and take no null, and our JSON is the platform's.
            let json = request.json()["resourceSpans"][0]["scopeSpans"][0]["scope"].clone();
            let scope: InstrumentationScope = serde_json::from_value(json).expect("a scope");
            return read(&scope);
        } else {
            request.traces()
        };
    read(
        traces.resource_spans[0].scope_spans[0]
            .scope
            .as_ref()
            .unwrap(),
    )
}

fn spans(request: &Request) -> usize {
    request.traces().resource_spans[0].scope_spans[0]
        .spans
        .len()
}

fn read(scope: &InstrumentationScope) -> Vec<(String, i64)> {
    let mut found: Vec<(String, i64)> = scope
        .attributes
        .iter()
        .map(|pair| {
            let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
            let Some(any_value::Value::IntValue(count)) = value else {
                panic!("{pair:?}");
            };
            (pair.key.clone(), *count)
        })
        .collect();
    found.sort();
    found
}

fn named(counts: &[(&str, i64)]) -> Vec<(String, i64)> {
    let mut counts: Vec<(String, i64)> = counts
        .iter()
        .map(|(name, count)| (format!("honeyhive.sdk.{name}"), *count))
        .collect();
    counts.sort();
    counts
}

#[test]
fn the_next_batch_says_what_was_lost() {
    for (protocol, compression) in [
        (Protocol::HttpProtobuf, Compression::None),
        (Protocol::HttpProtobuf, Compression::Gzip),
        (Protocol::HttpJson, Compression::None),
    ] {
        let server = Recorder::start();
        let honeyhive = settings(&server.url)
            .protocol(protocol)
            .compression(compression)
            .build()
            .unwrap();
        let flush = |count| {
            emit(&honeyhive, count);
            let _ = honeyhive.flush_blocking(LONG);
            counts(server.requests_to(TRACES).last().unwrap())
        };
        assert_eq!(flush(3), []);
        server.answer_traces([Reply::status(400), Reply::status(400)]);
        // With compression the first refusal is for its sake.
        assert_eq!(flush(4), []);
        let refused = i64::try_from(honeyhive.stats().rejected).unwrap();
        if compression == Compression::None {
            assert_eq!(refused, 4);
        }
        server.answer_traces([]);
        // An update that is refused, and an event that is too large.
        server.answer_by(|request| (request.path == "/events").then(|| Reply::status(400)));
        honeyhive.own_session().enrich(|s| s.metadata("k", 1));
        let _ = honeyhive.flush_blocking(LONG);
        flush(1);
        server.answer_traces([Reply::status(413)]);
        let _ = flush(1);
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!(stats.in_flight, 0);
        let rejected = i64::try_from(stats.rejected).unwrap();
        let expected = [
            (
                "dropped.too_large",
                i64::try_from(stats.dropped.of(DropReason::TooLarge)).unwrap(),
            ),
            ("rejected", rejected),
            ("updates_lost", 1),
        ];
        let expected = expected.into_iter().filter(|(_, count)| *count > 0);
        // All of it, each time, and whatever was said before.
        for _ in 0..2 {
            assert_eq!(flush(1), named(&expected.clone().collect::<Vec<_>>()));
        }
    }
}

#[test]
fn what_found_no_room_is_told_and_repeated_byte_for_byte() {
    let server = Recorder::start();
    server.hold();
    let honeyhive = settings(&server.url).max_queue_size(100).build().unwrap();
    emit(&honeyhive, 350);
    server.release();
    let _ = honeyhive.flush_blocking(LONG);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.exported, stats.dropped.of(DropReason::QueueFull)),
        (100, 250)
    );
    // The batch of ten is taken at the third attempt.
    let left = std::sync::Mutex::new(vec![502, 503]);
    server.answer_by(move |request| {
        let ten = request.path == TRACES && spans(request) == 10;
        let status = ten.then(|| left.lock().unwrap().pop()).flatten();
        status.map(Reply::status)
    });
    emit(&honeyhive, 10);
    std::thread::scope(|scope| {
        scope.spawn(|| honeyhive.flush_blocking(LONG));
        server.wait("the first attempt", |requests| {
            requests
                .iter()
                .any(|request| request.path == TRACES && spans(request) == 10)
        });
        // More is lost while it is tried again; what was said stays as it was.
        emit(&honeyhive, 200);
    });
    let _ = honeyhive.flush_blocking(LONG);
    let requests = server.requests_to(TRACES);
    let tries: Vec<&Request> = requests
        .iter()
        .filter(|request| counts(request) == named(&[("dropped.queue_full", 250)]))
        .filter(|request| spans(request) == 10)
        .collect();
    assert_eq!(tries.len(), 3);
    assert!(tries.iter().all(|request| request.body == tries[0].body));
    let lost = i64::try_from(honeyhive.stats().dropped.total()).unwrap();
    assert!(lost > 250, "{lost}");
    emit(&honeyhive, 1);
    let _ = honeyhive.flush_blocking(LONG);
    let last = server.requests_to(TRACES).pop().unwrap();
    assert_eq!(counts(&last), named(&[("dropped.queue_full", lost)]));
    assert_balanced(&honeyhive.stats());
}

#[test]
fn halves_say_what_the_whole_said() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    server.answer_traces([Reply::status(404)]);
    emit(&honeyhive, 7);
    honeyhive.flush_blocking(LONG).unwrap_err();
    server.answer_traces([Reply::status(413)]);
    emit(&honeyhive, 10);
    honeyhive.flush_blocking(LONG).unwrap();
    let requests = server.requests_to(TRACES);
    assert_eq!(server.batches(), [7, 10, 5, 5]);
    for request in &requests[1..] {
        assert_eq!(counts(request), named(&[("rejected", 7)]));
    }
}

fn lose(honeyhive: &HoneyHive, subscriber: &tracing::Dispatch, times: usize) {
    for _ in 0..times {
        tracing::dispatcher::with_default(subscriber, || drop(tracing::info_span!("work")));
        let _ = honeyhive.flush_blocking(LONG);
    }
}

#[test]
fn the_first_loss_is_said_and_the_rest_is_summed_up() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let heard = Heard::default();
    let subscriber = heard.dispatch(&honeyhive);
    server.answer_by(|request| (request.path == TRACES).then(|| Reply::status(400).body("no")));
    lose(&honeyhive, &subscriber, 5);
    assert_eq!(
        heard.times("the endpoint refused 1 events: status 400: no"),
        1,
        "{}",
        heard.text()
    );
    assert_eq!(heard.times("WARN"), 1, "{}", heard.text());
    honeyhive.shutdown_blocking(LONG).unwrap();
    assert_eq!(
        heard.times("5 events were lost: 5 (refused by the endpoint)"),
        1,
        "{}",
        heard.text()
    );
    assert_eq!(heard.times("WARN"), 2, "{}", heard.text());
    assert_balanced(&honeyhive.stats());
}

#[test]
fn an_outage_without_losses_has_a_beginning_and_an_end() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let heard = Heard::default();
    let subscriber = heard.dispatch(&honeyhive);
    server.answer_traces([503, 503].map(Reply::status));
    lose(&honeyhive, &subscriber, 2);
    assert_eq!(
        heard.times("events cannot be delivered now"),
        1,
        "{}",
        heard.text()
    );
    assert_eq!(
        heard.times("events are delivered again; none was lost"),
        1,
        "{}",
        heard.text()
    );
    assert_eq!(heard.times("WARN"), 2, "{}", heard.text());
    honeyhive.shutdown_blocking(LONG).unwrap();
    assert_eq!(heard.times("WARN"), 2, "{}", heard.text());
    assert_all_exported(&honeyhive.stats(), 2);
}

#[test]
fn a_message_without_losses_is_said_once() {
    // partial_success { error_message: "old" }
    let body = [0x0A, 5, 0x12, 3, b'o', b'l', b'd'];
    let server = Recorder::start();
    server
        .answer_by(move |request| (request.path == TRACES).then(|| Reply::status(200).body(body)));
    let honeyhive = settings(&server.url).build().unwrap();
    let heard = Heard::default();
    let subscriber = heard.dispatch(&honeyhive);
    lose(&honeyhive, &subscriber, 3);
    assert_eq!(
        heard.times("the endpoint took all events, and says: old"),
        1,
        "{}",
        heard.text()
    );
    assert_eq!(heard.times("WARN"), 1, "{}", heard.text());
    // partial_success { rejected_spans: 1, error_message: "no" }: a loss is another matter.
    let body = [0x0A, 6, 0x08, 1, 0x12, 2, b'n', b'o'];
    server
        .answer_by(move |request| (request.path == TRACES).then(|| Reply::status(200).body(body)));
    lose(&honeyhive, &subscriber, 3);
    assert_eq!(
        heard.times("the endpoint refused 1 of 1 events: no"),
        1,
        "{}",
        heard.text()
    );
    assert_eq!(heard.times("WARN"), 2, "{}", heard.text());
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.exported, stats.rejected), (3, 3));
}

#[test]
fn losses_that_have_ended_are_summed_up() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let heard = Heard::default();
    let subscriber = heard.dispatch(&honeyhive);
    server.answer_traces([400, 400, 400].map(Reply::status));
    lose(&honeyhive, &subscriber, 4);
    let ended = "events are delivered again; 3 events were lost: 3 (refused by the endpoint)";
    // Two looks, ten seconds apart.
    let deadline = Instant::now() + Duration::from_secs(40);
    while heard.times(ended) == 0 {
        assert!(Instant::now() < deadline, "{}", heard.text());
        std::thread::sleep(Duration::from_millis(50));
    }
    // The next loss is a first one again.
    server.answer_traces([Reply::status(400)]);
    lose(&honeyhive, &subscriber, 1);
    assert_eq!(
        heard.times("the endpoint refused 1 events"),
        2,
        "{}",
        heard.text()
    );
    honeyhive.shutdown_blocking(LONG).unwrap();
    assert_eq!(
        heard.times("1 events were lost: 1 (refused by the endpoint)"),
        1,
        "{}",
        heard.text()
    );
    assert_eq!(heard.times("WARN"), 4, "{}", heard.text());
}

#[test]
#[ignore = "takes a minute"]
fn losses_that_go_on_are_summed_up_each_minute() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    let heard = Heard::default();
    let subscriber = heard.dispatch(&honeyhive);
    server.answer_by(|request| (request.path == TRACES).then(|| Reply::status(404)));
    let started = Instant::now();
    while heard.times("in the last minute") == 0 {
        assert!(
            started.elapsed() < Duration::from_secs(90),
            "{}",
            heard.text()
        );
        lose(&honeyhive, &subscriber, 1);
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = started.elapsed();
    println!("summed up after {took:?}: {}", heard.text());
    assert!(took >= Duration::from_secs(59), "{took:?}");
    assert_eq!(heard.times("the endpoint refused"), 1, "{}", heard.text());
    assert_eq!(heard.times("WARN"), 2, "{}", heard.text());
    assert_balanced(&honeyhive.stats());
}

/// The local server is one such platform.
#[cfg(feature = "server")]
#[test]
fn the_local_server_says_that_a_program_lost_events() {
    let test = "the_local_server_says_that_a_program_lost_events";
    if let Some(output) = in_process_of_its_own(test, &[("OTEL_SERVICE_NAME", "shop")]) {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = "honeyhive: shop lost events before they got here: dropped.queue_full 50";
        assert_eq!(
            said.lines().filter(|found| *found == line).count(),
            1,
            "{said}"
        );
        return;
    }
    let server = honeyhive::server::Server::builder()
        .port(0)
        .start()
        .unwrap();
    for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson] {
        let honeyhive = settings(server.url())
            .protocol(protocol)
            .max_queue_size(100)
            .build()
            .unwrap();
        if protocol == Protocol::HttpProtobuf {
            emit(&honeyhive, 150);
        }
        for _ in 0..3 {
            let _ = honeyhive.flush_blocking(LONG);
            emit(&honeyhive, 1);
        }
        assert_balanced(&honeyhive.stats());
    }
    server.shutdown().unwrap();
}
