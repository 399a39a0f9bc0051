//! Sessions and events in SQLite: one writer thread that commits for everybody at once, readers beside it.
//! Knows nothing of HTTP or pages.

pub(crate) mod datasets;
pub(crate) mod documents;
mod find;
mod read;
pub(crate) mod runs;
mod schema;
mod search;
mod write;

pub(crate) use find::{DatasetRow, Find, FoundEvent, FoundPart, Place};
pub(crate) use read::{EventRow, Filter, Reader, SessionRow, Sort, SortBy};
pub(crate) use search::{Key, Search};
pub(crate) use write::{NewEvent, Op, Outcome, SessionPatch, Update, now_ms};

use crate::Error;
use crate::sync::lock;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use tokio::sync::oneshot;

/// Requests of one transaction at most; the bound keeps the first of them from waiting long.
const TOGETHER: usize = 256;
/// Operations of one transaction, after which no further request joins it.
const OPERATIONS: usize = 8192;

pub(crate) type Reply = Result<Vec<Outcome>, Refused>;

/// A transaction that did not come about; the same text for each request in it.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) String);

/// Why something was not read or changed as asked.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What is meant is not there; the text names it.
    Missing(String),
    /// What is asked cannot be; the text names the field.
    Invalid(String),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

struct Job {
    ops: Vec<Op>,
    reply: oneshot::Sender<Reply>,
}

/// Handle to the database.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// `None` once closed.
    writer: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
    temporary: bool,
}

impl Store {
    /// Opens the database and starts its writer. `changed` is called on the writer's thread after each commit, with the
    /// ids of the sessions that it touched.
    pub(crate) fn open(
        path: &Path,
        temporary: bool,
        changed: impl Fn(&BTreeSet<String>) + Send + 'static,
    ) -> Result<Self, Error> {
        let db = schema::open(path)?;
        let (sender, jobs) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("honeyhive-store".to_owned())
            .spawn(move || work(db, &jobs, &changed))
            .map_err(|error| {
                Error::io("the store's thread cannot be started").with_source(error)
            })?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                writer: Mutex::new(Some(sender)),
                thread: Mutex::new(Some(thread)),
                readers: Mutex::new(Vec::new()),
                temporary,
            }),
        })
    }

    /// Writes; answers when it is on disk.
    pub(crate) async fn write(&self, ops: Vec<Op>) -> Reply {
        let closed = || Refused("the server is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        let sender = lock(&self.shared.writer).clone().ok_or_else(closed)?;
        sender.send(Job { ops, reply }).map_err(|_| closed())?;
        drop(sender);
        answer.await.map_err(|_| closed())?
    }

    /// Does other work on the writer's thread, in the transaction of whoever writes at the time; answers when it is on
    /// disk. What a failing one wrote is undone.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Result<T, Fault>, Refused> {
        let slot = Arc::new(Mutex::new(None));
        let answer = slot.clone();
        let task = write::Task::new(move |db| {
            let outcome = work(db);
            let keep = outcome.is_ok();
            *lock(&slot) = Some(outcome);
            keep
        });
        self.write(vec![Op::Task(task)]).await?;
        let outcome = lock(&answer).take();
        outcome.ok_or_else(|| Refused("the work was not done".to_owned()))
    }

    /// Reads on a connection of its own, beside the writer.
    pub(crate) fn read<T, E: From<rusqlite::Error>>(
        &self,
        query: impl FnOnce(&Reader<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = lock(&self.shared.readers).pop();
        let db = match idle {
            Some(db) => db,
            None => schema::open_reader(&self.shared.path)?,
        };
        let answer = query(&Reader::new(&db));
        let mut readers = lock(&self.shared.readers);
        if readers.len() < 4 {
            readers.push(db);
        }
        answer
    }

    /// Finishes what was accepted, closes the database and removes a temporary one.
    pub(crate) fn close(&self) {
        drop(lock(&self.shared.writer).take());
        if let Some(thread) = lock(&self.shared.thread).take() {
            // The thread catches nothing and reports nothing: there is nothing to do about its end.
            let _ = thread.join();
        }
        lock(&self.shared.readers).clear();
        if self.shared.temporary {
            for suffix in ["", "-wal", "-shm"] {
                let mut name = self.shared.path.clone().into_os_string();
                name.push(suffix);
                let _ = std::fs::remove_file(name);
            }
        }
    }
}

fn work(mut db: Connection, jobs: &mpsc::Receiver<Job>, changed: &dyn Fn(&BTreeSet<String>)) {
    while let Ok(first) = jobs.recv() {
        let mut count = first.ops.len();
        let mut together = vec![first];
        while together.len() < TOGETHER && count < OPERATIONS {
            let Ok(job) = jobs.try_recv() else {
                break;
            };
            count += job.ops.len();
            together.push(job);
        }
        let (ops, replies): (Vec<_>, Vec<_>) =
            together.into_iter().map(|job| (job.ops, job.reply)).unzip();
        match write::commit(&mut db, ops) {
            Ok((outcomes, touched)) => {
                changed(&touched);
                for (outcome, reply) in outcomes.into_iter().zip(replies) {
                    // A client that went away does not need the answer.
                    let _ = reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(Refused(error.to_string())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
