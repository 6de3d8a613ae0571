//! [`Metrics::snapshot`]: adding up what all workers have counted.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::catalogue::{
    BILLED_DURATION, BILLED_MEMORY, BUILD_INFO, CATALOGUE, CATCHES, DURATION, Descriptor,
    EVALUATIONS, FINISHED, JOURNAL_BYTES, JOURNAL_COMMIT_SECONDS, JOURNAL_COMMITS, JOURNAL_ENDS,
    JOURNAL_FILE_BYTES, JOURNAL_REFUSED, JOURNAL_STARTS, JOURNAL_UNFINISHED, LOG_DROPPED,
    LOG_EVENTS, LOG_QUEUE, MEMORY, REFUSED, RETRIES, RUNNING, STARTED, TASK_DURATION,
    TASK_SCHEDULE, TASKS, THROTTLED, TRANSITIONS,
};
use super::counters::{
    BILLED_BYTES, BILLED_NANOS, ENDS, MachineCounters, TaskCounters, TaskOutcome, read,
    started_index,
};
use super::histogram::{DURATION_BOUNDS, Distribution, SIZE_BOUNDS};
use super::snapshot::{Family, Sample, Snapshot, Value};
use super::sources::{JournalFigures, LogFigures, SinkFigures};
use super::table::Row;
use super::{Api, Metrics, TaskKey, Throttle, cut};
use crate::asl::MachineType;
use crate::program::StateType;
use crate::task::lock;

/// Samples by metric, in the order of the catalogue.
struct Collection(Vec<Vec<Sample>>);

impl Collection {
    fn put(&mut self, descriptor: &'static Descriptor, labels: &[&str], value: Value) {
        debug_assert_eq!(descriptor.labels.len(), labels.len());
        let place = CATALOGUE
            .iter()
            .position(|known| std::ptr::eq(*known, descriptor));
        let Some(place) = place else {
            unreachable!("every descriptor is in the catalogue");
        };
        self.0[place].push(Sample {
            labels: labels.iter().map(|label| (*label).into()).collect(),
            value,
        });
    }

    fn number(&mut self, descriptor: &'static Descriptor, labels: &[&str], number: u64) {
        self.put(descriptor, labels, Value::Number(number));
    }

    fn distribution(
        &mut self,
        descriptor: &'static Descriptor,
        labels: &[&str],
        found: Distribution,
    ) {
        self.put(descriptor, labels, Value::Distribution(found));
    }
}

impl Metrics {
    /// Adds up what was counted up to now.
    ///
    /// Each number is one that it really had, and a histogram's count and sum belong together. Numbers of different
    /// metrics may be of moments that lie a little apart, but ends are read before starts.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut found = Collection(CATALOGUE.iter().map(|_| Vec::new()).collect());
        {
            let tables = lock(&self.0.tables);
            for (name, row) in tables.machines.rows() {
                machine(&mut found, name, row);
            }
            for (key, row) in tables.resources.rows() {
                task(&mut found, key, row);
            }
        }
        for api in Api::ALL {
            for reason in Throttle::ALL {
                let number = read(&self.0.throttled[api as usize][reason as usize]);
                found.number(&THROTTLED, &[reason.as_str(), api.as_str()], number);
            }
        }
        let (logs, journals): (Vec<_>, Vec<_>) = {
            let sources = lock(&self.0.sources);
            let logs = sources.logs.iter().map(|(_, read)| read());
            let journals = sources.journals.iter().map(|read| read());
            (logs.collect(), journals.collect())
        };
        log_streams(&mut found, &logs);
        journal(&mut found, &journals);
        found.number(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
        let families = CATALOGUE.iter().zip(found.0);
        let families =
            families
                .filter(|(_, samples)| !samples.is_empty())
                .map(|(descriptor, samples)| Family {
                    descriptor,
                    samples,
                });
        Snapshot {
            families: families.collect(),
        }
    }
}

