//! `quickstep journal`: looks into a write-ahead journal, and changes nothing.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{EXIT_BROKEN_PIPE, EXIT_FAILURE, EXIT_SUCCESS, EXIT_TROUBLE};
use crate::journal::{
    Cut, Error, ErrorKind, FileStorage, Inspection, SegmentSummary, UnfinishedStart, inspect,
};

/// Looks into a journal of asynchronous starts.
///
/// A durable engine writes every asynchronous start to its journal before it acknowledges the start, and its end later.
/// What has no end when the process goes is run again when it comes back. These commands only read: they may be used
/// while a program has the journal open.
#[derive(clap::Args, Clone, Debug)]
pub struct JournalArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    Inspect(InspectArgs),
    Verify(VerifyArgs),
}

/// Shows the journal's segments and the starts that have not ended.
///
/// A segment is a file of the directory. Its records have consecutive numbers; the number of a start's first record is the
/// start's name for life. A segment goes, or is used again, once everything in it has ended. Starts that are "moved" were
/// copied from older segments, so that these could go.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  quickstep journal inspect /var/lib/quickstep/journal\n  quickstep journal inspect --format json --inputs DIR | jq 'select(.type == \"start\") | .input'"
)]
struct InspectArgs {
    /// The journal's directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Shows the inputs of unfinished starts too.
    #[arg(long)]
    inputs: bool,
}

/// Reads everything and checks that it is what was written.
///
/// Every record has a checksum, and every commit says which records it holds. A write that was torn by a crash, at the very
/// end, is no damage: nobody was told that its starts were accepted, and the next server cuts it off.
///
/// The exit code is 0 if the journal is sound, 1 if it is damaged (segment and offset of the first problem are printed),
/// and 2 if it cannot be read.
#[derive(clap::Args, Clone, Debug)]
struct VerifyArgs {
    /// The journal's directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// `--format`
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// Lines for people.
    Text,
    /// One JSON object for each line, of the type `segment`, `torn`, `start` or `summary`.
    Json,
}

pub(super) fn run(args: &JournalArgs, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let mut out = BufWriter::new(out);
    let result = match &args.command {
        Command::Inspect(args) => show(args, &mut out),
        Command::Verify(args) => verify(&args.directory, &mut out),
    };
    let result = result.and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => EXIT_SUCCESS,
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            EXIT_BROKEN_PIPE
        }
        Err(trouble) => {
            // What was shown so far comes first. If neither can be written, there is nobody to tell.
            let _ = out.flush();
            let _ = writeln!(err, "error: {trouble}");
            trouble.exit_code()
        }
    }
}

/// Why a command has not come to its end.
#[derive(Debug)]
enum Trouble {
    Output(io::Error),
    Directory(PathBuf, io::Error),
    NoJournal(PathBuf),
    Journal(PathBuf, Error),
}

