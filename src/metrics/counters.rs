//! What one worker counts of one machine, and of one resource that the machine calls.

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::{DURATION_BOUNDS, Histogram, SIZE_BOUNDS};
use crate::asl::MachineType;
use crate::interp::Status;
use crate::program::StateType;

/// Numbers of a machine. Only one thread at a time writes them, so that nothing is locked. They are aligned so that no
/// cache line, nor the pair that is fetched at once, moves between workers.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct MachineCounters {
    /// By [`started_index`].
    pub(super) started: [AtomicU64; 4],
    /// How long executions took, by the end that they came to: see [`ENDS`]. Its counts are the executions that ended.
    pub(super) durations: [Histogram<{ DURATION_BOUNDS.len() }>; ENDS.len()],
    pub(super) abandoned: AtomicU64,
    pub(super) refused: AtomicU64,
    /// By the place of the type in [`StateType::ALL`].
    pub(super) entered: [AtomicU64; StateType::ALL.len()],
    pub(super) retries: AtomicU64,
    pub(super) catches: AtomicU64,
    pub(super) evaluations: AtomicU64,
    pub(super) document_bytes: Histogram<{ SIZE_BOUNDS.len() }>,
    /// Of [`BILLED_NANOS`], begun ones counted in full.
    pub(super) billed_time: AtomicU64,
    /// The same times [`BILLED_BYTES`], begun ones counted in full.
    pub(super) billed_memory: AtomicU64,
}

/// Numbers of a resource.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct TaskCounters {
    /// By the place of the outcome in [`TaskOutcome::ALL`].
    pub(super) outcomes: [AtomicU64; TaskOutcome::ALL.len()],
    pub(super) durations: Histogram<{ DURATION_BOUNDS.len() }>,
    pub(super) schedules: Histogram<{ DURATION_BOUNDS.len() }>,
}

/// The unit in which AWS bills time.
pub(super) const BILLED_NANOS: u64 = 100_000_000;

/// The unit in which AWS bills memory.
pub(super) const BILLED_BYTES: u64 = 64 * 1024 * 1024;

/// The ends that executions come to.
pub(super) const ENDS: [Status; 4] = [
    Status::Succeeded,
    Status::Failed,
    Status::TimedOut,
    Status::Aborted,
];

/// The place of a status in [`ENDS`].
#[inline(always)]
pub(super) const fn end_index(status: Status) -> usize {
    match status {
        Status::Succeeded => 0,
        // One that still runs has not ended; whoever says that it has takes it to have failed.
        Status::Failed | Status::Running => 1,
        Status::TimedOut => 2,
        Status::Aborted => 3,
    }
}

/// The place of a kind of start.
#[inline(always)]
pub(super) const fn started_index(machine_type: MachineType, is_async: bool) -> usize {
    let first = match machine_type {
        MachineType::Express => 0,
        MachineType::Standard => 2,
    };
    first + is_async as usize
}

/// What became of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum TaskOutcome {
    /// It has a result.
    Succeeded,
    /// It failed.
    Failed,
    /// Its timeout or its heartbeat passed before it had answered.
    TimedOut,
    /// Its branch or its execution ended before it had answered.
    CalledOff,
}

impl TaskOutcome {
    /// All of them.
    pub const ALL: [TaskOutcome; 4] = [
        TaskOutcome::Succeeded,
        TaskOutcome::Failed,
        TaskOutcome::TimedOut,
        TaskOutcome::CalledOff,
    ];

    /// Its spelling in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TaskOutcome::Succeeded => "SUCCEEDED",
            TaskOutcome::Failed => "FAILED",
            TaskOutcome::TimedOut => "TIMED_OUT",
            TaskOutcome::CalledOff => "CALLED_OFF",
        }
    }
}

impl Default for MachineCounters {
    fn default() -> MachineCounters {
        MachineCounters {
            started: Default::default(),
            durations: std::array::from_fn(|_| Histogram::new(&DURATION_BOUNDS)),
            abandoned: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            entered: Default::default(),
            retries: AtomicU64::new(0),
            catches: AtomicU64::new(0),
            evaluations: AtomicU64::new(0),
            document_bytes: Histogram::new(&SIZE_BOUNDS),
            billed_time: AtomicU64::new(0),
            billed_memory: AtomicU64::new(0),
        }
    }
}

impl Default for TaskCounters {
    fn default() -> TaskCounters {
        TaskCounters {
            outcomes: Default::default(),
            durations: Histogram::new(&DURATION_BOUNDS),
            schedules: Histogram::new(&DURATION_BOUNDS),
        }
    }
}

/// Reads a number that another thread may be writing.
pub(super) fn read(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (place, status) in ENDS.into_iter().enumerate() {
            assert_eq!(end_index(status), place);
        }
        for (place, outcome) in TaskOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
        let (express, standard) = (MachineType::Express, MachineType::Standard);
        let kinds = [
            (express, false),
            (express, true),
            (standard, false),
            (standard, true),
        ];
        assert_eq!(
            kinds.map(|(kind, is_async)| started_index(kind, is_async)),
            [0, 1, 2, 3]
        );
    }
}
