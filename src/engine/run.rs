//! [`Engine`]: starts executions, on the caller's thread or on the workers.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use super::builder::{EngineBuilder, Futures};
use super::durable::{Durable, JournalReport, Patience};
use super::error::{Error, ErrorKind};
use super::handle::{ExecutionHandle, ResultSink, StartRequest, ToSink, check_size, of_ticket};
use super::logged::{LoggedHere, Logs};
use super::machine::{Machine, StateMachine};
use crate::history::{NoEvents, Observer};
use crate::interp::{Invocation, Start};
use crate::jsonata::without_clock;
use crate::log;
use crate::metrics::{Api, Metrics, Throttle, Writer};
use crate::runtime::admission::{Limit, Refusals};
use crate::runtime::clock::Clock;
use crate::runtime::outlet::{Group, Outlet};
use crate::runtime::result::ExecutionResult;
use crate::runtime::start::StartBatch;
use crate::runtime::ticket::{Ticket, Tickets};
use crate::runtime::turn::{Bound, Driver, Run, Surroundings, Turn};
use crate::runtime::{Counts, Meta, Own, Shared, TurnHere, Worker, is_worker};
use crate::stdx::{FixedMap, Timestamp};
use crate::task::{Address, Answer, Inbox, TaskAnswer, TaskRegistry, TaskToken, ThreadInbox, lock};

/// Runs executions. It can be shared by any number of threads; cloning it copies a pointer.
///
/// ```
/// use quickstep::task::TaskRequest;
/// use quickstep::{Engine, StateMachine, Status};
///
/// let machine = StateMachine::compile(
///     r#"{"StartAt": "Quote", "States": {"Quote": {
///         "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:quote",
///         "ResultPath": "$.quote", "End": true}}}"#,
/// )
/// .expect("the definition is valid");
/// let engine = Engine::builder()
///     .task("arn:aws:lambda:*:function:quote", |_: &TaskRequest<'_>, response: &mut Vec<u8>| {
///         response.extend_from_slice(br#"{"cost": 9.90}"#);
///         Ok(())
///     })
///     .build()?;
/// let result = engine.run(&machine, br#"{"order": 1}"#)?;
/// assert_eq!(result.status, Status::Succeeded);
/// assert_eq!(result.output.as_deref(), Some(r#"{"order":1,"quote":{"cost":9.90}}"#));
/// # Ok::<(), quickstep::engine::Error>(())
/// ```
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    tasks: TaskRegistry,
    futures: Futures,
    metrics: Metrics,
    shared: Arc<Shared>,
    bound: Mutex<FixedMap<usize, Known>>,
    runners: Mutex<Vec<Runner>>,
    /// What the workers own, until they start.
    owns: Mutex<Vec<Own>>,
    /// Set when they were, with why they could not be.
    start_workers: OnceLock<Option<String>>,
    /// The journal, if starts are durable.
    durable: Option<Arc<Durable>>,
    /// Where events go, if they are logged.
    logs: Option<Arc<Logs>>,
    #[cfg(feature = "server")]
    seats: std::sync::OnceLock<Box<[Mutex<crate::runtime::seat::Seat>]>>,
}

/// What is known of a machine, for as long as there is the machine.
#[derive(Clone)]
pub(super) struct Known {
    machine: Weak<Machine>,
    synchronous: Arc<Group>,
    pub(super) asynchronous: Arc<Group>,
    /// The machine's ARN, by which a journal knows it; none without a journal.
    pub(super) arn: Option<Arc<str>>,
}

/// Memory of an execution that runs on its caller's thread.
struct Runner {
    run: Run,
    response: Vec<u8>,
    answers: Vec<Answer>,
    inbox: Arc<ThreadInbox>,
    generation: u32,
    bound: Option<(StateMachine, Arc<Tools>)>,
    /// If there is a log.
    recorder: Option<log::Recorder>,
}

