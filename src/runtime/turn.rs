//! One turn of one execution: everything that can be done at once, with its tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::clock::{Anchor, Clock, TimeMode};
use crate::history::{Failure, Observer};
use crate::interp::{Completion, Execution, FrameHandle, Freezer, MachineIdentity, Stale, Yield};
use crate::metrics::{TaskOutcome, Writer};
use crate::program::{Program, TaskId};
use crate::stdx::Timestamp;
use crate::task::{
    self, Address, Answer, Answers, Begun, Bindings, Handler, Inbox, Pending, Reply, Said, Steps,
    TaskAnswer, TaskRequest,
};
#[cfg(feature = "server")]
use crate::value::{Damaged, Reader};
use crate::value::{put, put_signed};

/// An execution with what its driver keeps of it. Used again for other executions.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) execution: Execution,
    /// How often each Task has been called, if a test case wants to know.
    pub(super) calls: Vec<u32>,
    /// Milliseconds by which its clock has been put forward.
    pub(crate) skipped_millis: i64,
    /// Its tasks under way.
    pub(super) pending: Vec<(FrameHandle, Pending)>,
    /// What services have said to tasks that another process has had accepted, until these are handed out again.
    #[cfg(feature = "server")]
    pub(super) submitted: Vec<(FrameHandle, Vec<u8>)>,
}

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Done,
    /// Nothing happens before this moment of the execution's own clock, unless an answer comes.
    Parked(Timestamp),
    OutOfFuel,
}

/// What the executions of a state machine run with.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) program: Arc<Program>,
    pub(crate) identity: Arc<MachineIdentity>,
    pub(crate) bindings: Bindings,
    /// Where each worker counts.
    pub(crate) writers: Box<[Writer]>,
}

/// A state machine on one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) bound: &'a Bound,
    /// Where this thread counts, and no other at the same time.
    pub(crate) metrics: &'a Writer,
}

impl Bound {
    /// The machine on the worker of that number.
    #[inline]
    pub(crate) fn on_worker(&self, number: usize) -> Surroundings<'_> {
        Surroundings {
            bound: self,
            metrics: &self.writers[number],
        }
    }
}

/// What one thread runs executions with.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) anchor: Anchor,
    pub(crate) mode: TimeMode,
    pub(crate) inbox: Arc<dyn Inbox>,
    /// Answers of handlers; kept for its memory.
    pub(crate) response: Vec<u8>,
    /// The last time that was read.
    pub(crate) nanos: u64,
    /// For observers that keep what they observe.
    freezer: Freezer,
}

/// Says where answers to an execution's tasks go; asked when the first task is handed out.
pub(crate) type AddressOf<'a> = &'a mut dyn FnMut() -> Address;

impl Run {
    /// Forgets the execution before; calls off its tasks.
    pub(crate) fn reset(&mut self) {
        self.skipped_millis = 0;
        if !self.calls.is_empty() {
            self.calls.clear();
        }
        if !self.pending.is_empty() {
            self.pending.clear();
        }
        #[cfg(feature = "server")]
        self.submitted.clear();
    }

    /// Appends the execution with what its driver keeps of it, but for its tasks under way.
    fn freeze(&self, program: &Program, freezer: &mut Freezer, out: &mut Vec<u8>) {
        put_signed(out, self.skipped_millis);
        put(out, self.calls.len() as u64);
        for &calls in &self.calls {
            put(out, calls.into());
        }
        self.execution.freeze(program, freezer, out);
    }

    /// Appends an execution that has ended, so that it can be redriven.
    #[cfg(feature = "server")]
    pub(super) fn freeze_to_redrive(&self, program: &Program, out: &mut Vec<u8>) {
        put_signed(out, self.skipped_millis);
        put(out, self.calls.len() as u64);
        for &calls in &self.calls {
            put(out, calls.into());
        }
        let execution = &self.execution;
        execution.freeze_to_redrive(program, &mut Freezer::default(), out);
    }

