//! What a log costs: executions of `order` with the log off, at ERROR, and at ALL with data, against a logger written by
//! hand and against the bare file.
//!
//! `cargo bench --bench log` measures rounds A B C A B C … and prints medians; `-- --rounds N` sets how many, `-- --test`
//! runs one short round. Before anything is measured every log is compared with what the events themselves render, to
//! the byte. `-- count WHO EVENTS` runs one contender and nothing else, for counting instructions; the difference between
//! two numbers of events is free of start-up.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]
#![expect(clippy::disallowed_methods, reason = "wall time is what is measured")]

#[path = "baseline/mod.rs"]
mod baseline;

use baseline::Workload;
use quickstep::asl::{self, MachineType};
use quickstep::history::{
    Details, EachEvent, HistoryEvent, LogContext, LogLevel, NoEvents, Observer,
};
use quickstep::interp::{
    Completion, Execution, Invocation, MachineIdentity, Start, Yield, name_of_seed,
};
use quickstep::log::{
    ExecutionIdentity, LineFormat, LogConfig, LogSink, LogStream, Policy, Recorder, SinkFormat,
};
use quickstep::program::Program;
use quickstep::stdx::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 21;
/// Passes over the 1,024 events that one round measures.
const PASSES: usize = 8;

/// The time of all events.
const NOW: Timestamp = Timestamp::from_millis(1_795_381_670_282);

/// The engine as an embedder's worker runs it.
struct Worker {
    program: Program,
    machine: Arc<MachineIdentity>,
    execution: Execution,
}

impl Worker {
    fn new(workload: &Workload) -> Worker {
        let text = std::fs::read_to_string(&workload.definition).expect("the definition is there");
        let reading = asl::read(&text, MachineType::Express);
        Worker {
            program: quickstep::compile::compile(&reading.definition.expect("it is valid")),
            machine: Arc::new(MachineIdentity::local("order", MachineType::Express)),
            execution: Execution::new(),
        }
    }

    fn run<O: Observer>(&mut self, event: &[u8], seed: u64, observer: &mut O, out: &mut Vec<u8>) {
        let start = Start {
            invocation: Invocation::Synchronous,
            input: event,
            machine: &self.machine,
            name: None,
            now: NOW,
            seed,
        };
        let (program, execution) = (&self.program, &mut self.execution);
        let started = execution.start(program, &start, observer);
        started.expect("an event is JSON");
        loop {
            match execution.step(program, NOW, observer) {
                Yield::Done => break,
                Yield::Task(handle) => {
                    let completion = Completion::Succeeded(baseline::quote());
                    let answered = execution.complete(program, handle, completion, NOW, observer);
                    answered.expect("the task is still waiting");
                }
                other => panic!("{other:?}"),
            }
        }
        execution.write_output(program, out);
    }

    /// The same, recorded.
    fn record(&mut self, event: &[u8], seed: u64, recorder: &mut Recorder, out: &mut Vec<u8>) {
        let machine = Arc::clone(&self.machine);
        recorder.turn_to(&ExecutionIdentity {
            machine: &machine,
            name: None,
            seed,
        });
        self.run(event, seed, recorder, out);
    }
}

/// An event as a program written by hand would have it at the moment of logging: its texts, JSON not yet escaped.
struct HandEvent {
    id: u64,
    previous_id: u64,
    event_type: &'static str,
    details: HandDetails,
}

enum HandDetails {
    None,
    Started(String, String),
    Entered(String, String),
    Exited(String, String),
    Scheduled(String, String),
    Output(String),
}

