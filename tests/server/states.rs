//! `TestState`, beyond what AWS recorded.

use quickstep::Failure;
use quickstep::server::ServerOptions;
use quickstep::task::{TaskRegistry, TaskRequest};
use serde_json::{Value, json};

use crate::client::Host;
use crate::error;

fn test_state(definition: &Value, more: &Value) -> Value {
    let mut tasks = TaskRegistry::new();
    tasks.register(
        "arn:aws:lambda:*:function:double",
        |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
            let input = request.input_json();
            response.extend_from_slice(format!("[{input},{input}]").as_bytes());
            Ok(())
        },
    );
    tasks.register_async("arn:aws:states:::sqs:sendMessage", async |_request| {
        Err(Failure::new("Queue.Full", "later"))
    });
    let host = Host::start(ServerOptions {
        tasks,
        ..ServerOptions::default()
    });
    let mut params = json!({"definition": definition.to_string(), "inspectionLevel": "TRACE"});
    for (name, value) in more.as_object().unwrap() {
        params[name] = value.clone();
    }
    host.connect().call("TestState", &params).1
}

#[test]
fn tests_of_states_retry_and_catch() {
    let state = json!({
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "f", "Payload.$": "$.p"},
        "Retry": [
            {"ErrorEquals": ["Other"]},
            {"ErrorEquals": ["Busy"], "IntervalSeconds": 2, "MaxAttempts": 2, "BackoffRate": 3},
        ],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}],
        "Next": "Done",
    });
    let mock = json!({"errorOutput": {"error": "Busy", "cause": "c"}});
    let tested = |retries: u32| {
        let configuration = json!({"retrierRetryCount": retries});
        let more = json!({"input": "{\"p\":1}", "mock": mock, "stateConfiguration": configuration});
        test_state(&state, &more)
    };
    for (retries, seconds) in [(0, 2), (1, 6)] {
        let answer = tested(retries);
        assert_eq!(answer["status"], "RETRIABLE", "{answer}");
        assert_eq!(
            (&answer["error"], &answer["cause"]),
            (&json!("Busy"), &json!("c"))
        );
        let details = json!({"retryIndex": 1, "retryBackoffIntervalSeconds": seconds});
        assert_eq!(answer["inspectionData"]["errorDetails"], details);
        assert_eq!(
            answer["inspectionData"]["afterParameters"],
            r#"{"FunctionName":"f","Payload":1}"#
        );
    }
    let answer = tested(2);
    assert_eq!(answer["status"], "CAUGHT_ERROR", "{answer}");
    assert_eq!(answer["nextState"], "Caught");
    assert_eq!(
        answer["output"],
        r#"{"p":1,"error":{"Error":"Busy","Cause":"c"}}"#
    );
    assert_eq!(
        answer["inspectionData"]["errorDetails"],
        json!({"catchIndex": 0})
    );
    let more = json!({"input": "{\"p\":1}", "mock": {"result": "{\"Payload\":2}"}});
    let answer = test_state(&state, &more);
    assert_eq!(
        (&answer["status"], &answer["nextState"]),
        (&json!("SUCCEEDED"), &json!("Done"))
    );
}

