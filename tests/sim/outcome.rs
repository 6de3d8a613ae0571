//! Whether an execution has ended as it may: the machine's function of its input, and of the answers that were given.

use std::sync::OnceLock;

use quickstep::engine::StartRequest;
use quickstep::task::Failure;
use quickstep::{Engine, Status};
use serde_json::Value;

use crate::calls::{Call, Say};
use crate::machines::Kind;
use crate::model::{Checked, End, Running, Start, must};

pub(crate) fn check(
    id: u64,
    start: &mut Start,
    running: &Running,
    end: &End,
    now: u64,
    calls: &[Call],
) -> Checked {
    must!(start.is_json, "it ends, and is no JSON");
    must!(
        end.start <= end.stop && end.stop <= now,
        "the time is {now}"
    );
    let deadline = start.kind.deadline();
    let took = end.stop - end.start;
    for number in &running.calls {
        let at = calls[*number].at;
        must!(
            deadline.is_none_or(|deadline| at < end.start + deadline),
            "call {number} came after the deadline"
        );
    }
    let evidence = Evidence {
        running,
        calls,
        stop: end.stop,
    };
    match end.status {
        Status::Succeeded => {
            let output = end.output.as_deref().unwrap_or("no output");
            let output = serde_json::from_str(output).map_err(|error| format!("{error}"))?;
            // What fell due before the deadline may have ended it when a stop came.
            let is_over = deadline.is_some_and(|deadline| took >= deadline);
            let stops = &running.stops;
            must!(
                is_over || stops.iter().all(|(_, was_running)| *was_running),
                "it was stopped: {stops:?}"
            );
            succeeded(id, start, end, took, output, &evidence)
        }
        Status::TimedOut => {
            must!(
                deadline.is_some_and(|deadline| took >= deadline),
                "it timed out after {took} ms"
            );
            must!(
                end.failure == Some(Failure::timeout()),
                "that is no timeout"
            );
            // One wait ends when it is due, however late that is seen.
            must!(
                start.kind != Kind::Wait || Some(start.seconds * 1_000) >= deadline,
                "the wait was over before the deadline"
            );
            Ok(())
        }
        Status::Aborted => {
            let cause = end.failure.as_ref().and_then(|f| f.cause.as_deref());
            must!(
                running.stops.first().map(|stop| &*stop.0) == cause,
                "its stops: {:?}",
                running.stops
            );
            Ok(())
        }
        Status::Failed => {
            let failure = end.failure.as_ref().ok_or("it has no failure")?;
            let error = failure.error.as_deref().unwrap_or_default();
            // Everything but this is caught, where there is a Catch.
            must!(
                error == "States.Runtime" || matches!(start.kind, Kind::Silent | Kind::Deadline),
                "it fails"
            );
            evidence.explains(error, failure.cause.as_deref().unwrap_or_default())
        }
        Status::Running => Err("it has not ended".to_owned()),
    }
}

fn succeeded(
    id: u64,
    start: &mut Start,
    end: &End,
    took: u64,
    mut output: Value,
    evidence: &Evidence<'_>,
) -> Checked {
    must!(output["id"] == id, "that is another one's output");
    let number = |name: &str| output[name].as_u64();
    match start.kind {
        Kind::Short => {
            must!(number("n") == Some(start.count + 1), "n is wrong");
            must!(output["name"] == *end.name, "the name is wrong");
            drawn(start, &output["drawn"])
        }
        Kind::Query => {
            let expected = start.count * (start.count + 1);
            must!(number("n") == Some(expected), "n is not {expected}");
            drawn(start, &output["drawn"])
        }
        Kind::Loop => {
            must!(number("i") == Some(start.count), "i is wrong");
            Ok(())
        }
        Kind::Wait | Kind::Waits => {
            let more = if start.kind == Kind::Waits { 2 } else { 0 };
            must!(
                took >= (start.seconds + more) * 1_000,
                "the wait ends early"
            );
            is_input(start, &output)
        }
        Kind::Flaky | Kind::Later | Kind::Callback | Kind::Silent | Kind::Deadline => {
            let (result, caught) = (taken(&mut output, "r"), taken(&mut output, "e"));
            is_input(start, &output)?;
            match (result, caught) {
                (Some(answer), None) => evidence.answered(&answer, None).map(|_| ()),
                (None, Some(caught)) => evidence.caught(&caught, start.kind),
                _ => Err("it has neither a result nor an error".to_owned()),
            }
        }
        Kind::Parallel | Kind::Map => {
            let (results, caught) = (taken(&mut output, "p"), taken(&mut output, "e"));
            is_input(start, &output)?;
            match (results, caught) {
                (Some(results), None) => several(start, &results, took, evidence),
                (None, Some(caught)) => evidence.caught(&caught, start.kind),
                _ => Err("it has neither results nor an error".to_owned()),
            }
        }
    }
}

