//! The thread's stack of frames: which session code that runs now belongs to. Knows ids only.
//!
//! A frame is pushed when a session's scope is entered or polled, and popped when it is left. It remembers which span
//! was current then: a span entered since belongs to the tree that span began, not to the scope.

use std::cell::RefCell;

use crate::id::SessionId;

/// One entered scope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) session: SessionId,
    /// The instance the scope is limited to; zero: every instance.
    pub(crate) instance: u64,
    /// The raw id of the span that was current when the scope was entered; zero: none.
    pub(crate) base: u64,
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// The innermost frame that applies to `instance`.
pub(crate) fn frame(instance: u64) -> Option<Frame> {
    FRAMES
        .try_with(|frames| {
            let frames = frames.try_borrow().ok()?;
            frames
                .iter()
                .rev()
                .find(|frame| frame.instance == 0 || frame.instance == instance)
                .copied()
        })
        .ok()
        .flatten()
}

/// The innermost frame, whatever instance it is limited to.
pub(crate) fn innermost() -> Option<Frame> {
    FRAMES
        .try_with(|frames| frames.try_borrow().ok()?.last().copied())
        .ok()
        .flatten()
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
    let depth = FRAMES.try_with(|frames| {
        let mut frames = frames.try_borrow_mut().ok()?;
        frames.push(frame);
        Some(frames.len())
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
                frames.truncate(self.depth.saturating_sub(1));
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
                session,
                instance,
                base: 0,
            }),
        )
    }

    #[test]
    fn frames_nest_and_apply_to_their_instance() {
        assert!(frame(1).is_none());
        let (outer, outer_guard) = enter(0);
        let (inner, inner_guard) = enter(2);
        assert_eq!(frame(1).unwrap().session, outer);
        assert_eq!(frame(2).unwrap().session, inner);
        drop(inner_guard);
        assert_eq!(frame(2).unwrap().session, outer);
        drop(outer_guard);
        assert!(frame(2).is_none());
    }

    #[test]
    fn leaving_out_of_order_leaves_nothing_behind() {
        let (_, first) = enter(0);
        let (_, second) = enter(0);
        drop(first);
        assert!(innermost().is_none());
        drop(second);
        assert!(innermost().is_none());
    }
}
