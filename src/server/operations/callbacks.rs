//! Answers of tasks that were handed out with a token.

use super::super::app::App;
use super::super::error::ApiError;
use super::super::executor::{TokenError, is_token};
use super::super::request::{CAUSE, DATA, ERROR, Fields, TASK_TOKEN};
use super::super::write::object;
use crate::history::Failure;
use crate::task::TaskAnswer;
use crate::value::Doc;

/// What a client says of a task.
#[derive(Debug)]
pub(in super::super) struct ClientAnswer<'i> {
    token: &'i str,
    answer: TaskAnswer,
}

pub(super) fn success<'i>(fields: &Fields<'_, 'i>) -> Result<ClientAnswer<'i>, ApiError> {
    let token = fields.required_text("taskToken", TASK_TOKEN)?;
    let output = fields.required_text("output", DATA)?;
    fields.finish()?;
    if !is_token(token) {
        // AWS looks at the token first.
        return Err(ApiError::invalid_token());
    }
    if let Err(error) = Doc::new().ingest(output.as_bytes()) {
        let message = format!("Invalid Output: '{error}'");
        return Err(ApiError::new("InvalidOutput", message));
    }
    let answer = TaskAnswer::Succeeded(output.into());
    Ok(ClientAnswer { token, answer })
}

pub(super) fn failure<'i>(fields: &Fields<'_, 'i>) -> Result<ClientAnswer<'i>, ApiError> {
    let token = fields.required_text("taskToken", TASK_TOKEN)?;
    let error = fields.text("error", ERROR)?;
    let cause = fields.text("cause", CAUSE)?;
    fields.finish()?;
    let answer = TaskAnswer::Failed(Failure {
        error: error.map(Into::into),
        cause: cause.map(Into::into),
    });
    Ok(ClientAnswer { token, answer })
}

pub(super) fn heartbeat<'i>(fields: &Fields<'_, 'i>) -> Result<ClientAnswer<'i>, ApiError> {
    let token = fields.required_text("taskToken", TASK_TOKEN)?;
    fields.finish()?;
    let answer = TaskAnswer::Heartbeat;
    Ok(ClientAnswer { token, answer })
}

/// Tells the execution, and answers once it has heard.
pub(super) async fn told(app: &App, answer: ClientAnswer<'_>) -> Result<Vec<u8>, ApiError> {
    match app.executor.answer(answer.token, answer.answer).await {
        Ok(()) => Ok(object(|_| {})),
        Err(TokenError::Invalid) => Err(ApiError::invalid_token()),
        Err(TokenError::NotKept) => Err(ApiError::internal(
            "What the execution has done with the answer could not be kept",
        )),
        Err(TokenError::TimedOut) => Err(ApiError::new(
            "TaskTimedOut",
            "Task Timed Out: 'Provided task does not exist anymore'",
        )),
    }
}
