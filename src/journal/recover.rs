//! Opening a journal: what was there, made fit to go on.
//!
//! 1. Everything is read; an error leaves it as it was.
//! 2. The last block, and its segment's header, are written once more and synced: what a process reads may be in the system's memory only, and only a
//!    new write makes it reach the disk if a sync has failed before.
//! 3. A torn tail is cut off. The directory is synced: the last process may have gone between a change of a name and its sync, and
//!    names that change one at a time leave no gap only if each change is durable before the next.
//! 4. Files that hold nothing yet are removed.
//! 5. What is appended goes to a new segment. Doing all this again, after a crash at any moment, comes to the same.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Condvar, Mutex};

use super::commit::{Committer, Guard, SegmentFile};
use super::error::{Error, ErrorKind};
use super::handle::{Journal, Shared};
use super::live::Live;
use super::reader::{self, Access, BlockReader, Cut, Scan, Segment, SegmentSummary, segment_name};
use super::record::{Lsn, Record, SEGMENT_HEADER_BYTES, StartRecord};
use super::shared::{Buffer, Phase, Progress, Space, StartSize, State};
use super::storage::Storage;
use super::{Counters, Options};
use crate::stdx::Timestamp;
use crate::task::lock;

/// What was found when the journal was opened.
#[derive(Debug)]
pub struct Recovery {
    starts: Starts,
    cut: Option<Cut>,
}

/// A start that has no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnfinishedStart<'a> {
    /// What names the start.
    pub start: Lsn,
    /// What names the state machine.
    pub machine: &'a str,
    /// Which revision of it.
    pub revision: u64,
    /// The execution's name.
    pub name: &'a str,
    /// The execution's input.
    pub input: &'a [u8],
    /// When it was started.
    pub started_at: Timestamp,
    /// What its randomness comes from.
    pub seed: u64,
    /// Attempts that have begun.
    pub attempts: u32,
}

impl Recovery {
    /// How many starts are unfinished.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.starts.live.count()
    }

    /// The torn write that was cut off, if there was one. Nobody was told that it was accepted.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// The next unfinished start, in the order of the log; those that have been copied within it come later. One block is
    /// kept in memory, whatever their number. What is appended to the journal meanwhile makes no difference.
    ///
    /// # Errors
    ///
    /// If a segment can no longer be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it returns borrows from the block in memory"
    )]
    pub fn next(&mut self) -> Result<Option<UnfinishedStart<'_>>, Error> {
        self.starts.next()
    }
}

/// Reads the unfinished starts of segments.
#[derive(Debug)]
struct Starts {
    salt: u64,
    segments: VecDeque<Segment>,
    live: Live,
    /// The block's records that may be unfinished starts.
    block: Vec<Found>,
    at: usize,
    reader: Option<BlockReader>,
    end: Lsn,
}

/// A record of an unfinished start, copied out of its block.
#[derive(Debug)]
struct Found {
    start: Lsn,
    machine: Box<str>,
    revision: u64,
    name: Box<str>,
    input: Box<[u8]>,
    started_at: Timestamp,
    seed: u64,
    attempts: u32,
}

impl Starts {
    fn new(scan: &Scan) -> Starts {
        Starts {
            salt: scan.salt.unwrap_or(0),
            segments: scan.segments.iter().cloned().collect(),
            live: scan.live.clone(),
            block: Vec::new(),
            at: 0,
            reader: None,
            end: Lsn(0),
        }
    }

