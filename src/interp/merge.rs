//! `ResultPath`: the state's input with its result put in (ASL specification, "ResultPath").

use super::context::values;
use super::run::{Raised, Registers, Run};
use crate::history::Observer;
use crate::program::{MergeId, MergeStep};
use crate::value::{Kind, Val};

impl<O: Observer> Run<'_, O> {
    /// `data` with `value` at the place that the path names; objects on the way are made where there are none.
    pub(super) fn merge(
        &mut self,
        frame: u32,
        merge: MergeId,
        registers: &Registers,
    ) -> Result<Val, Raised> {
        let program = self.program;
        let steps = &program.merges[merge.index()];
        let constants = &program.constants;
        if let [MergeStep::Child(_, key)] = &**steps {
            if values(self.execution, program).kind(registers.data) == Kind::Object {
                return Ok(self.execution.doc.replace_member(
                    constants,
                    registers.data,
                    *key,
                    registers.value,
                ));
            }
        }
        // The containers on the way down, then their new versions on the way up.
        let mut containers = Vec::with_capacity(steps.len());
        let mut at = Some(registers.data);
        for step in steps {
            let view = values(self.execution, program);
            let container = match (step, at.map(|at| (at, view.kind(at)))) {
                (MergeStep::Child(..), Some((at, Kind::Object))) => at,
                (MergeStep::Child(..), None) => Val::EMPTY_OBJECT,
                (MergeStep::Index(index), Some((at, Kind::Array))) if *index < view.len(at) => at,
                (MergeStep::Child(..) | MergeStep::Index(_), _) => {
                    return Err(self.no_match(frame, registers));
                }
            };
            at = match step {
                MergeStep::Child(name, _) => view.get(container, name),
                MergeStep::Index(index) => view.element(container, *index),
            };
            containers.push(container);
        }
        let mut val = registers.value;
        for (step, container) in steps.iter().zip(containers).rev() {
            val = match step {
                MergeStep::Child(_, key) => self
                    .execution
                    .doc
                    .replace_member(constants, container, *key, val),
                MergeStep::Index(index) => self
                    .execution
                    .doc
                    .replace_element(constants, container, *index, val),
            };
        }
        Ok(val)
    }

    #[cold]
    fn no_match(&self, frame: u32, registers: &Registers) -> Raised {
        let input = values(self.execution, self.program).to_json(registers.data);
        let cause = format!("Unable to apply ReferencePath to input {input}");
        self.raise(frame, "States.ResultPathMatchFailure", &cause)
    }
}
