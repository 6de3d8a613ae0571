//! Random streams: sources, machines, limits, policies and ends in random orders of turns. Whatever happens, an event is
//! settled once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use quickstep::engine::{
    Clock, Delivery, DoneWhen, Error, Limits, Order, PipelineRecorder, Reading, Stream,
    StreamOptions,
};
use quickstep::task::TaskRequest;
use quickstep::{Engine, Failure, StateMachine};

use crate::support::{Given, Hands, TASK, assert_adds_up, run_to_end, seconds};

/// How a stream comes to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    OfItself,
    SourceFails,
    Drained(u64),
    Stopped,
    EngineShutDown,
}

#[derive(Clone, Debug)]
struct Plan {
    events: Vec<String>,
    order: Order,
    in_flight: usize,
    in_flight_bytes: usize,
    executions: usize,
    workers: usize,
    deliveries_max: u32,
    done_when_ended: bool,
    has_dead_letters: bool,
    end: End,
    /// When it ends so, in turns.
    turns: Vec<u8>,
    seed: u64,
}

impl Plan {
    fn options(&self) -> StreamOptions {
        let done_when = if self.done_when_ended {
            DoneWhen::Ended
        } else {
            DoneWhen::Succeeded
        };
        StreamOptions {
            in_flight: self.in_flight,
            in_flight_bytes: self.in_flight_bytes,
            order: self.order,
            delivery: Delivery {
                done_when,
                deliveries_max: self.deliveries_max,
                delay: seconds(2),
                ..Delivery::default()
            },
        }
    }
}

/// An event: no JSON, one that fails at times, or one that waits before.
fn event() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("{".to_owned()),
        3 => (0_u32..4).prop_map(|fails| format!(r#"{{"fails":{fails},"wait":0}}"#)),
        2 => (0_u32..4, 1_u32..20)
            .prop_map(|(fails, wait)| format!(r#"{{"fails":{fails},"wait":{wait}}}"#)),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let end = prop_oneof![
        4 => Just(End::OfItself),
        1 => Just(End::SourceFails),
        2 => (0_u64..30).prop_map(End::Drained),
        1 => Just(End::Stopped),
        1 => Just(End::EngineShutDown),
    ];
    let sizes = (1_usize..20, 1_usize..200, 1_usize..12, 1_usize..4);
    (
        prop::collection::vec(event(), 0..60),
        any::<bool>(),
        sizes,
        (1_u32..5, any::<bool>(), any::<bool>()),
        end,
        prop::collection::vec(any::<u8>(), 0..60),
        any::<u64>(),
    )
        .prop_map(
            |(events, in_order, sizes, delivery, end, turns, seed)| Plan {
                // Each its own, so that it is known which is which.
                events: events
                    .into_iter()
                    .enumerate()
                    .map(|(n, event)| event.replacen('{', &format!(r#"{{"n":{n},"#), 1))
                    .collect(),
                order: if in_order {
                    Order::Events
                } else {
                    Order::Completion
                },
                in_flight: sizes.0,
                in_flight_bytes: sizes.1,
                executions: sizes.2,
                workers: sizes.3,
                deliveries_max: delivery.0,
                done_when_ended: delivery.1,
                has_dead_letters: delivery.2,
                end,
                turns,
                seed,
            },
        )
}

fn machine() -> StateMachine {
    StateMachine::compile(&format!(
        r#"{{"StartAt":"W","States":{{
          "W":{{"Type":"Wait","SecondsPath":"$.wait","Next":"T"}},
          "T":{{"Type":"Task","Resource":"{TASK}","End":true}}}}}}"#
    ))
    .unwrap()
}

/// Fails in as many turns of four as the event says, and panics in some of those.
fn moody() -> impl Fn(&TaskRequest<'_>, &mut Vec<u8>) -> Result<(), Failure> + Send + Sync + 'static
{
    let calls = AtomicU64::new(0);
    move |request, response| {
        request.write_input(response);
        let text = String::from_utf8(response.clone()).unwrap();
        let fails = text.split(r#""fails":"#).nth(1).unwrap();
        let fails: u64 = fails[..1].parse().unwrap();
        match calls.fetch_add(7, Ordering::SeqCst) % 4 {
            call if call >= fails => Ok(()),
            0 => Err(Failure::new("Moody", "not now")),
            _ => panic!("moody"),
        }
    }
}

fn check(plan: &Plan) {
    let hands = Arc::new(Hands::default());
    let limits = Limits {
        executions: plan.executions,
        ..Limits::default()
    };
    let (engine, mut workers) = Engine::builder()
        .task(TASK, moody())
        .clock(Arc::clone(&hands) as Arc<dyn Clock>)
        .limits(limits)
        .seed(plan.seed)
        .workers(plan.workers)
        .build_simulated()
        .unwrap();
    let (mut source, heard) = Given::new(&plan.events);
    source.at_once = 1 + plan.seed as usize % 9;
    source.in_flight_max = (plan.in_flight as u64, plan.in_flight_bytes as u64);
    if plan.end == End::SourceFails {
        source.end = || Err::<Reading, _>(Error::of_source("gone"));
    }
    let mut stream = Stream::new(&engine, &machine(), plan.options());
    let buried = Arc::new(AtomicU64::new(0));
    if plan.has_dead_letters {
        let graves = Arc::clone(&buried);
        stream = stream.dead_letters(move |letter| {
            assert!(!letter.payload.is_empty());
            graves.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
    }
    let stopper = stream.stopper();
    let mut results = Vec::new();
    let mut stream = stream.simulate(source, || PipelineRecorder, &mut results);
    for turn in &plan.turns {
        match turn % 4 {
            0 => drop(stream.turn()),
            1 => hands.put(hands.nanos() + 500_000_000),
            _ => drop(workers.turn(usize::from(*turn) % plan.workers)),
        }
    }
    match plan.end {
        End::OfItself | End::SourceFails => {}
        End::Drained(patience) => stopper.drain(seconds(patience)),
        End::Stopped => stopper.stop(),
        End::EngineShutDown => drop(engine.shutdown(std::time::Duration::ZERO)),
    }
    let report = run_to_end(stream, &mut workers, &hands);
    assert_adds_up(&report);
    assert_eq!(report.in_flight, 0);
    // Once each: what the source has heard is what the report says.
    assert_eq!(
        heard.verdicts(),
        [report.done, report.rejected, report.nacked]
    );
    assert_eq!(results.len() as u64, report.done + report.rejected);
    if plan.has_dead_letters {
        assert_eq!(buried.load(Ordering::SeqCst), report.rejected);
    }
    let mut numbers: Vec<u64> = results.iter().map(|event| event.number).collect();
    if plan.order == Order::Events && report.redelivered == 0 {
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), results.len(), "each has one result");
    if matches!(plan.end, End::OfItself | End::SourceFails) {
        assert_eq!((report.read, report.nacked), (plan.events.len() as u64, 0));
    }
    assert_eq!((engine.in_flight(), engine.input_bytes()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_settled_once(plan in plan()) {
        check(&plan);
    }
}
