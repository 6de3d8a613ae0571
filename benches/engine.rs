//! Executions a second of quickstep and of the hand-written baselines, on varied events.
//!
//! `cargo bench --bench engine`; one iteration is all 1,024 events. For ratios use `compare`, which interleaves.

#[path = "baseline/mod.rs"]
mod baseline;

use baseline::Workload;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn executions(criterion: &mut Criterion) {
    for workload in Workload::all() {
        let events = workload.events();
        let mut group = criterion.benchmark_group(workload.name);
        group.throughput(Throughput::Elements(events.len() as u64));
        for (name, mut contender) in workload.contenders() {
            let mut out = Vec::new();
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    for event in &events {
                        out.clear();
                        contender.run(black_box(event), &mut out);
                        black_box(&out);
                    }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, executions);
criterion_main!(benches);
