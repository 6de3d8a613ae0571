//! What engines count, as a service embeds them, and how it is shown.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use quickstep::asl::MachineType;
use quickstep::engine::{
    Clock, Ended, Error, Limits, Order, Pipeline, ResultSink, Simulation, StartRequest, StreamEnd,
    StreamOptions,
};
use quickstep::history::NoEvents;
use quickstep::metrics::{CATALOGUE, Kind, Metrics, Snapshot, Value, prometheus};
use quickstep::stdx::Timestamp;
use quickstep::task::{OwnedTaskRequest, TaskAnswer, TaskRequest, TaskToken};
use quickstep::{Engine, Failure, StateMachine, Status, TimeMode};

const F: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

fn machine(name: &str, definition: &str) -> StateMachine {
    StateMachine::builder()
        .name(name)
        .compile(definition)
        .unwrap()
}

/// Calls a function that may be busy or sold out, then has a Map of two Pass states.
fn shop() -> StateMachine {
    let definition = format!(
        r#"{{"StartAt":"Call","States":{{
          "Call":{{"Type":"Task","Resource":"{F}","Next":"Each",
            "Retry":[{{"ErrorEquals":["Busy"],"IntervalSeconds":1,"MaxAttempts":2}}],
            "Catch":[{{"ErrorEquals":["Sold"],"Next":"Sorry"}}]}},
          "Each":{{"Type":"Map","ItemsPath":"$.items","Next":"Done",
            "ItemProcessor":{{"StartAt":"Line","States":{{"Line":{{"Type":"Pass","End":true}}}}}}}},
          "Done":{{"Type":"Succeed"}},
          "Sorry":{{"Type":"Fail","Error":"Sold"}}}}}}"#
    );
    machine("shop", &definition)
}

fn sell(request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
    let input = request.input_json();
    match request.attempt() {
        0 if input.contains("busy") => return Err(Failure::new("Busy", "")),
        _ if input.contains("sold") => return Err(Failure::new("Sold", "")),
        _ => response.extend_from_slice(input.as_bytes()),
    }
    Ok(())
}

