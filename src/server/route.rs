//! From a request to its answer: the API and what is beside it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::app::App;
use super::auth::Payload;
use super::body::{self, Body};
use super::error::ApiError;
use super::operations::Headers;
use super::protocol;

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");

type Answer = Response<Full<Bytes>>;

pub(super) async fn respond(
    app: Arc<App>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let id = app.ids.uuid();
    let mut answer = match (request.method(), request.uri().path()) {
        (&Method::POST, "/") => api(&app, request).await,
        (&Method::GET, "/healthz") => plain(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz") => match *app.closing.borrow() {
            false => plain(StatusCode::OK, "ready\n"),
            true => plain(StatusCode::SERVICE_UNAVAILABLE, "closing\n"),
        },
        _ => plain(
            StatusCode::NOT_FOUND,
            "This is the API of Step Functions: POST / with X-Amz-Target. See also /healthz and /readyz.\n",
        ),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert("x-amzn-requestid", id);
    }
    Ok(answer)
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

async fn api(app: &App, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let result = guarded(authenticated(app, &parts, body)).await;
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (
            StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST),
            error.body(),
        ),
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::REQUEST_TIMEOUT {
        // What is left of the body is not read.
        let close = HeaderValue::from_static("close");
        answer
            .headers_mut()
            .insert(hyper::header::CONNECTION, close);
    }
    answer
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
                "A defect of quickstep; its message is on the standard error",
            ))),
        },
    )
    .await
}
