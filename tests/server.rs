//! The server as a hostile or a plain client sees it: HTTP, envelopes, bounds, and the end.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "api/client.rs"]
mod client;
mod server {
    mod hostile;
    mod ingest;
    mod signatures;
    mod states;
    mod tls;
    mod watching;
}

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use client::{Connection, Host};
use proptest::prelude::*;
use quickstep::server::{Durability, Server, ServerOptions, StartError, StoreErrorKind, limits};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/any";
const PASS: &str = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}"#;

fn host() -> Host {
    Host::start(ServerOptions::default())
}

fn create(connection: &mut Connection, name: &str, kind: &str, definition: &str) -> String {
    let params = json!({"name": name, "definition": definition, "roleArn": ROLE, "type": kind});
    let (status, answer) = connection.call("CreateStateMachine", &params);
    assert_eq!(status, 200, "{answer}");
    answer["stateMachineArn"].as_str().unwrap().to_owned()
}

fn error(answer: &Value) -> (&str, &str) {
    (
        answer["__type"].as_str().unwrap(),
        answer["message"].as_str().unwrap(),
    )
}

#[test]
fn answers_have_the_headers_of_aws() {
    let host = host();
    let mut connection = host.connect();
    let answer = connection.post("ListStateMachines", b"{}");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-amz-json-1.0")
    );
    let id = answer.header("x-amzn-requestid").unwrap().to_owned();
    assert_eq!(id.len(), 36);
    assert_eq!(answer.json(), json!({"stateMachines": []}));
    let again = connection.post("ListStateMachines", b"");
    assert_eq!(again.status, 200);
    assert_ne!(again.header("x-amzn-requestid"), Some(id.as_str()));
}

