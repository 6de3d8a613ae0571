//! Outputs that cannot be written: closed, full, or with nobody who reads them.

use crate::support::{PASS, Ran, file, folder, root};
use std::path::Path;
use std::process::Command;

/// Runs the binary by a shell, which redirects its outputs.
fn redirected(arguments: &[&str], redirection: &str) -> Ran {
    let output = Command::new("sh")
        .args(["-c", &format!("\"$0\" \"$@\" {redirection}")])
        .arg(env!("CARGO_BIN_EXE_quickstep"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Every command that prints, with files in `folder`.
fn commands(folder: &Path) -> Vec<Vec<String>> {
    let valid = file(folder, "pass.asl.json", PASS);
    let invalid = file(folder, "pas.asl.json", PASS.replace("Pass", "Pas"));
    let events = file(folder, "events.ndjson", "1\n".repeat(100));
    let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![
        command(&["run", "--quiet", &valid, &events]),
        command(&[
            "run",
            "--quiet",
            "--envelope",
            "--unordered",
            &valid,
            &events,
        ]),
        command(&["validate", &valid]),
        command(&["validate", "--format", "json", &invalid]),
        command(&["disassemble", &valid]),
        command(&["--help"]),
        command(&["--version"]),
    ]
}

#[test]
fn without_a_standard_output_nothing_is_done() {
    for command in commands(&folder("closed")) {
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        let Ran { code, err, .. } = redirected(&arguments, ">&-");
        assert_eq!(code, 2, "{command:?}");
        assert_eq!(
            err,
            "error: the standard output is closed; to discard what is printed, send it to /dev/null\n",
            "{command:?}"
        );
        // Neither of these is a closed output.
        for redirection in ["> /dev/null", "<> /dev/null >&0", "2>&-", "<&-"] {
            assert!(
                redirected(&arguments, redirection).code < 2,
                "{command:?} {redirection}"
            );
        }
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let folder = folder("full");
    for command in commands(&folder) {
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        let Ran { code, err, .. } = redirected(&arguments, "> /dev/full");
        assert_eq!(code, 2, "{command:?}");
        assert!(
            err.starts_with("error: failed to write to the standard output: No space left"),
            "{command:?} {err}"
        );
    }
    let definition = file(&folder, "pass.asl.json", PASS);
    for count in [1, 100_000] {
        let events = file(&folder, "events.ndjson", "1\n".repeat(count));
        let arguments = ["run", "-q", &definition, &events, "--log", "/dev/full"];
        let Ran { code, out, err } = redirected(&arguments, "");
        assert_eq!((code, out.len()), (2, 2 * count));
        assert!(
            err.starts_with("error: failed to write /dev/full: No space left"),
            "{err}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_trouble() {
    let folder = folder("gone");
    for command in commands(&folder) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_quickstep"))
            .args(&command)
            .stdout(writer)
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), err.as_str()),
            (Some(141), ""),
            "{command:?}"
        );
    }
}
