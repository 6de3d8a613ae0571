//! A server of the Step Functions API: connections with one request under way each, driven by one loop a thread.
//!
//! 1. What is due is sent on a connection that is free; while none is, it waits, and its latency runs.
//! 2. An answer ends a request; or, of a STANDARD execution, begins its polling: `DescribeExecution` after a delay that
//!    doubles, until it has ended.
//! 3. Nothing is queued but polls: arrivals that cannot be sent are not taken from the schedule.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Mode, Prepared};
use crate::api::{self, Api, Counted, Said};
use crate::http::{Lane, wait};
use crate::load::{Next, Target, Work};
use crate::pacer::{Pace, Pacer};
use crate::recorder::{Counts, Outcome};
use crate::schedule::{Arrival, Nanos};

/// Most executions that are polled for on a thread.
pub(super) const POLLED_MAX: usize = 100_000;

/// The first and the longest delay of a poll.
const POLL_FIRST: Nanos = 1_000_000;
const POLL_LONGEST: Nanos = 100_000_000;

/// A connection that was idle for so long may have been closed.
const IDLE: Nanos = 1_000_000_000;

/// How long executions that nobody waits for may take to end after the last answer.
const FINISH: Nanos = 30_000_000_000;

/// Longest wait at a time.
const LOOK: Nanos = 100_000_000;

/// A server that is loaded.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) api: Api,
    pub(crate) mode: Mode,
    pub(crate) prepared: Prepared,
    /// Connections of all threads together.
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) process: Option<u32>,
    /// How long the server may take for an answer.
    pub(crate) timeout: Nanos,
    /// Of names of executions.
    pub(crate) run: String,
    /// What the server had counted of the machine when the run began: others may load it between runs.
    pub(crate) before: Mutex<Option<Counted>>,
    /// Whether it is known to the one how many executions it must count.
    pub(crate) is_exact: AtomicBool,
    /// Where executions are noted, if they are.
    pub(crate) ledger: Option<Mutex<Noted>>,
}

/// Numbers of requests, in the order of what happened to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted {
    /// A thread sends others than the next, so these are not dense once a run ends early.
    pub(crate) sent: Vec<u64>,
    pub(crate) acknowledged: Vec<u64>,
}

/// A STANDARD execution that has been acknowledged.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Polled {
    /// When it is asked for next.
    at: Nanos,
    delay: Nanos,
    index: u64,
    intended: Nanos,
    sent: Nanos,
    arn: Box<str>,
}

impl Polled {
    fn arrival(&self) -> Arrival {
        Arrival {
            index: self.index,
            intended: self.intended,
        }
    }
}

enum Job {
    Start(Arrival, Nanos),
    Poll(Polled),
}

struct Connection {
    lane: Lane,
    job: Option<Job>,
    used: Nanos,
}

/// What drives the connections of a thread.
struct Driver<'d, 'w, 'r> {
    remote: &'d Remote,
    work: &'w mut Work<'r, Pacer>,
    connections: Vec<Connection>,
    polled: BinaryHeap<Reverse<Polled>>,
    name: String,
}

