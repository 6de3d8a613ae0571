//! Actions of AWS's services: `aws-sdk:SERVICE:ACTION`, and the optimised integrations with their own names and shapes.

use serde_json::{Map, Value};

use super::parameters::{Members, Parameters};
use super::{Call, metadata};
use crate::asl::Integration;
use crate::aws::{self, CallOptions, Error, ErrorKind, Names, Role};
use crate::history::Failure;

/// What is called, and in whose name.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    client: aws::Client,
    style: Style,
}

/// How results and errors are spelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// As `aws-sdk:…` does.
    Sdk,
    /// As an optimised integration does.
    Optimised(&'static Optimised),
}

/// An optimised integration.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Optimised {
    /// In resources: `events`.
    resource: &'static str,
    /// In the table of services: `eventbridge`.
    pub(super) service: &'static str,
    /// What names of errors begin with.
    pub(super) errors: &'static str,
    /// The service's name in causes; with `Exception` it is the error that stands for all that have no name.
    sdk: &'static str,
}

const fn optimised(
    resource: &'static str,
    service: &'static str,
    errors: &'static str,
    sdk: &'static str,
) -> Optimised {
    Optimised {
        resource,
        service,
        errors,
        sdk,
    }
}

/// The optimised integrations that call a service by its API.
static OPTIMISED: [Optimised; 19] = [
    optimised("athena", "athena", "Athena", "AmazonAthena"),
    optimised("batch", "batch", "Batch", "AWSBatch"),
    optimised("bedrock", "bedrock", "Bedrock", "AmazonBedrock"),
    optimised("codebuild", "codebuild", "CodeBuild", "AWSCodeBuild"),
    optimised("databrew", "databrew", "DataBrew", "AWSGlueDataBrew"),
    optimised("dynamodb", "dynamodb", "DynamoDB", "AmazonDynamoDBv2"),
    optimised("ecs", "ecs", "ECS", "AmazonECS"),
    optimised("eks", "eks", "EKS", "AmazonEKS"),
    optimised("elasticmapreduce", "emr", "EMR", "AmazonElasticMapReduce"),
    optimised(
        "emr-containers",
        "emrcontainers",
        "EMRContainers",
        "AmazonEMRContainers",
    ),
    optimised(
        "emr-serverless",
        "emrserverless",
        "EMRServerless",
        "AWSEMRServerless",
    ),
    optimised("events", "eventbridge", "EventBridge", "AmazonEventBridge"),
    optimised("glue", "glue", "Glue", "AWSGlue"),
    optimised("lambda", "lambda", "Lambda", "AWSLambda"),
    optimised(
        "mediaconvert",
        "mediaconvert",
        "MediaConvert",
        "AWSMediaConvert",
    ),
    optimised("sagemaker", "sagemaker", "SageMaker", "AmazonSageMaker"),
    optimised("sns", "sns", "SNS", "AmazonSNS"),
    optimised("sqs", "sqs", "SQS", "AmazonSQS"),
    optimised("states", "sfn", "StepFunctions", "AWSStepFunctions"),
];

/// The optimised integration of a resource.
pub(super) fn of_resource(name: &str) -> Option<&'static Optimised> {
    OPTIMISED.iter().find(|known| known.resource == name)
}

impl Optimised {
    /// The error that stands for all that have no name of their own.
    fn unnamed(&self) -> String {
        match self.service {
            // Its SDK's name has a version that the error's has not.
            "dynamodb" => "AmazonDynamoDBException".to_owned(),
            _ => format!("{}Exception", self.sdk),
        }
    }
}

impl Caller {
    pub(super) fn new(client: &aws::Client, style: Style) -> Caller {
        Caller {
            client: client.clone(),
            style,
        }
    }

    fn options(&self, call: &Call) -> CallOptions {
        CallOptions {
            role: call.role_arn.as_deref().map(Role::new),
            names: match self.style {
                Style::Sdk => Names::Sdk,
                Style::Optimised(_) => Names::Api,
            },
            ..CallOptions::default()
        }
    }

