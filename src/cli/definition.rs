//! Loading a definition for the commands that run it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::validate;
use crate::asl::{self, Diagnostic, MachineType, Severity};
use crate::engine::StateMachine;

/// Reads and compiles a definition; what is wrong with it is shown on `err`, and there is no machine then.
pub(super) fn load(
    file: &str,
    name: Option<&str>,
    machine_type: MachineType,
    err: &mut dyn Write,
) -> io::Result<Option<StateMachine>> {
    let (shown, text) = if file == "-" {
        ("<stdin>", validate::load(io::stdin()))
    } else {
        (file, File::open(file).and_then(validate::load))
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            writeln!(err, "error: failed to read {shown}: {error}")?;
            return Ok(None);
        }
    };
    let compiled = StateMachine::builder()
        .name(name.unwrap_or(name_of(file)))
        .machine_type(machine_type)
        .compile(&text);
    match compiled {
        Ok(machine) => {
            if !machine.warnings().is_empty() {
                validate::show(shown, &text, machine.warnings(), err)?;
            }
            Ok(Some(machine))
        }
        Err(diagnostics) => {
            validate::show(shown, &text, &diagnostics, err)?;
            if machine_type == MachineType::Express && is_valid_standard(&text) {
                writeln!(
                    err,
                    "help: EXPRESS machines refuse this, STANDARD ones do not: try --type standard"
                )?;
            }
            Ok(None)
        }
    }
}

/// The file's name up to its first dot.
fn name_of(file: &str) -> &str {
    let name = Path::new(file)
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.split('.').next());
    match name {
        Some(name) if !name.is_empty() && file != "-" => name,
        _ => "StateMachine",
    }
}

fn is_valid_standard(text: &str) -> bool {
    let is_error = |d: &Diagnostic| d.severity == Severity::Error;
    let reading = asl::read(text, MachineType::Standard);
    match reading.definition {
        Some(definition) => !asl::unsupported(&definition).iter().any(is_error),
        None => false,
    }
}