impl Driver<'_, '_, '_> {
    fn all(&mut self) {
        let spin = self.work.pace.spin();
        loop {
            let now = self.work.pace.now();
            let next = self.begin(now);
            let is_busy = self
                .connections
                .iter()
                .any(|connection| connection.job.is_some());
            if self.work.is_given_up(now) {
                return;
            }
            let until = match next {
                Next::Over if !is_busy && self.polled.is_empty() => return,
                Next::At(at) => at,
                Next::Over | Next::Due(_) => now + LOOK,
            };
            let polled = self
                .polled
                .peek()
                .map_or(Nanos::MAX, |Reverse(polled)| polled.at);
            let until = until.min(self.work.give_up).min(now + LOOK);
            // Polls need not be punctual; whoever has no connection free waits for one.
            let until = match self
                .connections
                .iter()
                .any(|connection| connection.job.is_none())
            {
                true => until.min(polled),
                false => now + LOOK,
            };
            let busy = self
                .connections
                .iter()
                .filter(|connection| connection.job.is_some());
            let left = until.saturating_sub(self.work.pace.now());
            wait(
                busy.map(|connection| &connection.lane),
                left.saturating_sub(spin),
            );
            self.advance();
        }
    }

    /// Sends what is due on connections that are free.
    fn begin(&mut self, mut now: Nanos) -> Next {
        for at in 0..self.connections.len() {
            if self.connections[at].job.is_some() {
                continue;
            }
            let is_due = self
                .polled
                .peek()
                .is_some_and(|Reverse(polled)| polled.at <= now);
            if is_due && let Some(Reverse(polled)) = self.polled.pop() {
                self.poll(at, polled, now);
                continue;
            }
            let busy = self.connections.iter().filter(|other| other.job.is_some());
            let under_way = self.polled.len() + busy.count();
            if under_way >= POLLED_MAX || under_way >= self.work.in_flight_max {
                return Next::At(now + LOOK);
            }
            match self.work.next(now) {
                Next::Due(arrival) => {
                    now = self.work.pace.now();
                    self.start(at, arrival, now);
                }
                next @ (Next::At(_) | Next::Over) => return next,
            }
        }
        // Where a connection could not be made there may be more to send.
        match self
            .connections
            .iter()
            .any(|connection| connection.job.is_none())
        {
            true => Next::At(now),
            false => Next::At(now + LOOK),
        }
    }

    fn start(&mut self, at: usize, arrival: Arrival, now: Nanos) {
        let Driver {
            remote,
            connections,
            name,
            ..
        } = self;
        remote.note(|noted| noted.sent.push(arrival.index));
        let connection = &mut connections[at];
        connection.refresh(now);
        let authority = connection.lane.authority().to_owned();
        let (before, after) = remote.prepared.request(arrival.index);
        let sent = connection.lane.send(|out| match remote.mode {
            Mode::Sync => remote
                .api
                .write("StartSyncExecution", &authority, &[before, after], out),
            Mode::Async | Mode::Standard | Mode::Ingest => {
                name.clear();
                name.push_str("\"name\":\"");
                name.push_str(&remote.execution_name(arrival.index));
                name.push_str("\",");
                let body = [before, name.as_bytes(), after];
                remote.api.write("StartExecution", &authority, &body, out);
            }
        });
        self.work.shard.sent(arrival, now);
        match sent {
            Ok(()) => connection.job = Some(Job::Start(arrival, now)),
            Err(_) => self.broken(at, arrival, now),
        }
    }

    fn poll(&mut self, at: usize, polled: Polled, now: Nanos) {
        let remote = self.remote;
        let connection = &mut self.connections[at];
        connection.refresh(now);
        let authority = connection.lane.authority().to_owned();
        let body = [b"{\"executionArn\":\"", polled.arn.as_bytes(), b"\"}"];
        let sent = connection.lane.send(|out| {
            remote
                .api
                .write("DescribeExecution", &authority, &body, out)
        });
        match sent {
            Ok(()) => connection.job = Some(Job::Poll(polled)),
            Err(_) => self.broken(at, polled.arrival(), polled.sent),
        }
    }

    /// A connection that is of no use any more.
    fn broken(&mut self, at: usize, arrival: Arrival, sent: Nanos) {
        self.connections[at].lane.close();
        let now = self.work.pace.now();
        self.work.shard.done(arrival, sent, now, Outcome::Broken);
        // Whoever cannot be connected to is not asked a million times a second.
        self.work.pace.wait_until(now + 1_000_000);
    }

    /// Takes in what has come.
    fn advance(&mut self) {
        let now = self.work.pace.now();
        for at in 0..self.connections.len() {
            let connection = &mut self.connections[at];
            if connection.job.is_none() {
                continue;
            }
            let mut advanced = connection.lane.advance();
            let is_whole = connection.lane.answer.is_whole();
            if !is_whole && now.saturating_sub(connection.used) > self.remote.timeout {
                advanced = Err("no answer in time".to_owned());
            }
            match advanced {
                Ok(_) if !is_whole => {}
                // What is whole and closes has been taken from the lane: it was the last answer of its connection.
                Ok(_) => {
                    let answer = &mut connection.lane.answer;
                    let (status, body) = (answer.status, std::mem::take(&mut answer.body));
                    self.answered(at, status, &body);
                    // The buffer is used again.
                    self.connections[at].lane.answer.body = body;
                }
                Err(_) => match connection.job.take() {
                    Some(Job::Start(arrival, sent)) => self.broken(at, arrival, sent),
                    Some(Job::Poll(polled)) => self.broken(at, polled.arrival(), polled.sent),
                    None => {}
                },
            }
        }
    }

    fn answered(&mut self, at: usize, status: u16, body: &[u8]) {
        let now = self.work.pace.now();
        let connection = &mut self.connections[at];
        connection.used = now;
        let (arrival, sent, polled) = match connection.job.take() {
            None => return,
            Some(Job::Start(arrival, sent)) => (arrival, sent, None),
            Some(Job::Poll(polled)) => (polled.arrival(), polled.sent, Some(polled)),
        };
        let is_start = polled.is_none();
        let outcome = match (
            self.remote.mode,
            api::read_quickly(status, body, self.remote.prepared.output(arrival.index)),
        ) {
            (_, Err(outcome)) => outcome,
            (Mode::Sync, Ok(None)) => Outcome::Right,
            (Mode::Sync, Ok(Some(said))) => self.remote.outcome(arrival.index, &said),
            (_, Ok(None)) => Outcome::Right,
            (_, Ok(Some(said))) if is_start => {
                self.remote
                    .note(|noted| noted.acknowledged.push(arrival.index));
                if said.execution_arn.is_empty() {
                    Outcome::Broken
                } else if self.remote.mode == Mode::Standard && self.remote.ledger.is_none() {
                    self.polled.push(Reverse(Polled {
                        at: now + POLL_FIRST,
                        delay: POLL_FIRST,
                        index: arrival.index,
                        intended: arrival.intended,
                        sent,
                        arn: said.execution_arn.into(),
                    }));
                    return;
                } else {
                    Outcome::Right
                }
            }
            (_, Ok(Some(said))) => match (&*said.status, polled) {
                ("RUNNING" | "PENDING_REDRIVE", Some(mut polled)) => {
                    polled.delay = (polled.delay * 2).min(POLL_LONGEST);
                    polled.at = now + polled.delay;
                    self.polled.push(Reverse(polled));
                    return;
                }
                _ => self.remote.outcome(arrival.index, &said),
            },
        };
        self.work.shard.done(arrival, sent, now, outcome);
    }
}

