//! [`Seat`]: where a thread that is no worker begins executions of any group.
//!
//! A worker takes starts from a batch, which has to be queued first. Whoever wants to know at once whether an input is one,
//! or has a thread to spare for an execution's first turn, begins it in a seat: what it needs of the thread, as a worker
//! has it. An execution that has to wait moves to the workers.

use std::sync::Arc;

use super::outlet::{Ended, Group, Observed, Receiver};
use super::result::ExecutionResult;
use super::slab::Place;
use super::ticket::Ticket;
use super::turn::{Driver, Run, Turn};
use super::worker::{self, KEPT_BYTES_MAX, Meta};
use super::{Admitted, Outside, Owner, Parked, Shared};
use crate::history::NoEvents;
use crate::interp::{Freezer, Start, StartError};
use crate::stdx::Timestamp;
use crate::task::{Begun, Handler, Inbox, Pending};
use crate::value::Damaged;

/// What a thread has that begins executions.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Counts on from the workers' numbers.
    number: usize,
    driver: Driver,
    run: Run,
    freezer: Freezer,
    blob: Vec<u8>,
}

/// What is begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning<'a> {
    pub(crate) group: &'a Arc<Group>,
    pub(crate) input: &'a [u8],
    pub(crate) name: &'a str,
    pub(crate) seed: u64,
    /// When it starts: not later than now.
    pub(crate) at: Timestamp,
}

/// An execution that another process has begun.
pub(crate) struct Resumption<'a> {
    pub(crate) group: &'a Arc<Group>,
    /// What it was frozen to at its last checkpoint.
    pub(crate) blob: &'a [u8],
    pub(crate) input_bytes: u64,
    pub(crate) how: How<'a>,
}

/// How an execution goes on.
#[derive(Clone, Copy)]
pub(crate) enum How<'a> {
    /// From its last checkpoint.
    Resumed(UnderWay<'a>),
    /// From where it failed, at that time.
    Redriven(Timestamp),
}

/// What is known of the tasks under way, by the number of a task's last event.
#[derive(Clone, Copy)]
pub(crate) struct UnderWay<'a> {
    /// Whether somebody who answers by its token has the task.
    pub(crate) is_taken: &'a dyn Fn(u64) -> bool,
    /// What a service said when it accepted the task.
    pub(crate) submitted: &'a dyn Fn(u64) -> Option<Vec<u8>>,
}

/// The place that an execution's tokens name, and where it is.
pub(crate) type Moved = (u64, Place);

/// What came of an execution's first turn.
#[derive(Debug)]
pub(crate) enum FirstTurn {
    /// It has ended. Its receiver has heard so, too.
    Ended(ExecutionResult),
    /// It goes on with the workers; the result comes to the ticket.
    Waits(Arc<Ticket>),
}

impl Seat {
    /// A seat; `number` says which it is of those of the runtime.
    pub(crate) fn new(shared: &Arc<Shared>, number: usize) -> Seat {
        let inbox = Arc::clone(shared) as Arc<dyn Inbox>;
        Seat {
            number: shared.workers() + number,
            driver: Driver::new(&shared.clock, shared.anchor, shared.mode, inbox),
            run: Run::default(),
            freezer: Freezer::default(),
            blob: Vec::new(),
        }
    }

    /// Forgets what a panic has left behind.
    pub(crate) fn clear(&mut self) {
        self.run = Run::default();
        self.freezer = Freezer::default();
        self.blob = Vec::new();
    }

    /// Begins an execution, and runs it for a turn.
    pub(crate) fn run(
        &mut self,
        shared: &Shared,
        beginning: Beginning<'_>,
        admitted: Admitted<'_>,
    ) -> Result<FirstTurn, StartError> {
        self.lent(beginning, |seat, receiver| {
            let meta = seat.start(beginning, receiver)?;
            let held = seat.take_place(shared, beginning.group);
            match seat.turn(shared, beginning.group, meta, held, receiver) {
                None => {
                    let ended = seat.ended(beginning.group, meta, receiver);
                    Ok(FirstTurn::Ended(ended))
                }
                Some(ticket) => {
                    admitted.keep();
                    Ok(FirstTurn::Waits(ticket))
                }
            }
        })
    }

