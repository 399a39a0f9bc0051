//! Where the program runs, and what follows from it. Pure: it is told what it wants to know.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::config::{DEFAULT_MAX_QUEUE_BYTES, HIGH_CONCURRENCY, Sources, flag};

/// Kinds of places, in the order in which they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Environment {
    Lambda,
    Kubernetes,
    HighConcurrency,
    Docker,
    Gcp,
    Azure,
    Ec2,
    Standard,
}

/// The numbers that depend on the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strategy {
    environment: Environment,
    /// How long start and stop of an instance wait for one another.
    pub(crate) lifecycle_timeout: Duration,
    /// How long dropping the instance waits for what is queued, unless it was told.
    pub(crate) flush_timeout: Duration,
    /// Whether spans are sent when the flush interval is over. On Lambda nothing runs between invocations, so a
    /// timer fires at odd moments: the end of an invocation is the moment.
    pub(crate) flush_on_timer: bool,
    /// How many requests may be on their way at once.
    pub(crate) max_in_flight: usize,
    /// How many bytes waiting spans may take, unless it was told.
    pub(crate) max_queue_bytes: usize,
}

/// Reads the sources of the process and finds out where it runs; defaults that depend on it are in the sources.
pub(crate) fn discover() -> (Sources, Environment) {
    let sources = Sources::discover();
    let environment = Environment::detect(&|name| sources.variable(name), &Path::exists);
    let max_queue_bytes = environment.strategy().max_queue_bytes;
    (sources.with_max_queue_bytes(max_queue_bytes), environment)
}

impl Environment {
    /// The first environment of the list that shows itself. A variable that is blank shows nothing.
    pub(crate) fn detect(
        variable: &dyn Fn(&str) -> Option<String>,
        has_file: &dyn Fn(&Path) -> bool,
    ) -> Self {
        let set = |name: &str| variable(name).is_some_and(|value| !value.trim().is_empty());
        let yes = |name: &str| variable(name).is_some_and(|value| flag(&value) == Some(true));
        if set("AWS_LAMBDA_FUNCTION_NAME") {
            Self::Lambda
        } else if set("KUBERNETES_SERVICE_HOST") {
            Self::Kubernetes
        } else if yes(HIGH_CONCURRENCY) {
            Self::HighConcurrency
        } else if set("DOCKER_CONTAINER") || has_file(Path::new("/.dockerenv")) {
            Self::Docker
        } else if set("GOOGLE_CLOUD_PROJECT") || set("GCP_PROJECT") {
            Self::Gcp
        } else if set("AZURE_RESOURCE_GROUP") || set("WEBSITE_RESOURCE_GROUP") {
            Self::Azure
        } else if set("AWS_REGION") {
            Self::Ec2
        } else {
            Self::Standard
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lambda => "AWS Lambda",
            Self::Kubernetes => "Kubernetes",
            Self::HighConcurrency => "high concurrency",
            Self::Docker => "Docker",
            Self::Gcp => "Google Cloud",
            Self::Azure => "Azure",
            Self::Ec2 => "EC2",
            Self::Standard => "standard",
        }
    }

