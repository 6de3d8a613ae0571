//! Starting executions and hearing of their ends: [`StartRequest`], [`ExecutionHandle`], [`ResultSink`].

use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::error::{Error, ErrorKind};
use super::name::check_name;
use crate::history::Failure;
use crate::interp::{PAYLOAD_BYTES_MAX, name_of_seed};
use crate::runtime::outlet::{Ended, Outlet, Receiver, RefusedStart};
use crate::runtime::result::ExecutionResult;
use crate::runtime::ticket::{NoResult, Ticket, TicketResult};
use crate::runtime::{Shared, is_worker, outlet};

/// What starts an execution.
///
/// ```
/// use quickstep::engine::StartRequest;
/// use quickstep::{Engine, StateMachine};
///
/// let machine = StateMachine::compile(
///     r#"{"StartAt": "A", "States": {"A": {
///         "Type": "Pass", "Parameters": {"name.$": "$$.Execution.Name"}, "End": true}}}"#,
/// )
/// .expect("the definition is valid");
/// let engine = Engine::builder().build()?;
/// let request = StartRequest::new(b"{}").name("order-17");
/// let result = engine.start_sync(&machine, request)?;
/// assert_eq!(result.output.as_deref(), Some(r#"{"name":"order-17"}"#));
/// assert_eq!(engine.start(&machine, request)?.wait()?.name(), "order-17");
/// # Ok::<(), quickstep::engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StartRequest<'a> {
    pub(super) input: &'a [u8],
    pub(super) name: Option<&'a str>,
    pub(super) seed: Option<u64>,
}

impl<'a> StartRequest<'a> {
    /// An execution with that input, which is JSON text.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> StartRequest<'a> {
        StartRequest {
            input,
            name: None,
            seed: None,
        }
    }

    /// Its name, which handlers and the context object see; a UUID unless this is called. As with EXPRESS executions on
    /// AWS, several may have the same. [`check_name`] says what can be one.
    #[must_use]
    pub const fn name(mut self, name: &'a str) -> StartRequest<'a> {
        self.name = Some(name);
        self
    }

    /// What its randomness comes from; derived from the engine's seed unless this is called. Executions with the same
    /// seed draw the same numbers.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> StartRequest<'a> {
        self.seed = Some(seed);
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        check_size(self.input)?;
        self.name.map_or(Ok(()), check_name)
    }
}

/// An execution that was started. As a future it gives its result; dropping it changes nothing.
#[derive(Clone)]
pub struct ExecutionHandle {
    pub(super) ticket: Arc<Ticket>,
    pub(super) shared: Arc<Shared>,
    pub(super) name: Option<Box<str>>,
}

impl ExecutionHandle {
    /// Its name: as given at its start, else a UUID.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => name_of_seed(self.ticket.seed),
        }
    }

    /// Which attempt at its start it is: more than 1 if [`Engine::recover`](super::Engine::recover) runs it again.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.ticket.recorded.map_or(1, |recorded| recorded.attempt)
    }

    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        let identity = &self.ticket.group.bound.identity;
        identity.execution_arn(&self.name(), self.ticket.seed)
    }

    /// What came of it; `None` while it is under way.
    ///
    /// # Errors
    ///
    /// If its input was not JSON, if the engine was shut down before its end, or if the callback of a clone was given the
    /// result ([`ErrorKind::Stale`]).
    pub fn result(&self) -> Option<Result<ExecutionResult, Error>> {
        self.ticket.result().map(of_ticket)
    }

    /// Waits for its end. Not for synchronous handlers: they are on the thread of a worker, and once all workers waited
    /// nobody would run what they wait for.
    ///
    /// # Errors
    ///
    /// As [`ExecutionHandle::result`], and [`ErrorKind::WouldDeadlock`] on the thread of a worker, of this engine or
    /// another, if it has not ended yet.
    pub fn wait(&self) -> Result<ExecutionResult, Error> {
        if is_worker() {
            return self.result().unwrap_or_else(|| Err(would_deadlock()));
        }
        of_ticket(self.ticket.wait())
    }

    /// Calls `callback` when it has ended, on the thread that ends it; at once if it has ended already. Nobody else
    /// is told its result then: who waits for it at a clone of the handle, or gives that a callback, has an error.
    pub fn then(self, callback: impl FnOnce(Result<ExecutionResult, Error>) + Send + 'static) {
        self.ticket
            .then(Box::new(move |result| callback(of_ticket(result))));
    }

    /// Stops it, as `StopExecution` does. False if it has ended already.
    pub fn stop(&self, error: Option<&str>, cause: Option<&str>) -> bool {
        let failure = Failure {
            error: error.map(Into::into),
            cause: cause.map(Into::into),
        };
        // Its result is there a moment before its place is free.
        !self.ticket.has_ended() && self.shared.stop(self.ticket.place, failure)
    }
}

