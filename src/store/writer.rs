//! The thread that writes executions.
//!
//! It takes all that has come and commits it as one transaction, so that many share one sync. Nobody is told of a change
//! before that sync. When nothing comes, it removes what is to be removed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvError, TryRecvError};

use redb::{Database, ReadableTable, Table, WriteTransaction};

use super::error::{StoreError, StoreErrorKind};
use super::executions::{Progress, Standing};
use super::persist::{count_commit, refusal};
use super::tables::{ENDS, EVENTS, EXECUTIONS, FROZEN, NAMES, REDRIVABLE, REVISIONS};

/// Changes that are made in one transaction at most.
const CHANGES_MAX: usize = 1_000;

/// Bytes of changes at which a transaction is large enough.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Executions that are removed in one transaction.
const REMOVED_MAX: usize = 200;

/// Is told what came of a change.
pub(crate) type Told = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What is to be done.
pub(super) enum Change {
    Write(Box<Progress>, Told),
    /// Removes what ended before that time.
    RemoveBefore(i64),
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Write(progress, _) => f.debug_tuple("Write").field(&progress.serial).finish(),
            Change::RemoveBefore(time) => f.debug_tuple("RemoveBefore").field(time).finish(),
        }
    }
}

impl Progress {
    fn bytes(&self) -> usize {
        let blob = match &self.standing {
            Standing::Running(blob) => blob.len(),
            Standing::Ended { redrivable, .. } => redrivable.as_ref().map_or(0, Vec::len),
        };
        self.record.as_ref().map_or(0, Vec::len) + self.events.0.len() + blob
    }
}

/// Writes changes until nobody can make any.
pub(super) fn write_all(database: &Database, path: &str, changes: &Receiver<Change>) {
    let mut broken: Option<String> = None;
    let mut remove_before = None;
    let mut batch = Vec::new();
    while let Ok(()) = gather(changes, &mut batch, &mut remove_before) {
        let attempt = || -> Result<bool, redb::Error> {
            let transaction = database.begin_write()?;
            count_commit(&transaction)?;
            write(&transaction, &batch)?;
            let more = match remove_before {
                Some(time) => remove(&transaction, time)?,
                None => false,
            };
            transaction.commit()?;
            Ok(more)
        };
        let result = match &broken {
            Some(error) => Err(error.clone()),
            None => guarded(attempt),
        };
        match &result {
            Ok(true) => {}
            Ok(false) => remove_before = None,
            Err(error) => {
                remove_before = None;
                broken.get_or_insert_with(|| error.clone());
            }
        }
        for (_, told) in batch.drain(..) {
            told(result.as_ref().map(|_| ()).map_err(|error| {
                let kind = StoreErrorKind::Io;
                StoreError::new(kind, refusal(path, kind, error))
            }));
        }
    }
}

/// Does what may fail, also by a panic: who waits is told so, and does not wait for ever.
fn guarded(attempt: impl FnOnce() -> Result<bool, redb::Error>) -> Result<bool, String> {
    match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it panicked".to_owned()),
    }
}

/// Waits for changes, unless there is something else to do, and takes what there is.
fn gather(
    changes: &Receiver<Change>,
    batch: &mut Vec<(Box<Progress>, Told)>,
    remove_before: &mut Option<i64>,
) -> Result<(), RecvError> {
    let mut bytes = 0;
    while batch.len() < CHANGES_MAX && bytes < BYTES_MAX {
        let change = match changes.try_recv() {
            Ok(change) => change,
            Err(TryRecvError::Empty) if batch.is_empty() && remove_before.is_none() => {
                changes.recv()?
            }
            Err(TryRecvError::Disconnected) if batch.is_empty() => return Err(RecvError),
            Err(_) => break,
        };
        match change {
            Change::Write(progress, told) => {
                bytes += progress.bytes();
                batch.push((progress, told));
            }
            Change::RemoveBefore(time) => *remove_before = Some(time),
        }
    }
    Ok(())
}

