//! Step Functions itself, in the process that serves it: `states:startExecution`, and every action of `aws-sdk:sfn`.
//!
//! There is no HTTP between a parent and its child: the server's own operations are called, and the end of a child is
//! told, not polled for.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::parameters::{Members, Parameters};
use super::{Call, Ended, Work};
use crate::asl::Pattern;
use crate::history::Failure;
use crate::stdx::Timestamp;

/// A future that somebody else drives.
pub(crate) type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The Step Functions API of this process.
pub(crate) trait StateMachines: Debug + Send + Sync {
    /// Does an operation, such as `StartExecution`. Members of `body` and of the answer have the API's own names.
    fn call(&self, operation: String, body: Vec<u8>) -> Answer<Result<Vec<u8>, Refusal>>;

    /// Describes an execution once it has ended.
    fn ended(&self, execution_arn: String) -> Answer<Result<Vec<u8>, Refusal>>;

    /// Stops an execution; it may have ended.
    fn stop(&self, execution_arn: String) -> Answer<()>;

    /// An id for a request.
    fn request_id(&self) -> String;
}

/// Why an operation was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// The shape of the error: `StateMachineDoesNotExist`.
    pub(crate) code: String,
    pub(crate) message: String,
    /// HTTP status.
    pub(crate) status: u16,
}

/// Which names and shapes a result has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Style {
    /// Those of `states:startExecution`.
    Optimised,
    /// Those of `aws-sdk:sfn`.
    Sdk,
}

/// Starts executions of the same process.
#[derive(Debug)]
pub(super) struct StartExecution {
    pub(super) machines: Arc<dyn StateMachines>,
    pub(super) pattern: Pattern,
}

impl StartExecution {
    pub(super) async fn call(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let parameters = Parameters::read(&call.input)?;
        let machine = parameters.required_text("StateMachineArn")?;
        let name = parameters.text("Name")?;
        let is_named = name.is_some();
        let mut body = Map::new();
        body.insert("stateMachineArn".to_owned(), machine.into());
        body.insert(
            "name".to_owned(),
            name.unwrap_or_else(|| name_of(&call.token)).into(),
        );
        if let Some(input) = parameters.json_text("Input")? {
            body.insert("input".to_owned(), input.into());
        }
        if let Some(trace) = parameters.text("TraceHeader")? {
            body.insert("traceHeader".to_owned(), trace.into());
        }
        if self.waits() {
            self.refuse_express(&body).await?;
        }
        let request = Value::Object(body).to_string().into_bytes();
        let answer = self
            .machines
            .call("StartExecution".to_owned(), request)
            .await;
        match answer {
            Ok(answer) => {
                let mut members = translated(&answer, Style::Optimised);
                put_metadata(&mut members, answer.len(), &self.machines.request_id());
                Ok(members.write())
            }
            // An execution of this task's own name was started by this very task, before the process was killed.
            Err(refusal) if !is_named && refusal.code == "ExecutionAlreadyExists" => {
                self.found_again(&refusal).await
            }
            Err(refusal) => Err(self.failure(refusal)),
        }
    }

    fn waits(&self) -> bool {
        matches!(self.pattern, Pattern::Sync | Pattern::Sync2)
    }

    /// The end of an EXPRESS execution cannot be waited for.
    async fn refuse_express(&self, body: &Map<String, Value>) -> Result<(), Failure> {
        let arn = body["stateMachineArn"].as_str().unwrap_or_default();
        // Of a version or an alias, the machine is asked.
        let arn: Vec<&str> = arn.splitn(8, ':').take(7).collect();
        let request = serde_json::json!({ "stateMachineArn": arn.join(":") });
        let described = self
            .machines
            .call(
                "DescribeStateMachine".to_owned(),
                request.to_string().into(),
            )
            .await;
        let kind = described.ok().and_then(|json| {
            let members = Members::read(&json).ok()?;
            members.text("type")
        });
        match kind.as_deref() {
            Some("EXPRESS") => Err(self.failure(Refusal {
                code: "StateMachineTypeNotSupported".to_owned(),
                message: "This operation is not supported by this type of state machine".to_owned(),
                status: 400,
            })),
            // What is wrong with it is told by the start.
            _ => Ok(()),
        }
    }

