//! [`Writer`]: where a worker puts down what happens to the executions of a machine.

use std::sync::atomic::Ordering;

use super::counters::{
    BILLED_BYTES, BILLED_NANOS, MachineCounters, TaskCounters, TaskOutcome, end_index,
    started_index,
};
use super::histogram::add;
use super::table::Lent;
use crate::asl::MachineType;
use crate::interp::{Execution, Invocation, Status};
use crate::program::TaskId;

/// One worker's counters of one machine. Its methods are to be called by one thread at a time; counts get lost
/// otherwise, and nothing worse.
#[derive(Debug)]
pub(crate) struct Writer {
    machine: Lent<MachineCounters>,
    machine_type: MachineType,
    /// One for each resource that the machine calls.
    resources: Box<[Lent<TaskCounters>]>,
    /// The place in `resources` of each Task of the program.
    places: Box<[u32]>,
}

impl Writer {
    pub(super) fn new(
        machine: Lent<MachineCounters>,
        machine_type: MachineType,
        resources: Box<[Lent<TaskCounters>]>,
        places: Box<[u32]>,
    ) -> Writer {
        Writer {
            machine,
            machine_type,
            resources,
            places,
        }
    }

    /// An execution was admitted and has started.
    #[inline]
    pub(crate) fn started(&self, invocation: Invocation) {
        let is_async = match invocation {
            Invocation::Synchronous => false,
            Invocation::Asynchronous => true,
        };
        let number = &self.machine.started[started_index(self.machine_type, is_async)];
        // Released, so that nobody sees an end without its start: see `Metrics::snapshot`.
        number.store(number.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// An input was none, so that no execution started.
    #[cold]
    pub(crate) fn refused(&self) {
        add(&self.machine.refused, 1);
    }

    /// A turn of an execution is over.
    #[inline]
    pub(crate) fn turn(&self, execution: &mut Execution) {
        let counts = execution.take_counts();
        // Adding zero costs less than finding out that it is zero.
        for (number, (_, entered)) in self.machine.entered.iter().zip(counts.entered()) {
            add(number, entered.into());
        }
        if counts.retries | counts.catches | counts.evaluations > 0 {
            add(&self.machine.retries, counts.retries.into());
            add(&self.machine.catches, counts.catches.into());
            add(&self.machine.evaluations, counts.evaluations.into());
        }
    }

    /// An execution has ended, after so many nanoseconds.
    #[inline]
    pub(crate) fn ended(&self, execution: &Execution, nanos: u64) {
        let document_bytes = execution.document_bytes() as u64;
        self.put_end(execution.status(), nanos, document_bytes);
    }

    #[inline]
    pub(super) fn put_end(&self, status: Status, nanos: u64, document_bytes: u64) {
        self.machine.document_bytes.record(document_bytes);
        if self.machine_type == MachineType::Express {
            let time = nanos.div_ceil(BILLED_NANOS).max(1);
            let memory = document_bytes.div_ceil(BILLED_BYTES).max(1);
            add(&self.machine.billed_time, time);
            add(&self.machine.billed_memory, time.wrapping_mul(memory));
        }
        self.machine.durations[end_index(status)].record(nanos);
    }

    /// An execution was given up before its end, with its stream or its engine.
    #[cold]
    pub(crate) fn abandoned(&self) {
        let number = &self.machine.abandoned;
        number.store(number.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// A task has ended, after so many nanoseconds.
    #[inline]
    pub(crate) fn task(&self, task: TaskId, outcome: TaskOutcome, nanos: u64) {
        let place = self.places[task.index()] as usize;
        let resource = &self.resources[place];
        resource.durations.record(nanos);
        add(&resource.outcomes[outcome as usize], 1);
    }

    /// A task has been answered whose handler was called so many nanoseconds after it was handed out.
    pub(crate) fn task_called(&self, task: TaskId, nanos: u64) {
        let place = self.places[task.index()] as usize;
        self.resources[place].schedules.record(nanos);
    }
}
