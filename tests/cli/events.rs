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
    let directory = folder.to_str().unwrap();
    let unreadable = quickstep(&["run", "--quiet", &definition, directory], "");
    assert_eq!((unreadable.code, unreadable.out.as_str()), (2, ""));
    assert!(
        unreadable.err.starts_with("error: failed to read"),
        "{}",
        unreadable.err
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
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    // The standard input is still open.
    let rest = child.wait_with_output().unwrap();
    assert_eq!(rest.status.code(), Some(130));
    let err = String::from_utf8(rest.stderr).unwrap();
    assert!(err.contains("interrupted\n1 execution in "), "{err}");
    drop(input);
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