fn machine(found: &mut Collection, name: &str, row: &Row<MachineCounters>) {
    let mut durations = [(); ENDS.len()].map(|()| Distribution::new(&DURATION_BOUNDS));
    let mut abandoned = 0;
    // Ends first: an execution may start on one worker and end on another, and must not be seen to end only.
    row.each(|cell| {
        for (total, durations) in durations.iter_mut().zip(&cell.durations) {
            durations.add_to(total);
        }
        abandoned += cell.abandoned.load(Ordering::Acquire);
    });
    let mut memory = Distribution::new(&SIZE_BOUNDS);
    let (mut started, mut entered) = ([0; 4], [0; StateType::ALL.len()]);
    let (mut refused, mut retries, mut catches, mut evaluations) = (0, 0, 0, 0);
    let (mut billed_time, mut billed_memory) = (0_u64, 0_u64);
    row.each(|cell| {
        cell.document_bytes.add_to(&mut memory);
        for (total, number) in started.iter_mut().zip(&cell.started) {
            *total += read(number);
        }
        for (total, number) in entered.iter_mut().zip(&cell.entered) {
            *total += read(number);
        }
        refused += read(&cell.refused);
        retries += read(&cell.retries);
        catches += read(&cell.catches);
        evaluations += read(&cell.evaluations);
        billed_time += read(&cell.billed_time);
        billed_memory += read(&cell.billed_memory);
    });
    for (machine_type, name_of_type) in [
        (MachineType::Express, "EXPRESS"),
        (MachineType::Standard, "STANDARD"),
    ] {
        for (is_async, mode) in [(false, "sync"), (true, "async")] {
            let number = started[started_index(machine_type, is_async)];
            found.number(&STARTED, &[name, name_of_type, mode], number);
        }
    }
    let mut finished = abandoned;
    for (status, durations) in ENDS.into_iter().zip(durations) {
        let count = durations.count();
        finished += count;
        found.number(&FINISHED, &[name, status.as_str()], count);
        if count > 0 {
            found.distribution(&DURATION, &[name, status.as_str()], durations);
        }
    }
    found.number(&FINISHED, &[name, "ABANDONED"], abandoned);
    let running = started.iter().sum::<u64>().saturating_sub(finished);
    found.number(&RUNNING, &[name], running);
    for (state_type, number) in StateType::ALL.into_iter().zip(entered) {
        found.number(&TRANSITIONS, &[name, state_type.as_str()], number);
    }
    found.number(&REFUSED, &[name], refused);
    found.number(&RETRIES, &[name], retries);
    found.number(&CATCHES, &[name], catches);
    found.number(&EVALUATIONS, &[name, "JSONata"], evaluations);
    found.distribution(&MEMORY, &[name], memory);
    let nanos = billed_time.saturating_mul(BILLED_NANOS);
    found.number(&BILLED_DURATION, &[name], nanos);
    let per_second = u128::from(1_000_000_000 / BILLED_NANOS);
    let byte_seconds = u128::from(billed_memory) * u128::from(BILLED_BYTES) / per_second;
    let byte_seconds = u64::try_from(byte_seconds).unwrap_or(u64::MAX);
    found.number(&BILLED_MEMORY, &[name], byte_seconds);
}

fn task(found: &mut Collection, key: &TaskKey, row: &Row<TaskCounters>) {
    let mut durations = Distribution::new(&DURATION_BOUNDS);
    let mut schedules = Distribution::new(&DURATION_BOUNDS);
    let mut outcomes = [0; TaskOutcome::ALL.len()];
    row.each(|cell| {
        cell.durations.add_to(&mut durations);
        cell.schedules.add_to(&mut schedules);
        for (total, number) in outcomes.iter_mut().zip(&cell.outcomes) {
            *total += read(number);
        }
    });
    let labels = [&*key.machine, &*key.integration, &*key.resource];
    for (outcome, number) in TaskOutcome::ALL.into_iter().zip(outcomes) {
        let [machine, integration, resource] = labels;
        let labels = [machine, integration, resource, outcome.as_str()];
        found.number(&TASKS, &labels, number);
    }
    found.distribution(&TASK_DURATION, &labels, durations);
    if schedules.count() > 0 {
        found.distribution(&TASK_SCHEDULE, &labels, schedules);
    }
}

fn log_streams(found: &mut Collection, logs: &[LogFigures]) {
    // Two sinks of one name would be two samples of one name, which Prometheus refuses.
    let mut sinks: BTreeMap<&str, SinkFigures> = BTreeMap::new();
    for sink in logs.iter().flat_map(|log| &log.sinks) {
        let total = sinks.entry(cut(&sink.name)).or_default();
        total.events += sink.events;
        total.queue_depth += sink.queue_depth;
        for &(reason, number) in &sink.dropped {
            add_to(&mut total.dropped, reason, number);
        }
    }
    for (name, sink) in sinks {
        found.number(&LOG_EVENTS, &[name], sink.events);
        for (reason, number) in sink.dropped {
            found.number(&LOG_DROPPED, &[name, reason], number);
        }
        found.number(&LOG_QUEUE, &[name], sink.queue_depth);
    }
}

/// Adds to the number of a reason.
fn add_to(reasons: &mut Vec<(&'static str, u64)>, reason: &'static str, more: u64) {
    match reasons.iter_mut().find(|(known, _)| *known == reason) {
        Some((_, number)) => *number += more,
        None => reasons.push((reason, more)),
    }
}

fn journal(found: &mut Collection, journals: &[JournalFigures]) {
    if journals.is_empty() {
        return;
    }
    let mut put = |descriptor, of: fn(&JournalFigures) -> u64| {
        found.number(descriptor, &[], journals.iter().map(of).sum());
    };
    put(&JOURNAL_STARTS, |figures| figures.starts);
    put(&JOURNAL_ENDS, |figures| figures.ends);
    put(&JOURNAL_COMMITS, |figures| figures.commits);
    put(&JOURNAL_COMMIT_SECONDS, |figures| figures.commit_nanos);
    put(&JOURNAL_BYTES, |figures| figures.bytes);
    put(&JOURNAL_UNFINISHED, |figures| figures.unfinished);
    put(&JOURNAL_FILE_BYTES, |figures| figures.file_bytes);
    let mut refused = Vec::new();
    for &(reason, number) in journals.iter().flat_map(|figures| &figures.refused) {
        add_to(&mut refused, reason, number);
    }
    for (reason, number) in refused {
        found.number(&JOURNAL_REFUSED, &[reason], number);
    }
}
