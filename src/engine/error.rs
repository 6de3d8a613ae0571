//! Errors of the engine itself.

use std::fmt;
use std::time::Duration;

use crate::journal;
use crate::runtime::admission::{Limit, Throttled};

/// Why the engine could not do what it was asked for. The failure of an execution is not an error: see
/// [`ExecutionResult`](super::ExecutionResult).
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Box<str>,
    throttled: Option<Throttled>,
}

/// What kind of error it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is not JSON, or is too large.
    InvalidInput,
    /// The name cannot be one of an execution or of a state machine.
    InvalidName,
    /// The engine has as much to do as it may, or is shutting down: see [`Error::throttled`].
    Throttled,
    /// There is no such execution or task, or it has ended.
    Stale,
    /// The engine was shut down before the execution ended.
    Abandoned,
    /// The asynchronous runtime, or a worker, could not be started.
    Runtime,
    /// The journal of a durable engine cannot be opened or read: the directory, another process that has it, damage.
    Journal,
    /// The journal of a durable engine could not write: nobody knows what of it is on the disk. No start is taken any
    /// more, until the journal is opened anew.
    Poisoned,
    /// Events could not be read, or their source could not take in what became of them.
    Read,
    /// Results could not be written.
    Write,
    /// The thread of a worker was to wait for what only a worker can bring.
    WouldDeadlock,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Box<str>>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            throttled: None,
        }))
    }

    /// What went wrong in a source of events, in reading or in an [`Ack`](super::Ack).
    #[must_use]
    pub fn of_source(message: impl Into<Box<str>>) -> Error {
        Error::new(ErrorKind::Read, message)
    }

    /// A start that the journal refuses for now.
    pub(super) fn throttled_by_journal(why: &journal::Error, retry_after: Duration) -> Error {
        let throttled = Throttled {
            limit: Limit::Journal,
            retry_after: Some(retry_after),
        };
        Error(Box::new(Inner {
            kind: ErrorKind::Throttled,
            message: format!("{throttled}: {why}").into(),
            throttled: Some(throttled),
        }))
    }

    /// For a start that was refused: which limit it was, and when another attempt may be worth it.
    #[must_use]
    pub fn throttled(&self) -> Option<&Throttled> {
        self.0.throttled.as_ref()
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl From<Throttled> for Error {
    fn from(throttled: Throttled) -> Error {
        Error(Box::new(Inner {
            kind: ErrorKind::Throttled,
            message: throttled.to_string().into(),
            throttled: Some(throttled),
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {})", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {}
