//! From a revision of the catalogue to what an execution runs: a program, an identity, and handlers for its tasks.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::super::error::ApiError;
use super::clients::HandOn;
use super::durable::StoredRevision;
use super::logs::{Log, LogGroups};
use super::outlets::Logged;
use crate::asl::{self, Diagnostic, Severity};
use crate::compile::compile;
use crate::engine::Engine;
use crate::integration::Integrations;
use crate::interp::{Invocation, MachineIdentity};
use crate::program::Program;
use crate::runtime::outlet::{Group, Outlet};
use crate::runtime::ticket::Tickets;
use crate::runtime::turn::Bound;
use crate::stdx::FixedMap;
use crate::store::{MachineKind, Revision};
use crate::task::mock::MockSource;
use crate::task::{Services, TaskHandler, TaskRegistry, lock};

/// What answers tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskSource {
    /// Handlers of a program that embeds the server.
    pub(crate) registry: TaskRegistry,
    /// A file of answers.
    pub(crate) mocks: Option<MockSource>,
    /// Machines of which the file of answers speaks; nothing if it is not of that form.
    pub(crate) mocked: Option<Vec<String>>,
    /// Services, for what nobody else answers.
    pub(crate) services: Option<Arc<Integrations>>,
}

/// Where machines are at home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home<'a> {
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
}

/// A machine ready to be executed.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(super) bound: Arc<Bound>,
    pub(super) log: Option<Log>,
    /// The executions of which nothing is kept, by who waits for them.
    pub(super) synchronous: Arc<Group>,
    pub(super) asynchronous: Arc<Group>,
    /// The revision as executions on disk refer to it, once one does.
    pub(super) stored: OnceLock<Arc<StoredRevision>>,
    /// The number of the revision in the journal of EXPRESS executions, once one is there.
    pub(super) kept_revision: OnceLock<u64>,
}

impl Deployed {
    fn new(engine: &Engine, bound: Arc<Bound>, log: Option<Log>) -> Deployed {
        let outlet: Arc<dyn Outlet> = match &log {
            None => Arc::new(Tickets),
            Some(log) => Arc::new(Logged(log.clone())),
        };
        let group = |outlet, invocation| {
            Arc::new(Group {
                bound: Arc::clone(&bound),
                outlet,
                invocation,
            })
        };
        let journaled = engine.journaled(Arc::clone(&outlet));
        Deployed {
            synchronous: group(outlet, Invocation::Synchronous),
            asynchronous: group(journaled, Invocation::Asynchronous),
            bound,
            log,
            stored: OnceLock::new(),
            kept_revision: OnceLock::new(),
        }
    }
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
pub(super) struct Deployments {
    engine: Engine,
    logs: Arc<LogGroups>,
    /// Hands on the tasks of clients.
    clients: Arc<HandOn>,
    tasks: TaskSource,
    region: Box<str>,
    account: Box<str>,
    known: Mutex<Known>,
}

impl Deployments {
    pub(super) fn new(
        engine: &Engine,
        logs: &Arc<LogGroups>,
        clients: HandOn,
        tasks: TaskSource,
        home: Home<'_>,
    ) -> Deployments {
        Deployments {
            engine: engine.clone(),
            logs: Arc::clone(logs),
            clients: Arc::new(clients),
            tasks,
            region: home.region.into(),
            account: home.account.into(),
            known: Mutex::default(),
        }
    }

    /// Executions are given up: what services do for them goes on.
    pub(super) fn close(&self) {
        if let Some(services) = &self.tasks.services {
            services.close();
        }
    }

    /// Compiles a revision, once.
    pub(super) fn get(&self, key: MachineKey<'_>) -> Result<Arc<Deployed>, ApiError> {
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

    /// The ARN of a machine of that name.
    pub(super) fn machine_arn(&self, name: &str) -> String {
        let (region, account) = (&self.region, &self.account);
        format!("arn:aws:states:{region}:{account}:stateMachine:{name}")
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
        let mut registry = self.registry(key)?;
        if let Some(services) = &self.tasks.services {
            registry.set_services(Arc::clone(services) as Arc<dyn Services>);
        }
        registry.set_clients(Arc::clone(&self.clients) as Arc<dyn TaskHandler>);
        let futures = tokio::runtime::Handle::try_current().ok();
        let identity = MachineIdentity {
            name: key.name.into(),
            machine_type: key.kind.into(),
            region: self.region.clone(),
            account: self.account.clone(),
            role_arn: record.role_arn.clone(),
        };
        let log = self.logs.log(&record.logging)?;
        let engine = &self.engine;
        let bound = engine.deploy(program, identity, &registry, futures.as_ref());
        Ok(Deployed::new(engine, bound, log))
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
        let speaks_of_it = match &self.tasks.mocked {
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
