//! What holds for the numbers of delivery when nobody sets them, as somebody says who knows where the program runs.
//! Knows that there are reasons, not what they are.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::{Field, Scenario, Value};

/// What a program says of itself that changes the usual numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) scenario: Scenario,
    pub(crate) high_concurrency: bool,
}

/// A usual number, and why it is what it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    pub(crate) field: Field,
    pub(crate) value: Value,
    pub(crate) why: String,
}

type Rules = dyn Fn(Usage) -> Vec<Number> + Send + Sync + UnwindSafe + RefUnwindSafe;

/// The rules; without any, the constants hold.
#[derive(Clone, Default)]
pub(crate) struct Usual(Option<Arc<Rules>>);

impl Usual {
    pub(crate) fn new(
        rules: impl Fn(Usage) -> Vec<Number> + Send + Sync + UnwindSafe + RefUnwindSafe + 'static,
    ) -> Self {
        Self(Some(Arc::new(rules)))
    }

    pub(crate) fn numbers(&self, usage: Usage) -> Vec<Number> {
        self.0.as_ref().map_or_else(Vec::new, |rules| rules(usage))
    }
}

/// Configurations are equal when their settings are, wherever these came from.
impl PartialEq for Usual {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Usual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Usual")
    }
}