/// 300 events of three kinds, and three that are none.
fn events() -> Vec<String> {
    let kinds = ["plain", "busy", "sold"];
    let mut events: Vec<String> = (0..300)
        .map(|n| format!(r#"{{"kind":"{}","items":[1,2]}}"#, kinds[n % 3]))
        .collect();
    for at in [0, 100, 302] {
        events.insert(at, "{]".to_owned());
    }
    events
}

fn check(snapshot: &Snapshot, expected: &[(&str, &[&str], u64)]) {
    for (name, labels, number) in expected {
        let name = format!("quickstep_{name}");
        let found = snapshot.number(&name, labels);
        assert_eq!(found, Some(*number), "{name}{labels:?}");
    }
}

/// Number and sum of a histogram's observations.
fn observed(snapshot: &Snapshot, name: &str, labels: &[&str]) -> (u64, u64) {
    match snapshot.value(name, labels) {
        Some(Value::Distribution(found)) => (found.count(), found.sum()),
        other => panic!("{name}{labels:?}: {other:?}"),
    }
}

/// Runs a pipeline of the shop for each number of workers and each order; they share their metrics.
fn run_shop(metrics: &Metrics) {
    for (workers, order) in [(1, Order::Events), (3, Order::Completion)] {
        let engine = Engine::builder()
            .task("*", sell)
            .time(TimeMode::Virtual)
            .metrics(metrics)
            .workers(workers)
            .build()
            .unwrap();
        let options = StreamOptions {
            in_flight: 100,
            order,
            ..StreamOptions::default()
        };
        let pipeline = Pipeline::start(&engine, &shop(), options);
        let sender = pipeline.events.clone();
        let feeder = std::thread::spawn(move || {
            for event in events() {
                sender.send(event.into_bytes()).unwrap();
            }
        });
        for _ in 0..303 {
            pipeline.results.recv().unwrap();
        }
        feeder.join().unwrap();
        assert!(matches!(pipeline.finish().end, StreamEnd::Finished));
    }
}

#[test]
fn figures_of_streams() {
    let metrics = Metrics::new();
    run_shop(&metrics);
    let snapshot = metrics.snapshot();
    let entered = |state_type: &str| {
        let labels = ["shop", state_type];
        snapshot.number("quickstep_state_transitions_total", &labels)
    };
    let types = [
        "Pass", "Task", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map",
    ];
    assert_eq!(
        types.map(|state_type| entered(state_type).unwrap()),
        [800, 600, 0, 0, 400, 200, 0, 400]
    );
    check(
        &snapshot,
        &[
            (
                "executions_started_total",
                &["shop", "EXPRESS", "sync"],
                600,
            ),
            ("executions_started_total", &["shop", "EXPRESS", "async"], 0),
            ("executions_started_total", &["shop", "STANDARD", "sync"], 0),
            ("executions_finished_total", &["shop", "SUCCEEDED"], 400),
            ("executions_finished_total", &["shop", "FAILED"], 200),
            ("executions_finished_total", &["shop", "TIMED_OUT"], 0),
            ("executions_finished_total", &["shop", "ABANDONED"], 0),
            ("executions_running", &["shop"], 0),
            ("inputs_refused_total", &["shop"], 6),
            ("retries_total", &["shop"], 200),
            ("catches_total", &["shop"], 200),
            ("tasks_total", &["shop", "lambda", "f", "SUCCEEDED"], 400),
            ("tasks_total", &["shop", "lambda", "f", "FAILED"], 400),
            ("tasks_total", &["shop", "lambda", "f", "CALLED_OFF"], 0),
        ],
    );
    let name = "quickstep_execution_duration_seconds";
    assert_eq!(observed(&snapshot, name, &["shop", "SUCCEEDED"]).0, 400);
    assert_eq!(observed(&snapshot, name, &["shop", "FAILED"]).0, 200);
    let name = "quickstep_task_duration_seconds";
    assert_eq!(observed(&snapshot, name, &["shop", "lambda", "f"]).0, 800);
    let name = "quickstep_execution_memory_bytes";
    let (count, bytes) = observed(&snapshot, name, &["shop"]);
    assert_eq!(count, 600);
    assert!((600 * 40..600 * 4_000).contains(&bytes), "{bytes}");
}

/// A clock that is put forward by hand.
#[derive(Debug, Default)]
struct ByHand(AtomicI64);

impl Clock for ByHand {
    fn nanos(&self) -> u64 {
        self.0.load(Ordering::Relaxed).unsigned_abs() * 1_000_000
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A Task whose handler works for as many milliseconds as its input says.
fn working() -> Engine {
    let clock = Arc::new(ByHand::default());
    let hands = Arc::clone(&clock);
    let work = move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
        let millis = request.values().as_i64(request.input()).unwrap();
        hands.0.fetch_add(millis, Ordering::Relaxed);
        response.extend_from_slice(b"{}");
        Ok(())
    };
    let engine = Engine::builder().task("*", work);
    engine.clock(clock as Arc<dyn Clock>).build().unwrap()
}

#[test]
fn times_are_exact() {
    let engine = working();
    let task = |more: &str| {
        format!(
            r#"{{"StartAt":"T","States":{{"T":{{"Type":"Task","Resource":"{F}","End":true{more}}}}}}}"#
        )
    };
    // Two machines of one name are counted together.
    let minute = machine("express", &task(r#","TimeoutSeconds":60"#));
    let express = machine("express", &task(""));
    for (machine, millis, status) in [
        (&minute, "1", Status::Succeeded),
        (&express, "100", Status::Succeeded),
        (&express, "2501", Status::Succeeded),
        (&minute, "60000", Status::Failed),
        (&express, "300000", Status::TimedOut),
    ] {
        let result = engine.run(machine, millis.as_bytes()).unwrap();
        assert_eq!(result.status, status, "{millis}");
    }
    let standard = StateMachine::builder()
        .name("standard")
        .machine_type(MachineType::Standard)
        .compile(&task(""))
        .unwrap();
    engine.run(&standard, b"7").unwrap();
    engine.run(&standard, b"{]").unwrap_err();
    let snapshot = engine.metrics().snapshot();
    let millis = 1_000_000;
    let durations =
        |labels: &[&str]| observed(&snapshot, "quickstep_execution_duration_seconds", labels);
    assert_eq!(durations(&["express", "SUCCEEDED"]), (3, 2_602 * millis));
    assert_eq!(durations(&["express", "FAILED"]), (1, 60_000 * millis));
    assert_eq!(durations(&["express", "TIMED_OUT"]), (1, 300_000 * millis));
    assert_eq!(durations(&["standard", "SUCCEEDED"]), (1, 7 * millis));
    let name = "quickstep_task_duration_seconds";
    let (count, nanos) = observed(&snapshot, name, &["express", "lambda", "f"]);
    assert_eq!((count, nanos), (5, 362_602 * millis));
    // 1 + 1 + 26 + 600 + 3,000 times 100 ms, each with 64 MiB.
    let billed = 3_628;
    check(
        &snapshot,
        &[
            ("tasks_total", &["express", "lambda", "f", "SUCCEEDED"], 3),
            ("tasks_total", &["express", "lambda", "f", "TIMED_OUT"], 1),
            ("tasks_total", &["express", "lambda", "f", "CALLED_OFF"], 1),
            (
                "billed_duration_seconds_total",
                &["express"],
                billed * 100 * millis,
            ),
            (
                "billed_memory_byte_seconds_total",
                &["express"],
                billed * (64 << 20) / 10,
            ),
            ("billed_duration_seconds_total", &["standard"], 0),
            (
                "executions_started_total",
                &["standard", "STANDARD", "sync"],
                1,
            ),
            ("inputs_refused_total", &["standard"], 1),
        ],
    );
}

#[test]
fn expressions_are_counted() {
    let engine = Engine::builder().build().unwrap();
    let machine = machine(
        "query",
        r#"{"QueryLanguage":"JSONata","StartAt":"C","States":{
          "C":{"Type":"Choice","Choices":[{"Condition":"{% $states.input > 1 %}","Next":"P"}],"Default":"P"},
          "P":{"Type":"Pass","Output":{"a":"{% 1 + 1 %}","b":"{% $states.input %}"},"End":true}}}"#,
    );
    for input in [&b"1"[..], b"2"] {
        let result = engine.run(&machine, input).unwrap();
        assert_eq!(result.status, Status::Succeeded);
    }
    let labels = ["query", "JSONata"];
    let expected = [("query_evaluations_total", &labels[..], 6)];
    check(&engine.metrics().snapshot(), &expected);
}

#[test]
fn tasks_that_come_later() {
    let engine = Engine::builder()
        .task_async("*:never", |_: OwnedTaskRequest| std::future::pending())
        .task_async("*:echo", |request: OwnedTaskRequest| async move {
            match request.input.as_str() {
                "\"bad\"" => Err(Failure::new("Bad", "")),
                _ => Ok(request.input.into_bytes()),
            }
        })
        .build()
        .unwrap();
    let function = |name: &str| format!("arn:aws:lambda:us-east-1:000000000000:function:{name}");
    let (echo, never) = (function("echo"), function("never"));
    let task = |resource: &str| {
        format!(
            r#"{{"StartAt":"{0}","States":{{"{0}":{{"Type":"Task","Resource":"{resource}","End":true}}}}}}"#,
            resource.rsplit(':').next().unwrap()
        )
    };
    let both = format!(
        r#"{{"StartAt":"P","States":{{"P":{{"Type":"Parallel","End":true,"Branches":[{},{}]}}}}}}"#,
        task(&echo),
        task(&never)
    );
    let both = machine("both", &both);
    let one = machine("one", &task(&echo));
    for _ in 0..3 {
        let result = engine.run(&both, b"\"bad\"").unwrap();
        assert_eq!(result.status, Status::Failed);
        let result = engine.run(&one, b"\"good\"").unwrap();
        assert_eq!(result.status, Status::Succeeded);
    }
    check(
        &engine.metrics().snapshot(),
        &[
            ("tasks_total", &["both", "lambda", "echo", "FAILED"], 3),
            ("tasks_total", &["both", "lambda", "never", "CALLED_OFF"], 3),
            ("tasks_total", &["both", "lambda", "never", "TIMED_OUT"], 0),
            ("tasks_total", &["one", "lambda", "echo", "SUCCEEDED"], 3),
            ("executions_running", &["both"], 0),
        ],
    );
}

/// Tokens that were handed out.
type Tokens = Arc<Mutex<Vec<TaskToken>>>;

/// An engine whose workers take their turns here; what its Tasks do comes by their tokens.
fn by_tokens(clock: &Arc<ByHand>) -> (Engine, Simulation, Tokens) {
    let tokens = Tokens::default();
    let handed_out = Arc::clone(&tokens);
    let hand_on = move |request: &TaskRequest<'_>, _: &mut Vec<u8>| {
        if request.input_json() == "\"busy\"" {
            return Err(Failure::new("Busy", ""));
        }
        handed_out.lock().unwrap().push(request.token());
        Ok(())
    };
    let engine = Engine::builder()
        .workers(2)
        .clock(Arc::clone(clock) as Arc<dyn Clock>)
        .limits(Limits {
            executions: 5,
            ..Limits::default()
        })
        .task_callback("*", hand_on);
    let (engine, simulation) = engine.build_simulated().unwrap();
    (engine, simulation, tokens)
}

/// A sink for what was not admitted.
struct Nobody;

impl ResultSink for Nobody {
    fn ended(&self, ended: &Ended<'_>) {
        panic!("{ended:?}");
    }

    fn refused(&self, line: u64, error: Error) {
        panic!("{line}: {error}");
    }
}

/// Executions that are frozen between their turns, and go on with any worker.
#[test]
fn asynchronous_starts_and_tasks_that_are_answered_by_their_tokens() {
    let clock = Arc::new(ByHand::default());
    let (engine, mut simulation, tokens) = by_tokens(&clock);
    let machine = machine(
        "sign",
        &format!(
            r#"{{"StartAt":"T","States":{{"T":{{"Type":"Task","Resource":"{F}","End":true,"TimeoutSeconds":60,"HeartbeatSeconds":10}}}}}}"#
        ),
    );
    let inputs = ["1", "2", "3", "4", "\"busy\""];
    let handles: Vec<_> = inputs
        .iter()
        .map(|input| {
            let request = StartRequest::new(input.as_bytes());
            engine.start(&machine, request).unwrap()
        })
        .collect();
    let request = || StartRequest::new(b"6");
    engine.start(&machine, request()).unwrap_err();
    let more = [&b"7"[..], b"8"];
    engine.start_batch(&machine, more, Nobody).unwrap_err();
    engine.start_sync(&machine, request()).unwrap_err();
    assert!(simulation.run_until_idle(100));
    let snapshot = engine.metrics().snapshot();
    let running = [("executions_running", &["sign"][..], 4)];
    check(&snapshot, &running);
    let tokens = tokens.lock().unwrap().clone();
    let [done, failed, beating, silent] = &tokens[..] else {
        panic!("{tokens:?}")
    };
    clock.0.store(5_000, Ordering::Relaxed);
    let output = TaskAnswer::Succeeded(b"1".to_vec());
    engine.complete(done, output).unwrap();
    let failure = TaskAnswer::Failed(Failure::new("No", ""));
    engine.complete(failed, failure).unwrap();
    engine.heartbeat(beating).unwrap();
    assert!(simulation.run_until_idle(100));
    // The fourth gives no sign of life; the third did, and is stopped before its next one is due.
    clock.0.store(14_000, Ordering::Relaxed);
    assert!(simulation.run_until_idle(100));
    assert!(handles[2].result().is_none());
    assert!(handles[3].result().is_some(), "{silent:?}");
    assert!(handles[2].stop(Some("Stop"), None));
    assert!(simulation.run_until_idle(100));
    let labels = |outcome| ["sign", "lambda", "f", outcome];
    check(
        &engine.metrics().snapshot(),
        &[
            ("executions_started_total", &["sign", "EXPRESS", "async"], 5),
            ("executions_started_total", &["sign", "EXPRESS", "sync"], 0),
            ("executions_finished_total", &["sign", "SUCCEEDED"], 1),
            ("executions_finished_total", &["sign", "FAILED"], 3),
            ("executions_finished_total", &["sign", "ABORTED"], 1),
            ("executions_running", &["sign"], 0),
            ("tasks_total", &labels("SUCCEEDED"), 1),
            ("tasks_total", &labels("FAILED"), 2),
            ("tasks_total", &labels("TIMED_OUT"), 1),
            ("tasks_total", &labels("CALLED_OFF"), 1),
            ("throttled_total", &["executions", "StartExecution"], 3),
            ("throttled_total", &["executions", "StartSyncExecution"], 1),
        ],
    );
    let name = "quickstep_task_duration_seconds";
    let (count, nanos) = observed(&engine.metrics().snapshot(), name, &["sign", "lambda", "f"]);
    assert_eq!(
        (count, nanos / 1_000_000),
        (5, 5_000 + 5_000 + 14_000 + 14_000)
    );
}

/// A handler that works for five seconds, on one task at a time: the second of two waits for as long.
#[test]
fn tasks_that_wait_for_their_handler() {
    let definition = format!(
        r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map","End":true,"ItemProcessor":{{"StartAt":"T","States":{{
          "T":{{"Type":"Task","Resource":"{F}","End":true}}}}}}}}}}}}"#
    );
    let machine = machine("each", &definition);
    for is_observed in [false, true] {
        let clock = Arc::new(ByHand::default());
        let hands = Arc::clone(&clock);
        let work = move |_: OwnedTaskRequest| {
            let hands = Arc::clone(&hands);
            async move {
                hands.0.fetch_add(5_000, Ordering::Relaxed);
                Ok(b"1".to_vec())
            }
        };
        let engine = Engine::builder()
            .task_async_limited("*", 1, work)
            .clock(clock)
            .build()
            .unwrap();
        let result = match is_observed {
            true => engine.run_with(&machine, StartRequest::new(b"[1,2]"), &mut NoEvents),
            false => engine.run(&machine, b"[1,2]"),
        };
        assert_eq!(result.unwrap().output.as_deref(), Some("[1,1]"));
        let snapshot = engine.metrics().snapshot();
        let name = "quickstep_task_schedule_seconds";
        let (count, nanos) = observed(&snapshot, name, &["each", "lambda", "f"]);
        assert_eq!((count, nanos / 1_000_000), (2, 5_000));
    }
}

