//! Metrics as a whole: what was recorded is what is read and what recorders are told, whenever they are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ::metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString,
};
use proptest::prelude::*;

use super::counters::ENDS;
use super::*;
use crate::asl::MachineType;
use crate::interp::Invocation;
use crate::program::TaskId;

/// Counts what it is told; in integers, so that nothing is lost to rounding.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<BTreeMap<String, Arc<Number>>>>);

#[derive(Default)]
struct Number {
    counter: AtomicU64,
    /// Of a gauge, in whole numbers.
    level: Mutex<f64>,
    /// Of a histogram: observations by value, in nanoseconds or bytes.
    observed: Mutex<BTreeMap<u64, u64>>,
    in_seconds: AtomicBool,
}

impl Told {
    fn number(&self, key: &Key) -> Arc<Number> {
        let mut name = key.name().to_owned();
        for label in key.labels() {
            name.push_str(&format!(",{}={}", label.key(), label.value()));
        }
        let found = Arc::clone(lock(&self.0).entry(name).or_default());
        let in_seconds = key.name().ends_with("_seconds");
        found.in_seconds.store(in_seconds, Ordering::Relaxed);
        found
    }
}

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        self.counter.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, _: u64) {
        unreachable!("several engines may tell one recorder");
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        *lock(&self.level) += value;
    }

    fn decrement(&self, value: f64) {
        *lock(&self.level) -= value;
    }

    fn set(&self, _: f64) {
        unreachable!("several engines may tell one recorder");
    }
}

impl HistogramFn for Number {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let scale = match self.in_seconds.load(Ordering::Relaxed) {
            true => 1e9,
            false => 1.0,
        };
        let value = (value * scale).round() as u64;
        *lock(&self.observed).entry(value).or_default() += count as u64;
    }
}

impl Recorder for Told {
    fn describe_counter(&self, _: KeyName, _: Option<::metrics::Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<::metrics::Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<::metrics::Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.number(key))
    }
}

const QUOTE: &str = "arn:aws:lambda:us-east-1:000000000000:function:quote";

/// A machine with three Tasks, two of which call the same function.
fn machine(name: &str) -> (MachineIdentity, Program) {
    let text = format!(
        r#"{{"StartAt":"A","States":{{
          "A":{{"Type":"Task","Resource":"{QUOTE}","Next":"B"}},
          "B":{{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","Next":"C"}},
          "C":{{"Type":"Task","Resource":"{QUOTE}","End":true}}}}}}"#
    );
    let model = crate::asl::read(&text, MachineType::Express);
    let program = crate::compile::compile(&model.definition.unwrap());
    let identity = MachineIdentity::local(name, MachineType::Express);
    (identity, program)
}

/// What a worker may do.
#[derive(Clone, Debug)]
enum Act {
    Start(bool),
    End(usize, u64, u64),
    Refuse,
    Abandon,
    Task(u32, usize, u64),
    /// The worker ends, and another one begins.
    Leave,
    /// Somebody reads, and tells a recorder.
    Fold,
}

fn act() -> impl Strategy<Value = Act> {
    let nanos = prop_oneof![
        0_u64..100_000,
        Just(50_000),
        Just(50_001),
        0_u64..400_000_000_000
    ];
    prop_oneof![
        any::<bool>().prop_map(Act::Start),
        (0..ENDS.len(), nanos.clone(), 0_u64..1 << 30).prop_map(|(a, b, c)| Act::End(a, b, c)),
        Just(Act::Refuse),
        Just(Act::Abandon),
        (0_u32..3, 0..TaskOutcome::ALL.len(), nanos).prop_map(|(a, b, c)| Act::Task(a, b, c)),
        Just(Act::Leave),
        Just(Act::Fold),
    ]
}

/// What should have been counted: numbers by name, values of observations by name.
#[derive(Default)]
struct Model {
    numbers: BTreeMap<String, u64>,
    observed: BTreeMap<String, Vec<u64>>,
}

