//! Where the program runs, and the numbers of delivery that follow from it.
//!
//! [`HoneyHive::strategy`](crate::HoneyHive::strategy) tells both, with the reason for every number. The page
//! [`docs::environments`](crate::docs::environments) has all of them.

mod machine;
mod place;
mod rules;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Field, Scenario, Source, Sources, Value, size};

use machine::Machine;
pub(crate) use place::Place;

/// Kinds of places to run in, in the order in which they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Environment {
    /// AWS Lambda.
    Lambda,
    /// A pod of Kubernetes.
    Kubernetes,
    /// Anywhere else, in a process that says that it works on many requests at a time.
    HighConcurrency,
    /// A container of Docker.
    Docker,
    /// Google Cloud.
    Gcp,
    /// Azure.
    Azure,
    /// EC2, or another service of AWS.
    Ec2,
    /// None of these.
    Standard,
}

impl Environment {
    /// Its name, such as `Kubernetes`.
    #[must_use]
    pub const fn name(self) -> &'static str {
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

    /// What it is known by.
    pub(crate) const fn found_by(self) -> &'static str {
        match self {
            Self::Lambda => "AWS_LAMBDA_FUNCTION_NAME is set",
            Self::Kubernetes => "KUBERNETES_SERVICE_HOST is set",
            Self::HighConcurrency => "high_concurrency is on",
            Self::Docker => "DOCKER_CONTAINER is set or /.dockerenv exists",
            Self::Gcp => "GOOGLE_CLOUD_PROJECT or GCP_PROJECT is set",
            Self::Azure => "AZURE_RESOURCE_GROUP or WEBSITE_RESOURCE_GROUP is set",
            Self::Ec2 => "AWS_REGION is set",
            Self::Standard => "nothing else was found",
        }
    }

    /// Its strategy, where nothing is known of the machine and nobody has set anything.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn strategy(self) -> Strategy {
        Strategy::new(Place::of(self), Arc::default())
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads the sources of the process and finds out where it runs; the numbers that follow from it are in the sources.
pub(crate) fn discover() -> (Sources, Strategy) {
    let sources = Sources::discover();
    let place = Place::detect(&Machine::of(&sources));
    (
        sources.with_usual(place.usual()),
        Strategy::new(place, Arc::default()),
    )
}

/// The numbers of delivery in force, and where they come from. Printed it has one line a number, with the reason for it:
///
/// ```
/// let honeyhive = honeyhive::HoneyHive::builder().test_mode(true).batch_size(50).build()?;
/// let strategy = honeyhive.strategy().to_string();
/// assert!(strategy.contains("batch_size: 50 (set by Builder::batch_size)"), "{strategy}");
/// # Ok::<(), honeyhive::Error>(())
/// ```
#[derive(Clone)]
pub struct Strategy {
    place: Place,
    config: Arc<Config>,
}

/// What a strategy is made of, in the order in which it is printed.
const NUMBERS: [Field; 18] = [
    Field::LifecycleTimeout,
    Field::FlushTimeout,
    Field::FlushOnTimer,
    Field::FlushInterval,
    Field::DisableBatch,
    Field::BatchSize,
    Field::MaxExportBatchSize,
    Field::MaxBatchBytes,
    Field::MaxQueueSize,
    Field::MaxQueueBytes,
    Field::MaxInFlight,
    Field::PoolMaxIdle,
    Field::PoolIdleTimeout,
    Field::ConnectTimeout,
    Field::ExportTimeout,
    Field::RetryFirstDelay,
    Field::RetryMaxDelay,
    Field::RetryGiveUp,
];

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// The numbers, as in [`Config`].
        impl Strategy {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(&self) -> $type {
                    self.config.$name()
                }
            )*
        }
    };
}

