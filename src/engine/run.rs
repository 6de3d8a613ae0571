//! [`Engine`]: what it is made of, and starts of executions on its workers.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use super::builder::{EngineBuilder, Futures};
use super::durable::{Durable, JournalReport, Patience};
use super::error::{Error, ErrorKind};
use super::handle::{ExecutionHandle, ResultSink, StartRequest, ToSink, check_size};
use super::inline::Runner;
use super::logged::Logs;
use super::machine::{Machine, StateMachine};
use crate::interp::Invocation;
use crate::metrics::{Api, Metrics, Throttle, Writer};
use crate::runtime::admission::{Limit, Refusals};
use crate::runtime::outlet::{Group, Outlet};
use crate::runtime::start::StartBatch;
use crate::runtime::ticket::Tickets;
use crate::runtime::turn::Bound;
use crate::runtime::{Counts, Own, Shared, Worker};
use crate::stdx::FixedMap;
use crate::task::{TaskAnswer, TaskRegistry, TaskToken, lock};

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
    pub(super) synchronous: Arc<Group>,
    pub(super) asynchronous: Arc<Group>,
    /// The machine's ARN, by which a journal knows it; none without a journal.
    pub(super) arn: Option<Arc<str>>,
}

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

    pub(super) fn runners(&self) -> &Mutex<Vec<Runner>> {
        &self.0.runners
    }

    pub(super) fn logs(&self) -> Option<&Arc<Logs>> {
        self.0.logs.as_ref()
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
    pub(super) fn of_journal<T>(&self, count: usize, said: Result<T, Error>) -> Result<T, Error> {
        said.inspect_err(|error| {
            if error.kind() == ErrorKind::Throttled {
                let (api, reason) = (Api::StartExecution, Throttle::Journal);
                self.0.metrics.throttled(api, reason, count as u64);
            }
        })
    }

    /// Counters for a thread that runs executions of a machine.
    pub(super) fn writer(&self, machine: &StateMachine) -> Writer {
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
    ///
    /// An execution on its caller's thread is not waited for. [`Engine::start_sync`] is told so once it would wait;
    /// [`Engine::run_with`], and a handler's `start_sync`, wait themselves and end when the execution does.
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
