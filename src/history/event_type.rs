//! [`EventType`]: the types of events, their levels, and the numbers that the compact log has for them.

use super::event::LogLevel;
use crate::program::StateType;

macro_rules! event_types {
    ($($name:ident = $code:literal,)*) => {
        /// Types of events; the names are those of AWS's `HistoryEventType`.
        ///
        /// The numbers are those of the compact log's format: once given they do not change.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[expect(missing_docs, reason = "the names are AWS's")]
        #[repr(u8)]
        pub enum EventType {
            $($name = $code,)*
        }

        impl EventType {
            /// Every type.
            pub const ALL: &[EventType] = &[$(EventType::$name,)*];

            /// AWS's name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(EventType::$name => stringify!($name),)*
                }
            }

            /// The type that has this number.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<EventType> {
                match code {
                    $($code => Some(EventType::$name),)*
                    _ => None,
                }
            }
        }
    };
}

event_types! {
    ExecutionStarted = 1,
    ExecutionSucceeded = 2,
    ExecutionFailed = 3,
    ExecutionTimedOut = 4,
    ExecutionAborted = 5,
    PassStateEntered = 6,
    TaskStateEntered = 7,
    ChoiceStateEntered = 8,
    WaitStateEntered = 9,
    SucceedStateEntered = 10,
    FailStateEntered = 11,
    ParallelStateEntered = 12,
    MapStateEntered = 13,
    PassStateExited = 14,
    TaskStateExited = 15,
    ChoiceStateExited = 16,
    WaitStateExited = 17,
    SucceedStateExited = 18,
    // A Fail state is never left; the name completes the table.
    FailStateExited = 19,
    ParallelStateExited = 20,
    MapStateExited = 21,
    // Pass, Choice, Succeed and Fail end in the turn that enters them, so that nothing can stop them; their names
    // complete the table.
    PassStateAborted = 22,
    TaskStateAborted = 23,
    ChoiceStateAborted = 24,
    WaitStateAborted = 25,
    SucceedStateAborted = 26,
    FailStateAborted = 27,
    ParallelStateAborted = 28,
    MapStateAborted = 29,
    LambdaFunctionScheduled = 30,
    LambdaFunctionStarted = 31,
    LambdaFunctionSucceeded = 32,
    LambdaFunctionFailed = 33,
    LambdaFunctionTimedOut = 34,
    ActivityScheduled = 35,
    ActivityStarted = 36,
    ActivitySucceeded = 37,
    ActivityFailed = 38,
    ActivityTimedOut = 39,
    TaskScheduled = 40,
    TaskStarted = 41,
    TaskSubmitted = 42,
    TaskSucceeded = 43,
    TaskFailed = 44,
    TaskTimedOut = 45,
    ParallelStateStarted = 46,
    ParallelStateSucceeded = 47,
    ParallelStateFailed = 48,
    MapStateStarted = 49,
    MapStateSucceeded = 50,
    MapStateFailed = 51,
    MapIterationStarted = 52,
    MapIterationSucceeded = 53,
    MapIterationFailed = 54,
    MapIterationAborted = 55,
    EvaluationFailed = 56,
    ExecutionRedriven = 57,
    TaskSubmitFailed = 58,
}

impl EventType {
    /// A state of this type is entered.
    #[inline(always)]
    pub(super) const fn entered(state_type: StateType) -> EventType {
        match state_type {
            StateType::Pass => EventType::PassStateEntered,
            StateType::Task => EventType::TaskStateEntered,
            StateType::Choice => EventType::ChoiceStateEntered,
            StateType::Wait => EventType::WaitStateEntered,
            StateType::Succeed => EventType::SucceedStateEntered,
            StateType::Fail => EventType::FailStateEntered,
            StateType::Parallel => EventType::ParallelStateEntered,
            StateType::Map => EventType::MapStateEntered,
        }
    }