/// What comes of an execution on its caller's thread.
enum Begun {
    Ended(ExecutionResult),
    /// It has to wait, and goes on on the workers.
    GoesOn(Arc<Ticket>),
}

/// What a runner has for the machine that it ran last.
struct Tools {
    group: Arc<Group>,
    metrics: Writer,
}

impl Tools {
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            bound: &self.group.bound,
            metrics: &self.metrics,
        }
    }
}

/// Runners that are kept.
const RUNNERS_MAX: usize = 256;

/// What was left when an engine was shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Executions that had not ended.
    pub left: usize,
    /// What the engine has done until then.
    pub counts: Counts,
    /// What the journal holds, if the engine is durable.
    pub journal: Option<JournalReport>,
}

impl Engine {
    /// Makes an engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    pub(super) fn new(
        tasks: TaskRegistry,
        futures: Futures,
        metrics: Metrics,
        logs: Option<Arc<Logs>>,
        shared: Arc<Shared>,
        owns: Vec<Own>,
        durable: Option<Arc<Durable>>,
    ) -> Engine {
        Engine(Arc::new(Inner {
            tasks,
            futures,
            metrics,
            shared,
            bound: Mutex::default(),
            runners: Mutex::default(),
            owns: Mutex::new(owns),
            start_workers: OnceLock::new(),
            durable,
            logs,
            #[cfg(feature = "server")]
            seats: std::sync::OnceLock::new(),
        }))
    }

    /// Gives it seats, one at least, once.
    #[cfg(feature = "server")]
    pub(super) fn with_seats(self, seats: usize) -> Engine {
        let seat = |number| Mutex::new(crate::runtime::seat::Seat::new(&self.0.shared, number));
        self.0.seats.get_or_init(|| (0..seats).map(seat).collect());
        self
    }

    #[cfg(feature = "server")]
    pub(super) fn seats(&self) -> &[Mutex<crate::runtime::seat::Seat>] {
        self.0.seats.get().map_or(&[], |seats| seats)
    }

    /// Takes in an execution and returns at once, as `StartExecution` does. A durable engine returns when the start is on
    /// the disk, which takes a sync that the starts of other threads share; the execution does not wait for that. See
    /// [`Engine::start_then`] for not waiting.
    ///
    /// # Errors
    ///
    /// If the engine has as much to do as it may ([`ErrorKind::Throttled`]), or if the input cannot be one for its size.
    /// That the input is not JSON is told by the handle. A durable engine also refuses while its journal is full
    /// ([`ErrorKind::Throttled`] too), and for good when the disk has failed it ([`ErrorKind::Poisoned`]): an execution whose
    /// start meets that may run or not, now or after recovery.
    pub fn start(
        &self,
        machine: &StateMachine,
        request: StartRequest<'_>,
    ) -> Result<ExecutionHandle, Error> {
        request.check()?;
        let shared = self.workers()?;
        let group = self.known(machine).asynchronous;
        self.admit(Api::StartExecution, 1, request.input.len() as u64)?;
        if let Some(durable) = &self.0.durable {
            let (handle, start) =
                self.start_recorded(durable, machine, request, Patience::Waits)?;
            durable.wait(&start)?;
            return Ok(handle);
        }
        let ticket = shared.start(&group, request.input, request.name, request.seed, None);
        Ok(ExecutionHandle {
            ticket,
            shared: Arc::clone(shared),
            name: request.name.map(Into::into),
        })
    }

    /// Takes in an execution for every input, all or none of them, and returns at once. What comes of them goes to
    /// `sink`. The inputs are looked at twice: nothing is copied of what is refused. A durable engine returns when all of
    /// them are on the disk: one sync for all.
    ///
    /// # Errors
    ///
    /// As [`Engine::start`].
    pub fn start_batch<'i, I>(
        &self,
        machine: &StateMachine,
        inputs: I,
        sink: impl ResultSink,
    ) -> Result<(), Error>
    where
        I: IntoIterator<Item = &'i [u8], IntoIter: Clone>,
    {
        let shared = self.workers()?;
        if let Some(durable) = &self.0.durable {
            return self.start_recorded_batch(durable, machine, inputs, Arc::new(ToSink(sink)));
        }
        let inputs = inputs.into_iter();
        let (mut count, mut bytes) = (0_usize, 0);
        for input in inputs.clone() {
            check_size(input)?;
            count += 1;
            bytes += input.len() as u64;
        }
        self.admit(Api::StartExecution, count, bytes)?;
        // Until all are in batches: the iterator is somebody's, and may panic.
        let admitted = shared.admitted(count, bytes);
        let group = self.group(machine, Arc::new(ToSink(sink)), Invocation::Asynchronous);
        let first_number = shared.take_numbers(count as u64);
        let mut batches: Vec<Box<StartBatch>> = Vec::new();
        let (mut left, mut bytes_left) = (count, bytes);
        for (line, input) in (0..).zip(inputs) {
            // An iterator that gives something else the second time starts nothing that was not admitted.
            if left == 0 || bytes_left < input.len() as u64 {
                break;
            }
            left -= 1;
            bytes_left -= input.len() as u64;
            if batches.last().is_none_or(|batch| batch.is_full()) {
                let number = first_number.wrapping_add(line);
                batches.push(shared.new_batch(&group, line, number));
            }
            if let Some(batch) = batches.last_mut() {
                batch.push(input, None, None);
            }
        }
        admitted.keep();
        if left > 0 || bytes_left > 0 {
            shared.release(left, bytes_left);
        }
        for batch in batches {
            shared.start_batch(batch);
        }
        Ok(())
    }

    /// Runs one execution to its end, as `StartSyncExecution` does: on this thread for as long as it need not wait, then
    /// on the workers, while this thread waits.
    ///
    /// A failure of the execution is a result, not an error.
    ///
    /// # Errors
    ///
    /// If the input is not JSON, or larger than [`PAYLOAD_BYTES_MAX`](crate::interp::PAYLOAD_BYTES_MAX); if the name cannot
    /// be one; if the engine has as much to do as it may.
    pub fn start_sync(
        &self,
        machine: &StateMachine,
        request: StartRequest<'_>,
    ) -> Result<ExecutionResult, Error> {
        request.check()?;
        // Nobody may do what a worker waits for.
        if is_worker() {
            return self.logged(
                machine,
                request,
                |runner, request, recorder| match recorder {
                    None => self.observed_on(runner, machine, request, &mut NoEvents),
                    Some(recorder) => {
                        self.observed_on(runner, machine, request, &mut LoggedHere(recorder))
                    }
                },
            );
        }
        let begun = self.logged(
            machine,
            request,
            |runner, request, recorder| match recorder {
                None => self.sync_on(runner, machine, request, &mut NoEvents),
                Some(recorder) => self.sync_on(runner, machine, request, &mut LoggedHere(recorder)),
            },
        )?;
        match begun {
            Begun::Ended(result) => Ok(result),
            Begun::GoesOn(ticket) => of_ticket(ticket.wait()),
        }
    }

    /// Runs something with a runner, and with a recorder if the machine's executions are logged.
    fn logged<T>(
        &self,
        machine: &StateMachine,
        mut request: StartRequest<'_>,
        run: impl FnOnce(&mut Runner, StartRequest<'_>, Option<&mut log::Recorder>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.with_runner(|runner| {
            let Some(logs) = &self.0.logs else {
                return run(runner, request, None);
            };
            let mut recorder = runner.recorder.take().unwrap_or_else(|| logs.recorder());
            let result = if recorder.records(machine.identity()) {
                let seed = request.seed.unwrap_or_else(|| self.0.shared.new_seed());
                request.seed = Some(seed);
                recorder.turn_to(&log::ExecutionIdentity {
                    machine: machine.identity(),
                    name: request.name,
                    seed,
                });
                run(runner, request, Some(&mut recorder))
            } else {
                run(runner, request, None)
            };
            recorder.flush();
            runner.recorder = Some(recorder);
            result
        })
    }

    /// Runs one execution to its end: [`Engine::start_sync`] for an input alone.
    ///
    /// # Errors
    ///
    /// As [`Engine::start_sync`].
    pub fn run(&self, machine: &StateMachine, input: &[u8]) -> Result<ExecutionResult, Error> {
        self.start_sync(machine, StartRequest::new(input))
    }

    /// Runs one execution to its end on this thread, and shows its events to `observer`, and not to the engine's log. A task
    /// that would be answered by its token fails, since no token leads here.
    ///
    /// # Errors
    ///
    /// As [`Engine::start_sync`].
    pub fn run_with<O: Observer>(
        &self,
        machine: &StateMachine,
        request: StartRequest<'_>,
        observer: &mut O,
    ) -> Result<ExecutionResult, Error> {
        request.check()?;
        self.with_runner(|runner| self.observed_on(runner, machine, request, observer))
    }

    fn with_runner<T>(
        &self,
        run: impl FnOnce(&mut Runner) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let taken = lock(&self.0.runners).pop();
        let clock = &self.0.shared.clock;
        let mut runner = taken.unwrap_or_else(|| Runner::new(clock));
        if !runner.inbox.is_of_this_thread() {
            let clock = Arc::clone(&self.0.shared.clock);
            runner.inbox = ThreadInbox::of_this_thread(Some(Box::new(move || clock.nanos())));
        }
        let result = match self.0.shared.is_simulated() {
            true => without_clock(|| run(&mut runner)),
            false => run(&mut runner),
        };
        runner.run.reset();
        let mut runners = lock(&self.0.runners);
        if runners.len() < RUNNERS_MAX {
            runners.push(runner);
        }
        result
    }

    fn sync_on<O: Observer>(
        &self,
        runner: &mut Runner,
        machine: &StateMachine,
        request: StartRequest<'_>,
        observer: &mut O,
    ) -> Result<Begun, Error> {
        let shared = &self.0.shared;
        let tools = runner.tools(self, machine);
        let around = tools.surroundings();
        let input_bytes = request.input.len() as u64;
        self.admit(Api::StartSyncExecution, 1, input_bytes)?;
        let admitted = shared.admitted(1, input_bytes);
        let inbox = Arc::clone(shared) as Arc<dyn Inbox>;
        let mut driver = runner.driver(shared, inbox);
        let started_nanos = driver.tick();
        let seed = request.seed.unwrap_or_else(|| shared.new_seed());
        begin(&driver, &mut runner.run, around, request, seed, observer)?;
        let mut held = None;
        if around.bound.bindings.has_tokens {
            let place = shared.outside_place(&mut held);
            runner.run.execution.set_place(place.as_number());
        }
        let mut address = || shared.outside_place(&mut held).into();
        let turn = {
            let _here = TurnHere::begin();
            driver.turn(around, &mut runner.run, &mut address, observer)
        };
        if turn == Turn::Done {
            if let Some(held) = held {
                shared.vacate(held);
            }
            let result = end(&mut driver, &runner.run, around, seed, started_nanos);
            runner.response = driver.response;
            return Ok(Begun::Ended(result));
        }
        runner.response = std::mem::take(&mut driver.response);
        if let Err(error) = self.workers() {
            driver.give_up(around.metrics, &mut runner.run);
            return Err(error);
        }
        admitted.keep();
        Ok(Begun::GoesOn(shared.adopt(
            held,
            &tools.group,
            &mut runner.run,
            Meta {
                line: 0,
                seed,
                started_nanos,
                input_bytes,
            },
        )))
    }

    fn observed_on<O: Observer>(
        &self,
        runner: &mut Runner,
        machine: &StateMachine,
        request: StartRequest<'_>,
        observer: &mut O,
    ) -> Result<ExecutionResult, Error> {
        let shared = &self.0.shared;
        let tools = runner.tools(self, machine);
        let around = tools.surroundings();
        let input_bytes = request.input.len() as u64;
        self.admit(Api::StartSyncExecution, 1, input_bytes)?;
        let _admitted = shared.admitted(1, input_bytes);
        let inbox = Arc::clone(&runner.inbox) as Arc<dyn Inbox>;
        let mut driver = runner.driver(shared, inbox);
        let started_nanos = driver.tick();
        let seed = request.seed.unwrap_or_else(|| shared.new_seed());
        begin(&driver, &mut runner.run, around, request, seed, observer)?;
        runner.generation = runner.generation.wrapping_add(1);
        let address = Address {
            slot: 0,
            generation: runner.generation,
        };
        loop {
            let turn = driver.turn(around, &mut runner.run, &mut || address, observer);
            match turn {
                Turn::Done => break,
                Turn::OutOfFuel => {
                    driver.tick();
                }
                Turn::Parked(at) => {
                    wait(
                        &mut driver,
                        &runner.inbox,
                        &runner.run,
                        at,
                        &mut runner.answers,
                    );
                    for answer in runner.answers.drain(..) {
                        if answer.address == address {
                            driver.answer(around, &mut runner.run, &answer, observer);
                        }
                    }
                }
            }
        }
        let result = end(&mut driver, &runner.run, around, seed, started_nanos);
        runner.response = driver.response;
        Ok(result)
    }

    /// The workers, which are started if they have not been.
    pub(super) fn workers(&self) -> Result<&Arc<Shared>, Error> {
        let failed = self.0.start_workers.get_or_init(|| {
            let mut failed = None;
            for mut own in lock(&self.0.owns).drain(..) {
                let shared = Arc::clone(&self.0.shared);
                let started = std::thread::Builder::new()
                    .name("quickstep-worker".to_owned())
                    .spawn(move || Worker::new(&shared, &mut own).run());
                failed = started.err().or(failed.take());
            }
            failed.map(|error| error.to_string())
        });
        match failed {
            None => Ok(&self.0.shared),
            Some(error) => {
                let message = format!("failed to start a worker: {error}");
                Err(Error::new(ErrorKind::Runtime, message))
            }
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(super) fn durable(&self) -> Option<&Arc<Durable>> {
        self.0.durable.as_ref()
    }

    /// Admits executions; a refusal is counted.
    pub(super) fn admit(&self, api: Api, count: usize, bytes: u64) -> Result<(), Error> {
        self.0.shared.admit(count, bytes).map_err(|throttled| {
            let reason = match throttled.limit {
                Limit::Executions => Throttle::Executions,
                Limit::InputBytes => Throttle::InputBytes,
                Limit::StartRate => Throttle::StartRate,
                Limit::Journal => Throttle::Journal,
                Limit::Closed => Throttle::Closed,
            };
            self.0.metrics.throttled(api, reason, count as u64);
            throttled.into()
        })
    }

    /// What the journal said to starts; that it has no room for them is counted.
    pub(super) fn journaled<T>(&self, count: usize, said: Result<T, Error>) -> Result<T, Error> {
        said.inspect_err(|error| {
            if error.kind() == ErrorKind::Throttled {
                let (api, reason) = (Api::StartExecution, Throttle::Journal);
                self.0.metrics.throttled(api, reason, count as u64);
            }
        })
    }

    /// Counters for a thread that runs executions of a machine.
    fn writer(&self, machine: &StateMachine) -> Writer {
        self.0.metrics.writer(machine.identity(), machine.program())
    }

    /// A group of executions whose results go to `outlet`.
    pub(super) fn group(
        &self,
        machine: &StateMachine,
        outlet: Arc<dyn Outlet>,
        invocation: Invocation,
    ) -> Arc<Group> {
        let bound = Arc::clone(&self.known(machine).synchronous.bound);
        Arc::new(Group {
            bound,
            outlet: self.shown(machine, outlet),
            invocation,
        })
    }

    /// An outlet that also shows events to the log, if there is one.
    fn shown(&self, machine: &StateMachine, outlet: Arc<dyn Outlet>) -> Arc<dyn Outlet> {
        match &self.0.logs {
            None => outlet,
            Some(logs) => logs.outlet(machine.identity(), outlet),
        }
    }

    /// What is known of a machine; its handlers are looked up once.
    pub(super) fn known(&self, machine: &StateMachine) -> Known {
        let mut known = lock(&self.0.bound);
        let key = Arc::as_ptr(machine.machine()).addr();
        if let Some(found) = known.get(&key)
            && found.machine.ptr_eq(&Arc::downgrade(machine.machine()))
        {
            return found.clone();
        }
        known.retain(|_, known| known.machine.strong_count() > 0);
        let bound = Arc::new(Bound {
            program: Arc::clone(&machine.machine().program),
            identity: Arc::clone(machine.identity()),
            bindings: self
                .0
                .tasks
                .bind(machine.program(), self.0.futures.handle()),
            writers: (0..self.0.shared.workers())
                .map(|_| self.writer(machine))
                .collect(),
        });
        let group = |invocation, outlet| {
            Arc::new(Group {
                bound: Arc::clone(&bound),
                outlet: self.shown(machine, outlet),
                invocation,
            })
        };
        let tickets = || Arc::new(Tickets) as Arc<dyn Outlet>;
        let asynchronous = match &self.0.durable {
            None => tickets(),
            Some(durable) => durable.outlet_of_tickets(tickets()),
        };
        let found = Known {
            machine: Arc::downgrade(machine.machine()),
            synchronous: group(Invocation::Synchronous, tickets()),
            asynchronous: group(Invocation::Asynchronous, asynchronous),
            arn: self
                .0
                .durable
                .as_ref()
                .map(|_| machine.identity().arn().into()),
        };
        known.insert(key, found.clone());
        found
    }

    /// The resources of a machine's Tasks that no handler answers for, each once, with one state that names it.
    #[must_use]
    pub fn unhandled<'m>(&self, machine: &'m StateMachine) -> Vec<(&'m str, &'m str)> {
        let known = self.known(machine);
        let bindings = &known.synchronous.bound.bindings;
        let mut found: Vec<(&str, &str)> = Vec::new();
        for ((state, info), binding) in machine.program().tasks().zip(bindings.iter()) {
            let resource = &*info.resource_text;
            if binding.handler.is_none() && found.iter().all(|(known, _)| *known != resource) {
                found.push((resource, state));
            }
        }
        found
    }

    /// Says what became of a task, by its token: its result, its failure, that it goes on. Waits until a worker has looked,
    /// which takes a turn or two; a handler does not wait.
    ///
    /// # Errors
    ///
    /// If there is no such task, or if it has ended ([`ErrorKind::Stale`]).
    pub fn complete(&self, token: &TaskToken, answer: TaskAnswer) -> Result<(), Error> {
        if self.0.shared.answer(token, answer) {
            return Ok(());
        }
        let message = "there is no such task, or it has ended";
        Err(Error::new(ErrorKind::Stale, message))
    }

    /// Says that a task is alive: [`Engine::complete`] with [`TaskAnswer::Heartbeat`].
    ///
    /// # Errors
    ///
    /// As [`Engine::complete`].
    pub fn heartbeat(&self, token: &TaskToken) -> Result<(), Error> {
        self.complete(token, TaskAnswer::Heartbeat)
    }

    /// Executions in flight: queued, running and parked.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.shared.admission.in_flight()
    }

    /// Bytes of the inputs of executions in flight.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        self.0.shared.admission.input_bytes()
    }

    /// What the workers have done so far. Executions that ended on their caller's thread are not among it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.shared.counts()
    }

    /// What this engine has counted, for reading at any time.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// How many executions were refused so far, and why.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.0.shared.admission.refusals()
    }

    /// Takes nothing in any more, waits until everything has ended, for `patience` at most, gives up what is left, and ends
    /// the workers. Who waits for an execution that is given up is told so ([`ErrorKind::Abandoned`]). A durable engine then writes the ends of
    /// executions that it has not yet written, and closes its journal; what is left runs again when it is recovered.
    pub fn shutdown(&self, patience: Duration) -> Report {
        let shared = &self.0.shared;
        let left = shared.drain(patience);
        shared.close();
        Report {
            left,
            counts: shared.counts(),
            journal: self.0.durable.as_ref().map(|durable| durable.close()),
        }
    }
}

