//! Services that fail: the error that a state would catch, how often a call is tried, and what is left behind.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quickstep::internal::aws::{CallOptions, Client, Endpoints, Error, ErrorKind, Keys, Names};
use quickstep::internal::net;
use serde_json::{Value, json};

use super::scripted::{Deed, Scripted, answer};

/// A client of one address, the times that it would have waited, and a runtime.
struct Caller {
    client: Client,
    waits: Arc<Mutex<Vec<Duration>>>,
    runtime: tokio::runtime::Runtime,
}

impl Caller {
    fn new(url: &str) -> Caller {
        let waits: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let seen = Arc::clone(&waits);
        let client = Client::builder()
            .endpoints(Endpoints::parse([url]).unwrap())
            .keys(Keys::new("AKID", "secret", None))
            .wait(move |wait| {
                seen.lock().unwrap().push(wait);
                Duration::ZERO
            })
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Caller {
            client,
            waits,
            runtime,
        }
    }

    fn call(&self, service: &str, action: &str, parameters: &Value) -> Result<Value, Error> {
        self.with(service, action, parameters, &CallOptions::default())
    }

    fn with(
        &self,
        service: &str,
        action: &str,
        parameters: &Value,
        options: &CallOptions,
    ) -> Result<Value, Error> {
        let call = self.client.call(service, action, parameters, options);
        self.runtime.block_on(call)
    }

    fn get_item(&self) -> Result<Value, Error> {
        self.call("dynamodb", "getItem", &json!({"TableName": "t"}))
    }
}

#[test]
fn answers_by_their_status() {
    let body = |code: &str| format!(r#"{{"__type":"x#{code}","message":"m"}}"#).into_bytes();
    let id = "x-amzn-requestid: R\r\n";
    for (status, headers, body, name, cause, attempts) in [
        (
            400,
            id,
            body("ConditionalCheckFailedException"),
            "DynamoDb.ConditionalCheckFailedException",
            "m (Service: DynamoDb, Status Code: 400, Request ID: R)",
            1,
        ),
        (
            400,
            id,
            body("ProvisionedThroughputExceededException"),
            "DynamoDb.ProvisionedThroughputExceededException",
            "m (Service: DynamoDb, Status Code: 400, Request ID: R)",
            3,
        ),
        (
            // What the model does not know.
            400,
            "",
            body("NewException"),
            "DynamoDb.DynamoDbException",
            "m (Service: DynamoDb, Status Code: 400, Request ID: null)",
            1,
        ),
        (
            500,
            "",
            b"<html>oops".to_vec(),
            "DynamoDb.DynamoDbException",
            "the service answered with status 500 (Service: DynamoDb, Status Code: 500, Request ID: null)",
            3,
        ),
        (
            429,
            "",
            body("TooManyRequestsException"),
            "DynamoDb.DynamoDbException",
            "m (Service: DynamoDb, Status Code: 429, Request ID: null)",
            3,
        ),
        (
            // Nobody is led elsewhere.
            301,
            "location: http://127.0.0.1:1/\r\n",
            Vec::new(),
            "DynamoDb.DynamoDbException",
            "the service answered with status 301 (Service: DynamoDb, Status Code: 301, Request ID: null)",
            1,
        ),
    ] {
        let server = Scripted::always(Deed::Answer(answer(status, headers, &body)));
        let caller = Caller::new(&server.url());
        let error = caller.get_item().unwrap_err();
        assert_eq!((error.name(), error.cause().as_str()), (name, cause));
        assert_eq!(error.kind(), ErrorKind::Service);
        assert_eq!(error.status(), Some(status));
        assert_eq!(server.requests().len(), attempts, "{status} {name}");
        assert_eq!(caller.waits.lock().unwrap().len(), attempts - 1);
        // One connection was enough for all attempts.
        assert_eq!(server.accepted(), 1);
        drop(caller);
        server.wait_all_closed();
    }
}

#[test]
fn a_service_says_how_long_to_wait() {
    let server = Scripted::start(|n, _| match n {
        0 => Deed::Answer(answer(429, "retry-after: 7\r\n", b"{}")),
        1 => Deed::Answer(answer(503, "x-amz-retry-after: 250\r\n", b"{}")),
        _ => Deed::Answer(answer(200, "", br#"{"Item":{"a":{"S":"x"}}}"#)),
    });
    let caller = Caller::new(&server.url());
    let found = caller.get_item().unwrap();
    assert_eq!(found, json!({"Item": {"a": {"S": "x"}}}));
    let waits = caller.waits.lock().unwrap().clone();
    assert_eq!(waits, [Duration::from_secs(7), Duration::from_millis(250)]);
}

#[test]
fn connections_that_break() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec();
    for (deed, kind, attempts) in [
        (Deed::End(Vec::new()), net::ErrorKind::Reset, 3),
        (Deed::Reset(head.clone()), net::ErrorKind::Reset, 3),
        (Deed::End(head), net::ErrorKind::Reset, 3),
        (
            Deed::End(b"garbage\r\n\r\n".to_vec()),
            net::ErrorKind::Garbage,
            1,
        ),
    ] {
        let server = Scripted::always(deed.clone());
        let caller = Caller::new(&server.url());
        let error = caller.get_item().unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Transport(kind),
            "{deed:?}: {error}"
        );
        assert_eq!(error.name(), "DynamoDb.SdkClientException");
        assert_eq!(server.accepted(), attempts, "{deed:?}");
        drop(caller);
        server.wait_all_closed();
    }
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let caller = Caller::new(&format!("http://{free}"));
    let error = caller.get_item().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport(net::ErrorKind::Refused));
    assert!(error.is_retryable());
    assert_eq!(caller.waits.lock().unwrap().len(), 2);
}

