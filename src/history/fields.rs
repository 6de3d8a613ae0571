//! What belongs to an event, told field by field: the one order in which JSON is written and logs are recorded.

use super::event::{Details, Failure, HistoryEvent};
use crate::asl::Resource;
use crate::value::{Name, Val};

macro_rules! fields {
    ($($name:ident = $code:literal $text:literal,)*) => {
        /// A member of an event's details.
        ///
        /// The numbers are those of the compact log's format: once given they do not change.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Field {
            $($name = $code,)*
        }

        impl Field {
            /// AWS's name.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Field::$name => $text,)*
                }
            }

            /// The field that has this number.
            pub(crate) const fn from_code(code: u8) -> Option<Field> {
                match code {
                    $($code => Some(Field::$name),)*
                    _ => None,
                }
            }
        }
    };
}

fields! {
    Input = 1 "input",
    Output = 2 "output",
    Parameters = 3 "parameters",
    Name = 4 "name",
    RoleArn = 5 "roleArn",
    Error = 6 "error",
    Cause = 7 "cause",
    Resource = 8 "resource",
    ResourceType = 9 "resourceType",
    Region = 10 "region",
    TimeoutInSeconds = 11 "timeoutInSeconds",
    HeartbeatInSeconds = 12 "heartbeatInSeconds",
    WorkerName = 13 "workerName",
    Length = 14 "length",
    Index = 15 "index",
    AssignedVariables = 16 "assignedVariables",
    TaskCredentials = 17 "taskCredentials",
    // Of `EvaluationFailed`, with `error` and `cause`.
    Location = 18 "location",
    State = 19 "state",
    RedriveCount = 20 "redriveCount",
}

impl Field {
    /// The member that says whether the field was cut.
    pub(crate) const fn details_name(self) -> Option<&'static str> {
        match self {
            Field::Input => Some("inputDetails"),
            Field::Output => Some("outputDetails"),
            _ => None,
        }
    }
}

/// Takes in the fields of an event.
pub(crate) trait Fields {
    fn text(&mut self, field: Field, text: &str);

    fn number(&mut self, field: Field, number: u64);

    /// A value, shown as its JSON text.
    fn document(&mut self, field: Field, val: Val);

    /// A value as it was sent.
    fn original(&mut self, field: Field, text: &str);

    /// The variables that a state has set.
    fn variables(&mut self, variables: &[(&str, Val)]);

    /// A Task has credentials; perhaps a role.
    fn credentials(&mut self, role_arn: Option<&str>);
}

