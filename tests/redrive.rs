//! `RedriveExecution`: what runs again and what does not, in memory and over restarts; what is refused.
//!
//! `redrive/cases.json` has machines and what comes of each attempt: which functions are called, with what input if that
//! matters, and which events follow. A function that is broken in an attempt fails.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "api/client.rs"]
#[expect(dead_code, reason = "the tests of the protocol use the rest of it")]
mod client;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Connection, Host};
use quickstep::Failure;
use quickstep::engine::{Clock, Limits};
use quickstep::server::ServerOptions;
use quickstep::stdx::Timestamp;
use quickstep::task::{TaskRegistry, TaskRequest};
use serde_json::{Value, json};

/// The functions that tasks call.
#[derive(Default)]
struct Functions {
    broken: Mutex<Vec<String>>,
    calls: Mutex<Vec<String>>,
}

impl Functions {
    fn registry(self: &Arc<Functions>) -> TaskRegistry {
        let mut tasks = TaskRegistry::new();
        let functions = Arc::clone(self);
        tasks.register(
            "arn:aws:lambda:*",
            move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
                let name = request.resource().rsplit(':').next().unwrap();
                let call = format!("{name} {}", request.input_json());
                let broken = functions.broken.lock().unwrap();
                let is_broken = broken
                    .iter()
                    .any(|broken| *broken == name || *broken == call);
                functions.calls.lock().unwrap().push(call);
                match is_broken {
                    true => Err(Failure::new("Broken", "not yet")),
                    false => {
                        response.extend_from_slice(json!({"did": name}).to_string().as_bytes());
                        Ok(())
                    }
                }
            },
        );
        tasks
    }

    /// Breaks some functions, mends the others and forgets what was called.
    fn set(&self, broken: &Value) {
        let broken = broken.as_array().unwrap().iter();
        *self.broken.lock().unwrap() = broken.map(|it| it.as_str().unwrap().to_owned()).collect();
        self.calls.lock().unwrap().clear();
    }

    /// Holds what was called against a list of names, with inputs where these matter.
    fn check(&self, expected: &Value, context: &str) {
        let calls = self.calls.lock().unwrap();
        let expected: Vec<&str> = strings(expected);
        let fit = |(call, expected): (&String, &&str)| {
            call == *expected || call.split(' ').next() == Some(*expected)
        };
        assert!(
            calls.len() == expected.len() && calls.iter().zip(&expected).all(fit),
            "{context}: {calls:?} instead of {expected:?}"
        );
    }
}

/// A server that may be another one next time.
struct Site {
    functions: Arc<Functions>,
    directory: Option<PathBuf>,
    clock: Option<Arc<Shifted>>,
    limits: Limits,
}

impl Site {
    fn in_memory() -> Site {
        Site {
            functions: Arc::default(),
            directory: None,
            clock: None,
            limits: Limits::default(),
        }
    }

    fn on_disk(name: &str) -> Site {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redrive-{name}"));
        // What an earlier run has left behind.
        let _ = std::fs::remove_dir_all(&directory);
        let mut site = Site::in_memory();
        site.directory = Some(directory);
        site
    }

