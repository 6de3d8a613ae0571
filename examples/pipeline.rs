//! A pipeline that loses nothing: events come through a channel, each with a receipt; what fails is delivered again, and in
//! the end handed over as a dead letter; the service shuts down without leaving work half done.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use quickstep::engine::{
    Delivery, DoneWhen, Message, Order, PipelineRecorder, Stream, StreamOptions, Verdict, channel,
};
use quickstep::task::TaskRequest;
use quickstep::{Engine, Failure, StateMachine};

const DEFINITION: &str = r#"{
  "StartAt": "Charge",
  "States": {
    "Charge": {
      "Type": "Task",
      "Resource": "arn:aws:lambda:eu-central-1:000000000000:function:charge",
      "ResultPath": "$.charge",
      "End": true
    }
  }
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let machine = StateMachine::compile(DEFINITION).map_err(|problems| problems[0].to_string())?;
    // Stands for a service that is down at first, and does not like one of the orders.
    let calls = Arc::new(AtomicU32::new(0));
    let charge = move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
        if calls.fetch_add(1, Ordering::Relaxed) < 3 {
            return Err(Failure::new("Card.Unreachable", "try again"));
        }
        request.write_input(response);
        if response.starts_with(br#"{"order":7,"#) {
            return Err(Failure::new("Card.Declined", "no funds"));
        }
        response.clear();
        response.extend_from_slice(br#"{"paid":true}"#);
        Ok(())
    };
    let engine = Engine::builder()
        .task("arn:aws:lambda:*:function:charge", charge)
        .build()?;

    // Three deliveries, 50 ms and 100 ms apart.
    let options = StreamOptions {
        in_flight: 100,
        order: Order::Completion,
        delivery: Delivery {
            done_when: DoneWhen::Succeeded,
            deliveries_max: 3,
            delay: Duration::from_millis(50),
            ..Delivery::default()
        },
        ..StreamOptions::default()
    };
    let (events, source) = channel(16);
    let stream = Stream::new(&engine, &machine, options).dead_letters(|letter| {
        let event = String::from_utf8_lossy(letter.payload);
        let why = letter.settled.failure.as_ref();
        let why = why.map_or_else(String::new, ToString::to_string);
        println!(
            "given up after {} deliveries: {event}: {why}",
            letter.settled.deliveries
        );
        Ok(())
    });
    let stopper = stream.stopper();

    // A consumer of a queue would acknowledge its message where this waits for the receipt; `receipt.await` does as well.
    let consumer = thread::spawn(move || {
        let receipts = (1..=10).map_while(|order| {
            let message = Message::new(format!(r#"{{"order":{order},"total":9.90}}"#));
            events.submit(message.name(&format!("order-{order}"))).ok()
        });
        let receipts: Vec<_> = receipts.collect();
        let settled = receipts.iter().map(|receipt| receipt.wait());
        let done = settled.filter(|settled| settled.verdict == Verdict::Done);
        let done = done.count();
        // As on SIGTERM: nothing more is read, and what is in flight may take five seconds.
        stopper.drain(Duration::from_secs(5));
        done
    });
    let mut results = Vec::new();
    let (report, _) = stream.run(source, || PipelineRecorder, &mut results);
    let done = consumer.join().map_err(|_| "the consumer panicked")?;
    println!(
        "{} read, {done} acknowledged, {} given up, {} delivered again, {} left",
        report.read,
        report.rejected,
        report.redelivered,
        report.nacked + report.in_flight
    );
    Ok(())
}
