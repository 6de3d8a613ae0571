//! Durable starts: the journal behind an engine.
//!
//! 1. A start is admitted, appended to the journal, which names it by its [`Lsn`], and handed to the workers. It may run,
//!    and even end, before it is on the disk; whoever started it is told that it was accepted only after.
//! 2. When it ends, the group's outlet ([`ToJournal`]) appends its end, once for all that end in a turn of a worker. A later
//!    commit takes the ends along; nobody waits for it.
//! 3. After a crash [`Engine::recover`](super::Engine::recover) runs every start without an end again, from its beginning.
//!
//! An execution that is given up, by a shutdown, has no end, so that it is one of those.

#[cfg(feature = "server")]
mod kept;
mod outlet;
mod recover;
mod start;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use super::error::{Error, ErrorKind};
use crate::journal::{self, FileStorage, Journal, Options, StartRecord, Storage, Ticket, Turn};
use crate::runtime::admission::{Limit, Throttled};
use crate::runtime::clock::Clock;
use crate::runtime::outlet::Outlet;
use crate::task::lock;
use outlet::{Starts, ToJournal};
use recover::Recovering;

#[cfg(feature = "server")]
pub(crate) use kept::KeptStart;
pub use recover::{Recovered, UnknownMachine};

/// Whether asynchronous starts survive the process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum DurabilityMode {
    /// They are in memory alone: at most once.
    #[default]
    Memory,
    /// They are in a journal in this directory, which is made if there is none, before they are acknowledged: at least
    /// once. One engine at a time can have it. Synchronous executions and streams are not among it: whoever waits for
    /// them knows what has not ended.
    Durable(PathBuf),
}

/// What a journal holds when its engine was shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct JournalReport {
    /// Starts without an end: they run again when the journal is opened and recovered.
    pub unfinished: u64,
    /// Whether everything is on the disk: false if the disk has failed or is full, so that what has ended may run again.
    pub is_clean: bool,
}

/// How the journal is set up.
#[derive(Debug, Default)]
pub(super) struct JournalConfig {
    pub(super) mode: DurabilityMode,
    pub(super) options: Options,
    pub(super) storage: Option<Arc<dyn Storage>>,
}

impl JournalConfig {
    /// Opens the journal, if there is to be one.
    pub(super) fn open(
        self,
        clock: &Arc<dyn Clock>,
        is_simulated: bool,
    ) -> Result<Option<Arc<Durable>>, Error> {
        let storage: Arc<dyn Storage> = match (self.storage, self.mode) {
            (Some(storage), _) => storage,
            (None, DurabilityMode::Memory) => return Ok(None),
            (None, DurabilityMode::Durable(directory)) => {
                let made = FileStorage::create(&directory).map_err(|error| {
                    let shown = directory.display();
                    let message =
                        format!("failed to make the journal's directory {shown}: {error}");
                    Error::new(ErrorKind::Journal, message)
                })?;
                Arc::new(made)
            }
        };
        let (journal, recovery) = Journal::open(storage, self.options).map_err(|error| {
            Error::new(
                ErrorKind::Journal,
                format!("failed to open the journal: {error}"),
            )
        })?;
        let committer = match is_simulated {
            true => None,
            false => Some(start_committer(&journal, clock)?),
        };
        Ok(Some(Arc::new(Durable {
            journal,
            clock: Arc::clone(clock),
            is_simulated,
            recovering: Mutex::new(Recovering::new(recovery)),
            committer_id: committer.as_ref().map(|thread| thread.thread().id()),
            committer: Mutex::new(committer),
        })))
    }
}

fn start_committer(journal: &Journal, clock: &Arc<dyn Clock>) -> Result<JoinHandle<()>, Error> {
    let (journal, clock) = (journal.clone(), Arc::clone(clock));
    std::thread::Builder::new()
        .name("quickstep-journal".to_owned())
        .spawn(move || journal.run(&|| clock.nanos()))
        .map_err(|error| {
            let message = format!("failed to start the journal's thread: {error}");
            Error::new(ErrorKind::Journal, message)
        })
}

/// An engine's journal.
pub(super) struct Durable {
    journal: Journal,
    clock: Arc<dyn Clock>,
    /// True if there is no committer's thread: then whoever waits takes its turns.
    is_simulated: bool,
    recovering: Mutex<Recovering>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Its thread, on which nobody may wait for it.
    committer_id: Option<ThreadId>,
}

/// Whether a start waits for room in the journal's buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    Waits,
    IsRefused,
}

