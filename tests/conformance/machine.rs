//! One execution on a virtual clock: the interpreter, its events, and the time.

use std::sync::Arc;

use quickstep::asl::{self, Diagnostic, MachineType};
use quickstep::compile::compile;
use quickstep::history::{EachEvent, Failure, HistoryEvent, LogLevel};
use quickstep::interp::{
    Completion, Execution, FUEL, FrameHandle, Invocation, MachineIdentity, Outcome, Start, Yield,
};
use quickstep::program::Program;
use quickstep::stdx::Timestamp;
use serde_json::Value;

use super::logs::Logs;

/// How much an execution may do in one turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turns {
    /// As much as the product lets it.
    Usual,
    /// One state, so that it is interrupted wherever it can be.
    Shortest,
}

impl Turns {
    /// Both.
    pub(crate) const ALL: [Turns; 2] = [Turns::Usual, Turns::Shortest];

    const fn fuel(self) -> u32 {
        match self {
            Turns::Usual => FUEL,
            Turns::Shortest => 1,
        }
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
    turns: Turns,
    start: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<Event>,
    logs: Logs,
}

/// Seed of every execution.
const SEED: u64 = 42;

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
            turns,
            start: now,
            now,
            events,
            logs,
        })
    }

    /// Runs a turn; turns that end for want of fuel are followed by others.
    pub(crate) fn step(&mut self) -> Yield {
        loop {
            self.execution.refuel(self.turns.fuel());
            self.logs.turn();
            let mut observer = EachEvent(record(&mut self.events, &mut self.logs));
            match self.execution.step(&self.program, self.now, &mut observer) {
                Yield::OutOfFuel => {}
                stopped @ (Yield::Done | Yield::Task(_) | Yield::Parked(_)) => return stopped,
            }
        }
    }

    /// Answers a task; false if it had ended.
    pub(crate) fn complete(&mut self, handle: FrameHandle, completion: Completion<'_>) -> bool {
        self.logs.turn();
        let mut observer = EachEvent(record(&mut self.events, &mut self.logs));
        self.execution
            .complete(&self.program, handle, completion, self.now, &mut observer)
            .is_ok()
    }

    /// Stops the execution from outside.
    pub(crate) fn stop(&mut self, failure: Failure) {
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
