//! [`ExecutionStore`]: STANDARD executions on disk, so that they outlive the process.
//!
//! 1. Before what an execution does takes effect outside of it, its [`Progress`] is written: new events, and the execution as
//!    it stands, in one transaction. Whoever runs it waits for that, or is told of it.
//! 2. One thread writes ([`writer`](super::writer)). What came while it synced goes into the next transaction together.
//! 3. What has not ended is read at the start. What has ended stays on disk, and is read when somebody asks for it: memory
//!    does not depend on how many executions there were.
//! 4. Those that ended long enough ago are removed.
//!
//! After an error of the disk nothing is written any more: the file is as it was at the last success.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use redb::{AccessGuard, Database, ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};

use super::error::{StoreError, StoreErrorKind};
use super::pack::{pack, unpack};
use super::persist::{File, FileKind, count_commit, refusal};
use super::record::RevisionRecord;
use super::tables::{self, EVENTS, EXECUTIONS, FROZEN, NAMES, REDRIVABLE, REVISIONS};
use super::writer::{Change, Told, write_all};
use crate::stdx::{FixedSet, narrow};
use crate::task::lock;
use crate::value::{Damaged, Reader, put_bytes};

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
    /// The last time that it was redriven, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redriven: Option<RedrivenRecord>,
}

impl ExecutionRecord {
    /// The form in which it is written.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(json) => json,
            Err(error) => unreachable!("texts and numbers can be written: {error}"),
        }
    }
}

/// A redrive of an execution.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RedrivenRecord {
    /// How often it has been redriven by then.
    pub(crate) count: u32,
    pub(crate) at_ms: i64,
    pub(crate) client_token: Option<Box<str>>,
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
    /// How many events it has.
    pub(crate) events: u32,
    /// Whether there is something that it can be redriven from.
    pub(crate) redrivable: bool,
}

/// What an execution has done since it was last written.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) serial: u64,
    pub(crate) machine: Box<str>,
    /// The execution, if it is new, has ended or was redriven.
    pub(crate) record: Option<Vec<u8>>,
    /// Its ARN, if it is new.
    pub(crate) name: Option<Box<str>>,
    /// The execution of a machine that is gone whose name it takes.
    pub(crate) replaces: Option<(u64, Box<str>)>,
    /// If it was redriven since, when it had ended.
    pub(crate) redriven_from: Option<i64>,
    /// The revision that it runs, if that may not be there.
    pub(crate) revision: Option<(Box<str>, RevisionRecord)>,
    /// Number of the first of the events.
    pub(crate) first_event: u32,
    pub(crate) events: Chunk,
    pub(crate) standing: Standing,
}

/// Where an execution stands.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It goes on from here.
    Running(Vec<u8>),
    /// It has ended at that time.
    Ended {
        at_ms: i64,
        arn: Box<str>,
        /// Whether it was written before.
        was_running: bool,
        /// What it can be redriven from.
        redrivable: Option<Vec<u8>>,
    },
}

/// Events that are written together, as one value: each after its length, and all of them packed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Chunk(pub(super) Vec<u8>);

impl Chunk {
    pub(crate) fn of(events: &[Box<[u8]>]) -> Chunk {
        let bytes: usize = events.iter().map(|event| event.len() + 4).sum();
        let mut chunk = Vec::with_capacity(bytes);
        for event in events {
            put_bytes(&mut chunk, event);
        }
        match chunk.is_empty() {
            true => Chunk(chunk),
            false => Chunk(pack(&chunk)),
        }
    }

    fn read(bytes: &[u8], events: &mut Vec<Box<[u8]>>) -> Result<(), Damaged> {
        let unpacked = unpack(bytes)?;
        let mut reader = Reader::new(&unpacked);
        while !reader.rest().is_empty() {
            events.push(reader.bytes()?.into());
        }
        Ok(())
    }
}

/// An execution as it was found.
#[derive(Debug)]
pub(crate) struct StoredExecution {
    pub(crate) serial: u64,
    pub(crate) record: ExecutionRecord,
    pub(crate) events: Vec<Box<[u8]>>,
    pub(crate) frozen: Vec<u8>,
}

