//! What the `Resource` of a Task names: a function, a service integration or an activity.

use std::borrow::Cow;

/// Who runs a Task.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Resource {
    /// `arn:aws:lambda:REGION:ACCOUNT:function:NAME`: the function, called directly.
    Lambda {
        /// Region of the ARN.
        region: String,
        /// The whole ARN.
        arn: String,
    },
    /// `arn:aws:states:::SERVICE:ACTION`: an integration.
    Service(Integration),
    /// `arn:aws:states:REGION:ACCOUNT:activity:NAME`.
    Activity {
        /// Region of the ARN.
        region: String,
        /// The whole ARN.
        arn: String,
    },
}

/// A service, one of its actions, and how its end is awaited.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Integration {
    /// `sqs`, or `s3` of `aws-sdk:s3`.
    pub service: String,
    /// `sendMessage`.
    pub action: String,
    /// The suffix of the action.
    pub pattern: Pattern,
    /// True for `aws-sdk:…`.
    pub sdk: bool,
}

/// How long a Task waits for its service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Pattern {
    /// For the response.
    RequestResponse,
    /// `.sync`: for the end of the job.
    Sync,
    /// `.sync:2`: the same, with the job's output parsed.
    Sync2,
    /// `.waitForTaskToken`: for someone who returns the token.
    WaitForTaskToken,
}

impl Pattern {
    /// The suffix with its dot; empty for [`Pattern::RequestResponse`].
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Pattern::RequestResponse => "",
            Pattern::Sync => ".sync",
            Pattern::Sync2 => ".sync:2",
            Pattern::WaitForTaskToken => ".waitForTaskToken",
        }
    }
}

/// Why a text names no resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResourceError {
    /// It is no ARN of a function, an integration or an activity.
    NotAnArn,
    /// It is an ARN, but AWS has no such integration.
    NotRecognized,
}

impl Resource {
    /// Reads an ARN.
    ///
    /// # Errors
    ///
    /// If it names nothing that a Task can call.
    pub fn parse(arn: &str) -> Result<Resource, ResourceError> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, rest] = parts[..] else {
            return Err(ResourceError::NotAnArn);
        };
        if partition.is_empty() || rest.is_empty() {
            return Err(ResourceError::NotAnArn);
        }
        match service {
            "lambda" => match rest.strip_prefix("function:") {
                Some(name) if !name.is_empty() => Ok(Resource::Lambda {
                    region: region.to_owned(),
                    arn: arn.to_owned(),
                }),
                _ => Err(ResourceError::NotAnArn),
            },
            "states" if region.is_empty() && account.is_empty() => {
                integration(rest).map(Resource::Service)
            }
            "states" => match rest.strip_prefix("activity:") {
                Some(name) if !name.is_empty() => Ok(Resource::Activity {
                    region: region.to_owned(),
                    arn: arn.to_owned(),
                }),
                _ => Err(ResourceError::NotRecognized),
            },
            _ => Err(ResourceError::NotRecognized),
        }
    }

    /// The history's `resourceType`: `lambda`, `sqs`, `aws-sdk:s3`, `activity`.
    #[must_use]
    pub fn resource_type(&self) -> Cow<'_, str> {
        match self {
            Resource::Lambda { .. } => "lambda".into(),
            Resource::Service(i) if i.sdk => format!("aws-sdk:{}", i.service).into(),
            Resource::Service(i) => i.service.as_str().into(),
            Resource::Activity { .. } => "activity".into(),
        }
    }

    /// The history's `resource`: `sendMessage.waitForTaskToken`, or the ARN of a function or an activity.
    #[must_use]
    pub fn resource(&self) -> Cow<'_, str> {
        match self {
            Resource::Lambda { arn, .. } | Resource::Activity { arn, .. } => arn.as_str().into(),
            Resource::Service(i) if i.pattern == Pattern::RequestResponse => {
                i.action.as_str().into()
            }
            Resource::Service(i) => format!("{}{}", i.action, i.pattern.suffix()).into(),
        }
    }

    /// True for `.waitForTaskToken`.
    #[must_use]
    pub fn waits_for_token(&self) -> bool {
        matches!(self, Resource::Service(i) if i.pattern == Pattern::WaitForTaskToken)
    }

    /// The region that the ARN names, if it does.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match self {
            Resource::Lambda { region, .. } | Resource::Activity { region, .. } => {
                (!region.is_empty()).then_some(region.as_str())
            }
            Resource::Service(_) => None,
        }
    }
}

