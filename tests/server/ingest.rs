//! An execution for each line of a body.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use quickstep::server::{Credentials, ServerOptions};
use serde_json::{Value, json};

use crate::client::Host;
use crate::{PASS, create, error, host};

/// `n` becomes `n * 2`, and what is no number fails.
const DOUBLE: &str = r#"{"StartAt":"A","QueryLanguage":"JSONata","States":{"A":{"Type":"Pass","Output":{"n":"{% $states.input.n * 2 %}"},"End":true}}}"#;

/// A request whose body goes on, and whose answer is read while it does.
struct Exchange {
    reader: BufReader<TcpStream>,
    status: u16,
}

impl Exchange {
    fn begin(host: &Host, target: &str, headers: &str) -> Exchange {
        let mut stream = TcpStream::connect(host.addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(90)))
            .unwrap();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\n{headers}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        Exchange { reader, status }
    }

    fn send(&mut self, body: &[u8]) {
        let piece = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat();
        self.reader.get_mut().write_all(&piece).unwrap();
    }

    /// A piece of the answer; nothing at its end, or where it breaks off.
    fn piece(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let mut piece = vec![0; length + 2];
        self.reader.read_exact(&mut piece).ok()?;
        piece.truncate(length);
        (length > 0).then_some(piece)
    }

    /// Ends the body; returns the lines of the answer that were not read before.
    fn finish(mut self) -> Vec<Value> {
        self.reader.get_mut().write_all(b"0\r\n\r\n").unwrap();
        self.rest()
    }

    fn rest(&mut self) -> Vec<Value> {
        let mut text = Vec::new();
        while let Some(piece) = self.piece() {
            text.extend(piece);
        }
        lines(&text)
    }
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

fn ingest(host: &Host, target: &str, body: &[u8]) -> Vec<Value> {
    let mut exchange = Exchange::begin(host, target, NDJSON);
    assert_eq!(exchange.status, 200);
    for piece in body.chunks(7_919) {
        exchange.send(piece);
    }
    exchange.finish()
}

#[test]
fn outputs_come_in_the_order_of_the_lines() {
    let host = host();
    create(&mut host.connect(), "double", "EXPRESS", DOUBLE);
    let mut body: Vec<String> = (0..2_000).map(|n| format!("{{\"n\": {n}}}\n")).collect();
    body[3] = "\n".to_owned();
    body[5] = "{\"n\": \"x\"}\n".to_owned();
    body[7] = "{\n".to_owned();
    let body = body.concat();
    let answers = ingest(
        &host,
        "/v1/state-machines/double/executions?mode=sync",
        body.as_bytes(),
    );
    let (summary, answers) = answers.split_last().unwrap();
    assert_eq!(answers.len(), 1_999);
    let numbers = (0..2_000).filter(|n| *n != 3);
    for (n, answer) in numbers.zip(answers) {
        assert_eq!(answer["line"], n + 1);
        let (status, output) = match n {
            5 => ("FAILED", Value::Null),
            7 => ("REFUSED", Value::Null),
            n => ("SUCCEEDED", json!({"n": n * 2})),
        };
        assert_eq!(
            (&answer["status"], &answer["output"]),
            (&json!(status), &output),
            "{answer}"
        );
    }
    assert_eq!(answers[4]["error"], "States.QueryEvaluationError");
    assert_eq!(answers[6]["error"], "InvalidExecutionInput");
    let failures = json!([{"itemIdentifier": "6"}, {"itemIdentifier": "8"}]);
    let expected =
        json!({"complete": true, "lines": 1_999, "failed": 2, "batchItemFailures": failures});
    assert_eq!(*summary, expected);
}

#[test]
fn starts_are_accepted_or_refused() {
    let host = host();
    let mut connection = host.connect();
    create(&mut connection, "m", "STANDARD", PASS);
    let long = format!("\"{}\"\n", "x".repeat(262_143));
    let fits = format!("\"{}\"\n", "é".repeat(131_071));
    let endless = "1".repeat(3_000_000);
    let body = [
        b"{\"a\":1}\n",
        long.as_bytes(),
        fits.as_bytes(),
        b"\"\xff\"\n",
        b"nonsense\r\n",
        endless.as_bytes(),
        b"\n2",
    ]
    .concat();
    let answers = ingest(&host, "/v1/state-machines/m/executions", &body);
    let statuses: Vec<&str> = answers
        .iter()
        .filter_map(|answer| answer["status"].as_str())
        .collect();
    let (yes, no) = ("ACCEPTED", "REFUSED");
    assert_eq!(statuses, [yes, no, yes, no, no, no, yes]);
    let errors: Vec<&str> = answers
        .iter()
        .filter_map(|answer| answer["error"].as_str())
        .collect();
    let (invalid, validation) = ("InvalidExecutionInput", "ValidationException");
    assert_eq!(errors, [validation, invalid, invalid, validation]);
    // It can be found by what it was called.
    let arn = &answers[0]["executionArn"];
    let (_, described) = connection.call("DescribeExecution", &json!({"executionArn": arn}));
    assert_eq!(described["input"], "{\"a\":1}", "{described}");
    let answers = ingest(
        &host,
        "/v1/state-machines/m/executions?report=failures",
        &body,
    );
    let numbers: Vec<u64> = answers
        .iter()
        .filter_map(|answer| answer["line"].as_u64())
        .collect();
    assert_eq!(numbers, [2, 4, 5, 6]);
    assert_eq!(answers[4]["lines"], 7);
    assert_eq!(answers[4]["failed"], 4);
}