/// After how long a start is worth another attempt that came faster than commits are.
const BUSY_RETRY_AFTER: Duration = Duration::from_millis(1);

impl Durable {
    /// An outlet of executions whose tickets say what the journal has of them.
    pub(super) fn outlet_of_tickets(&self, inner: Arc<dyn Outlet>) -> Arc<dyn Outlet> {
        self.outlet(inner, Starts::OfTickets)
    }

    fn outlet(&self, inner: Arc<dyn Outlet>, starts: Starts) -> Arc<dyn Outlet> {
        Arc::new(ToJournal {
            inner,
            journal: self.journal.clone(),
            starts,
        })
    }

    /// Appends starts, all or none.
    fn append(&self, starts: &[StartRecord<'_>], patience: Patience) -> Result<Ticket, Error> {
        if patience == Patience::Waits {
            self.may_wait()?;
        }
        let appended = match (self.is_simulated, patience) {
            (false, Patience::Waits) => self.journal.append_starts(starts),
            (_, Patience::IsRefused) => self.journal.try_append_starts(starts),
            (true, Patience::Waits) => self.with_turns(|| self.journal.try_append_starts(starts)),
        };
        appended.map_err(|error| self.error(&error))
    }

    /// Refuses whoever would wait for the journal in a callback of the journal: it would be for ever.
    fn may_wait(&self) -> Result<(), Error> {
        if self.committer_id != Some(thread::current().id()) {
            return Ok(());
        }
        let message = "a callback of the journal cannot wait for the journal: start with start_then, or on another thread";
        Err(Error::new(ErrorKind::Journal, message))
    }

    /// Appends something in a simulation: takes turns of the committer for as long as they make room.
    fn with_turns(
        &self,
        append: impl Fn() -> Result<Ticket, journal::Error>,
    ) -> Result<Ticket, journal::Error> {
        loop {
            match append() {
                Err(busy)
                    if busy.kind() == journal::ErrorKind::Busy && self.turn() == Turn::Busy => {}
                appended => return appended,
            }
        }
    }

    /// Waits until starts are on the disk.
    pub(super) fn wait(&self, starts: &Ticket) -> Result<(), Error> {
        while self.is_simulated && starts.poll().is_none() {
            if self.turn() != Turn::Busy && starts.poll().is_none() {
                let message = "the start is not on the disk yet, and may or may not come there";
                return Err(Error::new(ErrorKind::Journal, message));
            }
        }
        starts.wait().map_err(|error| self.error(&error))
    }

    /// One turn of the committer, on this thread.
    pub(super) fn turn(&self) -> Turn {
        self.journal.turn(&|| self.clock.nanos())
    }

    fn error(&self, error: &journal::Error) -> Error {
        let options = self.journal.options();
        let kind = match error.kind() {
            journal::ErrorKind::Full => {
                let after = Duration::from_millis(options.space_retry_ms);
                return Error::throttled_by_journal(error, after);
            }
            journal::ErrorKind::Busy => {
                return Error::throttled_by_journal(error, BUSY_RETRY_AFTER);
            }
            journal::ErrorKind::Closed => {
                return Error::from(Throttled {
                    limit: Limit::Closed,
                    retry_after: None,
                });
            }
            journal::ErrorKind::Poisoned => ErrorKind::Poisoned,
            journal::ErrorKind::TooLarge => ErrorKind::InvalidInput,
            _ => ErrorKind::Journal,
        };
        Error::new(kind, error.to_string())
    }

    /// Writes what was appended, and closes the journal; once is enough.
    pub(super) fn close(&self) -> JournalReport {
        self.journal.close();
        let committer = lock(&self.committer).take();
        if let Some(committer) = committer {
            // A callback of the committer may be what drops the engine; then it goes on by itself.
            if committer.thread().id() != thread::current().id() {
                // It has no value, and a panic of a callback was reported where it happened.
                drop(committer.join());
            }
        }
        while self.is_simulated && self.turn() == Turn::Busy {}
        let closed = self.journal.append_ends(&[]).map_err(|error| error.kind());
        JournalReport {
            unfinished: self.journal.counters().unfinished,
            is_clean: closed == Err(journal::ErrorKind::Closed),
        }
    }

    /// How many starts were unfinished when the journal was opened.
    #[cfg(feature = "server")]
    fn found_unfinished(&self) -> u64 {
        lock(&self.recovering).found()
    }

    /// What the journal has done.
    pub(super) fn counters(&self) -> journal::Counters {
        self.journal.counters()
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Durable").field(&self.journal).finish()
    }
}
