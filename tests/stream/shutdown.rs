//! Streams that end before their sources do: drained, stopped, with their engine, with a source or a sink that fails.

use std::io;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use quickstep::engine::{
    Clock, Error, ErrorKind, Event, Events, Limits, Order, Outcome, PipelineEvent,
    PipelineRecorder, Reading, Sink, Source, StartRate, StartRequest, Stream, StreamEnd,
    StreamOptions, Verdict,
};
use quickstep::task::TaskRequest;
use quickstep::{Engine, Failure};

use crate::support::{
    Given, Hands, TASK, assert_adds_up, echo, run_to_end, seconds, settle_down, task, wait,
};

const ORDERS: [Order; 2] = [Order::Events, Order::Completion];

fn options(order: Order, in_flight: usize) -> StreamOptions {
    StreamOptions {
        in_flight,
        order,
        ..StreamOptions::default()
    }
}

/// A source that is never at its end.
fn goes_on(count: usize) -> (Given, crate::support::Heard) {
    let (mut source, heard) = Given::new(0..count);
    source.end = || Ok(Reading::Idle(None));
    (source, heard)
}

#[test]
fn draining_waits_for_what_is_in_flight_and_no_longer() {
    for order in ORDERS {
        // Executions take 30 seconds; who is as patient gets all of them, who is not gets none.
        for (patience, done, end) in [(31, 5, "Drained"), (29, 0, "Stopped"), (0, 0, "Stopped")] {
            let hands = Arc::new(Hands::default());
            let (engine, mut workers) = Engine::builder()
                .clock(Arc::clone(&hands) as Arc<dyn Clock>)
                .workers(2)
                .build_simulated()
                .unwrap();
            let (source, heard) = goes_on(20);
            let stream = Stream::new(&engine, &wait(30), options(order, 5));
            let stopper = stream.stopper();
            let mut results = Vec::new();
            let mut stream = stream.simulate(source, || PipelineRecorder, &mut results);
            settle_down(&mut stream, &mut workers);
            assert_eq!(engine.in_flight(), 5, "no more than may be");
            stopper.drain(seconds(patience));
            let report = run_to_end(stream, &mut workers, &hands);
            assert!(format!("{:?}", report.end).contains(end), "{report:?}");
            assert_adds_up(&report);
            assert_eq!((report.read, report.in_flight), (5, 0));
            assert_eq!((report.done, report.nacked), (done, 5 - done));
            assert_eq!(results.len() as u64, done);
            // What was not read was dropped with its source, and nothing was said of it.
            assert_eq!(heard.verdicts(), [done, 0, 5 - done]);
            assert!(hands.millis() <= (patience + 1) * 1_000 && engine.in_flight() == 0);
        }
    }
}

#[test]
fn a_stopped_stream_nacks_what_it_has() {
    for order in ORDERS {
        let hands = Arc::new(Hands::default());
        let (engine, mut workers) = Engine::builder()
            .clock(Arc::clone(&hands) as Arc<dyn Clock>)
            .build_simulated()
            .unwrap();
        let (source, heard) = goes_on(100);
        let stream = Stream::new(&engine, &wait(60), options(order, 40));
        let stopper = stream.stopper();
        let mut results = Vec::new();
        let mut stream = stream.simulate(source, || PipelineRecorder, &mut results);
        settle_down(&mut stream, &mut workers);
        stopper.stop();
        let report = run_to_end(stream, &mut workers, &hands);
        assert!(matches!(report.end, StreamEnd::Stopped), "{report:?}");
        assert_eq!((report.read, report.nacked, results.len()), (40, 40, 0));
        assert_eq!(heard.verdicts(), [0, 0, 40]);
        assert!(
            heard
                .once()
                .values()
                .all(|settled| settled.outcome == Outcome::Lost)
        );
        assert_eq!((engine.in_flight(), hands.millis()), (0, 0));
    }
}

