//! Which spans and events are ours: our own filter, and the gate that tells the registry. Knows configuration
//! snapshots and metadata.
//!
//! The gate is a per-layer filter round nothing: it makes the registry know what we want, so that a callsite nobody
//! wants stays off, without ever switching a span off for another layer.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::Shared;
use super::visit::selected_name;
use crate::config::{Config, NameFilters};
use crate::event::fields::Limits;
use crate::sample::Threshold;
use std::sync::Arc;

/// The target of the crate's own diagnostics.
const OWN_TARGET: &str = "honeyhive";

/// What the hot path needs of a configuration.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) enabled: bool,
    pub(crate) limits: Limits,
    /// Whether what people, models and tools said is recorded.
    pub(crate) content: bool,
    pub(crate) sampling: Threshold,
    /// The id of the instance's own session was given, so that sampling goes by it.
    pub(crate) session_given: bool,
    pub(crate) names: Option<NameFilters>,
    /// The level, where the filter says nothing of targets.
    level: Option<LevelFilter>,
    targets: Targets,
    /// Which events are sent along with their spans, and the level where no targets are told apart.
    events: Targets,
    events_level: Option<LevelFilter>,
}

impl Capture {
    pub(crate) fn new(config: &Config, enabled: bool) -> Self {
        let targets: Targets = config.filter.parse().unwrap_or_default();
        let level = only_level(&targets);
        let events: Targets = config.span_events.parse().unwrap_or_default();
        let events_level = only_level(&events);
        Self {
            enabled,
            limits: Limits {
                attribute: config.max_attribute_length,
                span: config.max_span_size,
                events: u32::try_from(config.max_events).unwrap_or(u32::MAX),
                links: u32::try_from(config.max_links).unwrap_or(u32::MAX),
            },
            content: config.capture_content,
            sampling: Threshold::of(config.sample_rate),
            session_given: config.session_id.is_some(),
            names: Some(&config.span_name_filters)
                .filter(|names| !names.is_empty())
                .cloned(),
            level,
            targets,
            events,
            events_level,
        }
    }

    /// Whether a callsite is ours.
    pub(crate) fn wants(&self, meta: &Metadata<'_>) -> bool {
        if !self.enabled {
            return false;
        }
        if meta.is_event() {
            self.is_span_event(meta) || self.within_level(meta) && carries_fields(meta)
        } else {
            self.within_level(meta) && meta.target() != OWN_TARGET
        }
    }

    /// Whether an event is sent along with its span.
    pub(crate) fn is_span_event(&self, meta: &Metadata<'_>) -> bool {
        let within = match self.events_level {
            Some(level) => *meta.level() <= level,
            None => self.events.would_enable(meta.target(), meta.level()),
        };
        within && !is_log(meta)
    }

    fn within_level(&self, meta: &Metadata<'_>) -> bool {
        match self.level {
            Some(level) => *meta.level() <= level,
            None => self.targets.would_enable(meta.target(), meta.level()),
        }
    }

    fn max_level(&self) -> LevelFilter {
        if !self.enabled {
            return LevelFilter::OFF;
        }
        let spans = self.level.unwrap_or_else(|| highest(&self.targets));
        if spans == LevelFilter::OFF {
            return spans;
        }
        spans.max(self.events_level.unwrap_or_else(|| highest(&self.events)))
    }
}

/// The level, where a filter says nothing of targets.
fn only_level(filter: &Targets) -> Option<LevelFilter> {
    filter
        .default_level()
        .filter(|_| filter.iter().next().is_none())
}

fn highest(filter: &Targets) -> LevelFilter {
    let levels = filter.iter().map(|(_, level)| level);
    levels
        .chain(filter.default_level())
        .max()
        .unwrap_or(LevelFilter::OFF)
}

/// Records of the `log` crate, and our own, are logs: they do not belong to the span they were written in.
fn is_log(meta: &Metadata<'_>) -> bool {
    meta.target() == OWN_TARGET || meta.fields().field("log.target").is_some()
}

/// Whether an event carries something for its span.
fn carries_fields(meta: &Metadata<'_>) -> bool {
    !is_log(meta)
        && meta
            .fields()
            .iter()
            .any(|field| selected_name(field.name()).is_some())
}

/// The filter of the gate.
#[derive(Debug)]
pub(crate) struct OwnFilter {
    pub(super) shared: Arc<Shared>,
}

impl<S> Filter<S> for OwnFilter {
    fn enabled(&self, meta: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.shared.capture.load().wants(meta)
    }

    fn callsite_enabled(&self, meta: &'static Metadata<'static>) -> Interest {
        if self.shared.capture.load().wants(meta) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.shared.capture.load().max_level())
    }
}

/// What the gate stands round.
#[derive(Debug)]
pub(crate) struct Nothing;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Nothing {}
