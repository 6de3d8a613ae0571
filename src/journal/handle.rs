//! [`Journal`]: appending, and waiting for what was appended.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::commit::Committer;
use super::error::{Error, ErrorKind};
use super::record::{
    Encoded, EndRecord, INPUT_BYTES_MAX, Lsn, MACHINE_BYTES_MAX, NAME_BYTES_MAX, StartRecord,
};
use super::shared::{Phase, Progress, Purpose, Space, State};
use super::{Counters, Options};
use crate::task::lock;

/// An open journal. It can be shared by any number of threads; cloning it copies a pointer.
#[derive(Clone)]
pub struct Journal(pub(super) Arc<Shared>);

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) state: Mutex<State>,
    /// The committer has something to do.
    pub(super) work: Condvar,
    /// A buffer has room again.
    pub(super) room: Condvar,
    pub(super) progress: [Progress; 2],
    pub(super) committer: Mutex<Committer>,
}

/// What a turn of the committer has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It has done something, and may have more to do.
    Busy,
    /// There is nothing to do until somebody appends something, or until a moment of the clock.
    Idle {
        /// The moment.
        wake_at: Option<u64>,
    },
    /// The journal is closed or poisoned: there is nothing more to do.
    Stopped,
}

/// Starts that were appended and are not durable yet.
#[derive(Clone)]
#[must_use = "the starts are not durable before the ticket says so"]
pub struct Ticket {
    shared: Arc<Shared>,
    commit: u64,
    first: Lsn,
    records: u64,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("commit", &self.commit)
            .field("starts", &self.starts())
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// Batches are encoded outside the lock, into memory that is there already.
    static SCRATCH: RefCell<Encoded> = RefCell::default();
}

/// Whether an append waits for room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    Waits,
    IsRefused,
}

impl Journal {
    /// Appends starts, all in one commit. They may run at once or wait for [`Ticket::wait`] or
    /// [`Ticket::on_durable`]; nobody may be told that they were accepted before. Waits while the buffers are full.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Full`]: there is no room on the disk, or in the journal's own bound;
    /// - [`ErrorKind::TooLarge`]: a record passes a bound, or the batch is larger than a buffer;
    /// - [`ErrorKind::Poisoned`], [`ErrorKind::Closed`].
    ///
    /// Nothing of the batch was appended then.
    pub fn append_starts(&self, starts: &[StartRecord<'_>]) -> Result<Ticket, Error> {
        self.append(starts, Patience::Waits)
    }

    /// As [`Journal::append_starts`], and never waits.
    ///
    /// # Errors
    ///
    /// As there, and [`ErrorKind::Busy`] if the buffers are full.
    pub fn try_append_starts(&self, starts: &[StartRecord<'_>]) -> Result<Ticket, Error> {
        self.append(starts, Patience::IsRefused)
    }

    fn append(&self, starts: &[StartRecord<'_>], patience: Patience) -> Result<Ticket, Error> {
        check(starts)?;
        if starts.is_empty() {
            // There is nothing to wait for: as durable as what was there when the journal was opened.
            return Ok(Ticket {
                shared: Arc::clone(&self.0),
                commit: 0,
                first: Lsn(0),
                records: 0,
            });
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            for start in starts {
                scratch.start(start);
            }
            let (first, mut state) = self.push(scratch, patience)?;
            let count = starts.len() as u64;
            state.live.start(first, count);
            state.counters.starts += count;
            state.start_size.count += count;
            state.start_size.bytes += scratch.bytes.len() as u64;
            Ok(self.ticket(&state, first, count))
        })
    }

    /// Says that recovered starts are about to run again, as which attempt. It is durable when the ticket says so; who
    /// waits for it counts every attempt, who does not may count one less after a crash. Waits while the buffers are full.
    ///
    /// # Errors
    ///
    /// As [`Journal::append_starts`].
    pub fn append_attempts(&self, attempts: &[(Lsn, u32)]) -> Result<Ticket, Error> {
        self.attempts(attempts, Patience::Waits)
    }

    /// As [`Journal::append_attempts`], and never waits.
    ///
    /// # Errors
    ///
    /// As [`Journal::try_append_starts`].
    pub fn try_append_attempts(&self, attempts: &[(Lsn, u32)]) -> Result<Ticket, Error> {
        self.attempts(attempts, Patience::IsRefused)
    }

    fn attempts(&self, attempts: &[(Lsn, u32)], patience: Patience) -> Result<Ticket, Error> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            scratch.attempts(attempts.iter().copied());
            let (first, mut state) = self.push(scratch, patience)?;
            for &(start, attempt) in attempts {
                state.live.attempt(start, attempt);
            }
            state.counters.attempts += attempts.len() as u64;
            Ok(self.ticket(&state, first, 1))
        })
    }

    fn ticket(&self, state: &State, first: Lsn, records: u64) -> Ticket {
        Ticket {
            shared: Arc::clone(&self.0),
            commit: state.commit,
            first,
            records,
        }
    }

    fn push(
        &self,
        records: &Encoded,
        patience: Patience,
    ) -> Result<(Lsn, MutexGuard<'_, State>), Error> {
        let options = &self.0.options;
        if records.bytes.len() > options.buffer_bytes {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "a batch of {} bytes; a commit takes at most {}",
                    records.bytes.len(),
                    options.buffer_bytes
                ),
            ));
        }
        let count = u64::from(records.records);
        let mut state = lock(&self.0.state);
        loop {
            if let Some(refusal) = state.refusal() {
                return Err(refusal);
            }
            if let Some(first) = state.push(records, Purpose::Starts, options) {
                self.0.wake(&mut state);
                return Ok((first, state));
            }
            if let Space::Full(error) = &state.space
                && !state.has_room_after_commit(records, options)
            {
                let error = error.clone();
                state.counters.refused_full += count;
                return Err(error);
            }
            if patience == Patience::IsRefused {
                state.counters.refused_busy += count;
                return Err(Error::new(
                    ErrorKind::Busy,
                    "the journal's buffers are full until the next commit",
                ));
            }
            state = self
                .0
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says that starts have ended. A later commit takes that along: if there is a crash before, they run again. It is
    /// never refused for want of room. A start that is not unfinished is passed over, so a second end does nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`], or [`ErrorKind::Closed`] once the journal has been closed and written out.
    pub fn append_ends(&self, ends: &[EndRecord]) -> Result<(), Error> {
        let mut state = lock(&self.0.state);
        match &state.phase {
            Phase::Open | Phase::Closing => {}
            Phase::Closed | Phase::Poisoned(_) => {
                return state.refusal().map_or(Ok(()), Err);
            }
        }
        for end in ends {
            if state.live.end(end.start) {
                state.ends.push_back(*end);
                state.counters.ends += 1;
            } else {
                state.counters.ends_unknown += 1;
            }
        }
        // One wake-up sets the committer's alarm; the ends that follow are in time for it.
        if !state.ends_are_known && !state.ends.is_empty() {
            state.ends_are_known = true;
            self.0.wake(&mut state);
        }
        Ok(())
    }

    /// No start is taken any more; what was appended is still written. [`Journal::run`] returns then.
    pub fn close(&self) {
        let mut state = lock(&self.0.state);
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closing;
        }
        self.0.wake(&mut state);
        self.0.room.notify_all();
    }

    /// One turn of the committer: at most one commit, and some upkeep. The clock gives nanoseconds since any moment.
    pub fn turn(&self, clock: &dyn Fn() -> u64) -> Turn {
        lock(&self.0.committer).turn(&self.0, clock)
    }

    /// The committer: takes turns until the journal is closed or poisoned. A thread of its own calls this.
    pub fn run(&self, clock: &dyn Fn() -> u64) {
        loop {
            match self.turn(clock) {
                Turn::Busy => {}
                Turn::Idle { wake_at } => self.0.sleep(wake_at, clock),
                Turn::Stopped => return,
            }
        }
    }

    /// What the journal has done, and what it holds.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let state = lock(&self.0.state);
        Counters {
            unfinished: state.live.count(),
            ..state.counters
        }
    }

    /// The options it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }
}

