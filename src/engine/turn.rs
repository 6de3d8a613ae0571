//! One turn of one execution: everything that can be done at once, with its tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::clock::{Anchor, Clock, TimeMode};
use crate::history::{Failure, Observer};
use crate::interp::{Completion, Execution, FUEL, FrameHandle, Stale, Yield};
use crate::metrics::{TaskOutcome, Writer};
use crate::program::{Program, TaskId};
use crate::stdx::Timestamp;
use crate::task::{
    self, Address, Answer, Answers, Begun, Bindings, Handler, Inbox, Pending, Reply, TaskRequest,
};

/// An execution with what its driver keeps of it. Used again for other executions.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) execution: Execution,
    /// How often each Task has been called, if a test case wants to know.
    calls: Vec<u32>,
    /// Milliseconds by which its clock has been put forward.
    pub(crate) skipped_millis: i64,
    /// Its tasks under way.
    pending: Vec<(FrameHandle, Pending)>,
}

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Done,
    /// Nothing happens before this moment of the execution's own clock, unless an answer comes.
    Parked(Timestamp),
    OutOfFuel,
}

/// What the executions of one worker run with.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) program: &'a Program,
    pub(crate) bindings: &'a Bindings,
    /// Where what happens is counted.
    pub(crate) metrics: &'a Writer,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) anchor: Anchor,
    pub(crate) mode: TimeMode,
    pub(crate) inbox: Arc<Inbox>,
    /// Answers of handlers; kept for its memory.
    pub(crate) response: Vec<u8>,
    /// The last time that was read.
    pub(crate) nanos: u64,
}

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

