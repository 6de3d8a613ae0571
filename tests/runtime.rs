//! The engine's workers: starts, stops, tokens, timers, limits. Where time or order matter, they have no threads and a
//! clock that the test moves.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quickstep::asl::MachineType;
use quickstep::engine::{
    Clock, Counts, Ended, Error, ErrorKind, Limit, Limits, ResultSink, Simulation, StartRate,
    StartRequest,
};
use quickstep::stdx::Timestamp;
use quickstep::task::{OwnedTaskRequest, TaskAnswer, TaskRequest, TaskToken};
use quickstep::{Engine, EngineBuilder, Failure, StateMachine, Status};

const F: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

fn machine(definition: &str) -> StateMachine {
    StateMachine::compile(definition).unwrap()
}

fn pass() -> StateMachine {
    machine(r#"{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}"#)
}

fn task(more: &str) -> StateMachine {
    machine(&format!(
        r#"{{"StartAt":"T","States":{{"T":{{"Type":"Task","Resource":"{F}","End":true{more}}}}}}}"#
    ))
}

/// Waits for as many seconds as the input says.
fn wait() -> StateMachine {
    machine(
        r#"{"StartAt":"W","States":{"W":{"Type":"Wait","SecondsPath":"$","Next":"E"},"E":{"Type":"Succeed"}}}"#,
    )
}

fn echo(request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
    request.write_input(response);
    Ok(())
}

/// Time that is where it was put.
#[derive(Debug, Default)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn nanos(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis((self.nanos() / 1_000_000).cast_signed())
    }
}

struct Simulated {
    engine: Engine,
    simulation: Simulation,
    clock: Arc<ManualClock>,
}

const TURNS_MAX: usize = 1_000_000;

impl Simulated {
    fn new(builder: EngineBuilder) -> Simulated {
        let clock = Arc::new(ManualClock::default());
        let builder = builder.clock(Arc::clone(&clock) as Arc<dyn Clock>).seed(1);
        let (engine, simulation) = builder.build_simulated().unwrap();
        Simulated {
            engine,
            simulation,
            clock,
        }
    }

    fn run(&mut self) {
        assert!(self.simulation.run_until_idle(TURNS_MAX));
    }

    fn pass_millis(&mut self, millis: u64) {
        self.clock.0.fetch_add(millis * 1_000_000, Ordering::SeqCst);
        self.run();
    }

    /// Goes from timer to timer until nothing is in flight.
    fn run_to_the_end(&mut self) {
        self.run();
        while self.engine.in_flight() > 0 {
            let next = self.simulation.next_timer().unwrap();
            self.clock.0.fetch_max(next, Ordering::SeqCst);
            self.run();
        }
    }
}

/// Keeps what comes, by line.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<BTreeMap<u64, String>>>);

impl Keep {
    fn put(&self, line: u64, text: String) {
        let before = self.0.lock().unwrap().insert(line, text);
        assert_eq!(before, None, "one result each");
    }

    fn take(&self) -> BTreeMap<u64, String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl ResultSink for Keep {
    fn ended(&self, ended: &Ended<'_>) {
        let mut text = format!("{} ", ended.status().as_str()).into_bytes();
        ended.write_output(&mut text);
        self.put(ended.line, String::from_utf8(text).unwrap());
    }

    fn refused(&self, line: u64, error: Error) {
        self.put(line, format!("{:?}", error.kind()));
    }

    fn abandoned(&self, line: u64) {
        self.put(line, "abandoned".to_owned());
    }
}

fn inputs(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("[{n}]").into_bytes()).collect()
}