    /// A server, once the one before has let go of its files.
    fn serve(&self) -> Host {
        for name in ["catalogue.redb", "executions.redb"] {
            let path = self
                .directory
                .as_ref()
                .map(|directory| directory.join(name));
            let Some(path) = path.filter(|path| path.exists()) else {
                continue;
            };
            let mut tries = 0..6_000;
            while redb::Database::open(&path).is_err() {
                assert!(tries.next().is_some(), "{name} stays open");
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
        let options = ServerOptions {
            tasks: self.functions.registry(),
            data_dir: self.directory.clone(),
            limits: self.limits,
            ..ServerOptions::default()
        };
        Host::start(match &self.clock {
            None => options,
            Some(clock) => ServerOptions {
                clock: Arc::clone(clock) as Arc<dyn Clock>,
                ..options
            },
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect()
}

fn ok((status, answer): (u16, Value)) -> Value {
    assert_eq!(status, 200, "{answer}");
    answer
}

fn refused((status, answer): (u16, Value)) -> (String, String) {
    assert_eq!(status, 400, "{answer}");
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("__type"), text("message"))
}

fn create(connection: &mut Connection, definition: &Value) -> Value {
    let params = json!({
        "name": "m",
        "definition": definition.to_string(),
        "roleArn": "arn:aws:iam::123456789012:role/any",
    });
    ok(connection.call("CreateStateMachine", &params))["stateMachineArn"].clone()
}

fn start(connection: &mut Connection, machine: &Value, input: &Value) -> Value {
    let params = json!({"stateMachineArn": machine, "input": input.to_string()});
    ok(connection.call("StartExecution", &params))["executionArn"].clone()
}

fn describe(connection: &mut Connection, execution: &Value) -> Value {
    ok(connection.call("DescribeExecution", &json!({"executionArn": execution})))
}

fn await_end(connection: &mut Connection, execution: &Value) -> Value {
    for _ in 0..12_000 {
        let described = describe(connection, execution);
        if described["status"] != "RUNNING" {
            return described;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("it runs after a minute");
}

fn history(connection: &mut Connection, execution: &Value) -> Vec<Value> {
    let params = json!({"executionArn": execution, "maxResults": 1000});
    let history = ok(connection.call("GetExecutionHistory", &params));
    history["events"].as_array().unwrap().clone()
}

/// Runs a case; if there is a directory, another server makes each attempt.
fn run(case: &Value, site: &Site) {
    let mut host = site.serve();
    let mut connection = host.connect();
    let machine = create(&mut connection, &case["definition"]);
    let input = case.get("input").cloned().unwrap_or(json!({"n": 1.5}));
    let mut execution = Value::Null;
    let mut seen = Vec::new();
    for (number, attempt) in case["attempts"].as_array().unwrap().iter().enumerate() {
        let context = format!("{}, attempt {number}", case["name"]);
        site.functions.set(&attempt["broken"]);
        let params = json!({"executionArn": execution});
        let mut redriven_at = Value::Null;
        match number {
            0 => execution = start(&mut connection, &machine, &input),
            _ => {
                redriven_at =
                    ok(connection.call("RedriveExecution", &params))["redriveDate"].clone();
            }
        }
        let ended = await_end(&mut connection, &execution);
        assert_eq!(ended["status"], attempt["status"], "{context}: {ended}");
        assert_eq!(ended["redriveCount"], number, "{context}");
        assert_eq!(ended["redriveDate"], redriven_at, "{context}");
        let redrivable = match ended["status"] == "SUCCEEDED" {
            true => "NOT_REDRIVABLE",
            false => "REDRIVABLE",
        };
        assert_eq!(ended["redriveStatus"], redrivable, "{context}");
        if let Some(expected) = attempt.get("output") {
            let output: Value = serde_json::from_str(ended["output"].as_str().unwrap()).unwrap();
            assert_eq!(&output, expected, "{context}");
        }
        site.functions.check(&attempt["calls"], &context);
        let events = history(&mut connection, &execution);
        assert!(
            (1..).zip(&events).all(|(id, event)| event["id"] == id),
            "{events:#?}"
        );
        assert_eq!(events[..seen.len()], seen, "{context}: what was told stays");
        let added = &events[seen.len()..];
        if number > 0 {
            let details = &added[0]["executionRedrivenEventDetails"];
            assert_eq!(details, &json!({"redriveCount": number}), "{context}");
        }
        if let Some(expected) = attempt.get("events") {
            let types: Vec<&str> = added
                .iter()
                .map(|it| it["type"].as_str().unwrap())
                .collect();
            assert_eq!(types, strings(expected), "{context}");
        }
        seen = events;
        if site.directory.is_some() {
            drop(connection);
            host.stop();
            host = site.serve();
            connection = host.connect();
            assert_eq!(describe(&mut connection, &execution), ended, "{context}");
            assert_eq!(history(&mut connection, &execution), seen, "{context}");
        }
    }
}

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("redrive/cases.json")).unwrap()
}

#[test]
fn only_what_failed_runs_again() {
    for case in cases() {
        run(&case, &Site::in_memory());
    }
}

#[test]
fn only_what_failed_runs_again_after_a_restart() {
    for case in cases() {
        run(&case, &Site::on_disk("cases"));
    }
}

/// The system's clock, some time later.
#[derive(Debug)]
struct Shifted {
    clock: quickstep::engine::SystemClock,
    millis: AtomicI64,
}

impl Shifted {
    fn new() -> Arc<Shifted> {
        Arc::new(Shifted {
            clock: quickstep::engine::SystemClock::new(),
            millis: AtomicI64::new(0),
        })
    }

    fn pass(&self, days: i64) {
        self.millis.fetch_add(days * 86_400_000, Ordering::Relaxed);
    }
}

impl Clock for Shifted {
    fn nanos(&self) -> u64 {
        let millis = self.millis.load(Ordering::Relaxed);
        self.clock.nanos() + millis.unsigned_abs() * 1_000_000
    }

    fn timestamp(&self) -> Timestamp {
        let millis = self.millis.load(Ordering::Relaxed);
        self.clock.timestamp().plus_millis(millis)
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }
}

fn failing() -> Value {
    json!({"StartAt": "F", "States": {"F": {"Type": "Fail"}}})
}

fn redrive(connection: &mut Connection, execution: &Value) -> (u16, Value) {
    connection.call("RedriveExecution", &json!({"executionArn": execution}))
}

const NOT_REDRIVABLE: &str = "ExecutionNotRedrivable";

fn refusals(mut site: Site) {
    let clock = Shifted::new();
    site.clock = Some(Arc::clone(&clock));
    let host = site.serve();
    let mut connection = host.connect();
    let pass = json!({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}});
    let machine = create(&mut connection, &pass);
    let execution = start(&mut connection, &machine, &json!({}));
    await_end(&mut connection, &execution);
    let reason = "Execution is SUCCEEDED and cannot be redriven";
    assert_eq!(
        refused(redrive(&mut connection, &execution)),
        (NOT_REDRIVABLE.to_owned(), reason.to_owned())
    );
    let unknown = json!(format!("{}x", execution.as_str().unwrap()));
    assert_eq!(
        refused(redrive(&mut connection, &unknown)).0,
        "ExecutionDoesNotExist"
    );
    ok(connection.call("DeleteStateMachine", &json!({"stateMachineArn": machine})));
    let machine = create(&mut connection, &failing());
    let execution = start(&mut connection, &machine, &json!({}));
    await_end(&mut connection, &execution);
    clock.pass(13);
    ok(redrive(&mut connection, &execution));
    await_end(&mut connection, &execution);
    // The time counts from the last end.
    clock.pass(13);
    ok(redrive(&mut connection, &execution));
    await_end(&mut connection, &execution);
    clock.pass(15);
    let reason = "Execution redrivable period exceeded";
    assert_eq!(refused(redrive(&mut connection, &execution)).1, reason);
    let described = describe(&mut connection, &execution);
    assert_eq!(described["redriveStatus"], "NOT_REDRIVABLE");
    assert_eq!(described["redriveStatusReason"], reason);
    let execution = start(&mut connection, &machine, &json!({}));
    await_end(&mut connection, &execution);
    ok(connection.call("DeleteStateMachine", &json!({"stateMachineArn": machine})));
    assert_eq!(
        refused(redrive(&mut connection, &execution)).1,
        "State machine is in DELETING status"
    );
}

#[test]
fn what_cannot_be_redriven_says_why() {
    refusals(Site::in_memory());
    refusals(Site::on_disk("refusals"));
}

fn activity_machine(connection: &mut Connection, timeout: Option<u64>) -> (Value, Value) {
    let activity = ok(connection.call("CreateActivity", &json!({"name": "a"})));
    let activity = activity["activityArn"].clone();
    let mut definition = json!({"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": activity, "End": true}}});
    if let Some(seconds) = timeout {
        definition["TimeoutSeconds"] = json!(seconds);
    }
    (create(connection, &definition), activity)
}

/// One that was stopped or timed out waits for a worker again; the worker of the first attempt comes too late.
fn tasks_of_clients(site: &Site) {
    let host = site.serve();
    let mut connection = host.connect();
    let (machine, activity) = activity_machine(&mut connection, Some(2));
    let execution = start(&mut connection, &machine, &json!({}));
    let poll = json!({"activityArn": activity});
    let first = ok(connection.call("GetActivityTask", &poll));
    let described = await_end(&mut connection, &execution);
    assert_eq!(described["status"], "TIMED_OUT");
    ok(redrive(&mut connection, &execution));
    let stop = json!({"executionArn": execution});
    ok(connection.call("StopExecution", &stop));
    assert_eq!(describe(&mut connection, &execution)["status"], "ABORTED");
    let params = json!({"executionArn": execution, "clientToken": "t"});
    let at = ok(connection.call("RedriveExecution", &params));
    // The same token stands for the same redrive, whatever has become of it.
    assert_eq!(ok(connection.call("RedriveExecution", &params)), at);
    let second = loop {
        let task = ok(connection.call("GetActivityTask", &poll));
        let answer = json!({"taskToken": task["taskToken"], "output": "7"});
        // An offer of an attempt that has ended may lie before it, but is not handed out.
        if connection
            .call(
                "SendTaskHeartbeat",
                &json!({"taskToken": task["taskToken"]}),
            )
            .0
            == 200
        {
            break answer;
        }
    };
    let late = json!({"taskToken": first["taskToken"], "output": "1"});
    assert_eq!(
        refused(connection.call("SendTaskSuccess", &late)).0,
        "TaskTimedOut"
    );
    ok(connection.call("SendTaskSuccess", &second));
    let ended = await_end(&mut connection, &execution);
    assert_eq!(
        (&ended["status"], &ended["output"]),
        (&json!("SUCCEEDED"), &json!("7"))
    );
    assert_eq!(ended["redriveCount"], 2);
    assert_eq!(ok(connection.call("RedriveExecution", &params)), at);
    let filter = |filter: &str| json!({"stateMachineArn": machine, "redriveFilter": filter});
    let listed = ok(connection.call("ListExecutions", &filter("REDRIVEN")));
    assert_eq!(listed["executions"][0]["redriveCount"], 2);
    let listed = ok(connection.call("ListExecutions", &filter("NOT_REDRIVEN")));
    assert_eq!(listed["executions"], json!([]));
}

#[test]
fn clients_get_the_tasks_of_redriven_executions() {
    tasks_of_clients(&Site::in_memory());
    tasks_of_clients(&Site::on_disk("clients"));
}

/// A redriven execution that waits outlives the server, with its count.
#[test]
fn redriven_executions_go_on_after_a_restart() {
    let site = Site::on_disk("restarted");
    let host = site.serve();
    let mut connection = host.connect();
    let (machine, activity) = activity_machine(&mut connection, None);
    let execution = start(&mut connection, &machine, &json!({}));
    ok(connection.call("StopExecution", &json!({"executionArn": execution})));
    ok(redrive(&mut connection, &execution));
    let running = describe(&mut connection, &execution);
    assert_eq!(
        (&running["status"], &running["redriveCount"]),
        (&json!("RUNNING"), &json!(1))
    );
    drop(connection);
    host.stop();
    let host = site.serve();
    let mut connection = host.connect();
    assert_eq!(describe(&mut connection, &execution), running);
    let reason = "Execution is RUNNING and cannot be redriven";
    assert_eq!(refused(redrive(&mut connection, &execution)).1, reason);
    let task = ok(connection.call("GetActivityTask", &json!({"activityArn": activity})));
    let answer = json!({"taskToken": task["taskToken"], "output": "[]"});
    ok(connection.call("SendTaskSuccess", &answer));
    let ended = await_end(&mut connection, &execution);
    assert_eq!(
        (&ended["output"], &ended["redriveCount"]),
        (&json!("[]"), &json!(1))
    );
}

/// Fewer may be in flight than there are: those that an earlier server has taken in go on, and nothing else is started.
#[test]
fn what_was_taken_in_goes_on_whatever_the_limits() {
    let mut site = Site::on_disk("limits");
    let mut host = site.serve();
    let mut connection = host.connect();
    let definition = json!({"StartAt": "A", "States": {"A": {"Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": true,
        "Parameters": {"MessageBody.$": "$$.Task.Token"}}}});
    let machine = create(&mut connection, &definition);
    let executions: Vec<Value> = (0..3)
        .map(|n| start(&mut connection, &machine, &json!(n)))
        .collect();
    let tokens: Vec<String> = executions
        .iter()
        .map(|execution| {
            let events = history(&mut connection, execution);
            let parameters = &events[2]["taskScheduledEventDetails"]["parameters"];
            let parameters: Value = serde_json::from_str(parameters.as_str().unwrap()).unwrap();
            parameters["MessageBody"].as_str().unwrap().to_owned()
        })
        .collect();
    drop(connection);
    host.stop();
    site.limits.executions = 1;
    host = site.serve();
    let mut connection = host.connect();
    let another = json!({"stateMachineArn": machine});
    let (code, message) = refused(connection.call("StartExecution", &another));
    assert_eq!(code, "ExecutionLimitExceeded", "{message}");
    for (execution, token) in executions.iter().zip(tokens) {
        let answer = json!({"taskToken": token, "output": "7"});
        ok(connection.call("SendTaskSuccess", &answer));
        assert_eq!(await_end(&mut connection, execution)["output"], "7");
    }
    drop(connection);
    host.stop();
}
