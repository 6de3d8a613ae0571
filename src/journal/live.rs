//! Which starts are unfinished: one bit for each place in the log, plus what differs from the rule.
//!
//! The same bookkeeping follows the log while it is written and while it is read after a crash.

use std::collections::VecDeque;

use super::record::Lsn;
use crate::stdx::FixedMap;

/// A set of positions in the log, one bit each from the oldest on.
#[derive(Clone, Debug, Default)]
struct Bits {
    /// The position of the first word's first bit, a multiple of 64.
    first: u64,
    words: VecDeque<u64>,
    count: u64,
}

impl Bits {
    fn insert(&mut self, at: Lsn, count: u64) {
        if self.words.is_empty() {
            self.first = at.0 & !63;
        }
        assert!(at.0 >= self.first, "the log only grows");
        for position in at.0..at.0 + count {
            let (word, bit) = self.place(position);
            while self.words.len() <= word {
                self.words.push_back(0);
            }
            self.count += u64::from(self.words[word] & bit == 0);
            self.words[word] |= bit;
        }
    }

    fn remove(&mut self, at: Lsn) -> bool {
        if !self.contains(at) {
            return false;
        }
        let (word, bit) = self.place(at.0);
        self.words[word] &= !bit;
        self.count -= 1;
        true
    }

    fn contains(&self, at: Lsn) -> bool {
        if at.0 < self.first {
            return false;
        }
        let (word, bit) = self.place(at.0);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    fn oldest(&mut self) -> Option<Lsn> {
        while self.words.front() == Some(&0) {
            self.words.pop_front();
            self.first += 64;
        }
        let word = self.words.front()?;
        Some(Lsn(self.first + u64::from(word.trailing_zeros())))
    }

    fn place(&self, position: u64) -> (usize, u64) {
        let from_first = position - self.first;
        // A log with more records than an address has room for is not in this memory.
        let word = usize::try_from(from_first / 64).unwrap_or(usize::MAX);
        (word, 1 << (from_first % 64))
    }
}

/// The unfinished starts.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// By the place of the newest copy of the start's record.
    places: Bits,
    /// From a start's identity to the place of its newest copy, where that is another one.
    moved: FixedMap<Lsn, Lsn>,
    /// Attempts begun, where they are not those of the record.
    attempts: FixedMap<Lsn, u32>,
}

impl Live {
    pub(super) fn count(&self) -> u64 {
        self.places.count
    }

    /// `count` starts have been written from `at` on.
    pub(super) fn start(&mut self, at: Lsn, count: u64) {
        self.places.insert(at, count);
    }

    /// A copy of an unfinished start's record was written; the older one no longer counts.
    pub(super) fn relocate(&mut self, start: Lsn, to: Lsn) {
        let from = self.moved.insert(start, to).unwrap_or(start);
        self.places.remove(from);
        self.places.insert(to, 1);
        // The copy has the attempts in it.
        self.attempts.remove(&start);
    }

    /// A start has ended; false if it was not unfinished.
    pub(super) fn end(&mut self, start: Lsn) -> bool {
        let place = self.place(start);
        if !self.places.remove(place) {
            return false;
        }
        if place != start {
            self.moved.remove(&start);
        }
        if !self.attempts.is_empty() {
            self.attempts.remove(&start);
        }
        true
    }

    /// The place of a start's newest copy, if it is unfinished.
    pub(super) fn place(&self, start: Lsn) -> Lsn {
        if self.moved.is_empty() {
            return start;
        }
        self.moved.get(&start).copied().unwrap_or(start)
    }

    pub(super) fn is_unfinished(&self, start: Lsn) -> bool {
        self.places.contains(self.place(start))
    }

    /// Whether the record at a place is that of an unfinished start.
    pub(super) fn is_live_at(&self, place: Lsn) -> bool {
        self.places.contains(place)
    }

    /// An attempt was begun.
    pub(super) fn attempt(&mut self, start: Lsn, attempt: u32) {
        if self.is_unfinished(start) {
            self.attempts.insert(start, attempt);
        }
    }

    /// The attempts begun of a start whose record says `recorded`.
    pub(super) fn attempts(&self, start: Lsn, recorded: u32) -> u32 {
        self.attempts.get(&start).copied().unwrap_or(recorded)
    }

    /// The oldest place at which there is the record of an unfinished start.
    pub(super) fn oldest(&mut self) -> Option<Lsn> {
        self.places.oldest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        /// Against a set: what is unfinished, how many, and which is the oldest.
        #[test]
        fn bits_are_a_set(steps in prop::collection::vec((0_u8..4, 0_u64..200, 1_u64..150), 1..60)) {
            let (mut bits, mut set, mut next) = (Bits::default(), BTreeSet::new(), 7_u64);
            for (what, at, count) in steps {
                match what {
                    0 | 1 => {
                        next += at % 70;
                        bits.insert(Lsn(next), count);
                        set.extend(next..next + count);
                        next += count;
                    }
                    2 => {
                        let at = next.saturating_sub(at);
                        prop_assert_eq!(bits.remove(Lsn(at)), set.remove(&at));
                    }
                    _ => {
                        let old: Vec<u64> = set.iter().copied().take(usize::try_from(count).unwrap()).collect();
                        for at in old {
                            prop_assert!(bits.remove(Lsn(at)) && set.remove(&at));
                        }
                    }
                }
                prop_assert_eq!(bits.count, set.len() as u64);
                prop_assert_eq!(bits.oldest(), set.first().copied().map(Lsn));
            }
            prop_assert!((0..next + 70).all(|at| bits.contains(Lsn(at)) == set.contains(&at)));
        }

        /// Against a map from start to place and attempts.
        #[test]
        fn starts_move_and_end(steps in prop::collection::vec((0_u8..4, 0_usize..20), 1..200)) {
            let (mut live, mut model, mut next) = (Live::default(), BTreeMap::new(), 1_u64);
            for (what, which) in steps {
                let chosen = model.keys().copied().nth(which);
                match (what, chosen) {
                    (0, _) | (_, None) => {
                        live.start(Lsn(next), 1);
                        model.insert(next, (next, 1));
                        next += 1;
                    }
                    (1, Some(start)) => {
                        live.relocate(Lsn(start), Lsn(next));
                        model.insert(start, (next, 1));
                        next += 1;
                    }
                    (2, Some(start)) => {
                        live.attempt(Lsn(start), 5);
                        model.get_mut(&start).unwrap().1 = 5;
                    }
                    (_, Some(start)) => {
                        prop_assert!(live.end(Lsn(start)));
                        prop_assert!(!live.end(Lsn(start)));
                        model.remove(&start);
                    }
                }
                prop_assert_eq!(live.count(), model.len() as u64);
                prop_assert_eq!(live.oldest(), model.values().map(|(place, _)| Lsn(*place)).min());
                for (start, (place, attempts)) in &model {
                    prop_assert!(live.is_unfinished(Lsn(*start)) && live.is_live_at(Lsn(*place)));
                    prop_assert_eq!(live.attempts(Lsn(*start), 1), *attempts);
                }
            }
            for start in model.into_keys() {
                live.end(Lsn(start));
            }
            prop_assert!(live.moved.is_empty() && live.attempts.is_empty() && live.count() == 0);
        }
    }
}
