//! A pipeline: events from one channel, one execution each, results to another. The handler is asynchronous: while it
//! waits, other executions go on.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::thread;

use quickstep::engine::{Pipeline, StreamEnd, StreamOptions};
use quickstep::task::OwnedTaskRequest;
use quickstep::{Engine, Failure, StateMachine};

const DEFINITION: &str = r#"{
  "StartAt": "IsLarge",
  "States": {
    "IsLarge": {
      "Type": "Choice",
      "Choices": [{ "Variable": "$.total", "NumericGreaterThan": 900, "Next": "Check" }],
      "Default": "Accept"
    },
    "Check": {
      "Type": "Task",
      "Resource": "arn:aws:lambda:eu-central-1:000000000000:function:check",
      "Retry": [{ "ErrorEquals": ["Check.Busy"], "IntervalSeconds": 1, "MaxAttempts": 2 }],
      "ResultPath": "$.check",
      "Next": "Accept"
    },
    "Accept": { "Type": "Pass", "Parameters": { "accepted.$": "$.order" }, "End": true }
  }
}"#;

/// Stands for a call to a service.
async fn check(request: OwnedTaskRequest) -> Result<Vec<u8>, Failure> {
    tokio::task::yield_now().await;
    if request.attempt == 0 && request.input.contains(r#""order":1000,"#) {
        return Err(Failure::new("Check.Busy", "try again"));
    }
    Ok(br#"{"fine":true}"#.to_vec())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let machine = StateMachine::compile(DEFINITION).map_err(|problems| problems[0].to_string())?;
    let engine = Engine::builder()
        .task_async("arn:aws:lambda:*:function:check", check)
        .build()?;
    let pipeline = Pipeline::start(&engine, &machine, StreamOptions::default());

    let events = pipeline.events.clone();
    let producer = thread::spawn(move || {
        for order in 1..=1_000 {
            let event = format!(r#"{{"order":{order},"total":{order}}}"#);
            if events.send(event.into_bytes()).is_err() {
                return;
            }
        }
    });
    let mut accepted = 0;
    for event in pipeline.results.iter().take(1_000) {
        let result = event.result?;
        match result.output {
            Some(_) => accepted += 1,
            None => println!("event {}: {:?}", event.number, result.failure),
        }
    }
    println!("{accepted} orders accepted");
    if producer.join().is_err() {
        return Err("the producer panicked".into());
    }
    match pipeline.finish().end {
        StreamEnd::Finished => Ok(()),
        end => Err(format!("the pipeline ended early: {end:?}").into()),
    }
}
