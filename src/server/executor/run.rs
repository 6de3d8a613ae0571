//! [`Executor`]: starts executions on the engine, knows those of which a history is kept, takes in answers.

use std::future::poll_fn;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::super::error::ApiError;
use super::super::ids::Ids;
use super::clients::{self, Activities, HandOn, Places, TokenError};
use super::deploy::{Deployed, Deployments, Home, MachineKey, TaskSource};
use super::durable::{Keeping, StoredRevision};
use super::express::{Express, Kept};
use super::live::{Ended, History, Live, LiveParts, OnDisk, State, waiting};
use super::logs::{FLUSH_INTERVAL, LogGroups, LogPlace, LogTarget};
use super::registry::{Registry, Taken};
use super::{Finished, Origin, StartRequest, Started};
use crate::aws;
use crate::engine::{
    self, Clock, DurabilityMode, Engine, ErrorKind, ExecutionResult, JournalOptions, Limit, Limits,
};
use crate::history::Failure;
use crate::interp::{Invocation, PAYLOAD_BYTES_MAX};
use crate::log::Rotation;
use crate::metrics::{Api, Metrics};
use crate::runtime::Heard;
use crate::runtime::outlet::{Group, Outlet};
use crate::runtime::seat::{Beginning, FirstTurn, Resumption};
use crate::runtime::ticket::{NoResult, Ticket};
use crate::stdx::{FixedMap, Timestamp};
use crate::store::{
    ExecutionStore, Logging, MachineKind, Revision, RevisionRecord, StoreError, StoreErrorKind,
};
use crate::task::{TaskAnswer, lock};
use crate::value::Doc;

/// Threads that may wait for the disk at a time, where there are few.
const WAITING_MIN: usize = 64;

/// The same for each thread that there would be otherwise: at most, and where there are many.
const WAITING_FACTORS: (usize, usize) = (16, 4);

/// How long executions that have ended are kept on the disk: as long as AWS keeps them.
const RETENTION_MILLIS: i64 = 90 * 24 * 60 * 60 * 1_000;

/// How often those that are older are removed.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How often an execution is looked for that is neither known nor ended on the disk.
const LOOKS_MAX: usize = 3;

/// Executions on the disk that are looked at in one go.
const LOOK_MAX: usize = 100;

/// Runs executions.
#[derive(Debug)]
pub(crate) struct Executor {
    engine: Engine,
    ids: Arc<Ids>,
    deployments: Deployments,
    registry: Arc<Registry>,
    activities: Arc<Activities>,
    logs: Arc<LogGroups>,
    places: Arc<Places>,
    /// Where STANDARD executions are kept, if they are to outlive the process.
    store: Option<Arc<ExecutionStore>>,
    /// Revisions that executions on the disk refer to.
    revisions: Mutex<FixedMap<Box<str>, Arc<Revision>>>,
    /// What is kept of EXPRESS executions that nobody waits for, if they are to outlive the process.
    express: Option<Express>,
    /// How many EXPRESS executions are known after their end: 0 if their histories are not kept.
    express_max: usize,
    serial: AtomicU64,
}

/// What an executor is made with.
#[derive(Debug)]
pub(crate) struct ExecutorOptions<'a> {
    pub(crate) ids: Arc<Ids>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: TaskSource,
    pub(crate) home: Home<'a>,
    pub(crate) limits: Limits,
    pub(crate) logs: LogTarget,
    pub(crate) rotation: Rotation,
    /// CloudWatch Logs, if events go there as well.
    pub(crate) cloudwatch: Option<aws::Client>,
    pub(crate) express_history: usize,
    pub(crate) store: Option<Arc<ExecutionStore>>,
    /// How many executions in it have not ended.
    pub(crate) found: usize,
    pub(crate) express: Option<ExpressOptions<'a>>,
}

/// Where EXPRESS executions that nobody waits for are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpressOptions<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) journal: JournalOptions,
}

/// A task that an activity worker has taken.
#[derive(Debug)]
pub(crate) struct ActivityTask {
    pub(crate) token: String,
    pub(crate) input: String,
}

