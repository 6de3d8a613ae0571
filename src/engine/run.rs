//! [`Engine`]: handlers, time and randomness, and [`Engine::run`].

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::clock::{Anchor, Clock, SystemClock, TimeMode};
use super::error::{Error, ErrorKind};
use super::machine::{Machine, StateMachine};
use super::request::ExecutionRequest;
use super::result::ExecutionResult;
use super::turn::{Run, Surroundings, Turn};
use crate::history::Observer;
use crate::interp::Invocation;
use crate::interp::Start;
use crate::metrics::{Metrics, Writer};
use crate::stdx::{FixedMap, Timestamp};
use crate::task::{
    Address, Answer, AsyncTaskHandler, Bindings, Inbox, TaskHandler, TaskRegistry, lock,
};

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

pub(super) struct Inner {
    tasks: TaskRegistry,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) time: TimeMode,
    seed: u64,
    metrics: Metrics,
    started: AtomicU64,
    runtime: Runtime,
    bound: Mutex<FixedMap<usize, Bound>>,
    runners: Mutex<Vec<Runner>>,
}

/// A machine's handlers, for as long as there is the machine.
type Bound = (Weak<Machine>, Arc<Bindings>);

/// Where futures run.
enum Runtime {
    None,
    Given(tokio::runtime::Handle),
    Own(Option<tokio::runtime::Runtime>),
}

/// Memory of an execution that runs on its caller's thread.
struct Runner {
    run: Run,
    response: Vec<u8>,
    answers: Vec<Answer>,
    inbox: Arc<Inbox>,
    generation: u32,
    bound: Option<(StateMachine, Arc<Tools>)>,
}

/// What a runner has for the machine that it ran last.
struct Tools {
    bindings: Arc<Bindings>,
    metrics: Writer,
}

/// Runners that are kept.
const RUNNERS_MAX: usize = 256;

impl Engine {
    /// Makes an engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Runs one execution to its end, on this thread.
    ///
    /// A failure of the execution is a result, not an error.
    ///
    /// # Errors
    ///
    /// If the input is not JSON, or larger than [`PAYLOAD_BYTES_MAX`](crate::interp::PAYLOAD_BYTES_MAX).
    pub fn run(&self, machine: &StateMachine, input: &[u8]) -> Result<ExecutionResult, Error> {
        self.execution(machine).run(input)
    }

    /// Runs one execution to its end, and shows its events to `observer`.
    ///
    /// # Errors
    ///
    /// As [`Engine::run`].
    pub fn run_with<O: Observer>(
        &self,
        machine: &StateMachine,
        input: &[u8],
        observer: &mut O,
    ) -> Result<ExecutionResult, Error> {
        self.execution(machine).run_with(input, observer)
    }

    /// An execution that is given a name, or a seed, and then run.
    pub fn execution<'a>(&'a self, machine: &'a StateMachine) -> ExecutionRequest<'a> {
        ExecutionRequest::new(self, machine)
    }

    pub(super) fn run_request<O: Observer>(
        &self,
        request: &ExecutionRequest<'_>,
        input: &[u8],
        observer: &mut O,
    ) -> Result<ExecutionResult, Error> {
        let taken = lock(&self.0.runners).pop();
        let mut runner = match taken {
            Some(runner) if runner.inbox.is_of_this_thread() => runner,
            Some(mut runner) => {
                runner.inbox = Inbox::of_this_thread();
                runner
            }
            None => Runner::new(),
        };
        let result = self.run_on(&mut runner, request, input, observer);
        runner.run.reset();
        let mut runners = lock(&self.0.runners);
        if runners.len() < RUNNERS_MAX {
            runners.push(runner);
        }
        result
    }

