//! `--log`: the events of executions in a file, one JSON object a line, as AWS's logs have them.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::history::{HistoryEvent, LogContext, LogLevel, Observer};
use crate::interp::{MachineIdentity, name_of_seed};

/// Events of executions on their way to a log, or nowhere.
pub(super) trait Log: Observer + Send + Clone {
    /// The events that follow belong to this execution.
    fn turn_to(&mut self, seed: u64);

    /// Writes out what is buffered.
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
    fn turn_to(&mut self, _: u64) {}

    fn flush(&mut self) {}
}

/// Lines wait here until there are this many bytes of them, or nothing else to do.
const BUFFER_BYTES: usize = 64 * 1024;

/// One worker's part of a log that is a file. Clones share the file; each writes whole lines.
#[derive(Debug)]
pub(super) struct FileLog {
    level: LogLevel,
    include_execution_data: bool,
    identity: Arc<MachineIdentity>,
    /// Execution of the events to come, and the one that `execution_arn` belongs to.
    seed: u64,
    execution_arn: String,
    arn_seed: Option<u64>,
    buffer: Vec<u8>,
    file: Arc<Mutex<LogFile>>,
}

#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    /// The first error; nothing is written after it.
    error: Option<io::Error>,
}

impl LogFile {
    pub(super) fn create(path: &str) -> io::Result<Arc<Mutex<LogFile>>> {
        let file = File::create(path)?;
        Ok(Arc::new(Mutex::new(LogFile { file, error: None })))
    }

    fn write(&mut self, lines: &[u8]) {
        if self.error.is_none() {
            self.error = self.file.write_all(lines).err();
        }
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }
}

impl FileLog {
    pub(super) fn new(
        file: &Arc<Mutex<LogFile>>,
        identity: &Arc<MachineIdentity>,
        level: LogLevel,
        include_execution_data: bool,
    ) -> FileLog {
        FileLog {
            level,
            include_execution_data,
            identity: Arc::clone(identity),
            seed: 0,
            execution_arn: String::new(),
            arn_seed: None,
            buffer: Vec::new(),
            file: Arc::clone(file),
        }
    }
}

impl Clone for FileLog {
    fn clone(&self) -> FileLog {
        FileLog::new(
            &self.file,
            &self.identity,
            self.level,
            self.include_execution_data,
        )
    }
}

impl Observer for FileLog {
    const ENABLED: bool = true;

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        if event.details.level() < self.level {
            return;
        }
        if self.arn_seed != Some(self.seed) {
            self.arn_seed = Some(self.seed);
            let name = name_of_seed(self.seed);
            self.execution_arn = self.identity.execution_arn(&name, self.seed);
        }
        let context = LogContext {
            execution_arn: &self.execution_arn,
            include_execution_data: self.include_execution_data,
        };
        event.write_log(&context, &mut self.buffer);
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }
}

impl Log for FileLog {
    fn turn_to(&mut self, seed: u64) {
        self.seed = seed;
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write(&self.buffer);
            self.buffer.clear();
        }
    }
}
