//! `TestState`: one state, run on its own, with what its data goes through.
//!
//! The state runs in a small machine around it, whose other states end at once (`machine`). What the data looks like
//! after each of the state's fields is found by running it again with the later fields left out (`stages`), on the same
//! interpreter: so there is one truth of what a field does. A Task without a mock is done by its handler first, and then
//! the test goes on with the answer as if it had been mocked. Mocked results are held against the shapes of some services
//! (`shapes`). The context object that a test gives, or the one that AWS makes up, is a variable to the state (`expression`).

mod expression;
mod machine;
mod request;
mod shapes;
mod stages;

use super::super::app::App;
use super::super::error::ApiError;
use super::super::request::Fields;
use super::super::write::object;
use super::Reply;
use crate::asl::{self, Code, MachineType, Pattern, Resource, Severity};
use crate::history::Failure;
use machine::{Ending, Ran, Scene};
use request::{Level, Mock, Test};

/// A test that has to wait for a handler.
#[derive(Debug)]
pub(in super::super) struct Waiting<'i> {
    test: Test<'i>,
    kind: String,
}

/// Does a test.
pub(super) fn test<'i>(app: &App, fields: &Fields<'_, 'i>) -> Result<Reply<'i>, ApiError> {
    let mut test = Test::read(fields)?;
    let kind = check(&test)?;
    if kind == "Task" && test.mock.is_none() {
        return Ok(Reply::Test(Box::new(Waiting { test, kind })));
    }
    Ok(Reply::Now(done(app, &mut test, &kind)?))
}

/// Has the handler do its work, and then does the test.
pub(super) async fn finish(app: &App, waiting: Waiting<'_>) -> Result<Vec<u8>, ApiError> {
    let Waiting { mut test, kind } = waiting;
    let definition = Scene::new(app, &test).work();
    let ended = app
        .executor
        .run_alone(&definition, test.name(), test.input)
        .await?;
    test.mock = Some(match (ended.output, ended.failure) {
        (Some(output), _) => Mock::Result(String::from(output).into()),
        (None, failure) => Mock::Error(failure.unwrap_or_default()),
    });
    done(app, &mut test, &kind)
}

fn done(app: &App, test: &mut Test<'_>, kind: &str) -> Result<Vec<u8>, ApiError> {
    if kind == "Map" && stages::exceeds_tolerance(&Scene::new(app, test)) {
        let cause = "The specified tolerated failure threshold was exceeded";
        let failure = Failure::new("States.ExceedToleratedFailureThreshold", cause);
        test.mock = Some(Mock::Error(failure));
    }
    let scene = Scene::new(app, test);
    let state = machine::runnable(&test.state, kind);
    let ran = scene
        .run(&state, &machine::targets(&test.state))?
        .map_err(ApiError::validation)?;
    let inspection = match test.level {
        Level::Info => Vec::new(),
        Level::Debug | Level::Trace => stages::inspect(&scene, kind, &ran),
    };
    Ok(answer(test, &ran, &inspection))
}

fn answer(test: &Test<'_>, ran: &Ran, inspection: &[(&'static str, String)]) -> Vec<u8> {
    object(|o| {
        if let Some(failure) = &ran.failure {
            o.maybe("error", failure.error.as_deref());
            o.maybe("cause", failure.cause.as_deref());
        }
        if test.level != Level::Info {
            o.object("inspectionData", |o| {
                for (name, text) in inspection {
                    match *name {
                        "maxConcurrency" | "toleratedFailureCount" => {
                            o.raw(name, text.as_bytes());
                        }
                        "toleratedFailurePercentage" => o.raw(name, text.as_bytes()),
                        _ => o.string(name, text),
                    }
                }
                o.maybe("variables", ran.variables(test.variables).as_deref());
                stages::error_details(o, &test.state, ran);
            });
        }
        let status = match &ran.ending {
            Ending::Left { output, next } => {
                o.maybe("nextState", next.as_deref());
                o.string("output", output);
                match ran.failure {
                    None => "SUCCEEDED",
                    Some(_) => "CAUGHT_ERROR",
                }
            }
            Ending::Failed => "FAILED",
            Ending::Retried { .. } => "RETRIABLE",
        };
        o.string("status", status);
    })
}

