//! The layer: what tracing calls. It fills records and hands them over when their spans close.
//!
//! Knows configuration snapshots, records, the thread's frames and the handle of the exporter; never sessions as the
//! user sees them, nor the network.

pub(crate) mod bridge;
mod gate;
pub(crate) mod origin;
mod state;
pub(crate) mod visit;

use std::any::TypeId;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

use crate::config::{Config, NameFilters};
use crate::context::{Bases, NO_BASES, Remote};
use crate::event::carried::Carried;
use crate::event::fields::{Limits, LinkEntry};
use crate::event::{Fate, Head, SpanRecord, failure};
use crate::export::Exporter;
use crate::id::{self, SessionId};
use crate::sync::lock;
use crate::{clock, context, sample};
use gate::{Capture, Nothing, OwnFilter};
use origin::{Met, Origin};
use state::{Lineage, Table};
use visit::{Given, Selected, Visitor};

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
    mode: Mode,
}

/// How a layer stands to its subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// `on_layer` has not run. A layer swapped in by `reload` never sees it, and stays inert.
    Unready,
    /// The gate speaks to the registry.
    Gated,
    /// The subscriber knows no filters of single layers: the layer sees what the subscriber lets through, and picks.
    Plain,
}

/// What a thread keeps of the instance whose spans it made last.
#[derive(Debug)]
struct Kept {
    instance: u64,
    version: u64,
    capture: Arc<Capture>,
}

thread_local! {
    static KEPT: Cell<Option<Kept>> = const { Cell::new(None) };
}

/// Whether filters of single layers may be registered with a subscriber. `fmt::Subscriber` panics when asked, and does
/// not say beforehand.
fn takes_filters<S>() -> bool {
    !std::any::type_name::<S>().contains("tracing_subscriber::fmt::Subscriber<")
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
    /// Grows with every change of `capture`.
    version: AtomicU64,
    /// It has been said that a remote parent came too late for some.
    late_parent: AtomicBool,
    recorders: Mutex<Vec<Weak<Recorder>>>,
    /// Some layer was put into a subscriber.
    attached: AtomicBool,
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
            version: AtomicU64::new(0),
            late_parent: AtomicBool::new(false),
            recorders: Mutex::new(Vec::new()),
            attached: AtomicBool::new(false),
        }
    }

    /// Whether spans of a session are sampled by their trace: nobody gave the session, so other services know it only from
    /// us.
    fn samples_by_trace(&self, session: SessionId, capture: &Capture) -> bool {
        session == self.session && !capture.session_given
    }

    /// Whether other services have to be told that a session's traces are sampled by their ids.
    pub(crate) fn tells_sampling(&self, session: SessionId) -> bool {
        let capture = self.capture.load();
        !capture.sampling.keeps_all() && self.samples_by_trace(session, &capture)
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
            mode: Mode::Unready,
        }
    }

    /// Whether a layer of the instance was ever put into a subscriber.
    pub(crate) fn has_layer(&self) -> bool {
        self.attached.load(Ordering::Relaxed)
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
        self.version.fetch_add(1, Ordering::Release);
        crate::log::rebuild_interest();
    }

    /// Hands out what is recorded now. The thread keeps it, so that most spans touch nothing that threads share.
    fn with_capture<R>(&self, f: impl FnOnce(&Capture) -> R) -> R {
        let version = self.version.load(Ordering::Acquire);
        // Taken out while it is used: user code may come back here.
        let kept = KEPT.try_with(Cell::take).unwrap_or_default();
        let kept = match kept {
            Some(kept) if kept.instance == self.id && kept.version == version => kept,
            _ => Kept {
                instance: self.id,
                version,
                capture: self.capture.load_full(),
            },
        };
        let result = f(&kept.capture);
        let _ = KEPT.try_with(|cell| cell.set(Some(kept)));
        result
    }

    pub(crate) fn has_open_spans(&self) -> bool {
        self.recorders()
            .iter()
            .any(|recorder| !recorder.table.is_empty())
    }

    /// Takes no further spans, whatever subscribers remember of what is wanted.
    pub(crate) fn close(&self) {
        for recorder in self.recorders() {
            recorder.table.close();
        }
    }

    /// Hands over the spans that are still open, marked unfinished.
    pub(crate) fn sweep(&self) {
        for recorder in self.recorders() {
            recorder.table.close();
            let now = clock::ticks();
            let mut records = recorder.table.sweep();
            records.retain(|record| record.is_recorded());
            let discarded = discard_sampled_out(&mut records);
            (0..discarded).for_each(|_| self.exporter.count_sampled_out());
            for mut record in records {
                record.head.unfinished = true;
                record.head.end = now;
                record.finish(|| self.capture.load().limits);
                self.exporter.submit(&record);
            }
        }
    }
}

