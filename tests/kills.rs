//! `quickstep serve --data-dir` is killed again and again in the middle of STANDARD executions of every kind of state. All of
//! them come to their ends with the right output, and no task is done again whose completion was recorded.
//!
//! Twenty times here; `QUICKSTEP_KILLS=100 cargo test --test kills` does it as often as it says.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "api/client.rs"]
#[expect(dead_code, reason = "the tests of the protocol use the rest of it")]
mod client;
#[path = "restart/site.rs"]
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::Connection;
use serde_json::{Value, json};
use site::{Site, await_end, create, history, ok};

const KILLS: usize = 20;

fn kills() -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "how often is up to whoever runs it"
    )]
    let kills = std::env::var("QUICKSTEP_KILLS");
    kills.map_or(KILLS, |kills| kills.parse().unwrap())
}

/// A task that a child process does, which says so in the ledger.
fn work(step: &str) -> Value {
    json!({"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:work",
        "Parameters": {"key.$": format!("States.Format('{{}}/{step}', $$.Execution.Name)")},
        "ResultPath": null, "End": true})
}

fn next(mut state: Value, name: &str) -> Value {
    state.as_object_mut().unwrap().remove("End");
    state["Next"] = json!(name);
    state
}

fn wait() -> Value {
    json!({"Type": "Wait", "Seconds": 1, "End": true})
}

/// A task that a client does.
fn activity(arn: &Value, step: &str) -> Value {
    json!({"Type": "Task", "Resource": arn,
        "Parameters": {"key.$": format!("States.Format('{{}}/{step}', $$.Execution.Name)")},
        "ResultPath": format!("$.{step}"), "End": true})
}

fn callback(step: &str) -> Value {
    json!({"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": "q", "MessageBody": {
            "token.$": "$$.Task.Token", "key.$": format!("States.Format('{{}}/{step}', $$.Execution.Name)")}},
        "ResultPath": format!("$.{step}"), "End": true})
}

fn chain(states: &[(&str, Value)]) -> Value {
    let mut all = serde_json::Map::new();
    for (at, (name, state)) in states.iter().enumerate() {
        let state = match states.get(at + 1) {
            Some((following, _)) => next(state.clone(), following),
            None => state.clone(),
        };
        all.insert((*name).to_owned(), state);
    }
    json!({"StartAt": states[0].0, "States": all})
}

/// Machines with the outputs that they are to have.
fn machines(activity_arn: &Value) -> Vec<(&'static str, Value, Value)> {
    let counted = json!({"StartAt": "Add", "States": {
        "Add": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)"}, "Next": "More"},
        "More": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericLessThan": 4000, "Next": "Add"}], "Default": "End"},
        "End": {"Type": "Succeed"}}});
    let handlers = chain(&[("A", work("a")), ("B", work("b")), ("C", work("c"))]);
    let waits = chain(&[("A", wait()), ("B", wait())]);
    let clients = |step| activity(activity_arn, step);
    let activities = chain(&[
        ("A", clients("a")),
        ("B", clients("b")),
        ("C", clients("c")),
    ]);
    let callbacks = chain(&[("A", callback("a")), ("B", callback("b"))]);
    let both = json!({"Type": "Parallel", "End": true, "Branches": [
        chain(&[("PA", work("pa")), ("PB", wait())]),
        chain(&[("PC", clients("pc")), ("PD", work("pd"))])]});
    let parallel = chain(&[("Both", both), ("Z", work("z"))]);
    let each = json!({"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 2, "End": true,
        "ItemSelector": {"item.$": "$$.Map.Item.Value"},
        "ItemProcessor": chain(&[("X", json!({"Type": "Task",
            "Resource": "arn:aws:lambda:us-east-1:123456789012:function:work",
            "Parameters": {"key.$": "States.Format('{}/item{}', $$.Execution.Name, $.item)"},
            "ResultPath": null, "End": true}))])});
    let map = chain(&[("Each", each), ("Z", work("z"))]);
    let start = json!({"n": 1, "items": [1, 2, 3, 4]});
    let with = |members: Value| {
        let mut output = start.clone();
        for (name, value) in members.as_object().unwrap() {
            output[name] = value.clone();
        }
        output
    };
    vec![
        ("passes", counted, json!({"n": 4000})),
        ("handlers", handlers, start.clone()),
        ("waits", waits, start.clone()),
        (
            "activities",
            activities,
            with(json!({"a": "done", "b": "done", "c": "done"})),
        ),
        (
            "callbacks",
            callbacks,
            with(json!({"a": "done", "b": "done"})),
        ),
        (
            "parallel",
            parallel,
            json!([start, with(json!({"pc": "done"}))]),
        ),
        (
            "map",
            map,
            json!([{"item": 1}, {"item": 2}, {"item": 3}, {"item": 4}]),
        ),
    ]
}

