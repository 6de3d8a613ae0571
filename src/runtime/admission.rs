//! Admission: what is taken in, and what is refused at once rather than queued without limit.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::task::lock;

/// Executions that may be in flight, unless the engine is told otherwise.
pub const EXECUTIONS_MAX: usize = 1_000_000;

/// The most executions in flight that an engine can be told to allow.
pub const EXECUTIONS_LIMIT_MAX: usize = 64_000_000;

/// Bytes of inputs that may be in flight, unless the engine is told otherwise.
pub const INPUT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// A rate of starts, as AWS's quotas have it: a bucket of tokens that fills at a steady rate, and a start takes one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StartRate {
    /// Tokens of a full bucket: starts that may come at once.
    pub bucket: u32,
    /// Tokens a second.
    pub refill_per_second: u32,
}

/// What an engine takes in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Executions in flight: queued, running and parked.
    pub executions: usize,
    /// Bytes of the inputs of executions in flight.
    pub input_bytes: u64,
    /// Starts a second; any number, if there is none.
    pub start_rate: Option<StartRate>,
}

impl Default for Limits {
    /// [`EXECUTIONS_MAX`], [`INPUT_BYTES_MAX`], no limit of the rate.
    fn default() -> Limits {
        Limits {
            executions: EXECUTIONS_MAX,
            input_bytes: INPUT_BYTES_MAX,
            start_rate: None,
        }
    }
}

/// Which limit a start was refused for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Limit {
    /// [`Limits::executions`]
    Executions,
    /// [`Limits::input_bytes`]
    InputBytes,
    /// [`Limits::start_rate`]
    StartRate,
    /// The engine shuts down.
    Closed,
    /// The journal of a durable engine has no room, or its commits are too slow.
    Journal,
}

/// A start was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Throttled {
    /// Why.
    pub limit: Limit,
    /// After how long it may be worth another attempt; `None` if never.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Throttled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.limit {
            Limit::Executions => "too many executions are in flight",
            Limit::InputBytes => "the inputs of executions in flight are too large",
            Limit::StartRate => "executions are started too fast",
            Limit::Closed => "the engine is shutting down",
            Limit::Journal => "the journal takes no start",
        })?;
        match self.retry_after {
            Some(after) => write!(f, "; try again in {} ms", after.as_millis().max(1)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Throttled {}

/// How many executions were refused, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refusals {
    /// For [`Limit::Executions`].
    pub executions: u64,
    /// For [`Limit::InputBytes`].
    pub input_bytes: u64,
    /// For [`Limit::StartRate`].
    pub start_rate: u64,
    /// For [`Limit::Closed`].
    pub closed: u64,
}

/// What is worth another attempt at once is so only when something has ended: after about so long.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// Counts what is in flight.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    /// So many there are at most, those of an earlier process among them.
    executions_max: usize,
    executions: AtomicUsize,
    input_bytes: AtomicU64,
    bucket: Mutex<Bucket>,
    refused: [AtomicU64; 5],
    closed: AtomicUsize,
    empty_lock: Mutex<()>,
    empty: Condvar,
}

/// Tokens, in parts of a billion, so that what a nanosecond adds is a whole number.
#[derive(Debug)]
struct Bucket {
    nano_tokens: u64,
    filled_at: u64,
}

const NANO: u64 = 1_000_000_000;

impl Admission {
    /// With room for as many executions as there may be, or for as many as were found of an earlier process, if these are more.
    pub(crate) fn new(limits: Limits, found: usize) -> Admission {
        let bucket = limits.start_rate.map_or(0, |rate| rate.bucket);
        let executions = limits.executions.clamp(1, EXECUTIONS_LIMIT_MAX);
        Admission {
            limits: Limits {
                executions,
                ..limits
            },
            executions_max: executions.max(found).min(EXECUTIONS_LIMIT_MAX),
            executions: AtomicUsize::new(0),
            input_bytes: AtomicU64::new(0),
            bucket: Mutex::new(Bucket {
                nano_tokens: u64::from(bucket) * NANO,
                filled_at: 0,
            }),
            refused: Default::default(),
            closed: AtomicUsize::new(0),
            empty_lock: Mutex::new(()),
            empty: Condvar::new(),
        }
    }

