//! From a request to its answer: the API and what is beside it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::app::App;
use super::auth::Payload;
use super::body::{self, Body};
use super::connection::{Busy, Connection};
use super::error::ApiError;
use super::ingest::{self, Answers};
use super::metrics;
use super::operations::Headers;
use super::protocol;
use crate::metrics::prometheus;

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

type Answer = Response<Either<Full<Bytes>, Answers>>;

/// A body that is there.
fn whole(body: impl Into<Bytes>) -> Either<Full<Bytes>, Answers> {
    Either::Left(Full::new(body.into()))
}

/// Answers a request that came on a connection.
pub(super) async fn respond(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let busy = connection.busy();
    let (app, peer) = (connection.app(), connection.peer);
    let id = app.ids.uuid();
    let mut answer = match (request.method(), request.uri().path()) {
        (&Method::POST, "/") => api(app, peer, &id, request).await,
        (&Method::POST, path) if ingest::is_ours(path) => ingested(app, peer, &id, request, busy),
        (&Method::GET, "/healthz") => plain(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz") => match *app.closing.borrow() {
            false => plain(StatusCode::OK, "ready\n"),
            true => plain(StatusCode::SERVICE_UNAVAILABLE, "closing\n"),
        },
        (&Method::GET, "/metrics") => figures(app, peer),
        _ => plain(
            StatusCode::NOT_FOUND,
            "This is the API of Step Functions: POST / with X-Amz-Target. See also /healthz, /readyz and /metrics.\n",
        ),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert("x-amzn-requestid", id);
    }
    Ok(answer)
}

/// The text for Prometheus. Names of state machines are nobody's business who could not ask for them.
fn figures(app: &App, peer: SocketAddr) -> Answer {
    let may_read = app.verifier.is_none() || app.open_metrics || is_local(peer.ip());
    if !may_read {
        return plain(
            StatusCode::FORBIDDEN,
            "Requests have to be signed here, so metrics are for this machine alone; --open-metrics lets others read them.\n",
        );
    }
    let text = prometheus::render(&metrics::snapshot(app));
    let mut answer = Response::new(whole(text));
    let kind = HeaderValue::from_static(prometheus::CONTENT_TYPE);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn is_local(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(whole(text));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

async fn api(app: &App, peer: SocketAddr, id: &str, request: Request<Incoming>) -> Answer {
    let began = app.clock.nanos();
    let (parts, body) = request.into_parts();
    let result = guarded(authenticated(app, &parts, body)).await;
    let target = text(&parts.headers, "x-amz-target").and_then(|target| target.split_once('.'));
    let operation = target.map(|(_, name)| name);
    let error = result.as_ref().err().map(|error| error.code);
    let answer = match result {
        Ok(body) => Response::new(whole(body)),
        Err(error) => refusal(&error),
    };
    let request = Told {
        id,
        peer,
        operation,
        error,
    };
    request.tell(app, answer.status(), began);
    with_type(answer, JSON)
}

/// Executions for the lines of a body.
fn ingested(
    app: &Arc<App>,
    peer: SocketAddr,
    id: &str,
    request: Request<Incoming>,
    busy: Busy,
) -> Answer {
    let began = app.clock.nanos();
    let (parts, body) = request.into_parts();
    let result = ingest::begin(app, &parts, body, busy);
    let request = Told {
        id,
        peer,
        operation: Some(metrics::INGEST),
        error: result.as_ref().err().map(|error| error.code),
    };
    let answer = match result {
        Ok(answers) => with_type(Response::new(Either::Right(answers)), NDJSON),
        Err(error) => with_type(refusal(&error), JSON),
    };
    request.tell(app, answer.status(), began);
    answer
}

fn refusal(error: &ApiError) -> Answer {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = Response::new(whole(error.body()));
    *answer.status_mut() = status;
    if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::REQUEST_TIMEOUT {
        // What is left of the body is not read.
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}

fn with_type(mut answer: Answer, kind: HeaderValue) -> Answer {
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// What is counted and logged of a request.
struct Told<'a> {
    id: &'a str,
    peer: SocketAddr,
    operation: Option<&'a str>,
    error: Option<&'static str>,
}

impl Told<'_> {
    fn tell(&self, app: &App, status: StatusCode, began: u64) {
        let Told {
            id,
            peer,
            operation,
            error,
        } = *self;
        let nanos = app.clock.nanos().saturating_sub(began);
        app.metrics.answered(operation, status.as_u16(), nanos);
        let micros = nanos / 1_000;
        // What is not built is the client's affair.
        let is_ours = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        let status = status.as_u16();
        if is_ours {
            tracing::warn!(request_id = id, %peer, operation, status, error, micros, "request failed");
        } else {
            tracing::debug!(request_id = id, %peer, operation, status, error, micros, "request");
        }
    }
}

/// Does what a request asks for, if it may be asked: whoever cannot have signed it sends no body.
async fn authenticated(app: &App, parts: &Parts, body: Incoming) -> Result<Vec<u8>, ApiError> {
    let verifier = app.verifier.as_ref();
    let claim = verifier
        .map(|verifier| verifier.claim(parts, Payload::Signed, app.now()))
        .transpose()?;
    let body = body::read(app, &parts.headers, body).await?;
    if let Some(claim) = claim {
        claim.verify(&body.bytes)?;
    }
    called(app, &parts.headers, body).await
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn called(app: &App, headers: &HeaderMap, mut body: Body<'_>) -> Result<Vec<u8>, ApiError> {
    let content_type = text(headers, "content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let known = ["application/x-amz-json-1.0", "application/x-amz-json-1.1"];
    if !known
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known))
    {
        let message =
            format!("The Content-Type has to be application/x-amz-json-1.0, not '{media_type}'");
        return Err(ApiError::new("UnsupportedMediaTypeException", message).with_status(415));
    }
    let Some(target) = text(headers, "x-amz-target") else {
        let message = "The header X-Amz-Target, which names the operation, is missing";
        return Err(ApiError::new("MissingActionException", message));
    };
    let operation_headers = Headers {
        trace: text(headers, "x-amzn-trace-id"),
    };
    // It is counted until the answer is there.
    let mut bytes = std::mem::take(&mut body.bytes);
    protocol::call(app, target, operation_headers, &mut bytes).await
}

/// An operation's answer; a panic, which is a defect, is an error for this client alone.
async fn guarded(
    operation: impl Future<Output = Result<Vec<u8>, ApiError>>,
) -> Result<Vec<u8>, ApiError> {
    let mut operation = pin!(operation);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| operation.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(ApiError::internal(
                "A defect of quickstep; its message is in the log on the standard error",
            ))),
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn addresses_of_this_machine() {
        for (ip, expected) in [
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("::ffff:10.0.0.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_local(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
