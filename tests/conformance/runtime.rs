//! A case once more, on the runtime: the engine's workers without threads, on a clock that the test moves.
//!
//! The interpreter has run the case before; what its tasks were told then, and when, they are told again, by their tokens.
//! The ending must be the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quickstep::engine::{Clock, Engine, ExecutionResult, Simulation, StartRequest};
use quickstep::history::Failure;
use quickstep::stdx::Timestamp;
use quickstep::task::{TaskAnswer, TaskRequest, TaskToken};
use quickstep::{StateMachine, asl::MachineType};

use super::machine::Ending;

/// More than any case takes.
const STEPS_MAX: usize = 20_000;

/// What the tasks of a case were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) tasks: Vec<ScriptTask>,
    pub(crate) steps: Vec<Step>,
}

/// One task that was yielded.
#[derive(Clone, Debug)]
pub(crate) struct ScriptTask {
    pub(crate) state: String,
    pub(crate) input: String,
    pub(crate) submitted: Option<Vec<u8>>,
    /// Its token in this run.
    pub(crate) token: Option<TaskToken>,
}

/// Something that happened from outside.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Answer(usize, TaskAnswer),
    Stop(Failure),
}

/// Time that is where it was put.
#[derive(Debug)]
struct ManualClock {
    start: Timestamp,
    nanos: AtomicU64,
}

impl Clock for ManualClock {
    fn nanos(&self) -> u64 {
        self.nanos.load(Ordering::SeqCst)
    }

    fn timestamp(&self) -> Timestamp {
        let passed = self.nanos() / 1_000_000;
        self.start.plus_millis(passed.cast_signed())
    }
}

impl ManualClock {
    fn nanos_at(&self, at: Timestamp) -> u64 {
        (at.millis() - self.start.millis()).max(0).unsigned_abs() * 1_000_000
    }

    fn put_forward(&self, nanos: u64) {
        self.nanos.fetch_max(nanos, Ordering::SeqCst);
    }
}

/// What a case is run with.
pub(crate) struct Subject<'a> {
    /// The name of the machine.
    pub(crate) name: &'a str,
    pub(crate) definition: &'a str,
    pub(crate) machine_type: MachineType,
    pub(crate) input: &'a str,
    pub(crate) start: Timestamp,
    pub(crate) script: &'a Script,
    pub(crate) ending: &'a Ending,
}

/// The seed that an engine with the seed 42 gives its first execution.
pub(crate) const SEED: u64 = 0x8108_7960_8E42_59CC;

/// Runs a case with one worker and with four.
pub(crate) fn check(subject: &Subject<'_>) -> Result<(), String> {
    let builder = StateMachine::builder().machine_type(subject.machine_type);
    // What the engine refuses to run is not run.
    let Ok(machine) = builder.name(subject.name).compile(subject.definition) else {
        return Ok(());
    };
    for workers in [1, 4] {
        let found = run(subject, &machine, workers)
            .map_err(|error| format!("on the runtime with {workers} workers: {error}"))?;
        let (ours, expected) = (plain(&found), plain(subject.ending));
        if ours != expected {
            return Err(format!(
                "on the runtime with {workers} workers:\n    interpreter: {expected}\n    runtime:     {ours}"
            ));
        }
    }
    Ok(())
}

