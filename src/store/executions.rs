//! [`ExecutionStore`]: STANDARD executions on disk, so that they outlive the process.
//!
//! 1. Before what an execution does takes effect outside of it, its [`Progress`] is written: new events, and the execution as
//!    it stands, in one transaction. Whoever runs it waits for that.
//! 2. One thread writes. What came while it synced goes into the next transaction together.
//! 3. What is there is read once, at the start.
//!
//! After an error of the disk nothing is written any more: the file is as it was at the last success.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::error::{StoreError, StoreErrorKind};
use super::persist::{File, refusal};
use super::record::RevisionRecord;
use crate::task::lock;

/// An execution, without its events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ExecutionRecord {
    pub(crate) arn: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) input: Box<str>,
    pub(crate) trace_header: Option<Box<str>>,
    pub(crate) started_ms: i64,
    pub(crate) machine: Box<str>,
    pub(crate) machine_created_ms: i64,
    pub(crate) machine_arn: Box<str>,
    pub(crate) version_arn: Option<Box<str>>,
    pub(crate) alias_arn: Option<Box<str>>,
    pub(crate) test_case: Option<Box<str>>,
    /// Key of the revision that it runs.
    pub(crate) revision: Box<str>,
    /// Checksum of what the revision was compiled to: another build may compile it to something else.
    pub(crate) program: u32,
    pub(crate) ended: Option<EndedRecord>,
}

/// How an execution ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct EndedRecord {
    pub(crate) status: Box<str>,
    pub(crate) output: Option<Box<str>>,
    /// Whether there was a failure; its members may be absent all the same.
    pub(crate) failed: bool,
    pub(crate) error: Option<Box<str>>,
    pub(crate) cause: Option<Box<str>>,
    pub(crate) at_ms: i64,
}

/// What an execution has done since it was last written.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) serial: u64,
    /// The execution, if it is new or has ended.
    pub(crate) record: Option<ExecutionRecord>,
    /// The revision that it runs, if that may not be there.
    pub(crate) revision: Option<(Box<str>, RevisionRecord)>,
    /// Number of the first of the events.
    pub(crate) first_event: u32,
    pub(crate) events: Vec<Box<[u8]>>,
    /// As it stands; nothing if it has ended.
    pub(crate) frozen: Option<Vec<u8>>,
}

/// An execution as it was found.
#[derive(Debug)]
pub(crate) struct StoredExecution {
    pub(crate) serial: u64,
    pub(crate) record: ExecutionRecord,
    pub(crate) events: Vec<Box<[u8]>>,
    pub(crate) frozen: Option<Vec<u8>>,
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// In the order of their starts.
    pub(crate) executions: Vec<StoredExecution>,
    pub(crate) revisions: BTreeMap<Box<str>, RevisionRecord>,
}

const EXECUTIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("executions");
const FROZEN: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("frozen");
const EVENTS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("events");
const REVISIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("revisions");

/// Name of the file in the data directory.
const FILE_NAME: &str = "executions.redb";

/// Changes that are made in one transaction at most.
const CHANGES_MAX: usize = 1_000;

enum Change {
    /// Whoever waits is told what came of it.
    Write(Box<Progress>, Sender<Result<(), String>>),
    Remove(u64),
}

/// Keeps executions.
#[derive(Debug)]
pub(crate) struct ExecutionStore {
    /// Gone once the store is closed.
    changes: Mutex<Option<Sender<Change>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    path: Box<str>,
}

impl ExecutionStore {
    /// Opens the file in `directory`, or makes it, and reads what is there.
    pub(crate) fn open(directory: &Path) -> Result<(Arc<ExecutionStore>, Stored), StoreError> {
        let file = File::open(directory, FILE_NAME, |transaction| {
            transaction.open_table(EXECUTIONS)?;
            transaction.open_table(FROZEN)?;
            transaction.open_table(EVENTS)?;
            transaction.open_table(REVISIONS)?;
            Ok(())
        })?;
        let stored = load(&file)?;
        let path: Box<str> = file.path.as_str().into();
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("quickstep-store".to_owned())
            .spawn(move || write_all(&file.database, &receiver))
            .map_err(|error| {
                let message = format!("failed to start a thread: {error}");
                StoreError::new(StoreErrorKind::Io, message)
            })?;
        let store = ExecutionStore {
            changes: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            path,
        };
        Ok((Arc::new(store), stored))
    }