    /// Becomes what was frozen.
    #[cfg(feature = "server")]
    pub(super) fn thaw(
        &mut self,
        bound: &Bound,
        freezer: &mut Freezer,
        blob: &[u8],
    ) -> Result<(), Damaged> {
        self.reset();
        let mut reader = Reader::new(blob);
        self.skipped_millis = reader.signed()?;
        for _ in 0..reader.length()? {
            self.calls.push(reader.number_u32()?);
        }
        let rest = reader.rest();
        let execution = &mut self.execution;
        execution.thaw(&bound.program, &bound.identity, freezer, rest)
    }

    fn count_call(&mut self, task: TaskId) -> u32 {
        if self.calls.len() <= task.index() {
            self.calls.resize(task.index() + 1, 0);
        }
        let calls = &mut self.calls[task.index()];
        *calls += 1;
        *calls - 1
    }
}

/// Waits that one turn skips.
const SKIPS_MAX: u32 = 1_000;

/// Transitions between two looks at the clock.
const SLICE_TRANSITIONS: u32 = 512;

/// Slices of a turn: an end for turns whose clock stands.
const SLICES_MAX: u32 = 20;

/// Longest turn, in nanoseconds, but for one slice.
pub(crate) const TURN_NANOS_MAX: u64 = 500_000;

impl Driver {
    /// A driver whose answers go to `inbox`.
    pub(crate) fn new(
        clock: &Arc<dyn Clock>,
        anchor: Anchor,
        mode: TimeMode,
        inbox: Arc<dyn Inbox>,
    ) -> Driver {
        Driver {
            clock: Arc::clone(clock),
            anchor,
            mode,
            inbox,
            response: Vec::new(),
            nanos: anchor.nanos(),
            freezer: Freezer::default(),
        }
    }

    /// Reads the clock.
    #[inline]
    pub(crate) fn tick(&mut self) -> u64 {
        self.nanos = self.clock.nanos();
        self.nanos
    }

    /// The time of an execution's own clock, as of the last tick.
    #[inline]
    pub(crate) fn now(&self, run: &Run) -> Timestamp {
        self.anchor
            .timestamp(self.nanos)
            .plus_millis(run.skipped_millis)
    }

    /// Runs until nothing can be done at once, or until it was long enough.
    #[inline]
    pub(crate) fn turn<O: Observer>(
        &mut self,
        around: Surroundings<'_>,
        run: &mut Run,
        address: AddressOf<'_>,
        observer: &mut O,
    ) -> Turn {
        let mut turn = self.go(around, run, address, observer);
        // Others have their turns before it goes on: it is kept as when it waits.
        if O::ENABLED
            && turn == Turn::OutOfFuel
            && !self.may_go_on(
                &around.bound.program,
                run,
                Yield::Parked(Timestamp::MAX),
                observer,
            )
        {
            self.call_off(around.metrics, run, self.now(run), |_, _| false);
            turn = Turn::Done;
        }
        around.metrics.turn(&mut run.execution);
        turn
    }

