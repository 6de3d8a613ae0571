//! What goes wrong with a store.

use std::fmt;

/// Why a store could not be opened, read or written.
pub struct StoreError(Box<Inner>);

struct Inner {
    kind: StoreErrorKind,
    message: Box<str>,
}

/// What kind of error it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The file is damaged, is not a store, or holds what this version cannot read.
    Damaged,
    /// Another process has it open.
    InUse,
    /// What is in it cannot go on with this version or configuration.
    Unfit,
    /// The disk or the operating system refused.
    Io,
}

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, message: impl Into<Box<str>>) -> StoreError {
        StoreError(Box::new(Inner {
            kind,
            message: message.into(),
        }))
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.0.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreError({:?}: {})", self.0.kind, self.0.message)
    }
}

impl std::error::Error for StoreError {}
