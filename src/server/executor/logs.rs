//! Log groups: where the events go of executions whose machine has a `loggingConfiguration`.
//!
//! 1. A group is opened when a machine names it: one [`LogStream`] with one file, or the standard output for all groups.
//! 2. Who runs an execution takes a recorder of the group for the turn: each worker has one of its own, and so has each seat.
//! 3. What was recorded goes out when there is a block of it, and every [`FLUSH_INTERVAL`].
//!
//! As on AWS nobody waits for a log: what a file is too slow for is dropped and counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::super::error::ApiError;
use super::super::limits::LOG_GROUPS_MAX;
use super::cloudwatch::{CloudWatch, stream_name};
use crate::aws::Client;
use crate::engine::Clock;
use crate::history::LogLevel;
use crate::log::{LineFormat, LogConfig, LogSink, LogStream, Recorder, Rotation, SinkFormat};
use crate::metrics::{LogFigures, SinkFigures};
use crate::store::Logging;
use crate::task::lock;

/// How often what was recorded goes out.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// How long the end of the server waits for what was logged to be written.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// Where the events of log groups go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum LogTarget {
    /// Into a file for each, under this directory.
    Files(PathBuf),
    /// All to the standard output.
    Stdout,
    /// Nowhere.
    Nowhere,
}

/// Where the events of log groups go, and what their files and streams are to be.
#[derive(Debug)]
pub(crate) struct LogPlace {
    pub(crate) target: LogTarget,
    pub(crate) rotation: Rotation,
    /// CloudWatch Logs, if they go there as well.
    pub(crate) cloudwatch: Option<Client>,
    /// A name that no other server has.
    pub(crate) unique: String,
}

/// What is logged of a machine, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(super) group: Arc<LogGroup>,
    pub(super) config: LogConfig,
}

/// The log groups that are open.
#[derive(Debug)]
pub(crate) struct LogGroups {
    target: LogTarget,
    rotation: Rotation,
    cloudwatch: Option<CloudWatch>,
    /// The stream of each group in CloudWatch Logs.
    stream: String,
    clock: Arc<dyn Clock>,
    /// How many threads record.
    recorders: usize,
    open: Mutex<BTreeMap<Box<str>, Arc<LogGroup>>>,
}

/// A log group that is open.
#[derive(Debug)]
pub(crate) struct LogGroup {
    /// One for each thread, once it records. They are flushed before the stream is closed.
    recorders: Box<[Mutex<Option<Recorder>>]>,
    stream: Mutex<Option<LogStream>>,
}

impl LogGroup {
    /// The recorder of a thread; nothing once the group is closed.
    pub(super) fn recorder(&self, thread: usize) -> MutexGuard<'_, Option<Recorder>> {
        let mut recorder = lock(&self.recorders[thread]);
        if recorder.is_none() {
            *recorder = lock(&self.stream).as_ref().map(LogStream::recorder);
        }
        recorder
    }

    fn flush(&self) {
        for recorder in &self.recorders {
            if let Some(recorder) = lock(recorder).as_mut() {
                recorder.flush();
            }
        }
    }

    fn close(&self) {
        let stream = lock(&self.stream).take();
        for recorder in &self.recorders {
            // What it has goes out first.
            lock(recorder).take();
        }
        if let Some(stream) = stream {
            stream.close(CLOSE_TIME_MAX);
        }
    }
}

impl LogGroups {
    pub(crate) fn new(place: LogPlace, clock: &Arc<dyn Clock>, recorders: usize) -> LogGroups {
        let cloudwatch = place.cloudwatch.and_then(|client| {
            let made = CloudWatch::new(client);
            // The server does its work without; whoever looks for logs finds out why there are none.
            made.inspect_err(|error| tracing::error!("no logs go to CloudWatch Logs: {error}"))
                .ok()
        });
        LogGroups {
            target: place.target,
            rotation: place.rotation,
            cloudwatch,
            stream: stream_name(clock.timestamp(), &place.unique),
            clock: Arc::clone(clock),
            recorders,
            open: Mutex::default(),
        }
    }

    /// What a configuration asks for; nothing if nothing is to be logged.
    pub(crate) fn log(&self, logging: &Logging) -> Result<Option<Log>, ApiError> {
        let level = match &*logging.level {
            "ALL" => LogLevel::All,
            "ERROR" => LogLevel::Error,
            "FATAL" => LogLevel::Fatal,
            _ => return Ok(None),
        };
        let Some(arn) = logging.log_group.as_deref() else {
            return Ok(None);
        };
        let Some(name) = GroupName::of(arn) else {
            return Err(invalid(format!(
                "'{arn}' is no ARN of a log group, arn:aws:logs:REGION:ACCOUNT:log-group:NAME:*, whose name can be that of \
                 a file"
            )));
        };
        let mut config = LogConfig::new(level);
        if !logging.include_execution_data {
            config = config.without_data();
        }
        let key = match (&self.target, &self.cloudwatch) {
            (_, Some(_)) | (LogTarget::Files(_), None) => name.path(),
            (LogTarget::Stdout, None) => "",
            (LogTarget::Nowhere, None) => return Ok(None),
        };
        let group = self.group(key, &name)?;
        Ok(Some(Log { group, config }))
    }

