//! Time, and waiting for it: parked while a moment is far, spinning once it is near.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use super::schedule::Nanos;

/// A clock that can be waited for.
pub(crate) trait Pace {
    /// Nanoseconds since the beginning of the run.
    fn now(&self) -> Nanos;

    /// Waits until `at`, unless that has passed, and gives the time then.
    fn wait_until(&self, at: Nanos) -> Nanos;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    origin: Instant,
    /// So long before a moment it begins to spin.
    spin: Nanos,
}

impl Pacer {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "a load test measures time")]
    pub(crate) fn new(spin: Duration) -> Pacer {
        Pacer {
            origin: Instant::now(),
            spin: nanos(spin),
        }
    }

    /// How long it spins for a moment.
    pub(crate) fn spin(&self) -> Nanos {
        self.spin
    }
}

/// Has the system wake this thread when it is due, and not up to 50 µs later to save wake-ups. What the system refuses is
/// measured as the error of sending.
pub(crate) fn wake_punctually() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZero::new(1));
}

impl Pace for Pacer {
    fn now(&self) -> Nanos {
        nanos(self.origin.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "this is what keeps the pace")]
    fn wait_until(&self, at: Nanos) -> Nanos {
        loop {
            let now = self.now();
            if now >= at {
                return now;
            }
            match at - now {
                left if left > self.spin => {
                    std::thread::sleep(Duration::from_nanos(left - self.spin));
                }
                _ => spin_loop(),
            }
        }
    }
}

/// A clock that passes by being waited for, for proofs that take no time.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Imagined(std::cell::Cell<Nanos>);

#[cfg(test)]
impl Pace for Imagined {
    fn now(&self) -> Nanos {
        self.0.get()
    }

    fn wait_until(&self, at: Nanos) -> Nanos {
        self.0.set(self.0.get().max(at));
        self.0.get()
    }
}

/// A duration in nanoseconds; five centuries are the most.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_woken_early() {
        let pacer = Pacer::new(Duration::from_micros(50));
        for wait in [0, 1_000, 60_000, 2_000_000] {
            let at = pacer.now() + wait;
            assert!(pacer.wait_until(at) >= at);
        }
    }
}