fn would_deadlock() -> Error {
    let message = "the thread of a worker cannot wait for an execution: begin it in an asynchronous handler and await \
                   its handle, or run it with `start_sync`";
    Error::new(ErrorKind::WouldDeadlock, message)
}

impl Future for ExecutionHandle {
    type Output = Result<ExecutionResult, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.ticket.poll(context.waker()).map(of_ticket)
    }
}

impl fmt::Debug for ExecutionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExecutionHandle")
            .field(&self.name())
            .finish()
    }
}

pub(super) fn of_ticket(result: TicketResult) -> Result<ExecutionResult, Error> {
    result.map_err(|no_result| match no_result {
        NoResult::Refused(error) => Error::new(ErrorKind::InvalidInput, error.to_string()),
        NoResult::Abandoned => Error::new(
            ErrorKind::Abandoned,
            "the engine was shut down before the execution ended",
        ),
        NoResult::Lost => Error::new(
            ErrorKind::Abandoned,
            "the execution was lost: a callback or an observer panicked while it had its turn",
        ),
        NoResult::Given => Error::new(
            ErrorKind::Stale,
            "the result was given to the callback of another handle of the execution",
        ),
    })
}

/// Takes what comes of the executions of a batch. Its calls come from any worker, several at a time.
pub trait ResultSink: Send + Sync + 'static {
    /// An execution has ended; [`Ended::line`] is its number in the batch, from 0.
    fn ended(&self, ended: &Ended<'_>);

    /// The input of that number was none.
    fn refused(&self, line: u64, error: Error);

    /// The execution of that number was given up, because the engine was shut down.
    fn abandoned(&self, _line: u64) {}
}

/// The outlet of a batch.
pub(super) struct ToSink<S>(pub(super) S);

impl<S> fmt::Debug for ToSink<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToSink")
    }
}

impl<S: ResultSink> Outlet for ToSink<S> {
    fn lend(&self, _: usize, turn: &mut dyn FnMut(&mut dyn Receiver)) {
        turn(&mut SinkReceiver(&self.0));
    }
}

struct SinkReceiver<'a, S>(&'a S);

impl<S: ResultSink> Receiver for SinkReceiver<'_, S> {
    fn ended(&mut self, ended: &outlet::Ended<'_>) {
        self.0.ended(ended);
    }

    fn refused(&mut self, refused: &RefusedStart<'_>) -> ControlFlow<()> {
        let error = Error::new(ErrorKind::InvalidInput, refused.error.to_string());
        self.0.refused(refused.line, error);
        ControlFlow::Continue(())
    }

    fn abandoned(&mut self, line: u64, _: Option<&Arc<Ticket>>) {
        self.0.abandoned(line);
    }
}

/// No input is longer, whatever white space it has.
pub(super) fn check_size(input: &[u8]) -> Result<(), Error> {
    const BYTES_MAX: usize = 64 * PAYLOAD_BYTES_MAX;
    if input.len() <= BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "the input has {} bytes; with its white space it may have {BYTES_MAX}",
        input.len()
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
}
