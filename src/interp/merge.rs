//! `ResultPath`: the state's input with its result put in (ASL specification, "ResultPath").

use super::context::values;
use super::run::{Raised, Registers, Run};
use crate::history::Observer;
use crate::program::{MergeId, Step};
use crate::value::{Kind, Val};

impl<O: Observer> Run<'_, O> {
    /// `data` with `value` at the place that the path names; objects on the way are made where there are none.
    #[inline(never)]
    pub(super) fn merge(
        &mut self,
        frame: u32,
        merge: MergeId,
        registers: &Registers,
    ) -> Result<Val, Raised> {
        let program = self.program;
        let info = &program.merges[merge.index()];
        let (steps, constants) = (&info.steps, &program.constants);
        if let [Step::Child(member)] = &**steps
            && values(self.execution, program).kind(registers.data) == Kind::Object
        {
            let (doc, key) = (&mut self.execution.doc, member.key);
            let (data, value) = (registers.data, registers.value);
            let grown = info
                .growth
                .and_then(|growth| doc.grow_object(constants, growth, data, key, value));
            return Ok(grown.unwrap_or_else(|| doc.replace_member(constants, data, key, value)));
        }
        // The containers on the way down, then their new versions on the way up.
        let mut containers = Vec::with_capacity(steps.len());
        let mut at = Some(registers.data);
        for step in steps {
            let view = values(self.execution, program);
            let container = match (step, at.map(|at| (at, view.kind(at)))) {
                (Step::Child(..), Some((at, Kind::Object))) => at,
                (Step::Child(..), None) => Val::EMPTY_OBJECT,
                (Step::Index(index), Some((at, Kind::Array))) if element(*index) < view.len(at) => {
                    at
                }
                (Step::Child(..) | Step::Index(_), _) => {
                    return Err(self.no_match(frame, registers));
                }
            };
            at = match step {
                Step::Child(member) => view.get(container, &member.name),
                Step::Index(index) => view.element(container, element(*index)),
            };
            containers.push(container);
        }
        let mut val = registers.value;
        for (step, container) in steps.iter().zip(containers).rev() {
            val = match step {
                Step::Child(member) => self
                    .execution
                    .doc
                    .replace_member(constants, container, member.key, val),
                Step::Index(index) => {
                    self.execution
                        .doc
                        .replace_element(constants, container, element(*index), val)
                }
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

/// Reference paths have no negative indexes; one that does not fit is past the end of every array.
fn element(index: i64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
