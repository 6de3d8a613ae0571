//! The durable engine: what it has acknowledged ends at least once, whatever happens to the process or the disk.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quickstep::engine::{
    DurabilityMode, Ended, Error, ErrorKind, JournalOptions, Limit, Limits, ResultSink, Simulation,
    StartRate, StartRequest,
};
use quickstep::internal::journal::sim::{Faults, SimStorage};
use quickstep::task::{Failure, OwnedTaskRequest, TaskRequest};
use quickstep::{Engine, EngineBuilder, StateMachine, Status};

const PATIENCE: Duration = Duration::from_secs(60);

/// Small enough that segments change and fill up.
const SMALL: JournalOptions = JournalOptions {
    segment_bytes: 20_480,
    buffer_bytes: 1_024,
    bytes_max: 20_480 * 5,
    ends_delay_ms_max: 1,
    space_retry_ms: 10,
    salt: Some(0x5EED),
};

fn machine(name: &str) -> StateMachine {
    StateMachine::builder()
        .name(name)
        .compile(
            r#"{"StartAt": "Work", "States": {"Work": {
                "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:work",
                "Parameters": {"input.$": "$", "drawn.$": "States.UUID()"}, "End": true}}}"#,
        )
        .unwrap()
}

/// One that waits until somebody stops the process, or it.
fn waiting(name: &str) -> StateMachine {
    StateMachine::builder()
        .name(name)
        .compile(
            r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 200, "End": true}}}"#,
        )
        .unwrap()
}

/// A call of the handler: execution, attempt, input.
type Call = (String, u32, String);

/// What the handlers were asked for.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    fn handler(&self) -> impl Fn(&TaskRequest<'_>, &mut Vec<u8>) -> Result<(), Failure> + use<> {
        let calls = self.clone();
        move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
            calls.0.lock().unwrap().push((
                request.execution_name(),
                request.execution_attempt(),
                request.input_json(),
            ));
            request.write_input(response);
            Ok(())
        }
    }

    fn take(&self) -> Vec<Call> {
        let mut calls = std::mem::take(&mut *self.0.lock().unwrap());
        calls.sort();
        calls
    }
}

fn on(disk: &SimStorage, calls: &Calls) -> EngineBuilder {
    Engine::builder()
        .workers(2)
        .seed(1)
        .task("arn:aws:lambda:*:function:work", calls.handler())
        .journal_options(SMALL)
        .journal_storage(Arc::new(disk.clone()))
}

fn simulated(disk: &SimStorage, calls: &Calls) -> (Engine, Simulation) {
    on(disk, calls).build_simulated().unwrap()
}

/// A directory that is the test's own, and empty.
fn directory(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("engine-{name}"));
    let _ = std::fs::remove_dir_all(&directory);
    directory
}

fn in_directory(directory: &Path, calls: &Calls) -> EngineBuilder {
    Engine::builder()
        .workers(2)
        .task("arn:aws:lambda:*:function:work", calls.handler())
        .durability(DurabilityMode::Durable(directory.to_path_buf()))
}

