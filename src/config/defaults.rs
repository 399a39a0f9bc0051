//! What holds where nobody says otherwise. Knows nothing of the settings themselves.

use std::time::Duration;

/// The source of events: `dev`.
pub const DEFAULT_SOURCE: &str = "dev";
/// The platform's address.
pub const DEFAULT_SERVER_URL: &str = "https://api.dp1.us.honeyhive.ai";
/// Spans waiting that make the exporter send at once: 100.
pub const DEFAULT_BATCH_SIZE: usize = 100;
/// Spans in one request at most: 512.
pub const DEFAULT_MAX_EXPORT_BATCH_SIZE: usize = 512;
/// The longest wait of a span before it is sent: 5 seconds.
pub const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// The time one request may take: 10 seconds.
pub const DEFAULT_EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Spans that may wait to be sent: 262,144.
pub const DEFAULT_MAX_QUEUE_SIZE: usize = 262_144;
/// Bytes that waiting spans may take: 64 MiB, less on AWS Lambda, more under high concurrency.
pub const DEFAULT_MAX_QUEUE_BYTES: usize = 64 << 20;
/// Attributes of a span: 1,024.
pub const DEFAULT_MAX_ATTRIBUTES: usize = 1024;
/// Bytes of one value: 10 MiB.
pub const DEFAULT_MAX_ATTRIBUTE_LENGTH: usize = 10 << 20;
/// Log events of a span: 1,024.
pub const DEFAULT_MAX_EVENTS: usize = 1024;
/// Links of a span: 128.
pub const DEFAULT_MAX_LINKS: usize = 128;
/// Bytes of one span: 10 MiB, or the longest value allowed if that is more.
pub const DEFAULT_MAX_SPAN_SIZE: usize = 10 << 20;
/// Which spans are recorded: those of level INFO and above.
pub const DEFAULT_FILTER: &str = "info";
/// The share of traces that is sent: all of them.
pub const DEFAULT_SAMPLE_RATE: f64 = 1.0;
/// Which log events are sent along with their spans: those of level ERROR.
pub const DEFAULT_SPAN_EVENTS: &str = "error";
/// The type of an event that nothing else decides: `tool`.
pub const DEFAULT_EVENT_TYPE: &str = "tool";
/// The time one attempt of a call of the REST client may take: 5 seconds.
pub const DEFAULT_API_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for exporting events: 5 minutes.
pub const DEFAULT_API_EXPORT_TIMEOUT: Duration = Duration::from_secs(300);
/// Repetitions of a call of the REST client: 3.
pub const DEFAULT_API_MAX_RETRIES: u32 = 3;
