//! [`EngineBuilder`].

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use super::durable::{DurabilityMode, JournalConfig};
use super::error::{Error, ErrorKind};
use super::logged::{LogParts, Logs};
use super::run::Engine;
use super::simulation::Simulation;
use crate::journal::{Options as JournalOptions, Storage};
use crate::log::LogStream;
use crate::metrics::Metrics;
use crate::runtime::admission::Limits;
use crate::runtime::clock::{Clock, SystemClock, TimeMode};
use crate::runtime::{Config, Own, Shared};
use crate::task::{AsyncTaskHandler, TaskHandler, TaskRegistry};

/// Made by [`Engine::builder`].
#[derive(Debug, Default)]
pub struct EngineBuilder {
    tasks: TaskRegistry,
    clock: Option<Arc<dyn Clock>>,
    time: TimeMode,
    seed: Option<u64>,
    futures: Option<tokio::runtime::Handle>,
    workers: Option<usize>,
    limits: Limits,
    journal: JournalConfig,
    metrics: Option<Metrics>,
    log: Option<LogParts>,
    /// Seats for threads that begin executions of a server.
    #[cfg(feature = "server")]
    seats: usize,
    /// Executions of an earlier process, for which there is room whatever the limits say.
    found: usize,
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

    /// Registers an asynchronous function of which so many futures run at a time: see
    /// [`TaskRegistry::register_async_limited`].
    #[must_use]
    pub fn task_async_limited(
        mut self,
        pattern: &str,
        running_max: usize,
        handler: impl AsyncTaskHandler,
    ) -> EngineBuilder {
        self.tasks
            .register_async_limited(pattern, running_max, handler);
        self
    }

    /// Registers a function that hands Tasks on to somebody who answers later: see
    /// [`TaskRegistry::register_callback`].
    #[must_use]
    pub fn task_callback(mut self, pattern: &str, handler: impl TaskHandler) -> EngineBuilder {
        self.tasks.register_callback(pattern, handler);
        self
    }

