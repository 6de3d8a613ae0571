//! `quickstep serve`: what it refuses, what it prints, and its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::support::{file, folder, quickstep, start};

#[test]
fn what_cannot_be_served_is_refused() {
    let folder = folder("serve-refused");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    file(&data, "catalogue.redb", "not a store");
    let data = data.to_str().unwrap();
    let tasks = file(&folder, "tasks.json", r#"{"tasks":{"a":{"reslt":1}}}"#);
    let credentials = "[[credentials]]\naccess_key_id = \"A\"\nsecret = \"hidden\"\n";
    let credentials = file(&folder, "credentials.toml", credentials);
    let free = "127.0.0.1:0";
    for (arguments, expected) in [
        (
            vec!["--addr", "0.0.0.0:0"],
            "0.0.0.0:0 can be reached from other machines, and nobody has to sign",
        ),
        (vec!["--addr", "[::]:0"], "--allow-anonymous"),
        (vec!["--addr", &taken], "Another process listens there"),
        (vec!["--addr", "localhost"], "invalid value"),
        (
            vec!["--region", "Mars!"],
            "a region such as eu-west-1 is wanted",
        ),
        (vec!["--account", "1"], "twelve digits are wanted"),
        (vec!["--addr", free, "--data-dir", data], "is damaged: "),
        (
            vec!["--addr", free, "--tasks", &tasks],
            "tasks.json: at /tasks/a/reslt: unknown; did you mean `result`?",
        ),
        (
            vec!["--addr", free, "--credentials", &credentials],
            "credentials.toml: line 3: unknown field `secret`",
        ),
        (
            vec!["--credentials", &credentials, "--allow-anonymous"],
            "contradict each other",
        ),
        (
            vec!["--addr", free, "--tasks", "no-such-file.json"],
            "no-such-file.json: ",
        ),
    ] {
        let mut all = vec!["serve"];
        all.extend(&arguments);
        let ran = quickstep(&all, "");
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains("hidden"), "{}", ran.err);
        assert_eq!(ran.out, "");
    }
}

