//! Counters of a log stream, for reports and metrics.

/// What a log stream has done so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogCounters {
    /// Events in blocks that recorders have handed over.
    pub events: u64,
    /// Bytes of these blocks.
    pub bytes: u64,
    /// Events that were too large to be recorded.
    pub dropped_too_large: u64,
    /// Of each sink, in the order in which they were given.
    pub sinks: Vec<SinkCounters>,
    /// Events that subscribers took too long to fetch, of all subscribers.
    pub dropped_by_subscribers: u64,
    /// Subscribers there are.
    pub subscribers: u64,
}

impl LogCounters {
    /// Events that did not get to where they should, for any reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let by_sinks = self.sinks.iter().map(|sink| sink.dropped.total());
        self.dropped_too_large + self.dropped_by_subscribers + by_sinks.sum::<u64>()
    }
}

/// What a sink has done so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SinkCounters {
    /// Its name, such as the path of a file.
    pub name: Box<str>,
    /// Events that were written.
    pub events: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// Events that were not.
    pub dropped: Dropped,
    /// Times that something could not be written.
    pub errors: u64,
    /// Why, at the last of them.
    pub error: Option<String>,
    /// Times that the file was put aside and a new one begun.
    pub rotations: u64,
    /// Blocks that wait.
    pub queue_blocks: usize,
    /// Bytes of them.
    pub queue_bytes: usize,
}

/// Events that a sink has dropped, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// It was too slow.
    pub queue_full: u64,
    /// They could not be written.
    pub write_failed: u64,
    /// They came after the stream was closed.
    pub closed: u64,
}

impl Dropped {
    /// Of all reasons.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.queue_full + self.write_failed + self.closed
    }

    /// The reasons by name, as metrics label them.
    #[must_use]
    pub const fn by_reason(&self) -> [(&'static str, u64); 3] {
        [
            ("queue_full", self.queue_full),
            ("write_failed", self.write_failed),
            ("closed", self.closed),
        ]
    }
}
