//! Answers of tasks that were handed out with a token.

use super::super::app::App;
use super::super::error::ApiError;
use super::super::executor::{TaskAnswer, TokenError};
use super::super::request::{CAUSE, DATA, ERROR, Fields, TASK_TOKEN};
use super::super::write::object;
use crate::history::Failure;
use crate::value::Doc;

fn answer(app: &App, token: &str, answer: TaskAnswer<'_>) -> Result<Vec<u8>, ApiError> {
    match app.executor.answer(token, answer) {
        Ok(()) => Ok(object(|_| {})),
        Err(TokenError::Invalid) => Err(ApiError::invalid_token()),
        Err(TokenError::TimedOut) => Err(ApiError::new(
            "TaskTimedOut",
            "Task Timed Out: 'Provided task does not exist anymore'",
        )),
    }
}

pub(super) fn success(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let token = fields.required_text("taskToken", TASK_TOKEN)?;
    let output = fields.required_text("output", DATA)?;
    fields.finish()?;
    if let Err(error) = Doc::new().ingest(output.as_bytes()) {
        let message = format!("Invalid Output: '{error}'");
        return Err(ApiError::new("InvalidOutput", message));
    }
    answer(app, token, TaskAnswer::Succeeded(output))
}

pub(super) fn failure(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let token = fields.required_text("taskToken", TASK_TOKEN)?;
    let error = fields.text("error", ERROR)?;
    let cause = fields.text("cause", CAUSE)?;
    fields.finish()?;
    let failure = Failure {
        error: error.map(Into::into),
        cause: cause.map(Into::into),
    };
    answer(app, token, TaskAnswer::Failed(&failure))
}

pub(super) fn heartbeat(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let token = fields.required_text("taskToken", TASK_TOKEN)?;
    fields.finish()?;
    answer(app, token, TaskAnswer::Heartbeat)
}
