//! Cases recorded from AWS, as sequences of calls.

use std::fs;
use std::path::Path;
use std::time::Duration;

use quickstep::server::ServerOptions;
use serde_json::{Value, json};

use super::client::{Connection, Host};
use crate::difference::Differences;
use crate::pattern::Bindings;

/// One recorded case.
pub(crate) struct Case {
    /// `call/ID`, `transcript/ID`, `test_state/ID`.
    pub(crate) name: String,
    steps: Vec<Step>,
    /// Steps whose answers are not compared: those of the transcript that leads to the call.
    setup: usize,
}

#[derive(Clone)]
struct Step {
    operation: String,
    params: Value,
    expect: Value,
}

/// Members that recordings of other times lack, or that the publisher took out.
const LACKING: &[&str] = &["encryptionConfiguration", "redriveCount"];

/// Looks at an execution that has to end, before giving up.
const LOOKS_MAX: u32 = 500;

/// All calls, transcripts and tests of states.
pub(crate) fn cases(directory: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for file in ["api", "scenarios", "services", "test_state"] {
        let text = fs::read_to_string(directory.join(format!("{file}.json")))
            .expect("the corpus can be read");
        let values: Vec<Value> = serde_json::from_str(&text).expect("a corpus file is an array");
        for value in &values {
            cases.extend(case(value, &values));
        }
    }
    assert!(cases.len() > 200, "{} cases", cases.len());
    cases
}

fn case(value: &Value, all: &[Value]) -> Option<Case> {
    let id = value["id"].as_str().expect("a case has an id");
    let kind = value["kind"].as_str().expect("a case has a kind");
    let (steps, setup) = match kind {
        "call" => {
            let call = Step {
                operation: value["op"].as_str().expect("a call has an op").to_owned(),
                params: params(value),
                expect: value["expect"].clone(),
            };
            let mut steps = leading(id, &call, all);
            let setup = steps.len();
            steps.push(call);
            (steps, setup)
        }
        "test_state" => {
            let step = Step {
                operation: "TestState".to_owned(),
                params: params(value),
                expect: value["expect"].clone(),
            };
            (vec![step], 0)
        }
        "transcript" => (steps(value), 0),
        _ => return None,
    };
    Some(Case {
        name: format!("{kind}/{id}"),
        steps,
        setup,
    })
}

/// The parameters of a call, with what the corpus keeps beside them.
fn params(value: &Value) -> Value {
    let mut params = value["params"].clone();
    for (member, name) in [
        ("definition", "definition"),
        ("definition_text", "definition"),
        ("input", "input"),
        ("input_text", "input"),
    ] {
        match &value[member] {
            Value::Null => {}
            Value::String(text) if member.ends_with("_text") => params[name] = text.as_str().into(),
            parsed => params[name] = parsed.to_string().into(),
        }
    }
    params
}

fn steps(transcript: &Value) -> Vec<Step> {
    let steps = transcript["steps"]
        .as_array()
        .expect("a transcript has steps");
    steps
        .iter()
        .map(|step| Step {
            operation: step["op"].as_str().expect("a step has an op").to_owned(),
            params: step["params"].clone(),
            expect: step["expect"].clone(),
        })
        .collect()
}

/// The steps before the same refusal in the transcript of the same test: the call needs what they make.
fn leading(id: &str, call: &Step, all: &[Value]) -> Vec<Step> {
    let test = id.split('#').next().unwrap_or(id);
    let transcript = all
        .iter()
        .find(|case| case["kind"] == "transcript" && case["id"] == format!("{test}#api"));
    let Some(transcript) = transcript else {
        return Vec::new();
    };
    let steps = steps(transcript);
    let same = |step: &Step| {
        step.operation == call.operation
            && step.expect["exception"]["code"] == call.expect["exception"]["code"]
    };
    match steps.iter().position(same) {
        Some(at) => steps[..at].to_vec(),
        None => Vec::new(),
    }
}

/// Fills in `{{3.stateMachineArn}}`: that member of the answer of step 3, or of the last one before that has it.
fn filled(value: &Value, answers: &[Value]) -> Value {
    match value {
        Value::String(text) => {
            let Some(inner) = text.strip_prefix("{{").and_then(|t| t.strip_suffix("}}")) else {
                return value.clone();
            };
            let (step, member) = inner.split_once('.').expect("a step and a member");
            let step: usize = step.parse().expect("the number of a step");
            let upto = answers.len().min(step + 1);
            let found = answers[..upto].iter().rev().find_map(|a| a.get(member));
            found.cloned().unwrap_or(Value::Null)
        }
        Value::Array(items) => items.iter().map(|item| filled(item, answers)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), filled(member, answers)))
            .collect(),
        other => other.clone(),
    }
}

impl Case {
    /// Makes the calls and compares the answers.
    pub(crate) fn run(&self) -> Result<(), String> {
        let host = Host::start(ServerOptions {
            account: "111111111111".to_owned(),
            ..ServerOptions::default()
        });
        let mut connection = host.connect();
        let mut bindings = Bindings::new();
        for name in LACKING {
            bindings.may_lack(name);
        }
        let (mut answers, mut differences) = (Vec::new(), Differences::default());
        for (i, step) in self.steps.iter().enumerate() {
            let mut params = filled(&step.params, &answers);
            restore(&mut params, &answers);
            if step.operation == "CreateStateMachine" && params.get("roleArn").is_none() {
                params["roleArn"] = "arn:aws:iam::111111111111:role/any".into();
            }
            // What botocore itself refuses never reaches a server.
            if step.expect.is_string() {
                answers.push(Value::Null);
                continue;
            }
            if !params["executionArn"].is_null() {
                await_end(&mut connection, &params["executionArn"]);
            }
            let (status, answer) = connection.call(&step.operation, &params);
            if i >= self.setup && !step.expect.is_null() {
                let at = format!("{i} {}", step.operation);
                compare(
                    &step.expect,
                    status,
                    &answer,
                    &mut bindings,
                    &at,
                    &mut differences,
                );
            }
            answers.push(answer);
        }
        match differences.is_empty() {
            true => Ok(()),
            false => Err(differences.text()),
        }
    }
}

