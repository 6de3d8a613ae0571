//! `quickstep disassemble`: shows what a definition is compiled to.

use std::io::{self, Write};

use super::validate::TypeArg;
use super::{EXIT_SUCCESS, EXIT_TROUBLE, definition};

/// Shows the ops that a definition is compiled to.
#[derive(clap::Args, Clone, Debug)]
pub struct DisassembleArgs {
    /// A definition in Amazon States Language; `-` is the standard input.
    #[arg(value_name = "DEFINITION")]
    pub definition: String,
    /// The type of state machine.
    #[arg(long = "type", value_enum, ignore_case = true, default_value_t = TypeArg::Express)]
    pub machine_type: TypeArg,
}

pub(super) fn run(args: &DisassembleArgs) -> u8 {
    let machine = definition::load(
        &args.definition,
        None,
        args.machine_type.into(),
        &mut io::stderr().lock(),
    );
    match machine {
        Ok(Some(machine)) => {
            // A reader of our output that has gone away is no reason to complain.
            let _ = write!(io::stdout().lock(), "{}", machine.program());
            EXIT_SUCCESS
        }
        Ok(None) | Err(_) => EXIT_TROUBLE,
    }
}
