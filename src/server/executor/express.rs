//! EXPRESS executions that nobody waits for, on disk: each runs at least once.
//!
//! 1. A start is looked at, appended to the journal and handed to the workers. Whoever asked for it is answered once it is on
//!    the disk, which many starts are at a time.
//! 2. It names its revision, which is on the disk before (`revisions`): it runs what its machine was when it was started,
//!    though the machine may have been changed or deleted when the server starts again.
//! 3. After a crash, starts without an end run again from their beginning, with their names and the number of the attempt. A
//!    thread of its own sees to that, while the server takes in new ones.
//!
//! A start whose revision is lost, or is one that this version of quickstep does not run, stays unfinished, and is told of.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::super::arn::{Arn, Qualifier};
use super::super::error::ApiError;
use super::deploy::{Deployed, MachineKey};
use super::live::waiting;
use super::revisions::{KeptRevision, Revisions};
use super::run::{Begun, Executor, check_input, closing, group_of, of_start};
use super::{Origin, StartRequest, Started};
use crate::engine::KeptStart;
use crate::interp::Invocation;
use crate::journal::UnfinishedStart;
use crate::runtime::outlet::Group;
use crate::stdx::{FixedSet, Timestamp};
use crate::store::{MachineKind, Revision, StoreError};

/// What is kept of these executions beside their journal.
#[derive(Debug)]
pub(super) struct Express {
    revisions: Revisions,
    /// Starts of earlier processes that do not run again yet.
    unrecovered: AtomicU64,
}

/// Says when starts are on the disk.
#[derive(Debug)]
pub(crate) struct Kept(oneshot::Receiver<Result<(), ApiError>>);

impl Kept {
    /// Waits until they are. Nothing is lost if this is not waited for to its end.
    pub(crate) async fn wait(&mut self) -> Result<(), ApiError> {
        (&mut self.0).await.unwrap_or_else(|_| Err(closing()))
    }
}

/// Starts of which some are accepted as soon as they are on the disk.
pub(crate) struct KeptStarts {
    /// The ARN of each, or why it was refused.
    pub(crate) arns: Vec<Result<String, ApiError>>,
    pub(crate) at: Timestamp,
    pub(crate) kept: Kept,
}

/// A start that was looked at.
struct Ready<'r> {
    request: &'r StartRequest<'r>,
    group: Arc<Group>,
    revision: u64,
    seed: u64,
    arn: String,
}

impl Express {
    pub(super) fn open(directory: &Path, unrecovered: u64) -> Result<Express, StoreError> {
        Ok(Express {
            revisions: Revisions::open(directory.join("revisions"))?,
            unrecovered: AtomicU64::new(unrecovered),
        })
    }

    /// The number of a start's revision, which is written if it has not been.
    fn revision(&self, request: &StartRequest<'_>) -> Result<u64, ApiError> {
        let known = &request.deployed.kept_revision;
        if let Some(number) = known.get() {
            return Ok(*number);
        }
        let origin = request.origin;
        let version = match origin.version_arn.as_deref().map(Arn::parse) {
            Some(Ok(Arn::StateMachine {
                qualifier: Some(Qualifier::Version(number)),
                ..
            })) => Some(number),
            _ => None,
        };
        let kept = KeptRevision {
            machine: origin.machine.clone(),
            machine_created_ms: origin.machine_created_ms,
            version,
            test_case: origin.test_case.clone(),
            revision: origin.revision.record.clone(),
        };
        let number = waiting(|| self.revisions.keep(&kept))?;
        Ok(*known.get_or_init(|| number))
    }
}

impl Executor {
    /// True if EXPRESS executions that nobody waits for are on disk before they are acknowledged.
    pub(crate) fn keeps_starts(&self) -> bool {
        self.express().is_some()
    }

