//! The linker: jumps that name states become jumps to ops.

use super::Compiler;
use crate::program::{Op, Pc, Program, Source, StateId, WellKnownKeys};

/// Indexes of items that need not be made while running.
const NUMBERS: i64 = 64;

impl Compiler<'_> {
    pub(super) fn finish(mut self, start: StateId, timeout_seconds: Option<u64>) -> Program {
        let keys = WellKnownKeys::new(|name| self.key(name));
        let mut members = self.objects.iter().flat_map(|object| &object.members);
        let indexes = members.any(|member| matches!(member.source, Source::ItemIndex(_)));
        let numbers = (0..if indexes { NUMBERS } else { 0 })
            .map(|n| self.constants.push_i64(n).as_constant())
            .collect();
        let entries = &self.entries;
        let entry = |state: Pc| entries[state.index()];
        for &at in &self.unlinked {
            let op = &mut self.ops[at];
            *op = match *op {
                Op::Begin(state) => Op::Begin(entry(state)),
                Op::Exit(left, state) => Op::Exit(left, entry(state)),
                Op::TestElse(test, state) => Op::TestElse(test, entry(state)),
                Op::TestThen(test, state) => Op::TestThen(test, entry(state)),
                op => unreachable!("{op:?} does not jump"),
            };
        }
        let forks = self.forks.iter().map(|branches| {
            branches
                .iter()
                .map(|state| entries[state.index()])
                .collect()
        });
        Program {
            start: entries[start.index()],
            timeout_seconds,
            forks: forks.collect(),
            ops: self.ops.into(),
            constants: self.constants,
            states: self.states.into(),
            loads: self.loads.into(),
            steps: self.steps.into(),
            merges: self.merges.into(),
            objects: self.objects.into(),
            calls: self.calls.into(),
            expressions: self.expressions.into(),
            tests: self.tests.into(),
            assigns: self.assigns.into(),
            tasks: self.tasks.into(),
            waits: self.waits.into(),
            fails: self.fails.into(),
            maps: self.maps.into(),
            variables: self.variables.into(),
            keys,
            numbers,
        }
    }
}
