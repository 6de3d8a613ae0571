//! What is put down of each execution: lines for the standard output and the standard error, and counts.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use hdrhistogram::Histogram;

use super::log::Log;
use crate::engine::{Ended, Recorder, Refused};
use crate::history::{Failure, HistoryEvent, LogLevel, Observer};
use crate::interp::{MachineIdentity, Status};
use crate::value::escape;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Outputs on the standard output, failures on the standard error.
    Outputs,
    /// One object per event on the standard output.
    Envelopes,
}

/// What lines on the standard error begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Label {
    /// The number of the event.
    Line,
    /// The name of the execution, which says where the event is from.
    Name,
}

/// What becomes of an event that is no input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OnInvalid {
    Stop,
    Pass,
}

/// Lines for the two outputs.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) out: Vec<u8>,
    pub(super) err: Vec<u8>,
    /// Executions that ended.
    pub(super) ended: u64,
}

/// Executions counted.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) timed_out: u64,
    pub(super) aborted: u64,
    pub(super) invalid: u64,
    pub(super) abandoned: u64,
    pub(super) skipped_millis: u64,
    pub(super) transitions: u64,
    /// Nanoseconds.
    pub(super) latency: Histogram<u64>,
}

/// Most bytes that are set aside for a page before they are needed.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// The longest latency that is told from longer ones: an hour.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;

impl Tally {
    pub(super) fn new() -> Tally {
        let latency = match Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, 3) {
            Ok(histogram) => histogram,
            Err(error) => unreachable!("the bounds are constants: {error}"),
        };
        Tally {
            succeeded: 0,
            failed: 0,
            timed_out: 0,
            aborted: 0,
            invalid: 0,
            abandoned: 0,
            skipped_millis: 0,
            transitions: 0,
            latency,
        }
    }

    pub(super) fn add(&mut self, other: &Tally) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.timed_out += other.timed_out;
        self.aborted += other.aborted;
        self.invalid += other.invalid;
        self.abandoned += other.abandoned;
        self.skipped_millis += other.skipped_millis;
        self.transitions += other.transitions;
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
    }

    /// Executions that ended.
    pub(super) fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.timed_out + self.aborted
    }
}

/// One worker's [`Recorder`].
#[derive(Debug)]
pub(super) struct LineRecorder<L> {
    form: Form,
    label: Label,
    on_invalid: OnInvalid,
    log: L,
    tally: Tally,
    /// Bytes of the output that was written last.
    output_bytes: usize,
}

impl<L: Log> LineRecorder<L> {
    pub(super) fn new(form: Form, label: Label, on_invalid: OnInvalid, log: L) -> LineRecorder<L> {
        LineRecorder {
            form,
            label,
            on_invalid,
            log,
            tally: Tally::new(),
            output_bytes: 0,
        }
    }

    pub(super) fn into_tally(self) -> Tally {
        self.tally
    }

    #[cold]
    fn failed(&mut self, ended: &Ended<'_>, failure: &Failure, page: &mut Page) {
        let status = ended.status();
        match status {
            Status::TimedOut => self.tally.timed_out += 1,
            Status::Aborted => self.tally.aborted += 1,
            Status::Failed | Status::Running | Status::Succeeded => self.tally.failed += 1,
        }
        if self.form == Form::Outputs {
            let text = one_line(&failure.to_string());
            // Writing to memory cannot fail.
            let _ = match self.label {
                Label::Line => {
                    writeln!(page.err, "line {}: {}: {text}", ended.line, status.as_str())
                }
                Label::Name => {
                    let name = ended.execution().name();
                    writeln!(page.err, "{name}: {}: {text}", status.as_str())
                }
            };
        }
    }
}

/// Text without line ends.
fn one_line(text: &str) -> String {
    text.replace('\r', "\\r").replace('\n', "\\n")
}

impl<L: Log> Observer for LineRecorder<L> {
    const ENABLED: bool = L::ENABLED;