const NOT_ALONE: &str = "TestState API does not support Map or Parallel states. Supported state types include: [Task, Wait, Pass, Succeed, Fail, Choice]";

/// Whether the definition is one, and the mock goes with it; returns the type of the state.
fn check(test: &Test<'_>) -> Result<String, ApiError> {
    let reading = asl::read(&test.whole(), MachineType::Standard);
    let lone = test.state_name.is_none();
    let problems: Vec<_> = reading
        .diagnostics
        .into_iter()
        .filter(|d| d.severity == Severity::Error)
        // Where a lone state leads to is not there.
        .filter(|d| {
            let of_others = [Code::MissingTransitionTarget, Code::MissingEndState];
            !(lone && of_others.contains(&d.code))
        })
        .map(|mut d| {
            if lone && let Some(rest) = d.pointer.strip_prefix(&test.pointer()) {
                d.pointer = if rest.is_empty() { "/" } else { rest }.to_owned();
            }
            d
        })
        .collect();
    if !problems.is_empty() {
        let message = asl::aws_message(&problems);
        return Err(ApiError::new("InvalidDefinition", message));
    }
    let Some(kind) = test.text_field("Type") else {
        return Err(ApiError::validation("State not found in definition"));
    };
    match (&test.mock, kind.as_str()) {
        (None, "Map" | "Parallel") => Err(ApiError::new("InvalidDefinition", NOT_ALONE)),
        (None, "Task") if waits(test) => Err(ApiError::validation(
            "A Task that waits for a job or a callback can be tested with a mock only.",
        )),
        (None, _) | (Some(Mock::Error(_)), "Task" | "Map" | "Parallel") => Ok(kind),
        (Some(Mock::Result(result)), "Task" | "Map" | "Parallel") => {
            check_result(test, &kind, result)?;
            Ok(kind)
        }
        (Some(_), _) => Err(ApiError::validation(format!(
            "State type '{kind}' is not supported when a mock is specified"
        ))),
    }
}

/// True for `.sync` and `.waitForTaskToken`.
fn waits(test: &Test<'_>) -> bool {
    let resource = test.text_field("Resource").unwrap_or_default();
    match Resource::parse(&resource) {
        Ok(Resource::Service(integration)) => integration.pattern != Pattern::RequestResponse,
        Ok(Resource::Activity { .. }) => true,
        Ok(Resource::Lambda { .. }) | Err(_) => false,
    }
}

/// What a Map or a Parallel gives is an array.
fn check_result(test: &Test<'_>, kind: &str, result: &str) -> Result<(), ApiError> {
    let Ok(parsed) = serde_json::from_str::<serde_json::Value>(result) else {
        return Err(ApiError::validation("Mocked result must be valid JSON."));
    };
    if kind == "Task" {
        let resource = test.text_field("Resource").unwrap_or_default();
        return match Resource::parse(&resource) {
            // The others' results are those of a job, or of whoever has the token.
            Ok(Resource::Service(service)) if service.pattern == Pattern::RequestResponse => {
                let checked =
                    shapes::check(&service.service, &service.action, &parsed, test.validation);
                checked.map_err(ApiError::validation)
            }
            _ => Ok(()),
        };
    }
    if test.state.contains_key("ResultWriter") {
        return match parsed.is_object() {
            true => Ok(()),
            false => Err(ApiError::validation("Mocked result must be a JSON object.")),
        };
    }
    let Some(items) = parsed.as_array() else {
        return Err(ApiError::validation("Mocked result must be an array."));
    };
    let branches = test.state.get("Branches").and_then(|branches| {
        let branches: Vec<serde::de::IgnoredAny> = serde_json::from_str(branches.get()).ok()?;
        Some(branches.len())
    });
    if kind == "Parallel" && branches != Some(items.len()) {
        return Err(ApiError::validation(
            "Mocked result must contain the same number of items as number of Parallel branches.",
        ));
    }
    Ok(())
}
