//! The engine as a service embeds it.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use quickstep::asl::MachineType;
use quickstep::engine::{
    Clock, ErrorKind, Order, Pipeline, PipelineEvent, StartRequest, StreamEnd, StreamOptions,
};
use quickstep::history::EachEvent;
use quickstep::stdx::Timestamp;
use quickstep::task::{OwnedTaskRequest, TaskRegistry, TaskRequest};
use quickstep::{Engine, Failure, StateMachine, Status, TimeMode};

const F: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

fn machine(definition: &str) -> StateMachine {
    StateMachine::compile(definition).unwrap()
}

/// A machine of one Task.
fn task(more: &str) -> StateMachine {
    machine(&format!(
        r#"{{"StartAt":"T","States":{{"T":{{"Type":"Task","Resource":"{F}","End":true{more}}}}}}}"#
    ))
}

/// A machine that calls the Task for each item of its input.
fn map() -> StateMachine {
    machine(&format!(
        r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map","End":true,"ItemProcessor":{{"StartAt":"T","States":{{
          "T":{{"Type":"Task","Resource":"{F}","End":true}}}}}}}}}}}}"#
    ))
}

fn echo(request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
    request.write_input(response);
    Ok(())
}

/// Needs no reactor, but is ready only when polled again.
async fn echo_later(request: OwnedTaskRequest) -> Result<Vec<u8>, Failure> {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    Ok(request.input.into_bytes())
}

#[test]
fn a_result_has_everything() {
    let engine = Engine::builder().task("*", echo).seed(7).build().unwrap();
    let result = engine.run(&task(""), b"{\"a\": 1}").unwrap();
    assert_eq!(result.status, Status::Succeeded);
    assert_eq!(result.output.as_deref(), Some("{\"a\":1}"));
    assert_eq!((result.failure.clone(), result.transitions), (None, 1));
    assert_eq!(result.skipped, Duration::ZERO);
    assert!(result.stop_time >= result.start_time);
    let other = engine.run(&task(""), b"1").unwrap();
    assert_ne!(result.name(), other.name());
    let again = Engine::builder().task("*", echo).seed(7).build().unwrap();
    assert_eq!(again.run(&task(""), b"1").unwrap().name(), result.name());
}

#[test]
fn names_and_seeds_of_the_callers() {
    let named = machine(
        r#"{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:000000000000:function:f",
        "Parameters":{"name.$":"$$.Execution.Name","id.$":"$$.Execution.Id","random.$":"States.UUID()"},"End":true}}}"#,
    );
    let engine = Engine::builder()
        .task("*", |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
            assert!(["order-17", "other"].contains(&&*request.execution_name()));
            echo(request, response)
        })
        .build()
        .unwrap();
    let run = |request| engine.start_sync(&named, request);
    let request = StartRequest::new(b"{}").name("order-17").seed(7);
    let result = run(request).unwrap();
    assert_eq!(result.name(), "order-17");
    let output = result.output.clone().unwrap();
    assert!(
        output.starts_with(
            r#"{"name":"order-17","id":"arn:aws:states:us-east-1:000000000000:express:StateMachine:order-17:"#
        ),
        "{output}"
    );
    // The same seed gives the same random numbers; EXPRESS executions may share a name.
    assert_eq!(run(request).unwrap().output, result.output);
    let other_seed = run(StartRequest::new(b"{}").name("order-17"));
    assert_ne!(other_seed.unwrap().output, result.output);
    let other_name = run(request.name("other")).unwrap();
    assert_ne!(other_name.output, result.output);
    let random = |output: &str| output.rsplit('"').nth(1).map(str::to_owned);
    assert_eq!(random(&other_name.output.unwrap()), random(&output));
    for name in ["", "order 17", "a/b", &"x".repeat(81)] {
        let error = run(request.name(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{name}");
        assert!(engine.start(&named, request.name(name)).is_err());
    }
}

#[test]
fn what_is_no_input() {
    let engine = Engine::builder().build().unwrap();
    for (input, message) in [
        (b"{".to_vec(), "invalid JSON at line 1"),
        (vec![b'1'; 262_145], "exceeds the limit of 262144 bytes"),
    ] {
        let error = engine.run(&task(""), &input).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(message), "{error}");
    }
    assert_eq!(size_of_val(&engine.run(&task(""), b"").unwrap_err()), 8);
}

#[test]
fn handlers_that_fail_panic_or_answer_nonsense() {
    let named = |name: &'static str| -> Engine {
        let mut tasks = TaskRegistry::new();
        tasks.register(
            "*",
            move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
                response.extend_from_slice(b"half");
                match name {
                    "fails" => Err(Failure::new("Mine", request.state())),
                    "panics" => panic!("at {}", request.attempt()),
                    _ => Ok(()),
                }
            },
        );
        Engine::builder().tasks(tasks).build().unwrap()
    };
    for (name, error, cause) in [
        ("fails", "Mine", "T".to_owned()),
        (
            "panics",
            "Task.Panicked",
            format!("the handler of {F} panicked: at 0"),
        ),
        (
            "nonsense",
            "States.Runtime",
            "The task's answer is not JSON: half".to_owned(),
        ),
    ] {
        let engine = named(name);
        for _ in 0..2 {
            let result = engine.run(&task(""), b"1").unwrap();
            assert_eq!(result.status, Status::Failed);
            assert_eq!(result.failure, Some(Failure::new(error, &*cause)), "{name}");
        }
    }
    let result = Engine::builder()
        .build()
        .unwrap()
        .run(&task(""), b"1")
        .unwrap();
    let failure = result.failure.unwrap();
    assert_eq!(failure.error.as_deref(), Some("States.Runtime"));
    assert!(failure.cause.unwrap().contains("Engine::builder().task(…)"));
}

