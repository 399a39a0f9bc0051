//! What becomes of events when the endpoint answers this way or that.

mod support;

use std::time::{Duration, Instant};

use honeyhive::HoneyHive;
use honeyhive::config::Compression;
use honeyhive::report::{Degradation, DropReason, FlushReport};
use support::*;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);

fn instance(server: &Recorder) -> HoneyHive {
    settings(&server.url).build().unwrap()
}

/// The numbers a flush came to, whether it failed or not.
fn report(result: Result<FlushReport, honeyhive::Error>) -> (u64, u64, u64) {
    let report = result.unwrap_or_else(|error| error.flush_report().expect("a report"));
    (report.sent, report.failed, report.left)
}

#[test]
fn unavailable_twice_then_delivered_once() {
    for status in [502, 503, 504] {
        let server = Recorder::start();
        server.answer_traces([Reply::status(status), Reply::status(status)]);
        let honeyhive = instance(&server);
        emit(&honeyhive, 10);
        let flushed = honeyhive.flush_blocking(LONG).unwrap();
        assert_eq!((flushed.sent, flushed.failed, flushed.left), (10, 0, 0));
        let requests = server.requests_to(TRACES);
        assert_eq!(requests.len(), 3);
        assert!(
            requests
                .iter()
                .all(|request| request.body == requests[0].body)
        );
        assert_all_exported(&honeyhive.stats(), 10);
        assert_eq!(honeyhive.stats().retried, 2);
        assert!(honeyhive.status().is_healthy(), "{}", honeyhive.status());
    }
}

#[test]
fn retry_after_is_kept_even_when_somebody_flushes() {
    for (value, hinted) in [
        ("1", true),
        ("date", true),
        ("abc", false),
        ("Sun, 06 Nov 1994 08:49:37 GMT", false),
    ] {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(2));
        let value = if value == "date" {
            date.as_str()
        } else {
            value
        };
        let server = Recorder::start();
        server.answer_traces([Reply::status(429).header("retry-after", value)]);
        let honeyhive = instance(&server);
        emit(&honeyhive, 1);
        let started = Instant::now();
        let _ = honeyhive
            .flush_blocking(Duration::from_millis(100))
            .unwrap_err();
        // Only our own patience is cut short by somebody who waits.
        if hinted {
            assert!(
                honeyhive
                    .flush_blocking(Duration::from_millis(100))
                    .unwrap_err()
                    .is_timeout()
            );
            assert_eq!(server.requests_to(TRACES).len(), 1, "{value}");
        }
        honeyhive.flush_blocking(LONG).unwrap();
        if hinted {
            assert!(
                started.elapsed() >= Duration::from_millis(900),
                "{value}: {:?}",
                started.elapsed()
            );
        }
        assert_eq!(server.requests_to(TRACES).len(), 2, "{value}");
        assert_all_exported(&honeyhive.stats(), 1);
    }
}

#[test]
fn a_long_retry_after_holds_everything_back() {
    let server = Recorder::start();
    server.answer_traces([Reply::status(429).header("retry-after", "86400")]);
    let honeyhive = instance(&server);
    emit(&honeyhive, 3);
    let error = honeyhive
        .flush_blocking(Duration::from_millis(200))
        .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.flush_report().unwrap().left, 3);
    emit(&honeyhive, 2);
    let error = honeyhive
        .shutdown_blocking(Duration::from_millis(200))
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(server.requests_to(TRACES).len(), 1);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.dropped.of(DropReason::Shutdown), stats.in_flight),
        (5, 0)
    );
}

#[test]
fn what_is_refused_for_good_is_sent_once_and_counted() {
    for status in [301, 400, 404, 408, 409, 500, 501] {
        let server = Recorder::start();
        server.answer_traces([Reply::status(status)
            .header("location", "/elsewhere")
            .body("no such thing")]);
        let honeyhive = instance(&server);
        emit(&honeyhive, 4);
        let error = honeyhive.flush_blocking(LONG).unwrap_err();
        assert!(error.is_delivery(), "{error}");
        assert_eq!(report(Err(error)), (0, 4, 0));
        assert_eq!(server.requests_to(TRACES).len(), 1, "{status}");
        assert!(server.requests_to("/elsewhere").is_empty());
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!((stats.rejected, stats.in_flight), (4, 0), "{status}");
        // The next ones fare better.
        emit(&honeyhive, 2);
        assert_eq!(report(honeyhive.flush_blocking(LONG)), (2, 0, 0));
        assert_balanced(&honeyhive.stats());
    }
}

