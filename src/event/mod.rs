//! The one internal model of spans, sessions and events.
pub(crate) mod semconv;
