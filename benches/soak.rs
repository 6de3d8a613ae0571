//! A soak: everything at once and at full rate, for as long as is said, while memory, files and buffers are watched.
//!
//! `cargo bench --bench soak -- SECONDS` (600 is the usual) keeps under way, on two workers with a journal and a log:
//! durable batches of `order`, durable single starts, executions that wait and are frozen, tasks that are answered later,
//! executions on their caller's thread, and stops. Every five seconds it notes the resident memory, open files, the journal's
//! segments and bytes, what is in flight and what waits for the log; in the end it prints the slope of each over
//! the time after the first fifth. Without SECONDS it runs for two.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures time, and paces what it starts"
)]

#[expect(dead_code, reason = "the contenders are for other benches")]
#[path = "baseline/mod.rs"]
mod baseline;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use baseline::Workload;
use quickstep::engine::{
    DurabilityMode, Ended, Engine, Error, ErrorKind, ResultSink, StartRequest,
};
use quickstep::history::LogLevel;
use quickstep::log::{LogConfig, LogSink, LogStream, Rotation, SinkFormat};
use quickstep::task::{OwnedTaskRequest, TaskRequest};
use quickstep::{StateMachine, Status};

#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 256;
/// Threads that start batches; each has one under way.
const BATCHERS: usize = 4;
/// Pause of those that start single executions.
const PAUSE: Duration = Duration::from_millis(1);

