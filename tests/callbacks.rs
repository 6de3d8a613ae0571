//! Callbacks that misbehave: they panic, start and answer executions, shut the engine down or drop it. Nothing hangs, and
//! nobody else loses anything.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::Duration;

use quickstep::asl::MachineType;
use quickstep::engine::{
    Clock, Ended, Error, ErrorKind, JournalOptions, Limits, ResultSink, StartRequest, SystemClock,
};
use quickstep::internal::journal::sim::SimStorage;
use quickstep::stdx::Timestamp;
use quickstep::task::{TaskAnswer, TaskRequest, TaskToken};
use quickstep::{Engine, EngineBuilder, StateMachine, Status};

/// So long nothing takes but what hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fails if the test hangs, rather than to hang with it.
fn within_patience<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || tell.send(test()));
    match told.recv_timeout(PATIENCE) {
        Ok(found) => found,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}

fn pass() -> StateMachine {
    StateMachine::compile(r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#)
        .unwrap()
}

fn waits() -> StateMachine {
    StateMachine::compile(
        r#"{"StartAt": "W", "States": {
            "W": {"Type": "Wait", "Seconds": 0, "Next": "A"}, "A": {"Type": "Pass", "End": true}}}"#,
    )
    .unwrap()
}

/// One whose task is answered by its token.
fn asks() -> StateMachine {
    StateMachine::builder().machine_type(MachineType::Standard).compile(
        r#"{"StartAt": "Ask", "States": {"Ask": {
            "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {"FunctionName": "ask", "Payload": {"token.$": "$$.Task.Token"}}, "End": true}}}"#,
    )
    .unwrap()
}

/// Panics at some lines, and counts the others.
#[derive(Clone, Default)]
struct Panics(Arc<Mutex<Vec<u64>>>);

impl ResultSink for Panics {
    fn ended(&self, ended: &Ended<'_>) {
        assert!(
            !ended.line.is_multiple_of(10),
            "the sink panics, as it should"
        );
        self.0.lock().unwrap().push(ended.line);
    }

    fn refused(&self, line: u64, _: Error) {
        assert!(!line.is_multiple_of(10), "the sink panics, as it should");
        self.0.lock().unwrap().push(line);
    }
}

fn panicking_sink(builder: EngineBuilder, machine: &StateMachine) {
    let machine = machine.clone();
    within_patience(move || {
        let engine = builder
            .limits(Limits {
                executions: 100,
                ..Limits::default()
            })
            .build()
            .unwrap();
        let sink = Panics::default();
        // More than there are slots, if each panic kept one.
        for _ in 0..20 {
            let inputs = (0..100).map(|n| if n % 5 == 0 { &b"{"[..] } else { b"{}" });
            engine.start_batch(&machine, inputs, sink.clone()).unwrap();
            while engine.in_flight() > 0 {
                std::thread::yield_now();
            }
        }
        let mut seen = std::mem::take(&mut *sink.0.lock().unwrap());
        seen.sort_unstable();
        let expected = (0..100).filter(|line| line % 10 != 0);
        let expected: Vec<u64> = expected.flat_map(|line| [line; 20]).collect();
        assert_eq!(seen, expected);
        let report = engine.shutdown(PATIENCE);
        assert_eq!(report.left, 0);
        assert_eq!(engine.input_bytes(), 0);
    });
}

#[test]
fn a_sink_that_panics_loses_its_own_execution_alone() {
    panicking_sink(Engine::builder().workers(1), &pass());
    panicking_sink(Engine::builder().workers(3), &pass());
}

#[test]
fn a_sink_that_panics_keeps_no_slot_of_executions_that_have_waited() {
    panicking_sink(Engine::builder().workers(1), &waits());
    panicking_sink(Engine::builder().workers(3), &waits());
}

