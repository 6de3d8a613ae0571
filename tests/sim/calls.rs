//! The calls of handlers: who was called when, and what was answered.

use std::task::Waker;

use quickstep::task::{Failure, TaskToken};

use crate::machines::{TaskTimes, task_times};

/// How a task is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// By the function itself.
    AtOnce,
    /// By a future.
    Future,
    /// By its token.
    Token,
}

/// What an answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Say {
    Done,
    /// It failed with this error.
    Error(&'static str),
    Panic,
    /// Something that is not JSON.
    Garbage,
    Heartbeat,
}

impl Say {
    pub(crate) fn is_last(self) -> bool {
        self != Say::Heartbeat
    }

    /// Whether the state tries again after it.
    pub(crate) fn is_retried(self) -> bool {
        matches!(self, Say::Error("Busy") | Say::Panic)
    }
}

/// An answer that was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) number: u64,
    pub(crate) at: u64,
    pub(crate) say: Say,
    /// Everything had its turn after it was given, and before the task's time was up: it has been taken. What a function
    /// answers long before that has its turn at once.
    pub(crate) is_in_time: bool,
}

/// A call of a handler.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) start: u64,
    pub(crate) life: u32,
    pub(crate) attempt: u32,
    pub(crate) state: String,
    pub(crate) retry: u32,
    /// When the task was handed out, at the earliest, and when the handler was called.
    pub(crate) since: u64,
    pub(crate) at: u64,
    pub(crate) way: Way,
    pub(crate) token: Option<TaskToken>,
    pub(crate) given: Vec<Given>,
    /// For a future: its answer, and who waits for it.
    pub(crate) answer: Option<Answer>,
    pub(crate) waker: Option<Waker>,
    /// When it times out for want of a sign of life, at the earliest.
    pub(crate) heartbeat_due: Option<u64>,
}

/// What a future answers, or that it panics.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Is(Result<Vec<u8>, Failure>),
    Panic(String),
}

impl Call {
    pub(crate) fn times(&self) -> TaskTimes {
        task_times(&self.state)
    }

    /// When the task's time is up, at the earliest.
    pub(crate) fn due(&self) -> u64 {
        let timeout = self.times().timeout.map(|timeout| self.since + timeout);
        [timeout, self.heartbeat_due]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(u64::MAX)
    }

    /// When its time is up for certain: heartbeats that may not have been seen count.
    pub(crate) fn due_at_last(&self) -> u64 {
        let beats = self.given.iter().any(|given| given.say == Say::Heartbeat);
        let heartbeat = self.times().heartbeat.filter(|_| !beats);
        let after = self.times().timeout.into_iter().chain(heartbeat).min();
        after.map_or(u64::MAX, |after| self.at + after)
    }

    /// The answer that counts: the first that ends the task.
    pub(crate) fn last(&self) -> Option<&Given> {
        self.given.iter().find(|given| given.say.is_last())
    }

    /// Everything had its turn at `now`, after what was given until then.
    pub(crate) fn seen(&mut self, now: u64) {
        let due = self.due();
        for given in &mut self.given {
            if now < due && !given.is_in_time {
                given.is_in_time = true;
                if let (Say::Heartbeat, Some(at)) = (given.say, &mut self.heartbeat_due) {
                    let heartbeat = task_times(&self.state).heartbeat.unwrap_or_default();
                    *at = (*at).max(given.at + heartbeat);
                }
            }
        }
    }
}

/// The text of an answer: which call, and which answer.
pub(crate) fn text(call: usize, number: u64) -> String {
    format!(r#"{{"c":{call},"a":{number}}}"#)
}
