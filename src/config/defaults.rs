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
/// Bytes that waiting spans may take: 64 MiB, less with little memory or on AWS Lambda, more under high concurrency.
pub const DEFAULT_MAX_QUEUE_BYTES: usize = 64 << 20;
/// Bytes of one request: 4 MiB, less with little memory.
pub const DEFAULT_MAX_BATCH_BYTES: usize = 4 << 20;
/// Requests with spans at once: 2, more where one slow answer must not hold up the rest.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 2;
/// The wait of a change or an end for another one: 1 second, other in some environments.
pub const DEFAULT_LIFECYCLE_TIMEOUT: Duration = Duration::from_secs(1);
/// The wait of a dropped instance for what is queued: 3 seconds, other in some environments.
pub const DEFAULT_FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// The time that making a connection may take: 3 seconds.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections kept for later requests: 20, by environment and memory.
pub const DEFAULT_POOL_MAX_IDLE: usize = 20;
/// How long they are kept: 50 seconds, less than most load balancers do; 20 seconds on AWS Lambda.
pub const DEFAULT_POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// The wait before the first repetition: half a second, less in some environments.
pub const DEFAULT_RETRY_FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest wait between two attempts: 30 seconds.
pub const DEFAULT_RETRY_MAX_DELAY: Duration = Duration::from_secs(30);
/// How long a batch is tried: 5 minutes.
pub const DEFAULT_RETRY_GIVE_UP: Duration = Duration::from_secs(300);
/// Bytes that undelivered events may take on disk: 100 MiB.
pub const DEFAULT_SPOOL_MAX_BYTES: u64 = 100 << 20;
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
