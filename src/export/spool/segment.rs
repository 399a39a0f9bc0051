//! One file of the spool: made, taken over, appended to, read and removed, always under its lock. Knows files and
//! where records are, not what they mean.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::record::{self, HEADER, Kind, Place, Scan};
use crate::id;

/// How the names of segments end; another format will have another one.
pub(super) const EXTENSION: &str = "hh1";
/// How the names of files end that are not locked yet.
pub(super) const UNBORN: &str = "new";
/// More of a file than this is not read: the largest segment and one record.
const MAX_READ: u64 = 192 << 20;

/// The name of a segment. Segments are in the order of their numbers, whatever the clock says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) number: u64,
    file: String,
}

impl Name {
    fn new(number: u64) -> Self {
        let (process, random) = (std::process::id(), id::random());
        Self {
            number,
            file: format!("{number:016x}-{process}-{random:016x}.{EXTENSION}"),
        }
    }

    /// Reads the name of a file; `None`: it is not a segment.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let (number, _) = file.strip_suffix(EXTENSION)?.split_once('-')?;
        Some(Self {
            number: u64::from_str_radix(number, 16).ok()?,
            file: file.to_owned(),
        })
    }
}

/// An open segment, locked against every other process.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    len: u64,
    /// It was written by this instance.
    pub(super) own: bool,
    /// Events and updates of this instance that are still in it.
    pub(super) events: u64,
    pub(super) updates: u64,
    /// What notes of deliveries are going to take.
    reserved: u64,
    dirty: bool,
}

/// The bytes of the note that a record has been delivered.
const NOTE: u64 = HEADER as u64 + 8;

/// What a segment has to be delivered.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) bytes: Bytes,
    pub(super) places: Vec<Place>,
    pub(super) corrupt: u64,
}

impl Segment {
    /// Makes a segment. It gets its name when it is locked, so that nobody takes it over before.
    pub(super) fn create(directory: &Path, number: u64) -> io::Result<(Name, Self)> {
        for _ in 0..16 {
            let name = Name::new(number);
            let unborn = directory.join(&name.file).with_extension(UNBORN);
            let file = match options().create_new(true).open(&unborn) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened?,
            };
            match file.try_lock() {
                Ok(()) => {}
                // Somebody who cleans up was faster.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    let _ = fs::remove_file(&unborn);
                    return Err(error);
                }
            }
            let path = directory.join(&name.file);
            match fs::rename(&unborn, &path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                renamed => renamed?,
            }
            sync_directory(directory);
            let segment = Self {
                path,
                file,
                len: 0,
                own: true,
                events: 0,
                updates: 0,
                reserved: 0,
                dirty: false,
            };
            return Ok((name, segment));
        }
        Err(io::Error::other("no name for a file could be had"))
    }

    /// Takes over a segment whose process has gone. `None`: it has not, or somebody else was faster.
    pub(super) fn adopt(directory: &Path, name: &Name) -> io::Result<Option<Self>> {
        let path = directory.join(&name.file);
        // A pipe or a device would block.
        if !fs::symlink_metadata(&path)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let file = options().open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Names are never used again: if it is still there, it is the one that was opened.
        if !path.try_exists()? {
            return Ok(None);
        }
        let len = file.metadata()?.len();
        Ok(Some(Self {
            path,
            file,
            len,
            own: false,
            events: 0,
            updates: 0,
            reserved: 0,
            dirty: false,
        }))
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// What it takes on disk until it has been delivered.
    pub(super) fn claim(&self) -> u64 {
        self.len + self.reserved
    }

    /// What a record of this size adds to that.
    pub(super) const fn claim_of(record: u64) -> u64 {
        record + NOTE
    }

    /// Writes a record at the end; of one that fails nothing is left.
    pub(super) fn append(&mut self, kind: Kind, meta: &[u8], body: &[u8]) -> io::Result<()> {
        let head = record::head(self.len, kind, meta, body)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let written = self.write(&head).and_then(|()| self.file.write_all(body));
        if let Err(error) = written {
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += (head.len() + body.len()) as u64;
        self.reserved = match kind {
            Kind::Delivered => self.reserved.saturating_sub(NOTE),
            Kind::Spans | Kind::Update => self.reserved + NOTE,
        };
        self.dirty = true;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(bytes)
    }

    /// Reads what is not yet delivered, and cuts off a tail that was not written to its end.
    pub(super) fn load(&mut self) -> io::Result<Contents> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        let mut limited = Read::by_ref(&mut self.file).take(MAX_READ);
        limited.read_to_end(&mut bytes)?;
        let mut scan = Scan::new(&bytes);
        let mut places: Vec<Place> = scan.by_ref().collect();
        let (corrupt, torn) = (scan.corrupt, scan.torn);
        if let Some(torn) = torn {
            bytes.truncate(torn);
            self.len = torn as u64;
            // What cannot be cut is read again next time.
            let _ = self.file.set_len(self.len);
        }
        let delivered = places
            .iter()
            .filter(|place| place.kind == Kind::Delivered)
            .filter_map(|place| Some(*bytes.get(place.body.clone())?.first_chunk()?))
            .map(u64::from_le_bytes)
            .max()
            .unwrap_or(0);
        places.retain(|place| {
            let start = place.meta.start.saturating_sub(HEADER) as u64;
            place.kind != Kind::Delivered && start >= delivered
        });
        self.reserved = places.len() as u64 * NOTE;
        Ok(Contents {
            bytes: Bytes::from(bytes),
            places,
            corrupt,
        })
    }

    /// Notes that everything before `position` has been delivered. If it cannot be noted, a crash repeats it.
    pub(super) fn mark(&mut self, position: usize) {
        let body = (position as u64).to_le_bytes();
        let _ = self.append(Kind::Delivered, &[], &body);
    }

    /// Makes what was written survive a crash of the machine.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Deletes it.
    pub(super) fn remove(self) -> io::Result<()> {
        // While it is locked: nobody else may find it empty-handed.
        fs::remove_file(&self.path)
    }
}

impl Drop for Segment {
    /// Closing is not enough while a process that was just forked has the file open, too.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Deletes a file that its process left before it was a segment.
pub(super) fn remove_unborn(path: &Path) {
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    if is_file
        && let Ok(file) = options().open(path)
        && file.try_lock().is_ok()
    {
        let _ = fs::remove_file(path);
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the names in a directory survive a crash of the machine, where that is possible.
fn sync_directory(directory: &Path) {
    if cfg!(unix)
        && let Ok(directory) = File::open(directory)
    {
        let _ = directory.sync_all();
    }
}
