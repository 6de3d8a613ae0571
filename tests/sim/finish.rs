//! How a world ends: nothing goes wrong any more, and everything has to come to its end.

use quickstep::internal::journal::Turn;
use quickstep::internal::journal::sim::Faults;

use crate::actions::{self, Hears};
use crate::calls::{Say, Way};
use crate::life::{Begins, Life};
use crate::machines::Kind;
use crate::model::Fate;
use crate::world::World;

/// Timers, answers and commits that bring everything to its end, at most.
const ROUNDS_MAX: usize = 3_000;

impl World {
    /// Brings everything that was acknowledged to its end.
    pub(crate) fn finish(&mut self) {
        self.disk.set_faults(Faults::default());
        let mut life = match self.life.take() {
            Some(life) => life,
            None => self.begin(Begins::Whole),
        };
        // Whether the disk has failed the journal shows when it is to write.
        self.commit(&mut life);
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
        self.write(&mut life);
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

    /// Everything that the journal has gets onto the disk.
    fn write(&mut self, life: &mut Life) {
        for _ in 0..ROUNDS_MAX {
            self.settle(life);
            match life.simulation.committed() {
                None | Some(Turn::Idle { wake_at: None }) => return,
                Some(Turn::Stopped) => break,
                Some(_) => self.hub.clock.advance_nanos(20_000_000),
            }
        }
        panic!("the journal does not write: {:?}", life.engine);
    }

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
