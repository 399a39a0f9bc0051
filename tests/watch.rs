//! A `honeyhive.toml` that changes while the program runs.

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use honeyhive::config::{Field, Source};
use support::*;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

/// Writes a file as a careful editor does: all at once.
fn write(path: &Path, content: &str) {
    let other = path.with_extension("new");
    std::fs::write(&other, content).unwrap();
    std::fs::rename(other, path).unwrap();
}

/// How many of our threads look at files.
#[cfg(target_os = "linux")]
fn watchers() -> usize {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.trim() == "honeyhive-confi")
        .count()
}

#[test]
fn a_file_that_changes_is_in_force_without_a_restart() {
    let test = "a_file_that_changes_is_in_force_without_a_restart";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("honeyhive.toml");
    write(&path, "batch_size = 7\nsource = 'file'\nmax_links = 5\n");
    let variables = [
        ("HH_CONFIG_FILE", path.to_str().unwrap()),
        ("HH_WATCH_CONFIG", "true"),
        ("HH_SOURCE", "variable"),
    ];
    if in_process_of_its_own(test, &variables).is_none() {
        let path = PathBuf::from(std::env::var_os("HH_CONFIG_FILE").unwrap());
        follow(&path);
    }
}

/// What the instance warned about.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "honeyhive" {
            let mut text = String::new();
            event.record(
                &mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                    text.push_str(&format!("{value:?}"));
                },
            );
            self.0.lock().unwrap().push(text);
        }
    }
}

fn follow(path: &Path) {
    let server = Recorder::start();
    let honeyhive = settings(&server.url).max_links(3).build().unwrap();
    let warnings = Warnings::default();
    tracing_subscriber::registry()
        .with(honeyhive.layer())
        .with(warnings.clone().with_filter(LevelFilter::WARN))
        .init();
    #[cfg(target_os = "linux")]
    until("the thread", || watchers() == 1);
    tracing::info_span!("work").in_scope(|| {});
    honeyhive.flush_blocking(PATIENCE).unwrap();
    assert_eq!(honeyhive.config().batch_size(), 7);

    write(
        path,
        "batch_size = 8\nsource = 'other'\nmax_links = 6\nheaders = { x-team = 'search' }\n",
    );
    until("the change", || honeyhive.config().batch_size() == 8);
    let config = honeyhive.config();
    assert_eq!((config.source(), config.max_links()), ("variable", 3));
    let source = Source::File(path.to_owned());
    assert_eq!(*config.source_of(Field::BatchSize), source);
    tracing::info_span!("work").in_scope(|| {});
    honeyhive.flush_blocking(PATIENCE).unwrap();
    let requests = server.requests_to(TRACES);
    let teams: Vec<_> = requests
        .iter()
        .map(|request| request.header("x-team"))
        .collect();
    assert_eq!(teams, [None, Some("search")]);

    // Broken ones change nothing; of each it is told once.
    for (number, broken) in ["batchsize = 9\n", "api_key = SECRET\n"]
        .into_iter()
        .enumerate()
    {
        write(path, broken);
        until("a warning", || warnings.all().len() == number + 1);
        std::thread::sleep(Duration::from_millis(2_500));
        let said = warnings.all();
        assert_eq!(said.len(), number + 1, "{said:?}");
        assert!(said[number].contains("is not taken over"), "{said:?}");
        assert!(!said[number].contains("SECRET"), "{said:?}");
        assert_eq!(honeyhive.config(), config);
    }
    // Nor does one that is gone.
    std::fs::remove_file(path).unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(honeyhive.config(), config);

    // What it does not say any more has its default again; what code says meanwhile stays.
    honeyhive.reconfigure(|b| b.max_events(11)).unwrap();
    write(path, "max_events = 12\nmax_attributes = 200\n");
    until("the next change", || {
        honeyhive.config().max_attributes() == 200
    });
    let config = honeyhive.config();
    assert_eq!(config.batch_size(), honeyhive::config::DEFAULT_BATCH_SIZE);
    assert_eq!(config.max_events(), 11);
    assert_all_exported(&honeyhive.stats(), 2);

    // The thread ends with the instance, by shutdown or by drop.
    let second = settings(&server.url).build().unwrap();
    #[cfg(target_os = "linux")]
    until("two threads", || watchers() == 2);
    second.shutdown_blocking(PATIENCE).unwrap();
    #[cfg(target_os = "linux")]
    until("one thread", || watchers() == 1);
    drop(honeyhive);
    #[cfg(target_os = "linux")]
    until("no thread", || watchers() == 0);

    // And there is none unless somebody asks.
    let other = settings(&server.url).watch_config(false).build().unwrap();
    emit(&other, 1);
    other.flush_blocking(PATIENCE).unwrap();
    #[cfg(target_os = "linux")]
    assert_eq!(watchers(), 0);
}
