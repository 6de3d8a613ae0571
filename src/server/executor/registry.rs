//! The executions that are known, by ARN and by machine, the ended ones up to a bound: the STANDARD ones, and the EXPRESS
//! ones if the server was asked to keep some.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::super::limits::{EXECUTIONS_ENDED_MAX, HISTORIES_BYTES_MAX};
use super::live::Live;
use crate::stdx::FixedMap;
use crate::store::MachineKind;
use crate::task::lock;

/// What a name was found to be.
#[derive(Debug)]
pub(super) enum Taken {
    /// The execution is new.
    New,
    /// It was started before, with the same input, and is running.
    Same(Arc<Live>),
    /// The name is taken.
    Other,
}

#[derive(Debug, Default)]
struct Tables {
    by_arn: FixedMap<Box<str>, Arc<Live>>,
    by_machine: BTreeMap<(Box<str>, u64), Arc<Live>>,
    ended_standard: EndedOnes,
    ended_express: EndedOnes,
}

/// In the order of their ends, with the bytes of their histories.
#[derive(Debug, Default)]
struct EndedOnes {
    queue: VecDeque<(Arc<Live>, usize)>,
    bytes: usize,
}

/// Executions that are looked at in one go.
const LOOK_MAX: usize = 1_000;

/// What is known. Its lock is taken within that of an execution, never the other way round.
#[derive(Debug)]
pub(super) struct Registry {
    tables: Mutex<Tables>,
    /// How many EXPRESS executions are known after their end.
    express_max: usize,
}

impl Registry {
    pub(super) fn new(express_max: usize) -> Registry {
        Registry {
            tables: Mutex::default(),
            express_max,
        }
    }

    /// Takes an execution's name, unless another has it.
    pub(super) fn take(&self, live: &Arc<Live>) -> Taken {
        let mut tables = lock(&self.tables);
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
        let replaced = tables.by_arn.insert(live.arn.clone(), Arc::clone(live));
        if let Some(old) = replaced {
            tables.by_machine.remove(&place(&old));
        }
        tables.by_machine.insert(place(live), Arc::clone(live));
        Taken::New
    }

    pub(super) fn get(&self, arn: &str) -> Option<Arc<Live>> {
        lock(&self.tables).by_arn.get(arn).cloned()
    }

    /// The next executions of a machine that were started before the one with that serial number, the latest first.
    pub(super) fn of_machine(&self, machine: &str, before: u64) -> Vec<Arc<Live>> {
        let tables = lock(&self.tables);
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

    /// An execution has ended. If it is on the disk, it is found there from now on; else the oldest ones may have to make
    /// room.
    pub(super) fn end(&self, live: &Arc<Live>, bytes: usize) {
        if live.keeping.is_some() {
            return self.forget(live);
        }
        let tables = &mut *lock(&self.tables);
        let (ended, ended_max) = match live.origin.kind {
            MachineKind::Standard => (&mut tables.ended_standard, EXECUTIONS_ENDED_MAX),
            MachineKind::Express => (&mut tables.ended_express, self.express_max),
        };
        ended.queue.push_back((Arc::clone(live), bytes));
        ended.bytes += bytes;
        while ended.queue.len() > ended_max || ended.bytes > HISTORIES_BYTES_MAX {
            let Some((oldest, bytes)) = ended.queue.pop_front() else {
                return;
            };
            ended.bytes -= bytes;
            tables.by_machine.remove(&place(&oldest));
            let current = tables.by_arn.get(&oldest.arn);
            if current.is_some_and(|known| known.serial == oldest.serial) {
                tables.by_arn.remove(&oldest.arn);
            }
        }
    }

    /// An execution that had ended goes on. False if it does already, or is not known any more.
    pub(super) fn redrive(&self, ended: &Arc<Live>, redriven: &Arc<Live>) -> bool {
        let tables = &mut *lock(&self.tables);
        let known = tables.by_arn.get(&ended.arn);
        match (known, &ended.keeping) {
            (None, Some(_)) => {}
            (Some(known), None) if Arc::ptr_eq(known, ended) => {
                let queue = &mut tables.ended_standard.queue;
                if let Some(at) = queue.iter().position(|(live, _)| Arc::ptr_eq(live, ended))
                    && let Some((_, bytes)) = queue.remove(at)
                {
                    tables.ended_standard.bytes -= bytes;
                }
            }
            _ => return false,
        }
        let live = Arc::clone(redriven);
        tables.by_machine.insert(place(redriven), Arc::clone(&live));
        tables.by_arn.insert(redriven.arn.clone(), live);
        true
    }

    /// A redrive has been withdrawn: what is not on the disk is known as it was.
    pub(super) fn undo_redrive(&self, ended: &Arc<Live>, bytes: usize) {
        if ended.keeping.is_none() {
            let mut tables = lock(&self.tables);
            let live = Arc::clone(ended);
            tables.by_machine.insert(place(ended), Arc::clone(&live));
            tables.by_arn.insert(ended.arn.clone(), live);
            drop(tables);
            self.end(ended, bytes);
        }
    }

    /// STANDARD executions that have not ended.
    pub(super) fn running(&self) -> usize {
        let tables = lock(&self.tables);
        let known = tables.by_arn.values();
        let standard = known.filter(|live| live.origin.kind == MachineKind::Standard);
        standard
            .filter(|live| !live.over.load(Ordering::Acquire))
            .count()
    }

    /// An execution is not known any more, or has not been started after all.
    pub(super) fn forget(&self, live: &Live) {
        let mut tables = lock(&self.tables);
        tables.by_machine.remove(&place(live));
        let current = tables.by_arn.get(&live.arn);
        if current.is_some_and(|known| known.serial == live.serial) {
            tables.by_arn.remove(&live.arn);
        }
    }
}

fn place(live: &Live) -> (Box<str>, u64) {
    (live.origin.machine.clone(), live.serial)
}
