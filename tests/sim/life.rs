//! The lives of processes: how they begin, with what a journal holds, and how they end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quickstep::Engine;
use quickstep::engine::{Clock, Limits, Simulation};
use quickstep::internal::journal::inspect;
use quickstep::internal::journal::sim::Faults;

use crate::hub::{id_of, trace};
use crate::machines::{KINDS, Kind};
use crate::model::Found;
use crate::world::World;
use crate::{figures, handlers};

/// How a process begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begins {
    /// The power may go meanwhile, and it may not know all machines.
    Anyhow,
    /// Nothing goes wrong.
    Whole,
}

/// An engine, from its making to its end.
pub(crate) struct Life {
    pub(crate) engine: Engine,
    pub(crate) simulation: Simulation,
    futures: tokio::runtime::Runtime,
    /// What was found in the journal and does not run again yet.
    pub(crate) found: VecDeque<Found>,
    /// The machines that this process knows.
    knows: Vec<Kind>,
    /// The numbers of attempts did not get into the journal, for want of room.
    has_met_full: bool,
}

impl Life {
    /// Futures go on as far as they can.
    pub(crate) fn drive(&self) {
        self.futures.block_on(async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        });
    }

    fn is_known(&self, found: &Found) -> bool {
        let mut arns = self
            .knows
            .iter()
            .map(|kind| kind.machine().identity().arn());
        arns.any(|arn| *arn == *found.machine)
    }

    /// Whether something that was found can run again.
    pub(crate) fn has_known(&self) -> bool {
        self.found.iter().any(|found| self.is_known(found))
    }

    /// Takes the next start that was found, of a machine that is known.
    fn next_known(&mut self) -> Option<Found> {
        let at = self.found.iter().position(|found| self.is_known(found))?;
        self.found.remove(at)
    }
}

impl World {
    /// What the journal holds, as nobody but the test reads it.
    pub(crate) fn find(&self) -> Vec<Found> {
        let mut found = Vec::new();
        let mut inspection = inspect(&self.disk).unwrap_or_else(|error| panic!("{error}"));
        while let Some(start) = inspection.next().unwrap_or_else(|error| panic!("{error}")) {
            let input = String::from_utf8_lossy(start.input);
            found.push(Found {
                id: id_of(&input).unwrap_or_default(),
                machine: start.machine.to_owned(),
                name: start.name.to_owned(),
                attempts: start.attempts,
            });
        }
        found
    }

    /// A process begins.
    pub(crate) fn begin(&mut self, begins: Begins) -> Life {
        let mut found = self.find();
        let (engine, simulation, futures) = loop {
            let crashes = begins == Begins::Anyhow && self.random.once_in(4);
            if crashes {
                let at = self.disk.operations() + self.random.between(1, 8);
                self.disk.set_faults(Faults {
                    crash_at_operation: Some(at),
                    ..Faults::default()
                });
            }
            match self.build() {
                Ok(built) => break built,
                Err(error) => {
                    assert!(crashes, "an engine cannot be made: {error}");
                    self.hub.lock().met.crashes_while_opening += 1;
                    let was_synced = self.is_synced;
                    self.power_goes();
                    let again = self.find();
                    // What was in the system's memory only may be lost now.
                    assert!(
                        !was_synced || found == again,
                        "recovery that was cut off has changed {found:?} to {again:?}"
                    );
                    found = again;
                }
            }
        };
        self.begin_life(&found);
        let knows = match begins == Begins::Anyhow && self.random.once_in(8) {
            true => {
                let unknown = self.random.pick(&KINDS);
                KINDS.into_iter().filter(|kind| *kind != unknown).collect()
            }
            false => KINDS.to_vec(),
        };
        self.hub.lock().engine = Some(engine.clone());
        let mut life = Life {
            engine,
            simulation,
            futures,
            found: found.into(),
            knows,
            has_met_full: false,
        };
        let look = self.random.pick(&[0, 0, 1_000, 40_000, 900_000]);
        self.hub.clock.set_look_nanos(look);
        if !self.random.once_in(4) {
            self.recover(&mut life);
        }
        life
    }

    fn begin_life(&self, found: &[Found]) {
        let mut state = self.hub.lock();
        state.life += 1;
        state.first_call = state.calls.len();
        state.is_poisoned = false;
        let life = state.life;
        trace!(self.hub, state, "life {life}: {} found", found.len());
        let checked = state.model.restart(found, self.is_durable);
        state.check(checked);
    }

    fn build(
        &mut self,
    ) -> Result<(Engine, Simulation, tokio::runtime::Runtime), quickstep::engine::Error> {
        let futures = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap_or_else(|error| panic!("{error}"));
        self.hub.clock.align();
        let workers = self.random.pick(&[1, 1, 2, 3, 4]);
        let mut builder = Engine::builder()
            .workers(workers)
            .seed(self.random.next())
            .runtime(futures.handle().clone())
            .clock(Arc::clone(&self.hub.clock) as Arc<dyn Clock>)
            .limits(Limits {
                executions: self.random.pick(&[6, 30, 200]),
                input_bytes: self.random.pick(&[1_500, 1 << 20]),
                start_rate: None,
            });
        if self.is_durable {
            builder = builder
                .journal_options(self.options)
                .journal_storage(Arc::new(self.disk.clone()));
        }
        let (engine, simulation) = handlers::register(builder, &self.hub).build_simulated()?;
        Ok((engine, simulation, futures))
    }