    fn next(&mut self) -> Result<Option<UnfinishedStart<'_>>, Error> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(None);
            }
        }
        self.at += 1;
        let found = &self.block[self.at - 1];
        Ok(Some(UnfinishedStart {
            start: found.start,
            machine: &found.machine,
            revision: found.revision,
            name: &found.name,
            input: &found.input,
            started_at: found.started_at,
            seed: found.seed,
            attempts: found.attempts,
        }))
    }

    fn next_block(&mut self) -> Result<bool, Error> {
        self.block.clear();
        self.at = 0;
        if self
            .reader
            .as_ref()
            .is_none_or(|reader| reader.next_lsn >= self.end)
        {
            let Some(segment) = self.segments.pop_front() else {
                return Ok(false);
            };
            self.end = Lsn(segment.first_lsn.0 + segment.summary.records);
            if segment.summary.unfinished == 0 {
                self.reader = None;
                return Ok(true);
            }
            let reader = BlockReader::new(
                Arc::clone(&segment.file),
                segment.number,
                self.salt,
                segment.first_lsn,
            )?;
            self.reader = Some(reader);
        }
        let Some(reader) = &mut self.reader else {
            return Ok(true);
        };
        let (number, offset) = (reader.number(), reader.offset);
        let Some(block) = reader.next()? else {
            return Err(Error::corrupt(
                number,
                offset,
                "a commit that was readable is not any more",
            ));
        };
        for (lsn, record) in block.records() {
            let (start, record) = match record {
                Record::Start(record) => (lsn, record),
                Record::Moved { start, record } => (start, record),
                Record::Ends(_) | Record::Attempts(_) => continue,
            };
            if self.live.is_live_at(lsn) {
                let attempts = self.live.attempts(start, record.attempt);
                self.block.push(Found::new(start, &record, attempts));
            }
        }
        Ok(true)
    }
}

impl Found {
    fn new(start: Lsn, record: &StartRecord<'_>, attempts: u32) -> Found {
        Found {
            start,
            machine: record.machine.into(),
            revision: record.revision,
            name: record.name.into(),
            input: record.input.into(),
            started_at: record.started_at,
            seed: record.seed,
            attempts,
        }
    }
}

impl Journal {
    /// Opens the journal of a directory, or makes one there. What is appended waits until somebody takes
    /// [turns](Journal::turn) or [runs](Journal::run) it.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Locked`]: another process has it open;
    /// - [`ErrorKind::Corrupt`]: what is on the disk is not what was written;
    /// - [`ErrorKind::Version`]: another version has written it;
    /// - [`ErrorKind::Options`], [`ErrorKind::Storage`].
    pub fn open(storage: Arc<dyn Storage>, options: Options) -> Result<(Journal, Recovery), Error> {
        options.check()?;
        let guard = storage.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                Error::new(ErrorKind::Locked, "another process has the journal open")
            }
            _ => Error::storage("lock the journal", &error),
        })?;
        let scan = reader::scan(&*storage, Access::Write)?;
        settle(&*storage, &scan)?;
        let recovery = Recovery {
            starts: Starts::new(&scan),
            cut: scan.cut,
        };
        let journal = Journal(Arc::new(shared(storage, Guard(guard), options, scan)));
        {
            let mut committer = lock(&journal.0.committer);
            committer.prepare(&journal.0, 0)?;
        }
        Ok((journal, recovery))
    }
}

/// Makes what was read durable, and removes what is not part of it.
fn settle(storage: &dyn Storage, scan: &Scan) -> Result<(), Error> {
    let failed = |tried: &'static str| move |error: io::Error| Error::storage(tried, &error);
    if let Some(last) = scan.segments.last() {
        // The header went together with the first block, which may be the last one.
        let header = (0, SEGMENT_HEADER_BYTES);
        for (offset, bytes) in [Some(header), scan.last_block].into_iter().flatten() {
            let mut copy = vec![0; bytes];
            let read = last.file.read_at(&mut copy, offset);
            if read.map_err(failed("read the last commit"))? != bytes {
                let why = "what was readable is not any more";
                return Err(Error::corrupt(last.number, offset, why));
            }
            let written = last.file.write_at(&copy, offset);
            written.map_err(failed("write the last commit once more"))?;
        }
        let end = last.summary.end_offset.max(SEGMENT_HEADER_BYTES as u64);
        if last.summary.file_bytes > end {
            let truncated = last.file.truncate(end);
            truncated.map_err(failed("cut the last segment"))?;
        }
        let synced = last.file.sync_all();
        synced.map_err(failed("sync the last segment"))?;
    }
    let sync_dir = || {
        let synced = storage.sync_dir();
        synced.map_err(failed("sync the journal's directory"))
    };
    // What the last process has done to a name may not be durable yet, and must not be overtaken by what comes now.
    sync_dir()?;
    for number in scan.unstarted.iter().rev() {
        let removed = storage.remove(&segment_name(*number));
        removed.map_err(failed("remove a segment that holds nothing"))?;
        // One name at a time, the last one first: a crash leaves no gap.
        sync_dir()?;
    }
    Ok(())
}

