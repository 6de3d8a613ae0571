//! Durable starts of a server: its machines come and go, each has groups of its own, and nobody holds a thread to wait.

use std::sync::Arc;

use super::Patience;
use super::recover::Find;
use crate::engine::error::Error;
use crate::engine::run::Engine;
use crate::journal::{StartRecord, UnfinishedStart};
use crate::metrics::Api;
use crate::runtime::outlet::{Group, Outlet};
use crate::runtime::ticket::Recorded;
use crate::stdx::Timestamp;

/// A start of which nobody is told before it is on the disk. Its input is JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptStart<'a> {
    /// Its outlet is one of [`Engine::journaled`].
    pub(crate) group: &'a Arc<Group>,
    /// What names the machine, and which revision of it: whoever recovers the start is told so.
    pub(crate) machine: &'a str,
    pub(crate) revision: u64,
    pub(crate) name: &'a str,
    pub(crate) seed: u64,
    pub(crate) input: &'a [u8],
}

impl<'a> KeptStart<'a> {
    fn record(&self, at: Timestamp) -> StartRecord<'a> {
        StartRecord {
            machine: self.machine,
            revision: self.revision,
            name: self.name,
            started_at: at,
            seed: self.seed,
            attempt: 1,
            input: self.input,
        }
    }
}

impl Engine {
    /// An outlet that also tells the journal of ends, if there is a journal.
    pub(crate) fn journaled(&self, inner: Arc<dyn Outlet>) -> Arc<dyn Outlet> {
        match self.durable() {
            None => inner,
            Some(durable) => durable.outlet_of_tickets(inner),
        }
    }

    /// Takes in executions of a durable engine, all or none of them, and returns at once. `acknowledge` is called when all
    /// of them are on the disk, or never will be: on the journal's own thread, which must not be held up, or on this one.
    ///
    /// # Errors
    ///
    /// As [`Engine::start_then`]; none of them was started then, and `acknowledge` is not called.
    pub(crate) fn start_kept(
        &self,
        starts: &[KeptStart<'_>],
        at: Timestamp,
        acknowledge: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let Some(durable) = self.durable() else {
            unreachable!("a server keeps starts if its engine has a journal");
        };
        let shared = self.workers()?;
        let bytes = starts.iter().map(|start| start.input.len() as u64).sum();
        self.admit(Api::StartExecution, starts.len(), bytes)?;
        let admitted = shared.admitted(starts.len(), bytes);
        let records: Vec<StartRecord<'_>> = starts.iter().map(|start| start.record(at)).collect();
        let appended = durable.append(&records, Patience::IsRefused);
        let ticket = self.of_journal(starts.len(), appended)?;
        admitted.keep();
        for (index, start) in starts.iter().enumerate() {
            let recorded = Recorded {
                start: ticket.start(index),
                attempt: 1,
            };
            let (name, seed) = (Some(start.name), Some(start.seed));
            shared.start(start.group, start.input, name, seed, Some(recorded));
        }
        let for_errors = Arc::clone(durable);
        ticket.on_durable(move |result| {
            acknowledge(result.map_err(|error| for_errors.error(&error)));
        });
        Ok(())
    }

    /// How many starts were unfinished when the journal was opened.
    pub(crate) fn found_unfinished(&self) -> u64 {
        let durable = self.durable();
        durable.map_or(0, |durable| durable.found_unfinished())
    }

    /// [`Engine::recover`] with groups of the caller's. `find` is asked for each unfinished start; those for which it knows
    /// none stay unfinished. It waits while there is no room; whoever shuts the engine down ends that.
    ///
    /// # Errors
    ///
    /// As [`Engine::recover`].
    pub(crate) fn recover_kept(
        &self,
        find: &mut dyn FnMut(&UnfinishedStart<'_>) -> Option<Arc<Group>>,
    ) -> Result<(), Error> {
        let find: &mut Find<'_> = find;
        // Their handles are of no use: the ends go to the groups' outlets.
        self.recover_into(find, &mut drop).map(|_| ())
    }
}
