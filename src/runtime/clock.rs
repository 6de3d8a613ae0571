//! Where time comes from.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::ticks;
use crate::stdx::Timestamp;

/// A source of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Nanoseconds since a moment that the clock has chosen; never less than before on the same thread, and on two threads
    /// the same but for a few microseconds.
    fn nanos(&self) -> u64;

    /// The time of day.
    fn timestamp(&self) -> Timestamp;

    /// How often a thread that waits for a moment has to look again, if the clock does not go by itself.
    fn poll_interval(&self) -> Option<Duration> {
        None
    }
}

/// The system's clock, read by way of the processor's counter where that can be.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock(());

impl SystemClock {
    /// The clock.
    #[must_use]
    pub fn new() -> SystemClock {
        SystemClock(())
    }
}

impl Clock for SystemClock {
    #[inline]
    fn nanos(&self) -> u64 {
        ticks::nanos()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn timestamp(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Whether waiting takes time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum TimeMode {
    /// Waits, retries and timeouts take the time that they say.
    #[default]
    Real,
    /// They take none: where an execution would wait, its clock is put forward. While an asynchronous task is under way
    /// time passes as it does: a timeout cannot overtake an answer.
    Virtual,
}

/// A time of day that never goes back: that of its making plus what has passed since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    timestamp_millis: i64,
    nanos: u64,
}

impl Anchor {
    pub(crate) fn new(clock: &dyn Clock) -> Anchor {
        Anchor {
            timestamp_millis: clock.timestamp().millis(),
            nanos: clock.nanos(),
        }
    }

    pub(crate) const fn nanos(&self) -> u64 {
        self.nanos
    }

    /// The moment of the clock that many milliseconds after the anchor.
    pub(crate) fn nanos_after(&self, millis: u64) -> u64 {
        self.nanos.saturating_add(millis.saturating_mul(1_000_000))
    }

    /// The time of day at a moment of the clock.
    #[inline]
    pub(crate) fn timestamp(&self, nanos: u64) -> Timestamp {
        let passed = nanos.saturating_sub(self.nanos) / 1_000_000;
        Timestamp::from_millis(self.timestamp_millis.saturating_add(passed.cast_signed()))
    }
}
