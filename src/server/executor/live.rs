//! [`Live`]: one execution of which a history is kept, from its start until it is forgotten.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::super::error::ApiError;
use super::super::limits::{EVENTS_MAX, HISTORY_BYTES_MAX};
use super::Origin;
use super::durable::{Keeping, Stand};
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
use crate::store::{MachineKind, StoreError};
use crate::task::lock;
use crate::value::{Doc, Values};

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
    /// Where it is kept, if it is to outlive the process.
    pub(super) keeping: Option<Keeping>,
    pub(super) registry: Weak<Registry>,
    pub(super) itself: Weak<Live>,
    pub(super) state: Mutex<State>,
    /// Whether its start is on the disk. The thread that writes takes this lock, and never that of the state while a turn
    /// may hold it.
    pub(super) on_disk: Mutex<OnDisk>,
    /// Set once it has ended: to be seen without its lock.
    pub(super) over: AtomicBool,
    /// Tells those who wait for its end, and when it can be called.
    pub(super) changed: Notify,
}

/// What an execution is made of.
#[derive(Debug)]
pub(super) struct LiveParts {
    pub(super) serial: u64,
    pub(super) arn: Box<str>,
    pub(super) name: Box<str>,
    pub(super) input: Box<str>,
    pub(super) trace_header: Option<Box<str>>,
    pub(super) started: Timestamp,
    pub(super) origin: Origin,
    pub(super) log: Option<Log>,
    pub(super) keeping: Option<Keeping>,
    pub(super) state: State,
}

/// Whether an execution is on the disk, so that its start can be acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum OnDisk {
    NotYet,
    Yes,
    /// It will not be: that is told to those who wait.
    Never(ApiError),
}

/// How it stands.
#[derive(Debug)]
pub(super) struct State {
    /// Where it can be called, once it waits for the first time.
    pub(super) place: Option<Place>,
    pub(super) history: History,
    pub(super) ended: Option<Ended>,
    /// How it has ended, while that is not on the disk.
    pub(super) ending: Option<Ended>,
    /// Whether it has been given to the store, and how many of its events.
    pub(super) is_given: bool,
    pub(super) given_events: usize,
    /// The execution whose name it takes.
    pub(super) replaces: Option<(u64, Box<str>)>,
    /// The last time that it was redriven.
    pub(super) redriven: Option<Redriven>,
    /// When it had ended before, if that it was redriven has not been given to the store.
    pub(super) redriven_from: Option<Timestamp>,
    pub(super) redrivable: Redrivable,
    /// Why its last step or its end is not on the disk, or why it has not been started: what it has done then is not
    /// confirmed to anybody.
    pub(super) lost: Option<ApiError>,
}

/// What an execution that has ended can be redriven from.
#[derive(Clone, Debug)]
pub(super) enum Redrivable {
    Nothing,
    /// It is here.
    Blob(Vec<u8>),
    /// It is in the store.
    Stored,
}

/// A redrive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Redriven {
    /// How many there have been.
    pub(crate) count: u32,
    pub(crate) at: Timestamp,
    pub(crate) client_token: Option<Box<str>>,
}

impl State {
    /// That of an execution that is about to start.
    pub(super) fn new(history: History) -> State {
        State {
            place: None,
            history,
            ended: None,
            ending: None,
            is_given: false,
            given_events: 0,
            replaces: None,
            redriven: None,
            redriven_from: None,
            redrivable: Redrivable::Nothing,
            lost: None,
        }
    }

    /// That of an execution that is on the disk.
    pub(super) fn restored(history: History, ended: Option<Ended>) -> State {
        State {
            given_events: history.events.len(),
            is_given: true,
            ended,
            ..State::new(history)
        }
    }
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

    /// The history of an execution that another process has begun.
    pub(super) fn restored(qualifiers: Vec<u8>, mut events: Vec<Box<[u8]>>) -> History {
        // What was written of a history that became too long stays behind its last event.
        events.truncate(EVENTS_MAX);
        History {
            bytes: events.iter().map(|event| event.len()).sum(),
            events,
            ..History::new(qualifiers)
        }
    }

