//! One turn of an execution, and its tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::driver::Shared;
use super::live::{Body, Live, State};
use super::tokens::{Offer, Waiting};
use crate::asl::{MachineType, Pattern, Resource};
use crate::history::{Details, Failure, HistoryEvent, NoEvents, Observer};
use crate::interp::{Completion, FrameHandle, Outcome, Status, Yield};
use crate::stdx::Timestamp;
use crate::task::{self, Address, Fixed, Handler, Pending, Reply, TaskHandler, TaskRequest, lock};

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    Done,
    Parked(Timestamp),
    /// It goes on at once, after others had their turn.
    Again,
}

/// Transitions of a turn.
const TURN_FUEL: u32 = 5_000;

/// Transitions between two looks at the length of the history.
const STEP_FUEL: u32 = 50;

/// Events from the bound of a history at which it is looked at after every transition.
const NEAR_EVENTS: usize = 2_000;

/// AWS's text.
const TOO_MANY_EVENTS: &str = "The execution reached the maximum number of history events (25000).";

impl Shared {
    /// Steps an execution until nothing can be done at once.
    pub(super) fn turn(self: &Arc<Shared>, live: &Arc<Live>) -> Turn {
        let mut guard = lock(&live.state);
        let state = &mut *guard;
        let Some(body) = state.body.as_deref_mut() else {
            return Turn::Done;
        };
        let turn = match live.origin.kind.into() {
            MachineType::Express => {
                let mut worker = Worker { shared: self, live };
                worker.turn(body, &mut NoEvents, TURN_FUEL)
            }
            MachineType::Standard => self.recorded_turn(live, state),
        };
        if turn == Turn::Done {
            self.finish(live, state, None);
        }
        turn
    }

    /// The same, with events, of which there is a bound.
    fn recorded_turn(self: &Arc<Shared>, live: &Arc<Live>, state: &mut State) -> Turn {
        let Some(body) = state.body.as_deref_mut() else {
            return Turn::Done;
        };
        let history = &mut state.history;
        let mut worker = Worker { shared: self, live };
        let mut left = TURN_FUEL;
        loop {
            let near = history.events.len() + NEAR_EVENTS > super::super::limits::EVENTS_MAX;
            let fuel = if near { 1 } else { STEP_FUEL };
            let turn = worker.turn(body, history, fuel);
            let full = history.is_full()
                && (turn != Turn::Done || history.events.len() > super::super::limits::EVENTS_MAX);
            if full {
                let failure = Failure::new("States.Runtime", TOO_MANY_EVENTS);
                history.overflow(&HistoryEvent {
                    id: 0,
                    previous_id: 0,
                    timestamp: body.now,
                    values: body.execution.values(&live.deployed.program),
                    details: Details::ExecutionFailed { failure: &failure },
                    original: None,
                });
                self.finish(live, state, Some((Status::Failed, failure)));
                return Turn::Done;
            }
            left = left.saturating_sub(fuel);
            if turn != Turn::Again || left == 0 {
                return turn;
            }
        }
    }

    /// The execution has ended: by itself, or as `forced` says.
    pub(super) fn finish(
        &self,
        live: &Arc<Live>,
        state: &mut State,
        forced: Option<(Status, Failure)>,
    ) {
        let Some(body) = state.body.take() else {
            return;
        };
        let program = &live.deployed.program;
        let outcome = body.execution.outcome();
        let output = match (outcome, &forced) {
            (Some(Outcome::Succeeded(output)), None) => Some(
                body.execution
                    .values(program)
                    .to_json(*output)
                    .into_boxed_str(),
            ),
            _ => None,
        };
        let (status, failure) = match forced {
            Some((status, failure)) => (status, Some(failure)),
            None => (
                body.execution.status(),
                outcome.and_then(Outcome::failure).cloned(),
            ),
        };
        state.ended = Some(super::Ended {
            status,
            output,
            failure,
            at: body.now,
            memory: body.execution.memory(),
        });
        live.over.store(true, Ordering::Release);
        state.history.events.shrink_to_fit();
        self.tokens.remove_all(body.tokens.iter().map(|t| &**t));
        self.give_back(body.execution);
        self.ended(live, state.history.bytes);
        live.wake.notify_one();
        live.done.notify_waiters();
    }
}

/// Steps one execution.
struct Worker<'a> {
    shared: &'a Arc<Shared>,
    live: &'a Arc<Live>,
}

