//! What becomes of events when the connection fails, or the server is not what it should be.

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use honeyhive::report::{Degradation, DropReason};
use support::fault::{Act, Fault, Heard};
use support::*;

const LONG: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(300);
/// What a deadline may be missed by on a busy machine.
const SLACK: Duration = Duration::from_millis(700);

#[test]
fn a_server_that_comes_later_gets_everything() {
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let honeyhive = settings(&format!("http://{address}")).build().unwrap();
    emit(&honeyhive, 20);
    let error = honeyhive.flush_blocking(SHORT).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.flush_report().unwrap().left, 20);
    assert!(matches!(
        honeyhive.status().degraded[..],
        [.., Degradation::Unreachable { .. }]
    ));
    assert_balanced(&honeyhive.stats());

    let server = Recorder::start_on(TcpListener::bind(address).unwrap());
    let flushed = honeyhive.flush_blocking(LONG).unwrap();
    assert_eq!(flushed.sent, 20);
    assert_eq!(server.spans().len(), 20);
    assert_eq!(server.requests_to(SESSIONS).len(), 1);
    assert_all_exported(&honeyhive.stats(), 20);
    assert!(honeyhive.status().is_healthy(), "{}", honeyhive.status());
}

#[test]
fn deadlines_hold_against_a_server_that_says_nothing() {
    let server = Fault::start([], Act::Silence);
    let honeyhive = settings(&server.url).build().unwrap();
    emit(&honeyhive, 5);
    let started = Instant::now();
    let error = honeyhive.flush_blocking(SHORT).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(
        started.elapsed() >= SHORT && started.elapsed() < SHORT + SLACK,
        "{:?}",
        started.elapsed()
    );
    assert_eq!(error.flush_report().unwrap().left, 5);
    assert_eq!(honeyhive.stats().in_flight, 5);

    let started = Instant::now();
    let error = honeyhive.shutdown_blocking(SHORT).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(started.elapsed() < SHORT + SLACK, "{:?}", started.elapsed());
    assert_eq!(error.flush_report().unwrap().left, 5);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.in_flight, stats.dropped.of(DropReason::Shutdown)),
        (0, 5)
    );
}

#[test]
fn dropping_is_bounded_and_does_not_wait_for_the_dead() {
    let server = Fault::start([], Act::Silence);
    let honeyhive = settings(&server.url).flush_timeout(SHORT).build().unwrap();
    emit(&honeyhive, 5);
    let started = Instant::now();
    drop(honeyhive);
    assert!(
        started.elapsed() >= SHORT && started.elapsed() < SHORT + SLACK,
        "{:?}",
        started.elapsed()
    );

    // Told not to wait.
    let honeyhive = settings(&server.url)
        .flush_timeout(Duration::ZERO)
        .build()
        .unwrap();
    emit(&honeyhive, 5);
    let started = Instant::now();
    drop(honeyhive);
    assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());

    // Known to be down.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let honeyhive = settings(&format!("http://{nobody}"))
        .flush_timeout(LONG)
        .build()
        .unwrap();
    emit(&honeyhive, 5);
    honeyhive.flush_blocking(SHORT).unwrap_err();
    let started = Instant::now();
    drop(honeyhive);
    assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());
}

#[test]
fn a_request_takes_no_longer_than_it_may() {
    // The announcement is answered, the batch is not; then all is well.
    let ok = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let server = Fault::start([Act::Raw(ok), Act::Silence], Act::Raw(ok));
    let honeyhive = settings(&server.url).export_timeout(SHORT).build().unwrap();
    emit(&honeyhive, 3);
    honeyhive.flush_blocking(LONG).unwrap();
    assert_eq!(server.connections(), 3);
    assert_eq!(honeyhive.stats().retried, 1);
    assert_all_exported(&honeyhive.stats(), 3);
}

#[test]
fn a_reset_in_the_middle_is_tried_again() {
    let ok = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let server = Fault::start([Act::Raw(ok), Act::Reset, Act::Raw(b"")], Act::Raw(ok));
    let honeyhive = settings(&server.url).build().unwrap();
    emit(&honeyhive, 200);
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 200);
}

