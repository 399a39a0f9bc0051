//! Identifiers, and a fast source of random ones. Knows nothing of the rest.

use std::cell::Cell;
use std::fmt;

use crate::error::Error;
use crate::fork;

/// The identifier of a session: a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(uuid::Uuid);

impl SessionId {
    /// A new random identifier.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }

    /// Reads the text form.
    ///
    /// # Errors
    ///
    /// The text is not a UUID: the platform accepts nothing else as the id of a session.
    pub fn parse(text: &str) -> Result<Self, Error> {
        uuid::Uuid::try_parse(text.trim()).map(Self).map_err(|_| {
            Error::config("session_id: not a UUID (accepted: 8-4-4-4-12 hexadecimal digits)")
        })
    }

    pub(crate) const fn from_uuid(uuid: uuid::Uuid) -> Self {
        Self(uuid)
    }

    pub(crate) const fn uuid(self) -> uuid::Uuid {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl std::str::FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// The identifier of an event: a UUID, for one that was a span made from the ids of the span.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(uuid::Uuid);

impl EventId {
    /// Reads the text form, as it was kept with an answer that feedback comes for later.
    ///
    /// # Errors
    ///
    /// The text is not a UUID.
    pub fn parse(text: &str) -> Result<Self, Error> {
        uuid::Uuid::try_parse(text.trim()).map(Self).map_err(|_| {
            Error::config("event_id: not a UUID (accepted: 8-4-4-4-12 hexadecimal digits)")
        })
    }

    pub(crate) fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }

    pub(crate) fn of_span(trace_id: u128, span_id: u64) -> Self {
        let high = u128::from(mix((trace_id >> 64) as u64 ^ span_id));
        let low = u128::from(mix(trace_id as u64 ^ span_id.rotate_left(32)));
        Self(uuid::Builder::from_custom_bytes(((high << 64) | low).to_be_bytes()).into_uuid())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

impl std::str::FromStr for EventId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// Trace and span ids for new spans. `tick` is the start of the span: it tells when to look for a fork, and makes a forked
/// child, which inherits the state of the generator, go its own way from its first span on.
pub(crate) fn next_span_id(tick: u64) -> u64 {
    loop {
        let id = next(tick);
        if id != 0 {
            return id;
        }
    }
}

/// See [`next_span_id`].
pub(crate) fn next_trace_id(tick: u64) -> u128 {
    loop {
        let id = (u128::from(next(tick)) << 64) | u128::from(next(tick));
        if id != 0 {
            return id;
        }
    }
}

/// A random number, for jitter.
pub(crate) fn random() -> u64 {
    next(0)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The generator of a thread.
struct Generator {
    state: Cell<u64>,
    /// The tick after which to look whether the process is a copy.
    look_after: Cell<u64>,
    generation: Cell<u32>,
}

thread_local! {
    static GENERATOR: Generator = const {
        Generator {
            state: Cell::new(0),
            look_after: Cell::new(0),
            generation: Cell::new(0),
        }
    };
}

fn next(tick: u64) -> u64 {
    GENERATOR
        .try_with(|generator| {
            if tick > generator.look_after.get() {
                generator.look(tick);
            }
            let mut value = generator.state.get();
            if value == 0 {
                value = seed();
            }
            let value = (value ^ tick.rotate_left(17)).wrapping_add(GOLDEN);
            generator.state.set(value);
            mix(value)
        })
        .unwrap_or_else(|_| seed())
}

impl Generator {
    /// A copy of a process does not go on with the numbers of the original.
    #[cold]
    fn look(&self, tick: u64) {
        self.look_after.set(fork::look_at_span(tick));
        if self.generation.replace(fork::generation()) != fork::generation() {
            self.state.set(0);
        }
    }
}

/// The finaliser of splitmix64.
const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cold]
fn seed() -> u64 {
    let random = uuid::Uuid::new_v4().as_u128();
    ((random >> 64) as u64 ^ random as u64) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_never_zero() {
        let mut seen = std::collections::HashSet::new();
        for tick in 0..10_000 {
            let id = next_span_id(tick);
            assert_ne!(id, 0);
            assert!(seen.insert(id));
        }
    }

    #[test]
    fn an_event_id_is_a_function_of_the_span() {
        assert_eq!(EventId::of_span(7, 9), EventId::of_span(7, 9));
        assert_ne!(EventId::of_span(7, 9), EventId::of_span(7, 10));
        assert_ne!(EventId::of_span(7, 9), EventId::of_span(8, 9));
    }

    #[test]
    fn a_session_id_is_a_uuid() {
        let id = SessionId::parse(" 7F3A5C10-0000-4000-8000-000000000001 ").unwrap();
        assert_eq!(id.to_string(), "7f3a5c10-0000-4000-8000-000000000001");
        assert!(SessionId::parse("nonsense").unwrap_err().is_config());
    }
}