    fn group(&self, key: &str, name: &GroupName<'_>) -> Result<Arc<LogGroup>, ApiError> {
        let mut open = lock(&self.open);
        if let Some(group) = open.get(key) {
            return Ok(Arc::clone(group));
        }
        if open.len() >= LOG_GROUPS_MAX {
            // Those of machines that are gone make room.
            open.retain(|_, group| Arc::strong_count(group) > 1);
        }
        if open.len() >= LOG_GROUPS_MAX {
            return Err(invalid(format!("{LOG_GROUPS_MAX} log groups are in use")));
        }
        let lines = SinkFormat::Lines(LineFormat::Json);
        let mut builder = LogStream::builder();
        match &self.target {
            LogTarget::Files(directory) => {
                let file = directory.join(format!("{}.ndjson", name.path()));
                make_directory(&file)?;
                builder = builder.sink(LogSink::file(file, lines).rotation(self.rotation));
            }
            LogTarget::Stdout => builder = builder.sink(LogSink::stdout(lines)),
            LogTarget::Nowhere => {}
        }
        if let Some(cloudwatch) = &self.cloudwatch {
            let writer = cloudwatch.writer(name.name, name.region, &self.stream);
            let shown = format!("cloudwatch:{}", name.name);
            builder = builder.sink(LogSink::writer(&shown, writer, lines));
        }
        let clock = Arc::clone(&self.clock);
        let stream = builder
            .now(move || clock.timestamp())
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        let group = Arc::new(LogGroup {
            recorders: (0..self.recorders).map(|_| Mutex::default()).collect(),
            stream: Mutex::new(Some(stream)),
        });
        open.insert(key.into(), Arc::clone(&group));
        Ok(group)
    }

    fn groups(&self) -> Vec<Arc<LogGroup>> {
        lock(&self.open).values().cloned().collect()
    }

    /// Hands on what was recorded.
    pub(crate) fn flush(&self) {
        for group in self.groups() {
            group.flush();
        }
    }

    /// Writes what was recorded, and takes nothing more.
    pub(crate) fn close(&self) {
        for group in self.groups() {
            group.close();
        }
    }

    /// What the logs have done so far.
    pub(crate) fn figures(&self) -> LogFigures {
        let mut sinks = Vec::new();
        for group in self.groups() {
            if let Some(stream) = lock(&group.stream).as_ref() {
                sinks.extend(stream.counters().sinks.iter().map(SinkFigures::from));
            }
        }
        LogFigures { sinks }
    }
}

fn invalid(what: String) -> ApiError {
    let message = format!("Invalid Logging Configuration: {what}");
    ApiError::new("InvalidLoggingConfiguration", message)
}

fn make_directory(file: &Path) -> Result<(), ApiError> {
    let Some(directory) = file.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(directory).map_err(|error| {
        invalid(format!(
            "failed to make the directory {}: {error}",
            directory.display()
        ))
    })
}

/// Most bytes of a part of a group's name: with an ending and a number it has to be the name of a file.
const PART_BYTES_MAX: usize = 200;

/// A log group, as its ARN names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct GroupName<'a> {
    region: &'a str,
    name: &'a str,
}

impl<'a> GroupName<'a> {
    /// The group of an ARN, if its name can be that of a file.
    fn of(arn: &'a str) -> Option<GroupName<'a>> {
        let mut parts = arn.splitn(7, ':');
        let is_arn = parts.next() == Some("arn") && parts.next().is_some();
        let is_logs = is_arn && parts.next() == Some("logs");
        let region = parts.next().filter(|_| is_logs)?;
        if parts.nth(1)? != "log-group" {
            return None;
        }
        let name = parts.next()?;
        let name = name.strip_suffix(":*").unwrap_or(name);
        let group = GroupName { region, name };
        let is_part = |part: &str| {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.#".contains(&b);
            !part.is_empty()
                && !part.starts_with('.')
                && part.len() <= PART_BYTES_MAX
                && part.bytes().all(is_plain)
        };
        let path = group.path();
        let is_path = path.len() <= 512 && path.split('/').all(is_part);
        is_path.then_some(group)
    }

    /// The name as a path without its ending: `/aws/vendedlogs/x` is `aws/vendedlogs/x`.
    fn path(&self) -> &'a str {
        self.name.strip_prefix('/').unwrap_or(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::GroupName;

    #[test]
    fn names_of_groups_stay_in_their_directory() {
        let long = "x".repeat(201);
        for (name, path) in [
            ("orders", Some("orders")),
            ("orders:*", Some("orders")),
            (
                "/aws/vendedlogs/states/M-1:*",
                Some("aws/vendedlogs/states/M-1"),
            ),
            ("a.b_c#d", Some("a.b_c#d")),
            ("", None),
            ("/:*", None),
            ("//a", None),
            ("a//b", None),
            ("a/", None),
            ("..", None),
            ("../../etc/passwd:*", None),
            ("a/../b", None),
            ("a/.hidden", None),
            ("a b", None),
            ("a\\b", None),
            ("a\0b", None),
            ("a:b:*", None),
            (&long, None),
        ] {
            let arn = format!("arn:aws:logs:us-east-1:123456789012:log-group:{name}");
            let found = GroupName::of(&arn);
            assert_eq!(found.map(|group| group.path()), path, "{arn}");
            assert!(found.is_none_or(|group| group.region == "us-east-1"));
        }
        for arn in [
            "",
            "orders",
            "arn:aws:logs:us-east-1:123456789012:log-stream:a",
            "arn:aws:s3:::log-group:a",
        ] {
            assert_eq!(GroupName::of(arn), None, "{arn}");
        }
    }
}
