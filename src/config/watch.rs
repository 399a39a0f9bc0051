//! A quiet look at a file once in a while, and word of its changes. Knows nothing of what is in it.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::file::{File, read};
use crate::log::quiet;
use crate::sync::lock;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Whoever writes a file does not write all of it at once: it is read when it has stayed the same for so long.
const REST: Duration = Duration::from_millis(100);

/// The look-out; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    over: Arc<Over>,
}

#[derive(Debug, Default)]
struct Over {
    over: Mutex<bool>,
    changed: Condvar,
}

impl Over {
    /// Waits; false when it is over.
    fn wait(&self, time: Duration) -> bool {
        let over = lock(&self.over);
        let over = self
            .changed
            .wait_timeout_while(over, time, |over| !*over)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        !*over
    }
}

impl Watch {
    /// Tells `changed` of every change of what is in the file, on a thread of its own, until that says no. A file that is
    /// gone is waited for.
    pub(crate) fn start(
        file: File,
        changed: impl FnMut(File) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let over = Arc::new(Over::default());
        let shared = Arc::clone(&over);
        std::thread::Builder::new()
            .name("honeyhive-config".to_owned())
            .spawn(move || {
                let _quiet = quiet();
                look_out(&shared, file, changed);
            })?;
        Ok(Self { over })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *lock(&self.over.over) = true;
        self.over.changed.notify_all();
    }
}

fn look_out(over: &Over, mut file: File, mut changed: impl FnMut(File) -> bool) {
    // What was read before the first look may be older than the file is by then.
    let mut seen = None;
    while over.wait(INTERVAL) {
        let mut now = stamp(&file.path);
        if now == seen || now.is_none() {
            continue;
        }
        loop {
            if !over.wait(REST) {
                return;
            }
            let again = stamp(&file.path);
            if again == now {
                break;
            }
            now = again;
        }
        if now.is_none() {
            continue;
        }
        seen = now;
        let content = read(&file.path);
        if content == file.content {
            continue;
        }
        file.content = content;
        if !changed(file.clone()) {
            return;
        }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}
