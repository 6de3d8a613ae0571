//! Clients that mean harm, beyond what the other tests have: the right error, and bounded memory.

use std::net::TcpStream;
use std::time::Duration;

use quickstep::server::ServerOptions;
use serde_json::json;

use crate::client::{Connection, Host};
use crate::{PASS, create, error, host};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
                    X-Amz-Target: AWSStepFunctions.ListActivities\r\n";

/// Bodies that are on their way have a bound together, and what is given up is free again.
#[test]
fn unfinished_bodies_have_a_bound_together() {
    let host = Host::start(ServerOptions {
        bodies_bytes_max: 100_000,
        ..ServerOptions::default()
    });
    let begin = |bytes: usize| -> Connection {
        let mut connection = host.connect();
        let head = format!("{HEAD}Content-Length: 200000\r\n\r\n{}", " ".repeat(bytes));
        connection.send(head.as_bytes()).unwrap();
        connection
    };
    let counted = |bytes: usize| {
        let line = format!("quickstep_request_bodies_bytes {bytes}\n");
        let mut connection = host.connect();
        loop {
            connection
                .send(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
                .unwrap();
            let text = connection.receive().unwrap().body;
            if String::from_utf8(text).unwrap().contains(&line) {
                return;
            }
        }
    };
    let first = begin(60_000);
    counted(60_000);
    let mut second = begin(60_000);
    let answer = second.receive().unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(error(&answer.json()).0, "ThrottlingException");
    assert_eq!(host.connect().post("ListActivities", b"{}").status, 200);
    drop((first, second));
    counted(0);
    let _third = begin(90_000);
    counted(90_000);
}

#[test]
fn requests_have_the_bounds_that_were_set() {
    let host = Host::start(ServerOptions {
        request_bytes_max: 1_024,
        headers_bytes_max: 8_192,
        ..ServerOptions::default()
    });
    let body = format!("{{\"x\":\"{}\"}}", "y".repeat(1_016));
    assert_eq!(body.len(), 1_024);
    assert_eq!(
        host.connect()
            .post("ListActivities", body.as_bytes())
            .status,
        200
    );
    let answer = host
        .connect()
        .post("ListActivities", format!("{body} ").as_bytes());
    assert_eq!(answer.status, 413);
    assert_eq!(
        error(&answer.json()).1,
        "The request has more than 1024 bytes"
    );
    let mut connection = host.connect();
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(9_000));
    connection.send(long.as_bytes()).unwrap();
    assert!(
        connection
            .receive()
            .is_none_or(|answer| answer.status == 431)
    );
}

