//! A state machine in a program of one's own.

#![expect(clippy::print_stdout, reason = "an example prints")]

use quickstep::task::TaskRequest;
use quickstep::{Engine, Failure, StateMachine};

const DEFINITION: &str = r#"{
  "StartAt": "Quote",
  "States": {
    "Quote": {
      "Type": "Task",
      "Resource": "arn:aws:lambda:eu-central-1:000000000000:function:quote",
      "ResultPath": "$.quote",
      "End": true
    }
  }
}"#;

/// What it costs depends on the weight.
fn quote(request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
    let weight = quickstep::value::Name::new("kg");
    let weight = request.values().get(request.input(), &weight);
    let Some(kg) = weight.and_then(|kg| request.values().as_f64(kg)) else {
        return Err(Failure::new("Quote.NoWeight", request.input_json()));
    };
    response.extend_from_slice(format!(r#"{{"cost":{}}}"#, 4.5 + 0.75 * kg).as_bytes());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let machine = StateMachine::compile(DEFINITION).map_err(|problems| problems[0].to_string())?;
    let engine = Engine::builder()
        .task("arn:aws:lambda:*:function:quote", quote)
        .build()?;
    for input in [r#"{"order": 1, "kg": 2}"#, r#"{"order": 2}"#] {
        let result = engine.run(&machine, input.as_bytes())?;
        match (result.output, result.failure) {
            (Some(output), _) => println!("{}: {output}", result.status.as_str()),
            (None, failure) => println!("{}: {failure:?}", result.status.as_str()),
        }
    }
    Ok(())
}
