//! What the server counts of itself: requests, how long they take, connections. The text of `/metrics`.
//!
//! Many threads write a counter, each by one atomic addition. A reader may see an observation's count and not yet its
//! sum; the next scrape has both.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::app::App;
use super::operations::OPERATIONS;
use crate::metrics::{Descriptor, Distribution, Family, Kind, Sample, Snapshot, Unit, Value};

static REQUESTS: Descriptor = Descriptor {
    name: "quickstep_api_requests_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["api", "status"],
    help: "Requests that were answered, by operation and HTTP status; those of no operation are of `other`.",
};

static DURATION: Descriptor = Descriptor {
    name: "quickstep_api_request_duration_seconds",
    kind: Kind::Histogram,
    unit: Unit::Seconds,
    labels: &["api"],
    help: "Time from a request's head to its answer, with all that was waited for in between.",
};

static CONNECTIONS: Descriptor = Descriptor {
    name: "quickstep_connections_open",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    help: "Connections of clients that are open.",
};

static ACCEPTED: Descriptor = Descriptor {
    name: "quickstep_connections_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &[],
    help: "Connections of clients that were taken.",
};

static BODIES: Descriptor = Descriptor {
    name: "quickstep_request_bodies_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[],
    help: "Bytes of the bodies of requests that are being read or done.",
};

static LINES: Descriptor = Descriptor {
    name: "quickstep_ingest_lines_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["outcome"],
    help: "Lines of ingested bodies that were answered: accepted, refused, or with an execution that succeeded or failed.",
};

/// What became of a line of an ingested body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LineOutcome {
    Accepted,
    Refused,
    Succeeded,
    Failed,
}

impl LineOutcome {
    const ALL: [(LineOutcome, &str); 4] = [
        (LineOutcome::Accepted, "accepted"),
        (LineOutcome::Refused, "refused"),
        (LineOutcome::Succeeded, "succeeded"),
        (LineOutcome::Failed, "failed"),
    ];
}

/// What ingestion is counted as, beside the API's operations.
pub(crate) const INGEST: &str = "ingest";

/// The statuses that are told apart; others are told by the first of their hundred.
const STATUSES: [u16; 12] = [200, 207, 400, 403, 404, 408, 413, 415, 429, 500, 501, 503];

/// What requests of one operation have come to.
#[derive(Debug)]
struct Row {
    by_status: [AtomicU64; STATUSES.len()],
    /// Of durations: how many were within each bound, and beyond all; and their sums.
    counts: Box<[AtomicU64]>,
    sums: Box<[AtomicU64]>,
}

/// The server's counters.
#[derive(Debug)]
pub(crate) struct ServerMetrics {
    /// One for each operation, and one for the others.
    rows: Box<[Row]>,
    connections: AtomicUsize,
    accepted: AtomicU64,
    lines: [AtomicU64; LineOutcome::ALL.len()],
}

fn zeros(count: usize) -> Box<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn bounds() -> &'static [u64] {
    DURATION.bounds().unwrap_or_default()
}

/// What requests are counted as, the others last.
fn names() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().copied().chain([INGEST, "other"])
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(crate) struct OpenConnection(std::sync::Arc<App>);

