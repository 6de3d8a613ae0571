//! Errors of the engine itself.

use std::fmt;

/// Why the engine could not do what it was asked for. The failure of an execution is not an error: see
/// [`ExecutionResult`](super::ExecutionResult).
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Box<str>,
}

/// What kind of error it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is not JSON, or is too large.
    InvalidInput,
    /// The name cannot be one of an execution or of a state machine.
    InvalidName,
    /// The asynchronous runtime could not be started.
    Runtime,
    /// Events could not be read.
    Read,
    /// Results could not be written.
    Write,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Box<str>>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
        }))
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
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
