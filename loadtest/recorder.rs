//! What threads record: a [`Shard`] each, which is merged when an interval ends. Memory does not depend on how long a run is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

use super::schedule::{Arrival, Nanos};

/// Longest time that is told apart from longer ones: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// A histogram of nanoseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    // The bounds are constants that it accepts.
    Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds of histograms")
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Answered, and the answer was held against the expected one; or nothing was expected.
    Right,
    /// Answered with another output than the expected one.
    Wrong,
    /// The execution did not succeed.
    Failed,
    /// The target had too much to do.
    Throttled,
    /// No answer: a connection broke, or what came was none.
    Broken,
}

/// How many requests there were, and what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) right: u64,
    pub(crate) wrong: u64,
    pub(crate) failed: u64,
    pub(crate) throttled: u64,
    pub(crate) broken: u64,
}

impl Counts {
    /// Requests that something came of.
    pub(crate) fn done(&self) -> u64 {
        self.right + self.wrong + self.failed + self.throttled + self.broken
    }

    /// Those of which something else came than was to come.
    pub(crate) fn errors(&self) -> u64 {
        self.done() - self.right
    }

    pub(crate) fn add(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.right += other.right;
        self.wrong += other.wrong;
        self.failed += other.failed;
        self.throttled += other.throttled;
        self.broken += other.broken;
    }

    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Right => &mut self.right,
            Outcome::Wrong => &mut self.wrong,
            Outcome::Failed => &mut self.failed,
            Outcome::Throttled => &mut self.throttled,
            Outcome::Broken => &mut self.broken,
        } += 1;
    }
}

/// What was recorded in a stretch of time.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// From when a request was due to its answer.
    pub(crate) latency: Histogram<u64>,
    /// From when it was sent: what one sees who forgets that it was late.
    pub(crate) naive: Histogram<u64>,
    /// From when it was due to when it was sent.
    pub(crate) lateness: Histogram<u64>,
    /// Of measured requests.
    pub(crate) counts: Counts,
    /// Of the requests of the warm-up.
    pub(crate) warm_up: Counts,
}

impl Slice {
    pub(crate) fn new() -> Slice {
        Slice {
            latency: histogram(),
            naive: histogram(),
            lateness: histogram(),
            counts: Counts::default(),
            warm_up: Counts::default(),
        }
    }

    /// Takes in what another has.
    pub(crate) fn add(&mut self, other: &Slice) {
        for (own, other) in [
            (&mut self.latency, &other.latency),
            (&mut self.naive, &other.naive),
            (&mut self.lateness, &other.lateness),
        ] {
            // All have the same bounds.
            own.add(other).expect("histograms alike");
        }
        self.counts.add(&other.counts);
        self.warm_up.add(&other.warm_up);
    }

    pub(crate) fn clear(&mut self) {
        self.latency.reset();
        self.naive.reset();
        self.lateness.reset();
        self.counts = Counts::default();
        self.warm_up = Counts::default();
    }
}

/// The record of one thread. The lock is its own but for a moment at the end of each interval.
#[derive(Debug)]
pub(crate) struct Shard {
    slice: Mutex<Box<Slice>>,
    /// Requests that are due earlier belong to the warm-up.
    measured_from: Nanos,
}

impl Shard {
    pub(crate) fn new(measured_from: Nanos) -> Shard {
        Shard {
            slice: Mutex::new(Box::new(Slice::new())),
            measured_from,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Box<Slice>> {
        self.slice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was sent.
    pub(crate) fn sent(&self, arrival: Arrival, at: Nanos) {
        let mut slice = self.lock();
        if arrival.intended < self.measured_from {
            slice.warm_up.sent += 1;
            return;
        }
        slice.counts.sent += 1;
        let late = at.saturating_sub(arrival.intended).max(1);
        slice.lateness.saturating_record(late);
    }

    /// Something came of it. Only right answers have a latency: a refusal is quick.
    pub(crate) fn done(&self, arrival: Arrival, sent: Nanos, at: Nanos, outcome: Outcome) {
        let mut slice = self.lock();
        if arrival.intended < self.measured_from {
            slice.warm_up.count(outcome);
            return;
        }
        slice.counts.count(outcome);
        if outcome == Outcome::Right {
            slice
                .latency
                .saturating_record(at.saturating_sub(arrival.intended).max(1));
            slice
                .naive
                .saturating_record(at.saturating_sub(sent).max(1));
        }
    }

    /// Both at once, for targets that answer while one waits.
    pub(crate) fn answered(&self, arrival: Arrival, sent: Nanos, at: Nanos, outcome: Outcome) {
        self.sent(arrival, sent);
        self.done(arrival, sent, at, outcome);
    }

    /// Takes what was recorded since the last time, and leaves `empty` in its place.
    pub(crate) fn take(&self, empty: Box<Slice>) -> Box<Slice> {
        std::mem::replace(&mut self.lock(), empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shards_merge_to_what_one_would_have(
            samples in prop::collection::vec((0_u64..2_000_000_000, 0_u64..1_000_000, 0_u64..5_000_000), 1..200),
            shards in 1_usize..4,
        ) {
            let one = Shard::new(1_000_000_000);
            let several: Vec<Shard> = (0..shards).map(|_| Shard::new(1_000_000_000)).collect();
            let mut measured = 0;
            for (i, &(intended, late, took)) in samples.iter().enumerate() {
                let arrival = Arrival { index: i as u64, intended };
                measured += u64::from(intended >= 1_000_000_000);
                for shard in [&one, &several[i % shards]] {
                    shard.answered(arrival, intended + late, intended + late + took, Outcome::Right);
                }
            }
            let one = one.take(Box::new(Slice::new()));
            let mut merged = Slice::new();
            for shard in &several {
                merged.add(&shard.take(Box::new(Slice::new())));
            }
            prop_assert_eq!(&merged.latency, &one.latency);
            prop_assert_eq!(&merged.naive, &one.naive);
            prop_assert_eq!(&merged.lateness, &one.lateness);
            prop_assert_eq!(merged.counts, one.counts);
            prop_assert_eq!(merged.counts.right, measured);
            prop_assert_eq!(merged.warm_up.sent, samples.len() as u64 - measured);
            prop_assert_eq!(merged.latency.len(), measured);
        }
    }

    #[test]
    fn what_goes_wrong_has_no_latency() {
        let shard = Shard::new(0);
        let arrival = Arrival {
            index: 0,
            intended: 0,
        };
        for outcome in [
            Outcome::Wrong,
            Outcome::Failed,
            Outcome::Throttled,
            Outcome::Broken,
        ] {
            shard.answered(arrival, 1, 2, outcome);
        }
        let slice = shard.take(Box::new(Slice::new()));
        assert_eq!(
            (
                slice.counts.sent,
                slice.counts.errors(),
                slice.latency.len()
            ),
            (4, 4, 0)
        );
    }
}