    fn go<O: Observer>(
        &mut self,
        around: Surroundings<'_>,
        run: &mut Run,
        address: AddressOf<'_>,
        observer: &mut O,
    ) -> Turn {
        let program = &*around.bound.program;
        let began = self.nanos;
        let mut now = self.now(run);
        let (mut skips, mut slices) = (0, 0);
        run.execution
            .refuel(SLICE_TRANSITIONS.min(observer.states_max()));
        loop {
            let yielded = run.execution.step(program, now, observer);
            if O::ENABLED && !self.may_go_on(program, run, yielded, observer) {
                self.call_off(around.metrics, run, now, |_, _| false);
                return Turn::Done;
            }
            match yielded {
                Yield::Done => {
                    if !run.pending.is_empty() {
                        self.call_off(around.metrics, run, now, |_, _| false);
                    }
                    return Turn::Done;
                }
                Yield::Task(frame) => now = self.task(around, run, address, frame, now, observer),
                Yield::Parked(at) => {
                    if !run.pending.is_empty() {
                        self.call_off(around.metrics, run, now, |execution, frame| {
                            execution.task(program, frame).is_ok()
                        });
                    }
                    if run.pending.is_empty() {
                        if at == Timestamp::MAX {
                            self.strand(program, run, now, observer);
                            return Turn::Done;
                        }
                        if self.mode == TimeMode::Virtual {
                            run.skipped_millis += at.millis().saturating_sub(now.millis()).max(0);
                            now = now.max(at);
                            skips += 1;
                            // Retries and the like use no fuel, and here they use no time either.
                            if skips == SKIPS_MAX {
                                return Turn::OutOfFuel;
                            }
                            continue;
                        }
                    }
                    return Turn::Parked(at);
                }
                Yield::OutOfFuel => {
                    slices += 1;
                    if slices == SLICES_MAX || self.tick() - began >= TURN_NANOS_MAX {
                        return Turn::OutOfFuel;
                    }
                    now = self.now(run);
                    run.execution
                        .refuel(SLICE_TRANSITIONS.min(observer.states_max()));
                }
            }
        }
    }

    /// Asks the observer whether what was yielded may take effect; if not, the execution has ended.
    fn may_go_on<O: Observer>(
        &mut self,
        program: &Program,
        run: &mut Run,
        yielded: Yield,
        observer: &mut O,
    ) -> bool {
        let overrun = observer.overrun(yielded == Yield::Done);
        let failure = match (overrun, yielded) {
            (Some(failure), _) => Some(failure),
            (None, Yield::Task(_) | Yield::Parked(_)) => {
                let freezer = &mut self.freezer;
                let mut freeze = |out: &mut Vec<u8>| run.freeze(program, freezer, out);
                observer.checkpoint(&mut freeze).err()
            }
            (None, Yield::Done | Yield::OutOfFuel) => None,
        };
        match failure {
            None => true,
            Some(failure) => {
                run.execution.overrun(failure);
                false
            }
        }
    }

    /// Takes in an answer that came later; false if nobody waits for it any more.
    pub(crate) fn answer<O: Observer>(
        &self,
        around: Surroundings<'_>,
        run: &mut Run,
        answer: &Answer,
        observer: &mut O,
    ) -> bool {
        let Some(at) = run.pending.iter().position(|(f, _)| *f == answer.frame) else {
            return false;
        };
        let completion = match &answer.said {
            Said::Ended(Ok(json)) => Completion::Succeeded(json),
            Said::Ended(Err(failure)) => Completion::Failed(failure),
            #[cfg(feature = "server")]
            Said::NotSubmitted(failure) => Completion::SubmitFailed(failure),
            #[cfg(feature = "server")]
            Said::Submitted(json) => {
                return self.submitted(around, run, (at, answer), json, observer);
            }
        };
        let (_, pending) = run.pending.swap_remove(at);
        let begun = pending.what_begun();
        pending.finish();
        let now = self.now(run);
        let program = &*around.bound.program;
        let taken = run
            .execution
            .complete(program, answer.frame, completion, now, observer);
        if let Some(begun) = begun {
            if let Some(called) = answer.called_nanos {
                let nanos = called.saturating_sub(begun.nanos);
                around.metrics.task_called(begun.task, nanos);
            }
            self.count(
                around.metrics,
                begun,
                outcome(taken, &completion, begun.due, now),
            );
        }
        true
    }

    /// A service has accepted a task; `at` is its place among those under way.
    #[cfg(feature = "server")]
    #[cold]
    fn submitted<O: Observer>(
        &self,
        around: Surroundings<'_>,
        run: &mut Run,
        (at, answer): (usize, &Answer),
        json: &[u8],
        observer: &mut O,
    ) -> bool {
        let program = &*around.bound.program;
        let now = self.now(run);
        let completion = Completion::Submitted(json);
        complete(
            &mut run.execution,
            program,
            answer.frame,
            completion,
            now,
            observer,
        );
        if let (Some(called), Some(begun)) = (answer.called_nanos, run.pending[at].1.what_begun()) {
            let nanos = called.saturating_sub(begun.nanos);
            around.metrics.task_called(begun.task, nanos);
        }
        true
    }