/// What clients have done: tasks whose completion the server has confirmed, and how often each was begun after that.
#[derive(Default)]
struct Ledger {
    confirmed: BTreeSet<String>,
    repeated: Vec<String>,
}

impl Ledger {
    fn begun(&mut self, key: &str) {
        if self.confirmed.contains(key) {
            self.repeated.push(key.to_owned());
        }
    }
}

/// Calls an operation; nothing if the server is gone.
fn try_call(connection: &mut Connection, operation: &str, params: &Value) -> Option<(u16, Value)> {
    let body = params.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AWSStepFunctions.{operation}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(head.as_bytes()).ok()?;
    let answer = connection.receive()?;
    Some((answer.status, serde_json::from_slice(&answer.body).ok()?))
}

/// Does a task, and confirms it. What is answered twice is told to be late the second time.
fn complete(
    connection: &mut Connection,
    ledger: &Mutex<Ledger>,
    key: &str,
    token: &Value,
) -> Option<()> {
    let params = json!({"taskToken": token, "output": "\"done\""});
    let (status, answer) = try_call(connection, "SendTaskSuccess", &params)?;
    match status {
        200 => drop(ledger.lock().unwrap().confirmed.insert(key.to_owned())),
        _ => assert_eq!(answer["__type"], "TaskTimedOut", "{answer}"),
    }
    Some(())
}

/// A worker of the activity, until the server is gone.
fn worker(addr: SocketAddr, arn: &Value, ledger: &Mutex<Ledger>) -> Option<()> {
    let mut connection = client::connect(addr);
    loop {
        let (_, task) = try_call(
            &mut connection,
            "GetActivityTask",
            &json!({"activityArn": arn}),
        )?;
        let Some(input) = task["input"].as_str() else {
            continue;
        };
        let input: Value = serde_json::from_str(input).unwrap();
        let key = input["key"].as_str().unwrap();
        ledger.lock().unwrap().begun(key);
        complete(&mut connection, ledger, key, &task["taskToken"])?;
    }
}

/// Answers the callbacks that executions wait for, as their histories tell them.
fn answer_callbacks(
    connection: &mut Connection,
    execution: &Value,
    ledger: &Mutex<Ledger>,
) -> Option<()> {
    let params = json!({"executionArn": execution, "maxResults": 1000});
    let (_, history) = try_call(connection, "GetExecutionHistory", &params)?;
    let events = history["events"].as_array().unwrap();
    let Some(event) = events
        .last()
        .filter(|event| event["type"] == "TaskSubmitted")
    else {
        return Some(());
    };
    let scheduled = events
        .iter()
        .rfind(|event| event["type"] == "TaskScheduled")
        .unwrap();
    let parameters = scheduled["taskScheduledEventDetails"]["parameters"]
        .as_str()
        .unwrap();
    let parameters: Value = serde_json::from_str(parameters).unwrap();
    let body = &parameters["MessageBody"];
    let key = body["key"].as_str().unwrap();
    assert!(event["id"].as_u64() > scheduled["id"].as_u64());
    ledger.lock().unwrap().begun(key);
    complete(connection, ledger, key, &body["token"])
}

/// How often each task of a child process was done.
fn done_by_processes(site: &Site) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(site.directory.join("ledger")).unwrap_or_default();
    let mut done = BTreeMap::new();
    for line in text.lines() {
        *done.entry(line.to_owned()).or_default() += 1;
    }
    done
}

/// The tasks of child processes that histories tell to be done.
fn recorded(events: &[Value]) -> BTreeSet<String> {
    let mut keys = BTreeMap::new();
    let mut recorded = BTreeSet::new();
    for event in events {
        let id = event["id"].as_u64().unwrap();
        let previous = event["previousEventId"].as_u64().unwrap();
        match event["type"].as_str().unwrap() {
            "LambdaFunctionScheduled" => {
                let input = event["lambdaFunctionScheduledEventDetails"]["input"]
                    .as_str()
                    .unwrap();
                let input: Value = serde_json::from_str(input).unwrap();
                keys.insert(id, input["key"].as_str().unwrap().to_owned());
            }
            "LambdaFunctionStarted" => {
                let key = keys[&previous].clone();
                keys.insert(id, key);
            }
            "LambdaFunctionSucceeded" => drop(recorded.insert(keys[&previous].clone())),
            _ => {}
        }
    }
    recorded
}

