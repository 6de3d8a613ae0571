//! What a test tells: text for people, JSON for programs, files for the tools of HdrHistogram. `README.md` has the schema.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::{Load, Loop, Row, Run};
use crate::recorder::Counts;
use crate::schedule::{Schedule, Spread};
use crate::usage::{Machine, Usage};

/// The name of the schema, which changes with what a reader would have to know.
pub(crate) const SCHEMA: &str = "quickstep-loadtest/1";

/// Points of a curve for each halving of what is left to 100 %.
const POINTS_PER_HALF: u32 = 5;

/// All of a test.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: &'static str,
    /// Which command it was of.
    pub(crate) kind: &'static str,
    pub(crate) command: Vec<String>,
    pub(crate) started_at: String,
    pub(crate) version: &'static str,
    /// Of the working directory, as git has it; with `-dirty` if there were changes.
    pub(crate) commit: Option<String>,
    pub(crate) machine: Machine,
    /// None if all is as it has to be.
    pub(crate) problem: Option<String>,
    pub(crate) runs: Vec<RunReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sweep: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) soak: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crash: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compare: Option<serde_json::Value>,
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunReport {
    pub(crate) label: String,
    pub(crate) target: String,
    #[serde(rename = "loop")]
    pub(crate) pace: Pace,
    pub(crate) threads: usize,
    pub(crate) warm_up_seconds: f64,
    /// Seconds in which measured requests were due.
    pub(crate) due_seconds: f64,
    /// Seconds until the last answer.
    pub(crate) seconds: f64,
    pub(crate) counts: Counts,
    pub(crate) warm_up_counts: Counts,
    pub(crate) unanswered: u64,
    pub(crate) unsent: u64,
    /// Right answers a second.
    pub(crate) per_second: f64,
    /// From when a request was due: what a caller of that rate sees. In a closed loop the same as `naive`.
    pub(crate) latency: Percentiles,
    /// From when it was sent.
    pub(crate) naive: Percentiles,
    /// From when it was due to when it was sent.
    pub(crate) lateness: Percentiles,
    pub(crate) usage: Usage,
    pub(crate) series: Vec<Row>,
    /// What the target's own counters say.
    pub(crate) check: Option<String>,
    pub(crate) problem: Option<String>,
    pub(crate) was_stopped: bool,
}

/// How a load was paced.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Pace {
    Open {
        /// Measured requests that were due in a second.
        per_second: f64,
        spread: &'static str,
        seed: Option<u64>,
    },
    Closed {
        in_flight: usize,
    },
}

/// A distribution of times.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) mean_ns: f64,
    pub(crate) min_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) p9999_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) curve: Vec<Point>,
}

/// A point of its curve: so many observations are no longer than that.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) quantile: f64,
    pub(crate) ns: u64,
    pub(crate) count: u64,
}

impl Percentiles {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |quantile| histogram.value_at_quantile(quantile);
        let mut count = 0;
        let curve = histogram.iter_quantiles(POINTS_PER_HALF).map(|step| {
            count += step.count_since_last_iteration();
            Point {
                quantile: step.quantile_iterated_to(),
                ns: step.value_iterated_to(),
                count,
            }
        });
        Percentiles {
            curve: curve.collect(),
            count: histogram.len(),
            mean_ns: histogram.mean(),
            min_ns: histogram.min(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            p9999_ns: at(0.9999),
            max_ns: histogram.max(),
        }
    }
}