impl Model {
    fn add(&mut self, name: &str, more: u64) {
        *self.numbers.entry(name.to_owned()).or_default() += more;
    }

    fn see(&mut self, name: &str, value: u64) {
        self.observed
            .entry(name.to_owned())
            .or_default()
            .push(value);
    }

    fn put(&mut self, act: &Act) {
        let of = "state_machine=m";
        match *act {
            Act::Start(is_async) => {
                let mode = if is_async { "async" } else { "sync" };
                let name =
                    format!("quickstep_executions_started_total,{of},type=EXPRESS,mode={mode}");
                self.add(&name, 1);
            }
            Act::End(end, nanos, bytes) => {
                let status = ENDS[end].as_str();
                let name = format!("quickstep_executions_finished_total,{of},status={status}");
                self.add(&name, 1);
                let name = format!("quickstep_execution_duration_seconds,{of},status={status}");
                self.see(&name, nanos);
                self.see(&format!("quickstep_execution_memory_bytes,{of}"), bytes);
                let time = nanos.div_ceil(100_000_000).max(1);
                self.add("billed time", time);
                self.add("billed memory", time * bytes.div_ceil(1 << 26).max(1));
            }
            Act::Refuse => self.add(&format!("quickstep_inputs_refused_total,{of}"), 1),
            Act::Abandon => {
                self.add(
                    &format!("quickstep_executions_finished_total,{of},status=ABANDONED"),
                    1,
                );
            }
            Act::Task(task, outcome, nanos) => {
                let resource = match task {
                    1 => "integration=sqs,resource=sendMessage",
                    _ => "integration=lambda,resource=quote",
                };
                let outcome = TaskOutcome::ALL[outcome].as_str();
                let name = format!("quickstep_tasks_total,{of},{resource},outcome={outcome}");
                self.add(&name, 1);
                let name = format!("quickstep_task_duration_seconds,{of},{resource}");
                self.see(&name, nanos);
            }
            Act::Leave | Act::Fold => {}
        }
    }

    /// Holds it against what a recorder was told.
    fn check(&self, told: &Told) {
        let told = lock(&told.0);
        let time = self.numbers.get("billed time").copied().unwrap_or(0);
        let memory = self.numbers.get("billed memory").copied().unwrap_or(0);
        let counter = |name: &str| told[name].counter.load(Ordering::Relaxed);
        assert_eq!(
            counter("quickstep_billed_duration_seconds_total,state_machine=m"),
            time / 10
        );
        assert_eq!(
            counter("quickstep_billed_memory_byte_seconds_total,state_machine=m"),
            memory * (1 << 26) / 10
        );
        for (name, number) in &self.numbers {
            if !name.starts_with("billed") {
                assert_eq!(counter(name), *number, "{name}");
            }
        }
        for (name, values) in &self.observed {
            let observed = lock(&told[name].observed);
            let descriptor = CATALOGUE
                .iter()
                .find(|known| name.split(',').next() == Some(known.name));
            let bounds = descriptor.unwrap().bounds().unwrap();
            let range = |value: u64| bounds.partition_point(|bound| *bound < value);
            let mut by_range = vec![(0, 0); bounds.len() + 1];
            for value in values {
                by_range[range(*value)].0 += 1;
                by_range[range(*value)].1 += value;
            }
            let mut told_by_range = vec![(0, 0); bounds.len() + 1];
            for (value, count) in &*observed {
                told_by_range[range(*value)].0 += count;
                told_by_range[range(*value)].1 += value * count;
            }
            assert_eq!(told_by_range, by_range, "{name}");
        }
    }
}