    /// Gives an execution a turn; if it has not ended, it goes on with the workers.
    fn turn<'s>(
        &mut self,
        shared: &'s Shared,
        group: &Arc<Group>,
        meta: Meta,
        mut held: Option<Outside<'s>>,
        receiver: &mut dyn Receiver,
    ) -> Option<Arc<Ticket>> {
        let around = group.bound.on_worker(self.number);
        let mut address = || shared.outside_place(&mut held).into();
        let (driver, run) = (&mut self.driver, &mut self.run);
        let turn = if receiver.observes() {
            driver.turn(around, run, &mut address, &mut Observed(receiver))
        } else {
            driver.turn(around, run, &mut address, &mut NoEvents)
        };
        if turn == Turn::Done {
            if let Some(held) = held {
                shared.vacate(held);
            }
            return None;
        }
        let held = held.unwrap_or_else(|| shared.outside());
        let place = held.place();
        let ticket = Arc::new(Ticket::new(Arc::clone(group), place, meta.seed, None));
        let owner = Owner::Ticket(Arc::clone(&ticket));
        receiver.parked(meta.line, place);
        let (freezer, blob) = (&mut self.freezer, &mut self.blob);
        let frozen = worker::freeze(&mut self.run, group, owner, meta, freezer, blob);
        shared.called.push(held.queue(Parked::Frozen(frozen)));
        shared.give_up_if_closed(place);
        shared.idle.notify();
        Some(ticket)
    }

    /// Lets an execution go on that another process has begun; tasks that nobody has any more are handed out again.
    pub(crate) fn resume(
        &mut self,
        shared: &Shared,
        resumption: &Resumption<'_>,
        admitted: Admitted<'_>,
    ) -> Result<Option<Moved>, Damaged> {
        let group = resumption.group;
        let bound = &group.bound;
        let started_nanos = self.driver.tick();
        self.run.thaw(bound, &mut self.freezer, resumption.blob)?;
        if let How::Resumed(known) = resumption.how {
            self.take_tasks_up(group, started_nanos, known);
        }
        let named = self.run.execution.place();
        let meta = Meta {
            line: 0,
            seed: self.run.execution.seed(),
            started_nanos,
            input_bytes: resumption.input_bytes,
        };
        bound.writers[self.number].started(group.invocation);
        let mut moved = None;
        group.outlet.lend(self.number, &mut |receiver| {
            let execution = &mut self.run.execution;
            receiver.turn_to(&bound.identity, execution.given_name(), meta.seed);
            if let How::Redriven(at) = resumption.how {
                execution.redrive(&bound.program, at, &mut Observed(receiver));
            }
            let held = shared.outside();
            let place = held.place();
            match self.turn(shared, group, meta, Some(held), receiver) {
                Some(_) => moved = Some((named, place)),
                None => drop(self.ended(group, meta, receiver)),
            }
        });
        if moved.is_some() {
            admitted.keep();
        }
        Ok(moved)
    }

    /// Tasks that were under way are waited for, if somebody has them, and handed out again, if nobody has.
    fn take_tasks_up(&mut self, group: &Group, nanos: u64, known: UnderWay<'_>) {
        let bound = &group.bound;
        let execution = &mut self.run.execution;
        let under_way: Vec<_> = execution.tasks_under_way().collect();
        for (handle, event) in under_way {
            let Ok(call) = execution.task(&bound.program, handle) else {
                continue;
            };
            let begun = Begun {
                task: call.id,
                nanos,
                due: call.timeout_at.min(call.heartbeat_at),
            };
            let is_with_client = match &bound.bindings.task(call.id).handler {
                Some(Handler::Callback(_)) => true,
                Some(Handler::Service(_)) => call.resource.waits_for_token(),
                _ => false,
            };
            if is_with_client && (known.is_taken)(event) {
                let pending = Pending::outside().begun(begun);
                self.run.pending.push((handle, pending));
            } else {
                if let Some(answer) = (known.submitted)(event) {
                    self.run.submitted.push((handle, answer));
                }
                execution.yield_again(handle);
            }
        }
    }

    /// Calls `begin` with what receives the execution's events and end.
    fn lent<T>(
        &mut self,
        beginning: Beginning<'_>,
        begin: impl FnOnce(&mut Seat, &mut dyn Receiver) -> Result<T, StartError>,
    ) -> Result<T, StartError> {
        let (mut begin, mut begun) = (Some(begin), None);
        let outlet = &beginning.group.outlet;
        outlet.lend(self.number, &mut |receiver| {
            if let Some(begin) = begin.take() {
                begun = Some(begin(self, receiver));
            }
        });
        if self.run.execution.memory() > KEPT_BYTES_MAX {
            self.run = Run::default();
        }
        match begun {
            Some(begun) => begun,
            None => unreachable!("an outlet calls once what it lends a receiver to"),
        }
    }

    fn start(
        &mut self,
        beginning: Beginning<'_>,
        receiver: &mut dyn Receiver,
    ) -> Result<Meta, StartError> {
        let Beginning {
            group,
            input,
            name,
            seed,
            at,
        } = beginning;
        let started_nanos = self.driver.tick();
        self.run.reset();
        let start = Start {
            invocation: group.invocation,
            input,
            machine: &group.bound.identity,
            name: Some(name),
            now: at,
            seed,
        };
        let program = &group.bound.program;
        let execution = &mut self.run.execution;
        let metrics = &group.bound.writers[self.number];
        let started = if receiver.observes() {
            receiver.turn_to(&group.bound.identity, Some(name), seed);
            execution.start(program, &start, &mut Observed(receiver))
        } else {
            execution.start(program, &start, &mut NoEvents)
        };
        started.inspect_err(|_| metrics.refused())?;
        metrics.started(group.invocation);
        Ok(Meta {
            line: 0,
            seed,
            started_nanos,
            input_bytes: input.len() as u64,
        })
    }

    /// The place of the execution, if its tokens need one.
    fn take_place<'s>(&mut self, shared: &'s Shared, group: &Group) -> Option<Outside<'s>> {
        if !group.bound.bindings.has_tokens {
            return None;
        }
        let mut held = None;
        let place = shared.outside_place(&mut held);
        self.run.execution.set_place(place.as_number());
        held
    }

    fn ended(&mut self, group: &Group, meta: Meta, receiver: &mut dyn Receiver) -> ExecutionResult {
        let bound = &group.bound;
        let nanos = self.driver.tick().saturating_sub(meta.started_nanos);
        bound.writers[self.number].ended(&self.run.execution, nanos);
        let ended = Ended {
            line: meta.line,
            worker: self.number,
            input_bytes: meta.input_bytes,
            nanos,
            stop_time: self.driver.now(&self.run),
            run: &self.run,
            program: &bound.program,
            seed: meta.seed,
            ticket: None,
        };
        receiver.ended(&ended);
        ended.to_result()
    }
}
