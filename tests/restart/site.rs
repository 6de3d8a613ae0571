//! A data directory, and the processes that serve from it one after the other.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{self, Connection};

/// A directory, and the processes that serve from it one after the other.
pub(crate) struct Site {
    pub(crate) directory: PathBuf,
    tasks: Option<PathBuf>,
}

impl Site {
    pub(crate) fn new(name: &str) -> Site {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("restart-{name}"));
        // What an earlier run has left behind.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        Site {
            directory,
            tasks: None,
        }
    }

    /// Has tasks answered.
    pub(crate) fn with_tasks(mut self, tasks: &Value) -> Site {
        let file = self.directory.join("tasks.json");
        std::fs::write(&file, tasks.to_string()).unwrap();
        self.tasks = Some(file);
        self
    }

    /// What serves from the directory, with no answers of tasks.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quickstep"));
        command
            .args(["serve", "--addr", "127.0.0.1:0", "--data-dir"])
            .arg(self.directory.join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn serve(&self) -> Process {
        let mut command = self.command();
        if let Some(tasks) = &self.tasks {
            command.arg("--tasks").arg(tasks);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        reader.read_line(&mut line).unwrap();
        let addr = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let addr = addr.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        // What it prints further must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        Process { child, addr }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(crate) struct Process {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Process {
    pub(crate) fn connect(&self) -> Connection {
        client::connect(self.addr)
    }

    /// It has no time to do anything any more.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Waits until there is something to be found.
pub(crate) fn until<T>(mut find: impl FnMut() -> Option<T>) -> T {
    for _ in 0..12_000 {
        if let Some(found) = find() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("there is nothing after a minute");
}

pub(crate) fn ok((status, answer): (u16, Value)) -> Value {
    assert_eq!(status, 200, "{answer}");
    answer
}

pub(crate) fn create(connection: &mut Connection, name: &str, definition: &Value) -> Value {
    let params = json!({
        "name": name,
        "definition": definition.to_string(),
        "roleArn": "arn:aws:iam::123456789012:role/any",
    });
    ok(connection.call("CreateStateMachine", &params))["stateMachineArn"].clone()
}

pub(crate) fn describe(connection: &mut Connection, execution: &Value) -> Value {
    ok(connection.call("DescribeExecution", &json!({"executionArn": execution})))
}

pub(crate) fn await_end(connection: &mut Connection, execution: &Value) -> Value {
    until(|| {
        let described = describe(connection, execution);
        (described["status"] != "RUNNING").then_some(described)
    })
}

pub(crate) fn history(connection: &mut Connection, execution: &Value) -> Vec<Value> {
    let params = json!({"executionArn": execution, "maxResults": 1000});
    let history = ok(connection.call("GetExecutionHistory", &params));
    history["events"].as_array().unwrap().clone()
}