    pub(super) async fn call(
        &self,
        call: &Call,
        service: &str,
        action: &str,
        parameters: &Value,
    ) -> Result<aws::Answer, Error> {
        let options = self.options(call);
        self.client
            .call_whole(service, action, parameters, &options)
            .await
    }

    /// The failure of a task whose call had no result.
    pub(super) fn failure(&self, error: &Error, call: &Call) -> Failure {
        match error.kind() {
            ErrorKind::TooLarge => too_large(&call.label),
            ErrorKind::Parameters | ErrorKind::Unknown => Failure::new(
                "States.Runtime",
                format!(
                    "The Parameters '{}' could not be used to start the Task: [{}]",
                    super::parameters::shown(&call.input),
                    error.message()
                ),
            ),
            ErrorKind::Credentials if call.role_arn.is_some() => Failure::new(
                "States.Permissions",
                format!(
                    "The role {} could not be assumed: {}",
                    call.role_arn.as_deref().unwrap_or_default(),
                    error.message()
                ),
            ),
            ErrorKind::Credentials => Failure::new(
                format!("{}.SdkClientException", self.error_prefix(error)),
                format!(
                    "{}; without them, --endpoint URL gives an address to call, and --tasks FILE answers",
                    error.message()
                ),
            ),
            _ => match self.style {
                Style::Sdk => Failure::new(error.name(), sdk_cause(error)),
                Style::Optimised(optimised) => of_optimised(optimised, error),
            },
        }
    }
}

impl Caller {
    /// What names of a service's errors begin with.
    fn error_prefix<'e>(&self, error: &'e Error) -> &'e str {
        match self.style {
            Style::Sdk => error.service(),
            Style::Optimised(optimised) => optimised.errors,
        }
    }
}

/// AWS's failure for a result that is too large.
fn too_large(label: &str) -> Failure {
    Failure::new(
        "States.DataLimitExceeded",
        format!(
            "The state/task '{label}' returned a result with a size exceeding the maximum number of bytes service limit."
        ),
    )
}

fn sdk_cause(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Service => format!(
            "{} (SDK Attempt Count: {})",
            error.cause(),
            error.attempts()
        ),
        _ => error.cause(),
    }
}

fn of_optimised(optimised: &Optimised, error: &Error) -> Failure {
    let class = error.name().split_once('.').map_or("", |(_, class)| class);
    // A code that the service's model does not know has the name of the service.
    let class = match class == format!("{}Exception", error.service()) {
        true => optimised.unnamed(),
        false => class.to_owned(),
    };
    let name = format!("{}.{class}", optimised.errors);
    let cause = match (error.kind(), error.status()) {
        (ErrorKind::Service, Some(status)) => format!(
            "{} (Service: {}; Status Code: {status}; Error Code: {}; Request ID: {}; Proxy: null)",
            error.message(),
            optimised.sdk,
            error.code().unwrap_or("null"),
            error.request_id().unwrap_or("null")
        ),
        _ => error.message().to_owned(),
    };
    Failure::new(name, cause)
}

/// One action of a service.
#[derive(Debug)]
pub(super) struct ServiceAction {
    pub(super) caller: Caller,
    pub(super) service: String,
    pub(super) action: String,
}

impl ServiceAction {
    pub(super) fn new(client: &aws::Client, integration: &Integration) -> Option<ServiceAction> {
        let (style, service) = match integration.sdk {
            true => (Style::Sdk, integration.service.clone()),
            false => {
                let optimised = of_resource(&integration.service)?;
                (Style::Optimised(optimised), optimised.service.to_owned())
            }
        };
        Some(ServiceAction {
            caller: Caller::new(client, style),
            service,
            action: integration.action.clone(),
        })
    }

