//! Rules of the source that no compiler checks: the order of modules, where `unsafe` may stand, sizes of files, reasons
//! of dependencies, and the README's commands and outputs.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "tidy/readme.rs"]
mod readme;

use std::fs;
use std::path::{Path, PathBuf};

/// A module imports itself and modules before it, nothing else of the crate.
const MODULES: &[&str] = &[
    "stdx",
    "value",
    "path",
    "intrinsic",
    "jsonata",
    "asl",
    "program",
    "compile",
    "history",
    "interp",
    "task",
    "net",
    "aws",
    "integration",
    "journal",
    "log",
    "metrics",
    "runtime",
    "engine",
    "internal",
    "cost",
    "store",
    "server",
    "cli",
];

/// The files that may hold `unsafe`.
const UNSAFE_FILES: [&str; 5] = [
    "bin/quickstep.rs",
    "runtime/slab.rs",
    "runtime/ticks.rs",
    "value/copy.rs",
    "value/ingest.rs",
];

/// Most lines of a file, its tests not counted.
const LINES_MAX: usize = 900;

/// What is not left behind in a commit.
const LEFTOVERS: [&str; 5] = ["TODO", "FIXME", "todo!", "unimplemented!", "dbg!"];

/// A file of `src`.
struct SourceFile {
    /// From `src`, with `/`.
    path: String,
    text: String,
}

impl SourceFile {
    /// The name of the module at the top that the file belongs to, if it belongs to one.
    fn module(&self) -> Option<&str> {
        self.path.split_once('/').map(|(module, _)| module)
    }

    /// The lines before the unit tests, which end a file.
    fn product_lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| *line != "#[cfg(test)]")
    }
}

/// A line without a comment that begins it or follows its code.
fn code(line: &str) -> &str {
    match line.find("//") {
        // Not the `//` of an address.
        Some(at) if at == 0 || line[..at].ends_with(' ') => &line[..at],
        _ => line,
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_in(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_in(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

fn sources() -> Vec<SourceFile> {
    let folder = root().join("src");
    let mut found = Vec::new();
    files_in(&folder, &mut found);
    assert!(found.len() > 50, "{found:?}");
    found
        .iter()
        .map(|path| SourceFile {
            path: path
                .strip_prefix(&folder)
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/"),
            text: fs::read_to_string(path).unwrap(),
        })
        .collect()
}

/// The modules that follow `crate::` in a line of code: one, or those of `crate::{a::X, b}`.
fn imported(line: &str) -> Vec<&str> {
    let name = |text: &str| text.len() - text.trim_start_matches(is_of_a_name).len();
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            // What is nested deeper is not a module of the top; such lines are not written here.
            Some(list) => found.extend(
                list.split([',', '}'])
                    .map(str::trim_start)
                    .map(|part| &part[..name(part)]),
            ),
            None => found.push(&rest[..name(rest)]),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn rank(module: &str) -> Option<usize> {
    MODULES.iter().position(|known| *known == module)
}

#[test]
fn modules_import_downwards() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(module) = file.module() else {
            continue;
        };
        if module == "bin" {
            continue;
        }
        let Some(own) = rank(module) else {
            wrong.push(format!("{}: where does it stand?", file.path));
            continue;
        };
        for (number, line) in file.text.lines().enumerate() {
            for name in imported(code(line)) {
                // What lib.rs exports again has no rank: within the crate, names come from their modules.
                if rank(name).is_none_or(|imported| imported > own) {
                    wrong.push(format!("{}:{}: {line}", file.path, number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "upward imports:\n{}", wrong.join("\n"));
}

#[test]
fn imports_are_found() {
    assert_eq!(imported("use crate::value::{Doc, Val};"), ["value"]);
    assert_eq!(
        imported("use crate::{asl::Resource, path};"),
        ["asl", "path"]
    );
    assert_eq!(
        imported("fn f(_: crate::cli::Cli, _: &crate::stdx::FixedMap<u8, u8>) {}"),
        ["cli", "stdx"]
    );
    assert_eq!(code("let x = 1; // crate::cli"), "let x = 1; ");
    assert_eq!(code("/// crate::cli"), "");
}

#[test]
fn unsafe_has_an_address() {
    let mut found = Vec::new();
    for file in sources() {
        let has_unsafe = file.text.lines().any(|line| {
            code(line)
                .split(|c| !is_of_a_name(c))
                .any(|word| word == "unsafe")
        });
        if has_unsafe {
            found.push(file.path);
        }
    }
    assert_eq!(found, UNSAFE_FILES);
}

#[test]
fn files_are_short() {
    for file in sources() {
        let lines = file.product_lines().count();
        assert!(
            lines <= LINES_MAX,
            "{}: {lines} lines before its tests; is it still one idea?",
            file.path
        );
    }
}

#[test]
fn nothing_is_left_behind() {
    for file in sources() {
        for (number, line) in file.text.lines().enumerate() {
            for leftover in LEFTOVERS {
                let number = number + 1;
                assert!(!line.contains(leftover), "{}:{number}: {line}", file.path);
            }
        }
    }
}

#[test]
fn every_module_says_what_it_is() {
    for file in sources() {
        assert!(file.text.starts_with("//! "), "{}: no //!", file.path);
    }
}

#[test]
fn dependencies_have_reasons() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut dependencies = 0;
    let (mut in_dependencies, mut before) = (false, "");
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if in_dependencies && line.contains(" = ") && !line.starts_with('#') {
            dependencies += 1;
            assert!(
                before.starts_with("# ") && before.ends_with('.'),
                "Cargo.toml: above `{line}` there is no sentence that says why"
            );
        }
        before = line;
    }
    assert!(dependencies > 10, "{dependencies} dependencies found");
}