#[test]
fn too_large_is_halved_down_to_the_one_that_is() {
    let server = Recorder::start();
    let has_culprit = |body: &[u8]| body.windows(7).any(|window| window == b"culprit");
    server.answer_by(move |request| has_culprit(&request.body).then(|| Reply::status(413)));
    let honeyhive = instance(&server);
    emit(&honeyhive, 5);
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("culprit")));
    emit(&honeyhive, 5);
    assert_eq!(report(honeyhive.flush_blocking(LONG)), (10, 1, 0));
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.exported, stats.dropped.of(DropReason::TooLarge)),
        (10, 1)
    );
    assert_eq!((stats.in_flight, stats.queue_bytes), (0, 0));

    // A server that takes nothing at all: every event alone, each lost for that reason.
    let server = Recorder::start();
    server.answer_traces(vec![Reply::status(413); 100]);
    let honeyhive = instance(&server);
    emit(&honeyhive, 7);
    assert_eq!(report(honeyhive.flush_blocking(LONG)), (0, 7, 0));
    let mut sizes = server.batches();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 7]);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(stats.dropped.of(DropReason::TooLarge), 7);
}

#[test]
fn halves_carry_every_span_once() {
    for protocol in [
        honeyhive::config::Protocol::HttpProtobuf,
        honeyhive::config::Protocol::HttpJson,
    ] {
        let server = Recorder::start();
        server.answer_traces([413, 413, 413].map(Reply::status));
        let honeyhive = settings(&server.url).protocol(protocol).build().unwrap();
        emit(&honeyhive, 101);
        honeyhive.flush_blocking(LONG).unwrap();
        let requests = server.requests_to(TRACES);
        let mut seen: Vec<u64> = Vec::new();
        for request in &requests[3..] {
            if protocol == honeyhive::config::Protocol::HttpJson {
                let spans = request.json()["resourceSpans"][0]["scopeSpans"][0]["spans"].clone();
                for span in spans.as_array().unwrap() {
                    let attributes = span["attributes"].as_array().unwrap();
                    let n = attributes
                        .iter()
                        .find(|a| a["key"] == "honeyhive_inputs.n")
                        .unwrap();
                    seen.push(n["value"]["intValue"].as_str().unwrap().parse().unwrap());
                }
            } else {
                let traces = request.traces();
                for span in &traces.resource_spans[0].scope_spans[0].spans {
                    seen.push(
                        attribute(span, "honeyhive_inputs.n")
                            .unwrap()
                            .parse()
                            .unwrap(),
                    );
                }
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..101).collect::<Vec<_>>());
        assert_all_exported(&honeyhive.stats(), 101);
    }
}

#[test]
fn a_refused_key_pauses_until_there_is_another() {
    for status in [401, 403] {
        let server = Recorder::start();
        server.answer_others([Reply::status(status)]);
        server.answer_traces([Reply::status(status)]);
        let honeyhive = instance(&server);
        emit(&honeyhive, 6);
        let started = Instant::now();
        let error = honeyhive.flush_blocking(LONG).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(error.is_delivery(), "{error}");
        assert_eq!(report(Err(error)), (0, 0, 6));
        assert!(
            honeyhive
                .status()
                .degraded
                .contains(&Degradation::KeyRejected { status })
        );
        // Nobody asks again, whoever flushes.
        emit(&honeyhive, 1);
        assert!(honeyhive.flush_blocking(LONG).unwrap_err().is_delivery());
        assert_eq!(server.requests_to(TRACES).len(), 1);
        assert_balanced(&honeyhive.stats());

        honeyhive
            .reconfigure(|settings| settings.api_key("hh_another"))
            .unwrap();
        assert_eq!(report(honeyhive.flush_blocking(LONG)), (7, 0, 0));
        let requests = server.requests();
        let with_new = requests
            .iter()
            .filter(|request| request.header("authorization") == Some("Bearer hh_another"));
        // The session is announced under the key that is taken.
        let paths: Vec<&str> = with_new.map(|request| request.path.as_str()).collect();
        assert_eq!(
            paths.iter().filter(|path| **path == SESSIONS).count(),
            1,
            "{paths:?}"
        );
        assert!(paths.iter().filter(|path| **path == TRACES).count() >= 1);
        assert_all_exported(&honeyhive.stats(), 7);
        assert!(honeyhive.status().is_healthy(), "{}", honeyhive.status());
    }
}

