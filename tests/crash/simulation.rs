//! Random histories with crashes at random moments: what was acknowledged is recovered or has ended, and nothing else is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::support::{Clock, Random, SMALL, all, append, end, open};
use quickstep::internal::journal::sim::{Faults, SimStorage};
use quickstep::internal::journal::{ErrorKind, Journal, Lsn, Options, Recovery, Turn};

/// Random histories.
const SEEDS: u64 = 2_000;

/// What is known of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    number: u64,
    attempts: u32,
    /// Attempts that were said to have begun and need not be durable.
    attempts_max: u32,
    has_ended: bool,
}

/// What happened in all the seeds together, so that it can be shown that the simulation has met everything.
#[derive(Debug, Default)]
struct Met {
    starts: u64,
    recovered: u64,
    crashes: u64,
    moved: u64,
    recycled: u64,
    removed: u64,
    poisoned: u64,
    full: u64,
    torn: u64,
    lost: u64,
}

struct World {
    disk: SimStorage,
    options: Options,
    random: Random,
    clock: Clock,
    journal: Option<Journal>,
    /// By Lsn: everything that was appended and may be recovered.
    known: BTreeMap<Lsn, Known>,
    /// Lsns that were acknowledged, by callback.
    acknowledged: Arc<Mutex<Vec<Lsn>>>,
    next_number: u64,
    met: Met,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let options = Options {
            bytes_max: SMALL.segment_bytes * (4 + random.below(9)),
            ends_delay_ms_max: random.below(10),
            salt: Some(seed),
            ..SMALL
        };
        World {
            disk: SimStorage::new(),
            options,
            random,
            clock: Clock::default(),
            journal: None,
            known: BTreeMap::new(),
            acknowledged: Arc::default(),
            next_number: 1,
            met: Met::default(),
        }
    }

    /// Opens the journal, perhaps with crashes while that goes on, and compares what it finds.
    fn reopen(&mut self) {
        while self.random.below(4) == 0 {
            let operations = self.disk.operations() + 1 + self.random.below(8);
            self.disk.set_faults(Faults {
                crash_at_operation: Some(operations),
                ..Faults::default()
            });
            let opened = Journal::open(Arc::new(self.disk.clone()), self.options);
            drop(opened);
            self.power_goes();
        }
        let opened = Journal::open(Arc::new(self.disk.clone()), self.options);
        let (journal, mut recovery) = opened.unwrap_or_else(|error| panic!("{error}"));
        self.compare(&mut recovery);
        self.journal = Some(journal);
    }

    fn compare(&mut self, recovery: &mut Recovery) {
        self.met.torn += u64::from(recovery.cut().is_some());
        let found = all(recovery);
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        let found: BTreeMap<Lsn, (u64, u32)> = found
            .into_iter()
            .map(|(lsn, number, attempts)| (lsn, (number, attempts)))
            .collect();
        for (lsn, (number, attempts)) in &found {
            let known = self.known.get(lsn);
            let known = known.unwrap_or_else(|| panic!("{lsn}, {number} was never appended"));
            assert_eq!(known.number, *number, "{lsn}");
            assert!(
                (known.attempts..=known.attempts_max).contains(attempts),
                "{attempts} attempts of {known:?}"
            );
        }
        for lsn in acknowledged {
            if let Some(known) = self.known.get(&lsn) {
                assert!(
                    known.has_ended || found.contains_key(&lsn),
                    "{lsn} was acknowledged and is lost: {known:?}"
                );
            }
        }
        self.met.lost += self
            .known
            .iter()
            .filter(|(lsn, known)| !known.has_ended && !found.contains_key(lsn))
            .count() as u64;
        self.met.recovered += found.len() as u64;
        self.known.retain(|lsn, _| found.contains_key(lsn));
        for (lsn, known) in &mut self.known {
            known.attempts = found[lsn].1;
            known.attempts_max = known.attempts;
            known.has_ended = false;
            // What was found once was made durable.
            self.acknowledged.lock().unwrap().push(*lsn);
        }
    }

    fn power_goes(&mut self) {
        self.met.crashes += 1;
        let random = &mut self.random;
        match random.below(4) {
            0 => self.disk.kill(),
            _ => self.disk.crash(&mut || random.next()),
        }
    }

    fn crash(&mut self) {
        if let Some(journal) = self.journal.take() {
            let counters = journal.counters();
            self.met.moved += counters.moved;
            self.met.recycled += counters.segments_recycled;
            self.met.removed += counters.segments_removed;
        }
        self.power_goes();
        self.reopen();
    }

    fn step(&mut self) {
        let journal = self.journal.clone().unwrap();
        match self.random.below(100) {
            0..35 => self.start(&journal),
            35..60 => self.end(&journal),
            60..63 => self.attempt(&journal),
            63..90 => {
                let clock = &self.clock;
                if journal.turn(&|| clock.now()) == Turn::Stopped {
                    self.met.poisoned += 1;
                    self.crash();
                }
            }
            90..97 => self.clock.advance_ms(self.random.below(8)),
            97 => self.fault(),
            98 if self.random.below(4) == 0 => self.crash(),
            _ => {}
        }
    }

    fn start(&mut self, journal: &Journal) {
        let count = 1 + self.random.below(3);
        let numbers: Vec<u64> = (self.next_number..)
            .take(usize::try_from(count).unwrap())
            .collect();
        match append(journal, &numbers) {
            Ok(ticket) => {
                self.next_number += count;
                self.met.starts += count;
                let lsns: Vec<Lsn> = (0..numbers.len())
                    .map(|index| ticket.start(index))
                    .collect();
                for (lsn, number) in lsns.iter().zip(numbers) {
                    let known = Known {
                        number,
                        attempts: 1,
                        attempts_max: 1,
                        has_ended: false,
                    };
                    // A number may be given again if what had it was lost; then nobody knows of the first.
                    assert_eq!(self.known.insert(*lsn, known), None);
                }
                let acknowledged = Arc::clone(&self.acknowledged);
                ticket.on_durable(move |result| {
                    if result.is_ok() {
                        acknowledged.lock().unwrap().extend(lsns);
                    }
                });
            }
            Err(error) => match error.kind() {
                ErrorKind::Full => self.met.full += 1,
                // A power that is gone shows first where a segment is to be made.
                ErrorKind::Busy | ErrorKind::Poisoned | ErrorKind::Storage => {}
                kind => panic!("{kind:?}: {error}"),
            },
        }
    }

    fn unfinished(&mut self) -> Option<Lsn> {
        let count = self.known.len() as u64;
        // One in eight is parked for long: it is never chosen.
        let index = self.random.below(count.max(1));
        let index = usize::try_from(index).unwrap();
        let (lsn, known) = self.known.iter().nth(index)?;
        (!known.has_ended && known.number % 8 != 0).then_some(*lsn)
    }

    fn end(&mut self, journal: &Journal) {
        for _ in 0..4 {
            if let Some(lsn) = self.unfinished()
                && journal.append_ends(&[end(lsn), end(lsn)]).is_ok()
            {
                self.known.get_mut(&lsn).unwrap().has_ended = true;
            }
        }
        // The parked ones end too, some day.
        if self.random.below(10) == 0
            && let Some((lsn, known)) = self.known.iter_mut().find(|(_, known)| !known.has_ended)
            && journal.append_ends(&[end(*lsn)]).is_ok()
        {
            known.has_ended = true;
        }
    }

    fn attempt(&mut self, journal: &Journal) {
        let Some(lsn) = self.unfinished() else {
            return;
        };
        let known = self.known.get_mut(&lsn).unwrap();
        let attempts = known.attempts_max + 1;
        // It may wait for room, and nobody makes some here.
        if journal.try_append_attempts(&[(lsn, attempts)]).is_ok() {
            known.attempts_max = attempts;
        }
    }

    fn fault(&mut self) {
        let segments = 3 + self.random.below(8);
        let mut faults = Faults {
            allocates_late: self.random.below(3) == 0,
            ..Faults::default()
        };
        match self.random.below(6) {
            0 => faults.fail_sync = Some(self.disk.syncs() + 1 + self.random.below(5)),
            1 | 2 => {
                faults.crash_at_operation = Some(self.disk.operations() + 1 + self.random.below(9))
            }
            3 => faults.bytes_max = Some(segments * self.options.segment_bytes),
            _ => {}
        }
        self.disk.set_faults(faults);
    }
}