#[test]
fn a_callback_that_panics_takes_no_other_execution_along() {
    for machine in [pass(), waits()] {
        within_patience(move || {
            let engine = Engine::builder()
                .workers(1)
                .limits(Limits {
                    executions: 64,
                    ..Limits::default()
                })
                .build()
                .unwrap();
            for _ in 0..20 {
                let handles: Vec<_> = (0..50)
                    .map(|n| {
                        let handle = engine.start(&machine, StartRequest::new(b"{}")).unwrap();
                        if n == 3 {
                            // If it has ended already, the callback panics here.
                            let clone = handle.clone();
                            let then = move || clone.then(|_| panic!("as it should"));
                            let (Ok(()) | Err(_)) = catch_unwind(AssertUnwindSafe(then));
                        }
                        (n, handle)
                    })
                    .collect();
                for (n, handle) in handles {
                    if n != 3 {
                        assert_eq!(handle.wait().unwrap().status, Status::Succeeded);
                    }
                }
                while engine.in_flight() > 0 {
                    std::thread::yield_now();
                }
            }
            assert_eq!(engine.shutdown(PATIENCE).left, 0);
        });
    }
}

#[test]
fn who_asks_a_clone_after_a_callback_was_told_is_told_so() {
    within_patience(|| {
        let engine = Engine::builder().workers(1).build().unwrap();
        let (tell, told) = mpsc::channel();
        let handle = engine.start(&waits(), StartRequest::new(b"7")).unwrap();
        let clone = handle.clone();
        handle.then(move |result| tell.send(result.unwrap().output).unwrap());
        assert_eq!(told.recv().unwrap().as_deref(), Some("7"));
        assert_eq!(clone.wait().unwrap_err().kind(), ErrorKind::Stale);
        assert_eq!(
            clone.result().unwrap().unwrap_err().kind(),
            ErrorKind::Stale
        );
        assert!(!clone.stop(None, None));
        // The second of two callbacks is told as well.
        let (tell, told) = mpsc::channel();
        let handle = engine.start(&waits(), StartRequest::new(b"7")).unwrap();
        for callback in 0..2 {
            let tell = tell.clone();
            handle
                .clone()
                .then(move |result| tell.send((callback, result.is_ok())).unwrap());
        }
        let mut both = [told.recv().unwrap(), told.recv().unwrap()];
        both.sort_unstable();
        assert_eq!(both.map(|(callback, _)| callback), [0, 1]);
        assert_eq!(both.iter().filter(|(_, is_ok)| *is_ok).count(), 1);
    });
}

#[test]
fn every_clone_is_woken() {
    within_patience(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        let machine = asks();
        let (engine, tokens) = asking(Engine::builder().workers(1));
        let handle = engine.start(&machine, StartRequest::new(b"7")).unwrap();
        let pollers: Vec<_> = (0..3)
            .map(|_| {
                let mut handle = handle.clone();
                let (tell, told) = mpsc::channel();
                let task = runtime.spawn(async move {
                    let mut is_first = true;
                    std::future::poll_fn(|context| {
                        let polled = std::pin::Pin::new(&mut handle).poll(context);
                        if std::mem::take(&mut is_first) {
                            tell.send(()).unwrap();
                        }
                        polled
                    })
                    .await
                });
                told.recv().unwrap();
                task
            })
            .collect();
        let token = tokens.recv().unwrap();
        engine
            .complete(&token, TaskAnswer::Succeeded(b"1".to_vec()))
            .unwrap();
        for task in pollers {
            let result = runtime.block_on(task).unwrap().unwrap();
            assert_eq!(result.output.as_deref(), Some("1"));
        }
    });
}

/// An engine whose task hands its token on.
fn asking(builder: EngineBuilder) -> (Engine, mpsc::Receiver<TaskToken>) {
    let (tell, tokens) = mpsc::channel();
    let engine = builder
        .task_callback(
            "arn:aws:states:::lambda:invoke.waitForTaskToken",
            move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
                tell.send(request.token()).unwrap();
                response.extend_from_slice(b"{}");
                Ok(())
            },
        )
        .build()
        .unwrap();
    (engine, tokens)
}

