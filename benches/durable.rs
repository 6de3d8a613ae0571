//! Durable starts through the whole engine, beside the same engine in memory and beside what the disk can do.
//!
//! `cargo bench --bench durable` measures, interleaved in rounds, with one worker and the workflow `order`:
//!
//! - `durable/batch-256`: 64 producers, each of which starts batches of 256, the next one when the last has ended;
//!   `memory/batch-256` is the same without a journal;
//! - `durable/half-load`: such batches at half of the rate that was measured, and how long each waits until it is
//!   acknowledged, from when it was to start;
//! - `durable/start`: single starts by 64 producers.
//!
//! Every output is compared with the reference. `-- --directory DIR` says on which disk (the target directory's, if nothing
//! is said), `-- --rounds N` how often, `-- --test` runs one short round.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "what is measured is the time of the system"
)]

#[expect(dead_code, reason = "the contenders are for other benches")]
#[path = "baseline/mod.rs"]
mod baseline;
#[path = "disk/mod.rs"]
mod disk;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use baseline::Workload;
use disk::{hand_written, median, percentile, sync_micros};
use quickstep::engine::{DurabilityMode, Ended, Engine, Error, ResultSink, StartRequest};
use quickstep::task::TaskRequest;
use quickstep::{StateMachine, Status};

#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PRODUCERS: usize = 64;
const BATCH: usize = 256;

struct Settings {
    directory: PathBuf,
    rounds: usize,
    seconds: f64,
}

fn settings() -> Settings {
    let mut settings = Settings {
        directory: Path::new(env!("CARGO_TARGET_TMPDIR")).join("durable-bench"),
        rounds: 5,
        seconds: 2.0,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--test" => (settings.rounds, settings.seconds) = (1, 0.05),
            "--directory" => {
                settings.directory = arguments.next().expect("--directory takes a path").into();
            }
            "--rounds" => {
                let rounds = arguments.next().and_then(|text| text.parse().ok());
                settings.rounds = rounds.expect("--rounds takes a number");
            }
            // What cargo itself passes.
            "--bench" => {}
            other => {
                panic!("unknown argument {other}; there are --directory DIR, --rounds N, --test")
            }
        }
    }
    settings
}

/// The events and what comes of them.
struct Orders {
    machine: StateMachine,
    events: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
}

impl Orders {
    fn new() -> Orders {
        let [order, _] = Workload::all();
        let definition = fs::read_to_string(&order.definition).expect("a definition");
        let own = |lines: Vec<&[u8]>| lines.into_iter().map(<[u8]>::to_vec).collect();
        Orders {
            machine: StateMachine::compile(&definition).expect("it is valid"),
            events: own(order.events()),
            outputs: own(order.references()),
        }
    }

    /// The events of a producer's batch; they are a quarter of all.
    fn batch(&self, producer: usize) -> &[Vec<u8>] {
        let from = BATCH * producer % self.events.len();
        &self.events[from..from + BATCH]
    }
}

/// One batch under way.
struct Batch {
    orders: Arc<Orders>,
    first: usize,
    open: AtomicUsize,
    waiter: Thread,
    output: Mutex<Vec<u8>>,
}

impl Batch {
    fn new(orders: &Arc<Orders>, producer: usize) -> Arc<Batch> {
        Arc::new(Batch {
            orders: Arc::clone(orders),
            first: BATCH * producer % orders.events.len(),
            open: AtomicUsize::new(BATCH),
            waiter: thread::current(),
            output: Mutex::default(),
        })
    }

    fn wait(&self) {
        while self.open.load(Ordering::Acquire) > 0 {
            thread::park();
        }
    }
}

struct Checked(Arc<Batch>);

impl ResultSink for Checked {
    fn ended(&self, ended: &Ended<'_>) {
        let batch = &*self.0;
        {
            let mut output = batch.output.lock().unwrap_or_else(PoisonError::into_inner);
            output.clear();
            ended.write_output(&mut output);
            let line = usize::try_from(ended.line).expect("a number of a batch");
            assert!(
                ended.status() == Status::Succeeded
                    && *output == batch.orders.outputs[batch.first + line]
            );
        }
        if batch.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            batch.waiter.unpark();
        }
    }

    fn refused(&self, line: u64, error: Error) {
        panic!("input {line}: {error}");
    }
}

fn engine(mode: DurabilityMode) -> Engine {
    let quote = |_: &TaskRequest<'_>, response: &mut Vec<u8>| {
        response.extend_from_slice(baseline::quote());
        Ok(())
    };
    let builder = Engine::builder().workers(1).task("*", quote).seed(1);
    builder.durability(mode).build().expect("an engine")
}

fn start(engine: &Engine, orders: &Arc<Orders>, producer: usize) -> Arc<Batch> {
    let batch = Batch::new(orders, producer);
    let events = orders.batch(producer).iter().map(Vec::as_slice);
    let sink = Checked(Arc::clone(&batch));
    engine
        .start_batch(&orders.machine, events, sink)
        .expect("there is room");
    batch
}

/// Executions a second: accepted, run and ended.
fn batches(engine: &Engine, orders: &Arc<Orders>, seconds: f64) -> f64 {
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (is_over, count) = (&is_over, &count);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    start(engine, orders, producer).wait();
                    count.fetch_add(BATCH as u64, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(Duration::from_secs_f64(seconds));
        is_over.store(true, Ordering::Relaxed);
    });
    count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// Microseconds until a batch is acknowledged, from when it was to start, at `rate` executions a second.