#[test]
fn tests_of_states_have_variables_and_waits() {
    let state = json!({
        "Type": "Pass",
        "Parameters": {"z.$": "$v.n", "a.$": "$.x"},
        "Assign": {"w.$": "$.z"},
        "End": true,
    });
    let more = json!({"input": "{\"x\": [1.50]}", "variables": "{\"v\": {\"n\": 0.10}}"});
    let answer = test_state(&state, &more);
    // Members stay in the order of the template, and numbers keep their text.
    assert_eq!(answer["output"], r#"{"z":0.10,"a":[1.50]}"#, "{answer}");
    assert_eq!(
        answer["inspectionData"]["variables"],
        r#"{"v":{"n": 0.10},"w":0.10}"#
    );
    let wait = json!({"Type": "Wait", "Seconds": 86_400, "Next": "N"});
    let answer = test_state(&wait, &json!({"input": "7"}));
    assert_eq!(answer["output"], "7", "{answer}");
    assert_eq!(answer["nextState"], "N");
    let itself = json!({"Type": "Pass", "Next": "StateUnderTest"});
    let answer = test_state(&itself, &json!({"input": "7"}));
    assert_eq!(
        (&answer["status"], &answer["nextState"]),
        (&json!("SUCCEEDED"), &json!("StateUnderTest"))
    );
    let bad = json!({"Type": "Pass", "InputPath": "$.none", "End": true});
    let answer = test_state(&bad, &json!({}));
    assert_eq!(
        (&answer["status"], &answer["error"]),
        (&json!("FAILED"), &json!("States.Runtime"))
    );
    assert_eq!(answer["inspectionData"], json!({"input": "{}"}));
}

/// A Task without a mock is done by whoever answers for it.
#[test]
fn tests_of_tasks_use_handlers() {
    let task = |resource: &str| {
        json!({
            "Type": "Task",
            "Resource": resource,
            "Parameters": {"n.$": "$.n"},
            "ResultPath": "$.result",
            "Catch": [{"ErrorEquals": ["Queue.Full"], "Next": "Full"}],
            "End": true,
        })
    };
    let input = json!({"input": "{\"n\":1.0}"});
    let lambda = "arn:aws:lambda:us-east-1:123456789012:function:";
    let answer = test_state(&task(&format!("{lambda}double")), &input);
    assert_eq!(answer["status"], "SUCCEEDED", "{answer}");
    assert_eq!(
        answer["output"],
        r#"{"n":1.0,"result":[{"n":1.0},{"n":1.0}]}"#
    );
    assert_eq!(
        answer["inspectionData"]["result"],
        r#"[{"n":1.0},{"n":1.0}]"#
    );
    let answer = test_state(&task("arn:aws:states:::sqs:sendMessage"), &input);
    assert_eq!(answer["status"], "CAUGHT_ERROR", "{answer}");
    assert_eq!(answer["nextState"], "Full");
    assert_eq!(answer["error"], "Queue.Full");
    let answer = test_state(&task(&format!("{lambda}other")), &input);
    assert_eq!(
        (&answer["status"], &answer["error"]),
        (&json!("FAILED"), &json!("States.Runtime"))
    );
    assert!(
        answer["cause"]
            .as_str()
            .unwrap()
            .contains("Nothing answers for"),
        "{answer}"
    );
    let answer = test_state(
        &task("arn:aws:states:::sqs:sendMessage.waitForTaskToken"),
        &input,
    );
    assert_eq!(error(&answer).0, "ValidationException");
}

/// A Map in JSONata whose two fields are expressions.
fn map(more: &Value) -> Value {
    let mut state = json!({
        "Type": "Map",
        "QueryLanguage": "JSONata",
        "Items": "{% $states.input.items %}",
        "MaxConcurrency": "{% $states.input.limit %}",
        "ItemProcessor": {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}}},
        "Output": "{% $count($states.result) %}",
        "End": true,
    });
    for (name, value) in more.as_object().unwrap() {
        state[name] = value.clone();
    }
    state
}

