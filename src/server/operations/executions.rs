//! Executions: start, describe, list, stop, redrive.

use std::sync::Arc;

use super::super::aim::Aim;
use super::super::app::{App, Target};
use super::super::arn::{Arn, Qualifier, is_name};
use super::super::error::ApiError;
use super::super::executor::{Begun, Live, StartRequest, Started};
use super::super::page;
use super::super::request::{ARN, CAUSE, DATA, ERROR, EXECUTIONS_TOKEN, Fields, NAME};
use super::super::write::{Object, object};
use super::Headers;
use super::machines::wants_data;
use crate::history::Failure;
use crate::interp::Status;
use crate::store::{MachineKind, StoreError};

/// A token of a client.
const CLIENT_TOKEN: super::super::request::Text = super::super::request::Text::new(1, 64);

/// What both ways to start have in common.
pub(super) struct Begin<'i> {
    /// The machine, a version of it, or an alias.
    pub(super) aim: Arc<Aim>,
    pub(super) name: String,
    pub(super) input: &'i str,
    pub(super) trace: Option<String>,
}

impl<'i> Begin<'i> {
    pub(super) fn read(
        app: &App,
        fields: &Fields<'_, 'i>,
        headers: Headers<'_>,
    ) -> Result<Begin<'i>, ApiError> {
        let arn = fields.required_text("stateMachineArn", ARN)?;
        let name = fields.text("name", NAME)?;
        let input = fields.text("input", DATA)?.unwrap_or("{}");
        let trace = fields.text("traceHeader", super::super::request::Text::new(0, 256))?;
        fields.finish()?;
        if let Some(name) = name
            && !is_name(name)
        {
            // An ARN that is none comes first.
            Target::with_test_case(arn)?;
            return Err(ApiError::invalid_name(name));
        }
        Ok(Begin {
            aim: app.aim(arn)?,
            name: name.map_or_else(|| app.ids.uuid(), str::to_owned),
            input,
            // The header wins over the member.
            trace: headers.trace.or(trace).map(str::to_owned),
        })
    }

    /// What the executor is asked for.
    pub(super) fn request(&self) -> StartRequest<'_> {
        StartRequest {
            origin: &self.aim.origin,
            deployed: Arc::clone(&self.aim.deployed),
            name: &self.name,
            input: self.input,
            trace_header: self.trace.as_deref(),
        }
    }
}

pub(super) fn start(
    app: &App,
    fields: &Fields<'_, '_>,
    headers: Headers<'_>,
) -> Result<Begun, ApiError> {
    let begin = Begin::read(app, fields, headers)?;
    app.executor.begin(begin.request())
}

/// Answers a start once it can be acknowledged.
pub(super) async fn started(begun: Begun) -> Result<Vec<u8>, ApiError> {
    match begun.acknowledged().await? {
        Started::New { arn, at } => Ok(object(|o| {
            o.string("executionArn", &arn);
            o.time("startDate", at);
        })),
        Started::Taken { arn } => Err(ApiError::execution_exists(&arn)),
    }
}

/// The STANDARD execution that an ARN names.
pub(super) fn find(app: &App, arn: &str) -> Result<Arc<Live>, ApiError> {
    match Arn::parse(arn)? {
        Arn::Execution { .. } => known(app, arn),
        other => Err(other.out_of_place()),
    }
}

/// The execution that an ARN names, to be looked at: also an EXPRESS one, if histories of these are kept.
pub(in super::super) fn find_any(app: &App, arn: &str) -> Result<Arc<Live>, ApiError> {
    match Arn::parse(arn)? {
        Arn::Express { .. } if app.executor.keeps_express() => known(app, arn),
        _ => find(app, arn),
    }
}

fn known(app: &App, arn: &str) -> Result<Arc<Live>, ApiError> {
    let found = app.executor.find(arn).map_err(of_store)?;
    found.ok_or_else(|| ApiError::no_execution(arn))
}

/// A store that could not be read.
pub(super) fn of_store(error: StoreError) -> ApiError {
    ApiError::internal(error.to_string())
}

