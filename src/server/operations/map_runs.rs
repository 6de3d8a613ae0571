//! Map runs. There are none: distributed Maps cannot be run yet.

use super::super::app::App;
use super::super::arn::Arn;
use super::super::error::ApiError;
use super::super::request::{ARN, Fields, LONG_ARN, PAGE_TOKEN};
use super::super::write::object;
use super::executions;

pub(super) fn no_map_run(arn: &str) -> ApiError {
    match Arn::parse(arn) {
        Ok(Arn::MapRun) => ApiError::no_resource(arn),
        Ok(other) => other.out_of_place(),
        Err(error) => error,
    }
}

pub(super) fn describe(fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("mapRunArn", LONG_ARN)?;
    fields.finish()?;
    Err(no_map_run(arn))
}

pub(super) fn update(fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("mapRunArn", LONG_ARN)?;
    fields.integer("maxConcurrency", 0..=i64::from(i32::MAX))?;
    fields.integer("toleratedFailurePercentage", 0..=100)?;
    fields.integer("toleratedFailureCount", 0..=i64::MAX)?;
    fields.finish()?;
    Err(no_map_run(arn))
}

pub(super) fn list(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("executionArn", ARN)?;
    fields.page_size()?;
    fields.text("nextToken", PAGE_TOKEN)?;
    fields.finish()?;
    executions::find(app, arn)?;
    Ok(object(|o| {
        o.raws("mapRuns", [""; 0]);
    }))
}
