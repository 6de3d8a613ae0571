//! One execution on a virtual clock: the interpreter, its events, and the time.

use std::sync::Arc;

use super::difference::{Differences, shown};
use quickstep::asl::{self, Diagnostic, MachineType};
use quickstep::compile::compile;
use quickstep::history::{EachEvent, Failure, HistoryEvent, LogLevel};
use quickstep::interp::{
    Completion, Execution, FUEL, FrameHandle, Freezer, Invocation, MachineIdentity, Outcome, Start,
    Yield,
};
use quickstep::program::Program;
use quickstep::stdx::Timestamp;
use quickstep::task::TaskAnswer;
use serde_json::Value;

use super::logs::Logs;
use super::runtime::{SEED, Script, ScriptTask, Step, What};

/// Bits that are flipped in each blob, one at a time.
const DAMAGES: usize = 8;

/// What is larger than that is not damaged: it would take long.
const DAMAGED_BYTES_MAX: usize = 64 * 1024;

/// How much an execution may do in one turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turns {
    /// As much as the product lets it.
    Usual,
    /// One state, so that it is interrupted wherever it can be.
    Shortest,
    /// As much as usual; between two turns it is frozen, and another execution goes on in its place.
    Frozen,
    /// One state, and frozen in between.
    ShortestFrozen,
}

impl Turns {
    /// All of them.
    pub(crate) const ALL: [Turns; 4] = [
        Turns::Usual,
        Turns::Shortest,
        Turns::Frozen,
        Turns::ShortestFrozen,
    ];

    /// True if branches take turns in the order in which AWS's do.
    pub(crate) const fn are_usual(self) -> bool {
        matches!(self, Turns::Usual | Turns::Frozen)
    }

    const fn are_frozen(self) -> bool {
        matches!(self, Turns::Frozen | Turns::ShortestFrozen)
    }

    const fn fuel(self) -> u32 {
        if self.are_usual() { FUEL } else { 1 }
    }
}

/// One event as the history shows it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) event_type: &'static str,
    /// As a member of `GetExecutionHistory`'s `events`; text where JSON cannot hold a lone surrogate.
    pub(crate) json: Value,
}

/// How an execution ended, in the API's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ending {
    pub(crate) status: &'static str,
    pub(crate) output: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) cause: Option<String>,
}

/// An execution under way.
pub(crate) struct Machine {
    program: Program,
    execution: Execution,
    identity: Arc<MachineIdentity>,
    freezer: Freezer,
    /// Thaws what is damaged; and where the next byte is damaged.
    scratch: Execution,
    damages: u64,
    turns: Turns,
    start: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<Event>,
    logs: Logs,
    /// What it was told, for the same case on the runtime.
    pub(crate) script: Script,
    handles: Vec<FrameHandle>,
}

/// Reads and compiles a definition; its problems if it has any.
pub(crate) fn program(definition: &str, of: MachineType) -> Result<Program, Vec<Diagnostic>> {
    let reading = asl::read(definition, of);
    match reading.definition {
        Some(definition) => Ok(compile(&definition)),
        None => Err(reading.diagnostics),
    }
}

impl Machine {
    /// Starts an execution.
    pub(crate) fn start(
        program: Program,
        identity: &Arc<MachineIdentity>,
        input: &str,
        invocation: Invocation,
        now: Timestamp,
        turns: Turns,
    ) -> Result<Machine, String> {
        let mut execution = Execution::new();
        let mut events = Vec::new();
        let mut logs = Logs::new(identity, SEED);
        logs.turn();
        let start = Start {
            input: input.as_bytes(),
            machine: identity,
            name: None,
            invocation,
            now,
            seed: SEED,
        };
        execution
            .start(
                &program,
                &start,
                &mut EachEvent(record(&mut events, &mut logs)),
            )
            .map_err(|error| format!("failed to start: {error}"))?;
        Ok(Machine {
            program,
            execution,
            identity: Arc::clone(identity),
            freezer: Freezer::default(),
            scratch: Execution::new(),
            damages: 1,
            turns,
            start: now,
            now,
            events,
            logs,
            script: Script::default(),
            handles: Vec::new(),
        })
    }

    /// Runs a turn; turns that end for want of fuel are followed by others.
    pub(crate) fn step(&mut self) -> Yield {
        loop {
            // What has ended is not frozen any more.
            if self.turns.are_frozen() && self.execution.outcome().is_none() {
                self.freeze_and_thaw();
            }
            self.execution.refuel(self.turns.fuel());
            self.logs.turn();
            let yielded = self.execution.step(
                &self.program,
                self.now,
                &mut EachEvent(record(&mut self.events, &mut self.logs)),
            );
            match yielded {
                Yield::OutOfFuel => {}
                Yield::Task(handle) => {
                    self.note_task(handle);
                    return Yield::Task(handle);
                }
                stopped @ (Yield::Done | Yield::Parked(_)) => return stopped,
            }
        }
    }

    /// Another execution takes this one's place; every second time it is one that was used before.
    fn freeze_and_thaw(&mut self) {
        let mut blob = Vec::new();
        self.execution
            .freeze(&self.program, &mut self.freezer, &mut blob);
        if blob.len().is_multiple_of(2) {
            self.execution = Execution::new();
        }
        self.execution
            .thaw(&self.program, &self.identity, &mut self.freezer, &blob)
            .expect("a blob that was just written is whole");
        let mut again = Vec::new();
        self.execution
            .freeze(&self.program, &mut self.freezer, &mut again);
        assert!(again.len() <= blob.len(), "thawing adds nothing");
        self.thaw_damaged(&blob);
    }