fn slices(inputs: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> + Clone {
    inputs.iter().map(Vec::as_slice)
}

#[test]
fn executions_started_one_by_one() {
    let engine = Engine::builder()
        .workers(2)
        .task("*", echo)
        .build()
        .unwrap();
    let (machine, (sender, receiver)) = (task(""), std::sync::mpsc::channel());
    let handles: Vec<_> = (0..500)
        .map(|n| {
            let input = n.to_string();
            engine.start(&machine, StartRequest::new(input.as_bytes()))
        })
        .collect();
    for (n, handle) in handles.into_iter().enumerate() {
        let handle = handle.unwrap();
        let result = handle.wait().unwrap();
        assert_eq!(result.output, Some(n.to_string()));
        assert_eq!(result.name(), handle.name());
        assert_eq!(handle.result().unwrap().unwrap(), result);
        assert!(!handle.stop(None, None), "it has ended");
        let sender = sender.clone();
        handle.then(move |result| sender.send(result.unwrap().status).unwrap());
        assert_eq!(receiver.recv().unwrap(), Status::Succeeded);
    }
    let named = StartRequest::new(b"{").name("mine");
    let handle = engine.start(&machine, named).unwrap();
    assert_eq!(handle.name(), "mine");
    assert!(handle.arn().contains(":express:StateMachine:mine:"));
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::InvalidInput);
    let counts = engine.counts();
    assert_eq!(
        (counts.started, counts.succeeded, counts.refused),
        (500, 500, 1)
    );
}

#[test]
fn handles_are_futures() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let engine = Engine::builder()
        .workers(1)
        .task("*", echo)
        .build()
        .unwrap();
    let output = runtime.block_on(async {
        let handle = engine.start(&task(""), StartRequest::new(b"7")).unwrap();
        handle.await.unwrap().output
    });
    assert_eq!(output.as_deref(), Some("7"));
}

#[test]
fn batches() {
    for workers in [1, 3] {
        let engine = Engine::builder()
            .workers(workers)
            .task("*", echo)
            .build()
            .unwrap();
        let (machine, keep) = (task(""), Keep::default());
        let mut inputs = inputs(10_000);
        inputs[77] = b"{".to_vec();
        engine
            .start_batch(&machine, slices(&inputs), keep.clone())
            .unwrap();
        engine.start_batch(&machine, [], keep.clone()).unwrap();
        assert_eq!(engine.shutdown(Duration::from_secs(60)).left, 0);
        let kept = keep.take();
        assert_eq!(kept.len(), 10_000);
        for (line, text) in kept {
            let expected = match line {
                77 => "InvalidInput".to_owned(),
                line => format!("SUCCEEDED [{line}]"),
            };
            assert_eq!(text, expected);
        }
    }
}

#[test]
fn a_synchronous_start_goes_on_on_the_workers() {
    let clock = ManualClock::default();
    let engine = Engine::builder()
        .workers(1)
        .time(quickstep::TimeMode::Virtual);
    let engine = engine
        .task("*", echo)
        .clock(Arc::new(clock))
        .build()
        .unwrap();
    let result = engine
        .start_sync(&wait(), StartRequest::new(b"20").name("n"))
        .unwrap();
    assert_eq!(result.skipped, Duration::from_secs(20));
    // Long turns end on a worker, too.
    let count = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","Parameters":{"n.$":"States.MathAdd($.n, 1)"},"Next":"B"},
        "B":{"Type":"Choice","Choices":[{"Variable":"$.n","NumericLessThan":30000,"Next":"A"}],"Default":"C"},
        "C":{"Type":"Succeed"}}}"#;
    let result = engine.run(&machine(count), br#"{"n":0}"#).unwrap();
    assert_eq!(result.output.as_deref(), Some(r#"{"n":30000}"#));
    assert_eq!(result.transitions, 60_001);
    assert!(engine.counts().parked >= 1);
}

#[test]
fn a_handler_may_run_executions() {
    let engine = Arc::new(Mutex::new(None::<Engine>));
    let inner = Arc::clone(&engine);
    let nested = move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
        let engine = inner.lock().unwrap().clone().unwrap();
        let result = engine
            .run(&wait(), request.input_json().as_bytes())
            .unwrap();
        response.extend_from_slice(result.output.unwrap().as_bytes());
        Ok(())
    };
    let built = Engine::builder()
        .workers(1)
        .time(quickstep::TimeMode::Virtual)
        .task("*", nested);
    let built = built.build().unwrap();
    *engine.lock().unwrap() = Some(built.clone());
    let handle = built.start(&task(""), StartRequest::new(b"3")).unwrap();
    assert_eq!(handle.wait().unwrap().output.as_deref(), Some("3"));
    *engine.lock().unwrap() = None;
}

/// It would wait for its own thread.
#[test]
fn a_handler_is_told_that_it_cannot_wait() {
    let engine = Arc::new(Mutex::new(None::<Engine>));
    let inner = Arc::clone(&engine);
    let waiting = move |_: &TaskRequest<'_>, response: &mut Vec<u8>| {
        let engine = inner.lock().unwrap().clone().unwrap();
        let other = engine.start(&pass(), StartRequest::new(b"1")).unwrap();
        let refused = other.wait().unwrap_err();
        response.extend_from_slice(format!("\"{:?}\"", refused.kind()).as_bytes());
        Ok(())
    };
    let built = Engine::builder().workers(1).task("*", waiting).build();
    let built = built.unwrap();
    *engine.lock().unwrap() = Some(built.clone());
    let handle = built.start(&task(""), StartRequest::new(b"3")).unwrap();
    let output = handle.wait().unwrap().output;
    assert_eq!(output.as_deref(), Some("\"WouldDeadlock\""));
    *engine.lock().unwrap() = None;
}

