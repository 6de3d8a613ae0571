//! Events: where they come from, and lines of every kind.

use crate::support::{PASS, PICKY, Ran, file, folder, quickstep, ran, root, run, start};
use std::io::{BufRead, BufReader, Read, Write};

#[test]
fn lines_of_every_kind() {
    for (i, (stdin, out)) in [
        ("", ""),
        ("1\n2\n", "1\n2\n"),
        ("1\n2", "1\n2\n"),
        ("{\"a\" : 1}\r\n[ 2 ]\r\n", "{\"a\":1}\n[2]\n"),
        ("\n\n1\n \t\r\n2\n\n", "1\n2\n"),
        ("\"é\\u00e9\"\n", "\"éé\"\n"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            run(&format!("lines-{i}"), PASS, &[], stdin),
            ran(0, out, "")
        );
    }
}

#[test]
fn a_file_or_one_input() {
    let folder = folder("inputs");
    let definition = file(&folder, "pass.asl.json", PASS);
    let events = file(&folder, "events.ndjson", "1\n2\n");
    let pretty = file(&folder, "input.json", "{\n  \"a\": 1\n}\n");
    for (arguments, expected) in [
        (vec![events.as_str()], ran(0, "1\n2\n", "")),
        (vec!["-"], ran(0, "\"stdin\"\n", "")),
        (vec!["--input", "[1, 2]"], ran(0, "[1,2]\n", "")),
        (vec!["--input-file", &pretty], ran(0, "{\"a\":1}\n", "")),
    ] {
        let all = [vec!["run", "--quiet", &definition], arguments].concat();
        assert_eq!(quickstep(&all, "\"stdin\""), expected, "{all:?}");
    }
    let missing = quickstep(&["run", &definition, "no/such/file"], "");
    assert_eq!((missing.code, missing.out.as_str()), (2, ""));
    assert!(
        missing
            .err
            .starts_with("error: failed to read no/such/file: "),
        "{}",
        missing.err
    );
    let both = quickstep(&["run", &definition, &events, "--input", "1"], "");
    assert_eq!((both.code, both.out.as_str()), (2, ""));
    let twice = quickstep(&["run", "-"], PASS);
    assert_eq!(twice.code, 2);
    assert!(twice.err.contains("use --input"), "{}", twice.err);
}

#[test]
fn failures_have_their_lines() {
    let stdin = "{\"bad\":false}\n\n{\"bad\":true}\n{\"bad\":false,\"n\":4}\n";
    for workers in ["1", "2"] {
        assert_eq!(
            run(
                &format!("failures-{workers}"),
                PICKY,
                &["--workers", workers],
                stdin
            ),
            ran(
                1,
                "{\"bad\":false}\n{\"bad\":false,\"n\":4}\n",
                "line 3: FAILED: Bad.Event: it says\\nso\n"
            )
        );
    }
}

#[test]
fn an_invalid_line_stops_the_run() {
    let lines: String = (1..=2_000)
        .map(|n| match n {
            700 => "{\"n\": 700,}\n".to_owned(),
            n => format!("{n}\n"),
        })
        .collect();
    let before: String = (1..700).map(|n| format!("{n}\n")).collect();
    for workers in ["1", "2", "7"] {
        let Ran { code, out, err } = run(
            &format!("invalid-{workers}"),
            PASS,
            &["--workers", workers],
            &lines,
        );
        assert_eq!((code, out == before), (2, true), "{err}");
        assert!(
            err.starts_with("line 700: invalid JSON at line 1 column 11: "),
            "{err}"
        );
        assert!(err.contains("--keep-going"), "{err}");
    }
}

#[test]
fn keep_going_passes_over_invalid_lines() {
    let Ran { code, out, err } = run("keep-going", PASS, &["--keep-going"], "1\n{\n3\nnul\n5");
    assert_eq!((code, out.as_str()), (1, "1\n3\n5\n"));
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    assert!(lines[0].starts_with("line 2: invalid JSON at line 1 column "));
    assert!(lines[1].starts_with("line 4: invalid JSON at line 1 column "));
}

#[test]
fn large_lines() {
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let fits = text(262_144);
    let lines = format!("{fits}\n{}\n3\n", text(262_145));
    let Ran { code, out, err } = run("large", PASS, &["--keep-going"], lines);
    assert_eq!((code, out == format!("{fits}\n3\n")), (1, true));
    assert_eq!(
        err,
        "line 2: the input of 262145 bytes exceeds the limit of 262144 bytes\n"
    );
    let lines = format!("1\n{}\n3\n", "x".repeat(17 << 20));
    let Ran { code, out, err } = run("huge", PASS, &["--keep-going"], lines);
    assert_eq!((code, out.as_str()), (1, "1\n3\n"));
    assert_eq!(
        err,
        "line 2: it has 17825792 bytes; lines of more than 16777216 bytes are not read\n"
    );
}

