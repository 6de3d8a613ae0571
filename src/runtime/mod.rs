//! The runtime: runs executions on a fixed number of workers, and keeps those that wait.
//!
//! 1. A start is admitted or refused ([`admission`]), and its input copied into a batch ([`start`]), which is queued.
//! 2. A worker ([`worker`]) takes a batch and runs each of its executions at once, to its end if it can: it keeps one
//!    execution's memory for that. What comes of it goes to the group's [`outlet`].
//! 3. An execution that has to wait, for time or for an answer, or whose turn was long enough, is frozen to one blob and
//!    moves into a slot of the [`slab`]. From then on it is a 32-bit id in a queue, or in nothing at all. If only its turn
//!    was over, and its document is large, it moves there as it is.
//! 4. A [`timer`], an answer, a completion by its token or a stop calls the slot: its id goes into a queue, and whichever
//!    worker takes it thaws the execution into its own memory and goes on.
//! 5. Workers without work sleep ([`idle`]).
//!
//! Four kinds of work take turns, so that none starves the others: what was called, what was started one by one, what was
//! started in batches, and what has had its turn and could go on. A turn is bounded in time. Workers that find nothing of their own steal from the others.
//!
//! [`Worker::turn`] is a function of the queues, the slab and the clock: a simulation can call it on one thread, for
//! workers that have no threads.

pub(crate) mod admission;
pub(crate) mod clock;
mod idle;
#[cfg(all(quickstep_loom, test))]
mod loom;
pub(crate) mod outlet;
pub(crate) mod result;
#[cfg(feature = "server")]
pub(crate) mod seat;
mod slab;
pub(crate) mod start;
mod sync;
pub(crate) mod ticket;
mod ticks;
mod timer;
pub(crate) mod turn;
mod worker;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_deque::{Injector, Stealer};
use crossbeam_utils::CachePadded;

use crate::history::Failure;
use crate::interp::{FrameHandle, Freezer};
use crate::stdx::Timestamp;
use crate::task::{Address, Answer, Inbox, Pending, TaskAnswer, TaskToken, lock};
use admission::{Admission, Limits, Throttled};
use clock::{Anchor, Clock, TimeMode};
use idle::Idle;
use outlet::Group;
use slab::{Cache, Called, Held, Slab};
use start::{Spare, StartBatch};
use ticket::{Recorded, Ticket};
use timer::{Timer, Wheel};
use turn::Run;

pub use outlet::Ended;
pub(crate) use slab::Place;
pub(crate) use worker::{Meta, Own, TurnHere, Worker, is_worker};

use worker::Ends;

/// Batches whose memory is kept for others, for each worker.
const SPARE_BATCHES_PER_WORKER: usize = 64;

/// Milliseconds after which a timer that its own worker has not seen to is seen to by others.
const TIMER_GRACE_MILLIS: u64 = 10;

/// Bytes of a document above which freezing it takes so long that an execution rather waits for its next turn as it is.
const HOT_BYTES_MIN: usize = 16 * 1024;

/// Most bytes that such executions hold together; beyond that they are frozen nevertheless.
const HOT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a runtime is set up.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) workers: usize,
    pub(crate) limits: Limits,
    /// Executions of an earlier process that are to go on, however many may be started now.
    pub(crate) found: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mode: TimeMode,
    /// What the seeds of executions are made of.
    pub(crate) seed: u64,
    /// True if somebody else calls [`Worker::turn`] than the workers' threads.
    pub(crate) is_simulated: bool,
}

/// What all workers, and everybody who starts executions, have in common.
pub(crate) struct Shared {
    slab: Slab<Parked, Letter>,
    /// Batches of starts.
    starts: Injector<Box<StartBatch>>,
    /// Starts that were made one by one, until a worker takes them.
    lane: Mutex<Lane>,
    has_lane: AtomicBool,
    /// Executions that were called from outside of the workers.
    called: Injector<u32>,
    queues: Box<[Queues]>,
    wheels: Box<[CachePadded<Timers>]>,
    /// Bytes that executions hold which wait for their next turn as they are.
    hot_bytes: AtomicUsize,
    spare_batches: Mutex<Vec<Spare>>,
    spare_batches_max: usize,
    idle: Idle,
    pub(crate) admission: Admission,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) anchor: Anchor,
    pub(crate) mode: TimeMode,
    seed: u64,
    /// Numbers that were given to executions.
    numbers: AtomicU64,
    is_closed: AtomicBool,
    /// Set when everything has been told that it is given up: then workers may end.
    is_over: AtomicBool,
    is_simulated: bool,
    counters: Box<[CachePadded<Counters>]>,
}

