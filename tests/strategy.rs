//! What each number of a strategy does, as seen from outside.

mod support;

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use honeyhive::config::{Field, Scenario};
use honeyhive::environment::Environment;
use honeyhive::report::{Degradation, DropReason};
use honeyhive::{Builder, HoneyHive};
use support::fault::{Act, Fault};
use support::*;
use tracing_subscriber::prelude::*;

/// Long enough for something to happen that should not.
const A_WHILE: Duration = Duration::from_millis(400);
/// What a deadline may be missed by on a busy machine.
const SLACK: Duration = Duration::from_millis(700);

/// An instance that has sent its session and one span.
fn primed(server: &Recorder, change: impl FnOnce(Builder) -> Builder) -> HoneyHive {
    let honeyhive = change(settings(&server.url)).build().unwrap();
    emit(&honeyhive, 1);
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_eq!(server.batches(), [1]);
    honeyhive
}

fn is_traces(request: &Request) -> bool {
    request.path == TRACES
}

/// Waits for so many requests with spans, the first one included.
fn wait_for(server: &Recorder, count: usize) {
    server.wait("requests with spans", |requests| {
        requests.iter().filter(|it| is_traces(it)).count() >= count
    });
}

/// Spans with so many bytes each.
fn emit_large(honeyhive: &HoneyHive, count: usize, bytes: usize) {
    let text = "x".repeat(bytes);
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..count {
            tracing::info_span!("work", n, text).in_scope(|| {});
        }
    });
}

#[test]
fn as_many_requests_are_on_their_way_as_may_be() {
    for most in [1, 4] {
        let server = Recorder::start();
        let honeyhive = primed(&server, |b| {
            b.max_in_flight(most)
                .batch_size(10)
                .max_export_batch_size(10)
        });
        server.hold();
        emit(&honeyhive, 100);
        wait_for(&server, 1 + most);
        std::thread::sleep(A_WHILE / 4);
        assert_eq!(server.requests_to(TRACES).len(), 1 + most);
        server.release();
        honeyhive.flush_blocking(PATIENCE).unwrap();
        assert_all_exported(&honeyhive.stats(), 101);
    }
}

#[test]
fn connections_are_kept_as_many_and_as_long_as_set() {
    let opened = |change: fn(Builder) -> Builder| {
        let server = Recorder::start();
        let honeyhive = primed(&server, |b| {
            change(b.max_in_flight(4).batch_size(10).max_export_batch_size(10))
        });
        for round in 0..2 {
            // Four at once, so that four connections are needed.
            let before = server.requests_to(TRACES).len();
            server.hold();
            emit(&honeyhive, 40);
            wait_for(&server, before + 4);
            server.release();
            honeyhive.flush_blocking(PATIENCE).unwrap();
            if round == 0 {
                std::thread::sleep(A_WHILE);
            }
        }
        assert_all_exported(&honeyhive.stats(), 81);
        server.connections()
    };
    let kept = opened(|b| b.pool_max_idle(8));
    assert!(kept <= 5, "{kept}");
    let one = opened(|b| b.pool_max_idle(1));
    assert!((6..=9).contains(&one), "{one}");
    let short = opened(|b| b.pool_max_idle(8).pool_idle_timeout(A_WHILE / 4));
    assert!(short >= 8, "{short}");
    let none = opened(|b| b.pool_idle_timeout(Duration::ZERO));
    assert!(none >= 8, "{none}");
}

/// When requests with spans came, answered by 503.
fn attempts(
    change: impl FnOnce(Builder) -> Builder,
    enough: impl Fn(&[Instant], &HoneyHive) -> bool,
) -> (HoneyHive, Vec<Instant>) {
    let server = Recorder::start();
    let honeyhive = change(settings(&server.url).batch_size(1)).build().unwrap();
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    server.answer_by(move |request| {
        is_traces(request).then(|| {
            noted.lock().unwrap().push(Instant::now());
            Reply::status(503)
        })
    });
    emit(&honeyhive, 1);
    until("attempts", || enough(&times.lock().unwrap(), &honeyhive));
    let times = times.lock().unwrap().clone();
    (honeyhive, times)
}

