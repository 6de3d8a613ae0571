//! Metrics: what engines count, for whoever asks.
//!
//! Counting must cost next to nothing where executions run, and reading must not hold them up:
//!
//! 1. Each worker has a `Writer` for each machine that it runs: counters in plain memory, which only this worker
//!    writes. No instruction locks, and no two workers write to the same line of memory.
//! 2. [`Metrics::snapshot`] adds the counters of all workers up, at any time, from any thread. Nobody waits for it.
//! 3. What becomes of a snapshot is the reader's: [`prometheus::render`] makes the text that Prometheus scrapes of it, and a
//!    [`Folder`] tells the recorder of the crate `metrics` what is new since it told it last. Neither keeps
//!    observations, so memory does not grow, whether anybody scrapes or not.
//!
//! This is all that those who run executions have to call:
//!
//! | when | what |
//! |---|---|
//! | an input was taken in | `Writer::started` |
//! | it was none | `Writer::refused` |
//! | a turn of the execution is over | `Writer::turn`, which takes what the interpreter has counted |
//! | a task is done, in any way | `Writer::task`, after `Writer::task_called` if its handler was not called at once |
//! | the execution has ended | `Writer::turn`, then `Writer::ended` |
//! | it was given up | `Writer::abandoned` |
//! | it was not admitted | [`Metrics::throttled`] |
//!
//! Labels have names of machines and of resources, never of executions. How many there may be is bounded by [`Limits`]:
//! what comes after is counted under the name `other`. The catalogue of all metrics is [`CATALOGUE`].

mod catalogue;
mod collect;
mod counters;
mod folder;
mod histogram;
pub mod prometheus;
mod snapshot;
mod sources;
mod table;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::asl::Resource;
use crate::interp::MachineIdentity;
use crate::program::Program;
use crate::stdx::narrow;
use crate::task::lock;
use counters::{MachineCounters, TaskCounters};
use table::Table;

pub use catalogue::{CATALOGUE, Descriptor, Kind, Unit};
pub use counters::TaskOutcome;
pub use folder::{Folder, describe};
pub use histogram::Distribution;
pub use snapshot::{Family, Sample, Snapshot, Value};
pub use sources::{JournalFigures, LogFigures, SinkFigures};

pub(crate) use writer::Writer;

/// The name under which everything is counted for which there is no room.
pub const OTHER: &str = "other";

/// Most bytes of a label; longer names are cut.
pub const LABEL_BYTES_MAX: usize = 200;

/// How many names may become labels. What comes after is counted under the name [`OTHER`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Names of machines.
    pub machines: usize,
    /// Resources that machines call, of all machines.
    pub resources: usize,
}

impl Default for Limits {
    /// 200 machines, 1,000 resources: about 55,000 time series at most.
    fn default() -> Limits {
        Limits {
            machines: 200,
            resources: 1_000,
        }
    }
}

/// What engines count. Cloning it copies a pointer; several engines may share one.
///
/// ```
/// use quickstep::{Engine, StateMachine, metrics};
///
/// let machine = StateMachine::builder()
///     .name("hello")
///     .compile(r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#)
///     .expect("the definition is valid");
/// let engine = Engine::builder().build()?;
/// engine.run(&machine, b"{}")?;
/// let text = metrics::prometheus::render(&engine.metrics().snapshot());
/// assert!(text.contains(
///     r#"quickstep_state_transitions_total{state_machine="hello",state_type="Pass"} 1"#
/// ));
/// # Ok::<(), quickstep::engine::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tables: Mutex<Tables>,
    throttled: [[AtomicU64; Throttle::ALL.len()]; Api::ALL.len()],
    sources: Mutex<sources::Sources>,
}

#[derive(Debug)]
struct Tables {
    machines: Table<Box<str>, MachineCounters>,
    resources: Table<TaskKey, TaskCounters>,
}

/// The labels of a task's metrics.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct TaskKey {
    machine: Box<str>,
    integration: Box<str>,
    resource: Box<str>,
}

/// A way to start an execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Api {
    /// Nobody waits for the end.
    StartExecution,
    /// The caller waits for the end.
    StartSyncExecution,
}

impl Api {
    /// All of them.
    pub const ALL: [Api; 2] = [Api::StartExecution, Api::StartSyncExecution];

