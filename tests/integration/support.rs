//! A server, its machines, and what became of executions.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Connection;

pub(crate) fn ok((status, answer): (u16, Value)) -> Value {
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Creates a machine; returns its ARN.
pub(crate) fn create(
    connection: &mut Connection,
    name: &str,
    kind: &str,
    definition: &Value,
) -> Value {
    let params = json!({
        "name": name,
        "definition": definition.to_string(),
        "roleArn": "arn:aws:iam::123456789012:role/any",
        "type": kind,
    });
    ok(connection.call("CreateStateMachine", &params))["stateMachineArn"].clone()
}

/// A machine of one Task, which ends it.
pub(crate) fn one_task(resource: &str, parameters: Value) -> Value {
    json!({"StartAt": "T", "States": {"T": {
        "Type": "Task", "Resource": resource, "Parameters": parameters, "End": true}}})
}

pub(crate) fn start(connection: &mut Connection, machine: &Value, input: &Value) -> Value {
    let params = json!({"stateMachineArn": machine, "input": input.to_string()});
    ok(connection.call("StartExecution", &params))["executionArn"].clone()
}

/// Asks until something is so.
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

pub(crate) fn describe(connection: &mut Connection, execution: &Value) -> Value {
    ok(connection.call("DescribeExecution", &json!({ "executionArn": execution })))
}

/// Its description once it has ended.
pub(crate) fn ended(connection: &mut Connection, execution: &Value) -> Value {
    until(|| {
        let described = describe(connection, execution);
        (described["status"] != "RUNNING").then_some(described)
    })
}

/// Runs an execution to its end.
pub(crate) fn run(connection: &mut Connection, machine: &Value, input: &Value) -> Value {
    let execution = start(connection, machine, input);
    ended(connection, &execution)
}

/// The output, parsed; the execution must have succeeded.
pub(crate) fn output(described: &Value) -> Value {
    assert_eq!(described["status"], "SUCCEEDED", "{described}");
    serde_json::from_str(described["output"].as_str().unwrap()).unwrap()
}

/// Error and cause; the execution must have failed.
pub(crate) fn failure(described: &Value) -> (String, String) {
    assert_eq!(described["status"], "FAILED", "{described}");
    let text = |name: &str| described[name].as_str().unwrap_or_default().to_owned();
    (text("error"), text("cause"))
}

pub(crate) fn events(connection: &mut Connection, execution: &Value) -> Vec<Value> {
    let params = json!({ "executionArn": execution });
    let history = ok(connection.call("GetExecutionHistory", &params));
    history["events"].as_array().unwrap().clone()
}

pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    let types = events.iter().map(|event| event["type"].as_str().unwrap());
    types.collect()
}