impl RunReport {
    pub(crate) fn new(
        label: &str,
        target: &str,
        load: &Load,
        run: &Run,
        check: Result<Option<String>, String>,
    ) -> RunReport {
        let seconds = load.duration.as_secs_f64();
        let pace = match &load.pace {
            Loop::Open(schedule) => Pace::Open {
                per_second: schedule.expected() / (seconds + load.warm_up.as_secs_f64()),
                spread: match schedule {
                    Schedule::Rate {
                        spread: Spread::Even,
                        ..
                    } => "even",
                    Schedule::Rate {
                        spread: Spread::Poisson,
                        ..
                    } => "poisson",
                    Schedule::Times(_) => "replay",
                },
                seed: match schedule {
                    Schedule::Rate { seed, .. } => Some(*seed),
                    Schedule::Times(_) => None,
                },
            },
            Loop::Closed { in_flight } => Pace::Closed {
                in_flight: *in_flight,
            },
        };
        let (check, contradiction) = match check {
            Ok(check) => (check, None),
            Err(problem) => (None, Some(problem)),
        };
        RunReport {
            label: label.to_owned(),
            target: target.to_owned(),
            pace,
            threads: load.senders(),
            warm_up_seconds: load.warm_up.as_secs_f64(),
            due_seconds: run.due_seconds,
            seconds: run.seconds,
            counts: run.total.counts,
            warm_up_counts: run.total.warm_up,
            unanswered: run.unanswered(),
            unsent: run.unsent,
            per_second: run.per_second(),
            latency: Percentiles::of(&run.total.latency),
            naive: Percentiles::of(&run.total.naive),
            lateness: Percentiles::of(&run.total.lateness),
            usage: run.usage,
            series: run.rows.clone(),
            check,
            problem: run.problem().or(contradiction),
            was_stopped: run.was_stopped,
        }
    }

    /// The percentiles, for people.
    fn table(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "  {:<24}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "", "p50", "p90", "p99", "p99.9", "max"
        );
        let is_open = matches!(self.pace, Pace::Open { .. });
        let rows = [
            ("latency, from when due", &self.latency, is_open),
            ("naive, from when sent", &self.naive, true),
            ("sent late by", &self.lateness, is_open),
        ];
        for (name, times, _) in rows.iter().filter(|(_, _, is_shown)| *is_shown) {
            let _ = writeln!(
                out,
                "  {name:<24}{:>10}{:>10}{:>10}{:>10}{:>10}",
                time(times.p50_ns),
                time(times.p90_ns),
                time(times.p99_ns),
                time(times.p999_ns),
                time(times.max_ns)
            );
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let counts = &self.counts;
        // Writing to a string cannot fail.
        let _ = match &self.pace {
            Pace::Open {
                per_second, spread, ..
            } => writeln!(
                out,
                "{}: open loop, {} requests a second were due ({spread}), {} threads",
                self.label,
                grouped(*per_second),
                self.threads
            ),
            Pace::Closed { in_flight } => writeln!(
                out,
                "{}: closed loop, {in_flight} under way, {} threads: latency says nothing about callers that come by themselves",
                self.label, self.threads
            ),
        };
        let _ = writeln!(
            out,
            "  {} right in {:.1} s: {} a second; {} wrong, {} failed, {} throttled, {} broken, {} never answered, {} not sent",
            grouped(counts.right as f64),
            self.seconds,
            grouped(self.per_second),
            counts.wrong,
            counts.failed,
            counts.throttled,
            counts.broken,
            self.unanswered,
            self.unsent
        );
        self.table(&mut out);
        if is_late(&self.lateness) && matches!(self.pace, Pace::Open { .. }) {
            let _ = writeln!(
                out,
                "  note: many requests were sent late, for want of a processor for the tester, or of a free connection or thread; \
                 latency has that in it"
            );
        }
        let usage = &self.usage;
        let _ = writeln!(
            out,
            "  processor: tester {:.2} s, target {:.2} s, stolen by the host {:.2} s; memory: tester {}, target {}",
            usage.tester_cpu_seconds,
            usage.target_cpu_seconds,
            usage.steal_seconds,
            bytes(usage.tester_rss_bytes),
            bytes(usage.target_rss_bytes)
        );
        if let Some(check) = &self.check {
            let _ = writeln!(out, "  {check}");
        }
        if let Some(problem) = &self.problem {
            let _ = writeln!(out, "  FAILED: {problem}");
        }
        if self.was_stopped {
            let _ = writeln!(out, "  interrupted: what was due later was not sent");
        }
        out
    }
}

impl Report {
    pub(crate) fn new(kind: &'static str, started_at: String) -> Report {
        Report {
            schema: SCHEMA,
            kind,
            command: std::env::args().collect(),
            started_at,
            version: env!("CARGO_PKG_VERSION"),
            commit: commit(),
            machine: Machine::this(),
            problem: None,
            runs: Vec::new(),
            sweep: None,
            soak: None,
            crash: None,
            compare: None,
        }
    }

    /// Adds a run; its problem is one of the test.
    pub(crate) fn add(&mut self, run: RunReport) {
        if let Some(problem) = &run.problem {
            self.problem
                .get_or_insert_with(|| format!("{}: {problem}", run.label));
        }
        self.runs.push(run);
    }