/// Puts back what the publisher took out of the parameters: the token of the page before, the ARN of a log group.
fn restore(params: &mut Value, answers: &[Value]) {
    if params.get("nextToken").is_some_and(Value::is_null) {
        let token = answers.last().and_then(|answer| answer.get("nextToken"));
        params["nextToken"] = token.cloned().unwrap_or(Value::Null);
    }
    let destinations = params.pointer_mut("/loggingConfiguration/destinations");
    for destination in destinations
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        destination["cloudWatchLogsLogGroup"]["logGroupArn"] =
            "arn:aws:logs:us-east-1:111111111111:log-group:log_group_name:*".into();
    }
}

/// Waits for an execution that is about to end; one that waits for somebody is left alone.
pub(super) fn await_end(connection: &mut Connection, arn: &Value) {
    for _ in 0..LOOKS_MAX {
        let (_, answer) = connection.call("DescribeExecution", &json!({"executionArn": arn}));
        if answer["status"] != "RUNNING" {
            return;
        }
        let history = json!({"executionArn": arn, "reverseOrder": true, "maxResults": 1});
        let (_, last) = connection.call("GetExecutionHistory", &history);
        if last["events"][0]["type"] == "TaskSubmitted" {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn compare(
    expect: &Value,
    status: u16,
    answer: &Value,
    bindings: &mut Bindings,
    at: &str,
    differences: &mut Differences,
) {
    let exception = &expect["exception"];
    if !exception.is_null() {
        let ours = json!({"code": answer["__type"], "message": answer["message"]});
        if status == 200 {
            differences.add(format!("{at}: AWS refuses: {exception}; ours: {answer}"));
        } else {
            let expected =
                json!({"code": exception["code"], "message": placeholders(&exception["message"])});
            bindings.compare(&expected, &ours, at, differences);
        }
        return;
    }
    if status != 200 {
        differences.add(format!("{at}: AWS: {expect}; ours: {answer}"));
        return;
    }
    let ours = readable(expect, answer);
    bindings.compare(&dated(expect), &ours, at, differences);
}

/// Texts that stand for the ARN that was asked for, without brackets.
fn placeholders(message: &Value) -> Value {
    let mut text = message.as_str().unwrap_or_default().to_owned();
    for bare in [
        "invalid_execution_arn",
        "ssm_nonexistent_arn",
        "sm_nonexistent_arn",
        "'activity_arn'",
        "[state_machine_alias_name]",
    ] {
        let name = bare.trim_matches(|c: char| "'[]".contains(c));
        text = text.replace(bare, &bare.replace(name, &format!("<{name}>")));
        if text.contains(&format!("<{name}>")) {
            break;
        }
    }
    text.into()
}

/// The recording's words for times are numbers on the wire.
pub(super) fn dated(expect: &Value) -> Value {
    match expect {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| {
                let time = matches!(
                    (name.as_str(), member.as_str()),
                    (
                        "creationDate" | "updateDate" | "startDate" | "stopDate" | "timestamp",
                        Some("creation-date" | "datetime" | "timestamp")
                    )
                );
                let bare = ["activity_arn", "activity_name", "state_machine_alias_name"];
                let member = match member.as_str() {
                    _ if time => Value::Bool(true),
                    Some(text) if bare.contains(&text) || text.starts_with("snf_role_arn") => {
                        format!("<{text}>").into()
                    }
                    Some(text) if text.contains("state_machine_alias_base_name-") => {
                        let at = text.find("state_machine_alias").unwrap_or(0);
                        format!("{}<{}>", &text[..at], &text[at..]).into()
                    }
                    Some(text) if text.ends_with(":state_machine_alias_name") => {
                        let at = text.len() - "state_machine_alias_name".len();
                        format!("{}<{}>", &text[..at], &text[at..]).into()
                    }
                    _ => dated(member),
                };
                (name.clone(), member)
            })
            .collect(),
        Value::Array(items) => items.iter().map(dated).collect(),
        other => other.clone(),
    }
}

/// Our answer in the form of the recording: texts that hold JSON parsed where it has them parsed, times as a word.
pub(super) fn readable(expect: &Value, ours: &Value) -> Value {
    match (expect, ours) {
        (Value::Object(expect), Value::Object(ours)) => ours
            .iter()
            .map(|(name, member)| {
                let recorded = expect.get(name).unwrap_or(&Value::Null);
                let member = match (name.as_str(), member) {
                    (
                        "creationDate" | "updateDate" | "startDate" | "stopDate" | "timestamp",
                        Value::Number(_),
                    ) => Value::Bool(true),
                    _ => readable(recorded, member),
                };
                (name.clone(), member)
            })
            .collect(),
        (Value::Array(expect), Value::Array(ours)) => ours
            .iter()
            .enumerate()
            .map(|(i, item)| readable(expect.get(i).unwrap_or(&Value::Null), item))
            .collect(),
        (Value::Object(_) | Value::Array(_), Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| ours.clone())
        }
        (Value::String(recorded), Value::String(text)) => {
            // Texts of arrays were recorded as texts, with the white space of the client.
            let both = [recorded, text].map(|text| serde_json::from_str::<Value>(text));
            match both {
                [Ok(a), Ok(b)] if a == b => expect.clone(),
                _ => ours.clone(),
            }
        }
        (_, ours) => ours.clone(),
    }
}