#[test]
fn a_body_that_breaks_off_or_never_ends_changes_nothing() {
    let ok = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    for act in [
        Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n<html>"),
        Act::RawThenSilence(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n<html>"),
        Act::RawThenSilence(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ] {
        let server = Fault::start([Act::Raw(ok), act], Act::Raw(ok));
        let honeyhive = settings(&server.url).export_timeout(SHORT).build().unwrap();
        emit(&honeyhive, 2);
        honeyhive.flush_blocking(LONG).unwrap();
        assert_eq!(server.connections(), 2);
        assert_all_exported(&honeyhive.stats(), 2);
    }
}

#[test]
fn nonsense_instead_of_http_is_tried_again() {
    let ok = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let server = Fault::start(
        [Act::Raw(ok), Act::Raw(b"SSH-2.0-OpenSSH_9.6\r\n")],
        Act::Raw(ok),
    );
    let honeyhive = settings(&server.url).build().unwrap();
    emit(&honeyhive, 2);
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 2);
}

#[test]
fn a_redirect_within_the_server_keeps_the_request() {
    for status in [307, 308] {
        let server = Recorder::start();
        let to = if status == 307 {
            "/v2/traces"
        } else {
            "v2/traces"
        };
        server.answer_traces([Reply::status(status).header("location", to)]);
        let honeyhive = settings(&server.url).build().unwrap();
        emit(&honeyhive, 2);
        honeyhive.flush_blocking(LONG).unwrap();
        let requests = server.requests();
        let [_, first, second] = &requests[..] else {
            panic!("{requests:#?}");
        };
        assert!(second.path.ends_with("/v2/traces") && second.method == "POST");
        assert_eq!(first.body, second.body);
        let key = format!("Bearer {KEY}");
        assert_eq!(second.header("authorization"), Some(key.as_str()));
        assert_all_exported(&honeyhive.stats(), 2);
    }
}

#[test]
fn a_redirect_to_another_place_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let other = Recorder::start();
        let server = Recorder::start();
        let elsewhere = [
            other.url.clone(),
            // The same port under another name, and the same place by other means.
            server.url.replace("127.0.0.1", "localhost"),
            server.url.replace("http:", "https:"),
        ];
        for place in elsewhere {
            let heard = Heard::default();
            server
                .answer_traces([Reply::status(status)
                    .header("location", &format!("{place}/v1/traces?key={KEY}"))]);
            let honeyhive = settings(&server.url)
                .header("x-team-secret", "team-secret-1")
                .build()
                .unwrap();
            let work = || drop(tracing::info_span!("work", prompt = "private"));
            let subscriber = heard.dispatch(&honeyhive);
            tracing::dispatcher::with_default(&subscriber, work);
            assert!(honeyhive.flush_blocking(LONG).unwrap_err().is_delivery());
            let stats = honeyhive.stats();
            assert_balanced(&stats);
            assert_eq!((stats.rejected, stats.in_flight), (1, 0));
            let said = heard.text();
            assert!(
                said.contains(&format!("a redirect to {place} that is not followed")),
                "{said}"
            );
            assert!(!said.contains(KEY), "{said}");
            let degraded = honeyhive.status().degraded;
            assert!(
                degraded.contains(&Degradation::Refused { status }),
                "{degraded:?}"
            );
        }
        assert_eq!(other.connections(), 0);
        assert_eq!(server.requests_to(TRACES).len(), 3);
        assert!(server.requests_to("/v1/traces").is_empty());
    }
}

#[test]
fn redirects_in_a_circle_end() {
    let server = Recorder::start();
    server.answer_by(|request| {
        (request.path == TRACES).then(|| Reply::status(307).header("location", TRACES))
    });
    let honeyhive = settings(&server.url).build().unwrap();
    emit(&honeyhive, 2);
    assert!(honeyhive.flush_blocking(LONG).unwrap_err().is_delivery());
    assert!(
        server.requests_to(TRACES).len() <= 4,
        "{}",
        server.requests_to(TRACES).len()
    );
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.rejected, stats.in_flight), (2, 0));
}

#[test]
fn attempts_at_a_dead_endpoint_grow_rare() {
    let server = Fault::start([], Act::Raw(b""));
    let honeyhive = settings(&server.url)
        .retry_first_delay(Duration::from_secs(1))
        .build()
        .unwrap();
    emit(&honeyhive, 2_000);
    assert!(
        honeyhive
            .flush_blocking(Duration::from_secs(3))
            .unwrap_err()
            .is_timeout()
    );
    // At once, after half a second to one, after one to two more.
    assert!(
        (2..=9).contains(&server.connections()),
        "{}",
        server.connections()
    );
    assert_balanced(&honeyhive.stats());
}

#[test]
fn a_name_that_does_not_resolve_holds_nobody_up() {
    let honeyhive = settings("http://honeyhive.invalid")
        .allow_insecure(true)
        .build()
        .unwrap();
    emit(&honeyhive, 5);
    let started = Instant::now();
    let error = honeyhive.flush_blocking(SHORT).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let error = honeyhive.shutdown_blocking(SHORT).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(
        started.elapsed() < 2 * (SHORT + SLACK),
        "{:?}",
        started.elapsed()
    );
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.in_flight, stats.dropped.total()), (0, 5));
}

#[test]
fn an_address_of_ipv6_is_reached() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        // A machine without IPv6.
        return;
    };
    let server = Recorder::start_on(listener);
    assert!(server.url.starts_with("http://[::1]:"), "{}", server.url);
    let honeyhive = settings(&format!("{}//", server.url)).build().unwrap();
    emit(&honeyhive, 2);
    honeyhive.flush_blocking(LONG).unwrap();
    assert_eq!(server.requests_to(TRACES).len(), 1);
    assert_all_exported(&honeyhive.stats(), 2);
}
