//! Sources, machines and clocks for the tests of streams.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::time::Duration;

use quickstep::engine::{
    Ack, Clock, Error, Event, Events, PipelineEvent, PipelineRecorder, Reading, Settled,
    SimulatedStream, Simulation, Sink, Source, StreamReport, Verdict,
};
use quickstep::stdx::Timestamp;
use quickstep::task::TaskRequest;
use quickstep::{Failure, StateMachine};

pub(crate) const TASK: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

/// One Task.
pub(crate) fn task() -> StateMachine {
    StateMachine::compile(&format!(
        r#"{{"StartAt":"T","States":{{"T":{{"Type":"Task","Resource":"{TASK}","End":true}}}}}}"#
    ))
    .unwrap()
}

/// Waits for so many seconds, then hands its input on.
pub(crate) fn wait(seconds: u32) -> StateMachine {
    StateMachine::compile(&format!(
        r#"{{"StartAt":"W","States":{{"W":{{"Type":"Wait","Seconds":{seconds},"End":true}}}}}}"#
    ))
    .unwrap()
}

pub(crate) fn echo(request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
    request.write_input(response);
    Ok(())
}

/// Time that stands where it was put.
#[derive(Debug, Default)]
pub(crate) struct Hands(AtomicU64);

impl Hands {
    pub(crate) fn put(&self, nanos: u64) {
        self.0.fetch_max(nanos, Ordering::SeqCst);
    }

    pub(crate) fn millis(&self) -> u64 {
        self.nanos() / 1_000_000
    }
}

impl Clock for Hands {
    fn nanos(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.millis().cast_signed())
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }
}

/// What a source has heard of its events, by payload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<BTreeMap<String, Vec<Settled>>>>, Arc<Asked>);

/// Events that there were to hear of, and those among them that are not settled, with their bytes.
#[derive(Debug, Default)]
struct Asked {
    all: AtomicU64,
    open: AtomicU64,
    open_bytes: AtomicU64,
}

impl Heard {
    pub(crate) fn ack(&self, payload: &str) -> Ack {
        let bytes = payload.len() as u64;
        self.1.all.fetch_add(1, Ordering::SeqCst);
        self.1.open.fetch_add(1, Ordering::SeqCst);
        self.1.open_bytes.fetch_add(bytes, Ordering::SeqCst);
        let (heard, payload) = (self.clone(), payload.to_owned());
        Ack::new(move |settled| {
            heard.1.open.fetch_sub(1, Ordering::SeqCst);
            heard.1.open_bytes.fetch_sub(bytes, Ordering::SeqCst);
            let mut heard = heard.0.lock().unwrap();
            heard.entry(payload).or_default().push(settled.clone());
            Ok(())
        })
    }

    /// How many events there were to hear of.
    pub(crate) fn asked(&self) -> u64 {
        self.1.all.load(Ordering::SeqCst)
    }

    /// Events that are not settled, and their bytes.
    pub(crate) fn open(&self) -> (u64, u64) {
        let open = self.1.open.load(Ordering::SeqCst);
        (open, self.1.open_bytes.load(Ordering::SeqCst))
    }

    /// What was said of each event, of which each was heard of once.
    pub(crate) fn once(&self) -> BTreeMap<String, Settled> {
        let heard = self.0.lock().unwrap();
        let once = heard.iter().map(|(payload, settled)| {
            assert_eq!(settled.len(), 1, "{payload} was settled so: {settled:?}");
            (payload.clone(), settled[0].clone())
        });
        once.collect()
    }

    /// How many were done, rejected and nacked.
    pub(crate) fn verdicts(&self) -> [u64; 3] {
        let mut verdicts = [0; 3];
        for settled in self.once().into_values() {
            verdicts[match settled.verdict {
                Verdict::Done => 0,
                Verdict::Rejected => 1,
                Verdict::Again { .. } => 2,
            }] += 1;
        }
        verdicts
    }
}

/// Gives payloads, a few at a time.
pub(crate) struct Given {
    pub(crate) payloads: Vec<String>,
    pub(crate) heard: Heard,
    /// Events of one poll, at most.
    pub(crate) at_once: usize,
    /// Most events in flight, and the bytes at which no more are read.
    pub(crate) in_flight_max: (u64, u64),
    /// What comes after the last one.
    pub(crate) end: fn() -> Result<Reading, Error>,
}

impl Given {
    pub(crate) fn new<T: ToString>(payloads: impl IntoIterator<Item = T>) -> (Given, Heard) {
        let heard = Heard::default();
        let mut payloads: Vec<String> = payloads.into_iter().map(|p| p.to_string()).collect();
        payloads.reverse();
        let given = Given {
            payloads,
            heard: heard.clone(),
            at_once: 7,
            in_flight_max: (u64::MAX, u64::MAX),
            end: || Ok(Reading::End),
        };
        (given, heard)
    }
}

impl Source for Given {
    fn poll(&mut self, _: &mut Context<'_>, events: &mut Events) -> Result<Reading, Error> {
        let (open, bytes) = self.heard.open();
        let (open_max, bytes_max) = self.in_flight_max;
        let room = events.events_max() as u64;
        assert!(
            room > 0 && room <= open_max.saturating_sub(open),
            "{open} and {room}"
        );
        assert!(bytes < bytes_max, "{bytes} bytes are in flight");
        while !events.is_full()
            && events.len() < self.at_once
            && let Some(payload) = self.payloads.pop()
        {
            let ack = self.heard.ack(&payload);
            events.push_event(Event::new(payload.as_bytes()).ack(ack));
        }
        if events.is_empty() {
            return (self.end)();
        }
        Ok(Reading::More)
    }
}

/// Gives turns until there is nothing to do at this moment.
pub(crate) fn settle_down<S: Source, K: Sink<Vec<PipelineEvent>>>(
    stream: &mut SimulatedStream<PipelineRecorder, S, K>,
    workers: &mut Simulation,
) {
    for _ in 0..1_000_000 {
        let mut has_gone = stream.turn();
        for worker in 0..workers.workers() {
            has_gone |= workers.turn(worker);
        }
        if !has_gone {
            return;
        }
    }
    panic!("there is always something to do");
}

/// Puts the clock forward to whatever is due, until the stream is over; returns what it has done.
pub(crate) fn run_to_end<S: Source, K: Sink<Vec<PipelineEvent>>>(
    mut stream: SimulatedStream<PipelineRecorder, S, K>,
    workers: &mut Simulation,
    hands: &Hands,
) -> StreamReport {
    loop {
        settle_down(&mut stream, workers);
        if stream.is_over() {
            return stream.finish();
        }
        let next = stream.next_timer().into_iter().chain(workers.next_timer());
        let next = next.min().expect("something is to happen yet");
        // A timer may be early.
        hands.put(next.max(hands.nanos() + 1));
    }
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `read == done + rejected + nacked + in_flight`, and the outcomes are of those that are settled.
pub(crate) fn assert_adds_up(report: &StreamReport) {
    let settled = report.done + report.rejected + report.nacked;
    assert_eq!(report.read, settled + report.in_flight, "{report:?}");
    let outcomes = quickstep::engine::Outcome::ALL;
    let outcomes = outcomes.map(|outcome| report.outcome(outcome));
    assert_eq!(outcomes.iter().sum::<u64>(), settled, "{report:?}");
}
