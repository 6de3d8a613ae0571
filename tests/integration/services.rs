//! AWS's services behind a scripted endpoint: what is sent to them, and what their answers and faults come to.

use quickstep::integration::IntegrationOptions;
use quickstep::server::ServerOptions;
use serde_json::{Value, json};

use crate::client::Host;
use crate::endpoint::{Asked, Endpoint, Reaction, json as answer};
use crate::support::{
    create, ended, events, failure, ok, one_task, output, run, start, types, until,
};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";

/// A server whose tasks call an endpoint for every service.
fn host(endpoint: &Endpoint) -> Host {
    let integrations = IntegrationOptions::default()
        .services(&[endpoint.url("")], [], Some("us-east-1"), false)
        .unwrap();
    Host::start(ServerOptions {
        integrations,
        ..ServerOptions::default()
    })
}

/// The part of `X-Amz-Target` behind the point.
fn action(asked: &Asked) -> &str {
    let target = asked.header("x-amz-target").unwrap_or_default();
    target.split_once('.').map_or("", |(_, action)| action)
}

fn asked_for<'a>(asked: &'a [Asked], wanted: &str) -> Vec<&'a Asked> {
    asked
        .iter()
        .filter(|asked| action(asked) == wanted)
        .collect()
}

fn function_answer(headers: &[(&'static str, &str)], body: &str) -> Reaction {
    let headers = headers.iter();
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    headers.push(("X-Amz-Executed-Version", "$LATEST".to_owned()));
    headers.push(("x-amzn-RequestId", "the-id".to_owned()));
    Reaction::Answer(200, headers, body.to_owned())
}

#[test]
fn functions_by_arn_and_by_name() {
    let endpoint = Endpoint::start(|_, asked| {
        // The payload comes back as it was sent, in a list.
        function_answer(&[], &format!("[{}]", asked.body))
    });
    let host = host(&endpoint);
    let mut connection = host.connect();
    let by_arn = json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": FUNCTION, "End": true}}});
    let by_arn = create(&mut connection, "arn", "STANDARD", &by_arn);
    let payload = r#"{"n":1.50,"big":1e400}"#;
    let params = json!({"stateMachineArn": by_arn, "input": payload});
    let execution = ok(connection.call("StartExecution", &params))["executionArn"].clone();
    let described = ended(&mut connection, &execution);
    assert_eq!(described["output"], format!("[{payload}]"));
    let types_of = events(&mut connection, &execution);
    assert_eq!(
        types(&types_of)[2..5],
        [
            "LambdaFunctionScheduled",
            "LambdaFunctionStarted",
            "LambdaFunctionSucceeded"
        ]
    );

    let definition = one_task(
        "arn:aws:states:::lambda:invoke",
        json!({"FunctionName": "f:live", "Payload.$": "$"}),
    );
    let by_name = create(&mut connection, "name", "STANDARD", &definition);
    let result = output(&run(&mut connection, &by_name, &json!({"n": 1})));
    assert_eq!(result["Payload"], json!([{"n": 1}]));
    assert_eq!(result["ExecutedVersion"], "$LATEST");
    assert_eq!(result["StatusCode"], 200);
    assert_eq!(result["SdkResponseMetadata"]["RequestId"], "the-id");
    let http = &result["SdkHttpMetadata"];
    assert_eq!(http["HttpHeaders"]["X-Amz-Executed-Version"], "$LATEST");
    assert_eq!(
        http["AllHttpHeaders"]["x-amzn-RequestId"],
        json!(["the-id"])
    );

    let asked = endpoint.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body, payload);
    for (asked, name) in asked.iter().zip([FUNCTION, "f:live"]) {
        let name = name.replace(':', "%3A");
        assert_eq!(
            asked.line,
            format!("POST /2015-03-31/functions/{name}/invocations")
        );
        let authorization = asked.header("authorization").unwrap();
        assert!(
            authorization.contains("/us-east-1/lambda/aws4_request"),
            "{authorization}"
        );
    }
}

#[test]
fn functions_that_fail() {
    const RAISED: &str = r#"{"errorMessage":"no funds","errorType":"Declined","stackTrace":[]}"#;
    let endpoint = Endpoint::start(|number, _| match number {
        0 | 1 => function_answer(&[("X-Amz-Function-Error", "Unhandled")], RAISED),
        2 => function_answer(&[("X-Amz-Function-Error", "Unhandled")], "{}"),
        _ => Reaction::Answer(
            404,
            vec![
                ("x-amzn-ErrorType", "ResourceNotFoundException".to_owned()),
                ("x-amzn-RequestId", "the-id".to_owned()),
            ],
            r#"{"Message":"Function not found: f"}"#.to_owned(),
        ),
    });
    let host = host(&endpoint);
    let mut connection = host.connect();
    let direct = json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": FUNCTION, "End": true}}});
    let direct = create(&mut connection, "arn", "STANDARD", &direct);
    let definition = one_task(
        "arn:aws:states:::lambda:invoke",
        json!({"FunctionName": "f"}),
    );
    let by_name = create(&mut connection, "name", "STANDARD", &definition);
    let missing = "Function not found: f (Service: AWSLambda; Status Code: 404; Error Code: \
                   ResourceNotFoundException; Request ID: the-id; Proxy: null)";
    let unknown = "The cause could not be determined because Lambda did not return an error type. Returned payload: {}";
    for (machine, event, error, cause) in [
        (&direct, "LambdaFunctionFailed", "Declined", RAISED),
        (&by_name, "TaskFailed", "Declined", RAISED),
        (&direct, "LambdaFunctionFailed", "Lambda.Unknown", unknown),
        (
            &direct,
            "LambdaFunctionFailed",
            "Lambda.ResourceNotFoundException",
            missing,
        ),
        (
            &by_name,
            "TaskFailed",
            "Lambda.ResourceNotFoundException",
            missing,
        ),
    ] {
        let execution = start(&mut connection, machine, &json!({}));
        let found = failure(&ended(&mut connection, &execution));
        assert_eq!(found, (error.to_owned(), cause.to_owned()));
        let events = events(&mut connection, &execution);
        assert_eq!(types(&events)[4], event);
    }
}

#[test]
fn optimised_and_sdk_errors_are_named_as_aws_does() {
    let endpoint = Endpoint::start(|_, asked| {
        let code = match action(asked) {
            "PutItem" => "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            _ => "com.amazon.coral.validate#ValidationException",
        };
        let body = json!({"__type": code, "message": "M"}).to_string();
        let headers = vec![("x-amzn-RequestId", "R".to_owned())];
        Reaction::Answer(400, headers, body)
    });
    let host = host(&endpoint);
    let mut connection = host.connect();
    let put = json!({"TableName": "t", "Item": {"id": {"S": "1"}}});
    let get = json!({"TableName": "t", "Key": {"id": {"S": "1"}}});
    for (i, (resource, parameters, error, cause)) in [
        (
            "dynamodb:putItem",
            &put,
            "DynamoDB.ConditionalCheckFailedException",
            "M (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ConditionalCheckFailedException; \
             Request ID: R; Proxy: null)",
        ),
        (
            "dynamodb:getItem",
            &get,
            "DynamoDB.AmazonDynamoDBException",
            "M (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ValidationException; \
             Request ID: R; Proxy: null)",
        ),
        (
            "aws-sdk:dynamodb:putItem",
            &put,
            "DynamoDb.ConditionalCheckFailedException",
            "M (Service: DynamoDb, Status Code: 400, Request ID: R) (SDK Attempt Count: 1)",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let definition = one_task(&format!("arn:aws:states:::{resource}"), parameters.clone());
        let machine = create(&mut connection, &format!("m{i}"), "STANDARD", &definition);
        let found = failure(&run(&mut connection, &machine, &json!({})));
        assert_eq!(found, (error.to_owned(), cause.to_owned()));
    }
}

#[test]
fn events_that_are_not_taken_fail_the_task() {
    const REFUSED: &str = r#"{"Entries":[{"ErrorCode":"MalformedDetail","ErrorMessage":"Detail is malformed."}],"FailedEntryCount":1}"#;
    let endpoint = Endpoint::start(|number, _| match number {
        0 => answer(200, r#"{"Entries":[{"EventId":"e"}],"FailedEntryCount":0}"#),
        _ => answer(200, REFUSED),
    });
    let host = host(&endpoint);
    let mut connection = host.connect();
    let entry = json!({"Source": "s", "DetailType": "d", "Detail": {"Message": "m"}});
    let definition = one_task(
        "arn:aws:states:::events:putEvents",
        json!({"Entries": [entry]}),
    );
    let machine = create(&mut connection, "m", "STANDARD", &definition);
    let execution = start(&mut connection, &machine, &json!({}));
    let result = output(&ended(&mut connection, &execution));
    assert_eq!(result["Entries"], json!([{"EventId": "e"}]));
    let sent: Value = serde_json::from_str(&endpoint.asked()[0].body).unwrap();
    assert_eq!(sent["Entries"][0]["Detail"], r#"{"Message":"m"}"#);
    assert_eq!(sent["Entries"][0]["Resources"], json!([execution, machine]));
    let found = failure(&run(&mut connection, &machine, &json!({})));
    assert_eq!(
        found,
        ("EventBridge.FailedEntry".to_owned(), REFUSED.to_owned())
    );
}

#[test]
fn a_message_takes_its_token_along() {
    let endpoint =
        Endpoint::start(|_, _| answer(200, r#"{"MD5OfMessageBody":"x","MessageId":"m"}"#));
    let host = host(&endpoint);
    let mut connection = host.connect();
    let mut definition = one_task(
        "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        json!({"QueueUrl": endpoint.url("/123456789012/q"),
            "MessageBody": {"order.$": "$.order", "token.$": "$$.Task.Token"}}),
    );
    definition["States"]["T"]["HeartbeatSeconds"] = 600.into();
    let machine = create(&mut connection, "m", "STANDARD", &definition);
    let execution = start(&mut connection, &machine, &json!({"order": 7}));
    let submitted = until(|| {
        let events = events(&mut connection, &execution);
        let last = events.last().unwrap();
        (last["type"] == "TaskSubmitted").then(|| last["taskSubmittedEventDetails"].clone())
    });
    let said: Value = serde_json::from_str(submitted["output"].as_str().unwrap()).unwrap();
    assert_eq!(said["MessageId"], "m");
    assert_eq!(said["SdkHttpMetadata"]["HttpStatusCode"], 200);
    let sent: Value = serde_json::from_str(&endpoint.asked()[0].body).unwrap();
    let body: Value = serde_json::from_str(sent["MessageBody"].as_str().unwrap()).unwrap();
    assert_eq!(body["order"], 7);
    let token = body["token"].clone();
    ok(connection.call("SendTaskHeartbeat", &json!({"taskToken": token})));
    let params = json!({"taskToken": token, "output": r#"{"approved":true}"#});
    ok(connection.call("SendTaskSuccess", &params));
    let described = ended(&mut connection, &execution);
    assert_eq!(output(&described), json!({"approved": true}));
    assert_eq!(endpoint.asked().len(), 1);
}

/// Answers for a job of Glue that ends in a state after some questions.
fn glue(questions: usize, state: &'static str) -> Endpoint {
    let asked_before = std::sync::atomic::AtomicUsize::new(0);
    Endpoint::start(move |_, asked| match action(asked) {
        "StartJobRun" => answer(200, r#"{"JobRunId":"jr_1"}"#),
        "GetJobRun" => {
            let n = asked_before.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let state = if n < questions { "RUNNING" } else { state };
            answer(
                200,
                json!({"JobRun": {"Id": "jr_1", "JobRunState": state, "ErrorMessage": "e"}}),
            )
        }
        _ => answer(200, r#"{"SuccessfulSubmissions":[]}"#),
    })
}

fn glue_machine() -> Value {
    one_task(
        "arn:aws:states:::glue:startJobRun.sync",
        json!({"JobName": "etl", "Arguments": {"--date": "2030-01-01"}}),
    )
}

#[test]
fn jobs_are_waited_for() {
    let endpoint = glue(2, "SUCCEEDED");
    let host = host(&endpoint);
    let mut connection = host.connect();
    let machine = create(&mut connection, "m", "STANDARD", &glue_machine());
    let execution = start(&mut connection, &machine, &json!({}));
    let result = output(&ended(&mut connection, &execution));
    assert_eq!(result["JobRunState"], "SUCCEEDED");
    assert_eq!(result["Id"], "jr_1");
    let events = events(&mut connection, &execution);
    assert_eq!(
        types(&events)[2..6],
        [
            "TaskScheduled",
            "TaskStarted",
            "TaskSubmitted",
            "TaskSucceeded"
        ]
    );
    let asked = endpoint.asked();
    let question: Value = serde_json::from_str(&asked_for(&asked, "GetJobRun")[0].body).unwrap();
    assert_eq!(question, json!({"JobName": "etl", "RunId": "jr_1"}));
    assert_eq!(asked_for(&asked, "GetJobRun").len(), 3);
    assert!(asked_for(&asked, "BatchStopJobRun").is_empty());
}

#[test]
fn a_job_that_fails_fails_its_task() {
    let endpoint = glue(0, "FAILED");
    let host = host(&endpoint);
    let mut connection = host.connect();
    let machine = create(&mut connection, "m", "STANDARD", &glue_machine());
    let (error, cause) = failure(&run(&mut connection, &machine, &json!({})));
    assert_eq!(error, "States.TaskFailed");
    let cause: Value = serde_json::from_str(&cause).unwrap();
    assert_eq!(
        [&cause["JobRunState"], &cause["ErrorMessage"]],
        ["FAILED", "e"]
    );
}

#[test]
fn jobs_are_stopped_with_what_waits_for_them() {
    for limit in ["stop", "timeout"] {
        let endpoint = glue(usize::MAX, "RUNNING");
        let host = host(&endpoint);
        let mut connection = host.connect();
        let mut definition = glue_machine();
        if limit == "timeout" {
            definition["States"]["T"]["TimeoutSeconds"] = 1.into();
        }
        let machine = create(&mut connection, "m", "STANDARD", &definition);
        let execution = start(&mut connection, &machine, &json!({}));
        until(|| (!asked_for(&endpoint.asked(), "GetJobRun").is_empty()).then_some(()));
        if limit == "stop" {
            ok(connection.call("StopExecution", &json!({"executionArn": execution})));
        }
        ended(&mut connection, &execution);
        until(|| (!asked_for(&endpoint.asked(), "BatchStopJobRun").is_empty()).then_some(()));
        let asked = endpoint.asked();
        let stopped: Value =
            serde_json::from_str(&asked_for(&asked, "BatchStopJobRun")[0].body).unwrap();
        assert_eq!(stopped, json!({"JobName": "etl", "JobRunIds": ["jr_1"]}));
    }
}

#[test]
fn a_job_that_is_not_accepted_fails_the_submission() {
    let endpoint = Endpoint::start(|_, _| {
        let body = json!({"__type": "EntityNotFoundException", "Message": "no job"}).to_string();
        Reaction::Answer(400, vec![("x-amzn-RequestId", "R".to_owned())], body)
    });
    let host = host(&endpoint);
    let mut connection = host.connect();
    let machine = create(&mut connection, "m", "STANDARD", &glue_machine());
    let execution = start(&mut connection, &machine, &json!({}));
    let (error, cause) = failure(&ended(&mut connection, &execution));
    assert_eq!(error, "Glue.EntityNotFoundException");
    assert!(
        cause.starts_with("no job (Service: AWSGlue; Status Code: 400; "),
        "{cause}"
    );
    let events = events(&mut connection, &execution);
    assert_eq!(types(&events)[4], "TaskSubmitFailed");
}

#[test]
fn tasks_of_ecs_succeed_if_all_containers_do() {
    for (code, status) in [(0, "SUCCEEDED"), (1, "FAILED")] {
        let endpoint = Endpoint::start(move |_, asked| match action(asked) {
            "RunTask" => answer(
                200,
                r#"{"failures":[],"tasks":[{"taskArn":"a","lastStatus":"PENDING"}]}"#,
            ),
            _ => answer(
                200,
                json!({"failures": [], "tasks": [{"taskArn": "a", "lastStatus": "STOPPED",
                    "containers": [{"name": "c", "exitCode": code}]}]}),
            ),
        });
        let host = host(&endpoint);
        let mut connection = host.connect();
        let definition = one_task(
            "arn:aws:states:::ecs:runTask.sync",
            json!({"Cluster": "c", "TaskDefinition": "t", "LaunchType": "FARGATE"}),
        );
        let machine = create(&mut connection, "m", "STANDARD", &definition);
        let described = run(&mut connection, &machine, &json!({}));
        assert_eq!(described["status"], status);
        let member = if code == 0 { "output" } else { "cause" };
        let task: Value = serde_json::from_str(described[member].as_str().unwrap()).unwrap();
        assert_eq!(task["TaskArn"], "a");
        assert_eq!(task["Containers"][0]["ExitCode"], code);
    }
}

#[test]
fn faults_of_the_endpoint_are_told_apart_and_retried() {
    let endpoint = Endpoint::start(|_, asked| match asked.body.as_str() {
        r#""reset""# => {
            Reaction::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab".to_vec())
        }
        r#""garbage""# => Reaction::Bytes(b"\x00 what is this\r\n\r\n".to_vec()),
        r#""large""# => answer(200, format!("\"{}\"", "x".repeat(300 * 1024))),
        r#""busy""# => Reaction::Answer(
            429,
            vec![("x-amzn-ErrorType", "TooManyRequestsException".to_owned())],
            r#"{"message":"slow down"}"#.to_owned(),
        ),
        _ => Reaction::Silence,
    });
    let host = host(&endpoint);
    let mut connection = host.connect();
    let mut definition = json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": FUNCTION,
        "Retry": [{"ErrorEquals": ["Lambda.TooManyRequestsException"], "MaxAttempts": 1, "IntervalSeconds": 1}],
        "End": true}}});
    let machine = create(&mut connection, "m", "STANDARD", &definition);
    for (fault, expected, event) in [
        ("reset", "Lambda.SdkClientException", 1),
        ("garbage", "Lambda.SdkClientException", 1),
        ("large", "States.DataLimitExceeded", 1),
        ("busy", "Lambda.TooManyRequestsException", 2),
    ] {
        let execution = start(&mut connection, &machine, &json!(fault));
        let (error, cause) = failure(&ended(&mut connection, &execution));
        assert_eq!(error, expected, "{fault}: {cause}");
        let events = events(&mut connection, &execution);
        let failed = types(&events)
            .iter()
            .filter(|t| **t == "LambdaFunctionFailed")
            .count();
        assert_eq!(failed, event, "{fault}");
    }
    definition["States"]["T"]["TimeoutSeconds"] = 1.into();
    let machine = create(&mut connection, "late", "STANDARD", &definition);
    let (error, _) = failure(&run(&mut connection, &machine, &json!("silence")));
    assert_eq!(error, "States.Timeout");
    // What was called off and what broke is closed; what lies idle is kept.
    until(|| (endpoint.open() <= 2).then_some(()));
}

#[test]
fn nothing_is_called_that_was_not_given_an_address() {
    let endpoint = Endpoint::start(|_, _| answer(200, "{}"));
    let integrations = IntegrationOptions::default()
        .services(
            &[format!("sqs={}", endpoint.url(""))],
            [],
            Some("us-east-1"),
            false,
        )
        .unwrap();
    let host = Host::start(ServerOptions {
        integrations,
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let definition = json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": FUNCTION, "End": true}}});
    let machine = create(&mut connection, "m", "STANDARD", &definition);
    let (error, cause) = failure(&run(&mut connection, &machine, &json!({})));
    assert_eq!(error, "States.Runtime");
    assert!(cause.contains("--endpoint URL"), "{cause}");
    assert!(endpoint.asked().is_empty());
}

#[test]
fn actions_and_parameters_that_there_are_not() {
    let endpoint = Endpoint::start(|_, _| answer(200, "{}"));
    let host = host(&endpoint);
    let mut connection = host.connect();
    for (i, (resource, parameters, problem)) in [
        (
            "aws-sdk:dynamodb:getitem",
            json!({}),
            "it is spelled 'getItem'",
        ),
        (
            "aws-sdk:nosuchservice:getItem",
            json!({}),
            "there is no service 'nosuchservice'",
        ),
        ("dynamodb:getItem", json!({"Table": "t"}), "Table"),
    ]
    .into_iter()
    .enumerate()
    {
        let definition = one_task(&format!("arn:aws:states:::{resource}"), parameters);
        let machine = create(&mut connection, &format!("m{i}"), "STANDARD", &definition);
        let (error, cause) = failure(&run(&mut connection, &machine, &json!({})));
        assert_eq!(error, "States.Runtime", "{cause}");
        assert!(cause.contains(problem), "{cause}");
    }
    assert!(endpoint.asked().is_empty());
}

#[test]
fn a_role_is_assumed_first() {
    let endpoint = Endpoint::start(|_, asked| {
        if asked.body.contains("Action=AssumeRole") && asked.body.contains("denied") {
            let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>\
                        <RequestId>R</RequestId></ErrorResponse>";
            return Reaction::Answer(
                403,
                vec![("Content-Type", "text/xml".to_owned())],
                body.to_owned(),
            );
        }
        if asked.body.contains("Action=AssumeRole") {
            let body = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASSUMED</AccessKeyId>\
                        <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
                        <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>\
                        </AssumeRoleResponse>";
            return Reaction::Answer(
                200,
                vec![("Content-Type", "text/xml".to_owned())],
                body.to_owned(),
            );
        }
        function_answer(&[], "1")
    });
    let host = host(&endpoint);
    let mut connection = host.connect();
    let definition = json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": FUNCTION,
        "Credentials": {"RoleArn.$": "$.role"}, "End": true}}});
    let machine = create(&mut connection, "m", "STANDARD", &definition);
    for _ in 0..2 {
        let input = json!({"role": "arn:aws:iam::210987654321:role/other"});
        assert_eq!(output(&run(&mut connection, &machine, &input)), 1);
    }
    let asked = endpoint.asked();
    let assumed = asked
        .iter()
        .filter(|asked| asked.body.contains("AssumeRole"))
        .count();
    assert_eq!(assumed, 1, "the role's keys are kept");
    let invoked = asked
        .iter()
        .filter(|asked| asked.line.contains("/invocations"));
    for invoked in invoked {
        let authorization = invoked.header("authorization").unwrap();
        assert!(
            authorization.contains("Credential=ASSUMED/"),
            "{authorization}"
        );
        assert_eq!(invoked.header("x-amz-security-token"), Some("t"));
    }
    let input = json!({"role": "arn:aws:iam::210987654321:role/denied"});
    let (error, cause) = failure(&run(&mut connection, &machine, &input));
    assert_eq!(error, "States.Permissions", "{cause}");
    assert!(cause.contains("role/denied"), "{cause}");
}
