//! What is printed: envelopes, logs, the order of results, time that is skipped, programs.

use crate::support::{PASS, PICKY, QUOTE, Ran, file, folder, quickstep, ran, run, task};
use serde_json::{Value, json};

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn envelopes_say_everything() {
    let stdin = "{\"bad\":false}\n{\"bad\":true}\n{]\n";
    let Ran { code, out, err } = run("envelope", PICKY, &["--envelope", "--keep-going"], stdin);
    assert_eq!((code, err.as_str()), (1, ""));
    let mut seen = objects(&out);
    for envelope in &mut seen[..2] {
        let envelope = envelope.as_object_mut().unwrap();
        let name = envelope.remove("name").unwrap();
        assert_eq!(name.as_str().unwrap().len(), 36);
        assert!(envelope.remove("duration_ms").unwrap().as_f64().unwrap() > 0.0);
    }
    let cause = seen[2].as_object_mut().unwrap().remove("cause").unwrap();
    assert!(
        cause.as_str().unwrap().starts_with("invalid JSON"),
        "{cause}"
    );
    assert_eq!(
        seen,
        [
            json!({"line": 1, "status": "SUCCEEDED", "output": {"bad": false}, "transitions": 2}),
            json!({"line": 2, "status": "FAILED", "error": "Bad.Event", "cause": "it says\nso", "transitions": 2}),
            json!({"line": 3, "status": "INVALID"}),
        ]
    );
}

const WAITS: &str = r#"{"StartAt":"W","States":{
  "W":{"Type":"Wait","SecondsPath":"$.s","Next":"P"},"P":{"Type":"Pass","End":true}}}"#;

#[test]
fn virtual_time_skips_waits() {
    let folder = folder("virtual");
    let definition = file(&folder, "waits.asl.json", WAITS);
    let arguments = ["run", &definition, "--time", "virtual"];
    let standard = [&arguments[..], &["--type", "standard", "--envelope"]].concat();
    let Ran { code, out, err } = quickstep(&standard, "{\"s\":7200}\n{\"s\":3600}\n{\"s\":0}\n");
    let skipped: Vec<Option<i64>> = objects(&out)
        .iter()
        .map(|envelope| envelope["skipped_ms"].as_i64())
        .collect();
    assert_eq!(
        (code, skipped),
        (0, vec![Some(7_200_000), Some(3_600_000), None])
    );
    assert!(
        err.contains("virtual time: 3 h 0 min 0 s of waiting skipped\n"),
        "{err}"
    );
    // An EXPRESS execution ends after five minutes.
    let express = [&arguments[..], &["--quiet"]].concat();
    assert_eq!(
        quickstep(&express, "{\"s\":301}\n{\"s\":299}"),
        ran(1, "{\"s\":299}\n", "line 1: TIMED_OUT: States.Timeout\n")
    );
}

#[test]
fn results_in_order_or_as_they_come() {
    let stdin = "{\"s\":1}\n{\"s\":0,\"n\":2}\n{\"s\":0,\"n\":3}\n";
    for workers in ["1", "2"] {
        let run = |name: &str, more: &[&str]| {
            let more = [&["--workers", workers], more].concat();
            let Ran { code, out, err } = run(&format!("{name}-{workers}"), WAITS, &more, stdin);
            assert_eq!((code, err.as_str()), (0, ""));
            out
        };
        assert_eq!(
            run("ordered", &[]),
            "{\"s\":1}\n{\"s\":0,\"n\":2}\n{\"s\":0,\"n\":3}\n"
        );
        let unordered = run("unordered", &["--unordered", "--envelope"]);
        let lines: Vec<i64> = objects(&unordered)
            .iter()
            .map(|envelope| envelope["line"].as_i64().unwrap())
            .collect();
        assert_eq!(lines, [2, 3, 1]);
        // No more than one at a time: the wait holds the others up.
        assert_eq!(
            run("narrow", &["--unordered", "--in-flight", "1"]),
            "{\"s\":1}\n{\"s\":0,\"n\":2}\n{\"s\":0,\"n\":3}\n"
        );
    }
}