/// Executions that begin on their caller's thread and go on with the workers, from several threads at once.
#[test]
fn executions_that_change_threads() {
    let engine = Engine::builder()
        .workers(2)
        .task_async("*", |request: OwnedTaskRequest| async move {
            Ok(request.input.into_bytes())
        })
        .build()
        .unwrap();
    let definition = format!(
        r#"{{"StartAt":"T","States":{{"T":{{"Type":"Task","Resource":"{F}","Next":"P"}},"P":{{"Type":"Pass","End":true}}}}}}"#
    );
    let machine = machine("both", &definition);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let result = engine.run(&machine, b"1").unwrap();
                    assert_eq!(result.status, Status::Succeeded);
                }
            });
        }
    });
    check(
        &engine.metrics().snapshot(),
        &[
            (
                "executions_started_total",
                &["both", "EXPRESS", "sync"],
                200,
            ),
            ("executions_finished_total", &["both", "SUCCEEDED"], 200),
            ("state_transitions_total", &["both", "Task"], 200),
            ("state_transitions_total", &["both", "Pass"], 200),
            ("tasks_total", &["both", "lambda", "f", "SUCCEEDED"], 200),
        ],
    );
}

#[test]
fn what_is_under_way_and_what_is_given_up() {
    let engine = Engine::builder().build().unwrap();
    let wait = machine(
        "wait",
        r#"{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":299,"End":true}}}"#,
    );
    let options = StreamOptions {
        order: Order::Completion,
        ..StreamOptions::default()
    };
    let pipeline = Pipeline::start(&engine, &wait, options);
    for _ in 0..5 {
        pipeline.events.send(b"1".to_vec()).unwrap();
    }
    let running = || {
        let snapshot = engine.metrics().snapshot();
        snapshot.number("quickstep_executions_running", &["wait"])
    };
    // They start sooner or later.
    while running() != Some(5) {
        std::thread::yield_now();
    }
    let labels = ["wait", "Wait"];
    let snapshot = engine.metrics().snapshot();
    let entered = snapshot.number("quickstep_state_transitions_total", &labels);
    assert_eq!(entered, Some(5), "what waits is counted as well");
    // Nobody wants the results, so at the next one the pipeline stops.
    let (events, results) = (pipeline.events.clone(), pipeline.results);
    drop((results, pipeline.events));
    events.send(b"{]".to_vec()).unwrap();
    while running() != Some(0) {
        std::thread::yield_now();
    }
    check(
        &engine.metrics().snapshot(),
        &[
            ("executions_finished_total", &["wait", "ABANDONED"], 5),
            ("inputs_refused_total", &["wait"], 1),
        ],
    );
}

