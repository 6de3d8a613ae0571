//! quickstep against the baselines, interleaved in one run, in CPU time of the measuring thread.
//!
//! `cargo bench --bench compare` measures rounds A B C A B C …, so that a slow second of the machine hits all of them; it
//! prints medians over the rounds and the medians of the ratios of each round. `-- --rounds N` sets how many,
//! `-- --json` prints one line of JSON per workload, `-- --test` runs one short round.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]

#[path = "baseline/mod.rs"]
mod baseline;

use baseline::{Contender, Workload};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;

#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 60;
/// Passes over the events that one round measures: about 10 ms.
const PASSES: usize = 10;
/// Rounds that are run and not counted.
const WARM_UP: usize = 5;

struct Options {
    rounds: usize,
    passes: usize,
    json: bool,
}

fn options() -> Options {
    let mut options = Options {
        rounds: ROUNDS,
        passes: PASSES,
        json: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--test" => (options.rounds, options.passes) = (1, 1),
            "--json" => options.json = true,
            "--rounds" => {
                let rounds = arguments.next().and_then(|text| text.parse().ok());
                options.rounds = rounds.expect("--rounds takes a number");
                assert!(options.rounds > 0, "--rounds takes at least 1");
            }
            // What cargo itself passes.
            "--bench" => {}
            other => panic!("unknown argument {other}; there are --rounds N, --json, --test"),
        }
    }
    options
}

/// CPU time of this thread, in nanoseconds.
fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Nanoseconds of CPU per execution over `passes` passes.
fn measure(
    contender: &mut dyn Contender,
    events: &[&[u8]],
    passes: usize,
    out: &mut Vec<u8>,
) -> f64 {
    let start = cpu_ns();
    for _ in 0..passes {
        for event in events {
            out.clear();
            contender.run(black_box(event), out);
            black_box(&*out);
        }
    }
    (cpu_ns() - start) / (passes * events.len()) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// Median over the rounds of `ours / theirs` in executions a second, that is of the inverse of the times.
fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(
        ours.iter()
            .zip(theirs)
            .map(|(ours, theirs)| theirs / ours)
            .collect(),
    )
}

fn compare(workload: &Workload, options: &Options) {
    let events = workload.events();
    let mut contenders = workload.contenders();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    let mut out = Vec::new();
    let warm_up = if options.rounds == 1 { 0 } else { WARM_UP };
    for round in 0..warm_up + options.rounds {
        for ((_, contender), times) in contenders.iter_mut().zip(&mut times) {
            let time = measure(contender.as_mut(), &events, options.passes, &mut out);
            if round >= warm_up {
                times.push(time);
            }
        }
    }
    let mut results: Vec<(String, f64)> = Vec::new();
    for ((name, _), times) in contenders.iter().zip(&times) {
        results.push((format!("{name} ns"), median(times.clone())));
    }
    let position = |who| contenders.iter().position(|(name, _)| *name == who);
    if let Some(ours) = position("quickstep") {
        for (index, (name, _)) in contenders.iter().enumerate() {
            if index != ours {
                results.push((
                    format!("quickstep/{name}"),
                    ratio(&times[ours], &times[index]),
                ));
            }
        }
    }
    report(workload.name, &results, options);
}

fn report(workload: &str, results: &[(String, f64)], options: &Options) {
    if options.json {
        let fields: Vec<String> = results
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value:.3}"))
            .collect();
        println!(
            "{{\"workload\":\"{workload}\",\"rounds\":{},{}}}",
            options.rounds,
            fields.join(",")
        );
        return;
    }
    println!("{workload} (median of {} rounds, CPU time)", options.rounds);
    for (name, value) in results {
        if let Some(who) = name.strip_suffix(" ns") {
            println!(
                "  {who:<12} {value:>8.0} ns {:>12.0} executions per CPU second",
                1e9 / value
            );
        } else {
            println!("  {name:<14} {value:>9.3} times the executions");
        }
    }
}

fn main() {
    let options = options();
    for workload in Workload::all() {
        compare(&workload, &options);
    }
}
