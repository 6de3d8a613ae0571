//! Where reader, workers and writer of a stream meet: its permits, what was read, and memory to be used again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Duration;

use super::StreamOptions;
use crate::engine::error::Error;
use crate::task::lock;

/// Reader, workers and writer of one stream.
#[derive(Debug)]
pub(super) struct Hub<P> {
    state: Mutex<State<P>>,
    /// Wakes the reader.
    changed: Condvar,
    queued_max: usize,
}

#[derive(Debug)]
struct State<P> {
    /// Batches that no worker has begun.
    queued: usize,
    /// Events that may be in flight besides those that are; less than none, if a source gave more than it might.
    permits: i64,
    /// The same in bytes.
    bytes: i64,
    /// Nothing is read any more.
    is_closed: bool,
    /// Something is new since the reader looked.
    has_changed: bool,
    /// The reader is in its source, which may keep it there.
    is_polling: bool,
    /// There is no reader any more.
    is_left: bool,
    free_pages: Vec<Vec<P>>,
    notes: Notes,
}

/// What the report needs to know of the reader's doings.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Events that were read.
    pub(super) read: u64,
    /// Those among them that nobody got to.
    pub(super) lost: u64,
    /// Batches that were opened.
    pub(super) batches: u64,
    pub(super) read_error: Option<Error>,
    pub(super) ack_errors: Vec<Error>,
}

/// Whether more may be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// So many events, at most.
    Events(usize),
    /// None at the moment.
    None,
    /// Never again.
    Closed,
}

/// A batch that may be started.
#[derive(Debug)]
pub(super) struct Opened<P> {
    /// Its place in the stream.
    pub(super) seq: u64,
    /// Memory for its pages.
    pub(super) pages: Vec<P>,
}

impl<P> Hub<P> {
    pub(super) fn new(queued_max: usize, options: &StreamOptions) -> Hub<P> {
        Hub {
            state: Mutex::new(State {
                queued: 0,
                permits: i64::try_from(options.in_flight).unwrap_or(i64::MAX),
                bytes: i64::try_from(options.in_flight_bytes).unwrap_or(i64::MAX),
                is_closed: false,
                has_changed: false,
                is_polling: false,
                is_left: false,
                free_pages: Vec::new(),
                notes: Notes::default(),
            }),
            changed: Condvar::new(),
            queued_max,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        lock(&self.state)
    }

    /// How many of `wanted` events the reader may poll its source for now.
    pub(super) fn room(&self, wanted: usize) -> Room {
        let mut state = self.state();
        if state.is_closed {
            Room::Closed
        } else if state.permits <= 0 || state.bytes <= 0 || state.queued >= self.queued_max {
            Room::None
        } else {
            state.is_polling = true;
            let permits = usize::try_from(state.permits).unwrap_or(usize::MAX);
            Room::Events(permits.min(wanted))
        }
    }

    /// The source was polled for so many events; they are in flight from now on.
    pub(super) fn polled(&self, events: usize, bytes: usize) {
        let mut state = self.state();
        state.is_polling = false;
        state.permits -= i64::try_from(events).unwrap_or(i64::MAX);
        state.bytes -= i64::try_from(bytes).unwrap_or(i64::MAX);
        state.notes.read += events as u64;
    }

    /// The reader ends.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.is_left = true;
        state.is_closed = true;
    }

    pub(super) fn is_left(&self) -> bool {
        self.state().is_left
    }

    /// How many batches there have been, if there will be no others but for what is delivered again.
    pub(super) fn batches_read(&self) -> Option<u64> {
        let state = self.state();
        let is_read = state.is_left || state.is_closed && state.is_polling;
        is_read.then_some(state.notes.batches)
    }

    /// A batch of events that were read is about to be started; `None` if nobody wants it any more.
    pub(super) fn open(&self) -> Option<Opened<P>> {
        let mut state = self.state();
        if state.is_closed {
            return None;
        }
        Some(state.open())
    }

    /// A batch is about to be started of an event that is delivered again.
    pub(super) fn open_again(&self) -> Opened<P> {
        self.state().open()
    }

    /// A worker has begun with a batch.
    pub(super) fn begun(&self) {
        let mut state = self.state();
        state.queued -= 1;
        state.change();
        drop(state);
        self.changed.notify_one();
    }

    /// Takes back permits and memory.
    pub(super) fn recycle(&self, permits: u64, bytes: u64, pages: Vec<P>) {
        let mut state = self.state();
        state.permits += i64::try_from(permits).unwrap_or(i64::MAX);
        state.bytes += i64::try_from(bytes).unwrap_or(i64::MAX);
        if state.free_pages.len() <= self.queued_max {
            state.free_pages.push(pages);
        }
        state.change();
        drop(state);
        self.changed.notify_one();
    }

    /// Nothing is read any more.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.signal();
    }

    fn signal(&self) {
        self.state().change();
        self.changed.notify_one();
    }

    /// True if something is new since this was asked, or waited for, last.
    pub(super) fn has_changed(&self) -> bool {
        std::mem::take(&mut self.state().has_changed)
    }

    /// Waits until something is new, for `timeout` at most.
    pub(super) fn wait(&self, timeout: Option<Duration>) {
        let mut state = self.state();
        if !state.has_changed {
            state = match timeout {
                None => self
                    .changed
                    .wait_while(state, |state| !state.has_changed)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(timeout) => {
                    self.changed
                        .wait_timeout_while(state, timeout, |state| !state.has_changed)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        state.has_changed = false;
    }

    /// Looks at the notes, or writes something down.
    pub(super) fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        note(&mut self.state().notes)
    }
}

impl<P> State<P> {
    fn open(&mut self) -> Opened<P> {
        self.queued += 1;
        self.notes.batches += 1;
        Opened {
            seq: self.notes.batches - 1,
            pages: self.free_pages.pop().unwrap_or_default(),
        }
    }

    fn change(&mut self) {
        self.has_changed = true;
    }
}

/// A source that has something new.
impl<P: Send + 'static> Wake for Hub<P> {
    fn wake(self: Arc<Self>) {
        self.signal();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal();
    }
}
