//! [`StateMachine`]: a definition, compiled.

use std::fmt;
use std::sync::Arc;

use crate::asl::{self, Diagnostic, MachineType, Severity};
use crate::compile;
use crate::interp::MachineIdentity;
use crate::program::Program;

/// A state machine: compiled once, run any number of times. Cloning it copies a pointer.
///
/// ```
/// use quickstep::StateMachine;
///
/// let machine = StateMachine::compile(r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#);
/// assert_eq!(machine.unwrap().name(), "StateMachine");
///
/// let problems = StateMachine::compile(r#"{"StartAt": "A", "States": {}}"#).unwrap_err();
/// assert!(problems.iter().any(|problem| problem.pointer == "/StartAt"));
/// ```
#[derive(Clone)]
pub struct StateMachine(Arc<Machine>);

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) program: Arc<Program>,
    pub(crate) identity: Arc<MachineIdentity>,
    warnings: Vec<Diagnostic>,
}

impl StateMachine {
    /// Compiles a definition in Amazon States Language as an EXPRESS machine.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the definition.
    pub fn compile(definition: &str) -> Result<StateMachine, Vec<Diagnostic>> {
        StateMachine::builder().compile(definition)
    }

    /// Compiles with a name, or as another type.
    #[must_use]
    pub fn builder() -> StateMachineBuilder {
        StateMachineBuilder {
            name: "StateMachine".into(),
            machine_type: MachineType::Express,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.identity.name
    }

    /// EXPRESS or STANDARD.
    #[must_use]
    pub fn machine_type(&self) -> MachineType {
        self.0.identity.machine_type
    }

    /// What its executions have in common.
    #[must_use]
    pub fn identity(&self) -> &Arc<MachineIdentity> {
        &self.0.identity
    }

    /// What it was compiled to; its `Display` is a listing.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.0.program
    }

    /// What is odd about the definition, though it can be run.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.0.warnings
    }

    pub(crate) fn machine(&self) -> &Arc<Machine> {
        &self.0
    }
}

impl fmt::Debug for StateMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateMachine").field(&self.name()).finish()
    }
}

/// Made by [`StateMachine::builder`].
#[derive(Clone, Debug)]
pub struct StateMachineBuilder {
    name: Box<str>,
    machine_type: MachineType,
}

impl StateMachineBuilder {
    /// Its name, which is part of ARNs and of the context object.
    #[must_use]
    pub fn name(mut self, name: &str) -> StateMachineBuilder {
        self.name = name.into();
        self
    }

    /// EXPRESS, unless this is called: at most five minutes, and no `.sync`, `.waitForTaskToken` or activities.
    #[must_use]
    pub fn machine_type(mut self, machine_type: MachineType) -> StateMachineBuilder {
        self.machine_type = machine_type;
        self
    }

    /// Compiles a definition.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the definition.
    pub fn compile(self, definition: &str) -> Result<StateMachine, Vec<Diagnostic>> {
        let reading = asl::read(definition, self.machine_type);
        let Some(model) = reading.definition else {
            return Err(reading.diagnostics);
        };
        let mut diagnostics = reading.diagnostics;
        diagnostics.extend(asl::unsupported(&model));
        if diagnostics.iter().any(|d| d.severity == Severity::Error) {
            return Err(diagnostics);
        }
        Ok(StateMachine(Arc::new(Machine {
            program: Arc::new(compile::compile(&model)),
            identity: Arc::new(MachineIdentity::local(&self.name, self.machine_type)),
            warnings: diagnostics,
        })))
    }
}
