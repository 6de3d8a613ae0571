//! [`StreamReport`]: what a stream has done.

use std::io;

use super::ack::{Outcome, Settled, Verdict};
use crate::engine::error::Error;

/// How a stream ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamEnd {
    /// Every event has its result.
    Finished,
    /// A recorder stopped it at an event that was refused.
    Refused,
    /// A [`Stopper`](super::Stopper) had it drained, and everything that it had read was done in time.
    Drained,
    /// A [`Stopper`](super::Stopper) stopped it, or its draining took too long.
    Stopped,
    /// Its source failed.
    ReadFailed(Error),
    /// Its sink failed, or what takes its dead letters.
    WriteFailed(io::Error),
}

/// What a stream has done. Each event that was read is done, rejected, nacked or in flight, and is counted once:
/// `read == done + rejected + nacked + in_flight`.
#[derive(Debug)]
#[non_exhaustive]
pub struct StreamReport {
    /// How it ended.
    pub end: StreamEnd,
    /// Events that were read.
    pub read: u64,
    /// Events that are done: their sources have heard so, if they want to.
    pub done: u64,
    /// Events that were given up.
    pub rejected: u64,
    /// Events that are to be delivered again by their source, or by whoever starts the stream again.
    pub nacked: u64,
    /// Events that somebody still works at, and that are nacked when he is done.
    pub in_flight: u64,
    /// How often the stream has delivered an event again.
    pub redelivered: u64,
    /// The last outcomes of the events, by [`Outcome`].
    outcomes: [u64; Outcome::ALL.len()],
    /// Sources that could not take in what became of an event.
    pub ack_failures: u64,
    /// What the first of them said.
    pub ack_error: Option<Error>,
}

impl StreamReport {
    pub(super) const fn new() -> StreamReport {
        StreamReport {
            end: StreamEnd::Finished,
            read: 0,
            done: 0,
            rejected: 0,
            nacked: 0,
            in_flight: 0,
            redelivered: 0,
            outcomes: [0; Outcome::ALL.len()],
            ack_failures: 0,
            ack_error: None,
        }
    }

    /// Events whose last execution ended so; those in flight are not among them.
    #[must_use]
    pub const fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Events of which nobody wants to hear have ended so.
    pub(super) fn add(&mut self, outcomes: &[u64; Outcome::ALL.len()]) {
        for (outcome, count) in Outcome::ALL.into_iter().zip(outcomes) {
            self.outcomes[outcome as usize] += count;
            match outcome {
                Outcome::Succeeded | Outcome::Failed | Outcome::TimedOut => self.done += count,
                Outcome::Invalid => self.rejected += count,
                Outcome::Aborted | Outcome::Lost => self.nacked += count,
            }
        }
    }

    pub(super) fn add_lost(&mut self, count: u64) {
        self.outcomes[Outcome::Lost as usize] += count;
        self.nacked += count;
    }

    pub(super) fn add_settled(&mut self, settled: &Settled) {
        self.outcomes[settled.outcome as usize] += 1;
        match settled.verdict {
            Verdict::Done => self.done += 1,
            Verdict::Rejected => self.rejected += 1,
            Verdict::Again { .. } => self.nacked += 1,
        }
    }

    pub(super) fn ack_failed(&mut self, error: Error) {
        self.ack_failures += 1;
        self.ack_error.get_or_insert(error);
    }
}
