//! STANDARD executions of `quickstep serve --data-dir` outlive the process, however it ends: here it is killed.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "api/client.rs"]
#[expect(dead_code, reason = "the tests of the protocol use the rest of it")]
mod client;
#[path = "restart/site.rs"]
mod site;

use std::time::Duration;

use client::Connection;
use serde_json::{Value, json};
use site::{Site, await_end, create, describe, history, ok, until};

fn start(connection: &mut Connection, machine: &Value, name: &str) -> Value {
    let params = json!({"stateMachineArn": machine, "name": name, "input": "{ \"n\": 1.50 }"});
    ok(connection.call("StartExecution", &params))["executionArn"].clone()
}

fn types(history: &[Value]) -> Vec<&str> {
    let types = history.iter().map(|event| event["type"].as_str().unwrap());
    types.collect()
}

/// Waits until the history ends with an event of that type.
fn await_event(connection: &mut Connection, execution: &Value, event_type: &str) -> Vec<Value> {
    until(|| {
        let events = history(connection, execution);
        let is_there = events
            .last()
            .is_some_and(|event| event["type"] == event_type);
        is_there.then_some(events)
    })
}

fn callback() -> Value {
    json!({"StartAt": "Before", "States": {
        "Before": {"Type": "Pass", "Result": {"kept": [1, 2]}, "ResultPath": "$.before", "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Parameters": {"MessageBody": {"token.$": "$$.Task.Token"}}, "ResultPath": "$.answer", "Next": "After"},
        "After": {"Type": "Pass", "End": true}}})
}

/// The token in the parameters of the task that was scheduled.
fn token_of(events: &[Value]) -> Value {
    let scheduled = events
        .iter()
        .find(|event| event["type"] == "TaskScheduled")
        .unwrap();
    let parameters = &scheduled["taskScheduledEventDetails"]["parameters"];
    let parameters: Value = serde_json::from_str(parameters.as_str().unwrap()).unwrap();
    parameters["MessageBody"]["token"].clone()
}

#[test]
fn executions_wait_for_their_tokens_over_restarts() {
    let site = Site::new("tokens");
    let process = site.serve();
    let mut connection = process.connect();
    let machine = create(&mut connection, "m", &callback());
    let executions: Vec<Value> = (0..3)
        .map(|n| start(&mut connection, &machine, &format!("e{n}")))
        .collect();
    let mut seen = Vec::new();
    for execution in &executions {
        let events = history(&mut connection, execution);
        assert_eq!(events.last().unwrap()["type"], "TaskSubmitted");
        seen.push((token_of(&events), events));
    }
    process.kill();
    // Others take the places that those had.
    let process = site.serve();
    let mut connection = process.connect();
    let other = start(&mut connection, &machine, "other");
    process.kill();
    let process = site.serve();
    let mut connection = process.connect();
    for (execution, (token, events)) in executions.iter().zip(&seen) {
        assert_eq!(describe(&mut connection, execution)["status"], "RUNNING");
        assert_eq!(&history(&mut connection, execution), events);
        ok(connection.call("SendTaskHeartbeat", &json!({"taskToken": token})));
    }
    for ((token, _), n) in seen.iter().zip(0..) {
        let answer = json!({"taskToken": token, "output": n.to_string()});
        ok(connection.call("SendTaskSuccess", &answer));
        let (status, again) = connection.call("SendTaskSuccess", &answer);
        assert_eq!((status, &again["__type"]), (400, &json!("TaskTimedOut")));
    }
    // An answer that was confirmed is not lost either.
    process.kill();
    let process = site.serve();
    let mut connection = process.connect();
    for (execution, n) in executions.iter().zip(0..) {
        let ended = await_end(&mut connection, execution);
        let output = format!("{{\"n\":1.50,\"before\":{{\"kept\":[1,2]}},\"answer\":{n}}}");
        assert_eq!(
            (&ended["status"], &ended["output"]),
            (&json!("SUCCEEDED"), &json!(output))
        );
    }
    assert_eq!(describe(&mut connection, &other)["status"], "RUNNING");
    let described: Vec<Value> = executions
        .iter()
        .map(|e| describe(&mut connection, e))
        .collect();
    let histories: Vec<_> = executions
        .iter()
        .map(|e| history(&mut connection, e))
        .collect();
    process.kill();
    let process = site.serve();
    let mut connection = process.connect();
    for ((execution, described), events) in executions.iter().zip(&described).zip(&histories) {
        assert_eq!(&describe(&mut connection, execution), described);
        assert_eq!(&history(&mut connection, execution), events);
    }
    // Names stay taken, and those of the running executions stand for them.
    let params = json!({"stateMachineArn": machine, "name": "e0", "input": "{ \"n\": 1.50 }"});
    let (_, taken) = connection.call("StartExecution", &params);
    assert_eq!(taken["__type"], "ExecutionAlreadyExists");
    assert_eq!(start(&mut connection, &machine, "other"), other);
    let params = json!({"executionArn": other, "error": "Enough"});
    ok(connection.call("StopExecution", &params));
    assert_eq!(describe(&mut connection, &other)["status"], "ABORTED");
    process.kill();
}