fn check(starts: &[StartRecord<'_>]) -> Result<(), Error> {
    for start in starts {
        for (what, length, most) in [
            ("a machine's name", start.machine.len(), MACHINE_BYTES_MAX),
            ("an execution's name", start.name.len(), NAME_BYTES_MAX),
            ("an input", start.input.len(), INPUT_BYTES_MAX),
        ] {
            if length > most {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("{what} of {length} bytes; it may have {most}"),
                ));
            }
        }
    }
    Ok(())
}

impl Shared {
    pub(super) fn wake(&self, state: &mut State) {
        state.news += 1;
        if state.is_asleep {
            state.is_asleep = false;
            self.work.notify_one();
        }
    }

    /// Waits until there is work, or until the moment.
    fn sleep(&self, wake_at: Option<u64>, clock: &dyn Fn() -> u64) {
        let mut state = lock(&self.state);
        if state.news != state.news_seen {
            return;
        }
        state.is_asleep = true;
        match wake_at {
            None => {
                while state.is_asleep {
                    state = self
                        .work
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
            Some(moment) => {
                let nanos = moment.saturating_sub(clock());
                let (mut state, _) = self
                    .work
                    .wait_timeout(state, Duration::from_nanos(nanos))
                    .unwrap_or_else(PoisonError::into_inner);
                state.is_asleep = false;
            }
        }
    }
}

impl Ticket {
    /// What names the starts, in the order of the batch.
    #[must_use]
    pub fn starts(&self) -> Range<u64> {
        self.first.0..self.first.0 + self.records
    }

    /// What names the start at an index of the batch.
    #[must_use]
    pub fn start(&self, index: usize) -> Lsn {
        Lsn(self.first.0 + index as u64)
    }

    fn progress(&self) -> &Progress {
        &self.shared.progress[usize::from(!self.commit.is_multiple_of(2))]
    }

    /// Waits until the starts are durable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`] if they never will be, as far as anybody knows.
    pub fn wait(&self) -> Result<(), Error> {
        self.progress().wait(self.commit)
    }

    /// Whether they are durable; none as long as that is open.
    #[must_use]
    pub fn poll(&self) -> Option<Result<(), Error>> {
        self.progress().poll(self.commit)
    }

    /// Calls back once they are durable or never will be: now, or on the committer's thread, which must not be held up.
    pub fn on_durable(&self, callback: impl FnOnce(Result<(), Error>) + Send + 'static) {
        self.progress().on_done(self.commit, Box::new(callback));
    }
}
