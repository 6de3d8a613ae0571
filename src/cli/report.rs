//! The summary at the end of a run, and the progress on the way there.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::record::{Page, Tally};
use crate::engine::{Sink, StreamReport};

/// Memory above which a page's lines are not kept for the next ones.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Prints pages, and shows how many executions there have been.
pub(super) struct Printer<O, E> {
    out: O,
    err: E,
    bar: Option<ProgressBar>,
}

impl<O: Write, E: Write> Printer<O, E> {
    pub(super) fn new(out: O, err: E, bar: Option<ProgressBar>) -> Printer<O, E> {
        Printer { out, err, bar }
    }

    pub(super) fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn print(&mut self, page: &Page) -> io::Result<()> {
        if !page.out.is_empty() {
            self.out.write_all(&page.out)?;
            self.out.flush()?;
        }
        if !page.err.is_empty() {
            // Failures that nobody can read are no reason to stop.
            let _ = self.err.write_all(&page.err);
        }
        Ok(())
    }
}

impl<O: Write, E: Write> Sink<Page> for Printer<O, E> {
    fn write(&mut self, page: &mut Page) -> io::Result<()> {
        match self.bar.take() {
            Some(bar) => {
                let result = bar.suspend(|| self.print(page));
                bar.inc(page.ended);
                self.bar = Some(bar);
                result?;
            }
            None => self.print(page)?,
        }
        page.ended = 0;
        for lines in [&mut page.out, &mut page.err] {
            lines.clear();
            lines.shrink_to(KEPT_BYTES_MAX);
        }
        Ok(())
    }
}

/// Progress, if somebody looks.
pub(super) fn progress() -> Option<ProgressBar> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} executions, {per_sec}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    Some(bar)
}

/// The summary of a run that took `elapsed`.
pub(super) fn summary(tally: &Tally, elapsed: Duration) -> String {
    let mut text = String::new();
    let ended = tally.ended();
    let seconds = elapsed.as_secs_f64();
    let rate = if seconds > 0.0 {
        ended as f64 / seconds
    } else {
        0.0
    };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "{} in {}",
        count(ended, "execution"),
        nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    );
    if ended > 1 {
        let _ = write!(text, ", {}/s", thousands(rate as u64));
    }
    let statuses = [
        (tally.succeeded, "SUCCEEDED"),
        (tally.failed, "FAILED"),
        (tally.timed_out, "TIMED_OUT"),
        (tally.aborted, "ABORTED"),
        (tally.invalid, "invalid"),
        (tally.abandoned, "abandoned"),
    ];
    let present: Vec<String> = statuses
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, status)| format!("{} {status}", thousands(*n)))
        .collect();
    if !present.is_empty() {
        let _ = write!(text, ": {}", present.join(", "));
    }
    text.push('\n');
    if ended > 0 {
        let at = |quantile: f64| nanos(tally.latency.value_at_quantile(quantile));
        let _ = writeln!(
            text,
            "latency: p50 {}, p99 {}, p99.9 {}, max {}",
            at(0.5),
            at(0.99),
            at(0.999),
            nanos(tally.latency.max())
        );
    }
    if tally.skipped_millis > 0 {
        let _ = writeln!(
            text,
            "virtual time: {} of waiting skipped",
            long(tally.skipped_millis)
        );
    }
    text
}

/// What became of events, where that is more than what became of executions.
pub(super) fn events(report: &StreamReport) -> String {
    let mut text = format!("{} read", count(report.read, "event"));
    for (number, what) in [
        (report.done, "done"),
        (report.rejected, "given up"),
        (report.nacked, "left for another run"),
        (report.in_flight, "still under way"),
    ] {
        if number > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, ", {} {what}", thousands(number));
        }
    }
    if report.redelivered > 0 {
        // As above.
        let _ = write!(text, "; delivered again: {}", thousands(report.redelivered));
    }
    text.push('\n');
    text
}

pub(super) fn count(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {what}{plural}", thousands(n))
}

/// `1,234,567`
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits and a unit.
fn nanos(n: u64) -> String {
    let n = n as f64;
    let (value, unit) = if n < 1e3 {
        (n, "ns")
    } else if n < 1e6 {
        (n / 1e3, "µs")
    } else if n < 1e9 {
        (n / 1e6, "ms")
    } else {
        (n / 1e9, "s")
    };
    let decimals = if unit == "ns" || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

/// `3 h 0 min 5 s`
fn long(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    for (n, unit) in [(days, "d"), (hours, "h"), (minutes, "min")] {
        if n > 0 || !text.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{n} {unit} ");
        }
    }
    let _ = match millis % 1_000 {
        0 => write!(text, "{rest} s"),
        part => write!(text, "{rest}.{part:03} s"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0, 999, 1_000, 12_345, 123_456, 1_500_000, 61_000_000_000].map(nanos),
            [
                "0 ns", "999 ns", "1.00 µs", "12.3 µs", "123 µs", "1.50 ms", "61.0 s"
            ]
        );
        assert_eq!(
            [1, 1_000, 10_800_000, 90_061_000].map(long),
            ["0.001 s", "1 s", "3 h 0 min 0 s", "1 d 1 h 1 min 1 s"]
        );
    }
}
