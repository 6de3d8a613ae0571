//! The log stream through its public API: files and their rotation, sinks that are slow or broken, subscribers, levels.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quickstep::StateMachine;
use quickstep::history::{EachEvent, EventType, HistoryEvent, LogContext, LogLevel, Observer};
use quickstep::interp::{Execution, Invocation, Start, Yield, name_of_seed};
use quickstep::log::{
    ExecutionIdentity, Filter, LineFormat, LogConfig, LogCounters, LogReader, LogSink, LogStream,
    LogStreamBuilder, Policy, Recorder, Rotation, SinkFormat, SubscribedEvent,
};
use quickstep::stdx::Timestamp;
use serde_json::Value;

const LINES: SinkFormat = SinkFormat::Lines(LineFormat::Json);

/// A machine that goes through a Map of two, fails inside of it for `{"bad":true}`, and catches nothing.
const MACHINE: &str = r#"{"StartAt":"Each","States":{
  "Each":{"Type":"Map","ItemsPath":"$.items","ItemProcessor":{"StartAt":"Check","States":{
    "Check":{"Type":"Choice","Choices":[{"Variable":"$.bad","BooleanEquals":true,"Next":"Bad"}],"Default":"Good"},
    "Good":{"Type":"Pass","Assign":{"seen.$":"$.n"},"End":true},
    "Bad":{"Type":"Fail","Error":"Bad.Item","Cause":"it says so"}}},"ResultPath":"$.done","End":true}}}"#;

const GOOD: &str = r#"{"items": [{"bad":false,"n":1},{"bad":false,"n":"zwei\n"}]}"#;
const BAD: &str = r#"{"items": [{"bad":false,"n":1},{"bad":true,"n":2}]}"#;

fn machine(name: &str) -> StateMachine {
    StateMachine::builder().name(name).compile(MACHINE).unwrap()
}

fn run<O: Observer>(
    machine: &StateMachine,
    input: &str,
    name: Option<&str>,
    seed: u64,
    observer: &mut O,
) {
    let mut execution = Execution::new();
    let now = Timestamp::from_millis(1_000);
    let start = Start {
        input: input.as_bytes(),
        machine: machine.identity(),
        name,
        invocation: Invocation::Synchronous,
        now,
        seed,
    };
    execution
        .start(machine.program(), &start, observer)
        .unwrap();
    assert_eq!(
        execution.step(machine.program(), now, observer),
        Yield::Done
    );
}

fn record(machine: &StateMachine, input: &str, seed: u64, recorder: &mut Recorder) {
    recorder.turn_to(&ExecutionIdentity {
        machine: machine.identity(),
        name: None,
        seed,
    });
    run(machine, input, None, seed, recorder);
}

/// The lines of an execution, rendered of its events.
fn direct(machine: &StateMachine, input: &str, seed: u64, level: LogLevel, data: bool) -> String {
    let mut lines = Vec::new();
    let arn = machine.identity().execution_arn(&name_of_seed(seed), seed);
    let mut observer = EachEvent(|event: &HistoryEvent<'_>| {
        if event.details.level() >= level {
            let context = LogContext {
                execution_arn: &arn,
                include_execution_data: data,
            };
            event.write_log(&context, &mut lines);
            lines.push(b'\n');
        }
    });
    run(machine, input, None, seed, &mut observer);
    String::from_utf8(lines).unwrap()
}

fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("log")
        .join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn all() -> LogStreamBuilder {
    LogStream::builder().config(LogConfig::new(LogLevel::All))
}

