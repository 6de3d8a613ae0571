//! The journal's durable appends beside a hand-written loop that appends the same bytes and syncs.
//!
//! `cargo bench --bench journal` measures, interleaved in rounds:
//!
//! - `journal/append-batch-256`: 64 producers, each with one batch of 256 starts of 570 bytes under way;
//! - `journal/append-batch-1`: 64 producers, each with one start under way;
//! - `journal/ack-half-load`: how long a start waits for its acknowledgement while the disk is busy half of the time.
//!
//! `-- --directory DIR` says on which disk (the target directory's, if nothing is said), `-- --rounds N` how often, `-- --test` runs one short round.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "what is measured is the time of the system"
)]

#[path = "disk/mod.rs"]
mod disk;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use disk::{hand_written, median, percentile, sync_micros};
use quickstep::internal::journal::{
    EndRecord, EndStatus, FileStorage, Journal, Options, StartRecord, Ticket,
};
use quickstep::stdx::Timestamp;

const PRODUCERS: usize = 64;
const BATCH: usize = 256;
const INPUT_BYTES: usize = 570;
const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:orders";

struct Settings {
    directory: PathBuf,
    rounds: usize,
    seconds: f64,
}

fn settings() -> Settings {
    let mut settings = Settings {
        directory: Path::new(env!("CARGO_TARGET_TMPDIR")).join("journal-bench"),
        rounds: 7,
        seconds: 1.0,
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

/// Inputs that differ, as those of a service do.
fn inputs() -> Vec<String> {
    (0..BATCH)
        .map(|number| {
            let head = format!("{{\"order\":{},\"note\":\"", number * 7_919);
            let filler: String = (0..INPUT_BYTES - head.len() - 2)
                .map(|at| {
                    char::from(b'a' + u8::try_from((at * 31 + number * 17) % 26).unwrap_or(0))
                })
                .collect();
            format!("{head}{filler}\"}}")
        })
        .collect()
}

fn starts<'a>(inputs: &'a [String], names: &'a [String]) -> Vec<StartRecord<'a>> {
    inputs
        .iter()
        .zip(names)
        .map(|(input, name)| StartRecord {
            machine: MACHINE,
            revision: 1,
            name,
            started_at: Timestamp::from_millis(1_700_000_000_000),
            seed: 1,
            attempt: 1,
            input: input.as_bytes(),
        })
        .collect()
}

fn names() -> Vec<String> {
    (0..BATCH)
        .map(|number| format!("4f9c2c9e-75b9-4c3b-9a39-{number:012x}"))
        .collect()
}

/// An open journal and its committer's thread.
struct Running {
    journal: Journal,
    committer: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(directory: &Path) -> Running {
        let _ = fs::remove_dir_all(directory);
        let storage = FileStorage::create(directory).expect("a directory");
        let (journal, _) = Journal::open(Arc::new(storage), Options::default()).expect("a journal");
        let committer = {
            let journal = journal.clone();
            let origin = Instant::now();
            thread::spawn(move || {
                journal.run(&|| u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX));
            })
        };
        Running {
            journal,
            committer: Some(committer),
        }
    }

    fn end(&self, ticket: &Ticket) {
        let ends: Vec<EndRecord> = ticket
            .starts()
            .map(|start| EndRecord {
                start: quickstep::internal::journal::Lsn(start),
                status: EndStatus::Succeeded,
            })
            .collect();
        self.journal.append_ends(&ends).expect("ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.journal.close();
        if let Some(committer) = self.committer.take() {
            committer.join().expect("the committer");
        }
    }
}

/// Starts a second, durable: every producer appends, waits for the acknowledgement, ends what it has started.
fn durable_starts(running: &Running, batch: usize, seconds: f64) -> f64 {
    let (inputs, names) = (inputs(), names());
    let records = starts(&inputs[..batch], &names[..batch]);
    let is_over = AtomicBool::new(false);
    let count = AtomicU64::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let ticket = running.journal.append_starts(&records).expect("room");
                    ticket.wait().expect("a durable commit");
                    count.fetch_add(batch as u64, Ordering::Relaxed);
                    running.end(&ticket);
                }
            });
        }
        thread::sleep(Duration::from_secs_f64(seconds));
        is_over.store(true, Ordering::Relaxed);
    });
    count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// Microseconds from append to acknowledgement of single starts that arrive at a pace which keeps the disk busy half of
