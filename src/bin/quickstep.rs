//! The command line: arguments and exit codes.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match quickstep::cli::parse() {
        Ok(cli) => cli.run().into(),
        Err(code) => code.into(),
    }
}