fn close(stream: LogStream) -> LogCounters {
    stream.close(Duration::from_secs(60))
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn rendered(log: &[u8]) -> String {
    let mut lines = Vec::new();
    let write = |part: &[u8]| lines.write_all(part);
    let report = |damage| panic!("{damage}");
    LogReader::new(log)
        .render(&Filter::default(), LineFormat::Json, true, write, report)
        .unwrap();
    String::from_utf8(lines).unwrap()
}

#[test]
fn levels_leave_out_events_and_nothing_else() {
    let machine = machine("m");
    for level in [
        LogLevel::All,
        LogLevel::Error,
        LogLevel::Fatal,
        LogLevel::Off,
    ] {
        for data in [true, false] {
            let path = folder("levels").join("log");
            let config = LogConfig::new(level);
            let config = if data { config } else { config.without_data() };
            let stream = LogStream::builder()
                .config(config)
                .sink(LogSink::file(&path, LINES).policy(Policy::Block))
                .build()
                .unwrap();
            let mut recorder = stream.recorder();
            let mut expected = String::new();
            for (seed, input) in [GOOD, BAD, GOOD, BAD].into_iter().enumerate() {
                // The recorder itself is the observer: what it does not want is never built.
                record(&machine, input, seed as u64, &mut recorder);
                expected += &direct(&machine, input, seed as u64, level, data);
            }
            drop(recorder);
            let counters = close(stream);
            assert_eq!(text(&path), expected, "{level:?} {data}");
            let lines = expected.lines().count() as u64;
            assert_eq!((counters.events, counters.sinks[0].events), (lines, lines));
            assert_eq!(counters.sinks[0].bytes, expected.len() as u64);
            assert_eq!(expected.contains("zwei"), level == LogLevel::All && data);
            assert_eq!(expected.contains("it says so"), level != LogLevel::Off);
        }
    }
}

#[test]
fn machines_have_levels_of_their_own() {
    let (one, two, three) = (machine("one"), machine("two"), machine("three"));
    let path = folder("machines").join("log");
    let stream = all()
        .machine("two", LogConfig::new(LogLevel::Fatal))
        .machine("three", LogConfig::default())
        .sink(LogSink::file(&path, LINES).policy(Policy::Block))
        .build()
        .unwrap();
    let mut recorder = stream.recorder();
    for machine in [&one, &two, &three] {
        record(machine, BAD, 1, &mut recorder);
    }
    // From the next turn on.
    stream.configure("three", LogConfig::new(LogLevel::Error).without_data());
    stream.configure("one", LogConfig::new(LogLevel::Off));
    for machine in [&one, &two, &three] {
        record(machine, BAD, 2, &mut recorder);
    }
    drop(recorder);
    close(stream);
    let expected = [
        direct(&one, BAD, 1, LogLevel::All, true),
        direct(&two, BAD, 1, LogLevel::Fatal, true),
        direct(&two, BAD, 2, LogLevel::Fatal, true),
        direct(&three, BAD, 2, LogLevel::Error, false),
    ];
    assert_eq!(text(&path), expected.concat());
}

#[test]
fn names_that_were_given_are_in_arns() {
    let machine = machine("m");
    let path = folder("names").join("log");
    let stream = all()
        .sink(LogSink::file(&path, SinkFormat::Compact).policy(Policy::Block))
        .build()
        .unwrap();
    let mut recorder = stream.recorder();
    let name = "order \"7\"";
    recorder.turn_to(&ExecutionIdentity {
        machine: machine.identity(),
        name: Some(name),
        seed: 7,
    });
    run(&machine, GOOD, Some(name), 7, &mut recorder);
    drop(recorder);
    close(stream);
    let arn = machine.identity().execution_arn(name, 7);
    let lines = rendered(&std::fs::read(path).unwrap());
    assert!(lines.lines().count() > 5);
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["execution_arn"], arn);
    }
}

#[test]
fn files_rotate_by_size() {
    let machine = machine("m");
    for format in [LINES, SinkFormat::Compact] {
        let folder = folder("size");
        let path = folder.join("log");
        let bytes_max = 5_000;
        let stream = all()
            .sink(
                LogSink::file(&path, format)
                    .policy(Policy::Block)
                    .rotation(Rotation {
                        bytes: Some(bytes_max),
                        age_millis: None,
                        keep: 3,
                    }),
            )
            .build()
            .unwrap();
        let mut recorder = stream.recorder();
        let mut expected = String::new();
        for seed in 0..60 {
            record(&machine, GOOD, seed, &mut recorder);
            expected += &direct(&machine, GOOD, seed, LogLevel::All, true);
            recorder.flush();
        }
        drop(recorder);
        let counters = close(stream);
        assert_eq!(counters.dropped(), 0);
        assert!(counters.sinks[0].rotations > 3, "{counters:?}");
        let mut logs = Vec::new();
        for name in ["log.3", "log.2", "log.1", "log"] {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            assert!(bytes.len() as u64 <= bytes_max, "{name}: {}", bytes.len());
            logs.push(match format {
                SinkFormat::Compact => rendered(&bytes),
                SinkFormat::Lines(_) => String::from_utf8(bytes).unwrap(),
            });
        }
        assert!(!folder.join("log.4").exists(), "older ones are deleted");
        let kept = logs.concat();
        assert!(expected.ends_with(&kept), "no line is torn, none is lost");
        assert!(kept.len() > bytes_max as usize);
    }
}

