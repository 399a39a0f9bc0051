//! A machine without certificates: nothing is sent, nothing breaks, and the reason is said.
#![cfg(all(feature = "rustls", target_os = "linux"))]

mod support;

use std::time::Duration;

use honeyhive::report::DropReason;
use support::fault::{Act, Fault};
use support::*;

#[test]
fn without_certificates_the_worker_waits_as_for_any_failure() {
    let variables = [
        ("SSL_CERT_FILE", "/nonexistent/file"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    let test = "without_certificates_the_worker_waits_as_for_any_failure";
    if in_process_of_its_own(test, &variables).is_some() {
        return;
    }
    let server = Fault::start([], Act::Silence);
    let honeyhive = settings(&format!("https://127.0.0.1:{}", server.port))
        .build()
        .unwrap();
    emit(&honeyhive, 10);
    honeyhive.own_session().enrich(|s| s.metadata("k", 1));
    let error = honeyhive
        .flush_blocking(Duration::from_millis(300))
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let status = honeyhive.status().to_string();
    assert!(status.contains("certificate"), "{status}");
    let stats = honeyhive.stats();
    assert!(stats.retried < 10, "{stats:#?}");
    assert_balanced(&stats);
    let error = honeyhive
        .shutdown_blocking(Duration::from_millis(100))
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let stats = honeyhive.stats();
    assert_balanced(&stats);
    assert_eq!(
        (
            stats.in_flight,
            stats.dropped.of(DropReason::Shutdown),
            stats.updates_lost
        ),
        (0, 10, 1)
    );
    assert_eq!(server.connections(), 0);

    // Without TLS none are needed.
    let server = Recorder::start();
    let honeyhive = settings(&server.url).build().unwrap();
    emit(&honeyhive, 10);
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_all_exported(&honeyhive.stats(), 10);
}
