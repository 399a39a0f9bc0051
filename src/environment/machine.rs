//! The machine we are on. Measured once a process, in well under a millisecond.

use std::path::Path;
use std::sync::OnceLock;

use super::place::Host;
use crate::config::Sources;

/// Variables are those of the sources; all else is asked of the system.
pub(crate) struct Machine<'a> {
    sources: &'a Sources,
}

impl<'a> Machine<'a> {
    pub(crate) const fn of(sources: &'a Sources) -> Self {
        Self { sources }
    }
}

impl Host for Machine<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.sources.variable(name)
    }

    fn has_file(&self, path: &Path) -> bool {
        path.exists()
    }

    fn read(&self, path: &Path) -> Option<String> {
        // The groups exist on Linux alone; there their files are short and answer at once.
        if cfg!(target_os = "linux") {
            std::fs::read_to_string(path).ok()
        } else {
            None
        }
    }

    fn total_memory(&self) -> Option<u64> {
        static TOTAL: OnceLock<u64> = OnceLock::new();
        let total = *TOTAL.get_or_init(|| {
            let mut system = sysinfo::System::new();
            system.refresh_memory_specifics(sysinfo::MemoryRefreshKind::nothing().with_ram());
            system.total_memory()
        });
        (total > 0).then_some(total)
    }

    /// Those that the scheduler and the quota of the control group leave to the process.
    fn processors(&self) -> usize {
        static PROCESSORS: OnceLock<usize> = OnceLock::new();
        *PROCESSORS
            .get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }
}