impl Trouble {
    fn exit_code(&self) -> u8 {
        match self {
            Trouble::Journal(_, error) if matches!(error.kind(), ErrorKind::Corrupt { .. }) => {
                EXIT_FAILURE
            }
            _ => EXIT_TROUBLE,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Output(error) => write!(f, "failed to write: {error}"),
            Trouble::Directory(path, error) => {
                write!(f, "failed to read {}: {error}", path.display())
            }
            Trouble::NoJournal(path) => write!(
                f,
                "{} holds no journal: there is no file like 000000000001.segment in it",
                path.display()
            ),
            Trouble::Journal(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Output(error)
    }
}

fn open(directory: &Path) -> Result<Inspection, Trouble> {
    let storage = FileStorage::existing(directory)
        .map_err(|error| Trouble::Directory(directory.to_owned(), error))?;
    let seen = inspect(&storage).map_err(|error| Trouble::Journal(directory.to_owned(), error))?;
    if seen.segments.is_empty() && seen.prepared.is_empty() {
        return Err(Trouble::NoJournal(directory.to_owned()));
    }
    Ok(seen)
}

fn verify(directory: &Path, out: &mut dyn Write) -> Result<(), Trouble> {
    let seen = open(directory)?;
    let records: u64 = seen.segments.iter().map(|segment| segment.records).sum();
    writeln!(
        out,
        "{}: sound; segments: {}, records: {records}, unfinished starts: {}",
        directory.display(),
        seen.segments.len(),
        seen.unfinished()
    )?;
    if let Some(torn) = &seen.torn {
        show_torn(torn, out)?;
    }
    Ok(())
}

fn show_torn(torn: &Cut, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "segment {} ends at offset {} with {} bytes of a write that was torn, or is under way; nobody was told of it",
        torn.segment, torn.offset, torn.bytes
    )
}

fn show(args: &InspectArgs, out: &mut dyn Write) -> Result<(), Trouble> {
    let mut seen = open(&args.directory)?;
    match args.format {
        Format::Text => show_text(&seen, out)?,
        Format::Json => show_json(&seen, out)?,
    }
    loop {
        let start = seen
            .next()
            .map_err(|error| Trouble::Journal(args.directory.clone(), error))?;
        let Some(start) = start else {
            break;
        };
        match args.format {
            Format::Text => start_text(&start, args.inputs, out)?,
            Format::Json => start_json(&start, args.inputs, out)?,
        }
    }
    Ok(())
}

fn show_text(seen: &Inspection, out: &mut dyn Write) -> io::Result<()> {
    for segment in &seen.segments {
        let SegmentSummary {
            number,
            first_lsn,
            file_bytes,
            end_offset,
            blocks,
            records,
            starts,
            moved,
            ends,
            attempts,
            unfinished,
            is_closed,
        } = segment;
        let numbers = match records {
            0 => "no records".to_owned(),
            _ => format!("records {first_lsn} to {}", first_lsn + records - 1),
        };
        let closed = if *is_closed { ", closed" } else { "" };
        writeln!(
            out,
            "segment {number}: {numbers}{closed}\n  {end_offset} of {file_bytes} bytes, commits: {blocks}\n  starts: {starts}, moved: {moved}, ends: {ends}, attempts: {attempts}; unfinished: {unfinished}"
        )?;
    }
    if !seen.prepared.is_empty() {
        writeln!(out, "prepared segments: {}", seen.prepared.len())?;
    }
    if let Some(torn) = &seen.torn {
        show_torn(torn, out)?;
    }
    writeln!(out, "unfinished starts: {}", seen.unfinished())
}

fn start_text(start: &UnfinishedStart<'_>, inputs: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "  {} {} of {} (revision {}), started {}, attempts: {}, input: {} bytes",
        start.start,
        start.name.escape_debug(),
        start.machine.escape_debug(),
        start.revision,
        start.started_at,
        start.attempts,
        start.input.len()
    )?;
    if inputs {
        let text = String::from_utf8_lossy(start.input);
        // An input may be anything; what would move the cursor or break the line is escaped.
        let line: String = text
            .chars()
            .flat_map(|c| {
                let escaped = c.is_control().then(|| c.escape_default());
                let plain = escaped.is_none().then_some(c);
                escaped.into_iter().flatten().chain(plain)
            })
            .collect();
        writeln!(out, "    {line}")?;
    }
    Ok(())
}

fn show_json(seen: &Inspection, out: &mut dyn Write) -> io::Result<()> {
    for segment in &seen.segments {
        writeln!(
            out,
            r#"{{"type":"segment","number":{},"first_lsn":{},"file_bytes":{},"end_offset":{},"commits":{},"records":{},"starts":{},"moved":{},"ends":{},"attempts":{},"unfinished":{},"closed":{}}}"#,
            segment.number,
            segment.first_lsn,
            segment.file_bytes,
            segment.end_offset,
            segment.blocks,
            segment.records,
            segment.starts,
            segment.moved,
            segment.ends,
            segment.attempts,
            segment.unfinished,
            segment.is_closed,
        )?;
    }
    if let Some(torn) = &seen.torn {
        writeln!(
            out,
            r#"{{"type":"torn","segment":{},"offset":{},"bytes":{}}}"#,
            torn.segment, torn.offset, torn.bytes
        )?;
    }
    writeln!(
        out,
        r#"{{"type":"summary","segments":{},"prepared":{},"unfinished":{}}}"#,
        seen.segments.len(),
        seen.prepared.len(),
        seen.unfinished()
    )
}

fn start_json(start: &UnfinishedStart<'_>, inputs: bool, out: &mut dyn Write) -> io::Result<()> {
    let text = |s: &str| serde_json::Value::from(s).to_string();
    write!(
        out,
        r#"{{"type":"start","start":{},"machine":{},"revision":{},"name":{},"started_at":"{}","attempts":{},"input_bytes":{}"#,
        start.start,
        text(start.machine),
        start.revision,
        text(start.name),
        start.started_at,
        start.attempts,
        start.input.len(),
    )?;
    if inputs {
        let input = String::from_utf8_lossy(start.input);
        write!(out, r#","input":{}"#, text(&input))?;
    }
    writeln!(out, "}}")
}
