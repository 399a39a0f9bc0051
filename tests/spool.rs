//! What cannot be delivered is kept in files and comes back: outages, ends of processes, damage, limits.
#![cfg(feature = "spool")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use honeyhive::config::{Compression, Protocol};
use honeyhive::report::{Degradation, DropReason, Stats};
use honeyhive::{Builder, HoneyHive};
use proptest::prelude::*;
use support::fault::{Act, Fault};
use support::*;
use tracing::Dispatch;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

const LONG: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(500);
/// What a deadline may be missed by on a busy machine.
const SLACK: Duration = Duration::from_millis(700);
const OTHER_KEY: &str = "hh_fedcba9876543210";

/// An address at which nobody listens yet.
fn nobody() -> SocketAddr {
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    reserved.local_addr().unwrap()
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn server_at(address: SocketAddr) -> Recorder {
    Recorder::start_on(TcpListener::bind(address).unwrap())
}

fn spooling(url: &str, directory: &Path) -> Builder {
    settings(url).spool_dir(directory)
}

/// The field `n` of everything that arrived, in order.
fn numbers(server: &Recorder) -> Vec<u64> {
    let spans = server.spans();
    let number = |span| attribute(span, "honeyhive_inputs.n").unwrap();
    spans
        .iter()
        .map(|span| number(span).parse().unwrap())
        .collect()
}

/// Runs `f` in a subscriber with a layer of the instance.
fn record(honeyhive: &HoneyHive, f: impl FnOnce()) {
    // Where there is one subscriber only, a thread that has none and asks for a new look at all callsites, as a shutdown
    // does, switches them off for the one that has it. So there are always two more.
    static COMPANY: LazyLock<[Dispatch; 2]> = LazyLock::new(|| {
        let deaf = || Dispatch::new(tracing_subscriber::registry().with(LevelFilter::OFF));
        [deaf(), deaf()]
    });
    LazyLock::force(&COMPANY);
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, f);
}

fn emit_numbers(honeyhive: &HoneyHive, numbers: std::ops::Range<u64>) {
    record(honeyhive, || {
        for n in numbers {
            tracing::info_span!("work", n).in_scope(|| {});
        }
    });
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn bytes_in(directory: &Path) -> u64 {
    let length = |file: &PathBuf| file.metadata().map_or(0, |metadata| metadata.len());
    files(directory).iter().map(length).sum()
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

/// Leaves so many events in the directory, as a process does that ends during an outage.
fn leave(directory: &Path, numbers: std::ops::Range<u64>) -> Stats {
    let honeyhive = spooling(&url(nobody()), directory).build().unwrap();
    let count = numbers.end - numbers.start;
    emit_numbers(&honeyhive, numbers);
    let report = honeyhive.shutdown_blocking(LONG).unwrap();
    assert_eq!((report.sent, report.left, report.spooled), (0, 0, count));
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.spooled, stats.in_flight), (count, 0), "{stats:#?}");
    stats
}

#[test]
fn an_outage_costs_a_flush_nothing_and_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let address = nobody();
    let honeyhive = spooling(&url(address), directory.path()).build().unwrap();
    emit_numbers(&honeyhive, 0..20);
    let started = Instant::now();
    let report = honeyhive.flush_blocking(LONG).unwrap();
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
    assert_eq!((report.sent, report.spooled, report.left), (0, 20, 0));
    emit_numbers(&honeyhive, 20..40);
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().spooled, 20);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.spooled, stats.in_flight, stats.queue_bytes),
        (40, 0, 0)
    );
    assert_eq!(stats.spool_bytes, bytes_in(directory.path()));

    let server = server_at(address);
    until("the replay", || honeyhive.stats().spooled == 0);
    // The last of the worker's turn.
    until("an empty directory", || honeyhive.stats().spool_bytes == 0);
    assert_eq!(numbers(&server), (0..40).collect::<Vec<_>>());
    let paths: Vec<_> = server.requests().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, [SESSIONS, TRACES, TRACES]);
    let stats = honeyhive.stats();
    assert_eq!(
        (stats.replayed, stats.recovered, stats.spool_bytes),
        (40, 0, 0)
    );
    assert_all_exported(&stats, 40);
    assert!(honeyhive.status().is_healthy(), "{}", honeyhive.status());

    emit_numbers(&honeyhive, 40..41);
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().sent, 1);
    assert_all_exported(&honeyhive.stats(), 41);
    assert!(files(directory.path()).is_empty());
}