    /// Its spelling in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Api::StartExecution => "StartExecution",
            Api::StartSyncExecution => "StartSyncExecution",
        }
    }
}

/// Why an execution was not admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Throttle {
    /// Too many are in flight.
    Executions,
    /// The inputs of those in flight are too large together.
    InputBytes,
    /// They came too fast.
    StartRate,
    /// The disk does not keep up, or is full.
    Journal,
    /// The engine shuts down.
    Closed,
}

impl Throttle {
    /// All of them.
    pub const ALL: [Throttle; 5] = [
        Throttle::Executions,
        Throttle::InputBytes,
        Throttle::StartRate,
        Throttle::Journal,
        Throttle::Closed,
    ];

    /// Its spelling in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Throttle::Executions => "executions",
            Throttle::InputBytes => "input_bytes",
            Throttle::StartRate => "start_rate",
            Throttle::Journal => "journal",
            Throttle::Closed => "closed",
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Metrics with the usual limits.
    #[must_use]
    pub fn new() -> Metrics {
        Metrics::with_limits(Limits::default())
    }

    /// Metrics with other limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Metrics {
        Metrics(Arc::new(Shared {
            tables: Mutex::new(Tables {
                machines: Table::new(limits.machines),
                resources: Table::new(limits.resources),
            }),
            throttled: Default::default(),
            sources: Mutex::default(),
        }))
    }

    /// So many starts were not admitted. Unlike what is counted in executions, this may be called by several threads at a
    /// time.
    pub fn throttled(&self, api: Api, reason: Throttle, starts: u64) {
        self.0.throttled[api as usize][reason as usize].fetch_add(starts, Ordering::Relaxed);
    }

    /// A log stream's figures are shown with the others; `read` is called for each snapshot.
    pub fn add_log(&self, read: impl Fn() -> LogFigures + Send + Sync + 'static) {
        lock(&self.0.sources).logs.push((None, Box::new(read)));
    }

    /// As [`Metrics::add_log`], once for each key: several engines may have one log.
    pub(crate) fn add_log_of(
        &self,
        key: usize,
        read: impl Fn() -> LogFigures + Send + Sync + 'static,
    ) {
        let logs = &mut lock(&self.0.sources).logs;
        if logs.iter().all(|(known, _)| *known != Some(key)) {
            logs.push((Some(key), Box::new(read)));
        }
    }

    /// A journal's figures are shown with the others; `read` is called for each snapshot.
    pub fn add_journal(&self, read: impl Fn() -> JournalFigures + Send + Sync + 'static) {
        lock(&self.0.sources).journals.push(Box::new(read));
    }

    /// Counters for a thread that runs executions of a machine.
    pub(crate) fn writer(&self, identity: &MachineIdentity, program: &Program) -> Writer {
        let name = cut(&identity.name);
        let mut tables = lock(&self.0.tables);
        let machine = tables.machines.row(name.into(), || OTHER.into());
        let mut keys: Vec<TaskKey> = Vec::new();
        let mut places = Vec::new();
        for (_, info) in program.tasks() {
            let key = TaskKey::new(name, &info.resource);
            let place = keys.iter().position(|known| *known == key);
            places.push(narrow(place.unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            })));
        }
        let resources = keys.into_iter().map(|key| {
            let row = tables.resources.row(key, TaskKey::other);
            row.lend()
        });
        let resources = resources.collect();
        let machine_type = identity.machine_type;
        Writer::new(machine.lend(), machine_type, resources, places.into())
    }
}

impl TaskKey {
    fn new(machine: &str, resource: &Resource) -> TaskKey {
        let text = resource.resource();
        let name = match resource {
            // `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:VERSION]`, `arn:aws:states:REGION:ACCOUNT:activity:NAME`.
            Resource::Lambda { .. } | Resource::Activity { .. } => {
                text.splitn(7, ':').nth(6).unwrap_or(&text)
            }
            Resource::Service(_) => &text,
        };
        TaskKey {
            machine: machine.into(),
            integration: cut(&resource.resource_type()).into(),
            resource: cut(name).into(),
        }
    }

    fn other() -> TaskKey {
        TaskKey {
            machine: OTHER.into(),
            integration: OTHER.into(),
            resource: OTHER.into(),
        }
    }
}

/// A name that is short enough for a label.
fn cut(name: &str) -> &str {
    let mut end = name.len().min(LABEL_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests;
