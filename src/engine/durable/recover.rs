//! Running again what a crash has left unfinished.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Durable;
use crate::engine::error::{Error, ErrorKind};
use crate::engine::handle::ExecutionHandle;
use crate::engine::machine::StateMachine;
use crate::engine::run::{Engine, Known};
use crate::interp::name_of_seed;
use crate::journal::{self, Lsn, Recovery, UnfinishedStart};
use crate::runtime::admission::Limit;
use crate::runtime::outlet::Group;
use crate::runtime::ticket::Recorded;
use crate::task::lock;

/// Starts that are read, and whose attempts are written, together.
const CHUNK_STARTS: usize = 256;

/// How long recovery waits for room before it looks again.
const PATIENCE_MAX: Duration = Duration::from_millis(10);

/// Bytes of inputs at which a chunk is large enough.
const CHUNK_BYTES: usize = 1 << 20;

/// What [`Engine::recover`] has found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// Executions that run again. Dropping the handles changes nothing.
    pub executions: Vec<ExecutionHandle>,
    /// Machines of unfinished starts that were not among the given ones. These starts stay unfinished.
    pub unknown: Vec<UnknownMachine>,
    /// Starts that the engine has no room for yet: see [`Engine::recover`].
    pub left: u64,
}

/// A machine that the journal knows and its engine does not.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UnknownMachine {
    /// Its ARN.
    pub arn: Box<str>,
    /// Unfinished starts of it.
    pub starts: u64,
}

/// How far recovery has come.
#[derive(Debug)]
pub(super) struct Recovering {
    recovery: Recovery,
    /// Starts that were read and do not run yet.
    ready: VecDeque<Unfinished>,
    /// Whether their attempts are written.
    is_written: bool,
    /// Starts that have been read.
    read: u64,
}

/// Finds the group in which an unfinished start is to run; none if its machine is not known.
pub(in crate::engine) type Find<'a> = dyn FnMut(&UnfinishedStart<'_>) -> Option<Arc<Group>> + 'a;

#[derive(Debug)]
struct Unfinished {
    start: Lsn,
    group: Arc<Group>,
    name: Box<str>,
    seed: u64,
    attempt: u32,
    input: Box<[u8]>,
}

impl Recovering {
    pub(super) fn new(recovery: Recovery) -> Recovering {
        Recovering {
            recovery,
            ready: VecDeque::new(),
            is_written: false,
            read: 0,
        }
    }

    /// How many starts were found.
    #[cfg(feature = "server")]
    pub(super) fn found(&self) -> u64 {
        self.recovery.unfinished()
    }

    /// Reads the next starts that have a group; returns false if there are none.
    fn read(&mut self, find: &mut Find<'_>) -> Result<bool, journal::Error> {
        let mut bytes = 0;
        while self.ready.len() < CHUNK_STARTS && bytes < CHUNK_BYTES {
            let Some(found) = self.recovery.next()? else {
                break;
            };
            self.read += 1;
            let Some(group) = find(&found) else {
                continue;
            };
            bytes += found.input.len();
            self.ready.push_back(Unfinished {
                start: found.start,
                group,
                name: found.name.into(),
                seed: found.seed,
                attempt: found.attempts.saturating_add(1),
                input: found.input.into(),
            });
        }
        self.is_written = false;
        Ok(!self.ready.is_empty())
    }

    /// Refuses to go on without a machine of which starts have been read already.
    fn check(&self, machines: &[Known]) -> Result<(), Error> {
        for start in &self.ready {
            let arn = start.group.bound.identity.arn();
            let is_given = machines.iter().any(|m| m.arn.as_deref() == Some(&*arn));
            if !is_given {
                let message =
                    format!("recovery goes on without the machine {arn}, with which it began");
                return Err(Error::new(ErrorKind::Journal, message));
            }
        }
        Ok(())
    }

    /// Starts that do not run yet, those of unknown machines among them that have not been read.
    fn left(&self) -> u64 {
        self.ready.len() as u64 + (self.recovery.unfinished() - self.read)
    }
}

fn count(unknown: &mut Vec<UnknownMachine>, arn: &str) {
    match unknown.iter_mut().find(|known| &*known.arn == arn) {
        Some(known) => known.starts += 1,
        None => unknown.push(UnknownMachine {
            arn: arn.into(),
            starts: 1,
        }),
    }
}

