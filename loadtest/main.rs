//! `quickstep-loadtest`: a closed loop over the embedded engine, for saturation.
//!
//! One thread runs one event after the other, so that latency is the time of an execution alone: this says how much one
//! core can do, not how long a caller waits under a given load. Outputs are compared with the expected ones as they
//! come; one difference fails the run at any rate.

#![expect(clippy::print_stdout, reason = "it reports")]

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::Parser;
use hdrhistogram::Histogram;
use quickstep::task::TaskRegistry;
use quickstep::task::mock::MockSource;
use quickstep::{Engine, StateMachine, Status};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a machine on the same events again and again, and reports rate and latency.
#[derive(Parser)]
struct Arguments {
    /// The definition.
    definition: PathBuf,
    /// The events, one JSON text a line.
    events: PathBuf,
    /// Who answers the tasks, as in `quickstep run`.
    #[arg(long)]
    tasks: Option<String>,
    /// The right outputs, one a line.
    #[arg(long)]
    expect: Option<PathBuf>,
    /// How often all events are run; the first round is not measured.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let definition = fs::read_to_string(&arguments.definition)?;
    let machine = StateMachine::compile(&definition).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    let mut tasks = TaskRegistry::new();
    if let Some(source) = &arguments.tasks {
        MockSource::parse(source).load(machine.name(), &mut tasks)?;
    }
    let engine = Engine::builder().tasks(tasks).build()?;
    let events = fs::read_to_string(&arguments.events)?;
    let expected = arguments.expect.map(fs::read_to_string).transpose()?;
    let expected: Option<Vec<&str>> = expected.as_deref().map(|text| text.lines().collect());

    // Nanoseconds, up to a minute, to three digits.
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut failed = 0_u64;
    for round in 0..=arguments.rounds {
        for (i, event) in events.lines().enumerate() {
            let result = engine.run(&machine, event.as_bytes())?;
            failed += u64::from(result.status != Status::Succeeded);
            if let Some(expected) = &expected
                && result.output.as_deref() != expected.get(i).copied()
            {
                return Err(format!("line {}: got {:?}", i + 1, result.output).into());
            }
            if round > 0 {
                latency.saturating_record(u64::try_from(result.duration.as_nanos())?);
            }
        }
    }
    let seconds = latency.mean() * latency.len() as f64 / 1e9;
    println!("{} executions, {failed} failed", latency.len());
    println!(
        "{:.0} executions a second of running",
        latency.len() as f64 / seconds
    );
    for quantile in [0.5, 0.99, 0.999] {
        println!(
            "p{:<5} {:>9} ns",
            quantile * 100.0,
            latency.value_at_quantile(quantile)
        );
    }
    println!("max    {:>9} ns", latency.max());
    Ok(())
}