    /// How many executions there can be at a time.
    pub(crate) const fn executions_max(&self) -> usize {
        self.executions_max
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes in `count` executions with inputs of `bytes` together, all or none; `nanos` is the time. Refusals are counted.
    pub(crate) fn admit(&self, count: usize, bytes: u64, nanos: u64) -> Result<(), Throttled> {
        let admitted = self.try_admit(count, bytes, nanos);
        if let Err(throttled) = &admitted {
            self.refused[throttled.limit as usize].fetch_add(count as u64, Ordering::Relaxed);
        }
        admitted
    }

    /// As [`Admission::admit`], for whoever tries again until there is room: nothing is refused.
    pub(crate) fn try_admit(&self, count: usize, bytes: u64, nanos: u64) -> Result<(), Throttled> {
        // What alone is more than the limit never fits.
        let refuse = |limit, is_possible: bool| {
            let retry_after = is_possible.then_some(RETRY_AFTER);
            Err(Throttled { limit, retry_after })
        };
        if self.closed.load(Ordering::Acquire) != 0 {
            return Err(Throttled {
                limit: Limit::Closed,
                retry_after: None,
            });
        }
        // Counted first and taken back, so that the limit holds whoever else is admitted meanwhile.
        let before = self.executions.fetch_add(count, Ordering::AcqRel);
        if before + count > self.limits.executions {
            self.release(count, 0);
            return refuse(Limit::Executions, count <= self.limits.executions);
        }
        let before = self.input_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limits.input_bytes {
            self.release(count, bytes);
            return refuse(Limit::InputBytes, bytes <= self.limits.input_bytes);
        }
        if let Some(rate) = self.limits.start_rate
            && let Err(retry_after) = self.take_tokens(rate, count, nanos)
        {
            self.release(count, bytes);
            return Err(Throttled {
                limit: Limit::StartRate,
                retry_after,
            });
        }
        // Closed meanwhile: whoever closes looks at the count afterwards.
        if self.closed.load(Ordering::SeqCst) != 0 {
            self.release(count, bytes);
            return Err(Throttled {
                limit: Limit::Closed,
                retry_after: None,
            });
        }
        Ok(())
    }

    fn take_tokens(
        &self,
        rate: StartRate,
        count: usize,
        nanos: u64,
    ) -> Result<(), Option<Duration>> {
        let full = u64::from(rate.bucket) * NANO;
        let wanted = u64::try_from(count)
            .unwrap_or(u64::MAX)
            .saturating_mul(NANO);
        let mut bucket = lock(&self.bucket);
        let passed = nanos.saturating_sub(bucket.filled_at);
        let filled = passed.saturating_mul(rate.refill_per_second.into());
        bucket.nano_tokens = bucket.nano_tokens.saturating_add(filled).min(full);
        bucket.filled_at = bucket.filled_at.max(nanos);
        match bucket.nano_tokens.checked_sub(wanted) {
            Some(left) => {
                bucket.nano_tokens = left;
                Ok(())
            }
            // More than a full bucket never comes.
            None if wanted > full => Err(None),
            None => {
                let lacking = wanted - bucket.nano_tokens;
                let nanos = lacking.checked_div(rate.refill_per_second.into());
                Err(nanos.map(|nanos| Duration::from_nanos(nanos + 1)))
            }
        }
    }

    /// Counts an execution that was admitted before, whatever its input and the rate of starts; false if there are as many as
    /// there may be.
    pub(crate) fn admit_again(&self, bytes: u64) -> bool {
        self.count_in(bytes, self.limits.executions)
    }

    /// Counts an execution that was found of an earlier process, for which there is room whatever the limits are now. False only
    /// if that room is taken.
    #[cfg(feature = "server")]
    pub(crate) fn readmit(&self, bytes: u64) -> bool {
        self.count_in(bytes, self.executions_max)
    }

    fn count_in(&self, bytes: u64, executions_max: usize) -> bool {
        let before = self.executions.fetch_add(1, Ordering::AcqRel);
        if before >= executions_max {
            self.release(1, 0);
            return false;
        }
        self.input_bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    /// Executions have ended, or were not started after all. True if none is left.
    pub(crate) fn release(&self, count: usize, bytes: u64) -> bool {
        if bytes > 0 {
            self.input_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        let before = self.executions.fetch_sub(count, Ordering::AcqRel);
        debug_assert!(before >= count, "what ends was admitted");
        if before == count && self.closed.load(Ordering::SeqCst) != 0 {
            drop(lock(&self.empty_lock));
            self.empty.notify_all();
        }
        before == count
    }

    /// Executions in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.executions.load(Ordering::Acquire)
    }

    /// Bytes of their inputs.
    pub(crate) fn input_bytes(&self) -> u64 {
        self.input_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn refusals(&self) -> Refusals {
        let count = |limit: Limit| self.refused[limit as usize].load(Ordering::Relaxed);
        Refusals {
            executions: count(Limit::Executions),
            input_bytes: count(Limit::InputBytes),
            start_rate: count(Limit::StartRate),
            closed: count(Limit::Closed),
        }
    }

    /// Nothing is admitted any more.
    pub(crate) fn close(&self) {
        self.closed.store(1, Ordering::SeqCst);
    }

    /// Waits until nothing is in flight, `patience` at most; says whether it came to that. Only after `close`.
    pub(crate) fn wait_until_empty(&self, patience: Duration) -> bool {
        let guard = lock(&self.empty_lock);
        let waited = self
            .empty
            .wait_timeout_while(guard, patience, |()| self.in_flight() > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.in_flight() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(executions: usize, input_bytes: u64, start_rate: Option<StartRate>) -> Admission {
        Admission::new(
            Limits {
                executions,
                input_bytes,
                start_rate,
            },
            0,
        )
    }

    fn limit(result: Result<(), Throttled>) -> Option<Limit> {
        result.err().map(|throttled| throttled.limit)
    }

    #[test]
    #[cfg(feature = "server")]
    fn what_was_found_has_room_and_keeps_others_out() {
        let lower = Limits {
            executions: 2,
            input_bytes: 10,
            start_rate: None,
        };
        let admission = Admission::new(lower, 3);
        let found: Vec<bool> = (0..4).map(|_| admission.readmit(100)).collect();
        assert_eq!(found, [true, true, true, false]);
        assert_eq!(limit(admission.admit(1, 0, 0)), Some(Limit::Executions));
        assert!(!admission.admit_again(100));
        admission.release(2, 200);
        // An input that is too large now was not when it was admitted first.
        assert_eq!(limit(admission.admit(1, 1, 0)), Some(Limit::InputBytes));
        assert!(admission.admit_again(100));
        assert!(!admission.admit_again(100));
        assert_eq!(admission.in_flight(), 2);
    }

    #[test]
    fn counts_and_bytes() {
        let admission = limits(3, 100, None);
        assert_eq!(admission.admit(2, 60, 0), Ok(()));
        assert_eq!(limit(admission.admit(2, 0, 0)), Some(Limit::Executions));
        assert_eq!(limit(admission.admit(1, 41, 0)), Some(Limit::InputBytes));
        assert_eq!(admission.admit(1, 40, 0), Ok(()));
        admission.release(1, 60);
        assert_eq!(admission.admit(1, 60, 0), Ok(()));
        assert_eq!((admission.in_flight(), admission.input_bytes()), (3, 100));
        admission.close();
        assert_eq!(limit(admission.admit(1, 0, 0)), Some(Limit::Closed));
        assert!(!admission.wait_until_empty(Duration::ZERO));
        admission.release(3, 100);
        assert!(admission.wait_until_empty(Duration::ZERO));
        let refusals = Refusals {
            executions: 2,
            input_bytes: 1,
            start_rate: 0,
            closed: 1,
        };
        assert_eq!(admission.refusals(), refusals);
    }

    #[test]
    fn what_never_fits_is_not_worth_another_attempt() {
        let admission = limits(3, 100, None);
        for (count, bytes, limit, is_possible) in [
            (4, 0, Limit::Executions, false),
            (3, 0, Limit::Executions, true),
            (1, 101, Limit::InputBytes, false),
            (1, 100, Limit::InputBytes, true),
        ] {
            assert_eq!(admission.admit(1, 1, 0), Ok(()));
            let throttled = admission.admit(count, bytes, 0).unwrap_err();
            assert_eq!(throttled.limit, limit);
            assert_eq!(throttled.retry_after.is_some(), is_possible);
            admission.release(1, 1);
        }
    }

    #[test]
    fn a_bucket_of_tokens() {
        let rate = StartRate {
            bucket: 10,
            refill_per_second: 2,
        };
        let admission = limits(1_000, 1_000, Some(rate));
        let second = NANO;
        assert_eq!(admission.admit(10, 0, 5 * second), Ok(()));
        let throttled = admission.admit(3, 0, 5 * second).unwrap_err();
        assert_eq!(throttled.limit, Limit::StartRate);
        let after = throttled.retry_after.unwrap();
        assert!(after >= Duration::from_millis(1_500) && after < Duration::from_millis(1_501));
        let later = 5 * second + u64::try_from(after.as_nanos()).unwrap();
        assert_eq!(admission.admit(3, 0, later), Ok(()));
        assert_eq!(limit(admission.admit(1, 0, later)), Some(Limit::StartRate));
        // The bucket does not overflow, and more than a full one never comes.
        assert_eq!(admission.admit(10, 0, 1_000 * second), Ok(()));
        assert_eq!(
            limit(admission.admit(1, 0, 1_000 * second)),
            Some(Limit::StartRate)
        );
        let never = admission.admit(11, 0, 2_000 * second).unwrap_err();
        assert_eq!(never.retry_after, None);
        assert_eq!(admission.in_flight(), 23);
        assert!(never.to_string().contains("too fast"));
    }
}
