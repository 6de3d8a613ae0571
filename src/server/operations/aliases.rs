//! Aliases: create, update, describe, list, delete.

use super::super::app::{App, Target};
use super::super::arn::{Qualifier, is_alias_name};
use super::super::error::ApiError;
use super::super::limits::ALIASES_MAX;
use super::super::page;
use super::super::request::{ARN, DESCRIPTION, Fields, LONG_ARN, NAME, PAGE_TOKEN};
use super::super::write::object;
use crate::stdx::Timestamp;
use crate::store::{AliasRecord, Machine, Route};

/// `routingConfiguration`: the machine that all its versions are of, and the routes.
struct Routing<'i> {
    machine: &'i str,
    routes: Vec<Route>,
    /// The ARNs of the versions.
    arns: Vec<&'i str>,
}

fn routing<'i>(app: &App, fields: &Fields<'_, 'i>) -> Result<Option<Routing<'i>>, ApiError> {
    let Some(list) = fields.objects("routingConfiguration")? else {
        return Ok(None);
    };
    fields.check_length("routingConfiguration", list.len(), 1..=2);
    let mut routing = Routing {
        machine: "",
        routes: Vec::new(),
        arns: Vec::new(),
    };
    for item in &list {
        let arn = item.required_text("stateMachineVersionArn", ARN)?;
        let weight = item.integer("weight", 0..=100)?.unwrap_or(0);
        fields.finish()?;
        let target = Target::parse(arn)?;
        let Some(Qualifier::Version(version)) = target.qualifier else {
            return Err(ApiError::validation(format!(
                "Routing configuration must contain state machine version ARNs. Received: '{arn}'"
            )));
        };
        if !routing.routes.is_empty() && routing.machine != target.name {
            return Err(ApiError::validation(
                "Routing configuration must contain versions of the same state machine",
            ));
        }
        if !app.is_home(arn) || routing.routes.iter().any(|r| r.version == version) {
            return Err(ApiError::validation(format!(
                "Routing configuration must contain different versions that exist. Received: '{arn}'"
            )));
        }
        routing.machine = target.name;
        routing.routes.push(Route {
            version,
            weight: u8::try_from(weight).unwrap_or(0),
        });
        routing.arns.push(arn);
    }
    let sum: u32 = routing.routes.iter().map(|r| u32::from(r.weight)).sum();
    if !list.is_empty() && sum != 100 {
        return Err(ApiError::validation(
            "Sum of routing configuration weights must equal 100",
        ));
    }
    Ok(Some(routing))
}

/// The versions of a routing have to exist.
fn check_routes(machine: &Machine, routing: &Routing<'_>) -> Result<(), ApiError> {
    for (route, arn) in routing.routes.iter().zip(&routing.arns) {
        if machine.version(route.version).is_none() {
            let message = format!("State Machine Version Does Not Exist: '{arn}'");
            return Err(ApiError::new("ResourceNotFound", message));
        }
    }
    Ok(())
}

pub(super) fn create(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let name = fields.required_text("name", NAME)?;
    let description = fields.text("description", DESCRIPTION)?;
    if !fields.has("routingConfiguration") {
        fields.check_length("routingConfiguration", 0, 1..=2);
    }
    let routing = routing(app, fields)?;
    fields.finish()?;
    if !is_alias_name(name) {
        return Err(ApiError::invalid_name(name));
    }
    let Some(routing) = routing else {
        return Err(ApiError::validation("routingConfiguration is required"));
    };
    let now = app.now().millis();
    app.catalogue.change_machine(routing.machine, |machine| {
        let Some(machine) = machine else {
            return Err(ApiError::no_machine(&app.machine_arn(routing.machine)));
        };
        check_routes(machine, &routing)?;
        let created = match machine.alias(name) {
            Some(known) => {
                let same = known.routes == routing.routes
                    && known.description.as_deref() == description;
                if !same {
                    let message = "Failed to create alias because an alias with the same name and a different routing configuration already exists.";
                    return Err(ApiError::new("ConflictException", message).with_status(409));
                }
                known.created_ms
            }
            None if machine.aliases.len() >= ALIASES_MAX => {
                let message = format!("The state machine has {ALIASES_MAX} aliases already");
                return Err(
                    ApiError::new("ServiceQuotaExceededException", message).with_status(402)
                );
            }
            None => {
                machine.aliases.push(AliasRecord {
                    name: name.into(),
                    description: description.map(Into::into),
                    routes: routing.routes.clone(),
                    created_ms: now,
                    updated_ms: now,
                });
                now
            }
        };
        Ok(object(|o| {
            o.time("creationDate", Timestamp::from_millis(created));
            let arn = app.alias_arn(routing.machine, name);
            o.string("stateMachineAliasArn", &arn);
        }))
    })
}

/// The machine and the alias that an alias' ARN names.
fn parts(arn: &str) -> Result<(Target<'_>, &str), ApiError> {
    let target = Target::parse(arn)?;
    match target.qualifier {
        Some(Qualifier::Alias(name)) => Ok((target, name)),
        _ => Err(ApiError::invalid_arn(&format!(
            "Invalid state machine alias ARN: {arn}"
        ))),
    }
}

