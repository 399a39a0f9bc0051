//! From a place and what the program does there to numbers, each with its reason. Pure.

use std::time::Duration;

use super::Environment;
use super::place::{Place, Tier};
use crate::config::{
    DEFAULT_BATCH_SIZE, DEFAULT_CONNECT_TIMEOUT, DEFAULT_EXPORT_TIMEOUT, DEFAULT_FLUSH_INTERVAL,
    DEFAULT_MAX_BATCH_BYTES, DEFAULT_MAX_EXPORT_BATCH_SIZE, DEFAULT_MAX_QUEUE_SIZE,
    DEFAULT_RETRY_GIVE_UP, DEFAULT_RETRY_MAX_DELAY, Field, Number, Scenario, Usage, Value,
};

const MIB: u64 = 1 << 20;
/// Neither more than this nor less than that can be set.
const MOST_QUEUE_BYTES: u64 = 1 << 30;
const LEAST_QUEUE_BYTES: u64 = MIB;
/// More requests than this at once are nobody's default: with their bodies they are part of the memory.
const MOST_IN_FLIGHT: u64 = 4;

/// Numbers under way.
struct Rules(Vec<Number>);

impl Rules {
    /// Sets a number, or puts another one in its place.
    fn set(&mut self, field: Field, value: Value, why: impl Into<String>) {
        let number = Number {
            field,
            value,
            why: why.into(),
        };
        match self.0.iter_mut().find(|known| known.field == field) {
            Some(known) => *known = number,
            None => self.0.push(number),
        }
    }

    fn time(&mut self, field: Field, time: Duration, why: impl Into<String>) {
        self.set(field, Value::Time(time), why);
    }

    fn count(&mut self, field: Field, count: u64, why: impl Into<String>) {
        self.set(field, Value::Number(count), why);
    }

    fn flag(&mut self, field: Field, flag: bool, why: impl Into<String>) {
        self.set(field, Value::Flag(flag), why);
    }
}

const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Place {
    /// The numbers for a usage.
    pub(crate) fn numbers(self, usage: Usage) -> Vec<Number> {
        let place = self.under(usage.high_concurrency);
        let mut rules = Rules(Vec::with_capacity(18));
        place.deadlines(&mut rules);
        place.batches(&mut rules);
        place.queue(&mut rules, usage.scenario);
        place.connections(&mut rules);
        place.retries(&mut rules);
        refine(&mut rules, usage.scenario);
        rules.0
    }

    fn deadlines(self, rules: &mut Rules) {
        let (lifecycle, flush, why) = match self.environment {
            Environment::Lambda => (500, 2_000, "AWS Lambda: invocations are short"),
            Environment::Kubernetes => (
                2_000,
                5_000,
                "Kubernetes: a pod has time to end before it is killed",
            ),
            Environment::HighConcurrency => {
                (300, 1_000, "high concurrency: many callers must not wait")
            }
            _ => (1_000, 3_000, "the standard"),
        };
        rules.time(Field::LifecycleTimeout, milliseconds(lifecycle), why);
        rules.time(Field::FlushTimeout, milliseconds(flush), why);
        let lambda = self.environment == Environment::Lambda;
        rules.flag(
            Field::FlushOnTimer,
            !lambda,
            if lambda {
                "AWS Lambda: nothing runs between invocations, their end is the moment"
            } else {
                "the process runs on"
            },
        );
        rules.time(Field::FlushInterval, DEFAULT_FLUSH_INTERVAL, "the standard");
        rules.time(
            Field::ConnectTimeout,
            DEFAULT_CONNECT_TIMEOUT,
            "the standard",
        );
        rules.time(Field::ExportTimeout, DEFAULT_EXPORT_TIMEOUT, "the standard");
    }

    fn batches(self, rules: &mut Rules) {
        rules.flag(Field::DisableBatch, false, "the standard");
        rules.count(Field::BatchSize, number(DEFAULT_BATCH_SIZE), "the standard");
        rules.count(
            Field::MaxExportBatchSize,
            number(DEFAULT_MAX_EXPORT_BATCH_SIZE),
            "the standard; up to eight times that when more wait",
        );
        let (parts, why) = match self.memory_tier() {
            Tier::Minimal => (4, "a quarter of the standard: memory is minimal"),
            Tier::Low => (2, "half the standard: memory is low"),
            _ => (1, "the standard"),
        };
        let bytes = number(DEFAULT_MAX_BATCH_BYTES) / parts;
        rules.count(Field::MaxBatchBytes, bytes, why);
    }

    fn queue(self, rules: &mut Rules, scenario: Scenario) {
        let (mebibytes, why) = match self.environment {
            Environment::Lambda => (16, "AWS Lambda: memory is shared with the function"),
            Environment::HighConcurrency => (128, "high concurrency: many spans end at once"),
            _ => (64, "the standard"),
        };
        let mut why = why.to_owned();
        let mut bytes = mebibytes * MIB;
        match self.memory_tier() {
            Tier::Minimal => {
                bytes /= 4;
                why.push_str("; a quarter of it, since memory is minimal");
            }
            Tier::Low => {
                bytes /= 2;
                why.push_str("; half of it, since memory is low");
            }
            _ => {}
        }
        let (times, remark) = match scenario {
            Scenario::HighVolume => (2, "; twice that for high_volume"),
            Scenario::Benchmark => (4, "; four times that for benchmark"),
            _ => (1, ""),
        };
        bytes *= times;
        why.push_str(remark);
        let most = (self.memory() / 16).clamp(LEAST_QUEUE_BYTES, MOST_QUEUE_BYTES);
        if bytes > most {
            bytes = most;
            why.push_str("; at most a sixteenth of the memory");
        }
        rules.count(Field::MaxQueueBytes, bytes, why);
        let records = number(DEFAULT_MAX_QUEUE_SIZE);
        match scenario {
            Scenario::HighVolume | Scenario::Benchmark => rules.count(
                Field::MaxQueueSize,
                4 * records,
                format!("four times the standard for {}", scenario.as_str()),
            ),
            _ => rules.count(Field::MaxQueueSize, records, "the standard"),
        }
    }

    fn connections(self, rules: &mut Rules) {
        let slow = "one slow answer must not hold up the rest";
        let (requests, why) = match self.environment {
            Environment::HighConcurrency => (4, "high concurrency: many spans end at once"),
            Environment::Kubernetes | Environment::Gcp | Environment::Azure | Environment::Ec2 => {
                (3, slow)
            }
            Environment::Lambda => (2, "AWS Lambda: an invocation waits for its requests"),
            Environment::Docker | Environment::Standard => (2, slow),
        };
        match self.processor_tier() {
            Tier::Minimal if requests > 2 => {
                rules.count(Field::MaxInFlight, 2, "no more than that for one processor");
            }
            Tier::VeryHigh if requests < MOST_IN_FLIGHT => {
                let why = format!("{why}; one more, since there are many processors");
                rules.count(Field::MaxInFlight, requests + 1, why);
            }
            _ => rules.count(Field::MaxInFlight, requests, why),
        }
        let name = self.environment.name();
        let (pool, idle) = match self.environment {
            Environment::Lambda => (8, 20),
            Environment::Docker => (15, 50),
            Environment::Gcp | Environment::Azure => (18, 50),
            Environment::Ec2 => (25, 50),
            Environment::Kubernetes | Environment::HighConcurrency | Environment::Standard => {
                (20, 50)
            }
        };
        let (pool, remark) = match self.memory_tier() {
            Tier::Minimal | Tier::Low => ((pool / 2).max(5), "; half of it, since memory is low"),
            Tier::Medium => (pool, ""),
            Tier::High | Tier::VeryHigh => (
                (pool * 13 / 10).min(40),
                "; three tenths more, since there is memory",
            ),
        };
        rules.count(Field::PoolMaxIdle, pool, format!("{name}{remark}"));
        rules.time(
            Field::PoolIdleTimeout,
            Duration::from_secs(idle),
            if self.environment == Environment::Lambda {
                "AWS Lambda: a connection does not outlive a freeze"
            } else {
                "less than most load balancers keep theirs"
            },
        );
    }

    fn retries(self, rules: &mut Rules) {
        let first = match self.environment {
            Environment::Lambda => 100,
            Environment::Kubernetes | Environment::Ec2 => 300,
            Environment::Gcp => 350,
            Environment::Docker | Environment::Azure => 400,
            Environment::HighConcurrency | Environment::Standard => 500,
        };
        let name = self.environment.name();
        rules.time(Field::RetryFirstDelay, milliseconds(first), name);
        rules.time(
            Field::RetryMaxDelay,
            DEFAULT_RETRY_MAX_DELAY,
            "the standard: an outage costs almost nothing",
        );
        rules.time(
            Field::RetryGiveUp,
            DEFAULT_RETRY_GIVE_UP,
            "the standard; the queue is what bounds the memory",
        );
    }
}