fn shared(storage: Arc<dyn Storage>, guard: Guard, options: Options, scan: Scan) -> Shared {
    let segments: VecDeque<SegmentFile> = scan
        .segments
        .iter()
        .enumerate()
        .map(|(index, segment)| SegmentFile {
            number: segment.number,
            first_lsn: segment.first_lsn,
            file: Arc::clone(&segment.file),
            bytes: match index + 1 == scan.segments.len() {
                true => segment.summary.end_offset,
                false => segment.summary.file_bytes,
            },
            is_reusable: false,
        })
        .collect();
    let next_number = segments.back().map_or(1, |last| last.number + 1);
    let salt = scan.salt.or(options.salt);
    let committer = Committer {
        storage,
        lock: Some(guard),
        salt: salt.unwrap_or_else(|| RandomState::new().hash_one("salt")),
        segments,
        active: None,
        spares: VecDeque::new(),
        next_number,
        buffer: Buffer::default(),
        stalled: None,
        ends_due: None,
        retry_at: None,
        cleaning: None,
        durable: scan.next_lsn,
        copied_until: Lsn(0),
        copied_bytes: 0,
        // What is live now may be copied once.
        copied_bytes_free: scan.starts.1 + options.segment_bytes,
        recycled_active: false,
        cleaned: None,
        has_written: false,
        has_made_room: false,
    };
    let state = State {
        filling: Buffer::default(),
        // Commit 0 is what was there.
        commit: 1,
        ends: VecDeque::new(),
        next_lsn: scan.next_lsn,
        live: scan.live,
        start_size: StartSize {
            count: scan.starts.0,
            bytes: scan.starts.1,
        },
        phase: Phase::Open,
        space: Space::Fine,
        remaining: 0,
        spares: 0,
        is_asleep: false,
        news: 0,
        news_seen: 0,
        ends_are_known: false,
        counters: Counters::default(),
    };
    Shared {
        options,
        state: Mutex::new(state),
        work: Condvar::new(),
        room: Condvar::new(),
        progress: [Progress::default(), Progress::default()],
        committer: Mutex::new(committer),
    }
}

/// What a journal looks like from outside.
#[derive(Debug)]
pub struct Inspection {
    starts: Starts,
    /// Its segments, in order.
    pub segments: Vec<SegmentSummary>,
    /// Numbers of the files that are prepared for segments and hold nothing yet.
    pub prepared: Vec<u64>,
    /// A torn write at its end; if the journal is open, perhaps one under way.
    pub torn: Option<Cut>,
}

impl Inspection {
    /// How many starts are unfinished.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.starts.live.count()
    }

    /// The next unfinished start, as [`Recovery::next`].
    ///
    /// # Errors
    ///
    /// If a segment can no longer be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it returns borrows from the block in memory"
    )]
    pub fn next(&mut self) -> Result<Option<UnfinishedStart<'_>>, Error> {
        self.starts.next()
    }
}

/// How often a journal that somebody is writing to is read again, because it has changed meanwhile.
const INSPECTIONS_MAX: usize = 20;

/// Reads a journal and changes nothing, not even if another process has it open.
///
/// # Errors
///
/// As [`Journal::open`], but for [`ErrorKind::Locked`].
pub fn inspect(storage: &dyn Storage) -> Result<Inspection, Error> {
    let mut attempt = 1;
    let scan = loop {
        match reader::scan(storage, Access::Read) {
            Ok(scan) => break scan,
            // While it is read, segments may go and commits arrive. Damage stays.
            Err(_) if attempt < INSPECTIONS_MAX => attempt += 1,
            Err(error) => return Err(error),
        }
    };
    Ok(Inspection {
        segments: scan
            .segments
            .iter()
            .map(|segment| segment.summary)
            .collect(),
        prepared: scan.unstarted.clone(),
        torn: scan.cut,
        starts: Starts::new(&scan),
    })
}
