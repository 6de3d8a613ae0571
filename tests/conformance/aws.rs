//! Cases recorded from AWS: `corpus/aws/*.json`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use quickstep::asl::MachineType;
use quickstep::history::LogLevel;
use quickstep::interp::{Invocation, MachineIdentity};
use quickstep::stdx::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::difference::Differences;
use super::machine::{self, Ending, Machine, Turns};
use super::pattern::Bindings;
use super::replay::{Replay, details, forget, parsed, parsed_text};
use super::runtime::{self, Subject};

/// One recorded execution.
#[derive(Debug)]
pub(crate) struct Case {
    /// The file that it stands in, without its ending.
    pub(crate) group: String,
    pub(crate) id: String,
    definition: String,
    input: String,
    case: Value,
}

/// The texts of a case, in which order of members and form of numbers are as they were.
#[derive(Deserialize)]
struct Texts {
    definition: Option<Box<RawValue>>,
    definition_text: Option<String>,
    input: Option<Box<RawValue>>,
    input_text: Option<String>,
}

impl Texts {
    fn definition(&self) -> String {
        let text = self.definition_text.as_deref();
        text.unwrap_or_else(|| self.definition.as_deref().map_or("", RawValue::get))
            .to_owned()
    }

    fn input(&self) -> String {
        let text = self.input_text.as_deref();
        text.unwrap_or_else(|| self.input.as_deref().map_or("{}", RawValue::get))
            .to_owned()
    }
}

/// All executions that the interpreter can run: not those that need a distributed Map.
pub(crate) fn cases(directory: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    let entries = fs::read_dir(directory).expect("the corpus is there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("the corpus can be listed").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).expect("the corpus can be read");
        let values: Vec<Value> = serde_json::from_str(&text).expect("a corpus file is an array");
        let texts: Vec<Texts> = serde_json::from_str(&text).expect("a corpus file is an array");
        let group = path.file_stem().unwrap_or_default().to_string_lossy();
        for (case, texts) in values.into_iter().zip(texts) {
            if applies(&case) {
                cases.push(Case {
                    group: group.clone().into_owned(),
                    id: case["id"].as_str().expect("a case has an id").to_owned(),
                    definition: texts.definition(),
                    input: texts.input(),
                    case,
                });
            }
        }
    }
    cases
}

