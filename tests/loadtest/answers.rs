//! Servers that answer otherwise than they should: the load tester has to count it, and to come to an end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;

use super::{Place, data, loadtest, text};

/// A request, of which only this is known.
struct Request {
    number: usize,
    is_post: bool,
}

/// Serves whatever `answer` says, on a connection after the other and at the same time; nothing if it says nothing.
fn serve(answer: impl Fn(&Request) -> Option<String> + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            thread::spawn(move || connection(stream.unwrap(), &answer));
        }
    });
    format!("http://{addr}")
}

fn connection(mut stream: TcpStream, answer: &impl Fn(&Request) -> Option<String>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for number in 0.. {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let is_post = first.starts_with("POST");
        let Some(text) = answer(&Request { number, is_post }) else {
            // Nothing comes, and the connection stays.
            continue;
        };
        if stream.write_all(text.as_bytes()).is_err() || text.contains("close") {
            return;
        }
    }
}

fn http(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Counts of a run of a hundred requests, and what was wrong with it.
fn run(name: &str, url: &str, drain: &str) -> Value {
    let place = Place::new(name);
    let (events, json) = (data("hello.ndjson"), place.at("report.json"));
    let target = format!("{url},connections=4");
    let arn = "arn:aws:states:us-east-1:123456789012:stateMachine:x";
    let output = loadtest(&[
        "run",
        "--target",
        &target,
        "--machine",
        arn,
        "--definition",
        &data("hello.asl.json"),
        "--events",
        &events,
        "--rate",
        "100",
        "--duration",
        "1s",
        "--warm-up",
        "0s",
        "--drain",
        drain,
        "--json",
        &json,
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    report["runs"][0].clone()
}

fn not_found() -> Option<String> {
    Some(http(404, "{}"))
}

#[test]
fn who_never_answers_is_told_of() {
    let url = serve(|request| if request.is_post { None } else { not_found() });
    let run = run("silent", &url, "5s");
    // Four connections wait for ever; for the other requests there is none.
    assert_eq!(
        (&run["unanswered"], &run["unsent"]),
        (&4.into(), &96.into())
    );
    assert_eq!(run["problem"], "4 never answered, 96 due and not sent");
}

#[test]
fn refusals_are_told_apart() {
    let throttles = |request: &Request| match request.is_post {
        true => Some(http(400, r#"{"__type":"ThrottlingException"}"#)),
        false => not_found(),
    };
    let found = run("throttles", &serve(throttles), "120s");
    assert_eq!(
        (&found["counts"]["throttled"], &found["counts"]["broken"]),
        (&100.into(), &0.into())
    );
    let refuses = |request: &Request| match request.is_post {
        true => Some(http(400, r#"{"__type":"StateMachineDoesNotExist"}"#)),
        false => not_found(),
    };
    let found = run("refuses", &serve(refuses), "120s");
    assert_eq!(
        (&found["counts"]["throttled"], &found["counts"]["broken"]),
        (&0.into(), &100.into())
    );
    // What is refused has no latency: it would make the target look quick.
    assert_eq!(found["latency"]["count"], 0);
}

#[test]
fn what_is_no_answer_is_broken() {
    for (name, answer) in [
        ("garbage", "what?\r\n\r\n".to_owned()),
        (
            "early",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{".to_owned(),
        ),
        ("not-json", http(200, "OK")),
    ] {
        let answers = move |request: &Request| match request.is_post {
            true => Some(answer.clone()),
            false => not_found(),
        };
        let run = run(name, &serve(answers), "120s");
        assert_eq!(run["counts"]["broken"], 100, "{name}: {run}");
    }
}

#[test]
fn another_s_output_is_wrong() {
    // Always that of the first event: the right one for one request in 1,024.
    let output = r#"{"orderId":"ord-7f3a9c21-000000","n":0}"#;
    let body = format!(
        r#"{{"status":"SUCCEEDED","output":{}}}"#,
        Value::from(output)
    );
    let answers = move |request: &Request| match request.is_post {
        true => Some(http(200, &body)),
        false => not_found(),
    };
    let run = run("another", &serve(answers), "120s");
    assert_eq!(
        (&run["counts"]["right"], &run["counts"]["wrong"]),
        (&1.into(), &99.into())
    );
}

#[test]
fn connections_may_be_closed_after_each_answer() {
    let input = std::fs::read_to_string(data("hello.ndjson")).unwrap();
    let outputs: Vec<String> = input.lines().map(str::to_owned).collect();
    assert_eq!(outputs.len(), 1024);
    // It does not know which event it is asked for: with one of a hundred it is right at least once.
    let answers = move |request: &Request| match (request.is_post, request.number) {
        (true, 0) => {
            let body = format!(
                r#"{{"status":"SUCCEEDED","output":{}}}"#,
                Value::from(&*outputs[7])
            );
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            Some(head + &body)
        }
        _ => not_found(),
    };
    let run = run("closes", &serve(answers), "120s");
    assert_eq!(
        (&run["counts"]["right"], &run["counts"]["wrong"]),
        (&1.into(), &99.into())
    );
}