numbers! {
    /// How long a change of the configuration and the end of an instance wait for one another.
    lifecycle_timeout: Duration,
    /// How long dropping the instance waits for what is queued.
    flush_timeout: Duration,
    /// Whether spans are sent when the flush interval is over. On Lambda nothing runs between invocations, so a timer
    /// fires at odd moments: the end of an invocation is the moment.
    flush_on_timer: bool,
    /// How long a span waits at most, where there is a timer.
    flush_interval: Duration,
    /// Whether every span is sent as soon as it ends.
    disable_batch: bool,
    /// How many waiting spans make the exporter send at once.
    batch_size: usize,
    /// How many spans go into one request at most.
    max_export_batch_size: usize,
    /// How many bytes go into one request at most.
    max_batch_bytes: usize,
    /// How many spans may wait.
    max_queue_size: usize,
    /// How many bytes the waiting spans may take.
    max_queue_bytes: usize,
    /// How many requests with spans may be on their way at once.
    max_in_flight: usize,
    /// How many connections are kept.
    pool_max_idle: usize,
    /// How long they are kept.
    pool_idle_timeout: Duration,
    /// How long making a connection may take.
    connect_timeout: Duration,
    /// How long one request may take.
    export_timeout: Duration,
    /// The wait before the first repetition.
    retry_first_delay: Duration,
    /// The longest wait between two attempts.
    retry_max_delay: Duration,
    /// For how long a batch is tried.
    retry_give_up: Duration,
    /// What the program does.
    scenario: Scenario,
}

impl Strategy {
    pub(crate) fn new(place: Place, config: Arc<Config>) -> Self {
        Self { place, config }
    }

    /// The same place, with other settings.
    pub(crate) fn with(&self, config: Arc<Config>) -> Self {
        Self::new(self.place, config)
    }

    fn place(&self) -> Place {
        self.place.under(self.config.high_concurrency())
    }

    /// Where the program runs.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.place().environment
    }

    /// How much memory there is for the process, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.place().memory()
    }

    /// How many processors there are for it.
    #[must_use]
    pub fn processors(&self) -> usize {
        self.place.processors
    }

    /// Why a number is what it is: who set it, or the rule it follows from. Blank for a setting that is no such number.
    #[must_use]
    pub fn reason(&self, field: Field) -> String {
        match self.config.source_of(field) {
            Source::Default => {
                let numbers = self.place.numbers(self.config.usage());
                let found = numbers.into_iter().find(|number| number.field == field);
                found.map_or_else(String::new, |number| number.why)
            }
            source => set_by(field, source),
        }
    }
}

fn set_by(field: Field, source: &Source) -> String {
    match source {
        Source::Code => format!("set by Builder::{field}"),
        Source::Environment(variable) => format!("set by {variable}"),
        source => format!("set by {source}"),
    }
}

fn shown(field: Field, value: Option<Value>) -> String {
    match value {
        Some(Value::Number(bytes)) if field.name().ends_with("_bytes") => size(bytes),
        Some(Value::Flag(flag)) => if flag { "yes" } else { "no" }.to_owned(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        writeln!(
            f,
            "environment: {} ({})",
            place.environment,
            place.environment.found_by()
        )?;
        let (tier, why) = (place.memory_tier(), place.memory_source());
        writeln!(f, "memory: {}, {tier} ({why})", size(place.memory()))?;
        let (count, tier) = (place.processors, place.processor_tier());
        writeln!(f, "processors: {count}, {tier} (what the system allows)")?;
        let scenario = match self.config.source_of(Field::Scenario) {
            Source::Default => "nobody says otherwise".to_owned(),
            source => set_by(Field::Scenario, source),
        };
        writeln!(
            f,
            "scenario: {} ({scenario})",
            self.config.scenario().as_str()
        )?;
        for field in NUMBERS {
            let value = shown(field, self.config.value(field));
            writeln!(f, "{field}: {value} ({})", self.reason(field))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strategy")
            .field("environment", &self.environment())
            .field("scenario", &self.scenario())
            .finish_non_exhaustive()
    }
}
