//! The seam between the API and what executes: everything that the operations know of running executions is
//! [`Executor`].
//!
//! Executions run on an [`Engine`](crate::engine::Engine) as all others do.
//!
//! 1. A revision of a machine is deployed when it is first started: compiled, bound to its handlers, its log opened.
//! 2. An execution begins on the thread of the request, for one turn at most, and mostly ends in it: handing a small one over
//!    costs more than running it. The others go on with the workers; who waits for one has a future for its ticket.
//! 3. Of an execution that the API can describe a [`Live`] is kept: it is the outlet of a group of its own, and so sees its
//!    events and its end. Of EXPRESS executions that is so only if the server was asked for their histories.
//! 4. Events that a `loggingConfiguration` asks for are recorded in the turn, for the file of their log group.
//! 5. With a data directory, STANDARD executions are kept on disk (`durable`), and go on after a restart.
//! 6. So are EXPRESS executions that nobody waits for, in a journal (`express`): they run again after a crash.
//! 7. Tasks that clients do are handed on by their tokens; what a client says of one goes to its execution as a letter, and
//!    the client is answered when a worker has read it.

mod clients;
mod cloudwatch;
mod deploy;
mod durable;
mod express;
mod live;
mod logs;
mod outlets;
mod redrive;
mod registry;
mod revisions;
mod run;

use std::sync::Arc;

use crate::stdx::Timestamp;
use crate::store::{MachineKind, Revision};

pub(crate) use clients::{TokenError, is_token};
pub(crate) use deploy::{Deployed, Home, MachineKey, TaskSource};
pub(crate) use express::Kept;
pub(crate) use live::{Ended, Live};
pub(crate) use logs::LogTarget;
pub(crate) use run::{Begun, Executor, ExecutorOptions, ExpressOptions};

/// What was asked to be executed.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) machine: Box<str>,
    /// When the machine was created, which tells it from a later one of the same name.
    pub(crate) machine_created_ms: i64,
    pub(crate) kind: MachineKind,
    pub(crate) revision: Arc<Revision>,
    /// ARN of the machine, without a qualifier.
    pub(crate) machine_arn: Box<str>,
    pub(crate) version_arn: Option<Box<str>>,
    pub(crate) alias_arn: Option<Box<str>>,
    /// Of the mocks.
    pub(crate) test_case: Option<Box<str>>,
}

/// What starts an execution.
#[derive(Debug)]
pub(crate) struct StartRequest<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) deployed: Arc<Deployed>,
    pub(crate) name: &'a str,
    pub(crate) input: &'a str,
    pub(crate) trace_header: Option<&'a str>,
}

/// What became of a start that nobody waits for.
#[derive(Debug)]
pub(crate) enum Started {
    /// It is under way: since now, or since an earlier start of the same name and input.
    New { arn: String, at: Timestamp },
    /// Another execution has the name.
    Taken { arn: String },
}

/// An execution that was waited for.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) arn: String,
    pub(crate) started: Timestamp,
    pub(crate) ended: Ended,
    /// Bytes that it held for documents.
    pub(crate) memory: usize,
}
