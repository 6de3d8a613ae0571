//! [`HistoryEvent`]: one event, borrowed from its execution.

use std::fmt;

use crate::asl::Resource;
use crate::program::StateType;
use crate::stdx::Timestamp;
use crate::value::{Val, Values};

/// Why an execution, a state or a task failed: data for `Retry` and `Catch`, not an error of the engine.
///
/// Either part may be absent, as in a `Fail` state that names neither.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Failure {
    /// Name of the error: `States.Timeout`, or a task's own. At most 256 characters on AWS.
    pub error: Option<Box<str>>,
    /// What went wrong. At most 32,768 characters on AWS.
    pub cause: Option<Box<str>>,
}

impl Failure {
    /// A failure with both parts.
    pub fn new(error: impl Into<Box<str>>, cause: impl Into<Box<str>>) -> Failure {
        Failure {
            error: Some(error.into()),
            cause: Some(cause.into()),
        }
    }

    /// `States.Timeout`, which has no cause.
    #[must_use]
    pub fn timeout() -> Failure {
        Failure {
            error: Some("States.Timeout".into()),
            cause: None,
        }
    }

    /// The error's name; empty if absent.
    #[must_use]
    pub fn error_name(&self) -> &str {
        self.error.as_deref().unwrap_or_default()
    }
}

/// `error: cause`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error.as_deref().unwrap_or("no error name"))?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

/// The levels of a log (`loggingConfiguration.level`), from most to least.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every event.
    All,
    /// Failures of states, tasks and executions.
    Error,
    /// Executions that did not succeed.
    Fatal,
    /// Nothing.
    Off,
}

/// One event of an execution's history.
#[derive(Clone, Copy, Debug)]
pub struct HistoryEvent<'a> {
    /// Number of the event, from 1.
    pub id: u64,
    /// The event that it follows from; 0 for the first event and for the first state's entry.
    pub previous_id: u64,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Resolves the values in `details`.
    pub values: Values<'a>,
    /// Its type, and what belongs to it.
    pub details: Details<'a>,
    /// The execution's input and the text that it arrived as, where that has white space or escapes which documents
    /// do without: AWS shows an input that no state has changed as it was sent.
    pub original: Option<(Val, &'a str)>,
}

/// Types of events with their details; the names are those of AWS's `HistoryEventType`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are AWS's")]
pub enum Details<'a> {
    ExecutionStarted {
        input: Val,
        role_arn: &'a str,
    },
    ExecutionSucceeded {
        output: Val,
    },
    ExecutionFailed {
        failure: &'a Failure,
    },
    ExecutionTimedOut {
        failure: &'a Failure,
    },
    ExecutionAborted {
        failure: &'a Failure,
    },
    StateEntered {
        state_type: StateType,
        name: &'a str,
        input: Val,
    },
    StateExited {
        state_type: StateType,
        name: &'a str,
        output: Val,
        assigned: &'a [(&'a str, Val)],
    },
    StateAborted {
        state_type: StateType,
    },
    LambdaFunctionScheduled {
        resource: &'a str,
        input: Val,
        timeout_seconds: Option<u64>,
    },
    LambdaFunctionStarted,
    LambdaFunctionSucceeded {
        output: Val,
    },
    LambdaFunctionFailed {
        failure: &'a Failure,
    },
    LambdaFunctionTimedOut {
        failure: &'a Failure,
    },
    ActivityScheduled {
        resource: &'a str,
        input: Val,
        timeout_seconds: Option<u64>,
        heartbeat_seconds: Option<u64>,
    },
    ActivityStarted {
        worker_name: Option<&'a str>,
    },
    ActivitySucceeded {
        output: Val,
    },
    ActivityFailed {
        failure: &'a Failure,
    },
    ActivityTimedOut {
        failure: &'a Failure,
    },
    TaskScheduled {
        resource: &'a Resource,
        parameters: Val,
        region: &'a str,
        timeout_seconds: Option<u64>,
        heartbeat_seconds: Option<u64>,
        credentials: Option<Val>,
    },
    TaskStarted {
        resource: &'a Resource,
    },
    TaskSubmitted {
        resource: &'a Resource,
        output: Val,
    },
    TaskSucceeded {
        resource: &'a Resource,
        output: Val,
    },
    TaskFailed {
        resource: &'a Resource,
        failure: &'a Failure,
    },
    TaskTimedOut {
        resource: &'a Resource,
        failure: &'a Failure,
    },
    EvaluationFailed {
        failure: &'a Failure,
        location: Option<&'a str>,
        state: &'a str,
    },
    ParallelStateStarted,
    ParallelStateSucceeded,
    ParallelStateFailed,
    MapStateStarted {
        length: u64,
    },
    MapStateSucceeded,
    MapStateFailed,
    MapIterationStarted {
        name: &'a str,
        index: u64,
    },
    MapIterationSucceeded {
        name: &'a str,
        index: u64,
    },
    MapIterationFailed {
        name: &'a str,
        index: u64,
    },
    MapIterationAborted {
        name: &'a str,
        index: u64,
    },
}

