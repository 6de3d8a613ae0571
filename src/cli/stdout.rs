//! The standard output: whether it can be written to, and what a command says if it cannot.

use std::io::{self, ErrorKind, Write};

use super::{EXIT_BROKEN_PIPE, EXIT_TROUBLE};

/// Complains if there is no standard output to write to: `closed` says that it was closed when the process began.
///
/// # Errors
///
/// The exit code, if it was.
pub fn refuse_without(closed: bool) -> Result<(), u8> {
    if !closed {
        return Ok(());
    }
    // If nobody reads the standard error, the exit code has to do.
    let _ = writeln!(
        io::stderr(),
        "error: the standard output is closed; to discard what is printed, send it to /dev/null"
    );
    Err(EXIT_TROUBLE)
}

/// What a command says, and returns, whose output could not be written. A reader that has gone away, as `head` does, is
/// no reason to complain.
pub(super) fn not_written(error: &io::Error, err: &mut dyn Write) -> u8 {
    if error.kind() == ErrorKind::BrokenPipe {
        return EXIT_BROKEN_PIPE;
    }
    // If nobody reads the standard error, the exit code has to do.
    let _ = writeln!(
        err,
        "error: failed to write to the standard output: {error}"
    );
    EXIT_TROUBLE
}