/// The members that tell an execution in a list and in a description.
fn summary(o: &mut Object<'_>, live: &Live, status: Status) {
    o.string("executionArn", &live.arn);
    o.string("name", &live.name);
    let redriven = live.redriven();
    o.number(
        "redriveCount",
        redriven
            .as_ref()
            .map_or(0, |redriven| i64::from(redriven.count)),
    );
    if let Some(redriven) = &redriven {
        o.time("redriveDate", redriven.at);
    }
    o.time("startDate", live.started);
    o.maybe("stateMachineAliasArn", live.origin.alias_arn.as_deref());
    o.string("stateMachineArn", &live.origin.machine_arn);
    o.maybe("stateMachineVersionArn", live.origin.version_arn.as_deref());
    o.string("status", status.as_str());
}

pub(super) fn describe(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("executionArn", ARN)?;
    let data = wants_data(fields)?;
    fields.finish()?;
    let live = find_any(app, arn)?;
    Ok(shown(app, &live, data))
}

/// An execution as a description shows it, with its data.
pub(in super::super) fn described(app: &App, live: &Live) -> Vec<u8> {
    shown(app, live, true)
}

fn shown(app: &App, live: &Live, data: bool) -> Vec<u8> {
    let ended = live.ended();
    let status = ended.as_ref().map_or(Status::Running, |ended| ended.status);
    let not_redrivable = live.not_redrivable(app.now(), machine_exists(app, live));
    object(|o| {
        summary(o, live, status);
        if data {
            o.string("input", &live.input);
        }
        o.details("inputDetails", "included", data);
        if let Some(ended) = &ended {
            o.time("stopDate", ended.at);
            if let Some(output) = &ended.output {
                if data {
                    o.string("output", output);
                }
                o.details("outputDetails", "included", data);
            }
            // Of an execution that timed out, AWS shows neither.
            if let Some(failure) = ended
                .failure
                .as_ref()
                .filter(|_| status != Status::TimedOut)
            {
                o.maybe("error", failure.error.as_deref());
                o.maybe("cause", failure.cause.as_deref());
            }
        }
        if live.origin.kind == MachineKind::Standard {
            redrivable(o, not_redrivable.as_deref());
        }
        o.maybe("traceHeader", live.trace_header.as_deref());
    })
}

/// Whether an execution can be redriven, and if not, why.
fn redrivable(o: &mut Object<'_>, reason: Option<&str>) {
    match reason {
        None => o.string("redriveStatus", "REDRIVABLE"),
        Some(reason) => {
            o.string("redriveStatus", "NOT_REDRIVABLE");
            o.string("redriveStatusReason", reason);
        }
    }
}

/// Whether the machine of an execution has not been deleted.
fn machine_exists(app: &App, live: &Live) -> bool {
    let Ok(target) = Target::parse(&live.origin.machine_arn) else {
        return false;
    };
    let created = app.machine(target, |machine| Ok(machine.record.created_ms));
    created.is_ok_and(|created| created == live.origin.machine_created_ms)
}

const STATUSES: [&str; 6] = [
    "RUNNING",
    "SUCCEEDED",
    "FAILED",
    "TIMED_OUT",
    "ABORTED",
    "PENDING_REDRIVE",
];

