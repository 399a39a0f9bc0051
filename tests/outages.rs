//! Endpoints that are down or slow, in full length where HONEYHIVE_LONG_TESTS is set: who waits how long, and what it
//! costs. The figures are printed.

mod support;

use std::time::{Duration, Instant};

use honeyhive::Session;
use honeyhive::report::{Degradation, DropReason};
use support::fault::*;
use support::*;

const LONG: Duration = Duration::from_secs(30);
/// What a deadline may be missed by on a busy machine; the promise is 100 ms.
const SLACK: Duration = Duration::from_millis(500);

fn is_unreachable(honeyhive: &honeyhive::HoneyHive) -> bool {
    let degraded = honeyhive.status().degraded;
    degraded
        .iter()
        .any(|found| matches!(found, Degradation::Unreachable { .. }))
}

/// A second of waiting, or less where there is no time for it.
fn scaled(full: u64, otherwise: u64) -> Duration {
    Duration::from_millis(if in_full() { full } else { otherwise })
}

/// Nobody listens. In full for a minute, otherwise for eight seconds.
#[cfg(target_os = "linux")]
#[test]
fn an_outage_costs_next_to_nothing() {
    if let Some(output) = in_process_of_its_own("an_outage_costs_next_to_nothing", &[]) {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    const MIB: u64 = 1024;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let honeyhive = settings(&format!("http://{nobody}"))
        .flush_interval(Duration::from_secs(1))
        .max_queue_bytes(8 << 20)
        .build()
        .unwrap();
    let subscriber = Heard::default().dispatch(&honeyhive);
    tracing::dispatcher::with_default(&subscriber, || {
        drop(tracing::info_span!("the first one"));
    });
    until("the outage", || is_unreachable(&honeyhive));
    let (started, before) = (Instant::now(), of_process("VmRSS"));
    let spent_before = export_thread_time();
    let mut busy = Duration::ZERO;
    let mut worst = Duration::ZERO;
    let mut done = 1;
    tracing::dispatcher::with_default(&subscriber, || {
        // 50,000 in five seconds.
        for burst in 0..50 {
            let begun = Instant::now();
            for n in 0..1_000 {
                tracing::info_span!("work", n, text = "forty characters of text, more or less")
                    .in_scope(|| {});
            }
            worst = worst.max(begun.elapsed());
            busy += begun.elapsed();
            done += 1_000;
            let next = started + Duration::from_millis(100) * (burst + 1);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    let length = scaled(60_000, 8_000);
    std::thread::sleep((started + length).saturating_duration_since(Instant::now()));
    let share =
        (export_thread_time() - spent_before).as_secs_f64() / started.elapsed().as_secs_f64();
    let grown = of_process("VmHWM").saturating_sub(before);
    let stats = honeyhive.stats();
    println!(
        "refused for {length:?}: {} connects, export thread {:.2} % of a core, memory +{} KiB, 1,000 spans took {worst:?} \
         at most, {:?} a span, {} of {} dropped",
        stats.retried,
        share * 100.0,
        grown,
        busy / 50_000,
        stats.dropped.total(),
        stats.submitted,
    );
    assert!((2..=12).contains(&stats.retried), "{stats:#?}");
    assert_eq!(stats.bytes_sent, 0);
    // Half of it is the burst itself where the test is short.
    assert!(share < if in_full() { 0.01 } else { 0.05 }, "{share}");
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    assert!(grown < (8 + 2 * 4 + 8) * MIB, "{grown} KiB");
    assert_balanced(&stats);
    assert_eq!(stats.submitted, done);
    assert_eq!(
        stats.dropped.of(DropReason::QueueFull),
        stats.dropped.total()
    );
    assert!(
        stats.dropped.total() > 0 && stats.in_flight > 10_000,
        "{stats:#?}"
    );
    let error = honeyhive.shutdown_blocking(Duration::ZERO).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.in_flight, stats.dropped.total()), (0, done));
}

/// The kernel of the other side swallows what would open a connection.
#[test]
fn a_swallowed_connection_is_given_up_in_time() {
    let server = Swallow::start();
    let honeyhive = settings(&server.url).build().unwrap();
    emit(&honeyhive, 5);
    let started = Instant::now();
    let error = honeyhive
        .flush_blocking(Duration::from_secs(1))
        .unwrap_err();
    let flushed = started.elapsed();
    assert!(error.is_timeout(), "{error}");
    assert!(flushed < Duration::from_secs(1) + SLACK, "{flushed:?}");
    assert_eq!(error.flush_report().unwrap().left, 5);
    until("the connection to be given up", || {
        is_unreachable(&honeyhive)
    });
    let given_up = started.elapsed();
    // Three seconds, and what the batch waited for its session.
    assert!(given_up >= Duration::from_millis(2_900), "{given_up:?}");
    assert!(given_up < Duration::from_secs(5) + SLACK, "{given_up:?}");
    assert_eq!(honeyhive.stats().bytes_sent, 0);
    assert_balanced(&honeyhive.stats());
    let started = Instant::now();
    let error = honeyhive
        .shutdown_blocking(Duration::from_secs(2))
        .unwrap_err();
    let stopped = started.elapsed();
    assert!(error.is_timeout(), "{error}");
    assert!(stopped < Duration::from_secs(2) + SLACK, "{stopped:?}");
    println!(
        "swallowed: flush(1 s) {flushed:?}, given up after {given_up:?}, shutdown(2 s) {stopped:?}"
    );
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.in_flight, stats.dropped.of(DropReason::Shutdown)),
        (0, 5)
    );
}