    /// Writes the JSON.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let failed = |error: String| format!("failed to write {}: {error}", path.display());
        let json = serde_json::to_string_pretty(self).map_err(|error| failed(error.to_string()))?;
        std::fs::write(path, json + "\n").map_err(|error| failed(error.to_string()))
    }
}

/// Whether a hundredth of the requests was sent more than a millisecond late.
fn is_late(lateness: &Percentiles) -> bool {
    lateness.p99_ns > 1_000_000
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(arguments)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if is_clean {
        head
    } else {
        format!("{head}-dirty")
    })
}

/// Writes the percentiles as HdrHistogram's plotter reads them, in milliseconds.
///
/// # Errors
///
/// If it cannot be written.
pub(crate) fn write_hgrm(path: &Path, histogram: &Histogram<u64>) -> Result<(), String> {
    std::fs::write(path, hgrm(histogram))
        .map_err(|error| format!("failed to write {}: {error}", path.display()))
}

fn hgrm(histogram: &Histogram<u64>) -> String {
    let ms = |nanos: f64| nanos / 1e6;
    let mut out = format!(
        "{:>16} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for point in Percentiles::of(histogram).curve {
        let value = ms(point.ns as f64);
        let _ = match point.quantile < 1.0 {
            true => writeln!(
                out,
                "{value:>16.6} {:>14.12} {:>10} {:>14.2}",
                point.quantile,
                point.count,
                1.0 / (1.0 - point.quantile)
            ),
            false => writeln!(
                out,
                "{value:>16.6} {:>14.12} {:>10} {:>14}",
                1.0, point.count, "inf"
            ),
        };
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:>14.6}, StdDeviation   = {:>14.6}]",
        ms(histogram.mean()),
        ms(histogram.stdev())
    );
    let _ = writeln!(
        out,
        "#[Max     = {:>14.6}, Total count    = {:>14}]",
        ms(histogram.max() as f64),
        histogram.len()
    );
    let _ = writeln!(
        out,
        "#[Buckets = {:>14}, SubBuckets     = {:>14}]",
        histogram.buckets(),
        2048
    );
    out
}

/// The path of a run's file, of several of a test.
pub(crate) fn numbered(path: &Path, number: usize) -> PathBuf {
    match number {
        0 => path.to_owned(),
        _ => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let ending = path
                .extension()
                .map(|e| format!(".{}", e.to_string_lossy()))
                .unwrap_or_default();
            path.with_file_name(format!("{stem}-{}{ending}", number + 1))
        }
    }
}

/// A number with commas between its thousands.
pub(crate) fn grouped(number: f64) -> String {
    if number.abs() < 100.0 && number.fract() != 0.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time in the unit in which it reads best.
pub(crate) fn time(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.0} µs", nanos as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.0} ms", nanos as f64 / 1e6),
        _ => format!("{:.1} s", nanos as f64 / 1e9),
    }
}

pub(crate) fn bytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::histogram;

    #[test]
    fn a_curve_ends_with_all() {
        let mut times = histogram();
        for nanos in 1..=10_000_u64 {
            times.record(nanos * 1_000).unwrap();
        }
        let found = Percentiles::of(&times);
        let last = found.curve.last().unwrap();
        assert_eq!(
            (last.quantile, last.count, last.ns),
            (1.0, 10_000, times.max())
        );
        assert!(
            found
                .curve
                .windows(2)
                .all(|pair| pair[0].ns <= pair[1].ns && pair[0].quantile <= pair[1].quantile)
        );
        assert!((found.p99_ns as f64 / 9.9e6 - 1.0).abs() < 0.002);
        let text = hgrm(&times);
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        assert_eq!(rows.len(), found.curve.len() + 1);
        for row in &rows[1..] {
            assert_eq!(row.split_whitespace().count(), 4, "{row}");
        }
        assert!(text.contains("Total count    =          10000]"), "{text}");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(-1000.0), "-1,000");
        assert_eq!(grouped(2.5), "2.5");
        assert_eq!(time(950), "950 ns");
        assert_eq!(time(1_950_000), "1950 µs");
        assert_eq!(
            numbered(Path::new("/a/b.hgrm"), 1),
            Path::new("/a/b-2.hgrm")
        );
    }
}
