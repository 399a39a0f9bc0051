//! Own event types and own rules for them, as said in code. Knows nothing of spans.

use serde::{Deserialize, Serialize};

use crate::Error;

/// What decides the type of an event besides the rules of the crate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventTypes {
    /// Asked in order.
    pub(crate) rules: Vec<Rule>,
    /// Types that are known besides those of the platform and of the rules.
    own: Vec<String>,
}

/// A condition and the type it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rule {
    Attribute {
        name: String,
        /// `*` stands for any.
        value: String,
        event_type: String,
    },
    Target {
        target: String,
        event_type: String,
    },
}

impl Rule {
    fn event_type(&self) -> &str {
        match self {
            Self::Attribute { event_type, .. } | Self::Target { event_type, .. } => event_type,
        }
    }

    fn is_blank(&self) -> bool {
        let subject = match self {
            Self::Attribute { name, .. } => name,
            Self::Target { target, .. } => target,
        };
        subject.is_empty() || self.event_type().is_empty()
    }
}

impl EventTypes {
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.own.is_empty()
    }

    pub(super) fn add_attribute(&mut self, name: String, value: String, event_type: String) {
        self.rules.push(Rule::Attribute {
            name: trimmed(name),
            value: trimmed(value),
            event_type: trimmed(event_type),
        });
    }

    pub(super) fn add_target(&mut self, target: String, event_type: String) {
        self.rules.push(Rule::Target {
            target: trimmed(target),
            event_type: trimmed(event_type),
        });
    }

    pub(super) fn add_own(&mut self, event_type: String) {
        self.own.push(trimmed(event_type));
    }

    /// Whether somebody registered this type.
    pub(crate) fn knows(&self, event_type: &str) -> bool {
        let rules = self.rules.iter().map(Rule::event_type);
        rules
            .chain(self.own.iter().map(String::as_str))
            .any(|known| known.eq_ignore_ascii_case(event_type))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.rules.iter().any(Rule::is_blank) || self.own.iter().any(String::is_empty) {
            return Err(Error::config(
                "event_type_rule: an attribute, a target or a type is blank; expected the name of each in \
                 Builder::event_type_rule, Builder::event_type_for_target and Builder::own_event_type",
            ));
        }
        Ok(())
    }
}

fn trimmed(text: String) -> String {
    if text.trim().len() == text.len() {
        return text;
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use crate::Builder;
    use crate::config::Sources;

    #[test]
    fn blank_rules_are_refused_and_others_survive_a_change() {
        let blank = [
            Builder::new().event_type_rule(" ", "x", "tool"),
            Builder::new().event_type_rule("a", "x", ""),
            Builder::new().event_type_for_target("", "tool"),
            Builder::new().own_event_type(" "),
        ];
        for builder in blank {
            let error = builder.resolve(&Sources::default()).unwrap_err();
            assert!(error.to_string().contains("event_type_rule"), "{error}");
        }
        let config = Builder::new()
            .event_type_rule("kind", "x", "retriever")
            .resolve(&Sources::default())
            .unwrap();
        let config = config
            .reconfigured(|builder| builder.own_event_type("guard"))
            .unwrap();
        assert!(config.event_types.knows("Retriever") && config.event_types.knows("guard"));
        assert!(!config.event_types.knows("other"));
    }
}
