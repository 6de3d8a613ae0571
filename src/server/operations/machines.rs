//! State machines: create, update, describe, list, delete.

use super::super::app::{App, Target};
use super::super::arn::{Arn, is_name};
use super::super::error::ApiError;
use super::super::limits::RESOURCES_MAX;
use super::super::page;
use super::super::request::{
    ARN, DEFINITION, DESCRIPTION, Fields, LONG_ARN, NAME, PAGE_TOKEN, Text,
};
use super::super::write::{Object, object};
use super::versions;
use super::{executions, tags, validate};
use crate::stdx::Timestamp;
use crate::store::{Logging, Machine, MachineKind, MachineRecord, RevisionRecord};

const LEVELS: [&str; 4] = ["ALL", "ERROR", "FATAL", "OFF"];

/// Most log destinations that a request may name at all.
const NOT_ONE_DESTINATION: &str =
    "Invalid Logging Configuration: Must specify exactly one Log Destination.";

/// AWS wants the ARN of a log group with all its streams.
const NO_STREAMS: &str =
    "Invalid Logging Configuration: Log Group ARN must be provided with '*' qualifier.";

/// `loggingConfiguration`.
fn logging(fields: &Fields<'_, '_>) -> Result<Option<Logging>, ApiError> {
    let Some(logging) = fields.object("loggingConfiguration")? else {
        return Ok(None);
    };
    let level = logging
        .one_of("level", &LEVELS)?
        .map_or("OFF", |i| LEVELS[i]);
    let include_execution_data = logging.boolean("includeExecutionData")?.unwrap_or(false);
    let destinations = logging.objects("destinations")?.unwrap_or_default();
    let mut log_group = None;
    if let Some(destination) = destinations.first()
        && let Some(group) = destination.object("cloudWatchLogsLogGroup")?
    {
        log_group = group.text("logGroupArn", ARN)?.map(Into::into);
    }
    let wanted = usize::from(level != "OFF");
    if destinations.len() > 1 || destinations.len() < wanted || (wanted > 0 && log_group.is_none())
    {
        let code = "InvalidLoggingConfiguration";
        return Err(ApiError::new(code, NOT_ONE_DESTINATION));
    }
    let is_whole = |arn: &str| !arn.starts_with("arn:") || arn.ends_with(":*");
    if !log_group.as_deref().is_none_or(is_whole) {
        return Err(ApiError::new("InvalidLoggingConfiguration", NO_STREAMS));
    }
    Ok(Some(Logging {
        level: level.into(),
        include_execution_data,
        log_group,
    }))
}

/// `tracingConfiguration`.
fn tracing(fields: &Fields<'_, '_>) -> Result<Option<bool>, ApiError> {
    match fields.object("tracingConfiguration")? {
        None => Ok(None),
        Some(tracing) => Ok(Some(tracing.boolean("enabled")?.unwrap_or(false))),
    }
}

/// `encryptionConfiguration`: nothing is encrypted, so that keys of one's own cannot be promised.
pub(super) fn check_encryption(fields: &Fields<'_, '_>) -> Result<bool, ApiError> {
    let Some(encryption) = fields.object("encryptionConfiguration")? else {
        return Ok(false);
    };
    let types = ["AWS_OWNED_KEY", "CUSTOMER_MANAGED_KMS_KEY"];
    if encryption.one_of("type", &types)? == Some(1) {
        return Err(ApiError::new(
            "InvalidEncryptionConfiguration",
            "Invalid Encryption Configuration: quickstep does not encrypt with keys of KMS; use AWS_OWNED_KEY",
        ));
    }
    Ok(true)
}

fn check_role(role_arn: &str) -> Result<(), ApiError> {
    let mut parts = role_arn.split(':');
    let is_role = parts.next() == Some("arn")
        && parts
            .next()
            .is_some_and(|partition| partition.starts_with("aws"))
        && parts.next() == Some("iam")
        && parts
            .nth(2)
            .is_some_and(|resource| resource.starts_with("role/"));
    if is_role {
        return Ok(());
    }
    let message = format!("Invalid Role Arn: '{role_arn}'");
    Err(ApiError::new("InvalidArn", message))
}