#[test]
fn logs_by_level() {
    let folder = folder("log");
    let definition = file(&folder, "picky.asl.json", PICKY);
    let log = folder.join("log.ndjson");
    let log = log.to_str().unwrap();
    let stdin = "{\"bad\":false}\n{\"bad\":true}\n".repeat(500);
    let mut types_of_level = Vec::new();
    for level in ["ALL", "ERROR", "FATAL", "OFF"] {
        let arguments = [
            "run",
            "--quiet",
            &definition,
            "--log",
            log,
            "--log-level",
            level,
            "--workers",
            "2",
        ];
        assert_eq!(quickstep(&arguments, &stdin).code, 1);
        let lines = objects(&std::fs::read_to_string(log).unwrap());
        let first = lines.first().map(|line| line["execution_arn"].clone());
        if let Some(arn) = &first {
            let arn = arn.as_str().unwrap();
            assert!(
                arn.starts_with("arn:aws:states:us-east-1:000000000000:express:picky:"),
                "{arn}"
            );
        }
        let failed = lines
            .iter()
            .filter(|line| line["type"] == "ExecutionFailed")
            .count();
        assert_eq!(failed, if level == "OFF" { 0 } else { 500 });
        let types: Vec<String> = lines
            .iter()
            .filter(|line| Some(&line["execution_arn"]) == first.as_ref())
            .map(|line| line["type"].as_str().unwrap().to_owned())
            .collect();
        types_of_level.push((lines.len(), types));
    }
    assert_eq!(types_of_level[0].0, 500 * (6 + 5));
    assert_eq!(
        types_of_level[0].1,
        [
            "ExecutionStarted",
            "ChoiceStateEntered",
            "ChoiceStateExited",
            "PassStateEntered",
            "PassStateExited",
            "ExecutionSucceeded"
        ]
    );
    assert_eq!(
        types_of_level[1],
        (
            1_000,
            vec!["FailStateEntered".to_owned(), "ExecutionFailed".to_owned()]
        )
    );
    assert_eq!(types_of_level[2].0, 500);
    assert_eq!(types_of_level[3].0, 0);
    let unwritable = quickstep(&["run", &definition, "--log", "no/such/folder/log"], "");
    assert_eq!(unwritable.code, 2);
    assert!(unwritable.err.contains("failed to open no/such/folder/log"));
}

#[test]
fn definitions_that_are_not_run() {
    let folder = folder("refused");
    let broken = file(&folder, "broken.asl.json", PASS.replace("Pass", "Pas"));
    let Ran { code, out, err } = quickstep(&["run", &broken], "1\n");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("did you mean `Pass`?") && err.contains(": 1 error\n"),
        "{err}"
    );
    let callback = file(
        &folder,
        "callback.asl.json",
        task("arn:aws:states:::sqs:sendMessage.waitForTaskToken", ""),
    );
    let Ran { code, err, .. } = quickstep(&["run", &callback], "1\n");
    assert_eq!(code, 2);
    assert!(err.ends_with("try --type standard\n"), "{err}");
    assert_eq!(quickstep(&["run", "no/such/definition"], "").code, 2);
}

#[test]
fn a_task_that_nobody_answers_for() {
    let Ran { code, out, err } = run("unhandled", &task(QUOTE, ""), &[], "1\n2\n");
    assert_eq!((code, out.as_str()), (1, ""));
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    assert!(
        lines[0].starts_with(&format!("warning: nothing answers for {QUOTE} (state Ask)")),
        "{err}"
    );
    assert!(
        lines[2].starts_with(&format!(
            "line 2: FAILED: States.Runtime: Nothing answers for the Resource {QUOTE} of the state Ask."
        )) && lines[2].contains("--tasks FILE"),
        "{err}"
    );
}

#[test]
fn programs_as_text() {
    let folder = folder("disassemble");
    let definition = file(&folder, "pass.asl.json", PASS);
    let Ran { code, out, err } = quickstep(&["disassemble", &definition], "");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "Pass \"A\":\n    0  enter        \"A\"\n    1  exit-end     \"A\"\n"
    );
}

#[test]
fn help_teaches() {
    let Ran { code, out, .. } = quickstep(&["run", "--help"], "");
    assert_eq!(code, 0);
    for part in [
        "Examples:",
        "--time virtual",
        "MockConfigFile.json#HappyPath",
        "Exit codes:",
    ] {
        assert!(out.contains(part), "{part}");
    }
    let version = quickstep(&["--version"], "");
    assert_eq!(
        (version.code, version.out.as_str()),
        (0, "quickstep 0.1.0\n")
    );
    assert_eq!(quickstep(&["run"], "").code, 2);
}
