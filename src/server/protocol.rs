//! awsJson 1.0: from the bytes of a request to those of its answer.

use std::cell::RefCell;

use simd_json::Buffers;

use super::app::App;
use super::error::ApiError;
use super::operations::{self, Headers, Reply};
use super::request::{Fields, Problems};

/// What `X-Amz-Target` begins with.
const SERVICE: &str = "AWSStepFunctions";

thread_local! {
    /// What the parser works with; kept for its memory.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Does what a request asks for. `target` is its `X-Amz-Target`.
pub(super) async fn call(
    app: &App,
    target: &str,
    headers: Headers<'_>,
    body: &mut Vec<u8>,
) -> Result<Vec<u8>, ApiError> {
    let Some((SERVICE, operation)) = target.split_once('.') else {
        let message = format!("Unknown operation: {target}");
        return Err(ApiError::new("UnknownOperationException", message));
    };
    let reply = decoded(app, operation, headers, body)?;
    operations::finish(app, reply).await
}

/// Reads the body, and lets the operation begin. What is kept of the body are texts.
pub(super) fn decoded<'i>(
    app: &App,
    operation: &str,
    headers: Headers<'_>,
    body: &'i mut Vec<u8>,
) -> Result<Reply<'i>, ApiError> {
    if body.is_empty() {
        body.extend_from_slice(b"{}");
    }
    let parsed = BUFFERS.with_borrow_mut(|buffers| simd_json::to_tape_with_buffers(body, buffers));
    let tape = parsed.map_err(|error| {
        let message = format!("The request is not valid JSON: {error}");
        ApiError::new("SerializationException", message)
    })?;
    let problems = Problems::default();
    let fields = Fields::new(tape.as_value(), &problems)?;
    operations::perform(app, operation, &fields, headers)
}
