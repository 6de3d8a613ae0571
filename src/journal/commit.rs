//! The committer's turn: from the filling buffer to a synced block.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;

use super::error::{Error, ErrorKind, is_want_of_space};
use super::handle::{Shared, Turn};
use super::reader::BlockReader;
use super::record::{
    BLOCK_ALIGN, BLOCK_HEADER_BYTES, BlockPlace, Lsn, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use super::shared::{Buffer, EndsRoom, Phase, Space, State};
use super::storage::{Storage, StorageFile};
use crate::task::lock;

/// What only the committer touches.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) storage: Arc<dyn Storage>,
    /// Keeps other processes out for as long as the journal lives.
    /// Goes when nothing more will be written, so that the journal can be opened again whoever still knows of this one.
    pub(super) lock: Option<Guard>,
    pub(super) salt: u64,
    /// Segments with records, the oldest first.
    pub(super) segments: VecDeque<SegmentFile>,
    /// Where the next block of the last segment goes; none before the first commit.
    pub(super) active: Option<u64>,
    /// Prepared files, their numbers following that of the last segment.
    pub(super) spares: VecDeque<SpareFile>,
    pub(super) next_number: u64,
    /// The buffer that is being written, or is empty.
    pub(super) buffer: Buffer,
    /// A block for which there was no room on the disk after all.
    pub(super) stalled: Option<Stalled>,
    pub(super) ends_due: Option<u64>,
    /// When the file system is asked again for what it has refused.
    pub(super) retry_at: Option<u64>,
    /// Reads the oldest segment, to copy what is unfinished in it.
    pub(super) cleaning: Option<Cleaning>,
    /// Everything before is durable.
    pub(super) durable: Lsn,
    /// Nothing is removed before what was copied from there is durable.
    pub(super) copied_until: Lsn,
    /// Whether the file of the active segment was another segment before.
    pub(super) recycled_active: bool,
    /// Bytes that were copied, and those that may be, beside what starts and ends earn.
    pub(super) copied_bytes: u64,
    pub(super) copied_bytes_free: u64,
    /// The segment that was last looked through to its end.
    pub(super) cleaned: Option<u64>,
    /// Whether something was written since the journal was opened.
    pub(super) has_written: bool,
    /// Whether room was looked for, so that a journal that closes can write its last ends.
    pub(super) has_made_room: bool,
}

/// The lock of the storage.
pub(super) struct Guard(
    #[expect(dead_code, reason = "it is kept, and dropped")]
    pub(super)  Box<dyn std::any::Any + Send + Sync>,
);

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) first_lsn: Lsn,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) bytes: u64,
    /// Whether the file may become another segment: not if somebody may still be reading it.
    pub(super) is_reusable: bool,
}

#[derive(Debug)]
pub(super) struct SpareFile {
    pub(super) number: u64,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) is_recycled: bool,
}

#[derive(Debug)]
pub(super) struct Stalled {
    block: PlacedBlock,
    retry_at: u64,
}

#[derive(Debug)]
pub(super) struct Cleaning {
    pub(super) number: u64,
    pub(super) reader: BlockReader,
}

/// Whether a block goes to the active segment or begins the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Destination {
    Active,
    NextSegment,
    /// The next one, which an attempt to write the block has made the active one.
    BegunSegment,
}

/// A block whose place is decided.
#[derive(Clone, Copy, Debug)]
struct PlacedBlock {
    destination: Destination,
    commit: u64,
    first_lsn: Lsn,
    next_lsn: Lsn,
    is_closing: bool,
}

/// What there is to write.
enum Taken {
    Block(PlacedBlock),
    Nothing { wake_at: Option<u64> },
    Stopped,
}