impl HandEvent {
    fn of(event: &HistoryEvent<'_>) -> HandEvent {
        let json = |val| event.values.to_json(val);
        let details = match event.details {
            Details::ExecutionStarted { input, role_arn } => {
                HandDetails::Started(json(input), role_arn.to_owned())
            }
            Details::StateEntered { name, input, .. } => {
                HandDetails::Entered(json(input), name.to_owned())
            }
            Details::StateExited { name, output, .. } => {
                HandDetails::Exited(name.to_owned(), json(output))
            }
            Details::LambdaFunctionScheduled {
                resource, input, ..
            } => HandDetails::Scheduled(resource.to_owned(), json(input)),
            Details::ExecutionSucceeded { output }
            | Details::LambdaFunctionSucceeded { output } => HandDetails::Output(json(output)),
            Details::LambdaFunctionStarted | Details::StateAborted { .. } => HandDetails::None,
            Details::ExecutionFailed { failure } => panic!("{failure}"),
            other => panic!("the workflow has no {other:?}"),
        };
        HandEvent {
            id: event.id,
            previous_id: event.previous_id,
            event_type: event.details.event_type().as_str(),
            details,
        }
    }

    /// Formats the line as most would: pieces of text, numbers, and an escape with a table.
    fn write(&self, arn: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"");
        number(self.id, out);
        out.extend_from_slice(b"\",\"type\":\"");
        out.extend_from_slice(self.event_type.as_bytes());
        out.extend_from_slice(b"\",\"details\":{");
        match &self.details {
            HandDetails::None => {}
            HandDetails::Started(input, role) => {
                document("input", input, out);
                member(",\"roleArn\":\"", role, out);
            }
            HandDetails::Entered(input, name) => {
                document("input", input, out);
                member(",\"name\":\"", name, out);
            }
            HandDetails::Exited(name, output) => {
                member("\"name\":\"", name, out);
                out.push(b',');
                document("output", output, out);
            }
            HandDetails::Scheduled(resource, input) => {
                member("\"resource\":\"", resource, out);
                out.push(b',');
                document("input", input, out);
            }
            HandDetails::Output(output) => document("output", output, out),
        }
        out.extend_from_slice(b"},\"previous_event_id\":\"");
        number(self.previous_id, out);
        out.extend_from_slice(b"\",\"event_timestamp\":\"");
        number(NOW.millis().unsigned_abs(), out);
        member("\",\"execution_arn\":\"", arn, out);
        out.extend_from_slice(b",\"redrive_count\":\"0\"}\n");
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn member(before: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    escape(text, out);
    out.push(b'"');
}

fn document(name: &str, json: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    escape(json, out);
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"Details\":{\"truncated\":false}");
}

/// True for bytes that JSON escapes.
static ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 32 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

/// Runs of plain bytes are copied at once.
fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if ESCAPED[byte as usize] {
            out.extend_from_slice(&bytes[start..at]);
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                other => write!(out, "\\u{other:04X}").expect("memory"),
            }
            start = at + 1;
        }
    }
    out.extend_from_slice(&bytes[start..]);
}

/// What the events of one pass are by hand, with the ARNs, and what the log is to the byte.
struct Reference {
    events: Vec<(String, Vec<HandEvent>)>,
    lines: Vec<u8>,
}

impl Reference {
    fn new(worker: &mut Worker, events: &[&[u8]]) -> Reference {
        let (mut all, mut lines) = (Vec::new(), Vec::new());
        for (seed, event) in (0..).zip(events) {
            let arn = worker.machine.execution_arn(&name_of_seed(seed), seed);
            let mut of_hand = Vec::new();
            let mut observer = EachEvent(|event: &HistoryEvent<'_>| {
                of_hand.push(HandEvent::of(event));
                let context = LogContext {
                    execution_arn: &arn,
                    include_execution_data: true,
                };
                event.write_log(&context, &mut lines);
                lines.push(b'\n');
            });
            worker.run(event, seed, &mut observer, &mut Vec::new());
            all.push((arn, of_hand));
        }
        Reference { events: all, lines }
    }
}

/// Who runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    /// No log at all.
    Off,
    /// Executions that succeed, at the level ERROR.
    Error,
    /// ALL with data, compact, to a writer that drops it.
    Compact,
    /// The same to a file.
    CompactFile,
    /// ALL with data, AWS's JSON, to a file.
    JsonFile,
    /// H1, and the log written by hand to a file, on one thread.
    Hand,
    /// The bytes of the JSON, written to a file and nothing else.
    Bytes,
}

