//! How much trouble the caller is told of, at each level.

mod support;

use std::time::{Duration, Instant};

use honeyhive::HoneyHive;
use honeyhive::config::ResilienceLevel;
use honeyhive::report::{Degradation, DropReason, FlushReport};
use support::fault::{Act, Fault};
use support::*;

const SHORT: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_millis(700);

#[test]
fn a_flush_that_fails_is_a_report_where_nothing_may_be_an_error() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = Fault::start([], Act::Silence);
    let directory = tempfile::tempdir().unwrap();
    let make = |level| {
        let settings = settings(&server.url).resilience(level);
        let settings = match level {
            ResilienceLevel::Resilient => settings.spool_dir(directory.path()),
            _ => settings,
        };
        let honeyhive = settings.build().unwrap();
        emit(&honeyhive, 5);
        honeyhive
    };
    for is_async in [false, true] {
        let honeyhive = make(ResilienceLevel::Resilient);
        let started = Instant::now();
        let flush = || {
            if is_async {
                runtime.block_on(honeyhive.flush(SHORT))
            } else {
                honeyhive.flush_blocking(SHORT)
            }
        };
        let report = flush().unwrap();
        let kept = |report: &FlushReport| report.left + report.spooled;
        assert_eq!((report.sent, report.failed, kept(&report)), (0, 0, 5));
        assert!(report.elapsed >= SHORT && started.elapsed() < SHORT + SLACK);
        assert_balanced(&honeyhive.stats());
        runtime.block_on(honeyhive::flush(SHORT)).ok();
        let report = if is_async {
            runtime.block_on(honeyhive.shutdown(SHORT)).unwrap()
        } else {
            honeyhive.shutdown_blocking(SHORT).unwrap()
        };
        let stats = honeyhive.stats();
        assert_balanced(&stats);
        let lost = stats.dropped.of(DropReason::Shutdown);
        let spools = cfg!(feature = "spool");
        assert_eq!((stats.spooled, lost), if spools { (5, 0) } else { (0, 5) });
        assert_eq!(kept(&report), 5);
    }
    for level in [ResilienceLevel::Balanced, ResilienceLevel::Strict] {
        let honeyhive = make(level);
        assert!(honeyhive.flush_blocking(SHORT).unwrap_err().is_timeout());
        assert!(honeyhive.shutdown_blocking(SHORT).unwrap_err().is_timeout());
    }

    // Refused for good.
    let server = Recorder::start();
    server.answer_by(|request| (request.path == TRACES).then(|| Reply::status(400)));
    let settings = settings(&server.url);
    let resilient = settings
        .clone()
        .resilience(ResilienceLevel::Resilient)
        .spool_dir(tempfile::tempdir().unwrap().path())
        .build()
        .unwrap();
    emit(&resilient, 3);
    let report = resilient.flush_blocking(PATIENCE).unwrap();
    assert_eq!((report.sent, report.failed, report.left), (0, 3, 0));
    let balanced = settings.build().unwrap();
    emit(&balanced, 3);
    assert!(balanced.flush_blocking(PATIENCE).unwrap_err().is_delivery());
}

#[test]
fn a_change_that_is_no_good_is_left_out() {
    let server = Recorder::start();
    let resilient = settings(&server.url)
        .resilience(ResilienceLevel::Resilient)
        .build()
        .unwrap();
    let before = resilient.config();
    resilient.reconfigure(|b| b.server_url("nonsense")).unwrap();
    assert_eq!(resilient.config(), before);
    emit(&resilient, 2);
    assert_eq!(resilient.flush_blocking(PATIENCE).unwrap().sent, 2);
    let balanced = settings(&server.url).build().unwrap();
    assert!(balanced.reconfigure(|b| b.server_url("nonsense")).is_err());
}