#[test]
fn requests_that_are_none() {
    let host = host();
    let mut connection = host.connect();
    for (body, code) in [
        (&b"{"[..], "SerializationException"),
        (b"[]", "SerializationException"),
        (b"null", "SerializationException"),
        (b"{\"name\": \"\xff\"}", "SerializationException"),
        (b"{\"name\": 5}", "SerializationException"),
        (b"{} {}", "SerializationException"),
    ] {
        let answer = connection.post("CreateActivity", body);
        assert_eq!(answer.status, 400);
        assert_eq!(
            error(&answer.json()).0,
            code,
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    let answer = connection.post("Nonsense", b"{}");
    assert_eq!(error(&answer.json()).0, "UnknownOperationException");
    for (headers, status) in [
        (
            "Content-Type: application/json\r\nX-Amz-Target: AWSStepFunctions.ListActivities",
            415,
        ),
        ("X-Amz-Target: AWSStepFunctions.ListActivities", 415),
        ("Content-Type: application/x-amz-json-1.0", 400),
        (
            "Content-Type: application/x-amz-json-1.0\r\nX-Amz-Target: Other.ListActivities",
            400,
        ),
        (
            "Content-Type: application/x-amz-json-1.0\r\nContent-Encoding: gzip\r\nX-Amz-Target: AWSStepFunctions.ListActivities",
            415,
        ),
        (
            "Content-Type: Application/X-Amz-Json-1.0; charset=utf-8\r\nX-Amz-Target: AWSStepFunctions.ListActivities",
            200,
        ),
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\nContent-Length: 2\r\n\r\n{{}}");
        connection.send(request.as_bytes()).unwrap();
        assert_eq!(connection.receive().unwrap().status, status, "{headers}");
    }
}

#[test]
fn other_paths_and_methods() {
    let host = host();
    let mut connection = host.connect();
    for (line, status) in [
        ("GET /healthz", 200),
        ("GET /readyz", 200),
        ("GET /", 404),
        ("POST /other", 404),
        ("PUT /", 404),
    ] {
        connection
            .send(format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .unwrap();
        assert_eq!(connection.receive().unwrap().status, status, "{line}");
    }
}

/// What a proxy is sent: the way of clients whose host prefix cannot be turned off.
#[test]
fn targets_in_absolute_form_are_understood() {
    let host = host();
    let mut connection = host.connect();
    let request = "POST http://sync-localhost:1/ HTTP/1.1\r\nHost: sync-localhost:1\r\n\
                   Content-Type: application/x-amz-json-1.0\r\n\
                   X-Amz-Target: AWSStepFunctions.ListActivities\r\nContent-Length: 2\r\n\r\n{}";
    connection.send(request.as_bytes()).unwrap();
    assert_eq!(
        connection.receive().unwrap().json(),
        json!({"activities": []})
    );
}

#[test]
fn constraints_are_told_together_in_the_words_of_aws() {
    let host = host();
    let mut connection = host.connect();
    for (operation, params, message) in [
        (
            "DescribeStateMachine",
            json!({}),
            "1 validation error detected: Value null at 'stateMachineArn' failed to satisfy constraint: Member must not be null",
        ),
        (
            "CreateStateMachine",
            json!({"name": "", "type": "FAST", "definition": "{}", "roleArn": ROLE}),
            "2 validation errors detected: Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1; Value 'FAST' at 'type' failed to satisfy constraint: Member must satisfy enum value set: [STANDARD, EXPRESS]",
        ),
        (
            "ListStateMachines",
            json!({"maxResults": -1}),
            "1 validation error detected: Value '-1' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 0",
        ),
        (
            "TagResource",
            json!({"resourceArn": "arn", "tags": [{"key": "", "value": "v"}]}),
            "1 validation error detected: Value '' at 'tags.1.member.key' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            "SendTaskSuccess",
            json!({"taskToken": "t", "output": "x".repeat(262_145)}),
            "1 validation error detected: Value at 'output' failed to satisfy constraint: Member must have length less than or equal to 262144",
        ),
    ] {
        let (status, answer) = connection.call(operation, &params);
        assert_eq!(status, 400);
        assert_eq!(error(&answer), ("ValidationException", message));
    }
}

#[test]
fn large_requests_are_refused_and_end_the_connection() {
    let host = host();
    let mut connection = host.connect();
    let announced = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AWSStepFunctions.CreateActivity\r\nContent-Length: {}\r\n\r\n",
        limits::REQUEST_BYTES_MAX + 1
    );
    connection.send(announced.as_bytes()).unwrap();
    let answer = connection.receive().unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(error(&answer.json()).0, "RequestEntityTooLargeException");
    assert!(connection.receive().is_none());

    // The same in chunks, which announce nothing.
    let mut connection = host.connect();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
                X-Amz-Target: AWSStepFunctions.CreateActivity\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    for _ in 0..=limits::REQUEST_BYTES_MAX / 0x1_0000 {
        // The server may have closed its side already.
        if connection.send(chunk.as_bytes()).is_err() {
            break;
        }
    }
    if let Some(answer) = connection.receive() {
        assert_eq!(answer.status, 413);
    }
    // A definition of the largest size passes.
    let mut connection = host.connect();
    let definition = format!("{PASS}{}", " ".repeat(1_048_576 - PASS.len()));
    create(&mut connection, "large", "STANDARD", &definition);
    let definition = format!("{definition} ");
    let params = json!({"name": "larger", "definition": definition, "roleArn": ROLE});
    let (_, answer) = connection.call("CreateStateMachine", &params);
    assert_eq!(error(&answer).0, "ValidationException");
}

#[test]
fn headers_have_bounds() {
    let host = host();
    for headers in [
        "X-Long: y\r\n".repeat(200),
        format!("X-Long: {}\r\n", "y".repeat(100_000)),
    ] {
        let mut connection = host.connect();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        // The server may close before it has read all.
        let _ = connection.send(request.as_bytes());
        if let Some(answer) = connection.receive() {
            assert_eq!(answer.status, 431);
        }
    }
    let mut connection = host.connect();
    connection
        .send(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        .unwrap();
    if let Some(answer) = connection.receive() {
        assert_eq!(answer.status, 400);
    }
    assert_eq!(host.connect().post("ListActivities", b"{}").status, 200);
}

/// Depth is no danger: neither to the parser of envelopes nor to that of inputs.
#[test]
fn deep_requests_are_read() {
    let host = host();
    let mut connection = host.connect();
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let answer = connection.post("CreateActivity", format!("{{\"name\":{deep}}}").as_bytes());
    assert_eq!(error(&answer.json()).0, "SerializationException");
    let answer = connection.post(
        "CreateActivity",
        format!("{{\"x\":{deep},\"name\":\"a\"}}").as_bytes(),
    );
    assert_eq!(error(&answer.json()).0, "SerializationException");
    let shallower = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let answer = connection.post(
        "CreateActivity",
        format!("{{\"x\":{shallower},\"name\":\"a\"}}").as_bytes(),
    );
    assert_eq!(answer.status, 200);
    let arn = create(&mut connection, "m", "EXPRESS", PASS);
    let input = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let params = json!({"stateMachineArn": arn, "input": input});
    let (_, answer) = connection.call("StartSyncExecution", &params);
    assert_eq!(error(&answer).0, "InvalidExecutionInput");
    let params = json!({"name": "d", "definition": deep[..1_000_000], "roleArn": ROLE});
    let (_, answer) = connection.call("CreateStateMachine", &params);
    assert_eq!(error(&answer).0, "InvalidDefinition");
}

/// Clients that stop in the middle of a request, or never begin one, keep nobody else waiting.
#[test]
fn idle_and_broken_clients_do_not_matter() {
    let host = host();
    let idle: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(host.addr).unwrap())
        .collect();
    let half: Vec<Connection> = (0..200)
        .map(|i| {
            let mut connection = host.connect();
            let text = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{\"name\"";
            connection
                .send(&text[..1 + i * (text.len() - 1) / 200])
                .unwrap();
            connection
        })
        .collect();
    for stream in idle.iter().take(100) {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    assert_eq!(host.connect().post("ListActivities", b"{}").status, 200);
    drop(half);
    assert_eq!(host.connect().post("ListActivities", b"{}").status, 200);
}

/// Clients that send a byte now and then are not waited for.
#[test]
fn slow_clients_are_cut_off() {
    let host = Host::start(ServerOptions {
        headers_time_max: Duration::from_millis(100),
        body_time_max: Duration::from_millis(100),
        ..ServerOptions::default()
    });
    // One connection never ends its headers, one never begins, one lingers after an answer: the server ends them all.
    let mut slow = host.connect();
    slow.send(b"POST / HTTP/1.1\r\nHost: h\r\nX-Slow: ")
        .unwrap();
    let mut silent = host.connect();
    let mut idle = host.connect();
    assert_eq!(idle.post("ListActivities", b"{}").status, 200);
    for connection in [&mut slow, &mut silent, &mut idle] {
        if let Some(answer) = connection.receive() {
            assert_eq!(answer.status, 408);
            assert!(connection.receive().is_none());
        }
    }
    let mut half = host.connect();
    half.send(
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
          X-Amz-Target: AWSStepFunctions.ListActivities\r\nContent-Length: 9\r\n\r\n{",
    )
    .unwrap();
    let answer = half.receive().unwrap();
    assert_eq!(answer.status, 408);
    assert_eq!(error(&answer.json()).0, "RequestTimeoutException");
    assert!(half.receive().is_none());
}

/// With all connections taken, the next one waits, and is served once there is room.
#[test]
fn connections_have_a_bound() {
    let host = Host::start(ServerOptions {
        connections_max: 2,
        ..ServerOptions::default()
    });
    let mut first = host.connect();
    assert_eq!(first.post("ListActivities", b"{}").status, 200);
    let mut second = host.connect();
    assert_eq!(second.post("ListActivities", b"{}").status, 200);
    let mut third = host.connect();
    third
        .send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    // The server does not look at it as long as the others are there.
    assert_eq!(first.post("ListActivities", b"{}").status, 200);
    drop(second);
    assert_eq!(third.receive().unwrap().status, 200);
}

/// Pipelined requests are answered in their order.
#[test]
fn requests_may_be_pipelined() {
    let host = host();
    let mut connection = host.connect();
    let arn = create(&mut connection, "m", "EXPRESS", PASS);
    let mut all = String::new();
    for i in 0..100 {
        let body = json!({"stateMachineArn": arn, "input": format!("{{\"i\":{i}}}")}).to_string();
        all += &format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
             X-Amz-Target: AWSStepFunctions.StartSyncExecution\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }
    connection.send(all.as_bytes()).unwrap();
    for i in 0..100 {
        let answer = connection.receive().unwrap().json();
        assert_eq!(answer["output"], format!("{{\"i\":{i}}}"), "{answer}");
    }
}

/// The input of an execution is shown as it was sent, and its numbers keep their text.
#[test]
fn inputs_stay_as_they_were() {
    let host = host();
    let mut connection = host.connect();
    let arn = create(&mut connection, "m", "EXPRESS", PASS);
    let input = "{ \"n\": 1.10, \"big\": 123456789012345678901234567890, \"s\": \"\\u00e9\\/\" }";
    let params = json!({"stateMachineArn": arn, "input": input});
    let (status, answer) = connection.call("StartSyncExecution", &params);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["input"], input);
    assert_eq!(
        answer["output"],
        "{\"n\":1.10,\"big\":123456789012345678901234567890,\"s\":\"é/\"}"
    );
}

/// A loop that never waits ends by the bound of events, as on AWS.
#[test]
fn histories_end_at_25000_events() {
    let host = host();
    let mut connection = host.connect();
    let definition = r#"{"StartAt":"A","States":{
        "A":{"Type":"Choice","Choices":[{"Variable":"$.never","IsPresent":true,"Next":"B"}],"Default":"A"},
        "B":{"Type":"Succeed"}}}"#;
    let arn = create(&mut connection, "loop", "STANDARD", definition);
    let (_, started) = connection.call("StartExecution", &json!({"stateMachineArn": arn}));
    let execution = json!({"executionArn": started["executionArn"]});
    let described = loop {
        let (_, described) = connection.call("DescribeExecution", &execution);
        if described["status"] != "RUNNING" {
            break described;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    };
    assert_eq!(described["status"], "FAILED");
    assert_eq!(
        described["cause"],
        "The execution reached the maximum number of history events (25000)."
    );
    let params =
        json!({"executionArn": started["executionArn"], "reverseOrder": true, "maxResults": 2});
    let (_, last) = connection.call("GetExecutionHistory", &params);
    assert_eq!(last["events"][0]["id"], 25_000);
    assert_eq!(last["events"][0]["type"], "ExecutionFailed");
    assert_eq!(last["events"][1]["id"], 24_999);
}

/// A long poll ends with the server, and the server with its polls.
#[test]
fn the_end_of_the_server_ends_polls() {
    let host = host();
    let mut connection = host.connect();
    let (_, activity) = connection.call("CreateActivity", &json!({"name": "a"}));
    let body = json!({"activityArn": activity["activityArn"]}).to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AWSStepFunctions.GetActivityTask\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(request.as_bytes()).unwrap();
    // The poll is under way once another request on another connection was answered after it was sent; whether it is
    // or not, the answer is the same.
    assert_eq!(host.connect().post("ListActivities", b"{}").status, 200);
    assert_eq!(host.stop(), 0);
    if let Some(answer) = connection.receive() {
        assert_eq!(answer.json(), json!({"taskToken": null}));
    }
}

fn refused(directory: &std::path::Path) -> StoreErrorKind {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let options = ServerOptions {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: Some(directory.to_owned()),
        ..ServerOptions::default()
    };
    match runtime.block_on(Server::bind(options)) {
        Err(StartError::Store(error)) => {
            let text = error.to_string();
            assert!(text.contains("catalogue.redb"), "{text}");
            error.kind()
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Wherever a byte of a store is damaged, the server is refused or has all that was there; it never panics.
#[test]
fn damaged_stores_are_refused() {
    let directory = std::env::temp_dir().join(format!("quickstep-store-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    // Sixty-four journals would take their time.
    let options = || ServerOptions {
        data_dir: Some(directory.clone()),
        durability: Durability::Memory,
        ..ServerOptions::default()
    };
    let before;
    {
        let host = Host::start(options());
        let mut connection = host.connect();
        for i in 0..20 {
            create(&mut connection, &format!("m{i}"), "STANDARD", PASS);
        }
        before = connection.call("ListStateMachines", &json!({})).1;
        assert_eq!(refused(&directory), StoreErrorKind::InUse);
    }
    let path = directory.join("catalogue.redb");
    let whole = wait_for_file(&path);
    let executions = directory.join("executions.redb");
    wait_for_file(&executions);
    let mut refusals = 0;
    for i in 0..64 {
        let mut bytes = whole.clone();
        let at = i * bytes.len() / 64 + i % 7;
        for byte in &mut bytes[at..(at + 16).min(whole.len())] {
            *byte ^= 0x5A;
        }
        std::fs::write(&path, &bytes).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let bind = ServerOptions {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..options()
        };
        match runtime.block_on(Server::bind(bind)) {
            Err(StartError::Store(error)) => {
                assert_eq!(error.kind(), StoreErrorKind::Damaged, "{error}");
                refusals += 1;
            }
            Err(other) => panic!("{other}"),
            Ok(server) => {
                drop(server);
                let host = Host::start(options());
                let after = host.connect().call("ListStateMachines", &json!({})).1;
                assert_eq!(before, after, "byte {at}");
                drop(host);
                wait_for_file(&path);
                wait_for_file(&executions);
            }
        }
    }
    assert!(refusals > 0);
    std::fs::write(&path, b"not a store").unwrap();
    assert_eq!(refused(&directory), StoreErrorKind::Damaged);
    std::fs::remove_dir_all(&directory).unwrap();
}

/// The bytes of the store, once the server before has let go of it.
fn wait_for_file(path: &std::path::Path) -> Vec<u8> {
    for _ in 0..2_000 {
        if redb::Database::open(path).is_ok() {
            return std::fs::read(path).unwrap();
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    panic!("{} stays open", path.display());
}

/// JSON that is like a request.
fn requests() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,20}".prop_map(Value::from),
        Just(Value::from(
            "arn:aws:states:us-east-1:123456789012:stateMachine:m"
        )),
        Just(Value::from(
            "arn:aws:states:us-east-1:123456789012:execution:m:e"
        )),
        Just(Value::from(
            "arn:aws:states:us-east-1:123456789012:activity:a"
        )),
        Just(Value::from(PASS)),
    ];
    let names = prop::sample::select(vec![
        "name",
        "definition",
        "roleArn",
        "type",
        "stateMachineArn",
        "executionArn",
        "input",
        "tags",
        "loggingConfiguration",
        "destinations",
        "routingConfiguration",
        "nextToken",
        "maxResults",
        "resourceArn",
        "taskToken",
        "output",
        "stateMachineVersionArn",
        "stateMachineAliasArn",
        "weight",
        "activityArn",
        "level",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6).prop_map(|members| {
                let members = members.into_iter().map(|(n, v)| (n.to_owned(), v));
                Value::Object(members.collect())
            }),
        ]
    })
}

const OPERATIONS: &[&str] = &[
    "CreateStateMachine",
    "UpdateStateMachine",
    "DescribeStateMachine",
    "DescribeStateMachineForExecution",
    "DeleteStateMachine",
    "ListStateMachines",
    "ValidateStateMachineDefinition",
    "PublishStateMachineVersion",
    "ListStateMachineVersions",
    "DeleteStateMachineVersion",
    "CreateStateMachineAlias",
    "UpdateStateMachineAlias",
    "DescribeStateMachineAlias",
    "ListStateMachineAliases",
    "DeleteStateMachineAlias",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
    "StartExecution",
    "StartSyncExecution",
    "DescribeExecution",
    "ListExecutions",
    "StopExecution",
    "RedriveExecution",
    "GetExecutionHistory",
    "SendTaskSuccess",
    "SendTaskFailure",
    "SendTaskHeartbeat",
    "CreateActivity",
    "DescribeActivity",
    "ListActivities",
    "DeleteActivity",
    "DescribeMapRun",
    "UpdateMapRun",
    "ListMapRuns",
    "TestState",
];

/// Whatever a request holds, it is done or refused with a reason, and never a defect.
#[test]
fn no_request_is_a_defect() {
    let host = host();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let connection = std::cell::RefCell::new(host.connect());
    let operations = prop::sample::select(OPERATIONS.to_vec());
    runner
        .run(&(operations, requests()), |(operation, params)| {
            let (status, answer) = connection.borrow_mut().call(operation, &params);
            prop_assert!(
                status == 200 || error(&answer).0 != "InternalFailure",
                "{operation} {params}: {answer}"
            );
            Ok(())
        })
        .unwrap();
}
