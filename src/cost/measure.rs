//! Running a machine on events, to learn what AWS would bill of each execution.
//!
//! Waits and retries take virtual time, so that a sample of a day takes no day. Tasks answer from mocks, at once: how long
//! they take on AWS is the caller's to say.

use std::io::{self, BufRead, Read as _};

use super::bill::Execution;
use super::{CostError, Prices};
use crate::asl::{self, MachineType, Next, Scope, Severity, StateKind};
use crate::engine::{EVENT_BYTES_MAX, Engine, StartRequest, StateMachine, TimeMode};
use crate::history::{Details, EachEvent, HistoryEvent};
use crate::interp::Status;
use crate::stdx::FixedMap;
use crate::task::TaskRegistry;
use crate::value::{Val, Values};

/// Most events that are run: more would tell nothing new.
pub const EVENTS_MAX: usize = 100_000;

/// What an execution did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Measured {
    /// States entered, and retries.
    pub transitions: u64,
    /// Time of waits, and of those between retries.
    pub waited_ms: u64,
    /// Calls of tasks, each attempt one.
    pub calls: u64,
    /// Those of them within a Map or a Parallel, which may overlap with others.
    pub joined_calls: u64,
    /// Bytes of the largest input or output.
    pub payload_bytes: u64,
    /// Iterations of Maps and branches of Parallels.
    pub steps: u64,
}

impl Measured {
    /// What AWS would bill of it at most, if each call of a task takes `task_ms`: calls within a Map or a Parallel overlap there,
    /// and here they come one after the other. At least it takes as long as the others do.
    #[must_use]
    pub fn billed(&self, prices: &Prices, definition_bytes: u64, task_ms: u64) -> Execution {
        let with = |calls: u64| self.waited_ms.saturating_add(calls.saturating_mul(task_ms));
        Execution {
            transitions: self.transitions,
            duration_ms: with(self.calls),
            least_ms: with(self.calls.saturating_sub(self.joined_calls)),
            memory_bytes: prices.memory_bytes(definition_bytes, self.payload_bytes, self.steps),
        }
    }
}

/// What EXPRESS refuses in a definition that is valid as STANDARD.
#[must_use]
pub fn not_express(definition: &str) -> Option<String> {
    let diagnostics = asl::read(definition, MachineType::Express).diagnostics;
    let error = diagnostics.iter().find(|d| d.severity == Severity::Error)?;
    Some(format!("{}: {}", error.pointer, error.message.trim_end()))
}

/// What executions did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sample {
    /// Each of them.
    pub executions: Vec<Measured>,
    /// How many of them did not succeed. They are billed all the same.
    pub failed: usize,
    /// Why the first of those did not.
    pub first_failure: Option<String>,
    /// Whether there were more events than [`EVENTS_MAX`].
    pub is_cut: bool,
}

/// Runs `machine` once for each line of `events`.
///
/// # Errors
///
/// If the events cannot be read, if a line is no event, or if there are none.
pub fn measure(
    machine: &StateMachine,
    definition: &str,
    tasks: TaskRegistry,
    events: &mut dyn BufRead,
) -> Result<Sample, CostError> {
    let engine = Engine::builder()
        .tasks(tasks)
        .time(TimeMode::Virtual)
        .build();
    let engine = engine.map_err(|error| CostError::new(error.to_string()))?;
    let mut shape = Shape::of(definition);
    let mut sample = Sample::default();
    let mut line = Vec::new();
    let mut retries = 0;
    for number in 1_usize.. {
        line.clear();
        match read_line(events, &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                return Err(CostError::new(format!(
                    "line {number}: failed to read events: {error}"
                )));
            }
        }
        let event = line.trim_ascii();
        if event.is_empty() {
            continue;
        }
        if sample.executions.len() == EVENTS_MAX {
            sample.is_cut = true;
            break;
        }
        let mut measured = Measured::default();
        let mut observer =
            EachEvent(|event: &HistoryEvent<'_>| observe(&mut measured, &mut shape, event));
        let result = engine
            .run_with(machine, StartRequest::new(event), &mut observer)
            .map_err(|error| CostError::new(format!("line {number}: {error}")))?;
        // Counted for all executions; there is one at a time.
        let snapshot = engine.metrics().snapshot();
        let all_retries = snapshot
            .number("quickstep_retries_total", &[machine.name()])
            .unwrap_or(0);
        measured.transitions = result.transitions + (all_retries - retries);
        retries = all_retries;
        measured.waited_ms = u64::try_from(result.skipped.as_millis()).unwrap_or(u64::MAX);
        if result.status != Status::Succeeded {
            sample.failed += 1;
            let failure = result.failure.as_ref();
            sample.first_failure.get_or_insert_with(|| {
                format!(
                    "line {number}: {}",
                    failure.map_or_else(String::new, ToString::to_string)
                )
            });
        }
        sample.executions.push(measured);
    }
    if sample.executions.is_empty() {
        return Err(CostError::new(
            "there are no events: one JSON value a line is wanted",
        ));
    }
    Ok(sample)
}