#[cfg(unix)]
#[test]
fn it_says_how_to_reach_it_and_ends_when_told() {
    let mut child = start(&["serve", "--addr", "127.0.0.1:0", "--region", "eu-west-1"]);
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut greeting = String::new();
    while !greeting.contains("StartSyncExecution and TestState.\n") {
        assert_ne!(err.read_line(&mut greeting).unwrap(), 0, "{greeting}");
    }
    for part in [
        "(region eu-west-1, account 123456789012)",
        "Everything is in memory",
        "endpoint_url=\"http://127.0.0.1:",
        "inject_host_prefix=False",
        "export AWS_ENDPOINT_URL_SFN=http://127.0.0.1:",
        " AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1\n",
        "disableHostPrefix",
        "AWS_DISABLE_HOST_PREFIX_INJECTION=true",
    ] {
        assert!(greeting.contains(part), "{part}: {greeting}");
    }
    let (_, rest) = greeting.split_once("http://").unwrap();
    let addr = rest.split(' ').next().unwrap();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut last = String::new();
    err.read_to_string(&mut last).unwrap();
    for part in [
        " INFO listening addr=127.0.0.1:",
        " INFO told to end",
        " INFO ended executions_lost=0",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
    assert_eq!(last.lines().count(), 3, "{last}");
}

/// Sends a request with a connection of its own; returns the answer.
#[cfg(unix)]
fn ask(addr: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    let request = format!("{head}\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// With JSON, the standard error is a log and nothing else.
#[cfg(unix)]
#[test]
fn its_log_is_json_if_that_is_wanted() {
    let mut child = start(&[
        "serve",
        "--addr",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--log-level",
        "debug",
    ]);
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut event = || -> serde_json::Value {
        let line = err.next().unwrap().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let listening = event();
    assert_eq!(listening["message"], "listening", "{listening}");
    assert_eq!(listening["level"], "INFO");
    assert_eq!(listening["signatures"], false);
    let addr = listening["addr"].as_str().unwrap();
    let head = "POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.0\r\n\
                X-Amz-Target: AWSStepFunctions.Non\"sense\r\nContent-Length: 0";
    let answer = ask(addr, head);
    let request = event();
    assert_eq!(request["message"], "request", "{request}");
    assert_eq!(request["operation"], "Non\"sense");
    assert_eq!(request["status"], 400);
    assert_eq!(request["error"], "UnknownOperationException");
    let id = request["request_id"].as_str().unwrap();
    assert!(
        answer.contains(&format!("x-amzn-requestid: {id}")),
        "{answer}"
    );
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.unwrap().success());
    assert_eq!(event()["message"], "told to end");
    assert_eq!(event()["message"], "ended");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Who can be reached by others is told what that means.
#[cfg(unix)]
#[test]
fn exposure_is_warned_of() {
    let folder = folder("serve-exposed");
    let credentials = "[[credentials]]\naccess_key_id = \"A\"\nsecret_access_key = \"s\"\n";
    let credentials = file(&folder, "credentials.toml", credentials);
    for (arguments, expected) in [
        (
            vec!["--allow-anonymous"],
            "whoever can reach this address is let in (--allow-anonymous)",
        ),
        (
            vec!["--credentials", &credentials],
            "what is sent can be read on the way; --tls-cert and --tls-key keep it private",
        ),
    ] {
        let base = ["serve", "--addr", "0.0.0.0:0", "--log-format", "json"];
        let mut child = start(&[&base, &arguments[..]].concat());
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        let lines: Vec<serde_json::Value> = err
            .take(2)
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(lines[1]["level"], "WARN", "{lines:?}");
        assert_eq!(lines[1]["message"], expected);
    }
}

/// A number of kilobytes from the process's status.
#[cfg(target_os = "linux")]
fn kilobytes(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Memory that a connection may cost which does nothing, or stops in the middle of a head of four kilobytes: several times
/// what it does cost.
#[cfg(target_os = "linux")]
const IDLE_KILOBYTES_MAX: u64 = 64;

/// Ten thousand connections, or as many as the system allows, half of which do nothing and half of which stop in the middle
/// of a request's head, cost some memory each, and keep nobody from being served; nor does a system that at first allows
/// fewer.
#[cfg(target_os = "linux")]
#[test]
fn idle_connections_cost_little() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Some files are open besides, in this process and in the other.
    let possible = maximum.map_or(10_000, |maximum| maximum.saturating_sub(512).min(10_000));
    let limited = |current: u64| Rlimit {
        current: Some(maximum.map_or(current, |maximum| current.min(maximum))),
        maximum,
    };
    // The child inherits it, and has to raise it.
    setrlimit(Resource::Nofile, limited(1_024)).unwrap();
    let mut child = start(&[
        "serve",
        "--addr",
        "127.0.0.1:0",
        "--log-format",
        "json",
        // However long this takes, none of them is let go meanwhile.
        "--header-seconds",
        "3600",
    ]);
    let own = limited(current.unwrap_or(0).max(possible + 512));
    setrlimit(Resource::Nofile, own).unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
    let listening: serde_json::Value = serde_json::from_str(&err.next().unwrap().unwrap()).unwrap();
    let addr = listening["addr"].as_str().unwrap();
    let head = "POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.0\r\n\
                X-Amz-Target: AWSStepFunctions.ListActivities\r\nContent-Length: 0";
    assert!(ask(addr, head).starts_with("HTTP/1.1 200 OK"));
    let before = kilobytes(child.id(), "VmRSS:");
    let begun = format!("{head}\r\nX-Long: {}", "x".repeat(4_000));
    // The system may have fewer ports to connect from, or less memory for sockets.
    let connections: Vec<TcpStream> = (0..possible)
        .map_while(|i| {
            let mut stream = TcpStream::connect(addr).ok()?;
            if i % 2 == 0 {
                stream.write_all(begun.as_bytes()).unwrap();
            }
            Some(stream)
        })
        .collect();
    let count = connections.len() as u64;
    let open = format!("quickstep_connections_open {}\n", count + 1);
    while !ask(addr, "GET /metrics HTTP/1.1").contains(&open) {}
    assert!(ask(addr, head).starts_with("HTTP/1.1 200 OK"));
    let grown = kilobytes(child.id(), "VmRSS:").saturating_sub(before);
    let allowed = (count + 256) * IDLE_KILOBYTES_MAX;
    assert!(grown < allowed, "{grown} KiB for {count} connections");
    drop(connections);
    let open = "quickstep_connections_open 1\n";
    while !ask(addr, "GET /metrics HTTP/1.1").contains(open) {}
    child.kill().unwrap();
    child.wait().unwrap();
}