#[test]
fn an_engine_that_shuts_down_loses_no_event() {
    for order in ORDERS {
        for turns in [0, 1, 2, 3, 5, 8, 13] {
            let hands = Arc::new(Hands::default());
            let (engine, mut workers) = Engine::builder()
                .clock(Arc::clone(&hands) as Arc<dyn Clock>)
                .workers(2)
                .build_simulated()
                .unwrap();
            let (source, heard) = goes_on(100);
            let stream = Stream::new(&engine, &wait(60), options(order, 50));
            let mut results = Vec::new();
            let mut stream = stream.simulate(source, || PipelineRecorder, &mut results);
            for turn in 0..turns {
                stream.turn();
                workers.turn(turn % 2);
            }
            let _ = engine.shutdown(Duration::ZERO);
            let report = run_to_end(stream, &mut workers, &hands);
            assert!(matches!(report.end, StreamEnd::Stopped), "{report:?}");
            assert_adds_up(&report);
            assert_eq!((report.done, report.in_flight), (0, 0));
            assert_eq!(heard.verdicts(), [0, 0, report.read], "after {turns} turns");
        }
    }
}

/// The same on threads, at whatever moment.
#[test]
fn an_engine_that_shuts_down_on_threads() {
    for round in 0..60 {
        let engine = Engine::builder()
            .task(TASK, echo)
            .workers(1 + round % 3)
            .build()
            .unwrap();
        let (source, heard) = Given::new(0..100_000);
        let order = ORDERS[round % 2];
        let stream = Stream::new(&engine, &task(), options(order, 1 + 7 * round));
        let (sender, results) = std::sync::mpsc::sync_channel(0);
        struct Through(std::sync::mpsc::SyncSender<usize>);
        impl Sink<Vec<PipelineEvent>> for Through {
            fn write(&mut self, page: &mut Vec<PipelineEvent>) -> io::Result<()> {
                // Nobody may be listening any more, and then it does not matter.
                let _ = self.0.send(page.len());
                page.clear();
                Ok(())
            }
        }
        let runs = std::thread::spawn(move || {
            let (report, _) = stream.run(source, || PipelineRecorder, &mut Through(sender));
            report
        });
        for _ in 0..round {
            results.recv().unwrap();
        }
        let _ = engine.shutdown(Duration::ZERO);
        drop(results);
        let report = runs.join().unwrap();
        assert!(matches!(report.end, StreamEnd::Stopped), "{report:?}");
        assert_adds_up(&report);
        assert_eq!(report.in_flight, 0);
        assert_eq!(heard.verdicts(), [report.done, 0, report.nacked]);
    }
}

#[test]
fn tiny_limits_slow_a_stream_down_and_lose_nothing() {
    let rate = |bucket, refill_per_second| {
        Some(StartRate {
            bucket,
            refill_per_second,
        })
    };
    for (executions, input_bytes, start_rate) in [
        (1, 1_000_000, None),
        (3, 1_000_000, None),
        (1_000, 4, None),
        (1_000, 1_000_000, rate(1, 10)),
        (2, 3, rate(5, 1_000)),
    ] {
        for order in ORDERS {
            let hands = Arc::new(Hands::default());
            let limits = Limits {
                executions,
                input_bytes,
                start_rate,
            };
            let (engine, mut workers) = Engine::builder()
                .task(TASK, echo)
                .clock(Arc::clone(&hands) as Arc<dyn Clock>)
                .limits(limits)
                .build_simulated()
                .unwrap();
            let (source, heard) = Given::new(100..200);
            let stream = Stream::new(&engine, &task(), options(order, 1_000));
            let mut results = Vec::new();
            let stream = stream.simulate(source, || PipelineRecorder, &mut results);
            let report = run_to_end(stream, &mut workers, &hands);
            assert!(matches!(report.end, StreamEnd::Finished), "{report:?}");
            assert_eq!((report.read, report.done), (100, 100), "{limits:?}");
            assert_eq!(heard.verdicts(), [100, 0, 0]);
            assert_eq!(results.len(), 100);
            assert_eq!((engine.in_flight(), engine.input_bytes()), (0, 0));
        }
    }
}