fn run(subject: &Subject<'_>, machine: &StateMachine, workers: usize) -> Result<Ending, String> {
    let clock = Arc::new(ManualClock {
        start: subject.start,
        nanos: AtomicU64::new(0),
    });
    let script = Arc::new(Mutex::new(subject.script.clone()));
    let called = Arc::clone(&script);
    let (engine, mut simulation) = Engine::builder()
        .workers(workers)
        .seed(42)
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .task_callback(
            "*",
            move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
                hand_on(&called, request, response)
            },
        )
        .build_simulated()
        .map_err(|error| error.to_string())?;
    let handle = engine
        .start(machine, StartRequest::new(subject.input.as_bytes()))
        .map_err(|error| error.to_string())?;
    let mut steps = subject.script.steps.iter();
    let mut next = steps.next();
    for _ in 0..STEPS_MAX {
        if !simulation.run_until_idle(STEPS_MAX) {
            return Err("does not come to rest".to_owned());
        }
        if let Some(result) = handle.result() {
            let result = result.map_err(|error| error.to_string())?;
            assert_eq!(engine.in_flight(), 0);
            return Ok(ending(&result));
        }
        let timer = simulation.next_timer();
        match next {
            Some(step) if is_due(step, &script, &clock, &simulation) => {
                clock.put_forward(clock.nanos_at(step.at));
                match &step.what {
                    What::Stop(failure) => {
                        handle.stop(failure.error.as_deref(), failure.cause.as_deref());
                    }
                    What::Answer(task, answer) => {
                        let token = lock(&script).tasks[*task].token.clone();
                        let token = token.ok_or("it was looked for")?;
                        engine
                            .complete(&token, answer.clone())
                            .map_err(|error| error.to_string())?;
                    }
                }
                next = steps.next();
            }
            _ => match timer {
                Some(timer) => clock.put_forward(timer),
                None => return Err("waits for nothing".to_owned()),
            },
        }
    }
    Err(format!("did not end in {STEPS_MAX} steps"))
}

/// True if a step is the next thing that happens.
fn is_due(
    step: &Step,
    script: &Mutex<Script>,
    clock: &ManualClock,
    simulation: &Simulation,
) -> bool {
    let is_possible = match &step.what {
        What::Stop(_) => true,
        What::Answer(task, _) => lock(script).tasks[*task].token.is_some(),
    };
    let at = clock.nanos_at(step.at);
    is_possible && simulation.next_timer().is_none_or(|timer| at <= timer)
}

fn lock(script: &Mutex<Script>) -> std::sync::MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task is called: it is the next one of the script with that state and input.
fn hand_on(
    script: &Mutex<Script>,
    request: &TaskRequest<'_>,
    response: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut script = lock(script);
    let input = plain_text(&request.input_json());
    let found = script.tasks.iter_mut().find(|task| {
        task.token.is_none() && task.state == request.state() && plain_text(&task.input) == input
    });
    let Some(task) = found else {
        return Err(Failure::new(
            "Unexpected",
            format!("{}: {input}", request.state()),
        ));
    };
    task.token = Some(request.token());
    response.extend_from_slice(task.submitted.as_deref().unwrap_or(b"{}"));
    Ok(())
}

fn ending(result: &ExecutionResult) -> Ending {
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    Ending {
        status: result.status.as_str(),
        output: result.output.clone(),
        error: result
            .failure
            .as_ref()
            .and_then(|failure| text(&failure.error)),
        cause: result
            .failure
            .as_ref()
            .and_then(|failure| text(&failure.cause)),
    }
}

/// An ending without what differs between two runs: names, tokens, accounts, numbers of events.
fn plain(ending: &Ending) -> String {
    plain_text(&format!("{ending:?}"))
}

fn plain_text(text: &str) -> String {
    let text = text.replace("111111111111", "000000000000");
    let text = text.replace("role/conformance", "role/quickstep");
    // Who is waited for has no redrives; here nobody is.
    let text = text.replace(r#",\"RedriveCount\":0"#, "");
    let mut plain = String::new();
    // Words of hexadecimal digits that are as long as a UUID or a token, and what follows `#`.
    for word in text.split_inclusive(|c: char| !(c.is_ascii_hexdigit() || c == '-')) {
        let end = word.trim_end_matches(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
        let is_number = plain.ends_with('#') && end.bytes().all(|b| b.is_ascii_digit());
        if end.len() == 36 || end.len() == 64 || is_number {
            plain.push('~');
            plain.push_str(&word[end.len()..]);
        } else {
            plain.push_str(word);
        }
    }
    plain
}
