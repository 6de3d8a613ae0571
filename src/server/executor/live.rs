//! [`Live`]: one execution of which a history is kept, from its start until it is forgotten.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::super::limits::{EVENTS_MAX, HISTORY_BYTES_MAX};
use super::Origin;
use super::logs::Log;
use super::outlets::{self, Recording};
use super::registry::Registry;
use crate::engine::ExecutionResult;
use crate::history::{Details, Failure, HistoryEvent};
use crate::interp::{MachineIdentity, Status};
use crate::runtime::Place;
use crate::runtime::outlet::{Ended as EndedRun, Outlet, Receiver, RefusedStart};
use crate::runtime::ticket::Ticket;
use crate::stdx::Timestamp;
use crate::task::lock;

/// An execution. It is its own outlet: during its turns it writes its history down.
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
    pub(super) log: Option<Log>,
    pub(super) registry: Weak<Registry>,
    pub(super) itself: Weak<Live>,
    pub(super) state: Mutex<State>,
    /// Set once it has ended: to be seen without its lock.
    pub(super) over: AtomicBool,
    /// Tells those who wait for its end, and when it can be called.
    pub(super) changed: Notify,
}

/// How it stands.
#[derive(Debug)]
pub(super) struct State {
    /// Where it can be called, once it waits for the first time.
    pub(super) place: Option<Place>,
    pub(super) history: History,
    pub(super) ended: Option<Ended>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) status: Status,
    pub(crate) output: Option<Box<str>>,
    pub(crate) failure: Option<Failure>,
    pub(crate) at: Timestamp,
}

impl From<ExecutionResult> for Ended {
    fn from(result: ExecutionResult) -> Ended {
        Ended {
            status: result.status,
            output: result.output.map(Into::into),
            failure: result.failure,
            at: result.stop_time,
        }
    }
}

/// Transitions between two looks at the length of the history.
const STATES_MAX: u32 = 50;

/// Events from the bound of a history at which it is looked at after every transition.
const NEAR_EVENTS: usize = 2_000;

/// AWS's text.
const TOO_MANY_EVENTS: &str = "The execution reached the maximum number of history events (25000).";

/// The events of an execution, as `GetExecutionHistory` shows them.
#[derive(Debug, Default)]
pub(super) struct History {
    events: Vec<Box<[u8]>>,
    bytes: usize,
    /// Members that are added to the details of the first event.
    qualifiers: Vec<u8>,
    /// Why the execution had to end for the length of its history.
    overrun: Option<Failure>,
}

impl History {
    pub(super) fn new(qualifiers: Vec<u8>) -> History {
        History {
            qualifiers,
            ..History::default()
        }
    }

    /// True if there is no room for another event before the last.
    fn is_full(&self) -> bool {
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

    fn states_max(&self) -> u32 {
        match self.events.len() + NEAR_EVENTS > EVENTS_MAX {
            true => 1,
            false => STATES_MAX,
        }
    }

    fn overrun(&mut self, is_done: bool) -> Option<Failure> {
        if !self.is_full() || is_done && self.events.len() <= EVENTS_MAX {
            return None;
        }
        let failure = Failure::new("States.Runtime", TOO_MANY_EVENTS);
        self.overrun = Some(failure.clone());
        Some(failure)
    }
}

impl Outlet for Live {
    fn lend(&self, thread: usize, turn: &mut dyn FnMut(&mut dyn Receiver)) {
        let recording = self.log.as_ref().map(|log| Recording::new(log, thread));
        turn(&mut Kept {
            live: self,
            state: &mut lock(&self.state),
            recording,
        });
    }
}

/// An execution during a turn.
struct Kept<'a> {
    live: &'a Live,
    state: &'a mut State,
    recording: Option<Recording<'a>>,
}

impl Kept<'_> {
    /// Makes room for the event that says why the execution could not go on, and adds it.
    fn overflow(&mut self, ended: &EndedRun<'_>, failure: &Failure) {
        let history = &mut self.state.history;
        history.events.truncate(EVENTS_MAX - 1);
        let id = history.events.len() as u64 + 1;
        let event = HistoryEvent {
            id,
            previous_id: id - 1,
            timestamp: ended.stop_time,
            values: ended.run.execution.values(ended.program),
            details: Details::ExecutionFailed { failure },
            original: None,
        };
        history.push(&event);
        if let Some(recording) = &mut self.recording {
            recording.observe(&event);
        }
    }
}

impl Receiver for Kept<'_> {
    fn observes(&self) -> bool {
        true
    }

    fn turn_to(&mut self, machine: &Arc<MachineIdentity>, name: Option<&str>, seed: u64) {
        if let Some(recording) = &mut self.recording {
            recording.turn_to(machine, name, seed);
        }
    }

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.state.history.push(event);
        if let Some(recording) = &mut self.recording {
            recording.observe(event);
        }
    }

    fn states_max(&self) -> u32 {
        self.state.history.states_max()
    }

    fn overrun(&mut self, is_done: bool) -> Option<Failure> {
        self.state.history.overrun(is_done)
    }

    fn parked(&mut self, _: u64, place: Place) {
        if self.state.place.replace(place).is_none() {
            self.live.changed.notify_waiters();
        }
    }

    fn ended(&mut self, ended: &EndedRun<'_>) {
        if let Some(failure) = self.state.history.overrun.take() {
            self.overflow(ended, &failure);
        }
        let state = &mut *self.state;
        state.ended = Some(ended.to_result().into());
        state.history.events.shrink_to_fit();
        self.live.over.store(true, Ordering::Release);
        let known = self.live.registry.upgrade().zip(self.live.itself.upgrade());
        if let Some((registry, live)) = known {
            registry.end(&live, state.history.bytes + live.input.len());
        }
        outlets::settle(ended);
        self.live.changed.notify_waiters();
    }

    fn refused(&mut self, _: &RefusedStart<'_>) -> ControlFlow<()> {
        // Inputs are looked at where executions are begun, which is told at once.
        ControlFlow::Continue(())
    }

    fn abandoned(&mut self, _: u64, ticket: Option<&Arc<Ticket>>) {
        outlets::abandon(ticket);
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
    pub(super) async fn wait(&self) -> Ended {
        self.wait_for(|state| state.ended.clone()).await
    }

    /// Waits until it can be called, or has ended.
    pub(super) async fn place(&self) -> Option<Place> {
        self.wait_for(|state| match (state.place, &state.ended) {
            (_, Some(_)) => Some(None),
            (place, None) => place.map(Some),
        })
        .await
    }

    async fn wait_for<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no notice is missed.
            changed.as_mut().enable();
            let found = look(&lock(&self.state));
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}
