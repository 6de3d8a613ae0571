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

/// An execution: its ARN, its machine, and the output that it is to have.
type Started = (Value, &'static str, Value);

/// What goes on over all kills.
struct Endurance {
    site: Site,
    ledger: Arc<Mutex<Ledger>>,
    activity: Value,
    machines: Vec<Started>,
    started: Vec<Started>,
    unended: BTreeSet<usize>,
    /// Tasks whose completion was told before a kill, with how often they had been done then.
    told: BTreeMap<String, usize>,
    /// How many executions of each machine had not ended at a kill.
    interrupted: BTreeMap<&'static str, usize>,
}

impl Endurance {
    fn new() -> Endurance {
        let site = Site::new("all-states");
        // A whole line at a time, in one write; and then there is time to be killed in.
        let script = format!(
            "while read -r request; do key=${{request##*\\\"key\\\":\\\"}}; key=${{key%%\\\"*}}; echo \"$key\" >> {}; \
             sleep 0.03; echo '{{\"result\": 1}}'; done",
            site.directory.join("ledger").display()
        );
        let tasks = json!({"tasks": {"arn:aws:lambda:*": {"exec": ["sh", "-c", script]}}});
        Endurance {
            site: site.with_tasks(&tasks),
            ledger: Arc::default(),
            activity: Value::Null,
            machines: Vec::new(),
            started: Vec::new(),
            unended: BTreeSet::new(),
            told: BTreeMap::new(),
            interrupted: BTreeMap::new(),
        }
    }

    fn prepare(&mut self, connection: &mut Connection) {
        let activity = ok(connection.call("CreateActivity", &json!({"name": "a"})));
        self.activity = activity["activityArn"].clone();
        for (name, definition, output) in machines(&self.activity) {
            let machine = create(connection, name, &definition);
            self.machines.push((machine, name, output));
        }
    }

    fn start(&mut self, connection: &mut Connection, round: usize) {
        for (machine, name, output) in &self.machines {
            let input = json!({"n": 1, "items": [1, 2, 3, 4]}).to_string();
            let params = json!({"stateMachineArn": machine, "name": format!("{name}-{round}"), "input": input});
            let started = ok(connection.call("StartExecution", &params));
            self.unended.insert(self.started.len());
            self.started
                .push((started["executionArn"].clone(), name, output.clone()));
        }
    }

    /// Does the callbacks' tasks, until all have ended, or for some turns.
    fn attend(&mut self, connection: &mut Connection, round: usize, turns: usize) {
        for turn in 0..turns {
            let (started, ledger) = (&self.started, &self.ledger);
            self.unended.retain(|&at| {
                let (execution, name, _) = &started[at];
                if *name == "callbacks" {
                    answer_callbacks(connection, execution, ledger).unwrap();
                }
                let params = json!({"executionArn": execution});
                ok(connection.call("DescribeExecution", &params))["status"] == "RUNNING"
            });
            if self.unended.is_empty() {
                return;
            }
            assert!(turn < 20_000, "some never end: {:?}", self.unended);
            let millis = 3 + (round as u64 * 37) % 60;
            std::thread::park_timeout(Duration::from_millis(millis));
        }
    }

    /// Takes note of what was told: none of it must happen again.
    fn note(&mut self, connection: &mut Connection) {
        for &at in &self.unended {
            let (execution, name, _) = &self.started[at];
            *self.interrupted.entry(name).or_default() += 1;
            let events = history(connection, execution);
            let done = done_by_processes(&self.site);
            for key in recorded(&events) {
                self.told.entry(key.clone()).or_insert_with(|| done[&key]);
            }
        }
    }

    fn check(&self, connection: &mut Connection, kills: usize) {
        for (execution, name, output) in &self.started {
            let ended = await_end(connection, execution);
            assert_eq!(ended["status"], "SUCCEEDED", "{name}: {ended}");
            let found: Value = serde_json::from_str(ended["output"].as_str().unwrap()).unwrap();
            assert_eq!(&found, output, "{execution}");
        }
        let done = done_by_processes(&self.site);
        for (key, times) in &self.told {
            assert_eq!(
                done.get(key),
                Some(times),
                "{key} was done again though it was recorded"
            );
        }
        assert!(
            !self.told.is_empty(),
            "no completion was seen before a kill"
        );
        // Handlers: 3 a machine; parallel: 3; map: 5.
        assert_eq!(done.len(), 11 * kills);
        let listed = ok(connection.call("ListStateMachines", &json!({})));
        let listed = listed["stateMachines"].as_array().unwrap().iter();
        let listed: BTreeSet<&str> = listed.map(|it| it["name"].as_str().unwrap()).collect();
        let expected: BTreeSet<&str> = self.machines.iter().map(|it| it.1).collect();
        assert_eq!(listed, expected, "the catalogue is whole");
    }
}

#[test]
fn no_kill_loses_an_execution_or_repeats_a_task() {
    let mut endurance = Endurance::new();
    let kills = kills();
    for round in 0..=kills {
        let process = endurance.site.serve();
        let mut connection = process.connect();
        if round == 0 {
            endurance.prepare(&mut connection);
        }
        let (activity, ledger) = (endurance.activity.clone(), Arc::clone(&endurance.ledger));
        let addr = process.addr;
        let clients = std::thread::spawn(move || worker(addr, &activity, &ledger));
        if round < kills {
            endurance.start(&mut connection, round);
            // Each kill comes at another moment.
            endurance.attend(&mut connection, round, 1 + round % 7);
            endurance.note(&mut connection);
        } else {
            endurance.attend(&mut connection, round, usize::MAX);
            endurance.check(&mut connection, kills);
        }
        process.kill();
        clients.join().unwrap();
    }
    let ledger = endurance.ledger.lock().unwrap();
    assert!(
        ledger.repeated.is_empty(),
        "done again: {:?}",
        ledger.repeated
    );
    // Three steps of clients, two of callbacks and one in a branch for each start. A kill may come between an answer and
    // its confirmation.
    assert!((5 * kills..=6 * kills).contains(&ledger.confirmed.len()));
    assert!(endurance.interrupted.values().sum::<usize>() >= kills);
    eprintln!(
        "{kills} kills in the middle of {:?}; {} executions, {} tasks of clients, {} of processes: none lost, none repeated",
        endurance.interrupted,
        endurance.started.len(),
        ledger.confirmed.len(),
        done_by_processes(&endurance.site).len()
    );
}
