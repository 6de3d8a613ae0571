//! What comes late: answers, timers and turns after what fell due, or after the end.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::sync::Arc;

use quickstep::StateMachine;
use quickstep::asl::MachineType;
use quickstep::history::{EachEvent, Failure, HistoryEvent, NoEvents};
use quickstep::interp::{
    Completion, Execution, FrameHandle, Invocation, MachineIdentity, Stale, Start, Status, Yield,
};
use quickstep::stdx::Timestamp;

const TASK: &str = r#"{"StartAt":"T","TimeoutSeconds":5,"States":{"T":{"Type":"Task","TimeoutSeconds":5,
    "Resource":"arn:aws:lambda:us-east-1:000000000000:function:f","End":true}}}"#;

fn fresh(machine: &StateMachine) -> Execution {
    let identity = Arc::new(MachineIdentity::local("m", MachineType::Express));
    let mut execution = Execution::new();
    let start = Start {
        input: b"{}",
        machine: &identity,
        name: None,
        invocation: Invocation::Synchronous,
        now: Timestamp::default(),
        seed: 1,
    };
    execution
        .start(machine.program(), &start, &mut NoEvents)
        .unwrap();
    execution
}

fn started(machine: &StateMachine) -> (Execution, FrameHandle) {
    let mut execution = fresh(machine);
    match execution.step(machine.program(), Timestamp::default(), &mut NoEvents) {
        Yield::Task(frame) => (execution, frame),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_after_a_stop_is_stale() {
    let machine = StateMachine::compile(TASK).unwrap();
    let (mut execution, frame) = started(&machine);
    let now = Timestamp::default();
    execution.stop(
        machine.program(),
        Failure::new("Stop", ""),
        now,
        &mut NoEvents,
    );
    let failure = Failure::new("Late", "");
    let answer = Completion::Failed(&failure);
    assert_eq!(
        execution.complete(machine.program(), frame, answer, now, &mut NoEvents),
        Err(Stale)
    );
    assert_eq!(execution.status(), Status::Aborted);
}

#[test]
fn the_machines_timeout_comes_before_that_of_its_task() {
    let machine = StateMachine::compile(TASK).unwrap();
    let (mut execution, _) = started(&machine);
    let now = Timestamp::from_millis(5_000);
    execution.step(machine.program(), now, &mut NoEvents);
    assert_eq!(execution.status(), Status::TimedOut);
}

/// States, one of which is the end that a case wants to see.
const STATES: &str = r#"
    "Late":{"Type":"Fail","Error":"Late"},
    "Done":{"Type":"Succeed"},
    "Again":{"Type":"Wait","Seconds":1,"Next":"Done"},
    "Spin":{"Type":"Choice","Choices":[{"Variable":"$","IsPresent":true,"Next":"Spin"}],"Default":"Done"},
    "Call":{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:000000000000:function:f","Next":"Done"}"#;

/// A machine with ten seconds that begins with `first`.
fn within_ten_seconds(first: &str) -> StateMachine {
    let text = format!(
        r#"{{"StartAt":"First","TimeoutSeconds":10,"States":{{"First":{first},{STATES}}}}}"#
    );
    // What no path leads to is an error.
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    loop {
        let states = value["States"].as_object().unwrap();
        let others = |name: &str| {
            let mut others = states.iter().filter(|(other, _)| *other != name);
            others.any(|(_, state)| state.to_string().contains(&format!("\"{name}\"")))
        };
        let name = states.keys().find(|name| *name != "First" && !others(name));
        let Some(name) = name.cloned() else { break };
        value["States"].as_object_mut().unwrap().remove(&name);
    }
    StateMachine::compile(&value.to_string()).unwrap()
}

/// Runs until the execution parks or ends, tasks never being answered; the events' types.
fn step(
    execution: &mut Execution,
    machine: &StateMachine,
    millis: i64,
    fuel: u32,
    types: &mut Vec<&'static str>,
) {
    loop {
        execution.refuel(fuel);
        let mut observer =
            EachEvent(|event: &HistoryEvent<'_>| types.push(event.details.event_type().as_str()));
        let now = Timestamp::from_millis(millis);
        match execution.step(machine.program(), now, &mut observer) {
            Yield::Done | Yield::Parked(_) => return,
            Yield::Task(_) | Yield::OutOfFuel => {}
        }
    }
}

/// The status, the error and the events of an execution that has a turn at its start and then one at `millis`.
fn late(
    machine: &StateMachine,
    millis: i64,
    fuel: u32,
) -> (Status, Option<String>, Vec<&'static str>) {
    let mut execution = fresh(machine);
    let mut types = Vec::new();
    step(&mut execution, machine, 0, fuel, &mut types);
    assert_eq!(execution.status(), Status::Running);
    step(&mut execution, machine, millis, fuel, &mut types);
    let outcome = execution.outcome().unwrap();
    let error = outcome
        .failure()
        .map(|failure| failure.error_name().to_owned());
    (outcome.status(), error, types)
}

#[test]
fn what_fell_due_before_the_deadline_happens_before_it() {
    let task = |more: &str| {
        format!(
            r#"{{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:000000000000:function:f","Next":"Done",{more}}}"#
        )
    };
    let catch =
        |next: &str| format!(r#""Catch":[{{"ErrorEquals":["States.ALL"],"Next":"{next}"}}]"#);
    let wait = |next: &str| format!(r#"{{"Type":"Wait","Seconds":5,"Next":"{next}"}}"#);
    let timed_out = (Status::TimedOut, "ExecutionTimedOut");
    for (first, (status, last)) in [
        (wait("Done"), (Status::Succeeded, "ExecutionSucceeded")),
        (wait("Late"), (Status::Failed, "ExecutionFailed")),
        (
            task(r#""TimeoutSeconds":5"#),
            (Status::Failed, "ExecutionFailed"),
        ),
        (
            task(&format!(r#""TimeoutSeconds":5,{}"#, catch("Done"))),
            (Status::Succeeded, "ExecutionSucceeded"),
        ),
        (
            task(&format!(
                r#""TimeoutSeconds":60,"HeartbeatSeconds":5,{}"#,
                catch("Late")
            )),
            (Status::Failed, "ExecutionFailed"),
        ),
        // What would take time has none left.
        (wait("Again"), timed_out),
        (wait("Spin"), timed_out),
        (wait("Call"), timed_out),
        (
            task(r#""TimeoutSeconds":5,"Retry":[{"ErrorEquals":["States.ALL"]}]"#),
            timed_out,
        ),
        (
            task(&format!(r#""TimeoutSeconds":5,{}"#, catch("Again"))),
            timed_out,
        ),
        // What falls due later does not happen at all.
        (
            r#"{"Type":"Wait","Seconds":10,"Next":"Done"}"#.to_owned(),
            timed_out,
        ),
        (
            task(&format!(r#""TimeoutSeconds":11,{}"#, catch("Done"))),
            timed_out,
        ),
    ] {
        let machine = within_ten_seconds(&first);
        let (ended, _, types) = late(&machine, 20_000, 10_000);
        assert_eq!((ended, types.last()), (status, Some(&last)), "{first}");
        let calls = types
            .iter()
            .filter(|name| **name == "LambdaFunctionScheduled");
        assert_eq!(
            calls.count(),
            usize::from(first.contains("Task")),
            "{first}"
        );
        // How long turns are makes no difference.
        assert_eq!(late(&machine, 20_000, 1).2, types, "{first}");
    }
}

#[test]
fn what_falls_due_first_has_its_effects_first() {
    let first = r#"{"Type":"Parallel","Next":"Done","Branches":[
        {"StartAt":"B","States":{"B":{"Type":"Task","End":true,"TimeoutSeconds":7,
            "Resource":"arn:aws:lambda:us-east-1:000000000000:function:f"}}},
        {"StartAt":"C","States":{"C":{"Type":"Wait","Seconds":6,"Next":"D"},"D":{"Type":"Fail","Error":"Six"}}},
        {"StartAt":"A","States":{"A":{"Type":"Wait","Seconds":5,"Next":"E"},"E":{"Type":"Fail","Error":"Five"}}}]}"#;
    let machine = within_ten_seconds(first);
    for millis in [5_000, 8_000, 20_000] {
        let (status, error, _) = late(&machine, millis, 10_000);
        assert_eq!(
            (status, error.as_deref()),
            (Status::Failed, Some("Five")),
            "{millis}"
        );
    }
}

#[test]
fn an_answer_after_the_deadline_comes_too_late() {
    for (machine, status) in [
        (StateMachine::compile(TASK).unwrap(), Status::TimedOut),
        (
            within_ten_seconds(
                r#"{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:000000000000:function:f","TimeoutSeconds":5,
                "Catch":[{"ErrorEquals":["States.Timeout"],"Next":"Done"}],"Next":"Late"}"#,
            ),
            Status::Succeeded,
        ),
    ] {
        for answer in [
            Completion::Succeeded(b"1"),
            Completion::Failed(&Failure::new("Late", "")),
            Completion::Heartbeat,
        ] {
            let (mut execution, frame) = started(&machine);
            let now = Timestamp::from_millis(20_000);
            assert!(execution.is_overdue(frame, now));
            let taken = execution.complete(machine.program(), frame, answer, now, &mut NoEvents);
            assert_eq!((taken, execution.status()), (Err(Stale), status));
        }
    }
}

/// As one who looks late finds it: the answer lies there, and the timeout has fallen due before it came.
#[test]
fn an_answer_after_the_timeout_comes_too_late() {
    for more in [
        r#""TimeoutSeconds":5"#,
        r#""TimeoutSeconds":60,"HeartbeatSeconds":5"#,
    ] {
        let machine = within_ten_seconds(&format!(
            r#"{{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:000000000000:function:f",{more},
            "Catch":[{{"ErrorEquals":["States.Timeout"],"Next":"Done"}}],"Next":"Late"}}"#
        ));
        for answer in [
            Completion::Succeeded(b"1"),
            Completion::Failed(&Failure::new("Late", "")),
            Completion::Heartbeat,
        ] {
            let (mut execution, frame) = started(&machine);
            let now = Timestamp::from_millis(5_000);
            let taken = execution.complete(machine.program(), frame, answer, now, &mut NoEvents);
            assert_eq!((taken, execution.status()), (Err(Stale), Status::Running));
            let yielded = execution.step(machine.program(), now, &mut NoEvents);
            assert_eq!(yielded, Yield::Done, "{more}");
            assert_eq!(execution.status(), Status::Succeeded, "{more}");
        }
        // A moment before, it is in time.
        let (mut execution, frame) = started(&machine);
        let (now, answer) = (Timestamp::from_millis(4_999), Completion::Succeeded(b"1"));
        let taken = execution.complete(machine.program(), frame, answer, now, &mut NoEvents);
        assert_eq!(taken, Ok(()));
    }
}

/// Calls a task that has a timeout, again and again, without time passing.
#[test]
fn timeouts_that_do_not_come_to_pass_take_no_memory() {
    let machine = StateMachine::compile(
        r#"{"StartAt":"T","States":{
            "T":{"Type":"Task","TimeoutSeconds":5,"Resource":"arn:aws:lambda:us-east-1:000000000000:function:f","Next":"C"},
            "C":{"Type":"Choice","Choices":[{"Variable":"$","BooleanEquals":true,"Next":"E"}],"Default":"T"},
            "E":{"Type":"Succeed"}}}"#,
    )
    .unwrap();
    let (mut execution, mut frame) = started(&machine);
    let program = machine.program();
    for _ in 0..10_000 {
        let answer = Completion::Succeeded(b"{}");
        execution
            .complete(program, frame, answer, Timestamp::default(), &mut NoEvents)
            .unwrap();
        execution.refuel(10);
        match execution.step(program, Timestamp::default(), &mut NoEvents) {
            Yield::Task(next) => frame = next,
            other => panic!("{other:?}"),
        }
    }
    let timers = format!("{execution:?}").matches("Timer {").count();
    assert!(timers <= 256, "{timers}");
}
