//! The layer: what tracing calls. It fills records and hands them over when their spans close.
//!
//! Knows configuration snapshots, records, the thread's frames and the handle of the exporter; never sessions as the
//! user sees them, nor the network.

pub(crate) mod bridge;
mod gate;
mod state;
pub(crate) mod visit;

use std::any::TypeId;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::panicking;

use arc_swap::ArcSwap;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::filter::Filtered;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Config;
use crate::event::fields::LinkEntry;
use crate::event::{Head, SpanRecord};
use crate::export::Exporter;
use crate::id::{self, SessionId};
use crate::sync::lock;
use crate::{clock, context};
use gate::{Capture, Nothing, OwnFilter};
use state::{Lineage, Table};
use visit::{Selected, Visitor};

/// A `tracing-subscriber` layer that turns spans into HoneyHive events; made by [`HoneyHive::layer`].
///
/// It composes with `Option`, `Box`, `Vec` and `.with_filter(..)`; its own filter (see
/// [`Builder::filter`](crate::Builder::filter)) is cheaper than the latter. Several of them in one registry each get all
/// of their spans.
///
/// [`HoneyHive::layer`]: crate::HoneyHive::layer
pub struct HoneyHiveLayer<S> {
    gate: Filtered<Nothing, OwnFilter, S>,
    recorder: Arc<Recorder>,
    /// `on_layer` has run. A layer swapped in by `reload` never sees it, and stays inert.
    ready: bool,
}

/// One layer's open spans, and the instance they belong to.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) table: Table,
    pub(crate) shared: Arc<Shared>,
    /// It has been said that the layer never came to be part of a registry.
    unready: AtomicBool,
}

/// What an instance's owner and its layers have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: u64,
    /// The instance's own session.
    pub(crate) session: SessionId,
    pub(crate) exporter: Arc<Exporter>,
    capture: ArcSwap<Capture>,
    recorders: Mutex<Vec<Weak<Recorder>>>,
}

impl Shared {
    pub(crate) fn new(
        id: u64,
        session: SessionId,
        exporter: Arc<Exporter>,
        config: &Config,
        enabled: bool,
    ) -> Self {
        let capture = ArcSwap::from_pointee(Capture::new(config, enabled));
        Self {
            id,
            session,
            exporter,
            capture,
            recorders: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.capture.load().enabled
    }

    pub(crate) fn layer<S>(self: &Arc<Self>) -> HoneyHiveLayer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let recorder = Arc::new(Recorder {
            table: Table::new(),
            shared: Arc::clone(self),
            unready: AtomicBool::new(false),
        });
        let mut recorders = lock(&self.recorders);
        recorders.retain(|recorder| recorder.strong_count() > 0);
        recorders.push(Arc::downgrade(&recorder));
        drop(recorders);
        let filter = OwnFilter {
            shared: Arc::clone(self),
        };
        HoneyHiveLayer {
            gate: Nothing.with_filter(filter),
            recorder,
            ready: false,
        }
    }

    fn recorders(&self) -> Vec<Arc<Recorder>> {
        lock(&self.recorders)
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// What is recorded from now on.
    pub(crate) fn set(&self, config: &Config, enabled: bool) {
        self.capture.store(Arc::new(Capture::new(config, enabled)));
        tracing::callsite::rebuild_interest_cache();
    }

    pub(crate) fn has_open_spans(&self) -> bool {
        self.recorders()
            .iter()
            .any(|recorder| !recorder.table.is_empty())
    }

    /// Hands over the spans that are still open, marked unfinished.
    pub(crate) fn sweep(&self) {
        for recorder in self.recorders() {
            recorder.table.close();
            let now = clock::ticks();
            for mut record in recorder.table.sweep() {
                record.head.unfinished = true;
                record.head.end = now;
                record.finish(self.capture.load().limits);
                self.exporter.submit(&record);
            }
        }
    }
}

impl Recorder {
    fn on_new_span<S>(&self, attributes: &Attributes<'_>, id: &Id, cx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if visit::is_formatting() {
            return;
        }
        let start = clock::ticks();
        let (parent, session) = self.lineage(attributes, id, cx);
        let (trace_id, parent_id) = match parent {
            Some(parent) => (parent.trace_id, parent.span_id),
            None => (id::next_trace_id(start), 0),
        };
        let mut record = state::take(Head {
            meta: attributes.metadata(),
            trace_id,
            span_id: id::next_span_id(start),
            parent_id,
            session,
            start,
            end: 0,
            panicked: false,
            born_unwinding: panicking(),
            wants_event_id: false,
            unfinished: false,
            lost_fields: 0,
            events: 0,
            lost_events: 0,
            links: 0,
            lost_links: 0,
        });
        let limits = self.shared.capture.load().limits;
        let mut visitor = Visitor::new(&mut record.fields, limits.attribute);
        attributes.record(&mut visitor);
        let (cut, session) = (visitor.cut, visitor.session);
        record.head.lost_fields = cut;
        if let Some(session) = session {
            record.head.session = session;
        }
        record.settle(limits);
        if let Err(record) = self.table.insert(id.into_u64(), record) {
            self.shared.exporter.count_not_recorded();
            state::give_back(record);
        }
    }

