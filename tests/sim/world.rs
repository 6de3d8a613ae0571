//! The world of a seed: a disk, a clock, and one life of an engine after another.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quickstep::Engine;
use quickstep::engine::{Clock, JournalOptions, Limits, Simulation};
use quickstep::internal::journal::sim::{Faults, SimStorage};
use quickstep::internal::journal::{Turn, inspect};

use crate::actions::{self, Hears};
use crate::calls::{Say, Way};
use crate::hub::{Hub, Met, id_of, trace};
use crate::machines::{KINDS, Kind};
use crate::model::{Fate, Found};
use crate::random::Random;
use crate::{figures, handlers};

/// Steps of a seed before everything is brought to its end.
const STEPS: u64 = 220;

/// More turns than all that there is can take.
const TURNS_MAX: usize = 20_000;

/// Timers, answers and commits that bring everything to its end, at most.
const ROUNDS_MAX: usize = 3_000;

pub(crate) struct World {
    hub: Arc<Hub>,
    random: Random,
    disk: SimStorage,
    options: JournalOptions,
    is_durable: bool,
    /// Everything that can be read is on the disk: there was a loss of power, and nothing was written since.
    is_synced: bool,
    life: Option<Life>,
}

/// How a process begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Begins {
    /// The power may go meanwhile, and it may not know all machines.
    Anyhow,
    /// Nothing goes wrong.
    Whole,
}

/// An engine, from its making to its end.
struct Life {
    engine: Engine,
    simulation: Simulation,
    futures: tokio::runtime::Runtime,
    /// What was found in the journal and does not run again yet.
    found: VecDeque<Found>,
    /// The machines that this process knows.
    knows: Vec<Kind>,
    /// The numbers of attempts did not get into the journal, for want of room.
    has_met_full: bool,
}

impl World {
    pub(crate) fn new(seed: u64, hub: &Arc<Hub>) -> World {
        let mut random = Random::new(seed);
        let segment_bytes = random.pick(&[20_480, 20_480, 40_960]);
        let options = JournalOptions {
            segment_bytes,
            buffer_bytes: random.pick(&[512, 1_024, 2_048]),
            bytes_max: segment_bytes * random.between(4, 12),
            ends_delay_ms_max: random.below(10),
            space_retry_ms: 10,
            salt: Some(seed),
        };
        World {
            hub: Arc::clone(hub),
            disk: SimStorage::new(),
            options,
            is_durable: !random.once_in(10),
            random,
            is_synced: true,
            life: None,
        }
    }

    /// All of it; what has happened.
    pub(crate) fn run(mut self) -> Met {
        self.life = Some(self.begin(Begins::Anyhow));
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.finish();
        self.hub.lock().met
    }

    /// Fails if anything was not as it must be.
    fn check(&self) {
        let state = self.hub.lock();
        assert!(state.violations.is_empty(), "{}", state.violations[0]);
        let Some(life) = &self.life else {
            return;
        };
        let (least, in_flight) = (state.model.heard(), life.engine.in_flight());
        let most = least + state.model.unheard;
        assert!(
            (least..=most).contains(&in_flight),
            "{in_flight} executions are in flight, and {least} to {most} should be"
        );
    }

    fn step(&mut self) {
        let Some(mut life) = self.life.take() else {
            self.life = Some(self.begin(Begins::Anyhow));
            return;
        };
        let poisoned = self.hub.lock().is_poisoned;
        if poisoned && self.random.once_in(8) {
            return self.crash(life);
        }
        match self.random.below(200) {
            0..44 => actions::start(&self.hub, &life.engine),
            44..50 => actions::start_batch(&self.hub, &life.engine),
            50..54 => actions::run(&self.hub, &life.engine),
            54..100 => {
                let worker = self.random.index(life.simulation.workers());
                self.turn(&mut life, worker);
            }
            100..116 => self.commit(&mut life),
            116..136 => actions::answer_any(&self.hub),
            136..142 => actions::stop_any(&self.hub, false),
            142..168 => self.time_passes(&life),
            168..180 => self.settle(&mut life),
            180..186 => self.recover(&mut life),
            186..193 => self.fault(),
            193..195 => return self.crash(life),
            195 => return self.shut_down(life),
            196 => {
                let look = self.random.pick(&[0, 1_000, 40_000, 900_000, 30_000_000]);
                self.hub.clock.set_look_nanos(look);
            }
            _ => figures::read(&self.hub, &life.engine),
        }
        self.life = Some(life);
    }

