//! A worker: takes turns, each of them for one execution or one batch of starts.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_deque::{self as deque, Steal};

use super::outlet::{Ended, Group, Observed, Receiver, RefusedStart};
use super::slab::{Cache, Held};
use super::start::{StartBatch, Started};
use super::ticket::Ticket;
use super::turn::{AddressOf, Driver, Run, Surroundings, TURN_NANOS_MAX, Turn};
use super::{
    Counters, Frozen, HOT_BYTES_MIN, Heard, Hot, Letter, Owner, Parked, Queues, Shared,
    TIMER_GRACE_MILLIS, TokenLetter, Under, Verdict, count,
};
use crate::history::{NoEvents, Observer};
use crate::interp::{Freezer, Start, Status};
use crate::task::{Address, Inbox};
use crate::value::{Damaged, Reader, put, put_signed};

/// Bytes of memory above which an execution's memory is not kept for the next one.
pub(super) const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// The kinds of work that take turns.
const KINDS: usize = 4;

/// What a worker owns. It is on one thread at a time.
pub(crate) struct Own {
    number: usize,
    called: deque::Worker<u32>,
    spent: deque::Worker<u32>,
    driver: Driver,
    /// The memory in which executions run.
    run: Run,
    freezer: Freezer,
    blob: Vec<u8>,
    cache: Cache,
    letters: Vec<Letter>,
    /// Whether answers were taken: told after the turn, when what came of them is kept if it is kept at all.
    verdicts: Vec<(Verdict, Heard)>,
    /// Which kind of work comes next.
    next_kind: usize,
    /// Whether it is counted among those that look for work.
    is_searching: bool,
    /// The bytes of the input of the execution that has its turn.
    running: Option<u64>,
    /// Executions that have ended in this turn, and the bytes of their inputs.
    ended: usize,
    ended_bytes: u64,
}

/// The ends of a worker's queues.
pub(super) struct Ends {
    number: usize,
    called: deque::Worker<u32>,
    spent: deque::Worker<u32>,
}

impl Ends {
    pub(super) fn new(number: usize) -> Ends {
        Ends {
            number,
            called: deque::Worker::new_fifo(),
            spent: deque::Worker::new_fifo(),
        }
    }

    pub(super) fn queues(&self) -> Queues {
        Queues {
            called: self.called.stealer(),
            spent: self.spent.stealer(),
        }
    }
}

impl Own {
    pub(super) fn new(shared: &Arc<Shared>, ends: Ends) -> Own {
        let inbox = Arc::clone(shared) as Arc<dyn Inbox>;
        Own {
            number: ends.number,
            called: ends.called,
            spent: ends.spent,
            driver: Driver::new(&shared.clock, shared.anchor, shared.mode, inbox),
            run: Run::default(),
            freezer: Freezer::default(),
            blob: Vec::new(),
            cache: Cache::default(),
            letters: Vec::new(),
            verdicts: Vec::new(),
            next_kind: 0,
            is_searching: false,
            running: None,
            ended: 0,
            ended_bytes: 0,
        }
    }
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// One worker.
pub(crate) struct Worker<'a> {
    shared: &'a Shared,
    own: &'a mut Own,
}

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// True while an execution has its turn on this thread: nobody may wait here for what only a further turn brings.
pub(super) fn has_turn() -> bool {
    HAS_TURN.get() || is_worker()
}

/// A turn of an execution on a thread that is no worker, for as long as there is this.
#[derive(Debug)]
pub(crate) struct TurnHere {
    before: bool,
}

impl TurnHere {
    pub(crate) fn begin() -> TurnHere {
        TurnHere {
            before: HAS_TURN.replace(true),
        }
    }
}

impl Drop for TurnHere {
    fn drop(&mut self) {
        HAS_TURN.set(self.before);
    }
}

/// True on the threads of workers, of any engine: what they wait for, nobody may do.
pub(crate) fn is_worker() -> bool {
    IS_WORKER.get()
}

/// A piece of work.
enum Work {
    Execution(u32),
    Starts(Box<StartBatch>),
}

/// What has not been started of a batch goes back, also when a turn panics.
struct Rest<'a> {
    shared: &'a Shared,
    batch: Option<Box<StartBatch>>,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.shared.start_batch(batch);
        }
    }
}

