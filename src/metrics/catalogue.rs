//! The catalogue: name, kind, unit, labels and meaning of every metric. The README's table is held against it.

use super::histogram::{DURATION_BOUNDS, SIZE_BOUNDS};

/// What a metric is.
#[derive(PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Its name.
    pub name: &'static str,
    /// How its values move.
    pub kind: Kind,
    /// What its values count.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence.
    pub help: &'static str,
}

/// How a metric's values move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Up.
    Counter,
    /// Up and down.
    Gauge,
    /// Observations, counted by range.
    Histogram,
}

impl Kind {
    /// Its name in Prometheus's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// What a value counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Things.
    Count,
    /// Nanoseconds; shown as seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Bytes times seconds.
    ByteSeconds,
}

impl Descriptor {
    /// The upper bounds of a histogram's ranges, in nanoseconds or bytes.
    #[must_use]
    pub const fn bounds(&self) -> Option<&'static [u64]> {
        match (self.kind, self.unit) {
            (Kind::Histogram, Unit::Bytes) => Some(&SIZE_BOUNDS),
            (Kind::Histogram, _) => Some(&DURATION_BOUNDS),
            (Kind::Counter | Kind::Gauge, _) => None,
        }
    }
}

const fn descriptor(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Descriptor {
    Descriptor {
        name,
        kind,
        unit,
        labels,
        help,
    }
}

use Kind::{Counter, Gauge, Histogram};
use Unit::{ByteSeconds, Bytes, Count, Seconds};

/// The labels of metrics of tasks.
const TASK: &[&str] = &["state_machine", "integration", "resource"];

macro_rules! catalogue {
    ($($constant:ident = $name:literal, $kind:expr, $unit:expr, $labels:expr, $help:literal;)*) => {
        $(pub(super) static $constant: Descriptor = descriptor($name, $kind, $unit, $labels, $help);)*

        /// All metrics, in the order in which they are shown.
        pub static CATALOGUE: &[&Descriptor] = &[$(&$constant),*];
    };
}

catalogue! {
    STARTED = "quickstep_executions_started_total", Counter, Count, &["state_machine", "type", "mode"],
        "Executions started, by type of machine, and by whether the caller waits for the end (sync) or not (async).";
    FINISHED = "quickstep_executions_finished_total", Counter, Count, &["state_machine", "status"],
        "Executions that ended, by status; ABANDONED are those given up with their stream or engine.";
    RUNNING = "quickstep_executions_running", Gauge, Count, &["state_machine"],
        "Executions that have started and not ended, those that wait among them.";
    DURATION = "quickstep_execution_duration_seconds", Histogram, Seconds, &["state_machine", "status"],
        "Time from the start of an execution to its end.";
    REFUSED = "quickstep_inputs_refused_total", Counter, Count, &["state_machine"],
        "Inputs that were not JSON or too large, so that no execution started.";
    THROTTLED = "quickstep_throttled_total", Counter, Count, &["reason", "api"],
        "Starts that were not admitted, by reason.";
    TRANSITIONS = "quickstep_state_transitions_total", Counter, Count, &["state_machine", "state_type"],
        "States entered, by type.";
    RETRIES = "quickstep_retries_total", Counter, Count, &["state_machine"],
        "Attempts that a Retry arranged.";
    CATCHES = "quickstep_catches_total", Counter, Count, &["state_machine"],
        "Failures that a Catch took up.";
    EVALUATIONS = "quickstep_query_evaluations_total", Counter, Count, &["state_machine", "language"],
        "Expressions in JSONata that were evaluated; paths are too quick to be counted.";
    TASKS = "quickstep_tasks_total", Counter, Count, &["state_machine", "integration", "resource", "outcome"],
        "Tasks done, by what they call and by outcome; CALLED_OFF are those whose branch or execution ended first.";
    TASK_DURATION = "quickstep_task_duration_seconds", Histogram, Seconds, TASK,
        "Time from handing out a task to its answer, timeout or calling-off.";
    TASK_SCHEDULE = "quickstep_task_schedule_seconds", Histogram, Seconds, TASK,
        "Time from handing out a task to the call of its handler, of tasks answered by futures and child processes.";
    MEMORY = "quickstep_execution_memory_bytes", Histogram, Bytes, &["state_machine"],
        "Bytes of an execution's document at its end: inputs, results and what was made of them.";
    BILLED_DURATION = "quickstep_billed_duration_seconds_total", Counter, Seconds, &["state_machine"],
        "Time of EXPRESS executions, each rounded up to 100 ms, as AWS bills it.";
    BILLED_MEMORY = "quickstep_billed_memory_byte_seconds_total", Counter, ByteSeconds, &["state_machine"],
        "The same times memory rounded up to 64 MiB; an estimate, as AWS does not say how it measures memory.";
    LOG_EVENTS = "quickstep_log_events_total", Counter, Count, &["sink"],
        "Events that a sink of the log stream has written.";
    LOG_DROPPED = "quickstep_log_events_dropped_total", Counter, Count, &["sink", "reason"],
        "Events that a sink of the log stream has not written, by reason.";
    LOG_QUEUE = "quickstep_log_queue_depth", Gauge, Count, &["sink"],
        "Blocks of events that wait for a sink of the log stream.";
    JOURNAL_STARTS = "quickstep_journal_starts_total", Counter, Count, &[],
        "Starts of executions written to the journal.";
    JOURNAL_ENDS = "quickstep_journal_ends_total", Counter, Count, &[],
        "Ends of executions written to the journal.";
    JOURNAL_COMMITS = "quickstep_journal_commits_total", Counter, Count, &[],
        "Commits of the journal that are on the disk.";
    JOURNAL_COMMIT_SECONDS = "quickstep_journal_commit_seconds_total", Counter, Seconds, &[],
        "Time that the journal's commits took to be written and synced.";
    JOURNAL_BYTES = "quickstep_journal_written_bytes_total", Counter, Bytes, &[],
        "Bytes of the journal's commits.";
    JOURNAL_REFUSED = "quickstep_journal_refused_total", Counter, Count, &["reason"],
        "Starts that the journal refused, by reason.";
    JOURNAL_UNFINISHED = "quickstep_journal_unfinished_starts", Gauge, Count, &[],
        "Starts in the journal without an end: what would run again after a crash.";
    JOURNAL_FILE_BYTES = "quickstep_journal_file_bytes", Gauge, Bytes, &[],
        "Bytes of the journal's files.";
    BUILD_INFO = "quickstep_build_info", Gauge, Count, &["version"],
        "Always 1; the label is the version of quickstep.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of Prometheus's guide to names.
    #[test]
    fn names_say_unit_and_kind() {
        for descriptor in CATALOGUE {
            let Descriptor {
                name,
                kind,
                unit,
                labels,
                help,
            } = descriptor;
            assert!(name.starts_with("quickstep_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}");
            let bare = name.strip_suffix("_total").unwrap_or(name);
            let suffix = match unit {
                Count => "",
                Seconds => "_seconds",
                Bytes => "_bytes",
                ByteSeconds => "_byte_seconds",
            };
            assert!(bare.ends_with(suffix), "{name}");
            assert!(help.ends_with('.'), "{name}");
            assert!(!labels.contains(&"execution"), "{name}");
        }
        let mut names: Vec<&str> = CATALOGUE.iter().map(|found| found.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
    }
}
