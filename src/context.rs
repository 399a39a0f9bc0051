//! The thread's stack of frames: which session code that runs now belongs to, what baggage travels with it, and which
//! span of another process it goes on from. Knows plain data only.
//!
//! A frame is pushed when a scope is entered or polled, and popped when it is left. It remembers which span was current
//! then: a span entered since belongs to the tree that span began, not to the scope.

use std::cell::RefCell;
use std::sync::Arc;

use crate::event::carried::Carried;
use crate::id::SessionId;

/// One entered scope: what it sets, and what for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    /// The instance the scope is limited to; zero: every instance.
    pub(crate) instance: u64,
    /// The raw id of the span that was current when the scope was entered; zero: none.
    pub(crate) base: u64,
    pub(crate) session: Option<SessionId>,
    pub(crate) carried: Option<Arc<Carried>>,
    pub(crate) remote: Option<Arc<Remote>>,
    /// Frames under this one do not apply.
    pub(crate) floor: bool,
}

/// A span of another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) sampled: bool,
    pub(crate) trace_state: Option<Arc<str>>,
}

/// The bases of the frames that session, baggage and remote parent come from.
pub(crate) type Bases = [u64; 3];
pub(crate) const NO_BASES: Bases = [0; 3];

/// What applies to an instance, each part with the base of the innermost frame that has it.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) session: Option<(SessionId, u64)>,
    pub(crate) carried: Option<(Arc<Carried>, u64)>,
    pub(crate) remote: Option<(Arc<Remote>, u64)>,
}

impl Applied {
    pub(crate) fn bases(&self) -> Bases {
        [
            self.session.as_ref().map_or(0, |(_, base)| *base),
            self.carried.as_ref().map_or(0, |(_, base)| *base),
            self.remote.as_ref().map_or(0, |(_, base)| *base),
        ]
    }
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

fn read<R>(f: impl FnOnce(&[Frame]) -> Option<R>) -> Option<R> {
    FRAMES
        .try_with(|frames| f(&frames.try_borrow().ok()?))
        .ok()
        .flatten()
}

/// What applies to `instance`; nothing outside every scope.
#[inline]
pub(crate) fn applied(instance: u64) -> Option<Applied> {
    read(|frames| (!frames.is_empty()).then_some(()))?;
    collect(instance)
}

#[inline(never)]
fn collect(instance: u64) -> Option<Applied> {
    read(|frames| {
        let mut applied = Applied::default();
        for frame in frames.iter().rev() {
            if frame.floor {
                break;
            }
            if frame.instance != 0 && frame.instance != instance {
                continue;
            }
            let base = frame.base;
            if applied.session.is_none() {
                applied.session = frame.session.map(|session| (session, base));
            }
            if applied.carried.is_none() {
                applied.carried = frame.carried.clone().map(|carried| (carried, base));
            }
            if applied.remote.is_none() {
                applied.remote = frame.remote.clone().map(|remote| (remote, base));
            }
        }
        Some(applied)
    })
}

/// The session of the innermost scope that has one, and the instance it is limited to.
pub(crate) fn innermost_session() -> Option<(SessionId, u64)> {
    read(|frames| {
        let mut above = frames.iter().rev().take_while(|frame| !frame.floor);
        above.find_map(|frame| Some((frame.session?, frame.instance)))
    })
}

/// The frames that apply to some instance, outermost first.
pub(crate) fn snapshot() -> Vec<Frame> {
    let snapshot = read(|frames| {
        let mut kept = Vec::new();
        let (mut session, mut carried, mut remote) = (false, false, false);
        for frame in frames.iter().rev().take_while(|frame| !frame.floor) {
            let adds = !session && frame.session.is_some()
                || !carried && frame.carried.is_some()
                || !remote && frame.remote.is_some();
            if adds {
                kept.push(frame.clone());
            }
            // What is limited to an instance hides nothing from the others.
            if frame.instance == 0 {
                session |= frame.session.is_some();
                carried |= frame.carried.is_some();
                remote |= frame.remote.is_some();
            }
        }
        kept.reverse();
        Some(kept)
    });
    snapshot.unwrap_or_default()
}

/// The instance that the innermost limited frame is limited to.
pub(crate) fn instance() -> Option<u64> {
    let found = FRAMES.try_with(|frames| {
        let frames = frames.try_borrow().ok()?;
        let limited = frames.iter().rev().find(|frame| frame.instance != 0)?;
        Some(limited.instance)
    });
    found.ok().flatten()
}

/// Enters a frame; dropping the answer leaves it and whatever was entered inside and not left.
pub(crate) fn push(frame: Frame) -> Entered {
    push_all([frame])
}

/// Enters several frames, outermost first.
pub(crate) fn push_all(entered: impl IntoIterator<Item = Frame>) -> Entered {
    let depth = FRAMES.try_with(|frames| {
        let mut frames = frames.try_borrow_mut().ok()?;
        let depth = frames.len();
        frames.extend(entered);
        Some(depth)
    });
    Entered {
        depth: depth.ok().flatten().unwrap_or(usize::MAX),
        not_send: std::marker::PhantomData,
    }
}

/// See [`push`].
#[derive(Debug)]
pub(crate) struct Entered {
    depth: usize,
    /// A frame lives on the stack of one thread.
    not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = FRAMES.try_with(|frames| {
            if let Ok(mut frames) = frames.try_borrow_mut() {
                frames.truncate(self.depth);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(instance: u64) -> (SessionId, Entered) {
        let session = SessionId::random();
        (
            session,
            push(Frame {
                session: Some(session),
                instance,
                ..Frame::default()
            }),
        )
    }

    fn session(instance: u64) -> Option<SessionId> {
        applied(instance)?.session.map(|(session, _)| session)
    }

    #[test]
    fn frames_nest_and_apply_to_their_instance() {
        assert!(applied(1).is_none());
        let (outer, outer_guard) = enter(0);
        let (inner, inner_guard) = enter(2);
        assert_eq!(session(1), Some(outer));
        assert_eq!(session(2), Some(inner));
        drop(inner_guard);
        assert_eq!(session(2), Some(outer));
        drop(outer_guard);
        assert!(applied(2).is_none());
    }

    #[test]
    fn leaving_out_of_order_leaves_nothing_behind() {
        let (_, first) = enter(0);
        let (_, second) = enter(0);
        drop(first);
        assert!(innermost_session().is_none());
        drop(second);
        assert!(innermost_session().is_none());
    }

    #[test]
    fn each_part_comes_from_its_innermost_frame_above_the_floor() {
        let (outer, _outer) = enter(0);
        let carried = Arc::new(Carried::new(vec![("a".to_owned(), "1".to_owned())]));
        let _baggage = push(Frame {
            carried: Some(carried),
            ..Frame::default()
        });
        let both = applied(7).unwrap();
        assert_eq!(both.session.unwrap().0, outer);
        assert_eq!(both.carried.unwrap().0.get("a"), Some("1"));
        assert_eq!(snapshot().len(), 2);
        let _floor = push(Frame {
            floor: true,
            ..Frame::default()
        });
        assert!(session(7).is_none() && snapshot().is_empty() && innermost_session().is_none());
    }

    #[test]
    fn a_snapshot_holds_no_more_than_what_applies() {
        let guards: Vec<_> = (0..100).map(|n| enter(n % 2).1).collect();
        // The innermost one is limited to an instance, the one around it holds for all.
        assert_eq!(snapshot().len(), 2);
        for guard in guards.into_iter().rev() {
            drop(guard);
        }
    }
}