#[test]
fn attempts_follow_the_retry_profile() {
    let millisecond = Duration::from_millis(1);
    // The usual waits would take an hour for so many.
    let _ = attempts(
        |b| {
            b.retry_first_delay(millisecond)
                .retry_max_delay(20 * millisecond)
        },
        |times, _| times.len() >= 100,
    );
    let first = 300 * millisecond;
    let (_, times) = attempts(|b| b.retry_first_delay(first), |times, _| times.len() >= 3);
    assert!(times[1] - times[0] >= first / 2, "{times:?}");
    assert!(times[2] - times[1] >= first, "{times:?}");

    let (honeyhive, times) = attempts(
        |b| b.retry_first_delay(20 * millisecond).retry_give_up(first),
        |_, honeyhive| honeyhive.stats().dropped.of(DropReason::Undeliverable) == 1,
    );
    assert!(*times.last().unwrap() - times[0] < first + SLACK);
    assert!(times.len() >= 2, "{times:?}");
    assert_balanced(&honeyhive.stats());
    let (honeyhive, times) = attempts(
        |b| b.retry_give_up(Duration::ZERO),
        |_, honeyhive| honeyhive.stats().dropped.total() == 1,
    );
    assert_eq!(times.len(), 1, "tried once");
    assert_balanced(&honeyhive.stats());
}

/// A port whose queue of connections is full: whoever comes is not answered, not even with a refusal.
#[cfg(target_os = "linux")]
#[test]
fn a_connection_takes_no_longer_than_it_may() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(1).unwrap()
    });
    let address = listener.local_addr().unwrap();
    let mut crowd = Vec::new();
    while let Ok(one) = std::net::TcpStream::connect_timeout(&address, A_WHILE) {
        crowd.push(one);
        assert!(crowd.len() < 100, "the queue does not fill");
    }
    let honeyhive = settings(&format!("http://{address}"))
        .batch_size(1)
        .connect_timeout(A_WHILE / 2)
        .export_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    let started = Instant::now();
    emit(&honeyhive, 1);
    until("a failure", || honeyhive.stats().last_error.is_some());
    // Three seconds if it was not told.
    let took = started.elapsed();
    assert!(
        took >= A_WHILE / 2 && took < Duration::from_millis(2_500),
        "{took:?}"
    );
    assert_balanced(&honeyhive.stats());
}

#[test]
fn a_batch_ends_at_its_bytes() {
    let server = Recorder::start();
    let honeyhive = primed(&server, |b| b.max_batch_bytes(64 << 10));
    emit_large(&honeyhive, 40, 10 << 10);
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let requests = server.requests_to(TRACES);
    let largest = requests.iter().map(|request| request.body.len()).max();
    // Five or six of them fit, and the resource.
    assert!(largest.unwrap() <= (64 << 10) + 4096, "{largest:?}");
    assert!(requests.len() > 40 / 6, "{}", requests.len());
    // A larger one travels alone.
    emit_large(&honeyhive, 1, 100 << 10);
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_all_exported(&honeyhive.stats(), 42);
}

#[test]
fn batches_grow_where_spans_pile_up_unless_their_size_is_set() {
    for (set, expected) in [(false, 512..=4096), (true, 100..=100)] {
        let server = Recorder::start();
        let honeyhive = primed(&server, |b| {
            let b = b.max_in_flight(1);
            if set { b.max_export_batch_size(100) } else { b }
        });
        server.hold();
        emit(&honeyhive, 12_000);
        wait_for(&server, 2);
        server.release();
        honeyhive.flush_blocking(PATIENCE).unwrap();
        let largest = server.batches().into_iter().max().unwrap();
        assert!(expected.contains(&largest), "{largest}");
        assert_eq!(largest > 512, !set, "{largest}");
        assert_all_exported(&honeyhive.stats(), 12_001);
    }
}

#[test]
fn more_requests_are_on_their_way_where_spans_pile_up() {
    let server = Recorder::start();
    let honeyhive = primed(&server, |b| b);
    server.hold();
    emit(&honeyhive, 30_000);
    wait_for(&server, 1 + 4);
    server.release();
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_all_exported(&honeyhive.stats(), 30_001);
}

#[test]
fn high_volume_takes_large_batches() {
    for (set, large) in [(false, true), (true, false)] {
        let server = Recorder::start();
        let honeyhive = primed(&server, |b| {
            let b = b.scenario(Scenario::HighVolume);
            if set { b.max_export_batch_size(100) } else { b }
        });
        emit(&honeyhive, 3_000);
        honeyhive.flush_blocking(PATIENCE).unwrap();
        let largest = server.batches().into_iter().max().unwrap();
        assert_eq!(largest > 512, large, "{largest}");
        assert!(!set || largest <= 100, "{largest}");
        assert_all_exported(&honeyhive.stats(), 3_001);
    }
}

