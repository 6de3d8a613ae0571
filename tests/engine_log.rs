//! An engine whose executions are logged: whichever way they are started, the log has the events that an observer sees.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use quickstep::engine::{DurabilityMode, Ended, Error, ResultSink, StartRequest, TimeMode};
use quickstep::history::{EachEvent, EventType, HistoryEvent, LogContext, LogLevel};
use quickstep::interp::name_of_seed;
use quickstep::log::{Filter, LineFormat, LogConfig, LogSink, LogStream, Policy, SinkFormat};
use quickstep::metrics::{Metrics, prometheus};
use quickstep::task::OwnedTaskRequest;
use quickstep::{Engine, EngineBuilder, StateMachine};
use serde_json::Value;

const LINES: SinkFormat = SinkFormat::Lines(LineFormat::Json);

const PATIENCE: Duration = Duration::from_secs(60);

/// One that is frozen while it waits for an answer, and goes on on a worker.
const WAITS: &str = r#"{"StartAt":"Later","States":{
  "Later":{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:000000000000:function:later","ResultPath":null,"Next":"Each"},
  "Each":{"Type":"Map","ItemsPath":"$.items","ItemProcessor":{"StartAt":"Wait","States":{
    "Wait":{"Type":"Wait","SecondsPath":"$.s","Next":"Check"},
    "Check":{"Type":"Choice","Choices":[{"Variable":"$.bad","BooleanEquals":true,"Next":"Bad"}],"Default":"Good"},
    "Good":{"Type":"Pass","Assign":{"seen.$":"$.s"},"End":true},
    "Bad":{"Type":"Fail","Error":"Bad.Item","Cause":"it says so"}}},"ResultPath":"$.done","End":true}}}"#;

const INPUTS: [&str; 3] = [
    r#"{"items": [{"bad":false,"s":3},{"bad":false,"s":1}]}"#,
    r#"{"items": [{"bad":false,"s":2},{"bad":true,"s":0}]}"#,
    r#"{"items": []}"#,
];

fn machine(name: &str) -> StateMachine {
    StateMachine::builder().name(name).compile(WAITS).unwrap()
}

fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("engine-log-{test}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn builder() -> EngineBuilder {
    Engine::builder()
        .workers(2)
        .time(TimeMode::Virtual)
        .task_async("*", async |request: OwnedTaskRequest| {
            tokio::task::yield_now().await;
            Ok(request.input.into_bytes())
        })
}

/// Events by execution and number, without the times, which are of the clock.
type Events = BTreeMap<(String, u64), Value>;

fn add(events: &mut Events, line: &str) {
    let mut event: Value = serde_json::from_str(line).unwrap();
    let fields = event.as_object_mut().unwrap();
    fields.remove("event_timestamp").unwrap();
    let arn = fields["execution_arn"].as_str().unwrap().to_owned();
    let id = fields["id"].as_str().unwrap().parse().unwrap();
    let twice = events.insert((arn, id), event);
    assert!(twice.is_none(), "{line}");
}

/// What an observer sees of the execution of this name or seed.
fn seen(machine: &StateMachine, input: &str, name: Option<&str>, seed: u64) -> Events {
    let engine = builder().build().unwrap();
    let mut events = Events::new();
    let made = name_of_seed(seed);
    let arn = machine
        .identity()
        .execution_arn(name.unwrap_or(&made), seed);
    let mut observer = EachEvent(|event: &HistoryEvent<'_>| {
        let context = LogContext {
            execution_arn: &arn,
            include_execution_data: true,
        };
        let mut line = Vec::new();
        event.write_log(&context, &mut line);
        add(&mut events, std::str::from_utf8(&line).unwrap());
    });
    let request = StartRequest::new(input.as_bytes()).seed(seed);
    let request = match name {
        None => request,
        Some(name) => request.name(name),
    };
    engine.run_with(machine, request, &mut observer).unwrap();
    events
}

struct Told(Sender<()>);

impl ResultSink for Told {
    fn ended(&self, _: &Ended<'_>) {
        self.0.send(()).unwrap();
    }

    fn refused(&self, line: u64, error: Error) {
        panic!("{line}: {error}");
    }
}

/// Runs executions in every way, each with a name or a seed of its own where there is one.
fn run_all(engine: &Engine, machine: &StateMachine, expected: &mut Events) {
    let mut handles = Vec::new();
    for (seed, input) in (1..).zip(INPUTS) {
        let request = StartRequest::new(input.as_bytes());
        engine.start_sync(machine, request.seed(seed)).unwrap();
        expected.extend(seen(machine, input, None, seed));
        let name = format!("named-{seed}");
        let named = request.name(&name).seed(seed + 10);
        handles.push(engine.start(machine, named).unwrap());
        expected.extend(seen(machine, input, Some(&name), seed + 10));
    }
    for handle in handles {
        handle.wait().unwrap();
    }
}

