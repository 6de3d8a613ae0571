//! What a start is of: looked up once by each thread, until the catalogue changes.
//!
//! So most starts take no lock that others take, and build no names: a client starts the same few machines again and again.

use std::cell::RefCell;
use std::sync::Arc;

use super::app::{App, Target};
use super::error::ApiError;
use super::executor::{Deployed, Origin};
use crate::stdx::FixedMap;

/// Machines that a thread remembers.
const KNOWN_MAX: usize = 1_024;

/// What is asked to be executed, ready to be.
#[derive(Debug)]
pub(crate) struct Aim {
    pub(crate) origin: Origin,
    pub(crate) deployed: Arc<Deployed>,
}

/// What a thread has looked up, of one server and one state of its catalogue.
#[derive(Debug, Default)]
struct Known {
    of: (u64, u64),
    by_arn: FixedMap<Box<str>, Arc<Aim>>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

impl App {
    /// What an ARN stands for, maybe with a test case. It is looked up for each start: the machine may be changed, or the ARN
    /// that of an alias of two versions.
    pub(crate) fn aim(&self, arn: &str) -> Result<Arc<Aim>, ApiError> {
        // Before the lookup: what is changed meanwhile makes it one of an older state.
        let of = (self.serial, self.catalogue.generation());
        let found = KNOWN.with_borrow(|known| {
            let found = known.by_arn.get(arn);
            found.filter(|_| known.of == of).map(Arc::clone)
        });
        if let Some(aim) = found {
            return Ok(aim);
        }
        let target = Target::with_test_case(arn)?;
        let origin = self.origin(target)?;
        let deployed = self.executor.deploy(self.key(&origin, target.test_case))?;
        let aim = Arc::new(Aim { origin, deployed });
        // An alias may stand for another version the next time.
        if aim.origin.alias_arn.is_none() {
            KNOWN.with_borrow_mut(|known| {
                if known.of != of || known.by_arn.len() >= KNOWN_MAX {
                    known.by_arn.clear();
                    known.of = of;
                }
                known.by_arn.insert(arn.into(), Arc::clone(&aim));
            });
        }
        Ok(aim)
    }
}
