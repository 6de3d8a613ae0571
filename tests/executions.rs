//! Executions of the server on the engine: how many there may be, what is kept of them, what becomes of them when machines
//! change and clients go.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "api/client.rs"]
#[expect(dead_code, reason = "the tests of the protocol use the rest of it")]
mod client;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::{Connection, Host};
use quickstep::engine::{Clock, Limits, StartRate};
use quickstep::server::ServerOptions;
use quickstep::stdx::Timestamp;
use serde_json::{Value, json};

const PASS: &str = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}"#;

/// Almost a year.
const WAIT: &str =
    r#"{"StartAt":"A","States":{"A":{"Type":"Wait","Seconds":31000000,"End":true}}}"#;

fn create(connection: &mut Connection, name: &str, kind: &str, definition: &str) -> Value {
    let params = json!({
        "name": name,
        "definition": definition,
        "roleArn": "arn:aws:iam::123456789012:role/any",
        "type": kind,
    });
    ok(connection.call("CreateStateMachine", &params))["stateMachineArn"].clone()
}

fn ok((status, answer): (u16, Value)) -> Value {
    assert_eq!(status, 200, "{answer}");
    answer
}

fn refused((status, answer): (u16, Value)) -> String {
    assert!(status >= 400, "{answer}");
    answer["__type"].as_str().unwrap().to_owned()
}

fn start(connection: &mut Connection, machine: &Value) -> Value {
    let params = json!({"stateMachineArn": machine});
    ok(connection.call("StartExecution", &params))["executionArn"].clone()
}