#[test]
fn a_shutdown_during_an_outage_keeps_everything_and_the_next_start_delivers_it() {
    let directory = tempfile::tempdir().unwrap();
    let started = Instant::now();
    leave(directory.path(), 0..700);
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());

    let server = Recorder::start();
    let honeyhive = spooling(&server.url, directory.path()).build().unwrap();
    assert!(
        server.requests().is_empty(),
        "nothing before the first span"
    );
    emit_numbers(&honeyhive, 1000..1001);
    honeyhive.flush_blocking(LONG).unwrap();
    until("the replay", || honeyhive.stats().recovered == 700);
    let stats = honeyhive.stats();
    assert_eq!(
        (stats.replayed, stats.recovered_lost, stats.spool_corrupt),
        (0, 0, 0)
    );
    assert_all_exported(&stats, 1);
    let mut arrived = numbers(&server);
    arrived.retain(|n| *n < 1000);
    assert_eq!(arrived, (0..700).collect::<Vec<_>>());
    assert!(files(directory.path()).is_empty());
    // Two sessions, each announced before its events.
    let requests = server.requests();
    let announced: Vec<_> = requests
        .iter()
        .filter(|request| request.path == SESSIONS)
        .map(|request| request.json()["session"]["session_id"].clone())
        .collect();
    assert_eq!(announced.len(), 2);
    let mut told = BTreeSet::new();
    for request in &requests {
        if request.path == SESSIONS {
            told.insert(
                request.json()["session"]["session_id"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        } else {
            for session in sessions_of(request) {
                assert!(told.contains(&session), "{session} is not announced");
            }
        }
    }
}

fn sessions_of(request: &Request) -> BTreeSet<String> {
    let resources = request.traces().resource_spans.into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    spans.map(|span| traced::session_of(&span)).collect()
}

#[test]
fn a_shutdown_tries_again_once_before_it_keeps() {
    let directory = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    server.answer_traces([Reply::status(503)]);
    let honeyhive = spooling(&server.url, directory.path()).build().unwrap();
    emit_numbers(&honeyhive, 0..5);
    let report = honeyhive.shutdown_blocking(LONG).unwrap();
    assert_eq!((report.sent, report.spooled), (5, 0));
    assert_all_exported(&honeyhive.stats(), 5);
    assert!(files(directory.path()).is_empty());

    // What a flush has kept before gets the same chance, whatever pause it is in.
    server.answer_traces([Reply::status(503)]);
    let honeyhive = spooling(&server.url, directory.path()).build().unwrap();
    emit_numbers(&honeyhive, 0..5);
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().spooled, 5);
    honeyhive.shutdown_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 5);

    // No time for that.
    server.answer_traces([Reply::status(503)]);
    let honeyhive = spooling(&server.url, directory.path())
        .retry_first_delay(Duration::from_secs(9))
        .build()
        .unwrap();
    emit_numbers(&honeyhive, 0..5);
    let started = Instant::now();
    assert_eq!(honeyhive.shutdown_blocking(SHORT).unwrap().spooled, 5);
    assert!(started.elapsed() < SHORT + SLACK, "{:?}", started.elapsed());
}

#[test]
fn a_full_queue_is_written_within_the_deadline_of_a_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let honeyhive = spooling(&url(nobody()), directory.path()).build().unwrap();
    let count = 20_000;
    emit_numbers(&honeyhive, 0..count);
    let started = Instant::now();
    let report = honeyhive.shutdown_blocking(LONG).unwrap();
    let took = started.elapsed();
    println!("{count} events written in {took:?}");
    assert!(took < LONG, "{took:?}");
    assert_eq!((report.spooled, report.left), (count, 0));
    assert_balanced(&honeyhive.stats());
}

#[test]
fn a_flush_alone_starts_the_replay_and_a_shutdown_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    leave(directory.path(), 0..30);
    leave(directory.path(), 30..60);
    let server = Recorder::start();
    let honeyhive = spooling(&server.url, directory.path()).build().unwrap();
    honeyhive.flush_blocking(LONG).unwrap();
    honeyhive.shutdown_blocking(LONG).unwrap();
    assert_eq!(numbers(&server), (0..60).collect::<Vec<_>>());
    assert_eq!(honeyhive.stats().recovered, 60);
    assert!(files(directory.path()).is_empty());
}

