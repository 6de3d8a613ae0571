//! Figures of others: of log streams and of the journal, which count for themselves.

use std::fmt;

use crate::journal;
use crate::log::{LogCounters, SinkCounters};

/// Reads figures.
type Read<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Who else has figures.
#[derive(Default)]
pub(super) struct Sources {
    /// Those that engines have brought have a key, and are there once.
    pub(super) logs: Vec<(Option<usize>, Read<LogFigures>)>,
    pub(super) journals: Vec<Read<JournalFigures>>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("logs", &self.logs.len())
            .field("journals", &self.journals.len())
            .finish()
    }
}

/// What a log stream has done so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogFigures {
    /// Its sinks.
    pub sinks: Vec<SinkFigures>,
}

/// What a sink of a log stream has done so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SinkFigures {
    /// Its name.
    pub name: Box<str>,
    /// Events that were written.
    pub events: u64,
    /// Events that were not, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Blocks of events that wait, now.
    pub queue_depth: u64,
}

/// What a journal has done so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JournalFigures {
    /// Starts that were written.
    pub starts: u64,
    /// Ends that were written.
    pub ends: u64,
    /// Commits that are on the disk.
    pub commits: u64,
    /// Nanoseconds of their writes and syncs.
    pub commit_nanos: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Starts that were refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Starts without an end, now.
    pub unfinished: u64,
    /// Bytes of its files, now.
    pub file_bytes: u64,
}

impl From<&LogCounters> for LogFigures {
    fn from(counters: &LogCounters) -> LogFigures {
        LogFigures {
            sinks: counters.sinks.iter().map(SinkFigures::from).collect(),
        }
    }
}

impl From<&SinkCounters> for SinkFigures {
    fn from(counters: &SinkCounters) -> SinkFigures {
        SinkFigures {
            name: counters.name.clone(),
            events: counters.events,
            dropped: counters.dropped.by_reason().into(),
            queue_depth: counters.queue_blocks as u64,
        }
    }
}

impl From<&journal::Counters> for JournalFigures {
    fn from(counters: &journal::Counters) -> JournalFigures {
        JournalFigures {
            starts: counters.starts,
            ends: counters.ends,
            commits: counters.commits,
            commit_nanos: counters.commit_nanos,
            bytes: counters.bytes,
            refused: vec![
                ("full", counters.refused_full),
                ("busy", counters.refused_busy),
            ],
            unfinished: counters.unfinished,
            file_bytes: counters.file_bytes,
        }
    }
}
