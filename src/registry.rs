//! The instances that are alive, weakly held: for flushing them all and for reaching them outside a subscriber. Knows
//! exporters.

use std::sync::{Arc, Mutex, Weak};

use crate::export::Exporter;
use crate::sync::lock;

static LIVE: Mutex<Vec<Weak<Exporter>>> = Mutex::new(Vec::new());

/// Notes an instance.
pub(crate) fn add(exporter: &Arc<Exporter>) {
    let mut live = lock(&LIVE);
    live.retain(|known| known.strong_count() > 0);
    if live
        .iter()
        .all(|known| known.as_ptr() != Arc::as_ptr(exporter))
    {
        live.push(Arc::downgrade(exporter));
    }
}

/// All that are alive, oldest first.
pub(crate) fn all() -> Vec<Arc<Exporter>> {
    lock(&LIVE).iter().filter_map(Weak::upgrade).collect()
}
