//! What producers and the committer share, behind one short lock: the buffer that fills, what is unfinished, and how
//! much more may come in.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex};

use super::error::{Error, ErrorKind};
use super::live::Live;
use super::record::{BLOCK_HEADER_BYTES, END_BYTES, Encoded, EndRecord, LIST_BYTES, Lsn, padded};
use super::{Counters, Options};
use crate::task::lock;

/// Called when a commit is durable, or never will be.
pub(super) type Waiter = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// One half of the double buffer.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) encoded: Encoded,
    pub(super) first_lsn: Lsn,
    /// Ends that this commit takes along; they follow its records as one more.
    pub(super) ends: Vec<EndRecord>,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.encoded.records == 0
    }

    pub(super) fn clear(&mut self) {
        self.encoded.clear();
        self.ends.clear();
    }
}

/// How far the journal's life has come.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Open,
    /// No start comes in any more; what is there is being written.
    Closing,
    Closed,
    Poisoned(Error),
}

/// Why there is no spare segment.
#[derive(Clone, Debug)]
pub(super) enum Space {
    /// There is one, or one is about to be made.
    Fine,
    /// Starts are refused once the active segment is full, and this is why.
    Full(Error),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) filling: Buffer,
    /// The number of the commit that `filling` will be.
    pub(super) commit: u64,
    /// Ends that no commit has taken along yet. Each start ends once, so there are no more than unfinished starts.
    pub(super) ends: VecDeque<EndRecord>,
    pub(super) next_lsn: Lsn,
    pub(super) live: Live,
    pub(super) start_size: StartSize,
    pub(super) phase: Phase,
    pub(super) space: Space,
    /// Bytes that the active segment has left, a multiple of a block's alignment.
    pub(super) remaining: u64,
    /// Prepared segments behind it.
    pub(super) spares: usize,
    /// Whether the committer's thread sleeps.
    pub(super) is_asleep: bool,
    /// How often there was news for the committer, and how much of it its last turn has seen.
    pub(super) news: u64,
    pub(super) news_seen: u64,
    /// Whether the committer knows that there are ends.
    pub(super) ends_are_known: bool,
    pub(super) counters: Counters,
}

/// Spare segments that there are to be: one to go on with, and one for copies if there is not another one to be had.
pub(super) const SPARES_MIN: usize = 2;

/// Who asks for room. While there is a second spare segment, everybody gets some. The last spare one is kept for copies:
/// with it, a full journal can always be emptied of what has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Starts may fill the active segment but for what ends are likely to need.
    Starts,
    /// Copies of unfinished starts may use everything.
    Copies,
}

/// Ends may fill the active segment while there is a spare one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EndsRoom {
    /// The last segment is left to copies; ends can wait in memory.
    KeepsLast,
    /// The journal closes: it is now or never.
    Everything,
}

impl State {
    /// Whether there is a spare segment for what comes in, beside the one for copies.
    pub(super) fn has_spares(&self) -> bool {
        self.spares >= SPARES_MIN
    }

    /// Most bytes that the filling buffer may come to.
    pub(super) fn bytes_max(&self, options: &Options, purpose: Purpose) -> usize {
        let reserve = match (purpose, self.spares) {
            (_, 2..) | (Purpose::Copies, 1) => return options.buffer_bytes,
            (Purpose::Starts, 1) => options.reserve_bytes(),
            (Purpose::Starts, 0) => return 0,
            (Purpose::Copies, 0) => 0,
        };
        self.active_room(options, reserve)
    }

    /// What a buffer may come to that has to fit the active segment.
    fn active_room(&self, options: &Options, reserve: u64) -> usize {
        let room = self
            .remaining
            .saturating_sub(reserve)
            .saturating_sub(BLOCK_HEADER_BYTES as u64);
        usize::try_from(room).map_or(options.buffer_bytes, |room| room.min(options.buffer_bytes))
    }

    /// Why nothing can be appended, if that is so.
    pub(super) fn refusal(&self) -> Option<Error> {
        match &self.phase {
            Phase::Open => None,
            Phase::Closing | Phase::Closed => Some(Error::new(
                ErrorKind::Closed,
                "the journal was closed and takes no more records",
            )),
            Phase::Poisoned(error) => Some(error.clone()),
        }
    }

    /// Appends records to the filling buffer, if there is room; returns the Lsn of the first.
    pub(super) fn push(
        &mut self,
        records: &Encoded,
        purpose: Purpose,
        options: &Options,
    ) -> Option<Lsn> {
        let bytes = self.filling.encoded.bytes.len() + records.bytes.len();
        if bytes > self.bytes_max(options, purpose) {
            return None;
        }
        let first = self.next_lsn;
        if self.filling.is_empty() {
            self.filling.first_lsn = first;
        }
        self.filling.encoded.append(records);
        self.next_lsn = Lsn(first.0 + u64::from(records.records));
        Some(first)
    }

