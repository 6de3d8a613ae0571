//! `--tasks`: both forms of files.

use crate::support::{QUOTE, Ran, file, folder, quickstep, ran, task};

const RETRY: &str = r#","Retry":[{"ErrorEquals":["Busy"],"MaxAttempts":5,"IntervalSeconds":60}]"#;

const CONFIG: &str = r#"{
  "StateMachines": {"quotes": {"TestCases": {
    "Happy": {"Ask": "Answer"}, "Busy": {"Ask": "BusyTwice"}, "Short": {"Ask": "TooShort"}, "Elsewhere": {}}}},
  "MockedResponses": {
    "Answer": {"0": {"Return": {"cost": 9.90}}},
    "BusyTwice": {"0-1": {"Throw": {"Error": "Busy", "Cause": "later"}}, "2": {"Return": "third"}},
    "TooShort": {"0-1": {"Throw": {"Error": "Busy", "Cause": "later"}}}}}"#;

#[test]
fn test_cases_of_a_mock_config_file() {
    let folder = folder("mock");
    let definition = file(&folder, "quotes.v2.asl.json", task(QUOTE, RETRY));
    let config = file(&folder, "MockConfigFile.json", CONFIG);
    let run = |case: &str, more: &[&str]| {
        let tasks = format!("{config}{case}");
        let fixed = [
            "run",
            "--quiet",
            &definition,
            "--tasks",
            &tasks,
            "--time",
            "virtual",
        ];
        quickstep(&[&fixed[..], more].concat(), "1\n2\n")
    };
    assert_eq!(
        run("#Happy", &[]),
        ran(0, "{\"cost\":9.90}\n{\"cost\":9.90}\n", "")
    );
    assert_eq!(run("#Busy", &[]), ran(0, "\"third\"\n\"third\"\n", ""));
    let short = run("#Short", &["--keep-going"]);
    assert_eq!((short.code, short.out.as_str()), (1, ""));
    assert!(
        short.err.starts_with(
            "line 1: FAILED: States.Runtime: The mocked response TooShort has no answer for call 2 of the state Ask \
             (calls count from 0); it has answers for: 0-1\n"
        ),
        "{}",
        short.err
    );
    assert!(run("#Elsewhere", &[]).err.contains("Nothing answers for"));
    for (case, more, expected) in [
        (
            "#Hapy",
            vec![],
            "there is no test case Hapy; did you mean `Happy`?",
        ),
        ("", vec![], "name one of the test cases, as in FILE#Happy"),
        (
            "#Happy",
            vec!["--name", "x"],
            "there is no machine x; there are: quotes.",
        ),
    ] {
        let Ran { code, out, err } = run(case, &more);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(
            err.contains(expected) && err.contains("MockConfigFile.json: at /"),
            "{err}"
        );
    }
}

#[test]
fn answers_by_resource() {
    let folder = folder("simple");
    let tasks = file(
        &folder,
        "tasks.json",
        r#"{"tasks": {
          "arn:aws:lambda:*:function:quote": {"result": {"b": 1.50, "a": "é"}},
          "arn:aws:lambda:*:function:voucher": {"error": "Closed", "cause": "until noon"},
          "arn:aws:states:::sqs:*": {"echo": true}}}"#,
    );
    for (name, resource, expected) in [
        ("quote", QUOTE, ran(0, "{\"b\":1.50,\"a\":\"é\"}\n", "")),
        (
            "voucher",
            "arn:aws:lambda:us-east-1:000000000000:function:voucher",
            ran(1, "", "line 1: FAILED: Closed: until noon\n"),
        ),
        (
            "sqs",
            "arn:aws:states:::sqs:sendMessage",
            ran(0, "[\"input\"]\n", ""),
        ),
        (
            "callback",
            "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            ran(0, "[\"input\"]\n", ""),
        ),
        (
            "activity",
            "arn:aws:states:us-east-1:000000000000:activity:a",
            ran(0, "7\n", ""),
        ),
    ] {
        let definition = file(&folder, &format!("{name}.json"), task(resource, ""));
        let tasks = match name {
            "activity" => file(
                &folder,
                "activity-tasks.json",
                r#"{"tasks":{"arn:aws:states:*:activity:*":{"result":7}}}"#,
            ),
            _ => tasks.clone(),
        };
        let arguments = [
            "run",
            "--quiet",
            "--type",
            "standard",
            &definition,
            "--tasks",
            &tasks,
        ];
        assert_eq!(quickstep(&arguments, "[\"input\"]"), expected, "{name}");
    }
}

#[test]
fn what_tasks_go_through_is_logged() {
    let folder = folder("steps");
    let log = folder.join("log").to_str().unwrap().to_owned();
    let tasks = file(&folder, "tasks.json", r#"{"tasks":{"*":{"result":7}}}"#);
    for (name, resource, expected) in [
        (
            "sync",
            "arn:aws:states:::ecs:runTask.sync",
            [
                "TaskScheduled",
                "TaskStarted",
                "TaskSubmitted",
                "TaskSucceeded",
            ]
            .as_slice(),
        ),
        (
            "activity",
            "arn:aws:states:us-east-1:000000000000:activity:a",
            &["ActivityScheduled", "ActivityStarted", "ActivitySucceeded"],
        ),
        (
            "lambda",
            QUOTE,
            &[
                "LambdaFunctionScheduled",
                "LambdaFunctionStarted",
                "LambdaFunctionSucceeded",
            ],
        ),
    ] {
        let definition = file(&folder, &format!("{name}.json"), task(resource, ""));
        let arguments = [
            "run",
            "--quiet",
            "--type",
            "standard",
            &definition,
            "--tasks",
            &tasks,
            "--log",
            &log,
        ];
        assert_eq!(quickstep(&arguments, "{}"), ran(0, "7\n", ""));
        let text = std::fs::read_to_string(&log).unwrap();
        let types: Vec<&str> = text
            .lines()
            .map(|line| line.split('"').nth(7).unwrap())
            .collect();
        assert_eq!(&types[2..types.len() - 2], expected, "{text}");
        let submitted = text.lines().find(|line| line.contains("TaskSubmitted"));
        assert!(
            submitted.is_none_or(|line| line.contains(r#""output":"{}""#)),
            "{text}"
        );
    }
}

#[test]
fn bad_files() {
    let folder = folder("bad-tasks");
    let definition = file(&folder, "quotes.json", task(QUOTE, ""));
    let bad = file(&folder, "bad.json", "{\"tasks\": {\"x\": {\"resul\": 1}}}");
    for (tasks, expected) in [
        ("no/such/file", "error: no/such/file: "),
        (
            &bad,
            "bad.json: at /tasks/x/resul: unknown; did you mean `result`?",
        ),
    ] {
        let Ran { code, err, .. } = quickstep(&["run", &definition, "--tasks", tasks], "1\n");
        assert_eq!(code, 2);
        assert!(err.contains(expected), "{err}");
    }
}
