//! What the committer does between commits: spare segments, segments that can go, and copies of what would keep them.

use super::commit::{Cleaning, Committer, SegmentFile, SpareFile};
use super::error::{Error, ErrorKind, is_want_of_space};
use super::handle::Shared;
use super::reader::{BlockReader, segment_name};
use super::record::{Encoded, Lsn, Record, StartRecord};
use super::shared::{Purpose, SPARES_MIN, Space};
use crate::task::lock;

/// Spare segments that are kept, not to make new ones: what was written before syncs faster than what is only allocated.
const SPARES_MAX: usize = 3;
/// Segments that may hold little before what is unfinished in the oldest is copied.
const SEGMENTS_SLACK: u64 = 4;
/// Blocks of an old segment that are looked through between two commits.
const BLOCKS_PER_TURN: usize = 8;

/// How far a step of cleaning has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// The next block can be looked at.
    On,
    /// The filling buffer has no room.
    NoRoom,
    /// There is no more block.
    End,
}

impl Committer {
    /// Returns whether there is more to do at once.
    pub(super) fn upkeep(&mut self, shared: &Shared, now: u64) -> Result<bool, Error> {
        let before = (self.segments.len(), self.spares.len());
        self.retire(shared, now)?;
        self.prepare(shared, now)?;
        // It was asked again, or there is nothing left to ask for: whoever sleeps until then would not sleep any more.
        self.retry_at = self.retry_at.filter(|at| *at > now);
        let busy = self.clean(shared)?;
        let mut state = lock(&shared.state);
        state.counters.segments = self.segments.len() as u64;
        state.counters.file_bytes = self.file_bytes(shared);
        Ok(busy || before != (self.segments.len(), self.spares.len()))
    }

    fn file_bytes(&self, shared: &Shared) -> u64 {
        let segments: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        segments + self.spares.len() as u64 * shared.options.segment_bytes
    }

    /// Whether what the file system has refused may be asked for again.
    fn may_retry(&mut self, now: u64) -> bool {
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        self.retry_at = None;
        true
    }

    fn retry_later(&mut self, shared: &Shared, now: u64) {
        let delay = shared.options.space_retry_ms.saturating_mul(1_000_000);
        self.retry_at = Some(now.saturating_add(delay));
        lock(&shared.state).counters.upkeep_failures += 1;
    }

    /// Reuses or removes the oldest segments, as far as everything in them has ended.
    fn retire(&mut self, shared: &Shared, now: u64) -> Result<(), Error> {
        while self.oldest_can_go(shared) {
            let Some(oldest) = self.segments.front() else {
                return Ok(());
            };
            let name = segment_name(oldest.number);
            let is_reusable = oldest.is_reusable
                && oldest.bytes == shared.options.segment_bytes
                && self.spares.len() < SPARES_MAX;
            let result = if is_reusable {
                let next = segment_name(self.next_number);
                self.storage.rename(&name, &next)
            } else if self.may_retry(now) {
                self.storage.remove(&name)
            } else {
                return Ok(());
            };
            if result.is_err() {
                self.retry_later(shared, now);
                return Ok(());
            }
            // One name at a time: a crash leaves no gap, and a file under its old name is not written to.
            self.sync_dir()?;
            self.retired(shared, is_reusable);
        }
        Ok(())
    }

    fn oldest_can_go(&self, shared: &Shared) -> bool {
        // The last segment stays: it knows the next Lsn.
        let Some(next) = self.segments.get(1) else {
            return false;
        };
        let oldest = lock(&shared.state).live.oldest();
        oldest.is_none_or(|oldest| oldest >= next.first_lsn) && self.copied_until <= self.durable
    }

    /// The oldest segment's name is gone, or that of a spare one.
    fn retired(&mut self, shared: &Shared, is_reusable: bool) {
        let Some(segment) = self.segments.pop_front() else {
            return;
        };
        if self
            .cleaning
            .as_ref()
            .is_some_and(|cleaning| cleaning.number == segment.number)
        {
            self.cleaning = None;
        }
        if !is_reusable {
            lock(&shared.state).counters.segments_removed += 1;
            return;
        }
        lock(&shared.state).counters.segments_recycled += 1;
        self.add_spare(
            shared,
            SpareFile {
                number: self.next_number,
                file: segment.file,
                is_recycled: true,
            },
        );
    }

