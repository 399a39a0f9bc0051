//! OTLP messages as prost types, for the local server.
