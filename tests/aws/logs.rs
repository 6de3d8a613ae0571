//! Logs of a server that go to CloudWatch Logs: moto has what was logged, and who does not take it costs nobody anything.

use quickstep::integration::IntegrationOptions;
use quickstep::server::ServerOptions;
use serde_json::{Value, json};

use super::moto::Caller;
use super::scripted::{Deed, Scripted, answer};
use crate::client::Host;

const PASS: &str = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}"#;

fn host(endpoint: &str) -> Host {
    let integrations = IntegrationOptions::default()
        .services(&[endpoint.to_owned()], [], Some("us-east-1"), false)
        .unwrap();
    Host::start(ServerOptions {
        integrations,
        ..ServerOptions::default()
    })
}

/// Runs a machine that logs into the group so often.
fn run(host: &Host, group: &str, count: usize) {
    let mut connection = host.connect();
    let arn = format!("arn:aws:logs:us-east-1:123456789012:log-group:{group}:*");
    let params = json!({
        "name": "logged", "definition": PASS, "type": "EXPRESS", "roleArn": "arn:aws:iam::123456789012:role/any",
        "loggingConfiguration": {
            "level": "ALL", "includeExecutionData": true,
            "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]
        }
    });
    let (status, machine) = connection.call("CreateStateMachine", &params);
    assert_eq!(status, 200, "{machine}");
    for n in 0..count {
        let params = json!({
            "stateMachineArn": machine["stateMachineArn"], "input": json!({"n": n}).to_string(), "name": format!("run-{n}")
        });
        let (status, ended) = connection.call("StartSyncExecution", &params);
        assert_eq!(
            (status, &ended["status"]),
            (200, &json!("SUCCEEDED")),
            "{ended}"
        );
    }
}

#[test]
fn what_was_logged_is_there() {
    let Some(caller) = Caller::get() else { return };
    let host = host(&format!("logs={}", caller.url));
    run(&host, "/aws/vendedlogs/orders", 3);
    // What was logged is sent before the server ends.
    host.stop();
    let group = json!({"LogGroupName": "/aws/vendedlogs/orders"});
    let streams = caller.call("cloudwatchlogs", "describeLogStreams", group);
    let stream = &streams["LogStreams"][0]["LogStreamName"];
    assert!(
        stream.as_str().unwrap().starts_with("states/quickstep/20"),
        "{stream}"
    );
    let found = caller.call(
        "cloudwatchlogs",
        "getLogEvents",
        json!({"LogGroupName": "/aws/vendedlogs/orders", "LogStreamName": stream, "StartFromHead": true}),
    );
    let events = found["Events"].as_array().unwrap();
    // Started, entered, exited, succeeded.
    assert_eq!(events.len(), 3 * 4);
    for event in events {
        let line: Value = serde_json::from_str(event["Message"].as_str().unwrap()).unwrap();
        let millis: i64 = line["event_timestamp"].as_str().unwrap().parse().unwrap();
        assert_eq!(event["Timestamp"], millis);
        assert!(
            line["execution_arn"].as_str().unwrap().contains(":run-"),
            "{line}"
        );
    }
    let types = events.iter().filter(|event| {
        event["Message"]
            .as_str()
            .unwrap()
            .contains("ExecutionSucceeded")
    });
    assert_eq!(types.count(), 3);
}

#[test]
fn what_is_not_taken_is_counted() {
    let body = br#"{"__type":"AccessDeniedException","message":"no"}"#;
    let server = Scripted::always(Deed::Answer(answer(400, "", body)));
    let host = host(&format!("logs={}", server.url()));
    run(&host, "orders", 2);
    let wanted =
        "quickstep_log_events_dropped_total{sink=\"cloudwatch:orders\",reason=\"write_failed\"} 8";
    // Within the time after which the test itself is given up.
    while !metrics(&host).contains(wanted) {
        std::thread::yield_now();
    }
    assert!(server.requests()[0].contains("Logs_20140328.PutLogEvents"));
    assert!(server.requests()[0].contains("\"logGroupName\":\"orders\""));
    let answer = host.connect().post("ListStateMachines", b"{}");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-amz-json-1.0")
    );
    host.stop();
}

fn metrics(host: &Host) -> String {
    let mut connection = host.connect();
    let request = b"GET /metrics HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    connection.send(request).unwrap();
    std::iter::from_fn(|| connection.line())
        .collect::<Vec<_>>()
        .join("\n")
}
