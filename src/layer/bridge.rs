//! The way from a dispatcher to our layers in it, for code that is not called by tracing: free functions and
//! `SpanExt`. Knows recorders and how to walk a registry.
//!
//! A search for a private marker type passes every layer of a dispatcher, through filters, options, boxes and vectors.
//! Each of ours notes itself on a list of the thread and answers that it is not what is looked for, so the search goes
//! on to the next.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tracing::span::Id;
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::registry::LookupSpan;

use super::Recorder;
use super::origin::{Met, Origin};
use crate::context::{self, Applied, Bases, NO_BASES};
use crate::id::SessionId;

/// What is searched for; there is no value of it.
#[derive(Debug)]
pub(crate) enum Marker {}

/// A layer that was passed, and how to walk the registry it sits on.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) recorder: Arc<Recorder>,
    parent_of: fn(&Dispatch, u64) -> Option<u64>,
    knows: fn(&Dispatch, &Id) -> bool,
}

thread_local! {
    static PASSED: RefCell<Vec<Reached>> = const { RefCell::new(Vec::new()) };
}

/// How many of our layers are in some registry.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// Notes a layer that the search passes.
pub(super) fn pass<S>(recorder: &Arc<Recorder>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let _ = PASSED.try_with(|passed| {
        if let Ok(mut passed) = passed.try_borrow_mut() {
            passed.push(Reached {
                recorder: Arc::clone(recorder),
                parent_of: parent_of::<S>,
                knows: knows::<S>,
            });
        }
    });
}

fn parent_of<S>(dispatch: &Dispatch, id: u64) -> Option<u64>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let registry = dispatch.downcast_ref::<S>()?;
    Some(registry.span(&Id::from_u64(id))?.parent()?.id().into_u64())
}

fn knows<S>(dispatch: &Dispatch, id: &Id) -> bool
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // A registry that cannot be asked is taken at its word.
    dispatch
        .downcast_ref::<S>()
        .is_none_or(|registry| registry.span_data(id).is_some())
}

/// All our layers of a dispatcher.
pub(crate) fn reach(dispatch: &Dispatch) -> Vec<Reached> {
    let _ = PASSED.try_with(|passed| passed.try_borrow_mut().map(|mut passed| passed.clear()));
    let _ = dispatch.downcast_ref::<Marker>();
    PASSED.try_with(RefCell::take).unwrap_or_default()
}

/// Whether one of our layers' registries knows nothing of a span any more.
pub(crate) fn is_gone(dispatch: &Dispatch, id: &Id) -> bool {
    let mut reached = reach(dispatch).into_iter();
    reached.any(|reached| !(reached.knows)(dispatch, id))
}

/// An open span of ours.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) id: u64,
}

/// For each of our layers the recorded span that is meant by `id`: the span itself or its nearest recorded ancestor.
pub(crate) fn targets(dispatch: &Dispatch, id: u64) -> Vec<Target> {
    reach(dispatch)
        .into_iter()
        .filter_map(|reached| {
            let near = reached.nearest(dispatch, id, NO_BASES).0?;
            let id = reached.recorder.table.lineage(near)?.recorded;
            (id != 0).then_some(Target {
                recorder: reached.recorder,
                id,
            })
        })
        .collect()
}

impl Reached {
    /// The nearest recorded span from `id` upwards, and which bases were met on the way.
    fn nearest(&self, dispatch: &Dispatch, mut id: u64, bases: Bases) -> (Option<u64>, Met) {
        let mut met = Met::default();
        loop {
            met.pass(id, bases);
            if self.recorder.table.contains(id) {
                return (Some(id), met);
            }
            match (self.parent_of)(dispatch, id) {
                Some(parent) => id = parent,
                None => return (None, met),
            }
        }
    }

    /// Where a span made now would belong.
    pub(crate) fn origin(&self, dispatch: &Dispatch) -> Origin {
        let shared = &self.recorder.shared;
        let applied = context::applied(shared.id);
        let bases = applied.as_ref().map_or(NO_BASES, Applied::bases);
        let current = dispatch.current_span();
        let (nearest, met) = match current.id() {
            Some(id) => self.nearest(dispatch, id.into_u64(), bases),
            None => (None, Met::default()),
        };
        let found = nearest.and_then(|id| self.recorder.table.lineage(id));
        Origin::resolve(applied, found, met, shared.session)
    }

    /// The session that code running now belongs to, as a span made now would find it.
    pub(crate) fn current_session(&self, dispatch: &Dispatch) -> SessionId {
        self.origin(dispatch).session
    }
}

pub(super) fn layer_attached() {
    LIVE.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn layer_gone() {
    LIVE.fetch_sub(1, Ordering::Relaxed);
}

/// Whether our layer is not to be found in a dispatcher that records, while there is one somewhere: most likely it sits
/// under `reload`, which hides it.
#[cold]
pub(crate) fn is_hidden(dispatch: &Dispatch) -> bool {
    LIVE.load(Ordering::Relaxed) > 0
        && !HIDDEN.load(Ordering::Relaxed)
        && !dispatch.is::<NoSubscriber>()
        && reach(dispatch).is_empty()
}

/// Says so once. Not to be called from inside `get_default`, where a scoped subscriber hears nothing.
#[cold]
pub(crate) fn notice_hidden() {
    if !HIDDEN.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            target: "honeyhive",
            "enrich found no HoneyHive layer in the current subscriber (tracing_subscriber::reload hides it: swap \
             settings with HoneyHive's own filter instead)"
        );
    }
}