/// Accepted and never answered. In full with the default of ten seconds, otherwise with one.
#[test]
fn an_unanswered_request_is_given_up_in_time() {
    let limit = scaled(10_000, 1_000);
    let server = Fault::script(|request| match request.path.as_str() {
        TRACES => Act::Silence,
        _ => Act::Keep(OK),
    });
    let builder = settings(&server.url);
    let builder = if in_full() {
        builder
    } else {
        builder.export_timeout(limit)
    };
    let honeyhive = builder.build().unwrap();
    emit(&honeyhive, 5);
    let started = Instant::now();
    let error = honeyhive
        .flush_blocking(Duration::from_millis(500))
        .unwrap_err();
    let flushed = started.elapsed();
    assert!(
        error.is_timeout() && flushed < Duration::from_millis(500) + SLACK,
        "{flushed:?}"
    );
    until("the request to be given up", || is_unreachable(&honeyhive));
    let given_up = started.elapsed();
    assert!(
        given_up >= limit - Duration::from_millis(50),
        "{given_up:?}"
    );
    assert!(given_up < limit + 2 * SLACK, "{given_up:?}");
    let started = Instant::now();
    let error = honeyhive
        .shutdown_blocking(Duration::from_millis(700))
        .unwrap_err();
    let stopped = started.elapsed();
    assert!(
        error.is_timeout() && stopped < Duration::from_millis(700) + SLACK,
        "{stopped:?}"
    );
    println!(
        "unanswered: flush(500 ms) {flushed:?}, given up after {given_up:?}, shutdown(700 ms) {stopped:?}"
    );
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.in_flight, stats.dropped.of(DropReason::Shutdown)),
        (0, 5)
    );
}

