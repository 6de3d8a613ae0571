//! The engine in this process: [`Mode::Sync`] on the sending thread, [`Mode::Async`] on the engine's workers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quickstep::engine::{DurabilityMode, Ended, Error, ErrorKind, ResultSink, StartRequest};
use quickstep::history::LogLevel;
use quickstep::log::{LogConfig, LogSink, LogStream, Policy, Rotation, SinkFormat};
use quickstep::task::TaskRegistry;
use quickstep::task::mock::MockSource;
use quickstep::{Engine, ExecutionResult, StateMachine, Status};

use super::Mode;
use crate::events::Events;
use crate::load::{Next, Target, Work, blocking};
use crate::pacer::{Pace, Pacer};
use crate::recorder::{Counts, Outcome, Shard};
use crate::schedule::{Arrival, Nanos};

/// Most arrivals that are started together, when several are due.
const BATCH_MAX: usize = 64;

/// Most executions under way on a thread in an open loop; further ones are sent late, and are late in their latency.
pub(super) const UNDER_WAY_MAX: usize = 100_000;

/// Files of a log that are kept beside the one that is written to.
const LOGS_KEPT: u32 = 2;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) mode: Mode,
    pub(crate) workers: Option<usize>,
    /// Where the journal is, if starts are to be durable.
    pub(crate) journal: Option<PathBuf>,
    /// Level of a log, and the file that it goes to.
    pub(crate) log: Option<(LogLevel, PathBuf)>,
}

/// An engine that is loaded.
pub(crate) struct Embedded {
    engine: Engine,
    machine: StateMachine,
    mode: Mode,
    is_durable: bool,
    events: Events,
    /// The log, and its file, which goes with it.
    log: Option<(LogStream, PathBuf)>,
}

/// Compiles a definition.
///
/// # Errors
///
/// If it cannot be read or is not valid.
pub(crate) fn compile(definition: &Path) -> Result<StateMachine, String> {
    let text = std::fs::read_to_string(definition)
        .map_err(|error| format!("failed to read {}: {error}", definition.display()))?;
    StateMachine::compile(&text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("{}: {}", definition.display(), lines.join("\n"))
    })
}

/// The answers of tasks.
///
/// # Errors
///
/// If their file cannot be used.
pub(crate) fn tasks(machine: &StateMachine, source: Option<&str>) -> Result<TaskRegistry, String> {
    let mut tasks = TaskRegistry::new();
    if let Some(source) = source {
        let source = MockSource::parse(source);
        source
            .load(machine.name(), &mut tasks)
            .map_err(|error| error.to_string())?;
    }
    Ok(tasks)
}

impl Embedded {
    pub(crate) fn new(
        setup: &Setup,
        machine: StateMachine,
        tasks: TaskRegistry,
        events: Events,
    ) -> Result<Embedded, String> {
        let mut builder = Engine::builder().tasks(tasks);
        if let Some(workers) = setup.workers {
            builder = builder.workers(workers);
        }
        if let Some(directory) = &setup.journal {
            builder = builder.durability(DurabilityMode::Durable(directory.clone()));
        }
        let mut log = None;
        if let Some((level, file)) = &setup.log {
            let rotation = Rotation {
                bytes: Some(256 << 20),
                keep: LOGS_KEPT,
                ..Rotation::default()
            };
            let sink = LogSink::file(file, SinkFormat::Compact)
                .replace()
                .rotation(rotation)
                .policy(Policy::Drop);
            let stream = LogStream::builder()
                .config(LogConfig::new(*level))
                .sink(sink)
                .build()
                .map_err(|error| error.to_string())?;
            builder = builder.log(&stream);
            log = Some((stream, file.clone()));
        }
        let engine = builder.build().map_err(|error| error.to_string())?;
        if setup.journal.is_some() {
            engine
                .recover(&[&machine])
                .map_err(|error| error.to_string())?;
        }
        Ok(Embedded {
            engine,
            machine,
            mode: setup.mode,
            is_durable: setup.journal.is_some(),
            events,
            log,
        })
    }