#[test]
fn a_handler_may_answer_its_own_task() {
    within_patience(|| {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        let engine = Engine::builder()
            .workers(1)
            .task_callback(
                "arn:aws:states:::lambda:invoke.waitForTaskToken",
                |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
                    response.extend_from_slice(b"{}");
                    let engine = ENGINE.get().unwrap();
                    engine
                        .complete(&request.token(), TaskAnswer::Succeeded(b"5".to_vec()))
                        .unwrap();
                    Ok(())
                },
            )
            .build()
            .unwrap();
        let engine = ENGINE.get_or_init(|| engine);
        let machine = asks();
        let handle = engine.start(&machine, StartRequest::new(b"{}")).unwrap();
        assert_eq!(handle.wait().unwrap().output.as_deref(), Some("5"));
        // On the caller's thread, which is no worker.
        let result = engine.start_sync(&machine, StartRequest::new(b"{}"));
        assert_eq!(result.unwrap().output.as_deref(), Some("5"));
    });
}

#[test]
fn what_no_token_can_reach_fails_rather_than_to_wait() {
    within_patience(|| {
        let (engine, _tokens) = asking(Engine::builder().workers(1));
        let observer = &mut quickstep::history::NoEvents;
        let result = engine.run_with(&asks(), StartRequest::new(b"{}"), observer);
        let failure = result.unwrap().failure.unwrap();
        assert_eq!(failure.error.as_deref(), Some("States.Runtime"));
        assert!(failure.cause.unwrap().contains("token"));
    });
}

/// Small enough for a disk in memory.
const SMALL: JournalOptions = JournalOptions {
    segment_bytes: 1 << 20,
    buffer_bytes: 1 << 16,
    bytes_max: 1 << 23,
    ends_delay_ms_max: 1,
    space_retry_ms: 10,
    salt: Some(0x5EED),
};

/// A clock that holds up the journal's thread until it is told to go on, so that callbacks are that thread's.
#[derive(Clone, Debug)]
struct Gate(Arc<(SystemClock, Mutex<bool>, Condvar)>);

impl Gate {
    fn new() -> Gate {
        Gate(Arc::new((
            SystemClock::new(),
            Mutex::default(),
            Condvar::new(),
        )))
    }

    fn open(&self) {
        *self.0.1.lock().unwrap() = true;
        self.0.2.notify_all();
    }
}

impl Clock for Gate {
    fn timestamp(&self) -> Timestamp {
        self.0.0.timestamp()
    }

    fn nanos(&self) -> u64 {
        if std::thread::current().name() == Some("quickstep-journal") {
            let is_open = self.0.1.lock().unwrap();
            drop(self.0.2.wait_while(is_open, |is_open| !*is_open).unwrap());
        }
        self.0.0.nanos()
    }
}

fn durable(disk: &SimStorage, gate: &Gate) -> Engine {
    Engine::builder()
        .workers(1)
        .clock(Arc::new(gate.clone()))
        .journal_options(SMALL)
        .journal_storage(Arc::new(disk.clone()))
        .build()
        .unwrap()
}

#[test]
fn an_acknowledgement_that_panics_is_alone_with_that() {
    within_patience(|| {
        let gate = Gate::new();
        let (engine, machine) = (durable(&SimStorage::new(), &gate), waits());
        let (tell, told) = mpsc::channel();
        for n in 0..200 {
            let tell = tell.clone();
            let request = StartRequest::new(b"{}");
            let acknowledge = move |result: Result<(), Error>| {
                result.unwrap();
                assert!(n % 7 != 0, "the callback panics, as it should");
                tell.send(n).unwrap();
            };
            engine.start_then(&machine, request, acknowledge).unwrap();
        }
        drop(tell);
        gate.open();
        let mut told: Vec<u32> = told.iter().collect();
        told.sort_unstable();
        let expected: Vec<u32> = (0..200).filter(|n| n % 7 != 0).collect();
        assert_eq!(told, expected);
        // The journal goes on.
        let handle = engine.start(&machine, StartRequest::new(b"5")).unwrap();
        assert_eq!(handle.wait().unwrap().output.as_deref(), Some("5"));
        let report = engine.shutdown(PATIENCE);
        let journal = report.journal.unwrap();
        assert_eq!((journal.unfinished, journal.is_clean), (0, true));
    });
}

