//! From records to the wire.
pub(crate) mod otlp;
