//! Where a new span belongs, out of what the thread's frames say and what the span above it says. Knows both, not how
//! they are found.

use std::sync::Arc;

use super::state::Lineage;
use crate::context::{Applied, Bases, NO_BASES};
use crate::event::carried::Carried;
use crate::id::SessionId;

/// What a new span takes on.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Trace and span id of the parent; none: a root.
    pub(crate) parent: Option<(u128, u64)>,
    /// The parent is a span of another process.
    pub(crate) remote: bool,
    pub(crate) session: SessionId,
    pub(crate) carried: Option<Arc<Carried>>,
    pub(crate) trace_state: Option<Arc<str>>,
    /// The raw id of the nearest recorded span above, in this process; zero: none.
    pub(crate) above: u64,
    /// What sampling decided for the parent in this process; nothing for the first span of a trace here.
    pub(crate) sampled_out: Option<bool>,
}

/// Which bases lie between a span and its nearest recorded ancestor: no recorded span was entered since these scopes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met([bool; 3]);

impl Met {
    /// Notes a span on the way up.
    #[inline]
    pub(super) fn pass(&mut self, id: u64, bases: Bases) {
        if bases == NO_BASES {
            return;
        }
        for (met, base) in self.0.iter_mut().zip(bases) {
            *met |= base != 0 && base == id;
        }
    }
}

impl Origin {
    /// Outside every scope the span above says it all. A scope counts unless a recorded span was entered since; then the span, which took on what was in force.
    #[inline]
    pub(super) fn resolve(
        applied: Option<Applied>,
        found: Option<Lineage>,
        met: Met,
        own: SessionId,
    ) -> Self {
        match applied {
            Some(applied) => Self::within(applied, found, met, own),
            None => Self::below(found, own),
        }
    }

    #[inline(never)]
    fn within(applied: Applied, found: Option<Lineage>, met: Met, own: SessionId) -> Self {
        let alone = found.is_none();
        let mut origin = Self::below(found, own);
        let Met([session, carried, remote]) = met;
        if let Some((id, _)) = applied.session.filter(|_| alone || session) {
            origin.session = id;
        }
        if let Some((entries, _)) = applied.carried.filter(|_| alone || carried) {
            origin.carried = Some(entries);
        }
        if let Some((parent, _)) = applied.remote.filter(|_| alone || remote) {
            origin.parent = Some((parent.trace_id, parent.span_id));
            origin.remote = true;
            origin.above = 0;
            origin.sampled_out = None;
            origin.trace_state.clone_from(&parent.trace_state);
        }
        origin
    }

    /// Outside every scope.
    #[inline]
    fn below(found: Option<Lineage>, own: SessionId) -> Self {
        match found {
            Some(found) => Self {
                parent: Some((found.trace_id, found.span_id)),
                remote: false,
                session: found.session,
                carried: found.carried,
                trace_state: found.trace_state,
                above: found.recorded,
                sampled_out: Some(found.sampled_out),
            },
            None => Self {
                parent: None,
                remote: false,
                session: own,
                carried: None,
                trace_state: None,
                above: 0,
                sampled_out: None,
            },
        }
    }

    /// For a span that is to begin a trace of its own.
    pub(super) fn without_parent(self) -> Self {
        Self {
            parent: None,
            remote: false,
            trace_state: None,
            above: 0,
            sampled_out: None,
            ..self
        }
    }
}
