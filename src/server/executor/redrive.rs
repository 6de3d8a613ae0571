//! `RedriveExecution`: an execution that has ended otherwise than by success goes on from where it was.
//!
//! It becomes a new [`Live`] with the old one's ARN, events and serial number. That it goes on is on the disk before it is
//! told, as with a start; until then the file says that it has ended.

use std::sync::Arc;

use super::super::error::ApiError;
use super::super::limits::EVENTS_MAX;
use super::deploy::MachineKey;
use super::durable::{Keeping, checksum};
use super::live::{Ended, History, Live, LiveParts, Redrivable, Redriven, State, waiting};
use super::run::{Begun, Executor, group_of, of_start, qualifiers};
use super::{Origin, Started};
use crate::interp::{Invocation, Status};
use crate::runtime::seat::{How, Resumption};
use crate::stdx::Timestamp;
use crate::task::lock;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// How long after its end an execution can be redriven.
const PERIOD_MILLIS: i64 = 14 * DAY_MILLIS;

/// The longest time that an execution may take, redrives included.
const EXECUTION_MILLIS_MAX: i64 = 365 * DAY_MILLIS;

/// How long a client's token stands for the redrive that it was given with.
const TOKEN_MILLIS: i64 = 15 * 60 * 1_000;

/// What a redrive goes on from.
struct Before {
    ended: Ended,
    blob: Vec<u8>,
    events: Vec<Box<[u8]>>,
    count: u32,
}

impl Live {
    /// Why it cannot be redriven, in AWS's words; nothing if it can. `origin_exists` says whether its machine does.
    pub(crate) fn not_redrivable(&self, now: Timestamp, machine_exists: bool) -> Option<String> {
        let state = lock(&self.state);
        let status = state
            .ended
            .as_ref()
            .map_or(Status::Running, |end| end.status);
        let ended = match (&state.ended, status) {
            (Some(ended), Status::Failed | Status::TimedOut | Status::Aborted) => ended,
            _ => {
                let status = status.as_str();
                return Some(format!("Execution is {status} and cannot be redriven"));
            }
        };
        let events = state.given_events.max(state.history.events().len());
        let since = |then: Timestamp| now.millis().saturating_sub(then.millis());
        let reason = if !machine_exists {
            "State machine is in DELETING status"
        } else if events + 1 >= EVENTS_MAX {
            // The redrive is an event, and its end another.
            "Execution history event limit exceeded"
        } else if since(self.started) > EXECUTION_MILLIS_MAX {
            "Execution has exceeded the max execution time"
        } else if since(ended.at) > PERIOD_MILLIS {
            "Execution redrivable period exceeded"
        } else if matches!(state.redrivable, Redrivable::Nothing) {
            "Execution could not be kept and cannot be redriven"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }

    fn before(&self) -> Result<Option<Before>, ApiError> {
        let (ended, blob, count) = {
            let state = lock(&self.state);
            let Some(ended) = state.ended.clone() else {
                return Ok(None);
            };
            let count = state.redriven.as_ref().map_or(0, |redriven| redriven.count);
            (ended, state.redrivable.clone(), count)
        };
        let failed = |error: crate::store::StoreError| ApiError::internal(error.to_string());
        let blob = match (blob, &self.keeping) {
            (Redrivable::Blob(blob), _) => Some(blob),
            (Redrivable::Stored, Some(keeping)) => {
                keeping.store.redrivable(self.serial).map_err(failed)?
            }
            (Redrivable::Stored, None) | (Redrivable::Nothing, _) => None,
        };
        let events = self.events(<[_]>::to_vec).map_err(failed)?;
        Ok(blob.map(|blob| Before {
            ended,
            blob,
            events,
            count,
        }))
    }
}

impl Executor {
    /// Lets an execution go on from where it failed, timed out or was stopped.
    pub(crate) fn redrive(
        &self,
        live: &Arc<Live>,
        client_token: Option<&str>,
        machine_exists: bool,
    ) -> Result<Begun, ApiError> {
        let at = self.now();
        let told = |at: Timestamp| Started::New {
            arn: live.arn.to_string(),
            at,
        };
        if let Some(last) = live.redriven()
            && client_token.is_some_and(|token| last.client_token.as_deref() == Some(token))
            && at.millis().saturating_sub(last.at.millis()) <= TOKEN_MILLIS
        {
            return Ok(Begun::new(told(last.at), Arc::clone(live)));
        }
        if let Some(reason) = live.not_redrivable(at, machine_exists) {
            return Err(ApiError::new("ExecutionNotRedrivable", reason));
        }
        let Some(before) = live.before()? else {
            return Err(running());
        };
        let deployed = self.deploy(MachineKey {
            name: &live.origin.machine,
            kind: live.origin.kind,
            revision: &live.origin.revision,
            test_case: live.origin.test_case.as_deref(),
        })?;
        let keeping = live.keeping.as_ref();
        if keeping.is_some_and(|keeping| keeping.revision.program != checksum(&deployed)) {
            let reason = "Execution was started by another version of quickstep";
            return Err(ApiError::new("ExecutionNotRedrivable", reason));
        }
        let redriven = Redriven {
            count: before.count + 1,
            at,
            client_token: client_token.map(Into::into),
        };
        let bytes = before.blob.len() + live.input.len();
        let bytes = bytes + before.events.iter().map(|event| event.len()).sum::<usize>();
        let again = self.make_live(parts_again(live, &before, redriven, deployed.log.clone()));
        if !self.registry().redrive(live, &again) {
            return Err(running());
        }
        // Another redrive may have begun and ended between the reading and the taking of the name.
        let unchanged = waiting(|| self.is_still(live, &before));
        if let Err(error) = unchanged {
            again.withdraw(at, &error);
            return Err(error);
        }
        let group = group_of(&again, &deployed, Invocation::Asynchronous);
        let resumed = self.resume_on_engine(&Resumption {
            group: &group,
            blob: &before.blob,
            input_bytes: again.input.len() as u64,
            how: How::Redriven(at),
        });
        if let Err(error) = resumed {
            let error = of_start(&error, "ExecutionLimitExceeded");
            again.withdraw(at, &error);
            self.registry().undo_redrive(live, bytes);
            return Err(error);
        }
        Ok(Begun::new(told(at), again))
    }

