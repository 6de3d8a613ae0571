//! Jobs that are waited for: `.sync` of the services that run them. What a job is called, how it is asked after, and how it is
//! stopped is a table.

use std::time::Duration;

use serde_json::{Map, Value};

use super::services::{ServiceAction, members_of, value_of};
use super::{Call, Ended, Work};
use crate::aws::{Error, ErrorKind};
use crate::history::Failure;

/// A kind of job. Paths are JSON pointers.
#[derive(PartialEq, Eq, Debug)]
struct Kind {
    service: &'static str,
    /// What starts it.
    action: &'static str,
    /// What tells how it stands.
    describe: &'static str,
    describe_with: &'static [Argument],
    /// The job in that answer.
    job: &'static str,
    /// Its status in the job.
    status: &'static str,
    succeeded: &'static [&'static str],
    failed: &'static [&'static str],
    shape: Shape,
    stop: &'static str,
    stop_with: &'static [Argument],
}

/// What the result of a task is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// The job itself.
    Job,
    /// An object with the job as a member of that name.
    Member(&'static str),
}

/// A parameter of a call.
#[derive(PartialEq, Eq, Debug)]
struct Argument {
    name: &'static str,
    from: From,
    /// The value is a list's only item.
    is_list: bool,
}

/// Where a value is from.
#[derive(PartialEq, Eq, Debug)]
enum From {
    /// The task's parameters.
    Parameters(&'static str),
    /// What the service answered when it accepted the job.
    Answer(&'static str),
    /// It is always this.
    Text(&'static str),
}

const fn given(name: &'static str, pointer: &'static str) -> Argument {
    Argument {
        name,
        from: From::Parameters(pointer),
        is_list: false,
    }
}

const fn answered(name: &'static str, pointer: &'static str) -> Argument {
    Argument {
        name,
        from: From::Answer(pointer),
        is_list: false,
    }
}

const fn listed(name: &'static str, pointer: &'static str) -> Argument {
    Argument {
        name,
        from: From::Answer(pointer),
        is_list: true,
    }
}

const fn text(name: &'static str, text: &'static str) -> Argument {
    Argument {
        name,
        from: From::Text(text),
        is_list: false,
    }
}

/// Why a job was stopped, where services want to know.
const REASON: &str = "The task of the state machine's execution that waited for it has ended";

/// A job of SageMaker, named by the task's parameters.
macro_rules! sagemaker {
    ($action:literal, $describe:literal, $name:literal, $given:literal, $status:literal, $stop:literal) => {
        Kind {
            service: "sagemaker",
            action: $action,
            describe: $describe,
            describe_with: &[given($name, $given)],
            job: "",
            status: $status,
            succeeded: &["Completed"],
            failed: &["Failed", "Stopped"],
            shape: Shape::Job,
            stop: $stop,
            stop_with: &[given($name, $given)],
        }
    };
}

static KINDS: [Kind; 16] = [
    Kind {
        service: "athena",
        action: "startQueryExecution",
        describe: "getQueryExecution",
        describe_with: &[answered("QueryExecutionId", "/QueryExecutionId")],
        job: "/QueryExecution",
        status: "/Status/State",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "CANCELLED"],
        shape: Shape::Member("QueryExecution"),
        stop: "stopQueryExecution",
        stop_with: &[answered("QueryExecutionId", "/QueryExecutionId")],
    },
    Kind {
        service: "batch",
        action: "submitJob",
        describe: "describeJobs",
        describe_with: &[listed("Jobs", "/JobId")],
        job: "/Jobs/0",
        status: "/Status",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED"],
        shape: Shape::Job,
        stop: "terminateJob",
        stop_with: &[answered("JobId", "/JobId"), text("Reason", REASON)],
    },
    Kind {
        service: "bedrock",
        action: "createModelCustomizationJob",
        describe: "getModelCustomizationJob",
        describe_with: &[answered("JobIdentifier", "/JobArn")],
        job: "",
        status: "/Status",
        succeeded: &["Completed"],
        failed: &["Failed", "Stopped"],
        shape: Shape::Job,
        stop: "stopModelCustomizationJob",
        stop_with: &[answered("JobIdentifier", "/JobArn")],
    },
    Kind {
        service: "codebuild",
        action: "startBuild",
        describe: "batchGetBuilds",
        describe_with: &[listed("Ids", "/Build/Id")],
        job: "/Builds/0",
        status: "/BuildStatus",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "FAULT", "TIMED_OUT", "STOPPED"],
        shape: Shape::Member("Build"),
        stop: "stopBuild",
        stop_with: &[answered("Id", "/Build/Id")],
    },
    Kind {
        service: "codebuild",
        action: "startBuildBatch",
        describe: "batchGetBuildBatches",
        describe_with: &[listed("Ids", "/BuildBatch/Id")],
        job: "/BuildBatches/0",
        status: "/BuildBatchStatus",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "FAULT", "TIMED_OUT", "STOPPED"],
        shape: Shape::Member("BuildBatch"),
        stop: "stopBuildBatch",
        stop_with: &[answered("Id", "/BuildBatch/Id")],
    },
    Kind {
        service: "databrew",
        action: "startJobRun",
        describe: "describeJobRun",
        describe_with: &[given("Name", "/Name"), answered("RunId", "/RunId")],
        job: "",
        status: "/State",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "STOPPED", "TIMEOUT"],
        shape: Shape::Job,
        stop: "stopJobRun",
        stop_with: &[given("Name", "/Name"), answered("RunId", "/RunId")],
    },
    Kind {
        service: "ecs",
        action: "runTask",
        describe: "describeTasks",
        describe_with: &[
            given("Cluster", "/Cluster"),
            listed("Tasks", "/Tasks/0/TaskArn"),
        ],
        job: "/Tasks/0",
        status: "/LastStatus",
        succeeded: &["STOPPED"],
        failed: &[],
        shape: Shape::Job,
        stop: "stopTask",
        stop_with: &[
            given("Cluster", "/Cluster"),
            answered("Task", "/Tasks/0/TaskArn"),
            text("Reason", REASON),
        ],
    },
    Kind {
        service: "emrcontainers",
        action: "startJobRun",
        describe: "describeJobRun",
        describe_with: &[
            answered("Id", "/Id"),
            answered("VirtualClusterId", "/VirtualClusterId"),
        ],
        job: "/JobRun",
        status: "/State",
        succeeded: &["COMPLETED"],
        failed: &["FAILED", "CANCELLED"],
        shape: Shape::Job,
        stop: "cancelJobRun",
        stop_with: &[
            answered("Id", "/Id"),
            answered("VirtualClusterId", "/VirtualClusterId"),
        ],
    },
    Kind {
        service: "emrserverless",
        action: "startJobRun",
        describe: "getJobRun",
        describe_with: &[
            answered("ApplicationId", "/ApplicationId"),
            answered("JobRunId", "/JobRunId"),
        ],
        job: "/JobRun",
        status: "/State",
        succeeded: &["SUCCESS"],
        failed: &["FAILED", "CANCELLED"],
        shape: Shape::Job,
        stop: "cancelJobRun",
        stop_with: &[
            answered("ApplicationId", "/ApplicationId"),
            answered("JobRunId", "/JobRunId"),
        ],
    },
    Kind {
        service: "glue",
        action: "startJobRun",
        describe: "getJobRun",
        describe_with: &[given("JobName", "/JobName"), answered("RunId", "/JobRunId")],
        job: "/JobRun",
        status: "/JobRunState",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "ERROR", "TIMEOUT", "STOPPED", "EXPIRED"],
        shape: Shape::Job,
        stop: "batchStopJobRun",
        stop_with: &[
            given("JobName", "/JobName"),
            listed("JobRunIds", "/JobRunId"),
        ],
    },
    sagemaker!(
        "createHyperParameterTuningJob",
        "describeHyperParameterTuningJob",
        "HyperParameterTuningJobName",
        "/HyperParameterTuningJobName",
        "/HyperParameterTuningJobStatus",
        "stopHyperParameterTuningJob"
    ),
    sagemaker!(
        "createLabelingJob",
        "describeLabelingJob",
        "LabelingJobName",
        "/LabelingJobName",
        "/LabelingJobStatus",
        "stopLabelingJob"
    ),
    sagemaker!(
        "createProcessingJob",
        "describeProcessingJob",
        "ProcessingJobName",
        "/ProcessingJobName",
        "/ProcessingJobStatus",
        "stopProcessingJob"
    ),
    sagemaker!(
        "createTrainingJob",
        "describeTrainingJob",
        "TrainingJobName",
        "/TrainingJobName",
        "/TrainingJobStatus",
        "stopTrainingJob"
    ),
    sagemaker!(
        "createTransformJob",
        "describeTransformJob",
        "TransformJobName",
        "/TransformJobName",
        "/TransformJobStatus",
        "stopTransformJob"
    ),
    Kind {
        service: "mediaconvert",
        action: "createJob",
        describe: "getJob",
        describe_with: &[answered("Id", "/Job/Id")],
        job: "/Job",
        status: "/Status",
        succeeded: &["COMPLETE"],
        failed: &["ERROR", "CANCELED"],
        shape: Shape::Member("Job"),
        stop: "cancelJob",
        stop_with: &[answered("Id", "/Job/Id")],
    },
];

