//! The time since a moment of this process, mostly without asking the system.
//!
//! Asking the system costs 40 to 60 ns, as much as a state, and an execution asks after every task. The processor's counter
//! costs a fifth. It is never trusted for long: a thread asks the system every [`SPAN_NANOS`] or so, and only goes on from there
//! by the counter, at the rate that was seen over the life of the process. So there is nothing to calibrate and nothing that
//! drifts, and a counter that jumps, backwards or by more than that span, is noticed.
//!
//! Two threads may be apart by [`GAP_NANOS`], the longest time between two looks, one at each clock, that counts as the
//! same moment.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How far the counter is followed without asking the system.
const SPAN_NANOS: u64 = 200_000;

/// What may lie between the looks at the two clocks.
const GAP_NANOS: u64 = 1_000;

/// How long the two clocks are compared before one is told by the other.
const OBSERVED_NANOS_MIN: u64 = 10_000_000;

/// A rate is nanoseconds in so many ticks.
const RATE_SHIFT: u32 = 32;

/// The two clocks at the same moment.
#[derive(Clone, Copy)]
struct Pair {
    ticks: u64,
    nanos: u64,
}

/// What a thread knows.
#[derive(Clone, Copy)]
struct Seen {
    /// Where it goes on from.
    base: Pair,
    /// How many ticks from there; zero if it cannot.
    span_ticks: u64,
    /// Nanoseconds in `1 << RATE_SHIFT` ticks.
    rate: u64,
    /// What it was told last.
    last: u64,
}

thread_local! {
    static SEEN: Cell<Seen> = const {
        Cell::new(Seen {
            base: Pair { ticks: 0, nanos: 0 },
            span_ticks: 0,
            rate: 0,
            last: 0,
        })
    };
}

/// The first look at both clocks.
struct Origin {
    instant: Instant,
    ticks: Option<u64>,
}

static ORIGIN: OnceLock<Origin> = OnceLock::new();

/// The rate as last seen; zero before there is one.
static RATE: AtomicU64 = AtomicU64::new(0);

fn origin() -> &'static Origin {
    ORIGIN.get_or_init(|| {
        let is_steady = counter::is_steady();
        Origin {
            instant: now(),
            ticks: is_steady.then(counter::read),
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds since the first call in this process: never less than before on the same thread.
#[inline]
pub(super) fn nanos() -> u64 {
    SEEN.with(|cell| {
        let mut seen = cell.get();
        // Without a rate there is no span, and the counter need not be there.
        if seen.span_ticks > 0 {
            let passed = counter::read().wrapping_sub(seen.base.ticks);
            if passed < seen.span_ticks {
                let nanos = seen.base.nanos + ((passed * seen.rate) >> RATE_SHIFT);
                seen.last = seen.last.max(nanos);
                cell.set(seen);
                return seen.last;
            }
        }
        look(cell, seen.last)
    })
}

/// Asks the system.
#[cold]
fn look(cell: &Cell<Seen>, last: u64) -> u64 {
    let origin = origin();
    let Some(first) = origin.ticks else {
        return passed_since(origin);
    };
    let before = counter::read();
    let nanos = passed_since(origin);
    let gap = counter::read().wrapping_sub(before);
    let base = Pair {
        ticks: before.wrapping_add(gap / 2),
        nanos,
    };
    if base.nanos >= OBSERVED_NANOS_MIN {
        RATE.store(rate(first, base), Ordering::Relaxed);
    }
    let rate = RATE.load(Ordering::Relaxed);
    // An interrupt between the looks: this was not the same moment.
    let is_one_moment = gap < ticks_of(GAP_NANOS, rate);
    let last = last.max(nanos);
    cell.set(Seen {
        base,
        span_ticks: if is_one_moment {
            ticks_of(SPAN_NANOS, rate)
        } else {
            0
        },
        rate,
        last,
    });
    last
}

fn passed_since(origin: &Origin) -> u64 {
    let passed = now().saturating_duration_since(origin.instant);
    // 584 years.
    passed.as_secs() * 1_000_000_000 + u64::from(passed.subsec_nanos())
}

/// Nanoseconds in `1 << RATE_SHIFT` ticks, over all the time so far; zero if that makes no sense.
fn rate(first: u64, base: Pair) -> u64 {
    let ticks = base.ticks.wrapping_sub(first);
    let rate = (u128::from(base.nanos) << RATE_SHIFT) / u128::from(ticks.max(1));
    // A counter slower than one tick in four nanoseconds tells too little; one that went back seems to be fast.
    let rate = u64::try_from(rate).unwrap_or(0);
    if rate >> RATE_SHIFT < 4 { rate } else { 0 }
}

fn ticks_of(nanos: u64, rate: u64) -> u64 {
    (nanos << RATE_SHIFT).checked_div(rate).unwrap_or(0)
}

/// The processor's counter, if the system counts by it.
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
mod counter {
    /// Where Linux says what it takes its own time from. It watches that counter, and takes another if it does not go at one
    /// rate on all processors.
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

    pub(super) fn is_steady() -> bool {
        std::fs::read_to_string(SOURCE).is_ok_and(|source| source.trim() == "tsc")
    }

    #[inline]
    #[expect(unsafe_code, reason = "the counter has no safe interface")]
    pub(super) fn read() -> u64 {
        // SAFETY: every processor of this architecture has the instruction; it reads a register.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
}

/// None is known elsewhere.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(miri))))]
mod counter {
    pub(super) fn is_steady() -> bool {
        false
    }

    pub(super) fn read() -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both clocks, for a while: never back, never apart by more than a preemption between the two looks can explain, which
    /// is why both are looked at around each reading.
    #[test]
    fn it_goes_as_the_systems_clock_does() {
        let origin = origin();
        let (mut last, mut followed) = (0, 0_u64);
        while last < 30_000_000 || (followed < 1_000 && last < 1_000_000_000) {
            let before = passed_since(origin);
            let told = nanos();
            let after = passed_since(origin);
            assert!(told >= last, "{told} after {last}");
            assert!(
                told + 2 * GAP_NANOS >= before && told <= after + 2 * GAP_NANOS,
                "{told} between {before} and {after}"
            );
            last = told;
            followed += u64::from(SEEN.get().span_ticks > 0 || !counter::is_steady());
        }
    }

    #[test]
    fn rates() {
        let second = 1_000_000_000;
        let at = |ticks, nanos| rate(5, Pair { ticks, nanos });
        assert_eq!(at(5 + 2 * second, second), 1 << (RATE_SHIFT - 1));
        assert_eq!(ticks_of(SPAN_NANOS, 1 << (RATE_SHIFT - 1)), 2 * SPAN_NANOS);
        // Too slow, and gone back.
        assert_eq!(at(5 + second / 8, second), 0);
        assert_eq!(at(0, second), 0);
        assert_eq!(ticks_of(SPAN_NANOS, 0), 0);
    }
}