impl Details<'_> {
    /// AWS's name of the type.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Details::ExecutionStarted { .. } => "ExecutionStarted",
            Details::ExecutionSucceeded { .. } => "ExecutionSucceeded",
            Details::ExecutionFailed { .. } => "ExecutionFailed",
            Details::ExecutionTimedOut { .. } => "ExecutionTimedOut",
            Details::ExecutionAborted { .. } => "ExecutionAborted",
            Details::StateEntered { state_type, .. } => entered_type(*state_type),
            Details::StateExited { state_type, .. } => exited_type(*state_type),
            Details::StateAborted { state_type } => aborted_type(*state_type),
            Details::LambdaFunctionScheduled { .. } => "LambdaFunctionScheduled",
            Details::LambdaFunctionStarted => "LambdaFunctionStarted",
            Details::LambdaFunctionSucceeded { .. } => "LambdaFunctionSucceeded",
            Details::LambdaFunctionFailed { .. } => "LambdaFunctionFailed",
            Details::LambdaFunctionTimedOut { .. } => "LambdaFunctionTimedOut",
            Details::ActivityScheduled { .. } => "ActivityScheduled",
            Details::ActivityStarted { .. } => "ActivityStarted",
            Details::ActivitySucceeded { .. } => "ActivitySucceeded",
            Details::ActivityFailed { .. } => "ActivityFailed",
            Details::ActivityTimedOut { .. } => "ActivityTimedOut",
            Details::TaskScheduled { .. } => "TaskScheduled",
            Details::TaskStarted { .. } => "TaskStarted",
            Details::TaskSubmitted { .. } => "TaskSubmitted",
            Details::TaskSucceeded { .. } => "TaskSucceeded",
            Details::TaskFailed { .. } => "TaskFailed",
            Details::TaskTimedOut { .. } => "TaskTimedOut",
            Details::EvaluationFailed { .. } => "EvaluationFailed",
            Details::ParallelStateStarted => "ParallelStateStarted",
            Details::ParallelStateSucceeded => "ParallelStateSucceeded",
            Details::ParallelStateFailed => "ParallelStateFailed",
            Details::MapStateStarted { .. } => "MapStateStarted",
            Details::MapStateSucceeded => "MapStateSucceeded",
            Details::MapStateFailed => "MapStateFailed",
            Details::MapIterationStarted { .. } => "MapIterationStarted",
            Details::MapIterationSucceeded { .. } => "MapIterationSucceeded",
            Details::MapIterationFailed { .. } => "MapIterationFailed",
            Details::MapIterationAborted { .. } => "MapIterationAborted",
        }
    }

    /// The lowest level of log that holds the event (AWS's guide, "Log levels for Step Functions execution events").
    #[must_use]
    pub fn level(&self) -> LogLevel {
        match self {
            Details::ExecutionAborted { .. }
            | Details::ExecutionFailed { .. }
            | Details::ExecutionTimedOut { .. } => LogLevel::Fatal,
            Details::StateEntered {
                state_type: StateType::Fail,
                ..
            }
            | Details::LambdaFunctionFailed { .. }
            | Details::LambdaFunctionTimedOut { .. }
            | Details::MapIterationAborted { .. }
            | Details::MapIterationFailed { .. }
            | Details::MapStateFailed
            | Details::StateAborted { .. }
            | Details::ParallelStateFailed
            | Details::TaskFailed { .. }
            | Details::TaskTimedOut { .. }
            | Details::ActivityFailed { .. }
            | Details::ActivityTimedOut { .. }
            // AWS's table does not name it; every other failure is an error.
            | Details::EvaluationFailed { .. } => LogLevel::Error,
            Details::ExecutionStarted { .. }
            | Details::ExecutionSucceeded { .. }
            | Details::StateEntered { .. }
            | Details::StateExited { .. }
            | Details::LambdaFunctionScheduled { .. }
            | Details::LambdaFunctionStarted
            | Details::LambdaFunctionSucceeded { .. }
            | Details::ActivityScheduled { .. }
            | Details::ActivityStarted { .. }
            | Details::ActivitySucceeded { .. }
            | Details::TaskScheduled { .. }
            | Details::TaskStarted { .. }
            | Details::TaskSubmitted { .. }
            | Details::TaskSucceeded { .. }
            | Details::ParallelStateStarted
            | Details::ParallelStateSucceeded
            | Details::MapStateStarted { .. }
            | Details::MapStateSucceeded
            | Details::MapIterationStarted { .. }
            | Details::MapIterationSucceeded { .. } => LogLevel::All,
        }
    }
}

const fn entered_type(state_type: StateType) -> &'static str {
    match state_type {
        StateType::Pass => "PassStateEntered",
        StateType::Task => "TaskStateEntered",
        StateType::Choice => "ChoiceStateEntered",
        StateType::Wait => "WaitStateEntered",
        StateType::Succeed => "SucceedStateEntered",
        StateType::Fail => "FailStateEntered",
        StateType::Parallel => "ParallelStateEntered",
        StateType::Map => "MapStateEntered",
    }
}

const fn exited_type(state_type: StateType) -> &'static str {
    match state_type {
        StateType::Pass => "PassStateExited",
        StateType::Task => "TaskStateExited",
        StateType::Choice => "ChoiceStateExited",
        StateType::Wait => "WaitStateExited",
        StateType::Succeed => "SucceedStateExited",
        // A Fail state is never left; the name completes the table.
        StateType::Fail => "FailStateExited",
        StateType::Parallel => "ParallelStateExited",
        StateType::Map => "MapStateExited",
    }
}

const fn aborted_type(state_type: StateType) -> &'static str {
    match state_type {
        StateType::Task => "TaskStateAborted",
        StateType::Wait => "WaitStateAborted",
        StateType::Parallel => "ParallelStateAborted",
        StateType::Map => "MapStateAborted",
        // These end in the turn that enters them, so that nothing can stop them; the names complete the table.
        StateType::Pass => "PassStateAborted",
        StateType::Choice => "ChoiceStateAborted",
        StateType::Succeed => "SucceedStateAborted",
        StateType::Fail => "FailStateAborted",
    }
}