impl Recorder {
    fn on_new_span<S>(
        &self,
        attributes: &Attributes<'_>,
        id: &Id,
        cx: &Context<'_, S>,
        capture: &Capture,
    ) where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if visit::is_formatting() {
            return;
        }
        let start = clock::ticks();
        let origin = self.origin(attributes, id, cx);
        let (trace_id, parent_id) = match origin.parent {
            Some((trace_id, span_id)) => (trace_id, span_id),
            None => (id::next_trace_id(start), 0),
        };
        let limits = capture.limits;
        let left_out = capture
            .names
            .as_ref()
            .and_then(|names| left_out(names, attributes));
        let mut record = state::take(Head {
            trace_id,
            span_id: id::next_span_id(start),
            parent_id,
            born_unwinding: panicking(),
            remote_parent: origin.remote,
            ..Head::new(attributes.metadata(), origin.session, start)
        });
        record.carry(origin.carried, origin.trace_state);
        if let Some(given) = left_out {
            // Its place in the table leads from what is below to what is above.
            record.head.span_id = parent_id;
            record.head.session = given.session.unwrap_or(record.head.session);
            record.fate = Fate::LeftOut {
                above: origin.above,
                sampled_out: self.samples_out(origin.sampled_out, &record, capture),
            };
            if let Err(record) = self.table.insert(id.into_u64(), record) {
                state::give_back(record);
            }
            return;
        }
        let mut visitor = Visitor::new(&mut record.fields, limits.attribute);
        visitor.content = capture.content;
        attributes.record(&mut visitor);
        let (cut, session) = (visitor.cut, visitor.session);
        record.head.lost_fields = cut;
        if let Some(session) = session {
            record.head.session = session;
        }
        if self.samples_out(origin.sampled_out, &record, capture) {
            record.fate = Fate::SampledOut {
                above: origin.above,
                kept: false,
            };
        }
        record.settle(limits);
        if let Err(record) = self.table.insert(id.into_u64(), record) {
            self.shared.exporter.count_not_recorded();
            state::give_back(record);
        }
    }

    /// Whether a new span is not to be sent unless it fails: decided at the root of a trace, for all of it.
    fn samples_out(&self, parent: Option<bool>, record: &SpanRecord, capture: &Capture) -> bool {
        let head = &record.head;
        if let Some(sampled_out) = parent {
            return sampled_out;
        }
        if capture.sampling.keeps_all() {
            return false;
        }
        let state = record.trace_state.as_deref().unwrap_or_default();
        let by_trace =
            sample::is_by_trace(state) || self.shared.samples_by_trace(head.session, capture);
        if !by_trace {
            !capture.sampling.keeps_session(head.session)
        } else {
            !capture.sampling.keeps_trace(head.trace_id)
        }
    }

    /// What holds for the fields of a span, and whether content is among them.
    fn capture(&self) -> (Limits, bool) {
        self.shared
            .with_capture(|capture| (capture.limits, capture.content))
    }

    /// Where a new span belongs.
    fn origin<S>(&self, attributes: &Attributes<'_>, id: &Id, cx: &Context<'_, S>) -> Origin
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let applied = context::applied(self.shared.id);
        let explicit = attributes.parent().map(Id::into_u64);
        let near = explicit.or_else(|| cx.current_span().id().map(Id::into_u64));
        let bases = match &applied {
            Some(applied) if explicit.is_none() => applied.bases(),
            _ => NO_BASES,
        };
        let (found, met) = match near {
            Some(near) => self.nearest(id, near, bases, cx),
            None => (None, Met::default()),
        };
        let origin = Origin::resolve(applied, found, met, self.shared.session);
        if attributes.is_root() {
            origin.without_parent()
        } else {
            origin
        }
    }

    /// The nearest recorded span for a `new` one, from `id` upwards, and which bases were met on the way.
    fn nearest<S>(
        &self,
        new: &Id,
        mut id: u64,
        bases: Bases,
        cx: &Context<'_, S>,
    ) -> (Option<Lineage>, Met)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut met = Met::default();
        loop {
            met.pass(id, bases);
            if let Some(lineage) = self.table.beget(id) {
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
        // Written outside of the lock, since user code runs, and into the record's own buffer: values recorded late are
        // the large ones.
        let taken = self.table.with(id, |record| {
            let recorded = record.is_recorded();
            recorded.then(|| std::mem::take(&mut record.fields))
        });
        let Some(Some(mut fields)) = taken else {
            return;
        };
        // There was nothing, or another thread has it: then ours comes after.
        let had_none = fields.is_empty();
        let (limits, content) = self.capture();
        let mut visitor = Visitor::new(&mut fields, limits.attribute);
        visitor.content = content;
        values.record(&mut visitor);
        let cut = visitor.cut;
        let kept = self.table.with(id, |record| {
            if had_none && !record.fields.is_empty() {
                record.append(&fields, limits);
            } else {
                // Whatever somebody else wrote meanwhile comes after.
                let meanwhile = std::mem::replace(&mut record.fields, fields);
                record.append(&meanwhile, limits);
            }
            touch(record, cut);
        });
        if kept.is_none() {
            // The instance ended meanwhile, and took the span as it was.
            self.shared.exporter.count_cut(1);
        }
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
        let Some(id) = span.filter(|id| self.table.is_recorded(*id)) else {
            return;
        };
        let (limits, content) = self.capture();
        visit::with_scratch(|scratch| {
            let mut selected = Selected::new(scratch, limits.attribute);
            selected.content = content;
            event.record(&mut selected);
            let cut = selected.cut;
            if !scratch.is_empty() {
                self.append(id, scratch, cut);
            }
        });
        let kept = self
            .shared
            .with_capture(|capture| capture.is_span_event(event.metadata()));
        if kept {
            let ticks = clock::ticks();
            visit::with_scratch(|scratch| {
                let mut visitor = Visitor::new(scratch, limits.attribute);
                visitor.content = content;
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
        let Some((record, watched)) = self.table.remove(id.into_u64()) else {
            return;
        };
        self.hand_over(record);
        if watched {
            self.table.left();
        }
    }

    fn hand_over(&self, mut record: Box<SpanRecord>) {
        if !record.is_recorded() {
            state::give_back(record);
            return;
        }
        record.head.panicked |= !record.head.born_unwinding && panicking();
        if record.head.end == 0 {
            record.head.end = clock::ticks();
        }
        if let Fate::SampledOut { above, kept } = record.fate {
            if !kept && !failure::is_failed(&record) {
                self.shared.exporter.count_sampled_out();
                state::give_back(record);
                return;
            }
            // The way up to the root arrives with it, span by span as they close.
            self.table.with(above, SpanRecord::keep);
        }
        record.finish(|| self.shared.capture.load().limits);
        self.shared.exporter.submit(&record);
        state::give_back(record);
    }

    /// Adds entries written elsewhere to an open span.
    pub(crate) fn append(&self, id: u64, entries: &[u8], cut: u32) {
        let limits = self.shared.with_capture(|capture| capture.limits);
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

    /// Makes an open span the child of a remote one, in its session and with its baggage, as far as these are known.
    /// What was made below it before keeps what it took then.
    pub(crate) fn adopt(
        &self,
        id: u64,
        parent: Option<&Remote>,
        session: Option<SessionId>,
        carried: Option<&Arc<Carried>>,
    ) {
        let limits = self.shared.capture.load().limits;
        let late = self.table.with(id, |record| {
            if let Some(session) = session {
                record.head.session = session;
            }
            record.carry(carried.cloned(), None);
            if let Some(parent) = parent {
                record.head.trace_id = parent.trace_id;
                record.head.parent_id = parent.span_id;
                record.head.remote_parent = true;
                record.trace_state = None;
                record.carry(None, parent.trace_state.clone());
            }
            record.settle(limits);
            record.head.has_children || record.head.wants_event_id
        });
        if late == Some(true) && !self.shared.late_parent.swap(true, Ordering::Relaxed) {
            self.shared.exporter.log().warn(
                "a span was given a remote parent after spans were made below it, or after its event id was asked for: \
                 these keep the ids they had (set the remote parent first, or make the span in RemoteContext::scope)",
            );
        }
    }

    /// The ids of an open span, whose event id is sent from now on.
    pub(crate) fn event_ids(&self, id: u64) -> Option<(u128, u64)> {
        self.table.with(id, |record| {
            record.head.wants_event_id = true;
            (record.head.trace_id, record.head.span_id)
        })
    }
}

/// What a new span says of itself, if its name is filtered out.
#[cold]
fn left_out(names: &NameFilters, attributes: &Attributes<'_>) -> Option<Given> {
    let given = Given::of(attributes);
    let meta = attributes.metadata();
    let name = match given.name() {
        Some(name) => name,
        None if meta.name().is_empty() => meta.target(),
        None => meta.name(),
    };
    (!names.keeps(name)).then_some(given)
}

/// Takes out what was sampled out, but for failed spans and what is above them; the answer is how many there were.
#[expect(clippy::vec_box, reason = "they are boxed in the table")]
fn discard_sampled_out(records: &mut Vec<Box<SpanRecord>>) -> usize {
    let is_sampled_out = |record: &SpanRecord| matches!(record.fate, Fate::SampledOut { .. });
    if !records.iter().any(|record| is_sampled_out(record)) {
        return 0;
    }
    let parents: HashMap<u64, u64> = records
        .iter()
        .map(|record| (record.head.span_id, record.head.parent_id))
        .collect();
    let mut kept = HashSet::new();
    for record in records.iter() {
        let keep = match record.fate {
            Fate::SampledOut { kept, .. } => kept || failure::is_failed(record),
            Fate::Sent | Fate::LeftOut { .. } => false,
        };
        let mut next = keep.then_some(record.head.span_id);
        while let Some(span) = next.filter(|span| kept.insert(*span)) {
            next = parents.get(&span).copied();
        }
    }
    let before = records.len();
    records.retain(|record| !is_sampled_out(record) || kept.contains(&record.head.span_id));
    before - records.len()
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
        self.mode = if takes_filters::<S>() {
            self.gate.on_layer(subscriber);
            Mode::Gated
        } else {
            Mode::Plain
        };
        self.recorder.shared.attached.store(true, Ordering::Relaxed);
        bridge::layer_attached();
    }

    fn register_callsite(&self, meta: &'static Metadata<'static>) -> Interest {
        if self.mode == Mode::Gated {
            self.gate.register_callsite(meta)
        } else {
            Interest::always()
        }
    }

    fn enabled(&self, meta: &Metadata<'_>, cx: Context<'_, S>) -> bool {
        self.mode != Mode::Gated || self.gate.enabled(meta, cx)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        if self.mode == Mode::Gated {
            self.gate.max_level_hint()
        } else {
            None
        }
    }

    fn event_enabled(&self, event: &Event<'_>, cx: Context<'_, S>) -> bool {
        self.mode != Mode::Gated || self.gate.event_enabled(event, cx)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        if self.mode == Mode::Unready {
            self.recorder.notice_unready();
            return;
        }
        self.recorder.shared.with_capture(|capture| {
            if capture.wants(attributes.metadata()) {
                self.recorder.on_new_span(attributes, id, &cx, capture);
            }
        });
        if self.mode == Mode::Gated {
            self.gate.on_new_span(attributes, id, cx);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.recorder.on_record(id, values);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, cx: Context<'_, S>) {
        self.recorder.on_follows_from(id, follows, &cx);
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        if self.mode == Mode::Unready {
            return;
        }
        let wants = |capture: &Capture| capture.wants(event.metadata());
        if self.recorder.shared.with_capture(wants) {
            self.recorder.on_event(event, &cx);
        }
        if self.mode == Mode::Gated {
            self.gate.on_event(event, cx);
        }
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
        if self.mode == Mode::Plain {
            return None;
        }
        // SAFETY: the same contract as ours, for the same id; the gate lives as long as we do.
        unsafe { self.gate.downcast_raw(id) }
    }
}

impl<S> Drop for HoneyHiveLayer<S> {
    fn drop(&mut self) {
        if self.mode != Mode::Unready {
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