pub(super) fn create(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let name = fields.required_text("name", NAME)?;
    let definition = fields.required_text("definition", DEFINITION)?;
    let role_arn = fields.required_text("roleArn", ARN)?;
    let kind = match fields.one_of("type", &["STANDARD", "EXPRESS"])? {
        Some(1) => MachineKind::Express,
        Some(_) | None => MachineKind::Standard,
    };
    let publish = fields.boolean("publish")?.unwrap_or(false);
    let description = fields.text("versionDescription", DESCRIPTION)?;
    let tags = tags::read(fields, "tags")?;
    let tracing = tracing(fields)?.unwrap_or(false);
    check_encryption(fields)?;
    let logging = logging(fields)?.unwrap_or_else(Logging::off);
    fields.finish()?;
    if !is_name(name) {
        return Err(ApiError::invalid_name(name));
    }
    check_role(role_arn)?;
    tags::check_count(&tags, &app.machine_arn(name))?;
    if description.is_some() && !publish {
        return Err(ApiError::validation(
            "Version description can only be set when publish is true",
        ));
    }
    validate::check(definition, kind)?;
    app.executor.check_logging(&logging)?;
    let now = app.now().millis();
    let record = MachineRecord {
        name: name.into(),
        kind,
        created_ms: now,
        revision: RevisionRecord {
            id: None,
            definition: definition.into(),
            role_arn: role_arn.into(),
            logging,
            tracing,
            updated_ms: now,
        },
        tags,
        last_version: 0,
        created_with: publish.then(|| description.unwrap_or_default().into()),
    };
    if app.catalogue.read().machines.len() >= RESOURCES_MAX {
        let message = format!("State Machine Limit Exceeded: there are {RESOURCES_MAX} already");
        return Err(ApiError::new("StateMachineLimitExceeded", message));
    }
    app.catalogue.change_machine(name, |machine| match machine {
        Some(known) if is_same(&known.record, &record) => {
            let version = publish.then(|| known.versions.first().map(|(v, _)| v.number));
            Ok(created(app, &known.record, version.flatten()))
        }
        Some(_) => {
            let arn = app.machine_arn(name);
            let message = format!("State Machine Already Exists: '{arn}'");
            Err(ApiError::new("StateMachineAlreadyExists", message))
        }
        None => {
            let mut new = Machine::new(record);
            let version = match publish {
                true => Some(versions::publish_current(&mut new, description, now)?),
                false => None,
            };
            let answer = created(app, &new.record, version);
            *machine = Some(new);
            Ok(answer)
        }
    })
}

/// True if a request to create a machine is the one that created it: role and tags do not count.
fn is_same(known: &MachineRecord, record: &MachineRecord) -> bool {
    known.kind == record.kind
        && known.created_with == record.created_with
        && known.revision.definition == record.revision.definition
        && known.revision.logging == record.revision.logging
        && known.revision.tracing == record.revision.tracing
}

fn created(app: &App, record: &MachineRecord, version: Option<u64>) -> Vec<u8> {
    object(|o| {
        o.time("creationDate", Timestamp::from_millis(record.created_ms));
        o.string("stateMachineArn", &app.machine_arn(&record.name));
        if let Some(number) = version {
            o.string(
                "stateMachineVersionArn",
                &app.version_arn(&record.name, number),
            );
        }
    })
}

pub(super) fn update(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineArn", ARN)?;
    let definition = fields.text("definition", DEFINITION)?;
    let role_arn = fields.text("roleArn", ARN)?;
    let publish = fields.boolean("publish")?.unwrap_or(false);
    let description = fields.text("versionDescription", DESCRIPTION)?;
    let tracing = tracing(fields)?;
    let encryption = check_encryption(fields)?;
    let logging = logging(fields)?;
    fields.finish()?;
    let target = Target::parse(arn)?;
    let nothing = definition.is_none() && role_arn.is_none() && logging.is_none();
    if nothing && tracing.is_none() && !encryption {
        return Err(ApiError::new(
            "MissingRequiredParameter",
            "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration must be specified",
        ));
    }
    if target.qualifier.is_some() || !app.is_home(arn) {
        return Err(ApiError::no_machine(arn));
    }
    if let Some(role_arn) = role_arn {
        check_role(role_arn)?;
    }
    let kind = app.machine(target, |machine| Ok(machine.record.kind))?;
    if let Some(definition) = definition {
        validate::check(definition, kind)?;
    }
    if let Some(logging) = &logging {
        app.executor.check_logging(logging)?;
    }
    let now = app.now().millis();
    app.catalogue.change_machine(target.name, |machine| {
        let Some(machine) = machine else {
            return Err(ApiError::no_machine(arn));
        };
        let mut revision = machine.record.revision.clone();
        if let Some(definition) = definition {
            revision.definition = definition.into();
        }
        if let Some(role_arn) = role_arn {
            revision.role_arn = role_arn.into();
        }
        revision.logging = logging.unwrap_or(revision.logging);
        revision.tracing = tracing.unwrap_or(revision.tracing);
        let changed = revision != machine.record.revision;
        if changed {
            revision.id = Some(app.ids.uuid().into());
            revision.updated_ms = now;
            machine.record.revision = revision;
        }
        let version = match publish {
            true => Some(versions::publish_current(machine, description, now)?),
            false => None,
        };
        let id = machine.record.revision.id.as_deref();
        Ok(object(|o| {
            o.maybe("revisionId", id.filter(|_| changed));
            if let Some(number) = version {
                let arn = app.version_arn(target.name, number);
                o.string("stateMachineVersionArn", &arn);
            }
            o.time("updateDate", Timestamp::from_millis(now));
        }))
    })
}