#[test]
fn activities_wait_for_workers_over_restarts() {
    let site = Site::new("activities");
    let process = site.serve();
    let mut connection = process.connect();
    let activity = ok(connection.call("CreateActivity", &json!({"name": "a"})));
    let activity = &activity["activityArn"];
    let definition = json!({"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": activity, "End": true}}});
    let machine = create(&mut connection, "m", &definition);
    let taken = start(&mut connection, &machine, "taken");
    let poll = json!({"activityArn": activity, "workerName": "w"});
    let first = ok(connection.call("GetActivityTask", &poll));
    let waiting = start(&mut connection, &machine, "waiting");
    process.kill();
    let process = site.serve();
    let mut connection = process.connect();
    // Only the task that nobody has taken is handed out.
    let second = ok(connection.call("GetActivityTask", &poll));
    assert_ne!(first["taskToken"], second["taskToken"]);
    for (task, execution) in [(first, taken), (second, waiting)] {
        let answer = json!({"taskToken": task["taskToken"], "output": "[]"});
        ok(connection.call("SendTaskSuccess", &answer));
        let ended = await_end(&mut connection, &execution);
        assert_eq!(
            (&ended["status"], &ended["output"]),
            (&json!("SUCCEEDED"), &json!("[]"))
        );
        let events = history(&mut connection, &execution);
        assert_eq!(
            types(&events),
            [
                "ExecutionStarted",
                "TaskStateEntered",
                "ActivityScheduled",
                "ActivityStarted",
                "ActivitySucceeded",
                "TaskStateExited",
                "ExecutionSucceeded"
            ]
        );
    }
    process.kill();
}

/// Branches that wait for time, and a child process that dies with the server and is begun again.
#[test]
fn branches_and_programs_go_on() {
    let site = Site::new("branches");
    let marker = site.directory.join("marker");
    let script = format!(
        "read -r request; if [ -e {0} ]; then echo '{{\"result\": \"again\"}}'; else touch {0}; sleep 1000; fi",
        marker.display()
    );
    let site =
        site.with_tasks(&json!({"tasks": {"arn:aws:lambda:*": {"exec": ["sh", "-c", script]}}}));
    let process = site.serve();
    let mut connection = process.connect();
    let definition = json!({"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "End": true, "Branches": [
        {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 2, "Next": "Waited"},
            "Waited": {"Type": "Pass", "Result": "waited", "End": true}}},
        {"StartAt": "Work", "States": {"Work": {"Type": "Task", "End": true,
            "Resource": "arn:aws:lambda:us-east-1:123456789012:function:work"}}}]}}});
    let machine = create(&mut connection, "m", &definition);
    let execution = start(&mut connection, &machine, "e");
    until(|| marker.exists().then_some(()));
    process.kill();
    let process = site.serve();
    let mut connection = process.connect();
    let ended = await_end(&mut connection, &execution);
    assert_eq!(ended["output"], "[\"waited\",\"again\"]", "{ended}");
    let events = history(&mut connection, &execution);
    let scheduled = types(&events)
        .iter()
        .filter(|t| **t == "LambdaFunctionScheduled")
        .count();
    assert_eq!(scheduled, 1, "{events:#?}");
    process.kill();
}

