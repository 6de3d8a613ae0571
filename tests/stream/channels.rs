//! Channels of events: from threads and from futures.

use std::sync::Arc;
use std::thread;

use quickstep::Engine;
use quickstep::engine::{
    Clock, Message, Order, Outcome, PipelineRecorder, SendError, Stream, StreamOptions, Verdict,
    channel,
};

use crate::support::{
    Hands, Heard, TASK, assert_adds_up, echo, run_to_end, settle_down, task, wait,
};

#[test]
fn many_threads_each_with_a_receipt() {
    let engine = Engine::builder().task(TASK, echo).build().unwrap();
    let (events, source) = channel(3);
    let senders: Vec<_> = (0..4)
        .map(|thread| {
            let events = events.clone();
            thread::spawn(move || {
                for n in 0..100 {
                    let message = Message::new(format!("[{thread},{n}]"));
                    let receipt = events.submit(message.name(&format!("m-{n}"))).unwrap();
                    let settled = receipt.wait();
                    assert_eq!(settled.verdict, Verdict::Done);
                    assert_eq!(settled.outcome, Outcome::Succeeded);
                    assert_eq!(receipt.settled().map(|settled| settled.deliveries), Some(1));
                }
            })
        })
        .collect();
    drop(events);
    let options = StreamOptions {
        in_flight: 2,
        order: Order::Completion,
        ..StreamOptions::default()
    };
    let stream = Stream::new(&engine, &task(), options);
    let mut results = Vec::new();
    let (report, _) = stream.run(source, || PipelineRecorder, &mut results);
    senders
        .into_iter()
        .for_each(|sender| sender.join().unwrap());
    assert_eq!((report.read, report.done, results.len()), (400, 400, 400));
}

#[test]
fn futures_wait_for_room_and_for_receipts() {
    let engine = Engine::builder().task(TASK, echo).build().unwrap();
    let (events, source) = channel(1);
    let stream = Stream::new(&engine, &task(), StreamOptions::default());
    let runs = thread::spawn(move || {
        let (report, _) = stream.run(source, || PipelineRecorder, &mut Vec::new());
        report
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut senders = Vec::new();
        for n in 0..50 {
            let events = events.clone();
            senders.push(tokio::spawn(async move {
                let receipt = events.submit_async(n.to_string()).await.unwrap();
                events.send_async(format!("[{n}]")).await.unwrap();
                receipt.await.verdict
            }));
        }
        drop(events);
        for sender in senders {
            assert_eq!(sender.await.unwrap(), Verdict::Done);
        }
    });
    let report = runs.join().unwrap();
    assert_eq!((report.read, report.done), (100, 100));
}

#[test]
fn a_full_channel_and_a_closed_one() {
    let hands = Arc::new(Hands::default());
    let (engine, mut workers) = Engine::builder()
        .clock(Arc::clone(&hands) as Arc<dyn Clock>)
        .build_simulated()
        .unwrap();
    let (events, source) = channel(2);
    let heard = Heard::default();
    let message = |n: usize| {
        let text = n.to_string();
        Message::new(text.clone()).ack(heard.ack(&text))
    };
    let options = StreamOptions {
        in_flight: 3,
        ..StreamOptions::default()
    };
    let stream = Stream::new(&engine, &wait(60), options);
    let stopper = stream.stopper();
    let mut stream = stream.simulate(source, || PipelineRecorder, Vec::new());
    let mut taken = 0;
    // Three are in flight, and two in the channel.
    for n in 0..10 {
        match events.try_send(message(n)) {
            Ok(()) => taken += 1,
            Err(error) => {
                assert!(matches!(error, SendError::Full(_)));
                assert_eq!(error.into_message().payload(), n.to_string().as_bytes());
            }
        }
        settle_down(&mut stream, &mut workers);
    }
    assert_eq!((taken, engine.in_flight()), (5, 3));
    stopper.stop();
    let report = run_to_end(stream, &mut workers, &hands);
    assert_adds_up(&report);
    assert_eq!((report.read, report.nacked), (3, 3));
    // Messages that were not taken were dropped, and so were their acks: ten in all.
    assert_eq!(heard.verdicts(), [0, 0, 10]);
    let error = events.send("1").unwrap_err();
    assert!(matches!(error, SendError::Closed(_)), "{error}");
    assert_eq!(error.to_string(), "the stream has ended");
}
