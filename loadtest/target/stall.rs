//! Targets that answer by themselves: [`Null`], for the pace alone, and [`Stalls`], which proves that stalls are seen.

use crate::load::{Target, Work, blocking};
use crate::pacer::{Pace, Pacer};
use crate::recorder::Outcome;
use crate::schedule::Nanos;

/// Answers at once: what is measured is the tester.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Null;

impl Target for Null {
    fn drive(&self, _: usize, work: &mut Work<'_, Pacer>) -> Result<(), String> {
        blocking(work, |_, _| Outcome::Right);
        Ok(())
    }
}

/// Answers at once, but that nothing gets an answer for the last part of every period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalls {
    pub(crate) stall: Nanos,
    pub(crate) period: Nanos,
}

impl Default for Stalls {
    /// A second of every ten.
    fn default() -> Stalls {
        Stalls {
            stall: 1_000_000_000,
            period: 10_000_000_000,
        }
    }
}

impl Stalls {
    /// Waits for the end of a stall.
    pub(crate) fn call(&self, pace: &impl Pace) -> Outcome {
        let now = pace.now();
        if now % self.period >= self.period - self.stall {
            pace.wait_until((now / self.period + 1) * self.period);
        }
        Outcome::Right
    }
}

impl Target for Stalls {
    fn drive(&self, _: usize, work: &mut Work<'_, Pacer>) -> Result<(), String> {
        blocking(work, |pace, _| self.call(pace));
        Ok(())
    }
}