#[test]
fn what_is_on_its_way_at_the_end_is_kept_and_deadlines_hold() {
    for immediate in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let silent = Fault::start([], Act::Silence);
        let honeyhive = spooling(&silent.url, directory.path())
            .disable_batch(immediate)
            .build()
            .unwrap();
        emit_numbers(&honeyhive, 0..50);
        let started = Instant::now();
        let report = honeyhive.shutdown_blocking(SHORT).unwrap();
        assert!(started.elapsed() < SHORT + SLACK, "{:?}", started.elapsed());
        assert_eq!((report.spooled, report.left), (50, 0));
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!((stats.spooled, stats.in_flight), (50, 0), "{stats:#?}");

        let server = Recorder::start();
        let next = spooling(&server.url, directory.path()).build().unwrap();
        next.flush_blocking(LONG).unwrap();
        next.shutdown_blocking(LONG).unwrap();
        assert_eq!(numbers(&server), (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn dropping_the_owner_keeps_what_it_cannot_deliver() {
    // Nobody answers; nobody is there and that is known; nobody is there, and there is no time to find out.
    let silent = Fault::start([], Act::Silence);
    for (url, timeout, known) in [
        (silent.url.clone(), SHORT, false),
        (url(nobody()), LONG, true),
        (url(nobody()), LONG, false),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let honeyhive = spooling(&url, directory.path())
            .flush_timeout(timeout)
            .build()
            .unwrap();
        emit_numbers(&honeyhive, 0..10);
        if known {
            honeyhive.flush_blocking(LONG).unwrap();
            emit_numbers(&honeyhive, 10..20);
        }
        let started = Instant::now();
        drop(honeyhive);
        let limit = timeout.min(Duration::from_secs(5)) + SLACK;
        assert!(started.elapsed() < limit, "{:?}", started.elapsed());

        // The worker of the first one ends in its own time.
        let server = Recorder::start();
        let count = if known { 20 } else { 10 };
        until("the replay", || {
            let next = spooling(&server.url, directory.path()).build().unwrap();
            next.flush_blocking(LONG).unwrap();
            next.shutdown_blocking(LONG).unwrap();
            server.spans().len() >= count
        });
        assert_eq!(numbers(&server), (0..count as u64).collect::<Vec<_>>());
    }
}

#[test]
fn a_crowded_queue_moves_to_disk_during_an_outage() {
    let directory = tempfile::tempdir().unwrap();
    let address = nobody();
    let honeyhive = spooling(&url(address), directory.path())
        .max_queue_size(1000)
        .batch_size(50)
        .max_export_batch_size(100)
        .build()
        .unwrap();
    let count = 5000;
    for start in (0..count).step_by(100) {
        until("room in the queue", || honeyhive.stats().in_flight <= 600);
        emit_numbers(&honeyhive, start..start + 100);
    }
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(stats.dropped.total(), 0, "{stats:#?}");
    assert!(stats.spooled >= 4000, "{stats:#?}");

    let server = server_at(address);
    honeyhive.flush_blocking(LONG).unwrap();
    until("the replay", || honeyhive.stats().spooled == 0);
    assert_all_exported(&honeyhive.stats(), count);
    let mut arrived = numbers(&server);
    arrived.sort_unstable();
    assert_eq!(arrived, (0..count).collect::<Vec<_>>());
}

#[test]
fn the_limit_is_kept_and_what_does_not_fit_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let honeyhive = spooling(&url(nobody()), directory.path())
        .spool_max_bytes(1 << 20)
        .max_export_batch_size(1)
        .build()
        .unwrap();
    let text = "x".repeat(50_000);
    record(&honeyhive, || {
        for n in 0..40_u64 {
            tracing::info_span!("work", n, text).in_scope(|| {});
        }
    });
    let error = honeyhive.shutdown_blocking(LONG).unwrap_err();
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    let full = stats.dropped.of(DropReason::SpoolFull);
    assert!(full >= 19 && stats.spooled >= 18, "{stats:#?}");
    assert_eq!(full + stats.spooled, 40);
    let report = error.flush_report().unwrap();
    assert_eq!((report.failed, report.spooled), (full, stats.spooled));
    assert!(bytes_in(directory.path()) <= 1 << 20);

    // What was taken is what came first.
    let server = Recorder::start();
    let next = spooling(&server.url, directory.path()).build().unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(LONG).unwrap();
    assert_eq!(numbers(&server), (0..stats.spooled).collect::<Vec<_>>());
}

#[test]
fn a_directory_that_cannot_be_written_changes_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("spool");
    let server = Recorder::start();
    let honeyhive = spooling(&server.url, &below).build().unwrap();
    emit_numbers(&honeyhive, 0..10);
    honeyhive.flush_blocking(LONG).unwrap();
    assert_all_exported(&honeyhive.stats(), 10);

    let honeyhive = spooling(&url(nobody()), &below).build().unwrap();
    emit_numbers(&honeyhive, 0..10);
    let error = honeyhive.shutdown_blocking(SHORT).unwrap_err();
    assert_eq!(error.flush_report().unwrap().left, 10);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(stats.dropped.of(DropReason::Shutdown), 10);
    assert!(
        honeyhive
            .status()
            .degraded
            .iter()
            .any(|it| matches!(it, Degradation::SpoolFailed { .. })),
        "{}",
        honeyhive.status()
    );
}

#[test]
fn a_session_is_not_announced_again_by_who_replays() {
    let directory = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    server.answer_by(move |request| {
        let refused = is_down.load(Ordering::SeqCst) && request.path == TRACES;
        refused.then(|| Reply::status(503))
    });
    let honeyhive = spooling(&server.url, directory.path()).build().unwrap();
    emit_numbers(&honeyhive, 0..5);
    assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().spooled, 5);
    down.store(false, Ordering::SeqCst);
    let next = spooling(&server.url, directory.path()).build().unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(LONG).unwrap();
    assert_eq!(next.stats().recovered, 5);
    assert_eq!(server.requests_to(SESSIONS).len(), 1);
    // On another server nobody knows of it.
    let directory = tempfile::tempdir().unwrap();
    down.store(true, Ordering::SeqCst);
    let honeyhive = spooling(&server.url, directory.path()).build().unwrap();
    emit_numbers(&honeyhive, 0..5);
    assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().spooled, 5);
    let other = Recorder::start();
    let next = spooling(&other.url, directory.path()).build().unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(LONG).unwrap();
    assert_eq!(other.requests().len(), 2);
    assert_eq!(other.requests()[0].path, SESSIONS);
}

