//! What is found out about the place: pure, told what it wants to know.

use std::path::{Path, PathBuf};

use super::Environment;
use crate::config::Usual;

/// What detection asks.
pub(crate) trait Host {
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    fn has_file(&self, path: &Path) -> bool;
    /// The content of a file of the system.
    fn read(&self, path: &Path) -> Option<String>;
    /// The memory of the machine, in bytes; asked only where no limit is found.
    fn total_memory(&self) -> Option<u64>;
    fn processors(&self) -> usize;
}

/// Where the program runs, and what it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) environment: Environment,
    pub(super) memory: Option<(u64, Measure)>,
    pub(crate) processors: usize,
}

/// How the memory is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Function,
    ControlGroup,
    Machine,
}

const MIB: u64 = 1 << 20;
const CGROUPS: &str = "/sys/fs/cgroup";

impl Place {
    /// The first environment of the list that shows itself, with its resources. A variable that is blank shows nothing.
    /// (High concurrency is not found but said: see [`under`](Self::under).)
    pub(crate) fn detect(host: &dyn Host) -> Self {
        let set = |name: &str| {
            host.variable(name)
                .is_some_and(|value| !value.trim().is_empty())
        };
        let environment = if set("AWS_LAMBDA_FUNCTION_NAME") {
            Environment::Lambda
        } else if set("KUBERNETES_SERVICE_HOST") {
            Environment::Kubernetes
        } else if set("DOCKER_CONTAINER") || host.has_file(Path::new("/.dockerenv")) {
            Environment::Docker
        } else if set("GOOGLE_CLOUD_PROJECT") || set("GCP_PROJECT") {
            Environment::Gcp
        } else if set("AZURE_RESOURCE_GROUP") || set("WEBSITE_RESOURCE_GROUP") {
            Environment::Azure
        } else if set("AWS_REGION") {
            Environment::Ec2
        } else {
            Environment::Standard
        };
        let function = || {
            let mebibytes = host.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?;
            let bytes = mebibytes.trim().parse::<u64>().ok()?.checked_mul(MIB)?;
            (bytes > 0).then_some((bytes, Measure::Function))
        };
        let machine = || Some((host.total_memory()?, Measure::Machine));
        let memory = function()
            .filter(|_| environment == Environment::Lambda)
            .or_else(|| Some((memory_limit(host)?, Measure::ControlGroup)))
            .or_else(machine);
        Self {
            environment,
            memory,
            processors: host.processors().max(1),
        }
    }

    /// A place of which nothing else is known; with enough processors for none of them to matter.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) const fn of(environment: Environment) -> Self {
        Self {
            environment,
            memory: None,
            processors: 4,
        }
    }

    /// The same place, in a process that works on many requests at a time, or does not. Lambda and Kubernetes have
    /// deadlines of their own, which matter more.
    pub(crate) const fn under(self, high_concurrency: bool) -> Self {
        match self.environment {
            Environment::Lambda | Environment::Kubernetes => self,
            _ if high_concurrency => Self {
                environment: Environment::HighConcurrency,
                ..self
            },
            _ => self,
        }
    }

    /// What its rules say.
    pub(crate) fn usual(self) -> Usual {
        Usual::new(move |usage| self.numbers(usage))
    }

    /// In bytes: measured, or what is usual in such a place.
    pub(crate) fn memory(&self) -> u64 {
        let usual = match self.environment {
            Environment::Lambda => 512,
            Environment::Kubernetes | Environment::Ec2 => 2048,
            _ => 1024,
        };
        self.memory.map_or(usual * MIB, |(bytes, _)| bytes)
    }

    pub(crate) fn memory_source(&self) -> &'static str {
        match self.memory {
            Some((_, Measure::Function)) => "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            Some((_, Measure::ControlGroup)) => "the limit of the control group",
            Some((_, Measure::Machine)) => "the memory of the machine",
            None => "not known: what is usual here",
        }
    }

    pub(crate) fn memory_tier(&self) -> Tier {
        match self.memory() / MIB {
            0..256 => Tier::Minimal,
            256..1024 => Tier::Low,
            1024..2048 => Tier::Medium,
            _ => Tier::High,
        }
    }

    pub(crate) fn processor_tier(&self) -> Tier {
        match self.processors {
            0..=1 => Tier::Minimal,
            2 => Tier::Low,
            3..=4 => Tier::Medium,
            5..=8 => Tier::High,
            _ => Tier::VeryHigh,
        }
    }
}

/// How much there is of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    Minimal,
    Low,
    Medium,
    High,
    VeryHigh,
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::VeryHigh => "very high",
        })
    }
}

/// The smallest limit of the control groups that the process is in, of either version.
fn memory_limit(host: &dyn Host) -> Option<u64> {
    let groups = host.read(Path::new("/proc/self/cgroup"))?;
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            (PathBuf::from(CGROUPS), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // A group may be seen under its whole path, or as the root, depending on the namespace.
        let group = Path::new(group.trim_start_matches('/'));
        for ancestor in group.ancestors() {
            let limit = host.read(&root.join(ancestor).join(file));
            least = limit
                .and_then(|text| limit_in(&text))
                .into_iter()
                .chain(least)
                .min();
        }
    }
    least
}

/// `max`, and what version 1 says in its place, are no limits.
fn limit_in(text: &str) -> Option<u64> {
    let bytes = text.trim().parse::<u64>().ok()?;
    (bytes > 0 && bytes < 1 << 60).then_some(bytes)
}
