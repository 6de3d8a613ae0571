//! [`Histogram`]: observations counted by range, written by one thread, read by any.
//!
//! 1. The writer makes the sequence odd, adds to the count and to the sum of one range, and makes the sequence even.
//! 2. A reader reads the sequence, all counts and sums, and the sequence again. If it was even and has not changed,
//!    the counts and the sums belong together. Otherwise it reads again: the writer is between the two for a nanosecond.
//!
//! So a sum is always that of exactly the observations that are counted, range by range. That lets a histogram be told
//! to others as a number of observations of one value for each range, with no error in the total.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Attempts to read before the reader lets other threads run: the writer may have been put aside by the system.
const SPINS_MAX: u32 = 64;

/// Bounds of durations in nanoseconds: from 50 µs, below which nearly every execution without waiting is, to five
/// minutes, the longest run of an EXPRESS execution.
pub(super) const DURATION_BOUNDS: [u64; 20] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    300_000_000_000,
];

/// Bounds of sizes in bytes, from 1 KiB to the 256 MiB that an execution may keep alive.
pub(super) const SIZE_BOUNDS: [u64; 10] = [
    1 << 10,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
    1 << 28,
];

/// Counts and sums of observations, by the smallest bound that is no less than they are.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    sequence: AtomicU64,
    ranges: [Range; N],
    /// What is greater than every bound.
    above: Range,
}

#[derive(Debug, Default)]
struct Range {
    count: AtomicU64,
    sum: AtomicU64,
}

/// What a histogram holds at one moment; all of a row's histograms together, once they are added up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distribution {
    /// Upper bounds of the ranges, ascending; the range above the last of them has none.
    pub bounds: &'static [u64],
    /// Observations in each range, and above the last bound.
    pub counts: Vec<u64>,
    /// Sums of these observations.
    pub sums: Vec<u64>,
}

impl Distribution {
    /// No observations.
    pub(super) fn new(bounds: &'static [u64]) -> Distribution {
        Distribution {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sums: vec![0; bounds.len() + 1],
        }
    }

    /// All observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all observations.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sums
            .iter()
            .fold(0, |sum, part| sum.wrapping_add(*part))
    }
}

/// Adds to a number that only the calling thread writes: no locked instruction.
#[inline(always)]
pub(super) fn add(number: &AtomicU64, more: u64) {
    let old = number.load(Ordering::Relaxed);
    number.store(old.wrapping_add(more), Ordering::Relaxed);
}

impl<const N: usize> Histogram<N> {
    pub(super) fn new(bounds: &'static [u64; N]) -> Histogram<N> {
        Histogram {
            bounds,
            sequence: AtomicU64::new(0),
            ranges: std::array::from_fn(|_| Range::default()),
            above: Range::default(),
        }
    }

    /// Counts an observation. Only one thread at a time may call this, or observations are lost.
    #[inline]
    pub(super) fn record(&self, value: u64) {
        // What is fast is frequent, and found at once.
        let mut ranges = self.bounds.iter().zip(&self.ranges);
        let range = ranges.find(|(bound, _)| value <= **bound);
        let range = range.map_or(&self.above, |(_, range)| range);
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence | 1, Ordering::Relaxed);
        fence(Ordering::Release);
        add(&range.count, 1);
        add(&range.sum, value);
        self.sequence
            .store((sequence | 1).wrapping_add(1), Ordering::Release);
    }

    /// Adds all observations so far to `total`, which has the same bounds.
    pub(super) fn add_to(&self, total: &mut Distribution) {
        let mut read = [(0, 0); N];
        let mut above;
        let mut spins = 0;
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            for (read, range) in read.iter_mut().zip(&self.ranges) {
                *read = range.read();
            }
            above = self.above.read();
            fence(Ordering::Acquire);
            let after = self.sequence.load(Ordering::Relaxed);
            if before == after && before.is_multiple_of(2) {
                break;
            }
            spins += 1;
            if spins < SPINS_MAX {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        let totals = total.counts.iter_mut().zip(&mut total.sums);
        for ((count, sum), (more, bytes)) in totals.zip(read.into_iter().chain([above])) {
            *count += more;
            *sum = sum.wrapping_add(bytes);
        }
    }
}

impl Range {
    fn read(&self) -> (u64, u64) {
        (
            self.count.load(Ordering::Relaxed),
            self.sum.load(Ordering::Relaxed),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn read<const N: usize>(histogram: &Histogram<N>) -> Distribution {
        let mut total = Distribution::new(histogram.bounds);
        histogram.add_to(&mut total);
        total
    }

    #[test]
    fn bounds_ascend_from_50_microseconds_to_300_seconds() {
        assert!(DURATION_BOUNDS.is_sorted_by(|a, b| a < b));
        assert!(SIZE_BOUNDS.is_sorted_by(|a, b| a < b));
        assert_eq!(DURATION_BOUNDS[0], 50_000);
        assert_eq!(DURATION_BOUNDS.last(), Some(&300_000_000_000));
    }

    #[test]
    fn a_bound_belongs_to_the_range_below_it() {
        static BOUNDS: [u64; 3] = [10, 20, 30];
        for (value, range) in [
            (0, 0),
            (10, 0),
            (11, 1),
            (20, 1),
            (21, 2),
            (30, 2),
            (31, 3),
            (u64::MAX, 3),
        ] {
            let histogram = Histogram::new(&BOUNDS);
            histogram.record(value);
            let total = read(&histogram);
            let mut expected = [0; 4];
            expected[range] = 1;
            assert_eq!(total.counts, expected, "{value}");
            assert_eq!(total.sums[range], value);
        }
    }

    #[test]
    fn readers_see_counts_and_sums_that_belong_together() {
        static BOUNDS: [u64; 2] = [10, 20];
        const ROUNDS: u64 = 200_000;
        let histogram = Histogram::new(&BOUNDS);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                while !over.load(Ordering::Acquire) {
                    let total = read(&histogram);
                    // One value for each range, so each count says what its sum has to be.
                    assert_eq!(total.sums[0], total.counts[0] * 7);
                    assert_eq!(total.sums[1], total.counts[1] * 13);
                    assert_eq!(total.sums[2], total.counts[2] * 1_000);
                    assert!(total.count() >= last);
                    last = total.count();
                }
            });
            for _ in 0..ROUNDS {
                histogram.record(7);
                histogram.record(13);
                histogram.record(1_000);
            }
            over.store(true, Ordering::Release);
            reader.join().unwrap();
        });
        assert_eq!(read(&histogram).counts, [ROUNDS; 3]);
    }
}
