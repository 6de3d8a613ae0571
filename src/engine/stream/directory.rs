//! [`DirectorySource`]: the files of a directory.
//!
//! 1. A scan looks at the names in the directory, and keeps the first [`SCAN_FILES_MAX`] new ones, in their order.
//! 2. A `.json` file is one event; a `.ndjson` or `.jsonl` file is one event for each line. Other names are none of its
//!    business: whoever writes a file gives it such a name once it is whole, as with a rename from `name.json.part`.
//! 3. A file is done with when it is read to its end and all of its events are settled. The ack of the last one sees to it:
//!    if all are done, the file is moved to `done/`, deleted or kept; if one was rejected, it is moved to `failed/`, with a
//!    text that says why; if one is to be delivered again, it is left where it is, for the next run.
//!
//! So after a crash files that were not done with are read again, from their beginning.

use std::collections::{BinaryHeap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::time::{Duration, SystemTime};

use super::ack::{Ack, Outcome, Settled, Verdict};
use super::events::{Events, Extra};
use super::lines::{EVENT_BYTES_MAX, LineSource};
use super::{Reading, Source};
use crate::engine::error::{Error, ErrorKind};
use crate::engine::name::check_name;
use crate::stdx::FixedMap;
use crate::task::lock;

/// New files that one scan finds.
const SCAN_FILES_MAX: usize = 10_000;
/// Files that may be kept in the directory after they were read.
const KEPT_FILES_MAX: usize = 1_000_000;
/// Rejected events that the text beside a failed file tells of.
const ERRORS_MAX: usize = 100;

/// Characters of a file's name in the names of its executions, which have 80; the number of a line follows.
const LABEL_CHARS_MAX: usize = 59;

/// What becomes of a file whose events are all done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AfterDone {
    /// It is moved to the directory `done` in its own.
    #[default]
    Move,
    /// It is deleted.
    Delete,
    /// It stays where it is, and is not read again by the same source.
    Keep,
}

/// How a directory is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DirectoryOptions {
    /// What becomes of a file whose events are all done.
    pub after_done: AfterDone,
    /// After how long to look for new files, if the stream goes on when there are none. Then a file is read only once it
    /// looks the same, in size and time, in two scans that far apart.
    pub watch: Option<Duration>,
}

/// The files of a directory: see the steps at the head of its module.
///
/// The name of an execution is that of its file, and for files of lines the number of the line: `orders.ndjson-17`. What
/// cannot be in a name is `_` there. Directories in the directory, links and hidden files are not looked at.
#[derive(Debug)]
pub struct DirectorySource {
    directory: Arc<Directory>,
    watch: Option<Duration>,
    /// Files of the last scan that were not read.
    found: VecDeque<OsString>,
    /// What is known of names in the directory, and the scan that has seen them.
    known: FixedMap<OsString, (Known, u64)>,
    scans: u64,
    lines: Option<Lines>,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    after_done: AfterDone,
    /// Names of files that were moved or deleted: another file may have such a name.
    gone: Mutex<Vec<OsString>>,
}

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// How it looked.
    Looked(u64, Option<SystemTime>),
    Taken,
}

/// A file of lines that is being read.
#[derive(Debug)]
struct Lines {
    source: LineSource<File>,
    file: Arc<Reader>,
    line: u64,
}

/// A file that is being read, or whose events are not settled; dropped by the last of them.
#[derive(Debug)]
struct Reader {
    directory: Arc<Directory>,
    name: OsString,
    /// What the names of its executions begin with.
    label: String,
    state: Mutex<FileState>,
}

#[derive(Debug, Default)]
struct FileState {
    /// Events that are not settled, and one for the reading.
    open: u64,
    /// Events that were rejected, and what is said of them.
    rejected: u64,
    errors: String,
    /// True if an event is to be delivered again.
    is_left: bool,
}

impl DirectorySource {
    /// Reads the files of a directory.
    ///
    /// # Errors
    ///
    /// If it is no directory that can be read.
    pub fn new(
        path: impl Into<PathBuf>,
        options: DirectoryOptions,
    ) -> Result<DirectorySource, Error> {
        let path = path.into();
        fs::read_dir(&path).map_err(|error| failed("read", &path, &error))?;
        Ok(DirectorySource {
            directory: Arc::new(Directory {
                path,
                after_done: options.after_done,
                gone: Mutex::default(),
            }),
            watch: options.watch,
            found: VecDeque::new(),
            known: FixedMap::default(),
            scans: 0,
            lines: None,
        })
    }