    async fn found_again(&self, refusal: &Refusal) -> Result<Vec<u8>, Failure> {
        let arn = refusal.message.split('\'').nth(1).unwrap_or_default();
        let request = serde_json::json!({ "executionArn": arn }).to_string();
        let described = self
            .machines
            .call("DescribeExecution".to_owned(), request.into())
            .await
            .map_err(|refusal| self.failure(refusal))?;
        let described = translated(&described, Style::Optimised);
        let mut members = Members::default();
        for name in ["ExecutionArn", "StartDate"] {
            if let Some(json) = described.get(name) {
                members.put(name, json.to_owned());
            }
        }
        let length = members.write().len();
        put_metadata(&mut members, length, &self.machines.request_id());
        Ok(members.write())
    }

    fn failure(&self, refusal: Refusal) -> Failure {
        refused(refusal, Style::Optimised, &self.machines.request_id())
    }

    /// Waits for the end of the execution that was started.
    pub(super) async fn wait(&self, accepted: &[u8]) -> Ended {
        let arn = execution_arn(accepted);
        match self.machines.ended(arn).await {
            Ok(described) => Ended::Told(self.result(&described)),
            Err(refusal) => Ended::Unknown(self.failure(refusal)),
        }
    }

    /// The result of a task whose execution has ended.
    fn result(&self, described: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut members = translated(described, Style::Optimised);
        if members.text("Status").as_deref() != Some("SUCCEEDED") {
            return Err(Failure::new("States.TaskFailed", members.to_text()));
        }
        if self.pattern == Pattern::Sync2
            && let Some(output) = members.text("Output")
        {
            members.put("Output", output);
        }
        Ok(members.write())
    }

    /// Stops what was started.
    pub(super) fn stop(&self, accepted: &[u8]) -> Work {
        self.machines.stop(execution_arn(accepted))
    }
}

fn execution_arn(accepted: &[u8]) -> String {
    let members = Members::read(accepted).unwrap_or_default();
    members.text("ExecutionArn").unwrap_or_default()
}

/// The name of an execution that was given none: the same each time a task is handed out, and nothing tells the token.
fn name_of(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// Any action of `aws-sdk:sfn`.
#[derive(Debug)]
pub(super) struct SdkAction {
    pub(super) machines: Arc<dyn StateMachines>,
    /// `startSyncExecution`
    pub(super) action: String,
}

/// Members that are texts, whatever they hold: who gives JSON means its text.
const TEXTS: [&str; 3] = ["Input", "Output", "Definition"];

impl SdkAction {
    pub(super) async fn call(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let parameters = Parameters::read(&call.input)?;
        let mut body = Map::new();
        let names: Vec<String> = parameters
            .members()
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in names {
            let value = match TEXTS.contains(&&*name) {
                true => parameters.json_text(&name)?.map(Value::String),
                false => parameters.value(&name)?.map(|value| renamed(value, lower)),
            };
            if let Some(value) = value {
                body.insert(lower(&name), value);
            }
        }
        let operation = upper(&self.action);
        let request = Value::Object(body).to_string().into_bytes();
        let answer = self.machines.call(operation, request).await;
        let answer =
            answer.map_err(|refusal| refused(refusal, Style::Sdk, &self.machines.request_id()))?;
        Ok(translated(&answer, Style::Sdk).write())
    }
}

/// The failure of a task that Step Functions has refused, in AWS's words.
fn refused(refusal: Refusal, style: Style, request_id: &str) -> Failure {
    let Refusal {
        code,
        message,
        status,
    } = refusal;
    let shape = match code.ends_with("Exception") {
        true => code.clone(),
        false => format!("{code}Exception"),
    };
    match style {
        Style::Optimised => Failure::new(
            format!("StepFunctions.{shape}"),
            format!(
                "{message} (Service: AWSStepFunctions; Status Code: {status}; Error Code: {code}; \
                 Request ID: {request_id}; Proxy: null)"
            ),
        ),
        Style::Sdk => Failure::new(
            format!("Sfn.{shape}"),
            format!(
                "{message} (Service: Sfn, Status Code: {status}, Request ID: {request_id}) \
                 (SDK Attempt Count: 1)"
            ),
        ),
    }
}

/// Adds what AWS tells of the HTTP exchange; there was none, so it is what there would have been.
fn put_metadata(members: &mut Members, length: usize, request_id: &str) {
    let length = length.to_string();
    let headers = [
        ("Content-Length", &*length),
        ("Content-Type", "application/x-amz-json-1.0"),
        ("x-amzn-RequestId", request_id),
    ];
    super::metadata::put(members, &headers, 200, request_id);
}

/// An answer with Step Functions' spelling of names and times.
fn translated(answer: &[u8], style: Style) -> Members {
    let mut members = Members::default();
    // The server's own answers are objects.
    let value: Value = serde_json::from_slice(answer).unwrap_or_default();
    if let Value::Object(answer) = value {
        for (name, value) in answer {
            members.put_value(&upper(&name), &retold(&name, value, style));
        }
    }
    members
}

/// Members that are times.
const TIMES: [&str; 6] = [
    "creationDate",
    "redriveDate",
    "startDate",
    "stopDate",
    "timestamp",
    "updateDate",
];

fn retold(name: &str, value: Value, style: Style) -> Value {
    match value {
        Value::Number(seconds) if TIMES.contains(&name) => {
            let millis = (seconds.as_f64().unwrap_or_default() * 1_000.0).round() as i64;
            match style {
                Style::Optimised => millis.into(),
                Style::Sdk => Timestamp::from_millis(millis).to_string().into(),
            }
        }
        Value::Object(members) => {
            let members = members.into_iter();
            let retold = members.map(|(name, value)| {
                let value = retold(&name, value, style);
                (upper(&name), value)
            });
            Value::Object(retold.collect())
        }
        Value::Array(items) => {
            let items = items.into_iter();
            Value::Array(items.map(|item| retold("", item, style)).collect())
        }
        other => other,
    }
}

fn renamed(value: Value, rename: fn(&str) -> String) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter();
            let renamed = members.map(|(name, value)| (rename(&name), renamed(value, rename)));
            Value::Object(renamed.collect())
        }
        Value::Array(items) => {
            let items = items.into_iter();
            Value::Array(items.map(|item| renamed(item, rename)).collect())
        }
        other => other,
    }
}