const ALL: [Who; 7] = [
    Who::Off,
    Who::Error,
    Who::Compact,
    Who::CompactFile,
    Who::JsonFile,
    Who::Hand,
    Who::Bytes,
];

struct Bench<'a> {
    workload: &'a Workload,
    events: Vec<&'a [u8]>,
    worker: Worker,
    hand: Box<dyn baseline::Contender>,
    reference: Reference,
    folder: PathBuf,
}

impl Bench<'_> {
    fn file(&self, who: Who) -> PathBuf {
        self.folder.join(format!("bench-log-{who:?}"))
    }

    /// Runs `executions` of them.
    fn run(&mut self, who: Who, executions: usize) {
        let path = self.file(who);
        match who {
            Who::Off => {
                let mut out = Vec::new();
                for (seed, event) in self.events.iter().cycle().take(executions).enumerate() {
                    out.clear();
                    let seed = black_box(seed % 1_024) as u64;
                    self.worker.run(event, seed, &mut NoEvents, &mut out);
                    black_box(&out);
                }
            }
            Who::Error => self.record(
                LogLevel::Error,
                LogSink::writer("none", io::sink(), SinkFormat::Compact),
                executions,
            ),
            Who::Compact => self.record(
                LogLevel::All,
                LogSink::writer("none", io::sink(), SinkFormat::Compact),
                executions,
            ),
            Who::CompactFile => {
                let sink = LogSink::file(&path, SinkFormat::Compact).replace();
                self.record(LogLevel::All, sink, executions);
            }
            Who::JsonFile => {
                let format = SinkFormat::Lines(LineFormat::Json);
                let sink = LogSink::file(&path, format).replace();
                self.record(LogLevel::All, sink, executions);
            }
            Who::Hand => self.by_hand(&path, executions),
            Who::Bytes => {
                let mut file = File::create(&path).expect("a file");
                let mut left = self.reference.lines.len() * executions / self.events.len();
                for chunk in self.reference.lines.chunks(256 * 1024).cycle() {
                    let part = &chunk[..left.min(chunk.len())];
                    file.write_all(part).expect("room");
                    left -= part.len();
                    if left == 0 {
                        break;
                    }
                }
            }
        }
    }

    fn record(&mut self, level: LogLevel, sink: LogSink, executions: usize) {
        let stream = LogStream::builder()
            .config(LogConfig::new(level))
            .sink(sink.policy(Policy::Block))
            .build()
            .expect("a log stream");
        let mut recorder = stream.recorder();
        let mut out = Vec::new();
        for (seed, event) in self.events.iter().cycle().take(executions).enumerate() {
            out.clear();
            let seed = black_box(seed % 1_024) as u64;
            self.worker.record(event, seed, &mut recorder, &mut out);
            black_box(&out);
        }
        drop(recorder);
        let counters = stream.close(Duration::from_secs(600));
        assert_eq!(counters.dropped(), 0, "{counters:?}");
        let expected = if level == LogLevel::All { 17 } else { 0 };
        assert_eq!(counters.events, expected * executions as u64);
    }

    fn by_hand(&mut self, path: &Path, executions: usize) {
        let mut file = File::create(path).expect("a file");
        let (mut out, mut lines) = (Vec::new(), Vec::new());
        let events = self.events.iter().zip(&self.reference.events);
        for (event, (arn, events)) in events.cycle().take(executions) {
            out.clear();
            self.hand.run(black_box(event), &mut out);
            black_box(&out);
            for event in events {
                event.write(black_box(arn), &mut lines);
            }
            if lines.len() >= 256 * 1024 {
                file.write_all(&lines).expect("room");
                lines.clear();
            }
        }
        file.write_all(&lines).expect("room");
    }

    /// Panics unless every log is the reference.
    fn check(&mut self) {
        let count = self.events.len();
        for who in [Who::CompactFile, Who::JsonFile, Who::Hand, Who::Bytes] {
            self.run(who, count);
            let mut log = std::fs::read(self.file(who)).expect("a file");
            if who == Who::CompactFile {
                log = rendered(&log);
            }
            assert!(
                log == self.reference.lines,
                "{who:?} of {}: {} bytes, not {}",
                self.workload.name,
                log.len(),
                self.reference.lines.len()
            );
        }
    }
}