    /// Ends an execution that nobody wants any more; its tasks are called off.
    #[cold]
    pub(crate) fn give_up(&self, metrics: &Writer, run: &mut Run) {
        self.call_off(metrics, run, self.now(run), |_, _| false);
        metrics.turn(&mut run.execution);
        metrics.abandoned();
        run.reset();
    }

    /// Drops the tasks that nobody waits for any more, which calls them off.
    #[cold]
    fn call_off(
        &self,
        metrics: &Writer,
        run: &mut Run,
        now: Timestamp,
        is_awaited: impl Fn(&Execution, FrameHandle) -> bool,
    ) {
        let execution = &run.execution;
        run.pending.retain(|(frame, pending)| {
            let stays = is_awaited(execution, *frame);
            if !stays && let Some(begun) = pending.what_begun() {
                self.count(metrics, begun, called_off(begun.due, now));
            }
            stays
        });
    }

    fn count(&self, metrics: &Writer, begun: Begun, outcome: TaskOutcome) {
        let nanos = self.nanos.saturating_sub(begun.nanos);
        metrics.task(begun.task, outcome, nanos);
    }

    /// Does a task, or sees that it is done; returns the time.
    fn task<O: Observer>(
        &mut self,
        around: Surroundings<'_>,
        run: &mut Run,
        address: AddressOf<'_>,
        frame: FrameHandle,
        now: Timestamp,
        observer: &mut O,
    ) -> Timestamp {
        let Surroundings { bound, metrics } = around;
        let program = &*bound.program;
        let Ok(call) = run.execution.task(program, frame) else {
            unreachable!("a task that was just yielded is not stale");
        };
        let id = call.id;
        let binding = bound.bindings.task(id);
        if let Some(Handler::Callback(handler)) = &binding.handler
            && run.execution.has_place()
        {
            return self.hand_on(around, binding.steps, &**handler, run, frame, observer);
        }
        if let Some(step) = binding.first_step() {
            complete(&mut run.execution, program, frame, step, now, observer);
        }
        let failure;
        let completion = match &binding.handler {
            Some(Handler::Fixed(answer)) => of_fixed(answer),
            Some(Handler::Answers(answers)) => {
                let number = run.count_call(id);
                match answers.get(number) {
                    Some(answer) => of_fixed(answer),
                    None => {
                        failure = no_answer(answers, program.state_of(id), number);
                        Completion::Failed(&failure)
                    }
                }
            }
            Some(Handler::Sync(handler)) => {
                // The clock is not read again for that: what the interpreter did since it was read is a part of it.
                let began = self.nanos;
                let result = self.call(program, &**handler, run, frame);
                self.tick();
                let now = self.now(run);
                // What fell due while the handler was at work happens first.
                let nanos = self.nanos - began;
                if run.execution.is_overdue(frame, now) {
                    metrics.task(id, TaskOutcome::TimedOut, nanos);
                    return now;
                }
                let completion = match &result {
                    Ok(()) => Completion::Succeeded(&self.response),
                    Err(failure) => Completion::Failed(failure),
                };
                let taken = run
                    .execution
                    .complete(program, frame, completion, now, observer);
                // If it was not, the execution's deadline passed while the handler was at work.
                let outcome = outcome(taken, &completion, Timestamp::MAX, now);
                metrics.task(id, outcome, nanos);
                return now;
            }
            Some(handler) if handler.answers_later() => {
                self.begin(bound, run, address(), frame, &binding.handler);
                return now;
            }
            // Nobody could bring the answer of a callback.
            _ => {
                failure = nobody_answers(program, id, binding.handler.is_some());
                Completion::Failed(&failure)
            }
        };
        metrics.task(id, outcome(Ok(()), &completion, Timestamp::MAX, now), 0);
        complete(
            &mut run.execution,
            program,
            frame,
            completion,
            now,
            observer,
        );
        now
    }