/// How long is waited before a job is asked after for the first time, and at most.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Questions in a row that may go unanswered.
const UNANSWERED_MAX: u32 = 10;

/// Starts jobs and waits for their ends.
#[derive(Debug)]
pub(super) struct Jobs {
    action: ServiceAction,
    kind: &'static Kind,
}

impl Jobs {
    /// Nothing, if the action starts no job that is known.
    pub(super) fn new(action: ServiceAction) -> Option<Jobs> {
        let kind = KINDS
            .iter()
            .find(|kind| kind.service == action.service && kind.action == action.action)?;
        Some(Jobs { action, kind })
    }

    pub(super) async fn call(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let count = value_of(call)?["Count"].as_f64().unwrap_or(1.0);
        if self.kind.service == "ecs" && count != 1.0 {
            let cause = format!(
                "Count is {count}, but a task that waits for its end starts one: use a Map, or a resource without .sync"
            );
            return Err(Failure::new("States.Runtime", cause));
        }
        self.action.call(call).await
    }

    /// Waits for the end of the job that was accepted with that answer.
    pub(super) async fn wait(&self, call: &Call, accepted: &[u8]) -> Ended {
        let given = match value_of(call) {
            Ok(given) => given,
            Err(failure) => return Ended::Unknown(failure),
        };
        let parameters = arguments(self.kind.describe_with, &given, accepted);
        let (mut wait, mut unanswered) = (WAIT_MIN, 0);
        loop {
            tokio::time::sleep(wait).await;
            wait = (wait * 3 / 2).min(WAIT_MAX);
            let caller = &self.action.caller;
            let answer = caller
                .call(call, &self.action.service, self.kind.describe, &parameters)
                .await;
            let description = match answer {
                Ok(answer) => answer.output,
                // The job goes on, whether somebody can ask after it or not.
                Err(error) if may_be_answered(&error) && unanswered < UNANSWERED_MAX => {
                    unanswered += 1;
                    continue;
                }
                Err(error) => return Ended::Unknown(caller.failure(&error, call)),
            };
            if let Some(result) = self.kind.ended(&description) {
                return Ended::Told(result);
            }
            match self.kind.status_of(&description) {
                Some(_) => unanswered = 0,
                // It is not there yet, or not any more.
                None if unanswered < UNANSWERED_MAX => unanswered += 1,
                None => {
                    let cause = members_of(&description).to_text();
                    return Ended::Unknown(Failure::new("States.TaskFailed", cause));
                }
            }
        }
    }