#[test]
fn asynchronous_handlers() {
    let engine = Engine::builder().task_async(F, echo_later).build().unwrap();
    let input = format!(
        "[{}]",
        (0..100)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(",")
    );
    let result = engine.run(&map(), input.as_bytes()).unwrap();
    assert_eq!(result.output, Some(input));
    let panics = Engine::builder()
        .task_async(F, |request: OwnedTaskRequest| async move {
            tokio::task::yield_now().await;
            panic!("on {}", request.input)
        })
        .build()
        .unwrap();
    let result = panics.run(&task(""), b"5").unwrap();
    let cause = format!("the handler of {F} panicked: on 5");
    assert_eq!(result.failure, Some(Failure::new("Task.Panicked", cause)));
}

/// Counts the futures that are alive.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn tasks_that_nobody_waits_for_are_dropped() {
    let alive = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&alive);
    let never = move |_: OwnedTaskRequest| {
        let alive = Alive::new(&count);
        async move {
            std::future::pending::<()>().await;
            drop(alive);
            Ok(Vec::new())
        }
    };
    for time in [TimeMode::Real, TimeMode::Virtual] {
        let never = never.clone();
        let engine = Engine::builder()
            .task_async(F, never)
            .time(time)
            .build()
            .unwrap();
        let result = engine.run(&task(r#","TimeoutSeconds":1"#), b"1").unwrap();
        assert_eq!(result.failure, Some(Failure::timeout()));
        // Virtual time stands still while somebody works.
        assert!(
            result.duration >= Duration::from_millis(900),
            "{:?}",
            result.duration
        );
        drop(engine);
    }
    while alive.load(Ordering::SeqCst) > 0 {
        std::thread::yield_now();
    }
}

/// Time that stands where it was put.
#[derive(Debug, Default)]
struct Stopped {
    millis: AtomicI64,
    reads: AtomicU64,
}

impl Clock for Stopped {
    fn nanos(&self) -> u64 {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.millis.load(Ordering::Relaxed).unsigned_abs() * 1_000_000
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

#[test]
fn virtual_time_of_one_execution() {
    let clock = Arc::new(Stopped::default());
    let engine = Engine::builder()
        .task("*", |_: &TaskRequest<'_>, _: &mut Vec<u8>| {
            Err(Failure::new("Busy", "later"))
        })
        .time(TimeMode::Virtual)
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .build()
        .unwrap();
    let retry = r#","Retry":[{"ErrorEquals":["Busy"],"IntervalSeconds":10,"BackoffRate":2,"MaxAttempts":3}]"#;
    let mut times = Vec::new();
    let mut observer = EachEvent(|event: &quickstep::history::HistoryEvent<'_>| {
        if event.details.event_type().as_str() == "LambdaFunctionScheduled" {
            times.push(event.timestamp.millis());
        }
    });
    let result = engine
        .run_with(&task(retry), StartRequest::new(b"1"), &mut observer)
        .unwrap();
    assert_eq!(times, [0, 10_000, 30_000, 70_000]);
    assert_eq!(result.skipped, Duration::from_secs(70));
    assert_eq!(
        (result.stop_time.millis(), result.duration),
        (70_000, Duration::ZERO)
    );
    assert!(clock.reads.load(Ordering::Relaxed) < 10);
}

#[test]
fn an_answer_that_took_too_long_is_too_late() {
    let clock = Arc::new(Stopped::default());
    let hands = Arc::clone(&clock);
    let engine = Engine::builder()
        .task("*", move |_: &TaskRequest<'_>, response: &mut Vec<u8>| {
            hands.millis.fetch_add(3_000, Ordering::Relaxed);
            response.extend_from_slice(b"1");
            Ok(())
        })
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .build()
        .unwrap();
    let catch = r#","Catch":[{"ErrorEquals":["States.HeartbeatTimeout"],"Next":"C"}]"#;
    for (more, expected) in [
        (r#","TimeoutSeconds":4"#, Ok("1")),
        (r#","TimeoutSeconds":3"#, Err("States.Timeout")),
        (
            r#","TimeoutSeconds":9,"HeartbeatSeconds":2"#,
            Err("States.Timeout"),
        ),
        (
            &format!(r#","TimeoutSeconds":9,"HeartbeatSeconds":2{catch}"#),
            Ok("{}"),
        ),
    ] {
        let definition = format!(
            r#"{{"StartAt":"T","States":{{"T":{{"Type":"Task","Resource":"{F}","End":true{more}}}{}}}}}"#,
            if more.contains("Catch") {
                r#","C":{"Type":"Pass","Result":{},"End":true}"#
            } else {
                ""
            }
        );
        let result = engine.run(&machine(&definition), b"{}").unwrap();
        let failure = result.failure.as_ref();
        let ended = match &result.output {
            Some(output) => Ok(output.as_str()),
            None => Err(failure.map_or("", |failure| failure.error_name())),
        };
        assert_eq!(ended, expected, "{more}");
    }
}

#[test]
fn a_loop_ends_by_its_timeout() {
    let spin = r#"{"StartAt":"A","States":{
      "A":{"Type":"Wait","Seconds":7,"Next":"B"},"B":{"Type":"Choice","Choices":[
        {"Variable":"$","IsPresent":true,"Next":"A"}],"Default":"C"},"C":{"Type":"Succeed"}}}"#;
    let engine = Engine::builder().time(TimeMode::Virtual).build().unwrap();
    let result = engine.run(&machine(spin), b"{}").unwrap();
    assert_eq!(result.status, Status::TimedOut);
    assert_eq!(result.skipped, Duration::from_secs(300));
}

#[test]
fn one_engine_for_many_threads() {
    let engine = Engine::builder()
        .task_async("*", echo_later)
        .build()
        .unwrap();
    let machines = [task(""), map()];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, machines) = (&engine, &machines);
            scope.spawn(move || {
                for n in 0..200 {
                    let input = format!("[{thread},{n}]");
                    let result = engine.run(&machines[n % 2], input.as_bytes()).unwrap();
                    assert_eq!(result.output, Some(input));
                }
            });
        }
    });
}

