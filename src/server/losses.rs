//! What programs say they could not deliver. Knows the names of the counts, not how they come about.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::export::otlp::proto;
use crate::log::cry;
use crate::sync::lock;

/// Scopes that are told apart; those beyond are not spoken of.
const MAX_SCOPES: usize = 1024;
/// What the names of counts begin with.
const PREFIX: &str = "honeyhive.sdk.";

/// The last counts of each program.
#[derive(Debug, Default)]
pub(super) struct Losses(Mutex<HashMap<String, i64>>);

/// What one request says of its program, and whom it speaks for.
#[derive(Debug)]
pub(super) struct Told {
    service: Option<String>,
    scope: String,
    total: i64,
    counts: String,
}

impl Told {
    /// Reads the attributes of a scope; `None` if they count no losses.
    pub(super) fn read(scope: &proto::Scope, service: Option<&str>) -> Option<Self> {
        let counts = scope.attributes.iter().filter_map(|pair| {
            let name = pair.key.strip_prefix(PREFIX)?;
            match pair.value.as_ref()?.value {
                Some(proto::Value::Int(count)) if count > 0 => Some((name, count)),
                _ => None,
            }
        });
        let counts: Vec<(&str, i64)> = counts.collect();
        let total = counts
            .iter()
            .fold(0, |sum: i64, (_, count)| sum.saturating_add(*count));
        let counts: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        (total > 0).then(|| Self {
            service: service.map(str::to_owned),
            scope: scope.name.clone(),
            total,
            counts: counts.join(", "),
        })
    }
}

impl Losses {
    /// Says on standard error what is new.
    pub(super) fn hear(&self, told: &[Told]) {
        for told in told {
            if let Some(line) = self.news(told) {
                cry(&line);
            }
        }
    }

    fn news(&self, told: &Told) -> Option<String> {
        let service = told.service.as_deref().unwrap_or("a program");
        let key = format!("{service} {}", told.scope);
        let mut known = lock(&self.0);
        if known.len() >= MAX_SCOPES && !known.contains_key(&key) {
            return None;
        }
        let before = known.insert(key, told.total).unwrap_or(0);
        drop(known);
        // Control characters could speak to a terminal.
        let text: String = format!(
            "{service} lost events before they got here: {}",
            told.counts
        )
        .chars()
        .filter(|c| !c.is_control())
        .take(500)
        .collect();
        (told.total != before).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(counts: &[(&str, i64)]) -> proto::Scope {
        let pair = |(key, count): &(&str, i64)| proto::KeyValue {
            key: (*key).to_owned(),
            value: Some(proto::AnyValue {
                value: Some(proto::Value::Int(*count)),
            }),
        };
        proto::Scope {
            name: "honeyhive.1".to_owned(),
            attributes: counts.iter().map(pair).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn each_change_is_news_once() {
        let losses = Losses::default();
        assert!(Told::read(&scope(&[]), None).is_none());
        assert!(Told::read(&scope(&[("other", 3)]), None).is_none());
        let first = [
            ("honeyhive.sdk.dropped.queue_full", 3),
            ("honeyhive.sdk.rejected", 1),
        ];
        let told = |counts: &[_]| Told::read(&scope(counts), Some("shop\u{1b}")).unwrap();
        assert_eq!(
            losses.news(&told(&first)).unwrap(),
            "shop lost events before they got here: dropped.queue_full 3, rejected 1"
        );
        assert_eq!(losses.news(&told(&first)), None);
        assert!(losses.news(&told(&first[..1])).is_some());
    }
}
