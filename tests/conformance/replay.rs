//! Answers tasks with what a recorded history says that they answered, when it says so.

use quickstep::history::Failure;
use quickstep::interp::{Completion, FrameHandle, Yield};
use quickstep::stdx::Timestamp;
use serde_json::Value;

use super::difference::Differences;
use super::machine::Machine;
use super::pattern::Bindings;

/// More turns than any recorded case takes.
const TURNS_MAX: u32 = 10_000;

/// Members of details that are JSON in a string; the recordings keep them parsed if they are objects.
const JSON_TEXTS: &[&str] = &["input", "output", "parameters", "cause"];

/// One recorded answer, still to be given.
#[derive(Debug)]
struct Answer {
    /// Place of its event in the recorded history.
    at: usize,
    handle: FrameHandle,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Started(Option<String>),
    Submitted(String),
    Succeeded(String),
    Failed(Failure),
}

/// The recorded history, and what is still to be taken from it.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    history: &'a [Value],
    taken: Vec<bool>,
    pending: Vec<Answer>,
    only_answer: Option<String>,
}

impl<'a> Replay<'a> {
    /// `only_answer` is what tasks answer where no history was recorded.
    pub(crate) fn new(history: &'a [Value], only_answer: Option<String>) -> Replay<'a> {
        Replay {
            history,
            only_answer,
            taken: vec![false; history.len()],
            pending: Vec::new(),
        }
    }

    /// Runs an execution to its end.
    pub(crate) fn run(&mut self, machine: &mut Machine) -> Result<(), String> {
        for _ in 0..TURNS_MAX {
            match machine.step() {
                Yield::Done => return Ok(()),
                Yield::OutOfFuel => unreachable!("the machine goes on by itself"),
                Yield::Task(handle) => {
                    self.scheduled(machine, handle)?;
                    self.answer_due(machine);
                }
                Yield::Parked(until) => {
                    if self.answer_due(machine) {
                        continue;
                    }
                    // AWS answered next what our execution is not ready for, or some time passed before.
                    let later = self.next().is_some_and(|at| at > machine.events.len());
                    if until < Timestamp::MAX && (later || self.pending.is_empty()) {
                        machine.now = until;
                    } else if !self.answer_first(machine) {
                        return Err("waits for an answer that was not recorded".to_owned());
                    }
                }
            }
        }
        Err(format!("did not end in {TURNS_MAX} turns"))
    }

    /// A task was yielded: it must be the one that AWS scheduled at this point.
    fn scheduled(&mut self, machine: &Machine, handle: FrameHandle) -> Result<(), String> {
        if let Some(answer) = &self.only_answer {
            let kind = Kind::Succeeded(answer.clone());
            self.pending.push(Answer {
                at: 0,
                handle,
                kind,
            });
            return Ok(());
        }
        let ours = machine
            .events
            .iter()
            .rposition(|event| event.event_type.ends_with("Scheduled"))
            .ok_or("a task was yielded, but none scheduled")?;
        let event = parsed(&machine.events[ours].json, self.history.get(ours));
        let at = self.find(ours, &event)?;
        self.taken[at] = true;
        let mut previous = at;
        while let Some(next) = self.follower(previous) {
            self.taken[next] = true;
            if let Some(kind) = self.answer(next) {
                self.pending.push(Answer {
                    at: next,
                    handle,
                    kind,
                });
            }
            previous = next;
        }
        self.pending.sort_by_key(|answer| answer.at);
        Ok(())
    }

    /// The recorded event that belongs to one of ours: the one with its id or, where ids were not recorded, the first
    /// that is like it.
    fn find(&self, ours: usize, event: &Value) -> Result<usize, String> {
        let like = |recorded: &Value| {
            let mut differences = Differences::default();
            let (mut recorded, mut event) = (recorded.clone(), event.clone());
            for event in [&mut recorded, &mut event] {
                forget(event, &["id", "previousEventId", "timestamp"]);
            }
            let mut bindings = Bindings::new();
            bindings.may_lack("RedriveCount");
            bindings.compare(&recorded, &event, "$", &mut differences);
            differences
        };
        let Some(recorded) = self.history.get(ours) else {
            return Err(format!("schedules a task where AWS has ended: {event}"));
        };
        let differences = like(recorded);
        if differences.is_empty() && !self.taken[ours] {
            return Ok(ours);
        }
        let unordered = |event: &Value| event["id"].is_array();
        let found = (0..self.history.len()).find(|&at| {
            let recorded = &self.history[at];
            !self.taken[at] && unordered(recorded) && like(recorded).is_empty()
        });
        found.ok_or_else(|| {
            format!(
                "schedules another task than AWS at event {}:\n  {}",
                ours + 1,
                differences.text()
            )
        })
    }

    /// The next event of the same task.
    fn follower(&self, at: usize) -> Option<usize> {
        let event = &self.history[at];
        let types: &[&str] = match event["type"].as_str()? {
            "LambdaFunctionScheduled" => &["LambdaFunctionStarted"],
            "LambdaFunctionStarted" => &[
                "LambdaFunctionSucceeded",
                "LambdaFunctionFailed",
                "LambdaFunctionTimedOut",
            ],
            "ActivityScheduled" => &["ActivityStarted", "ActivityTimedOut"],
            "ActivityStarted" => &["ActivitySucceeded", "ActivityFailed", "ActivityTimedOut"],
            "TaskScheduled" => &["TaskStarted"],
            "TaskStarted" => &[
                "TaskSubmitted",
                "TaskSucceeded",
                "TaskFailed",
                "TaskTimedOut",
            ],
            "TaskSubmitted" => &["TaskSucceeded", "TaskFailed", "TaskTimedOut"],
            _ => return None,
        };
        (0..self.history.len()).find(|&next| {
            let follower = &self.history[next];
            let follows = event["id"].is_array() || follower["previousEventId"] == event["id"];
            !self.taken[next] && follows && types.iter().any(|&t| follower["type"] == t)
        })
    }

    /// What the task is told for the event at `at`; nothing for what the interpreter says by itself, and for timeouts,
    /// which it has to come to by itself too.
    fn answer(&self, at: usize) -> Option<Kind> {
        let event = &self.history[at];
        let details = details(event);
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        Some(match event["type"].as_str()? {
            "ActivityStarted" => Kind::Started(details["workerName"].as_str().map(str::to_owned)),
            "TaskSubmitted" => Kind::Submitted(text(&details["output"])),
            "LambdaFunctionSucceeded" | "ActivitySucceeded" | "TaskSucceeded" => {
                Kind::Succeeded(text(&details["output"]))
            }
            // The function answered; AWS refused its answer for its size, which the history does not hold.
            "LambdaFunctionFailed" | "TaskFailed"
                if details["error"] == "States.DataLimitExceeded" =>
            {
                Kind::Succeeded(format!("\"{}\"", "é".repeat(131_072)))
            }
            "LambdaFunctionFailed" | "ActivityFailed" | "TaskFailed" => {
                let cause = match &details["cause"] {
                    Value::Null => None,
                    Value::String(cause) => Some(cause.clone()),
                    parsed => Some(self.cause_text(parsed)),
                };
                Kind::Failed(Failure {
                    error: details["error"].as_str().map(Into::into),
                    cause: cause.map(Into::into),
                })
            }
            _ => return None,
        })
    }

    /// The text of a cause that was recorded parsed: as a catcher put it into its output, if one did.
    fn cause_text(&self, cause: &Value) -> String {
        fn find(value: &Value, cause: &Value) -> Option<String> {
            match value {
                Value::String(text) => serde_json::from_str::<Value>(text)
                    .is_ok_and(|parsed| parsed == *cause)
                    .then(|| text.clone()),
                Value::Array(items) => items.iter().find_map(|item| find(item, cause)),
                Value::Object(members) => members.values().find_map(|member| find(member, cause)),
                Value::Null | Value::Bool(_) | Value::Number(_) => None,
            }
        }
        let found = self.history.iter().find_map(|event| find(event, cause));
        found.unwrap_or_else(|| cause.to_string())
    }

    fn next(&self) -> Option<usize> {
        self.pending.first().map(|answer| answer.at)
    }

    /// Gives the answers whose events come next; false if there is none.
    fn answer_due(&mut self, machine: &mut Machine) -> bool {
        let mut answered = false;
        while self.next() == Some(machine.events.len()) {
            answered |= self.answer_first(machine);
        }
        answered
    }

    /// Gives the answer that comes first; false if there is none.
    fn answer_first(&mut self, machine: &mut Machine) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let Answer { handle, kind, .. } = self.pending.remove(0);
        // An answer that comes too late changes nothing: the histories will differ.
        let _ = match &kind {
            Kind::Started(name) => {
                let worker_name = name.as_deref();
                machine.complete(handle, Completion::Started { worker_name })
            }
            Kind::Submitted(json) => {
                machine.complete(handle, Completion::Submitted(json.as_bytes()))
            }
            Kind::Succeeded(json) => {
                machine.complete(handle, Completion::Succeeded(json.as_bytes()))
            }
            Kind::Failed(failure) => machine.complete(handle, Completion::Failed(failure)),
        };
        true
    }
}

