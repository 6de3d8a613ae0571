//! The log of an execution, in all ways that lead to AWS's JSON, which must agree to the byte: rendered of the events
//! themselves, by a sink, and from a compact log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quickstep::history::{HistoryEvent, LogContext, LogLevel, Observer};
use quickstep::interp::MachineIdentity;
use quickstep::log::{
    ExecutionIdentity, Filter, LineFormat, LogConfig, LogReader, LogSink, LogStream, Policy,
    Recorder, SinkFormat,
};
use serde_json::Value;

/// Every level that has events, with and without data.
const LEVELS: [(LogLevel, bool); 6] = [
    (LogLevel::All, true),
    (LogLevel::All, false),
    (LogLevel::Error, true),
    (LogLevel::Error, false),
    (LogLevel::Fatal, true),
    (LogLevel::Fatal, false),
];

/// Memory that a sink writes to.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One log of one level.
struct Log {
    level: LogLevel,
    data: bool,
    stream: LogStream,
    /// Two workers, between which the execution changes from turn to turn.
    recorders: [Recorder; 2],
    lines: Memory,
    compact: Memory,
    /// What it should be.
    direct: Vec<u8>,
}

/// The logs of one execution.
pub(crate) struct Logs {
    machine: Arc<MachineIdentity>,
    seed: u64,
    arn: String,
    turns: usize,
    /// Nothing more is logged: the log is large enough to show what it can.
    is_full: bool,
    logs: Vec<Log>,
}

/// Bytes of JSON after which an execution is not logged any further.
const LOG_BYTES_MAX: usize = 2 * 1024 * 1024;

impl Logs {
    pub(crate) fn new(machine: &Arc<MachineIdentity>, seed: u64) -> Logs {
        let name = quickstep::interp::name_of_seed(seed);
        let logs = LEVELS.map(|(level, data)| {
            let config = match data {
                true => LogConfig::new(level),
                false => LogConfig::new(level).without_data(),
            };
            let (lines, compact) = (Memory::default(), Memory::default());
            let of = |name, memory: &Memory, format| {
                LogSink::writer(name, memory.clone(), format).policy(Policy::Block)
            };
            let stream = LogStream::builder()
                .config(config)
                .sink(of("lines", &lines, SinkFormat::Lines(LineFormat::Json)))
                .sink(of("compact", &compact, SinkFormat::Compact))
                .build()
                .expect("a log stream");
            Log {
                level,
                data,
                recorders: [stream.recorder(), stream.recorder()],
                stream,
                lines,
                compact,
                direct: Vec::new(),
            }
        });
        Logs {
            machine: Arc::clone(machine),
            seed,
            arn: machine.execution_arn(&name, seed),
            turns: 0,
            is_full: false,
            logs: logs.into(),
        }
    }

    /// The values of the execution may be elsewhere from now on.
    pub(crate) fn turn(&mut self) {
        self.turns += 1;
        for log in &mut self.logs {
            log.recorders[self.turns % 2].turn_to(&ExecutionIdentity {
                machine: &self.machine,
                name: None,
                seed: self.seed,
            });
        }
    }

    pub(crate) fn observe(&mut self, event: &HistoryEvent<'_>) {
        if self.is_full {
            return;
        }
        for log in &mut self.logs {
            self.is_full |= log.direct.len() > LOG_BYTES_MAX;
            log.recorders[self.turns % 2].observe(event);
            if event.details.level() >= log.level {
                let context = LogContext {
                    execution_arn: &self.arn,
                    include_execution_data: log.data,
                };
                event.write_log(&context, &mut log.direct);
                log.direct.push(b'\n');
            }
        }
    }

    /// Compares what came of the logs; returns the lines of one of them.
    pub(crate) fn finish(self, level: LogLevel, data: bool) -> Result<Vec<Value>, String> {
        let mut wanted = Vec::new();
        for log in self.logs {
            let what = format!("log {:?}, data {}", log.level, log.data);
            for recorder in log.recorders {
                drop(recorder);
            }
            let counters = log.stream.close(Duration::from_secs(60));
            if counters.dropped() > 0 || counters.sinks.iter().any(|sink| sink.errors > 0) {
                return Err(format!("{what}: {counters:?}"));
            }
            let direct = by_id(&log.direct);
            let lines = log.lines.0.lock().expect("no panic");
            same(&format!("{what}: lines"), &direct, &by_id(&lines))?;
            let compact = log.compact.0.lock().expect("no panic");
            let (mut read, mut damages) = (Vec::new(), Vec::new());
            LogReader::new(&compact[..])
                .render(
                    &Filter::default(),
                    LineFormat::Json,
                    true,
                    |lines| {
                        read.extend_from_slice(lines);
                        Ok(())
                    },
                    |damage| damages.push(damage),
                )
                .map_err(|error| format!("{what}: {error}"))?;
            if !damages.is_empty() {
                return Err(format!("{what}: {damages:?}"));
            }
            same(&format!("{what}: compact"), &direct, &by_id(&read))?;
            if (log.level, log.data) == (level, data) {
                let parse = |line: &&[u8]| serde_json::from_slice(line).expect("a line is JSON");
                wanted = direct.iter().map(parse).collect();
            }
        }
        Ok(wanted)
    }
}

/// Lines in the order of their events: blocks of two workers come in another.
fn by_id(lines: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_by_key(|line| {
        let id = line.split(|byte| *byte == b'"').nth(3);
        id.and_then(|id| std::str::from_utf8(id).ok()?.parse::<u64>().ok())
    });
    lines
}

fn same(what: &str, expected: &[&[u8]], ours: &[&[u8]]) -> Result<(), String> {
    let text =
        |line: Option<&&[u8]>| String::from_utf8_lossy(line.unwrap_or(&&b""[..])).into_owned();
    for at in 0..expected.len().max(ours.len()) {
        if expected.get(at) != ours.get(at) {
            return Err(format!(
                "{what}, line {at}:\n    {}    {}",
                text(expected.get(at)),
                text(ours.get(at))
            ));
        }
    }
    Ok(())
}