    /// Looks for new files.
    fn scan(&mut self) -> Result<(), Error> {
        self.scans += 1;
        for name in lock(&self.directory.gone).drain(..) {
            self.known.remove(&name);
        }
        let directory = Arc::clone(&self.directory);
        let path = &directory.path;
        let unreadable = |error: io::Error| failed("read", path, &error);
        let mut first = BinaryHeap::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            if form(&name).is_none() || !entry.file_type().map_err(unreadable)?.is_file() {
                continue;
            }
            let known = self.known.get_mut(&name);
            if let Some((_, seen)) = known {
                *seen = self.scans;
            }
            if self.watch.is_some() {
                match entry.metadata() {
                    Ok(metadata) if !self.is_stable(&name, &metadata) => continue,
                    Ok(_) => {}
                    // It has gone since.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(unreadable(error)),
                }
            }
            if !matches!(self.known.get(&name), Some((Known::Taken, _))) {
                first.push(name);
                if first.len() > SCAN_FILES_MAX {
                    first.pop();
                }
            }
        }
        let scans = self.scans;
        self.known.retain(|_, (_, seen)| *seen == scans);
        if self.known.len() > KEPT_FILES_MAX {
            let message = format!(
                "more than {KEPT_FILES_MAX} files that were read are kept in {}; have them moved or deleted",
                path.display()
            );
            return Err(Error::new(ErrorKind::Read, message));
        }
        self.found = first.into_sorted_vec().into();
        Ok(())
    }

    /// True if a file looks as it did in the scan before.
    fn is_stable(&mut self, name: &OsStr, metadata: &Metadata) -> bool {
        let look = Known::Looked(metadata.len(), metadata.modified().ok());
        match self.known.get_mut(name) {
            Some((Known::Taken, _)) => true,
            Some((known, _)) if *known == look => true,
            Some((known, _)) => {
                *known = look;
                false
            }
            None => {
                self.known.insert(name.to_owned(), (look, self.scans));
                false
            }
        }
    }

    /// Begins with the next file; a file of one document becomes an event at once. False if `events` has to be handed on
    /// before.
    fn open(&mut self, name: &OsStr, events: &mut Events) -> Result<bool, Error> {
        let path = self.directory.path.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            // It has gone since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length > EVENT_BYTES_MAX as u64 && !events.is_empty() {
            return Ok(false);
        }
        self.known
            .insert(name.to_owned(), (Known::Taken, self.scans));
        let reader = Arc::new(Reader {
            directory: Arc::clone(&self.directory),
            name: name.to_owned(),
            label: label(name),
            state: Mutex::new(FileState {
                open: 1,
                ..FileState::default()
            }),
        });
        if form(&reader.name) == Some(Form::Lines) {
            self.lines = Some(Lines {
                source: LineSource::new(file),
                file: reader,
                line: 1,
            });
            return Ok(true);
        }
        let mut document = Vec::new();
        file.take(EVENT_BYTES_MAX as u64 + 1)
            .read_to_end(&mut document)
            .map_err(|error| failed("read", &path, &error))?;
        if document.len() > EVENT_BYTES_MAX {
            // An event that is too long to be kept stands alone.
            if events.is_empty() {
                document.clear();
                events.too_long = Some(length.max(EVENT_BYTES_MAX as u64 + 1));
            } else {
                document.truncate(EVENT_BYTES_MAX);
            }
        }
        let extra = reader.extra(None);
        events.push(&document);
        events.add_extra(events.len() - 1, extra);
        reader.settle_one()?;
        Ok(events.too_long.is_none())
    }
}

/// A file's name as executions may have it.
fn label(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let chars = name.chars().take(LABEL_CHARS_MAX);
    chars
        .map(|c| match check_name(c.encode_utf8(&mut [0; 4])) {
            Ok(()) => c,
            Err(_) => '_',
        })
        .collect()
}

/// How a file holds its events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Document,
    Lines,
}

/// By the ending of its name; names that begin with a dot are hidden.
fn form(name: &OsStr) -> Option<Form> {
    let path = Path::new(name);
    if name.as_encoded_bytes().starts_with(b".") {
        return None;
    }
    match path.extension()?.as_encoded_bytes() {
        b"json" => Some(Form::Document),
        b"ndjson" | b"jsonl" => Some(Form::Lines),
        _ => None,
    }
}

impl Source for DirectorySource {
    fn poll(&mut self, context: &mut Context<'_>, events: &mut Events) -> Result<Reading, Error> {
        let mut has_scanned = false;
        while !events.is_full() {
            if let Some(lines) = &mut self.lines {
                // Its empty lines are no events, empty documents are: they do not share a batch.
                if !events.is_empty() {
                    break;
                }
                if lines.poll(context, events)? == Reading::End {
                    let file = Arc::clone(&lines.file);
                    self.lines = None;
                    file.settle_one()?;
                }
                if !events.is_empty() {
                    break;
                }
                events.begin(events.events_max());
            } else if let Some(name) = self.found.pop_front() {
                if !self.open(&name, events)? {
                    if events.too_long.is_none() {
                        self.found.push_front(name);
                    }
                    break;
                }
            } else if has_scanned {
                break;
            } else {
                self.scan()?;
                has_scanned = true;
            }
        }
        Ok(match self.watch {
            _ if !events.is_empty() => Reading::More,
            None => Reading::End,
            watch => Reading::Idle(watch),
        })
    }
}