#[test]
fn what_is_stopped() {
    let mut sim = Simulated::new(Engine::builder().workers(2).task("*", echo));
    // Not started yet, and parked.
    let queued = sim.engine.start(&pass(), StartRequest::new(b"1")).unwrap();
    assert!(queued.stop(Some("Mine"), Some("enough")));
    sim.run();
    let parked = sim
        .engine
        .start(&wait(), StartRequest::new(b"100"))
        .unwrap();
    sim.run();
    assert!(parked.result().is_none());
    assert!(parked.stop(Some("Mine"), Some("enough")));
    assert!(
        parked.stop(Some("Later"), None),
        "the first has not been seen yet"
    );
    sim.run();
    for handle in [queued, parked] {
        let result = handle.result().unwrap().unwrap();
        assert_eq!(result.status, Status::Aborted);
        assert_eq!(result.failure, Some(Failure::new("Mine", "enough")));
        assert!(!handle.stop(None, None));
    }
    assert_eq!((sim.engine.in_flight(), sim.engine.input_bytes()), (0, 0));
    assert_eq!(sim.engine.counts().aborted, 2);
}

const CALLBACK: &str = r#"{"StartAt":"T","States":{"T":{"Type":"Task","End":true,"TimeoutSeconds":60,"HeartbeatSeconds":10,
    "Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{"token.$":"$$.Task.Token"}}}}"#;