/// Answers come before the body ends, so that a client may wait for them.
#[test]
fn answers_come_while_the_body_does() {
    let host = host();
    create(&mut host.connect(), "double", "EXPRESS", DOUBLE);
    let target = "/v1/state-machines/double/executions?mode=sync";
    let mut exchange = Exchange::begin(&host, target, NDJSON);
    for n in 1..4 {
        exchange.send(b"{\"n\":");
        exchange.send(format!("{n}}}\n").as_bytes());
        let answers = lines(&exchange.piece().unwrap());
        assert_eq!(
            answers,
            [json!({"line": n, "status": "SUCCEEDED", "output": {"n": n * 2}})]
        );
    }
    let rest = exchange.finish();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0]["lines"], 3);
}

#[test]
fn bodies_that_break_off_or_stall_are_summed_up() {
    let host = Host::start(ServerOptions {
        body_time_max: Duration::from_millis(200),
        ..ServerOptions::default()
    });
    create(&mut host.connect(), "m", "EXPRESS", PASS);
    let mut exchange = Exchange::begin(&host, "/v1/state-machines/m/executions", NDJSON);
    exchange.send(b"1\n2\n3");
    let answers = exchange.rest();
    let (summary, answers) = answers.split_last().unwrap();
    assert_eq!(answers.len(), 2);
    assert_eq!(summary["complete"], false);
    assert_eq!(summary["reason"], "nothing more of the body came in time");
    let mut exchange = Exchange::begin(&host, "/v1/state-machines/m/executions", NDJSON);
    exchange.send(b"1\n");
    exchange.reader.get_mut().write_all(b"zz\r\n").unwrap();
    let answers = exchange.rest();
    assert_eq!(
        answers.last().map(|summary| &summary["complete"]),
        Some(&json!(false)),
        "{answers:?}"
    );
}

/// A client that sends and never reads is stopped by the bounds of what waits for it.
#[test]
fn whoever_reads_no_answers_is_not_read_either() {
    let host = Host::start(ServerOptions {
        write_time_max: Duration::from_millis(500),
        ..ServerOptions::default()
    });
    create(&mut host.connect(), "m", "EXPRESS", PASS);
    let mut exchange = Exchange::begin(&host, "/v1/state-machines/m/executions", NDJSON);
    let piece = b"1\n".repeat(0x8000);
    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
    let stream = exchange.reader.get_mut();
    stream
        .set_write_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    // More than sockets hold: 64 MiB of lines, whose answers would be gigabytes.
    let sent = (0..1_024)
        .take_while(|_| stream.write_all(&chunk).is_ok())
        .count();
    assert!(sent < 1_024);
}

#[test]
fn what_cannot_be_ingested_is_refused_at_once() {
    let host = host();
    let mut connection = host.connect();
    create(&mut connection, "standard", "STANDARD", PASS);
    create(&mut connection, "m", "EXPRESS", PASS);
    for (target, headers, status, code) in [
        ("none/executions", NDJSON, 404, "StateMachineDoesNotExist"),
        ("m:7/executions", NDJSON, 404, "StateMachineDoesNotExist"),
        ("%/executions", NDJSON, 404, "ResourceNotFound"),
        (
            "m/executions?mode=later",
            NDJSON,
            400,
            "ValidationException",
        ),
        (
            "standard/executions?mode=sync",
            NDJSON,
            400,
            "StateMachineTypeNotSupported",
        ),
        (
            "m/executions",
            "Content-Type: application/json\r\n",
            415,
            "UnsupportedMediaTypeException",
        ),
        ("m/executions", "", 415, "UnsupportedMediaTypeException"),
        (
            "m/executions",
            "Content-Type: application/x-ndjson\r\nContent-Encoding: gzip\r\n",
            415,
            "UnsupportedMediaTypeException",
        ),
    ] {
        let request = format!(
            "POST /v1/state-machines/{target} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        connection.send(request.as_bytes()).unwrap();
        let answer = connection.receive().unwrap();
        assert_eq!(answer.status, status, "{target} {headers}");
        assert_eq!(error(&answer.json()).0, code);
    }
}

#[test]
fn versions_and_aliases_can_be_ingested_for() {
    let host = host();
    let mut connection = host.connect();
    let arn = create(&mut connection, "double", "EXPRESS", DOUBLE);
    let (_, version) = connection.call(
        "PublishStateMachineVersion",
        &json!({"stateMachineArn": arn}),
    );
    let route =
        json!([{"stateMachineVersionArn": version["stateMachineVersionArn"], "weight": 100}]);
    connection.call(
        "CreateStateMachineAlias",
        &json!({"name": "live", "routingConfiguration": route}),
    );
    connection.call(
        "UpdateStateMachine",
        &json!({"stateMachineArn": arn, "definition": PASS}),
    );
    for (name, n) in [("double", 1), ("double:1", 2), ("double%3Alive", 2)] {
        let target = format!("/v1/state-machines/{name}/executions?mode=sync");
        let answers = ingest(&host, &target, b"{\"n\":1}");
        assert_eq!(answers[0]["output"], json!({"n": n}), "{name}");
    }
}

#[test]
fn ingestion_has_to_be_signed_where_requests_have_to() {
    let credentials = "[[credentials]]\naccess_key_id = \"A\"\nsecret_access_key = \"s\"\n";
    let host = Host::start(ServerOptions {
        credentials: Some(Credentials::parse(credentials).unwrap()),
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let request = format!(
        "POST /v1/state-machines/m/executions HTTP/1.1\r\nHost: h\r\n{NDJSON}Content-Length: 0\r\n\r\n"
    );
    connection.send(request.as_bytes()).unwrap();
    let answer = connection.receive().unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(
        error(&answer.json()).0,
        "MissingAuthenticationTokenException"
    );
}
