//! `quickstep logs`: what is in compact logs.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use super::log::LevelArg;
use super::{EXIT_BROKEN_PIPE, EXIT_FAILURE, EXIT_SUCCESS, EXIT_TROUBLE};
use crate::history::EventType;
use crate::log::{Damage, Filter, LineFormat, LogReader, ReadError};

/// Shows logs that were written with `--log-format compact`.
///
/// A part of a log that is torn or corrupt is reported with its place, and passed over.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct LogsArgs {
    #[command(subcommand)]
    command: LogsCommand,
}

const EXAMPLES: &str = "\
Examples:
  quickstep run order.asl.json orders.ndjson --log events.qslog --log-format compact > results.ndjson
  quickstep logs cat events.qslog > events.ndjson
  quickstep logs grep --level ERROR --format text events.qslog
  quickstep logs grep --execution 0f5d3c9e-2d5a-4c0e-8f4c-1d2f3a4b5c6d events.qslog.2 events.qslog.1 events.qslog
  quickstep logs grep --state Charge --type TaskFailed --text 'no funds' events.qslog
  quickstep logs tail -f --format text events.qslog

Exit codes: 0 if all was well, 1 if grep has found nothing, 2 if a file cannot be read or is damaged.";

#[derive(clap::Subcommand, Clone, Debug)]
enum LogsCommand {
    /// Shows all events.
    Cat(CatArgs),
    /// Shows the last events, and with -f those that come.
    Tail(TailArgs),
    /// Shows the events that meet everything that is asked.
    Grep(GrepArgs),
}

#[derive(clap::Args, Clone, Debug)]
struct CatArgs {
    /// Logs, one after the other; `-` is the standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// How events are shown.
    #[arg(long, value_enum, ignore_case = true, default_value_t = LinesArg::Json)]
    format: LinesArg,
}

#[derive(clap::Args, Clone, Debug)]
struct TailArgs {
    /// A log.
    #[arg(value_name = "FILE")]
    file: String,
    /// How events are shown.
    #[arg(long, value_enum, ignore_case = true, default_value_t = LinesArg::Json)]
    format: LinesArg,
    /// So many events.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Go on when more is written, also to the file that takes its place once it is put aside.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(clap::Args, Clone, Debug)]
struct GrepArgs {
    /// Logs, one after the other; `-` is the standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// How events are shown.
    #[arg(long, value_enum, ignore_case = true, default_value_t = LinesArg::Json)]
    format: LinesArg,
    #[command(flatten)]
    wanted: Wanted,
}

/// Which events.
#[derive(clap::Args, Clone, Debug)]
struct Wanted {
    /// Those of one machine.
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// Those of one execution.
    #[arg(long, value_name = "NAME|ARN")]
    execution: Option<String>,
    /// Those that name the state, and those between that the log tells to be its own.
    #[arg(long, value_name = "NAME")]
    state: Option<String>,
    /// Those of one type, such as TaskStateEntered.
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type)]
    event_type: Option<EventType>,
    /// Those that a log of this level has.
    #[arg(long, value_enum, ignore_case = true)]
    level: Option<LevelArg>,
    /// Those with this text in a field; inputs and outputs are searched as compact JSON.
    #[arg(long)]
    text: Option<String>,
}

/// `--format`
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum LinesArg {
    /// AWS's JSON, one object a line.
    Json,
    /// Time, machine, execution, number, type and state, then the fields.
    #[value(alias = "compact")]
    Text,
}

impl From<LinesArg> for LineFormat {
    fn from(arg: LinesArg) -> LineFormat {
        match arg {
            LinesArg::Json => LineFormat::Json,
            LinesArg::Text => LineFormat::Text,
        }
    }
}

fn event_type(text: &str) -> Result<EventType, String> {
    let same = |known: &&EventType| known.as_str().eq_ignore_ascii_case(text);
    EventType::ALL.iter().find(same).copied().ok_or_else(|| {
        let near = EventType::ALL
            .iter()
            .map(|known| known.as_str())
            .filter(|known| known.to_lowercase().contains(&text.to_lowercase()));
        let near: Vec<&str> = near.take(5).collect();
        match near.is_empty() {
            true => "there is no such type of events; TaskStateEntered is one".to_owned(),
            false => format!(
                "there is no such type of events; there are {}",
                near.join(", ")
            ),
        }
    })
}

impl Wanted {
    fn filter(&self) -> Filter {
        let mut filter = Filter::default();
        if let Some(machine) = &self.machine {
            filter = filter.machine(machine);
        }
        if let Some(execution) = &self.execution {
            filter = filter.execution(execution);
        }
        if let Some(state) = &self.state {
            filter = filter.state(state);
        }
        if let Some(event_type) = self.event_type {
            filter = filter.event_type(event_type);
        }
        if let Some(level) = self.level {
            filter = filter.level(level.into());
        }
        if let Some(text) = &self.text {
            filter = filter.text(text);
        }
        filter
    }
}

/// What came of reading a log.
#[derive(Default)]
struct Seen {
    events: u64,
    is_damaged: bool,
}

/// A file that cannot be read, or an output that nobody reads.
enum Stopped {
    BrokenPipe,
    Trouble(String),
}