/// Tells of a batch.
#[derive(Clone, Default)]
struct Sums {
    ended: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl ResultSink for Sums {
    fn ended(&self, ended: &Ended<'_>) {
        assert_eq!(ended.status(), Status::Succeeded);
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn refused(&self, _: u64, _: Error) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn what_was_acknowledged_runs_again_after_the_power_goes() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let (engine, simulation) = simulated(&disk, &calls);
    let request = StartRequest::new(b"1");
    let named = engine.start(&machine, request.name("order-17")).unwrap();
    let unnamed = engine.start(&machine, request.seed(7)).unwrap();
    assert_eq!((named.attempt(), unnamed.attempt()), (1, 1));
    let names = [named.name(), unnamed.name()];
    // The workers have had no turn.
    assert_eq!(calls.take(), []);
    // Who has gone with the power writes nothing any more.
    let mut gone = vec![(engine, simulation)];
    let mut runs = Vec::new();
    for attempt in 2..6 {
        disk.crash(&mut || 1);
        let (engine, mut simulation) = simulated(&disk, &calls);
        let recovered = engine.recover(&[&machine]).unwrap();
        assert_eq!((recovered.left, recovered.unknown.len()), (0, 0));
        let handles = &recovered.executions;
        let found: Vec<_> = handles.iter().map(|handle| handle.name()).collect();
        assert_eq!(found, names);
        assert!(handles.iter().all(|handle| handle.attempt() == attempt));
        assert_eq!(handles[1].arn(), unnamed.arn());
        assert!(simulation.run_until_idle(100));
        // They have ended; that is not on the disk yet.
        assert!(handles.iter().all(|handle| handle.result().is_some()));
        let mut found = calls.take();
        assert!(found.iter().all(|call| call.1 == attempt));
        found.iter_mut().for_each(|call| call.1 = 0);
        runs.push(found);
        gone.push((engine, simulation));
    }
    assert!(runs.iter().all(|run| run.len() == 2 && *run == runs[0]));
    // The last one goes in peace.
    let (engine, simulation) = gone.pop().unwrap();
    drop((engine, simulation));
    let (engine, _simulation) = simulated(&disk, &calls);
    assert!(engine.recover(&[&machine]).unwrap().executions.is_empty());
}

#[test]
fn what_has_ended_does_not_run_again() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let (engine, mut simulation) = simulated(&disk, &calls);
    let handles: Vec<_> = (0..40)
        .map(|_| engine.start(&machine, StartRequest::new(b"{}")).unwrap())
        .collect();
    // One that is no JSON ends too.
    let bad = engine.start(&machine, StartRequest::new(b"{")).unwrap();
    assert!(simulation.run_until_idle(1_000));
    assert!(handles.iter().all(|handle| handle.result().is_some()));
    assert_eq!(
        bad.result().unwrap().unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(calls.take().len(), 40);
    let journal = engine.shutdown(Duration::ZERO).journal.unwrap();
    assert_eq!((journal.unfinished, journal.is_clean), (0, true));
    // The handles are alive, and the journal can be opened nevertheless.
    let (engine, mut simulation) = simulated(&disk, &calls);
    let recovered = engine.recover(&[&machine]).unwrap();
    assert_eq!(recovered.executions.len(), 0);
    assert!(simulation.run_until_idle(10));
    assert_eq!(calls.take(), []);
}

#[test]
fn what_is_given_up_runs_again_and_what_is_stopped_does_not() {
    let (disk, calls, waiting) = (SimStorage::new(), Calls::default(), waiting("w"));
    let (engine, mut simulation) = simulated(&disk, &calls);
    let start = |name| {
        engine
            .start(&waiting, StartRequest::new(b"{}").name(name))
            .unwrap()
    };
    let (stopped, given_up) = (start("stopped"), start("given-up"));
    assert!(simulation.run_until_idle(100));
    assert!(stopped.stop(Some("Enough"), None));
    assert!(simulation.run_until_idle(100));
    assert_eq!(stopped.result().unwrap().unwrap().status, Status::Aborted);
    let report = engine.shutdown(Duration::ZERO);
    assert_eq!((report.left, report.journal.unwrap().unfinished), (1, 1));
    assert!(simulation.run_until_idle(100));
    assert_eq!(
        given_up.result().unwrap().unwrap_err().kind(),
        ErrorKind::Abandoned
    );
    let error = engine
        .start(&waiting, StartRequest::new(b"{}"))
        .unwrap_err();
    assert_eq!(error.throttled().unwrap().limit, Limit::Closed);

    let (engine, _simulation) = simulated(&disk, &calls);
    let recovered = engine.recover(&[&waiting]).unwrap();
    let names: Vec<_> = recovered.executions.iter().map(|h| h.name()).collect();
    assert_eq!(names, ["given-up"]);
}

#[test]
fn machines_that_nobody_knows_stay_unfinished() {
    let (disk, calls) = (SimStorage::new(), Calls::default());
    let (known, unknown) = (machine("known"), machine("unknown"));
    let (engine, simulation) = simulated(&disk, &calls);
    for machine in [&unknown, &known, &unknown] {
        engine.start(machine, StartRequest::new(b"{}")).unwrap();
    }
    drop((engine, simulation));
    let (engine, mut simulation) = simulated(&disk, &calls);
    let recovered = engine.recover(&[&known]).unwrap();
    assert_eq!(recovered.executions.len(), 1);
    assert_eq!(recovered.unknown.len(), 1);
    assert_eq!(*recovered.unknown[0].arn, *unknown.identity().arn());
    assert_eq!(recovered.unknown[0].starts, 2);
    assert!(simulation.run_until_idle(100));
    assert_eq!(
        engine.shutdown(Duration::ZERO).journal.unwrap().unfinished,
        2
    );
    // A later engine knows it.
    let (engine, mut simulation) = simulated(&disk, &calls);
    assert_eq!(
        engine
            .recover(&[&known, &unknown])
            .unwrap()
            .executions
            .len(),
        2
    );
    assert!(simulation.run_until_idle(100));
    assert_eq!(
        engine.shutdown(Duration::ZERO).journal.unwrap().unfinished,
        0
    );
    assert_eq!(calls.take().len(), 3);
}

#[test]
fn recovery_goes_on_when_there_is_room() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let (engine, simulation) = simulated(&disk, &calls);
    for _ in 0..10 {
        engine.start(&machine, StartRequest::new(b"{}")).unwrap();
    }
    drop((engine, simulation));
    let limits = Limits {
        executions: 4,
        ..Limits::default()
    };
    let (engine, mut simulation) = on(&disk, &calls).limits(limits).build_simulated().unwrap();
    let mut left = Vec::new();
    loop {
        let recovered = engine.recover(&[&machine]).unwrap();
        assert!(simulation.run_until_idle(100));
        left.push((recovered.executions.len(), recovered.left));
        if recovered.left == 0 {
            break;
        }
    }
    assert_eq!(left, [(4, 6), (4, 2), (2, 0)]);
    assert_eq!(calls.take().len(), 10);
}

#[test]
fn recovery_waits_for_room_where_there_are_threads() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let (engine, simulation) = simulated(&disk, &calls);
    for _ in 0..30 {
        engine.start(&machine, StartRequest::new(b"{}")).unwrap();
    }
    drop((engine, simulation));
    let limits = Limits {
        executions: 3,
        start_rate: Some(StartRate {
            bucket: 1,
            refill_per_second: 1_000,
        }),
        ..Limits::default()
    };
    let engine = on(&disk, &calls).limits(limits).build().unwrap();
    let recovered = engine.recover(&[&machine]).unwrap();
    assert_eq!((recovered.executions.len(), recovered.left), (30, 0));
    assert_eq!(engine.shutdown(PATIENCE).journal.unwrap().unfinished, 0);
    assert_eq!(calls.take().len(), 30);
}

