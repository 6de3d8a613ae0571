//! The command line: arguments and exit codes.

use std::process::ExitCode;

use quickstep::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let parsed = cli::refuse_without(stdout_was_closed()).and_then(|()| cli::parse());
    match parsed {
        Ok(cli) => cli.run().into(),
        Err(code) => code.into(),
    }
}

#[cfg(target_os = "linux")]
use at_start::stdout_was_closed;

/// Elsewhere nobody has looked.
#[cfg(not(target_os = "linux"))]
fn stdout_was_closed() -> bool {
    false
}

/// What is looked at before `main`: the standard library opens /dev/null in place of a standard output that is closed, so
/// that what is printed would be lost and nobody would know.
#[cfg(target_os = "linux")]
mod at_start {
    use std::io;
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

    #[expect(
        unsafe_code,
        reason = "only such an entry is called before the standard library's start"
    )]
    #[used]
    // SAFETY: the section holds pointers to functions of this type, which the loader calls before `main`. This one asks
    // the system about a descriptor, and neither panics nor needs anything of what `main` is given.
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        /// "Bad file descriptor"
        const EBADF: i32 = 9;
        let copied = io::stdout().as_fd().try_clone_to_owned();
        let closed = copied.is_err_and(|error| error.raw_os_error() == Some(EBADF));
        WAS_CLOSED.store(closed, Ordering::Relaxed);
    }

    pub(super) fn stdout_was_closed() -> bool {
        WAS_CLOSED.load(Ordering::Relaxed)
    }
}
