//! Starts on their way to a worker: batches of inputs, whose memory goes back to those who fill them.

use std::sync::Arc;

use super::outlet::Group;
use super::ticket::Ticket;
use crate::stdx::narrow;

/// Starts of a batch, at most.
pub(crate) const BATCH_STARTS_MAX: usize = 256;

/// Bytes at which a batch is full.
pub(crate) const BATCH_BYTES: usize = 64 * 1024;

/// Room for the last input of a batch, if it is small.
const BATCH_SLACK: usize = 4 * 1024;

/// Memory above which the bytes of a batch are not kept for the next one.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// One start of a batch.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where the input ends; the name follows it.
    input_end: u32,
    end: u32,
    /// Its line, counted from the batch's first.
    offset: u32,
    ticket: Option<Arc<Ticket>>,
}

/// Inputs of executions of one group that have not been started.
#[derive(Debug)]
pub(crate) struct StartBatch {
    pub(crate) group: Arc<Group>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// The first entry that has not been started, and where its input begins.
    next: usize,
    next_byte: usize,
    /// The line of the first entry, see [`Ended::line`](super::Ended::line).
    pub(crate) first_line: u64,
    /// What the seed of the first entry is made of.
    pub(crate) first_number: u64,
}

/// A start, taken from a batch.
pub(crate) struct Started<'a> {
    pub(crate) input: &'a [u8],
    pub(crate) name: Option<&'a str>,
    pub(crate) ticket: Option<Arc<Ticket>>,
    pub(crate) line: u64,
    pub(crate) number: u64,
}

/// Memory of a batch without its starts.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl StartBatch {
    /// A batch without starts, with the memory of one that is done.
    pub(crate) fn new(
        group: Arc<Group>,
        spare: Spare,
        first_line: u64,
        first_number: u64,
    ) -> StartBatch {
        let mut bytes = spare.bytes;
        bytes.reserve(BATCH_BYTES + BATCH_SLACK);
        StartBatch {
            group,
            bytes,
            entries: spare.entries,
            next: 0,
            next_byte: 0,
            first_line,
            first_number,
        }
    }

    /// Adds a start, for the line after the last one.
    pub(crate) fn push(&mut self, input: &[u8], name: Option<&str>, ticket: Option<Arc<Ticket>>) {
        let offset = self.entries.len();
        self.push_at(offset, input, name, ticket);
    }

    /// Adds a start; its line is `offset` after the batch's first, and after that of the start before.
    pub(crate) fn push_at(
        &mut self,
        offset: usize,
        input: &[u8],
        name: Option<&str>,
        ticket: Option<Arc<Ticket>>,
    ) {
        self.bytes.extend_from_slice(input);
        let input_end = narrow(self.bytes.len());
        self.bytes
            .extend_from_slice(name.unwrap_or_default().as_bytes());
        self.entries.push(Entry {
            input_end,
            end: narrow(self.bytes.len()),
            offset: narrow(offset),
            ticket,
        });
    }

    /// True if no further start should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_STARTS_MAX || self.bytes.len() >= BATCH_BYTES
    }

    /// The number of the start that would be added.
    pub(crate) fn next_number(&self) -> u64 {
        self.first_number.wrapping_add(self.entries.len() as u64)
    }

    /// Starts that are left.
    pub(crate) fn left(&self) -> usize {
        self.entries.len() - self.next
    }

    /// Takes the next start.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Started<'_>> {
        let entry = self.entries.get_mut(self.next)?;
        let start = self.next_byte;
        let (input_end, end) = (entry.input_end as usize, entry.end as usize);
        let offset = u64::from(entry.offset);
        self.next += 1;
        self.next_byte = end;
        let name = match input_end {
            input_end if input_end == end => None,
            input_end => std::str::from_utf8(&self.bytes[input_end..end]).ok(),
        };
        Some(Started {
            input: &self.bytes[start..input_end],
            name,
            ticket: entry.ticket.take(),
            line: self.first_line + offset,
            number: self.first_number.wrapping_add(offset),
        })
    }

    /// The memory, once all starts are taken.
    pub(crate) fn into_spare(mut self) -> Spare {
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.entries.clear();
        Spare {
            bytes: self.bytes,
            entries: self.entries,
        }
    }
}