/// The rules of the format that matter to a reader, and figures that were known beforehand.
#[test]
fn the_text_is_well_formed() {
    let metrics = Metrics::new();
    run_shop(&metrics);
    let text = prometheus::render(&metrics.snapshot());
    assert!(text.ends_with('\n'));
    let mut seen = BTreeSet::new();
    let mut family = "";
    let mut below: Option<u64> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest.split(' ').next(), Some(family));
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(name), "twice: {name}");
        assert!(name.starts_with(family), "{line} after {family}");
        assert!(value.parse::<f64>().unwrap() >= 0.0);
        if name.contains("_bucket{") {
            let value: u64 = value.parse().unwrap();
            assert!(below.is_none_or(|below| below <= value), "{line}");
            below = (!name.contains(r#"le="+Inf""#)).then_some(value);
        } else {
            assert_eq!(below, None, "{line}: before it, a histogram has no end");
        }
    }
    for line in [
        r#"quickstep_executions_finished_total{state_machine="shop",status="SUCCEEDED"} 400"#,
        r#"quickstep_execution_duration_seconds_count{state_machine="shop",status="FAILED"} 200"#,
        r#"quickstep_tasks_total{state_machine="shop",integration="lambda",resource="f",outcome="FAILED"} 400"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    promtool(&text);
}

/// Prometheus's own checker, where it is installed (Debian: `prometheus`).
fn promtool(text: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("promtool is not installed: the text was checked by this test alone");
        return;
    };
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{complaints}");
    assert_eq!(complaints, "");
}

/// The README's table is the catalogue.
#[test]
fn the_readme_has_every_metric() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let mut table = String::from("| metric | kind | labels | what it tells |\n|---|---|---|---|\n");
    for found in CATALOGUE {
        let labels: Vec<String> = found
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let kind = match found.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        table.push_str(&format!(
            "| `{}` | {kind} | {} | {} |\n",
            found.name,
            labels.join(", "),
            found.help.trim_end_matches('.')
        ));
    }
    assert!(
        readme.contains(&table),
        "the README's table of metrics should be:\n{table}"
    );
}