impl Worker<'_> {
    fn turn<O: Observer>(&mut self, body: &mut Body, observer: &mut O, fuel: u32) -> Turn {
        let program = &self.live.deployed.program;
        body.execution.refuel(fuel);
        body.now = self.shared.now(body.now);
        loop {
            match body.execution.step(program, body.now, observer) {
                Yield::Done => return Turn::Done,
                Yield::Task(frame) => {
                    self.task(body, frame, observer);
                    body.now = self.shared.now(body.now);
                }
                Yield::Parked(at) => {
                    let execution = &body.execution;
                    body.pending
                        .retain(|(frame, _)| execution.task(program, *frame).is_ok());
                    return Turn::Parked(at);
                }
                Yield::OutOfFuel => return Turn::Again,
            }
        }
    }

    /// Does a task, or sees that it is done.
    fn task<O: Observer>(&mut self, body: &mut Body, frame: FrameHandle, observer: &mut O) {
        let deployed = &self.live.deployed;
        let Ok(call) = body.execution.task(&deployed.program, frame) else {
            unreachable!("a task that was just yielded is not stale");
        };
        let id = call.id;
        let binding = deployed.bindings.task(id);
        let Some(handler) = &binding.handler else {
            self.hand_out(body, frame, observer);
            return;
        };
        if let Some(step) = binding.steps.completion() {
            self.complete(body, frame, step, observer);
        }
        match handler {
            Handler::Fixed(answer) => self.complete(body, frame, of_fixed(answer), observer),
            Handler::Answers(answers) => {
                let number = count_call(&mut body.calls, id.index());
                match answers.get(number) {
                    Some(answer) => self.complete(body, frame, of_fixed(answer), observer),
                    None => {
                        let state = deployed.program.state_of(id);
                        let failure = no_answer(&answers.name, state, number);
                        self.complete(body, frame, Completion::Failed(&failure), observer);
                    }
                }
            }
            Handler::Sync(handler) => {
                let mut response = Vec::new();
                let result = self.call(&**handler, body, frame, &mut response);
                body.now = self.shared.now(body.now);
                let completion = match &result {
                    Ok(()) => Completion::Succeeded(&response),
                    Err(failure) => Completion::Failed(failure),
                };
                self.complete(body, frame, completion, observer);
            }
            Handler::Callback(handler) => {
                // It hands the task on; whoever does it answers with the token.
                match self.call(&**handler, body, frame, &mut Vec::new()) {
                    Ok(()) => self.register(body, frame),
                    Err(failure) => {
                        self.complete(body, frame, Completion::Failed(&failure), observer);
                    }
                }
            }
            Handler::Async(_) | Handler::Exec(_) => self.begin(body, frame, handler),
        }
    }

    /// Gives a task that has no handler to whoever has its token; fails it if there is no token.
    fn hand_out<O: Observer>(&mut self, body: &mut Body, frame: FrameHandle, observer: &mut O) {
        let program = &self.live.deployed.program;
        let Ok(call) = body.execution.task(program, frame) else {
            unreachable!("the task is waiting");
        };
        let waiting = Waiting {
            live: Arc::downgrade(self.live),
            frame,
        };
        match call.resource {
            Resource::Activity { arn, .. } => {
                let token = self.shared.ids.token().into_boxed_str();
                self.shared.tokens.insert(&token, waiting.clone());
                body.tokens.push(token.clone());
                let offer = Offer {
                    waiting,
                    token,
                    input: call.values.to_json(call.input),
                };
                self.shared.tokens.offer(arn, offer);
            }
            Resource::Service(integration) if integration.pattern == Pattern::WaitForTaskToken => {
                self.register(body, frame);
                // What a service answers at first is not known.
                self.complete(body, frame, Completion::Submitted(b"{}"), observer);
            }
            Resource::Lambda { .. } | Resource::Service(_) => {
                let failure = task::unhandled(call.resource_text, call.state);
                self.complete(body, frame, Completion::Failed(&failure), observer);
            }
        }
    }

    /// Lets clients answer a task with its token.
    fn register(&self, body: &mut Body, frame: FrameHandle) {
        if let Ok(token) = body.execution.token(frame) {
            let live = Arc::downgrade(self.live);
            self.shared.tokens.insert(&token, Waiting { live, frame });
            body.tokens.push(token.into());
        }
    }

    fn call(
        &self,
        handler: &dyn TaskHandler,
        body: &Body,
        frame: FrameHandle,
        response: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let Ok(call) = body.execution.task(&self.live.deployed.program, frame) else {
            unreachable!("the task is waiting for this call");
        };
        let request = TaskRequest::new(call, frame, &body.execution);
        // What a panic leaves half-done is the response, which is then not looked at.
        catch_unwind(AssertUnwindSafe(|| handler.call(&request, response)))
            .unwrap_or_else(|payload| Err(task::panicked(request.resource(), &*payload)))
    }

    fn begin(&self, body: &mut Body, frame: FrameHandle, handler: &Handler) {
        let deployed = &self.live.deployed;
        let Ok(call) = body.execution.task(&deployed.program, frame) else {
            unreachable!("the task is waiting for this call");
        };
        let request = TaskRequest::new(call, frame, &body.execution);
        let reply = Reply::new(&self.shared.inbox, self.shared.address(self.live), frame);
        let pending = match handler {
            Handler::Async(handler) => deployed.bindings.spawn(handler, request.to_owned(), reply),
            Handler::Exec(exec) => Pending::exec(exec.begin(&request, reply)),
            Handler::Fixed(_) | Handler::Answers(_) | Handler::Sync(_) | Handler::Callback(_) => {
                unreachable!("these answer at once")
            }
        };
        body.pending.push((frame, pending));
    }

    fn complete<O: Observer>(
        &self,
        body: &mut Body,
        frame: FrameHandle,
        completion: Completion<'_>,
        observer: &mut O,
    ) {
        let program = &self.live.deployed.program;
        // A late answer changes nothing.
        let _ = body
            .execution
            .complete(program, frame, completion, body.now, observer);
    }
}

fn count_call(calls: &mut Vec<u32>, task: usize) -> u32 {
    if calls.len() <= task {
        calls.resize(task + 1, 0);
    }
    calls[task] += 1;
    calls[task] - 1
}

fn of_fixed(answer: &Fixed) -> Completion<'_> {
    match answer {
        Ok(value) => Completion::Prepared(value),
        Err(failure) => Completion::Failed(failure),
    }
}

/// A test case has no answer for a call.
#[cold]
fn no_answer(name: &str, state: &str, number: u32) -> Failure {
    Failure::new(
        "States.Runtime",
        format!(
            "The mocked response {name} has no answer for call {number} of the state {state} (calls count from 0)"
        ),
    )
}

/// Where the answers of an execution's handlers go.
impl Shared {
    pub(super) fn address(&self, live: &Arc<Live>) -> Address {
        let serial = live.serial;
        lock(&self.awaiting).insert(serial, Arc::downgrade(live));
        Address {
            slot: (serial & u64::from(u32::MAX)) as u32,
            generation: (serial >> 32) as u32,
        }
    }
}