/// A name server that hangs: `getaddrinfo` of the process takes thirty seconds.
#[cfg(target_os = "linux")]
#[test]
fn a_resolver_that_hangs_holds_nobody_up() {
    let test = "a_resolver_that_hangs_holds_nobody_up";
    if std::env::var_os("TEST_IN_ITS_OWN_PROCESS").is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("hang.c"), folder.path().join("hang.so"));
        let code = "#include <unistd.h>\n\
                    int getaddrinfo(const char *a, const char *b, const void *c, void **d) { sleep(30); return -3; }\n";
        std::fs::write(&source, code).unwrap();
        let mut compiler = std::process::Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source);
        assert!(compiler.status().expect("a C compiler").success());
        let started = Instant::now();
        let preload = library.to_str().unwrap();
        let output = in_process_of_its_own(test, &[("LD_PRELOAD", preload)]).unwrap();
        let took = started.elapsed();
        print!("{}", String::from_utf8_lossy(&output.stdout));
        println!("hanging resolver: the process ended after {took:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
        return;
    }
    let honeyhive = settings("https://honeyhive.example").build().unwrap();
    emit(&honeyhive, 5);
    let started = Instant::now();
    let error = honeyhive
        .flush_blocking(Duration::from_secs(1))
        .unwrap_err();
    let flushed = started.elapsed();
    assert!(error.is_timeout(), "{error}");
    assert!(flushed < Duration::from_secs(1) + SLACK, "{flushed:?}");
    until("the lookup to be given up", || is_unreachable(&honeyhive));
    let given_up = started.elapsed();
    assert!(given_up < Duration::from_secs(5) + SLACK, "{given_up:?}");
    let started = Instant::now();
    let error = honeyhive
        .shutdown_blocking(Duration::from_secs(2))
        .unwrap_err();
    let stopped = started.elapsed();
    assert!(error.is_timeout(), "{error}");
    assert!(stopped < Duration::from_secs(2) + SLACK, "{stopped:?}");
    let threads = of_process("Threads");
    println!(
        "hanging resolver: flush(1 s) {flushed:?}, given up after {given_up:?}, shutdown(2 s) {stopped:?}, {threads} threads"
    );
    assert!(threads < 16, "{threads}");
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.in_flight, stats.dropped.of(DropReason::Shutdown)),
        (0, 5)
    );
}

/// Sessions are announced to a server that swallows announcements: the first batch waits a little, the others do not.
#[test]
fn unanswered_announcements_hold_back_one_batch_at_most() {
    let server = Fault::script(|request| match request.path.as_str() {
        SESSIONS => Act::Silence,
        _ => Act::Keep(OK),
    });
    let honeyhive = settings(&server.url)
        .max_export_batch_size(10)
        .build()
        .unwrap();
    let subscriber = Heard::default().dispatch(&honeyhive);
    let mut waits = Vec::new();
    let mut sessions = 0;
    for round in 0..4 {
        tracing::dispatcher::with_default(&subscriber, || {
            // More than are announced at once.
            for _ in 0..50 {
                let session = Session::start("silent");
                session.in_scope(|| drop(tracing::info_span!("work", round)));
                sessions += 1;
            }
        });
        let started = Instant::now();
        honeyhive.flush_blocking(LONG).unwrap();
        waits.push(started.elapsed());
    }
    println!("unanswered announcements: batches waited {waits:?}");
    assert!(waits[0] < Duration::from_secs(2) + SLACK, "{waits:?}");
    for wait in &waits[1..] {
        assert!(*wait < SLACK, "{waits:?}");
    }
    assert_all_exported(&honeyhive.stats(), sessions);
    // An update waits for them no longer either.
    honeyhive.own_session().enrich(|s| s.metadata("k", 1));
    let started = Instant::now();
    honeyhive.flush_blocking(LONG).unwrap();
    assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());
    assert_eq!(honeyhive.stats().updates_sent, 1);
    // Announcements are under way, but nobody waits for them.
    let started = Instant::now();
    honeyhive.shutdown_blocking(LONG).unwrap();
    assert!(started.elapsed() < 2 * SLACK, "{:?}", started.elapsed());
    assert_all_exported(&honeyhive.stats(), sessions);
}

/// A server that takes its time answers many announcements, one after the other, before their batch.
#[test]
fn a_slow_server_hears_of_every_session_first() {
    let server = Recorder::start();
    // 32 at once, so five rounds: two seconds and a half.
    server.answer_by(|request| {
        if request.path == SESSIONS {
            std::thread::sleep(Duration::from_millis(500));
        }
        None
    });
    let honeyhive = settings(&server.url).build().unwrap();
    let subscriber = Heard::default().dispatch(&honeyhive);
    tracing::dispatcher::with_default(&subscriber, || {
        for _ in 0..150 {
            Session::start("slow").in_scope(|| drop(tracing::info_span!("work")));
        }
    });
    honeyhive.flush_blocking(LONG).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 151);
    assert_eq!(requests[150].path, TRACES);
    assert_eq!(honeyhive.stats().sessions_started, 150);
    assert_all_exported(&honeyhive.stats(), 150);
}