#[test]
fn no_kill_loses_an_execution_or_repeats_a_task() {
    let site = Site::new("all-states");
    let ledger_file = site.directory.join("ledger");
    // A whole line at a time, in one write.
    let script = format!(
        "while read -r request; do key=${{request##*\\\"key\\\":\\\"}}; key=${{key%%\\\"*}}; echo \"$key\" >> {}; echo '{{\"result\": 1}}'; done",
        ledger_file.display()
    );
    let site =
        site.with_tasks(&json!({"tasks": {"arn:aws:lambda:*": {"exec": ["sh", "-c", script]}}}));
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut activity_arn = Value::Null;
    let mut arns: Vec<(&'static str, Value, Value)> = Vec::new();
    let mut started: Vec<(Value, &'static str, Value)> = Vec::new();
    let mut unended: BTreeSet<usize> = BTreeSet::new();
    // Tasks whose completion was told before a kill, with how often they had been done then.
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    // How many executions of each machine had not ended at a kill.
    let mut interrupted: BTreeMap<&str, usize> = BTreeMap::new();
    let kills = kills();
    for round in 0..=kills {
        let process = site.serve();
        let mut connection = process.connect();
        if round == 0 {
            activity_arn =
                ok(connection.call("CreateActivity", &json!({"name": "a"})))["activityArn"].clone();
            for (name, definition, output) in machines(&activity_arn) {
                arns.push((name, create(&mut connection, name, &definition), output));
            }
        }
        let (arn, confirmed, addr) = (activity_arn.clone(), Arc::clone(&ledger), process.addr);
        let clients = std::thread::spawn(move || worker(addr, &arn, &confirmed));
        for (name, machine, output) in arns.iter().filter(|_| round < kills) {
            let input = json!({"n": 1, "items": [1, 2, 3, 4]}).to_string();
            let params = json!({"stateMachineArn": machine, "name": format!("{name}-{round}"), "input": input});
            let execution = ok(connection.call("StartExecution", &params))["executionArn"].clone();
            unended.insert(started.len());
            started.push((execution, name, output.clone()));
        }
        // Each kill comes at another moment. What was told until then must not happen again.
        let turns = if round == kills {
            usize::MAX
        } else {
            1 + round % 7
        };
        for turn in 0..turns {
            let mut ended = Vec::new();
            for &at in &unended {
                let (execution, name, _) = &started[at];
                if *name == "callbacks" {
                    answer_callbacks(&mut connection, execution, &ledger).unwrap();
                }
                let described =
                    ok(connection.call("DescribeExecution", &json!({"executionArn": execution})));
                if described["status"] != "RUNNING" {
                    ended.push(at);
                }
            }
            unended.retain(|at| !ended.contains(at));
            if unended.is_empty() {
                break;
            }
            assert!(turn < 20_000, "some never end: {unended:?}");
            std::thread::park_timeout(Duration::from_millis(3 + (round as u64 * 37) % 60));
        }
        if round < kills {
            for &at in &unended {
                *interrupted.entry(started[at].1).or_default() += 1;
                let events = history(&mut connection, &started[at].0);
                let done = done_by_processes(&site);
                for key in recorded(&events) {
                    told.entry(key.clone()).or_insert_with(|| done[&key]);
                }
            }
            process.kill();
            clients.join().unwrap();
            continue;
        }
        check(&mut connection, &site, &started, &told);
        let names: Vec<&str> = arns.iter().map(|it| it.0).collect();
        let listed = ok(connection.call("ListStateMachines", &json!({})));
        let listed = listed["stateMachines"].as_array().unwrap().iter();
        let mut listed: Vec<&str> = listed.map(|it| it["name"].as_str().unwrap()).collect();
        let mut expected = names.clone();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected, "the catalogue is whole");
        process.kill();
        clients.join().unwrap();
    }
    let ledger = ledger.lock().unwrap();
    assert!(
        ledger.repeated.is_empty(),
        "done again: {:?}",
        ledger.repeated
    );
    // Three steps of clients, two of callbacks and one in a branch for each kill.
    // A kill may come between an answer and its confirmation.
    assert!((5 * kills..=6 * kills).contains(&ledger.confirmed.len()));
    assert_eq!(interrupted.len(), arns.len(), "{interrupted:?}");
    println!(
        "{kills} kills in the middle of {interrupted:?}, {} executions, {} tasks of clients, {} of processes; none lost, none repeated",
        started.len(),
        ledger.confirmed.len(),
        done_by_processes(&site).len()
    );
}

fn check(
    connection: &mut Connection,
    site: &Site,
    started: &[(Value, &'static str, Value)],
    told: &BTreeMap<String, usize>,
) {
    for (execution, name, output) in started {
        let ended = await_end(connection, execution);
        assert_eq!(ended["status"], "SUCCEEDED", "{name}: {ended}");
        let found: Value = serde_json::from_str(ended["output"].as_str().unwrap()).unwrap();
        assert_eq!(&found, output, "{execution}");
    }
    let done = done_by_processes(site);
    for (key, times) in told {
        assert_eq!(
            done.get(key),
            Some(times),
            "{key} was done again though it was recorded"
        );
    }
    assert!(!told.is_empty(), "no completion was seen before a kill");
    // Handlers: 3 a machine; parallel: 3; map: 5.
    assert_eq!(done.len(), 11 * started.len() / 7);
}
