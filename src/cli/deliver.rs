//! How `quickstep run` delivers events: how often, what becomes of those that fail, and the files of a directory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use super::run::{Attempt, Trouble};
use crate::engine::{AfterDone, DeadLetter, Delivery, DirectoryOptions, DoneWhen, Outcome};
use crate::value::escape;

/// How events are delivered.
#[derive(clap::Args, Clone, Debug)]
pub struct DeliverArgs {
    /// Run an event again if its execution does not succeed, up to so many times in all. Only the last attempt is printed.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub deliveries: u32,
    /// Seconds before the second delivery; twice as many before each further one, five minutes at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub delivery_delay: f64,
    /// Write events to a file that are invalid or did not succeed in their last delivery, one JSON object a line. What is in
    /// the file is replaced.
    #[arg(long, value_name = "FILE")]
    pub dead_letter: Option<String>,
    /// After an interrupt: how many seconds to wait for what is under way.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub drain: u32,
    /// For a directory: go on when all files are read, and look for new ones so many seconds apart. A file is then read once
    /// it has not changed in between.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub watch: Option<f64>,
    /// For a directory: what becomes of a file whose events are all done. Files with events that are given up are moved to
    /// `failed`, beside a text that says why.
    #[arg(long, value_enum, ignore_case = true)]
    pub after_done: Option<AfterDoneArg>,
}

/// `--after-done`
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterDoneArg {
    /// It is moved to `done` in its directory; so it is unless told otherwise.
    Move,
    /// It is deleted.
    Delete,
    /// It stays, and is read again by the next run.
    Keep,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.001 to 86400 is needed".to_owned()),
    }
}

impl DeliverArgs {
    /// True if what fails is more than printed.
    pub(super) fn may_repeat(&self) -> bool {
        self.deliveries > 1 || self.dead_letter.is_some()
    }

    pub(super) fn delivery(&self) -> Delivery {
        Delivery {
            done_when: if self.may_repeat() {
                DoneWhen::Succeeded
            } else {
                DoneWhen::Ended
            },
            deliveries_max: self.deliveries,
            delay: Duration::from_secs_f64(self.delivery_delay),
            ..Delivery::default()
        }
    }

    pub(super) fn directory(&self) -> DirectoryOptions {
        DirectoryOptions {
            after_done: match self.after_done {
                None | Some(AfterDoneArg::Move) => AfterDone::Move,
                Some(AfterDoneArg::Delete) => AfterDone::Delete,
                Some(AfterDoneArg::Keep) => AfterDone::Keep,
            },
            watch: self.watch.map(Duration::from_secs_f64),
        }
    }

    /// Complains about options that are for directories only.
    pub(super) fn refuse_directory_options(&self) -> Attempt<()> {
        let given = [
            ("--watch", self.watch.is_some()),
            ("--after-done", self.after_done.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((option, _)) => Err(Trouble(format!(
                "{option} is for the files of a directory: name one in place of EVENTS"
            ))),
        }
    }

    pub(super) fn open_dead_letters(&self) -> Attempt<Option<DeadLetterFile>> {
        let Some(path) = &self.dead_letter else {
            return Ok(None);
        };
        match File::create(path) {
            Ok(file) => Ok(Some(DeadLetterFile {
                path: path.clone(),
                out: BufWriter::new(file),
            })),
            Err(error) => Err(Trouble(format!("failed to write {path}: {error}"))),
        }
    }
}

/// Where events go that are given up.
#[derive(Debug)]
pub(super) struct DeadLetterFile {
    path: String,
    out: BufWriter<File>,
}

/// What went wrong with the file of dead letters.
#[derive(Debug)]
struct DeadLetterError(String);

impl std::fmt::Display for DeadLetterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeadLetterError {}

/// The text of an error of this file; others are about the standard output.
pub(super) fn dead_letter_error(error: &io::Error) -> Option<&str> {
    let error = error.get_ref()?.downcast_ref::<DeadLetterError>()?;
    Some(&error.0)
}

impl DeadLetterFile {
    /// Writes an event, before it is settled.
    pub(super) fn put(&mut self, letter: &DeadLetter<'_>) -> io::Result<()> {
        let line = render(letter);
        let written = self.out.write_all(&line).and_then(|()| self.out.flush());
        written.map_err(|error| {
            let message = format!("failed to write {}: {error}", self.path);
            io::Error::other(DeadLetterError(message))
        })
    }
}

/// One object on one line.
fn render(letter: &DeadLetter<'_>) -> Vec<u8> {
    let settled = letter.settled;
    let mut line = format!(r#"{{"line":{}"#, letter.number);
    let failure = settled.failure.as_ref();
    for (name, text) in [
        ("name", letter.name),
        ("status", Some(settled.outcome.as_str())),
        (
            "error",
            failure.and_then(|failure| failure.error.as_deref()),
        ),
        (
            "cause",
            failure.and_then(|failure| failure.cause.as_deref()),
        ),
    ] {
        if let Some(text) = text {
            line.push_str(&format!(r#","{name}":"{}""#, escape(text)));
        }
    }
    line.push_str(&format!(r#","deliveries":{},"event":"#, settled.deliveries));
    let mut line = line.into_bytes();
    if settled.outcome == Outcome::Invalid {
        let text = String::from_utf8_lossy(letter.payload);
        line.extend_from_slice(format!("\"{}\"", escape(&text)).as_bytes());
    } else {
        // It was an input, so line ends are white space between its values.
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let one_line = letter.payload.iter();
        line.extend(one_line.map(|byte| if is_end(byte) { b' ' } else { *byte }));
    }
    line.extend_from_slice(b"}\n");
    line
}