    pub(super) async fn call(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let mut parameters = value_of(call)?;
        if self.is("eventbridge", "putEvents") {
            name_origin(&mut parameters, &call.execution_arn);
        }
        let caller = &self.caller;
        let answer = caller
            .call(call, &self.service, &self.action, &parameters)
            .await;
        let answer = answer.map_err(|error| caller.failure(&error, call))?;
        self.refusal(&answer.output)?;
        Ok(match caller.style {
            Style::Sdk => members_of(&answer.output).write(),
            Style::Optimised(_) => with_metadata(members_of(&answer.output), &answer).write(),
        })
    }

    fn is(&self, service: &str, action: &str) -> bool {
        let is_optimised = matches!(self.caller.style, Style::Optimised(_));
        is_optimised && self.service == service && self.action == action
    }

    /// Answers that say that nothing was done.
    fn refusal(&self, output: &Value) -> Result<(), Failure> {
        if self.is("eventbridge", "putEvents")
            && output["FailedEntryCount"].as_u64().is_some_and(|n| n > 0)
        {
            let cause = members_of(output).to_text();
            return Err(Failure::new("EventBridge.FailedEntry", cause));
        }
        let failures = output["Failures"].as_array();
        if self.is("ecs", "runTask") && failures.is_some_and(|failures| !failures.is_empty()) {
            let cause = members_of(output).to_text();
            return Err(Failure::new("AmazonECS.Unknown", cause));
        }
        Ok(())
    }
}

/// The effective input as a value, which must be an object.
pub(super) fn value_of(call: &Call) -> Result<Value, Failure> {
    Parameters::read(&call.input)?;
    serde_json::from_str(&call.input).map_err(|error| {
        let cause = format!("The Parameters cannot be read: {error}");
        Failure::new("States.Runtime", cause)
    })
}

/// Events say which execution sent them, and of which machine.
fn name_origin(parameters: &mut Value, execution_arn: &str) {
    let machine = execution_arn
        .rsplit_once(':')
        .map_or("", |(machine, _)| machine);
    let machine = machine.replacen(":execution:", ":stateMachine:", 1);
    let entries = parameters.get_mut("Entries").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        let Some(entry) = entry.as_object_mut() else {
            continue;
        };
        let resources = entry
            .entry("Resources")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(resources) = resources {
            resources.push(execution_arn.into());
            if machine.contains(":stateMachine:") {
                resources.push(machine.as_str().into());
            }
        }
    }
}

pub(super) fn members_of(output: &Value) -> Members {
    let mut members = Members::default();
    for (name, value) in output.as_object().unwrap_or(&Map::new()) {
        members.put_value(name, value);
    }
    members
}

/// A result with what AWS tells of its exchange.
pub(super) fn with_metadata(mut members: Members, answer: &aws::Answer) -> Members {
    let headers: Vec<(&str, &str)> = answer
        .headers
        .iter()
        .map(|(name, value)| (shown_name(name), &**value))
        .collect();
    let request_id = answer.request_id.as_deref().unwrap_or_default();
    metadata::put(&mut members, &headers, answer.status, request_id);
    members
}

/// Names of headers as AWS's recorded answers have them.
fn shown_name(name: &str) -> &str {
    match name {
        "content-length" => "Content-Length",
        "content-type" => "Content-Type",
        "date" => "Date",
        "server" => "Server",
        "x-amz-executed-version" => "X-Amz-Executed-Version",
        "x-amz-log-result" => "X-Amz-Log-Result",
        "x-amzn-requestid" => "x-amzn-RequestId",
        "x-amzn-trace-id" => "X-Amzn-Trace-Id",
        other => other,
    }
}

/// A function of Lambda: `lambda:invoke`, or a function's own ARN.
#[derive(Debug)]
pub(super) struct Function {
    caller: Caller,
    /// The function, if the resource is its ARN.
    arn: Option<String>,
}

impl Function {
    pub(super) fn new(client: &aws::Client, arn: Option<&str>) -> Option<Function> {
        let style = Style::Optimised(of_resource("lambda")?);
        Some(Function {
            caller: Caller::new(client, style),
            arn: arn.map(str::to_owned),
        })
    }

