//! Our own cases: `corpus/cases/<area>/<what it shows>.json`.
//!
//! In inputs, outputs and definitions, `@x*3@` stands for `xxx`: so a case can be about large payloads and stay small.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use quickstep::asl::{MachineType, Severity};
use quickstep::history::{Failure, LogLevel};
use quickstep::interp::{Completion, FrameHandle, Invocation, MachineIdentity, Yield};
use quickstep::stdx::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::difference::Differences;
use super::machine::{self, Machine, Turns};
use super::runtime::{self, Subject};

/// More turns than any case takes.
const TURNS_MAX: u32 = 1_000_000;

/// A case that was read from its file.
#[derive(Debug)]
pub(crate) struct Case {
    /// `area/name`
    pub(crate) name: String,
    file: File,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where the expectation comes from.
    #[expect(dead_code, reason = "for readers")]
    comment: String,
    #[serde(default, rename = "type")]
    machine_type: Type,
    definition: Option<Box<RawValue>>,
    definition_text: Option<String>,
    #[serde(default, deserialize_with = "present")]
    input: Option<Box<RawValue>>,
    /// In place of `input` if its exact text matters.
    input_text: Option<String>,
    /// Outcomes by state or resource, one after the other.
    #[serde(default)]
    tasks: BTreeMap<String, Vec<TaskOutcome>>,
    /// Stops the execution from outside.
    stop: Option<Stop>,
    expect: Expect,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Type {
    #[default]
    Express,
    Standard,
}

/// What becomes of one call: an output, an error, or nothing at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskOutcome {
    /// The input that the call must have.
    #[serde(default, deserialize_with = "present")]
    input: Option<Box<RawValue>>,
    /// Virtual time that it takes.
    #[serde(default)]
    after_ms: i64,
    /// Heartbeats before, at these times.
    #[serde(default)]
    heartbeats_ms: Vec<i64>,
    /// The activity worker that takes it, at once.
    worker: Option<String>,
    /// The service's first answer, at once.
    #[serde(default, deserialize_with = "present")]
    submitted: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    output: Option<Box<RawValue>>,
    output_text: Option<String>,
    error: Option<String>,
    cause: Option<String>,
    /// It never answers.
    #[serde(default)]
    silent: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    after_ms: i64,
    error: Option<String>,
    cause: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: Option<String>,
    #[serde(default, deserialize_with = "present")]
    output: Option<Box<RawValue>>,
    /// In place of `output` if its exact text matters.
    output_text: Option<String>,
    error: Option<String>,
    cause: Option<String>,
    /// Types of events, or objects with some of an event's members.
    history: Option<Vec<Value>>,
    waited_ms: Option<i64>,
    /// Members of the errors that the definition is refused with.
    diagnostics: Option<Vec<Value>>,
}

/// `null` is a value, not an absent one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// All cases.
pub(crate) fn cases(directory: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for area in listing(directory) {
        for path in listing(&area) {
            let text = fs::read_to_string(&path).expect("a case can be read");
            let file = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let part = |path: &Path| path.file_stem().unwrap_or_default().display().to_string();
            cases.push(Case {
                name: format!("{}/{}", part(&area), part(&path)),
                file,
            });
        }
    }
    cases
}

fn listing(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).expect("the corpus is there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("the corpus can be listed").path())
        .collect();
    paths.sort();
    paths
}

/// The text with `@x*3@` spelt out.
fn expanded(text: &str) -> String {
    let parts: Vec<&str> = text.split('@').collect();
    let mut out = String::new();
    for (i, part) in parts.iter().enumerate() {
        let repeated = part.split_once('*').and_then(|(piece, count)| {
            let count: usize = count.parse().ok()?;
            Some(piece.repeat(count))
        });
        match repeated {
            Some(repeated) if i % 2 == 1 => out.push_str(&repeated),
            _ if i % 2 == 1 && i + 1 < parts.len() => panic!("@{part}@: not a repetition"),
            _ => out.push_str(part),
        }
    }
    out
}

fn text(raw: Option<&RawValue>, text: Option<&str>, default: &str) -> String {
    expanded(text.unwrap_or_else(|| raw.map_or(default, RawValue::get)))
}

fn failure(error: Option<&str>, cause: Option<&str>) -> Failure {
    Failure {
        error: error.map(Into::into),
        cause: cause.map(Into::into),
    }
}

/// Something that happens to the execution at a moment.
#[derive(Debug)]
struct Due {
    at: Timestamp,
    what: What,
}

