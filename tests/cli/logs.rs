//! `--log-format compact`, rotation and policy of `run`, and `quickstep logs`.

use std::io::{BufRead, BufReader};

use crate::support::{PICKY, Ran, file, folder, quickstep, start};

/// Runs two executions, of which one fails, with a log; returns the arguments' effect and the log's path.
fn logged(test: &str, more: &[&str]) -> (Ran, std::path::PathBuf) {
    let folder = folder(test);
    let definition = file(&folder, "picky.asl.json", PICKY);
    let log = folder.join("log");
    let mut arguments = vec!["run", "--quiet", "--workers", "1", &definition, "--log"];
    arguments.push(log.to_str().unwrap());
    arguments.extend_from_slice(more);
    let ran = quickstep(
        &arguments,
        "{\"bad\":false}\n{\"bad\":true,\"why\":\"x y\"}\n".repeat(20),
    );
    assert_eq!(ran.code, 1, "{}", ran.err);
    (ran, log)
}

fn logs(arguments: &[&str]) -> Ran {
    quickstep(&[&["logs"], arguments].concat(), "")
}

/// What does not change from run to run: a turn that was long puts the executions in another order.
fn without_times(lines: &str) -> Vec<String> {
    let lines = lines.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["event_timestamp"] = "0".into();
        line["execution_arn"] = "arn".into();
        line.to_string()
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

#[test]
fn compact_logs_show_the_same_events() {
    let (_, json) = logged("logs-json", &[]);
    let (_, compact) = logged("logs-compact", &["--log-format", "compact"]);
    let expected = std::fs::read_to_string(&json).unwrap();
    let compact = compact.to_str().unwrap();
    let Ran { code, out, err } = logs(&["cat", compact]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(without_times(&out), without_times(&expected));
    assert_eq!(out.lines().count(), 20 * (6 + 5));
    let size = std::fs::metadata(compact).unwrap().len() as usize;
    assert!(size * 4 < expected.len(), "{size}");

    let bytes = std::fs::read(compact).unwrap();
    let piped = quickstep(&["logs", "cat", "-"], &bytes);
    assert_eq!((piped.code, piped.out), (0, out.clone()));
    let tail = logs(&["tail", "-n", "3", compact]);
    let last: Vec<&str> = out.lines().rev().take(3).collect();
    let shown: Vec<&str> = tail.out.lines().rev().collect();
    assert_eq!((tail.code, shown), (0, last));

    let grep = |arguments: &[&str]| {
        let ran = logs(&[&["grep", compact], arguments].concat());
        assert_eq!(ran.err, "");
        (ran.code, ran.out.lines().count())
    };
    assert_eq!(grep(&["--level", "error"]), (0, 40));
    assert_eq!(grep(&["--level", "FATAL"]), (0, 20));
    assert_eq!(grep(&["--type", "failstateentered"]), (0, 20));
    assert_eq!(
        grep(&["--state", "Good", "--type", "PassStateExited"]),
        (0, 20)
    );
    assert_eq!(
        grep(&["--machine", "picky", "--text", "\"why\":\"x y\""]),
        (0, 20 * 4)
    );
    assert_eq!(grep(&["--machine", "other"]), (1, 0));
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    let arn = first["execution_arn"].as_str().unwrap();
    assert_eq!(grep(&["--execution", arn]), (0, 6));
    assert_eq!(
        grep(&["--execution", arn.split(':').nth(7).unwrap()]),
        (0, 6)
    );

    let text = logs(&[
        "grep",
        "--format",
        "compact",
        "--type",
        "FailStateEntered",
        compact,
    ])
    .out;
    let line = text.lines().next().unwrap();
    assert!(
        line.contains(" picky ")
            && line.ends_with(" #4 FailStateEntered Bad input={\"bad\":true,\"why\":\"x y\"}"),
        "{line}"
    );
}

#[test]
fn damage_is_reported_and_passed_over() {
    let (_, log) = logged("logs-damaged", &["--log-format", "compact"]);
    let bytes = std::fs::read(&log).unwrap();
    let log = log.to_str().unwrap();
    let whole = logs(&["cat", log]).out;
    // Blocks begin alike; the first one is torn.
    let next = bytes
        .windows(4)
        .skip(4)
        .position(|four| four == &bytes[..4]);
    let first = next.map_or(bytes.len(), |at| at + 4);
    let torn = [&bytes[..first * 3 / 4], &bytes].concat();
    std::fs::write(log, &torn).unwrap();
    let Ran { code, out, err } = logs(&["cat", log]);
    assert_eq!((code, out), (2, whole));
    assert!(
        err.starts_with(&format!(
            "{log}: damaged at offset 0: the block's checksum is wrong"
        )),
        "{err}"
    );
    std::fs::write(log, "{\"id\":\"1\"}\n".repeat(10)).unwrap();
    let Ran { code, out, err } = logs(&["cat", log]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("no block begins here") && err.contains("--log-format compact"),
        "{err}"
    );
    let missing = logs(&["cat", "no/such/log"]);
    assert_eq!(missing.code, 2);
    assert!(
        missing
            .err
            .starts_with("error: failed to read no/such/log: "),
        "{}",
        missing.err
    );
    let wrong = logs(&["grep", "--type", "Succeeded", log]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("there are ExecutionSucceeded"),
        "{}",
        wrong.err
    );
}

#[test]
fn a_log_is_followed() {
    let (_, log) = logged("logs-followed", &["--log-format", "compact"]);
    let log = log.to_str().unwrap();
    let whole = logs(&["cat", log]).out;
    let mut tail = start(&["logs", "tail", "-f", "-n", "2", log]);
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let mut expected: Vec<&str> = whole.lines().rev().take(2).collect();
    expected.reverse();
    assert_eq!([next(), next()], *expected);
    // More of the same comes, in two pieces; then the file is put aside, and a new one begun.
    let bytes = std::fs::read(log).unwrap();
    let append = |part: &[u8]| {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
        file.write_all(part).unwrap();
    };
    append(&bytes[..100]);
    append(&bytes[100..]);
    for line in whole.lines() {
        assert_eq!(next(), line);
    }
    std::fs::rename(log, format!("{log}.1")).unwrap();
    std::fs::write(log, &bytes).unwrap();
    for line in whole.lines() {
        assert_eq!(next(), line);
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn logs_of_a_run_rotate_and_are_sampled() {
    let (_, log) = logged(
        "logs-rotated",
        &[
            "--log-rotate-bytes",
            "20000",
            "--log-keep",
            "20",
            "--log-policy",
            "block",
        ],
    );
    let mut kept = 0;
    let mut number = 0;
    let mut path = log.clone();
    while let Ok(text) = std::fs::read_to_string(&path) {
        assert!(text.len() <= 20_000);
        kept += text.lines().count();
        number += 1;
        path = format!("{}.{number}", log.display()).into();
    }
    assert!(number > 2, "{number}");
    assert_eq!(kept, 20 * (6 + 5), "a run's log is complete");
    let (_, log) = logged("logs-sampled", &["--log-sample", "0"]);
    assert_eq!(std::fs::metadata(log).unwrap().len(), 0);
    let wrong = quickstep(&["run", "x", "--log", "y", "--log-sample", "101"], "");
    assert!(
        wrong.err.contains("a number from 0 to 100 is needed"),
        "{}",
        wrong.err
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_log_that_cannot_be_written() {
    let folder = folder("logs-full");
    let definition = file(&folder, "picky.asl.json", PICKY);
    let arguments = ["run", "--quiet", &definition, "--log", "/dev/full"];
    let Ran { code, out, err } = quickstep(&arguments, "{\"bad\":false}\n");
    // The executions ran; what is missing is said.
    assert_eq!((code, out.as_str()), (2, "{\"bad\":false}\n"));
    assert!(
        err.starts_with("error: failed to write /dev/full: ")
            && err.ends_with("; 6 events are lost\n"),
        "{err}"
    );
}

#[test]
fn help_of_logs_teaches() {
    let Ran { code, out, .. } = quickstep(&["logs", "--help"], "");
    assert_eq!(code, 0);
    for part in [
        "cat",
        "tail",
        "grep",
        "Examples:",
        "--log-format compact",
        "Exit codes:",
    ] {
        assert!(out.contains(part), "{part}");
    }
    let Ran { out, .. } = quickstep(&["run", "--help"], "");
    for part in [
        "--log-policy",
        "the log is complete",
        "--log-rotate-bytes",
        "--log-sample",
    ] {
        let words: Vec<&str> = out.split_whitespace().collect();
        assert!(words.join(" ").contains(part), "{part}");
    }
}
