//! What moves between the reader and the workers: [`Events`].

use crate::stdx::narrow;

/// The bytes of a run of neighbouring events.
#[derive(Debug, Default)]
pub struct Events {
    bytes: Vec<u8>,
    /// Where each event ends.
    ends: Vec<u32>,
    events_max: usize,
    skips_empty: bool,
    /// Bytes of the first event, if it was too long to be kept.
    pub(super) too_long: Option<u64>,
}

/// Memory above which the bytes of events are not kept for the next ones.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

impl Events {
    pub(super) fn begin(&mut self, events_max: usize) {
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.ends.clear();
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let event = &self.bytes[start..end as usize];
            start = end as usize;
            event
        })
    }
}