    /// On the engine's workers.
    fn start(&self, work: &mut Work<'_, Pacer>) {
        let under_way = Arc::new(AtomicUsize::new(0));
        let most = work.in_flight_max.min(UNDER_WAY_MAX);
        let mut batch: Vec<Arrival> = Vec::with_capacity(BATCH_MAX);
        let mut now = work.pace.now();
        loop {
            let room = most.saturating_sub(under_way.load(Ordering::Acquire));
            let mut next = Next::At(now + 20_000);
            while batch.len() < BATCH_MAX.min(room) {
                next = work.next(now);
                match next {
                    Next::Due(arrival) => batch.push(arrival),
                    Next::At(_) | Next::Over => break,
                }
            }
            if !batch.is_empty() {
                under_way.fetch_add(batch.len(), Ordering::Relaxed);
                self.start_all(&mut batch, work, &under_way);
            } else if next == Next::Over || work.is_given_up(now) {
                break;
            } else if let Next::At(at) = next {
                work.pace.wait_until(at.min(work.give_up));
            }
            now = work.pace.now();
        }
        while under_way.load(Ordering::Acquire) > 0 && !work.is_given_up(work.pace.now()) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn start_all(
        &self,
        batch: &mut Vec<Arrival>,
        work: &Work<'_, Pacer>,
        under_way: &Arc<AtomicUsize>,
    ) {
        let sent = work.pace.now();
        for arrival in batch.iter() {
            work.shard.sent(*arrival, sent);
        }
        let told = Told {
            arrivals: std::mem::take(batch).into(),
            sent,
            pace: work.pace,
            shard: Arc::clone(&work.shard),
            events: self.events.clone(),
            under_way: Arc::clone(under_way),
        };
        if self.is_durable {
            self.start_durably(&Arc::new(told));
            return;
        }
        let arrivals = Arc::clone(&told.arrivals);
        let refused = told.clone();
        let inputs = arrivals
            .iter()
            .map(|arrival| self.events.input(arrival.index).as_bytes());
        if let Err(error) = self.engine.start_batch(&self.machine, inputs, told) {
            for line in 0..refused.arrivals.len() {
                refused.tell(line, outcome_of(&error));
            }
        }
    }

    /// Of a durable start the time runs until it is on the disk and the execution has ended, whichever is later.
    fn start_durably(&self, told: &Arc<Told>) {
        for (line, arrival) in told.arrivals.iter().enumerate() {
            let request = StartRequest::new(self.events.input(arrival.index).as_bytes());
            let both = Arc::new((AtomicUsize::new(2), std::sync::Mutex::new(Outcome::Right)));
            let half = |told: &Arc<Told>| {
                let (told, both) = (Arc::clone(told), Arc::clone(&both));
                move |outcome: Outcome| {
                    if outcome != Outcome::Right {
                        *lock(&both.1) = outcome;
                    }
                    if both.0.fetch_sub(1, Ordering::AcqRel) == 1 {
                        let outcome = *lock(&both.1);
                        told.tell(line, outcome);
                    }
                }
            };
            let (acknowledged, ended) = (half(told), half(told));
            let started = self
                .engine
                .start_then(&self.machine, request, move |result| {
                    acknowledged(
                        result.map_or_else(|error| outcome_of(&error), |()| Outcome::Right),
                    );
                });
            match started {
                Err(error) => told.tell(line, outcome_of(&error)),
                Ok(handle) => {
                    let (events, index) = (self.events.clone(), arrival.index);
                    handle.then(move |result| ended(of_result(&events, index, result)));
                }
            }
        }
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn outcome_of(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::Throttled => Outcome::Throttled,
        _ => Outcome::Broken,
    }
}

fn of_result(events: &Events, index: u64, result: Result<ExecutionResult, Error>) -> Outcome {
    match result {
        Err(error) => outcome_of(&error),
        Ok(ExecutionResult {
            status: Status::Succeeded,
            output: Some(output),
            ..
        }) => match events.is_right(index, output.as_bytes()) {
            true => Outcome::Right,
            false => Outcome::Wrong,
        },
        Ok(_) => Outcome::Failed,
    }
}

/// Hears of the ends of a batch, on the engine's workers.
#[derive(Clone)]
struct Told {
    arrivals: Arc<[Arrival]>,
    sent: Nanos,
    pace: Pacer,
    shard: Arc<Shard>,
    events: Events,
    under_way: Arc<AtomicUsize>,
}

impl Told {
    fn tell(&self, line: usize, outcome: Outcome) {
        let now = self.pace.now();
        self.shard
            .done(self.arrivals[line], self.sent, now, outcome);
        self.under_way.fetch_sub(1, Ordering::Release);
    }
}

fn place(line: u64) -> usize {
    // A number of a batch of `BATCH_MAX`.
    line as usize
}

impl ResultSink for Told {
    fn ended(&self, ended: &Ended<'_>) {
        thread_local! {
            static OUTPUT: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        let line = place(ended.line);
        let outcome = if ended.status() != Status::Succeeded {
            Outcome::Failed
        } else if self.events.is_verified() {
            OUTPUT.with_borrow_mut(|output| {
                output.clear();
                ended.write_output(output);
                match self.events.is_right(self.arrivals[line].index, output) {
                    true => Outcome::Right,
                    false => Outcome::Wrong,
                }
            })
        } else {
            Outcome::Right
        };
        self.tell(line, outcome);
    }

    fn refused(&self, line: u64, error: Error) {
        self.tell(place(line), outcome_of(&error));
    }

    fn abandoned(&self, line: u64) {
        self.tell(place(line), Outcome::Broken);
    }
}

impl Target for Embedded {
    fn drive(&self, _: usize, work: &mut Work<'_, Pacer>) -> Result<(), String> {
        match self.mode {
            Mode::Sync => blocking(work, |_, arrival| {
                let input = self.events.input(arrival.index);
                let result = self.engine.run(&self.machine, input.as_bytes());
                of_result(&self.events, arrival.index, result)
            }),
            Mode::Async => self.start(work),
            Mode::Standard | Mode::Ingest => {
                return Err("the embedded engine has the modes sync and async".to_owned());
            }
        }
        Ok(())
    }

    /// Holds the engine's own counters against the tester's.
    fn check(&self, _: &Counts) -> Result<Option<String>, String> {
        let Some((log, _)) = &self.log else {
            return Ok(None);
        };
        let dropped = log.counters().dropped();
        Ok(Some(format!("{dropped} events of the log dropped")))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.engine.shutdown(Duration::from_secs(10));
        if let Some((log, file)) = self.log.take() {
            log.close(Duration::from_secs(10));
            for number in 0..=LOGS_KEPT {
                let file = match number {
                    0 => file.clone(),
                    number => PathBuf::from(format!("{}.{number}", file.display())),
                };
                // There may be fewer.
                let _ = std::fs::remove_file(file);
            }
        }
    }
}