    /// What it was known by.
    pub(crate) const fn found_by(self) -> &'static str {
        match self {
            Self::Lambda => "AWS_LAMBDA_FUNCTION_NAME is set",
            Self::Kubernetes => "KUBERNETES_SERVICE_HOST is set",
            Self::HighConcurrency => "HH_HIGH_CONCURRENCY is on",
            Self::Docker => "DOCKER_CONTAINER is set or /.dockerenv exists",
            Self::Gcp => "GOOGLE_CLOUD_PROJECT or GCP_PROJECT is set",
            Self::Azure => "AZURE_RESOURCE_GROUP or WEBSITE_RESOURCE_GROUP is set",
            Self::Ec2 => "AWS_REGION is set",
            Self::Standard => "nothing else was found",
        }
    }

    pub(crate) const fn strategy(self) -> Strategy {
        let (lifecycle, flush) = match self {
            Self::Lambda => (500, 2_000),
            Self::Kubernetes => (2_000, 5_000),
            Self::HighConcurrency => (300, 1_000),
            Self::Docker | Self::Gcp | Self::Azure | Self::Ec2 | Self::Standard => (1_000, 3_000),
        };
        Strategy {
            environment: self,
            lifecycle_timeout: Duration::from_millis(lifecycle),
            flush_timeout: Duration::from_millis(flush),
            flush_on_timer: !matches!(self, Self::Lambda),
            max_in_flight: match self {
                Self::HighConcurrency => 4,
                Self::Kubernetes | Self::Gcp | Self::Azure | Self::Ec2 => 3,
                Self::Lambda | Self::Docker | Self::Standard => 2,
            },
            max_queue_bytes: match self {
                Self::Lambda => 16 << 20,
                Self::HighConcurrency => 128 << 20,
                _ => DEFAULT_MAX_QUEUE_BYTES,
            },
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line a number, with the reason for it.
impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.environment;
        let (pause, trigger, requests, memory) = match place {
            Environment::Lambda => (
                "invocations are short",
                "nothing runs between invocations, their end is the moment",
                "an invocation waits for its requests",
                "memory is small and shared with the function",
            ),
            Environment::Kubernetes => (
                "a pod has time to end before it is killed",
                "the process runs on",
                "one slow answer must not hold up the rest",
                "the standard",
            ),
            Environment::HighConcurrency => (
                "many callers must not wait",
                "the process runs on",
                "many spans end at once",
                "many spans end at once",
            ),
            Environment::Gcp | Environment::Azure | Environment::Ec2 => (
                "the standard",
                "the process runs on",
                "one slow answer must not hold up the rest",
                "the standard",
            ),
            Environment::Docker | Environment::Standard => (
                "the standard",
                "the process runs on",
                "one slow answer must not hold up the next",
                "the standard",
            ),
        };
        writeln!(f, "environment: {place} ({})", place.found_by())?;
        writeln!(
            f,
            "lifecycle timeout: {:?} ({pause})",
            self.lifecycle_timeout
        )?;
        writeln!(f, "flush timeout: {:?} ({pause})", self.flush_timeout)?;
        let timer = if self.flush_on_timer { "yes" } else { "no" };
        writeln!(f, "flush on timer: {timer} ({trigger})")?;
        writeln!(f, "requests at once: {} ({requests})", self.max_in_flight)?;
        let mebibytes = self.max_queue_bytes >> 20;
        writeln!(f, "queue: {mebibytes} MiB ({memory})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(pairs: &[(&str, &str)], files: &[&str]) -> Environment {
        Environment::detect(
            &|name| {
                let pair = pairs.iter().find(|(known, _)| *known == name)?;
                Some(pair.1.to_owned())
            },
            &|path| files.iter().any(|file| Path::new(file) == path),
        )
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
            ("HH_HIGH_CONCURRENCY", "true", Environment::HighConcurrency),
            ("HH_HIGH_CONCURRENCY", " YES ", Environment::HighConcurrency),
            ("HH_HIGH_CONCURRENCY", "1", Environment::HighConcurrency),
            ("HH_HIGH_CONCURRENCY", "0", Environment::Standard),
            ("HH_HIGH_CONCURRENCY", "maybe", Environment::Standard),
            ("DOCKER_CONTAINER", "1", Environment::Docker),
            ("GOOGLE_CLOUD_PROJECT", "p", Environment::Gcp),
            ("GCP_PROJECT", "p", Environment::Gcp),
            ("AZURE_RESOURCE_GROUP", "g", Environment::Azure),
            ("WEBSITE_RESOURCE_GROUP", "g", Environment::Azure),
            ("AWS_REGION", "us-east-1", Environment::Ec2),
            ("AWS_REGION", " ", Environment::Standard),
            ("PATH", "/bin", Environment::Standard),
        ] {
            assert_eq!(detect(&[(name, value)], &[]), expected, "{name}={value}");
        }
        assert_eq!(detect(&[], &["/.dockerenv"]), Environment::Docker);
        assert_eq!(detect(&[], &["/etc/passwd"]), Environment::Standard);
    }

    #[test]
    fn the_first_of_the_list_wins() {
        let order = [
            ("AWS_LAMBDA_FUNCTION_NAME", Environment::Lambda),
            ("KUBERNETES_SERVICE_HOST", Environment::Kubernetes),
            ("HH_HIGH_CONCURRENCY", Environment::HighConcurrency),
            ("DOCKER_CONTAINER", Environment::Docker),
            ("GCP_PROJECT", Environment::Gcp),
            ("AZURE_RESOURCE_GROUP", Environment::Azure),
            ("AWS_REGION", Environment::Ec2),
        ];
        let pairs = order.map(|(name, _)| (name, "1"));
        for (start, (_, expected)) in order.iter().enumerate() {
            assert_eq!(detect(&pairs[start..], &[]), *expected);
        }
    }

    #[test]
    fn numbers() {
        for (environment, lifecycle, flush, timer, requests, mebibytes) in [
            (Environment::Lambda, 0.5, 2.0, false, 2, 16),
            (Environment::Kubernetes, 2.0, 5.0, true, 3, 64),
            (Environment::HighConcurrency, 0.3, 1.0, true, 4, 128),
            (Environment::Docker, 1.0, 3.0, true, 2, 64),
            (Environment::Gcp, 1.0, 3.0, true, 3, 64),
            (Environment::Azure, 1.0, 3.0, true, 3, 64),
            (Environment::Ec2, 1.0, 3.0, true, 3, 64),
            (Environment::Standard, 1.0, 3.0, true, 2, 64),
        ] {
            let expected = Strategy {
                environment,
                lifecycle_timeout: Duration::from_secs_f64(lifecycle),
                flush_timeout: Duration::from_secs_f64(flush),
                flush_on_timer: timer,
                max_in_flight: requests,
                max_queue_bytes: mebibytes << 20,
            };
            assert_eq!(environment.strategy(), expected);
            let text = expected.to_string();
            assert_eq!(text.lines().count(), 6, "{text}");
            assert!(text.contains(environment.found_by()), "{text}");
        }
    }
}
