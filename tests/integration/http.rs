//! HTTP tasks, against an endpoint of the tests' own.

use quickstep::integration::{HttpConnections, IntegrationOptions};
use quickstep::server::ServerOptions;
use serde_json::{Value, json};

use crate::client::Host;
use crate::endpoint::{Endpoint, Reaction, json as answer};
use crate::support::{create, ended, failure, one_task, output, run, start, until};

const ARN: &str = "arn:aws:events:us-east-1:123456789012:connection";

/// A server whose HTTP tasks may call an endpoint, with connections of each kind.
fn host(endpoint: &Endpoint, is_local_allowed: bool) -> Host {
    let text = format!(
        r#"
        allow = ["http://{addr}/*"]
        allow_private_addresses = {is_local_allowed}
        [[connection]]
        arn = "{ARN}/basic/*"
        basic = {{ username = "me", password = "p:w" }}
        [[connection]]
        arn = "{ARN}/key/*"
        api_key = {{ name = "X-Api-Key", value = "k" }}
        headers = {{ X-Team = "blue" }}
        query = {{ version = "2" }}
        body = {{ tenant = "t" }}
        [[connection]]
        arn = "{ARN}/oauth/*"
        oauth = {{ token_url = "http://{addr}/token", client_id = "id", client_secret = "s&s" }}
        "#,
        addr = endpoint.addr
    );
    let connections = HttpConnections::parse(&text).unwrap();
    Host::start(ServerOptions {
        integrations: IntegrationOptions::default().http(connections),
        ..ServerOptions::default()
    })
}

fn task(endpoint: &Endpoint, connection: &str, more: Value) -> Value {
    let mut parameters = json!({
        "ApiEndpoint": endpoint.url("/x"),
        "Method": "GET",
        "Authentication": {"ConnectionArn": format!("{ARN}/{connection}/1")},
    });
    for (name, value) in more.as_object().unwrap() {
        parameters[name] = value.clone();
    }
    one_task("arn:aws:states:::http:invoke", parameters)
}

