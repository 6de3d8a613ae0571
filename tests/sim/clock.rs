//! Simulated time: it goes on where the test says so, and a little with every look at it.

use std::sync::atomic::{AtomicU64, Ordering};

use quickstep::engine::Clock;
use quickstep::stdx::Timestamp;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The time of day when a simulation begins.
const EPOCH_MILLIS: i64 = 1_700_000_000_000;

/// The clock of the engine, the journal, the handlers and the checker.
#[derive(Debug)]
pub(crate) struct SimClock {
    nanos: AtomicU64,
    /// What a look at the clock takes, at most.
    look_nanos: AtomicU64,
    random: AtomicU64,
}

impl SimClock {
    pub(crate) fn new(seed: u64) -> SimClock {
        SimClock {
            nanos: AtomicU64::new(0),
            look_nanos: AtomicU64::new(0),
            random: AtomicU64::new(seed | 1),
        }
    }

    /// Says how long a look at the clock may take: whoever works takes time, and a slow disk much.
    pub(crate) fn set_look_nanos(&self, nanos: u64) {
        self.look_nanos.store(nanos, Ordering::SeqCst);
    }

    /// Time stands at a whole millisecond: an engine that is made now counts milliseconds as the checker does.
    pub(crate) fn align(&self) {
        self.set_look_nanos(0);
        let nanos = self.nanos.load(Ordering::SeqCst);
        let aligned = nanos.next_multiple_of(NANOS_PER_MILLI);
        self.nanos.store(aligned, Ordering::SeqCst);
    }

    pub(crate) fn advance_nanos(&self, nanos: u64) {
        self.nanos.fetch_add(nanos, Ordering::SeqCst);
    }

    pub(crate) fn advance_to_nanos(&self, nanos: u64) {
        self.nanos.fetch_max(nanos, Ordering::SeqCst);
    }

    /// Milliseconds since the simulation began; looking takes no time here.
    pub(crate) fn now(&self) -> u64 {
        self.nanos.load(Ordering::SeqCst) / NANOS_PER_MILLI
    }

    /// The same of a time of day.
    pub(crate) fn millis_of(at: Timestamp) -> u64 {
        (at.millis() - EPOCH_MILLIS).max(0).unsigned_abs()
    }
}

impl Clock for SimClock {
    fn nanos(&self) -> u64 {
        let most = self.look_nanos.load(Ordering::SeqCst);
        if most == 0 {
            return self.nanos.load(Ordering::SeqCst);
        }
        let mut random = self.random.load(Ordering::SeqCst);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.store(random, Ordering::SeqCst);
        let took = random % (most + 1);
        self.nanos.fetch_add(took, Ordering::SeqCst) + took
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH_MILLIS + self.now().cast_signed())
    }
}
