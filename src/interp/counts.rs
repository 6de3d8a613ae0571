//! [`Counts`]: what the interpreter counts for metrics.
//!
//! Entering a state adds one to a number of its type, which is all that counting costs while an execution runs. Who
//! drives it takes the numbers at the end of each turn, so they are never kept with an execution that waits.

use super::execution::Execution;
use super::run::Run;
use crate::program::{StateId, StateType};

/// What has happened in an execution since somebody took its counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// States entered, by the place of their type in [`StateType::ALL`]. A turn enters fewer than 2^32: it has fuel.
    entered: [u32; StateType::ALL.len()],
    /// Attempts that a `Retry` arranged.
    pub retries: u32,
    /// Failures that a `Catch` took up.
    pub catches: u32,
    /// JSONata expressions that were evaluated.
    pub evaluations: u32,
}

impl Counts {
    /// States entered, of each type.
    pub fn entered(&self) -> impl Iterator<Item = (StateType, u32)> {
        StateType::ALL.into_iter().zip(self.entered)
    }
}

impl Execution {
    /// Takes what was counted since the last call, or since the start.
    #[inline(always)]
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}

impl<O> Run<'_, O> {
    /// A state was entered.
    #[inline(always)]
    pub(super) fn count_entry(&mut self, state: StateId) {
        let state_type = self.program.states[state.index()].state_type;
        let entered = &mut self.execution.counts.entered[state_type as usize];
        // Whoever never takes the counts does not want them.
        *entered = entered.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_its_place() {
        for (place, state_type) in StateType::ALL.into_iter().enumerate() {
            assert_eq!(state_type as usize, place);
        }
    }
}