/// Whoever waits for an execution whose turn panics is told that it is lost.
struct Loss<'a>(Option<&'a Arc<Ticket>>);

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(ticket) = self.0
        {
            ticket.lose();
        }
    }
}

/// What the runtime keeps of an execution besides the interpreter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) line: u64,
    pub(crate) seed: u64,
    pub(crate) started_nanos: u64,
    pub(crate) input_bytes: u64,
}

impl<'a> Worker<'a> {
    /// The worker that owns `own`.
    pub(crate) fn new(shared: &'a Shared, own: &'a mut Own) -> Worker<'a> {
        Worker { shared, own }
    }

    /// Takes turns until the runtime is closed, and nothing is in flight any more. A turn that panics,
    /// in a sink or an observer, loses its execution, and no other.
    pub(crate) fn run(mut self) {
        IS_WORKER.set(true);
        self.shared.idle.enlist(self.own.number);
        loop {
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
            match turn {
                Ok(true) => {}
                Ok(false) if self.shared.may_leave() => break,
                Ok(false) => self.idle(),
                Err(_) => {
                    self.own.run = Run::default();
                    self.own.letters.clear();
                    self.own.verdicts.clear();
                    if let Some(input_bytes) = self.own.running {
                        self.leave(None, input_bytes);
                    }
                    self.settle();
                }
            }
        }
        self.shared.slab.give_back(&mut self.own.cache);
    }

    /// One turn: sees to the timers, and to one piece of work. False if there is none.
    pub(crate) fn turn(&mut self) -> bool {
        self.own.driver.tick();
        self.fire_timers();
        let Some(work) = self.find() else {
            return false;
        };
        if std::mem::take(&mut self.own.is_searching) {
            self.shared.idle.end_search();
        }
        count(&self.counters().turns, 1);
        match work {
            Work::Execution(id) => self.execution(id),
            Work::Starts(batch) => self.starts(batch),
        }
        for (verdict, heard) in self.own.verdicts.drain(..) {
            verdict.give(heard);
        }
        self.settle();
        true
    }

    fn counters(&self) -> &'a Counters {
        &self.shared.counters[self.own.number]
    }

    /// Reports what has ended in this turn.
    fn settle(&mut self) {
        if self.own.ended > 0 {
            self.shared.release(self.own.ended, self.own.ended_bytes);
            (self.own.ended, self.own.ended_bytes) = (0, 0);
        }
    }

    /// Queues an execution that was called.
    fn queue(&self, id: u32) {
        self.own.called.push(id);
        self.shared.idle.notify();
    }

    fn fire_timers(&mut self) {
        let now = self.own.driver.anchor.timestamp(self.own.driver.nanos);
        let now = self.shared.timer_millis(now);
        for (worker, timers) in self.shared.wheels.iter().enumerate() {
            let grace = if worker == self.own.number {
                0
            } else {
                TIMER_GRACE_MILLIS
            };
            let next = timers.next_due.load(Ordering::Acquire);
            if next.saturating_add(grace) <= now {
                let own = &*self.own;
                let mut queued = 0_usize;
                let fired = self.shared.fire(worker, now, |id| {
                    own.called.push(id);
                    queued += 1;
                });
                count(&self.counters().timers, fired);
                if queued > 1 {
                    self.shared.idle.notify();
                }
            }
        }
    }

    /// The next piece of work: of its own, of all, of others.
    fn find(&mut self) -> Option<Work> {
        for _ in 0..KINDS {
            let kind = self.own.next_kind;
            self.own.next_kind = (kind + 1) % KINDS;
            let found = match kind {
                0 => self.find_called().map(Work::Execution),
                1 => self.shared.take_lane().map(Work::Starts),
                2 => until_settled(|| self.shared.starts.steal()).map(Work::Starts),
                _ => self.own.spent.pop().map(Work::Execution),
            };
            if found.is_some() {
                return found;
            }
        }
        self.steal().map(Work::Execution)
    }

    fn find_called(&self) -> Option<u32> {
        if let Some(id) = self.own.called.pop() {
            return Some(id);
        }
        until_settled(|| self.shared.called.steal_batch_and_pop(&self.own.called))
    }

    fn steal(&self) -> Option<u32> {
        let queues = &self.shared.queues;
        let others = (1..queues.len()).map(|i| &queues[(self.own.number + i) % queues.len()]);
        for other in others {
            let own = &*self.own;
            let found = until_settled(|| other.called.steal_batch_and_pop(&own.called))
                .or_else(|| until_settled(|| other.spent.steal_batch_and_pop(&own.spent)));
            if found.is_some() {
                count(&self.counters().stolen, 1);
                return found;
            }
        }
        None
    }

    /// Starts the executions of a batch, for as long as a turn lasts.
    fn starts(&mut self, batch: Box<StartBatch>) {
        if batch.left() > 1 {
            self.shared.idle.notify();
        }
        let group = Arc::clone(&batch.group);
        let began = self.own.driver.nanos;
        let number = self.own.number;
        let mut rest = Rest {
            shared: self.shared,
            batch: Some(batch),
        };
        group.outlet.lend(number, &mut |receiver| {
            while let Some(started) = rest.batch.as_mut().and_then(|batch| batch.next()) {
                if receiver.wants() && !self.shared.is_closed() {
                    self.start(&group, started, receiver);
                } else {
                    self.drop_start(started, receiver);
                }
                if self.own.driver.nanos - began >= TURN_NANOS_MAX {
                    break;
                }
            }
        });
    }

    /// Runs one execution, at once if it can be.
    #[inline]
    fn start(&mut self, group: &Arc<Group>, started: Started<'_>, receiver: &mut dyn Receiver) {
        let seed = match &started.ticket {
            Some(ticket) => ticket.seed,
            None => self.shared.seed(started.number),
        };
        let meta = Meta {
            line: started.line,
            seed,
            started_nanos: self.own.driver.nanos,
            input_bytes: started.input.len() as u64,
        };
        self.own.running = Some(meta.input_bytes);
        let _loss = Loss(started.ticket.as_ref());
        let mut held = match &started.ticket {
            None => None,
            Some(ticket) => {
                let mut held = self.shared.slab.take(ticket.place.id);
                drop(held.take());
                Some(held)
            }
        };
        self.own.run.reset();
        let start = Start {
            invocation: group.invocation,
            input: started.input,
            machine: &group.bound.identity,
            name: started.name,
            now: self.own.driver.now(&self.own.run),
            seed,
        };
        let program = &group.bound.program;
        let execution = &mut self.own.run.execution;
        let result = if receiver.observes() {
            receiver.turn_to(&group.bound.identity, started.name, seed);
            execution.start(program, &start, &mut Observed(receiver))
        } else {
            execution.start(program, &start, &mut NoEvents)
        };
        let ticket = started.ticket.as_ref();
        if let Err(error) = result {
            let refused = RefusedStart {
                line: started.line,
                error,
                ticket,
            };
            // Who hears of it finds it counted.
            count(&self.counters().refused, 1);
            group.bound.writers[self.own.number].refused();
            // A receiver that wants nothing more says so when it is asked.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = receiver.refused(&refused);
            self.leave(held, meta.input_bytes);
            return;
        }
        if let Some(recorded) = ticket.and_then(|ticket| ticket.recorded) {
            self.own.run.execution.set_attempt(recorded.attempt);
        }
        count(&self.counters().started, 1);
        group.bound.writers[self.own.number].started(group.invocation);
        if group.bound.bindings.has_tokens {
            let place = match &held {
                Some(held) => held.place(),
                None => held.insert(self.shared.occupy(&mut self.own.cache)).place(),
            };
            self.own.run.execution.set_place(place.as_number());
        }
        if let Some(held) = &held {
            held.mail(&mut self.own.letters);
        }
        let turn = self.drive(group, &mut held, receiver);
        self.after(group, ticket, meta, held, turn, receiver);
    }

    /// A start that nobody wants any more.
    #[cold]
    fn drop_start(&mut self, started: Started<'_>, receiver: &mut dyn Receiver) {
        self.own.running = Some(started.input.len() as u64);
        let held = started.ticket.as_ref().map(|ticket| {
            let mut held = self.shared.slab.take(ticket.place.id);
            drop(held.take());
            held
        });
        receiver.dropped(started.line, started.ticket.as_ref());
        count(&self.counters().abandoned, 1);
        self.leave(held, started.input.len() as u64);
    }

    /// A turn of an execution that was parked.
    fn execution(&mut self, id: u32) {
        let mut held = self.shared.slab.take(id);
        let (owner, meta) = match held.take() {
            Some(Parked::Frozen(frozen)) => self.thaw(frozen),
            Some(Parked::Hot(hot)) => {
                self.shared.cooled(hot.bytes);
                self.own.run = hot.run;
                (hot.owner, hot.meta)
            }
            Some(Parked::Starting) | None => unreachable!("what is in a queue was parked"),
        };
        let group = Arc::clone(owner.group());
        self.own.running = Some(meta.input_bytes);
        let _loss = Loss(owner.ticket());
        held.mail(&mut self.own.letters);
        let mut held = Some(held);
        group.outlet.lend(self.own.number, &mut |receiver| {
            if receiver.observes() {
                let name = self.own.run.execution.given_name();
                receiver.turn_to(&group.bound.identity, name, meta.seed);
            }
            let turn = self.drive(&group, &mut held, receiver);
            self.after(&group, owner.ticket(), meta, held.take(), turn, receiver);
            if !receiver.is_kept() {
                // Who has answered may think that it counts only if a restart would not undo it.
                let verdicts = self.own.verdicts.iter_mut();
                let taken = verdicts.filter(|(_, heard)| *heard == Heard::Taken);
                taken.for_each(|(_, heard)| *heard = Heard::NotKept);
            }
        });
    }

    /// Hands over the letters and gives a turn; `None` if the execution is not wanted any more.
    fn drive(
        &mut self,
        group: &Group,
        held: &mut Option<Held<'a, Parked, Letter>>,
        receiver: &mut dyn Receiver,
    ) -> Option<Turn> {
        let around = group.bound.on_worker(self.own.number);
        let (shared, cache) = (self.shared, &mut self.own.cache);
        let mut address =
            || Address::from(held.get_or_insert_with(|| shared.occupy(cache)).place());
        let post = Post {
            letters: &mut self.own.letters,
            verdicts: &mut self.own.verdicts,
        };
        let (driver, run) = (&mut self.own.driver, &mut self.own.run);
        if receiver.observes() {
            drive(
                driver,
                around,
                run,
                post,
                &mut address,
                &mut Observed(receiver),
            )
        } else {
            drive(driver, around, run, post, &mut address, &mut NoEvents)
        }
    }

    /// Sees to an execution after its turn.
    fn after(
        &mut self,
        group: &Arc<Group>,
        ticket: Option<&Arc<Ticket>>,
        meta: Meta,
        held: Option<Held<'a, Parked, Letter>>,
        turn: Option<Turn>,
        receiver: &mut dyn Receiver,
    ) {
        let turn = match turn {
            Some(Turn::Done) => return self.ended(group, ticket, meta, held, receiver),
            Some(turn) => turn,
            None => {
                let metrics = &group.bound.writers[self.own.number];
                self.own.driver.give_up(metrics, &mut self.own.run);
                receiver.abandoned(meta.line, ticket);
                count(&self.counters().abandoned, 1);
                return self.leave(held, meta.input_bytes);
            }
        };
        let held = match held {
            Some(held) => held,
            None => self.shared.occupy(&mut self.own.cache),
        };
        let owner = match ticket {
            Some(ticket) => Owner::Ticket(Arc::clone(ticket)),
            None => Owner::Group(Arc::clone(group)),
        };
        let place = held.place();
        receiver.parked(meta.line, place);
        count(&self.counters().parked, 1);
        self.own.running = None;
        match turn {
            Turn::Parked(at) => {
                let at = at.plus_millis(self.own.run.skipped_millis.saturating_neg());
                let frozen = self.freeze(group, owner, meta);
                self.shared.arm(self.own.number, &held, at);
                if !held.park(frozen) {
                    self.queue(place.id);
                }
            }
            Turn::OutOfFuel | Turn::Done => {
                let parked = self.set_aside(group, owner, meta);
                self.own.spent.push(held.queue(parked));
                self.shared.idle.notify();
            }
        }
        self.shared.give_up_if_closed(place);
        if self.own.run.execution.memory() > KEPT_BYTES_MAX {
            self.own.run = Run::default();
        }
    }

    fn freeze(&mut self, group: &Group, owner: Owner, meta: Meta) -> Parked {
        let Own {
            run, freezer, blob, ..
        } = &mut *self.own;
        Parked::Frozen(freeze(run, group, owner, meta, freezer, blob))
    }

    /// Takes the execution out of the worker's memory until its next turn. Freezing takes time by the size of what is live,
    /// and a large Map has many turns: then the execution takes its memory along.
    fn set_aside(&mut self, group: &Group, owner: Owner, meta: Meta) -> Parked {
        let execution = &self.own.run.execution;
        let bytes = execution.memory();
        if execution.document_bytes() < HOT_BYTES_MIN || !self.shared.keep_hot(bytes) {
            return self.freeze(group, owner, meta);
        }
        Parked::Hot(Box::new(Hot {
            run: std::mem::take(&mut self.own.run),
            owner,
            meta,
            bytes,
        }))
    }

    #[inline]
    fn ended(
        &mut self,
        group: &Group,
        ticket: Option<&Arc<Ticket>>,
        meta: Meta,
        held: Option<Held<'a, Parked, Letter>>,
        receiver: &mut dyn Receiver,
    ) {
        let nanos = self.own.driver.tick();
        let execution = &self.own.run.execution;
        let counters = self.counters();
        count(&counters.transitions, execution.transitions());
        let counter = match execution.status() {
            Status::Succeeded => &counters.succeeded,
            Status::TimedOut => &counters.timed_out,
            Status::Aborted => &counters.aborted,
            Status::Failed | Status::Running => &counters.failed,
        };
        count(counter, 1);
        let nanos = nanos.saturating_sub(meta.started_nanos);
        group.bound.writers[self.own.number].ended(execution, nanos);
        receiver.ended(&Ended {
            line: meta.line,
            worker: self.own.number,
            nanos,
            stop_time: self.own.driver.now(&self.own.run),
            input_bytes: meta.input_bytes,
            run: &self.own.run,
            program: &group.bound.program,
            seed: meta.seed,
            ticket,
        });
        if execution.memory() > KEPT_BYTES_MAX {
            self.own.run = Run::default();
        }
        self.leave(held, meta.input_bytes);
    }

    /// An execution is over: its slot becomes free.
    #[inline]
    fn leave(&mut self, held: Option<Held<'a, Parked, Letter>>, input_bytes: u64) {
        if let Some(held) = held {
            held.vacate(&mut self.own.cache);
        }
        self.own.running = None;
        self.own.ended += 1;
        self.own.ended_bytes += input_bytes;
    }

    fn thaw(&mut self, frozen: Frozen) -> (Owner, Meta) {
        let Frozen {
            blob,
            owner,
            pending,
        } = frozen;
        let meta = match self.read(owner.group(), &blob) {
            Ok(meta) => meta,
            Err(damaged) => unreachable!("the blob was written by this process: {damaged}"),
        };
        if let Some(mut pending) = pending {
            self.own.run.pending.append(&mut pending.0);
        }
        if blob.len() > HOT_BYTES_MIN {
            // What that took is not taken off the turn.
            self.own.driver.tick();
        }
        (owner, meta)
    }

    fn read(&mut self, group: &Group, blob: &[u8]) -> Result<Meta, Damaged> {
        self.own.run.reset();
        let mut reader = Reader::new(blob);
        let (line, started_nanos) = (reader.number()?, reader.number()?);
        let input_bytes = reader.number()?;
        if input_bytes & 1 == 1 {
            self.own.run.skipped_millis = reader.signed()?;
            for _ in 0..reader.length()? {
                self.own.run.calls.push(reader.number_u32()?);
            }
        }
        self.own.run.execution.thaw(
            &group.bound.program,
            &group.bound.identity,
            &mut self.own.freezer,
            reader.rest(),
        )?;
        Ok(Meta {
            line,
            seed: self.own.run.execution.seed(),
            started_nanos,
            input_bytes: input_bytes >> 1,
        })
    }

    /// Sleeps until there is work or a timer is due; called when none was found. See the steps of [`super::idle`].
    fn idle(&mut self) {
        let idle = &self.shared.idle;
        if !std::mem::replace(&mut self.own.is_searching, true) {
            // Whoever makes work from now on relies on this worker.
            return idle.begin_search();
        }
        let number = self.own.number;
        if idle.fall_asleep(number) && self.has_work() {
            idle.notify();
        }
        while idle.is_asleep(number) && !self.shared.may_leave() {
            match self.sleep_time() {
                Some(Duration::ZERO) => break,
                Some(time) => {
                    std::thread::park_timeout(time);
                    break;
                }
                None => std::thread::park(),
            }
        }
        // Whoever woke it has counted it as searching, and so does this.
        idle.wake_up(number);
    }

    /// True if one of the queues has something; it is not taken.
    fn has_work(&self) -> bool {
        let shared = self.shared;
        !shared.called.is_empty()
            || !shared.starts.is_empty()
            || shared.has_lane.load(Ordering::Acquire)
            || shared
                .queues
                .iter()
                .any(|queues| !queues.called.is_empty() || !queues.spent.is_empty())
            || shared.may_leave()
    }

    /// How long there is nothing to do; `None` if until something comes.
    fn sleep_time(&mut self) -> Option<Duration> {
        let due = self.shared.wheels.iter().enumerate().map(|(i, timers)| {
            let due = timers.next_due.load(Ordering::Acquire);
            let is_own = i == self.own.number;
            due.saturating_add(if is_own { 0 } else { TIMER_GRACE_MILLIS })
        });
        let due = due.min().filter(|due| *due < u64::MAX);
        let poll = self.own.driver.clock.poll_interval();
        let left = due.map(|due| {
            let at = self.own.driver.anchor.nanos_after(due.saturating_sub(1));
            Duration::from_nanos(at.saturating_sub(self.own.driver.tick()))
        });
        match (left, poll) {
            (Some(left), Some(poll)) => Some(left.min(poll)),
            (left, poll) => left.or(poll),
        }
    }
}