#[test]
fn a_file_that_somebody_took_away_is_begun_again() {
    let folder = folder("taken");
    let path = folder.join("log");
    std::fs::write(folder.join("log.1"), "older").unwrap();
    let now = Arc::new(AtomicI64::new(0));
    let reads = Arc::clone(&now);
    let sink = LogSink::file(&path, LINES)
        .policy(Policy::Block)
        .rotation(Rotation {
            age_millis: Some(1_000),
            ..Rotation::default()
        });
    let stream = all()
        .sink(sink)
        .now(move || Timestamp::from_millis(reads.load(Ordering::Relaxed)))
        .build()
        .unwrap();
    let machine = machine("m");
    let mut recorder = stream.recorder();
    for seed in 0..20 {
        record(&machine, GOOD, seed, &mut recorder);
        recorder.flush();
        while stream.counters().sinks[0].events < stream.counters().events {
            std::thread::yield_now();
        }
        let lines = direct(&machine, GOOD, seed, LogLevel::All, true);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines);
        std::fs::remove_file(&path).unwrap();
        now.fetch_add(1_000, Ordering::Relaxed);
    }
    // What was put aside is not moved on, and out, for that.
    let older = std::fs::read_to_string(folder.join("log.1")).unwrap();
    assert_eq!(older, "older");
    assert!(!folder.join("log.0").exists() && !folder.join("log.2").exists());
    drop(recorder);
    close(stream);
}

#[test]
fn files_rotate_by_age() {
    let folder = folder("age");
    let path = folder.join("log");
    let rotation = Rotation {
        age_millis: Some(1_000),
        ..Rotation::default()
    };
    let sink = || {
        LogSink::file(&path, LINES)
            .policy(Policy::Block)
            .rotation(rotation)
    };
    let error = all().sink(sink()).build().unwrap_err().to_string();
    assert!(error.contains("LogStreamBuilder::now"), "{error}");
    let (now, machine) = (Arc::new(AtomicI64::new(5_000)), machine("m"));
    let mut written = BTreeMap::new();
    // The time is set before each stream: within one nothing says when its thread looks at it.
    for (at, ends_in) in [(5_000, "log.2"), (5_999, "log.1"), (7_500, "log")] {
        let clock = Arc::clone(&now);
        let begun = Arc::new(AtomicI64::new(0));
        let first = Arc::clone(&begun);
        let stream = all()
            .sink(sink())
            .now(move || {
                // A file is as old as the stream that opened it: the first question is when that was.
                let asked = first.fetch_add(1, Ordering::Relaxed);
                Timestamp::from_millis(if asked == 0 {
                    5_000
                } else {
                    clock.load(Ordering::Relaxed)
                })
            })
            .build()
            .unwrap();
        now.store(at, Ordering::Relaxed);
        let mut recorder = stream.recorder();
        let seed = at.unsigned_abs();
        record(&machine, GOOD, seed, &mut recorder);
        drop(recorder);
        let counters = close(stream);
        assert_eq!(counters.sinks[0].rotations, u64::from(at == 7_500));
        written.insert(ends_in, direct(&machine, GOOD, seed, LogLevel::All, true));
    }
    // What was there when a stream began stays, and is put aside with what the stream adds.
    assert_eq!(
        text(folder.join("log.1")),
        format!("{}{}", written["log.2"], written["log.1"])
    );
    assert_eq!(text(&path), written["log"]);
    assert!(!folder.join("log.2").exists());
}