/// What others can steal from a worker.
struct Queues {
    called: Stealer<u32>,
    spent: Stealer<u32>,
}

/// The timers of a worker.
struct Timers {
    /// When the first one is due, in milliseconds; it may be early.
    next_due: AtomicU64,
    wheel: Mutex<Wheel>,
}

/// The batch to which starts that are made one by one are added.
#[derive(Default)]
struct Lane {
    open: Option<Box<StartBatch>>,
    /// Free slots for those who are no workers.
    cache: Cache,
}

/// What is in a slot.
pub(crate) enum Parked {
    /// Nothing yet: the start is in a batch.
    Starting,
    /// An execution.
    Frozen(Frozen),
    /// An execution that only waits for its next turn, and is too large to be frozen for every turn.
    Hot(Box<Hot>),
}

/// An execution between two turns as it ran.
pub(crate) struct Hot {
    run: Run,
    owner: Owner,
    meta: Meta,
    /// What counts as held by it in [`Shared::hot_bytes`].
    bytes: usize,
}

/// An execution between two turns.
pub(crate) struct Frozen {
    /// What the runtime keeps of it, then what the interpreter does.
    blob: Box<[u8]>,
    owner: Owner,
    pending: Option<Box<Under>>,
}

/// Tasks under way. Most executions that wait have none.
struct Under(Vec<(FrameHandle, Pending)>);

/// To whom an execution belongs.
#[derive(Clone)]
enum Owner {
    Group(Arc<Group>),
    Ticket(Arc<Ticket>),
}

impl Owner {
    fn group(&self) -> &Arc<Group> {
        match self {
            Owner::Group(group) => group,
            Owner::Ticket(ticket) => &ticket.group,
        }
    }

    const fn ticket(&self) -> Option<&Arc<Ticket>> {
        match self {
            Owner::Group(_) => None,
            Owner::Ticket(ticket) => Some(ticket),
        }
    }
}

/// A slot of an execution on a thread that is no worker.
pub(crate) type Outside<'s> = Held<'s, Parked, Letter>;

/// What was admitted goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted<'s> {
    shared: &'s Shared,
    count: usize,
    bytes: u64,
}

impl Admitted<'_> {
    /// Somebody else sees to it.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.shared.release(self.count, self.bytes);
    }
}

/// Something that came for an execution.
pub(crate) enum Letter {
    /// A task was answered.
    Answer(Answer),
    /// It is to be stopped.
    Stop(Failure),
    /// A task was answered by its token.
    Token(TokenLetter),
    /// Nobody wants it any more.
    Abandon,
}

/// What became of a task, by its token.
pub(crate) struct TokenLetter {
    token: TaskToken,
    answer: TaskAnswer,
    verdict: Verdict,
}

/// Tells whoever gave an answer whether it was taken. If it is dropped, it was not.
struct Verdict(Option<Told>);

/// What became of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// The execution has taken it.
    Taken,
    /// Nobody waits for it.
    Unwanted,
    /// It was taken, but what came of it could not be kept.
    NotKept,
}

/// Is told what became of an answer, on a worker's thread.
pub(crate) type Told = Box<dyn FnOnce(Heard) + Send>;

#[derive(Default)]
struct Judged {
    taken: Mutex<Option<bool>>,
    changed: Condvar,
}

impl Verdict {
    fn give(mut self, heard: Heard) {
        self.say(heard);
    }

    fn say(&mut self, heard: Heard) {
        if let Some(tell) = self.0.take() {
            tell(heard);
        }
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        self.say(Heard::Unwanted);
    }
}

impl Judged {
    fn give(&self, taken: bool) {
        *lock(&self.taken) = Some(taken);
        self.changed.notify_all();
    }

