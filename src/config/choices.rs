//! Settings with a few values to choose from. Knows nothing of what follows from a choice.

use serde::{Deserialize, Serialize};

/// How traces are encoded on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Protocol {
    /// OTLP/HTTP with protobuf bodies, the default.
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// OTLP/HTTP with JSON bodies.
    #[serde(rename = "http/json")]
    HttpJson,
}

impl Protocol {
    /// As variables and files spell it: `http/protobuf` or `http/json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
        }
    }
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compression {
    /// Not at all, the default.
    #[default]
    None,
    /// gzip.
    Gzip,
}

impl Compression {
    /// As variables and files spell it: `none` or `gzip`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
        }
    }
}

/// What the program does, where that asks for other numbers than the place it runs in.
///
/// A scenario changes defaults; what is set explicitly stays. The page [`docs::environments`](crate::docs::environments)
/// has every number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scenario {
    /// Nothing special, the default.
    #[default]
    Standard,
    /// Thousands of spans a second, all the time: large batches, more of them at once, a larger queue.
    HighVolume,
    /// Every span is wanted at once: immediate mode.
    LowLatency,
    /// A test run: short deadlines, and little patience with a server that is not there. What is recorded is sent all the
    /// same; [`test_mode`](crate::Builder::test_mode) is what keeps it from the network.
    Test,
    /// A measurement: nothing is sent before a batch is full or a flush asks for it, and the queue is large.
    Benchmark,
}

impl Scenario {
    pub(crate) const ALL: [Self; 5] = [
        Self::Standard,
        Self::HighVolume,
        Self::LowLatency,
        Self::Test,
        Self::Benchmark,
    ];

    /// As variables and files spell it: `standard`, `high_volume`, `low_latency`, `test` or `benchmark`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::HighVolume => "high_volume",
            Self::LowLatency => "low_latency",
            Self::Test => "test",
            Self::Benchmark => "benchmark",
        }
    }
}

/// How much trouble the caller is told of. The page [`docs::environments`](crate::docs::environments) has the details.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ResilienceLevel {
    /// Problems of the configuration and of the start are errors at once: whatever is a warning otherwise, a missing key,
    /// certificates that are not there.
    Strict,
    /// Bad settings are errors, odd ones are warnings, and without a key the instance is inert. The default.
    #[default]
    Balanced,
    /// Nothing is an error: bad settings are left out with a warning, and a flush that did not finish says so in its report
    /// alone.
    Resilient,
}

impl ResilienceLevel {
    pub(crate) const ALL: [Self; 3] = [Self::Strict, Self::Balanced, Self::Resilient];

    /// As variables and files spell it: `strict`, `balanced` or `resilient`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Balanced => "balanced",
            Self::Resilient => "resilient",
        }
    }
}