fn several(start: &Start, results: &Value, took: u64, evidence: &Evidence<'_>) -> Checked {
    let results = results.as_array().ok_or("the results are no list")?;
    let mut seen = Vec::new();
    if start.kind == Kind::Map {
        let input: Value = serde_json::from_str(&start.input).map_err(|e| e.to_string())?;
        let count = input["items"].as_array().map_or(0, Vec::len);
        must!(
            results.len() == count,
            "there are {} results",
            results.len()
        );
        // Two at a time, and each waits a second.
        let least = count.div_ceil(2) as u64 * 1_000;
        must!(took >= least, "{count} iterations took {took} ms");
        for result in results {
            seen.push(evidence.answered(result, Some("M"))?);
        }
    } else {
        must!(results.len() == 4, "there are {} results", results.len());
        must!(took >= start.seconds * 1_000, "the wait ends early");
        is_input(start, &results[0])?;
        for (result, state) in results[1..].iter().zip(["PF", "PL", "PC"]) {
            seen.push(evidence.answered(result, Some(state))?);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    must!(
        seen.len() == results.len() - usize::from(start.kind == Kind::Parallel),
        "one answer is used twice"
    );
    Ok(())
}

fn taken(output: &mut Value, name: &str) -> Option<Value> {
    output.as_object_mut()?.remove(name)
}

fn is_input(start: &Start, output: &Value) -> Checked {
    let input: Value = serde_json::from_str(&start.input).map_err(|e| e.to_string())?;
    must!(*output == input, "the input has changed");
    Ok(())
}

/// What an execution draws is the same in all its attempts.
fn drawn(start: &mut Start, drawn: &Value) -> Checked {
    let text = drawn.to_string();
    let start_again = StartRequest::new(start.input.as_bytes());
    let known = start.drawn.get_or_insert_with(|| match start.seed {
        Some(seed) => reference(start.kind, start_again.seed(seed)),
        None => text.clone(),
    });
    must!(*known == text, "{known} is what it should draw");
    Ok(())
}

/// What an execution draws that runs by itself.
fn reference(kind: Kind, start: StartRequest<'_>) -> String {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    // Its workers have nothing to do: these executions end on their caller's thread.
    let engine = ENGINE.get_or_init(|| {
        let (engine, _) = Engine::builder().build_simulated().expect("it is simple");
        engine
    });
    let result = engine.start_sync(kind.machine(), start);
    let output = result.ok().and_then(|result| result.output);
    let output: Value = serde_json::from_str(&output.unwrap_or_default()).unwrap_or_default();
    output["drawn"].to_string()
}

/// What the handlers of an execution have answered.
struct Evidence<'a> {
    running: &'a Running,
    calls: &'a [Call],
    stop: u64,
}

impl Evidence<'_> {
    /// The call that gave this result, in time and before any other answer.
    fn answered(&self, result: &Value, state: Option<&str>) -> Result<usize, String> {
        let number = |name: &str| result[name].as_u64();
        let (Some(call), Some(answer)) = (number("c"), number("a")) else {
            return Err(format!("{result} is no answer"));
        };
        let at = usize::try_from(call).map_err(|error| error.to_string())?;
        must!(
            self.running.calls.contains(&at),
            "call {at} is another execution's, or another attempt's"
        );
        let call = &self.calls[at];
        must!(
            state.is_none_or(|state| call.state == state),
            "call {at} is of {}",
            call.state
        );
        let Some(given) = call.last() else {
            return Err(format!("call {at} was not answered"));
        };
        must!(
            given.number == answer && given.say == Say::Done,
            "call {at} was answered by {given:?} first"
        );
        must!(
            given.at < call.due_at_last(),
            "the answer came after the timeout: {call:?}"
        );
        Ok(at)
    }

    /// What a Catch has taken up.
    fn caught(&self, caught: &Value, kind: Kind) -> Checked {
        let text = |name: &str| caught[name].as_str().unwrap_or_default();
        let error = text("Error");
        let is_retried = ["Busy", "Task.Panicked", "States.Timeout"].contains(&error);
        if kind.has_one_task() && is_retried {
            let last = self.running.calls.last().map(|call| &self.calls[*call]);
            must!(
                last.is_some_and(|call| call.retry == call.times().retries),
                "it was not tried again"
            );
        }
        must!(error != "States.Runtime", "that is not caught");
        self.explains(error, text("Cause"))
    }

    /// Whether there is a call that failed so.
    fn explains(&self, error: &str, cause: &str) -> Checked {
        let mut calls = self.running.calls.iter().map(|call| &self.calls[*call]);
        let first = |call: &Call| call.last().map(|given| given.say);
        let is_found = match error {
            "Busy" | "Fatal" => {
                let number = cause.parse().ok();
                let own = number.filter(|number| self.running.calls.contains(number));
                own.is_some_and(|number| {
                    matches!(first(&self.calls[number]), Some(Say::Error(said)) if said == error)
                })
            }
            "Task.Panicked" => calls.any(|call| first(call) == Some(Say::Panic)),
            "States.Runtime" => calls.any(|call| first(call) == Some(Say::Garbage)),
            "States.Timeout" => calls.any(|call| {
                call.due() <= self.stop && call.last().is_none_or(|given| !given.is_in_time)
            }),
            _ => false,
        };
        must!(is_found, "nothing explains {error}");
        Ok(())
    }
}
