//! [`HistoryEvent`]: one event, borrowed from its execution.

use std::fmt;

use super::event_type::EventType;
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every event.
    All,
    /// Failures of states, tasks and executions.
    Error,
    /// Executions that did not succeed.
    Fatal,
    /// Nothing.
    #[default]
    Off,
}

impl LogLevel {
    /// The API's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::All => "ALL",
            LogLevel::Error => "ERROR",
            LogLevel::Fatal => "FATAL",
            LogLevel::Off => "OFF",
        }
    }
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
    ExecutionRedriven {
        count: u32,
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
    TaskSubmitFailed {
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
    /// The type of the event.
    #[must_use]
    #[inline(always)]
    pub const fn event_type(&self) -> EventType {
        match self {
            Details::ExecutionStarted { .. } => EventType::ExecutionStarted,
            Details::ExecutionSucceeded { .. } => EventType::ExecutionSucceeded,
            Details::ExecutionFailed { .. } => EventType::ExecutionFailed,
            Details::ExecutionTimedOut { .. } => EventType::ExecutionTimedOut,
            Details::ExecutionAborted { .. } => EventType::ExecutionAborted,
            Details::ExecutionRedriven { .. } => EventType::ExecutionRedriven,
            Details::StateEntered { state_type, .. } => EventType::entered(*state_type),
            Details::StateExited { state_type, .. } => EventType::exited(*state_type),
            Details::StateAborted { state_type } => EventType::aborted(*state_type),
            Details::LambdaFunctionScheduled { .. } => EventType::LambdaFunctionScheduled,
            Details::LambdaFunctionStarted => EventType::LambdaFunctionStarted,
            Details::LambdaFunctionSucceeded { .. } => EventType::LambdaFunctionSucceeded,
            Details::LambdaFunctionFailed { .. } => EventType::LambdaFunctionFailed,
            Details::LambdaFunctionTimedOut { .. } => EventType::LambdaFunctionTimedOut,
            Details::ActivityScheduled { .. } => EventType::ActivityScheduled,
            Details::ActivityStarted { .. } => EventType::ActivityStarted,
            Details::ActivitySucceeded { .. } => EventType::ActivitySucceeded,
            Details::ActivityFailed { .. } => EventType::ActivityFailed,
            Details::ActivityTimedOut { .. } => EventType::ActivityTimedOut,
            Details::TaskScheduled { .. } => EventType::TaskScheduled,
            Details::TaskStarted { .. } => EventType::TaskStarted,
            Details::TaskSubmitted { .. } => EventType::TaskSubmitted,
            Details::TaskSucceeded { .. } => EventType::TaskSucceeded,
            Details::TaskFailed { .. } => EventType::TaskFailed,
            Details::TaskTimedOut { .. } => EventType::TaskTimedOut,
            Details::TaskSubmitFailed { .. } => EventType::TaskSubmitFailed,
            Details::EvaluationFailed { .. } => EventType::EvaluationFailed,
            Details::ParallelStateStarted => EventType::ParallelStateStarted,
            Details::ParallelStateSucceeded => EventType::ParallelStateSucceeded,
            Details::ParallelStateFailed => EventType::ParallelStateFailed,
            Details::MapStateStarted { .. } => EventType::MapStateStarted,
            Details::MapStateSucceeded => EventType::MapStateSucceeded,
            Details::MapStateFailed => EventType::MapStateFailed,
            Details::MapIterationStarted { .. } => EventType::MapIterationStarted,
            Details::MapIterationSucceeded { .. } => EventType::MapIterationSucceeded,
            Details::MapIterationFailed { .. } => EventType::MapIterationFailed,
            Details::MapIterationAborted { .. } => EventType::MapIterationAborted,
        }
    }

    /// The lowest level of log that holds the event.
    #[must_use]
    #[inline(always)]
    pub const fn level(&self) -> LogLevel {
        self.event_type().level()
    }
}
