//! [`Ack`]: how a source hears what became of an event.

use std::fmt;
use std::time::Duration;

use crate::engine::error::Error;
use crate::history::Failure;
use crate::interp::Status;

/// How the execution of an event ended, or why there was none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Outcome {
    /// It ended with an output.
    Succeeded,
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was stopped.
    Aborted,
    /// There was none: the event is no input for one, and never will be.
    Invalid,
    /// It was given up, or never began: the stream was stopped, the engine shut down, or nobody took the result.
    Lost,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 6] = [
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::Aborted,
        Outcome::Invalid,
        Outcome::Lost,
    ];

    /// Its spelling: AWS's for the statuses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Succeeded => "SUCCEEDED",
            Outcome::Failed => "FAILED",
            Outcome::TimedOut => "TIMED_OUT",
            Outcome::Aborted => "ABORTED",
            Outcome::Invalid => "INVALID",
            Outcome::Lost => "LOST",
        }
    }

    pub(super) const fn of(status: Status) -> Outcome {
        match status {
            Status::Succeeded => Outcome::Succeeded,
            Status::TimedOut => Outcome::TimedOut,
            Status::Aborted => Outcome::Aborted,
            Status::Failed | Status::Running => Outcome::Failed,
        }
    }
}

/// What a source is to do with an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is done.
    Done,
    /// It is given up: it is no input, or was delivered as often as it may be. A stream with a
    /// [dead letter](super::Stream::dead_letters) has handed it over there.
    Rejected,
    /// It is not done, and is to be delivered again, no sooner than after that time.
    Again {
        /// The delay.
        after: Duration,
    },
}

/// What became of an event.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What is to be done with it.
    pub verdict: Verdict,
    /// How its last execution ended.
    pub outcome: Outcome,
    /// Why it did not succeed, if that is known.
    pub failure: Option<Failure>,
    /// How often it was delivered.
    pub deliveries: u32,
}

impl Settled {
    /// What is said of an event that nobody got to.
    pub(super) const fn lost(deliveries: u32) -> Settled {
        Settled {
            verdict: Verdict::Again {
                after: Duration::ZERO,
            },
            outcome: Outcome::Lost,
            failure: None,
            deliveries,
        }
    }
}

type Tell = Box<dyn FnOnce(&Settled) -> Result<(), Error> + Send>;

/// Tells a source what became of one event, exactly once: when the sink has taken its result, on the thread that runs the
/// stream. An `Ack` that is dropped says that the event is to be delivered again.
///
/// ```
/// use quickstep::engine::{Ack, Outcome, Verdict};
///
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let ack = Ack::new(move |settled| {
///     sender.send((settled.verdict, settled.outcome)).unwrap();
///     Ok(())
/// });
/// drop(ack);
/// let (verdict, outcome) = receiver.recv()?;
/// assert!(matches!(verdict, Verdict::Again { .. }));
/// assert_eq!(outcome, Outcome::Lost);
/// # Ok::<(), std::sync::mpsc::RecvError>(())
/// ```
#[derive(Default)]
pub struct Ack(Option<Tell>);

impl Ack {
    /// Calls `tell` once. If it fails, the stream goes on, and its report says so.
    #[must_use]
    pub fn new(tell: impl FnOnce(&Settled) -> Result<(), Error> + Send + 'static) -> Ack {
        Ack(Some(Box::new(tell)))
    }

    /// For events of which nobody wants to hear.
    #[must_use]
    pub const fn none() -> Ack {
        Ack(None)
    }

    /// Says what became of the event.
    ///
    /// # Errors
    ///
    /// If the source could not take it in.
    pub fn settle(mut self, settled: &Settled) -> Result<(), Error> {
        self.0.take().map_or(Ok(()), |tell| tell(settled))
    }

    pub(super) const fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            // Whoever drops it has nobody to report to.
            let _ = tell(&Settled::lost(0));
        }
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "Ack(none)" } else { "Ack" })
    }
}
