//! The OTLP wire format.

#[cfg(feature = "server")]
pub(crate) mod proto;
