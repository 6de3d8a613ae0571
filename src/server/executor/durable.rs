//! STANDARD executions on disk: what is written of them, and how they go on after a restart.
//!
//! What an execution has done is written before it takes effect: before a task is handed out, before it waits, and before
//! its end is told. After a restart it goes on from what was written last. A task that was under way then is handed out
//! again, unless a client has it: its token stays good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;

use super::super::ids::Ids;
use super::Origin;
use super::deploy::{Deployed, MachineKey};
use super::live::{Ended, History, Live, LiveParts, Redrivable, Redriven, State};
use super::logs::Log;
use super::run::{Executor, group_of, qualifiers};
use crate::engine::{self, ErrorKind};
use crate::history::Failure;
use crate::interp::{Invocation, Status};
use crate::runtime::seat::{How, Resumption, UnderWay};
use crate::stdx::{FixedMap, Timestamp, narrow};
use crate::store::{
    Chunk, EndedRecord, ExecutionRecord, ExecutionStore, MachineKind, Progress, RedrivenRecord,
    Revision, RevisionRecord, Standing, StoreError, StoreErrorKind, Stored, StoredExecution,
};
use crate::task::lock;

/// A revision as executions on disk refer to it.
#[derive(Debug)]
pub(super) struct StoredRevision {
    key: Box<str>,
    /// Checksum of the program.
    pub(super) program: u32,
    is_written: AtomicBool,
}

impl StoredRevision {
    pub(super) fn new(ids: &Ids, deployed: &Deployed) -> StoredRevision {
        StoredRevision {
            key: ids.uuid().into(),
            program: checksum(deployed),
            is_written: AtomicBool::new(false),
        }
    }
}

impl StoredRevision {
    /// One that is on the disk.
    fn found(key: &str, program: u32) -> Arc<StoredRevision> {
        Arc::new(StoredRevision {
            key: key.into(),
            program,
            is_written: AtomicBool::new(true),
        })
    }
}

/// What tells one program from another.
pub(super) fn checksum(deployed: &Deployed) -> u32 {
    crc32fast::hash(deployed.bound.program.to_string().as_bytes())
}

/// Where an execution stands when it is written.
pub(super) enum Stand<'a> {
    /// It goes on from there.
    Running(Vec<u8>),
    Ended(&'a Ended),
}

/// Where an execution is kept.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) store: Arc<ExecutionStore>,
    pub(super) revision: Arc<StoredRevision>,
}

impl Keeping {
    /// What is new of an execution, which is given to the store.
    pub(super) fn progress(&self, live: &Live, state: &mut State, stand: Stand<'_>) -> Progress {
        let is_new = !state.is_given;
        let has_revision = self.revision.is_written.load(Ordering::Acquire);
        let first = state.given_events;
        let ended = match &stand {
            Stand::Running(_) => None,
            Stand::Ended(ended) => Some((*ended, state.history.events().len())),
        };
        let redriven_from = state.redriven_from.take();
        let redrivable = match std::mem::replace(&mut state.redrivable, Redrivable::Nothing) {
            Redrivable::Blob(blob) => {
                state.redrivable = Redrivable::Stored;
                Some(blob)
            }
            Redrivable::Nothing | Redrivable::Stored => None,
        };
        let record = (is_new || ended.is_some() || redriven_from.is_some())
            .then(|| self.record(live, state, ended));
        let events = Chunk::of(&state.history.events()[first..]);
        state.is_given = true;
        state.given_events = state.history.events().len();
        Progress {
            serial: live.serial,
            machine: live.origin.machine.clone(),
            record: record.map(|record| record.to_json()),
            name: is_new.then(|| live.arn.clone()),
            replaces: state.replaces.take(),
            redriven_from: redriven_from.map(Timestamp::millis),
            revision: (!has_revision).then(|| {
                let record = live.origin.revision.record.clone();
                (self.revision.key.clone(), record)
            }),
            first_event: narrow(first),
            events,
            standing: match stand {
                Stand::Running(frozen) => Standing::Running(frozen),
                Stand::Ended(ended) => Standing::Ended {
                    at_ms: ended.at.millis(),
                    arn: live.arn.clone(),
                    was_running: !is_new,
                    redrivable,
                },
            },
        }
    }

    /// What was given is on the disk, with the revision.
    pub(super) fn is_written(&self) {
        self.revision.is_written.store(true, Ordering::Release);
    }