/// A server that finds its voice again is waited for again.
#[test]
fn announcements_come_first_again_once_they_are_answered() {
    let silent = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let told = std::sync::Arc::clone(&silent);
    let server = Fault::script(move |request| match request.path.as_str() {
        SESSIONS if told.load(std::sync::atomic::Ordering::SeqCst) => Act::Silence,
        SESSIONS => {
            std::thread::sleep(Duration::from_millis(100));
            Act::Keep(OK)
        }
        _ => Act::Keep(OK),
    });
    let honeyhive = settings(&server.url)
        .export_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let subscriber = Heard::default().dispatch(&honeyhive);
    let one = |name: &'static str| {
        tracing::dispatcher::with_default(&subscriber, || {
            Session::start(name).in_scope(|| drop(tracing::info_span!("work")));
        });
        honeyhive.flush_blocking(LONG).unwrap();
    };
    one("first");
    until("the announcement to be given up", || {
        honeyhive.stats().sessions_failed > 0
    });
    silent.store(false, std::sync::atomic::Ordering::SeqCst);
    // This one goes out beside its batch, and is answered.
    one("second");
    until("an answer", || honeyhive.stats().sessions_started == 1);
    one("third");
    let requests = server.requests();
    let paths: Vec<&str> = requests
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(paths[paths.len() - 2..], [SESSIONS, TRACES]);
    let stats = honeyhive.stats();
    assert_eq!((stats.sessions_started, stats.sessions_failed), (2, 1));
    assert_all_exported(&stats, 3);
}

/// Heads and bodies a byte a second, and a body without an end. In full with ten seconds, otherwise with one.
#[test]
fn a_slow_answer_is_cut_off() {
    let limit = scaled(10_000, 1_000);
    let pause = scaled(1_000, 100);
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n";
    for (act, delivered) in [
        (
            Act::Drip(
                b"HTTP/1.1 200 OK\r\n",
                b"x-padding: a header that takes its time",
                pause,
            ),
            false,
        ),
        (Act::Drip(head, &[b'x'; 400], pause), true),
    ] {
        let slow = act.clone();
        let begun = std::sync::Mutex::new(false);
        let server = Fault::script(move |request| {
            let first =
                request.path == TRACES && !std::mem::replace(&mut begun.lock().unwrap(), true);
            if first { slow.clone() } else { Act::Keep(OK) }
        });
        let honeyhive = settings(&server.url).export_timeout(limit).build().unwrap();
        // The session is announced by then.
        emit(&honeyhive, 2);
        let started = Instant::now();
        honeyhive.flush_blocking(LONG).unwrap();
        let took = started.elapsed();
        println!("slow answer, delivered at once: {delivered}: {took:?}");
        assert!(took >= limit - Duration::from_millis(50), "{took:?}");
        assert!(took < limit + Duration::from_secs(2) + SLACK, "{took:?}");
        assert_eq!(
            server.requests_to(TRACES).len(),
            if delivered { 1 } else { 2 }
        );
        assert_eq!(honeyhive.stats().retried, u64::from(!delivered));
        assert_all_exported(&honeyhive.stats(), 2);
    }
}

#[test]
fn an_endless_answer_is_read_up_to_a_limit() {
    for head in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n",
    ] {
        let server = Fault::script(move |request| match request.path.as_str() {
            TRACES => Act::Endless(head),
            _ => Act::Keep(OK),
        });
        let honeyhive = settings(&server.url).build().unwrap();
        emit(&honeyhive, 2);
        let started = Instant::now();
        honeyhive.flush_blocking(LONG).unwrap();
        println!(
            "endless answer: {} bytes, {:?}",
            server.poured(),
            started.elapsed()
        );
        // Four MiB are read; what the sockets hold of it comes on top.
        assert!(server.poured() < 32 << 20, "{}", server.poured());
        assert_all_exported(&honeyhive.stats(), 2);
    }
}

