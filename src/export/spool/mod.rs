//! What could not be delivered, in files: an append-only directory that several processes may share. Knows records and
//! their order, not what they mean nor when they are sent.
//!
//! A process writes to segments of its own, each locked while the process lives; whoever can lock a segment may take it
//! over. All of it happens on the export thread.

mod record;
mod segment;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::requests;
use crate::config::{Config, ResilienceLevel};
use crate::resource;
pub(crate) use record::Kind;
use record::{HEADER, Place};
use segment::{EXTENSION, Name, Segment, UNBORN};

/// How long what was written may wait until it survives a crash of the machine.
pub(crate) const SYNC_INTERVAL: Duration = Duration::from_millis(500);
/// How long the sizes of other processes' segments are relied on.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// How long it takes until segments of processes that ended are looked for again.
const ADOPT_INTERVAL: Duration = Duration::from_secs(30);
/// So many segments of other processes are held at once.
const MAX_ADOPTED: usize = 16;
/// The largest record: a request and what is known of it.
const MAX_RECORD: u64 = 96 << 20;

/// The directory that a configuration asks for, if any. An instance that sends nothing keeps nothing.
pub(crate) fn wanted(config: &Config) -> Option<PathBuf> {
    let somewhere = requests::key(config).is_some()
        || !config.server_url_is_default
        || config.otlp_endpoint.is_some();
    if !somewhere || config.test_mode || config.disable_tracing || !config.otlp_enabled {
        return None;
    }
    match config.spool_dir() {
        Some(path) if path == Path::new("default") => Some(default_directory(config)),
        Some(path) => Some(path.to_owned()),
        None => {
            (config.resilience() == ResilienceLevel::Resilient).then(|| default_directory(config))
        }
    }
}

/// Below the user's directory for state, or that for temporary files where there is none. Every service has a directory
/// of its own: one must not deliver what another one kept, under another key and to another place.
pub(crate) fn default_directory(config: &Config) -> PathBuf {
    let absolute = |variable: &str| {
        let path = PathBuf::from(std::env::var_os(variable)?);
        path.is_absolute().then_some(path)
    };
    let state = if cfg!(windows) {
        absolute("LOCALAPPDATA")
    } else {
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local").join("state")))
    };
    let state = state.unwrap_or_else(std::env::temp_dir);
    let service = config.service_name.clone();
    let service: String = service
        .unwrap_or_else(resource::program_name)
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    state.join("honeyhive").join("spool").join(service)
}

/// Why a record was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The directory holds as much as it may.
    Full,
    /// The disk is full, read-only or broken.
    Failed(io::Error),
}

/// Numbers of what a record holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) events: u64,
    pub(crate) updates: u64,
}

/// A record that is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) kind: Kind,
    pub(crate) meta: Bytes,
    pub(crate) body: Bytes,
    /// This instance wrote it.
    pub(crate) own: bool,
}

/// What could not be read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// How often.
    pub(crate) records: u64,
    /// What of it was this instance's.
    pub(crate) own: Counted,
}

#[derive(Debug)]
struct Reading {
    name: Name,
    bytes: Bytes,
    places: VecDeque<Place>,
}

/// The directory, as one instance sees it.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    max_bytes: u64,
    /// Segments that this instance holds, oldest first.
    segments: BTreeMap<Name, Segment>,
    writing: Option<Name>,
    reading: Option<Reading>,
    /// The highest number seen.
    number: u64,
    /// The bytes of all other segments in the directory, and when they were measured.
    others: u64,
    measured: Option<Instant>,
    looked: Option<Instant>,
    /// There may be more to take over.
    more: bool,
    /// Segments that cannot be read.
    shunned: BTreeSet<Name>,
    damage: Damage,
    sync_at: Option<Instant>,
}

impl Spool {
    /// Makes the directory if need be, sees whether it can be written to, and takes over what other processes left.
    pub(crate) fn open(directory: &Path, max_bytes: u64) -> io::Result<Self> {
        let directory = std::path::absolute(directory)?;
        make_directory(&directory)?;
        let mut spool = Self {
            directory,
            max_bytes,
            segments: BTreeMap::new(),
            writing: None,
            reading: None,
            number: 0,
            others: 0,
            measured: None,
            looked: None,
            more: false,
            shunned: BTreeSet::new(),
            damage: Damage::default(),
            sync_at: None,
        };
        spool.look_for_orphans()?;
        // Whether files can be made and locked here is better known before they are needed.
        let (_, probe) = Segment::create(&spool.directory, spool.number)?;
        probe.remove()?;
        Ok(spool)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn set_max_bytes(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }

    /// The bytes of the segments that this instance holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(Segment::len).sum()
    }