/// Answers that nobody reads end the connection, however many requests are still to come on it.
#[test]
fn whoever_reads_no_answers_is_let_go() {
    let host = Host::start(ServerOptions {
        write_time_max: Duration::from_millis(300),
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let definition = format!("{PASS}{}", " ".repeat(200_000));
    let arn = create(&mut connection, "m", "EXPRESS", &definition);
    let body = json!({"stateMachineArn": arn}).to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AWSStepFunctions.DescribeStateMachine\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // The answers would be gigabytes.
    let requests = request.repeat(100);
    let sent = (0..1_000).take_while(|_| connection.send(requests.as_bytes()).is_ok());
    assert!(sent.count() < 1_000);
    assert_eq!(host.connect().post("ListActivities", b"{}").status, 200);
}

/// Clients that send a byte now and then have no more time for a head than others, or for a body, and hold nobody up.
#[test]
fn whoever_drips_is_let_go_and_holds_nobody_up() {
    let host = Host::start(ServerOptions {
        headers_time_max: Duration::from_secs(3),
        body_time_max: Duration::from_secs(3),
        ..ServerOptions::default()
    });
    let drip = |text: String| {
        let mut stream = TcpStream::connect(host.addr).unwrap();
        std::io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
        Some(stream)
    };
    let mut dripping: Vec<Option<TcpStream>> = (0..20)
        .flat_map(|_| {
            let body = format!("{HEAD}Content-Length: 1000000\r\n\r\n ");
            [drip("POST / HTTP/1.1\r\nX: ".to_owned()), drip(body)]
        })
        .collect();
    for _ in 0..24_000 {
        for place in &mut dripping {
            let gone = place
                .as_mut()
                .is_some_and(|stream| std::io::Write::write_all(stream, b" ").is_err());
            if gone {
                *place = None;
            }
        }
        assert_eq!(host.connect().post("ListActivities", b"{}").status, 200);
        if dripping.iter().all(Option::is_none) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("some are still there");
}

/// Who waits for an answer is not idle, however long that takes; who has it and asks for nothing is.
#[test]
fn whoever_waits_for_an_answer_is_not_idle() {
    let host = Host::start(ServerOptions {
        headers_time_max: Duration::from_secs(2),
        ..ServerOptions::default()
    });
    let waits = r#"{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":4,"End":true}}}"#;
    let arn = create(&mut host.connect(), "m", "EXPRESS", waits);
    let mut connection = host.connect();
    let (status, answer) = connection.call("StartSyncExecution", &json!({"stateMachineArn": arn}));
    assert_eq!((status, &answer["status"]), (200, &json!("SUCCEEDED")));
    assert!(connection.receive().is_none());
    // An ingested body is a request until its last line is answered.
    let mut connection = host.connect();
    let head = "POST /v1/state-machines/m/executions?mode=sync HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\n";
    connection
        .send(format!("{head}Content-Length: 3\r\n\r\n{{}}\n").as_bytes())
        .unwrap();
    assert_eq!(connection.receive().unwrap().status, 200);
    let mut answer = String::new();
    while !answer.contains("\"complete\":true") {
        answer += &connection.line().unwrap();
    }
    assert!(answer.contains("SUCCEEDED"), "{answer}");
}

#[test]
fn heads_that_make_no_sense() {
    let host = host();
    for (head, status, code) in [
        (
            "X-Amz-Target: AWSStepFunctions.List\u{e9}",
            400,
            Some("MissingActionException"),
        ),
        (
            "X-Amz-Target: ListActivities",
            400,
            Some("UnknownOperationException"),
        ),
        (
            "X-Amz-Target: AWSStepFunctions.",
            400,
            Some("UnknownOperationException"),
        ),
        (
            "X-Amz-Target: AWSStepFunctions.ListActivities.x",
            400,
            Some("UnknownOperationException"),
        ),
        (
            "X-Amz-Target: AWSStepFunctions.ListActivities\r\nContent-Length: 3",
            400,
            None,
        ),
        ("Content-Length: two", 400, None),
        ("Transfer-Encoding: gzip", 400, None),
        ("Bad Header: x", 400, None),
        ("X: a\0b", 400, None),
    ] {
        let mut connection = host.connect();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n{head}\r\n\r\n{{}}"
        );
        connection.send(request.as_bytes()).unwrap();
        let answer = connection.receive().unwrap();
        assert_eq!(answer.status, status, "{head:?}");
        if let Some(code) = code {
            assert_eq!(error(&answer.json()).0, code, "{head:?}");
        }
    }
    for version in ["HTTP/2.0", "HTTP/0.9", "SMTP"] {
        let mut connection = host.connect();
        connection
            .send(format!("GET / {version}\r\n\r\n").as_bytes())
            .unwrap();
        assert!(
            connection
                .receive()
                .is_none_or(|answer| answer.status >= 400),
            "{version}"
        );
    }
}

/// Connections that were reset in the middle of everything.
#[test]
fn resets_leave_nothing_behind() {
    let host = host();
    for length in (0..HEAD.len()).step_by(9) {
        let mut stream = TcpStream::connect(host.addr).unwrap();
        std::io::Write::write_all(&mut stream, &HEAD.as_bytes()[..length]).unwrap();
        // What is sent and not read makes the end a reset.
        drop(stream);
    }
    let mut connection = host.connect();
    loop {
        connection
            .send(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        let text = String::from_utf8(connection.receive().unwrap().body).unwrap();
        if text.contains("quickstep_connections_open 1\n") {
            assert!(
                text.contains("quickstep_request_bodies_bytes 0\n"),
                "{text}"
            );
            break;
        }
    }
}

/// The seeds of the fuzz target: recorded calls, and heads of all kinds.
#[test]
fn seeds_of_the_fuzz_target_are_answered() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/request");
    let mut answered = std::collections::BTreeMap::new();
    for seed in std::fs::read_dir(folder).unwrap() {
        let seed = seed.unwrap();
        let status = quickstep::server::fuzz::request(&std::fs::read(seed.path()).unwrap());
        answered.insert(seed.file_name().into_string().unwrap(), status);
    }
    for (name, expected) in [
        ("CreateStateMachine-own", Some(200)),
        ("GetExecutionHistory-own", Some(400)),
        ("signed", Some(200)),
        ("presigned", None),
        ("lines", None),
    ] {
        assert_eq!(answered[name], expected, "{name}");
    }
    let count = answered.values().filter(|status| status.is_some()).count();
    assert!(count >= 40, "{answered:?}");
}
