//! What moves between threads: [`Events`] on the way in, [`Batch`] all the way.

use crate::stdx::narrow;

/// The bytes of a run of neighbouring events.
#[derive(Debug, Default)]
pub struct Events {
    bytes: Vec<u8>,
    /// Where each event ends.
    ends: Vec<u32>,
    first_line: u64,
    events_max: usize,
    skips_empty: bool,
    /// Bytes of the first event, if it was too long to be kept.
    pub(super) too_long: Option<u64>,
}

/// Memory above which the bytes of events are not kept for the next ones.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

impl Events {
    pub(super) fn begin(&mut self, first_line: u64, events_max: usize) {
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.ends.clear();
        self.first_line = first_line;
        self.events_max = events_max;
        self.too_long = None;
        self.skips_empty = false;
    }

    /// Events without text are none.
    pub(super) fn skip_empty(&mut self) {
        self.skips_empty = true;
    }

    pub(super) fn skips_empty(&self) -> bool {
        self.skips_empty
    }

    /// How many events there may be.
    #[must_use]
    pub fn events_max(&self) -> usize {
        self.events_max
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// True if no further event should be put in.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ends.len() >= self.events_max || self.bytes.len() >= super::BATCH_BYTES
    }

    /// Puts in an event: JSON text.
    pub fn push(&mut self, event: &[u8]) {
        self.bytes.extend_from_slice(event);
        self.ends.push(narrow(self.bytes.len()));
    }

    /// Number of the first event.
    pub(super) fn first_line(&self) -> u64 {
        self.first_line
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let event = &self.bytes[start..end as usize];
            start = end as usize;
            event
        })
    }
}

/// Events, and the pages of what came of them.
#[derive(Debug)]
pub(super) struct Batch<P> {
    /// Its place in the stream.
    pub(super) seq: u64,
    pub(super) events: Events,
    /// In the order of the events; those from `used` on are spare.
    pub(super) pages: Vec<P>,
    pub(super) used: usize,
    /// True if the last page is for the executions that end in one go.
    is_page_open: bool,
    /// Executions that have not ended.
    pub(super) open: u32,
    /// Permits that go back when it is written.
    pub(super) permits: usize,
    /// True if the stream ends with it.
    pub(super) is_cut: bool,
}

impl<P: Default> Batch<P> {
    /// The page for the next execution that ends at once.
    #[inline]
    pub(super) fn page(&mut self) -> &mut P {
        if !self.is_page_open {
            self.add_page();
            self.is_page_open = true;
        }
        &mut self.pages[self.used - 1]
    }

    /// Leaves a page for an execution that ends later; returns its index.
    pub(super) fn reserve_page(&mut self) -> u32 {
        self.is_page_open = false;
        self.add_page();
        narrow(self.used - 1)
    }

    fn add_page(&mut self) {
        if self.used == self.pages.len() {
            self.pages.push(P::default());
        }
        self.used += 1;
    }
}

impl<P> Batch<P> {
    pub(super) fn new() -> Batch<P> {
        Batch {
            seq: 0,
            events: Events::default(),
            pages: Vec::new(),
            used: 0,
            is_page_open: false,
            open: 0,
            permits: 0,
            is_cut: false,
        }
    }

    /// Its pages, and the permits of what ended, have been sent ahead.
    pub(super) fn reset_pages(&mut self, permits: usize) {
        self.used = 0;
        self.is_page_open = false;
        self.permits -= permits;
        self.is_cut = false;
    }

    /// Takes its memory for other events.
    pub(super) fn reset(&mut self, seq: u64, permits: usize) {
        self.seq = seq;
        self.used = 0;
        self.is_page_open = false;
        self.open = 0;
        self.permits = permits;
        self.is_cut = false;
    }
}
