//! Runs one contender over a number of events and nothing else: for counting instructions.
//!
//! `count WORKLOAD WHO EVENTS`, such as `count order H2 3072`; the events repeat after 1,024. The difference between two
//! numbers of events is free of start-up: `scripts/instructions` takes it. Without arguments it runs everybody briefly.

#[path = "baseline/mod.rs"]
mod baseline;

use baseline::Workload;
use std::hint::black_box;

#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn count(workload: &Workload, who: &str, executions: usize) {
    let events = workload.events();
    let mut out = Vec::new();
    for (name, mut contender) in workload.contenders() {
        if name != who {
            continue;
        }
        for event in events.iter().cycle().take(executions) {
            out.clear();
            contender.run(black_box(event), &mut out);
            black_box(&out);
        }
        return;
    }
    panic!("there is no contender {who}");
}

fn main() {
    // cargo adds --bench, the smoke run --test.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let workloads = Workload::all();
    match arguments.as_slice() {
        [] => {
            for workload in &workloads {
                for who in ["H1", "H2"] {
                    count(workload, who, 1_024);
                }
            }
        }
        [name, who, executions] => {
            let workload = workloads.iter().find(|workload| workload.name == name);
            let executions = executions.parse().expect("EVENTS is a number");
            count(
                workload.expect("WORKLOAD is order or fanout"),
                who,
                executions,
            );
        }
        _ => panic!("usage: count WORKLOAD WHO EVENTS"),
    }
}
