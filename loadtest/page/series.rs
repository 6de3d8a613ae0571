//! Lines for plots, out of tests.

use super::model::{Percentiles, Row, Run, Test};
use super::plot::{Axis, LINES_MAX, Line, Plot, Scale};
use crate::report::{bytes, grouped, time};

/// Points of a line: a plot is no wider than that.
const POINTS_MAX: usize = 320;

/// A run, and what it is called on the page.
#[derive(Clone, Debug)]
pub(super) struct Named<'t> {
    pub(super) name: String,
    pub(super) run: &'t Run,
}

/// The runs of all tests.
pub(super) fn runs(tests: &[Test]) -> Vec<Named<'_>> {
    let is_alone = tests.len() == 1;
    let mut found: Vec<Named<'_>> = Vec::new();
    for (number, test) in tests.iter().enumerate() {
        for run in &test.runs {
            let name = match is_alone {
                true => run.label.clone(),
                false => format!("{}. {}, {}", number + 1, run.target, run.label),
            };
            found.push(Named { name, run });
        }
    }
    found
}

const AT: Axis = Axis {
    label: "seconds since the measuring began",
    scale: Scale::Linear,
    show: number,
};
const LATENCY: Axis = Axis {
    label: "latency",
    scale: Scale::Log,
    show: nanos,
};

fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract().abs() > 1e-9 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    grouped(value)
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", number(v / 1e6)),
        v if v >= 1e4 => format!("{}k", number(v / 1e3)),
        v => number(v),
    }
}

fn nanos(value: f64) -> String {
    match value {
        v if v < 1e3 => format!("{v:.0} ns"),
        v if v < 1e6 => format!("{:.0} µs", v / 1e3),
        v if v < 1e9 => format!("{:.0} ms", v / 1e6),
        v => format!("{:.0} s", v / 1e9),
    }
}

fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn mebibytes(value: f64) -> String {
    short(value)
}

/// No more lines than a plot has styles for.
fn first<'a, 't>(runs: &'a [Named<'t>]) -> &'a [Named<'t>] {
    &runs[..runs.len().min(LINES_MAX)]
}