    #[inline(always)]
    fn wants(&self, level: LogLevel) -> bool {
        self.log.wants(level)
    }

    #[inline]
    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.log.observe(event);
    }
}

impl<L: Log + 'static> Recorder for LineRecorder<L> {
    type Page = Page;

    fn turn_to(&mut self, machine: &Arc<MachineIdentity>, seed: u64) {
        self.log.turn_to(machine, seed);
    }

    /// Makes room for what is likely to come: outputs of one machine are of about the same size.
    fn begin(&mut self, page: &mut Page, executions: usize) {
        let likely = executions.saturating_mul(self.output_bytes + self.output_bytes / 4);
        let likely = likely.min(PAGE_BYTES_MAX);
        if page.out.capacity() < likely {
            page.out = Vec::with_capacity(likely);
        }
    }

    #[inline]
    fn ended(&mut self, ended: &Ended<'_>, page: &mut Page) {
        page.ended += 1;
        self.tally.latency.saturating_record(ended.nanos.max(1));
        self.tally.skipped_millis += ended.skipped_millis();
        self.tally.transitions += ended.execution().transitions();
        match ended.failure() {
            None => {
                self.tally.succeeded += 1;
                if self.form == Form::Outputs {
                    let start = page.out.len();
                    ended.write_output(&mut page.out);
                    page.out.push(b'\n');
                    self.output_bytes = page.out.len() - start;
                }
            }
            Some(failure) => self.failed(ended, failure, page),
        }
        if self.form == Form::Envelopes {
            envelope(ended, &mut page.out);
        }
    }

    fn refused(&mut self, refused: &Refused, page: &mut Page) -> ControlFlow<()> {
        self.tally.invalid += 1;
        let (line, reason) = (refused.line, one_line(&refused.reason.to_string()));
        let label = match (self.label, &refused.name) {
            (Label::Name, Some(name)) => name.to_string(),
            _ => format!("line {line}"),
        };
        // Writing to memory cannot fail.
        let _ = match self.form {
            Form::Outputs => writeln!(page.err, "{label}: {reason}"),
            Form::Envelopes => writeln!(
                page.out,
                r#"{{"line":{line},"status":"INVALID","cause":"{}"}}"#,
                escape(&reason)
            ),
        };
        match self.on_invalid {
            OnInvalid::Pass => ControlFlow::Continue(()),
            OnInvalid::Stop => {
                if self.form == Form::Envelopes {
                    let _ = writeln!(page.err, "{label}: {reason}");
                }
                let _ = writeln!(
                    page.err,
                    "error: the run stops at an invalid line; --keep-going passes over such lines"
                );
                ControlFlow::Break(())
            }
        }
    }

    fn abandoned(&mut self, _: u64) {
        self.tally.abandoned += 1;
    }

    fn idle(&mut self) {
        self.log.flush();
    }
}

/// One object for an execution.
fn envelope(ended: &Ended<'_>, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        r#"{{"line":{},"name":"{}","status":"{}""#,
        ended.line,
        ended.execution().name(),
        ended.status().as_str()
    );
    match ended.failure() {
        None => {
            out.extend_from_slice(br#","output":"#);
            ended.write_output(out);
        }
        Some(Failure { error, cause }) => {
            for (name, text) in [("error", error), ("cause", cause)] {
                if let Some(text) = text {
                    let _ = write!(out, r#","{name}":"{}""#, escape(text));
                }
            }
        }
    }
    let micros = ended.nanos / 1_000;
    let _ = write!(
        out,
        r#","duration_ms":{}.{:03}"#,
        micros / 1_000,
        micros % 1_000
    );
    if ended.skipped_millis() > 0 {
        let _ = write!(out, r#","skipped_ms":{}"#, ended.skipped_millis());
    }
    let _ = writeln!(
        out,
        r#","transitions":{}}}"#,
        ended.execution().transitions()
    );
}
