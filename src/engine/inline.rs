//! Executions on their caller's thread: [`Engine::start_sync`] and its like.
//!
//! Whoever calls has the memory of a *runner*, which is kept for the next one. What has to wait goes on on the workers, and
//! the caller waits for its ticket; where nobody may wait for a worker, it waits itself.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Error, ErrorKind};
use super::handle::{StartRequest, of_ticket};
use super::logged::LoggedHere;
use super::machine::StateMachine;
use super::run::Engine;
use crate::history::{NoEvents, Observer};
use crate::interp::{Invocation, Start};
use crate::jsonata::with_patience;
use crate::log;
use crate::metrics::{Api, Writer};
use crate::runtime::clock::Clock;
use crate::runtime::outlet::Group;
use crate::runtime::result::ExecutionResult;
use crate::runtime::ticket::Ticket;
use crate::runtime::turn::{Driver, Run, Surroundings, Turn};
use crate::runtime::{Meta, Shared, TurnHere, is_worker};
use crate::stdx::Timestamp;
use crate::task::{Address, Answer, Inbox, ThreadInbox, lock};

/// Memory of an execution that runs on its caller's thread.
pub(super) struct Runner {
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

impl Engine {
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
            let Some(logs) = self.logs() else {
                return run(runner, request, None);
            };
            let mut recorder = runner.recorder.take().unwrap_or_else(|| logs.recorder());
            let result = if recorder.records(machine.identity()) {
                let seed = request.seed.unwrap_or_else(|| self.shared().new_seed());
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
        let taken = lock(self.runners()).pop();
        let clock = &self.shared().clock;
        let mut runner = taken.unwrap_or_else(|| Runner::new(clock));
        if !runner.inbox.is_of_this_thread() {
            let clock = Arc::clone(&self.shared().clock);
            runner.inbox = ThreadInbox::of_this_thread(Some(Box::new(move || clock.nanos())));
        }
        let result = match self.shared().is_simulated() {
            true => with_patience(|| run(&mut runner)),
            false => run(&mut runner),
        };
        runner.run.reset();
        let mut runners = lock(self.runners());
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
        let shared = self.shared();
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
        let shared = self.shared();
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
