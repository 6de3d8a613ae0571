//! The log stream: events of executions on their way to files, pipes and subscribers.
//!
//! A [`LogStream`] says what is logged of which machine and where it goes. Every worker records with a [`Recorder`] of
//! its own into compact blocks, in which each value of a turn stands once; [sinks](LogSink) write these blocks as they
//! are, or render AWS's JSON of them on threads of their own. By default nobody ever waits for a log: what a sink is too
//! slow for is dropped and counted.
//!
//! The compact format is version 1, and stable: `format.rs` documents it, [`LogReader`] and `quickstep logs` read it.
//!
//! This module knows nothing of engines and runtimes; whoever runs executions drives recorders. It has threads and
//! files, but no clock: the time of day, which rotation by age needs, is given to it.

mod block;
mod counters;
mod decode;
mod documents;
mod file;
mod filter;
mod format;
mod queue;
mod reader;
mod recorder;
mod render;
mod sink;
mod stream;
mod subscribe;

pub use counters::{Dropped, LogCounters, SinkCounters};
pub use file::Rotation;
pub use filter::Filter;
pub use format::{BLOCK_BYTES, BLOCK_BYTES_MAX};
pub use queue::Policy;
pub use reader::{Damage, LogReader, ReadError};
pub use recorder::Recorder;
pub use render::LineFormat;
pub use sink::{LogSink, Lost, SinkFormat};
pub use stream::{Error, LogStream, LogStreamBuilder};
pub use subscribe::{SubscribedEvent, Subscription};

use std::sync::Arc;

use crate::history::LogLevel;
use crate::interp::MachineIdentity;
use crate::stdx::Timestamp;

/// What is logged of a machine's executions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    level: LogLevel,
    include_execution_data: bool,
    /// Of 2^32 executions so many are logged.
    sample: u64,
}

/// All of 2^32.
const SAMPLE_ALL: u64 = 1 << 32;

impl LogConfig {
    /// Events of this level and above, with inputs and outputs, of all executions.
    #[must_use]
    pub const fn new(level: LogLevel) -> LogConfig {
        LogConfig {
            level,
            include_execution_data: true,
            sample: SAMPLE_ALL,
        }
    }

    /// Without inputs, outputs, parameters and variables (`includeExecutionData`).
    #[must_use]
    pub const fn without_data(mut self) -> LogConfig {
        self.include_execution_data = false;
        self
    }

    /// Only this share of the executions, from 0 to 1. An execution is logged whole or not at all: its name decides, or
    /// its seed if it was given no name.
    #[must_use]
    pub fn sample(mut self, share: f64) -> LogConfig {
        self.sample = (share.clamp(0.0, 1.0) * SAMPLE_ALL as f64) as u64;
        self
    }

    const fn is_whole(&self) -> bool {
        self.sample >= SAMPLE_ALL
    }
}

impl Default for LogConfig {
    /// Nothing.
    fn default() -> LogConfig {
        LogConfig::new(LogLevel::Off)
    }
}

/// Says which execution events belong to.
#[derive(Clone, Copy, Debug)]
pub struct ExecutionIdentity<'a> {
    /// What it shares with other executions of its machine.
    pub machine: &'a Arc<MachineIdentity>,
    /// Its name, if it was given one.
    pub name: Option<&'a str>,
    /// What its randomness comes from, its name and the id in its ARN among it.
    pub seed: u64,
}

/// Says what time of day it is.
type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[cfg(test)]
mod tests;