fn applies(case: &Value) -> bool {
    fn says(value: &Value, name: &str, text: &str) -> bool {
        match value {
            Value::Object(members) => members
                .iter()
                .any(|(n, member)| n == name && *member == *text || says(member, name, text)),
            Value::Array(items) => items.iter().any(|item| says(item, name, text)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    let definition = &case["definition"];
    case["kind"] == "execution" && !says(definition, "Mode", "DISTRIBUTED")
}

impl Case {
    /// The input with the white space that was sent, where the history shows it: the corpus keeps texts of arrays.
    fn sent_input(&self) -> &str {
        let started = &self.case["history"][0]["executionStartedEventDetails"]["input"];
        let same = |text: &&str| {
            serde_json::from_str::<Value>(text).is_ok_and(|sent| sent == self.case["input"])
        };
        started.as_str().filter(same).unwrap_or(&self.input)
    }

    /// What can be compared besides the ending: the name of a case without a history says so.
    pub(crate) fn has_history(&self) -> bool {
        self.case["history"]
            .as_array()
            .is_some_and(|events| !events.is_empty())
    }

    /// Runs the case.
    pub(crate) fn run(&self, turns: Turns) -> Result<(), String> {
        let machine_type = match self.case["type"].as_str() {
            Some("EXPRESS") => MachineType::Express,
            Some("STANDARD") => MachineType::Standard,
            other => return Err(format!("unknown type {other:?}")),
        };
        let program = machine::program(&self.definition, machine_type).map_err(|diagnostics| {
            let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            format!("AWS accepts the definition; ours:\n{}", lines.join("\n"))
        })?;
        let identity = Arc::new(MachineIdentity {
            account: "111111111111".into(),
            role_arn: "arn:aws:iam::111111111111:role/conformance".into(),
            ..MachineIdentity::local("conformance", machine_type)
        });
        let now = self.start_time();
        let invocation = if self.case["sync"] == true {
            Invocation::Synchronous
        } else {
            Invocation::Asynchronous
        };
        let mut machine = Machine::start(
            program,
            &identity,
            self.sent_input(),
            invocation,
            now,
            turns,
        )?;
        let history = self.case["history"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let ran = Replay::new(history, self.only_answer()).run(&mut machine);
        let mut differences = Differences::default();
        if let Err(difference) = ran {
            differences.add(difference);
        }
        self.compare(&machine, &identity, turns, &mut differences);
        if differences.is_empty() && turns == Turns::Usual {
            let subject = Subject {
                name: "conformance",
                definition: &self.definition,
                machine_type,
                input: self.sent_input(),
                start: now,
                script: &machine.script,
                ending: &machine.ending(),
            };
            if let Err(difference) = runtime::check(&subject) {
                differences.add(difference);
            }
        }
        differences.verdict(&machine)?;
        let (level, data) = self.logged();
        let lines = machine.log(level, data)?;
        if self.group == "logs" {
            self.compare_log(&lines, level, data)?;
        }
        Ok(())
    }

    /// The logging configuration that the recording was made with, which its name ends with: `…_ERROR_True]#0`.
    fn logged(&self) -> (LogLevel, bool) {
        let level = [LogLevel::Off, LogLevel::Fatal, LogLevel::Error]
            .into_iter()
            .find(|level| self.id.contains(&format!("_{}_", level.as_str())));
        (level.unwrap_or(LogLevel::All), !self.id.contains("_False]"))
    }

    /// Compares the lines of a log with what AWS's would be: the recorded history in the form of the log, of which the
    /// level leaves the events that the guide's table has, and the configuration without data no documents.
    fn compare_log(&self, lines: &[Value], level: LogLevel, data: bool) -> Result<(), String> {
        let levels = |event_type: &str| match event_type {
            "ExecutionFailed" | "ExecutionTimedOut" | "ExecutionAborted" => LogLevel::Fatal,
            "FailStateEntered" => LogLevel::Error,
            _ => LogLevel::All,
        };
        let mut expected = Vec::new();
        for event in self.case["history"].as_array().into_iter().flatten() {
            let event_type = event["type"].as_str().unwrap_or_default();
            if levels(event_type) < level || level == LogLevel::Off {
                continue;
            }
            let mut details = details(event).clone();
            if details.is_null() {
                details = serde_json::json!({});
            }
            if !data {
                let documents = ["input", "inputDetails", "output", "outputDetails"];
                forget(&mut details, &documents);
            }
            expected.push(serde_json::json!({
                "id": event["id"].to_string(),
                "type": event_type,
                "details": details,
                "previous_event_id": event["previousEventId"].to_string(),
                "redrive_count": "0",
            }));
        }
        let mut differences = Differences::default();
        if expected.len() != lines.len() {
            differences.add(format!("AWS logs {expected:?}, we {lines:?}"));
        }
        let mut bindings = Bindings::new();
        for (expected, line) in expected.iter().zip(lines) {
            let mut ours = line.clone();
            for name in ["event_timestamp", "execution_arn"] {
                if !ours[name].is_string() {
                    differences.add(format!("{name} is no text: {line}"));
                }
            }
            forget(&mut ours, &["event_timestamp", "execution_arn"]);
            for name in ["input", "output"] {
                if let Some(text) = ours["details"].get_mut(name) {
                    *text = parsed_text(text, &expected["details"][name]);
                }
            }
            bindings.compare(expected, &ours, "log", &mut differences);
        }
        match differences.is_empty() {
            true => Ok(()),
            false => Err(differences.text()),
        }
    }

    /// What tasks answer where no history was recorded: in the only such case, `expect.output.final` holds it.
    fn only_answer(&self) -> Option<String> {
        let answer = &self.case["expect"]["output"]["final"];
        (!self.has_history() && answer.is_object()).then(|| answer.to_string())
    }

    /// The moment of the start: shortly before the timestamps that were made at the moment of the recording.
    fn start_time(&self) -> Timestamp {
        let default = Timestamp::parse("2026-01-01T00:00:00Z").expect("a timestamp");
        let needs = self.case["needs"].as_array();
        if !needs.is_some_and(|needs| needs.iter().any(|need| need == "clock")) {
            return default;
        }
        let texts = [&*self.input, &*self.definition];
        let mut strings = texts.iter().flat_map(|text| text.split('"'));
        strings
            .find_map(|text| Timestamp::parse(text).ok())
            .map_or(default, |at| at.plus_millis(-5_000))
    }

    fn compare(
        &self,
        machine: &Machine,
        identity: &MachineIdentity,
        turns: Turns,
        differences: &mut Differences,
    ) {
        if !self.case["expect"]["status"].is_string() {
            differences.add("the recording has no status: nothing to compare with".to_owned());
        }
        let mut bindings = Bindings::new();
        if identity.machine_type == MachineType::Standard {
            // Recordings made before AWS had redrives have no such member in the context object.
            bindings.may_lack("RedriveCount");
        }
        let ending = machine.ending();
        bindings.compare(
            &self.case["expect"],
            &answer(&ending),
            "expect",
            differences,
        );
        if let Some(recorded) = self.case["history"].as_array() {
            let events = machine.events.iter().enumerate();
            let ours: Vec<Value> = events
                .map(|(at, event)| parsed(&event.json, recorded.get(at)))
                .collect();
            // In the shortest turns branches take turns in another order, so that their events mix in another way.
            if turns.are_usual() {
                compare_histories(recorded, &ours, &mut bindings, differences);
            }
        }
        for name in ["sync_response", "description"] {
            let mut recorded = self.case[name].clone();
            if recorded.is_null() {
                continue;
            }
            // What only a server knows: when it ended, what it costs, how it was started.
            let server = [
                "billingDetails",
                "inputDetails",
                "outputDetails",
                "redriveCount",
                "redriveStatus",
                "redriveStatusReason",
                "startDate",
                "stopDate",
                "tracingConfiguration",
            ];
            forget(&mut recorded, &server);
            let mut ours = answer(&ending);
            ours["executionArn"] = machine.arn().into();
            ours["stateMachineArn"] = identity.arn().into();
            ours["name"] = machine.name().into();
            ours["input"] = self.input.as_str().into();
            for text in ["input", "output", "cause"] {
                if let Some(ours) = ours.get_mut(text) {
                    *ours = parsed_text(ours, &recorded[text]);
                }
            }
            bindings.compare(&recorded, &ours, name, differences);
        }
    }
}

/// The ending in the form of `expect`.
fn answer(ending: &Ending) -> Value {
    let mut answer = serde_json::json!({"status": ending.status});
    if let Some(output) = &ending.output {
        answer["output"] = serde_json::from_str(output).unwrap_or(Value::String(output.clone()));
    }
    // Of a timed out execution, DescribeExecution shows neither.
    if ending.status != "TIMED_OUT" {
        if let Some(error) = &ending.error {
            answer["error"] = error.as_str().into();
        }
        if let Some(cause) = &ending.cause {
            answer["cause"] = parsed_text(&Value::String(cause.clone()), &Value::Null);
        }
    }
    answer
}

/// Compares event by event. Between branches the order is not defined: there the recordings hold events without ids,
/// sorted by their text, and these are compared as a set.
fn compare_histories(
    recorded: &[Value],
    ours: &[Value],
    bindings: &mut Bindings,
    differences: &mut Differences,
) {
    let (mut at, mut unordered) = (0, Vec::new());
    for event in recorded {
        if event["id"].is_array() {
            unordered.push(event);
            continue;
        }
        if !unordered.is_empty() {
            let end = usize::try_from(event["id"].as_u64().unwrap_or(0)).unwrap_or(0);
            let end = end.saturating_sub(1).clamp(at, ours.len());
            let swallowed: &[&str] = match event["type"].as_str() {
                // A retry begins where the state has not ended.
                Some("ParallelStateStarted") => &[],
                _ => &["ParallelStateSucceeded", "ParallelStateFailed"],
            };
            compare_sets(&unordered, &ours[at..end], swallowed, bindings, differences);
            (at, unordered) = (end, Vec::new());
        }
        match ours.get(at) {
            Some(ours) => compare_events(event, ours, bindings, differences),
            None => differences.add(format!("event {}: missing; AWS: {event}", at + 1)),
        }
        at += 1;
    }
    for event in ours.iter().skip(at) {
        differences.add(format!("AWS has ended before; ours: {event}"));
    }
}

fn compare_events(
    recorded: &Value,
    ours: &Value,
    bindings: &mut Bindings,
    differences: &mut Differences,
) {
    let (mut recorded, mut ours) = (recorded.clone(), ours.clone());
    let path = format!("event {} {}", recorded["id"], recorded["type"]);
    // Every recorded timestamp is the word itself.
    forget(&mut recorded, &["timestamp"]);
    forget(&mut ours, &["timestamp"]);
    bindings.compare(&recorded, &ours, &path, differences);
}

fn compare_sets(
    recorded: &[&Value],
    ours: &[Value],
    swallowed: &[&str],
    bindings: &mut Bindings,
    differences: &mut Differences,
) {
    let mut left: Vec<Value> = ours.to_vec();
    for event in &mut left {
        forget(event, &["id", "previousEventId", "timestamp"]);
    }
    for event in recorded {
        let mut event = (*event).clone();
        forget(&mut event, &["id", "previousEventId", "timestamp"]);
        let found = left.iter().position(|ours| {
            let mut differences = Differences::default();
            let mut tried = bindings.clone();
            tried.compare(&event, ours, "", &mut differences);
            if differences.is_empty() {
                *bindings = tried;
            }
            differences.is_empty()
        });
        match found {
            Some(at) => drop(left.remove(at)),
            None => differences.add(format!("in the branches: missing; AWS: {event}")),
        }
    }
    // Sorting the events swallowed the one that ends the state in the recordings, and only this one.
    match left.as_slice() {
        [] if swallowed.is_empty() => {}
        [event] if swallowed.iter().any(|name| event["type"] == **name) => {}
        left => differences.add(format!("in the branches: AWS has others; ours: {left:?}")),
    }
}