/// Starts an execution on the caller's thread.
fn begin<O: Observer>(
    driver: &Driver,
    run: &mut Run,
    around: Surroundings<'_>,
    request: StartRequest<'_>,
    seed: u64,
    observer: &mut O,
) -> Result<(), Error> {
    run.reset();
    let start = Start {
        invocation: Invocation::Synchronous,
        input: request.input,
        machine: &around.bound.identity,
        name: request.name,
        now: driver.now(run),
        seed,
    };
    run.execution
        .start(&around.bound.program, &start, observer)
        .map_err(|error| {
            around.metrics.refused();
            Error::new(ErrorKind::InvalidInput, error.to_string())
        })?;
    around.metrics.started(start.invocation);
    Ok(())
}

fn end(
    driver: &mut Driver,
    run: &Run,
    around: Surroundings<'_>,
    seed: u64,
    started_nanos: u64,
) -> ExecutionResult {
    let nanos = driver.tick().saturating_sub(started_nanos);
    around.metrics.ended(&run.execution, nanos);
    let duration = Duration::from_nanos(nanos);
    ExecutionResult::new(run, &around.bound.program, seed, driver.now(run), duration)
}

/// Waits for `at` of the execution's own clock, or for an answer.
fn wait(
    driver: &mut Driver,
    inbox: &ThreadInbox,
    run: &Run,
    at: Timestamp,
    answers: &mut Vec<Answer>,
) {
    loop {
        inbox.take(answers);
        driver.tick();
        let left = at.millis().saturating_sub(driver.now(run).millis());
        if !answers.is_empty() || left <= 0 {
            return;
        }
        let left = if at == Timestamp::MAX {
            u64::MAX
        } else {
            left.unsigned_abs()
        };
        let left = Duration::from_millis(left);
        let poll = driver.clock.poll_interval();
        std::thread::park_timeout(poll.map_or(left, |poll| left.min(poll)));
    }
}