    fn wait(&self) -> bool {
        let mut taken = lock(&self.taken);
        loop {
            if let Some(taken) = *taken {
                return taken;
            }
            let waited = self.changed.wait(taken);
            taken = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What a worker has done. Only the worker writes them.
#[derive(Debug, Default)]
struct Counters {
    started: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    aborted: AtomicU64,
    refused: AtomicU64,
    abandoned: AtomicU64,
    transitions: AtomicU64,
    turns: AtomicU64,
    parked: AtomicU64,
    timers: AtomicU64,
    stolen: AtomicU64,
}

/// What the workers of an engine have done so far, all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Executions that were started.
    pub started: u64,
    /// Executions that ended with an output.
    pub succeeded: u64,
    /// Executions that failed.
    pub failed: u64,
    /// Executions that took too long.
    pub timed_out: u64,
    /// Executions that were stopped.
    pub aborted: u64,
    /// Inputs that were none.
    pub refused: u64,
    /// Executions that were given up.
    pub abandoned: u64,
    /// States that were entered.
    pub transitions: u64,
    /// Turns of workers.
    pub turns: u64,
    /// How often an execution was frozen.
    pub parked: u64,
    /// Timers that fell due.
    pub timers: u64,
    /// Pieces of work that a worker took from another.
    pub stolen: u64,
}

#[inline]
fn count(counter: &AtomicU64, more: u64) {
    // One thread writes.
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(more),
        Ordering::Relaxed,
    );
}

impl Shared {
    /// A runtime, and what its workers own.
    pub(crate) fn new(config: Config) -> (Arc<Shared>, Vec<Own>) {
        let workers = config.workers.max(1);
        let admission = Admission::new(config.limits, config.found);
        let ends: Vec<Ends> = (0..workers).map(Ends::new).collect();
        let shared = Shared {
            slab: Slab::new(admission.executions_max(), workers + 1),
            starts: Injector::new(),
            lane: Mutex::default(),
            has_lane: AtomicBool::new(false),
            called: Injector::new(),
            queues: ends.iter().map(Ends::queues).collect(),
            wheels: (0..workers)
                .map(|_| {
                    CachePadded::new(Timers {
                        next_due: AtomicU64::new(u64::MAX),
                        wheel: Mutex::new(Wheel::new()),
                    })
                })
                .collect(),
            spare_batches: Mutex::default(),
            spare_batches_max: workers * SPARE_BATCHES_PER_WORKER,
            idle: Idle::new(workers),
            admission,
            anchor: Anchor::new(&*config.clock),
            clock: config.clock,
            mode: config.mode,
            seed: config.seed,
            numbers: AtomicU64::new(0),
            hot_bytes: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            is_simulated: config.is_simulated,
            counters: (0..workers).map(|_| CachePadded::default()).collect(),
        };
        let shared = Arc::new(shared);
        let owns = ends.into_iter().map(|ends| Own::new(&shared, ends));
        let owns = owns.collect();
        (shared, owns)
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.queues.len()
    }

    /// The seed of the execution of that number.
    #[inline]
    pub(crate) fn seed(&self, number: u64) -> u64 {
        mix(self.seed.wrapping_add(number))
    }

    /// Takes numbers for executions; returns the first.
    pub(crate) fn take_numbers(&self, count: u64) -> u64 {
        self.numbers.fetch_add(count, Ordering::Relaxed)
    }

    /// A seed for the next execution.
    pub(crate) fn new_seed(&self) -> u64 {
        self.seed(self.take_numbers(1))
    }

    /// A batch for starts.
    pub(crate) fn new_batch(
        &self,
        group: &Arc<Group>,
        first_line: u64,
        first_number: u64,
    ) -> Box<StartBatch> {
        let spare = lock(&self.spare_batches).pop().unwrap_or_default();
        Box::new(StartBatch::new(
            Arc::clone(group),
            spare,
            first_line,
            first_number,
        ))
    }

    fn recycle(&self, batch: StartBatch) {
        let spare = batch.into_spare();
        let mut spares = lock(&self.spare_batches);
        if spares.len() < self.spare_batches_max {
            spares.push(spare);
        }
    }

    /// Queues a batch whose starts were admitted.
    pub(crate) fn start_batch(&self, batch: Box<StartBatch>) {
        if batch.left() == 0 {
            return self.recycle(*batch);
        }
        self.starts.push(batch);
        self.idle.notify();
    }

