//! Timers: a wheel of seven levels, each of 64 buckets, and a tick of one millisecond.
//!
//! A timer lies in the bucket of the level at which its time differs from now; when the wheel comes to a bucket above the
//! lowest level, what is in it moves down. So a timer is written as often as its level is high, seven times at most,
//! whatever the number of timers; buckets are lists of chunks, read and written from one end to the other.
//!
//! A timer is never early. It is not taken out when it is of no use any more: whoever it was for says so when it is
//! due, and when there are twice as many timers as at the last count all are asked, and the void ones dropped.

use super::slab::Place;

const LEVELS: usize = 7;
const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;

/// Timers of a chunk, which take a kilobyte.
const CHUNK: usize = 64;

/// Empty chunks that are kept.
const SPARE_CHUNKS_MAX: usize = 64;

/// So few timers are not worth the asking.
const SWEEP_MIN: usize = 4_096;

/// The last moment that the wheel can tell from later ones.
const DUE_MAX: u64 = (1 << (BITS * LEVELS as u32)) - 1;

/// Something that falls due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Timer {
    /// In milliseconds; from 1.
    pub(crate) due: u64,
    pub(crate) place: Place,
}

const NO_TIMER: Timer = Timer {
    due: 0,
    place: Place {
        id: 0,
        generation: 0,
    },
};

#[derive(Debug)]
struct Chunk {
    used: usize,
    timers: Box<[Timer; CHUNK]>,
}

