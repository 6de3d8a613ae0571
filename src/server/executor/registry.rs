//! The STANDARD executions that are known, by ARN and by machine, the ended ones up to a bound.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::super::limits::{EXECUTIONS_ENDED_MAX, HISTORIES_BYTES_MAX};
use super::live::Live;
use crate::stdx::FixedMap;
use crate::task::lock;

/// What a name was found to be.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The execution is new.
    New(Arc<Live>),
    /// It was started before, with the same input, and is running.
    Same(Arc<Live>),
    /// The name is taken.
    Other,
}

#[derive(Debug, Default)]
struct Tables {
    by_arn: FixedMap<Box<str>, Arc<Live>>,
    by_machine: BTreeMap<(Box<str>, u64), Arc<Live>>,
    /// In the order of their ends, with the bytes of their histories.
    ended: VecDeque<(Arc<Live>, usize)>,
    ended_bytes: usize,
}

/// Executions that are looked at in one go.
const LOOK_MAX: usize = 1_000;

/// What is known. Its lock is taken within that of an execution, never the other way round.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Tables>);

impl Registry {
    /// Takes an execution's name, unless another has it.
    pub(super) fn take(&self, live: Arc<Live>) -> Taken {
        let mut tables = lock(&self.0);
        if let Some(known) = tables.by_arn.get(&live.arn) {
            let same_machine = known.origin.machine_created_ms == live.origin.machine_created_ms;
            if same_machine && !known.over.load(Ordering::Acquire) && known.input == live.input {
                return Taken::Same(Arc::clone(known));
            }
            // The executions of a machine that was deleted do not keep names from those of its successor.
            if same_machine || !known.over.load(Ordering::Acquire) {
                return Taken::Other;
            }
        }
        let replaced = tables.by_arn.insert(live.arn.clone(), Arc::clone(&live));
        if let Some(old) = replaced {
            tables.by_machine.remove(&place(&old));
        }
        tables.by_machine.insert(place(&live), Arc::clone(&live));
        Taken::New(live)
    }

    pub(super) fn get(&self, arn: &str) -> Option<Arc<Live>> {
        lock(&self.0).by_arn.get(arn).cloned()
    }

    /// The next executions of a machine that were started before the one with that serial number, the latest first.
    pub(super) fn of_machine(&self, machine: &str, before: u64) -> Vec<Arc<Live>> {
        let tables = lock(&self.0);
        let range = (
            Bound::Included((machine.into(), 0)),
            Bound::Excluded((machine.into(), before)),
        );
        let latest = tables.by_machine.range(range).rev();
        latest
            .take(LOOK_MAX)
            .map(|(_, live)| live.clone())
            .collect()
    }

    /// An execution has ended: the oldest ones may have to make room.
    pub(super) fn end(&self, live: &Arc<Live>, bytes: usize) {
        let mut tables = lock(&self.0);
        tables.ended.push_back((Arc::clone(live), bytes));
        tables.ended_bytes += bytes;
        while tables.ended.len() > EXECUTIONS_ENDED_MAX || tables.ended_bytes > HISTORIES_BYTES_MAX
        {
            let Some((oldest, bytes)) = tables.ended.pop_front() else {
                return;
            };
            tables.ended_bytes -= bytes;
            tables.by_machine.remove(&place(&oldest));
            let current = tables.by_arn.get(&oldest.arn);
            if current.is_some_and(|known| known.serial == oldest.serial) {
                tables.by_arn.remove(&oldest.arn);
            }
        }
    }
}

fn place(live: &Live) -> (Box<str>, u64) {
    (live.origin.machine.clone(), live.serial)
}