    /// Stops a job.
    pub(super) fn stop(&self, call: &Call, accepted: &[u8]) -> Option<Work> {
        let given = value_of(call).ok()?;
        let parameters = arguments(self.kind.stop_with, &given, accepted);
        let (caller, service) = (self.action.caller.clone(), self.action.service.clone());
        let (call, action) = (call.clone(), self.kind.stop);
        Some(Box::pin(async move {
            if let Err(error) = caller.call(&call, &service, action, &parameters).await {
                // A job that has just ended cannot be stopped; of others somebody should know.
                tracing::warn!(service, action, "a job could not be stopped: {error}");
            }
        }))
    }
}

/// Whether the same question may be answered later. Keys end and are renewed, and permissions come late.
fn may_be_answered(error: &Error) -> bool {
    const OF_CALLERS: [&str; 7] = [
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "RequestExpired",
        "UnrecognizedClientException",
    ];
    error.is_retryable()
        || error.kind() == ErrorKind::Credentials
        || error.code().is_some_and(|code| OF_CALLERS.contains(&code))
}

impl Kind {
    /// The status of the job, if the answer tells of it.
    fn status_of<'d>(&self, description: &'d Value) -> Option<&'d str> {
        let job = description.pointer(self.job)?;
        job.pointer(self.status)?.as_str()
    }

    /// The result of a job that has ended; nothing, if it goes on.
    fn ended(&self, description: &Value) -> Option<Result<Vec<u8>, Failure>> {
        let job = description.pointer(self.job)?;
        let status = self.status_of(description)?;
        let result = match self.shape {
            Shape::Job => members_of(job).to_text(),
            Shape::Member(name) => {
                let members = [(name.to_owned(), job.clone())];
                Value::Object(Map::from_iter(members)).to_string()
            }
        };
        if self.failed.contains(&status) || self.service == "ecs" && !exited_well(job, status) {
            return Some(Err(Failure::new("States.TaskFailed", result)));
        }
        self.succeeded
            .contains(&status)
            .then(|| Ok(result.into_bytes()))
    }
}

