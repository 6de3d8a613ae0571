//! Running the binary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a command left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A state machine of one state that hands its input on.
pub(crate) const PASS: &str = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}"#;

/// A state machine that fails if `$.bad` is true.
pub(crate) const PICKY: &str = r#"{"StartAt":"Check","States":{
  "Check":{"Type":"Choice","Choices":[{"Variable":"$.bad","BooleanEquals":true,"Next":"Bad"}],"Default":"Good"},
  "Good":{"Type":"Pass","End":true},
  "Bad":{"Type":"Fail","Error":"Bad.Event","Cause":"it says\nso"}}}"#;

/// One Task state.
pub(crate) fn task(resource: &str, more: &str) -> String {
    format!(
        r#"{{"StartAt":"Ask","States":{{"Ask":{{"Type":"Task","Resource":"{resource}","End":true{more}}}}}}}"#
    )
}

/// A function's ARN.
pub(crate) const QUOTE: &str = "arn:aws:lambda:us-east-1:000000000000:function:quote";

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A place for the files of one test.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a file and returns its path.
pub(crate) fn file(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_quickstep"))
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn quickstep(arguments: &[&str], stdin: impl AsRef<[u8]>) -> Ran {
    let mut child = start(arguments);
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.as_ref().to_vec();
    let writer = std::thread::spawn(move || {
        // The command may stop before it has read everything.
        let _ = input.write_all(&stdin);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `quickstep run --quiet` of a definition on lines.
pub(crate) fn run(test: &str, definition: &str, more: &[&str], stdin: impl AsRef<[u8]>) -> Ran {
    let folder = folder(test);
    let definition = file(&folder, "machine.asl.json", definition);
    let mut arguments = vec!["run", "--quiet", &definition];
    arguments.extend_from_slice(more);
    quickstep(&arguments, stdin)
}

pub(crate) fn ran(code: i32, out: &str, err: &str) -> Ran {
    Ran {
        code,
        out: out.to_owned(),
        err: err.to_owned(),
    }
}