#[test]
fn an_attempt_that_helps() {
    let server = Scripted::start(|n, _| match n {
        0 => Deed::Reset(Vec::new()),
        1 => Deed::Answer(answer(500, "", b"")),
        _ => Deed::Answer(answer(200, "", b"{}")),
    });
    let caller = Caller::new(&server.url());
    assert_eq!(caller.get_item().unwrap(), json!({}));
    assert_eq!(server.accepted(), 2);
}

#[test]
fn who_never_answers() {
    let server = Scripted::always(Deed::Stall(Vec::new()));
    let caller = Caller::new(&server.url());
    let options = CallOptions {
        time_max: Some(Duration::from_millis(50)),
        ..CallOptions::default()
    };
    let error = caller
        .with("sqs", "listQueues", &json!({}), &options)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport(net::ErrorKind::TimedOut));
    assert_eq!(error.name(), "Sqs.SdkClientException");
    assert_eq!(server.accepted(), 3);
    drop(caller);
    server.wait_all_closed();
}

#[test]
fn answers_that_are_too_large() {
    // More than a state may have, and more than is read at all.
    for size in [300 * 1024, 2 * 1024 * 1024] {
        let text = "x".repeat(size);
        let body = format!(r#"{{"Item":{{"a":{{"S":"{text}"}}}}}}"#).into_bytes();
        let server = Scripted::always(Deed::Answer(answer(200, "", &body)));
        let caller = Caller::new(&server.url());
        let error = caller.get_item().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{size}");
        assert_eq!(error.name(), "States.DataLimitExceeded");
        assert_eq!(server.accepted(), 1);
        // Who asks for more gets it.
        let options = CallOptions {
            bytes_max: Some(4 * 1024 * 1024),
            ..CallOptions::default()
        };
        let found = caller
            .with("dynamodb", "getItem", &json!({}), &options)
            .unwrap();
        assert_eq!(found["Item"]["a"]["S"].as_str().unwrap().len(), size);
        drop(caller);
        server.wait_all_closed();
    }
}

#[test]
fn answers_that_cannot_be_read() {
    for body in ["<html>", "[]", "{\"Item\":"] {
        let server = Scripted::always(Deed::Answer(answer(200, "", body.as_bytes())));
        let error = Caller::new(&server.url()).get_item().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Garbage, "{body}");
        assert_eq!(error.name(), "DynamoDb.SdkClientException");
        assert!(
            error
                .message()
                .starts_with("the answer of DynamoDb cannot be read: ")
        );
    }
    // S3 may begin to answer before it knows the end.
    let body =
        b"<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>m</Message></Error>";
    let server = Scripted::always(Deed::Answer(answer(200, "", body)));
    let parameters = json!({"Bucket": "b", "Key": "k", "CopySource": "b/k"});
    let error = Caller::new(&server.url())
        .call("s3", "copyObject", &parameters)
        .unwrap_err();
    assert_eq!(error.name(), "S3.S3Exception");
    assert_eq!(error.code(), Some("InternalError"));
    // What somebody has stored may look the same.
    let parameters = json!({"Bucket": "b", "Key": "k"});
    let found = Caller::new(&server.url())
        .call("s3", "getObject", &parameters)
        .unwrap();
    assert_eq!(found["Body"].as_str(), std::str::from_utf8(body).ok());
    let server = Scripted::always(Deed::Answer(answer(200, "", body)));
    let error = Caller::new(&server.url())
        .call(
            "s3",
            "copyObject",
            &json!({"Bucket": "b", "Key": "k", "CopySource": "b/k"}),
        )
        .unwrap_err();
    // The copy may be there.
    assert_eq!((server.requests().len(), error.attempts()), (1, 1));
}

