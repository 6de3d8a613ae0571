//! What is there for those who watch the server: metrics, health, readiness.

use std::time::Duration;

use quickstep::server::{Credentials, Server, ServerOptions};
use serde_json::json;

use crate::client::{self, Connection, Host};
use crate::{PASS, create, host};

fn get(connection: &mut Connection, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    connection.send(request.as_bytes()).unwrap();
    let answer = connection.receive().unwrap();
    (answer.status, String::from_utf8(answer.body).unwrap())
}

fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line}\n{text}");
    }
}

#[test]
fn metrics_tell_what_was_asked() {
    let host = host();
    let mut connection = host.connect();
    let arn = create(&mut connection, "m", "EXPRESS", PASS);
    for _ in 0..3 {
        connection.call("StartSyncExecution", &json!({"stateMachineArn": arn}));
    }
    connection.call("StartSyncExecution", &json!({"stateMachineArn": "x"}));
    connection.call("Nonsense", &json!({}));
    let mut other = host.connect();
    let (status, text) = get(&mut other, "/metrics");
    assert_eq!(status, 200);
    assert_lines(
        &text,
        &[
            concat!(
                "quickstep_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            r#"quickstep_api_requests_total{api="CreateStateMachine",status="200"} 1"#,
            r#"quickstep_api_requests_total{api="StartSyncExecution",status="200"} 3"#,
            r#"quickstep_api_requests_total{api="StartSyncExecution",status="400"} 1"#,
            r#"quickstep_api_requests_total{api="other",status="400"} 1"#,
            r#"quickstep_api_request_duration_seconds_count{api="StartSyncExecution"} 4"#,
            "quickstep_connections_open 2",
            "quickstep_connections_total 2",
            "quickstep_request_bodies_bytes 0",
        ],
    );
}

/// Prometheus's own checker, where it is installed.
#[test]
fn promtool_accepts_the_text() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut checker) = checker else { return };
    let host = host();
    let mut connection = host.connect();
    connection.call("ListStateMachines", &json!({}));
    let (_, text) = get(&mut connection, "/metrics");
    checker
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let checked = checker.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}\n{text}");
}

/// Clients of this machine may read them; that others may not is told by the unit test of `route`.
#[test]
fn metrics_need_no_signature_on_this_machine() {
    let credentials = "[[credentials]]\naccess_key_id = \"A\"\nsecret_access_key = \"s\"\n";
    let host = Host::start(ServerOptions {
        credentials: Some(Credentials::parse(credentials).unwrap()),
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let (status, _) = connection.call("ListStateMachines", &json!({}));
    assert_eq!(status, 400);
    let (status, text) = get(&mut connection, "/metrics");
    assert_eq!(status, 200);
    let refused = r#"quickstep_api_requests_total{api="ListStateMachines",status="400"} 1"#;
    assert_lines(&text, &[refused]);
}

/// A server that is told to end says so for a while, and takes connections.
#[test]
fn draining_is_told_before_it_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let options = ServerOptions {
        addr: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        drain_time: Duration::from_secs(3_600),
        ..ServerOptions::default()
    };
    let server = runtime.block_on(Server::bind(options)).unwrap();
    let addr = server.local_addr();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(server.run(async move {
        let _ = ended.await;
    }));
    let mut connection = client::connect(addr);
    assert_eq!(get(&mut connection, "/readyz"), (200, "ready\n".to_owned()));
    end.send(()).unwrap();
    while get(&mut client::connect(addr), "/readyz").0 == 200 {}
    assert_eq!(get(&mut client::connect(addr), "/readyz").0, 503);
    assert_eq!(get(&mut client::connect(addr), "/healthz").0, 200);
    let (status, _) = client::connect(addr).call("ListStateMachines", &json!({}));
    assert_eq!(status, 200);
    assert!(!running.is_finished());
    runtime.shutdown_background();
}

/// What is under way has a bounded time at the end; who waits for an execution beyond it has no answer.
#[test]
fn requests_that_take_too_long_are_cut_off_at_the_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let options = ServerOptions {
        addr: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        shutdown_time_max: Duration::from_millis(1),
        ..ServerOptions::default()
    };
    let server = runtime.block_on(Server::bind(options)).unwrap();
    let addr = server.local_addr();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(server.run(async move {
        let _ = ended.await;
    }));
    let mut connection = client::connect(addr);
    let wait = r#"{"StartAt":"A","States":{"A":{"Type":"Wait","Seconds":280,"End":true}}}"#;
    let arn = create(&mut connection, "m", "EXPRESS", wait);
    let body = json!({"stateMachineArn": arn}).to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AWSStepFunctions.StartSyncExecution\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(request.as_bytes()).unwrap();
    let open = "quickstep_executions_running{state_machine=\"m\"} 1";
    while !get(&mut client::connect(addr), "/metrics").1.contains(open) {}
    end.send(()).unwrap();
    assert_eq!(runtime.block_on(running).unwrap(), 1);
    runtime.shutdown_background();
    // It is cut off, or hears of the end.
    let answer = connection.receive();
    assert!(answer.is_none_or(|answer| answer.status == 503));
}
