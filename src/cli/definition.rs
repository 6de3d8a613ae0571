//! Loading a definition for the commands that run it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::validate;
use crate::asl::{self, Diagnostic, MachineType, Severity};
use crate::engine::{StateMachine, check_name};

/// Reads and compiles a definition; what is wrong with it is shown on `err`, and there is no machine then.
pub(super) fn load(
    file: &str,
    name: Option<&str>,
    machine_type: MachineType,
    err: &mut dyn Write,
) -> io::Result<Option<StateMachine>> {
    match read(file, err)? {
        Some(text) => compile(file, &text, name, machine_type, err),
        None => Ok(None),
    }
}

/// Reads a definition's text; if it cannot be read, `err` says so.
pub(super) fn read(file: &str, err: &mut dyn Write) -> io::Result<Option<String>> {
    let text = if file == "-" {
        validate::load(io::stdin())
    } else {
        File::open(file).and_then(validate::load)
    };
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            writeln!(err, "error: failed to read {}: {error}", shown(file))?;
            Ok(None)
        }
    }
}

fn shown(file: &str) -> &str {
    if file == "-" { "<stdin>" } else { file }
}

/// Compiles the text of `file`; what is wrong with it is shown on `err`, and there is no machine then.
pub(super) fn compile(
    file: &str,
    text: &str,
    name: Option<&str>,
    machine_type: MachineType,
    err: &mut dyn Write,
) -> io::Result<Option<StateMachine>> {
    let shown = shown(file);
    let compiled = StateMachine::builder()
        .name(&name.map_or_else(|| name_of(file), str::to_owned))
        .machine_type(machine_type)
        .compile(text);
    match compiled {
        Ok(machine) => {
            if !machine.warnings().is_empty() {
                validate::show(shown, text, machine.warnings(), err)?;
            }
            Ok(Some(machine))
        }
        Err(diagnostics) => {
            validate::show(shown, text, &diagnostics, err)?;
            if machine_type == MachineType::Express && is_valid_standard(text) {
                writeln!(
                    err,
                    "help: it is valid as STANDARD, which `quickstep validate` assumes, but not as EXPRESS, which this command \
                     assumes: try --type standard"
                )?;
            }
            Ok(None)
        }
    }
}

/// The file's name up to its first dot, with `-` for what a name may not hold.
fn name_of(file: &str) -> String {
    const CHARS_MAX: usize = 80;
    let name = Path::new(file).file_name().and_then(|name| name.to_str());
    let stem = name.and_then(|name| name.split('.').next()).unwrap_or("");
    if stem.is_empty() || file == "-" {
        return "StateMachine".to_owned();
    }
    let allowed = |c: char| check_name(c.encode_utf8(&mut [0; 4])).is_ok();
    let chars = stem.chars().take(CHARS_MAX);
    chars.map(|c| if allowed(c) { c } else { '-' }).collect()
}

fn is_valid_standard(text: &str) -> bool {
    let is_error = |d: &Diagnostic| d.severity == Severity::Error;
    let reading = asl::read(text, MachineType::Standard);
    match reading.definition {
        Some(definition) => !asl::unsupported(&definition).iter().any(is_error),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let long = format!("{}.json", "x".repeat(100));
        for (file, name) in [
            ("a/b/order.v2.asl.json", "order"),
            ("-", "StateMachine"),
            ("a/.asl.json", "StateMachine"),
            ("my order#2.asl.json", "my-order-2"),
            (&*long, &"x".repeat(80)),
        ] {
            assert_eq!(name_of(file), name);
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
