//! [`ExecutionResult`]: what came of an execution.

use std::time::Duration;

use super::turn::Run;
use crate::history::Failure;
use crate::interp::{Outcome, Status, name_of_seed};
use crate::program::Program;
use crate::stdx::Timestamp;

/// What came of an execution.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ExecutionResult {
    /// How it ended.
    pub status: Status,
    /// Its output as compact JSON, if it succeeded.
    pub output: Option<String>,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// When it started.
    pub start_time: Timestamp,
    /// When it ended, by its own clock, which virtual time puts forward.
    pub stop_time: Timestamp,
    /// How long it really took.
    pub duration: Duration,
    /// How much waiting virtual time has spared.
    pub skipped: Duration,
    /// How many states it entered.
    pub transitions: u64,
    /// Bytes of memory that were held for its documents in the end.
    pub memory_bytes: usize,
    seed: u64,
    name: Option<Box<str>>,
}

impl ExecutionResult {
    pub(crate) fn new(
        run: &Run,
        program: &Program,
        seed: u64,
        stop_time: Timestamp,
        duration: Duration,
    ) -> ExecutionResult {
        let execution = &run.execution;
        let outcome = execution.outcome();
        let output = match outcome {
            Some(Outcome::Succeeded(output)) => Some(execution.values(program).to_json(*output)),
            _ => None,
        };
        ExecutionResult {
            status: execution.status(),
            output,
            failure: outcome.and_then(Outcome::failure).cloned(),
            start_time: execution.start_time(),
            stop_time,
            duration,
            skipped: Duration::from_millis(run.skipped_millis.unsigned_abs()),
            transitions: execution.transitions(),
            memory_bytes: execution.memory(),
            seed,
            name: execution.given_name().map(Into::into),
        }
    }

    /// The execution's name: the one that it was given, else a UUID.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => name_of_seed(self.seed),
        }
    }
}
