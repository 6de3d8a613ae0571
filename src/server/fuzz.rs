//! What the fuzz target `request` and a test call: a request as a client may send it, up to where its operation would wait.

use std::cell::RefCell;

use hyper::Request;
use hyper::http::request::Parts;

use super::app::App;
use super::auth::{Credentials, Payload, Verifier};
use super::operations::{Headers, Reply};
use super::{ServerOptions, ingest, protocol};
use crate::stdx::Timestamp;

/// Requests after which there is a new catalogue, so that what they create does not pile up.
const REQUESTS_MAX: u32 = 4_096;

/// Operations that begin what this does not wait for.
const WAITING: &[&str] = &["StartExecution", "StartSyncExecution"];

const CREDENTIALS: &str = "[[credentials]]\naccess_key_id = \"AKIDEXAMPLE\"\n\
                           secret_access_key = \"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\"\n";

/// The time of the signatures in the seeds.
const NOW: &str = "2026-11-22T12:00:00Z";

/// A server's state, and what its executor's futures would run on.
struct Served {
    app: App,
    runtime: tokio::runtime::Runtime,
}

impl Served {
    fn new() -> Option<Served> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.ok()?;
        let entered = runtime.enter();
        let app = super::app(&ServerOptions::default()).ok()?;
        drop(entered);
        Some(Served { app, runtime })
    }
}

thread_local! {
    static SERVED: RefCell<(u32, Option<Served>)> = const { RefCell::new((0, None)) };
}

/// Takes in a request: `METHOD TARGET`, lines of headers, an empty line, the body. Returns the status of its answer, if it
/// has one before anything is waited for.
///
/// # Panics
///
/// If the answer is no JSON or a defect's, or if the parts of a streamed body make another whole.
pub fn request(bytes: &[u8]) -> Option<u16> {
    let at = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (std::str::from_utf8(&bytes[..at]).ok()?, &bytes[at + 2..]);
    let parts = parts(head)?;
    verified(&parts, body);
    ingest::check(parts.uri.path(), parts.uri.query(), body);
    let target = parts.headers.get("x-amz-target")?.to_str().ok()?;
    let (_, operation) = target.split_once('.')?;
    if WAITING.contains(&operation) {
        return None;
    }
    let mut body = body.to_vec();
    let answer =
        with_app(
            |app| match protocol::decoded(app, operation, Headers::default(), &mut body) {
                Ok(Reply::Now(answer)) => Some((200, answer)),
                Ok(_) => None,
                Err(error) => {
                    assert!((400..=501).contains(&error.status), "{error:?}");
                    assert!(error.status != 500, "{error:?}");
                    Some((error.status, error.body()))
                }
            },
        );
    let (status, answer) = answer?;
    let json: Result<serde_json::Value, _> = serde_json::from_slice(&answer);
    assert!(
        json.is_ok_and(|json| json.is_object()),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Some(status)
}

fn parts(head: &str) -> Option<Parts> {
    let (first, headers) = head.split_once('\n').unwrap_or((head, ""));
    let (method, target) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    for line in headers.lines() {
        let (name, value) = line.split_once(':')?;
        request = request.header(name, value.trim());
    }
    let (parts, ()) = request.body(()).ok()?.into_parts();
    Some(parts)
}

/// Any answer of the verifier will do, as long as there is one, and it is a client's error.
fn verified(parts: &Parts, body: &[u8]) {
    let (Ok(credentials), Ok(now)) = (Credentials::parse(CREDENTIALS), Timestamp::parse(NOW))
    else {
        return;
    };
    let verifier = Verifier::new(credentials, "eu-west-1");
    for payload in [Payload::Signed, Payload::Streamed] {
        let claim = verifier.claim(parts, payload, now);
        let verified = claim.and_then(|claim| match payload {
            Payload::Signed => claim.verify(body),
            Payload::Streamed => claim.verify_head(),
        });
        if let Err(error) = verified {
            assert_eq!(error.status, 400, "{error:?}");
        }
    }
}

fn with_app<T>(ask: impl FnOnce(&App) -> Option<T>) -> Option<T> {
    SERVED.with_borrow_mut(|(requests, served)| {
        if *requests % REQUESTS_MAX == 0 {
            *served = Served::new();
        }
        *requests = requests.wrapping_add(1);
        let served = served.as_ref()?;
        let _entered = served.runtime.enter();
        ask(&served.app)
    })
}