const WAITS: &str = r#"{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":1,"Next":"T"},
  "T":{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:000000000000:function:later","TimeoutSeconds":30,"End":true}}}"#;

struct Soak {
    engine: Engine,
    order: StateMachine,
    waits: StateMachine,
    events: Vec<Vec<u8>>,
    is_over: AtomicBool,
    done: AtomicU64,
    failed: AtomicU64,
}

struct Told(mpsc::Sender<Status>);

impl ResultSink for Told {
    fn ended(&self, ended: &Ended<'_>) {
        // Whoever waits has gone only if the program ends.
        let _ = self.0.send(ended.status());
    }

    fn refused(&self, line: u64, error: Error) {
        panic!("{line}: {error}");
    }
}

impl Soak {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn count(&self, status: Status) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if status != Status::Succeeded {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn batches(&self) {
        for at in (0..).step_by(BATCH) {
            if !self.goes_on() {
                return;
            }
            let from = at % self.events.len();
            let (sender, receiver) = mpsc::channel();
            let batch = self.events[from..from + BATCH].iter().map(Vec::as_slice);
            self.engine
                .start_batch(&self.order, batch, Told(sender))
                .expect("there is room");
            receiver.iter().for_each(|status| self.count(status));
        }
    }

    /// Starts that wait; every eighth is stopped.
    fn waiters(self: &Arc<Self>) {
        for (number, event) in self.events.iter().cycle().enumerate() {
            if !self.goes_on() {
                return;
            }
            match self.engine.start(&self.waits, StartRequest::new(event)) {
                Ok(handle) if number % 8 == 0 => {
                    handle.stop(Some("Soak.Stopped"), None);
                }
                Ok(handle) => {
                    let soak = Arc::clone(self);
                    handle.then(move |result| soak.count(result.expect("it ends").status));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Throttled, "{error}"),
            }
        }
    }

    fn callers(&self) {
        for event in self.events.iter().cycle() {
            if !self.goes_on() {
                return;
            }
            let result = self.engine.run(&self.order, event).expect("there is room");
            self.count(result.status);
            thread::sleep(PAUSE);
        }
    }
}

/// What is watched.
const WATCHED: [&str; 7] = [
    "resident memory, MiB",
    "open files",
    "journal's segments",
    "journal's files, MiB",
    "unfinished starts",
    "in flight",
    "blocks that wait for the log",
];

fn look(soak: &Soak, log: &dyn Fn() -> u64) -> [f64; WATCHED.len()] {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or(f64::NAN);
    let files = fs::read_dir("/proc/self/fd").map_or(f64::NAN, |files| files.count() as f64);
    let journal = soak.engine.journal_counters().expect("it has a journal");
    [
        resident / 1024.0,
        files,
        journal.segments as f64,
        journal.file_bytes as f64 / f64::from(1 << 20),
        journal.unfinished as f64,
        soak.engine.in_flight() as f64,
        log() as f64,
    ]
}

/// Change an hour of what was seen at these seconds: least squares.
fn slope_per_hour(seen: &[(f64, f64)]) -> f64 {
    let count = seen.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| seen.iter().map(of).sum::<f64>() / count;
    let (at, value) = (mean(|seen| seen.0), mean(|seen| seen.1));
    let both: f64 = seen.iter().map(|s| (s.0 - at) * (s.1 - value)).sum();
    let spread: f64 = seen.iter().map(|s| (s.0 - at).powi(2)).sum();
    if spread == 0.0 {
        0.0
    } else {
        both / spread * 3600.0
    }
}

fn make(folder: &Path) -> (Arc<Soak>, LogStream) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).expect("a folder");
    let rotation = Rotation {
        bytes: Some(64 << 20),
        keep: 2,
        ..Rotation::default()
    };
    let log = LogStream::builder()
        .config(LogConfig::new(LogLevel::All))
        .sink(LogSink::file(folder.join("log"), SinkFormat::Compact).rotation(rotation))
        .build()
        .expect("a log");
    let quote = |_: &TaskRequest<'_>, response: &mut Vec<u8>| {
        response.extend_from_slice(baseline::quote());
        Ok(())
    };
    let later = async |request: OwnedTaskRequest| {
        tokio::task::yield_now().await;
        Ok(request.input.into_bytes())
    };
    let engine = Engine::builder()
        .workers(2)
        .task("*:quote", quote)
        .task_async("*:later", later)
        .durability(DurabilityMode::Durable(folder.join("journal")))
        .log(&log)
        .build()
        .expect("an engine");
    let [order, _] = Workload::all();
    let definition = fs::read_to_string(&order.definition).expect("a definition");
    let compiled = |text: &str| StateMachine::compile(text).expect("it is valid");
    let soak = Soak {
        engine,
        order: compiled(&definition),
        waits: compiled(WAITS),
        events: order.events().into_iter().map(<[u8]>::to_vec).collect(),
        is_over: AtomicBool::new(false),
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    };
    (Arc::new(soak), log)
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let seconds: f64 = seconds.unwrap_or(2.0);
    let folder: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak");
    let (soak, log) = make(&folder);
    let log_counters = log.counters_reader();
    let queued = || {
        let sinks = log_counters().sinks;
        sinks.iter().map(|sink| sink.queue_blocks as u64).sum()
    };
    let begun = Instant::now();
    let every = Duration::from_secs_f64((seconds / 120.0).clamp(0.1, 5.0));
    let mut seen: Vec<(f64, [f64; WATCHED.len()])> = Vec::new();
    thread::scope(|scope| {
        for _ in 0..BATCHERS {
            scope.spawn(|| soak.batches());
        }
        scope.spawn(|| soak.waiters());
        scope.spawn(|| soak.callers());
        while begun.elapsed().as_secs_f64() < seconds {
            thread::sleep(every);
            seen.push((begun.elapsed().as_secs_f64(), look(&soak, &queued)));
        }
        soak.is_over.store(true, Ordering::Relaxed);
    });
    let elapsed = begun.elapsed().as_secs_f64();
    let report = soak.engine.shutdown(Duration::from_secs(60));
    assert_eq!(report.left, 0, "all of them end");
    assert_eq!(soak.failed.load(Ordering::Relaxed), 0, "none fails");
    assert_eq!(report.journal.map(|journal| journal.unfinished), Some(0));
    let dropped = log.close(Duration::from_secs(60)).dropped();
    let done = soak.done.load(Ordering::Relaxed);
    println!(
        "{elapsed:.0} s, {done} executions counted, {:.0} a second; {dropped} events not logged; load average {}",
        done as f64 / elapsed,
        fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .trim()
    );
    let later = seen.iter().filter(|seen| seen.0 > seconds / 5.0);
    let later: Vec<_> = later.collect();
    println!(
        "{:<30} {:>10} {:>10} {:>10} {:>10} {:>14}",
        "", "first", "least", "most", "last", "slope an hour"
    );
    for (at, what) in WATCHED.iter().enumerate() {
        let values: Vec<(f64, f64)> = later.iter().map(|seen| (seen.0, seen.1[at])).collect();
        let of =
            |pick: fn(f64, f64) -> f64| values.iter().map(|v| v.1).reduce(pick).unwrap_or(f64::NAN);
        let end = |value: Option<&(f64, f64)>| value.map_or(f64::NAN, |value| value.1);
        println!(
            "{what:<30} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>14.2}",
            end(values.first()),
            of(f64::min),
            of(f64::max),
            end(values.last()),
            slope_per_hour(&values)
        );
    }
    let _ = fs::remove_dir_all(folder);
}
