//! A machine around one state, and its run.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::super::super::app::App;
use super::super::super::error::ApiError;
use super::expression;
use super::request::{Mock, StateFields, Test, quoted, text};
use crate::asl::{self, MachineType};
use crate::compile::compile;
use crate::history::{Details, EachEvent, Failure, HistoryEvent};
use crate::interp::{
    Completion, Execution, Invocation, MachineIdentity, Outcome, Start, StartError, Yield,
};
use crate::program::Program;
use crate::stdx::Timestamp;

/// Sets the variables before the state under test.
const PRELUDE: &str = "StateBeforeTheTest";

/// Leads to the state under test, or to an end that is never reached.
const GATE: &str = "StateOnTheWayToTheTest";
const END: &str = "StateNeverReached";

/// The variable that stands for `$$` if the request says what it is.
const CONTEXT: &str = "contextObjectOfTheTest";

/// What AWS calls the state under test in the context object, whatever its name is.
const STATE_NAME: &str = "StateName";

/// Steps of a run, beside its retries.
const STEPS_MAX: u32 = 16;

/// How the run of the state ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// It was left.
    Left {
        output: String,
        next: Option<String>,
    },
    Failed,
    /// It would be tried again after so many milliseconds.
    Retried {
        after_ms: i64,
    },
}

/// What came of a run.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    pub(super) ending: Ending,
    /// What the state failed with, though it may have been caught.
    pub(super) failure: Option<Failure>,
    /// Variables that it set, and their JSON.
    pub(super) assigned: Vec<(String, String)>,
}

impl Ran {
    /// The variables after the state as one JSON object: those that were given, and those that it set. Nothing if there
    /// are none.
    pub(super) fn variables(&self, given: Option<&str>) -> Option<String> {
        let given: StateFields = serde_json::from_str(given.unwrap_or("{}")).unwrap_or_default();
        let is_set = |name: &str| self.assigned.iter().any(|(set, _)| set == name);
        let kept = given.iter().filter(|(name, _)| !is_set(name));
        let kept = kept.map(|(name, json)| (name, json.get()));
        let set = self.assigned.iter().map(|(name, json)| (name, &**json));
        let members: Vec<String> = kept
            .chain(set)
            .map(|(name, json)| format!("{}:{json}", quoted(name)))
            .collect();
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }
}

/// Fields of a Map that are evaluated before its first iteration, if it is in JSONata.
const BEFORE_ITEMS: &[&str] = &[
    "Items",
    "MaxConcurrency",
    "ToleratedFailureCount",
    "ToleratedFailurePercentage",
];

/// The state as something that runs: a Map or a Parallel, whose work is mocked, as a Task. What a Map in JSONata
/// evaluates before its items are the Task's arguments, so that they fail, are tried again and are caught as the Map's.
pub(super) fn runnable(state: &StateFields, kind: &str) -> StateFields {
    let mut state = state.clone();
    if kind == "Map" || kind == "Parallel" {
        let of_both = [
            "Assign",
            "Catch",
            "End",
            "InputPath",
            "Next",
            "Output",
            "OutputPath",
            "QueryLanguage",
            "ResultPath",
            "ResultSelector",
            "Retry",
        ];
        let evaluated: Vec<String> = BEFORE_ITEMS
            .iter()
            .filter_map(|name| Some(format!("\"{name}\":{}", state.get(*name)?.get())))
            .filter(|field| kind == "Map" && field.contains(":\"{%"))
            .collect();
        let of_parallel = ["Arguments", "Parameters"];
        state.retain(|name, _| {
            of_both.contains(&&**name) || (kind == "Parallel" && of_parallel.contains(&&**name))
        });
        if !evaluated.is_empty() {
            set(
                &mut state,
                "Arguments",
                &format!("{{{}}}", evaluated.join(",")),
            );
        }
        set(&mut state, "Type", "\"Task\"");
        let function = "\"arn:aws:lambda:us-east-1:123456789012:function:mocked\"";
        set(&mut state, "Resource", function);
    }
    state
}

/// Gives a field a value, which is JSON.
pub(super) fn set(state: &mut StateFields, name: &str, json: &str) {
    if let Ok(raw) = RawValue::from_string(json.to_owned()) {
        state.insert(name.to_owned(), raw);
    }
}

/// The states that a state may lead to.
pub(super) fn targets(state: &StateFields) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in ["Next", "Default"] {
        found.extend(state.get(name).and_then(|raw| text(raw)));
    }
    for name in ["Choices", "Catch"] {
        let Some(raw) = state.get(name) else { continue };
        let elements: Vec<StateFields> = serde_json::from_str(raw.get()).unwrap_or_default();
        for element in &elements {
            found.extend(element.get("Next").and_then(|raw| text(raw)));
        }
    }
    found
}

/// What all runs of a test have in common.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    app: &'a App,
    pub(super) test: &'a Test<'a>,
    /// When the state is entered.
    now: Timestamp,
    /// Names of the machine and of the execution.
    ids: [String; 2],
}