#[test]
fn recovery_goes_on_whatever_the_order_of_machines() {
    let (disk, calls) = (SimStorage::new(), Calls::default());
    let (a, b) = (machine("a"), machine("b"));
    let (engine, simulation) = simulated(&disk, &calls);
    for machine in [&a, &b] {
        engine.start(machine, StartRequest::new(b"1")).unwrap();
    }
    drop((engine, simulation));
    let limits = Limits {
        executions: 1,
        ..Limits::default()
    };
    let builder = on(&disk, &calls).limits(limits);
    let (engine, mut simulation) = builder.build_simulated().unwrap();
    let first = engine.recover(&[&a, &b]).unwrap();
    assert_eq!(first.left, 1);
    assert!(first.executions[0].arn().contains(":a:"));
    assert!(simulation.run_until_idle(1_000));
    let without = engine.recover(&[&a]).unwrap_err();
    assert_eq!(without.kind(), ErrorKind::Journal);
    assert!(without.to_string().contains(":b,"), "{without}");
    let second = engine.recover(&[&b, &a]).unwrap();
    assert!(second.executions[0].arn().contains(":b:"));
    assert!(simulation.run_until_idle(1_000));
    // Whoever waits is not refused.
    assert_eq!(engine.refusals(), quickstep::engine::Refusals::default());
    assert_eq!(
        engine.shutdown(PATIENCE).journal.map(|j| j.unfinished),
        Some(0)
    );
}