#[test]
fn tests_of_maps_evaluate_what_comes_before_the_items() {
    let mock = json!({"result": "[1,2,3]"});
    let input = json!({"input": "{\"items\":[1,2,3],\"limit\":4}", "mock": mock});
    let answer = test_state(&map(&json!({})), &input);
    assert_eq!(answer["output"], "3", "{answer}");
    assert_eq!(answer["inspectionData"]["maxConcurrency"], 4);
    // The expression gives nothing: the Map fails, or catches it.
    let input = json!({"input": "{\"limit\":4}", "mock": mock});
    let answer = test_state(&map(&json!({})), &input);
    assert_eq!(answer["error"], "States.QueryEvaluationError", "{answer}");
    let cause = answer["cause"].as_str().unwrap();
    assert!(
        cause.contains("specified for the field 'Items' returned nothing"),
        "{cause}"
    );
    let catch = json!([{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Caught"}]);
    let answer = test_state(&map(&json!({"Catch": catch})), &input);
    assert_eq!(
        (&answer["status"], &answer["nextState"]),
        (&json!("CAUGHT_ERROR"), &json!("Caught")),
        "{answer}"
    );
}

#[test]
fn tests_of_maps_count_failures_against_what_is_tolerated() {
    let exceeded = "States.ExceedToleratedFailureThreshold";
    let distributed = json!({
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}},
    });
    let jsonata = |field: &str, value: Value| {
        map(&json!({"ItemProcessor": distributed, field: value, "MaxConcurrency": 1}))
    };
    let path = json!({
        "Type": "Map",
        "ItemsPath": "$.items",
        "ToleratedFailurePercentagePath": "$.tolerated",
        "ItemProcessor": distributed,
        "End": true,
    });
    for (state, failed, error) in [
        (jsonata("ToleratedFailureCount", json!(2)), 2, None),
        (
            jsonata("ToleratedFailureCount", json!(2)),
            3,
            Some(exceeded),
        ),
        (
            jsonata("ToleratedFailureCount", json!("{% 1 + 1 %}")),
            3,
            Some(exceeded),
        ),
        (jsonata("ToleratedFailurePercentage", json!(50)), 2, None),
        (
            jsonata("ToleratedFailurePercentage", json!(50)),
            3,
            Some(exceeded),
        ),
        (path.clone(), 1, None),
        (path, 2, Some(exceeded)),
    ] {
        let answer = test_state(
            &state,
            &json!({
                "input": "{\"items\":[1,2,3,4],\"limit\":4,\"tolerated\":25}",
                "mock": {"result": "[1,2,3,4]"},
                "stateConfiguration": {"mapIterationFailureCount": failed},
            }),
        );
        assert_eq!(answer["error"].as_str(), error, "{state} {answer}");
    }
}

#[test]
fn expressions_see_the_context_that_is_given() {
    let state = json!({
        "Type": "Pass",
        "QueryLanguage": "JSONata",
        "Output": {
            "name": "{% $states.context.State.Name %}",
            "whole": "{% $keys($states.context) %}",
            "text": "$states.context",
            "all": "{% $states %}",
        },
        "End": true,
    });
    let answer = test_state(&state, &json!({"context": "{\"State\":{\"Name\":\"S\"}}"}));
    // AWS takes a context with a mock only; here it does no harm.
    assert_eq!(
        answer["output"],
        r#"{"name":"S","whole":"State","text":"$states.context","all":{"input":{},"context":{"State":{"Name":"S"}}}}"#,
        "{answer}"
    );
}

#[test]
fn tests_of_tasks_in_jsonata_use_handlers() {
    let state = json!({
        "Type": "Task",
        "QueryLanguage": "JSONata",
        "Resource": "arn:aws:lambda:us-east-1:123456789012:function:double",
        "Arguments": {"n": "{% $states.input.n + 1 %}"},
        "Assign": {"twice": "{% $states.result[1].n %}"},
        "Output": "{% $states.result[0] %}",
        "End": true,
    });
    let answer = test_state(&state, &json!({"input": "{\"n\":1}"}));
    assert_eq!(answer["output"], r#"{"n":2}"#, "{answer}");
    let inspection = &answer["inspectionData"];
    assert_eq!(inspection["afterArguments"], r#"{"n":2}"#);
    assert_eq!(inspection["result"], r#"[{"n":2},{"n":2}]"#);
    assert_eq!(inspection["variables"], r#"{"twice":2}"#);
    let answer = test_state(&state, &json!({"input": "{}"}));
    assert_eq!(answer["error"], "States.QueryEvaluationError", "{answer}");
    assert_eq!(answer["inspectionData"], json!({"input": "{}"}));
}
