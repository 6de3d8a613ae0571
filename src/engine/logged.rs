//! Executions whose events go to a log stream: [`EngineBuilder::log`](super::EngineBuilder::log).
//!
//! Each worker has a recorder, which it lends together with the group's own receiver, and flushes when the turn is over:
//! a batch's events become blocks, and nobody waits for those of a single execution. Whoever runs executions on his own
//! thread has a recorder as well.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crate::history::{Failure, HistoryEvent, LogLevel, Observer};
use crate::interp::MachineIdentity;
use crate::log::{ExecutionIdentity, LogCounters, LogStream, Recorder};
use crate::metrics::Metrics;
use crate::runtime::Place;
use crate::runtime::outlet::{Ended, Outlet, Receiver, RefusedStart};
use crate::runtime::ticket::Ticket;
use crate::task::lock;

/// What an engine needs of a log stream.
pub(super) struct LogParts {
    key: usize,
    make: Box<dyn Fn() -> Recorder + Send + Sync>,
    counters: Box<dyn Fn() -> LogCounters + Send + Sync>,
}

impl LogParts {
    pub(super) fn new(stream: &LogStream) -> LogParts {
        LogParts {
            key: stream.key(),
            make: Box::new(stream.recorder_maker()),
            counters: Box::new(stream.counters_reader()),
        }
    }
}

impl fmt::Debug for LogParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogParts").finish_non_exhaustive()
    }
}

/// The recorders of an engine.
pub(super) struct Logs {
    /// By worker.
    workers: Box<[Mutex<Recorder>]>,
    make: Box<dyn Fn() -> Recorder + Send + Sync>,
}

impl Logs {
    pub(super) fn new(parts: LogParts, workers: usize, metrics: &Metrics) -> Arc<Logs> {
        let LogParts {
            key,
            make,
            counters,
        } = parts;
        metrics.add_log_of(key, move || (&counters()).into());
        Arc::new(Logs {
            workers: (0..workers).map(|_| Mutex::new(make())).collect(),
            make,
        })
    }

    /// A recorder for a thread that is no worker.
    pub(super) fn recorder(&self) -> Recorder {
        (self.make)()
    }

    /// An outlet that also shows the events of the machine's executions to the log.
    pub(super) fn outlet(
        self: &Arc<Logs>,
        machine: &Arc<MachineIdentity>,
        inner: Arc<dyn Outlet>,
    ) -> Arc<dyn Outlet> {
        Arc::new(ToLog {
            inner,
            logs: Arc::clone(self),
            machine: Arc::clone(machine),
        })
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs")
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct ToLog {
    inner: Arc<dyn Outlet>,
    logs: Arc<Logs>,
    machine: Arc<MachineIdentity>,
}

impl Outlet for ToLog {
    fn lend(&self, worker: usize, turn: &mut dyn FnMut(&mut dyn Receiver)) {
        let mut recorder = lock(&self.logs.workers[worker]);
        let recorder = &mut *recorder;
        if !recorder.records(&self.machine) {
            return self.inner.lend(worker, turn);
        }
        self.inner.lend(worker, &mut |receiver| {
            let observes = receiver.observes();
            turn(&mut Logged {
                receiver,
                observes,
                recorder: &mut *recorder,
            });
        });
        recorder.flush();
    }
}

struct Logged<'a, 'r> {
    receiver: &'a mut (dyn Receiver + 'r),
    /// True if the receiver wants events, too.
    observes: bool,
    recorder: &'a mut Recorder,
}

impl Receiver for Logged<'_, '_> {
    fn observes(&self) -> bool {
        true
    }

    fn turn_to(&mut self, machine: &Arc<MachineIdentity>, name: Option<&str>, seed: u64) {
        self.recorder.turn_to(&ExecutionIdentity {
            machine,
            name,
            seed,
        });
        if self.observes {
            self.receiver.turn_to(machine, name, seed);
        }
    }

    fn wants_level(&self, level: LogLevel) -> bool {
        self.recorder.wants(level) || self.observes && self.receiver.wants_level(level)
    }

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        let level = event.details.level();
        if self.recorder.wants(level) {
            self.recorder.observe(event);
        }
        if self.observes && self.receiver.wants_level(level) {
            self.receiver.observe(event);
        }
    }

    fn states_max(&self) -> u32 {
        self.receiver.states_max()
    }

    fn overrun(&mut self, is_done: bool) -> Option<Failure> {
        self.receiver.overrun(is_done)
    }

    fn checkpoint(&mut self, freeze: &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), Failure> {
        self.receiver.checkpoint(freeze)
    }

    fn wants(&self) -> bool {
        self.receiver.wants()
    }

    fn parked(&mut self, line: u64, place: Place) {
        self.receiver.parked(line, place);
    }

    fn ended(&mut self, ended: &Ended<'_>) {
        self.receiver.ended(ended);
    }

    fn refused(&mut self, refused: &RefusedStart<'_>) -> ControlFlow<()> {
        self.receiver.refused(refused)
    }

    fn abandoned(&mut self, line: u64, ticket: Option<&Arc<Ticket>>) {
        self.receiver.abandoned(line, ticket);
    }

    fn dropped(&mut self, line: u64, ticket: Option<&Arc<Ticket>>) {
        self.receiver.dropped(line, ticket);
    }
}

/// A recorder as the observer of one execution.
pub(super) struct LoggedHere<'a>(pub(super) &'a mut Recorder);

impl Observer for LoggedHere<'_> {
    const ENABLED: bool = true;

    fn wants(&self, level: LogLevel) -> bool {
        self.0.wants(level)
    }

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.0.observe(event);
    }
}
