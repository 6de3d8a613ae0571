//! A worker: runs batches, and keeps what waits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::thread::{self, Thread};
use std::time::Duration;

use super::batch::{Batch, Events};
use super::hub::{Control, Hub, Taken};
use super::{BatchSender, Ended, Order, Recorder, Refusal, Refused, Stream};
use crate::engine::clock::Anchor;
use crate::engine::machine::StateMachine;
use crate::engine::run::Engine;
use crate::engine::turn::{Run, Surroundings, Turn};
use crate::interp::Invocation;
use crate::interp::Start;
use crate::metrics::Writer;
use crate::stdx::{Timestamp, narrow};
use crate::task::{Address, Answer, Bindings, Inbox};

pub(super) struct Worker<'a, R: Recorder> {
    engine: &'a Engine,
    machine: &'a StateMachine,
    control: &'a Control,
    hub: &'a Hub<R::Page>,
    sender: BatchSender<R::Page>,
    order: Order,
    first_number: u64,
    thread: Thread,
    recorder: R,
    surroundings: Surroundings<'a>,
    /// The execution that runs at once.
    run: Run,
    spare_runs: Vec<Run>,
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    /// Batches with open executions; `None` if free.
    batches: Vec<Option<Batch<R::Page>>>,
    free_batches: Vec<u32>,
    /// Results that came later, for the sink as they come.
    late: Batch<R::Page>,
    timers: BinaryHeap<Reverse<Timer>>,
    /// Executions whose turn was long enough.
    ready: VecDeque<u32>,
    answers: Vec<Answer>,
    /// Executions in slots.
    open: usize,
}

/// An execution that waits, or a place for one.
struct Slot {
    run: Option<Run>,
    generation: u32,
    batch: u32,
    page: u32,
    line: u64,
    seed: u64,
    started_nanos: u64,
    /// When its timer is set for.
    wake_nanos: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    nanos: u64,
    slot: u32,
    generation: u32,
}

/// Spare executions whose memory is kept.
const SPARE_RUNS_MAX: usize = 64;
/// Documents larger than this are not kept with a spare execution.
const SPARE_BYTES_MAX: usize = 256 * 1024;

