//! The flags of `serve` and `run` that say what may be called.

use std::process::{Command, Output};

use serde_json::json;

use crate::endpoint::{Endpoint, Reaction, json as answer};
use crate::support::one_task;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";

/// The program, knowing nothing of this machine's accounts.
fn quickstep(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quickstep"))
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap()
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file in a folder of this test's own.
fn file(name: &str, text: &str) -> String {
    let folder = std::env::temp_dir().join(format!("quickstep-flags-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_no_endpoint_is_refused() {
    for (flags, problem) in [
        (["--endpoint", "nonsense"], "'nonsense' is no address"),
        (
            ["--endpoint", "nosuch=http://a"],
            "there is no service 'nosuch'",
        ),
        (
            ["--http-connections", "/nonexistent"],
            "failed to read connections",
        ),
    ] {
        let ran = quickstep(&["serve", flags[0], flags[1]]);
        assert_eq!(ran.status.code(), Some(2));
        assert!(shown(&ran).contains(problem), "{}", shown(&ran));
    }
}

#[test]
fn a_run_calls_what_was_given_an_address() {
    let endpoint = Endpoint::start(|_, asked| match asked.body.as_str() {
        "1" => answer(200, "\"one\""),
        _ => Reaction::Answer(
            200,
            vec![("X-Amz-Function-Error", "Unhandled".to_owned())],
            r#"{"errorType":"NotOne"}"#.to_owned(),
        ),
    });
    let mut definition = one_task(FUNCTION, json!({}));
    definition["States"]["T"]
        .as_object_mut()
        .unwrap()
        .remove("Parameters");
    let definition = file("m.asl.json", &definition.to_string());
    let address = format!("lambda={}", endpoint.url(""));
    let run = ["run", "--quiet", "--endpoint", &address, &definition];
    let ran = quickstep(&[&run[..], &["--input", "1"]].concat());
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        "\"one\"\n",
        "{}",
        shown(&ran)
    );
    let ran = quickstep(&[&run[..], &["--input", "2"]].concat());
    assert_eq!(ran.status.code(), Some(1));
    assert!(shown(&ran).contains("FAILED: NotOne"), "{}", shown(&ran));
    // A file of answers wins.
    let tasks = file(
        "tasks.json",
        &json!({"tasks": {FUNCTION: {"result": "mocked"}}}).to_string(),
    );
    let ran = quickstep(&[&run[..], &["--input", "1", "--tasks", &tasks]].concat());
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "\"mocked\"\n");
    assert_eq!(endpoint.asked().len(), 2);
}

#[test]
fn who_has_no_credentials_is_told_what_helps() {
    let definition = json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": FUNCTION, "End": true}}});
    let definition = file("aws.asl.json", &definition.to_string());
    for (flags, problem) in [
        (&["--input", "1"][..], "--endpoint URL or --aws"),
        (
            &["--input", "1", "--aws"][..],
            "no credentials of AWS were found",
        ),
        (&["--input", "1", "--aws"][..], "--endpoint URL"),
    ] {
        let ran = quickstep(&[&["run", "--quiet", &definition][..], flags].concat());
        assert_eq!(ran.status.code(), Some(1));
        assert!(shown(&ran).contains(problem), "{}", shown(&ran));
    }
}