#[test]
fn low_latency_sends_each_span_at_once() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .scenario(Scenario::LowLatency)
        .build()
        .unwrap();
    emit(&honeyhive, 5);
    wait_for(&server, 5);
    assert_eq!(server.batches(), [1; 5]);
    until("the answers", || honeyhive.stats().in_flight == 0);
    assert_all_exported(&honeyhive.stats(), 5);
}

#[test]
fn without_a_timer_only_size_and_flush_send() {
    let quick = |server: &Recorder| settings(&server.url).flush_interval(Duration::from_millis(20));
    let server = Recorder::start();
    let timed = quick(&server).build().unwrap();
    emit(&timed, 1);
    wait_for(&server, 1);

    for change in [
        |b: Builder| b.flush_on_timer(false),
        |b: Builder| b.scenario(Scenario::Benchmark).batch_size(100),
    ] {
        let server = Recorder::start();
        let honeyhive = change(quick(&server)).build().unwrap();
        emit(&honeyhive, 5);
        std::thread::sleep(A_WHILE);
        assert_eq!(server.requests().len(), 0);
        emit(&honeyhive, 100);
        wait_for(&server, 1);
        honeyhive.flush_blocking(PATIENCE).unwrap();
        assert_all_exported(&honeyhive.stats(), 105);
        // The timer can be switched on while it runs.
        honeyhive.reconfigure(|b| b.flush_on_timer(true)).unwrap();
        let before = server.requests_to(TRACES).len();
        emit(&honeyhive, 1);
        wait_for(&server, before + 1);
    }
}

#[test]
fn the_test_scenario_does_not_wait() {
    let server = Fault::start([], Act::Silence);
    let honeyhive = settings(&server.url)
        .scenario(Scenario::Test)
        .build()
        .unwrap();
    emit(&honeyhive, 1);
    let started = Instant::now();
    drop(honeyhive);
    let took = started.elapsed();
    let second = Duration::from_secs(1);
    assert!(took >= second && took < second + SLACK, "{took:?}");
}

#[test]
fn changes_wait_for_one_another_and_not_for_ever() {
    let server = Recorder::start();
    let patience = Duration::from_millis(200);
    let honeyhive = settings(&server.url)
        .lifecycle_timeout(patience)
        .build()
        .unwrap();
    let (entered, inside) = mpsc::channel();
    let (go, leave) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let honeyhive = &honeyhive;
        let first = scope.spawn(move || {
            honeyhive.reconfigure(|b| {
                entered.send(()).unwrap();
                leave.recv().unwrap();
                b.batch_size(7)
            })
        });
        inside.recv().unwrap();
        let started = Instant::now();
        let error = honeyhive.reconfigure(|b| b.batch_size(8)).unwrap_err();
        let took = started.elapsed();
        assert!(error.is_timeout(), "{error}");
        assert!(took >= patience && took < patience + SLACK, "{took:?}");
        go.send(()).unwrap();
        first.join().unwrap().unwrap();
        assert_eq!(honeyhive.config().batch_size(), 7);
        honeyhive.reconfigure(|b| b.batch_size(9)).unwrap();
    });
    assert_eq!(honeyhive.config().batch_size(), 9);
    // A change that panics is over, too.
    let panics = std::panic::AssertUnwindSafe(|| honeyhive.reconfigure(|_| panic!("on purpose")));
    assert!(std::panic::catch_unwind(panics).is_err());
    honeyhive.reconfigure(|b| b.batch_size(10)).unwrap();
}

#[test]
fn a_change_that_does_not_end_keeps_nobody_from_the_end() {
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .lifecycle_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    emit(&honeyhive, 3);
    let (entered, inside) = mpsc::channel();
    let (go, leave) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let honeyhive = &honeyhive;
        scope.spawn(move || {
            honeyhive.reconfigure(|b| {
                entered.send(()).unwrap();
                let _ = leave.recv();
                b
            })
        });
        inside.recv().unwrap();
        assert_eq!(honeyhive.shutdown_blocking(PATIENCE).unwrap().sent, 3);
        drop(go);
    });
    // What came late has not brought it back.
    emit(&honeyhive, 3);
    assert_all_exported(&honeyhive.stats(), 3);
}

#[test]
fn the_strategy_follows_the_settings() {
    let honeyhive = HoneyHive::builder()
        .test_mode(true)
        .max_in_flight(3)
        .build()
        .unwrap();
    let strategy = honeyhive.strategy();
    assert_eq!(strategy.max_in_flight(), 3);
    let reason = strategy.reason(Field::MaxInFlight);
    assert_eq!(reason, "set by Builder::max_in_flight");
    honeyhive
        .reconfigure(|b| b.max_in_flight(1).high_concurrency(true))
        .unwrap();
    let strategy = honeyhive.instance().strategy().unwrap();
    assert_eq!(strategy.max_in_flight(), 1);
    assert_eq!(strategy.environment(), Environment::HighConcurrency);
    assert_eq!(strategy.flush_timeout(), Duration::from_secs(1));
    assert_eq!(honeyhive.config().flush_timeout(), Duration::from_secs(1));
    let instance = honeyhive.instance();
    drop(honeyhive);
    assert!(instance.strategy().is_none());
}

