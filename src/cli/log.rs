//! `--log`: where the events of a run go, or that they go nowhere.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Clock as _, SystemClock};
use crate::history::{HistoryEvent, LogLevel, Observer};
use crate::interp::MachineIdentity;
use crate::log::{
    self, ExecutionIdentity, LineFormat, LogConfig, LogCounters, LogSink, LogStream, Policy,
    Rotation, SinkFormat,
};

/// What is logged of a run, and where it goes.
#[derive(clap::Args, Clone, Debug)]
pub struct LogArgs {
    /// Write the executions' events to a file. What is in the file is replaced.
    #[arg(long, value_name = "FILE")]
    pub log: Option<String>,
    /// Which events are logged.
    #[arg(long, value_enum, ignore_case = true, default_value_t = LevelArg::All, requires = "log")]
    pub log_level: LevelArg,
    /// Log no inputs, outputs, parameters and variables. Errors and causes are logged all the same.
    #[arg(long, requires = "log")]
    pub log_without_data: bool,
    /// As AWS's logs have it, one JSON object a line; or compact records, less than a tenth of the size, which `quickstep
    /// logs` reads.
    #[arg(long, value_enum, ignore_case = true, default_value_t = FormatArg::Json, requires = "log")]
    pub log_format: FormatArg,
    /// What happens where the log is slower than the executions: they wait, so that the log is complete; or events are
    /// dropped, and counted at the end of the run.
    #[arg(long, value_enum, ignore_case = true, default_value_t = PolicyArg::Block, requires = "log")]
    pub log_policy: PolicyArg,
    /// Begin a new file before one has more bytes than that: FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on.
    #[arg(long, value_name = "N", requires = "log")]
    pub log_rotate_bytes: Option<u64>,
    /// Begin a new file after that many seconds.
    #[arg(long, value_name = "N", requires = "log")]
    pub log_rotate_seconds: Option<u32>,
    /// Files that are kept besides the one that is written to; older ones are deleted.
    #[arg(long, value_name = "N", default_value_t = Rotation::KEEP, requires = "log",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub log_keep: u32,
    /// Log only so many per cent of the executions, each of them whole or not at all.
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0, requires = "log", value_parser = percent)]
    pub log_sample: f64,
}

/// `--log-level`
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[value(rename_all = "UPPER")]
pub enum LevelArg {
    /// Every event.
    All,
    /// Failures of states, tasks and executions.
    Error,
    /// Executions that did not succeed.
    Fatal,
    /// Nothing.
    Off,
}

impl From<LevelArg> for LogLevel {
    fn from(arg: LevelArg) -> LogLevel {
        match arg {
            LevelArg::All => LogLevel::All,
            LevelArg::Error => LogLevel::Error,
            LevelArg::Fatal => LogLevel::Fatal,
            LevelArg::Off => LogLevel::Off,
        }
    }
}

/// `--log-format`
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormatArg {
    /// AWS's JSON, one object a line.
    Json,
    /// Compact records, in which each document stands once.
    Compact,
}

/// `--log-policy`
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyArg {
    /// Executions wait for the log.
    Block,
    /// Events are dropped.
    Drop,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("a number from 0 to 100 is needed".to_owned()),
    }
}

/// How long a run waits in the end for what was logged to be written: by its policy until it is, or a little.
const CLOSE_BLOCKING: Duration = Duration::from_secs(24 * 60 * 60);
const CLOSE_DROPPING: Duration = Duration::from_secs(10);

impl LogArgs {
    /// Opens the log, if there is to be one.
    pub(super) fn open(&self) -> Result<Option<LogStream>, log::Error> {
        let Some(path) = &self.log else {
            return Ok(None);
        };
        let mut config = LogConfig::new(self.log_level.into()).sample(self.log_sample / 100.0);
        if self.log_without_data {
            config = config.without_data();
        }
        let format = match self.log_format {
            FormatArg::Json => SinkFormat::Lines(LineFormat::Json),
            FormatArg::Compact => SinkFormat::Compact,
        };
        let policy = match self.log_policy {
            PolicyArg::Block => Policy::Block,
            PolicyArg::Drop => Policy::Drop,
        };
        let rotation = Rotation {
            bytes: self.log_rotate_bytes,
            age_millis: self
                .log_rotate_seconds
                .map(|seconds| i64::from(seconds) * 1_000),
            keep: self.log_keep,
        };
        let sink = LogSink::file(path, format)
            .replace()
            .policy(policy)
            .rotation(rotation);
        let clock = SystemClock::new();
        LogStream::builder()
            .config(config)
            .sink(sink)
            .now(move || clock.timestamp())
            .build()
            .map(Some)
    }

    /// Writes what is left of the log.
    pub(super) fn close(&self, log: LogStream) -> LogCounters {
        log.close(match self.log_policy {
            PolicyArg::Block => CLOSE_BLOCKING,
            PolicyArg::Drop => CLOSE_DROPPING,
        })
    }
}

/// Events of executions on their way to a log, or nowhere.
pub(super) trait Log: Observer + Send {
    /// The events that follow belong to this execution.
    fn turn_to(&mut self, machine: &Arc<MachineIdentity>, seed: u64);

    /// Hands on what is buffered.
    fn flush(&mut self);
}

/// No log.
#[derive(Clone, Debug)]
pub(super) struct NoLog;

impl Observer for NoLog {
    const ENABLED: bool = false;

    fn observe(&mut self, _: &HistoryEvent<'_>) {}
}

impl Log for NoLog {
    fn turn_to(&mut self, _: &Arc<MachineIdentity>, _: u64) {}

    fn flush(&mut self) {}
}

/// One worker's part of a log.
#[derive(Debug)]
pub(super) struct Stream(pub(super) log::Recorder);

impl Observer for Stream {
    const ENABLED: bool = true;

    #[inline(always)]
    fn wants(&self, level: LogLevel) -> bool {
        self.0.wants(level)
    }

    #[inline]
    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.0.observe(event);
    }
}

impl Log for Stream {
    #[inline]
    fn turn_to(&mut self, machine: &Arc<MachineIdentity>, seed: u64) {
        self.0.turn_to(&ExecutionIdentity {
            machine,
            name: None,
            seed,
        });
    }

    fn flush(&mut self) {
        self.0.flush();
    }
}