    /// Worker threads, one at least; one for every core, unless this is called. They start when they are first needed.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> EngineBuilder {
        self.workers = Some(workers);
        self
    }

    /// What the engine takes in before it refuses; see [`Limits`] for the defaults.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> EngineBuilder {
        self.limits = limits;
        self
    }

    /// Whether asynchronous starts survive the process; they do not, unless this is called.
    ///
    /// ```
    /// use quickstep::engine::{DurabilityMode, StartRequest};
    /// use quickstep::{Engine, StateMachine};
    ///
    /// # let directory = std::env::temp_dir().join(format!("quickstep-doc-{}", std::process::id()));
    /// let machine = StateMachine::compile(r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#)
    ///     .expect("the definition is valid");
    /// let engine = Engine::builder()
    ///     .durability(DurabilityMode::Durable(directory.clone()))
    ///     .build()?;
    /// let recovered = engine.recover(&[&machine])?;
    /// assert!(recovered.executions.is_empty() && recovered.unknown.is_empty());
    /// // When this returns, the start is on the disk.
    /// let execution = engine.start(&machine, StartRequest::new(b"{}").name("order-17"))?;
    /// assert_eq!(execution.wait()?.output.as_deref(), Some("{}"));
    /// let report = engine.shutdown(std::time::Duration::from_secs(5));
    /// assert_eq!(report.journal.map(|journal| journal.unfinished), Some(0));
    /// # std::fs::remove_dir_all(directory).ok();
    /// # Ok::<(), quickstep::engine::Error>(())
    /// ```
    #[must_use]
    pub fn durability(mut self, mode: DurabilityMode) -> EngineBuilder {
        self.journal.mode = mode;
        self
    }

    /// Sizes and delays of a durable engine's journal.
    #[must_use]
    pub fn journal_options(mut self, options: JournalOptions) -> EngineBuilder {
        self.journal.options = options;
        self
    }

    /// A durable engine on another disk, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn journal_storage(mut self, storage: Arc<dyn Storage>) -> EngineBuilder {
        self.journal.storage = Some(storage);
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

    /// Shows the events of all executions to a log, at the levels that the log has for their machines. The log stays whose
    /// it is: he closes it, after the engine's shutdown.
    ///
    /// ```
    /// use quickstep::history::LogLevel;
    /// use quickstep::log::{Filter, LogConfig, LogStream};
    /// use quickstep::{Engine, StateMachine};
    ///
    /// let machine = StateMachine::builder()
    ///     .name("greet")
    ///     .compile(r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#)
    ///     .expect("the definition is valid");
    /// let log = LogStream::builder().config(LogConfig::new(LogLevel::All)).build()?;
    /// let events = log.subscribe(Filter::default(), 100)?;
    /// let engine = Engine::builder().log(&log).build()?;
    /// engine.run(&machine, b"{}")?;
    /// let first = events.next_within(std::time::Duration::from_secs(5)).expect("an event");
    /// assert_eq!(first.event_type.as_str(), "ExecutionStarted");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn log(mut self, stream: &LogStream) -> EngineBuilder {
        self.log = Some(LogParts::new(stream));
        self
    }

    /// Seats for threads that are no workers.
    #[cfg(feature = "server")]
    #[must_use]
    pub(crate) fn seats(mut self, seats: usize) -> EngineBuilder {
        self.seats = seats;
        self
    }

    /// How many executions of an earlier process are to go on: for these there is room whatever the limits say.
    #[cfg(feature = "server")]
    #[must_use]
    pub(crate) fn found(mut self, found: usize) -> EngineBuilder {
        self.found = found;
        self
    }

    /// Where asynchronous handlers run. Without it the engine starts a runtime of its own if it has any.
    #[must_use]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> EngineBuilder {
        self.futures = Some(runtime);
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    ///
    /// If there are asynchronous handlers and their runtime cannot be started; if the engine is to be durable, and the
    /// journal cannot be opened ([`ErrorKind::Journal`]): another process has it, or it is damaged.
    pub fn build(self) -> Result<Engine, Error> {
        Ok(self.make(false)?.0)
    }

    /// Makes an engine whose workers have no threads: whoever has the [`Simulation`] gives them their turns, on one thread,
    /// in any order. With a clock of their own and a seed, tests so have the same run again and again.
    ///
    /// # Errors
    ///
    /// As [`EngineBuilder::build`].
    pub fn build_simulated(self) -> Result<(Engine, Simulation), Error> {
        let (engine, shared, owns) = self.make(true)?;
        let durable = engine.durable().cloned();
        Ok((engine, Simulation::new(shared, owns, durable)))
    }

    fn make(self, is_simulated: bool) -> Result<(Engine, Arc<Shared>, Vec<Own>), Error> {
        let futures = match self.futures {
            Some(handle) => Futures::Given(handle),
            None if self.tasks.needs_runtime() => Futures::Own(Some(start_futures()?)),
            None => Futures::None,
        };
        let seed = self.seed.unwrap_or_else(|| {
            // The one source of randomness in the standard library.
            std::hash::RandomState::new().build_hasher().finish()
        });
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let durable = self.journal.open(&clock, is_simulated)?;
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (shared, owns) = Shared::new(Config {
            workers: self.workers.unwrap_or_else(cores),
            limits: self.limits,
            found: self.found,
            clock,
            mode: self.time,
            seed,
            is_simulated,
        });
        let (threads, stepped) = if is_simulated {
            (Vec::new(), owns)
        } else {
            (owns, Vec::new())
        };
        let metrics = self.metrics.unwrap_or_default();
        if let Some(durable) = &durable {
            // The metrics may live longer, and are not to keep the directory locked.
            let durable = Arc::downgrade(durable);
            metrics.add_journal(move || {
                let counters = durable.upgrade().map(|durable| durable.counters());
                counters.as_ref().map(Into::into).unwrap_or_default()
            });
        }
        #[cfg(feature = "server")]
        let seats = self.seats;
        #[cfg(not(feature = "server"))]
        let seats = 0;
        let logs = self
            .log
            .map(|parts| Logs::new(parts, shared.workers() + seats, &metrics));
        let engine = Engine::new(
            self.tasks,
            futures,
            metrics,
            logs,
            Arc::clone(&shared),
            threads,
            durable,
        );
        #[cfg(feature = "server")]
        let engine = engine.with_seats(seats);
        Ok((engine, shared, stepped))
    }
}

/// Where futures run.
#[derive(Debug)]
pub(super) enum Futures {
    None,
    Given(tokio::runtime::Handle),
    Own(Option<tokio::runtime::Runtime>),
}

impl Futures {
    pub(super) fn handle(&self) -> Option<&tokio::runtime::Handle> {
        match self {
            Futures::None => None,
            Futures::Given(handle) => Some(handle),
            Futures::Own(runtime) => runtime.as_ref().map(tokio::runtime::Runtime::handle),
        }
    }
}

impl Drop for Futures {
    fn drop(&mut self) {
        // An engine may be dropped where waiting is not allowed, as in a future.
        if let Futures::Own(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}

fn start_futures() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("quickstep-tasks")
        .build()
        .map_err(|error| {
            let message = format!("failed to start the runtime of asynchronous tasks: {error}");
            Error::new(ErrorKind::Runtime, message)
        })
}
