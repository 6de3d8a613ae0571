//! Executions that start executions of the same server.

use std::path::PathBuf;

use quickstep::server::ServerOptions;
use serde_json::{Value, json};

use crate::client::{Connection, Host};
use crate::support::{
    create, describe, ended, events, failure, ok, one_task, output, run, start, types, until,
};

const START: &str = "arn:aws:states:::states:startExecution";

fn host() -> Host {
    Host::start(ServerOptions::default())
}

fn echo() -> Value {
    json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}})
}

/// Almost a year.
fn wait() -> Value {
    json!({"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 31_000_000, "End": true}}})
}

/// A machine that starts a child in a pattern, with its own input and ARN.
fn parent(pattern: &str, child: &Value) -> Value {
    one_task(
        &format!("{START}{pattern}"),
        json!({"StateMachineArn": child, "Input": {
            "given.$": "$", "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID.$": "$$.Execution.Id"}}),
    )
}

#[test]
fn a_start_is_answered_as_aws_does() {
    let host = host();
    let mut connection = host.connect();
    let child = create(&mut connection, "child", "STANDARD", &echo());
    let machine = create(&mut connection, "parent", "STANDARD", &parent("", &child));
    let execution = start(&mut connection, &machine, &json!({"n": 1}));
    let answer = output(&ended(&mut connection, &execution));
    let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "ExecutionArn",
            "SdkHttpMetadata",
            "SdkResponseMetadata",
            "StartDate"
        ]
    );
    assert_eq!(answer["SdkHttpMetadata"]["HttpStatusCode"], 200);
    assert!(answer["StartDate"].as_u64().unwrap() > 1_600_000_000_000);
    let child = ended(&mut connection, &answer["ExecutionArn"]);
    assert_eq!(
        output(&child),
        json!({"given": {"n": 1}, "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": execution})
    );
    let types = events(&mut connection, &execution);
    assert_eq!(
        self::types(&types)[2..5],
        ["TaskScheduled", "TaskStarted", "TaskSucceeded"]
    );
}

#[test]
fn the_end_of_a_child_is_the_result() {
    let host = host();
    let mut connection = host.connect();
    let child = create(&mut connection, "child", "STANDARD", &echo());
    for (pattern, output_is_parsed) in [(".sync", false), (".sync:2", true)] {
        let name = format!("parent{output_is_parsed}");
        let machine = create(&mut connection, &name, "STANDARD", &parent(pattern, &child));
        let execution = start(&mut connection, &machine, &json!([1.10]));
        let result = output(&ended(&mut connection, &execution));
        assert_eq!(result["Status"], "SUCCEEDED");
        assert_eq!(result["InputDetails"], json!({"Included": true}));
        let text = format!(
            r#"{{"given":[1.1],"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID":{execution}}}"#
        );
        match output_is_parsed {
            true => assert_eq!(
                result["Output"],
                serde_json::from_str::<Value>(&text).unwrap()
            ),
            false => assert_eq!(result["Output"], text),
        }
        assert_eq!(result["Input"], text);
        let events = events(&mut connection, &execution);
        assert_eq!(
            types(&events)[2..6],
            [
                "TaskScheduled",
                "TaskStarted",
                "TaskSubmitted",
                "TaskSucceeded"
            ]
        );
        let submitted = &events[4]["taskSubmittedEventDetails"];
        assert_eq!(submitted["resource"], format!("startExecution{pattern}"));
        let submitted: Value = serde_json::from_str(submitted["output"].as_str().unwrap()).unwrap();
        assert_eq!(submitted["ExecutionArn"], result["ExecutionArn"]);
    }
}

#[test]
fn a_child_that_fails_fails_its_task() {
    let host = host();
    let mut connection = host.connect();
    let fail =
        json!({"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E", "Cause": "C"}}});
    let child = create(&mut connection, "child", "STANDARD", &fail);
    let mut definition = parent(".sync", &child);
    definition["States"]["T"]["Retry"] =
        json!([{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 1}]);
    let machine = create(&mut connection, "parent", "STANDARD", &definition);
    let execution = start(&mut connection, &machine, &json!({}));
    let (error, cause) = failure(&ended(&mut connection, &execution));
    assert_eq!(error, "States.TaskFailed");
    let cause: Value = serde_json::from_str(&cause).unwrap();
    assert_eq!(
        [&cause["Status"], &cause["Error"], &cause["Cause"]],
        ["FAILED", "E", "C"]
    );
    let events = events(&mut connection, &execution);
    let failed = types(&events)
        .iter()
        .filter(|t| **t == "TaskFailed")
        .count();
    assert_eq!(failed, 2, "one retry, with a child of its own");
    let listed = ok(connection.call("ListExecutions", &json!({"stateMachineArn": child})));
    assert_eq!(listed["executions"].as_array().unwrap().len(), 2);
}