impl OpenConnection {
    pub(crate) fn new(app: &std::sync::Arc<App>) -> OpenConnection {
        app.metrics.connections.fetch_add(1, Ordering::Relaxed);
        app.metrics.accepted.fetch_add(1, Ordering::Relaxed);
        OpenConnection(std::sync::Arc::clone(app))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ServerMetrics {
    pub(crate) fn new() -> ServerMetrics {
        let row = |_| Row {
            by_status: std::array::from_fn(|_| AtomicU64::new(0)),
            counts: zeros(bounds().len() + 1),
            sums: zeros(bounds().len() + 1),
        };
        ServerMetrics {
            rows: (0..OPERATIONS.len() + 2).map(row).collect(),
            connections: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            lines: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a request that was answered.
    pub(crate) fn answered(&self, operation: Option<&str>, status: u16, nanos: u64) {
        let known = operation.and_then(|name| names().position(|known| known == name));
        let row = &self.rows[known.unwrap_or(self.rows.len() - 1)];
        let exact = STATUSES.iter().position(|known| *known == status);
        let alike = || {
            STATUSES
                .iter()
                .position(|known| known / 100 == status / 100)
        };
        if let Some(at) = exact.or_else(alike) {
            row.by_status[at].fetch_add(1, Ordering::Relaxed);
        }
        let range = bounds().partition_point(|bound| *bound < nanos);
        row.sums[range].fetch_add(nanos, Ordering::Relaxed);
        row.counts[range].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a line of an ingested body that was answered.
    pub(crate) fn line(&self, outcome: LineOutcome) {
        self.lines[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn lines(&self) -> Family {
        let samples = LineOutcome::ALL.iter().map(|(outcome, name)| Sample {
            labels: vec![(*name).into()],
            value: Value::Number(self.lines[*outcome as usize].load(Ordering::Relaxed)),
        });
        Family {
            descriptor: &LINES,
            samples: samples.collect(),
        }
    }

    fn requests(&self) -> Family {
        let mut samples = Vec::new();
        for (row, name) in self.named() {
            for (count, status) in row.by_status.iter().zip(STATUSES) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    samples.push(Sample {
                        labels: vec![name.into(), status.to_string().into()],
                        value: Value::Number(count),
                    });
                }
            }
        }
        Family {
            descriptor: &REQUESTS,
            samples,
        }
    }

    fn durations(&self) -> Family {
        let read = |cells: &[AtomicU64]| -> Vec<u64> {
            cells
                .iter()
                .map(|cell| cell.load(Ordering::Relaxed))
                .collect()
        };
        let samples = self.named().filter_map(|(row, name)| {
            let distribution = Distribution {
                bounds: bounds(),
                counts: read(&row.counts),
                sums: read(&row.sums),
            };
            (distribution.count() > 0).then(|| Sample {
                labels: vec![name.into()],
                value: Value::Distribution(distribution),
            })
        });
        Family {
            descriptor: &DURATION,
            samples: samples.collect(),
        }
    }

    fn named(&self) -> impl Iterator<Item = (&Row, &'static str)> {
        self.rows.iter().zip(names())
    }
}

/// All figures of a server at this moment.
pub(crate) fn snapshot(app: &App) -> Snapshot {
    let single = |descriptor: &'static Descriptor, number: u64| Family {
        descriptor,
        samples: vec![Sample {
            labels: Vec::new(),
            value: Value::Number(number),
        }],
    };
    let metrics = &app.metrics;
    let mut all = app.executor.metrics().snapshot();
    all.families.extend([
        metrics.requests(),
        metrics.durations(),
        metrics.lines(),
        single(&CONNECTIONS, metrics.connections() as u64),
        single(&ACCEPTED, metrics.accepted.load(Ordering::Relaxed)),
        single(&BODIES, app.bodies.load(Ordering::Relaxed) as u64),
    ]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::prometheus;

    #[test]
    fn requests_are_counted_by_operation_status_and_time() {
        let metrics = ServerMetrics::new();
        for (operation, status, nanos) in [
            (Some("StartExecution"), 200, 50_000),
            (Some("StartExecution"), 200, 50_001),
            (Some("StartExecution"), 400, u64::from(u32::MAX) * 1_000),
            (Some("Nonsense"), 400, 1),
            (None, 418, 1),
            (None, 600, 1),
        ] {
            metrics.answered(operation, status, nanos);
        }
        let snapshot = Snapshot {
            families: vec![metrics.requests(), metrics.durations()],
        };
        let name = "quickstep_api_requests_total";
        for (labels, expected) in [
            (["StartExecution", "200"], Some(2)),
            (["StartExecution", "400"], Some(1)),
            (["other", "400"], Some(2)),
            (["Nonsense", "400"], None),
            (["other", "500"], None),
        ] {
            assert_eq!(snapshot.number(name, &labels), expected, "{labels:?}");
        }
        let text = prometheus::render(&snapshot);
        for line in [
            r#"quickstep_api_request_duration_seconds_bucket{api="StartExecution",le="0.00005"} 1"#,
            r#"quickstep_api_request_duration_seconds_bucket{api="StartExecution",le="0.0001"} 2"#,
            r#"quickstep_api_request_duration_seconds_bucket{api="StartExecution",le="300"} 2"#,
            r#"quickstep_api_request_duration_seconds_bucket{api="StartExecution",le="+Inf"} 3"#,
            r#"quickstep_api_request_duration_seconds_sum{api="StartExecution"} 4294.967395001"#,
            r#"quickstep_api_request_duration_seconds_count{api="other"} 3"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