    /// Queues one start that was admitted.
    pub(crate) fn start(
        &self,
        group: &Arc<Group>,
        input: &[u8],
        name: Option<&str>,
        seed: Option<u64>,
        recorded: Option<Recorded>,
    ) -> Arc<Ticket> {
        let mut lane = lock(&self.lane);
        let number = self.take_numbers(1);
        let seed = seed.unwrap_or_else(|| self.seed(number));
        let held = self.occupy(&mut lane.cache);
        let ticket = Arc::new(Ticket::new(Arc::clone(group), held.place(), seed, recorded));
        // Nothing takes the slot but the worker that comes to the start.
        held.queue(Parked::Starting);
        let fits = |batch: &StartBatch| {
            Arc::ptr_eq(&batch.group, group) && !batch.is_full() && batch.next_number() == number
        };
        if !lane.open.as_deref().is_some_and(fits) {
            let batch = self.new_batch(group, 0, number);
            if let Some(full) = lane.open.replace(batch) {
                self.starts.push(full);
            }
        }
        if let Some(batch) = &mut lane.open {
            batch.push(input, name, Some(Arc::clone(&ticket)));
        }
        self.has_lane.store(true, Ordering::Release);
        drop(lane);
        self.idle.notify();
        ticket
    }

    fn take_lane(&self) -> Option<Box<StartBatch>> {
        if !self.has_lane.load(Ordering::Acquire) {
            return None;
        }
        let mut lane = lock(&self.lane);
        self.has_lane.store(false, Ordering::Relaxed);
        lane.open.take()
    }

    /// Takes in that an execution is to wait for its next turn as it is; false if such executions hold too much.
    fn keep_hot(&self, bytes: usize) -> bool {
        let held = self.hot_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = held + bytes <= HOT_BYTES_MAX;
        if !fits {
            self.cooled(bytes);
        }
        fits
    }

    /// Such an execution has its turn.
    fn cooled(&self, bytes: usize) {
        self.hot_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn occupy(&self, cache: &mut Cache) -> Held<'_, Parked, Letter> {
        match self.slab.occupy(cache) {
            Some(held) => held,
            None => unreachable!("there is a slot for every execution that is admitted"),
        }
    }

    /// A guard that releases what was admitted, unless it is kept.
    pub(crate) fn admitted(&self, count: usize, bytes: u64) -> Admitted<'_> {
        Admitted {
            shared: self,
            count,
            bytes,
        }
    }

