//! Where what comes of executions goes.
//!
//! Executions are started in groups: those of one call of `start_batch`, of one batch of a stream, or all that are
//! started one by one. A group has an [`Outlet`], which lends a worker a [`Receiver`] for a turn. So a lock is taken
//! once a turn rather than once an execution, and what receives may belong to a worker, to a group, or to both.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::result::ExecutionResult;
use super::slab::Place;
use super::ticket::Ticket;
use super::turn::{Bound, Run};
use crate::history::{Failure, HistoryEvent, LogLevel, Observer};
use crate::interp::{Execution, Invocation, MachineIdentity, Outcome, StartError, Status};
use crate::program::Program;
use crate::stdx::Timestamp;

/// What executions that were started together have in common.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) bound: Arc<Bound>,
    pub(crate) outlet: Arc<dyn Outlet>,
    pub(crate) invocation: Invocation,
}

/// Lends receivers to workers.
pub(crate) trait Outlet: Send + Sync + Debug {
    /// Calls `turn` once, with what receives for that worker.
    fn lend(&self, worker: usize, turn: &mut dyn FnMut(&mut dyn Receiver));
}

/// Takes what comes of the executions of a group, during a turn of one worker.
pub(crate) trait Receiver {
    /// True if it wants the events of executions.
    fn observes(&self) -> bool {
        false
    }

    /// An execution starts or goes on: the events that are observed next belong to it.
    fn turn_to(&mut self, _machine: &Arc<MachineIdentity>, _name: Option<&str>, _seed: u64) {}

    /// True if it wants the events of this level, when it wants events.
    fn wants_level(&self, _level: LogLevel) -> bool {
        true
    }

    /// Takes an event.
    fn observe(&mut self, _event: &HistoryEvent<'_>) {}

    /// See [`Observer::states_max`].
    fn states_max(&self) -> u32 {
        u32::MAX
    }

    /// See [`Observer::overrun`].
    fn overrun(&mut self, _is_done: bool) -> Option<Failure> {
        None
    }

    /// See [`Observer::checkpoint`].
    fn checkpoint(&mut self, _freeze: &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), Failure> {
        Ok(())
    }

    /// False if what an execution has done in its turn, or its end, could not be kept: then its answers are not confirmed.
    fn is_kept(&self) -> bool {
        true
    }

    /// False if the executions of the group that have not started are not wanted any more.
    fn wants(&self) -> bool {
        true
    }

    /// An execution could not be finished at once; it can be called by its place.
    fn parked(&mut self, _line: u64, _place: Place) {}

    /// An execution has ended.
    fn ended(&mut self, ended: &Ended<'_>);

    /// An input was none. Says whether the group goes on.
    fn refused(&mut self, refused: &RefusedStart<'_>) -> ControlFlow<()>;

    /// An execution was given up.
    fn abandoned(&mut self, _line: u64, _ticket: Option<&Arc<Ticket>>) {}

    /// An execution was not started, since it is not wanted any more.
    fn dropped(&mut self, line: u64, ticket: Option<&Arc<Ticket>>) {
        self.abandoned(line, ticket);
    }
}

/// A receiver as an observer that wants events.
pub(super) struct Observed<'a>(pub(super) &'a mut dyn Receiver);

impl Observer for Observed<'_> {
    const ENABLED: bool = true;

    fn wants(&self, level: LogLevel) -> bool {
        self.0.wants_level(level)
    }

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.0.observe(event);
    }

    fn states_max(&self) -> u32 {
        self.0.states_max()
    }

    fn overrun(&mut self, is_done: bool) -> Option<Failure> {
        self.0.overrun(is_done)
    }

    fn checkpoint(&mut self, freeze: &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), Failure> {
        self.0.checkpoint(freeze)
    }
}

/// An execution that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Its number among those that were started with it: from 0, and for events of a stream from 1.
    pub line: u64,
    /// Number of the worker that ended it, from 0: for sinks that keep something for each.
    pub worker: usize,
    /// Nanoseconds that it really took.
    pub nanos: u64,
    /// The time at its end, by its own clock.
    pub stop_time: Timestamp,
    pub(crate) input_bytes: u64,
    pub(crate) run: &'a Run,
    pub(crate) program: &'a Program,
    pub(crate) seed: u64,
    pub(crate) ticket: Option<&'a Arc<Ticket>>,
}

impl<'a> Ended<'a> {
    /// How it ended.
    #[must_use]
    pub fn status(&self) -> Status {
        self.run.execution.status()
    }

    /// Why it did not succeed.
    #[must_use]
    pub fn failure(&self) -> Option<&'a Failure> {
        self.run.execution.outcome().and_then(Outcome::failure)
    }

    /// Appends the output as compact JSON, if it succeeded.
    pub fn write_output(&self, out: &mut Vec<u8>) {
        self.run.execution.write_output(self.program, out);
    }

    /// Appends what it can be redriven from, if it has not succeeded.
    #[cfg(feature = "server")]
    pub(crate) fn write_redrivable(&self, out: &mut Vec<u8>) {
        self.run.freeze_to_redrive(self.program, out);
    }

    /// Milliseconds of waiting that virtual time has spared.
    #[must_use]
    pub fn skipped_millis(&self) -> u64 {
        self.run.skipped_millis.unsigned_abs()
    }

    /// The execution itself.
    #[must_use]
    pub fn execution(&self) -> &'a Execution {
        &self.run.execution
    }

    /// All of it, for keeping.
    #[must_use]
    pub fn to_result(&self) -> ExecutionResult {
        let duration = std::time::Duration::from_nanos(self.nanos);
        ExecutionResult::new(self.run, self.program, self.seed, self.stop_time, duration)
    }
}

/// An input that is none.
#[derive(Debug)]
pub(crate) struct RefusedStart<'a> {
    pub(crate) line: u64,
    pub(crate) error: StartError,
    pub(crate) ticket: Option<&'a Arc<Ticket>>,
}