    /// A bit that has flipped is noticed, or makes something else: it never panics.
    fn thaw_damaged(&mut self, blob: &[u8]) {
        if blob.len() > DAMAGED_BYTES_MAX {
            return;
        }
        let mut damaged = blob.to_vec();
        for _ in 0..DAMAGES {
            self.damages = self.damages.wrapping_mul(6_364_136_223_846_793_005);
            self.damages = self.damages.wrapping_add(1_442_695_040_888_963_407);
            let at = (self.damages >> 33) as usize % blob.len();
            damaged[at] ^= 1 << (self.damages >> 29 & 7);
            let (program, identity) = (&self.program, &self.identity);
            let thawed = self
                .scratch
                .thaw(program, identity, &mut self.freezer, &damaged);
            if thawed.is_ok() {
                let mut again = Vec::new();
                self.scratch.freeze(program, &mut self.freezer, &mut again);
            }
            damaged[at] = blob[at];
        }
    }

    /// Answers a task; false if it had ended.
    pub(crate) fn complete(&mut self, handle: FrameHandle, completion: Completion<'_>) -> bool {
        self.logs.turn();
        let taken = self.execution.complete(
            &self.program,
            handle,
            completion,
            self.now,
            &mut EachEvent(record(&mut self.events, &mut self.logs)),
        );
        let taken = taken.is_ok();
        if taken {
            self.note_answer(handle, completion);
        }
        taken
    }

    fn note_task(&mut self, handle: FrameHandle) {
        if let Ok((state, _, input)) = self.task(handle) {
            self.handles.push(handle);
            self.script.tasks.push(ScriptTask {
                state,
                input,
                submitted: None,
                token: None,
            });
        }
    }

    fn note_answer(&mut self, handle: FrameHandle, completion: Completion<'_>) {
        let Some(task) = self.handles.iter().rposition(|known| *known == handle) else {
            return;
        };
        let answer = match completion {
            Completion::Submitted(json) => {
                self.script.tasks[task].submitted = Some(json.to_vec());
                return;
            }
            Completion::Started { worker_name } => {
                TaskAnswer::Started(worker_name.map(str::to_owned))
            }
            Completion::Heartbeat => TaskAnswer::Heartbeat,
            Completion::Succeeded(json) => TaskAnswer::Succeeded(json.to_vec()),
            Completion::Prepared(value) => TaskAnswer::Succeeded(value.json().to_vec()),
            Completion::Failed(failure) | Completion::SubmitFailed(failure) => {
                TaskAnswer::Failed(failure.clone())
            }
        };
        let (at, what) = (self.now, What::Answer(task, answer));
        self.script.steps.push(Step { at, what });
    }

    /// Stops the execution from outside.
    pub(crate) fn stop(&mut self, failure: Failure) {
        self.script.steps.push(Step {
            at: self.now,
            what: What::Stop(failure.clone()),
        });
        self.logs.turn();
        let mut observer = EachEvent(record(&mut self.events, &mut self.logs));
        self.execution
            .stop(&self.program, failure, self.now, &mut observer);
    }

    /// The lines of a log of the execution, once all logs of it agree.
    pub(crate) fn log(self, level: LogLevel, data: bool) -> Result<Vec<Value>, String> {
        self.logs.finish(level, data)
    }

    /// State, resource, and input of the task that was yielded.
    pub(crate) fn task(&self, handle: FrameHandle) -> Result<(String, String, String), String> {
        let call = self
            .execution
            .task(&self.program, handle)
            .map_err(|_| "the task that was yielded has ended already".to_owned())?;
        let input = call.values.to_json(call.input);
        Ok((call.state.to_owned(), call.resource_text.to_owned(), input))
    }

    /// Virtual milliseconds since the start.
    pub(crate) fn waited_ms(&self) -> i64 {
        self.now.millis() - self.start.millis()
    }

    /// The ARN of the execution.
    pub(crate) fn arn(&self) -> String {
        self.execution.arn()
    }

    /// The name of the execution.
    pub(crate) fn name(&self) -> String {
        self.execution.name()
    }

    /// How it ended, once it has.
    pub(crate) fn ending(&self) -> Ending {
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        let outcome = self.execution.outcome();
        let failure = outcome.and_then(Outcome::failure);
        let output = match outcome {
            Some(Outcome::Succeeded(_)) => {
                let mut out = Vec::new();
                self.execution.write_output(&self.program, &mut out);
                Some(String::from_utf8(out).expect("the output is UTF-8"))
            }
            _ => None,
        };
        Ending {
            status: self.execution.status().as_str(),
            output,
            error: failure.and_then(|failure| text(&failure.error)),
            cause: failure.and_then(|failure| text(&failure.cause)),
        }
    }
}

fn record(events: &mut Vec<Event>, logs: &mut Logs) -> impl FnMut(&HistoryEvent<'_>) {
    |event| {
        logs.observe(event);
        let mut json = Vec::new();
        event.write_history(&mut json);
        let json = serde_json::from_slice(&json)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&json).into_owned()));
        events.push(Event {
            event_type: event.details.event_type().as_str(),
            json,
        });
    }
}

impl Differences {
    /// What comes of the case: with differences, they and the types of the events that there were.
    pub(crate) fn verdict(self, machine: &Machine) -> Result<(), String> {
        if self.is_empty() {
            return Ok(());
        }
        let events = machine.events.iter();
        let types: Vec<&str> = events.map(|event| event.event_type).collect();
        let types = shown(&format!("{types:?}"));
        Err(format!("{}\n  events: {types}", self.text()))
    }
}
