//! The write-ahead journal of asynchronous starts: at-least-once.
//!
//! A start is acknowledged once it is on the disk. Its end follows in a later commit. After a crash every start that was
//! acknowledged and has no end is found again, to be run from its beginning.
//!
//! It stores records, and must not know of programs, executions, handlers, threads or clocks: what an execution is, when
//! it runs and what time it is are the caller's. What time it needs it is given.
//!
//! # How a commit goes
//!
//! 1. Producers encode and checksum their records, then take the lock once per batch to copy them into the filling buffer;
//!    that gives them their [`Lsn`]. If the buffer is full they wait, or are refused.
//! 2. The committer, one thread or a simulation that calls [`Journal::turn`], exchanges the filling buffer for an empty
//!    one, adds the ends that are due, and writes both as one block to the active segment: a preallocated file.
//! 3. It syncs the file. Meanwhile the other buffer fills, so that the slower the disk, the larger the commits.
//! 4. It tells those who wait for the block. Only then is the next block written: one that is found behind a damaged one
//!    proves that the damaged one was synced.
//! 5. It looks after the files. Segments that only hold what has ended are made into spare ones, or removed; if few
//!    unfinished starts hold many segments, their records are copied to the log's end. There is a spare segment before it
//!    is needed, so a full disk is met where nothing is lost yet: starts are refused then, and ends go on.
//!
//! A sync that fails leaves nobody the wiser about what is on the disk: the journal is poisoned, tells all who wait, and
//! does nothing more.

mod commit;
mod error;
mod handle;
mod live;
mod reader;
mod record;
mod recover;
mod shared;
pub mod sim;
mod storage;
mod upkeep;

pub use error::{Error, ErrorKind};
pub use handle::{Journal, Ticket, Turn};
pub use reader::{Cut, SegmentSummary};
pub use record::{
    Attempts, EndRecord, EndStatus, Ends, FORMAT_VERSION, INPUT_BYTES_MAX, Lsn, MACHINE_BYTES_MAX,
    NAME_BYTES_MAX, Record, StartRecord,
};
pub use recover::{Inspection, Recovery, UnfinishedStart, inspect};
pub use storage::{FileStorage, Storage, StorageFile};

use record::{BLOCK_ALIGN, SEGMENT_HEADER_BYTES, padded};

/// Sizes and delays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// The length of a segment's file.
    pub segment_bytes: u64,
    /// Most bytes of a commit's starts, and so of a batch. There are two such buffers.
    pub buffer_bytes: usize,
    /// Most bytes of all segments.
    pub bytes_max: u64,
    /// How long an end may wait for a commit that takes it along.
    pub ends_delay_ms_max: u64,
    /// How long after a refusal the file system is asked for room again.
    pub space_retry_ms: u64,
    /// The number that tells this journal's blocks from others', for a journal that is made; random if there is none.
    pub salt: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            buffer_bytes: 4 << 20,
            bytes_max: 16 << 30,
            ends_delay_ms_max: 20,
            space_retry_ms: 100,
            salt: None,
        }
    }
}

/// Largest buffer: a block, with as many bytes of ends, must be one that readers take into memory.
const BUFFER_BYTES_MAX: usize = 64 << 20;
/// Longest segment.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Fewest segments that the bound must have room for: the active one, two spare ones and one that is emptied.
const SEGMENTS_MIN: u64 = 4;

impl Options {
    fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::new(ErrorKind::Options, why));
        let align = BLOCK_ALIGN as u64;
        if !self.segment_bytes.is_multiple_of(align) || self.segment_bytes > SEGMENT_BYTES_MAX {
            return refuse(format!(
                "segment_bytes is {}; it must be a multiple of {align}, at most {SEGMENT_BYTES_MAX}",
                self.segment_bytes
            ));
        }
        if self.buffer_bytes > BUFFER_BYTES_MAX {
            return refuse(format!(
                "buffer_bytes is {}; it may be at most {BUFFER_BYTES_MAX}",
                self.buffer_bytes
            ));
        }
        let least = SEGMENT_HEADER_BYTES as u64 + 4 * padded(self.buffer_bytes);
        if self.segment_bytes < least {
            return refuse(format!(
                "segment_bytes is {}; with buffer_bytes {} it must be at least {least}",
                self.segment_bytes, self.buffer_bytes
            ));
        }
        if self.bytes_max < SEGMENTS_MIN * self.segment_bytes {
            return refuse(format!(
                "bytes_max is {}; it must have room for {SEGMENTS_MIN} segments of {} bytes",
                self.bytes_max, self.segment_bytes
            ));
        }
        Ok(())
    }

    /// Most attempts that can be appended at once.
    pub(crate) fn attempts_max(&self) -> usize {
        let room = self.buffer_bytes.saturating_sub(record::LIST_BYTES);
        (room / record::ATTEMPT_BYTES).max(1)
    }

    /// What an empty segment has room for.
    fn segment_room(&self) -> u64 {
        self.segment_bytes - SEGMENT_HEADER_BYTES as u64
    }

    /// What starts leave of a segment that no other one follows yet.
    fn reserve_bytes(&self) -> u64 {
        padded(self.buffer_bytes)
    }
}

/// What the journal has done since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Starts appended.
    pub starts: u64,
    /// Ends appended.
    pub ends: u64,
    /// Ends of starts that were not unfinished; they are not written.
    pub ends_unknown: u64,
    /// Attempts appended.
    pub attempts: u64,
    /// Starts copied to the log's end so that their segments could go.
    pub moved: u64,
    /// Commits synced.
    pub commits: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// Starts refused for want of space.
    pub refused_full: u64,
    /// Starts refused because the buffers were full.
    pub refused_busy: u64,
    /// Segments made.
    pub segments_created: u64,
    /// Segments used again.
    pub segments_recycled: u64,
    /// Segments removed.
    pub segments_removed: u64,
    /// Failures of the file system that upkeep will try to get over.
    pub upkeep_failures: u64,
    /// Nanoseconds of all commits' writes and syncs.
    pub commit_nanos: u64,
    /// Commits by how long their write and sync took: less than 2^i microseconds, the last one without bound.
    pub commit_micros: [u64; 24],
    /// Unfinished starts, now.
    pub unfinished: u64,
    /// Segments with records, now.
    pub segments: u64,
    /// Bytes of all segments' files, now.
    pub file_bytes: u64,
}

const _: () = assert!(3 * BUFFER_BYTES_MAX < record::BLOCK_BYTES_MAX);