    /// Whether records will fit the active segment once what fills now was written to it.
    pub(super) fn has_room_after_commit(&self, records: &Encoded, options: &Options) -> bool {
        let room = self
            .remaining
            .saturating_sub(padded(self.filling.encoded.bytes.len()))
            .saturating_sub(options.reserve_bytes())
            .saturating_sub(BLOCK_HEADER_BYTES as u64);
        self.spares > 0 && !self.filling.is_empty() && records.bytes.len() as u64 <= room
    }

    /// Takes along as many of the ends as fit the block, in their order, and gives them their Lsn.
    pub(super) fn take_ends(&mut self, into: &mut Buffer, options: &Options, ends_room: EndsRoom) {
        let bytes = into.encoded.bytes.len();
        let room = match (self.spares, ends_room) {
            (2.., _) | (1, EndsRoom::Everything) => bytes + options.buffer_bytes,
            (1, EndsRoom::KeepsLast) | (0, EndsRoom::Everything) => self.active_room(options, 0),
            (0, EndsRoom::KeepsLast) => 0,
        };
        let count = room.saturating_sub(bytes + LIST_BYTES) / END_BYTES;
        let count = count.min(self.ends.len());
        if count == 0 {
            return;
        }
        into.ends.extend(self.ends.drain(..count));
        if into.is_empty() {
            into.first_lsn = self.next_lsn;
        }
        self.next_lsn = Lsn(self.next_lsn.0 + 1);
    }

    /// Takes a block's room from the active segment or from the next one; says whether it is the next one.
    pub(super) fn reserve(&mut self, body_bytes: usize, options: &Options) -> bool {
        let bytes = padded(body_bytes);
        if bytes <= self.remaining {
            self.remaining -= bytes;
            return false;
        }
        assert!(
            self.spares > 0,
            "a block was let in for which there is no room"
        );
        self.spares -= 1;
        self.remaining = options.segment_room() - bytes;
        true
    }
}

/// How large starts are, as far as this was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StartSize {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl StartSize {
    /// Bytes of a start, as far as this can be known.
    pub(super) fn mean(&self) -> u64 {
        self.bytes.checked_div(self.count).unwrap_or(0)
    }
}

/// Commits of every second number end here, so that what waits for one is not woken for the other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done: Mutex<Done>,
    changed: Condvar,
}

#[derive(Default)]
struct Done {
    /// The last commit that is durable.
    commit: u64,
    failed: Option<Error>,
    /// Who waits for the next one: there is one, since the commit before it has the other [`Progress`].
    waiters: Vec<Waiter>,
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done")
            .field("commit", &self.commit)
            .field("failed", &self.failed)
            .field("waiters", &self.waiters.len())
            .finish()
    }
}

/// Calls all of them, on the committer's thread. One that panics has had its panic reported; the journal and the others
/// have nothing to do with that.
fn call(waiters: Vec<Waiter>, result: &Result<(), Error>) {
    for waiter in waiters {
        let (Ok(()) | Err(_)) = catch_unwind(AssertUnwindSafe(|| waiter(result.clone())));
    }
}

impl Progress {
    /// Everything up to the commit is durable.
    pub(super) fn advance(&self, commit: u64) {
        let mut done = lock(&self.done);
        done.commit = commit;
        let waiters = mem::take(&mut done.waiters);
        drop(done);
        self.changed.notify_all();
        call(waiters, &Ok(()));
    }

    /// Nothing more will be durable.
    pub(super) fn fail(&self, error: &Error) {
        let mut done = lock(&self.done);
        done.failed = Some(error.clone());
        let waiters = mem::take(&mut done.waiters);
        drop(done);
        self.changed.notify_all();
        call(waiters, &Err(error.clone()));
    }

    /// Calls back when the commit is durable or never will be; at once if that is known.
    pub(super) fn on_done(&self, commit: u64, waiter: Waiter) {
        let mut done = lock(&self.done);
        match Progress::result(&done, commit) {
            None => done.waiters.push(waiter),
            Some(result) => {
                drop(done);
                waiter(result);
            }
        }
    }

    pub(super) fn poll(&self, commit: u64) -> Option<Result<(), Error>> {
        Progress::result(&lock(&self.done), commit)
    }

    fn result(done: &Done, commit: u64) -> Option<Result<(), Error>> {
        if done.commit >= commit {
            return Some(Ok(()));
        }
        done.failed.clone().map(Err)
    }

    pub(super) fn wait(&self, commit: u64) -> Result<(), Error> {
        let mut done = lock(&self.done);
        loop {
            if let Some(result) = Progress::result(&done, commit) {
                return result;
            }
            done = self
                .changed
                .wait(done)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}