#[test]
fn another_key_delivers_what_one_was_refused_for_and_no_secret_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    server.answer_by(|request| {
        let refused = request.header("authorization") == Some(&format!("Bearer {KEY}"));
        refused.then(|| Reply::status(401))
    });
    let honeyhive = spooling(&server.url, directory.path())
        .headers([("x-secret", "header-secret-123")])
        .build()
        .unwrap();
    record(&honeyhive, || {
        let (api_key, note) = ("sk-very-secret-value-42", "plain words");
        tracing::info_span!("work", n = 0, api_key, note).in_scope(|| {});
    });
    // A refused key is an error as ever; what waits is kept at shutdown.
    assert!(honeyhive.flush_blocking(LONG).unwrap_err().is_delivery());
    assert_eq!(honeyhive.stats().in_flight, 1);
    assert_eq!(honeyhive.shutdown_blocking(LONG).unwrap().spooled, 1);
    assert_balanced(&honeyhive.stats());

    let kept = files(directory.path());
    assert_eq!(kept.len(), 1, "{kept:?}");
    let bytes = std::fs::read(&kept[0]).unwrap();
    assert!(contains(&bytes, "plain words"), "it is what would be sent");
    for secret in [
        KEY,
        "sk-very-secret-value-42",
        "header-secret-123",
        "Bearer",
    ] {
        assert!(!contains(&bytes, secret), "{secret} is on disk");
    }

    let next = spooling(&server.url, directory.path())
        .api_key(OTHER_KEY)
        .build()
        .unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(LONG).unwrap();
    assert_eq!(next.stats().recovered, 1);
    let with_other: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|request| request.header("authorization") == Some(&format!("Bearer {OTHER_KEY}")))
        .map(|request| request.path)
        .collect();
    assert_eq!(with_other, [SESSIONS, TRACES]);
}