/// A writer that waits before each write until it is let through.
struct Gate {
    arrived: Sender<()>,
    open: Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.arrived.send(());
        // Once the other side is gone the gate stands open.
        let _ = self.open.recv();
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Doors = (Gate, Receiver<()>, Sender<()>, Arc<Mutex<Vec<u8>>>);

fn gate() -> Doors {
    let (arrived, arrivals) = channel();
    let (opener, open) = channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate {
        arrived,
        open,
        written: Arc::clone(&written),
    };
    (gate, arrivals, opener, written)
}

#[test]
fn who_drops_never_waits() {
    let machine = machine("m");
    let (gate, arrivals, opener, written) = gate();
    let path = folder("drops").join("log");
    let stream = all()
        .sink(LogSink::writer("slow", gate, LINES).queue_bytes(3_000))
        .sink(LogSink::file(&path, LINES).policy(Policy::Block))
        .build()
        .unwrap();
    let mut recorder = stream.recorder();
    record(&machine, GOOD, 0, &mut recorder);
    recorder.flush();
    // From now on the sink's thread stands in its first write.
    arrivals.recv().unwrap();
    let mut expected = String::new();
    for seed in 0..50 {
        if seed > 0 {
            record(&machine, GOOD, seed, &mut recorder);
            recorder.flush();
        }
        expected += &direct(&machine, GOOD, seed, LogLevel::All, true);
    }
    drop(recorder);
    let counters = stream.counters();
    let slow = &counters.sinks[0];
    assert_eq!(&*slow.name, "slow");
    assert!(
        slow.queue_bytes <= 3_000 && slow.queue_blocks > 0,
        "{slow:?}"
    );
    assert!(slow.dropped.queue_full > 0, "{slow:?}");
    drop(opener);
    let counters = close(stream);
    let [slow, file] = &counters.sinks[..] else {
        panic!("{counters:?}");
    };
    assert_eq!(slow.events + slow.dropped.queue_full, counters.events);
    assert_eq!(counters.dropped(), slow.dropped.total());
    assert_eq!((file.events, file.dropped.total()), (counters.events, 0));
    // The file has everything, the slow sink the beginning.
    assert_eq!(text(path), expected);
    let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert!(expected.starts_with(&written));
    assert_eq!(written.lines().count() as u64, slow.events);
}

#[test]
fn who_blocks_waits_and_loses_nothing() {
    let machine = machine("m");
    let (gate, arrivals, opener, written) = gate();
    let stream = all()
        .sink(
            LogSink::writer("slow", gate, LINES)
                .queue_bytes(2_000)
                .policy(Policy::Block),
        )
        .build()
        .unwrap();
    let mut recorder = stream.recorder();
    let (done, is_done) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seed in 0..50 {
                record(&machine, GOOD, seed, &mut recorder);
                recorder.flush();
            }
            drop(recorder);
            done.send(()).unwrap();
        });
        // The worker cannot get to its end before the sink has written most of the blocks.
        for _ in 0..40 {
            arrivals.recv().unwrap();
            assert!(is_done.try_recv().is_err());
            let counters = stream.counters();
            assert!(counters.sinks[0].queue_bytes <= 2_000, "{counters:?}");
            opener.send(()).unwrap();
        }
        drop(opener);
        is_done.recv().unwrap();
    });
    let counters = close(stream);
    assert_eq!(
        (counters.dropped(), counters.sinks[0].events),
        (0, counters.events)
    );
    let expected: Vec<String> = (0..50)
        .map(|seed| direct(&machine, GOOD, seed, LogLevel::All, true))
        .collect();
    assert_eq!(
        written.lock().unwrap().as_slice(),
        expected.concat().as_bytes()
    );
}