    /// Whether the disk still says of an execution what was read of it. To be asked once its name is taken: from then on
    /// nobody else changes it.
    fn is_still(&self, live: &Live, before: &Before) -> Result<(), ApiError> {
        let Some(keeping) = &live.keeping else {
            return Ok(());
        };
        let Some((serial, record)) = keeping.store.find(&live.arn)? else {
            return Err(ApiError::no_execution(&live.arn));
        };
        let ended_ms = record.ended.map(|ended| ended.at_ms);
        let count = record.redriven.map_or(0, |redriven| redriven.count);
        let is_same = (serial, ended_ms, count)
            == (live.serial, Some(before.ended.at.millis()), before.count);
        match is_same {
            true => Ok(()),
            false => Err(running()),
        }
    }
}

/// Another request has been faster.
fn running() -> ApiError {
    let reason = "Execution is RUNNING and cannot be redriven";
    ApiError::new("ExecutionNotRedrivable", reason)
}

/// The same execution, about to go on.
fn parts_again(
    live: &Live,
    before: &Before,
    redriven: Redriven,
    log: Option<super::logs::Log>,
) -> LiveParts {
    let origin: &Origin = &live.origin;
    let history = History::restored(qualifiers(origin), before.events.clone());
    let mut state = State::restored(history, None);
    state.redriven = Some(redriven);
    state.redriven_from = Some(before.ended.at);
    LiveParts {
        serial: live.serial,
        arn: live.arn.clone(),
        name: live.name.clone(),
        input: live.input.clone(),
        trace_header: live.trace_header.clone(),
        started: live.started,
        origin: origin.clone(),
        log,
        keeping: live.keeping.as_ref().map(|keeping| Keeping {
            store: Arc::clone(&keeping.store),
            revision: Arc::clone(&keeping.revision),
        }),
        state,
    }
}