fn write(
    transaction: &WriteTransaction,
    batch: &[(Box<Progress>, Told)],
) -> Result<(), redb::Error> {
    let mut tables = Tables::open(transaction)?;
    for (progress, _) in batch {
        tables.write(progress)?;
    }
    Ok(())
}

/// Removes some of what ended before a time; true if there may be more.
fn remove(transaction: &WriteTransaction, before_ms: i64) -> Result<bool, redb::Error> {
    let mut tables = Tables::open(transaction)?;
    let mut found: Vec<(i64, u64, String, String)> = Vec::new();
    for entry in tables.ends.range(..(before_ms, 0))?.take(REMOVED_MAX) {
        let (key, value) = entry?;
        let ((at, serial), (machine, arn)) = (key.value(), value.value());
        found.push((at, serial, machine.to_owned(), arn.to_owned()));
    }
    for (at, serial, machine, arn) in &found {
        tables.ends.remove((*at, *serial))?;
        tables.remove(*serial, machine)?;
        // Another may have its name by now.
        let is_named = tables.names.get(&**arn)?.map(|value| value.value().0);
        if is_named == Some(*serial) {
            tables.names.remove(&**arn)?;
        }
    }
    Ok(found.len() == REMOVED_MAX)
}

struct Tables<'t> {
    executions: Table<'t, (&'static str, u64), &'static [u8]>,
    frozen: Table<'t, (&'static str, u64), &'static [u8]>,
    redrivable: Table<'t, u64, &'static [u8]>,
    events: Table<'t, (u64, u32), &'static [u8]>,
    names: Table<'t, &'static str, (u64, &'static str)>,
    ends: Table<'t, (i64, u64), (&'static str, &'static str)>,
    revisions: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables {
            executions: transaction.open_table(EXECUTIONS)?,
            frozen: transaction.open_table(FROZEN)?,
            redrivable: transaction.open_table(REDRIVABLE)?,
            events: transaction.open_table(EVENTS)?,
            names: transaction.open_table(NAMES)?,
            ends: transaction.open_table(ENDS)?,
            revisions: transaction.open_table(REVISIONS)?,
        })
    }

    fn write(&mut self, progress: &Progress) -> Result<(), redb::Error> {
        let (serial, machine) = (progress.serial, &*progress.machine);
        if let Some((key, revision)) = &progress.revision {
            let json = serde_json::to_vec(revision)
                .map_err(|error| redb::Error::Io(std::io::Error::other(error.to_string())))?;
            self.revisions.insert(&**key, json.as_slice())?;
        }
        if let Some((old, old_machine)) = &progress.replaces {
            self.remove(*old, old_machine)?;
        }
        if let Some(record) = &progress.record {
            self.executions
                .insert((machine, serial), record.as_slice())?;
        }
        if let Some(arn) = &progress.name {
            self.names.insert(&**arn, (serial, machine))?;
        }
        if !progress.events.0.is_empty() {
            let key = (serial, progress.first_event);
            self.events.insert(key, progress.events.0.as_slice())?;
        }
        if let Some(ended_ms) = progress.redriven_from {
            self.ends.remove((ended_ms, serial))?;
            self.redrivable.remove(serial)?;
        }
        match &progress.standing {
            Standing::Running(blob) => {
                self.frozen.insert((machine, serial), blob.as_slice())?;
            }
            Standing::Ended {
                at_ms,
                arn,
                was_running,
                redrivable,
            } => {
                if *was_running {
                    self.frozen.remove((machine, serial))?;
                }
                self.ends.insert((*at_ms, serial), (machine, &**arn))?;
                if let Some(blob) = redrivable {
                    self.redrivable.insert(serial, blob.as_slice())?;
                }
            }
        }
        Ok(())
    }

    /// Removes an execution, but for its name and the time of its end.
    fn remove(&mut self, serial: u64, machine: &str) -> Result<(), redb::Error> {
        self.executions.remove((machine, serial))?;
        self.redrivable.remove(serial)?;
        self.events
            .retain_in((serial, 0)..=(serial, u32::MAX), |_, _| false)?;
        Ok(())
    }
}
