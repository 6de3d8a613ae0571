//! What the test, the handlers and everybody who is told something have in common.
//!
//! Its lock is never held while the engine is called: the engine calls back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quickstep::engine::{Ended, Error, ErrorKind, ExecutionHandle, ExecutionResult, ResultSink};
use quickstep::task::TaskRequest;
use quickstep::{Engine, Status};

use crate::calls::{Call, Given, Say, Way};
use crate::clock::SimClock;
use crate::machines::task_times;
use crate::model::{Checked, End, Model, Told};
use crate::random::Random;
use crate::trace::Trace;

/// An answer at once that has this long is taken in time: the engine looks at the clock after the answer was given, and
/// a look takes less.
const LOOKS_MILLIS: u64 = 100;

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) clock: Arc<SimClock>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) model: Model,
    pub(crate) calls: Vec<Call>,
    /// The first of the calls that was made in this life.
    pub(crate) first_call: usize,
    pub(crate) handles: Vec<(u64, ExecutionHandle)>,
    /// None between two lives.
    pub(crate) engine: Option<Engine>,
    pub(crate) life: u32,
    /// When the last turn of a worker began.
    pub(crate) turn_began: u64,
    /// Handlers are given what they do, and do it at once.
    pub(crate) is_draining: bool,
    pub(crate) is_poisoned: bool,
    pub(crate) answers: u64,
    pub(crate) met: Met,
    pub(crate) violations: Vec<String>,
}

