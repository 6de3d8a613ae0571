//! The text that Prometheus scrapes: its exposition format, version 0.0.4.
//!
//! It is made of a [`Snapshot`] alone. A recorder between the two would have to be told each observation of a histogram;
//! here the counters are histograms already.

use std::fmt::Write as _;

use super::catalogue::{Descriptor, Unit};
use super::histogram::Distribution;
use super::snapshot::{Sample, Snapshot, Value};

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Makes text of a snapshot.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for family in &snapshot.families {
        let Descriptor {
            name, kind, help, ..
        } = family.descriptor;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {}", escaped(help, Place::Help));
        let _ = writeln!(out, "# TYPE {name} {}", kind.as_str());
        for sample in &family.samples {
            match &sample.value {
                Value::Number(number) => {
                    let value = shown(*number, family.descriptor.unit);
                    line(&mut out, family.descriptor, "", sample, None, &value);
                }
                Value::Distribution(found) => {
                    distribution(&mut out, family.descriptor, sample, found);
                }
            }
        }
    }
    out
}

fn distribution(out: &mut String, descriptor: &Descriptor, sample: &Sample, found: &Distribution) {
    let unit = descriptor.unit;
    let mut below = 0;
    for (i, count) in found.counts.iter().enumerate() {
        below += count;
        let bound = found.bounds.get(i);
        let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| shown(*bound, unit));
        let value = below.to_string();
        line(out, descriptor, "_bucket", sample, Some(&bound), &value);
    }
    let sum = shown(found.sum(), unit);
    line(out, descriptor, "_sum", sample, None, &sum);
    line(out, descriptor, "_count", sample, None, &below.to_string());
}

fn line(
    out: &mut String,
    descriptor: &Descriptor,
    suffix: &str,
    sample: &Sample,
    bound: Option<&str>,
    value: &str,
) {
    out.push_str(descriptor.name);
    out.push_str(suffix);
    let labels = descriptor.labels.iter().zip(&sample.labels);
    let labels = labels.map(|(name, value)| (*name, &**value));
    let mut separator = '{';
    for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "{separator}{name}=\"{}\"",
            escaped(value, Place::Label)
        );
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// A number in base units. Nanoseconds are shown as seconds, to the last of them.
fn shown(number: u64, unit: Unit) -> String {
    match unit {
        Unit::Count | Unit::Bytes | Unit::ByteSeconds => number.to_string(),
        Unit::Seconds => {
            let (seconds, nanos) = (number / 1_000_000_000, number % 1_000_000_000);
            match nanos {
                0 => seconds.to_string(),
                nanos => format!("{seconds}.{nanos:09}")
                    .trim_end_matches('0')
                    .to_owned(),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Help,
    Label,
}

fn escaped(text: &str, place: Place) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if place == Place::Label => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalogue::{DURATION, JOURNAL_STARTS, STARTED};
    use crate::metrics::snapshot::Family;

    #[test]
    fn seconds_are_exact() {
        let texts = [0, 1, 50_000, 1_000_000_000, 2_500_000_000, 12_000_000_001]
            .map(|nanos| shown(nanos, Unit::Seconds));
        let expected = ["0", "0.000000001", "0.00005", "1", "2.5", "12.000000001"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_format() {
        let sample = |labels: &[&str], value| Sample {
            labels: labels.iter().map(|label| (*label).into()).collect(),
            value,
        };
        let family = |descriptor, samples| Family {
            descriptor,
            samples,
        };
        let distribution = Distribution {
            bounds: &[50_000, 1_000_000_000],
            counts: vec![2, 1, 1],
            sums: vec![60_000, 250_000_000, 2_000_000_000],
        };
        let snapshot = Snapshot {
            families: vec![
                family(
                    &STARTED,
                    vec![sample(&["a\"\\\nb", "EXPRESS", "sync"], Value::Number(7))],
                ),
                family(
                    &DURATION,
                    vec![sample(&["m", "FAILED"], Value::Distribution(distribution))],
                ),
                family(&JOURNAL_STARTS, vec![sample(&[], Value::Number(3))]),
            ],
        };
        let text = render(&snapshot);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("# HELP"))
            .collect();
        assert_eq!(
            lines,
            [
                "# TYPE quickstep_executions_started_total counter",
                r#"quickstep_executions_started_total{state_machine="a\"\\\nb",type="EXPRESS",mode="sync"} 7"#,
                "# TYPE quickstep_execution_duration_seconds histogram",
                r#"quickstep_execution_duration_seconds_bucket{state_machine="m",status="FAILED",le="0.00005"} 2"#,
                r#"quickstep_execution_duration_seconds_bucket{state_machine="m",status="FAILED",le="1"} 3"#,
                r#"quickstep_execution_duration_seconds_bucket{state_machine="m",status="FAILED",le="+Inf"} 4"#,
                r#"quickstep_execution_duration_seconds_sum{state_machine="m",status="FAILED"} 2.25006"#,
                r#"quickstep_execution_duration_seconds_count{state_machine="m",status="FAILED"} 4"#,
                "# TYPE quickstep_journal_starts_total counter",
                "quickstep_journal_starts_total 3",
            ]
        );
    }
}