fn pipe(
    engine: &Engine,
    machine: &StateMachine,
    options: StreamOptions,
    count: usize,
) -> Vec<PipelineEvent> {
    let pipeline = Pipeline::start(engine, machine, options);
    let events = pipeline.events.clone();
    let sender = std::thread::spawn(move || {
        for n in 0..count {
            events.send(n.to_string()).unwrap();
        }
    });
    let results: Vec<PipelineEvent> = (0..count)
        .map(|_| pipeline.results.recv().unwrap())
        .collect();
    sender.join().unwrap();
    let report = pipeline.finish();
    assert!(matches!(report.end, StreamEnd::Finished));
    assert_eq!((report.read, report.done), (count as u64, count as u64));
    results
}

#[test]
fn pipelines_lose_and_swap_nothing() {
    for (workers, in_flight, order) in [
        (1, 1, Order::Events),
        (1, 10_000, Order::Events),
        (2, 3, Order::Events),
        (3, 100, Order::Events),
        (1, 1, Order::Completion),
        (2, 100, Order::Completion),
        (3, 2, Order::Completion),
    ] {
        let builder = || Engine::builder().workers(workers);
        let engines = [
            builder().task("*", echo).build().unwrap(),
            builder().task_async("*", echo_later).build().unwrap(),
        ];
        for engine in engines {
            let options = StreamOptions {
                in_flight,
                order,
                ..StreamOptions::default()
            };
            let mut results = pipe(&engine, &task(""), options, 3_000);
            if order == Order::Completion {
                results.sort_by_key(|event| event.number);
            }
            for (n, event) in results.into_iter().enumerate() {
                assert_eq!(event.number, n as u64 + 1);
                assert_eq!(event.result.unwrap().output, Some(n.to_string()));
            }
        }
    }
}

#[test]
fn events_that_are_no_inputs_are_errors_of_their_own() {
    let engine = Engine::builder().task("*", echo).build().unwrap();
    let pipeline = Pipeline::start(&engine, &task(""), StreamOptions::default());
    for event in ["1", "", "{", "4"] {
        pipeline.events.send(event).unwrap();
    }
    drop(pipeline.events);
    let results: Vec<bool> = pipeline
        .results
        .iter()
        .map(|event| event.result.is_ok())
        .collect();
    assert_eq!(results, [true, false, false, true]);
}

#[test]
fn a_pipeline_stops_when_nobody_listens() {
    let engine = Engine::builder().task("*", echo).build().unwrap();
    let pipeline = Pipeline::start(&engine, &task(""), StreamOptions::default());
    let Pipeline {
        events, results, ..
    } = pipeline;
    drop(results);
    while events.send("1").is_ok() {}
}

#[test]
fn types_and_names() {
    let callback = r#"{"StartAt":"T","States":{"T":{"Type":"Task","End":true,
      "Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken"}}}"#;
    assert!(StateMachine::compile(callback).is_err());
    let machine = StateMachine::builder()
        .name("callbacks")
        .machine_type(MachineType::Standard)
        .compile(callback)
        .unwrap();
    assert_eq!(machine.name(), "callbacks");
    let engine = Engine::builder().build().unwrap();
    assert_eq!(
        engine.unhandled(&machine),
        [("arn:aws:states:::sqs:sendMessage.waitForTaskToken", "T")]
    );
}