/// Whether no container of a task of ECS that has stopped has ended with an error.
fn exited_well(task: &Value, status: &str) -> bool {
    let containers = task["Containers"].as_array().map_or(&[][..], Vec::as_slice);
    let well = |container: &Value| container["ExitCode"].as_i64() == Some(0);
    status != "STOPPED" || !containers.is_empty() && containers.iter().all(well)
}

/// The parameters of a call.
fn arguments(wanted: &[Argument], parameters: &Value, accepted: &[u8]) -> Value {
    let accepted: Value = serde_json::from_slice(accepted).unwrap_or_default();
    let mut members = Map::new();
    for argument in wanted {
        let value = match argument.from {
            From::Parameters(pointer) => parameters.pointer(pointer).cloned(),
            From::Answer(pointer) => accepted.pointer(pointer).cloned(),
            From::Text(text) => Some(text.into()),
        };
        let Some(value) = value else {
            continue;
        };
        let value = match argument.is_list {
            true => Value::Array(vec![value]),
            false => value,
        };
        members.insert(argument.name.to_owned(), value);
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::aws::Client;

    fn kind(service: &str, action: &str) -> &'static Kind {
        let mut kinds = KINDS.iter();
        kinds
            .find(|kind| kind.service == service && kind.action == action)
            .unwrap()
    }

    #[test]
    fn every_call_of_the_table_exists_and_takes_its_parameters() {
        let parameters = json!({"Name": "n", "Cluster": "c", "JobName": "j",
            "HyperParameterTuningJobName": "h", "LabelingJobName": "l", "ProcessingJobName": "p",
            "TrainingJobName": "t", "TransformJobName": "t"});
        let accepted = json!({"QueryExecutionId": "q", "JobId": "i", "JobArn": "a", "Build": {"Id": "b"},
            "BuildBatch": {"Id": "b"}, "RunId": "r", "Tasks": [{"TaskArn": "t"}], "Id": "i",
            "VirtualClusterId": "v", "ApplicationId": "a", "JobRunId": "r", "Job": {"Id": "m"}});
        let accepted = accepted.to_string();
        for kind in &KINDS {
            Client::check(kind.service, kind.action).unwrap();
            for (action, wanted) in [
                (kind.describe, kind.describe_with),
                (kind.stop, kind.stop_with),
            ] {
                let made = arguments(wanted, &parameters, accepted.as_bytes());
                assert_eq!(made.as_object().unwrap().len(), wanted.len(), "{action}");
                Client::check_parameters(kind.service, action, &made).unwrap();
            }
        }
    }

    type Case = (
        &'static str,
        &'static str,
        Value,
        Option<Result<Vec<u8>, Failure>>,
    );

    /// How jobs stand, and how their tasks end by that.
    fn cases() -> Vec<Case> {
        let failed = |text: &str| Some(Err(Failure::new("States.TaskFailed", text)));
        let succeeded = |text: &str| Some(Ok(text.as_bytes().to_vec()));
        vec![
            (
                "glue",
                "startJobRun",
                json!({"JobRun": {"JobRunState": "RUNNING"}}),
                None,
            ),
            (
                "glue",
                "startJobRun",
                json!({"JobRun": {"JobRunState": "SUCCEEDED"}}),
                succeeded(r#"{"JobRunState":"SUCCEEDED"}"#),
            ),
            (
                "glue",
                "startJobRun",
                json!({"JobRun": {"JobRunState": "TIMEOUT"}}),
                failed(r#"{"JobRunState":"TIMEOUT"}"#),
            ),
            (
                "sagemaker",
                "createTrainingJob",
                json!({"TrainingJobStatus": "Stopped"}),
                failed(r#"{"TrainingJobStatus":"Stopped"}"#),
            ),
            ("batch", "submitJob", json!({"Jobs": []}), None),
            (
                "codebuild",
                "startBuild",
                json!({"Builds": [{"BuildStatus": "SUCCEEDED"}]}),
                succeeded(r#"{"Build":{"BuildStatus":"SUCCEEDED"}}"#),
            ),
            (
                "ecs",
                "runTask",
                json!({"Tasks": [{"LastStatus": "RUNNING", "Containers": [{}]}]}),
                None,
            ),
            (
                "ecs",
                "runTask",
                json!({"Tasks": [{"LastStatus": "STOPPED", "Containers": [{"ExitCode": 0}]}]}),
                succeeded(r#"{"Containers":[{"ExitCode":0}],"LastStatus":"STOPPED"}"#),
            ),
            (
                "ecs",
                "runTask",
                json!({"Tasks": [{"LastStatus": "STOPPED", "Containers": [{"ExitCode": 0}, {"ExitCode": 137}]}]}),
                failed(
                    r#"{"Containers":[{"ExitCode":0},{"ExitCode":137}],"LastStatus":"STOPPED"}"#,
                ),
            ),
            (
                "ecs",
                "runTask",
                json!({"Tasks": [{"LastStatus": "STOPPED", "Containers": [{"Reason": "no image"}]}]}),
                failed(r#"{"Containers":[{"Reason":"no image"}],"LastStatus":"STOPPED"}"#),
            ),
        ]
    }

    #[test]
    fn ends_of_jobs() {
        for (service, action, description, expected) in cases() {
            let parsed = |result: Result<Vec<u8>, Failure>| match result {
                Ok(json) => Ok(serde_json::from_slice::<Value>(&json).unwrap()),
                Err(failure) => {
                    let cause = failure.cause.as_deref().unwrap();
                    Err((
                        failure.error_name().to_owned(),
                        serde_json::from_str(cause).unwrap(),
                    ))
                }
            };
            let ended: Option<Result<Value, (String, Value)>> =
                kind(service, action).ended(&description).map(parsed);
            assert_eq!(ended, expected.map(parsed));
        }
    }

    #[test]
    fn jobs_that_are_gone_have_no_status() {
        for (service, action, description, status) in [
            (
                "ecs",
                "runTask",
                json!({"Tasks": [], "Failures": [{"Reason": "MISSING"}]}),
                None,
            ),
            ("batch", "submitJob", json!({"Jobs": []}), None),
            (
                "codebuild",
                "startBuild",
                json!({"Builds": [], "BuildsNotFound": ["b"]}),
                None,
            ),
            (
                "glue",
                "startJobRun",
                json!({"JobRun": {"JobRunState": "RUNNING"}}),
                Some("RUNNING"),
            ),
        ] {
            let kind = kind(service, action);
            assert_eq!(kind.status_of(&description), status, "{service}");
            assert!(kind.ended(&description).is_none(), "{service}");
        }
    }
}
