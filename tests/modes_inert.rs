//! An instance with neither a key nor a server: it warns once, and does nothing at all. The test runs itself again as a
//! program without settings.

mod support;

use std::process::Command;

use honeyhive::report::Degradation;
use honeyhive::{HoneyHive, Session, enrich};
use support::traced::touch;
use tracing_subscriber::prelude::*;

const CHILD: &str = "INERT_CHILD";

/// The names of the threads of this process.
#[cfg(target_os = "linux")]
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task")
        .expect("tasks")
        .flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn threads() -> Vec<String> {
    Vec::new()
}

fn run_without_settings() {
    let honeyhive = HoneyHive::from_env().expect("no error");
    assert_eq!(honeyhive.status().degraded, [Degradation::NoKey]);
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .init();
    let session = Session::start("session");
    session.in_scope(|| {
        touch("work");
        let span = tracing::info_span!("span").entered();
        assert!(span.is_disabled());
        enrich(|_| unreachable!("nobody listens"));
    });
    session.enrich(|_| unreachable!("nobody listens"));
    let report = honeyhive
        .flush_blocking(support::PATIENCE)
        .expect("nothing to send");
    assert_eq!((report.sent, report.failed, report.left), (0, 0, 0));
    assert_eq!(honeyhive.stats(), honeyhive::report::Stats::default());
    let threads = threads();
    assert!(
        !threads.iter().any(|name| name.starts_with("honeyhive")),
        "{threads:?}"
    );
    drop(honeyhive);
}

#[test]
fn without_a_key_and_a_server_it_warns_once_and_does_nothing() {
    if std::env::var_os(CHILD).is_some() {
        return run_without_settings();
    }
    let nowhere = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(std::env::current_exe().expect("a path"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HH_") || name.starts_with("HONEYHIVE_") {
            child.env_remove(name.as_ref());
        }
    }
    let output = child
        .args([
            "--exact",
            "without_a_key_and_a_server_it_warns_once_and_does_nothing",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .current_dir(&nowhere)
        .output()
        .expect("a run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // A panic of a closure would have been caught, but heard.
    assert!(!said.contains("panicked"), "{said}");
    let warnings: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("honeyhive:"))
        .collect();
    assert_eq!(warnings.len(), 1, "{said}");
    assert!(warnings[0].contains("HH_API_KEY"), "{said}");
}