fn lower(name: &str) -> String {
    with_first(name, char::to_ascii_lowercase)
}

/// `startDate` to `StartDate`.
fn upper(name: &str) -> String {
    with_first(name, char::to_ascii_uppercase)
}

fn with_first(name: &str, change: fn(&char) -> char) -> String {
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => change(&first).to_string() + chars.as_str(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times() {
        let answer =
            br#"{"executionArn":"e","startDate":1700000000.005,"inputDetails":{"included":true},
            "events":[{"timestamp":0.001}],"output":"{\"a\":1}"}"#;
        assert_eq!(
            translated(answer, Style::Optimised).to_text(),
            r#"{"Events":[{"Timestamp":1}],"ExecutionArn":"e","InputDetails":{"Included":true},"Output":"{\"a\":1}","StartDate":1700000000005}"#
        );
        let sdk = translated(answer, Style::Sdk);
        assert_eq!(sdk.text("StartDate").unwrap(), "2023-11-14T22:13:20.005Z");
    }

    #[test]
    fn refusals_are_told_as_aws_does() {
        let refusal = |code: &str| Refusal {
            code: code.to_owned(),
            message: "M".to_owned(),
            status: 400,
        };
        for (code, style, error, cause) in [
            (
                "StateMachineDoesNotExist",
                Style::Optimised,
                "StepFunctions.StateMachineDoesNotExistException",
                "M (Service: AWSStepFunctions; Status Code: 400; Error Code: StateMachineDoesNotExist; Request ID: id; \
                 Proxy: null)",
            ),
            (
                "InvalidToken",
                Style::Sdk,
                "Sfn.InvalidTokenException",
                "M (Service: Sfn, Status Code: 400, Request ID: id) (SDK Attempt Count: 1)",
            ),
            (
                "ValidationException",
                Style::Sdk,
                "Sfn.ValidationException",
                "M (Service: Sfn, Status Code: 400, Request ID: id) (SDK Attempt Count: 1)",
            ),
        ] {
            assert_eq!(
                refused(refusal(code), style, "id"),
                Failure::new(error, cause)
            );
        }
    }

    #[test]
    fn a_task_has_one_name() {
        assert_eq!(name_of("a"), name_of("a"));
        assert_ne!(name_of("a"), name_of("b"));
        assert!(uuid::Uuid::parse_str(&name_of("a")).is_ok());
    }
}