/// `SERVICE:ACTION[.PATTERN]`, known to AWS.
fn integration(rest: &str) -> Result<Integration, ResourceError> {
    let (sdk, rest) = match rest.strip_prefix("aws-sdk:") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (service, action) = rest.split_once(':').ok_or(ResourceError::NotRecognized)?;
    let (action, pattern) = match action.split_once('.') {
        None => (action, Pattern::RequestResponse),
        Some((action, "sync")) => (action, Pattern::Sync),
        Some((action, "sync:2")) => (action, Pattern::Sync2),
        Some((action, "waitForTaskToken")) => (action, Pattern::WaitForTaskToken),
        Some(_) => return Err(ResourceError::NotRecognized),
    };
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric());
    let known = if sdk {
        word(service) && word(action) && !matches!(pattern, Pattern::Sync | Pattern::Sync2)
    } else {
        OPTIMIZED
            .iter()
            .any(|(s, a, patterns)| *s == service && *a == action && patterns.contains(&pattern))
    };
    if !known {
        return Err(ResourceError::NotRecognized);
    }
    Ok(Integration {
        service: service.to_owned(),
        action: action.to_owned(),
        pattern,
        sdk,
    })
}

/// Every `SERVICE:ACTION[.PATTERN]` of the optimised integrations, for suggestions.
pub(super) fn optimized() -> impl Iterator<Item = String> {
    OPTIMIZED.iter().flat_map(|(service, action, patterns)| {
        patterns
            .iter()
            .map(move |pattern| format!("{service}:{action}{}", pattern.suffix()))
    })
}

const CALL: &[Pattern] = &[Pattern::RequestResponse];
const TOKEN: &[Pattern] = &[Pattern::RequestResponse, Pattern::WaitForTaskToken];
const JOB: &[Pattern] = &[Pattern::RequestResponse, Pattern::Sync];
const JOB_TOKEN: &[Pattern] = &[
    Pattern::RequestResponse,
    Pattern::Sync,
    Pattern::WaitForTaskToken,
];
const ALL: &[Pattern] = &[
    Pattern::RequestResponse,
    Pattern::Sync,
    Pattern::Sync2,
    Pattern::WaitForTaskToken,
];