/// What the events say.
#[derive(Debug, Default)]
struct Seen {
    /// What an expression of the state failed with.
    failure: Option<Failure>,
    output: Option<String>,
    next: Option<String>,
    assigned: Vec<(String, String)>,
}

impl Seen {
    fn event(&mut self, name: &str, event: &HistoryEvent<'_>) {
        match event.details {
            Details::StateExited {
                name: exited,
                output,
                assigned,
                ..
            } if exited == name && self.output.is_none() => {
                self.output = Some(event.values.to_json(output));
                self.assigned = assigned
                    .iter()
                    .map(|&(name, val)| (name.to_owned(), event.values.to_json(val)))
                    .collect();
            }
            Details::EvaluationFailed { failure, state, .. } if state == name => {
                let mut failure = failure.clone();
                // Only a state that stands for a Map has arguments of these names.
                let cause = failure.cause.map(|cause| {
                    BEFORE_ITEMS
                        .iter()
                        .fold(cause.into_string(), |cause, field| {
                            cause.replace(&format!("'Arguments/{field}'"), &format!("'{field}'"))
                        })
                });
                failure.cause = cause.map(Into::into);
                self.failure = Some(failure);
            }
            Details::StateEntered { name: entered, .. } if self.output.is_some() => {
                self.next.get_or_insert_with(|| entered.to_owned());
            }
            _ => {}
        }
    }
}