impl<'a, R: Recorder> Worker<'a, R> {
    pub(super) fn new(
        stream: &'a Stream,
        (bindings, metrics): (&'a Bindings, &'a Writer),
        hub: &'a Hub<R::Page>,
        sender: BatchSender<R::Page>,
        recorder: R,
        first_number: u64,
    ) -> Worker<'a, R> {
        let inner = stream.engine.inner();
        let anchor = Anchor::new(&*inner.clock);
        Worker {
            engine: &stream.engine,
            machine: &stream.machine,
            control: &stream.control,
            hub,
            sender,
            order: stream.options.order,
            first_number,
            thread: thread::current(),
            recorder,
            surroundings: Surroundings {
                program: stream.machine.program(),
                bindings,
                metrics,
                clock: &*inner.clock,
                anchor,
                mode: inner.time,
                inbox: Inbox::of_this_thread(),
                response: Vec::new(),
                nanos: anchor.nanos(),
            },
            run: Run::default(),
            spare_runs: Vec::new(),
            slots: Vec::new(),
            free_slots: Vec::new(),
            batches: Vec::new(),
            free_batches: Vec::new(),
            late: Batch::new(),
            timers: BinaryHeap::new(),
            ready: VecDeque::new(),
            answers: Vec::new(),
            open: 0,
        }
    }

    pub(super) fn run(mut self) -> R {
        self.control.enlist();
        // A worker that panics must not leave the others waiting.
        let _stopper = StopOnPanic(self.control, self.hub);
        while !self.control.is_stopped() {
            self.take_answers();
            self.fire_timers();
            self.go_on();
            self.drop_what_is_cut();
            self.send_late();
            match self.hub.take(&self.thread) {
                Taken::Batch(batch) if batch.seq > self.control.cut() => self.hub.recycle(batch),
                Taken::Batch(batch) => self.batch(batch),
                Taken::Nothing => self.wait(),
                Taken::Closed if self.open == 0 => break,
                Taken::Closed => self.wait(),
            }
        }
        self.abandon_all();
        self.send_late();
        self.recorder.idle();
        self.recorder
    }

    /// Runs the executions of a batch; sends it, unless some of them have to wait.
    fn batch(&mut self, mut batch: Batch<R::Page>) {
        let events = std::mem::take(&mut batch.events);
        let index = self.free_batches.pop().unwrap_or_else(|| {
            self.batches.push(None);
            narrow(self.batches.len() - 1)
        });
        self.surroundings.tick();
        self.lines(&events, &mut batch, index);
        self.hub.recycle_events(events);
        if batch.open == 0 {
            self.free_batches.push(index);
            self.send(batch);
            return;
        }
        if self.order == Order::Completion {
            self.send_finished_part(&mut batch);
        }
        self.batches[index as usize] = Some(batch);
    }

    fn lines(&mut self, events: &Events, batch: &mut Batch<R::Page>, index: u32) {
        for (line, event) in (events.first_line()..).zip(events.iter()) {
            if self.control.is_stopped() {
                return;
            }
            let refusal = if let Some(bytes) = events.too_long {
                Some(Refusal::TooLong(bytes))
            } else if event.is_empty() && events.skips_empty() {
                None
            } else {
                let started = self.event(event, line, batch, index);
                started.err().map(Refusal::Start)
            };
            if let Some(reason) = refusal {
                self.surroundings.metrics.refused();
                let refused = Refused { line, reason };
                if self.recorder.refused(&refused, batch.page()).is_break() {
                    return self.cut(batch);
                }
            }
        }
    }

    /// The stream ends with what this batch has so far.
    #[cold]
    fn cut(&self, batch: &mut Batch<R::Page>) {
        batch.is_cut = true;
        self.control.cut_after(batch.seq);
        self.hub.close();
    }

    /// Runs the execution of one event, at once if it can be.
    #[inline]
    fn event(
        &mut self,
        event: &[u8],
        line: u64,
        batch: &mut Batch<R::Page>,
        index: u32,
    ) -> Result<(), crate::interp::StartError> {
        let program = self.surroundings.program;
        let seed = self.engine.seed(self.first_number.wrapping_add(line));
        let started_nanos = self.surroundings.nanos;
        self.run.reset();
        if R::ENABLED {
            self.recorder.turn_to(self.machine.identity(), seed);
        }
        let start = Start {
            invocation: Invocation::Synchronous,
            input: event,
            machine: self.machine.identity(),
            name: None,
            now: self.surroundings.now(&self.run),
            seed,
        };
        self.run
            .execution
            .start(program, &start, &mut self.recorder)?;
        self.surroundings.metrics.started(start.invocation);
        let address = self.next_address();
        let turn = self
            .surroundings
            .turn(&mut self.run, address, &mut self.recorder);
        if turn == Turn::Done {
            let nanos = self.surroundings.tick() - started_nanos;
            self.surroundings.metrics.ended(&self.run.execution, nanos);
            let ended = Ended {
                line,
                nanos,
                stop_time: self.surroundings.now(&self.run),
                run: &self.run,
                program,
                seed,
            };
            self.recorder.ended(&ended, batch.page());
            return Ok(());
        }
        batch.open += 1;
        let page = batch.reserve_page();
        let spare = self.spare_runs.pop().unwrap_or_default();
        let run = std::mem::replace(&mut self.run, spare);
        let slot = &mut self.slots[address.slot as usize];
        slot.run = Some(run);
        (slot.batch, slot.page, slot.line) = (index, page, line);
        (slot.seed, slot.started_nanos, slot.wake_nanos) = (seed, started_nanos, u64::MAX);
        self.free_slots.pop();
        self.open += 1;
        self.park(address.slot, turn);
        Ok(())
    }

    /// The slot that the next execution that waits will take.
    #[inline]
    fn next_address(&mut self) -> Address {
        let slot = match self.free_slots.last() {
            Some(slot) => *slot,
            None => self.add_slot(),
        };
        Address {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    #[cold]
    fn add_slot(&mut self) -> u32 {
        let slot = narrow(self.slots.len());
        self.slots.push(Slot {
            run: None,
            generation: 0,
            batch: 0,
            page: 0,
            line: 0,
            seed: 0,
            started_nanos: 0,
            wake_nanos: u64::MAX,
        });
        self.free_slots.push(slot);
        slot
    }

    /// Sees to it that an execution in a slot is taken up again.
    fn park(&mut self, slot: u32, turn: Turn) {
        match turn {
            Turn::Done => {}
            Turn::OutOfFuel => self.ready.push_back(slot),
            Turn::Parked(Timestamp::MAX) => {}
            Turn::Parked(at) => {
                let place = &mut self.slots[slot as usize];
                let skipped = place.run.as_ref().map_or(0, |run| run.skipped_millis);
                let nanos = self.surroundings.anchor.nanos_at(at.plus_millis(-skipped));
                if place.wake_nanos != nanos {
                    place.wake_nanos = nanos;
                    let generation = place.generation;
                    self.timers.push(Reverse(Timer {
                        nanos,
                        slot,
                        generation,
                    }));
                }
            }
        }
    }

    fn take_answers(&mut self) {
        if self.open == 0 {
            return;
        }
        let mut answers = std::mem::take(&mut self.answers);
        self.surroundings.inbox.take(&mut answers);
        if !answers.is_empty() {
            self.surroundings.tick();
        }
        for answer in answers.drain(..) {
            let slot = &mut self.slots[answer.address.slot as usize];
            if slot.generation != answer.address.generation {
                continue;
            }
            let Some(run) = &mut slot.run else {
                continue;
            };
            if R::ENABLED {
                self.recorder.turn_to(self.machine.identity(), slot.seed);
            }
            if self.surroundings.answer(run, &answer, &mut self.recorder) {
                self.turn(answer.address.slot);
            }
        }
        self.answers = answers;
    }

    fn fire_timers(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let now = self.surroundings.tick();
        while let Some(&Reverse(timer)) = self.timers.peek()
            && timer.nanos <= now
        {
            self.timers.pop();
            let slot = &mut self.slots[timer.slot as usize];
            if slot.generation == timer.generation && slot.wake_nanos == timer.nanos {
                slot.wake_nanos = u64::MAX;
                self.turn(timer.slot);
            }
        }
    }

    /// One turn for each execution that can go on.
    fn go_on(&mut self) {
        for _ in 0..self.ready.len() {
            if self.control.is_stopped() {
                return;
            }
            if let Some(slot) = self.ready.pop_front()
                && self.slots[slot as usize].run.is_some()
            {
                self.surroundings.tick();
                self.turn(slot);
            }
        }
    }

    /// A turn for the execution in a slot.
    fn turn(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        let address = Address {
            slot,
            generation: place.generation,
        };
        let Some(run) = &mut place.run else {
            return;
        };
        if R::ENABLED {
            self.recorder.turn_to(self.machine.identity(), place.seed);
        }
        match self.surroundings.turn(run, address, &mut self.recorder) {
            Turn::Done => self.ended(slot),
            turn => self.park(slot, turn),
        }
    }

    fn ended(&mut self, slot: u32) {
        let nanos = self.surroundings.tick();
        let Some((run, place)) = self.vacate(slot) else {
            return;
        };
        let nanos = nanos.saturating_sub(place.started_nanos);
        self.surroundings.metrics.ended(&run.execution, nanos);
        let ended = Ended {
            line: place.line,
            nanos,
            stop_time: self.surroundings.now(&run),
            run: &run,
            program: self.surroundings.program,
            seed: place.seed,
        };
        let Some(batch) = &mut self.batches[place.batch as usize] else {
            unreachable!("a batch stays until all of its executions have ended");
        };
        batch.open -= 1;
        match self.order {
            Order::Events => {
                let page = &mut batch.pages[place.page as usize];
                self.recorder.ended(&ended, page);
            }
            Order::Completion => {
                batch.permits = batch.permits.saturating_sub(1);
                self.late.permits += 1;
                self.recorder.ended(&ended, self.late.page());
            }
        }
        self.close_batch_if_done(place.batch);
        if self.spare_runs.len() < SPARE_RUNS_MAX && run.execution.memory() <= SPARE_BYTES_MAX {
            self.spare_runs.push(run);
        }
    }

    fn close_batch_if_done(&mut self, index: u32) {
        if let Some(batch) = self.batches[index as usize].take_if(|batch| batch.open == 0) {
            self.free_batches.push(index);
            self.send(batch);
        }
    }

    /// Empties a slot. Answers and timers for it are stale from now on.
    fn vacate(&mut self, slot: u32) -> Option<(Run, Vacated)> {
        let place = &mut self.slots[slot as usize];
        let run = place.run.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free_slots.push(slot);
        self.open -= 1;
        Some((
            run,
            Vacated {
                batch: place.batch,
                page: place.page,
                line: place.line,
                seed: place.seed,
                started_nanos: place.started_nanos,
            },
        ))
    }

    /// Ends what comes after the event at which the stream was cut.
    fn drop_what_is_cut(&mut self) {
        let cut = self.control.cut();
        if cut == u64::MAX || self.order == Order::Completion {
            return;
        }
        for index in 0..self.batches.len() {
            if let Some(batch) = &mut self.batches[index]
                && batch.seq > cut
            {
                batch.seq = u64::MAX;
                self.abandon(|slot| slot.batch as usize == index);
                self.batches[index] = None;
                self.free_batches.push(narrow(index));
            }
        }
    }

    fn abandon_all(&mut self) {
        self.abandon(|_| true);
        for batch in std::mem::take(&mut self.batches).into_iter().flatten() {
            self.send(batch);
        }
    }

    fn abandon(&mut self, is_meant: impl Fn(&Slot) -> bool) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.run.is_some()
                && is_meant(slot)
                && let Some((mut run, place)) = self.vacate(narrow(index))
            {
                self.surroundings.give_up(&mut run);
                self.recorder.abandoned(place.line);
            }
        }
    }

    /// Sends what has ended of a batch ahead of what has not.
    fn send_finished_part(&mut self, batch: &mut Batch<R::Page>) {
        let mut part = Batch::new();
        part.reset(batch.seq, batch.permits.saturating_sub(batch.open as usize));
        std::mem::swap(&mut part.pages, &mut batch.pages);
        (part.used, part.is_cut) = (batch.used, batch.is_cut);
        batch.reset_pages(part.permits);
        self.send(part);
    }

    fn send_late(&mut self) {
        if self.late.permits > 0 {
            let late = std::mem::replace(&mut self.late, Batch::new());
            self.send(late);
        }
    }

    fn send(&self, batch: Batch<R::Page>) {
        // The stream's thread takes batches for as long as there are workers.
        let _ = self.sender.send(batch);
    }

    /// Waits for a batch, an answer, a timer or the end.
    fn wait(&mut self) {
        if !self.ready.is_empty() {
            return;
        }
        self.recorder.idle();
        match self.timers.peek() {
            None => thread::park(),
            Some(Reverse(timer)) => {
                let now = self.surroundings.tick();
                if let Some(left) = timer.nanos.checked_sub(now) {
                    thread::park_timeout(Duration::from_nanos(left));
                }
            }
        }
    }
}

/// Stops the stream if its thread panics.
struct StopOnPanic<'a, P>(&'a Control, &'a Hub<P>);

impl<P> Drop for StopOnPanic<'_, P> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
            self.1.close();
        }
    }
}

/// What was in a slot besides the execution.
struct Vacated {
    batch: u32,
    page: u32,
    line: u64,
    seed: u64,
    started_nanos: u64,
}
