//! What travels with the work besides its session: the entries of W3C baggage. Knows which of them mean something to
//! the platform, not how they are carried.

use super::fields::{self, Key, Value};
use super::semconv::name;

/// The name under which a session travels.
pub(crate) const SESSION_ID: &str = "session_id";
pub(crate) const PROJECT: &str = "project";
pub(crate) const SOURCE: &str = "source";
/// Which of its own instances the official client means; nothing to anybody else.
pub(crate) const TRACER_ID: &str = "honeyhive_tracer_id";

/// Entries in the order they were set, and what they add to every span.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    list: Vec<(String, String)>,
    /// The entries as fields of a record, made once and copied to every span.
    fields: Vec<u8>,
}

impl Carried {
    pub(crate) fn new(list: Vec<(String, String)>) -> Self {
        let mut fields = Vec::new();
        for (key, value) in &list {
            let mut put = |name: &str| {
                fields::put(
                    &mut fields,
                    Key::Name(name),
                    Value::Str(value),
                    value.len().max(64),
                );
            };
            match key.as_str() {
                SESSION_ID | TRACER_ID => {}
                PROJECT => put(name::PROJECT),
                SOURCE => put(name::SOURCE),
                "parent_id" => {
                    put(name::PARENT_ID);
                    put(name::ASSOCIATED_PARENT_ID);
                }
                "run_id" => put(name::RUN_ID),
                "dataset_id" => put(name::DATASET_ID),
                "datapoint_id" => put(name::DATAPOINT_ID),
                other => put(&format!("{}{other}", name::BAGGAGE)),
            }
        }
        Self { list, fields }
    }

    pub(crate) fn list(&self) -> &[(String, String)] {
        &self.list
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.list.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// What stands first among the fields of a span.
    pub(crate) fn fields(&self) -> &[u8] {
        &self.fields
    }
}