#[test]
fn results_come_while_events_are_still_coming() {
    let folder = folder("interactive");
    let definition = file(&folder, "pass.asl.json", PASS);
    let mut child = start(&["run", "--quiet", &definition]);
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for n in 0..3 {
        writeln!(input, "{n}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{n}\n"));
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_broken_pipe_is_quiet() {
    let folder = folder("pipe");
    let definition = file(&folder, "pass.asl.json", PASS);
    let events = file(&folder, "events.ndjson", "\"0123456789\"\n".repeat(200_000));
    let mut child = start(&["run", &definition, &events]);
    let mut some = [0; 100];
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut some).unwrap();
    drop(output);
    let rest = child.wait_with_output().unwrap();
    assert_eq!(rest.status.code(), Some(141));
    assert_eq!(String::from_utf8(rest.stderr).unwrap(), "");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_run() {
    let folder = folder("interrupt");
    let definition = file(&folder, "pass.asl.json", PASS);
    let mut child = start(&["run", &definition]);
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "1").unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    interrupt(&child);
    // The standard input is still open.
    let rest = child.wait_with_output().unwrap();
    assert_eq!(rest.status.code(), Some(130));
    let err = String::from_utf8(rest.stderr).unwrap();
    assert!(err.contains("interrupted\n1 execution in "), "{err}");
    drop(input);
}

#[cfg(unix)]
fn interrupt(child: &std::process::Child) {
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_is_drained_and_a_second_interrupt_ends_it() {
    let folder = folder("drained");
    let wait = PASS.replace(r#""Pass""#, r#""Wait","SecondsPath":"$""#);
    let definition = file(&folder, "wait.asl.json", wait);
    // Who waits for half an hour is given up, and said to be.
    for (drain, again) in [("0", false), ("3600", true)] {
        let mut child = start(&["run", "--drain", drain, "--unordered", &definition]);
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "1800\n0").unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "0\n");
        interrupt(&child);
        let mut err = BufReader::new(child.stderr.take().unwrap());
        line.clear();
        err.read_line(&mut line).unwrap();
        // Who was printed a moment ago may not be settled yet.
        let expected = ["1 execution", "2 executions"].map(|waiting| {
            format!("waiting for {waiting}, {drain} s at most; interrupt again to end at once\n")
        });
        assert!(expected.contains(&line), "{line}");
        if again {
            interrupt(&child);
        }
        let mut rest = String::new();
        err.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        match again {
            true => assert_eq!(rest, ""),
            false => assert!(
                rest.starts_with("interrupted\n1 execution in ")
                    && rest.contains(": 1 SUCCEEDED, 1 abandoned\n"),
                "{rest}"
            ),
        }
        drop(input);
    }
}

