//! `StartSyncExecution`.

use super::super::app::App;
use super::super::error::ApiError;
use super::super::request::Fields;
use super::super::write::object_of;
use super::Headers;
use super::executions::Begin;
use super::machines::wants_data;
use crate::interp::Status;
use crate::store::MachineKind;

/// An execution whose end is waited for.
pub(in super::super) struct SyncStart<'i> {
    begin: Begin<'i>,
    data: bool,
}

impl std::fmt::Debug for SyncStart<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SyncStart").field(&self.begin.name).finish()
    }
}

pub(super) fn start<'i>(
    app: &App,
    fields: &Fields<'_, 'i>,
    headers: Headers<'_>,
) -> Result<SyncStart<'i>, ApiError> {
    let data = wants_data(fields)?;
    let begin = Begin::read(app, fields, headers)?;
    if begin.aim.origin.kind == MachineKind::Standard {
        return Err(ApiError::type_not_supported());
    }
    Ok(SyncStart { begin, data })
}

/// Memory is billed in steps of this many megabytes, time in steps of this many milliseconds.
const STEP_MB: u64 = 64;
const STEP_MILLIS: u64 = 100;

/// `billingDetails`: megabytes and milliseconds.
fn billed(memory_bytes: usize, millis: u64) -> (u64, u64) {
    let megabytes = (memory_bytes as u64).div_ceil(1024 * 1024);
    let steps = |n: u64, step: u64| n.max(1).div_ceil(step) * step;
    (steps(megabytes, STEP_MB), steps(millis, STEP_MILLIS))
}

/// Bytes of an answer beside input and output, usually.
const OTHERS_BYTES: usize = 768;

pub(super) async fn finish(app: &App, start: SyncStart<'_>) -> Result<Vec<u8>, ApiError> {
    let SyncStart { begin, data } = start;
    let finished = app.executor.run_sync(begin.request()).await?;
    let ended = &finished.ended;
    let millis = ended.at.millis().saturating_sub(finished.started.millis());
    let (megabytes, billed_millis) = billed(finished.memory, millis.max(0).unsigned_abs());
    let output = ended.output.as_deref().map_or(0, str::len);
    let texts = begin.input.len() + output;
    // Every string is given room for twice its bytes while it is written; of the last of them little remains.
    Ok(object_of(OTHERS_BYTES + 2 * texts, |o| {
        o.object("billingDetails", |o| {
            o.number("billedDurationInMilliseconds", billed_millis);
            o.number("billedMemoryUsedInMB", megabytes);
        });
        if let Some(failure) = ended.failure.as_ref() {
            // Of an execution that timed out, AWS shows the error alone.
            o.maybe("error", failure.error.as_deref());
            let cause = failure.cause.as_deref();
            o.maybe("cause", cause.filter(|_| ended.status != Status::TimedOut));
        }
        o.string("executionArn", &finished.arn);
        if data {
            o.string("input", begin.input);
        }
        o.details("inputDetails", "included", data);
        o.string("name", &begin.name);
        if let Some(output) = ended.output.as_deref().filter(|_| data) {
            o.string("output", output);
        }
        o.details("outputDetails", "included", data);
        o.time("startDate", finished.started);
        o.string("stateMachineArn", &begin.aim.origin.machine_arn);
        o.string("status", ended.status.as_str());
        o.time("stopDate", ended.at);
        o.maybe("traceHeader", begin.trace.as_deref());
    }))
}

#[cfg(test)]
mod tests {
    use super::billed;

    #[test]
    fn bills_are_rounded_up() {
        for (memory, millis, expected) in [
            (0, 0, (64, 100)),
            (1, 1, (64, 100)),
            (64 * 1024 * 1024, 100, (64, 100)),
            (64 * 1024 * 1024 + 1, 101, (128, 200)),
            (1, 7_503, (64, 7_600)),
        ] {
            assert_eq!(billed(memory, millis), expected);
        }
    }
}