fn perform(writer: &Writer, act: &Act) {
    match *act {
        Act::Start(true) => writer.started(Invocation::Asynchronous),
        Act::Start(false) => writer.started(Invocation::Synchronous),
        Act::End(end, nanos, bytes) => writer.put_end(ENDS[end], nanos, bytes),
        Act::Refuse => writer.refused(),
        Act::Abandon => writer.abandoned(),
        Act::Task(task, outcome, nanos) => {
            writer.task(TaskId(task), TaskOutcome::ALL[outcome], nanos);
        }
        Act::Leave | Act::Fold => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever workers do, in whatever order with readers: a recorder is told exactly what happened.
    #[test]
    fn what_is_told_is_what_was_recorded(
        acts in prop::collection::vec((0_usize..3, act()), 0..200),
    ) {
        let (identity, program) = machine("m");
        let metrics = Metrics::new();
        let mut workers: Vec<Writer> = (0..3).map(|_| metrics.writer(&identity, &program)).collect();
        let told = Told::default();
        let mut folder = Folder::new(&metrics);
        let mut model = Model::default();
        for (worker, act) in &acts {
            model.put(act);
            perform(&workers[*worker], act);
            match act {
                Act::Leave => workers[*worker] = metrics.writer(&identity, &program),
                Act::Fold => {
                    folder.fold_to(&told);
                    model.check(&told);
                }
                _ => {}
            }
        }
        folder.fold_to(&told);
        model.check(&told);
        // One who begins to listen later is told everything at once.
        let late = Told::default();
        Folder::new(&metrics).fold_to(&late);
        model.check(&late);
    }
}

/// The same while workers are at work: their acts are known beforehand, the moments of reading are not.
#[test]
fn nothing_is_lost_while_workers_record() {
    const ROUNDS: u64 = 1_000;
    let (identity, program) = machine("m");
    let metrics = Metrics::new();
    let acts: Vec<Act> = (0..20_u64)
        .map(|n| match n % 4 {
            0 => Act::Start(n % 8 == 0),
            1 => Act::Task((n % 3) as u32, (n % 4) as usize, n * 40_000),
            2 => Act::Refuse,
            _ => Act::End((n % 4) as usize, n * 7_000_000_000, n << 26),
        })
        .collect();
    let told = Told::default();
    let mut folder = Folder::new(&metrics);
    let at_work = AtomicU64::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let writer = metrics.writer(&identity, &program);
                for _ in 0..ROUNDS {
                    for act in &acts {
                        perform(&writer, act);
                    }
                }
                at_work.fetch_sub(1, Ordering::Release);
            });
        }
        while at_work.load(Ordering::Acquire) > 0 {
            folder.fold_to(&told);
        }
    });
    folder.fold_to(&told);
    let mut model = Model::default();
    for _ in 0..2 * ROUNDS {
        for act in &acts {
            model.put(act);
        }
    }
    model.check(&told);
}

#[test]
fn names_beyond_the_limits_are_counted_together() {
    let metrics = Metrics::with_limits(Limits {
        machines: 3,
        resources: 4,
    });
    for i in 0..10 {
        let (identity, program) = machine(&format!("m{i}"));
        let writer = metrics.writer(&identity, &program);
        writer.started(Invocation::Synchronous);
        writer.task(TaskId(0), TaskOutcome::Failed, 1);
    }
    let snapshot = metrics.snapshot();
    let started = |name| {
        let labels = [name, "EXPRESS", "sync"];
        snapshot.number("quickstep_executions_started_total", &labels)
    };
    assert_eq!(started("m0"), Some(1));
    assert_eq!(started("m3"), None);
    assert_eq!(started(OTHER), Some(7));
    let failed = |machine, integration, resource| {
        let labels = [machine, integration, resource, "FAILED"];
        snapshot.number("quickstep_tasks_total", &labels)
    };
    assert_eq!(failed("m1", "lambda", "quote"), Some(1));
    assert_eq!(failed("m2", "lambda", "quote"), None);
    assert_eq!(failed(OTHER, OTHER, OTHER), Some(8));
}