fn callback(more: &str) -> StateMachine {
    let definition = CALLBACK.replace(r#""End":true"#, &format!(r#""End":true{more}"#));
    let builder = StateMachine::builder().machine_type(MachineType::Standard);
    builder.compile(&definition).unwrap()
}

/// Tokens that were handed out.
type Tokens = Arc<Mutex<Vec<TaskToken>>>;

fn handing_on(tokens: &Tokens) -> EngineBuilder {
    let tokens = Arc::clone(tokens);
    let hand_on = move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
        let token = request.token();
        let input = request.input_json();
        assert!(input == format!(r#"{{"token":"{token}"}}"#) || request.resource() == F);
        tokens.lock().unwrap().push(token);
        response.extend_from_slice(br#"{"MessageId":"m"}"#);
        Ok(())
    };
    Engine::builder().workers(2).task_callback("*", hand_on)
}

#[test]
fn tasks_are_answered_by_their_tokens() {
    let tokens = Tokens::default();
    let mut sim = Simulated::new(handing_on(&tokens));
    for machine in [callback(""), task("")] {
        let handle = sim
            .engine
            .start(&machine, StartRequest::new(b"{}"))
            .unwrap();
        sim.run();
        let token = tokens.lock().unwrap().pop().unwrap();
        let done = || TaskAnswer::Succeeded(b"[1]".to_vec());
        // In a simulation nobody waits for what a worker finds; what names no execution is found at once.
        for wrong in ["", "1", &"0".repeat(64), &"f".repeat(64), "ä"] {
            let error = sim
                .engine
                .complete(&TaskToken::new(wrong), done())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stale, "{wrong}");
        }
        let mut forged = token.to_string();
        forged.replace_range(63.., if forged.ends_with('0') { "1" } else { "0" });
        sim.engine
            .complete(&TaskToken::new(&forged), done())
            .unwrap();
        sim.run();
        assert!(
            handle.result().is_none(),
            "whoever guesses a token changes nothing"
        );
        sim.engine.complete(&token, done()).unwrap();
        sim.run();
        let result = handle.result().unwrap().unwrap();
        assert_eq!(result.output.as_deref(), Some("[1]"));
        let late = sim.engine.complete(&token, done()).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Stale);
    }
}

#[test]
fn verdicts_on_answers_with_threads() {
    let tokens = Tokens::default();
    let engine = handing_on(&tokens).build().unwrap();
    let handle = engine
        .start(&callback(""), StartRequest::new(b"{}"))
        .unwrap();
    let token = loop {
        match tokens.lock().unwrap().pop() {
            Some(token) => break token,
            None => std::thread::yield_now(),
        }
    };
    let mut forged = token.to_string();
    forged.replace_range(63.., if forged.ends_with('0') { "1" } else { "0" });
    let done = || TaskAnswer::Succeeded(b"2".to_vec());
    let error = engine
        .complete(&TaskToken::new(&forged), done())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    engine.heartbeat(&token).unwrap();
    engine.complete(&token, done()).unwrap();
    assert!(engine.complete(&token, done()).is_err(), "it has ended");
    assert_eq!(handle.wait().unwrap().output.as_deref(), Some("2"));
}

#[test]
fn heartbeats_and_timeouts() {
    let tokens = Tokens::default();
    let mut sim = Simulated::new(handing_on(&tokens));
    let beating = sim
        .engine
        .start(&callback(""), StartRequest::new(b"{}"))
        .unwrap();
    sim.run();
    let silent = sim
        .engine
        .start(&callback(""), StartRequest::new(b"{}"))
        .unwrap();
    sim.run();
    let token = tokens.lock().unwrap()[0].clone();
    for _ in 0..8 {
        sim.pass_millis(7_000);
        sim.engine.heartbeat(&token).unwrap();
        sim.run();
    }
    assert!(beating.result().is_none());
    let missed = silent.result().unwrap().unwrap();
    assert_eq!(missed.failure, Some(Failure::timeout()));
    assert_eq!(missed.stop_time.millis(), 14_000, "seen when time went on");
    sim.pass_millis(3_999);
    assert!(beating.result().is_none());
    sim.pass_millis(1);
    let timed_out = beating.result().unwrap().unwrap();
    assert_eq!(timed_out.stop_time.millis(), 60_000);
    assert_eq!(timed_out.failure, Some(Failure::timeout()));
    let late = sim.engine.heartbeat(&token).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Stale);
}

#[test]
fn ten_thousand_timers() {
    let mut sim = Simulated::new(Engine::builder().workers(3));
    let keep = Keep::default();
    let seconds: Vec<Vec<u8>> = (0..10_000_u64)
        .map(|n| (1 + n * 7_919 % 250).to_string().into_bytes())
        .collect();
    sim.engine
        .start_batch(&wait(), slices(&seconds), keep.clone())
        .unwrap();
    sim.run();
    assert!(keep.take().is_empty());
    assert_eq!(sim.engine.counts().parked, 10_000);
    let mut ended = 0;
    for now in 1..=250_u64 {
        sim.pass_millis(999);
        assert!(keep.take().is_empty(), "nothing wakes early");
        sim.pass_millis(1);
        let woken = keep.take();
        let due = seconds
            .iter()
            .filter(|text| ***text == *now.to_string().as_bytes());
        assert_eq!(woken.len(), due.count(), "at {now} s");
        ended += woken.len();
    }
    assert_eq!((ended, sim.engine.in_flight()), (10_000, 0));
}