    /// Writes what an execution has done; it is durable when this returns.
    pub(crate) fn write(&self, progress: Progress) -> Result<(), StoreError> {
        let (sender, receiver) = channel();
        self.send(Change::Write(Box::new(progress), sender));
        let written = receiver.recv();
        let closed = || Err("it is closed".to_owned());
        written.unwrap_or_else(|_| closed()).map_err(|error| {
            let kind = StoreErrorKind::Io;
            StoreError::new(kind, refusal(&self.path, kind, &error))
        })
    }

    /// Forgets an execution, at some time.
    pub(crate) fn remove(&self, serial: u64) {
        self.send(Change::Remove(serial));
    }

    fn send(&self, change: Change) {
        if let Some(changes) = lock(&self.changes).as_ref() {
            // The thread ends before this only if it has panicked; then whoever waits is told so.
            let _ = changes.send(change);
        }
    }

    /// Writes what was given, and lets go of the file.
    pub(crate) fn close(&self) {
        lock(&self.changes).take();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic has been reported.
            let _ = thread.join();
        }
    }
}

impl Drop for ExecutionStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Writes changes until nobody can make any.
fn write_all(database: &Database, changes: &Receiver<Change>) {
    let mut broken: Option<String> = None;
    while let Ok(first) = changes.recv() {
        let mut batch = vec![first];
        while batch.len() < CHANGES_MAX
            && let Ok(next) = changes.try_recv()
        {
            batch.push(next);
        }
        let result = match &broken {
            Some(error) => Err(error.clone()),
            None => commit(database, &batch).map_err(|error| error.to_string()),
        };
        if let Err(error) = &result {
            broken.get_or_insert_with(|| error.clone());
        }
        for change in batch {
            if let Change::Write(_, told) = change {
                // Whoever waited has given up.
                let _ = told.send(result.clone());
            }
        }
    }
}

