use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::place::{Host, Place, Tier};
use super::*;
use crate::config::Builder;

const MIB: u64 = 1 << 20;

/// A machine made up.
#[derive(Default)]
struct Told {
    variables: Vec<(&'static str, &'static str)>,
    files: BTreeMap<&'static str, String>,
    total: Option<u64>,
    processors: usize,
}

impl Host for Told {
    fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(known, _)| *known == name)?;
        Some(found.1.to_owned())
    }

    fn has_file(&self, path: &Path) -> bool {
        self.files.contains_key(path.to_str().unwrap())
    }

    fn read(&self, path: &Path) -> Option<String> {
        self.files.get(path.to_str().unwrap()).cloned()
    }

    fn total_memory(&self) -> Option<u64> {
        self.total
    }

    fn processors(&self) -> usize {
        self.processors
    }
}

fn told(variables: &[(&'static str, &'static str)], files: &[&'static str]) -> Place {
    Place::detect(&Told {
        variables: variables.to_vec(),
        files: files.iter().map(|file| (*file, String::new())).collect(),
        ..Told::default()
    })
}

/// The strategy of a place, with the settings of a builder and of variables.
fn strategy(place: Place, builder: Builder, variables: &[(&str, &str)]) -> Strategy {
    let sources = Sources {
        environment: variables
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect(),
        ..Sources::default().with_usual(place.usual())
    };
    Strategy::new(place, Arc::new(builder.resolve(&sources).unwrap()))
}

fn plain(place: Place) -> Strategy {
    strategy(place, Builder::new(), &[])
}

#[test]
fn each_is_found_by_its_marks() {
    for (name, value, expected) in [
        ("AWS_LAMBDA_FUNCTION_NAME", "f", Environment::Lambda),
        (
            "KUBERNETES_SERVICE_HOST",
            "10.0.0.1",
            Environment::Kubernetes,
        ),
        ("DOCKER_CONTAINER", "1", Environment::Docker),
        ("GOOGLE_CLOUD_PROJECT", "p", Environment::Gcp),
        ("GCP_PROJECT", "p", Environment::Gcp),
        ("AZURE_RESOURCE_GROUP", "g", Environment::Azure),
        ("WEBSITE_RESOURCE_GROUP", "g", Environment::Azure),
        ("AWS_REGION", "us-east-1", Environment::Ec2),
        ("AWS_REGION", " ", Environment::Standard),
        ("PATH", "/bin", Environment::Standard),
    ] {
        let found = told(&[(name, value)], &[]).environment;
        assert_eq!(found, expected, "{name}={value}");
    }
    assert_eq!(told(&[], &["/.dockerenv"]).environment, Environment::Docker);
    assert_eq!(
        told(&[], &["/etc/passwd"]).environment,
        Environment::Standard
    );
}

#[test]
fn the_first_of_the_list_wins() {
    let order = [
        ("AWS_LAMBDA_FUNCTION_NAME", Environment::Lambda),
        ("KUBERNETES_SERVICE_HOST", Environment::Kubernetes),
        ("DOCKER_CONTAINER", Environment::Docker),
        ("GCP_PROJECT", Environment::Gcp),
        ("AZURE_RESOURCE_GROUP", Environment::Azure),
        ("AWS_REGION", Environment::Ec2),
    ];
    let pairs = order.map(|(name, _)| (name, "1"));
    for (start, (_, expected)) in order.iter().enumerate() {
        assert_eq!(told(&pairs[start..], &[]).environment, *expected);
    }
}

#[test]
fn high_concurrency_is_said_by_variable_or_code() {
    let on = [("HH_HIGH_CONCURRENCY", "yes")];
    for (name, expected) in [
        ("AWS_LAMBDA_FUNCTION_NAME", Environment::Lambda),
        ("KUBERNETES_SERVICE_HOST", Environment::Kubernetes),
        ("DOCKER_CONTAINER", Environment::HighConcurrency),
        ("PATH", Environment::HighConcurrency),
    ] {
        let place = told(&[(name, "1")], &[]);
        let found = strategy(place, Builder::new(), &on);
        assert_eq!(found.environment(), expected, "{name}");
        let found = strategy(place, Builder::new().high_concurrency(true), &[]);
        assert_eq!(found.environment(), expected, "{name}");
        // Code goes before the variable.
        let found = strategy(place, Builder::new().high_concurrency(false), &on);
        assert_eq!(found.environment(), place.environment, "{name}");
    }
}

#[test]
fn memory_is_measured_where_it_is_limited() {
    const V2: &str = "0::/a/b\n";
    const V1: &str = "9:name=systemd:/\n4:memory:/docker/x\n0::/\n";
    type Files = &'static [(&'static str, &'static str)];
    const CASES: &[(Files, u64)] = &[
        (&[], 8192),
        (&[("/proc/self/cgroup", V2)], 8192),
        (
            &[
                ("/proc/self/cgroup", V2),
                ("/sys/fs/cgroup/a/b/memory.max", "536870912\n"),
            ],
            512,
        ),
        // The group above has less.
        (
            &[
                ("/proc/self/cgroup", V2),
                ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("/sys/fs/cgroup/a/memory.max", "268435456\n"),
                ("/sys/fs/cgroup/memory.max", "1073741824\n"),
            ],
            256,
        ),
        // In a namespace of its own the group is the root.
        (
            &[
                ("/proc/self/cgroup", "0::/\n"),
                ("/sys/fs/cgroup/memory.max", "1073741824\n"),
            ],
            1024,
        ),
        (
            &[
                ("/proc/self/cgroup", V1),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"),
            ],
            128,
        ),
        // No limit, as version 1 writes it; and nonsense.
        (
            &[
                ("/proc/self/cgroup", V1),
                (
                    "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "much\n"),
            ],
            8192,
        ),
        (&[("/proc/self/cgroup", "nonsense\n::\n0:\n")], 8192),
    ];
    for (files, expected) in CASES {
        let mut host = Told {
            files: files
                .iter()
                .map(|&(path, content)| (path, content.to_owned()))
                .collect(),
            total: Some(8192 * MIB),
            ..Told::default()
        };
        assert_eq!(Place::detect(&host).memory() / MIB, *expected, "{files:?}");
        // The size of the function counts on Lambda alone.
        host.variables = vec![("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "640")];
        assert_eq!(Place::detect(&host).memory() / MIB, *expected);
        host.variables.push(("AWS_LAMBDA_FUNCTION_NAME", "f"));
        assert_eq!(Place::detect(&host).memory() / MIB, 640);
        host.variables[0].1 = "plenty";
        assert_eq!(Place::detect(&host).memory() / MIB, *expected);
    }
    // Nothing is known: what is usual.
    for (environment, expected) in [
        (Environment::Lambda, 512),
        (Environment::Kubernetes, 2048),
        (Environment::Docker, 1024),
        (Environment::Standard, 1024),
    ] {
        assert_eq!(Place::of(environment).memory() / MIB, expected);
    }
}

fn with(total: u64, processors: usize, variables: &[(&'static str, &'static str)]) -> Place {
    Place::detect(&Told {
        variables: variables.to_vec(),
        total: Some(total * MIB),
        processors,
        ..Told::default()
    })
}

#[test]
fn tiers() {
    for (mebibytes, tier) in [
        (0, Tier::Minimal),
        (255, Tier::Minimal),
        (256, Tier::Low),
        (1023, Tier::Low),
        (1024, Tier::Medium),
        (2047, Tier::Medium),
        (2048, Tier::High),
        (1 << 20, Tier::High),
    ] {
        assert_eq!(with(mebibytes, 1, &[]).memory_tier(), tier, "{mebibytes}");
    }
    for (processors, tier) in [
        (0, Tier::Minimal),
        (1, Tier::Minimal),
        (2, Tier::Low),
        (4, Tier::Medium),
        (8, Tier::High),
        (9, Tier::VeryHigh),
    ] {
        assert_eq!(with(0, processors, &[]).processor_tier(), tier);
    }
}

#[test]
fn numbers_of_the_environments() {
    for (environment, lifecycle, flush, timer, requests, queue, pool, first) in [
        (Environment::Lambda, 500, 2000, false, 2, 16, 10, 100),
        (Environment::Kubernetes, 2000, 5000, true, 3, 64, 26, 300),
        (
            Environment::HighConcurrency,
            300,
            1000,
            true,
            4,
            128,
            26,
            500,
        ),
        (Environment::Docker, 1000, 3000, true, 2, 64, 19, 400),
        (Environment::Gcp, 1000, 3000, true, 3, 64, 23, 350),
        (Environment::Azure, 1000, 3000, true, 3, 64, 23, 400),
        (Environment::Ec2, 1000, 3000, true, 3, 64, 32, 300),
        (Environment::Standard, 1000, 3000, true, 2, 64, 26, 500),
    ] {
        let place = Place {
            environment,
            ..with(8192, 4, &[])
        };
        let strategy = plain(place);
        assert_eq!(strategy.environment(), environment);
        assert_eq!(
            strategy.lifecycle_timeout(),
            Duration::from_millis(lifecycle)
        );
        assert_eq!(strategy.flush_timeout(), Duration::from_millis(flush));
        assert_eq!(strategy.flush_on_timer(), timer);
        assert_eq!(strategy.max_in_flight(), requests);
        assert_eq!(strategy.max_queue_bytes(), queue << 20, "{environment}");
        assert_eq!(strategy.pool_max_idle(), pool, "{environment}");
        assert_eq!(strategy.retry_first_delay(), Duration::from_millis(first));
        assert_eq!(strategy.connect_timeout(), Duration::from_secs(3));
        assert_eq!(strategy.export_timeout(), Duration::from_secs(10));
        let text = strategy.to_string();
        assert_eq!(text.lines().count(), 4 + NUMBERS.len(), "{text}");
        assert!(text.contains(environment.found_by()), "{text}");
        assert!(!text.contains("()"), "every number has a reason: {text}");
    }
    // The constants are those of a standard place with enough of everything.
    let (standard, bare) = (plain(with(1024, 4, &[])), Config::default());
    for field in NUMBERS {
        if field != Field::FlushTimeout {
            assert_eq!(standard.config.value(field), bare.value(field), "{field}");
        }
    }
    assert_eq!(standard.flush_timeout(), bare.flush_timeout());
}

#[test]
fn resources_scale_the_budgets() {
    let lambda = [("AWS_LAMBDA_FUNCTION_NAME", "f")];
    for (memory, variables, queue, batch, pool) in [
        // A sixteenth of the memory at most.
        (128, &[][..], 8 << 20, 1 << 20, 10),
        (512, &[], 32 << 20, 2 << 20, 10),
        (1024, &[], 64 << 20, 4 << 20, 20),
        (4096, &[], 64 << 20, 4 << 20, 26),
        (128, &lambda, 4 << 20, 1 << 20, 5),
        (512, &lambda, 8 << 20, 2 << 20, 5),
        (3008, &lambda, 16 << 20, 4 << 20, 10),
        (8, &[], 1 << 20, 1 << 20, 10),
    ] {
        let strategy = plain(with(memory, 4, variables));
        assert_eq!(strategy.max_queue_bytes(), queue, "{memory}");
        assert_eq!(strategy.max_batch_bytes(), batch, "{memory}");
        assert_eq!(strategy.pool_max_idle(), pool, "{memory}");
    }
    let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    for (processors, expected) in [(1, 2), (2, 3), (8, 3), (9, 4), (64, 4)] {
        let strategy = plain(with(4096, processors, &pod));
        assert_eq!(strategy.max_in_flight(), expected, "{processors}");
    }
    assert_eq!(plain(with(4096, 1, &[])).max_in_flight(), 2);
    let busy = Builder::new().high_concurrency(true);
    let strategy = strategy(with(4096, 64, &[]), busy, &[]);
    assert_eq!(strategy.max_in_flight(), 4);
}

#[test]
fn a_scenario_changes_defaults_and_nothing_that_is_set() {
    let place = with(8192, 4, &[]);
    let of = |scenario| strategy(place, Builder::new().scenario(scenario), &[]);
    let volume = of(Scenario::HighVolume);
    assert_eq!(
        (
            volume.batch_size(),
            volume.max_export_batch_size(),
            volume.max_in_flight(),
            volume.max_queue_size(),
            volume.max_queue_bytes()
        ),
        (1000, 4000, 4, 1 << 20, 128 << 20)
    );
    let latency = of(Scenario::LowLatency);
    assert!(latency.disable_batch());
    assert_eq!(latency.retry_first_delay(), Duration::from_millis(100));
    let test = of(Scenario::Test);
    assert_eq!(test.flush_timeout(), Duration::from_secs(1));
    assert_eq!(test.flush_interval(), Duration::from_millis(100));
    assert_eq!(test.retry_give_up(), Duration::from_secs(5));
    let benchmark = of(Scenario::Benchmark);
    assert!(!benchmark.flush_on_timer());
    assert_eq!(benchmark.max_queue_bytes(), 256 << 20);
    assert_eq!(benchmark.flush_timeout(), Duration::from_secs(30));

    let set = strategy(
        place,
        Builder::new().max_in_flight(1),
        &[("HH_SCENARIO", "High-Volume"), ("HH_BATCH_SIZE", "7")],
    );
    assert_eq!((set.batch_size(), set.max_in_flight()), (7, 1));
    assert_eq!(set.max_export_batch_size(), 4000);
    let text = set.to_string();
    for line in [
        "scenario: high_volume (set by HH_SCENARIO)",
        "batch_size: 7 (set by HH_BATCH_SIZE)",
        "max_in_flight: 1 (set by Builder::max_in_flight)",
        "max_queue_bytes: 128MiB (the standard; twice that for high_volume)",
        "max_export_batch_size: 4000 (high_volume: large batches cost least)",
        "memory: 8GiB, high (the memory of the machine)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn a_change_goes_by_the_same_rules() {
    let place = with(8192, 4, &[("AWS_LAMBDA_FUNCTION_NAME", "f")]);
    let before = plain(place);
    assert_eq!(before.max_queue_bytes(), 16 << 20);
    let changed = |change: fn(Builder) -> Builder| {
        before.with(Arc::new(before.config.reconfigured(change).unwrap()))
    };
    assert_eq!(changed(|b| b).max_queue_bytes(), 16 << 20);
    let volume = changed(|b| b.scenario(Scenario::HighVolume));
    assert_eq!(volume.max_queue_bytes(), 32 << 20);
    assert!(!volume.flush_on_timer());
}

#[test]
fn measuring_takes_no_time() {
    let sources = Sources::default();
    let cold = std::time::Instant::now();
    let _first = Place::detect(&Machine::of(&sources));
    println!("cold: {:?}", cold.elapsed());
    let fastest = (0..20)
        .map(|_| {
            let started = std::time::Instant::now();
            let place = Place::detect(&Machine::of(&sources));
            assert!(place.memory() > 0 && place.processors > 0);
            started.elapsed()
        })
        .min();
    assert!(fastest.unwrap() < Duration::from_millis(1), "{fastest:?}");
}