#[test]
fn others_may_have_the_engine_for_a_while() {
    let hands = Arc::new(Hands::default());
    let (engine, mut workers) = Engine::builder()
        .task(TASK, echo)
        .clock(Arc::clone(&hands) as Arc<dyn Clock>)
        .limits(Limits {
            executions: 2,
            ..Limits::default()
        })
        .build_simulated()
        .unwrap();
    for _ in 0..2 {
        engine.start(&wait(60), StartRequest::new(b"1")).unwrap();
    }
    let (source, heard) = Given::new(0..10);
    let stream = Stream::new(&engine, &task(), options(Order::Events, 5));
    let mut results = Vec::new();
    let stream = stream.simulate(source, || PipelineRecorder, &mut results);
    let report = run_to_end(stream, &mut workers, &hands);
    assert_eq!((report.done, heard.verdicts()), (10, [10, 0, 0]));
    assert!(hands.millis() >= 60_000);
}

#[test]
fn events_that_can_never_be_admitted() {
    let hands = Arc::new(Hands::default());
    let build = |limits| {
        let engine = Engine::builder().task(TASK, echo).limits(limits);
        let engine = engine.clock(Arc::clone(&hands) as Arc<dyn Clock>);
        engine.build_simulated().unwrap()
    };
    // One that is larger than all inputs may be is refused, and the others go on.
    let (engine, mut workers) = build(Limits {
        input_bytes: 5,
        ..Limits::default()
    });
    let (source, heard) = Given::new(["1", "1234567", "3"]);
    let stream = Stream::new(&engine, &task(), options(Order::Events, 5));
    let mut results = Vec::new();
    let stream = stream.simulate(source, || PipelineRecorder, &mut results);
    let report = run_to_end(stream, &mut workers, &hands);
    assert_eq!((report.done, report.rejected), (2, 1));
    assert_eq!(heard.once()["1234567"].verdict, Verdict::Rejected);
    let error = results[1].result.as_ref().unwrap_err().to_string();
    assert!(
        error.starts_with("it has 7 bytes, and all inputs"),
        "{error}"
    );
    assert_eq!((engine.in_flight(), engine.input_bytes()), (0, 0));
    // A rate of none is an error.
    let (engine, mut workers) = build(Limits {
        start_rate: Some(StartRate {
            bucket: 0,
            refill_per_second: 0,
        }),
        ..Limits::default()
    });
    let (source, heard) = Given::new(["1", "2"]);
    let stream = Stream::new(&engine, &task(), options(Order::Events, 100));
    let stream = stream.simulate(source, || PipelineRecorder, Vec::new());
    let report = run_to_end(stream, &mut workers, &hands);
    let StreamEnd::ReadFailed(error) = &report.end else {
        panic!("{report:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!((report.read, report.nacked), (2, 2));
    assert_eq!(heard.verdicts(), [0, 0, 2]);
}

#[test]
fn a_source_that_fails_ends_the_stream_after_what_it_gave() {
    for order in ORDERS {
        let hands = Arc::new(Hands::default());
        let (engine, mut workers) = Engine::builder()
            .task(TASK, echo)
            .clock(Arc::clone(&hands) as Arc<dyn Clock>)
            .build_simulated()
            .unwrap();
        let (mut source, heard) = Given::new(0..30);
        source.end = || Err(Error::of_source("the broker is gone"));
        let stream = Stream::new(&engine, &task(), options(order, 10));
        let mut results = Vec::new();
        let stream = stream.simulate(source, || PipelineRecorder, &mut results);
        let report = run_to_end(stream, &mut workers, &hands);
        let StreamEnd::ReadFailed(error) = &report.end else {
            panic!("{report:?}");
        };
        assert_eq!(error.to_string(), "the broker is gone");
        assert_eq!((report.done, results.len()), (30, 30));
        assert_eq!(heard.verdicts(), [30, 0, 0]);
    }
}

/// Takes a few results.
struct Choosy(usize);

impl Sink<Vec<PipelineEvent>> for Choosy {
    fn write(&mut self, page: &mut Vec<PipelineEvent>) -> io::Result<()> {
        self.0 = self
            .0
            .checked_sub(page.len())
            .ok_or(io::ErrorKind::BrokenPipe)?;
        page.clear();
        Ok(())
    }
}

#[test]
fn what_no_sink_has_taken_is_not_done() {
    for order in ORDERS {
        let hands = Arc::new(Hands::default());
        let (engine, mut workers) = Engine::builder()
            .task(TASK, echo)
            .clock(Arc::clone(&hands) as Arc<dyn Clock>)
            .build_simulated()
            .unwrap();
        let (source, heard) = goes_on(50);
        let stream = Stream::new(&engine, &task(), options(order, 20));
        let stream = stream.simulate(source, || PipelineRecorder, Choosy(10));
        let report = run_to_end(stream, &mut workers, &hands);
        assert!(
            matches!(report.end, StreamEnd::WriteFailed(_)),
            "{report:?}"
        );
        assert_adds_up(&report);
        assert!(report.done <= 10 && report.nacked > 0 && report.in_flight == 0);
        assert_eq!(heard.verdicts(), [report.done, 0, report.nacked]);
    }
}

#[test]
fn handlers_that_panic_fail_their_event_and_no_other() {
    let handler = |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
        echo(request, response)?;
        assert!(!response.ends_with(b"7"), "it ends with 7");
        Ok::<(), Failure>(())
    };
    let engine = Engine::builder().task(TASK, handler).build().unwrap();
    let (source, heard) = Given::new(100..200);
    let stream = Stream::new(&engine, &task(), options(Order::Completion, 7));
    let (report, _) = stream.run(source, || PipelineRecorder, &mut Vec::new());
    assert_eq!(report.outcome(Outcome::Failed), 10);
    assert_eq!(report.outcome(Outcome::Succeeded), 90);
    assert_eq!(heard.verdicts(), [100, 0, 0]);
    let failure = heard.once()["107"].failure.clone().unwrap();
    assert_eq!(failure.error.as_deref(), Some("Task.Panicked"));
}

#[test]
fn a_source_that_panics_is_a_source_that_failed() {
    let engine = Engine::builder().task(TASK, echo).build().unwrap();
    let (mut source, heard) = Given::new(0..20);
    source.end = || panic!("out of order");
    let stream = Stream::new(&engine, &task(), options(Order::Events, 7));
    let (report, _) = stream.run(source, || PipelineRecorder, &mut Vec::new());
    assert!(matches!(report.end, StreamEnd::ReadFailed(_)), "{report:?}");
    assert_eq!((report.read, heard.verdicts()), (20, [20, 0, 0]));
}

/// Gives half a batch before it panics.
struct Halfway(crate::support::Heard);

impl Source for Halfway {
    fn poll(&mut self, _: &mut Context<'_>, events: &mut Events) -> Result<Reading, Error> {
        for payload in ["1", "2", "3"] {
            let event = Event::new(payload.as_bytes()).ack(self.0.ack(payload));
            events.push_event(event);
        }
        panic!("out of order");
    }
}

#[test]
fn what_a_panicking_source_gave_is_lost() {
    let engine = Engine::builder().task(TASK, echo).build().unwrap();
    let heard = crate::support::Heard::default();
    let stream = Stream::new(&engine, &task(), options(Order::Events, 7));
    let source = Halfway(heard.clone());
    let (report, _) = stream.run(source, || PipelineRecorder, &mut Vec::new());
    assert!(matches!(report.end, StreamEnd::ReadFailed(_)), "{report:?}");
    assert_adds_up(&report);
    assert_eq!((report.read, report.nacked), (3, 3));
    assert_eq!(heard.verdicts(), [0, 0, 3]);
}

/// A worker that is in a handler does not hold up who has waited long enough.
#[test]
fn a_handler_that_never_comes_back_is_left_behind() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (entered, has_entered) = std::sync::mpsc::channel();
    let handler = move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
        echo(request, response)?;
        if response.as_slice() == b"3" {
            entered.send(()).unwrap();
            // Until the test is over.
            let _ = held.lock().unwrap().recv();
        }
        Ok::<(), Failure>(())
    };
    let hands = Arc::new(Hands::default());
    let engine = Engine::builder().task(TASK, handler).workers(1);
    let engine = engine.clock(Arc::clone(&hands) as Arc<dyn Clock>);
    let engine = engine.build().unwrap();
    let (source, heard) = goes_on(6);
    let stream = Stream::new(&engine, &task(), options(Order::Completion, 2));
    let stopper = stream.stopper();
    let run = std::thread::spawn(move || {
        let (report, _) = stream.run(source, || PipelineRecorder, &mut Vec::new());
        report
    });
    has_entered.recv().unwrap();
    stopper.drain(seconds(60));
    while !run.is_finished() {
        hands.put(hands.nanos() + 100_000_000);
        std::thread::yield_now();
    }
    let report = run.join().unwrap();
    assert!(matches!(report.end, StreamEnd::Stopped), "{report:?}");
    assert_adds_up(&report);
    assert!(report.in_flight >= 1, "{report:?}");
    // Once the worker comes back, what it has is to be delivered again.
    drop(release);
    while heard.verdicts().iter().sum::<u64>() < heard.asked() {
        std::thread::yield_now();
    }
    let [done, rejected, nacked] = heard.verdicts();
    assert_eq!((done, rejected), (report.done, 0));
    assert_eq!(nacked, report.nacked + report.in_flight);
}

