//! The instances that are alive, weakly held: for flushing them all and for reaching them outside a subscriber. Knows
//! exporters.

use std::sync::{Arc, Mutex, Weak};

use crate::export::Exporter;
use crate::sync::lock;

static LIVE: Mutex<Vec<Weak<Exporter>>> = Mutex::new(Vec::new());

/// Notes an instance.
pub(crate) fn add(exporter: &Arc<Exporter>) {
    let mut live = lock(&LIVE);
    live.retain(|exporter| exporter.strong_count() > 0);
    let exporter = Arc::downgrade(exporter);
    // An instance is noted again whenever it is reconfigured.
    if !live.iter().any(|known| known.ptr_eq(&exporter)) {
        live.push(exporter);
    }
}

/// All that are alive, oldest first.
pub(crate) fn all() -> Vec<Arc<Exporter>> {
    lock(&LIVE).iter().filter_map(Weak::upgrade).collect()
}
