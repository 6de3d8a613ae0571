//! `quickstep-loadtest`: loads a Step Functions engine, and says what its callers would see.
//!
//! 1. `schedule` fixes when requests are due before the first is sent; `pacer` waits for these moments.
//! 2. `load` gives each sending thread its share, and merges what `recorder` has, interval by interval.
//! 3. A `target` sends, and holds every output against the expected one (`events`).
//! 4. `report` and `hlog` tell what came of it; `sweep`, `soak`, `crash` and `compare` are made of such runs.
//! 5. `page` makes a page of HTML of such reports.

mod api;
mod args;
mod compare;
mod crash;
mod events;
mod hlog;
mod http;
mod load;
mod pacer;
mod page;
mod process;
mod recorder;
mod report;
mod schedule;
mod session;
mod sign;
mod soak;
mod sweep;
mod target;
mod usage;

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::Parser as _;

use self::args::{Cli, Command, Common, RunArgs};
use self::report::Report;
use self::session::Session;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something was wrong, lost, failed or throttled.
const EXIT_PROBLEM: u8 = 1;
/// The test could not be done.
const EXIT_TROUBLE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A second interrupt ends the process in the system's way, should the first not be enough.
    let handled = ctrlc::set_handler(|| {
        if load::STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_TROUBLE.into());
        }
    });
    if let Err(error) = handled {
        eprintln!("note: an interrupt ends this test without a report: {error}");
    }
    let (common, done) = match &cli.command {
        Command::Report(args) => return told(page::report(args)),
        Command::Run(args) => (&args.common, run(args)),
        Command::Sweep(args) => (&args.common, sweep::sweep(args)),
        Command::Soak(args) => (&args.common, soak::soak(args)),
        Command::Crash(args) => (&args.common, crash::crash(args)),
        Command::Compare(args) => (&args.common, compare::compare(args)),
    };
    match done.and_then(|report| finish(common, &report).map(|()| report)) {
        Ok(report) if report.problem.is_none() => ExitCode::SUCCESS,
        Ok(report) => {
            eprintln!("FAILED: {}", report.problem.unwrap_or_default());
            ExitCode::from(EXIT_PROBLEM)
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(EXIT_TROUBLE)
        }
    }
}

/// The exit code of what makes no report of its own.
fn told(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(EXIT_TROUBLE)
        }
    }
}

fn finish(common: &Common, report: &Report) -> Result<(), String> {
    match &common.json {
        None => Ok(()),
        Some(file) => report.write(file),
    }
}

fn run(args: &RunArgs) -> Result<Report, String> {
    let mut session = Session::new("run", &args.common);
    let site = args.common.site(session.name.clone())?;
    let (pace, duration) = args.pace.pace(&args.common, args.duration)?;
    let ready = site.ready(&args.target)?;
    let load = args.common.load(&args.target, pace, duration);
    session.run("run", &args.target.text, &*ready.target, &load)?;
    Ok(session.end())
}
