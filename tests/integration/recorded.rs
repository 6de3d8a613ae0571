//! Executions that AWS recorded, whose tasks start executions of the same account.

use std::path::Path;

use quickstep::server::ServerOptions;
use serde_json::{Value, json};

use crate::client::Host;
use crate::difference::Differences;
use crate::pattern::Bindings;
use crate::support::{create, describe, ended, events, ok};

/// The cases that need nothing else, and how their parents end.
const CASES: [(&str, &str, &str); 5] = [
    (
        "services",
        "TestCallback::test_start_execution_sync#0",
        "SUCCEEDED",
    ),
    (
        "services",
        "TestCallback::test_start_execution_sync_delegate_failure#0",
        "FAILED",
    ),
    (
        "errors",
        "TestTaskServiceSfn::test_start_execution_no_such_arn#0",
        "FAILED",
    ),
    (
        "services",
        "test_sfn_send_task_outcome_with_no_such_token[state_machine_template0]#0",
        "FAILED",
    ),
    (
        "services",
        "test_sfn_send_task_outcome_with_no_such_token[state_machine_template1]#0",
        "FAILED",
    ),
];

/// Texts that hold JSON objects, parsed; what a recording cannot fix as the recording has it.
fn readable(recorded: &Value, ours: &Value) -> Value {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            let members = ours.iter().map(|(name, member)| {
                let recorded = recorded.get(name).unwrap_or(&Value::Null);
                let member = match name.as_str() {
                    "SdkHttpMetadata"
                    | "SdkResponseMetadata"
                    | "StartDate"
                    | "StopDate"
                    | "timestamp" => recorded.clone(),
                    _ => readable(recorded, member),
                };
                (name.clone(), member)
            });
            members.collect()
        }
        (Value::Object(_), Value::String(text)) => {
            let parsed = serde_json::from_str(text).unwrap();
            readable(recorded, &parsed)
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            let pairs = recorded.iter().zip(ours);
            pairs
                .map(|(recorded, ours)| readable(recorded, ours))
                .collect()
        }
        _ => ours.clone(),
    }
}

fn check(group: &str, id: &str, status: &str) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/aws");
    let text = std::fs::read_to_string(corpus.join(format!("{group}.json"))).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let case = cases
        .iter()
        .find(|case| case["id"].as_str().unwrap().ends_with(id))
        .unwrap();
    let host = Host::start(ServerOptions {
        account: "111111111111".to_owned(),
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    for machine in case["machines"].as_array().into_iter().flatten() {
        let name = machine["name"].as_str().unwrap();
        create(&mut connection, name, "STANDARD", &machine["definition"]);
    }
    let params = json!({"name": "conformance", "definition": case["definition"].to_string(),
        "roleArn": "arn:aws:iam::111111111111:role/conformance"});
    let created = ok(connection.call("CreateStateMachine", &params));
    let params = json!({"stateMachineArn": created["stateMachineArn"],
        "input": case["input"].to_string()});
    let execution = ok(connection.call("StartExecution", &params))["executionArn"].clone();
    ended(&mut connection, &execution);
    assert_eq!(describe(&mut connection, &execution)["status"], status);
    let mut bindings = Bindings::new();
    for name in ["RedriveCount", "RedriveStatus", "RedriveStatusReason"] {
        bindings.may_lack(name);
    }
    let ours = Value::Array(events(&mut connection, &execution));
    let mut differences = Differences::default();
    let recorded = &case["history"];
    assert_eq!(
        recorded.as_array().unwrap().len(),
        ours.as_array().unwrap().len()
    );
    bindings.compare(
        recorded,
        &readable(recorded, &ours),
        "history",
        &mut differences,
    );
    assert!(differences.is_empty(), "{id}:\n  {}", differences.text());
}

#[test]
fn histories_are_as_recorded() {
    for (group, id, status) in CASES {
        check(group, id, status);
    }
}