    /// A state of this type is left.
    #[inline(always)]
    pub(super) const fn exited(state_type: StateType) -> EventType {
        match state_type {
            StateType::Pass => EventType::PassStateExited,
            StateType::Task => EventType::TaskStateExited,
            StateType::Choice => EventType::ChoiceStateExited,
            StateType::Wait => EventType::WaitStateExited,
            StateType::Succeed => EventType::SucceedStateExited,
            StateType::Fail => EventType::FailStateExited,
            StateType::Parallel => EventType::ParallelStateExited,
            StateType::Map => EventType::MapStateExited,
        }
    }

    /// A state of this type is stopped.
    #[inline(always)]
    pub(super) const fn aborted(state_type: StateType) -> EventType {
        match state_type {
            StateType::Pass => EventType::PassStateAborted,
            StateType::Task => EventType::TaskStateAborted,
            StateType::Choice => EventType::ChoiceStateAborted,
            StateType::Wait => EventType::WaitStateAborted,
            StateType::Succeed => EventType::SucceedStateAborted,
            StateType::Fail => EventType::FailStateAborted,
            StateType::Parallel => EventType::ParallelStateAborted,
            StateType::Map => EventType::MapStateAborted,
        }
    }

    /// The lowest level of log that holds such events (AWS's guide, "Log levels for Step Functions execution events").
    #[must_use]
    #[inline(always)]
    pub const fn level(self) -> LogLevel {
        match self {
            EventType::ExecutionAborted
            | EventType::ExecutionFailed
            | EventType::ExecutionTimedOut => LogLevel::Fatal,
            EventType::FailStateEntered
            | EventType::LambdaFunctionFailed
            | EventType::LambdaFunctionTimedOut
            | EventType::MapIterationAborted
            | EventType::MapIterationFailed
            | EventType::MapStateFailed
            | EventType::PassStateAborted
            | EventType::TaskStateAborted
            | EventType::ChoiceStateAborted
            | EventType::WaitStateAborted
            | EventType::SucceedStateAborted
            | EventType::FailStateAborted
            | EventType::ParallelStateAborted
            | EventType::MapStateAborted
            | EventType::ParallelStateFailed
            | EventType::TaskFailed
            | EventType::TaskSubmitFailed
            | EventType::TaskTimedOut
            | EventType::ActivityFailed
            | EventType::ActivityTimedOut
            // AWS's table does not have it.
            | EventType::EvaluationFailed => LogLevel::Error,
            EventType::ExecutionStarted
            | EventType::ExecutionSucceeded
            | EventType::ExecutionRedriven
            | EventType::PassStateEntered
            | EventType::TaskStateEntered
            | EventType::ChoiceStateEntered
            | EventType::WaitStateEntered
            | EventType::SucceedStateEntered
            | EventType::ParallelStateEntered
            | EventType::MapStateEntered
            | EventType::PassStateExited
            | EventType::TaskStateExited
            | EventType::ChoiceStateExited
            | EventType::WaitStateExited
            | EventType::SucceedStateExited
            | EventType::FailStateExited
            | EventType::ParallelStateExited
            | EventType::MapStateExited
            | EventType::LambdaFunctionScheduled
            | EventType::LambdaFunctionStarted
            | EventType::LambdaFunctionSucceeded
            | EventType::ActivityScheduled
            | EventType::ActivityStarted
            | EventType::ActivitySucceeded
            | EventType::TaskScheduled
            | EventType::TaskStarted
            | EventType::TaskSubmitted
            | EventType::TaskSucceeded
            | EventType::ParallelStateStarted
            | EventType::ParallelStateSucceeded
            | EventType::MapStateStarted
            | EventType::MapStateSucceeded
            | EventType::MapIterationStarted
            | EventType::MapIterationSucceeded => LogLevel::All,
        }
    }
}

/// AWS's name.
impl std::fmt::Display for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_back() {
        for event_type in EventType::ALL {
            assert_eq!(EventType::from_code(*event_type as u8), Some(*event_type));
        }
        assert_eq!(EventType::from_code(0), None);
        assert_eq!(
            EventType::from_code(58),
            None,
            "no type has this number yet"
        );
        assert_eq!(EventType::ALL.len(), 57);
    }
}