/// What was found at the start.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Those that have not ended.
    pub(crate) running: Vec<StoredExecution>,
    pub(crate) revisions: BTreeMap<Box<str>, RevisionRecord>,
    /// The next execution's serial number is larger.
    pub(crate) last_serial: u64,
}

/// Name of the file in the data directory.
const FILE_NAME: &str = "executions.redb";

/// Bytes of the file that are kept in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Keeps executions.
#[derive(Debug)]
pub(crate) struct ExecutionStore {
    database: Mutex<Option<Arc<Database>>>,
    /// Gone once the store is closed.
    changes: Mutex<Option<Sender<Change>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    path: Box<str>,
}

impl ExecutionStore {
    /// Opens the file in `directory`, or makes it, and reads what has not ended.
    pub(crate) fn open(directory: &Path) -> Result<(Arc<ExecutionStore>, Stored), StoreError> {
        let kind = FileKind {
            name: FILE_NAME,
            format: tables::FORMAT_VERSION,
            cache_bytes: CACHE_BYTES,
            make_tables: tables::make,
        };
        let file = File::open(directory, &kind)?;
        let stored = load(&file)?;
        let path: Box<str> = file.path.as_str().into();
        let (sender, receiver) = channel();
        let database = Arc::new(file.database);
        let (written, written_path) = (Arc::clone(&database), path.clone());
        let thread = std::thread::Builder::new()
            .name("quickstep-store".to_owned())
            .spawn(move || write_all(&written, &written_path, &receiver))
            .map_err(|error| {
                let message = format!("failed to start a thread: {error}");
                StoreError::new(StoreErrorKind::Io, message)
            })?;
        let store = ExecutionStore {
            database: Mutex::new(Some(database)),
            changes: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            path,
        };
        Ok((Arc::new(store), stored))
    }

    /// Writes what an execution has done; it is durable when this returns.
    pub(crate) fn write(&self, progress: Progress) -> Result<(), StoreError> {
        let (sender, receiver) = channel();
        let told = move |result| {
            // Whoever asked waits for it.
            let _ = sender.send(result);
        };
        self.write_later(progress, Box::new(told))?;
        receiver.recv().unwrap_or_else(|_| Err(self.closed()))
    }

    /// Has what an execution has done written: `told` is told, on the thread that writes, once it is durable, or that it is
    /// not. What is given later is written later. After an error nobody is told.
    pub(crate) fn write_later(&self, progress: Progress, told: Told) -> Result<(), StoreError> {
        let change = Change::Write(Box::new(progress), told);
        match lock(&self.changes).as_ref() {
            // The thread ends before this only if it has panicked.
            Some(changes) => changes.send(change).map_err(|_| self.closed()),
            None => Err(self.closed()),
        }
    }

    /// Removes the executions that ended before a time, little by little.
    pub(crate) fn remove_before(&self, time_ms: i64) {
        if let Some(changes) = lock(&self.changes).as_ref() {
            // If the thread has panicked, who writes is told so.
            let _ = changes.send(Change::RemoveBefore(time_ms));
        }
    }

    fn closed(&self) -> StoreError {
        let kind = StoreErrorKind::Io;
        StoreError::new(kind, refusal(&self.path, kind, "it is closed"))
    }

    /// The execution that has an ARN.
    pub(crate) fn find(&self, arn: &str) -> Result<Option<(u64, ExecutionRecord)>, StoreError> {
        self.read(|transaction| {
            let names = transaction.open_table(NAMES)?;
            let Some(found) = names.get(arn)? else {
                return Ok(None);
            };
            let (serial, machine) = found.value();
            let executions = transaction.open_table(EXECUTIONS)?;
            let record = executions.get((machine, serial))?;
            let record = record.map(|record| tables::parsed(serial, record.value()));
            Ok(record.transpose()?.map(|record| (serial, record)))
        })
    }

    /// The next executions of a machine that were started before the one with that serial number, the latest first.
    pub(crate) fn of_machine(
        &self,
        machine: &str,
        before: u64,
        count_max: usize,
    ) -> Result<Vec<(u64, ExecutionRecord)>, StoreError> {
        self.read(|transaction| {
            let executions = transaction.open_table(EXECUTIONS)?;
            let mut found = Vec::new();
            for entry in executions.range((machine, 0)..(machine, before))?.rev() {
                if found.len() == count_max {
                    break;
                }
                let (key, record) = entry?;
                let serial = key.value().1;
                found.push((serial, tables::parsed(serial, record.value())?));
            }
            Ok(found)
        })
    }