impl Runner {
    fn new(clock: &Arc<dyn Clock>) -> Runner {
        let clock = Arc::clone(clock);
        Runner {
            run: Run::default(),
            response: Vec::new(),
            answers: Vec::new(),
            inbox: ThreadInbox::of_this_thread(Some(Box::new(move || clock.nanos()))),
            generation: 0,
            bound: None,
            recorder: None,
        }
    }

    fn tools(&mut self, engine: &Engine, machine: &StateMachine) -> Arc<Tools> {
        match &self.bound {
            Some((held, tools)) if Arc::ptr_eq(held.machine(), machine.machine()) => {
                Arc::clone(tools)
            }
            _ => {
                let tools = Arc::new(Tools {
                    group: engine.known(machine).synchronous,
                    metrics: engine.writer(machine),
                });
                self.bound = Some((machine.clone(), Arc::clone(&tools)));
                tools
            }
        }
    }

    fn driver(&mut self, shared: &Shared, inbox: Arc<dyn Inbox>) -> Driver {
        let mut driver = Driver::new(&shared.clock, shared.anchor, shared.mode, inbox);
        driver.response = std::mem::take(&mut self.response);
        driver
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is left who could wait for what is in flight.
        self.shared.close();
        if let Some(durable) = &self.durable {
            durable.close();
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("tasks", &self.0.tasks)
            .field("shared", &self.0.shared)
            .finish_non_exhaustive()
    }
}
