//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::watch;

use super::arn::{Arn, Qualifier};
use super::auth::Verifier;
use super::error::ApiError;
use super::executor::{Executor, MachineKey, Origin};
use super::ids::Ids;
use super::local::LocalMachines;
use super::metrics::ServerMetrics;
use crate::engine::Clock;
use crate::stdx::Timestamp;
use crate::store::{Catalogue, Machine, Revision};

/// The server without its sockets.
#[derive(Debug)]
pub(crate) struct App {
    /// No other of this process has it.
    pub(crate) serial: u64,
    pub(crate) catalogue: Catalogue,
    pub(crate) executor: Arc<Executor>,
    /// This server's API, for its own tasks.
    pub(super) machines: Arc<LocalMachines>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Checks signatures, if requests have to be signed.
    pub(crate) verifier: Option<Verifier>,
    pub(crate) region: Box<str>,
    pub(crate) account: Box<str>,
    /// Bytes of the bodies of requests that are being read or done.
    pub(crate) bodies: AtomicUsize,
    pub(crate) body_time_max: Duration,
    pub(crate) request_bytes_max: usize,
    pub(crate) bodies_bytes_max: usize,
    pub(crate) metrics: ServerMetrics,
    /// Whether everybody may read the metrics.
    pub(crate) open_metrics: bool,
    /// True once the server is to end.
    pub(crate) closing: watch::Sender<bool>,
}

/// What a `stateMachineArn` stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) name: &'a str,
    pub(crate) qualifier: Option<Qualifier<'a>>,
    /// What follows a `#`.
    pub(crate) test_case: Option<&'a str>,
    /// The text without it.
    pub(crate) text: &'a str,
}

impl<'a> Target<'a> {
    /// Reads the ARN of a machine, a version or an alias.
    pub(crate) fn parse(text: &'a str) -> Result<Target<'a>, ApiError> {
        match Arn::parse(text)? {
            Arn::StateMachine { name, qualifier } => Ok(Target {
                name,
                qualifier,
                test_case: None,
                text,
            }),
            other => Err(other.out_of_place()),
        }
    }

    /// The same, maybe with a test case, as Step Functions Local has it.
    pub(crate) fn with_test_case(text: &'a str) -> Result<Target<'a>, ApiError> {
        match text.split_once('#') {
            None => Target::parse(text),
            Some((arn, case)) => Ok(Target {
                test_case: Some(case),
                ..Target::parse(arn)?
            }),
        }
    }
}

impl App {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.timestamp()
    }

    pub(crate) fn machine_arn(&self, name: &str) -> String {
        format!(
            "arn:aws:states:{}:{}:stateMachine:{name}",
            self.region, self.account
        )
    }

    pub(crate) fn version_arn(&self, name: &str, number: u64) -> String {
        format!("{}:{number}", self.machine_arn(name))
    }

    pub(crate) fn alias_arn(&self, name: &str, alias: &str) -> String {
        format!("{}:{alias}", self.machine_arn(name))
    }

    pub(crate) fn activity_arn(&self, name: &str) -> String {
        format!(
            "arn:aws:states:{}:{}:activity:{name}",
            self.region, self.account
        )
    }

    /// True if an ARN that was parsed names something of this region and account.
    pub(crate) fn is_home(&self, arn: &str) -> bool {
        let mut parts = arn.split(':').skip(3);
        parts.next() == Some(&*self.region) && parts.next() == Some(&*self.account)
    }

    /// Looks at the machine that a target names.
    pub(crate) fn machine<T>(
        &self,
        target: Target<'_>,
        look: impl FnOnce(&Machine) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let tables = self.catalogue.read();
        let found = tables.machines.get(target.name);
        match found.filter(|_| self.is_home(target.text)) {
            Some(machine) => look(machine),
            None => Err(ApiError::no_machine(target.text)),
        }
    }

    /// What an execution of a target runs.
    pub(crate) fn origin(&self, target: Target<'_>) -> Result<Origin, ApiError> {
        self.machine(target, |machine| {
            let missing = || ApiError::no_machine(target.text);
            let (version, alias) = match target.qualifier {
                None => (None, None),
                Some(Qualifier::Version(number)) => (Some(number), None),
                Some(Qualifier::Alias(name)) => {
                    let alias = machine.alias(name).ok_or_else(missing)?;
                    // Weights are of 100.
                    let mut point = (self.ids.seed() % 100) as u8;
                    let mut chosen = None;
                    for route in &alias.routes {
                        if point < route.weight {
                            chosen = Some(route.version);
                            break;
                        }
                        point -= route.weight;
                    }
                    (chosen, Some(name))
                }
            };
            let revision: Arc<Revision> = match version {
                None => Arc::clone(&machine.revision),
                Some(number) => Arc::clone(&machine.version(number).ok_or_else(missing)?.1),
            };
            Ok(Origin {
                machine: target.name.into(),
                machine_created_ms: machine.record.created_ms,
                kind: machine.record.kind,
                revision,
                machine_arn: self.machine_arn(target.name).into(),
                version_arn: version.map(|n| self.version_arn(target.name, n).into()),
                alias_arn: alias.map(|name| self.alias_arn(target.name, name).into()),
                test_case: target.test_case.map(Into::into),
            })
        })
    }

    /// The key with which an origin is deployed.
    pub(crate) fn key<'a>(&self, origin: &'a Origin, test_case: Option<&'a str>) -> MachineKey<'a> {
        MachineKey {
            name: &origin.machine,
            kind: origin.kind,
            revision: &origin.revision,
            test_case,
        }
    }
}