    /// The place of an execution on a thread that is no worker; it takes a slot when it is first asked for.
    pub(crate) fn outside_place<'s>(&'s self, held: &mut Option<Outside<'s>>) -> Place {
        held.get_or_insert_with(|| self.outside()).place()
    }

    /// A slot for an execution on such a thread.
    fn outside(&self) -> Outside<'_> {
        self.occupy(&mut lock(&self.lane).cache)
    }

    /// Such an execution has ended.
    pub(crate) fn vacate(&self, held: Outside<'_>) {
        held.vacate(&mut lock(&self.lane).cache);
    }

    /// Takes over an execution that was started on a thread that is no worker, and was admitted.
    pub(crate) fn adopt<'s>(
        &'s self,
        held: Option<Outside<'s>>,
        group: &Arc<Group>,
        run: &mut Run,
        meta: Meta,
    ) -> Arc<Ticket> {
        let held = held.unwrap_or_else(|| self.outside());
        let ticket = Arc::new(Ticket::new(
            Arc::clone(group),
            held.place(),
            meta.seed,
            None,
        ));
        let owner = Owner::Ticket(Arc::clone(&ticket));
        let mut out = Vec::new();
        let frozen = worker::freeze(run, group, owner, meta, &mut Freezer::default(), &mut out);
        let place = held.place();
        self.called.push(held.queue(Parked::Frozen(frozen)));
        self.give_up_if_closed(place);
        self.idle.notify();
        ticket
    }

    /// Puts something into the mail of an execution; false if it has ended.
    fn deliver(&self, place: Place, letter: Letter) -> bool {
        let called = self.slab.deliver(place, letter);
        if called == Called::Queue {
            self.called.push(place.id);
            self.idle.notify();
        }
        called != Called::Stale
    }

    /// Hands over what became of a task; false if there is no such task. In a turn of an execution, and in a simulation, nobody
    /// can wait for what a worker finds: then only the execution is looked for.
    pub(crate) fn answer(&self, token: &TaskToken, answer: TaskAnswer) -> bool {
        let judged = (!worker::has_turn() && !self.is_simulated).then(Arc::<Judged>::default);
        let told = judged.clone();
        let told =
            told.map(|judged| Box::new(move |heard| judged.give(heard == Heard::Taken)) as Told);
        let found = self.post_answer(place_of(token), token, answer, told);
        match judged {
            Some(judged) if found => judged.wait(),
            _ => found,
        }
    }

    /// The same without waiting: `told` is told. False if there is no such execution; then it has been told so.
    pub(crate) fn post_answer(
        &self,
        place: Option<Place>,
        token: &TaskToken,
        answer: TaskAnswer,
        told: Option<Told>,
    ) -> bool {
        let verdict = Verdict(told);
        let Some(place) = place else {
            return false;
        };
        let letter = TokenLetter {
            token: token.clone(),
            answer,
            verdict,
        };
        self.deliver(place, Letter::Token(letter))
    }

    /// False if the execution at a place has ended.
    #[cfg(feature = "server")]
    pub(crate) fn is_in_flight(&self, place: Place) -> bool {
        self.slab.is_current(place)
    }

    /// Stops an execution; false if it has ended.
    pub(crate) fn stop(&self, place: Place, failure: Failure) -> bool {
        self.deliver(place, Letter::Stop(failure))
    }

    /// How many slots are not empty.
    pub(crate) fn places(&self) -> usize {
        self.slab.places().count()
    }

    pub(crate) const fn is_simulated(&self) -> bool {
        self.is_simulated
    }

    /// Gives an execution up; false if it has ended.
    pub(crate) fn abandon(&self, place: Place) -> bool {
        self.deliver(place, Letter::Abandon)
    }

    /// A moment of the clock as the timers count: from 1.
    fn timer_millis(&self, at: Timestamp) -> u64 {
        let millis = at
            .millis()
            .saturating_sub(self.anchor.timestamp(self.anchor.nanos()).millis());
        millis.max(0).unsigned_abs().saturating_add(1)
    }

    /// Sets the timer of an execution that is about to be parked. Only the worker of that number calls it.
    fn arm(&self, worker: usize, held: &Held<'_, Parked, Letter>, at: Timestamp) {
        let due = match at {
            Timestamp::MAX => return held.arm(0),
            at => self.timer_millis(at),
        };
        let place = held.place();
        if self.slab.armed(place.id) == due {
            return;
        }
        held.arm(due);
        let timers = &self.wheels[worker];
        let mut wheel = lock(&timers.wheel);
        wheel.insert(Timer { due, place }, |timer| {
            self.slab.is_armed(timer.place, timer.due)
        });
        if due < timers.next_due.load(Ordering::Relaxed) {
            timers.next_due.store(due, Ordering::Release);
        }
    }

    /// Calls whoever waited for a moment up to `now`; their ids go to `queue`. Returns how many timers there were.
    fn fire(&self, worker: usize, now: u64, mut queue: impl FnMut(u32)) -> u64 {
        let timers = &self.wheels[worker];
        // Whoever has it sees to it.
        let Ok(mut wheel) = timers.wheel.try_lock() else {
            return 0;
        };
        let mut fired = 0;
        wheel.advance(now, |timer| {
            if self.slab.disarm(timer.place, timer.due) {
                fired += 1;
                if self.slab.call(timer.place) == Called::Queue {
                    queue(timer.place.id);
                }
            }
        });
        timers.next_due.store(wheel.next_due(), Ordering::Release);
        fired
    }

    /// When the next timer is due, in nanoseconds of the clock; `None` if there is none. It may be early.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        let dues = self.wheels.iter();
        let dues = dues.map(|timers| timers.next_due.load(Ordering::Acquire));
        let due = dues.min().filter(|due| *due < u64::MAX)?;
        Some(self.anchor.nanos_after(due.saturating_sub(1)))
    }

    /// What the workers have done so far.
    pub(crate) fn counts(&self) -> Counts {
        let sum = |of: fn(&Counters) -> &AtomicU64| {
            let all = self.counters.iter();
            all.map(|counters| of(counters).load(Ordering::Relaxed))
                .sum()
        };
        Counts {
            started: sum(|c| &c.started),
            succeeded: sum(|c| &c.succeeded),
            failed: sum(|c| &c.failed),
            timed_out: sum(|c| &c.timed_out),
            aborted: sum(|c| &c.aborted),
            refused: sum(|c| &c.refused),
            abandoned: sum(|c| &c.abandoned),
            transitions: sum(|c| &c.transitions),
            turns: sum(|c| &c.turns),
            parked: sum(|c| &c.parked),
            timers: sum(|c| &c.timers),
            stolen: sum(|c| &c.stolen),
        }
    }

    /// Admits executions, or says why not.
    pub(crate) fn admit(&self, count: usize, bytes: u64) -> Result<(), Throttled> {
        let admitted = self.admission.admit(count, bytes, self.clock.nanos());
        if admitted.is_err() {
            // It may have been counted for a moment.
            self.end_if_empty();
        }
        admitted
    }

    /// Admits executions for somebody who waits until there is room, and is not refused.
    pub(crate) fn try_admit(&self, count: usize, bytes: u64) -> Result<(), Throttled> {
        let admitted = self.admission.try_admit(count, bytes, self.clock.nanos());
        if admitted.is_err() {
            self.end_if_empty();
        }
        admitted
    }

    /// Admits nothing any more, and waits until nothing is in flight, for `patience` at most. Returns how many
    /// executions are left.
    pub(crate) fn drain(&self, patience: Duration) -> usize {
        self.admission.close();
        self.admission.wait_until_empty(patience);
        self.admission.in_flight()
    }

    /// Everything that is in flight is given up, and then the workers end.
    pub(crate) fn close(&self) {
        self.admission.close();
        self.is_closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        for place in self.slab.places() {
            self.abandon(place);
        }
        self.is_over.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.idle.notify_all();
    }

    /// Executions have ended, or were not started after all.
    pub(crate) fn release(&self, count: usize, bytes: u64) {
        if self.admission.release(count, bytes) {
            self.end_if_empty();
        }
    }

    /// Lets the workers go if nothing is in flight any more, and all is over.
    fn end_if_empty(&self) {
        // Either the closing thread sees what this one has released, or this sees that it is over.
        fence(Ordering::SeqCst);
        if self.is_over.load(Ordering::Relaxed) && self.admission.in_flight() == 0 {
            self.idle.notify_all();
        }
    }

    /// True if the workers are not needed any more. Whoever was admitted before the end may still be on its way to a queue,
    /// and somebody waits for what comes of it: so they stay until nothing is in flight.
    fn may_leave(&self) -> bool {
        self.is_over.load(Ordering::Acquire) && {
            fence(Ordering::SeqCst);
            self.admission.in_flight() == 0
        }
    }

    /// Looked at after the execution is in its slot: either `close` finds it there, or this sees that it is closed.
    fn give_up_if_closed(&self, place: Place) {
        fence(Ordering::SeqCst);
        if self.is_closed() {
            self.abandon(place);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }
}

impl Inbox for Shared {
    fn post(&self, answer: Answer) {
        let Address { slot, generation } = answer.address;
        let place = Place {
            id: slot,
            generation,
        };
        // One for an execution that has ended is of no use.
        self.deliver(place, Letter::Answer(answer));
    }

    fn nanos(&self) -> Option<u64> {
        Some(self.clock.nanos())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("workers", &self.workers())
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}

impl From<Place> for Address {
    fn from(place: Place) -> Address {
        Address {
            slot: place.id,
            generation: place.generation,
        }
    }
}

/// The place that a token begins with.
pub(crate) fn place_of(token: &TaskToken) -> Option<Place> {
    let place = token.as_str().get(..16)?;
    Place::of_number(u64::from_str_radix(place, 16).ok()?)
}

/// Spreads neighbouring numbers over all 64 bits, one to one (the finalizer of MurmurHash3).
#[inline]
const fn mix(mut n: u64) -> u64 {
    n ^= n >> 33;
    n = n.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    n ^= n >> 33;
    n = n.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    n ^ (n >> 33)
}