#[test]
fn what_is_refused() {
    let limits = Limits {
        executions: 3,
        input_bytes: 100,
        start_rate: None,
    };
    let mut sim = Simulated::new(Engine::builder().workers(1).limits(limits));
    let start = |sim: &Simulated, input: &[u8]| sim.engine.start(&wait(), StartRequest::new(input));
    let long = [b" ".repeat(99), b"10".to_vec()].concat();
    let error = start(&sim, &long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(error.throttled().unwrap().limit, Limit::InputBytes);
    for _ in 0..3 {
        start(&sim, b"10").unwrap();
    }
    let error = start(&sim, b"10").unwrap_err();
    let throttled = *error.throttled().unwrap();
    assert_eq!(throttled.limit, Limit::Executions);
    assert!(throttled.retry_after.unwrap() > Duration::ZERO);
    // A batch is taken in as a whole or not at all, and so are those on their caller's thread.
    let inputs = inputs(2);
    let batch = sim
        .engine
        .start_batch(&pass(), slices(&inputs), Keep::default());
    assert_eq!(batch.unwrap_err().kind(), ErrorKind::Throttled);
    assert!(sim.engine.run(&pass(), b"1").is_err());
    sim.run_to_the_end();
    assert!(sim.engine.run(&pass(), b"1").is_ok());
    let refusals = sim.engine.refusals();
    assert_eq!((refusals.executions, refusals.input_bytes), (4, 1));
    assert_eq!((sim.engine.in_flight(), sim.engine.input_bytes()), (0, 0));
}

#[test]
fn a_rate_of_starts() {
    let start_rate = Some(StartRate {
        bucket: 5,
        refill_per_second: 100,
    });
    let limits = Limits {
        start_rate,
        ..Limits::default()
    };
    let mut sim = Simulated::new(Engine::builder().workers(1).limits(limits));
    let mut started = 0;
    for _ in 0..100 {
        for _ in 0..3 {
            match sim.engine.start(&pass(), StartRequest::new(b"1")) {
                Ok(_) => started += 1,
                Err(error) => assert_eq!(error.throttled().unwrap().limit, Limit::StartRate),
            }
        }
        sim.pass_millis(10);
    }
    assert_eq!(started, 5 + 99);
}

#[test]
fn at_most_so_many_futures_at_a_time() {
    let (running, peak, begun) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let handler = {
        let (running, peak, begun) = (Arc::clone(&running), Arc::clone(&peak), Arc::clone(&begun));
        move |request: OwnedTaskRequest| {
            let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
            begun.lock().unwrap().push(request.input.clone());
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                peak.fetch_max(now, Ordering::SeqCst);
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(request.input.into_bytes())
            }
        }
    };
    let engine = Engine::builder()
        .workers(1)
        .task_async_limited("*", 1, handler)
        .build()
        .unwrap();
    let (keep, inputs) = (Keep::default(), inputs(300));
    engine
        .start_batch(&task(""), slices(&inputs), keep.clone())
        .unwrap();
    assert_eq!(engine.shutdown(Duration::from_secs(60)).left, 0);
    assert_eq!(keep.take().len(), 300);
    assert_eq!(peak.load(Ordering::SeqCst), 1);
    let begun = begun.lock().unwrap();
    assert!(
        begun.iter().map(String::as_bytes).eq(slices(&inputs)),
        "in order"
    );
}

