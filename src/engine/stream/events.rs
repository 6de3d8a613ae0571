//! What moves between the source and the workers: [`Event`], and many of them in [`Events`].

use super::ack::{Ack, Settled};
use crate::engine::error::Error;
use crate::stdx::narrow;

/// One event of a source.
#[derive(Debug)]
pub struct Event<'a> {
    payload: &'a [u8],
    extra: Extra,
}

/// What some events have besides their bytes.
#[derive(Debug, Default)]
pub(super) struct Extra {
    pub(super) name: Option<Box<str>>,
    /// Deliveries before this one.
    pub(super) delivered: u32,
    pub(super) is_redelivered_by_source: bool,
    pub(super) ack: Ack,
}

impl<'a> Event<'a> {
    /// An event whose payload is the input of an execution: JSON text.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Event<'a> {
        Event {
            payload,
            extra: Extra::default(),
        }
    }

    /// What tells the source what became of it.
    #[must_use]
    pub fn ack(mut self, ack: Ack) -> Event<'a> {
        self.extra.ack = ack;
        self
    }

    /// The name of its execution, such as the message's id; a UUID unless this is called. A name that
    /// [`check_name`](crate::engine::check_name) refuses makes the event invalid.
    #[must_use]
    pub fn name(mut self, name: &str) -> Event<'a> {
        self.extra.name = Some(name.into());
        self
    }

    /// How often its source has delivered it before.
    #[must_use]
    pub fn delivered_before(mut self, times: u32) -> Event<'a> {
        self.extra.delivered = times;
        self
    }

    /// Its source delivers it again when it is told to, so that the stream need not keep it.
    #[must_use]
    pub fn redelivered_by_source(mut self) -> Event<'a> {
        self.extra.is_redelivered_by_source = true;
        self
    }
}

/// The bytes of a run of neighbouring events, and what some of them have besides.
#[derive(Debug, Default)]
pub struct Events {
    bytes: Vec<u8>,
    /// Where each event ends.
    ends: Vec<u32>,
    /// Empty, or one for each event.
    extras: Vec<Option<Box<Extra>>>,
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
        self.extras.clear();
        self.events_max = events_max;
        self.too_long = None;
        self.skips_empty = false;
    }

    /// Events without text are none.
    pub(super) fn skip_empty(&mut self) {
        self.skips_empty = true;
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

    /// Puts in an event of which the source does not want to hear: JSON text.
    #[inline]
    pub fn push(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.ends.push(narrow(self.bytes.len()));
        if !self.extras.is_empty() {
            self.extras.push(None);
        }
    }

    /// Puts in an event.
    pub fn push_event(&mut self, event: Event<'_>) {
        self.push(event.payload);
        self.add_extra(self.len() - 1, event.extra);
    }

    /// Gives an event that is there what it has besides its bytes.
    pub(super) fn add_extra(&mut self, index: usize, extra: Extra) {
        let count = self.ends.len();
        self.extras.resize_with(count, || None);
        self.extras[index] = Some(Box::new(extra));
    }

    /// True if an event has more than bytes.
    pub(super) fn has_extras(&self) -> bool {
        !self.extras.is_empty()
    }

    pub(super) fn extra(&self, index: usize) -> Option<&Extra> {
        self.extras.get(index)?.as_deref()
    }

    pub(super) fn take_extra(&mut self, index: usize) -> Option<Box<Extra>> {
        self.extras.get_mut(index)?.take()
    }

    /// True if there is to be an execution for that event.
    #[inline]
    pub(super) fn is_one(&self, event: &[u8]) -> bool {
        !event.is_empty() || !self.skips_empty || self.too_long.is_some()
    }

    /// The events from `first` on.
    #[inline]
    pub(super) fn iter_from(&self, first: usize) -> impl Iterator<Item = &[u8]> {
        let mut start = match first.checked_sub(1) {
            Some(before) => self.ends[before] as usize,
            None => 0,
        };
        self.ends[first..].iter().map(move |&end| {
            let event = &self.bytes[start..end as usize];
            start = end as usize;
            event
        })
    }

    /// Nobody gets to those from `first` on; returns how many were events, and what their acks said.
    pub(super) fn lose_from(&mut self, first: usize) -> (u64, Vec<Error>) {
        let lost = self.iter_from(first).filter(|event| self.is_one(event));
        let count = lost.count() as u64;
        let extras = self.extras.drain(first.min(self.extras.len())..).flatten();
        let errors = extras.filter_map(|extra| {
            let settled = Settled::lost(extra.delivered);
            extra.ack.settle(&settled).err()
        });
        (count, errors.collect())
    }
}
