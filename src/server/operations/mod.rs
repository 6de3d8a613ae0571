//! The operations of the API, a file per group.
//!
//! An operation reads its request, and answers at once, or says what the answer has to wait for: a [`Reply`].

mod activities;
mod aliases;
mod callbacks;
mod executions;
mod history;
mod machines;
mod map_runs;
mod references;
mod sync;
mod tags;
mod test_state;
mod validate;
mod versions;

use super::app::App;
use super::error::ApiError;
use super::executor::Begun;
use super::request::Fields;

pub(super) use activities::Poll;
pub(super) use callbacks::ClientAnswer;
pub(super) use executions::{Redrive, Stop, described, find_any};
pub(super) use sync::SyncStart;

/// An answer, or what it has to wait for.
#[derive(Debug)]
pub(super) enum Reply<'i> {
    /// A JSON object.
    Now(Vec<u8>),
    /// A start that is to be on the disk.
    Start(Begun),
    /// The end of an execution.
    Execution(Box<SyncStart<'i>>),
    /// The end of an execution that is stopped.
    Stop(Stop),
    /// A redrive that is to be on the disk.
    Redrive(Redrive),
    /// What a client says of a task.
    Answer(ClientAnswer<'i>),
    /// A task of an activity.
    Task(Poll<'i>),
    /// The work of a state under test.
    Test(Box<test_state::Waiting<'i>>),
}

impl From<Vec<u8>> for Reply<'_> {
    fn from(body: Vec<u8>) -> Self {
        Reply::Now(body)
    }
}

/// Headers that operations look at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headers<'a> {
    /// `X-Amzn-Trace-Id`.
    pub(super) trace: Option<&'a str>,
}

/// The names of the operations, as they are counted.
pub(super) const OPERATIONS: &[&str] = &[
    "CreateStateMachine",
    "UpdateStateMachine",
    "DescribeStateMachine",
    "DescribeStateMachineForExecution",
    "DeleteStateMachine",
    "ListStateMachines",
    "ValidateStateMachineDefinition",
    "PublishStateMachineVersion",
    "ListStateMachineVersions",
    "DeleteStateMachineVersion",
    "CreateStateMachineAlias",
    "UpdateStateMachineAlias",
    "DescribeStateMachineAlias",
    "ListStateMachineAliases",
    "DeleteStateMachineAlias",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
    "StartExecution",
    "DescribeExecution",
    "ListExecutions",
    "StopExecution",
    "RedriveExecution",
    "GetExecutionHistory",
    "SendTaskSuccess",
    "SendTaskFailure",
    "SendTaskHeartbeat",
    "CreateActivity",
    "DescribeActivity",
    "ListActivities",
    "DeleteActivity",
    "DescribeMapRun",
    "UpdateMapRun",
    "ListMapRuns",
    "StartSyncExecution",
    "TestState",
    "GetActivityTask",
];

/// Does what a request asks for. `operation` is the part of `X-Amz-Target` after the point.
pub(super) fn perform<'i>(
    app: &App,
    operation: &str,
    fields: &Fields<'_, 'i>,
    headers: Headers<'_>,
) -> Result<Reply<'i>, ApiError> {
    let now = match operation {
        "CreateStateMachine" => machines::create(app, fields)?,
        "UpdateStateMachine" => machines::update(app, fields)?,
        "DescribeStateMachine" => machines::describe(app, fields)?,
        "DescribeStateMachineForExecution" => machines::describe_for_execution(app, fields)?,
        "DeleteStateMachine" => machines::delete(app, fields)?,
        "ListStateMachines" => machines::list(app, fields)?,
        "ValidateStateMachineDefinition" => validate::validate(fields)?,
        "PublishStateMachineVersion" => versions::publish(app, fields)?,
        "ListStateMachineVersions" => versions::list(app, fields)?,
        "DeleteStateMachineVersion" => versions::delete(app, fields)?,
        "CreateStateMachineAlias" => aliases::create(app, fields)?,
        "UpdateStateMachineAlias" => aliases::update(app, fields)?,
        "DescribeStateMachineAlias" => aliases::describe(app, fields)?,
        "ListStateMachineAliases" => aliases::list(app, fields)?,
        "DeleteStateMachineAlias" => aliases::delete(app, fields)?,
        "TagResource" => tags::tag(app, fields)?,
        "UntagResource" => tags::untag(app, fields)?,
        "ListTagsForResource" => tags::list(app, fields)?,
        "DescribeExecution" => executions::describe(app, fields)?,
        "ListExecutions" => executions::list(app, fields)?,
        "GetExecutionHistory" => history::get(app, fields)?,
        "CreateActivity" => activities::create(app, fields)?,
        "DescribeActivity" => activities::describe(app, fields)?,
        "ListActivities" => activities::list(app, fields)?,
        "DeleteActivity" => activities::delete(app, fields)?,
        "DescribeMapRun" => map_runs::describe(fields)?,
        "UpdateMapRun" => map_runs::update(fields)?,
        "ListMapRuns" => map_runs::list(app, fields)?,
        "StartSyncExecution" => {
            let start = sync::start(app, fields, headers)?;
            return Ok(Reply::Execution(Box::new(start)));
        }
        "StartExecution" => {
            return Ok(Reply::Start(executions::start(app, fields, headers)?));
        }
        "RedriveExecution" => return Ok(Reply::Redrive(executions::redrive(app, fields)?)),
        "StopExecution" => return Ok(Reply::Stop(executions::stop(app, fields)?)),
        "SendTaskSuccess" => return Ok(Reply::Answer(callbacks::success(fields)?)),
        "SendTaskFailure" => return Ok(Reply::Answer(callbacks::failure(fields)?)),
        "SendTaskHeartbeat" => return Ok(Reply::Answer(callbacks::heartbeat(fields)?)),
        "TestState" => return test_state::test(app, fields),
        "GetActivityTask" => return Ok(Reply::Task(activities::poll(app, fields)?)),

        _ => {
            let message = format!("Unknown operation: {operation}");
            return Err(ApiError::new("UnknownOperationException", message));
        }
    };
    Ok(now.into())
}

/// Answers once what a reply waits for has come.
pub(super) async fn finish(app: &App, reply: Reply<'_>) -> Result<Vec<u8>, ApiError> {
    match reply {
        Reply::Now(body) => Ok(body),
        Reply::Start(begun) => executions::started(begun).await,
        Reply::Execution(start) => sync::finish(app, *start).await,
        // What is rare has memory of its own: the future of a request is kept for each connection.
        Reply::Stop(stop) => Box::pin(executions::stopped(app, stop)).await,
        Reply::Redrive(redrive) => Box::pin(executions::redriven(redrive)).await,
        Reply::Answer(answer) => Box::pin(callbacks::told(app, answer)).await,
        Reply::Task(poll) => Box::pin(activities::wait(app, poll)).await,
        Reply::Test(waiting) => Box::pin(test_state::finish(app, *waiting)).await,
    }
}