    /// Where a new span belongs: its recorded parent, and its session.
    fn lineage<S>(
        &self,
        attributes: &Attributes<'_>,
        id: &Id,
        cx: &Context<'_, S>,
    ) -> (Option<Lineage>, SessionId)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let frame = context::frame(self.shared.id);
        let explicit = attributes.parent().map(Id::into_u64);
        let near = explicit.or_else(|| cx.current_span().id().map(Id::into_u64));
        let base = match frame {
            Some(frame) if explicit.is_none() => frame.base,
            _ => 0,
        };
        let (found, met) = match near {
            Some(near) => self.nearest(id, near, base, cx),
            None => (None, false),
        };
        let session = match (frame, found) {
            (Some(frame), Some(_)) if met => frame.session,
            (_, Some(found)) => found.session,
            (Some(frame), None) => frame.session,
            (None, None) => self.shared.session,
        };
        let parent = if attributes.is_root() { None } else { found };
        (parent, session)
    }

    /// The nearest recorded span for a `new` one, from `id` upwards, and whether `base` was met on the way.
    fn nearest<S>(
        &self,
        new: &Id,
        mut id: u64,
        base: u64,
        cx: &Context<'_, S>,
    ) -> (Option<Lineage>, bool)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut met = false;
        loop {
            met |= base != 0 && id == base;
            if let Some(lineage) = self.table.lineage(id) {
                return (Some(lineage), met);
            }
            let parent = match cx.span(&Id::from_u64(id)) {
                Some(span) => span.parent(),
                // Hidden from us by a filter that the user put round the layer: go on from what it lets us see.
                None => cx
                    .span(new)
                    .and_then(|span| span.parent())
                    .or_else(|| cx.lookup_current()),
            };
            match parent {
                Some(parent) => id = parent.id().into_u64(),
                None => return (None, met),
            }
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>) {
        if visit::is_formatting() {
            return;
        }
        let id = id.into_u64();
        if self.table.lineage(id).is_none() {
            return;
        }
        let limits = self.shared.capture.load().limits;
        visit::with_scratch(|scratch| {
            let mut visitor = Visitor::new(scratch, limits.attribute);
            values.record(&mut visitor);
            let cut = visitor.cut;
            self.append(id, scratch, cut);
        });
    }

    fn on_event<S>(&self, event: &Event<'_>, cx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if visit::is_formatting() {
            return;
        }
        let span = match event.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if event.is_contextual() => cx.current_span().id().map(Id::into_u64),
            None => None,
        };
        let Some(id) = span.filter(|id| self.table.lineage(*id).is_some()) else {
            return;
        };
        let limits = self.shared.capture.load().limits;
        visit::with_scratch(|scratch| {
            let mut selected = Selected::new(scratch, limits.attribute);
            event.record(&mut selected);
            let cut = selected.cut;
            if !scratch.is_empty() {
                self.append(id, scratch, cut);
            }
        });
        if self.shared.capture.load().is_span_event(event.metadata()) {
            let ticks = clock::ticks();
            visit::with_scratch(|scratch| {
                let mut visitor = Visitor::new(scratch, limits.attribute);
                event.record(&mut visitor);
                let cut = visitor.cut;
                self.table.with(id, |record| {
                    record.append_event(event.metadata(), ticks, scratch, limits);
                    touch(record, cut);
                });
            });
        }
    }

    fn on_follows_from<S>(&self, id: &Id, follows: &Id, cx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let id = id.into_u64();
        if self.table.lineage(id).is_none() {
            return;
        }
        let mut target = follows.into_u64();
        let found = loop {
            if let Some(lineage) = self.table.lineage(target) {
                break Some(lineage);
            }
            match cx
                .span(&Id::from_u64(target))
                .and_then(|span| span.parent())
            {
                Some(parent) => target = parent.id().into_u64(),
                None => break None,
            }
        };
        let limits = self.shared.capture.load().limits;
        self.table.with(id, |record| match found {
            Some(found) => record.append_link(
                LinkEntry {
                    trace_id: found.trace_id,
                    span_id: found.span_id,
                },
                limits,
            ),
            // Closed by now, or not recorded: there is nothing to point to.
            None => record.head.lost_links = record.head.lost_links.saturating_add(1),
        });
    }

    fn on_exit(&self, id: &Id) {
        let unwinding = panicking();
        let now = clock::ticks();
        self.table.with(id.into_u64(), |record| {
            record.head.end = record.head.end.max(now);
            record.head.panicked |= unwinding && !record.head.born_unwinding;
        });
    }

    fn on_close(&self, id: &Id) {
        let Some(mut record) = self.table.remove(id.into_u64()) else {
            return;
        };
        record.head.panicked |= !record.head.born_unwinding && panicking();
        if record.head.end == 0 {
            record.head.end = clock::ticks();
        }
        record.finish(self.shared.capture.load().limits);
        self.shared.exporter.submit(&record);
        state::give_back(record);
    }

    /// Adds entries written elsewhere to an open span.
    pub(crate) fn append(&self, id: u64, entries: &[u8], cut: u32) {
        let limits = self.shared.capture.load().limits;
        self.table.with(id, |record| {
            record.append(entries, limits);
            touch(record, cut);
        });
    }

    #[cold]
    fn notice_unready(&self) {
        if !self.unready.swap(true, Ordering::Relaxed) {
            crate::log::cry(
                "a HoneyHive layer was swapped into a running subscriber and records nothing (swap settings with \
                 HoneyHive::reconfigure instead of tracing_subscriber::reload)",
            );
        }
    }

    /// The largest value that enrichment may add.
    pub(crate) fn attribute_limit(&self) -> usize {
        self.shared.capture.load().limits.attribute
    }

    /// The ids of an open span, whose event id is sent from now on.
    pub(crate) fn event_ids(&self, id: u64) -> Option<(u128, u64)> {
        self.table.with(id, |record| {
            record.head.wants_event_id = true;
            (record.head.trace_id, record.head.span_id)
        })
    }
}