#[test]
fn all_ways_to_start_are_logged() {
    let path = folder("all").join("log");
    let log = LogStream::builder()
        .config(LogConfig::new(LogLevel::All))
        .machine("silent", LogConfig::default())
        .sink(LogSink::file(&path, LINES).policy(Policy::Block))
        .build()
        .unwrap();
    let journal = folder("journal");
    for mode in [DurabilityMode::Memory, DurabilityMode::Durable(journal)] {
        let is_durable = mode != DurabilityMode::Memory;
        let engine = builder().log(&log).durability(mode).build().unwrap();
        let name = if is_durable { "durable" } else { "memory" };
        let (machine, silent) = (machine(name), self::machine("silent"));
        let mut expected = Events::new();
        run_all(&engine, &machine, &mut expected);
        run_all(&engine, &silent, &mut Events::new());
        let (sender, receiver) = channel();
        let batch = INPUTS.map(str::as_bytes);
        engine.start_batch(&machine, batch, Told(sender)).unwrap();
        assert_eq!(receiver.iter().count(), INPUTS.len());
        let figures = engine.metrics().snapshot();
        assert_eq!(engine.shutdown(PATIENCE).left, 0);
        assert!(
            figures
                .number("quickstep_log_dropped_total", &[])
                .is_none_or(|dropped| dropped == 0)
        );

        let mut logged = Events::new();
        let text = wait_for_ends(&path, name, 3 * INPUTS.len());
        for line in text
            .lines()
            .filter(|line| line.contains(&format!(":{name}:")))
        {
            add(&mut logged, line);
        }
        for (key, event) in &expected {
            assert_eq!(logged.remove(key).as_ref(), Some(event));
        }
        // What is left are those of the batch, whose names are made.
        let starts = logged
            .values()
            .filter(|event| event["type"] == "ExecutionStarted");
        let inputs: BTreeSet<&str> = starts
            .map(|event| event["details"]["input"].as_str().unwrap())
            .collect();
        assert_eq!(inputs, BTreeSet::from(INPUTS));
        assert!(!text.contains(":silent:"));
    }
    assert_eq!(log.close(PATIENCE).dropped(), 0);
}

/// Reads the log once so many executions of the machine have ended in it.
fn wait_for_ends(path: &Path, machine: &str, count: usize) -> String {
    loop {
        let text = std::fs::read_to_string(path).unwrap();
        let is_end = |line: &&str| {
            line.contains(&format!(":{machine}:"))
                && ["ExecutionSucceeded", "ExecutionFailed"]
                    .iter()
                    .any(|end| line.contains(end))
        };
        if text.lines().filter(is_end).count() >= count {
            return text;
        }
        std::thread::yield_now();
    }
}

#[test]
fn levels_are_of_machines_and_change() {
    let log = LogStream::builder()
        .config(LogConfig::new(LogLevel::Error))
        .build()
        .unwrap();
    let events = log.subscribe(Filter::default(), 1_000).unwrap();
    let machine = machine("m");
    let engine = builder().log(&log).build().unwrap();
    let types = || {
        let mut types = Vec::new();
        while let Some(event) = events.next_within(PATIENCE) {
            types.push(event.event_type.as_str());
            if event.event_type == EventType::ExecutionFailed {
                break;
            }
        }
        types
    };
    engine.run(&machine, INPUTS[1].as_bytes()).unwrap();
    assert_eq!(
        types(),
        [
            "FailStateEntered",
            "MapIterationFailed",
            "WaitStateAborted",
            "MapIterationAborted",
            "MapStateFailed",
            "ExecutionFailed"
        ]
    );
    log.configure("m", LogConfig::new(LogLevel::Off));
    engine.run(&machine, INPUTS[1].as_bytes()).unwrap();
    log.configure("m", LogConfig::new(LogLevel::Fatal));
    engine.run(&machine, INPUTS[1].as_bytes()).unwrap();
    assert_eq!(types(), ["ExecutionFailed"]);
}

#[test]
fn a_log_of_two_engines_is_counted_once() {
    let folder = folder("two");
    let log = LogStream::builder()
        .config(LogConfig::new(LogLevel::All))
        .sink(LogSink::file(folder.join("log"), LINES).policy(Policy::Block))
        .build()
        .unwrap();
    let metrics = Metrics::new();
    let engines = [(); 2].map(|()| builder().metrics(&metrics).log(&log).build().unwrap());
    for engine in &engines {
        engine.run(&machine("m"), INPUTS[2].as_bytes()).unwrap();
        engine.shutdown(PATIENCE);
    }
    let counters = log.close(PATIENCE);
    let written = counters.sinks[0].events;
    assert!(written > 0 && counters.dropped() == 0);
    let text = prometheus::render(&metrics.snapshot());
    let line = text
        .lines()
        .find(|line| line.starts_with("quickstep_log_events_total{"))
        .unwrap();
    assert!(line.ends_with(&format!(" {written}")), "{line}: {written}");
}
