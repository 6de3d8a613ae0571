//! Events as JSON: as `GetExecutionHistory` returns them, and as AWS's logs hold them.

use super::event::{Details, Failure, HistoryEvent};
use crate::asl::Resource;
use crate::value::{Name, Val, Values, escape};

/// What a log line says besides the event itself.
#[derive(Clone, Copy, Debug)]
pub struct LogContext<'a> {
    /// ARN of the execution.
    pub execution_arn: &'a str,
    /// `includeExecutionData`: whether inputs, outputs and parameters are in the log.
    pub include_execution_data: bool,
}

impl HistoryEvent<'_> {
    /// Appends the event as one member of `GetExecutionHistory`'s `events`.
    pub fn write_history(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        object.raw("timestamp", &seconds(self.timestamp.millis()));
        object.string("type", self.details.event_type());
        object.raw("id", &self.id.to_string());
        object.raw("previousEventId", &self.previous_id.to_string());
        if let Some(name) = details_member(&self.details) {
            object.object(name, |details| write_details(details, self, true));
        }
        object.end();
    }

    /// Appends the event as a line of an execution's log, without the line's end (AWS's guide, "Logging using
    /// CloudWatch Logs").
    pub fn write_log(&self, context: &LogContext<'_>, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        object.string("id", &self.id.to_string());
        object.string("type", self.details.event_type());
        object.object("details", |details| {
            write_details(details, self, context.include_execution_data);
        });
        object.string("previous_event_id", &self.previous_id.to_string());
        object.string("event_timestamp", &self.timestamp.millis().to_string());
        object.string("execution_arn", context.execution_arn);
        object.string("redrive_count", "0");
        object.end();
    }
}

/// Seconds with their milliseconds, as AWS's JSON protocol writes times.
fn seconds(millis: i64) -> String {
    format!(
        "{}.{:03}",
        millis.div_euclid(1_000),
        millis.rem_euclid(1_000)
    )
}