/// The members that all descriptions of a revision have.
fn describe_revision(o: &mut Object<'_>, revision: &RevisionRecord, with_definition: bool) {
    match with_definition {
        true => o.string("definition", &revision.definition),
        false => o.string("definition", "{}"),
    }
    o.object("encryptionConfiguration", |o| {
        o.string("type", "AWS_OWNED_KEY")
    });
    let logging = &revision.logging;
    o.object("loggingConfiguration", |o| {
        if let Some(group) = &logging.log_group {
            o.objects("destinations", [group], |o, group| {
                o.object("cloudWatchLogsLogGroup", |o| o.string("logGroupArn", group));
            });
        }
        o.boolean("includeExecutionData", logging.include_execution_data);
        o.string("level", &logging.level);
    });
    o.maybe("revisionId", revision.id.as_deref());
    o.string("roleArn", &revision.role_arn);
    o.details("tracingConfiguration", "enabled", revision.tracing);
    let references = validate::variable_references(&revision.definition);
    if !references.is_empty() {
        o.object("variableReferences", |o| {
            for (state, names) in &references {
                let names = names
                    .iter()
                    .map(|name| format!("\"{}\"", crate::value::escape(name)));
                o.raws(state, names);
            }
        });
    }
}

/// `includedData`: whether the definition, or the data of an execution, is wanted.
pub(super) fn wants_data(fields: &Fields<'_, '_>) -> Result<bool, ApiError> {
    let words = ["ALL_DATA", "METADATA_ONLY"];
    Ok(fields.one_of("includedData", &words)? != Some(1))
}

pub(super) fn describe(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineArn", LONG_ARN)?;
    let data = wants_data(fields)?;
    fields.finish()?;
    let target = Target::parse(arn)?;
    app.machine(target, |machine| {
        let record = &machine.record;
        let (revision, created, description) = match target.qualifier {
            None => (&record.revision, record.created_ms, None),
            Some(super::super::arn::Qualifier::Version(number)) => {
                let found = machine.version(number);
                let (version, _) = found.ok_or_else(|| ApiError::no_machine(arn))?;
                let description = version.description.as_deref();
                (&version.revision, version.created_ms, description)
            }
            Some(super::super::arn::Qualifier::Alias(_)) => {
                return Err(ApiError::no_machine(arn));
            }
        };
        Ok(object(|o| {
            o.time("creationDate", Timestamp::from_millis(created));
            o.maybe("description", description);
            describe_revision(o, revision, data);
            o.string("name", &record.name);
            o.string("stateMachineArn", arn);
            o.string("status", "ACTIVE");
            o.string("type", record.kind.as_str());
        }))
    })
}

pub(super) fn describe_for_execution(
    app: &App,
    fields: &Fields<'_, '_>,
) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("executionArn", ARN)?;
    let data = wants_data(fields)?;
    fields.finish()?;
    let live = executions::find(app, arn)?;
    let revision = &live.origin.revision.record;
    Ok(object(|o| {
        describe_revision(o, revision, data);
        o.string("name", &live.origin.machine);
        o.string("stateMachineArn", &live.origin.machine_arn);
        o.time("updateDate", Timestamp::from_millis(revision.updated_ms));
    }))
}

pub(super) fn delete(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineArn", ARN)?;
    fields.finish()?;
    let target = Target::parse(arn)?;
    if target.qualifier.is_some() {
        return Err(Arn::parse(arn)?.out_of_place());
    }
    if app.is_home(arn) {
        app.catalogue.change_machine(target.name, |machine| {
            *machine = None;
            Ok::<_, ApiError>(())
        })?;
    }
    Ok(object(|_| {}))
}

pub(super) fn list(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    const LIST: &str = "ListStateMachines";
    let size = fields.page_size()?;
    let token = fields.text("nextToken", PAGE_TOKEN)?;
    fields.finish()?;
    let now = app.now();
    let after = token.map(|token| page::position(&app.ids, LIST, token, now));
    let after = after.transpose()?;
    let tables = app.catalogue.read();
    let mut rest = tables.machines.values().filter(|machine| {
        after
            .as_deref()
            .is_none_or(|after| *machine.record.name > *after)
    });
    let shown: Vec<&Machine> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();
    Ok(object(|o| {
        if let Some(last) = shown.last().filter(|_| more) {
            o.string(
                "nextToken",
                &page::token(&app.ids, LIST, &last.record.name, now),
            );
        }
        o.objects("stateMachines", &shown, |o, machine| {
            let record = &machine.record;
            o.time("creationDate", Timestamp::from_millis(record.created_ms));
            o.string("name", &record.name);
            o.string("stateMachineArn", &app.machine_arn(&record.name));
            o.string("type", record.kind.as_str());
        });
    }))
}

/// A text without bounds, where the operation checks it.
pub(super) const ANY: Text = Text::new(0, usize::MAX);