    /// A turn of a worker, and of the futures that it has begun.
    fn turn(&self, life: &mut Life, worker: usize) -> bool {
        {
            let mut state = self.hub.lock();
            state.turn_began = self.hub.clock.now();
            trace!(self.hub, state, "turn of {worker}");
        }
        let was_busy = life.simulation.turn(worker);
        life.drive();
        was_busy
    }

    fn commit(&mut self, life: &mut Life) {
        let is_busy = life.simulation.commit();
        let committed = life.simulation.committed();
        let mut state = self.hub.lock();
        trace!(self.hub, state, "commit: {committed:?}");
        if is_busy || !self.is_durable {
            return;
        }
        match committed {
            Some(Turn::Stopped) => {
                state.met.poisoned += u64::from(!state.is_poisoned);
                state.is_poisoned = true;
            }
            // Nothing is left to be written.
            Some(Turn::Idle { wake_at: None }) => {
                state.met.durable_ends += 1;
                state.model.ends_are_durable();
            }
            _ => state.met.stalls += 1,
        }
    }

    fn time_passes(&mut self, life: &Life) {
        let (clock, random) = (&self.hub.clock, &mut self.random);
        let next = life.simulation.next_timer();
        match (random.below(12), next) {
            (0..3, _) => clock.advance_nanos(random.below(5_000_000)),
            (3..6, _) => clock.advance_nanos(random.between(100, 3_000) * 1_000_000),
            (6..9, Some(next)) => clock.advance_to_nanos(next),
            (9, Some(next)) => clock.advance_to_nanos(next.saturating_sub(1)),
            (10, _) => clock.advance_nanos(random.between(3, 20) * 1_000_000_000),
            (11, _) if random.once_in(3) => {
                clock.advance_nanos(random.between(60, 100_000) * 1_000_000_000);
                self.hub.lock().met.jumps += 1;
            }
            _ => {}
        }
        let mut state = self.hub.lock();
        trace!(self.hub, state, "time passes");
    }

    /// Everything has its turn: what was to happen by now has happened then.
    fn settle(&mut self, life: &mut Life) {
        life.drive();
        let from = self.hub.clock.now();
        let mut turns = 0;
        loop {
            let workers = life.simulation.workers();
            let busy = (0..workers)
                .filter(|worker| self.turn(life, *worker))
                .count();
            if busy == 0 {
                break;
            }
            turns += busy;
            assert!(turns < TURNS_MAX, "the workers do not come to rest");
        }
        let to = self.hub.clock.now();
        {
            let mut state = self.hub.lock();
            trace!(self.hub, state, "settled after {turns} turns");
            state.met.settled += 1;
            let state = &mut *state;
            let checked = state.model.check_not_late(from, to, &mut state.calls);
            state.check(checked);
            if state.model.unheard == 0 {
                assert_eq!(life.engine.input_bytes(), state.model.input_bytes());
            }
        }
        if !self.is_durable {
            return;
        }
        for turn in 0.. {
            self.commit(life);
            let wake_at = match life.simulation.committed() {
                Some(Turn::Busy) => None,
                Some(Turn::Idle { wake_at: Some(at) }) if self.random.once_in(2) => Some(at),
                _ => break,
            };
            if let Some(at) = wake_at {
                self.hub.clock.advance_to_nanos(at);
            }
            assert!(turn < TURNS_MAX, "the committer does not come to rest");
        }
        self.check_journal(life);
    }

    fn check_journal(&self, life: &Life) {
        if let Some(counters) = life.engine.journal_counters() {
            self.check_unfinished(counters.unfinished);
        }
    }

    fn check_unfinished(&self, unfinished: u64) {
        let state = self.hub.lock();
        let most = state.model.unfinished;
        // Of some ends nobody is told.
        let least = most.saturating_sub(state.model.unheard as u64);
        assert!(
            state.is_poisoned || (least..=most).contains(&unfinished),
            "the journal has {unfinished} unfinished starts, and should have {least} to {most}"
        );
    }