#[test]
fn a_late_refusal_of_the_old_key_is_not_held_against_the_new_one() {
    let server = Recorder::start();
    let (answer, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let old = format!("Bearer {KEY}");
    server.answer_by(move |request| {
        if request.path != TRACES || request.header("authorization") != Some(&old) {
            return None;
        }
        let _ = told.lock().unwrap().recv_timeout(PATIENCE);
        Some(Reply::status(401))
    });
    let honeyhive = instance(&server);
    emit(&honeyhive, 1);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| honeyhive.flush_blocking(LONG));
        server.wait("the batch", |requests| {
            requests.iter().any(|request| request.path == TRACES)
        });
        honeyhive
            .reconfigure(|settings| settings.api_key("hh_another"))
            .unwrap();
        answer.send(()).unwrap();
        assert_eq!(report(flush.join().unwrap()), (1, 0, 0));
    });
    assert_all_exported(&honeyhive.stats(), 1);
    assert!(honeyhive.status().is_healthy(), "{}", honeyhive.status());
}

#[test]
fn shutdown_under_a_refused_key_is_prompt() {
    let server = Recorder::start();
    server.answer_traces([Reply::status(401)]);
    let honeyhive = instance(&server);
    emit(&honeyhive, 3);
    let started = Instant::now();
    let error = honeyhive.shutdown_blocking(LONG).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(error.is_delivery(), "{error}");
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.in_flight, stats.dropped.total()), (0, 3));
}

#[test]
fn partial_success_is_counted_and_not_repeated() {
    // partial_success { rejected_spans: 3, error_message: "no" }; 0 and a message; 99; unset.
    for (body, rejected) in [
        (&[0x0A, 6, 0x08, 3, 0x12, 2, b'n', b'o'][..], 3),
        (&[0x0A, 4, 0x12, 2, b'n', b'o'], 0),
        (&[0x0A, 2, 0x08, 99], 10),
        (&[], 0),
    ] {
        let server = Recorder::start();
        server.answer_traces([Reply::status(200).body(body)]);
        let honeyhive = instance(&server);
        emit(&honeyhive, 10);
        let result = honeyhive.flush_blocking(LONG);
        assert_eq!(result.is_err(), rejected > 0);
        assert_eq!(report(result), (10 - rejected, rejected, 0));
        assert_eq!(server.requests_to(TRACES).len(), 1);
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!((stats.exported, stats.rejected), (10 - rejected, rejected));
    }
}

#[test]
fn odd_bodies_of_a_success_are_a_success() {
    for body in [
        &b"<html><body>welcome</body></html>"[..],
        b"",
        b"{\"partialSuccess\"",
        &[0xFF; 300],
        &[0x0A, 0xFF],
    ] {
        let server = Recorder::start();
        server.answer_traces([Reply::status(200)
            .header("content-type", "text/html")
            .body(body)]);
        let honeyhive = instance(&server);
        emit(&honeyhive, 2);
        honeyhive.flush_blocking(LONG).unwrap();
        assert_all_exported(&honeyhive.stats(), 2);
    }
}

#[test]
fn bodies_are_compressed_when_told_to() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .compression(Compression::Gzip)
        .build()
        .unwrap();
    emit(&honeyhive, 50);
    honeyhive.flush_blocking(LONG).unwrap();
    let request = &server.requests_to(TRACES)[0];
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    assert_eq!(request.body[..2], [0x1F, 0x8B]);
    assert!(request.body.len() < request.plain().len());
    assert_eq!(server.spans().len(), 50);
    assert_eq!(honeyhive.stats().bytes_sent, request.body.len() as u64);
    // A small body is not worth it.
    let request = server.requests_to(SESSIONS).remove(0);
    assert_eq!(request.header("content-encoding"), None);
}

#[test]
fn a_server_that_does_not_understand_gzip_is_told_once() {
    for status in [400, 415] {
        let server = Recorder::start();
        server.answer_traces([Reply::status(status)]);
        let honeyhive = settings(&server.url)
            .compression(Compression::Gzip)
            .build()
            .unwrap();
        for _ in 0..2 {
            emit(&honeyhive, 50);
            honeyhive.flush_blocking(LONG).unwrap();
        }
        let encodings: Vec<bool> = server
            .requests_to(TRACES)
            .iter()
            .map(|request| request.header("content-encoding").is_some())
            .collect();
        assert_eq!(encodings, [true, false, false]);
        assert_all_exported(&honeyhive.stats(), 100);
    }
}
