//! The engine as a contender: the interpreter with the task answered in place, as an embedder's worker runs it.

use super::Contender;
use quickstep::asl::{self, MachineType};
use quickstep::history::NoEvents;
use quickstep::interp::{
    Completion, Execution, Invocation, MachineIdentity, Outcome, Start, Yield,
};
use quickstep::program::Program;
use quickstep::stdx::Timestamp;
use std::fs;
use std::path::Path;
use std::sync::Arc;

struct Engine {
    program: Program,
    machine: Arc<MachineIdentity>,
    execution: Execution,
    seed: u64,
}

/// The engine running the machine in `definition` with the Task `quote` bound to [`super::quote`].
pub(crate) fn contender(definition: &Path) -> Option<Box<dyn Contender>> {
    let text = fs::read_to_string(definition).ok()?;
    let definition = asl::read(&text, MachineType::Express).definition?;
    Some(Box::new(Engine {
        program: quickstep::compile::compile(&definition),
        machine: Arc::new(MachineIdentity::local("bench", MachineType::Express)),
        execution: Execution::new(),
        seed: 0,
    }))
}

impl Contender for Engine {
    fn run(&mut self, event: &[u8], out: &mut Vec<u8>) {
        self.seed = self.seed.wrapping_add(1);
        let now = Timestamp::from_millis(0);
        let start = Start {
            invocation: Invocation::Synchronous,
            input: event,
            machine: &self.machine,
            name: None,
            now,
            seed: self.seed,
        };
        let Engine {
            program, execution, ..
        } = self;
        if let Err(error) = execution.start(program, &start, &mut NoEvents) {
            panic!("{error}");
        }
        loop {
            match execution.step(program, now, &mut NoEvents) {
                Yield::Done => break,
                Yield::Task(handle) => {
                    let completion = Completion::Succeeded(super::quote());
                    let answered =
                        execution.complete(program, handle, completion, now, &mut NoEvents);
                    assert!(answered.is_ok(), "the task is still waiting");
                }
                Yield::OutOfFuel => execution.refuel(quickstep::interp::FUEL),
                Yield::Parked(at) => panic!("parked until {at}"),
            }
        }
        match execution.outcome() {
            Some(Outcome::Succeeded(_)) => execution.write_output(program, out),
            outcome => panic!("{outcome:?}"),
        }
    }
}