pub(super) fn run(args: &LogsArgs) -> u8 {
    let mut out = io::stdout().lock();
    let result = match &args.command {
        LogsCommand::Cat(cat) => show(&cat.files, &Filter::default(), cat.format.into(), &mut out),
        LogsCommand::Grep(grep) => {
            let filter = grep.wanted.filter();
            show(&grep.files, &filter, grep.format.into(), &mut out)
        }
        LogsCommand::Tail(args) => tail(args, &mut out),
    };
    match result {
        Ok(seen) if seen.is_damaged => EXIT_TROUBLE,
        Ok(seen) if seen.events == 0 && matches!(args.command, LogsCommand::Grep(_)) => {
            EXIT_FAILURE
        }
        Ok(_) => EXIT_SUCCESS,
        Err(Stopped::BrokenPipe) => EXIT_BROKEN_PIPE,
        Err(Stopped::Trouble(message)) => {
            complain(&format!("error: {message}"));
            EXIT_TROUBLE
        }
    }
}

fn complain(message: &str) {
    // If nobody reads the standard error, the exit code has to do.
    let _ = writeln!(io::stderr(), "{message}");
}

fn open(path: &str) -> Result<Box<dyn Read>, Stopped> {
    if path == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Stopped::Trouble(format!("failed to read {path}: {error}"))),
    }
}

fn show(
    files: &[String],
    filter: &Filter,
    format: LineFormat,
    out: &mut impl Write,
) -> Result<Seen, Stopped> {
    let mut seen = Seen::default();
    for path in files {
        let mut reader = LogReader::new(open(path)?);
        let write = |lines: &[u8]| out.write_all(lines);
        read(path, &mut reader, filter, format, true, write, &mut seen)?;
    }
    match out.flush() {
        Ok(()) => Ok(seen),
        Err(error) => Err(unwritable(&error)),
    }
}

fn unwritable(error: &io::Error) -> Stopped {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Stopped::BrokenPipe,
        _ => Stopped::Trouble(format!("failed to write: {error}")),
    }
}

/// Reads on in a log as far as it goes.
fn read<R: Read>(
    path: &str,
    reader: &mut LogReader<R>,
    filter: &Filter,
    format: LineFormat,
    is_final: bool,
    write: impl FnMut(&[u8]) -> io::Result<()>,
    seen: &mut Seen,
) -> Result<(), Stopped> {
    let report = |damage: Damage| {
        seen.is_damaged = true;
        let hint = match damage.offset {
            0 => "; is it a log that was written with --log-format compact?",
            _ => "",
        };
        complain(&format!("{path}: {damage}{hint}"));
    };
    match reader.render(filter, format, is_final, write, report) {
        Ok(events) => {
            seen.events += events;
            Ok(())
        }
        Err(ReadError::Write(error)) => Err(unwritable(&error)),
        Err(ReadError::Read(error)) => {
            Err(Stopped::Trouble(format!("failed to read {path}: {error}")))
        }
    }
}

/// How often a log that is followed is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

fn tail(args: &TailArgs, out: &mut impl Write) -> Result<Seen, Stopped> {
    let (filter, format) = (args.wanted.filter(), args.format.into());
    let mut seen = Seen::default();
    let mut file = Followed::open(&args.file)?;
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    let keep = |lines: &[u8]| {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if last.len() >= args.lines {
                last.pop_front();
            }
            if args.lines > 0 {
                last.push_back(line.to_owned());
            }
        }
        Ok(())
    };
    let is_final = !args.follow;
    let reader = &mut file.reader;
    read(
        &args.file, reader, &filter, format, is_final, keep, &mut seen,
    )?;
    let written = last.iter().try_for_each(|line| out.write_all(line));
    written
        .and_then(|()| out.flush())
        .map_err(|error| unwritable(&error))?;
    if !args.follow {
        return Ok(seen);
    }
    loop {
        thread::park_timeout(FOLLOW_INTERVAL);
        // What is put aside is read to its end first.
        let next = file.successor(&args.file);
        let write = |lines: &[u8]| out.write_all(lines).and_then(|()| out.flush());
        let is_final = next.is_some();
        let reader = &mut file.reader;
        read(
            &args.file, reader, &filter, format, is_final, write, &mut seen,
        )?;
        if let Some(next) = next {
            file = next;
        }
    }
}

/// A log that is followed, and which file it is.
struct Followed {
    reader: LogReader<File>,
    place: (u64, u64),
}

impl Followed {
    fn open(path: &str) -> Result<Followed, Stopped> {
        Followed::try_open(path)
            .map_err(|error| Stopped::Trouble(format!("failed to read {path}: {error}")))
    }

    fn try_open(path: &str) -> io::Result<Followed> {
        let file = File::open(path)?;
        Ok(Followed {
            place: place(&file.metadata()?),
            reader: LogReader::new(file),
        })
    }

    /// What has taken the place of this file, if anything has: another file, or the same one begun again.
    fn successor(&self, path: &str) -> Option<Followed> {
        // Between the renaming and the creation there is none for a moment.
        let metadata = std::fs::metadata(path).ok()?;
        let is_other = place(&metadata) != self.place || metadata.len() < self.reader.bytes_read();
        is_other.then(|| Followed::try_open(path).ok()).flatten()
    }
}

#[cfg(unix)]
fn place(metadata: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

/// Without numbers of files, one that was put aside is told by nothing: a log that rotates is followed to its end.
#[cfg(not(unix))]
fn place(_: &std::fs::Metadata) -> (u64, u64) {
    (0, 0)
}
