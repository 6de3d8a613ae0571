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
use super::live::{Ended, History, Live, LiveParts, State};
use super::run::{Executor, group_of, qualifiers};
use crate::history::Failure;
use crate::interp::{Invocation, Status};
use crate::runtime::seat::Resumption;
use crate::stdx::{FixedMap, Timestamp, narrow};
use crate::store::{
    EndedRecord, ExecutionRecord, ExecutionStore, MachineKind, Progress, Revision, RevisionRecord,
    StoreError, StoreErrorKind, Stored, StoredExecution,
};

/// A revision as executions on disk refer to it.
#[derive(Debug)]
pub(super) struct StoredRevision {
    key: Box<str>,
    /// Checksum of the program.
    program: u32,
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

/// What tells one program from another.
fn checksum(deployed: &Deployed) -> u32 {
    crc32fast::hash(deployed.bound.program.to_string().as_bytes())
}

/// Where an execution is kept.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) store: Arc<ExecutionStore>,
    pub(super) revision: Arc<StoredRevision>,
}

impl Keeping {
    /// Writes what is new of an execution: with its end, or with the execution as it stands.
    pub(super) fn write(
        &self,
        live: &Live,
        state: &mut State,
        ended: Option<&Ended>,
        frozen: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let is_new = !state.is_kept;
        let revision = !self.revision.is_written.load(Ordering::Acquire);
        let first = state.kept_events;
        self.store.write(Progress {
            serial: live.serial,
            record: (is_new || ended.is_some()).then(|| self.record(live, ended)),
            revision: revision.then(|| {
                let record = live.origin.revision.record.clone();
                (self.revision.key.clone(), record)
            }),
            first_event: narrow(first),
            events: state.history.events()[first..].to_vec(),
            frozen,
        })?;
        self.revision.is_written.store(true, Ordering::Release);
        state.is_kept = true;
        state.kept_events = state.history.events().len();
        Ok(())
    }

    fn record(&self, live: &Live, ended: Option<&Ended>) -> ExecutionRecord {
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
            ended: ended.map(|ended| EndedRecord {
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
        let mut known: BTreeMap<(Box<str>, u32), Arc<StoredRevision>> = BTreeMap::new();
        for execution in stored.executions {
            let key = &execution.record.revision;
            let Some(revision) = revisions.get(key).map(Arc::clone) else {
                let message = format!(
                    "the execution {} refers to a revision that is not there: {key}",
                    execution.record.arn
                );
                return Err(StoreError::new(StoreErrorKind::Damaged, message));
            };
            let program = execution.record.program;
            let stored_revision = known.entry((key.clone(), program)).or_insert_with(|| {
                Arc::new(StoredRevision {
                    key: key.clone(),
                    program,
                    is_written: AtomicBool::new(true),
                })
            });
            let keeping = Keeping {
                store: Arc::clone(store),
                revision: Arc::clone(stored_revision),
            };
            self.restore_one(execution, revision, keeping);
        }
        Ok(())
    }

    fn restore_one(&self, stored: StoredExecution, revision: Arc<Revision>, keeping: Keeping) {
        let record = stored.record;
        let origin = Origin {
            machine: record.machine,
            machine_created_ms: record.machine_created_ms,
            kind: MachineKind::Standard,
            revision,
            machine_arn: record.machine_arn,
            version_arn: record.version_arn,
            alias_arn: record.alias_arn,
            test_case: record.test_case,
        };
        let deployed = match record.ended {
            Some(_) => None,
            None => Some(self.deploy(MachineKey {
                name: &origin.machine,
                kind: origin.kind,
                revision: &origin.revision,
                test_case: origin.test_case.as_deref(),
            })),
        };
        let log = match &deployed {
            Some(Ok(deployed)) => deployed.log.clone(),
            Some(Err(_)) | None => None,
        };
        let program = keeping.revision.program;
        let taken = taken_tasks(&stored.events);
        let state = State::restored(
            History::restored(qualifiers(&origin), stored.events),
            record.ended.and_then(ended_of),
        );
        let live = self.restored(LiveParts {
            serial: stored.serial,
            arn: record.arn,
            name: record.name,
            input: record.input,
            trace_header: record.trace_header,
            started: Timestamp::from_millis(record.started_ms),
            origin,
            log,
            keeping: Some(keeping),
            state,
        });
        let Some(deployed) = deployed else {
            return;
        };
        let gone_wrong = match (deployed, stored.frozen) {
            (Err(error), _) => Some(error.message),
            (_, None) => Some("it is not there".to_owned()),
            (Ok(deployed), Some(_)) if checksum(&deployed) != program => {
                Some("it is of another version of quickstep".to_owned())
            }
            (Ok(deployed), Some(blob)) => self.resume(&live, &deployed, &blob, &taken).err(),
        };
        if let Some(why) = gone_wrong {
            let cause =
                format!("The execution could not go on after a restart of the server: {why}");
            live.fail(self.now(), Failure::new("States.Runtime", cause));
        }
    }

    fn resume(
        &self,
        live: &Arc<Live>,
        deployed: &Deployed,
        blob: &[u8],
        taken: &TakenTasks,
    ) -> Result<(), String> {
        let group = group_of(live, deployed, Invocation::Asynchronous);
        self.resume_on_engine(&Resumption {
            group: &group,
            blob,
            input_bytes: live.input.len() as u64,
            is_taken: &|event| taken.contains_key(&event),
            submitted: &|event| taken.get(&event)?.clone().map(String::into_bytes),
        })
    }
}