#[test]
fn a_pipe_that_nobody_reads_for_a_while_and_then_nobody_at_all() {
    let machine = machine("m");
    let (mut reader, writer) = io::pipe().unwrap();
    let stream = all()
        .sink(LogSink::writer("pipe", writer, LINES).queue_bytes(10_000))
        .build()
        .unwrap();
    let mut recorder = stream.recorder();
    // More than a pipe and the queue hold: no execution waits for it.
    for seed in 0..300 {
        record(&machine, GOOD, seed, &mut recorder);
        recorder.flush();
    }
    assert!(stream.counters().sinks[0].dropped.queue_full > 0);
    let mut bytes = [0; 1_000];
    reader.read_exact(&mut bytes).unwrap();
    drop(reader);
    for seed in 0..10 {
        record(&machine, GOOD, seed, &mut recorder);
        recorder.flush();
    }
    drop(recorder);
    let counters = close(stream);
    let pipe = &counters.sinks[0];
    assert!(
        pipe.errors >= 1 && pipe.dropped.write_failed > 0,
        "{pipe:?}"
    );
    assert!(
        pipe.error.as_deref().unwrap().contains("roken pipe"),
        "{pipe:?}"
    );
    assert_eq!(pipe.events + pipe.dropped.total(), counters.events);
    let expected = direct(&machine, GOOD, 0, LogLevel::All, true);
    assert!(
        expected
            .as_bytes()
            .starts_with(&bytes[..expected.len().min(1_000)])
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_counted() {
    let machine = machine("m");
    let stream = all()
        .sink(LogSink::file("/dev/full", LINES).policy(Policy::Block))
        .build()
        .unwrap();
    let mut recorder = stream.recorder();
    for seed in 0..3 {
        record(&machine, GOOD, seed, &mut recorder);
        recorder.flush();
    }
    drop(recorder);
    let counters = close(stream);
    let full = &counters.sinks[0];
    assert_eq!(
        (full.errors, full.events),
        (3, 0),
        "it is tried again each time"
    );
    assert_eq!(full.dropped.write_failed, counters.events);
    assert!(full.error.is_some());
}

#[test]
fn files_that_cannot_be_opened() {
    let error = all()
        .sink(LogSink::file("no/such/folder/log", LINES))
        .build()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("failed to open no/such/folder/log: "),
        "{error}"
    );
}

#[test]
fn files_are_appended_to_or_replaced() {
    let machine = machine("m");
    let path = folder("append").join("log");
    let write = |seed, sink: LogSink| {
        let stream = all().sink(sink.policy(Policy::Block)).build().unwrap();
        record(&machine, GOOD, seed, &mut stream.recorder());
        close(stream);
        rendered(&std::fs::read(&path).unwrap())
    };
    let lines = |seed| direct(&machine, GOOD, seed, LogLevel::All, true);
    let sink = || LogSink::file(&path, SinkFormat::Compact);
    assert_eq!(write(1, sink()), lines(1));
    assert_eq!(write(2, sink()), lines(1) + &lines(2));
    assert_eq!(write(3, sink().replace()), lines(3));
}

#[test]
fn what_comes_after_the_end_is_counted() {
    let machine = machine("m");
    let stream = all()
        .sink(LogSink::writer("sink", io::sink(), LINES).policy(Policy::Block))
        .build()
        .unwrap();
    let mut late = stream.recorder();
    record(&machine, GOOD, 1, &mut late);
    let counters = close(stream);
    assert_eq!(
        (counters.events, counters.sinks[0].events),
        (0, 0),
        "nothing was flushed"
    );
    // Nobody hears of it any more, and nobody waits.
    late.flush();
}

#[test]
fn sinks_have_filters() {
    let machine = machine("m");
    let folder = folder("filters");
    let lines = |bad: u64| direct(&machine, BAD, bad, LogLevel::All, true);
    let all_lines: Vec<String> = (0..3).map(lines).collect();
    let all_lines = all_lines.concat();
    let name = name_of_seed(1);
    let arn = machine.identity().execution_arn(&name, 1);
    let filters = [
        Filter::default(),
        Filter::default().level(LogLevel::Error),
        Filter::default().execution(&name),
        Filter::default()
            .execution(&arn)
            .event_type(EventType::ExecutionFailed),
        Filter::default().state("Good"),
        Filter::default().text("it says so"),
        Filter::default().machine("other"),
        Filter::default()
            .text(r#""n":2"#)
            .event_type(EventType::FailStateEntered),
    ];
    let mut builder = all();
    for (number, filter) in filters.iter().enumerate() {
        let sink = LogSink::file(folder.join(number.to_string()), LINES).policy(Policy::Block);
        builder = builder.sink(sink.filter(filter.clone()));
    }
    let stream = builder.build().unwrap();
    let mut recorder = stream.recorder();
    for seed in 0..3 {
        record(&machine, BAD, seed, &mut recorder);
    }
    drop(recorder);
    close(stream);
    let found = |number: usize| text(folder.join(number.to_string()));
    let picked = |keep: &dyn Fn(&Value) -> bool| {
        let lines = all_lines.split_inclusive('\n');
        lines
            .filter(|line| keep(&serde_json::from_str(line).unwrap()))
            .collect::<String>()
    };
    assert_eq!(found(0), all_lines);
    let errors: Vec<String> = (0..3)
        .map(|seed| direct(&machine, BAD, seed, LogLevel::Error, true))
        .collect();
    assert_eq!(found(1), errors.concat());
    assert_eq!(found(2), lines(1));
    assert_eq!(
        found(3),
        picked(&|line| line["execution_arn"] == arn && line["type"] == "ExecutionFailed")
    );
    assert_eq!(found(3).lines().count(), 1);
    assert_eq!(found(4), picked(&|line| line["details"]["name"] == "Good"));
    assert_eq!(found(4).lines().count(), 6);
    assert_eq!(
        found(5),
        picked(&|line| line["details"]["cause"] == "it says so")
    );
    assert_eq!(found(6), "");
    assert_eq!(found(7), picked(&|line| line["type"] == "FailStateEntered"));
    assert_eq!(found(7).lines().count(), 3);
}

#[test]
fn subscribers_get_what_they_want() {
    let machine = machine("m");
    // Nobody else listens: without subscribers nothing is recorded at all.
    let stream = all().build().unwrap();
    let mut recorder = stream.recorder();
    record(&machine, BAD, 0, &mut recorder);
    recorder.flush();
    assert_eq!(stream.counters().events, 0);
    let failures = stream
        .subscribe(Filter::default().level(LogLevel::Fatal), 100)
        .unwrap();
    let narrow = stream.subscribe(Filter::default(), 2).unwrap();
    let one = stream
        .subscribe(Filter::default().execution(&name_of_seed(2)), 100)
        .unwrap();
    for seed in 1..4 {
        record(&machine, BAD, seed, &mut recorder);
        recorder.flush();
    }
    let wait = Duration::from_secs(60);
    let all_of = |seed| direct(&machine, BAD, seed, LogLevel::All, true);
    for seed in 1..4 {
        let event = failures.next_within(wait).unwrap();
        let line: Value = serde_json::from_str(&event.json).unwrap();
        let arn = machine.identity().execution_arn(&name_of_seed(seed), seed);
        assert_eq!(line["execution_arn"], arn);
        assert_eq!(
            event,
            SubscribedEvent {
                machine: "m".into(),
                execution_arn: arn.into(),
                id: line["id"].as_str().unwrap().parse().unwrap(),
                event_type: EventType::ExecutionFailed,
                level: LogLevel::Fatal,
                json: event.json.clone(),
            }
        );
    }
    for line in all_of(2).lines() {
        assert_eq!(&*one.next_within(wait).unwrap().json, line);
    }
    assert_eq!(one.try_next(), None);
    let counters = close(stream);
    // That there is none is known once all has been handed out.
    assert_eq!(failures.next_within(wait), None);
    assert!(failures.is_closed());
    assert_eq!((failures.dropped(), one.dropped()), (0, 0));
    let lines = (1..4)
        .map(|seed| all_of(seed).lines().count() as u64)
        .sum::<u64>();
    assert_eq!(counters.events, lines);
    assert_eq!(counters.subscribers, 3);
    // Two wait, everything else was dropped.
    let first: Vec<_> = std::iter::from_fn(|| narrow.next_within(wait)).collect();
    assert_eq!(first.len(), 2);
    assert_eq!(narrow.dropped(), lines - 2);
    assert!(narrow.is_closed());
}

#[test]
fn recorders_of_many_workers() {
    let machine = machine("m");
    let path = folder("workers").join("log");
    let stream = all()
        .sink(
            LogSink::file(&path, SinkFormat::Compact)
                .policy(Policy::Block)
                .queue_bytes(1),
        )
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (stream, machine) = (&stream, &machine);
            scope.spawn(move || {
                let mut recorder = stream.recorder();
                for seed in 0..200 {
                    record(machine, GOOD, worker * 200 + seed, &mut recorder);
                    if seed % 3 == 0 {
                        recorder.flush();
                    }
                }
            });
        }
    });
    let counters = close(stream);
    assert_eq!(counters.dropped(), 0);
    let lines = rendered(&std::fs::read(path).unwrap());
    let mut of_execution: BTreeMap<String, String> = BTreeMap::new();
    for line in lines.split_inclusive('\n') {
        let parsed: Value = serde_json::from_str(line).unwrap();
        let arn = parsed["execution_arn"].as_str().unwrap().to_owned();
        *of_execution.entry(arn).or_default() += line;
    }
    assert_eq!(of_execution.len(), 800);
    for seed in 0..800 {
        let arn = machine.identity().execution_arn(&name_of_seed(seed), seed);
        assert_eq!(
            of_execution[&arn],
            direct(&machine, GOOD, seed, LogLevel::All, true)
        );
    }
}

/// What the compiler is to refuse otherwise.
const fn shared<T: Send + Sync>() {}
const _: () = shared::<LogStream>();
const fn sent<T: Send>() {}
const _: () = sent::<Recorder>();