/// A connection that breaks is tried again at once, on a fresh one, and never more than once.
#[test]
fn a_broken_connection_is_repeated_at_once() {
    for (name, act) in [
        ("reset in the request", Act::Reset),
        (
            "reset in the answer",
            Act::ResetAfter(b"HTTP/1.1 200 OK\r\ncontent-le"),
        ),
        ("closed without an answer", Act::Raw(b"")),
        ("closed in the answer", Act::Raw(b"HTTP/1.1 2")),
    ] {
        // The announcement is answered, and its connection closed.
        let ok = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let server = Fault::start([Act::Raw(ok), act], Act::Keep(OK));
        let honeyhive = settings(&server.url).build().unwrap();
        let heard = Heard::default();
        let subscriber = heard.dispatch(&honeyhive);
        tracing::dispatcher::with_default(&subscriber, || {
            (0..100).for_each(|n| drop(tracing::info_span!("work", n)));
        });
        let started = Instant::now();
        honeyhive.flush_blocking(LONG).unwrap();
        println!("{name}: delivered after {:?}", started.elapsed());
        // There was no waiting, or it would have been said.
        assert_eq!(heard.text(), "", "{name}");
        assert_eq!(server.connections(), 3, "{name}");
        let stats = honeyhive.stats();
        assert_eq!(stats.retried, 1, "{name}");
        let delivered = server.requests_to(TRACES);
        let length = delivered.last().unwrap().body.len() as u64;
        assert_eq!(stats.bytes_sent, 2 * length, "{name}");
        assert_all_exported(&stats, 100);
        assert!(
            honeyhive.status().is_healthy(),
            "{name}: {}",
            honeyhive.status()
        );
    }
}

/// The second attempt has what the first one left of the time.
#[test]
fn a_repeated_request_takes_no_longer_than_one() {
    let begun = std::sync::atomic::AtomicBool::new(false);
    let server = Fault::script(move |request| {
        if request.path != TRACES {
            return Act::Keep(OK);
        }
        if begun.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return Act::Silence;
        }
        std::thread::sleep(Duration::from_millis(1_500));
        Act::Raw(b"")
    });
    let limit = Duration::from_secs(2);
    let honeyhive = settings(&server.url).export_timeout(limit).build().unwrap();
    emit(&honeyhive, 5);
    let started = Instant::now();
    honeyhive
        .flush_blocking(Duration::from_millis(100))
        .unwrap_err();
    until("the request to be given up", || is_unreachable(&honeyhive));
    let took = started.elapsed();
    assert!(took >= limit - Duration::from_millis(50), "{took:?}");
    assert!(took < limit + 2 * SLACK, "{took:?}");
    assert_eq!(server.requests_to(TRACES).len(), 2);
    assert_balanced(&honeyhive.stats());
}

#[test]
fn an_endpoint_that_breaks_every_connection_is_left_alone() {
    let server = Fault::start([], Act::Raw(b""));
    let honeyhive = settings(&server.url)
        .skip_session_start(true)
        .session_id("6f1c1a3e-5a3e-4d1c-9a40-4a5d3c1b2a10")
        .retry_first_delay(Duration::from_secs(1))
        .build()
        .unwrap();
    emit(&honeyhive, 5);
    honeyhive
        .flush_blocking(Duration::from_secs(2))
        .unwrap_err();
    // Twice at once, then after half a second to one, and perhaps after one to two more.
    let connections = server.connections();
    assert!((3..=4).contains(&connections), "{connections}");
    assert_balanced(&honeyhive.stats());
}

/// Connections that the peer closes without a word after each answer: each is replaced, and nothing waits for it.
#[test]
fn connections_that_the_peer_closed_cost_no_wait() {
    let server = Fault::start([], Act::Raw(OK));
    let honeyhive = settings(&server.url).build().unwrap();
    let heard = Heard::default();
    let subscriber = heard.dispatch(&honeyhive);
    for _ in 0..5 {
        tracing::dispatcher::with_default(&subscriber, || drop(tracing::info_span!("work")));
        honeyhive.flush_blocking(LONG).unwrap();
    }
    assert_eq!(server.requests_to(TRACES).len(), 5);
    assert_eq!(server.connections(), 6);
    // Where the end of a connection was not seen in time, the request was repeated at once.
    assert_eq!(heard.text(), "");
    assert_all_exported(&honeyhive.stats(), 5);
}

