//! Versions: publish, list, delete.

use super::super::app::{App, Target};
use super::super::arn::Qualifier;
use super::super::error::ApiError;
use super::super::limits::VERSIONS_MAX;
use super::super::page;
use super::super::request::{ARN, DESCRIPTION, Fields, LONG_ARN, PAGE_TOKEN};
use super::super::write::object;
use super::machines::ANY;
use crate::stdx::Timestamp;
use crate::store::{Machine, VersionRecord};

/// Publishes what a machine is now, unless its last version is just that; returns the version's number.
pub(super) fn publish_current(
    machine: &mut Machine,
    description: Option<&str>,
    now: i64,
) -> Result<u64, ApiError> {
    let revision = &machine.record.revision;
    if let Some((last, _)) = machine.versions.last()
        && last.revision == *revision
    {
        return Ok(last.number);
    }
    if machine.versions.len() >= VERSIONS_MAX {
        return Err(ApiError::new(
            "ServiceQuotaExceededException",
            format!("The state machine has {VERSIONS_MAX} versions already"),
        )
        .with_status(402));
    }
    let number = machine.record.last_version + 1;
    let record = VersionRecord {
        number,
        created_ms: now,
        description: description.map(Into::into),
        revision: revision.clone(),
    };
    machine.record.last_version = number;
    machine.publish(record);
    Ok(number)
}

pub(super) fn publish(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineArn", ARN)?;
    let revision_id = fields.text("revisionId", ANY)?;
    let description = fields.text("description", DESCRIPTION)?;
    fields.finish()?;
    let target = Target::parse(arn)?;
    if target.qualifier.is_some() || !app.is_home(arn) {
        return Err(ApiError::no_machine(arn));
    }
    let now = app.now().millis();
    app.catalogue.change_machine(target.name, |machine| {
        let Some(machine) = machine else {
            return Err(ApiError::no_machine(arn));
        };
        let current = machine.record.revision.id.as_deref().unwrap_or("INITIAL");
        if let Some(wanted) = revision_id
            && wanted != current
        {
            let message = format!(
                "Failed to publish the State Machine version for revision {wanted}. The current State Machine revision is {current}."
            );
            return Err(ApiError::new("ConflictException", message).with_status(409));
        }
        let number = publish_current(machine, description, now)?;
        let created = machine.version(number).map_or(now, |(v, _)| v.created_ms);
        Ok(object(|o| {
            o.time("creationDate", Timestamp::from_millis(created));
            o.string("stateMachineVersionArn", &app.version_arn(target.name, number));
        }))
    })
}

pub(super) fn list(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineArn", ARN)?;
    let size = fields.page_size()?;
    let token = fields.text("nextToken", PAGE_TOKEN)?;
    fields.finish()?;
    let target = Target::parse(arn)?;
    let list = format!("ListStateMachineVersions {arn}");
    let now = app.now();
    let before = match token {
        None => u64::MAX,
        Some(token) => page::position(&app.ids, &list, token, now)?
            .parse()
            .map_err(|_| ApiError::invalid_token())?,
    };
    app.machine(target, |machine| {
        let versions = machine.versions.iter().rev().map(|(version, _)| version);
        let mut rest = versions.filter(|version| version.number < before);
        let shown: Vec<&VersionRecord> = rest.by_ref().take(size).collect();
        let more = rest.next().is_some();
        Ok(object(|o| {
            if let Some(last) = shown.last().filter(|_| more) {
                let position = last.number.to_string();
                o.string("nextToken", &page::token(&app.ids, &list, &position, now));
            }
            o.objects("stateMachineVersions", &shown, |o, version| {
                o.time("creationDate", Timestamp::from_millis(version.created_ms));
                let arn = app.version_arn(target.name, version.number);
                o.string("stateMachineVersionArn", &arn);
            });
        }))
    })
}

pub(super) fn delete(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineVersionArn", LONG_ARN)?;
    fields.finish()?;
    let target = Target::parse(arn)?;
    let Some(Qualifier::Version(number)) = target.qualifier else {
        return Err(ApiError::invalid_arn(&format!(
            "Invalid state machine version ARN: {arn}"
        )));
    };
    if !app.is_home(arn) {
        return Ok(object(|_| {}));
    }
    app.catalogue.change_machine(target.name, |machine| {
        if let Some(machine) = machine {
            let names: Vec<&str> = machine
                .aliases
                .iter()
                .filter(|alias| alias.routes.iter().any(|route| route.version == number))
                .map(|alias| &*alias.name)
                .collect();
            if !names.is_empty() {
                let message = format!(
                    "Version to be deleted must not be referenced by an alias. Current list of aliases referencing this version: [{}]",
                    names.join(", ")
                );
                return Err(ApiError::new("ConflictException", message).with_status(409));
            }
            machine.versions.retain(|(version, _)| version.number != number);
        }
        Ok(object(|_| {}))
    })
}