    fn run_on<O: Observer>(
        &self,
        runner: &mut Runner,
        request: &ExecutionRequest<'_>,
        input: &[u8],
        observer: &mut O,
    ) -> Result<ExecutionResult, Error> {
        let machine = request.machine;
        let seed = match request.seed {
            Some(seed) => seed,
            None => self.seed(self.take_numbers(1)),
        };
        let tools = runner.tools(self, machine);
        let clock = &*self.0.clock;
        let anchor = Anchor::new(clock);
        let mut surroundings = Surroundings {
            program: machine.program(),
            bindings: &tools.bindings,
            metrics: &tools.metrics,
            clock,
            anchor,
            mode: self.0.time,
            inbox: Arc::clone(&runner.inbox),
            response: std::mem::take(&mut runner.response),
            nanos: anchor.nanos(),
        };
        let run = &mut runner.run;
        run.reset();
        let start = Start {
            invocation: Invocation::Synchronous,
            input,
            machine: machine.identity(),
            name: request.name,
            now: surroundings.now(run),
            seed,
        };
        run.execution
            .start(machine.program(), &start, observer)
            .map_err(|error| {
                tools.metrics.refused();
                Error::new(ErrorKind::InvalidInput, error.to_string())
            })?;
        tools.metrics.started(start.invocation);
        runner.generation = runner.generation.wrapping_add(1);
        let address = Address {
            slot: 0,
            generation: runner.generation,
        };
        loop {
            match surroundings.turn(run, address, observer) {
                Turn::Done => break,
                Turn::OutOfFuel => {
                    surroundings.tick();
                }
                Turn::Parked(at) => {
                    wait(&mut surroundings, run, at, &mut runner.answers);
                    for answer in runner.answers.drain(..) {
                        if answer.address == address {
                            surroundings.answer(run, &answer, observer);
                        }
                    }
                }
            }
        }
        let nanos = surroundings.tick();
        let nanos = nanos - anchor.nanos();
        tools.metrics.ended(&run.execution, nanos);
        let duration = Duration::from_nanos(nanos);
        let result = ExecutionResult::new(
            run,
            machine.program(),
            seed,
            surroundings.now(run),
            duration,
        );
        runner.response = surroundings.response;
        Ok(result)
    }

    /// The handlers of a machine's Tasks, looked up once.
    pub(super) fn bindings(&self, machine: &StateMachine) -> Arc<Bindings> {
        let mut bound = lock(&self.0.bound);
        let key = Arc::as_ptr(machine.machine()).addr();
        if let Some((held, bindings)) = bound.get(&key)
            && held.ptr_eq(&Arc::downgrade(machine.machine()))
        {
            return Arc::clone(bindings);
        }
        bound.retain(|_, (held, _)| held.strong_count() > 0);
        let runtime = self.0.runtime.handle();
        let bindings = Arc::new(self.0.tasks.bind(machine.program(), runtime));
        bound.insert(
            key,
            (Arc::downgrade(machine.machine()), Arc::clone(&bindings)),
        );
        bindings
    }

    /// The resources of a machine's Tasks that no handler answers for, each once, with one state that names it.
    #[must_use]
    pub fn unhandled<'m>(&self, machine: &'m StateMachine) -> Vec<(&'m str, &'m str)> {
        let bindings = self.bindings(machine);
        let mut found: Vec<(&str, &str)> = Vec::new();
        for ((state, info), binding) in machine.program().tasks().zip(bindings.iter()) {
            let resource = &*info.resource_text;
            if binding.handler.is_none() && found.iter().all(|(known, _)| *known != resource) {
                found.push((resource, state));
            }
        }
        found
    }

    /// What this engine has counted, for reading at any time.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Counters for a thread that runs executions of a machine.
    pub(super) fn writer(&self, machine: &StateMachine) -> Writer {
        self.0.metrics.writer(machine.identity(), machine.program())
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    /// The seed of the `number`th execution.
    #[inline]
    pub(super) fn seed(&self, number: u64) -> u64 {
        mix(self.0.seed.wrapping_add(number))
    }

    /// Takes `count` numbers for executions; returns the first.
    pub(super) fn take_numbers(&self, count: u64) -> u64 {
        self.0.started.fetch_add(count, Ordering::Relaxed)
    }
}

/// Spreads neighbouring numbers over all 64 bits, one to one (the finalizer of MurmurHash3).
#[inline]
const fn mix(mut n: u64) -> u64 {
    n ^= n >> 33;
    n = n.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    n ^= n >> 33;
    n = n.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    n ^ (n >> 33)
}

/// Waits for `at` of the execution's own clock, or for an answer.
fn wait(surroundings: &mut Surroundings<'_>, run: &Run, at: Timestamp, answers: &mut Vec<Answer>) {
    loop {
        surroundings.inbox.take(answers);
        surroundings.tick();
        let left = at.millis().saturating_sub(surroundings.now(run).millis());
        if !answers.is_empty() || left <= 0 {
            return;
        }
        let left = if at == Timestamp::MAX {
            u64::MAX
        } else {
            left.unsigned_abs()
        };
        std::thread::park_timeout(Duration::from_millis(left));
    }
}