    /// The events of an execution.
    pub(crate) fn events(&self, serial: u64) -> Result<Vec<Box<[u8]>>, StoreError> {
        self.read(|transaction| events(&transaction.open_table(EVENTS)?, serial))
    }

    /// Some of the events of an execution, from the chunk on that holds the first of them.
    pub(crate) fn events_in(
        &self,
        serial: u64,
        wanted: Range<usize>,
    ) -> Result<Vec<Box<[u8]>>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(EVENTS)?;
            let at = |number: usize| (serial, narrow(number));
            let mut before = table.range((serial, 0)..=at(wanted.start))?;
            let begin = before.next_back().transpose()?;
            let begin = begin.map_or(0, |(key, _)| key.value().1 as usize);
            let mut found = Vec::new();
            for chunk in table.range(at(begin)..at(wanted.end.max(begin)))? {
                add_chunk(serial, begin, chunk?, &mut found)?;
            }
            found.truncate(wanted.end.saturating_sub(begin));
            found.drain(..found.len().min(wanted.start - begin));
            Ok(found)
        })
    }

    /// What an execution can be redriven from.
    pub(crate) fn redrivable(&self, serial: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(REDRIVABLE)?;
            let found = table.get(serial)?.map(|blob| blob.value().to_vec());
            Ok(found)
        })
    }

    /// A revision that executions refer to.
    pub(crate) fn revision(&self, key: &str) -> Result<Option<RevisionRecord>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(REVISIONS)?;
            let found = table.get(key)?;
            let record = found.map(|record| tables::parsed(key, record.value()));
            record.transpose()
        })
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let Some(database) = lock(&self.database).clone() else {
            return Err(self.closed());
        };
        let attempt = || look(&database.begin_read()?);
        attempt().map_err(|error| tables::failed(&self.path, &error))
    }

    /// Writes what was given, and lets go of the file.
    pub(crate) fn close(&self) {
        lock(&self.changes).take();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic has been reported.
            let _ = thread.join();
        }
        lock(&self.database).take();
    }
}

impl Drop for ExecutionStore {
    fn drop(&mut self) {
        self.close();
    }
}

fn events(
    table: &impl ReadableTable<(u64, u32), &'static [u8]>,
    serial: u64,
) -> Result<Vec<Box<[u8]>>, redb::Error> {
    let mut events = Vec::new();
    for chunk in table.range((serial, 0)..=(serial, u32::MAX))? {
        add_chunk(serial, 0, chunk?, &mut events)?;
    }
    Ok(events)
}

/// Reads a chunk behind the events that were read before, the first of which has the number `begin`.
fn add_chunk(
    serial: u64,
    begin: usize,
    (key, chunk): (AccessGuard<'_, (u64, u32)>, AccessGuard<'_, &'static [u8]>),
    events: &mut Vec<Box<[u8]>>,
) -> Result<(), redb::Error> {
    let first = key.value().1 as usize;
    if first > begin + events.len() {
        return Err(tables::damaged(format!(
            "execution {serial}: events before number {first} are missing"
        )));
    }
    // The last events of a history that became too long are replaced.
    events.truncate(first - begin);
    Chunk::read(chunk.value(), events)
        .map_err(|error| tables::damaged(format!("execution {serial}: {error}")))
}

/// What a record says of the revision that it needs, and no more.
#[derive(Deserialize)]
struct NeedOfRecord<'a> {
    #[serde(borrow)]
    revision: std::borrow::Cow<'a, str>,
}

