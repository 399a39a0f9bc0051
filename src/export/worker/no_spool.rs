//! The worker of a build without the feature `spool`: nothing is kept, what cannot be delivered is lost.
#![expect(
    clippy::unused_self,
    reason = "the other half of these does something with it"
)]

use std::time::Instant;

use super::{Letter, Shipment, Stop, Worker};
use crate::config::Config;
use crate::export::report::DropReason;

/// Nothing to know.
#[derive(Debug)]
pub(super) struct Spooling;

impl Spooling {
    pub(super) const fn new(_: &Config) -> Self {
        Self
    }

    pub(super) const fn leaves(&self, _: &Shipment) {}

    pub(super) const fn returns(&self, _: &Shipment) -> bool {
        true
    }

    pub(super) const fn letter_leaves(&self, _: &Letter) {}

    pub(super) const fn letter_returns(&self) -> bool {
        true
    }
}

impl Worker {
    pub(super) const fn open_spool(&self) {}

    pub(super) const fn adopt_spool(&self, _: &Config) {}

    pub(super) fn keep_or_lose(&mut self, shipment: &Shipment, reason: DropReason, problem: &str) {
        self.lose(shipment, reason, problem);
    }

    pub(super) fn keep_or_lose_update(&mut self, letter: &Letter, problem: &str) {
        self.lose_update(letter, problem);
    }

    pub(super) const fn keeps_behind(&self, _: &Letter) -> bool {
        false
    }

    pub(super) const fn spill(&self) {}

    pub(super) const fn stop_spool(&self, _: Instant) {}

    pub(super) const fn keep_rest(&self) {}

    pub(super) const fn close_spool(&self) {}

    pub(super) const fn spool_alarms(&self) -> [Option<Instant>; 3] {
        [None; 3]
    }

    pub(super) const fn ends_on_disk(&self, _: &Stop) -> bool {
        false
    }

    pub(super) const fn replay(&self, _: Instant) {}

    pub(super) const fn is_replaying(&self) -> bool {
        false
    }
}
