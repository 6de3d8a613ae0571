//! Tasks: who does the work of Task states.
//!
//! A handler is a function. [`TaskHandler`]s run at once, on the thread that runs the execution: for work in process
//! that does not wait. [`AsyncTaskHandler`]s return a future, which runs on a tokio runtime while the worker goes on
//! with other executions: for everything else. A [`TaskRegistry`] says which resource each of them answers for.
//!
//! What is registered is looked up once per state machine; a call then finds its handler by index.
//!
//! This module knows nothing of threads, clocks or queues but `Reply`, the way back of an answer that comes later.

mod limit;
pub mod mock;
mod registry;
mod reply;
#[cfg(feature = "server")]
mod service;

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;

use crate::interp::{Completion, Execution, FrameHandle, TaskCall};
use crate::value::{Val, Values};

pub use crate::history::Failure;
pub use limit::ASYNC_TASKS_MAX;
pub use registry::TaskRegistry;

#[cfg(feature = "server")]
pub(crate) use registry::matches;
pub(crate) use registry::{Answers, Bindings, Fixed, Handler, Steps};
pub(crate) use reply::{Address, Answer, Begun, Inbox, Pending, Reply, Said, ThreadInbox, lock};
#[cfg(feature = "server")]
pub(crate) use service::{LimitedService, ServiceHandler, ServiceTask, Services};

/// Does the work of Tasks in process, on the thread that runs the execution.
///
/// Every closure of this form is one. A handler that panics fails its task with the error `Task.Panicked`. Nothing
/// interrupts it: if it is at work beyond the task's timeout or heartbeat, its answer comes too late, and the task fails
/// with `States.Timeout` once it has returned.
///
/// ```
/// use quickstep::task::{Failure, TaskHandler, TaskRequest};
///
/// fn double(request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
///     let Some(n) = request.values().as_i64(request.input()) else {
///         return Err(Failure::new("Double.NoNumber", request.input_json()));
///     };
///     response.extend_from_slice((2 * n).to_string().as_bytes());
///     Ok(())
/// }
/// # fn is_handler(_: impl TaskHandler) {}
/// # is_handler(double);
/// ```
pub trait TaskHandler: Send + Sync + 'static {
    /// Answers a request: appends the result, which is JSON text, to `response`.
    ///
    /// # Errors
    ///
    /// The failure of the task, which the state may retry or catch.
    fn call(&self, request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure>;
}

impl<F> TaskHandler for F
where
    F: Fn(&TaskRequest<'_>, &mut Vec<u8>) -> Result<(), Failure> + Send + Sync + 'static,
{
    fn call(&self, request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
        self(request, response)
    }
}

/// A task as its handler sees it.
#[derive(Clone, Copy, Debug)]
pub struct TaskRequest<'a> {
    call: TaskCall<'a>,
    frame: FrameHandle,
    execution: &'a Execution,
}

impl<'a> TaskRequest<'a> {
    pub(crate) fn new(
        call: TaskCall<'a>,
        frame: FrameHandle,
        execution: &'a Execution,
    ) -> TaskRequest<'a> {
        TaskRequest {
            call,
            frame,
            execution,
        }
    }

    /// `Resource` of the state, as written.
    #[must_use]
    pub fn resource(&self) -> &'a str {
        self.call.resource_text
    }

    /// Name of the state.
    #[must_use]
    pub fn state(&self) -> &'a str {
        self.call.state
    }

    /// Retries of the state before this call: 0 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.call.retry_count
    }

    /// Name of the execution. With the state and [`TaskRequest::attempt`] it makes a key for idempotency, for machines
    /// that are not in a Map and come to a state once: the execution of a durable engine that runs again after a crash
    /// has the same name. [`TaskRequest::execution_attempt`] tells the runs apart where that is wanted. It is made when
    /// asked for.
    #[must_use]
    pub fn execution_name(&self) -> String {
        self.execution.name()
    }

    /// How often the execution was begun, this time included: 1, and more if a durable engine runs it again after a
    /// crash. What it did before may have been done, in part or whole.
    #[must_use]
    pub fn execution_attempt(&self) -> u32 {
        self.execution.attempt()
    }

    /// What names the task, for whoever answers it later: see [`TaskRegistry::register_callback`]. It is made when asked
    /// for.
    #[must_use]
    pub fn token(&self) -> TaskToken {
        // The task waits for this very call.
        TaskToken(self.execution.token(self.frame).unwrap_or_default())
    }

    /// The input, resolved by [`TaskRequest::values`].
    #[must_use]
    pub fn input(&self) -> Val {
        self.call.input
    }

    /// Resolves the input without making text of it.
    #[must_use]
    pub fn values(&self) -> Values<'a> {
        self.call.values
    }

    /// Appends the input as compact JSON.
    pub fn write_input(&self, out: &mut Vec<u8>) {
        self.call.values.write(self.call.input, out);
    }

    /// The input as compact JSON.
    #[must_use]
    pub fn input_json(&self) -> String {
        self.call.values.to_json(self.call.input)
    }

    /// `RoleArn` of the state's `Credentials`.
    #[cfg(feature = "server")]
    pub(crate) fn role_arn(&self) -> Option<String> {
        let values = self.call.values;
        let role = values.get(self.call.credentials?, &crate::value::Name::new("RoleArn"))?;
        values.string(role).map(|text| text.into_owned())
    }

    /// ARN of the execution.
    #[cfg(feature = "server")]
    pub(crate) fn execution_arn(&self) -> String {
        self.execution.arn()
    }

    /// Copies what an asynchronous handler keeps.
    #[must_use]
    pub fn to_owned(&self) -> OwnedTaskRequest {
        OwnedTaskRequest {
            resource: self.resource().into(),
            state: self.state().into(),
            attempt: self.attempt(),
            execution_name: self.execution_name(),
            execution_attempt: self.execution.attempt(),
            input: self.input_json(),
        }
    }
}