impl Lines {
    fn poll(&mut self, context: &mut Context<'_>, events: &mut Events) -> Result<Reading, Error> {
        let reading = self.source.poll(context, events).map_err(|error| {
            let path = self.file.directory.path.join(&self.file.name);
            let message = format!("{}: {error}", path.display());
            Error::new(ErrorKind::Read, message)
        })?;
        let is_one: Vec<bool> = (events.iter_from(0))
            .map(|event| events.is_one(event))
            .collect();
        for (index, is_one) in is_one.into_iter().enumerate() {
            if is_one {
                events.add_extra(index, self.file.extra(Some(self.line)));
            }
            self.line += 1;
        }
        Ok(reading)
    }
}

impl Reader {
    /// What an event of the file has besides its bytes.
    fn extra(self: &Arc<Reader>, line: Option<u64>) -> Extra {
        lock(&self.state).open += 1;
        let name = match line {
            None => self.label.as_str().into(),
            Some(line) => format!("{}-{line}", self.label).into(),
        };
        let file = Arc::clone(self);
        Extra {
            name: Some(name),
            ack: Ack::new(move |settled| file.settled(line, settled)),
            ..Extra::default()
        }
    }

    fn settled(&self, line: Option<u64>, settled: &Settled) -> Result<(), Error> {
        match settled.verdict {
            Verdict::Done => {}
            Verdict::Rejected => {
                let reason = settled
                    .failure
                    .as_ref()
                    .map_or_else(String::new, |failure| {
                        match (settled.outcome, &failure.cause) {
                            (Outcome::Invalid, Some(cause)) => cause.to_string(),
                            _ => failure.to_string(),
                        }
                    });
                let status = settled.outcome.as_str();
                let error = match line {
                    None => format!("{status}: {reason}"),
                    Some(line) => format!("line {line}: {status}: {reason}"),
                };
                self.reject(&error);
            }
            Verdict::Again { .. } => lock(&self.state).is_left = true,
        }
        self.settle_one()
    }

    fn reject(&self, error: &str) {
        let mut state = lock(&self.state);
        state.rejected += 1;
        if state.rejected <= ERRORS_MAX as u64 {
            // Writing to a string cannot fail.
            let _ = writeln!(state.errors, "{error}");
        }
    }

    /// An event is settled, or the file is read; sees to the file if that was all.
    fn settle_one(&self) -> Result<(), Error> {
        let mut state = lock(&self.state);
        state.open -= 1;
        if state.open > 0 {
            return Ok(());
        }
        let state = std::mem::take(&mut *state);
        if state.is_left {
            return Ok(());
        }
        if state.rejected > 0 {
            return self.fail(state);
        }
        let path = self.directory.path.join(&self.name);
        match self.directory.after_done {
            AfterDone::Keep => Ok(()),
            AfterDone::Delete => {
                fs::remove_file(&path).map_err(|error| failed("delete", &path, &error))?;
                lock(&self.directory.gone).push(self.name.clone());
                Ok(())
            }
            AfterDone::Move => self.move_to("done").map(drop),
        }
    }

    /// Moves the file to `failed/`, with a text that says why.
    fn fail(&self, mut state: FileState) -> Result<(), Error> {
        let more = state.rejected.saturating_sub(ERRORS_MAX as u64);
        if more > 0 {
            // Writing to a string cannot fail.
            let _ = writeln!(state.errors, "and {more} more");
        }
        let mut text = self.move_to("failed")?.into_os_string();
        text.push(".error.txt");
        let text = PathBuf::from(text);
        fs::write(&text, state.errors).map_err(|error| failed("write", &text, &error))
    }

    /// Moves the file to a directory in its own, under a name that is free there; returns where to.
    fn move_to(&self, folder: &str) -> Result<PathBuf, Error> {
        let from = self.directory.path.join(&self.name);
        let folder = self.directory.path.join(folder);
        fs::create_dir_all(&folder).map_err(|error| failed("make", &folder, &error))?;
        let mut to = folder.join(&self.name);
        let mut number = 0_u64;
        while to.symlink_metadata().is_ok() {
            number += 1;
            let mut name = self.name.clone();
            name.push(format!(".{number}"));
            to = folder.join(name);
        }
        fs::rename(&from, &to).map_err(|error| failed("move", &from, &error))?;
        lock(&self.directory.gone).push(self.name.clone());
        Ok(to)
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let message = format!("failed to {what} {}: {error}", path.display());
    Error::new(ErrorKind::Read, message)
}