    pub(super) fn events(&self) -> &[Box<[u8]>] {
        &self.events
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

/// Some of the events of an execution.
#[derive(Debug)]
pub(crate) struct Window<'e> {
    events: &'e [Box<[u8]>],
    /// The number of the first of them.
    first: usize,
    /// How many the execution has.
    pub(crate) total: usize,
}

impl Window<'_> {
    /// The event of that number, if it is among them.
    pub(crate) fn get(&self, number: usize) -> Option<&[u8]> {
        let event = self.events.get(number.checked_sub(self.first)?)?;
        Some(event)
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
        self.state.given_events = self.state.given_events.min(history.events.len());
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

    fn checkpoint(&mut self, freeze: &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), Failure> {
        let state = &mut *self.state;
        let Some(keeping) = &self.live.keeping else {
            return Ok(());
        };
        if state.is_given && state.given_events == state.history.events.len() {
            return Ok(());
        }
        let mut frozen = Vec::new();
        freeze(&mut frozen);
        let progress = keeping.progress(self.live, state, Stand::Running(frozen));
        let written = waiting(|| keeping.store.write(progress));
        self.live.is_kept(&written);
        written.map_err(|error| {
            let failure = not_kept(&error);
            state.lost = Some(ApiError::internal(not_kept_text(&error)));
            state.history.overrun = Some(failure.clone());
            failure
        })
    }

    fn is_kept(&self) -> bool {
        self.state.lost.is_none()
    }

    fn parked(&mut self, _: u64, place: Place) {
        if self.state.place.replace(place).is_none() {
            self.live.changed.notify_waiters();
        }
    }

    fn ended(&mut self, ended: &EndedRun<'_>) {
        let overrun = self.state.history.overrun.take();
        if let Some(failure) = &overrun {
            self.overflow(ended, failure);
        }
        let state = &mut *self.state;
        state.history.events.shrink_to_fit();
        let end: Ended = ended.to_result().into();
        let is_standard = self.live.origin.kind == MachineKind::Standard;
        if is_standard && overrun.is_none() && end.status != Status::Succeeded {
            let mut blob = Vec::new();
            ended.write_redrivable(&mut blob);
            state.redrivable = Redrivable::Blob(blob);
        }
        self.live.end(state, end);
        outlets::settle(ended);
    }

    fn refused(&mut self, _: &RefusedStart<'_>) -> ControlFlow<()> {
        // Inputs are looked at where executions are begun, which is told at once.
        ControlFlow::Continue(())
    }

    fn abandoned(&mut self, _: u64, ticket: Option<&Arc<Ticket>>) {
        outlets::abandon(ticket);
    }
}

fn not_kept(error: &StoreError) -> Failure {
    Failure::new("States.Runtime", not_kept_text(error))
}

fn not_kept_text(error: &StoreError) -> String {
    format!("What the execution has done could not be kept: {error}")
}

/// Does what may wait for the disk, while others see to the requests of this thread, if it has any.
pub(super) fn waiting<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Live {
    /// Ends an execution that cannot go on.
    pub(super) fn fail(&self, at: Timestamp, failure: Failure) {
        let state = &mut *lock(&self.state);
        if state.ended.is_some() {
            return;
        }
        let doc = Doc::new();
        let values = Values {
            doc: &doc,
            constants: &doc,
        };
        let id = state.history.events.len() as u64 + 1;
        state.history.push(&HistoryEvent {
            id,
            previous_id: id - 1,
            timestamp: at,
            values,
            details: Details::ExecutionFailed { failure: &failure },
            original: None,
        });
        let end = Ended {
            status: Status::Failed,
            output: None,
            failure: Some(failure),
            at,
        };
        // If that cannot be written, the next start finds the execution as this one did.
        self.end(state, end);
    }

    /// It has ended; that is told once it is on the disk.
    fn end(&self, state: &mut State, end: Ended) {
        let Some(keeping) = &self.keeping else {
            state.ended = Some(end);
            return self.is_over(state);
        };
        let progress = keeping.progress(self, state, Stand::Ended(&end));
        state.ending = Some(end);
        match self.itself.upgrade() {
            // Nobody knows of it but who waits for its start: the thread sees to others meanwhile.
            Some(live) if state.place.is_none() => {
                let told = move |written| live.end_kept(&mut lock(&live.state), &written);
                // Told is the thread that writes, never this one, which has the lock.
                if let Err(error) = keeping.store.write_later(progress, Box::new(told)) {
                    self.end_kept(state, &Err(error));
                }
            }
            // Answers that were taken in this turn are confirmed after it.
            _ => {
                let written = waiting(|| keeping.store.write(progress));
                self.end_kept(state, &written);
            }
        }
    }

    /// The end is on the disk, or cannot be.
    fn end_kept(&self, state: &mut State, written: &Result<(), StoreError>) {
        let ended = state.ending.take().map(|end| match written {
            Ok(()) => end,
            // What cannot be kept is not told as if it were.
            Err(error) => Ended {
                status: Status::Failed,
                output: None,
                failure: Some(not_kept(error)),
                ..end
            },
        });
        if let Err(error) = written {
            state.lost = Some(ApiError::internal(not_kept_text(error)));
        }
        state.ended = ended;
        self.is_kept(written);
        self.is_over(state);
    }

    fn is_kept(&self, written: &Result<(), StoreError>) {
        if let (Ok(()), Some(keeping)) = (written, &self.keeping) {
            keeping.is_written();
        }
        let mut on_disk = lock(&self.on_disk);
        if *on_disk == OnDisk::NotYet {
            *on_disk = match written {
                Ok(()) => OnDisk::Yes,
                Err(error) => OnDisk::Never(ApiError::internal(not_kept_text(error))),
            };
            drop(on_disk);
            self.changed.notify_waiters();
        }
    }

    /// It has not been started, or has not gone on, after all. Others may have found it meanwhile and wait for it: they are
    /// told why.
    pub(super) fn withdraw(&self, at: Timestamp, why: &ApiError) {
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(self);
        }
        *lock(&self.on_disk) = OnDisk::Never(why.clone());
        let mut state = lock(&self.state);
        state.lost = Some(why.clone());
        state.ended = Some(Ended {
            status: Status::Failed,
            output: None,
            failure: Some(Failure::new("States.Runtime", why.message.clone())),
            at,
        });
        self.over.store(true, Ordering::Release);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Tells those who wait that it has ended.
    fn is_over(&self, state: &State) {
        self.over.store(true, Ordering::Release);
        let known = self.registry.upgrade().zip(self.itself.upgrade());
        if let Some((registry, live)) = known {
            let blob = match &state.redrivable {
                Redrivable::Blob(blob) => blob.len(),
                Redrivable::Nothing | Redrivable::Stored => 0,
            };
            registry.end(&live, state.history.bytes + self.input.len() + blob);
        }
        self.changed.notify_waiters();
    }

    /// Waits until it is on the disk, if it is to be kept. An error says why it cannot be.
    pub(super) async fn is_on_disk(&self) -> Result<(), ApiError> {
        let look = || match &*lock(&self.on_disk) {
            OnDisk::NotYet => None,
            OnDisk::Yes => Some(Ok(())),
            OnDisk::Never(why) => Some(Err(why.clone())),
        };
        self.wait_until(look).await
    }

    /// Why its end is not on the disk, or why it was not started.
    pub(super) fn lost(&self) -> Option<ApiError> {
        lock(&self.state).lost.clone()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        lock(&self.state).ended.clone()
    }

    /// The last time that it was redriven, if it was.
    pub(crate) fn redriven(&self) -> Option<Redriven> {
        lock(&self.state).redriven.clone()
    }

    /// How it stands.
    pub(crate) fn status(&self) -> Status {
        lock(&self.state)
            .ended
            .as_ref()
            .map_or(Status::Running, |ended| ended.status)
    }

    /// Shows its events, as many as there are by now.
    pub(crate) fn events<T>(&self, look: impl FnOnce(&[Box<[u8]>]) -> T) -> Result<T, StoreError> {
        match &self.keeping {
            Some(keeping) if self.over.load(Ordering::Acquire) => {
                let mut events = keeping.store.events(self.serial)?;
                // What was written of a history that became too long stays behind its last event.
                events.truncate(EVENTS_MAX);
                Ok(look(&events))
            }
            _ => Ok(look(&lock(&self.state).history.events)),
        }
    }

    /// Shows some of its events: those that `wanted` names when it is told how many there are, and maybe others.
    pub(crate) fn events_in<T>(
        &self,
        wanted: impl FnOnce(usize) -> Range<usize>,
        look: impl FnOnce(&Window<'_>) -> T,
    ) -> Result<T, StoreError> {
        match &self.keeping {
            Some(keeping) if self.over.load(Ordering::Acquire) => {
                // What was written of a history that became too long stays behind its last event.
                let total = lock(&self.state).given_events.min(EVENTS_MAX);
                let wanted = wanted(total);
                let first = wanted.start.min(total);
                let wanted = first..wanted.end.clamp(first, total);
                let events = waiting(|| keeping.store.events_in(self.serial, wanted))?;
                Ok(look(&Window {
                    events: &events,
                    first,
                    total,
                }))
            }
            _ => {
                let state = lock(&self.state);
                let events = &state.history.events;
                Ok(look(&Window {
                    events,
                    first: 0,
                    total: events.len(),
                }))
            }
        }
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self) -> Ended {
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
        self.wait_until(|| look(&lock(&self.state))).await
    }

    async fn wait_until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no notice is missed.
            changed.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            changed.await;
        }
    }
}