/// Every secret an instance may know of.
fn keep_secrets(key: &str, secret: &str) {
    let directory = tempfile::tempdir().unwrap();
    let honeyhive = spooling(&url(nobody()), directory.path())
        .api_key(key)
        .headers([("x-token", secret)])
        .session_inputs(serde_json::json!({ "password": secret, "topic": "plain words" }))
        .build()
        .unwrap();
    record(&honeyhive, || {
        tracing::info_span!("work", n = 0, api_key = secret).in_scope(|| {});
    });
    honeyhive
        .own_session()
        .enrich(|s| s.metadata("access_token", secret));
    honeyhive.flush_blocking(LONG).unwrap();
    let stats = honeyhive.stats();
    assert_eq!((stats.spooled, stats.updates_spooled), (1, 1), "{stats:#?}");
    let kept = files(directory.path());
    let bytes: Vec<u8> = kept
        .iter()
        .flat_map(|file| std::fs::read(file).unwrap())
        .collect();
    assert!(contains(&bytes, "plain words"));
    for hidden in [key, secret] {
        let escaped = serde_json::Value::from(hidden).to_string();
        let escaped = &escaped[1..escaped.len() - 1];
        let found = contains(&bytes, hidden) || contains(&bytes, escaped);
        assert!(!found, "{hidden} is on disk");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn no_secret_is_ever_on_disk(key in "hh_[a-zA-Z0-9_-]{16,40}", secret in "[a-zA-Z0-9+/=._-]{16,40}") {
        keep_secrets(&key, &secret);
    }
}

#[test]
fn bodies_come_back_in_the_encoding_they_were_kept_in() {
    let directory = tempfile::tempdir().unwrap();
    let honeyhive = spooling(&url(nobody()), directory.path())
        .protocol(Protocol::HttpJson)
        .build()
        .unwrap();
    emit_numbers(&honeyhive, 0..40);
    honeyhive.shutdown_blocking(LONG).unwrap();
    leave(directory.path(), 40..80);

    // A server that takes no compressed bodies: each is repeated once, the next ones come plain at once.
    let server = Recorder::start();
    server.answer_by(|request| {
        let compressed = request.header("content-encoding").is_some();
        compressed.then(|| Reply::status(415))
    });
    let next = spooling(&server.url, directory.path())
        .compression(Compression::Gzip)
        .build()
        .unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(LONG).unwrap();
    assert_eq!(next.stats().recovered, 80);
    let requests = server.requests_to(TRACES);
    let seen: Vec<_> = requests
        .iter()
        .map(|it| {
            (
                it.header("content-type").unwrap(),
                it.header("content-encoding"),
            )
        })
        .collect();
    let (json, protobuf) = ("application/json", "application/x-protobuf");
    assert_eq!(seen, [(json, Some("gzip")), (json, None), (protobuf, None)]);
    let scope = &requests[1].json()["resourceSpans"][0]["scopeSpans"][0];
    assert_eq!(scope["spans"].as_array().unwrap().len(), 40);
}

#[test]
fn a_new_key_in_a_running_instance_goes_for_what_was_kept_too() {
    let directory = tempfile::tempdir().unwrap();
    let dead = nobody();
    let server = Recorder::start();
    let honeyhive = spooling(&url(dead), directory.path()).build().unwrap();
    emit_numbers(&honeyhive, 0..5);
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().spooled, 5);
    honeyhive
        .reconfigure(|settings| settings.server_url(server.url.as_str()).api_key(OTHER_KEY))
        .unwrap();
    until("the replay", || honeyhive.stats().spooled == 0);
    assert_all_exported(&honeyhive.stats(), 5);
    let bearer = format!("Bearer {OTHER_KEY}");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|it| it.header("authorization") == Some(&bearer))
    );
}

#[test]
fn updates_are_kept_and_follow_their_events() {
    let directory = tempfile::tempdir().unwrap();
    let address = nobody();
    let honeyhive = spooling(&url(address), directory.path()).build().unwrap();
    emit_numbers(&honeyhive, 0..3);
    let event = honeyhive::EventId::parse("7f3a5c10-0000-4000-8000-000000000001").unwrap();
    honeyhive
        .own_session()
        .enrich(|s| s.metadata("verdict", "good"));
    honeyhive.enrich_event(event, |e| e.feedback("rating", 5));
    honeyhive.flush_blocking(LONG).unwrap();
    let stats = honeyhive.stats();
    assert_eq!((stats.spooled, stats.updates_spooled), (3, 2), "{stats:#?}");

    let server = server_at(address);
    until("the replay", || honeyhive.stats().updates_spooled == 0);
    let stats = honeyhive.stats();
    assert_eq!((stats.updates_sent, stats.updates_lost), (2, 0));
    assert_all_exported(&stats, 3);
    let requests = server.requests();
    assert_eq!(requests[0].path, SESSIONS);
    let at = |path: &str, id: &str| {
        let found = requests.iter().position(|request| {
            request.path == path && (path == TRACES || request.json()["event_id"] == id)
        });
        found.unwrap_or_else(|| panic!("{path} of {id}: {requests:#?}"))
    };
    let session = at("/events", &honeyhive.session_id().to_string());
    assert_eq!(requests[session].method, "PUT");
    assert_eq!(requests[session].json()["metadata"]["verdict"], "good");
    assert!(at("/events", &event.to_string()) > at(TRACES, ""));
    assert_eq!(requests.len(), 4);
}

