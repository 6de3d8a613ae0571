//! [`ExecutionRequest`]: an execution before it is run.

use super::error::Error;
use super::machine::StateMachine;
use super::name::check_name;
use super::result::ExecutionResult;
use super::run::Engine;
use crate::history::{NoEvents, Observer};

/// An execution before it is run; made by [`Engine::execution`].
///
/// ```
/// use quickstep::{Engine, StateMachine};
///
/// let machine = StateMachine::compile(
///     r#"{"StartAt": "A", "States": {"A": {
///         "Type": "Pass", "Parameters": {"name.$": "$$.Execution.Name"}, "End": true}}}"#,
/// )
/// .expect("the definition is valid");
/// let engine = Engine::builder().build()?;
/// let result = engine.execution(&machine).name("order-17").run(b"{}")?;
/// assert_eq!(result.output.as_deref(), Some(r#"{"name":"order-17"}"#));
/// assert_eq!(result.name(), "order-17");
/// # Ok::<(), quickstep::engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "an execution starts with run"]
pub struct ExecutionRequest<'a> {
    engine: &'a Engine,
    pub(super) machine: &'a StateMachine,
    pub(super) name: Option<&'a str>,
    pub(super) seed: Option<u64>,
}

impl<'a> ExecutionRequest<'a> {
    pub(super) fn new(engine: &'a Engine, machine: &'a StateMachine) -> ExecutionRequest<'a> {
        ExecutionRequest {
            engine,
            machine,
            name: None,
            seed: None,
        }
    }

    /// Its name, which handlers and the context object see; a UUID unless this is called. As with EXPRESS executions on
    /// AWS, several may have the same.
    pub fn name(mut self, name: &'a str) -> ExecutionRequest<'a> {
        self.name = Some(name);
        self
    }

    /// What its randomness comes from; derived from the engine's seed unless this is called. Runs with the same seed draw
    /// the same numbers.
    pub fn seed(mut self, seed: u64) -> ExecutionRequest<'a> {
        self.seed = Some(seed);
        self
    }

    /// Runs it to its end, on this thread. A failure of the execution is a result, not an error.
    ///
    /// # Errors
    ///
    /// If the input is not JSON, or larger than [`PAYLOAD_BYTES_MAX`](crate::interp::PAYLOAD_BYTES_MAX), or the name is
    /// none that [`check_name`] lets pass.
    pub fn run(self, input: &[u8]) -> Result<ExecutionResult, Error> {
        self.run_with(input, &mut NoEvents)
    }

    /// Runs it to its end, and shows its events to `observer`.
    ///
    /// # Errors
    ///
    /// As [`ExecutionRequest::run`].
    pub fn run_with<O: Observer>(
        self,
        input: &[u8],
        observer: &mut O,
    ) -> Result<ExecutionResult, Error> {
        if let Some(name) = self.name {
            check_name(name)?;
        }
        self.engine.run_request(&self, input, observer)
    }
}