/// The member of a `HistoryEvent` that holds the details of its type; none for types that have none.
fn details_member(details: &Details<'_>) -> Option<&'static str> {
    Some(match details {
        Details::ExecutionStarted { .. } => "executionStartedEventDetails",
        Details::ExecutionSucceeded { .. } => "executionSucceededEventDetails",
        Details::ExecutionFailed { .. } => "executionFailedEventDetails",
        Details::ExecutionTimedOut { .. } => "executionTimedOutEventDetails",
        Details::ExecutionAborted { .. } => "executionAbortedEventDetails",
        Details::StateEntered { .. } => "stateEnteredEventDetails",
        Details::StateExited { .. } => "stateExitedEventDetails",
        Details::LambdaFunctionScheduled { .. } => "lambdaFunctionScheduledEventDetails",
        Details::LambdaFunctionSucceeded { .. } => "lambdaFunctionSucceededEventDetails",
        Details::LambdaFunctionFailed { .. } => "lambdaFunctionFailedEventDetails",
        Details::LambdaFunctionTimedOut { .. } => "lambdaFunctionTimedOutEventDetails",
        Details::ActivityScheduled { .. } => "activityScheduledEventDetails",
        Details::ActivityStarted { .. } => "activityStartedEventDetails",
        Details::ActivitySucceeded { .. } => "activitySucceededEventDetails",
        Details::ActivityFailed { .. } => "activityFailedEventDetails",
        Details::ActivityTimedOut { .. } => "activityTimedOutEventDetails",
        Details::TaskScheduled { .. } => "taskScheduledEventDetails",
        Details::TaskStarted { .. } => "taskStartedEventDetails",
        Details::TaskSubmitted { .. } => "taskSubmittedEventDetails",
        Details::TaskSucceeded { .. } => "taskSucceededEventDetails",
        Details::TaskFailed { .. } => "taskFailedEventDetails",
        Details::TaskTimedOut { .. } => "taskTimedOutEventDetails",
        Details::EvaluationFailed { .. } => "evaluationFailedEventDetails",
        Details::MapStateStarted { .. } => "mapStateStartedEventDetails",
        Details::MapIterationStarted { .. } => "mapIterationStartedEventDetails",
        Details::MapIterationSucceeded { .. } => "mapIterationSucceededEventDetails",
        Details::MapIterationFailed { .. } => "mapIterationFailedEventDetails",
        Details::MapIterationAborted { .. } => "mapIterationAbortedEventDetails",
        Details::StateAborted { .. }
        | Details::LambdaFunctionStarted
        | Details::ParallelStateStarted
        | Details::ParallelStateSucceeded
        | Details::ParallelStateFailed
        | Details::MapStateSucceeded
        | Details::MapStateFailed => return None,
    })
}

fn write_details(object: &mut Object<'_>, event: &HistoryEvent<'_>, data: bool) {
    let values = event.values;
    match event.details {
        Details::ExecutionStarted { input, role_arn } => {
            object.input_if(data, event, input);
            object.string("roleArn", role_arn);
        }
        Details::ExecutionSucceeded { output }
        | Details::LambdaFunctionSucceeded { output }
        | Details::ActivitySucceeded { output } => object.value_if(data, values, "output", output),
        Details::ExecutionFailed { failure }
        | Details::ExecutionTimedOut { failure }
        | Details::ExecutionAborted { failure }
        | Details::LambdaFunctionFailed { failure }
        | Details::LambdaFunctionTimedOut { failure }
        | Details::ActivityFailed { failure }
        | Details::ActivityTimedOut { failure } => object.failure(failure),
        Details::StateEntered { name, input, .. } => {
            object.input_if(data, event, input);
            object.string("name", name);
        }
        Details::StateExited {
            name,
            output,
            assigned,
            ..
        } => {
            object.string("name", name);
            object.value_if(data, values, "output", output);
            if data && !assigned.is_empty() {
                object.object("assignedVariables", |variables| {
                    for &(variable, val) in assigned {
                        variables.string(variable, &values.to_json(val));
                    }
                });
                object.raw("assignedVariablesDetails", r#"{"truncated":false}"#);
            }
        }
        Details::LambdaFunctionScheduled { .. }
        | Details::ActivityScheduled { .. }
        | Details::ActivityStarted { .. }
        | Details::TaskScheduled { .. }
        | Details::TaskStarted { .. }
        | Details::TaskSubmitted { .. }
        | Details::TaskSucceeded { .. }
        | Details::TaskFailed { .. }
        | Details::TaskTimedOut { .. } => write_task_details(object, event, data),
        Details::EvaluationFailed {
            failure,
            location,
            state,
        } => object.evaluation_failed(failure, location, state),
        Details::MapStateStarted { length } => object.raw("length", &length.to_string()),
        Details::MapIterationStarted { name, index }
        | Details::MapIterationSucceeded { name, index }
        | Details::MapIterationFailed { name, index }
        | Details::MapIterationAborted { name, index } => {
            object.string("name", name);
            object.raw("index", &index.to_string());
        }
        Details::StateAborted { .. }
        | Details::LambdaFunctionStarted
        | Details::ParallelStateStarted
        | Details::ParallelStateSucceeded
        | Details::ParallelStateFailed
        | Details::MapStateSucceeded
        | Details::MapStateFailed => {}
    }
}

/// The details of events that only tasks have.
fn write_task_details(object: &mut Object<'_>, event: &HistoryEvent<'_>, data: bool) {
    let values = event.values;
    match event.details {
        Details::LambdaFunctionScheduled {
            resource,
            input,
            timeout_seconds,
        } => {
            object.string("resource", resource);
            object.value_if(data, values, "input", input);
            object.seconds("timeoutInSeconds", timeout_seconds);
        }
        Details::ActivityScheduled {
            resource,
            input,
            timeout_seconds,
            heartbeat_seconds,
        } => {
            object.string("resource", resource);
            object.value_if(data, values, "input", input);
            object.seconds("timeoutInSeconds", timeout_seconds);
            object.seconds("heartbeatInSeconds", heartbeat_seconds);
        }
        Details::ActivityStarted {
            worker_name: Some(name),
        } => object.string("workerName", name),
        Details::TaskScheduled {
            resource,
            parameters,
            region,
            timeout_seconds,
            heartbeat_seconds,
            credentials,
        } => {
            object.resource(resource);
            object.string("region", region);
            if data {
                object.string("parameters", &values.to_json(parameters));
            }
            object.seconds("timeoutInSeconds", timeout_seconds);
            object.seconds("heartbeatInSeconds", heartbeat_seconds);
            if let Some(credentials) = credentials {
                object.object("taskCredentials", |member| {
                    let role_arn = values.get(credentials, &Name::new("RoleArn"));
                    if let Some(role_arn) = role_arn.and_then(|val| values.string(val)) {
                        member.string("roleArn", &role_arn);
                    }
                });
            }
        }
        Details::TaskStarted { resource } => object.resource(resource),
        Details::TaskSubmitted { resource, output }
        | Details::TaskSucceeded { resource, output } => {
            object.resource(resource);
            object.value_if(data, values, "output", output);
        }
        Details::TaskFailed { resource, failure } | Details::TaskTimedOut { resource, failure } => {
            object.resource(resource);
            object.failure(failure);
        }
        _ => {}
    }
}

/// A JSON object that is being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut Vec<u8>) -> Object<'a> {
        Object {
            out,
            separator: b'{',
        }
    }

    fn name(&mut self, name: &str) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(escape(name).as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
    }

    fn string(&mut self, name: &str, text: &str) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(escape(text).as_bytes());
        self.out.push(b'"');
    }

    fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut inner = Object::new(self.out);
        write(&mut inner);
        inner.end();
    }

    fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    /// A document as JSON text in a string, and its `…Details`.
    fn value_if(&mut self, include: bool, values: Values<'_>, name: &str, val: Val) {
        if include {
            self.string(name, &values.to_json(val));
            self.raw(&format!("{name}Details"), r#"{"truncated":false}"#);
        }
    }

    /// The input of the execution or of a state.
    fn input_if(&mut self, include: bool, event: &HistoryEvent<'_>, input: Val) {
        match event.original {
            Some((val, text)) if include && val == input => {
                self.string("input", text);
                self.raw("inputDetails", r#"{"truncated":false}"#);
            }
            _ => self.value_if(include, event.values, "input", input),
        }
    }

    fn seconds(&mut self, name: &str, seconds: Option<u64>) {
        if let Some(seconds) = seconds {
            self.raw(name, &seconds.to_string());
        }
    }

    fn evaluation_failed(&mut self, failure: &Failure, location: Option<&str>, state: &str) {
        self.failure(failure);
        if let Some(location) = location {
            self.string("location", location);
        }
        self.string("state", state);
    }

    fn failure(&mut self, failure: &Failure) {
        if let Some(error) = &failure.error {
            self.string("error", error);
        }
        if let Some(cause) = &failure.cause {
            self.string("cause", cause);
        }
    }

    fn resource(&mut self, resource: &Resource) {
        self.string("resourceType", &resource.resource_type());
        self.string("resource", &resource.resource());
    }
}