#[derive(Debug)]
enum What {
    Heartbeat(FrameHandle),
    Succeeded(FrameHandle, String),
    Failed(FrameHandle, Failure),
    Stop(Failure),
}

impl Case {
    /// Runs the case.
    pub(crate) fn run(&self, turns: Turns) -> Result<(), String> {
        let file = &self.file;
        let machine_type = match file.machine_type {
            Type::Express => MachineType::Express,
            Type::Standard => MachineType::Standard,
        };
        let definition = text(
            file.definition.as_deref(),
            file.definition_text.as_deref(),
            "",
        );
        let program = match (
            machine::program(&definition, machine_type),
            &file.expect.diagnostics,
        ) {
            (Ok(program), None) => program,
            (Ok(_), Some(_)) => return Err("the definition is accepted".to_owned()),
            (Err(found), expected) => {
                return compare_diagnostics(&found, expected.as_deref().unwrap_or_default());
            }
        };
        let identity = Arc::new(MachineIdentity::local("case", machine_type));
        let now = Timestamp::parse("2026-01-01T00:00:00Z").expect("a timestamp");
        let input = text(file.input.as_deref(), file.input_text.as_deref(), "{}");
        let mut machine = Machine::start(
            program,
            &identity,
            &input,
            Invocation::Asynchronous,
            now,
            turns,
        )?;
        let ran = Play::new(file, now).run(&mut machine);
        let mut differences = Differences::default();
        if let Err(difference) = ran {
            differences.add(difference);
        }
        file.expect.compare(&machine, turns, &mut differences);
        if differences.is_empty() && turns == Turns::Usual {
            let subject = Subject {
                name: "case",
                definition: &definition,
                machine_type,
                input: &input,
                start: now,
                script: &machine.script,
                ending: &machine.ending(),
            };
            if let Err(difference) = runtime::check(&subject) {
                differences.add(difference);
            }
        }
        differences.verdict(&machine)?;
        machine.log(LogLevel::All, true).map(drop)
    }
}

/// A case under way.
struct Play<'a> {
    tasks: &'a BTreeMap<String, Vec<TaskOutcome>>,
    calls: BTreeMap<&'a str, usize>,
    agenda: Vec<Due>,
}