impl<'a> Scene<'a> {
    pub(super) fn new(app: &'a App, test: &'a Test<'a>) -> Scene<'a> {
        Scene {
            app,
            test,
            now: app.now(),
            ids: [app.ids.uuid(), app.ids.uuid()],
        }
    }

    /// The machine around a state.
    fn definition(&self, state: &StateFields, targets: &BTreeSet<String>) -> String {
        let name = self.test.name();
        let mut states = Vec::new();
        let mut start = name;
        if targets.contains(name) {
            // A machine has to have an end, which a state that leads to itself may not have.
            start = GATE;
            states.push(format!(
                "\"{GATE}\":{{\"Type\":\"Choice\",\"Choices\":[{{\"Variable\":\"$$.Never\",\"IsPresent\":true,\
                 \"Next\":\"{END}\"}}],\"Default\":{}}},\"{END}\":{{\"Type\":\"Succeed\"}}",
                quoted(name)
            ));
        }
        let mut variables: Vec<String> = Vec::new();
        if let Some(given) = self.test.variables {
            let given: StateFields = serde_json::from_str(given).unwrap_or_default();
            for (name, json) in &given {
                variables.push(format!("{}:{json}", quoted(name)));
            }
        }
        let is_jsonata = self.test.is_jsonata();
        let mut fields: Vec<String> = state
            .iter()
            .map(|(name, json)| format!("{}:{json}", quoted(name)))
            .collect();
        if is_jsonata && !state.contains_key("QueryLanguage") {
            fields.push("\"QueryLanguage\":\"JSONata\"".to_owned());
        }
        let mut fields = fields.join(",");
        let context = match self.test.context {
            None if is_jsonata && fields.contains("$states") => Some(self.context(state)),
            given => given.map(str::to_owned),
        };
        variables.extend(
            context
                .as_ref()
                .map(|context| format!("\"{CONTEXT}\":{context}")),
        );
        if !variables.is_empty() {
            states.push(format!(
                "\"{PRELUDE}\":{{\"Type\":\"Pass\",\"Assign\":{{{}}},\"Next\":{}}}",
                variables.join(","),
                quoted(start)
            ));
            start = PRELUDE;
        }
        if context.is_some() && is_jsonata {
            fields = expression::with_context(&fields, CONTEXT);
        } else if context.is_some() {
            fields = fields
                .replace("\"$$", &format!("\"${CONTEXT}"))
                .replace("$$.", &format!("${CONTEXT}."));
        }
        states.push(format!("{}:{{{fields}}}", quoted(name)));
        for target in targets.iter().filter(|target| **target != *name) {
            states.push(format!("{}:{{\"Type\":\"Succeed\"}}", quoted(target)));
        }
        format!(
            "{{\"StartAt\":{},\"States\":{{{}}}}}",
            quoted(start),
            states.join(",")
        )
    }

    /// The context object of a test that does not say what it is.
    fn context(&self, state: &StateFields) -> String {
        let App {
            region, account, ..
        } = self.app;
        let [machine, execution] = [0, 1].map(|n| self.ids[n].as_str());
        let role = self.test.role_arn.map_or("null".to_owned(), quoted);
        let kind = state.get("Type").and_then(|raw| text(raw));
        let retries = match kind.as_deref() {
            Some("Task") => format!(",\"RetryCount\":{}", self.test.retry_count),
            _ => String::new(),
        };
        format!(
            "{{\"Execution\":{{\"Id\":\"arn:aws:states:{region}:{account}:express:{machine}:{execution}\",\
             \"Input\":{input},\"StartTime\":\"{now}\",\"Name\":\"{execution}\",\"RoleArn\":{role}}},\
             \"StateMachine\":{{\"Id\":\"arn:aws:states:{region}:{account}:stateMachine:{machine}\",\
             \"Name\":\"{machine}\"}},\
             \"State\":{{\"Name\":\"{STATE_NAME}\",\"EnteredTime\":\"{now}\"{retries}}}}}",
            input = self.test.input,
            now = self.now,
        )
    }

    /// The machine that does the work of a Task, and nothing else.
    pub(super) fn work(&self) -> String {
        let mut state = StateFields::new();
        for name in ["Arguments", "InputPath", "Parameters", "Resource", "Type"] {
            if let Some(json) = self.test.state.get(name) {
                set(&mut state, name, json.get());
            }
        }
        set(&mut state, "End", "true");
        self.definition(&state, &BTreeSet::new())
    }

    /// Runs a state, with the test's mock; what is wrong with the machine around it, if it cannot be run.
    pub(super) fn run(
        &self,
        state: &StateFields,
        targets: &BTreeSet<String>,
    ) -> Result<Result<Ran, String>, ApiError> {
        let reading = asl::read(&self.definition(state, targets), MachineType::Standard);
        let Some(model) = reading.definition else {
            return Ok(Err(asl::aws_message(&reading.diagnostics)));
        };
        let program = compile(&model);
        let identity = Arc::new(MachineIdentity {
            region: self.app.region.clone(),
            account: self.app.account.clone(),
            ..MachineIdentity::local(self.test.name(), MachineType::Standard)
        });
        let mut run = Run {
            program: &program,
            execution: Execution::new(),
            now: self.now,
            seen: Seen::default(),
            name: self.test.name(),
        };
        let start = Start {
            input: self.test.input.as_bytes(),
            machine: &identity,
            name: Some("TestState"),
            invocation: Invocation::Asynchronous,
            now: run.now,
            seed: self.app.ids.seed(),
        };
        let started =
            run.execution
                .start(&program, &start, &mut EachEvent(|_: &HistoryEvent<'_>| {}));
        started.map_err(|error: StartError| {
            let message = format!("Invalid State Machine Execution Input: '{error}'");
            ApiError::new("InvalidExecutionInput", message)
        })?;
        Ok(run.finish(self.test))
    }
}

/// One run.
struct Run<'p> {
    program: &'p Program,
    execution: Execution,
    now: Timestamp,
    seen: Seen,
    name: &'p str,
}

impl Run<'_> {
    fn step(&mut self) -> Yield {
        let (name, seen) = (self.name, &mut self.seen);
        let mut observer = EachEvent(|event: &HistoryEvent<'_>| seen.event(name, event));
        // One state, so that what follows it does not run.
        self.execution.refuel(1);
        self.execution.step(self.program, self.now, &mut observer)
    }

    fn finish(mut self, test: &Test<'_>) -> Result<Ran, String> {
        let mut failure = None;
        let mut retries = 0;
        for _ in 0..STEPS_MAX + test.retry_count {
            let yielded = self.step();
            let left = self.seen.output.is_some();
            failure = self.seen.failure.take().or(failure);
            match yielded {
                Yield::Done => {
                    if let Some(Outcome::Failed(failed) | Outcome::TimedOut(failed)) =
                        self.execution.outcome()
                        && !left
                        && failure.is_none()
                    {
                        failure = Some(failed.clone());
                    }
                    return Ok(self.ran(failure));
                }
                Yield::OutOfFuel if left && self.seen.next.is_some() => {
                    return Ok(self.ran(failure));
                }
                Yield::OutOfFuel => {}
                Yield::Task(frame) => {
                    let completion = match &test.mock {
                        Some(Mock::Result(result)) => Completion::Succeeded(result.as_bytes()),
                        Some(Mock::Error(error)) => {
                            failure = Some(error.clone());
                            Completion::Failed(error)
                        }
                        None => return Err("a Task needs a mock".to_owned()),
                    };
                    let (name, seen) = (self.name, &mut self.seen);
                    let mut observer =
                        EachEvent(|event: &HistoryEvent<'_>| seen.event(name, event));
                    // It was just yielded, and so is not stale.
                    let _ = self.execution.complete(
                        self.program,
                        frame,
                        completion,
                        self.now,
                        &mut observer,
                    );
                }
                Yield::Parked(at) if failure.is_some() && retries == test.retry_count => {
                    let after_ms = at.millis() - self.now.millis();
                    return Ok(Ran {
                        ending: Ending::Retried { after_ms },
                        failure,
                        assigned: Vec::new(),
                    });
                }
                Yield::Parked(at) => {
                    retries += u32::from(failure.is_some());
                    self.now = at;
                }
            }
        }
        Err("the state does not end".to_owned())
    }

    fn ran(self, failure: Option<Failure>) -> Ran {
        let Seen {
            output,
            next,
            assigned,
            ..
        } = self.seen;
        let ending = match output {
            Some(output) => Ending::Left { output, next },
            None => Ending::Failed,
        };
        Ran {
            ending,
            failure,
            assigned,
        }
    }
}
