//! EXPRESS executions that nobody waits for, of `quickstep serve --data-dir`: what was acknowledged runs at least once, as what
//! its machine was when it was started, however the process ends.
//!
//! The tasks are done by a child process, which notes in a ledger what it was asked. `QUICKSTEP_KILL_ROUNDS` says how often the
//! server is killed; three times unless it is set.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "api/client.rs"]
#[expect(dead_code, reason = "the tests of the protocol use the rest of it")]
mod client;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Connection, Host};
use quickstep::engine::{Clock, JournalOptions};
use quickstep::server::ServerOptions;
use quickstep::stdx::Timestamp;
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/any";
const NOTE: &str = "arn:aws:lambda:us-east-1:123456789012:function:note";
const ROUNDS: u64 = 3;

/// A directory, and the processes that serve from it one after the other.
struct Site(PathBuf);

/// A server that was started, with what it printed before it listened.
struct Process {
    child: Child,
    addr: SocketAddr,
    greeting: String,
}

impl Site {
    fn new(name: &str) -> Site {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("express-{name}"));
        // What an earlier run has left behind.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let ledger = directory.join("ledger");
        // It goes with its server, if that is killed while it is held up.
        let script = format!(
            "while read -r line; do \
               while [ -e '{}' ]; do kill -0 $PPID 2> /dev/null || exit; sleep 0.02; done; \
               echo \"$line\" >> '{}'; echo '{{\"result\": null}}'; \
             done",
            directory.join("held").display(),
            ledger.display()
        );
        let tasks = json!({"tasks": {NOTE: {"exec": ["sh", "-c", script]}}});
        std::fs::write(directory.join("tasks.json"), tasks.to_string()).unwrap();
        Site(directory)
    }

    fn serve(&self, arguments: &[&str]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quickstep"))
            .args(["serve", "--addr", "127.0.0.1:0", "--data-dir"])
            .arg(self.0.join("data"))
            .arg("--tasks")
            .arg(self.0.join("tasks.json"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains(" INFO listening") {
            assert_ne!(reader.read_line(&mut greeting).unwrap(), 0, "{greeting}");
        }
        let addr = greeting.split("http://").nth(1).unwrap();
        let addr = addr.split(' ').next().unwrap().parse().unwrap();
        // What it prints further must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        Process {
            child,
            addr,
            greeting,
        }
    }

    /// Tasks are held up until they are let go.
    fn hold(&self) {
        std::fs::write(self.0.join("held"), "").unwrap();
    }

    fn let_go(&self) {
        std::fs::remove_file(self.0.join("held")).unwrap();
    }

    /// What the tasks were asked: inputs and the names of executions, each as often as it was asked.
    fn ledger(&self) -> Vec<(Value, String)> {
        let text = std::fs::read_to_string(self.0.join("ledger")).unwrap_or_default();
        // The last line may be on its way.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .map(|line| {
                let name = line["execution"].as_str().unwrap().to_owned();
                (line["input"].clone(), name)
            })
            .collect()
    }

    fn await_ledger(&self, is_there: impl Fn(&[(Value, String)]) -> bool) -> Vec<(Value, String)> {
        until(|| Some(self.ledger()).filter(|ledger| is_there(ledger)))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Process {
    fn connect(&self) -> Connection {
        client::connect(self.addr)
    }

    /// Tells it to end, and waits until it has.
    fn terminate(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// It has no time to do anything any more.
impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// Waits until there is something to be found.
fn until<T>(mut find: impl FnMut() -> Option<T>) -> T {
    for _ in 0..24_000 {
        if let Some(found) = find() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("there is nothing after two minutes");
}

fn ok((status, answer): (u16, Value)) -> Value {
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Waits for a second if `$.waits`, and then has its input and a word noted.
fn definition(word: &str) -> String {
    let note = json!({"Type": "Task", "Resource": NOTE, "Parameters": {"id.$": "$.id", "word": word}, "End": true});
    json!({"StartAt": "Kind", "States": {
        "Kind": {"Type": "Choice", "Choices": [{"Variable": "$.waits", "BooleanEquals": true, "Next": "Wait"}], "Default": "Note"},
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Note"},
        "Note": note}})
    .to_string()
}

fn create(connection: &mut Connection, name: &str, definition: &str) -> Value {
    let params =
        json!({"name": name, "type": "EXPRESS", "definition": definition, "roleArn": ROLE});
    ok(connection.call("CreateStateMachine", &params))["stateMachineArn"].clone()
}

fn start(connection: &mut Connection, machine: &Value, input: &Value) -> Value {
    let params = json!({"stateMachineArn": machine, "input": input.to_string()});
    ok(connection.call("StartExecution", &params))["executionArn"].clone()
}

/// The name in an EXPRESS execution's ARN.
fn name_of(arn: &Value) -> String {
    arn.as_str().unwrap().split(':').nth(7).unwrap().to_owned()
}

/// Starts executions one by one until the server is gone; notes the ids and names of those that were accepted.
fn start_some(
    addr: SocketAddr,
    machine: &Value,
    ids: &AtomicU64,
    accepted: &Mutex<Vec<(u64, String)>>,
) {
    let mut connection = client::connect(addr);
    loop {
        let id = ids.fetch_add(1, Ordering::Relaxed);
        let input = json!({"id": id, "waits": id.is_multiple_of(3)}).to_string();
        let body = json!({"stateMachineArn": machine, "input": input}).to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
             X-Amz-Target: AWSStepFunctions.StartExecution\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if connection.send(head.as_bytes()).is_err() {
            return;
        }
        let Some(answer) = connection.receive() else {
            return;
        };
        assert_eq!(answer.status, 200, "{:?}", answer.json());
        let name = name_of(&answer.json()["executionArn"]);
        accepted.lock().unwrap().push((id, name));
    }
}

/// The same, ten lines at a time.
fn ingest_some(addr: SocketAddr, ids: &AtomicU64, accepted: &Mutex<Vec<(u64, String)>>) {
    while let Ok(mut stream) = TcpStream::connect(addr) {
        let first = ids.fetch_add(10, Ordering::Relaxed);
        let lines =
            (first..first + 10).map(|id| format!("{}\n", json!({"id": id, "waits": false})));
        let body: String = lines.collect();
        let head = format!(
            "POST /v1/state-machines/m/executions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
             Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut text = String::new();
        // What has come before the end is what was acknowledged.
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.read_to_string(&mut text));
        for line in text.lines() {
            let Ok(answer) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            if answer["status"] == "ACCEPTED" {
                let number = answer["line"].as_u64().unwrap();
                let name = name_of(&answer["executionArn"]);
                accepted.lock().unwrap().push((first + number - 1, name));
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the test says how long"
)]
#[test]
fn what_is_acknowledged_runs_at_least_once_whenever_the_process_is_killed() {
    let site = Site::new("kills");
    let rounds = std::env::var("QUICKSTEP_KILL_ROUNDS");
    let rounds: u64 = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let (ids, accepted) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let mut machine = Value::Null;
    for round in 0..rounds {
        let process = site.serve(&[]);
        if round == 0 {
            machine = create(&mut process.connect(), "m", &definition("first"));
        }
        let before = accepted.lock().unwrap().len();
        // Somewhere in the middle of everything, at another place each time.
        let wanted = before + 15 + (round as usize * 37) % 60;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| start_some(process.addr, &machine, &ids, &accepted));
            }
            scope.spawn(|| ingest_some(process.addr, &ids, &accepted));
            until(|| (accepted.lock().unwrap().len() >= wanted).then_some(()));
            let id = process.child.id().to_string();
            assert!(
                Command::new("kill")
                    .args(["-9", &id])
                    .status()
                    .unwrap()
                    .success()
            );
        });
    }
    let process = site.serve(&[]);
    let accepted = accepted.into_inner().unwrap();
    let is_noted = |ledger: &[(Value, String)]| -> bool {
        let noted: BTreeMap<u64, &str> = ledger
            .iter()
            .map(|(input, name)| (input["id"].as_u64().unwrap(), name.as_str()))
            .collect();
        accepted
            .iter()
            .all(|(id, name)| noted.get(id) == Some(&name.as_str()))
    };
    site.await_ledger(is_noted);
    // Whatever was to run again ends, and does not run once more.
    until(|| (unfinished(&site) == 0).then_some(()));
    process.terminate();
    assert_eq!(unfinished(&site), 0);
}

/// Starts without an end that the journal holds.
fn unfinished(site: &Site) -> usize {
    let ran = Command::new(env!("CARGO_BIN_EXE_quickstep"))
        .args(["journal", "inspect", "--format", "json"])
        .arg(site.0.join("data/express/journal"))
        .output()
        .unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{text}");
    text.lines()
        .filter(|line| line.contains("\"type\":\"start\""))
        .count()
}

/// A machine that was changed, one that was deleted, a version and an alias: what was started is what runs.
#[test]
fn starts_run_what_they_were_started_as() {
    let site = Site::new("revisions");
    site.hold();
    let process = site.serve(&["--express-history", "10"]);
    let mut connection = process.connect();
    let mut expected = Vec::new();
    let changed = create(&mut connection, "changed", &definition("before"));
    let deleted = create(&mut connection, "deleted", &definition("deleted"));
    let published = ok(connection.call(
        "PublishStateMachineVersion",
        &json!({"stateMachineArn": changed}),
    ));
    let version = published["stateMachineVersionArn"].clone();
    let route = json!([{"stateMachineVersionArn": version, "weight": 100}]);
    let aliased = json!({"name": "live", "routingConfiguration": route});
    let alias =
        ok(connection.call("CreateStateMachineAlias", &aliased))["stateMachineAliasArn"].clone();
    for (id, (machine, word)) in [
        (&changed, "before"),
        (&deleted, "deleted"),
        (&version, "before"),
        (&alias, "before"),
    ]
    .into_iter()
    .enumerate()
    {
        let arn = start(&mut connection, machine, &json!({"id": id, "waits": true}));
        expected.push((json!({"id": id, "word": word}), name_of(&arn)));
    }
    let update = json!({"stateMachineArn": changed, "definition": definition("after")});
    ok(connection.call("UpdateStateMachine", &update));
    ok(connection.call("DeleteStateMachine", &json!({"stateMachineArn": deleted})));
    let arn = start(&mut connection, &changed, &json!({"id": 4, "waits": true}));
    expected.push((json!({"id": 4, "word": "after"}), name_of(&arn)));
    drop(process);
    assert_eq!(site.ledger(), []);
    site.let_go();
    let process = site.serve(&["--express-history", "10"]);
    let all = |ledger: &[(Value, String)]| expected.iter().all(|line| ledger.contains(line));
    let ledger = site.await_ledger(all);
    for (input, name) in ledger {
        assert!(expected.contains(&(input.clone(), name)), "{input}");
    }
    // Those that ran again are known as what they were started as.
    let mut connection = process.connect();
    let found = until(|| {
        let params = json!({"stateMachineArn": alias, "statusFilter": "SUCCEEDED"});
        let (status, answer) = connection.call("ListExecutions", &params);
        let executions = answer["executions"].as_array().cloned().unwrap_or_default();
        (status != 200 || !executions.is_empty()).then_some((status, executions))
    });
    assert_eq!(found.0, 200, "{found:?}");
    assert_eq!(found.1[0]["name"], expected[3].1, "{found:?}");
    assert_eq!(found.1[0]["stateMachineVersionArn"], version);
    until(|| (unfinished(&site) == 0).then_some(()));
    process.terminate();
    // Nothing refers to the old revisions any more; the next start of the server forgets them.
    let revisions = || {
        std::fs::read_dir(site.0.join("data/express/revisions"))
            .unwrap()
            .count()
    };
    assert!(revisions() >= 4);
    let _process = site.serve(&[]);
    until(|| (revisions() == 0).then_some(()));
}

/// What is under way when the server is told to end runs again; in memory it is lost.
#[test]
fn an_end_in_peace_loses_nothing_either() {
    let site = Site::new("peace");
    site.hold();
    let process = site.serve(&[]);
    assert!(
        process
            .greeting
            .contains("StartSyncExecution alone is in memory"),
        "{}",
        process.greeting
    );
    assert!(
        process.greeting.contains("express_durable=true"),
        "{}",
        process.greeting
    );
    let machine = create(&mut process.connect(), "m", &definition("kept"));
    let arn = start(
        &mut process.connect(),
        &machine,
        &json!({"id": 1, "waits": true}),
    );
    process.terminate();
    assert_eq!(unfinished(&site), 1);
    let process = site.serve(&["--durability", "memory"]);
    assert!(
        process.greeting.contains("(--durability memory)"),
        "{}",
        process.greeting
    );
    assert!(
        process.greeting.contains("express_durable=false"),
        "{}",
        process.greeting
    );
    start(
        &mut process.connect(),
        &machine,
        &json!({"id": 2, "waits": true}),
    );
    process.terminate();
    assert_eq!(unfinished(&site), 1);
    site.let_go();
    let process = site.serve(&["--durability", "disk"]);
    let expected = (json!({"id": 1, "word": "kept"}), name_of(&arn));
    let ledger = site.await_ledger(|ledger| ledger.contains(&expected));
    assert!(ledger.iter().all(|line| *line == expected), "{ledger:?}");
    until(|| (unfinished(&site) == 0).then_some(()));
    process.terminate();
}

/// Time that passes when it is told to.
#[derive(Debug, Default)]
struct ByHand(AtomicU64);

impl ByHand {
    fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1_000_000_000, Ordering::SeqCst);
    }
}

impl Clock for ByHand {
    fn nanos(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + (self.nanos() / 1_000_000).cast_signed())
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }
}