/// The server says when it wants to be asked again, or nothing of use; measured where it is asked.
#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let second = Duration::from_secs(1);
    let date = |ahead: u64| {
        httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(ahead))
    };
    // A date has whole seconds.
    let cases = [
        (Some("2".to_owned()), 2 * second),
        (Some(date(3)), 2 * second),
        (Some(date(0)), Duration::ZERO),
        (
            Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            Duration::ZERO,
        ),
        (Some("abc".to_owned()), Duration::ZERO),
        (Some("-5".to_owned()), Duration::ZERO),
        (None, Duration::ZERO),
    ];
    std::thread::scope(|scope| {
        for (value, hint) in cases {
            scope.spawn(move || {
                let server = Recorder::start();
                let times = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
                let (told, noted) = (value.clone(), std::sync::Arc::clone(&times));
                server.answer_by(move |request| {
                    let mut times = noted.lock().unwrap();
                    times.extend((request.path == TRACES).then(Instant::now));
                    (request.path == TRACES && times.len() == 1).then(|| match &told {
                        Some(value) => Reply::status(429).header("retry-after", value),
                        None => Reply::status(429),
                    })
                });
                let honeyhive = settings(&server.url)
                    .retry_first_delay(Duration::from_secs(1))
                    .build()
                    .unwrap();
                emit(&honeyhive, 3);
                honeyhive.flush_blocking(LONG).unwrap();
                let times = times.lock().unwrap();
                let waited = times[1] - times[0];
                println!("retry-after {value:?}: asked again after {waited:?}");
                // Our own patience is half a second at least.
                let least = hint.max(Duration::from_millis(500)) - Duration::from_millis(20);
                assert!(waited >= least, "{value:?}: {waited:?}");
                assert!(waited < Duration::from_secs(10), "{value:?}: {waited:?}");
                assert_eq!(times.len(), 2);
                assert_all_exported(&honeyhive.stats(), 3);
            });
        }
    });
}

/// However long the server asks to be left alone, it is asked again after half a minute.
#[test]
#[ignore = "takes half a minute"]
fn the_longest_wait_is_half_a_minute() {
    let server = Recorder::start();
    server.answer_traces([Reply::status(429).header("retry-after", "86400")]);
    let honeyhive = settings(&server.url).build().unwrap();
    emit(&honeyhive, 3);
    let started = Instant::now();
    honeyhive.flush_blocking(Duration::from_secs(60)).unwrap();
    let took = started.elapsed();
    println!("retry-after 86400: asked again after {took:?}");
    assert!(
        took >= Duration::from_secs(30) && took < Duration::from_secs(32),
        "{took:?}"
    );
    assert_eq!(server.requests_to(TRACES).len(), 2);
    assert_all_exported(&honeyhive.stats(), 3);
}

/// A refused key is tried again after a minute, with one request.
#[test]
#[ignore = "takes a minute"]
fn a_refused_key_is_tried_again_after_a_minute() {
    let server = Recorder::start();
    server.answer_traces([Reply::status(401)]);
    let honeyhive = settings(&server.url).build().unwrap();
    let heard = Heard::default();
    let subscriber = heard.dispatch(&honeyhive);
    let work = || drop(tracing::info_span!("work"));
    tracing::dispatcher::with_default(&subscriber, work);
    let started = Instant::now();
    honeyhive.flush_blocking(LONG).unwrap_err();
    while server.requests_to(TRACES).len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(70));
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = started.elapsed();
    println!("refused key: probed after {took:?}");
    assert!(took >= Duration::from_secs(59), "{took:?}");
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 1);
    assert_eq!(heard.times("refused the API key"), 1, "{}", heard.text());
    assert_eq!(heard.times("events are delivered again; none was lost"), 1);
}