    /// Has a task handed on to whoever answers it by its token.
    #[cold]
    fn hand_on<O: Observer>(
        &mut self,
        around: Surroundings<'_>,
        steps: Steps,
        handler: &dyn task::TaskHandler,
        run: &mut Run,
        frame: FrameHandle,
        observer: &mut O,
    ) -> Timestamp {
        let program = &*around.bound.program;
        let Some(mut begun) = self.begun(program, run, frame) else {
            unreachable!("the task is waiting for this call");
        };
        let result = self.call(program, handler, run, frame);
        self.tick();
        let now = self.now(run);
        // What fell due while the handler was at work happens first.
        if run.execution.is_overdue(frame, now) {
            self.count(around.metrics, begun, TaskOutcome::TimedOut);
            return now;
        }
        let completion = match (&result, steps) {
            (Ok(()), Steps::Submitted) => Some(Completion::Submitted(&self.response)),
            // Nothing is to be told: an activity starts when a worker takes it.
            (Ok(()), Steps::None | Steps::Started) => None,
            (Err(failure), _) => Some(Completion::Failed(failure)),
        };
        if let Some(completion) = completion {
            let taken = run
                .execution
                .complete(program, frame, completion, now, observer);
            if result.is_err() {
                let outcome = outcome(taken, &completion, begun.due, now);
                self.count(around.metrics, begun, outcome);
            }
        }
        if result.is_ok() {
            begun.due = due(program, run, frame).unwrap_or(begun.due);
            run.pending.push((frame, Pending::outside().begun(begun)));
        }
        now
    }

    /// Takes in what became of a task, by its token; false if there is no such task.
    pub(crate) fn answer_token<O: Observer>(
        &self,
        around: Surroundings<'_>,
        run: &mut Run,
        token: &str,
        answer: &TaskAnswer,
        observer: &mut O,
    ) -> bool {
        let Ok(frame) = run.execution.task_of_token(token) else {
            return false;
        };
        let program = &*around.bound.program;
        let now = self.now(run);
        let completion = answer.as_completion();
        let place = run.pending.iter().position(|(f, _)| *f == frame);
        if !answer.is_last() {
            let taken = run
                .execution
                .complete(program, frame, completion, now, observer);
            if let Some(at) = place
                && let Some(due) = due(program, run, frame)
            {
                run.pending[at].1.put_off(due);
            }
            return taken.is_ok();
        }
        let mut begun = None;
        if let Some(at) = place {
            let (_, pending) = run.pending.swap_remove(at);
            begun = pending.what_begun();
            pending.finish();
        }
        let taken = run
            .execution
            .complete(program, frame, completion, now, observer);
        if let Some(begun) = begun {
            self.count(
                around.metrics,
                begun,
                outcome(taken, &completion, begun.due, now),
            );
        }
        taken.is_ok()
    }

    /// What metrics want to know of a task that is handed out now.
    fn begun(&self, program: &Program, run: &Run, frame: FrameHandle) -> Option<Begun> {
        let call = run.execution.task(program, frame).ok()?;
        Some(Begun {
            task: call.id,
            nanos: self.nanos,
            due: call.timeout_at.min(call.heartbeat_at),
        })
    }

    fn call(
        &mut self,
        program: &Program,
        handler: &dyn task::TaskHandler,
        run: &Run,
        frame: FrameHandle,
    ) -> Result<(), Failure> {
        let Ok(call) = run.execution.task(program, frame) else {
            unreachable!("the task is waiting for this call");
        };
        self.response.clear();
        let request = TaskRequest::new(call, frame, &run.execution);
        let response = &mut self.response;
        // What a panic leaves half-done is the response, which is then not looked at.
        catch_unwind(AssertUnwindSafe(|| handler.call(&request, response)))
            .unwrap_or_else(|payload| Err(task::panicked(request.resource(), &*payload)))
    }

