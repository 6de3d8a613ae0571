//! The files of a data directory, damaged in every way: the server is refused, and says which file and what to do, or has all
//! that was there.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "api/client.rs"]
#[expect(dead_code, reason = "the tests of the protocol use the rest of it")]
mod client;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Connection, Host};
use quickstep::server::{Server, ServerOptions, StartError, StoreErrorKind};
use serde_json::{Value, json};

const FILES: [&str; 2] = ["catalogue.redb", "executions.redb"];

/// A data directory with executions of each kind, and what the server tells of them.
struct Site {
    directory: PathBuf,
    told: Vec<Value>,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Site {
    fn new(name: &str) -> Site {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{name}"));
        // What an earlier run has left behind.
        let _ = std::fs::remove_dir_all(&directory);
        let mut site = Site {
            directory,
            told: Vec::new(),
        };
        let host = Host::start(site.options());
        let mut connection = host.connect();
        let definition = json!({"StartAt": "C", "States": {
            "C": {"Type": "Choice", "Choices": [{"Variable": "$.wait", "IsPresent": true, "Next": "W"},
                {"Variable": "$.fail", "IsPresent": true, "Next": "F"}], "Default": "P"},
            "P": {"Type": "Pass", "End": true}, "F": {"Type": "Fail", "Error": "E"},
            "W": {"Type": "Wait", "Seconds": 1_000_000, "End": true}}});
        let params = json!({"name": "m", "definition": definition.to_string(),
            "roleArn": "arn:aws:iam::123456789012:role/any"});
        let machine = ok(connection.call("CreateStateMachine", &params))["stateMachineArn"].clone();
        let text = "long enough for several pages ".repeat(20);
        for n in 0..30 {
            let input = match n % 3 {
                0 => json!({"n": n, "text": text}),
                1 => json!({"wait": true, "text": text}),
                _ => json!({"fail": true}),
            };
            let params = json!({"stateMachineArn": machine, "name": format!("e{n}"), "input": input.to_string()});
            ok(connection.call("StartExecution", &params));
        }
        site.told = tell(&mut connection);
        drop(connection);
        host.stop();
        site
    }

    fn options(&self) -> ServerOptions {
        ServerOptions {
            data_dir: Some(self.directory.clone()),
            ..ServerOptions::default()
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Binds a server: why it is refused, or nothing if it has all that was there.
    fn look(&self, context: &str) -> Option<(StoreErrorKind, String)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let options = ServerOptions {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..self.options()
        };
        match runtime.block_on(Server::bind(options)) {
            Err(StartError::Store(error)) => Some((error.kind(), error.to_string())),
            Err(other) => panic!("{context}: {other}"),
            Ok(server) => {
                drop(server);
                drop(runtime);
                let host = self.serve();
                assert_eq!(tell(&mut host.connect()), self.told, "{context}");
                host.stop();
                None
            }
        }
    }

    /// A server, once the one before has let go of its files.
    fn serve(&self) -> Host {
        for name in FILES {
            let mut tries = 0..2_000;
            while redb::Database::open(self.file(name)).is_err() {
                assert!(tries.next().is_some(), "{name} stays open");
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
        Host::start(self.options())
    }

    fn refused(&self, name: &str, kind: StoreErrorKind, context: &str) {
        let (found, text) = self
            .look(context)
            .unwrap_or_else(|| panic!("{name}, {context}: not refused"));
        assert_eq!(found, kind, "{name}, {context}: {text}");
        assert!(text.contains(name), "{name}, {context}: {text}");
    }
}

fn ok((status, answer): (u16, Value)) -> Value {
    assert_eq!(status, 200, "{answer}");
    answer
}

/// All that is known of machines and executions.
fn tell(connection: &mut Connection) -> Vec<Value> {
    let machines = ok(connection.call("ListStateMachines", &json!({})));
    let machine = &machines["stateMachines"][0]["stateMachineArn"];
    let list = ok(connection.call(
        "ListExecutions",
        &json!({"stateMachineArn": machine, "maxResults": 100}),
    ));
    let mut told = vec![machines.clone()];
    for execution in list["executions"].as_array().unwrap() {
        let params = json!({"executionArn": execution["executionArn"]});
        told.push(ok(connection.call("DescribeExecution", &params)));
        told.push(ok(connection.call("GetExecutionHistory", &params)));
    }
    assert_eq!(told.len(), 61);
    told
}

#[test]
fn files_that_are_none_are_refused() {
    let site = Site::new("none");
    for name in FILES {
        let path = site.file(name);
        let whole = std::fs::read(&path).unwrap();
        for (context, bytes) in [
            ("empty", &b""[..]),
            ("a text", b"not a store"),
            ("zeros", &[0; 8192]),
        ] {
            std::fs::write(&path, bytes).unwrap();
            site.refused(name, StoreErrorKind::Damaged, context);
            assert_eq!(
                std::fs::read(&path).unwrap(),
                bytes,
                "{context}: it is left as it was"
            );
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        site.refused(name, StoreErrorKind::Io, "a directory");
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(site.look("whole again"), None);
    }
}

#[test]
fn files_that_were_cut_are_refused() {
    let site = Site::new("cut");
    for name in FILES {
        let path = site.file(name);
        let whole = std::fs::read(&path).unwrap();
        let mut refusals = 0;
        for sixteenth in 1..16 {
            let context = format!("{name}: {sixteenth} of 16 parts");
            std::fs::write(&path, &whole[..whole.len() * sixteenth / 16]).unwrap();
            // The end of a file may be unused.
            if let Some((kind, text)) = site.look(&context) {
                assert_eq!(kind, StoreErrorKind::Damaged, "{context}: {text}");
                assert!(text.contains(name), "{context}: {text}");
                refusals += 1;
            }
        }
        assert!(refusals >= 8, "{name}: {refusals}");
        std::fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn flipped_bytes_are_noticed() {
    let site = Site::new("flipped");
    let path = site.file("executions.redb");
    let whole = std::fs::read(&path).unwrap();
    let mut refusals = 0;
    for part in 0..48 {
        let at = part * whole.len() / 48 + part % 7;
        let mut bytes = whole.clone();
        for byte in &mut bytes[at..(at + 16).min(whole.len())] {
            *byte ^= 0x5A;
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Some((kind, text)) = site.look(&format!("byte {at}")) {
            assert_eq!(kind, StoreErrorKind::Damaged, "byte {at}: {text}");
            refusals += 1;
        }
    }
    assert!(refusals > 0);
}

#[test]
fn other_formats_are_refused() {
    const FORMAT: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("format");
    let site = Site::new("format");
    for name in FILES {
        let path = site.file(name);
        let whole = std::fs::read(&path).unwrap();
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(FORMAT)
            .unwrap()
            .insert("version", 999)
            .unwrap();
        transaction.commit().unwrap();
        drop(database);
        let (kind, text) = site.look("another format").unwrap();
        assert_eq!(kind, StoreErrorKind::Damaged);
        assert!(text.contains(name) && text.contains("format 999"), "{text}");
        std::fs::write(&path, &whole).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn files_that_may_not_be_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new("permissions");
    let path = site.file("executions.redb");
    let mode =
        |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    // Nothing is denied to root.
    if std::fs::File::open(&path).is_err() {
        site.refused("executions.redb", StoreErrorKind::Io, "no permission");
    }
    mode(0o600);
    assert_eq!(site.look("permitted"), None);
}

/// What a crash has left of a file that was about to be made is no obstacle.
#[test]
fn remains_of_a_new_file_are_cleared_away() {
    let site = Site::new("remains");
    for name in FILES {
        std::fs::write(site.file(&format!("{name}.new")), b"half").unwrap();
    }
    assert_eq!(site.look("beside a whole one"), None);
    let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("store-remains-new");
    let _ = std::fs::remove_dir_all(&empty);
    std::fs::create_dir_all(&empty).unwrap();
    for name in FILES {
        std::fs::write(empty.join(format!("{name}.new")), b"half").unwrap();
    }
    let host = Host::start(ServerOptions {
        data_dir: Some(empty.clone()),
        ..ServerOptions::default()
    });
    ok(host.connect().call("ListStateMachines", &json!({})));
    host.stop();
    let mut names: Vec<_> = std::fs::read_dir(&empty)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    names.sort();
    // The journal of EXPRESS executions has a directory of its own.
    names.retain(|name| name != "express");
    assert_eq!(names, FILES);
    std::fs::remove_dir_all(&empty).unwrap();
}