/// A journal without room refuses starts with an error that clients try again after, and takes them again once there is
/// room; whatever it has accepted ends.
#[test]
fn a_full_journal_refuses_until_there_is_room() {
    let site = Site::new("full");
    let clock = Arc::new(ByHand::default());
    let host = Host::start(ServerOptions {
        data_dir: Some(site.0.join("data")),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        journal: JournalOptions {
            segment_bytes: 96 << 10,
            buffer_bytes: 16 << 10,
            bytes_max: 480 << 10,
            ..JournalOptions::default()
        },
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let waits = r#"{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":60,"End":true}}}"#;
    let machine = create(&mut connection, "m", waits);
    let input = json!("x".repeat(10_000)).to_string();
    let params = json!({"stateMachineArn": machine, "input": input});
    // Times that it accepts before it refuses.
    let mut fill = || {
        for accepted in 0..1_000 {
            let (status, answer) = connection.call("StartExecution", &params);
            if status != 200 {
                assert_eq!(
                    (status, &answer["__type"]),
                    (400, &json!("ThrottlingException"))
                );
                return accepted;
            }
        }
        panic!("the journal is never full");
    };
    let first = fill();
    assert!(first > 10, "{first}");
    // Lines are refused as well.
    let mut stream = TcpStream::connect(host.addr).unwrap();
    let head = "POST /v1/state-machines/m/executions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                Content-Type: application/x-ndjson\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{input}\n", input.len() + 1);
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains(r#""error":"ThrottlingException""#), "{text}");
    // What was accepted ends, and makes room for as much again.
    let second = until(|| {
        clock.pass(61);
        Some(fill()).filter(|second| *second >= first / 2)
    });
    assert!(second > 0);
    host.stop();
}