fn acknowledged_micros(engine: &Engine, orders: &Arc<Orders>, rate: f64, seconds: f64) -> Vec<f64> {
    let between = (PRODUCERS * BATCH) as f64 / rate;
    let micros = Mutex::new(Vec::new());
    let begun = Instant::now();
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let micros = &micros;
            scope.spawn(move || {
                // Each has a beat of its own.
                let mut at = between * producer as f64 / PRODUCERS as f64;
                let mut own = Vec::new();
                while at < seconds {
                    let due = begun + Duration::from_secs_f64(at);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let batch = start(engine, orders, producer);
                    own.push(due.elapsed().as_secs_f64() * 1e6);
                    batch.wait();
                    at += between;
                }
                let mut all = micros.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(own);
            });
        }
    });
    micros.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Single durable starts a second.
fn singles(engine: &Engine, orders: &Arc<Orders>, seconds: f64) -> f64 {
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (is_over, count) = (&is_over, &count);
            scope.spawn(move || {
                for event in orders.batch(producer).iter().cycle() {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let handle = engine.start(&orders.machine, StartRequest::new(event));
                    handle.expect("there is room");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(Duration::from_secs_f64(seconds));
        is_over.store(true, Ordering::Relaxed);
    });
    count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// What is reported, in the order of the columns of a round.
const ROWS: [(&str, &str); 13] = [
    ("memory/batch-256", "executions/s"),
    ("durable/batch-256", "executions/s"),
    ("  durable / memory", "times"),
    ("  its commits", "KiB"),
    ("  written by hand, blocks as large", "starts/s"),
    ("  durable / by hand", "times"),
    ("durable/start", "starts/s"),
    ("  of producers / mean write and sync of 4 KiB", "times"),
    ("durable/half-load, acknowledged, p50", "µs"),
    ("  its commits", "KiB"),
    ("  one write and sync of as much, p50", "µs"),
    ("  of one write and sync of as much", "times"),
    ("  of one write and sync of 4 KiB", "times"),
];

fn round(settings: &Settings, orders: &Arc<Orders>) -> [f64; ROWS.len()] {
    let seconds = settings.seconds;
    let memory = {
        let engine = engine(DurabilityMode::Memory);
        batches(&engine, orders, seconds)
    };
    let own = settings.directory.join("journal");
    let _ = fs::remove_dir_all(&own);
    let engine = engine(DurabilityMode::Durable(own));
    let counters = || engine.journal_counters().expect("it has a journal");
    // Bytes of a commit and of a start, from then on.
    let sizes = |before: quickstep::engine::JournalCounters| {
        let after = counters();
        let bytes = (after.bytes - before.bytes) as f64;
        let commits = (after.commits - before.commits).max(1) as f64;
        (
            bytes / commits,
            bytes / (after.starts - before.starts).max(1) as f64,
        )
    };
    // The first pass makes the segments that the next ones use again.
    batches(&engine, orders, seconds / 2.0);
    let before = counters();
    let durable = batches(&engine, orders, seconds);
    let (block, record) = sizes(before);
    let by_hand = hand_written(
        &settings.directory,
        block as usize,
        record as usize,
        seconds,
    );
    let single = singles(&engine, orders, seconds);
    let mut small = sync_micros(&settings.directory, 4096, (400.0 * seconds) as usize + 10);
    let mean = small.iter().sum::<f64>() / small.len() as f64;
    let before = counters();
    let mut acks = acknowledged_micros(&engine, orders, durable / 2.0, seconds);
    let (half_block, _) = sizes(before);
    let ack = percentile(&mut acks, 50);
    let mut syncs = sync_micros(
        &settings.directory,
        half_block as usize,
        (100.0 * seconds) as usize + 10,
    );
    let sync = percentile(&mut syncs, 50);
    let report = engine.shutdown(Duration::from_secs(60));
    assert!(
        report.left == 0
            && report
                .journal
                .is_some_and(|journal| journal.unfinished == 0)
    );
    [
        memory,
        durable,
        durable / memory,
        block / 1024.0,
        by_hand,
        durable / by_hand,
        single,
        single / (PRODUCERS as f64 * 1e6 / mean),
        ack,
        half_block / 1024.0,
        sync,
        ack / sync,
        ack / percentile(&mut small, 50),
    ]
}

fn main() {
    let settings = settings();
    fs::create_dir_all(&settings.directory).expect("a directory");
    let orders = Arc::new(Orders::new());
    let rounds: Vec<[f64; ROWS.len()]> = (0..settings.rounds)
        .map(|_| round(&settings, &orders))
        .collect();
    let _ = fs::remove_dir_all(&settings.directory);
    println!(
        "{} rounds, one worker, {PRODUCERS} producers; medians (and ranges)",
        settings.rounds
    );
    for (at, (name, unit)) in ROWS.iter().enumerate() {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
        let (low, high) = (percentile(&mut values, 0), percentile(&mut values, 100));
        let digits = if high < 100.0 { 2 } else { 0 };
        println!(
            "{name:<48} {:>12.digits$} {unit} ({low:.digits$} to {high:.digits$})",
            median(&values)
        );
    }
}