pub(super) fn list(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.text("stateMachineArn", ARN)?;
    let status = fields.one_of("statusFilter", &STATUSES)?;
    let size = fields.page_size()?;
    let token = fields.text("nextToken", EXECUTIONS_TOKEN)?;
    let map_run = fields.text("mapRunArn", super::super::request::LONG_ARN)?;
    let redriven = fields.one_of("redriveFilter", &["REDRIVEN", "NOT_REDRIVEN"])?;
    let redriven = redriven.map(|filter| filter == 0);
    fields.finish()?;
    let arn = match (arn, map_run) {
        (Some(arn), None) => arn,
        (None, Some(run)) => return Err(super::map_runs::no_map_run(run)),
        _ => {
            return Err(ApiError::validation(
                "Must specify either stateMachineArn or mapRunArn, and not both",
            ));
        }
    };
    let target = Target::parse(arn)?;
    let (kind, created) = app.machine(target, |machine| {
        Ok((machine.record.kind, machine.record.created_ms))
    })?;
    if kind == MachineKind::Express && !app.executor.keeps_express() {
        return Err(ApiError::type_not_supported());
    }
    let list = format!("ListExecutions {arn} {status:?}");
    let now = app.now();
    let before = match token {
        None => u64::MAX,
        Some(token) => page::position(&app.ids, &list, token, now)?
            .parse()
            .map_err(|_| ApiError::invalid_token())?,
    };
    let wanted = |live: &Live| {
        let qualified = match target.qualifier {
            None => true,
            Some(Qualifier::Version(_)) => live.origin.version_arn.as_deref() == Some(arn),
            Some(Qualifier::Alias(_)) => live.origin.alias_arn.as_deref() == Some(arn),
        };
        qualified
            && redriven.is_none_or(|redriven| live.redriven().is_some() == redriven)
            && live.origin.machine_created_ms == created
            && status.is_none_or(|i| live.status().as_str() == STATUSES[i])
    };
    // One more than is shown, to know whether there is one.
    let (mut shown, looked_to) = latest(app, (target.name, kind), before, size + 1, wanted)?;
    let next = match shown.len() > size {
        true => Some(shown[size - 1].serial),
        false => looked_to,
    };
    shown.truncate(size);
    Ok(object(|o| {
        o.objects("executions", &shown, |o, live| {
            let ended = live.ended();
            let status = ended.as_ref().map_or(Status::Running, |ended| ended.status);
            summary(o, live, status);
            if let Some(ended) = ended {
                o.time("stopDate", ended.at);
            }
        });
        if let Some(next) = next {
            let position = next.to_string();
            o.string("nextToken", &page::token(&app.ids, &list, &position, now));
        }
    }))
}

/// Executions that are looked at for one page: of what a filter lets through there may be little.
const LOOKED_AT_MAX: usize = 2_000;

/// The latest executions of a machine that are wanted, before the one with that serial number; and the last that was looked
/// at, if there may be more of which not all were.
fn latest(
    app: &App,
    (machine, kind): (&str, MachineKind),
    mut before: u64,
    count: usize,
    wanted: impl Fn(&Live) -> bool,
) -> Result<(Vec<Arc<Live>>, Option<u64>), ApiError> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    loop {
        let some = app.executor.of_machine(machine, kind, before);
        let some = some.map_err(of_store)?;
        let Some(last) = some.last() else {
            return Ok((found, None));
        };
        before = last.serial;
        looked_at += some.len();
        for live in some {
            if wanted(&live) {
                found.push(live);
                if found.len() == count {
                    return Ok((found, None));
                }
            }
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok((found, Some(before)));
        }
    }
}

/// A stop, whose answer has to wait until the execution has ended.
#[derive(Debug)]
pub(in super::super) struct Stop {
    live: Arc<Live>,
    failure: Failure,
}

pub(super) fn stop(app: &App, fields: &Fields<'_, '_>) -> Result<Stop, ApiError> {
    let arn = fields.required_text("executionArn", ARN)?;
    let error = fields.text("error", ERROR)?;
    let cause = fields.text("cause", CAUSE)?;
    fields.finish()?;
    let live = find(app, arn)?;
    let failure = Failure {
        error: error.map(Into::into),
        cause: cause.map(Into::into),
    };
    Ok(Stop { live, failure })
}

pub(super) async fn stopped(app: &App, stop: Stop) -> Result<Vec<u8>, ApiError> {
    let at = app.executor.stop(&stop.live, stop.failure).await?;
    Ok(object(|o| o.time("stopDate", at)))
}

/// A redrive, whose answer has to wait until it is on the disk.
#[derive(Debug)]
pub(in super::super) struct Redrive(Begun);

pub(super) fn redrive(app: &App, fields: &Fields<'_, '_>) -> Result<Redrive, ApiError> {
    let arn = fields.required_text("executionArn", ARN)?;
    let client_token = fields.text("clientToken", CLIENT_TOKEN)?;
    fields.finish()?;
    let live = find(app, arn)?;
    let exists = machine_exists(app, &live);
    app.executor
        .redrive(&live, client_token, exists)
        .map(Redrive)
}

pub(super) async fn redriven(redrive: Redrive) -> Result<Vec<u8>, ApiError> {
    match redrive.0.acknowledged().await? {
        Started::New { at, .. } => Ok(object(|o| o.time("redriveDate", at))),
        Started::Taken { .. } => unreachable!("a redrive takes no name"),
    }
}