#[test]
fn where_nothing_may_be_an_error_it_starts_with_what_is_good() {
    let test = "where_nothing_may_be_an_error_it_starts_with_what_is_good";
    let server = Recorder::start();
    let state = tempfile::tempdir().unwrap();
    let variables = [
        ("XDG_STATE_HOME", state.path().to_str().unwrap()),
        ("HH_RESILIENCE_LEVEL", "resilient"),
        ("HH_API_URL", server.url.as_str()),
        ("HH_BATCH_SIZE", "many"),
        ("HH_FLUSH_INTERVAL", "soon"),
        ("HH_SESSION_ID", "nonsense"),
        ("HH_CAPTURE_CONTENT", "flase"),
        ("HH_UNHEARD_OF", "1"),
    ];
    let Some(output) = in_process_of_its_own(test, &variables) else {
        let honeyhive = HoneyHive::from_env().unwrap();
        emit(&honeyhive, 2);
        assert_eq!(honeyhive.flush_blocking(PATIENCE).unwrap().sent, 2);
        let config = honeyhive.config();
        assert_eq!(config.batch_size(), honeyhive::config::DEFAULT_BATCH_SIZE);
        assert!(!config.capture_content(), "rather too little than too much");
        let status = honeyhive.status();
        assert_eq!(status.degraded, [Degradation::InvalidSessionId]);
        return;
    };
    // In the other process, to this server.
    assert_eq!(server.spans().len(), 2);
    assert!(
        server
            .spans()
            .iter()
            .all(|span| attribute(span, "honeyhive_inputs.n").is_none())
    );
    let said = String::from_utf8_lossy(&output.stderr);
    for name in [
        "HH_BATCH_SIZE",
        "HH_FLUSH_INTERVAL",
        "HH_SESSION_ID",
        "HH_CAPTURE_CONTENT",
        "HH_UNHEARD_OF",
    ] {
        assert!(said.contains(name), "{name} in {said}");
    }
}

#[test]
fn a_bad_address_sends_nothing_anywhere() {
    let test = "a_bad_address_sends_nothing_anywhere";
    let state = tempfile::tempdir().unwrap();
    let variables = [
        ("XDG_STATE_HOME", state.path().to_str().unwrap()),
        ("HH_RESILIENCE_LEVEL", "resilient"),
        ("HH_API_KEY", KEY),
        ("HH_API_URL", "htps://honeyhive.example"),
    ];
    if in_process_of_its_own(test, &variables).is_some() {
        return;
    }
    // Not to the platform, which is the default.
    let honeyhive = HoneyHive::from_env().unwrap();
    emit(&honeyhive, 2);
    honeyhive.flush_blocking(SHORT).unwrap();
    assert_eq!(honeyhive.stats().submitted, 0);
    assert_eq!(honeyhive.status().degraded, [Degradation::Disabled]);
}

#[test]
fn where_all_is_an_error_the_start_fails_at_once() {
    let test = "where_all_is_an_error_the_start_fails_at_once";
    let variables = [
        ("HH_RESILIENCE_LEVEL", "strict"),
        ("HH_UNHEARD_OF", "1"),
        ("SSL_CERT_FILE", "/nonexistent/file"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    if in_process_of_its_own(test, &variables).is_some() {
        return;
    }
    let server = Recorder::start();
    let error = settings(&server.url).build().unwrap_err();
    assert!(error.is_config(), "{error}");
    assert!(error.to_string().contains("HH_UNHEARD_OF"), "{error}");
    let balanced = settings(&server.url).resilience(ResilienceLevel::Balanced);
    assert_eq!(balanced.build().unwrap().config().warnings().len(), 1);
}

/// Whether there are certificates can be told without the network.
#[cfg(all(feature = "rustls", target_os = "linux"))]
#[test]
fn without_certificates_the_start_fails_where_all_is_an_error() {
    let test = "without_certificates_the_start_fails_where_all_is_an_error";
    let variables = [
        ("SSL_CERT_FILE", "/nonexistent/file"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    if in_process_of_its_own(test, &variables).is_some() {
        return;
    }
    let https = settings("https://127.0.0.1:1");
    let strict = https.clone().resilience(ResilienceLevel::Strict);
    let error = strict.clone().build().unwrap_err();
    assert!(error.is_config(), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(https.build().is_ok());
    // Where none are needed.
    assert!(strict.clone().test_mode(true).build().is_ok());
    let server = Recorder::start();
    let plain = strict.server_url(&server.url).build().unwrap();
    emit(&plain, 1);
    assert_eq!(plain.flush_blocking(PATIENCE).unwrap().sent, 1);
}