impl Engine {
    /// Runs again, from their beginning, the starts in a durable engine's journal that had no end when it was opened: with
    /// the same name, input and seed, and with the number of the attempt, which handlers see
    /// ([`TaskRequest::execution_attempt`](crate::task::TaskRequest::execution_attempt)). It is called once, with all
    /// machines, before or after other starts; a machine is known by its ARN, so that a definition that was changed runs
    /// as it is now. The execution's start time is that of its last attempt, and so is what its timeout counts from.
    ///
    /// This waits while the engine has as much to do as it may; an engine whose workers have no threads returns, and says
    /// how many are [`left`](Recovered::left), for a further call with the same machines. An engine that is not durable
    /// has nothing to recover.
    ///
    /// The numbers of attempts are on the disk before the attempts run, so that no two of them have the same, but when the
    /// journal has no room for that: then they run all the same, since ends are what makes room.
    ///
    /// # Errors
    ///
    /// If the journal cannot be read ([`ErrorKind::Journal`]) or written ([`ErrorKind::Poisoned`]), or if the engine is
    /// shut down meanwhile. What was recovered until then runs.
    pub fn recover(&self, machines: &[&StateMachine]) -> Result<Recovered, Error> {
        let mut recovered = Recovered::default();
        let Some(durable) = self.durable() else {
            return Ok(recovered);
        };
        let known: Vec<Known> = machines.iter().map(|machine| self.known(machine)).collect();
        lock(&durable.recovering).check(&known)?;
        let unknown = &mut recovered.unknown;
        let mut find = |start: &UnfinishedStart<'_>| {
            let is_its = |known: &&Known| known.arn.as_deref() == Some(start.machine);
            let found = known.iter().find(is_its);
            if found.is_none() {
                count(unknown, start.machine);
            }
            found.map(|known| Arc::clone(&known.asynchronous))
        };
        let executions = &mut recovered.executions;
        recovered.left = self.recover_into(&mut find, &mut |handle| executions.push(handle))?;
        Ok(recovered)
    }

    /// The same for starts whose groups somebody else knows. Returns how many are left.
    pub(in crate::engine) fn recover_into(
        &self,
        find: &mut Find<'_>,
        started: &mut dyn FnMut(ExecutionHandle),
    ) -> Result<u64, Error> {
        let Some(durable) = self.durable() else {
            return Ok(0);
        };
        self.workers()?;
        let mut recovering = lock(&durable.recovering);
        loop {
            if recovering.ready.is_empty() {
                let read = recovering.read(find);
                let is_more =
                    read.map_err(|error| Error::new(ErrorKind::Journal, error.to_string()))?;
                if !is_more {
                    return Ok(0);
                }
            }
            // Not by a call before, if it has met a disk that failed.
            if !recovering.is_written {
                durable.write_attempts(&recovering.ready)?;
                recovering.is_written = true;
            }
            while let Some(start) = recovering.ready.front() {
                if !self.admit_again(durable, start)? {
                    return Ok(recovering.left());
                }
                started(self.start_again(start));
                recovering.ready.pop_front();
            }
        }
    }

    /// Admits an unfinished start, as soon as there is room; false if nobody would make room meanwhile. One that by the limits
    /// of this process would never be admitted was by those of the one before, and must not hold up the others.
    fn admit_again(&self, durable: &Durable, start: &Unfinished) -> Result<bool, Error> {
        let shared = self.shared();
        loop {
            match shared.try_admit(1, start.input.len() as u64) {
                Ok(()) => return Ok(true),
                Err(throttled) if throttled.limit == Limit::Closed => return Err(throttled.into()),
                Err(throttled)
                    if throttled.retry_after.is_none()
                        && shared.admission.admit_again(start.input.len() as u64) =>
                {
                    return Ok(true);
                }
                Err(_) if durable.is_simulated => return Ok(false),
                Err(throttled) => {
                    let patience = throttled.retry_after.unwrap_or(PATIENCE_MAX);
                    // Nobody says when there is room, and the engine may be shut down meanwhile.
                    thread::park_timeout(patience.min(PATIENCE_MAX));
                }
            }
        }
    }

    fn start_again(&self, start: &Unfinished) -> ExecutionHandle {
        // One that was made of the seed is made of it again.
        let name = (*start.name != *name_of_seed(start.seed)).then_some(&*start.name);
        let recorded = Recorded {
            start: start.start,
            attempt: start.attempt,
        };
        let ticket = self.shared().start(
            &start.group,
            &start.input,
            name,
            Some(start.seed),
            Some(recorded),
        );
        ExecutionHandle {
            ticket,
            shared: Arc::clone(self.shared()),
            name: name.map(Into::into),
        }
    }
}

impl Durable {
    /// Writes that attempts begin, and waits for the disk.
    fn write_attempts(&self, starts: &VecDeque<Unfinished>) -> Result<(), Error> {
        self.may_wait()?;
        let attempts: Vec<(Lsn, u32)> = starts.iter().map(|s| (s.start, s.attempt)).collect();
        // What one commit takes is all of them, unless the buffers are small.
        for attempts in attempts.chunks(self.journal.options().attempts_max()) {
            let appended = match self.is_simulated {
                true => self.with_turns(|| self.journal.try_append_attempts(attempts)),
                false => self.journal.append_attempts(attempts),
            };
            match appended {
                Ok(ticket) => self.wait(&ticket)?,
                // A full journal gets room only by ends, and they by these executions.
                Err(error) if error.kind() == journal::ErrorKind::Full => return Ok(()),
                Err(error) => return Err(self.error(&error)),
            }
        }
        Ok(())
    }
}