fn no_alias(arn: &str) -> ApiError {
    let message = format!("Request references a resource that does not exist: {arn}");
    ApiError::new("ResourceNotFound", message)
}

pub(super) fn update(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineAliasArn", ARN)?;
    let description = fields.text("description", DESCRIPTION)?;
    let routing = routing(app, fields)?;
    fields.finish()?;
    let (target, name) = parts(arn)?;
    if description.is_none() && routing.is_none() {
        return Err(ApiError::validation_for(
            "MISSING_REQUIRED_PARAMETER",
            "Either the description or the routing configuration must be specified",
        ));
    }
    if !app.is_home(arn) {
        return Err(no_alias(arn));
    }
    let now = app.now().millis();
    app.catalogue.change_machine(target.name, |machine| {
        let Some(machine) = machine else {
            return Err(no_alias(arn));
        };
        if let Some(routing) = &routing {
            if routing.machine != target.name {
                return Err(ApiError::validation(
                    "Routing configuration must contain versions of the alias' state machine",
                ));
            }
            check_routes(machine, routing)?;
        }
        let found = machine
            .aliases
            .iter_mut()
            .find(|alias| *alias.name == *name);
        let alias = found.ok_or_else(|| no_alias(arn))?;
        if let Some(description) = description {
            alias.description = Some(description.into());
        }
        if let Some(routing) = routing {
            alias.routes = routing.routes;
        }
        alias.updated_ms = now;
        Ok(object(|o| {
            o.time("updateDate", Timestamp::from_millis(now));
        }))
    })
}

pub(super) fn describe(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineAliasArn", ARN)?;
    fields.finish()?;
    let (target, name) = parts(arn)?;
    let tables = app.catalogue.read();
    let machine = tables
        .machines
        .get(target.name)
        .filter(|_| app.is_home(arn));
    let alias = machine.and_then(|machine| machine.alias(name));
    let alias = alias.ok_or_else(|| no_alias(arn))?;
    Ok(object(|o| {
        o.time("creationDate", Timestamp::from_millis(alias.created_ms));
        o.maybe("description", alias.description.as_deref());
        o.string("name", &alias.name);
        o.objects("routingConfiguration", &alias.routes, |o, route| {
            let arn = app.version_arn(target.name, route.version);
            o.string("stateMachineVersionArn", &arn);
            o.number("weight", route.weight);
        });
        o.string("stateMachineAliasArn", arn);
        o.time("updateDate", Timestamp::from_millis(alias.updated_ms));
    }))
}

pub(super) fn list(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineArn", ARN)?;
    let size = fields.page_size()?;
    let token = fields.text("nextToken", PAGE_TOKEN)?;
    fields.finish()?;
    let target = Target::parse(arn)?;
    let version = match target.qualifier {
        Some(Qualifier::Version(number)) => Some(number),
        Some(Qualifier::Alias(_)) => return Err(ApiError::no_machine(arn)),
        None => None,
    };
    let list = format!("ListStateMachineAliases {arn}");
    let now = app.now();
    let after = token.map(|token| page::position(&app.ids, &list, token, now));
    let after = after.transpose()?;
    app.machine(target, |machine| {
        let of_version = |alias: &&AliasRecord| {
            version.is_none_or(|n| alias.routes.iter().any(|route| route.version == n))
        };
        let aliases = machine.aliases.iter().filter(of_version);
        // In the order of their making; the token names the last one that was shown.
        let begin = match &after {
            None => 0,
            Some(last) => aliases
                .clone()
                .position(|alias| *alias.name == **last)
                .map_or(0, |at| at + 1),
        };
        let mut rest = aliases.skip(begin);
        let shown: Vec<&AliasRecord> = rest.by_ref().take(size).collect();
        let more = rest.next().is_some();
        Ok(object(|o| {
            if let Some(last) = shown.last().filter(|_| more) {
                o.string("nextToken", &page::token(&app.ids, &list, &last.name, now));
            }
            o.objects("stateMachineAliases", &shown, |o, alias| {
                o.time("creationDate", Timestamp::from_millis(alias.created_ms));
                let arn = app.alias_arn(target.name, &alias.name);
                o.string("stateMachineAliasArn", &arn);
            });
        }))
    })
}

pub(super) fn delete(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("stateMachineAliasArn", LONG_ARN)?;
    fields.finish()?;
    let (target, name) = parts(arn)?;
    if !app.is_home(arn) {
        return Err(no_alias(arn));
    }
    app.catalogue.change_machine(target.name, |machine| {
        let aliases = machine.as_mut().map(|machine| &mut machine.aliases);
        let at = aliases
            .as_ref()
            .and_then(|aliases| aliases.iter().position(|alias| *alias.name == *name));
        match (aliases, at) {
            (Some(aliases), Some(at)) => {
                aliases.remove(at);
                Ok(object(|_| {}))
            }
            _ => Err(no_alias(arn)),
        }
    })
}
