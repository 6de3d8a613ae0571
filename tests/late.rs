//! Completions and timers that come when the execution has ended.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::sync::Arc;

use quickstep::StateMachine;
use quickstep::asl::MachineType;
use quickstep::history::{Failure, NoEvents};
use quickstep::interp::{
    Completion, Execution, FrameHandle, Invocation, MachineIdentity, Stale, Start, Status, Yield,
};
use quickstep::stdx::Timestamp;

const TASK: &str = r#"{"StartAt":"T","TimeoutSeconds":5,"States":{"T":{"Type":"Task","TimeoutSeconds":5,
    "Resource":"arn:aws:lambda:us-east-1:000000000000:function:f","End":true}}}"#;

fn started(machine: &StateMachine) -> (Execution, FrameHandle) {
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