/// It was taken in once; a limit that was lowered since neither loses it nor holds up what stands behind it.
#[test]
fn what_a_lower_limit_would_never_admit_runs_again() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let (engine, simulation) = simulated(&disk, &calls);
    for input in [&b"123"[..], b"4"] {
        engine.start(&machine, StartRequest::new(input)).unwrap();
    }
    drop((engine, simulation));
    let limits = Limits {
        input_bytes: 2,
        ..Limits::default()
    };
    let engine = on(&disk, &calls).limits(limits).build().unwrap();
    let recovered = engine.recover(&[&machine]).unwrap();
    assert_eq!(recovered.left, 0);
    assert_eq!(recovered.executions.len(), 2);
    for execution in &recovered.executions {
        assert_eq!(execution.wait().unwrap().status, Status::Succeeded);
    }
    let refused = engine
        .start(&machine, StartRequest::new(b"123"))
        .unwrap_err();
    assert_eq!(refused.throttled().unwrap().limit, Limit::InputBytes);
    let report = engine.shutdown(PATIENCE);
    assert_eq!(report.journal.map(|journal| journal.unfinished), Some(0));
}

#[test]
fn a_report_is_true_however_full_the_disk_is() {
    let machine = machine("m");
    for pages in 15..40 {
        let (disk, calls) = (SimStorage::new(), Calls::default());
        let (engine, mut simulation) = simulated(&disk, &calls);
        disk.set_faults(Faults {
            bytes_max: Some(pages * 4_096),
            allocates_late: pages % 2 == 0,
            ..Faults::default()
        });
        for _ in 0..1_000 {
            if engine.start(&machine, StartRequest::new(b"1")).is_err() {
                break;
            }
        }
        assert!(simulation.run_until_idle(10_000));
        let report = engine.shutdown(Duration::ZERO).journal.unwrap();
        drop((engine, simulation));
        disk.set_faults(Faults::default());
        let (engine, _simulation) = simulated(&disk, &calls);
        let unfinished = engine.journal_counters().unwrap().unfinished;
        if report.is_clean {
            assert_eq!(report.unfinished, 0, "{pages} pages");
        }
        assert!(
            unfinished == report.unfinished || !report.is_clean,
            "{pages} pages: {report:?}, {unfinished}"
        );
    }
}

#[test]
fn nothing_runs_again_before_the_number_of_its_attempt_is_on_the_disk() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let (engine, simulation) = simulated(&disk, &calls);
    for _ in 0..3 {
        engine.start(&machine, StartRequest::new(b"{}")).unwrap();
    }
    drop((engine, simulation));
    let (engine, mut simulation) = simulated(&disk, &calls);
    disk.set_faults(Faults {
        fail_sync: Some(disk.syncs() + 1),
        ..Faults::default()
    });
    // However often it is tried.
    for _ in 0..3 {
        let error = engine.recover(&[&machine]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert!(simulation.run_until_idle(10));
    }
    assert_eq!((engine.in_flight(), calls.take().len()), (0, 0));
    drop((engine, simulation));
    disk.crash(&mut || 1);
    let (engine, _simulation) = simulated(&disk, &calls);
    assert_eq!(engine.recover(&[&machine]).unwrap().executions.len(), 3);
}

#[test]
fn more_runs_again_than_one_commit_has_room_for() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let options = JournalOptions {
        bytes_max: 20_480 * 40,
        ..SMALL
    };
    let open = || {
        let builder = on(&disk, &calls).journal_options(options);
        builder.build_simulated().unwrap()
    };
    let first = open();
    let batch = [&b"{}"[..]; 100];
    first
        .0
        .start_batch(&machine, batch, Sums::default())
        .unwrap();
    for attempt in 2..5 {
        disk.crash(&mut || 1);
        let (engine, _simulation) = open();
        let recovered = engine.recover(&[&machine]).unwrap();
        let handles = &recovered.executions;
        assert_eq!((handles.len(), recovered.left), (100, 0));
        assert!(handles.iter().all(|handle| handle.attempt() == attempt));
        assert_eq!(engine.journal_counters().unwrap().attempts, 100);
    }
    assert!(calls.take().is_empty());
}