    fn record(
        &self,
        live: &Live,
        state: &State,
        ended: Option<(&Ended, usize)>,
    ) -> ExecutionRecord {
        let origin = &live.origin;
        ExecutionRecord {
            arn: live.arn.clone(),
            name: live.name.clone(),
            input: live.input.clone(),
            trace_header: live.trace_header.clone(),
            started_ms: live.started.millis(),
            machine: origin.machine.clone(),
            machine_created_ms: origin.machine_created_ms,
            machine_arn: origin.machine_arn.clone(),
            version_arn: origin.version_arn.clone(),
            alias_arn: origin.alias_arn.clone(),
            test_case: origin.test_case.clone(),
            revision: self.revision.key.clone(),
            program: self.revision.program,
            redriven: state.redriven.as_ref().map(|redriven| RedrivenRecord {
                count: redriven.count,
                at_ms: redriven.at.millis(),
                client_token: redriven.client_token.clone(),
            }),
            ended: ended.map(|(ended, events)| EndedRecord {
                events: narrow(events),
                redrivable: matches!(state.redrivable, Redrivable::Stored),
                status: ended.status.as_str().into(),
                output: ended.output.clone(),
                failed: ended.failure.is_some(),
                error: ended.failure.as_ref().and_then(|f| f.error.clone()),
                cause: ended.failure.as_ref().and_then(|f| f.cause.clone()),
                at_ms: ended.at.millis(),
            }),
        }
    }
}

/// Revisions of executions on the disk that are kept in memory.
const REVISIONS_MAX: usize = 256;

fn no_revision(record: &ExecutionRecord) -> StoreError {
    let message = format!(
        "the execution {} refers to a revision that is not there: {}",
        record.arn, record.revision
    );
    StoreError::new(StoreErrorKind::Damaged, message)
}

fn cannot_go_on(arn: &str, why: &str) -> StoreError {
    let message = format!(
        "the execution {arn}, which has not ended, cannot go on: {why}. Nothing was changed: start the server as it was \
         started before"
    );
    StoreError::new(StoreErrorKind::Unfit, message)
}

/// An execution that is about to go on.
struct Again {
    parts: LiveParts,
    deployed: Arc<Deployed>,
    frozen: Vec<u8>,
    taken: TakenTasks,
}

/// Where an execution on the disk came from; taken out of its record.
fn origin_of(record: ExecutionRecord, revision: Arc<Revision>) -> (ExecutionRecord, Origin) {
    let origin = Origin {
        machine: record.machine.clone(),
        machine_created_ms: record.machine_created_ms,
        kind: MachineKind::Standard,
        revision,
        machine_arn: record.machine_arn.clone(),
        version_arn: record.version_arn.clone(),
        alias_arn: record.alias_arn.clone(),
        test_case: record.test_case.clone(),
    };
    (record, origin)
}

fn parts_of(
    serial: u64,
    record: ExecutionRecord,
    origin: Origin,
    log: Option<Log>,
    keeping: Keeping,
    state: State,
) -> LiveParts {
    LiveParts {
        serial,
        arn: record.arn,
        name: record.name,
        input: record.input,
        trace_header: record.trace_header,
        started: Timestamp::from_millis(record.started_ms),
        origin,
        log,
        keeping: Some(keeping),
        state,
    }
}

fn redriven_of(record: RedrivenRecord) -> Redriven {
    Redriven {
        count: record.count,
        at: Timestamp::from_millis(record.at_ms),
        client_token: record.client_token,
    }
}

fn ended_of(record: EndedRecord) -> Option<Ended> {
    let statuses = [
        Status::Succeeded,
        Status::Failed,
        Status::TimedOut,
        Status::Aborted,
    ];
    let status = statuses
        .into_iter()
        .find(|s| s.as_str() == &*record.status)?;
    Some(Ended {
        status,
        output: record.output,
        failure: record.failed.then_some(Failure {
            error: record.error,
            cause: record.cause,
        }),
        at: Timestamp::from_millis(record.at_ms),
    })
}

/// The ids of the events after which somebody has the task that they belong to, and what that service said then.
type TakenTasks = FixedMap<u64, Option<String>>;

fn taken_tasks(events: &[Box<[u8]>]) -> TakenTasks {
    #[derive(Deserialize)]
    struct Event<'a> {
        id: u64,
        #[serde(rename = "type")]
        event_type: &'a str,
        #[serde(rename = "taskSubmittedEventDetails", default)]
        submitted: Option<Submitted>,
    }
    #[derive(Deserialize)]
    struct Submitted {
        output: String,
    }
    let events = events.iter();
    let events = events.filter_map(|event| serde_json::from_slice::<Event<'_>>(event).ok());
    let taken = events.filter(|e| ["ActivityStarted", "TaskSubmitted"].contains(&e.event_type));
    taken
        .map(|event| (event.id, event.submitted.map(|details| details.output)))
        .collect()
}

