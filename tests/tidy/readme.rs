//! The README's commands are run, and what it shows is what they print.
//!
//! - In a block marked `sh`, a line is a command for the reader. Those that run the binary are run here and have to end
//!   with 0 or 1, the code for failed executions; of the others it is checked that what they name is there.
//! - In a block marked `console`, a line that begins with `$ ` is a command, and what follows is what it prints on both
//!   outputs. `…` stands for any text.

use std::fs;
use std::process::Command;

use super::root;

const CARGO_RUN: &str = "cargo run --release -- ";

/// The lines of the README's blocks that are marked `language`.
fn blocks(language: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let mut found = Vec::new();
    let mut block: Option<(bool, Vec<String>)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut block) {
            (Some(marked), None) => block = Some((marked == language, Vec::new())),
            (Some(_), Some(_)) => {
                if let Some((true, lines)) = block.take() {
                    found.push(lines);
                }
            }
            (None, Some((_, lines))) => lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(block.is_none(), "a block of the README is not closed");
    assert!(!found.is_empty(), "the README has no block {language}");
    found
}

/// Whether `text` is `pattern`, in which `…` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn patterns_match() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…c", "abc", true),
        ("a…b…", "a1b2", true),
        ("a…b…b", "ab", false),
        ("…", "", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

/// Runs a command line from the root, with `quickstep` on the path: what it prints on both outputs, and its exit code.
#[cfg(feature = "server")]
fn shell(line: &str) -> (String, i32) {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_quickstep"));
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":/usr/local/bin:/usr/bin:/bin");
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {line}; }} 2>&1")])
        .env("PATH", path)
        .current_dir(root())
        .output()
        .unwrap();
    let code = output.status.code().unwrap_or(-1);
    (String::from_utf8(output.stdout).unwrap(), code)
}

#[cfg(feature = "server")]
#[test]
fn outputs_are_what_is_printed() {
    for block in blocks("console") {
        let mut lines = block.iter().peekable();
        while let Some(line) = lines.next() {
            let command = line
                .strip_prefix("$ ")
                .unwrap_or_else(|| panic!("a block of the README begins with its output: {line}"));
            let mut expected = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                expected.push_str(line);
                expected.push('\n');
            }
            let (printed, _) = shell(command);
            assert!(
                matches(expected.trim_end(), printed.trim_end()),
                "{command}\n--- README\n{expected}\n--- printed\n{printed}"
            );
        }
    }
}

/// Runs the binary as a command line does, but in no time, and leaves no file behind.
#[cfg(feature = "server")]
fn run(line: &str) {
    let line = line.split(" > ").next().unwrap();
    let (printed, code) = shell(&format!("quickstep {line} --time virtual"));
    assert!(code == 0 || code == 1, "{line}: {code}\n{printed}");
}

#[cfg(not(feature = "server"))]
fn run(_: &str) {}

#[test]
fn commands_are_there() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for command in blocks("sh").concat() {
        let command = command.split(" #").next().unwrap().trim_end();
        if let Some(arguments) = command.strip_prefix(CARGO_RUN) {
            run(arguments);
        } else if let Some(bench) = command.strip_prefix("cargo bench --bench ") {
            let entry = format!("[[bench]]\nname = \"{bench}\"\n");
            assert!(manifest.contains(&entry), "{command}");
        } else if let Some(example) = command.strip_prefix("cargo run --example ") {
            assert!(root().join(format!("examples/{example}.rs")).exists());
        } else if command.starts_with("scripts/") {
            let script = command.split(' ').next().unwrap();
            // As the shell asks: is there a file, and may it be run?
            let status = Command::new("test")
                .args(["-x", script])
                .current_dir(root())
                .status();
            assert!(status.unwrap().success(), "{command}");
        } else {
            assert_eq!(
                command, "cargo install --path .",
                "nothing checks this command"
            );
        }
    }
}