    /// Starts EXPRESS executions that nobody waits for: all that are in order, or none of them.
    pub(crate) fn start_kept(&self, requests: &[StartRequest<'_>]) -> KeptStarts {
        let at = self.now();
        let looked_at = requests.iter().map(|request| self.ready(request, at));
        let mut looked_at: Vec<Result<Ready<'_>, ApiError>> = looked_at.collect();
        let (sender, receiver) = oneshot::channel();
        let starts: Vec<KeptStart<'_>> = looked_at.iter().flatten().map(Ready::start).collect();
        let acknowledge = move |result: Result<(), crate::engine::Error>| {
            // Whoever asked may have gone.
            let _ = sender.send(result.map_err(|error| of_start(&error, TOO_MANY)));
        };
        let started = match starts.is_empty() {
            true => {
                acknowledge(Ok(()));
                Ok(())
            }
            false => self.engine().start_kept(&starts, at, acknowledge),
        };
        drop(starts);
        if let Err(error) = started {
            let error = of_start(&error, TOO_MANY);
            for start in &mut looked_at {
                if let Ok(ready) = start {
                    self.withdraw_kept(&ready.arn, at, &error);
                    *start = Err(error.clone());
                }
            }
        }
        let arns = looked_at.into_iter();
        KeptStarts {
            arns: arns.map(|start| start.map(|ready| ready.arn)).collect(),
            at,
            kept: Kept(receiver),
        }
    }

    /// Starts one such execution.
    pub(super) fn start_one_kept(&self, request: &StartRequest<'_>) -> Result<Begun, ApiError> {
        let KeptStarts { mut arns, at, kept } = self.start_kept(std::slice::from_ref(request));
        match arns.pop() {
            Some(Ok(arn)) => Ok(Begun::journaled(Started::New { arn, at }, kept)),
            Some(Err(error)) => Err(error),
            None => Err(ApiError::internal(
                "A defect of quickstep: a start was lost",
            )),
        }
    }

    /// An execution that was known already has not been started after all.
    fn withdraw_kept(&self, arn: &str, at: Timestamp, why: &ApiError) {
        if let Some(live) = self.registry().get(arn) {
            live.withdraw(at, why);
        }
    }

    /// Looks at a start before it is appended: what is in the journal has to be one.
    fn ready<'r>(
        &self,
        request: &'r StartRequest<'r>,
        at: Timestamp,
    ) -> Result<Ready<'r>, ApiError> {
        let Some(express) = self.express() else {
            return Err(ApiError::internal(
                "A defect of quickstep: there is no journal",
            ));
        };
        check_input(request.input)?;
        let revision = express.revision(request)?;
        let seed = self.seed();
        let identity = &request.deployed.bound.identity;
        let arn = identity.execution_arn(request.name, seed);
        let group = self.group_of_kept(request, &arn, at);
        Ok(Ready {
            request,
            group,
            revision,
            seed,
            arn,
        })
    }

    fn group_of_kept(&self, request: &StartRequest<'_>, arn: &str, at: Timestamp) -> Arc<Group> {
        match self.keeps_express() {
            false => Arc::clone(&request.deployed.asynchronous),
            true => {
                let live = self.live(request, arn, at);
                // No other has its ARN.
                self.registry().take(&live);
                let group = group_of(&live, &request.deployed, Invocation::Asynchronous);
                Arc::new(Group {
                    bound: Arc::clone(&group.bound),
                    outlet: self.engine().journaled(Arc::clone(&group.outlet)),
                    invocation: group.invocation,
                })
            }
        }
    }

    /// Lets what an earlier process has left unfinished run again, on a thread of its own.
    pub(crate) fn recover(self: &Arc<Executor>) {
        let Some(express) = self.express() else {
            return;
        };
        let unfinished = express.unrecovered.load(Ordering::Relaxed);
        if unfinished > 0 {
            tracing::info!(
                unfinished,
                "EXPRESS executions of an earlier process run again"
            );
        }
        let engine = self.engine().clone();
        let executor = Arc::downgrade(self);
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new().name("quickstep-recovery".to_owned());
        let started = thread.spawn(move || {
            let _entered = runtime.enter();
            let mut recovering = Recovering::default();
            // It holds up nobody's end: the engine's ends it.
            let recovered = engine.recover_kept(&mut |start| {
                let executor = executor.upgrade()?;
                recovering.find(&executor, start)
            });
            let Some(executor) = executor.upgrade() else {
                return;
            };
            match recovered {
                Ok(()) => recovering.finish(&executor),
                Err(error) => {
                    tracing::error!(%error, "recovery has come to an end before all was recovered")
                }
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "what was left unfinished cannot run again");
        }
    }

    /// Executions under way that run again when the server is started next.
    pub(super) fn kept_under_way(&self, unfinished: u64) -> usize {
        let Some(express) = self.express() else {
            return 0;
        };
        let unrecovered = express.unrecovered.load(Ordering::Relaxed);
        usize::try_from(unfinished.saturating_sub(unrecovered)).unwrap_or(usize::MAX)
    }
}