#[test]
fn deliveries_and_dead_letters() {
    let folder = folder("dead-letters");
    let picky = file(&folder, "picky.asl.json", PICKY);
    let dead = folder.join("dead.ndjson");
    let dead = dead.to_str().unwrap();
    let stdin =
        "{\"bad\":false,\"n\":1}\n{\"bad\":true,  \"n\":2}\n{\"bad\n{\"bad\":false,\"n\":4}\n";
    let arguments = [
        "run",
        &picky,
        "--deliveries",
        "3",
        "--delivery-delay",
        "0.001",
    ];
    let more = ["--dead-letter", dead];
    let Ran { code, out, err } = quickstep(&[&arguments[..], &more].concat(), stdin);
    assert_eq!(code, 1);
    // Only the last delivery is printed. It may end before events that follow have been read.
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [r#"{"bad":false,"n":1}"#, r#"{"bad":false,"n":4}"#]);
    assert_eq!(err.matches("line 2: FAILED: Bad.Event").count(), 1, "{err}");
    assert_eq!(err.matches("line 3: invalid JSON").count(), 1, "{err}");
    assert!(
        err.ends_with("4 events read, 2 done, 2 given up; delivered again: 2\n"),
        "{err}"
    );
    let text = std::fs::read_to_string(dead).unwrap();
    let mut letters: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    letters.sort_by_key(|letter| letter["line"].as_u64());
    assert_eq!(
        letters[0],
        serde_json::json!({"line": 2, "status": "FAILED", "error": "Bad.Event", "cause": "it says\nso",
            "deliveries": 3, "event": {"bad": true, "n": 2}})
    );
    assert_eq!(letters[1]["status"], "INVALID");
    assert_eq!(
        (&letters[1]["event"], &letters[1]["deliveries"]),
        (&"{\"bad".into(), &1.into())
    );
    assert_eq!(letters.len(), 2);
    let unwritable = folder.join("no/such/folder");
    let unwritable = unwritable.to_str().unwrap();
    let Ran { code, err, .. } = quickstep(&["run", &picky, "--dead-letter", unwritable], "1\n");
    assert_eq!(code, 2);
    assert!(
        err.starts_with(&format!("error: failed to write {unwritable}: ")),
        "{err}"
    );
}

#[test]
fn a_directory_of_files() {
    let folder = folder("directory");
    let picky = file(&folder, "picky.asl.json", PICKY);
    let incoming = folder.join("incoming");
    std::fs::create_dir(&incoming).unwrap();
    file(&incoming, "a.ndjson", "{\"bad\":false}\n{\"bad\":true}\n");
    file(&incoming, "b.json", "{\n\"bad\": false,\n\"n\": 2\n}");
    file(&incoming, "c.json", "{");
    let path = incoming.to_str().unwrap();
    let Ran { code, out, err } = quickstep(&["run", &picky, path], "");
    assert_eq!(
        (code, out.as_str()),
        (1, "{\"bad\":false}\n{\"bad\":false,\"n\":2}\n")
    );
    assert!(
        err.starts_with("a.ndjson-2: FAILED: Bad.Event: it says\\nso\nc.json: invalid JSON"),
        "{err}"
    );
    assert!(
        err.ends_with("\n4 events read, 3 done, 1 given up\n"),
        "{err}"
    );
    for name in [
        "done/a.ndjson",
        "done/b.json",
        "failed/c.json",
        "failed/c.json.error.txt",
    ] {
        assert!(incoming.join(name).is_file(), "{name}");
    }
    // With dead letters, what fails is given up.
    file(&incoming, "d.json", "{\"bad\":true}");
    let dead = folder.join("dead.ndjson");
    let more = [
        "--dead-letter",
        dead.to_str().unwrap(),
        "--after-done",
        "delete",
        "-q",
    ];
    let Ran { code, .. } = quickstep(&[&["run", &picky, path], &more[..]].concat(), "");
    assert_eq!(code, 1);
    assert!(incoming.join("failed/d.json").is_file());
    let text = std::fs::read_to_string(&dead).unwrap();
    assert!(
        text.starts_with(r#"{"line":1,"name":"d.json","status":"FAILED","#),
        "{text}"
    );
    for option in ["--watch=1", "--after-done=keep"] {
        let Ran { code, err, .. } = quickstep(&["run", &picky, option], "1\n");
        let (name, _) = option.split_once('=').unwrap();
        let expected =
            format!("error: {name} is for the files of a directory: name one in place of EVENTS\n");
        assert_eq!((code, err), (2, expected));
    }
    // An invalid option, and a file where the directory of what is done should be.
    assert_eq!(
        quickstep(&["run", &picky, path, "--watch", "0"], "").code,
        2
    );
    let blocked = folder.join("blocked");
    std::fs::create_dir(&blocked).unwrap();
    file(&blocked, "done", "");
    file(&blocked, "a.json", "{}");
    let Ran { code, err, .. } = quickstep(&["run", "-q", &picky, blocked.to_str().unwrap()], "");
    assert_eq!(code, 2);
    assert!(err.contains("error: failed to make "), "{err}");
}

#[test]
fn the_benchmarks_references() {
    for (name, workers) in [
        ("order", "1"),
        ("order", "2"),
        ("fanout", "1"),
        ("fanout", "2"),
    ] {
        let data = root().join("benches/data");
        let path = |suffix: &str| data.join(format!("{name}{suffix}"));
        let Ran { code, out, err } = quickstep(
            &[
                "run",
                "--workers",
                workers,
                "--tasks",
                "benches/data/tasks.json",
                path(".asl.json").to_str().unwrap(),
                path(".ndjson").to_str().unwrap(),
            ],
            "",
        );
        let reference = std::fs::read_to_string(path(".ref.ndjson")).unwrap();
        assert!(out == reference && code == 0, "{name} {workers} {code}");
        assert!(
            err.starts_with("1,024 executions in ") && err.contains("/s: 1,024 SUCCEEDED\n"),
            "{err}"
        );
        for part in ["latency: p50 ", ", p99 ", ", p99.9 ", ", max "] {
            assert!(err.contains(part), "{err}");
        }
    }
}