#[test]
fn endless_loops_leave_room() {
    const LOOP: &str = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Choice","Choices":[
        {"Variable":"$.stop","BooleanEquals":true,"Next":"C"}],"Default":"A"},"C":{"Type":"Succeed"}}}"#;
    let mut sim = Simulated::new(Engine::builder().workers(1).task("*", echo));
    for _ in 0..100 {
        sim.engine
            .start(&machine(LOOP), StartRequest::new(br#"{"stop":false}"#))
            .unwrap();
    }
    for _ in 0..300 {
        assert!(sim.simulation.turn(0));
    }
    for n in 0..50 {
        let handle = sim
            .engine
            .start(&task(""), StartRequest::new(b"1"))
            .unwrap();
        let turns = (1..).find(|_| {
            assert!(sim.simulation.turn(0));
            handle.result().is_some()
        });
        assert!(turns.unwrap() <= 3, "start {n}: {turns:?} turns");
    }
    // What was called is not behind them either.
    let waiting = sim.engine.start(&wait(), StartRequest::new(b"1")).unwrap();
    for _ in 0..3 {
        sim.simulation.turn(0);
    }
    sim.clock.0.fetch_add(1_000_000_000, Ordering::SeqCst);
    for _ in 0..3 {
        sim.simulation.turn(0);
    }
    assert!(waiting.result().is_some());
}

#[test]
fn a_shutdown_says_what_is_left() {
    let engine = Engine::builder()
        .workers(2)
        .task("*", echo)
        .build()
        .unwrap();
    let (keep, inputs) = (
        Keep::default(),
        [b"200".to_vec(), b"0".to_vec(), b"100".to_vec()],
    );
    engine
        .start_batch(&wait(), slices(&inputs), keep.clone())
        .unwrap();
    let handle = engine.start(&wait(), StartRequest::new(b"100")).unwrap();
    let report = engine.shutdown(Duration::from_millis(50));
    assert_eq!(report.left, 3);
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Abandoned);
    let refused = engine.start(&wait(), StartRequest::new(b"1")).unwrap_err();
    assert_eq!(refused.throttled().unwrap().limit, Limit::Closed);
    while keep.0.lock().unwrap().len() < 3 {
        std::thread::yield_now();
    }
    let kept: Vec<String> = keep.take().into_values().collect();
    assert_eq!(kept, ["abandoned", "SUCCEEDED 0", "abandoned"]);
}

/// Who runs an execution on its own thread may come to a wait only when all is over.
#[test]
fn a_shutdown_meets_an_execution_on_its_callers_thread() {
    let machine = machine(&format!(
        r#"{{"StartAt":"T","States":{{"T":{{"Type":"Task","Resource":"{F}","Next":"W"}},
            "W":{{"Type":"Wait","Seconds":100,"End":true}}}}}}"#
    ));
    let (entered, is_entered) = std::sync::mpsc::channel();
    let (go, goes) = std::sync::mpsc::channel();
    let goes = Mutex::new(goes);
    let held = move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
        entered.send(()).unwrap();
        goes.lock().unwrap().recv().unwrap();
        echo(request, response)
    };
    let engine = Engine::builder().workers(2).task(F, held).build().unwrap();
    // So that there are workers.
    let warm = engine.start(&pass(), StartRequest::new(b"1")).unwrap();
    warm.wait().unwrap();
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| engine.run(&machine, b"1"));
        is_entered.recv().unwrap();
        assert_eq!(engine.shutdown(Duration::ZERO).left, 1);
        go.send(()).unwrap();
        let result = caller.join().unwrap();
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Abandoned);
    });
    assert_eq!(engine.in_flight(), 0);
}