impl Committer {
    pub(super) fn turn(&mut self, shared: &Shared, clock: &dyn Fn() -> u64) -> Turn {
        let now = clock();
        {
            let mut state = lock(&shared.state);
            state.news_seen = state.news;
        }
        let block = match self.stalled.take() {
            Some(stalled) if now < stalled.retry_at => {
                let wake_at = Some(stalled.retry_at);
                self.stalled = Some(stalled);
                // The executions that end meanwhile may make room.
                return match self.upkeep(shared, now) {
                    Ok(true) => Turn::Busy,
                    Ok(false) => Turn::Idle { wake_at },
                    Err(error) => self.poison(shared, error),
                };
            }
            Some(stalled) => Some(stalled.block),
            None => None,
        };
        let taken = match block {
            Some(block) => Taken::Block(block),
            None => self.take(shared, now),
        };
        let result = match taken {
            Taken::Stopped => {
                self.lock = None;
                return Turn::Stopped;
            }
            Taken::Nothing { wake_at } => self.upkeep(shared, now).map(|busy| match busy {
                true => Turn::Busy,
                false => Turn::Idle {
                    wake_at: [wake_at, self.retry_at].into_iter().flatten().min(),
                },
            }),
            Taken::Block(block) => self
                .commit(shared, &block, clock)
                .and_then(|()| self.upkeep(shared, now))
                .map(|_| match &self.stalled {
                    None => Turn::Busy,
                    Some(stalled) => Turn::Idle {
                        wake_at: Some(stalled.retry_at),
                    },
                }),
        };
        result.unwrap_or_else(|error| self.poison(shared, error))
    }

    /// Takes what is to be written from the producers.
    fn take(&mut self, shared: &Shared, now: u64) -> Taken {
        let options = &shared.options;
        let mut state = lock(&shared.state);
        let is_closing = match state.phase {
            Phase::Open => false,
            Phase::Closing => true,
            Phase::Closed | Phase::Poisoned(_) => return Taken::Stopped,
        };
        if state.filling.is_empty() && !is_closing {
            if state.ends.is_empty() {
                return Taken::Nothing { wake_at: None };
            }
            let delay = options.ends_delay_ms_max.saturating_mul(1_000_000);
            let due = *self.ends_due.get_or_insert(now.saturating_add(delay));
            if now < due {
                return Taken::Nothing { wake_at: Some(due) };
            }
        }
        self.buffer.clear();
        mem::swap(&mut state.filling, &mut self.buffer);
        let ends_room = match is_closing {
            true => EndsRoom::Everything,
            false => EndsRoom::KeepsLast,
        };
        state.take_ends(&mut self.buffer, options, ends_room);
        self.ends_due = None;
        state.ends_are_known = !state.ends.is_empty();
        let ends_bytes = match self.buffer.ends.len() {
            0 => 0,
            count => super::record::LIST_BYTES + count * super::record::END_BYTES,
        };
        if self.buffer.is_empty() && ends_bytes == 0 {
            return self.take_nothing(&mut state, is_closing, now, shared);
        }
        let destination = match state.reserve(self.buffer.encoded.bytes.len() + ends_bytes, options)
        {
            true => Destination::NextSegment,
            false => Destination::Active,
        };
        let block = PlacedBlock {
            destination,
            commit: state.commit,
            first_lsn: self.buffer.first_lsn,
            next_lsn: state.next_lsn,
            is_closing: false,
        };
        state.commit += 1;
        drop(state);
        shared.room.notify_all();
        if ends_bytes > 0 {
            let ends = mem::take(&mut self.buffer.ends);
            self.buffer.encoded.ends(ends.iter().copied());
            self.buffer.ends = ends;
        }
        Taken::Block(block)
    }

    /// There is nothing to write, or no room for ends. A journal that closes is marked as closed, if that has a place.
    fn take_nothing(
        &mut self,
        state: &mut State,
        is_closing: bool,
        now: u64,
        shared: &Shared,
    ) -> Taken {
        if !is_closing {
            let delay = shared.options.space_retry_ms.saturating_mul(1_000_000);
            // Ends wait until a segment has become free.
            let wake_at = (!state.ends.is_empty()).then_some(now.saturating_add(delay));
            self.ends_due = wake_at;
            return Taken::Nothing { wake_at };
        }
        if !state.ends.is_empty() && !mem::replace(&mut self.has_made_room, true) {
            return Taken::Nothing { wake_at: Some(now) };
        }
        let page = BLOCK_ALIGN as u64;
        if self.has_written && state.remaining >= page {
            self.has_written = false;
            state.remaining -= page;
            self.buffer.first_lsn = state.next_lsn;
            let block = PlacedBlock {
                destination: Destination::Active,
                commit: state.commit,
                first_lsn: state.next_lsn,
                next_lsn: state.next_lsn,
                is_closing: true,
            };
            state.commit += 1;
            return Taken::Block(block);
        }
        state.phase = Phase::Closed;
        Taken::Stopped
    }