#[test]
fn a_full_journal_refuses_and_room_comes_with_ends() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let (engine, mut simulation) = simulated(&disk, &calls);
    let input = format!("\"{}\"", "x".repeat(500));
    let mut started = 0_u64;
    let error = loop {
        match engine.start(&machine, StartRequest::new(input.as_bytes())) {
            Ok(_) => started += 1,
            Err(error) => break error,
        }
        assert!(started < 1_000, "it is never full");
    };
    assert_eq!(error.kind(), ErrorKind::Throttled);
    let throttled = error.throttled().unwrap();
    assert_eq!(throttled.limit, Limit::Journal);
    assert_eq!(throttled.retry_after, Some(Duration::from_millis(10)));
    assert!(
        error
            .to_string()
            .starts_with("the journal takes no start; try again in 10 ms: ")
    );
    // Nothing of what was refused is in flight, or in the journal.
    assert_eq!(engine.in_flight() as u64, started);
    assert_eq!(engine.journal_counters().unwrap().unfinished, started);
    let two = [input.as_bytes(); 2];
    assert!(engine.start_batch(&machine, two, Sums::default()).is_err());
    assert_eq!(engine.in_flight() as u64, started);
    drop((engine, simulation));

    // Full as it is, it is recovered, and takes starts again.
    let (engine, mut again) = simulated(&disk, &calls);
    let recovered = engine.recover(&[&machine]).unwrap();
    assert_eq!(recovered.executions.len() as u64, started);
    assert!(again.run_until_idle(10_000));
    assert_eq!(
        engine.shutdown(Duration::ZERO).journal.unwrap().unfinished,
        0
    );
    (_, simulation) = simulated(&disk, &calls);
    drop(simulation);
    let (engine, _simulation) = simulated(&disk, &calls);
    engine
        .start(&machine, StartRequest::new(input.as_bytes()))
        .unwrap();
}

#[test]
fn a_disk_that_fails_poisons_the_journal() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let (engine, mut simulation) = simulated(&disk, &calls);
    let good = engine
        .start(&machine, StartRequest::new(b"1").name("good"))
        .unwrap();
    disk.set_faults(Faults {
        fail_sync: Some(disk.syncs() + 1),
        ..Faults::default()
    });
    let mut refused = 0;
    for _ in 0..3 {
        let error = match engine.start(&machine, StartRequest::new(b"2").name("doubtful")) {
            Ok(_) => continue,
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        refused += 1;
    }
    assert!(refused >= 2, "{refused}");
    let error = engine
        .start_batch(&machine, [&b"3"[..]], Sums::default())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    // What runs goes on.
    assert!(simulation.run_until_idle(100));
    assert!(good.result().is_some());
    assert!(!engine.shutdown(Duration::ZERO).journal.unwrap().is_clean);
    calls.take();
    disk.crash(&mut || 0);
    let (engine, mut simulation) = simulated(&disk, &calls);
    let recovered = engine.recover(&[&machine]).unwrap();
    assert!(
        recovered
            .executions
            .iter()
            .any(|handle| handle.name() == "good")
    );
    assert!(simulation.run_until_idle(100));
    assert!(
        calls
            .take()
            .iter()
            .any(|call| (&*call.0, call.1) == ("good", 2))
    );
}

