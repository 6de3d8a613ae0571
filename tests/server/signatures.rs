//! Signed requests over the wire. What a signature is worth is told by the unit tests, and by real clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quickstep::engine::{Clock, SystemClock};
use quickstep::server::{Credentials, ServerOptions};
use quickstep::stdx::Timestamp;

use crate::client::{Connection, Host};
use crate::error;

/// The time that the signature below is of, and some minutes more.
#[derive(Debug)]
struct Fixed(SystemClock, AtomicI64);

impl Clock for Fixed {
    fn nanos(&self) -> u64 {
        self.0.nanos()
    }

    fn timestamp(&self) -> Timestamp {
        let signed = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        Timestamp::from_millis(signed.millis() + 60_000 * self.1.load(Ordering::SeqCst))
    }
}

fn host() -> Host {
    host_at(&Arc::new(Fixed(SystemClock::new(), AtomicI64::new(0))))
}

fn host_at(clock: &Arc<Fixed>) -> Host {
    let credentials = "[[credentials]]\naccess_key_id = \"AKIDEXAMPLE\"\n\
                       secret_access_key = \"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\"\n";
    Host::start(ServerOptions {
        region: "eu-west-1".to_owned(),
        credentials: Some(Credentials::parse(credentials).unwrap()),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        body_time_max: Duration::from_secs(600),
        ..ServerOptions::default()
    })
}

/// What botocore sent.
const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/eu-west-1/states/aws4_request, \
                      SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
                      Signature=18d6f6f0df2e5417b153b842e543807def7e24f9739cdc6f70c9efc157168a38\r\n";

fn send(connection: &mut Connection, authorization: &str, length: usize, body: &str) {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:8083\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AWSStepFunctions.ListStateMachines\r\nX-Amz-Date: 20261122T120000Z\r\n\
         {authorization}Content-Length: {length}\r\n\r\n{body}"
    );
    connection.send(request.as_bytes()).unwrap();
}

#[test]
fn requests_are_served_to_those_who_signed_them() {
    let host = host();
    let mut connection = host.connect();
    send(&mut connection, SIGNED, 2, "{}");
    let answer = connection.receive().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    send(&mut connection, SIGNED, 2, "[]");
    let answer = connection.receive().unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(error(&answer.json()).0, "InvalidSignatureException");
    send(&mut connection, SIGNED, 2, "{}");
    assert_eq!(connection.receive().unwrap().status, 200);
    send(&mut connection, "", 2, "{}");
    let answer = connection.receive().unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(
        error(&answer.json()),
        (
            "MissingAuthenticationTokenException",
            "Missing Authentication Token"
        )
    );
}

/// What somebody has overheard is of use for five minutes, before the time of its signature and after.
#[test]
fn replays_are_refused_after_a_while() {
    let clock = Arc::new(Fixed(SystemClock::new(), AtomicI64::new(0)));
    let host = host_at(&clock);
    let mut connection = host.connect();
    for (minutes, expected) in [
        (0, None),
        (5, None),
        (6, Some("Signature expired")),
        (60, Some("Signature expired")),
        (-5, None),
        (-6, Some("Signature not yet current")),
    ] {
        clock.1.store(minutes, Ordering::SeqCst);
        send(&mut connection, SIGNED, 2, "{}");
        let answer = connection.receive().unwrap();
        assert_eq!(answer.status == 200, expected.is_none(), "{minutes}");
        if let Some(expected) = expected {
            let json = answer.json();
            let (code, message) = error(&json);
            assert_eq!(code, "InvalidSignatureException");
            assert!(message.starts_with(expected), "{message}");
        }
    }
}

/// The answer comes while the body does not.
#[test]
fn whoever_cannot_have_signed_sends_no_body() {
    let host = host();
    let stranger = SIGNED.replace("AKIDEXAMPLE", "STRANGER");
    for (authorization, code) in [
        ("", "MissingAuthenticationTokenException"),
        (
            "Authorization: Basic eA==\r\n",
            "IncompleteSignatureException",
        ),
        (&stranger, "UnrecognizedClientException"),
    ] {
        let mut connection = host.connect();
        send(&mut connection, authorization, 1_000_000, "{");
        let answer = connection.receive().unwrap();
        assert_eq!(answer.status, 400);
        assert_eq!(error(&answer.json()).0, code);
    }
}

#[test]
fn those_who_watch_need_not_sign() {
    let host = host();
    let mut connection = host.connect();
    for path in ["/healthz", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        connection.send(request.as_bytes()).unwrap();
        assert_eq!(connection.receive().unwrap().status, 200);
    }
}