/// What the program does goes before where it does it.
fn refine(rules: &mut Rules, scenario: Scenario) {
    match scenario {
        Scenario::Standard => {}
        Scenario::HighVolume => {
            let why = "high_volume: large batches cost least";
            rules.count(Field::BatchSize, 1_000, why);
            rules.count(Field::MaxExportBatchSize, 4_000, why);
            rules.count(
                Field::MaxInFlight,
                MOST_IN_FLIGHT,
                "high_volume: delivery must keep up",
            );
        }
        Scenario::LowLatency => {
            rules.flag(
                Field::DisableBatch,
                true,
                "low_latency: every span is sent at once",
            );
            rules.count(
                Field::MaxInFlight,
                MOST_IN_FLIGHT,
                "low_latency: no span waits for another one's answer",
            );
            rules.time(
                Field::RetryFirstDelay,
                milliseconds(100),
                "low_latency: a failure is soon made good",
            );
        }
        Scenario::Test => {
            let why = "test: a run must not wait";
            rules.time(Field::LifecycleTimeout, milliseconds(300), why);
            rules.time(Field::FlushTimeout, milliseconds(1_000), why);
            rules.time(Field::FlushInterval, milliseconds(100), why);
            rules.time(Field::RetryFirstDelay, milliseconds(50), why);
            rules.time(Field::RetryMaxDelay, milliseconds(1_000), why);
            rules.time(Field::RetryGiveUp, milliseconds(5_000), why);
        }
        Scenario::Benchmark => {
            let why = "benchmark: no timer falls into a measurement";
            rules.flag(Field::FlushOnTimer, false, why);
            let why = "benchmark: the export thread is seldom woken";
            rules.count(Field::BatchSize, 4_000, why);
            rules.count(Field::MaxExportBatchSize, 4_000, why);
            rules.time(
                Field::FlushTimeout,
                Duration::from_secs(30),
                "benchmark: nothing is lost at its end",
            );
        }
    }
}