#[test]
fn batches_are_durable_as_one() {
    let (disk, calls, machine) = (SimStorage::new(), Calls::default(), machine("m"));
    let (engine, simulation) = simulated(&disk, &calls);
    // More than one commit takes.
    let inputs: Vec<String> = (0..50).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let batch = inputs.iter().map(String::as_bytes);
    engine
        .start_batch(&machine, batch, Sums::default())
        .unwrap();
    engine.start_batch(&machine, [], Sums::default()).unwrap();
    disk.crash(&mut || 1);
    drop((engine, simulation));
    let (engine, mut simulation) = simulated(&disk, &calls);
    assert_eq!(engine.recover(&[&machine]).unwrap().executions.len(), 50);
    assert!(simulation.run_until_idle(1_000));
    let found = calls.take();
    for input in &inputs {
        let holds = |call: &&Call| call.2.contains(&format!(r#""input":{input}"#));
        assert_eq!(found.iter().filter(holds).count(), 1, "{input}");
    }
    let names: std::collections::BTreeSet<_> = found.iter().map(|call| &call.0).collect();
    assert_eq!(names.len(), 50);
    // One that ends is told to its sink, and to the journal.
    let sums = Sums::default();
    let batch = [&b"1"[..], b"{", b"2"];
    engine.start_batch(&machine, batch, sums.clone()).unwrap();
    assert!(simulation.run_until_idle(1_000));
    assert_eq!(sums.ended.load(Ordering::SeqCst), 2);
    assert_eq!(sums.refused.load(Ordering::SeqCst), 1);
    assert_eq!(
        engine.shutdown(Duration::ZERO).journal.unwrap().unfinished,
        0
    );
}

#[test]
fn a_directory_of_the_file_system() {
    let (directory, calls) = (directory("files"), Calls::default());
    let (machine, waiting) = (machine("m"), waiting("w"));
    let engine = in_directory(&directory, &calls).build().unwrap();
    assert_eq!(
        in_directory(&directory, &calls).build().unwrap_err().kind(),
        ErrorKind::Journal,
        "it is locked"
    );
    let left = engine
        .start(&waiting, StartRequest::new(b"{}").name("left"))
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    engine.start(&machine, StartRequest::new(b"1")).unwrap();
                }
            });
        }
    });
    let sums = Sums::default();
    engine
        .start_batch(&machine, [&b"1"[..]; 300], sums.clone())
        .unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let acknowledge = move |result| sender.send(result).unwrap();
    let handle = engine
        .start_then(&machine, StartRequest::new(b"2"), acknowledge)
        .unwrap();
    receiver.recv().unwrap().unwrap();
    handle.wait().unwrap();
    let report = engine.shutdown(Duration::from_millis(1_500));
    assert_eq!(report.left, 1);
    let journal = report.journal.unwrap();
    assert_eq!((journal.unfinished, journal.is_clean), (1, true));
    assert_eq!(sums.ended.load(Ordering::SeqCst), 300);
    let figures = engine.metrics().snapshot();
    let figure = |name| figures.number(name, &[]).unwrap();
    assert_eq!(figure("quickstep_journal_starts_total"), 342);
    assert_eq!(figure("quickstep_journal_ends_total"), 341);
    assert_eq!(figure("quickstep_journal_unfinished_starts"), 1);
    drop(left);

    let engine = in_directory(&directory, &calls).build().unwrap();
    let recovered = engine.recover(&[&machine, &waiting]).unwrap();
    assert_eq!(recovered.executions.len(), 1);
    let left = &recovered.executions[0];
    assert_eq!((&*left.name(), left.attempt()), ("left", 2));
    assert!(left.stop(None, None));
    assert_eq!(left.wait().unwrap().status, Status::Aborted);
    // Dropped without a shutdown, it writes what has ended all the same.
    drop((recovered, engine));
    let engine = in_directory(&directory, &calls).build().unwrap();
    assert_eq!(engine.journal_counters().unwrap().unfinished, 0);
}

#[test]
fn asynchronous_handlers_and_frozen_executions_know_the_attempt() {
    let directory = directory("attempts");
    let machine = StateMachine::compile(
        r#"{"StartAt": "W", "States": {
            "W": {"Type": "Wait", "Seconds": 1, "Next": "T"},
            "T": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:later", "End": true}}}"#,
    )
    .unwrap();
    let build = || {
        let answer = |request: OwnedTaskRequest| async move {
            Ok(request.execution_attempt.to_string().into_bytes())
        };
        Engine::builder()
            .task_async("arn:aws:lambda:*:function:later", answer)
            .durability(DurabilityMode::Durable(directory.clone()))
            .build()
            .unwrap()
    };
    let engine = build();
    engine.start(&machine, StartRequest::new(b"{}")).unwrap();
    assert_eq!(engine.shutdown(Duration::ZERO).left, 1);
    drop(engine);
    let engine = build();
    let recovered = engine.recover(&[&machine]).unwrap();
    let result = recovered.executions[0].wait().unwrap();
    assert_eq!(result.output.as_deref(), Some("2"));
}

#[test]
fn an_engine_in_memory_has_no_journal() {
    let machine = machine("m");
    let engine = Engine::builder().build().unwrap();
    assert_eq!(engine.journal_counters(), None);
    let recovered = engine.recover(&[&machine]).unwrap();
    assert!(recovered.executions.is_empty() && recovered.unknown.is_empty());
    let (sender, receiver) = std::sync::mpsc::channel();
    let acknowledge = move |result| sender.send(result).unwrap();
    let handle = engine
        .start_then(&machine, StartRequest::new(b"1"), acknowledge)
        .unwrap();
    receiver.try_recv().unwrap().unwrap();
    assert_eq!(handle.wait().unwrap().status, Status::Failed);
    assert_eq!(engine.shutdown(PATIENCE).journal, None);
}
