//! The runtime: what it costs beside the bare interpreter, what a million parked executions take, and who waits for whom.
//!
//! `cargo bench --bench runtime -- MODE [N]`, where MODE is
//!
//! - `order`: executions of `order` a second, by wall clock: the bare interpreter on one thread, and the engine with one
//!   and with two workers; all events are there beforehand, outputs are written and counted, rounds are interleaved;
//! - `parked`: N executions of an order event in a Wait, due over ten seconds: memory, and how late each wakes;
//! - `timers`: CPU time that parking and waking cost an execution, for 1,000 and for N of them;
//! - `fair`: short executions beside 1,000 endless loops: how long they take;
//! - `overload`: starts at the rate that the engine can do, then three times as many: what is done, and what is refused;
//! - `count N`: N executions on one worker and nothing else, for counting instructions; `bare N` the same without it.
//!
//! Without a mode it runs all of them, small.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures time, and paces what it starts"
)]

#[path = "baseline/mod.rs"]
mod baseline;

use std::fs;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use baseline::{Contender, Workload};
use hdrhistogram::Histogram;
use quickstep::engine::{
    Ended, Engine, EngineBuilder, Error, ErrorKind, Limits, ResultSink, StartRequest,
};
use quickstep::task::TaskRequest;
use quickstep::{StateMachine, Status};
use rustix::time::{ClockId, clock_gettime};

#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A counter and its bytes, for one worker.
#[derive(Default)]
#[repr(align(128))]
struct Lane(Mutex<Output>);

#[derive(Default)]
struct Output {
    text: Vec<u8>,
    count: u64,
    failed: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    latency: Option<Histogram<u64>>,
}

