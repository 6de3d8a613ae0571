//! Activities, and the workers that poll them.

use super::super::app::App;
use super::super::arn::{Arn, is_name};
use super::super::error::ApiError;
use super::super::limits::{POLL_TIME_MAX, RESOURCES_MAX};
use super::super::page;
use super::super::request::{ARN, Fields, NAME, PAGE_TOKEN};
use super::super::write::object;
use super::{machines, tags};
use crate::stdx::Timestamp;
use crate::store::ActivityRecord;

/// The name in an activity's ARN.
fn name_of(arn: &str) -> Result<&str, ApiError> {
    match Arn::parse(arn)? {
        Arn::Activity { name } => Ok(name),
        other => Err(other.out_of_place()),
    }
}

/// Looks at the activity that an ARN names.
fn look<T>(app: &App, arn: &str, look: impl FnOnce(&ActivityRecord) -> T) -> Result<T, ApiError> {
    let name = name_of(arn)?;
    let tables = app.catalogue.read();
    match tables.activities.get(name).filter(|_| app.is_home(arn)) {
        Some(activity) => Ok(look(activity)),
        None => Err(ApiError::no_activity(arn)),
    }
}

pub(super) fn create(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let name = fields.required_text("name", NAME)?;
    let tags = tags::read(fields, "tags")?;
    machines::check_encryption(fields)?;
    fields.finish()?;
    if !is_name(name) {
        return Err(ApiError::invalid_name(name));
    }
    tags::check_count(&tags, &app.activity_arn(name))?;
    if app.catalogue.read().activities.len() >= RESOURCES_MAX {
        let message = format!("Activity Limit Exceeded: there are {RESOURCES_MAX} already");
        return Err(ApiError::new("ActivityLimitExceeded", message));
    }
    let now = app.now().millis();
    let created = app.catalogue.change_activity(name, |activity| {
        let record = activity.get_or_insert_with(|| ActivityRecord {
            name: name.into(),
            created_ms: now,
            tags,
        });
        Ok::<_, ApiError>(record.created_ms)
    })?;
    Ok(object(|o| {
        o.string("activityArn", &app.activity_arn(name));
        o.time("creationDate", Timestamp::from_millis(created));
    }))
}

pub(super) fn describe(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("activityArn", ARN)?;
    fields.finish()?;
    look(app, arn, |activity| {
        object(|o| {
            o.string("activityArn", arn);
            o.time("creationDate", Timestamp::from_millis(activity.created_ms));
            o.object("encryptionConfiguration", |o| {
                o.string("type", "AWS_OWNED_KEY")
            });
            o.string("name", &activity.name);
        })
    })
}

pub(super) fn list(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    const LIST: &str = "ListActivities";
    let size = fields.page_size()?;
    let token = fields.text("nextToken", PAGE_TOKEN)?;
    fields.finish()?;
    let now = app.now();
    let after = token.map(|token| page::position(&app.ids, LIST, token, now));
    let after = after.transpose()?;
    let tables = app.catalogue.read();
    let mut rest = tables
        .activities
        .values()
        .filter(|activity| after.as_deref().is_none_or(|after| *activity.name > *after));
    let shown: Vec<&ActivityRecord> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();
    Ok(object(|o| {
        o.objects("activities", &shown, |o, activity| {
            o.string("activityArn", &app.activity_arn(&activity.name));
            o.time("creationDate", Timestamp::from_millis(activity.created_ms));
            o.string("name", &activity.name);
        });
        if let Some(last) = shown.last().filter(|_| more) {
            o.string("nextToken", &page::token(&app.ids, LIST, &last.name, now));
        }
    }))
}

pub(super) fn delete(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("activityArn", ARN)?;
    fields.finish()?;
    let name = name_of(arn)?;
    if app.is_home(arn) {
        app.catalogue.change_activity(name, |activity| {
            *activity = None;
            Ok::<_, ApiError>(())
        })?;
    }
    Ok(object(|_| {}))
}

/// A worker that asks for a task.
#[derive(Debug)]
pub(in super::super) struct Poll<'i> {
    arn: &'i str,
    worker_name: Option<&'i str>,
}

pub(super) fn poll<'i>(app: &App, fields: &Fields<'_, 'i>) -> Result<Poll<'i>, ApiError> {
    let arn = fields.required_text("activityArn", ARN)?;
    let worker_name = fields.text("workerName", NAME)?;
    fields.finish()?;
    look(app, arn, |_| ())?;
    Ok(Poll { arn, worker_name })
}

/// Waits for a task; without one the answer has a token that is null.
pub(super) async fn wait(app: &App, poll: Poll<'_>) -> Result<Vec<u8>, ApiError> {
    let Poll { arn, worker_name } = poll;
    let closing = app.closing.subscribe();
    let task = app
        .executor
        .wait_task(arn, worker_name, closing, POLL_TIME_MAX)
        .await;
    Ok(object(|o| match &task {
        Some(task) => {
            o.string("taskToken", &task.token);
            o.string("input", &task.input);
        }
        None => o.raw("taskToken", b"null"),
    }))
}