impl Surroundings<'_> {
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

    /// Runs until nothing can be done at once.
    #[inline]
    pub(crate) fn turn<O: Observer>(
        &mut self,
        run: &mut Run,
        address: Address,
        observer: &mut O,
    ) -> Turn {
        let turn = self.go(run, address, observer);
        self.metrics.turn(&mut run.execution);
        turn
    }

    fn go<O: Observer>(&mut self, run: &mut Run, address: Address, observer: &mut O) -> Turn {
        let program = self.program;
        let mut now = self.now(run);
        let mut skips = 0;
        loop {
            match run.execution.step(program, now, observer) {
                Yield::Done => {
                    if !run.pending.is_empty() {
                        self.call_off(run, now, |_, _| false);
                    }
                    return Turn::Done;
                }
                Yield::Task(frame) => now = self.task(run, address, frame, now, observer),
                Yield::Parked(at) => {
                    if !run.pending.is_empty() {
                        self.call_off(run, now, |execution, frame| {
                            execution.task(program, frame).is_ok()
                        });
                    }
                    if run.pending.is_empty() {
                        if at == Timestamp::MAX {
                            self.strand(run, now, observer);
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
                    run.execution.refuel(FUEL);
                    return Turn::OutOfFuel;
                }
            }
        }
    }

    /// Takes in an answer that came later; false if nobody waits for it any more.
    pub(crate) fn answer<O: Observer>(
        &self,
        run: &mut Run,
        answer: &Answer,
        observer: &mut O,
    ) -> bool {
        let Some(at) = run.pending.iter().position(|(f, _)| *f == answer.frame) else {
            return false;
        };
        let (_, pending) = run.pending.swap_remove(at);
        let begun = pending.what_begun();
        pending.finish();
        let now = self.now(run);
        let completion = match &answer.result {
            Ok(json) => Completion::Succeeded(json),
            Err(failure) => Completion::Failed(failure),
        };
        let taken = run
            .execution
            .complete(self.program, answer.frame, completion, now, observer);
        if let Some(begun) = begun {
            let outcome = match taken {
                Ok(()) => outcome(&completion),
                Err(Stale) => called_off(begun, now),
            };
            self.count(begun, outcome);
        }
        true
    }

    /// Ends an execution that nobody wants any more; its tasks are called off.
    #[cold]
    pub(crate) fn give_up(&self, run: &mut Run) {
        self.call_off(run, self.now(run), |_, _| false);
        self.metrics.turn(&mut run.execution);
        self.metrics.abandoned();
    }

    /// Does a task, or sees that it is done; returns the time.
    fn task<O: Observer>(
        &mut self,
        run: &mut Run,
        address: Address,
        frame: FrameHandle,
        now: Timestamp,
        observer: &mut O,
    ) -> Timestamp {
        let program = self.program;
        let Ok(call) = run.execution.task(program, frame) else {
            unreachable!("a task that was just yielded is not stale");
        };
        let id = call.id;
        let binding = self.bindings.task(id);
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
                        failure = no_answer(answers, self.program.state_of(id), number);
                        Completion::Failed(&failure)
                    }
                }
            }
            Some(Handler::Sync(handler)) => {
                // The clock is not read again for that: what the interpreter did since it was read is a part of it.
                let began = self.nanos;
                let result = self.call(&**handler, run, frame);
                self.tick();
                let now = self.now(run);
                // What fell due while the handler was at work happens first.
                let nanos = self.nanos - began;
                if run.execution.is_overdue(frame, now) {
                    self.metrics.task(id, TaskOutcome::TimedOut, nanos);
                    return now;
                }
                let completion = match &result {
                    Ok(()) => Completion::Succeeded(&self.response),
                    Err(failure) => Completion::Failed(failure),
                };
                let taken = run
                    .execution
                    .complete(program, frame, completion, now, observer);
                let outcome = match taken {
                    Ok(()) => outcome(&completion),
                    // The execution's deadline passed while the handler was at work.
                    Err(Stale) => TaskOutcome::CalledOff,
                };
                self.metrics.task(id, outcome, nanos);
                return now;
            }
            Some(Handler::Async(_) | Handler::Exec(_)) => {
                self.begin(run, address, frame, &binding.handler);
                return now;
            }
            None => {
                let info = &program.tasks[id.index()];
                failure = task::unhandled(&info.resource_text, program.state_of(id));
                Completion::Failed(&failure)
            }
        };
        self.metrics.task(id, outcome(&completion), 0);
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

    /// Drops the tasks that nobody waits for any more, which calls them off.
    #[cold]
    fn call_off(
        &self,
        run: &mut Run,
        now: Timestamp,
        is_awaited: impl Fn(&Execution, FrameHandle) -> bool,
    ) {
        let execution = &run.execution;
        run.pending.retain(|(frame, pending)| {
            let stays = is_awaited(execution, *frame);
            if !stays && let Some(begun) = pending.what_begun() {
                self.count(begun, called_off(begun, now));
            }
            stays
        });
    }

    fn count(&self, begun: Begun, outcome: TaskOutcome) {
        let nanos = self.nanos.saturating_sub(begun.nanos);
        self.metrics.task(begun.task, outcome, nanos);
    }

    fn call(
        &mut self,
        handler: &dyn task::TaskHandler,
        run: &Run,
        frame: FrameHandle,
    ) -> Result<(), Failure> {
        let Ok(call) = run.execution.task(self.program, frame) else {
            unreachable!("the task is waiting for this call");
        };
        self.response.clear();
        let request = TaskRequest::new(call, &run.execution);
        let response = &mut self.response;
        // What a panic leaves half-done is the response, which is then not looked at.
        catch_unwind(AssertUnwindSafe(|| handler.call(&request, response)))
            .unwrap_or_else(|payload| Err(task::panicked(request.resource(), &*payload)))
    }

    #[cold]
    fn begin(
        &self,
        run: &mut Run,
        address: Address,
        frame: FrameHandle,
        handler: &Option<Handler>,
    ) {
        let Ok(call) = run.execution.task(self.program, frame) else {
            unreachable!("the task is waiting for this call");
        };
        let begun = Begun {
            task: call.id,
            nanos: self.nanos,
            due: call.timeout_at.min(call.heartbeat_at),
        };
        let request = TaskRequest::new(call, &run.execution);
        let reply = Reply::new(&self.inbox, address, frame);
        let pending = match handler {
            Some(Handler::Async(handler)) => {
                self.bindings.spawn(handler, request.to_owned(), reply)
            }
            Some(Handler::Exec(exec)) => Pending::exec(exec.begin(&request, reply)),
            _ => unreachable!("other handlers answer at once"),
        };
        run.pending.push((frame, pending.begun(begun)));
    }

    /// Ends an execution that nothing could ever wake. Only a defect of the engine can lead here.
    #[cold]
    fn strand<O: Observer>(&self, run: &mut Run, now: Timestamp, observer: &mut O) {
        let failure = Failure::new("States.Runtime", "nothing can wake the execution");
        run.execution.stop(self.program, failure, now, observer);
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

/// Why nobody waits for a task any more.
fn called_off(begun: Begun, now: Timestamp) -> TaskOutcome {
    if now >= begun.due {
        TaskOutcome::TimedOut
    } else {
        TaskOutcome::CalledOff
    }
}

fn outcome(completion: &Completion<'_>) -> TaskOutcome {
    match completion {
        Completion::Failed(_) => TaskOutcome::Failed,
        Completion::Succeeded(_)
        | Completion::Started { .. }
        | Completion::Submitted(_)
        | Completion::Heartbeat => TaskOutcome::Succeeded,
    }
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