/// Executions that are large and have several turns: most wait for the next one as they are, those beyond the bytes that
/// may be held so are frozen.
#[test]
fn large_executions_whose_turns_are_over() {
    const ITEMS: usize = 10_500;
    let machine = machine(
        r#"{"StartAt":"M","States":{"M":{"Type":"Map","ItemsPath":"$.items","End":true,"ItemProcessor":{
            "StartAt":"I","States":{"I":{"Type":"Pass","Parameters":{"n.$":"$"},"End":true}}}}}}"#,
    );
    let mut sim = Simulated::new(Engine::builder().workers(2));
    let numbers: Vec<String> = (0..ITEMS).map(|n| n.to_string()).collect();
    let items = numbers.join(",");
    let padding = "x".repeat(150_000);
    let inputs: Vec<Vec<u8>> = (0..40)
        .map(|n| format!(r#"{{"items":[{n},{items}],"padding":"{padding}"}}"#).into_bytes())
        .collect();
    let keep = Keep::default();
    let engine = &sim.engine;
    engine
        .start_batch(&machine, slices(&inputs), keep.clone())
        .unwrap();
    let handle = engine
        .start(&machine, StartRequest::new(&inputs[0]))
        .unwrap();
    // Single starts come first.
    assert!(sim.simulation.turn(0));
    assert_eq!(sim.engine.counts().parked, 1);
    assert!(handle.stop(None, None));
    sim.run();
    assert_eq!(handle.result().unwrap().unwrap().status, Status::Aborted);
    assert_eq!(sim.engine.counts().parked, 41, "each has had two turns");
    let made: Vec<String> = numbers.iter().map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let made = made.join(",");
    let kept = keep.take();
    assert_eq!(kept.len(), 40);
    for (n, text) in kept {
        assert!(text == format!(r#"SUCCEEDED [{{"n":{n}}},{made}]"#), "{n}");
    }
}

/// Branches, iterations, waits, retries and answers, whatever the order of turns.
#[test]
fn any_order_of_turns() {
    let definition = r#"{"StartAt":"P","States":{"P":{"Type":"Parallel","Next":"M","ResultPath":"$.p","Branches":[
        {"StartAt":"W","States":{"W":{"Type":"Wait","SecondsPath":"$.s","End":true}}},
        {"StartAt":"T","States":{"T":{"Type":"Task","Resource":"flaky","End":true,
            "Retry":[{"ErrorEquals":["Busy"],"IntervalSeconds":1,"MaxAttempts":5}]}}}]},
      "M":{"Type":"Map","ItemsPath":"$.items","MaxConcurrency":2,"End":true,"ItemProcessor":{"StartAt":"I","States":{
        "I":{"Type":"Wait","Seconds":1,"Next":"J"},"J":{"Type":"Task","Resource":"flaky","End":true}}}}}}"#;
    let machine = machine(&definition.replace("\"flaky\"", &format!("\"{F}\"")));
    let flaky = |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
        if request.state() == "T" && request.attempt() < 2 {
            return Err(Failure::new("Busy", ""));
        }
        echo(request, response)
    };
    for seed in 0..20_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).unwrap()
        };
        let mut sim = Simulated::new(Engine::builder().workers(4).task("*", flaky));
        let keep = Keep::default();
        let inputs: Vec<Vec<u8>> = (0..40)
            .map(|n| format!(r#"{{"s":{},"items":[{n},"x",[]]}}"#, n % 5).into_bytes())
            .collect();
        sim.engine
            .start_batch(&machine, slices(&inputs), keep.clone())
            .unwrap();
        let mut idle = 0;
        while sim.engine.in_flight() > 0 {
            if sim.simulation.turn(next(4)) {
                idle = 0;
                continue;
            }
            idle += 1;
            if idle > 40 {
                let timer = sim.simulation.next_timer();
                sim.clock.0.fetch_max(timer.unwrap(), Ordering::SeqCst);
            }
        }
        for (n, text) in keep.take() {
            assert_eq!(text, format!(r#"SUCCEEDED [{n},"x",[]]"#), "seed {seed}");
        }
        let Counts {
            succeeded, timers, ..
        } = sim.engine.counts();
        assert!(succeeded == 40 && timers >= 40 * 4, "{timers} timers");
    }
}
