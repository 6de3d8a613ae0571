//! Results of tests, as they are read again. What a result has besides is passed over, so that newer ones can be shown.

use serde::Deserialize;

use crate::report::SCHEMA;

/// A test: what `--json` has written.
#[derive(Debug, Deserialize)]
pub(super) struct Test {
    pub(super) kind: String,
    #[serde(default)]
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) started_at: String,
    #[serde(default)]
    pub(super) version: String,
    pub(super) commit: Option<String>,
    #[serde(default)]
    pub(super) machine: Machine,
    pub(super) problem: Option<String>,
    pub(super) runs: Vec<Run>,
    pub(super) sweep: Option<Sweep>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: u64,
    pub(super) memory_bytes: u64,
    pub(super) system: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) label: String,
    pub(super) target: String,
    #[serde(rename = "loop")]
    pub(super) pace: Pace,
    pub(super) seconds: f64,
    pub(super) counts: Counts,
    #[serde(default)]
    pub(super) unanswered: u64,
    pub(super) per_second: f64,
    pub(super) latency: Percentiles,
    pub(super) naive: Percentiles,
    #[serde(default)]
    pub(super) usage: Usage,
    #[serde(default)]
    pub(super) series: Vec<Row>,
    pub(super) check: Option<String>,
    pub(super) problem: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Pace {
    Open { per_second: f64, spread: String },
    Closed { in_flight: u64 },
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) right: u64,
    pub(super) wrong: u64,
    pub(super) failed: u64,
    pub(super) throttled: u64,
    pub(super) broken: u64,
}

impl Counts {
    pub(super) fn errors(&self) -> u64 {
        [self.wrong, self.failed, self.throttled, self.broken]
            .iter()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Percentiles {
    #[serde(default)]
    pub(super) count: u64,
    pub(super) p50_ns: u64,
    pub(super) p90_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) p999_ns: u64,
    pub(super) max_ns: u64,
    #[serde(default)]
    pub(super) curve: Vec<Point>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Point {
    pub(super) quantile: f64,
    pub(super) ns: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) tester_cpu_seconds: f64,
    pub(super) tester_rss_bytes: u64,
    pub(super) target_cpu_seconds: f64,
    pub(super) target_rss_bytes: u64,
    pub(super) steal_seconds: f64,
}

/// An interval.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Row {
    pub(super) at: f64,
    pub(super) seconds: f64,
    #[serde(default)]
    pub(super) counts: Counts,
    pub(super) per_second: f64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) p999_ns: u64,
    pub(super) max_ns: u64,
    #[serde(default)]
    pub(super) usage: Usage,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sweep {
    pub(super) closed_loop_per_second: f64,
    pub(super) saturation_per_second: f64,
    pub(super) points: Vec<Step>,
}

/// A rate that was tried.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Step {
    pub(super) due_per_second: f64,
    pub(super) per_second: f64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) p999_ns: u64,
    pub(super) is_sustained: bool,
}

impl Test {
    /// Reads a result.
    ///
    /// # Errors
    ///
    /// If it is none, or of another schema.
    pub(super) fn parse(text: &str) -> Result<Test, String> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| format!("it is no result of a test: {error}"))?;
        match value.get("schema").and_then(serde_json::Value::as_str) {
            Some(SCHEMA) => {}
            Some(other) => {
                return Err(format!(
                    "its schema is {other:?}; this version reads {SCHEMA:?}"
                ));
            }
            None => {
                return Err(
                    "it is no result of a test: it has no schema; --json of a test writes one"
                        .to_owned(),
                );
            }
        }
        let test: Test = serde_json::from_value(value)
            .map_err(|error| format!("it is not as its schema wants it: {error}"))?;
        if test.runs.is_empty() {
            return Err("it has no runs".to_owned());
        }
        Ok(test)
    }
}