/// The details of a recorded event; null if it has none.
pub(crate) fn details(event: &Value) -> &Value {
    event
        .as_object()
        .and_then(|members| {
            members
                .iter()
                .find(|(name, _)| name.ends_with("EventDetails"))
        })
        .map_or(&Value::Null, |(_, details)| details)
}

/// Takes members out of an object.
pub(crate) fn forget(object: &mut Value, names: &[&str]) {
    if let Value::Object(members) = object {
        members.retain(|name, _| !names.contains(&&**name));
    }
}

/// An event of ours in the form of the recording: texts that hold JSON are parsed where the recorded one is.
pub(crate) fn parsed(event: &Value, recorded: Option<&Value>) -> Value {
    let mut event = event.clone();
    let recorded = recorded.map_or(&Value::Null, details);
    let details = event
        .as_object_mut()
        .and_then(|members| members.values_mut().find(|member| member.is_object()));
    let Some(Value::Object(details)) = details else {
        return event;
    };
    for (name, value) in details.iter_mut() {
        let recorded = &recorded[name];
        if JSON_TEXTS.contains(&&**name) {
            *value = parsed_text(value, recorded);
        } else if name == "assignedVariables" {
            for (name, value) in value.as_object_mut().into_iter().flatten() {
                *value = parsed_text(value, &recorded[name]);
            }
        }
    }
    event
}

/// A text parsed, if it holds a JSON object: those were recorded parsed. A few arrays were, too.
pub(crate) fn parsed_text(value: &Value, recorded: &Value) -> Value {
    let parsed = value
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok());
    match parsed {
        Some(object @ Value::Object(_)) => object,
        Some(array @ Value::Array(_)) if recorded.is_array() => array,
        _ => value.clone(),
    }
}