/// The engine on whose workers what waits goes on.
fn engine_of(options: &ExecutorOptions<'_>) -> Result<Engine, engine::Error> {
    let threads = tokio::runtime::Handle::current().metrics().num_workers();
    let builder = Engine::builder();
    let (builder, seats) = match &options.store {
        None => (builder, threads),
        // These wait for the disk now and then, and several that wait share one write.
        Some(_) => {
            let (most, many) = WAITING_FACTORS;
            let waiting = (threads * most).min(WAITING_MIN).max(threads * many);
            (builder.workers(waiting), waiting)
        }
    };
    let builder = match &options.express {
        None => builder,
        Some(express) => builder
            .durability(DurabilityMode::Durable(express.directory.join("journal")))
            .journal_options(express.journal),
    };
    let engine = builder
        .clock(Arc::clone(&options.clock))
        .limits(options.limits)
        .found(options.found)
        .seed(options.ids.seed())
        .seats(seats)
        .build()?;
    engine.launch()?;
    Ok(engine)
}

impl Executor {
    /// Must be called on a tokio runtime: its threads begin executions.
    pub(crate) fn new(options: ExecutorOptions<'_>) -> Result<Executor, engine::Error> {
        let engine = engine_of(&options)?;
        let ids = options.ids;
        let express = options.express.map(|express| {
            let opened = Express::open(express.directory, engine.found_unfinished());
            opened.map_err(|error| engine::Error::new(ErrorKind::Journal, error.to_string()))
        });
        let express = express.transpose()?;
        let recorders = engine.threads();
        let place = LogPlace {
            target: options.logs,
            rotation: options.rotation,
            cloudwatch: options.cloudwatch,
            unique: ids.uuid(),
        };
        let logs = LogGroups::new(place, &options.clock, recorders);
        let logs = Arc::new(logs);
        let figures = Arc::downgrade(&logs);
        engine.metrics().add_log(move || {
            let logs = figures.upgrade();
            logs.map(|logs| logs.figures()).unwrap_or_default()
        });
        let flushed = Arc::downgrade(&logs);
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(FLUSH_INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                let Some(logs) = flushed.upgrade() else {
                    return;
                };
                logs.flush();
            }
        });
        if let Some(store) = &options.store {
            tokio::spawn(remove_old(
                Arc::downgrade(store),
                Arc::clone(&options.clock),
            ));
        }
        let activities = Arc::<Activities>::default();
        let places = Arc::<Places>::default();
        let clients = HandOn {
            activities: Arc::clone(&activities),
            places: Arc::clone(&places),
            engine: engine.clone(),
        };
        Ok(Executor {
            deployments: Deployments::new(&engine, &logs, clients, options.tasks, options.home),
            engine,
            ids,
            registry: Arc::new(Registry::new(options.express_history)),
            activities,
            logs,
            places,
            store: options.store,
            revisions: Mutex::default(),
            express,
            express_max: options.express_history,
            serial: AtomicU64::new(1),
        })
    }

    /// Makes a machine ready.
    pub(crate) fn deploy(&self, key: MachineKey<'_>) -> Result<Arc<Deployed>, ApiError> {
        self.deployments.get(key)
    }

    /// Opens the log that a configuration asks for: an error if it cannot be.
    pub(crate) fn check_logging(&self, logging: &Logging) -> Result<(), ApiError> {
        self.logs.log(logging).map(|_| ())
    }

    /// What the engine counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        self.engine.metrics()
    }

    /// True if histories of EXPRESS executions are kept.
    pub(crate) fn keeps_express(&self) -> bool {
        self.express_max > 0
    }

    /// Takes nothing in any more, gives up what is under way, and writes what was logged. Returns how many executions
    /// had not ended and are lost.
    pub(crate) fn close(&self) -> usize {
        self.deployments.close();
        let report = self.engine.shutdown(Duration::ZERO);
        self.logs.close();
        let unfinished = report.journal.map_or(0, |journal| journal.unfinished);
        let left = report.left.saturating_sub(self.kept_under_way(unfinished));
        match &self.store {
            None => left,
            Some(store) => {
                store.close();
                left.saturating_sub(self.registry.running())
            }
        }
    }

    /// Runs an EXPRESS execution to its end.
    pub(crate) async fn run_sync(&self, request: StartRequest<'_>) -> Result<Finished, ApiError> {
        let admitted = self
            .engine
            .make_room(Api::StartSyncExecution, request.input.as_bytes())
            .map_err(|error| of_start(&error, "ThrottlingException"))?;
        let (seed, at) = (self.ids.seed(), self.engine.now());
        let identity = &request.deployed.bound.identity;
        let arn = identity.execution_arn(request.name, seed);
        let own;
        let group = match self.express_max {
            0 => &request.deployed.synchronous,
            _ => {
                let live = self.live(&request, &arn, at);
                // No other has its ARN.
                self.registry.take(&live);
                own = group_of(&live, &request.deployed, Invocation::Synchronous);
                &own
            }
        };
        let beginning = Beginning {
            group,
            input: request.input.as_bytes(),
            name: request.name,
            seed,
            at,
        };
        let begun = self.engine.begin(beginning, admitted);
        let result = match begun.map_err(|error| of_start(&error, "ThrottlingException")) {
            Ok(FirstTurn::Ended(result)) => result,
            Ok(FirstTurn::Waits(ticket)) => ended(&ticket).await?,
            Err(error) => {
                if let Some(live) = self.registry.get(&arn) {
                    live.withdraw(at, &error);
                }
                return Err(error);
            }
        };
        Ok(Finished {
            arn,
            started: result.start_time,
            memory: result.memory_bytes,
            ended: result.into(),
        })
    }

    /// Runs a definition that is of no state machine to its end, or for five minutes.
    pub(crate) async fn run_alone(
        &self,
        definition: &str,
        name: &str,
        input: &str,
    ) -> Result<Ended, ApiError> {
        let revision = Revision::new(RevisionRecord {
            id: None,
            definition: definition.into(),
            role_arn: "".into(),
            logging: Logging::off(),
            tracing: false,
            updated_ms: 0,
        });
        let key = MachineKey {
            name,
            kind: MachineKind::Express,
            revision: &revision,
            test_case: None,
        };
        let deployed = self.deployments.compile(key, MachineKind::Standard)?;
        let admitted = self
            .engine
            .make_room(Api::StartSyncExecution, input.as_bytes())
            .map_err(|error| of_start(&error, "ThrottlingException"))?;
        let beginning = Beginning {
            group: &deployed.synchronous,
            input: input.as_bytes(),
            name: "TestState",
            seed: self.ids.seed(),
            at: self.engine.now(),
        };
        let begun = self.engine.begin(beginning, admitted);
        match begun.map_err(|error| of_start(&error, "ThrottlingException"))? {
            FirstTurn::Ended(result) => Ok(result.into()),
            FirstTurn::Waits(ticket) => ended(&ticket).await.map(Into::into),
        }
    }

    /// Starts an execution that nobody waits for. What is to outlive the process is not on the disk yet: whoever asks is to wait
    /// until the start can be acknowledged.
    pub(crate) fn begin(&self, request: StartRequest<'_>) -> Result<Begun, ApiError> {
        if request.origin.kind == MachineKind::Express && self.express.is_some() {
            return self.start_one_kept(&request);
        }
        let limit = |error: &engine::Error| of_start(error, "ExecutionLimitExceeded");
        let input = request.input.as_bytes();
        let admitted = self
            .engine
            .make_room(Api::StartExecution, input)
            .map_err(|error| limit(&error))?;
        let seed = self.ids.seed();
        let arn = request
            .deployed
            .bound
            .identity
            .execution_arn(request.name, seed);
        let at = self.engine.now();
        let begin = |group: &Arc<Group>| {
            let beginning = Beginning {
                group,
                input,
                name: request.name,
                seed,
                at,
            };
            // Whatever comes of it, nobody waits for it.
            self.engine.begin(beginning, admitted).map(|_| ())
        };
        if request.origin.kind == MachineKind::Express && self.express_max == 0 {
            begin(&request.deployed.asynchronous).map_err(|error| limit(&error))?;
            return Ok(Begun::at_once(Started::New { arn, at }));
        }
        // Before it has its name, so that a second start of that name is told of one that there is.
        check_input(request.input)?;
        let live = self.live(&request, &arn, at);
        match self.registry.take(&live) {
            Taken::New => {}
            Taken::Same(known) => {
                let started = Started::New {
                    arn,
                    at: known.started,
                };
                return Ok(Begun::new(started, known));
            }
            Taken::Other => return Ok(Begun::at_once(Started::Taken { arn })),
        }
        // What has ended has its name on the disk, and since before it had it no more here.
        match self.name_on_disk(&live) {
            Ok(Name::Free) => {}
            Ok(Name::Taken) => {
                live.withdraw(at, &ApiError::execution_exists(&arn));
                return Ok(Begun::at_once(Started::Taken { arn }));
            }
            Err(error) => {
                let error = ApiError::from(error);
                live.withdraw(at, &error);
                return Err(error);
            }
        }
        let group = group_of(&live, &request.deployed, Invocation::Asynchronous);
        if let Err(error) = begin(&group) {
            let error = limit(&error);
            live.withdraw(at, &error);
            return Err(error);
        }
        Ok(Begun::new(Started::New { arn, at }, live))
    }

    /// Whether a name is taken by an execution that has ended. The executions of a machine that was deleted do not keep
    /// names from those of its successor.
    fn name_on_disk(&self, live: &Live) -> Result<Name, StoreError> {
        let Some(keeping) = &live.keeping else {
            return Ok(Name::Free);
        };
        let Some((serial, record)) = keeping.store.find(&live.arn)? else {
            return Ok(Name::Free);
        };
        if record.machine_created_ms == live.origin.machine_created_ms || record.ended.is_none() {
            return Ok(Name::Taken);
        }
        lock(&live.state).replaces = Some((serial, record.machine));
        Ok(Name::Free)
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn express(&self) -> Option<&Express> {
        self.express.as_ref()
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What an execution's randomness is to come from.
    pub(super) fn seed(&self) -> u64 {
        self.ids.seed()
    }

    pub(super) fn machine_arn(&self, name: &str) -> String {
        self.deployments.machine_arn(name)
    }

    pub(super) fn live(
        &self,
        request: &StartRequest<'_>,
        arn: &str,
        started: Timestamp,
    ) -> Arc<Live> {
        let deployed = &request.deployed;
        let keeping = match (request.origin.kind, &self.store) {
            (MachineKind::Standard, Some(store)) => {
                let stored = || Arc::new(StoredRevision::new(&self.ids, deployed));
                Some(Keeping {
                    store: Arc::clone(store),
                    revision: Arc::clone(deployed.stored.get_or_init(stored)),
                })
            }
            _ => None,
        };
        self.make_live(LiveParts {
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
            arn: arn.into(),
            name: request.name.into(),
            input: request.input.into(),
            trace_header: request.trace_header.map(Into::into),
            started,
            origin: request.origin.clone(),
            log: deployed.log.clone(),
            keeping,
            state: State::new(History::new(qualifiers(request.origin))),
        })
    }

    pub(super) fn make_live(&self, parts: LiveParts) -> Arc<Live> {
        let is_over = parts.state.ended.is_some();
        let is_given = parts.state.is_given && parts.state.redriven_from.is_none();
        let on_disk = match is_given || parts.keeping.is_none() {
            true => OnDisk::Yes,
            false => OnDisk::NotYet,
        };
        Arc::new_cyclic(|itself| Live {
            serial: parts.serial,
            arn: parts.arn,
            name: parts.name,
            input: parts.input,
            trace_header: parts.trace_header,
            started: parts.started,
            origin: parts.origin,
            log: parts.log,
            keeping: parts.keeping,
            registry: Arc::downgrade(&self.registry),
            itself: itself.clone(),
            state: Mutex::new(parts.state),
            on_disk: Mutex::new(on_disk),
            over: AtomicBool::new(is_over),
            changed: Notify::new(),
        })
    }

    /// Makes an execution known that another process has begun.
    pub(super) fn restored(&self, parts: LiveParts) -> Arc<Live> {
        let live = self.make_live(parts);
        self.registry.take(&live);
        live
    }

    /// Serial numbers up to that one are taken.
    pub(super) fn count_on_from(&self, serial: u64) {
        self.serial.fetch_max(serial + 1, Ordering::Relaxed);
    }

    pub(super) fn revisions(&self) -> &Mutex<FixedMap<Box<str>, Arc<Revision>>> {
        &self.revisions
    }

    /// Lets an execution go on that another process has begun.
    pub(super) fn resume_on_engine(
        &self,
        resumption: &Resumption<'_>,
    ) -> Result<(), engine::Error> {
        let moved = self.engine.resume(resumption);
        if let Some((named, place)) = moved? {
            self.places.moved(&self.engine, named, place);
        }
        Ok(())
    }

    /// Where STANDARD executions are kept.
    pub(super) fn store(&self) -> Option<&Arc<ExecutionStore>> {
        self.store.as_ref()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// An execution of which a history is kept.
    pub(crate) fn find(&self, arn: &str) -> Result<Option<Arc<Live>>, StoreError> {
        for _ in 0..LOOKS_MAX {
            let found = self.registry.get(arn);
            let (None, Some(store)) = (&found, &self.store) else {
                return Ok(found);
            };
            match waiting(|| store.find(arn))? {
                Some((serial, record)) if record.ended.is_some() => {
                    return self.of_disk(serial, record);
                }
                // It has ended or was redriven between the two looks.
                Some(_) => {}
                None => return Ok(None),
            }
        }
        let message = format!("the last state of the execution {arn} could not be kept");
        Err(StoreError::new(StoreErrorKind::Io, message))
    }

    /// Some executions of a machine that were started before the one with a serial number, the latest first; none if
    /// there are no more.
    pub(crate) fn of_machine(
        &self,
        machine: &str,
        kind: MachineKind,
        before: u64,
    ) -> Result<Vec<Arc<Live>>, StoreError> {
        let store = match (kind, &self.store) {
            (MachineKind::Standard, Some(store)) => store,
            _ => return Ok(self.registry.of_machine(machine, before)),
        };
        let mut found = Vec::new();
        for (serial, record) in waiting(|| store.of_machine(machine, before, LOOK_MAX))? {
            // What is not known here has ended, also if it had not when the file was looked at.
            let known = self.registry.get(&record.arn);
            let live = match known.filter(|live| live.serial == serial) {
                Some(live) => Some(live),
                None if record.ended.is_some() => self.of_disk(serial, record)?,
                None => match store.find(&record.arn)? {
                    Some((again, record)) if again == serial => self.of_disk(serial, record)?,
                    _ => None,
                },
            };
            found.extend(live);
        }
        Ok(found)
    }

    /// Ends an execution; it may have ended already. Returns when it ended. An error says that its end is not on the disk.
    pub(crate) async fn stop(&self, live: &Live, failure: Failure) -> Result<Timestamp, ApiError> {
        if let Some(place) = live.place().await {
            // If it has ended meanwhile, it says so at once.
            self.engine.stop(place, failure);
        }
        let ended = live.wait().await;
        match live.lost() {
            None => Ok(ended.at),
            Some(why) => Err(ApiError::internal(why.message)),
        }
    }

    /// Takes in what a client says of a task.
    pub(crate) async fn answer(&self, token: &str, answer: TaskAnswer) -> Result<(), TokenError> {
        let token = clients::token(token)?;
        match self.places.tell(&self.engine, &token, answer).await {
            Heard::Taken => Ok(()),
            Heard::Unwanted => Err(TokenError::TimedOut),
            Heard::NotKept => Err(TokenError::NotKept),
        }
    }

    /// Waits for a task of an activity.
    pub(crate) async fn wait_task(
        &self,
        arn: &str,
        worker_name: Option<&str>,
        mut closing: watch::Receiver<bool>,
        time_max: Duration,
    ) -> Option<ActivityTask> {
        let queue = self.activities.queue(arn);
        let deadline = tokio::time::sleep(time_max);
        tokio::pin!(deadline);
        loop {
            let arrived = queue.arrived.notified();
            while let Some(offer) = queue.pop() {
                let started = TaskAnswer::Started(worker_name.map(str::to_owned));
                // One that has timed out meanwhile is passed over.
                let heard = self.places.tell(&self.engine, &offer.token, started);
                if heard.await == Heard::Taken {
                    return Some(ActivityTask {
                        token: offer.token.as_str().to_owned(),
                        input: offer.input,
                    });
                }
            }
            tokio::select! {
                () = arrived => {}
                () = &mut deadline => return None,
                _ = closing.wait_for(|closing| *closing) => return None,
            }
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.deployments.close();
        // What is under way refers to the engine: it would never end.
        self.engine.shutdown(Duration::ZERO);
        if let Some(store) = &self.store {
            store.close();
        }
    }
}

/// The group of an execution of which a history is kept: it alone.
pub(super) fn group_of(
    live: &Arc<Live>,
    deployed: &Deployed,
    invocation: Invocation,
) -> Arc<Group> {
    Arc::new(Group {
        bound: Arc::clone(&deployed.bound),
        outlet: Arc::clone(live) as Arc<dyn Outlet>,
        invocation,
    })
}

/// Removes what has ended long enough ago, until the store is gone.
async fn remove_old(store: Weak<ExecutionStore>, clock: Arc<dyn Clock>) {
    let mut interval = tokio::time::interval(RETENTION_INTERVAL);
    loop {
        interval.tick().await;
        let Some(store) = store.upgrade() else {
            return;
        };
        store.remove_before(clock.timestamp().millis() - RETENTION_MILLIS);
    }
}

/// A start, until it can be acknowledged.
#[derive(Debug)]
pub(crate) struct Begun {
    started: Started,
    on_disk: OnDiskFirst,
}

/// What has to be on the disk before a start is acknowledged.
#[derive(Debug)]
enum OnDiskFirst {
    Nothing,
    /// The record of a STANDARD execution.
    Record(Arc<Live>),
    /// The journal's.
    Journal(Kept),
}

impl Begun {
    pub(super) const fn new(started: Started, live: Arc<Live>) -> Begun {
        Begun {
            started,
            on_disk: OnDiskFirst::Record(live),
        }
    }

    pub(super) const fn journaled(started: Started, kept: Kept) -> Begun {
        Begun {
            started,
            on_disk: OnDiskFirst::Journal(kept),
        }
    }

    pub(super) const fn at_once(started: Started) -> Begun {
        Begun {
            started,
            on_disk: OnDiskFirst::Nothing,
        }
    }

    /// Whether something has to be on the disk before it is acknowledged.
    pub(crate) fn has_to_wait(&self) -> bool {
        match &self.on_disk {
            OnDiskFirst::Nothing => false,
            OnDiskFirst::Record(live) => live.keeping.is_some(),
            OnDiskFirst::Journal(_) => true,
        }
    }

    /// What came of it. An error if it could not be kept: what is not on the disk is not acknowledged.
    pub(crate) async fn acknowledged(self) -> Result<Started, ApiError> {
        match self.on_disk {
            OnDiskFirst::Nothing => {}
            OnDiskFirst::Record(live) => live.is_on_disk().await?,
            OnDiskFirst::Journal(mut kept) => kept.wait().await?,
        }
        Ok(self.started)
    }
}

/// Whether an execution can have a name.
enum Name {
    Free,
    Taken,
}

/// The end of an execution that goes on with the workers.
async fn ended(ticket: &Ticket) -> Result<ExecutionResult, ApiError> {
    let result = poll_fn(|context| ticket.poll(context.waker())).await;
    result.map_err(|no_result| match no_result {
        NoResult::Abandoned => closing(),
        NoResult::Lost | NoResult::Given => {
            ApiError::internal("A defect of quickstep: the execution was lost")
        }
        NoResult::Refused(error) => invalid_input(&error.to_string()),
    })
}

pub(super) fn closing() -> ApiError {
    ApiError::new("ServiceUnavailable", "The server is shutting down").with_status(503)
}

/// Why an execution was not started. `too_many` is the error for too many at a time.
pub(super) fn of_start(error: &engine::Error, too_many: &'static str) -> ApiError {
    match (error.kind(), error.throttled()) {
        (_, Some(throttled)) => match throttled.limit {
            Limit::Executions => {
                ApiError::new(too_many, format!("Execution Limit Exceeded: {error}"))
            }
            Limit::InputBytes | Limit::StartRate | Limit::Journal => {
                ApiError::new("ThrottlingException", format!("Rate exceeded: {error}"))
            }
            Limit::Closed => closing(),
        },
        (ErrorKind::InvalidInput, None) => invalid_input(&error.to_string()),
        _ => ApiError::internal(error.to_string()),
    }
}

/// AWS's error for an input that is not JSON.
fn invalid_input(error: &str) -> ApiError {
    ApiError::new(
        "InvalidExecutionInput",
        format!("Invalid State Machine Execution Input: '{error}'"),
    )
}

/// Whether an execution can be started with an input.
pub(super) fn check_input(input: &str) -> Result<(), ApiError> {
    let mut doc = Doc::new();
    let val = doc.ingest(input.as_bytes());
    let val = val.map_err(|error| invalid_input(&error.to_string()))?;
    let constants = Doc::new();
    let values = crate::value::Values {
        doc: &doc,
        constants: &constants,
    };
    let size = values.size(val);
    match size <= PAYLOAD_BYTES_MAX {
        true => Ok(()),
        false => {
            let error = crate::interp::StartError::InputTooLarge(size);
            Err(invalid_input(&error.to_string()))
        }
    }
}

/// `stateMachineAliasArn` and `stateMachineVersionArn`, as they are added to the first event's details.
pub(super) fn qualifiers(origin: &Origin) -> Vec<u8> {
    let mut members = Vec::new();
    for (name, arn) in [
        ("stateMachineAliasArn", &origin.alias_arn),
        ("stateMachineVersionArn", &origin.version_arn),
    ] {
        if let Some(arn) = arn {
            members.extend_from_slice(
                format!(",\"{name}\":\"{}\"", crate::value::escape(arn)).as_bytes(),
            );
        }
    }
    members
}