fn rendered(log: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let write = |part: &[u8]| lines.write_all(part);
    let filter = quickstep::log::Filter::default();
    quickstep::log::LogReader::new(log)
        .render(&filter, LineFormat::Json, true, write, |damage| {
            panic!("{damage}");
        })
        .expect("memory");
    lines
}

/// CPU time of all threads, in nanoseconds.
fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(bench: &mut Bench<'_>, rounds: usize, passes: usize) {
    let executions = passes * bench.events.len();
    let mut times = vec![(Vec::new(), Vec::new()); ALL.len()];
    for _ in 0..rounds {
        for (who, (wall, cpu)) in ALL.into_iter().zip(&mut times) {
            let (start, start_cpu) = (Instant::now(), cpu_ns());
            bench.run(who, executions);
            wall.push(start.elapsed().as_nanos() as f64 / executions as f64);
            cpu.push((cpu_ns() - start_cpu) / executions as f64);
        }
    }
    let of = |of: Who| ALL.iter().position(|who| *who == of).expect("one of all");
    println!("order, {executions} executions a round, median of {rounds} rounds; 1 worker, 1 sink");
    let mut medians = Vec::new();
    for (who, (wall, cpu)) in ALL.iter().zip(&mut times) {
        let (wall, cpu) = (median(wall), median(cpu));
        println!(
            "  {:<12} {wall:>8.0} ns wall {:>10.0} /s {cpu:>8.0} ns CPU {:>10.0} / CPU s",
            format!("{who:?}"),
            1e9 / wall,
            1e9 / cpu
        );
        medians.push((wall, cpu));
    }
    let ratio = |a: Who, b: Who| medians[of(b)].0 / medians[of(a)].0;
    let bytes = bench.reference.lines.len() as f64 / bench.events.len() as f64;
    println!(
        "  Compact / Off      {:.3} of the rate",
        ratio(Who::Compact, Who::Off)
    );
    println!(
        "  JsonFile / Hand    {:.3} of the rate",
        ratio(Who::JsonFile, Who::Hand)
    );
    println!(
        "  JsonFile / Bytes   {:.3} of the rate; {bytes:.0} bytes an execution, the file takes {:.0} MB/s",
        ratio(Who::JsonFile, Who::Bytes),
        bytes / medians[of(Who::Bytes)].0 * 1e3
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let workloads = Workload::all();
    let workload = &workloads[0];
    let events = workload.events();
    // Each of them was held against the workload's outputs.
    let contenders = workload.contenders().into_iter();
    let hand = contenders
        .filter(|(name, _)| *name == "H1")
        .map(|(_, hand)| hand);
    let hand = hand.last().expect("H1 competes");
    let mut worker = Worker::new(workload);
    let reference = Reference::new(&mut worker, &events);
    let mut bench = Bench {
        workload,
        events,
        worker,
        hand,
        reference,
        folder: Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned(),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["count", who, executions] => {
            let who = ALL.into_iter().find(|known| format!("{known:?}") == who);
            let executions = executions.parse().expect("EVENTS is a number");
            bench.run(who.expect("one of the names in the report"), executions);
        }
        ["--test"] => {
            bench.check();
            measure(&mut bench, 1, 1);
        }
        ["--rounds", rounds] => {
            bench.check();
            let rounds = rounds.parse().expect("--rounds takes a number");
            assert!(rounds > 0, "--rounds takes at least 1");
            measure(&mut bench, rounds, PASSES);
        }
        [] => {
            bench.check();
            measure(&mut bench, ROUNDS, PASSES);
        }
        _ => panic!("unknown arguments; there are --rounds N, --test, count WHO EVENTS"),
    }
    for who in ALL {
        // Not everybody has written one.
        let _ = std::fs::remove_file(bench.file(who));
    }
}