#[test]
fn a_child_that_cannot_be_started_fails_the_submission() {
    let host = host();
    let mut connection = host.connect();
    let none = json!("arn:aws:states:us-east-1:123456789012:stateMachine:none");
    let express = create(&mut connection, "express", "EXPRESS", &echo());
    for (pattern, child, event, error) in [
        (
            "",
            &none,
            "TaskFailed",
            "StepFunctions.StateMachineDoesNotExistException",
        ),
        (
            ".sync",
            &none,
            "TaskSubmitFailed",
            "StepFunctions.StateMachineDoesNotExistException",
        ),
        (
            ".waitForTaskToken",
            &none,
            "TaskSubmitFailed",
            "StepFunctions.StateMachineDoesNotExistException",
        ),
        (
            ".sync",
            &express,
            "TaskSubmitFailed",
            "StepFunctions.StateMachineTypeNotSupportedException",
        ),
    ] {
        let name = format!("parent{}", child.as_str().unwrap().len() + pattern.len());
        let mut definition = parent(pattern, child);
        definition["States"]["T"]["Parameters"]["Input"]["token.$"] = match pattern {
            ".waitForTaskToken" => json!("$$.Task.Token"),
            _ => json!("$$.Execution.Name"),
        };
        let machine = create(&mut connection, &name, "STANDARD", &definition);
        let execution = start(&mut connection, &machine, &json!({}));
        let (found, cause) = failure(&ended(&mut connection, &execution));
        assert_eq!(found, error);
        assert!(
            cause.contains("(Service: AWSStepFunctions; Status Code: 400; "),
            "{cause}"
        );
        let events = events(&mut connection, &execution);
        assert_eq!(types(&events)[4], event, "{pattern}");
        let details = match event {
            "TaskFailed" => &events[4]["taskFailedEventDetails"],
            _ => &events[4]["taskSubmitFailedEventDetails"],
        };
        assert_eq!(details["resourceType"], "states");
        assert_eq!(details["error"], error);
        let params = json!({"stateMachineArn": machine});
        ok(connection.call("DeleteStateMachine", &params));
    }
}

#[test]
fn children_are_stopped_with_their_parents() {
    let host = host();
    let mut connection = host.connect();
    let grandchild = create(&mut connection, "grandchild", "STANDARD", &wait());
    let child = create(
        &mut connection,
        "child",
        "STANDARD",
        &parent(".sync", &grandchild),
    );
    let machine = create(
        &mut connection,
        "parent",
        "STANDARD",
        &parent(".sync", &child),
    );
    let execution = start(&mut connection, &machine, &json!({}));
    let all = json!({"stateMachineArn": grandchild});
    let found = until(|| {
        let listed = ok(connection.call("ListExecutions", &all));
        listed["executions"].get(0).cloned()
    });
    ok(connection.call("StopExecution", &json!({"executionArn": execution})));
    assert_eq!(describe(&mut connection, &execution)["status"], "ABORTED");
    let stopped = ended(&mut connection, &found["executionArn"]);
    assert_eq!(stopped["status"], "ABORTED");
}

#[test]
fn a_child_is_stopped_when_its_task_times_out() {
    let host = host();
    let mut connection = host.connect();
    let child = create(&mut connection, "child", "STANDARD", &wait());
    let mut definition = parent(".sync", &child);
    definition["States"]["T"]["TimeoutSeconds"] = 1.into();
    let machine = create(&mut connection, "parent", "STANDARD", &definition);
    let described = run(&mut connection, &machine, &json!({}));
    assert_eq!(failure(&described).0, "States.Timeout");
    let listed = ok(connection.call("ListExecutions", &json!({"stateMachineArn": child})));
    let stopped = ended(&mut connection, &listed["executions"][0]["executionArn"]);
    assert_eq!(stopped["status"], "ABORTED");
}

#[test]
fn a_child_may_answer_by_the_token() {
    let host = host();
    let mut connection = host.connect();
    let definition = one_task(
        "arn:aws:states:::aws-sdk:sfn:sendTaskSuccess",
        json!({"TaskToken.$": "$.token", "Output": {"from": "child"}}),
    );
    let child = create(&mut connection, "child", "EXPRESS", &definition);
    let definition = one_task(
        &format!("{START}.waitForTaskToken"),
        json!({"StateMachineArn": child, "Input": {"token.$": "$$.Task.Token"}}),
    );
    let machine = create(&mut connection, "parent", "STANDARD", &definition);
    let described = run(&mut connection, &machine, &json!({}));
    assert_eq!(output(&described), json!({"from": "child"}));
}

