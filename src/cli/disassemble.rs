//! `quickstep disassemble`: shows what a definition is compiled to.

use std::io::{self, Write};

use super::plain::Plain;
use super::validate::TypeArg;
use super::{EXIT_SUCCESS, EXIT_TROUBLE, definition, stdout};

/// Shows the ops that a definition is compiled to.
#[derive(clap::Args, Clone, Debug)]
pub struct DisassembleArgs {
    /// A definition in Amazon States Language; `-` is the standard input.
    #[arg(value_name = "DEFINITION")]
    pub definition: String,
    /// The type of state machine; `quickstep run --help` has the difference.
    #[arg(long = "type", value_enum, ignore_case = true, default_value_t = TypeArg::Express)]
    pub machine_type: TypeArg,
}

pub(super) fn run(args: &DisassembleArgs) -> u8 {
    let mut err = Plain(io::stderr().lock());
    let machine = definition::load(&args.definition, None, args.machine_type.into(), &mut err);
    match machine {
        Ok(Some(machine)) => {
            let mut out = Plain(io::stdout().lock());
            let written = write!(out, "{}", machine.program()).and_then(|()| out.flush());
            match written {
                Ok(()) => EXIT_SUCCESS,
                Err(error) => stdout::not_written(&error, &mut err),
            }
        }
        Ok(None) | Err(_) => EXIT_TROUBLE,
    }
}