#[test]
fn a_call_and_its_result() {
    let endpoint = Endpoint::start(|_, asked| {
        let headers = vec![
            ("Content-Type", "application/json; charset=utf-8".to_owned()),
            ("X-Seen", asked.line.clone()),
        ];
        Reaction::Answer(201, headers, r#"{"n": 1.50, "big": 1e400}"#.to_owned())
    });
    let host = host(&endpoint, true);
    let mut connection = host.connect();
    let more = json!({
        "Method": "POST", "Headers": {"X-A": "b"}, "QueryParameters": {"q": "a b"},
        "RequestBody": {"a": [1]},
    });
    let machine = create(
        &mut connection,
        "m",
        "EXPRESS",
        &task(&endpoint, "key", more),
    );
    let params = json!({"stateMachineArn": machine, "input": "{}"});
    let (_, described) = connection.call("StartSyncExecution", &params);
    let text = described["output"].as_str().unwrap();
    assert!(
        text.contains(r#""ResponseBody":{"n":1.50,"big":1e400}"#),
        "{text}"
    );
    assert!(
        text.contains(r#""StatusCode":201,"StatusText":"Created""#),
        "{text}"
    );
    assert!(
        text.contains(r#""x-seen":["POST /x?q=a%20b&version=2"]"#),
        "{text}"
    );
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("x-api-key"), Some("k"));
    assert_eq!(asked[0].header("x-team"), Some("blue"));
    assert_eq!(asked[0].header("x-a"), Some("b"));
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(body, json!({"a": [1], "tenant": "t"}));
}

#[test]
fn statuses_are_errors_by_number_and_are_retried() {
    let endpoint = Endpoint::start(|number, _| match number {
        0 | 1 => answer(503, r#"{"message":"later"}"#),
        _ => answer(200, r#""well""#),
    });
    let host = host(&endpoint, true);
    let mut connection = host.connect();
    let mut definition = task(&endpoint, "basic", json!({}));
    definition["States"]["T"]["Retry"] = json!([{"ErrorEquals": ["States.Http.StatusCode.503"],
        "IntervalSeconds": 1, "MaxAttempts": 1}]);
    let machine = create(&mut connection, "m", "STANDARD", &definition);
    let (error, cause) = failure(&run(&mut connection, &machine, &json!({})));
    assert_eq!(error, "States.Http.StatusCode.503");
    assert_eq!(cause, r#"{"message":"later"}"#);
    let described = run(&mut connection, &machine, &json!({}));
    assert_eq!(output(&described)["ResponseBody"], "well");
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 3);
    // "me:p:w"
    assert_eq!(asked[0].header("authorization"), Some("Basic bWU6cDp3"));
}

#[test]
fn tokens_are_asked_for_once_and_again_when_refused() {
    let endpoint = Endpoint::start(|_, asked| {
        if asked.line == "POST /token" {
            assert_eq!(
                asked.body,
                "grant_type=client_credentials&client_id=id&client_secret=s%26s"
            );
            return answer(200, r#"{"access_token":"T","expires_in":3600}"#);
        }
        match asked.header("authorization") {
            Some("Bearer T") if asked.line.contains("refused") => answer(401, "{}"),
            Some("Bearer T") => answer(200, "1"),
            _ => answer(403, "{}"),
        }
    });
    let host = host(&endpoint, true);
    let mut connection = host.connect();
    let definition = task(&endpoint, "oauth", json!({"QueryParameters": {"n.$": "$"}}));
    let machine = create(&mut connection, "m", "STANDARD", &definition);
    for n in ["1", "2"] {
        let described = run(&mut connection, &machine, &json!(n));
        assert_eq!(output(&described)["StatusCode"], 200);
    }
    let tokens = || {
        endpoint
            .asked()
            .iter()
            .filter(|a| a.line == "POST /token")
            .count()
    };
    assert_eq!(tokens(), 1);
    let (error, _) = failure(&run(&mut connection, &machine, &json!("refused")));
    assert_eq!(error, "States.Http.StatusCode.401");
    assert_eq!(tokens(), 2);
}

#[test]
fn what_goes_wrong_on_the_way() {
    let endpoint = Endpoint::start(|_, asked| match asked.line.as_str() {
        "GET /x?q=reset" => {
            Reaction::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab".to_vec())
        }
        "GET /x?q=garbage" => Reaction::Bytes(b"\x00\x01 what is this\r\n\r\n".to_vec()),
        "GET /x?q=large" => answer(200, "x".repeat(300 * 1024)),
        _ => Reaction::Silence,
    });
    let host = host(&endpoint, true);
    let mut connection = host.connect();
    let mut definition = task(&endpoint, "basic", json!({"QueryParameters": {"q.$": "$"}}));
    let machine = create(&mut connection, "m", "STANDARD", &definition);
    for (fault, expected) in [
        ("reset", "States.Http.Socket"),
        ("garbage", "States.Http.Socket"),
        ("large", "States.DataLimitExceeded"),
    ] {
        let (error, cause) = failure(&run(&mut connection, &machine, &json!(fault)));
        assert_eq!(error, expected, "{fault}: {cause}");
    }
    definition["States"]["T"]["TimeoutSeconds"] = 1.into();
    let machine = create(&mut connection, "late", "STANDARD", &definition);
    let (error, _) = failure(&run(&mut connection, &machine, &json!("silence")));
    assert_eq!(error, "States.Timeout");
    // Whoever is not waited for any more is told so.
    until(|| (endpoint.open() == 0).then_some(()));
}

#[test]
fn a_call_ends_with_its_execution() {
    let endpoint = Endpoint::start(|_, _| Reaction::Silence);
    let host = host(&endpoint, true);
    let mut connection = host.connect();
    let machine = create(
        &mut connection,
        "m",
        "STANDARD",
        &task(&endpoint, "basic", json!({})),
    );
    let execution = start(&mut connection, &machine, &json!({}));
    until(|| (endpoint.open() == 1).then_some(()));
    connection.call("StopExecution", &json!({"executionArn": execution}));
    assert_eq!(ended(&mut connection, &execution)["status"], "ABORTED");
    until(|| (endpoint.open() == 0).then_some(()));
}

#[test]
fn addresses_that_are_not_allowed_are_not_called() {
    let endpoint = Endpoint::start(|_, _| answer(200, "{}"));
    let host = host(&endpoint, false);
    let mut connection = host.connect();
    for (i, (more, problem)) in [
        (json!({}), "allow_private_addresses"),
        (
            json!({"ApiEndpoint": "http://localhost:1/"}),
            "is not among the addresses",
        ),
        (
            json!({"ApiEndpoint": "http://169.254.169.254/latest/meta-data/"}),
            "is not among the addresses",
        ),
        (
            json!({"Authentication": {"ConnectionArn": "unknown"}}),
            "The connection unknown is not known",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let definition = task(&endpoint, "basic", more);
        let machine = create(&mut connection, &format!("m{i}"), "STANDARD", &definition);
        let (error, cause) = failure(&run(&mut connection, &machine, &json!({})));
        assert_eq!(error, "States.Runtime");
        assert!(cause.contains(problem), "{cause}");
    }
    assert!(endpoint.asked().is_empty());
}