/// What is left out of a plot, in words.
fn left_out(runs: &[Named<'_>]) -> String {
    match runs.len() {
        count if count > LINES_MAX => {
            format!(" The first {LINES_MAX} of {count} runs are drawn; the tables have all.")
        }
        _ => String::new(),
    }
}

/// The points of a distribution that so many observations can tell apart: of a thousand, none is beyond 99.9 %.
fn curve(times: &Percentiles) -> Vec<(f64, f64)> {
    let last = 1.0 - 1.0 / times.count.max(10) as f64;
    let known = times.curve.iter().take_while(|point| point.quantile < last);
    known
        .map(|point| (point.quantile, point.ns as f64))
        .chain(times.curve.last().map(|point| (last, point.ns as f64)))
        .collect()
}

/// Latency by its share of requests.
pub(super) fn percentiles(runs: &[Named<'_>]) -> Plot {
    let mut lines: Vec<Line> = first(runs)
        .iter()
        .map(|named| Line {
            name: named.name.clone(),
            points: curve(&named.run.latency),
        })
        .collect();
    // The difference is coordinated omission; of several runs it would be too much.
    if let [only] = runs {
        lines[0].name = "from when a request was due".to_owned();
        lines.push(Line {
            name: "from when it was sent".to_owned(),
            points: curve(&only.run.naive),
        });
    }
    Plot {
        id: "percentiles".to_owned(),
        title: "Latency by percentile".to_owned(),
        description: format!(
            "The latency that each share of requests did not exceed; each nine on the horizontal axis has the same width.{}",
            left_out(runs)
        ),
        x: Axis {
            label: "share of requests, %",
            scale: Scale::Nines,
            show: percent,
        },
        y: LATENCY,
        lines,
        mark: None,
    }
}

/// Latency in the course of the run, or of each.
pub(super) fn latency(runs: &[Named<'_>]) -> Plot {
    let (title, lines) = match runs {
        [only] => {
            let line = |name: &str, value: fn(&Row) -> u64| Line {
                name: name.to_owned(),
                points: most(&only.run.series, |row| value(row) as f64),
            };
            let lines = vec![
                line("p50", |row| row.p50_ns),
                line("p99", |row| row.p99_ns),
                line("p99.9", |row| row.p999_ns),
                line("maximum", |row| row.max_ns),
            ];
            ("Latency over time", lines)
        }
        _ => (
            "Latency over time: p99",
            each(runs, |run| most(&run.series, |row| row.p99_ns as f64)),
        ),
    };
    Plot {
        id: "latency".to_owned(),
        title: title.to_owned(),
        description: format!(
            "The latency of the requests of each interval.{}",
            left_out(runs)
        ),
        x: AT,
        y: LATENCY,
        lines,
        mark: None,
    }
}

/// Answers in the course of the run.
pub(super) fn throughput(runs: &[Named<'_>]) -> Plot {
    let mut lines = each(runs, |run| mean(&run.series, |row| row.per_second));
    if let [only] = runs {
        "right answers".clone_into(&mut lines[0].name);
        if only.run.counts.errors() > 0 {
            let errors = |row: &Row| row.counts.errors() as f64 / row.seconds.max(1e-9);
            lines.push(Line {
                name: "errors".to_owned(),
                points: mean(&only.run.series, errors),
            });
        }
    }
    Plot {
        id: "throughput".to_owned(),
        title: "Right answers a second, over time".to_owned(),
        description: format!("Right answers a second in each interval.{}", left_out(runs)),
        x: AT,
        y: Axis {
            label: "a second",
            scale: Scale::Linear,
            show: short,
        },
        lines,
        mark: None,
    }
}

/// Latency by the rate that was tried.
pub(super) fn sweep(test: &Test, id: usize) -> Option<Plot> {
    let sweep = test.sweep.as_ref()?;
    let line = |name: &str, value: fn(&super::model::Step) -> u64| Line {
        name: name.to_owned(),
        points: sweep
            .points
            .iter()
            .map(|step| (step.due_per_second, value(step) as f64))
            .collect(),
    };
    let lines = vec![
        line("p50", |step| step.p50_ns),
        line("p99", |step| step.p99_ns),
        line("p99.9", |step| step.p999_ns),
    ];
    let saturation = sweep.saturation_per_second;
    Some(Plot {
        id: format!("sweep-{id}"),
        title: "Latency by rate".to_owned(),
        description: format!(
            "The latency at each rate that was tried. {}; a closed loop made {} a second.",
            match saturation > 0.0 {
                true => format!(
                    "{} a second is the highest that was sustained",
                    grouped(saturation.round())
                ),
                false => "None of them was sustained".to_owned(),
            },
            grouped(sweep.closed_loop_per_second.round())
        ),
        x: Axis {
            label: "requests due a second",
            scale: Scale::Linear,
            show: short,
        },
        y: LATENCY,
        lines,
        mark: (saturation > 0.0).then(|| {
            (
                saturation,
                format!("sustained: {} a second", grouped(saturation.round())),
            )
        }),
    })
}

/// Processor time in the course of the run.
pub(super) fn processor(runs: &[Named<'_>]) -> Plot {
    let cores = |value: fn(&Row) -> f64| move |row: &Row| value(row) / row.seconds.max(1e-9);
    let lines = match runs {
        [only] => {
            let rows = &only.run.series;
            let mut lines = vec![line(
                "tester",
                mean(rows, cores(|row| row.usage.tester_cpu_seconds)),
            )];
            if rows.iter().any(|row| row.usage.target_cpu_seconds > 0.0) {
                lines.push(line(
                    "target",
                    mean(rows, cores(|row| row.usage.target_cpu_seconds)),
                ));
            }
            if rows.iter().any(|row| row.usage.steal_seconds > 0.0) {
                lines.push(line(
                    "stolen by the host",
                    mean(rows, cores(|row| row.usage.steal_seconds)),
                ));
            }
            lines
        }
        _ => each(runs, |run| {
            mean(
                &run.series,
                cores(|row| row.usage.tester_cpu_seconds + row.usage.target_cpu_seconds),
            )
        }),
    };
    Plot {
        id: "processor".to_owned(),
        title: "Processors in use".to_owned(),
        description: format!(
            "Processors that were busy in each interval, of the tester and of its target; the embedded engine is part of the \
             tester.{}",
            left_out(runs)
        ),
        x: AT,
        y: Axis {
            label: "processors",
            scale: Scale::Linear,
            show: number,
        },
        lines,
        mark: None,
    }
}

/// Memory in the course of the run.
pub(super) fn memory(runs: &[Named<'_>]) -> Plot {
    const MIB: f64 = 1_048_576.0;
    let lines = match runs {
        [only] => {
            let rows = &only.run.series;
            let mut lines = vec![line(
                "tester",
                most(rows, |row| row.usage.tester_rss_bytes as f64 / MIB),
            )];
            if rows.iter().any(|row| row.usage.target_rss_bytes > 0) {
                lines.push(line(
                    "target",
                    most(rows, |row| row.usage.target_rss_bytes as f64 / MIB),
                ));
            }
            lines
        }
        _ => each(runs, |run| {
            most(&run.series, |row| {
                (row.usage.tester_rss_bytes + row.usage.target_rss_bytes) as f64 / MIB
            })
        }),
    };
    Plot {
        id: "memory".to_owned(),
        title: "Memory, MiB".to_owned(),
        description: format!(
            "Resident memory at the end of each interval, of the tester and of its target.{}",
            left_out(runs)
        ),
        x: AT,
        y: Axis {
            label: "MiB",
            scale: Scale::Linear,
            show: mebibytes,
        },
        lines,
        mark: None,
    }
}

fn line(name: &str, points: Vec<(f64, f64)>) -> Line {
    Line {
        name: name.to_owned(),
        points,
    }
}

fn each(runs: &[Named<'_>], points: impl Fn(&Run) -> Vec<(f64, f64)>) -> Vec<Line> {
    first(runs)
        .iter()
        .map(|named| line(&named.name, points(named.run)))
        .collect()
}

/// The highest values of as many groups of rows as a plot has points.
fn most(rows: &[Row], value: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
    groups(rows, |rows| rows.iter().map(&value).fold(0.0, f64::max))
}

/// Mean values of them.
fn mean(rows: &[Row], value: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
    groups(rows, |rows| {
        rows.iter().map(&value).sum::<f64>() / rows.len().max(1) as f64
    })
}

fn groups(rows: &[Row], value: impl Fn(&[Row]) -> f64) -> Vec<(f64, f64)> {
    let size = rows.len().div_ceil(POINTS_MAX).max(1);
    rows.chunks(size)
        .map(|rows| (rows.last().map_or(0.0, |row| row.at), value(rows)))
        .collect()
}

/// The table of a plot's points: at most so many rows, spread over all.
pub(super) const TABLE_ROWS_MAX: usize = 40;

/// Heads and rows of the table behind a plot.
pub(super) fn table(plot: &Plot) -> (Vec<String>, Vec<Vec<String>>) {
    let mut heads = vec![plot.x.label.to_owned()];
    heads.extend(plot.lines.iter().map(|line| line.name.clone()));
    let y = |value: f64| match plot.y.label {
        "latency" => time(value as u64),
        "MiB" => bytes((value * 1_048_576.0) as u64),
        _ => number((value * 100.0).round() / 100.0),
    };
    // Lines may have points of their own: each row has the last point of a line that is not behind it.
    let longest = plot.lines.iter().max_by_key(|line| line.points.len());
    let places: Vec<f64> = longest
        .map(|line| line.points.iter().map(|point| point.0).collect())
        .unwrap_or_default();
    let step = places.len().div_ceil(TABLE_ROWS_MAX).max(1);
    let is_shown = |i: usize| i.is_multiple_of(step) || i + 1 == places.len();
    let rows = places
        .iter()
        .enumerate()
        .filter(|(i, _)| is_shown(*i))
        .map(|(_, at)| {
            let x = match plot.x.scale {
                Scale::Nines => percent(*at),
                _ => number((at * 100.0).round() / 100.0),
            };
            let values = plot.lines.iter().map(|line| {
                let reached = line.points.partition_point(|point| point.0 <= *at + 1e-9);
                let is_over = line.points.last().is_none_or(|last| last.0 + 1e-9 < *at);
                match reached.checked_sub(1).and_then(|i| line.points.get(i)) {
                    Some(point)
                        if !is_over
                            || reached == line.points.len() && plot.x.scale == Scale::Nines =>
                    {
                        y(point.1)
                    }
                    _ => "–".to_owned(),
                }
            });
            std::iter::once(x).chain(values).collect()
        });
    (heads, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: f64, per_second: f64, p99_ns: u64) -> Row {
        let json = serde_json::json!({
            "at": at, "seconds": 1.0, "per_second": per_second, "p50_ns": 1, "p99_ns": p99_ns, "p999_ns": 1, "max_ns": 1,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn long_series_keep_their_peaks() {
        let mut rows: Vec<Row> = (1..=3_600)
            .map(|i| row(f64::from(i), 100.0, 1_000))
            .collect();
        rows[1_234].p99_ns = 5_000_000;
        rows[1_234].per_second = 0.0;
        let points = most(&rows, |row| row.p99_ns as f64);
        assert!(points.len() <= POINTS_MAX, "{}", points.len());
        assert_eq!(points.iter().filter(|point| point.1 == 5e6).count(), 1);
        assert_eq!(points.last().unwrap().0, 3_600.0);
        let means = mean(&rows, |row| row.per_second);
        let sum: f64 = means.iter().map(|point| point.1).sum();
        assert!((sum / means.len() as f64 - 99.97).abs() < 0.1, "{sum}");
        assert!(groups(&[], |_| 0.0).is_empty());
    }

    #[test]
    fn curves_end_with_what_is_known() {
        let json = serde_json::json!({
            "count": 1_000, "p50_ns": 1, "p90_ns": 1, "p99_ns": 1, "p999_ns": 1, "max_ns": 9,
            "curve": [{"quantile": 0.5, "ns": 1}, {"quantile": 0.99, "ns": 7}, {"quantile": 0.9995, "ns": 9},
                {"quantile": 1.0, "ns": 9}],
        });
        let times: Percentiles = serde_json::from_value(json).unwrap();
        assert_eq!(curve(&times), [(0.5, 1.0), (0.99, 7.0), (0.999, 9.0)]);
    }

    #[test]
    fn numbers_for_axes() {
        assert_eq!(
            [0.0, 0.5, 2.0, 1_500.0, 25_000.0, 1.5e6].map(short),
            ["0", "0.5", "2", "1,500", "25k", "1.5M"]
        );
        assert_eq!(
            [0.0, 0.5, 0.99, 0.99999].map(percent),
            ["0", "50", "99", "99.999"]
        );
        assert_eq!(
            [100.0, 1e4, 1e7, 1e9].map(nanos),
            ["100 ns", "10 µs", "10 ms", "1 s"]
        );
    }
}