impl<'a> Play<'a> {
    fn new(file: &'a File, start: Timestamp) -> Play<'a> {
        let stop = file.stop.as_ref().map(|stop| Due {
            at: start.plus_millis(stop.after_ms),
            what: What::Stop(failure(stop.error.as_deref(), stop.cause.as_deref())),
        });
        Play {
            tasks: &file.tasks,
            calls: BTreeMap::new(),
            agenda: stop.into_iter().collect(),
        }
    }

    fn run(&mut self, machine: &mut Machine) -> Result<(), String> {
        for _ in 0..TURNS_MAX {
            match machine.step() {
                Yield::Done => return Ok(()),
                Yield::OutOfFuel => unreachable!("the machine goes on by itself"),
                Yield::Task(handle) => self.task(machine, handle)?,
                Yield::Parked(until) => {
                    // The sort is stable: what was arranged first happens first.
                    self.agenda.sort_by_key(|due| due.at);
                    match self.agenda.first() {
                        Some(due) if due.at <= until => {
                            let Due { at, what } = self.agenda.remove(0);
                            machine.now = at;
                            happen(machine, what);
                        }
                        _ if until < Timestamp::MAX => machine.now = until,
                        _ => return Err("waits for nothing".to_owned()),
                    }
                }
            }
        }
        Err(format!("did not end in {TURNS_MAX} turns"))
    }

    fn task(&mut self, machine: &mut Machine, handle: FrameHandle) -> Result<(), String> {
        let (state, resource, input) = machine.task(handle)?;
        let found = [&state, &resource]
            .into_iter()
            .find_map(|name| self.tasks.get_key_value(name));
        let (name, outcomes) = found.ok_or_else(|| format!("no outcomes for state {state}"))?;
        let calls = self.calls.entry(name).or_default();
        *calls += 1;
        let outcome = outcomes
            .get(*calls - 1)
            .ok_or_else(|| format!("{name}: no outcome for call {calls}"))?;
        if let Some(expected) = &outcome.input {
            let expected = expanded(expected.get());
            if json(&expected) != json(&input) {
                return Err(format!(
                    "{name}: input of call {calls}:\n    expected: {expected}\n    ours:     {input}"
                ));
            }
        }
        if let Some(worker) = &outcome.worker {
            let worker_name = Some(worker.as_str());
            machine.complete(handle, Completion::Started { worker_name });
        }
        if let Some(json) = &outcome.submitted {
            machine.complete(handle, Completion::Submitted(json.get().as_bytes()));
        }
        for ms in &outcome.heartbeats_ms {
            self.agenda.push(Due {
                at: machine.now.plus_millis(*ms),
                what: What::Heartbeat(handle),
            });
        }
        if outcome.silent {
            return Ok(());
        }
        let what = if outcome.output.is_some() || outcome.output_text.is_some() {
            let output = text(
                outcome.output.as_deref(),
                outcome.output_text.as_deref(),
                "",
            );
            What::Succeeded(handle, output)
        } else {
            let failure = failure(outcome.error.as_deref(), outcome.cause.as_deref());
            What::Failed(handle, failure)
        };
        if outcome.after_ms == 0 {
            happen(machine, what);
        } else {
            let at = machine.now.plus_millis(outcome.after_ms);
            self.agenda.push(Due { at, what });
        }
        Ok(())
    }
}

/// Answers that come too late change nothing.
fn happen(machine: &mut Machine, what: What) {
    match what {
        What::Heartbeat(handle) => drop(machine.complete(handle, Completion::Heartbeat)),
        What::Succeeded(handle, output) => {
            machine.complete(handle, Completion::Succeeded(output.as_bytes()));
        }
        What::Failed(handle, failure) => {
            machine.complete(handle, Completion::Failed(&failure));
        }
        What::Stop(failure) => machine.stop(failure),
    }
}

/// JSON parsed; text that cannot be parsed stands for itself.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

impl Expect {
    fn compare(&self, machine: &Machine, turns: Turns, differences: &mut Differences) {
        let ending = machine.ending();
        let status = self.status.as_deref();
        differences.compare("status", status, Some(ending.status));
        differences.compare("error", self.error.as_deref(), ending.error.as_deref());
        let cause = self.cause.as_deref().map(expanded);
        differences.compare("cause", cause.as_deref(), ending.cause.as_deref());
        let ours = ending.output.as_deref();
        match (&self.output, &self.output_text) {
            (_, Some(expected)) => differences.compare("output", Some(&expanded(expected)), ours),
            (Some(expected), None) => {
                let expected = json(&expanded(expected.get())).to_string();
                let ours = ours.map(|ours| json(ours).to_string());
                differences.compare("output", Some(&expected), ours.as_deref());
            }
            (None, None) => differences.compare("output", None, ours),
        }
        if let Some(expected) = self.waited_ms {
            let (expected, ours) = (expected.to_string(), machine.waited_ms().to_string());
            differences.compare("waited_ms", Some(&expected), Some(&ours));
        }
        if let Some(history) = &self.history {
            compare_history(history, machine, turns, differences);
        }
    }
}

fn compare_history(
    expected: &[Value],
    machine: &Machine,
    turns: Turns,
    differences: &mut Differences,
) {
    let type_of = |event: &Value| event["type"].as_str().or(event.as_str()).map(str::to_owned);
    let mut types: Vec<Option<String>> = expected.iter().map(type_of).collect();
    let mut ours: Vec<Option<String>> = machine
        .events
        .iter()
        .map(|event| Some(event.event_type.to_owned()))
        .collect();
    match turns {
        Turns::Usual | Turns::Frozen => {
            for (i, (expected, event)) in expected.iter().zip(&machine.events).enumerate() {
                for (name, value) in expected.as_object().into_iter().flatten() {
                    if event.json[name] != *value {
                        let (what, ours) = (format!("event {} {name}", i + 1), &event.json[name]);
                        differences.differs(&what, &value.to_string(), &ours.to_string());
                    }
                }
            }
        }
        // Branches take turns in another order: ids differ, and so does the order of types.
        Turns::Shortest | Turns::ShortestFrozen => {
            types.sort();
            ours.sort();
        }
    }
    if types != ours {
        let list = |types: &[Option<String>]| {
            let types: Vec<_> = types.iter().flatten().collect();
            format!("{types:?}")
        };
        differences.differs("history", &list(&types), &list(&ours));
    }
}

fn compare_diagnostics(
    found: &[quickstep::asl::Diagnostic],
    expected: &[Value],
) -> Result<(), String> {
    let errors: Vec<_> = found
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .collect();
    let same = errors.len() == expected.len()
        && errors.iter().zip(expected).all(|(error, expected)| {
            let ours = serde_json::json!({
                "code": error.code.as_str(),
                "location": error.pointer,
                "message": error.message,
            });
            let mut members = expected.as_object().into_iter().flatten();
            members.all(|(name, value)| ours[name] == *value)
        });
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    if same { Ok(()) } else { Err(lines.join("\n")) }
}