#[test]
fn what_is_kept_is_split_refused_and_partly_refused_as_ever() {
    let directory = tempfile::tempdir().unwrap();
    leave(directory.path(), 0..8);
    let server = Recorder::start();
    server.answer_by(|request| {
        if request.path != TRACES {
            return None;
        }
        let spans = request.traces().resource_spans[0].scope_spans[0]
            .spans
            .len();
        match spans {
            3.. => Some(Reply::status(413)),
            _ => None,
        }
    });
    let honeyhive = spooling(&server.url, directory.path()).build().unwrap();
    honeyhive.flush_blocking(LONG).unwrap();
    honeyhive.shutdown_blocking(LONG).unwrap();
    assert_eq!(honeyhive.stats().recovered, 8);
    assert_eq!(server.batches(), [8, 4, 2, 2, 4, 2, 2]);

    // This instance's own, refused for good.
    let address = nobody();
    let honeyhive = spooling(&url(address), directory.path()).build().unwrap();
    emit_numbers(&honeyhive, 0..5);
    assert_eq!(honeyhive.flush_blocking(LONG).unwrap().spooled, 5);
    let server = Recorder::start_on(TcpListener::bind(address).unwrap());
    server.answer_by(|request| (request.path == TRACES).then(|| Reply::status(400)));
    until("the replay", || honeyhive.stats().spooled == 0);
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!((stats.rejected, stats.exported, stats.in_flight), (5, 0, 0));

    // Another process's.
    leave(directory.path(), 0..5);
    let next = spooling(&server.url, directory.path()).build().unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(LONG).unwrap();
    let stats = next.stats();
    assert_balanced(&stats);
    assert_eq!(
        (stats.submitted, stats.recovered, stats.recovered_lost),
        (0, 0, 5)
    );
    assert!(files(directory.path()).is_empty());
}

#[test]
fn a_damaged_file_costs_what_is_damaged_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let honeyhive = spooling(&url(nobody()), directory.path())
        .max_export_batch_size(10)
        .build()
        .unwrap();
    emit_numbers(&honeyhive, 0..50);
    honeyhive.shutdown_blocking(LONG).unwrap();
    let file = &files(directory.path())[0];
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(file, bytes).unwrap();

    let server = Recorder::start();
    let next = spooling(&server.url, directory.path()).build().unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(LONG).unwrap();
    let stats = next.stats();
    assert_eq!(
        (stats.recovered, stats.spool_corrupt),
        (40, 1),
        "{stats:#?}"
    );
    let expected: Vec<u64> = (0..20).chain(30..50).collect();
    assert_eq!(numbers(&server), expected);
}