impl Connection {
    /// Finds out whether a connection that was idle is still there.
    fn refresh(&mut self, now: Nanos) {
        if now.saturating_sub(self.used) > IDLE {
            self.lane.look();
        }
        self.used = now;
    }
}

impl Remote {
    fn note(&self, write: impl FnOnce(&mut Noted)) {
        if let Some(ledger) = &self.ledger {
            write(&mut lock(ledger));
        }
    }

    /// What was noted so far.
    pub(crate) fn noted(&self) -> Noted {
        self.ledger
            .as_ref()
            .map_or_else(Noted::default, |ledger| lock(ledger).clone())
    }

    /// The name of a request's execution.
    pub(crate) fn execution_name(&self, index: u64) -> String {
        format!("{}-{index}", self.run)
    }

    /// What an execution that has ended has come to.
    pub(crate) fn outcome(&self, index: u64, said: &Said) -> Outcome {
        match (&*said.status, &said.output) {
            ("SUCCEEDED", Some(output)) => {
                match self.prepared.events.is_right(index, output.as_bytes()) {
                    true => Outcome::Right,
                    false => Outcome::Wrong,
                }
            }
            ("SUCCEEDED", None) => Outcome::Wrong,
            _ => Outcome::Failed,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Target for Remote {
    fn begin(&self) {
        *lock(&self.before) = self.api.counted();
    }

    fn drive(&self, thread: usize, work: &mut Work<'_, Pacer>) -> Result<(), String> {
        let endpoint = match self.mode {
            Mode::Sync => &self.api.sync_endpoint,
            Mode::Async | Mode::Standard | Mode::Ingest => &self.api.endpoint,
        };
        // The first threads have those that are left over.
        let own = (self.connections + self.threads - 1 - thread) / self.threads;
        let own = own.clamp(1, work.in_flight_max);
        let connections = (0..own).map(|_| Connection {
            lane: Lane::new(endpoint),
            job: None,
            used: 0,
        });
        let mut connections: Vec<Connection> = connections.collect();
        for connection in &mut connections {
            connection
                .lane
                .connect()
                .map_err(|error| format!("failed to connect to {}: {error}", endpoint.authority))?;
        }
        if self.mode == Mode::Ingest {
            return super::ingest::drive(self, work, &mut connections[0].lane);
        }
        Driver {
            remote: self,
            work,
            connections,
            polled: BinaryHeap::new(),
            name: String::new(),
        }
        .all();
        Ok(())
    }

    fn process(&self) -> Option<u32> {
        self.process
    }

    /// Holds the server's counters against the tester's. Of starts that nobody waits for it is the only word on their ends.
    fn check(&self, counts: &Counts) -> Result<Option<String>, String> {
        let answered = counts.right + counts.wrong + counts.failed;
        // Of what was sent and not answered nobody knows whether it was started.
        if counts.broken > 0 || counts.sent != counts.done() {
            self.is_exact.store(false, Ordering::Relaxed);
        }
        if !self.is_exact.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(before) = *lock(&self.before) else {
            return Ok(None);
        };
        let pacer = Pacer::new(Duration::ZERO);
        loop {
            let Some(found) = self.api.counted() else {
                return Ok(None);
            };
            // Those that nobody waits for may still run.
            let runs = found.finished < found.started && pacer.now() < FINISH;
            if runs {
                pacer.wait_until(pacer.now() + LOOK);
                continue;
            }
            let started = found.started.saturating_sub(before.started);
            let succeeded = found.succeeded.saturating_sub(before.succeeded);
            let text = format!(
                "the server has counted {started} executions of the machine, {succeeded} of them succeeded; the tester \
                 {answered} answers"
            );
            let all_succeeded = started == succeeded;
            return match started == answered && (self.mode != Mode::Async || all_succeeded) {
                true => Ok(Some(text)),
                false => Err(text),
            };
        }
    }
}