/// Writes an execution to a blob, with what the runtime keeps of it. It does not run on before it is thawed.
pub(super) fn freeze(
    run: &mut Run,
    group: &Group,
    owner: Owner,
    meta: Meta,
    freezer: &mut Freezer,
    out: &mut Vec<u8>,
) -> Frozen {
    out.clear();
    put(out, meta.line);
    put(out, meta.started_nanos);
    // Most have no more than that.
    let has_more = run.skipped_millis != 0 || !run.calls.is_empty();
    put(out, meta.input_bytes << 1 | u64::from(has_more));
    if has_more {
        put_signed(out, run.skipped_millis);
        put(out, run.calls.len() as u64);
        for &calls in &run.calls {
            put(out, calls.into());
        }
    }
    run.execution.freeze(&group.bound.program, freezer, out);
    let pending = &mut run.pending;
    Frozen {
        blob: out.as_slice().into(),
        owner,
        pending: (!pending.is_empty()).then(|| Box::new(Under(std::mem::take(pending)))),
    }
}

fn until_settled<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match steal() {
            Steal::Success(found) => return Some(found),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

/// What came for an execution, and what is told of it.
struct Post<'a> {
    letters: &'a mut Vec<Letter>,
    verdicts: &'a mut Vec<(Verdict, Heard)>,
}

/// Hands over the letters and gives a turn; `None` if the execution is not wanted any more.
#[inline]
fn drive<O: Observer>(
    driver: &mut Driver,
    around: Surroundings<'_>,
    run: &mut Run,
    post: Post<'_>,
    address: AddressOf<'_>,
    observer: &mut O,
) -> Option<Turn> {
    if !post.letters.is_empty() {
        driver.tick();
        for letter in post.letters.drain(..) {
            match letter {
                Letter::Answer(answer) => {
                    driver.answer(around, run, &answer, observer);
                }
                Letter::Stop(failure) => {
                    let now = driver.now(run);
                    let program = &around.bound.program;
                    run.execution.stop(program, failure, now, observer);
                }
                Letter::Token(letter) => {
                    let TokenLetter {
                        token,
                        answer,
                        verdict,
                    } = letter;
                    let token = token.as_str();
                    let taken = driver.answer_token(around, run, token, &answer, observer);
                    let heard = match taken {
                        true => Heard::Taken,
                        false => Heard::Unwanted,
                    };
                    post.verdicts.push((verdict, heard));
                }
                Letter::Abandon => return None,
            }
        }
    }
    Some(driver.turn(around, run, address, observer))
}
