//! Executions recorded from AWS that call nobody, through the API: created, started, described, their histories read.

use std::fs;
use std::path::Path;

use quickstep::server::ServerOptions;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::Host;
use super::recorded::{await_end, dated, readable};
use crate::difference::Differences;
use crate::pattern::Bindings;

/// One recorded execution.
pub(crate) struct Case {
    /// `execution/GROUP ID`.
    pub(crate) name: String,
    pub(super) definition: String,
    pub(super) input: String,
    pub(super) case: Value,
}

/// Texts in which the order of members and the form of numbers are as they were.
#[derive(Deserialize)]
struct Texts {
    definition: Option<Box<RawValue>>,
    definition_text: Option<String>,
    input: Option<Box<RawValue>>,
    input_text: Option<String>,
}

/// The text of a member, or of the member that was parsed.
fn text(raw: Option<&RawValue>, text: Option<String>) -> Option<String> {
    text.or_else(|| raw.map(|raw| raw.get().to_owned()))
}

/// The executions without tasks, other machines and JSONata, whose end can be seen.
pub(crate) fn cases(directory: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for group in [
        "api",
        "base",
        "choice",
        "errors",
        "express",
        "intrinsics",
        "logs",
        "scenarios",
        "variables",
    ] {
        let file = fs::read_to_string(directory.join(format!("{group}.json")))
            .expect("the corpus can be read");
        let values: Vec<Value> = serde_json::from_str(&file).expect("a corpus file is an array");
        let texts: Vec<Texts> = serde_json::from_str(&file).expect("a corpus file is an array");
        for (case, texts) in values.into_iter().zip(texts) {
            if !applies(&case) {
                continue;
            }
            let definition = text(texts.definition.as_deref(), texts.definition_text);
            let input = text(texts.input.as_deref(), texts.input_text);
            cases.push(Case {
                name: format!("execution/{group} {}", case["id"].as_str().unwrap_or("?")),
                definition: definition.expect("an execution has a definition"),
                input: input.unwrap_or_else(|| "{}".to_owned()),
                case,
            });
        }
    }
    assert!(cases.len() > 400, "{} cases", cases.len());
    cases
}

fn applies(case: &Value) -> bool {
    let definition = case["definition"].to_string();
    let nobody_else = case["needs"]
        .as_array()
        .is_some_and(|needs| needs.iter().all(|need| need == "nondeterministic"));
    let alone = ["setup", "machines", "during"]
        .iter()
        .all(|name| case[*name].as_array().is_none_or(Vec::is_empty));
    case["kind"] == "execution"
        && nobody_else
        && alone
        && (case["type"] == "STANDARD" || case["sync"] == true)
        && !definition.contains("\"JSONata\"")
        && !definition.contains("\"DISTRIBUTED\"")
        && !definition.contains("\"Task\"")
}

impl Case {
    /// Runs the case.
    pub(crate) fn run(&self) -> Result<(), String> {
        let host = Host::start(ServerOptions {
            account: "111111111111".to_owned(),
            ..ServerOptions::default()
        });
        let mut connection = host.connect();
        let (status, created) = connection.call(
            "CreateStateMachine",
            &json!({
                "name": "conformance",
                "definition": self.definition,
                "roleArn": "arn:aws:iam::111111111111:role/conformance",
                "type": self.case["type"],
            }),
        );
        if status != 200 {
            return Err(format!("AWS accepts the definition; ours: {created}"));
        }
        let start = json!({"stateMachineArn": created["stateMachineArn"], "input": self.input});
        let mut bindings = Bindings::new();
        for name in [
            "RedriveCount",
            "redriveCount",
            "redriveStatus",
            "redriveStatusReason",
        ] {
            bindings.may_lack(name);
        }
        let mut differences = Differences::default();
        let described = if self.case["sync"] == true {
            connection.call("StartSyncExecution", &start).1
        } else {
            let (_, started) = connection.call("StartExecution", &start);
            let arn = json!({"executionArn": started["executionArn"]});
            await_end(&mut connection, &started["executionArn"]);
            let (_, history) = connection.call("GetExecutionHistory", &arn);
            self.compare_history(&history["events"], &mut bindings, &mut differences);
            connection.call("DescribeExecution", &arn).1
        };
        let mut ours = json!({});
        for name in ["status", "output", "error", "cause"] {
            if let Some(member) = described.get(name) {
                ours[name] = member.clone();
            }
        }
        if let Some(output) = ours["output"].as_str().map(str::to_owned) {
            ours["output"] = serde_json::from_str(&output).unwrap_or(output.into());
        } else if let Some(ours) = ours.as_object_mut() {
            ours.remove("output");
        }
        let expect = &self.case["expect"];
        bindings.compare(expect, &readable(expect, &ours), "expect", &mut differences);
        for (name, recorded) in [
            ("sync_response", &self.case["sync_response"]),
            ("description", &self.case["description"]),
        ] {
            if !recorded.is_null() {
                let mut ours = readable(recorded, &described);
                // What an execution costs in time is another matter.
                if let Some(billed) = recorded.pointer("/billingDetails") {
                    ours["billingDetails"] = billed.clone();
                }
                bindings.compare(&dated(recorded), &ours, name, &mut differences);
            }
        }
        match differences.is_empty() {
            true => Ok(()),
            false => Err(differences.text()),
        }
    }

    /// Compares event by event, unless the order of some was not recorded.
    fn compare_history(
        &self,
        ours: &Value,
        bindings: &mut Bindings,
        differences: &mut Differences,
    ) {
        let Some(recorded) = self.case["history"].as_array() else {
            return;
        };
        if recorded.is_empty() || recorded.iter().any(|event| event["id"].is_array()) {
            return;
        }
        let recorded = Value::Array(recorded.clone());
        let ours = readable(&recorded, ours);
        bindings.compare(&dated(&recorded), &ours, "history", differences);
    }
}