fn load(file: &File) -> Result<Stored, StoreError> {
    let attempt = || -> Result<(Stored, FixedSet<Box<str>>), redb::Error> {
        let mut stored = Stored::default();
        let mut needed = FixedSet::default();
        let transaction = file.database.begin_read()?;
        for entry in transaction.open_table(REVISIONS)?.iter()? {
            let (key, record) = entry?;
            let record = tables::parsed(key.value(), record.value())?;
            stored.revisions.insert(key.value().into(), record);
        }
        let executions = transaction.open_table(EXECUTIONS)?;
        for entry in executions.iter()? {
            let (key, record) = entry?;
            let serial = key.value().1;
            stored.last_serial = stored.last_serial.max(serial);
            let need: NeedOfRecord<'_> = tables::parsed(serial, record.value())?;
            if !needed.contains(&*need.revision) {
                needed.insert(need.revision.into());
            }
        }
        let all_events = transaction.open_table(EVENTS)?;
        for entry in transaction.open_table(FROZEN)?.iter()? {
            let (key, frozen) = entry?;
            let (machine, serial) = key.value();
            let Some(record) = executions.get((machine, serial))? else {
                return Err(tables::damaged(format!("execution {serial} is not there")));
            };
            stored.running.push(StoredExecution {
                serial,
                record: tables::parsed(serial, record.value())?,
                events: events(&all_events, serial)?,
                frozen: frozen.value().to_vec(),
            });
        }
        // In the order of their starts.
        stored.running.sort_by_key(|execution| execution.serial);
        Ok((stored, needed))
    };
    let (mut stored, needed) = attempt().map_err(|error| file.failed(&error))?;
    drop_unused(file, &mut stored, &needed).map_err(|error| file.failed(&error))?;
    Ok(stored)
}