#[test]
fn what_may_have_been_done_is_not_done_twice() {
    let item = json!({"TableName": "t", "Item": {"a": {"S": "x"}}});
    let message = json!({"QueueUrl": "http://q/1/q", "MessageBody": "m"});
    let with_token = json!({"TransactItems": []});
    let slow = br#"{"__type":"x#ThrottlingException"}"#;
    for (service, action, parameters, deed, attempts) in [
        ("dynamodb", "putItem", &item, Deed::Reset(Vec::new()), 1),
        ("dynamodb", "putItem", &item, Deed::End(Vec::new()), 1),
        (
            "sqs",
            "sendMessage",
            &message,
            Deed::Answer(answer(500, "", b"{}")),
            1,
        ),
        (
            "sqs",
            "sendMessage",
            &message,
            Deed::Answer(answer(504, "", b"{}")),
            1,
        ),
        (
            "sqs",
            "sendMessage",
            &message,
            Deed::Answer(answer(503, "", b"{}")),
            3,
        ),
        (
            "dynamodb",
            "putItem",
            &item,
            Deed::Answer(answer(400, "", slow)),
            3,
        ),
        (
            "dynamodb",
            "transactWriteItems",
            &with_token,
            Deed::Answer(answer(500, "", b"{}")),
            3,
        ),
    ] {
        let server = Scripted::always(deed.clone());
        let caller = Caller::new(&server.url());
        let error = caller.call(service, action, parameters).unwrap_err();
        assert_eq!(error.attempts(), attempts, "{action} {deed:?}: {error}");
        if !matches!(deed, Deed::Reset(_)) {
            assert_eq!(server.requests().len() as u32, attempts);
        }
    }
}

#[test]
fn an_endpoint_that_is_down_is_spared() {
    let server = Scripted::always(Deed::Answer(answer(500, "", b"")));
    let caller = Caller::new(&server.url());
    for _ in 0..100 {
        caller.get_item().unwrap_err();
    }
    // Of 200 retries as many as there are tokens: 500, and 5 for each.
    assert_eq!(server.requests().len(), 100 + 100);
}

#[test]
fn nothing_is_sent_for_what_cannot_be() {
    let server = Scripted::always(Deed::Answer(answer(200, "", b"{}")));
    let caller = Caller::new(&server.url());
    for (service, action, parameters, kind, message) in [
        (
            "dynamo",
            "getItem",
            json!({}),
            ErrorKind::Unknown,
            "there is no service 'dynamo' of AWS's SDK",
        ),
        (
            "dynamodb",
            "GetItem",
            json!({}),
            ErrorKind::Unknown,
            "the service 'dynamodb' has no action 'GetItem'; it is spelled 'getItem'",
        ),
        (
            "dynamodb",
            "getItem",
            json!({"Tablename": ""}),
            ErrorKind::Parameters,
            "The field 'Tablename' is not supported by Step Functions; it is spelled 'TableName'",
        ),
    ] {
        let error = caller.call(service, action, &parameters).unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, message));
    }
    assert_eq!(server.accepted(), 0);
}

#[test]
fn requests_are_signed_and_say_who_calls() {
    let server = Scripted::always(Deed::Answer(answer(
        200,
        "",
        br#"{"Item":{"a":{"BOOL":true}}}"#,
    )));
    let caller = Caller::new(&server.url());
    let options = CallOptions {
        region: Some("eu-west-1".to_owned()),
        names: Names::Api,
        ..CallOptions::default()
    };
    let found = caller
        .with("dynamodb", "getItem", &json!({"TableName": "t"}), &options)
        .unwrap();
    assert_eq!(found, json!({"Item": {"a": {"BOOL": true}}}));
    let request = &server.requests()[0];
    for part in [
        "x-amz-target: DynamoDB_20120810.GetItem\r\n",
        "authorization: AWS4-HMAC-SHA256 Credential=AKID/",
        "/eu-west-1/dynamodb/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=",
        "user-agent: quickstep/",
        "\r\n\r\n{\"TableName\":\"t\"}",
    ] {
        assert!(request.contains(part), "{part} in {request}");
    }
}