/// Processor time that our export threads took so far.
#[cfg(target_os = "linux")]
fn worker_time() -> Duration {
    let ticks: u64 = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
        .filter(|stat| stat.contains("(honeyhive-expor)"))
        .map(|stat| {
            let mut fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11);
            let mut ticks = || fields.next().unwrap().parse::<u64>().unwrap();
            ticks() + ticks()
        })
        .sum();
    // A hundred a second, wherever Linux runs.
    Duration::from_millis(ticks * 10)
}

/// Memory of the process, in bytes.
#[cfg(target_os = "linux")]
fn memory() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Scenario 1: 50,000 spans in five seconds while connections are refused. An eighth of its minute, or the whole of it
/// where long tests are run whole.
#[test]
fn an_outage_costs_few_attempts_and_nobody_waits() {
    let test = "an_outage_costs_few_attempts_and_nobody_waits";
    if let Some(output) = in_process_of_its_own(test, &[]) {
        println!("{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let honeyhive = settings(&format!("http://{address}"))
        .retry_first_delay(Duration::from_millis(500))
        .max_in_flight(4)
        .max_queue_bytes(64 << 20)
        .build()
        .unwrap();
    #[cfg(target_os = "linux")]
    let before = memory();
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    let subscriber = tracing_subscriber::registry().with(honeyhive.layer());
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..50_000 {
            let one = Instant::now();
            tracing::info_span!("work", n).in_scope(|| {});
            longest = longest.max(one.elapsed());
            if n % 500 == 0 {
                honeyhive.own_session().enrich(|s| s.metadata("n", n));
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let span = Duration::from_millis(scaled(7_500, 60_000) as u64);
    let long = span > Duration::from_secs(30);
    std::thread::sleep(span.saturating_sub(started.elapsed()));
    let stats = honeyhive.stats();
    let took = started.elapsed();
    println!(
        "{} attempts in {took:?}, longest span {longest:?}",
        stats.retried
    );
    // Sessions, updates and spans share the attempts: at 0, then after 0.25 s, 0.5, 1, 2, 4 and 8 at least.
    let most = if took < Duration::from_secs(15) {
        6
    } else {
        12
    };
    assert!((3..=most).contains(&stats.retried), "{stats:#?}");
    assert_eq!((stats.submitted, stats.exported), (50_000, 0));
    assert_eq!(stats.dropped.total(), 0, "there is room");
    assert_balanced(&stats);
    #[cfg(target_os = "linux")]
    {
        let (grown, busy) = (memory().saturating_sub(before), worker_time());
        println!("{} KiB more, {busy:?} of the processor", grown >> 10);
        assert!(grown <= (64 << 20) + (8 << 20), "{grown}");
        assert!(!long || busy * 100 <= took, "{busy:?} in {took:?}");
    }
    let degraded = honeyhive.status().degraded;
    let unreachable = |it: &Degradation| matches!(it, Degradation::Unreachable { .. });
    assert!(degraded.iter().any(unreachable), "{degraded:?}");
    // Nobody waits for a server that is known to be down.
    let started = Instant::now();
    drop(honeyhive);
    assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());
}

#[test]
fn a_path_that_hangs_does_not_stop_the_others() {
    let server = Recorder::start();
    server.answer_by(|request| {
        (request.path == "/events").then(|| {
            std::thread::sleep(PATIENCE);
            Reply::status(200)
        })
    });
    let honeyhive = primed(&server, |b| {
        b.batch_size(1).export_timeout(Duration::from_millis(300))
    });
    honeyhive.own_session().enrich(|s| s.metadata("n", 1));
    until("a failure", || honeyhive.stats().retried >= 2);
    for round in 2..20 {
        emit(&honeyhive, 1);
        wait_for(&server, round);
    }
    until("the answers", || honeyhive.stats().in_flight == 0);
    assert_all_exported(&honeyhive.stats(), 19);
}

/// Scenario 25, scaled to seconds: whatever time passes while the process is stopped, a batch is not given up for it.
#[cfg(unix)]
#[test]
fn a_process_that_was_stopped_gives_nothing_up() {
    let give_up = Duration::from_secs(4);
    if let Some(url) = std::env::var_os("TEST_STOPPED_SENDS_TO") {
        let honeyhive = settings(url.to_str().unwrap())
            .batch_size(1)
            .export_timeout(A_WHILE)
            .retry_give_up(give_up)
            .build()
            .unwrap();
        emit(&honeyhive, 5);
        until("delivery or loss", || {
            let stats = honeyhive.stats();
            stats.submitted == 5 && stats.in_flight == 0
        });
        assert_all_exported(&honeyhive.stats(), 5);
        return;
    }
    let server = Recorder::start();
    server.hold();
    let test = "a_process_that_was_stopped_gives_nothing_up";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("TEST_STOPPED_SENDS_TO", &server.url)
        .spawn()
        .unwrap();
    let signal = |name: &str| {
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &id])
            .status();
        assert!(sent.unwrap().success());
    };
    // Once with the announcement, or what follows it, on its way, then with a batch that waits or is on its way.
    server.wait("the announcement", |requests| !requests.is_empty());
    signal("-STOP");
    std::thread::sleep(give_up + give_up / 2);
    signal("-CONT");
    wait_for(&server, 1);
    signal("-STOP");
    std::thread::sleep(give_up + give_up / 2);
    server.release();
    signal("-CONT");
    assert!(child.wait().unwrap().success());
}

/// What follows from AWS Lambda and 128 MiB.
#[test]
fn on_lambda_there_is_no_timer_little_memory_and_little_time() {
    let test = "on_lambda_there_is_no_timer_little_memory_and_little_time";
    let variables = [
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
    ];
    if in_process_of_its_own(test, &variables).is_some() {
        return;
    }
    let server = Recorder::start();
    let honeyhive = settings(&server.url)
        .flush_interval(Duration::from_millis(20))
        .build()
        .unwrap();
    assert_eq!(honeyhive.strategy().environment(), Environment::Lambda);
    emit(&honeyhive, 5);
    std::thread::sleep(A_WHILE);
    assert_eq!(server.requests().len(), 0, "no timer");
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_eq!(server.batches(), [5]);

    // The budget: a quarter of 16 MiB.
    server.hold();
    emit_large(&honeyhive, 10_000, 1_000);
    let stats = honeyhive.stats();
    assert!(stats.queue_bytes <= 4 << 20, "{stats:#?}");
    assert!(stats.queue_bytes > 3 << 20, "{stats:#?}");
    assert!(
        stats.dropped.of(DropReason::QueueFull) > 1_000,
        "{stats:#?}"
    );
    assert_balanced(&stats);
    let started = Instant::now();
    drop(honeyhive);
    let (took, two) = (started.elapsed(), Duration::from_secs(2));
    assert!(took >= two && took < two + SLACK, "{took:?}");
    server.release();
    let largest = server
        .requests_to(TRACES)
        .into_iter()
        .map(|it| it.body.len())
        .max();
    assert!(largest.unwrap() <= (1 << 20) + 4096, "{largest:?}");
}

#[test]
fn under_high_concurrency_nobody_waits_long() {
    let test = "under_high_concurrency_nobody_waits_long";
    let variables = [
        ("HH_HIGH_CONCURRENCY", "1"),
        ("HH_SCENARIO", "standard"),
        ("HH_MAX_IN_FLIGHT", "3"),
    ];
    if in_process_of_its_own(test, &variables).is_some() {
        return;
    }
    let server = Recorder::start();
    let honeyhive = primed(&server, |b| b.batch_size(10).max_export_batch_size(10));
    let text = honeyhive.strategy().to_string();
    assert!(
        text.contains("max_in_flight: 3 (set by HH_MAX_IN_FLIGHT)"),
        "{text}"
    );
    assert!(
        text.contains("scenario: standard (set by HH_SCENARIO)"),
        "{text}"
    );
    server.hold();
    emit(&honeyhive, 100);
    wait_for(&server, 1 + 3);
    let started = Instant::now();
    drop(honeyhive);
    let (took, second) = (started.elapsed(), Duration::from_secs(1));
    // Unless it was found in a place with deadlines of its own.
    let elsewhere = ["AWS_LAMBDA_FUNCTION_NAME", "KUBERNETES_SERVICE_HOST"];
    if elsewhere
        .iter()
        .all(|name| std::env::var_os(name).is_none())
    {
        assert!(took >= second && took < second + SLACK, "{took:?}");
    }
    assert_eq!(server.requests_to(TRACES).len(), 1 + 3);
    server.release();
}