/// Drops the revisions that no execution refers to.
fn drop_unused(
    file: &File,
    stored: &mut Stored,
    needed: &FixedSet<Box<str>>,
) -> Result<(), redb::Error> {
    let keys = stored.revisions.keys();
    let unused: Vec<Box<str>> = keys.filter(|key| !needed.contains(*key)).cloned().collect();
    if unused.is_empty() {
        return Ok(());
    }
    let transaction = file.database.begin_write()?;
    count_commit(&transaction)?;
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

    fn record(serial: u64, ended: Option<EndedRecord>) -> ExecutionRecord {
        ExecutionRecord {
            arn: format!("arn-{serial}").into(),
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
            redriven: None,
        }
    }

    fn ended(at_ms: i64) -> EndedRecord {
        EndedRecord {
            status: "FAILED".into(),
            output: None,
            failed: true,
            error: Some("E".into()),
            cause: None,
            at_ms,
            events: 2,
            redrivable: true,
        }
    }

    fn progress(serial: u64, first_event: u32, events: &[&str]) -> Progress {
        let events: Vec<Box<[u8]>> = events.iter().map(|event| event.as_bytes().into()).collect();
        Progress {
            serial,
            machine: "m".into(),
            record: None,
            name: None,
            replaces: None,
            redriven_from: None,
            revision: None,
            first_event,
            events: Chunk::of(&events),
            standing: Standing::Running(vec![1, 2, 3]),
        }
    }

    fn new(serial: u64, revision: &str) -> Progress {
        let revision_record = RevisionRecord {
            id: None,
            definition: "{}".into(),
            role_arn: "role".into(),
            logging: Logging::off(),
            tracing: false,
            updated_ms: 0,
        };
        Progress {
            record: Some(record(serial, None).to_json()),
            name: Some(record(serial, None).arn),
            revision: Some((revision.into(), revision_record)),
            ..progress(serial, 0, &["a", "b"])
        }
    }

    fn end(serial: u64, at_ms: i64, was_running: bool) -> Progress {
        let record = record(serial, Some(ended(at_ms)));
        Progress {
            record: Some(record.to_json()),
            standing: Standing::Ended {
                at_ms,
                arn: record.arn,
                was_running,
                redrivable: Some(vec![serial as u8]),
            },
            ..progress(serial, 1, &["z"])
        }
    }

    struct Directory(std::path::PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let name = format!("quickstep-exec-{name}-{}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            // What an earlier run has left behind.
            let _ = std::fs::remove_dir_all(&directory);
            Directory(directory)
        }

        fn open(&self) -> (Arc<ExecutionStore>, Stored) {
            ExecutionStore::open(&self.0).unwrap()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_written_is_found() {
        let directory = Directory::new("found");
        let (store, stored) = directory.open();
        assert!(stored.running.is_empty() && stored.revisions.is_empty());
        assert_eq!(stored.last_serial, 0);
        for (serial, revision) in [(1, "r1"), (2, "unused"), (3, "r1")] {
            store.write(new(serial, revision)).unwrap();
        }
        store.write(progress(1, 2, &["c"])).unwrap();
        store.write(end(3, 5, true)).unwrap();
        store.close();
        let refused = store.write(progress(1, 3, &["d"])).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("executions.redb cannot be used"), "{text}");
        let (store, stored) = directory.open();
        assert_eq!(stored.last_serial, 3);
        let keys: Vec<&str> = stored.revisions.keys().map(|key| &**key).collect();
        assert_eq!(keys, ["r1"]);
        let [first, second] = stored.running.try_into().unwrap();
        assert_eq!((first.serial, second.serial), (1, 2));
        assert_eq!(first.events.concat(), b"abc");
        assert_eq!(
            (first.record, first.frozen),
            (record(1, None), vec![1, 2, 3])
        );
        // What has ended is found by its name and in lists.
        let third = record(3, Some(ended(5)));
        assert_eq!(store.find("arn-3").unwrap(), Some((3, third.clone())));
        assert_eq!(store.find("arn-4").unwrap(), None);
        // The second of its events was written again.
        assert_eq!(store.events(3).unwrap().concat(), b"az");
        let part = |serial, wanted| store.events_in(serial, wanted).unwrap().concat();
        assert_eq!(
            (part(3, 0..1), part(3, 0..9)),
            (b"a".to_vec(), b"az".to_vec())
        );
        assert_eq!((part(3, 1..2), part(3, 1..1)), (b"z".to_vec(), Vec::new()));
        // Of the first there are two chunks.
        assert_eq!(
            (part(1, 0..2), part(1, 1..3)),
            (b"ab".to_vec(), b"bc".to_vec())
        );
        assert_eq!((part(1, 2..3), part(1, 3..9)), (b"c".to_vec(), Vec::new()));
        assert_eq!((part(1, 7..9), part(9, 0..9)), (Vec::new(), Vec::new()));
        assert_eq!(store.redrivable(3).unwrap(), Some(vec![3]));
        assert_eq!(store.redrivable(1).unwrap(), None);
        let serials = |before, count_max| {
            let found = store.of_machine("m", before, count_max).unwrap();
            found.into_iter().map(|it| it.0).collect::<Vec<_>>()
        };
        assert_eq!(serials(u64::MAX, 2), [3, 2]);
        assert_eq!(serials(2, 2), [1]);
        assert!(serials(1, 2).is_empty());
        assert!(store.of_machine("l", u64::MAX, 2).unwrap().is_empty());
        assert!(store.revision("r1").unwrap().is_some());
        assert!(store.revision("unused").unwrap().is_none());
    }

    #[test]
    fn what_is_old_is_removed_and_names_pass_on() {
        let directory = Directory::new("old");
        let (store, _) = directory.open();
        for serial in 1..=REMOVED_TWICE {
            let at = i64::try_from(serial).unwrap();
            let both = Progress {
                name: new(serial, "r1").name,
                revision: new(serial, "r1").revision,
                ..end(serial, at, false)
            };
            store
                .write(Progress {
                    first_event: 0,
                    ..both
                })
                .unwrap();
        }
        // The name of the first goes to another.
        store
            .write(Progress {
                name: Some("arn-1".into()),
                replaces: Some((1, "m".into())),
                ..new(REMOVED_TWICE + 1, "r1")
            })
            .unwrap();
        assert!(store.events(1).unwrap().is_empty());
        let last = REMOVED_TWICE;
        store.remove_before(i64::try_from(last).unwrap());
        // Changes are made in order, and removals in several transactions.
        while store.find("arn-500").unwrap().is_some() {
            store.write(progress(REMOVED_TWICE + 1, 2, &["c"])).unwrap();
        }
        let left = store.of_machine("m", u64::MAX, 1_000).unwrap();
        let left: Vec<u64> = left.into_iter().map(|it| it.0).collect();
        assert_eq!(left, [last + 1, last]);
        assert!(store.events(2).unwrap().is_empty() && store.redrivable(2).unwrap().is_none());
        assert_eq!(store.find("arn-1").unwrap().unwrap().0, last + 1);
    }

    /// More than two transactions remove.
    const REMOVED_TWICE: u64 = 501;
}
