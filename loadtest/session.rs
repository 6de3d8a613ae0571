//! A test: its runs, what is shown of them while they last, and its report.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressFinish};
use quickstep::stdx::Timestamp;

use crate::args::Common;
use crate::hlog::IntervalLog;
use crate::load::{self, Load, Row, Run, Target};
use crate::recorder::Slice;
use crate::report::{Report, RunReport, grouped, numbered, time, write_hgrm};

/// A test that goes on.
pub(crate) struct Session<'c> {
    common: &'c Common,
    pub(crate) report: Report,
    /// Of machines, executions and files.
    pub(crate) name: String,
    started_at: f64,
    runs: usize,
    progress: ProgressBar,
}

/// Milliseconds since 1970.
fn now_millis() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "reports have a date")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

impl<'c> Session<'c> {
    pub(crate) fn new(kind: &'static str, common: &'c Common) -> Session<'c> {
        let now = now_millis();
        let progress = match common.quiet || !std::io::stderr().is_terminal() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new_spinner().with_finish(ProgressFinish::AndClear),
        };
        Session {
            common,
            report: Report::new(kind, Timestamp::from_millis(now).to_string()),
            name: format!("loadtest-{now:x}-{:x}", std::process::id()),
            started_at: now as f64 / 1e3,
            runs: 0,
            progress,
        }
    }

    /// The report of all that was done.
    pub(crate) fn end(self) -> Report {
        self.progress.finish_and_clear();
        self.report
    }

    /// Prints a line to the standard output.
    pub(crate) fn say(&self, text: &str) {
        // If nobody reads it any more, the report and the exit code have to do: no hours of load are lost for that.
        let write = || drop(writeln!(std::io::stdout(), "{text}"));
        self.progress.suspend(write);
    }

    /// Shows what is done while there is nothing else to show.
    pub(crate) fn show(&self, text: String) {
        self.progress.set_message(text);
        self.progress.tick();
    }

    /// Runs a load, tells of it and adds it to the report.
    ///
    /// # Errors
    ///
    /// If it cannot be done, or if its files cannot be written.
    pub(crate) fn run(
        &mut self,
        label: &str,
        name: &str,
        target: &dyn Target,
        load: &Load,
    ) -> Result<Run, String> {
        let run = self.run_silently(label, target, load)?;
        let check = target.check(&run.all());
        let report = RunReport::new(label, name, load, &run, check);
        self.say(report.text().trim_end());
        self.report.add(report);
        Ok(run)
    }

    /// Runs a load, which whoever asks for it adds to the report.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub(crate) fn run_silently(
        &mut self,
        label: &str,
        target: &dyn Target,
        load: &Load,
    ) -> Result<Run, String> {
        let log = self.common.hlog.as_ref().map(|path| {
            let since = (now_millis() as f64 / 1e3 - self.started_at).max(0.0);
            IntervalLog::create(&numbered(path, self.runs), self.started_at + since)
        });
        let mut log = log.transpose()?;
        let mut failed = None;
        let progress = self.progress.clone();
        let mut watch = |row: &Row, slice: &Slice| {
            progress.set_message(shown(label, row));
            progress.tick();
            if let Some(log) = &mut log
                && let Err(error) = log.add(row.at - row.seconds, row.seconds, &slice.latency)
            {
                failed.get_or_insert(error);
            }
        };
        let run = load::run(target, load, &mut watch)?;
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(path) = &self.common.hgrm {
            write_hgrm(&numbered(path, self.runs), &run.total.latency)?;
        }
        self.runs += 1;
        self.progress.set_message("");
        Ok(run)
    }
}

fn shown(label: &str, row: &Row) -> String {
    let errors = row.counts.errors();
    format!(
        "{label}, {:.0} s: {} a second, p50 {}, p99 {}, {errors} errors",
        row.at,
        grouped(row.per_second.round()),
        time(row.p50_ns),
        time(row.p99_ns),
    )
}