/// The optimised integrations of the developer guide.
const OPTIMIZED: &[(&str, &str, &[Pattern])] = &[
    ("apigateway", "invoke", TOKEN),
    ("athena", "getQueryExecution", CALL),
    ("athena", "getQueryResults", CALL),
    ("athena", "startQueryExecution", JOB),
    ("athena", "stopQueryExecution", CALL),
    ("batch", "submitJob", JOB),
    ("bedrock", "createModelCustomizationJob", JOB),
    ("bedrock", "invokeModel", CALL),
    ("codebuild", "batchDeleteBuilds", CALL),
    ("codebuild", "batchGetReports", CALL),
    ("codebuild", "deleteBuildBatch", CALL),
    ("codebuild", "retryBuildBatch", JOB),
    ("codebuild", "startBuild", JOB),
    ("codebuild", "startBuildBatch", JOB),
    ("codebuild", "stopBuild", CALL),
    ("codebuild", "stopBuildBatch", CALL),
    ("databrew", "startJobRun", JOB),
    ("dynamodb", "deleteItem", CALL),
    ("dynamodb", "getItem", CALL),
    ("dynamodb", "putItem", CALL),
    ("dynamodb", "updateItem", CALL),
    ("ecs", "runTask", JOB_TOKEN),
    ("eks", "call", CALL),
    ("eks", "createCluster", JOB),
    ("eks", "createFargateProfile", JOB),
    ("eks", "createNodegroup", JOB),
    ("eks", "deleteCluster", JOB),
    ("eks", "deleteFargateProfile", JOB),
    ("eks", "deleteNodegroup", JOB),
    ("eks", "runJob", JOB),
    ("elasticmapreduce", "addStep", JOB),
    ("elasticmapreduce", "cancelStep", CALL),
    ("elasticmapreduce", "createCluster", JOB),
    ("elasticmapreduce", "modifyInstanceFleetByName", CALL),
    ("elasticmapreduce", "modifyInstanceGroupByName", CALL),
    ("elasticmapreduce", "setClusterTerminationProtection", CALL),
    ("elasticmapreduce", "terminateCluster", JOB),
    ("emr-containers", "createVirtualCluster", CALL),
    ("emr-containers", "deleteVirtualCluster", JOB),
    ("emr-containers", "startJobRun", JOB),
    ("emr-serverless", "cancelJobRun", JOB),
    ("emr-serverless", "createApplication", JOB),
    ("emr-serverless", "deleteApplication", JOB),
    ("emr-serverless", "startApplication", JOB),
    ("emr-serverless", "startJobRun", JOB),
    ("emr-serverless", "stopApplication", JOB),
    ("events", "putEvents", TOKEN),
    ("glue", "startJobRun", JOB),
    ("http", "invoke", CALL),
    ("lambda", "invoke", TOKEN),
    ("mediaconvert", "createJob", JOB),
    ("sagemaker", "createEndpoint", CALL),
    ("sagemaker", "createEndpointConfig", CALL),
    ("sagemaker", "createHyperParameterTuningJob", JOB),
    ("sagemaker", "createLabelingJob", JOB),
    ("sagemaker", "createModel", CALL),
    ("sagemaker", "createProcessingJob", JOB),
    ("sagemaker", "createTrainingJob", JOB),
    ("sagemaker", "createTransformJob", JOB),
    ("sagemaker", "updateEndpoint", CALL),
    ("sns", "publish", TOKEN),
    ("sqs", "sendMessage", TOKEN),
    ("states", "startExecution", ALL),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds() {
        for (arn, resource_type, resource, region) in [
            (
                "arn:aws:lambda:us-east-1:111111111111:function:f:1",
                "lambda",
                "arn:aws:lambda:us-east-1:111111111111:function:f:1",
                Some("us-east-1"),
            ),
            ("arn:aws:states:::lambda:invoke", "lambda", "invoke", None),
            (
                "arn:aws:states:::states:startExecution.sync:2",
                "states",
                "startExecution.sync:2",
                None,
            ),
            (
                "arn:aws-cn:states:::aws-sdk:s3:listBuckets.waitForTaskToken",
                "aws-sdk:s3",
                "listBuckets.waitForTaskToken",
                None,
            ),
            (
                "arn:aws:states:eu-west-1:111111111111:activity:a",
                "activity",
                "arn:aws:states:eu-west-1:111111111111:activity:a",
                Some("eu-west-1"),
            ),
        ] {
            let parsed = Resource::parse(arn).unwrap();
            assert_eq!(parsed.resource_type(), resource_type);
            assert_eq!(parsed.resource(), resource);
            assert_eq!(parsed.region(), region);
        }
    }

    #[test]
    fn what_is_no_resource() {
        use ResourceError::{NotAnArn, NotRecognized};
        for (arn, error) in [
            ("", NotAnArn),
            ("createToken", NotAnArn),
            ("arn:aws:lambda:us-east-1:1:layer:x", NotAnArn),
            ("arn:aws:states:::dynamodb:query", NotRecognized),
            ("arn:aws:states:::sns:publish.sync", NotRecognized),
            ("arn:aws:states:::sns:publish.later", NotRecognized),
            ("arn:aws:states:::aws-sdk:s3:getObject.sync", NotRecognized),
            ("arn:aws:states:::aws-sdk:s3", NotRecognized),
            ("arn:aws:states:us-east-1:1:stateMachine:x", NotRecognized),
            ("arn:aws:sqs:us-east-1:1:queue", NotRecognized),
        ] {
            assert_eq!(Resource::parse(arn), Err(error), "{arn}");
        }
    }
}
