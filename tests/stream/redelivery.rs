//! What is delivered again, when, and what becomes of it in the end.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use quickstep::engine::{
    Ack, Clock, Delivery, DoneWhen, Error, Event, Events, Order, Outcome, PipelineRecorder,
    Reading, Source, Stream, StreamEnd, StreamOptions, Verdict,
};
use quickstep::task::TaskRequest;
use quickstep::{Engine, Failure};

use crate::support::{Given, Hands, Heard, TASK, assert_adds_up, run_to_end, seconds, task};

/// When each event was tried, in milliseconds, by its text.
type Attempts = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

/// A handler that fails as often as the event says: `[2, "x"]` succeeds in the third attempt.
fn stubborn(
    hands: &Arc<Hands>,
    attempts: &Attempts,
) -> impl Fn(&TaskRequest<'_>, &mut Vec<u8>) -> Result<(), Failure> + Send + Sync + 'static {
    let (hands, attempts) = (Arc::clone(hands), Arc::clone(attempts));
    move |request, response| {
        request.write_input(response);
        let text = String::from_utf8(response.clone()).unwrap();
        let mut attempts = attempts.lock().unwrap();
        let times = attempts.entry(text.clone()).or_default();
        times.push(hands.millis());
        let digits = text.trim_matches(['[', ']']).split(',').next().unwrap();
        if times.len() <= digits.parse::<usize>().unwrap() {
            return Err(Failure::new("Busy", "not yet"));
        }
        Ok(())
    }
}

fn options(done_when: DoneWhen, order: Order, in_flight: usize) -> StreamOptions {
    StreamOptions {
        in_flight,
        order,
        delivery: Delivery {
            done_when,
            deliveries_max: 4,
            delay: seconds(1),
            delay_max: seconds(3),
        },
        ..StreamOptions::default()
    }
}

#[test]
fn delays_double_and_the_last_delivery_is_the_last() {
    for (order, in_flight, workers) in [
        (Order::Events, 100, 1),
        (Order::Completion, 100, 2),
        (Order::Events, 3, 2),
        (Order::Completion, 1, 1),
    ] {
        let hands = Arc::new(Hands::default());
        let attempts = Attempts::default();
        let (engine, mut simulation) = Engine::builder()
            .task(TASK, stubborn(&hands, &attempts))
            .clock(Arc::clone(&hands) as Arc<dyn Clock>)
            .workers(workers)
            .build_simulated()
            .unwrap();
        let (source, heard) =
            Given::new([r#"[0,"a"]"#, r#"[2,"b"]"#, r#"[9,"c"]"#, "{", r#"[3,"d"]"#]);
        let dead = Arc::new(Mutex::new(Vec::new()));
        let graves = Arc::clone(&dead);
        let stream = Stream::new(
            &engine,
            &task(),
            options(DoneWhen::Succeeded, order, in_flight),
        )
        .dead_letters(move |letter| {
            let text = String::from_utf8(letter.payload.to_vec()).unwrap();
            let settled = letter.settled.clone();
            graves
                .lock()
                .unwrap()
                .push((letter.number, text, settled.outcome, settled.deliveries));
            Ok(())
        });
        let mut results = Vec::new();
        let stream = stream.simulate(source, || PipelineRecorder, &mut results);
        let report = run_to_end(stream, &mut simulation, &hands);
        assert!(matches!(report.end, StreamEnd::Finished), "{report:?}");
        assert_adds_up(&report);
        assert_eq!((report.read, report.done, report.rejected), (5, 3, 2));
        assert_eq!((report.redelivered, report.nacked), (2 + 3 + 3, 0));
        // Only the last attempt has a result, with the number of the event.
        let mut numbers: Vec<u64> = results.iter().map(|event| event.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        let attempts = attempts.lock().unwrap();
        let delays = |text: &str| -> Vec<u64> {
            let times = &attempts[text];
            times.windows(2).map(|pair| pair[1] - pair[0]).collect()
        };
        assert_eq!(delays(r#"[0,"a"]"#), [0; 0]);
        assert_eq!(delays(r#"[2,"b"]"#), [1_000, 2_000]);
        assert_eq!(delays(r#"[9,"c"]"#), [1_000, 2_000, 3_000]);
        assert_eq!(delays(r#"[3,"d"]"#), [1_000, 2_000, 3_000]);
        let mut dead = dead.lock().unwrap().clone();
        dead.sort_by_key(|dead| dead.0);
        let expected = [
            (3, r#"[9,"c"]"#.to_owned(), Outcome::Failed, 4),
            (4, "{".to_owned(), Outcome::Invalid, 1),
        ];
        assert_eq!(dead, expected);
        let heard = heard.once();
        assert_eq!(heard[r#"[2,"b"]"#].deliveries, 3);
        assert_eq!(heard[r#"[3,"d"]"#].verdict, Verdict::Done);
        let failure = heard[r#"[9,"c"]"#].failure.clone();
        assert_eq!(failure, Some(Failure::new("Busy", "not yet")));
        assert_eq!(heard["{"].verdict, Verdict::Rejected);
        assert_eq!(engine.in_flight(), 0);
        assert_eq!(engine.input_bytes(), 0);
    }
}

#[test]
fn a_policy_of_ones_own_decides() {
    let hands = Arc::new(Hands::default());
    let attempts = Attempts::default();
    let (engine, mut simulation) = Engine::builder()
        .task(TASK, stubborn(&hands, &attempts))
        .clock(Arc::clone(&hands) as Arc<dyn Clock>)
        .build_simulated()
        .unwrap();
    // Whatever is busy is done; and by default whatever has ended.
    for done_when in [
        DoneWhen::Says(Arc::new(|outcome, failure| {
            assert_eq!(outcome, Outcome::Failed);
            failure.is_some_and(|failure| failure.error_name() == "Busy")
        })),
        DoneWhen::Ended,
    ] {
        attempts.lock().unwrap().clear();
        let (source, heard) = Given::new(["[1]", "[0]"]);
        let options = options(done_when, Order::Events, 10);
        let mut results = Vec::new();
        let stream = Stream::new(&engine, &task(), options);
        let stream = stream.simulate(source, || PipelineRecorder, &mut results);
        let report = run_to_end(stream, &mut simulation, &hands);
        assert_eq!((report.done, report.redelivered), (2, 0));
        assert_eq!(report.outcome(Outcome::Failed), 1);
        assert_eq!(heard.verdicts(), [2, 0, 0]);
    }
}

/// Delivers again what it is told to, no sooner than it is told to.
struct Broker {
    hands: Arc<Hands>,
    /// When, how often it was delivered before, and what.
    queue: Arc<Mutex<Vec<(u64, u32, String)>>>,
    open: usize,
    settled: Arc<Mutex<usize>>,
}

impl Source for Broker {
    fn poll(
        &mut self,
        context: &mut std::task::Context<'_>,
        events: &mut Events,
    ) -> Result<Reading, Error> {
        if *self.settled.lock().unwrap() == self.open {
            return Ok(Reading::End);
        }
        let now = self.hands.millis();
        let mut queue = self.queue.lock().unwrap();
        queue.sort();
        while !events.is_full() && queue.first().is_some_and(|(at, ..)| *at <= now) {
            let (_, before, text) = queue.remove(0);
            let (again, settled) = (Arc::clone(&self.queue), Arc::clone(&self.settled));
            let (hands, waker) = (Arc::clone(&self.hands), context.waker().clone());
            let payload = text.clone();
            let ack = Ack::new(move |told| {
                assert_eq!(told.deliveries, before + 1);
                match told.verdict {
                    Verdict::Again { after } => {
                        let at = hands.millis() + after.as_millis() as u64;
                        again.lock().unwrap().push((at, before + 1, text));
                    }
                    Verdict::Done | Verdict::Rejected => *settled.lock().unwrap() += 1,
                }
                waker.wake_by_ref();
                Ok(())
            });
            let event = Event::new(payload.as_bytes()).delivered_before(before);
            events.push_event(event.redelivered_by_source().ack(ack));
        }
        if !events.is_empty() {
            return Ok(Reading::More);
        }
        let next = queue.first().map(|(at, ..)| at - now);
        Ok(Reading::Idle(next.map(std::time::Duration::from_millis)))
    }
}

#[test]
fn a_source_that_delivers_again_itself_is_told_the_delay() {
    let hands = Arc::new(Hands::default());
    let attempts = Attempts::default();
    let (engine, mut simulation) = Engine::builder()
        .task(TASK, stubborn(&hands, &attempts))
        .clock(Arc::clone(&hands) as Arc<dyn Clock>)
        .build_simulated()
        .unwrap();
    let texts = ["[0]", "[2]", "[7]"];
    let source = Broker {
        hands: Arc::clone(&hands),
        queue: Arc::new(Mutex::new(
            texts.iter().map(|text| (0, 0, (*text).into())).collect(),
        )),
        open: 3,
        settled: Arc::default(),
    };
    let options = options(DoneWhen::Succeeded, Order::Completion, 10);
    let mut results = Vec::new();
    let stream = Stream::new(&engine, &task(), options);
    let stream = stream.simulate(source, || PipelineRecorder, &mut results);
    let report = run_to_end(stream, &mut simulation, &hands);
    assert!(matches!(report.end, StreamEnd::Finished), "{report:?}");
    // Each delivery is an event of its own here: 1 + 3 + 4.
    assert_eq!((report.read, report.redelivered), (8, 0));
    assert_eq!((report.done, report.rejected, report.nacked), (2, 1, 5));
    let attempts = attempts.lock().unwrap();
    assert_eq!(attempts["[2]"], [0, 1_000, 3_000]);
    assert_eq!(attempts["[7]"], [0, 1_000, 3_000, 6_000]);
}

#[test]
fn dead_letters_that_cannot_be_written_end_the_stream() {
    let hands = Arc::new(Hands::default());
    let (engine, mut simulation) = Engine::builder()
        .clock(Arc::clone(&hands) as Arc<dyn Clock>)
        .build_simulated()
        .unwrap();
    let (source, heard) = Given::new(["{", "}", "[", "]"]);
    let mut results = Vec::new();
    let mut written = 0;
    let stream = Stream::new(&engine, &task(), StreamOptions::default()).dead_letters(move |_| {
        written += 1;
        match written {
            ..3 => Ok(()),
            _ => Err(io::Error::other("the disk is full")),
        }
    });
    let stream = stream.simulate(source, || PipelineRecorder, &mut results);
    let report = run_to_end(stream, &mut simulation, &hands);
    let StreamEnd::WriteFailed(error) = &report.end else {
        panic!("{report:?}");
    };
    assert_eq!(error.to_string(), "the disk is full");
    assert_adds_up(&report);
    // The first of those that could not be written ends it, and whoever comes after is not asked again.
    assert_eq!(report.read, 4);
    let [done, rejected, nacked] = heard.verdicts();
    assert_eq!((done, rejected, nacked), (0, 2, 2));
}

#[test]
fn acks_that_fail_are_in_the_report() {
    struct Deaf(u32);
    impl Source for Deaf {
        fn poll(
            &mut self,
            _: &mut std::task::Context<'_>,
            events: &mut Events,
        ) -> Result<Reading, Error> {
            for n in 0..self.0 {
                let ack = Ack::new(move |_| match n % 2 {
                    0 => Ok(()),
                    _ => Err(Error::of_source(format!("event {n}: gone away"))),
                });
                events.push_event(Event::new(b"1").ack(ack));
            }
            Ok(Reading::End)
        }
    }
    let hands = Arc::new(Hands::default());
    let (engine, mut simulation) = Engine::builder()
        .task(TASK, crate::support::echo)
        .clock(Arc::clone(&hands) as Arc<dyn Clock>)
        .build_simulated()
        .unwrap();
    let mut results = Vec::new();
    let stream = Stream::new(&engine, &task(), StreamOptions::default());
    let stream = stream.simulate(Deaf(6), || PipelineRecorder, &mut results);
    let report = run_to_end(stream, &mut simulation, &hands);
    assert_eq!((report.done, report.ack_failures), (6, 3));
    let error = report.ack_error.unwrap();
    assert_eq!(error.to_string(), "event 1: gone away");
}

#[test]
fn names_of_events() {
    struct Named(Heard);
    impl Source for Named {
        fn poll(
            &mut self,
            _: &mut std::task::Context<'_>,
            events: &mut Events,
        ) -> Result<Reading, Error> {
            for name in ["message-1", "no name", "message-3"] {
                let event = Event::new(b"1").name(name).ack(self.0.ack(name));
                events.push_event(event);
            }
            events.push(b"2");
            Ok(Reading::End)
        }
    }
    let hands = Arc::new(Hands::default());
    let (engine, mut simulation) = Engine::builder()
        .task(TASK, crate::support::echo)
        .clock(Arc::clone(&hands) as Arc<dyn Clock>)
        .build_simulated()
        .unwrap();
    let heard = Heard::default();
    let mut results = Vec::new();
    let stream = Stream::new(&engine, &task(), StreamOptions::default());
    let stream = stream.simulate(Named(heard.clone()), || PipelineRecorder, &mut results);
    let report = run_to_end(stream, &mut simulation, &hands);
    assert_eq!((report.read, report.done, report.rejected), (4, 3, 1));
    assert_adds_up(&report);
    let names = results.iter().map(|event| match &event.result {
        Ok(result) => result.name().to_string(),
        Err(error) => error.to_string(),
    });
    let names: Vec<String> = names.collect();
    assert_eq!(
        names[..2],
        ["message-1", "the name \"no name\" may not hold ' '"]
    );
    assert_eq!(names[2], "message-3");
    assert_eq!(names[3].len(), 36, "a UUID: {}", names[3]);
    assert_eq!(heard.once()["no name"].verdict, Verdict::Rejected);
    assert_eq!((engine.in_flight(), engine.input_bytes()), (0, 0));
}