#[test]
fn an_acknowledgement_may_start_but_not_wait() {
    within_patience(|| {
        let gate = Gate::new();
        let (engine, machine) = (durable(&SimStorage::new(), &gate), pass());
        let (tell, told) = mpsc::channel();
        let (inner, again) = (engine.clone(), machine.clone());
        let request = StartRequest::new(b"{}");
        let started = engine.start_then(&machine, request, move |result| {
            result.unwrap();
            let refused = inner.start(&again, StartRequest::new(b"1")).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Journal);
            assert!(refused.to_string().contains("start_then"), "{refused}");
            let sink = Panics::default();
            let refused = inner.start_batch(&again, [&b"1"[..]], sink).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Journal);
            inner
                .start_then(&again, StartRequest::new(b"2"), move |result| {
                    tell.send(result.is_ok()).unwrap();
                })
                .unwrap();
        });
        started.unwrap();
        gate.open();
        assert_eq!(told.recv(), Ok(true));
        let report = engine.shutdown(PATIENCE);
        assert_eq!(report.counts.started, 2, "what was refused does not run");
        assert_eq!(report.journal.unwrap().unfinished, 0);
    });
}

#[test]
fn engines_end_in_callbacks_of_theirs() {
    for shuts_down in [false, true] {
        for by_journal in [false, true] {
            within_patience(move || {
                let disk = SimStorage::new();
                let (release, gate) = mpsc::channel();
                let gate = Mutex::new(gate);
                let engine = Engine::builder()
                    .workers(1)
                    .journal_options(SMALL)
                    .journal_storage(Arc::new(disk.clone()))
                    .task("*", move |_: &TaskRequest<'_>, response: &mut Vec<u8>| {
                        gate.lock().unwrap().recv().unwrap();
                        response.push(b'1');
                        Ok(())
                    })
                    .build()
                    .unwrap();
                let (tell, told) = mpsc::channel();
                let inner = engine.clone();
                let end = move || {
                    if shuts_down {
                        inner.shutdown(Duration::from_millis(1));
                    }
                    drop(inner);
                    tell.send(()).unwrap();
                };
                let request = StartRequest::new(b"{}");
                if by_journal {
                    let started = engine.start_then(&asks(), request, move |_| end());
                    started.unwrap();
                } else {
                    engine.start(&asks(), request).unwrap().then(move |_| end());
                }
                drop(engine);
                // The handler may be gone with the engine.
                let (Ok(()) | Err(_)) = release.send(());
                told.recv().unwrap();
                // Nobody has the journal any more.
                while Engine::builder()
                    .journal_options(SMALL)
                    .journal_storage(Arc::new(disk.clone()))
                    .build()
                    .is_err()
                {
                    std::thread::yield_now();
                }
            });
        }
    }
}

#[test]
fn inputs_that_panic_leave_nothing_in_flight() {
    let engine = Engine::builder().workers(1).build().unwrap();
    let machine = pass();
    let is_second = std::cell::Cell::new(false);
    let inputs = std::iter::repeat_n(&b"{}"[..], 3).inspect(|_| {
        assert!(!is_second.get(), "the iterator panics, as it should");
    });
    // It is gone over twice.
    let inputs = inputs.chain(std::iter::once_with(|| {
        is_second.set(true);
        &b"{}"[..]
    }));
    let start = || engine.start_batch(&machine, inputs, Panics::default());
    assert!(catch_unwind(AssertUnwindSafe(start)).is_err());
    assert_eq!((engine.in_flight(), engine.input_bytes()), (0, 0));
}