    fn add_spare(&mut self, shared: &Shared, spare: SpareFile) {
        self.next_number = spare.number + 1;
        self.spares.push_back(spare);
        let mut state = lock(&shared.state);
        state.spares += 1;
        if state.has_spares() {
            state.space = Space::Fine;
        }
        drop(state);
        shared.room.notify_all();
    }

    fn sync_dir(&self) -> Result<(), Error> {
        self.storage
            .sync_dir()
            .map_err(|error| Error::storage("sync the journal's directory", &error))
    }

    /// Sees to it that there are spare segments, as far as there is room.
    pub(super) fn prepare(&mut self, shared: &Shared, now: u64) -> Result<(), Error> {
        while self.spares.len() < SPARES_MIN {
            let before = self.spares.len();
            self.prepare_one(shared, now)?;
            if self.spares.len() == before {
                break;
            }
        }
        Ok(())
    }

    fn prepare_one(&mut self, shared: &Shared, now: u64) -> Result<(), Error> {
        let options = &shared.options;
        let bytes = self.file_bytes(shared) + options.segment_bytes;
        if bytes > options.bytes_max {
            let message = format!(
                "the journal has reached its bound of {} bytes: executions must end first",
                options.bytes_max
            );
            self.refuse(shared, Error::new(ErrorKind::Full, message));
            return Ok(());
        }
        if !self.may_retry(now) {
            return Ok(());
        }
        let number = self.next_number;
        let name = segment_name(number);
        let made = self
            .storage
            .create(&name, options.segment_bytes)
            .map_err(|error| (error, "make a segment"));
        let synced = made.and_then(|file| match file.sync_all() {
            // A file system that finds its places late has found none; the file is of no use.
            Err(error) if is_want_of_space(&error) => {
                drop(file);
                match self.storage.remove(&name) {
                    Ok(()) => Err((error, "make a segment")),
                    Err(error) => Err((error, "remove a segment")),
                }
            }
            Err(error) => Err((error, "sync")),
            Ok(()) => Ok(file),
        });
        match synced {
            Ok(file) => {
                self.sync_dir()?;
                lock(&shared.state).counters.segments_created += 1;
                let spare = SpareFile {
                    number,
                    file,
                    is_recycled: false,
                };
                self.add_spare(shared, spare);
            }
            Err((error, "sync")) => return Err(Error::storage("sync a new segment", &error)),
            Err((error, _)) if is_want_of_space(&error) => {
                let message = format!("no room for the journal on the disk: {error}");
                self.retry_later(shared, now);
                self.refuse(shared, Error::new(ErrorKind::Full, message));
            }
            Err((error, tried)) => {
                self.retry_later(shared, now);
                self.refuse(shared, Error::storage(tried, &error));
            }
        }
        Ok(())
    }

    /// Starts are refused once the active segment is full, until there are spare ones again.
    fn refuse(&self, shared: &Shared, error: Error) {
        lock(&shared.state).space = Space::Full(error);
        shared.room.notify_all();
    }

    /// Copies records of unfinished starts from the oldest segment to the log's end, if they are few for what they keep.
    fn clean(&mut self, shared: &Shared) -> Result<bool, Error> {
        if !self.should_clean(shared) || !self.open_oldest() {
            return Ok(false);
        }
        let mut moved = 0;
        for _ in 0..BLOCKS_PER_TURN {
            match self.clean_block(shared, &mut moved) {
                Ok(Progress::On) => {}
                Ok(Progress::NoRoom) => return Ok(moved > 0),
                Ok(Progress::End) | Err(_) => {
                    // If something in it could not be read, it stays until its starts have ended.
                    self.cleaned = self.cleaning.take().map(|cleaning| cleaning.number);
                    return Ok(moved > 0);
                }
            }
        }
        Ok(true)
    }

