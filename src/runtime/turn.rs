//! One turn of one execution: everything that can be done at once, with its tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::clock::{Anchor, Clock, TimeMode};
use crate::history::{Failure, Observer};
use crate::interp::{Completion, Execution, FrameHandle, MachineIdentity, Yield};
use crate::program::{Program, TaskId};
use crate::stdx::Timestamp;
use crate::task::{
    self, Address, Answer, Answers, Binding, Bindings, Handler, Inbox, Pending, Reply, Steps,
    TaskAnswer, TaskRequest,
};

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
    pub(crate) fn turn<O: Observer>(
        &mut self,
        bound: &Bound,
        run: &mut Run,
        address: AddressOf<'_>,
        observer: &mut O,
    ) -> Turn {
        let program = &*bound.program;
        let began = self.nanos;
        let mut now = self.now(run);
        let (mut skips, mut slices) = (0, 0);
        run.execution.refuel(SLICE_TRANSITIONS);
        loop {
            match run.execution.step(program, now, observer) {
                Yield::Done => {
                    if !run.pending.is_empty() {
                        run.pending.clear();
                    }
                    return Turn::Done;
                }
                Yield::Task(frame) => now = self.task(bound, run, address, frame, now, observer),
                Yield::Parked(at) => {
                    if !run.pending.is_empty() {
                        run.pending
                            .retain(|(frame, _)| run.execution.task(program, *frame).is_ok());
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
                    run.execution.refuel(SLICE_TRANSITIONS);
                }
            }
        }
    }

    /// Takes in an answer that came later; false if nobody waits for it any more.
    pub(crate) fn answer<O: Observer>(
        &self,
        program: &Program,
        run: &mut Run,
        answer: &Answer,
        observer: &mut O,
    ) -> bool {
        let Some(at) = run.pending.iter().position(|(f, _)| *f == answer.frame) else {
            return false;
        };
        let (_, pending) = run.pending.swap_remove(at);
        pending.finish();
        let now = self.now(run);
        let completion = match &answer.result {
            Ok(json) => Completion::Succeeded(json),
            Err(failure) => Completion::Failed(failure),
        };
        complete(
            &mut run.execution,
            program,
            answer.frame,
            completion,
            now,
            observer,
        );
        true
    }

    /// Does a task, or sees that it is done; returns the time.
    fn task<O: Observer>(
        &mut self,
        bound: &Bound,
        run: &mut Run,
        address: AddressOf<'_>,
        frame: FrameHandle,
        now: Timestamp,
        observer: &mut O,
    ) -> Timestamp {
        let program = &*bound.program;
        let Ok(call) = run.execution.task(program, frame) else {
            unreachable!("a task that was just yielded is not stale");
        };
        let id = call.id;
        let binding = bound.bindings.task(id);
        if let Some(Handler::Callback(handler)) = &binding.handler {
            return self.hand_on(program, binding, &**handler, run, frame, observer);
        }
        if let Some(step) = binding.steps.completion() {
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
                let result = self.call(program, &**handler, run, frame);
                self.tick();
                let now = self.now(run);
                // What fell due while the handler was at work happens first.
                if run.execution.is_overdue(frame, now) {
                    return now;
                }
                let completion = match &result {
                    Ok(()) => Completion::Succeeded(&self.response),
                    Err(failure) => Completion::Failed(failure),
                };
                complete(
                    &mut run.execution,
                    program,
                    frame,
                    completion,
                    now,
                    observer,
                );
                return now;
            }
            Some(Handler::Async(_) | Handler::Exec(_) | Handler::Callback(_)) => {
                self.begin(bound, run, address(), frame, &binding.handler);
                return now;
            }
            None => {
                let info = &program.tasks[id.index()];
                failure = task::unhandled(&info.resource_text, program.state_of(id));
                Completion::Failed(&failure)
            }
        };
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
        program: &Program,
        binding: &Binding,
        handler: &dyn task::TaskHandler,
        run: &mut Run,
        frame: FrameHandle,
        observer: &mut O,
    ) -> Timestamp {
        let result = self.call(program, handler, run, frame);
        self.tick();
        let now = self.now(run);
        // What fell due while the handler was at work happens first.
        if run.execution.is_overdue(frame, now) {
            return now;
        }
        let completion = match (&result, binding.steps) {
            (Ok(()), Steps::Submitted) => Some(Completion::Submitted(&self.response)),
            // Nothing is to be told: an activity starts when a worker takes it.
            (Ok(()), Steps::None | Steps::Started) => None,
            (Err(failure), _) => Some(Completion::Failed(failure)),
        };
        if let Some(completion) = completion {
            complete(
                &mut run.execution,
                program,
                frame,
                completion,
                now,
                observer,
            );
        }
        if result.is_ok() {
            run.pending.push((frame, Pending::outside()));
        }
        now
    }

    /// Takes in what became of a task, by its token; false if there is no such task.
    pub(crate) fn answer_token<O: Observer>(
        &self,
        program: &Program,
        run: &mut Run,
        token: &str,
        answer: &TaskAnswer,
        observer: &mut O,
    ) -> bool {
        let Ok(frame) = run.execution.task_of_token(token) else {
            return false;
        };
        if answer.is_last()
            && let Some(at) = run.pending.iter().position(|(f, _)| *f == frame)
        {
            run.pending.swap_remove(at).1.finish();
        }
        let now = self.now(run);
        let completion = answer.as_completion();
        run.execution
            .complete(program, frame, completion, now, observer)
            .is_ok()
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
        let Ok(call) = run.execution.task(&bound.program, frame) else {
            unreachable!("the task is waiting for this call");
        };
        let request = TaskRequest::new(call, frame, &run.execution);
        let reply = Reply::new(&self.inbox, address, frame);
        let pending = match handler {
            Some(Handler::Async(handler)) => {
                bound.bindings.spawn(handler, request.to_owned(), reply)
            }
            Some(Handler::Exec(exec)) => Pending::exec(exec.begin(&request, reply)),
            _ => unreachable!("other handlers answer at once"),
        };
        run.pending.push((frame, pending));
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

fn of_fixed(answer: &task::Fixed) -> Completion<'_> {
    match answer {
        Ok(json) => Completion::Succeeded(json),
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