/// the time, each counted from when it was to arrive.
fn ack_micros(running: &Running, sync_micros: f64, seconds: f64) -> Vec<f64> {
    let (inputs, names) = (inputs(), names());
    let records = starts(&inputs[..1], &names[..1]);
    let pause = Duration::from_secs_f64(sync_micros * 2.0 / 1e6);
    let (acknowledged, times) = mpsc::channel();
    let begun = Instant::now();
    let mut next = begun;
    let mut random = 1_u64;
    while begun.elapsed().as_secs_f64() < seconds {
        // Arrivals that keep no beat with the disk: between nothing and twice the mean.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        next += pause.mul_f64((random >> 33) as f64 / f64::from(1_u32 << 30));
        while Instant::now() < next {
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let arrived = Instant::now();
        let ticket = running.journal.append_starts(&records).expect("room");
        let acknowledged = acknowledged.clone();
        ticket.on_durable(move |result| {
            result.expect("a durable commit");
            let _ = acknowledged.send(arrived.elapsed().as_secs_f64() * 1e6);
        });
        running.end(&ticket);
    }
    drop(acknowledged);
    times.iter().collect()
}

fn main() {
    let settings = settings();
    let seconds = settings.seconds;
    fs::create_dir_all(&settings.directory).expect("a directory");
    let own = settings.directory.join("journal");
    let record_bytes = INPUT_BYTES + MACHINE.len() + names()[0].len() + 33;
    let mut rows: [Vec<f64>; 9] = Default::default();
    for _ in 0..settings.rounds {
        let running = Running::start(&own);
        // The first pass makes the segments that the next ones use again.
        durable_starts(&running, BATCH, seconds / 2.0);
        let before = running.journal.counters();
        let batches = durable_starts(&running, BATCH, seconds);
        let after = running.journal.counters();
        let block = (after.bytes - before.bytes) / (after.commits - before.commits).max(1);
        rows[0].push(batches);
        rows[1].push(block as f64 / 1024.0);
        let block = usize::try_from(block).expect("a block's length");
        let by_hand = hand_written(&settings.directory, block, record_bytes, seconds);
        rows[2].push(by_hand);
        rows[3].push(batches / by_hand);

        let singles = durable_starts(&running, 1, seconds);
        let mut syncs = sync_micros(&settings.directory, 4096, (400.0 * seconds) as usize + 10);
        let sync = percentile(&mut syncs, 50);
        let mean = syncs.iter().sum::<f64>() / syncs.len() as f64;
        rows[4].push(singles);
        rows[5].push(singles / (PRODUCERS as f64 * 1e6 / mean));

        let mut acks = ack_micros(&running, mean, seconds);
        let ack = percentile(&mut acks, 50);
        rows[6].push(sync);
        rows[7].push(ack);
        rows[8].push(ack / sync);
    }
    let _ = fs::remove_dir_all(&settings.directory);
    println!(
        "{} rounds, {PRODUCERS} producers, records of {record_bytes} bytes with inputs of {INPUT_BYTES}; medians (and ranges)",
        settings.rounds
    );
    for ((name, unit), values) in [
        ("journal/append-batch-256", "durable starts/s"),
        ("  its commits", "KiB"),
        ("  written by hand, blocks as large", "starts/s"),
        ("  journal / by hand", "times"),
        ("journal/append-batch-1", "durable starts/s"),
        ("  of producers / mean write and sync of 4 KiB", "times"),
        ("one write and sync of 4 KiB, p50", "µs"),
        ("journal/ack-half-load, p50", "µs"),
        ("  of one write and sync", "times"),
    ]
    .iter()
    .zip(&rows)
    {
        let mut sorted = values.clone();
        let (low, high) = (percentile(&mut sorted, 0), percentile(&mut sorted, 100));
        let digits = if high < 100.0 { 2 } else { 0 };
        println!(
            "{name:<48} {:>12.digits$} {unit} ({low:.digits$} to {high:.digits$})",
            median(values)
        );
    }
}