/// Takes results; whoever waits for them counts now and then.
struct Sink {
    lanes: Box<[Lane]>,
    /// What is put down of an execution, in microseconds.
    latency: Option<fn(&Ended<'_>) -> u64>,
}

impl Sink {
    fn new(workers: usize, latency: Option<fn(&Ended<'_>) -> u64>) -> Arc<Sink> {
        Arc::new(Sink {
            lanes: (0..workers).map(|_| Lane::default()).collect(),
            latency,
        })
    }

    fn count(&self) -> u64 {
        self.outputs(|output| output.count).into_iter().sum()
    }

    fn wait(&self, count: u64) {
        while self.count() < count {
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    fn outputs<T>(&self, of: impl Fn(&mut Output) -> T) -> Vec<T> {
        let lanes = self.lanes.iter();
        lanes
            .map(|lane| of(&mut lane.0.lock().unwrap_or_else(|error| panic!("{error}"))))
            .collect()
    }

    /// Seconds from the first end to the last.
    fn seconds(&self) -> f64 {
        let first = self
            .outputs(|output| output.first)
            .into_iter()
            .flatten()
            .min();
        let last = self
            .outputs(|output| output.last)
            .into_iter()
            .flatten()
            .max();
        match (first, last) {
            (Some(first), Some(last)) => (last - first).as_secs_f64(),
            _ => 0.0,
        }
    }

    fn failed(&self) -> u64 {
        self.outputs(|output| output.failed).into_iter().sum()
    }

    fn latency(&self) -> Histogram<u64> {
        let mut all = histogram();
        for lane in self
            .outputs(|output| output.latency.take())
            .into_iter()
            .flatten()
        {
            all.add(&lane).expect("they have the same bounds");
        }
        all
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 3).expect("the bounds are constants")
}

struct Shared(Arc<Sink>);

impl ResultSink for Shared {
    #[inline]
    fn ended(&self, ended: &Ended<'_>) {
        let sink = &*self.0;
        let mut output = sink.lanes[ended.worker]
            .0
            .lock()
            .unwrap_or_else(|error| panic!("{error}"));
        output.text.clear();
        ended.write_output(&mut output.text);
        black_box(&output.text);
        output.count += 1;
        output.failed += u64::from(ended.status() != Status::Succeeded);
        if let Some(latency) = sink.latency {
            let micros = latency(ended);
            let latency = output.latency.get_or_insert_with(histogram);
            latency.saturating_record(micros.max(1));
        }
        // The clock is read now and then: sixteen executions are less than what is told apart.
        if output.count % 16 == 1 {
            let now = Instant::now();
            output.first.get_or_insert(now);
            output.last = Some(now);
        }
    }

    fn refused(&self, line: u64, error: Error) {
        panic!("input {line}: {error}");
    }
}

fn machine(definition: &str) -> StateMachine {
    StateMachine::compile(definition).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn builder(workers: usize) -> EngineBuilder {
    let quote = |_: &TaskRequest<'_>, response: &mut Vec<u8>| {
        response.extend_from_slice(baseline::quote());
        Ok(())
    };
    Engine::builder().workers(workers).task("*", quote).seed(1)
}

fn engine(workers: usize) -> Engine {
    let engine = builder(workers).build();
    engine.unwrap_or_else(|error| panic!("{error}"))
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// A line of `/proc/self/status`, in bytes.
fn memory(of: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(of));
    let kilobytes = line.and_then(|line| line.trim_start_matches(':').trim().split(' ').next());
    1024 * kilobytes.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// CPU time of the process, in seconds.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU time of this thread, in seconds.
fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn order() -> (Workload, StateMachine) {
    let [order, _] = Workload::all();
    let definition =
        fs::read_to_string(&order.definition).unwrap_or_else(|error| panic!("{error}"));
    let machine = machine(&definition);
    (order, machine)
}

fn bare(workload: &Workload) -> Box<dyn Contender> {
    let contenders = workload.contenders().into_iter();
    let mut found = contenders.filter(|(name, _)| *name == "quickstep");
    found
        .next()
        .map(|(_, contender)| contender)
        .unwrap_or_else(|| panic!("it is there"))
}

fn run_bare(contender: &mut dyn Contender, events: &[&[u8]]) {
    let mut out = Vec::new();
    for event in events {
        out.clear();
        contender.run(black_box(event), &mut out);
        black_box(&out);
    }
}

/// Executions a second by the wall clock, and a CPU second.
fn bare_rates(contender: &mut dyn Contender, events: &[&[u8]]) -> [f64; 2] {
    let (start, before) = (Instant::now(), thread_cpu_seconds());
    run_bare(contender, events);
    let count = events.len() as f64;
    let cpu = thread_cpu_seconds() - before;
    [count / start.elapsed().as_secs_f64(), count / cpu]
}

/// Seconds from the first end to the last.
fn run_engine(engine: &Engine, workers: usize, machine: &StateMachine, events: &[&[u8]]) -> f64 {
    let sink = Sink::new(workers, None);
    engine
        .start_batch(machine, events.iter().copied(), Shared(Arc::clone(&sink)))
        .unwrap_or_else(|error| panic!("{error}"));
    sink.wait(events.len() as u64);
    assert_eq!(sink.failed(), 0);
    sink.seconds()
}

/// Executions a second by the wall clock, and a CPU second of the workers.
fn engine_rates(
    engine: &Engine,
    workers: usize,
    machine: &StateMachine,
    events: &[&[u8]],
) -> [f64; 2] {
    let before = cpu_seconds() - thread_cpu_seconds();
    let seconds = run_engine(engine, workers, machine, events);
    let count = events.len() as f64;
    let cpu = cpu_seconds() - thread_cpu_seconds() - before;
    [count / seconds, count / cpu]
}

fn measure_order(executions: usize, rounds: usize) {
    let (workload, machine) = order();
    // Each with its own memory, so that the bare interpreter reads as much as the engine.
    let copies: Vec<Vec<u8>> = workload
        .events()
        .iter()
        .cycle()
        .take(executions)
        .map(|event| event.to_vec())
        .collect();
    let events: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
    let mut contender = bare(&workload);
    let engines = [(1, engine(1)), (2, engine(2))];
    let mut rates: [[Vec<f64>; 2]; 3] = Default::default();
    println!(
        "order: {executions} executions a round, {rounds} rounds, load average {}",
        load_average()
    );
    for round in 0..=rounds {
        let mut found = vec![bare_rates(contender.as_mut(), &events)];
        for (workers, engine) in &engines {
            found.push(engine_rates(engine, *workers, &machine, &events));
        }
        // The first round warms up.
        if round > 0 {
            let found = found.into_iter().flatten();
            let all = rates.iter_mut().flatten().zip(found);
            all.for_each(|(rates, rate)| rates.push(rate));
        }
    }
    let [bare, one, two] = rates.map(|rates| rates.map(median));
    for (by, what) in [(0, "second"), (1, "CPU second")] {
        let (bare, one, two) = (bare[by], one[by], two[by]);
        println!("  executions a {what}, medians:");
        println!("    bare interpreter  {bare:>10.0}");
        println!(
            "    one worker        {one:>10.0}  {:.3} of bare",
            one / bare
        );
        println!(
            "    two workers       {two:>10.0}  {:.3} of one worker",
            two / one
        );
    }
    println!("  load average {}", load_average());
}

/// Seconds over which parked executions are due.
const SPREAD_SECONDS: u64 = 10;

/// Bytes of an event that is parked.
const EVENT_BYTES: usize = 570;

/// Waits for as many seconds as its input says.
const WAITING: &str = r#"{"StartAt":"W","States":{"W":{"Type":"Wait","SecondsPath":"$.w","Next":"E"},"E":{"Type":"Succeed"}}}"#;

/// How late an execution has ended, in microseconds.
fn lateness(ended: &Ended<'_>) -> u64 {
    let mut out = Vec::new();
    ended.write_output(&mut out);
    let seconds = out.strip_prefix(br#"{"w":"#).map(|rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
    });
    let seconds = seconds.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&out)));
    let due = ended.execution().start_time().millis() + seconds * 1_000;
    let late = ended.stop_time.millis() - due;
    assert!(late >= 0, "it woke {late} ms before it was due");
    late.unsigned_abs() * 1_000
}

/// An order of exactly so many bytes that waits.
fn waiting_event(order: &[u8], seconds: u64) -> Vec<u8> {
    let mut event = format!(r#"{{"w":{seconds},"#).into_bytes();
    event.extend_from_slice(&order[1..order.len() - 1]);
    event.extend_from_slice(br#","pad":""#);
    event.resize(EVENT_BYTES - 2, b'x');
    event.extend_from_slice(br#""}"#);
    event
}

/// Starts executions that wait, not many more than are being parked; returns when all are.
fn park(engine: &Engine, sink: &Arc<Sink>, count: u64, first_seconds: u64, spread_seconds: u64) {
    let machine = machine(WAITING);
    let (workload, _) = order();
    let orders = workload.events();
    let orders: Vec<&[u8]> = orders
        .into_iter()
        .filter(|order| order.len() <= 545)
        .collect();
    let (mut started, before) = (0, engine.counts().parked);
    while started < count {
        let chunk = (count - started).min(4_096);
        let inputs: Vec<Vec<u8>> = (started..started + chunk)
            .map(|n| {
                let order = orders[usize::try_from(n).unwrap_or(0) % orders.len()];
                waiting_event(order, first_seconds + n % spread_seconds)
            })
            .collect();
        engine
            .start_batch(
                &machine,
                inputs.iter().map(Vec::as_slice),
                Shared(Arc::clone(sink)),
            )
            .unwrap_or_else(|error| panic!("{error}"));
        started += chunk;
        while engine.counts().parked - before + 8_192 < started {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    while engine.counts().parked - before < count {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn measure_parked(count: u64) {
    let workers = 2;
    let engine = engine(workers);
    let sink = Sink::new(workers, Some(lateness));
    let before = memory("VmRSS");
    let start = Instant::now();
    // Long enough for all to be parked before the first is due.
    let first_seconds = 5 + count / 100_000;
    park(&engine, &sink, count, first_seconds, SPREAD_SECONDS);
    println!(
        "parked: {count} executions of {EVENT_BYTES} bytes, load average {}",
        load_average()
    );
    let (parked_in, parked) = (start.elapsed().as_secs_f64(), memory("VmRSS"));
    println!(
        "  parked in {parked_in:.2} s; memory {:.3} GiB, {:.3} before",
        gib(parked),
        gib(before)
    );
    println!(
        "  {:.0} bytes for each",
        parked.saturating_sub(before) as f64 / count as f64
    );
    sink.wait(count);
    assert_eq!((sink.count(), sink.failed()), (count, 0));
    let late = sink.latency();
    let at = |quantile: f64| late.value_at_quantile(quantile) / 1_000;
    println!(
        "  all have ended; late by p50 {} ms, p99 {} ms, at most {} ms",
        at(0.5),
        at(0.99),
        late.max() / 1_000
    );
    println!("  peak {:.3} GiB", gib(memory("VmHWM")));
    assert_eq!(engine.in_flight(), 0);
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1_u64 << 30) as f64
}

/// CPU time of the workers for an execution that waits once.
fn measure_timers(many: u64) {
    println!(
        "timers: CPU time of an execution that is parked once, load average {}",
        load_average()
    );
    for count in [1_000, 10_000, 100_000, many] {
        let engine = engine(1);
        let sink = Sink::new(1, None);
        let (mut spent, mut measured) = (0.0, 0);
        // Few are measured several times.
        for _ in 0..(50_000 / count).clamp(1, 10) {
            let start = cpu_seconds() - thread_cpu_seconds();
            park(&engine, &sink, count, 1 + count / 50_000, 1);
            sink.wait(measured + count);
            spent += cpu_seconds() - thread_cpu_seconds() - start;
            measured += count;
        }
        println!(
            "  {count:>9} at a time: {:>6.0} ns each",
            spent * 1e9 / measured as f64
        );
        if count >= many {
            break;
        }
    }
}

const LOOP: &str = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Choice","Choices":[
    {"Variable":"$.stop","BooleanEquals":true,"Next":"C"}],"Default":"A"},"C":{"Type":"Succeed"}}}"#;

fn measure_fair(loops: usize, seconds: u64) {
    for workers in [1, 2] {
        let engine = engine(workers);
        let looping = machine(LOOP);
        let (workload, short) = order();
        let events = workload.events();
        let handles: Vec<_> = (0..loops)
            .map(|_| engine.start(&looping, StartRequest::new(br#"{"stop":false}"#)))
            .map(|handle| handle.unwrap_or_else(|error| panic!("{error}")))
            .collect();
        // 10,000 a second, one by one; what is late is late from when it should have been started.
        let latency = Arc::new(Mutex::new([histogram(), histogram()]));
        let start = Instant::now();
        let count = seconds * 10_000;
        for n in 0..count {
            let intended = start + Duration::from_micros(100 * n);
            while Instant::now() < intended {
                std::thread::sleep(Duration::from_micros(50));
            }
            let event = events[usize::try_from(n).unwrap_or(0) % events.len()];
            let started = Instant::now();
            let handle = engine.start(&short, StartRequest::new(event));
            let latency = Arc::clone(&latency);
            handle
                .unwrap_or_else(|error| panic!("{error}"))
                .then(move |result| {
                    assert_eq!(
                        result.map(|result| result.status).ok(),
                        Some(Status::Succeeded)
                    );
                    let mut latency = latency.lock().unwrap_or_else(|error| panic!("{error}"));
                    for (since, latency) in [intended, started].into_iter().zip(&mut *latency) {
                        let micros = since.elapsed().as_micros();
                        latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
                    }
                });
        }
        let ended = || latency.lock().unwrap_or_else(|error| panic!("{error}"))[0].len();
        while ended() < count {
            std::thread::sleep(Duration::from_millis(1));
        }
        let latency = latency.lock().unwrap_or_else(|error| panic!("{error}"));
        println!(
            "fair: {loops} endless loops, {workers} workers, 10,000 short executions a second for {seconds} s, load average {}",
            load_average()
        );
        for (latency, since) in latency.iter().zip(["their intended start", "the call"]) {
            println!(
                "  since {since}: p50 {} µs, p99 {} µs, at most {} µs",
                latency.value_at_quantile(0.5),
                latency.value_at_quantile(0.99),
                latency.max()
            );
        }
        for handle in handles {
            assert!(handle.stop(None, None), "an endless loop goes on");
        }
        let report = engine.shutdown(Duration::from_secs(20));
        assert_eq!(report.left, 0);
    }
}

/// Offers batches at a rate; returns executions a second that were done, how many were refused, and the peak of memory.
fn offer(engine: &Engine, sink: &Arc<Sink>, rate: f64, seconds: f64) -> (f64, u64, u64) {
    let (workload, machine) = order();
    let events = workload.events();
    let (start, before) = (Instant::now(), sink.count());
    let (mut offered, mut refused, mut peak) = (0_usize, 0, 0);
    while start.elapsed().as_secs_f64() < seconds {
        let due = (start.elapsed().as_secs_f64() * rate) as usize;
        if offered + 64 > due {
            std::thread::sleep(Duration::from_micros(50));
            continue;
        }
        let first = offered % (events.len() - 64);
        let batch = events[first..first + 64].iter().copied();
        offered += 64;
        match engine.start_batch(&machine, batch, Shared(Arc::clone(sink))) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Throttled => refused += 64,
            Err(error) => panic!("{error}"),
        }
        if offered.is_multiple_of(64 * 1_024) {
            peak = peak.max(memory("VmRSS"));
        }
    }
    let done = (sink.count() - before) as f64 / start.elapsed().as_secs_f64();
    (done, refused, peak)
}

fn measure_overload(seconds: f64) {
    let limits = Limits {
        executions: 20_000,
        ..Limits::default()
    };
    let engine = builder(1).limits(limits).build();
    let engine = engine.unwrap_or_else(|error| panic!("{error}"));
    let sink = Sink::new(1, None);
    // As much as it can do: what is offered is never too little.
    let (capacity, ..) = offer(&engine, &sink, 20e6, seconds / 2.0);
    println!(
        "overload: capacity {capacity:.0}/s on one worker, load average {}",
        load_average()
    );
    for factor in [1.0, 3.0] {
        let (done, refused, peak) = offer(&engine, &sink, capacity * factor, seconds);
        println!(
            "  offered {factor} times that: {done:.0}/s done, {refused} refused, memory {:.3} GiB",
            gib(peak)
        );
    }
    let refusals = engine.refusals();
    println!("  {refusals:?}");
}

fn count(executions: usize) {
    let (workload, machine) = order();
    let events: Vec<&[u8]> = workload
        .events()
        .into_iter()
        .cycle()
        .take(executions)
        .collect();
    run_engine(&engine(1), 1, &machine, &events);
}

fn main() {
    // cargo adds --bench, the smoke run --test.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let number = |or: u64| -> u64 {
        let number = arguments.get(1).map(|text| text.parse());
        number.map_or(or, |number| {
            number.unwrap_or_else(|_| panic!("N is a number"))
        })
    };
    let small = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    match arguments.first().map(String::as_str) {
        None => {
            measure_order(2_048, 1);
            measure_parked(2_000);
            measure_timers(1_000);
            measure_fair(10, 1);
            measure_overload(0.2);
        }
        Some("order") => measure_order(small(number(262_144)), 5),
        Some("parked") => measure_parked(number(1_000_000)),
        Some("timers") => measure_timers(number(1_000_000)),
        Some("fair") => measure_fair(1_000, number(10)),
        Some("overload") => measure_overload(number(4) as f64),
        Some("count") => count(small(number(4_096))),
        Some("bare") => {
            let (workload, _) = order();
            let events = workload.events();
            let events: Vec<&[u8]> = events
                .into_iter()
                .cycle()
                .take(small(number(4_096)))
                .collect();
            run_bare(bare(&workload).as_mut(), &events);
        }
        Some(other) => panic!("there is no mode {other}; see the head of benches/runtime.rs"),
    }
}