    /// Something goes wrong with the disk from now on, or gets well.
    fn fault(&mut self) {
        let (disk, random) = (&self.disk, &mut self.random);
        let segments = random.between(3, 10);
        let mut faults = Faults {
            allocates_late: random.once_in(3),
            ..Faults::default()
        };
        match random.below(8) {
            0 => faults.fail_sync = Some(disk.syncs() + random.between(1, 5)),
            1 => faults.crash_at_operation = Some(disk.operations() + random.between(1, 12)),
            2 => faults.fail_operation = Some(disk.operations() + random.between(1, 9)),
            3 | 4 => faults.bytes_max = Some(segments * self.options.segment_bytes),
            _ => {}
        }
        disk.set_faults(faults);
        let mut state = self.hub.lock();
        trace!(self.hub, state, "{faults:?}");
    }

    /// What the journal holds, as nobody but the test reads it.
    fn find(&self) -> Vec<Found> {
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
    fn begin(&mut self, begins: Begins) -> Life {
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
    fn recover(&mut self, life: &mut Life) {
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
    fn crash(&mut self, life: Life) {
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
    fn shut_down(&mut self, mut life: Life) {
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
        if let Some(journal) = report.journal {
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

    /// Brings everything that was acknowledged to its end.
    fn finish(&mut self) {
        self.disk.set_faults(Faults::default());
        let mut life = match self.life.take() {
            Some(life) => life,
            None => self.begin(Begins::Whole),
        };
        if self.hub.lock().is_poisoned {
            self.crash(life);
            life = self.begin(Begins::Whole);
        }
        self.hub.lock().is_draining = true;
        for round in 0.. {
            self.drain(&mut life);
            self.check();
            if life.found.is_empty() && life.engine.in_flight() == 0 {
                break;
            }
            if !life.has_known() && life.engine.in_flight() == 0 {
                // What this process does not know, another one does.
                self.shut_down(life);
                life = self.begin(Begins::Whole);
            }
            assert!(round < ROUNDS_MAX, "it does not come to an end");
        }
        while !matches!(
            life.simulation.committed(),
            None | Some(Turn::Idle { wake_at: None })
        ) {
            self.settle(&mut life);
            self.hub.clock.advance_nanos(20_000_000);
        }
        self.takes_starts(&mut life);
        // Timers that are void fall due, too.
        self.hub.clock.advance_nanos(86_400_000_000_000);
        self.settle(&mut life);
        assert_eq!(life.simulation.next_timer(), None);
        self.shut_down(life);
        let left = self.find();
        assert!(!self.is_durable || left.is_empty(), "{left:?}");
        let state = self.hub.lock();
        assert!(state.violations.is_empty(), "{}", state.violations[0]);
        for (id, start) in &state.model.starts {
            assert!(
                !start.is_owed || start.has_ended,
                "{id} never ends: {start:?}"
            );
        }
    }
}

impl World {
    /// Answers whatever is open, and goes on to the next timer.
    fn drain(&mut self, life: &mut Life) {
        if life.has_known() {
            self.recover(life);
        }
        self.settle(life);
        let open: Vec<usize> = {
            let state = self.hub.lock();
            let calls = state.calls.iter().enumerate().skip(state.first_call);
            calls
                .filter(|(_, call)| call.way != Way::AtOnce && call.last().is_none())
                .map(|(number, _)| number)
                .collect()
        };
        for call in open {
            actions::answer(&self.hub, call, Say::Done);
        }
        self.settle(life);
        if life.engine.in_flight() > 0
            && let Some(next) = life.simulation.next_timer()
        {
            self.hub.clock.advance_to_nanos(next);
        }
    }
}

impl World {
    /// However full the journal was, and the disk: there is room again.
    fn takes_starts(&mut self, life: &mut Life) {
        let id = actions::start_of(&self.hub, &life.engine, Kind::Short, Hears::AtOnce);
        let fate = self.hub.lock().model.start(id).fate;
        assert_eq!(fate, Fate::Acknowledged, "{:?}", life.engine);
        self.settle(life);
        self.check();
        self.hub.clock.advance_nanos(20_000_000);
        self.settle(life);
        assert!(self.hub.lock().model.start(id).has_ended);
    }
}

impl Life {
    /// Futures go on as far as they can.
    fn drive(&self) {
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
    fn has_known(&self) -> bool {
        self.found.iter().any(|found| self.is_known(found))
    }

    /// Takes the next start that was found, of a machine that is known.
    fn next_known(&mut self) -> Option<Found> {
        let at = self.found.iter().position(|found| self.is_known(found))?;
        self.found.remove(at)
    }
}