    #[cold]
    fn begin(
        &self,
        bound: &Bound,
        run: &mut Run,
        address: Address,
        frame: FrameHandle,
        handler: &Option<Handler>,
    ) {
        let (Some(begun), Ok(call)) = (
            self.begun(&bound.program, run, frame),
            run.execution.task(&bound.program, frame),
        ) else {
            unreachable!("the task is waiting for this call");
        };
        let request = TaskRequest::new(call, frame, &run.execution);
        let reply = Reply::new(&self.inbox, address, frame);
        let pending = match handler {
            Some(Handler::Async(handler)) => {
                bound.bindings.spawn(handler, request.to_owned(), reply)
            }
            Some(Handler::Exec(exec)) => Pending::exec(exec.begin(&request, reply)),
            #[cfg(feature = "server")]
            Some(Handler::Service(service)) => {
                let at = run.submitted.iter().position(|(of, _)| *of == frame);
                let submitted = at.map(|at| run.submitted.swap_remove(at).1);
                let task = task::ServiceTask::new(&request, submitted, reply);
                bound.bindings.spawn_service(service, task)
            }
            _ => unreachable!("other handlers answer at once"),
        };
        run.pending.push((frame, pending.begun(begun)));
    }

    /// Ends an execution that nothing could ever wake. Only a defect of the engine can lead here.
    #[cold]
    fn strand<O: Observer>(
        &self,
        program: &Program,
        run: &mut Run,
        now: Timestamp,
        observer: &mut O,
    ) {
        let failure = Failure::new("States.Runtime", "nothing can wake the execution");
        run.execution.stop(program, failure, now, observer);
    }
}

#[cold]
fn nobody_answers(program: &Program, id: TaskId, has_handler: bool) -> Failure {
    let state = program.state_of(id);
    match has_handler {
        true => task::unanswerable(state),
        false => task::unhandled(&program.tasks[id.index()].resource_text, state),
    }
}

#[cold]
fn no_answer(answers: &Answers, state: &str, number: u32) -> Failure {
    let has: Vec<String> = answers
        .calls
        .iter()
        .map(|(first, last, _)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    Failure::new(
        "States.Runtime",
        format!(
            "The mocked response {} has no answer for call {number} of the state {state} (calls count from 0); it has \
             answers for: {}",
            answers.name,
            has.join(", ")
        ),
    )
}

/// When a task times out that is under way.
fn due(program: &Program, run: &Run, frame: FrameHandle) -> Option<Timestamp> {
    let call = run.execution.task(program, frame).ok()?;
    Some(call.timeout_at.min(call.heartbeat_at))
}

/// Why nobody waits any more for a task that was to time out at `due`.
fn called_off(due: Timestamp, now: Timestamp) -> TaskOutcome {
    if now >= due {
        TaskOutcome::TimedOut
    } else {
        TaskOutcome::CalledOff
    }
}

/// What became of a task whose answer was taken, or came too late.
fn outcome(
    taken: Result<(), Stale>,
    completion: &Completion<'_>,
    due: Timestamp,
    now: Timestamp,
) -> TaskOutcome {
    match (taken, completion) {
        (Err(Stale), _) => called_off(due, now),
        (Ok(()), Completion::Failed(_) | Completion::SubmitFailed(_)) => TaskOutcome::Failed,
        (Ok(()), _) => TaskOutcome::Succeeded,
    }
}

fn of_fixed(answer: &task::Fixed) -> Completion<'_> {
    match answer {
        Ok(value) => Completion::Prepared(value),
        Err(failure) => Completion::Failed(failure),
    }
}

#[inline(always)]
fn complete<O: Observer>(
    execution: &mut Execution,
    program: &Program,
    frame: FrameHandle,
    completion: Completion<'_>,
    now: Timestamp,
    observer: &mut O,
) {
    // A late answer is told from a timely one by the frame's generation, and then there is nothing to do.
    let _ = execution.complete(program, frame, completion, now, observer);
}
