//! The world of a seed: a disk, a clock, an engine, and what happens to them step by step.

use std::sync::Arc;

use quickstep::engine::JournalOptions;
use quickstep::internal::journal::Turn;
use quickstep::internal::journal::sim::{Faults, SimStorage};

use crate::actions;
use crate::figures;
use crate::hub::{Hub, Met, trace};
use crate::life::{Begins, Life};
use crate::random::Random;

/// Steps of a seed before everything is brought to its end.
const STEPS: u64 = 220;

/// More turns than all that there is can take.
const TURNS_MAX: usize = 20_000;

pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    pub(crate) random: Random,
    pub(crate) disk: SimStorage,
    pub(crate) options: JournalOptions,
    pub(crate) is_durable: bool,
    /// Everything that can be read is on the disk: there was a loss of power, and nothing was written since.
    pub(crate) is_synced: bool,
    pub(crate) life: Option<Life>,
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
    pub(crate) fn check(&self) {
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
            116..133 => actions::answer_any(&self.hub),
            133..136 => actions::forge(&self.hub),
            136..142 => actions::stop_any(&self.hub, false),
            142..167 => self.time_passes(&life),
            167 => self.just_before(&mut life),
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
    pub(crate) fn turn(&self, life: &mut Life, worker: usize) -> bool {
        {
            let mut state = self.hub.lock();
            state.turn_began = self.hub.clock.now();
            trace!(self.hub, state, "turn of {worker}");
        }
        let was_busy = life.simulation.turn(worker);
        life.drive();
        was_busy
    }

    pub(crate) fn commit(&mut self, life: &mut Life) {
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

    /// Executions have a turn for nothing, a moment before something falls due.
    fn just_before(&mut self, life: &mut Life) {
        for _ in 0..4 {
            self.settle(life);
            let Some(next) = life.simulation.next_timer() else {
                return;
            };
            self.hub.clock.advance_to_nanos(next.saturating_sub(1));
            for _ in 0..6 {
                actions::forge(&self.hub);
            }
            self.settle(life);
            self.hub.clock.advance_to_nanos(next);
        }
    }

    /// Everything has its turn: what was to happen by now has happened then.
    pub(crate) fn settle(&mut self, life: &mut Life) {
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

    pub(crate) fn check_unfinished(&self, unfinished: u64) {
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
}