    pub(super) async fn call(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let mut parameters = Map::new();
        match &self.arn {
            Some(arn) => {
                parameters.insert("FunctionName".to_owned(), arn.as_str().into());
                parameters.insert("Payload".to_owned(), call.input.as_str().into());
            }
            None => {
                let given = Parameters::read(&call.input)?;
                given.required_text("FunctionName")?;
                for (name, raw) in given.members() {
                    let value = match name {
                        // The payload is sent as it was written: numbers keep their form.
                        "Payload" => Some(raw.get().into()),
                        _ => given.value(name)?,
                    };
                    if let Some(value) = value {
                        parameters.insert(name.to_owned(), value);
                    }
                }
            }
        }
        let answer = self
            .caller
            .call(call, "lambda", "invoke", &Value::Object(parameters))
            .await;
        let mut answer = answer.map_err(|error| self.caller.failure(&error, call))?;
        let output = answer.output.as_object_mut();
        let payload = output.and_then(|output| output.remove("Payload"));
        let payload = match payload {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        if answer.output.get("FunctionError").is_some() {
            return Err(function_error(&payload));
        }
        Ok(match &self.arn {
            Some(_) if payload.is_empty() => b"null".to_vec(),
            Some(_) => as_json(payload).into_bytes(),
            None => {
                let mut members = members_of(&answer.output);
                if !payload.is_empty() {
                    members.put("Payload", as_json(payload));
                }
                with_metadata(members, &answer).write()
            }
        })
    }
}

/// What a function returned, which is JSON; of anything else, the text.
fn as_json(payload: String) -> String {
    match serde_json::from_str::<&serde_json::value::RawValue>(&payload) {
        Ok(_) => payload,
        Err(_) => Value::String(payload).to_string(),
    }
}

/// The failure of a function that ended with an error of its own.
fn function_error(payload: &str) -> Failure {
    #[derive(serde::Deserialize)]
    struct Raised {
        #[serde(rename = "errorType")]
        error_type: String,
    }
    match serde_json::from_str::<Raised>(payload) {
        Ok(raised) if !raised.error_type.is_empty() => Failure::new(raised.error_type, payload),
        _ => Failure::new(
            "Lambda.Unknown",
            format!(
                "The cause could not be determined because Lambda did not return an error type. Returned payload: {payload}"
            ),
        ),
    }
}

/// Whether a service is in reach.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) client: aws::Client,
    /// AWS itself may be called, not only endpoints that were given.
    pub(super) is_aws_allowed: bool,
}

impl Reach {
    pub(super) fn client(&self, service: &str) -> Option<&aws::Client> {
        let is_near = self.is_aws_allowed || self.client.has_endpoint(service);
        is_near.then_some(&self.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_raise() {
        let raised = r#"{"errorMessage":"m","errorType":"E","stackTrace":[]}"#;
        assert_eq!(function_error(raised), Failure::new("E", raised));
        for payload in ["{}", "", r#"{"errorMessage":"exited"}"#, "not JSON"] {
            assert_eq!(function_error(payload).error_name(), "Lambda.Unknown");
        }
        assert_eq!(as_json(r#"{"a":1e400}"#.to_owned()), r#"{"a":1e400}"#);
        assert_eq!(as_json("a\"".to_owned()), r#""a\"""#);
    }

    #[test]
    fn events_say_where_they_come_from() {
        let mut parameters =
            serde_json::json!({"Entries": [{"Source": "s"}, {"Resources": ["r"]}]});
        let execution = "arn:aws:states:us-east-1:1:execution:m:e";
        name_origin(&mut parameters, execution);
        let machine = "arn:aws:states:us-east-1:1:stateMachine:m";
        assert_eq!(
            parameters,
            serde_json::json!({"Entries": [
                {"Source": "s", "Resources": [execution, machine]},
                {"Resources": ["r", execution, machine]}]})
        );
    }

    #[test]
    fn every_optimised_service_is_one() {
        for known in &OPTIMISED {
            let error = aws::Client::check(known.service, "noSuchAction").unwrap_err();
            assert!(error.message().contains("has no action"), "{error}");
        }
    }
}