    fn should_clean(&self, shared: &Shared) -> bool {
        let state = lock(&shared.state);
        let segment_bytes = shared.options.segment_bytes;
        let live_bytes = state.live.count().saturating_mul(state.start_size.mean());
        let live = live_bytes.div_ceil(segment_bytes);
        let segments = self.segments.len() as u64;
        let is_pinned = segments > SEGMENTS_SLACK.saturating_add(live.saturating_mul(2));
        let is_full = matches!(state.space, Space::Full(_)) && segments > live.saturating_mul(2);
        let room = state.bytes_max(&shared.options, Purpose::Copies);
        // Every start and every end pays for the copy of one start, so that copying cannot become an end in itself,
        // however little a segment holds.
        let paid = (state.counters.starts + state.counters.ends)
            .saturating_mul(state.start_size.mean())
            .saturating_add(self.copied_bytes_free);
        (is_pinned || is_full)
            && self.copied_bytes < paid
            && self.segments.len() > 1
            && state.filling.encoded.bytes.len() < room / 2
    }

    /// Begins to read the oldest segment, unless that is under way.
    fn open_oldest(&mut self) -> bool {
        let Some(SegmentFile {
            number,
            file,
            first_lsn,
            ..
        }) = self.segments.front()
        else {
            return false;
        };
        if self.cleaned == Some(*number) {
            return false;
        }
        let is_open = self
            .cleaning
            .as_ref()
            .is_some_and(|cleaning| cleaning.number == *number);
        if !is_open {
            let reader = BlockReader::new(file.clone(), *number, self.salt, *first_lsn);
            self.cleaning = reader.ok().map(|reader| Cleaning {
                number: *number,
                reader,
            });
        }
        self.cleaning.is_some()
    }

    fn clean_block(&mut self, shared: &Shared, moved: &mut u64) -> Result<Progress, Error> {
        let Some(cleaning) = &mut self.cleaning else {
            return Ok(Progress::End);
        };
        let place = (cleaning.reader.offset, cleaning.reader.next_lsn);
        let Some(block) = cleaning.reader.next()? else {
            return Ok(Progress::End);
        };
        let mut copy = Encoded::default();
        for (lsn, record) in block.records() {
            let (start, record) = match record {
                Record::Start(record) => (lsn, record),
                Record::Moved { start, record } => (start, record),
                Record::Ends(_) | Record::Attempts(_) => continue,
            };
            match relocate(shared, lsn, start, &record, &mut copy) {
                Relocated::To(place) => {
                    *moved += 1;
                    self.copied_until = Lsn(place.0 + 1);
                    self.copied_bytes += copy.bytes.len() as u64;
                }
                Relocated::NotNeeded => {}
                Relocated::NoRoom => {
                    // What was copied from the block is not copied again: its old place no longer counts.
                    (cleaning.reader.offset, cleaning.reader.next_lsn) = place;
                    return Ok(Progress::NoRoom);
                }
            }
        }
        Ok(Progress::On)
    }
}

/// What has become of a record that may have to be copied.
enum Relocated {
    To(Lsn),
    NotNeeded,
    NoRoom,
}

fn relocate(
    shared: &Shared,
    place: Lsn,
    start: Lsn,
    record: &StartRecord<'_>,
    copy: &mut Encoded,
) -> Relocated {
    let mut state = lock(&shared.state);
    // Whether it has ended, and the copy's place in the log, are decided under one lock: no copy follows its end.
    if !state.live.is_live_at(place) {
        return Relocated::NotNeeded;
    }
    copy.clear();
    let attempt = state.live.attempts(start, record.attempt);
    copy.moved(start, &StartRecord { attempt, ..*record });
    match state.push(copy, Purpose::Copies, &shared.options) {
        Some(to) => {
            state.live.relocate(start, to);
            state.counters.moved += 1;
            Relocated::To(to)
        }
        None => Relocated::NoRoom,
    }
}