impl Runner {
    fn new() -> Runner {
        Runner {
            run: Run::default(),
            response: Vec::new(),
            answers: Vec::new(),
            inbox: Inbox::of_this_thread(),
            generation: 0,
            bound: None,
        }
    }

    fn tools(&mut self, engine: &Engine, machine: &StateMachine) -> Arc<Tools> {
        match &self.bound {
            Some((held, tools)) if Arc::ptr_eq(held.machine(), machine.machine()) => {
                Arc::clone(tools)
            }
            _ => {
                let tools = Arc::new(Tools {
                    bindings: engine.bindings(machine),
                    metrics: engine.writer(machine),
                });
                self.bound = Some((machine.clone(), Arc::clone(&tools)));
                tools
            }
        }
    }
}

impl Runtime {
    fn handle(&self) -> Option<&tokio::runtime::Handle> {
        match self {
            Runtime::None => None,
            Runtime::Given(handle) => Some(handle),
            Runtime::Own(runtime) => runtime.as_ref().map(tokio::runtime::Runtime::handle),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // An engine may be dropped where waiting is not allowed, as in a future.
        if let Runtime::Own(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("tasks", &self.0.tasks)
            .field("time", &self.0.time)
            .finish_non_exhaustive()
    }
}

/// Made by [`Engine::builder`].
#[derive(Debug, Default)]
pub struct EngineBuilder {
    tasks: TaskRegistry,
    clock: Option<Arc<dyn Clock>>,
    time: TimeMode,
    seed: Option<u64>,
    metrics: Option<Metrics>,
    runtime: Option<tokio::runtime::Handle>,
}

impl EngineBuilder {
    /// Registers a function that does the work of Tasks: see [`TaskRegistry`] for patterns.
    #[must_use]
    pub fn task(mut self, pattern: &str, handler: impl TaskHandler) -> EngineBuilder {
        self.tasks.register(pattern, handler);
        self
    }

    /// Registers an asynchronous function that does the work of Tasks.
    #[must_use]
    pub fn task_async(mut self, pattern: &str, handler: impl AsyncTaskHandler) -> EngineBuilder {
        self.tasks.register_async(pattern, handler);
        self
    }

    /// Replaces all handlers.
    #[must_use]
    pub fn tasks(mut self, tasks: TaskRegistry) -> EngineBuilder {
        self.tasks = tasks;
        self
    }

    /// Whether waiting takes time; it does, unless this is called.
    #[must_use]
    pub fn time(mut self, time: TimeMode) -> EngineBuilder {
        self.time = time;
        self
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> EngineBuilder {
        self.clock = Some(clock);
        self
    }

    /// What the executions' randomness comes from: names, `States.MathRandom`, `States.UUID`, jitter. Chosen at random
    /// unless this is called.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> EngineBuilder {
        self.seed = Some(seed);
        self
    }

    /// Counts together with others, or with other limits; the engine has metrics of its own unless this is called.
    #[must_use]
    pub fn metrics(mut self, metrics: &Metrics) -> EngineBuilder {
        self.metrics = Some(metrics.clone());
        self
    }

    /// Where asynchronous handlers run. Without it the engine starts a runtime of its own if it has any.
    #[must_use]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> EngineBuilder {
        self.runtime = Some(runtime);
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    ///
    /// If there are asynchronous handlers and their runtime cannot be started.
    pub fn build(self) -> Result<Engine, Error> {
        let runtime = match self.runtime {
            Some(handle) => Runtime::Given(handle),
            None if self.tasks.needs_runtime() => Runtime::Own(Some(start_runtime()?)),
            None => Runtime::None,
        };
        let seed = self.seed.unwrap_or_else(|| {
            // The one source of randomness in the standard library.
            std::hash::RandomState::new().build_hasher().finish()
        });
        Ok(Engine(Arc::new(Inner {
            tasks: self.tasks,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            time: self.time,
            seed,
            metrics: self.metrics.unwrap_or_default(),
            started: AtomicU64::new(0),
            runtime,
            bound: Mutex::default(),
            runners: Mutex::default(),
        })))
    }
}

fn start_runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("quickstep-tasks")
        .build()
        .map_err(|error| {
            let message = format!("failed to start the runtime of asynchronous tasks: {error}");
            Error::new(ErrorKind::Runtime, message)
        })
}