    /// Writes a block, syncs it and tells who waits.
    fn commit(
        &mut self,
        shared: &Shared,
        block: &PlacedBlock,
        clock: &dyn Fn() -> u64,
    ) -> Result<(), Error> {
        let begun = clock();
        if block.destination == Destination::NextSegment {
            self.next_segment(block.first_lsn, shared.options.segment_bytes);
        }
        let bytes = match self.write(block) {
            Ok(bytes) => bytes,
            Err(error) if is_want_of_space(&error) => {
                return self.stall(shared, *block, begun, &error);
            }
            Err(error) => return Err(Error::storage("write a commit", &error)),
        };
        self.active_file()
            .sync_data()
            .map_err(|error| Error::storage("sync a commit", &error))?;
        self.durable = block.next_lsn;
        self.has_written |= !block.is_closing;
        if let Some(offset) = &mut self.active {
            *offset += bytes;
        }
        let nanos = clock().saturating_sub(begun);
        let mut state = lock(&shared.state);
        if state.has_spares() {
            // Whatever has kept a block from being written has passed.
            state.space = Space::Fine;
        }
        let counters = &mut state.counters;
        counters.commits += 1;
        counters.bytes += bytes;
        counters.commit_nanos += nanos;
        let last = counters.commit_micros.len() - 1;
        let bucket = (u64::BITS - (nanos / 1_000).leading_zeros()) as usize;
        counters.commit_micros[bucket.min(last)] += 1;
        drop(state);
        shared.progress[usize::from(!block.commit.is_multiple_of(2))].advance(block.commit);
        Ok(())
    }

    /// The first of the spare files becomes the active segment.
    fn next_segment(&mut self, first_lsn: Lsn, bytes: u64) {
        // `State::reserve` has counted it.
        let Some(spare) = self.spares.pop_front() else {
            unreachable!("a block was given a segment that is not there");
        };
        self.segments.push_back(SegmentFile {
            number: spare.number,
            first_lsn,
            file: spare.file,
            bytes,
            is_reusable: true,
        });
        self.active = Some(SEGMENT_HEADER_BYTES as u64);
        self.recycled_active = spare.is_recycled;
    }

    fn active_file(&self) -> &dyn StorageFile {
        match self.segments.back() {
            Some(segment) => &*segment.file,
            None => unreachable!("a block has a segment"),
        }
    }

    /// Writes a block to the active segment, with the segment's header if it is the first; returns its bytes.
    fn write(&mut self, block: &PlacedBlock) -> io::Result<u64> {
        let (Some(segment), Some(offset)) = (self.segments.back(), self.active) else {
            unreachable!("a block has a segment");
        };
        if block.destination != Destination::Active {
            let header = SegmentHeader {
                salt: self.salt,
                number: segment.number,
                first_lsn: block.first_lsn,
                is_recycled: self.recycled_active,
            };
            segment.file.write_at(&header.encode(), 0)?;
        }
        let place = BlockPlace {
            salt: self.salt,
            segment: segment.number,
            first_lsn: block.first_lsn,
        };
        let encoded = &self.buffer.encoded;
        let header = encoded.header(&place, block.is_closing);
        segment.file.write_at(&header, offset)?;
        segment
            .file
            .write_at(&encoded.bytes, offset + BLOCK_HEADER_BYTES as u64)?;
        Ok(super::record::padded(encoded.bytes.len()))
    }

    /// The file system has no room for a block that was let in. Nothing was synced, so it can be written again.
    fn stall(
        &mut self,
        shared: &Shared,
        mut block: PlacedBlock,
        now: u64,
        error: &io::Error,
    ) -> Result<(), Error> {
        if block.destination == Destination::NextSegment {
            block.destination = Destination::BegunSegment;
        }
        let mut state = lock(&shared.state);
        if matches!(state.phase, Phase::Closing) {
            return Err(Error::storage("write the last commits", error));
        }
        state.space = Space::Full(Error::new(
            ErrorKind::Full,
            format!("no room for the journal on the disk: {error}"),
        ));
        drop(state);
        let delay = shared.options.space_retry_ms.saturating_mul(1_000_000);
        self.stalled = Some(Stalled {
            block,
            retry_at: now.saturating_add(delay),
        });
        shared.room.notify_all();
        Ok(())
    }

    /// Tells everybody that nothing more will be durable.
    fn poison(&mut self, shared: &Shared, error: Error) -> Turn {
        self.lock = None;
        let error = Error::new(
            ErrorKind::Poisoned,
            format!("the journal is poisoned until it is opened again: failed to {error}"),
        );
        lock(&shared.state).phase = Phase::Poisoned(error.clone());
        shared.room.notify_all();
        for progress in &shared.progress {
            progress.fail(&error);
        }
        Turn::Stopped
    }
}