impl Executor {
    /// Makes the executions that were found known again, and lets those go on that have not ended.
    pub(crate) fn restore(&self, stored: Stored) -> Result<(), StoreError> {
        let Some(store) = self.store() else {
            return Ok(());
        };
        let mut revisions: BTreeMap<Box<str>, Arc<Revision>> = BTreeMap::new();
        let records: BTreeMap<Box<str>, RevisionRecord> = stored.revisions;
        for (key, record) in records {
            revisions.insert(key, Revision::new(record));
        }
        self.count_on_from(stored.last_serial);
        let mut known: BTreeMap<(Box<str>, u32), Arc<StoredRevision>> = BTreeMap::new();
        // All are looked at before any goes on: if one cannot, the file is left as it is.
        let mut ready = Vec::with_capacity(stored.running.len());
        for execution in stored.running {
            let key = &execution.record.revision;
            let Some(revision) = revisions.get(key).map(Arc::clone) else {
                return Err(no_revision(&execution.record));
            };
            let program = execution.record.program;
            let stored_revision = known
                .entry((key.clone(), program))
                .or_insert_with(|| StoredRevision::found(key, program));
            let keeping = Keeping {
                store: Arc::clone(store),
                revision: Arc::clone(stored_revision),
            };
            ready.push(self.ready_again(execution, revision, keeping)?);
        }
        for again in ready {
            self.restore_one(again)?;
        }
        Ok(())
    }

    /// An execution that has ended and is on the disk, to be looked at.
    pub(super) fn of_disk(
        &self,
        serial: u64,
        record: ExecutionRecord,
    ) -> Result<Option<Arc<Live>>, StoreError> {
        let Some(store) = self.store() else {
            return Ok(None);
        };
        let revision = self.revision_of(store, &record)?;
        let keeping = Keeping {
            store: Arc::clone(store),
            revision: StoredRevision::found(&record.revision, record.program),
        };
        let (mut record, origin) = origin_of(record, revision);
        let mut state = State::restored(History::new(qualifiers(&origin)), None);
        if let Some(ended) = record.ended.take() {
            state.given_events = ended.events as usize;
            if ended.redrivable {
                state.redrivable = Redrivable::Stored;
            }
            state.ended = ended_of(ended);
        }
        state.redriven = record.redriven.take().map(redriven_of);
        let parts = parts_of(serial, record, origin, None, keeping, state);
        Ok(Some(self.make_live(parts)))
    }

    /// The revision that an execution on the disk refers to.
    fn revision_of(
        &self,
        store: &ExecutionStore,
        record: &ExecutionRecord,
    ) -> Result<Arc<Revision>, StoreError> {
        let key = &record.revision;
        if let Some(known) = lock(self.revisions()).get(key) {
            return Ok(Arc::clone(known));
        }
        let Some(found) = store.revision(key)? else {
            return Err(no_revision(record));
        };
        let revision = Revision::new(found);
        let mut revisions = lock(self.revisions());
        if revisions.len() >= REVISIONS_MAX {
            revisions.clear();
        }
        revisions.insert(key.clone(), Arc::clone(&revision));
        Ok(revision)
    }

    /// Makes an execution's machine ready. An error says why it cannot go on as things are: with other settings, or the
    /// version that it was started with, it can.
    fn ready_again(
        &self,
        stored: StoredExecution,
        revision: Arc<Revision>,
        keeping: Keeping,
    ) -> Result<Again, StoreError> {
        let (record, origin) = origin_of(stored.record, revision);
        let deployed = self.deploy(MachineKey {
            name: &origin.machine,
            kind: origin.kind,
            revision: &origin.revision,
            test_case: origin.test_case.as_deref(),
        });
        let deployed = deployed.map_err(|error| cannot_go_on(&record.arn, &error.message))?;
        if checksum(&deployed) != keeping.revision.program {
            let why = "it was started by another version of quickstep; let that version end it";
            return Err(cannot_go_on(&record.arn, why));
        }
        let taken = taken_tasks(&stored.events);
        let history = History::restored(qualifiers(&origin), stored.events);
        let mut state = State::restored(history, None);
        state.redriven = record.redriven.clone().map(redriven_of);
        let log = deployed.log.clone();
        Ok(Again {
            parts: parts_of(stored.serial, record, origin, log, keeping, state),
            deployed,
            frozen: stored.frozen,
            taken,
        })
    }

    fn restore_one(&self, again: Again) -> Result<(), StoreError> {
        let live = self.restored(again.parts);
        let resumed = self.resume(&live, &again.deployed, &again.frozen, &again.taken);
        match resumed {
            Ok(()) => {}
            // There is nothing that it could go on from.
            Err(error) if error.kind() == ErrorKind::Read => {
                let cause =
                    format!("The execution could not go on after a restart of the server: {error}");
                live.fail(self.now(), Failure::new("States.Runtime", cause));
            }
            Err(error) => return Err(cannot_go_on(&live.arn, &error.to_string())),
        }
        Ok(())
    }

    fn resume(
        &self,
        live: &Arc<Live>,
        deployed: &Deployed,
        blob: &[u8],
        taken: &TakenTasks,
    ) -> Result<(), engine::Error> {
        let group = group_of(live, deployed, Invocation::Asynchronous);
        self.resume_on_engine(&Resumption {
            group: &group,
            blob,
            input_bytes: live.input.len() as u64,
            how: How::Resumed(UnderWay {
                is_taken: &|event| taken.contains_key(&event),
                submitted: &|event| taken.get(&event)?.clone().map(String::into_bytes),
            }),
        })
    }
}