#[test]
fn a_sink_that_panics_leaves_nobody_behind() {
    struct Panics;
    impl Sink<Vec<PipelineEvent>> for Panics {
        fn write(&mut self, _: &mut Vec<PipelineEvent>) -> io::Result<()> {
            panic!("no more");
        }
    }
    let engine = Engine::builder().build().unwrap();
    let (source, heard) = goes_on(20);
    let stream = Stream::new(&engine, &wait(0), options(Order::Events, 10));
    let run = move || stream.run(source, || PipelineRecorder, &mut Panics);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    assert!(panicked.is_err());
    // The reader and the workers are on threads of their own.
    while engine.in_flight() > 0 || heard.verdicts()[2] < heard.asked() {
        std::thread::yield_now();
    }
    assert!(heard.asked() > 0);
    assert_eq!(heard.verdicts()[..2], [0, 0]);
}

/// Blocks its reader's thread for ever.
struct Stuck;

impl Source for Stuck {
    fn poll(&mut self, _: &mut Context<'_>, _: &mut Events) -> Result<Reading, Error> {
        loop {
            std::thread::park();
        }
    }
}

#[test]
fn a_source_that_never_comes_back_is_left_behind() {
    let engine = Engine::builder().build().unwrap();
    for drains in [true, false] {
        let stream = Stream::new(&engine, &wait(0), StreamOptions::default());
        let stopper = stream.stopper();
        let thread = std::thread::spawn(move || {
            let (report, _) = stream.run(Stuck, || PipelineRecorder, &mut Vec::new());
            report
        });
        if drains {
            stopper.drain(seconds(60));
        } else {
            stopper.stop();
        }
        let report = thread.join().unwrap();
        let end = if drains { "Drained" } else { "Stopped" };
        assert_eq!(format!("{:?}", report.end), end);
        assert_eq!(report.read, 0);
    }
}