fn simulate(seed: u64) -> Met {
    let mut world = World::new(seed);
    world.reopen();
    for _ in 0..250 {
        world.step();
    }
    world.crash();
    world.met
}

#[test]
fn what_was_acknowledged_is_recovered() {
    let mut all = Met::default();
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| simulate(seed));
        let met = run.unwrap_or_else(|_| panic!("seed {seed} fails"));
        all.starts += met.starts;
        all.recovered += met.recovered;
        all.crashes += met.crashes;
        all.moved += met.moved;
        all.recycled += met.recycled;
        all.removed += met.removed;
        all.poisoned += met.poisoned;
        all.full += met.full;
        all.torn += met.torn;
        all.lost += met.lost;
    }
    // A simulation that has not met something shows nothing about it.
    assert!(all.starts > SEEDS * 50, "{all:?}");
    for count in [
        all.recovered,
        all.crashes,
        all.moved,
        all.recycled,
        all.removed,
        all.poisoned,
        all.full,
        all.torn,
        all.lost,
    ] {
        assert!(count > 100, "{all:?}");
    }
}

#[test]
fn recovery_comes_to_the_same_twice() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.reopen();
        for _ in 0..200 {
            world.step();
        }
        world.journal = None;
        world.power_goes();
        let (journal, first, _) = open(&world.disk, world.options);
        drop(journal);
        world.disk.kill();
        let (journal, second, cut) = open(&world.disk, world.options);
        assert_eq!(first, second, "seed {seed}");
        assert_eq!(cut, None, "seed {seed}: a cut is made once");
        drop(journal);
        world.disk.crash(&mut || 0);
        let (_journal, third, _) = open(&world.disk, world.options);
        assert_eq!(first, third, "seed {seed}");
    }
}