#[test]
fn synchronous_starts_of_express_children() {
    let host = host();
    let mut connection = host.connect();
    let child = create(&mut connection, "child", "EXPRESS", &echo());
    let definition = one_task(
        "arn:aws:states:::aws-sdk:sfn:startSyncExecution",
        json!({"StateMachineArn": child, "Input": {"a.$": "$.a"}}),
    );
    let machine = create(&mut connection, "parent", "EXPRESS", &definition);
    let params = json!({"stateMachineArn": machine, "input": r#"{"a":1}"#});
    let described = ok(connection.call("StartSyncExecution", &params));
    let result = output(&described);
    assert_eq!(result["Output"], r#"{"a":1}"#);
    assert_eq!(result["Status"], "SUCCEEDED");
    assert_eq!(result["BillingDetails"]["BilledMemoryUsedInMB"], 64);
    let date = result["StartDate"].as_str().unwrap();
    assert!(quickstep::stdx::Timestamp::parse(date).is_ok(), "{date}");
}

#[test]
fn express_machines_cannot_wait_for_executions() {
    let host = host();
    let mut connection = host.connect();
    for pattern in [".sync", ".sync:2", ".waitForTaskToken"] {
        let definition = parent(pattern, &json!("arn:aws:states:us-east-1:1:stateMachine:x"));
        let params = json!({"name": "m", "definition": definition.to_string(),
            "roleArn": "arn:aws:iam::123456789012:role/any", "type": "EXPRESS"});
        let (status, answer) = connection.call("CreateStateMachine", &params);
        assert_eq!(status, 400);
        assert_eq!(answer["__type"], "InvalidDefinition");
    }
}

fn data_dir(name: &str) -> PathBuf {
    let id = std::process::id();
    let directory = std::env::temp_dir().join(format!("quickstep-{name}-{id}"));
    // What an earlier process of that number has left.
    let _ = std::fs::remove_dir_all(&directory);
    directory
}

fn last_type(connection: &mut Connection, execution: &Value) -> String {
    let events = events(connection, execution);
    types(&events).last().unwrap().to_string()
}

#[test]
fn children_are_waited_for_after_a_restart() {
    let directory = data_dir("children");
    let options = || ServerOptions {
        data_dir: Some(directory.clone()),
        ..ServerOptions::default()
    };
    let host = Host::start(options());
    let mut connection = host.connect();
    // A child that waits for a token, which is told to nobody but the test.
    let ask = one_task(
        "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        json!({"QueueUrl": "none", "MessageBody": {"token.$": "$$.Task.Token"}}),
    );
    let child = create(&mut connection, "child", "STANDARD", &ask);
    let machine = create(
        &mut connection,
        "parent",
        "STANDARD",
        &parent(".sync:2", &child),
    );
    let execution = start(&mut connection, &machine, &json!({}));
    until(|| (last_type(&mut connection, &execution) == "TaskSubmitted").then_some(()));
    let all = json!({"stateMachineArn": child});
    let listed = ok(connection.call("ListExecutions", &all));
    let found = listed["executions"][0]["executionArn"].clone();
    until(|| (last_type(&mut connection, &found) == "TaskSubmitted").then_some(()));
    let scheduled = events(&mut connection, &found);
    let parameters = &scheduled[2]["taskScheduledEventDetails"]["parameters"];
    let parameters: Value = serde_json::from_str(parameters.as_str().unwrap()).unwrap();
    let token = parameters["MessageBody"]["token"].clone();
    assert_eq!(host.stop(), 0);

    let host = Host::start(options());
    let mut connection = host.connect();
    assert_eq!(describe(&mut connection, &execution)["status"], "RUNNING");
    assert_eq!(describe(&mut connection, &found)["status"], "RUNNING");
    let params = json!({"taskToken": token, "output": r#""done""#});
    ok(connection.call("SendTaskSuccess", &params));
    let result = output(&ended(&mut connection, &execution));
    assert_eq!(result["Output"], "done");
    assert_eq!(result["ExecutionArn"], found);
    // No second child was started, and nothing was submitted twice.
    let listed = ok(connection.call("ListExecutions", &all));
    assert_eq!(listed["executions"].as_array().unwrap().len(), 1);
    let events = events(&mut connection, &execution);
    let submitted = types(&events)
        .iter()
        .filter(|t| **t == "TaskSubmitted")
        .count();
    assert_eq!(submitted, 1);
    drop(host);
    std::fs::remove_dir_all(&directory).unwrap();
}
