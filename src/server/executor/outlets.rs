//! What becomes of the events and ends of executions of which nothing is kept.

use std::ops::ControlFlow;
use std::sync::{Arc, MutexGuard};

use super::logs::Log;
use crate::history::{HistoryEvent, LogLevel, Observer as _};
use crate::interp::MachineIdentity;
use crate::log::{ExecutionIdentity, Recorder};
use crate::runtime::outlet::{Ended, Outlet, Receiver, RefusedStart};
use crate::runtime::ticket::{NoResult, Ticket};

/// Events go to the machine's log, results to whoever waits for them.
#[derive(Debug)]
pub(super) struct Logged(pub(super) Log);

impl Outlet for Logged {
    fn lend(&self, thread: usize, turn: &mut dyn FnMut(&mut dyn Receiver)) {
        turn(&mut ToLog(Recording::new(&self.0, thread)));
    }
}

/// A log during a turn.
pub(super) struct Recording<'a> {
    log: &'a Log,
    recorder: MutexGuard<'a, Option<Recorder>>,
}

impl<'a> Recording<'a> {
    pub(super) fn new(log: &'a Log, thread: usize) -> Recording<'a> {
        let recorder = log.group.recorder(thread);
        Recording { log, recorder }
    }

    pub(super) fn turn_to(
        &mut self,
        machine: &Arc<MachineIdentity>,
        name: Option<&str>,
        seed: u64,
    ) {
        let config = self.log.config;
        if let Some(recorder) = self.recorder.as_mut() {
            recorder.turn_to_with(
                &ExecutionIdentity {
                    machine,
                    name,
                    seed,
                },
                config,
            );
        }
    }

    fn wants(&self, level: LogLevel) -> bool {
        self.recorder
            .as_ref()
            .is_some_and(|recorder| recorder.wants(level))
    }

    pub(super) fn observe(&mut self, event: &HistoryEvent<'_>) {
        if let Some(recorder) = self.recorder.as_mut() {
            recorder.observe(event);
        }
    }
}

struct ToLog<'a>(Recording<'a>);

impl Receiver for ToLog<'_> {
    fn observes(&self) -> bool {
        self.0.recorder.is_some()
    }

    fn turn_to(&mut self, machine: &Arc<MachineIdentity>, name: Option<&str>, seed: u64) {
        self.0.turn_to(machine, name, seed);
    }

    fn wants_level(&self, level: LogLevel) -> bool {
        self.0.wants(level)
    }

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.0.observe(event);
    }

    fn ended(&mut self, ended: &Ended<'_>) {
        settle(ended);
    }

    fn refused(&mut self, _: &RefusedStart<'_>) -> ControlFlow<()> {
        // Inputs are looked at where executions are begun, which is told at once.
        ControlFlow::Continue(())
    }

    fn abandoned(&mut self, _: u64, ticket: Option<&Arc<Ticket>>) {
        abandon(ticket);
    }
}

/// Tells whoever waits for an execution that it has ended.
pub(super) fn settle(ended: &Ended<'_>) {
    if let Some(ticket) = ended.ticket {
        ticket.settle(Ok(ended.to_result()));
    }
}

/// Tells whoever waits for an execution that the server ends.
pub(super) fn abandon(ticket: Option<&Arc<Ticket>>) {
    if let Some(ticket) = ticket {
        ticket.settle(Err(NoResult::Abandoned));
    }
}