/// Asks until the execution stands so.
fn await_status(connection: &mut Connection, execution: &Value, status: &str) -> Value {
    let params = json!({"executionArn": execution});
    loop {
        let described = ok(connection.call("DescribeExecution", &params));
        if described["status"] == status {
            return described;
        }
        assert_eq!(described["status"], "RUNNING", "{described}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn histories_of_express_executions_are_kept_if_wanted() {
    let host = Host::start(ServerOptions {
        express_history: 2,
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let machine = create(&mut connection, "m", "EXPRESS", PASS);
    let mut executions = Vec::new();
    for operation in ["StartSyncExecution", "StartExecution", "StartSyncExecution"] {
        let input = format!("{{\"n\":{}}}", executions.len());
        let params = json!({"stateMachineArn": machine, "name": "same", "input": input});
        let started = ok(connection.call(operation, &params));
        await_status(&mut connection, &started["executionArn"], "SUCCEEDED");
        executions.push(started["executionArn"].clone());
    }
    let forgotten = json!({"executionArn": executions[0]});
    let is_forgotten = |answer| refused(answer) == "ExecutionDoesNotExist";
    assert!(is_forgotten(
        connection.call("DescribeExecution", &forgotten)
    ));
    assert!(is_forgotten(
        connection.call("GetExecutionHistory", &forgotten)
    ));
    for (n, execution) in executions.iter().enumerate().skip(1) {
        let params = json!({"executionArn": execution});
        let described = ok(connection.call("DescribeExecution", &params));
        assert_eq!(described["output"], format!("{{\"n\":{n}}}"));
        assert_eq!(described["name"], "same");
        let history = ok(connection.call("GetExecutionHistory", &params));
        let types: Vec<&str> = history["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        assert_eq!(
            types,
            [
                "ExecutionStarted",
                "PassStateEntered",
                "PassStateExited",
                "ExecutionSucceeded"
            ]
        );
    }
    let listed = ok(connection.call("ListExecutions", &json!({"stateMachineArn": machine})));
    let listed: Vec<&Value> = listed["executions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|execution| &execution["executionArn"])
        .collect();
    assert_eq!(listed, [&executions[2], &executions[1]]);
    // There is nothing to wait for, and AWS has no such operation either.
    let params = json!({"executionArn": executions[2]});
    assert_eq!(
        refused(connection.call("StopExecution", &params)),
        "InvalidArn"
    );
}

#[test]
fn without_the_option_aws_refusals_stand() {
    let host = Host::start(ServerOptions::default());
    let mut connection = host.connect();
    let machine = create(&mut connection, "m", "EXPRESS", PASS);
    let execution = start(&mut connection, &machine);
    for operation in ["DescribeExecution", "GetExecutionHistory", "StopExecution"] {
        let (status, answer) = connection.call(operation, &json!({"executionArn": execution}));
        assert_eq!(
            (status, &answer["message"]),
            (
                400,
                &json!("Invalid Arn: 'Resource type not valid in this context: express'")
            )
        );
    }
    let params = json!({"stateMachineArn": machine});
    let refusal = refused(connection.call("ListExecutions", &params));
    assert_eq!(refusal, "StateMachineTypeNotSupported");
}

#[test]
fn executions_have_a_bound() {
    let limits = Limits {
        executions: 1,
        ..Limits::default()
    };
    let host = Host::start(ServerOptions {
        limits,
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let express = create(&mut connection, "e", "EXPRESS", PASS);
    let standard = create(&mut connection, "s", "STANDARD", WAIT);
    let waiting = start(&mut connection, &standard);
    let of_standard = json!({"stateMachineArn": standard});
    let of_express = json!({"stateMachineArn": express});
    for (operation, params, refusal) in [
        ("StartExecution", &of_standard, "ExecutionLimitExceeded"),
        ("StartExecution", &of_express, "ExecutionLimitExceeded"),
        ("StartSyncExecution", &of_express, "ThrottlingException"),
    ] {
        assert_eq!(refused(connection.call(operation, params)), refusal);
    }
    ok(connection.call("StopExecution", &json!({"executionArn": waiting})));
    // Its room is free a moment after its end is known.
    while connection.call("StartSyncExecution", &of_express).0 != 200 {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let listed = ok(connection.call("ListExecutions", &of_standard));
    assert_eq!(
        listed["executions"].as_array().unwrap().len(),
        1,
        "{listed}"
    );
}

/// A clock that stands.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn nanos(&self) -> u64 {
        1
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(1_750_000_000_123)
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }
}

#[test]
fn starts_have_a_rate() {
    let start_rate = Some(StartRate {
        bucket: 2,
        refill_per_second: 1,
    });
    let host = Host::start(ServerOptions {
        limits: Limits {
            start_rate,
            ..Limits::default()
        },
        clock: Arc::new(Still),
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let machine = create(&mut connection, "m", "EXPRESS", PASS);
    let params = json!({"stateMachineArn": machine});
    let first = ok(connection.call("StartSyncExecution", &params));
    assert_eq!(first["startDate"], json!(1_750_000_000.123));
    assert_eq!(first["billingDetails"]["billedDurationInMilliseconds"], 100);
    ok(connection.call("StartExecution", &params));
    for operation in ["StartSyncExecution", "StartExecution"] {
        assert_eq!(
            refused(connection.call(operation, &params)),
            "ThrottlingException"
        );
    }
}

#[test]
fn machines_come_and_go_under_their_executions() {
    let host = Host::start(ServerOptions::default());
    let mut connection = host.connect();
    let definition = |result: &str| {
        json!({"StartAt": "Ask", "States": {
            "Ask": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                "Parameters": {"MessageBody": {"token.$": "$$.Task.Token"}}, "Next": "Say"},
            "Say": {"Type": "Pass", "Result": result, "End": true}}})
        .to_string()
    };
    let machine = create(&mut connection, "m", "STANDARD", &definition("first"));
    let first = start(&mut connection, &machine);
    let update = json!({"stateMachineArn": machine, "definition": definition("second")});
    ok(connection.call("UpdateStateMachine", &update));
    let second = start(&mut connection, &machine);
    ok(connection.call("DeleteStateMachine", &json!({"stateMachineArn": machine})));
    let params = json!({"stateMachineArn": machine});
    let refusal = refused(connection.call("StartExecution", &params));
    assert_eq!(refusal, "StateMachineDoesNotExist");
    for (execution, output) in [(second, "\"second\""), (first, "\"first\"")] {
        let history = json!({"executionArn": execution});
        let history = ok(connection.call("GetExecutionHistory", &history));
        let scheduled = &history["events"][2]["taskScheduledEventDetails"]["parameters"];
        let scheduled: Value = serde_json::from_str(scheduled.as_str().unwrap()).unwrap();
        let token = &scheduled["MessageBody"]["token"];
        ok(connection.call("SendTaskHeartbeat", &json!({"taskToken": token})));
        let answer = json!({"taskToken": token, "output": "{}"});
        ok(connection.call("SendTaskSuccess", &answer));
        let ended = await_status(&mut connection, &execution, "SUCCEEDED");
        assert_eq!(ended["output"], output);
        assert_eq!(
            refused(connection.call("SendTaskSuccess", &answer)),
            "TaskTimedOut"
        );
    }
}

/// If waiting executions held threads, two threads would need longer for these than the client's patience.
#[test]
fn executions_that_wait_hold_no_threads() {
    let host = Host::start(ServerOptions::default());
    let definition = WAIT.replace("31000000", "1");
    let machine = create(&mut host.connect(), "m", "EXPRESS", &definition);
    let body = json!({"stateMachineArn": machine, "input": "[1]"}).to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AWSStepFunctions.StartSyncExecution\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connections: Vec<Connection> = (0..300).map(|_| host.connect()).collect();
    for connection in &mut connections {
        connection.send(request.as_bytes()).unwrap();
    }
    for connection in &mut connections {
        let answer = connection.receive().unwrap().json();
        assert_eq!(answer["status"], "SUCCEEDED", "{answer}");
        assert_eq!(answer["output"], "[1]");
    }
}

#[test]
fn many_executions_wait_for_a_year_and_are_stopped() {
    const MANY: usize = 1_000;
    let host = Host::start(ServerOptions::default());
    let mut connection = host.connect();
    let machine = create(&mut connection, "m", "STANDARD", WAIT);
    let executions: Vec<Value> = (0..MANY)
        .map(|_| start(&mut connection, &machine))
        .collect();
    for execution in &executions[1..] {
        let params = json!({"executionArn": execution, "error": "Enough"});
        ok(connection.call("StopExecution", &params));
        let stopped = ok(connection.call("DescribeExecution", &json!({"executionArn": execution})));
        assert_eq!(
            (&stopped["status"], &stopped["error"]),
            (&json!("ABORTED"), &json!("Enough"))
        );
    }
    await_status(&mut connection, &executions[0], "RUNNING");
    assert_eq!(host.stop(), 1);
}

/// An execution whose client has gone comes to its end all the same.
#[test]
fn clients_that_go_leave_their_executions() {
    let host = Host::start(ServerOptions {
        express_history: 10,
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let definition = WAIT.replace("31000000", "1");
    let machine = create(&mut connection, "m", "EXPRESS", &definition);
    let list = json!({"stateMachineArn": machine});
    let body = list.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AWSStepFunctions.StartSyncExecution\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut leaving = host.connect();
    leaving.send(request.as_bytes()).unwrap();
    let execution = loop {
        let listed = ok(connection.call("ListExecutions", &list));
        if let Some(execution) = listed["executions"].get(0) {
            break execution["executionArn"].clone();
        }
    };
    drop(leaving);
    await_status(&mut connection, &execution, "SUCCEEDED");
}

#[test]
fn activities_pass_over_tasks_of_executions_that_are_gone() {
    let host = Host::start(ServerOptions::default());
    let mut connection = host.connect();
    let activity =
        ok(connection.call("CreateActivity", &json!({"name": "a"})))["activityArn"].clone();
    let definition = json!({"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": activity, "End": true}}});
    let machine = create(&mut connection, "m", "STANDARD", &definition.to_string());
    // More than are kept before the queue is swept.
    for _ in 0..1_200 {
        let execution = start(&mut connection, &machine);
        ok(connection.call("StopExecution", &json!({"executionArn": execution})));
    }
    let last = start(&mut connection, &machine);
    let poll = json!({"activityArn": activity, "workerName": "w"});
    let task = ok(connection.call("GetActivityTask", &poll));
    let failure = json!({"taskToken": task["taskToken"], "error": "Broken", "cause": "as ever"});
    ok(connection.call("SendTaskFailure", &failure));
    let ended = await_status(&mut connection, &last, "FAILED");
    assert_eq!(
        (&ended["error"], &ended["cause"]),
        (&json!("Broken"), &json!("as ever"))
    );
    let history = ok(connection.call("GetExecutionHistory", &json!({"executionArn": last})));
    let started = &history["events"][3]["activityStartedEventDetails"];
    assert_eq!(started, &json!({"workerName": "w"}));
}

#[test]
fn logging_configurations_that_cannot_be_followed_are_refused() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("logging-refused");
    // What an earlier run has left behind.
    let _ = std::fs::remove_dir_all(&directory);
    let host = Host::start(ServerOptions {
        data_dir: Some(directory.clone()),
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let logging = |group: &str| {
        json!({"level": "ALL", "includeExecutionData": true, "destinations": [
            {"cloudWatchLogsLogGroup": {"logGroupArn": format!("arn:aws:logs:us-east-1:123456789012:log-group:{group}:*")}}]})
    };
    let machine = |name: &str, group: &str| {
        json!({
            "name": name,
            "definition": PASS,
            "roleArn": "arn:aws:iam::123456789012:role/any",
            "type": "EXPRESS",
            "loggingConfiguration": logging(group),
        })
    };
    ok(connection.call("CreateStateMachine", &machine("good", "orders")));
    assert!(directory.join("logs/orders.ndjson").is_file());
    for group in ["../outside", "a/../../b", "", "orders.ndjson/below"] {
        let answer = connection.call("CreateStateMachine", &machine("bad", group));
        assert_eq!(refused(answer), "InvalidLoggingConfiguration", "{group}");
    }
    let good = "arn:aws:states:us-east-1:123456789012:stateMachine:good";
    let update = json!({"stateMachineArn": good, "loggingConfiguration": logging("../outside")});
    let answer = connection.call("UpdateStateMachine", &update);
    assert_eq!(refused(answer), "InvalidLoggingConfiguration");
    let listed = ok(connection.call("ListStateMachines", &json!({})));
    assert_eq!(listed["stateMachines"].as_array().unwrap().len(), 1);
    let run = json!({"stateMachineArn": good});
    assert_eq!(
        ok(connection.call("StartSyncExecution", &run))["status"],
        "SUCCEEDED"
    );
    host.stop();
    let log = std::fs::read_to_string(directory.join("logs/orders.ndjson")).unwrap();
    assert_eq!(log.lines().count(), 4, "{log}");
    std::fs::remove_dir_all(&directory).unwrap();
}