/// Runs a test of this file again in a process that does one part of it.
fn child(test: &str, directory: &Path, url: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
        .env("TEST_SPOOL", directory)
        .env("TEST_URL", url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// What the process was told, if it is such a one.
fn told() -> Option<(PathBuf, String)> {
    let directory = std::env::var_os("TEST_SPOOL")?;
    Some((directory.into(), std::env::var("TEST_URL").unwrap()))
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_that_was_kept() {
    if let Some((directory, url)) = told() {
        let honeyhive = spooling(&url, &directory).build().unwrap();
        let first: u64 = std::env::var("TEST_FIRST").unwrap().parse().unwrap();
        for start in (first..).step_by(3) {
            emit_numbers(&honeyhive, start..start + 3);
            assert_eq!(honeyhive.flush_blocking(LONG).unwrap().left, 0);
            println!("kept {}", start + 3);
            std::io::stdout().flush().unwrap();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let dead = url(nobody());
    let mut kept = BTreeSet::new();
    let test = "a_process_killed_at_any_moment_loses_nothing_that_was_kept";
    for round in 0..8_u64 {
        let first = round * 1_000_000;
        let mut process = child(test, directory.path(), &dead)
            .env("TEST_FIRST", first.to_string())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut upto = first;
        let mut read = |upto: &mut u64| {
            let line = lines.next()?.ok()?;
            if let Some(number) = line.strip_prefix("kept ") {
                *upto = number.parse().unwrap();
            }
            Some(())
        };
        // So many flushes, and a random moment of the next ones.
        while upto < first + 3 * (1 + round) {
            read(&mut upto).expect("more");
        }
        std::thread::sleep(Duration::from_micros(round * 700));
        process.kill().unwrap();
        process.wait().unwrap();
        while read(&mut upto).is_some() {}
        kept.extend(first..upto);
    }
    let server = Recorder::start();
    let next = spooling(&server.url, directory.path()).build().unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(PATIENCE).unwrap();
    let arrived = numbers(&server);
    let once: BTreeSet<u64> = arrived.iter().copied().collect();
    assert_eq!(once.len(), arrived.len(), "nothing arrives twice");
    let missing: Vec<_> = kept.difference(&once).collect();
    assert!(missing.is_empty(), "kept and not delivered: {missing:?}");
    assert_eq!(next.stats().spool_corrupt, 0);
    assert!(files(directory.path()).is_empty());
}

#[test]
fn a_process_killed_while_it_replays_loses_nothing() {
    if let Some((directory, url)) = told() {
        let honeyhive = spooling(&url, &directory).build().unwrap();
        honeyhive.flush_blocking(LONG).unwrap();
        println!("\nstarted");
        honeyhive.shutdown_blocking(PATIENCE).unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let honeyhive = spooling(&url(nobody()), directory.path())
        .max_export_batch_size(5)
        .build()
        .unwrap();
    let count = 500;
    emit_numbers(&honeyhive, 0..count);
    honeyhive.shutdown_blocking(LONG).unwrap();
    let server = Recorder::start();
    // So many batches are answered; the next one waits.
    let allowed = Arc::new(AtomicUsize::new(0));
    let (seen, quota) = (AtomicUsize::new(0), Arc::clone(&allowed));
    server.answer_by(move |request| {
        if request.path == TRACES {
            let number = seen.fetch_add(1, Ordering::SeqCst);
            let deadline = Instant::now() + PATIENCE;
            while number >= quota.load(Ordering::SeqCst) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        None
    });
    let test = "a_process_killed_while_it_replays_loses_nothing";
    let kills = 6;
    for round in 0..kills {
        let upto = allowed.fetch_add(3 + round, Ordering::SeqCst) + 3 + round;
        let mut process = child(test, directory.path(), &server.url).spawn().unwrap();
        until("a part of the replay", || {
            server.requests_to(TRACES).len() > upto
        });
        process.kill().unwrap();
        process.wait().unwrap();
    }
    allowed.store(usize::MAX, Ordering::SeqCst);
    let next = spooling(&server.url, directory.path()).build().unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(PATIENCE).unwrap();
    let arrived = numbers(&server);
    let once: BTreeSet<u64> = arrived.iter().copied().collect();
    assert_eq!(once, (0..count).collect());
    // One request under way each time it was killed, and no more, comes again.
    let again = arrived.len() - once.len();
    assert!(again <= 5 * kills, "{again} events arrived twice");
    assert!(files(directory.path()).is_empty());
}

#[test]
fn processes_that_share_a_directory_deliver_each_event_once() {
    if let Some((directory, url)) = told() {
        let honeyhive = spooling(&url, &directory)
            .max_export_batch_size(7)
            .build()
            .unwrap();
        let first: u64 = std::env::var("TEST_FIRST").unwrap().parse().unwrap();
        emit_numbers(&honeyhive, first..first + 100);
        honeyhive.flush_blocking(LONG).unwrap();
        honeyhive.shutdown_blocking(PATIENCE).unwrap();
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        assert_eq!((stats.dropped.total(), stats.in_flight), (0, 0));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "processes_that_share_a_directory_deliver_each_event_once";
    let run = |url: &str, from: u64, count: u64| {
        let processes: Vec<_> = (from..from + count)
            .map(|n| {
                child(test, directory.path(), url)
                    .env("TEST_FIRST", (n * 1000).to_string())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut process in processes {
            assert!(process.wait().unwrap().success());
        }
    };
    // Four at a time during an outage, then four at a time that deliver, their own and what they find.
    run(&url(nobody()), 0, 4);
    run(&url(nobody()), 4, 4);
    let server = Recorder::start();
    run(&server.url, 8, 4);
    let rest = spooling(&server.url, directory.path()).build().unwrap();
    rest.flush_blocking(LONG).unwrap();
    rest.shutdown_blocking(PATIENCE).unwrap();
    let mut arrived = numbers(&server);
    arrived.sort_unstable();
    let expected: Vec<u64> = (0..12).flat_map(|n| n * 1000..n * 1000 + 100).collect();
    assert_eq!(arrived, expected);
    assert!(files(directory.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_more_costs_what_it_does_not_take() {
    if let Some((directory, url)) = told() {
        let honeyhive = spooling(&url, &directory)
            .max_export_batch_size(5)
            .build()
            .unwrap();
        emit_numbers(&honeyhive, 0..200);
        let started = Instant::now();
        let error = honeyhive.shutdown_blocking(LONG).unwrap_err();
        assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        let lost = stats.dropped.of(DropReason::Shutdown);
        assert!(
            lost > 0 && stats.spooled > 0 && stats.in_flight == 0,
            "{stats:#?}"
        );
        assert_eq!(error.flush_report().unwrap().spooled, stats.spooled);
        println!("\nkept {}", stats.spooled);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "a_disk_that_takes_no_more_costs_what_it_does_not_take";
    let inner = child(test, directory.path(), &url(nobody()));
    // A file may grow to 32 KiB, and a write beyond fails in its middle, as on a full disk.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        limited.env(name, value.unwrap());
    }
    let output = limited.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert_eq!(errors.matches("kept in memory only").count(), 1, "{errors}");
    let kept = text.lines().find_map(|line| line.strip_prefix("kept "));
    let kept: u64 = kept.expect("a number").parse().unwrap();

    let server = Recorder::start();
    let next = spooling(&server.url, directory.path()).build().unwrap();
    next.flush_blocking(LONG).unwrap();
    next.shutdown_blocking(LONG).unwrap();
    assert_eq!(numbers(&server), (0..kept).collect::<Vec<_>>());
    assert_eq!(next.stats().spool_corrupt, 0);
}

#[test]
fn a_shutdown_that_runs_out_of_time_in_the_replay_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let honeyhive = spooling(&url(nobody()), directory.path())
        .max_export_batch_size(1)
        .build()
        .unwrap();
    emit_numbers(&honeyhive, 0..30);
    honeyhive.shutdown_blocking(LONG).unwrap();
    let server = Recorder::start();
    let answered = AtomicUsize::new(0);
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    server.answer_by(move |request| {
        let deadline = Instant::now() + LONG;
        let late = request.path == TRACES && answered.fetch_add(1, Ordering::SeqCst) >= 5;
        while late && !is_over.load(Ordering::SeqCst) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    });
    let next = spooling(&server.url, directory.path()).build().unwrap();
    next.flush_blocking(LONG).unwrap();
    let started = Instant::now();
    next.shutdown_blocking(SHORT).unwrap();
    assert!(started.elapsed() < SHORT + SLACK, "{:?}", started.elapsed());
    assert_eq!(next.stats().recovered, 5);
    over.store(true, Ordering::SeqCst);
    let last = spooling(&server.url, directory.path()).build().unwrap();
    last.flush_blocking(LONG).unwrap();
    last.shutdown_blocking(LONG).unwrap();
    assert_eq!(last.stats().recovered, 25);
    assert!(files(directory.path()).is_empty());
}

#[test]
fn fresh_events_do_not_wait_for_the_replay() {
    let directory = tempfile::tempdir().unwrap();
    let honeyhive = spooling(&url(nobody()), directory.path())
        .max_export_batch_size(1)
        .build()
        .unwrap();
    emit_numbers(&honeyhive, 0..40);
    honeyhive.shutdown_blocking(LONG).unwrap();

    // What was kept is not answered until the fresh ones are through.
    let server = Recorder::start();
    let through = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&through);
    server.answer_by(move |request| {
        let fresh = request.path != TRACES
            || request.traces().resource_spans[0].scope_spans[0]
                .spans
                .len()
                == 20;
        let deadline = Instant::now() + LONG;
        while !fresh && !open.load(Ordering::SeqCst) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    });
    let next = spooling(&server.url, directory.path()).build().unwrap();
    for round in 0..3 {
        let first = 1000 + round * 20;
        emit_numbers(&next, first..first + 20);
        assert_eq!(
            next.flush_blocking(Duration::from_secs(8)).unwrap().sent,
            20
        );
    }
    assert_eq!(next.stats().recovered, 0);
    // One at a time.
    let slow = server.batches().into_iter().filter(|spans| *spans == 1);
    assert_eq!(slow.count(), 1);
    through.store(true, Ordering::SeqCst);
    until("the replay", || next.stats().recovered == 40);
}