    /// Runs again what was found, as far as there is room.
    pub(crate) fn recover(&mut self, life: &mut Life) {
        let machines: Vec<_> = life.knows.iter().map(|kind| kind.machine()).collect();
        let full_before = life.engine.journal_counters().map(|c| c.refused_full);
        let result = life.engine.recover(&machines);
        let is_full = life.engine.journal_counters().map(|c| c.refused_full) != full_before;
        life.has_met_full |= is_full;
        let mut state = self.hub.lock();
        let recovered = match result {
            Ok(recovered) => recovered,
            Err(error) => {
                trace!(self.hub, state, "recovery: {error:?}");
                return;
            }
        };
        let count = recovered.executions.len();
        trace!(
            self.hub,
            state, "recovered {count}, {} left", recovered.left
        );
        state.met.attempts_unsure += u64::from(is_full);
        state.met.recovered += count as u64;
        state.met.left += u64::from(recovered.left > 0);
        state.met.unknown += recovered
            .unknown
            .iter()
            .map(|known| known.starts)
            .sum::<u64>();
        drop(state);
        for handle in recovered.executions {
            let known = life.next_known();
            let mut state = self.hub.lock();
            let found = known.unwrap_or_else(|| panic!("{handle:?} was not to be found"));
            assert_eq!(found.name, handle.name());
            state.met.third_attempts += u64::from(handle.attempt() == 3);
            let checked = state
                .model
                .begin_again(&found, handle.attempt(), life.has_met_full);
            state.check(checked);
            drop(state);
            self.hub.keep(found.id, handle);
        }
        assert!(
            recovered.left > 0 || !life.has_known(),
            "not all that was found runs again"
        );
    }

    fn power_goes(&mut self) {
        let random = &mut self.random;
        let chosen = random.below(4);
        self.is_synced = chosen != 0;
        match chosen {
            0 => {
                self.disk.kill();
                self.hub.lock().met.kills += 1;
            }
            1 => self.disk.crash(&mut || 1),
            _ => self.disk.crash(&mut || random.next()),
        }
    }

    /// The process is gone, in the middle of everything.
    pub(crate) fn crash(&mut self, life: Life) {
        {
            let mut state = self.hub.lock();
            trace!(self.hub, state, "crash");
            state.met.crashes += 1;
        }
        self.leave(life);
    }

    /// What a process had goes with it, and then the power.
    fn leave(&mut self, life: Life) {
        let (engine, handles) = {
            let mut state = self.hub.lock();
            (state.engine.take(), std::mem::take(&mut state.handles))
        };
        self.count(&life);
        // Whoever is gone writes nothing any more.
        self.disk.set_faults(Faults {
            crash_at_operation: Some(0),
            ..Faults::default()
        });
        drop((engine, handles, life));
        self.power_goes();
    }

    fn count(&self, life: &Life) {
        if let Some(counters) = life.engine.journal_counters() {
            let met = &mut self.hub.lock().met;
            met.moved += counters.moved;
            met.recycled += counters.segments_recycled;
        }
    }

    /// The process ends in peace, whatever is under way.
    pub(crate) fn shut_down(&mut self, mut life: Life) {
        if self.random.once_in(2) {
            life.simulation.give_up();
            for _ in 0..self.random.below(12) {
                let worker = self.random.index(life.simulation.workers());
                self.turn(&mut life, worker);
                self.check();
            }
        }
        let in_flight = life.engine.in_flight();
        let report = life.engine.shutdown(Duration::ZERO);
        assert_eq!(report.left, in_flight);
        {
            let mut state = self.hub.lock();
            trace!(self.hub, state, "shutdown: {:?}", report.journal);
            state.met.shutdowns += 1;
            if report.journal.is_some_and(|journal| journal.is_clean) {
                state.met.clean_shutdowns += 1;
                state.model.ends_are_durable();
            }
        }
        // A disk that failed unnoticed has taken ends that the journal knows nothing of.
        if let Some(journal) = report.journal.filter(|journal| journal.is_clean) {
            self.check_unfinished(journal.unfinished);
        }
        let workers = life.simulation.workers();
        while (0..workers).any(|worker| self.turn(&mut life, worker)) {}
        self.check();
        {
            let state = self.hub.lock();
            assert_eq!(state.model.heard(), 0, "somebody was not told: {state:?}");
        }
        assert_eq!(life.engine.in_flight(), 0);
        assert_eq!(life.engine.input_bytes(), 0);
        assert_eq!(life.simulation.places(), 0);
        figures::check(&self.hub, &life.engine);
        self.leave(life);
    }
}
