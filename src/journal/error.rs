//! Errors of the journal.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Why the journal could not do what it was asked for. A copy is a pointer: one failed sync is told to many who wait.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Box<str>,
}

/// What kind of error it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No start is admitted for want of space: the disk is full, or the journal has reached its own bound. It passes
    /// when executions end or the disk has room.
    Full,
    /// The buffers are full: commits are slower than what comes in. It passes with the next commit.
    Busy,
    /// A write or a sync has failed, so nobody knows what is on the disk. It stays until the journal is opened again.
    Poisoned,
    /// The journal was closed.
    Closed,
    /// Another process has the journal open.
    Locked,
    /// What is on the disk is not what was written there.
    Corrupt {
        /// The number of the segment.
        segment: u64,
        /// Where in the segment's file.
        offset: u64,
    },
    /// The journal was written by a version that this one does not know.
    Version,
    /// A record or a batch is larger than any commit may be.
    TooLarge,
    /// The options contradict each other.
    Options,
    /// The file system refused something.
    Storage,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, message: impl Into<Box<str>>) -> Error {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
        }))
    }

    /// What the file system said, and what was tried.
    pub(super) fn storage(tried: &str, error: &io::Error) -> Error {
        Error::new(ErrorKind::Storage, format!("{tried}: {error}"))
    }

    pub(super) fn corrupt(segment: u64, offset: u64, why: impl fmt::Display) -> Error {
        let kind = ErrorKind::Corrupt { segment, offset };
        Error::new(
            kind,
            format!("segment {segment} is damaged at offset {offset}: {why}"),
        )
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

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

/// Whether the file system has no room, rather than being broken.
pub(super) fn is_want_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
