//! [`Delivery`]: which outcomes make an event done, and what becomes of the others.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ack::{Outcome, Settled, Verdict};
use crate::history::Failure;

/// Says whether an execution that ended so makes its event done.
type Says = Arc<dyn Fn(Outcome, Option<&Failure>) -> bool + Send + Sync>;

/// When an event is done.
#[derive(Clone, Default)]
pub enum DoneWhen {
    /// Its execution has ended, in any status but ABORTED.
    #[default]
    Ended,
    /// Its execution has succeeded.
    Succeeded,
    /// Its execution has succeeded, or this says so of one that failed, timed out or was aborted.
    Says(Says),
}

impl fmt::Debug for DoneWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DoneWhen::Ended => "Ended",
            DoneWhen::Succeeded => "Succeeded",
            DoneWhen::Says(_) => "Says(…)",
        })
    }
}

/// How events are delivered.
///
/// An event that is not done is delivered again after a delay, which doubles each time, and is rejected after the last
/// delivery. A source that [delivers again itself](super::Event::redelivered_by_source) is told the delay. For others the
/// stream keeps the event, which then counts as in flight; with [`DoneWhen::Ended`] it keeps none.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When an event is done.
    pub done_when: DoneWhen,
    /// How often an event is delivered, at most; once, at least.
    pub deliveries_max: u32,
    /// How long after the first delivery the second one comes.
    pub delay: Duration,
    /// The longest delay.
    pub delay_max: Duration,
}

impl Default for Delivery {
    /// Done when it has ended; otherwise five deliveries, after 1, 2, 4 and 8 seconds.
    fn default() -> Delivery {
        Delivery {
            done_when: DoneWhen::Ended,
            deliveries_max: 5,
            delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(300),
        }
    }
}

impl Delivery {
    /// True if the stream may have to deliver an event again.
    pub(super) const fn may_repeat(&self) -> bool {
        !matches!(self.done_when, DoneWhen::Ended) && self.deliveries_max > 1
    }

    /// The delay after so many deliveries.
    #[must_use]
    pub fn delay_after(&self, deliveries: u32) -> Duration {
        let doubled = deliveries.saturating_sub(1).min(31);
        self.delay.saturating_mul(1 << doubled).min(self.delay_max)
    }

    pub(super) fn judge(
        &self,
        outcome: Outcome,
        failure: Option<&Failure>,
        deliveries: u32,
    ) -> Verdict {
        let after = self.delay_after(deliveries);
        let is_done = match (outcome, &self.done_when) {
            (Outcome::Succeeded, _) => true,
            (Outcome::Invalid, _) => return Verdict::Rejected,
            (Outcome::Lost, _) => return Verdict::Again { after },
            (Outcome::Failed | Outcome::TimedOut, DoneWhen::Ended) => true,
            (_, DoneWhen::Ended | DoneWhen::Succeeded) => false,
            (_, DoneWhen::Says(says)) => says(outcome, failure),
        };
        if is_done {
            Verdict::Done
        } else if deliveries >= self.deliveries_max {
            Verdict::Rejected
        } else {
            Verdict::Again { after }
        }
    }
}

/// An event that was given up.
#[derive(Debug)]
pub struct DeadLetter<'a> {
    /// Number of the event in its stream, from 1.
    pub number: u64,
    /// The name that its source gave to its execution.
    pub name: Option<&'a str>,
    /// The event as it came, which need not be JSON. Empty if it was too long to be kept.
    pub payload: &'a [u8],
    /// What became of it.
    pub settled: &'a Settled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let delivery = |done_when| Delivery {
            done_when,
            deliveries_max: 3,
            delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(3),
        };
        let busy = Failure::new("Busy", "");
        let not_busy: Says =
            Arc::new(|_, failure| failure.is_none_or(|f| f.error_name() != "Busy"));
        let again = |seconds| Verdict::Again {
            after: Duration::from_secs(seconds),
        };
        use Outcome::{Aborted, Failed, Invalid, Lost, Succeeded, TimedOut};
        for (when, outcome, deliveries, expected) in [
            (DoneWhen::Ended, Succeeded, 1, Verdict::Done),
            (DoneWhen::Ended, Failed, 1, Verdict::Done),
            (DoneWhen::Ended, TimedOut, 1, Verdict::Done),
            (DoneWhen::Ended, Aborted, 1, again(1)),
            (DoneWhen::Ended, Aborted, 3, Verdict::Rejected),
            (DoneWhen::Ended, Invalid, 1, Verdict::Rejected),
            (DoneWhen::Ended, Lost, 2, again(2)),
            (DoneWhen::Succeeded, Failed, 1, again(1)),
            (DoneWhen::Succeeded, TimedOut, 2, again(2)),
            (DoneWhen::Succeeded, Failed, 3, Verdict::Rejected),
            (DoneWhen::Succeeded, Failed, 4, Verdict::Rejected),
            (DoneWhen::Succeeded, Succeeded, 9, Verdict::Done),
            (DoneWhen::Succeeded, Lost, 9, again(3)),
            (DoneWhen::Says(Arc::clone(&not_busy)), Failed, 1, again(1)),
            (DoneWhen::Says(not_busy), TimedOut, 1, Verdict::Done),
        ] {
            let failure = (outcome == Failed).then_some(&busy);
            let found = delivery(when.clone()).judge(outcome, failure, deliveries);
            assert_eq!(found, expected, "{when:?} {outcome:?} {deliveries}");
        }
        let longest = Delivery::default().delay_after(u32::MAX);
        assert_eq!(longest, Duration::from_secs(300));
    }
}