/// Names a task that is under way. Who has it can answer the task, and nobody can guess it.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct TaskToken(String);

impl TaskToken {
    /// The token with that text, such as `$$.Task.Token` has given it.
    #[must_use]
    pub fn new(text: &str) -> TaskToken {
        TaskToken(text.to_owned())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What became of a task, by its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskAnswer {
    /// An activity worker of that name, if it gave one, has taken it.
    Started(Option<String>),
    /// It is alive.
    Heartbeat,
    /// It is done. JSON text of the result.
    Succeeded(Vec<u8>),
    /// It failed.
    Failed(Failure),
}

impl TaskAnswer {
    /// True if the task has ended with it.
    pub(crate) const fn is_last(&self) -> bool {
        match self {
            TaskAnswer::Started(_) | TaskAnswer::Heartbeat => false,
            TaskAnswer::Succeeded(_) | TaskAnswer::Failed(_) => true,
        }
    }

    pub(crate) fn as_completion(&self) -> Completion<'_> {
        match self {
            TaskAnswer::Started(name) => Completion::Started {
                worker_name: name.as_deref(),
            },
            TaskAnswer::Heartbeat => Completion::Heartbeat,
            TaskAnswer::Succeeded(json) => Completion::Succeeded(json),
            TaskAnswer::Failed(failure) => Completion::Failed(failure),
        }
    }
}

impl fmt::Display for TaskToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A task as an asynchronous handler sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedTaskRequest {
    /// `Resource` of the state, as written.
    pub resource: Box<str>,
    /// Name of the state.
    pub state: Box<str>,
    /// Retries of the state before this call: 0 for the first.
    pub attempt: u32,
    /// Name of the execution.
    pub execution_name: String,
    /// How often the execution was begun: see [`TaskRequest::execution_attempt`].
    pub execution_attempt: u32,
    /// The input as compact JSON.
    pub input: String,
}

/// What an [`AsyncTaskHandler`] returns.
pub type TaskFuture = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send>>;

/// Does the work of Tasks on a tokio runtime. Every function from a request to a future of that form is one.
///
/// A future is dropped when its answer is of no use any more: when the task has timed out, or its execution or its
/// branch has ended. One that panics fails its task with the error `Task.Panicked`.
pub trait AsyncTaskHandler: Send + Sync + 'static {
    /// Answers a request with the result, which is JSON text, or with the failure of the task.
    fn call(&self, request: OwnedTaskRequest) -> TaskFuture;
}

impl<F, T> AsyncTaskHandler for F
where
    F: Fn(OwnedTaskRequest) -> T + Send + Sync + 'static,
    T: Future<Output = Result<Vec<u8>, Failure>> + Send + 'static,
{
    fn call(&self, request: OwnedTaskRequest) -> TaskFuture {
        Box::pin(self(request))
    }
}

/// Error of a task whose handler panicked.
pub const ERROR_PANICKED: &str = "Task.Panicked";

/// The failure of a task whose handler panicked.
#[cold]
pub(crate) fn panicked(resource: &str, payload: &(dyn std::any::Any + Send)) -> Failure {
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| Cow::Borrowed(*text))
        .or_else(|| {
            payload
                .downcast_ref::<String>()
                .map(|text| Cow::Borrowed(text.as_str()))
        })
        .unwrap_or(Cow::Borrowed("no message"));
    Failure::new(
        ERROR_PANICKED,
        format!("the handler of {resource} panicked: {message}"),
    )
}

/// The failure of a task that nobody answers for. `States.Runtime`, so that neither `Retry` nor `Catch` hides it behind
/// `States.ALL`.
#[cold]
pub(crate) fn unhandled(resource: &str, state: &str) -> Failure {
    Failure::new(
        "States.Runtime",
        format!(
            "Nothing answers for the Resource {resource} of the state {state}. Give it a handler with \
             Engine::builder().task(…), or on the command line an answer with --tasks FILE; a service of AWS is called with \
             --endpoint URL or --aws, an HTTP endpoint with --http-connections FILE."
        ),
    )
}

/// Nobody can find the execution by a token: it is on its caller's thread until its end.
#[cold]
pub(crate) fn unanswerable(state: &str) -> Failure {
    Failure::new(
        "States.Runtime",
        format!(
            "The task of the state {state} would wait for an answer by its token, which cannot reach an execution that runs \
             on one thread to its end, as with Engine::run_with, or with Engine::start_sync on a worker. Start it with \
             Engine::start."
        ),
    )
}

impl fmt::Debug for dyn TaskHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskHandler")
    }
}

impl fmt::Debug for dyn AsyncTaskHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncTaskHandler")
    }
}