/// A line, but no more of it than shows that it is too long.
fn read_line(events: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    let bound = EVENT_BYTES_MAX as u64 + 2;
    let count = events.take(bound).read_until(b'\n', line)?;
    if count as u64 == bound && line.last() != Some(&b'\n') {
        let message = format!("it has more than {EVENT_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(count)
}

fn observe(measured: &mut Measured, shape: &mut Shape, event: &HistoryEvent<'_>) {
    let mut data = |values: Values<'_>, val: Val| {
        measured.payload_bytes = measured.payload_bytes.max(values.size(val) as u64);
    };
    match event.details {
        Details::ExecutionStarted { input, .. } => data(event.values, input),
        Details::StateEntered { name, input, .. } => {
            data(event.values, input);
            measured.steps += shape.branches.get(name).copied().unwrap_or(0);
            if let Some(is_join) = shape.outermost.get(name) {
                shape.is_joined = *is_join;
            }
        }
        Details::StateExited { output, .. } => data(event.values, output),
        Details::MapIterationStarted { .. } => measured.steps += 1,
        Details::LambdaFunctionScheduled { .. }
        | Details::ActivityScheduled { .. }
        | Details::TaskScheduled { .. } => {
            measured.calls += 1;
            measured.joined_calls += u64::from(shape.is_joined);
        }
        _ => {}
    }
}

/// What has to be known of a definition, and where in it an execution is.
#[derive(Default)]
struct Shape {
    /// How many branches each Parallel has, by its name.
    branches: FixedMap<String, u64>,
    /// The states of the outermost scope, one of which an execution is in: whether it is a Map or a Parallel.
    outermost: FixedMap<String, bool>,
    /// Whether the last of these that was entered is.
    is_joined: bool,
}

impl Shape {
    fn of(definition: &str) -> Shape {
        let mut shape = Shape::default();
        let Some(definition) = asl::read(definition, MachineType::Standard).definition else {
            return shape;
        };
        for state in &definition.scope.states {
            let is_join = matches!(state.kind, StateKind::Map(_) | StateKind::Parallel(_));
            shape.outermost.insert(state.name.clone(), is_join);
        }
        let mut scopes = vec![&definition.scope];
        while let Some(scope) = scopes.pop() {
            for state in &scope.states {
                match &state.kind {
                    StateKind::Parallel(parallel) => {
                        let count = parallel.branches.len() as u64;
                        shape.branches.insert(state.name.clone(), count);
                        scopes.extend(&parallel.branches);
                    }
                    StateKind::Map(map) => scopes.push(&map.processor),
                    _ => {}
                }
            }
        }
        shape
    }
}

/// The transitions of an execution that nothing goes wrong in, if they are the same for every input: without a Choice, a
/// Map or a Fail on the way.
///
/// # Errors
///
/// The name of the state that they depend on.
pub fn fixed_transitions(scope: &Scope) -> Result<u64, String> {
    let mut count = 0_u64;
    let mut name = &scope.start_at;
    // Without a Choice no state comes twice, unless the machine never ends.
    for _ in 0..scope.states.len() {
        let Some(state) = scope.states.iter().find(|state| state.name == *name) else {
            return Err(name.clone());
        };
        count += 1;
        match &state.kind {
            StateKind::Choice(_) | StateKind::Map(_) => return Err(name.clone()),
            StateKind::Parallel(parallel) => {
                for branch in &parallel.branches {
                    count += fixed_transitions(branch)?;
                }
            }
            StateKind::Succeed | StateKind::Fail(_) => return Ok(count),
            StateKind::Pass(_) | StateKind::Task(_) | StateKind::Wait(_) => {}
        }
        match &state.next {
            Next::State(next) => name = next,
            Next::End => return Ok(count),
        }
    }
    Err(name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Failure;
    use crate::task::TaskRequest;

    const BUSY: &str = r#"{"StartAt": "Wait", "States": {
        "Wait": {"Type": "Wait", "Seconds": 2, "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:ask", "Next": "Both",
            "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 3, "MaxAttempts": 2}]},
        "Both": {"Type": "Parallel", "End": true, "Branches": [
            {"StartAt": "B1", "States": {"B1": {"Type": "Pass", "End": true}}},
            {"StartAt": "B2", "States": {"B2": {"Type": "Pass", "Next": "B3"}, "B3": {"Type": "Succeed"}}}]}}}"#;

    const EACH: &str = r#"{"StartAt": "Each", "States": {
        "Each": {"Type": "Map", "ItemsPath": "$.items", "End": true,
            "ItemProcessor": {"StartAt": "One", "States": {"One": {"Type": "Pass", "End": true}}}}}}"#;

    fn tasks() -> TaskRegistry {
        let mut tasks = TaskRegistry::new();
        tasks.register(
            "arn:aws:lambda:*:function:ask",
            |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
                let busy: u32 = request.input_json().parse().unwrap_or(0);
                if request.attempt() < busy {
                    return Err(Failure::new("Busy", "later"));
                }
                response.extend_from_slice(b"\"done\"");
                Ok(())
            },
        );
        tasks
    }

    fn measured(definition: &str, events: &str) -> Result<Sample, CostError> {
        let machine = StateMachine::compile(definition).unwrap();
        measure(&machine, definition, tasks(), &mut events.as_bytes())
    }

    #[test]
    fn executions_are_measured() {
        let sample = measured(BUSY, "0\n\n1\n3\n").unwrap();
        let of = |transitions, waited_ms, calls, payload_bytes, steps| Measured {
            transitions,
            waited_ms,
            calls,
            joined_calls: 0,
            payload_bytes,
            steps,
        };
        // The output of two branches is ["done","done"]. The third event fails after two retries, before the Parallel.
        assert_eq!(
            sample.executions,
            [
                of(6, 2_000, 1, 15, 2),
                of(7, 5_000, 2, 15, 2),
                of(4, 11_000, 3, 1, 0)
            ]
        );
        assert_eq!(sample.failed, 1);
        assert_eq!(sample.first_failure.as_deref(), Some("line 4: Busy: later"));
        let sample = measured(EACH, r#"{"items": [1, 2, 3]}"#).unwrap();
        assert_eq!(sample.executions, [of(4, 0, 0, 17, 3)]);
    }

    #[test]
    fn calls_that_may_overlap_are_told_apart() {
        let ask = |rest: &str| {
            let resource = "arn:aws:lambda:us-east-1:000000000000:function:ask";
            format!(r#"{{"Type": "Task", "Resource": "{resource}", "ResultPath": null, {rest}}}"#)
        };
        let definition = format!(
            r#"{{"StartAt": "First", "States": {{
                "First": {first},
                "Each": {{"Type": "Map", "ItemsPath": "$.items", "ResultPath": null, "Next": "Last",
                    "ItemProcessor": {{"StartAt": "One", "States": {{"One": {one}}}}}}},
                "Last": {last}}}}}"#,
            first = ask(r#""Next": "Each""#),
            one = ask(
                r#""End": true, "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 3}]"#
            ),
            last = ask(r#""End": true"#),
        );
        // An item is how often it fails before it succeeds. Retries of different items wait at the same time.
        let sample = measured(&definition, r#"{"items": [0, 1, 1]}"#).unwrap();
        let found = sample.executions[0];
        assert_eq!(sample.failed, 0, "{:?}", sample.first_failure);
        assert_eq!(
            (found.calls, found.joined_calls, found.waited_ms),
            (7, 5, 1_000)
        );
        let billed = found.billed(&Prices::built_in(), 0, 100);
        assert_eq!((billed.least_ms, billed.duration_ms), (1_200, 1_700));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for (events, expected) in [
            ("", "there are no events"),
            ("\n \n", "there are no events"),
            ("1\n{]\n", "line 2: "),
        ] {
            let error = measured(EACH, events).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let long = " ".repeat(EVENT_BYTES_MAX + 3);
        let error = measured(EACH, &long).unwrap_err().to_string();
        assert!(error.contains("more than"), "{error}");
    }

    #[test]
    fn transitions_of_plain_machines_are_known() {
        let fixed = |text: &str| {
            let definition = asl::read(text, MachineType::Standard).definition.unwrap();
            fixed_transitions(&definition.scope)
        };
        assert_eq!(fixed(BUSY), Ok(6));
        assert_eq!(fixed(EACH), Err("Each".to_owned()));
        let choice = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"},
            "B": {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": true, "Next": "A"}], "Default": "C"},
            "C": {"Type": "Succeed"}}}"#;
        assert_eq!(fixed(choice), Err("B".to_owned()));
    }
}