impl HistoryEvent<'_> {
    /// Tells the fields of the event; those of `includeExecutionData` only if `data` is wanted.
    #[inline(always)]
    pub(crate) fn tell(&self, data: bool, fields: &mut impl Fields) {
        match self.details {
            Details::ExecutionStarted { input, role_arn } => {
                self.tell_input(data, input, fields);
                fields.text(Field::RoleArn, role_arn);
            }
            Details::ExecutionSucceeded { output }
            | Details::LambdaFunctionSucceeded { output }
            | Details::ActivitySucceeded { output } => {
                if data {
                    fields.document(Field::Output, output);
                }
            }
            Details::ExecutionFailed { failure }
            | Details::ExecutionTimedOut { failure }
            | Details::ExecutionAborted { failure }
            | Details::LambdaFunctionFailed { failure }
            | Details::LambdaFunctionTimedOut { failure }
            | Details::ActivityFailed { failure }
            | Details::ActivityTimedOut { failure } => tell_failure(failure, fields),
            Details::ExecutionRedriven { count } => {
                fields.number(Field::RedriveCount, count.into())
            }
            Details::StateEntered { name, input, .. } => {
                self.tell_input(data, input, fields);
                fields.text(Field::Name, name);
            }
            Details::StateExited {
                name,
                output,
                assigned,
                ..
            } => {
                fields.text(Field::Name, name);
                tell_exit(data, output, assigned, fields);
            }
            Details::LambdaFunctionScheduled { .. }
            | Details::ActivityScheduled { .. }
            | Details::ActivityStarted { .. }
            | Details::TaskScheduled { .. }
            | Details::TaskStarted { .. }
            | Details::TaskSubmitted { .. }
            | Details::TaskSucceeded { .. }
            | Details::TaskFailed { .. }
            | Details::TaskTimedOut { .. }
            | Details::TaskSubmitFailed { .. } => self.tell_task(data, fields),
            Details::EvaluationFailed {
                failure,
                location,
                state,
            } => tell_evaluation(failure, location, state, fields),
            Details::MapStateStarted { length } => fields.number(Field::Length, length),
            Details::MapIterationStarted { name, index }
            | Details::MapIterationSucceeded { name, index }
            | Details::MapIterationFailed { name, index }
            | Details::MapIterationAborted { name, index } => {
                fields.text(Field::Name, name);
                fields.number(Field::Index, index);
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

    /// The input of the execution or of a state.
    #[inline(always)]
    fn tell_input(&self, data: bool, input: Val, fields: &mut impl Fields) {
        match self.original {
            Some((val, text)) if data && val == input => fields.original(Field::Input, text),
            _ if data => fields.document(Field::Input, input),
            _ => {}
        }
    }

    /// The fields of events that only tasks have.
    fn tell_task(&self, data: bool, fields: &mut impl Fields) {
        match self.details {
            Details::LambdaFunctionScheduled {
                resource,
                input,
                timeout_seconds,
            } => {
                fields.text(Field::Resource, resource);
                if data {
                    fields.document(Field::Input, input);
                }
                tell_number(Field::TimeoutInSeconds, timeout_seconds, fields);
            }
            Details::ActivityScheduled {
                resource,
                input,
                timeout_seconds,
                heartbeat_seconds,
            } => {
                fields.text(Field::Resource, resource);
                if data {
                    fields.document(Field::Input, input);
                }
                tell_number(Field::TimeoutInSeconds, timeout_seconds, fields);
                tell_number(Field::HeartbeatInSeconds, heartbeat_seconds, fields);
            }
            Details::ActivityStarted {
                worker_name: Some(name),
            } => fields.text(Field::WorkerName, name),
            Details::TaskScheduled {
                resource,
                parameters,
                region,
                timeout_seconds,
                heartbeat_seconds,
                credentials,
            } => {
                tell_resource(resource, fields);
                fields.text(Field::Region, region);
                if data {
                    fields.document(Field::Parameters, parameters);
                }
                tell_number(Field::TimeoutInSeconds, timeout_seconds, fields);
                tell_number(Field::HeartbeatInSeconds, heartbeat_seconds, fields);
                if let Some(credentials) = credentials {
                    let role_arn = self.values.get(credentials, &Name::new("RoleArn"));
                    let role_arn = role_arn.and_then(|val| self.values.string(val));
                    fields.credentials(role_arn.as_deref());
                }
            }
            Details::TaskStarted { resource } => tell_resource(resource, fields),
            Details::TaskSubmitted { resource, output }
            | Details::TaskSucceeded { resource, output } => {
                tell_resource(resource, fields);
                if data {
                    fields.document(Field::Output, output);
                }
            }
            Details::TaskFailed { resource, failure }
            | Details::TaskTimedOut { resource, failure }
            | Details::TaskSubmitFailed { resource, failure } => {
                tell_resource(resource, fields);
                tell_failure(failure, fields);
            }
            _ => {}
        }
    }
}

fn tell_number(field: Field, number: Option<u64>, fields: &mut impl Fields) {
    if let Some(number) = number {
        fields.number(field, number);
    }
}

/// What a state ended with.
#[inline(always)]
fn tell_exit(data: bool, output: Val, assigned: &[(&str, Val)], fields: &mut impl Fields) {
    if data {
        fields.document(Field::Output, output);
        if !assigned.is_empty() {
            fields.variables(assigned);
        }
    }
}

fn tell_evaluation(
    failure: &Failure,
    location: Option<&str>,
    state: &str,
    fields: &mut impl Fields,
) {
    tell_failure(failure, fields);
    if let Some(location) = location {
        fields.text(Field::Location, location);
    }
    fields.text(Field::State, state);
}

fn tell_failure(failure: &Failure, fields: &mut impl Fields) {
    if let Some(error) = &failure.error {
        fields.text(Field::Error, error);
    }
    if let Some(cause) = &failure.cause {
        fields.text(Field::Cause, cause);
    }
}

fn tell_resource(resource: &Resource, fields: &mut impl Fields) {
    fields.text(Field::ResourceType, &resource.resource_type());
    fields.text(Field::Resource, &resource.resource());
}
