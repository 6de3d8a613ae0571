//! [`Live`]: one execution, from its start until it is forgotten.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::super::limits::{EVENTS_MAX, HISTORY_BYTES_MAX};
use super::deploy::Deployed;
use crate::history::{Details, Failure, HistoryEvent, Observer};
use crate::interp::{Execution, FrameHandle, Status};
use crate::stdx::Timestamp;
use crate::store::{MachineKind, Revision};
use crate::task::{Pending, lock};

/// What was asked to be executed.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) machine: Box<str>,
    /// When the machine was created, which tells it from a later one of the same name.
    pub(crate) machine_created_ms: i64,
    pub(crate) kind: MachineKind,
    pub(crate) revision: Arc<Revision>,
    /// ARN of the machine, without a qualifier.
    pub(crate) machine_arn: Box<str>,
    pub(crate) version_arn: Option<Box<str>>,
    pub(crate) alias_arn: Option<Box<str>>,
}

/// An execution.
#[derive(Debug)]
pub(crate) struct Live {
    /// Grows with every start.
    pub(crate) serial: u64,
    pub(crate) arn: Box<str>,
    pub(crate) name: Box<str>,
    /// As it was sent.
    pub(crate) input: Box<str>,
    pub(crate) trace_header: Option<Box<str>>,
    pub(crate) started: Timestamp,
    pub(crate) origin: Origin,
    pub(super) deployed: Arc<Deployed>,
    pub(super) state: Mutex<State>,
    /// Set once it has ended: to be seen without its lock.
    pub(super) over: AtomicBool,
    /// Wakes its future.
    pub(super) wake: Notify,
    /// Tells those who wait for its end.
    pub(super) done: Notify,
}

/// How it stands.
#[derive(Debug)]
pub(super) struct State {
    /// While it runs.
    pub(super) body: Option<Box<Body>>,
    pub(super) history: History,
    pub(super) ended: Option<Ended>,
}

/// What an execution has while it runs.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) execution: Execution,
    /// How often each Task has been called.
    pub(super) calls: Vec<u32>,
    /// Tasks that handlers are at work on.
    pub(super) pending: Vec<(FrameHandle, Pending)>,
    /// Tokens that clients may answer with.
    pub(super) tokens: Vec<Box<str>>,
    /// The last time that it was given, which never goes back.
    pub(super) now: Timestamp,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) status: Status,
    pub(crate) output: Option<Box<str>>,
    pub(crate) failure: Option<Failure>,
    pub(crate) at: Timestamp,
    /// Most bytes that it held for documents.
    pub(crate) memory: usize,
}

/// The events of a STANDARD execution, as `GetExecutionHistory` shows them.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) events: Vec<Box<[u8]>>,
    pub(super) bytes: usize,
    /// Members that are added to the details of the first event.
    pub(super) qualifiers: Vec<u8>,
}

impl History {
    /// True if there is no room for another event before the last.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= EVENTS_MAX || self.bytes > HISTORY_BYTES_MAX
    }

    fn push(&mut self, event: &HistoryEvent<'_>) {
        let mut json = Vec::with_capacity(256);
        event.write_history(&mut json);
        if matches!(event.details, Details::ExecutionStarted { .. }) && !self.qualifiers.is_empty()
        {
            // The details are the last member.
            json.truncate(json.len() - 2);
            json.extend_from_slice(&self.qualifiers);
            json.extend_from_slice(b"}}");
        }
        self.bytes += json.len();
        self.events.push(json.into_boxed_slice());
    }

    /// Makes room for the event that says why the execution cannot go on, and adds it.
    pub(super) fn overflow(&mut self, event: &HistoryEvent<'_>) {
        self.events.truncate(EVENTS_MAX - 1);
        let id = self.events.len() as u64 + 1;
        self.push(&HistoryEvent {
            id,
            previous_id: id - 1,
            ..*event
        });
    }
}

impl Observer for History {
    const ENABLED: bool = true;

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.push(event);
    }
}

impl Live {
    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        lock(&self.state).ended.clone()
    }

    /// How it stands.
    pub(crate) fn status(&self) -> Status {
        lock(&self.state)
            .ended
            .as_ref()
            .map_or(Status::Running, |ended| ended.status)
    }

    /// Shows its events, as many as there are by now.
    pub(crate) fn events<T>(&self, look: impl FnOnce(&[Box<[u8]>]) -> T) -> T {
        look(&lock(&self.state).history.events)
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self) -> Ended {
        loop {
            let done = self.done.notified();
            tokio::pin!(done);
            // From here on no notice is missed.
            done.as_mut().enable();
            if let Some(ended) = self.ended() {
                return ended;
            }
            done.await;
        }
    }
}