/// Whatever was acknowledged is there after any kill, and comes to its end with a history that has no gap.
#[test]
fn no_execution_is_lost_whenever_the_process_is_killed() {
    let site = Site::new("kills")
        .with_tasks(&json!({"tasks": {"arn:aws:lambda:*": {"result": {"done": true}}}}));
    let task = |next: &str| {
        json!({"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f",
            "ResultPath": null, "Next": next})
    };
    let wait = |next: &str| json!({"Type": "Wait", "Seconds": 1, "Next": next});
    let definition = json!({"StartAt": "A", "States": {
        "A": task("B"), "B": {"Type": "Pass", "Next": "C"}, "C": wait("D"), "D": task("E"), "E": {"Type": "Succeed"}}});
    let mut machine = Value::Null;
    let mut started = Vec::new();
    for round in 0..8_u64 {
        let process = site.serve();
        let mut connection = process.connect();
        if machine.is_null() {
            machine = create(&mut connection, "m", &definition);
        }
        for n in 0..10 {
            started.push(start(&mut connection, &machine, &format!("e-{round}-{n}")));
        }
        // Each kill comes at another moment of the executions before.
        std::thread::park_timeout(Duration::from_millis(round * 170));
        process.kill();
    }
    let process = site.serve();
    let mut connection = process.connect();
    for execution in &started {
        let ended = await_end(&mut connection, execution);
        assert_eq!(
            (&ended["status"], &ended["output"]),
            (&json!("SUCCEEDED"), &json!("{\"n\":1.50}"))
        );
        let events = history(&mut connection, execution);
        assert!(
            (1..).zip(&events).all(|(id, event)| event["id"] == id),
            "{events:#?}"
        );
        let names: Vec<&str> = events
            .iter()
            .filter_map(|event| event["stateEnteredEventDetails"]["name"].as_str())
            .collect();
        assert_eq!(names, ["A", "B", "C", "D", "E"]);
        assert_eq!(types(&events).last(), Some(&"ExecutionSucceeded"));
    }
    process.kill();
}

/// One that never waits is kept as well.
#[test]
fn executions_that_only_compute_go_on() {
    let site = Site::new("loops");
    let process = site.serve();
    let mut connection = process.connect();
    let definition = json!({"StartAt": "A", "States": {
        "A": {"Type": "Choice", "Choices": [{"Variable": "$.never", "IsPresent": true, "Next": "B"}], "Default": "A"},
        "B": {"Type": "Succeed"}}});
    let machine = create(&mut connection, "m", &definition);
    let execution = start(&mut connection, &machine, "e");
    process.kill();
    let process = site.serve();
    let mut connection = process.connect();
    let ended = await_end(&mut connection, &execution);
    assert_eq!(
        ended["cause"],
        "The execution reached the maximum number of history events (25000)."
    );
    let params = json!({"executionArn": execution, "reverseOrder": true, "maxResults": 1});
    let last = ok(connection.call("GetExecutionHistory", &params));
    assert_eq!(last["events"][0]["id"], 25_000);
    process.kill();
    let process = site.serve();
    let last_again = ok(process.connect().call("GetExecutionHistory", &params));
    assert_eq!(last["events"], last_again["events"]);
}

/// An execution whose machine is gone has its own copy of the definition.
#[test]
fn deleted_machines_leave_their_executions() {
    let site = Site::new("deleted");
    let process = site.serve();
    let mut connection = process.connect();
    let wait = |seconds: u32| json!({"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": seconds, "End": true}}});
    let machine = create(&mut connection, "m", &wait(1));
    let execution = start(&mut connection, &machine, "e");
    ok(connection.call("DeleteStateMachine", &json!({"stateMachineArn": machine})));
    process.kill();
    let process = site.serve();
    let mut connection = process.connect();
    let ended = await_end(&mut connection, &execution);
    assert_eq!(ended["status"], "SUCCEEDED");
    let events = await_event(&mut connection, &execution, "ExecutionSucceeded");
    assert_eq!(events.len(), 4);
    process.kill();
}

/// Settings of a later process do not undo what an earlier one has taken in.
#[test]
fn other_settings_leave_executions_as_they_are() {
    let site = Site::new("settings").with_tasks(&json!({
        "StateMachines": {"m": {"TestCases": {"Happy": {"Ask": "Answer"}}}},
        "MockedResponses": {"Answer": {"0": {"Return": {"cost": 9}}}}}));
    let process = site.serve();
    let mut connection = process.connect();
    let definition = json!({"StartAt": "A", "States": {
        "A": {"Type": "Wait", "Seconds": 2, "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f", "End": true}}});
    let machine = create(&mut connection, "m", &definition);
    let case = json!(format!("{}#Happy", machine.as_str().unwrap()));
    let executions: Vec<Value> = (0..3)
        .map(|n| start(&mut connection, &case, &format!("e{n}")))
        .collect();
    process.kill();
    let output = site.command().output().unwrap();
    assert!(!output.status.success());
    let refused = String::from_utf8(output.stderr).unwrap();
    assert!(
        refused.contains("cannot go on") && refused.contains("--tasks"),
        "{refused}"
    );
    let process = site.serve();
    let mut connection = process.connect();
    for execution in &executions {
        let ended = await_end(&mut connection, execution);
        assert_eq!(ended["output"], "{\"cost\":9}", "{ended}");
    }
    process.kill();
}