/// The timers of one worker.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// All timers up to this moment have been handed out.
    now: u64,
    /// Which buckets of a level have timers.
    occupied: [u64; LEVELS],
    buckets: Box<[Vec<Chunk>]>,
    spare: Vec<Chunk>,
    len: usize,
    sweep_at: usize,
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        Wheel {
            now: 0,
            occupied: [0; LEVELS],
            buckets: (0..LEVELS * BUCKETS).map(|_| Vec::new()).collect(),
            spare: Vec::new(),
            len: 0,
            sweep_at: SWEEP_MIN,
        }
    }

    /// How many timers there are, the void ones among them.
    #[cfg(test)]
    const fn len(&self) -> usize {
        self.len
    }

    /// Sets a timer. `is_live` says of any timer whether it still counts.
    pub(crate) fn insert(&mut self, timer: Timer, is_live: impl Fn(&Timer) -> bool) {
        if self.len >= self.sweep_at {
            self.sweep(is_live);
        }
        self.len += 1;
        self.place(timer);
    }

    fn place(&mut self, timer: Timer) {
        // What is due already waits for the next tick.
        let due = timer.due.clamp(self.now + 1, DUE_MAX);
        let differs = 63 - (due ^ self.now).leading_zeros();
        let level = (differs / BITS) as usize;
        let bucket = (due >> (BITS * level as u32)) as usize % BUCKETS;
        self.occupied[level] |= 1 << bucket;
        let chunks = &mut self.buckets[level * BUCKETS + bucket];
        let chunk = match chunks.last_mut() {
            Some(chunk) if chunk.used < CHUNK => chunk,
            _ => {
                let chunk = self.spare.pop().unwrap_or_else(|| Chunk {
                    used: 0,
                    timers: Box::new([NO_TIMER; CHUNK]),
                });
                chunks.push(chunk);
                match chunks.last_mut() {
                    Some(chunk) => chunk,
                    None => unreachable!("a chunk was just pushed"),
                }
            }
        };
        chunk.timers[chunk.used] = timer;
        chunk.used += 1;
    }

    /// The moment before which there is nothing to do; `u64::MAX` if there are no timers. It may be early where timers
    /// are far away.
    pub(crate) fn next_due(&self) -> u64 {
        let next = (0..LEVELS).find_map(|level| self.next_bucket(level));
        next.map_or(u64::MAX, |(at, _)| at)
    }

    /// When the next occupied bucket of a level begins, and which it is.
    fn next_bucket(&self, level: usize) -> Option<(u64, usize)> {
        let shift = BITS * level as u32;
        let occupied = self.occupied[level];
        let current = (self.now >> shift) as usize % BUCKETS;
        // Buckets of a level lie ahead of the current one, within its turn.
        let ahead = occupied & (u64::MAX << current);
        if ahead == 0 {
            return None;
        }
        let bucket = ahead.trailing_zeros() as usize;
        let turn = self.now >> shift >> BITS << BITS;
        Some(((turn | bucket as u64) << shift, bucket))
    }

    /// Hands out what is due at `now`, in the order of time.
    pub(crate) fn advance(&mut self, now: u64, mut due: impl FnMut(Timer)) {
        let now = now.min(DUE_MAX);
        while self.now < now {
            let next = (0..LEVELS).find_map(|level| {
                let (at, bucket) = self.next_bucket(level)?;
                Some((at, bucket, level))
            });
            let Some((at, bucket, level)) = next.filter(|(at, ..)| *at <= now) else {
                self.now = now;
                return;
            };
            // A bucket above the lowest level that begins now is looked into without time passing.
            self.now = self.now.max(at);
            self.occupied[level] &= !(1 << bucket);
            let mut chunks = std::mem::take(&mut self.buckets[level * BUCKETS + bucket]);
            for chunk in &mut chunks {
                for timer in &chunk.timers[..chunk.used] {
                    if timer.due <= self.now {
                        self.len -= 1;
                        due(*timer);
                    } else {
                        self.place(*timer);
                    }
                }
                chunk.used = 0;
            }
            self.recycle(level * BUCKETS + bucket, chunks);
        }
    }

    fn recycle(&mut self, bucket: usize, mut chunks: Vec<Chunk>) {
        let room = SPARE_CHUNKS_MAX.saturating_sub(self.spare.len());
        let kept = chunks.len().min(room);
        self.spare.extend(chunks.drain(..kept));
        chunks.clear();
        if self.buckets[bucket].is_empty() && chunks.capacity() <= SPARE_CHUNKS_MAX {
            self.buckets[bucket] = chunks;
        }
    }

    #[cold]
    fn sweep(&mut self, is_live: impl Fn(&Timer) -> bool) {
        for bucket in 0..self.buckets.len() {
            let mut chunks = std::mem::take(&mut self.buckets[bucket]);
            if chunks.is_empty() {
                continue;
            }
            self.occupied[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
            for chunk in &mut chunks {
                for timer in &chunk.timers[..chunk.used] {
                    if is_live(timer) {
                        self.place(*timer);
                    } else {
                        self.len -= 1;
                    }
                }
                chunk.used = 0;
            }
            self.recycle(bucket, chunks);
        }
        self.sweep_at = (self.len * 2).max(SWEEP_MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(due: u64, id: u32) -> Timer {
        let place = Place { id, generation: 7 };
        Timer { due, place }
    }

    fn advance(wheel: &mut Wheel, now: u64) -> Vec<(u64, u32)> {
        let mut found = Vec::new();
        wheel.advance(now, |timer| found.push((timer.due, timer.place.id)));
        found
    }

    #[test]
    fn never_early_and_never_lost() {
        let mut wheel = Wheel::new();
        let dues = [
            1,
            1,
            2,
            63,
            64,
            65,
            127,
            128,
            4_095,
            4_096,
            4_097,
            70_000,
            300_000,
            86_400_000,
            99_999_999_000,
        ];
        for (id, due) in dues.iter().enumerate() {
            wheel.insert(timer(*due, id as u32), |_| true);
        }
        assert_eq!(wheel.len(), dues.len());
        let mut expected: Vec<(u64, u32)> = dues
            .iter()
            .enumerate()
            .map(|(id, due)| (*due, id as u32))
            .collect();
        let mut now = 0;
        while !expected.is_empty() {
            let next = wheel.next_due();
            assert!(
                next > now && next <= expected[0].0,
                "{next} {:?}",
                expected[0]
            );
            now = next;
            assert!(advance(&mut wheel, now - 1).is_empty());
            for found in advance(&mut wheel, now) {
                assert_eq!(found, expected.remove(0));
                assert!(found.0 <= now);
            }
        }
        assert_eq!((wheel.len(), wheel.next_due()), (0, u64::MAX));
    }

    #[test]
    fn random_times_against_a_sorted_list() {
        let mut random = crate::intrinsic::Random::new(3);
        let mut wheel = Wheel::new();
        let mut expected: Vec<(u64, u32)> = Vec::new();
        let mut now = 0;
        for id in 0..2_000 {
            let span = 1 << (random.next_u64() % 30);
            let due = now + 1 + random.next_u64() % span;
            wheel.insert(timer(due, id), |_| true);
            expected.push((due, id));
            if id.is_multiple_of(7) {
                now += random.next_u64() % (1 << (random.next_u64() % 14));
                let mut found = advance(&mut wheel, now);
                expected.sort_unstable();
                let count = expected.partition_point(|(due, _)| *due <= now);
                let mut due: Vec<(u64, u32)> = expected.drain(..count).collect();
                assert!(found.is_sorted_by_key(|(due, _)| *due));
                found.sort_unstable();
                due.sort_unstable();
                assert_eq!(found, due);
                assert_eq!(wheel.len(), expected.len());
            }
        }
        assert_eq!(advance(&mut wheel, u64::MAX).len(), expected.len());
    }

    #[test]
    fn a_late_timer_comes_with_the_next_tick() {
        let mut wheel = Wheel::new();
        assert!(advance(&mut wheel, 1_000).is_empty());
        wheel.insert(timer(5, 1), |_| true);
        assert!(advance(&mut wheel, 1_000).is_empty());
        assert_eq!(advance(&mut wheel, 1_001), [(5, 1)]);
    }

    #[test]
    fn void_timers_do_not_heap_up() {
        let mut wheel = Wheel::new();
        for n in 0..100_000_u32 {
            wheel.insert(timer(100_000, n), |timer| {
                timer.place.id.is_multiple_of(1_000)
            });
        }
        assert!(wheel.len() <= 2 * SWEEP_MIN, "{}", wheel.len());
        let live = advance(&mut wheel, 1_000_000);
        assert!(
            live.iter()
                .filter(|(_, id)| id.is_multiple_of(1_000))
                .count()
                == 100
        );
        assert!(wheel.spare.len() <= SPARE_CHUNKS_MAX);
    }
}