    /// Whether nothing is known to be left.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty() && !self.more
    }

    /// A segment that has grown to this is followed by another one. Reading takes one of them into memory.
    fn segment_bytes(&self) -> u64 {
        (self.max_bytes / 32).clamp(64 << 10, 16 << 20)
    }

    /// Keeps a record. Once this returns, it survives the end of the process.
    pub(crate) fn append(
        &mut self,
        kind: Kind,
        meta: &[u8],
        body: &[u8],
        counted: Counted,
    ) -> Result<(), Refusal> {
        #[cfg(test)]
        if self.directory.ends_with(tests::HANGS) {
            std::thread::sleep(Duration::from_secs(3));
        }
        let size = (HEADER + meta.len() + body.len()) as u64;
        self.measure();
        let own: u64 = self.segments.values().map(Segment::claim).sum();
        let total = self.others.saturating_add(own);
        let claim = Segment::claim_of(size);
        if size > MAX_RECORD || total.saturating_add(claim) > self.max_bytes {
            return Err(Refusal::Full);
        }
        let limit = self.segment_bytes();
        let full = |segment: &Segment| segment.len() > 0 && segment.len() + size > limit;
        let current = self.writing.take();
        let current = current.filter(|name| !self.segments.get(name).is_none_or(full));
        let name = match current {
            Some(name) => name,
            None => self.start_segment().map_err(Refusal::Failed)?,
        };
        let Some(segment) = self.segments.get_mut(&name) else {
            return Err(Refusal::Failed(io::Error::other("the segment has gone")));
        };
        let appended = segment.append(kind, meta, body);
        if appended.is_ok() {
            segment.events += counted.events;
            segment.updates += counted.updates;
        }
        if segment.len() == 0 {
            // Nothing could be written to it: no file is left behind.
            if let Some(segment) = self.segments.remove(&name) {
                let _ = segment.remove();
            }
        } else {
            self.writing = Some(name);
        }
        appended.map_err(Refusal::Failed)?;
        self.sync_soon();
        Ok(())
    }

    fn start_segment(&mut self) -> io::Result<Name> {
        make_directory(&self.directory)?;
        self.number = self.number.saturating_add(1);
        let (name, segment) = Segment::create(&self.directory, self.number)?;
        self.segments.insert(name.clone(), segment);
        Ok(name)
    }

    /// The oldest record that is not yet delivered.
    pub(crate) fn next(&mut self) -> Option<Stored> {
        loop {
            if let Some(reading) = &self.reading
                && let Some(place) = reading.places.front()
                && let Some(segment) = self.segments.get(&reading.name)
            {
                return Some(Stored {
                    kind: place.kind,
                    meta: reading.bytes.slice(place.meta.clone()),
                    body: reading.bytes.slice(place.body.clone()),
                    own: segment.own,
                });
            }
            if let Some(reading) = self.reading.take() {
                self.finish_segment(&reading.name);
            }
            if self.segments.is_empty() {
                let looked = self.looked.is_some_and(|at| at.elapsed() < ADOPT_INTERVAL);
                if looked && !self.more || self.look_for_orphans().is_err() {
                    return None;
                }
            }
            let name = self.segments.keys().next()?.clone();
            // Whatever is written from now on goes to another segment.
            self.writing.take_if(|writing| *writing == name);
            let segment = self.segments.get_mut(&name)?;
            match segment.load() {
                Ok(contents) => {
                    self.damage.records += contents.corrupt;
                    self.reading = Some(Reading {
                        name,
                        bytes: contents.bytes,
                        places: contents.places.into(),
                    });
                }
                Err(_) => {
                    self.damage.records += 1;
                    self.let_go(&name);
                    self.shunned.insert(name);
                }
            }
        }
    }

    /// The fate of the record that `next` gave is known: it is not given again.
    pub(crate) fn done(&mut self, counted: Counted) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        let Some(place) = reading.places.pop_front() else {
            return;
        };
        let Some(segment) = self.segments.get_mut(&reading.name) else {
            return;
        };
        if segment.own {
            segment.events = segment.events.saturating_sub(counted.events);
            segment.updates = segment.updates.saturating_sub(counted.updates);
        }
        if reading.places.is_empty() {
            let name = reading.name.clone();
            self.reading = None;
            self.finish_segment(&name);
        } else {
            segment.mark(place.end());
            self.sync_soon();
        }
    }

    /// The record that `next` gave cannot be understood.
    pub(crate) fn damaged(&mut self) {
        self.damage.records += 1;
        self.done(Counted::default());
    }

    /// Removes a segment of which nothing is left to be delivered.
    fn finish_segment(&mut self, name: &Name) {
        if let Some(segment) = self.let_go(name)
            && segment.remove().is_err()
        {
            // It would be delivered again and again.
            self.shunned.insert(name.clone());
        }
    }

    fn let_go(&mut self, name: &Name) -> Option<Segment> {
        let segment = self.segments.remove(name)?;
        self.damage.own.events += segment.events;
        self.damage.own.updates += segment.updates;
        Some(segment)
    }

    /// What could not be read since this was asked.
    pub(crate) fn take_damage(&mut self) -> Damage {
        std::mem::take(&mut self.damage)
    }

    fn sync_soon(&mut self) {
        let at = self
            .sync_at
            .unwrap_or_else(|| Instant::now() + SYNC_INTERVAL);
        self.sync_at = Some(at);
    }

    /// When `sync` is due.
    pub(crate) fn sync_at(&self) -> Option<Instant> {
        self.sync_at
    }

    /// Makes everything that was written survive a crash of the machine.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.sync_at = None;
        let segments = self.segments.values_mut();
        segments.map(Segment::sync).fold(Ok(()), Result::and)
    }

    /// The names of the segments in the directory with their sizes; what never became one is removed.
    fn list(&self) -> io::Result<Vec<(Name, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let file = entry.file_name();
            let Some(file) = file.to_str() else { continue };
            let path = Path::new(file);
            if path
                .extension()
                .is_some_and(|extension| extension == UNBORN)
            {
                segment::remove_unborn(&entry.path());
            } else if path.extension().is_some_and(|extension| extension == EXTENSION)
                && let Some(name) = Name::parse(file)
                // One that was delivered meanwhile is no longer there.
                && let Ok(metadata) = entry.metadata()
            {
                found.push((name, metadata.len()));
            }
        }
        Ok(found)
    }

    fn measure(&mut self) {
        if self
            .measured
            .is_some_and(|at| at.elapsed() < MEASURE_INTERVAL)
        {
            return;
        }
        let found = match self.list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            found => found,
        };
        if let Ok(found) = found {
            self.measured = Some(Instant::now());
            self.note(&found);
            // A file that somebody deleted is not written to any more.
            self.writing
                .take_if(|writing| !found.iter().any(|(name, _)| name == writing));
        }
    }

    fn note(&mut self, found: &[(Name, u64)]) {
        let highest = found.iter().map(|(name, _)| name.number).max();
        self.number = self.number.max(highest.unwrap_or(0));
        let others = found
            .iter()
            .filter(|(name, _)| !self.segments.contains_key(name));
        self.others = others.map(|(_, len)| len).sum();
    }

    /// Takes over segments of processes that ended, oldest first.
    fn look_for_orphans(&mut self) -> io::Result<()> {
        self.looked = Some(Instant::now());
        self.more = false;
        let mut found = self.list()?;
        found.sort_unstable();
        let mut adopted = self
            .segments
            .values()
            .filter(|segment| !segment.own)
            .count();
        for (name, _) in &found {
            if self.segments.contains_key(name) || self.shunned.contains(name) {
                continue;
            }
            if adopted == MAX_ADOPTED {
                self.more = true;
                break;
            }
            match Segment::adopt(&self.directory, name) {
                Ok(Some(segment)) => {
                    adopted += 1;
                    self.segments.insert(name.clone(), segment);
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => {
                    self.shunned.insert(name.clone());
                }
            }
        }
        self.note(&found);
        self.measured = Some(Instant::now());
        Ok(())
    }
}

/// How many records a file of these bytes has; for the fuzz target.
#[cfg(fuzzing)]
#[must_use]
pub fn read_spool_file(bytes: &[u8]) -> usize {
    let mut scan = record::Scan::new(bytes);
    let mut before = 0;
    let mut count = 0;
    for place in scan.by_ref() {
        assert!(before <= place.meta.start && place.meta.end == place.body.start);
        assert!(place.end() <= bytes.len());
        before = place.end();
        count += 1;
    }
    assert!(scan.torn.is_none_or(|at| before <= at && at < bytes.len()));
    count
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(test)]
pub(super) mod tests;