/// The error for too many executions at a time.
const TOO_MANY: &str = "ExecutionLimitExceeded";

impl<'r> Ready<'r> {
    fn start(&self) -> KeptStart<'_> {
        let origin = self.request.origin;
        let aliased = origin
            .alias_arn
            .as_deref()
            .or(origin.version_arn.as_deref());
        KeptStart {
            group: &self.group,
            machine: aliased.unwrap_or(&origin.machine_arn),
            revision: self.revision,
            name: self.request.name,
            seed: self.seed,
            input: self.request.input.as_bytes(),
        }
    }
}

/// A revision of an earlier process, ready to run.
#[derive(Debug)]
struct Known {
    revision: Arc<Revision>,
    kept: KeptRevision,
    deployed: Arc<Deployed>,
}

/// What has been learnt in recovery.
#[derive(Debug, Default)]
struct Recovering {
    known: BTreeMap<u64, Option<Known>>,
    /// Starts that stay unfinished, by their revisions.
    stranded: BTreeMap<u64, u64>,
}

impl Recovering {
    /// The group in which a start runs again.
    fn find(&mut self, executor: &Executor, start: &UnfinishedStart<'_>) -> Option<Arc<Group>> {
        let number = start.revision;
        let known = self.known.entry(number).or_insert_with(|| {
            let known = Known::load(executor, number);
            known
                .inspect_err(|error| {
                    let machine = start.machine;
                    tracing::error!(machine, error = %error.message, "starts stay unfinished");
                })
                .ok()
        });
        let Some(known) = known else {
            *self.stranded.entry(number).or_default() += 1;
            return None;
        };
        if let Some(express) = executor.express() {
            express.unrecovered.fetch_sub(1, Ordering::Relaxed);
        }
        let Ok(input) = std::str::from_utf8(start.input) else {
            // It is refused, as it would have been at first.
            return Some(Arc::clone(&known.deployed.asynchronous));
        };
        let origin = known.origin(executor, start.machine);
        let request = StartRequest {
            origin: &origin,
            deployed: Arc::clone(&known.deployed),
            name: start.name,
            input,
            trace_header: None,
        };
        let arn = known
            .deployed
            .bound
            .identity
            .execution_arn(start.name, start.seed);
        Some(executor.group_of_kept(&request, &arn, executor.now()))
    }

    /// Says what could not be recovered, and forgets the revisions that nothing refers to any more.
    fn finish(self, executor: &Executor) {
        for (revision, starts) in &self.stranded {
            let revision = format!("{revision:016x}");
            tracing::error!(revision, starts, "starts stay unfinished in the journal");
        }
        let Some(express) = executor.express() else {
            return;
        };
        if let Err(error) = express
            .revisions
            .sweep(&self.known.into_keys().collect::<FixedSet<u64>>())
        {
            // It is tried again at the next start.
            tracing::warn!(%error, "revisions that are of no use any more could not be removed");
        }
    }
}

impl Known {
    fn load(executor: &Executor, number: u64) -> Result<Known, ApiError> {
        let Some(express) = executor.express() else {
            return Err(closing());
        };
        let kept = express.revisions.load(number)?;
        let revision = Revision::new(kept.revision.clone());
        let deployed = executor.deploy(MachineKey {
            name: &kept.machine,
            kind: MachineKind::Express,
            revision: &revision,
            test_case: kept.test_case.as_deref(),
        })?;
        Ok(Known {
            revision,
            kept,
            deployed,
        })
    }

    /// What was asked to be executed: `machine` is the ARN of the machine, of a version of it, or of an alias.
    fn origin(&self, executor: &Executor, machine: &str) -> Origin {
        let kept = &self.kept;
        let qualifier = match Arn::parse(machine) {
            Ok(Arn::StateMachine { qualifier, .. }) => qualifier,
            _ => None,
        };
        let base = executor.machine_arn(&kept.machine);
        Origin {
            machine: kept.machine.clone(),
            machine_created_ms: kept.machine_created_ms,
            kind: MachineKind::Express,
            revision: Arc::clone(&self.revision),
            version_arn: kept.version.map(|number| format!("{base}:{number}").into()),
            alias_arn: match qualifier {
                Some(Qualifier::Alias(_)) => Some(machine.into()),
                Some(Qualifier::Version(_)) | None => None,
            },
            machine_arn: base.into(),
            test_case: kept.test_case.clone(),
        }
    }
}
