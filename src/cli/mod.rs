//! The commands of the `quickstep` binary. They print, and return exit codes.

mod config;
mod cost;
mod definition;
mod deliver;
mod disassemble;
mod files;
mod journal;
mod log;
mod logging;
mod logs;
mod plain;
mod record;
mod report;
mod run;
mod scrape;
mod serve;
mod services;
mod stdout;
pub mod validate;

pub use cost::CostArgs;
pub use deliver::{AfterDoneArg, DeliverArgs};
pub use disassemble::DisassembleArgs;
pub use journal::JournalArgs;
pub use log::{FormatArg, LevelArg, LogArgs, PolicyArg};
pub use logging::{LogFormat, LogLevel};
pub use logs::LogsArgs;
pub use run::{RunArgs, TimeArg};
pub use serve::{DurabilityArg, ServeArgs};
pub use services::ServiceArgs;
pub use stdout::refuse_without;

use std::ffi::OsString;
use std::io::{self, Write as _};

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use config::Completed;
use plain::Plain;

/// Everything went well; every execution succeeded.
pub const EXIT_SUCCESS: u8 = 0;
/// An execution failed, or an event was not valid and was passed over.
pub const EXIT_FAILURE: u8 = 1;
/// The command could not do its work: wrong arguments, an invalid definition, a file that cannot be read, an invalid
/// event.
pub const EXIT_TROUBLE: u8 = 2;
/// It was interrupted: 128 and the number of the signal, as shells have it.
pub const EXIT_INTERRUPTED: u8 = 130;
/// Nobody wants to read what it prints: 128 and the number of SIGPIPE.
pub const EXIT_BROKEN_PIPE: u8 = 141;

/// Runs Amazon States Language state machines with Express semantics, fast.
#[derive(Parser, Debug)]
#[command(
    name = "quickstep",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Run(Box<RunArgs>),
    Serve(Box<ServeArgs>),
    Validate(validate::ValidateArgs),
    Disassemble(DisassembleArgs),
    Journal(JournalArgs),
    Cost(Box<CostArgs>),
    Logs(LogsArgs),
}

impl Cli {
    /// Does what the arguments say; returns the exit code.
    #[must_use]
    pub fn run(&self) -> u8 {
        match &self.command {
            Command::Run(args) => run::run(args),
            Command::Serve(args) => serve::run(args),
            Command::Validate(args) => validate::run(
                args,
                &mut io::stdout().lock(),
                &mut Plain(io::stderr().lock()),
            ),
            Command::Disassemble(args) => disassemble::run(args),
            Command::Journal(args) => {
                journal::run(args, &mut io::stdout().lock(), &mut io::stderr().lock())
            }
            Command::Cost(args) => cost::run(
                args,
                &mut io::stdout().lock(),
                &mut Plain(io::stderr().lock()),
            ),
            Command::Logs(args) => logs::run(args),
        }
    }
}

/// Reads the arguments, and the file of settings that they name; prints help and complaints about them itself.
///
/// # Errors
///
/// The exit code, if there is nothing to run.
pub fn parse() -> Result<Cli, u8> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let command = Cli::command();
    let matches = command.clone().try_get_matches_from(&arguments);
    let matches = matches.map_err(|error| complain(&error))?;
    let completed = config::complete(&command, &arguments, matches, "serve");
    let matches = match completed {
        Ok(Completed::Matches(matches)) => matches,
        Ok(Completed::Shown(text)) => {
            return Err(match io::stdout().write_all(text.as_bytes()) {
                Ok(()) => EXIT_SUCCESS,
                Err(error) => stdout::not_written(&error, &mut io::stderr()),
            });
        }
        Err(problem) => {
            // If nobody reads the standard error, the exit code has to do.
            let _ = writeln!(io::stderr(), "error: {problem}");
            return Err(EXIT_TROUBLE);
        }
    };
    Cli::from_arg_matches(&matches).map_err(|error| complain(&error))
}

fn complain(error: &clap::Error) -> u8 {
    // Help goes to the standard output, complaints to the standard error; there is nobody to tell if those cannot be
    // written.
    match error.print() {
        Err(unwritten) if !error.use_stderr() => stdout::not_written(&unwritten, &mut io::stderr()),
        _ => u8::try_from(error.exit_code()).unwrap_or(EXIT_TROUBLE),
    }
}