fn commit(database: &Database, batch: &[Change]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut executions = transaction.open_table(EXECUTIONS)?;
        let mut frozen = transaction.open_table(FROZEN)?;
        let mut events = transaction.open_table(EVENTS)?;
        let mut revisions = transaction.open_table(REVISIONS)?;
        for change in batch {
            match change {
                Change::Write(progress, _) => {
                    let serial = progress.serial;
                    if let Some((key, revision)) = &progress.revision {
                        revisions.insert(&**key, &*json(revision)?)?;
                    }
                    if let Some(record) = &progress.record {
                        executions.insert(serial, &*json(record)?)?;
                    }
                    for (number, event) in (progress.first_event..).zip(&progress.events) {
                        events.insert((serial, number), &**event)?;
                    }
                    match &progress.frozen {
                        Some(blob) => drop(frozen.insert(serial, blob.as_slice())?),
                        None => drop(frozen.remove(serial)?),
                    }
                }
                Change::Remove(serial) => {
                    executions.remove(*serial)?;
                    frozen.remove(*serial)?;
                    events.retain_in((*serial, 0)..=(*serial, u32::MAX), |_, _| false)?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn json(record: &impl Serialize) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(record)
        .map_err(|error| redb::Error::Io(std::io::Error::other(error.to_string())))
}

fn load(file: &File) -> Result<Stored, StoreError> {
    let damaged = |what: String| {
        let kind = StoreErrorKind::Damaged;
        StoreError::new(kind, refusal(&file.path, kind, &what))
    };
    let mut stored = Stored::default();
    let attempt = |stored: &mut Stored| -> Result<Option<String>, redb::Error> {
        let transaction = file.database.begin_read()?;
        for entry in transaction.open_table(REVISIONS)?.iter()? {
            let (key, record) = entry?;
            match serde_json::from_slice(record.value()) {
                Ok(record) => stored.revisions.insert(key.value().into(), record),
                Err(error) => return Ok(Some(format!("revision {}: {error}", key.value()))),
            };
        }
        let frozen = transaction.open_table(FROZEN)?;
        let events = transaction.open_table(EVENTS)?;
        for entry in transaction.open_table(EXECUTIONS)?.iter()? {
            let (serial, record) = entry?;
            let serial = serial.value();
            let record = match serde_json::from_slice(record.value()) {
                Ok(record) => record,
                Err(error) => return Ok(Some(format!("execution {serial}: {error}"))),
            };
            let mut own = Vec::new();
            for event in events.range((serial, 0)..=(serial, u32::MAX))? {
                own.push(event?.1.value().into());
            }
            stored.executions.push(StoredExecution {
                serial,
                record,
                events: own,
                frozen: frozen.get(serial)?.map(|blob| blob.value().to_vec()),
            });
        }
        Ok(None)
    };
    let found = attempt(&mut stored).map_err(|error| file.failed(&error))?;
    if let Some(what) = found {
        return Err(damaged(what));
    }
    drop_unused(file, &mut stored).map_err(|error| file.failed(&error))?;
    Ok(stored)
}

/// Drops the revisions that no execution refers to.
fn drop_unused(file: &File, stored: &mut Stored) -> Result<(), redb::Error> {
    let is_used = |key: &str| {
        let mut executions = stored.executions.iter();
        executions.any(|execution| *execution.record.revision == *key)
    };
    let unused: Vec<Box<str>> = stored
        .revisions
        .keys()
        .filter(|key| !is_used(key))
        .cloned()
        .collect();
    if unused.is_empty() {
        return Ok(());
    }
    let transaction = file.database.begin_write()?;
    {
        let mut revisions = transaction.open_table(REVISIONS)?;
        for key in unused {
            revisions.remove(&*key)?;
            stored.revisions.remove(&key);
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Logging;

    fn record(arn: &str, ended: Option<EndedRecord>) -> ExecutionRecord {
        ExecutionRecord {
            arn: arn.into(),
            name: "n".into(),
            input: "{ \"n\": 1.50 }".into(),
            trace_header: None,
            started_ms: 1,
            machine: "m".into(),
            machine_created_ms: 0,
            machine_arn: "m-arn".into(),
            version_arn: Some("v".into()),
            alias_arn: None,
            test_case: None,
            revision: "r1".into(),
            program: 7,
            ended,
        }
    }

    fn progress(serial: u64, first_event: u32, events: &[&str]) -> Progress {
        Progress {
            serial,
            record: None,
            revision: None,
            first_event,
            events: events.iter().map(|event| event.as_bytes().into()).collect(),
            frozen: Some(vec![1, 2, 3]),
        }
    }

    #[test]
    fn what_was_written_is_found() {
        let directory = std::env::temp_dir().join(format!("quickstep-exec-{}", std::process::id()));
        // What an earlier run has left behind.
        let _ = std::fs::remove_dir_all(&directory);
        let (store, stored) = ExecutionStore::open(&directory).unwrap();
        assert!(stored.executions.is_empty() && stored.revisions.is_empty());
        let revision = RevisionRecord {
            id: None,
            definition: "{}".into(),
            role_arn: "role".into(),
            logging: Logging::off(),
            tracing: false,
            updated_ms: 0,
        };
        for (serial, key) in [(1, "r1"), (2, "unused"), (3, "r1")] {
            let new = Progress {
                record: Some(record(&serial.to_string(), None)),
                revision: Some((key.into(), revision.clone())),
                ..progress(serial, 0, &["a", "b"])
            };
            store.write(new).unwrap();
        }
        store.write(progress(1, 2, &["c"])).unwrap();
        let ended = EndedRecord {
            status: "FAILED".into(),
            output: None,
            failed: true,
            error: Some("E".into()),
            cause: None,
            at_ms: 5,
        };
        let end = Progress {
            record: Some(record("3", Some(ended.clone()))),
            frozen: None,
            ..progress(3, 1, &["z"])
        };
        store.write(end).unwrap();
        store.remove(2);
        store.close();
        let refused = store.write(progress(1, 3, &["d"])).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("executions.redb cannot be used"),
            "{refused}"
        );
        let (store, stored) = ExecutionStore::open(&directory).unwrap();
        let keys: Vec<&str> = stored.revisions.keys().map(|key| &**key).collect();
        assert_eq!(keys, ["r1"]);
        let [first, third] = stored.executions.try_into().unwrap();
        let text = |events: &[Box<[u8]>]| events.concat();
        assert_eq!(
            (first.serial, &*text(&first.events)),
            (1, b"abc".as_slice())
        );
        assert_eq!(
            (first.record, first.frozen),
            (record("1", None), Some(vec![1, 2, 3]))
        );
        assert_eq!((third.serial, &*text(&third.events)), (3, b"az".as_slice()));
        assert_eq!(
            (third.record, third.frozen),
            (record("3", Some(ended)), None)
        );
        drop(store);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