/// Something happened in the span just now.
fn touch(record: &mut SpanRecord, cut: u32) {
    record.head.end = record.head.end.max(clock::ticks());
    record.head.lost_fields = record.head.lost_fields.saturating_add(cut);
}

impl<S> Layer<S> for HoneyHiveLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.recorder.shared.exporter.attach(dispatch);
    }

    fn on_layer(&mut self, subscriber: &mut S) {
        self.gate.on_layer(subscriber);
        self.ready = true;
        bridge::layer_attached();
    }

    fn register_callsite(&self, meta: &'static Metadata<'static>) -> Interest {
        if self.ready {
            self.gate.register_callsite(meta)
        } else {
            Interest::always()
        }
    }

    fn enabled(&self, meta: &Metadata<'_>, cx: Context<'_, S>) -> bool {
        !self.ready || self.gate.enabled(meta, cx)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        if self.ready {
            self.gate.max_level_hint()
        } else {
            None
        }
    }

    fn event_enabled(&self, event: &Event<'_>, cx: Context<'_, S>) -> bool {
        !self.ready || self.gate.event_enabled(event, cx)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        if !self.ready {
            self.recorder.notice_unready();
            return;
        }
        if self
            .recorder
            .shared
            .capture
            .load()
            .wants(attributes.metadata())
        {
            self.recorder.on_new_span(attributes, id, &cx);
        }
        self.gate.on_new_span(attributes, id, cx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.recorder.on_record(id, values);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, cx: Context<'_, S>) {
        self.recorder.on_follows_from(id, follows, &cx);
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        if !self.ready {
            return;
        }
        if self.recorder.shared.capture.load().wants(event.metadata()) {
            self.recorder.on_event(event, &cx);
        }
        self.gate.on_event(event, cx);
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        self.recorder.on_exit(id);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.recorder.on_close(&id);
    }

    #[expect(
        unsafe_code,
        reason = "the trait's own signature; the one body forwards to the gate"
    )]
    unsafe fn downcast_raw(&self, id: TypeId) -> Option<*const ()> {
        if id == TypeId::of::<bridge::Marker>() {
            bridge::pass::<S>(&self.recorder);
            return None;
        }
        if id == TypeId::of::<Self>() {
            return Some(std::ptr::from_ref(self).cast());
        }
        // SAFETY: the same contract as ours, for the same id; the gate lives as long as we do.
        unsafe { self.gate.downcast_raw(id) }
    }
}

impl<S> Drop for HoneyHiveLayer<S> {
    fn drop(&mut self) {
        if self.ready {
            bridge::layer_gone();
        }
    }
}

impl<S> fmt::Debug for HoneyHiveLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoneyHiveLayer")
            .field("instance", &self.recorder.shared.id)
            .finish_non_exhaustive()
    }
}