macro_rules! counted {
    ($($name:ident)*) => {
        /// What has happened, so that it can be shown that the simulation meets everything.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Met { $(pub(crate) $name: u64),* }

        impl Met {
            pub(crate) fn add(&mut self, other: &Met) {
                $(self.$name += other.$name;)*
            }

            pub(crate) fn each(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counted! {
    starts refused full doubtful acknowledged_later batches batches_refused synchronous not_json
    calls retries answers forged late_answers heartbeats inner_answers inner_starts inner_stops panics garbage
    stops stopped timed_out failed succeeded caught abandoned
    crashes kills shutdowns clean_shutdowns crashes_while_opening recovered third_attempts attempts_unsure left unknown
    poisoned jumps settled durable_ends stalls moved recycled
}

impl State {
    pub(crate) fn check(&mut self, checked: Checked) {
        if let Err(violation) = checked {
            self.violations.push(violation);
        }
    }
}

macro_rules! trace {
    ($hub:expr, $state:expr, $($text:tt)*) => {
        $state.trace.add($hub.clock.now(), format_args!($($text)*))
    };
}
pub(crate) use trace;

impl Hub {
    pub(crate) fn new(seed: u64) -> Arc<Hub> {
        Arc::new(Hub {
            clock: Arc::new(SimClock::new(seed)),
            state: Mutex::new(State {
                random: Random::new(seed ^ 0x51D0),
                trace: Trace::default(),
                model: Model::default(),
                calls: Vec::new(),
                first_call: 0,
                handles: Vec::new(),
                engine: None,
                life: 0,
                turn_began: 0,
                is_draining: false,
                is_poisoned: false,
                answers: 0,
                met: Met::default(),
                violations: Vec::new(),
            }),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handler is called; returns the number of the call.
    pub(crate) fn called(&self, request: &Request<'_>, way: Way) -> usize {
        let now = self.clock.now();
        let mut state = self.lock();
        let start = id_of(request.input).unwrap_or_default();
        let number = state.calls.len();
        trace!(
            self,
            state,
            "call {number} of {start}, attempt {}: {} {way:?} retry {}",
            request.attempt,
            request.state,
            request.retry
        );
        let heartbeat = task_times(request.state).heartbeat;
        let (life, began) = (state.life, state.turn_began);
        state.calls.push(Call {
            start,
            life,
            attempt: request.attempt,
            state: request.state.to_owned(),
            retry: request.retry,
            since: match way {
                Way::Future => began,
                Way::AtOnce | Way::Token => now,
            },
            at: now,
            way,
            token: None,
            given: Vec::new(),
            answer: None,
            waker: None,
            heartbeat_due: heartbeat.map(|heartbeat| now + heartbeat),
        });
        state.met.calls += 1;
        state.met.retries += u64::from(request.retry > 0);
        let State { model, calls, .. } = &mut *state;
        let checked = model.called(number, calls, request.name);
        state.check(checked);
        number
    }

    /// Notes an answer before it is given; returns its number.
    pub(crate) fn give(&self, call: usize, say: Say) -> u64 {
        let at = self.clock.now();
        let mut state = self.lock();
        state.answers += 1;
        let number = state.answers;
        trace!(self, state, "answer {number} to call {call}: {say:?}");
        state.met.answers += 1;
        match say {
            Say::Heartbeat => state.met.heartbeats += 1,
            Say::Panic => state.met.panics += 1,
            Say::Garbage => state.met.garbage += 1,
            Say::Done | Say::Error(_) => {}
        }
        let call = &mut state.calls[call];
        let is_late = at >= call.due();
        call.given.push(Given {
            number,
            at,
            say,
            is_in_time: call.way == Way::AtOnce && at + LOOKS_MILLIS < call.due(),
        });
        state.met.late_answers += u64::from(is_late);
        number
    }

    /// Somebody is told what became of an execution of this life.
    pub(crate) fn told(&self, id: u64, life: u32, told: &Told) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.life != life {
            return;
        }
        trace!(self, state, "{id} {told:?}");
        match told {
            Told::Refused => state.met.not_json += 1,
            Told::Abandoned => state.met.abandoned += 1,
            Told::Ended(end) => {
                let output = end.output.as_deref().unwrap_or_default();
                state.met.caught += u64::from(output.contains(r#""e":{"Error""#));
                match end.status {
                    Status::Succeeded => state.met.succeeded += 1,
                    Status::Aborted => state.met.stopped += 1,
                    Status::TimedOut => state.met.timed_out += 1,
                    Status::Failed | Status::Running => state.met.failed += 1,
                }
            }
        }
        let State { model, calls, .. } = &mut *state;
        let checked = model.told(id, told, now, calls);
        state.check(checked);
    }

    /// Keeps the handle of an execution, and is told its end.
    pub(crate) fn keep(self: &Arc<Hub>, id: u64, handle: ExecutionHandle) {
        let (hub, life) = (Arc::clone(self), self.lock().life);
        handle.clone().then(move |result| {
            hub.told(id, life, &told(result));
        });
        self.lock().handles.push((id, handle));
    }
}

/// What a handler is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) input: &'a str,
    pub(crate) name: &'a str,
    pub(crate) state: &'a str,
    pub(crate) retry: u32,
    pub(crate) attempt: u32,
}

impl Request<'_> {
    pub(crate) fn with<T>(request: &TaskRequest<'_>, use_it: impl FnOnce(&Request<'_>) -> T) -> T {
        use_it(&Request {
            input: &request.input_json(),
            name: &request.execution_name(),
            state: request.state(),
            retry: request.attempt(),
            attempt: request.execution_attempt(),
        })
    }
}

pub(crate) fn told(result: Result<ExecutionResult, Error>) -> Told {
    match result {
        Ok(result) => Told::Ended(End {
            start: SimClock::millis_of(result.start_time),
            stop: SimClock::millis_of(result.stop_time),
            name: result.name(),
            status: result.status,
            output: result.output,
            failure: result.failure,
        }),
        Err(error) if error.kind() == ErrorKind::InvalidInput => Told::Refused,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Abandoned, "{error}");
            Told::Abandoned
        }
    }
}

/// Is told of the executions of a batch.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) hub: Arc<Hub>,
    pub(crate) life: u32,
    pub(crate) ids: Vec<u64>,
}

impl Sink {
    fn told(&self, line: u64, told: &Told) {
        let id = usize::try_from(line).ok().and_then(|at| self.ids.get(at));
        match id {
            Some(id) => self.hub.told(*id, self.life, told),
            None => self
                .hub
                .lock()
                .check(Err(format!("there is no line {line}"))),
        }
    }
}

impl ResultSink for Sink {
    fn ended(&self, ended: &Ended<'_>) {
        let result = ended.to_result();
        self.told(ended.line, &told(Ok(result)));
    }

    fn refused(&self, line: u64, error: Error) {
        self.told(line, &told(Err(error)));
    }

    fn abandoned(&self, line: u64) {
        self.told(line, &Told::Abandoned);
    }
}

/// The number in an input, which may be cut off.
pub(crate) fn id_of(input: &str) -> Option<u64> {
    let (_, after) = input.split_once(r#""id":"#)?;
    let digits = after.find(|c: char| !c.is_ascii_digit())?;
    after[..digits].parse().ok()
}