#[test]
fn long_names_are_cut() {
    let (identity, program) = machine(&"é".repeat(LABEL_BYTES_MAX));
    let metrics = Metrics::new();
    metrics.writer(&identity, &program).refused();
    let cut = "é".repeat(LABEL_BYTES_MAX / 2);
    let refused = metrics.snapshot();
    assert_eq!(
        refused.number("quickstep_inputs_refused_total", &[&cut]),
        Some(1)
    );
}

#[test]
fn resources_have_short_names() {
    for (arn, integration, resource) in [
        (QUOTE, "lambda", "quote"),
        (
            "arn:aws:lambda:us-east-1:000000000000:function:quote:7",
            "lambda",
            "quote:7",
        ),
        (
            "arn:aws:states:us-east-1:000000000000:activity:pack",
            "activity",
            "pack",
        ),
        (
            "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "sqs",
            "sendMessage.waitForTaskToken",
        ),
        (
            "arn:aws:states:::aws-sdk:s3:getObject",
            "aws-sdk:s3",
            "getObject",
        ),
    ] {
        let key = TaskKey::new("m", &Resource::parse(arn).unwrap());
        assert_eq!((&*key.integration, &*key.resource), (integration, resource));
    }
}

#[test]
fn others_figures_are_shown() {
    let metrics = Metrics::new();
    let sink = |events, dropped| SinkFigures {
        name: "out.log".into(),
        events,
        dropped: vec![("queue_full", dropped), ("closed", 0)],
        queue_depth: 3,
    };
    // Two streams with a sink of the same name are shown as one.
    for (events, dropped) in [(10, 1), (20, 2)] {
        metrics.add_log(move || LogFigures {
            sinks: vec![sink(events, dropped)],
        });
    }
    let counters = crate::journal::Counters {
        starts: 7,
        commit_nanos: 1_500_000_000,
        refused_full: 2,
        ..crate::journal::Counters::default()
    };
    metrics.add_journal(move || JournalFigures::from(&counters));
    metrics.throttled(Api::StartExecution, Throttle::StartRate, 1);
    let text = prometheus::render(&metrics.snapshot());
    for line in [
        "quickstep_log_events_total{sink=\"out.log\"} 30",
        "quickstep_log_events_dropped_total{sink=\"out.log\",reason=\"queue_full\"} 3",
        "quickstep_log_queue_depth{sink=\"out.log\"} 6",
        "quickstep_journal_starts_total 7",
        "quickstep_journal_commit_seconds_total 1.5",
        "quickstep_journal_refused_total{reason=\"full\"} 2",
        "quickstep_throttled_total{reason=\"start_rate\",api=\"StartExecution\"} 1",
        "quickstep_throttled_total{reason=\"closed\",api=\"StartSyncExecution\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

/// Recording and reading keep nothing: what there is afterwards is what there was at the start.
#[test]
fn a_million_executions_take_no_memory() {
    let (identity, program) = machine("m");
    let metrics = Metrics::new();
    let text = |metrics: &Metrics| prometheus::render(&metrics.snapshot()).lines().count();
    metrics.writer(&identity, &program).put_end(ENDS[0], 1, 1);
    let lines = text(&metrics);
    for thousand in 0..1_000_u64 {
        // Each thousand comes with a new worker.
        let writer = metrics.writer(&identity, &program);
        for n in thousand * 1_000..(thousand + 1) * 1_000 {
            writer.started(Invocation::Synchronous);
            writer.put_end(ENDS[0], n * 1_000, n);
            writer.task(TaskId((n % 3) as u32), TaskOutcome::Succeeded, n);
        }
    }
    assert_eq!(text(&metrics), lines);
    let tables = lock(&metrics.0.tables);
    let mut cells = 0;
    for (_, row) in tables.machines.rows() {
        row.each(|_| cells += 1);
    }
    for (_, row) in tables.resources.rows() {
        row.each(|_| cells += 1);
    }
    assert_eq!(cells, 3);
}
