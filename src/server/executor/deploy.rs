//! From a revision of the catalogue to what an execution runs: a program, an identity, and handlers for its tasks.

use std::sync::{Arc, Mutex, Weak};

use super::super::error::ApiError;
use crate::asl::{self, Diagnostic, Severity};
use crate::compile::compile;
use crate::interp::MachineIdentity;
use crate::program::Program;
use crate::stdx::FixedMap;
use crate::store::{MachineKind, Revision};
use crate::task::mock::MockSource;
use crate::task::{Bindings, TaskRegistry, lock};

/// What answers tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskSource {
    /// Handlers of a program that embeds the server.
    pub(crate) registry: TaskRegistry,
    /// A file of answers.
    pub(crate) mocks: Option<MockSource>,
}

/// A machine ready to be executed.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) program: Program,
    pub(crate) identity: Arc<MachineIdentity>,
    pub(crate) bindings: Bindings,
}

/// Which machine is to be deployed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineKey<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: MachineKind,
    pub(crate) revision: &'a Arc<Revision>,
    /// Of the mocks: `stateMachineArn#TestCase`.
    pub(crate) test_case: Option<&'a str>,
}

/// Reads and compiles a definition, which must be one that can be run.
fn compiled(definition: &str, kind: MachineKind) -> Result<Program, Vec<Diagnostic>> {
    let reading = asl::read(definition, kind.into());
    let Some(model) = reading.definition else {
        return Err(reading.diagnostics);
    };
    let unsupported = asl::unsupported(&model);
    if unsupported.iter().any(|d| d.severity == Severity::Error) {
        return Err(unsupported);
    }
    Ok(compile(&model))
}

type Known = FixedMap<(u64, Option<Box<str>>), (Weak<Revision>, Arc<Deployed>)>;

/// Machines that were deployed, for as long as their revisions are there.
#[derive(Debug)]
pub(crate) struct Deployments {
    tasks: TaskSource,
    /// Machines of which the file of answers speaks; nothing if it is not of that form.
    mocked: Option<Vec<String>>,
    region: Box<str>,
    account: Box<str>,
    known: Mutex<Known>,
}

impl Deployments {
    pub(crate) fn new(
        tasks: TaskSource,
        mocked: Option<Vec<String>>,
        region: &str,
        account: &str,
    ) -> Deployments {
        Deployments {
            tasks,
            mocked,
            region: region.into(),
            account: account.into(),
            known: Mutex::default(),
        }
    }

    /// Compiles a revision, once.
    pub(crate) fn get(&self, key: MachineKey<'_>) -> Result<Arc<Deployed>, ApiError> {
        let id = (key.revision.serial, key.test_case.map(Into::into));
        if let Some((_, deployed)) = lock(&self.known).get(&id) {
            return Ok(Arc::clone(deployed));
        }
        let deployed = Arc::new(self.compile(key, key.kind)?);
        let mut known = lock(&self.known);
        known.retain(|_, (revision, _)| revision.strong_count() > 0);
        let held = (Arc::downgrade(key.revision), Arc::clone(&deployed));
        known.insert(id, held);
        Ok(deployed)
    }

    /// Compiles what may be said in a machine of type `reads`, to run it as one of the key's type.
    pub(super) fn compile(
        &self,
        key: MachineKey<'_>,
        reads: MachineKind,
    ) -> Result<Deployed, ApiError> {
        let record = &key.revision.record;
        let program = compiled(&record.definition, reads).map_err(|diagnostics| {
            let message = asl::aws_message(&diagnostics);
            ApiError::new("InvalidDefinition", message)
        })?;
        let registry = self.registry(key)?;
        let runtime = tokio::runtime::Handle::try_current().ok();
        Ok(Deployed {
            bindings: registry.bind(&program, runtime.as_ref()),
            program,
            identity: Arc::new(MachineIdentity {
                name: key.name.into(),
                machine_type: key.kind.into(),
                region: self.region.clone(),
                account: self.account.clone(),
                role_arn: record.role_arn.clone(),
            }),
        })
    }

    fn registry(&self, key: MachineKey<'_>) -> Result<TaskRegistry, ApiError> {
        let mut registry = self.tasks.registry.clone();
        let Some(mocks) = &self.tasks.mocks else {
            return match key.test_case {
                None => Ok(registry),
                Some(case) => Err(ApiError::validation(format!(
                    "the ARN names the test case {case}, but the server was started without --tasks FILE"
                ))),
            };
        };
        let speaks_of_it = match &self.mocked {
            Some(machines) => machines.iter().any(|name| name == key.name),
            None => true,
        };
        if !speaks_of_it && key.test_case.is_none() {
            return Ok(registry);
        }
        let mut source = mocks.clone();
        if let Some(case) = key.test_case {
            source.test_case = Some(case.to_owned());
        }
        source
            .load(key.name, &mut registry)
            .map_err(|error| ApiError::validation(error.to_string()))?;
        Ok(registry)
    }
}
